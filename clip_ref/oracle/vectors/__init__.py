"""The vectors as files: shipped with the package, and made anew.   Spec: conformance, rules CNF-4, CNF-5.

Beside this module stand `STEP.json` for every step, `schema.json`, the JSON schema (2020-12) of these files, and `rules.json`,
the words of the rules. `clip-ref vectors write` writes all of them again, `clip-ref vectors check` says what would change.

>>> first = load_cases("keys")[0]
>>> first.id, first.operation, first.rules[0]
('keys-001', 'keys.public_key', 'KEY-1')
>>> load_rules()[first.rules[0]].page
'keys'
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from clip_ref.errors import PreconditionError
from clip_ref.oracle.case import Case
from clip_ref.oracle.flags import BUG_TYPES, FLAGS
from clip_ref.oracle.jsontypes import Json, schema
from clip_ref.oracle.operation import OPERATIONS
from clip_ref.oracle.operations import STEPS
from clip_ref.oracle.rules import Rule, stated
from clip_ref.wire import WIRE_VERSION

SHIPPED: Final = Path(__file__).parent
"""Where the package's own files are."""

_SPEC: Final = SHIPPED.parents[2] / "spec"
"""The specification's pages, in a source tree; a wheel carries the words of the rules only."""


def check_steps(steps: Iterable[str]) -> tuple[str, ...]:
    """These steps in the order of `STEPS`, all of them if there is none; `PreconditionError` (CNF-11) for an unknown one."""
    wanted = tuple(steps)
    for step in wanted:
        if step not in STEPS:
            raise PreconditionError(rule="CNF-11", detail=f"there is no step {step!r}; there are {', '.join(STEPS)}")
    return tuple(step for step in STEPS if not wanted or step in wanted)


def load_cases(*steps: str) -> tuple[Case, ...]:
    """The shipped vectors of these steps, or of all, in the order in which they are to be tried."""
    found: list[Case] = []
    for step in check_steps(steps):
        document = json.loads((SHIPPED / f"{step}.json").read_text("utf-8"))
        found += map(Case.of, document["cases"])
    return tuple(found)


def load_rules() -> dict[str, Rule]:
    """The rules of the steps and of conformance itself, by id."""
    found = json.loads((SHIPPED / "rules.json").read_text("utf-8"))
    return {rule: Rule(rule, **fields) for rule, fields in found.items()}


def documents() -> dict[str, str]:
    """All files by name, made anew: the cases by their makers and the reference, the rules from the specification's pages."""
    from clip_ref.oracle.cases import book_of

    files = {f"{step}.json": _step_file(step, book_of(step).cases) for step in STEPS}
    files["schema.json"] = json.dumps(file_schema(), indent=1, ensure_ascii=False) + "\n"
    words = stated(spec=_SPEC, pages=(*STEPS, "conformance")) if _SPEC.is_dir() else load_rules()
    files["rules.json"] = "{\n" + ",\n".join(_rule_line(rule) for rule in words.values()) + "\n}\n"
    return files


def write(*, out: Path = SHIPPED) -> None:
    """Write all files into a directory, which is made if need be."""
    out.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (out / name).write_text(text, "utf-8", newline="\n")


def differences(*, found: Path = SHIPPED) -> list[str]:
    """What is not as `write` would write it, a line for each file."""
    made = documents()
    out = []
    for name, text in made.items():
        file = found / name
        if not file.is_file():
            out.append(f"{name} is missing")
        elif file.read_text("utf-8") != text:
            out.append(f"{name} differs: {_first_difference(file.read_text('utf-8'), text)}")
    extra = {file.name for file in found.glob("*.json")} - set(made)
    return out + [f"{name} is there, but nothing makes it" for name in sorted(extra)]


def _first_difference(found: str, made: str) -> str:
    """Which line is the first that is not as it would be made."""
    theirs, ours = found.split("\n"), made.split("\n")
    at = next((k for k, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours)))
    line = ours[at] if at < len(ours) else "nothing"
    return f"line {at + 1} should be {line if len(line) < 100 else line[:97] + '...'}"


