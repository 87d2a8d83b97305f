"""Operations on the wire's bytes.   Spec: wire.

A message is given as an object of its kind's fields; `Open`'s context leaves out what the header says.
"""

from enum import StrEnum
from typing import Any

import attrs
import numpy as np

from clip_ref import wire
from clip_ref.canonical import RoundContext
from clip_ref.errors import PreconditionError
from clip_ref.messages import (
    Advertise,
    Agreed,
    Announce,
    Consistent,
    Deliver,
    Envelope,
    Header,
    MaskedInput,
    Member,
    Message,
    Neighbourhood,
    Open,
    Roster,
    ShareKeys,
    TimeRecord,
    Unmask,
)
from clip_ref.oracle.jsontypes import F32s, Json, Wide, from_json, to_json
from clip_ref.oracle.operation import operation
from clip_ref.oracle.operations.randomness import ring_of, vector_of
from clip_ref.values import ClientId, Digest, RoundNumber


class Kind(StrEnum):
    """The kinds of messages, in the order of their numbers."""

    OPEN = "Open"
    ADVERTISE = "Advertise"
    ROSTER = "Roster"
    SHARE_KEYS = "ShareKeys"
    DELIVER = "Deliver"
    MASKED_INPUT = "MaskedInput"
    ANNOUNCE = "Announce"
    CONSISTENT = "Consistent"
    AGREED = "Agreed"
    UNMASK = "Unmask"
    NEIGHBOURHOOD = "Neighbourhood"


@attrs.frozen
class From:
    """A header."""

    session: bytes
    """16 bytes."""

    round: Wide
    """i ≥ 1."""

    sender: int
    """The client's id, or 4294967295 for the server."""

    def header(self) -> Header:
        """As the package has it."""
        return Header(self.session, RoundNumber(self.round), self.sender)


@attrs.frozen
class Lengths:
    """What fixes the lengths of messages."""

    clients: int
    """n."""

    levels: int
    """|grid|."""

    model: int
    """d."""

    vector: int
    """d + extras."""

    ring_bits: int
    """32 or 64."""

    hardened: bool
    """Whether messages carry commitments and signatures."""

    neighbours: int
    """k, or 0 in a clique."""

    def sizes(self) -> wire.Sizes:
        """As the package has it."""
        ring = ring_of(self.ring_bits)
        return wire.Sizes(self.clients, self.levels, self.model, self.vector, ring, self.hardened, self.neighbours)


@attrs.frozen
class Bundle:
    """An `Advertise` with its sender, as a roster lists it."""

    sender: ClientId
    """Whose it is."""

    channel_key: bytes
    """c_u."""

    mask_key: bytes
    """s_u."""

    record_commitment: bytes
    """Empty at `basic`."""

    seed_commitment: bytes
    """Empty at `basic`."""

    signature: bytes
    """Empty at `basic`."""

    def message(self) -> Advertise:
        """As the package has it."""
        return Advertise(**attrs.asdict(self, recurse=False))


_FIELDS: dict[type, dict[str, Any]] = {
    Open: {"config": bytes, "directory": bytes, "model": bytes, "history": bytes, "target": Wide},
    Advertise: {
        "channel_key": bytes,
        "mask_key": bytes,
        "record_commitment": bytes,
        "seed_commitment": bytes,
        "signature": bytes,
    },
    Roster: {"bundles": list[Bundle]},
    ShareKeys: {"envelopes": list[Envelope], "own_commitments": bytes, "signature": bytes},
    Deliver: {"envelopes": list[Envelope], "model": F32s, "u2": bytes},
    MaskedInput: {"vector": bytes, "signature": bytes},
    Announce: {"survivors": list[ClientId], "u3": bytes},
    Consistent: {"statement": bytes, "signature": bytes},
    Agreed: {"signatures": list[tuple[ClientId, bytes]]},
    Unmask: {
        "self_shares": list[tuple[ClientId, bytes]],
        "key_shares": list[tuple[ClientId, bytes]],
        "signature": bytes,
    },
}


