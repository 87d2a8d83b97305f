"""Cases of agreement.   Spec: agreement."""

from typing import Any, Final

import attrs

from clip_ref import agreement, keys
from clip_ref.errors import SERVER
from clip_ref.keys import identity_key
from clip_ref.messages import Consistent
from clip_ref.oracle.case import Book, derived
from clip_ref.oracle.cases.keys import malleable
from clip_ref.oracle.cases.wire import HARDENED, Sent, record, sample
from clip_ref.oracle.operations.wire import From, Kind, message_of
from clip_ref.values import ClientId, Digest, SigningKey

DIGEST: Final = ("CTX-2", "CTX-1")
LAST: Final = ClientId(SERVER - 1)

SIGNED: Final = (Kind.ADVERTISE, Kind.SHARE_KEYS, Kind.MASKED_INPUT, Kind.CONSISTENT, Kind.UNMASK)
"""The kinds that clients send."""

SECRETS: Final = {
    ClientId(u): SigningKey(derived("agreement", "identity", u, length=32)) for u in (0, 3, 7, 9, 10, 2**31, LAST)
}
"""Long-term identities."""

DIRECTORY: Final = {u: identity_key(secret) for u, secret in SECRETS.items()}


def make(book: Book) -> None:
    """Commitments, statements and signatures, then views and what shows that they are shared."""
    _commitments(book)
    _statements(book)
    _signatures(book)
    _views(book)
    _agreed(book)


def _commitments(book: Book) -> None:
    def commit_record(comment: str, owner: int, *, flags: tuple[str, ...] = (), levels: int = 2, **others: Any) -> None:
        inputs = {"record": record(book, levels, **others), "owner": ClientId(owner), "ctx0": book.bytes("ctx0")}
        book.valid("agreement.commit_record", "AGR-1", "WIR-2", *DIGEST, comment=comment, flags=flags, **inputs)

    commit_record(
        "a record", 7, flags=("CommitmentWithoutOwner", "CommitmentWithoutContext", "CommitmentsUnderOneLabel")
    )
    commit_record(
        "a record without times, of the client with id 0", 0, has_time=False, flags=("CommitmentWithoutOwner",)
    )
    commit_record("times that no double holds", LAST, down=2**64 - 1, fit=(2**53 + 1, 1), flags=("IntegersAsDoubles",))
    commit_record("21 levels", 300, levels=21)
    inputs = {"record": record(book, down=2**64), "owner": ClientId(7), "ctx0": book.bytes("ctx0")}
    comment = "a record that has no bytes"
    book.invalid("agreement.commit_record", "WIR-2", "AGR-1", comment=comment, flags=("RecordUnchecked",), **inputs)

    def commit_seed(comment: str, owner: int, *, flags: tuple[str, ...] = (), seed: bytes = b"") -> None:
        inputs = {"seed": seed or book.bytes("b"), "owner": ClientId(owner), "ctx0": book.bytes("ctx0")}
        book.valid("agreement.commit_seed", "AGR-2", "KEY-1", *DIGEST, comment=comment, flags=flags, **inputs)

    commit_seed(
        "b of a client", 7, flags=("CommitmentWithoutOwner", "CommitmentWithoutContext", "CommitmentsUnderOneLabel")
    )
    commit_seed("b of the client with id 0", 0, flags=("CommitmentWithoutOwner",))
    commit_seed("zeros, of the client with the largest id", LAST, seed=bytes(32))
    for length in (0, 31, 33):
        inputs = {"seed": book.bytes("b", length), "owner": ClientId(7), "ctx0": book.bytes("ctx0")}
        comment, flags = f"b of {length} bytes", ("SecretLengthUnchecked",)
        book.invalid("agreement.commit_seed", "KEY-1", "AGR-2", comment=comment, flags=flags, **inputs)

    def share(owner: int = 3, holder: int = 7, secret: str = "mask key", **others: Any) -> dict[str, Any]:
        known = {"share": book.bytes("share"), "ctx": book.bytes("ctx")}
        return {**known, "secret": secret, "owner": ClientId(owner), "holder": ClientId(holder), **others}

    def commit_share(comment: str, *, flags: tuple[str, ...] = (), **others: Any) -> None:
        book.valid("agreement.commit_share", "AGR-3", *DIGEST, comment=comment, flags=flags, **share(**others))

    commit_share("a share of a mask key", flags=("CommitmentWithoutSecretName", "CommitmentsUnderOneLabel"))
    commit_share("a share of a self mask", secret="self mask", flags=("CommitmentWithoutSecretName",))
    foreign = share(secret="é")
    book.invalid("agreement.commit_share", "AGR-3", comment="a name that is not ASCII", **foreign)
    commit_share("owner and holder the other way round", owner=7, holder=3, flags=("OwnerAndHolderSwapped",))
    commit_share("a share that its owner keeps", holder=3, flags=("CommitmentWithoutHolder",))
    commit_share("a share of zeros, between the smallest and the largest id", owner=0, holder=LAST, share=bytes(32))
    comment, flags = "an owner that does not fit", ("IntegersWrap",)
    book.invalid("agreement.commit_share", "CTX-1", "AGR-3", comment=comment, flags=flags, **share(owner=2**32))


