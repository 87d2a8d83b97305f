"""Cases of sub-models.   Spec: submodel."""

from typing import Any

from clip_ref.layout import Layout
from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.small import dense, f32, flattened, recurrent, two_layers
from clip_ref.values import Floats


def _model(size: int) -> Floats:
    """Each weight is its own number, from 1."""
    return f32(*range(1, size + 1))


def make(book: Book) -> None:
    """Into a sub-model, and back."""
    boundary = ("FlattenedRowsMixed",)
    cases: tuple[tuple[str, Layout, dict[str, list[int]], tuple[str, ...]], ...] = (
        ("everything", dense(), {"hidden": [0, 1, 2]}, ()),
        ("without the neuron in the middle", dense(), {"hidden": [0, 2]}, ()),
        ("one neuron is left", dense(), {"hidden": [1]}, ()),
        ("two layers", two_layers(), {"first": [1], "second": [0]}, ()),
        ("one layer whole", two_layers(), {"first": [0, 1], "second": [1]}, ()),
        ("the first channel, behind a flattening", flattened(), {"conv": [0]}, boundary),
        ("the second channel", flattened(), {"conv": [1]}, boundary),
        ("a unit of a recurrent layer, with both of its gates", recurrent(), {"cell": [1]}, ()),
    )
    sizes: list[int] = []
    for comment, layout, kept, flags in cases:
        small = book.valid(
            "submodel.extract",
            "SUB-2",
            "SUB-1",
            "LAY-5",
            comment=comment,
            flags=("ExtractedWholeTensors", *flags) if comment != "everything" else flags,
            model=_model(layout.size),
            layout=layout,
            kept=kept,
        )
        sizes.append(len(small) // 8)
    book.valid(
        "submodel.extract",
        "SUB-2",
        "LAY-5",
        comment="bits stay as they are: −0, subnormal numbers",
        model=f32(*[-0.0, 1e-45, -1e-45] * 4),
        layout=dense(),
        kept={"hidden": [0, 2]},
    )
    for (comment, layout, kept, flags), size in zip(cases, sizes, strict=True):
        book.valid(
            "submodel.expand",
            "SUB-4",
            "SUB-3",
            "LAY-5",
            comment=comment,
            flags=flags if comment == "everything" else ("ExpandedAtTheFront", *flags),
            delta=_model(size),
            layout=layout,
            kept=kept,
        )
    book.valid(
        "submodel.expand",
        "SUB-4",
        "LAY-5",
        comment="pruned coordinates are +0, updates of −0 stay −0",
        delta=f32(*[-0.0] * 4),
        layout=dense(),
        kept={"hidden": [2]},
    )
    good: dict[str, Any] = {"model": _model(12), "layout": dense(), "kept": {"hidden": [0, 2]}}
    for size in (11, 13, 8, 0):
        comment = f"a model of {size} weights, where there are 12"
        book.invalid(
            "submodel.extract",
            "SUB-1",
            comment=comment,
            flags=("ModelSizeNotChecked",),
            **good | {"model": _model(size)},
        )
    bad: tuple[tuple[str, dict[str, list[int]]], ...] = (
        ("a layer that keeps none", {"hidden": []}),
        ("the same neuron twice", {"hidden": [1, 1]}),
        ("neurons that descend", {"hidden": [2, 0]}),
        ("a neuron that is not there", {"hidden": [0, 3]}),
        ("a negative index", {"hidden": [-1, 2]}),
        ("a layer too few", {}),
        ("a layer too many", {"hidden": [0], "other": [0]}),
    )
    for comment, kept in bad:
        book.invalid("submodel.extract", "LAY-4", "SUB-1", comment=comment, **good | {"kept": kept})
    for size in (7, 9, 12, 0):
        comment = f"an update of {size} numbers, for a sub-model of 8"
        known = {"layout": dense(), "kept": {"hidden": [0, 2]}}
        book.invalid(
            "submodel.expand", "SUB-3", comment=comment, flags=("UpdateSizeNotChecked",), delta=_model(size), **known
        )
    book.invalid(
        "submodel.expand", "LAY-4", comment="a layer that keeps none", delta=f32(), layout=dense(), kept={"hidden": []}
    )
