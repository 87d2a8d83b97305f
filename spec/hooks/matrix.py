"""The matrix of rules: where each is stated, where the code keeps it, which tests check it.

A hook of the documentation site, and the library that `tests/test_rules.py` fails by. It reads text and syntax trees; nothing
of the package is imported.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

PAGE = "matrix.md"
"""The page that is generated."""

CHECKS = "<!-- checks -->"
"""Stands on a page of rules where its own part of the matrix goes."""

_ID = r"(?!UTF-|VGG-)[A-Z]{3}-\d{1,2}(?!\w)"  # UTF-8 and VGG-9 look like rules and are none
_RULE = re.compile(rf"(?<![\w`-])({_ID})(?:\.\.({_ID}))?")
_STATEMENT = re.compile(rf"\*\*({_ID})\.\*\* ")
_HEADER = re.compile(r"Spec: ([\w-]+), (.*)")
_ASKED = tuple(f"oracle.{part}" for part in ("operations", "cases", "flags", "zoo"))
_ORIGINS = ("(P)", "(D)")


class Statement(NamedTuple):
    """A rule as the specification states it."""

    rule: str
    page: str
    text: str


class Mention(NamedTuple):
    """A place in the code that names a rule: in a docstring, or as the rule that an error names."""

    rule: str
    where: str


class Mark(NamedTuple):
    """A test that says that it checks a rule."""

    rule: str
    test: str


class Header(NamedTuple):
    """What a module's docstring says about where its rules are stated."""

    module: str
    page: str
    rules: tuple[str, ...]


class Matrix(NamedTuple):
    """Everything that the four kinds of files say about rules."""

    statements: tuple[Statement, ...]
    mentions: tuple[Mention, ...]
    marks: tuple[Mark, ...]
    headers: tuple[Header, ...]

    def rules(self) -> list[str]:
        """All stated rules, in the order of pages, then of numbers."""
        return list(dict.fromkeys(s.rule for s in self.statements))


def rules_in(text: str) -> Iterator[str]:
    """The rules that a text names, ranges spelled out. A rule in backticks is an example, not a mention."""
    for first, last in _RULE.findall(text):
        prefix, low = _split(first)
        for number in range(low, (_split(last)[1] if last else low) + 1):
            yield f"{prefix}-{number}"


def _split(rule: str) -> tuple[str, int]:
    prefix, number = rule.split("-")
    return prefix, int(number)


def statements(spec: Path) -> tuple[Statement, ...]:
    """The paragraphs of `spec`/*.md that open with a bold rule id and a full stop."""
    found = []
    for page in sorted(spec.glob("*.md")):
        for paragraph in page.read_text("utf-8").split("\n\n"):
            if match := _STATEMENT.match(text := " ".join(paragraph.split())):
                found.append(Statement(match[1], page.name, text[match.end() :]))
    return tuple(found)


def mentions(package: Path) -> tuple[Mention, ...]:
    """The rules that functions and classes of `package` name in their strings; a module's own docstring does not count.

    Nor does what the oracle asks and who gets it wrong: that is no code that keeps a rule.
    """
    found: dict[Mention, None] = {}
    for module, tree in _modules(package):
        if module.startswith(_ASKED):
            continue
        body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
        for node in body:
            for scope, inner in _scoped(node, ()):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    where = ".".join((module, *scope[:2]))
                    found |= dict.fromkeys(Mention(rule, where) for rule in rules_in(inner.value))
    return tuple(found)


def headers(package: Path) -> tuple[Header, ...]:
    """What the modules' docstrings say about their pages."""
    found = []
    for module, tree in _modules(package):
        if match := _HEADER.search(ast.get_docstring(tree) or ""):
            found.append(Header(module, f"{match[1]}.md", tuple(rules_in(match[2]))))
    return tuple(found)


def marks(tests: Path) -> tuple[Mark, ...]:
    """Every `pytest.mark.rule(…)` under `tests`, with the test, class or file that carries it."""
    found = []
    for path in sorted(tests.rglob("*.py")):
        file = path.relative_to(tests.parent).as_posix()
        for scope, node in _scoped(ast.parse(path.read_text("utf-8")), ()):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.rule"):
                found += [Mark(ast.unparse(arg).strip("'\""), "::".join((file, *scope[:2]))) for arg in node.args]
    return tuple(found)


def _modules(package: Path) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        yield name or package.name, ast.parse(path.read_text("utf-8"))