def _statements(book: Book) -> None:
    def statement(comment: str, sent: Sent, context: bytes, *, flags: tuple[str, ...] = ()) -> Any:
        inputs = {**sent.said, "context": context}
        return book.valid("agreement.statement", "AGR-4", "WIR-1", *DIGEST, comment=comment, flags=flags, **inputs)

    own = {Kind.ADVERTISE: ("StatementWithoutHeader", "StatementWithoutContext"), Kind.SHARE_KEYS: ("StatementOfBody",)}
    for kind in SIGNED:
        statement(f"of `{kind}`", sample(book, kind, HARDENED), book.bytes("context"), flags=own.get(kind, ()))
    sent, context = sample(book, Kind.CONSISTENT, HARDENED), book.bytes("context")
    covered = ("SignatureInStatement",)
    first = statement("a message that is signed already", sent, context, flags=covered)
    again = statement(
        "the same with no signature: the same statement", sent.having(signature=""), context, flags=covered
    )
    assert first == again
    late = attrs.evolve(sent.header, round=2**64 - 1, sender=0)
    flags = ("StatementWithoutHeader", "IntegersAsDoubles")
    statement(
        "the same in the last round, from the client with id 0", attrs.evolve(sent, header=late), context, flags=flags
    )
    wide = sample(book, Kind.MASKED_INPUT, attrs.evolve(HARDENED, ring_bits=64))
    statement("ring elements of 64 bits", wide, book.bytes("context"))
    short = sample(book, Kind.CONSISTENT, HARDENED)
    short = attrs.evolve(short, header=attrs.evolve(short.header, session=bytes(15)))
    comment, inputs = "a session of 15 bytes", {**short.said, "context": book.bytes("context")}
    book.invalid(
        "agreement.statement", "CTX-1", "AGR-4", "WIR-1", comment=comment, flags=("FieldWidthsUnchecked",), **inputs
    )


def _sign(sent: Sent, context: bytes, *, by: int | None = None) -> bytes:
    """The signature that belongs at the end of the message, or somebody else's."""
    message: Any = message_of(sent.kind, sent.fields, sent.header, sent.lengths.ring_bits)
    over = agreement.statement(message=message, header=sent.header.header(), context=Digest(context))
    return keys.sign(secret=SECRETS[ClientId(sent.header.sender if by is None else by)], statement=over)


