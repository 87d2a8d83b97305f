"""Aggregation: whose mean a coordinate gets, against fractions."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clip_ref.aggregation import (
    add,
    aggregate,
    holder_weights,
    level_weights,
    read_histogram,
    read_slots,
    scaled_among,
)
from clip_ref.codec import BLOCK, encode, encode_scaled, quantise
from clip_ref.errors import SERVER, ContributionError, PreconditionError
from clip_ref.layout import Layout
from clip_ref.oracle.strategies import client_ids, kept_sets, kept_sets_at, layouts, models, rngs
from clip_ref.padding import pad, padded_length
from clip_ref.params import NO_PRUNING, PAPER_POLICY, Encoding, Mean, Params, PruningPolicy, Score, Selection
from clip_ref.values import ClientId, Floats, RingVector

GRID = (1000, 750, 500)
Held = dict[int, NDArray[np.bool_]]


def params_of(mean: Mean, *, bits: int = 32, clip: float = 1.0, cap: int = 64) -> Params:
    """Exact where C = 1: then S·C and (2^(q−1) − 1)·h are integers that float64 holds."""
    encoding = Encoding(ring_bits=bits, clip=clip, value_bits=10, weight_max=100)
    return Params(clients=8, policy=PruningPolicy(grid=GRID, mean=mean, holder_cap=cap), encoding=encoding)


def never(keep: int) -> NDArray[np.bool_]:
    raise AssertionError(f"asked what {keep} holds")


@attrs.frozen
class Fleet:
    """Clients with a level, a weight and an update of their sub-model each; neuron sets are nested, as selections are."""

    layout: Layout
    model: Floats
    held: Held
    levels: dict[ClientId, int]
    weights: dict[ClientId, int]
    updates: dict[ClientId, Floats]

    def holds(self, u: ClientId) -> NDArray[np.bool_]:
        return self.held[self.levels[u]]


@st.composite
def fleets(draw: st.DrawFn, unpruned: bool = False) -> Fleet:
    layout, rng = draw(layouts()), draw(rngs())
    held = {1000: np.ones(layout.size, dtype=bool)}
    if not unpruned:
        smaller = draw(kept_sets_at(layout, 750))
        count = {name: max(1, len(index) * 2 // 3) for name, index in smaller.items()}
        held |= {750: layout.held(smaller), 500: layout.held({k: v[: count[k]] for k, v in smaller.items()})}
    ids = [ClientId(u) for u in range(draw(st.integers(1, 6)))]
    levels = {u: draw(st.sampled_from(sorted(held))) for u in ids}
    updates = {u: np.clip(rng.normal(size=int(held[levels[u]].sum())) * 0.4, -2, 2).astype(np.float32) for u in ids}
    weights = {u: draw(st.integers(1, 100)) for u in ids}
    return Fleet(layout, draw(models(layout)), held, levels, weights, updates)


def uploads(fleet: Fleet, params: Params) -> dict[ClientId, RingVector]:
    """Each client's padded update, before any mask."""
    out, encoding = {}, params.encoding
    holders = sum(fleet.weights[u] * fleet.holds(u).astype(np.int64) for u in fleet.levels)
    for u, update in fleet.updates.items():
        held, weight = fleet.holds(u), fleet.weights[u]
        if params.policy.mean is Mean.HOLDER:
            assert isinstance(holders, np.ndarray)
            coded = encode_scaled(
                update=update,
                weight=weight,
                total=sum(fleet.weights.values()),
                holders=holders[held],
                cap=params.policy.holder_cap,
                encoding=encoding,
            )
        else:
            coded = encode(update=update, weight=weight, encoding=encoding)
        out[u] = pad(coded=coded, held=held, keep=fleet.levels[u], weight=weight, params=params)
    return out


def total_of(vectors: Mapping[ClientId, RingVector], survivors: list[ClientId], params: Params) -> RingVector:
    total = np.zeros(len(next(iter(vectors.values()))), dtype=params.encoding.ring.dtype)
    for u in survivors:
        add(total=total, vector=vectors[u])
    return total


