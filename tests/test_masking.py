"""Masking: masks hide one update and cancel in the sum, exactly, for any roster and any drop-outs."""

import hashlib
import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np
import plain
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import few

from clip_ref.errors import PreconditionError
from clip_ref.keys import pair_seed, public_key, self_mask_seed
from clip_ref.masking import mask, unmask
from clip_ref.oracle.strategies import ring_vectors, rings, rngs, rosters
from clip_ref.rand import BLOCK_BYTES, expand
from clip_ref.values import ClientId, Digest, Ring, RingVector, SecretKey, Seed

R32, R64 = Ring(bits=32), Ring(bits=64)
ONE, TWO, THREE = ClientId(1), ClientId(2), ClientId(3)


def _seed(*names: object) -> Seed:
    return Seed(hashlib.sha256(repr(names).encode()).digest())


def _pair(u: ClientId, v: ClientId) -> Seed:
    return _seed("pair", min(u, v), max(u, v))


def _peers(roster: tuple[ClientId, ...], u: ClientId) -> dict[ClientId, Seed]:
    return {v: _pair(u, v) for v in roster if v != u}


def _words(seed: Seed, ring: Ring, length: int) -> list[int]:
    stream = plain.keystream(seed.data, length * ring.bytes)
    return [int.from_bytes(stream[k * ring.bytes : (k + 1) * ring.bytes], "little") for k in range(length)]


def _sum(ring: Ring, vectors: Mapping[ClientId, RingVector], length: int) -> RingVector:
    total = np.zeros(length, dtype=ring.dtype)
    for vector in vectors.values():
        total = total + vector
    return total


@st.composite
def _rounds(draw: st.DrawFn) -> tuple[Ring, dict[ClientId, RingVector], frozenset[ClientId]]:
    """A ring, everybody's update, and who drops out before the upload: nobody, some, or all."""
    ring, roster, length = draw(rings()), draw(rosters(min_size=1)), draw(st.integers(0, 12))
    updates = {u: draw(ring_vectors(ring, length)) for u in roster}
    return ring, updates, draw(st.frozensets(st.sampled_from(roster)))


# The law: what goes in comes out


@pytest.mark.rule("MSK-3", "MSK-4", "MSK-6", "MSK-7")
@given(case=_rounds())
def test_the_sum_is_exact_for_any_roster_and_drop_outs(
    case: tuple[Ring, dict[ClientId, RingVector], frozenset[ClientId]],
) -> None:
    """Seeds of pairs that both dropped out are not asked for."""
    ring, updates, gone = case
    roster, length = tuple(updates), len(next(iter(updates.values())))
    masked = {
        u: mask(ring=ring, update=x, self_seed=_seed("self", u), pair_seeds=_peers(roster, u), sender=u)
        for u, x in updates.items()
    }
    assert all(len(y) == length and y.dtype == ring.dtype for y in masked.values())
    left = {u: y for u, y in masked.items() if u not in gone}
    total = _sum(ring, left, length)
    before = total.copy()
    found = unmask(
        ring=ring,
        total=total,
        self_seeds=(_seed("self", u) for u in left),
        dangling={(u, v): _pair(u, v) for u in left for v in gone},
    )
    expected = [sum(int(updates[u][k]) for u in left) % ring.modulus for k in range(length)]
    assert found.tolist() == expected
    assert found.dtype == ring.dtype
    np.testing.assert_array_equal(total, before)


@pytest.mark.rule("MSK-3")
@given(roster=rosters(min_size=2), ring=rings())
def test_pairwise_masks_cancel(roster: tuple[ClientId, ...], ring: Ring) -> None:
    """What is left over everybody is the self masks alone."""
    zero = np.zeros(9, dtype=ring.dtype)
    masked = {
        u: mask(ring=ring, update=zero, self_seed=_seed("self", u), pair_seeds=_peers(roster, u), sender=u)
        for u in roster
    }
    selves = {u: expand(seed=_seed("self", u), ring=ring, length=9) for u in roster}
    np.testing.assert_array_equal(_sum(ring, masked, 9), _sum(ring, selves, 9))


@pytest.mark.rule("MSK-3", "MSK-6", "KEY-4", "KEY-5")
@few
@given(roster=rosters(min_size=3, max_size=5), ring=rings(), rng=rngs())
def test_a_sum_under_agreed_keys(roster: tuple[ClientId, ...], ring: Ring, rng: np.random.Generator) -> None:
    """As in a round: seeds agreed by X25519 in the round's context, the first client drops out."""
    ctx = Digest(rng.bytes(32))
    secrets = {u: SecretKey(rng.bytes(32)) for u in roster}
    publics = {u: public_key(secret) for u, secret in secrets.items()}
    selves = {u: self_mask_seed(self_seed=Seed(rng.bytes(32)), me=u, ctx=ctx) for u in roster}
    updates = {u: rng.integers(0, ring.modulus, size=5, dtype=ring.dtype) for u in roster}

    def agreed(u: ClientId, v: ClientId) -> Seed:
        return pair_seed(secret=secrets[u], me=u, peer=v, peer_key=publics[v], ctx=ctx)

    gone, *left = roster
    masked = {
        u: mask(
            ring=ring,
            update=updates[u],
            self_seed=selves[u],
            pair_seeds={v: agreed(u, v) for v in roster if v != u},
            sender=u,
        )
        for u in left
    }
    found = unmask(
        ring=ring,
        total=_sum(ring, masked, 5),
        self_seeds=[selves[u] for u in left],
        dangling={(u, gone): agreed(gone, u) for u in left},
    )
    np.testing.assert_array_equal(found, _sum(ring, {u: updates[u] for u in left}, 5))


