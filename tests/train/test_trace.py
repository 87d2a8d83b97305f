"""Tracing: the layouts of what can be made smaller, and a refusal by name of what cannot."""

from collections.abc import Callable
from typing import Any

import pytest

from clip_ref.errors import PreconditionError
from clip_ref.layout import Axis, Layer, Layout, Tensor

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from clip_ref.train.models import build
from clip_ref.train.smaller import flatten
from clip_ref.train.trace import layout_of

Forward = Callable[[Any, torch.Tensor], Any]


def made(forward: Forward, **parts: nn.Module) -> nn.Module:
    """A module with these submodules and this forward."""
    module = type("Own", (nn.Module,), {"forward": forward})()
    for name, part in parts.items():
        setattr(module, name, part)
    assert isinstance(module, nn.Module)
    return module


def last(x: Any) -> Any:
    return x[:, -1]


def recurrent(after: Callable[[Any], Any], *, alone: bool = False, batch_first: bool = True, **how: Any) -> nn.Module:
    """An LSTM, something after it, and a dense layer unless it is `alone`."""

    def forward(self: Any, x: torch.Tensor) -> Any:
        x, _ = self.lstm(x)
        return after(x) if alone else self.out(after(x))

    parts: dict[str, nn.Module] = {} if alone else {"out": nn.Linear(4, 2)}
    return made(forward, lstm=nn.LSTM(4, 4, batch_first=batch_first, **how), **parts)


def recurrent_states() -> nn.Module:
    def forward(self: Any, x: torch.Tensor) -> Any:
        _, states = self.lstm(x)
        return states[0]

    return made(forward, lstm=nn.LSTM(4, 4, batch_first=True))


@pytest.mark.rule("SUB-6")
def test_layout_of_a_convolutional_module() -> None:
    """Strides, padding and pooling counted; the flattened axis in runs of H·W; the output layer not prunable."""
    module = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU()),
        nn.Conv2d(4, 5, (1, 2), bias=False),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(5 * 2 * 1, 6),
        nn.LogSoftmax(dim=1),
    )
    first, second = Axis(4, "0.0"), Axis(5, "1")
    assert layout_of(module, input_shape=(3, 9, 8)) == Layout(
        tensors=(
            Tensor("0.0.weight", (first, Axis(3), Axis(3), Axis(3)), uses=5 * 4),
            Tensor("0.0.bias", (first,)),
            Tensor("1.weight", (second, Axis(4, "0.0"), Axis(1), Axis(2)), uses=5 * 3),
            Tensor("4.weight", (Axis(6), Axis(5 * 2 * 1, "1", inner=2)), uses=1),
            Tensor("4.bias", (Axis(6),)),
        ),
        layers=(Layer("0.0", 4), Layer("1", 5)),
    )


@pytest.mark.rule("SUB-6")
def test_layout_of_stacked_lstm_layers() -> None:
    """Gates n apart on their axis; recurrent weights on two axes of one layer; every weight used once a step."""

    def forward(self: Any, x: torch.Tensor) -> Any:
        x, _ = self.first(functional.one_hot(x.long(), 7).float())
        x, _ = self.second(x)
        return self.out(torch.relu(x[:, -1, :]))

    module = made(
        forward,
        first=nn.LSTM(7, 3, batch_first=True),
        second=nn.LSTM(3, 5, batch_first=True, bias=False),
        out=nn.Linear(5, 2),
    )
    first, second = Axis(12, "first"), Axis(20, "second")
    assert layout_of(module, input_shape=(9,)) == Layout(
        tensors=(
            Tensor("first.weight_ih_l0", (first, Axis(7)), uses=9),
            Tensor("first.weight_hh_l0", (first, Axis(3, "first")), uses=9),
            Tensor("first.bias_ih_l0", (first,)),
            Tensor("first.bias_hh_l0", (first,)),
            Tensor("second.weight_ih_l0", (second, Axis(3, "first")), uses=9),
            Tensor("second.weight_hh_l0", (second, Axis(5, "second")), uses=9),
            Tensor("out.weight", (Axis(2), Axis(5, "second")), uses=1),
            Tensor("out.bias", (Axis(2),)),
        ),
        layers=(Layer("first", 3), Layer("second", 5)),
    )