def wanted(fleet: Fleet, survivors: list[ClientId], params: Params, everybody: bool) -> list[np.float32]:
    """w + Σ weight·v / (steps·h) over the survivors, with h the weight of those who hold it or of all, in fractions.

    Rounded as AGG-7 says: the mean to float64, the sum to float64, the result to float32.
    """
    sums = [0] * fleet.layout.size
    weight = [0] * fleet.layout.size
    for u in survivors:
        values = iter(quantise(update=fleet.updates[u], encoding=params.encoding).tolist())
        for j, held in enumerate(fleet.holds(u)):
            sums[j] += fleet.weights[u] * next(values) if held else 0
            weight[j] += fleet.weights[u] if held or everybody else 0
    means = [Fraction(s, params.encoding.steps * h) if h else Fraction(0) for s, h in zip(sums, weight, strict=True)]
    return [np.float32(float(w) + float(mean)) for w, mean in zip(fleet.model, means, strict=True)]


def some(fleet: Fleet, data: st.DataObject) -> list[ClientId]:
    ids = sorted(fleet.levels)
    return sorted(data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=len(ids), unique=True)))


@pytest.mark.rule("AGG-1", "AGG-3", "AGG-5", "AGG-6", "AGG-7", "PAD-5")
@given(fleet=fleets(), bits=st.sampled_from((32, 64)), data=st.data())
def test_levels_is_the_holders_mean_whoever_survives(fleet: Fleet, bits: int, data: st.DataObject) -> None:
    params, survivors = params_of(Mean.LEVELS, bits=bits), some(fleet, data)
    total = total_of(uploads(fleet, params), survivors, params)
    result = aggregate(
        total=total, model=fleet.model, params=params, survivors=len(survivors), held=fleet.held.__getitem__
    )
    assert result.model.tolist() == [float(w) for w in wanted(fleet, survivors, params, everybody=False)]
    assert result.model.dtype == np.float32
    assert result.slots == tuple(sum(fleet.weights[u] for u in survivors if fleet.levels[u] == r) for r in GRID)
    assert result.weight == sum(fleet.weights[u] for u in survivors)


@pytest.mark.rule("AGG-6", "AGG-7", "PAD-4")
@given(fleet=fleets(), data=st.data())
def test_dilute_divides_by_everybody(fleet: Fleet, data: st.DataObject) -> None:
    params, survivors = params_of(Mean.DILUTE), some(fleet, data)
    total = total_of(uploads(fleet, params), survivors, params)
    result = aggregate(total=total, model=fleet.model, params=params, survivors=len(survivors), held=never)
    assert result.model.tolist() == [float(w) for w in wanted(fleet, survivors, params, everybody=True)]
    assert result.slots == (sum(fleet.weights[u] for u in survivors), 0, 0)


@pytest.mark.rule("AGG-4", "AGG-6", "COD-5")
@given(fleet=fleets())
def test_holder_is_the_holders_mean_if_nobody_drops(fleet: Fleet) -> None:
    """Up to the rounding of `encode_scaled`: half a step for each holder, divided by the whole weight."""
    params = params_of(Mean.HOLDER, bits=64, cap=64)
    total = total_of(uploads(fleet, params), sorted(fleet.levels), params)
    result = aggregate(total=total, model=fleet.model, params=params, survivors=len(fleet.levels), held=never)
    heavy = sum(fleet.weights.values())
    holders = holder_weights(
        weights=fleet.weights, held={u: fleet.holds(u) for u in fleet.levels}, size=fleet.layout.size
    )
    uncapped = np.array([h == 0 or heavy <= 64 * h for h in holders.tolist()])
    want = np.array(wanted(fleet, sorted(fleet.levels), params, everybody=False), dtype=np.float64)
    slack = len(fleet.levels) / (2 * heavy * params.encoding.steps)
    ulp = np.spacing(np.abs(want).astype(np.float32)).astype(np.float64)
    assert (np.abs(result.model - want)[uncapped] <= (slack + ulp)[uncapped]).all()


@pytest.mark.rule("AGG-4")
@given(fleet=fleets())
def test_holder_weights(fleet: Fleet) -> None:
    held = {u: fleet.holds(u) for u in fleet.levels}
    found = holder_weights(weights=fleet.weights, held=held, size=fleet.layout.size)
    assert found.tolist() == [
        sum(fleet.weights[u] for u in fleet.levels if held[u][j]) for j in range(fleet.layout.size)
    ]
    slots = [sum(w for u, w in fleet.weights.items() if fleet.levels[u] == r) for r in GRID]
    assert (
        level_weights(slots=slots, held=fleet.held.__getitem__, size=fleet.layout.size, grid=GRID).tolist()
        == found.tolist()
    )


