"""The methods that are compared: each is a pruning policy, and whether stragglers take part at all."""

from typing import Final

import attrs

from clip_ref.errors import PreconditionError
from clip_ref.params import HARDENED_POLICY, NO_PRUNING, PAPER_POLICY, PruningPolicy, Selection, SlackSeed


@attrs.frozen
class Method:
    """One way of dealing with stragglers."""

    name: str
    """Its name on the command line."""

    policy: PruningPolicy
    """Who prunes what; the share of stragglers is set by the run."""

    summary: str
    """What it does, in a few words."""

    excludes: bool = False
    """Whether the fleet's slow clients are left out of every round: it takes knowing who they are."""


METHODS: Final = {
    method.name: method
    for method in (
        Method("none", NO_PRUNING, "nobody prunes: plain secure aggregation waits for the slowest"),
        Method(
            "random",
            attrs.evolve(
                HARDENED_POLICY, selection=Selection.PAPER, threshold=0, slack_seed=SlackSeed.CONTEXT, age_cap=0
            ),
            "stragglers drop random neurons, the same ones for all, as many as `clip`",
        ),
        Method("exclude", NO_PRUNING, "the slow clients take no part", excludes=True),
        Method("clip-paper", PAPER_POLICY, "CLIP as literally as its paper allows"),
        Method("clip", HARDENED_POLICY, "CLIP as one should deploy it: exact scores, holders' mean, anonymity blocks"),
    )
}
"""The methods by name, in the order of every table."""


def method(name: str) -> Method:
    """The method called `name`; `PreconditionError` (LAB-1) lists those that exist."""
    if name not in METHODS:
        raise PreconditionError(rule="LAB-1", detail=f"no method {name!r}; there are {', '.join(METHODS)}")
    return METHODS[name]
