"""What is committed of the laboratory: runs that today's code would name the same, and a page that is made of them."""

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from clip_ref.lab import pages, plots
from clip_ref.lab.experiments import EXPERIMENTS, Options
from clip_ref.lab.federated import Clock, RunConfig, lengths_of, passed
from clip_ref.lab.gather import Record, described, key_of, load, perform
from clip_ref.params import SecurityLevel

ROOT = Path(__file__).parents[2]
LAB = ROOT / "benchmarks" / "lab"
RECORDS = {path.stem: load(path) for path in sorted((LAB / pages.RUNS).glob("*.json"))}


def config_of(record: Record) -> RunConfig:
    """Its configuration, whether its data are here or not."""
    kinds: dict[str, Any] = {"clock": Clock, "security": SecurityLevel, "changes": lambda all: tuple(map(tuple, all))}
    config = object.__new__(RunConfig)
    for field in attrs.fields(RunConfig):
        value = record.config.get(field.name, field.default)
        object.__setattr__(config, field.name, kinds.get(field.name, lambda same: same)(value))
    return config


@pytest.mark.rule("EXP-1", "EXP-2")
def test_every_run_is_named_by_what_today_s_code_says_it_is() -> None:
    """Its method's policy, its task's training and its fleet are those of today; else it could not be had again."""
    assert RECORDS
    for key, record in RECORDS.items():
        config = config_of(record)
        assert json.loads(json.dumps(described(config))) == record.config, key
        assert key_of(config) == key
        lengths = lengths_of(elide=config.elide, full_every=config.full_every, rounds=config.rounds)
        assert passed(record.checks, lengths=lengths), key


@pytest.mark.rule("EXP-7")
def test_every_run_is_of_an_experiment() -> None:
    told = {row["run"] for path in LAB.glob("*/rows.json") for row in json.loads(path.read_text("utf-8"))["rows"]}
    assert told == set(RECORDS)


@pytest.mark.rule("EXP-7")
@pytest.mark.parametrize("name", [name for name, experiment in EXPERIMENTS.items() if "digits" in experiment.tasks])
def test_what_is_designed_on_the_data_that_ship_is_there(name: str) -> None:
    assert {key_of(config) for config in EXPERIMENTS[name].configs(Options(tasks=("digits",)))} <= set(RECORDS)


@pytest.mark.rule("EXP-1", "EXP-4")
@pytest.mark.parametrize("method", ["clip", "clip-gaps"])
def test_a_run_that_is_had_again_takes_as_long(method: str, tmp_path: Path) -> None:
    """Under churn, with jitter, on the data that ship: nobody trains, for times do not depend on it."""
    record = next(r for r in RECORDS.values() if r.config["method"] == method and "churn:0.3" in r.config["fleet"])
    config = attrs.evolve(config_of(record), trained=False)
    again = perform(config, runs=tmp_path, report=lambda row: None)
    for column in ("round_seconds", "unpruned_seconds", "bound", "stragglers", "keep_levels", "upload_bytes"):
        assert again.rounds[column] == record.rounds[column], column


@pytest.mark.rule("EXP-8")
def test_the_results_page_is_what_the_runs_come_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text: pictures depend on the fonts that there are."""
    for draw in ("bars", "lines"):
        monkeypatch.setattr(plots, draw, lambda *some, **more: b"")
    pages.report(out=LAB, site=tmp_path)
    assert (tmp_path / "results.md").read_text("utf-8") == (ROOT / "spec" / "results.md").read_text("utf-8")
    drawn = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")}
    assert drawn == {path.relative_to(ROOT / "spec") for path in (ROOT / "spec" / "results").rglob("*.png")}
