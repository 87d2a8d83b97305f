"""`clip-ref conformance` and `clip-ref vectors`: what they ask, print, write and exit with."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from clip_ref.cli import main
from clip_ref.errors import PreconditionError
from clip_ref.oracle import OPERATIONS, Case, answer, conformance, load_cases, load_rules
from clip_ref.oracle.adapter import reference
from clip_ref.oracle.report import KEPT, Outcome, Report, Tally, Verdict, judged, junit, verdict_line
from clip_ref.oracle.runner import drawn, examine
from clip_ref.oracle.shrink import smallest
from oracle.programs import command

REFERENCE = [sys.executable, "-m", "clip_ref.oracle.adapter"]

LARGE_SECRETS = """
from clip_ref.oracle.adapter import reference, serve
def answers(operation, inputs):
    if operation == "keys.public_key" and len(inputs["secret"]) == 64 and inputs["secret"][-2:] > "80":
        return {"output": "00" * 32}
    return reference(operation, inputs)
serve(answers)
"""
"""Wrong about secrets whose last byte is above 0x80."""

WRONG = [sys.executable, "-c", LARGE_SECRETS]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.rule("CNF-6", "CNF-9")
def test_a_right_program_holds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    asked = ("--steps", "keys,shamir", "--random", "20", "--seed", "7", "--report", str(file))
    code, out, err = run(capsys, "conformance", *asked, "--", *REFERENCE)
    total = len(load_cases("keys", "shamir")) + 2 + 20
    assert (code, err) == (0, "")
    assert out.endswith(f"\n\nclip-ref: {total} of {total} cases passed; all {total} cases hold\n")
    found = json.loads(file.read_text("utf-8"))
    assert (found["holds"], found["cases"], found["passed"]) == (True, total, total)
    assert found["failures"] == found["broken"] == found["unsupported"] == []
    assert found["random"]["seed"] == 7
    assert sum(entry["cases"] for entry in found["random"]["operations"]) == 20
    suites = ElementTree.parse(file.with_suffix(".xml")).getroot()
    assert suites.get("failures") == "0"
    assert {"keys", "hello", "end"} <= {suite.get("name") for suite in suites}


@pytest.mark.rule("CNF-9", "CNF-10")
def test_a_wrong_program_is_told_the_rule_and_the_smallest_case(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "found.json"
    code, out, _ = run(capsys, "conformance", "--steps", "keys", "--random", "200", "--report", str(file), "--", *WRONG)
    assert code == 1
    assert "KEY-1" in out.splitlines()[-1]
    found = json.loads(file.read_text("utf-8"))
    assert found["broken"][0]["operation"] == "keys.public_key"
    assert found["broken"][0]["text"] == load_rules()["KEY-1"].text
    failure = next(f for f in found["failures"] if f["case"]["id"].startswith("random-keys.public_key-"))
    assert failure["case"]["inputs"] == {"secret": "00" * 31 + "81"}
    assert failure["case"]["comment"] == "drawn with seed 1, then shrunk"
    assert failure["answer"] == {"output": "00" * 32}
    assert failure["case"]["output"] == answer("keys.public_key", failure["case"]["inputs"]).said["output"]
    assert len(found["failures"]) <= len(load_cases("keys")) + KEPT * len(OPERATIONS)


@pytest.mark.rule("CNF-10")
def test_a_case_that_cannot_be_shrunk_is_told_as_it_is() -> None:
    (case,) = drawn(count=1, seed=1, steps=["keys"])
    failed = judged(case, {"output": "00"})
    assert smallest(outcome=failed, ask=lambda other: judged(other, other.said), seconds=1.0) is failed
    assert smallest(outcome=failed, ask=lambda other: judged(other, {}), seconds=0.0) is failed


WITHOUT_HYPOTHESIS = """
import sys
sys.modules["hypothesis"] = None
from clip_ref.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.rule("CNF-10")
def test_without_hypothesis_cases_are_told_as_they_are() -> None:
    arguments = ["conformance", "--steps", "keys", "--random", "100", "--json", "--", *WRONG]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HYPOTHESIS, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    failure = json.loads(done.stdout)["failures"][-1]
    assert failure["case"]["comment"] == "drawn with seed 1"


