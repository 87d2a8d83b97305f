"""Operations of secret sharing.   Spec: shamir."""

from clip_ref import shamir
from clip_ref.oracle.operation import operation


@operation("shamir.split", "SHM-1", "SHM-2")
def split(secret: bytes, threshold: int, holders: int, randomness: bytes) -> list[bytes]:
    """The shares of all holders, from holder 1."""
    return list(shamir.split(secret=secret, threshold=threshold, holders=holders, randomness=randomness))


@operation("shamir.lagrange", "SHM-3")
def lagrange(points: list[int]) -> bytes:
    """The weights of these holders in the interpolation at 0, one byte each."""
    return shamir.lagrange(tuple(points)).tobytes()


@operation("shamir.combine", "SHM-3", "SHM-4", "SHM-5")
def combine(shares: dict[int, bytes], threshold: int) -> bytes:
    """The secret, from shares by holder."""
    return shamir.combine(shares=shares, threshold=threshold)
