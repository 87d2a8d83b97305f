"""Cases of the graph.   Spec: graph."""

from typing import Any

from clip_ref import graph
from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.small import graph_params
from clip_ref.params import Score, Selection

LAST = 2**64 - 1
"""The longest time."""


def make(book: Book) -> None:
    """Neighbours, proofs, views, times, and the size of k and t."""
    _neighbours(book)
    _tree(book)
    _proofs(book)
    _bitmaps(book)
    _buckets(book)
    _targets(book)
    _judged(book)
    _chosen(book)


def _neighbours(book: Book) -> None:
    for comment in ("any context", "another one"):
        book.valid("graph.seed", "GRA-2", comment=comment, flags=("UnlabelledGraphSeed",), ctx=book.bytes("ctx"))
    book.valid("graph.seed", "GRA-2", comment="all zero", flags=("UnlabelledGraphSeed",), ctx=bytes(32))
    circle = ("CircleNotShuffled", "DegreeOnEitherSide")
    cases: tuple[tuple[str, int, int, int, tuple[str, ...]], ...] = (
        ("k = 2 on a circle of nine", 9, 2, 0, circle),
        ("k = 4", 9, 4, 3, circle),
        ("k = 4, from the last position", 9, 4, 8, circle),
        ("n′ = k + 2: one is left out", 6, 4, 2, ("CircleNotShuffled",)),
        ("n′ = k + 1: everybody else", 5, 4, 2, ()),
        ("n′ = k: everybody else", 4, 4, 0, ("NeighboursCountedTwice",)),
        ("n′ below k", 3, 6, 1, ("NeighboursCountedTwice",)),
        ("two clients", 2, 2, 1, ("NeighboursCountedTwice",)),
        ("alone", 1, 2, 0, ("NeighboursCountedTwice",)),
        ("k = 10 of 64", 64, 10, 40, circle),
    )
    for comment, count, degree, position, flags in cases:
        book.valid(
            "graph.neighbours",
            "GRA-1",
            "RND-5",
            comment=comment,
            flags=flags,
            seed=book.bytes("seed"),
            count=count,
            degree=degree,
            position=position,
        )
    seed = book.bytes("the seed of one circle")
    for position in range(7):
        book.valid(
            "graph.neighbours",
            "GRA-1",
            "RND-5",
            comment=f"around one circle of seven, position {position}",
            flags=("CircleHasEnds", "CircleNotShuffled") if position in (1, 5) else ("CircleNotShuffled",),
            seed=seed,
            count=7,
            degree=2,
            position=position,
        )
    for comment, degree, position in (
        ("odd k", 3, 0),
        ("k = 0", 0, 0),
        ("a position beyond the roster", 4, 9),
    ):
        book.invalid(
            "graph.neighbours",
            "GRA-1",
            comment=comment,
            seed=book.bytes("seed"),
            count=9,
            degree=degree,
            position=position,
        )


def _leaves(book: Book, count: int) -> list[bytes]:
    return [book.bytes(f"leaf {k}") for k in range(count)]


def _tree(book: Book) -> None:
    labels = ("LeafWithoutPosition", "LeafIsNode")
    for comment, position, length in (
        ("the first position", 0, 40),
        ("the same bundle's length elsewhere", 1, 40),
        ("the last position that there is", 2**32 - 1, 200),
        ("an empty bundle", 3, 0),
    ):
        bundle = book.bytes("bundle", length)
        book.valid("graph.leaf", "GRA-3", "CTX-2", comment=comment, flags=labels, position=position, bundle=bundle)
    book.invalid(
        "graph.leaf", "CTX-1", "GRA-3", comment="a position of 33 bits", position=2**32, bundle=book.bytes("bundle")
    )
    for count in (1, 2, 3, 4, 5, 6, 7, 9):
        odd = count > 1 and bin(count).count("1") > 1
        book.valid(
            "graph.root",
            "GRA-3",
            "CTX-2",
            comment=f"{count} leaves" + (", an odd level" if odd else ""),
            flags=("OddNodeDoubled", "NodesUnlabelled") if odd else ("NodesUnlabelled",) if count > 1 else (),
            leaves=_leaves(book, count),
        )
    book.valid("graph.root", "GRA-3", "CTX-2", comment="no leaves", leaves=[])
    three = _leaves(book, 3)
    book.valid("graph.root", "GRA-3", "CTX-2", comment="the last leaf twice is another tree", leaves=[*three, three[2]])
    for comment, clients in (("three clients", 3), ("as many as fit", 2**32 - 1), ("none", 0)):
        root = book.bytes("root")
        book.valid(
            "graph.roster_digest",
            "GRA-3",
            "CTX-2",
            comment=comment,
            flags=("RosterSizeLeftOut",),
            root=root,
            count=clients,
        )
    book.invalid("graph.roster_digest", "CTX-1", "GRA-3", comment="33 bits", root=book.bytes("root"), count=2**32)


