"""The tasks' models, built by name from a seed."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final, cast

import torch
from torch import nn

from clip_ref.errors import PreconditionError


def digits_cnn() -> nn.Module:
    """A convolutional network for 1 × 8 × 8 digits: 151,306 parameters, enough for a smaller one to be faster.

    Two 3 × 3 convolutions of 32 and 64 channels, 2 × 2 max pooling, a dense layer of 128 units, ten outputs.
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 32, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 64, 3, padding=1),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            dense=nn.Linear(64 * 4 * 4, 128),
            relu3=nn.ReLU(),
            output=nn.Linear(128, 10),
        )
    )


def vgg9() -> nn.Module:
    """The VGG of nine layers for 3 × 32 × 32 images: 1,469,994 parameters.

    Six 3 × 3 convolutions of 32, 32, 64, 64, 128 and 128 channels with 2 × 2 max pooling after each pair, dense layers of
    512 and 256 units, ten outputs; no batch normalisation.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = 3
    for block, width in enumerate((32, 64, 128), start=1):
        for half in "ab":
            layers[f"conv{block}{half}"] = nn.Conv2d(before, width, 3, padding=1)
            layers[f"relu{block}{half}"] = nn.ReLU()
            before = width
        layers[f"pool{block}"] = nn.MaxPool2d(2)
    layers |= {"flatten": nn.Flatten(), "dense1": nn.Linear(128 * 4 * 4, 512), "relu4": nn.ReLU()}
    layers |= {"dense2": nn.Linear(512, 256), "relu5": nn.ReLU(), "output": nn.Linear(256, 10)}
    return nn.Sequential(layers)


def femnist_cnn(classes: int = 62) -> nn.Module:
    """The CNN for 1 × 28 × 28 characters: two 5 × 5 convolutions of 16 and 64 channels, a dense layer of 120 units."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 16, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(16, 64, 5, padding=2),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            dense=nn.Linear(64 * 7 * 7, 120),
            relu3=nn.ReLU(),
            output=nn.Linear(120, classes),
        )
    )


class CharLSTM(nn.Module):
    """The next character from the 80 before it: one-hot symbols, two LSTM layers of 128 units, a dense layer of 80."""

    def __init__(self, symbols: int = 80, hidden: int = 128) -> None:
        """For so many symbols, and hidden units in each of the two layers."""
        super().__init__()
        self.symbols = symbols
        self.lstm1 = nn.LSTM(symbols, hidden, batch_first=True)
        self.lstm2 = nn.LSTM(hidden, hidden, batch_first=True)
        self.output = nn.Linear(hidden, symbols)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the next symbol: float32[m, symbols], from the symbols' numbers [m, steps]."""
        x = nn.functional.one_hot(x.long(), self.symbols).float()
        x, _ = self.lstm1(x)
        x, _ = self.lstm2(x)
        return cast("torch.Tensor", self.output(x[:, -1]))


MODELS: Final[dict[str, Callable[[], nn.Module]]] = {
    "digits_cnn": digits_cnn,
    "vgg9": vgg9,
    "femnist_cnn": femnist_cnn,
    "mnist_cnn": partial(femnist_cnn, classes=10),
    "char_lstm": CharLSTM,
}
"""The models by name, not yet initialised by a seed of the caller's."""


def build(name: str, *, seed: int) -> nn.Module:
    """The model called `name`, initialised from `seed` (0 … 2⁶³ − 1): Kaiming, biases zero, LSTM as torch has it.

    Raises `PreconditionError` (TRN-1) for an unknown name or a seed out of range.
    """
    if name not in MODELS:
        raise PreconditionError(rule="TRN-1", detail=f"no model {name!r}; there is: {', '.join(MODELS)}")
    if not 0 <= seed < 1 << 63:
        raise PreconditionError(rule="TRN-1", detail=f"a seed is 0 … 2^63 - 1, got {seed}")
    with torch.random.fork_rng(devices=[]):
        module = MODELS[name]()
        torch.manual_seed(seed)
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
            elif isinstance(part, nn.LSTM):
                part.reset_parameters()
    return module
