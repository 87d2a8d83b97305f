"""Operations on deterministic randomness.   Spec: randomness."""

import numpy as np

from clip_ref import rand
from clip_ref.errors import PreconditionError
from clip_ref.oracle.operation import operation
from clip_ref.values import Ring, RingVector, Seed


def ring_of(bits: int) -> Ring:
    """The ring of so many bits."""
    return Ring(bits=64) if bits == 64 else Ring(bits=32)


def vector_of(data: bytes, ring_bits: int) -> RingVector:
    """A vector over the ring, from its bytes; `PreconditionError` (MSK-1) where they are no whole elements."""
    ring = ring_of(ring_bits)
    if len(data) % ring.bytes:
        raise PreconditionError(rule="MSK-1", detail=f"{len(data)} bytes are no elements of {ring.bytes} bytes")
    return np.frombuffer(data, dtype=ring.dtype)


@operation("randomness.derive", "RND-1")
def derive(secret: bytes, salt: bytes, purpose: str, ids: list[int], length: int) -> bytes:
    """A derived key; `purpose` is without the prefix that all labels have."""
    return rand.derive(secret=secret, salt=salt, purpose=purpose, ids=tuple(ids), length=length)


@operation("randomness.bytes", "RND-2", "RND-6")
def random_bytes(seed: bytes, length: int) -> bytes:
    """The first bytes of a seed's keystream."""
    return rand.random_bytes(seed=Seed(seed), length=length)


@operation("randomness.mask", "RND-2", "RND-3")
def mask(seed: bytes, ring_bits: int, length: int) -> bytes:
    """The first elements of a seed's mask, little-endian."""
    return rand.expand(seed=Seed(seed), ring=ring_of(ring_bits), length=length).tobytes()


@operation("randomness.accumulate", "RND-4")
def accumulate(ring_bits: int, target: bytes, plus: list[bytes], minus: list[bytes]) -> bytes:
    """A vector with the masks of `plus` added and those of `minus` subtracted."""
    vector = np.array(vector_of(target, ring_bits))
    rand.accumulate(target=vector, ring=ring_of(ring_bits), plus=map(Seed, plus), minus=map(Seed, minus))
    return vector.tobytes()


@operation("randomness.permutation", "RND-5")
def permutation(entropy: bytes, purpose: str, length: int) -> list[int]:
    """A shared permutation of 0 … length − 1."""
    return [int(k) for k in rand.permutation(entropy=entropy, purpose=purpose, length=length)]