@attrs.frozen
class Placed:
    """A member of a neighbourhood."""

    position: int
    """In the roster, from 0."""

    bundle: Bundle
    """Its `Advertise`."""

    proof: list[bytes]
    """The siblings up to the root."""


_FIELDS[Neighbourhood] = {"count": int, "root": bytes, "members": list[Placed]}

Fields = dict[str, Any]
"""A message's fields as JSON: which ones follows from its kind."""


def _bundle(message: Advertise) -> Bundle:
    return Bundle(**attrs.asdict(message, recurse=False))


def message_of(kind: Kind, fields: Json, header: From, ring_bits: int) -> Message:
    """The message of `kind` with these fields."""
    cls = next(k for k in wire.KINDS if k.__name__ == kind)
    hints = _FIELDS[cls]
    if not isinstance(fields, dict) or set(fields) != set(hints):
        raise PreconditionError(rule="CNF-1", detail=f"a {kind} has the fields {', '.join(hints)}")
    found = {name: from_json(fields[name], hint, name=name) for name, hint in hints.items()}
    found = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    if cls is Open:
        config, directory, model, history = (Digest(found[n]) for n in ("config", "directory", "model", "history"))
        here = (header.session, RoundNumber(header.round), config, directory, model, history)
        return Open(RoundContext(*here, found["target"]))
    if cls is Roster:
        return Roster(tuple(b.message() for b in found["bundles"]))
    if cls is Neighbourhood:
        members = tuple(Member(m.position, m.bundle.message(), tuple(m.proof)) for m in found["members"])
        return Neighbourhood(found["count"], Digest(found["root"]), members)
    if cls is MaskedInput:
        found["vector"] = vector_of(found["vector"], ring_bits)
    if "sender" in {field.name for field in attrs.fields(cls)}:
        found["sender"] = ClientId(header.sender)
    return cls(**found)


def fields_of(message: Message) -> Json:
    """A message's fields as JSON."""
    if isinstance(message, Open):
        source: Any = message.context
    elif isinstance(message, Roster):
        return {"bundles": to_json([_bundle(b) for b in message.bundles], list[Bundle])}
    elif isinstance(message, Neighbourhood):
        members = [Placed(m.position, _bundle(m.bundle), list(m.proof)) for m in message.members]
        return {"count": message.count, "root": message.root.hex(), "members": to_json(members, list[Placed])}
    else:
        source = message
    hints = _FIELDS[type(message)]
    values = {name: getattr(source, name) for name in hints}
    values = {name: v.tobytes() if isinstance(v, np.ndarray) and name == "vector" else v for name, v in values.items()}
    return {name: to_json(values[name], hint) for name, hint in hints.items()}


@operation("wire.encode", "WIR-1")
def encode(kind: Kind, header: From, fields: Fields, ring_bits: int) -> bytes:
    """The canonical bytes of a message."""
    return wire.encode(message_of(kind, fields, header, ring_bits), header.header())


@operation("wire.decode", "WIR-3", "WIR-4", "WIR-5")
def decode(data: bytes, kind: Kind, expected: From, lengths: Lengths) -> Fields:
    """The fields of a message that is expected here; refused, with `expected.sender` named, if it is not one."""
    cls = next(k for k in wire.KINDS if k.__name__ == kind)
    message = wire.decode(data, expected=expected.header(), kind=cls, sizes=lengths.sizes())
    return dict(fields_of(message))


@operation("wire.encode_record", "WIR-2")
def encode_record(record: TimeRecord) -> bytes:
    """A time record at its fixed width."""
    return wire.encode_record(record)


@operation("wire.decode_record", "WIR-2")
def decode_record(data: bytes, lengths: Lengths, sender: ClientId) -> TimeRecord:
    """The time record in these bytes; refused, with the sender named, if there is none."""
    return wire.decode_record(data, sizes=lengths.sizes(), sender=sender)
