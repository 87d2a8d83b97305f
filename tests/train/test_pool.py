"""The pool: the same bits whatever the number of workers, typed errors, and no process left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from clip_ref.errors import ClipError, PreconditionError
from clip_ref.layout import Kept, Layout, kept_count
from clip_ref.values import Floats

pytest.importorskip("torch")

import torch

from clip_ref.train.data import load_task
from clip_ref.train.pool import FitJob, Pool


@pytest.fixture(scope="module")
def here() -> Iterator[Pool]:
    with Pool("digits", clients=20, workers=0) as pool:
        yield pool


@pytest.fixture(scope="module")
def two() -> Iterator[Pool]:
    with Pool("digits", clients=20, workers=2) as pool:
        yield pool


def first(layout: Layout, keep: int) -> Kept:
    return {x.name: np.arange(kept_count(x.neurons, keep), dtype=np.int64) for x in layout.layers}


def jobs(pool: Pool) -> list[FitJob]:
    """Five clients, two of which prune."""
    model, keeps = pool.initial_model(seed=1), (1000, 500, 1000, 750, 1000)
    return [FitJob(client=4 * k, model=model, kept=first(pool.layout, keep), seed=k) for k, keep in enumerate(keeps)]


def test_results_have_the_same_bits_for_any_number_of_workers(here: Pool, two: Pool) -> None:
    want = here.fit_many(jobs(here))
    assert [len(delta) for delta in want] == [here.layout.shrunk(job.kept).size for job in jobs(here)]
    accuracy = here.evaluate(here.initial_model(seed=1))
    with Pool("digits", clients=20, workers=1) as one:
        for pool in (one, two):
            assert pool.layout == here.layout
            got = pool.fit_many(jobs(pool))
            for a, b in zip(got, want, strict=True):
                np.testing.assert_array_equal(a, b)
                assert not a.flags.writeable
            assert pool.evaluate(pool.initial_model(seed=1)) == accuracy
    reverse = two.fit_many(jobs(two)[::-1])
    np.testing.assert_array_equal(reverse[0], want[-1])
    assert two.fit_many([]) == []


def test_the_costliest_job_is_begun_first(here: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[Sequence[int]] = []

    def run(calls: Sequence[Any], *, order: Sequence[int]) -> list[Floats]:
        orders.append(order)
        return [np.zeros(1, dtype=np.float32) for _ in calls]

    some = jobs(here)
    monkeypatch.setattr(here, "_run", run)
    here.fit_many(some)
    examples = [len(y) for _, y in load_task("digits").parts]
    costs = [here.layout.shrunk(job.kept).macs() * examples[job.client] for job in some]
    assert [costs[k] for k in orders[0]] == sorted(costs, reverse=True)


def test_the_calling_process_keeps_its_threads(here: Pool) -> None:
    before = torch.get_num_threads()
    here.fit_many(jobs(here)[:1])
    assert torch.get_num_threads() == before


def test_measures_cpu_seconds_per_example(two: Pool) -> None:
    seconds = two.measure_fit(kept=two.layout.full())
    assert 1e-5 < seconds < 1e-1


@pytest.mark.rule("LAY-4", "SUB-1", "TRN-1", "TRN-3")
@pytest.mark.parametrize("name", ["here", "two"])
def test_bad_jobs_are_refused_and_the_pool_goes_on(name: str, request: pytest.FixtureRequest) -> None:
    pool: Pool = request.getfixturevalue(name)
    job = jobs(pool)[0]
    broken = job.model.copy()
    broken[17] = np.nan
    for bad, rule in (
        (attrs.evolve(job, client=20), "TRN-1"),
        (attrs.evolve(job, client=-1), "TRN-1"),
        (attrs.evolve(job, kept={}), "LAY-4"),
        (attrs.evolve(job, model=job.model[1:]), "SUB-1"),
        (attrs.evolve(job, model=broken), "TRN-3"),
    ):
        with pytest.raises(PreconditionError) as caught:
            pool.fit_many([job, bad, job])
        assert caught.value.rule == rule
    with pytest.raises(PreconditionError, match="the model holds nan at coordinate 17"):
        pool.fit_many([attrs.evolve(job, model=broken), attrs.evolve(job, model=job.model[1:])])
    with pytest.raises(PreconditionError, match="TRN-3"):
        pool.evaluate(broken)
    assert len(pool.fit_many([job])[0]) == pool.layout.size


@pytest.mark.rule("TRN-1")
def test_bad_pools_are_refused() -> None:
    for arguments in ({"clients": 1}, {"clients": 501}, {"clients": 20, "workers": -1}, {"clients": 20, "workers": 65}):
        with pytest.raises(PreconditionError, match="TRN-1"):
            Pool("digits", **arguments)
    with pytest.raises(PreconditionError, match="no task 'letters'; there is: digits"):
        Pool("letters", clients=20)


@pytest.mark.rule("TRN-1")
def test_a_pool_that_is_not_open_says_so() -> None:
    pool = Pool("digits", clients=20, workers=1)
    with pytest.raises(PreconditionError, match="TRN-1: the pool is closed"):
        pool.initial_model(seed=0)


@pytest.mark.rule("TRN-5")
@pytest.mark.parametrize("before_the_call", [True, False])
def test_a_worker_that_dies_is_a_typed_error_and_ends_the_pool(before_the_call: bool) -> None:
    with Pool("digits", clients=20, workers=1) as pool:
        (worker,) = pool._workers.values()
        assert worker.pid is not None
        if before_the_call:
            assert pool.layout.size > 0
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
        else:
            os.kill(worker.pid, signal.SIGSTOP)  # still loading: the call is sent, and never answered
            threading.Timer(0.5, os.kill, (worker.pid, signal.SIGKILL)).start()
        start = time.monotonic()
        with pytest.raises(ClipError, match=r"TRN-5: a training process ended \(exit code -9\)"):
            pool.initial_model(seed=0)
        assert time.monotonic() - start < 5
        with pytest.raises(PreconditionError, match="the pool is closed"):
            pool.initial_model(seed=0)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_interrupt_leaves_no_process_and_says_nothing(tmp_path: Path) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(
        textwrap.dedent(
            """
            from clip_ref.train.pool import FitJob, Pool

            if __name__ == "__main__":
                try:
                    with Pool("digits", clients=20, workers=2) as pool:
                        model = pool.initial_model(seed=0)
                        pool.fit_many([FitJob(client=k, model=model, kept=pool.layout.full(), seed=k) for k in range(2)])
                        print(*[worker.pid for worker in pool._workers.values()], flush=True)
                        while True:
                            pool.fit_many([FitJob(client=0, model=model, kept=pool.layout.full(), seed=0)])
                except KeyboardInterrupt:
                    print("stopped")
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    assert all(map(alive, workers))
    os.killpg(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert (out, errors, process.returncode) == ("stopped\n", "", 0)
    assert not any(map(alive, workers))


def test_the_process_that_opens_the_pool_does_not_import_torch() -> None:
    script = "import sys, clip_ref.train.pool, clip_ref.train.data, clip_ref.train.modelfile; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
