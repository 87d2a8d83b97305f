"""Random inputs for the operations of masking.   Spec: masking."""

from collections.abc import Mapping
from random import Random
from typing import Any

from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws
from clip_ref.oracle.operations.randomness import ring_of


def _vector(random: Random, ring_bits: int) -> bytes:
    """A vector over the ring, seldom with a byte that is no element."""
    ring = ring_of(ring_bits)
    whole = common.ring_vector(random, ring, common.length(random, 40)).tobytes()
    return whole + b"\x00" if common.seldom(random, 16) else whole


@draws("masking.mask")
def mask(random: Random) -> Mapping[str, Any]:
    """Any vector, up to four peers; seldom the client itself among them."""
    ring_bits = random.choice((32, 64))
    peers = common.client_ids(random, most=5)
    sender = peers.pop(random.randrange(len(peers))) if peers else common.client_id(random)
    if common.seldom(random, 16):
        peers.append(sender)
    return {
        "ring_bits": ring_bits,
        "update": _vector(random, ring_bits),
        "self_seed": common.block(random),
        "pair_seeds": {u: common.block(random) for u in peers},
        "sender": sender,
    }


@draws("masking.unmask")
def unmask(random: Random) -> Mapping[str, Any]:
    """Any total, some survivors and some who dropped out; seldom one who did both."""
    ring_bits = random.choice((32, 64))
    clients = common.client_ids(random, least=1, most=5)
    gone = common.some(random, clients)
    survivors = [u for u in clients if u not in gone]
    pairs = [(u, v) for u in survivors for v in gone]
    if common.seldom(random, 12):
        pairs.append((clients[0], clients[0]))
    return {
        "ring_bits": ring_bits,
        "total": _vector(random, ring_bits),
        "self_seeds": [common.secret(random) if common.seldom(random, 16) else common.block(random) for _ in survivors],
        "dangling": [(u, v, common.block(random)) for u, v in pairs],
    }
