"""Smaller modules: same outputs as the full module without those neurons, same weights as `extract`, less work."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_ref.errors import PreconditionError
from clip_ref.layout import Kept, Layout, Tensor, dense_chain, kept_count
from clip_ref.oracle.strategies import kept_sets
from clip_ref.submodel import extract, zeroed
from clip_ref.values import Floats

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from clip_ref.train.data import load_task
from clip_ref.train.models import build
from clip_ref.train.smaller import flatten, load, smaller
from clip_ref.train.trace import layout_of

torch.set_num_threads(1)  # as in a worker; two would wait for each other wherever a core is busy

ACTIVATIONS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    functional.relu,
    torch.tanh,
    torch.sigmoid,
    functional.gelu,
    functional.silu,
    functional.elu,
    lambda x: functional.leaky_relu(x, 0.2),
    lambda x: x.relu(),
)
POOLS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    lambda x: x,
    lambda x: functional.max_pool2d(x, 2),
    lambda x: functional.avg_pool2d(x, 2, stride=1),
    lambda x: functional.adaptive_avg_pool2d(x, (2, 1)),
)
FLATTENS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    lambda x: torch.flatten(x, 1),
    lambda x: x.flatten(start_dim=1),
    lambda x: x.view(x.size(0), -1),
    lambda x: x.contiguous().view((x.shape[0], -1)),
    lambda x: x.reshape(x.size()[0], -1),
    lambda x: torch.reshape(x, (x.size(0), -1)),
)


class Chain(nn.Module):
    """A user's own module: convolutions and dense layers from lists, everything else by function."""

    def __init__(self, convs: list[nn.Conv2d], denses: list[nn.Linear], act: Any, pool: Any, flat: Any) -> None:
        super().__init__()
        self.convs, self.denses = nn.ModuleList(convs), nn.ModuleList(denses)
        self.act, self.pool, self.flat = act, pool, flat

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = self.act(conv(x))
        if len(self.convs):
            x = self.flat(functional.dropout(self.pool(x), 0.5, self.training))
        for k, dense in enumerate(self.denses):
            x = dense(x) if k == 0 else dense(self.act(x))
        return functional.log_softmax(x, dim=1)


@attrs.frozen
class Drawn:
    """A module, its layout, some neurons to keep, and examples."""

    module: nn.Module
    layout: Layout
    kept: Kept
    inputs: torch.Tensor


@st.composite
def drawn(draw: st.DrawFn, convolutions: int = 2) -> Drawn:
    """Small chains of every kind, with random weights and biases."""
    torch.manual_seed(draw(st.integers(0, 2**32)))
    act, pool, flat = (draw(st.sampled_from(x)) for x in (ACTIVATIONS, POOLS, FLATTENS))
    depth, bias = draw(st.integers(0, convolutions)), draw(st.booleans())
    widths = draw(st.lists(st.integers(1, 6), min_size=depth + 2, max_size=depth + 3))
    shape = (widths[0], draw(st.integers(8, 9)), draw(st.integers(8, 9))) if depth else (widths[0],)
    convs = [
        nn.Conv2d(
            widths[k],
            widths[k + 1],
            draw(st.sampled_from(((1, 1), (2, 2), (2, 1)))),
            stride=draw(st.sampled_from((1, 1, 2))),
            padding=draw(st.integers(0, 1)),
            dilation=draw(st.integers(1, 2)),
            bias=bias,
        )
        for k in range(depth)
    ]
    inputs = torch.randn(4, *shape)
    volume = inputs
    for conv in convs:
        volume = conv(volume)
    if depth:
        try:
            volume = pool(volume)
        except RuntimeError:
            pool = POOLS[0]
    first = volume.flatten(1).shape[1]
    denses = [
        nn.Linear(a, b, bias=bias) for a, b in zip([first, *widths[depth + 1 :]], widths[depth + 1 :], strict=False)
    ]
    module = Chain(convs, denses, act, pool, flat).eval()
    layout = layout_of(module, input_shape=shape)
    return Drawn(module, layout, draw(kept_sets(layout)), inputs)


def parametrised(module: nn.Module) -> dict[str, nn.Module]:
    return {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)}


