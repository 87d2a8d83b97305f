"""CPU time, by name; and what is said about a handful of samples."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import attrs


class Clock:
    """Adds CPU time of the whole process, threads included, to whatever name it is told; spans may nest.

    A span's time is its own: what a span inside of it takes is not counted twice.
    """

    def __init__(self) -> None:
        self.spent: dict[Hashable, int] = defaultdict(int)
        self._open: list[Hashable] = []
        self._since = 0

    def _settle(self) -> None:
        now = time.process_time_ns()
        if self._open:
            self.spent[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def span(self, name: Hashable) -> Iterator[None]:
        """Time what is inside, in ns."""
        self._settle()
        self._open.append(name)
        self._since = time.process_time_ns()
        try:
            yield
        finally:
            self._settle()
            self._open.pop()
            self._since = time.process_time_ns()


@attrs.frozen
class Samples:
    """CPU times of one task, ms."""

    ms: tuple[float, ...]

    @property
    def least(self) -> float:
        """What the task costs when nothing disturbs it."""
        return min(self.ms)

    @property
    def median(self) -> float:
        """What it costs as a rule."""
        return statistics.median(self.ms)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.ms)


def in_ms(nanoseconds: Sequence[int]) -> Samples:
    """Samples from ns."""
    return Samples(tuple(ns / 1e6 for ns in nanoseconds))


def interleaved(tasks: Mapping[str, Callable[[], object]], *, rounds: int, repeat: int = 1) -> dict[str, Samples]:
    """The CPU time of each task, per call: `rounds` samples in turn, of `repeat` calls each, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for _ in range(rounds):
        for name, task in tasks.items():
            start = time.process_time_ns()
            for _ in range(repeat):
                task()
            times[name].append((time.process_time_ns() - start) / 1e6 / repeat)
    return {name: Samples(tuple(values)) for name, values in times.items()}
