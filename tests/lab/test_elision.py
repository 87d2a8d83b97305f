"""Elided runs: sums as exact as ever, nothing lost on the way, what everybody pays for, and what elision does not go with."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from clip_ref import invariance
from clip_ref.cli import main
from clip_ref.elision import Part, left_out
from clip_ref.errors import PreconditionError
from clip_ref.lab import compare, federated, gather, training
from clip_ref.lab.federated import Clock, Run, checks, passed, rows_csv
from clip_ref.lab.methods import METHODS
from clip_ref.params import SecurityLevel
from clip_ref.round.cost import Leg, LegCost
from clip_ref.scores import invariant
from clip_ref.sim import clock
from clip_ref.sim.clock import Activity
from clip_ref.train import modelfile
from clip_ref.values import ClientId, RoundNumber
from lab import tiny

ELIDED: dict[str, Any] = {"elide": 400, "full_every": 3, "rounds": 7}
"""Rounds 3 and 6 are whole; stragglers prune from the third round of a length on."""

GO_TOGETHER = [name for name, method in METHODS.items() if not method.watches and not method.gaps]


@cache
def run(**changes: Any) -> Run:
    return tiny.run(**ELIDED | changes)


def part(number: int, elide: int = 400, every: int = 3) -> Part:
    return Part(tiny.LAYOUT, left_out(layout=tiny.LAYOUT, elide=elide, every=every, round=RoundNumber(number)))


@pytest.mark.rule("ELI-3", "LAB-2")
@pytest.mark.parametrize("name", GO_TOGETHER)
@pytest.mark.parametrize("behaviour", ["", "+churn:0.3+jitter:0.1"])
def test_sums_are_exact_and_lengths_those_of_the_rounds(name: str, behaviour: str) -> None:
    one = run(method=name, fleet=tiny.FLEET + behaviour)
    found = checks(one.rows)
    assert found["secure_sum_exact"]
    assert found["transcript_shape_equal"]
    assert one.config.lengths == 2
    assert passed(found, lengths=2)
    assert not passed(found)
    lengths = [row.upload_bytes for row in one.rows]
    short, whole = min(lengths, key=int), max(lengths, key=int)
    assert lengths == [short, short, whole] * 2 + [short]
    assert int(whole) - int(short) == 4 * (tiny.LAYOUT.size - part(1).size)
    assert len({row.secure_sum for row in one.rows}) == 7


def test_a_hardened_run_is_elided_alike() -> None:
    one = run(security=SecurityLevel.HARDENED, rounds=4)
    assert passed(checks(one.rows), lengths=2)
    assert np.array_equal(one.state.model, run(rounds=4).state.model)


@pytest.mark.parametrize("name", METHODS)
def test_where_nothing_is_elided_the_schedule_is_of_no_account(name: str, runs: Mapping[str, Run]) -> None:
    other = tiny.run(method=name, full_every=2)
    assert rows_csv(other.rows) == rows_csv(runs[name].rows)
    assert np.array_equal(other.state.model, runs[name].state.model)
    assert other._residuals == {}
    assert other.config.lengths == 1


@pytest.mark.rule("ELI-3", "ELI-5", "ELI-6")
def test_an_elided_run_is_what_averaging_by_hand_comes_to() -> None:
    """Each client trains the model with what it has not sent in it; of what it then has, what is in goes into the mean."""
    one, jobs = Run(config=tiny.config(method="none", **ELIDED), pool=tiny.pool()), tiny.TinyPool()
    weights = {u: one._weight(u) for u in one.roster}
    model, unsent = one.state.model.astype(np.float64), {u: np.zeros(tiny.LAYOUT.size) for u in weights}
    for number in range(1, 8):
        cast("tiny.TinyPool", one._pool).jobs.clear()
        row = one.step()
        assert row.accuracy == jobs.tally(one.state.model).accuracy()
        held, total = part(number).held, np.zeros(tiny.LAYOUT.size)
        for job in cast("tiny.TinyPool", one._pool).jobs:
            u = ClientId(job.client)
            np.testing.assert_allclose(job.model, model + unsent[u], atol=1e-3)
            have = unsent[u] + jobs.fit(job)
            total[held] += weights[u] * np.clip(have[held], -1, 1)
            unsent[u] = np.where(held, 0, have)
        model += total / sum(weights.values())
        np.testing.assert_allclose(one.state.model, model, atol=1e-3)
        for u, left in unsent.items():
            kept = one._residuals[u].flat() if u in one._residuals else np.zeros(tiny.LAYOUT.size)
            np.testing.assert_allclose(kept, left, atol=1e-3)
        assert (one._residuals == {}) == part(number).is_whole


@pytest.mark.rule("ELI-5")
def test_a_straggler_s_sub_model_has_all_that_is_left_out() -> None:
    one = Run(config=tiny.config(**ELIDED), pool=tiny.pool())
    pool = cast("tiny.TinyPool", one._pool)
    pruned = 0
    for number in range(1, 8):
        pool.jobs.clear()
        row = one.step()
        out = part(number).out
        for job in pool.jobs:
            assert all(set(out[name].tolist()) <= set(kept.tolist()) for name, kept in job.kept.items())
            slow = str(job.client) in row.stragglers.split()
            if row.keep_levels and slow:
                pruned += 1
                assert sum(map(len, job.kept.values())) == 20 - row.pruned_neurons
            else:
                assert sum(map(len, job.kept.values())) == 20
    assert pruned >= 6


@pytest.mark.rule("ELI-6")
def test_what_did_not_arrive_is_kept_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """In round 2 client 4's masked input is lost: of its training then nothing counts; all the rest goes on."""
    one = Run(config=tiny.config(method="none", **ELIDED), pool=tiny.pool())
    one.step()
    before = {u: residual.flat() for u, residual in one._residuals.items()}

    def lossy(server: Any, _: Any) -> Any:
        return lambda leg, u, up, data: () if (leg, u, up) == (Leg.INPUT, 4, True) else (data,)

    with tiny.tampered(monkeypatch, network=lossy):
        row = one.step()
    assert row.survivors == 9
    assert row.secure_sum == row.plain_sum
    after = {u: residual.flat() for u, residual in one._residuals.items()}
    assert [u for u in after if np.array_equal(after[u], before[u])] == [4]