@contextmanager
def silenced(module: nn.Module, kept: Kept) -> Iterator[None]:
    """While this lasts, each layer sees zeros from the pruned neurons of the layer before it.

    What "without those neurons" means, said by channel and without a layout.
    """
    layers = list(parametrised(module).items())
    hooks = []
    for (before, _), (_, after) in itertools.pairwise(layers):
        neurons = next(p for p in dict(layers)[before].parameters()).shape[0]
        mask = torch.zeros(neurons)
        mask[torch.from_numpy(kept[before])] = 1

        def silence(_: nn.Module, args: tuple[torch.Tensor], mask: torch.Tensor = mask) -> torch.Tensor:
            (x,) = args
            return (x.reshape(len(x), len(mask), -1) * mask[:, None]).reshape(x.shape)

        hooks.append(after.register_forward_pre_hook(silence))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def run(module: nn.Module, inputs: torch.Tensor) -> Floats:
    return np.asarray(module(inputs).numpy(), dtype=np.float32)


@torch.no_grad()
def reference(module: nn.Module, kept: Kept, inputs: torch.Tensor) -> Floats:
    with silenced(module, kept):
        return run(module, inputs)


@pytest.mark.rule("SUB-5", "SUB-6")
@given(case=drawn())
def test_forward_equals_the_full_module_without_the_pruned_neurons(case: Drawn) -> None:
    narrow = smaller(case.module, layout=case.layout, kept=case.kept)
    np.testing.assert_allclose(
        run(narrow, case.inputs), reference(case.module, case.kept, case.inputs), rtol=1e-4, atol=1e-5
    )


@pytest.mark.rule("SUB-5")
@given(case=drawn())
def test_forward_equals_the_full_module_with_the_groups_zeroed(case: Drawn) -> None:
    narrow = smaller(case.module, layout=case.layout, kept=case.kept)
    flat = zeroed(model=flatten(case.module), layout=case.layout, kept=case.kept)
    load(case.module, flat)
    np.testing.assert_allclose(run(narrow, case.inputs), run(case.module, case.inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.rule("SUB-2", "SUB-6", "LAY-6")
@given(case=drawn())
def test_its_weights_are_what_extract_takes_and_its_layout_is_the_shrunk_one(case: Drawn) -> None:
    narrow = smaller(case.module, layout=case.layout, kept=case.kept)
    want = extract(model=flatten(case.module), layout=case.layout, kept=case.kept)
    np.testing.assert_array_equal(flatten(narrow), want)
    assert layout_of(narrow, input_shape=tuple(case.inputs.shape[1:])) == case.layout.shrunk(case.kept)


@given(case=drawn())
def test_sizes_are_set_and_the_module_itself_is_left_alone(case: Drawn) -> None:
    before = flatten(case.module)
    narrow = smaller(case.module, layout=case.layout, kept=case.kept)
    for name, part in parametrised(narrow).items():
        full = parametrised(case.module)[name]
        outputs = len(case.kept[name]) if name in case.kept else None
        if isinstance(part, nn.Linear):
            assert isinstance(full, nn.Linear)
            assert (part.out_features, part.in_features) == tuple(part.weight.shape)
            assert part.out_features == (outputs or full.out_features)
        else:
            assert isinstance(part, nn.Conv2d)
            assert isinstance(full, nn.Conv2d)
            assert (part.out_channels, part.in_channels) == tuple(part.weight.shape[:2])
            assert part.out_channels == (outputs or full.out_channels)
    load(narrow, np.zeros(len(flatten(narrow)), dtype=np.float32))
    np.testing.assert_array_equal(flatten(case.module), before)


@given(case=drawn())
def test_load_undoes_flatten(case: Drawn) -> None:
    flat = flatten(case.module)
    assert not flat.flags.writeable
    other = flat[::-1].copy()
    load(case.module, other)
    np.testing.assert_array_equal(flatten(case.module), other)
    assert flat.dtype == np.float32
    assert len(flat) == case.layout.size


def digits(keep: int) -> tuple[nn.Module, Layout, Kept]:
    """The digits' model, and a scattered choice of as many neurons as `keep` leaves."""
    module = build("digits_cnn", seed=3)
    layout = layout_of(module, input_shape=(1, 8, 8))
    rng = np.random.default_rng(keep)
    kept = {
        x.name: np.sort(rng.choice(x.neurons, kept_count(x.neurons, keep), replace=False)).astype(np.int64)
        for x in layout.layers
    }
    return module, layout, kept


@pytest.mark.rule("SUB-5", "SUB-6")
@pytest.mark.parametrize("keep", [1, 300, 650, 999])
@pytest.mark.parametrize(("name", "shape"), [("char_lstm", (80,)), ("femnist_cnn", (1, 28, 28)), ("vgg9", (3, 32, 32))])
def test_the_tasks_models_give_what_they_give_with_the_pruned_neurons_zeroed(
    name: str, shape: tuple[int, ...], keep: int
) -> None:
    module = build(name, seed=3)
    layout = layout_of(module, input_shape=shape)
    rng = np.random.default_rng(keep)
    kept = {
        x.name: np.sort(rng.choice(x.neurons, kept_count(x.neurons, keep), replace=False)).astype(np.int64)
        for x in layout.layers
    }
    inputs = torch.from_numpy(rng.integers(0, 80, (3, *shape)).astype(np.float32))
    narrow = smaller(module, layout=layout, kept=kept)
    assert layout_of(narrow, input_shape=shape) == layout.shrunk(kept)
    load(module, zeroed(model=flatten(module), layout=layout, kept=kept))
    want = run(module, inputs)
    np.testing.assert_allclose(run(narrow, inputs), want, rtol=1e-4, atol=1e-4 * float(np.abs(want).max()))
    assert flatten(build(name, seed=3)).tobytes() == flatten(build(name, seed=3)).tobytes()
    assert flatten(build(name, seed=4)).tobytes() != flatten(build(name, seed=3)).tobytes()


def test_the_tasks_models_have_the_papers_sizes() -> None:
    """Torch's LSTM has two biases where the paper's has one: 1,024 more."""
    sizes = {name: len(flatten(build(name, seed=1))) for name in ("vgg9", "femnist_cnn", "char_lstm")}
    assert sizes == {"vgg9": 1_469_994, "femnist_cnn": 410_022, "char_lstm": 248_912 + 1_024}


@pytest.mark.rule("SUB-5", "SUB-6")
def test_flatten_boundary_is_channel_major() -> None:
    """Channel c's pixels are indices c·H·W … of the dense layer's inputs; the predecessor's code took c, c + C, …"""
    module, layout, kept = digits(600)
    inputs = torch.tensor(load_task("digits").test[0][:50])
    want = reference(module, kept, inputs)
    np.testing.assert_allclose(run(smaller(module, layout=layout, kept=kept), inputs), want, rtol=1e-4, atol=1e-5)

    def channels_last(tensor: Tensor) -> Tensor:
        return attrs.evolve(tensor, axes=tuple(attrs.evolve(axis, inner=1) for axis in tensor.axes))

    wrong = attrs.evolve(layout, tensors=tuple(map(channels_last, layout.tensors)))
    assert wrong != layout
    got = run(smaller(module, layout=wrong, kept=kept), inputs)
    assert np.abs(got - want).max() > 0.1


@settings(max_examples=20)
@given(case=drawn())
def test_it_learns_what_the_full_module_would_learn_without_the_pruned_neurons(case: Drawn) -> None:
    narrow = smaller(case.module, layout=case.layout, kept=case.kept)
    torch.autograd.backward(narrow(case.inputs).square().sum())
    with silenced(case.module, case.kept):
        torch.autograd.backward(case.module(case.inputs).square().sum())
    grads = {name: p.grad for name, p in narrow.named_parameters()}
    full = np.concatenate([p.grad.numpy().ravel() for p in case.module.parameters() if p.grad is not None])
    want = extract(model=full, layout=case.layout, kept=case.kept)
    got = np.concatenate([grad.numpy().ravel() for grad in grads.values() if grad is not None])
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(want).max())))


