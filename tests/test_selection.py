"""Selection: which neurons go, how many, and in an order that everybody shares."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.errors import PreconditionError
from clip_ref.params import Mean, PruningPolicy, Selection
from clip_ref.rand import permutation
from clip_ref.scores import LayerScores, invariant
from clip_ref.selection import pruning_order, ranking, select, selector
from clip_ref.values import RoundNumber

ROUND = RoundNumber(5)
SEED = bytes(range(32))


def scores_of(change: Any, scale: Any, name: str = "layer") -> LayerScores:
    return LayerScores(name, np.array(change, dtype=np.int64), np.array(scale, dtype=np.int64))


@st.composite
def layer_scores(draw: st.DrawFn, name: str = "layer", max_size: int = 24) -> LayerScores:
    """Scores with many equal ratios, or with ratios that only exact arithmetic tells apart."""
    size = draw(st.integers(1, max_size))
    top = draw(st.sampled_from((3, 1000, 2**58)))
    near = st.sampled_from((top - 1, top, top + 1))
    change = draw(st.lists(st.one_of(st.integers(0, top), near), min_size=size, max_size=size))
    scale = draw(st.lists(st.one_of(st.integers(1, top), near), min_size=size, max_size=size))
    return scores_of(change, scale, name)


def models() -> st.SearchStrategy[tuple[LayerScores, ...]]:
    return st.tuples(layer_scores("first", 12), layer_scores("second", 12))


def policies(selection: Selection | None = None) -> st.SearchStrategy[PruningPolicy]:
    return st.builds(
        PruningPolicy,
        selection=st.sampled_from(Selection) if selection is None else st.just(selection),
        threshold=st.one_of(st.just(1000), st.integers(0, 3000)),
        age_cap=st.sampled_from((0, 0, 4, 5)),
        mean=st.just(Mean.DILUTE),
    )


def by_ratio(scores: LayerScores) -> list[int]:
    """The ranking from fractions."""
    change, scale = scores.change.tolist(), scores.scale.tolist()
    return sorted(range(len(change)), key=lambda j: (Fraction(change[j], scale[j]), j))


def pruned(scores: LayerScores, keep: int, policy: PruningPolicy, seed: bytes = SEED) -> set[int]:
    kept = select(scores=[scores], keep=keep, policy=policy, entropy=seed, round=ROUND)[scores.layer]
    return set(range(len(scores.change))) - set(kept.tolist())


def due(neurons: int, keep: int) -> int:
    """How many of a layer's neurons a keep level prunes."""
    return neurons - max(1, math.floor(Fraction(keep * neurons, 1000)))


@pytest.mark.rule("SEL-1")
@given(scores=layer_scores())
def test_the_ranking_is_by_exact_ratio(scores: LayerScores) -> None:
    assert ranking(scores=scores) == by_ratio(scores)


@pytest.mark.rule("SEL-1")
@given(scores=layer_scores(max_size=8), data=st.data())
def test_the_ranking_is_a_total_order(scores: LayerScores, data: st.DataObject) -> None:
    """Whether i goes before j depends on the two alone, not on who else is there: total, antisymmetric, transitive."""
    neurons = range(len(scores.change))

    def before(i: int, j: int) -> bool:
        low, high = min(i, j), max(i, j)
        pair = scores_of(scores.change[[low, high]], scores.scale[[low, high]])
        return [low, high][ranking(scores=pair)[0]] == i

    assert all(before(i, j) != before(j, i) for i in neurons for j in neurons if i != j)
    i, j, k = (data.draw(st.sampled_from(neurons)) for _ in range(3))
    if len({i, j, k}) == 3 and before(i, j) and before(j, k):
        assert before(i, k)
    order = ranking(scores=scores)
    assert all(before(a, b) for at, a in enumerate(order) for b in order[at + 1 :])


@pytest.mark.rule("SEL-2", "SEL-4", "SEL-5", "SEL-6")
@given(model=models(), keep=st.integers(1, 1000), policy=policies(), round=st.integers(1, 99))
def test_as_many_are_kept_as_the_level_says(
    model: tuple[LayerScores, ...], keep: int, policy: PruningPolicy, round: int
) -> None:
    kept = select(scores=model, keep=keep, policy=policy, entropy=SEED, round=RoundNumber(round))
    assert list(kept) == ["first", "second"]
    for scores in model:
        index, neurons = kept[scores.layer], len(scores.change)
        assert index.dtype == np.int64
        assert index.tolist() == sorted(set(index.tolist()) & set(range(neurons)))
        if policy.selection is Selection.STRICT or keep < policy.grid[-1]:
            assert len(index) >= neurons - due(neurons, keep)  # fewer may go, never more
        else:
            assert len(index) == neurons - due(neurons, keep)


