"""Operations of the codec.   Spec: codec."""

import numpy as np

from clip_ref import codec
from clip_ref.oracle.jsontypes import F32s, F64s
from clip_ref.oracle.operation import operation
from clip_ref.oracle.operations.randomness import vector_of
from clip_ref.params import Encoding


@operation("codec.weight", "COD-1")
def weight(examples: int, encoding: Encoding) -> int:
    """The weight of an update from so many examples."""
    return codec.weight_of(examples=examples, encoding=encoding)


@operation("codec.quantise", "COD-2", "COD-3")
def quantise(update: F32s, encoding: Encoding) -> list[int]:
    """The quantised values of an update."""
    return [int(v) for v in codec.quantise(update=update, encoding=encoding)]


@operation("codec.encode", "COD-2", "COD-4")
def encode(update: F32s, weight: int, encoding: Encoding) -> bytes:
    """The ring elements of an update, little-endian."""
    return codec.encode(update=update, weight=weight, encoding=encoding).tobytes()


@operation("codec.encode_scaled", "COD-5")
def encode_scaled(update: F32s, weight: int, total: int, holders: list[int], cap: int, encoding: Encoding) -> bytes:
    """The ring elements of an update that is scaled (AGG-9), little-endian."""
    weights = np.array(holders, dtype=np.int64)
    return codec.encode_scaled(
        update=update, weight=weight, total=total, holders=weights, cap=cap, encoding=encoding
    ).tobytes()


@operation("codec.slots", "COD-6")
def slots(slots: dict[int, int], length: int, encoding: Encoding) -> bytes:
    """The extras with these integers at their places, little-endian."""
    return codec.encode_slots(slots=slots, length=length, encoding=encoding).tobytes()


@operation("codec.mean", "COD-7")
def mean(total: bytes, weight: list[int], encoding: Encoding) -> F64s:
    """The mean of each coordinate, from the sum over the ring, little-endian, and the divisors."""
    vector = vector_of(total, encoding.ring_bits)
    return codec.decode_mean(total=vector, weight=np.array(weight, dtype=np.int64), encoding=encoding)
