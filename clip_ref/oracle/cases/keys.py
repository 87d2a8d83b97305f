"""Cases of keys.   Spec: keys."""

from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from clip_ref import keys
from clip_ref.canonical import prefixed
from clip_ref.errors import SERVER
from clip_ref.oracle.case import Book
from clip_ref.rand import derive
from clip_ref.values import ClientId, Digest, SecretKey, SigningKey

LAST: Final = ClientId(SERVER - 1)
P: Final = 2**255 - 19
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""L, the order of Ed25519's base point."""

SEALS: Final = ("KEY-6", "RND-1", "CTX-1")
"""What a channel rests on."""

LOW_ORDER: Final = (
    ("0", 0),
    ("1", 1),
    ("order 8", 325606250916557431795983626356110631294008115727848805560023387167927233504),
    ("order 8, the other one", 39382357235489614581723060781553021112529911719440698176882885853963445705823),
    ("order 2, p − 1", P - 1),
)
"""Every canonical u-coordinate of low order."""


def little(number: int) -> bytes:
    """32 bytes, little-endian."""
    return number.to_bytes(32, "little")


def malleable(signature: bytes) -> bytes:
    """The signature with L added to its second half: the same equation, other bytes."""
    return signature[:32] + little(int.from_bytes(signature[32:], "little") + ORDER)


ALICE: Final = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
BOB: Final = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
"""The secrets of RFC 7748, section 6.1."""


def make(book: Book) -> None:
    """Key pairs and agreement, then seeds, channels, directories and signatures."""
    _pairs(book)
    _agreement(book)
    _seeds(book)
    _sealing(book)
    _unsealing(book)
    _directories(book)
    _signatures(book)


def _public(secret: bytes) -> bytes:
    return keys.public_key(SecretKey(secret))


def _pairs(book: Book) -> None:
    def pair(comment: str, secret: bytes, *, flags: tuple[str, ...] = ()) -> None:
        book.valid("keys.public_key", "KEY-1", comment=comment, flags=flags, secret=secret)

    pair("Alice's of RFC 7748, section 6.1", ALICE)
    pair("any secret", book.bytes("secret"))
    pair("a secret of zeros, of which a bit is set before use", bytes(32), flags=("ScalarNotClamped",))
    pair("a secret of ones, of which four bits are cleared before use", b"\xff" * 32, flags=("ScalarNotClamped",))
    for length in (0, 31, 33, 64):
        comment, secret = f"a secret of {length} bytes", book.bytes("secret", length)
        book.invalid("keys.public_key", "KEY-1", comment=comment, flags=("SecretLengthUnchecked",), secret=secret)


def _agreement(book: Book) -> None:
    def shared(
        comment: str, key: bytes, rule: str = "KEY-2", *, secret: bytes = b"", flags: tuple[str, ...] = ()
    ) -> None:
        rules = dict.fromkeys((rule, "KEY-2", "KEY-3", "KEY-1"))
        inputs = {"secret": secret or book.bytes("secret"), "peer": 3, "peer_key": key}
        book.valid("keys.agree", *rules, comment=comment, flags=flags, **inputs)

    def refused(comment: str, rule: str, key: bytes, flag: str, *, peer: int = 3, secret: bytes = b"") -> None:
        inputs = {"secret": secret or book.bytes("secret"), "peer": ClientId(peer), "peer_key": key}
        book.invalid("keys.agree", rule, comment=comment, flags=(flag,), **inputs)

    shared("Alice and Bob of RFC 7748, section 6.1", _public(BOB), secret=ALICE)
    shared("Bob and Alice: the same secret", _public(ALICE), secret=BOB)
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    shared("the first of RFC 7748, section 5.2", point, secret=scalar, flags=("ScalarNotClamped",))
    shared("the largest u-coordinate that is taken, p − 2", little(P - 2), flags=("KeyTooNearToP",))
    shared(
        "the smallest u-coordinate that is taken, 2, which lies on the twist",
        little(2),
        "KEY-3",
        flags=("TwistRefused",),
    )
    shared("the base point, 9", little(9), "KEY-3")
    point = bytes.fromhex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493")
    comment = "the second of RFC 7748, section 5.2: its highest bit is set, and we do not mask it"
    refused(comment, "KEY-2", point, "HighBitMasked")
    refused(
        "a good key with its highest bit set",
        "KEY-2",
        little(2**255 + int.from_bytes(_public(BOB), "little")),
        "HighBitMasked",
    )
    for name, u in (
        ("p, which is 0", P),
        ("p + 1, which is 1", P + 1),
        ("p + 9, the base point", P + 9),
        ("2^255 − 1", 2**255 - 1),
    ):
        refused(f"u = {name}", "KEY-2", little(u), "KeyNotReduced")
    for length in (0, 31, 33):
        refused(f"a key of {length} bytes", "KEY-2", book.bytes("key", length), "KeyLengthUncheckedOfPeer")
    for name, u in LOW_ORDER:
        refused(f"a point of low order: {name}", "KEY-3", little(u), "LowOrderAccepted")
    refused("the culprit is the peer, whoever it is", "KEY-3", bytes(32), "LowOrderAccepted", peer=LAST)
    refused(
        "one's own secret of 31 bytes is one's own fault",
        "KEY-1",
        _public(BOB),
        "SecretLengthUnchecked",
        secret=bytes(31),
    )


