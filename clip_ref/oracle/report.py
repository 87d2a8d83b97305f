"""What came out: each case's outcome, and which rules a program broke.   Spec: conformance, rules CNF-5, CNF-7, CNF-9."""

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import attrs

from clip_ref.errors import PreconditionError
from clip_ref.oracle.case import Case
from clip_ref.oracle.jsontypes import Json
from clip_ref.oracle.program import clipped
from clip_ref.oracle.rules import Rule
from clip_ref.wire import WIRE_VERSION


class Verdict(StrEnum):
    """What is said of one case. All but `passed` count as failed."""

    PASSED = "passed"
    WRONG = "wrong answer"
    UNSUPPORTED = "unsupported"
    FAULT = "no answer"
    NOT_TRIED = "not tried"


@attrs.frozen
class Outcome:
    """CNF-7: one case, and what the program made of it."""

    case: Case
    """What was asked."""

    verdict: Verdict
    """Whether that was right."""

    detail: str
    """In words what was wrong; empty if nothing was."""

    said: Mapping[str, Json] | None
    """The answer without its id; none where there was none."""

    @property
    def passed(self) -> bool:
        """Whether the answer was the right one."""
        return self.verdict is Verdict.PASSED


def judged(case: Case, said: Mapping[str, Json]) -> Outcome:
    """CNF-7: compare an answer, without its id, with the right one: exactly, as JSON; the order of members is nothing.

    >>> from clip_ref.oracle import load_cases
    >>> case = next(case for case in load_cases("messages") if case.operation == "messages.check_ids" and "error" in case.said)
    >>> judged(case, case.said).verdict.value, judged(case, {"unsupported": True}).verdict.value
    ('passed', 'unsupported')
    >>> judged(case, {"output": True}).detail
    'expected the error {"kind": "party", "culprit": "server"}, got the output true'
    """
    if _text(said) == _text(case.said):
        return Outcome(case, Verdict.PASSED, "", said)
    if said == {"unsupported": True}:
        return Outcome(case, Verdict.UNSUPPORTED, "the program does not have this operation", said)
    if len(said) != 1 or set(said) - {"output", "error"}:
        named = ", ".join(said) or "none of them"
        detail = f"an answer has an id and one of output, error and unsupported (true); this one has {clipped(named)}"
        return Outcome(case, Verdict.WRONG, detail, said)
    return Outcome(case, Verdict.WRONG, _difference(case.said, said), said)


_text: Final = json.JSONEncoder(sort_keys=True).encode
"""The same text for the same JSON value, and for no other."""


def _difference(right: Mapping[str, Json], said: Mapping[str, Json]) -> str:
    """How two answers differ, in a line."""
    if "output" in right and "output" in said:
        where, a, b = _first_difference(right["output"], said["output"], "")
        return f"{f'{where}: ' if where else ''}expected {_shown(a)}, got {_shown(b)}"
    return f"expected {_kind(right)}, got {_kind(said)}"


def _first_difference(right: Json, said: Json, where: str) -> tuple[str, Json, Json]:
    """The innermost place at which two different values differ, and what stands there."""
    if isinstance(right, dict) and isinstance(said, dict) and set(right) == set(said):
        for key in right:
            if _text(right[key]) != _text(said[key]):
                return _first_difference(right[key], said[key], f"{where}.{key}" if where else key)
    if isinstance(right, list) and isinstance(said, list) and len(right) == len(said):
        for at, (a, b) in enumerate(zip(right, said, strict=True)):
            if _text(a) != _text(b):
                return _first_difference(a, b, f"{where}[{at}]")
    if isinstance(right, str) and isinstance(said, str) and len(right) == len(said) > _SHOWN:
        at = next(k for k, (a, b) in enumerate(zip(right, said, strict=True)) if a != b)
        cut = slice(max(0, at - 8), at + 24)
        return f"{where} from character {at} on".lstrip(), f"…{right[cut]}…", f"…{said[cut]}…"
    return where, right, said


_SHOWN: Final = 80


def _shown(value: Json) -> str:
    return clipped(json.dumps(value, ensure_ascii=False), _SHOWN)


