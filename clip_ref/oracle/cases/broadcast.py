"""Cases of the broadcast.   Spec: broadcast."""

from typing import Any, Final

import attrs

from clip_ref import broadcast, keys
from clip_ref.errors import SERVER
from clip_ref.messages import Envelope
from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.wire import BASIC, record
from clip_ref.values import ClientId
from clip_ref.wire import encode_record

LAST: Final = ClientId(SERVER - 1)
SEALS: Final = ("KEY-6", "WIR-2", "RND-1", "CTX-1")
"""What an envelope rests on."""


def make(book: Book) -> None:
    """Envelopes sealed, then opened, then the entropy of the slack."""
    _sealed(book)
    _opened(book)
    _refused(book)
    _entropy(book)


def _inputs(book: Book, **others: Any) -> dict[str, Any]:
    names = ("shared", "ctx", "key_share", "self_share")
    fields: dict[str, Any] = {
        "sender": ClientId(3),
        "receiver": ClientId(8),
        **{name: book.bytes(name) for name in names},
    }
    return {**fields, **({} if "record" in others else {"record": record(book)}), **others}


def _sealed(book: Book) -> None:
    def seal(comment: str, rule: str, *, flags: tuple[str, ...] = (), **others: Any) -> None:
        rules = dict.fromkeys((rule, "BRO-1", "BRO-2", *SEALS))
        book.valid("broadcast.seal", *rules, comment=comment, flags=flags, **_inputs(book, **others))

    def refused(comment: str, rule: str, flag: str, **others: Any) -> None:
        book.invalid("broadcast.seal", rule, comment=comment, flags=(flag,), **_inputs(book, **others))

    seal("shares and a record", "BRO-1", flags=("SharesSwapped", "OneCiphertext", "EnvelopeNamesSender"))
    seal("the other way round", "BRO-1", sender=8, receiver=3, flags=("ChannelKeyForBothWays",))
    seal("between the smallest and the largest id", "BRO-1", sender=0, receiver=LAST)
    seal("on a graph: no second ciphertext", "BRO-2", record=None, flags=("EmptyRecordSealed",))
    seal(
        "a record without times is as long as any other",
        "BRO-2",
        record=record(book, has_time=False),
        flags=("RecordOfVariableLength",),
    )
    most = 2**64 - 1
    largest = record(book, down=most, select=most, mask=most, up=most, fit=(most, most), weight=2**32 - 1)
    seal("the largest numbers", "BRO-2", record=largest, flags=("RecordOfVariableLength", "IntegersAsDoubles"))
    seal(
        "a grid of 21 levels, shares of zeros",
        "BRO-2",
        key_share=bytes(32),
        self_share=bytes(32),
        record=record(book, 21),
    )
    refused("an envelope for oneself", "BRO-1", "EnvelopeForOneself", receiver=3)
    refused("a share of a mask key of 31 bytes", "BRO-1", "ShareLengthsUnchecked", key_share=bytes(31))
    refused("a share of b of 33 bytes", "BRO-1", "ShareLengthsUnchecked", self_share=bytes(33))
    refused("64 bytes, cut elsewhere", "BRO-1", "ShareLengthsUnchecked", key_share=bytes(31), self_share=bytes(33))
    refused("a record that has no bytes", "WIR-2", "RecordUnchecked", record=record(book, weight=2**32))


def _envelope(book: Book, **others: Any) -> tuple[Envelope, dict[str, Any]]:
    """A good envelope as it is delivered, and what its receiver knows."""
    inputs = _inputs(book, **others)
    sent = broadcast.seal_envelope(**inputs)
    levels = 2 if inputs["record"] is None else len(inputs["record"].fit)
    known = {"receiver": inputs["receiver"], "shared": inputs["shared"], "ctx": inputs["ctx"]}
    return attrs.evolve(sent, peer=inputs["sender"]), {**known, "lengths": attrs.evolve(BASIC, levels=levels)}


def _opened(book: Book) -> None:
    def opens(comment: str, rule: str, *, flags: tuple[str, ...] = (), **others: Any) -> None:
        envelope, known = _envelope(book, **others)
        rules = dict.fromkeys((rule, "BRO-3", "BRO-4", "BRO-1", "BRO-2", *SEALS))
        book.valid("broadcast.open", *rules, comment=comment, flags=flags, envelope=envelope, **known)

    opens("shares and a record", "BRO-3", flags=("SharesSwapped",))
    opens("the other way round", "BRO-3", sender=8, receiver=3)
    opens("between the largest and the smallest id", "BRO-3", sender=LAST, receiver=0)
    rising = record(book, fit=(1, 2**64 - 1), weight=0)
    opens("a record that makes no sense is not refused", "BRO-4", record=rising, flags=("RecordJudgedOnOpening",))
    opens("a record without times", "BRO-4", record=record(book, has_time=False, has_model=False))
    opens("a record of 21 levels", "BRO-4", record=record(book, 21))
    envelope, known = _envelope(book)
    committed = attrs.evolve(envelope, commitments=book.bytes("commitments", 64))
    comment = "commitments ride along and are not looked at here"
    book.valid(
        "broadcast.open", "BRO-3", "BRO-4", "BRO-1", "BRO-2", *SEALS, comment=comment, envelope=committed, **known
    )


