"""The experiments: which runs each one is made of, and what is read off them.   Spec: laboratory, rule EXP-7.

An experiment is data: a question, a list of configurations and a few tables and plots over their rows. What was decided
beforehand stands here, before any run: the tasks, fleets, rounds, seeds and the rules that are compared.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import attrs

from clip_ref.errors import PreconditionError
from clip_ref.lab.compare import Estimate, by, in_order, paired, percent, table, values
from clip_ref.lab.federated import Clock, RunConfig
from clip_ref.lab.findings import FINDINGS
from clip_ref.lab.gather import Record

Rows = Sequence[Mapping[str, Any]]

SHAPES: Final = {
    # task: rounds, examples, evaluate_every, the partition of the paper's table
    "digits": (12, None, 1, "natural"),
    "cifar10": (20, 5000, 2, "iid"),
    "mnist": (20, 3000, 2, "iid"),
    "femnist": (30, 5000, 2, "natural"),
    "shakespeare": (20, 5000, 2, "natural"),
}
"""Each task's size here: what the paper does not state, and what two processors can do."""

FOLDERS: Final = {
    "cifar10": "cifar-10-batches-py",
    "mnist": "fashion-mnist",
    "femnist": "femnist",
    "shakespeare": "plays",
}
"""Where a task's data are below --data-dir."""

QUICK_ROUNDS: Final = 5
"""Of every run of --quick: two that warm up, and three that prune."""

CLIENTS: Final = (10, 20, 50)
"""The paper has up to 50."""

COMPARED: Final = ("none", "random", "ordered", "exclude", "shorten", "fluid", "clip-paper", "clip")
"""The methods of the paper's table."""

TRAINED_EVERYWHERE: Final = ("none", "exclude", "clip")
"""The methods whose accuracy is had at every n; all are at n = 20."""

JUDGED: Final = ("none", "clip")
"""The methods whose difference in accuracy wants the most seeds."""

SEEDS_OF_ALL: Final = 3
"""For so many seeds all methods are trained at n = 20; for the others those that are judged."""

SEEDS_AT_OTHER_N: Final = 2
"""For so many seeds those of `TRAINED_EVERYWHERE` are trained at n = 10 and 50."""

MEASURED_ROUNDS: Final = 8
"""Of a run by the measured clock, which is there for its times alone."""


@attrs.frozen(kw_only=True)
class Options:
    """What a user asks for."""

    quick: bool = False
    """The shipped digits alone, few rounds, one seed: minutes instead of hours."""

    seeds: int | None = None
    """How many seeds; none: as many as the experiment takes."""

    data_dir: Path | None = None
    """Where the tasks' data are, each in its folder."""

    tasks: tuple[str, ...] | None = None
    """These alone; none: all of the experiment's."""


@attrs.frozen(kw_only=True)
class Experiment:
    """One experiment."""

    name: str
    """What it is called on the command line."""

    title: str
    """The same for a page."""

    question: str
    """What it asks."""

    tasks: tuple[str, ...]
    """On which tasks, in full."""

    seeds: int
    """How many seeds, in full."""

    design: "Design"
    """The runs on one task."""

    read: Callable[[Rows], list[str]]
    """What its page says of the rows: Markdown blocks."""

    plots: Callable[[Rows, Mapping[str, Record]], dict[str, bytes]]
    """Its plots, by file name."""

    @property
    def findings(self) -> str:
        """What the full runs showed, in words: the numbers stand in the tables below it. Maybe nothing yet."""
        return FINDINGS.get(self.name, "")

    def configs(self, options: Options) -> list[RunConfig]:
        """All of its runs; `PreconditionError` (EXP-7) if a task's data are not there."""
        tasks = ("digits",) if options.quick else self.tasks
        if options.tasks is not None:
            unknown = [task for task in options.tasks if task not in SHAPES]
            if unknown:
                raise PreconditionError(rule="EXP-7", detail=f"no task {unknown[0]!r}; there are {', '.join(SHAPES)}")
            tasks = options.tasks
        seeds = range(1, (options.seeds or (1 if options.quick else self.seeds)) + 1)
        return [
            config
            for task in tasks
            for config in self.design(_maker(task, _data(task, options.data_dir), options.quick), seeds, options.quick)
        ]


