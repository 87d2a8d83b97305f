"""Typed errors: every refusal names the rule that was broken and, where a peer broke it, who.

Three roots tell whose fault it was. `PreconditionError` is the caller's: a bad argument, refused before anything happened.
`ContributionError` is a peer's: a message that breaks a rule. `RoundAborted` is nobody's in particular: too few clients are
left. `assert` is kept for what cannot happen.
"""

from typing import Final

import attrs

SERVER: Final = 0xFFFF_FFFF
"""The id that stands for the server where a client id is expected; no client may have it."""


@attrs.frozen
class ClipError(Exception):
    """The root of every error that this package raises on purpose."""

    rule: str
    """The id of the broken rule, e.g. `MSK-1`."""

    detail: str
    """What was wrong, in one sentence that a person can act on."""

    def __str__(self) -> str:
        """One line: the rule, then what was wrong."""
        return f"{self.rule}: {self.detail}"


@attrs.frozen
class PreconditionError(ClipError, ValueError):
    """The caller passed something that the rule refuses. Nothing was sent, revealed or written."""

    __str__ = ClipError.__str__


@attrs.frozen
class ParameterError(PreconditionError):
    """A parameter object that contradicts itself; raised at its construction."""

    __str__ = ClipError.__str__


@attrs.frozen
class ContributionError(ClipError):
    """A peer's message breaks a rule."""

    culprit: int
    """The id of the client whose message it was, or `SERVER`."""

    field: str
    """The field of the message that breaks the rule."""

    def __str__(self) -> str:
        """One line: the rule, the culprit, the field, then what was wrong."""
        who = "the server" if self.culprit == SERVER else f"client {self.culprit}"
        return f"{self.rule}: {who}, {self.field}: {self.detail}"


@attrs.frozen
class WireError(ContributionError):
    """Bytes that are not the canonical encoding of any message expected here."""

    __str__ = ContributionError.__str__


@attrs.frozen
class TranscriptError(ClipError):
    """A recorded transcript that is not as its recorder left it."""

    entry: int
    """The first entry that is damaged, from 1; 0 is what precedes the entries."""

    def __str__(self) -> str:
        """One line: the rule, the entry, then what was wrong."""
        return f"{self.rule}: entry {self.entry} of the transcript: {self.detail}"


@attrs.frozen
class RoundAborted(ClipError):
    """Fewer clients than the threshold are left; nothing was revealed."""

    stage: str
    """The stage at which the round ended: `U1`, `U2`, `U3`, `U4` or `U5`."""

    have: int
    """How many clients are left, a count."""

    need: int
    """The threshold t, a count."""

    def __str__(self) -> str:
        """One line: the rule, the stage, and how many were missing."""
        return (
            f"{self.rule}: round aborted at {self.stage}: {self.have} clients left, {self.need} needed; {self.detail}"
        )
