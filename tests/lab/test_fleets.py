"""Runs on fleets that shake, come and go, and lie: who is there, what they remember and say, and what the clock bills."""

import statistics
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.audit import audit
from clip_ref.cli import main
from clip_ref.errors import PreconditionError
from clip_ref.identities import beside, load_directory
from clip_ref.lab import training
from clip_ref.lab.federated import Run, RunConfig, checks, passed
from clip_ref.lab.methods import METHODS
from clip_ref.params import SecurityLevel
from clip_ref.sim.clock import Observed
from clip_ref.values import ClientId, Microseconds
from lab import tiny

ALL = "+jitter:0.1/0.3+churn:0.5+liars:0.1x1.5+median:3"
"""A fleet that does all that fleets do."""


@cache
def run(behaviour: str = ALL, **changes: Any) -> Run:
    """Eight rounds."""
    return tiny.run(**{"fleet": tiny.FLEET + behaviour, "rounds": 8} | changes)


def present(one: Run) -> list[list[int]]:
    return [[int(u) for u in row.present.split()] for row in one.rows]


# --- Who is there ---


@pytest.mark.rule("LAB-8", "FLT-9")
@pytest.mark.parametrize("name", METHODS)
def test_whoever_comes_and_goes_the_sums_are_exact(name: str) -> None:
    one = run(method=name)
    assert passed(checks(one.rows))
    fleet = one.fleet
    assert (len(fleet.clients), len(fleet.stragglers), fleet.size) == (20, 4, 10)
    excluded = fleet.stragglers if name == "exclude" else ()
    expected = [list(fleet.present(number, excluded=excluded)) for number in range(1, 9)]
    assert present(one) == expected
    assert {len(who) for who in expected} == {8 if name == "exclude" else 10}
    assert one.params.clients == len(expected[0])
    assert {row.survivors for row in one.rows} == {len(expected[0])}
    assert one.timeline is not None
    assert {span.client for span in one.timeline.spans} == set(expected[-1])
    assert one.roster == list(fleet.present(9, excluded=excluded))
    if name != "exclude":
        assert present(one) == present(run(method="none"))
        assert len({u for who in expected for u in who}) == 20


@pytest.mark.rule("LAB-8")
def test_without_churn_everybody_is_there_in_every_round(runs: Mapping[str, Run]) -> None:
    for name, one in runs.items():
        who = [u for u in range(tiny.CLIENTS) if name != "exclude" or u not in one.fleet.stragglers]
        assert present(one) == [who] * 4
        assert [row.without_model for row in one.rows] == [len(who), 0, 0, 0]


@pytest.mark.rule("LAB-8")
def test_everybody_has_data_of_its_own() -> None:
    config = tiny.config(fleet=tiny.FLEET + "+churn:0.5")
    assert config.population == 20
    pool = tiny.TinyPool()
    one = Run(config=config, pool=pool)  # type: ignore[arg-type]
    assert sum(one._examples) == 1287
    assert len(one._examples) == 20
    for number in range(1, 4):
        pool.jobs.clear()
        one.step()
        assert [job.client for job in pool.jobs] == list(one.fleet.present(number))


@pytest.mark.rule("LAB-1")
def test_more_clients_than_there_are_data_for_are_refused() -> None:
    assert tiny.config(clients=50, fleet="paper+churn:0.9").population == 500
    with pytest.raises(PreconditionError, match="TRN-1: digits can be dealt to 2 … 500 clients, got 510"):
        tiny.config(clients=51, fleet="paper+churn:0.9")


@pytest.mark.rule("LAB-8", "IDN-9")
def test_who_was_away_lacks_the_model_and_keeps_everything() -> None:
    """Those who prune are among the slow who were there in the round before; and some slow ones who were not prune nothing."""
    spared = 0
    for seed in range(1, 4):
        one = run("+churn:0.5", seed=seed, method="clip-paper")
        who = present(one)
        assert one.rows[0].without_model == 10
        for before, now, row in zip(who, who[1:], one.rows[1:], strict=False):
            assert row.without_model == len(set(now) - set(before))
            slow = [int(u) for u in row.stragglers.split()]
            knowing = [u for u in slow if u in before]
            if row.round > 2:
                assert len(row.keep_levels.split()) == len(knowing)
                spared += len(slow) - len(knowing)
    assert spared > 5


@pytest.mark.rule("LAB-8")
def test_who_was_away_remembers_its_times_and_its_status() -> None:
    one = run("+churn:0.5")
    who = present(one)
    ever = {u for now in who for u in now}
    assert set(one._memory) == ever
    assert set(who[-1]) < ever
    slow = {u for u in one._memory if one._memory[u].straggler}
    assert slow
    assert slow <= set(one.fleet.stragglers)
    absent = next(u for u in sorted(slow | ever) if u not in who[-1])
    record = one._record(ClientId(absent))
    assert record.has_time
    assert record.down == one._memory[ClientId(absent)].observed[tiny.LAYOUT.size][-1].down


