"""What sharing and combining cost, for a clique of 100."""

from typing import Any

import pytest

from clip_ref.shamir import combine, split

HOLDERS, THRESHOLD = 100, 67


@pytest.mark.rule("SHM-1")
def test_split(benchmark: Any) -> None:
    randomness = bytes(range(256)) * 9
    benchmark.group = "shamir, 32 bytes, n = 100, t = 67"
    benchmark(
        lambda: split(
            secret=bytes(32), threshold=THRESHOLD, holders=HOLDERS, randomness=randomness[: 32 * (THRESHOLD - 1)]
        )
    )


@pytest.mark.rule("SHM-4")
def test_combine(benchmark: Any) -> None:
    shares = split(secret=bytes(32), threshold=THRESHOLD, holders=HOLDERS, randomness=bytes(32 * (THRESHOLD - 1)))
    chosen = {x: shares[x - 1] for x in range(1, THRESHOLD + 1)}
    benchmark.group = "shamir, 32 bytes, n = 100, t = 67"
    benchmark(lambda: combine(shares=chosen, threshold=THRESHOLD))
