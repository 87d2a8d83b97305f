"""Random inputs for the operations on deterministic randomness.   Spec: randomness."""

from collections.abc import Mapping
from random import Random
from typing import Any

from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws
from clip_ref.oracle.operations.randomness import ring_of


@draws("randomness.derive")
def derive(random: Random) -> Mapping[str, Any]:
    """Any secret, salt and ids; seldom an id or a length that is refused."""
    ids: list[int] = [common.client_id(random) for _ in range(random.randrange(4))]
    if common.seldom(random, 10):
        ids.append(random.choice((-1, 2**32)))
    length = random.choice((0, 8161, 10_000)) if common.seldom(random, 12) else 1 + common.length(random, 99)
    secret, salt = common.data(random, 100), common.data(random, 100)
    return {"secret": secret, "salt": salt, "purpose": common.text(random), "ids": ids, "length": length}


@draws("randomness.bytes")
def random_bytes(random: Random) -> Mapping[str, Any]:
    """Up to a few blocks."""
    return {"seed": common.secret(random), "length": common.length(random, 200)}


@draws("randomness.mask")
def mask(random: Random) -> Mapping[str, Any]:
    """Up to a few blocks of either ring."""
    return {"seed": common.secret(random), "ring_bits": random.choice((32, 64)), "length": common.length(random)}


@draws("randomness.accumulate")
def accumulate(random: Random) -> Mapping[str, Any]:
    """Up to six masks; seldom a target that is no vector."""
    bits = random.choice((32, 64))
    target = common.ring_vector(random, ring_of(bits), common.length(random, 40)).tobytes()
    if common.seldom(random, 10):
        target += random.randbytes(random.randint(1, bits // 8 - 1))
    plus, minus = ([common.block(random) for _ in range(random.randrange(4))] for _ in range(2))
    if common.seldom(random, 10):
        plus.append(random.randbytes(31))
    if plus and common.seldom(random):
        minus.append(random.choice(plus))
    return {"ring_bits": bits, "target": target, "plus": plus, "minus": minus}


@draws("randomness.permutation")
def permutation(random: Random) -> Mapping[str, Any]:
    """Of up to fifty; seldom by entropy of another length."""
    length = random.choice((-1, 2**31)) if common.seldom(random, 12) else random.randrange(50)
    return {"entropy": common.secret(random), "purpose": common.text(random), "length": length}
