"""Layout: which neuron each coordinate belongs to, and what is left when some are pruned."""

import itertools
import math

import attrs
import numpy as np
import plain
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError
from clip_ref.layout import MAX_GROUP, Axis, Kept, Layer, Layout, Tensor, dense_chain, kept_count
from clip_ref.oracle.strategies import conv_layouts, dense_layouts, kept_sets, kept_sets_at, layouts, recurrent_layouts

CONV = Layout(
    tensors=(
        Tensor("conv.weight", (Axis(2, "conv"), Axis(1), Axis(1), Axis(3)), uses=6),
        Tensor("conv.bias", (Axis(2, "conv"),)),
        Tensor("dense.weight", (Axis(1), Axis(6, "conv", inner=3)), uses=1),
    ),
    layers=(Layer("conv", 2),),
)
"""Two channels of three taps each, flattened as 2 × 1 × 3 into one output."""

LSTM = Layout(
    tensors=(
        Tensor("weight_hh", (Axis(8, "lstm"), Axis(2, "lstm")), uses=1),
        Tensor("out", (Axis(1), Axis(2, "lstm"))),
    ),
    layers=(Layer("lstm", 2),),
)
"""Two hidden units, four gates stacked."""


def _kept(**layers: list[int]) -> Kept:
    return {name: np.array(index, dtype=np.int64) for name, index in layers.items()}