def test_refuses_a_layout_of_another_module() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    other = dense_chain(4, 5, 2)
    with pytest.raises(PreconditionError, match="SUB-6: the layout is not this module's"):
        smaller(module, layout=other, kept=other.full())


@pytest.mark.rule("LAY-4")
def test_refuses_to_keep_no_neuron_of_a_layer() -> None:
    module, layout, kept = digits(500)
    with pytest.raises(PreconditionError, match="LAY-4"):
        smaller(module, layout=layout, kept={**kept, "conv2": np.empty(0, dtype=np.int64)})


@pytest.mark.rule("TRN-3")
@pytest.mark.parametrize(
    ("flat", "words"),
    [
        (np.zeros(16, dtype=np.float32), r"float32\[17\], got float32\[16\]"),
        (np.zeros(17, dtype=np.float64), r"float32\[17\], got float64\[17\]"),
        (np.zeros((17, 1), dtype=np.float32), r"float32\[17\], got float32\[17, 1\]"),
        (np.array([0] * 16 + [np.nan], dtype=np.float32), "nan at coordinate 16"),
        (np.array([-np.inf] + [0] * 16, dtype=np.float32), "-inf at coordinate 0"),
    ],
)
def test_load_refuses(flat: Any, words: str) -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    before = flatten(module)
    with pytest.raises(PreconditionError, match=words) as caught:
        load(module, flat)
    assert caught.value.rule == "TRN-3"
    np.testing.assert_array_equal(flatten(module), before)
