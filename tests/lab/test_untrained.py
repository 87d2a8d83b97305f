"""Runs had for their times: the same times as the trained ones, round by round."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from clip_ref.lab import untrained
from clip_ref.lab.federated import Run, checks, passed
from clip_ref.lab.methods import METHODS
from clip_ref.lab.untrained import AMPLITUDE, ClockPool
from clip_ref.train.pool import FitJob, Pool
from lab import tiny

TIMES = (
    "round",
    "round_seconds",
    "total_seconds",
    "unpruned_seconds",
    "bound",
    "present",
    "without_model",
    "survivors",
)
PRUNED = ("target_us", "stragglers", "keep_levels", "pruned_neurons", "upload_bytes", "one_shape", "not_before_seconds")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrained, "Pool", tiny.TinyPool)


def run(**changes: Any) -> Run:
    config = tiny.config(trained=False, **changes)
    with ClockPool(config.source(), clients=config.population) as pool:
        out = Run(config=config, pool=pool)  # type: ignore[arg-type]
        for _ in range(config.rounds):
            out.step()
    return out


def assert_same_times(one: Run, other: Run) -> None:
    for a, b in zip(one.rows, other.rows, strict=True):
        assert {name: getattr(a, name) for name in TIMES + PRUNED} == {
            name: getattr(b, name) for name in TIMES + PRUNED
        }


@pytest.mark.rule("EXP-4")
@pytest.mark.parametrize("name", METHODS)
def test_times_are_those_of_the_trained_run(name: str, runs: Mapping[str, Run]) -> None:
    found = run(method=name)
    assert_same_times(found, runs[name])
    assert passed(checks(found.rows))
    assert {(row.accuracy, row.slow_accuracy) for row in found.rows} == {(None, None)}


@pytest.mark.rule("EXP-4")
@pytest.mark.parametrize("name", ["clip", "clip-gaps", "clip-draw", "shorten"])
def test_on_any_fleet(name: str) -> None:
    changes = {"method": name, "fleet": tiny.FLEET + "+jitter:0.1/0.3+churn:0.5+median:3", "rounds": 6}
    assert_same_times(run(**changes), tiny.run(**changes))


@pytest.mark.rule("EXP-4")
def test_made_up_updates_follow_from_seeds_and_change_the_model() -> None:
    with ClockPool("digits", clients=10) as pool:
        layout = pool.layout
        whole = {x.name: np.arange(x.neurons) for x in layout.layers}
        few = {x.name: np.arange(1) for x in layout.layers}
        model = pool.initial_model(seed=1)
        np.testing.assert_array_equal(model, pool.initial_model(seed=2))
        jobs = [
            FitJob(client=0, model=model, kept=kept, seed=seed) for kept, seed in ((whole, 1), (whole, 2), (few, 1))
        ]
        one, two, small = pool.fit_many(jobs)
        again, *_ = pool.fit_many(jobs)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, two)
    assert one.dtype == np.float32
    assert (len(one), len(small)) == (layout.size, layout.shrunk(few).size)
    assert 0 <= one.min() < one.max() <= AMPLITUDE
    assert not one.flags.writeable


@pytest.mark.rule("EXP-4")
def test_nobody_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError

    for name in ("fit_many", "tally", "measure_fit"):
        monkeypatch.setattr(Pool, name, never)
        monkeypatch.setattr(tiny.TinyPool, name, never)
    assert len(run(rounds=2).rows) == 2
