"""An operation: something that a program is asked to do, with the rules by which it does it.   Spec: conformance, CNF-1..CNF-3.

The reference answers by calling the package; a program under test answers by whatever it does. Both are asked in JSON.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, ParamSpec, TypeVar, get_type_hints

import attrs

from clip_ref.errors import SERVER, ClipError, ContributionError, PreconditionError, RoundAborted
from clip_ref.oracle.jsontypes import Json, from_json, malformed, schema, to_json

_P = ParamSpec("_P")
_R = TypeVar("_R")

Answers = Callable[[str, Json], Mapping[str, Json]]
"""What a program says to an operation and its inputs: `{"output": …}`, `{"error": …}` or `{"unsupported": True}`."""

Draw = Callable[[Random], Mapping[str, Any]]
"""Inputs at random, as values by name: what the generator gives is all that they depend on."""


@attrs.frozen
class Operation:
    """One entry of the table of operations."""

    name: str
    """`step.verb`; the step is the page of the specification."""

    rules: tuple[str, ...]
    """The rules that say what comes out."""

    call: Callable[..., Any]
    """What the package does."""

    inputs: Mapping[str, Any]
    """The type of each input, by name."""

    output: Any
    """The type of the output."""

    summary: str
    """What it does, in a sentence or two."""

    draw: list[Draw] = attrs.field(factory=list)
    """How random inputs are drawn: one entry, once it is known."""

    @property
    def step(self) -> str:
        """The page of the specification that it is on."""
        return self.name.partition(".")[0]

    def values(self, inputs: Json) -> dict[str, Any]:
        """The inputs as values; `PreconditionError`: CNF-1 if they are of another form, else the rule that they break."""
        if not isinstance(inputs, dict) or set(inputs) != set(self.inputs):
            raise malformed("inputs", f"must be an object of {', '.join(self.inputs) or 'nothing'}")
        return {name: from_json(inputs[name], hint, name=name) for name, hint in self.inputs.items()}

    def json(self, values: Mapping[str, Any]) -> dict[str, Json]:
        """Inputs as JSON."""
        return {name: to_json(values[name], hint) for name, hint in self.inputs.items()}

    def schema(self) -> dict[str, Json]:
        """The JSON schema of its inputs."""
        return {
            "type": "object",
            "properties": {name: schema(hint) for name, hint in self.inputs.items()},
            "required": list(self.inputs),
            "additionalProperties": False,
        }


OPERATIONS: Final[dict[str, Operation]] = {}
"""Every operation by name, in the order of the specification's pages."""


def operation(name: str, *rules: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Enter a function in the table: its signature says what goes in and comes out, its docstring what it does."""

    def enter(function: Callable[_P, _R]) -> Callable[_P, _R]:
        hints = get_type_hints(function, include_extras=True)
        output = hints.pop("return")
        summary = " ".join((function.__doc__ or "").split())
        OPERATIONS[name] = Operation(name, rules, function, hints, output, summary)
        return function

    return enter


def draws(name: str) -> Callable[[Draw], Draw]:
    """Enter a function as the one that draws random inputs of the operation `name`."""

    def enter(function: Draw) -> Draw:
        OPERATIONS[name].draw[:] = [function]
        return function

    return enter


def refusal(error: ClipError) -> dict[str, Json]:
    """CNF-3: how a refusal is told: whose fault it was, and not in which words."""
    if isinstance(error, ContributionError):
        return {"kind": "party", "culprit": "server" if error.culprit == SERVER else error.culprit}
    if isinstance(error, RoundAborted):
        return {"kind": "aborted", "stage": error.stage}
    return {"kind": "argument"}


@attrs.frozen
class Answer:
    """What an operation came to."""

    said: Mapping[str, Json]
    """`{"output": …}` or `{"error": …}`: the answer's members beside its id."""

    rule: str | None = None
    """The rule that refused, if one did."""


def answer(name: str, inputs: Json) -> Answer:
    """CNF-2: what the reference answers. `PreconditionError` (CNF-1) for an unknown operation or malformed inputs."""
    if name not in OPERATIONS:
        raise malformed("operation", f"{name} is none")
    asked = OPERATIONS[name]
    try:
        return Answer({"output": to_json(asked.call(**asked.values(inputs)), asked.output)})
    except ClipError as error:
        if isinstance(error, PreconditionError) and error.rule in ("CNF-1", "TRA-4"):
            raise
        return Answer({"error": refusal(error)}, error.rule)
