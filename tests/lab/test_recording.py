"""A training run that is recorded: what the audit finds is what the run says of itself."""

import csv
import json
from pathlib import Path

import pytest

from clip_ref.audit import audit
from clip_ref.cli import main
from clip_ref.identities import beside, load_directory
from clip_ref.keys import NO_IDENTITIES
from clip_ref.lab import training
from lab import tiny

TRAIN = [
    "train",
    "--clients",
    str(tiny.CLIENTS),
    "--stragglers",
    str(tiny.STRAGGLERS),
    "--fleet",
    tiny.FLEET,
    "--quiet",
]


def record(path: Path, out: Path, rounds: int, *more: str) -> int:
    return main([*TRAIN, "--rounds", str(rounds), "--out", str(out), "--transcript", str(path), *more])


@pytest.fixture(autouse=True)
def make_believe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "Pool", tiny.TinyPool)


@pytest.mark.rule("TRA-3", "AUD-1", "AUD-11")
def test_sums_and_identities_are_those_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run"
    assert record(path, tmp_path / "out", 4) == 0
    assert capsys.readouterr().out == ""
    assert main(["audit", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    with (tmp_path / "out" / "rounds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["sum_digest"] for r in found["rounds"]] == [row["plain_sum"] for row in rows]
    assert [len(r["u3"]) for r in found["rounds"]] == [tiny.CLIENTS] * 4
    assert any(row["keep_levels"] for row in rows)
    assert load_directory(path=beside(path)).digest().hex() == found["directory"]


@pytest.mark.rule("TRA-7")
def test_a_resumed_run_has_the_transcript_of_one_that_was_never_stopped(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert record(whole, tmp_path / "a", 3) == 0
    assert record(parts, tmp_path / "b", 2) == 0
    assert parts.read_bytes() != whole.read_bytes()
    assert record(parts, tmp_path / "b", 3, "--resume") == 0
    assert parts.read_bytes() == whole.read_bytes()


@pytest.mark.rule("TRA-7")
def test_a_transcript_may_begin_with_any_round(tmp_path: Path) -> None:
    """A run that was not recorded from its start: the model and the history are in the file."""
    path, out = tmp_path / "run", tmp_path / "out"
    assert main([*TRAIN, "--rounds", "2", "--out", str(out)]) == 0
    assert record(path, out, 4, "--resume") == 0
    report = audit(path=path, directory=load_directory(path=beside(path)))
    assert report.holds
    assert [r.round for r in report.rounds] == [3, 4]


@pytest.mark.rule("TRA-3", "TRA-7")
def test_what_cannot_be_recorded_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is there, a directory that is not, a transcript that lacks a round."""
    path, out = tmp_path / "run", tmp_path / "out"
    assert record(path, out, 1) == 0
    data = path.read_bytes()
    assert record(path, tmp_path / "other", 1) == 2
    assert record(tmp_path / "no" / "such", tmp_path / "other", 1) == 2
    assert not (tmp_path / "other").exists()
    assert main([*TRAIN, "--rounds", "2", "--out", str(out), "--resume"]) == 0
    assert record(path, out, 3, "--resume") == 2
    assert "choose another file" in capsys.readouterr().err
    assert path.read_bytes() == data


@pytest.mark.rule("AUD-1")
def test_without_identities_there_are_none_to_write(tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert record(path, tmp_path / "out", 1, "--security", "basic") == 0
    assert not beside(path).exists()
    report = audit(path=path, directory=NO_IDENTITIES)
    assert (report.holds, report.signed) == (True, False)
