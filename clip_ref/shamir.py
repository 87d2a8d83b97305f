"""Shamir sharing, bytewise over GF(2⁸) with the AES polynomial 0x11B.   Spec: shamir, rules SHM-1..SHM-5.

Each byte of a secret is the constant term of its own polynomial of degree t − 1; holder number x (from 1) gets the values at
x. Any t shares give the secret back, fewer are independent of it. Table look-ups: not constant-time.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError

MAX_SHARES: Final = 255

Bytes = NDArray[np.uint8]


def _product(a: int, b: int) -> int:
    """a·b in GF(2⁸): carry-less, reduced by x⁸ + x⁴ + x³ + x + 1."""
    out = 0
    for bit in range(8):
        if b >> bit & 1:
            out ^= a << bit
    for bit in range(14, 7, -1):
        if out >> bit & 1:
            out ^= 0x11B << (bit - 8)
    return out


def _tables() -> tuple[Bytes, Bytes]:
    power = [1]
    for _ in range(254):
        power.append(_product(power[-1], 3))  # 3 generates the multiplicative group
    log = {value: k for k, value in enumerate(power)}
    times = np.zeros((256, 256), dtype=np.uint8)
    inverse = np.zeros(256, dtype=np.uint8)
    for a in range(1, 256):
        times[a, 1:] = [power[(log[a] + log[b]) % 255] for b in range(1, 256)]
        inverse[a] = power[-log[a] % 255]
    times.flags.writeable = inverse.flags.writeable = False
    return times, inverse


TIMES, INVERSE = _tables()
"""TIMES[a, b] = a·b and INVERSE[a] = a⁻¹ (0 ↦ 0) in GF(2⁸)."""


@lru_cache(maxsize=8)
def _multiples(threshold: int, holders: int) -> Bytes:
    """Row 256·k + b holds b·x^k for every holder x: uint8[256·t, holders]. Sharing a byte is then one row per coefficient."""
    powers = np.ones((threshold, holders), dtype=np.uint8)
    for k in range(1, threshold):
        powers[k] = TIMES[powers[k - 1], np.arange(1, holders + 1)]
    table: Bytes = TIMES[np.arange(256)[None, :, None], powers[:, None, :]]
    return table.reshape(-1, holders)


def split(*, secret: bytes, threshold: int, holders: int, randomness: bytes) -> tuple[bytes, ...]:
    """SHM-1, SHM-2: the shares of `secret` for holders 1 … `holders`, each as long as the secret.

    `randomness` is exactly (threshold − 1)·len(secret) uniform bytes: the coefficients of x¹ … x^(t−1), each len(secret) bytes.
    `PreconditionError` unless 2 ≤ threshold ≤ holders ≤ 255.
    """
    if not 2 <= threshold <= holders <= MAX_SHARES:
        raise PreconditionError(
            rule="SHM-1", detail=f"2 ≤ t ≤ holders ≤ 255 does not hold: t = {threshold}, {holders} holders"
        )
    length = len(secret)
    if not length or len(randomness) != (threshold - 1) * length:
        raise PreconditionError(
            rule="SHM-2", detail=f"needs {(threshold - 1) * length} bytes of randomness, got {len(randomness)}"
        )
    coefficients = np.frombuffer(secret + randomness, dtype=np.uint8).reshape(threshold, length)
    rows = coefficients + 256 * np.arange(threshold)[:, None]
    terms = np.take(_multiples(threshold, holders), rows, axis=0, mode="clip")
    return tuple(share.tobytes() for share in np.bitwise_xor.reduce(terms, axis=0).T)


@lru_cache(maxsize=1024)
def lagrange(points: tuple[int, ...]) -> Bytes:
    """SHM-3: the weights that interpolate at 0 through distinct `points` in 1 … 255: uint8[len(points)], read-only."""
    if not points or len(set(points)) != len(points) or not all(1 <= x <= MAX_SHARES for x in points):
        raise PreconditionError(
            rule="SHM-3", detail=f"share numbers must be distinct and 1 … 255, one or more; got {points}"
        )
    x = np.array(points, dtype=np.uint8)
    factors = TIMES[x[None, :], INVERSE[x[None, :] ^ x[:, None]]]  # x_j/(x_j − x_k): 0 where j = k
    np.fill_diagonal(factors, 1)
    weights: Bytes = factors[:, 0].copy()
    for column in factors.T[1:]:
        np.copyto(weights, TIMES[weights, column])
    weights.flags.writeable = False
    return weights


def combine(*, shares: Mapping[int, bytes], threshold: int) -> bytes:
    """SHM-4, SHM-5: the secret, from exactly `threshold` shares of one length by share number.

    A wrong share gives a wrong secret, not an error: the caller checks the result against what was committed or advertised.
    """
    if len(shares) != threshold:
        raise PreconditionError(rule="SHM-4", detail=f"exactly {threshold} shares are combined, got {len(shares)}")
    if len({len(share) for share in shares.values()}) != 1:
        raise PreconditionError(rule="SHM-5", detail="shares must have one length")
    points = tuple(sorted(shares))
    rows = np.frombuffer(b"".join(shares[x] for x in points), dtype=np.uint8).reshape(threshold, -1)
    return bytes(np.bitwise_xor.reduce(TIMES[lagrange(points)[:, None], rows], axis=0).tobytes())
