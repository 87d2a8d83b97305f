"""Rows against numbers worked out by hand, and intervals against the tables of Student's t."""

import math
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from clip_ref.lab.compare import by, estimate, group_of, in_order, label, paired, percent, rows, table
from clip_ref.lab.gather import Record
from clip_ref.lab.methods import METHODS
from lab import tiny


def record(
    method: str = "none", *, seconds: Sequence[float] = (4.0, 4.0, 4.0, 4.0), data: str = "d", **changes: Any
) -> Record:
    """Four rounds on a fleet whose unpruned ones take 4 s, of which a quarter could be saved; columns or fields changed."""
    config = tiny.config(method=method, rounds=4).as_dict()
    config |= {k: changes.pop(k) for k in list(changes) if k in config}
    plain: dict[str, Sequence[Any]] = {
        "round_seconds": seconds,
        "unpruned_seconds": [4.0] * 4,
        "bound": [0.25] * 4,
        "accuracy": [0.5, 0.6, 0.7, 0.8],
        "slow_accuracy": [None] * 4,
        "survivors": [10] * 4,
        "stragglers": [""] * 4,
        "keep_levels": [""] * 4,
        "pruned_neurons": [0] * 4,
        "slack_neurons": [0] * 4,
        "pruned_again": [None] * 4,
        "upload_bytes": ["883"] * 4,
    }
    return Record(
        key=f"{method} {config['seed']}",
        config=config,
        fleet={},
        data=data,
        machine="",
        version="",
        cpu_seconds=1.0,
        rounds=plain | changes,
        checks={"secure_sum_exact": True, "transcript_shape_equal": True, "upload_lengths": [883]},
    )


def pruned(**changes: Any) -> Record:
    """The last two rounds are shorter: 3.5 and 3 s."""
    plain: dict[str, Any] = {
        "seconds": (4.0, 4.0, 3.5, 3.0),
        "accuracy": [0.4, 0.5, 0.65, 0.8],
        "keep_levels": ["", "", "850 700", "700 700"],
        "pruned_neurons": [0, 0, 4, 6],
        "slack_neurons": [0, 0, 1, 3],
        "pruned_again": [None, None, None, 0.5],
    }
    return record("clip", **plain | changes)


@pytest.mark.rule("EXP-5")
def test_a_row_worked_out_by_hand() -> None:
    none, clip = rows([record(), pruned()])
    assert clip["simulated_seconds"] == 14.5
    assert clip["shorter"] == pytest.approx(1.5 / 16)
    assert clip["bound"] == pytest.approx(0.25)
    assert clip["bound_share"] == pytest.approx(1.5 / 16 / 0.25)
    assert clip["pruned_rounds_cut"] == pytest.approx(1.5 / 8)
    assert clip["pruned_rounds_bound_share"] == pytest.approx(0.75)
    assert clip["smallest_keep"] == 700
    assert clip["final_accuracy"] == pytest.approx(0.65)  # (0.5 + 0.65 + 0.8)/3
    assert clip["difference"] == pytest.approx(-0.05)
    assert clip["budget_seconds"] == none["budget_seconds"] == 14.5
    assert clip["budget_accuracy"] == pytest.approx(0.65)
    assert none["budget_accuracy"] == pytest.approx(0.6)  # the fourth round would be too late
    assert clip["target"] == none["target"] == pytest.approx(0.95 * 0.7)
    assert clip["seconds_to_target"] == 14.5
    assert none["seconds_to_target"] == 12.0
    assert clip["to_target_shorter"] == pytest.approx(1 - 14.5 / 12)
    assert (clip["pruned_neurons"], clip["slack_neurons"], clip["pruned_again"]) == (2.5, 1.0, 0.5)
    assert clip["checks"]
    assert clip["run"] == "clip 1"
    assert (none["shorter"], none["bound_share"], none["difference"], none["pruned_rounds_cut"]) == (0, 0, 0, None)
    assert none["smallest_keep"] == 1000


