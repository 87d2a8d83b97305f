"""Small values that cases are made of: what a case is not about stands here, and the case says what differs."""

from typing import Any

import numpy as np

from clip_ref.layout import Axis, Layer, Layout, Tensor
from clip_ref.messages import TimeRecord
from clip_ref.params import Encoding, Params, PruningPolicy
from clip_ref.values import Floats

GRID = (1000, 750, 500)
"""The keep levels."""


def f32(*numbers: float) -> Floats:
    """A flat array, or a sum or quotient of such that float32 has exactly."""
    return np.array(numbers, dtype=np.float32)


def ring(*integers: int, bits: int = 32) -> bytes:
    """Ring elements, little-endian; negative ones in two's complement."""
    return b"".join((integer % (1 << bits)).to_bytes(bits // 8, "little") for integer in integers)


def policy(**changed: Any) -> PruningPolicy:
    """Up to half of the clients prune, each by itself, from round 2 on."""
    open_to_all: dict[str, Any] = {
        "straggler_share": 500,
        "grid": GRID,
        "anonymity_blocks": False,
        "min_roster": 0,
        "warm_up": 1,
    }
    return PruningPolicy(**(open_to_all | changed))


def params(clients: int = 12, *, colluders: int = 0, encoding: Encoding | None = None, **changed: Any) -> Params:
    """A clique with such a policy."""
    return Params(
        clients=clients, colluders=colluders, policy=policy(**changed), encoding=encoding or Encoding(weight_max=100)
    )


def graph_params(clients: int = 100, neighbours: int = 4, **changed: Any) -> Params:
    """A graph with such a policy and four buckets, of times to 10, 20, 40 and 80 µs."""
    buckets = {"bucket_first": 10, "bucket_ratio": 2000, "bucket_count": 4}
    return Params(
        clients=clients,
        neighbours=neighbours,
        policy=policy(**(buckets | changed)),
        encoding=Encoding(weight_max=100),
    )


def record(*fit: int, down: int = 0, select: int = 0, mask: int = 0, up: int = 0, **changed: Any) -> TimeRecord:
    """The record of a client with times and the history; where three levels are too many to list, the first will do."""
    predicted = fit if len(fit) != 1 else tuple(fit[0] * level // 1000 for level in GRID)
    known: dict[str, Any] = {
        "has_time": True,
        "has_model": True,
        "was_straggler": False,
        "weight": 7,
        "entropy": bytes(32),
    }
    return TimeRecord(down=down, select=select, mask=mask, up=up, fit=predicted, **(known | changed))


def dense() -> Layout:
    """Two inputs, three hidden neurons, one output, no bias there: 6 + 3 + 3 weights."""
    hidden = Axis(size=3, layer="hidden")
    return Layout(
        tensors=(
            Tensor("in.weight", (hidden, Axis(size=2))),
            Tensor("in.bias", (hidden,)),
            Tensor("out.weight", (Axis(size=1), hidden)),
        ),
        layers=(Layer("hidden", 3),),
    )


def flattened() -> Layout:
    """Two channels of 1 × 2 pixels, flattened into a dense layer of one output: 2 + 2 + 4 weights.

    The dense layer's inputs 0 and 1 are the pixels of the first channel, 2 and 3 those of the second.
    """
    return Layout(
        tensors=(
            Tensor("conv.weight", (Axis(size=2, layer="conv"), Axis(size=1), Axis(size=1), Axis(size=1))),
            Tensor("conv.bias", (Axis(size=2, layer="conv"),)),
            Tensor("dense.weight", (Axis(size=1), Axis(size=4, layer="conv", inner=2))),
        ),
        layers=(Layer("conv", 2),),
    )


def recurrent() -> Layout:
    """Two hidden units with two stacked gates each, fed by themselves and one input: 4 + 8 + 2 weights."""
    gates, hidden = Axis(size=4, layer="cell"), Axis(size=2, layer="cell")
    return Layout(
        tensors=(
            Tensor("input.weight", (gates, Axis(size=1))),
            Tensor("recurrent.weight", (gates, hidden)),
            Tensor("output.weight", (Axis(size=1), hidden)),
        ),
        layers=(Layer("cell", 2),),
    )


def two_layers() -> Layout:
    """One input, two layers of two neurons, one output, no biases: 2 + 4 + 2 weights."""
    first, second = Axis(size=2, layer="first"), Axis(size=2, layer="second")
    return Layout(
        tensors=(
            Tensor("one", (first, Axis(size=1))),
            Tensor("two", (second, first)),
            Tensor("three", (Axis(size=1), second)),
        ),
        layers=(Layer("first", 2), Layer("second", 2)),
    )
