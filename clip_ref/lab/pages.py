"""An experiment's files, and the results page of the site.   Spec: laboratory, rules EXP-7, EXP-8."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from clip_ref.errors import PreconditionError
from clip_ref.lab.compare import rows
from clip_ref.lab.console import lasting
from clip_ref.lab.experiments import EXPERIMENTS, FOLDERS, Experiment, Options
from clip_ref.lab.federated import write_whole
from clip_ref.lab.gather import Record, load

RUNS: Final = "runs"
"""Below --out, where finished runs are, whatever experiment wanted them."""

PAGE: Final = "page.md"

ROWS: Final = "rows.json"


def write(experiment: Experiment, records: Sequence[Record], *, options: Options, out: Path) -> list[dict[str, Any]]:
    """EXP-7: rows.json, rows.csv, page.md and the plots of one experiment, each whole or not at all; returns the rows.

    `options` are those that the records were asked for with. What was written before of tasks that were not asked for this time
    stays.
    """
    where = out / experiment.name
    designed = dict(Counter(config.task for config in experiment.configs(attrs.evolve(options, seeds=None))))
    before = written(where, quick=options.quick)
    kept = [row["run"] for row in before.get("rows", []) if row["task"] not in designed]
    records = [*(load(out / RUNS / f"{key}.json") for key in dict.fromkeys(kept)), *records]
    found = rows(records)
    about = {
        "experiment": experiment.name,
        "quick": options.quick,
        "designed": before.get("designed", {}) | designed,
        "machines": sorted({record.machine for record in records}),
        "versions": sorted({record.version for record in records}),
        "data": {task: sorted({r.data for r in records if r.config["task"] == task}) for task in _tasks(records)},
        "cpu_seconds": round(sum(record.cpu_seconds for record in records)),
        "rows": found,
    }
    write_whole(where / ROWS, (json.dumps(about, indent=1) + "\n").encode())
    write_whole(where / "rows.csv", as_csv(found).encode())
    pictures = _draw(experiment, found, {record.key: record for record in records}, where)
    write_whole(where / PAGE, page(experiment, about, pictures).encode())
    return found


def written(where: Path, *, quick: bool | None = None) -> dict[str, Any]:
    """What earlier sittings wrote of an experiment in its directory, if they were as quick; maybe nothing.

    Raises `PreconditionError` (EXP-8) for a file that is damaged.
    """
    path = where / ROWS
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        told = [(row["run"], row["task"]) for row in found["rows"]]
        kinds = {"quick": bool, "designed": dict, "machines": list, "versions": list, "cpu_seconds": int}
        whole = all(isinstance(found[name], kind) for name, kind in kinds.items())
        whole = whole and all(isinstance(word, str) for row in told for word in row)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PreconditionError(rule="EXP-8", detail=f"{path} is damaged: {error}; remove it and ask again") from None
    if not whole:
        raise PreconditionError(rule="EXP-8", detail=f"{path} is not as it was written; remove it and ask again")
    return found if quick in (None, found["quick"]) else {}


def _tasks(records: Sequence[Record]) -> list[str]:
    return sorted({record.config["task"] for record in records})


def _draw(
    experiment: Experiment, found: Sequence[Mapping[str, Any]], records: Mapping[str, Record], where: Path
) -> list[str]:
    pictures = experiment.plots(found, records)
    for name, png in pictures.items():
        write_whole(where / name, png)
    return list(pictures)


def as_csv(found: Sequence[Mapping[str, Any]]) -> str:
    """The rows, with a header."""
    out = io.StringIO()
    if found:
        writer = csv.DictWriter(out, fieldnames=list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    return out.getvalue()


def page(
    experiment: Experiment, about: Mapping[str, Any], pictures: Sequence[str], *, folder: str = "", findings: str = ""
) -> str:
    """EXP-8: what an experiment asks, what came out, and how it was had: Markdown that starts with a level-2 heading.

    `findings` are said above the tables, if all that was designed has been run.
    """
    there = Counter(row["task"] for row in about["rows"])
    read = any(task in FOLDERS for task in there)
    again = f"clip-ref lab {experiment.name}" + (" --quick" if about["quick"] else " --data-dir DIR" if read else "")
    short = [
        f"{there[task]} of {about['designed'].get(task, 'the')} runs on `{task}`"
        for task in (about["designed"] if about["quick"] else experiment.tasks)
        if there[task] < about["designed"].get(task, 1)
    ]
    blocks = [
        f"## {experiment.title}",
        experiment.question,
        f"Not all of it has been run yet: {', '.join(short)}." if short else findings,
        *experiment.read(about["rows"]),
        *(f"![{_words(name)}]({folder}{name})" for name in pictures),
        f"*Had by* `{again}`, {lasting(about['cpu_seconds'])} of one processor in all "
        f"({'; '.join(about['machines'])}); clip-ref {', '.join(about['versions'])}.",
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _words(name: str) -> str:
    return Path(name).stem.replace("-", " ")


INTRODUCTION: Final = """\
# Results

