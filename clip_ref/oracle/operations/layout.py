"""Operations on layouts.   Spec: layout."""

import attrs
import numpy as np

from clip_ref.layout import Kept, Layout
from clip_ref.oracle.jsontypes import Bits
from clip_ref.oracle.operation import operation


@attrs.frozen
class Described:
    """What follows from a layout."""

    size: int
    """d."""

    digest: bytes
    """Of the whole description."""


def kept_sets(kept: dict[str, list[int]]) -> Kept:
    """Kept sets as the package takes them."""
    return {layer: np.array(neurons, dtype=np.int64) for layer, neurons in kept.items()}


@operation("layout.describe", "LAY-1", "LAY-2", "LAY-3", "LAY-7")
def describe(layout: Layout) -> Described:
    """Check a layout, and work out its size and digest."""
    return Described(layout.size, layout.digest())


@operation("layout.held", "LAY-4", "LAY-5")
def held(layout: Layout, kept: dict[str, list[int]]) -> Bits:
    """Which coordinates are held by who keeps these neurons."""
    return layout.held(kept_sets(kept))


@operation("layout.shrunk", "LAY-4", "LAY-6")
def shrunk(layout: Layout, kept: dict[str, list[int]]) -> Layout:
    """The layout of the sub-model."""
    return layout.shrunk(kept_sets(kept))
