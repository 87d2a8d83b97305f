"""Selection: which neurons a keep level prunes.   Spec: selection, rules SEL-1..SEL-7.

Per layer there is one pruning order, the same for everybody; a keep level prunes a prefix of it. So what a smaller keep level
keeps, a larger one keeps too.

Source: CLIP, arXiv 2510.16694, §4.2.
"""

from collections.abc import Callable, Sequence
from functools import cmp_to_key

import numpy as np
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError
from clip_ref.layout import kept_count
from clip_ref.params import PruningPolicy, Selection
from clip_ref.rand import permutation
from clip_ref.scores import LayerScores, invariant
from clip_ref.values import RoundNumber


def ranking(*, scores: LayerScores) -> list[int]:
    """SEL-1: the neurons by ascending change A/B, ties by index: A_i·B_j against A_j·B_i in exact integers."""
    change, scale = [int(a) for a in scores.change], [int(b) for b in scores.scale]

    def compare(i: int, j: int) -> int:
        return change[i] * scale[j] - change[j] * scale[i] or i - j

    return sorted(range(len(change)), key=cmp_to_key(compare))


def pruning_order(*, scores: LayerScores, policy: PruningPolicy, entropy: bytes, round: RoundNumber) -> list[int]:
    """SEL-2..SEL-5: the neurons that may be pruned in this round, first to go first.

    `rank` (SEL-2): all, by ascending change. `strict` (SEL-3): the invariant ones, by ascending change. `paper` (SEL-4): those,
    then slack: the others in the order of a shared permutation seeded by `entropy` (32 bytes). Under an age cap A (SEL-5),
    neuron j is left out where round ≡ j (mod A).
    """
    ranked = ranking(scores=scores)
    order = ranked
    if policy.selection is not Selection.RANK:
        still = invariant(scores=scores, threshold=policy.threshold)
        order = [j for j in ranked if still[j]]
        if policy.selection is Selection.PAPER:
            shuffled = permutation(entropy=entropy, purpose=f"slack {scores.layer}", length=len(ranked))
            order += [int(j) for j in shuffled if not still[j]]
    if policy.age_cap:
        order = [j for j in order if (round - j) % policy.age_cap]
    return order


def select(
    *, scores: Sequence[LayerScores], keep: int, policy: PruningPolicy, entropy: bytes, round: RoundNumber
) -> dict[str, NDArray[np.int64]]:
    """SEL-6, SEL-7: for each layer the kept neurons, ascending int64[·]: all but the first n_l − max(1, ⌊keep·n_l/1000⌋).

    Fewer are pruned where the order is shorter than that (`strict`, an age cap). `keep` is 1 … 1000 ‰.
    """
    if not 1 <= keep <= 1000:
        raise PreconditionError(rule="SEL-6", detail=f"a keep level is 1 … 1000 ‰, got {keep}")
    return selector(scores=scores, policy=policy, entropy=entropy, round=round)(keep)


def selector(
    *, scores: Sequence[LayerScores], policy: PruningPolicy, entropy: bytes, round: RoundNumber
) -> Callable[[int], dict[str, NDArray[np.int64]]]:
    """`select` for many keep levels of one round: the order is worked out once."""
    orders = {s.layer: pruning_order(scores=s, policy=policy, entropy=entropy, round=round) for s in scores}
    sizes = {s.layer: len(s.change) for s in scores}

    def kept(keep: int) -> dict[str, NDArray[np.int64]]:
        out = {}
        for layer, order in orders.items():
            pruned = order[: sizes[layer] - kept_count(sizes[layer], keep)]
            out[layer] = np.setdiff1d(np.arange(sizes[layer], dtype=np.int64), np.array(pruned, dtype=np.int64))
        return out

    return kept
