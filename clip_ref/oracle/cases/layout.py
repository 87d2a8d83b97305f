"""Cases of layouts.   Spec: layout."""

from typing import Any, Final

from clip_ref.configuration import plain
from clip_ref.layout import Axis, Layer, Layout, Tensor, dense_chain
from clip_ref.oracle.case import Book
from clip_ref.oracle.jsontypes import Json

DIGEST: Final = ("LAY-7", "CTX-2", "CTX-1")
"""What the digest of a layout rests on."""

DENSE: Final = dense_chain(2, 3, 2)

_KERNEL, _HIDDEN = Axis(3, "conv1"), Axis(2, "dense1")
CONV: Final = Layout(
    tensors=(
        Tensor("conv1.weight", (_KERNEL, Axis(1), Axis(2), Axis(1)), uses=4),
        Tensor("conv1.bias", (_KERNEL,)),
        Tensor("dense1.weight", (_HIDDEN, Axis(12, "conv1", inner=4)), uses=1),
        Tensor("dense1.bias", (_HIDDEN,)),
        Tensor("out.weight", (Axis(1), _HIDDEN), uses=1),
    ),
    layers=(Layer("conv1", 3), Layer("dense1", 2)),
)
"""Three channels whose volume of four is flattened for two dense units."""

_GATES, _STATE = Axis(8, "lstm"), Axis(2, "lstm")
LSTM: Final = Layout(
    tensors=(
        Tensor("lstm.weight_ih", (_GATES, Axis(1)), uses=5),
        Tensor("lstm.weight_hh", (_GATES, _STATE), uses=5),
        Tensor("lstm.bias", (_GATES,)),
        Tensor("out.weight", (Axis(1), _STATE), uses=1),
    ),
    layers=(Layer("lstm", 2),),
)
"""Two hidden units with four gates each; the recurrent weights have two axes of one layer."""


def make(book: Book) -> None:
    """Descriptions and their digests, then what is held, then sub-models."""
    _described(book)
    _refused(book)
    _held(book)
    _kept(book)
    _shrunk(book)


def _described(book: Book) -> None:
    def valid(comment: str, layout: Layout, rule: str = "LAY-1", *, flags: tuple[str, ...] = ()) -> None:
        rules = dict.fromkeys((rule, *DIGEST))
        book.valid("layout.describe", *rules, comment=comment, flags=flags, layout=layout)

    one = Tensor("w", (Axis(3),))
    valid("one tensor, nothing to prune", Layout((one,), ()), "LAY-7", flags=("NoLayerAsEmptyName",))
    valid("a dense layer", dense_chain(1, 1, 1), "LAY-7", flags=("UsesLeftOut",))
    neurons = Layout(
        (Tensor("w", (Axis(2, "größe"), Axis(1, "層"), Axis(1, "𝛼"))),),
        (Layer("größe", 2), Layer("層", 1), Layer("𝛼", 1)),
    )
    valid("names of which no character is one byte", neurons, "LAY-7", flags=("NameLengthInCharacters",))
    wide = Layout((Tensor("", (Axis(6, "", inner=3),), uses=2**40),), (Layer("", 2),))
    valid(
        "empty names, and a number of uses that takes more than 32 bits", wide, "LAY-7", flags=("NoLayerAsEmptyName",)
    )
    valid("a chain of dense layers", DENSE)
    valid("a convolution, flattened", CONV, flags=("InnerLeftOut",))
    valid("the gates of an LSTM", LSTM)
    valid(
        "two tensors, the second of which uses the layer", Layout((one, Tensor("v", (Axis(2, "a"),))), (Layer("a", 2),))
    )
    edge = Layout((Tensor("w", (Axis(2**13, "a"), Axis(2**13))),), (Layer("a", 2**13),))
    valid("a layer that touches 2^26 weights", edge, "LAY-2", flags=("GroupTooCautious",))
    both = Layout((Tensor("w", (Axis(2**13, "a"), Axis(2**13, "a"))),), (Layer("a", 2**13),))
    valid("weights with both axes of one layer count once", both, "LAY-2", flags=("GroupCountedTwice",))
    free = Layout((Tensor("w", (Axis(2**14), Axis(2**14))), Tensor("v", (Axis(1, "a"),))), (Layer("a", 1),))
    valid("weights of no layer do not count", free, "LAY-2")


