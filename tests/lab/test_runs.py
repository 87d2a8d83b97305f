"""Runs: what is refused, that a mistake or a flipped bit anywhere shows, and what the methods have in common."""

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import plain
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rounds import held_by

from clip_ref import codec, masking, padding, submodel
from clip_ref.canonical import digest, model_digest
from clip_ref.errors import ClipError, ContributionError, PreconditionError
from clip_ref.invariance import score
from clip_ref.lab import federated
from clip_ref.lab.federated import Clock, Run, RunConfig, checks, in_place, passed, plain_sum, summarise
from clip_ref.lab.methods import METHODS, method
from clip_ref.layout import Axis, Layer, Layout, Tensor
from clip_ref.params import (
    HARDENED_POLICY,
    NO_PRUNING,
    PAPER_POLICY,
    Encoding,
    Mean,
    Params,
    PruningPolicy,
    Score,
    SecurityLevel,
    Selection,
    SlackSeed,
)
from clip_ref.round import Server
from clip_ref.round.cost import Leg
from clip_ref.scores import invariant
from clip_ref.sim.clock import Activity
from clip_ref.train.data import Task, load_task
from clip_ref.train.partition import slow_classes
from clip_ref.values import ClientId
from clip_ref.wire import kind_name
from lab import tiny

ROOT = Path(__file__).parents[2]


def test_the_defaults_are_what_the_demo_promises() -> None:
    config = RunConfig()
    assert (config.clients, config.stragglers, config.fleet, config.method) == (20, 4, "paper", "clip")
    assert config.clock is Clock.MACS
    assert config.security is SecurityLevel.HARDENED


def test_the_methods_are_those_of_the_specification() -> None:
    table = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "spec" / "runs.md").read_text("utf-8"), re.MULTILINE)
    assert list(METHODS) == table
    policies = {name: one.policy for name, one in METHODS.items()}
    assert policies["none"] == policies["exclude"] == policies["shorten"] == NO_PRUNING
    assert policies["clip-paper"] == PAPER_POLICY
    assert policies["clip"] == HARDENED_POLICY
    drawn: dict[str, Any] = {"selection": Selection.PAPER, "threshold": 0, "slack_seed": SlackSeed.CONTEXT}
    levels, ranked = policies["clip-levels"], policies["clip-rank"]
    assert (levels.mean, levels.selection, levels.score, levels.spread) == (
        Mean.LEVELS,
        Selection.RANK,
        Score.L1,
        False,
    )
    assert policies["random"] == attrs.evolve(levels, **drawn)
    assert policies["fluid"] == attrs.evolve(policies["random"], selection=Selection.RANK)
    assert policies["ordered"] == attrs.evolve(policies["random"], selection=Selection.ORDERED)
    assert policies["clip-gaps"] == attrs.evolve(levels, mean=Mean.DILUTE, anonymity_blocks=False)
    assert ranked == attrs.evolve(levels, mean=Mean.STRATA, spread=True)
    assert policies["clip-size"] == attrs.evolve(ranked, score=Score.SIZE)
    assert policies["clip-draw"] == attrs.evolve(ranked, **drawn)
    flags = {
        flag: [name for name, one in METHODS.items() if getattr(one, flag)]
        for flag in ("excludes", "shortens", "watches", "gaps")
    }
    assert flags == {"excludes": ["exclude"], "shortens": ["shorten"], "watches": ["fluid"], "gaps": ["clip-gaps"]}
    with pytest.raises(PreconditionError, match="LAB-1: no method 'prune'; there are none, random, ordered, exclude"):
        method("prune")


@pytest.mark.rule("LAB-1")
def test_a_method_is_changed_field_by_field() -> None:
    changed = method("clip-levels", [("margin", 7), ("mean", "dilute"), ("stand_in", True)])
    assert changed.policy == attrs.evolve(METHODS["clip-levels"].policy, margin=7, mean=Mean.DILUTE)
    assert changed.stand_in
    assert not METHODS["clip-levels"].stand_in
    config = tiny.config(method="clip-levels", changes=(("margin", 7),))
    assert config.params(10).policy.margin == 7
    assert RunConfig(**config.as_dict()) == config
    assert config.as_dict()["changes"] == [["margin", 7]]


