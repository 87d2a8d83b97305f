"""Padding: every update has one length, whatever was pruned.   Spec: padding, rules PAD-1..PAD-6.

Source: CLIP, arXiv 2510.16694, §5: pruned coordinates are padded with zeros before masking.
"""

import numpy as np
from numpy.typing import NDArray

from clip_ref.codec import encode_slots
from clip_ref.errors import PreconditionError
from clip_ref.params import Mean, Params
from clip_ref.values import RingVector


def padded_length(*, size: int, params: Params) -> int:
    """PAD-1: d + extras ring elements, for a model of `size` = d weights: the same for every client, always."""
    return size + params.extras


def pad(
    *, coded: RingVector, held: NDArray[np.bool_], keep: int, weight: int, params: Params, bucket: int | None = None
) -> RingVector:
    """PAD-2..PAD-5: the sub-model's coded update at the held coordinates, 0 elsewhere, then the extras.

    `coded` is uint32|uint64[m] with m the number of held coordinates; `held` is bool[d]; `keep` is in the grid; `weight` is
    1 … weight_max. Returns uint32|uint64[d + extras], read-only. The extras are one element
    per keep level: the first one holds the weight (PAD-4), but under the mean `levels` the client's own does (PAD-5); the
    others are 0. On a graph the buckets of the time histogram follow: 1 in the client's own `bucket`, if it has a time (PAD-6).
    """
    policy, encoding = params.policy, params.encoding
    encoding.ring.check(coded, rule="PAD-2", name="the coded update")
    if held.dtype != np.bool_ or held.ndim != 1 or len(coded) != np.count_nonzero(held):
        raise PreconditionError(
            rule="PAD-2",
            detail=f"{len(coded)} elements do not fit the {np.count_nonzero(held)} coordinates that are held",
        )
    if keep not in policy.grid:
        raise PreconditionError(rule="PAD-3", detail=f"keep level {keep} is not in the grid {policy.grid}")
    if not 1 <= weight <= encoding.weight_max:
        raise PreconditionError(rule="PAD-4", detail=f"a weight is 1 … {encoding.weight_max}, got {weight}")
    if bucket is not None and not 0 <= bucket < params.buckets:
        raise PreconditionError(rule="PAD-6", detail=f"bucket {bucket} is not among the {params.buckets} there are")
    slot = policy.grid.index(keep) if policy.mean is Mean.LEVELS else 0
    slots = {slot: weight} if bucket is None else {slot: weight, len(policy.grid) + bucket: 1}
    out = np.zeros(padded_length(size=len(held), params=params), dtype=encoding.ring.dtype)
    if len(coded) == len(held):
        out[: len(held)] = coded
    else:
        out[: len(held)][held] = coded
    out[len(held) :] = encode_slots(slots=slots, length=params.extras, encoding=encoding)
    out.flags.writeable = False
    return out
