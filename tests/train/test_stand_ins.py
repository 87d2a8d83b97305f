"""Stand-ins: where pruned neurons follow from kept ones, the narrow module with them gives what the whole one does."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.errors import PreconditionError
from clip_ref.layout import Axis, Kept, Layout, Tensor, kept_count
from clip_ref.submodel import expand, extract
from clip_ref.values import Floats

pytest.importorskip("torch")

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from clip_ref.train.data import STAND_IN_PASSES, LocalTraining, load_task, stand_in_examples
from clip_ref.train.local import fit
from clip_ref.train.models import build
from clip_ref.train.pool import FitJob, Pool
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


def of_neurons(module: nn.Module, layout: Layout) -> Iterator[tuple[Tensor, Axis, str, torch.Tensor]]:
    """What comes into the neurons that can be pruned: each tensor, its axis along them, their layer, and its values."""
    parameters = dict(module.named_parameters())
    for tensor in layout.tensors:
        axis = tensor.axes[0]
        if axis.layer is not None:
            yield tensor, axis, axis.layer, parameters[tensor.name]


def constant(module: nn.Module, layout: Layout, kept: Kept) -> None:
    """Pruned neurons lose all that comes in and keep a bias of their own, so that they give one number, whatever comes.

    A pruned LSTM unit forgets at once; and since its first step finds a state of 0, nothing recurs from it.
    """
    with torch.no_grad():
        for tensor, axis, layer, values in of_neurons(module, layout):
            gone = torch.from_numpy(~np.isin(layout.owners(axis), kept[layer]))
            if len(tensor.axes) > 1:
                values[gone] = 0.0
            elif "lstm" in type(module).__name__.lower() or "bias_" in tensor.name:
                units = len(values) // 4
                values[units : 2 * units][gone[units : 2 * units]] = -200.0
            if "weight_hh" in tensor.name:
                values[:, torch.from_numpy(~np.isin(layout.owners(tensor.axes[1]), kept[layer]))] = 0.0


@attrs.frozen
class Case:
    """A module whose pruned neurons follow from the others, what is kept of it, and some examples."""

    module: nn.Module
    layout: Layout
    kept: Kept
    inputs: torch.Tensor

    def narrow(self, *, stand: bool) -> nn.Module:
        out = smaller(self.module, layout=self.layout, kept=self.kept)
        parameters = dict(out.named_parameters())
        with torch.no_grad():
            for name, added in (
                stand_ins(self.module, layout=self.layout, kept=self.kept, inputs=self.inputs) if stand else ()
            ):
                parameters[name].add_(added)
        return out


def copied(module: nn.Module, layout: Layout, kept: Kept) -> None:
    """Each pruned neuron becomes a copy of a kept one: in all that comes in, so that it gives the same, whatever comes."""
    with torch.no_grad():
        for _, axis, layer, values in of_neurons(module, layout):
            held, neurons = kept[layer], next(x.neurons for x in layout.layers if x.name == layer)
            gone = np.setdiff1d(np.arange(neurons), held)
            for at, neuron in enumerate(gone):
                for gate in range(axis.size // neurons):
                    values[gate * neurons + neuron] = values[gate * neurons + held[at % len(held)]]


def case(name: str, seed: int, prepare: Callable[[nn.Module, Layout, Kept], None] = constant) -> Case:
    torch.manual_seed(seed)
    make, shape = MODULES[name]
    module = make().eval()
    layout = layout_of(module, input_shape=shape)
    random = np.random.default_rng(seed)
    kept = {x.name: np.sort(random.choice(x.neurons, -(-x.neurons // 2), replace=False)) for x in layout.layers}
    prepare(module, layout, kept)
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
@given(seed=st.integers(0, 2**32))
def test_copies_are_made_up_for(name: str, seed: int) -> None:
    """But for the ridge, which takes a neuron to vary a hundredth more than it does, and more if it varies little."""
    one = case(name, seed, copied)
    whole = outputs(one.module, one.inputs)
    missing = np.linalg.norm(outputs(one.narrow(stand=False), one.inputs) - whole)
    assert np.linalg.norm(outputs(one.narrow(stand=True), one.inputs) - whole) <= 0.25 * missing + 1e-4


@pytest.mark.parametrize("name", MODULES)
def test_without_it_something_is_missing(name: str) -> None:
    missing = [
        np.abs(outputs(one.narrow(stand=False), one.inputs) - outputs(one.module, one.inputs)).max()
        for one in (case(name, seed) for seed in range(5))
    ]
    assert min(missing) > 1e-3


def estimate(x: Any, kept: Sequence[int], gone: Sequence[int]) -> tuple[Any, Any]:
    """Factors and constants: least squares with a row more for each kept neuron, in place of a ridge; x is float[·, n]."""
    x = np.asarray(x, dtype=np.float64)
    mean = x.mean(axis=0)
    own, other = (x - mean)[:, kept], (x - mean)[:, gone]
    ridge = np.sqrt(0.01 * (own**2).sum() / len(kept)) * np.eye(len(kept))
    rows, wanted = np.concatenate([own, ridge]), np.concatenate([other, np.zeros((len(kept), len(gone)))])
    factors = np.linalg.lstsq(rows, wanted, rcond=None)[0].T
    return factors, mean[gone] - factors @ mean[kept]


@given(seed=st.integers(0, 2**32))
def test_of_what_recurs_the_estimate_over_examples_and_steps_stands_in(seed: int) -> None:
    """For each gate, in the recurrent weights of an LSTM and in the incoming ones of the layer behind it, and in the biases."""
    torch.manual_seed(seed)
    module = Text().eval()
    layout, inputs = layout_of(module, input_shape=(6, 3)), torch.randn(7, 6, 3)
    kept = {"first": np.array([0, 3]), "second": np.array([1, 2, 3])}
    added = dict(stand_ins(module, layout=layout, kept=kept, inputs=inputs))
    with torch.no_grad():
        first, _ = module.first(inputs)
        second, _ = module.second(first)
    rows = {
        "first": np.concatenate([g * 5 + kept["first"] for g in range(4)]),
        "second": np.concatenate([g * 4 + kept["second"] for g in range(4)]),
        "head": np.arange(2),
    }
    flat = {name: value.detach().numpy() for name, value in module.named_parameters()}
    want: dict[str, Any] = {}
    for weight, bias, seen, held, gone in (
        ("first.weight_hh_l0", "first.bias_ih_l0", first.flatten(0, 1), [0, 3], [1, 2, 4]),
        ("second.weight_ih_l0", "second.bias_ih_l0", first.flatten(0, 1), [0, 3], [1, 2, 4]),
        ("second.weight_hh_l0", "second.bias_ih_l0", second.flatten(0, 1), [1, 2, 3], [0]),
        ("head.weight", "head.bias", second[:, -1], [1, 2, 3], [0]),  # the last step alone
    ):
        factors, rest = estimate(seen, held, gone)
        lost = flat[weight][rows[weight.split(".")[0]]][:, gone]
        want[weight] = lost @ factors
        want[bias] = want.get(bias, 0) + lost @ rest
    assert set(added) == set(want)
    for name, value in want.items():
        np.testing.assert_allclose(added[name].numpy(), value, rtol=1e-3, atol=1e-5)


def test_where_held_neurons_give_the_same_whatever_comes_constants_stand_in() -> None:
    torch.manual_seed(1)
    module: Any = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    layout, kept = layout_of(module, input_shape=(4,)), {"0": np.array([1])}
    inputs = torch.randn(5, 4)
    with torch.no_grad():
        module[0].weight[1] = 0.0
        mean = module[:2](inputs).mean(dim=0)
        added = dict(stand_ins(module, layout=layout, kept=kept, inputs=inputs))
        np.testing.assert_allclose(added["2.bias"], module[2].weight[:, [0, 2]] @ mean[[0, 2]], atol=1e-6)
    assert not added["2.weight"].any()


def test_where_nothing_is_pruned_nothing_stands_in() -> None:
    one = case("convolution", 1)
    added = stand_ins(one.module, layout=one.layout, kept=one.layout.full(), inputs=one.inputs)
    assert added == []


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
    found = stand_ins(module, layout=layout, kept=kept, inputs=torch.randn(3, 4))
    assert [name for name, _ in found] == ["4.weight", "4.bias"]


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
    ("examples", "epochs", "count"), [(40, 1, 10), (40, 3, 30), (20, 5, 20), (3, 1, 1), (255, 1, 63), (600, 1, 64)]
)
def test_training_starts_from_what_stands_in_for_the_first_examples(examples: int, epochs: int, count: int) -> None:
    """As if the sub-model had had it: by hand, over a quarter of what is trained on, at most 64."""
    torch.manual_seed(4)
    module: Any = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 2))
    layout = layout_of(module, input_shape=(4,))
    one = Case(module, layout, {x.name: np.array([0, 2, 5]) for x in layout.layers}, torch.zeros(1, 4))
    training = attrs.evolve(MOVING, epochs=epochs)
    found = fitted(one, training, stand_in=True, examples=examples)
    first = np.random.default_rng(3).normal(size=(examples, 4)).astype(np.float32)[:count]
    held, gone = [0, 2, 5], [1, 3, 4, 6]
    raised: Any = nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 2))
    load(raised, flatten(module))
    with torch.no_grad():
        factors, rest = estimate(module[:2](torch.from_numpy(first)), held, gone)
        lost = module[2].weight[:, gone]
        raised[2].weight[:, held] += lost @ torch.from_numpy(factors).float()
        raised[2].bias += lost @ torch.from_numpy(rest).float()
    want = fitted(attrs.evolve(one, module=raised), training, stand_in=False, examples=examples)
    np.testing.assert_allclose(found, want, atol=1e-5)
    assert len(found) == len(extract(model=flatten(module), layout=layout, kept=one.kept))


def test_a_trained_model_without_half_of_its_neurons_still_tells_digits_apart() -> None:
    """With stand-ins, that is: a few rounds of real training, and then half of the neurons drawn at random, five times."""
    with Pool("digits", clients=2, workers=0) as pool:
        model, layout = pool.initial_model(seed=1), pool.layout
        for seed in range(4):
            model = model + pool.fit_many([FitJob(client=0, model=model, kept=layout.full(), seed=seed)])[0]
        whole = pool.evaluate(model)
        module = build("digits_cnn", seed=1)
        load(module, model)
        seen = load_task("digits").ordered[0][:32]
        random = np.random.default_rng(1)
        accuracies = []
        for _ in range(5):
            kept = {x.name: np.sort(random.permutation(x.neurons)[: x.neurons // 2]) for x in layout.layers}
            one = Case(module, layout, kept, torch.tensor(seen))
            narrow = [flatten(one.narrow(stand=stand)) for stand in (False, True)]
            accuracies.append([pool.evaluate(expand(delta=flat, layout=layout, kept=kept)) for flat in narrow])
    without, with_it = np.mean(accuracies, axis=0)
    assert whole > 0.8
    assert with_it > whole - 0.1
    assert without < whole - 0.2


def test_nobody_is_billed_for_more_examples_than_it_has() -> None:
    asked = [(20, 5), (3, 1), (255, 1), (10**6, 3), (1, 1)]
    assert [stand_in_examples(examples=m, epochs=e) for m, e in asked] == [20, 1, 63, 64, 1]


@pytest.mark.parametrize("keep", [500, 750, 950])
@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("digits_cnn", (1, 8, 8), 32),
        ("femnist_cnn", (1, 28, 28), 64),
        ("vgg9", (3, 32, 32), 64),
        ("char_lstm", (80,), 64),
    ],
)
def test_estimates_take_less_than_is_billed(name: str, shape: tuple[int, ...], count: int, keep: int) -> None:
    """Products of matrices as torch counts them, all but the solution of a system of at most 512 unknowns."""
    module = build(name, seed=1)
    layout = layout_of(module, input_shape=shape)
    kept = {x.name: np.arange(kept_count(x.neurons, keep)) for x in layout.layers}
    solved = sum(k**3 // 3 + k**2 * (x.neurons - k) for x in layout.layers for k in (len(kept[x.name]),))
    inputs = torch.zeros(count, *shape)
    with FlopCounterMode(display=False) as counter:
        stand_ins(module, layout=layout, kept=kept, inputs=inputs)
    products = counter.get_total_flops() // 2
    if name != "char_lstm":  # whose forward pass torch does not count
        assert products > layout.macs() * count
    forward = 0 if products > layout.macs() * count else layout.macs() * count
    assert forward + products + 2 * solved < STAND_IN_PASSES * layout.macs() * count


def test_a_model_whose_neurons_overflow_is_refused_like_any_that_diverges() -> None:
    one = case("dense", 1, copied)
    module: Any = one.module
    with torch.no_grad():
        module[0].weight.fill_(3e38)
    with pytest.raises(PreconditionError, match="TRN-4"):
        fitted(one, MOVING, stand_in=True)
