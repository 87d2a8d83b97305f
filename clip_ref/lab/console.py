"""Progress on long work, on standard error, so that standard output stays the result."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def with_sign(share: float | None) -> str:
    """A share in per cent, with the sign, or a dash where there is none: `93.1 %`."""
    return "–" if share is None else f"{100 * share:.1f} %"


class Report(Protocol):
    """Is told that one more step is done, and a word on how it stands."""

    def __call__(self, word: str) -> None:
        """One step is done."""


@contextmanager
def progress(*, title: str, total: int, done: int = 0, quiet: bool = False) -> Iterator[Report]:
    """A live line: title, bar, how many of `total`, time gone and left. Nothing if `quiet`; plain lines on no terminal."""
    if quiet:
        yield lambda word: None
        return
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        count = done

        def line(word: str) -> None:
            nonlocal count
            count += 1
            print(f"{title}: {count}/{total} {word}", file=sys.stderr, flush=True)

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
