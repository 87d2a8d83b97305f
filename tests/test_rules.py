"""The rules: each is stated once, kept somewhere in the code and checked by some test; and this check is itself checked."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def load_matrix() -> Any:
    """The site's hook: it is not part of the package."""
    spec = importlib.util.spec_from_file_location("matrix", ROOT / "spec" / "hooks" / "matrix.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


matrix = load_matrix()


def test_every_rule_is_stated_once_kept_and_checked() -> None:
    found = matrix.problems(matrix.collect(ROOT))
    assert not found, "\n" + "\n".join(found)


def test_every_page_shows_its_part_of_the_matrix() -> None:
    pages = {statement.page for statement in matrix.collect(ROOT).statements}
    assert [p for p in sorted(pages) if matrix.CHECKS not in (ROOT / "spec" / p).read_text("utf-8")] == []


SPEC = """# Steps

**ABC-1.** The first MUST hold, and what it says may run
over two lines. (P)

**ABC-2.** The second MUST hold. (D)

Prose names ABC-1 too, and `**ABC-9.**` is no statement here.
"""
CODE = '''"""A step.   Spec: step, rules ABC-1..ABC-2.

Naming ABC-7 up here counts for nothing.
"""


def one(x):
    """ABC-1..ABC-2: does it, e.g. not `ABC-8`, nor AES-128, nor SHA-256."""


class Two:
    def check(self):
        def inner():
            raise Error(rule="ABC-2")
'''
TEST = """import pytest

@pytest.mark.rule("ABC-1", "ABC-2")
def test_both(): ...
"""


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Any]:
    """A small project that has no problems, but for what is changed in one of its files."""

    def make(**changes: tuple[str, str]) -> Any:
        for name, path, text in (
            ("spec", "spec/step.md", SPEC),
            ("code", "clip_ref/step.py", CODE),
            ("test", "tests/deep/test_step.py", TEST),
        ):
            old, new = changes.get(name, ("", ""))
            assert old in text
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text.replace(old, new, 1) if old else text, "utf-8")
        return matrix.collect(tmp_path)

    return make


def test_a_project_without_problems(project: Callable[..., Any]) -> None:
    assert matrix.problems(project()) == []


def test_what_is_collected(project: Callable[..., Any]) -> None:
    found = project()
    assert [(s.rule, s.page) for s in found.statements] == [("ABC-1", "step.md"), ("ABC-2", "step.md")]
    assert found.statements[0].text == "The first MUST hold, and what it says may run over two lines. (P)"
    assert set(found.mentions) == {("ABC-1", "step.one"), ("ABC-2", "step.one"), ("ABC-2", "step.Two.check")}
    assert [m.rule for m in found.marks] == ["ABC-1", "ABC-2"]
    assert {m.test for m in found.marks} == {"tests/deep/test_step.py::test_both"}
    assert found.headers == (("step", "step.md", ("ABC-1", "ABC-2")),)


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("code", "ABC-1..ABC-2: does it", "ABC-2: does it", "ABC-1 is stated, but the code does not name it"),
        ("code", 'rule="ABC-2"', 'rule="ABC-3"', "ABC-3 is in the code (step.Two.check), but not stated"),
        ("test", '"ABC-1", ', "", "ABC-1 has no test"),
        ("test", '"ABC-1"', '"ABC-1", "ABC-4"', "tests/deep/test_step.py::test_both marks ABC-4, which is not stated"),
        ("test", '"ABC-1"', "*RULES", "tests/deep/test_step.py::test_both marks *RULES, which is not stated"),
        ("spec", "**ABC-2.** The second", "**ABC-1.** The second", "ABC-1 is stated 2 times"),
        ("spec", "**ABC-2.** The second", "**ABC-3.** The second", "ABC-2 is missing: numbers have no gaps"),
        ("spec", "**ABC-1.** The first", "**ABC-3.** The first", "ABC-1 is missing: numbers have no gaps"),
        ("spec", "hold. (D)", "hold.", "ABC-2 ends neither in (P) nor in (D)"),
        ("code", "Spec: step", "Spec: stop", "step says that ABC-1 is stated on stop.md, but it is not"),
        (
            "code",
            "rules ABC-1..ABC-2",
            "rules ABC-1..ABC-3",
            "step says that ABC-3 is stated on step.md, but it is not",
        ),
    ],
)
def test_a_problem_is_found(project: Callable[..., Any], file: str, old: str, new: str, problem: str) -> None:
    assert problem in matrix.problems(project(**{file: (old, new)}))


