"""The files of vectors: as their makers make them, as their schema says, and all of the rules covered."""

import ast
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from test_rules import matrix

from clip_ref.errors import PreconditionError
from clip_ref.oracle import OPERATIONS, answer, load_cases, load_rules, vectors
from clip_ref.oracle.case import Case
from clip_ref.oracle.flags import BUG_TYPES, FLAGS
from clip_ref.oracle.operations import STEPS

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.rule("CNF-4")
@pytest.mark.usefixtures("made_once")
def test_the_files_are_as_they_are_made() -> None:
    found = vectors.differences()
    assert not found, "\n".join([*found, "after a change to cases, flags, operations or rules: clip-ref vectors write"])


@pytest.mark.rule("CNF-4")
def test_the_files_keep_to_their_schema() -> None:
    schema = json.loads((vectors.SHIPPED / "schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    whole = jsonschema.Draft202012Validator(schema)
    seen: set[str] = set()
    for step in STEPS:
        document = json.loads((vectors.SHIPPED / f"{step}.json").read_text("utf-8"))
        for case in document["cases"]:
            for part in {"inputs", "output"} & set(case):
                definition = schema["$defs"][f"{case['operation']}.{part}"]
                jsonschema.Draft202012Validator(definition).validate(case[part])
        # One case of each operation, valid or not, by the schema as a whole: that of 85 operations takes its time.
        some = {(case["operation"], case["result"]): case for case in document["cases"]}
        whole.validate({**document, "cases": list(some.values())})
        seen |= {operation for operation, _ in some}
    assert seen == {case.operation for case in load_cases()}


@pytest.mark.rule("CNF-4")
@pytest.mark.parametrize(
    "change",
    [
        {"result": "invalid"},
        {"output": None, "error": {"kind": "argument"}},
        {"rules": []},
        {"inputs": {}},
        {"inputs": {"secret": "0g"}},
        {"output": 1},
        {"operation": "keys.none"},
        {"comment": ""},
        {"more": 1},
    ],
)
def test_the_schema_refuses_what_is_no_vector(change: dict[str, object]) -> None:
    document = json.loads((vectors.SHIPPED / "keys.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(vectors.file_schema())
    assert document["cases"][0]["operation"] == "keys.public_key"
    document["cases"][0] |= change
    assert not validator.is_valid(document)


@pytest.mark.rule("CNF-4")
def test_every_file_says_its_wire_version_and_explains_its_flags() -> None:
    for step in STEPS:
        document = json.loads((vectors.SHIPPED / f"{step}.json").read_text("utf-8"))
        assert (document["step"], document["wire_version"]) == (step, 1)
        assert set(document["notes"]) == {flag for case in document["cases"] for flag in case["flags"]}


def test_flags_are_explained_by_a_rule_that_is_stated() -> None:
    for flag in FLAGS.values():
        assert flag.rule in load_rules()
        assert flag.bug_type in BUG_TYPES


@pytest.mark.rule("CNF-4")
def test_ids_are_unique_and_count_on() -> None:
    for step in STEPS:
        ids = [case.id for case in load_cases(step)]
        assert ids == [f"{step}-{number:03}" for number in range(1, len(ids) + 1)]


@pytest.mark.rule("CNF-4")
def test_the_reference_passes_every_vector_as_read_from_its_file() -> None:
    for case in load_cases():
        assert answer(case.operation, json.loads(json.dumps(case.inputs))).said == case.said


def test_the_table_of_rules_has_the_words_of_the_specification() -> None:
    stated = {s.rule: (s.page, s.text) for s in matrix.statements(ROOT / "spec")}
    found = load_rules()
    assert {rule: (f"{of.page}.md", of.text) for rule, of in found.items()} == {r: stated[r] for r in found}
    pages = {f"{page}.md" for page in (*STEPS, "conformance")}
    assert set(found) == {rule for rule, (page, _) in stated.items() if page in pages}


@pytest.mark.rule("CNF-11")
def test_an_unknown_step_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PreconditionError, match="no step 'mask'; there are context, parameters, "):
        load_cases("mask")


@pytest.mark.usefixtures("made_once")
def test_differences_are_told(tmp_path: Path) -> None:
    vectors.write(out=tmp_path)
    assert vectors.differences(found=tmp_path) == []
    keys = tmp_path / "keys.json"
    keys.write_text(keys.read_text("utf-8").replace('"wire_version": 1', '"wire_version": 2'), "utf-8")
    (tmp_path / "masking.json").unlink()
    (tmp_path / "other.json").write_text("{}")
    assert vectors.differences(found=tmp_path) == [
        'keys.json differs: line 3 should be "wire_version": 1,',
        "masking.json is missing",
        "other.json is there, but nothing makes it",
    ]


def test_making_them_again_makes_the_same(documents: dict[str, str]) -> None:
    assert vectors.documents() == documents


def test_a_case_survives_its_file() -> None:
    for case in load_cases():
        assert Case.of(json.loads(json.dumps(case.json()))) == case


# Coverage

NO_OPERATION = {
    "IDN-10": "a theorem on what the other rules of the page come to",
    "IDN-11": "a theorem on what the other rules of the page come to, over rounds",
    "INV-10": "for study: no client of a round scores like this",
    "SUB-5": "of a module with weights to run, which JSON has not",
    "SUB-6": "of a module with weights to run, which JSON has not",
    "SUB-7": "of a module with weights to run, which JSON has not",
    "ROU-14": "of what lies between the two sides of a round",
    "ROU-15": "of what lies between the two sides of a round",
    "ROU-17": "of a journal's file, which every implementation has in its own form",
}
"""Rules that no operation can show, with the reason."""

REFUSES_ONLY = {"WIR-5", "PAD-3", "MSK-2", "AGG-5", "ROU-18"}
"""Rules that say what must be refused and nothing else."""

NEVER_ASKED = {
    "RND-4": "of an array of another type than the ring's, which bytes in JSON cannot be",
    "INV-10": NO_OPERATION["INV-10"],
    "ROU-17": NO_OPERATION["ROU-17"],
}
"""Rules that an error names, with the reason why no inputs can bring it about."""


def refusing() -> Iterator[str]:
    """The rules that errors name, in the code of the steps and of what they stand on."""
    for path in (ROOT / "clip_ref").rglob("*.py"):
        if path.relative_to(ROOT / "clip_ref").parts[0] in ("oracle", "attacks", "lab", "train", "sim", "cli.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "rule" and isinstance(node.value, ast.Constant):
                yield str(node.value.value)


def refuses(case: Case) -> bool:
    """Whether something is refused: the inputs, or a step of a script in them."""
    output = case.said.get("output")
    steps = output if case.operation in ("round.client", "round.server") and isinstance(output, list) else []
    return case.result == "invalid" or any("error" in step for step in steps)


CASES = load_cases()
RULES = [rule for rule in load_rules() if not rule.startswith("CNF-")]


@pytest.mark.rule("CNF-4")
def test_three_valid_vectors_for_each_rule() -> None:
    shown = Counter(rule for case in CASES if case.result == "valid" for rule in case.rules)
    refused = Counter(case.rules[0] for case in CASES if case.result == "invalid")
    few = {rule for rule in RULES if (refused if rule in REFUSES_ONLY else shown)[rule] < 3}
    assert few == set(NO_OPERATION)


@pytest.mark.rule("CNF-4")
def test_an_invalid_vector_for_each_rule_that_refuses() -> None:
    refused = {case.rules[0] for case in CASES if refuses(case)}
    assert (set(refusing()) & set(RULES)) - refused == set(NEVER_ASKED)


@pytest.mark.rule("CNF-4")
def test_every_operation_has_a_valid_vector_and_every_flag_a_case() -> None:
    assert {case.operation for case in CASES if case.result == "valid"} == set(OPERATIONS)
    assert {flag for case in CASES for flag in case.flags} == set(FLAGS)
    assert len(CASES) >= 400
