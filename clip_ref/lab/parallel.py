"""Several whole runs at once, each in one process with one torch thread: runs do not wait for each other's rounds."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import cast

from clip_ref.errors import ClipError
from clip_ref.lab.federated import RoundRow, Run, RunConfig
from clip_ref.sim.clock import Timeline
from clip_ref.train.pool import Pool

Step = tuple[str, RoundRow, Timeline]
"""The method's name, a round that it has finished, and that round in time."""


def _work(connection: Connection, configs: Sequence[RunConfig]) -> None:
    """A process's life: one run after the other, a message per round. The parent decides what an interrupt means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for config in configs:
            with Pool(config.source(), clients=config.population, workers=0) as pool:
                run = Run(config=config, pool=pool)
                for _ in range(config.rounds):
                    row = run.step()
                    connection.send((config.method, row, run.timeline))
    except ClipError as error:
        connection.send(error)
    connection.send(None)


def run_all(configs: Sequence[RunConfig], *, workers: int) -> Iterator[Step]:
    """Run all of `configs`, dealt to `workers` ≥ 1 processes, and yield every round as it is finished.

    Raises what a run raises, and `ClipError` (LAB-3) if a process ends before its runs do. Closing the iterator ends all.
    """
    spawn = multiprocessing.get_context("spawn")
    processes = {}
    for k in range(min(workers, len(configs))):
        ours, theirs = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_work, args=(theirs, configs[k::workers]), daemon=True)
        process.start()
        theirs.close()
        processes[ours] = process
    running = set(processes)
    try:
        while running:
            for ready in wait(list(running)):
                connection = cast("Connection", ready)
                try:
                    found = connection.recv()
                except EOFError:
                    raise ClipError(
                        rule="LAB-3", detail="a process ended before its runs were finished; is memory short?"
                    ) from None
                if found is None:
                    running.discard(connection)
                elif isinstance(found, ClipError):
                    raise found
                else:
                    yield found
    finally:
        for connection, process in processes.items():
            process.terminate()
            process.join()
            connection.close()
