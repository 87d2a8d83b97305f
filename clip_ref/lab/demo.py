"""The demo: some methods on the same data, fleet and seed, through the whole secure protocol, and what came of it."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from clip_ref import __version__
from clip_ref.lab.console import progress, with_percent_sign
from clip_ref.lab.federated import RoundRow, RunConfig, Summary, checks, passed, rows_csv, summarise, write_whole
from clip_ref.lab.methods import METHODS, SHIPPED
from clip_ref.lab.parallel import run_all
from clip_ref.sim.clock import Timeline
from clip_ref.sim.fleet import Fleet
from clip_ref.train.data import load_task

DEMO_ROUNDS: Final = 12
"""How many rounds of each method the demo runs."""


@attrs.frozen(kw_only=True)
class Outcome:
    """One method's part of the result."""

    summary: Summary
    """Its totals."""

    shorter: float
    """How much shorter than `none`, a share."""

    bound_share: float | None
    """`shorter` as a share of the bound; none where the bound is 0."""

    pruned_rounds_shorter: float
    """As `shorter`, over the rounds after the warm-up alone."""


@attrs.frozen(kw_only=True)
class Demo:
    """What the demo found."""

    config: RunConfig
    """The configuration that all methods share but for the method."""

    fleet: Fleet
    """Who is slow, and how."""

    runs: Mapping[str, Sequence[RoundRow]]
    """Every method's rounds."""

    timelines: Mapping[str, Timeline]
    """Every method's last round."""

    outcomes: Mapping[str, Outcome]
    """What each method comes to."""

    checks: Mapping[str, Any]
    """What was checked during the runs."""

    @property
    def passed(self) -> bool:
        """Whether every check held."""
        return passed(self.checks)


def run_demo(*, rounds: int, seed: int, quiet: bool, workers: int = 2) -> Demo:
    """Run every method of the demo, in `workers` processes at a time; see `write_demo` for what is made of it."""
    config = RunConfig(method="none", rounds=rounds, seed=seed)
    configs = [attrs.evolve(config, method=name) for name in SHIPPED]
    runs: dict[str, list[RoundRow]] = {name: [] for name in SHIPPED}
    timelines: dict[str, Timeline] = {}
    with progress(title="demo", total=rounds * len(SHIPPED), quiet=quiet) as report:
        for name, row, timeline in run_all(configs, workers=workers):
            runs[name].append(row)
            timelines[name] = timeline
            report(f"{name}, round {row.round}: accuracy {with_percent_sign(row.accuracy)}")
    return Demo(
        config=config,
        fleet=config.load_fleet(),
        runs=runs,
        timelines=timelines,
        outcomes=compare(runs),
        checks=checks(row for rows in runs.values() for row in rows),
    )


def compare(runs: Mapping[str, Sequence[RoundRow]]) -> dict[str, Outcome]:
    """Each method against `none`, whose unpruned rounds also set the bound."""
    warm_up = METHODS["clip"].policy.warm_up
    base = summarise(list(runs["none"]))
    late_base = sum(row.round_seconds for row in runs["none"][warm_up:])
    out = {}
    for name, rows in runs.items():
        summary = summarise(list(rows))
        shorter = 1 - summary.simulated_seconds / base.simulated_seconds
        late = sum(row.round_seconds for row in rows[warm_up:])
        out[name] = Outcome(
            summary=summary,
            shorter=shorter,
            bound_share=shorter / base.bound if base.bound else None,
            pruned_rounds_shorter=1 - late / late_base if late_base else 0.0,
        )
    return out


def results(demo: Demo) -> dict[str, Any]:
    """What `results.json` holds."""
    return {
        "version": __version__,
        "config": {key: value for key, value in demo.config.as_dict().items() if key != "method"},
        "fleet": {"name": demo.fleet.name, "note": demo.fleet.note, "stragglers": list(demo.fleet.stragglers)},
        "methods": {
            name: {
                "simulated_seconds": o.summary.simulated_seconds,
                "shorter": o.shorter,
                "pruned_rounds_shorter": o.pruned_rounds_shorter,
                "bound": demo.outcomes["none"].summary.bound,
                "bound_share": o.bound_share,
                "final_accuracy": o.summary.final_accuracy,
                "rounds": o.summary.rounds,
            }
            for name, o in demo.outcomes.items()
        },
        "checks": dict(demo.checks),
    }


def table(demo: Demo) -> list[list[str]]:
    """The table that is printed and reported: a header, then a row per method."""
    rows = [["method", "simulated time", "shorter", "share of bound", "accuracy"]]
    for name, o in demo.outcomes.items():
        share = "–" if o.bound_share is None else f"{100 * o.bound_share:.0f} %"
        shorter = "–" if name == "none" else f"{100 * o.shorter:.1f} %"
        rows.append(
            [
                name,
                f"{o.summary.simulated_seconds:.1f} s",
                shorter,
                "–" if name == "none" else share,
                f"{100 * o.summary.final_accuracy:.1f} %",
            ]
        )
    return rows


def check_lines(demo: Demo) -> list[str]:
    """What was checked in every round, and whether it held."""
    found = demo.checks
    rounds = sum(len(rows) for rows in demo.runs.values())
    lengths = found["upload_lengths"]

    def mark(good: bool) -> str:
        return "ok    " if good else "FAILED"

    exact, same = found["secure_sum_exact"], found["transcript_shape_equal"]
    return [
        f"{mark(exact)} the secure sum and the plain sum have one digest in each of {rounds} rounds",
        f"{mark(len(lengths) == 1)} every upload has one length: {', '.join(map(str, lengths))} bytes",
        f"{mark(same)} the server saw the same sequence of messages from every client, pruned or not",
    ]