def _scoped(node: ast.AST, scope: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], ast.AST]]:
    """`node` and all below it, each with the names of the classes and functions that it is in, decorators included."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        scope = (*scope, node.name)
    yield scope, node
    for child in ast.iter_child_nodes(node):
        yield from _scoped(child, scope)


def collect(root: Path) -> Matrix:
    """The matrix of the project at `root`, which has `spec`, `clip_ref` and `tests`."""
    package = root / "clip_ref"
    return Matrix(statements(root / "spec"), mentions(package), marks(root / "tests"), headers(package))


def problems(matrix: Matrix) -> list[str]:
    """What is wrong with the matrix, a sentence each; nothing, if every rule is stated, kept and checked."""
    counted = Counter(s.rule for s in matrix.statements)
    stated, coded, tested = set(counted), {m.rule for m in matrix.mentions}, {m.rule for m in matrix.marks}
    out = [f"{rule} is stated {count} times" for rule, count in counted.items() if count > 1]
    for prefix, group in groupby(sorted(map(_split, stated)), key=lambda item: item[0]):
        numbers = [number for _, number in group]
        out += [f"{prefix}-{n} is missing: numbers have no gaps" for n in range(1, max(numbers)) if n not in numbers]
        pages = {s.page for s in matrix.statements if _split(s.rule)[0] == prefix}
        if len(pages) > 1:
            out.append(f"the rules {prefix} are spread over {', '.join(sorted(pages))}")
    out += [f"{s.rule} ends neither in (P) nor in (D)" for s in matrix.statements if not s.text.endswith(_ORIGINS)]
    out += [f"{rule} is stated, but the code does not name it" for rule in _ordered(stated - coded)]
    out += [f"{rule} is in the code ({_first(matrix, rule)}), but not stated" for rule in _ordered(coded - stated)]
    out += [f"{rule} has no test" for rule in _ordered(stated - tested)]
    out += [f"{mark.test} marks {mark.rule}, which is not stated" for mark in matrix.marks if mark.rule not in stated]
    for header in matrix.headers:
        here = {s.rule for s in matrix.statements if s.page == header.page}
        for rule in header.rules:
            if rule not in here:
                out.append(f"{header.module} says that {rule} is stated on {header.page}, but it is not")
    return out


def _ordered(rules: Iterable[str]) -> list[str]:
    return sorted(rules, key=_split)


def _first(matrix: Matrix, rule: str) -> str:
    return next(m.where for m in matrix.mentions if m.rule == rule)


def table(matrix: Matrix, *, page: str | None = None) -> str:
    """The matrix as a Markdown table; of one page alone, if one is given."""
    pages = {s.rule: s.page for s in matrix.statements}
    rows = ["| rule | in the code | tests |", "|---|---|---|"]
    for rule in matrix.rules():
        if page in (None, pages[rule]):
            code = dict.fromkeys(f"`{m.where}`" for m in matrix.mentions if m.rule == rule)
            tests = dict.fromkeys(f"`{m.test.removeprefix('tests/')}`" for m in matrix.marks if m.rule == rule)
            cells = (f"[{rule}]({pages[rule]}#{rule})", *("<br>".join(cell) or "**none**" for cell in (code, tests)))
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def render(matrix: Matrix) -> str:
    """The page of the whole matrix."""
    pages = {s.page for s in matrix.statements}
    found = problems(matrix)
    wrong = ["## What is missing", "", *(f"- {problem}" for problem in found)]
    return "\n".join(
        [
            "# Matrix of rules",
            "",
            f"{len(matrix.rules())} rules on {len(pages)} pages. For each rule: the functions whose docstring or error",
            "names it, and the tests that carry its mark. The page is made from the sources whenever the site is built; the",
            "test suite fails if a rule is not stated exactly once, is not in the code, or has no test.",
            "",
            *([*wrong, ""] if found else []),
            table(matrix),
            "",
        ]
    )


def linked(text: str, matrix: Matrix) -> str:
    """A page with an anchor at every statement and a link at every other mention of a rule."""
    pages = {s.rule: s.page for s in matrix.statements}

    def link(match: re.Match[str]) -> str:
        return f"[{match[0]}]({pages[match[0]]}#{match[0]})" if match[0] in pages else match[0]

    out, fenced = [], False
    for line in text.split("\n"):
        fenced ^= line.lstrip().startswith("```")
        if fenced or line.startswith(("#", ":::", "    ")):
            out.append(line)
            continue
        opening = _STATEMENT.match(line)
        start = f"**{opening[1]}.**{{ #{opening[1]} }} " if opening else ""
        spans = line[opening.end() if opening else 0 :].split("`")
        spans[::2] = [re.sub(rf"(?<![\w\[#-]){_ID}", link, span) for span in spans[::2]]
        out.append(start + "`".join(spans))
    return "\n".join(out)


_built: list[Matrix] = []


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the generated page."""
    from mkdocs.structure.files import File

    _built[:] = [collect(Path(config.config_file_path).parent)]
    files.append(File.generated(config, PAGE, content=render(_built[0])))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Anchors, links, and each page's part of the matrix."""
    if page.file.src_path == PAGE:
        return markdown
    return linked(markdown, _built[0]).replace(CHECKS, table(_built[0], page=page.file.src_path))


def on_page_content(html: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Show the code without a click."""
    return html.replace('<details class="mkdocstrings-source">', '<details class="mkdocstrings-source" open>')
