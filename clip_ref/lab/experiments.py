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

LONG: Final = (("cifar10", 50),)
"""But for one where a run takes longest, by task and n."""

SEEDS_OF_TIMES: Final = 3
"""Where data are dealt by nature, and times so depend on the seed, all methods' are had there for so many; else for one."""

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
            tasks = tuple(dict.fromkeys(options.tasks))
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
    """All methods at n = 20, first of all; three of them at n = 10 and 50; and the clock of all."""
    usual, trained, timed = make(), [], []
    for n in (20,) if quick else sorted(CLIENTS, key=lambda n: n != 20):
        of_n = partial(make, clients=n, stragglers=n // 5)
        seeds_trained = 1 if (usual.task, n) in LONG else SEEDS_AT_OTHER_N
        seeds_timed = (len(seeds) if n == 20 else SEEDS_OF_TIMES) if usual.partition == "natural" else 1
        for at, seed in enumerate(seeds):
            chosen: Sequence[str] = COMPARED if at < SEEDS_OF_ALL else JUDGED
            if n != 20:
                chosen = TRAINED_EVERYWHERE if at < seeds_trained else ()
            trained += [of_n(method=name, seed=seed) for name in chosen]
            if at < seeds_timed:
                timed += [of_n(method=name, seed=seed, trained=False) for name in COMPARED if name not in chosen]
    watched = partial(make, clock=Clock.MEASURED, rounds=MEASURED_ROUNDS, evaluate_every=MEASURED_ROUNDS)
    measured = [watched(method=name, seed=seed) for seed in seeds[:SEEDS_OF_ALL] for name in JUDGED]
    return trained + timed + ([] if quick else measured)


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
"""The rules that are compared, all from `clip-levels` on alternatives to the paper's: named before they were run.

Not so their stand-ins, which were found with results at hand: see `CONFIRMED`.
"""

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

CONFIRMED: Final = ("none", "exclude", "random", "ordered", "clip-rank", "clip-size", "clip-draw")
"""Those that are run once more for as many seeds again, on which nothing was decided: what was chosen, and its rivals.

Those it was chosen among are there too: had another been better there, the page would say so.
"""

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
        rounds = "/".join(map(str, sorted({row["rounds"] for row in mine})))
        examples = ", ".join(f"{count:,}" if count else "all" for count in {row["examples"]: None for row in mine})
        blocks.append(f"- `{task}`: {WHAT[task].format(examples=examples)}; {rounds} rounds.")
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


NAMES: Final = {"clients": "n"}

WHAT: Final = {
    "digits": "a small CNN on {examples} of the digits of ten writers, tested on four others",
    "cifar10": "the VGG of nine layers on {examples} images of CIFAR-10, tested on its whole test set",
    "mnist": "FEMNIST's CNN with ten outputs on {examples} images of Fashion-MNIST, tested on its whole test set",
    "femnist": "FEMNIST's CNN on {examples} images of LEAF's FEMNIST, by writer",
    "shakespeare": "two LSTM layers on {examples} characters of Shakespeare to be guessed, by role, tested on the roles' ends",
}
"""Each task as it is run here, in words, from how many examples are dealt."""


def _seeds(rows: Rows) -> str:
    """How many seeds were trained."""
    return str(len({row["seed"] for row in rows if row["trained"]}) or "–")


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


def _never(rows: Rows) -> int:
    """How many trained runs never came to the target that `none` came to."""
    return sum(row["trained"] and row["target"] is not None and row["seconds_to_target"] is None for row in rows)


def _sooner(rows: Rows) -> str:
    """How much sooner the target is reached, and how many runs never do."""
    never = _never(rows)
    return _share("to_target_shorter")(rows) + (f" ({never} never)" if never else "")


ACCURACIES: Final = {
    "seeds": _seeds,
    "accuracy, %": _share("final_accuracy"),
    "to `none`, points": _share("difference", signed=True),
    "to the target sooner, %": _sooner,
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
        blocks += [
            f"Times by the measured clock, CPU time of really training each sub-model, of {MEASURED_ROUNDS} rounds:"
        ]
        blocks += _tables(measured, ("task", "clients"), TIMES)
    return [*blocks, ASKED, _asked(counted)]


NO_WORSE: Final = (0.005, 0.01)
"""A rule keeps the accuracy of `none` if it loses at most the first in the mean, the second at the end of its interval."""

SLOW_WITHIN: Final = 0.02
"""And that on the slow devices' own classes, if the mean loss there is at most this."""

OF_BOUND: Final = 0.95
"""A rule is as fast as can be if its pruned rounds are shortened by so much of what could be."""

SOONER: Final = 0.2
"""And as useful as was hoped if the target is reached sooner by so much of the time, where the bound allows it."""

ENOUGH: Final = 3
"""Of fewer seeds nothing is judged."""

ASKED: Final = (
    "What was asked for of `clip`, the mean over seeds: accuracy is kept if it is at most "
    f"{100 * NO_WORSE[0]:.1f} points below that of `none`, and less than {100 * NO_WORSE[1]:.0f} at the end of the interval. "
    f"Of fewer than {ENOUGH} seeds nothing is judged."
)


def _verdict(found: Estimate | None, good: Callable[[Estimate], bool], *, signed: bool = False) -> str:
    """Whether it is as good as was asked for, and what it is, points to the hundredth; not of too few seeds."""
    if found is None:
        return "–"
    said = "open" if found.count < ENOUGH else "yes" if good(found) else "no"
    return f"{said}, {percent(found, signed=signed, digits=2 if signed else 1)}"


def _soon(rows: Rows) -> str:
    """Whether the target is reached as much sooner as was asked for: by every run."""
    bound, sooner, never = values(rows, "bound"), values(rows, "to_target_shorter"), _never(rows)
    if bound is None or bound.mean < SOONER:
        return f"cannot be, {percent(sooner)}"
    if never:
        return f"no, {never} of {never + (sooner.count if sooner else 0)} never"
    return _verdict(sooner, lambda one: one.mean >= SOONER)


def _asked(found: Rows) -> str:
    """Whether `clip` does on the fleet `table` what was hoped, beside what the paper says of it."""
    body = []
    for (task, n), mine in by(found, "task", "clients").items():
        clip = [row for row in mine if row["method"] == "clip"]
        body.append(
            [
                f"`{task}`, {n}",
                percent(values(clip, "pruned_rounds_cut")),
                _verdict(values(clip, "pruned_rounds_bound_share"), lambda one: one.mean >= OF_BOUND),
                _verdict(paired(mine, "final_accuracy", "clip", "none"), _kept, signed=True),
                _soon(clip) if any(row["trained"] for row in clip) else "–",
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


def _kept(loss: Estimate) -> bool:
    """Whether what is lost against `none` is as little as was asked for."""
    return loss.mean >= -NO_WORSE[0] and loss.low > -NO_WORSE[1]


RIVALS: Final = ("random", "ordered", "exclude")
"""What CLIP has to be better than at the same time."""


def _read_rules(found: Rows) -> list[str]:
    columns = {"simulated, s": TIMES["simulated, s"]} | ACCURACIES | SLOW
    parts = {fresh: [row for row in found if (row["seed"] > DECIDED_ON) is fresh] for fresh in (False, True)}
    blocks = [*_head(found)]
    for fresh, mine in parts.items():
        if mine:
            blocks += [FRESH] if fresh else []
            blocks += _tables(mine, ("task", "partition", "rounds"), columns)
            blocks += [ASKED_OF_RULES, *_judged(mine)]
    return blocks


def _first_of_rules(row: Mapping[str, Any]) -> bool:
    """Of the seeds that all rules have, runs of the usual length: those of fewest rounds."""
    return row["seed"] <= DECIDED_ON and row["rounds"] in (QUICK_ROUNDS, SHAPES[row["task"]][0])


FRESH: Final = (
    f"What was chosen, and its rivals, on seeds from {DECIDED_ON + 1} on, run once, after everything was decided:"
)

ASKED_OF_RULES: Final = (
    ASKED.replace("`clip`", "each rule")
    + f" The slow devices' classes are kept if the mean there is at most {100 * SLOW_WITHIN:.0f} points below. "
    "A rule is ahead of another, or behind it, if the whole interval of the difference is, and else level with it."
)


def _judged(found: Rows) -> list[str]:
    """Whether each rule of CLIP's does what it was hoped to."""
    out = []
    for (task, partition, rounds), mine in by(found, "task", "partition", "rounds").items():
        names = [name for name in in_order(row["method"] for row in mine) if name.startswith("clip")]
        body = [
            [
                f"`{name}`",
                _verdict(paired(mine, "final_accuracy", name, "none"), _kept, signed=True),
                _verdict(
                    paired(mine, "slow_accuracy", name, "none"), lambda loss: loss.mean >= -SLOW_WITHIN, signed=True
                ),
                _against(mine, "budget_accuracy", name),
                _against(mine, "budget_slow_accuracy", name),
            ]
            for name in names
        ]
        head = ["rule", "accuracy kept", "slow classes kept", "at the same time", "at the same time, slow classes"]
        out += [f"Task `{task}`, partition `{partition}`, {rounds} rounds:", table(head, body)]
    return out


def _against(found: Rows, key: str, name: str) -> str:
    """How a rule stands against each of its rivals."""
    told = []
    for rival in RIVALS:
        gain = paired(found, key, name, rival)
        if gain is not None:
            stands = "ahead of" if gain.low > 0 else "behind" if gain.high < 0 else "level with"
            told.append(f"{'open:' if gain.count < ENOUGH else stands} {rival} {percent(gain, signed=True)}")
    return "; ".join(told) or "–"


def _read_network(found: Rows) -> list[str]:
    timed, trained = [r for r in found if not r["trained"]], [r for r in found if r["trained"]]
    return [
        *_head(found),
        "Times by the clock, nobody trained:",
        *_tables(timed, ("task", "fleet"), TIMES),
        "What over-pruning and elision cost in accuracy:",
        *_tables(trained, ("task", "fleet"), ACCURACIES),
    ]


def _read_threshold(found: Rows) -> list[str]:
    columns = {
        "neurons pruned": _number("pruned_neurons"),
        "of them slack": _number("slack_neurons"),
        "pruned again, %": _share("pruned_again"),
    }
    return [*_head(found), *_tables(found, ("task",), columns | ACCURACIES)]


def _read_times_and_accuracies(found: Rows) -> list[str]:
    return [*_head(found), *_tables(found, ("task", "fleet"), TIMES | ACCURACIES)]


def _read_feedback(found: Rows) -> list[str]:
    columns = {"pruned again, %": _share("pruned_again"), "neurons pruned": _number("pruned_neurons")}
    return [*_head(found), *_tables(found, ("task", "fleet"), columns | ACCURACIES)]


def _bars(
    key: str, title: str, *along: str, scale: float = 100, among: Callable[[Mapping[str, Any]], bool] = lambda row: True
) -> Callable[[Rows, Mapping[str, Record]], dict[str, bytes]]:
    """One plot of this entry for each task: a group of bars for each combination of `along`, a bar for each method.

    Of the rows `among` whom it is asked; there no seed of a method may be in a group twice.
    """

    def draw(found: Rows, records: Mapping[str, Record]) -> dict[str, bytes]:
        from clip_ref.lab import plots

        out = {}
        shown = [row for row in _counted(found) if row[key] is not None and among(row)]
        for (task,), mine in by(shown, "task").items():
            groups = {}
            for combination, rows in by(sorted(mine, key=lambda row: row["clients"]), *along).items():
                methods = by(rows, "method")
                for (name,), same in methods.items():
                    assert len({(row["seed"], row["trained"]) for row in same}) == len(same), (key, combination, name)
                groups[combination] = {
                    name: _scaled(values(methods[(name,)], key), scale)
                    for name in in_order(row["method"] for row in rows)
                }
            words = _without_common([" ".join(map(str, combination)) for combination in groups])
            out[f"{task}-{key.replace('_', '-')}.png"] = plots.bars(
                dict(zip(words, groups.values(), strict=True)),
                label=title,
                across=", ".join(NAMES.get(each, each) for each in along),
            )
        return out

    return draw


def _scaled(found: Estimate | None, scale: float) -> Estimate | None:
    return None if found is None else Estimate(scale * found.mean, scale * found.half, found.count)


def _without_common(words: Sequence[str]) -> list[str]:
    """Each in lines at its `+`, without what all have that have any."""
    parts = [word.split("+") for word in words]
    changed = [set(each[1:]) for each in parts if len(each) > 1]
    common = set.intersection(*changed) if len(changed) > 1 else set()
    return ["\n+".join(part for k, part in enumerate(each) if not k or part not in common) for each in parts]


def _curves(found: Rows, records: Mapping[str, Record]) -> dict[str, bytes]:
    """Accuracy over simulated time at n = 20, a line for each method: the mean over the seeds that all have."""
    from clip_ref.lab import plots

    out = {}
    for (task,), mine in by([r for r in _counted(found) if r["trained"] and r["clients"] == 20], "task").items():
        methods = by(mine, "method")
        shared = set.intersection(*({row["seed"] for row in same} for same in methods.values()))
        lines = {}
        for name in in_order(name for (name,) in methods):
            runs = [records[row["run"]].rounds for row in methods[(name,)] if row["seed"] in shared]
            seconds = accumulate(fmean(each) for each in zip(*(r["round_seconds"] for r in runs), strict=True))
            accuracies = [
                None if None in each else fmean(each) for each in zip(*(r["accuracy"] for r in runs), strict=True)
            ]
            lines[name] = [(s, a) for s, a in zip(seconds, accuracies, strict=True) if a is not None]
        if shared:
            title = f"accuracy, %, mean of {len(shared)} seed{'s' * (len(shared) != 1)}"
            out[f"{task}-curves.png"] = plots.lines(lines, across="simulated time, s", up=title)
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
            plots=_all_plots(_bars("shorter", "shorter than none, %", "clients"), _curves),
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
                _bars("difference", "accuracy to none, points", "partition", among=_first_of_rules),
                _bars("slow_difference", "slow devices' classes, to none, points", "partition", among=_first_of_rules),
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
            plots=_bars("bound_share", "of the bound, %", "fleet"),
        ),
        Experiment(
            name="threshold",
            title="The threshold",
            question="How do the paper's threshold, the slack that is drawn and accuracy hang together?",
            tasks=("digits", "shakespeare"),
            seeds=3,
            design=_threshold,
            read=_read_threshold,
            plots=_bars("slack_neurons", "slack neurons, mean of all rounds", "task", scale=1),
        ),
        Experiment(
            name="breaking",
            title="Breaking points",
            question="What happens with half the fleet slow, with extreme devices, and with clients that lie about times?",
            tasks=("digits",),
            seeds=3,
            design=_breaking,
            read=_read_times_and_accuracies,
            plots=_bars("bound_share", "of the bound, %", "fleet"),
        ),
        Experiment(
            name="churn",
            title="Coming and going",
            question="Does CLIP keep its speed and accuracy when clients come and go, and times fluctuate?",
            tasks=("digits",),
            seeds=3,
            design=_churn,
            read=_read_times_and_accuracies,
            plots=_all_plots(
                _bars("pruned_rounds_cut", "pruned rounds shorter, %", "fleet"),
                _bars("difference", "accuracy to none, points", "fleet"),
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
            plots=_bars("pruned_again", "pruned the round before, too, %", "fleet"),
        ),
    )
}
"""All experiments, by name."""
