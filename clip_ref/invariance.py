"""Invariance: how much each neuron changed since the history model.   Spec: invariance, rules INV-1..INV-10.

A neuron's score is the ratio A/B of two integers. With the score `l1` they are sums of quantised weights in 64 bits, so that
every client, on any processor, in any order of summation, gets the same ones; the float scores serve `PAPER` and study.

Source: CLIP, arXiv 2510.16694, §4.2: |w_i − w_{i−1}| / |w_{i−1}|.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError
from clip_ref.layout import Layer, Layout, Tensor
from clip_ref.params import Score
from clip_ref.scores import LayerScores
from clip_ref.values import Floats, check_finite

WEIGHT_SCALE: Final = 2.0**24
"""Weights are scored in units of 2⁻²⁴."""

WEIGHT_LIMIT: Final = 2**31 - 1
"""Where a scaled weight saturates."""

FLOAT_SCORE_UNIT: Final = 1 << 32
"""The scale B of the float scores: A is the score in units of 2⁻³²."""

FLOAT_SCORE_LIMIT: Final = 1 << 62
"""Where A of a float score saturates."""


def score(*, model: Floats, history: Floats | None, layout: Layout, mode: Score) -> tuple[LayerScores, ...]:
    """INV-1: the scores of every prunable layer, in the layout's order.

    `model` is w_i, `history` the model before it: float32[d], finite (`PreconditionError` otherwise). The history is the last
    completed round's model that differs: were it the same, every change would be 0. Only the score `size` goes without.
    """
    given = (("model", model),) if history is None else (("model", model), ("history", history))
    for name, flat in given:
        if flat.dtype != np.float32 or flat.shape != (layout.size,):
            raise PreconditionError(
                rule="INV-1", detail=f"the {name} must be float32[{layout.size}], got {flat.dtype}{list(flat.shape)}"
            )
        check_finite(flat, rule="INV-1", name=f"the {name}")
    if mode is Score.SIZE:
        return _size(quantise(model), layout)
    if history is None:
        raise PreconditionError(rule="INV-1", detail=f"the score `{mode}` needs the model before this one")
    if mode is Score.L1:
        return _l1(quantise(model), quantise(history), layout)
    return tuple(_float_scores(model, history, layout, layer, mode) for layer in layout.layers)


def quantise(weights: Floats) -> NDArray[np.int64]:
    """INV-2: W = round_half_even(w·2²⁴), saturated to ±(2³¹ − 1): int64[d]. The product is exact in float64."""
    scaled = np.rint(weights.astype(np.float64) * WEIGHT_SCALE)
    return np.clip(scaled, -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int64)


def _l1(now: NDArray[np.int64], before: NDArray[np.int64], layout: Layout) -> tuple[LayerScores, ...]:
    """INV-3: A = Σ|ΔW| and B = max(Σ|W_prev|, floor) over each group, in 64 bits; floor as in INV-4."""
    delta, magnitude = np.abs(now - before), np.abs(before)
    ones = np.ones(layout.size, dtype=np.int64)
    out = []
    for layer in layout.layers:
        total, members = _layer_total(magnitude, layout, layer), _layer_total(ones, layout, layer)
        group = group_sums(ones, layout, layer)
        floors = [max(1, int(size) * total // (1000 * members)) for size in group]
        scale = np.maximum(group_sums(magnitude, layout, layer), np.array(floors, dtype=np.int64))
        out.append(LayerScores(layer.name, group_sums(delta, layout, layer), scale))
    return tuple(out)


def _size(now: NDArray[np.int64], layout: Layout) -> tuple[LayerScores, ...]:
    """INV-9: A = Σ|W| and B = |G| over each group, in 64 bits."""
    magnitude, ones = np.abs(now), np.ones(layout.size, dtype=np.int64)
    return tuple(
        LayerScores(layer.name, group_sums(magnitude, layout, layer), group_sums(ones, layout, layer))
        for layer in layout.layers
    )


def gapped(*, models: Sequence[tuple[int, Floats]], layout: Layout) -> tuple[LayerScores, ...]:
    """INV-10: the scores of whoever missed rounds: change per round over the models that it did see, the latest most.

    `models` are rounds, strictly ascending, and the models as they were then, float32[d] each: two at least, the last one
    today's. Between each two, A_k is as in INV-3; with g rounds between them, and m pairs younger than it, it counts
    ⌊A_k/(g·2^m)⌋. B is that of the last pair.
    """
    if len(models) < 2 or any(a[0] >= b[0] for a, b in pairwise(models)):
        raise PreconditionError(rule="INV-10", detail="two models at least are needed, of strictly ascending rounds")
    total: dict[str, NDArray[Any]] = {}
    scale: dict[str, NDArray[Any]] = {}
    for younger, ((before, old), (after, new)) in enumerate(reversed(list(pairwise(models)))):
        for found in score(model=new, history=old, layout=layout, mode=Score.L1):
            counted = found.change // ((after - before) << min(younger, 32))
            total[found.layer] = total.get(found.layer, 0) + counted
            scale.setdefault(found.layer, found.scale)
    return tuple(LayerScores(name, total[name], scale[name]) for name in total)


def _tensors_of(flat: NDArray[Any], layout: Layout, layer: Layer) -> list[tuple[Tensor, NDArray[Any]]]:
    """The tensors with an axis of `layer`, each in its shape."""
    return [
        (tensor, flat[where].reshape(tensor.shape))
        for tensor, where in layout.slices()
        if any(axis.layer == layer.name for axis in tensor.axes)
    ]


def _layer_total(values: NDArray[np.int64], layout: Layout, layer: Layer) -> int:
    """The sum over the union of the layer's groups, each coordinate once."""
    return sum(int(part.sum()) for _, part in _tensors_of(values, layout, layer))


