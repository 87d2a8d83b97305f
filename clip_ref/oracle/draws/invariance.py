"""Random inputs for the operations of invariance.   Spec: invariance."""

from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np

from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws
from clip_ref.oracle.operations.invariance import Scores
from clip_ref.params import Score
from clip_ref.values import Floats


@draws("invariance.quantise")
def quantise(random: Random) -> Mapping[str, Any]:
    """Weights of all sizes, many of them by a half of a unit."""
    scale = random.choice((2.0**-18, 1.0, 300.0))
    return {"weights": common.floats(random, random.randrange(12), scale=scale)}


@draws("invariance.score")
def score(random: Random) -> Mapping[str, Any]:
    """A model and its history, now and then none; for the scores in floats such that no sum is rounded."""
    layout = common.layout(random)
    exact = (Score.L1, Score.SIZE)
    mode = random.choice(exact) if random.randrange(3) else random.choice((Score.MEAN, Score.NORM, Score.MAX))
    if mode in exact:
        history = common.floats(random, layout.size)
        model = history if common.seldom(random) else common.floats(random, layout.size)
    else:
        history = np.array([random.choice((1.0, -0.5, 2.0)) for _ in range(layout.size)], dtype=np.float32)
        part = np.array([random.randint(-64, 64) / 64 for _ in range(layout.size)], dtype=np.float32)
        model = history + history * part
    if common.seldom(random, 6):
        model, history = random.choice(((_damaged(random, model), history), (model, _damaged(random, history))))
    without = not random.randrange(3) if mode is Score.SIZE else common.seldom(random, 16)
    return {"model": model, "history": None if without else history, "layout": layout, "mode": mode}


def _damaged(random: Random, flat: Floats) -> Floats:
    """The numbers with one that is not finite, or with one too few or too many."""
    if random.randrange(2):
        return np.resize(flat, len(flat) + random.choice((-1, 1)))
    out = flat.copy()
    out[random.randrange(len(out))] = random.choice((np.nan, np.inf, -np.inf))
    return out


def scores(random: Random, layer: str = "hidden", most: int = 9) -> Scores:
    """Scores of some neurons: small ones with many ties, or so large that products pass 64 bits."""
    count = random.randint(1, most)
    near = random.choice((1, 3, 2**33, 2**53, 2**61))
    change = [random.choice((0, near, near + random.randrange(3))) for _ in range(count)]
    scale = [random.choice((near, near + random.randrange(3), 1 + random.randrange(near))) for _ in range(count)]
    return Scores(layer, change, scale)


@draws("invariance.invariant")
def invariant(random: Random) -> Mapping[str, Any]:
    """Any scores, often by the threshold."""
    return {"scores_of": scores(random), "threshold": random.choice((0, 1, 500, 999, 1000, 1001, 10_000))}
