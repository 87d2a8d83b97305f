"""Clients and servers that score neurons otherwise than the protocol does, to compare.   Spec: runs, LAB-11, LAB-12."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from clip_ref import invariance
from clip_ref.canonical import RoundContext
from clip_ref.layout import Layout
from clip_ref.params import Score
from clip_ref.round import Client, Server
from clip_ref.scores import LayerScores
from clip_ref.values import ClientId, Floats

EXPIRY: Final = 8
"""A client forgets models that are more than so many rounds old."""


class ToldClient(Client):
    """LAB-11: a client that is told the scores by a server that has seen single updates."""

    def __init__(self, *, told: Sequence[LayerScores], **usual: Any) -> None:
        """`told`: the scores; the rest as for any client."""
        super().__init__(**usual)
        self._told = told

    def _scores(self) -> Sequence[LayerScores]:
        return self._told


class SeeingServer(Server):
    """LAB-11: the server that told them, and so knows who holds what."""

    def __init__(self, *, told: Sequence[LayerScores], **usual: Any) -> None:
        """`told`: the scores; the rest as for any server."""
        super().__init__(**usual)
        self._told = told

    def _scores(self) -> Sequence[LayerScores]:
        return self._told


def seen_changes(*, updates: Mapping[ClientId, Floats], model: Floats, layout: Layout) -> tuple[LayerScores, ...]:
    """LAB-11: each neuron's median change over these clients' single updates, float32[d] each, to `model`.

    FLuID calls a neuron invariant that most of the fast clients changed by less than a threshold: that its median is below it.
    Ranked by the median, no threshold is needed. The scale is that of INV-3.
    """
    each = [
        invariance.score(model=model + update, history=model, layout=layout, mode=Score.L1)
        for update in updates.values()
    ]
    out = []
    for same in zip(*each, strict=True):
        changes = np.sort(np.stack([scores.change for scores in same]), axis=0)
        out.append(LayerScores(same[0].layer, changes[(len(changes) - 1) // 2], same[0].scale))
    return tuple(out)


class GapClient(Client):
    """LAB-12: a client that scores over the rounds that it saw, if it saw any of the last few."""

    def __init__(self, *, seen: Sequence[tuple[int, Floats]], **usual: Any) -> None:
        """`seen`: the rounds that it took part in, ascending, with the models it was sent; the rest as for any client."""
        super().__init__(**usual)
        self._met = seen

    def _can_score(self, context: RoundContext) -> bool:
        return bool(self._met)

    def _scores(self) -> Sequence[LayerScores]:
        models = [*self._met, (int(self._context.round), self._model)]
        return invariance.gapped(models=models, layout=self._layout)