@pytest.mark.rule("LAB-1")
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"changes": (("speed", 7),)}, "LAB-1: a method has no 'speed'; it has age_cap, anonymity_blocks,"),
        ({"changes": (("excludes", True),)}, "LAB-1: a method has no 'excludes'"),
        ({"changes": (("mean", "median"),)}, "PAR-1: 'median' is no mean"),
        ({"changes": (("margin", -1),)}, "PAR-1: margin must be 0 … 1000 ‰"),
        ({"method": "clip-levels", "changes": (("spread", True),)}, "PAR-4"),
        ({"evaluate_every": 0}, "LAB-1: a run of 4 rounds is evaluated after every 1 … 4, got 0"),
        ({"evaluate_every": 5}, "LAB-1: a run of 4 rounds is evaluated after every 1 … 4, got 5"),
        ({"trained": False, "clock": Clock.MEASURED}, "LAB-1: the measured clock measures training"),
    ],
)
def test_what_experiments_may_not_ask_for(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ClipError, match=problem):
        tiny.config(**changes)


@pytest.mark.rule("LAB-1")
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"method": "prune"}, "LAB-1: no method 'prune'"),
        ({"task": "letters"}, "TRN-1: no task 'letters'"),
        ({"clients": 1, "stragglers": 0}, "TRN-1: digits can be dealt to 2 … 500 clients, got 1"),
        ({"clients": 501}, "got 501"),
        ({"rounds": 0}, "LAB-1: a run has at least 1 round, got 0"),
        ({"stragglers": 99, "clients": 20}, "LAB-1: of 20 clients 0 … 10 can be stragglers, got 99"),
        ({"stragglers": 3, "clients": 5}, "LAB-1: of 5 clients 0 … 2 can be stragglers, got 3"),
        ({"stragglers": -1}, "LAB-1: of 10 clients 0 … 5 can be stragglers, got -1"),
        ({"method": "exclude", "clients": 2, "stragglers": 1}, "LAB-1: `exclude` leaves 1 of 2 clients"),
        ({"seed": -1}, "LAB-1: a seed is 0 … 2\\^63 - 1, got -1"),
        ({"seed": 1 << 63}, "LAB-1: a seed is"),
        ({"fleet": "lorries"}, "FLT-1: no fleet 'lorries'"),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(PreconditionError, match=problem):
        tiny.config(**changes)


@pytest.mark.rule("LAB-1")
@pytest.mark.parametrize(
    "changes",
    [
        {"clients": 2, "stragglers": 1},
        {"clients": 3, "stragglers": 1, "method": "exclude"},
        {"clients": 50, "stragglers": 25, "rounds": 1},
        {"seed": 0, "security": SecurityLevel.HARDENED},
        {"seed": (1 << 63) - 1},
    ],
)
def test_the_edges_of_what_can_be_run(changes: dict[str, Any]) -> None:
    config = tiny.config(**changes)
    assert config.invited == config.clients - (config.method == "exclude")
    assert config.params(config.invited).security is config.security


