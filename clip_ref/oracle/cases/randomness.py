"""Cases of deterministic randomness.   Spec: randomness."""

from typing import Any, Final

import numpy as np

from clip_ref.oracle.case import Book
from clip_ref.oracle.operations.randomness import ring_of

STREAM: Final = ("RND-2", "RND-1")
"""What every keystream rests on."""

WRAPS: Final = b"searched for: a rare see" + (174_525).to_bytes(8, "little")
"""A seed whose counter block ends in ffffffcc: the last 32 bits wrap after 52 blocks."""

TOP: Final = b"searched for: a rare see" + (29_977_449).to_bytes(8, "little")
"""A seed whose mask has its 22nd word of 32 bits, counted from 0, equal to R − 1."""

REJECTS: Final = b"searched for: a rare see" + (6_301_465).to_bytes(8, "little")
"""Entropy whose permutation of 60 for the purpose `slack hidden1` rejects a word, at top = 48."""


def make(book: Book) -> None:
    """Derived keys, then keystreams, masks and their sums, then permutations."""
    _keys(book)
    _streams(book)
    _masks(book)
    _sums(book)
    _permutations(book)


def _keys(book: Book) -> None:
    def inputs(**others: object) -> dict[str, object]:
        secret, salt = book.bytes("secret"), book.bytes("salt")
        return {"secret": secret, "salt": salt, "purpose": "self mask", "ids": [], "length": 32, **others}

    def key(comment: str, *, flags: tuple[str, ...] = (), **others: object) -> None:
        book.valid("randomness.derive", "RND-1", "CTX-1", comment=comment, flags=flags, **inputs(**others))

    def refused(comment: str, rule: str, flag: str, **others: object) -> None:
        said = dict.fromkeys((rule, "RND-1"))
        book.invalid("randomness.derive", *said, comment=comment, flags=(flag,), **inputs(**others))

    key("a key with no ids", flags=("SaltAndSecretSwapped", "SaltAndInfoSwapped"))
    key("the same for another purpose", purpose="pairwise mask", flags=("PurposeLeftOut", "PurposeWithoutPrefix"))
    key("one id", ids=[7], flags=("KeyWithoutIds", "KeyIdsBigEndian"))
    key("two ids, ascending", ids=[3, 8], flags=("KeyWithoutIds",))
    key("two ids, descending: another key", ids=[8, 3], flags=("KeyIdsSorted",))
    key("the smallest and the largest id", ids=[0, 2**32 - 1], flags=("KeyIdsBigEndian", "IdsSigned"))
    key("an empty salt", salt=b"", flags=("EmptySaltSkipsExtract",))
    key("an empty purpose: the label is its prefix", purpose="")
    key("a purpose of which the length counts bytes", purpose="slack größe 層", flags=("NameLengthInCharacters",))
    key("a salt of one block of SHA-256", salt=book.bytes("salt", 64))
    key("a salt that is hashed first, as it is longer than a block", salt=book.bytes("salt", 65), flags=("SaltCut",))
    key("a secret of one byte", secret=b"\x01")
    key("no secret at all", secret=b"")
    key("a secret longer than a block", secret=book.bytes("secret", 100))
    key("one byte", length=1)
    key("33 bytes: a second block of output", length=33, flags=("OneBlockOfOutput",))
    key("100 bytes", length=100, flags=("OneBlockOfOutput",))
    refused("an id that does not fit", "CTX-1", "IntegersWrap", ids=[2**32])
    refused("a negative id", "CTX-1", "IntegersWrap", ids=[3, -1])
    refused("no byte", "RND-1", "KeyLengthUnchecked", length=0)
    refused("one byte more than HKDF yields", "RND-1", "KeyLengthUnchecked", length=8161)


