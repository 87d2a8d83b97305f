"""Random inputs for the operations of identification.   Spec: identification."""

from collections.abc import Mapping
from random import Random
from typing import Any

import attrs

from clip_ref.messages import TimeRecord
from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws
from clip_ref.params import Params


@draws("identification.elapsed")
def elapsed(random: Random) -> Mapping[str, Any]:
    """Any record, any of its levels."""
    levels = random.randint(1, 4)
    return {"record": common.record(random, levels), "level": random.randrange(levels)}


def _weighed(random: Random, record: TimeRecord, params: Params) -> TimeRecord:
    """The record with a weight that is legal, or only just not."""
    most = params.encoding.weight_max
    return attrs.evolve(record, weight=random.choice((1, most, random.randint(1, most), 0, most + 1)))


@draws("identification.valid")
def valid(random: Random) -> Mapping[str, Any]:
    """A record of this grid or nearly, with predictions in order or not."""
    params = common.params(random)
    levels = len(params.policy.grid) + random.choice((-1, 0, 0, 0, 0, 0, 1))
    record = common.record(random, levels, valid=not common.seldom(random, 4))
    seen = common.at_bounds(random, params) if common.seldom(random) else params
    return {"record": _weighed(random, record, params), "params": seen}


@draws("identification.identify")
def identify(random: Random) -> Mapping[str, Any]:
    """Up to eight clients with times that are close to one another, so that ties and margins are met."""
    params = common.params(random, graph=False)
    unit = random.choice((1, 50, 10**6, 2**53, 2**64 - 1))
    records = {u: _close(random, params, unit) for u in common.client_ids(random, most=8)}
    round = 0 if common.seldom(random, 16) else random.choice((1, 2, 3, 4, 5, 1 + common.u64(random)))
    return {"records": records, "params": params, "round": round}


def _close(random: Random, params: Params, unit: int) -> TimeRecord:
    """A record with times of a few units."""
    levels = len(params.policy.grid)
    fit = sorted((min(2**64 - 1, random.randint(0, 20) * unit) for _ in range(levels)), reverse=True)
    if common.seldom(random):
        random.shuffle(fit)
    down, select, mask, up = (random.choice((0, 0, 1, 9)) * unit for _ in range(4))
    flags = (not common.seldom(random), not common.seldom(random, 5), bool(random.randrange(2)))
    last = 2**64 - 1
    record = TimeRecord(
        *flags, min(last, down), min(last, select), min(last, mask), min(last, up), tuple(fit), 1, bytes(32)
    )
    return _weighed(random, record, params) if common.seldom(random) else record