def _signatures(book: Book) -> None:
    rules = ("AGR-5", "KEY-9", "AGR-4", "WIR-1", *DIGEST)

    def signed(kind: Kind, sender: int = 7) -> tuple[Sent, bytes]:
        sent = sample(book, kind, HARDENED)
        sent = attrs.evolve(sent, header=attrs.evolve(sent.header, sender=sender))
        context = book.bytes("context")
        return sent.having(signature=_sign(sent, context).hex()), context

    def good(comment: str, sent: Sent, context: bytes) -> None:
        inputs = {**sent.said, "context": context, "directory": DIRECTORY}
        book.valid("agreement.check_signature", *rules, comment=comment, **inputs)

    def refused(comment: str, sent: Sent, context: bytes, *flags: str, directory: Any = DIRECTORY) -> None:
        inputs = {**sent.said, "context": context, "directory": directory}
        said = dict.fromkeys(("KEY-9", "AGR-5", *rules))
        book.invalid("agreement.check_signature", *said, comment=comment, flags=flags, **inputs)

    for kind in SIGNED:
        good(f"`{kind}`, signed by its sender", *signed(kind))
    good("from the client with the largest id", *signed(Kind.CONSISTENT, LAST))
    for kind in (Kind.ADVERTISE, Kind.UNMASK):
        sent, _ = signed(kind)
        refused(
            f"`{kind}` in another round: its context is another one",
            sent,
            book.bytes("other"),
            "StatementWithoutContext",
        )
    sent, context = signed(Kind.MASKED_INPUT)
    vector = bytearray.fromhex(sent.fields["vector"])
    vector[-1] ^= 1
    refused("an element changed", sent.having(vector=vector.hex()), context, "SignatureUnchecked")
    sent, context = signed(Kind.CONSISTENT)
    header = sent.header
    for what, other in (
        ("the round", attrs.evolve(header, round=4)),
        ("the session", attrs.evolve(header, session=book.bytes("other session", 16))),
    ):
        refused(f"{what} in its header changed", attrs.evolve(sent, header=other), context, "StatementWithoutHeader")
    stolen = attrs.evolve(sent, header=attrs.evolve(header, sender=3))
    refused("passed off as another client's: that one is named", stolen, context, "AnySignerAccepted")
    by_other = sent.having(signature=_sign(sent, context, by=3).hex())
    refused("signed by another client", by_other, context, "AnySignerAccepted")
    absent = {u: key for u, key in DIRECTORY.items() if u != 7}
    refused("of a client that is not in the directory", sent, context, "UnknownSignerAccepted", directory=absent)
    changed = malleable(bytes.fromhex(sent.fields["signature"]))
    refused("s + L in its signature", sent.having(signature=changed.hex()), context, "MalleableSignature")
    refused("no signature", sent.having(signature=""), context, "SignatureOptional")
    bare = keys.sign(secret=SECRETS[ClientId(7)], statement=Digest(bytes.fromhex(sent.fields["statement"])))
    refused("a signature over what it says alone", sent.having(signature=bare.hex()), context, "StatementOfBody")


def _views(book: Book) -> None:
    def views(comment: str, u2: list[int], u3: list[int], *, flags: tuple[str, ...] = ()) -> None:
        inputs = {"ctx": book.bytes("ctx"), "u2": u2, "u3": u3}
        book.valid("agreement.views", "AGR-6", *DIGEST, comment=comment, flags=flags, **inputs)

    views("one dropped out", [1, 5, 7], [1, 7], flags=("ViewsOfU3Alone", "ViewsInOneList"))
    views("nobody dropped out", [1, 5, 7], [1, 5, 7], flags=("ViewsOfU3Alone",))
    views("in another order: the same sets", [7, 1, 5], [7, 1], flags=("IdsAsGiven",))
    views("nobody is left: an empty part", [1, 5], [], flags=("EmptyPartLeftOut",))
    views("9, 10, 100: numbers, not text", [100, 9, 10], [10, 9], flags=("IdsSortedAsText",))
    views("ids from 2^31 up come last", [2**31, 0, LAST], [2**31, 0], flags=("IdsSigned",))
    inputs = {"ctx": book.bytes("ctx"), "u2": [0, 2**32], "u3": [0]}
    book.invalid(
        "agreement.views", "CTX-1", "AGR-6", comment="an id that does not fit", flags=("IntegersWrap",), **inputs
    )


