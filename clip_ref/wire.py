"""Wire: every message as canonical bytes, and back, strictly.   Spec: wire, rules WIR-1..WIR-5.

There is one encoding of each message. The decoder refuses everything else: unknown version or kind, another round, lengths
that the parameters do not allow, ids out of order, trailing bytes.
"""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import attrs
import numpy as np

from clip_ref.canonical import SESSION_BYTES, Reader, RoundContext, Writer, prefixed
from clip_ref.errors import SERVER, PreconditionError, WireError
from clip_ref.keys import KEY_BYTES, SIGNATURE_BYTES, TAG_BYTES
from clip_ref.messages import (
    SHARE_BYTES,
    Advertise,
    Agreed,
    Announce,
    ClientMessage,
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
    check_ascending,
)
from clip_ref.values import ClientId, Digest, Ring, RoundNumber

WIRE_VERSION: Final = 1
"""Changes with every change to the bytes of any message."""

MAGIC: Final = b"CLIP"
_FLOAT: Final = np.dtype("<f4")

HEADER_BYTES: Final = len(MAGIC) + 2 + 1 + SESSION_BYTES + 8 + 4

KINDS: Final[tuple[type[Message], ...]] = (
    Open, Advertise, Roster, ShareKeys, Deliver, MaskedInput, Announce, Consistent, Agreed, Unmask,
    Neighbourhood,
)  # fmt: skip
"""The kinds in the order of the round; the byte on the wire is the index, from 1."""


@attrs.frozen
class Sizes:
    """The lengths that the parameters and the model fix."""

    clients: int
    """n: the largest roster."""

    levels: int
    """|grid|: predictions in a time record."""

    model: int
    """d: weights of the model."""

    vector: int
    """d + extras: ring elements of a masked input."""

    ring: Ring
    """Z_R."""

    hardened: bool = False
    """Whether messages carry commitments and signatures."""

    neighbours: int = 0
    """k on a graph, where bitmaps stand for lists of clients and times are not sent to peers; 0: a clique."""

    @property
    def peers(self) -> int:
        """The most clients that one client exchanges secrets with."""
        return self.neighbours or self.clients - 1

    @property
    def record(self) -> int:
        """The length of an unsealed time record, in bytes."""
        return 3 + 4 * 8 + 8 * self.levels + 4 + 32

    @property
    def sealed_record(self) -> int:
        """The length of a sealed time record, in bytes; on a graph there is none."""
        if self.neighbours:
            return 0
        return self.record + TAG_BYTES

    @property
    def sealed_shares(self) -> int:
        """The length of two sealed shares, in bytes."""
        return 2 * SHARE_BYTES + TAG_BYTES


@lru_cache
def _record_format(levels: int) -> struct.Struct:
    """Three flags, four times, a prediction per level, the weight, the entropy; little-endian, without padding."""
    return struct.Struct(f"<3B4Q{levels}QI32s")


def encode_record(record: TimeRecord) -> bytes:
    """WIR-2: a time record at its fixed width: whatever it says, as long as any other of the same grid."""
    flags = (record.has_time, record.has_model, record.was_straggler)
    times = (record.down, record.select, record.mask, record.up, *record.fit)
    if len(record.entropy) != 32:
        raise PreconditionError(rule="WIR-2", detail=f"a record takes 32 random bytes, got {len(record.entropy)}")
    try:
        return _record_format(len(record.fit)).pack(*flags, *times, record.weight, record.entropy)
    except struct.error as error:
        raise PreconditionError(rule="WIR-2", detail=f"a number does not fit its field: {error}") from None


def decode_record(data: bytes, *, sizes: Sizes, sender: ClientId) -> TimeRecord:
    """The time record in `data`; `WireError` names `sender` for anything that is not its one encoding."""
    if len(data) != sizes.record:
        raise WireError(
            rule="WIR-2", culprit=sender, field="record", detail=f"has {len(data)} bytes, not {sizes.record}"
        )
    *numbers, weight, entropy = _record_format(sizes.levels).unpack(data)
    flags, (down, select, mask, up), fit = numbers[:3], numbers[3:7], tuple(numbers[7:])
    if max(flags) > 1:
        raise WireError(rule="WIR-2", culprit=sender, field="flags", detail=f"must be 0 or 1, got {flags}")
    has_time, has_model, was_straggler = map(bool, flags)
    return TimeRecord(has_time, has_model, was_straggler, down, select, mask, up, fit, weight, entropy)


def _put_open(message: Open, writer: Writer) -> None:
    context = message.context
    for part in (context.config, context.directory, context.model, context.history):
        writer.fixed(part, 32)
    writer.unsigned(context.target, 64)