# Strata: those who prune stand in for each other, whichever neurons each of them prunes


@attrs.frozen
class Strata:
    """Clients of which some prune, each what it likes; `declared` weights are those of their records."""

    layout: Layout
    params: Params
    held: dict[ClientId, NDArray[np.bool_]]
    pruning: list[ClientId]
    weights: dict[ClientId, int]
    declared: dict[ClientId, int]
    updates: dict[ClientId, Floats]

    def values(self, u: ClientId) -> list[int]:
        """v at full length, 0 where it prunes."""
        values = iter(quantise(update=self.updates[u], encoding=self.params.encoding).tolist())
        return [next(values) if held else 0 for held in self.held[u]]

    def sum(self, survivors: list[ClientId]) -> list[int]:
        """What the server gets, coordinate by coordinate."""
        keep = {u: 500 if u in self.pruning else 1000 for u in self.held}
        vectors = {}
        for u, update in self.updates.items():
            among = scaled_among(weights=self.declared, keep=keep, client=u, mean=Mean.STRATA)
            if among:
                held = {v: self.held[v] for v in among}
                holders = holder_weights(weights=among, held=held, size=self.layout.size)[self.held[u]]
                coded = encode_scaled(
                    update=update,
                    weight=self.weights[u],
                    total=sum(among.values()),
                    holders=holders,
                    cap=self.params.policy.holder_cap,
                    encoding=self.params.encoding,
                )
            else:
                coded = encode(update=update, weight=self.weights[u], encoding=self.params.encoding)
            vectors[u] = pad(coded=coded, held=self.held[u], keep=keep[u], weight=self.weights[u], params=self.params)
        total = total_of(vectors, survivors, self.params)
        assert [int(s) for s in total[self.layout.size :]] == [sum(self.weights[u] for u in survivors), 0, 0]
        return self.params.encoding.ring.centred(total[: self.layout.size]).tolist()  # type: ignore[no-any-return]


@st.composite
def strata(draw: st.DrawFn, lies: bool = False) -> Strata:
    layout, rng = draw(layouts()), draw(rngs())
    ids = [ClientId(u) for u in range(draw(st.sampled_from((7, 6, 5, 4, 2, 1))))]
    pruning = [u for u in ids if draw(st.integers(0, 2))]
    sets = [layout.held(draw(kept_sets(layout))) for _ in range(draw(st.sampled_from((3, 2, 1))))]
    whole = np.ones(layout.size, dtype=bool)
    held = {u: sets[draw(st.integers(0, len(sets) - 1))] if u in pruning else whole for u in ids}
    weights = {u: draw(st.one_of(st.just(7), st.integers(1, 100))) for u in ids}
    declared = {u: draw(st.integers(1, 100)) if lies and draw(st.booleans()) else w for u, w in weights.items()}
    updates = {u: rng.normal(size=int(held[u].sum())).astype(np.float32) for u in ids}
    params = params_of(Mean.STRATA, bits=64, cap=draw(st.sampled_from((1, 2, 4, 64))))
    return Strata(layout, params, held, pruning, weights, declared, updates)


