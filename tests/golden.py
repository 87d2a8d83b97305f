"""Every experiment's --quick, held against the summary that is kept of it. `make golden`; GOLDEN=--write to keep another.

Whatever the clock says is the same on every machine and compared exactly. Training in floats is not: accuracies are compared
within the tolerance that each summary states.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from clip_ref.lab import pages
from clip_ref.lab.console import progress
from clip_ref.lab.experiments import EXPERIMENTS, Options
from clip_ref.lab.gather import gather, key_of

GOLDEN: Final = Path(__file__).with_name("lab") / "golden"

MOST_SECONDS: Final = 120
"""CPU time that an experiment's `--quick` may take at most: less than two minutes on one processor."""

WITHIN: Final = 0.03
"""How far an accuracy may be from the one that is kept: its share of the test, so 0.03 is three points."""

NAMES: Final = ("task", "clients", "method", "seed", "partition", "fleet", "rounds", "trained")
"""What tells rows apart."""

CLOCK: Final = (
    "simulated_seconds",
    "shorter",
    "bound",
    "bound_share",
    "pruned_rounds_cut",
    "pruned_rounds_bound_share",
    "budget_seconds",
    "smallest_keep",
    "pruned_neurons",
    "checks",
)
"""What does not depend on what was learnt."""

ACCURACIES: Final = ("final_accuracy", "slow_accuracy", "budget_accuracy", "budget_slow_accuracy")


def summary(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is kept of an experiment's rows."""
    return {
        "accuracy_within": WITHIN,
        "rows": [
            {
                "run": {name: row[name] for name in NAMES},
                "clock": {name: row[name] for name in CLOCK},
                "accuracy": {name: None if row[name] is None else round(row[name], 4) for name in ACCURACIES},
            }
            for row in found
        ],
    }


def differences(*, kept: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Where an experiment came to something else than what is kept of it."""
    named, others = ([row["run"] for row in part["rows"]] for part in (kept, found))
    if named != others:
        return ["its runs are not those that are kept"]
    out = []
    for was, now in zip(kept["rows"], found["rows"], strict=True):
        who = " ".join(f"{name}={value}" for name, value in was["run"].items())
        for name in CLOCK:
            if was["clock"][name] != now["clock"][name]:
                out.append(f"{who}: {name} is {now['clock'][name]}, kept is {was['clock'][name]}")
        for name in ACCURACIES:
            a, b = was["accuracy"][name], now["accuracy"][name]
            if (a is None) != (b is None) or (a is not None and abs(a - b) > kept["accuracy_within"]):
                out.append(f"{who}: {name} is {b}, kept is {a}, ± {kept['accuracy_within']}")
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold every experiment's --quick against what is kept of it.")
    parser.add_argument("--write", action="store_true", help="keep what comes out instead")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time (default: 2)")
    options = parser.parse_args()
    quick = Options(quick=True)
    configs = {name: experiment.configs(quick) for name, experiment in EXPERIMENTS.items()}
    every = list({key_of(config): config for mine in configs.values() for config in mine}.values())
    failed = False
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        with progress(title="golden", total=sum(config.rounds for config in every)) as report:
            records = gather(every, runs=out / pages.RUNS, workers=options.workers, report=report)
        for name, experiment in EXPERIMENTS.items():
            mine = [records[key] for key in dict.fromkeys(map(key_of, configs[name]))]
            found = summary(pages.write(experiment, mine, options=quick, out=out))
            path = GOLDEN / f"{name}.json"
            if options.write:
                path.parent.mkdir(exist_ok=True)
                path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
                told = ["kept"]
            else:
                told = differences(kept=json.loads(path.read_text("utf-8")), found=found)
                failed |= bool(told)
            cpu = sum(record.cpu_seconds for record in mine)
            if cpu > MOST_SECONDS:
                told.append(f"that is more than {MOST_SECONDS} s")
                failed = True
            print(f"{name}: {len(mine)} runs, {cpu:.0f} s of CPU time; " + "\n  ".join(told or ["as kept"]))
        pages.report(out=out, site=out / "site")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