def _streams(book: Book) -> None:
    def stream(
        comment: str, length: int, rule: str = "RND-2", *, flags: tuple[str, ...] = (), seed: bytes = b""
    ) -> None:
        rules = dict.fromkeys((rule, "RND-6", *STREAM, "CTX-1"))
        inputs = {"seed": seed or book.bytes("seed"), "length": length}
        book.valid("randomness.bytes", *rules, comment=comment, flags=flags, **inputs)

    halves = ("SeedAsKey", "KeyAndCounterSwapped", "CounterFromZero", "NonceAndShortCounter", "LongKey")
    stream("one block", 16, flags=(*halves, "SeedFolded"))
    stream("three blocks: the counter counts up at its end", 48, flags=(*halves, "LittleEndianCounter"))
    wraps = ("NarrowCounter", "NonceAndShortCounter", "LittleEndianCounter")
    stream("the last 32 bits of the counter wrap after 52 blocks, and carry", 880, seed=WRAPS, flags=wraps)
    stream("a seed of zeros", 32, seed=bytes(32))
    book.invalid("randomness.bytes", "RND-6", comment="fewer than no bytes", seed=book.bytes("seed"), length=-1)
    stream("a seed of ones", 32, seed=b"\xff" * 32)
    stream("no bytes", 0, "RND-6")
    stream("one byte less than a block", 15, "RND-6")
    stream("one byte more than a block", 17, "RND-6", flags=("BlockRestarted",))
    stream("coefficients for a secret of 32 bytes and t = 3", 64, "RND-6", flags=("BlockRestarted",))
    for length in (0, 16, 31, 33):
        comment, seed = f"a seed of {length} bytes", book.bytes("seed", length)
        book.invalid(
            "randomness.bytes",
            "KEY-1",
            "RND-2",
            comment=comment,
            flags=("SecretLengthUnchecked",),
            seed=seed,
            length=16,
        )


def _masks(book: Book) -> None:
    def mask(comment: str, ring_bits: int, length: int, *, flags: tuple[str, ...] = (), seed: bytes = b"") -> None:
        inputs = {"seed": seed or book.bytes("seed"), "ring_bits": ring_bits, "length": length}
        book.valid("randomness.mask", "RND-3", *STREAM, "CTX-1", comment=comment, flags=flags, **inputs)

    mask("one element", 32, 1, flags=("BigEndianWords", "WordsOfFloats"))
    mask("one element of 64 bits", 64, 1, flags=("BigEndianWords", "TwoNarrowWords"))
    mask("nothing", 32, 0)
    mask("one block", 32, 4, flags=("SeedFolded",))
    mask("a block and an element", 32, 5)
    mask("a block and an element, of 64 bits", 64, 3, flags=("TwoNarrowWords",))
    mask("the top value R − 1 is drawn, as element 22", 32, 40, seed=TOP, flags=("TopValueNeverDrawn",))
    mask("the counter's last 32 bits wrap", 32, 220, seed=WRAPS, flags=("NarrowCounter",))
    mask("the same in the wide ring", 64, 110, seed=WRAPS, flags=("NarrowCounter", "TwoNarrowWords"))
    comment, seed = "a seed of 31 bytes", book.bytes("seed", 31)
    flags = ("SecretLengthUnchecked",)
    less: dict[str, Any] = {"seed": book.bytes("seed"), "ring_bits": 32, "length": -1}
    book.invalid("randomness.mask", "RND-3", comment="fewer than no elements", **less)
    book.invalid("randomness.mask", "KEY-1", "RND-2", comment=comment, flags=flags, seed=seed, ring_bits=32, length=4)


