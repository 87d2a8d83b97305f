"""The zoo: wrong implementations, each with one defect, that prove the vectors.   Spec: conformance, rule CNF-12.

`python -m clip_ref.oracle.zoo NAME` is one of them, as a program to point the runner at.
"""

import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs

from clip_ref.oracle.jsontypes import Json
from clip_ref.oracle.report import Report
from clip_ref.oracle.runner import conformance
from clip_ref.oracle.zoo import primitives, spoken, steps
from clip_ref.oracle.zoo.defect import DEFECTS, Defect

__all__ = ["DEFECTS", "Caught", "Defect", "visit"]

_ALL = (primitives, spoken, steps)
"""Importing them fills the zoo."""


@attrs.frozen
class Caught:
    """What the vectors made of a wrong implementation."""

    defect: Defect
    """It."""

    rule: str | None
    """The rule that the runner named first; none if it noticed nothing."""

    case: str | None
    """The first case that failed."""

    failed: tuple[str, ...]
    """Every case that failed."""

    @property
    def caught(self) -> bool:
        """Whether it fell, by the right rule."""
        return self.rule == self.defect.rule

    def json(self) -> dict[str, Json]:
        """As the command prints it."""
        return {"defect": self.defect.name, "caught": self.caught, "rule": self.rule, "case": self.case}


def command(name: str) -> list[str]:
    """How to start a wrong implementation."""
    return [sys.executable, "-m", "clip_ref.oracle.zoo", name]


def _seen(defect: Defect, report: Report) -> Caught:
    broken = report.broken()
    first = broken[0] if broken else None
    failed = tuple(outcome.case.id for outcome in report.failures())
    return Caught(defect, first.rule if first else None, first.case if first else None, failed)


def visit(names: Iterable[str] = DEFECTS, *, workers: int = 2) -> Iterator[Caught]:
    """Ask each of these wrong implementations all vectors, `workers` at a time; in their order, as they are done."""

    def one(name: str) -> Caught:
        return _seen(DEFECTS[name], conformance(command=command(name)))

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(one, names)
