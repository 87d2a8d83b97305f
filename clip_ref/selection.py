"""Selection: which neurons a keep level prunes.   Spec: selection, rules SEL-1..SEL-9.

Per layer there is one pruning order, the same for everybody; a keep level prunes a prefix of it. So what a smaller keep level
keeps, a larger one keeps too. Under `spread` the blocks take turns instead: each begins where the one before it ends.

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
    """SEL-2..SEL-5, SEL-9: the neurons that may be pruned in this round, first to go first.

    `rank` (SEL-2): all, by ascending change. `strict` (SEL-3): the invariant ones, by ascending change. `paper` (SEL-4): those,
    then slack: the others in the order of a shared permutation seeded by `entropy` (32 bytes). `ordered` (SEL-9): all, the
    last of the layer first. Under an age cap A (SEL-5), neuron j is left out where round ≡ j (mod A).
    """
    if policy.selection is Selection.ORDERED:
        order = list(reversed(range(len(scores.change))))
    else:
        order = ranked = ranking(scores=scores)
    if policy.selection in (Selection.PAPER, Selection.STRICT):
        still = invariant(scores=scores, threshold=policy.threshold)
        order = [j for j in ranked if still[j]]
        if policy.selection is Selection.PAPER:
            shuffled = permutation(entropy=entropy, purpose=f"slack {scores.layer}", length=len(ranked))
            order += [int(j) for j in shuffled if not still[j]]
    if policy.age_cap:
        order = [j for j in order if (round - j) % policy.age_cap]
    return order


Selector = Callable[..., dict[str, NDArray[np.int64]]]
"""Given a keep level, and the keep levels of the blocks ahead if there are any, the kept neurons of each layer."""


def select(
    *,
    scores: Sequence[LayerScores],
    keep: int,
    policy: PruningPolicy,
    entropy: bytes,
    round: RoundNumber,
    ahead: Sequence[int] = (),
) -> dict[str, NDArray[np.int64]]:
    """SEL-6..SEL-8: for each layer the kept neurons, ascending int64[·]: all but the first n_l − max(1, ⌊keep·n_l/1000⌋).

    SEL-7: fewer are pruned where the order is shorter than that (`strict`, an age cap). `keep` is 1 … 1000 ‰, and so are the
    levels `ahead`. SEL-8: as many go, but from where the blocks ahead end; after the last of the order comes its first.
    """
    for rule, level in (("SEL-6", keep), *(("SEL-8", level) for level in ahead)):
        if not 1 <= level <= 1000:
            raise PreconditionError(rule=rule, detail=f"a keep level is 1 … 1000 ‰, got {level}")
    return selector(scores=scores, policy=policy, entropy=entropy, round=round)(keep, ahead)


def selector(*, scores: Sequence[LayerScores], policy: PruningPolicy, entropy: bytes, round: RoundNumber) -> Selector:
    """`select` for many keep levels of one round: the order is worked out once."""
    orders = {s.layer: pruning_order(scores=s, policy=policy, entropy=entropy, round=round) for s in scores}
    sizes = {s.layer: len(s.change) for s in scores}

    def kept(keep: int, ahead: Sequence[int] = ()) -> dict[str, NDArray[np.int64]]:
        out = {}
        for layer, order in orders.items():
            size = sizes[layer]
            *before, count = (min(size - kept_count(size, level), len(order)) for level in (*ahead, keep))
            pruned = [order[(sum(before) + k) % len(order)] for k in range(count)]
            out[layer] = np.setdiff1d(np.arange(size, dtype=np.int64), np.array(pruned, dtype=np.int64))
        return out

    return kept
