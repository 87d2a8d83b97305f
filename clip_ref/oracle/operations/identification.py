"""Operations of identification.   Spec: identification."""

import attrs

from clip_ref import identification
from clip_ref.messages import TimeRecord
from clip_ref.oracle.jsontypes import Wide
from clip_ref.oracle.operation import operation
from clip_ref.params import Params
from clip_ref.values import ClientId, RoundNumber
from clip_ref.verdicts import Verdict


@attrs.frozen
class Judged:
    """What was found about a client."""

    straggler: bool
    """Its status."""

    keep: int
    """Its keep level, ‰."""

    saturated: bool
    """Whether even the smallest level is too slow."""

    ahead: list[int]
    """The keep levels, ‰, of the blocks whose turn comes first; empty but under `spread`."""


def judged(verdict: Verdict) -> Judged:
    """A verdict without its reason, which is for people."""
    return Judged(verdict.straggler, verdict.keep, verdict.saturated, list(verdict.ahead))


@attrs.frozen
class Found:
    """What follows from the records of a round."""

    target: Wide
    """T*, µs."""

    target_fit: Wide
    """f*, µs."""

    verdicts: dict[ClientId, Judged]
    """By client."""


@operation("identification.elapsed", "IDN-2")
def elapsed(record: TimeRecord, level: int) -> Wide:
    """e(r) with r the grid's entry number `level`, from 0."""
    return identification.elapsed(record, level=level)


@operation("identification.valid", "IDN-1")
def valid(record: TimeRecord, params: Params) -> bool:
    """Whether a record takes part."""
    return identification.valid(record, params=params)


@operation("identification.identify", "IDN-1", "IDN-3", "IDN-4", "IDN-5", "IDN-6", "IDN-7", "IDN-8", "IDN-9", "IDN-12")
def identify(records: dict[ClientId, TimeRecord], params: Params, round: Wide) -> Found:
    """Who is a straggler, and what each client keeps, from the records of U2."""
    plan = identification.identify(records=records, params=params, round=RoundNumber(round))
    return Found(plan.target, plan.target_fit, {u: judged(v) for u, v in plan.verdicts.items()})
