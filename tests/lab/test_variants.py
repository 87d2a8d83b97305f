"""Methods that are not the protocol's: fewer batches, scores from single updates, scores with gaps."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import accumulate, pairwise
from math import ceil
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from clip_ref.lab.federated import Run, checks, passed
from clip_ref.lab.variants import EXPIRY, seen_changes
from clip_ref.layout import Kept, kept_count
from clip_ref.scores import LayerScores
from clip_ref.sim.clock import mac_fit
from clip_ref.train.pool import FitJob
from clip_ref.values import ClientId, Floats
from lab import tiny

CHURN = tiny.FLEET + "+churn:0.5"


def scaled(model: Floats) -> list[int]:
    """In units of 2⁻²⁴: Python rounds fractions half to even."""
    return [round(Fraction(float(w)) * 2**24) for w in model]


@cache
def groups() -> dict[str, list[NDArray[np.int64]]]:
    """Each neuron's coordinates: those that are not held without it."""
    every = {x.name: np.arange(x.neurons) for x in tiny.LAYOUT.layers}
    return {
        x.name: [
            np.flatnonzero(~tiny.LAYOUT.held({**every, x.name: np.delete(every[x.name], j)})) for j in range(x.neurons)
        ]
        for x in tiny.LAYOUT.layers
    }


def change(new: Floats, old: Floats) -> dict[str, list[int]]:
    """Σ|ΔW| of every neuron, in Python's integers."""
    now, before = scaled(new), scaled(old)
    return {
        name: [sum(abs(now[at] - before[at]) for at in group) for group in members]
        for name, members in groups().items()
    }


def size(old: Floats) -> dict[str, list[int]]:
    """Σ|W| of every neuron; no floor binds in these models."""
    before = scaled(old)
    return {name: [sum(abs(before[at]) for at in group) for group in members] for name, members in groups().items()}


def least(top: Mapping[str, Sequence[int]], bottom: Mapping[str, Sequence[int]], keep: int) -> dict[str, list[int]]:
    """What is left when those with the least ratio are gone; of equal ones the first goes first."""
    out = {}
    for x in tiny.LAYOUT.layers:
        ratio = [Fraction(a, b) for a, b in zip(top[x.name], bottom[x.name], strict=True)]
        order = sorted(range(x.neurons), key=lambda j: (ratio[j], j))
        out[x.name] = sorted(order[x.neurons - kept_count(x.neurons, keep) :])
    return out


def as_lists(kept: Kept) -> dict[str, list[int]]:
    return {name: index.tolist() for name, index in kept.items()}


@attrs.frozen
class Seen:
    """One round from outside: the model it began with, what was asked of whom, and the scores told after it."""

    model: Floats
    jobs: Mapping[int, FitJob]
    stragglers: frozenset[int]
    keep_levels: tuple[int, ...]
    updates: Mapping[int, Floats]
    told: tuple[LayerScores, ...]


def watched(rounds: int, **changes: Any) -> tuple[Run, list[Seen]]:
    pool = tiny.TinyPool()
    run, seen = Run(config=tiny.config(rounds=rounds, **changes), pool=pool), []  # type: ignore[arg-type]
    for _ in range(rounds):
        pool.jobs.clear()
        model = run.state.model
        row = run.step()
        seen.append(
            Seen(
                model,
                {job.client: job for job in pool.jobs},
                frozenset(int(u) for u in row.stragglers.split()),
                tuple(int(k) for k in row.keep_levels.split()),
                {job.client: pool.fit(job) for job in pool.jobs},
                run._told,
            )
        )
    assert passed(checks(run.rows))
    return run, seen


def prunes(job: FitJob) -> bool:
    return any(len(job.kept[x.name]) < x.neurons for x in tiny.LAYOUT.layers)


# --- Fewer batches ---


