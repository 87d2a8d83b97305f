"""Cases of keys.   Spec: keys."""

from clip_ref.oracle.case import Book


def make(book: Book) -> None:
    """Key pairs, agreement, seeds, channels and signatures."""
    book.valid("keys.public_key", "KEY-1", comment="a key pair", secret=book.bytes("secret"))
    peer_key = bytes.fromhex(book.valid("keys.public_key", "KEY-1", comment="a peer's", secret=book.bytes("secret")))
    book.valid("keys.agree", "KEY-2", comment="with a peer", secret=book.bytes("secret"), peer=3, peer_key=peer_key)
    book.invalid(
        "keys.agree", "KEY-3", comment="the point of order 1", secret=book.bytes("secret"), peer=3, peer_key=bytes(32)
    )
