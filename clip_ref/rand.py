"""Deterministic randomness: key derivation, the mask generator, unbiased integers.   Spec: randomness, rules RND-1..RND-6.

A mask is an AES-128-CTR keystream whose key and initial counter block both come from HKDF of a 256-bit seed, read as
little-endian words of the ring: every element of Z_R is as likely as any other, and no seed bit is folded away.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from clip_ref.canonical import LABEL, prefixed, unsigned
from clip_ref.errors import PreconditionError
from clip_ref.values import Ring, RingVector, Seed

BLOCK_BYTES: Final = 1 << 17
"""How much keystream is made at a time: 128 KiB, so that target, scratch and zeros stay in a core's own cache."""


MAX_KEY_BYTES: Final = 255 * 32
"""The most bytes that HKDF-SHA256 yields."""

_SHA256: Final = SHA256()


def derive(*, secret: bytes, salt: bytes, purpose: str, ids: tuple[int, ...] = (), length: int = 32) -> bytes:
    """RND-1: HKDF-SHA256 of `secret`, with the purpose's label and the ids in the info.

    `salt` is the round's context wherever the key belongs to a round. `ids` are unsigned 32-bit and their order matters:
    (min, max) for a pair's mask, (sender, receiver) for a channel. `PreconditionError` unless 1 ≤ length ≤ 8160.
    """
    if not 1 <= length <= MAX_KEY_BYTES:
        raise PreconditionError(rule="RND-1", detail=f"a key has 1 … {MAX_KEY_BYTES} bytes, got {length}")
    info = b"".join([_labelled(purpose), *[unsigned(i, bits=32) for i in ids]])
    return HKDF(algorithm=_SHA256, length=length, salt=salt, info=info).derive(secret)


@lru_cache(maxsize=64)
def _labelled(purpose: str) -> bytes:
    """What the info of every key for this purpose begins with."""
    return prefixed((LABEL + purpose).encode())


def _keystream(seed: Seed) -> Cipher[modes.CTR]:
    """RND-2: AES-128 in counter mode; key and counter block are the two halves of one HKDF output."""
    material = derive(secret=seed.data, salt=b"", purpose="prg")
    return Cipher(algorithms.AES128(material[:16]), modes.CTR(material[16:]))


def expand(*, seed: Seed, ring: Ring, length: int) -> RingVector:
    """RND-3: the first `length` elements of the seed's mask: uint32|uint64[length], read-only."""
    if length < 0:
        raise PreconditionError(rule="RND-3", detail=f"a mask has a length of 0 or more, got {length}")
    target = np.zeros(length, dtype=ring.dtype)
    accumulate(target=target, ring=ring, plus=(seed,), minus=())
    target.flags.writeable = False
    return target


def accumulate(*, target: RingVector, ring: Ring, plus: Iterable[Seed], minus: Iterable[Seed]) -> None:
    """RND-4: add the masks of `plus` to `target` and subtract those of `minus`, modulo R, in place.

    The one function of the core that writes to its argument: it is what every mask costs. Blocks outside, keys inside,
    into one reused scratch: memory is O(block) beyond `target`, however many seeds there are.

    Cost: (|plus| + |minus|) · len(target) ring additions and as many elements of keystream.
    """
    ring.check(target, rule="RND-4", name="target")
    adds: list[tuple[CipherContext, np.ufunc]] = [(_keystream(s).encryptor(), np.add) for s in plus]
    subtracts: list[tuple[CipherContext, np.ufunc]] = [(_keystream(s).encryptor(), np.subtract) for s in minus]
    step = BLOCK_BYTES // ring.bytes
    zeros = bytes(min(BLOCK_BYTES, target.nbytes))
    scratch = bytearray(len(zeros) + 15)  # update_into asks for room for one block of padding, less a byte
    words = np.frombuffer(scratch, dtype=ring.dtype, count=len(zeros) // ring.bytes)
    plain = memoryview(zeros)
    for at in range(0, len(target), step):
        part = target[at : at + step]
        pad, source = words[: len(part)], plain[: part.nbytes]
        for stream, combine in adds + subtracts:
            stream.update_into(source, scratch)
            combine(part, pad, out=part)


def random_bytes(*, seed: Seed, length: int) -> bytes:
    """RND-6: the first `length` bytes of the seed's keystream."""
    if length < 0:
        raise PreconditionError(rule="RND-6", detail=f"a keystream has a length of 0 or more, got {length}")
    return _keystream(seed).encryptor().update(bytes(length))


@lru_cache(maxsize=64)
def permutation(*, entropy: bytes, purpose: str, length: int) -> NDArray[np.int64]:
    """RND-5: a uniform permutation of 0 … length − 1: Fisher–Yates from the top, each index by rejection sampling.

    `entropy` is 32 bytes. For k = length − 1 down to 1, draw 32-bit little-endian words until one is below the largest
    multiple of k + 1; swap entries k and word mod (k + 1). Deterministic; every permutation equally likely given a
    uniform keystream (no modulo bias). Read-only int64[length].
    """
    if len(entropy) != 32 or not 0 <= length < 1 << 31:
        raise PreconditionError(rule="RND-5", detail="a permutation takes 32 bytes of entropy and a length below 2^31")
    stream = _keystream(Seed(derive(secret=entropy, salt=b"", purpose=purpose))).encryptor()
    order = list(range(length))
    for top in range(length - 1, 0, -1):
        limit = (1 << 32) - (1 << 32) % (top + 1)
        word = limit
        while word >= limit:
            word = int.from_bytes(stream.update(bytes(4)), "little")
        swap = word % (top + 1)
        order[top], order[swap] = order[swap], order[top]
    result = np.array(order, dtype=np.int64)
    result.flags.writeable = False
    return result
