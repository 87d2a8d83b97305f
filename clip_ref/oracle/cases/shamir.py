"""Cases of secret sharing.   Spec: shamir."""

from typing import Final

from clip_ref import shamir
from clip_ref.oracle.case import Book

FIELD: Final = ("WrongPolynomial", "IntegersModulo257")


def make(book: Book) -> None:
    """Shares, then weights, then secrets."""
    _splitting(book)
    _weights(book)
    _combining(book)


def _splitting(book: Book) -> None:
    def split(
        comment: str, secret: bytes, t: int, holders: int, rule: str = "SHM-1", *, flags: tuple[str, ...] = ()
    ) -> None:
        randomness = book.bytes("randomness", (t - 1) * len(secret))
        _split(book, comment, secret, t, holders, randomness, rule, flags)

    comment = "57 · 13 = fe: FIPS 197, section 4.2.1, is what holder 19 gets"
    _split(book, comment, b"\x00", 2, 19, b"\x57", "SHM-1", (*FIELD, "HoldersFromZero"))
    comment = "57 · 83 = c1: FIPS 197, section 4.2, is what holder 131 gets"
    _split(book, comment, b"\x00", 2, 131, b"\x57", "SHM-1", (*FIELD, "HoldersFromZero"))
    split("two bytes, t = 2 of 2", book.bytes("secret", 2), 2, 2)
    split("t = 2 of 5", book.bytes("secret"), 2, 5)
    split("t = n = 5", book.bytes("secret"), 5, 5, flags=("DegreeTooHigh",))
    split("255 holders of one byte", book.bytes("secret", 1), 2, 255, flags=("FewerThan255",))
    split("t = n = 255", book.bytes("secret", 1), 255, 255, flags=("FewerThan255",))
    split(
        "t = 3 of 4: the coefficients of x come first",
        book.bytes("secret", 4),
        3,
        4,
        "SHM-2",
        flags=("CoefficientsReversed", "CoefficientsByByte"),
    )
    split("a secret of zeros", bytes(32), 3, 4, "SHM-2", flags=("CoefficientsReversed",))
    comment = "randomness of zeros: each share is the secret"
    _split(book, comment, book.bytes("secret"), 3, 4, bytes(64), "SHM-2", ())

    def refused(comment: str, rule: str, flag: str, t: int, holders: int, size: int, length: int = 32) -> None:
        inputs = {"secret": book.bytes("secret", length), "randomness": book.bytes("randomness", size)}
        book.invalid("shamir.split", rule, comment=comment, flags=(flag,), threshold=t, holders=holders, **inputs)

    refused("t = 1: each share is the secret", "SHM-1", "ThresholdOfOne", 1, 5, 0)
    refused("t = 0", "SHM-1", "ThresholdOfOne", 0, 5, 0)
    refused("t of more than the holders", "SHM-1", "ThresholdAboveHolders", 6, 5, 160)
    refused("256 holders: two would have one number", "SHM-1", "TooManyHolders", 2, 256, 32)
    refused("one holder", "SHM-1", "ThresholdAboveHolders", 2, 1, 32)
    refused("a byte of randomness too few", "SHM-2", "RandomnessUnchecked", 3, 5, 63)
    refused("a byte of randomness too many", "SHM-2", "RandomnessUnchecked", 3, 5, 65)
    refused("no randomness", "SHM-2", "RandomnessUnchecked", 3, 5, 0)
    refused("randomness for t coefficients", "SHM-2", "RandomnessUnchecked", 3, 5, 96)
    refused("no secret", "SHM-2", "EmptySecret", 2, 3, 0, 0)


def _split(
    book: Book, comment: str, secret: bytes, t: int, holders: int, randomness: bytes, rule: str, flags: tuple[str, ...]
) -> None:
    rules = dict.fromkeys((rule, "SHM-1", "SHM-2"))
    inputs = {"secret": secret, "threshold": t, "holders": holders, "randomness": randomness}
    book.valid("shamir.split", *rules, comment=comment, flags=flags, **inputs)


