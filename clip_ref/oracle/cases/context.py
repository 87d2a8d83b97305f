"""Cases of the context.   Spec: context."""

from typing import Any

import numpy as np

from clip_ref.errors import SERVER
from clip_ref.oracle.case import Book
from clip_ref.values import NO_DIGEST

DIGEST = ("CTX-2", "CTX-1")
"""What every labelled digest rests on."""

LAST = SERVER - 1


def make(book: Book) -> None:
    """Digests, then the two contexts of a round, then that of its masks."""
    _digests(book)
    _models(book)
    _before_the_roster(book)
    _with_the_roster(book)
    _masks(book)


def _digests(book: Book) -> None:
    def digest(comment: str, label: str, *parts: bytes, flags: tuple[str, ...] = ()) -> None:
        book.valid("context.digest", *DIGEST, comment=comment, flags=flags, label=label, parts=list(parts))

    digest("no parts: the label alone", "model", flags=("LabelWithoutPrefix", "LabelWithoutLength"))
    digest("the same parts under another label", "roster", flags=("LabelLeftOut",))
    digest("one part", "model", book.bytes("part"))
    digest("an empty part is not the same as no part", "model", b"", flags=("EmptyPartLeftOut",))
    digest("an empty part between two", "model", b"a", b"", b"b", flags=("EmptyPartLeftOut", "PartsWithoutLength"))
    digest("ab, c: not the same as a, bc", "model", b"ab", b"c", flags=("PartsWithoutLength",))
    digest("a, bc: not the same as ab, c", "model", b"a", b"bc", flags=("PartsWithoutLength",))
    digest("an empty label", "", book.bytes("part"))
    digest("a part that fills one block of SHA-256", "model", book.bytes("part", 64))
    digest(
        "a length of two bytes", "model", book.bytes("part", 258), flags=("BigEndianPartLength", "ByteWidePartLength")
    )
    digest("many parts", "slack", *(book.bytes(f"part {k}", k) for k in range(20)))


def _models(book: Book) -> None:
    def model(comment: str, *weights: float, flags: tuple[str, ...] = ()) -> None:
        array = np.array(weights, dtype=np.float32)
        book.valid("context.model_digest", *DIGEST, comment=comment, flags=flags, model=array)

    model("no weights")
    model("one weight", 1.0, flags=("BigEndianWeights", "DoubleWeights", "WeightTypeLeftOut"))
    model("both zeros are told apart", 0.0, -0.0, flags=("ZerosAlike",))
    model(
        "subnormal weights, and the largest", 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38, flags=("SubnormalsFlushed",)
    )
    model("numbers that are not exact in binary", 0.1, -0.3, 1 / 3, flags=("DoubleWeights",))


def _fields(book: Book, **others: Any) -> dict[str, Any]:
    names = ("config", "directory", "model", "history")
    return {
        "session": book.bytes("session", 16),
        "round": 3,
        **{name: book.bytes(name) for name in names},
        "target": 0,
        **others,
    }


