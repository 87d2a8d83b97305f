"""Operations of aggregation.   Spec: aggregation."""

import attrs
import numpy as np

from clip_ref import aggregation
from clip_ref.errors import PreconditionError
from clip_ref.oracle.jsontypes import Bits, F32s
from clip_ref.oracle.operation import operation
from clip_ref.oracle.operations.randomness import vector_of
from clip_ref.params import Mean, Params
from clip_ref.values import ClientId


@operation("aggregation.add", "AGG-1")
def add(ring_bits: int, total: bytes, vector: bytes) -> bytes:
    """The running total with one more masked input; all little-endian."""
    out = np.array(vector_of(total, ring_bits))
    aggregation.add(total=out, vector=vector_of(vector, ring_bits))
    return out.tobytes()


@attrs.frozen
class Next:
    """What a round yields."""

    model: F32s
    """The next model."""

    slots: list[int]
    """The weight of U3, under `levels` per keep level."""

    histogram: list[int]
    """On a graph: clients in each bucket."""


@operation("aggregation.aggregate", "AGG-2", "AGG-3", "AGG-5", "AGG-6", "AGG-7", "AGG-8")
def aggregate(total: bytes, model: F32s, params: Params, survivors: int, held: dict[int, Bits]) -> Next:
    """The next model, from the bare sum over so many survivors, little-endian; `held` says what each keep level holds.

    A level without weight may be left out of it; one that has weight and is not there is refused.
    """
    vector = vector_of(total, params.encoding.ring_bits)

    def holds(keep: int) -> Bits:
        if keep not in held:
            raise PreconditionError(rule="AGG-3", detail=f"nobody says what the keep level {keep} holds")
        return held[keep]

    found = aggregation.aggregate(total=vector, model=model, params=params, survivors=survivors, held=holds)
    return Next(found.model, list(found.slots), list(found.histogram))


@operation("aggregation.holder_weights", "AGG-4")
def holder_weights(weights: dict[ClientId, int], held: dict[ClientId, Bits], size: int) -> list[int]:
    """The weight of each coordinate's holders, from the clients' weights and what each of them holds."""
    return [int(h) for h in aggregation.holder_weights(weights=weights, held=held, size=size)]


@operation("aggregation.scaled_among", "AGG-9")
def scaled_among(
    weights: dict[ClientId, int], keep: dict[ClientId, int], client: ClientId, mean: Mean
) -> dict[ClientId, int]:
    """Among whom a client scales its values, with their weights; nobody: it does not."""
    return aggregation.scaled_among(weights=weights, keep=keep, client=client, mean=mean)
