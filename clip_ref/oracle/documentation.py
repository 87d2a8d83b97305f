"""The table of operations as Markdown, for the site.   Spec: conformance."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

import attrs

from clip_ref.oracle.jsontypes import describe, hints_of
from clip_ref.oracle.operation import OPERATIONS


def operations_page() -> str:
    """Every operation with its inputs and output, step by step, then the objects that occur in them."""
    lines: list[str] = []
    step = ""
    for asked in OPERATIONS.values():
        if asked.step != step:
            step = asked.step
            lines += [f"### {step.capitalize()}", ""]
        lines += [f"#### `{asked.name}`", "", f"{asked.summary} {', '.join(asked.rules)}.", ""]
        lines += ["| input | type |", "|---|---|", *(f"| `{n}` | {describe(h)} |" for n, h in asked.inputs.items())]
        lines += [f"| → output | {describe(asked.output)} |", ""]
    lines += ["### Objects", ""]
    for cls in _objects():
        docs = _field_docs(cls)
        lines += [
            f"#### `{cls.__name__}`",
            "",
            (cls.__doc__ or "").split("\n")[0],
            "",
            "| member | type | |",
            "|---|---|---|",
        ]
        lines += [f"| `{name}` | {describe(hint)} | {docs.get(name, '')} |" for name, hint in hints_of(cls).items()]
        lines.append("")
    return "\n".join(lines)


def _objects() -> list[type]:
    """Every attrs class that occurs in an operation's signature, each once, in the order of the table."""
    found: dict[type, None] = {}

    def visit(hint: Any) -> None:
        if isinstance(hint, type) and attrs.has(hint) and hint not in found:
            found[hint] = None
            for inner in hints_of(hint).values():
                visit(inner)
        for inner in get_args(hint):
            if not isinstance(inner, str):
                visit(inner)

    for asked in OPERATIONS.values():
        for hint in (*asked.inputs.values(), asked.output):
            visit(hint)
    return list(found)


def _field_docs(cls: type) -> dict[str, str]:
    """What stands under each field of an attrs class."""
    (body,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(body, ast.ClassDef)
    return dict(_documented(body.body))


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, doc in pairwise(body):
        match field, doc:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())