def _before_the_roster(book: Book) -> None:
    rules = ("CTX-3", *DIGEST)

    def ctx0(comment: str, *, flags: tuple[str, ...] = (), first: str = "CTX-3", **others: Any) -> None:
        said = (first, *(rule for rule in rules if rule != first))
        book.valid("context.ctx0", *said, comment=comment, flags=flags, **_fields(book, **others))

    def refused(comment: str, rule: str, *, flags: tuple[str, ...] = (), **others: Any) -> None:
        said = dict.fromkeys((rule, "CTX-3"))
        book.invalid("context.ctx0", *said, comment=comment, flags=flags, **_fields(book, **others))

    ctx0("a number of one byte, in a field of eight", first="CTX-1", flags=("BigEndianIntegers", "NarrowIntegers"))
    ctx0("a round of eight different bytes", first="CTX-1", round=0x0102030405060708, flags=("BigEndianIntegers",))
    ctx0("a round that no double holds: 2^53 + 1", first="CTX-1", round=2**53 + 1, flags=("IntegersAsDoubles",))
    ctx0("the last round", first="CTX-1", round=2**64 - 1, flags=("IntegersAsDoubles", "SignedIntegers"))
    refused("a round that does not fit", "CTX-1", round=2**64, flags=("IntegersWrap",))
    refused("a negative round", "CTX-1", round=-1, flags=("IntegersWrap",))
    refused("a target that does not fit", "CTX-1", target=2**64, flags=("IntegersWrap",))
    refused("a negative target", "CTX-1", target=-1, flags=("IntegersWrap",))
    ctx0("a round without a target", flags=("ZeroTargetDigested", "ContextFieldsSwapped"))
    ctx0("the smallest target", target=1, flags=("TargetLeftOut",))
    ctx0("the largest target", target=2**64 - 1, flags=("TargetLeftOut", "IntegersAsDoubles"))
    ctx0("no directory and no history: zeros", directory=NO_DIGEST, history=NO_DIGEST, flags=("NothingIsEmpty",))
    ctx0("a session of zeros in round 1", session=bytes(16), round=1)
    ctx0("the model equal to its history", model=bytes(range(32)), history=bytes(range(32)))
    for length in (0, 15, 17, 32):
        refused(
            f"a session of {length} bytes", "CTX-3", session=book.bytes("session", length), flags=("SessionUnchecked",)
        )


def _with_the_roster(book: Book) -> None:
    rules = ("CTX-4", "CTX-3", *DIGEST)

    def ctx(comment: str, *, flags: tuple[str, ...] = (), **others: Any) -> None:
        fields = _fields(book, **{"roster": book.bytes("roster"), **others})
        book.valid("context.ctx", *rules, comment=comment, flags=flags, **fields)

    ctx("a roster", flags=("RosterNotInContext", "ContextsUnderOneLabel"))
    ctx("the roster comes last, behind a target", target=250_000, flags=("TargetLeftOut",))
    ctx("a roster of zeros is still a part", roster=bytes(32), flags=("RosterNotInContext",))
    ctx("no directory, no history, the last round", directory=NO_DIGEST, history=NO_DIGEST, round=2**64 - 1)
    for length in (15, 17):
        session, roster = book.bytes("session", length), book.bytes("roster")
        fields = _fields(book, session=session, roster=roster)
        comment = f"a session of {length} bytes"
        book.invalid("context.ctx", "CTX-3", "CTX-4", comment=comment, flags=("SessionUnchecked",), **fields)


def _masks(book: Book) -> None:
    def masks(comment: str, *u2: int, flags: tuple[str, ...] = ()) -> None:
        book.valid("context.masks", "CTX-5", *DIGEST, comment=comment, flags=flags, ctx=book.bytes("ctx"), u2=list(u2))

    def refused(comment: str, *u2: int) -> None:
        flags = ("IntegersWrap",)
        book.invalid(
            "context.masks", "CTX-1", "CTX-5", comment=comment, flags=flags, ctx=book.bytes("ctx"), u2=list(u2)
        )

    masks("three clients", 1, 5, 7, flags=("MasksWithoutU2", "IdsBigEndian"))
    masks("in another order: the same set", 7, 1, 5, flags=("IdsAsGiven",))
    masks("9, 10, 100: the order of numbers, not of their digits", 100, 9, 10, flags=("IdsSortedAsText",))
    masks("ids from 2^31 up come last", 2**31, 2**31 - 1, LAST, 0, flags=("IdsSigned",))
    masks("nobody but oneself", 4, flags=("MasksWithoutU2",))
    masks("255 clients", *range(255))
    refused("an id of 33 bits", 0, 2**32)
    refused("a negative id", -1, 5)
    book.invalid("context.digest", "CTX-2", comment="a label that is not ASCII", label="é", parts=[])