What the experiments of the [laboratory](laboratory.md) came to, which also says [what differs from the paper's
evaluation](laboratory.md#what-differs-from-the-papers-evaluation). Every number in a table is computed by `clip-ref lab report`
from the runs that are committed in `benchmarks/lab`; every run can be had again on the same data. Intervals are 95 % by
Student's t, over seeds; there is none for a single seed, and a dash stands where there is nothing to say. Above the tables of
what was run in full stands what it showed.

| column | what it says |
|---|---|
| simulated, s | the time of all rounds, on the clock; training is billed for all that the task has, whatever is dealt |
| shorter, % | the share of the time of `none` that is saved |
| of the bound, % | that as a share of [all that pruning could save](clock.md#CLK-6), warm-up included; others can save more |
| pruned rounds, of their bound, % | the same of the run's own rounds, from the first on that pruned |
| smallest keep, ‰ | the smallest keep level of any straggler |
| seeds | how many were trained; times of a method that was not are had without |
| accuracy, % | the mean of the last three evaluations, on the unseen test |
| to the target sooner, % | how much sooner it reaches 95 % of what `none` comes to; *never* counts runs that do not |
| slow classes | those of which the slow devices hold most: `devices:0.8` |
| same time, % | the accuracy by the time that the fastest method of the table took for all of its rounds |
| neurons pruned | how many the smallest sub-model lacks, the mean of all rounds, warm-up included |
| of them slack | how many of these the threshold does not call invariant ([SEL-4](selection.md#SEL-4)) |
| pruned again, % | the share of them that was pruned the round before, too |

A method's name is one of [those](runs.md), with what was changed of it; `elide=500/4` leaves out 500 ‰ of the neurons, and
every fourth round is whole. A fleet's name is one of [those](fleet.md), with how it behaves.
"""


def report(*, out: Path, site: Path) -> list[str]:
    """EXP-8: build the results page from the experiments in `out`: site/results.md and its pictures; returns their names.

    Raises `PreconditionError` (EXP-8) if there is no experiment.
    """
    done = {experiment: written(out / experiment.name) for experiment in EXPERIMENTS.values()}
    if not any(done.values()):
        raise PreconditionError(
            rule="EXP-8", detail=f"no experiment in {out}: run `clip-ref lab NAME --out {out}` first"
        )
    sections = []
    for experiment, about in done.items():
        if not about:
            continue
        keys = dict.fromkeys(row["run"] for row in about["rows"])
        records = {key: load(out / RUNS / f"{key}.json") for key in keys}
        about["rows"] = rows(list(records.values()))
        pictures = _draw(experiment, about["rows"], records, site / "results" / experiment.name)
        findings = "" if about["quick"] else experiment.findings
        sections.append(page(experiment, about, pictures, folder=f"results/{experiment.name}/", findings=findings))
    write_whole(site / "results.md", "\n".join([INTRODUCTION, *sections]).encode())
    return [experiment.name for experiment, about in done.items() if about]
