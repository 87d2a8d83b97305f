"""Random inputs for the operation of padding.   Spec: padding."""

from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np

from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws


@draws("padding.pad")
def pad(random: Random) -> Mapping[str, Any]:
    """What was coded of any held coordinates, now and then with something that does not fit."""
    params = common.params(random, bucket_count=random.choice((1, 3, 9)))
    held = common.bits(random, random.randrange(12))
    coded = common.ring_vector(random, params.encoding.ring, int(np.count_nonzero(held))).tobytes()
    keep, most = random.choice(params.policy.grid), params.encoding.weight_max
    weight = random.choice((1, most, random.randint(1, most)))
    bucket = random.randrange(params.buckets) if params.buckets and random.randrange(4) else None
    how = random.randrange(36)
    if how == 0:
        coded = common.tampered(random, coded)
    if how == 1:
        coded += bytes(params.encoding.ring.bytes)
    if how == 2:
        keep = random.randint(1, 1000)
    if how == 3:
        weight = random.choice((0, most + 1))
    if how == 4:
        bucket = params.buckets
    if how == 5:
        params = common.at_bounds(random, params)
    return {"coded": coded, "held": held, "keep": keep, "weight": weight, "params": params, "bucket": bucket}
