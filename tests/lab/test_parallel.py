"""Several runs at once: every round of each arrives, in its order; a process that fails or dies ends them all."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

from clip_ref.errors import ClipError, PreconditionError
from clip_ref.lab import parallel
from clip_ref.lab.federated import RunConfig
from lab import tiny


def dies(connection: Connection, configs: Any) -> None:
    os._exit(3)


def refuses(connection: Connection, configs: Any) -> None:
    connection.send(PreconditionError(rule="TRN-4", detail="training diverged"))
    connection.send(None)


def counts(connection: Connection, configs: list[RunConfig]) -> None:
    for config in configs:
        for number in range(config.rounds):
            connection.send((config.method, tiny.row(round=number + 1), None))
    connection.send(None)


def waits(connection: Connection, configs: list[RunConfig]) -> None:
    connection.send((configs[0].method, tiny.row(), None))
    multiprocessing.Event().wait()


@pytest.mark.rule("LAB-3")
@pytest.mark.parametrize(
    ("work", "kind", "problem"),
    [
        (dies, ClipError, "LAB-3: a process ended before its runs were finished"),
        (refuses, PreconditionError, "TRN-4: training diverged"),
    ],
)
def test_a_process_that_fails_is_a_typed_error(
    work: Callable[..., None], kind: type[ClipError], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_work", work)
    with pytest.raises(kind, match=problem):
        list(parallel.run_all([tiny.config()], workers=2))
    assert not multiprocessing.active_children()


def test_every_round_arrives_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_work", counts)
    configs = [tiny.config(method=name, rounds=3) for name in ("none", "exclude", "clip")]
    found: dict[str, list[int]] = {}
    for name, row, _ in parallel.run_all(configs, workers=2):
        found.setdefault(name, []).append(row.round)
    assert found == {"none": [1, 2, 3], "exclude": [1, 2, 3], "clip": [1, 2, 3]}
    assert not multiprocessing.active_children()


def test_closing_the_iterator_ends_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_work", waits)
    steps = parallel.run_all([tiny.config()], workers=1)
    assert next(steps)[0] == "clip"
    assert len(multiprocessing.active_children()) == 1
    del steps
    assert not multiprocessing.active_children()