def test_what_the_oracle_asks_keeps_no_rule(project: Callable[..., Any], tmp_path: Path) -> None:
    project(code=("ABC-1..ABC-2: does it", "ABC-2: does it"))
    (tmp_path / "clip_ref" / "oracle").mkdir()
    for name in ("operations", "cases", "flags", "zoo"):
        (tmp_path / "clip_ref" / "oracle" / f"{name}.py").write_text('def asked(): ask("ABC-1")\n', "utf-8")
    assert matrix.problems(matrix.collect(tmp_path)) == ["ABC-1 is stated, but the code does not name it"]


def test_rules_of_one_kind_stay_on_one_page(project: Callable[..., Any], tmp_path: Path) -> None:
    project()
    (tmp_path / "spec" / "other.md").write_text("**ABC-3.** The third MUST hold. (D)\n", "utf-8")
    assert "the rules ABC are spread over other.md, step.md" in matrix.problems(matrix.collect(tmp_path))


@pytest.mark.parametrize(
    "mark",
    [
        'pytestmark = pytest.mark.rule("ABC-1", "ABC-2")\n',
        'pytestmark = [pytest.mark.slow, pytest.mark.rule("ABC-1", "ABC-2")]\n',
        '@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.rule("ABC-1", "ABC-2"))])\ndef test(x): ...\n',
        '@pytest.mark.rule("ABC-1", "ABC-2")\nclass TestStep: ...\n',
    ],
)
def test_marks_are_found_wherever_pytest_takes_them(project: Callable[..., Any], mark: str) -> None:
    assert matrix.problems(project(test=(TEST, f"import pytest\n{mark}"))) == []


def test_statements_are_anchored_and_other_mentions_linked(project: Callable[..., Any]) -> None:
    assert "**ABC-2.**{ #ABC-2 } The second" in matrix.linked(SPEC, project())
    assert "names [ABC-1](step.md#ABC-1) too, and `**ABC-9.**` is" in matrix.linked(SPEC, project())
    for kept in ("# About ABC-1", "::: step.ABC-1", "```\nABC-1\n```", "    ABC-1", "ABC-5"):
        assert matrix.linked(kept, project()) == kept


def test_the_page_says_what_is_missing(project: Callable[..., Any]) -> None:
    good, bad = matrix.render(project()), matrix.render(project(test=('"ABC-1", ', "")))
    row = "| [ABC-2](step.md#ABC-2) | `step.one`<br>`step.Two.check` | `deep/test_step.py::test_both` |"
    assert row in good
    assert row in bad
    assert "missing" not in good
    assert "- ABC-1 has no test" in bad
    assert "| [ABC-1](step.md#ABC-1) | `step.one` | **none** |" in bad


MARKED = """import pytest

@pytest.mark.rule("ABC-1")
def test_one(): ...

@pytest.mark.rule("ABC-1", "ABC-2")
def test_two(): ...

@pytest.mark.rule("ABC-12")
def test_three(): ...

@pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.rule("ABC-3"))])
def test_four(x): ...

def test_five(): ...
"""


@pytest.mark.parametrize(
    ("asked", "run"),
    [
        ((), 6),
        (("ABC-1",), 2),
        (("ABC-2",), 1),
        (("ABC-3",), 1),
        (("ABC-1", "ABC-12"), 3),
        (("ABC",), 0),
    ],
)
def test_the_option_runs_what_carries_a_rule(pytester: pytest.Pytester, asked: tuple[str, ...], run: int) -> None:
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text("utf-8"))
    pytester.makeini("[pytest]\nmarkers = rule: rules")
    pytester.makepyfile(MARKED)
    found = pytester.runpytest("-p", "no:randomly", *(f"--rule={rule}" for rule in asked))
    found.assert_outcomes(passed=run, deselected=6 - run)