def test_exclude_invites_none_of_the_slow() -> None:
    one = run(method="exclude", security=SecurityLevel.HARDENED, rounds=2)
    assert set(one.directory.keys) == set(range(20)) - set(one.fleet.stragglers)
    assert {u for now in present(one) for u in now}.isdisjoint(one.fleet.stragglers)


@pytest.mark.rule("FLT-2")
def test_a_share_of_stragglers_counts_for_who_may_prune() -> None:
    config = tiny.config(clients=20, stragglers=1, fleet=tiny.FLEET + "+stragglers:0.5")
    assert len(config.load_fleet().stragglers) == 10
    assert config.params(20).policy.straggler_share == 500
    assert run("+stragglers:0.5", clients=12, stragglers=0, rounds=3).rows[-1].keep_levels.count(" ") == 5


def test_slow_members_of_a_population_can_have_classes_of_their_own() -> None:
    config = tiny.config(fleet=tiny.FLEET + "+churn:0.5", partition="devices:0.8")
    assert config.source().slow == config.load_fleet().stragglers
    assert passed(checks(run("+churn:0.5", partition="devices:0.8", rounds=3).rows))


# --- Jitter ---


@pytest.mark.rule("LAB-9", "FLT-8")
def test_each_round_takes_what_it_takes_on_that_day_s_fleet() -> None:
    one = Run(config=tiny.config(fleet=tiny.FLEET + "+jitter:0.2/0.4", method="none"), pool=tiny.pool())
    calm = Run(config=tiny.config(method="none"), pool=tiny.pool())
    for number in range(1, 5):
        record = one._record(ClientId(3))
        one.step(), calm.step()
        today = one.fleet.at(number)
        assert one.timeline is not None
        assert calm.timeline is not None
        for client in range(tiny.CLIENTS):
            seen, usual = one.timeline.observed(client), calm.timeline.observed(client)
            base, now = one.fleet.clients[client], today.clients[client]
            assert seen.fit / usual.fit == pytest.approx(now.device.slow_down / base.device.slow_down, rel=1e-5)
            assert seen.up / usual.up == pytest.approx(base.network.up_mbit / now.network.up_mbit, rel=1e-2)
        # predicted is what a fit takes without jitter, whatever the last one took; transfers are the last ones
        assert record.fit == calm._predictions(3) == one._predictions(3)
        assert one._record(ClientId(3)).up == one.timeline.observed(3).up
    assert len({row.round_seconds for row in one.rows}) == 4
    assert [row.unpruned_seconds for row in one.rows] == [row.round_seconds for row in one.rows]
    assert len({row.round_seconds for row in calm.rows}) <= 2


@pytest.mark.rule("LAB-9")
def test_jitter_and_churn_are_the_same_for_every_method() -> None:
    """In the warm-up all methods that leave nobody out are the same run; later unpruned times still are."""
    alike = [run(method=name).rows for name in ("none", "random", "clip-paper", "clip")]
    for number in range(8):
        assert len({rows[number].present for rows in alike}) == 1
        for rows in alike:  # the server of `levels` has a few more sums to unmask
            assert rows[number].unpruned_seconds == pytest.approx(alike[0][number].unpruned_seconds, abs=1e-5)
            assert rows[number].bound == pytest.approx(alike[0][number].bound, abs=1e-4)
        if number < 2:
            assert len({rows[number].secure_sum for rows in alike}) == 1
            assert len({rows[number].round_seconds for rows in alike}) == 1
    assert any(row.keep_levels for row in alike[2])
    assert alike[2][-1].secure_sum != alike[0][-1].secure_sum


# --- Liars ---


@pytest.mark.rule("LAB-9", "FLT-10")
@pytest.mark.parametrize("factor", ["3", "0.5"])
def test_liars_lie_about_everything_alike_and_the_clock_does_not(factor: str) -> None:
    honest, one = run("", rounds=3, method="none"), run(f"+liars:0.3x{factor}", rounds=3, method="none")
    assert len(one.fleet.liars) == 3
    assert [row.round_seconds for row in one.rows] == [row.round_seconds for row in honest.rows]
    for client in map(ClientId, range(tiny.CLIENTS)):
        said, true = one._record(client), honest._record(client)
        times = [(r.down, r.select, r.mask, r.up, *r.fit) for r in (said, true)]
        if client in one.fleet.liars:
            assert [float(t) for t in times[0]] == pytest.approx([float(factor) * t for t in times[1]], abs=0.51)
        else:
            assert times[0] == times[1]
        assert (said.weight, said.has_time) == (true.weight, true.has_time)


def test_who_pretends_to_be_slow_prunes_and_who_pretends_to_be_fast_does_not() -> None:
    one = run("+liars:0.2x9", stragglers=2, rounds=3, method="clip-paper")
    assert one.rows[-1].stragglers == " ".join(map(str, one.fleet.liars))
    assert set(one.rows[-1].keep_levels.split()) == {"500"}
    # all lie, so that nobody looks slower than the others: what is said is what counts
    one = run("+liars:1x0.1", rounds=3, method="clip-paper")
    assert one.rows[-1].stragglers == " ".join(map(str, one.fleet.stragglers))


# --- The median ---