def _kind(said: Mapping[str, Json]) -> str:
    return f"the output {_shown(said['output'])}" if "output" in said else f"the error {_shown(said['error'])}"


@attrs.frozen
class Broken:
    """CNF-5: a rule that a program broke."""

    rule: str
    """Its id."""

    case: str
    """The first case of an operation that shows it."""

    operation: str
    """That operation."""


@attrs.frozen
class Tally:
    """How many cases of one rule, or random ones of one operation, went how."""

    name: str
    """The rule, or the operation."""

    cases: int
    """All of them."""

    passed: int
    """Those that passed."""

    first: str | None
    """The id of the first that did not."""


KEPT: Final = 3
"""Of the random cases of an operation that fail, so many are kept with all their data."""


@attrs.define
class Report:
    """What a program made of all cases that it was asked, entered one at a time: random ones that passed are only counted."""

    program: str = "unknown"
    """The name that it gives itself."""

    vectors: list[Outcome] = attrs.field(factory=list)
    """Of every vector, in order; and how the program began and ended, where that failed."""

    random: list[Outcome] = attrs.field(factory=list)
    """Of random cases that failed, up to `KEPT` for each operation."""

    drawn: dict[str, Tally] = attrs.field(factory=dict)
    """By operation how its random cases went."""

    seed: int | None = None
    """What random cases follow from."""

    seconds: float = 0.0
    """How long it took."""

    def enter(self, outcome: Outcome, *, at_random: bool = False) -> None:
        """Take down one more outcome."""
        if not at_random:
            self.vectors.append(outcome)
            return
        name = outcome.case.operation
        before = self.drawn.get(name, Tally(name, 0, 0, None))
        if not outcome.passed and before.cases - before.passed < KEPT:
            self.random.append(outcome)
        first = before.first or (None if outcome.passed else outcome.case.id)
        self.drawn[name] = Tally(name, before.cases + 1, before.passed + outcome.passed, first)

    @property
    def asked(self) -> int:
        """How many cases there were."""
        return len(self.vectors) + sum(tally.cases for tally in self.drawn.values())

    @property
    def passed(self) -> int:
        """How many of them passed."""
        return sum(o.passed for o in self.vectors) + sum(tally.passed for tally in self.drawn.values())

    @property
    def holds(self) -> bool:
        """Whether all passed, and there was something to pass."""
        return 0 < self.asked == self.passed

    def failures(self) -> list[Outcome]:
        """What failed: every vector, then the random cases that were kept."""
        return [outcome for outcome in (*self.vectors, *self.random) if not outcome.passed]

    def unsupported(self) -> list[str]:
        """The operations that the program says it does not have."""
        return list(dict.fromkeys(o.case.operation for o in self.failures() if o.verdict is Verdict.UNSUPPORTED))

    def broken(self) -> list[Broken]:
        """CNF-5: for each operation that fails, the first rule of its first case that fails; each rule once.

        What the program does not have, or was not asked, breaks no rule: `unsupported` lists the former.
        """
        firsts: dict[str, Broken] = {}
        seen: set[str] = set()
        for outcome in self.failures():
            case = outcome.case
            if outcome.verdict in (Verdict.WRONG, Verdict.FAULT) and case.operation not in seen:
                seen.add(case.operation)
                firsts.setdefault(case.rules[0], Broken(case.rules[0], case.id, case.operation))
        return list(firsts.values())

    def by_rule(self) -> list[Tally]:
        """The vectors, by the rule that each is about."""
        found: dict[str, list[Outcome]] = {}
        for outcome in self.vectors:
            found.setdefault(outcome.case.rules[0], []).append(outcome)
        return [
            Tally(rule, len(all_), sum(o.passed for o in all_), next((o.case.id for o in all_ if not o.passed), None))
            for rule, all_ in found.items()
        ]