def _seeds(book: Book) -> None:
    agreed = ("KEY-2", "KEY-3", "KEY-1", "RND-1", "CTX-1")

    def pair(
        comment: str, me: int, peer: int, secret: bytes, key: bytes, ctx: bytes, *, flags: tuple[str, ...] = ()
    ) -> None:
        inputs = {"secret": secret, "me": ClientId(me), "peer": ClientId(peer), "peer_key": key, "ctx": ctx}
        book.valid("keys.pair_seed", "KEY-4", *agreed, comment=comment, flags=flags, **inputs)

    one, other, ctx = book.bytes("one"), book.bytes("other"), book.bytes("ctx")
    plain = ("SharedSecretAsSeed", "MaskContextLeftOut", "PairIdsLeftOut")
    pair("the end with the smaller id", 3, 8, one, _public(other), ctx, flags=plain)
    pair("the end with the larger id: the same seed", 8, 3, other, _public(one), ctx, flags=("PairIdsAsSeen",))
    pair("in another context", 3, 8, one, _public(other), book.bytes("ctx"), flags=("MaskContextLeftOut",))
    pair("ids that text would order otherwise: 9 and 10", 10, 9, one, _public(other), ctx, flags=("PairIdsAsText",))
    pair("the smallest and the largest id", LAST, 0, one, _public(other), ctx, flags=("IdsSigned",))

    def refused(comment: str, rule: str, flag: str, key: bytes, secret: bytes = one) -> None:
        inputs = {"secret": secret, "me": 3, "peer": 8, "peer_key": key, "ctx": ctx}
        book.invalid("keys.pair_seed", rule, comment=comment, flags=(flag,), **inputs)

    refused("the peer's mask key is of low order", "KEY-3", "LowOrderAccepted", little(1))
    refused("the peer's mask key is not reduced", "KEY-2", "KeyNotReduced", little(P + 9))
    refused("one's own mask key has 33 bytes", "KEY-1", "SecretLengthUnchecked", _public(other), bytes(33))

    def own(comment: str, me: int, *, flags: tuple[str, ...] = (), seed: bytes = b"") -> None:
        inputs = {"self_seed": seed or book.bytes("b"), "me": ClientId(me), "ctx": book.bytes("ctx")}
        book.valid("keys.self_mask_seed", "KEY-5", "KEY-1", "RND-1", "CTX-1", comment=comment, flags=flags, **inputs)

    own("a client", 7, flags=("SelfSeedAsMaskSeed", "MaskContextLeftOut"))
    own("the client with id 0, which is an id", 0, flags=("SelfMaskWithoutId",))
    own("the client with the largest id, and a seed of zeros", LAST, seed=bytes(32))
    for length in (16, 31):
        inputs = {"self_seed": book.bytes("b", length), "me": 7, "ctx": book.bytes("ctx")}
        comment, flags = f"b of {length} bytes", ("SecretLengthUnchecked",)
        book.invalid("keys.self_mask_seed", "KEY-1", comment=comment, flags=flags, **inputs)


def _channel(book: Book, **others: Any) -> dict[str, Any]:
    known = {"shared": book.bytes("shared"), "ctx": book.bytes("ctx")}
    return {**known, "purpose": "shares", "sender": ClientId(3), "receiver": ClientId(8), **others}


