"""Paired timing: CPU time, interleaved, minimum of many; a ratio within one run is all that is ever asserted."""

import time
from collections.abc import Callable, Mapping


def best_cpu_seconds(tasks: Mapping[str, Callable[[], object]], *, rounds: int = 11) -> dict[str, float]:
    """The least CPU time of each task over `rounds` ≥ 9 interleaved runs, after one run that does not count."""
    for task in tasks.values():
        task()
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(rounds):
        for name, task in tasks.items():
            start = time.process_time_ns()
            task()
            best[name] = min(best[name], (time.process_time_ns() - start) / 1e9)
    return best
