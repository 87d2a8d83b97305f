"""Aggregation: from the sum over the survivors to the next model.   Spec: aggregation, rules AGG-1..AGG-9.

The sum is exact. What it is divided by is a choice: of everybody's weight (`dilute`, and after scaling `holder` and `strata`),
or of the weight of those who hold the coordinate (`levels`).
"""

from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.codec import BLOCK, decode_mean
from clip_ref.errors import SERVER, ContributionError, PreconditionError
from clip_ref.params import Mean, Params
from clip_ref.values import ClientId, Floats, RingVector, check_finite


@attrs.frozen
class Aggregate:
    """What a round yields."""

    model: Floats = attrs.field(repr=False)
    """The next model: float32[d]."""

    slots: tuple[int, ...]
    """The weight of U3, under `levels` per keep level."""

    histogram: tuple[int, ...] = ()
    """On a graph: how many clients of U3 had a time in each bucket."""

    @property
    def weight(self) -> int:
        """W: the weight of U3."""
        return sum(self.slots)


def add(*, total: RingVector, vector: RingVector) -> None:
    """AGG-1: add one masked input to the running total, modulo R, in place: the server never keeps single ones."""
    if total.dtype != vector.dtype or total.shape != vector.shape:
        raise PreconditionError(rule="AGG-1", detail="a masked input has the ring and the length of the total")
    np.add(total, vector, out=total)


def _check_survivors(survivors: int, params: Params) -> None:
    if not 1 <= survivors <= params.clients:
        raise PreconditionError(
            rule="AGG-2", detail=f"a sum is over 1 … {params.clients} clients, not over {survivors}"
        )


def read_slots(*, total: RingVector, size: int, params: Params, survivors: int) -> tuple[int, ...]:
    """AGG-2: the extras of the unmasked total over so many survivors, each of a weight of 1 … weight_max.

    `ContributionError` unless they add up to |U3| … |U3|·weight_max, without wrapping.
    """
    _check_survivors(survivors, params)
    slots = tuple(int(s) for s in total[size : size + len(params.policy.grid)])
    limit = survivors * params.encoding.weight_max
    if not survivors <= sum(slots) <= limit:
        raise ContributionError(
            rule="AGG-2",
            culprit=SERVER,
            field="slots",
            detail=f"the weights of the sum add up to {sum(slots)}, not to {survivors} … {limit}",
        )
    return slots


def read_histogram(*, total: RingVector, size: int, params: Params, survivors: int) -> tuple[int, ...]:
    """AGG-8: the time histogram of the unmasked total; `ContributionError` if it counts more clients than survived."""
    _check_survivors(survivors, params)
    counts = tuple(int(c) for c in total[size + len(params.policy.grid) :])
    if sum(counts) > survivors:
        raise ContributionError(
            rule="AGG-8",
            culprit=SERVER,
            field="histogram",
            detail=f"counts {sum(counts)} clients, of {survivors} that survived",
        )
    return counts


def level_weights(
    *, slots: Sequence[int], held: Callable[[int], NDArray[np.bool_]], size: int, grid: Sequence[int]
) -> NDArray[np.int64]:
    """AGG-3: h_j, the weight of the levels that hold coordinate j: int64[d].

    `held(keep)` says which coordinates a keep level holds, bool[d]; it is asked for levels with weight alone.
    """
    weights = np.zeros(size, dtype=np.int64)
    for keep, slot in zip(grid, slots, strict=True):
        if slot:
            mask = held(keep)
            weights += slot if mask.all() else slot * mask
    return weights


def holder_weights(
    *, weights: Mapping[ClientId, int], held: Mapping[ClientId, NDArray[np.bool_]], size: int
) -> NDArray[np.int64]:
    """AGG-4: the same from the weight and the held coordinates of each client given: what values are scaled by; int64[d]."""
    if size < 0 or any(client not in held or held[client].shape != (size,) for client in weights):
        raise PreconditionError(rule="AGG-4", detail=f"of each client with a weight bool[{size}] says what it holds")
    out = np.zeros(size, dtype=np.int64)
    for client, weight in weights.items():
        out += weight * held[client]
    return out


def scaled_among(
    *, weights: Mapping[ClientId, int], keep: Mapping[ClientId, int], client: ClientId, mean: Mean
) -> dict[ClientId, int]:
    """AGG-9: among whom `client` scales its values, with their weights; nobody: it codes them as they are.

    `weights` are those that the records of U2 declare, `keep` the keep levels, ‰, of the same clients. Under `holder` everybody
    scales, among all. Under `strata` those who prune stand in for each other; the others, and the server, need not know whom.
    """
    if client not in keep or set(weights) != set(keep):
        raise PreconditionError(rule="AGG-9", detail="every client of U2 has a weight and a keep level")
    if mean is Mean.HOLDER:
        return dict(weights)
    if mean is Mean.STRATA and keep[client] < 1000:
        return {u: weight for u, weight in weights.items() if keep[u] < 1000}
    return {}


def aggregate(
    *,
    total: RingVector,
    model: Floats,
    params: Params,
    survivors: int,
    held: Callable[[int], NDArray[np.bool_]],
) -> Aggregate:
    """AGG-5..AGG-7: the next model, w_{i+1} = float32(float64(w_i) + mean).

    `total` is the unmasked sum over U3: uint32|uint64[d + extras]; `model` is w_i: float32[d]; `survivors` is |U3|.
    `held(keep)` is asked under the mean `levels` alone. The mean is S·C/((2^(q−1) − 1)·h) in float64, 0 where h = 0 (AGG-6),
    with h the whole weight under `dilute`, `holder` and `strata`; the result is rounded once (AGG-7).
    """
    params.encoding.ring.check(total, rule="AGG-5", name="the total")
    size = len(model)
    if len(total) != size + params.extras:
        raise PreconditionError(
            rule="AGG-5", detail=f"the total has {len(total)} elements, {size + params.extras} are expected"
        )
    check_finite(model, rule="AGG-5", name="the model")
    slots = read_slots(total=total, size=size, params=params, survivors=survivors)
    histogram = read_histogram(total=total, size=size, params=params, survivors=survivors)
    levels = params.policy.grid if params.policy.mean is Mean.LEVELS else ()
    masks = {keep: held(keep) for keep, slot in zip(levels, slots, strict=False) if slot}
    following = np.empty(size, dtype=np.float32)
    for at in range(0, size, BLOCK):  # what is in between stays in a core's own cache
        here = slice(at, min(at + BLOCK, size))
        part = {keep: mask[here] for keep, mask in masks.items()}
        length = here.stop - at
        if levels:
            weight = level_weights(slots=slots, held=part.__getitem__, size=length, grid=levels)
        else:
            weight = np.full(length, sum(slots), dtype=np.int64)
        following[here] = model[here] + decode_mean(total=total[here], weight=weight, encoding=params.encoding)
    following.flags.writeable = False
    return Aggregate(following, slots, histogram)
