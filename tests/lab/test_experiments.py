"""Experiments as data: every design can be run, every page drawn, and what cannot be had is refused beforehand."""

import csv
import io
import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import golden
import numpy as np
import pytest

from clip_ref.cli import LAB_NAMES, main
from clip_ref.errors import PreconditionError
from clip_ref.lab import experiments, pages, plots
from clip_ref.lab import gather as gathering
from clip_ref.lab.compare import group_of, label, rows
from clip_ref.lab.experiments import (
    CLIENTS,
    COMPARED,
    CONFIRMED,
    DECIDED_ON,
    EXPERIMENTS,
    FOLDERS,
    JUDGED,
    MEASURED_ROUNDS,
    QUICK_ROUNDS,
    SHAPES,
    TRAINED_EVERYWHERE,
    Experiment,
    Options,
)
from clip_ref.lab.federated import Clock, RunConfig, data_digest
from clip_ref.lab.findings import FINDINGS
from clip_ref.lab.gather import COLUMNS, Record, described, key_of, load
from clip_ref.sim.fleet import load_fleet
from lab import test_gather, tiny

ROOT = Path(__file__).parents[2]
QUICK = Options(quick=True)
DIGITS = Options(tasks=("digits",))


def made_up(config: RunConfig) -> Record:
    """A finished run without running it: what `config` says, and numbers that follow from its key."""
    random = np.random.default_rng(int(key_of(config), 16))
    n, prunes = config.rounds, config.method not in ("none", "exclude", "shorten")
    curve = [None if not config.trained or k % config.evaluate_every else x for k, x in enumerate(random.random(n), 1)]
    plain: dict[str, Sequence[Any]] = {
        "round_seconds": [4.0, 4.0, *(3 + random.random(n - 2)).tolist()],
        "unpruned_seconds": [4.0] * n,
        "bound": [0.25] * n,
        "accuracy": curve,
        "slow_accuracy": curve if config.partition.startswith("devices") else [None] * n,
        "survivors": [20] * n,
        "stragglers": ["1 2"] * n,
        "keep_levels": ["", "", *(["700 650" if prunes else ""] * (n - 2))],
        "pruned_neurons": [0, 0, *([9 * prunes] * (n - 2))],
        "slack_neurons": [0, 0, *([4 * prunes] * (n - 2))],
        "pruned_again": [None, None, None, *([0.5 if prunes else None] * (n - 3))],
        "upload_bytes": ["883"] * n,
    }
    return Record(
        key=key_of(config),
        config=json.loads(json.dumps(described(config))),
        fleet={},
        data="0" * 16,
        machine="a machine",
        version="1",
        cpu_seconds=3600.0,
        rounds=plain,
        checks={"secure_sum_exact": True, "transcript_shape_equal": True, "upload_lengths": [883]},
    )


def keep(records: Sequence[Record], out: Path) -> None:
    for record in records:
        path = out / pages.RUNS / f"{record.key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(attrs.asdict(record)))


# --- Designs ---


@pytest.mark.rule("EXP-7")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_design_can_be_run(name: str) -> None:
    """Its configurations are made, which refuses what cannot be run; none twice; as many seeds as were asked for."""
    experiment = EXPERIMENTS[name]
    for options, seeds in ((QUICK, 1), (DIGITS, experiment.seeds), (attrs.evolve(QUICK, seeds=2), 2)):
        configs = experiment.configs(options)
        assert len({key_of(config) for config in configs}) == len(configs)
        assert {config.task for config in configs} == {"digits"}
        fresh = {DECIDED_ON + k for k in range(1, seeds + 1)} if name == "rules" and not options.quick else set()
        assert {config.seed for config in configs if config.trained} == set(range(1, seeds + 1)) | fresh
        usual = QUICK_ROUNDS if options.quick else SHAPES["digits"][0]
        longer_and_measured = {} if options.quick else {"rules": {2 * usual}, "table": {MEASURED_ROUNDS}}
        assert {config.rounds for config in configs} == {usual} | longer_and_measured.get(name, set())
        assert {c.rounds for c in configs if c.clock is Clock.MEASURED} == (
            {MEASURED_ROUNDS} if name == "table" and not options.quick else set()
        )
        assert all(made_up(config).final_accuracy is not None for config in configs if config.trained)
    assert len(experiment.configs(QUICK)) <= 14
    assert set(experiment.tasks) <= set(FOLDERS) | {"digits"}