@pytest.mark.rule("SUB-6")
def test_an_lstm_that_is_the_last_layer_is_not_prunable() -> None:
    layout = layout_of(recurrent(last, alone=True), input_shape=(3, 4))
    assert layout.layers == ()
    assert layout.tensors[1] == Tensor("lstm.weight_hh_l0", (Axis(16), Axis(4)), uses=3)


def test_tensors_come_in_the_order_of_named_parameters_not_of_forward() -> None:
    def forward(self: Any, x: torch.Tensor) -> Any:
        return functional.softmax(self.last(torch.relu(self.first(x.flatten(1)))), dim=1)

    module = made(forward, last=nn.Linear(5, 2), first=nn.Linear(6, 5))
    layout = layout_of(module, input_shape=(2, 3))
    assert [t.name for t in layout.tensors] == ["last.weight", "last.bias", "first.weight", "first.bias"]
    assert layout.layers == (Layer("first", 5),)
    assert layout.tensors[2].axes == (Axis(5, "first"), Axis(6))
    assert layout.size == len(flatten(module))


def test_a_single_layer_prunes_nothing() -> None:
    layout = layout_of(nn.Sequential(nn.Linear(3, 2)), input_shape=(3,))
    assert layout.layers == ()


@pytest.mark.parametrize("training", [True, False])
def test_leaves_module_and_global_state_alone(training: bool) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)).train(training)
    flat, state = flatten(module), torch.get_rng_state()
    layout_of(module, input_shape=(3,))
    assert (flatten(module) == flat).all()
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in module.modules()] == [training] * 4


def test_digits_cnn() -> None:
    module = build("digits_cnn", seed=0)
    layout = layout_of(module, input_shape=(1, 8, 8))
    assert layout.size == len(flatten(module)) == 151_306
    assert [(x.name, x.neurons) for x in layout.layers] == [("conv1", 32), ("conv2", 64), ("dense", 128)]
    assert layout.macs() == 64 * 9 * 32 + 64 * 9 * 32 * 64 + 1024 * 128 + 1280


def residual(self: Any, x: torch.Tensor) -> Any:
    x = torch.relu(self.a(x))
    return self.out(x + self.b(x))


def concatenated(self: Any, x: torch.Tensor) -> Any:
    return self.out(torch.cat([torch.relu(x), x], dim=1))


def doubled(self: Any, x: torch.Tensor) -> Any:
    x = self.a(x)
    return self.out(x + x)


def side_branch(self: Any, x: torch.Tensor) -> Any:
    x = self.a(x)
    self.b(x)
    return self.out(x)


def twice(self: Any, x: torch.Tensor) -> Any:
    return self.out(self.a(torch.relu(self.a(x))))


def unused(self: Any, x: torch.Tensor) -> Any:
    return self.out(self.a(x))


def conditional(self: Any, x: torch.Tensor) -> Any:
    return self.out(self.a(x) if x.sum() > 0 else x)


def in_training_otherwise(self: Any, x: torch.Tensor) -> Any:
    return self.out(self.a(self.b(x)) if self.training else self.b(self.a(x)))


def two_outputs(self: Any, x: torch.Tensor) -> Any:
    x = self.a(x)
    return self.out(x), 1


def branch_at_the_output(self: Any, x: torch.Tensor) -> Any:
    x = self.a(x)
    self.out(x)
    return x


def functional_linear(self: Any, x: torch.Tensor) -> Any:
    return self.out(functional.linear(x, self.a.weight, self.a.bias))


def scaled(self: Any, x: torch.Tensor) -> Any:
    return self.out(self.a(x) * self.scale)


def attention(self: Any, x: torch.Tensor) -> Any:
    return self.out(functional.softmax(self.a(x), dim=1))


def mean(self: Any, x: torch.Tensor) -> Any:
    return self.out(self.a(x).mean(1, keepdim=True))


def second_input(self: Any, x: torch.Tensor, mask: Any = None) -> Any:
    return self.out(self.a(x))


def with_forward(forward: Any) -> nn.Module:
    return made(forward, a=nn.Linear(4, 4), b=nn.Linear(4, 4), out=nn.Linear(4, 2))


def without_b(forward: Any) -> nn.Module:
    return made(forward, a=nn.Linear(4, 4), out=nn.Linear(4, 2))


