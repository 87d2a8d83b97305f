"""From finished runs to rows, means and intervals.   Spec: laboratory, rules EXP-5, EXP-6.

Runs that differ in the method alone form a group, whether they were trained or had for their times; what a method is worth is
its difference to `none` within each group, and an interval over the seeds of those differences.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, Final

import attrs
from scipy.stats import t as student

from clip_ref.lab.federated import lengths_of, passed
from clip_ref.lab.gather import Record
from clip_ref.lab.methods import METHODS

TARGET: Final = 0.95
"""The target accuracy is this share of what `none` comes to in the same group."""

CONFIDENCE: Final = 0.95
"""Of every interval."""

METHOD_FIELDS: Final = ("method", "changes", "elide", "full_every")
"""What may differ in a group."""

UNSHARED: Final = (*METHOD_FIELDS, "policy", "flags", "results_version", "trained")
"""What does not keep runs out of one group."""


def label(record: Record) -> str:
    """A method's name, and what of its policy was changed; and the share that is elided, and how often a round is whole."""
    elide = record.config.get("elide")
    elided = [f"elide={elide}/{record.config['full_every']}"] if elide else []
    changes = [f"{name}={value}" for name, value in record.config["changes"]]
    return " ".join([record.config["method"], *elided, *changes])


def group_of(record: Record) -> tuple[tuple[str, str], ...]:
    """EXP-5: what a run shares with those that it is compared with: its data, and all but the method."""
    return ("data", record.data), *sorted((k, repr(v)) for k, v in record.config.items() if k not in UNSHARED)


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """EXP-5: a row for each run, held against `none` in its group; in the order of the records."""
    records = list(records)
    groups: dict[object, list[Record]] = {}
    for record in records:
        groups.setdefault(group_of(record), []).append(record)
    bases = {key: _base(group) for key, group in groups.items()}
    budgets = {key: min(r.simulated_seconds for r in group) for key, group in groups.items()}
    return [_row(r, bases[group_of(r)], budgets[group_of(r)]) for r in records]


def _base(group: Sequence[Record]) -> Record | None:
    """The group's `none`, the trained one if there are both: their times are the same (EXP-4)."""
    found = [record for record in group if label(record) == "none"]
    return max(found, key=lambda record: bool(record.config["trained"]), default=None)


def _row(record: Record, base: Record | None, budget: float) -> dict[str, Any]:
    config, rounds = record.config, record.rounds
    seconds, unpruned = rounds["round_seconds"], rounds["unpruned_seconds"]
    against = base or record
    full = against.rounds["unpruned_seconds"]
    bound = _weighed(against.rounds["bound"], full)
    shorter = 1 - sum(seconds) / sum(full)
    pruned = [k for k, levels in enumerate(rounds["keep_levels"]) if levels]
    late = range(pruned[0], len(seconds)) if pruned else range(0)
    late_bound = _weighed([rounds["bound"][k] for k in late], [unpruned[k] for k in late])
    late_cut = 1 - sum(seconds[k] for k in late) / sum(unpruned[k] for k in late) if late else None
    final, slow = record.final_accuracy, record.slow_accuracy
    target = None if base is None or base.final_accuracy is None else TARGET * base.final_accuracy
    reached = None if target is None else record.seconds_to(target)
    base_reached = None if target is None or base is None else base.seconds_to(target)
    return {
        "task": config["task"],
        "clients": config["clients"],
        "method": label(record),
        "seed": config["seed"],
        "partition": config["partition"],
        "fleet": config["fleet"],
        "clock": config["clock"],
        "rounds": config["rounds"],
        "examples": config["examples"],
        "trained": config["trained"],
        "simulated_seconds": record.simulated_seconds,
        "shorter": None if base is None else shorter,
        "bound": bound,
        "bound_share": shorter / bound if bound and base is not None else None,
        "pruned_rounds_cut": late_cut,
        "pruned_rounds_bound_share": late_cut / late_bound if late_cut is not None and late_bound else None,
        "smallest_keep": min((int(k) for levels in rounds["keep_levels"] for k in levels.split()), default=1000),
        "final_accuracy": final,
        "difference": _less(final, None if base is None else base.final_accuracy),
        "slow_accuracy": slow,
        "slow_difference": _less(slow, None if base is None else base.slow_accuracy),
        "budget_seconds": budget,
        "budget_accuracy": record.accuracy_at(budget),
        "budget_slow_accuracy": record.accuracy_at(budget, column="slow_accuracy"),
        "target": target,
        "seconds_to_target": reached,
        "to_target_shorter": 1 - reached / base_reached if reached and base_reached else None,
        "pruned_neurons": fmean(rounds["pruned_neurons"]),
        "slack_neurons": fmean(rounds["slack_neurons"]),
        "pruned_again": _mean(rounds["pruned_again"]),
        "checks": passed(
            record.checks,
            lengths=lengths_of(
                elide=config.get("elide", 0), full_every=config.get("full_every", 0), rounds=config["rounds"]
            ),
        ),
        "run": record.key,
    }


def _weighed(values: Sequence[float], weights: Sequence[float]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights) if weights else 0.0


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return fmean(found) if found else None


@attrs.frozen
class Estimate:
    """A mean over seeds."""

    mean: float
    """The mean."""

    half: float
    """Half the width of its 95 % interval by Student's t; infinite for a single seed."""

    count: int
    """Over how many seeds."""

    @property
    def low(self) -> float:
        """The interval's lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The interval's upper end."""
        return self.mean + self.half


def estimate(values: Iterable[float | None]) -> Estimate | None:
    """EXP-6: the mean of those that are there, and its interval; none if none is."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    count = len(found)
    if count == 1:
        return Estimate(found[0], math.inf, 1)
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, count - 1))
    return Estimate(fmean(found), quantile * stdev(found) / math.sqrt(count), count)


def paired(found: Iterable[Mapping[str, Any]], key: str, method: str, other: str) -> Estimate | None:
    """EXP-6: how much more of `key` one method has than another, seed by seed; none if they share no seed."""
    of: dict[str, dict[int, float]] = {method: {}, other: {}}
    for row in found:
        if row["method"] in of and row[key] is not None:
            of[row["method"]][row["seed"]] = row[key]
    return estimate(of[method][seed] - of[other][seed] for seed in of[method] if seed in of[other])


def by(found: Iterable[Mapping[str, Any]], *keys: str) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """The rows with equal values at `keys` together, in order of appearance."""
    out: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in found:
        out.setdefault(tuple(row[key] for key in keys), []).append(row)
    return out


def percent(value: Estimate | float | None, *, signed: bool = False, digits: int = 1) -> str:
    """A share as per cent, with its interval if it has a finite one: `93.1 ± 0.4`."""
    if value is None:
        return "–"
    mean, half = (value.mean, value.half) if isinstance(value, Estimate) else (value, math.inf)
    text = f"{100 * mean:+.{digits}f}" if signed else f"{100 * mean:.{digits}f}"
    return text if math.isinf(half) else f"{text} ± {100 * half:.{digits}f}"


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in body)])


def in_order(names: Iterable[str]) -> list[str]:
    """Methods in the order of every table, their variants behind them."""
    order = list(METHODS)

    def key(name: str) -> tuple[int, int, list[tuple[int, str]]]:
        by_number = [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", name)]
        return order.index(name.split()[0]), name.count(" "), by_number

    return sorted(dict.fromkeys(names), key=key)


def values(found: Iterable[Mapping[str, Any]], key: str) -> Estimate | None:
    """The estimate of one entry over rows."""
    return estimate(row[key] for row in found)
