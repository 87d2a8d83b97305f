"""Values and errors: rings, secrets, read-only arrays, what an error says."""

import itertools
import pickle

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clip_ref.errors import (
    SERVER,
    ClipError,
    ContributionError,
    ParameterError,
    PreconditionError,
    RoundAborted,
    TranscriptError,
    WireError,
)
from clip_ref.oracle.strategies import ring_vectors, rings
from clip_ref.values import (
    MAX_MICROSECONDS,
    Ring,
    Secret,
    SecretKey,
    Seed,
    SigningKey,
    check_finite,
    frozen_array,
    saturate,
)

SECRETS = (Secret, Seed, SecretKey, SigningKey)


# Secrets


@pytest.mark.rule("KEY-1")
@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), bytearray(32), "x" * 32, [0] * 32])
def test_a_secret_is_exactly_32_bytes(kind: type[Secret], data: bytes) -> None:
    with pytest.raises(PreconditionError, match="exactly 32 bytes") as caught:
        kind(data)
    assert caught.value.rule == "KEY-1"


@pytest.mark.rule("KEY-1")
@given(data=st.binary(min_size=32, max_size=32), kind=st.sampled_from(SECRETS))
def test_a_secret_never_shows(data: bytes, kind: type[Secret]) -> None:
    secret = kind(data)
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
        assert repr(data)[2:-1] not in shown
        assert data.hex() not in shown
    assert repr(secret) == f"{kind.__name__}(32 secret bytes)"


@pytest.mark.rule("KEY-1")
@given(data=st.binary(min_size=32, max_size=32), flip=st.integers(1, 255))
def test_secrets_are_equal_by_type_and_every_byte(data: bytes, flip: int) -> None:
    for kind in SECRETS:
        assert kind(data) == kind(data)
        assert kind(data) != data
        for at in range(32):
            assert kind(data) != kind(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
    for one, two in itertools.permutations(SECRETS, 2):
        assert one(data) != two(data)


@pytest.mark.rule("KEY-1")
@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_cannot_be_hashed_or_changed(kind: type[Secret]) -> None:
    secret = kind(bytes(32))
    with pytest.raises(TypeError, match="unhashable"):
        hash(secret)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        secret.data = bytes(range(32))  # type: ignore[misc]


# Rings


@pytest.mark.parametrize(("bits", "modulus", "width", "dtype"), [(32, 2**32, 4, "<u4"), (64, 2**64, 8, "<u8")])
def test_a_ring_is_known_by_its_width(bits: int, modulus: int, width: int, dtype: str) -> None:
    ring = Ring(bits=bits)  # type: ignore[arg-type]
    assert (ring.modulus, ring.bytes, ring.dtype) == (modulus, width, np.dtype(dtype))
    top = np.array([modulus - 1], dtype=ring.dtype)
    assert (top + top)[0] == modulus - 2


@pytest.mark.parametrize("bits", [0, 16, 31, 128])
def test_no_other_ring_exists(bits: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        Ring(bits=bits)  # type: ignore[arg-type]


@given(data=st.data(), ring=rings())
def test_centred_is_the_representative_nearest_zero(data: st.DataObject, ring: Ring) -> None:
    vector = data.draw(ring_vectors(ring, 8))
    half = ring.modulus // 2
    for element, centred in zip(vector, ring.centred(vector), strict=True):
        assert -half <= int(centred) < half
        assert (int(centred) - int(element)) % ring.modulus == 0


def test_centred_is_twos_complement() -> None:
    for bits in (32, 64):
        ring, half = Ring(bits=bits), 1 << (bits - 1)
        vector = np.array([0, 1, half - 1, half, half + 1, 2 * half - 1], dtype=ring.dtype)
        assert ring.centred(vector).tolist() == [0, 1, half - 1, -half, 1 - half, -1]


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros(3, dtype=np.int32),
        np.zeros(3, dtype=np.uint64),
        np.zeros(3, dtype=np.float32),
        np.zeros((1, 3), dtype=np.uint32),
        np.zeros((), dtype=np.uint32),
        np.zeros(3, dtype=">u4"),
        [0, 0, 0],
    ],
)
def test_a_ring_refuses_what_is_not_its_vector(bad: NDArray[np.uint32]) -> None:
    with pytest.raises(PreconditionError, match=r"total must be uint32\[d\]") as caught:
        Ring(bits=32).check(bad, rule="MSK-1", name="total")
    assert caught.value.rule == "MSK-1"


