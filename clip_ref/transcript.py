"""Transcript: all that the server saw, message by message, in order.   Spec: transcript, rules TRA-1..TRA-7.

`Transcript` keeps a round's messages in memory, for checks of their shape. `TranscriptWriter` streams those of a whole run to a
file as they pass, and `TranscriptReader` streams them back, for the audit.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import attrs
import numpy as np

from clip_ref.canonical import SESSION_BYTES, Writer, digest, model_digest, prefixed, unsigned
from clip_ref.configuration import decode_configuration, encode_configuration
from clip_ref.errors import SERVER, ClipError, PreconditionError, TranscriptError
from clip_ref.layout import Layout
from clip_ref.messages import Neighbourhood
from clip_ref.params import Params
from clip_ref.round import State
from clip_ref.values import ClientId, Digest, Floats, RoundNumber
from clip_ref.wire import header, kind_name


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
        """The distinct shapes among `clients`: exactly one if nothing tells them apart.

        Without the length of a `Neighbourhood`, whose proofs are as long as its members' places in the tree want them.
        """
        proofs = Neighbourhood.__name__
        return {tuple((up, kind, 0 if kind == proofs else n) for up, kind, n in self.shape(u)) for u in clients}


MAGIC: Final = b"clip-ref transcript 2\n"
"""Opens every recorded transcript; the number changes with the format."""

_DOWN, _UP, _DOWN_WITH_MODEL, _COMPLETED, _ABORTED = 1, 2, 3, 4, 5
"""What an entry is: to a client; to the server; a `Deliver` whose model is the one delivered before; how a round ended."""

_HEAD_BYTES: Final = 1 + 4 + 8
_CHAIN_BYTES: Final = 32


@attrs.frozen
class Opening:
    """What precedes a recorded transcript's entries: all that it takes to verify them, but for the clients' identities."""

    params: Params
    """What the parties of the run agree on."""

    layout: Layout
    """The model's layout."""

    state: State
    """The session, the first recorded round's number, its model, the history if there is one, and T* in a graph."""

    def encode(self) -> bytes:
        """TRA-3: its canonical bytes, magic first."""
        state = self.state
        writer = Writer().fixed(MAGIC, len(MAGIC))
        text = prefixed(encode_configuration(params=self.params, layout=self.layout))
        writer.fixed(text, len(text)).fixed(state.session, SESSION_BYTES).unsigned(state.round, 64).array(state.model)
        writer.unsigned(state.target, 64).unsigned(state.history is not None, 8)
        return (writer if state.history is None else writer.array(state.history)).done()


@attrs.frozen
class Passed:
    """A message in a recorded transcript."""

    number: int
    """Which entry it is, from 1."""

    client: ClientId
    """Whom it came from or went to."""

    to_server: bool
    """Its direction."""

    data: bytes = attrs.field(repr=False)
    """Its bytes, as they were sent."""


@attrs.frozen
class Ended:
    """The end of a round in a recorded transcript, as the server tells it."""

    number: int
    """Which entry it is, from 1."""

    sum_digest: Digest | None
    """The digest of the unmasked sum over Z_R; none if the round was aborted."""

    model: Digest | None
    """The digest of the next model; none if the round was aborted."""


