"""Randomness: derived keys, the mask generator, unbiased permutations.

Statistical checks run on pinned seeds, so they never fail by chance; what is stated is the share of all seeds on which a
uniform generator would fail. A pass is not a proof of randomness.
"""

import hashlib
import math
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import plain
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clip_ref import rand
from clip_ref.errors import PreconditionError
from clip_ref.oracle.strategies import ring_vectors, rings, seeds
from clip_ref.rand import BLOCK_BYTES, accumulate, derive, expand, permutation, random_bytes
from clip_ref.values import Ring, RingVector, Seed

R32, R64 = Ring(bits=32), Ring(bits=64)
SEED = Seed(bytes(range(32)))
MIB = 1 << 20


# Key derivation


def test_the_plain_hkdf_is_rfc_5869() -> None:
    okm = plain.hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert okm.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    okm = plain.hkdf(b"\x0b" * 22, b"", b"", 42)
    assert okm.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"


@pytest.mark.rule("RND-1")
@given(
    secret=st.binary(min_size=1, max_size=40),
    salt=st.binary(max_size=40),
    purpose=st.text("ab ", max_size=4),
    ids=st.lists(st.integers(0, 2**32 - 1), max_size=3).map(tuple),
    length=st.integers(1, 100),
)
def test_a_derived_key_is_hkdf_with_label_and_ids(
    secret: bytes, salt: bytes, purpose: str, ids: tuple[int, ...], length: int
) -> None:
    info = plain.prefixed(b"clip-ref/v1/" + purpose.encode()) + b"".join(plain.le(i, 4) for i in ids)
    key = derive(secret=secret, salt=salt, purpose=purpose, ids=ids, length=length)
    assert key == plain.hkdf(secret, salt, info, length)


@pytest.mark.rule("RND-1")
def test_a_derived_key_is_pinned() -> None:
    key = derive(secret=bytes(32), salt=bytes(32), purpose="test", ids=(1, 2))
    assert key.hex() == "355e1314b044567507a2ff3656e4be3b81891d246387b2d13cdbfac990995d4d"


@pytest.mark.rule("RND-1")
@given(
    st.lists(
        st.tuples(
            st.binary(min_size=32, max_size=32),
            st.binary(min_size=32, max_size=32),
            st.text("ab", max_size=3),
            st.lists(st.integers(0, 2**32 - 1), max_size=3).map(tuple),
        ),
        min_size=2,
        max_size=6,
        unique=True,
    )
)
def test_another_secret_salt_purpose_or_id_is_another_key(
    inputs: list[tuple[bytes, bytes, str, tuple[int, ...]]],
) -> None:
    keys = {derive(secret=a, salt=b, purpose=c, ids=d) for a, b, c, d in inputs}
    assert len(keys) == len(inputs)


@pytest.mark.rule("RND-1")
def test_each_input_separates_alone() -> None:
    zero, one = bytes(32), bytes(31) + b"\x01"
    variants = [
        derive(secret=zero, salt=zero, purpose="p", ids=(1, 2)),
        derive(secret=one, salt=zero, purpose="p", ids=(1, 2)),
        derive(secret=zero, salt=one, purpose="p", ids=(1, 2)),
        derive(secret=zero, salt=zero, purpose="q", ids=(1, 2)),
        derive(secret=zero, salt=zero, purpose="p", ids=(2, 1)),
        derive(secret=zero, salt=zero, purpose="p", ids=(1,)),
        derive(secret=zero, salt=zero, purpose="p\x01\0\0\0", ids=(2,)),
    ]
    assert len(set(variants)) == len(variants)


@pytest.mark.rule("RND-1")
@pytest.mark.parametrize("bad", [-1, 2**32])
def test_an_id_that_is_not_one_is_refused(bad: int) -> None:
    with pytest.raises(PreconditionError, match="does not fit"):
        derive(secret=bytes(32), salt=b"", purpose="p", ids=(bad,))


