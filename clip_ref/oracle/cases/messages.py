"""Cases of messages as values.   Spec: messages."""

from typing import Any, Final

from clip_ref.errors import SERVER
from clip_ref.keys import public_key
from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.keys import LOW_ORDER, P, little
from clip_ref.oracle.operations.wire import Bundle
from clip_ref.values import ClientId, SecretKey

LAST: Final = ClientId(SERVER - 1)


def make(book: Book) -> None:
    """Keys of a bundle, then lists of ids, then rosters."""
    _bundles(book)
    _ids(book)
    _rosters(book)


def _bundle(book: Book, sender: int = 3, *, hardened: bool = False, **others: Any) -> Bundle:
    def key(name: str) -> bytes:
        return public_key(SecretKey(book.bytes(f"{name} of {sender}")))

    sizes = {"record_commitment": 32, "seed_commitment": 32, "signature": 64}
    rest = {name: book.bytes(f"{name} of {sender}", size * hardened) for name, size in sizes.items()}
    fields = {"channel_key": key("channel key"), "mask_key": key("mask key"), **rest, **others}
    return Bundle(sender=ClientId(sender), **fields)


def _with(book: Book, field: str, key: bytes) -> Bundle:
    others: dict[str, Any] = {field: key}
    return _bundle(book, **others)


def _bundles(book: Book) -> None:
    rules = ("MSG-1", "KEY-2", "KEY-3")

    def good(comment: str, bundle: Bundle) -> None:
        book.valid("messages.check_advertise", *rules, comment=comment, bundle=bundle)

    def refused(comment: str, rule: str, bundle: Bundle, *flags: str) -> None:
        said = dict.fromkeys((rule, "MSG-1"))
        book.invalid("messages.check_advertise", *said, comment=comment, flags=flags, bundle=bundle)

    good("two good keys", _bundle(book))
    good("at hardened, with commitments and a signature that are not looked at here", _bundle(book, hardened=True))
    good("from the client with id 0", _bundle(book, 0))
    key = public_key(SecretKey(book.bytes("key")))
    refused("one key for both uses", "MSG-1", _bundle(book, channel_key=key, mask_key=key), "OneKeyForBothUses")
    refused(
        "one key for both uses: the sender is named",
        "MSG-1",
        _bundle(book, LAST, channel_key=key, mask_key=key),
        "OneKeyForBothUses",
    )
    for name, field in (("channel key", "channel_key"), ("mask key", "mask_key")):
        flags = () if field == "channel_key" else ("ChannelKeyAloneChecked",)
        for order, u in LOW_ORDER:
            bundle = _with(book, field, little(u))
            refused(f"the {name} is of low order: {order}", "KEY-3", bundle, "LowOrderAccepted", *flags)
        for what, bad in (("p", little(P)), ("2^255 − 1", little(2**255 - 1)), ("all ones", b"\xff" * 32)):
            refused(f"the {name} is not reduced: {what}", "KEY-2", _with(book, field, bad), "KeyNotReduced", *flags)
        short = _with(book, field, key[:31])
        refused(f"the {name} has 31 bytes", "KEY-2", short, "KeyLengthUncheckedOfPeer", *flags)


def _ids(book: Book) -> None:
    def ascend(comment: str, *ids: int, flags: tuple[str, ...] = ()) -> None:
        book.valid("messages.check_ids", "MSG-2", comment=comment, flags=flags, ids=list(ids))

    def refused(comment: str, *ids: int, flag: str = "OrderUnchecked") -> None:
        book.invalid("messages.check_ids", "MSG-2", comment=comment, flags=(flag,), ids=list(ids))

    ascend("nobody")
    ascend("the client with id 0", 0)
    ascend("three clients", 1, 5, 7)
    ascend("9 and 10: numbers, not text", 9, 10, 100, flags=("IdsSortedAsText",))
    ascend("2^31 follows 2^31 − 1", 2**31 - 1, 2**31, LAST, flags=("IdsSigned",))
    refused("two clients, descending", 5, 1)
    refused("the last two, descending", 1, 7, 5)
    refused("10 before 9, which is the order of their text", 10, 9, flag="IdsSortedAsText")
    refused("an id twice", 1, 5, 5, flag="DuplicatesAccepted")
    refused("id 0 twice", 0, 0, flag="DuplicatesAccepted")
    refused("an id twice, not side by side", 1, 5, 1, flag="DuplicatesAccepted")
    refused("the server's id", 1, SERVER, flag="ServerAsClient")
    refused("an id of 33 bits", 1, 2**32, flag="ServerAsClient")
    refused("a negative id", -1, 1, flag="NegativeIds")


def _rosters(book: Book) -> None:
    def roster(comment: str, *bundles: Bundle, flags: tuple[str, ...] = ()) -> None:
        book.valid(
            "messages.roster_digest", "MSG-3", "CTX-2", "CTX-1", comment=comment, flags=flags, bundles=list(bundles)
        )

    own = ("RosterWithoutIds", "RosterWithoutMaskKeys")
    roster("two clients", _bundle(book, 3), _bundle(book, 8), flags=(*own, "RosterOfOnePart"))
    roster(
        "two clients at hardened",
        _bundle(book, 3, hardened=True),
        _bundle(book, 8, hardened=True),
        flags=("RosterWithoutCommitments", "RosterWithSignatures"),
    )
    signed = [_bundle(book, u, hardened=True, signature=bytes(64)) for u in (3, 8)]
    roster("signatures are not in it", *signed, flags=("RosterWithSignatures",))
    roster("nobody")
    roster("the smallest and the largest id", _bundle(book, 0), _bundle(book, LAST), flags=own)
    roster("300 has two bytes", _bundle(book, 300), flags=("IdsBigEndian",))
    short = [_bundle(book, 3), _bundle(book, 2**32)]
    comment, flags = "an id that does not fit", ("IntegersWrap",)
    book.invalid("messages.roster_digest", "CTX-1", "MSG-3", comment=comment, flags=flags, bundles=short)
