"""Worker processes that train clients, one torch thread each. The process that opens the pool need not import torch."""

import functools
import multiprocessing
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast

import attrs

from clip_ref.errors import ClipError, PreconditionError
from clip_ref.layout import Kept, Layout
from clip_ref.train.data import Source, Tally, load_task
from clip_ref.values import Floats, frozen_array

if TYPE_CHECKING:
    from clip_ref.train.local import Trainer

MAX_WORKERS: Final = 64
"""The most worker processes of a pool."""


@attrs.frozen(eq=False)
class FitJob:
    """One client's local training in one round."""

    client: int
    """Which of the task's clients, from 0."""

    model: Floats
    """The round's full model: float32[d]."""

    kept: Kept
    """The neurons that the client keeps."""

    seed: int
    """What its batches are drawn from, 0 … 2⁶³ − 1."""

    share: int = 1000
    """How much of each epoch's batches it trains on, 1 … 1000 ‰."""

    stand_in: bool = False
    """Whether the kept neurons stand in for the pruned ones (SUB-7)."""


_Call = tuple[str, Mapping[str, Any]]
"""A method of `Trainer` and its arguments."""


def _serve(connection: Connection, source: Source, clients: int) -> None:
    """A worker's life: answer calls until the other end closes. The parent decides what an interrupt means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from clip_ref.train.local import Trainer

    trainer = Trainer(source=source, clients=clients)
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        connection.send(_answer(trainer, (method, arguments)))


def _answer(trainer: "Trainer", call: _Call) -> Any:
    method, arguments = call
    try:
        return getattr(trainer, method)(**arguments)
    except ClipError as error:
        return error


class Pool:
    """Trains a task's clients in `workers` processes; with workers = 0, in this one. Use it in a `with` statement.

    Results have the same bits whatever the number of workers. A worker that dies ends the pool with a `ClipError` (TRN-5).
    Leaving the `with` statement, for whatever reason, ends the workers.
    """

    def __init__(self, source: Source | str, *, clients: int, workers: int = 2) -> None:
        """A pool for the task of this source, or the shipped one of this name, dealt to `clients` clients.

        Raises `PreconditionError`: TRN-1 for an unknown task, or a number of clients or workers out of range; TRN-7 and
        TRN-8 as `load_task`.
        """
        if not 0 <= workers <= MAX_WORKERS:
            raise PreconditionError(rule="TRN-1", detail=f"a pool has 0 … {MAX_WORKERS} workers, got {workers}")
        self._examples = [len(classes) for _, classes in load_task(source).clients(clients)]
        self._source = Source(task=source) if isinstance(source, str) else source
        self._size = workers
        self._trainer: Trainer | None = None
        self._workers: dict[Connection, SpawnProcess] = {}

    def __enter__(self) -> Self:
        """Start the workers; they load torch while the caller goes on."""
        clients = len(self._examples)
        if not self._size:
            from clip_ref.train.local import Trainer

            self._trainer = Trainer(source=self._source, clients=clients)
        spawn = multiprocessing.get_context("spawn")
        for _ in range(self._size):
            ours, theirs = spawn.Pipe()
            worker = spawn.Process(target=_serve, args=(theirs, self._source, clients), daemon=True)
            worker.start()
            theirs.close()
            self._workers[ours] = worker
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the workers."""
        self._trainer = None
        for worker in self._workers.values():
            worker.terminate()
        for connection, worker in self._workers.items():
            worker.join()
            worker.close()
            connection.close()
        self._workers = {}

    @functools.cached_property
    def layout(self) -> Layout:
        """The layout of the task's model."""
        return cast("Layout", self._call("layout"))

    def initial_model(self, *, seed: int) -> Floats:
        """The task's model as drawn from `seed` (0 … 2⁶³ − 1): float32[d]."""
        return frozen_array(cast("Floats", self._call("initial_model", seed=seed)))

    def fit_many(self, jobs: Sequence[FitJob]) -> list[Floats]:
        """How each job's sub-model changed by local training: float32[m], read-only, in the order of the jobs.

        The costliest are begun first. Raises `PreconditionError`: TRN-1 for a client out of range, LAY-4 for kept sets,
        SUB-1 for a model of another shape, TRN-3 for one with NaN or infinity, TRN-4 for training that diverged. Of
        several errors, the first job's is raised.
        """
        for job in jobs:
            if not 0 <= job.client < len(self._examples):
                raise PreconditionError(
                    rule="TRN-1", detail=f"the clients are 0 … {len(self._examples) - 1}, got {job.client}"
                )
        costs = [self.layout.shrunk(job.kept).macs() * self._examples[job.client] for job in jobs]
        calls = [("fit", attrs.asdict(job, recurse=False)) for job in jobs]
        return [
            frozen_array(delta) for delta in self._run(calls, order=sorted(range(len(jobs)), key=lambda k: -costs[k]))
        ]

    def evaluate(self, model: Floats) -> float:
        """The share of the unseen test that `model` (float32[d]) classifies right, 0 … 1."""
        return self.tally(model).accuracy()

    def tally(self, model: Floats) -> Tally:
        """How many of each class of the unseen test `model` (float32[d]) classifies right."""
        return cast("Tally", self._call("tally", model=model))

    def measure_fit(self, *, kept: Kept) -> float:
        """CPU seconds per example and epoch of training the sub-model with the kept neurons, the median of five fits."""
        return float(self._call("measure_fit", kept=kept))

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._run([(method, arguments)], order=[0])[0]

    def _run(self, calls: Sequence[_Call], *, order: Sequence[int]) -> list[Any]:
        if self._trainer is not None:
            answers = [_answer(self._trainer, call) for call in calls]
        elif self._workers:
            try:
                answers = self._distribute(calls, deque(order))
            except BaseException:
                self.__exit__(None, None, None)
                raise
        else:
            raise PreconditionError(rule="TRN-1", detail="the pool is closed; open one in a `with` statement")
        for answer in answers:
            if isinstance(answer, ClipError):
                raise answer
        return answers

    def _distribute(self, calls: Sequence[_Call], waiting: deque[int]) -> list[Any]:
        answers: list[Any] = [None] * len(calls)
        idle, busy = list(self._workers), dict[Connection, int]()
        while waiting or busy:
            while waiting and idle:
                connection, k = idle.pop(), waiting.popleft()
                try:
                    connection.send(calls[k])
                except OSError as error:
                    raise self._died(connection) from error
                busy[connection] = k
            for ready in wait(list(busy)):
                connection = cast("Connection", ready)
                try:
                    answers[busy.pop(connection)] = connection.recv()
                except (EOFError, OSError) as error:
                    raise self._died(connection) from error
                idle.append(connection)
        return answers

    def _died(self, connection: Connection) -> ClipError:
        worker = self._workers[connection]
        worker.join(timeout=5)
        return ClipError(
            rule="TRN-5",
            detail=f"a training process ended (exit code {worker.exitcode}) before it answered; if memory is short, use "
            "fewer workers",
        )
