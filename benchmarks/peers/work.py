"""The work that both sides are given: a model, an update, weights, a threshold."""

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.layout import Layout, dense_chain

WIDTHS = {100_000: (979, 101, 10), 1_000_000: (1834, 542, 10), 10_000_000: (4984, 2002, 10)}
"""Multi-layer perceptrons with exactly so many weights."""

EXAMPLES = 100
"""What every client's update weighs."""


@attrs.frozen
class Task:
    """One round of secure aggregation."""

    clients: int
    """n; a clique: each is masked against k = n − 1 others."""

    size: int
    """d."""

    dropped: int = 0
    """How many of them share their keys and never send their masked vector."""

    @property
    def threshold(self) -> int:
        """t = ⌊2n/3⌋ + 1."""
        return 2 * self.clients // 3 + 1

    @property
    def layout(self) -> Layout:
        """The model."""
        return dense_chain(*WIDTHS[self.size])

    def tensors(self, flat: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """A flat vector, in the shapes of the model's tensors."""
        return [flat[place].reshape(tensor.shape) for tensor, place in self.layout.slices()]

    def update(self) -> NDArray[np.float32]:
        """Every client's update: float32[d], |Δ| < 1. One for all: what it says changes no cost."""
        uniform = np.random.default_rng(self.size).random(self.size, dtype=np.float32)
        return ((uniform - 0.5) / 4).astype(np.float32)


@attrs.frozen
class Costs:
    """What one round cost one side. CPU time in ns."""

    clients: Sequence[Sequence[int]] = attrs.field(factory=list)
    """Of each client that was measured and stayed to the end: set-up, sharing keys, masked vector, unmasking."""

    server: int = 0
    """The server's, without what follows."""

    client_wire: int = 0
    """Messages to and from bytes at one client: the mean."""

    server_wire: int = 0
    """Messages to and from bytes at the server."""

    strategy: int = 0
    """Flower alone: what it then hands to its strategy, which averages n copies of the result."""

    vector_bytes: int = 0
    """The message with the masked vector, on the wire."""

    upload_bytes: int = 0
    """Everything that one client sends."""

    error: float = 0.0
    """How far the result is from the true mean, at most: it must be right to count."""