@pytest.mark.rule("EXP-5", "EXP-7")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_run_has_something_to_be_held_against(name: str) -> None:
    for options in (QUICK, DIGITS):
        records = [made_up(config) for config in EXPERIMENTS[name].configs(options)]
        bases = {group_of(record) for record in records if label(record) == "none"}
        assert {group_of(record) for record in records} == bases


@pytest.mark.rule("EXP-7")
def test_experiments_are_those_of_the_specification_and_of_the_command() -> None:
    text = (ROOT / "spec" / "laboratory.md").read_text("utf-8")
    told = re.findall(r"^\| `([a-z]+)` \| (.*\?) \| (.*) \|$", text, re.MULTILINE)
    assert told == [(e.name, e.question, ", ".join(f"`{task}`" for task in e.tasks)) for e in EXPERIMENTS.values()]
    assert tuple(EXPERIMENTS) == LAB_NAMES
    assert {name: experiment.name for name, experiment in EXPERIMENTS.items()} == {name: name for name in EXPERIMENTS}
    assert {
        (task, folder) for task, folder in re.findall(r"^\| `([a-z0-9]+)` \| `([a-z0-9-]+)` \|", text, re.MULTILINE)
    } == set(FOLDERS.items())


@pytest.mark.rule("EXP-7")
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (Options(), "the task mnist needs --data-dir: a directory with fashion-mnist in it; or --quick"),
        (Options(tasks=("digits", "letters")), "no task 'letters'; there are digits, cifar10, mnist"),
        (Options(quick=True, tasks=("cifar10",)), "the task cifar10 needs --data-dir: a directory with cifar-10-"),
    ],
)
def test_what_cannot_be_had_is_refused(options: Options, problem: str) -> None:
    with pytest.raises(PreconditionError, match=f"EXP-7: {problem}"):
        EXPERIMENTS["rules"].configs(options)


