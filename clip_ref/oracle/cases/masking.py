"""Cases of masking.   Spec: masking."""

from typing import Any

from clip_ref.oracle.case import Book
from clip_ref.oracle.cases.small import ring
from clip_ref.values import ClientId

LAST = 2**32 - 2
"""The largest id."""


def make(book: Book) -> None:
    """Masks put on, and taken off."""
    _mask(book)
    _unmask(book)


def _mask(book: Book) -> None:
    rules = ("MSK-5", "MSK-4", "RND-3", "RND-4")
    signs = ("ReversedSign", "AllMasksAdded")
    cases: tuple[tuple[str, int, int, int, tuple[int, ...], tuple[str, ...]], ...] = (
        ("no peers: the self mask alone", 32, 5, 3, (), ("SelfMaskLeftOut",)),
        ("a larger peer: added", 32, 5, 3, (8,), ("ReversedSign",)),
        ("a smaller peer: subtracted", 32, 5, 8, (3,), signs),
        ("peers on both sides", 32, 9, 5, (1, 4, 6, 9), signs),
        ("ids 0 and 2³² − 2", 32, 4, 2**31, (0, LAST), ("IdsComparedSigned", *signs)),
        ("the smallest id", 32, 4, 0, (1, LAST), ("IdsComparedSigned", "ReversedSign")),
        ("64 bits", 64, 5, 4, (2, 7), signs),
        ("one element: less than a block of the keystream", 32, 1, 4, (2, 7), signs),
        ("17 elements: a block and a bit", 32, 17, 4, (2, 7), signs),
        ("no elements", 32, 0, 4, (2, 7), ()),
    )
    for comment, bits, length, sender, peers, flags in cases:
        book.valid(
            "masking.mask",
            *rules,
            comment=comment,
            flags=flags,
            ring_bits=bits,
            update=book.bytes("update", length * bits // 8),
            self_seed=book.bytes("self seed"),
            pair_seeds={ClientId(u): book.bytes(f"seed of {u}") for u in peers},
            sender=sender,
        )
    for bits in (32, 64):
        book.valid(
            "masking.mask",
            "MSK-1",
            *rules,
            comment=f"R − 1 and R/2 wrap, {bits} bits",
            ring_bits=bits,
            update=ring(-1, -1, -1, 1 << bits - 1, 1 << bits - 1, 0, bits=bits),
            self_seed=book.bytes("self seed"),
            pair_seeds={ClientId(7): book.bytes("seed")},
            sender=4,
        )
    pair = book.bytes("one seed for both")
    for me, peer in ((3, 8), (8, 3), (0, LAST), (LAST, 0)):
        book.valid(
            "masking.mask",
            "MSK-3",
            *rules,
            comment=f"{me} with {peer}: the sum of both has no pairwise mask",
            flags=("ReversedSign", "AllMasksAdded") if me > peer else ("ReversedSign",),
            ring_bits=32,
            update=book.bytes("update", 12),
            self_seed=book.bytes("self seed"),
            pair_seeds={ClientId(peer): pair},
            sender=me,
        )
    known: dict[str, Any] = {"ring_bits": 32, "self_seed": book.bytes("self"), "sender": 4}
    seeds = {ClientId(u): book.bytes(f"seed {u}") for u in (2, 4, 7)}
    two = {u: seed for u, seed in seeds.items() if u != 4}
    flag = ("MasksWithItself",)
    update = book.bytes("update", 8)
    book.invalid(
        "masking.mask", "MSK-2", comment="a mask with itself", flags=flag, update=update, pair_seeds=seeds, **known
    )
    one = {ClientId(4): seeds[ClientId(4)]}
    book.invalid(
        "masking.mask", "MSK-2", comment="with itself alone", flags=flag, update=update, pair_seeds=one, **known
    )
    book.invalid(
        "masking.mask",
        "MSK-2",
        comment="id 0 with itself",
        flags=flag,
        update=update,
        pair_seeds={ClientId(0): seeds[ClientId(2)]},
        **known | {"sender": 0},
    )
    for comment, bits in (("half an element", 32), ("32-bit elements in a 64-bit ring", 64)):
        book.invalid(
            "masking.mask",
            "MSK-1",
            comment=comment,
            update=book.bytes("update", 6 if bits == 32 else 12),
            pair_seeds=two,
            **known | {"ring_bits": bits},
        )
    book.invalid(
        "masking.mask",
        "KEY-1",
        comment="a seed of 31 bytes",
        update=update,
        pair_seeds=two,
        **known | {"self_seed": book.bytes("self", 31)},
    )


def _unmask(book: Book) -> None:
    rules = ("MSK-6", "MSK-5", "MSK-7", "RND-3", "RND-4")
    off = ("DanglingReversed", "DanglingLeftOn")
    cases: tuple[tuple[str, int, int, int, tuple[tuple[int, int], ...], tuple[str, ...]], ...] = (
        ("nobody dropped out", 32, 5, 3, (), ("SelfMasksLeftOn",)),
        ("a larger one dropped out", 32, 5, 2, ((3, 8), (5, 8)), off),
        ("a smaller one dropped out", 32, 5, 2, ((3, 1), (5, 1)), off),
        ("one in the middle", 32, 4, 2, ((3, 4), (5, 4)), off),
        ("two dropped out", 32, 9, 2, ((3, 1), (5, 1), (3, 4), (5, 4)), off),
        ("64 bits", 64, 4, 2, ((3, 4), (5, 4)), off),
        ("ids 0 and 2³² − 2", 32, 4, 1, ((2**31, 0), (2**31, LAST)), ("IdsComparedSigned", *off)),
        ("no elements", 32, 0, 2, ((3, 4),), ()),
    )
    for comment, bits, length, survivors, dangling, flags in cases:
        book.valid(
            "masking.unmask",
            *rules,
            comment=comment,
            flags=flags,
            ring_bits=bits,
            total=book.bytes("total", length * bits // 8),
            self_seeds=[book.bytes(f"self seed {k}") for k in range(survivors)],
            dangling=[(ClientId(u), ClientId(v), book.bytes(f"seed of {u} and {v}")) for u, v in dangling],
        )
    book.valid(
        "masking.unmask",
        "MSK-1",
        *rules,
        comment="below 0 it wraps",
        ring_bits=32,
        total=ring(0, 1, -1, 0),
        self_seeds=[book.bytes("self seed")],
        dangling=[(ClientId(3), ClientId(4), book.bytes("seed"))],
    )
    total = book.bytes("total", 8)
    seeds = [book.bytes("self seed")]
    for comment, found in (("survived and dropped out", ((3, 3),)), ("among others", ((3, 4), (5, 5)))):
        pairs = [(ClientId(u), ClientId(v), book.bytes(f"{u} {v}")) for u, v in found]
        book.invalid(
            "masking.unmask", "MSK-7", comment=comment, ring_bits=32, total=total, self_seeds=seeds, dangling=pairs
        )
    book.invalid(
        "masking.unmask",
        "MSK-1",
        comment="half an element",
        ring_bits=64,
        total=total[:4],
        self_seeds=seeds,
        dangling=[],
    )
