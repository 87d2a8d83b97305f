"""Layout: where each neuron's weights sit in the flat model.   Spec: layout, rules LAY-1..LAY-7.

A model is a list of tensors, laid end to end in C order. Each axis of a tensor either belongs to a prunable layer, and then
each index along it belongs to one neuron of that layer, or to none (inputs, the output layer, kernel taps). That is all that
pruning needs to know: a neuron's *group* is every coordinate with an index of it on some axis, and a coordinate is *held*
when the neurons on all of its axes are kept. Dense layers, convolutions, the flatten boundary between them and recurrent
layers are all just ways of filling in `Axis`.
"""

import math
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.canonical import Writer, digest, prefixed
from clip_ref.errors import PreconditionError
from clip_ref.values import Digest

Kept = Mapping[str, NDArray[np.int64]]
"""For each prunable layer by name: the kept neurons, int64[·], ascending and distinct."""

MAX_GROUP = 1 << 26
"""Layers whose neurons' groups sum to more weights than this are refused: their exact scores could overflow 64 bits."""


def _refuse(detail: str, rule: str = "LAY-1") -> PreconditionError:
    return PreconditionError(rule=rule, detail=detail)


@attrs.frozen
class Axis:
    """One axis of a tensor.

    Index i along the axis belongs to neuron (i // inner) mod n of `layer`. A plain axis has inner = 1 and size n. The input
    axis of a dense layer that follows a flattened C × H × W volume has inner = H·W and size C·H·W. The four stacked gates of
    an LSTM with n hidden units have inner = 1 and size 4·n.
    """

    size: int
    """How many indices the axis has."""

    layer: str | None = None
    """The prunable layer whose neurons it runs over; none: never pruned."""

    inner: int = 1
    """How many neighbouring indices belong to the same neuron."""