@pytest.mark.rule("AGG-9", "AGG-4", "COD-5")
@given(case=strata(), data=st.data())
def test_strata_is_the_stratified_mean_less_what_drops_out(case: Strata, data: st.DataObject) -> None:
    """Whoever survives: the sum is that of the fast, and the mean of the slow holders times the weight of all who prune in U3,
    off by exactly g · (s·(h − D_j) − (P − D)) as AGG-9 has it, and by half a step for each holder."""
    ids = sorted(case.held)
    survivors = sorted(data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=len(ids), unique=True)))
    found, cap, encoding = case.sum(survivors), case.params.policy.holder_cap, case.params.encoding
    values = {u: case.values(u) for u in ids}
    everybody = sum(case.weights[u] for u in survivors)
    prune = sum(case.weights[u] for u in case.pruning)
    lost = prune - sum(case.weights[u] for u in case.pruning if u in survivors)
    for j in range(case.layout.size):
        holders = [u for u in case.pruning if case.held[u][j]]
        left = [u for u in holders if u in survivors]
        fast = sum(case.weights[u] * values[u][j] for u in survivors if u not in case.pruning)
        slack = Fraction(len(left), 2)
        h = sum(case.weights[u] for u in holders)
        h_left = sum(case.weights[u] for u in left)
        if not left:  # nobody stands in: the mean of the fast, diluted
            assert found[j] == fast
            continue
        g = Fraction(sum(case.weights[u] * values[u][j] for u in left), h_left)
        s = min(Fraction(prune, h), Fraction(cap))
        stratified = fast + (prune - lost) * g
        off = g * (s * h_left - (prune - lost))
        assert abs(found[j] - (stratified + off)) <= slack
        if prune <= cap * h:
            assert off == g * (lost - s * (h - h_left))
            bound = max(1, cap - 1) * encoding.steps * Fraction(lost, everybody)
            assert abs(Fraction(found[j]) - stratified) / everybody <= bound + slack / everybody
            if not lost:
                assert abs(found[j] - stratified) <= slack  # whatever the weights are


@pytest.mark.rule("AGG-9", "COD-5")
@given(case=strata())
def test_of_equal_weights_in_whole_blocks_strata_is_exact_where_nothing_is_rounded(case: Strata) -> None:
    """With P a multiple of h_j no factor is a fraction: then the sum is the stratified one to the last bit."""
    case = attrs.evolve(case, weights=dict.fromkeys(case.held, 7), declared=dict.fromkeys(case.held, 7))
    found, cap = case.sum(sorted(case.held)), case.params.policy.holder_cap
    values = {u: case.values(u) for u in case.held}
    for j in range(case.layout.size):
        holders = [u for u in case.pruning if case.held[u][j]]
        if not holders or len(case.pruning) % len(holders) or len(case.pruning) > cap * len(holders):
            continue
        factor = len(case.pruning) // len(holders)
        assert found[j] == 7 * sum(
            values[u][j] * (factor if u in case.pruning else 1) for u in case.held if case.held[u][j]
        )


@pytest.mark.rule("AGG-9", "COD-5")
@given(case=strata(lies=True))
def test_a_lie_about_weights_reaches_those_who_prune_and_no_further_than_the_cap(case: Strata) -> None:
    """Whatever the records declare, a straggler's value counts 1- to cap-fold, and anybody else's as it is."""
    found, cap = case.sum(sorted(case.held)), case.params.policy.holder_cap
    values = {u: case.values(u) for u in case.held}
    for j in range(case.layout.size):
        fast = sum(case.weights[u] * values[u][j] for u in case.held if u not in case.pruning)
        slow = [case.weights[u] * values[u][j] for u in case.pruning if case.held[u][j]]
        low = sum(min(v, cap * v) for v in slow)
        high = sum(max(v, cap * v) for v in slow)
        assert fast + low <= found[j] <= fast + high


@pytest.mark.rule("AGG-9")
@given(
    weights=st.dictionaries(client_ids(), st.integers(0, 2**32 - 1), min_size=1, max_size=6),
    mean=st.sampled_from(Mean),
    data=st.data(),
)
def test_among_whom_values_are_scaled(weights: dict[ClientId, int], mean: Mean, data: st.DataObject) -> None:
    keep = {u: data.draw(st.sampled_from((1000, 750, 1))) for u in weights}
    for client in weights:
        found = scaled_among(weights=weights, keep=keep, client=client, mean=mean)
        if mean is Mean.HOLDER:
            assert found == weights
        elif mean is Mean.STRATA and keep[client] < 1000:
            assert found == {u: w for u, w in weights.items() if keep[u] < 1000}
            assert client in found
        else:
            assert found == {}


@pytest.mark.rule("AGG-9")
@pytest.mark.parametrize(
    ("weights", "keep", "client"),
    [({1: 5, 2: 6}, {1: 500, 2: 500}, 3), ({1: 5, 2: 6}, {1: 500}, 1), ({1: 5}, {1: 500, 2: 500}, 1), ({}, {}, 1)],
)
def test_whoever_scales_is_among_those_who_are_known(
    weights: dict[ClientId, int], keep: dict[ClientId, int], client: ClientId
) -> None:
    with pytest.raises(PreconditionError, match="AGG-9: every client of U2 has a weight and a keep level"):
        scaled_among(weights=weights, keep=keep, client=client, mean=Mean.STRATA)


