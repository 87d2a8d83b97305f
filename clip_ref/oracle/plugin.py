"""A pytest plugin: every vector is a test of one's own program.   Spec: conformance, rules CNF-7, CNF-8.

    pytest -p clip_ref.oracle.plugin --clip-ref-command "node adapter.mjs"

Each test is named after its vector and the rule that the vector is about, such as `masking-004[MSK-5]`, so that `-k` chooses by
either. Without the option the plugin adds nothing. The program is asked one vector at a time, and started anew if it fails.
"""

import shlex
from collections.abc import Iterator
from typing import Any, Final

import pytest

from clip_ref.oracle.case import Case
from clip_ref.oracle.report import Outcome
from clip_ref.oracle.rules import Rule
from clip_ref.oracle.runner import TIMEOUT, Asker
from clip_ref.oracle.vectors import load_cases, load_rules

ASKER: Final = pytest.StashKey[Asker]()
"""The program, while the session lasts."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("clip-ref", "conformance of a program to clip-ref's specification")
    group.addoption(
        "--clip-ref-command", default=None, metavar="COMMAND", help="the program under test, as for a shell"
    )
    group.addoption("--clip-ref-steps", default="", metavar="S,...", help="steps to ask for (default: all)")
    group.addoption(
        "--clip-ref-timeout", type=float, default=TIMEOUT, metavar="SECONDS", help=f"for an answer ({TIMEOUT:g})"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the vectors, before anything is chosen by `-k`."""
    command = config.getoption("--clip-ref-command")
    if command is None:
        return
    steps = config.getoption("--clip-ref-steps")
    config.stash[ASKER] = Asker(command=shlex.split(command), timeout=config.getoption("--clip-ref-timeout"))
    suite = Vectors.from_parent(session, name="clip-ref", nodeid="clip-ref", steps=steps.split(",") if steps else [])
    items += suite.collect()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the program."""
    if (asker := config.stash.get(ASKER, None)) is not None:
        asker.stop()


class Vectors(pytest.Collector):
    """All vectors of some steps."""

    def __init__(self, *, steps: list[str], **known: Any) -> None:
        super().__init__(**known)
        self.steps: Final = steps

    def collect(self) -> Iterator["Vector"]:
        """A test for each."""
        words = load_rules()
        for case in load_cases(*self.steps):
            name = f"{case.id}[{case.rules[0]}]"
            yield Vector.from_parent(self, name=name, case=case, rule=words[case.rules[0]])


class Disagrees(Exception):
    """The program's answer to a vector is not the right one."""


class Vector(pytest.Item):
    """One vector."""

    def __init__(self, *, case: Case, rule: Rule, **known: Any) -> None:
        super().__init__(**known)
        self.case: Final = case
        self.rule: Final = rule
        self.user_properties.append(("rule", rule.id))

    def runtest(self) -> None:
        """Ask the program."""
        outcome = self.config.stash[ASKER].alone(self.case)
        if not outcome.passed:
            raise Disagrees(outcome)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What was asked and answered, and what the rule says."""
        if not isinstance(excinfo.value, Disagrees):
            return super().repr_failure(excinfo, style)
        outcome: Outcome = excinfo.value.args[0]
        return "\n".join(
            (
                f"{self.case.id}, {self.case.operation}: {self.case.comment}",
                f"{outcome.verdict.value}: {outcome.detail}",
                f"{self.rule.id} ({self.rule.page}): {self.rule.text}",
            )
        )

    def reportinfo(self) -> tuple[str, None, str]:
        """Where it stands."""
        return f"{self.case.id.partition('-')[0]}.json", None, self.name
