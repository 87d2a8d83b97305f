"""The small values that every module shares: ids, times, ratios, rings, secrets, read-only arrays."""

import hmac
from functools import cached_property
from typing import Any, Final, Literal, NewType, TypeVar

import attrs
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError

ClientId = NewType("ClientId", int)
"""A client's id: 0 … 2³² − 2. Rosters are in ascending id."""

RoundNumber = NewType("RoundNumber", int)
"""A round's number, from 1; unsigned 64-bit."""

Microseconds = NewType("Microseconds", int)
"""A duration in µs, unsigned 64-bit, saturating at `MAX_MICROSECONDS`."""

PerMille = NewType("PerMille", int)
"""A ratio in thousandths, an integer."""

Digest = NewType("Digest", bytes)
"""A SHA-256 digest: 32 bytes."""

MAX_MICROSECONDS: Final = Microseconds(2**64 - 1)
"""Where times saturate."""

NO_DIGEST: Final = Digest(bytes(32))
"""What stands where there is nothing to digest: no history yet, no identity directory."""

Floats = NDArray[np.float32]
"""A flat model or update: float32[d]."""

RingVector = NDArray[np.unsignedinteger[Any]]
"""A vector over Z_R: uint32[·] or uint64[·], by the ring."""

_A = TypeVar("_A", bound=np.generic)


@attrs.frozen
class Ring:
    """The integers modulo R = 2^bits."""

    bits: Literal[32, 64] = attrs.field(validator=attrs.validators.in_((32, 64)))
    """The width b of an element: 32 or 64."""

    @property
    def modulus(self) -> int:
        """R = 2^bits."""
        return 1 << self.bits

    @property
    def bytes(self) -> int:
        """The width of an element in bytes: 4 or 8."""
        return self.bits // 8

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint32 or uint64, little-endian: arithmetic on it wraps modulo R."""
        return np.dtype("<u4" if self.bits == 32 else "<u8")

    def check(self, vector: RingVector, *, rule: str, name: str = "vector") -> None:
        """Refuse (`PreconditionError` with `rule`) whatever is not a one-dimensional array of this ring's dtype."""
        if not isinstance(vector, np.ndarray) or vector.dtype != self.dtype or vector.ndim != 1:
            what = f"{vector.dtype}{list(vector.shape)}" if isinstance(vector, np.ndarray) else type(vector).__name__
            raise PreconditionError(rule=rule, detail=f"{name} must be {self.dtype.name}[d], got {what}")

    def centred(self, vector: RingVector) -> NDArray[np.int64]:
        """The representatives in [−R/2, R/2), two's complement: int64[·]."""
        return self.signed(vector).astype(np.int64)

    def signed(self, vector: RingVector) -> NDArray[np.signedinteger[Any]]:
        """The same memory, read as two's complement."""
        return vector.view("<i4" if self.bits == 32 else "<i8")


@attrs.frozen(repr=False, eq=False)
class Secret:
    """KEY-1: 32 secret bytes. Never shown in `repr`, compared in constant time.

    Python keeps copies that cannot be wiped: zeroisation is not claimed.
    """

    data: bytes = attrs.field()
    """The bytes themselves."""

    @data.validator
    def _length(self, _: object, value: bytes) -> None:
        if not isinstance(value, bytes) or len(value) != 32:
            raise PreconditionError(rule="KEY-1", detail="a secret is exactly 32 bytes")

    def __repr__(self) -> str:
        """The type alone."""
        return f"{type(self).__name__}(32 secret bytes)"

    def __eq__(self, other: object) -> bool:
        """Equality of type and bytes; the bytes are compared in constant time."""
        return type(other) is type(self) and isinstance(other, Secret) and hmac.compare_digest(self.data, other.data)

    __hash__ = None  # type: ignore[assignment]


@attrs.frozen(repr=False, eq=False)
class Seed(Secret):
    """The 256-bit seed of one mask."""

    __hash__ = None


@attrs.frozen(repr=False, eq=False)
class SecretKey(Secret):
    """An X25519 secret key."""

    __hash__ = None

    @cached_property
    def handle(self) -> X25519PrivateKey:
        """The library's key object, made once: making it costs as much as using it."""
        return X25519PrivateKey.from_private_bytes(self.data)


@attrs.frozen(repr=False, eq=False)
class SigningKey(Secret):
    """A long-term Ed25519 secret key."""

    __hash__ = None

    @cached_property
    def handle(self) -> Ed25519PrivateKey:
        """The library's key object, made once."""
        return Ed25519PrivateKey.from_private_bytes(self.data)


def frozen_array(array: NDArray[_A]) -> NDArray[_A]:
    """`array` itself where it is already read-only and owns its data, else a contiguous read-only copy."""
    if not array.flags.writeable and array.flags.owndata and array.flags.c_contiguous:
        return array
    copy = np.array(array, order="C", copy=True)
    copy.flags.writeable = False
    return copy


def saturate(microseconds: int) -> Microseconds:
    """The nearest value in [0, `MAX_MICROSECONDS`]."""
    return Microseconds(min(max(microseconds, 0), MAX_MICROSECONDS))


def check_finite(array: NDArray[Any], *, rule: str, name: str) -> None:
    """Refuse (`PreconditionError` with `rule`) an array that holds NaN or an infinity; says where the first one is."""
    finite = np.isfinite(array)
    if not finite.all():
        where = int(np.argmin(finite))
        raise PreconditionError(rule=rule, detail=f"{name} holds {array.flat[where]} at coordinate {where}")
