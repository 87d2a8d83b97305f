"""Random inputs for the operations on the wire's bytes.   Spec: wire."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import attrs

from clip_ref import wire
from clip_ref.errors import SERVER
from clip_ref.oracle.draws import common
from clip_ref.oracle.jsontypes import Json, to_json
from clip_ref.oracle.operation import draws
from clip_ref.oracle.operations.randomness import ring_of
from clip_ref.oracle.operations.wire import Bundle, From, Kind, Lengths, message_of
from clip_ref.values import ClientId

FROM_SERVER = (Kind.OPEN, Kind.ROSTER, Kind.DELIVER, Kind.ANNOUNCE, Kind.AGREED, Kind.NEIGHBOURHOOD)
FROM_CLIENTS = (Kind.ADVERTISE, Kind.SHARE_KEYS, Kind.MASKED_INPUT, Kind.CONSISTENT, Kind.UNMASK)

_LISTED = (Kind.ROSTER, Kind.SHARE_KEYS, Kind.DELIVER, Kind.ANNOUNCE, Kind.AGREED, Kind.UNMASK, Kind.NEIGHBOURHOOD)
_LISTS = ("bundles", "envelopes", "survivors", "signatures", "self_shares", "key_shares", "members")


@attrs.frozen
class Sent:
    """A well-formed message with what its receiver knows beforehand."""

    kind: Kind
    """Which fields it has."""

    header: From
    """Where it belongs."""

    fields: Json
    """As JSON."""

    lengths: Lengths
    """What fixes its lengths."""

    def said(self) -> dict[str, Any]:
        """The inputs of an operation that takes the message as a value."""
        return {"kind": self.kind, "header": self.header, "fields": self.fields, "ring_bits": self.lengths.ring_bits}

    def data(self) -> bytes:
        """Its bytes."""
        message = message_of(self.kind, self.fields, self.header, self.lengths.ring_bits)
        return wire.encode(message, self.header.header())


def kinds(lengths: Lengths) -> list[Kind]:
    """The kinds that there are at this level, on a graph or in a clique."""
    missing = {Kind.ROSTER if lengths.neighbours else Kind.NEIGHBOURHOOD}
    if not lengths.hardened:
        missing |= {Kind.CONSISTENT, Kind.AGREED}
    return [kind for kind in Kind if kind not in missing]


def sent(random: Random, kind: Kind | None = None, lengths: Lengths | None = None) -> Sent:
    """A well-formed message of any kind, or of this one, within any lengths, or these."""
    limits = common.lengths(random) if lengths is None else lengths
    which = random.choice(kinds(limits)) if kind is None else kind
    header = common.header(random, server=which in FROM_SERVER)
    return Sent(which, header, _MAKERS[which](random, limits), limits)


def _hex(random: Random, size: int) -> str:
    return random.randbytes(size).hex()


def _signature(random: Random, lengths: Lengths) -> Json:
    return {"signature": _hex(random, 64 * lengths.hardened)}


def _bundle(random: Random, sender: ClientId, lengths: Lengths) -> Json:
    return to_json(common.bundle(random, sender, hardened=lengths.hardened), Bundle)


def _open(random: Random, lengths: Lengths) -> Json:
    names = ("config", "directory", "model", "history")
    return {**{name: common.block(random).hex() for name in names}, "target": str(common.u64(random))}


def _advertise(random: Random, lengths: Lengths) -> Json:
    fields = _bundle(random, ClientId(0), lengths)
    del fields["sender"]
    return fields


def _roster(random: Random, lengths: Lengths) -> Json:
    return {"bundles": [_bundle(random, u, lengths) for u in common.client_ids(random, most=lengths.clients)]}


def _envelopes(random: Random, lengths: Lengths) -> Json:
    sizes = lengths.sizes()
    parts = {"shares": sizes.sealed_shares, "record": sizes.sealed_record, "commitments": 64 * lengths.hardened}
    peers = common.client_ids(random, most=sizes.peers)
    return [{"peer": u, **{name: _hex(random, size) for name, size in parts.items()}} for u in peers]


def _share_keys(random: Random, lengths: Lengths) -> Json:
    own = {"own_commitments": _hex(random, 64 * lengths.hardened)}
    return {"envelopes": _envelopes(random, lengths), **own, **_signature(random, lengths)}


def _bits(random: Random, lengths: Lengths) -> str:
    return _hex(random, random.randint(0, -(-lengths.clients // 8)) if lengths.neighbours else 0)


def _deliver(random: Random, lengths: Lengths) -> Json:
    model = common.floats(random, lengths.model).tobytes().hex()
    return {"envelopes": _envelopes(random, lengths), "model": model, "u2": _bits(random, lengths)}


def _masked_input(random: Random, lengths: Lengths) -> Json:
    vector = common.ring_vector(random, ring_of(lengths.ring_bits), lengths.vector)
    return {"vector": vector.tobytes().hex(), **_signature(random, lengths)}


def _announce(random: Random, lengths: Lengths) -> Json:
    survivors = [] if lengths.neighbours else common.client_ids(random, most=lengths.clients)
    return {"survivors": survivors, "u3": _bits(random, lengths)}


def _consistent(random: Random, lengths: Lengths) -> Json:
    return {"statement": common.block(random).hex(), **_signature(random, lengths)}


def _agreed(random: Random, lengths: Lengths) -> Json:
    return {"signatures": [[u, _hex(random, 64)] for u in common.client_ids(random, most=lengths.clients)]}


def _unmask(random: Random, lengths: Lengths) -> Json:
    clients = common.client_ids(random, most=lengths.clients)
    survivors = common.some(random, clients)
    shares = {u: [u, _hex(random, 32)] for u in clients}
    lists = {
        "self_shares": [shares[u] for u in survivors],
        "key_shares": [shares[u] for u in clients if u not in survivors],
    }
    return {**lists, **_signature(random, lengths)}


def _neighbourhood(random: Random, lengths: Lengths) -> Json:
    count = random.randint(1, lengths.clients)
    positions = sorted(random.sample(range(count), random.randint(0, min(count, lengths.neighbours + 1))))
    ids = common.client_ids(random, least=len(positions), most=len(positions))
    members = [
        {
            "position": position,
            "bundle": _bundle(random, client, lengths),
            "proof": [_hex(random, 32) for _ in range(random.randint(0, (count - 1).bit_length()))],
        }
        for position, client in zip(positions, ids, strict=True)
    ]
    return {"count": count, "root": common.block(random).hex(), "members": members}


_MAKERS: Mapping[Kind, Callable[[Random, Lengths], Json]] = {
    Kind.OPEN: _open,
    Kind.ADVERTISE: _advertise,
    Kind.ROSTER: _roster,
    Kind.SHARE_KEYS: _share_keys,
    Kind.DELIVER: _deliver,
    Kind.MASKED_INPUT: _masked_input,
    Kind.ANNOUNCE: _announce,
    Kind.CONSISTENT: _consistent,
    Kind.AGREED: _agreed,
    Kind.UNMASK: _unmask,
    Kind.NEIGHBOURHOOD: _neighbourhood,
}


def misplaced(random: Random, header: From) -> From:
    """Another header, which differs in one field."""
    how = random.randrange(3)
    if how == 0:
        return attrs.evolve(header, session=random.randbytes(16))
    if how == 1:
        return attrs.evolve(header, round=header.round - 1 or 2)
    return attrs.evolve(header, sender=common.client_id(random) if random.randrange(2) else SERVER)


def _disordered(random: Random, lengths: Lengths) -> Sent:
    """A message with lists, most of them out of order."""
    made = sent(random, random.choice([kind for kind in kinds(lengths) if kind in _LISTED]), lengths)
    lists = {name: common.disordered(random, made.fields[name]) for name in _LISTS if name in made.fields}
    return attrs.evolve(made, fields={**made.fields, **lists})


@draws("wire.encode")
def encode(random: Random) -> Mapping[str, Any]:
    """A message of any kind; seldom with a header or a field that does not fit."""
    inputs = sent(random).said()
    if common.seldom(random):
        wrong = random.choice(({"round": 2**64}, {"round": -1}, {"session": bytes(15)}, {"sender": 2**32}))
        inputs["header"] = attrs.evolve(inputs["header"], **wrong)
    return inputs


@draws("wire.decode")
def decode(random: Random) -> Mapping[str, Any]:
    """The bytes of a message; now and then tampered with, out of place, out of order, or too much for the parameters."""
    made, how = sent(random), random.randrange(24)
    if how == 3:
        made = _disordered(random, made.lengths)
    expected, limits = made.header, made.lengths
    if how == 0:
        expected = misplaced(random, expected)
    if how == 1:
        limits = attrs.evolve(limits, levels=4, model=6, vector=9)
    if how == 2:
        full = attrs.evolve(limits, clients=limits.clients + random.choice((1, 10)))
        made = attrs.evolve(sent(random, made.kind, full), header=expected)
    data = made.data()
    if how == 4:
        data = common.tampered(random, data)
    if how == 5:
        at = random.randrange(len(data))
        data = data[:at] + random.choice((b"\xff" * 4, bytes(4), b"\x01\x00\x00\x00")) + data[at + 4 :]
    return {"data": data, "kind": made.kind, "expected": expected, "lengths": limits}


@draws("wire.encode_record")
def encode_record(random: Random) -> Mapping[str, Any]:
    """Any record, whether it makes sense or not; seldom with a number that does not fit."""
    record = common.record(random, random.randint(1, 4), valid=bool(random.randrange(2)))
    if common.seldom(random):
        wrong = random.choice(({"down": 2**64}, {"up": -1}, {"weight": 2**32}, {"weight": -1}, {"entropy": bytes(31)}))
        record = attrs.evolve(record, **wrong)
    return {"record": record}


def sealed_record(random: Random, levels: int) -> bytes:
    """The bytes of a record; now and then of another length, or with another flag."""
    data = wire.encode_record(common.record(random, levels, valid=bool(random.randrange(2))))
    if common.seldom(random, 12):
        return common.tampered(random, data)
    if common.seldom(random, 16):
        at = random.randrange(3)
        return data[:at] + bytes((random.choice((2, 128, 255)),)) + data[at + 1 :]
    return data


@draws("wire.decode_record")
def decode_record(random: Random) -> Mapping[str, Any]:
    """The bytes of a record, now and then bad ones."""
    lengths = common.lengths(random)
    return {"data": sealed_record(random, lengths.levels), "lengths": lengths, "sender": common.client_id(random)}
