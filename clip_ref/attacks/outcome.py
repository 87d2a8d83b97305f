"""What an attack is, and what came of one."""

from collections.abc import Callable
from typing import Any

import attrs

from clip_ref.errors import ClipError


@attrs.frozen
class Outcome:
    """What the attacker got."""

    succeeded: bool
    """Whether it got what it was after: judged by comparison with the truth, which the attacker never sees."""

    evidence: str
    """What it got, in one sentence with its numbers; or the error that stopped it."""

    error: float | None = None
    """The largest difference between what it recovered and the truth, in quantisation steps; none where it has nothing."""

    stopped_by: str | None = None
    """The rule that the error named which stopped it, if one did."""

    bounded_by: str | None = None
    """The rule that bounds what it gets, where nothing is refused."""

    def json(self) -> dict[str, Any]:
        """`succeeded`, and `stopped_by` or `bounded_by` where there is one, else `evidence`."""
        out: dict[str, Any] = {"succeeded": self.succeeded}
        if self.stopped_by is not None:
            return out | {"stopped_by": self.stopped_by}
        if self.bounded_by is not None:
            return out | {"bounded_by": self.bounded_by}
        return out | {"evidence": self.evidence}


@attrs.frozen
class AttackResult:
    """One attack, run twice by the same attacker."""

    name: str
    """The attack's name."""

    without_defence: Outcome
    """Against the round with the defence taken out."""

    with_defence: Outcome
    """Against the round as it is."""

    def json(self) -> dict[str, Any]:
        """As `clip-ref attack --json` prints it."""
        return {
            "name": self.name,
            "without_defence": self.without_defence.json(),
            "with_defence": self.with_defence.json(),
        }


@attrs.frozen(kw_only=True)
class Attack:
    """An attacker, the round without its defence, and the round with it."""

    name: str
    """What `clip-ref attack` calls it."""

    title: str
    """What it is, in a few words."""

    story: str
    """What the attacker does, and what is taken out for it to succeed."""

    defence: str
    """The rule that has to stop or bound it."""

    without: Callable[[int], Outcome]
    """Runs it without the defence, deterministically from a seed."""

    against: Callable[[int], Outcome]
    """Runs it against the round as it is. An error that a party raises on purpose stops it."""

    def run(self, seed: int) -> AttackResult:
        """Both runs."""
        return AttackResult(self.name, self.without(seed), _stopped(self.against, seed))

    def as_expected(self, result: AttackResult) -> bool:
        """Whether it succeeds without the defence, and fails with it by that defence and no other."""
        stop = result.with_defence
        by = stop.stopped_by or stop.bounded_by
        return result.without_defence.succeeded and not stop.succeeded and by == self.defence


def _stopped(attempt: Callable[[int], Outcome], seed: int) -> Outcome:
    try:
        return attempt(seed)
    except ClipError as error:
        return Outcome(False, str(error), stopped_by=error.rule)
