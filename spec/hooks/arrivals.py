"""The tables of what arrival times tell, from the file that `make arrivals` writes.

A hook of the documentation site; the benchmark prints by it, too.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

PLACE = "<!-- arrivals -->"
"""Stands on the page where the tables go."""

RESULT = Path("benchmarks") / "results" / "arrivals.json"

SCORES = {
    "arrival": "arrival",
    "corrected": "less set-up",
    "first_byte": "first byte",
    "transfer": "transfer",
    "setup": "set-up",
}


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def _told(fleet: str, kind: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name, row in kind.items():
        scores = row["scores"]
        best = scores[row["best"]]
        cells = [f"{scores[score]['auc']:.2f}" for score in SCORES]
        rows.append([fleet, name, *cells, f"{best['auc']:.2f}", f"{best['advantage']:.2f}", f"{best['bits']:.2f}"])
    return rows


def tables(found: Mapping[str, Any]) -> str:
    """The three tables, in Markdown: who is slow, who prunes, what it costs."""
    fleets = found["fleets"]
    head = ["fleet", "the server has seen", *SCORES.values(), "best", "advantage", "bits"]
    slow = [row for name, one in fleets.items() for row in _told(name, one["slow"])]
    pruned = [row for name, one in fleets.items() for row in _told(name, one["pruned"])]
    seconds = [
        [name, mode, f"{times['warm_up']:.2f} s", f"{times['after']:.2f} s"]
        for name, one in fleets.items()
        for mode, times in one["seconds"].items()
    ]
    return "\n".join(
        [
            f"{found['seeds']} fleets of each kind; {found['clients']} clients, {found['stragglers']} of them slow; "
            f"{found['rounds']} rounds, the first {found['warm_up']} of them the warm-up; `deadline` "
            f"{found['deadline_seconds']:g} s; clients of one kind differ by {100 * found['spread']:.0f} %, and each from "
            f"round to round by {100 * found['jitter']:.0f} %.",
            "",
            "Who is **slow** by its device or link: AUC of each score, and all three measures of the best one.",
            "",
            _markdown(head, slow),
            "",
            "Who **pruned** in any round:",
            "",
            _markdown(head, pruned),
            "",
            "The mean **length of a round**:",
            "",
            _markdown(["fleet", "mode", "in the warm-up", "after it"], seconds),
        ]
    )


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Put the tables in their place."""
    if PLACE not in markdown:
        return markdown
    root = Path(config.config_file_path).parent
    return markdown.replace(PLACE, tables(json.loads((root / RESULT).read_text("utf-8"))))
