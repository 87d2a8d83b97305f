"""Shamir: any t shares give the secret, fewer are independent of it; the field is the right one."""

import itertools
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import few

from clip_ref.errors import PreconditionError
from clip_ref.shamir import INVERSE, MAX_SHARES, TIMES, combine, lagrange, split


def _times(a: int, b: int) -> int:
    """Peasant multiplication: double by FIPS 197's xtime, add where b has a bit."""
    out = 0
    while b:
        out ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return out


def _power(a: int, exponent: int) -> int:
    return reduce(_times, [a] * exponent, 1)


_INVERSES = [0, *(_power(a, 254) for a in range(1, 256))]


def _at_zero(points: dict[int, int]) -> int:
    """Lagrange at 0, one byte, with inverses as 254th powers."""
    out = 0
    for x, y in points.items():
        weight = 1
        for z in points:
            if z != x:
                weight = _times(weight, _times(z, _INVERSES[z ^ x]))
        out ^= _times(weight, y)
    return out


# The field


@pytest.mark.rule("SHM-1")
def test_the_tables_are_carry_less_multiplication() -> None:
    expected = [[_times(a, b) for b in range(256)] for a in range(256)]
    np.testing.assert_array_equal(TIMES, np.array(expected, dtype=np.uint8))
    assert TIMES[0x57, 0x83] == 0xC1  # FIPS 197, section 4.2
    assert TIMES[0x57, 0x13] == 0xFE


@pytest.mark.rule("SHM-1")
def test_the_tables_are_a_field() -> None:
    element = np.arange(256)
    np.testing.assert_array_equal(TIMES, TIMES.T)
    np.testing.assert_array_equal(TIMES[1], element)
    assert not TIMES[0].any()
    assert INVERSE[0] == 0
    assert (TIMES[element[1:], INVERSE[1:]] == 1).all()
    xor = element[:, None] ^ element[None, :]
    for a in range(256):
        row = TIMES[a]
        assert (TIMES[row] == row[TIMES]).all()  # (a·b)·c = a·(b·c)
        assert (row[xor] == row[:, None] ^ row[None, :]).all()  # a·(b + c) = a·b + a·c


@pytest.mark.rule("SHM-1")
def test_the_tables_cannot_be_written() -> None:
    assert not TIMES.flags.writeable
    assert not INVERSE.flags.writeable
    assert not lagrange((1, 2)).flags.writeable


# Splitting and combining