@pytest.mark.rule("LAB-10")
def test_shorten_takes_what_pruning_takes_and_keeps_every_neuron() -> None:
    run, seen = watched(5, method="shorten")
    _, levels = watched(5, method="clip-levels")
    pruning = tiny.run(method="clip-levels", rounds=5)
    slow, macs = run.fleet.stragglers, tiny.LAYOUT.macs()
    for one, other, row, like in zip(seen, levels, run.rows, pruning.rows, strict=True):
        assert not any(prunes(job) for job in one.jobs.values())
        shares = {u: job.share for u, job in one.jobs.items()}
        keeps = dict(zip(slow, other.keep_levels, strict=True)) if other.keep_levels else {}
        for client, share in shares.items():
            keep = keeps.get(client, 1000)
            kept = {x.name: np.arange(kept_count(x.neurons, keep)) for x in tiny.LAYOUT.layers}
            assert share == 1000 * tiny.LAYOUT.shrunk(kept).macs() // macs
        assert row.round_seconds == pytest.approx(like.round_seconds, rel=2e-3)
        assert (row.keep_levels, row.pruned_neurons) == ("", 0)
    assert [any(job.share < 1000 for job in one.jobs.values()) for one in seen] == [False, False, True, True, True]
    assert run.rows[2].round_seconds < 0.8 * run.rows[1].round_seconds


@pytest.mark.rule("LAB-10")
def test_nobody_else_shortens() -> None:
    _, seen = watched(3, method="clip")
    assert {job.share for one in seen for job in one.jobs.values()} == {1000}


# --- Stand-ins ---


