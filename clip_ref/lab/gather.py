"""Gathering runs: each configuration once, over as many sittings as it takes.   Spec: laboratory, rules EXP-1..EXP-4.

A finished run is a small JSON file named by the digest of what determines it; one under way is a checkpoint beside it. So a
gathering that is stopped, however, goes on where it was, and two experiments that want the same run share it.
"""

import hashlib
import json
import multiprocessing
import os
import platform
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from statistics import fmean
from typing import Any, Final, cast

import attrs

from clip_ref import __version__
from clip_ref.errors import ClipError, PreconditionError
from clip_ref.lab.federated import RoundRow, Run, RunConfig, checks, data_digest, fleet_as_json, write_whole
from clip_ref.lab.methods import method
from clip_ref.lab.untrained import ClockPool
from clip_ref.train.data import TRAINING, Source
from clip_ref.train.pool import Pool

RESULTS_VERSION: Final = 2
"""Goes up whenever the same configuration would come to other results: then all runs are to be had again."""

CHECKPOINT_SECONDS: Final = 30
"""A run under way is saved about this often: what being stopped can cost."""

COLUMNS: Final = (
    "round_seconds",
    "unpruned_seconds",
    "bound",
    "accuracy",
    "slow_accuracy",
    "survivors",
    "stragglers",
    "keep_levels",
    "pruned_neurons",
    "slack_neurons",
    "pruned_again",
    "upload_bytes",
)
"""What is kept of every round."""


@attrs.frozen(kw_only=True)
class Record:
    """A finished run."""

    key: str
    """The digest of what determines it: 16 hexadecimal digits."""

    config: Mapping[str, Any]
    """Its configuration, without where the data were."""

    fleet: Mapping[str, Any]
    """The fleet's name, its note and its stragglers."""

    data: str
    """The digest of its training examples and test: 16 hexadecimal digits."""

    machine: str
    """The processor it was trained on. Times do not depend on it; accuracies do in their last digits."""

    version: str
    """Of clip-ref."""

    cpu_seconds: float
    """CPU time that it took, in all its sittings."""

    rounds: Mapping[str, Sequence[Any]]
    """A list for each of `COLUMNS`, an entry a round."""

    checks: Mapping[str, Any]
    """What was checked in every round."""

    @property
    def simulated_seconds(self) -> float:
        """From the first round's start to the last one's end."""
        return float(sum(self.rounds["round_seconds"]))

    @property
    def final_accuracy(self) -> float | None:
        """The mean of the last three accuracies; none if it was not trained."""
        return _last(self.rounds["accuracy"])

    @property
    def slow_accuracy(self) -> float | None:
        """The same on the slow devices' own classes; none where they have none."""
        return _last(self.rounds["slow_accuracy"])

    def seconds_to(self, target: float) -> float | None:
        """Simulated time until the first round that ends with an accuracy of at least `target`; none if there is none."""
        elapsed = 0.0
        for took, accuracy in zip(self.rounds["round_seconds"], self.rounds["accuracy"], strict=True):
            elapsed += float(took)
            if accuracy is not None and accuracy >= target:
                return elapsed
        return None

    def accuracy_at(self, seconds: float, *, column: str = "accuracy") -> float | None:
        """The mean of the last three accuracies that were had by then; none if there was none."""
        elapsed, found = 0.0, []
        for took, accuracy in zip(self.rounds["round_seconds"], self.rounds[column], strict=True):
            elapsed += took
            if elapsed > seconds * (1 + 1e-9):
                break
            found.append(accuracy)
        return _last(found)


def _last(values: Sequence[float | None]) -> float | None:
    found: list[float] = [value for value in values if value is not None][-3:]
    return fmean(found) if found else None


def described(config: RunConfig) -> dict[str, Any]:
    """EXP-1: what determines a run: its configuration but for where the data are, its task's training, policy and fleet.

    A run that elides nothing has no schedule of it.
    """
    without = {"data_dir"} if config.elide else {"data_dir", "elide", "full_every"}
    plain = {name: value for name, value in config.as_dict().items() if name not in without}
    chosen = method(config.method, config.changes)
    return plain | {
        "policy": json.loads(json.dumps(attrs.asdict(chosen.policy))),
        "flags": [name for name in ("excludes", "shortens", "watches", "gaps", "stand_in") if getattr(chosen, name)],
        "training": attrs.asdict(TRAINING[config.task]),
        "fleet_content": fleet_as_json(config.load_fleet()),
        "results_version": RESULTS_VERSION,
    }


def key_of(config: RunConfig) -> str:
    """EXP-1: the digest that names a run, 16 hexadecimal digits."""
    return _digest(described(config))


def _digest(description: Mapping[str, Any]) -> str:
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(path: Path) -> Record:
    """EXP-2: the finished run in a file; `PreconditionError` if it is damaged or is not named by what it holds."""
    try:
        record = Record(**json.loads(path.read_text("utf-8")))
        lengths = {len(record.rounds[name]) for name in COLUMNS}
        whole = lengths == {record.config["rounds"]}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PreconditionError(rule="EXP-2", detail=f"{path} is no finished run of this version: {error}") from None
    if not whole or not path.stem == record.key == _digest(record.config):
        raise PreconditionError(rule="EXP-2", detail=f"{path} does not hold the run that its name says")
    return record


def finished(configs: Sequence[RunConfig], *, runs: Path) -> dict[str, Record]:
    """Those of `configs` that have been run, by key; `PreconditionError` (EXP-3) for one that was run on other data."""
    wanted = {key_of(config): config for config in configs}
    found = {key: load(runs / f"{key}.json") for key in wanted if (runs / f"{key}.json").exists()}
    digests: dict[Source, str] = {}
    for key, record in found.items():
        source = wanted[key].source()
        if source not in digests:
            digests[source] = data_digest(wanted[key])
        if record.data != digests[source]:
            raise PreconditionError(
                rule="EXP-3",
                detail=f"{runs / key}.json was run on other data than there are now; take another --out for these",
            )
    return found