def _proofs(book: Book) -> None:
    for comment, count, position in (
        ("of the only leaf: nothing", 1, 0),
        ("of the first of two", 2, 0),
        ("of the first of five", 5, 0),
        ("of a leaf in the middle", 5, 2),
        ("of a leaf that is carried up twice", 5, 4),
        ("of a leaf that is carried up once", 7, 6),
        ("beside a carried one", 7, 5),
        ("of the last of eight", 8, 7),
    ):
        book.valid(
            "graph.proof",
            "GRA-4",
            "GRA-3",
            comment=comment,
            flags=("OddNodeDoubled",) if "carried up" in comment else (),
            leaves=_leaves(book, count),
            position=position,
        )

    def tree(count: int) -> tuple[list[bytes], list[list[bytes]], bytes]:
        leaves = _leaves(book, count)
        levels = graph.merkle_levels(leaves)
        return leaves, levels, levels[-1][0]

    checks = "graph.check_proof"
    for count, position in ((1, 0), (2, 1), (5, 0), (5, 3), (5, 4), (6, 5), (7, 6), (8, 7)):
        leaves, levels, root = tree(count)
        book.valid(
            checks,
            "GRA-4",
            "GRA-3",
            comment=f"leaf {position} of {count}",
            root=root,
            count=count,
            position=position,
            leaf=leaves[position],
            proof=list(graph.merkle_proof(levels, position)),
        )

    leaves, levels, root = tree(6)
    proof = list(graph.merkle_proof(levels, 2))
    good: dict[str, Any] = {"root": root, "count": 6, "position": 2, "leaf": leaves[2], "proof": proof}
    book.valid(checks, "GRA-4", "GRA-3", comment="the proof that the next ones spoil", **good)
    flip = bytes([proof[1][0] ^ 1]) + proof[1][1:]
    for comment, flags, changed in (
        ("a bit of a sibling", ("ProofNotChecked",), {"proof": [proof[0], flip, proof[2]]}),
        ("the siblings in another order", ("ProofNotChecked",), {"proof": [proof[1], proof[0], proof[2]]}),
        ("a sibling too few", ("ProofNotChecked",), {"proof": proof[:-1]}),
        ("no siblings", ("ProofNotChecked",), {"proof": []}),
        ("a sibling too many", ("LongProofTaken",), {"proof": [*proof, book.bytes("one more")]}),
        ("the neighbour's position", ("ProofNotChecked",), {"position": 3}),
        ("a position beyond the roster", ("ProofNotChecked",), {"position": 6}),
        ("a position that is the right one modulo 8", ("PositionNotBounded",), {"position": 10}),
        ("another leaf", ("ProofNotChecked",), {"leaf": leaves[3]}),
        ("another root", ("ProofNotChecked",), {"root": book.bytes("another root")}),
        ("a roster of another size, and depth", ("ProofNotChecked",), {"count": 3}),
    ):
        book.invalid(checks, "GRA-4", "GRA-3", comment=comment, flags=flags, **good | changed)
    node = levels[1][1]
    inner: dict[str, Any] = {"count": 6, "position": 1, "leaf": node, "proof": list(proof[1:]), "root": root}
    book.invalid(
        checks, "GRA-4", comment="an inner node as a leaf, a sibling short", flags=("ProofNotChecked",), **inner
    )
    leaves, levels, root = tree(5)
    carried = list(graph.merkle_proof(levels, 4))
    book.invalid(
        checks,
        "GRA-4",
        comment="a carried leaf that is its own sibling",
        root=root,
        count=5,
        position=4,
        leaf=leaves[4],
        proof=[leaves[4], *carried],
    )
    book.invalid(
        checks,
        "GRA-4",
        comment="the only leaf needs no sibling",
        flags=("LongProofTaken",),
        root=leaves[0],
        count=1,
        position=0,
        leaf=leaves[0],
        proof=[leaves[1]],
    )