def _weights(book: Book) -> None:
    def weights(comment: str, *points: int, flags: tuple[str, ...] = ()) -> None:
        book.valid("shamir.lagrange", "SHM-3", "SHM-1", comment=comment, flags=flags, points=list(points))

    def refused(comment: str, *points: int) -> None:
        book.invalid(
            "shamir.lagrange", "SHM-3", comment=comment, flags=("HolderNumbersUnchecked",), points=list(points)
        )

    weights("one holder: 1", 7)
    weights("holders 1 and 2", 1, 2, flags=(*FIELD, "WeightsInverted"))
    weights("in another order: the weights change places", 2, 1, flags=("WeightsSorted",))
    weights("holders 1 to 5", 1, 2, 3, 4, 5, flags=FIELD)
    weights("holders far apart", 255, 128, 1, flags=FIELD)
    weights("all 255", *range(1, 256))
    refused("nobody")
    refused("a holder twice", 1, 3, 3)
    refused("holder 0, where the secret lies", 0, 1, 2)
    refused("holder 256", 1, 256)
    refused("a negative holder", -1, 2)


def _combining(book: Book) -> None:
    def shares(t: int, holders: int, length: int = 32) -> dict[int, bytes]:
        randomness = book.bytes("randomness", (t - 1) * length)
        made = shamir.split(secret=book.bytes("secret", length), threshold=t, holders=holders, randomness=randomness)
        return dict(enumerate(made, start=1))

    def combine(comment: str, found: dict[int, bytes], rule: str = "SHM-5", *, flags: tuple[str, ...] = ()) -> None:
        rules = dict.fromkeys((rule, "SHM-5", "SHM-4", "SHM-3", "SHM-1"))
        book.valid("shamir.combine", *rules, comment=comment, flags=flags, shares=found, threshold=len(found))

    def refused(comment: str, rule: str, flag: str, found: dict[int, bytes], t: int) -> None:
        said = dict.fromkeys((rule, "SHM-4", "SHM-5"))
        book.invalid("shamir.combine", *said, comment=comment, flags=(flag,), shares=found, threshold=t)

    def some(found: dict[int, bytes], *holders: int) -> dict[int, bytes]:
        return {x: found[x] for x in holders}

    combine("the first two of three", some(shares(2, 3), 1, 2), "SHM-4", flags=(*FIELD, "CombinedFromZero"))
    combine("the last two of three", some(shares(2, 3), 2, 3), "SHM-4", flags=("CombinedByPosition",))
    combine("any five of nine", some(shares(5, 9), 1, 3, 4, 7, 9), "SHM-4", flags=("CombinedByPosition",))
    combine(
        "9 and 10: numbers, not text",
        some(shares(3, 10), 2, 9, 10),
        flags=("CombinedByPosition",),
    )
    combine("the last three of 255", some(shares(3, 255), 253, 254, 255))
    combine("all of n = t = 20, of one byte", shares(20, 20, 1))
    wrong = some(shares(2, 3), 1, 3)
    wrong[3] = wrong[3][:-1] + bytes((wrong[3][-1] ^ 1,))
    combine("a wrong share gives a wrong secret, and no error", wrong, flags=("ShareErrorsGuessed",))
    combine("shares that nobody dealt", {5: bytes(8), 200: b"\xff" * 8})
    refused("one more than t", "SHM-4", "MoreThanThreshold", shares(3, 4), 3)
    refused("one fewer than t", "SHM-4", "FewerThanThreshold", some(shares(3, 4), 1, 2), 3)
    refused("a share a byte shorter than the other", "SHM-5", "ShareLengthsUnchecked", {1: bytes(32), 2: bytes(31)}, 2)
    refused("an empty share beside one that is not", "SHM-5", "ShareLengthsUnchecked", {1: b"", 2: b"\x01"}, 2)
    refused("the share of holder 0", "SHM-3", "HolderNumbersUnchecked", {0: bytes(4), 1: bytes(4)}, 2)
    refused("the share of holder 256", "SHM-3", "HolderNumbersUnchecked", {1: bytes(4), 256: bytes(4)}, 2)