def every_policy() -> list[PruningPolicy]:
    plain = [
        PruningPolicy(mean=mean, selection=selection, score=score, holder_cap=2)
        for mean in Mean
        for selection in (Selection.RANK, Selection.STRICT)
        for score in (Score.L1, Score.MEAN)
    ]
    return [*plain, PAPER_POLICY, PruningPolicy(grid=GRID), PruningPolicy(grid=(1000,), mean=Mean.HOLDER)]


@pytest.mark.rule("AGG-3", "AGG-4", "AGG-6", "COD-5")
@given(fleet=fleets(unpruned=True), bits=st.sampled_from((32, 64)), clip=st.sampled_from((1.0, 0.3)), data=st.data())
def test_unpruned_every_policy_is_plain_secure_aggregation(
    fleet: Fleet, bits: int, clip: float, data: st.DataObject
) -> None:
    """Bit for bit: where nobody prunes, the definitions of the mean do not differ, drop-outs or not."""
    survivors = some(fleet, data)
    results = set()
    for policy in (NO_PRUNING, *every_policy()):
        params = attrs.evolve(params_of(Mean.DILUTE, bits=bits, clip=clip), policy=policy)
        total = total_of(uploads(fleet, params), survivors, params)
        result = aggregate(
            total=total, model=fleet.model, params=params, survivors=len(survivors), held=fleet.held.__getitem__
        )
        results.add(result.model.tobytes())
        assert result.weight == sum(fleet.weights[u] for u in survivors)
    assert len(results) == 1


# Hand-worked: four coordinates, the second held at 1000 and 750 ‰ only, the last at 1000 alone.

MODEL = np.array([1, 2, 3, 4], dtype=np.float32)
HOLDS = {1000: np.array([1, 1, 1, 1], bool), 750: np.array([1, 1, 1, 0], bool), 500: np.array([1, 0, 1, 0], bool)}


def ring(*values: int) -> RingVector:
    return np.array([v % 2**32 for v in values], dtype="<u4")


@pytest.mark.rule("AGG-3", "AGG-6")
def test_vector_levels() -> None:
    """Weights 10 at 1000, 0 at 750, 30 at 500; 511 steps to 1. The level without weight is not asked for."""
    asked: list[int] = []

    def held(keep: int) -> NDArray[np.bool_]:
        asked.append(keep)
        return HOLDS[keep]

    total = ring(511 * 40, 511 * 10, -511 * 20, 511 * 5, 10, 0, 30)
    result = aggregate(total=total, model=MODEL, params=params_of(Mean.LEVELS), survivors=1, held=held)
    assert asked == [1000, 500]
    assert result.slots == (10, 0, 30)
    assert result.model.tolist() == [2.0, 3.0, 2.5, 4.5]
    assert repr(result) == "Aggregate(slots=(10, 0, 30), histogram=())"


@pytest.mark.rule("AGG-6")
def test_vector_nobody_holds_it() -> None:
    """All survivors pruned coordinates 1 and 3: they stay, whatever the sum says there."""
    total = ring(511 * 30, 77, 0, -5, 0, 0, 30)
    result = aggregate(total=total, model=MODEL, params=params_of(Mean.LEVELS), survivors=1, held=HOLDS.__getitem__)
    assert result.model.tolist() == [2.0, 2.0, 3.0, 4.0]


@pytest.mark.rule("AGG-6", "AGG-7")
def test_vector_dilute() -> None:
    total = ring(511 * 40, 511 * 10, -511 * 20, 511 * 5, 40, 0, 0)
    result = aggregate(total=total, model=MODEL, params=params_of(Mean.DILUTE), survivors=1, held=never)
    assert result.model.tolist() == [2.0, 2.25, 2.5, 4.125]


