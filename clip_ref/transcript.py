"""Transcript: all that the server saw, message by message, in order.   Spec: transcript, rules TRA-1, TRA-2."""

import hashlib
from collections.abc import Iterable

import attrs

from clip_ref.values import ClientId
from clip_ref.wire import kind_name


@attrs.frozen
class Entry:
    """One message that the server sent or received."""

    client: ClientId
    """Whom it came from or went to."""

    to_server: bool
    """Its direction."""

    kind: str
    """Its kind, e.g. `MaskedInput`."""

    length: int
    """Its length in bytes, header included."""

    digest: bytes = attrs.field(repr=False)
    """SHA-256 of its bytes."""

    data: bytes | None = attrs.field(default=None, repr=False)
    """Its bytes, where the transcript keeps them."""


class Transcript:
    """Records what passes the server. An `observe` for the round's driver."""

    def __init__(self, *, keep_bytes: bool = False) -> None:
        """An empty transcript; `keep_bytes` says whether to keep the bytes too, or their length and digest alone."""
        self.entries: list[Entry] = []
        self._keep = keep_bytes

    def observe(self, client: ClientId, to_server: bool, data: bytes) -> None:
        """TRA-1: append one message."""
        kept = data if self._keep else None
        digest = hashlib.sha256(data).digest()
        self.entries.append(Entry(client, to_server, kind_name(data), len(data), digest, kept))

    def shape(self, client: ClientId) -> tuple[tuple[bool, str, int], ...]:
        """TRA-2: direction, kind and length of each of one client's messages: what pruning must not change."""
        return tuple((e.to_server, e.kind, e.length) for e in self.entries if e.client == client)

    def upload_lengths(self) -> tuple[int, ...]:
        """The distinct lengths of all masked inputs, ascending."""
        return tuple(sorted({e.length for e in self.entries if e.kind == "MaskedInput"}))

    def shapes(self, clients: Iterable[ClientId]) -> set[tuple[tuple[bool, str, int], ...]]:
        """The distinct shapes among `clients`: exactly one if nothing tells them apart."""
        return {self.shape(u) for u in clients}
