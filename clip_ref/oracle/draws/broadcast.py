"""Random inputs for the operations of the broadcast.   Spec: broadcast."""

from collections.abc import Mapping
from random import Random
from typing import Any

import attrs

from clip_ref import keys
from clip_ref.messages import Envelope
from clip_ref.oracle.draws import common
from clip_ref.oracle.draws.keys import channel
from clip_ref.oracle.draws.wire import sealed_record
from clip_ref.oracle.operation import draws


@draws("broadcast.seal")
def seal(random: Random) -> Mapping[str, Any]:
    """An envelope in a clique or on a graph; seldom for oneself, or with shares of another length."""
    known = channel(random)
    del known["purpose"]
    if common.seldom(random, 12):
        known["receiver"] = known["sender"]
    record = None if common.seldom(random, 4) else common.record(random, random.randint(1, 3))
    return {**known, "key_share": common.secret(random), "self_share": common.secret(random), "record": record}


@draws("broadcast.open")
def open_envelope(random: Random) -> Mapping[str, Any]:
    """An envelope as it was delivered; now and then tampered with, or in another channel."""
    known = channel(random)
    lengths = attrs.evolve(common.lengths(random), neighbours=0)
    plain = random.randbytes(random.choice((0, 63, 65)) if common.seldom(random, 24) else 64)
    known.pop("purpose")
    shares = keys.seal(plain, purpose="shares", **known)
    record = keys.seal(sealed_record(random, lengths.levels), purpose="record", **known)
    how = random.randrange(60)
    if how == 0:
        shares = common.tampered(random, shares)
    if how == 1:
        record = common.tampered(random, record)
    if how == 2:
        shares, record = record, shares
    envelope = Envelope(known["sender"], shares, record, random.randbytes(64 * lengths.hardened))
    if how == 3:
        envelope = attrs.evolve(envelope, peer=common.client_id(random))
    if how == 4:
        known["ctx"] = common.block(random)
    if how == 5:
        known["receiver"] = common.client_id(random)
    return {"envelope": envelope, **{name: known[name] for name in ("receiver", "shared", "ctx")}, "lengths": lengths}


@draws("broadcast.slack_entropy")
def slack_entropy(random: Random) -> Mapping[str, Any]:
    """The records of up to five clients in any order; seldom one that does not fit."""
    clients: list[Any] = list(common.client_ids(random, least=1, most=5))
    random.shuffle(clients)
    levels = random.randint(1, 3)
    records = {u: common.record(random, levels) for u in clients}
    if common.seldom(random, 10):
        records[clients[0]] = attrs.evolve(records[clients[0]], mask=2**64)
    return {"records": records, "ctx": common.block(random)}