@pytest.mark.rule("SEL-6")
@given(model=models(), policy=policies(), pair=st.tuples(st.integers(1, 1000), st.integers(1, 1000)), seed=st.binary())
def test_what_a_smaller_level_keeps_a_larger_one_keeps_too(
    model: tuple[LayerScores, ...], policy: PruningPolicy, pair: tuple[int, int], seed: bytes
) -> None:
    kept = selector(scores=model, policy=policy, entropy=(seed + SEED)[:32], round=ROUND)
    small, large = kept(min(pair)), kept(max(pair))
    for name in small:
        assert set(small[name].tolist()) <= set(large[name].tolist())


@pytest.mark.rule("SEL-6")
@given(model=models(), policy=policies(), keep=st.integers(1, 1000))
def test_everybody_selects_the_same(model: tuple[LayerScores, ...], policy: PruningPolicy, keep: int) -> None:
    """From the same inputs; and `select` and `selector` are one."""
    copies = tuple(scores_of(s.change.copy(), s.scale.copy(), s.layer) for s in model)
    one = select(scores=model, keep=keep, policy=policy, entropy=SEED, round=ROUND)
    for other in (
        select(scores=copies, keep=keep, policy=policy, entropy=bytes(SEED), round=ROUND),
        selector(scores=copies, policy=policy, entropy=SEED, round=ROUND)(keep),
    ):
        assert {k: v.tolist() for k, v in other.items()} == {k: v.tolist() for k, v in one.items()}


@pytest.mark.rule("SEL-2", "SEL-6")
@given(scores=layer_scores(), keep=st.integers(1, 1000), threshold=st.integers(0, 3000), seed=st.binary(max_size=32))
def test_rank_prunes_the_least_changed(scores: LayerScores, keep: int, threshold: int, seed: bytes) -> None:
    policy = PruningPolicy(threshold=threshold)
    assert pruned(scores, keep, policy, seed) == set(by_ratio(scores)[: due(len(scores.change), keep)])


@pytest.mark.rule("SEL-3", "SEL-7")
@given(scores=layer_scores(), keep=st.integers(1, 1000), threshold=st.integers(0, 3000))
def test_strict_prunes_invariant_neurons_alone(scores: LayerScores, keep: int, threshold: int) -> None:
    policy = PruningPolicy(selection=Selection.STRICT, threshold=threshold)
    still = np.flatnonzero(invariant(scores=scores, threshold=threshold)).tolist()
    gone = pruned(scores, keep, policy)
    assert gone <= set(still)
    assert len(gone) == min(due(len(scores.change), keep), len(still))
    assert gone == set(by_ratio(scores)[: len(gone)])


@pytest.mark.rule("SEL-4")
@given(
    scores=layer_scores(),
    keep=st.integers(1, 1000),
    threshold=st.integers(0, 3000),
    seed=st.binary(min_size=32, max_size=32),
)
def test_paper_fills_up_with_a_prefix_of_one_permutation(
    scores: LayerScores, keep: int, threshold: int, seed: bytes
) -> None:
    policy = PruningPolicy(selection=Selection.PAPER, threshold=threshold, mean=Mean.DILUTE)
    neurons = len(scores.change)
    still = set(np.flatnonzero(invariant(scores=scores, threshold=threshold)).tolist())
    gone = pruned(scores, keep, policy, seed)
    assert len(gone) == due(neurons, keep)
    if len(gone) <= len(still):
        assert gone == set(by_ratio(scores)[: len(gone)])
    else:
        assert gone >= still
        drawn = [int(j) for j in permutation(entropy=seed, purpose="slack layer", length=neurons) if j not in still]
        assert gone - still == set(drawn[: len(gone) - len(still)])


