"""The conformance runner: asks a program the vectors, then random cases.   Spec: conformance, rules CNF-1, CNF-6..CNF-10.

>>> import sys
>>> found = conformance(command=[sys.executable, "-m", "clip_ref.oracle.adapter"], steps=["shamir"])
>>> found.program, found.holds
('clip-ref', True)
"""

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from random import Random
from typing import Any, Final

import attrs

from clip_ref.errors import PreconditionError
from clip_ref.oracle.case import Case
from clip_ref.oracle.jsontypes import Json
from clip_ref.oracle.operation import OPERATIONS, Answers, answer
from clip_ref.oracle.program import Fault, Program, Wrong, clipped
from clip_ref.oracle.report import Outcome, Report, Verdict, judged
from clip_ref.oracle.vectors import check_steps, load_cases
from clip_ref.wire import WIRE_VERSION

WINDOW: Final = 64
"""So many requests are under way at a time."""

TIMEOUT: Final = 10.0
"""Seconds that a program may take for an answer, unless told otherwise."""

START: Final = 30.0
"""Seconds that it may take to start, if that is more: some are compiled first."""

FAULTS_PER_OPERATION: Final = 3
"""After so many cases of an operation without an answer, the rest of it is not tried."""

FAULTS_IN_ALL: Final = 30
"""After so many cases without an answer nothing more is tried."""

HELLO: Final = Case(
    id="hello",
    operation="hello",
    rules=("CNF-2",),
    result="valid",
    flags=(),
    comment="the first request, once it has started",
    inputs={"wire_version": WIRE_VERSION},
    said={"output": {"name": "", "wire_version": WIRE_VERSION}},
)
"""CNF-6: asked of every program first; any name will do."""

END: Final = attrs.evolve(HELLO, id="end", operation="end", comment="the end of its input", inputs={}, said={})
"""CNF-2: no request, but what the program does when its input ends."""