@pytest.mark.rule("EXP-7")
def test_data_that_are_not_there_are_named_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, data = tmp_path / "out", tmp_path / "data"
    data.mkdir()
    assert main(["lab", "rules", "--data-dir", str(data), "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert told == f"clip-ref lab: there is no {data / 'fashion-mnist'}, the data of mnist [EXP-7]\n"
    assert not out.exists()


@pytest.mark.rule("EXP-7")
def test_devices_are_as_fast_as_fits_the_task() -> None:
    """On the digits slowed down by 50, on larger tasks not at all: each fleet declares one of the two itself."""
    for name in ("network", "breaking", "churn"):
        design = EXPERIMENTS[name].design
        makers: list[Any] = [partial(SimpleNamespace, task=task) for task in ("digits", "mnist")]
        digits, mnist = ([config.fleet for config in design(make, [1], False)] for make in makers)
        for fleets, slower in ((digits, 50.0), (mnist, 1.0)):
            loaded = [load_fleet(fleet, clients=20, stragglers=4, seed=1) for fleet in set(fleets)]
            assert {client.device.slow_down for fleet in loaded for client in fleet.clients} == {slower}
        assert len(set(digits)) == len(set(mnist)) > 2
    assert {config.fleet for config in EXPERIMENTS["table"].configs(DIGITS)} == {"table+slow_down:50"}


@pytest.mark.rule("EXP-7")
def test_the_table_trains_every_method_and_times_all_of_them_for_as_many_seeds() -> None:
    configs = EXPERIMENTS["table"].configs(DIGITS)
    seeds: dict[tuple[int, str, str], list[int]] = {}
    for config in configs:
        if config.trained:
            seeds.setdefault((config.clients, config.method, config.clock.value), []).append(config.seed)
    assert seeds == {
        **{(20, name, "macs"): [1, 2, 3, 4, 5] if name in JUDGED else [1, 2, 3] for name in COMPARED},
        **{(n, name, "macs"): [1, 2] for n in (10, 50) for name in TRAINED_EVERYWHERE},
        **{(20, name, "measured"): [1, 2, 3] for name in JUDGED},
    }
    times: dict[tuple[int, str], list[int]] = {}
    for config in configs:
        if config.clock is Clock.MACS:
            times.setdefault((config.clients, config.method), []).append(config.seed)
    assert {cell: sorted(mine) for cell, mine in times.items()} == {
        (n, name): [1, 2, 3, 4, 5] if n == 20 else [1, 2, 3] for n in CLIENTS for name in COMPARED
    }


@pytest.mark.rule("EXP-7")
@pytest.mark.parametrize("task", ["cifar10", "mnist"])
def test_where_seeds_do_not_change_times_one_is_enough(task: str) -> None:
    """And the longest runs are trained once."""
    usual = {"task": task, "partition": "iid", "trained": True, "clients": 20, "seed": 1, "clock": Clock.MACS}
    make: Any = lambda **changes: SimpleNamespace(**usual | changes)  # noqa: E731
    configs: list[Any] = EXPERIMENTS["table"].design(make, [1, 2, 3, 4, 5], False)
    assert {(c.clients, c.method) for c in configs if not c.trained} == {
        (n, name) for n in (10, 50) for name in COMPARED if name not in TRAINED_EVERYWHERE
    }
    assert {c.seed for c in configs if not c.trained} == {1}
    seeds = {n: {c.seed for c in configs if c.trained and c.clients == n} for n in CLIENTS}
    assert seeds == {10: {1, 2}, 20: {1, 2, 3, 4, 5}, 50: {1} if task == "cifar10" else {1, 2}}


# --- Pages ---

SCHEMA = (
    "task",
    "clients",
    "method",
    "seed",
    "simulated_seconds",
    "bound_share",
    "final_accuracy",
    "seconds_to_target",
)
"""What each row has at least."""


@pytest.mark.rule("EXP-7", "EXP-8")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_written_and_reported(name: str, tmp_path: Path) -> None:
    experiment = EXPERIMENTS[name]
    configs = experiment.configs(attrs.evolve(DIGITS, seeds=2))
    records = [made_up(config) for config in configs]
    keep(records, tmp_path / "out")
    found = pages.write(experiment, records, options=QUICK, out=tmp_path / "out")
    where = tmp_path / "out" / name
    about = json.loads((where / "rows.json").read_text())
    assert about["rows"] == found == rows(records)
    assert set(SCHEMA) <= set(found[0])
    assert [row["run"] for row in found] == [key_of(config) for config in configs]
    assert (about["experiment"], about["machines"], about["versions"]) == (name, ["a machine"], ["1"])
    assert about["data"] == {"digits": ["0" * 16]}
    read = list(csv.DictReader(io.StringIO((where / "rows.csv").read_text())))
    assert list(read[0]) == list(found[0])
    assert [row["simulated_seconds"] for row in read] == [str(row["simulated_seconds"]) for row in found]
    page = (where / "page.md").read_text()
    assert page.startswith(f"## {experiment.title}\n\n{experiment.question}\n\n")
    assert (
        f"`clip-ref lab {name} --quick`, {len(records)}.0 hours of one processor in all (a machine); clip-ref 1."
        in page
    )
    for method in {row["method"] for row in found}:
        assert f"| `{method}` | " in page
    shown = re.findall(r"!\[.+\]\((.+)\)", page)
    assert sorted(shown) == sorted(path.name for path in where.glob("*.png"))
    for picture in shown:
        assert (where / picture).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")

    before = tiny.files(tmp_path / "out")
    assert pages.report(out=tmp_path / "out", site=tmp_path / "site") == [name]
    assert tiny.files(tmp_path / "out") == before
    told = (tmp_path / "site" / "results.md").read_text()
    assert told.startswith("# Results\n")
    assert told.endswith(page.replace("](", f"](results/{name}/") if shown else page)
    pictures = tiny.files(tmp_path / "site" / "results") if shown else {}
    assert pictures == {f"{name}/{picture}": (where / picture).read_bytes() for picture in shown}


@pytest.mark.rule("EXP-5", "EXP-6")
def test_the_table_says_whether_clip_does_what_was_hoped() -> None:
    """At the limits and beyond them; what the bound does not allow, or is not of the counting clock, is not judged."""
    found = rows([made_up(c) for c in EXPERIMENTS["table"].configs(DIGITS) if c.clients == 20])
    for row in found:
        row.update({"final_accuracy": 0.5, "pruned_rounds_bound_share": 0.95, "pruned_rounds_cut": 0.3, "bound": 0.25})
        row["to_target_shorter"] = 0.2
        if row["clock"] == Clock.MEASURED:
            row.update({"pruned_rounds_bound_share": 0.1, "final_accuracy": 0.1, "to_target_shorter": 0.1})

    def asked(**changes: float) -> list[str]:
        changed = [row | changes if row["method"] == "clip" and row["clock"] == Clock.MACS else row for row in found]
        told = EXPERIMENTS["table"].read(changed)[-1].splitlines()[-1]
        return [cell.strip() for cell in told.strip("|").split("|")]

    assert asked() == ["`digits`, 20", "30.0 ± 0.0", "yes, 95.0 ± 0.0", "yes, +0.00 ± 0.00", "yes, 20.0 ± 0.0"]
    assert asked(pruned_rounds_bound_share=0.949)[2] == "no, 94.9 ± 0.0"
    assert asked(to_target_shorter=0.199)[4] == "no, 19.9 ± 0.0"
    assert asked(to_target_shorter=0.199, bound=0.19)[4] == "cannot be, 19.9 ± 0.0"
    assert asked(final_accuracy=0.4951)[3] == "yes, -0.49 ± 0.00"
    assert asked(final_accuracy=0.494)[3] == "no, -0.60 ± 0.00"
    for at, row in enumerate(row for row in found if row["method"] == "clip" and row["clock"] == Clock.MACS):
        row["final_accuracy"] = 0.5 + (-0.02, 0.02)[at % 2]  # the mean is kept, the interval is not
    assert asked()[3] == "no, -0.40 ± 2.72"
    found = [row for row in found if row["seed"] <= 2]
    assert asked()[2:] == ["open, 95.0 ± 0.0", "open, +0.00 ± 25.41", "open, 20.0 ± 0.0"]
    found = [row for row in found if row["seed"] == 1]
    assert asked()[2:] == ["open, 95.0", "open, -2.00", "open, 20.0"]


@pytest.mark.rule("EXP-5", "EXP-6")
def test_a_target_that_is_never_reached_counts() -> None:
    found = rows([made_up(c) for c in EXPERIMENTS["table"].configs(DIGITS) if c.clients == 20])
    clip = [row for row in found if row["method"] == "clip" and row["clock"] == Clock.MACS]
    for row in clip:
        row.update({"seconds_to_target": 9.0, "to_target_shorter": 0.25, "bound": 0.25})
    clip[3].update({"seconds_to_target": None, "to_target_shorter": None})
    told = EXPERIMENTS["table"].read(found)
    assert told[-1].splitlines()[-1].endswith("| no, 1 of 5 never |")
    assert any(re.search(r"^\| `clip` .* \| 25.0 ± 0.0 \(1 never\) \|$", block, re.MULTILINE) for block in told)
    clip[3]["trained"] = False  # had for its times alone
    assert EXPERIMENTS["table"].read(found)[-1].splitlines()[-1].endswith("| yes, 25.0 ± 0.0 |")


@pytest.mark.rule("EXP-5", "EXP-6", "EXP-7")
def test_what_was_decided_with_is_told_apart_from_what_was_not() -> None:
    """As many seeds again, of what was chosen and its rivals; each part has its own tables and verdicts."""
    configs = EXPERIMENTS["rules"].configs(DIGITS)
    fresh = [config for config in configs if config.seed > DECIDED_ON]
    assert {config.seed for config in fresh} == set(range(DECIDED_ON + 1, 2 * DECIDED_ON + 1))
    assert {config.method for config in fresh} == set(CONFIRMED)
    assert {config.rounds for config in fresh} == {SHAPES["digits"][0]}
    found = rows([made_up(config) for config in configs])
    told = EXPERIMENTS["rules"].read(found)
    at = next(k for k, block in enumerate(told) if "run once, after everything was decided" in block)
    assert "clip-levels" in "".join(told[:at])
    assert "clip-levels" not in "".join(told[at:])
    assert "run once, after" not in "".join(EXPERIMENTS["rules"].read([row for row in found if row["seed"] == 1]))


@pytest.mark.rule("EXP-6")
@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([0.01, 0.02, 0.03], "level with random +2.0 ± 2.5"),  # 0.02 - 4.303 · 0.01/√3 is below zero
        ([0.01, 0.011, 0.012], "ahead of random +1.1 ± 0.2"),
        ([-0.01, -0.011, -0.012], "behind random -1.1 ± 0.2"),
        ([0.01, 0.011], "open: random +1.1 ± 0.6"),
    ],
)
def test_a_rule_is_ahead_if_its_whole_interval_is(gains: list[float], said: str) -> None:
    found = [
        {"method": name, "seed": seed, "budget_accuracy": 0.5 + gain * (name == "clip")}
        for seed, gain in enumerate(gains)
        for name in ("random", "clip")
    ]
    assert experiments._against(found, "budget_accuracy", "clip") == said
    assert experiments._against(found[::2], "budget_accuracy", "clip") == "–"