class TranscriptWriter:
    """Streams what passes the server to a file. `observe` is one for the round's driver; after each round say how it ended."""

    def __init__(self, *, path: Path, params: Params, layout: Layout, state: State) -> None:
        """TRA-3: begin a transcript at `path`, before the round that `state` says comes next.

        `PreconditionError` if there is such a file already, or it cannot be made.
        """
        opening = Opening(params, layout, state).encode()
        try:
            self._file: BinaryIO = path.open("xb")
        except FileExistsError:
            raise PreconditionError(rule="TRA-3", detail=f"{path} exists: choose another file") from None
        except OSError as error:
            raise PreconditionError(rule="TRA-3", detail=f"cannot write {path}: {error.strerror}") from None
        self._chain = digest("transcript", (opening,))
        self._begin(layout)
        self._file.write(opening + self._chain)
        self._flush()

    def _begin(self, layout: Layout) -> None:
        self._model_bytes = 4 * layout.size
        self._model: bytes | None = None
        self._round: RoundNumber | None = None

    @classmethod
    def resumed(cls, *, path: Path, params: Params, layout: Layout, state: State) -> "TranscriptWriter":
        """TRA-7: go on with the transcript at `path` before the round that `state` says comes next.

        What it holds of that round and later ones is dropped: the run goes through them again. `PreconditionError` if it is
        of another run, is damaged before that round, or does not end the round before with the model that `state` has.
        """
        try:
            with TranscriptReader(path) as reader:
                kept, chain = _kept(reader, path, params, layout, state)
        except TranscriptError as error:
            raise PreconditionError(rule="TRA-7", detail=f"{path} is damaged: {error}") from None
        writer = cls.__new__(cls)
        writer._file = path.open("r+b")
        writer._file.truncate(kept)
        writer._file.seek(kept)
        writer._chain = chain
        writer._begin(layout)
        return writer

    def observe(self, client: ClientId, to_server: bool, data: bytes) -> None:
        """TRA-1, TRA-5: append one message; the model in a `Deliver` is written once per round."""
        number = header(data).round
        if self._round not in (None, number):
            raise PreconditionError(
                rule="TRA-3", detail=f"say how round {self._round} ended before a message of round {number}"
            )
        self._round = number
        if to_server:
            self._append(_UP, client, data)
            return
        model = _delivered(data, self._model_bytes)
        if model is not None and model == self._model:
            self._append(_DOWN_WITH_MODEL, client, data[: -self._model_bytes])
            return
        self._model = self._model or model
        self._append(_DOWN, client, data)

    def completed(self, *, sum_digest: Digest, model: Floats) -> None:
        """The round yielded `model`, from a sum of this digest. On disk before this returns."""
        self._end(_COMPLETED, sum_digest + model_digest(model))

    def aborted(self) -> None:
        """The round yielded nothing. On disk before this returns."""
        self._end(_ABORTED, b"")

    def close(self) -> None:
        """Close the file; a round that has not ended is aborted."""
        if self._round is not None:
            self.aborted()
        self._file.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file."""
        self.close()

    def _end(self, kind: int, body: bytes) -> None:
        if self._round is None:
            raise PreconditionError(rule="TRA-3", detail="no message of a round has passed that could have ended")
        self._append(kind, SERVER, body)
        self._round = self._model = None
        self._flush()

    def _append(self, kind: int, client: int, body: bytes) -> None:
        head = _head(kind, client, len(body))
        self._chain = _following(self._chain, head, body)
        self._file.write(head)
        self._file.write(body)
        self._file.write(self._chain)

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def _head(kind: int, client: int, length: int) -> bytes:
    return unsigned(kind, bits=8) + unsigned(client, bits=32) + unsigned(length, bits=64)


def _following(chain: Digest, head: bytes, body: bytes) -> Digest:
    """TRA-6: SHA-256 over what stands before an entry, and the entry."""
    return digest("transcript entry", (chain, head, body))


def _delivered(data: bytes, model_bytes: int) -> bytes | None:
    """TRA-5: the model at the end of a `Deliver`; none in any other message."""
    return data[-model_bytes:] if kind_name(data) == "Deliver" and len(data) > model_bytes else None


class TranscriptReader:
    """Streams a recorded transcript back, an entry at a time: memory does not grow with its length."""

    def __init__(self, path: Path) -> None:
        """TRA-3: read what precedes the entries.

        `PreconditionError` if `path` cannot be read or is no transcript of this version; `TranscriptError` (entry 0) if it is
        one, but damaged.
        """
        try:
            self._file = path.open("rb")
            self._size = os.fstat(self._file.fileno()).st_size
            magic = self._file.read(len(MAGIC))
        except OSError as error:
            raise PreconditionError(rule="TRA-3", detail=f"cannot read {path}: {error.strerror}") from None
        self.number = 0
        try:
            if magic != MAGIC:
                raise PreconditionError(rule="TRA-3", detail=f"{path} is not a transcript of this version")
            self.opening = self._opening()
        except ClipError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file."""
        self._file.close()

    @property
    def position(self) -> int:
        """Where the entry read last ends, in bytes."""
        return self._file.tell()

    @property
    def chain(self) -> Digest:
        """The digest at the end of the entry read last."""
        return self._chain

    def _refuse(self, detail: str, rule: str = "TRA-3") -> TranscriptError:
        return TranscriptError(rule=rule, entry=self.number, detail=detail)

    def _take(self, length: int) -> bytes:
        """The next bytes; never more is asked for than there are."""
        left = self._size - self._file.tell()
        if length > left:
            raise self._refuse(f"is cut off: it needs {length} bytes, {left} are left")
        return self._file.read(length)

    def _unsigned(self, bits: int) -> int:
        return int.from_bytes(self._take(bits // 8), "little")

    def _opening(self) -> Opening:
        text = self._take(self._unsigned(32))
        try:
            params, layout = decode_configuration(text)
            session, number = self._take(SESSION_BYTES), RoundNumber(self._unsigned(64))
            if number < 1:
                raise self._refuse("rounds count from 1")
            model = self._model(layout)
            target = self._unsigned(64)
            history = self._model(layout) if self._unsigned(8) else None
            opening = Opening(params, layout, State(session, number, model, history, target))
            encoded = opening.encode()
        except PreconditionError as error:
            raise self._refuse(str(error)) from None
        self._chain = digest("transcript", (encoded,))
        if self._take(_CHAIN_BYTES) != self._chain:
            raise self._refuse("is not the one that was written: its digest differs", "TRA-6")
        self._model_bytes = 4 * layout.size
        return opening

    def _model(self, layout: Layout) -> Floats:
        return np.frombuffer(self._take(4 * layout.size), dtype="<f4")

    def entries(self) -> Iterator[Passed | Ended]:
        """TRA-5, TRA-6: the entries that are left, in order; `TranscriptError` for the first one that is damaged."""
        model: bytes | None = None
        while self._file.tell() < self._size:
            self.number += 1
            head = self._take(_HEAD_BYTES)
            kind, client, length = head[0], int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:], "little")
            body = self._take(length)
            chain = _following(self._chain, head, body)
            if self._take(_CHAIN_BYTES) != chain:
                raise self._refuse("it or its place is not as it was written: its digest differs", "TRA-6")
            self._chain = chain
            if kind in (_COMPLETED, _ABORTED):
                model = None
                yield self._ended(kind, client, body)
                continue
            if kind not in (_DOWN, _UP, _DOWN_WITH_MODEL) or client == SERVER:
                raise self._refuse(f"there is no entry of kind {kind} for {client}")
            if kind == _DOWN_WITH_MODEL:
                if model is None:
                    raise self._refuse("leaves out a model that was not delivered before", "TRA-5")
                body += model
            try:
                delivered = None if kind == _UP else _delivered(body, self._model_bytes)
            except ClipError as error:
                raise self._refuse(f"is no message: {error.detail}") from None
            if kind != _UP and (delivered is not None and delivered == model) != (kind == _DOWN_WITH_MODEL):
                raise self._refuse("does not leave out the model exactly where it was delivered before", "TRA-5")
            model = model or delivered
            yield Passed(self.number, ClientId(client), kind == _UP, body)

    def _ended(self, kind: int, client: int, body: bytes) -> Ended:
        if client != SERVER or len(body) != (64 if kind == _COMPLETED else 0):
            raise self._refuse("is no end of a round")
        return Ended(self.number, Digest(body[:32]), Digest(body[32:])) if body else Ended(self.number, None, None)


def _kept(reader: TranscriptReader, path: Path, params: Params, layout: Layout, state: State) -> tuple[int, Digest]:
    """TRA-7: where the part ends that precedes the round that comes next, and the digest there."""
    opening = reader.opening
    if (opening.params, opening.layout, opening.state.session) != (params, layout, state.session):
        raise PreconditionError(rule="TRA-7", detail=f"{path} records another run")
    kept, done, yields = (reader.position, reader.chain), opening.state.round - 1, model_digest(opening.state.model)
    number = opening.state.round
    try:
        for entry in reader.entries():
            if isinstance(entry, Passed):
                number = header(entry.data).round
                if number >= state.round:
                    break
            else:
                kept, done, yields = (reader.position, reader.chain), number, entry.model or yields
    except ClipError:
        pass  # a run that was killed leaves the round cut off that it was in; whether that matters shows below
    if done != state.round - 1 or yields != model_digest(state.model):
        raise PreconditionError(
            rule="TRA-7",
            detail=f"{path} is whole to the end of round {done}, the run goes on with round {state.round}: "
            "choose another file",
        )
    return kept
