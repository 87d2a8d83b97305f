"""Cases of the codec.   Spec: codec."""

from typing import Any

from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.small import f32, ring
from clip_ref.params import Encoding, Weighting
from clip_ref.values import Floats

WHOLE = Encoding(clip=3.0, value_bits=3, weight_max=100)
"""Values from −3 to 3 that are quantised to themselves, rounded."""

WIDE = Encoding(ring_bits=64, clip=1.0, value_bits=32, weight_max=2**32 - 1)
"""The widest values and weights."""


def make(book: Book) -> None:
    """Weights, values, ring elements, and back to means."""
    _weights(book)
    _values(book)
    _elements(book)
    _scaled(book)
    _slots(book)
    _means(book)


def _weights(book: Book) -> None:
    every, two = Weighting.EXAMPLES, Weighting.BUCKETS
    cases: tuple[tuple[str, int, Weighting, int, tuple[str, ...]], ...] = (
        ("as many as there are examples", 37, every, 100, ()),
        ("one example", 1, every, 100, ()),
        ("the largest weight", 100, every, 100, ()),
        ("one example more saturates", 101, every, 100, ("WeightNotCapped",)),
        ("far more than 32 bits of examples", 2**40 + 5, every, 2**32 - 1, ("WeightNotCapped",)),
        ("a power of two stays", 64, two, 1024, ()),
        ("one below a power of two", 63, two, 1024, ("BucketsRoundUp",)),
        ("one example is a bucket of its own", 1, two, 1024, ()),
        ("first at most weight_max, then down to a power of two", 1000, two, 100, ("BucketsBeforeCap",)),
        ("uniform", 37, Weighting.UNIFORM, 100, ("UniformCounts",)),
        ("uniform, one example", 1, Weighting.UNIFORM, 1, ()),
    )
    for comment, examples, weighting, most, flags in cases:
        encoding = Encoding(weighting=weighting, weight_max=most)
        book.valid("codec.weight", "COD-1", comment=comment, flags=flags, examples=examples, encoding=encoding)
    for comment, weighting, examples in (
        ("no example", every, 0),
        ("no example, in buckets", two, 0),
        ("no example, uniform", Weighting.UNIFORM, 0),
        ("a negative number of examples", every, -1),
    ):
        encoding = Encoding(weighting=weighting, weight_max=100)
        flags = ("NoExamplesTaken",)
        book.invalid("codec.weight", "COD-1", comment=comment, flags=flags, examples=examples, encoding=encoding)


def _values(book: Book) -> None:
    fine = Encoding(value_bits=16, weight_max=100)
    tenth = Encoding(clip=0.1, value_bits=8, weight_max=100)
    cases: tuple[tuple[str, Floats, Encoding, tuple[str, ...]], ...] = (
        ("whole numbers", f32(0, 1, -2, 3), WHOLE, ()),
        ("halves go to the even one", f32(0.5, 1.5, 2.5), WHOLE, ("HalvesUp", "HalvesAway", "ValuesTruncated")),
        ("negative halves, too", f32(-0.5, -1.5, -2.5), WHOLE, ("HalvesUp", "HalvesAway", "ValuesTruncated")),
        ("clipped at ±C", f32(3, 3.01, 1e30, -3, -3.01, -1e30), WHOLE, ("NotClipped", "TopValueAdded")),
        ("both zeros, subnormal numbers", f32(0.0, -0.0, 1e-45, -1e-45), WHOLE, ()),
        (
            "C = 1, 16 bits",
            f32(1, -1, 0.25, 0.1, -0.47457808, 0.3636433),
            fine,
            ("TopValueAdded", "QuantisedInFloat32"),
        ),
        (
            "C is no float32: float32's 0.1 is above it",
            f32(0.1, -0.1, 0.05, 0.06968504),
            tenth,
            ("QuantisedInFloat32",),
        ),
        ("q = 2: −1, 0 and 1 alone", f32(0.5, 0.51, -0.5, -0.51, 1, 9), Encoding(value_bits=2), ("TopValueAdded",)),
        (
            "q = 32",
            f32(1, -1, 0.3, 2**-31, 1.5 * 2**-31, 0.7),
            WIDE,
            ("QuantisedInFloat32", "TopValueAdded", "ValuesTruncated"),
        ),
        ("first times 2^(q−1) − 1, then by C", f32(73.5), Encoding(clip=147.0, value_bits=3), ("FactorFirst",)),
        ("the smallest C", f32(5e-39, -1e-45, 1.0), Encoding(clip=5e-324), ()),
        ("no values", f32(), WHOLE, ()),
    )
    for comment, update, encoding, flags in cases:
        book.valid("codec.quantise", "COD-3", "COD-2", comment=comment, flags=flags, update=update, encoding=encoding)
    bad = (
        ("NaN", "nan", "NaNQuantised"),
        ("infinity", "inf", "InfinityClipped"),
        ("minus infinity", "-inf", "InfinityClipped"),
    )
    for comment, number, flag in bad:
        update = f32(1.0, float(number), 2.0)
        book.invalid("codec.quantise", "COD-2", comment=comment, flags=(flag,), update=update, encoding=WHOLE)
        book.invalid("codec.encode", "COD-2", comment=comment, flags=(flag,), update=update, weight=1, encoding=WHOLE)