def flattened(how: Callable[[Any], Any]) -> nn.Module:
    def forward(self: Any, x: torch.Tensor) -> Any:
        return self.out(how(self.conv(x)))

    return made(forward, conv=nn.Conv2d(1, 4, 3), out=nn.Linear(16, 2))


class OwnLinear(nn.Linear):
    """A user's subclass might do anything."""


def shared() -> nn.Module:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    return made(residual, a=first, b=second, out=nn.Linear(4, 2))


def with_parameter(shape: tuple[int, ...]) -> nn.Module:
    module = without_b(scaled)
    module.scale = nn.Parameter(torch.ones(shape))
    return module


def with_buffer() -> nn.Module:
    module = without_b(unused)
    module.register_buffer("steps", torch.zeros(1))
    return module


def dense(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), *middle, nn.Linear(4, 2))


def conv(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), *middle, nn.Flatten(), nn.Linear(16, 2))


REFUSED: dict[str, tuple[nn.Module, tuple[int, ...], str]] = {
    "residual": (with_forward(residual), (4,), r"operation add joins two branches: a neuron pruned in one"),
    "concatenation": (without_b(concatenated), (2,), r"operation cat joins two branches"),
    "sum with itself": (without_b(doubled), (4,), r"operation add joins two branches"),
    "side branch": (with_forward(side_branch), (4,), r"submodule out \(Linear\) opens a second branch"),
    "dead end": (without_b(branch_at_the_output), (4,), r"returning the outputs opens a second branch"),
    "used twice": (without_b(twice), (4,), r"submodule a \(Linear\) is used twice"),
    "shared weights": (shared(), (4,), r"parameters a.weight and b.weight are one tensor"),
    "unused layer": (with_forward(unused), (4,), r"parameter b.weight takes no part in forward"),
    "unused parameter": (
        nn.Sequential(nn.Identity(), made(unused, a=nn.Linear(4, 4), out=nn.Linear(4, 2), z=nn.Linear(1, 1))),
        (4,),
        r"parameter 1\.z\.weight takes no part",
    ),
    "buffer": (with_buffer(), (4,), r"buffer steps is state that no neuron owns"),
    "control flow": (without_b(conditional), (4,), r"Own.forward cannot be traced"),
    "training mode": (with_forward(in_training_otherwise), (4,), r"Own.forward uses other layers in training"),
    "two outputs": (without_b(two_outputs), (4,), r"forward must return one tensor"),
    "second input": (without_b(second_input), (4,), r"second input, mask"),
    "functional weights": (
        without_b(functional_linear),
        (4,),
        r"tensor a.weight cannot be made smaller: it is used by its",
    ),
    "scale": (with_parameter((4,)), (4,), r"tensor scale cannot be made smaller"),
    "softmax inside": (without_b(attention), (4,), r"operation softmax mixes the neurons of a hidden layer"),
    "softmax module inside": (dense(nn.Softmax(dim=1)), (4,), r"submodule 1 \(Softmax\) mixes"),
    "mean": (without_b(mean), (4,), r"operation mean cannot be made smaller"),
    "batch norm": (
        conv(nn.BatchNorm2d(4)),
        (1, 4, 4),
        r"submodule 1 \(BatchNorm2d\) .* batch normalisation keeps running",
    ),
    "layer norm": (dense(nn.LayerNorm(4)), (4,), r"submodule 1 \(LayerNorm\) .* normalises over neurons"),
    "group norm": (conv(nn.GroupNorm(2, 4)), (1, 4, 4), r"submodule 1 \(GroupNorm\) .* normalises over neurons"),
    "prelu": (dense(nn.PReLU()), (4,), r"submodule 1 \(PReLU\) cannot be made smaller"),
    "subclass": (dense(OwnLinear(4, 4)), (4,), r"tensor 1.weight cannot be made smaller"),
    "gru": (nn.Sequential(nn.GRU(4, 4)), (3, 4), r"submodule 0 \(GRU\) .* only LSTM"),
    "lstm on features": (
        recurrent(lambda x: x),
        (4,),
        r"submodule lstm \(LSTM\) needs inputs of shape \[steps, features\]",
    ),
    "lstm over images": (
        conv(nn.Identity(), nn.LSTM(4, 4, batch_first=True)),
        (1, 4, 4),
        r"\(LSTM\) needs inputs of shape",
    ),
    "steps first": (recurrent(last, batch_first=False), (3, 4), r"submodule lstm \(LSTM\) must be .*batch_first=True"),
    "two layers at once": (recurrent(last, num_layers=2), (3, 4), r"submodule lstm \(LSTM\) must be .*stack several"),
    "both directions": (
        recurrent(last, bidirectional=True),
        (3, 4),
        r"submodule lstm \(LSTM\) must be .*one direction",
    ),
    "projection": (recurrent(last, proj_size=2), (3, 4), r"submodule lstm \(LSTM\) must be .*without projection"),
    "the pair": (nn.Sequential(nn.LSTM(4, 4, batch_first=True), nn.ReLU()), (3, 4), r"takes both results of an LSTM"),
    "the states": (recurrent_states(), (3, 4), r"operation getitem takes the states of an LSTM"),
    "the first step": (
        recurrent(lambda x: x[:, 0]),
        (3, 4),
        r"operation getitem takes a part .*the last step may be taken",
    ),
    "all steps flat": (recurrent(lambda x: x.flatten(1)), (3, 4), r"operation flatten takes a sequence; .*last step"),
    "one-hot of neurons": (
        flattened(lambda x: functional.one_hot(x.long(), 4)),
        (1, 4, 4),
        r"one_hot may only be applied",
    ),
    "transposed": (conv(nn.ConvTranspose2d(4, 4, 1)), (1, 4, 4), r"submodule 1 \(ConvTranspose2d\) cannot be made"),
    "groups": (conv(nn.Conv2d(4, 4, 1, groups=2)), (1, 4, 4), r"submodule 1 \(Conv2d\) has groups"),
    "indices": (
        conv(nn.MaxPool2d(1, return_indices=True)),
        (1, 4, 4),
        r"submodule 1 \(MaxPool2d\) gives more than one",
    ),
    "pooling units": (dense(nn.MaxPool2d(1)), (4,), r"submodule 1 \(MaxPool2d\) needs inputs of shape \[channels"),
    "no channels": (
        conv(),
        (4, 4),
        r"submodule 0 \(Conv2d\) needs inputs of shape \[channels, height, width\], not \[4, 4\]",
    ),
    "not flattened": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(2, 2)),
        (1, 4, 4),
        r"submodule 1 \(Linear\) .* flatten them",
    ),
    "fixed view": (flattened(lambda x: x.view(-1, 16)), (1, 4, 4), r"operation view must flatten each example whole"),
    "fixed features": (flattened(lambda x: x.view(x.size(0), 16)), (1, 4, 4), r"operation view must flatten"),
    "reads a width": (
        flattened(lambda x: x.view(x.size(0), x.size(1) * 4)),
        (1, 4, 4),
        r"operation size of conv, 1: .*batch size",
    ),
    "reads a shape": (flattened(lambda x: x.view(-1, x.shape[1] * 4)), (1, 4, 4), r"operation getitem .*batch size"),
    "slices": (
        flattened(lambda x: x[:, :, 0].flatten(1)),
        (1, 4, 4),
        r"operation getitem takes a part of each example",
    ),
    "flattens the batch": (flattened(torch.flatten), (1, 4, 4), r"operation flatten must flatten each example whole"),
    "flattens in part": (flattened(lambda x: x.flatten(2)), (1, 4, 4), r"operation flatten must flatten"),
    "flatten module": (conv(nn.Flatten(2)), (1, 4, 4), r"submodule 1 \(Flatten\) must flatten"),
    "double": (dense().double(), (4,), r"parameter 0.weight is torch.float64 on cpu; it must be float32"),
    "lazy": (nn.Sequential(nn.LazyLinear(4)), (4,), r"parameter 0.weight has no shape yet"),
    "other inputs": (dense(), (5,), r"submodule 0 \(Linear\) fails on inputs of shape \[5\]: "),
    "no layer": (nn.Sequential(nn.ReLU()), (4,), r"Sequential has no Linear, Conv2d or LSTM layer"),
}


@pytest.mark.rule("SUB-6")
@pytest.mark.parametrize("name", REFUSED)
def test_refuses_by_name(name: str) -> None:
    module, shape, words = REFUSED[name]
    with pytest.raises(PreconditionError, match=words) as caught:
        layout_of(module, input_shape=shape)
    assert caught.value.rule == "SUB-6"
    assert "\n" not in caught.value.detail