@pytest.mark.rule("SUB-7", "LAB-9")
def test_stand_ins_are_asked_for_and_billed() -> None:
    """A forward pass of the whole model and a quarter, over a quarter of what is trained on, at most 64."""
    run, seen = watched(3, method="clip-rank")
    bare, without = watched(3, method="clip-rank", changes=(("stand_in", False),))
    assert {job.stand_in for one in seen for job in one.jobs.values()} == {True}
    assert {job.stand_in for one in without for job in one.jobs.values()} == {False}
    macs, epochs = tiny.LAYOUT.macs(), 2
    for client in range(tiny.CLIENTS):
        examples, device = run._nominal[client], run.fleet.clients[client].device
        more = Fraction(5 * min(64, examples * epochs // 4, examples) * macs, 4 * 3 * examples * epochs)
        fits = [
            mac_fit(device=device, macs_per_example=m + ceil(more) * (keep < 1000), examples=examples, epochs=epochs)
            for keep, m in run._macs_at.items()
        ]
        assert run._predictions(client) == tuple(accumulate(fits, min))
        assert all(a <= b for a, b in zip(bare._predictions(client), run._predictions(client), strict=True))
    assert run._predictions(0)[-1] > bare._predictions(0)[-1]


# --- Scores from single updates ---


@pytest.mark.rule("LAB-11")
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_fluid_s_scores_are_medians_over_single_updates(count: int) -> None:
    random = np.random.default_rng(count)
    model = random.normal(size=tiny.LAYOUT.size).astype(np.float32)
    updates = {ClientId(u): random.normal(size=tiny.LAYOUT.size).astype(np.float32) for u in range(count)}
    found = seen_changes(updates=updates, model=model, layout=tiny.LAYOUT)
    each = [change(model + update, model) for update in updates.values()]
    for scores in found:
        name = scores.layer
        want = [sorted(one[name][j] for one in each)[(count - 1) // 2] for j in range(len(groups()[name]))]
        assert scores.change.tolist() == want
        assert scores.scale.tolist() == size(model)[name]


@pytest.mark.rule("LAB-11")
def test_fluid_prunes_what_the_fast_changed_least() -> None:
    run, seen = watched(5, method="fluid")
    assert set(run.fleet.stragglers) == seen[-1].stragglers
    for before, now in pairwise(seen):
        fast = [before.model + update for u, update in before.updates.items() if u not in before.stragglers]
        medians = {
            name: [
                sorted(change(new, before.model)[name][j] for new in fast)[(len(fast) - 1) // 2]
                for j in range(len(members))
            ]
            for name, members in groups().items()
        }
        assert {s.layer: s.change.tolist() for s in before.told} == medians
        pruning = [u for u, job in sorted(now.jobs.items()) if prunes(job)]
        for client, keep in zip(pruning, now.keep_levels, strict=True):
            assert as_lists(now.jobs[client].kept) == least(medians, size(before.model), keep)
    assert [len(one.keep_levels) for one in seen] == [0, 0, 2, 2, 2]


# --- Scores with gaps ---


@pytest.mark.rule("LAB-12", "INV-10")
@pytest.mark.parametrize(("fleet", "rounds"), [(CHURN, 8), (tiny.FLEET + "+churn:0.8", 26)])
def test_who_missed_rounds_prunes_by_those_that_it_saw(fleet: str, rounds: int) -> None:
    """Change per round, halved for each pair that is younger; models of eight rounds ago are forgotten."""
    run, seen = watched(rounds, method="clip-gaps", fleet=fleet)
    met: dict[int, list[int]] = {}
    alone, gaps, pruned = 0, set[int](), 0
    for number, one in enumerate(seen, start=1):
        keeps = iter(one.keep_levels)
        for client, job in sorted(one.jobs.items()):
            known = [i for i in met.get(client, []) if number - i < EXPIRY]
            if number <= 2 or client not in one.stragglers or not known:
                assert not prunes(job)
                alone += number > 2 and client in one.stragglers
                continue
            pairs = list(pairwise([*known, number]))[::-1]
            top = {name: [0] * len(members) for name, members in groups().items()}
            for younger, (a, b) in enumerate(pairs):
                for name, values in change(seen[b - 1].model, seen[a - 1].model).items():
                    top[name] = [t + v // ((b - a) * 2**younger) for t, v in zip(top[name], values, strict=True)]
            keep = next(keeps)
            assert as_lists(job.kept) == least(top, size(seen[pairs[0][0] - 1].model), keep)
            gaps |= {b - a for a, b in pairs}
            pruned += 1
        assert next(keeps, None) is None
        for client in one.jobs:
            met.setdefault(client, []).append(number)
    assert pruned
    assert max(gaps) > 1
    assert alone or rounds < EXPIRY + 1
    assert set(run._models) == {i for known in run._met.values() for i in known}
    assert min(run._models) > rounds + 1 - EXPIRY


@pytest.mark.rule("LAB-12")
def test_who_missed_rounds_prunes_more_often_with_gaps() -> None:
    plain, gaps = (tiny.run(method=name, fleet=CHURN, rounds=8) for name in ("clip-paper", "clip-gaps"))
    assert [row.present for row in plain.rows] == [row.present for row in gaps.rows]
    count = [sum(len(row.keep_levels.split()) for row in run.rows) for run in (plain, gaps)]
    assert count[1] > count[0] > 0


# --- Stopping and going on ---


@pytest.mark.rule("LAB-4", "LAB-5", "LAB-11", "LAB-12")
@pytest.mark.parametrize("name", ["fluid", "clip-gaps"])
@pytest.mark.parametrize("stop", [1, 3, 6])
def test_what_they_remember_is_in_the_checkpoint(name: str, stop: int, tmp_path: Path) -> None:
    config = tiny.config(method=name, fleet=CHURN, rounds=8)
    run = Run(config=config, pool=tiny.pool())
    for _ in range(stop):
        run.step()
    run.save(tmp_path / "c.npz")
    resumed = Run.resume(tmp_path / "c.npz", config=config, pool=tiny.pool())
    assert (resumed._told, resumed._met) == (run._told, run._met)
    assert list(resumed._models) == sorted(run._models)
    for _ in range(stop, 8):
        assert resumed.step() == run.step()
    np.testing.assert_array_equal(resumed.state.model, run.state.model)