def _elements(book: Book) -> None:
    update = f32(0, 1, -1, 2.5, -3, 9)
    whole64 = Encoding(ring_bits=64, clip=3.0, value_bits=3, weight_max=100)
    rules = ("COD-4", "COD-3", "COD-2")
    cases: tuple[tuple[str, Floats, int, Encoding, tuple[str, ...]], ...] = (
        ("weight 1", update, 1, WHOLE, ("SignAndMagnitude",)),
        ("weight 7", update, 7, WHOLE, ("SignAndMagnitude", "WeightBeforeClipping", "WeightLeftOut")),
        ("the largest weight", update, 100, WHOLE, ("WeightBeforeClipping", "WeightLeftOut")),
        (
            "rounded before it is weighed",
            f32(0.4, -0.4, 1.3),
            10,
            WHOLE,
            ("WeightBeforeClipping", "WeightBeforeRounding"),
        ),
        ("64 bits", update, 7, whole64, ("SignAndMagnitude", "Negatives32Of64")),
        ("64 bits, the widest", f32(1, -1, 0.5), 2**32 - 1, WIDE, ("Negatives32Of64", "ProductsInFloats")),
        ("nothing", f32(), 3, WHOLE, ()),
    )
    for comment, found, weight, encoding, flags in cases:
        book.valid("codec.encode", *rules, comment=comment, flags=flags, update=found, weight=weight, encoding=encoding)
    for comment, weight in (("weight 0", 0), ("a negative weight", -1), ("one above weight_max", 101)):
        flag = ("EncodedWeightNotChecked",)
        book.invalid("codec.encode", "COD-4", comment=comment, flags=flag, update=update, weight=weight, encoding=WHOLE)


def _scaled(book: Book) -> None:
    rules = ("COD-5", "COD-3", "COD-4")
    ones = f32(*[1.0] * 6)
    signs = f32(1, 1, 1, -1, -1, -1)
    wide, heavy = (2**28 - 1) * 3, Encoding(ring_bits=64, value_bits=32, weight_max=2**28)
    cases: tuple[tuple[str, Floats, int, int, list[int], int, Encoding, tuple[str, ...]], ...] = (
        ("everybody holds it: as without scaling", signs, 5, 30, [30] * 6, 4, WHOLE, ()),
        ("half of the weight holds it", signs, 5, 30, [15] * 6, 4, WHOLE, ("ScalingLeftOut",)),
        (
            "halves go to the even one",
            f32(1, 3, 1, -1, -3, -1),
            1,
            3,
            [2] * 6,
            4,
            WHOLE,
            ("ScaledDown", "ScaledHalvesUp", "ScaledTowardsZero"),
        ),
        ("thirds", f32(1, 2, -1, -2, 2, -2), 1, 5, [3] * 6, 4, WHOLE, ("ScaledDown", "ScaledTowardsZero")),
        ("each coordinate has its own holders", ones, 6, 36, [36, 18, 12, 24, 30, 6], 64, WHOLE, ("ScalingLeftOut",)),
        ("weighed, then rounded", f32(1, 2, 3, -1, -2, -3), 3, 10, [7] * 6, 4, WHOLE, ("ScaledBeforeWeight",)),
        ("W/h is exactly the cap", signs, 5, 40, [10] * 6, 4, WHOLE, ()),
        ("the cap binds", signs, 5, 41, [10, 9, 8, 7, 2, 1], 4, WHOLE, ("ScaledWithoutCap",)),
        ("cap 1 scales nothing", signs, 5, 41, [10, 9, 8, 7, 2, 1], 1, WHOLE, ("ScaledWithoutCap",)),
        ("nobody holds it: 0 stays 0", f32(0, 0.4, -0.4, 1, 1, 1), 5, 30, [0, 0, 0, 30, 15, 10], 4, WHOLE, ()),
        (
            "64 bits: products beyond float64",
            f32(1, -1, 0.3, 0.7, -0.9, 1),
            2**28 - 1,
            wide,
            [wide - 1, wide - 1, wide // 2 + 1, wide - 7, wide - 2, 2**28],
            4,
            heavy,
            ("ScaledInFloats", "ScaledIn64Bits"),
        ),
    )
    for comment, update, weight, total, holders, cap, encoding, flags in cases:
        book.valid(
            "codec.encode_scaled",
            *rules,
            comment=comment,
            flags=flags,
            update=update,
            weight=weight,
            total=total,
            holders=holders,
            cap=cap,
            encoding=encoding,
        )
    good: dict[str, Any] = {"update": signs, "weight": 5, "total": 30, "holders": [15] * 6, "cap": 4, "encoding": WHOLE}
    bad: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("an update where nobody holds the coordinate", "COD-5", {"holders": [15, 15, 0, 15, 15, 15]}),
        ("holders of too few coordinates", "COD-5", {"holders": [15] * 5}),
        ("holders of too many", "COD-5", {"holders": [15] * 7}),
        ("a negative weight of holders", "COD-5", {"holders": [15, 15, -1, 15, 15, 15]}),
        ("weight 0", "COD-4", {"weight": 0}),
        ("one above weight_max", "COD-4", {"weight": 101}),
        ("NaN", "COD-2", {"update": f32(1, 1, float("nan"), 1, 1, 1)}),
    )
    for comment, rule, changed in bad:
        flags = ("NobodyDivides",) if "nobody" in comment else ()
        book.invalid("codec.encode_scaled", rule, comment=comment, flags=flags, **good | changed)


