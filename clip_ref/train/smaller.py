"""Between modules and flat models, and from a module to one that really is smaller."""

import copy
from collections.abc import Callable
from typing import cast

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


def stand_ins(module: nn.Module, *, layout: Layout, kept: Kept, inputs: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """SUB-7: what the pruned neurons add to each layer on average over `inputs`: a bias's name, and its share of the kept.

    One forward pass of the whole module. What a layer receives from pruned neurons is taken for their mean over examples,
    places and steps; times the weights from them, that is a constant, which a bias can hold. Layers without a bias, and
    convolutions by groups, are passed over.
    """
    means: dict[str, list[torch.Tensor]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, given: tuple[torch.Tensor, ...], result: object) -> None:
            channels = 1 if isinstance(part, nn.Conv2d) else -1
            seen = [given[0]]
            if isinstance(part, nn.LSTM):
                seen.append(cast("tuple[torch.Tensor, object]", result)[0])
            means[name] = [x.movedim(channels, 0).flatten(1).mean(dim=1) for x in seen]

        return hook

    watched = {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear | nn.LSTM) or (isinstance(part, nn.Conv2d) and part.groups == 1)
    }
    hooks = [part.register_forward_hook(watch(name)) for name, part in watched.items()]
    mode = module.training
    try:
        with torch.no_grad():
            module.eval()(inputs)
    finally:
        module.train(mode)
        for hook in hooks:
            hook.remove()
    parameters, tensors = dict(module.named_parameters()), {tensor.name: tensor for tensor in layout.tensors}
    out: dict[str, torch.Tensor] = {}
    for name, part in watched.items():
        sources = ("weight_ih_l0", "weight_hh_l0") if isinstance(part, nn.LSTM) else ("weight",)
        bias = f"{name}.bias_ih_l0" if isinstance(part, nn.LSTM) else f"{name}.bias"
        if bias not in parameters or name not in means:
            continue
        for source, mean in zip(sources, means[name], strict=True):
            tensor = tensors[f"{name}.{source}"]
            to, origin = tensor.axes[0], tensor.axes[1]
            if origin.layer is None:
                continue
            gone = torch.from_numpy(np.flatnonzero(~np.isin(layout.owners(origin), kept[origin.layer])))
            weights = parameters[tensor.name].detach().index_select(1, gone).flatten(2 if len(tensor.axes) > 2 else 1)
            if len(tensor.axes) > 2:
                weights = weights.sum(dim=2)
            added = weights @ mean[gone]
            if to.layer is not None:
                added = added[torch.from_numpy(np.flatnonzero(np.isin(layout.owners(to), kept[to.layer])))]
            out[bias] = out[bias] + added if bias in out else added
    return list(out.items())


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