def _refused(book: Book) -> None:
    def refused(
        comment: str, tensors: Json, layers: Json, rule: str = "LAY-1", flags: tuple[str, ...] = ("LayoutUnchecked",)
    ) -> None:
        inputs = {"layout": {"tensors": tensors, "layers": layers}}
        book.raw("invalid", "layout.describe", rule, comment=comment, flags=flags, inputs=inputs)

    def tensor(*axes: Json, name: str = "w") -> Json:
        return {"name": name, "axes": list(axes), "uses": 1}

    def axis(size: int, layer: str | None = "a", inner: int = 1) -> Json:
        return {"size": size, "layer": layer, "inner": inner}

    def layer(neurons: int, name: str = "a") -> Json:
        return {"name": name, "neurons": neurons}

    two = [layer(2)]
    refused("two layers of one name", [tensor(axis(2))], [layer(2), layer(2)])
    refused("two tensors of one name", [tensor(axis(2)), tensor(axis(2))], two)
    refused("a layer without neurons", [tensor(axis(2))], [layer(0)])
    refused("a model without tensors", [], [])
    refused("an axis without indices", [tensor(axis(2), axis(0, None))], two)
    refused("inner = 0", [tensor(axis(2, inner=0))], two)
    refused("an axis of a layer that is none", [tensor(axis(2), axis(2, "b"))], two)
    refused("a layer that owns no axis", [tensor(axis(2))], [*two, layer(1, "b")])
    refused("three axes of one layer", [tensor(axis(2), axis(2), axis(2))], two)
    flatten = ("FlattenUnchecked",)
    refused("an axis that its neurons do not divide", [tensor(axis(3))], two, flags=flatten)
    refused("an axis that neurons times inner do not divide", [tensor(axis(6, inner=2))], two, flags=flatten)
    refused("an axis smaller than neurons times inner", [tensor(axis(2, inner=2))], two, flags=flatten)
    group = ("GroupUnchecked",)
    refused(
        "one weight more than 2^26", [tensor(axis(2**13), axis(2**13, None)), tensor(axis(2**13), name="b")], [layer(2**13)],
        "LAY-2", group,
    )  # fmt: skip
    refused(
        "a layer that touches 2^40 weights", [tensor(axis(2**20), axis(2**20, None))], [layer(2**20)], "LAY-2", group
    )


def _held(book: Book) -> None:
    def held(
        comment: str, layout: Layout, kept: dict[str, list[int]], rule: str = "LAY-5", *, flags: tuple[str, ...] = ()
    ) -> None:
        rules = dict.fromkeys((rule, "LAY-5", "LAY-4", "LAY-3"))
        book.valid("layout.held", *rules, comment=comment, flags=flags, layout=layout, kept=kept)

    rows = Layout((Tensor("w", (Axis(3, "a"), Axis(2))), Tensor("b", (Axis(3, "a"),))), (Layer("a", 3),))
    columns = Layout((Tensor("w", (Axis(2), Axis(3, "a"))), Tensor("b", (Axis(3, "a"),))), (Layer("a", 3),))
    both_ways = ("FortranOrder", "TensorsByName")
    held(
        "C order: the first axis owns runs of the second; the bias lies last",
        rows,
        {"a": [0]},
        "LAY-3",
        flags=both_ways,
    )
    held("C order: the last axis runs fastest", columns, {"a": [0]}, "LAY-3", flags=("FortranOrder",))
    swapped = Layout(rows.tensors[::-1], rows.layers)
    held("the same two tensors, the bias first", swapped, {"a": [2]}, "LAY-3")
    held("everything kept, everything held", DENSE, {"hidden1": [0, 1, 2]})
    held(
        "a neuron takes its inputs, its bias and its outputs with it",
        DENSE,
        {"hidden1": [0, 2]},
        flags=("InputsAlone",),
    )
    held("one neuron left", DENSE, {"hidden1": [1]})
    between = dense_chain(1, 2, 2, 1)
    held(
        "a weight between a kept and a pruned neuron is not held",
        between,
        {"hidden1": [0], "hidden2": [1]},
        flags=("OneEndSuffices",),
    )
    held(
        "a flattened volume: neuron i // 4, not i mod 3",
        CONV,
        {"conv1": [1], "dense1": [0, 1]},
        flags=("FlattenedRowsMixed",),
    )
    held(
        "channels and units together",
        CONV,
        {"conv1": [0, 2], "dense1": [1]},
        flags=("FlattenedRowsMixed", "OneEndSuffices"),
    )
    held("four gates: neuron i mod 2, not i // 4", LSTM, {"lstm": [1]}, flags=("GatesInBlocks",))
    held(
        "recurrent weights: both axes of one layer decide",
        LSTM,
        {"lstm": [0]},
        flags=("OneEndSuffices", "GatesInBlocks"),
    )
    both = Layout((Tensor("w", (Axis(12, "a", inner=2),)),), (Layer("a", 3),))
    held(
        "inner and repetition at once: (i // 2) mod 3",
        both,
        {"a": [0, 2]},
        flags=("FlattenedRowsMixed", "GatesInBlocks"),
    )
    held(
        "the layers in another order than their axes",
        Layout(between.tensors, between.layers[::-1]),
        {"hidden2": [0], "hidden1": [1]},
    )