@pytest.mark.rule("AGG-3", "AGG-6")
@pytest.mark.parametrize("mean", [Mean.LEVELS, Mean.DILUTE])
def test_a_long_model_follows_like_its_parts(mean: Mean) -> None:
    """It is worked out in blocks: what holds at one coordinate holds behind the end of a block."""
    rng, size = np.random.default_rng(1), 2 * BLOCK + 5
    model = rng.normal(size=size).astype(np.float32)
    total = ring(*rng.integers(-1000, 1000, size=size).tolist(), 40, 20, 0)
    holds = {1000: np.ones(size, dtype=bool), 750: rng.random(size) < 0.7}
    result = aggregate(total=total, model=model, params=params_of(mean), survivors=1, held=holds.__getitem__).model
    weight = 40 + 20 * holds[750] if mean is Mean.LEVELS else 60
    expected = model + total[:size].view("<i4").astype(np.float64) / (511 * weight)
    np.testing.assert_array_equal(result, expected.astype(np.float32))


@pytest.mark.rule("AGG-7")
def test_vector_the_next_model_is_rounded_once() -> None:
    """A mean of 2⁻²⁴ + 2⁻⁵⁰: rounded to float32 by itself, 1 plus it would be a tie and stay 1."""
    encoding = Encoding(ring_bits=64, clip=2.0**-18, value_bits=2, weight_max=2**32 - 1)
    params = attrs.evolve(params_of(Mean.DILUTE), encoding=encoding)
    total = np.array([2**26 + 1, 2**32, 0, 0], dtype="<u8")
    result = aggregate(total=total, model=np.ones(1, dtype=np.float32), params=params, survivors=2, held=never)
    assert result.model.tolist() == [1 + 2.0**-23]


@pytest.mark.rule("AGG-1")
def test_adding_wraps_and_refuses_another_shape() -> None:
    total = np.array([2**32 - 1, 5], dtype="<u4")
    add(total=total, vector=ring(3, 4))
    assert total.tolist() == [2, 9]
    bad: list[Any] = [ring(1), ring(1, 2, 3), np.zeros(2, dtype="<u8"), np.zeros((1, 2), dtype="<u4")]
    for vector in bad:
        with pytest.raises(PreconditionError, match="AGG-1"):
            add(total=total, vector=vector)
    assert total.tolist() == [2, 9]


@pytest.mark.rule("AGG-2")
@pytest.mark.parametrize(
    ("survivors", "slots", "plausible"),
    [
        (1, (1, 0, 0), True),
        (1, (0, 0, 100), True),
        (1, (0, 101, 0), False),
        (1, (50, 51, 0), False),
        (3, (1, 1, 1), True),
        (3, (3, 0, 0), True),
        (3, (2, 0, 0), False),
        (3, (1, 1, 0), False),
        (3, (0, 300, 0), True),
        (3, (301, 0, 0), False),
        (3, (800, 0, 0), False),
        (8, (800, 0, 0), True),
        (8, (0, 0, 800), True),
        (8, (300, 300, 200), True),
        (8, (0, 0, 0), False),
        (8, (801, 0, 0), False),
        (8, (300, 300, 201), False),
        (8, (2**32 - 1, 1, 100), False),
        (8, (-1, 0, 100), False),
    ],
)
@pytest.mark.parametrize("mean", Mean)
def test_vector_plausible_slots(survivors: int, slots: tuple[int, int, int], plausible: bool, mean: Mean) -> None:
    """Of 8 clients some survive, each of weight 1 … 100: they add up to no less and no more than as many can."""
    total, params = ring(0, 0, 0, 0, *slots), params_of(mean)
    if plausible:
        assert read_slots(total=total, size=4, params=params, survivors=survivors) == slots
        aggregate(total=total, model=MODEL, params=params, survivors=survivors, held=HOLDS.__getitem__)
        return
    with pytest.raises(ContributionError) as caught:
        aggregate(total=total, model=MODEL, params=params, survivors=survivors, held=HOLDS.__getitem__)
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("AGG-2", SERVER, "slots")


@pytest.mark.rule("AGG-2", "AGG-8")
@pytest.mark.parametrize("survivors", [-1, 0, 9])
def test_a_sum_is_over_some_of_the_clients(survivors: int) -> None:
    total = ring(0, 0, 0, 0, 8, 0, 0)
    with pytest.raises(PreconditionError, match=rf"AGG-2: a sum is over 1 … 8 clients, not over {survivors}"):
        aggregate(total=total, model=MODEL, params=params_of(Mean.DILUTE), survivors=survivors, held=never)