@pytest.mark.rule("SEL-4", "INV-8")
@given(one=layer_scores(), other=st.data(), keep=st.integers(1, 1000))
def test_at_kappa_zero_paper_is_random_dropout(one: LayerScores, other: st.DataObject, keep: int) -> None:
    """What the neurons' changes are does not matter: all of it is slack."""
    policy = PruningPolicy(selection=Selection.PAPER, threshold=0, mean=Mean.DILUTE)
    neurons = len(one.change)
    change = other.draw(st.lists(st.integers(0, 99), min_size=neurons, max_size=neurons))
    assert pruned(one, keep, policy) == pruned(scores_of(change, [1] * neurons), keep, policy)
    drawn = permutation(entropy=SEED, purpose="slack layer", length=neurons).tolist()
    assert pruned(one, keep, policy) == set(drawn[: due(neurons, keep)])


@pytest.mark.rule("SEL-2", "SEL-4")
@given(scores=layer_scores(), threshold=st.integers(0, 3000))
def test_slack_by_rank_would_leave_the_threshold_without_effect(scores: LayerScores, threshold: int) -> None:
    """The invariant neurons are a prefix of the ranking: put the others behind them in rank order, and it is the ranking."""
    still = invariant(scores=scores, threshold=threshold)
    ranked = ranking(scores=scores)
    slack_by_rank = [j for j in ranked if still[j]] + [j for j in ranked if not still[j]]
    assert slack_by_rank == pruning_order(
        scores=scores, policy=PruningPolicy(threshold=threshold), entropy=SEED, round=ROUND
    )


@pytest.mark.rule("SEL-5")
@given(
    model=models(),
    selection=st.sampled_from(Selection),
    cap=st.integers(4, 9),
    keep=st.integers(1, 1000),
    first=st.integers(1, 1000),
)
def test_under_an_age_cap_nobody_is_pruned_that_many_rounds_running(
    model: tuple[LayerScores, ...], selection: Selection, cap: int, keep: int, first: int
) -> None:
    policy = PruningPolicy(selection=selection, age_cap=cap, mean=Mean.DILUTE)
    neurons = {scores.layer: set(range(len(scores.change))) for scores in model}
    spared: dict[str, set[int]] = {name: set() for name in neurons}
    for round in range(first, first + cap):
        kept = select(scores=model, keep=keep, policy=policy, entropy=SEED, round=RoundNumber(round))
        for name, index in kept.items():
            assert {j for j in neurons[name] if j % cap == round % cap} <= set(index.tolist())
            spared[name] |= set(index.tolist())
    assert spared == neurons


@pytest.mark.rule("PAR-3", "SEL-5", "SEL-6")
@given(scores=layer_scores(), cap=st.integers(2, 40), keep=st.integers(50, 1000), round=st.integers(1, 99))
def test_an_age_cap_that_parameters_allow_costs_no_neuron(scores: LayerScores, cap: int, keep: int, round: int) -> None:
    """What PAR-3 is for: A · r_min ≥ 2000 leaves enough neurons to prune as many as the level says."""
    grid = (1000,) if keep == 1000 else (1000, keep)
    if cap * keep < 2000:
        with pytest.raises(PreconditionError, match="PAR-3"):
            PruningPolicy(grid=grid, age_cap=cap)
        return
    policy = PruningPolicy(grid=grid, age_cap=cap)
    kept = select(scores=[scores], keep=keep, policy=policy, entropy=SEED, round=RoundNumber(round))["layer"]
    assert len(scores.change) - len(kept) == due(len(scores.change), keep)


def turns(scores: LayerScores, levels: Sequence[int], policy: PruningPolicy) -> list[set[int]]:
    """What each of these blocks prunes, one after the other."""
    kept = selector(scores=[scores], policy=policy, entropy=SEED, round=ROUND)
    everybody = set(range(len(scores.change)))
    return [everybody - set(kept(level, levels[:k])["layer"].tolist()) for k, level in enumerate(levels)]


