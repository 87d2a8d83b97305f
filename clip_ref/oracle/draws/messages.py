"""Random inputs for the operations on messages as values.   Spec: messages."""

from collections.abc import Mapping
from random import Random
from typing import Any

import attrs

from clip_ref.errors import SERVER
from clip_ref.oracle.draws import common, keys
from clip_ref.oracle.operation import draws
from clip_ref.values import ClientId


@draws("messages.check_advertise")
def check_advertise(random: Random) -> Mapping[str, Any]:
    """Good keys and bad ones, seldom one key twice."""
    made = common.bundle(random, common.client_id(random), hardened=bool(random.randrange(2)))
    channel, mask = random.getrandbits(254).to_bytes(32, "little"), random.getrandbits(254).to_bytes(32, "little")
    how = random.randrange(16)
    if how == 0:
        channel = keys.peer_key(random)
    if how == 1:
        mask = keys.peer_key(random)
    if how == 2:
        mask = channel
    return {"bundle": attrs.evolve(made, channel_key=channel, mask_key=mask)}


@draws("messages.check_ids")
def check_ids(random: Random) -> Mapping[str, Any]:
    """Ascending ids; now and then others."""
    ids: list[int] = list(common.client_ids(random))
    if common.seldom(random, 5):
        ids = common.disordered(random, ids)
    if common.seldom(random, 10):
        ids.append(random.choice((SERVER, 2**32)))
    return {"ids": ids}


@draws("messages.roster_digest")
def roster_digest(random: Random) -> Mapping[str, Any]:
    """Up to four clients at either level; seldom one whose id does not fit."""
    hardened = bool(random.randrange(2))
    bundles = [common.bundle(random, u, hardened=hardened) for u in common.client_ids(random, most=4)]
    if bundles and common.seldom(random, 10):
        bundles[-1] = attrs.evolve(bundles[-1], sender=ClientId(2**32))
    return {"bundles": bundles}
