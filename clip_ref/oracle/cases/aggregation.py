"""Cases of aggregation.   Spec: aggregation."""

from typing import Any

import numpy as np

from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.small import f32, graph_params, params, ring
from clip_ref.params import Encoding, Mean, Params
from clip_ref.values import ClientId, Floats

WHOLE = Encoding(clip=3.0, value_bits=3, weight_max=100)
"""One is one."""

LIMIT = 5 * 100
"""n · weight_max of the parameters here: as much as five survivors can weigh."""


def make(book: Book) -> None:
    """Sums, divisors, the next model."""
    _added(book)
    _among(book)
    _held_by(book)
    _held_by_nobody(book)
    _aggregated(book)
    _rounded(book)
    _refused(book)
    _histograms(book)


def _bits(text: str) -> Any:
    return np.array([digit == "1" for digit in text], dtype=bool)


def _params(mean: Mean, encoding: Encoding = WHOLE) -> Params:
    return params(clients=5, mean=mean, encoding=encoding)


def _added(book: Book) -> None:
    for bits in (32, 64):
        middle = 1 << bits - 1
        total, vector = ring(-1, -1, middle, 7, bits=bits), ring(1, -1, middle, 5, bits=bits)
        book.valid(
            "aggregation.add",
            "AGG-1",
            comment=f"R − 1 + 1, {bits} bits",
            flags=("TotalSaturates",),
            ring_bits=bits,
            total=total,
            vector=vector,
        )
    book.valid("aggregation.add", "AGG-1", comment="nothing", ring_bits=32, total=b"", vector=b"")
    for comment, bits, size in (("one element too few", 32, 8), ("one too many", 32, 16), ("none", 64, 0)):
        book.invalid(
            "aggregation.add",
            "AGG-1",
            comment=comment,
            flags=("TotalLengthNotChecked",),
            ring_bits=bits,
            total=book.bytes("total", 12 if bits == 32 else 24),
            vector=book.bytes("vector", size),
        )
    book.invalid(
        "aggregation.add",
        "MSK-1",
        comment="half an element",
        ring_bits=64,
        total=bytes(16),
        vector=book.bytes("vector", 12),
    )


def _among(book: Book) -> None:
    weights = {ClientId(u): w for u, w in ((3, 5), (7, 20), (9, 100), (11, 1))}
    keep = {ClientId(u): level for u, level in ((3, 1000), (7, 500), (9, 750), (11, 1000))}
    fast, slow = ClientId(3), ClientId(9)
    cases: tuple[tuple[str, Mean, ClientId, tuple[str, ...]], ...] = (
        ("holder: who prunes, among all", Mean.HOLDER, slow, ("HolderAmongPruning",)),
        ("holder: who prunes nothing, too", Mean.HOLDER, fast, ("HolderAmongPruning",)),
        ("strata: who prunes, among those who do", Mean.STRATA, slow, ("StrataAmongAll", "StrataLeftOut")),
        ("strata: who prunes nothing does not scale", Mean.STRATA, fast, ("StrataScalesAll",)),
        ("levels: nobody", Mean.LEVELS, slow, ()),
        ("dilute: nobody", Mean.DILUTE, slow, ()),
    )
    known: dict[str, Any] = {"weights": weights, "keep": keep}
    for comment, mean, client, flags in cases:
        book.valid("aggregation.scaled_among", "AGG-9", comment=comment, flags=flags, client=client, mean=mean, **known)
    comment, alone = "strata: the only one that prunes", dict.fromkeys(keep, 1000) | {slow: 500}
    more: dict[str, Any] = {"weights": weights, "keep": alone, "client": slow, "mean": Mean.STRATA}
    book.valid("aggregation.scaled_among", "AGG-9", comment=comment, flags=("StrataAmongAll", "StrataLeftOut"), **more)
    for comment, changed in (
        ("a client that is not there", {"client": ClientId(4)}),
        ("a client without a keep level", {"keep": {fast: 1000, slow: 500}}),
        ("a client without a weight", {"weights": {fast: 1, slow: 1}}),
    ):
        book.invalid("aggregation.scaled_among", "AGG-9", comment=comment, **more | changed)


def _held_by(book: Book) -> None:
    cases: tuple[tuple[str, dict[int, int], dict[int, str], int], ...] = (
        ("each coordinate has its own", {3: 5, 7: 20, 9: 100}, {3: "1100", 7: "1010", 9: "1001"}, 4),
        ("nobody holds it", {3: 5, 7: 20}, {3: "100", 7: "100"}, 3),
        ("everybody holds everything", {1: 1, 2: 2, 3: 4}, {1: "11", 2: "11", 3: "11"}, 2),
        ("beyond 32 bits", {1: 2**32 - 1, 2: 2**32 - 1}, {1: "10", 2: "11"}, 2),
    )
    for comment, weights, held, size in cases:
        book.valid(
            "aggregation.holder_weights",
            "AGG-4",
            comment=comment,
            flags=("HoldersCounted",),
            weights={ClientId(u): w for u, w in weights.items()},
            held={ClientId(u): _bits(text) for u, text in held.items()},
            size=size,
        )


