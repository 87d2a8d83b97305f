"""Cases of the wire.   Spec: wire."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import attrs

from clip_ref import wire
from clip_ref.errors import SERVER
from clip_ref.messages import TimeRecord
from clip_ref.oracle.case import Book
from clip_ref.oracle.jsontypes import Json
from clip_ref.oracle.operations.wire import From, Kind, Lengths, message_of
from clip_ref.values import ClientId

LAST: Final = SERVER - 1

BASIC: Final = Lengths(clients=3, levels=2, model=2, vector=4, ring_bits=32, hardened=False, neighbours=0)
HARDENED: Final = attrs.evolve(BASIC, hardened=True)
GRAPH: Final = Lengths(clients=9, levels=2, model=2, vector=5, ring_bits=32, hardened=False, neighbours=2)

FROM_SERVER: Final = (Kind.OPEN, Kind.ROSTER, Kind.DELIVER, Kind.ANNOUNCE, Kind.AGREED, Kind.NEIGHBOURHOOD)

Bytes = Callable[[str, int], bytes]
"""A book's bytes for a field."""


@attrs.frozen
class Sent:
    """A message with what its receiver knows beforehand."""

    kind: Kind
    header: From
    fields: Json
    lengths: Lengths

    @property
    def said(self) -> dict[str, Any]:
        """The inputs of an operation that takes the message as a value."""
        return {"kind": self.kind, "header": self.header, "fields": self.fields, "ring_bits": self.lengths.ring_bits}

    def data(self) -> bytes:
        """Its bytes."""
        message = message_of(self.kind, self.fields, self.header, self.lengths.ring_bits)
        return wire.encode(message, self.header.header())

    def having(self, **fields: Json) -> "Sent":
        """The message with other fields."""
        return attrs.evolve(self, fields={**self.fields, **fields})


def bundle(take: Bytes, sender: int, hardened: bool) -> Json:
    """An `Advertise` as a roster lists it."""
    return {"sender": sender, **advertise(take, f" of {sender}", hardened)}


def advertise(take: Bytes, whose: str, hardened: bool) -> Json:
    """The fields of an `Advertise`."""
    names = {"record_commitment": 32, "seed_commitment": 32, "signature": 64}
    keys = {name: take(name + whose, 32).hex() for name in ("channel_key", "mask_key")}
    return {**keys, **{name: take(name + whose, size * hardened).hex() for name, size in names.items()}}


def envelope(take: Bytes, peer: int, lengths: Lengths) -> Json:
    """Sealed bytes of the right lengths."""
    sizes = lengths.sizes()
    parts = {"shares": sizes.sealed_shares, "record": sizes.sealed_record, "commitments": 64 * lengths.hardened}
    return {"peer": peer, **{name: take(f"{name} of {peer}", size).hex() for name, size in parts.items()}}