# The convention: who adds, who subtracts


@pytest.mark.rule("MSK-5")
@given(data=st.data(), ring=rings(), roster=rosters(), length=st.integers(0, 6))
def test_the_smaller_id_adds(data: st.DataObject, ring: Ring, roster: tuple[ClientId, ...], length: int) -> None:
    update, sender = data.draw(ring_vectors(ring, length)), data.draw(st.sampled_from(roster))
    before = update.copy()
    expected = [int(x) for x in update]
    terms = [(1, _seed("self", sender))]
    terms += [(1 if v > sender else -1, _pair(sender, v)) for v in roster if v != sender]
    for sign, seed in terms:
        expected = [(x + sign * w) % ring.modulus for x, w in zip(expected, _words(seed, ring, length), strict=True)]
    masked = mask(
        ring=ring, update=update, self_seed=_seed("self", sender), pair_seeds=_peers(roster, sender), sender=sender
    )
    assert masked.tolist() == expected
    assert not masked.flags.writeable
    np.testing.assert_array_equal(update, before)


@pytest.mark.rule("MSK-5")
@pytest.mark.parametrize(
    ("bits", "sender", "masked"),
    [
        (32, ONE, [2263388416, 2758173371, 2094688861]),
        (32, TWO, [3437373918, 1870337533, 2414301941]),
        (32, THREE, [3631962248, 1149827719, 2857186791]),
        (64, TWO, [8033038531563760094, 11006038055590515447, 13294259351510766278]),
    ],
)
def test_masked_updates_are_pinned(bits: int, sender: ClientId, masked: list[int]) -> None:
    """Seeds are the byte 16·u + v, u < v, repeated; the self mask's is the byte u."""
    ring = R32 if bits == 32 else R64
    seeds = {v: Seed(bytes([16 * min(sender, v) + max(sender, v)]) * 32) for v in (ONE, TWO, THREE) if v != sender}
    update = np.array([0, 1, ring.modulus - 1], dtype=ring.dtype)
    found = mask(ring=ring, update=update, self_seed=Seed(bytes([sender]) * 32), pair_seeds=seeds, sender=sender)
    assert found.tolist() == masked


@pytest.mark.rule("MSK-6")
def test_unmasking_takes_off_what_the_survivor_put_on() -> None:
    """Of the dropped 1 and 3, the survivor 2 had subtracted the mask with 1 and added the one with 3."""
    total = np.array([5, 6], dtype=np.uint32)
    own, low, high = Seed(b"\x02" * 32), Seed(b"\x12" * 32), Seed(b"\x23" * 32)
    found = unmask(ring=R32, total=total, self_seeds=[own], dangling={(TWO, ONE): low, (TWO, THREE): high})
    words = [_words(seed, R32, 2) for seed in (own, low, high)]
    assert found.tolist() == [(int(t) - o + lo - hi) % 2**32 for t, o, lo, hi in zip(total, *words, strict=True)]
    assert not found.flags.writeable


# What a mask hides


@pytest.mark.rule("MSK-5")
@given(ring=rings(), data=st.data())
def test_the_self_mask_is_there_without_any_peer(ring: Ring, data: st.DataObject) -> None:
    update = data.draw(ring_vectors(ring, 8))
    masked = mask(ring=ring, update=update, self_seed=_seed("self"), pair_seeds={}, sender=ONE)
    np.testing.assert_array_equal(masked - update, expand(seed=_seed("self"), ring=ring, length=8))
    assert masked.tobytes() != update.tobytes()


@pytest.mark.rule("MSK-6")
@given(roster=rosters(min_size=3), ring=rings())
def test_without_one_seed_the_sum_stays_hidden(roster: tuple[ClientId, ...], ring: Ring) -> None:
    """A missing self mask, or a missing dangling one, leaves noise: 8 zeros have probability ≤ 2⁻²⁵⁶."""
    gone, *left = roster
    update = np.zeros(8, dtype=ring.dtype)
    masked = {
        u: mask(ring=ring, update=update, self_seed=_seed("self", u), pair_seeds=_peers(roster, u), sender=u)
        for u in left
    }
    total = _sum(ring, masked, 8)
    dangling = {(u, gone): _pair(u, gone) for u in left}
    selves = [_seed("self", u) for u in left]
    assert not unmask(ring=ring, total=total, self_seeds=selves, dangling=dangling).any()
    assert unmask(ring=ring, total=total, self_seeds=selves[1:], dangling=dangling).any()
    fewer = {pair: seed for pair, seed in dangling.items() if pair[0] != left[0]}
    assert unmask(ring=ring, total=total, self_seeds=selves, dangling=fewer).any()