def _held_by_nobody(book: Book) -> None:
    known = {ClientId(3): _bits("1100")}
    weights = {ClientId(3): 5, ClientId(7): 20}
    for comment, held, size in (
        ("of one client nobody says what it holds", known, 4),
        ("too few coordinates", {**known, ClientId(7): _bits("110")}, 4),
        ("fewer than no coordinates", {}, -1),
    ):
        book.invalid(
            "aggregation.holder_weights",
            "AGG-4",
            comment=comment,
            weights=weights if held else {},
            held=held,
            size=size,
        )


def _next(
    book: Book,
    comment: str,
    rules: tuple[str, ...],
    total: bytes,
    model: Floats,
    found: Params,
    *flags: str,
    held: dict[int, str] | None = None,
    survivors: int = 1,
) -> None:
    book.valid(
        "aggregation.aggregate",
        *rules,
        comment=comment,
        flags=flags,
        total=total,
        model=model,
        params=found,
        survivors=survivors,
        held={keep: _bits(text) for keep, text in (held or {}).items()},
    )


def _aggregated(book: Book) -> None:
    held = {1000: "1111", 750: "1101", 500: "1000"}
    model = f32(10, 20, 30, 40)
    sums = (36, -36, 12, 0)
    levels, dilute, holder = _params(Mean.LEVELS), _params(Mean.DILUTE), _params(Mean.HOLDER)
    by_level = ("AGG-3", "AGG-6", "AGG-2", "AGG-7", "COD-7")
    whole, one = "WholeWeightUnderLevels", "WholeModelsWeightAlone"
    _next(book, "all at the whole model", by_level, ring(*sums, 12, 0, 0), model, levels, "NextModelIsMean", held=held)
    _next(book, "three levels", by_level, ring(*sums, 6, 4, 2), model, levels, whole, one, "LevelsReversed", held=held)
    _next(book, "nobody at the whole model", by_level, ring(*sums, 0, 4, 2), model, levels, whole, one, held=held)
    _next(
        book,
        "a level without weight need not say what it holds",
        by_level,
        ring(*sums, 6, 0, 6),
        model,
        levels,
        whole,
        "HeldAskedForAll",
        held={1000: "1111", 500: "1000"},
    )
    by_weight = ("AGG-6", "AGG-2", "AGG-7", "COD-7")
    _next(
        book,
        "nobody holds a coordinate: it stays",
        ("AGG-6", "AGG-3", "AGG-2", "COD-7"),
        ring(*sums, 0, 0, 6),
        model,
        levels,
        held=held,
    )
    _next(book, "dilute: everybody's weight", by_weight, ring(*sums, 12, 0, 0), model, dilute, "NextModelIsMean")
    _next(book, "dilute: all of the extras count", by_weight, ring(*sums, 6, 4, 2), model, dilute, "FirstSlotAlone")
    _next(book, "holder: scaled already, so everybody's weight", by_weight, ring(*sums, 12, 0, 0), model, holder)
    strata = _params(Mean.STRATA)
    _next(book, "strata: the same", by_weight, ring(*sums, 12, 0, 0), model, strata)
    wide = _params(Mean.DILUTE, Encoding(ring_bits=64, clip=3.0, value_bits=3, weight_max=100))
    _next(book, "64 bits", by_weight, ring(*sums, 12, 0, 0, bits=64), model, wide)
    edge = ("AGG-2", "AGG-6", "AGG-7", "COD-7")
    _next(book, "the least weight: 1", edge, ring(*sums, 0, 0, 1), model, dilute, "FirstSlotAlone")
    _next(
        book,
        "the largest weight: n · weight_max",
        edge,
        ring(*sums, LIMIT, 0, 0),
        model,
        dilute,
        "SlotLimitExclusive",
        survivors=5,
    )
    _next(
        book,
        "the largest, in parts",
        edge,
        ring(*sums, 250, 200, 50),
        model,
        dilute,
        "SlotLimitExclusive",
        survivors=5,
    )
    _next(
        book,
        "the largest of two survivors",
        edge,
        ring(*sums, 150, 0, 50),
        model,
        dilute,
        "SlotLimitExclusive",
        survivors=2,
    )
    _next(book, "the least of four survivors: 1 each", edge, ring(*sums, 1, 1, 2), model, dilute, survivors=4)
    book.invalid(
        "aggregation.aggregate",
        "AGG-3",
        comment="nobody says what a level with weight holds",
        total=ring(*sums, 6, 4, 2),
        model=model,
        params=levels,
        survivors=1,
        held={1000: _bits("1111"), 500: _bits("1000")},
    )


