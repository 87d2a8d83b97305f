"""The table: what was measured, beside what is aimed at."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import attrs

from peers.measure import Samples


@attrs.frozen
class Row:
    """One line: the same task on both sides, or a plain figure."""

    task: str
    """What was done."""

    unit: str
    """ms of CPU time, B per parameter, or a ratio."""

    ours: Samples
    """clip-ref's samples."""

    flower: Samples | None = None
    """Flower's samples."""

    accept: float | None = None
    """The target: Flower over ours at least so much; where there is no Flower, at most so much."""

    excellent: float | None = None
    """The target beyond it."""

    note: str = ""
    """What is in the figures and what is not, where the page does not say it already."""

    @property
    def ratio(self) -> float:
        """Flower's least over ours, or our least figure."""
        return self.ours.least if self.flower is None else self.flower.least / self.ours.least

    @property
    def median_ratio(self) -> float:
        """The same from medians."""
        return self.ours.median if self.flower is None else self.flower.median / self.ours.median

    @property
    def verdict(self) -> str:
        """excellent, accepted or missed; nothing without a target."""

        def met(target: float | None) -> bool:
            return target is not None and (self.ratio <= target if self.flower is None else self.ratio >= target)

        if self.accept is None:
            return ""
        return "excellent" if met(self.excellent) else "accepted" if met(self.accept) else "**missed**"


def machine() -> dict[str, Any]:
    """The processor and the versions that the figures depend on."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        fields = {name.strip(): value.strip() for name, value in lines.items()}
        model = f"{fields.get('model name', model)}, family {fields.get('cpu family')}, model {fields.get('model')}"
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("clip-ref", "flwr", "numpy", "cryptography", "pycryptodome")},
    }


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def _figure(samples: Samples | None) -> str:
    if samples is None:
        return ""
    if samples.count == 1:
        return f"{_number(samples.least)} (1)"
    return f"{_number(samples.least)} / {_number(samples.median)} ({samples.count})"


def _target(row: Row, value: float | None) -> str:
    if value is None:
        return ""
    return f"≤ {value:g}" if row.flower is None else f"{value:g}×"


def _score(row: Row) -> str:
    if row.flower is None:
        return ""
    return f"{_number(row.ratio)}× / {_number(row.median_ratio)}×"


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    head = "| task | unit | Flower | clip-ref | ratio | accept | excellent | verdict |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        cells = (
            row.task + (f" ({row.note})" if row.note else ""),
            row.unit,
            _figure(row.flower),
            _figure(row.ours),
            _score(row),
            _target(row, row.accept),
            _target(row, row.excellent),
            row.verdict,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(rows: Sequence[Row], *, folder: Path, about: Mapping[str, Any]) -> None:
    """`peers.json` with every sample, and `peers.md` with the table."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {
        **about,
        "rows": [
            {**attrs.asdict(r), "ratio": r.ratio, "median_ratio": r.median_ratio, "verdict": r.verdict} for r in rows
        ],
    }
    (folder / "peers.json").write_text(json.dumps(data, indent=1) + "\n")
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    text = (
        f"{about['cpu']}, {about['cores']} cores; Python {about['python']}; {versions}.\n"
        f"CPU time: least / median (samples); ratios of the least / of the medians.\n\n{markdown(rows)}\n"
    )
    (folder / "peers.md").write_text(text)