def _slots(book: Book) -> None:
    cases: tuple[tuple[str, dict[int, int], int, Encoding], ...] = (
        ("a weight at its place", {2: 7}, 4, WHOLE),
        ("none", {}, 3, WHOLE),
        ("the first and the last, the largest", {0: 100, 3: 100}, 4, WHOLE),
        ("a 0", {1: 0}, 2, WHOLE),
        ("64 bits", {1: 2**32 - 1}, 2, WIDE),
    )
    for comment, slots, length, encoding in cases:
        book.valid("codec.slots", "COD-6", comment=comment, slots=slots, length=length, encoding=encoding)
    for comment, slots in (
        ("a place behind the last", {4: 7}),
        ("one above weight_max", {1: 101}),
        ("a negative number", {1: -1}),
    ):
        flags = ("SlotNotChecked",)
        book.invalid("codec.slots", "COD-6", comment=comment, flags=flags, slots=slots, length=4, encoding=WHOLE)
    book.invalid("codec.slots", "COD-6", comment="fewer than no slots", slots={}, length=-1, encoding=WHOLE)


def _means(book: Book) -> None:
    three = Encoding(clip=0.3, value_bits=16, weight_max=100)
    three64 = Encoding(ring_bits=64, clip=0.3, value_bits=16, weight_max=100)
    middle = 2**31
    cases: tuple[tuple[str, bytes, list[int], Encoding, tuple[str, ...]], ...] = (
        ("sums of both signs", ring(6, -6, 3, 0), [2, 2, 1, 5], WHOLE, ("MeanOfUnsigned",)),
        ("nobody: 0", ring(6, -6, 0), [0, 0, 0], WHOLE, ("MeanByZero",)),
        (
            "times C, then by the product of the other two",
            ring(19, 38, -76, 117, 5, 16),
            [7] * 6,
            three,
            ("MeanFactorFirst", "MeanByOneAfterTheOther", "MeanInFloat32"),
        ),
        ("64 bits", ring(19, -38, 2**40 + 1, bits=64), [7, 7, 3], three64, ("MeanOfUnsigned", "MeanFactorFirst")),
        ("the largest and the smallest sum", ring(middle - 1, middle), [1, 1], WHOLE, ("MeanOfUnsigned",)),
        (
            "sums and divisors beyond float64: each is rounded once",
            ring(2**62 + 1, -(2**62) - 1, 2**53 + 1, bits=64),
            [2**40 + 1, 3, 2**52 + 1],
            WIDE,
            ("MeanOfUnsigned",),
        ),
        ("nothing", b"", [], WHOLE, ()),
    )
    for comment, total, weight, encoding, flags in cases:
        book.valid("codec.mean", "COD-7", comment=comment, flags=flags, total=total, weight=weight, encoding=encoding)
    for comment, rule, total, weight in (
        ("a divisor too few", "COD-7", ring(1, 2), [1]),
        ("a divisor too many", "COD-7", ring(1, 2), [1, 1, 1]),
        ("a negative divisor", "COD-7", ring(1, 2), [1, -1]),
        ("half an element", "MSK-1", ring(1, 2)[:6], [1]),
    ):
        book.invalid("codec.mean", rule, comment=comment, total=total, weight=weight, encoding=WHOLE)
