"""The rules that cases are about, with their words.   Spec: conformance, rule CNF-9."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs

_STATEMENT: Final = re.compile(r"\*\*([A-Z]{3}-\d+)\.\*\* ")


@attrs.frozen
class Rule:
    """A numbered rule of the specification."""

    id: str
    """Such as `MSK-5`."""

    page: str
    """The page that states it, without `.md`."""

    text: str
    """What it says, in Markdown on one line."""


def stated(*, spec: Path, pages: Iterable[str]) -> dict[str, Rule]:
    """The rules that these pages in the directory `spec` state: the paragraphs that open with a bold id."""
    found = {}
    for page in pages:
        for paragraph in (spec / f"{page}.md").read_text("utf-8").split("\n\n"):
            text = " ".join(paragraph.split())
            if match := _STATEMENT.match(text):
                found[match[1]] = Rule(match[1], page, text[match.end() :])
    return found
