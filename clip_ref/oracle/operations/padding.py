"""Operations of padding.   Spec: padding."""

from clip_ref import padding
from clip_ref.oracle.jsontypes import Bits
from clip_ref.oracle.operation import operation
from clip_ref.oracle.operations.randomness import vector_of
from clip_ref.params import Params


@operation("padding.pad", "PAD-1", "PAD-2", "PAD-3", "PAD-4", "PAD-5", "PAD-6")
def pad(coded: bytes, held: Bits, keep: int, weight: int, params: Params, bucket: int | None) -> bytes:
    """The padded vector, from the coded update of the sub-model; both little-endian."""
    vector = vector_of(coded, params.encoding.ring_bits)
    return padding.pad(coded=vector, held=held, keep=keep, weight=weight, params=params, bucket=bucket).tobytes()
