"""Invariance: scores that are the same on every machine, against the definitions written out over single coordinates."""

import math
import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError
from clip_ref.invariance import FLOAT_SCORE_LIMIT, FLOAT_SCORE_UNIT, WEIGHT_LIMIT, gapped, group_sums, quantise, score
from clip_ref.layout import Axis, Layer, Layout, Tensor, dense_chain
from clip_ref.oracle.strategies import dense_layouts, histories, layouts, rngs
from clip_ref.params import Score
from clip_ref.scores import LayerScores, invariant
from clip_ref.selection import ranking
from clip_ref.values import Floats

Group = list[int]

CHANGES = [mode for mode in Score if mode is not Score.SIZE]
"""The scores that are of a change."""


def groups(layout: Layout) -> dict[str, list[Group]]:
    """Each neuron's coordinates in the flat model, from the definition: one coordinate at a time."""
    out: dict[str, list[Group]] = {layer.name: [[] for _ in range(layer.neurons)] for layer in layout.layers}
    at = 0
    for tensor in layout.tensors:
        for index in np.ndindex(tensor.shape):
            owners = set()
            for where, axis in zip(index, tensor.axes, strict=True):
                if axis.layer is not None:
                    owners.add((axis.layer, where // axis.inner % len(out[axis.layer])))
            for name, neuron in owners:
                out[name][neuron].append(at)
            at += 1
    return out


def scaled(weight: np.float32) -> int:
    """round_half_even(w·2²⁴), saturated; Python rounds fractions half to even."""
    return max(-(2**31 - 1), min(2**31 - 1, round(Fraction(float(weight)) * 2**24)))


def naive_l1(model: Floats, history: Floats, layout: Layout, rng: random.Random) -> dict[str, list[tuple[int, int]]]:
    """(A, B) of every neuron in Python's integers, each group summed up in an order of its own."""
    now, before = [scaled(w) for w in model], [scaled(w) for w in history]
    out = {}
    for name, members in groups(layout).items():
        whole = {at for group in members for at in group}
        pairs = []
        for group in members:
            rng.shuffle(group)
            change, size = 0, 0
            for at in group:
                change += abs(now[at] - before[at])
                size += abs(before[at])
            floor = len(group) * sum(abs(before[at]) for at in whole) // (1000 * len(whole))
            pairs.append((change, max(size, floor, 1)))
        out[name] = pairs
    return out


def as_pairs(scores: tuple[LayerScores, ...]) -> dict[str, list[tuple[int, int]]]:
    return {s.layer: list(zip(s.change.tolist(), s.scale.tolist(), strict=True)) for s in scores}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Layout, Floats, Floats]:
    """A layout, a model and its history, of ordinary and of extreme size."""
    layout = draw(layouts())
    model, history = draw(histories(layout))
    unit = np.float32(draw(st.sampled_from((0.0, 2.0**-24, 1e-3, 1.0, 100.0, 1e20))))
    return layout, model * unit, history * unit


@pytest.mark.rule("INV-1", "INV-2", "INV-3", "INV-4", "INV-5")
@given(case=cases(), order=st.randoms(use_true_random=False))
def test_l1_is_the_same_in_every_order_of_summation(case: tuple[Layout, Floats, Floats], order: random.Random) -> None:
    layout, model, history = case
    scores = score(model=model, history=history, layout=layout, mode=Score.L1)
    assert [s.layer for s in scores] == [layer.name for layer in layout.layers]
    assert as_pairs(scores) == naive_l1(model, history, layout, order)
    assert all((s.scale >= 1).all() and (s.change >= 0).all() for s in scores)


@pytest.mark.rule("INV-5")
@given(layout=layouts(), rng=rngs())
def test_group_sums(layout: Layout, rng: np.random.Generator) -> None:
    values = rng.integers(-1000, 1000, size=layout.size)
    naive = groups(layout)
    for layer in layout.layers:
        want = [int(values[group].sum()) for group in naive[layer.name]]
        assert group_sums(values, layout, layer).tolist() == want


@st.composite
def renamed(draw: st.DrawFn) -> tuple[Layout, NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """A layout, an order of its hidden neurons, and where each coordinate of the model then comes from."""
    layout = draw(layouts())
    order = {
        layer.name: np.array(draw(st.permutations(range(layer.neurons))), dtype=np.int64) for layer in layout.layers
    }
    places, parts = np.arange(layout.size, dtype=np.int64), []
    for tensor, where in layout.slices():
        block = places[where].reshape(tensor.shape)
        for at, axis in enumerate(tensor.axes):
            if axis.layer is not None:
                new = order[axis.layer]
                index = np.arange(axis.size).reshape(-1, len(new), axis.inner)[:, new].ravel()
                block = np.take(block, index, axis=at)
        parts.append(block.ravel())
    return layout, np.concatenate(parts), order


@pytest.mark.rule("INV-3", "INV-6", "INV-7")
@given(case=renamed(), data=st.data(), mode=st.sampled_from(Score))
def test_renaming_neurons_renames_their_scores(
    case: tuple[Layout, NDArray[np.int64], dict[str, NDArray[np.int64]]], data: st.DataObject, mode: Score
) -> None:
    layout, source, order = case
    model, history = data.draw(histories(layout))
    before = score(model=model, history=history, layout=layout, mode=mode)
    after = score(model=model[source], history=history[source], layout=layout, mode=mode)
    for old, new in zip(before, after, strict=True):
        change: Any = old.change[order[old.layer]]
        scale: Any = old.scale[order[old.layer]]
        if mode in (Score.L1, Score.SIZE):
            assert new == LayerScores(old.layer, change, scale)
        else:
            np.testing.assert_allclose(new.change / new.scale, change / scale, rtol=1e-9, atol=2**-31)


@pytest.mark.rule("INV-3", "SEL-1")
@given(layout=dense_layouts(), rng=rngs(), shift=st.integers(0, 7))
def test_the_ranking_is_scale_equivariant(layout: Layout, rng: np.random.Generator, shift: int) -> None:
    """Both models times a power of two that keeps quantisation exact: every ratio stays, where no floor binds."""
    history = (rng.integers(1, 100, size=layout.size) * rng.choice((-1, 1), size=layout.size)).astype(np.float32)
    model = history + rng.integers(-50, 50, size=layout.size).astype(np.float32)
    unit = np.float32(2.0**-20)
    small = score(model=model * unit, history=history * unit, layout=layout, mode=Score.L1)
    factor = unit * np.float32(2.0**shift)
    large = score(model=model * factor, history=history * factor, layout=layout, mode=Score.L1)
    for a, b in zip(small, large, strict=True):
        assert (a.change << shift).tolist() == b.change.tolist()
        assert (a.scale << shift).tolist() == b.scale.tolist()


# The float scores, against sums in Python's floats


def naive_floats(model: Floats, history: Floats, layout: Layout, mode: Score) -> dict[str, list[float]]:
    now, before = [float(w) for w in model], [float(w) for w in history]
    top = FLOAT_SCORE_LIMIT / FLOAT_SCORE_UNIT

    def ratio(a: float, b: float) -> float:
        return a / b if b else (top if a else 0.0)

    out = {}
    for name, members in groups(layout).items():
        whole = {at for group in members for at in group}
        rms = math.sqrt(math.fsum(before[at] ** 2 for at in whole) / len(whole))
        values = []
        for group in members:
            change = [abs(now[at] - before[at]) for at in group]
            if mode is Score.NORM:
                size = math.sqrt(math.fsum(before[at] ** 2 for at in group))
                floor = 1e-3 * rms * math.sqrt(len(group))
                value = ratio(math.sqrt(math.fsum(c * c for c in change)), max(size, floor))
            else:
                each = [ratio(c, max(abs(before[at]), 1e-3 * rms)) for c, at in zip(change, group, strict=True)]
                value = max(each) if mode is Score.MAX else math.fsum(each) / len(each)
            values.append(min(value, top))
        out[name] = values
    return out


@pytest.mark.rule("INV-6", "INV-7")
@given(case=cases(), mode=st.sampled_from((Score.MEAN, Score.NORM, Score.MAX)))
def test_float_scores_are_what_the_definitions_say(case: tuple[Layout, Floats, Floats], mode: Score) -> None:
    layout, model, history = case
    want = naive_floats(model, history, layout, mode)
    for s in score(model=model, history=history, layout=layout, mode=mode):
        assert (s.scale == 2**32).all()
        assert (s.change >= 0).all()
        assert (s.change <= FLOAT_SCORE_LIMIT).all()
        np.testing.assert_allclose(s.change / 2.0**32, want[s.layer], rtol=1e-9, atol=2.0**-32)


# Hand-worked

TWO = dense_chain(1, 2, 1)
"""Weight [2, 1], bias [2], weight [1, 2], bias [1]: neuron j has the coordinates j, 2 + j, 4 + j; 6 belongs to none."""


def flat(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


@pytest.mark.rule("INV-2")
@pytest.mark.parametrize(
    ("units", "integer"),
    [
        (0, 0),
        (0.5, 0),
        (-0.5, 0),
        (1.5, 2),
        (2.5, 2),
        (-1.5, -2),
        (3, 3),
        (2**31 - 128, 2**31 - 128),
        (2**31, WEIGHT_LIMIT),
        (-(2**31), -WEIGHT_LIMIT),
        (2**80, WEIGHT_LIMIT),
        (-(2**80), -WEIGHT_LIMIT),
    ],
)
def test_vector_quantise(units: float, integer: int) -> None:
    assert quantise(flat(units * 2.0**-24)).tolist() == [integer]
    assert WEIGHT_LIMIT == 2**31 - 1


@pytest.mark.rule("INV-3", "INV-4")
def test_vector_l1() -> None:
    """Neuron 0: |4 − 1| + |0 − 2| + |−1 + 3| = 7 over 1 + 2 + 3 = 6. Neuron 1: 0 over 0, floored. The last bias is nobody's."""
    unit = 2.0**-24
    history, model = flat(1, 0, 2, 0, -3, 0, 9) * np.float32(unit), flat(4, 0, 0, 0, -1, 0, 5) * np.float32(unit)
    (scores,) = score(model=model, history=history, layout=TWO, mode=Score.L1)
    assert as_pairs((scores,)) == {"hidden1": [(7, 6), (0, 1)]}
    # 1000 times the weights: the layer's Σ is 6000 over 6 coordinates; the floor is ⌊3·6000/(1000·6)⌋ = 3.
    (scores,) = score(model=model * np.float32(1000), history=history * np.float32(1000), layout=TWO, mode=Score.L1)
    assert as_pairs((scores,)) == {"hidden1": [(7000, 6000), (0, 3)]}


@pytest.mark.rule("INV-4", "SEL-1")
def test_vector_where_a_floor_binds_its_rounding_is_not_scale_equivariant() -> None:
    """Σ = 3999 gives the floor ⌊Σ/2000⌋ = 1, and 2Σ gives 3: neuron 1, whose weights were 0, goes from 1/1 to 2/3, and so past
    neuron 0 with its 3200/3999."""
    history, model = flat(3999, 0, 0, 0, 0, 0, 0), flat(7199, 1, 0, 0, 0, 0, 0)
    ranked = []
    for factor in (1.0, 2.0):
        unit = np.float32(factor * 2.0**-24)
        (scores,) = score(model=model * unit, history=history * unit, layout=TWO, mode=Score.L1)
        ranked.append(ranking(scores=scores))
    assert ranked == [[0, 1], [1, 0]]


@pytest.mark.rule("INV-2", "INV-3")
def test_vector_l1_saturates() -> None:
    """Every weight from one end to the other: |ΔW| = 2³² − 2 each, and nothing overflows."""
    history = np.full(7, -1e30, dtype=np.float32)
    (scores,) = score(model=-history, history=history, layout=TWO, mode=Score.L1)
    assert as_pairs((scores,)) == {"hidden1": [(3 * (2**32 - 2), 3 * (2**31 - 1))] * 2}


@pytest.mark.rule("INV-5")
def test_vector_a_recurrent_self_weight_counts_once() -> None:
    """One gate, two hidden units: of the recurrent 2 × 2, each unit has its row and its column, the corner once."""
    layout = Layout(
        tensors=(
            Tensor("hh", (Axis(2, "rnn"), Axis(2, "rnn"))),
            Tensor("out", (Axis(1), Axis(2, "rnn"))),
        ),
        layers=(Layer("rnn", 2),),
    )
    values = np.array([1, 10, 100, 1000, 5, 7], dtype=np.int64)
    assert group_sums(values, layout, layout.layers[0]).tolist() == [1 + 10 + 100 + 5, 1000 + 10 + 100 + 7]


@pytest.mark.rule("INV-5")
def test_vector_the_flatten_boundary() -> None:
    """Two channels of a 1 × 3 image, flattened: channel c feeds the columns 3c … 3c + 2, not c, c + 2, c + 4."""
    layout = Layout(
        tensors=(
            Tensor("conv", (Axis(2, "conv"), Axis(1), Axis(1), Axis(1))),
            Tensor("dense", (Axis(1), Axis(6, "conv", inner=3))),
        ),
        layers=(Layer("conv", 2),),
    )
    values = np.array([1, 2, 10, 20, 30, 40, 50, 60], dtype=np.int64)
    assert group_sums(values, layout, layout.layers[0]).tolist() == [1 + 60, 2 + 150]


@pytest.mark.rule("INV-6", "INV-7")
def test_vector_float_scores() -> None:
    """Neuron 0: ratios 3/1, 2/2, 2/4. Neuron 1: 0, 0, and 1 over the floor 10⁻³·RMS, RMS = √(21/6)."""
    history, model = flat(1, 0, 2, 0, -4, 0, 9), flat(4, 0, 0, 0, -2, 1, 5)
    floor = 1e-3 * math.sqrt(21 / 6)
    want = {
        Score.MEAN: [4.5 / 3, 1 / floor / 3],
        Score.MAX: [3.0, 1 / floor],
        Score.NORM: [math.sqrt(17) / math.sqrt(21), 1 / (floor * math.sqrt(3))],
    }
    for mode, values in want.items():
        (scores,) = score(model=model, history=history, layout=TWO, mode=mode)
        assert scores.change.tolist() == pytest.approx([v * 2**32 for v in values], rel=1e-12, abs=0.5)


@pytest.mark.rule("INV-3", "INV-4", "INV-6", "INV-7")
@pytest.mark.parametrize("mode", CHANGES)
def test_vector_a_history_of_zeros(mode: Score) -> None:
    """What did not move has score 0; what moved is as changed as can be, and nothing is divided by 0."""
    history, model = np.zeros(7, dtype=np.float32), flat(0, 2.0**-24, 0, 0, 0, 0, 1)
    (scores,) = score(model=model, history=history, layout=TWO, mode=mode)
    if mode is Score.L1:
        assert as_pairs((scores,)) == {"hidden1": [(0, 1), (1, 1)]}
    else:
        top = FLOAT_SCORE_LIMIT // 3 if mode is Score.MEAN else FLOAT_SCORE_LIMIT
        assert scores.change.tolist() == [0, pytest.approx(top, rel=1e-12)]


@pytest.mark.rule("INV-1")
@given(layout=layouts(), rng=rngs(), mode=st.sampled_from(CHANGES))
def test_nothing_changed(layout: Layout, rng: np.random.Generator, mode: Score) -> None:
    model = rng.normal(size=layout.size).astype(np.float32)
    for s in score(model=model, history=model.copy(), layout=layout, mode=mode):
        assert not s.change.any()
        assert not invariant(scores=s, threshold=1000).any()


@pytest.mark.rule("INV-1")
@pytest.mark.parametrize("mode", Score)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["model", "history"])
def test_refuses_what_is_not_finite(mode: Score, bad: float, which: str) -> None:
    models = {"model": np.ones(7, dtype=np.float32), "history": np.zeros(7, dtype=np.float32)}
    models[which][5] = bad
    with pytest.raises(PreconditionError, match=f"INV-1: the {which} holds .* at coordinate 5"):
        score(layout=TWO, mode=mode, **models)


@pytest.mark.rule("INV-1")
@pytest.mark.parametrize("bad", [np.zeros(6, np.float32), np.zeros(8, np.float32), np.zeros(7), np.zeros((7, 1), "f4")])
def test_refuses_another_model(bad: NDArray[Any]) -> None:
    good = np.zeros(7, dtype=np.float32)
    with pytest.raises(PreconditionError, match="INV-1: the model must be"):
        score(model=bad, history=good, layout=TWO, mode=Score.L1)
    with pytest.raises(PreconditionError, match="INV-1: the history must be"):
        score(model=good, history=bad, layout=TWO, mode=Score.L1)


@pytest.mark.rule("INV-1")
@pytest.mark.parametrize("mode", CHANGES)
def test_refuses_to_measure_change_from_nothing(mode: Score) -> None:
    with pytest.raises(PreconditionError, match=f"INV-1: the score `{mode}` needs the model before this one"):
        score(model=np.zeros(7, dtype=np.float32), history=None, layout=TWO, mode=mode)


# Size


@pytest.mark.rule("INV-9", "INV-2", "INV-5")
@given(case=cases(), other=rngs())
def test_size_is_of_the_model_alone(case: tuple[Layout, Floats, Floats], other: np.random.Generator) -> None:
    """Σ|W| over the number of weights, neuron by neuron; whatever the history was, or if there is none."""
    layout, model, history = case
    want = {
        name: [(sum(abs(scaled(model[at])) for at in group), len(group)) for group in members]
        for name, members in groups(layout).items()
    }
    for before in (None, history, other.normal(size=layout.size).astype(np.float32)):
        found = score(model=model, history=before, layout=layout, mode=Score.SIZE)
        assert as_pairs(found) == want
        assert all((s.scale >= 1).all() for s in found)


@pytest.mark.rule("INV-9")
def test_vector_size() -> None:
    """Neuron 0: |4| + |0| + |−1| of three weights; neuron 1: |−2| + |7| + |0|. The last bias is nobody's."""
    model = flat(4, -2, 0, 7, -1, 0, 5) * np.float32(2.0**-24)
    (scores,) = score(model=model, history=None, layout=TWO, mode=Score.SIZE)
    assert as_pairs((scores,)) == {"hidden1": [(5, 3), (9, 3)]}
    (scores,) = score(model=np.full(7, -1e30, dtype=np.float32), history=None, layout=TWO, mode=Score.SIZE)
    assert as_pairs((scores,)) == {"hidden1": [(3 * (2**31 - 1), 3)] * 2}


# Over rounds that were missed


@pytest.mark.rule("INV-10")
@given(layout=dense_layouts(), rng=rngs(), gaps=st.lists(st.integers(1, 2**40), min_size=1, max_size=40))
def test_change_over_gaps_is_per_round_and_fades(layout: Layout, rng: np.random.Generator, gaps: list[int]) -> None:
    seen = [rng.normal(size=layout.size).astype(np.float32) for _ in range(len(gaps) + 1)]
    rounds = [3 + sum(gaps[:k]) for k in range(len(gaps) + 1)]
    found = as_pairs(gapped(models=list(zip(rounds, seen, strict=True)), layout=layout))
    pairs = [naive_l1(new, old, layout, random.Random(0)) for old, new in pairwise(seen)]
    for name, members in found.items():
        for j, (change, scale) in enumerate(members):
            parts = [
                pair[name][j][0] // (gap * 2 ** min(younger, 32))
                for younger, (gap, pair) in enumerate(zip(reversed(gaps), reversed(pairs), strict=True))
            ]
            assert (change, scale) == (sum(parts), pairs[-1][name][j][1])


@pytest.mark.rule("INV-10", "INV-3")
@given(case=cases())
def test_without_a_gap_it_is_l1(case: tuple[Layout, Floats, Floats]) -> None:
    layout, model, history = case
    plain = score(model=model, history=history, layout=layout, mode=Score.L1)
    assert as_pairs(gapped(models=[(7, history), (8, model)], layout=layout)) == as_pairs(plain)


@pytest.mark.rule("INV-10")
def test_vector_gapped() -> None:
    """Neuron 0 changed by 7 in two rounds, and by 9 in the three before: ⌊7/2⌋ + ⌊9/(3 · 2)⌋ = 4 over 6."""
    unit = np.float32(2.0**-24)
    now, before = flat(4, 0, 0, 0, -1, 0, 5) * unit, flat(1, 0, 2, 0, -3, 0, 9) * unit
    first = flat(5, 0, 2, 0, 2, 0, 9) * unit
    (scores,) = gapped(models=[(1, first), (4, before), (6, now)], layout=TWO)
    assert as_pairs((scores,)) == {"hidden1": [(4, 6), (0, 1)]}


@pytest.mark.rule("INV-10")
@pytest.mark.parametrize("rounds", [[], [4], [4, 4], [5, 4], [1, 3, 2]])
def test_refuses_rounds_that_do_not_ascend(rounds: list[int]) -> None:
    with pytest.raises(PreconditionError, match="INV-10: two models at least"):
        gapped(models=[(round, np.zeros(7, dtype=np.float32)) for round in rounds], layout=TWO)


# The threshold


@st.composite
def layer_scores(draw: st.DrawFn) -> LayerScores:
    """Scores with equal ratios, zeros, and sums as large as a layer of 2²⁶ weights makes them."""
    size = draw(st.integers(1, 12))
    top = draw(st.sampled_from((4, 1000, 2**58)))
    change = draw(st.lists(st.integers(0, top), min_size=size, max_size=size))
    scale = draw(st.lists(st.integers(1, top), min_size=size, max_size=size))
    return LayerScores("layer", np.array(change, dtype=np.int64), np.array(scale, dtype=np.int64))


@pytest.mark.rule("INV-8")
@given(scores=layer_scores(), threshold=st.integers(0, 10_000))
def test_the_threshold_is_exact(scores: LayerScores, threshold: int) -> None:
    change, scale = scores.change.tolist(), scores.scale.tolist()
    bound = Fraction(threshold, 1000) * Fraction(sum(change), sum(scale))
    want = [Fraction(a, b) < bound for a, b in zip(change, scale, strict=True)]
    assert invariant(scores=scores, threshold=threshold).tolist() == want


@pytest.mark.rule("INV-8")
def test_vector_the_threshold_is_strict() -> None:
    """Ratios 1/2, 1, 3/2; pooled mean 6/6. At κ = 1000 the one at the mean is not invariant, at 1001 it is."""
    scores = LayerScores("layer", np.array([1, 2, 3]), np.array([2, 2, 2]))
    for threshold, want in ((0, "000"), (500, "000"), (501, "100"), (1000, "100"), (1001, "110"), (1501, "111")):
        assert invariant(scores=scores, threshold=threshold).tolist() == [digit == "1" for digit in want]


@pytest.mark.rule("INV-8")
def test_vector_the_threshold_is_exact_where_floats_are_not() -> None:
    """Ratios 1 and 1 − 2⁻⁵⁸; the pooled mean is 1 − 2⁻⁵⁹, between them. In float64 all three are 1."""
    scores = LayerScores("layer", np.array([2**58, 2**58 - 1]), np.array([2**58, 2**58]))
    assert invariant(scores=scores, threshold=1000).tolist() == [False, True]


@pytest.mark.rule("INV-8")
def test_each_neuron_has_a_change_and_a_scale() -> None:
    with pytest.raises(PreconditionError, match="INV-8: layer hidden has 2 changes and 3 scales"):
        LayerScores("hidden", np.ones(2, dtype=np.int64), np.ones(3, dtype=np.int64))


# With gaps


@st.composite
def seen_models(draw: st.DrawFn) -> tuple[Layout, list[tuple[int, Floats]]]:
    """Two to forty models, with rounds that were missed between them."""
    layout, rng = draw(layouts()), draw(rngs())
    unit = np.float32(draw(st.sampled_from((2.0**-24, 1e-3, 1.0, 1e20))))
    numbers = draw(st.lists(st.integers(0, 2**40), min_size=2, max_size=40, unique=True))
    return layout, [(i, rng.normal(size=layout.size).astype(np.float32) * unit) for i in sorted(numbers)]


@pytest.mark.rule("INV-10")
@given(case=seen_models(), order=st.randoms(use_true_random=False))
def test_scores_with_gaps_are_what_the_definition_says(
    case: tuple[Layout, list[tuple[int, Floats]]], order: random.Random
) -> None:
    layout, models = case
    want: dict[str, list[tuple[int, int]]] = {}
    for younger, ((before, old), (after, new)) in enumerate([*pairwise(models)][::-1]):
        for name, pairs in naive_l1(new, old, layout, order).items():
            so_far = want.get(name, [(0, b) for _, b in pairs])
            want[name] = [
                (top + a // ((after - before) * 2**younger), below)
                for (top, below), (a, _) in zip(so_far, pairs, strict=True)
            ]
    found = gapped(models=models, layout=layout)
    assert as_pairs(found) == want
    assert [s.layer for s in found] == [layer.name for layer in layout.layers]


@pytest.mark.rule("INV-10")
@given(case=cases(), round=st.integers(0, 2**40))
def test_without_a_gap_they_are_l1(case: tuple[Layout, Floats, Floats], round: int) -> None:
    layout, model, history = case
    found = gapped(models=[(round, history), (round + 1, model)], layout=layout)
    assert found == score(model=model, history=history, layout=layout, mode=Score.L1)


@pytest.mark.rule("INV-10")
def test_vector_scores_with_gaps() -> None:
    """Neuron 0 changes by 7 over 2 rounds, then by 9 over 1: ⌊7/(2·2)⌋ + 9 over the sum of what it was in between."""
    unit = np.float32(2.0**-24)
    models = [(3, flat(1, 0, 2, 0, -3, 0, 9)), (5, flat(4, 0, 0, 0, -1, 0, 5)), (6, flat(4, 0, 5, 8, 3, 0, 5))]
    (scores,) = gapped(models=[(i, model * unit) for i, model in models], layout=TWO)
    assert as_pairs((scores,)) == {"hidden1": [(1 + 9, 5), (8, 1)]}


@pytest.mark.rule("INV-10")
@pytest.mark.parametrize("rounds", [[], [4], [4, 4], [5, 4], [1, 3, 3]])
def test_scores_with_gaps_take_rounds_that_rise(rounds: list[int]) -> None:
    with pytest.raises(PreconditionError, match="INV-10: two models at least are needed, of strictly ascending rounds"):
        gapped(models=[(i, np.zeros(7, dtype=np.float32)) for i in rounds], layout=TWO)