def _put_if_any(data: bytes, length: int, writer: Writer) -> None:
    """A field that does not exist at level `basic`, where it is empty."""
    writer.fixed(data, length if data else 0)


def _put_advertise(message: Advertise, writer: Writer) -> None:
    writer.fixed(message.channel_key, KEY_BYTES).fixed(message.mask_key, KEY_BYTES)
    for commitment in (message.record_commitment, message.seed_commitment):
        _put_if_any(commitment, 32, writer)


def _put_roster(message: Roster, writer: Writer) -> None:
    writer.unsigned(len(message.bundles), 32)
    for bundle in message.bundles:
        writer.unsigned(bundle.sender, 32)
        _put_advertise(bundle, writer)
        _put_if_any(bundle.signature, SIGNATURE_BYTES, writer)


def _put_neighbourhood(message: Neighbourhood, writer: Writer) -> None:
    writer.unsigned(message.count, 32).fixed(message.root, 32).unsigned(len(message.members), 32)
    for member in message.members:
        writer.unsigned(member.position, 32).unsigned(member.bundle.sender, 32)
        _put_advertise(member.bundle, writer)
        _put_if_any(member.bundle.signature, SIGNATURE_BYTES, writer)
        writer.unsigned(len(member.proof), 8)
        for sibling in member.proof:
            writer.fixed(sibling, 32)


def _put_bits(bits: bytes, writer: Writer) -> None:
    writer.fixed(prefixed(bits), 4 + len(bits))


def _put_envelopes(envelopes: tuple[Envelope, ...], writer: Writer) -> None:
    writer.unsigned(len(envelopes), 32)
    for envelope in envelopes:
        writer.unsigned(envelope.peer, 32)
        for sealed in (envelope.shares, envelope.record):
            writer.fixed(prefixed(sealed), 4 + len(sealed))
        _put_if_any(envelope.commitments, 2 * 32, writer)


def _put_share_keys(message: ShareKeys, writer: Writer) -> None:
    _put_envelopes(message.envelopes, writer)
    _put_if_any(message.own_commitments, 2 * 32, writer)


def _put_deliver(message: Deliver, writer: Writer) -> None:
    _put_envelopes(message.envelopes, writer)
    _put_bits(message.u2, writer)
    writer.array(message.model)


def _put_masked_input(message: MaskedInput, writer: Writer) -> None:
    writer.array(message.vector)


def _put_announce(message: Announce, writer: Writer) -> None:
    writer.unsigned(len(message.survivors), 32)
    for client in message.survivors:
        writer.unsigned(client, 32)
    _put_bits(message.u3, writer)


def _put_consistent(message: Consistent, writer: Writer) -> None:
    writer.fixed(message.statement, 32)


def _put_agreed(message: Agreed, writer: Writer) -> None:
    writer.unsigned(len(message.signatures), 32)
    for client, signature in message.signatures:
        writer.unsigned(client, 32).fixed(signature, SIGNATURE_BYTES)


def _put_unmask(message: Unmask, writer: Writer) -> None:
    for shares in (message.self_shares, message.key_shares):
        writer.unsigned(len(shares), 32)
        for client, share in shares:
            writer.unsigned(client, 32).fixed(share, SHARE_BYTES)


_PUT: Final[dict[type[Message], Callable[..., None]]] = {
    Open: _put_open,
    Advertise: _put_advertise,
    Roster: _put_roster,
    Neighbourhood: _put_neighbourhood,
    ShareKeys: _put_share_keys,
    Deliver: _put_deliver,
    MaskedInput: _put_masked_input,
    Announce: _put_announce,
    Consistent: _put_consistent,
    Agreed: _put_agreed,
    Unmask: _put_unmask,
}


_NUMBER: Final = {kind: number for number, kind in enumerate(KINDS, start=1)}


@lru_cache(maxsize=4096)
def _opening(number: int, header: Header) -> bytes:
    """What every message of this kind, round and sender begins with."""
    writer = Writer().fixed(MAGIC, 4).unsigned(WIRE_VERSION, 16).unsigned(number, 8)
    return writer.fixed(header.session, SESSION_BYTES).unsigned(header.round, 64).unsigned(header.sender, 32).done()


def unsigned(message: Message, header: Header) -> Writer:
    """WIR-1: the canonical bytes of `message`, header first, up to its signature: what that covers."""
    writer = Writer().fixed(_opening(_NUMBER[type(message)], header), HEADER_BYTES)
    _PUT[type(message)](message, writer)
    return writer


def encode(message: Message, header: Header) -> bytes:
    """WIR-1: the canonical bytes of `message`, header first; a client's signature, if it has one, last."""
    writer = unsigned(message, header)
    if isinstance(message, ClientMessage):
        _put_if_any(message.signature, SIGNATURE_BYTES, writer)
    return writer.done()


