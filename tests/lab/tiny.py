"""Runs that take milliseconds: the whole protocol, on a model of 191 weights whose training is make-believe."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import pytest

from clip_ref.lab.federated import RoundRow, Run, RunConfig
from clip_ref.lab.parallel import Step
from clip_ref.layout import Kept, Layout, dense_chain
from clip_ref.params import SecurityLevel
from clip_ref.round import Server
from clip_ref.round import run_round as honest
from clip_ref.train.data import Tally
from clip_ref.train.pool import FitJob, Pool
from clip_ref.values import Floats

LAYOUT = dense_chain(4, 12, 8, 3)

FLEET = str(Path(__file__).with_name("fleet.json"))
"""Its stragglers compute at 2 GHz against 3, and computing is nearly all that takes time."""

CLIENTS, STRAGGLERS = 10, 2
"""As few as may prune: a smaller roster, or a single straggler, could not hide."""


class TinyPool:
    """Stands in for `Pool`. An update depends on the model, on the neurons kept and on the job's seed, as a real one does."""

    def __init__(self, task_name: str = "digits", *, clients: int = CLIENTS, workers: int = 0) -> None:
        self.layout: Layout = LAYOUT
        self.jobs: list[FitJob] = []
        self.measured = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def initial_model(self, *, seed: int) -> Floats:
        return np.random.default_rng(seed).normal(size=LAYOUT.size).astype(np.float32)

    def fit_many(self, jobs: Sequence[FitJob]) -> list[Floats]:
        self.jobs += jobs
        return [self.fit(job) for job in jobs]

    def fit(self, job: FitJob) -> Floats:
        small = job.model[LAYOUT.held(job.kept)]
        noise = np.random.default_rng([job.seed, job.client]).normal(size=small.size)
        return (0.2 * noise - 0.1 * small).astype(np.float32)

    def tally(self, model: Floats) -> Tally:
        """Of ten classes, a million examples each; of the whole model alone, as a real one."""
        assert model.shape == (LAYOUT.size,)
        likely = 1 / (1 + np.exp(model.astype(np.float64)))
        return Tally(tuple(round(10**6 * float(likely[k::10].mean())) for k in range(10)), (10**6,) * 10)

    def evaluate(self, model: Floats) -> float:
        return self.tally(model).accuracy()

    def measure_fit(self, *, kept: Kept) -> float:
        self.measured += 1
        return 1e-3 * LAYOUT.shrunk(kept).macs()


def pool() -> Pool:
    return cast("Pool", TinyPool())


def config(**changes: Any) -> RunConfig:
    """Four rounds of `clip` on the tiny model, by default; two of them after the warm-up."""
    ours: dict[str, Any] = {
        "clients": CLIENTS,
        "stragglers": STRAGGLERS,
        "rounds": 4,
        "fleet": FLEET,
        "security": SecurityLevel.BASIC,
    }
    return RunConfig(**ours | changes)


def run(**changes: Any) -> Run:
    """A run to its last round."""
    out = Run(config=config(**changes), pool=pool())
    for _ in range(out.config.rounds):
        out.step()
    return out


def run_all(configs: Sequence[RunConfig], *, workers: int) -> Iterator[Step]:
    """Stands in for the demo's processes."""
    for one in configs:
        inside = Run(config=one, pool=pool())
        for _ in range(one.rounds):
            row = inside.step()
            assert inside.timeline is not None
            yield one.method, row, inside.timeline


def options(out: Path, **changes: Any) -> list[str]:
    """What to ask `clip-ref` for, to have `config(**changes)`."""
    fields = config(**changes).as_dict() | {"out": out}
    for name in ("changes", "trained", "evaluate_every"):  # which experiments alone can ask for
        del fields[name]
    fields["deadline"] = f"{fields['deadline'] / 1e6:f}"
    fields["elide"] = fields["elide"] / 1000
    given = {name.replace("_", "-"): value for name, value in fields.items() if value is not None}
    return ["train", *(f"--{name}={value}" for name, value in given.items())]


Wrapper = Callable[[Server, Any], Any]
"""What becomes of an argument of `run_round`, given the round's server and the argument, or none."""


@contextmanager
def tampered(monkeypatch: pytest.MonkeyPatch, **wrappers: Wrapper) -> Iterator[None]:
    """Within, a run's rounds get other arguments: `network` or `observe`, wrapped."""

    def run_round(**arguments: Any) -> Any:
        server = arguments["server"]
        return honest(**arguments | {name: wrap(server, arguments.get(name)) for name, wrap in wrappers.items()})

    with monkeypatch.context() as patch:
        patch.setattr("clip_ref.lab.federated.run_round", run_round)
        yield


def files(directory: Path) -> dict[str, bytes]:
    """Everything under a directory, hidden files too."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def listing(directory: Path) -> list[str]:
    """The paths under a directory, with their sizes and times."""
    return [
        f"{p.relative_to(directory)} {p.lstat().st_size} {p.lstat().st_mtime_ns}" for p in sorted(directory.rglob("*"))
    ]


def row(**changes: Any) -> RoundRow:
    """A round in which all went well and nobody was slow, but for the changes."""
    plain: dict[str, Any] = {
        "method": "none",
        "round": 1,
        "round_seconds": 2.0,
        "total_seconds": 2.0,
        "unpruned_seconds": 2.0,
        "bound": 0.0,
        "accuracy": 0.5,
        "slow_accuracy": None,
        "present": "0 1 2 3 4 5 6 7 8 9",
        "without_model": 0,
        "survivors": 10,
        "target_us": 0,
        "stragglers": "",
        "keep_levels": "",
        "pruned_neurons": 0,
        "slack_neurons": 0,
        "pruned_again": None,
        "secure_sum": "ab",
        "plain_sum": "ab",
        "upload_bytes": "883",
        "one_shape": True,
        "not_before_seconds": 0.0,
    }
    return RoundRow(**plain | changes)
