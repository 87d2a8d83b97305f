"""Random inputs for the operations of selection.   Spec: selection."""

from collections.abc import Mapping
from random import Random
from typing import Any

from clip_ref.oracle.draws import common
from clip_ref.oracle.draws.invariance import scores
from clip_ref.oracle.operation import draws
from clip_ref.params import Selection


@draws("selection.ranking")
def ranking(random: Random) -> Mapping[str, Any]:
    """Any scores."""
    return {"scores": scores(random, most=14)}


def _drawn(random: Random) -> dict[str, Any]:
    """A policy, an entropy that is seldom of another length, a round."""
    selection = random.choice((Selection.PAPER, *Selection))
    return {
        "policy": common.policy(random, selection=selection),
        "entropy": common.secret(random),
        "round": random.choice((random.randrange(9), common.u64(random))),
    }


@draws("selection.order")
def order(random: Random) -> Mapping[str, Any]:
    """Any scores under any policy; entropy of another length now and then."""
    return {"scores": scores(random, layer=common.text(random)), **_drawn(random)}


@draws("selection.select")
def select(random: Random) -> Mapping[str, Any]:
    """Up to three layers at any keep level, behind up to three blocks, seldom at a level that there cannot be."""
    layers = [scores(random, layer=f"{k}{common.text(random)}") for k in range(random.randrange(4))]
    keep, *ahead = (_level(random) for _ in range(1 + random.choice((0, 0, 1, 2, 3))))
    return {"scores": layers, "keep": keep, "ahead": ahead, **_drawn(random)}


def _level(random: Random) -> int:
    if common.seldom(random, 12):
        return random.choice((0, 1001))
    return random.choice((1, 999, 1000, 500, 700, random.randint(1, 1000)))