@pytest.mark.rule("EXP-5")
def test_the_bound_weighs_rounds_by_what_they_take() -> None:
    base = record(unpruned_seconds=[1.0, 1.0, 1.0, 5.0], bound=[0.0, 0.0, 0.0, 0.4], seconds=(1.0, 1.0, 1.0, 5.0))
    clip = pruned(unpruned_seconds=[1.0, 1.0, 1.0, 5.0], bound=[0.0, 0.0, 0.0, 0.4], seconds=(1.0, 1.0, 1.0, 4.0))
    row = rows([base, clip])[1]
    assert row["bound"] == pytest.approx(2 / 8)
    assert row["bound_share"] == pytest.approx(0.5)
    assert row["pruned_rounds_bound_share"] == pytest.approx((1 / 6) / (2 / 6))


@pytest.mark.rule("EXP-5")
def test_who_is_left_out_does_not_shorten_what_is_saved() -> None:
    """Rounds without the slow would be shorter unpruned, too: what is saved is a share of what everybody's would take."""
    none, exclude = rows([record(), record("exclude", seconds=(3.0,) * 4, unpruned_seconds=[3.0] * 4, bound=[0.0] * 4)])
    assert exclude["shorter"] == pytest.approx(0.25)
    assert exclude["bound"] == none["bound"] == pytest.approx(0.25)
    assert exclude["bound_share"] == pytest.approx(1.0)


@pytest.mark.rule("EXP-5")
def test_a_target_is_reached_at_it_and_a_budget_spent_to_its_end() -> None:
    run = record()
    assert run.seconds_to(0.7) == 12.0
    assert run.seconds_to(0.7 + 1e-12) == 16.0
    assert run.accuracy_at(12.0) == pytest.approx(0.6)
    assert run.accuracy_at(11.9) == pytest.approx(0.55)
    assert run.accuracy_at(3.9) is None


@pytest.mark.rule("EXP-5")
def test_slow_classes_have_figures_of_their_own() -> None:
    none, clip = rows(
        [record(slow_accuracy=[0.1, 0.2, 0.3, 0.4]), pruned(slow_accuracy=[0.1, 0.1, 0.2, 0.3], accuracy=[0.9] * 4)]
    )
    assert none["slow_accuracy"] == pytest.approx(0.3)
    assert clip["slow_accuracy"] == pytest.approx(0.2)
    assert clip["slow_difference"] == pytest.approx(-0.1)
    assert none["budget_slow_accuracy"] == pytest.approx(0.2)


@pytest.mark.rule("EXP-5")
def test_a_target_that_is_not_reached_and_rounds_that_were_not_evaluated() -> None:
    none, clip = rows([record(accuracy=[None, 0.6, None, 0.8]), pruned(accuracy=[None, 0.3, None, 0.4])])
    assert none["final_accuracy"] == pytest.approx(0.7)
    assert none["seconds_to_target"] == 16.0
    assert clip["seconds_to_target"] is None
    assert clip["to_target_shorter"] is None
    assert clip["budget_accuracy"] == pytest.approx(0.35)


@pytest.mark.rule("EXP-5")
@pytest.mark.parametrize(
    "changes", [{"seed": 2}, {"fleet": "paper"}, {"partition": "iid"}, {"clients": 20}, {"rounds": 5}, {"data": "e"}]
)
def test_runs_that_differ_in_more_than_the_method_are_not_compared(changes: dict[str, Any]) -> None:
    other = pruned(**changes)
    assert group_of(other) != group_of(record())
    row = rows([record(), other])[1]
    for name in ("shorter", "bound_share", "difference", "target", "seconds_to_target", "to_target_shorter"):
        assert row[name] is None
    assert row["pruned_rounds_cut"] is not None
    assert row["budget_seconds"] == 14.5


@pytest.mark.rule("EXP-4", "EXP-5")
def test_a_run_had_for_its_times_is_held_against_a_trained_one() -> None:
    """And not the other way round: of two `none`, the trained one counts."""
    untrained: dict[str, Any] = {"trained": False, "accuracy": [None] * 4}
    found = rows([record(**untrained), record(), pruned(**untrained), pruned(), record("random", seconds=(2.0,) * 4)])
    assert [row["shorter"] for row in found] == pytest.approx([0, 0, 1.5 / 16, 1.5 / 16, 0.5])
    assert [row["difference"] is None for row in found] == [True, False, True, False, False]
    assert found[3]["target"] == pytest.approx(0.95 * 0.7)
    assert {row["budget_seconds"] for row in found} == {8.0}


