"""The methods that are compared: each is a pruning policy, and what stragglers do besides."""

from collections.abc import Sequence
from typing import Any, Final

import attrs

from clip_ref.errors import PreconditionError
from clip_ref.params import (
    DRAWN_POLICY,
    HARDENED_POLICY,
    NO_PRUNING,
    PAPER_POLICY,
    Mean,
    PruningPolicy,
    Score,
    Selection,
    SlackSeed,
)


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

    shortens: bool = False
    """Whether stragglers train the whole model, on as few batches as take them what their sub-model would."""

    watches: bool = False
    """Whether the server looks at single updates to find invariant neurons: no secure aggregation would let it."""

    gaps: bool = False
    """Whether a client that missed rounds scores over those that it saw."""

    stand_in: bool = False
    """Whether the kept neurons of a sub-model stand in for the pruned ones, by a linear estimate of them (SUB-7)."""


LEVELS: Final = attrs.evolve(
    HARDENED_POLICY,
    score=Score.L1,
    selection=Selection.RANK,
    age_cap=0,
    mean=Mean.LEVELS,
    spread=False,
    anonymity_blocks=True,
)
"""The paper's idea, exact, with zeros kept out of the mean."""

RANDOM: Final = attrs.evolve(LEVELS, selection=Selection.PAPER, threshold=0, slack_seed=SlackSeed.CONTEXT)
"""All slack: neurons are drawn at random in every round."""

SPREAD: Final = attrs.evolve(LEVELS, mean=Mean.STRATA, spread=True)
"""No neuron is left to the fast clients alone, as far as there are blocks enough."""

METHODS: Final = {
    method.name: method
    for method in (
        Method("none", NO_PRUNING, "nobody prunes: plain secure aggregation waits for the slowest"),
        Method("random", RANDOM, "stragglers drop random neurons, the same ones for all, as many as `clip`"),
        Method(
            "ordered",
            attrs.evolve(RANDOM, selection=Selection.ORDERED),
            "stragglers drop the last neurons of each layer (FjORD)",
        ),
        Method("exclude", NO_PRUNING, "the slow clients take no part", excludes=True),
        Method("shorten", NO_PRUNING, "stragglers train the whole model, on fewer batches", shortens=True),
        Method(
            "fluid",
            attrs.evolve(RANDOM, selection=Selection.RANK),
            "the server finds the neurons that change least in single updates (FLuID): insecure, for comparison",
            watches=True,
        ),
        Method("clip-paper", PAPER_POLICY, "CLIP as literally as its paper allows"),
        Method(
            "clip-gaps",
            attrs.evolve(LEVELS, mean=Mean.DILUTE, anonymity_blocks=False),
            "CLIP with scores over the rounds that each client saw: nobody knows who holds what",
            gaps=True,
        ),
        Method("clip-levels", LEVELS, "the least changed by exact scores, the same for all; the holders' mean"),
        Method(
            "clip-rank",
            SPREAD,
            "the least changed, each block its own; stragglers stand in for each other, and kept neurons for pruned ones",
            stand_in=True,
        ),
        Method("clip-size", attrs.evolve(SPREAD, score=Score.SIZE), "the smallest, likewise", stand_in=True),
        Method(
            "clip-draw",
            DRAWN_POLICY,
            "neurons drawn at random in every round, likewise",
            stand_in=True,
        ),
        Method("clip", HARDENED_POLICY, "CLIP as one should deploy it: `clip-rank`", stand_in=True),
    )
}
"""The methods by name, in the order of every table."""

SHIPPED: Final = ("none", "random", "exclude", "clip-paper", "clip")
"""Those that the demo compares."""


OWN: Final = ("stand_in",)
"""What can be changed of a method besides its policy."""


def method(name: str, changes: Sequence[tuple[str, Any]] = ()) -> Method:
    """The method called `name`, its policy with these changes; `PreconditionError` (LAB-1) lists those that exist."""
    if name not in METHODS:
        raise PreconditionError(rule="LAB-1", detail=f"no method {name!r}; there are {', '.join(METHODS)}")
    found, wanted = METHODS[name], dict(changes)
    known = {*OWN, *(field.name for field in attrs.fields(PruningPolicy))}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise PreconditionError(
            rule="LAB-1", detail=f"a method has no {unknown[0]!r}; it has {', '.join(sorted(known))}"
        )
    own = {field: wanted.pop(field) for field in OWN if field in wanted}
    return attrs.evolve(found, policy=attrs.evolve(found.policy, **wanted), **own)