@pytest.mark.rule("RND-1")
@pytest.mark.parametrize("length", [-1, 0, 8161])
def test_a_key_that_hkdf_does_not_yield_is_refused(length: int) -> None:
    with pytest.raises(PreconditionError, match="1 … 8160 bytes"):
        derive(secret=bytes(32), salt=b"", purpose="p", length=length)
    assert len(derive(secret=bytes(32), salt=b"", purpose="p", length=8160)) == 8160


# The mask generator


def test_the_plain_counter_mode_is_sp_800_38a() -> None:
    """F.5.1: CTR-AES128.Encrypt, the output blocks: plaintext xor ciphertext."""
    key, counter = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"), bytes(range(0xF0, 0x100))
    stream = plain.aes_ctr(key, counter, 64)
    assert stream.hex() == (
        "ec8cdf7398607cb0f2d21675ea9ea1e4362b7c3c6773516318a077d7fc5073ae"
        "6a2cc3787889374fbeb4c81b17ba6c44e89c399ff0f198c6d40a31db156cabfe"
    )


@pytest.mark.rule("RND-2", "RND-3")
@given(seed=seeds(), ring=rings(), length=st.integers(0, 70))
def test_a_mask_is_the_keystream_in_little_endian_words(seed: Seed, ring: Ring, length: int) -> None:
    stream = plain.keystream(seed.data, length * ring.bytes)
    words = [int.from_bytes(stream[k : k + ring.bytes], "little") for k in range(0, len(stream), ring.bytes)]
    mask = expand(seed=seed, ring=ring, length=length)
    assert mask.tolist() == words
    assert mask.dtype == ring.dtype
    assert not mask.flags.writeable


@pytest.mark.rule("RND-6")
@given(seed=seeds(), length=st.integers(0, 100))
def test_random_bytes_open_the_keystream(seed: Seed, length: int) -> None:
    assert random_bytes(seed=seed, length=length) == plain.keystream(seed.data, length)


@pytest.mark.rule("RND-2", "RND-3")
def test_a_mask_is_pinned() -> None:
    assert expand(seed=SEED, ring=R32, length=4).tolist() == [878740970, 2154591931, 2608396747, 2633283248]
    assert expand(seed=SEED, ring=R64, length=2).tolist() == [9253901880749229546, 11309865433873054155]


@pytest.mark.rule("RND-3")
@pytest.mark.parametrize("ring", [R32, R64])
@pytest.mark.parametrize("extra", [-1, 0, 1, 5])
def test_a_mask_goes_on_over_block_boundaries(ring: Ring, extra: int) -> None:
    length = 2 * BLOCK_BYTES // ring.bytes + extra
    stream = np.frombuffer(plain.keystream(SEED.data, length * ring.bytes), dtype=ring.dtype)
    np.testing.assert_array_equal(expand(seed=SEED, ring=ring, length=length), stream)


@pytest.mark.rule("RND-2")
@pytest.mark.parametrize("seed", [SEED, Seed(bytes(32)), Seed(b"\xff" * 32)])
def test_every_bit_of_the_seed_counts(seed: Seed) -> None:
    """No fold: seeds that differ in one bit, or in the same bit of two words, have different masks."""
    plain_int = int.from_bytes(seed.data, "little")
    others = [plain_int ^ (1 << bit) for bit in range(256)]
    others += [plain_int ^ (1 << bit) ^ (1 << (bit + 32 * word)) for bit in range(32) for word in range(1, 8)]
    masks = {expand(seed=Seed(x.to_bytes(32, "little")), ring=R64, length=2).tobytes() for x in [plain_int, *others]}
    assert len(masks) == 1 + len(others)


@pytest.mark.rule("RND-3")
@pytest.mark.parametrize(("number", "at", "value"), [(50673, 80784, 0), (47788, 247530, 2**32 - 1)])
def test_both_ends_of_the_ring_are_drawn(number: int, at: int, value: int) -> None:
    """Found by search among the seeds 0, 1, 2, …: a generator that leaves out 0 or R − 1 cannot pass."""
    mask = expand(seed=Seed(number.to_bytes(32, "little")), ring=R32, length=at + 1)
    assert int(mask[at]) == value


Generator = Callable[[Seed, Ring, int], RingVector]