def _data(task: str, data_dir: Path | None) -> str | None:
    if task not in FOLDERS:
        return None
    if data_dir is None:
        raise PreconditionError(
            rule="EXP-7", detail=f"the task {task} needs --data-dir: a directory with {FOLDERS[task]} in it; or --quick"
        )
    if not (data_dir / FOLDERS[task]).exists():
        raise PreconditionError(rule="EXP-7", detail=f"there is no {data_dir / FOLDERS[task]}, the data of {task}")
    return str(data_dir / FOLDERS[task])


Make = Callable[..., RunConfig]
"""Makes a run of one task at its size here, but for the changes that it is given."""

Design = Callable[[Make, Sequence[int], bool], list[RunConfig]]
"""Given that, the seeds, and whether it must be quick: all runs."""


SLOW_DOWN: Final = 50
"""On the digits devices are slower by so much: a fit of their small model then outweighs its transfers, as on real tasks."""


def _fleet(task: str, name: str) -> str:
    """The fleet of this name with devices that fit the task: `table` has real cores, the others' are slowed down by 50."""
    slowed, wanted = not name.startswith("table"), task == "digits"
    return name if slowed == wanted else f"{name}+slow_down:{SLOW_DOWN if wanted else 1}"


def _maker(task: str, data_dir: str | None, quick: bool) -> Make:
    rounds, examples, every, partition = SHAPES[task]
    plain: dict[str, Any] = {
        "task": task,
        "data_dir": data_dir,
        "method": "none",
        "partition": partition,
        "examples": examples,
        "fleet": _fleet(task, "table"),
        "rounds": QUICK_ROUNDS if quick else rounds,
        "evaluate_every": 1 if quick else every,
    }
    return lambda **changes: RunConfig(**plain | changes)