def _refused(book: Book) -> None:
    def refused(
        comment: str, envelope: Envelope, known: dict[str, Any], *flags: str, rule: str = "KEY-6", about: str = "BRO-3"
    ) -> None:
        rules = dict.fromkeys((rule, about, *SEALS))
        book.invalid("broadcast.open", *rules, comment=comment, flags=flags, envelope=envelope, **known)

    good, known = _envelope(book)

    def put(part: str, sealed: bytes) -> Envelope:
        return attrs.evolve(good, shares=sealed) if part == "shares" else attrs.evolve(good, record=sealed)

    refused("delivered to another client", good, {**known, "receiver": 9}, "ReceiverNotBound")
    refused(
        "said to be from another client: that one is named",
        attrs.evolve(good, peer=ClientId(4)),
        known,
        "SenderNotBound",
    )
    refused(
        "sent back to its sender",
        attrs.evolve(good, peer=ClientId(8)),
        {**known, "receiver": 3},
        "ChannelKeyForBothWays",
    )
    refused(
        "from another round, whose context is another one", good, {**known, "ctx": book.bytes("ctx")}, "ReplayAccepted"
    )
    refused("under another secret", good, {**known, "shared": book.bytes("shared")}, "TagUnchecked")
    for what, about in (("shares", "BRO-3"), ("record", "BRO-4")):
        sealed = getattr(good, what)
        bent = put(what, sealed[:-1] + bytes((sealed[-1] ^ 1,)))
        refused(f"a bit flipped in the tag of the {what}", bent, known, "TagUnchecked", about=about)
        refused(
            f"the {what} without their last byte",
            put(what, sealed[:-1]),
            known,
            "TagUnchecked",
            about=about,
        )
        refused(f"no {what}", put(what, b""), known, "TagUnchecked", about=about)
    swapped = attrs.evolve(good, shares=good.record, record=good.shares)
    refused("the two ciphertexts exchanged", swapped, known, "ChannelKeyForAllPurposes")
    twice = attrs.evolve(good, record=good.shares)
    refused("the shares a second time, as the record", twice, known, "ChannelKeyForAllPurposes", about="BRO-4")

    channel: dict[str, Any] = {
        "shared": known["shared"],
        "ctx": known["ctx"],
        "sender": ClientId(3),
        "receiver": ClientId(8),
    }

    def holding(purpose: str, plain: bytes) -> Envelope:
        return put(purpose, keys.seal(plain, purpose=purpose, **channel))

    for length in (0, 32, 63, 65, 96):
        flags = ("ShareLengthsUnchecked",)
        refused(
            f"sealed by the peer, but {length} bytes", holding("shares", bytes(length)), known, *flags, rule="BRO-1"
        )
    plain = encode_record(record(book))
    about = "BRO-4"
    flagged = holding("record", b"\x02" + plain[1:])
    refused("a record with a flag of 2", flagged, known, "FlagsNotZeroOrOne", rule="WIR-2", about=about)
    for what, data in (("a byte too long", plain + b"\x00"), ("a byte too short", plain[:-1]), ("empty", b"")):
        refused(
            f"a record that is {what}",
            holding("record", data),
            known,
            "RecordLengthUnchecked",
            rule="WIR-2",
            about=about,
        )


def _entropy(book: Book) -> None:
    def entropy(comment: str, *clients: int, flags: tuple[str, ...] = (), levels: int = 2) -> None:
        records = {
            ClientId(u): record(book, levels, entropy=book.bytes(f"entropy of {u}"), down=1000 + u) for u in clients
        }
        rules = ("BRO-5", "WIR-2", "CTX-2", "CTX-1")
        inputs = {"records": records, "ctx": book.bytes("ctx")}
        book.valid("broadcast.slack_entropy", *rules, comment=comment, flags=flags, **inputs)

    entropy("one record", 7, flags=("SlackWithoutContext", "SlackWithoutIds"))
    entropy("three records", 1, 5, 7, flags=("SlackOfRandomBytesAlone", "SlackWithoutIds"))
    entropy("in another order: the same entropy by id", 7, 1, 5, flags=("IdsAsGiven",))
    entropy("9, 10, 100: numbers, not text", 100, 9, 10, flags=("IdsSortedAsText",))
    entropy("ids from 2^31 up come last", 2**31, 0, LAST, flags=("IdsSigned",))
    entropy("21 levels", 0, 1, levels=21)
    inputs = {"records": {ClientId(2**32): record(book)}, "ctx": book.bytes("ctx")}
    comment, flags = "an id that does not fit", ("IntegersWrap",)
    book.invalid("broadcast.slack_entropy", "CTX-1", "BRO-5", comment=comment, flags=flags, **inputs)
