"""Cases of invariance.   Spec: invariance."""

from typing import Any

import attrs
import numpy as np

from clip_ref.layout import Layout
from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.small import dense, f32, flattened, recurrent, two_layers
from clip_ref.oracle.operations.invariance import Scores
from clip_ref.params import Score
from clip_ref.values import Floats

UNIT = 2.0**-24
"""The weight that is quantised to 1."""


def make(book: Book) -> None:
    """Quantised weights, exact scores, scores in floats, and which neurons are invariant."""
    _quantised(book)
    _refused(book)
    _sums(book)
    _groups(book)
    _floors(book)
    _floats(book)
    _sizes(book)
    _invariant(book)


def _units(*integers: float) -> Floats:
    """Weights that are quantised to these integers."""
    return f32(*(integer * UNIT for integer in integers))


def _quantised(book: Book) -> None:
    half = ("RoundsHalvesUp", "TruncatesWeights")
    cases: tuple[tuple[str, Floats, tuple[str, ...]], ...] = (
        ("whole numbers of units", _units(0, 1, -1, 77, -4096), ()),
        ("halves go to the even one", _units(0.5, 1.5, 2.5, 3.5), half),
        ("negative halves, too", _units(-0.5, -1.5, -2.5, -3.5), half),
        ("a little beside a half", _units(0.5000001, 1.4999999, -0.5000001), ("TruncatesWeights",)),
        ("the largest that does not saturate", f32(127.99999), ()),
        ("128 saturates, on both sides alike", f32(128.0, -128.0), ("WeightsWrap", "SaturatesOneLower")),
        ("far beyond", f32(1e30, -1e30, 3.4028235e38), ("WeightsWrap", "SaturatesOneLower")),
        ("subnormal numbers and both zeros", f32(1e-45, -1e-45, 0.0, -0.0), ()),
        ("nothing", f32(), ()),
    )
    for comment, weights, flags in cases:
        book.valid("invariance.quantise", "INV-2", comment=comment, flags=flags, weights=weights)


def _refused(book: Book) -> None:
    good = f32(*range(1, 13))
    known: dict[str, Any] = {"model": good, "history": good, "layout": dense(), "mode": Score.L1}
    for comment, changed in (
        ("a model too short", {"model": good[:11]}),
        ("a history too long", {"history": f32(*[1] * 13)}),
    ):
        book.invalid("invariance.score", "INV-1", comment=comment, **known | changed)
    for comment, changed in (
        ("NaN in the model", {"model": f32(*range(11), float("nan"))}),
        ("an infinity in the history", {"history": f32(*range(11), float("-inf"))}),
    ):
        book.invalid("invariance.score", "INV-1", comment=comment, flags=("NonFiniteScored",), **known | changed)


def _score(
    book: Book,
    comment: str,
    rules: tuple[str, ...],
    model: Floats,
    history: Floats,
    *flags: str,
    layout: Layout | None = None,
    mode: Score = Score.L1,
) -> None:
    every = ("INV-5", "INV-3", "INV-4", "INV-2") if mode is Score.L1 else ("INV-6", "INV-7", "INV-5")
    book.valid(
        "invariance.score",
        *dict.fromkeys((*rules, *every, "INV-1", "LAY-5")),
        comment=comment,
        flags=flags,
        model=model,
        history=history,
        layout=layout or dense(),
        mode=mode,
    )


def _powers(count: int, *, base: int = 1) -> Floats:
    """Weights of which every sum is another."""
    return _units(*(base << k for k in range(count)))


def _sums(book: Book) -> None:
    """Incoming weights alone: the rest of the model is 0."""
    before = _units(70_000, 90_000, 50_000, 60_000, 80_000, 40_000, *[0] * 6)
    after = before + _units(1, 20, 300, 4_000, 50_000, 600_000, *[0] * 6)
    sums = ("INV-3",)
    _score(book, "changes over weights", sums, after, before, "LargestRatioScores")
    _score(book, "nothing changed", sums, before, before, "LargestRatioScores")
    less = before - _units(9, 5, 9, 5, 9, 5, *[0] * 6)
    _score(book, "every weight fell", sums, less, before, "SignedChange", "LargestRatioScores")


