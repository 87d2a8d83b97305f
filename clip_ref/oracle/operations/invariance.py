"""Operations of invariance.   Spec: invariance."""

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref import invariance, scores
from clip_ref.layout import Layout
from clip_ref.oracle.jsontypes import Bits, F32s, Wide
from clip_ref.oracle.operation import operation
from clip_ref.params import Score
from clip_ref.scores import LayerScores


@attrs.frozen
class Scores:
    """The scores of a layer's neurons: neuron j changed by change[j]/scale[j]."""

    layer: str
    """The layer's name."""

    change: list[Wide]
    """A ≥ 0."""

    scale: list[Wide]
    """B ≥ 1."""

    def layer_scores(self) -> LayerScores:
        """As the package has them."""
        change: NDArray[Any] = np.array(self.change, dtype=np.int64)
        scale: NDArray[Any] = np.array(self.scale, dtype=np.int64)
        return LayerScores(layer=self.layer, change=change, scale=scale)


@operation("invariance.quantise", "INV-2")
def quantise(weights: F32s) -> list[int]:
    """The weights in units of 2⁻²⁴."""
    return [int(w) for w in invariance.quantise(weights)]


@operation("invariance.score", "INV-1", "INV-3", "INV-4", "INV-5", "INV-6", "INV-7", "INV-9")
def score(model: F32s, history: F32s | None, layout: Layout, mode: Score) -> list[Scores]:
    """The scores of every prunable layer; without a history only `size` has any."""
    found = invariance.score(model=model, history=history, layout=layout, mode=mode)
    return [Scores(s.layer, s.change.tolist(), s.scale.tolist()) for s in found]


@operation("invariance.invariant", "INV-8")
def invariant(scores_of: Scores, threshold: int) -> Bits:
    """Which neurons are invariant; `threshold` is κ in ‰."""
    return scores.invariant(scores=scores_of.layer_scores(), threshold=threshold)
