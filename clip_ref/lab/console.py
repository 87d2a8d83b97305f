"""Progress on long work, on standard error, so that standard output stays the result."""

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def with_percent_sign(share: float | None) -> str:
    """A share in per cent, with the sign, or a dash where there is none: `93.1 %`."""
    return "–" if share is None else f"{100 * share:.1f} %"


LATELY: Final = 50
"""Plain lines estimate what is left from so many steps, the last ones: those that came from files take no time."""

SOON: Final = 10
"""And not before those took as many seconds."""


def lasting(seconds: float) -> str:
    """How long that is: `20 s`, `3 min`, `1.5 hours`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{round(seconds / 60)} min"


class Report(Protocol):
    """Is told that one more step is done, and a word on how it stands."""

    def __call__(self, word: str) -> None:
        """One step is done."""


@contextmanager
def progress(*, title: str, total: int, done: int = 0, quiet: bool = False) -> Iterator[Report]:
    """A live line: title, bar, how many of `total`, time gone and left. Nothing if `quiet`; on no terminal plain lines."""
    if quiet:
        yield lambda word: None
        return
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        count, seen = done, deque[float](maxlen=LATELY)

        def line(word: str) -> None:
            nonlocal count
            count += 1
            seen.append(time.monotonic())
            took, left = seen[-1] - seen[0], total - count
            estimate = f", about {lasting(left * took / (len(seen) - 1))} left" if left and took >= SOON else ""
            print(f"{title}: {count}/{total} {word}{estimate}", file=sys.stderr, flush=True)

        yield line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[word]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task(title, total=total, completed=done, word="")
        yield lambda word: bars.update(bar, advance=1, word=word)