def _sums(book: Book) -> None:
    rules = ("RND-4", "RND-3", *STREAM, "CTX-1")

    def vector(bits: int, *elements: int) -> bytes:
        return np.array(elements, dtype=ring_of(bits).dtype).tobytes()

    def total(
        comment: str, bits: int, target: bytes, *, plus: int = 0, minus: int = 0, flags: tuple[str, ...] = ()
    ) -> None:
        seeds = [book.bytes(f"seed {k}") for k in range(plus + minus)]
        inputs = {"ring_bits": bits, "target": target, "plus": seeds[:plus], "minus": seeds[plus:]}
        book.valid("randomness.accumulate", *rules, comment=comment, flags=flags, **inputs)

    total("no masks: the vector as it was", 32, vector(32, 0, 1, 2**32 - 1))
    total("a mask added", 32, vector(32, 0, 1, 2**31, 2**32 - 1), plus=1, flags=("MaskOverwrites", "SumSaturates"))
    total("a mask subtracted", 32, vector(32, 0, 1, 2**31, 2**32 - 1), minus=1, flags=("MinusAdds", "SumSaturates"))
    total(
        "three added and two subtracted",
        32,
        vector(32, *range(9)),
        plus=3,
        minus=2,
        flags=("MinusAdds", "FirstMaskAlone"),
    )
    total("64 bits", 64, vector(64, 0, 2**63, 2**64 - 1), plus=2, minus=1, flags=("MinusAdds", "SumAsDoubles"))
    total("no elements", 32, b"", plus=1)
    one = book.bytes("seed")
    twice: dict[str, object] = {"ring_bits": 32, "target": vector(32, 5, 6)}
    comment = "a mask both added and subtracted cancels"
    book.valid("randomness.accumulate", *rules, comment=comment, plus=[one], minus=[one], flags=("MinusAdds",), **twice)
    comment = "a seed that is listed twice counts twice"
    book.valid(
        "randomness.accumulate", *rules, comment=comment, plus=[one, one], minus=[], flags=("SeedsAsSet",), **twice
    )
    long = book.bytes("target", 1000)
    total("250 elements", 32, long, plus=2, minus=2, flags=("FirstMaskAlone",))
    comment, seed = "a seed of 33 bytes", book.bytes("seed", 33)
    flags = ("SecretLengthUnchecked",)
    book.invalid(
        "randomness.accumulate", "KEY-1", "RND-2", comment=comment, plus=[seed], minus=[], flags=flags, **twice
    )
    for bits, size in ((32, 7), (64, 12)):
        comment = f"{size} bytes are no elements of {bits} bits"
        inputs = {"ring_bits": bits, "target": book.bytes("target", size), "plus": [book.bytes("seed")], "minus": []}
        book.invalid("randomness.accumulate", "MSK-1", comment=comment, flags=("PartialElements",), **inputs)


def _permutations(book: Book) -> None:
    def order(
        comment: str, length: int, purpose: str = "slack hidden1", *, flags: tuple[str, ...] = (), entropy: bytes = b""
    ) -> None:
        inputs = {"entropy": entropy or book.bytes("entropy"), "purpose": purpose, "length": length}
        book.valid("randomness.permutation", "RND-5", *STREAM, "CTX-1", comment=comment, flags=flags, **inputs)

    def refused(comment: str, length: int, entropy: bytes) -> None:
        inputs = {"entropy": entropy, "purpose": "slack hidden1", "length": length}
        book.invalid("randomness.permutation", "RND-5", comment=comment, flags=("PermutationUnchecked",), **inputs)

    order("of nothing", 0)
    order("of one", 1)
    order("of two: the lowest bit of the first word", 2)
    order("of ten", 10, flags=("ShuffledFromBelow", "IndexScaled", "PermutationBigEndian", "EntropyAsSeed"))
    order("the same for another layer", 10, "slack hidden2", flags=("PurposeLeftOut",))
    order("of ten, by entropy of zeros", 10, entropy=bytes(32))
    order("a word is rejected at top = 48", 60, entropy=REJECTS, flags=("ModuloBias", "RejectedWordReused"))
    order("of 255", 255, flags=("ShuffledFromBelow",))
    order("of 300", 300, flags=("IndexOfOneByte", "IndexScaled"))
    refused("entropy of 31 bytes", 10, book.bytes("entropy", 31))
    refused("no entropy", 10, b"")
    refused("a negative length", -1, book.bytes("entropy"))
    refused("a length of 2^31", 2**31, book.bytes("entropy"))
