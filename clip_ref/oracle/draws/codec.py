"""Random inputs for the operations of the codec.   Spec: codec."""

from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np

from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws
from clip_ref.params import Encoding
from clip_ref.values import Floats


@draws("codec.weight")
def weight(random: Random) -> Mapping[str, Any]:
    """Any number of examples, now and then none."""
    encoding = common.encoding(random)
    most = encoding.weight_max
    examples = random.choice((1, most, most + 1, 1 + random.getrandbits(random.randint(1, 40))))
    return {"examples": random.choice((0, -1)) if common.seldom(random) else examples, "encoding": encoding}


def _update(random: Random, encoding: Encoding, size: int) -> Floats:
    """Values by the clipping bound, by halves of a step and of any size; now and then one that is not finite."""
    unit = min(encoding.clip, 1e37)
    out = common.floats(random, size, scale=unit)
    for at in range(size):
        if common.seldom(random, 3):
            out[at] = unit / encoding.steps * (random.randint(-9, 9) + 0.5)
    if size and common.seldom(random):
        out[random.randrange(size)] = random.choice((np.nan, np.inf, -np.inf))
    return out


def _weight(random: Random, encoding: Encoding) -> int:
    """A legal weight, seldom one that is not."""
    most = encoding.weight_max
    return (
        random.choice((0, most + 1)) if common.seldom(random, 12) else random.choice((1, most, random.randint(1, most)))
    )


@draws("codec.quantise")
def quantise(random: Random) -> Mapping[str, Any]:
    """Any update."""
    encoding = common.encoding(random)
    return {"update": _update(random, encoding, random.randrange(12)), "encoding": encoding}


@draws("codec.encode")
def encode(random: Random) -> Mapping[str, Any]:
    """Any update of any weight."""
    encoding = common.encoding(random)
    update = _update(random, encoding, random.randrange(12))
    return {"update": update, "weight": _weight(random, encoding), "encoding": encoding}


@draws("codec.encode_scaled")
def encode_scaled(random: Random) -> Mapping[str, Any]:
    """Holders of any weight up to everybody's; nobody holds what has no update, mostly."""
    cap = random.choice((1, 4, 64))
    encoding = common.encoding(random, spread=cap)
    update = _update(random, encoding, random.randrange(8))
    weight = _weight(random, encoding)
    total = random.choice((weight, 3 * weight, random.randint(1, 255) * encoding.weight_max))
    holders = [random.choice((total, total // 2, weight, 2, random.randint(0, total))) for _ in update]
    update[[held == 0 and random.randrange(9) > 0 for held in holders]] = 0
    if common.seldom(random, 16):
        holders = random.choice(([*holders, 1], holders[1:], [-1, *holders[1:]]))
    return {"update": update, "weight": weight, "total": total, "holders": holders, "cap": cap, "encoding": encoding}


@draws("codec.slots")
def slots(random: Random) -> Mapping[str, Any]:
    """Some places, seldom one that is not there or a number that is too large."""
    encoding, length = common.encoding(random), random.randint(1, 9)
    found = {at: random.randint(0, encoding.weight_max) for at in common.some(random, range(length))}
    if common.seldom(random, 6):
        found |= random.choice(({length: 1}, {0: -1}, {0: encoding.weight_max + 1}))
    return {"slots": found, "length": length, "encoding": encoding}


@draws("codec.mean")
def mean(random: Random) -> Mapping[str, Any]:
    """Any sum over any divisors, some of them 0."""
    encoding = common.encoding(random, clip=random.choice((1.0, 0.1, 3.0, 2.0**-60)))
    size = random.randrange(8)
    weight = [random.choice((0, 1, 7, random.getrandbits(40), 2**53 - 1)) for _ in range(size)]
    total = common.ring_vector(random, encoding.ring, size).tobytes()
    if common.seldom(random, 6):
        weight, total = random.choice((([*weight, 1], total), ([-1, *weight], total), (weight, total + b"\x00")))
    return {"total": total, "weight": weight, "encoding": encoding}
