"""The runner, against programs that are right, wrong, or no good at all."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clip_ref.oracle import runner
from clip_ref.oracle.program import LINE_MAX, Program
from clip_ref.oracle.report import Outcome, Report, Verdict
from clip_ref.oracle.runner import FAULTS_IN_ALL, FAULTS_PER_OPERATION, Asker
from oracle.programs import cases, children, command

PASSED, WRONG, FAULT = Verdict.PASSED, Verdict.WRONG, Verdict.FAULT

TIMEOUT = 1.0


@pytest.fixture
def asker(request: pytest.FixtureRequest) -> Iterator[Asker]:
    threads = threading.active_count()
    made = Asker(command=command(*request.param), timeout=TIMEOUT)
    yield made
    made.stop()
    assert threading.active_count() == threads


def verdicts(outcomes: list[Outcome]) -> list[tuple[int, Verdict]]:
    """Those that did not pass, by number."""
    return [(k, outcome.verdict) for k, outcome in enumerate(outcomes) if not outcome.passed]


@pytest.mark.parametrize("asker", [("good",)], indirect=True)
def test_a_good_program_passes(asker: Asker) -> None:
    outcomes = list(asker.outcomes(cases(300)))
    assert verdicts(outcomes) == []
    assert [outcome.case.id for outcome in outcomes] == [case.id for case in cases(300)]
    assert asker.name == "an example"
    assert asker.end().passed


@pytest.mark.parametrize("asker", [("good",)], indirect=True)
def test_the_runner_itself_can_ask_thousands_a_second(asker: Asker) -> None:
    """In CPU time, so that a busy machine is no failure; what the program takes comes on top."""
    asked = cases(5000)
    began = time.process_time()
    assert verdicts(list(asker.outcomes(asked))) == []
    assert (time.process_time() - began) / len(asked) < 0.25e-3


@pytest.mark.rule("CNF-8")
@pytest.mark.parametrize(
    ("asker", "words"),
    [
        (("hang", 7), "hung: no answer within 1 s"),
        (("deaf", 7), "hung: no answer within 1 s"),
        (("die", 7), "died: ended with exit code 3; its last words: ouch"),
        (("die with a trace", 7), "died: ended with exit code 1; its last words: TypeError: no such thing"),
        (("die with a child", 7), "hung: no answer within 1 s"),
        (("close", 7), "died: closed its standard output"),
        (("print", 7), "rubbish: a line that is no JSON: debug: here I am"),
        (("blank", 7), "rubbish: a line that is no JSON: "),
        (("not a number", 7), "rubbish: a line that is no JSON: "),
        (("deep", 7), "rubbish: a line that is no JSON: [[["),
        (("list", 7), "rubbish: a line that is no answer: [1]"),
        (("no id", 7), 'rubbish: a line that is no answer: {"output": 1}'),
        (("huge", 7), f"rubbish: a line of more than {LINE_MAX} bytes"),
        (("flood", 7), "rubbish: a line that is no JSON: x"),
    ],
    indirect=["asker"],
)
def test_a_fault_is_told_for_its_case_and_the_run_goes_on(asker: Asker, words: str) -> None:
    outcomes = list(asker.outcomes(cases()))
    assert verdicts(outcomes) == [(7, FAULT)]
    assert outcomes[7].detail.startswith(words)
    assert asker.end().passed


@pytest.mark.rule("CNF-8")
def test_a_flood_that_nobody_reads_is_dammed_and_then_drained() -> None:
    threads = threading.active_count()
    program = Program(command=command("flood", 7), timeout=TIMEOUT)
    program.send(b'{"id": 0, "inputs": {"k": 7}}\n')
    time.sleep(1.0)
    program.stop()
    assert threading.active_count() == threads


@pytest.mark.rule("CNF-8")
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux tells who is running")
@pytest.mark.parametrize("asker", [("hang with a child", 7)], indirect=True)
def test_nothing_that_a_program_started_outlives_it(asker: Asker) -> None:
    assert verdicts(list(asker.outcomes(cases()))) == [(7, FAULT)]
    assert children() == 0


@pytest.mark.rule("CNF-8")
@pytest.mark.parametrize(
    ("asker", "case"),
    [(("swap", 7), 7), (("twice", 7), 8), (("first of a chunk",), 1)],
    indirect=["asker"],
)
def test_answers_out_of_order_or_lost_are_told(asker: Asker, case: int) -> None:
    outcomes = list(asker.outcomes(cases()))
    assert outcomes[case].verdict is FAULT
    assert all(outcome.passed for outcome in outcomes[:case])


@pytest.mark.rule("CNF-8")
@pytest.mark.parametrize("asker", [("first of a chunk",)], indirect=True)
def test_a_program_that_loses_requests_is_asked_one_at_a_time(asker: Asker) -> None:
    outcomes = list(asker.outcomes(cases()))
    assert verdicts(outcomes) == [(1, FAULT)]
    assert "get lost while several requests are under way" in outcomes[1].detail


@pytest.mark.rule("CNF-7")
@pytest.mark.parametrize(
    ("asker", "words"),
    [
        (("wrong", 1), "expected 1, got 2"),
        (("true", 1), "expected 1, got true"),
        (("two members", 1), "an answer has an id and one of output, error and unsupported"),
        (("remark", 1), "an answer has an id and one of output, error and unsupported"),
    ],
    indirect=["asker"],
)
def test_a_wrong_answer_is_told_and_the_program_goes_on(asker: Asker, words: str) -> None:
    outcomes = list(asker.outcomes(cases()))
    assert verdicts(outcomes) == [(1, WRONG)]
    assert outcomes[1].detail.startswith(words)


@pytest.mark.rule("CNF-7")
@pytest.mark.parametrize("asker", [("unsupported", 3)], indirect=True)
def test_unsupported_is_no_pass(asker: Asker) -> None:
    report = Report()
    for outcome in asker.outcomes(cases()):
        report.enter(outcome)
    assert verdicts(report.vectors) == [(3, Verdict.UNSUPPORTED)]
    assert not report.holds
    assert report.unsupported() == ["shamir.split"]
    assert report.broken() == []


@pytest.mark.rule("CNF-8")
@pytest.mark.parametrize("asker", [("noise", 7)], indirect=True)
def test_noise_on_standard_error_is_nobodys_business(asker: Asker) -> None:
    assert verdicts(list(asker.outcomes(cases()))) == []


@pytest.mark.rule("CNF-8")
@pytest.mark.parametrize("asker", [("hang", 0)], indirect=True)
def test_a_program_that_reads_nothing_holds_nobody_up(asker: Asker) -> None:
    began = time.monotonic()
    outcomes = list(asker.outcomes(cases(size=200_000)))
    assert verdicts(outcomes) == [(0, FAULT)]
    assert time.monotonic() - began < 20


@pytest.mark.rule("CNF-8")
@pytest.mark.parametrize("asker", [("die", -1)], indirect=True)
def test_an_operation_that_never_answers_is_given_up(asker: Asker) -> None:
    outcomes = list(asker.outcomes(cases()))
    assert [outcome.verdict for outcome in outcomes[:FAULTS_PER_OPERATION]] == [FAULT] * FAULTS_PER_OPERATION
    assert {outcome.verdict for outcome in outcomes[FAULTS_PER_OPERATION:]} == {Verdict.NOT_TRIED}
    other = list(asker.outcomes(cases(operation="shamir.combine")))
    assert [outcome.verdict for outcome in other].count(FAULT) == FAULTS_PER_OPERATION


@pytest.mark.rule("CNF-8")
@pytest.mark.parametrize("asker", [("die", -1)], indirect=True)
def test_a_program_that_never_answers_is_given_up(asker: Asker) -> None:
    asked = [case for k in range(20) for case in cases(3, operation=f"shamir.{k}")]
    outcomes = list(asker.outcomes(asked))
    assert [outcome.verdict for outcome in outcomes].count(FAULT) == FAULTS_IN_ALL
    assert outcomes[-1].detail == f"{FAULTS_IN_ALL} cases had no answer"


@pytest.mark.rule("CNF-6")
@pytest.mark.parametrize("asker", [("no start",)], indirect=True)
def test_a_program_that_does_not_start_is_not_asked(asker: Asker) -> None:
    hello = asker.hello()
    assert hello.verdict is FAULT
    assert "cannot find my configuration" in hello.detail
    outcomes = list(asker.outcomes(cases()))
    assert {outcome.verdict for outcome in outcomes} == {Verdict.NOT_TRIED}
    assert "did not start" in outcomes[0].detail


@pytest.mark.rule("CNF-6")
@pytest.mark.parametrize("asker", [("all at once",)], indirect=True)
def test_a_program_that_reads_all_before_it_answers_does_not_start(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "START", TIMEOUT)
    assert asker.hello().detail == "hung: no answer within 1 s"


@pytest.mark.rule("CNF-6")
@pytest.mark.parametrize("asker", [("other version",), ("no hello",)], indirect=True)
def test_another_version_and_no_name_are_told(asker: Asker) -> None:
    assert not asker.hello().passed
    assert verdicts(list(asker.outcomes(cases()))) == []


@pytest.mark.rule("CNF-2")
@pytest.mark.parametrize(
    ("asker", "words"),
    [
        (("linger",), "hung: still runs 1 s after the end of its input"),
        (("last word",), "rubbish: a line that nothing had asked for: bye"),
        (("last letter",), "rubbish: a line that nothing had asked for: b"),
    ],
    indirect=["asker"],
)
def test_a_program_ends_with_its_input(asker: Asker, words: str) -> None:
    assert verdicts(list(asker.outcomes(cases()))) == []
    end = asker.end()
    assert (end.verdict, end.detail) == (FAULT, words)