def processor() -> str:
    """What the machine calls its processor, in a few words."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split("\t: ", 1) for line in lines if "\t: " in line)
    found = {name.strip(): value for name, value in fields.items()}
    name, family, model = (found.get(field, "?") for field in ("model name", "cpu family", "model"))
    return f"{name}, family {family}, model {model}, {os.cpu_count()} cores"


def perform(config: RunConfig, *, runs: Path, report: Callable[[RoundRow], None]) -> Record:
    """EXP-2: run `config` in this process, from its checkpoint if there is one, and write its record.

    `report` is told of every round.
    """
    key = key_of(config)
    checkpoint, started = runs / f"{key}.npz", time.process_time()
    spent = runs / f"{key}.seconds"
    before = float(spent.read_text()) if checkpoint.exists() and spent.exists() else 0.0
    kind = Pool if config.trained else ClockPool
    with kind(config.source(), clients=config.population, workers=0) as pool:
        whole = cast("Pool", pool)
        run = (
            Run.resume(checkpoint, config=config, pool=whole) if checkpoint.exists() else Run(config=config, pool=whole)
        )
        saved = time.monotonic()
        for row in run.rows:
            report(row)
        while len(run.rows) < config.rounds:
            report(run.step())
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                run.save(checkpoint)
                write_whole(spent, str(before + time.process_time() - started).encode())
                saved = time.monotonic()
    record = Record(
        key=key,
        config=described(config),
        fleet={"name": run.fleet.name, "note": run.fleet.note, "stragglers": list(run.fleet.stragglers)},
        data=data_digest(config),
        machine=processor(),
        version=__version__,
        cpu_seconds=round(before + time.process_time() - started, 1),
        rounds={name: [_short(getattr(row, name)) for row in run.rows] for name in COLUMNS},
        checks=checks(run.rows),
    )
    write_whole(runs / f"{key}.json", (json.dumps(attrs.asdict(record)) + "\n").encode())
    checkpoint.unlink(missing_ok=True)
    spent.unlink(missing_ok=True)
    return record


def _short(value: Any) -> Any:
    """Six decimals of a number are its microseconds, and more than a test set can tell."""
    return round(value, 6) if isinstance(value, float) else value


Told = tuple[str, int, RoundRow | None]
"""A run's key, how many rounds of it there are now, and the last one; no row: it is finished."""


def _work(connection: Connection, runs: Path) -> None:
    """A process's life: run what it is sent, and say so. The parent decides what an interrupt means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            config = cast("RunConfig | None", connection.recv())
        except EOFError:
            return
        if config is None:
            return
        key = key_of(config)
        try:
            perform(config, runs=runs, report=lambda row, key=key: connection.send((key, row.round, row)))  # type: ignore[misc]
        except ClipError as error:
            connection.send(error)
            return
        connection.send((key, config.rounds, None))


def _ended() -> ClipError:
    return ClipError(rule="EXP-2", detail="a process ended before its run was finished; is memory short?")


def _send(connection: Connection, config: RunConfig | None) -> None:
    try:
        connection.send(config)
    except OSError:
        raise _ended() from None


def gather(
    configs: Sequence[RunConfig],
    *,
    runs: Path,
    workers: int,
    seconds: float | None = None,
    report: Callable[[str], None] = lambda word: None,
) -> dict[str, Record]:
    """EXP-2: every one of `configs`, by key: those that are finished from their files, the others run, `workers` at a time.

    After `seconds`, if given, those under way are left to their checkpoints, and what is finished is returned.
    `report` is told of each round, and of each finished run's rounds at once, so that it is called Σ rounds times in all.
    The order of `configs` is that in which they are begun. Raises what a run raises; `ClipError` (EXP-2) if a process dies.
    What was finished stays.
    """
    todo: deque[RunConfig] = deque()
    started = time.monotonic()
    done = finished(configs, runs=runs)
    for config in configs:
        if key_of(config) in done:
            for _ in range(config.rounds):
                report("from a file")
    todo.extend(config for key, config in {key_of(config): config for config in configs}.items() if key not in done)
    runs.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    processes: dict[Connection, SpawnProcess] = {}
    names = {key_of(config): f"{config.task} {config.method} {config.seed}" for config in todo}
    try:
        for _ in range(min(workers, len(todo))):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_work, args=(theirs, runs), daemon=True)
            process.start()
            theirs.close()
            processes[ours] = process
            _send(ours, todo.popleft())
        busy = set(processes)
        while busy:
            left = None if seconds is None else started + seconds - time.monotonic()
            if left is not None and left <= 0:
                break
            for ready in wait(list(busy), timeout=left):
                connection = cast("Connection", ready)
                try:
                    told = cast("Told | ClipError", connection.recv())
                except (EOFError, OSError):
                    raise _ended() from None
                if isinstance(told, ClipError):
                    raise told
                key, _, row = told
                if row is not None:
                    accuracy = "" if row.accuracy is None else f", accuracy {100 * row.accuracy:.1f} %"
                    report(f"{names[key]}, round {row.round}{accuracy}")
                    continue
                done[key] = load(runs / f"{key}.json")
                following = todo.popleft() if todo else None
                _send(connection, following)
                if following is None:
                    busy.discard(connection)
    finally:
        for connection, process in processes.items():
            process.terminate()
            process.join()
            connection.close()
    keys = dict.fromkeys(key_of(config) for config in configs)
    return {key: done[key] for key in keys if key in done}
