"""Canonical bytes: one encoding for each value, and labelled digests over them.   Spec: context, rules CTX-1..CTX-5.

Integers are little-endian and of fixed width; whatever has a variable length is preceded by its length.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.errors import SERVER, PreconditionError, WireError
from clip_ref.values import ClientId, Digest, RoundNumber

LABEL = "clip-ref/v1/"
"""Opens every label, so that no digest or key of another protocol or version can be taken for one of ours."""

SESSION_BYTES = 16
"""The length of a session id."""


Piece = bytes | memoryview
"""Bytes, copied or not."""


def unsigned(value: int, *, bits: int) -> bytes:
    """`value` in bits/8 bytes, little-endian; `PreconditionError` (CTX-1) unless 0 ≤ value < 2^bits."""
    if value >> bits:  # for a negative value, too
        raise PreconditionError(rule="CTX-1", detail=f"{value} does not fit in {bits} unsigned bits")
    return value.to_bytes(bits // 8, "little")


def prefixed(data: bytes) -> bytes:
    """`data` after its length in four bytes."""
    return unsigned(len(data), bits=32) + data


def digest(label: str, parts: Iterable[Piece | list[Piece]]) -> Digest:
    """CTX-2: SHA-256 over the label and every part, each after its length: injective in (label, parts).

    A list of pieces is one part: their concatenation, which need not be made.
    """
    sha = _labelled(label).copy()
    for part in parts:
        if isinstance(part, list):
            sha.update(sum(map(len, part)).to_bytes(8, "little"))
            for piece in part:
                sha.update(piece)
        else:
            sha.update(len(part).to_bytes(8, "little"))
            sha.update(part)
    return Digest(sha.digest())


@lru_cache(maxsize=64)
def _labelled(label: str) -> "hashlib._Hash":
    """What every digest with this label begins with; to be copied, not updated."""
    if not label.isascii():
        raise PreconditionError(rule="CTX-2", detail=f"a label is ASCII, got {label!r}")
    return hashlib.sha256(prefixed((LABEL + label).encode("ascii")))


def little_endian(array: NDArray[Any]) -> memoryview:
    """The bytes of a flat array's elements, little-endian; where it has them so in memory, not a copy."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.view(np.uint8).data


def array_digest(label: str, array: NDArray[Any]) -> Digest:
    """The digest of a flat array: its dtype, then its bytes, little-endian."""
    return digest(label, (array.dtype.newbyteorder("<").str.encode("ascii"), little_endian(array)))


def model_digest(model: NDArray[np.float32]) -> Digest:
    """The digest of a flat float32 model w_i."""
    return array_digest("model", model)


@attrs.frozen
class RoundContext:
    """What every party must agree on before it derives a key from it."""

    session: bytes = attrs.field()
    """The training run: 16 bytes, fresh for each run."""

    round: RoundNumber
    """The round i ≥ 1."""

    config: Digest
    """The digest of the parameters and of the model's layout."""

    directory: Digest
    """The digest of the directory of long-term identities; all zero at security level `basic`."""

    model: Digest
    """The digest of w_i."""

    history: Digest
    """The digest of the last completed round's differing model; all zero where there is none."""

    target: int = 0
    """T* in µs as the last round's histogram gave it, on a graph; 0 where there is none, and in a clique."""

    @session.validator
    def _session(self, _: object, value: bytes) -> None:
        if len(value) != SESSION_BYTES:
            raise PreconditionError(rule="CTX-3", detail=f"a session id is {SESSION_BYTES} bytes, got {len(value)}")

    def parts(self) -> tuple[bytes, ...]:
        """The fields in the order in which they are digested; a target of 0 is left out."""
        fixed = (self.session, unsigned(self.round, bits=64), self.config, self.directory, self.model, self.history)
        return (*fixed, unsigned(self.target, bits=64)) if self.target else fixed

    def ctx0(self) -> Digest:
        """CTX-3: the context before the roster is known."""
        return digest("context0", self.parts())

    def ctx(self, roster: Digest) -> Digest:
        """CTX-4: the context that enters every key derivation and associated datum of the round."""
        return digest("context", (*self.parts(), roster))


def mask_context(*, ctx: Digest, u2: Iterable[int]) -> Digest:
    """CTX-5: the context of the round's masks: ctx and U2, ascending. Masks over different U2 do not cancel.

    By id in a clique, by position in the roster on a graph.
    """
    return digest("context of masks", (ctx, *(unsigned(u, bits=32) for u in sorted(u2))))


class Writer:
    """Appends canonical fields to a growing byte string."""

    def __init__(self) -> None:
        self.parts: list[Piece] = []

    def unsigned(self, value: int, bits: int) -> "Writer":
        """Append a fixed-width little-endian integer."""
        self.parts.append(unsigned(value, bits=bits))
        return self

    def fixed(self, data: bytes, length: int) -> "Writer":
        """Append exactly `length` bytes."""
        if len(data) != length:
            raise PreconditionError(rule="CTX-1", detail=f"expected {length} bytes, got {len(data)}")
        self.parts.append(data)
        return self

    def array(self, array: NDArray[Any]) -> "Writer":
        """Append an array's elements, little-endian, without a length."""
        self.parts.append(little_endian(array))
        return self

    def done(self) -> bytes:
        """Everything appended so far."""
        return b"".join(self.parts)


class Reader:
    """Takes canonical fields off a byte string; whatever does not fit is a `WireError` that names `culprit`."""

    def __init__(self, data: bytes, *, rule: str, limits: str = "", culprit: int = SERVER) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._rule = rule
        self._limits = limits or rule
        self.culprit = culprit

    def refuse(self, field: str, detail: str, *, limit: bool = False) -> WireError:
        """The error to raise for `field`; `limit`: for an announced length."""
        rule = self._limits if limit else self._rule
        return WireError(rule=rule, culprit=self.culprit, field=field, detail=detail)

    def passes(self, expected: bytes) -> bool:
        """Whether `expected` comes next; if so, it is passed over."""
        end = self._at + len(expected)
        same = self._data[self._at : end] == expected
        self._at = end if same else self._at
        return same

    def fixed(self, length: int, field: str) -> bytes:
        """The next `length` bytes."""
        if length > len(self._data) - self._at:
            raise self.refuse(field, f"needs {length} bytes, {len(self._data) - self._at} are left")
        taken = bytes(self._data[self._at : self._at + length])
        self._at += length
        return taken

    def unsigned(self, bits: int, field: str) -> int:
        """The next fixed-width little-endian integer."""
        return int.from_bytes(self.fixed(bits // 8, field), "little")

    def count(self, limit: int, field: str) -> int:
        """The next 32-bit length, refused above `limit` before anything is allocated."""
        value = self.unsigned(32, field)
        if value > limit:
            raise self.refuse(field, f"announces {value} entries, at most {limit} are allowed", limit=True)
        return value

    def client(self, field: str) -> ClientId:
        """The next client id; the server's own id is refused."""
        value = self.unsigned(32, field)
        if value == SERVER:
            raise self.refuse(field, "is the server's id, where a client's is expected")
        return ClientId(value)

    def array(self, dtype: np.dtype[Any], length: int, field: str) -> NDArray[Any]:
        """The next `length` elements, as a read-only array."""
        taken = np.frombuffer(self.fixed(length * dtype.itemsize, field), dtype=dtype)
        taken.flags.writeable = False
        return taken

    def done(self) -> None:
        """Refuse trailing bytes."""
        left = len(self._data) - self._at
        if left:
            raise self.refuse("end", f"{left} bytes follow the message")