def _rounded(book: Book) -> None:
    rules = ("AGG-7", "COD-7", "AGG-6")

    def step(clip: float, bits: int = 2) -> Params:
        return _params(Mean.DILUTE, Encoding(clip=clip, value_bits=bits, weight_max=100))

    twice = ("MeanRoundedTwice",)
    near = 2.0**-24 + 2.0**-50
    _next(book, "rounded once: just above a half", rules, ring(1, -1, 1, 0, 0), f32(1, -1), step(near), *twice)
    _next(book, "exactly a half: to even", rules, ring(1, 1, 1, 0, 0), f32(1, 1 + 2**-23), step(2.0**-24))
    _next(book, "a mean below float32's last digit", rules, ring(1, 1, 1, 0, 0), f32(1, -1), step(2.0**-60))
    _next(book, "thirds", rules, ring(1, 2, 3, 0, 0), f32(0.1, 7), step(0.3, 16))
    _next(book, "subnormal results", rules, ring(1, -3, 1, 0, 0), f32(0, 1e-44), step(1e-45))
    _next(book, "−0 and no change: +0", rules, ring(0, 0, 1, 0, 0), f32(-0.0, 0.0), step(1.0))


def _refused(book: Book) -> None:
    model, dilute = f32(1, 2), _params(Mean.DILUTE)

    def refuse(rule: str, comment: str, total: bytes, *flags: str, **changed: Any) -> None:
        known: dict[str, Any] = {"model": model, "params": dilute, "survivors": 5, "held": {}}
        book.invalid("aggregation.aggregate", rule, comment=comment, flags=flags, total=total, **known | changed)

    none, few = "AllZeroWeightsTaken", "SlotsBelowSurvivors"
    refuse("AGG-2", "no weight at all", ring(3, 3, 0, 0, 0), none, few)
    refuse("AGG-2", "no weight at all, under levels", ring(0, 0, 0, 0, 0), none, few, params=_params(Mean.LEVELS))
    refuse("AGG-2", "five clients that weigh four", ring(3, 3, 2, 1, 1), few)
    all_of_them = "SlotsHeldAgainstAll"
    refuse("AGG-2", "one above what three can weigh", ring(3, 3, 301, 0, 0), all_of_them, survivors=3)
    refuse("AGG-2", "three that weigh as much as n", ring(3, 3, 200, 200, 100), all_of_them, survivors=3)
    for survivors in (0, -1, 6):
        refuse("AGG-2", f"a sum over {survivors} of 5 clients", ring(3, 3, 9, 0, 0), survivors=survivors)
    refuse(
        "AGG-2", "one above n · weight_max", ring(3, 3, LIMIT + 1, 0, 0), "SlotsNotChecked", all_of_them, survivors=4
    )
    refuse("AGG-2", "R − 1, as if it were −1", ring(3, 3, 5, -1, 0), "SlotsNotChecked")
    refuse("AGG-2", "each in range, but not their sum", ring(3, 3, LIMIT, 1, 0), "SlotsNotAddedUp")
    refuse("AGG-2", "a sum of slots that wraps to 5", ring(3, 3, 2**31, 2**31, 5), "SlotsNotChecked")
    refuse("AGG-5", "a total too short", ring(3, 3, 9, 0), "AggregateLengthNotChecked")
    refuse("AGG-5", "a total too long", ring(3, 3, 9, 0, 0, 0), "AggregateLengthNotChecked")
    refuse("AGG-5", "NaN in the model", ring(3, 3, 9, 0, 0), "ModelNotChecked", model=f32(1, float("nan")))
    refuse("AGG-5", "an infinity in the model", ring(3, 3, 9, 0, 0), "ModelNotChecked", model=f32(float("inf"), 1))
    refuse("MSK-1", "half an element", ring(3, 3, 9, 0, 0)[:18])


def _histograms(book: Book) -> None:
    found = graph_params(clients=5, neighbours=2, mean=Mean.DILUTE)
    model = f32(1, 2)
    rules = ("AGG-8", "AGG-2", "AGG-6", "AGG-7", "COD-7")
    _next(
        book,
        "a bucket for each client",
        rules,
        ring(3, 3, 9, 0, 0, 2, 0, 1, 2),
        model,
        found,
        "HistogramLimitExclusive",
        survivors=5,
    )
    _next(
        book,
        "a bucket for each survivor",
        rules,
        ring(3, 3, 9, 0, 0, 0, 2, 1, 0),
        model,
        found,
        "HistogramLimitExclusive",
        survivors=3,
    )
    _next(book, "some had no time", rules, ring(3, 3, 9, 0, 0, 0, 1, 0, 0), model, found, survivors=5)
    nobody = "EmptyHistogramRefused"
    _next(book, "nobody had one", rules, ring(3, 3, 9, 0, 0, 0, 0, 0, 0), model, found, nobody, survivors=5)
    all_of_them = "HistogramHeldAgainstAll"
    for comment, counts, survivors, *flags in (
        ("n + 1 clients", (2, 2, 1, 1), 5),
        ("R − 1", (-1, 1, 0, 0), 5),
        ("a sum that wraps", (2**31, 2**31, 0, 1), 5),
        ("one more than survived", (1, 2, 1, 0), 3, all_of_them),
        ("n, of whom one survived", (5, 0, 0, 0), 1, all_of_them),
    ):
        book.invalid(
            "aggregation.aggregate",
            "AGG-8",
            comment=comment,
            flags=("HistogramNotChecked", *flags),
            total=ring(3, 3, 9, 0, 0, *counts),
            model=model,
            params=found,
            survivors=survivors,
            held={},
        )
