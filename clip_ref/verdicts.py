"""Verdicts: what identification finds out about a client.   Spec: identification."""

from enum import StrEnum

import attrs


class Reason(StrEnum):
    """Why a client keeps what it keeps."""

    FAST = "not among the slowest"
    MARGIN = "a candidate, but within the margin"
    STRAGGLER = "straggler"
    BLOCK = "straggler, alike with the slowest of its block"
    NO_TIME = "no valid times"
    NO_HISTORY = "no history model"
    WARM_UP = "warm-up round"
    SMALL_ROSTER = "too few clients in the round"
    SMALL_BLOCK = "too few stragglers to hide among"


@attrs.frozen
class Verdict:
    """What follows for one client."""

    straggler: bool
    """Its status: what it reports as `was_straggler` in the next round. Independent of whether it may prune."""

    keep: int
    """Its keep level, ‰, from the grid; 1000: it prunes nothing."""

    saturated: bool
    """Whether even the smallest keep level is too slow. Local: never sent."""

    reason: Reason
    """Why."""

    ahead: tuple[int, ...] = ()
    """Under `spread`, the keep levels of the blocks whose turn at the pruning order comes first, ‰."""

    @property
    def turn(self) -> tuple[int, tuple[int, ...]]:
        """What settles which neurons it keeps: its keep level and the blocks ahead."""
        return self.keep, self.ahead
