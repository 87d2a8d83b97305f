"""The pictures of a report, as PNG bytes."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Final

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from clip_ref.lab.compare import Estimate
from clip_ref.lab.federated import RoundRow
from clip_ref.sim.clock import Activity, Timeline

COLOURS: Final = {
    "none": "#4c566a",
    "random": "#d08770",
    "ordered": "#ebcb8b",
    "exclude": "#b48ead",
    "shorten": "#88c0d0",
    "fluid": "#bf616a",
    "clip-paper": "#5e81ac",
    "clip-gaps": "#a3be8c",
    "clip-levels": "#8fbcbb",
    "clip-rank": "#2e8b57",
    "clip-size": "#c0a060",
    "clip-draw": "#7b68ae",
    "clip": "#2e8b57",
}
"""One colour per method, in every plot; variants of a method have colours of their own."""

_ACTIVITIES: Final = {
    Activity.DOWNLOAD: ("download", "#88c0d0"),
    Activity.UPLOAD: ("upload", "#ebcb8b"),
    Activity.FIT: ("train", "#2e8b57"),
    Activity.HOLD: ("hold the upload back", "#b48ead"),
    Activity.WAIT: ("wait for the slowest", "#e5e9f0"),
}
_PROTOCOL: Final = ("keys, shares, masks", "#bf616a")


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return out.getvalue()


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def accuracy(runs: Mapping[str, Sequence[RoundRow]]) -> bytes:
    """Accuracy on the unseen test over simulated time, a line per method."""
    figure, axes = _axes(7, 4)
    for name, rows in runs.items():
        axes.plot(
            [row.total_seconds for row in rows if row.accuracy is not None],
            [100 * row.accuracy for row in rows if row.accuracy is not None],
            label=name,
            color=COLOURS.get(name),
            marker=".",
            linewidth=2 if name == "clip" else 1.3,
        )
    axes.set_xlabel("simulated time, s")
    axes.set_ylabel("accuracy on unseen writers, %")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")
    return _png(figure)


def lines(series: Mapping[str, Sequence[tuple[float, float]]], *, across: str, up: str) -> bytes:
    """Shares, in per cent, over something, a line for each series."""
    figure, axes = _axes(7, 4)
    for name, points in series.items():
        axes.plot(
            [x for x, _ in points],
            [100 * y for _, y in points],
            label=name,
            color=COLOURS.get(name),
            linewidth=2 if name == "clip" else 1.3,
        )
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.25)
    _legend_beside(axes)
    return _png(figure)


def _legend_beside(axes: Axes) -> None:
    """Where it hides nothing."""
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))


def bars(groups: Mapping[str, Mapping[str, Estimate | None]], *, label: str, across: str) -> bytes:
    """A group of bars for each key, a bar with its interval for each name in it; hatched if it is of a single seed.

    A name whose bars are all 0, as those of what the others are held against, has none.
    """
    tall = {name for group in groups.values() for name, value in group.items() if value is not None and value.mean}
    names = [name for name in dict.fromkeys(name for group in groups.values() for name in group) if name in tall]
    figure, axes = _axes(min(16.0, 2 + max(4.0, 0.2 * len(names) * len(groups), 1.1 * len(groups))), 4)
    width = 0.85 / max(1, len(names))
    for k, name in enumerate(names):
        shown = [(at, group[name]) for at, group in enumerate(groups.values()) if group.get(name) is not None]
        found = [(at + (k - (len(names) - 1) / 2) * width, value) for at, value in shown if value is not None]
        drawn = axes.bar(
            [x for x, _ in found],
            [value.mean for _, value in found],
            width=width,
            yerr=[value.half if math.isfinite(value.half) else 0.0 for _, value in found],
            label=name,
            color=COLOURS.get(name),
            error_kw={"linewidth": 0.8},
        )
        for bar, (_, value) in zip(drawn, found, strict=True):
            bar.set_hatch("" if math.isfinite(value.half) else "///")
    axes.set_xticks(range(len(groups)), list(groups), fontsize=8 if len(groups) <= 6 else 7)
    axes.set_xlabel(across)
    axes.set_ylabel(label)
    axes.axhline(0, color="black", linewidth=0.6)
    if names:
        _legend_beside(axes)
    return _png(figure)


def pruned(runs: Mapping[str, Sequence[RoundRow]]) -> bytes:
    """How many neurons the smallest sub-model of each round lacks, a line per method that prunes."""
    figure, axes = _axes(7, 3)
    names = [name for name, rows in runs.items() if any(row.pruned_neurons for row in rows)]
    for k, name in enumerate(names):
        rows = runs[name]
        width = 0.8 / len(names)
        places = [row.round + (k - (len(names) - 1) / 2) * width for row in rows]
        axes.bar(places, [row.pruned_neurons for row in rows], width=width, label=name, color=COLOURS.get(name))
    axes.set_xlabel("round")
    axes.set_ylabel("neurons pruned")
    if names:
        axes.legend(frameon=False, loc="upper left")
    return _png(figure)


def timeline(rounds: Mapping[str, Timeline], stragglers: Sequence[int]) -> bytes:
    """One round of each kind: who computes, who uploads, where the round ends. Stragglers on top, in bold."""
    clients = sorted({s.client for t in rounds.values() for s in t.spans}, key=lambda u: (u in stragglers, u))
    row = {client: k for k, client in enumerate(clients)}
    figure = Figure(figsize=(9, 0.2 * len(clients) * len(rounds) + 1.2), layout="constrained")
    panels = figure.subplots(len(rounds), 1, sharex=True, squeeze=False)[:, 0]
    last = max(t.end for t in rounds.values()) / 1e6
    for axes, (name, line) in zip(panels, rounds.items(), strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        for span in line.spans:
            _, colour = _ACTIVITIES.get(span.activity, _PROTOCOL)
            axes.barh(row[span.client], (span.end - span.start) / 1e6, left=span.start / 1e6, color=colour, height=0.8)
        axes.axvline(line.end / 1e6, color="black", linewidth=1.2)
        axes.annotate(
            f"the round ends: {line.end / 1e6:.2f} s",
            (line.end / 1e6, len(clients) - 0.2),
            ha="right",
            va="bottom",
            fontsize=8,
        )
        axes.set_yticks(range(len(clients)), [str(u) for u in clients], fontsize=6)
        for label, client in zip(axes.get_yticklabels(), clients, strict=True):
            label.set_fontweight("bold" if client in stragglers else "normal")
        axes.set_ylabel(f"client\n({name})")
        axes.set_xlim(0, last * 1.02)
    panels[-1].set_xlabel("simulated time in the round, s")
    done = {span.activity for line in rounds.values() for span in line.spans}
    shown = [*(entry for activity, entry in _ACTIVITIES.items() if activity in done), _PROTOCOL]
    handles = [Patch(color=colour, label=label) for label, colour in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return _png(figure)