def _naive_held(layout: Layout, kept: Kept) -> list[bool]:
    """Coordinate by coordinate, by the definition of `Axis`."""
    neurons = {layer.name: layer.neurons for layer in layout.layers}
    held = []
    for tensor in layout.tensors:
        for index in itertools.product(*(range(axis.size) for axis in tensor.axes)):
            held.append(
                all(
                    axis.layer is None or (i // axis.inner) % neurons[axis.layer] in set(kept[axis.layer].tolist())
                    for i, axis in zip(index, tensor.axes, strict=True)
                )
            )
    return held


# What is where


@pytest.mark.rule("LAY-3")
@given(layout=layouts())
def test_tensors_lie_end_to_end(layout: Layout) -> None:
    at = 0
    for tensor, place in layout.slices():
        assert (place.start, place.stop) == (at, at + math.prod(tensor.shape))
        assert tensor.size == place.stop - place.start
        at = place.stop
    assert at == layout.size
    assert [tensor for tensor, _ in layout.slices()] == list(layout.tensors)


@pytest.mark.rule("LAY-3")
def test_whose_each_index_is() -> None:
    """A flattened volume is channel by channel; the gates of an LSTM repeat its units."""
    assert CONV.owners(Axis(6, "conv", inner=3)).tolist() == [0, 0, 0, 1, 1, 1]
    assert LSTM.owners(Axis(8, "lstm")).tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    assert dense_chain(3, 4, 2).owners(Axis(4, "hidden1")).tolist() == [0, 1, 2, 3]


@pytest.mark.rule("LAY-5")
@given(layout=layouts(), data=st.data())
def test_held_is_all_ends_kept(layout: Layout, data: st.DataObject) -> None:
    kept = data.draw(kept_sets(layout))
    held = layout.held(kept)
    assert held.tolist() == _naive_held(layout, kept)
    assert held.dtype == np.bool_
    assert layout.held(layout.full()).all()


@pytest.mark.rule("LAY-5")
def test_held_in_numbers() -> None:
    assert CONV.held(_kept(conv=[1])).astype(int).tolist() == [0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1]
    assert LSTM.held(_kept(lstm=[0])).astype(int).tolist() == [1, 0, 0, 0] * 4 + [1, 0]
    chain = dense_chain(2, 2, 1)
    assert chain.held(_kept(hidden1=[1])).astype(int).tolist() == [0, 0, 1, 1, 0, 1, 0, 1, 1]


@pytest.mark.rule("LAY-6")
@given(layout=layouts(), data=st.data())
def test_the_sub_model_has_what_is_held(layout: Layout, data: st.DataObject) -> None:
    kept = data.draw(kept_sets(layout))
    small, held = layout.shrunk(kept), layout.held(kept)
    assert small.size == int(held.sum())
    for (big, place), tensor in zip(layout.slices(), small.tensors, strict=True):
        mask = held[place].reshape(big.shape)
        indices = [np.unique(axis) for axis in np.nonzero(mask)]
        assert tensor.shape == tuple(len(index) for index in indices)
        assert mask[np.ix_(*indices)].all()
        assert (tensor.name, tensor.uses) == (big.name, big.uses)
        assert [a.inner for a in tensor.axes] == [a.inner for a in big.axes]
    assert {layer.name: layer.neurons for layer in small.layers} == {name: len(kept[name]) for name in kept}
    assert small.held(small.full()).all()


@pytest.mark.rule("LAY-6")
@given(layout=layouts())
def test_a_full_sub_model_is_the_model(layout: Layout) -> None:
    assert layout.shrunk(layout.full()) == layout


@pytest.mark.rule("LAY-6")
@given(layout=layouts(), keep=st.integers(1, 1000), data=st.data())
def test_a_keep_level_leaves_its_share(layout: Layout, keep: int, data: st.DataObject) -> None:
    small = layout.shrunk(data.draw(kept_sets_at(layout, keep)))
    assert [x.neurons for x in small.layers] == [max(1, x.neurons * keep // 1000) for x in layout.layers]
    assert small.macs() <= layout.macs()


@pytest.mark.rule("LAY-6")
@pytest.mark.parametrize(
    ("neurons", "keep", "count"), [(10, 1000, 10), (10, 999, 9), (10, 500, 5), (3, 500, 1), (1, 1, 1), (64, 975, 62)]
)
def test_kept_counts_round_down_but_not_to_none(neurons: int, keep: int, count: int) -> None:
    assert kept_count(neurons, keep) == count


def test_macs_are_weights_times_uses() -> None:
    assert dense_chain(3, 4, 2).macs() == 3 * 4 + 4 * 2
    assert CONV.macs() == 6 * 6 + 6
    assert CONV.shrunk(_kept(conv=[0])).macs() == 6 * 3 + 3


def test_a_chain_is_weights_then_biases() -> None:
    chain = dense_chain(3, 4, 2)
    assert [(t.name, t.shape) for t in chain.tensors] == [
        ("dense1.weight", (4, 3)),
        ("dense1.bias", (4,)),
        ("dense2.weight", (2, 4)),
        ("dense2.bias", (2,)),
    ]
    assert chain.layers == (Layer("hidden1", 4),)
    assert chain.size == 26
    assert not dense_chain(3, 2).layers


# The digest


@pytest.mark.rule("LAY-7")
def test_the_digest_is_pinned() -> None:
    le, prefixed = plain.le, plain.prefixed
    expected = plain.digest(
        b"layout",
        le(2, 8) + prefixed(b"lstm"),
        prefixed(b"weight_hh")
        + (le(1, 8) + le(2, 4))
        + (le(8, 8) + le(1, 8) + b"\x01" + prefixed(b"lstm"))
        + (le(2, 8) + le(1, 8) + b"\x01" + prefixed(b"lstm")),
        prefixed(b"out")
        + (le(0, 8) + le(2, 4))
        + (le(1, 8) + le(1, 8) + b"\x00" + prefixed(b""))
        + (le(2, 8) + le(1, 8) + b"\x01" + prefixed(b"lstm")),
    )
    assert LSTM.digest() == expected
    assert LSTM.digest().hex() == "e9467ba7daa696449afd1e4dd724a55c75a458b2c403ad54d2a9af6236a73751"


@pytest.mark.rule("LAY-7")
@given(one=layouts(), two=layouts())
def test_another_layout_has_another_digest(one: Layout, two: Layout) -> None:
    assert (one.digest() == two.digest()) == (one == two)


@pytest.mark.rule("LAY-7")
def test_every_part_of_a_layout_is_digested() -> None:
    tensor = CONV.tensors[2]
    changed = [
        CONV,
        attrs.evolve(CONV, layers=(Layer("conv", 1),)),
        attrs.evolve(CONV, tensors=(CONV.tensors[1], CONV.tensors[0], tensor)),
        *(
            attrs.evolve(CONV, tensors=(*CONV.tensors[:2], other))
            for other in (
                attrs.evolve(tensor, name="other"),
                attrs.evolve(tensor, uses=2),
                attrs.evolve(tensor, axes=(Axis(1), Axis(6, "conv", inner=1))),
                attrs.evolve(tensor, axes=(Axis(1), Axis(12, "conv", inner=3))),
                attrs.evolve(tensor, axes=(Axis(1), Axis(6))),
                attrs.evolve(tensor, axes=tensor.axes[::-1]),
                attrs.evolve(tensor, axes=(*tensor.axes, Axis(1))),
            )
        ),
    ]
    assert len({layout.digest() for layout in changed}) == len(changed)


# Refusals

W = Tensor("w", (Axis(4, "a"), Axis(3)))


@pytest.mark.rule("LAY-1")
@pytest.mark.parametrize(
    ("tensors", "layers", "detail"),
    [
        pytest.param((W, W), (Layer("a", 4),), "distinct", id="two tensors of a name"),
        pytest.param((W,), (Layer("a", 4), Layer("a", 4)), "distinct", id="two layers of a name"),
        pytest.param((), (), "at least one tensor", id="nothing"),
        pytest.param((W,), (Layer("a", 0),), "a layer at least one neuron", id="no neuron"),
        pytest.param((W,), (Layer("a", -4),), "a layer at least one neuron", id="fewer than none"),
        pytest.param((Tensor("w", (Axis(0),)),), (), "sizes are at least 1", id="an empty axis"),
        pytest.param((Tensor("w", (Axis(-1),)),), (), "sizes are at least 1", id="a negative axis"),
        pytest.param((Tensor("w", (Axis(4, "a", inner=0),)),), (Layer("a", 4),), "sizes are at least 1", id="inner 0"),
        pytest.param((W,), (), "no layer 'a'", id="an unknown layer"),
        pytest.param((W,), (Layer("a", 3),), "cannot hold 3 neurons", id="an axis that does not divide"),
        pytest.param((W,), (Layer("a", 8),), "cannot hold 8 neurons", id="an axis that is too short"),
        pytest.param((Tensor("w", (Axis(4, "a", inner=2),)),), (Layer("a", 4),), "times 2", id="inner too large"),
        pytest.param((W,), (Layer("a", 4), Layer("b", 2)), "layer b owns no axis", id="a layer without axes"),
        pytest.param(
            (Tensor("w", (Axis(2, "a"), Axis(2, "a"), Axis(1), Axis(4, "a"))),),
            (Layer("a", 2),),
            "at most two axes",
            id="three axes of a layer",
        ),
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(
    tensors: tuple[Tensor, ...], layers: tuple[Layer, ...], detail: str
) -> None:
    with pytest.raises(PreconditionError, match=detail) as caught:
        Layout(tensors=tensors, layers=layers)
    assert caught.value.rule == "LAY-1"


@pytest.mark.rule("LAY-1")
@pytest.mark.parametrize("widths", [(), (3,)])
def test_a_chain_needs_two_widths(widths: tuple[int, ...]) -> None:
    with pytest.raises(PreconditionError, match="an input and an output") as caught:
        dense_chain(*widths)
    assert caught.value.rule == "LAY-1"


@pytest.mark.rule("LAY-2")
def test_a_group_that_could_overflow_is_refused() -> None:
    """The limit is on a layer's weights over all tensors that touch it; describing them allocates nothing."""
    half = Tensor("in", (Axis(2, "a"), Axis(MAX_GROUP // 4)))
    rest = Tensor("out", (Axis(MAX_GROUP // 4), Axis(2, "a")))
    free = Tensor("free", (Axis(MAX_GROUP),))
    assert MAX_GROUP == 2**26
    assert Layout(tensors=(half, rest, free), layers=(Layer("a", 2),)).size == 2 * MAX_GROUP
    with pytest.raises(PreconditionError, match=r"layer a touches more than 2\^26 weights") as caught:
        Layout(tensors=(half, rest, Tensor("bias", (Axis(2, "a"),))), layers=(Layer("a", 2),))
    assert caught.value.rule == "LAY-2"


@pytest.mark.rule("LAY-4")
@pytest.mark.parametrize(
    ("kept", "detail"),
    [
        pytest.param({}, "kept sets are for", id="a layer is missing"),
        pytest.param(_kept(a=[0], b=[0]), "kept sets are for", id="an unknown layer"),
        pytest.param(_kept(a=[]), "non-empty", id="nothing is kept"),
        pytest.param({"a": np.array([0, 1], dtype=np.int32)}, r"int64\[·\]", id="another dtype"),
        pytest.param({"a": np.array([[0, 1]])}, r"int64\[·\]", id="two axes"),
        pytest.param(_kept(a=[-1, 2]), "ascend within 0 … 3", id="below 0"),
        pytest.param(_kept(a=[0, 4]), "ascend within 0 … 3", id="above the last"),
        pytest.param(_kept(a=[2, 1]), "ascend", id="descending"),
        pytest.param(_kept(a=[1, 1]), "ascend", id="twice the same"),
    ],
)
def test_a_kept_set_that_is_none_is_refused(kept: dict[str, NDArray[np.int64]], detail: str) -> None:
    layout = Layout(tensors=(W,), layers=(Layer("a", 4),))
    for attempt in (layout.check_kept, layout.held, layout.shrunk):
        with pytest.raises(PreconditionError, match=detail) as caught:
            attempt(kept)
        assert caught.value.rule == "LAY-4"


@pytest.mark.rule("LAY-4")
@given(layout=st.one_of(dense_layouts(), conv_layouts(), recurrent_layouts()), data=st.data())
def test_every_kept_set_is_accepted(layout: Layout, data: st.DataObject) -> None:
    layout.check_kept(data.draw(kept_sets(layout)))
