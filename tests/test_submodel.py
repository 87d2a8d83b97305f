"""Sub-model: out of the full model and back to the same places."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError
from clip_ref.layout import Axis, Kept, Layer, Layout, Tensor, dense_chain
from clip_ref.oracle.strategies import floats, kept_sets, layouts, models
from clip_ref.submodel import expand, extract, zeroed
from clip_ref.values import Floats


@st.composite
def cases(draw: st.DrawFn) -> tuple[Layout, Kept, Floats]:
    layout = draw(layouts())
    return layout, draw(kept_sets(layout)), draw(models(layout))


def tensor_by_tensor(layout: Layout, kept: Kept, model: Floats) -> list[NDArray[np.float32]]:
    """The sub-model's tensors: of each axis the indices whose neuron is kept, in their order."""
    out, at = [], 0
    neurons = {layer.name: layer.neurons for layer in layout.layers}
    for tensor in layout.tensors:
        block = model[at : at + tensor.size].reshape(tensor.shape)
        at += tensor.size
        for number, axis in enumerate(tensor.axes):
            if axis.layer is not None:
                keep = set(kept[axis.layer].tolist())
                index = [i for i in range(axis.size) if i // axis.inner % neurons[axis.layer] in keep]
                block = block.take(index, axis=number)
        out.append(block)
    return out


@pytest.mark.rule("LAY-6", "SUB-2")
@given(case=cases())
def test_the_sub_model_has_the_shrunk_layout(case: tuple[Layout, Kept, Floats]) -> None:
    layout, kept, model = case
    small, tensors = extract(model=model, layout=layout, kept=kept), tensor_by_tensor(layout, kept, model)
    assert [t.shape for t in tensors] == [t.shape for t in layout.shrunk(kept).tensors]
    assert small.dtype == np.float32
    assert small.tolist() == np.concatenate([t.ravel() for t in tensors]).tolist()
    assert len(small) == layout.shrunk(kept).size


@pytest.mark.rule("SUB-2", "SUB-4")
@given(case=cases(), data=st.data())
def test_extract_undoes_expand(case: tuple[Layout, Kept, Floats], data: st.DataObject) -> None:
    layout, kept, _ = case
    delta = data.draw(floats(layout.shrunk(kept).size))
    full = expand(delta=delta, layout=layout, kept=kept)
    assert full.dtype == np.float32
    assert full.shape == (layout.size,)
    assert extract(model=full, layout=layout, kept=kept).tobytes() == delta.tobytes()


@pytest.mark.rule("SUB-4", "SUB-5")
@given(case=cases())
def test_expand_is_zero_on_what_was_pruned(case: tuple[Layout, Kept, Floats]) -> None:
    layout, kept, model = case
    held = layout.held(kept)
    full = expand(delta=extract(model=model, layout=layout, kept=kept), layout=layout, kept=kept)
    assert full[held].tobytes() == model[held].tobytes()
    assert full[~held].tobytes() == bytes(4 * int((~held).sum()))  # +0, bit for bit
    assert zeroed(model=model, layout=layout, kept=kept).tobytes() == full.tobytes()


@pytest.mark.rule("SUB-2", "SUB-4")
@given(case=cases())
def test_keeping_all_changes_nothing(case: tuple[Layout, Kept, Floats]) -> None:
    layout, _, model = case
    for function in (extract, zeroed):
        assert function(model=model, layout=layout, kept=layout.full()).tobytes() == model.tobytes()
    assert expand(delta=model, layout=layout, kept=layout.full()).tobytes() == model.tobytes()


@pytest.mark.rule("SUB-2", "SUB-4")
@given(case=cases(), data=st.data())
def test_pruning_in_two_steps(case: tuple[Layout, Kept, Floats], data: st.DataObject) -> None:
    """Pruning the sub-model again is pruning the full model more."""
    layout, kept, model = case
    inner = data.draw(kept_sets(layout.shrunk(kept)))
    both = {name: kept[name][index] for name, index in inner.items()}
    once = extract(model=extract(model=model, layout=layout, kept=kept), layout=layout.shrunk(kept), kept=inner)
    assert once.tobytes() == extract(model=model, layout=layout, kept=both).tobytes()


@pytest.mark.rule("SUB-5")
@given(widths=st.lists(st.integers(1, 5), min_size=3, max_size=5), data=st.data())
def test_the_sub_model_computes_what_the_zeroed_model_does(widths: list[int], data: st.DataObject) -> None:
    layout = dense_chain(*widths)
    kept, model = data.draw(kept_sets(layout)), data.draw(models(layout))
    inputs = data.draw(floats(widths[0])).astype(np.float64)

    def forward(layout: Layout, flat: Floats) -> NDArray[np.float64]:
        value, parts = inputs, [flat[where].reshape(t.shape).astype(np.float64) for t, where in layout.slices()]
        for k, (weight, bias) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
            value = weight @ (np.maximum(value, 0) if k else value) + bias
        return value

    small = forward(layout.shrunk(kept), extract(model=model, layout=layout, kept=kept))
    whole = forward(layout, zeroed(model=model, layout=layout, kept=kept))
    np.testing.assert_allclose(small, whole, rtol=1e-9, atol=1e-9 * (1 + float(np.abs(model).max()) ** len(widths)))


@pytest.mark.rule("SUB-1", "SUB-3")
@given(case=cases())
def test_inputs_stay_as_they_are_and_results_are_read_only(case: tuple[Layout, Kept, Floats]) -> None:
    layout, kept, model = case
    before = model.copy()
    small = extract(model=model, layout=layout, kept=kept)
    full = expand(delta=small, layout=layout, kept=kept)
    assert not small.flags.writeable
    assert not full.flags.writeable
    assert model.tobytes() == before.tobytes()
    assert not np.shares_memory(small, model)


# Hand-worked


def index(*neurons: int) -> NDArray[np.int64]:
    return np.array(neurons, dtype=np.int64)


@pytest.mark.rule("SUB-2", "SUB-4")
def test_vector_dense() -> None:
    """2 inputs, 3 hidden units, 1 output; unit 1 goes: its row 2, 3, its bias 7 and its column 10."""
    layout, kept = dense_chain(2, 3, 1), {"hidden1": index(0, 2)}
    model = np.arange(13, dtype=np.float32)
    small = extract(model=model, layout=layout, kept=kept)
    assert small.tolist() == [0, 1, 4, 5, 6, 8, 9, 11, 12]
    full = expand(delta=small + np.float32(1), layout=layout, kept=kept)
    assert full.tolist() == [1, 2, 0, 0, 5, 6, 7, 0, 9, 10, 0, 12, 13]
    assert zeroed(model=model, layout=layout, kept=kept).tolist() == [0, 1, 0, 0, 4, 5, 6, 0, 8, 9, 0, 11, 12]


@pytest.mark.rule("SUB-2", "LAY-5")
def test_vector_the_flatten_boundary() -> None:
    """Three channels of a 2 × 2 image feed 12 columns, four neighbours to a channel; channel 1 goes with columns 4 … 7."""
    layout = Layout(
        tensors=(
            Tensor("conv", (Axis(3, "conv"), Axis(1), Axis(1), Axis(1))),
            Tensor("dense", (Axis(1), Axis(12, "conv", inner=4))),
        ),
        layers=(Layer("conv", 3),),
    )
    small = extract(model=np.arange(15, dtype=np.float32), layout=layout, kept={"conv": index(0, 2)})
    assert small.tolist() == [0, 2, 3, 4, 5, 6, 11, 12, 13, 14]


@pytest.mark.rule("SUB-2", "LAY-5")
def test_vector_recurrent() -> None:
    """Two gates of two units: unit 0 goes with rows 0 and 2 and column 0 of the recurrent 4 × 2."""
    layout = Layout(tensors=(Tensor("hh", (Axis(4, "rnn"), Axis(2, "rnn"))),), layers=(Layer("rnn", 2),))
    small = extract(model=np.arange(8, dtype=np.float32), layout=layout, kept={"rnn": index(1)})
    assert small.tolist() == [3, 7]


@pytest.mark.rule("SUB-1")
@pytest.mark.parametrize("bad", [np.zeros(12, "f4"), np.zeros(14, "f4"), np.zeros(13), np.zeros((13, 1), "f4")])
def test_refuses_another_model(bad: Floats) -> None:
    layout, kept = dense_chain(2, 3, 1), {"hidden1": index(0, 2)}
    for function in (extract, zeroed):
        with pytest.raises(PreconditionError, match=r"SUB-1: the model must be float32\[13\]"):
            function(model=bad, layout=layout, kept=kept)


@pytest.mark.rule("SUB-3")
@pytest.mark.parametrize("bad", [np.zeros(8, "f4"), np.zeros(13, "f4"), np.zeros(9), np.zeros((1, 9), "f4")])
def test_refuses_an_update_of_another_sub_model(bad: Floats) -> None:
    with pytest.raises(PreconditionError, match=r"SUB-3: the sub-model's update must be float32\[9\]"):
        expand(delta=bad, layout=dense_chain(2, 3, 1), kept={"hidden1": index(0, 2)})


@pytest.mark.rule("SUB-1", "LAY-4")
@pytest.mark.parametrize(
    "kept",
    [{}, {"hidden1": index()}, {"hidden1": index(0, 3)}, {"hidden1": index(1, 0)}, {"hidden2": index(0)}],
)
def test_refuses_kept_sets_of_another_layout(kept: Kept) -> None:
    layout = dense_chain(2, 3, 1)
    with pytest.raises(PreconditionError, match="LAY-4"):
        extract(model=np.zeros(13, dtype=np.float32), layout=layout, kept=kept)
    with pytest.raises(PreconditionError, match="LAY-4"):
        expand(delta=np.zeros(9, dtype=np.float32), layout=layout, kept=kept)
