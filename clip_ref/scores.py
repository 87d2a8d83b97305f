"""Scores: what invariance hands to selection.   Spec: invariance, rule INV-8."""

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError
from clip_ref.values import frozen_array


@attrs.frozen
class LayerScores:
    """The scores of one layer's neurons: neuron j changed by change[j]/scale[j]."""

    layer: str
    """The layer's name."""

    change: NDArray[np.int64] = attrs.field(converter=frozen_array, eq=attrs.cmp_using(eq=np.array_equal))
    """A ≥ 0: int64[n_l]."""

    scale: NDArray[np.int64] = attrs.field(converter=frozen_array, eq=attrs.cmp_using(eq=np.array_equal))
    """B ≥ 1: int64[n_l]."""

    def __attrs_post_init__(self) -> None:
        """INV-8: each neuron has both."""
        if self.change.shape != self.scale.shape:
            raise PreconditionError(
                rule="INV-8",
                detail=f"layer {self.layer} has {self.change.size} changes and {self.scale.size} scales",
            )


def invariant(*, scores: LayerScores, threshold: int) -> NDArray[np.bool_]:
    """INV-8: which neurons are invariant: 1000·A_j·ΣB < κ·ΣA·B_j, exactly; bool[n_l].

    `threshold` is κ in ‰: below κ times the layer's pooled mean change. Nothing is invariant at κ = 0.
    """
    change, scale = [int(a) for a in scores.change], [int(b) for b in scores.scale]
    total_change, total_scale = sum(change), sum(scale)
    return np.array(
        [1000 * a * total_scale < threshold * total_change * b for a, b in zip(change, scale, strict=True)], dtype=bool
    )
