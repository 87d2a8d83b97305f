"""Random inputs for the operations of aggregation.   Spec: aggregation."""

from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np

from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws
from clip_ref.oracle.operations.randomness import ring_of
from clip_ref.params import Mean


@draws("aggregation.add")
def add(random: Random) -> Mapping[str, Any]:
    """Two vectors, now and then of different lengths."""
    bits, size = random.choice((32, 64)), random.randrange(20)
    total, vector = (common.ring_vector(random, ring_of(bits), size).tobytes() for _ in range(2))
    if common.seldom(random, 6):
        vector = common.tampered(random, vector)
    return {"ring_bits": bits, "total": total, "vector": vector}


@draws("aggregation.aggregate")
def aggregate(random: Random) -> Mapping[str, Any]:
    """A sum with weights that can be, now and then with ones that cannot."""
    clip = random.choice((1.0, 0.1, 3.0))
    params = common.params(random, bucket_count=random.choice((1, 3, 9)), clip=clip)
    size, ring, levels = random.randint(1, 8), params.encoding.ring, params.policy.grid
    survivors = random.choice((params.clients, random.randint(1, params.clients)))
    limit, rest = survivors * params.encoding.weight_max, []
    left = random.choice((limit, survivors, random.randint(survivors, limit)))
    for _ in levels[1:]:
        rest.append(random.choice((0, 0, random.randint(0, left))))
        left -= rest[-1]
    slots = [left, *rest]
    counts = [0] * params.buckets
    for _ in range(random.randint(0, survivors) if counts else 0):
        counts[random.randrange(len(counts))] += 1
    how = random.randrange(24)
    if how == 0:
        slots = [random.choice((0, survivors - 1)), *[0] * (len(levels) - 1)]
    if how == 1:
        slots[random.randrange(len(slots))] = random.choice((limit + 1, ring.modulus - 1))
    if how == 2 and counts:
        counts[-1] = survivors + 1
    if how == 6:
        survivors = random.choice((0, params.clients + 1, max(1, survivors - 1)))
    coordinates = common.ring_vector(random, ring, size).tobytes()
    extras = np.array([*slots, *counts], dtype=ring.dtype).tobytes()
    total = coordinates + (common.tampered(random, extras) if how == 3 else extras)
    model = common.floats(random, size)
    if how == 4:
        model[random.randrange(size)] = random.choice((np.nan, np.inf))
    held = {keep: common.bits(random, size) for keep in (common.some(random, levels) if how == 5 else levels)}
    return {"total": total, "model": model, "params": params, "survivors": survivors, "held": held}


@draws("aggregation.holder_weights")
def holder_weights(random: Random) -> Mapping[str, Any]:
    """Up to six clients of any weight, each of which holds anything."""
    clients, size = common.client_ids(random), random.randrange(10)
    weights = {u: random.choice((1, 7, 2**32 - 1)) for u in clients}
    return {"weights": weights, "held": {u: common.bits(random, size) for u in clients}, "size": size}


@draws("aggregation.scaled_among")
def scaled_among(random: Random) -> Mapping[str, Any]:
    """Up to six clients of any weight, some of whom prune; seldom one of whom nothing is known."""
    clients = common.client_ids(random)
    weights = {u: random.choice((1, 7, 2**32 - 1)) for u in clients}
    keep = {u: random.choice((1000, 1000, 750, 1)) for u in clients}
    client = common.client_id(random) if common.seldom(random) or not clients else random.choice(clients)
    if keep and common.seldom(random, 12):
        (keep if random.randrange(2) else weights).pop(random.choice(clients))
    return {"weights": weights, "keep": keep, "client": client, "mean": random.choice((Mean.STRATA, *Mean))}
