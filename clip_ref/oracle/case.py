"""Cases: what a vector is, and how vectors are made.   Spec: conformance, rules CNF-4, CNF-5.

The makers in `clip_ref.oracle.cases` say what to ask; the reference says what is right; tests hold that against a second
implementation and against other tools. A maker also says whether the case is valid and which rule it is about, and is stopped
if the reference thinks otherwise.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import attrs

from clip_ref.oracle.flags import FLAGS
from clip_ref.oracle.jsontypes import Json
from clip_ref.oracle.operation import OPERATIONS, answer


@attrs.frozen
class Case:
    """CNF-4: one vector."""

    id: str
    """`step-number`, unique."""

    operation: str
    """What is asked."""

    rules: tuple[str, ...]
    """What it takes to get it right; first the rule that it is about: whoever fails here and at no earlier case broke that."""

    result: str
    """`valid`: there is an output; `invalid`: it must be refused."""

    flags: tuple[str, ...]
    """The bugs that it catches."""

    comment: str
    """What is special about it."""

    inputs: Json
    """Of the operation."""

    said: Mapping[str, Json]
    """`{"output": …}` or `{"error": …}`."""

    def json(self) -> dict[str, Json]:
        """As it stands in a file."""
        plain = attrs.asdict(self, filter=attrs.filters.exclude("said"))
        return {**plain, "rules": list(self.rules), "flags": list(self.flags), **self.said}

    @classmethod
    def of(cls, found: Mapping[str, Json]) -> "Case":
        """From a file's entry."""
        fields = {key: value for key, value in found.items() if key not in ("output", "error")}
        said = {key: value for key, value in found.items() if key in ("output", "error")}
        return cls(**{**fields, "rules": tuple(fields["rules"]), "flags": tuple(fields["flags"])}, said=said)


def derived(*names: object, length: int) -> bytes:
    """Bytes that follow from names alone, and differ for different names: no two fields of a case are alike by chance."""
    label = "/".join(map(str, names)).encode()
    blocks = -(-length // 32)
    return b"".join(hashlib.sha256(label + b"/%d" % k).digest() for k in range(blocks))[:length]


class Wrong(Exception):
    """A maker's case that the reference does not take as the maker says."""


class Book:
    """CNF-5: collects the cases of one step, in the order in which they are to be tried: what others rest on comes first."""

    def __init__(self, step: str) -> None:
        self.step: Final = step
        self.cases: list[Case] = []

    def bytes(self, field: str, length: int = 32) -> bytes:
        """Bytes for a field of the next case."""
        return derived(self.step, len(self.cases), field, length=length)

    def valid(self, operation: str, *rules: str, comment: str, flags: tuple[str, ...] = (), **values: Any) -> Json:
        """Add a case that has an output, which is returned as JSON; `values` are the operation's inputs."""
        return self._add(operation, rules, "valid", comment, flags, OPERATIONS[operation].json(values))["output"]

    def invalid(self, operation: str, *rules: str, comment: str, flags: tuple[str, ...] = (), **values: Any) -> None:
        """Add a case that must be refused, by the first of `rules`."""
        self._add(operation, rules, "invalid", comment, flags, OPERATIONS[operation].json(values))

    def raw(
        self, result: str, operation: str, *rules: str, comment: str, inputs: Json, flags: tuple[str, ...] = ()
    ) -> Json:
        """As `valid` and `invalid`, with inputs that are JSON already: for values that cannot be made at all."""
        return self._add(operation, rules, result, comment, flags, inputs)

    def _add(
        self, operation: str, rules: tuple[str, ...], result: str, comment: str, flags: tuple[str, ...], inputs: Json
    ) -> Mapping[str, Json]:
        number = f"{self.step}-{len(self.cases) + 1:03}"
        found = answer(operation, inputs)
        if not rules or set(flags) - set(FLAGS) or OPERATIONS[operation].step != self.step:
            raise Wrong(f"{number} ({comment}): a case has a rule, known flags, and an operation of its step")
        if ("output" in found.said) != (result == "valid") or (result == "invalid" and found.rule != rules[0]):
            raise Wrong(f"{number} ({comment}): said to be {result} by {rules[0]}, answered {found}")
        self.cases.append(Case(number, operation, rules, result, flags, comment, inputs, found.said))
        return found.said