def _groups(book: Book) -> None:
    rules, before = ("INV-5",), _powers(12, base=4096)
    changed = before + _powers(12)
    nothing = Layout(tensors=(attrs.evolve(dense().tensors[0], axes=dense().tensors[0].axes[1:]),), layers=())
    _score(book, "no prunable layer, no scores", ("INV-1",), _units(1, 2), _units(3, 4), layout=nothing)
    _score(
        book,
        "incoming weights, bias, outgoing weights",
        rules,
        changed,
        before,
        "OutgoingLeftOut",
        "BiasLeftOut",
    )
    _score(
        book,
        "a weight between two layers counts in both; the layers come in order",
        rules,
        _powers(8, base=512) + _powers(8),
        _powers(8, base=512),
        "OutgoingLeftOut",
        layout=two_layers(),
    )
    _score(
        book,
        "behind a flattening a neuron has neighbouring inputs",
        rules,
        _powers(8, base=512) + _powers(8),
        _powers(8, base=512),
        "FlattenedRowsMixed",
        layout=flattened(),
    )
    _score(
        book,
        "a recurrent weight from a unit to itself counts once",
        rules,
        _powers(14, base=256) + _powers(14),
        _powers(14, base=256),
        "SelfWeightsCountedTwice",
        layout=recurrent(),
    )
    _score(book, "everything turned to its opposite", ("INV-3",), -before, before, "SignedChange")
    _score(book, "everything went to 0", ("INV-3",), _units(*[0] * 12), before)
    _score(book, "changes that cancel count", ("INV-3",), before + _units(*[5, -5] * 6), before, "SignedChange")
    _score(
        book,
        "each weight is quantised, not the difference",
        ("INV-3",),
        _units(*[0.5, 1.5, 2.5, 3.5] * 3),
        _units(*[2, 2.5, 0.5, -0.5] * 3),
        "DifferenceQuantised",
    )
    _score(
        book,
        "from one end to the other of what does not saturate",
        ("INV-3",),
        f32(*[200.0] * 12),
        f32(*[-200.0] * 12),
        "WeightsWrap",
        "ScoresIn32Bits",
    )


def _floors(book: Book) -> None:
    rules = ("INV-4",)
    _score(book, "all of the history is 0: the floor is 1", rules, _powers(12), _units(*[0] * 12))
    born = _units(9_000, 9_000, 0, 0, 5_000, 5_001, 8_000, 0, 7_000, 6_000, 0, 4_000)
    _score(book, "a neuron that starts at 0", rules, born + _powers(12), born, "FloorLeftOut", "FloorWithoutGroup")
    _score(
        book,
        "a group just below the floor, and one just at it",
        rules,
        _powers(12),
        _units(3, 0, 4, 0, 11_993, 0, 0, 0, 0, 0, 0, 0),
        "FloorLeftOut",
        "FloorWithoutGroup",
    )
    _score(
        book,
        "the floor is rounded down",
        rules,
        _powers(12),
        _units(0, 0, 0, 0, 5_999, 0, 0, 0, 0, 0, 0, 0),
        "FloorRounded",
    )
    _score(
        book,
        "each layer has a floor of its own",
        rules,
        _powers(8),
        _units(90_000, 0, 0, 0, 0, 0, 0, 2_000),
        "FloorOfWholeModel",
        layout=two_layers(),
    )
    _score(
        book,
        "a larger group has a larger floor",
        rules,
        _powers(8),
        _units(0, 9_000, 0, 9_000, 0, 0, 9_000, 9_000),
        "FloorWithoutGroup",
        layout=flattened(),
    )
    _score(
        book,
        "groups of a recurrent layer overlap: each weight is in the layer once",
        rules,
        _powers(14),
        _units(*[0, 70_000] * 2, *[0, 0, 0, 50_000] * 2, 0, 9_000),
        "SelfWeightsCountedTwice",
        layout=recurrent(),
    )


def _floats(book: Book) -> None:
    """What is added up here float64 has exactly, so that no order of summation rounds."""
    one, none = f32(*[1.0] * 12), f32(*[0.0] * 12)
    step = 2.0**-10
    moved = one + f32(*(k * step for k in range(12)))
    signs = f32(*[1.0, -0.5, 2.0] * 4)
    for mode in (Score.MEAN, Score.MAX, Score.NORM):
        still = ("INV-6", "INV-7")
        _score(book, f"{mode}: nothing changed", still, one, one, mode=mode)
        if mode is not Score.NORM:
            _score(book, f"{mode}: each weight by a little more", still, moved, one, mode=mode)
        some = signs + signs * f32(*[0.25, 0, -0.5, 0] * 3) if mode is not Score.NORM else signs * f32(*[2.0] * 12)
        _score(
            book,
            f"{mode}: weights of both signs",
            still,
            some,
            signs,
            *(() if mode is Score.NORM else ("SignedRatios",)),
            mode=mode,
        )
        _score(
            book,
            f"{mode}: the history is 0: 0/0 is 0, and all else saturates",
            still,
            f32(0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 1e-30, 0),
            none,
            "ZeroByZero",
            mode=mode,
        )
    right = one.copy()
    right[[0, 1]] += f32(3 * step, 4 * step)
    _score(book, "norm: 5 from 3 and 4", ("INV-6", "INV-7"), right, one, mode=Score.NORM)
    near = one.copy()
    near[[0, 1, 6, 9]] = 0
    for mode in (Score.MEAN, Score.MAX):
        grown = near.copy()
        grown[0] = 1.0
        _score(book, f"{mode}: a weight that was 0: ρ binds", ("INV-6", "INV-7"), grown, near, "RhoLeftOut", mode=mode)
    grown = near.copy()
    grown[9] = 3.0
    _score(book, "norm: a neuron that was 0: ρ binds", ("INV-6", "INV-7"), grown, near, "RhoLeftOut", mode=Score.NORM)
    halves = np.zeros(12, dtype=np.float32)
    halves[[0, 2, 4]] = 1.0
    ended = halves.copy()
    ended[[1, 3, 5]] = f32(1 * 2.0**-33, 3 * 2.0**-33, 5 * 2.0**-33)
    _score(
        book, "halves of 2⁻³² go to the even one", ("INV-7", "INV-6"), ended, halves, "ScoreHalvesUp", mode=Score.NORM
    )
    tiny = f32(*[2.0**-100] * 12)
    for mode in (Score.MEAN, Score.MAX):
        huge = tiny.copy()
        huge[3] = 1e30
        _score(book, f"{mode}: saturates at 2³⁰", ("INV-7", "INV-6"), huge, tiny, "FloatScoreNotSaturated", mode=mode)


