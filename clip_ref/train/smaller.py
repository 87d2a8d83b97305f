"""Between modules and flat models, and from a module to one that really is smaller."""

import copy
from collections.abc import Callable
from typing import Final, cast

import numpy as np
import torch
from torch import nn

from clip_ref.errors import PreconditionError
from clip_ref.layout import Kept, Layout
from clip_ref.values import Floats, check_finite


def flatten(module: nn.Module) -> Floats:
    """The module's parameters end to end, in the order of `named_parameters()`, C order: float32[d], read-only."""
    flat = np.concatenate([p.detach().cpu().numpy().ravel() for p in module.parameters()])
    flat.flags.writeable = False
    return flat


def load(module: nn.Module, flat: Floats) -> None:
    """Write the flat model float32[d] into the module's parameters, in place.

    Raises `PreconditionError` (TRN-3) for another dtype or length, or for NaN or infinity; the module is then as it was.
    """
    size = sum(p.numel() for p in module.parameters())
    if flat.dtype != np.float32 or flat.shape != (size,):
        raise PreconditionError(
            rule="TRN-3", detail=f"the model must be float32[{size}], got {flat.dtype}{list(flat.shape)}"
        )
    check_finite(flat, rule="TRN-3", name="the model")
    at = 0
    with torch.no_grad():
        for parameter in module.parameters():
            values = flat[at : at + parameter.numel()]
            parameter.copy_(torch.tensor(values).view(parameter.shape))
            at += parameter.numel()


RIDGE: Final = 0.01
"""SUB-7: an estimate takes each kept neuron to vary by so much of their mean variance more, lest it fit the few examples."""


def stand_ins(module: nn.Module, *, layout: Layout, kept: Kept, inputs: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """SUB-7: how kept neurons stand in for pruned ones: names of the smaller module's parameters, and what each is higher by.

    One forward pass of the whole module over `inputs`. What a layer receives from pruned neurons is taken for its best linear
    estimate from the kept ones, over examples, places and steps: its weights from these and its bias can hold that. Layers
    without a bias, and convolutions by groups, are passed over.
    """
    received = _received(module, inputs)
    parameters, tensors = dict(module.named_parameters()), {tensor.name: tensor for tensor in layout.tensors}
    neurons = {layer.name: layer.neurons for layer in layout.layers}
    out: dict[str, torch.Tensor] = {}
    for name, seen in received.items():
        recurrent = len(seen) > 1
        sources = ("weight_ih_l0", "weight_hh_l0") if recurrent else ("weight",)
        bias = f"{name}.{'bias_ih_l0' if recurrent else 'bias'}"
        if bias not in parameters:
            continue
        for source, x in zip(sources, seen, strict=True):
            tensor = tensors[f"{name}.{source}"]
            to, origin = tensor.axes[0], tensor.axes[1]
            if origin.layer is None or len(kept[origin.layer]) == neurons[origin.layer]:
                continue
            weights = parameters[tensor.name].detach()
            if to.layer is not None:
                weights = weights[torch.from_numpy(np.isin(layout.owners(to), kept[to.layer]))]
            weights = weights.reshape(len(weights), neurons[origin.layer], -1)  # places, or a kernel's, last
            held = torch.from_numpy(np.isin(np.arange(neurons[origin.layer]), kept[origin.layer]))
            factors, rest = _estimate(x, held)
            shape = (len(weights), -1, *(axis.size for axis in tensor.axes[2:]))
            out[tensor.name] = torch.einsum("ogi,gk->oki", weights[:, ~held], factors).reshape(shape)
            added = weights[:, ~held].sum(dim=2) @ rest
            out[bias] = out[bias] + added if bias in out else added
    return list(out.items())


def _received(module: nn.Module, inputs: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """What each layer is given, with neurons first: float32[n, ·]; an LSTM its own outputs besides."""
    received: dict[str, list[torch.Tensor]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, given: tuple[torch.Tensor, ...], result: object) -> None:
            seen = [given[0]]
            if isinstance(part, nn.LSTM):
                seen.append(cast("tuple[torch.Tensor, object]", result)[0])
            channels = 1 if isinstance(part, nn.Conv2d) else -1
            received[name] = [x.movedim(channels, 0).flatten(1) for x in seen]

        return hook

    hooks = [
        part.register_forward_hook(watch(name))
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear | nn.LSTM | nn.Conv2d)
    ]
    mode = module.training
    try:
        with torch.no_grad():
            module.eval()(inputs)
    finally:
        module.train(mode)
        for hook in hooks:
            hook.remove()
    return received


def _estimate(x: torch.Tensor, held: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """SUB-7: factors float32[g, k] and constants float32[g] by which k held neurons give the best estimate of the g others.

    `x` is what neurons gave, float32[n · places, ·], and `held`, bool[n], says which are held.
    """
    x = x.reshape(len(held), -1)
    mean = x.mean(dim=1)
    centred = x - mean[:, None]
    own = (centred[held] @ centred[held].T).double()
    own.diagonal().add_(RIDGE * float(own.diagonal().mean()) or 1.0)  # 1: if held neurons give the same, whatever comes
    shared = (centred[held] @ centred[~held].T).double()
    factors = torch.linalg.solve_ex(own, shared).result.T.float()  # which leaves NaN to whoever trains with it
    return factors, mean[~held] - factors @ mean[held]


def smaller(module: nn.Module, *, layout: Layout, kept: Kept) -> nn.Module:
    """A copy of `module` that has the kept neurons alone: narrower layers, cheaper to run. `module` is left as it is.

    Requires  SUB-6 `layout` is `layout_of` this module; LAY-4 on `kept`.
    Ensures   its output equals the full module's with the groups of all other neurons (incoming weights, bias, outgoing
              weights) set to zero, up to rounding; its parameters have the order and shapes of `layout.shrunk(kept)`.
    """
    layout.check_kept(kept)
    shapes = [(name, tuple(p.shape)) for name, p in module.named_parameters()]
    if shapes != [(tensor.name, tensor.shape) for tensor in layout.tensors]:
        raise PreconditionError(rule="SUB-6", detail="the layout is not this module's; make it with layout_of")
    narrow: dict[int, nn.Parameter] = {}
    for tensor, parameter in zip(layout.tensors, module.parameters(), strict=True):
        values = parameter.detach().clone()
        for at, axis in enumerate(tensor.axes):
            if axis.layer is not None:
                index = np.flatnonzero(np.isin(layout.owners(axis), kept[axis.layer]))
                values = values.index_select(at, torch.from_numpy(index))
        narrow[id(parameter)] = nn.Parameter(values, parameter.requires_grad)
    out = copy.deepcopy(module, narrow)  # which takes the narrow parameters for the copies of the wide ones
    for part in out.modules():
        if isinstance(part, nn.Linear):
            part.out_features, part.in_features = part.weight.shape
        elif isinstance(part, nn.Conv2d):
            part.out_channels, part.in_channels = part.weight.shape[:2]
        elif isinstance(part, nn.LSTM):
            recurrent, incoming = cast("torch.Tensor", part.weight_hh_l0), cast("torch.Tensor", part.weight_ih_l0)
            part.hidden_size, part.input_size = recurrent.shape[1], incoming.shape[1]
    return out
