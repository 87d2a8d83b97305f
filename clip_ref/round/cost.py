"""Exact counts of what a round costs: they gate regressions, and the simulated clock bills by them."""

from enum import StrEnum
from operator import add, attrgetter
from typing import Final

import attrs


class Leg(StrEnum):
    """The exchanges of a round: the server sends, clients work, clients answer. Level `basic` has no consistency."""

    ADVERTISE = "advertise"
    SHARE = "share"
    INPUT = "input"
    CONSISTENCY = "consistency"
    UNMASK = "unmask"


LEGS: Final = tuple(Leg)
"""In order."""


@attrs.frozen
class Work:
    """What one party computed, in counts that are the same on every machine."""

    scalar_multiplications: int = 0
    """X25519 scalar multiplications, key generation included."""

    mask_bytes: int = 0
    """Bytes of PRG output, each also added or subtracted."""

    sealed_bytes: int = 0
    """Bytes of plaintext encrypted or decrypted."""

    shared_bytes: int = 0
    """Bytes of shares made, times the threshold; or bytes of shares combined, times the threshold."""

    hashed_bytes: int = 0
    """Bytes digested to check a model, or to sign or check a message."""

    scored: int = 0
    """Coordinates whose change was scored to select neurons."""

    signatures: int = 0
    """Ed25519 signatures made or checked."""

    coded: int = 0
    """Coordinates encoded to, or decoded from, ring elements."""

    def __add__(self, other: "Work") -> "Work":
        """The sum, field by field."""
        return Work(*map(add, _counts(self), _counts(other)))


_counts = attrgetter(*(field.name for field in attrs.fields(Work)))


@attrs.frozen
class LegCost:
    """What one leg cost one client."""

    down_bytes: int = 0
    """Length of the server's message to it, in bytes."""

    work: Work = attrs.field(factory=Work)
    """What it computed in between, apart from training; on leg `input`, before the mask: selecting neurons."""

    masking: Work = attrs.field(factory=Work)
    """On leg `input`, what it computed after training: encoding and masking."""

    up_bytes: int = 0
    """Length of its answer, in bytes; 0 where it sent none."""