@pytest.mark.rule("SEL-7", "SEL-8", "SEL-9")
@given(scores=layer_scores(), policy=policies(), levels=st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_blocks_take_turns_at_the_order(scores: LayerScores, policy: PruningPolicy, levels: list[int]) -> None:
    """Dealt out like cards, one at a time, the order over and over: each gets as many as it would without the others."""
    order = pruning_order(scores=scores, policy=policy, entropy=SEED, round=ROUND)
    cards, found = order * (len(levels) + 1), turns(scores, levels, policy)
    for level, pruned_now in zip(levels, found, strict=True):
        count = min(due(len(scores.change), level), len(order))
        hand, cards = cards[:count], cards[count:]
        assert pruned_now == set(hand)
        assert len(pruned_now) == count


@pytest.mark.rule("SEL-8")
@given(scores=layer_scores(), policy=policies(), levels=st.lists(st.integers(500, 1000), min_size=1, max_size=6))
def test_turns_are_disjoint_while_there_are_enough(
    scores: LayerScores, policy: PruningPolicy, levels: list[int]
) -> None:
    """And what they prune together is what one block would that prunes as many. Beyond that, everything has its turn."""
    order = pruning_order(scores=scores, policy=policy, entropy=SEED, round=ROUND)
    found = turns(scores, levels, policy)
    together = sum(map(len, found))
    union: set[int] = set().union(*found)
    assert union == set(order[:together])
    if together <= len(order):
        assert len(union) == together
    elif found:
        share = [sum(j in one for one in found) for j in order]
        assert max(share) - min(share) <= 1  # nobody goes twice before everybody went once


@pytest.mark.rule("SEL-8")
@given(scores=layer_scores(), policy=policies(), levels=st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_a_neuron_that_one_block_prunes_the_others_hold(
    scores: LayerScores, policy: PruningPolicy, levels: list[int]
) -> None:
    """Unless they prune more than there is: what strata rest on."""
    found = turns(scores, levels, policy)
    order = pruning_order(scores=scores, policy=policy, entropy=SEED, round=ROUND)
    if len(levels) > 1 and sum(map(len, found)) <= len(order):
        assert not set.intersection(*found)


@pytest.mark.rule("SEL-4")
def test_every_layer_has_a_permutation_of_its_own() -> None:
    policy = PruningPolicy(selection=Selection.PAPER, threshold=0, mean=Mean.DILUTE)
    both = [scores_of([1] * 40, [1] * 40, name) for name in ("first", "second")]
    kept = select(scores=both, keep=500, policy=policy, entropy=SEED, round=ROUND)
    assert kept["first"].tolist() != kept["second"].tolist()
    again = select(scores=both, keep=500, policy=policy, entropy=bytes(32), round=ROUND)
    assert kept["first"].tolist() != again["first"].tolist()


# Hand-worked: ratios 3, 1/2, 1, 1/2, 2 of five neurons; the pooled mean is (3 + 2 + 2 + 1 + 2)/(1 + 4 + 2 + 2 + 1) = 1.

FIVE = scores_of([3, 2, 2, 1, 2], [1, 4, 2, 2, 1])


@pytest.mark.rule("SEL-1")
def test_vector_ranking() -> None:
    assert ranking(scores=FIVE) == [1, 3, 2, 4, 0]
    big = scores_of([2**58, 2**58 - 1, 2**58 - 1], [2**57 + 1, 2**57, 2**57 + 1])
    assert ranking(scores=big) == [2, 0, 1]  # about 2 − k·2⁻⁵⁷ for k = 2, 1, 3: equal in float64


@pytest.mark.rule("SEL-2", "SEL-3", "SEL-6", "SEL-7")
@pytest.mark.parametrize(
    ("keep", "rank", "strict"),
    [
        (1000, set(), set()),
        (999, {1}, {1}),
        (800, {1}, {1}),
        (799, {1, 3}, {1, 3}),
        (600, {1, 3}, {1, 3}),
        (500, {1, 3, 2}, {1, 3}),
        (200, {1, 3, 2, 4}, {1, 3}),
        (1, {1, 3, 2, 4}, {1, 3}),
    ],
)
def test_vector_rank_and_strict(keep: int, rank: set[int], strict: set[int]) -> None:
    assert pruned(FIVE, keep, PruningPolicy()) == rank
    assert pruned(FIVE, keep, PruningPolicy(selection=Selection.STRICT)) == strict


@pytest.mark.rule("SEL-4")
def test_vector_paper() -> None:
    """Neurons 1 and 3 are invariant; the permutation under this seed is 0, 2, 4, 1, 3."""
    seed = next(
        bytes([k]) * 32
        for k in range(256)
        if permutation(entropy=bytes([k]) * 32, purpose="slack layer", length=5).tolist() == [0, 2, 4, 1, 3]
    )
    policy = PruningPolicy(selection=Selection.PAPER, mean=Mean.DILUTE)
    assert [pruned(FIVE, keep, policy, seed) for keep in (800, 600, 400, 200)] == [
        {1},
        {1, 3},
        {1, 3, 0},
        {1, 3, 0, 2},
    ]
    assert pruned(FIVE, 400, attrs.evolve(policy, threshold=1001), seed) == {1, 3, 2}


@pytest.mark.rule("SEL-5")
def test_vector_age_cap() -> None:
    """A = 4: round 5 spares neurons 1 and 5, round 7 spares neuron 3; the next in the order go instead."""
    policy = PruningPolicy(age_cap=4)
    for round, order in ((5, [3, 2, 4, 0]), (7, [1, 2, 4, 0]), (8, [1, 3, 2]), (9, [3, 2, 4, 0])):
        found = pruning_order(scores=FIVE, policy=policy, entropy=SEED, round=RoundNumber(round))
        assert found == order


@pytest.mark.rule("SEL-8")
@pytest.mark.parametrize(
    ("levels", "pruned_by"),
    [
        ([600], [{1, 3}]),
        ([600, 800], [{1, 3}, {2}]),
        ([600, 800, 600], [{1, 3}, {2}, {4, 0}]),
        ([600, 600, 600], [{1, 3}, {2, 4}, {0, 1}]),
        ([200, 200], [{1, 3, 2, 4}, {0, 1, 3, 2}]),
        ([1000, 800], [set(), {1}]),
        ([1, 1000, 1], [{1, 3, 2, 4}, set(), {0, 1, 3, 2}]),
    ],
)
def test_vector_turns(levels: list[int], pruned_by: list[set[int]]) -> None:
    """The order is 1, 3, 2, 4, 0."""
    assert turns(FIVE, levels, PruningPolicy()) == pruned_by


@pytest.mark.rule("SEL-7", "SEL-8")
def test_vector_turns_at_a_short_order() -> None:
    """`strict`: 1 and 3 alone. A block that would prune four takes both, and the next begins at the first."""
    strict = PruningPolicy(selection=Selection.STRICT)
    assert turns(FIVE, [200, 800, 800], strict) == [{1, 3}, {1}, {3}]
    assert turns(FIVE, [800, 600, 800], strict) == [{1}, {3, 1}, {3}]
    none = PruningPolicy(selection=Selection.STRICT, threshold=0)
    assert turns(FIVE, [200, 200], none) == [set(), set()]


@pytest.mark.rule("SEL-9", "SEL-5", "SEL-8")
def test_vector_ordered() -> None:
    ordered = PruningPolicy(selection=Selection.ORDERED)
    assert pruning_order(scores=FIVE, policy=ordered, entropy=b"", round=ROUND) == [4, 3, 2, 1, 0]
    assert pruned(FIVE, 600, ordered) == {3, 4}
    assert turns(FIVE, [600, 600], ordered) == [{3, 4}, {1, 2}]
    capped = attrs.evolve(ordered, age_cap=4)
    assert pruning_order(scores=FIVE, policy=capped, entropy=b"", round=ROUND) == [4, 3, 2, 0]


@pytest.mark.rule("SEL-8")
@pytest.mark.parametrize("level", [0, -1, 1001])
def test_refuses_a_level_ahead_that_is_none(level: int) -> None:
    with pytest.raises(PreconditionError, match=f"SEL-8: a keep level is 1 … 1000 ‰, got {level}"):
        select(scores=[FIVE], keep=500, ahead=(700, level), policy=PruningPolicy(), entropy=SEED, round=ROUND)


@pytest.mark.rule("SEL-6")
@pytest.mark.parametrize("keep", [0, -1, 1001])
def test_refuses_a_level_that_is_none(keep: int) -> None:
    with pytest.raises(PreconditionError, match="SEL-6: a keep level is 1 … 1000 ‰"):
        select(scores=[FIVE], keep=keep, policy=PruningPolicy(), entropy=SEED, round=ROUND)


@pytest.mark.rule("SEL-4", "RND-5")
def test_refuses_a_seed_of_another_length() -> None:
    policy = PruningPolicy(selection=Selection.PAPER, mean=Mean.DILUTE)
    with pytest.raises(PreconditionError, match="RND-5"):
        select(scores=[FIVE], keep=500, policy=policy, entropy=bytes(31), round=ROUND)
