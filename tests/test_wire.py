"""Wire: every message has one encoding, and the decoder takes nothing else."""

import tracemalloc
from typing import Any

import attrs
import numpy as np
import plain
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from profiles import few

from clip_ref import wire
from clip_ref.canonical import RoundContext
from clip_ref.errors import SERVER, ContributionError, PreconditionError, WireError
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
from clip_ref.oracle.strategies import Sent, client_ids, contexts, digests, sent, sizes, time_records
from clip_ref.values import ClientId, Digest, Ring, RoundNumber
from clip_ref.wire import HEADER_BYTES, KINDS, Sizes, decode, decode_record, encode, encode_record

SESSION = bytes(range(16))
FROM_SERVER, FROM_SEVEN = Header(SESSION, RoundNumber(3), SERVER), Header(SESSION, RoundNumber(3), 7)
SIZES = Sizes(clients=3, levels=2, model=2, vector=3, ring=Ring(bits=32))
HARDENED = attrs.evolve(SIZES, hardened=True)
SEVEN, EIGHT, NINE = (ClientId(u) for u in (7, 8, 9))
KEY_A, KEY_B = b"a" * 32, b"b" * 32
COM_A, COM_B, OWN = b"c" * 32, b"d" * 32, b"o" * 64
SIG_A, SIG_B = b"S" * 64, b"T" * 64
STATEMENT = Digest(b"!" * 32)
SHARES, RECORD = b"s" * 80, b"r" * (3 + 4 * 8 + 2 * 8 + 4 + 32 + 16)
SERVER_KINDS = (Open, Roster, Neighbourhood, Deliver, Announce, Agreed)
GRAPH = attrs.evolve(SIZES, clients=9, neighbours=2)
ROOT = Digest(b"R" * 32)


def _decode(sent: Sent, data: bytes) -> Message:
    return decode(data, expected=sent.header, kind=type(sent.message), sizes=sent.sizes)


def _encode(sent: Sent) -> bytes:
    return encode(sent.message, sent.header)


def _attempt(sent: Sent, data: bytes) -> Message | ContributionError:
    try:
        return _decode(sent, data)
    except ContributionError as error:
        return error


# One encoding of each message