def _kept(book: Book) -> None:
    def valid(comment: str, layout: Layout, kept: dict[str, list[int]]) -> None:
        book.valid("layout.held", "LAY-4", "LAY-5", "LAY-3", comment=comment, layout=layout, kept=kept)

    valid("the first neuron and the last", DENSE, {"hidden1": [0, 2]})
    valid("a layer of one neuron", dense_chain(1, 1, 1), {"hidden1": [0]})
    valid("no prunable layer, no kept set", dense_chain(1, 2), {})
    bad: tuple[tuple[str, dict[str, list[int]]], ...] = (
        ("no neuron is kept", {"hidden1": []}),
        ("neurons descend", {"hidden1": [2, 0]}),
        ("a neuron twice", {"hidden1": [1, 1]}),
        ("a neuron beyond the last", {"hidden1": [0, 3]}),
        ("a negative neuron", {"hidden1": [-1, 0]}),
        ("no kept set for a layer", {}),
        ("a kept set of no layer", {"hidden1": [0], "hidden2": [0]}),
        ("a kept set under another name", {"hidden": [0]}),
    )
    for operation in ("layout.held", "layout.shrunk"):
        for comment, kept in bad:
            book.invalid(operation, "LAY-4", comment=comment, flags=("KeptSetUnchecked",), layout=DENSE, kept=kept)


def _shrunk(book: Book) -> None:
    def shrunk(comment: str, layout: Layout, kept: dict[str, list[int]], *, flags: tuple[str, ...] = ()) -> None:
        book.valid("layout.shrunk", "LAY-6", "LAY-4", comment=comment, flags=flags, layout=layout, kept=kept)

    shrunk("a dense layer of two neurons less", DENSE, {"hidden1": [1]})
    shrunk("everything kept: the same layout", CONV, {"conv1": [0, 1, 2], "dense1": [0, 1]})
    shrunk(
        "a flattened volume keeps inner", CONV, {"conv1": [0, 2], "dense1": [1]}, flags=("InnerShrunk", "SizeIsCount")
    )
    shrunk("four gates stay four", LSTM, {"lstm": [1]}, flags=("SizeIsCount",))
    none: dict[str, Any] = {}
    shrunk("no prunable layer", dense_chain(2, 1), none)
    broken = plain(DENSE)
    broken["tensors"][0]["axes"][0]["size"] = 4
    inputs = {"layout": broken, "kept": {"hidden1": [0]}}
    comment = "a layout that breaks a rule has no sub-model"
    book.raw("invalid", "layout.shrunk", "LAY-1", comment=comment, flags=("FlattenUnchecked",), inputs=inputs)