@attrs.frozen
class Tensor:
    """One parameter tensor of the model."""

    name: str
    """Its name, unique in the layout."""

    axes: tuple[Axis, ...]
    """Its axes, in C order."""

    uses: int = 0
    """How many multiply-accumulates one example costs per weight: 1 for a dense weight, output positions for a kernel,
    0 for a bias."""

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its axes."""
        return tuple(axis.size for axis in self.axes)

    @cached_property
    def size(self) -> int:
        """How many weights it has."""
        return math.prod(self.shape)


@attrs.frozen
class Layer:
    """A prunable layer: dense units, output channels of a convolution, or hidden units."""

    name: str
    """Its name, unique in the layout."""

    neurons: int
    """n_l ≥ 1."""


@attrs.frozen
class Layout:
    """A model's tensors and prunable layers. Validated at construction (LAY-1)."""

    tensors: tuple[Tensor, ...]
    """In flat order."""

    layers: tuple[Layer, ...]
    """The prunable layers, in order."""

    def __attrs_post_init__(self) -> None:
        """LAY-1, LAY-2."""
        neurons = {layer.name: layer.neurons for layer in self.layers}
        if len(neurons) != len(self.layers) or len({t.name for t in self.tensors}) != len(self.tensors):
            raise _refuse("layer names and tensor names must be distinct")
        if any(count < 1 for count in neurons.values()) or not self.tensors:
            raise _refuse("a model has at least one tensor, and a layer at least one neuron")
        owned: set[str] = set()
        for tensor in self.tensors:
            for axis in tensor.axes:
                if axis.size < 1 or axis.inner < 1:
                    raise _refuse(f"tensor {tensor.name}: sizes are at least 1, got {axis}")
                if axis.layer is None:
                    continue
                if axis.layer not in neurons:
                    raise _refuse(f"tensor {tensor.name}: no layer {axis.layer!r}")
                if axis.size % (axis.inner * neurons[axis.layer]):
                    raise _refuse(
                        f"tensor {tensor.name}: an axis of {axis.size} cannot hold {neurons[axis.layer]} neurons of "
                        f"layer {axis.layer} times {axis.inner}"
                    )
                owned.add(axis.layer)
            named = [axis.layer for axis in tensor.axes if axis.layer is not None]
            if any(named.count(layer) > 2 for layer in named):
                raise _refuse(f"tensor {tensor.name}: at most two axes can belong to one layer")
        for layer in self.layers:
            if layer.name not in owned:
                raise _refuse(f"layer {layer.name} owns no axis of any tensor")
            if sum(t.size for t in self.tensors if any(a.layer == layer.name for a in t.axes)) > MAX_GROUP:
                raise _refuse(f"layer {layer.name} touches more than 2^26 weights", rule="LAY-2")

    @cached_property
    def size(self) -> int:
        """d: how many weights the model has."""
        return sum(tensor.size for tensor in self.tensors)

    def slices(self) -> list[tuple[Tensor, slice]]:
        """LAY-3: every tensor with its place in the flat model."""
        at, out = 0, []
        for tensor in self.tensors:
            out.append((tensor, slice(at, at + tensor.size)))
            at += tensor.size
        return out

    def owners(self, axis: Axis) -> NDArray[np.int64]:
        """Which neuron each index of `axis` belongs to: int64[axis.size]. The axis must have a layer."""
        neurons = next(layer.neurons for layer in self.layers if layer.name == axis.layer)
        return np.arange(axis.size, dtype=np.int64) // axis.inner % neurons

    def full(self) -> dict[str, NDArray[np.int64]]:
        """Every neuron of every layer: the kept sets of somebody who prunes nothing."""
        return {layer.name: np.arange(layer.neurons, dtype=np.int64) for layer in self.layers}

    def check_kept(self, kept: Kept) -> None:
        """LAY-4: every layer keeps at least one neuron; indices ascend, are distinct and in range."""
        if set(kept) != {layer.name for layer in self.layers}:
            raise _refuse(f"kept sets are for {sorted(kept)}, the layers are {[x.name for x in self.layers]}", "LAY-4")
        for layer in self.layers:
            index = kept[layer.name]
            if index.dtype != np.int64 or index.ndim != 1 or not index.size:
                raise _refuse(f"layer {layer.name}: kept neurons must be a non-empty int64[·]", "LAY-4")
            if index[0] < 0 or index[-1] >= layer.neurons or (np.diff(index) <= 0).any():
                raise _refuse(f"layer {layer.name}: kept neurons must ascend within 0 … {layer.neurons - 1}", "LAY-4")

    def held(self, kept: Kept) -> NDArray[np.bool_]:
        """LAY-5: which coordinates are held, bool[d]: those with kept neurons on all of their axes."""
        self.check_kept(kept)
        out, stays = np.ones(self.size, dtype=bool), {}
        for layer in self.layers:
            stays[layer.name] = np.zeros(layer.neurons, dtype=bool)
            stays[layer.name][kept[layer.name]] = True
        pruned = {name for name, mine in stays.items() if not mine.all()}
        for tensor, where in self.slices():
            mask = out[where].reshape(tensor.shape)
            for at, axis in enumerate(tensor.axes):
                if axis.layer in pruned:
                    keep = stays[axis.layer][self.owners(axis)]
                    mask &= keep.reshape([-1 if i == at else 1 for i in range(len(tensor.axes))])
        return out

    def shrunk(self, kept: Kept) -> "Layout":
        """LAY-6: the layout of the sub-model that holds `kept` alone."""
        self.check_kept(kept)
        count = {name: len(index) for name, index in kept.items()}
        full = {layer.name: layer.neurons for layer in self.layers}

        def shrink(axis: Axis) -> Axis:
            if axis.layer is None:
                return axis
            return attrs.evolve(axis, size=axis.size // full[axis.layer] * count[axis.layer])

        return Layout(
            tensors=tuple(attrs.evolve(t, axes=tuple(map(shrink, t.axes))) for t in self.tensors),
            layers=tuple(Layer(name=x.name, neurons=count[x.name]) for x in self.layers),
        )

    def macs(self) -> int:
        """Multiply-accumulates of one example's forward pass."""
        return sum(tensor.size * tensor.uses for tensor in self.tensors)

    def digest(self) -> Digest:
        """LAY-7: the digest of the whole description."""
        parts = []
        for layer in self.layers:
            parts.append(Writer().unsigned(layer.neurons, 64).done() + prefixed(layer.name.encode()))
        for tensor in self.tensors:
            writer = Writer().unsigned(tensor.uses, 64).unsigned(len(tensor.axes), 32)
            for axis in tensor.axes:
                writer.unsigned(axis.size, 64).unsigned(axis.inner, 64)
                name = b"" if axis.layer is None else axis.layer.encode()
                writer.unsigned(axis.layer is not None, 8).fixed(prefixed(name), 4 + len(name))
            parts.append(prefixed(tensor.name.encode()) + writer.done())
        return digest("layout", parts)


def kept_count(neurons: int, keep: int) -> int:
    """How many of a layer's neurons a keep level of `keep` ‰ keeps: max(1, ⌊keep·n_l/1000⌋)."""
    return max(1, keep * neurons // 1000)


def dense_chain(*widths: int) -> Layout:
    """The layout of a multi-layer perceptron: `widths` from the inputs to the outputs; hidden layers are prunable.

    Weights are [outputs, inputs], then biases, layer by layer. The smallest real model there is: for examples and tests.
    """
    if len(widths) < 2:
        raise _refuse("a chain needs an input and an output width")
    names = [None, *(f"hidden{k}" for k in range(1, len(widths) - 1)), None]
    tensors = []
    for k, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        before, after = Axis(size=inputs, layer=names[k - 1]), Axis(size=outputs, layer=names[k])
        tensors += [Tensor(f"dense{k}.weight", (after, before), uses=1), Tensor(f"dense{k}.bias", (after,))]
    layers = tuple(Layer(name, width) for name, width in zip(names, widths, strict=True) if name is not None)
    return Layout(tensors=tuple(tensors), layers=layers)