def findings(demo: Demo) -> list[str]:
    """What the numbers say about CLIP, the bad with the good."""
    outcomes = demo.outcomes
    clip, tests = outcomes["clip"], len(load_task(demo.config.source()).test[1])
    noise = 100 * math.sqrt(2 * clip.summary.final_accuracy * (1 - clip.summary.final_accuracy) / tests)
    rounds, warm_up = clip.summary.rounds, METHODS["clip"].policy.warm_up
    if rounds <= warm_up:
        return [f"Nothing: nobody prunes in the first {warm_up} rounds, the warm-up. Ask for more rounds."]
    lines = [
        f"`clip` is {100 * clip.shorter:.1f} % shorter than `none` over all {rounds} rounds, and "
        f"{100 * clip.pruned_rounds_shorter:.1f} % in those after the first {warm_up}, the warm-up, in which nobody prunes."
    ]
    if clip.shorter < 0.05:
        lines.append("That is not a clear gain: see the bound; where it is small, there is little to gain.")
    for other in ("none", "random", "exclude", "clip-paper"):
        points = 100 * (clip.summary.final_accuracy - outcomes[other].summary.final_accuracy)
        words = "more" if points >= 0 else "less"
        verdict = "within" if abs(points) <= 2 * noise else "beyond"
        line = f"Against `{other}`: {abs(points):.1f} points {words} accuracy, {verdict} the noise of {tests} unseen digits "
        line += f"(± {2 * noise:.1f})"
        slower = clip.summary.simulated_seconds - outcomes[other].summary.simulated_seconds
        line += f"; {abs(slower):.1f} s {'slower' if slower > 0 else 'faster'}."
        lines.append(line)
    exclude = outcomes["exclude"]
    if exclude.summary.simulated_seconds < clip.summary.simulated_seconds:
        lines.append(
            "`exclude` is faster than `clip`: it never waits, not even in the warm-up, and has fewer clients to mask "
            "against. It needs to know who is slow, which the server of a secure round does not."
        )
    if exclude.summary.final_accuracy >= clip.summary.final_accuracy:
        lines.append(
            "`exclude` loses no accuracy here: every writer wrote all ten digits, so what the excluded would have taught, "
            "others teach."
        )
    if outcomes["random"].summary.final_accuracy >= clip.summary.final_accuracy:
        lines.append(
            "`random` does no worse than `clip` here: over so few rounds all neurons still change, and those that change least "
            "are no better to drop than any others."
        )
    return lines


def markdown(demo: Demo) -> str:
    """The report: `report.md`."""
    config, fleet = demo.config, demo.fleet
    head, *body = table(demo)
    bound = demo.outcomes["none"].summary.bound
    lines = [
        "# CLIP on real digits, through secure aggregation",
        "",
        f"{config.clients} clients, {len(fleet.stragglers)} of them slow ({', '.join(map(str, fleet.stragglers))}); task "
        f"`{config.task}`; {config.rounds} rounds of each method; fleet `{fleet.name}`: {fleet.note}; clock `{config.clock}`; "
        f"security level `{config.security}`; seed {config.seed}. clip-ref {__version__}.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in body),
        "",
        f"The bound is 1 − T\\*/T_slowest in the rounds of `none`: {100 * bound:.1f} %. No method "
        "that keeps every client can save more; `exclude` keeps fewer.",
        "",
        "## What it shows",
        "",
        *(f"- {line}" for line in findings(demo)),
        "",
        "## What was checked in every round",
        "",
        *(f"- {line}" for line in check_lines(demo)),
        "",
        "Both digests of every round stand in `rounds.csv`.",
        "",
        "## Accuracy over time",
        "",
        "![Accuracy over simulated time, a line per method](accuracy.png)",
        "",
        "## One round, without and with CLIP",
        "",
        "![Timeline of one round without and with CLIP](timeline.png)",
        "",
        "## Neurons pruned",
        "",
        "![Neurons pruned per round](pruned.png)",
        "",
        "## The fleet",
        "",
        "| client | processor | network |",
        "|---|---|---|",
    ]
    for client in fleet.stragglers:
        profile = fleet.clients[client]
        lines.append(f"| {client} | {profile.device.name} | {profile.network.name} |")
    fast = next(p for u, p in enumerate(fleet.clients) if u not in fleet.stragglers)
    lines += [
        f"| the others | {fast.device.name} | {fast.network.name} |",
        "",
        f"Times are simulated: a fit is 3 forward passes' multiply-accumulates per example, {fast.device.macs_per_cycle:g} a "
        f"cycle, on devices declared to be {fast.device.slow_down:g} times slower than the core that was measured; transfers "
        "are bytes over bandwidth plus latency; the protocol's own work is billed by exact counts.",
        "",
    ]
    return "\n".join(lines)


def check(*, rounds: int, seed: int) -> None:
    """Refuse (`PreconditionError`) what cannot be run, before anything is."""
    for name in SHIPPED:
        RunConfig(method=name, rounds=rounds, seed=seed)


def write_demo(demo: Demo, out: Path) -> None:
    """Write `results.json`, `rounds.csv`, `report.md` and its pictures; each appears whole or not at all."""
    from clip_ref.lab import plots

    write_whole(out / "rounds.csv", rows_csv(row for rows in demo.runs.values() for row in rows).encode())
    write_whole(out / "accuracy.png", plots.accuracy(demo.runs))
    write_whole(out / "pruned.png", plots.pruned(demo.runs))
    two = {"without CLIP": demo.timelines["none"], "with CLIP": demo.timelines["clip"]}
    write_whole(out / "timeline.png", plots.timeline(two, demo.fleet.stragglers))
    write_whole(out / "report.md", markdown(demo).encode())
    write_whole(out / "results.json", (json.dumps(results(demo), indent=2) + "\n").encode())
