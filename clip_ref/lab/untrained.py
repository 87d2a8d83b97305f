"""Stands in for a `Pool` where only times count: nobody trains, updates are made up, and the rest is as it always is."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np

from clip_ref.layout import Layout
from clip_ref.train.data import Source, load_task
from clip_ref.train.pool import FitJob, Pool
from clip_ref.values import Floats, frozen_array

AMPLITUDE = np.float32(1e-3)
"""How large a made-up update's values are at most: large enough to change a model, so that it has a history."""


class ClockPool:
    """EXP-4: the times of a round depend on who prunes how much and not on what an update says, so any update will do."""

    def __init__(self, source: Source | str, *, clients: int, workers: int = 0) -> None:
        """For the task of this source, dealt to so many clients; it has no workers."""
        load_task(source).clients(clients)
        self._source, self._clients = source, clients

    def __enter__(self) -> Self:
        """Have the layout of the task's model, and forget the model."""
        with Pool(self._source, clients=self._clients, workers=0) as pool:
            self.layout: Layout = pool.layout
            self._model = pool.initial_model(seed=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to end."""

    def initial_model(self, *, seed: int) -> Floats:
        """The same for every seed: float32[d]."""
        return self._model

    def fit_many(self, jobs: Sequence[FitJob]) -> list[Floats]:
        """For each job small values that follow from its seed: float32[m], read-only."""
        return [frozen_array(self._made_up(job)) for job in jobs]

    def _made_up(self, job: FitJob) -> Floats:
        size = int(np.count_nonzero(self.layout.held(job.kept)))
        return np.random.Generator(np.random.PCG64(job.seed)).random(size, dtype=np.float32) * AMPLITUDE