def _agreed(book: Book) -> None:
    rules = ("AGR-8", "AGR-7", "MSG-2", "KEY-9", "AGR-4", "WIR-1", *DIGEST)

    def shown(*signers: int) -> dict[str, Any]:
        header = From(book.bytes("session", 16), 3, SERVER)
        ctx, views = Digest(book.bytes("ctx")), Digest(book.bytes("views"))
        return {
            "signatures": [(ClientId(u), _consent(header, ctx, views, u)) for u in signers],
            "views": views,
            "u3": [ClientId(u) for u in (3, 7, 9, 10)],
            "threshold": 3,
            "ctx": ctx,
            "directory": DIRECTORY,
            "header": header,
        }

    def good(comment: str, rule: str, found: dict[str, Any], *, flags: tuple[str, ...] = ()) -> None:
        said = dict.fromkeys((rule, *rules))
        book.valid("agreement.check_agreed", *said, comment=comment, flags=flags, **found)

    def refused(comment: str, rule: str, found: dict[str, Any], *flags: str) -> None:
        said = dict.fromkeys((rule, *rules))
        book.invalid("agreement.check_agreed", *said, comment=comment, flags=flags, **found)

    good("t signatures", "AGR-7", shown(3, 7, 9), flags=("SignaturesOneMore",))
    good("those of all of U3", "AGR-7", shown(3, 7, 9, 10))
    good("9 and 10 in their order", "AGR-8", shown(7, 9, 10), flags=("IdsSortedAsText",))
    few = shown(3, 7, 9)
    few["header"] = attrs.evolve(few["header"], sender=3)
    good("the header of a client's message says the same of the round", "AGR-8", few)
    lone = shown(0, LAST)
    good("the smallest and the largest id, t = 2", "AGR-8", {**lone, "u3": [0, LAST], "threshold": 2})

    refused("t − 1 signatures", "AGR-7", shown(3, 7), "SignaturesOneFewer")
    refused("no signatures", "AGR-7", shown(), "SignaturesOneFewer")
    strange = shown(3, 7, 9)
    refused("one of them of a client that is not in U3", "AGR-7", {**strange, "u3": [3, 7, 10]}, "StrangersCounted")
    doubled = shown(3, 7, 9)
    doubled["signatures"] = [*doubled["signatures"][:2], doubled["signatures"][1]]
    refused("the same client twice, to make up t", "MSG-2", doubled, "DuplicatesAccepted")
    turned = shown(3, 7, 9)
    refused("descending", "MSG-2", {**turned, "signatures": turned["signatures"][::-1]}, "OrderUnchecked")
    other = shown(3, 7, 9)
    refused("over other views than one's own", "AGR-8", {**other, "views": book.bytes("other views")}, "ViewsNotHeld")
    mixed = shown(3, 7, 9)
    theirs = _consent(mixed["header"], mixed["ctx"], Digest(book.bytes("other views")), 9)
    refused(
        "one of three over other views",
        "AGR-8",
        {**mixed, "signatures": [*mixed["signatures"][:2], (9, theirs)]},
        "FirstSignatureAlone",
    )
    four = shown(3, 7, 9, 10)
    refused(
        "t good ones and a bad one",
        "AGR-8",
        {**four, "signatures": [*four["signatures"][:3], (10, bytes(64))]},
        "FirstSignatureAlone",
        "BadSignaturesSkipped",
    )
    replayed = shown(3, 7, 9)
    refused("in another context", "AGR-8", {**replayed, "ctx": book.bytes("other ctx")}, "StatementWithoutContext")
    later = attrs.evolve(replayed["header"], round=4)
    refused("in another round", "AGR-8", {**replayed, "header": later}, "StatementWithoutHeader")
    changed = [(u, malleable(signature)) for u, signature in replayed["signatures"]]
    refused("s + L", "AGR-8", {**replayed, "signatures": changed}, "MalleableSignature")
    swapped = [(u, replayed["signatures"][k][1]) for u, k in ((3, 1), (7, 0), (9, 2))]
    refused("two clients' signatures exchanged", "AGR-8", {**replayed, "signatures": swapped}, "AnySignerAccepted")
    known = {u: key for u, key in DIRECTORY.items() if u != 7}
    refused(
        "of a client without an identity: the server is named",
        "AGR-8",
        {**replayed, "directory": known},
        "UnknownSignerAccepted",
        "SignerNamed",
    )
    views = [(u, keys.sign(secret=SECRETS[u], statement=replayed["views"])) for u, _ in replayed["signatures"]]
    refused("signatures over the views alone", "AGR-8", {**replayed, "signatures": views}, "StatementOfBody")
    unmask = shown(3, 7, 9)
    refused("the statement of U2 and U3 signed as a message of another kind", "AGR-8", {**unmask, "signatures": [
        (u, _as_advertise(unmask, u)) for u in (3, 7, 9)]}, "StatementOfBody")  # fmt: skip


def _consent(header: From, ctx: Digest, views: Digest, signer: int) -> bytes:
    """The signature of a client's `Consistent`."""
    message = Consistent(ClientId(signer), views)
    place = attrs.evolve(header, sender=signer).header()
    statement = agreement.statement(message=message, header=place, context=ctx)
    return keys.sign(secret=SECRETS[ClientId(signer)], statement=statement)


def _as_advertise(found: dict[str, Any], signer: int) -> bytes:
    """A signature over an `Advertise` whose channel key is the views."""
    fields = dict.fromkeys(("record_commitment", "seed_commitment", "signature"), "")
    keys_said = {"channel_key": found["views"].hex(), "mask_key": "00" * 32}
    header = attrs.evolve(found["header"], sender=signer)
    return _sign(Sent(Kind.ADVERTISE, header, {**fields, **keys_said}, HARDENED), found["ctx"])