@pytest.mark.rule("MSK-5")
@pytest.mark.parametrize("ring", [R32, R64])
def test_masks_whose_seeds_share_32_bits_do_not_cancel(ring: Ring) -> None:
    """The masks with 1 and 3 enter with opposite signs: a generator that keeps 32 bits of a seed would undo them."""
    for one, other in (
        (bytes(32), bytes(4) + b"\x01" * 28),  # the same first word
        (bytes(32), b"\x01" * 8 + bytes(24)),  # the same xor of words
        (bytes(32), b"\x01" + bytes(3) + b"\xff\xff\xff\xff" + bytes(24)),  # the same sum of words
    ):
        update = np.zeros(1000, dtype=ring.dtype)
        masked = mask(
            ring=ring,
            update=update,
            self_seed=_seed("self"),
            pair_seeds={ONE: Seed(one), THREE: Seed(other)},
            sender=TWO,
        )
        rest = masked - expand(seed=_seed("self"), ring=ring, length=1000)
        assert np.count_nonzero(rest) > 990  # at 32 bits more than 9 zeros of 1000 have probability below 1e-60


@pytest.mark.rule("MSK-5")
def test_a_mask_reaches_every_bit() -> None:
    """Each of 64 bits is set in 412 … 612 of 1024 masks of zero: off by chance below 64·2·exp(−2·100²/1024) < 5e-7."""
    zero = np.zeros(1024, dtype=np.uint64)
    masked = mask(ring=R64, update=zero, self_seed=_seed("self"), pair_seeds={TWO: _seed("pair")}, sender=ONE)
    ones = [int(np.count_nonzero(masked >> np.uint64(bit) & np.uint64(1))) for bit in range(64)]
    assert all(412 <= count <= 612 for count in ones)


# Cost


@pytest.mark.rule("MSK-4")
def test_memory_is_the_vector_and_a_block_however_many_peers() -> None:
    update = np.zeros(1 << 20, dtype=np.uint32)
    peaks = []
    for peers in (1, 10):
        seeds = {ClientId(v): _seed(v) for v in range(2, 2 + peers)}
        tracemalloc.start()
        mask(ring=R32, update=update, self_seed=_seed("self"), pair_seeds=seeds, sender=ONE)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < update.nbytes + 2 * BLOCK_BYTES + 100_000


# Refusals

BAD = [np.zeros(3, dtype=np.uint64), np.zeros(3, dtype=np.int32), np.zeros(3), np.zeros((1, 3), dtype=np.uint32)]


@pytest.mark.rule("MSK-1")
@pytest.mark.parametrize("bad", BAD)
def test_a_vector_of_another_ring_is_refused(bad: RingVector) -> None:
    with pytest.raises(PreconditionError, match=r"the update must be uint32\[d\]") as caught:
        mask(ring=R32, update=bad, self_seed=_seed("self"), pair_seeds={}, sender=ONE)
    assert caught.value.rule == "MSK-1"
    with pytest.raises(PreconditionError, match=r"the total must be uint32\[d\]") as caught:
        unmask(ring=R32, total=bad, self_seeds=[], dangling={})
    assert caught.value.rule == "MSK-1"


@pytest.mark.rule("MSK-2")
def test_nobody_is_its_own_peer() -> None:
    with pytest.raises(PreconditionError, match="client 1 has no pairwise mask with itself") as caught:
        mask(
            ring=R32,
            update=np.zeros(3, dtype=np.uint32),
            self_seed=_seed("self"),
            pair_seeds={ONE: _seed("pair"), TWO: _seed("pair")},
            sender=ONE,
        )
    assert caught.value.rule == "MSK-2"


@pytest.mark.rule("MSK-7")
def test_nobody_survives_and_drops_out() -> None:
    with pytest.raises(PreconditionError, match="cannot have survived and dropped out") as caught:
        unmask(ring=R32, total=np.zeros(3, dtype=np.uint32), self_seeds=[], dangling={(ONE, ONE): _seed("pair")})
    assert caught.value.rule == "MSK-7"


@pytest.mark.rule("MSK-4", "MSK-5")
def test_an_update_that_is_given_up_is_masked_where_it_stands() -> None:
    """To the same vector; without `overwrite` it stays as it is."""
    update = np.arange(100_000, dtype="<u4")
    update.flags.writeable = False
    before = update.copy()
    known: dict[str, Any] = {"ring": Ring(32), "self_seed": Seed(b"b" * 32), "sender": ClientId(1)}
    pairs = {ClientId(0): Seed(b"p" * 32), ClientId(2): Seed(b"q" * 32)}
    copied = mask(update=update, pair_seeds=pairs, **known)
    assert update.tolist() == before.tolist()
    assert copied is not update
    there = mask(update=update, pair_seeds=pairs, overwrite=True, **known)
    assert there is update
    assert there.tolist() == copied.tolist() != before.tolist()
    assert not there.flags.writeable
