"""Stand-ins: where what pruned neurons give is constant, the narrow module with its biases gives what the whole one does."""

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.layout import Kept, Layout
from clip_ref.submodel import extract
from clip_ref.values import Floats

pytest.importorskip("torch")

import torch
from torch import nn

from clip_ref.train.data import LocalTraining
from clip_ref.train.local import fit
from clip_ref.train.smaller import flatten, load, smaller, stand_ins
from clip_ref.train.trace import layout_of

torch.set_num_threads(1)

pytestmark = pytest.mark.rule("SUB-7")


class Text(nn.Module):
    """Two LSTM layers and a dense one on the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(3, 5, batch_first=True)
        self.second = nn.LSTM(5, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, _ = self.first(x)
        x, _ = self.second(x)
        out: torch.Tensor = self.head(x[:, -1])
        return out


MODULES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "dense": (lambda: nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3)), (4,)),
    "convolution": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 5, 3),
            nn.ReLU(),
            nn.Conv2d(5, 6, (2, 3), stride=2),
            nn.Sigmoid(),
            nn.Flatten(),
            nn.Linear(54, 3),
        ),
        (2, 9, 9),
    ),
    "flatten": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 5),
            nn.ReLU(),
            nn.Linear(5, 2),
        ),
        (1, 6, 6),
    ),
    "lstm": (Text, (6, 3)),
}


def constant(module: nn.Module, layout: Layout, kept: Kept) -> None:
    """Pruned neurons lose all that comes in and keep a bias of their own, so that they give one number, whatever comes.

    A pruned LSTM unit forgets at once; and since its first step finds a state of 0, nothing recurs from it.
    """
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for tensor in layout.tensors:
            axis, values = tensor.axes[0], parameters[tensor.name]
            if axis.layer is None:
                continue
            gone = torch.from_numpy(~np.isin(layout.owners(axis), kept[axis.layer]))
            if len(tensor.axes) > 1:
                values[gone] = 0.0
            elif "lstm" in type(module).__name__.lower() or "bias_" in tensor.name:
                units = len(values) // 4
                values[units : 2 * units][gone[units : 2 * units]] = -200.0
            if "weight_hh" in tensor.name:
                values[:, torch.from_numpy(~np.isin(layout.owners(tensor.axes[1]), kept[axis.layer]))] = 0.0


@attrs.frozen
class Case:
    """A module whose pruned neurons are constant, and some examples."""

    module: nn.Module
    layout: Layout
    kept: Kept
    inputs: torch.Tensor

    def narrow(self, *, stand: bool) -> nn.Module:
        out = smaller(self.module, layout=self.layout, kept=self.kept)
        biases = dict(out.named_parameters())
        with torch.no_grad():
            for name, added in (
                stand_ins(self.module, layout=self.layout, kept=self.kept, inputs=self.inputs) if stand else ()
            ):
                biases[name].add_(added)
        return out


def case(name: str, seed: int) -> Case:
    torch.manual_seed(seed)
    make, shape = MODULES[name]
    module = make().eval()
    layout = layout_of(module, input_shape=shape)
    random = np.random.default_rng(seed)
    kept = {x.name: np.sort(random.choice(x.neurons, -(-x.neurons // 2), replace=False)) for x in layout.layers}
    constant(module, layout, kept)
    return Case(module, layout, kept, torch.randn(5, *shape))


@torch.no_grad()
def outputs(module: nn.Module, inputs: torch.Tensor) -> Floats:
    return np.asarray(module(inputs).numpy())


@pytest.mark.parametrize("name", MODULES)
@given(seed=st.integers(0, 2**32))
def test_a_constant_is_made_up_for_exactly(name: str, seed: int) -> None:
    one = case(name, seed)
    whole = outputs(one.module, one.inputs)
    np.testing.assert_allclose(outputs(one.narrow(stand=True), one.inputs), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_without_it_something_is_missing(name: str) -> None:
    missing = [
        np.abs(outputs(one.narrow(stand=False), one.inputs) - outputs(one.module, one.inputs)).max()
        for one in (case(name, seed) for seed in range(5))
    ]
    assert min(missing) > 1e-3


@given(seed=st.integers(0, 2**32))
def test_of_what_recurs_the_mean_over_examples_and_steps_stands_in(seed: int) -> None:
    """Each gate's bias gets the recurrent weights from pruned units times their mean output, and the next layer's likewise."""
    torch.manual_seed(seed)
    module = Text().eval()
    layout, inputs = layout_of(module, input_shape=(6, 3)), torch.randn(7, 6, 3)
    kept = {"first": np.array([0, 3]), "second": np.array([1, 2, 3])}
    added = dict(stand_ins(module, layout=layout, kept=kept, inputs=inputs))
    with torch.no_grad():
        first, _ = module.first(inputs)
        second, _ = module.second(first)
        means = [x.mean(dim=(0, 1)) for x in (first, second)]
        rows = [
            np.concatenate([g * 5 + kept["first"] for g in range(4)]),
            np.concatenate([g * 4 + kept["second"] for g in range(4)]),
        ]
        flat = dict(module.named_parameters())
        own = flat["first.weight_hh_l0"][rows[0]][:, [1, 2, 4]] @ means[0][[1, 2, 4]]
        both = flat["second.weight_ih_l0"][rows[1]][:, [1, 2, 4]] @ means[0][[1, 2, 4]]
        both += flat["second.weight_hh_l0"][rows[1]][:, [0]] @ means[1][[0]]
        head = module.head.weight[:, [0]] @ second[:, -1].mean(dim=0)[[0]]  # the last step alone
    assert set(added) == {"first.bias_ih_l0", "second.bias_ih_l0", "head.bias"}
    for name, want in (("first.bias_ih_l0", own), ("second.bias_ih_l0", both), ("head.bias", head)):
        np.testing.assert_allclose(added[name].numpy(), want.numpy(), rtol=1e-4, atol=1e-6)


def test_where_nothing_is_pruned_nothing_stands_in() -> None:
    one = case("convolution", 1)
    added = stand_ins(one.module, layout=one.layout, kept=one.layout.full(), inputs=one.inputs)
    assert all(not values.any() for _, values in added)


def test_the_module_is_left_as_it_was() -> None:
    one = case("dense", 1)
    before, mode = flatten(one.module), one.module.train().training
    stand_ins(one.module, layout=one.layout, kept=one.kept, inputs=one.inputs)
    np.testing.assert_array_equal(flatten(one.module), before)
    assert one.module.training == mode
    assert not any(part._forward_hooks for part in one.module.modules())


def test_layers_without_a_bias_go_without() -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 2))
    layout = layout_of(module, input_shape=(4,))
    kept = {x.name: np.arange(2) for x in layout.layers}
    assert [name for name, _ in stand_ins(module, layout=layout, kept=kept, inputs=torch.randn(3, 4))] == ["4.bias"]


# --- In a fit ---

STILL = LocalTraining(optimiser="sgd", lr=1e-30, batch=8, epochs=1)
"""Changes nothing."""

MOVING = LocalTraining(optimiser="sgd", lr=0.1, batch=8, epochs=1)


def fitted(
    one: Case, training: LocalTraining, *, stand_in: bool, kept: Kept | None = None, examples: int = 40
) -> Floats:
    random = np.random.default_rng(3)
    shape = tuple(one.inputs.shape[1:])
    part = (random.normal(size=(examples, *shape)).astype(np.float32), random.integers(0, 2, examples))
    return fit(
        module=one.module,
        layout=one.layout,
        model=flatten(one.module),
        kept=one.kept if kept is None else kept,
        part=part,
        training=training,
        seed=1,
        stand_in=stand_in,
    )


@pytest.mark.parametrize("name", MODULES)
def test_an_update_is_what_training_changed_without_the_stand_in(name: str) -> None:
    one = case(name, 2)
    assert not fitted(one, STILL, stand_in=True).any()
    with_it, without = (fitted(one, MOVING, stand_in=stand) for stand in (True, False))
    assert with_it.shape == without.shape
    assert (with_it != without).any()
    whole = [fitted(one, MOVING, stand_in=stand, kept=one.layout.full()) for stand in (True, False)]
    np.testing.assert_array_equal(whole[0], whole[1])


@pytest.mark.parametrize(
    ("examples", "epochs", "count"), [(40, 1, 5), (40, 3, 15), (7, 1, 1), (255, 1, 31), (300, 1, 32)]
)
def test_training_starts_from_biases_that_stand_in_for_the_first_examples(
    examples: int, epochs: int, count: int
) -> None:
    """As if the sub-model had had them: by hand, over an eighth of what is trained on, at most 32."""
    torch.manual_seed(4)
    module = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 2))
    layout = layout_of(module, input_shape=(4,))
    one = Case(module, layout, {x.name: np.array([0, 2, 5]) for x in layout.layers}, torch.zeros(1, 4))
    training = attrs.evolve(MOVING, epochs=epochs)
    found = fitted(one, training, stand_in=True, examples=examples)
    first = np.random.default_rng(3).normal(size=(examples, 4)).astype(np.float32)[:count]
    with torch.no_grad():
        mean = module[:2](torch.from_numpy(first)).mean(dim=0)
        gone = [1, 3, 4, 6]
        added = module[2].weight[:, gone] @ mean[gone]  # type: ignore[index]
    model = flatten(module).copy()
    model[-2:] += added.numpy()
    raised = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 2))
    load(raised, model)
    want = fitted(attrs.evolve(one, module=raised), training, stand_in=False, examples=examples)
    np.testing.assert_allclose(found, want, atol=1e-6)
    assert len(found) == len(extract(model=model, layout=layout, kept=one.kept))