@pytest.mark.rule("CNF-6")
def test_random_cases_follow_from_seed_and_steps() -> None:
    first = list(drawn(count=30, seed=5))
    assert first == list(drawn(count=30, seed=5))
    other = list(drawn(count=30, seed=6))
    assert [case.operation for case in first] == [case.operation for case in other]
    assert [case.inputs for case in first] != [case.inputs for case in other]
    assert {case.operation.partition(".")[0] for case in drawn(count=30, seed=5, steps=["keys"])} == {"keys"}


@pytest.mark.rule("CNF-6")
def test_vectors_come_in_order_then_random_cases() -> None:
    report = conformance(command=REFERENCE, steps=["shamir", "keys"], random=3)
    ids = [outcome.case.id for outcome in report.vectors]
    assert ids == ["hello", *(case.id for case in load_cases("keys", "shamir")), "end"]
    assert sum(tally.cases for tally in report.drawn.values()) == 3


@pytest.mark.rule("CNF-9")
@pytest.mark.parametrize("mode", ["no start", "other version", "no hello", "linger"])
def test_a_program_that_starts_or_ends_badly_does_not_hold(mode: str) -> None:
    report = conformance(command=command(mode), steps=["context"], timeout=1.0)
    assert not report.holds
    assert [outcome.case.id for outcome in report.vectors if not outcome.passed][0 if mode != "linger" else -1] == (
        "hello" if mode != "linger" else "end"
    )


@pytest.mark.rule("CNF-11")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "mask", "--", *REFERENCE], "there is no step 'mask'; there are context, "),
        (["--", "/no/such/program"], "cannot start /no/such/program: No such file or directory"),
        ([], "name a program: clip-ref conformance -- COMMAND"),
        (["--"], "name a program"),
        (["--random", "-1", "--", *REFERENCE], "--random is 0 or more"),
        (["--timeout", "0", "--", *REFERENCE], "--timeout up to a day"),
        (["--timeout", "nan", "--", *REFERENCE], "--timeout up to a day"),
        (["--report", "/no/such/place.json", "--", *REFERENCE], "name a file, not one in .xml"),
        (["--report", "report.xml", "--", *REFERENCE], "name a file, not one in .xml"),
    ],
)
def test_bad_usage_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "conformance", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.endswith("[CNF-11]\n")


def test_the_program_keeps_its_own_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    program = [sys.executable, "-c", "import sys; sys.exit(str(sys.argv[1:]))", "--steps", "--", "--json"]
    code, out, _ = run(capsys, "conformance", "--steps", "context", "--", *program)
    assert code == 1
    assert "['--steps', '--', '--json']" in out


def test_progress_goes_to_standard_error_unless_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clip_ref.cli._Progress.EVERY", 0.0)
    _, _, err = run(capsys, "conformance", "--steps", "keys", "--", *REFERENCE)
    assert re.fullmatch(r"(\d+ cases in \d+ s, 0 failed\n)+", err)
    _, out, err = run(capsys, "conformance", "--steps", "keys", "--quiet", "--", *REFERENCE)
    assert (out, err) == ("", "")


def of(operation: str, rule: str, number: int) -> Case:
    """A case that expects 1."""
    step = operation.partition(".")[0]
    return Case(f"{step}-{number:03}", operation, (rule, "CTX-1"), "valid", (), "a case", {}, {"output": 1})


@pytest.mark.rule("CNF-5", "CNF-9")
def test_the_rule_of_each_operations_first_failure_is_named() -> None:
    report = Report(program="mine")
    for case, said in (
        (of("keys.agree", "KEY-2", 1), {"output": 1}),
        (of("keys.agree", "KEY-3", 2), {"output": 2}),
        (of("keys.agree", "KEY-2", 3), {"output": 2}),
        (of("keys.sign", "KEY-7", 4), {"unsupported": True}),
        (of("keys.verify", "KEY-9", 5), {"output": 2}),
        (of("masking.mask", "KEY-9", 1), {"output": 2}),
    ):
        report.enter(judged(case, said))
    assert [(b.rule, b.case) for b in report.broken()] == [("KEY-3", "keys-002"), ("KEY-9", "keys-005")]
    assert report.by_rule()[0] == Tally("KEY-2", 2, 1, "keys-003")
    assert verdict_line(report) == "broken: KEY-3 (keys-002), KEY-9 (keys-005); unsupported: keys.sign"
    assert not report.holds