@st.composite
def _sharings(draw: st.DrawFn, max_holders: int = MAX_SHARES) -> tuple[bytes, int, tuple[bytes, ...]]:
    """A secret, a threshold, and the shares."""
    holders = draw(st.one_of(st.integers(2, max_holders), st.sampled_from((5, max_holders))))
    threshold = draw(st.one_of(st.integers(2, holders), st.sampled_from((2, holders // 2 + 1, holders))))
    secret = draw(st.binary(min_size=1, max_size=33))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    randomness = rng.bytes((threshold - 1) * len(secret))
    return secret, threshold, split(secret=secret, threshold=threshold, holders=holders, randomness=randomness)


@pytest.mark.rule("SHM-1", "SHM-4")
@given(sharing=_sharings(), data=st.data())
def test_any_t_shares_give_the_secret(sharing: tuple[bytes, int, tuple[bytes, ...]], data: st.DataObject) -> None:
    secret, threshold, shares = sharing
    order = data.draw(st.permutations(range(1, len(shares) + 1)))
    chosen = {x: shares[x - 1] for x in order[:threshold]}
    assert combine(shares=chosen, threshold=threshold) == secret
    assert all(len(share) == len(secret) for share in shares)


@pytest.mark.rule("SHM-4")
def test_every_subset_of_a_small_sharing_gives_the_secret() -> None:
    shares = split(secret=b"secret", threshold=3, holders=6, randomness=bytes(range(12)))
    for chosen in itertools.combinations(range(1, 7), 3):
        assert combine(shares={x: shares[x - 1] for x in chosen}, threshold=3) == b"secret"


@pytest.mark.rule("SHM-1", "SHM-2")
@given(
    secret=st.binary(min_size=1, max_size=4),
    threshold=st.integers(2, 5),
    more=st.integers(0, 4),
    data=st.data(),
)
def test_a_share_is_the_polynomial_at_its_number(secret: bytes, threshold: int, more: int, data: st.DataObject) -> None:
    """Coefficient k of byte i is randomness[(k − 1)·length + i]; holder number x, from 1, gets the value at x."""
    length = len(secret)
    randomness = data.draw(st.binary(min_size=(threshold - 1) * length, max_size=(threshold - 1) * length))
    shares = split(secret=secret, threshold=threshold, holders=threshold + more, randomness=randomness)
    for x, share in enumerate(shares, start=1):
        for i in range(length):
            terms = [_times(randomness[(k - 1) * length + i], _power(x, k)) for k in range(1, threshold)]
            assert share[i] == reduce(int.__xor__, terms, secret[i])


@pytest.mark.rule("SHM-1", "SHM-2")
def test_shares_are_pinned() -> None:
    shares = split(secret=b"\x53\xca", threshold=3, holders=4, randomness=b"\x01\x02\x03\x04")
    assert [share.hex() for share in shares] == ["51cc", "5dde", "5fd8", "6782"]
    top = split(secret=b"\x01", threshold=2, holders=255, randomness=b"\x01")
    assert [share[0] for share in top] == [x ^ 1 for x in range(1, 256)]


@pytest.mark.rule("SHM-3")
@given(st.lists(st.integers(1, 255), min_size=1, max_size=9, unique=True).map(tuple))
def test_the_weights_interpolate_at_zero(points: tuple[int, ...]) -> None:
    for k, weight in enumerate(lagrange(points)):
        assert weight == _at_zero({x: int(x == points[k]) for x in points})


# Fewer shares say nothing


@pytest.mark.rule("SHM-2", "SHM-4")
@pytest.mark.parametrize("secret", [0, 1, 0x80, 0xFF])
def test_one_share_of_two_is_independent_of_the_secret(secret: int) -> None:
    """Exact: over the 256 coefficients each holder's share takes each value once, whatever the secret."""
    shares = split(secret=bytes([secret]) * 256, threshold=2, holders=255, randomness=bytes(range(256)))
    for share in shares:
        assert sorted(share) == list(range(256))


@pytest.mark.rule("SHM-2", "SHM-4")
@pytest.mark.parametrize("secret", [0, 0x5A, 0xFF])
def test_two_shares_of_three_are_independent_of_the_secret(secret: int) -> None:
    """Exact: over the 65536 pairs of coefficients any two holders' shares take each pair of values once."""
    count = 1 << 16
    coefficients = np.arange(count, dtype="<u2").view(np.uint8).reshape(count, 2).T.tobytes()
    shares = split(secret=bytes([secret]) * count, threshold=3, holders=6, randomness=coefficients)
    values = [np.frombuffer(share, dtype=np.uint8).astype(np.int64) for share in shares]
    for one, two in itertools.combinations(values, 2):
        assert (np.bincount(one << 8 | two, minlength=count) == 1).all()


@pytest.mark.rule("SHM-4")
@given(sharing=_sharings(max_holders=12), data=st.data())
def test_with_t_minus_1_shares_every_secret_is_possible(
    sharing: tuple[bytes, int, tuple[bytes, ...]], data: st.DataObject
) -> None:
    """Per byte: the 256 values of the share that is missing give the 256 secrets, once each."""
    _, threshold, shares = sharing
    order = data.draw(st.permutations(range(1, len(shares) + 1)))
    *known, missing = order[:threshold]
    chosen = {x: shares[x - 1][:1] * 256 for x in known}
    chosen[missing] = bytes(range(256))
    assert sorted(combine(shares=chosen, threshold=threshold)) == list(range(256))


# Wrong shares, wrong arguments


@pytest.mark.rule("SHM-5")
@given(sharing=_sharings(max_holders=20), data=st.data(), flip=st.integers(1, 255))
def test_a_wrong_share_gives_another_secret_of_the_same_length(
    sharing: tuple[bytes, int, tuple[bytes, ...]], data: st.DataObject, flip: int
) -> None:
    secret, threshold, shares = sharing
    chosen = {x: shares[x - 1] for x in range(1, threshold + 1)}
    liar, at = data.draw(st.sampled_from(sorted(chosen))), data.draw(st.integers(0, len(secret) - 1))
    wrong = bytearray(chosen[liar])
    wrong[at] ^= flip
    found = combine(shares=chosen | {liar: bytes(wrong)}, threshold=threshold)
    assert [k for k in range(len(secret)) if found[k] != secret[k]] == [at]
    assert len(found) == len(secret)


@pytest.mark.rule("SHM-1")
@pytest.mark.parametrize(("threshold", "holders"), [(0, 5), (1, 5), (-1, 5), (6, 5), (2, 1), (2, 256), (256, 256)])
def test_an_impossible_sharing_is_refused(threshold: int, holders: int) -> None:
    with pytest.raises(PreconditionError, match="does not hold") as caught:
        split(secret=b"x", threshold=threshold, holders=holders, randomness=bytes(max(threshold - 1, 0)))
    assert caught.value.rule == "SHM-1"


@pytest.mark.rule("SHM-2")
@pytest.mark.parametrize(("secret", "randomness"), [(b"", b""), (b"ab", bytes(3)), (b"ab", bytes(5)), (b"ab", b"")])
def test_randomness_must_fit(secret: bytes, randomness: bytes) -> None:
    with pytest.raises(PreconditionError, match=f"got {len(randomness)}") as caught:
        split(secret=secret, threshold=3, holders=5, randomness=randomness)
    assert caught.value.rule == "SHM-2"


@pytest.mark.rule("SHM-3")
@pytest.mark.parametrize("points", [(0, 1), (1, 256), (-1, 2), (3, 3)])
def test_share_numbers_are_distinct_and_in_range(points: tuple[int, ...]) -> None:
    with pytest.raises(PreconditionError, match="distinct and 1 … 255") as caught:
        lagrange(points)
    assert caught.value.rule == "SHM-3"
    if points[0] != points[1]:
        with pytest.raises(PreconditionError):
            combine(shares=dict.fromkeys(points, b"x"), threshold=2)


@pytest.mark.rule("SHM-4")
@few
@given(sharing=_sharings(max_holders=10))
def test_exactly_t_shares_are_combined(sharing: tuple[bytes, int, tuple[bytes, ...]]) -> None:
    _, threshold, shares = sharing
    for count in set(range(len(shares) + 1)) - {threshold}:
        with pytest.raises(PreconditionError, match=f"exactly {threshold} shares are combined, got {count}") as caught:
            combine(shares={x: shares[x - 1] for x in range(1, count + 1)}, threshold=threshold)
        assert caught.value.rule == "SHM-4"


@pytest.mark.rule("SHM-5")
def test_shares_of_two_lengths_are_refused() -> None:
    with pytest.raises(PreconditionError, match="one length") as caught:
        combine(shares={1: b"ab", 2: b"a"}, threshold=2)
    assert caught.value.rule == "SHM-5"
