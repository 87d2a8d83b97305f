"""The tables of simulated against real rounds, from the file that `make real-round` writes.

A hook of the documentation site.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

PLACE = "<!-- real rounds -->"
"""Stands on the page where the tables go."""

RESULT = Path("benchmarks") / "results" / "real_round.json"

SEAT, CORE, AFTER = "in its seat", "on a core", "in hindsight"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def _share(value: float) -> str:
    return f"{100 * value:+.1f} %"


def _seats(scene: Mapping[str, Any]) -> str:
    kinds: dict[str, int] = {}
    for seat in scene["seats"]:
        kind = f"{100 * seat['share']:.0f} % of a core and {seat['up_mbit']:g} Mbit/s"
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(f"{'one' if count == 1 else count} with {kind}" for kind, count in kinds.items())


def _about(found: Mapping[str, Any]) -> str:
    machine, scene = found["machine"], found["sittings"][0]["scene"]
    return (
        f"{len(scene['seats'])} clients: {_seats(scene)}. Measured on {machine['cpu']}, {machine['cores']} cores, Linux "
        f"{machine['kernel']}, control groups of version {machine['cgroups']} with a period of {machine['period_ms']:g} ms, "
        f"Python {machine['python']}, torch {machine['torch']}; other work kept the machine busy (load {machine['load']:g})."
    )


def tables(found: Mapping[str, Any]) -> str:
    """The tables, in Markdown: every round; what pruning saved; where the time went."""
    sittings = found["sittings"]
    rounds = [
        [
            sitting["scene"]["name"],
            str(row["round"]),
            "yes" if min(row["keeps"]) < 1000 else "no",
            f"{row['seconds']:.2f} s",
            f"{row['simulated'][SEAT]:.2f} s",
            f"**{_share(row['off'][SEAT])}**",
            f"{row['simulated'][CORE]:.2f} s",
            _share(row["off"][CORE]),
            f"{row['simulated'][AFTER]:.2f} s",
            _share(row["off"][AFTER]),
        ]
        for sitting in sittings
        for row in sitting["rounds"]
    ]
    gains = [
        [
            sitting["scene"]["name"],
            *(f"{100 * sitting['gain'][name]:.1f} %" for name in ("real", SEAT, CORE)),
            f"{100 * sitting['gain']['bound']:.1f} %" if "bound" in sitting["gain"] else "",
        ]
        for sitting in sittings
        if sitting["gain"]
    ]
    last = sittings[0]["rounds"][-1]
    names = ("download", "select", "fit", "mask", "upload")
    where = [
        [client, *(f"{row[name][0]:.3f} / {row[name][1]:.3f}" for name in names)]
        for client, row in last["clients"].items()
    ]
    legs = [[leg, f"{real:.3f}", f"{seat:.3f}"] for leg, (real, seat, _) in last["legs"].items()]
    return "\n".join(
        [
            _about(found),
            "",
            _markdown(
                [
                    "scene",
                    "round",
                    "pruned",
                    "real",
                    "simulated, calibrated in its seat",
                    "off",
                    "calibrated on a core",
                    "off",
                ],
                rounds,
            ),
            "",
            "By how much the rounds with pruning were shorter than those without, and how much shorter they could have been:",
            "",
            _markdown(["scene", "real", "simulated, in its seat", "on a core", "bound"], gains),
            "",
            f"Where the time went in round {last['round']} of the first sitting, in seconds, real / simulated: leg `input` by "
            "client, and the legs.",
            "",
            _markdown(["client", *names], where),
            "",
            _markdown(["leg", "real", "simulated"], legs),
        ]
    )


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Put the tables in their place."""
    if PLACE not in markdown:
        return markdown
    root = Path(config.config_file_path).parent
    return markdown.replace(PLACE, tables(json.loads((root / RESULT).read_text("utf-8"))))