def _looks_uniform(generator: Generator, ring: Ring) -> bool:
    """Whether no statistic of 2²¹ words is off. A uniform generator fails on fewer than 1 in 10⁸ seeds.

    Every value of every 16-bit lane is drawn: missed with probability ≤ 4·65536·(1 − 2⁻¹⁶)^(2²¹) < 4e-9. A χ² of each lane's
    bytes, 255 degrees of freedom, is below 255 + 2√(255·40) + 2·40: exceeded with probability ≤ e⁻⁴⁰ (Laurent and Massart,
    2000, lemma 1), up to the multinomial's distance from its limit.
    """
    words = generator(SEED, ring, 1 << 21)
    lanes = words.view("<u2").reshape(len(words), -1)
    limit = 255 + 2 * math.sqrt(255 * 40) + 2 * 40
    for lane in lanes.T:
        counts = np.bincount(lane, minlength=1 << 16)
        if not counts.all():
            return False
        for byte in (counts.reshape(256, 256).sum(axis=0), counts.reshape(256, 256).sum(axis=1)):
            expected = len(words) / 256
            if float(((byte - expected) ** 2).sum()) / expected > limit:
                return False
    return True


def _biased(seed: Seed, ring: Ring, length: int) -> RingVector:
    """Floats scaled to the ring: 24 or 53 random bits, so the low ones are not."""
    rng = np.random.default_rng(list(seed.data))
    real = rng.random(length, dtype=np.float32) if ring.bits == 32 else rng.random(length)
    return (real.astype(np.float64) * ring.modulus).astype(ring.dtype)


def _topless(seed: Seed, ring: Ring, length: int) -> RingVector:
    """Never draws the top 2^(b − 16) values."""
    rng = np.random.default_rng(list(seed.data))
    return rng.integers(0, ring.modulus - (ring.modulus >> 16), size=length, dtype=ring.dtype)


def _narrow(seed: Seed, ring: Ring, length: int) -> RingVector:
    """31 bits, whatever the ring."""
    return np.random.default_rng(list(seed.data)).integers(0, 2**31, size=length, dtype=ring.dtype)


@pytest.mark.rule("RND-2", "RND-3")
@pytest.mark.parametrize("ring", [R32, R64])
def test_the_generator_is_told_from_biased_ones(ring: Ring) -> None:
    assert _looks_uniform(lambda seed, ring, length: expand(seed=seed, ring=ring, length=length), ring)
    assert not _looks_uniform(_biased, ring)
    assert not _looks_uniform(_topless, ring)
    assert not _looks_uniform(_narrow, ring)


def _first_word(data: bytes) -> int:
    return int.from_bytes(data[:4], "little")


def _xor_of_words(data: bytes) -> int:
    return int(np.bitwise_xor.reduce(np.frombuffer(data, dtype="<u4")))


@pytest.mark.rule("RND-2")
@pytest.mark.parametrize("fold", [_first_word, _xor_of_words, zlib.crc32])
def test_seeds_are_not_folded_to_32_bits(fold: Callable[[bytes], int]) -> None:
    """Two seeds that fold to the same 32 bits: a generator seeded by the fold repeats itself, ours does not."""
    found: dict[int, bytes] = {}
    for number in range(1 << 19):
        data = hashlib.sha256(plain.le(number, 4)).digest()
        other = found.setdefault(fold(data), data)
        if other != data:
            break
    masks = [expand(seed=Seed(d), ring=R64, length=4) for d in (data, other)]
    folded = [np.random.default_rng(fold(d)).integers(0, 2**64, size=4, dtype=np.uint64) for d in (data, other)]
    assert folded[0].tobytes() == folded[1].tobytes()
    assert masks[0].tobytes() != masks[1].tobytes()


# Accumulating masks


def _naive(target: RingVector, ring: Ring, plus: list[Seed], minus: list[Seed]) -> list[int]:
    """Element by element, in Python's integers."""
    sums = [int(x) for x in target]
    for sign, group in ((1, plus), (-1, minus)):
        for seed in group:
            stream = plain.keystream(seed.data, target.nbytes)
            for k in range(len(sums)):
                sums[k] += sign * int.from_bytes(stream[k * ring.bytes : (k + 1) * ring.bytes], "little")
    return [x % ring.modulus for x in sums]