@pytest.mark.rule("WIR-1", "WIR-3")
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_every_message_comes_back(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(sent((kind,)))
    assert _decode(message, _encode(message)) == message.message


def _head(kind: int, sender: int) -> bytes:
    return b"CLIP" + plain.le(1, 2) + bytes([kind]) + SESSION + plain.le(3, 8) + plain.le(sender, 4)


LIST = plain.le(2, 4)
FOUR = tuple(Digest(bytes([k]) * 32) for k in (1, 2, 3, 4))
ENVELOPES = LIST + b"".join(plain.le(u, 4) + plain.prefixed(SHARES) + plain.prefixed(RECORD) for u in (8, 9))
VECTORS: list[tuple[Message, Header, bytes]] = [
    (
        Open(RoundContext(SESSION, RoundNumber(3), FOUR[0], FOUR[1], FOUR[2], FOUR[3], 250_000)),
        FROM_SERVER,
        _head(1, SERVER) + b"".join(FOUR) + plain.le(250_000, 8),
    ),
    (Advertise(SEVEN, KEY_A, KEY_B), FROM_SEVEN, _head(2, 7) + KEY_A + KEY_B),
    (
        Roster((Advertise(SEVEN, KEY_A, KEY_B), Advertise(NINE, KEY_B, KEY_A))),
        FROM_SERVER,
        _head(3, SERVER) + LIST + plain.le(7, 4) + KEY_A + KEY_B + plain.le(9, 4) + KEY_B + KEY_A,
    ),
    (
        ShareKeys(SEVEN, (Envelope(EIGHT, SHARES, RECORD), Envelope(NINE, SHARES, RECORD))),
        FROM_SEVEN,
        _head(4, 7) + ENVELOPES,
    ),
    (
        Deliver((Envelope(EIGHT, SHARES, RECORD), Envelope(NINE, SHARES, RECORD)), np.array([1, -2], dtype=np.float32)),
        FROM_SERVER,
        _head(5, SERVER) + ENVELOPES + plain.le(0, 4) + bytes.fromhex("0000803f000000c0"),
    ),
    (
        MaskedInput(SEVEN, np.array([1, 2, 2**32 - 1], dtype=np.uint32)),
        FROM_SEVEN,
        _head(6, 7) + plain.le(1, 4) + plain.le(2, 4) + b"\xff" * 4,
    ),
    (Announce((SEVEN, NINE)), FROM_SERVER, _head(7, SERVER) + LIST + plain.le(7, 4) + plain.le(9, 4) + plain.le(0, 4)),
    (Consistent(SEVEN, STATEMENT), FROM_SEVEN, _head(8, 7) + STATEMENT),
    (
        Agreed(((SEVEN, SIG_A), (NINE, SIG_B))),
        FROM_SERVER,
        _head(9, SERVER) + LIST + plain.le(7, 4) + SIG_A + plain.le(9, 4) + SIG_B,
    ),
    (
        Unmask(SEVEN, ((SEVEN, KEY_A), (NINE, KEY_B)), ((EIGHT, KEY_B),)),
        FROM_SEVEN,
        _head(10, 7) + LIST + plain.le(7, 4) + KEY_A + plain.le(9, 4) + KEY_B + plain.le(1, 4) + plain.le(8, 4) + KEY_B,
    ),
]
SEALED = plain.prefixed(SHARES) + plain.prefixed(RECORD)
HARDENED_VECTORS: list[tuple[Message, Header, bytes]] = [
    (
        Advertise(SEVEN, KEY_A, KEY_B, COM_A, COM_B, SIG_A),
        FROM_SEVEN,
        _head(2, 7) + KEY_A + KEY_B + COM_A + COM_B + SIG_A,
    ),
    (
        Roster(
            (Advertise(SEVEN, KEY_A, KEY_B, COM_A, COM_B, SIG_A), Advertise(NINE, KEY_B, KEY_A, COM_B, COM_A, SIG_B))
        ),
        FROM_SERVER,
        (_head(3, SERVER) + LIST)
        + (plain.le(7, 4) + KEY_A + KEY_B + COM_A + COM_B + SIG_A)
        + (plain.le(9, 4) + KEY_B + KEY_A + COM_B + COM_A + SIG_B),
    ),
    (
        ShareKeys(SEVEN, (Envelope(EIGHT, SHARES, RECORD, COM_A + COM_B),), OWN, SIG_A),
        FROM_SEVEN,
        _head(4, 7) + plain.le(1, 4) + plain.le(8, 4) + SEALED + COM_A + COM_B + OWN + SIG_A,
    ),
    (
        Deliver((Envelope(EIGHT, SHARES, RECORD, COM_A + COM_B),), np.array([1, -2], dtype=np.float32)),
        FROM_SERVER,
        (_head(5, SERVER) + plain.le(1, 4) + plain.le(8, 4) + SEALED + COM_A + COM_B)
        + (plain.le(0, 4) + bytes.fromhex("0000803f000000c0")),
    ),
    (
        MaskedInput(SEVEN, np.array([1, 2, 3], dtype=np.uint32), SIG_A),
        FROM_SEVEN,
        _head(6, 7) + plain.le(1, 4) + plain.le(2, 4) + plain.le(3, 4) + SIG_A,
    ),
    (Consistent(SEVEN, STATEMENT, SIG_A), FROM_SEVEN, _head(8, 7) + STATEMENT + SIG_A),
    (
        Unmask(SEVEN, (), ((EIGHT, KEY_B),), SIG_A),
        FROM_SEVEN,
        _head(10, 7) + plain.le(0, 4) + plain.le(1, 4) + plain.le(8, 4) + KEY_B + SIG_A,
    ),
]
"""Of the kinds that carry commitments or a signature at security level `hardened`."""
MEMBERS = (Member(0, Advertise(SEVEN, KEY_A, KEY_B), ()), Member(5, Advertise(NINE, KEY_B, KEY_A), (COM_A, COM_B)))
GRAPH_VECTORS: list[tuple[Message, bytes]] = [
    (
        Neighbourhood(6, ROOT, MEMBERS),
        (_head(11, SERVER) + plain.le(6, 4) + ROOT + LIST)
        + (plain.le(0, 4) + plain.le(7, 4) + KEY_A + KEY_B + plain.le(0, 1))
        + (plain.le(5, 4) + plain.le(9, 4) + KEY_B + KEY_A + plain.le(2, 1) + COM_A + COM_B),
    ),
    (
        Deliver((Envelope(EIGHT, SHARES, b""),), np.array([1, -2], dtype=np.float32), b"\x81\x01"),
        (_head(5, SERVER) + plain.le(1, 4) + plain.le(8, 4) + plain.prefixed(SHARES) + plain.le(0, 4))
        + (plain.prefixed(b"\x81\x01") + bytes.fromhex("0000803f000000c0")),
    ),
    (Announce((), b"\x80\x01"), _head(7, SERVER) + plain.le(0, 4) + plain.prefixed(b"\x80\x01")),
]
"""What a graph needs."""


@pytest.mark.rule("WIR-1", "WIR-3")
@pytest.mark.parametrize(("message", "header", "data"), VECTORS)
def test_the_bytes_of_every_message_are_pinned(message: Message, header: Header, data: bytes) -> None:
    assert encode(message, header) == data
    assert decode(data, expected=header, kind=type(message), sizes=SIZES) == message


@pytest.mark.rule("WIR-1", "WIR-3")
@pytest.mark.parametrize(("message", "header", "data"), HARDENED_VECTORS)
def test_the_bytes_of_every_hardened_message_are_pinned(message: Message, header: Header, data: bytes) -> None:
    assert encode(message, header) == data
    assert decode(data, expected=header, kind=type(message), sizes=HARDENED) == message
    with pytest.raises(WireError):
        decode(data, expected=header, kind=type(message), sizes=SIZES)


@pytest.mark.rule("WIR-1", "WIR-3")
@pytest.mark.parametrize(("message", "data"), GRAPH_VECTORS)
def test_the_bytes_of_every_message_on_a_graph_are_pinned(message: Message, data: bytes) -> None:
    assert encode(message, FROM_SERVER) == data
    assert decode(data, expected=FROM_SERVER, kind=type(message), sizes=GRAPH) == message


@pytest.mark.rule("WIR-3", "WIR-4")
def test_what_a_graph_does_not_allow_is_refused() -> None:
    """More members than a neighbourhood has, a longer bitmap than the roster needs, members out of order; and, in a clique,
    any bitmap at all."""
    four = Neighbourhood(9, ROOT, tuple(Member(k, Advertise(ClientId(k), KEY_A, KEY_B), ()) for k in range(4)))
    swapped = Neighbourhood(6, ROOT, MEMBERS[::-1])
    model = np.array([1, -2], dtype=np.float32)
    cases: list[tuple[Message, Sizes, str, str]] = [
        (four, GRAPH, "members", "WIR-5"),
        (Neighbourhood(10, ROOT, MEMBERS), GRAPH, "count", "WIR-5"),
        (swapped, GRAPH, "members", "WIR-4"),
        (Deliver((), model, bytes(3)), GRAPH, "u2", "WIR-5"),
        (Deliver((), model, bytes(1)), SIZES, "u2", "WIR-5"),
        (Announce((), bytes(3)), GRAPH, "u3", "WIR-5"),
        (Announce((), bytes(1)), SIZES, "u3", "WIR-5"),
    ]
    for message, limits, field, rule in cases:
        with pytest.raises(ContributionError) as caught:
            decode(encode(message, FROM_SERVER), expected=FROM_SERVER, kind=type(message), sizes=limits)
        assert (caught.value.rule, caught.value.field, caught.value.culprit) == (rule, field, SERVER)


@pytest.mark.rule("WIR-1")
def test_every_kind_has_a_pinned_vector() -> None:
    assert (*(type(message) for message, _, _ in VECTORS), Neighbourhood) == KINDS
    signed = {kind for kind in KINDS if "signature" in attrs.fields_dict(kind)}
    assert {type(message) for message, _, _ in HARDENED_VECTORS} == signed | {Roster, Deliver}
    assert HEADER_BYTES == len(_head(1, 0)) == 35


@pytest.mark.rule("WIR-1")
def test_64_bit_elements_take_eight_bytes() -> None:
    wide = attrs.evolve(SIZES, ring=Ring(bits=64), vector=2)
    message = MaskedInput(SEVEN, np.array([1, 2**64 - 2], dtype=np.uint64))
    data = encode(message, FROM_SEVEN)
    assert data == _head(6, 7) + plain.le(1, 8) + plain.le(2**64 - 2, 8)
    assert decode(data, expected=FROM_SEVEN, kind=MaskedInput, sizes=wide) == message


@pytest.mark.rule("WIR-1")
@given(message=sent((MaskedInput, Advertise, Open)), other=st.data())
def test_lengths_do_not_depend_on_what_is_said(message: Sent, other: st.DataObject) -> None:
    again = other.draw(sent((type(message.message),)))
    if message.sizes == again.sizes:
        assert len(_encode(message)) == len(_encode(again))
    if isinstance(message.message, MaskedInput):
        words, signature = message.sizes.vector * message.sizes.ring.bytes, 64 * message.sizes.hardened
        assert len(_encode(message)) == HEADER_BYTES + words + signature


# Nothing else is taken


@pytest.mark.rule("WIR-3")
@pytest.mark.parametrize("kind", KINDS)
@few
@given(data=st.data())
def test_every_truncation_is_refused(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(sent((kind,)))
    whole = _encode(message)
    for length in range(len(whole)):
        with pytest.raises(WireError) as caught:
            _decode(message, whole[:length])
        assert (caught.value.rule, caught.value.culprit) == ("WIR-3", message.header.sender)


@pytest.mark.rule("WIR-3")
@pytest.mark.parametrize("kind", KINDS)
@few
@given(data=st.data(), flip=st.integers(1, 255))
def test_every_flipped_byte_is_refused_or_means_just_that(kind: type[Message], data: st.DataObject, flip: int) -> None:
    message = data.draw(sent((kind,)))
    whole = bytearray(_encode(message))
    for at in range(len(whole)):
        whole[at] ^= flip
        found = _attempt(message, bytes(whole))
        if isinstance(found, ContributionError):
            assert found.culprit == message.header.sender
            assert found.rule in ("WIR-3", "WIR-4", "WIR-5")
        else:
            assert at >= HEADER_BYTES
            assert found != message.message
            assert encode(found, message.header) == whole
        whole[at] ^= flip


@pytest.mark.rule("WIR-3")
@given(message=sent(), more=st.binary(min_size=1, max_size=4))
def test_trailing_bytes_are_refused(message: Sent, more: bytes) -> None:
    with pytest.raises(WireError, match=f"{len(more)} bytes follow") as caught:
        _decode(message, _encode(message) + more)
    assert (caught.value.rule, caught.value.field) == ("WIR-3", "end")


@pytest.mark.rule("WIR-3")
@given(junk=st.binary(max_size=100), kind=st.sampled_from(KINDS))
def test_junk_is_refused(junk: bytes, kind: type[Message]) -> None:
    assume(not junk.startswith(b"CLIP"))
    sender = SERVER if kind in SERVER_KINDS else 7
    with pytest.raises(WireError) as caught:
        decode(junk, expected=Header(SESSION, RoundNumber(3), sender), kind=kind, sizes=SIZES)
    assert (caught.value.field, caught.value.culprit) == ("magic", sender)


@pytest.mark.rule("WIR-3")
@pytest.mark.parametrize(
    ("place", "field"),
    [
        (slice(0, 4), "magic"),
        (slice(4, 6), "version"),
        (slice(6, 7), "kind"),
        (slice(7, 23), "session"),
        (slice(23, 31), "round"),
        (slice(31, 35), "sender"),
    ],
)
@given(message=sent(), data=st.data())
def test_a_foreign_header_is_refused(place: slice, field: str, message: Sent, data: st.DataObject) -> None:
    whole = bytearray(_encode(message))
    length = place.stop - place.start
    other = data.draw(st.binary(min_size=length, max_size=length))
    assume(other != whole[place])
    whole[place] = other
    with pytest.raises(WireError) as caught:
        _decode(message, bytes(whole))
    assert (caught.value.rule, caught.value.field) == ("WIR-3", field)
    assert caught.value.culprit == message.header.sender


@pytest.mark.rule("WIR-3")
@given(message=sent(), session=st.binary(min_size=16, max_size=16), number=st.integers(1, 2**64 - 1))
def test_a_message_of_another_session_round_or_sender_is_refused(message: Sent, session: bytes, number: int) -> None:
    others: list[tuple[str, dict[str, Any]]] = [
        ("session", {"session": session}),
        ("round", {"round": RoundNumber(number)}),
        ("sender", {"sender": (message.header.sender + 1) % 2**32}),
    ]
    for field, change in others:
        expected = attrs.evolve(message.header, **change)
        assume(expected != message.header)
        with pytest.raises(WireError) as caught:
            decode(_encode(message), expected=expected, kind=type(message.message), sizes=message.sizes)
        assert (caught.value.field, caught.value.culprit) == (field, expected.sender)


@pytest.mark.rule("WIR-3")
@pytest.mark.parametrize("kind", KINDS)
@few
@given(data=st.data())
def test_a_message_of_another_kind_is_refused(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(sent((kind,)))
    for other in KINDS:
        if other is not kind:
            with pytest.raises(WireError, match=f"a {other.__name__} is expected") as caught:
                decode(_encode(message), expected=message.header, kind=other, sizes=message.sizes)
            assert caught.value.field == "kind"


@pytest.mark.rule("WIR-3")
@given(message=sent(), client=client_ids())
def test_a_message_from_the_wrong_side_is_refused(message: Sent, client: ClientId) -> None:
    """A client cannot speak for the server, nor the server for a client."""
    sender = client if isinstance(message.message, SERVER_KINDS) else SERVER
    header = attrs.evolve(message.header, sender=sender)
    with pytest.raises(WireError, match="does not come from there") as caught:
        decode(encode(message.message, header), expected=header, kind=type(message.message), sizes=message.sizes)
    assert (caught.value.field, caught.value.culprit) == ("sender", sender)


@pytest.mark.rule("WIR-1")
@given(message=sent())
def test_a_message_says_what_it_is(message: Sent) -> None:
    data = _encode(message)
    assert wire.header(data) == message.header
    assert wire.kind_name(data) == type(message.message).__name__
    for length in range(HEADER_BYTES):
        with pytest.raises(WireError):
            wire.header(data[:length])
    for bad in (0, len(KINDS) + 1, 255):
        with pytest.raises(WireError, match=f"{bad} is none"):
            wire.kind_name(data[:6] + bytes([bad]))


# Lists

COUNTS: list[tuple[type[Message], str, int, bytes]] = [
    (Roster, "bundles", 3, b""),
    (ShareKeys, "envelopes", 2, b""),
    (Deliver, "envelopes", 2, b""),
    (Announce, "survivors", 3, b""),
    (Agreed, "signatures", 3, b""),
    (Unmask, "self_shares", 3, b""),
    (Unmask, "key_shares", 3, plain.le(0, 4)),
]


@pytest.mark.rule("WIR-5")
@pytest.mark.parametrize(("kind", "field", "limit", "before"), COUNTS)
@pytest.mark.parametrize("count", [None, 2**31, 2**32 - 1])
def test_too_many_entries_are_refused_before_anything_is_allocated(
    kind: type[Message], field: str, limit: int, before: bytes, count: int | None
) -> None:
    header = FROM_SERVER if kind in SERVER_KINDS else FROM_SEVEN
    announced = limit + 1 if count is None else count
    head = _head(KINDS.index(kind) + 1, header.sender) + before
    body = bytes(10_000)
    data = head + plain.le(announced, 4) + body
    expected = pytest.raises(WireError, match=f"announces {announced} entries, at most {limit}")  # compiled before
    with expected as caught:
        tracemalloc.start()
        try:
            decode(data, expected=header, kind=kind, sizes=SIZES)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert (caught.value.rule, caught.value.field) == ("WIR-5", field)
    assert peak < 10_000


def _swap(message: Message) -> list[tuple[Message, str]]:
    """The message with a list turned round, and with an entry twice."""
    match message:
        case Roster(bundles):
            return [(Roster(each), "bundles") for each in (bundles[::-1], bundles[:1] * 2)]
        case ShareKeys(sender, envelopes):
            return [(ShareKeys(sender, each), "envelopes") for each in (envelopes[::-1], envelopes[:1] * 2)]
        case Agreed(signatures):
            return [(Agreed(each), "signatures") for each in (signatures[::-1], signatures[:1] * 2)]
        case Deliver(envelopes, model):
            return [(Deliver(each, model), "envelopes") for each in (envelopes[::-1], envelopes[:1] * 2)]
        case Announce(survivors):
            return [(Announce(each), "survivors") for each in (survivors[::-1], survivors[:1] * 2)]
        case Unmask(sender, self_shares, key_shares):
            return [
                (Unmask(sender, self_shares[::-1], key_shares), "self_shares"),
                (Unmask(sender, self_shares[:1] * 2, key_shares), "self_shares"),
                (Unmask(sender, (), key_shares * 2), "key_shares"),
            ]
        case _:
            return []


@pytest.mark.rule("WIR-4")
@pytest.mark.parametrize(("message", "header", "_data"), VECTORS)
def test_ids_out_of_order_are_refused(message: Message, header: Header, _data: bytes) -> None:
    for bad, field in _swap(message):
        with pytest.raises(WireError, match="must ascend strictly") as caught:
            decode(encode(bad, header), expected=header, kind=type(bad), sizes=SIZES)
        assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("WIR-4", header.sender, field)


@pytest.mark.rule("WIR-3", "WIR-4")
def test_the_server_is_nobodys_peer() -> None:
    ghost = ClientId(SERVER)
    bad: list[tuple[Message, Header, str]] = [
        (Roster((Advertise(ghost, KEY_A, KEY_B),)), FROM_SERVER, "bundles"),
        (ShareKeys(SEVEN, (Envelope(ghost, SHARES, RECORD),)), FROM_SEVEN, "envelopes"),
        (Announce((SEVEN, ghost)), FROM_SERVER, "survivors"),
        (Agreed(((ghost, SIG_A),)), FROM_SERVER, "signatures"),
        (Unmask(SEVEN, ((ghost, KEY_A),), ()), FROM_SEVEN, "self_shares"),
        (Unmask(SEVEN, (), ((ghost, KEY_A),)), FROM_SEVEN, "key_shares"),
    ]
    for message, header, field in bad:
        with pytest.raises(WireError, match="the server's id") as caught:
            decode(encode(message, header), expected=header, kind=type(message), sizes=SIZES)
        assert (caught.value.culprit, caught.value.field) == (header.sender, field)


@pytest.mark.rule("WIR-5")
@pytest.mark.parametrize(
    ("shares", "record", "field"),
    [(SHARES[1:], RECORD, "shares"), (SHARES + b"s", RECORD, "shares"), (b"", RECORD, "shares"),
     (SHARES, RECORD[1:], "record"), (SHARES, RECORD + b"r", "record"), (SHARES, b"", "record")],
)  # fmt: skip
def test_a_ciphertext_of_another_length_is_refused(shares: bytes, record: bytes, field: str) -> None:
    message = ShareKeys(SEVEN, (Envelope(EIGHT, shares, record),))
    with pytest.raises(WireError, match="is expected, got") as caught:
        decode(encode(message, FROM_SEVEN), expected=FROM_SEVEN, kind=ShareKeys, sizes=SIZES)
    assert (caught.value.rule, caught.value.field) == ("WIR-5", field)


# Time records


@pytest.mark.rule("WIR-2")
@given(data=st.data(), limits=sizes(), sender=client_ids())
def test_a_record_comes_back_at_its_fixed_width(data: st.DataObject, limits: Sizes, sender: ClientId) -> None:
    record = data.draw(time_records(limits.levels, valid=False))
    coded = encode_record(record)
    assert len(coded) == limits.record == 71 + 8 * limits.levels
    assert limits.sealed_record == (0 if limits.neighbours else limits.record + 16)
    assert limits.sealed_shares == 80
    assert decode_record(coded, sizes=limits, sender=sender) == record


@pytest.mark.rule("WIR-2")
def test_the_bytes_of_a_record_are_pinned() -> None:
    record = TimeRecord(True, False, True, 1, 2, 3, 2**64 - 1, (5, 4), 600, b"e" * 32)
    coded = encode_record(record)
    times = b"".join(plain.le(t, 8) for t in (1, 2, 3, 2**64 - 1, 5, 4))
    assert coded == b"\x01\x00\x01" + times + plain.le(600, 4) + b"e" * 32


@pytest.mark.rule("WIR-2")
@few
@given(record=time_records(2), flip=st.integers(1, 255), more=st.binary(min_size=1, max_size=9))
def test_a_record_has_one_encoding(record: TimeRecord, flip: int, more: bytes) -> None:
    coded = bytearray(encode_record(record))
    for bad in (*(bytes(coded[:length]) for length in range(len(coded))), bytes(coded) + more):
        with pytest.raises(WireError) as caught:
            decode_record(bad, sizes=SIZES, sender=SEVEN)
        assert (caught.value.rule, caught.value.culprit) == ("WIR-2", 7)
    for at in range(3, len(coded)):
        coded[at] ^= flip
        found = decode_record(bytes(coded), sizes=SIZES, sender=SEVEN)
        assert found != record
        assert encode_record(found) == coded
        coded[at] ^= flip


@pytest.mark.rule("WIR-2")
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("flag", [2, 3, 128, 255])
def test_a_flag_is_0_or_1(at: int, flag: int) -> None:
    coded = bytearray(encode_record(TimeRecord(True, True, False, 1, 2, 3, 4, (6, 5), 7, bytes(32))))
    coded[at] = flag
    with pytest.raises(WireError, match="0 or 1") as caught:
        decode_record(bytes(coded), sizes=SIZES, sender=SEVEN)
    assert (caught.value.rule, caught.value.culprit) == ("WIR-2", 7)


@pytest.mark.rule("WIR-2")
@pytest.mark.parametrize(
    "change",
    [{"down": -1}, {"up": 2**64}, {"fit": (1, 2**64)}, {"fit": (-1,)}, {"weight": 2**32}, {"weight": -1},
     {"entropy": bytes(31)}, {"entropy": bytes(33)}],
)  # fmt: skip
def test_a_record_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    record = TimeRecord(True, True, False, 1, 2, 3, 4, (6, 5), 7, bytes(32))
    with pytest.raises(PreconditionError) as caught:
        encode_record(attrs.evolve(record, **change))
    assert caught.value.rule == "WIR-2"


# What the caller may not ask for


@pytest.mark.rule("CTX-1")
@given(context=contexts(), blob=st.binary(max_size=40), digest=digests())
def test_fields_of_another_length_are_not_encoded(context: RoundContext, blob: bytes, digest: Digest) -> None:
    assume(len(blob) not in (16, 31, 32))
    header = Header(context.session, context.round, 7)
    bad: list[tuple[Message, Header]] = [
        (Advertise(SEVEN, blob, KEY_A), header),
        (Advertise(SEVEN, KEY_A, blob), header),
        (Unmask(SEVEN, ((SEVEN, blob),), ()), header),
        (Consistent(SEVEN, digest, blob + b"."), header),
        (ShareKeys(SEVEN, (), blob + b"."), header),
        (Advertise(SEVEN, KEY_A, KEY_B, blob + b"."), header),
        (Open(attrs.evolve(context, model=Digest(blob))), attrs.evolve(header, sender=SERVER)),
        (Open(attrs.evolve(context, config=digest)), attrs.evolve(header, session=blob)),
        (Announce((SEVEN,)), attrs.evolve(header, sender=2**32)),
    ]
    for message, head in bad:
        with pytest.raises(PreconditionError) as caught:
            encode(message, head)
        assert caught.value.rule == "CTX-1"
