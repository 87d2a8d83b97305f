"""Random inputs for the operations on parameters.   Spec: parameters."""

from collections.abc import Mapping
from random import Random
from typing import Any

import attrs

from clip_ref.layout import Layout
from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws
from clip_ref.params import Params


def _params(random: Random) -> Params:
    """Valid parameters, or some with one field at its bound or beyond."""
    valid = common.params(random)
    return common.at_bounds(random, valid) if common.seldom(random, 3) else valid


@draws("parameters.derive")
def derive(random: Random) -> Mapping[str, Any]:
    """Valid and invalid parameters."""
    return {"params": _params(random)}


@draws("parameters.thresholds")
def thresholds(random: Random) -> Mapping[str, Any]:
    """Another n and k for parameters whose weights leave room for them."""
    graph = bool(random.randrange(2))
    base = common.params(random, graph=graph, ring_bits=64, value_bits=8)
    base = attrs.evolve(base, encoding=attrs.evolve(base.encoding, weight_max=1))
    neighbours = random.choice((2, 4, 6, 254)) if graph else 0
    clients = random.choice((2, 3, 255, random.randint(2, 255))) + graph * (neighbours + 2)
    if common.seldom(random):
        neighbours, clients = random.choice(
            ((neighbours + graph, clients), (neighbours, 256), (neighbours, neighbours + 1))
        )
    return {"params": base, "clients": clients, "neighbours": neighbours}


@draws("parameters.config")
def config(random: Random) -> Mapping[str, Any]:
    """Parameters and a layout, seldom one of them broken."""
    layout: Layout = common.layout(random)
    if common.seldom(random, 10):
        layout = common.damaged_layout(random, layout)
    return {"params": _params(random), "layout": layout}