@pytest.mark.rule("RND-4")
@given(data=st.data(), ring=rings(), length=st.integers(0, 40), block=st.sampled_from((8, 16, 24, 64, 1 << 17)))
def test_masks_add_up_whatever_the_block(data: st.DataObject, ring: Ring, length: int, block: int) -> None:
    before = data.draw(ring_vectors(ring, length))
    plus, minus = data.draw(st.lists(seeds(), max_size=3)), data.draw(st.lists(seeds(), max_size=3))
    target = before.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rand, "BLOCK_BYTES", block)
        accumulate(target=target, ring=ring, plus=iter(plus), minus=iter(minus))
    assert target.tolist() == _naive(before, ring, plus, minus)


@pytest.mark.rule("RND-4")
@pytest.mark.parametrize("ring", [R32, R64])
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_masks_add_up_at_the_real_block(ring: Ring, extra: int) -> None:
    length = BLOCK_BYTES // ring.bytes + extra
    other = Seed(b"\xaa" * 32)
    target = np.full(length, ring.modulus - 1, dtype=ring.dtype)
    expected = target + expand(seed=SEED, ring=ring, length=length) - expand(seed=other, ring=ring, length=length)
    accumulate(target=target, ring=ring, plus=[SEED], minus=[other])
    np.testing.assert_array_equal(target, expected)


@pytest.mark.rule("RND-4")
@given(data=st.data(), ring=rings(), group=st.lists(seeds(), max_size=4), length=st.integers(0, 20))
def test_what_is_added_can_be_taken_off(data: st.DataObject, ring: Ring, group: list[Seed], length: int) -> None:
    before = data.draw(ring_vectors(ring, length))
    target = before.copy()
    accumulate(target=target, ring=ring, plus=group, minus=[])
    accumulate(target=target, ring=ring, plus=[], minus=group[::-1])
    np.testing.assert_array_equal(target, before)


@pytest.mark.rule("RND-4")
@pytest.mark.parametrize(
    "bad",
    [np.zeros(4, dtype=np.uint64), np.zeros(4, dtype=np.int32), np.zeros((2, 2), dtype=np.uint32), np.zeros(4)],
)
def test_a_target_of_another_type_is_refused_untouched(bad: RingVector) -> None:
    with pytest.raises(PreconditionError, match=r"target must be uint32\[d\]") as caught:
        accumulate(target=bad, ring=R32, plus=[SEED], minus=[])
    assert caught.value.rule == "RND-4"
    assert not bad.any()


@pytest.mark.rule("RND-4")
def test_memory_is_one_block_however_many_masks() -> None:
    target = np.zeros(MIB, dtype=R32.dtype)
    peaks = []
    for count in (1, 12):
        group = [Seed(bytes([k]) * 32) for k in range(count)]
        tracemalloc.start()
        accumulate(target=target, ring=R32, plus=group, minus=[])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 2 * BLOCK_BYTES + 100_000 < target.nbytes / 8


# Permutations


