"""The journal: what a client has begun and been asked in a round, kept before it answers.   Spec: round, rules ROU-16, ROU-17.

A client's answers follow from its entropy and from what it was sent. So it is enough to write those down, each before the
answer leaves: after a restart the same client is made again and fed the same messages, and can say nothing else than what
it may have said before.
"""

import os
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from clip_ref.canonical import digest, unsigned
from clip_ref.errors import PreconditionError

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


class NoJournal(Enum):
    """The type of `NO_JOURNAL`."""

    NO_JOURNAL = "no journal"


NO_JOURNAL: Final = NoJournal.NO_JOURNAL
"""ROU-22: that a client keeps no journal, said in so many words: made anew, it takes any round again."""


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


_MAGIC: Final = b"clip-ref journal 2\n"


class FileJournal:
    """A journal in a file, readable by its owner alone. Each entry is on disk before `append` returns."""

    def __init__(self, path: Path) -> None:
        """The journal at `path`, which need not exist yet. `PreconditionError` (ROU-17) if it is damaged.

        A last entry that was cut short never led to an answer, and is dropped; the first cannot be.
        """
        self._path = path
        self._entries: list[Entry] = []
        self._whole = 0
        if path.exists():
            self._read()

    def entries(self) -> list[Entry]:
        """Everything of the current round, in order."""
        return list(self._entries)

    def begin(self, entry: Entry) -> None:
        """Start a round: a new file takes the old one's place."""
        partial = self._path.with_name(f".{self._path.name}.part")
        partial.unlink(missing_ok=True)
        data = _MAGIC + _framed(entry)
        self._write(partial, os.O_CREAT | os.O_EXCL, data, at=0)
        partial.replace(self._path)
        self._entries, self._whole = [entry], len(data)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def append(self, entry: Entry) -> None:
        """Keep `entry` on disk."""
        if not self._entries:
            raise PreconditionError(rule="ROU-17", detail=f"{self._path} has no round that has begun")
        data = _framed(entry)
        self._write(self._path, 0, data, at=self._whole)
        self._entries.append(entry)
        self._whole += len(data)

    @staticmethod
    def _write(path: Path, flags: int, data: bytes, *, at: int) -> None:
        """Put `data` at `at`, in place of whatever a write that failed has left there."""
        with os.fdopen(os.open(path, os.O_WRONLY | flags, 0o600), "wb") as file:
            file.truncate(at)
            file.seek(at)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> None:
        data = self._path.read_bytes()
        if not data.startswith(_MAGIC):
            raise PreconditionError(rule="ROU-17", detail=f"{self._path} is not a journal of this version")
        found = self._entries
        whole = len(_MAGIC)
        while whole < len(data):
            head = data[whole : whole + _HEAD]
            if len(head) == _HEAD and head[-32:] != digest("journal head", (head[:-32],)):
                raise self._damaged(len(found))
            length = int.from_bytes(head[:8], "little")
            entry = data[whole + _HEAD : whole + _HEAD + length]
            if len(head) < _HEAD or len(entry) < length:
                break  # cut short
            if head[8:40] != digest("journal entry", (entry,)):
                raise self._damaged(len(found))
            name = entry[1 : 1 + entry[0]]
            found.append((name.decode("ascii"), entry[1 + len(name) :]))
            whole += _HEAD + length
        if not found:
            raise self._damaged(0)  # it was written in one piece, or not at all
        if whole < len(data):
            with self._path.open("r+b") as file:
                file.truncate(whole)
        self._whole = whole

    def _damaged(self, entries: int) -> PreconditionError:
        return PreconditionError(rule="ROU-17", detail=f"{self._path} is damaged in its entry {entries + 1}")


_HEAD: Final = 8 + 32 + 32


def _framed(entry: Entry) -> bytes:
    """Length and digest of the entry, a digest of these two, the entry: so that damage is told from an end cut short."""
    name = entry[0].encode("ascii")
    body = unsigned(len(name), bits=8) + name + entry[1]
    head = unsigned(len(body), bits=64) + digest("journal entry", (body,))
    return head + digest("journal head", (head,)) + body
