"""What masks cost, against what they cannot cost less than."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from timing import best_cpu_seconds

from clip_ref import rand
from clip_ref.masking import mask
from clip_ref.rand import accumulate
from clip_ref.values import ClientId, Ring, RingVector, Seed

PEERS = 20
D = 1_000_000
RING = Ring(bits=32)
SEEDS = [Seed(bytes([k]) * 32) for k in range(PEERS)]


def masks() -> Callable[[], None]:
    target = np.zeros(D, dtype=RING.dtype)
    return lambda: accumulate(target=target, ring=RING, plus=SEEDS[::2], minus=SEEDS[1::2])


def keystream() -> Callable[[], None]:
    """As many AES-128-CTR bytes, by the same library, into one buffer that stays in cache."""
    zeros, scratch = bytes(rand.BLOCK_BYTES), bytearray(rand.BLOCK_BYTES + 15)
    blocks, rest = divmod(4 * D, rand.BLOCK_BYTES)

    def run() -> None:
        for k in range(PEERS):
            stream = Cipher(algorithms.AES128(bytes([k]) * 16), modes.CTR(bytes(16))).encryptor()
            for _ in range(blocks):
                stream.update_into(zeros, scratch)
            stream.update_into(zeros[:rest], scratch)

    return run


def additions() -> Callable[[], None]:
    """As many ring additions, on two blocks that stay in cache."""
    a = np.zeros(rand.BLOCK_BYTES // 4, dtype=RING.dtype)
    b = np.ones_like(a)
    blocks, rest = divmod(D, len(a))

    def run() -> None:
        for _ in range(PEERS):
            for _ in range(blocks):
                np.add(a, b, out=a)
            np.add(a[:rest], b[:rest], out=a[:rest])

    return run


@pytest.mark.rule("RND-4")
def test_masks_cost_little_more_than_their_keystream_and_additions(record_property: Callable[[str, Any], None]) -> None:
    times = best_cpu_seconds({"masks": masks(), "keystream": keystream(), "additions": additions()}, rounds=15)
    ratio = times["masks"] / (times["keystream"] + times["additions"])
    print(f"\n20 masks, d = 1e6: {times} ratio {ratio:.3f}")
    record_property("ratio", ratio)
    assert ratio <= 1.25


@pytest.mark.rule("RND-4")
@pytest.mark.parametrize("kib", [16, 32, 64, 128, 256, 1024])
def test_block_size(benchmark: Any, monkeypatch: pytest.MonkeyPatch, kib: int) -> None:
    """The sweep by which BLOCK_BYTES was chosen."""
    monkeypatch.setattr(rand, "BLOCK_BYTES", kib * 1024)
    benchmark.group = "20 masks of 1e6 elements, by block size"
    benchmark.pedantic(masks(), rounds=9, warmup_rounds=1)


@pytest.mark.rule("RND-4", "MSK-4")
def test_masking_takes_memory_for_one_vector_and_one_block() -> None:
    update: RingVector = np.zeros(D, dtype=RING.dtype)
    peers = {ClientId(k + 1): seed for k, seed in enumerate(SEEDS)}

    def peak(count: int) -> int:
        tracemalloc.start()
        mask(
            ring=RING,
            update=update,
            self_seed=SEEDS[0],
            pair_seeds=dict(list(peers.items())[:count]),
            sender=ClientId(0),
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(PEERS) <= update.nbytes + 4 * rand.BLOCK_BYTES
    assert peak(PEERS) - peak(1) <= 64 * 1024


def test_mask_whole_stage(benchmark: Any) -> None:
    update: RingVector = np.zeros(D, dtype=RING.dtype)
    peers = {ClientId(k + 1): seed for k, seed in enumerate(SEEDS)}
    benchmark.group = "one client's mask, 20 peers, d = 1e6"
    benchmark.pedantic(
        lambda: mask(ring=RING, update=update, self_seed=SEEDS[0], pair_seeds=peers, sender=ClientId(0)),
        rounds=9,
        warmup_rounds=1,
    )