@given(st.integers(2, 50), st.data())
def test_as_many_may_prune_as_are_slow(clients: int, data: st.DataObject) -> None:
    stragglers = data.draw(st.integers(0, clients // 2))
    share = tiny.config(clients=clients, stragglers=stragglers).params(clients).policy.straggler_share
    assert share * clients // 1000 == stragglers
    assert tiny.config(clients=clients, stragglers=stragglers, method="none").params(clients).policy == NO_PRUNING


# What a flat model looks like after a convolution, a flatten boundary, a dense layer with stacked gates.
MIXED = Layout(
    tensors=(
        Tensor("kernel", (Axis(3, "channels"), Axis(2), Axis(2)), uses=4),
        Tensor("flat", (Axis(4, "units"), Axis(12, "channels", inner=4)), uses=1),
        Tensor("gates", (Axis(8, "units"), Axis(4, "units")), uses=1),
        Tensor("out", (Axis(2), Axis(4, "units")), uses=1),
    ),
    layers=(Layer("channels", 3), Layer("units", 4)),
)


@pytest.mark.rule("LAB-2")
@given(st.data())
def test_an_update_is_put_in_its_place_without_the_protocol_s_code(data: st.DataObject) -> None:
    kept = {
        x.name: np.array(sorted(data.draw(st.sets(st.integers(0, x.neurons - 1), min_size=1))), dtype=np.int64)
        for x in MIXED.layers
    }
    held = held_by(MIXED, kept)
    update = np.arange(1, sum(held) + 1, dtype=np.float32)
    expected = iter(update.tolist())
    placed = in_place(update=update, layout=MIXED, kept=kept)
    assert placed.tolist() == [next(expected) if here else 0 for here in held]
    np.testing.assert_array_equal(placed, submodel.expand(delta=update, layout=MIXED, kept=kept))


@pytest.mark.rule("LAB-2")
@pytest.mark.parametrize("bits", [32, 64])
def test_the_plain_sum_is_worked_out_from_the_updates(bits: int) -> None:
    grid = (1000, 500)
    params = Params(
        clients=3, policy=PruningPolicy(grid=grid), encoding=Encoding(ring_bits=bits, value_bits=8, clip=0.5)
    )
    updates = {0: [0.5, -9.0, 0.25], 1: [0.0, -0.5, 7.0], 2: [-0.5, -0.125, 0.0]}
    weights, slots = {0: 2, 1: 3, 2: 5}, {0: 0, 1: 1, 2: 1}
    # 127 steps to 0.5; 0.25 is 63.5 steps and 0.125 is 31.75, rounded half to even.
    steps = {0: [127, -127, 64], 1: [0, -127, 127], 2: [-127, -32, 0]}
    total = [sum(weights[u] * steps[u][j] for u in updates) for j in range(3)] + [2, 3 + 5]
    expected = plain.digest(b"sum", b"".join(plain.le(x % 2**bits, bits // 8) for x in total))
    found = plain_sum(
        updates={ClientId(u): np.array(x, dtype=np.float32) for u, x in updates.items()},
        weights={ClientId(u): w for u, w in weights.items()},
        slots={ClientId(u): s for u, s in slots.items()},
        buckets={},
        params=params,
    )
    assert found == expected == digest("sum", (b"".join(plain.le(x % 2**bits, bits // 8) for x in total),))


def off_by_one(honest: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(**arguments: Any) -> Any:
        out = np.array(honest(**arguments))
        out[0] += 1
        return out

    return wrong


def rolled(honest: Callable[..., Any]) -> Callable[..., Any]:
    """Every coordinate in its neighbour's place; the weights that follow stay in theirs."""

    def wrong(**arguments: Any) -> Any:
        out = honest(**arguments)
        return np.concatenate([np.roll(out[: tiny.LAYOUT.size], 1), out[tiny.LAYOUT.size :]])

    return wrong


@pytest.mark.rule("LAB-2")
@pytest.mark.parametrize(
    ("module", "name", "mistake"),
    [(codec, "encode", off_by_one), (padding, "pad", rolled), (masking, "mask", off_by_one)],
)
def test_a_mistake_in_a_step_of_the_protocol_shows(
    module: Any, name: str, mistake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, mistake(getattr(module, name)))
    row = tiny.run(rounds=1).rows[0]
    assert row.secure_sum != row.plain_sum
    assert not passed(checks([row]))


@pytest.mark.rule("LAB-2", "LAB-3")
@pytest.mark.parametrize("name", METHODS)
def test_in_every_round_the_sums_agree_and_pruning_does_not_show(name: str, runs: Mapping[str, Run]) -> None:
    found = checks(runs[name].rows)
    assert found["secure_sum_exact"] is True
    assert found["transcript_shape_equal"] is True
    assert len(found["upload_lengths"]) == 1
    assert passed(found)
    assert len({row.secure_sum for row in runs[name].rows}) == 4


@pytest.mark.rule("LAB-3")
@pytest.mark.parametrize("name", ["none", "clip-levels", "clip-paper"])
def test_the_next_model_is_the_weighted_mean_of_the_updates(name: str, runs: Mapping[str, Run]) -> None:
    """Over the holders under `levels`, over everybody under `dilute`: from what the pool was asked and answered."""
    run = Run(config=tiny.config(method=name), pool=pool_of(jobs := tiny.TinyPool()))
    for _ in range(4):
        jobs.jobs.clear()
        before = run.state.model
        row = run.step()
        total, weight, everybody = np.zeros(tiny.LAYOUT.size), np.zeros(tiny.LAYOUT.size), 0
        for job in jobs.jobs:
            examples = run._examples[job.client]
            held = np.array(held_by(tiny.LAYOUT, job.kept))
            total[held] += examples * jobs.fit(job).astype(np.float64)
            weight += examples * held
            everybody += examples
            np.testing.assert_array_equal(job.model, before)
        assert everybody == 1287
        mean = total / (weight if name == "clip-levels" else everybody)
        np.testing.assert_allclose(run.state.model, before + mean, atol=1e-4)
        assert row.accuracy == jobs.evaluate(run.state.model)
    assert run.state.round == 5
    assert bool(row.keep_levels) == (name != "none")
    np.testing.assert_array_equal(run.state.model, runs[name].state.model)


def pool_of(fake: tiny.TinyPool) -> Any:
    return fake


@pytest.mark.rule("LAB-3")
def test_time_is_billed_round_by_round(runs: Mapping[str, Run]) -> None:
    for name, run in runs.items():
        assert run.timeline is not None
        assert run.rows[-1].round_seconds == run.timeline.end / 1e6
        assert [row.round for row in run.rows] == [1, 2, 3, 4]
        assert {row.method for row in run.rows} == {name}
        assert run.rows[0].total_seconds == run.rows[0].round_seconds
        for one, two in pairwise(run.rows):
            assert two.total_seconds == one.total_seconds + two.round_seconds


def test_methods_differ_in_the_method_alone(runs: Mapping[str, Run]) -> None:
    """Nobody prunes in the warm-up: until then all runs but that of `exclude` are the same run, sums, models and all."""
    alike = [runs[name].rows for name in ("none", "random", "clip-paper", "clip")]
    for number in range(2):
        assert len({rows[number].secure_sum for rows in alike}) == 1
        assert len({rows[number].accuracy for rows in alike}) == 1
        assert {rows[number].pruned_neurons for rows in alike} == {0}
    assert len({rows[2].accuracy for rows in alike}) == 4
    assert {row.secure_sum for row in runs["exclude"].rows}.isdisjoint(row.secure_sum for row in alike[0])


def test_who_prunes_and_how_much(runs: Mapping[str, Run]) -> None:
    slow = " ".join(map(str, tiny.config().load_fleet().stragglers))
    for name in ("random", "clip-paper", "clip"):
        assert [row.stragglers for row in runs[name].rows] == ["", slow, slow, slow]
        assert [bool(row.keep_levels) for row in runs[name].rows] == [False, False, True, True]
        assert [row.pruned_neurons for row in runs[name].rows][:2] == [0, 0]
        assert len({row.pruned_neurons for row in runs[name].rows[2:]}) == 1
    for name in ("none", "exclude"):
        assert {(row.stragglers, row.keep_levels, row.pruned_neurons) for row in runs[name].rows} == {("", "", 0)}
    assert runs["random"].rows[2].pruned_neurons == runs["clip-levels"].rows[2].pruned_neurons > 0


def test_exclude_leaves_the_slow_out(runs: Mapping[str, Run]) -> None:
    run = runs["exclude"]
    slow = set(run.fleet.stragglers)
    assert len(slow) == tiny.STRAGGLERS
    assert set(run.roster) == set(range(tiny.CLIENTS)) - slow
    assert {row.survivors for row in run.rows} == {8}
    assert run.timeline is not None
    assert {span.client for span in run.timeline.spans} == set(run.roster)
    assert {row.survivors for row in runs["clip"].rows} == {10}
    assert summarise(run.rows).simulated_seconds < summarise(runs["clip"].rows).simulated_seconds


@pytest.mark.rule("LAB-8")
def test_exclude_leaves_out_those_that_take_longest_for_whatever_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the examples outweigh the faster processor: as many as are slow, but not those with slow processors alone."""
    slow = tiny.config(method="exclude").load_fleet().stragglers
    busy = next(u for u in range(tiny.CLIENTS) if u not in slow)
    counts = [30 + 300 * (u == busy) for u in range(tiny.CLIENTS)]
    monkeypatch.setattr(Task, "nominal", lambda self, n: counts)
    one = tiny.run(method="exclude", rounds=2)
    out = set(range(tiny.CLIENTS)) - set(one.roster)
    assert busy in out
    assert out - {busy} < set(slow)
    assert {row.survivors for row in one.rows} == {one.config.invited} == {tiny.CLIENTS - tiny.STRAGGLERS}


@pytest.mark.rule("DDL-1", "DDL-2", "DDL-3", "CLK-5")
def test_in_deadline_mode_uploads_begin_at_one_time_and_no_round_teaches_the_next_to_begin_later() -> None:
    run = tiny.run(rounds=6, deadline=90_000_000)
    free = tiny.run(rounds=6)
    waits = [row.not_before_seconds for row in run.rows]
    assert waits[:2] == [90.0, 90.0]
    assert 0 < waits[2] < 90.0
    assert len(set(waits[2:])) == 1
    assert [row.keep_levels for row in run.rows] == [row.keep_levels for row in free.rows]
    assert all(row.keep_levels for row in run.rows[2:])
    assert all(row.round_seconds > other.round_seconds for row, other in zip(run.rows, free.rows, strict=True))
    assert all(row.unpruned_seconds == other.unpruned_seconds for row, other in zip(run.rows, free.rows, strict=True))
    assert run.timeline is not None
    starts = {s.start for s in run.timeline.spans if (s.leg, s.activity) == (Leg.INPUT, Activity.UPLOAD)}
    assert len(starts) == 1
    assert {row.not_before_seconds for row in free.rows} == {0.0}


def test_pruning_takes_nearly_all_that_there_is_to_gain(runs: Mapping[str, Run]) -> None:
    """After the warm-up, on a fleet where computing is everything: at least 95 % of the bound, never above it."""
    for name in ("random", "clip-paper", "clip"):
        for row, unpruned in zip(runs[name].rows[2:], runs["none"].rows[2:], strict=True):
            shorter = 1 - row.round_seconds / unpruned.round_seconds
            assert 0.95 * unpruned.bound <= shorter <= unpruned.bound
    assert 0.3 < runs["none"].rows[0].bound < 1 / 3


def test_both_security_levels_yield_the_same_models(runs: Mapping[str, Run]) -> None:
    hardened = tiny.run(security=SecurityLevel.HARDENED)
    basic = runs["clip"]
    assert [row.secure_sum for row in hardened.rows] == [row.secure_sum for row in basic.rows]
    assert model_digest(hardened.state.model) == model_digest(basic.state.model)
    assert int(hardened.rows[0].upload_bytes) == int(basic.rows[0].upload_bytes) + 64
    assert passed(checks(hardened.rows))


def test_equal_configurations_give_equal_runs_and_another_seed_another(runs: Mapping[str, Run]) -> None:
    again, other = tiny.run(), tiny.run(seed=2, rounds=1)
    assert again.rows == runs["clip"].rows
    assert again.timeline == runs["clip"].timeline
    assert other.rows[0].secure_sum != again.rows[0].secure_sum
    assert other.fleet.stragglers != again.fleet.stragglers


def test_where_nobody_is_slow_there_is_nothing_to_gain() -> None:
    run = tiny.run(fleet="uniform", rounds=3)
    assert run.fleet.stragglers == ()
    assert summarise(run.rows).bound == 0
    assert {(row.bound, row.keep_levels) for row in run.rows} == {(0, "")}


def test_the_measured_clock_times_what_was_measured() -> None:
    """Each level once, made monotone, scaled to the device: 3 GHz here, 2 GHz on a straggler."""
    fake = tiny.TinyPool()
    run = Run(config=tiny.config(clock=Clock.MEASURED, method="none", rounds=2), pool=pool_of(fake))
    run.step()
    run.step()
    assert fake.measured == 21
    assert list(run._seconds_at.values()) == sorted(run._seconds_at.values(), reverse=True)
    slow, fast = run.fleet.stragglers[0], next(u for u in run.roster if u not in run.fleet.stragglers)
    for client, ghz in ((slow, 2), (fast, 3)):
        examples = run._examples[client]
        assert run.timeline is not None
        seconds = 1e-3 * tiny.LAYOUT.macs() * examples * 2
        assert run.timeline.observed(client).fit == pytest.approx(seconds * 3 / ghz * 1e6)


# --- Evaluation ---


@pytest.mark.parametrize(("every", "evaluated"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4]), (5, [5])])
def test_the_model_is_evaluated_after_every_so_many_rounds(every: int, evaluated: list[int]) -> None:
    run, always = (tiny.run(method="none", rounds=5, evaluate_every=k) for k in (every, 1))
    assert [row.round for row in run.rows if row.accuracy is not None] == evaluated
    assert [row.accuracy for row in run.rows if row.accuracy is not None] == [
        always.rows[k - 1].accuracy for k in evaluated
    ]
    assert [row.secure_sum for row in run.rows] == [row.secure_sum for row in always.rows]
    assert summarise(run.rows).final_accuracy == always.rows[evaluated[-1] - 1].accuracy


@pytest.mark.rule("LAB-6")
def test_a_run_that_was_never_evaluated_has_no_final_accuracy() -> None:
    with pytest.raises(PreconditionError, match="LAB-6: a run that was never evaluated"):
        summarise([tiny.row(accuracy=None)])


def test_slow_devices_classes_have_an_accuracy_of_their_own() -> None:
    """That of the two classes that the deal by devices gives them; none where data are not dealt so."""
    run = tiny.run(method="none", partition="devices:0.8", rounds=2)
    tally = tiny.TinyPool().tally(run.state.model)
    own = slow_classes(labels=load_task("digits").ordered[1], seed=run.config.seed)
    assert len(own) == 2
    assert run.rows[-1].slow_accuracy == sum(tally.right[k] for k in own) / 2e6
    assert run.rows[-1].slow_accuracy != run.rows[-1].accuracy == tally.accuracy()
    assert {row.slow_accuracy for row in tiny.run(method="none", rounds=2).rows} == {None}


def test_what_is_pruned_again_and_what_of_it_is_slack() -> None:
    """Against the neurons that the smallest jobs of each round lack, and the threshold on the models before and after."""
    config, pool = tiny.config(method="clip-paper", changes=(("threshold", 300),), rounds=6), tiny.TinyPool()
    run, before, history = Run(config=config, pool=pool_of(pool)), set[Any](), None
    for _ in range(6):
        pool.jobs.clear()
        model = run.state.model
        row = run.step()
        job = min(pool.jobs, key=lambda job: sum(map(len, job.kept.values())))
        gone = {(x.name, j) for x in tiny.LAYOUT.layers for j in range(x.neurons) if j not in job.kept[x.name]}
        assert row.pruned_neurons == len(gone)
        assert row.pruned_again == (len(gone & before) / len(gone) if gone and before else None)
        slack = 0
        if gone:
            assert history is not None
            scores = score(model=model, history=history, layout=tiny.LAYOUT, mode=PAPER_POLICY.score)
            idle = {s.layer: invariant(scores=s, threshold=300) for s in scores}
            slack = sum(not idle[name][j] for name, j in gone)
        assert row.slack_neurons == slack
        before, history = gone, model
    assert any(row.pruned_again for row in run.rows)
    assert any(row.slack_neurons for row in run.rows)


# --- Means that scale ---


@pytest.mark.rule("LAB-2")
@pytest.mark.parametrize("security", SecurityLevel)
@pytest.mark.parametrize("mean", ["holder", "strata"])
@pytest.mark.parametrize("slow", [True, False], ids=["slow", "fast"])
def test_sums_are_exact_where_clients_scale_and_some_drop_out(
    slow: bool, mean: str, security: SecurityLevel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A straggler whose upload never comes stays among those who were counted on; so does a fast one."""
    stragglers = tiny.config().load_fleet().stragglers
    gone = stragglers[0] if slow else next(u for u in range(10) if u not in stragglers)

    def without(server: Server, _: Any) -> Any:
        def network(leg: Leg, who: ClientId, up: bool, data: bytes) -> Sequence[bytes]:
            lost = leg is Leg.INPUT and up and who == gone and server.context.round == 4
            return () if lost else (data,)

        return network

    changes = (("mean", mean), ("spread", mean == "strata"))
    with tiny.tampered(monkeypatch, network=without):
        run = tiny.run(method="clip-levels", changes=changes, rounds=5, security=security, stragglers=4)
    assert [row.survivors for row in run.rows] == [10, 10, 10, 9, 10]
    assert checks(run.rows)["secure_sum_exact"]
    assert all(row.keep_levels for row in run.rows[2:])
    plainly = tiny.run(method="clip-levels", rounds=3, security=security, stragglers=4)
    assert plainly.rows[2].secure_sum != run.rows[2].secure_sum
    assert plainly.rows[1].secure_sum == run.rows[1].secure_sum


@pytest.mark.rule("LAB-2")
@given(
    values=st.lists(st.integers(-(2**25), 2**25), min_size=1, max_size=9),
    top=st.integers(1, 2**18),
    cap=st.integers(1, 64),
    data=st.data(),
)
def test_each_value_is_scaled_by_its_fraction_or_the_cap(
    values: list[int], top: int, cap: int, data: st.DataObject
) -> None:
    bottom = data.draw(st.lists(st.integers(1, 2**18), min_size=len(values), max_size=len(values)))
    found = federated._scaled(np.array(values), (top, np.array(bottom)), cap)
    want = [round(v * min(Fraction(top, below), Fraction(cap))) for v, below in zip(values, bottom, strict=True)]
    assert found.tolist() == want


# --- Tampering: each check fails for its own reason, and a command that sees it fail exits with 1. ---


def changing(change: Callable[[bytes], bytes], *, client: int = 3) -> tiny.Wrapper:
    """A network that changes one client's masked input."""

    def wrap(server: Server, _: Any) -> Any:
        def network(leg: Leg, who: ClientId, up: bool, data: bytes) -> Sequence[bytes]:
            return (change(data) if leg is Leg.INPUT and up and who == client else data,)

        return network

    return wrap


def flip_bit(at: int) -> Callable[[bytes], bytes]:
    return lambda data: (
        data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if at >= 0 else flip_bit(len(data) + at)(data)
    )


def longer(data: bytes) -> bytes:
    return data + b"\0"


EXTRAS = 4 * 21
"""Bytes at the end of a masked input: the weights, level by level."""


@pytest.mark.rule("LAB-2")
@pytest.mark.parametrize("at", [-EXTRAS - 4 * tiny.LAYOUT.size, -500, -EXTRAS - 1], ids=["first", "middle", "last"])
def test_one_flipped_bit_of_a_masked_input_changes_one_of_the_sums(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny.tampered(monkeypatch, network=changing(flip_bit(at))):
        found = checks(tiny.run(rounds=1).rows)
    assert found["secure_sum_exact"] is False
    assert found["transcript_shape_equal"] is True
    assert len(found["upload_lengths"]) == 1
    assert not passed(found)


def test_one_flipped_bit_of_the_masked_weights_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        tiny.tampered(monkeypatch, network=changing(flip_bit(-1))),
        pytest.raises(ContributionError, match="AGG-2: the server, slots: the weights of the sum"),
    ):
        tiny.run(rounds=1)


@pytest.mark.parametrize(
    ("change", "security"),
    [(flip_bit(-200), SecurityLevel.HARDENED), (longer, SecurityLevel.BASIC)],
    ids=["signed", "longer"],
)
def test_a_message_that_the_server_refuses_shows_in_the_transcript(
    change: Callable[[bytes], bytes], security: SecurityLevel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sum of the others is exact; that one client hears no more of the round is what gives it away."""
    with tiny.tampered(monkeypatch, network=changing(change)):
        rows = tiny.run(rounds=1, security=security).rows
    assert rows[0].survivors == 9
    found = checks(rows)
    assert found["secure_sum_exact"] is True
    assert found["transcript_shape_equal"] is False
    assert not passed(found)


def seen_otherwise(change: Callable[[Server, ClientId, bytes], Sequence[bytes]]) -> tiny.Wrapper:
    """An observer that is told of something else than each client's masked input."""

    def wrap(server: Server, honest: Any) -> Any:
        def observe(client: ClientId, up: bool, data: bytes) -> None:
            for shown in change(server, client, data) if kind_name(data) == "MaskedInput" else (data,):
                honest(client, up, shown)

        return observe

    return wrap


def prunes(server: Server, client: ClientId) -> bool:
    """Whether it is a slow client in a round after the warm-up."""
    return server.context.round > 2 and client in tiny.config().load_fleet().stragglers


@pytest.mark.parametrize("name", ["clip", "clip-paper"])
def test_a_shorter_upload_of_those_who_prune_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if they sent their sub-model's update without padding."""
    with tiny.tampered(
        monkeypatch, observe=seen_otherwise(lambda server, u, data: (data[:-4],) if prunes(server, u) else (data,))
    ):
        rows = tiny.run(method=name, rounds=3).rows
    assert passed(checks(rows[:2]))
    (whole,) = checks(rows[:2])["upload_lengths"]
    assert rows[2].upload_bytes == f"{whole - 4} {whole}"
    found = checks(rows)
    assert found["upload_lengths"] == [whole - 4, whole]
    assert not passed(found)
    assert not passed(found | {"transcript_shape_equal": True})


def test_one_more_message_from_those_who_prune_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny.tampered(
        monkeypatch, observe=seen_otherwise(lambda server, u, data: (data, data) if prunes(server, u) else (data,))
    ):
        rows = tiny.run(rounds=3).rows
    assert passed(checks(rows[:2]))
    found = checks(rows)
    assert found["transcript_shape_equal"] is False
    assert found["secure_sum_exact"] is True
    assert len(found["upload_lengths"]) == 1
    assert not passed(found)


def test_every_check_is_of_every_round() -> None:
    good = tiny.row()
    for bad in (
        tiny.row(plain_sum="cd"),
        tiny.row(one_shape=False),
        tiny.row(upload_bytes="882"),
        tiny.row(upload_bytes=""),
    ):
        for rows in ([bad, good], [good, bad]) if bad.upload_bytes else ([bad],):
            assert not passed(checks(rows))
    assert checks([good, tiny.row(upload_bytes="9 1000")])["upload_lengths"] == [9, 883, 1000]
    assert passed(checks([good, good]))


# --- Totals ---


@pytest.mark.rule("LAB-6")
def test_totals_are_sums_and_the_bound_is_that_of_the_sums() -> None:
    rows = [
        tiny.row(round_seconds=3.0, unpruned_seconds=4.0, bound=0.25, accuracy=0.9),
        tiny.row(round=2, round_seconds=5.0, unpruned_seconds=12.0, bound=0.75, accuracy=0.6),
    ]
    found = summarise(rows)
    assert found.simulated_seconds == 8
    assert found.unpruned_seconds == 16
    # T* is 3 in the first round and 3 in the second: 1 − 6/16, where the mean of the bounds would be a half.
    assert found.bound == 1 - 6 / 16
    assert found.saved == 0.5
    assert found.final_accuracy == 0.6
    assert found.rounds == 2


@pytest.mark.rule("LAB-6")
def test_a_run_s_totals_are_those_of_its_rounds(runs: Mapping[str, Run]) -> None:
    for run in runs.values():
        found = summarise(run.rows)
        assert found.simulated_seconds == pytest.approx(run.rows[-1].total_seconds)
        assert found.rounds == 4
        assert found.final_accuracy == run.rows[-1].accuracy


@pytest.mark.rule("LAB-4")
def test_files_appear_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "file"
    federated.write_whole(path, b"first")
    assert tiny.files(tmp_path) == {"new/file": b"first"}

    def interrupted(self: Path, data: bytes) -> int:
        with self.open("wb") as half:
            half.write(data[: len(data) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            federated.write_whole(path, b"second")
    assert tiny.files(tmp_path) == {"new/file": b"first"}
    federated.write_whole(path, b"second")
    assert tiny.files(tmp_path) == {"new/file": b"second"}


@pytest.mark.rule("LAB-4")
def test_what_cannot_be_written_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "taken" / "inside").mkdir(parents=True)
    for path in (tmp_path / "file" / "below", tmp_path / "taken"):
        with pytest.raises(ClipError, match=rf"LAB-4: {path} cannot be written: \w+"):
            federated.write_whole(path, b"data")
    assert sorted(tiny.files(tmp_path)) == ["file"]
