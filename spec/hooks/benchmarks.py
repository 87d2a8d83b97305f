"""What benchmarks measured, on the page about them: from the files in `benchmarks/results`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

SCALE = "<!-- scale -->"
"""Stands where the table of large rounds goes."""


def scale_table(results: dict[str, dict[str, Any]]) -> str:
    """What `bench_scale.py` has written, a row for each security level."""
    rows = [
        "| level | n, k, d | drop out | wall | CPU | memory at most | measured on |",
        "|---|---|---|---|---|---|---|",
    ]
    for level, found in sorted(results.items()):
        rows.append(
            f"| `{level}` | {found['clients']:,}, {found['neighbours']}, {found['weights']:,} | {found['drop_outs']:,} "
            f"| {found['wall_seconds']:.0f} s | {found['cpu_seconds']:.0f} s | {found['peak_gb']:.2f} GB "
            f"| {found['cores']} cores, Python {found['python']} |"
        )
    return "\n".join(rows)


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Replace the mark by the table."""
    if SCALE not in markdown:
        return markdown
    file = Path(config.config_file_path).parent / "benchmarks" / "results" / "scale.json"
    table = (
        scale_table(json.loads(file.read_text("utf-8"))) if file.exists() else "Not measured here yet: `make bench`."
    )
    return markdown.replace(SCALE, table)