@pytest.mark.rule("AGG-5")
def test_refuses_another_total_or_model() -> None:
    params, good = params_of(Mean.LEVELS), ring(0, 0, 0, 0, 1, 0, 0)
    assert len(good) == padded_length(size=4, params=params)
    totals: list[Any] = [good[:-1], ring(0, 0, 0, 0, 0, 1, 0, 0), good.astype("<u8"), good.reshape(7, 1)]
    for total in totals:
        with pytest.raises(PreconditionError, match="AGG-5"):
            aggregate(total=total, model=MODEL, params=params, survivors=1, held=HOLDS.__getitem__)
    for bad in (np.nan, np.inf):
        with pytest.raises(PreconditionError, match=r"AGG-5: the model holds .* at coordinate 2"):
            aggregate(
                total=good,
                model=np.array([0, 1, bad, 2], dtype=np.float32),
                params=params,
                survivors=1,
                held=HOLDS.__getitem__,
            )


@pytest.mark.rule("AGG-7")
@given(rng=rngs())
def test_inputs_stay_as_they_are(rng: np.random.Generator) -> None:
    total = ring(*rng.integers(0, 2**32, size=4).tolist(), 1, 2, 3)
    before, model = total.copy(), MODEL.copy()
    result = aggregate(total=total, model=model, params=params_of(Mean.LEVELS), survivors=1, held=HOLDS.__getitem__)
    assert total.tolist() == before.tolist()
    assert model.tolist() == MODEL.tolist()
    assert not result.model.flags.writeable


@pytest.mark.rule("AGG-3", "AGG-6")
def test_vector_dilution_makes_a_pruned_neuron_look_invariant() -> None:
    """Where the feedback loop begins: everybody who holds a coordinate moves it by 1, but 80 of 100 parts of the weight prune
    it. Diluted it moves by a fifth; by the holders' mean it moves as it does where nobody prunes."""
    model, holds = np.zeros(2, dtype=np.float32), {1000: np.array([1, 1], bool), 500: np.array([1, 0], bool)}
    moved = {}
    for mean, slots in ((Mean.DILUTE, (100, 0, 0)), (Mean.LEVELS, (20, 0, 80))):
        total = ring(511 * 100, 511 * 20, *slots)
        result = aggregate(total=total, model=model, params=params_of(mean), survivors=1, held=holds.__getitem__)
        moved[mean] = result.model.tolist()
    assert moved == {Mean.DILUTE: [1.0, pytest.approx(0.2)], Mean.LEVELS: [1.0, 1.0]}


# The histogram of times, on a graph


@pytest.mark.rule("AGG-8", "AGG-2", "AGG-5")
@pytest.mark.parametrize(
    ("survivors", "counts", "plausible"),
    [
        (9, (0, 0, 0), True),
        (9, (2, 0, 7), True),
        (9, (9, 0, 0), True),
        (9, (9, 0, 1), False),
        (9, (0, 0, 2**32 - 1), False),
        (4, (1, 1, 2), True),
        (4, (0, 5, 0), False),
        (4, (2, 1, 2), False),
    ],
)
def test_vector_plausible_histograms(survivors: int, counts: tuple[int, int, int], plausible: bool) -> None:
    """At most as many clients as are in the sum have a time, of n = 9; fewer may."""
    policy = PruningPolicy(grid=GRID, anonymity_blocks=False, bucket_count=3)
    params = Params(clients=9, neighbours=4, policy=policy, encoding=Encoding(value_bits=10, weight_max=100))
    total = ring(511 * 40, 511 * 10, -511 * 20, 511 * 5, 40, 0, 0, *counts)

    def found() -> tuple[int, ...]:
        return aggregate(total=total, model=MODEL, params=params, survivors=survivors, held=HOLDS.__getitem__).histogram

    if plausible:
        assert found() == counts == read_histogram(total=total, size=4, params=params, survivors=survivors)
        return
    with pytest.raises(ContributionError) as caught:
        found()
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("AGG-8", SERVER, "histogram")


@pytest.mark.rule("AGG-8")
def test_a_clique_has_no_histogram() -> None:
    total = ring(0, 0, 0, 0, 40, 0, 0)
    result = aggregate(total=total, model=MODEL, params=params_of(Mean.LEVELS), survivors=1, held=HOLDS.__getitem__)
    assert result.histogram == ()
