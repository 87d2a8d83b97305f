"""Random inputs for the operations on layouts.   Spec: layout."""

from collections.abc import Mapping
from random import Random
from typing import Any

from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws


@draws("layout.describe")
def describe(random: Random) -> Mapping[str, Any]:
    """Any layout, now and then a damaged one."""
    layout = common.layout(random)
    return {"layout": common.damaged_layout(random, layout) if common.seldom(random, 5) else layout}


def kept_of(random: Random) -> dict[str, Any]:
    """A layout and kept sets, some of them of a form that is refused."""
    layout = common.layout(random)
    kept = common.kept(random, layout)
    if kept and common.seldom(random, 6):
        name = random.choice(tuple(kept))
        neurons = kept.pop(name)
        how = random.randrange(4)
        if how == 1:
            kept[name] = common.disordered(random, neurons)
        if how == 2:
            kept[name] = random.choice(([], [-1, *neurons], [*neurons, 99]))
        if how == 3:
            kept[f"{name}'"] = neurons
    return {"layout": layout, "kept": kept}


@draws("layout.held")
def held(random: Random) -> Mapping[str, Any]:
    """Any layout, any neurons."""
    return kept_of(random)


@draws("layout.shrunk")
def shrunk(random: Random) -> Mapping[str, Any]:
    """Any layout, any neurons."""
    return kept_of(random)