# --- Plots ---


def test_bars_are_of_one_run_a_seed() -> None:
    """Runs of other lengths are not of the same group, and would count as seeds if they were put there."""
    found = rows([made_up(config) for config in EXPERIMENTS["rules"].configs(DIGITS)])
    draw = experiments._bars("difference", "to none", "partition")
    with pytest.raises(AssertionError):
        draw(found, {})
    assert list(draw([row for row in found if experiments._first_of_rules(row)], {})) == ["digits-difference.png"]


def test_curves_are_of_the_seeds_that_all_methods_have(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [made_up(c) for c in EXPERIMENTS["table"].configs(DIGITS) if c.clients == 20 and c.clock is Clock.MACS]
    drawn: list[tuple[dict[str, Any], str]] = []

    def draw(lines: dict[str, Any], *, across: str, up: str) -> bytes:
        drawn.append((lines, up))
        return b""

    monkeypatch.setattr(plots, "lines", draw)
    experiments._curves(rows(records), {record.key: record for record in records})
    [(lines, up)] = drawn
    assert up == "accuracy, %, mean of 3 seeds"
    mine = [r for r in records if r.config["method"] == "none" and r.config["seed"] <= 3]
    last = [record.rounds["accuracy"][-1] for record in mine]
    assert lines["none"][-1][1] == pytest.approx(sum(last) / 3)
    assert list(lines) == list(COMPARED)


def test_what_all_names_share_is_left_out() -> None:
    words = experiments._without_common
    assert words(["table+slow_down:50", "table+slow_down:50+churn:0.1"]) == ["table", "table\n+churn:0.1"]
    assert words(["cpu1v4", "table+liars:0.1x3"]) == ["cpu1v4", "table\n+liars:0.1x3"]
    assert words(["table+slow_down:50"]) == ["table\n+slow_down:50"]


@pytest.mark.rule("EXP-8")
def test_findings_stand_on_the_page_of_full_runs_and_have_no_numbers_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment = EXPERIMENTS["threshold"]
    configs = experiment.configs(QUICK)
    monkeypatch.setitem(FINDINGS, "threshold", "What it showed.")
    about = {"quick": False, "designed": {}, "machines": [], "versions": [], "cpu_seconds": 0}
    about["rows"] = rows([made_up(config) for config in configs])
    assert experiment.findings == "What it showed."
    for designed, said in ((6, True), (7, False)):
        of = about | {"designed": {"digits": designed, "shakespeare": 0}}
        page = pages.page(experiment, of, [], findings=experiment.findings)
        assert ("\n\nWhat it showed.\n\n" in page) is said
        assert "What it showed." not in pages.page(experiment, of, [])
    for each in EXPERIMENTS.values():
        assert not re.search(r"\d", re.sub(r"`[^`]*`|\[[A-Z]+-\d+\]\([^)]*\)", "", each.findings)), each.name


@pytest.mark.rule("EXP-8")
def test_the_results_page_is_computed_from_runs_and_not_from_rows(tmp_path: Path) -> None:
    experiment = EXPERIMENTS["threshold"]
    records = [made_up(config) for config in experiment.configs(QUICK)]
    keep(records, tmp_path)
    pages.write(experiment, records, options=QUICK, out=tmp_path)
    pages.report(out=tmp_path, site=tmp_path / "one")
    path = tmp_path / "threshold" / "rows.json"
    about = json.loads(path.read_text())
    for row in about["rows"]:
        row["final_accuracy"] = 1.0
    path.write_text(json.dumps(about))
    pages.report(out=tmp_path, site=tmp_path / "two")
    assert tiny.files(tmp_path / "one") == tiny.files(tmp_path / "two")
    (tmp_path / pages.RUNS / f"{records[0].key}.json").unlink()
    with pytest.raises(PreconditionError, match=f"EXP-2: .*{records[0].key}.json is no finished run"):
        pages.report(out=tmp_path, site=tmp_path / "three")


@pytest.mark.rule("EXP-8")
def test_the_results_page_has_experiments_in_their_order(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match=r"EXP-8: no experiment in .*: run `clip-ref lab NAME --out"):
        pages.report(out=tmp_path, site=tmp_path / "site")
    assert not (tmp_path / "site").exists()
    for name in ("feedback", "threshold"):
        records = [made_up(config) for config in EXPERIMENTS[name].configs(QUICK)]
        keep(records, tmp_path)
        pages.write(EXPERIMENTS[name], records, options=QUICK, out=tmp_path)
    assert pages.report(out=tmp_path, site=tmp_path / "site") == ["threshold", "feedback"]
    text = (tmp_path / "site" / "results.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["The threshold", "The feedback loop"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_page_of_what_is_finished_so_far(name: str, tmp_path: Path) -> None:
    """Nothing, and the first run alone."""
    configs = EXPERIMENTS[name].configs(QUICK)
    assert pages.write(EXPERIMENTS[name], [], options=QUICK, out=tmp_path) == []
    assert (tmp_path / name / "rows.csv").read_text() == ""
    assert len(pages.write(EXPERIMENTS[name], [made_up(configs[0])], options=QUICK, out=tmp_path)) == 1


@pytest.mark.rule("EXP-7")
def test_what_an_earlier_sitting_wrote_of_other_tasks_stays(tmp_path: Path) -> None:
    """Two tasks, one after the other; then the first again, of which half is finished."""
    experiment = EXPERIMENTS["threshold"]
    configs = experiment.configs(QUICK)
    other = [attrs.evolve(config, seed=7) for config in configs]  # stands for another task's
    records = {"digits": [made_up(config) for config in configs], "other": [made_up(config) for config in other]}
    for record in records["other"]:
        record.config["task"] = "mnist"  # type: ignore[index]
    renamed = [attrs.evolve(record, key=pages.RUNS + str(k)) for k, record in enumerate(records["other"])]
    keep(records["digits"], tmp_path)
    pages.write(experiment, records["digits"], options=QUICK, out=tmp_path)
    (tmp_path / "fashion-mnist").mkdir()
    mnist = attrs.evolve(QUICK, tasks=("mnist",), data_dir=tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments, "_maker", lambda task, data, quick: partial(SimpleNamespace, task=task))
        found = pages.write(experiment, renamed, options=mnist, out=tmp_path)
    assert [row["task"] for row in found] == ["digits"] * len(configs) + ["mnist"] * len(renamed)
    assert "Not all of it" not in (tmp_path / "threshold" / pages.PAGE).read_text()
    assert "Had by* `clip-ref lab threshold --quick`, 12.0 hours" in (tmp_path / "threshold" / pages.PAGE).read_text()
    for seeds in (1, 3, None):  # however many were asked for, it is held against all
        asked = attrs.evolve(DIGITS, seeds=seeds, tasks=("digits", "digits"))
        assert len(pages.write(experiment, records["digits"][:1], options=asked, out=tmp_path)) == 1
        text = (tmp_path / "threshold" / pages.PAGE).read_text()
        assert "Not all of it has been run yet: 1 of 18 runs on `digits`, 0 of the runs on `shakespeare`." in text
        assert ("*Had by* `clip-ref lab threshold --data-dir DIR`" in text) == ("mnist" in text)


WRITTEN: dict[str, Any] = {
    "quick": True,
    "designed": {},
    "machines": [],
    "versions": [],
    "cpu_seconds": 1,
    "rows": [],
}
"""What a page is made of."""


@pytest.mark.rule("EXP-8")
@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        '{"quick": true, "designed": {}}',
        '{"quick": true, "designed": [], "rows": []}',
        '{"rows": [{"run": 1}]}',
        *(json.dumps({name: WRITTEN[name] for name in WRITTEN if name != gone}) for gone in WRITTEN),
        *(json.dumps(WRITTEN | {name: "other"}) for name in WRITTEN),
    ],
)
def test_damaged_rows_are_refused_before_anything_runs(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "threshold" / "rows.json"
    path.parent.mkdir()
    path.write_text(damage)
    assert main(["lab", "threshold", "--quick", "--out", str(tmp_path)]) == 2
    assert re.fullmatch(rf"clip-ref lab: {path} is .*; remove it and ask again \[EXP-8\]\n", capsys.readouterr().err)
    assert not (tmp_path / pages.RUNS).exists()
    with pytest.raises(PreconditionError, match=r"EXP-8: .*rows.json is .*; remove it"):
        pages.report(out=tmp_path, site=tmp_path / "site")


# --- The command ---


def small(make: Any, seeds: Sequence[int], quick: bool) -> list[RunConfig]:
    return [tiny.config(method=name, rounds=3, seed=seed) for seed in seeds for name in ("none", "clip")]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """`clip-ref lab threshold` is a small experiment whose training is make-believe."""
    experiment = attrs.evolve(EXPERIMENTS["threshold"], design=small)
    monkeypatch.setitem(EXPERIMENTS, "threshold", experiment)
    monkeypatch.setattr(gathering, "_work", test_gather.work)
    return experiment


@pytest.mark.rule("EXP-2", "EXP-7", "EXP-8")
def test_the_command_runs_writes_and_reports(
    command: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, site = tmp_path / "out", tmp_path / "site"
    asked = ["lab", "threshold", "--quick", "--out", str(out)]
    assert main(asked) == 0
    said, told = capsys.readouterr()
    assert said == f"2 of 2 runs; written: {out}/threshold/page.md, rows.json, rows.csv and plots\n"
    assert len(told.splitlines()) == 6
    assert told.splitlines()[-1].startswith("lab threshold: 6/6 ")
    records = [load(path) for path in sorted((out / "runs").glob("*.json"))]
    assert {record.config["method"] for record in records} == {"none", "clip"}
    assert {len(record.rounds[name]) for record in records for name in COLUMNS} == {3}
    monkeypatch.setattr(gathering, "_work", test_gather.dies)
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in found] == ["none", "clip"]
    assert all(row["checks"] for row in found)
    assert main(["lab", "report", "--out", str(out), "--site", str(site), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"experiments": ["threshold"], "page": str(site / "results.md")}
    monkeypatch.setattr(gathering, "_work", test_gather.waits)
    hasty = SimpleNamespace(monotonic=iter(range(0, 10**6, 61)).__next__)
    monkeypatch.setattr("clip_ref.lab.gather.time", hasty)
    assert main([*asked, "--seeds", "2", "--minutes", "1"]) == 0
    assert capsys.readouterr().out.startswith("2 of 4 runs; ")
    real = pages.write  # with what an earlier sitting wrote of another task: that is not of what was asked for
    monkeypatch.setattr(pages, "write", lambda *some, **more: [{"checks": True}, *real(*some, **more)])
    assert main(asked) == 0
    assert capsys.readouterr().out.startswith("2 of 2 runs; ")


@pytest.mark.rule("LAB-3")
def test_the_command_fails_if_a_check_did(
    command: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = command.configs(QUICK)
    good = attrs.evolve(made_up(configs[0]), data=data_digest(configs[0]))
    bad = attrs.evolve(made_up(configs[1]), data=good.data, checks={**good.checks, "secure_sum_exact": False})
    keep([good, bad], tmp_path)
    assert main(["lab", "threshold", "--quick", "--out", str(tmp_path), "--quiet"]) == 1
    assert "LAB-3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["tables"], [], ["table", "--seeds", "0"], ["table", "--workers", "x"], ["table", "--minutes", "0"]]
)
def test_what_the_command_does_not_know_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["lab", *wrong])
    assert caught.value.code == 2


# --- What is kept ---


@pytest.mark.rule("EXP-4", "EXP-7")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_summary_is_kept_of_every_experiment(name: str) -> None:
    """Of just the runs that it is made of; and whoever was not trained took what the trained one did."""
    kept = json.loads((golden.GOLDEN / f"{name}.json").read_text())
    found = golden.summary(rows([made_up(config) for config in EXPERIMENTS[name].configs(QUICK)]))
    assert [row["run"] for row in kept["rows"]] == [row["run"] for row in found["rows"]]
    assert all(row["clock"]["checks"] for row in kept["rows"])
    clocks: dict[str, Any] = {}
    for row in kept["rows"]:
        who = json.dumps({**row["run"], "trained": None})
        assert clocks.setdefault(who, row["clock"]) == row["clock"]
        assert (row["accuracy"]["final_accuracy"] is None) != row["run"]["trained"]


def test_summaries_are_held_against_each_other() -> None:
    kept = golden.summary(rows([made_up(config) for config in EXPERIMENTS["rules"].configs(QUICK)]))
    assert golden.differences(kept=kept, found=kept) == []

    def changed(kind: str, name: str, value: Any) -> list[str]:
        found = json.loads(json.dumps(kept))
        found["rows"][3][kind][name] = value
        return golden.differences(kept=kept, found=found)

    row = kept["rows"][3]
    assert row["run"]["method"] == "ordered"
    (told,) = changed("clock", "simulated_seconds", row["clock"]["simulated_seconds"] + 1e-6)
    assert "method=ordered" in told
    assert "simulated_seconds" in told
    for name in golden.ACCURACIES:
        assert changed("accuracy", name, row["accuracy"][name] + 0.02) == []
        assert len(changed("accuracy", name, row["accuracy"][name] + 0.04)) == 1
        assert len(changed("accuracy", name, None)) == 1
    assert changed("run", "seed", 2) == ["its runs are not those that are kept"]
    fewer = {**kept, "rows": kept["rows"][1:]}
    assert golden.differences(kept=kept, found=fewer) == ["its runs are not those that are kept"]