class Asker:
    """CNF-8: asks one program, however it behaves: it is started when there is something to ask, and anew after each fault."""

    def __init__(self, *, command: Sequence[str], timeout: float = TIMEOUT) -> None:
        self._command: Final = command
        self._timeout: Final = timeout
        self._window = WINDOW
        self._program: Program | None = None
        self._next = 0
        self._faults: Counter[str] = Counter()
        self._gone = ""
        self.name = clipped(command[0])

    def hello(self) -> Outcome:
        """Start the program and ask it for its name and version, unless it runs already."""
        if self._program is not None:
            return Outcome(HELLO, Verdict.PASSED, "", None)
        self._program = Program(command=self._command, timeout=self._timeout)
        try:
            self._send([HELLO])
            said = self._receive(self._next - 1, timeout=max(START, self._timeout))
        except Fault as fault:
            self._gone = f"it did not start: {fault}"
            self.stop()
            return Outcome(HELLO, Verdict.FAULT, str(fault), None)
        match said:
            case {"output": {"name": str(name), "wire_version": version}}:
                self.name = clipped(name)
                if version == WIRE_VERSION:
                    return Outcome(HELLO, Verdict.PASSED, "", said)
                detail = f"it speaks wire version {clipped(json.dumps(version))}, the cases are for {WIRE_VERSION}"
                return Outcome(HELLO, Verdict.WRONG, detail, said)
        return judged(HELLO, said)

    def outcomes(self, asked: Iterable[Case]) -> Iterator[Outcome]:
        """What the program makes of each case, in their order; several are under way at a time, until there is a fault."""
        source = iter(asked)
        if self._window > 1 and self.hello().verdict is not Verdict.FAULT:
            yield from self._several(source)
        yield from map(self.alone, source)

    def _several(self, source: Iterator[Case]) -> Iterator[Outcome]:
        """Ask with several requests under way, until all is answered or there is a fault."""
        under_way: deque[Case] = deque()
        while True:
            if len(under_way) <= self._window // 2:
                more = list(islice(source, self._window - len(under_way)))
                self._send(more)
                under_way += more
            if not under_way:
                return
            try:
                said = self._receive(self._next - len(under_way))
            except Fault as fault:
                self.stop()
                self._window = 1
                yield from self._blamed(fault, under_way)
                return
            yield judged(under_way.popleft(), said)

    def _blamed(self, fault: Fault, under_way: Iterable[Case]) -> list[Outcome]:
        """What was under way at a fault, asked one at a time. If nothing goes wrong then, the first of them had the fault."""
        again = [self.alone(case) for case in under_way]
        if not any(outcome.verdict is Verdict.FAULT for outcome in again):
            detail = f"{fault}; asked one at a time it answers: answers get lost while several requests are under way"
            self._faults[again[0].case.operation] += 1
            again[0] = Outcome(again[0].case, Verdict.FAULT, detail, None)
        return again

    def alone(self, case: Case) -> Outcome:
        """What the program makes of this one case."""
        if self._gone:
            return Outcome(case, Verdict.NOT_TRIED, self._gone, None)
        if self._faults[case.operation] >= FAULTS_PER_OPERATION:
            detail = f"{FAULTS_PER_OPERATION} cases of {case.operation} had no answer"
            return Outcome(case, Verdict.NOT_TRIED, detail, None)
        if self.hello().verdict is Verdict.FAULT:
            return Outcome(case, Verdict.NOT_TRIED, self._gone, None)
        try:
            self._send([case])
            return judged(case, self._receive(self._next - 1))
        except Fault as fault:
            self.stop()
            self._faults[case.operation] += 1
            if self._faults.total() >= FAULTS_IN_ALL:
                self._gone = f"{FAULTS_IN_ALL} cases had no answer"
            return Outcome(case, Verdict.FAULT, str(fault), None)

    def end(self) -> Outcome:
        """CNF-2: see whether the program, if it runs, ends with its input."""
        try:
            if self._program is not None:
                self._program.finish()
        except Fault as fault:
            return Outcome(END, Verdict.FAULT, str(fault), None)
        finally:
            self.stop()
        return Outcome(END, Verdict.PASSED, "", None)

    def stop(self) -> None:
        """End the program at once, if it runs."""
        if self._program is not None:
            self._program.stop()
            self._program = None

    def _send(self, asked: Sequence[Case]) -> None:
        assert self._program is not None
        lines = []
        for case in asked:
            lines.append(json.dumps({"id": self._next, "operation": case.operation, "inputs": case.inputs}) + "\n")
            self._next += 1
        if lines:
            self._program.send("".join(lines).encode())

    def _receive(self, due: int, *, timeout: float | None = None) -> Mapping[str, Json]:
        """CNF-2: the answer to the request `due`, without its id."""
        assert self._program is not None
        line = self._program.line(timeout=timeout)
        try:
            found = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise Fault(Wrong.RUBBISH, f"a line that is no JSON: {clipped(line)}") from None
        if not isinstance(found, dict) or type(found.get("id")) is not int:
            raise Fault(Wrong.RUBBISH, f"a line that is no answer: {clipped(line)}")
        if (id_ := found.pop("id")) != due:
            raise Fault(Wrong.ORDER, f"an answer to request {id_}, where {due} is due")
        return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def drawn(*, count: int, seed: int, steps: Sequence[str] = ()) -> Iterator[Case]:
    """CNF-6: `count` random cases, of each operation in turn; the same for the same seed and steps.

    `PreconditionError` (CNF-11) for an unknown step, or if these steps have no operation whose inputs can be drawn.

    >>> [case.id for case in drawn(count=1, seed=1, steps=["keys"])]
    ['random-keys.public_key-1']
    """
    chosen = check_steps(steps)
    names = [name for name in drawable() if OPERATIONS[name].step in chosen]
    if not names:
        raise PreconditionError(rule="CNF-11", detail=f"there are no random cases of {', '.join(chosen)}")
    return (_drawn(names[number % len(names)], number // len(names) + 1, seed) for number in range(count))


def _drawn(name: str, number: int, seed: int) -> Case:
    inputs = OPERATIONS[name].json(OPERATIONS[name].draw[0](Random(f"{seed}/{name}/{number}")))
    return random_case(name, inputs, id=f"random-{name}-{number}", comment=f"drawn with seed {seed}")


def drawable() -> list[str]:
    """The operations whose inputs can be drawn at random."""
    import clip_ref.oracle.draws  # noqa: F401

    return [name for name, asked in OPERATIONS.items() if asked.draw]


def random_case(name: str, inputs: Json, *, id: str, comment: str) -> Case:
    """A case of these inputs with what the reference says; the first of its rules is the one that refuses, if one does."""
    found = answer(name, inputs)
    rules = tuple(dict.fromkeys((*((found.rule,) if found.rule else ()), *OPERATIONS[name].rules)))
    result = "valid" if "output" in found.said else "invalid"
    return Case(id, name, rules, result, (), comment, inputs, found.said)


Progress = Callable[[Report], None]
"""Is shown the report after every case."""


def conformance(
    *,
    command: Sequence[str],
    steps: Sequence[str] = (),
    random: int = 0,
    seed: int = 1,
    timeout: float = TIMEOUT,
    progress: Progress = lambda report: None,
) -> Report:
    """CNF-6: ask a program all vectors of these steps (of all, if none is named), then so many random cases.

    `command` is the program with its arguments; `timeout`, in seconds, is for each answer. `PreconditionError` (CNF-11): an
    unknown step, a number out of range, a program that cannot be started. Whatever else happens is in the report.
    """
    if not command:
        raise PreconditionError(rule="CNF-11", detail="name a program: clip-ref conformance -- COMMAND…")
    if random < 0 or not 0 < timeout <= 86400:
        raise PreconditionError(rule="CNF-11", detail="--random is 0 or more, --timeout up to a day in seconds")
    vectors, began = load_cases(*steps), time.monotonic()
    randoms = drawn(count=random, seed=seed, steps=steps) if random else ()
    report = Report(seed=seed if random else None)
    asker = Asker(command=command, timeout=timeout)
    try:
        report.enter(asker.hello())
        report.program = asker.name
        for at_random, asked in ((False, vectors), (True, randoms)):
            for outcome in asker.outcomes(asked):
                report.enter(outcome, at_random=at_random)
                report.seconds = time.monotonic() - began
                progress(report)
        report.enter(asker.end())
    finally:
        asker.stop()
    report.random = _shrunk(report.random, command=command, timeout=timeout)
    report.seconds = time.monotonic() - began
    return report


SHRINKING: Final = 10.0
"""Seconds that are spent on making the random cases of an operation small, and `SHRINKING_IN_ALL` for all of them."""

SHRINKING_IN_ALL: Final = 60.0


def _shrunk(failed: Sequence[Outcome], *, command: Sequence[str], timeout: float) -> list[Outcome]:
    """CNF-10: the first wrong answer of each operation made small, where Hypothesis is installed; the others as they are."""
    try:
        from clip_ref.oracle.shrink import smallest
    except ModuleNotFoundError:
        return list(failed)
    out, until, done = [], time.monotonic() + SHRINKING_IN_ALL, set()
    for outcome in failed:
        name, small = outcome.case.operation, None
        left = min(SHRINKING, until - time.monotonic())
        if outcome.verdict is Verdict.WRONG and name not in done and left > 0:
            done.add(name)
            asker = Asker(command=command, timeout=timeout)
            try:
                small = smallest(outcome=outcome, ask=asker.alone, seconds=left)
            finally:
                asker.stop()
        out.append(small or outcome)
    return out


def examine(answers: Answers, *, steps: Sequence[str] = ()) -> Report:
    """As `conformance`, for a Python function instead of a program: all vectors of these steps.

    >>> from clip_ref.oracle.adapter import reference
    >>> examine(reference, steps=["keys"]).holds
    True
    """
    report = Report(program=getattr(answers, "__name__", "a function"))
    for case in load_cases(*steps):
        report.enter(judged(case, answers(case.operation, case.inputs)))
    return report