def _sizes(book: Book) -> None:
    rules = ("INV-9", "INV-2", "INV-5")
    dense_model = _units(3, -4, 1, 0, 0, 0, 7, -7, 0, 100, 1, 2)
    other = _units(*range(12, 0, -1))
    known: dict[str, Any] = {"mode": Score.SIZE, "layout": dense(), "model": dense_model}

    def sized(comment: str, *flags: str, **changed: Any) -> None:
        flags += ("SizeNotAveraged", *(("HistoryNeededForSize",) if changed["history"] is None else ()))
        book.valid("invariance.score", *rules, comment=comment, flags=flags, **known | changed)

    sized("size, without a history", history=None)
    sized("size, with a history that counts for nothing", "SizeOfHistory", history=other)
    sized("size: of weights that are 0", history=None, model=_units(*[0] * 12))
    alike: dict[str, Any] = {"layout": recurrent(), "history": None, "model": _units(*range(-7, 7))}
    sized("size: a recurrent self-weight counts once", "SelfWeightsCountedTwice", **alike)
    sized("size: weights saturate", "WeightsWrap", history=None, model=f32(*[200.0] * 12))
    two: dict[str, Any] = {"layout": two_layers(), "history": None, "model": _units(1, -2, 3, -4, 5, -6, 7, -8)}
    sized("size: each layer by its own groups", **two)
    book.invalid("invariance.score", "INV-1", comment="size: a history too short", **known, history=other[:11])
    for mode in Score:
        if mode is not Score.SIZE:
            comment = f"{mode} without a history"
            book.invalid("invariance.score", "INV-1", comment=comment, **known | {"history": None, "mode": mode})


def _invariant(book: Book) -> None:
    large = [2**60 + k for k in range(3)]
    cases: tuple[tuple[str, list[int], list[int], int, tuple[str, ...]], ...] = (
        ("κ = 1000 ‰: below the pooled mean", [1, 5, 9], [10, 10, 10], 1000, ()),
        ("exactly at the mean is not below it", [4, 5, 6], [10, 10, 10], 1000, ("InvariantAtThreshold",)),
        ("all alike: none is invariant", [3, 3, 3], [7, 7, 7], 1000, ("InvariantAtThreshold",)),
        ("pooled, not the mean of ratios", [1, 1, 30], [1, 10, 1000], 1000, ("MeanOfRatios",)),
        ("κ = 0: nothing", [0, 1, 2], [5, 5, 5], 0, ("InvariantAtThreshold",)),
        ("κ = 1 ‰: what did not change at all", [0, 1, 2], [5, 5, 5], 1, ()),
        ("κ = 10 000 ‰: nearly everything", [0, 1, 2, 900], [5, 5, 5, 5], 10_000, ()),
        ("nothing changed: none is below 0", [0, 0, 0], [5, 6, 7], 10_000, ("InvariantAtThreshold",)),
        ("one neuron is its own mean", [4], [9], 1001, ()),
        ("one neuron, κ = 1000 ‰", [4], [9], 1000, ("InvariantAtThreshold",)),
        ("half of the mean, in ‰", [2, 3, 7, 4], [8, 8, 8, 8], 500, ()),
        ("products beyond 64 bits", large, [2**60] * 3, 1000, ("ThresholdIn64Bits", "ThresholdInFloats")),
        ("a difference that float64 does not have", [2**53, 2**53 + 1], [2**53] * 2, 1000, ("ThresholdInFloats",)),
        ("the largest scores in floats", [2**62, 1, 0], [2**32] * 3, 1000, ("ThresholdIn64Bits",)),
    )
    for comment, change, scale, threshold, flags in cases:
        book.valid(
            "invariance.invariant",
            "INV-8",
            comment=comment,
            flags=flags,
            scores_of=Scores("hidden", change, scale),
            threshold=threshold,
        )
    lopsided = Scores("hidden", [1, 2, 3], [1, 2])
    book.invalid(
        "invariance.invariant", "INV-8", comment="a neuron without a scale", scores_of=lopsided, threshold=1000
    )