def test_a_ring_accepts_its_vector() -> None:
    Ring(bits=32).check(np.zeros(0, dtype=np.uint32), rule="X-1")
    Ring(bits=64).check(np.zeros(3, dtype=np.uint64), rule="X-1")


# Arrays, times


def test_a_frozen_array_is_nobody_elses() -> None:
    mine = np.arange(6, dtype=np.int64)
    view = mine[:]
    view.flags.writeable = False
    for source in (mine, view, mine[::2]):
        before, frozen = source.copy(), frozen_array(source)
        mine += 1
        np.testing.assert_array_equal(frozen, before)
        assert not frozen.flags.writeable
        assert frozen.flags.c_contiguous
    assert mine.flags.writeable


def test_a_frozen_array_is_not_copied_again() -> None:
    frozen = frozen_array(np.arange(4))
    assert frozen_array(frozen) is frozen


@given(st.integers(-(2**70), 2**70))
def test_times_saturate(value: int) -> None:
    kept = saturate(value)
    assert 0 <= kept <= MAX_MICROSECONDS == 2**64 - 1
    assert kept == value or (kept == 0 and value < 0) or (kept == MAX_MICROSECONDS and value > MAX_MICROSECONDS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@given(length=st.integers(1, 20), data=st.data())
def test_what_is_not_finite_is_found(bad: float, length: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, length - 1))
    array = np.zeros(length, dtype=np.float32)
    check_finite(array, rule="COD-2", name="the update")
    array[at:] = bad
    with pytest.raises(PreconditionError, match=f"the update holds {bad} at coordinate {at}$") as caught:
        check_finite(array, rule="COD-2", name="the update")
    assert caught.value.rule == "COD-2"


# Errors

ERRORS: list[tuple[ClipError, str]] = [
    (PreconditionError(rule="MSK-1", detail="wrong"), "MSK-1: wrong"),
    (ParameterError(rule="PAR-1", detail="wrong"), "PAR-1: wrong"),
    (ContributionError(rule="KEY-3", detail="wrong", culprit=7, field="key"), "KEY-3: client 7, key: wrong"),
    (WireError(rule="WIR-3", detail="wrong", culprit=SERVER, field="end"), "WIR-3: the server, end: wrong"),
    (TranscriptError(rule="TRA-1", detail="wrong", entry=3), "TRA-1: entry 3 of the transcript: wrong"),
    (
        RoundAborted(rule="RND-1", detail="wrong", stage="U3", have=2, need=5),
        "RND-1: round aborted at U3: 2 clients left, 5 needed; wrong",
    ),
]


@pytest.mark.parametrize(("error", "line"), ERRORS)
def test_an_error_says_the_rule_who_and_what(error: ClipError, line: str) -> None:
    assert str(error) == line
    assert str(pickle.loads(pickle.dumps(error))) == line
    with pytest.raises(type(error)):
        raise error


def test_whose_fault_an_error_is() -> None:
    assert issubclass(ParameterError, PreconditionError)
    assert issubclass(PreconditionError, ValueError)
    assert issubclass(WireError, ContributionError)
    assert not issubclass(ContributionError, ValueError)
    assert not issubclass(RoundAborted, (ContributionError, PreconditionError))
    assert all(isinstance(error, ClipError) for error, _ in ERRORS)