@pytest.mark.rule("ELI-6")
def test_who_is_away_keeps_what_it_has_not_sent() -> None:
    one = Run(config=tiny.config(fleet=f"{tiny.FLEET}+churn:0.5", method="none", **ELIDED), pool=tiny.pool())
    away = 0
    for _ in range(7):
        before = dict(one._residuals)
        present = {int(u) for u in one.step().present.split()}
        for u, residual in before.items():
            if u not in present:
                away += 1
                assert one._residuals[u] is residual
    assert away > 5


def _billed(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[Run, list[dict[int, LegCost]]]:
    """What leg `advertise` cost each client in each round, as the clock was told."""
    seen: list[dict[int, LegCost]] = []
    honest = clock.simulate

    def simulate(**arguments: Any) -> Any:
        seen.append({u: legs[Leg.ADVERTISE] for u, legs in arguments["costs"].items()})
        return honest(**arguments)

    monkeypatch.setattr(federated, "simulate", simulate)
    one = tiny.run(**ELIDED | changes)
    assert seen[::2] == seen[1::2]  # the round as it was, and unpruned
    return one, seen[::2]


@pytest.mark.rule("ELI-7")
@pytest.mark.parametrize("behaviour", ["", "+churn:0.3"])
def test_the_rest_is_billed_to_whoever_lacks_it(behaviour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them in the first round of a stretch, later those who were away in the round before; in a whole round nobody."""
    one, billed = _billed(monkeypatch, fleet=tiny.FLEET + behaviour)
    opening = min(cost.down_bytes for round in billed for cost in round.values())
    rest = 4 * (tiny.LAYOUT.size - part(1).size)
    present = [{int(u) for u in row.present.split()} for row in one.rows]
    paid = 0
    for number, costs in enumerate(billed, start=1):
        if number % 3 == 0:
            lacking: set[int] = set()
        elif number % 3 == 1:
            lacking = present[number - 1]
        else:
            lacking = present[number - 1] - present[number - 2]
        paid += len(lacking)
        for u, cost in costs.items():
            extra = rest if u in lacking else 0
            assert cost.down_bytes == opening + extra
            assert cost.work.hashed_bytes == extra
    assert paid == (30 if not behaviour else 30 + sum(len(present[k] - present[k - 1]) for k in (1, 4)))
    assert paid > 30 or not behaviour


@pytest.mark.rule("ELI-7")
def test_nothing_is_billed_for_where_nothing_is_elided(monkeypatch: pytest.MonkeyPatch) -> None:
    _, billed = _billed(monkeypatch, elide=0, fleet=f"{tiny.FLEET}+churn:0.3")
    assert len({cost.down_bytes for round in billed for cost in round.values()}) == 1


@pytest.mark.rule("ELI-8")
@pytest.mark.parametrize("name", ["none", "clip"])
def test_times_are_those_of_rounds_as_long(name: str) -> None:
    """What is declared is what happens, in short rounds and in whole ones; in the first of either nobody has a time."""
    one = Run(config=tiny.config(method=name, **ELIDED | {"rounds": 12}), pool=tiny.pool())
    grid, seen = one.params.policy.grid, {True: 0, False: 0}
    for number in range(1, 13):
        whole = number % 3 == 0
        one._part = one._part_in(number)
        records = {u: one._record(u) for u in one.roster}
        assert {record.has_time for record in records.values()} == {seen[whole] > 0}
        row = one.step()
        if not seen[whole]:
            assert row.keep_levels == ""
        assert one.timeline is not None
        keeps = dict(zip(row.stragglers.split(), row.keep_levels.split(), strict=False))
        if seen[whole] >= 3:  # pruners have chosen neurons before
            for u, record in records.items():
                times = one.timeline.observed(u)
                took = times.down + times.select + times.fit + times.mask + times.up
                assert record.elapsed(grid.index(int(keeps.get(str(u), 1000)))) == took
        seen[whole] += 1


@pytest.mark.rule("ELI-8")
def test_a_status_goes_by_the_last_round_whatever_its_length() -> None:
    one = run()
    assert {u for u, memory in one._memory.items() if memory.straggler} == {
        ClientId(int(u)) for u in one.rows[-1].stragglers.split()
    }
    assert {tuple(memory.observed) for memory in one._memory.values()} == {(part(1).size, part(3).size)}


def test_behind_a_slow_link_shorter_vectors_take_less_time() -> None:
    """The first round of a stretch uploads less, the others download less too."""
    one = run(fleet="net2g", method="none")
    first, second, whole, first_again, *_ = (row.round_seconds for row in one.rows)
    assert second < first < whole
    assert first_again == pytest.approx(first, rel=1e-3)
    assert one.timeline is not None
    assert {span.activity for span in one.timeline.spans} >= {Activity.DOWNLOAD, Activity.UPLOAD}


def test_what_is_told_of_pruned_neurons_is_of_the_round_s_layout() -> None:
    """Which of them were invariant among those that were in, and which the round before pruned, too, by their whole index."""
    one = Run(config=tiny.config(**ELIDED), pool=tiny.pool())
    pool = cast("tiny.TinyPool", one._pool)
    before: set[tuple[str, int]] = set()
    mode, slack = one.params.policy.scored, 0
    for number in range(1, 8):
        pool.jobs.clear()
        state, here = one.state, part(number)
        row = one.step()
        kept = min((job.kept for job in pool.jobs), key=lambda kept: sum(map(len, kept.values())))
        pruned = {
            (name, j) for name, index in here.within.items() for j in index.tolist() if j not in kept[name].tolist()
        }
        assert row.pruned_neurons == len(pruned)
        if pruned:
            assert state.history is not None
            model, history = here.restrict(state.model), here.restrict(state.history)
            still = {
                (s.layer, int(here.within[s.layer][j]))
                for s in invariance.score(model=model, history=history, layout=here.small, mode=mode)
                for j in np.flatnonzero(invariant(scores=s, threshold=1000))
            }
            slack += row.slack_neurons
            assert row.slack_neurons == len(pruned - still)
            assert row.pruned_again == (len(pruned & before) / len(pruned) if before else None)
        before = pruned
    assert slack


# --- Stopping and going on ---


@pytest.mark.rule("LAB-4", "LAB-5")
@pytest.mark.parametrize("behaviour", ["", "+churn:0.3+median:3"])
@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_an_elided_run_that_was_stopped_ends_as_one_that_was_not(
    stop: int, behaviour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not sent yet is in the checkpoint; stopped within a stretch, before a whole round, after one."""
    monkeypatch.setattr(training, "Pool", tiny.TinyPool)
    fleet = tiny.FLEET + behaviour

    def train(rounds: int, *, resume: bool) -> None:
        config = tiny.config(**ELIDED | {"rounds": rounds, "fleet": fleet})
        training.train(config=config, out=tmp_path, init=None, resume=resume, quiet=True)

    train(stop, resume=False)
    train(7, resume=True)
    straight = run(fleet=fleet)
    assert (tmp_path / "rounds.csv").read_text() == rows_csv(straight.rows)
    np.testing.assert_array_equal(modelfile.load(tmp_path / "model.npz").model, straight.state.model)


@pytest.mark.rule("LAB-4")
def test_a_checkpoint_has_no_more_than_what_was_not_sent(tmp_path: Path) -> None:
    one = tiny.run(**ELIDED | {"method": "none"})
    one.save(tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as stored:
        held_back = {name: stored[name] for name in stored.files if "has not sent" in name}
    assert len(held_back) == 20
    out = tiny.LAYOUT.size - part(7).size
    assert {len(values) for name, values in held_back.items() if name.startswith("what")} == {out}
    assert {values.dtype.name for values in held_back.values()} == {"float32", "uint8"}
    whole = tiny.run(**ELIDED | {"method": "none", "rounds": 6})
    whole.save(tmp_path / "d.npz")
    with np.load(tmp_path / "d.npz") as stored:
        assert not [name for name in stored.files if "has not sent" in name]


# --- What it does not go with ---


@pytest.mark.rule("ELI-9", "LAB-1")
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"neighbours": 4}, "ELI-9: elision does not go with a graph"),
        ({"clients": 300, "stragglers": 10}, "ELI-9: elision does not go with a graph"),
        ({"clock": Clock.MEASURED}, "ELI-9: elision does not go with the measured clock"),
        ({"method": "fluid"}, "ELI-9: elision does not go with `fluid`, whose scores are those of whole models"),
        ({"method": "clip-gaps"}, "ELI-9: elision does not go with `clip-gaps`"),
        ({"elide": 901}, "ELI-1: a round leaves out 0 … 900 ‰"),
        ({"full_every": 1}, "ELI-1: every 2nd … 100th round is whole"),
    ],
)
def test_what_elision_does_not_go_with_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(PreconditionError, match=problem):
        tiny.config(**ELIDED | changes)