def _take_open(reader: Reader, header: Header, sizes: Sizes) -> Open:
    names = ("config", "directory", "model", "history")
    config, directory, model, history = (Digest(reader.fixed(32, name)) for name in names)
    target = reader.unsigned(64, "target")
    return Open(RoundContext(header.session, header.round, config, directory, model, history, target))


def _take_advertise(reader: Reader, header: Header, sizes: Sizes) -> Advertise:
    return _take_bundle(reader, ClientId(header.sender), sizes)


def _take_bundle(reader: Reader, sender: ClientId, sizes: Sizes) -> Advertise:
    keys = reader.fixed(KEY_BYTES, "channel_key"), reader.fixed(KEY_BYTES, "mask_key")
    if not sizes.hardened:
        return Advertise(sender, *keys)
    commitments = reader.fixed(32, "record_commitment"), reader.fixed(32, "seed_commitment")
    return Advertise(sender, *keys, *commitments, _take_signature(reader, sizes))


def _take_signature(reader: Reader, sizes: Sizes) -> bytes:
    return reader.fixed(SIGNATURE_BYTES, "signature") if sizes.hardened else b""


def _take_roster(reader: Reader, header: Header, sizes: Sizes) -> Roster:
    count = reader.count(sizes.clients, "bundles")
    bundles = tuple(_take_bundle(reader, reader.client("bundles"), sizes) for _ in range(count))
    check_ascending((b.sender for b in bundles), culprit=reader.culprit, field="bundles", rule="WIR-4", error=WireError)
    return Roster(bundles)


def _take_neighbourhood(reader: Reader, header: Header, sizes: Sizes) -> Neighbourhood:
    count, root = reader.count(sizes.clients, "count"), Digest(reader.fixed(32, "root"))
    members = []
    for _ in range(reader.count(sizes.peers + 1, "members")):
        position = reader.unsigned(32, "position")
        bundle = _take_bundle(reader, reader.client("members"), sizes)
        steps = reader.unsigned(8, "proof")
        members.append(Member(position, bundle, tuple(reader.fixed(32, "proof") for _ in range(steps))))
    check_ascending(
        (m.position for m in members), culprit=reader.culprit, field="members", rule="WIR-4", error=WireError
    )
    return Neighbourhood(count, root, tuple(members))