def times(k: int) -> Observed:
    return Observed(*(Microseconds(x) for x in (10 * k, k, 77, 2 * k, 100 - k)))


@pytest.mark.rule("LAB-9", "FLT-11")
@given(st.lists(st.integers(0, 99), min_size=1, max_size=9), st.sampled_from([1, 3, 5]))
def test_clients_declare_the_median_of_what_they_saw_last(seen: list[int], median: int) -> None:
    one = fresh(median)
    memory = tuple(times(k) for k in seen)[-median:]
    one._memory = {ClientId(0): attrs.evolve(run()._memory[ClientId(0)], observed={tiny.LAYOUT.size: memory})}
    record = one._record(ClientId(0))
    last = seen[-median:]
    middle, other = statistics.median_low(last), statistics.median_low([100 - k for k in last])
    assert (record.down, record.select, record.mask, record.up) == (10 * middle, middle, 2 * middle, other)


@cache
def fresh(median: int) -> Run:
    return Run(config=tiny.config(fleet=f"{tiny.FLEET}+median:{median}"), pool=tiny.pool())


@pytest.mark.rule("FLT-11")
@pytest.mark.parametrize(("behaviour", "most"), [("", 1), ("+median:3", 3)])
def test_no_more_is_remembered_than_is_declared(behaviour: str, most: int) -> None:
    one = run(behaviour + "+jitter:0.1", rounds=5)
    assert {len(memory.observed[tiny.LAYOUT.size]) for memory in one._memory.values()} == {most}
    assert one.timeline is not None
    assert one._memory[ClientId(1)].observed[tiny.LAYOUT.size][-1] == one.timeline.observed(1)


# --- With the rest ---


@pytest.mark.rule("LAB-4", "LAB-5", "LAB-8")
@pytest.mark.parametrize("stop", [1, 2, 5, 7])
def test_a_resumed_run_on_such_a_fleet_ends_as_one_that_was_never_stopped(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "Pool", tiny.TinyPool)

    def train(out: Path, rounds: int, *, resume: bool = False) -> None:
        config = tiny.config(fleet=tiny.FLEET + ALL, rounds=rounds)
        training.train(config=config, out=out, init=None, resume=resume, quiet=True)

    train(tmp_path / "straight", 8)
    train(tmp_path / "stopped", stop)
    train(tmp_path / "stopped", 8, resume=True)
    assert tiny.files(tmp_path / "stopped") == tiny.files(tmp_path / "straight")


@pytest.mark.rule("LAB-4", "LAB-8")
def test_a_checkpoint_holds_two_models_however_many_come_and_go(tmp_path: Path) -> None:
    one = run()
    one.save(tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as stored:
        assert sorted(stored.files) == ["header", "history", "model"]
    resumed = Run.resume(tmp_path / "c.npz", config=one.config, pool=tiny.pool())
    assert (resumed._memory, resumed._holders, resumed.rows) == (one._memory, one._holders, one.rows)
    assert resumed._holders == set(present(one)[-1])


@pytest.mark.rule("LAB-5")
def test_another_behaviour_is_another_run(tmp_path: Path) -> None:
    one = run("+churn:0.5", rounds=2)
    one.save(tmp_path / "c.npz")
    config = attrs.evolve(one.config, fleet=tiny.FLEET + "+churn:0.4")
    with pytest.raises(PreconditionError, match=r"LAB-5: .* belongs to another run: it has fleet '.*churn:0\.5', not"):
        Run.resume(tmp_path / "c.npz", config=config, pool=tiny.pool())


@pytest.mark.rule("LAB-8", "AUD-1")
@pytest.mark.parametrize("more", [(), ("--neighbours", "6")], ids=["clique", "graph"])
def test_such_a_run_is_recorded_and_audited(
    more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command line, signed: identities of the whole population, rosters of n of them."""
    monkeypatch.setattr(training, "Pool", tiny.TinyPool)
    path, fleet = tmp_path / "transcript", tiny.FLEET + ALL
    sizes = ["--clients", "12", "--stragglers", "3", "--rounds", "5"]
    assert (
        main(
            [
                "train",
                *sizes,
                "--fleet",
                fleet,
                "--out",
                str(tmp_path / "out"),
                "--transcript",
                str(path),
                "--quiet",
                *more,
            ]
        )
        == 0
    )
    directory = load_directory(path=beside(path))
    assert len(directory.keys) == 24
    report = audit(path=path, directory=directory)
    assert report.holds
    config = RunConfig(clients=12, stragglers=3, fleet=fleet)
    assert [list(found.u3) for found in report.rounds] == [
        list(config.load_fleet().present(number)) for number in range(1, 6)
    ]


@pytest.mark.rule("LAB-7", "LAB-8")
def test_on_a_graph_too(tmp_path: Path) -> None:
    one = run(clients=15, stragglers=3, neighbours=6, rounds=5)
    assert passed(checks(one.rows))
    assert one.params.clients == 15
    who = present(one)
    for before, now, row in zip(who, who[1:], one.rows[1:], strict=False):
        assert row.without_model == len(set(now) - set(before))
    assert any(row.keep_levels for row in one.rows)
