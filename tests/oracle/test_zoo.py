"""The zoo: every wrong implementation falls to a vector, by its rule, and is right in what does not rest on its defect."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from clip_ref.cli import main
from clip_ref.oracle import load_cases
from clip_ref.oracle.flags import FLAGS
from clip_ref.oracle.zoo import DEFECTS, Caught, visit
from clip_ref.oracle.zoo.defect import Defect

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "zoo.json"
CASES = {case.id: case for case in load_cases()}

pytestmark = pytest.mark.rule("CNF-12")


def right_elsewhere(one: Caught) -> bool:
    """Whether all that fails takes the broken rule, or stands behind it in the table of steps."""
    steps = list(dict.fromkeys(case.operation.partition(".")[0] for case in CASES.values()))
    first = steps.index(CASES[one.case].operation.partition(".")[0]) if one.case in CASES else 0
    return all(
        one.defect.rule in CASES[k].rules or steps.index(CASES[k].operation.partition(".")[0]) >= first
        for k in one.failed
        if k in CASES
    )


def test_there_are_forty_and_each_says_what_it_does() -> None:
    assert len(DEFECTS) >= 40
    for name, found in DEFECTS.items():
        assert found.description.endswith(".")
        assert name not in FLAGS or FLAGS[name].rule == found.rule
    assert sum(bool(found.source) for found in DEFECTS.values()) >= 8


@pytest.mark.parametrize("name", ["ReversedSign", "SeedFolded", "TrailingBytes"])
def test_it_falls_by_its_rule(name: str) -> None:
    (one,) = visit([name])
    assert one.caught, one
    assert right_elsewhere(one)
    assert len(one.failed) < len(CASES) / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFECTS)
def test_every_one_falls_by_its_rule(name: str) -> None:
    (one,) = visit([name], workers=1)
    assert one.caught, one
    assert right_elsewhere(one)
    assert one.json() in json.loads(RESULT.read_text("utf-8"))


def test_what_the_page_shows_is_about_this_zoo() -> None:
    rows = json.loads(RESULT.read_text("utf-8"))
    assert [row["defect"] for row in rows] == list(DEFECTS)
    assert all(row["caught"] and row["rule"] == DEFECTS[row["defect"]].rule for row in rows)
    assert all(CASES[row["case"]].rules[0] == row["rule"] for row in rows)
    table = runpy.run_path(str(ROOT / "spec" / "hooks" / "zoo.py"))["table"](RESULT)
    assert all(f"| `{name}` |" in table for name in DEFECTS)


def test_one_that_is_right_is_not_said_to_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge is not blind: the reference itself, shown as a wrong implementation, escapes."""
    harmless = Defect("Harmless", "MSK-5", "Does nothing wrong.", "", ())
    monkeypatch.setitem(DEFECTS, "Harmless", harmless)
    monkeypatch.setattr("clip_ref.oracle.zoo.command", lambda name: [sys.executable, "-m", "clip_ref.oracle.adapter"])
    (one,) = visit(["Harmless"])
    assert one.json() == {"defect": "Harmless", "caught": False, "rule": None, "case": None}


def test_a_wrong_implementation_is_a_program() -> None:
    command = [sys.executable, "-m", "clip_ref.oracle.zoo", "HoldersFromZero"]
    inputs = {"secret": "07", "threshold": 2, "holders": 2, "randomness": "01"}
    line = json.dumps({"id": 5, "operation": "shamir.split", "inputs": inputs})
    done = subprocess.run(command, input=line, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == {"id": 5, "output": ["07", "06"]}


def test_the_command_lists_them_and_fails_if_one_escapes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = Caught(DEFECTS["ReversedSign"], "MSK-5", "masking-001", ("masking-001",))
    bad = Caught(DEFECTS["SeedFolded"], "RND-1", "randomness-001", ("randomness-001",))
    monkeypatch.setattr("clip_ref.oracle.zoo.visit", lambda: iter([good]))
    assert main(["conformance", "--zoo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [good.json()]
    monkeypatch.setattr("clip_ref.oracle.zoo.visit", lambda: iter([good, bad]))
    assert main(["conformance", "--zoo"]) == 1
    assert "SeedFolded: NOT CAUGHT: RND-2 expected, got RND-1" in capsys.readouterr().out
