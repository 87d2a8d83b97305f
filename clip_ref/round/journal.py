"""The journal: what a client has begun and been asked in a round, kept before it answers.   Spec: round, rules ROU-16, ROU-17.

A client's answers follow from its entropy and from what it was sent. So it is enough to write those down, each before the
answer leaves: after a restart the same client is made again and fed the same messages, and can say nothing else than what
it may have said before.
"""

import os
from pathlib import Path
from typing import Final, Protocol

from clip_ref.canonical import Reader, Writer, digest
from clip_ref.errors import ContributionError, PreconditionError

Entry = tuple[str, bytes]
"""A step of the round and what the client was given for it."""


class Journal(Protocol):
    """Where a client writes before it answers."""

    def entries(self) -> list[Entry]:
        """Everything of the current round, in order."""

    def begin(self, entry: Entry) -> None:
        """Start a round: `entry` replaces what was there, at once or not at all."""

    def append(self, entry: Entry) -> None:
        """Keep `entry`, durably, before returning."""


class MemoryJournal:
    """A journal that lasts as long as the process: for tests and simulations."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def entries(self) -> list[Entry]:
        """Everything of the current round, in order."""
        return list(self._entries)

    def begin(self, entry: Entry) -> None:
        """Start a round."""
        self._entries = [entry]

    def append(self, entry: Entry) -> None:
        """Keep `entry`."""
        self._entries.append(entry)


_MAGIC: Final = b"clip-ref journal 1\n"


class FileJournal:
    """A journal in a file, readable by its owner alone. Each entry is on disk before `append` returns."""

    def __init__(self, path: Path) -> None:
        """The journal at `path`, which need not exist yet. `PreconditionError` (ROU-17) if it is damaged.

        A last entry that was cut short never led to an answer, and is dropped.
        """
        self._path = path
        self._entries = self._read() if path.exists() else []

    def entries(self) -> list[Entry]:
        """Everything of the current round, in order."""
        return list(self._entries)

    def begin(self, entry: Entry) -> None:
        """Start a round: a new file takes the old one's place."""
        partial = self._path.with_name(f".{self._path.name}.part")
        self._write(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MAGIC + _framed(entry))
        partial.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._entries = [entry]

    def append(self, entry: Entry) -> None:
        """Keep `entry` on disk."""
        if not self._entries:
            raise PreconditionError(rule="ROU-17", detail=f"{self._path} has no round that has begun")
        self._write(self._path, os.O_WRONLY | os.O_APPEND, _framed(entry))
        self._entries.append(entry)

    @staticmethod
    def _write(path: Path, flags: int, data: bytes) -> None:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> list[Entry]:
        data = self._path.read_bytes()
        if not data.startswith(_MAGIC):
            raise PreconditionError(rule="ROU-17", detail=f"{self._path} is not a journal of this version")
        reader = Reader(data[len(_MAGIC) :], rule="ROU-17")
        found: list[Entry] = []
        whole = len(_MAGIC)
        while whole < len(data):
            try:
                name = reader.fixed(reader.unsigned(16, "step"), "step")
                body = reader.fixed(reader.unsigned(64, "length"), "body")
                check = reader.fixed(32, "digest")
            except ContributionError:
                break
            entry = name.decode("ascii", "replace"), body
            if check != digest("journal", (name, body)):
                raise PreconditionError(rule="ROU-17", detail=f"{self._path} is damaged in its entry {len(found) + 1}")
            found.append(entry)
            whole += len(_framed(entry))
        if whole < len(data):
            with self._path.open("r+b") as file:
                file.truncate(whole)
        return found


def _framed(entry: Entry) -> bytes:
    name, body = entry[0].encode("ascii"), entry[1]
    writer = Writer().unsigned(len(name), 16).fixed(name, len(name)).unsigned(len(body), 64).fixed(body, len(body))
    return writer.fixed(digest("journal", (name, body)), 32).done()
