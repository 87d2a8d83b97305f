"""Random inputs for the operations of agreement.   Spec: agreement."""

from collections.abc import Mapping
from random import Random
from typing import Any

import attrs

from clip_ref import agreement
from clip_ref.keys import sign
from clip_ref.messages import Consistent
from clip_ref.oracle.draws import common, keys
from clip_ref.oracle.draws.wire import FROM_CLIENTS, Sent, misplaced, sent
from clip_ref.oracle.operation import draws
from clip_ref.oracle.operations.wire import message_of
from clip_ref.values import ClientId, Digest


@draws("agreement.commit_record")
def commit_record(random: Random) -> Mapping[str, Any]:
    """Any record; seldom one with a number that does not fit."""
    record = common.record(random, random.randint(1, 3), valid=bool(random.randrange(2)))
    if common.seldom(random):
        record = attrs.evolve(record, **random.choice(({"select": 2**64}, {"weight": 2**32}, {"entropy": bytes(33)})))
    return {"record": record, "owner": common.client_id(random), "ctx0": common.block(random)}


@draws("agreement.commit_seed")
def commit_seed(random: Random) -> Mapping[str, Any]:
    """Any b, seldom of another length."""
    return {"seed": common.secret(random), "owner": common.client_id(random), "ctx0": common.block(random)}


@draws("agreement.commit_share")
def commit_share(random: Random) -> Mapping[str, Any]:
    """A share of either secret; seldom of an owner that there cannot be."""
    owner = 2**32 if common.seldom(random, 12) else common.client_id(random)
    known = {"share": common.block(random), "secret": random.choice(("mask key", "self mask"))}
    return {**known, "owner": owner, "holder": common.client_id(random), "ctx": common.block(random)}


def _signed_kind(random: Random) -> Sent:
    lengths = attrs.evolve(common.lengths(random), hardened=True)
    return sent(random, random.choice(FROM_CLIENTS), lengths)


@draws("agreement.statement")
def statement(random: Random) -> Mapping[str, Any]:
    """Of any message of a client; seldom with a header that does not fit."""
    inputs = _signed_kind(random).said()
    if common.seldom(random):
        wrong = random.choice(({"round": 2**64}, {"session": bytes(17)}, {"sender": 2**32}))
        inputs["header"] = attrs.evolve(inputs["header"], **wrong)
    return {**inputs, "context": common.block(random)}


@draws("agreement.check_signature")
def check_signature(random: Random) -> Mapping[str, Any]:
    """A signed message; now and then with a bad signature, in another place or context, or of somebody else."""
    made, context = _signed_kind(random), common.block(random)
    clients = sorted({ClientId(made.header.sender), *common.client_ids(random, most=3)})
    public, secret = keys.directory(random, clients)
    message: Any = message_of(made.kind, made.fields, made.header, made.lengths.ring_bits)
    over = agreement.statement(message=message, header=made.header.header(), context=Digest(context))
    signature = sign(secret=secret[ClientId(made.header.sender)], statement=over)
    header = made.header
    how = random.randrange(20)
    if how == 0:
        signature = keys.bad_signature(random, signature)
    if how == 1:
        header = attrs.evolve(misplaced(random, header), sender=random.choice(clients))
    if how == 2:
        context = common.block(random)
    if how == 3:
        public.pop(ClientId(made.header.sender))
    fields = {**made.fields, "signature": signature.hex()}
    return {**made.said(), "header": header, "fields": fields, "context": context, "directory": public}


@draws("agreement.views")
def views(random: Random) -> Mapping[str, Any]:
    """U2 and some of it, in any order; seldom with an id that does not fit."""
    u2: list[int] = list(common.client_ids(random, most=8))
    u3 = common.some(random, u2)
    random.shuffle(u2)
    random.shuffle(u3)
    if common.seldom(random, 10):
        random.choice((u2, u3)).append(2**32)
    return {"ctx": common.block(random), "u2": u2, "u3": u3}


@draws("agreement.check_agreed")
def check_agreed(random: Random) -> Mapping[str, Any]:
    """Signatures of some of U3; now and then too few, out of order, of strangers, or over something else."""
    u3 = common.client_ids(random, least=2, most=5)
    public, secret = keys.directory(random, u3)
    signers = common.some(random, u3, least=2)
    header, ctx, own = common.header(random, server=True), Digest(common.block(random)), Digest(common.block(random))
    signatures = []
    for u in signers:
        place = attrs.evolve(header, sender=u).header()
        over = agreement.statement(message=Consistent(u, own), header=place, context=ctx)
        signatures.append((u, sign(secret=secret[u], statement=over)))
    threshold = random.randint(2, len(signers))
    how = random.randrange(30)
    if how == 0:
        threshold = len(signers) + 1
    if how == 1:
        signatures = common.disordered(random, signatures)
    if how == 2:
        u3 = u3[1:]
    if how == 3:
        signatures[-1] = signatures[-1][0], keys.bad_signature(random, signatures[-1][1])
    if how == 4:
        own = Digest(common.block(random))
    if how == 5:
        public.pop(random.choice(signers))
    if how == 6:
        header = attrs.evolve(header, session=random.randbytes(16))
    known = {"views": own, "u3": u3, "threshold": threshold, "ctx": ctx, "directory": public, "header": header}
    return {"signatures": signatures, **known}