def _bitmaps(book: Book) -> None:
    cases: tuple[tuple[str, list[int], int], ...] = (
        ("nobody of nine", [], 9),
        ("the first of eight", [0], 8),
        ("the first and last bit of a byte, and the next", [0, 7, 8], 9),
        ("everybody of sixteen", list(range(16)), 16),
        ("everybody of five: three bits stay 0", list(range(5)), 5),
        ("the last of seventeen", [16], 17),
        ("an empty roster", [], 0),
    )
    for comment, outside, least in (
        ("a position behind the last", [9], 9),
        ("a position before the first", [-1], 9),
        ("a roster of fewer than none", [], -1),
    ):
        book.invalid("graph.bitmap", "GRA-5", comment=comment, positions=outside, count=least)
    for comment, found, count in cases:
        flags = ("BitsFromTheTop",) if found and found != list(range(16)) else ()
        book.valid("graph.bitmap", "GRA-5", comment=comment, flags=flags, positions=found, count=count)
        book.valid(
            "graph.positions",
            "GRA-5",
            comment=comment,
            flags=flags,
            bits=graph.bitmap(positions=found, count=count),
            count=count,
        )
    for comment, bits, count, flag in (
        ("a byte too few", b"\xff", 9, "BitmapLengthNotChecked"),
        ("a byte too many", b"\x01\x00", 8, "BitmapLengthNotChecked"),
        ("no bytes", b"", 1, "BitmapLengthNotChecked"),
        ("the first bit beyond the roster", b"\x21", 5, "StrayBitsTaken"),
        ("the last bit of the last byte", b"\x00\x80", 15, "StrayBitsTaken"),
    ):
        book.invalid("graph.positions", "GRA-5", comment=comment, flags=(flag,), bits=bits, count=count)


def _buckets(book: Book) -> None:
    for comment, flags, changed in (
        ("twice as long each", (), {}),
        ("one bucket", (), {"bucket_count": 1}),
        ("5 %: exactly, then rounded up", (), {"bucket_first": 10_000, "bucket_ratio": 1050}),
        ("1 ‰ of little is at least 1 µs", ("EdgesRoundedDown",), {"bucket_first": 3, "bucket_ratio": 1001}),
        (
            "beyond the longest time",
            ("EdgesInFloats",),
            {"bucket_first": 2**53 - 1, "bucket_ratio": 1999, "bucket_count": 14},
        ),
        ("rounded up again and again", ("EdgesRoundedDown",), {"bucket_first": 7, "bucket_ratio": 1300}),
    ):
        found = graph_params(**changed)
        book.valid("graph.bucket_edges", "GRA-6", comment=comment, flags=flags, params=found)
    for comment, elapsed, flags in (
        ("no time at all", 0, ()),
        ("exactly the first edge", 10, ("EdgeExclusive",)),
        ("1 µs above the first edge", 11, ()),
        ("exactly the last but one edge", 40, ("EdgeExclusive",)),
        ("exactly the last edge", 80, ()),
        ("1 µs above the last edge: still the last bucket", 81, ("LongTimesBeyond",)),
        ("the longest time", LAST, ("LongTimesBeyond",)),
    ):
        book.valid("graph.bucket", "GRA-6", comment=comment, flags=flags, elapsed=elapsed, params=graph_params())
    one = graph_params(bucket_count=1)
    book.valid("graph.bucket", "GRA-6", comment="there is but one", flags=("LongTimesBeyond",), elapsed=99, params=one)


def _targets(book: Book) -> None:
    up, low, over = "PlaceRoundedUp", "TargetIsLowerEdge", "TargetOneFurther"
    cases: tuple[tuple[str, list[int], int, tuple[str, ...]], ...] = (
        ("nobody had a time: T* = 0", [0, 0, 0, 0], 200, ()),
        ("one client", [0, 1, 0, 0], 500, (low,)),
        ("the slowest of five is a candidate", [2, 2, 0, 1], 200, (low, over)),
        ("⌊p · v⌋ = 0: nobody is", [2, 1, 0, 1], 200, (up,)),
        ("199 ‰ of ten is one", [4, 4, 1, 1], 199, (low, up)),
        ("exactly all of the first bucket", [4, 4, 0, 0], 500, (over,)),
        ("one more than the first bucket", [3, 5, 0, 0], 500, (low,)),
        ("p = 0: the slowest sets T*", [1, 0, 0, 1], 0, (low,)),
        ("half of an odd number, rounded down", [2, 1, 2, 0], 500, (up,)),
        ("all in the last bucket", [0, 0, 0, 9], 500, (low,)),
        ("all in the first one", [9, 0, 0, 0], 500, ()),
    )
    for comment, histogram, share, flags in cases:
        found = graph_params(straggler_share=share)
        book.valid("graph.target", "GRA-7", "GRA-6", comment=comment, flags=flags, histogram=histogram, params=found)
    far = graph_params(bucket_first=2**53 - 1, bucket_count=14)
    book.valid(
        "graph.target",
        "GRA-7",
        "GRA-6",
        comment="an edge beyond the longest time: T* saturates",
        flags=("TargetNotSaturated",),
        histogram=[0] * 13 + [2],
        params=far,
    )


