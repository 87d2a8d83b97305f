"""Random inputs for the operations of secret sharing.   Spec: shamir."""

from collections.abc import Mapping
from random import Random
from typing import Any

from clip_ref import shamir
from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws


def _shape(random: Random) -> tuple[int, int]:
    """T and the number of holders: few, seldom as many as there may be."""
    holders = 255 if common.seldom(random, 20) else random.randint(2, 9)
    most = 3 if holders == 255 else holders
    return random.choice((2, random.randint(2, most), most)), holders


@draws("shamir.split")
def split(random: Random) -> Mapping[str, Any]:
    """Of a byte or of many; seldom with a threshold or randomness that is refused."""
    threshold, holders = _shape(random)
    size = random.choice((1, 2, 32)) if holders < 255 else 1
    if common.seldom(random, 10):
        threshold, holders = random.choice(((1, holders), (0, holders), (holders + 1, holders), (2, 256), (-1, 3)))
    length = max(0, threshold - 1) * size
    if common.seldom(random, 10):
        length, size = random.choice(((length + 1, size), (max(0, length - 1), size), (0, 0), (0, size)))
    inputs = {"threshold": threshold, "holders": holders}
    return {"secret": random.randbytes(size), "randomness": random.randbytes(length), **inputs}


def _points(random: Random, least: int = 1) -> list[int]:
    """Distinct holders in any order."""
    return random.sample(range(1, 256), random.randint(least, 9))


@draws("shamir.lagrange")
def lagrange(random: Random) -> Mapping[str, Any]:
    """Any holders; seldom one twice, or one that there is not."""
    points = _points(random)
    if common.seldom(random, 6):
        points.insert(random.randint(0, len(points)), random.choice((0, 256, -1, points[0])))
    return {"points": points}


@draws("shamir.combine")
def combine(random: Random) -> Mapping[str, Any]:
    """Shares that were dealt, or that nobody dealt; seldom too many, too few, or of another length."""
    if random.randrange(2):
        threshold, holders = _shape(random)
        size = random.choice((1, 2, 32)) if holders < 255 else 1
        randomness = random.randbytes((threshold - 1) * size)
        dealt = shamir.split(secret=random.randbytes(size), threshold=threshold, holders=holders, randomness=randomness)
        shares = {x: dealt[x - 1] for x in random.sample(range(1, holders + 1), threshold)}
    else:
        points, size = _points(random, least=2), random.randint(1, 8)
        shares = {x: random.randbytes(size) for x in points}
    threshold = len(shares)
    if common.seldom(random, 6):
        first = next(iter(shares))
        how = random.randrange(3)
        if how == 0:
            threshold += random.choice((-1, 1))
        else:
            shares[first if how == 1 else random.choice((0, 256))] = shares.pop(first) + (b"\x00" if how == 1 else b"")
    return {"shares": shares, "threshold": threshold}