def _take_bits(reader: Reader, sizes: Sizes, field: str) -> bytes:
    limit = -(-sizes.clients // 8) if sizes.neighbours else 0
    return reader.fixed(reader.count(limit, field), field)


def _take_sealed(reader: Reader, length: int, field: str) -> bytes:
    found = reader.unsigned(32, field)
    if found != length:
        raise reader.refuse(field, f"a ciphertext of {length} bytes is expected, got {found}", limit=True)
    return reader.fixed(length, field)


def _take_envelopes(reader: Reader, sizes: Sizes) -> tuple[Envelope, ...]:
    envelopes = []
    for _ in range(reader.count(sizes.peers, "envelopes")):
        peer = reader.client("envelopes")
        shares = _take_sealed(reader, sizes.sealed_shares, "shares")
        record = _take_sealed(reader, sizes.sealed_record, "record")
        envelopes.append(Envelope(peer, shares, record, _take_commitments(reader, sizes)))
    check_ascending(
        (e.peer for e in envelopes), culprit=reader.culprit, field="envelopes", rule="WIR-4", error=WireError
    )
    return tuple(envelopes)


def _take_commitments(reader: Reader, sizes: Sizes) -> bytes:
    return reader.fixed(2 * 32, "commitments") if sizes.hardened else b""


def _take_share_keys(reader: Reader, header: Header, sizes: Sizes) -> ShareKeys:
    envelopes, own = _take_envelopes(reader, sizes), _take_commitments(reader, sizes)
    return ShareKeys(ClientId(header.sender), envelopes, own, _take_signature(reader, sizes))


def _take_deliver(reader: Reader, header: Header, sizes: Sizes) -> Deliver:
    envelopes = _take_envelopes(reader, sizes)
    u2 = _take_bits(reader, sizes, "u2")
    return Deliver(envelopes, reader.array(_FLOAT, sizes.model, "model"), u2)


def _take_masked_input(reader: Reader, header: Header, sizes: Sizes) -> MaskedInput:
    vector = reader.array(sizes.ring.dtype, sizes.vector, "vector")
    return MaskedInput(ClientId(header.sender), vector, _take_signature(reader, sizes))


def _take_announce(reader: Reader, header: Header, sizes: Sizes) -> Announce:
    count = reader.count(sizes.clients, "survivors")
    survivors = tuple(reader.client("survivors") for _ in range(count))
    check_ascending(survivors, culprit=reader.culprit, field="survivors", rule="WIR-4", error=WireError)
    return Announce(survivors, _take_bits(reader, sizes, "u3"))


def _take_consistent(reader: Reader, header: Header, sizes: Sizes) -> Consistent:
    statement = Digest(reader.fixed(32, "statement"))
    return Consistent(ClientId(header.sender), statement, _take_signature(reader, sizes))


def _take_agreed(reader: Reader, header: Header, sizes: Sizes) -> Agreed:
    count = reader.count(sizes.clients, "signatures")
    signatures = tuple((reader.client("signatures"), reader.fixed(SIGNATURE_BYTES, "signatures")) for _ in range(count))
    check_ascending(
        (u for u, _ in signatures), culprit=reader.culprit, field="signatures", rule="WIR-4", error=WireError
    )
    return Agreed(signatures)


def _take_unmask(reader: Reader, header: Header, sizes: Sizes) -> Unmask:
    lists = []
    for field in ("self_shares", "key_shares"):
        count = reader.count(sizes.clients, field)
        shares = tuple((reader.client(field), reader.fixed(SHARE_BYTES, field)) for _ in range(count))
        check_ascending(
            (client for client, _ in shares), culprit=reader.culprit, field=field, rule="WIR-4", error=WireError
        )
        lists.append(shares)
    return Unmask(ClientId(header.sender), lists[0], lists[1], _take_signature(reader, sizes))


_TAKE: Final[dict[type[Message], Callable[[Reader, Header, Sizes], Message]]] = {
    Open: _take_open,
    Advertise: _take_advertise,
    Roster: _take_roster,
    Neighbourhood: _take_neighbourhood,
    ShareKeys: _take_share_keys,
    Deliver: _take_deliver,
    MaskedInput: _take_masked_input,
    Announce: _take_announce,
    Consistent: _take_consistent,
    Agreed: _take_agreed,
    Unmask: _take_unmask,
}

_FROM_SERVER: Final = (Open, Roster, Neighbourhood, Deliver, Announce, Agreed)


def header(data: bytes) -> Header:
    """The header of a message, unchecked against anything; `WireError` if there is none."""
    reader = Reader(data, rule="WIR-3")
    reader.fixed(len(MAGIC) + 2 + 1, "header")
    return Header(
        reader.fixed(SESSION_BYTES, "session"), RoundNumber(reader.unsigned(64, "round")), reader.unsigned(32, "sender")
    )


def kind_name(data: bytes) -> str:
    """The name of the kind of message that `data` says it is; `WireError` if it says none."""
    reader = Reader(data, rule="WIR-3")
    reader.fixed(len(MAGIC) + 2, "header")
    number = reader.unsigned(8, "kind")
    if not 1 <= number <= len(KINDS):
        raise reader.refuse("kind", f"{number} is none")
    return KINDS[number - 1].__name__


def decode(data: bytes, *, expected: Header, kind: type[Message], sizes: Sizes) -> Message:
    """WIR-3: the message of `kind` in `data`, which the channel says came from `expected.sender`.

    Raises `WireError` that names that sender for anything but the one canonical encoding of such a message of this session
    and round. WIR-4: ids ascend strictly. WIR-5: nothing is allocated on the word of an announced length that the parameters
    do not allow.
    """
    reader = Reader(data, rule="WIR-3", limits="WIR-5", culprit=expected.sender)
    if not reader.passes(_opening(_NUMBER[kind], expected)):
        raise _header_error(reader, kind, expected)
    if (expected.sender == SERVER) != (kind in _FROM_SERVER):
        raise reader.refuse("sender", f"a {kind.__name__} does not come from there")
    message = _TAKE[kind](reader, expected, sizes)
    reader.done()
    return message


def _header_error(reader: Reader, kind: type[Message], expected: Header) -> WireError:
    """What is wrong with a message that does not begin as it should."""
    if reader.fixed(4, "magic") != MAGIC:
        return reader.refuse("magic", "not a message of this protocol")
    if (version := reader.unsigned(16, "version")) != WIRE_VERSION:
        return reader.refuse("version", f"is {version}, this side speaks {WIRE_VERSION}")
    if (found := reader.unsigned(8, "kind")) != _NUMBER[kind]:
        return reader.refuse("kind", f"is {found}, a {kind.__name__} is expected here")
    same = reader.fixed(SESSION_BYTES, "session") == expected.session, reader.unsigned(64, "round") == expected.round
    reader.unsigned(32, "sender")
    field = "sender" if all(same) else "round" if same[0] else "session"
    return reader.refuse(field, "is another one than this message's channel and round have")