def _judged(book: Book) -> None:
    found = graph_params(margin=50)
    plain: dict[str, Any] = {
        "elapsed": [1200, 900, 600],
        "fit": [1100, 800, 500],
        "has_model": True,
        "was_straggler": False,
        "target": 1000,
        "params": found,
        "round": 5,
    }
    fast = [1000, 750, 500]
    for comment, flags, changed in (
        ("above the margin; the largest level in time", ("GraphSmallestInTime",), {}),
        ("exactly at the margin", ("GraphMarginNotStrict",), {"elapsed": [1050, 900, 600]}),
        ("1 µs above the margin", (), {"elapsed": [1051, 900, 600]}),
        (
            "within the margin, and was one",
            ("GraphMarginOnLeavingToo",),
            {"elapsed": [1001, 900, 1], "was_straggler": True},
        ),
        ("at T*, and was one: leaves", ("GraphStaysAtTarget",), {"elapsed": fast, "was_straggler": True}),
        ("exactly in time at a level", (), {"elapsed": [2000, 1500, 1000]}),
        ("saturated", ("GraphSaturatedKeepsAll",), {"elapsed": [2000, 1500, 1001]}),
        ("T* = 0: no straggler", ("JudgesWithoutTarget",), {"target": 0}),
        ("the last warm-up round: no straggler", ("JudgesInWarmUp",), {"round": 1}),
        ("the first round after", (), {"round": 2}),
        ("warm-up, and was one", ("JudgesInWarmUp",), {"round": 1, "was_straggler": True}),
        ("no history: a straggler that keeps everything", ("GraphPrunesWithoutHistory",), {"has_model": False}),
        (
            "no history, and beyond remedy: not called saturated",
            ("GraphPrunesWithoutHistory",),
            {"has_model": False, "elapsed": [9000, 8000, 7000]},
        ),
        (
            "no history, and none is needed for sizes",
            ("GraphHistoryAlwaysNeeded",),
            {"has_model": False, "params": graph_params(margin=50, score=Score.SIZE)},
        ),
        (
            "no history, and none is needed for a fixed order",
            ("GraphHistoryAlwaysNeeded",),
            {"has_model": False, "params": graph_params(margin=50, selection=Selection.ORDERED)},
        ),
        ("p = 0: no straggler", ("JudgesWithoutShare",), {"params": graph_params(straggler_share=0)}),
        ("p = 1 ‰ judges like any other", (), {"params": graph_params(straggler_share=1)}),
        ("1000 · e passes 64 bits", (), {"elapsed": [LAST, 2**63, 5], "target": 2**63}),
        ("nobody passes the longest time", (), {"elapsed": [LAST, LAST, LAST], "target": LAST}),
        ("the last of all rounds", (), {"round": LAST}),
    ):
        book.valid("graph.judge", "GRA-8", "IDN-5", "IDN-6", comment=comment, flags=flags, **plain | changed)
    short = plain | {"elapsed": [1200, 900]}
    book.invalid("graph.judge", "GRA-8", comment="a level without a time", **short)


def _chosen(book: Book) -> None:
    none: dict[str, Any] = {"clients": 20, "corrupt": 0, "dropped": 0, "security": 40, "failure": 30, "grinding": 0}
    small = {"clients": 100, "corrupt": 50, "dropped": 50, "security": 20, "failure": 10, "grinding": 0}
    large = {"clients": 1000, "corrupt": 100, "dropped": 100, "security": 40, "failure": 30, "grinding": 0}
    for comment, flags, asked in (
        ("nobody is corrupt or drops out", (), none),
        ("5 % of 100", (), small),
        (
            "bits for grinding",
            ("GrindingLeftOut",),
            small | {"clients": 150, "corrupt": 100, "security": 10, "grinding": 10},
        ),
        ("nobody is corrupt", (), small | {"corrupt": 0, "dropped": 100}),
        ("⌊γ · n⌋ corrupt clients: 49 ‰ of 100 are four", (), small | {"corrupt": 49}),
        ("no bits asked for", (), none | {"clients": 4, "security": 0, "failure": 0}),
        ("a thousand clients, 10 % and 10 %", (), large),
        ("a client holds its own secrets", ("OwnShareNotCounted",), small | {"clients": 60}),
    ):
        book.valid("graph.choose", "GRA-9", comment=comment, flags=flags, **asked)
    for comment, asked in (
        ("too many are corrupt", none | {"clients": 50, "corrupt": 400, "dropped": 400}),
        ("three clients have no k below n − 1", none | {"clients": 3}),
        ("all drop out", small | {"dropped": 1000}),
    ):
        book.invalid("graph.choose", "GRA-9", comment=comment, **asked)