def _step_file(step: str, made: Iterable[Case]) -> str:
    """One case a line, so that a changed case is a changed line."""
    made = list(made)
    used = {flag for case in made for flag in case.flags}
    notes = {name: _note(name) for name in FLAGS if name in used}
    head = {"step": step, "wire_version": WIRE_VERSION, "schema": "schema.json"}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    lines += _braced("notes", "{}", [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in notes.items()])
    lines[-1] += ","
    lines += _braced("cases", "[]", [json.dumps(case.json(), ensure_ascii=False) for case in made])
    return "\n".join(["{", *lines, "}", ""])


def _braced(name: str, braces: str, entries: list[str]) -> list[str]:
    return [f'"{name}": {braces[0]}', *(entry + "," for entry in entries[:-1]), *entries[-1:], braces[1]]


def _note(name: str) -> dict[str, Json]:
    flag = FLAGS[name]
    return {"bug_type": flag.bug_type, "rule": flag.rule, "description": flag.description, "effect": flag.effect}


def _rule_line(rule: Rule) -> str:
    fields = attrs.asdict(rule, filter=attrs.filters.exclude("id"))
    return f"{json.dumps(rule.id)}: {json.dumps(fields, ensure_ascii=False)}"


def _object(properties: Mapping[str, Any], *, optional: tuple[str, ...] = ()) -> dict[str, Json]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def file_schema() -> dict[str, Json]:
    """The JSON schema of a step's file; under `$defs` the inputs and the output of every operation."""
    text = {"type": "string", "minLength": 1}
    rule = {"type": "string", "pattern": "^[A-Z]{3}-[1-9][0-9]?$"}
    id_or_server = {"anyOf": [{"type": "integer", "minimum": 0}, {"const": "server"}]}
    definitions: dict[str, Json] = {}
    ways: list[Json] = []
    for name, asked in OPERATIONS.items():
        definitions[f"{name}.inputs"] = asked.schema()
        definitions[f"{name}.output"] = schema(asked.output)
        parts = {part: {"$ref": f"#/$defs/{name}.{part}"} for part in ("inputs", "output")}
        ways.append({"if": {"properties": {"operation": {"const": name}}}, "then": {"properties": parts}})
    definitions["error"] = {
        "oneOf": [
            _object({"kind": {"const": "argument"}}),
            _object({"kind": {"const": "party"}, "culprit": id_or_server}),
            _object({"kind": {"const": "aborted"}, "stage": text}),
        ]
    }
    members = {
        "id": {"type": "string", "pattern": "^[a-z]+-[0-9]{3,}$"},
        "operation": {"enum": list(OPERATIONS)},
        "rules": {"type": "array", "items": rule, "minItems": 1},
        "result": {"enum": ["valid", "invalid"]},
        "flags": {"type": "array", "items": text, "uniqueItems": True},
        "comment": text,
        "inputs": {"type": "object"},
        "output": {},
        "error": {"$ref": "#/$defs/error"},
    }
    definitions["case"] = _object(members, optional=("output", "error")) | {
        "allOf": ways,
        "if": {"properties": {"result": {"const": "valid"}}},
        "then": {"required": ["output"], "properties": {"error": False}},
        "else": {"required": ["error"], "properties": {"output": False}},
    }
    note = _object({"bug_type": {"enum": list(BUG_TYPES)}, "rule": rule, "description": text, "effect": text})
    head = {
        "step": {"enum": list(STEPS)},
        "wire_version": {"const": WIRE_VERSION},
        "schema": {"const": "schema.json"},
        "notes": {"type": "object", "additionalProperties": note},
        "cases": {"type": "array", "items": {"$ref": "#/$defs/case"}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Vectors of one step",
        **_object(head),
        "$defs": definitions,
    }
