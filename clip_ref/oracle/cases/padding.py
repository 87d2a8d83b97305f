"""Cases of padding.   Spec: padding."""

from typing import Any

import numpy as np

from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.small import graph_params, params, ring
from clip_ref.params import Encoding, Mean, Params


def _bits(text: str) -> Any:
    return np.array([digit == "1" for digit in text], dtype=bool)


def make(book: Book) -> None:
    """The padded vector under each mean, in a clique and on a graph."""
    three, all_five = "01011", "11111"
    dilute, levels, holder = (params(mean=mean) for mean in (Mean.DILUTE, Mean.LEVELS, Mean.HOLDER))
    wide = params(encoding=Encoding(ring_bits=64, weight_max=100))
    lone = params(grid=(1000,))
    graph, open_graph = graph_params(), graph_params(mean=Mean.DILUTE)
    first, own, bucket = ("WeightAtOwnLevel",), ("WeightAtFirst",), ("BucketLeftOut",)
    length = ("PaddingLeftOut", "HeldPlacesLost")
    rows: tuple[tuple[str, str, str, int, Params, int | None, tuple[str, ...]], ...] = (
        ("PAD-4", "dilute: at the first, whatever the level", all_five, 750, dilute, None, (*first, "WeightInClear")),
        ("PAD-4", "dilute: at the smallest level", all_five, 500, dilute, None, first),
        ("PAD-4", "holder: at the first", all_five, 500, holder, None, first),
        ("PAD-4", "holder, the whole model", all_five, 1000, holder, None, ("WeightInClear",)),
        ("PAD-5", "levels: at the whole model's place", all_five, 1000, levels, None, ("LevelOffByOne",)),
        ("PAD-5", "levels: in the middle", all_five, 750, levels, None, (*own, "LevelOffByOne")),
        ("PAD-5", "levels: at the smallest level", all_five, 500, levels, None, (*own, "LevelOffByOne")),
        ("PAD-6", "the first bucket", all_five, 1000, graph, 0, bucket),
        ("PAD-6", "the last bucket", all_five, 500, graph, 3, bucket),
        ("PAD-6", "no time: no bucket", all_five, 500, graph, None, ("NoTimeCounted",)),
        ("PAD-6", "under dilute, too", all_five, 750, open_graph, 1, bucket),
        ("PAD-2", "the whole model", all_five, 1000, dilute, None, ()),
        ("PAD-2", "three of five coordinates", three, 500, dilute, None, length),
        ("PAD-2", "a single one, the last", "00001", 500, dilute, None, length),
        ("PAD-2", "a single one, the first", "10000", 500, levels, None, ("PaddingLeftOut",)),
        ("PAD-1", "64 bits", three, 500, wide, None, length),
        ("PAD-1", "a grid of one level", all_five, 1000, lone, None, ()),
        ("PAD-1", "on a graph buckets follow", three, 750, graph, 2, bucket),
    )

    def pad(valid: bool, rules: tuple[str, ...], comment: str, flags: tuple[str, ...], **values: Any) -> None:
        enter = book.valid if valid else book.invalid
        enter("padding.pad", *rules, comment=comment, flags=flags, **values)

    for rule, comment, held, keep, found, number, flags in rows:
        bits = found.encoding.ring_bits
        coded = book.bytes("coded", held.count("1") * bits // 8)
        slots = ("PAD-4", "PAD-5") if found.policy.mean is Mean.LEVELS else ("PAD-4",)
        buckets = ("PAD-6",) if found.neighbours else ()
        rules = tuple(dict.fromkeys((rule, "PAD-2", *slots, *buckets, "PAD-1")))
        pad(
            True, rules, comment, flags, coded=coded, held=_bits(held), keep=keep, weight=9, params=found, bucket=number
        )
    for weight in (1, 100):
        pad(
            True,
            ("PAD-4", "PAD-2", "PAD-1"),
            f"weight {weight}",
            ("WeightInClear",),
            coded=ring(-1, 0, 2**31),
            held=_bits(three),
            keep=500,
            weight=weight,
            params=dilute,
            bucket=None,
        )
    good: dict[str, Any] = {
        "coded": ring(1, 2, 3),
        "held": _bits(three),
        "keep": 750,
        "weight": 9,
        "params": levels,
        "bucket": None,
    }
    bad: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("PAD-2", "a value too few", "CodedLengthNotChecked", {"coded": ring(1, 2)}),
        ("PAD-2", "a value for every coordinate", "CodedLengthNotChecked", {"coded": ring(1, 2, 3, 4, 5)}),
        ("PAD-3", "a level between two of the grid", "GridNotChecked", {"keep": 600}),
        ("PAD-3", "a level below the grid", "GridNotChecked", {"keep": 250}),
        ("PAD-3", "not in the grid, under dilute", "GridNotChecked", {"keep": 999, "params": dilute}),
        ("PAD-4", "weight 0", "PaddedWeightNotChecked", {"weight": 0}),
        ("PAD-4", "one above weight_max", "PaddedWeightNotChecked", {"weight": 101}),
        ("PAD-6", "a bucket behind the last", "BucketNotChecked", {"params": graph, "bucket": 4}),
        ("PAD-6", "a clique has no buckets", "BucketNotChecked", {"bucket": 0}),
    )
    for rule, comment, flag, changed in bad:
        pad(False, (rule,), comment, (flag,), **good | changed)
    pad(False, ("MSK-1",), "half an element", (), **good | {"coded": ring(1, 2, 3)[:10]})