def _sealing(book: Book) -> None:
    def seal(comment: str, plain: bytes, *, flags: tuple[str, ...] = (), **others: Any) -> None:
        book.valid("keys.seal", *SEALS, comment=comment, flags=flags, plain=plain, **_channel(book, **others))

    unbound = ("ReceiverNotBound", "SenderNotBound", "ReplayAccepted")
    data = (
        *unbound,
        "AssociatedDataLeftOut",
        "AssociatedPurposeWithoutLength",
        "TimestampBefore",
        "NonceBefore",
        "NonceCountsUp",
    )
    seal("two shares", book.bytes("plain", 64), flags=(*data, "ChannelKeyForBothWays"))
    seal(
        "the other way round: another key",
        book.bytes("plain", 64),
        sender=8,
        receiver=3,
        flags=("ChannelKeyForBothWays",),
    )
    seal("a record: another key", book.bytes("plain", 79), purpose="record", flags=("ChannelKeyForAllPurposes",))
    seal("nothing", b"", flags=("EmptyNotSealed",))
    seal("one byte", b"\x00")
    seal("a byte more than a block of ChaCha20", book.bytes("plain", 65))
    seal("an empty purpose", b"plain", purpose="")
    seal("the smallest and the largest id", b"plain", sender=0, receiver=LAST, flags=("AssociatedIdsBigEndian",))
    comment, inputs = "a receiver that does not fit", _channel(book, receiver=2**32)
    book.invalid("keys.seal", "CTX-1", "KEY-6", comment=comment, flags=("IntegersWrap",), plain=b"plain", **inputs)


def _unsealing(book: Book) -> None:
    def channel(**others: Any) -> tuple[bytes, dict[str, Any]]:
        plain, known = book.bytes("plain", 64), _channel(book, **others)
        return keys.seal(plain, **known), known

    def opens(comment: str, sealed: bytes, known: dict[str, Any]) -> None:
        book.valid("keys.unseal", *SEALS, comment=comment, sealed=sealed, **known)

    def refused(comment: str, sealed: bytes, known: dict[str, Any], *flags: str) -> None:
        book.invalid("keys.unseal", *SEALS, comment=comment, flags=flags, sealed=sealed, **known)

    opens("two shares", *channel())
    opens("a record, from the client with id 0", *channel(purpose="record", sender=ClientId(0)))
    known = _channel(book)
    opens("nothing but a tag", keys.seal(b"", **known), known)
    sealed, known = channel()
    tag = "TagUnchecked"
    refused("the last bit of the tag flipped", sealed[:-1] + bytes((sealed[-1] ^ 1,)), known, tag)
    refused(
        "the first bit of the tag flipped", sealed[:64] + bytes((sealed[64] ^ 128,)) + sealed[65:], known, tag, "TagCut"
    )
    refused("the first bit of the text flipped", bytes((sealed[0] ^ 128,)) + sealed[1:], known, tag)
    refused("the tag cut off", sealed[:-16], known, tag)
    refused("the tag cut to 12 bytes", sealed[:-4], known, tag, "TagCut")
    refused("shorter than a tag", sealed[:15], known, tag)
    refused("nothing at all", b"", known, tag)
    refused("a byte appended", sealed + b"\x00", known, tag)
    refused("sent back to its sender", sealed, {**known, "sender": 8, "receiver": 3}, "ChannelKeyForBothWays")
    refused("passed on to another receiver", sealed, {**known, "receiver": 9}, "ReceiverNotBound")
    refused("as if from another sender: that one is named", sealed, {**known, "sender": 4}, "SenderNotBound")
    refused(
        "in another round, whose context is another one", sealed, {**known, "ctx": book.bytes("ctx")}, "ReplayAccepted"
    )
    refused("for another purpose", sealed, {**known, "purpose": "record"}, "ChannelKeyForAllPurposes")
    refused("by another secret", sealed, {**known, "shared": book.bytes("shared")}, tag)
    key = derive(secret=known["shared"], salt=known["ctx"], purpose="channel shares", ids=(3, 8))
    data = known["ctx"] + prefixed(b"shares") + (3).to_bytes(4, "little") + (8).to_bytes(4, "little")
    aead, plain = ChaCha20Poly1305(key), book.bytes("plain", 64)
    refused(
        "under the right key, but without associated data",
        aead.encrypt(bytes(12), plain, b""),
        known,
        "AssociatedDataLeftOut",
    )
    nonce = book.bytes("nonce", 12)
    refused("with a random nonce in front", nonce + aead.encrypt(nonce, plain, data), known, "NonceBefore")
    refused("with a nonce that counts from 1", aead.encrypt(b"\x01" + bytes(11), plain, data), known, "NonceCountsUp")


