"""Random inputs for the operations on sub-models.   Spec: submodel."""

from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np

from clip_ref.oracle.draws import common
from clip_ref.oracle.draws.layout import kept_of
from clip_ref.oracle.operation import draws
from clip_ref.oracle.operations.layout import kept_sets


@draws("submodel.extract")
def extract(random: Random) -> Mapping[str, Any]:
    """A model of any layout, now and then of another length."""
    found = kept_of(random)
    size = found["layout"].size + (random.choice((-1, 1)) if common.seldom(random, 12) else 0)
    return {**found, "model": common.floats(random, size)}


@draws("submodel.expand")
def expand(random: Random) -> Mapping[str, Any]:
    """An update of any sub-model, now and then of another length."""
    layout = common.layout(random)
    kept = common.kept(random, layout)
    size = int(np.count_nonzero(layout.held(kept_sets(kept))))
    if common.seldom(random, 6):
        size = random.choice((size - 1, size + 1, layout.size + 1))
    return {"layout": layout, "kept": kept, "delta": common.floats(random, max(0, size))}