def report_json(report: Report, rules: Mapping[str, Rule]) -> dict[str, Json]:
    """CNF-9: the report as JSON."""

    def tally(entry: Tally, name: str) -> dict[str, Json]:
        failed = entry.cases - entry.passed
        return {name: entry.name, "cases": entry.cases, "passed": entry.passed, "failed": failed, "first": entry.first}

    return {
        "program": report.program,
        "wire_version": WIRE_VERSION,
        "holds": report.holds,
        "cases": report.asked,
        "passed": report.passed,
        "broken": [
            {**attrs.asdict(b), "text": rules[b.rule].text, "page": rules[b.rule].page} for b in report.broken()
        ],
        "unsupported": report.unsupported(),
        "rules": [tally(entry, "rule") for entry in report.by_rule()],
        "random": {"seed": report.seed, "operations": [tally(entry, "operation") for entry in report.drawn.values()]},
        "failures": [
            {"verdict": o.verdict.value, "detail": o.detail, "case": o.case.json(), "answer": o.said}
            for o in report.failures()
        ],
        "seconds": round(report.seconds, 3),
    }


def junit(report: Report) -> str:
    """CNF-9: the report as JUnit XML: a suite for each step, a test for each vector, one for an operation's random cases."""
    suites: dict[str, list[ElementTree.Element]] = {}
    for outcome in report.vectors:
        case = outcome.case
        name = f"{case.id} [{case.rules[0]}] {case.comment}"
        detail = None if outcome.passed else f"{case.operation}: {outcome.verdict.value}: {outcome.detail}"
        suites.setdefault(case.id.partition("-")[0], []).append(_test(name, case.operation, detail))
    for entry in report.drawn.values():
        failed = entry.cases - entry.passed
        detail = f"{failed} of {entry.cases} random cases failed, first {entry.first}" if failed else None
        name = f"{entry.cases} random cases of {entry.name}, seed {report.seed}"
        suites.setdefault(entry.name.partition(".")[0], []).append(_test(name, entry.name, detail))
    root = ElementTree.Element("testsuites", name=f"clip-ref conformance of {clipped(report.program)}")
    for name, tests in suites.items():
        failed = sum(len(test) for test in tests)
        suite = ElementTree.SubElement(root, "testsuite", name=name, tests=str(len(tests)), failures=str(failed))
        suite.extend(tests)
    for count in ("tests", "failures"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    root.set("time", f"{report.seconds:.3f}")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _test(name: str, operation: str, detail: str | None) -> ElementTree.Element:
    test = ElementTree.Element("testcase", name=name, classname=operation)
    if detail is not None:
        ElementTree.SubElement(test, "failure", message=detail).text = detail
    return test


def table(rows: Iterable[Tally], name: str) -> list[list[str]]:
    """CNF-9: cells of the table that is printed, with its head: name, cases, passed, failed, the first that failed."""
    head = [name, "cases", "passed", "failed", "first to fail"]
    body = [[t.name, str(t.cases), str(t.passed), str(t.cases - t.passed), t.first or ""] for t in rows]
    return [head, *body]


_NAMED: Final = 6


def verdict_line(report: Report) -> str:
    """CNF-9: in one line which rules were broken, or that none was."""
    broken, missing = report.broken(), report.unsupported()
    parts: list[str] = []
    if broken:
        parts.append("broken: " + ", ".join(f"{b.rule} ({b.case})" for b in broken))
    if missing:
        named = ", ".join(missing) if len(missing) <= _NAMED else f"{len(missing)} operations"
        parts.append(f"unsupported: {named}")
    return "; ".join(parts) or f"all {report.asked} cases hold"


def files(report: Path) -> tuple[Path, Path]:
    """CNF-9: the two files of `--report FILE`; `PreconditionError` (CNF-11) if they cannot be written there."""
    if report.suffix == ".xml" or report.is_dir() or not report.parent.is_dir():
        detail = f"--report {report}: name a file, not one in .xml, in a directory that is there"
        raise PreconditionError(rule="CNF-11", detail=detail)
    return report, report.with_suffix(".xml")


def write(report: Report, rules: Mapping[str, Rule], to: tuple[Path, Path]) -> None:
    """CNF-9: the report as JSON, and as JUnit XML."""
    to[0].write_text(json.dumps(report_json(report, rules), indent=1) + "\n", "utf-8")
    to[1].write_text(junit(report), "utf-8")
