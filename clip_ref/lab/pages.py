"""An experiment's files, and the results page of the site.   Spec: laboratory, rules EXP-7, EXP-8."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from clip_ref.errors import PreconditionError
from clip_ref.lab.compare import rows
from clip_ref.lab.experiments import EXPERIMENTS, Experiment, Options
from clip_ref.lab.federated import RunConfig, write_whole
from clip_ref.lab.gather import Record, load

RUNS: Final = "runs"
"""Below --out, where finished runs are, whatever experiment wanted them."""

PAGE: Final = "page.md"


def write(
    experiment: Experiment, records: Sequence[Record], *, configs: Sequence[RunConfig], options: Options, out: Path
) -> list[dict[str, Any]]:
    """EXP-7: rows.json, rows.csv, page.md and the plots of one experiment, each whole or not at all; returns the rows.

    `configs` are all runs that were asked for, those that are not finished among them. What was written before of tasks that
    were not asked for this time stays.
    """
    where = out / experiment.name
    designed = dict(Counter(config.task for config in configs))
    before = _before(where / "rows.json", quick=options.quick)
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
    write_whole(where / "rows.json", (json.dumps(about, indent=1) + "\n").encode())
    write_whole(where / "rows.csv", as_csv(found).encode())
    pictures = _draw(experiment, found, {record.key: record for record in records}, where)
    write_whole(where / PAGE, page(experiment, about, pictures).encode())
    return found


def _before(path: Path, *, quick: bool) -> dict[str, Any]:
    """What an earlier sitting wrote, if it was as quick."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found if found["quick"] == quick else {}


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


def page(experiment: Experiment, about: Mapping[str, Any], pictures: Sequence[str], *, folder: str = "") -> str:
    """EXP-8: what an experiment asks, what came out, and how it was had: Markdown that starts with a level-2 heading."""
    again = f"clip-ref lab {experiment.name}" + (" --quick" if about["quick"] else " --data-dir DIR")
    there = Counter(row["task"] for row in about["rows"])
    short = [
        f"{there[task]} of {about['designed'].get(task, 'the')} runs on `{task}`"
        for task in (about["designed"] if about["quick"] else experiment.tasks)
        if there[task] < about["designed"].get(task, 1)
    ]
    blocks = [
        f"## {experiment.title}",
        experiment.question,
        *([f"Not all of it has been run yet: {', '.join(short)}."] if short else []),
        *([experiment.findings] if experiment.findings and not about["quick"] else []),
        *experiment.read(about["rows"]),
        *(f"![{_words(name)}]({folder}{name})" for name in pictures),
        f"*Had by* `{again}`, {about['cpu_seconds'] / 3600:.1f} hours of one processor in all "
        f"({'; '.join(about['machines'])}); clip-ref {', '.join(about['versions'])}.",
    ]
    return "\n\n".join(blocks) + "\n"


def _words(name: str) -> str:
    return Path(name).stem.replace("-", " ")


INTRODUCTION: Final = """\
# Results

What the experiments of the [laboratory](laboratory.md) came to. Every number on this page is computed from the runs that are
committed beside it, by `clip-ref lab report`; every run can be had again. Intervals are 95 % by Student's t, over seeds; a
dash stands where there is nothing to say.
"""


def report(*, out: Path, site: Path) -> list[str]:
    """EXP-8: build the results page from the experiments in `out`: site/results.md and its pictures; returns their names.

    Raises `PreconditionError` (EXP-8) if there is no experiment.
    """
    done = [experiment for experiment in EXPERIMENTS.values() if (out / experiment.name / "rows.json").exists()]
    if not done:
        raise PreconditionError(
            rule="EXP-8", detail=f"no experiment in {out}: run `clip-ref lab NAME --out {out}` first"
        )
    sections = []
    for experiment in done:
        about = json.loads((out / experiment.name / "rows.json").read_text("utf-8"))
        keys = dict.fromkeys(row["run"] for row in about["rows"])
        records = {key: load(out / RUNS / f"{key}.json") for key in keys}
        about["rows"] = rows(list(records.values()))
        pictures = _draw(experiment, about["rows"], records, site / "results" / experiment.name)
        sections.append(page(experiment, about, pictures, folder=f"results/{experiment.name}/"))
    write_whole(site / "results.md", "\n".join([INTRODUCTION, *sections]).encode())
    return [experiment.name for experiment in done]
