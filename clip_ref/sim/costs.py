"""Costs: counted work into time.   Spec: clock, rule CLK-1.

A cost is in cycles per unit, which is nanoseconds per unit on a 1 GHz core. The declared costs were measured once, with

    python -c "from clip_ref.sim.costs import measure; print(measure(host_ghz=2.45))"

and rounded; simulated times never depend on the machine they are computed on.
"""

import functools
import hashlib
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Final

import attrs
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from clip_ref.round.cost import Work
from clip_ref.sim.fleet import Device, to_microseconds
from clip_ref.values import Microseconds


@attrs.frozen(kw_only=True)
class UnitCosts:
    """What one unit of each kind of work costs, in cycles: nanoseconds at 1 GHz."""

    scalar_multiplication: float
    """One X25519 scalar multiplication."""

    mask_byte: float
    """One byte of AES-128-CTR keystream, and its addition to the sum."""

    sealed_byte: float
    """One byte of plaintext in ChaCha20-Poly1305, with its share of what a short message costs on top."""

    shared_byte: float
    """One byte of one share, times the threshold: a multiplication and an addition in GF(2⁸)."""

    hashed_byte: float
    """One byte through SHA-256."""

    signature: float
    """One Ed25519 signature made or checked."""

    scored: float
    """One coordinate whose change is scored."""

    coded: float
    """One coordinate encoded to, or decoded from, the ring."""

    def cycles(self, work: Work) -> Fraction:
        """What `work` costs, in cycles, exactly."""
        return (
            Fraction(self.scalar_multiplication) * work.scalar_multiplications
            + Fraction(self.mask_byte) * work.mask_bytes
            + Fraction(self.sealed_byte) * work.sealed_bytes
            + Fraction(self.shared_byte) * work.shared_bytes
            + Fraction(self.hashed_byte) * work.hashed_bytes
            + Fraction(self.signature) * work.signatures
            + Fraction(self.scored) * work.scored
            + Fraction(self.coded) * work.coded
        )


@functools.lru_cache(maxsize=1024)
def _cycles(units: UnitCosts, work: Work) -> Fraction:
    """Clients of one round count alike."""
    return units.cycles(work)


def duration(*, work: Work, units: UnitCosts, device: Device) -> Microseconds:
    """CLK-1: how long `work` takes on `device`: cycles · slow_down / ghz, in µs, rounded half up, saturating."""
    exact = _cycles(units, work) * Fraction(device.slow_down) / (Fraction(device.ghz) * 1000)
    return to_microseconds(exact)


DECLARED: Final = UnitCosts(
    scalar_multiplication=125_000,
    mask_byte=0.55,
    sealed_byte=65,
    shared_byte=100,
    hashed_byte=1.7,
    signature=280_000,
    scored=20,
    coded=14,
)
"""What simulated times are made of: measured on a server core at 2.45 GHz with AES and SHA instructions, and rounded."""

_SAMPLES: Final = 5
_SAMPLE_SECONDS: Final = 0.02
_BLOCK: Final = 1 << 17
_COORDINATES: Final = 1 << 13
_HOLDERS, _THRESHOLD, _SECRET = 20, 14, 32
_RECORD: Final = 256


def measure(*, host_ghz: float) -> UnitCosts:
    """The costs on the machine it runs on, in that machine's cycles; `host_ghz` is the rate it runs at.

    Each is the median of five CPU times of at least 20 ms, of the primitives and array operations that a round is made
    of: 128 KiB of keystream, 256-byte records, 20 holders of which 14 rebuild, 2¹³ coordinates, so that all stays in the
    core's own cache and no page is asked of the system. Takes about a second.
    """
    random = np.random.Generator(np.random.PCG64(1))
    key, peer = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    stream = Cipher(algorithms.AES128(bytes(16)), modes.CTR(bytes(16))).encryptor()
    signer = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signature, verifier = signer.sign(bytes(32)), signer.public_key()
    zeros, scratch = bytes(_BLOCK), bytearray(_BLOCK + 15)
    total, words = np.zeros(_BLOCK // 4, np.uint32), np.frombuffer(scratch, np.uint32, count=_BLOCK // 4)
    table = random.integers(0, 256, (_HOLDERS, 256), dtype=np.uint8)
    shares = random.integers(0, 256, (_HOLDERS, _SECRET), dtype=np.uint8)
    model = random.normal(scale=0.05, size=_COORDINATES).astype(np.float32)
    before = model + np.float32(0.001)

    def mask() -> None:
        stream.update_into(zeros, scratch)
        np.add(total, words, out=total)

    def seal() -> None:
        ChaCha20Poly1305(bytes(32)).encrypt(bytes(12), zeros[:_RECORD], b"")

    def share() -> None:
        for _ in range(_THRESHOLD):
            np.bitwise_xor(np.take_along_axis(table, shares, axis=1), shares[0], out=shares)

    def check() -> None:
        verifier.verify(signature, zeros[:32])

    def score() -> None:
        new, old = (np.rint(w.astype(np.float64) * (1 << 24)).astype(np.int64) for w in (model, before))
        np.add.reduce(np.abs(new - old)), np.add.reduce(np.abs(old))

    def code() -> None:
        values = np.rint(np.clip(model.astype(np.float64), -1, 1) * 32767).astype(np.int64) * 64
        values.view(np.uint64).astype(np.uint32)

    def cycles(task: Callable[[], object], units: int) -> float:
        return _cpu_seconds(task) * host_ghz * 1e9 / units

    return UnitCosts(
        scalar_multiplication=cycles(lambda: key.exchange(peer), 1),
        mask_byte=cycles(mask, _BLOCK),
        sealed_byte=cycles(seal, _RECORD),
        shared_byte=cycles(share, _HOLDERS * _SECRET * _THRESHOLD),
        hashed_byte=cycles(lambda: hashlib.sha256(zeros).digest(), _BLOCK),
        signature=cycles(lambda: signer.sign(zeros[:32]), 1) / 2 + cycles(check, 1) / 2,
        scored=cycles(score, _COORDINATES),
        coded=cycles(code, _COORDINATES),
    )


def _cpu_seconds(task: Callable[[], object]) -> float:
    """The median CPU time of one run of `task`, in seconds, after a first run that does not count."""
    task()
    samples = []
    for _ in range(_SAMPLES):
        runs, start = 0, time.process_time()
        while (spent := time.process_time() - start) < _SAMPLE_SECONDS:
            task()
            runs += 1
        samples.append(spent / runs)
    return statistics.median(samples)
