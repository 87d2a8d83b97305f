"""A toy mask generator, as weak as those that have been deployed: its seed is folded to a few bits."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

TOY_BITS: Final = 20
"""How many bits are left of a seed. Published code leaves 28 to 32: 256 to 4,096 times as many guesses."""


def fold(seed: bytes) -> int:
    """32 bytes, their words XORed together, cut to `TOY_BITS`."""
    words = np.frombuffer(seed, dtype="<u4")
    return int(np.bitwise_xor.reduce(words)) & ((1 << TOY_BITS) - 1)


def stream(seeds: NDArray[np.uint32], at: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The elements `at` of each seed's mask: uint32[len(seeds), len(at)]. A hash of seed and place, well mixed."""
    mixed = seeds[:, None] * np.uint32(0x9E3779B1) + at.astype(np.uint32)[None, :] * np.uint32(0x85EBCA77)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed ^= mixed >> np.uint32(shift)
        mixed *= np.uint32(factor)
    mixed ^= mixed >> np.uint32(16)
    return mixed