def _shuffle(entropy: bytes, purpose: str, length: int) -> list[int]:
    stream = plain.keystream(plain.derive(entropy, b"", purpose.encode()), 4 * length + 400)
    words = iter(int.from_bytes(stream[k : k + 4], "little") for k in range(0, len(stream), 4))
    order = list(range(length))
    for top in reversed(range(1, length)):
        word = next(w for w in words if w < 2**32 // (top + 1) * (top + 1))
        order[top], order[word % (top + 1)] = order[word % (top + 1)], order[top]
    return order


@pytest.mark.rule("RND-5")
@given(entropy=st.binary(min_size=32, max_size=32), purpose=st.sampled_from(("a", "b")), length=st.integers(0, 60))
def test_a_permutation_is_one_and_is_pinned(entropy: bytes, purpose: str, length: int) -> None:
    order = permutation(entropy=entropy, purpose=purpose, length=length)
    assert sorted(order.tolist()) == list(range(length))
    assert order.tolist() == _shuffle(entropy, purpose, length)
    assert order.dtype == np.int64
    assert not order.flags.writeable


@pytest.mark.rule("RND-5")
def test_a_permutation_in_numbers() -> None:
    assert permutation(entropy=bytes(32), purpose="test", length=10).tolist() == [9, 6, 3, 1, 2, 4, 0, 5, 8, 7]


@pytest.mark.rule("RND-5")
def test_every_permutation_is_as_likely() -> None:
    """χ² over the 24 orders of 4: a uniform shuffle exceeds the limit with probability ≤ e⁻³⁰ (Laurent and Massart)."""
    draws = 4800
    shuffle = permutation.__wrapped__
    counts = Counter(
        tuple(shuffle(entropy=k.to_bytes(32, "little"), purpose="uniform", length=4).tolist()) for k in range(draws)
    )
    expected = draws / 24
    statistic = (24 - len(counts)) * expected + sum((c - expected) ** 2 / expected for c in counts.values())
    assert statistic < 23 + 2 * math.sqrt(23 * 30) + 2 * 30


class _Words:
    """A stand-in keystream that hands out the given words."""

    def __init__(self, words: list[int]) -> None:
        self._words: Iterator[int] = iter(words)

    def encryptor(self) -> "_Words":
        return self

    def update(self, data: bytes) -> bytes:
        return next(self._words).to_bytes(len(data), "little")


@pytest.mark.rule("RND-5")
@pytest.mark.parametrize(
    ("length", "words", "order"),
    [
        (3, [2**32 - 1, 0, 1], [2, 1, 0]),  # 2³² mod 3 = 1: the top word alone is refused
        (3, [2**32 - 2, 1], [0, 1, 2]),  # the last word below the limit is taken: (2³² − 2) mod 3 = 2
        (7, [2**32 - 4, 2**32 - 1, 6, 5, 4, 3, 2, 1], [0, 1, 2, 3, 4, 5, 6]),  # 2³² mod 7 = 4: the top four are refused
        (2, [2**32 - 1], [0, 1]),  # a power of two refuses nothing
    ],
)
def test_words_that_would_bias_are_refused(
    length: int, words: list[int], order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rand, "_keystream", lambda seed: _Words(words))
    assert permutation.__wrapped__(entropy=bytes(32), purpose="p", length=length).tolist() == order


@pytest.mark.rule("RND-5")
@given(one=st.binary(min_size=32, max_size=32), two=st.binary(min_size=32, max_size=32))
def test_another_entropy_or_purpose_is_another_order(one: bytes, two: bytes) -> None:
    """Of 64 entries: equal by chance with probability 1/64! < 1e-89."""
    assume(one != two)
    orders = [permutation(entropy=e, purpose=p, length=64).tobytes() for e in (one, two) for p in ("a", "b")]
    assert len(set(orders)) == 4


@pytest.mark.rule("RND-5")
@pytest.mark.parametrize(("entropy", "length"), [(31, 4), (33, 4), (0, 4), (32, -1), (32, 2**31)])
def test_a_permutation_of_something_else_is_refused(entropy: int, length: int) -> None:
    with pytest.raises(PreconditionError, match="32 bytes of entropy and a length below") as caught:
        permutation(entropy=bytes(entropy), purpose="p", length=length)
    assert caught.value.rule == "RND-5"


@pytest.mark.rule("RND-3", "RND-6")
@pytest.mark.parametrize("length", [-1, -(2**31)])
def test_a_negative_length_is_refused(length: int) -> None:
    with pytest.raises(PreconditionError, match="RND-3: a mask has a length of 0 or more"):
        expand(seed=Seed(bytes(32)), ring=Ring(32), length=length)
    with pytest.raises(PreconditionError, match="RND-6: a keystream has a length of 0 or more"):
        random_bytes(seed=Seed(bytes(32)), length=length)
    assert (
        len(expand(seed=Seed(bytes(32)), ring=Ring(32), length=0))
        == len(random_bytes(seed=Seed(bytes(32)), length=0))
        == 0
    )