def sample(book: Book, kind: Kind, lengths: Lengths = BASIC) -> Sent:
    """A message of the kind, whose bytes are those of the next case."""
    take, signed = book.bytes, 64 * lengths.hardened
    graph = bool(lengths.neighbours)
    header = From(take("session", 16), 3, SERVER if kind in FROM_SERVER else 7)
    signature = {"signature": take("signature", signed).hex()}
    bits = take("bits", 2).hex() if graph else ""
    fields: Mapping[Kind, Callable[[], Json]] = {
        Kind.OPEN: lambda: {
            **{name: take(name, 32).hex() for name in ("config", "directory", "model", "history")},
            "target": "250000" if graph else "0",
        },
        Kind.ADVERTISE: lambda: advertise(take, "", lengths.hardened),
        Kind.ROSTER: lambda: {"bundles": [bundle(take, u, lengths.hardened) for u in (1, 7, 300)]},
        Kind.SHARE_KEYS: lambda: {
            "envelopes": [envelope(take, u, lengths) for u in (1, 300)],
            "own_commitments": take("own commitments", signed).hex(),
            **signature,
        },
        Kind.DELIVER: lambda: {
            "envelopes": [envelope(take, u, lengths) for u in (1, 300)],
            "model": "0000803f000000c0",
            "u2": bits,
        },
        Kind.MASKED_INPUT: lambda: {
            "vector": take("vector", lengths.vector * lengths.ring_bits // 8).hex(),
            **signature,
        },
        Kind.ANNOUNCE: lambda: {"survivors": [] if graph else [1, 7], "u3": bits},
        Kind.CONSISTENT: lambda: {"statement": take("statement", 32).hex(), **signature},
        Kind.AGREED: lambda: {"signatures": [[u, take(f"signature of {u}", 64).hex()] for u in (1, 7)]},
        Kind.UNMASK: lambda: {
            "self_shares": [[u, take(f"share of {u}", 32).hex()] for u in (1, 7)],
            "key_shares": [[u, take(f"share of {u}", 32).hex()] for u in (300,)],
            **signature,
        },
        Kind.NEIGHBOURHOOD: lambda: {
            "count": 6,
            "root": take("root", 32).hex(),
            "members": [
                {
                    "position": position,
                    "bundle": bundle(take, 100 * position, lengths.hardened),
                    "proof": [take(f"sibling {k} of {position}", 32).hex() for k in range(siblings)],
                }
                for position, siblings in ((0, 3), (2, 0), (5, 1))
            ],
        },
    }
    return Sent(kind, header, fields[kind](), lengths)


def make(book: Book) -> None:
    """Bytes of every kind, then time records, then what a decoder takes and what it refuses."""
    _encoded(book)
    _not_encoded(book)
    _records(book)
    _decoded(book)
    _headers(book)
    _ends(book)
    _orders(book)
    _counts(book)


def _settings(kind: Kind) -> list[tuple[str, Lengths]]:
    """The settings in which a kind has bytes of its own."""
    at_hardened = ("at hardened", HARDENED)
    on_graph = ("on a graph", GRAPH)
    both = ("on a graph, at hardened", attrs.evolve(GRAPH, hardened=True))
    if kind in (Kind.CONSISTENT, Kind.AGREED):
        return [at_hardened]
    if kind is Kind.NEIGHBOURHOOD:
        return [on_graph, both]
    plain = [("at basic", BASIC)]
    if kind in (Kind.OPEN, Kind.ANNOUNCE):
        return [*plain, on_graph]
    if kind in (Kind.SHARE_KEYS, Kind.DELIVER):
        return [*plain, at_hardened, on_graph, both]
    return [*plain, at_hardened]


def _edges(book: Book) -> list[tuple[str, Callable[[], Sent], tuple[str, ...]]]:
    """Messages at the bounds of their fields."""

    def wide() -> Sent:
        return sample(book, Kind.MASKED_INPUT, attrs.evolve(BASIC, ring_bits=64))

    def late(kind: Kind, sender: int) -> Sent:
        return attrs.evolve(sample(book, kind), header=From(book.bytes("session", 16), 2**64 - 1, sender))

    def ends() -> Sent:
        vector = "00000000ffffffffffffff7f00000080"
        return sample(book, Kind.MASKED_INPUT).having(vector=vector)

    return [
        ("ring elements of 64 bits", wide, ("RingWidthFixed",)),
        ("ring elements at their ends: 0, R − 1, R/2 − 1, R/2", ends, ("ElementsSigned",)),
        ("the last round, from the client with the largest id", lambda: late(Kind.ADVERTISE, LAST), ("IntegersAsDoubles",)),
        ("from the client with id 0", lambda: late(Kind.UNMASK, 0), ()),
        ("the largest target", lambda: sample(book, Kind.OPEN).having(target=str(2**64 - 1)), ("IntegersAsDoubles",)),
        ("an empty roster", lambda: sample(book, Kind.ROSTER).having(bundles=[]), ("EmptyListLeftOut",)),
        ("nobody's envelopes", lambda: sample(book, Kind.SHARE_KEYS).having(envelopes=[]), ("EmptyListLeftOut",)),
        ("nobody survived", lambda: sample(book, Kind.ANNOUNCE).having(survivors=[]), ("EmptyListLeftOut",)),
        ("no share of either kind",
         lambda: sample(book, Kind.UNMASK).having(self_shares=[], key_shares=[]), ("EmptyListLeftOut",)),
        ("nobody dropped out", lambda: sample(book, Kind.UNMASK).having(key_shares=[]), ("EmptyListLeftOut",)),
        ("ids at both ends", lambda: sample(book, Kind.ANNOUNCE).having(survivors=[0, 255, LAST]), ("IdsSigned",)),
        ("weights that are zero, minus zero or subnormal",
         lambda: sample(book, Kind.DELIVER).having(model="0000008001000080"), ("SubnormalsFlushed", "ZerosAlike")),
        ("a bitmap of no bytes on a graph", lambda: sample(book, Kind.ANNOUNCE, GRAPH).having(u3=""), ()),
    ]  # fmt: skip


def _encoded(book: Book) -> None:
    def encode(comment: str, sent: Sent, flags: tuple[str, ...] = ()) -> None:
        book.valid("wire.encode", "WIR-1", "CTX-1", comment=comment, flags=flags, **sent.said)

    big = ("BigEndianHeader",)
    graph = ("BitmapWithoutLength",)
    own: dict[Kind, tuple[str, ...]] = {
        Kind.OPEN: (*big, "TargetLeftOut"),
        Kind.ROSTER: ("CountLeftOut", "BigEndianCounts"),
        Kind.SHARE_KEYS: ("CiphertextWithoutLength",),
        Kind.DELIVER: ("BigEndianWeights",),
        Kind.MASKED_INPUT: ("SignatureFirst",),
        Kind.UNMASK: ("ShareListsSwapped",),
    }
    for kind in Kind:
        for where, lengths in _settings(kind):
            flags = (
                own.get(kind, ())
                if lengths in (BASIC, HARDENED)
                else graph
                if kind in (Kind.DELIVER, Kind.ANNOUNCE)
                else ()
            )
            flags = tuple(flag for flag in flags if flag != "SignatureFirst" or lengths.hardened)
            encode(f"`{kind}` {where}", sample(book, kind, lengths), flags)
    for comment, sent, flags in _edges(book):
        encode(comment, sent(), flags)


def _not_encoded(book: Book) -> None:
    def refused(comment: str, sent: Sent, rule: str = "CTX-1", flag: str = "FieldWidthsUnchecked") -> None:
        said = dict.fromkeys((rule, "WIR-1"))
        book.invalid("wire.encode", *said, comment=comment, flags=(flag,), **sent.said)

    def other(kind: Kind, **header: Any) -> Sent:
        made = sample(book, kind)
        return attrs.evolve(made, header=attrs.evolve(made.header, **header))

    refused("a round that does not fit", other(Kind.ADVERTISE, round=2**64), flag="IntegersWrap")
    refused("a sender that does not fit", other(Kind.ADVERTISE, sender=2**32), flag="IntegersWrap")
    refused("a session of 15 bytes", other(Kind.ADVERTISE, session=bytes(15)))
    refused("a session of 17 bytes, for `Open`", other(Kind.OPEN, session=bytes(17)), "CTX-3", "SessionUnchecked")
    refused("a target that does not fit", sample(book, Kind.OPEN).having(target=str(2**64)), flag="IntegersWrap")
    refused("a digest of 31 bytes", sample(book, Kind.OPEN).having(config="00" * 31))
    refused("a key of 31 bytes", sample(book, Kind.ADVERTISE).having(channel_key="09" * 31))
    refused("an id that does not fit", sample(book, Kind.ANNOUNCE).having(survivors=[2**32]), flag="IntegersWrap")
    refused("a share of 33 bytes", sample(book, Kind.UNMASK).having(key_shares=[[1, "00" * 33]]))
    refused("a signature of 63 bytes", sample(book, Kind.AGREED, HARDENED).having(signatures=[[1, "00" * 63]]))
    refused(
        "bytes that are no elements",
        sample(book, Kind.MASKED_INPUT).having(vector="00" * 15),
        "MSK-1",
        "PartialElements",
    )


def record(book: Book, levels: int = 2, **others: Any) -> TimeRecord:
    """A time record whose fields all differ."""
    fields: dict[str, Any] = {
        "has_time": True,
        "has_model": True,
        "was_straggler": False,
        "down": 1_001,
        "select": 202,
        "mask": 3_003,
        "up": 4_000_004,
        "fit": tuple(9_000_000 - 1_000 * k for k in range(levels)),
        "weight": 64,
        "entropy": book.bytes("entropy"),
    }
    return TimeRecord(**{**fields, **others})


def _records(book: Book) -> None:
    most = 2**64 - 1

    def both(comment: str, flags: tuple[str, ...] = (), levels: int = 2, **others: Any) -> None:
        made = record(book, levels, **others)
        rules = ("WIR-2", "CTX-1")
        book.valid("wire.encode_record", *rules, comment=comment, flags=flags, record=made)
        data = wire.encode_record(made)
        inputs = {"data": data, "lengths": attrs.evolve(BASIC, levels=levels), "sender": ClientId(7)}
        book.valid("wire.decode_record", *rules, comment=f"{comment}, back", flags=flags, **inputs)

    both("a record of two levels", ("BigEndianRecord", "RecordFieldsSwapped"))
    both("each flag the other way round", ("FlagsInOneByte",), has_time=False, has_model=False, was_straggler=True)
    both(
        "every number at its largest",
        ("IntegersAsDoubles",),
        down=most,
        select=most,
        mask=most,
        up=most,
        fit=(most, most),
        weight=2**32 - 1,
    )
    both(
        "every number 0: as long as any other",
        ("RecordOfVariableLength",),
        down=0,
        select=0,
        mask=0,
        up=0,
        fit=(0, 0),
        weight=0,
    )
    both("no times: as long as with them", ("RecordOfVariableLength",), has_time=False)
    both("one level", levels=1)
    both("the default grid of 21 levels", levels=21)
    both("numbers that no double holds", ("IntegersAsDoubles",), down=2**53 + 1, fit=(2**63 + 1, 2**62 + 1))

    def unfit(comment: str, **others: Any) -> None:
        made = record(book, **others)
        book.invalid("wire.encode_record", "WIR-2", "CTX-1", comment=comment, flags=("RecordUnchecked",), record=made)

    unfit("a time that does not fit", down=2**64)
    unfit("a negative time", up=-1)
    unfit("a prediction that does not fit", fit=(2**64, 1))
    unfit("a weight that does not fit", weight=2**32)
    unfit("entropy of 31 bytes", entropy=bytes(31))

    def refused(comment: str, flag: str, change: Callable[[bytes], bytes], lengths: Lengths = BASIC) -> None:
        data = change(wire.encode_record(record(book)))
        inputs = {"data": data, "lengths": lengths, "sender": ClientId(7)}
        book.invalid("wire.decode_record", "WIR-2", comment=comment, flags=(flag,), **inputs)

    for at, name in enumerate(("has_time", "has_model", "was_straggler")):
        for value in (2, 255):
            comment = f"{name} is {value}"
            refused(comment, "FlagsNotZeroOrOne", partial(_put, at=at, found=bytes((value,))))
    refused("a byte missing", "RecordLengthUnchecked", lambda d: d[:-1])
    refused("a byte more", "RecordLengthUnchecked", lambda d: d + b"\x00")
    refused("nothing", "RecordLengthUnchecked", lambda d: b"")
    refused("two levels where three are due", "RecordLengthUnchecked", lambda d: d, attrs.evolve(BASIC, levels=3))


def _put(data: bytes, *, at: int, found: bytes) -> bytes:
    """The data with other bytes at one place."""
    return data[:at] + found + data[at + len(found) :]


def _decode(
    book: Book, comment: str, sent: Sent, *rules: str, data: bytes | None = None, flags: tuple[str, ...] = (),
    kind: Kind | None = None, expected: From | None = None, lengths: Lengths | None = None,
) -> None:  # fmt: skip
    inputs = {
        "data": sent.data() if data is None else data,
        "kind": kind or sent.kind,
        "expected": expected or sent.header,
        "lengths": lengths or sent.lengths,
    }
    add = book.invalid if rules else book.valid
    said = (
        dict.fromkeys((*rules, "WIR-3", "WIR-1")) if rules else ("WIR-3", "WIR-1", "WIR-4", "WIR-5", "MSG-2", "CTX-1")
    )
    add("wire.decode", *said, comment=comment, flags=flags, **inputs)


def _decoded(book: Book) -> None:
    for kind in Kind:
        for where, lengths in _settings(kind):
            _decode(book, f"`{kind}` {where}, back", sample(book, kind, lengths))
    for comment, sent, flags in _edges(book):
        _decode(book, f"{comment}, back", sent(), flags=flags)
    full = sample(book, Kind.ROSTER).having(bundles=[bundle(book.bytes, u, False) for u in (0, 9, LAST)])
    _decode(book, "as many clients as there may be", full, flags=("LimitOneTooLow",))


def _headers(book: Book) -> None:
    def refused(comment: str, flag: str, at: int, found: bytes, kind: Kind = Kind.ADVERTISE) -> None:
        sent = sample(book, kind)
        data = sent.data()
        _decode(book, comment, sent, "WIR-3", data=_put(data, at=at, found=found), flags=(flag,))

    refused("another magic", "MagicUnchecked", 0, b"clip")
    refused("version 0", "VersionUnchecked", 4, b"\x00\x00")
    refused("version 2", "VersionUnchecked", 4, b"\x02\x00")
    refused("version 257", "VersionUnchecked", 4, b"\x01\x01")
    refused("version 1 in big-endian order", "BigEndianHeader", 4, b"\x00\x01")
    refused("kind 0", "KindUnchecked", 6, b"\x00")
    refused("kind 12", "KindUnchecked", 6, b"\x0c")
    refused("a `Consistent` in place of an `Unmask`", "KindUnchecked", 6, b"\x08", Kind.UNMASK)
    refused("another session", "SessionNotHeld", 22, b"\x00")
    refused("the round before: a replay", "RoundNotHeld", 23, b"\x02")
    refused("the round after", "RoundNotHeld", 23, b"\x04")
    refused("a round that differs in its last byte", "RoundNotHeld", 30, b"\x01")
    refused("another sender than the channel's", "SenderNotHeld", 31, b"\x08")
    refused("a client's message from the server, by its header", "SenderNotHeld", 31, b"\xff\xff\xff\xff")

    def direction(comment: str, kind: Kind, sender: int, lengths: Lengths = BASIC) -> None:
        sent = sample(book, kind, lengths)
        sent = attrs.evolve(sent, header=attrs.evolve(sent.header, sender=sender))
        _decode(book, comment, sent, "WIR-3", flags=("DirectionUnchecked",))

    direction("an `Open` from a client", Kind.OPEN, 7)
    direction("an `Announce` from a client", Kind.ANNOUNCE, 7)
    direction("an `Agreed` from a client", Kind.AGREED, 7, HARDENED)
    direction("an `Advertise` from the server", Kind.ADVERTISE, SERVER)
    direction("an `Unmask` from the server", Kind.UNMASK, SERVER)


def _ends(book: Book) -> None:
    for kind in Kind:
        _, lengths = _settings(kind)[0]
        sent = sample(book, kind, lengths)
        _decode(book, f"`{kind}` without its last byte", sent, "WIR-3", data=sent.data()[:-1], flags=("MissingBytes",))
        sent = sample(book, kind, lengths)
        _decode(book, f"`{kind}` with a byte more", sent, "WIR-3", data=sent.data() + b"\x00", flags=("TrailingBytes",))
    sent = sample(book, Kind.ADVERTISE)
    for comment, size in (
        ("nothing", 0),
        ("a magic alone", 4),
        ("a header without its last byte", 34),
        ("a header alone", 35),
    ):
        _decode(book, comment, sent, "WIR-3", data=sent.data()[:size], flags=("MissingBytes",))
    sent = sample(book, Kind.ADVERTISE, HARDENED)
    _decode(book, "a message of level hardened at basic", sent, "WIR-3", lengths=BASIC, flags=("TrailingBytes",))
    sent = sample(book, Kind.ADVERTISE)
    _decode(book, "a message of level basic at hardened", sent, "WIR-3", lengths=HARDENED, flags=("MissingBytes",))
    sent = sample(book, Kind.CONSISTENT, HARDENED)
    flags = ("SignatureOptional",)
    _decode(book, "a signature missing at hardened", sent, "WIR-3", data=sent.data()[:-64], flags=flags)
    sent = sample(book, Kind.MASKED_INPUT)
    _decode(book, "an element too many", sent, "WIR-3", data=sent.data() + bytes(4), flags=("TrailingBytes",))
    _decode(book, "another ring", sent, "WIR-3", lengths=attrs.evolve(BASIC, ring_bits=64), flags=("RingWidthFixed",))


def _orders(book: Book) -> None:
    def refused(comment: str, kind: Kind, field: str, order: Callable[[list[Json]], list[Json]], flag: str) -> None:
        sent = sample(book, kind, _settings(kind)[0][1])
        _decode(book, comment, sent.having(**{field: order(sent.fields[field])}), "WIR-4", "MSG-2", flags=(flag,))

    lists = [
        (Kind.ROSTER, "bundles"),
        (Kind.SHARE_KEYS, "envelopes"),
        (Kind.DELIVER, "envelopes"),
        (Kind.ANNOUNCE, "survivors"),
        (Kind.AGREED, "signatures"),
        (Kind.UNMASK, "self_shares"),
        (Kind.NEIGHBOURHOOD, "members"),
    ]
    for kind, field in lists:
        refused(f"descending {field} in `{kind}`", kind, field, lambda items: items[::-1], "OrderUnchecked")
        refused(f"one of the {field} twice in `{kind}`", kind, field, lambda items: items[:1] * 2, "DuplicatesAccepted")
    refused("a share of one mask key twice", Kind.UNMASK, "key_shares", lambda items: items * 2, "DuplicatesAccepted")
    comment = "10 before 9, which is the order of their text"
    refused(comment, Kind.ANNOUNCE, "survivors", lambda items: [10, 9], "IdsSortedAsText")
    comment = "an id of 2^31 before one of 0, which is the order of signed integers"
    refused(comment, Kind.ANNOUNCE, "survivors", lambda items: [2**31, 0], "IdsSigned")
    comment = "members whose positions descend while their ids ascend"
    sent = sample(book, Kind.NEIGHBOURHOOD, GRAPH)
    members = [{**member, "position": 8 - member["position"]} for member in sent.fields["members"]]
    _decode(book, comment, sent.having(members=members), "WIR-4", "MSG-2", flags=("OrderUnchecked",))

    def server(comment: str, kind: Kind, **fields: Json) -> None:
        sent = sample(book, kind, _settings(kind)[0][1]).having(**fields)
        _decode(book, comment, sent, "WIR-3", "MSG-2", flags=("ServerAsClient",))

    server("the server in a roster", Kind.ROSTER, bundles=[bundle(book.bytes, SERVER, False)])
    server("an envelope for the server", Kind.SHARE_KEYS, envelopes=[envelope(book.bytes, SERVER, BASIC)])
    server("the server among the survivors", Kind.ANNOUNCE, survivors=[1, SERVER])
    server("the server's signature", Kind.AGREED, signatures=[[SERVER, "00" * 64]])
    server("a share of the server's secret", Kind.UNMASK, self_shares=[[SERVER, "00" * 32]])
    member = {"position": 0, "bundle": bundle(book.bytes, SERVER, False), "proof": []}
    server("the server in a neighbourhood", Kind.NEIGHBOURHOOD, members=[member])


def _counts(book: Book) -> None:
    def refused(comment: str, sent: Sent, *, data: bytes | None = None, flag: str = "CountsNotLimited") -> None:
        _decode(book, comment, sent, "WIR-5", data=data, flags=(flag,))

    def announced(comment: str, kind: Kind, at: int, count: int, flag: str = "CountsNotLimited") -> None:
        sent = sample(book, kind)
        refused(comment, sent, data=_put(sent.data(), at=at, found=count.to_bytes(4, "little")), flag=flag)

    ids = (1, 2, 3, 4)
    take = book.bytes
    refused(
        "n + 1 clients in a roster", sample(book, Kind.ROSTER).having(bundles=[bundle(take, u, False) for u in ids])
    )
    refused("n + 1 survivors", sample(book, Kind.ANNOUNCE).having(survivors=[*ids]))
    refused("n + 1 signatures", sample(book, Kind.AGREED, HARDENED).having(signatures=[[u, "00" * 64] for u in ids]))
    refused("n + 1 shares of self masks", sample(book, Kind.UNMASK).having(self_shares=[[u, "00" * 32] for u in ids]))
    refused("n + 1 shares of mask keys", sample(book, Kind.UNMASK).having(key_shares=[[u, "00" * 32] for u in ids]))
    three = [envelope(take, u, BASIC) for u in ids[:3]]
    refused("n envelopes", sample(book, Kind.SHARE_KEYS).having(envelopes=three))
    refused("n envelopes delivered", sample(book, Kind.DELIVER).having(envelopes=three))
    three = [envelope(take, u, GRAPH) for u in ids[:3]]
    refused(
        "k + 1 envelopes on a graph", sample(book, Kind.SHARE_KEYS, GRAPH).having(envelopes=three), flag="LimitOfRoster"
    )
    members = [{"position": u, "bundle": bundle(take, u, False), "proof": []} for u in ids]
    refused("k + 2 members", sample(book, Kind.NEIGHBOURHOOD, GRAPH).having(members=members), flag="LimitOfRoster")
    refused("a roster of n + 1 behind a root", sample(book, Kind.NEIGHBOURHOOD, GRAPH).having(count=10))
    refused("a bitmap of a byte more than n takes", sample(book, Kind.DELIVER, GRAPH).having(u2="00" * 3))
    refused("a bitmap of U3 of a byte more than n takes", sample(book, Kind.ANNOUNCE, GRAPH).having(u3="00" * 3))
    refused("a bitmap in a clique", sample(book, Kind.ANNOUNCE).having(u3="00"), flag="LimitOfRoster")
    refused("a bitmap of U2 in a clique", sample(book, Kind.DELIVER).having(u2="00"), flag="LimitOfRoster")
    announced("four thousand million clients", Kind.ROSTER, 35, 2**32 - 1)
    announced("four thousand million survivors", Kind.ANNOUNCE, 35, 2**32 - 1)
    announced("a count whose sign would be negative", Kind.UNMASK, 35, 2**31)
    length = "CiphertextLengthUnchecked"
    announced("shares of 79 bytes, and a record of other bytes", Kind.SHARE_KEYS, 43, 79, length)
    announced("shares of four thousand million bytes", Kind.DELIVER, 43, 2**32 - 1, length)

    def sealed(comment: str, lengths: Lengths, **parts: str) -> None:
        sent = sample(book, Kind.SHARE_KEYS, lengths)
        first, *rest = sent.fields["envelopes"]
        refused(comment, sent.having(envelopes=[{**first, **parts}, *rest]), flag=length)

    sealed("a share missing", BASIC, shares="00" * 48)
    sealed("no shares", BASIC, shares="")
    sealed("a record of another grid", BASIC, record="00" * 111)
    sealed("no record in a clique", BASIC, record="")
    sealed("a record on a graph", GRAPH, record="00" * 103)