def group_sums(values: NDArray[Any], layout: Layout, layer: Layer) -> NDArray[Any]:
    """INV-5: the sum of `values` over each neuron's group: incoming weights, bias, outgoing weights; [n_l], same dtype.

    A coordinate that two axes give to the same neuron (a recurrent self-weight) counts once.
    """
    out = np.zeros(layer.neurons, dtype=values.dtype)
    for tensor, part in _tensors_of(values, layout, layer):
        mine = [at for at, axis in enumerate(tensor.axes) if axis.layer == layer.name]
        for at in mine:
            along = part.sum(axis=tuple(i for i in range(part.ndim) if i != at))
            np.add.at(out, layout.owners(tensor.axes[at]), along)
        if len(mine) == 2:
            first, second = (layout.owners(tensor.axes[at]) for at in mine)
            twice = np.moveaxis(part, mine, (0, 1)).reshape(len(first), len(second), -1).sum(axis=2)
            rows, columns = np.nonzero(first[:, None] == second[None, :])
            np.subtract.at(out, first[rows], twice[rows, columns])
    return out


def _float_scores(now: Floats, before: Floats, layout: Layout, layer: Layer, mode: Score) -> LayerScores:
    """INV-6, INV-7: `mean`, `norm` and `max` in float64, then in units of 2⁻³², saturated."""
    new, old = now.astype(np.float64), before.astype(np.float64)
    change = np.abs(new - old)
    members = _count(layout, layer)
    squares = sum(float((part**2).sum()) for _, part in _tensors_of(old, layout, layer))
    rms = float(np.sqrt(squares / members))
    group = group_sums(np.ones(layout.size, dtype=np.int64), layout, layer)
    if mode is Score.NORM:
        numerator = np.sqrt(group_sums(change**2, layout, layer))
        denominator = np.maximum(np.sqrt(group_sums(old**2, layout, layer)), 1e-3 * rms * np.sqrt(group))
        scores = _ratio(numerator, denominator)
    else:
        relative = _ratio(change, np.maximum(np.abs(old), 1e-3 * rms))
        scores = (
            group_sums(relative, layout, layer) / group if mode is Score.MEAN else _group_max(relative, layout, layer)
        )
    fixed = np.rint(np.minimum(scores, FLOAT_SCORE_LIMIT / FLOAT_SCORE_UNIT) * FLOAT_SCORE_UNIT)
    return LayerScores(layer.name, fixed.astype(np.int64), np.full(layer.neurons, FLOAT_SCORE_UNIT, dtype=np.int64))


def _count(layout: Layout, layer: Layer) -> int:
    return sum(t.size for t in layout.tensors if any(axis.layer == layer.name for axis in t.axes))


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """numerator/denominator; where the denominator is 0: 0 for 0, else the limit."""
    limit = np.where(numerator > 0, FLOAT_SCORE_LIMIT / FLOAT_SCORE_UNIT, 0.0)
    return np.divide(numerator, denominator, out=limit, where=denominator > 0)


def _group_max(values: NDArray[np.float64], layout: Layout, layer: Layer) -> NDArray[np.float64]:
    out = np.zeros(layer.neurons)
    for tensor, part in _tensors_of(values, layout, layer):
        for at, axis in enumerate(tensor.axes):
            if axis.layer == layer.name:
                along = part.max(axis=tuple(i for i in range(part.ndim) if i != at))
                np.maximum.at(out, layout.owners(axis), along)
    return out
