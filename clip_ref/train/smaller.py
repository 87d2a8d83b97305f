"""Between modules and flat models, and from a module to one that really is smaller."""

import copy
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