def _table(make: Make, seeds: Sequence[int], quick: bool) -> list[RunConfig]:
    """All methods at n = 20, first of all; three of them, and the clock of all, at n = 10 and 50."""
    out = []
    for n in (20,) if quick else sorted(CLIENTS, key=lambda n: n != 20):
        of_n = partial(make, clients=n, stragglers=n // 5)
        for at, seed in enumerate(seeds):
            trained: Sequence[str] = COMPARED if at < SEEDS_OF_ALL else JUDGED
            if n != 20:
                trained = TRAINED_EVERYWHERE if at < SEEDS_AT_OTHER_N else ()
            out += [of_n(method=name, seed=seed) for name in trained]
        if n != 20:
            out += [of_n(method=name, trained=False) for name in COMPARED if name not in TRAINED_EVERYWHERE]
    if not quick:
        watched = partial(make, clock=Clock.MEASURED, rounds=MEASURED_ROUNDS, evaluate_every=MEASURED_ROUNDS)
        out += [watched(method=name, seed=seed) for seed in seeds[:SEEDS_OF_ALL] for name in JUDGED]
    return out


Change = tuple[str, Any]
"""What is changed of a method: a field's name, and its value."""

RULES: Final = (
    "none",
    "exclude",
    "random",
    "ordered",
    "shorten",
    "fluid",
    "clip-paper",
    "clip-levels",
    "clip-rank",
    "clip-size",
    "clip-draw",
)
"""The rules that are compared, all from `clip-levels` on alternatives to the paper's: named before they were run."""

PARTS: Final[tuple[tuple[str, tuple[Change, ...]], ...]] = (
    ("clip-levels", (("stand_in", True),)),
    ("clip-rank", (("holder_cap", 1),)),
    ("clip-rank", (("stand_in", False),)),
)
"""What `clip-rank` is made of, for fewer seeds: without turns and strata; without strata; without neurons that stand in."""

LONGER: Final = ("none", "exclude", "clip-levels", "clip-rank")
"""Those that are also run for twice as many rounds, for fewer seeds."""

SEEDS_OF_PARTS: Final = 3
"""For so many seeds the parts and the longer runs are had."""

CONFIRMED: Final = ("none", "exclude", "random", "ordered", "clip-rank")
"""Those that are run once more for as many seeds again, on which nothing was decided: what was chosen, and its rivals."""

DECIDED_ON: Final = 5
"""The rules were found and chosen with the results of the seeds up to this one at hand."""


def _rules(make: Make, seeds: Sequence[int], quick: bool) -> list[RunConfig]:
    """Every rule where slow devices hold most of two classes, and where everybody's classes are uneven; some for longer."""
    partitions, fewer = ("devices:0.8",) if quick else ("devices:0.8", "dirichlet:0.3"), seeds[:SEEDS_OF_PARTS]
    out = [make(partition=p, method=name, seed=seed) for p in partitions for seed in seeds for name in RULES]
    out += [
        make(partition=p, method=m, changes=own, seed=seed) for seed in fewer for p in partitions for m, own in PARTS
    ]
    if not quick:
        usual = make()
        longer = partial(make, rounds=2 * usual.rounds, evaluate_every=2 * usual.evaluate_every)
        out += [longer(partition=p, method=name, seed=seed) for seed in fewer for p in partitions for name in LONGER]
        fresh = [DECIDED_ON + seed for seed in seeds]
        out += [make(partition=p, method=name, seed=seed) for seed in fresh for p in partitions for name in CONFIRMED]
    return out


LINKS: Final = ("net4g", "net3g", "net2g")
"""Fleets whose stragglers are slow in the network alone."""

ELIDED: Final = (0, 250, 500)
"""The shares of neurons that all leave out behind the slow ones, ‰; every fourth round is whole."""

SMALL: Final = ("digits", "mnist")
"""Where these runs are trained, too."""


def _network(make: Make, seeds: Sequence[int], quick: bool) -> list[RunConfig]:
    """Slow links, with over-pruning and without, and behind 3G and 2G, where it saturates, with elision: times by the clock.

    On the small tasks also what over-pruning costs behind 4G, and elision behind 3G.
    """
    aware = [("none", ()), ("clip", ()), ("clip", (("network_aware", False),))]
    names, shares = (LINKS[1:2], ELIDED[:2]) if quick else (LINKS, ELIDED)
    task = make().task
    net4g, net3g = (_fleet(task, name) for name in LINKS[:2])
    links = [_fleet(task, name) for name in names]
    out = [make(fleet=link, method=name, changes=own, trained=False) for link in links for name, own in aware]
    elided = [(name, share) for name, _ in aware[:2] for share in shares]
    out += [
        make(fleet=link, method=name, elide=e, trained=False)
        for link in links
        if link != net4g
        for name, e in elided
        if e
    ]
    if task in SMALL:
        shown = elided[:2] if quick else elided
        out += [make(fleet=net4g, method=name, changes=own, seed=seed) for seed in seeds for name, own in aware[:2]]
        out += [make(fleet=net3g, method=name, elide=e, seed=seed) for seed in seeds for name, e in shown]
    return out


KAPPAS: Final = (500, 750, 1000, 1250, 1500)
"""The thresholds of the paper's sweep, ‰."""


def _threshold(make: Make, seeds: Sequence[int], quick: bool) -> list[RunConfig]:
    """The paper's rule at each threshold."""
    return [
        config
        for seed in seeds
        for config in (
            make(method="none", seed=seed),
            *(make(method="clip-paper", changes=(("threshold", kappa),), seed=seed) for kappa in KAPPAS),
        )
    ]


BREAKING: Final = (
    "table",
    "table+stragglers:0.5",
    "cpu1v4",
    "worst",
    "table+liars:0.1x3",
    "table+liars:0.2x3",
    "table+liars:0.1x0.3",
    "table+liars:0.2x0.3",
)
"""The paper's fleet; half of it slow; 1 against 4 GHz; 1 GHz on 2G against 4 GHz on 5G; some who say thrice, or a third."""


def _breaking(make: Make, seeds: Sequence[int], quick: bool) -> list[RunConfig]:
    """Each fleet, without CLIP, with it, and without the slow."""
    task = make().task
    return [
        make(fleet=_fleet(task, fleet), method=name, seed=seed)
        for seed in seeds
        for fleet in (BREAKING[:1] + BREAKING[4:6] if quick else BREAKING)
        for name in TRAINED_EVERYWHERE
    ]


CHURN: Final = ("", "+churn:0.1", "+churn:0.3", "+churn:0.5", "+median:3", "+churn:0.3+median:3")
"""The shares of the population that are absent; and clients that declare the median of their last three times."""


def _churn(make: Make, seeds: Sequence[int], quick: bool) -> list[RunConfig]:
    """Who comes and goes, and links and processors that fluctuate: scores with gaps, and scores that need no history."""
    rules = ("none", "clip-paper", "clip-gaps", "clip-draw", "clip")
    table = _fleet(make().task, "table")
    fleets = [f"{table}+jitter:0.1/0.2{behaviour}" for behaviour in (CHURN[2::3] if quick else CHURN)]
    return [make(fleet=fleet, method=name, seed=seed) for seed in seeds for fleet in fleets for name in rules]


FEEDBACK: Final[tuple[tuple[str, tuple[Change, ...]], ...]] = (
    ("none", ()),
    ("clip-levels", (("mean", "dilute"),)),
    ("clip-levels", (("mean", "dilute"), ("age_cap", 4))),
    ("clip-levels", (("mean", "holder"),)),
    ("clip-levels", ()),
    ("clip-rank", ()),
    ("clip-draw", ()),
)
"""What a pruned coordinate is divided by, and what might end the loop."""


def _feedback(make: Make, seeds: Sequence[int], quick: bool) -> list[RunConfig]:
    """How much of what is pruned was pruned the round before, as more and more of the fleet is slow."""
    task = make().task
    return [
        make(fleet=_fleet(task, f"compute+stragglers:{share}"), method=name, changes=changes, seed=seed)
        for seed in seeds
        for share in (("0.2",) if quick else ("0.2", "0.35", "0.5"))
        for name, changes in FEEDBACK
    ]


def _head(found: Rows) -> list[str]:
    """What the rows are of."""
    blocks = []
    for (task,), mine in by(found, "task").items():
        seeds = sorted({row["seed"] for row in mine if row["trained"]})
        rounds = sorted({row["rounds"] for row in mine})
        blocks.append(
            f"- `{task}`: {SIZES[task]}; {'/'.join(map(str, rounds))} rounds; "
            f"{len(seeds)} seed{'s' * (len(seeds) != 1)} of what is trained."
        )
    return ["\n".join(blocks)]


def _tables(found: Rows, keys: Sequence[str], columns: Mapping[str, Callable[[Rows], str]]) -> list[str]:
    """A table for each combination of `keys`, a row for each method."""
    out = []
    for combination, mine in by(found, *keys).items():
        methods = by(mine, "method")
        body = [
            [f"`{name}`", *(column(methods[(name,)]) for column in columns.values())]
            for name in in_order(row["method"] for row in mine)
        ]
        what = ", ".join(f"{NAMES.get(key, key)} `{value}`" for key, value in zip(keys, combination, strict=True))
        out += [what[0].upper() + what[1:] + ":", table(["method", *columns], body)]
    return out


NAMES: Final = {"clients": "n", "fleet": "fleet"}

SIZES: Final = {
    "digits": "1,287 digits of ten writers, four writers unseen",
    "cifar10": "the VGG of nine layers on 5,000 images of CIFAR-10 (JPEG copy), 10,000 unseen",
    "mnist": "FEMNIST's CNN with ten outputs on 3,000 images of Fashion-MNIST, 10,000 unseen",
    "femnist": "FEMNIST's CNN on LEAF's FEMNIST by writer",
    "shakespeare": "two LSTM layers on 5,000 characters to be guessed, by role",
}
"""Each task as it is run here, in words."""


def _share(key: str, *, signed: bool = False) -> Callable[[Rows], str]:
    return lambda rows: percent(values(rows, key), signed=signed)


def _number(key: str, digits: int = 1) -> Callable[[Rows], str]:
    def show(rows: Rows) -> str:
        found = values(rows, key)
        return "–" if found is None else f"{found.mean:.{digits}f}"

    return show


TIMES: Final = {
    "simulated, s": _number("simulated_seconds"),
    "shorter, %": _share("shorter"),
    "of the bound, %": _share("bound_share"),
    "pruned rounds, of their bound, %": _share("pruned_rounds_bound_share"),
    "smallest keep, ‰": _number("smallest_keep", 0),
}
"""What each run took."""

ACCURACIES: Final = {
    "accuracy, %": _share("final_accuracy"),
    "to `none`, points": _share("difference", signed=True),
    "to the target sooner, %": _share("to_target_shorter"),
}
"""What each run came to."""

SLOW: Final = {
    "slow classes, %": _share("slow_accuracy"),
    "to `none`, points, slow classes": _share("slow_difference", signed=True),
    "same time, %": _share("budget_accuracy"),
    "same time, slow classes, %": _share("budget_slow_accuracy"),
}
"""On the slow devices' own classes, and at the time that the fastest method took."""


def _counted(found: Rows) -> Rows:
    """Those by the clock that is the same everywhere."""
    return [row for row in found if row["clock"] == Clock.MACS]


def _read_table(found: Rows) -> list[str]:
    found = sorted(found, key=lambda row: row["clients"])
    counted = _counted(found)
    measured = [row for row in found if row["clock"] == Clock.MEASURED]
    blocks = [*_head(counted), *_tables(counted, ("task", "clients"), TIMES | ACCURACIES)]
    if measured:
        blocks += ["The same times by the measured clock: CPU time of really training each sub-model."]
        blocks += _tables(measured, ("task", "clients"), TIMES)
    return [*blocks, "What was asked for of `clip`:", _asked(counted)]


NO_WORSE: Final = (0.005, 0.01)
"""A rule keeps the accuracy of `none` if it loses at most the first in the mean, the second at the end of its interval."""

SLOW_WITHIN: Final = 0.02
"""And that on the slow devices' own classes, if the mean loss there is at most this."""

OF_BOUND: Final = 0.95
"""A rule is as fast as can be if its pruned rounds are shortened by so much of what could be."""

SOONER: Final = 0.2
"""And as useful as was hoped if the target is reached sooner by so much of the time, where the bound allows it."""


def _asked(found: Rows) -> str:
    """Whether `clip` does on the paper's fleet what was hoped, beside what the paper says of it."""
    body = []
    for (task, n), mine in by(found, "task", "clients").items():
        clip = [row for row in mine if row["method"] == "clip"]
        share, cut, bound = (values(clip, k) for k in ("pruned_rounds_bound_share", "pruned_rounds_cut", "bound"))
        loss, sooner = paired(mine, "final_accuracy", "clip", "none"), values(clip, "to_target_shorter")
        soon = (
            "cannot be" if bound is None or bound.mean < SOONER else _yes(sooner is not None and sooner.mean >= SOONER)
        )
        body.append(
            [
                f"`{task}`, {n}",
                percent(cut),
                "–" if share is None else f"{_yes(share.mean >= OF_BOUND)}, {percent(share)}",
                _met(_kept(loss), loss),
                "–" if sooner is None else f"{soon}, {percent(sooner)}",
            ]
        )
    head = [
        "task, n",
        "pruned rounds shorter, % (the paper: 13–34)",
        f"at least {OF_BOUND:.0%} of the bound",
        "accuracy kept, points to `none` (the paper: +1.3 to −2.6)",
        f"target sooner by {SOONER:.0%}",
    ]
    return table(head, body)


def _yes(good: bool) -> str:
    return "yes" if good else "no"


def _kept(loss: Estimate | None) -> bool:
    """Whether what is lost against `none` is as little as was asked for."""
    return loss is not None and loss.mean >= -NO_WORSE[0] and loss.low > -NO_WORSE[1]


RIVALS: Final = ("random", "ordered", "exclude")
"""What CLIP has to be better than at the same time."""


def _read_rules(found: Rows) -> list[str]:
    columns = {"simulated, s": TIMES["simulated, s"]} | ACCURACIES | SLOW
    return [
        *_head(found),
        *_tables(found, ("task", "partition", "rounds"), columns),
        "What was asked for:",
        *_judged(found),
    ]


def _judged(found: Rows) -> list[str]:
    """Whether each rule of CLIP's does what it was hoped to."""
    out = []
    for (task, partition, rounds), mine in by(found, "task", "partition", "rounds").items():
        body = []
        for name in in_order(row["method"] for row in mine if row["method"].startswith("clip")):
            loss = paired(mine, "final_accuracy", name, "none")
            slow = paired(mine, "slow_accuracy", name, "none")
            rivals = {
                rival: [paired(mine, key, name, rival) for key in ("budget_accuracy", "budget_slow_accuracy")]
                for rival in RIVALS
            }
            better = [
                f"{rival} {' / '.join(percent(gain, signed=True) for gain in gains if gain is not None)}"
                for rival, gains in rivals.items()
                if gains[0] is not None
            ]
            body.append(
                [
                    f"`{name}`",
                    _met(_kept(loss), loss),
                    _met(slow is not None and slow.mean >= -SLOW_WITHIN, slow),
                    "; ".join(better) or "–",
                ]
            )
        head = ["rule", "accuracy kept", "slow classes kept", "at the same time, against (overall / slow classes)"]
        out += [f"Task `{task}`, partition `{partition}`, {rounds} rounds:", table(head, body)]
    return out


def _met(good: bool, difference: Estimate | None) -> str:
    return "–" if difference is None else f"{_yes(good)}, {percent(difference, signed=True)}"


def _read_network(found: Rows) -> list[str]:
    timed, trained = [r for r in found if not r["trained"]], [r for r in found if r["trained"]]
    return [
        *_head(found),
        "Times by the clock, nobody trained:",
        *_tables(timed, ("task", "fleet"), TIMES),
        "What the keep levels cost:",
        *_tables(trained, ("task", "fleet"), ACCURACIES),
    ]


def _read_threshold(found: Rows) -> list[str]:
    columns = {
        "neurons pruned": _number("pruned_neurons"),
        "of them slack": _number("slack_neurons"),
        "pruned again, %": _share("pruned_again"),
    }
    return [*_head(found), *_tables(found, ("task",), columns | ACCURACIES)]


def _read_breaking(found: Rows) -> list[str]:
    return [*_head(found), *_tables(found, ("task", "fleet"), TIMES | ACCURACIES)]


def _read_feedback(found: Rows) -> list[str]:
    columns = {"pruned again, %": _share("pruned_again"), "neurons pruned": _number("pruned_neurons")}
    return [*_head(found), *_tables(found, ("task", "fleet"), columns | ACCURACIES)]


def _no_plots(found: Rows, records: Mapping[str, Record]) -> dict[str, bytes]:
    return {}


def _bars(key: str, title: str, *along: str) -> Callable[[Rows, Mapping[str, Record]], dict[str, bytes]]:
    """One plot of this entry for each task: a group of bars for each combination of `along`, a bar for each method."""

    def draw(found: Rows, records: Mapping[str, Record]) -> dict[str, bytes]:
        from clip_ref.lab import plots

        out = {}
        for (task,), mine in by([row for row in _counted(found) if row[key] is not None], "task").items():
            groups = {
                "\n".join(str(part).replace("+", "\n+") for part in combination): {
                    name: values(same, key) for (name,), same in by(rows, "method").items()
                }
                for combination, rows in by(sorted(mine, key=lambda row: row["clients"]), *along).items()
            }
            out[f"{task}-{key.replace('_', '-')}.png"] = plots.bars(groups, label=title)
        return out

    return draw


def _curves(found: Rows, records: Mapping[str, Record]) -> dict[str, bytes]:
    """Accuracy over simulated time at n = 20, the mean over seeds, a line for each method."""
    from clip_ref.lab import plots

    out = {}
    for (task,), mine in by([r for r in _counted(found) if r["trained"] and r["clients"] == 20], "task").items():
        lines = {}
        for (name,), same in by(mine, "method").items():
            runs = [records[row["run"]].rounds for row in same]
            seconds = accumulate(fmean(each) for each in zip(*(r["round_seconds"] for r in runs), strict=True))
            accuracies = [
                None if None in each else fmean(each) for each in zip(*(r["accuracy"] for r in runs), strict=True)
            ]
            points = [(s, a) for s, a in zip(seconds, accuracies, strict=True) if a is not None]
            lines[name] = points
        out[f"{task}-curves.png"] = plots.lines(lines, across="simulated time, s", up="accuracy, %")
    return out


def _all_plots(
    *draws: Callable[[Rows, Mapping[str, Record]], dict[str, bytes]],
) -> Callable[[Rows, Mapping[str, Record]], dict[str, bytes]]:
    return lambda found, records: {name: png for draw in draws for name, png in draw(found, records).items()}


EXPERIMENTS: Final = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="table",
            title="The paper's table",
            question="How much shorter does CLIP make training on the paper's tasks, and what does that cost in accuracy?",
            tasks=("cifar10", "mnist", "shakespeare"),
            seeds=5,
            design=_table,
            read=_read_table,
            plots=_all_plots(_bars("shorter", "shorter than none", "clients"), _curves),
        ),
        Experiment(
            name="rules",
            title="Which neurons, and whose mean",
            question="Which rule keeps the accuracy of `none`, overall and on the classes that only slow devices hold?",
            tasks=("mnist",),
            seeds=5,
            design=_rules,
            read=_read_rules,
            plots=_all_plots(
                _bars("difference", "accuracy less that of none", "partition"),
                _bars("slow_difference", "the same on the slow devices' own classes", "partition"),
            ),
        ),
        Experiment(
            name="network",
            title="Network stragglers",
            question="What does over-pruning buy behind slow links, where does it saturate, and what does elision buy there?",
            tasks=("cifar10", "mnist", "shakespeare"),
            seeds=3,
            design=_network,
            read=_read_network,
            plots=_bars("bound_share", "share of the bound", "fleet"),
        ),
        Experiment(
            name="threshold",
            title="The threshold",
            question="How do the paper's threshold, the slack that is drawn and accuracy hang together?",
            tasks=("digits", "shakespeare"),
            seeds=3,
            design=_threshold,
            read=_read_threshold,
            plots=_bars("slack_neurons", "slack neurons a round", "task"),
        ),
        Experiment(
            name="breaking",
            title="Breaking points",
            question="What happens with half the fleet slow, with extreme devices, and with clients that lie about times?",
            tasks=("digits",),
            seeds=3,
            design=_breaking,
            read=_read_breaking,
            plots=_bars("bound_share", "share of the bound", "fleet"),
        ),
        Experiment(
            name="churn",
            title="Coming and going",
            question="Does CLIP keep its speed and accuracy when clients come and go, and times fluctuate?",
            tasks=("digits",),
            seeds=3,
            design=_churn,
            read=_read_breaking,
            plots=_all_plots(
                _bars("pruned_rounds_cut", "pruned rounds shorter", "fleet"), _bars("difference", "to none", "fleet")
            ),
        ),
        Experiment(
            name="feedback",
            title="The feedback loop",
            question="Are the same neurons pruned for ever, and what ends that?",
            tasks=("digits",),
            seeds=3,
            design=_feedback,
            read=_read_feedback,
            plots=_bars("pruned_again", "pruned again the next round", "fleet"),
        ),
    )
}
"""All experiments, by name."""