@pytest.mark.rule("CNF-9")
def test_what_was_not_tried_breaks_no_rule_but_does_not_pass() -> None:
    report = Report()
    report.enter(Outcome(of("keys.agree", "KEY-2", 1), Verdict.NOT_TRIED, "it did not start", None))
    assert (report.broken(), report.holds) == ([], False)
    assert not Report().holds


@pytest.mark.rule("CNF-9")
def test_passed_random_cases_are_counted_and_not_kept() -> None:
    report = Report(seed=1)
    for number in range(1, 101):
        case = of("keys.agree", "KEY-2", number)
        report.enter(judged(case, {"output": 1 if number < 50 else 2}), at_random=True)
    assert report.drawn["keys.agree"] == Tally("keys.agree", 100, 49, "keys-050")
    assert len(report.random) == KEPT
    (suite,) = ElementTree.fromstring(junit(report))
    assert [test.get("name") for test in suite] == ["100 random cases of keys.agree, seed 1"]
    assert suite.get("failures") == "1"


@pytest.mark.rule("CNF-7")
@pytest.mark.parametrize(
    ("right", "said", "words"),
    [
        ({"output": {"a": 1, "b": [1, 2]}}, {"output": {"b": [1, 3], "a": 1}}, "b[1]: expected 2, got 3"),
        ({"output": 1}, {"output": 1.0}, "expected 1, got 1.0"),
        ({"output": [1]}, {"output": [1, 2]}, "expected [1], got [1, 2]"),
        (
            {"output": "0" * 200},
            {"output": "0" * 150 + "1" * 50},
            'from character 150 on: expected "…' + "0" * 32 + '…", got "…' + "0" * 8 + "1" * 24 + '…"',
        ),
        (
            {"error": {"kind": "party", "culprit": 3}},
            {"output": True},
            'expected the error {"kind": "party", "culprit": 3}, got the output true',
        ),
        ({"output": 1}, {"out\x1bput\n": 1}, "an answer has an id and one of output, error"),
    ],
)
def test_differences_are_told_by_place(right: Any, said: Any, words: str) -> None:
    case = Case("keys-001", "keys.agree", ("KEY-2",), "valid", (), "a case", {}, right)
    outcome = judged(case, said)
    assert outcome.verdict is Verdict.WRONG
    assert outcome.detail.startswith(words)
    assert outcome.detail.isprintable()


@pytest.mark.rule("CNF-7")
def test_the_order_of_members_is_nothing() -> None:
    case = Case("keys-001", "keys.agree", ("KEY-2",), "valid", (), "a case", {}, {"output": {"a": 1, "b": 2}})
    assert judged(case, {"output": {"b": 2, "a": 1}}).passed


def test_junit_survives_whatever_a_program_says() -> None:
    report = Report(program="mine\x00\x1b<&>")
    report.enter(judged(of("keys.agree", "KEY-2", 1), {"\x00<&\"'": "]]>"}))
    (suite,) = ElementTree.fromstring(junit(report))
    assert suite[0][0].get("message") is not None


def test_a_function_is_examined_as_a_program() -> None:
    report = examine(reference, steps=["keys"])
    assert (report.program, report.holds, report.asked) == ("reference", True, len(load_cases("keys")))


@pytest.mark.usefixtures("made_once")
def test_vectors_are_written_and_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "made"
    assert run(capsys, "vectors", "write", "--out", str(out))[0] == 0
    assert run(capsys, "vectors", "check", "--out", str(out)) == (0, "every file is as it would be written\n", "")
    (out / "keys.json").unlink()
    assert run(capsys, "vectors", "check", "--out", str(out)) == (1, "keys.json is missing\n", "")
    assert run(capsys, "vectors", "check", "--out", str(out), "--json")[1] == (
        json.dumps({"differences": ["keys.json is missing"]}, indent=2) + "\n"
    )


def test_a_program_must_be_named() -> None:
    with pytest.raises(PreconditionError, match="CNF-11"):
        conformance(command=[])
