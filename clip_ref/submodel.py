"""Sub-model: the weights that a straggler trains, and their way back.   Spec: submodel, rules SUB-1..SUB-5.

The sub-model is a smaller dense model, not a masked one: a pruned neuron's incoming weights, bias and outgoing weights are
gone. `Layout.shrunk` describes it; its flat weights are the held coordinates of the full model, in their order.
"""

import numpy as np

from clip_ref.errors import PreconditionError
from clip_ref.layout import Kept, Layout
from clip_ref.values import Floats


def extract(*, model: Floats, layout: Layout, kept: Kept) -> Floats:
    """SUB-1, SUB-2: the sub-model's flat weights: float32[m], read-only: the held coordinates of `model`, in C order."""
    _check(model, layout.size, "model", "SUB-1")
    small = model[layout.held(kept)]
    small.flags.writeable = False
    return small


def expand(*, delta: Floats, layout: Layout, kept: Kept) -> Floats:
    """SUB-3, SUB-4: `delta` (float32[m]) at its coordinates of the full model, exactly 0 at the pruned ones: float32[d]."""
    held = layout.held(kept)
    _check(delta, int(held.sum()), "sub-model's update", "SUB-3")
    full = np.zeros(layout.size, dtype=np.float32)
    full[held] = delta
    full.flags.writeable = False
    return full


def zeroed(*, model: Floats, layout: Layout, kept: Kept) -> Floats:
    """SUB-5: the full model with the pruned neurons' groups set to 0: what the sub-model's forward pass is equal to."""
    return expand(delta=extract(model=model, layout=layout, kept=kept), layout=layout, kept=kept)


def _check(flat: Floats, size: int, name: str, rule: str) -> None:
    if flat.dtype != np.float32 or flat.shape != (size,):
        raise PreconditionError(
            rule=rule, detail=f"the {name} must be float32[{size}], got {flat.dtype}{list(flat.shape)}"
        )