def test_a_method_is_called_by_what_was_changed_of_it() -> None:
    changed = pruned(changes=[["mean", "dilute"], ["age_cap", 4]])
    assert label(changed) == "clip mean=dilute age_cap=4"
    assert group_of(changed) == group_of(record())
    names = ["clip", "none", "clip mean=dilute age_cap=4", "random", "clip age_cap=2"]
    assert in_order(names) == ["none", "random", "clip", "clip age_cap=2", "clip mean=dilute age_cap=4"]
    assert in_order(["clip threshold=1000", "clip threshold=500"]) == ["clip threshold=500", "clip threshold=1000"]
    assert in_order(METHODS) == list(METHODS)


def test_a_failed_check_shows_in_its_row() -> None:
    good = record()
    for name in ("secure_sum_exact", "transcript_shape_equal"):
        assert not rows([attrs.evolve(good, checks={**good.checks, name: False})])[0]["checks"]
    assert rows([good])[0]["checks"]
    two = {**good.checks, "upload_lengths": [500, 883]}
    assert not rows([attrs.evolve(good, checks=two)])[0]["checks"]
    for every, fine in ((4, True), (5, False)):
        elided = {**good.config, "elide": 500, "full_every": every}
        assert rows([attrs.evolve(good, config=elided, checks=two)])[0]["checks"] is fine


@pytest.mark.rule("EXP-6")
@pytest.mark.parametrize(
    ("values", "mean", "half"),
    [
        # the 97.5 % quantiles of Student's t with 1, 2, 4 and 9 degrees of freedom: 12.706, 4.303, 2.776, 2.262
        ([1.0, 3.0], 2.0, 12.706 * math.sqrt(2) / math.sqrt(2)),
        ([1.0, 2.0, 3.0], 2.0, 4.303 * 1 / math.sqrt(3)),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 3.0, 2.776 * math.sqrt(2.5) / math.sqrt(5)),
        ([0.0, 1.0] * 5, 0.5, 2.262 * math.sqrt(2.5 / 9) / math.sqrt(10)),
        ([7.0] * 4, 7.0, 0.0),
    ],
)
def test_intervals_are_student_s(values: list[float], mean: float, half: float) -> None:
    found = estimate([None, *values])
    assert found is not None
    assert found.mean == pytest.approx(mean)
    assert found.half == pytest.approx(half, rel=2e-4)
    assert (found.low, found.high) == (found.mean - found.half, found.mean + found.half)
    assert found.count == len(values)


@pytest.mark.rule("EXP-6")
def test_a_single_seed_has_no_interval_and_none_no_mean() -> None:
    found = estimate([0.25])
    assert found is not None
    assert (found.mean, found.half, found.count) == (0.25, math.inf, 1)
    assert estimate([]) is None
    assert estimate([None]) is None
    assert percent(found) == "25.0"
    assert percent(estimate([0.2, 0.3])) == "25.0 ± 63.5"
    assert percent(0.0123, signed=True, digits=2) == "+1.23"
    assert percent(None) == "–"


@pytest.mark.rule("EXP-6")
def test_a_difference_is_taken_seed_by_seed() -> None:
    """Seeds differ much and methods little: pairs tell them apart."""
    accuracies = {"none": {1: 0.5, 2: 0.7, 3: 0.9}, "clip": {1: 0.51, 2: 0.71, 3: 0.91, 4: 0.1}}
    found = [
        {"method": name, "seed": seed, "accuracy": value}
        for name, of in accuracies.items()
        for seed, value in of.items()
    ]
    gain = paired(found, "accuracy", "clip", "none")
    assert gain is not None
    assert gain.mean == pytest.approx(0.01)
    assert gain.count == 3
    assert gain.half == pytest.approx(0, abs=1e-9)
    assert paired(found, "accuracy", "clip", "random") is None
    assert paired([{**row, "accuracy": None} for row in found], "accuracy", "clip", "none") is None


def test_rows_are_put_together_in_their_order() -> None:
    found = [{"a": 1, "b": 2}, {"a": 2, "b": 2}, {"a": 1, "b": 3}]
    assert by(found, "a") == {(1,): [found[0], found[2]], (2,): [found[1]]}
    assert list(by(found, "b", "a")) == [(2, 1), (2, 2), (3, 1)]
    assert table(["x", "y"], [["1", "2"]]) == "| x | y |\n|---|---|\n| 1 | 2 |"
