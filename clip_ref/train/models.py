"""The tasks' models, built by name from a seed."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

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


MODELS: Final[dict[str, Callable[[], nn.Module]]] = {"digits_cnn": digits_cnn}
"""The models by name, not yet initialised by a seed of the caller's."""


def build(name: str, *, seed: int) -> nn.Module:
    """The model called `name`, Kaiming initialised from `seed` (0 … 2⁶³ − 1), biases zero; the global state is not touched.

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
    return module