def _directories(book: Book) -> None:
    def directory(comment: str, *clients: int, flags: tuple[str, ...] = ()) -> None:
        known = {ClientId(u): book.bytes(f"key of {u}") for u in clients}
        book.valid("keys.directory_digest", "KEY-8", "CTX-2", "CTX-1", comment=comment, flags=flags, directory=known)

    directory("nobody: 32 zero bytes", flags=("EmptyDirectoryDigested",))
    directory("one client", 7)
    directory("three clients", 1, 5, 7, flags=("DirectoryWithoutIds",))
    directory("9, 10, 100: the order of numbers, not of their digits", 9, 10, 100, flags=("IdsSortedAsText",))
    directory("in another order: the same directory", 100, 9, 10, flags=("IdsAsGiven",))
    directory("ids from 2^31 up come last", 2**31, 2**31 - 1, LAST, 0, flags=("IdsSigned",))
    comment, known = "an id that does not fit", {ClientId(2**32): book.bytes("key")}
    book.invalid("keys.directory_digest", "CTX-1", "KEY-8", comment=comment, flags=("IntegersWrap",), directory=known)


def _signatures(book: Book) -> None:
    def sign(comment: str, secret: bytes, statement: bytes, *, flags: tuple[str, ...] = ()) -> None:
        inputs = {"secret": secret, "statement": statement}
        book.valid("keys.sign", "KEY-7", "KEY-1", comment=comment, flags=flags, **inputs)

    sign(
        "a digest", book.bytes("secret"), book.bytes("statement"), flags=("SignatureRandomised", "StatementHashedFirst")
    )
    sign("a digest of zeros", book.bytes("secret"), bytes(32))
    sign("by a secret of zeros", bytes(32), book.bytes("statement"))
    for length in (31, 33, 64):
        inputs = {"secret": book.bytes("secret", length), "statement": book.bytes("statement")}
        comment, flags = f"an identity of {length} bytes", ("SecretLengthUnchecked",)
        book.invalid("keys.sign", "KEY-1", comment=comment, flags=flags, **inputs)

    for length in (0, 31, 33, 64):
        inputs = {"secret": book.bytes("secret"), "statement": book.bytes("statement", length)}
        book.invalid(
            "keys.sign", "KEY-7", comment=f"a statement of {length} bytes", flags=("AnythingSigned",), **inputs
        )

    secrets = {ClientId(u): SigningKey(book.bytes(f"identity of {u}")) for u in (0, 3, 8, LAST)}
    directory = {u: keys.identity_key(secret) for u, secret in secrets.items()}
    statement = Digest(book.bytes("statement"))
    signature = keys.sign(secret=secrets[ClientId(3)], statement=statement)
    known = {"directory": directory, "signer": 3, "signature": signature, "statement": statement}

    def good(comment: str, **others: Any) -> None:
        book.valid("keys.verify", "KEY-9", comment=comment, **{**known, **others})

    def refused(comment: str, *flags: str, **others: Any) -> None:
        book.invalid("keys.verify", "KEY-9", comment=comment, flags=flags, **{**known, **others})

    good("a client's signature over the statement")
    for client in (0, LAST):
        signed = keys.sign(secret=secrets[ClientId(client)], statement=statement)
        good(f"that of the client with id {client}", signer=client, signature=signed)
    unchecked = "SignatureUnchecked"
    refused("over another statement", unchecked, statement=book.bytes("statement"))
    refused("of another client, who is in the directory too", "AnySignerAccepted", signer=8)
    refused("of a client that the directory lacks: it is named", "UnknownSignerAccepted", signer=4)
    refused("of a client that an empty directory lacks", "UnknownSignerAccepted", directory={})
    refused("s + L: the same equation, another signature", "MalleableSignature", signature=malleable(signature))
    refused("the highest bit of s set", "MalleableSignature", signature=signature[:-1] + bytes((signature[-1] | 128,)))
    refused("R with a bit flipped", unchecked, signature=bytes((signature[0] ^ 1,)) + signature[1:])
    refused("all zeros", unchecked, signature=bytes(64))
    for length in (0, 63):
        refused(f"of {length} bytes", unchecked, signature=signature[:length])
    refused("with a byte more", "TrailingSignatureBytes", signature=signature + b"\x00")
    refused(
        "a key of 31 bytes in the directory",
        unchecked,
        directory={**directory, ClientId(3): directory[ClientId(3)][:31]},
    )
    refused("a key in the directory that is no point", unchecked, directory={**directory, ClientId(3): little(2)})
    longer: dict[str, Any] = {**known, "statement": book.bytes("statement", 33)}
    book.invalid("keys.verify", "KEY-7", comment="over a statement of 33 bytes", **longer)