@pytest.mark.rule("ELI-9")
def test_a_transcript_of_an_elided_run_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code = main([*tiny.options(out, **ELIDED), f"--transcript={tmp_path / 't'}"])
    assert code == 2
    assert "a transcript has one layout for all of its rounds" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_elides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "Pool", tiny.TinyPool)
    assert main(tiny.options(tmp_path, **ELIDED)) == 0
    assert (tmp_path / "rounds.csv").read_text() == rows_csv(run().rows)
    assert "every upload and transcript has one shape" in capsys.readouterr().out


# --- Among the experiments ---


@pytest.mark.rule("EXP-1")
def test_a_run_that_elides_nothing_is_named_as_if_there_were_no_elision() -> None:
    plain = gather.described(tiny.config())
    assert {"elide", "full_every"}.isdisjoint(plain)
    assert gather.key_of(tiny.config(full_every=7)) == gather.key_of(tiny.config())
    keys = {gather.key_of(tiny.config(**change)) for change in ({}, {"elide": 250}, {"elide": 250, "full_every": 7})}
    assert len(keys) == 3


class Untrained(tiny.TinyPool):
    """What `gather` opens where only times count."""

    def __init__(self, source: Any, *, clients: int, workers: int = 0) -> None:
        super().__init__(clients=clients)


@pytest.mark.rule("EXP-5")
def test_elided_runs_are_held_against_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "Pool", Untrained)
    configs = [
        tiny.config(method=name, rounds=6, fleet="net2g", **change)
        for name in ("none", "clip")
        for change in ({}, {"elide": 400, "full_every": 3})
    ]
    records = [gather.perform(config, runs=tmp_path, report=lambda row: None) for config in configs]
    rows = compare.rows(records)
    assert [row["method"] for row in rows] == ["none", "none elide=400/3", "clip", "clip elide=400/3"]
    assert rows[0]["shorter"] == 0
    assert all(row["shorter"] is not None and row["checks"] for row in rows)
    assert rows[1]["shorter"] > 0
    assert compare.in_order(row["method"] for row in reversed(rows)) == [row["method"] for row in rows]
