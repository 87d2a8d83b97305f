"""Puts the zoo, as it was last visited, on the page of conformance."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ZOO = "<!-- zoo -->"
RESULT = Path("benchmarks", "results", "zoo.json")


def table(result: Path) -> str:
    """Defect, rule and first failing case of every wrong implementation."""
    from clip_ref.oracle.zoo import DEFECTS

    rows = ["| defect | what it does | seen in | rule | first failing case |", "|---|---|---|---|---|"]
    for row in json.loads(result.read_text("utf-8")):
        found = DEFECTS[row["defect"]]
        rows.append(f"| `{found.name}` | {found.description} | {found.source} | {row['rule']} | `{row['case']}` |")
    return "\n".join(rows)


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Replace the mark by the table."""
    if ZOO not in markdown:
        return markdown
    return markdown.replace(ZOO, table(Path(config.config_file_path).parent / RESULT))
