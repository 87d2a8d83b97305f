"""The command line: `clip-ref`. Thin: it reads arguments, calls the package and prints."""

import argparse
import csv
import importlib.util
import io
import json
import os
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs

from clip_ref import __version__, graph
from clip_ref.audit import AuditReport, audit
from clip_ref.audit import as_dict as audit_json
from clip_ref.deadline import upload_time
from clip_ref.errors import SERVER, ClipError, PreconditionError
from clip_ref.identification import Plan, Reason, Verdict, elapsed, identify, valid
from clip_ref.identities import DIRECTORY_FILE, SECRETS, beside, load_directory, new_identities
from clip_ref.keys import NO_IDENTITIES
from clip_ref.messages import TimeRecord
from clip_ref.params import HARDENED_POLICY, PAPER_POLICY, Encoding, Mean, Params, SecurityLevel
from clip_ref.values import ClientId, RoundNumber, saturate

if TYPE_CHECKING:
    from clip_ref.attacks import Attack, AttackResult
    from clip_ref.oracle.report import Report
    from clip_ref.oracle.rules import Rule

OK: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130

DEMO_OUT: Final = Path("out/demo")

ATTACK_SEED: Final = 1
"""Attacks draw everything from it."""

WEIGHT_MAX: Final = Encoding().weight_max

MOST_BITS: Final = 256
"""The largest security parameter that can be asked for."""

EXIT_CODES: Final = """exit codes:
  0    done, and every check held
  1    a check failed, or a round was aborted
  2    bad input: nothing was run or written
  130  interrupted; a `train` can be resumed
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and exits with 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="clip-ref",
        description="The executable specification of CLIP: client-side invariant pruning for\n"
        "stragglers in secure federated learning.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"clip-ref {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def command(
        name: str,
        run: Callable[[argparse.Namespace], int],
        summary: str,
        more: str,
        among: "argparse._SubParsersAction[_Parser]" = commands,
    ) -> argparse.ArgumentParser:
        sub = among.add_parser(
            name,
            help=summary,
            description=more,
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        sub.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
        sub.add_argument("--quiet", action="store_true", help="no progress, and no more than errors")
        return sub

    demo = command(
        "demo",
        _demo,
        "train on real digits, without and with CLIP, and report what it bought",
        "Train a real model on real handwritten digits with 20 clients, 4 of them slow,\n"
        "through the whole secure protocol, by every method; check every sum; write\n"
        "results.json, rounds.csv and report.md with its plots.",
    )
    demo.add_argument("--out", type=Path, default=None, help="where to write (default: out/demo)")
    demo.add_argument("--rounds", type=int, default=None, help="rounds of each method (default: 12)")
    demo.add_argument("--seed", type=int, default=1, help="what all chance is drawn from (default: 1)")

    train = command(
        "train",
        _train,
        "one training run by one method",
        "Run one method, round by round, through the whole secure protocol. Writes\n"
        "results.json, rounds.csv, model.npz and, after every round, checkpoint.npz, from\n"
        "which --resume goes on with the same result.",
    )
    train.add_argument("--out", type=Path, required=True, help="directory to write to; made if its parent is there")
    train.add_argument(
        "--task", default="digits", help="digits, cifar10, mnist, femnist or shakespeare (default: digits, which ship)"
    )
    train.add_argument(
        "--data-dir", default=None, metavar="DIR", help="where the task's data are, in their published format"
    )
    train.add_argument(
        "--partition",
        default="natural",
        metavar="HOW",
        help="natural: by writer, role or user; iid; dirichlet:ALPHA; devices:SHARE, the slow clients' share of two classes "
        "(default: natural)",
    )
    train.add_argument(
        "--examples",
        type=int,
        default=None,
        metavar="N",
        help="train on so many examples; time is billed for all (default: all)",
    )
    train.add_argument("--method", default="clip", help="none, random, exclude, clip-paper or clip (default: clip)")
    train.add_argument("--clients", type=int, default=20, help="how many clients, 2 to 500 (default: 20)")
    train.add_argument(
        "--neighbours",
        type=int,
        default=0,
        metavar="K",
        help="a graph on which each client masks and shares with K others, K even (default: everybody with everybody, "
        "and above 255 clients the K and t that `graph` prints)",
    )
    train.add_argument(
        "--stragglers", type=int, default=None, help="how many of them are slow, at most half (default: a fifth)"
    )
    train.add_argument("--rounds", type=int, default=12, help="how many rounds (default: 12)")
    train.add_argument(
        "--fleet",
        default="paper",
        metavar="FLEET",
        help="paper, table, compute, network, uniform, both, net4g, net3g, net2g, cpu1v4, worst, or a JSON file; then, if "
        "wanted, behaviour: +jitter:0.1 +churn:0.3 +liars:0.1x3 +stragglers:0.5 +slow_down:1 +median:3 (default: paper)",
    )
    train.add_argument(
        "--clock",
        choices=("macs", "measured"),
        default="macs",
        help="macs: deterministic, by counted work; measured: CPU time, median of 5 (default: macs)",
    )
    train.add_argument(
        "--security",
        choices=("basic", "hardened"),
        default="hardened",
        help="basic: against a server that is curious; hardened: against a malicious one (default: hardened)",
    )
    _add_deadline(train)
    train.add_argument(
        "--elide",
        type=_ratio("0.9"),
        default=0,
        metavar="SHARE",
        help="share of the neurons that all leave out of a round, in turn, and send later, 0 to 0.9 (default: 0)",
    )
    train.add_argument(
        "--full-every",
        type=int,
        default=4,
        metavar="R",
        help="with --elide: every so many rounds one is whole, 2 to 100 (default: 4)",
    )
    train.add_argument("--seed", type=int, default=1, help="what all chance is drawn from (default: 1)")
    train.add_argument("--init", type=Path, default=None, metavar="MODEL", help="start from a saved model.npz")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    train.add_argument(
        "--transcript",
        type=Path,
        default=None,
        metavar="FILE",
        help="record all that the server sees, for `audit`; the clients' public keys land in FILE.identities",
    )

    evaluate = command(
        "evaluate",
        _evaluate,
        "the accuracy of a saved model",
        "Print the accuracy of a model that `train` saved, on its task's unseen test.",
    )
    evaluate.add_argument("model", type=Path, metavar="MODEL", help="a model.npz")
    evaluate.add_argument("--data-dir", default=None, metavar="DIR", help="where the task's data are")

    plan = command(
        "plan",
        _plan,
        "who would prune what, and why, given everybody's times",
        "Read clients' times from a CSV file and print the plan that every one of them\n"
        "would come to.\n\n"
        "columns that it needs:\n"
        "  client            the client's number\n"
        "  down_s, up_s      seconds to receive the model, and to send the update\n"
        "  fit_s             seconds to train the whole model\n"
        "columns that it may have:\n"
        "  select_s, mask_s  seconds to choose neurons, and to mask the update (0)\n"
        "  fit_s_K           seconds to train at K = 975, 950 ... 500 per mille (fit_s * K/1000)\n"
        f"  weight            training examples, 1 to {WEIGHT_MAX} (1)\n"
        "  was_straggler     whether it was one in the round before, 0 or 1 (0)\n"
        "  has_model         whether it has the model before this one, 0 or 1 (1)",
    )
    plan.add_argument("times", type=Path, metavar="TIMES.csv", help="a CSV file with a header")
    plan.add_argument("--preset", choices=("hardened", "paper"), default="hardened", help="default: hardened")
    plan.add_argument("--share", type=_ratio("0.5"), default=None, help="share of candidates, 0 to 0.5 (default: 0.2)")
    plan.add_argument(
        "--margin",
        type=_ratio("1"),
        default=None,
        help="how far above T* a straggler starts, 0 to 1 (default: 0.05; with --preset paper: 0)",
    )
    plan.add_argument("--colluders", type=int, default=0, help="c: blocks have c + 2 stragglers (default: 0)")
    plan.add_argument("--compute-only", action="store_true", help="no over-pruning for slow networks")
    plan.add_argument(
        "--spread",
        action="store_true",
        help="blocks take turns, so that each prunes neurons of its own; not on a graph",
    )
    _add_deadline(plan)
    plan.add_argument(
        "--graph",
        action="store_true",
        help="as on a graph: T* from a histogram of these times, and everybody's own verdict by it",
    )
    plan.add_argument("--round", type=int, default=3, help="the round's number: nobody prunes in 1 and 2 (default: 3)")

    attack = command(
        "attack",
        _attack,
        "attack a round, without a defence and with it",
        "Run known attacks on small rounds: each one twice, by the same attacker, against the\n"
        "round without its defence and against the round as it is. Print what the attacker\n"
        "got, and the rule that stopped or bounded it.",
    )
    attack.add_argument("name", nargs="?", type=_attack_name, metavar="NAME", help="one attack (default: all)")
    _add_graph(command)
    _add_audit(command)
    _add_keys(commands, command)
    _add_lab(command)
    _add_vectors(commands, command)
    _add_conformance(command)
    return parser


def _add_graph(command: Callable[..., argparse.ArgumentParser]) -> None:
    sizes = command(
        "graph",
        _graph,
        "how many neighbours and shares a graph needs",
        "Print the least k, the neighbours of each client, and t, the shares that give a secret\n"
        "back, that keep a graph of N clients safe, by exact hypergeometric tails.",
    )
    sizes.add_argument("--clients", type=int, required=True, metavar="N", help="how many clients")
    for name, what in (("corrupt", "collude with the server"), ("dropped", "drop out")):
        sizes.add_argument(
            f"--{name}",
            type=_ratio("1"),
            default=100,
            metavar="SHARE",
            help=f"share of them that may {what}, 0 to 1 (default: 0.1)",
        )
    for name, default, what in (
        ("security", 40, "a client is exposed with a probability of at most 2^-BITS"),
        ("failure", 30, "a round aborts with a probability of at most 2^-BITS"),
        ("grinding", 0, "a malicious server may try 2^BITS graphs and choose"),
    ):
        sizes.add_argument(
            f"--{name}", type=_bits, default=default, metavar="BITS", help=f"{what} (default: {default})"
        )


def _add_audit(command: Callable[..., argparse.ArgumentParser]) -> None:
    audit = command(
        "audit",
        _audit,
        "verify a recorded run again, trusting nobody",
        "Replay a transcript that `train --transcript` recorded: every signature, length, order and\n"
        "share, and every sum. Names the first thing that is wrong, and who is to blame for it.",
    )
    audit.add_argument("file", type=Path, metavar="FILE", help="a transcript")
    audit.add_argument(
        "--identities",
        type=Path,
        default=None,
        metavar="DIR",
        help="the clients' pinned public keys, as `keys new` writes them (default: FILE.identities)",
    )
    audit.add_argument(
        "--allow-unsigned", action="store_true", help="accept a transcript at level basic, which proves little"
    )


def _add_keys(commands: "argparse._SubParsersAction[_Parser]", command: Callable[..., argparse.ArgumentParser]) -> None:
    keys = commands.add_parser(
        "keys",
        help="long-term identities for clients",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new = command(
        "new",
        _keys_new,
        "draw a key pair for each of N clients",
        "Write DIR/directory.json, the public keys, for everybody to pin, and DIR/secret/ID.key,\n"
        "one secret key for each client, to be handed to that client alone. Overwrites nothing.",
        keys.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser),
    )
    new.add_argument("--clients", type=int, required=True, metavar="N", help="how many clients")
    new.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where to write; made if its parent is there"
    )


def _add_deadline(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--deadline",
        type=_seconds,
        default=0,
        metavar="SECONDS",
        help="deadline mode: all uploads start at one time, which is SECONDS into the leg where nobody may prune, and "
        "never later (default: 0, each when it is ready)",
    )


def _seconds(text: str) -> int:
    """Reads seconds as µs."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 <= value <= LONGEST or value * 1_000_000 % 1:
        raise argparse.ArgumentTypeError(
            f"seconds from 0 to {LONGEST}, with at most 6 decimals, are expected, got {text!r}"
        )
    return int(value * 1_000_000)


LAB_OUT: Final = Path("out/lab")

LAB_NAMES: Final = ("table", "rules", "network", "threshold", "breaking", "churn", "feedback")
"""The experiments' names: those of `clip_ref.lab.experiments`, which takes too long to import for a --help."""

REPORT: Final = "report"


def _add_lab(command: Callable[..., argparse.ArgumentParser]) -> None:
    lab = command(
        "lab",
        _lab,
        "run an experiment, or build the results page",
        "Run an experiment: the paper's table, which neurons go and what their sum is divided by\n"
        "(rules), network stragglers, the threshold sweep, breaking points with liars, churn, the\n"
        "feedback loop. Writes OUT/NAME: rows.json, rows.csv, page.md and plots. Finished runs are\n"
        "kept in OUT/runs by the digest of what determines them, and never run again; stop it\n"
        "whenever you like, and go on later. `report` builds the site's results page from OUT.",
    )
    lab.add_argument("name", choices=(*LAB_NAMES, REPORT), metavar="NAME", help=f"{', '.join(LAB_NAMES)}, or {REPORT}")
    lab.add_argument(
        "--quick", action="store_true", help="the shipped digits, few rounds, one seed: at most two minutes"
    )
    lab.add_argument("--seeds", type=_count, default=None, metavar="K", help="how many seeds (default: as designed)")
    lab.add_argument(
        "--data-dir",
        type=Path,
        default=None,
        metavar="DIR",
        help="where cifar-10-batches-py, fashion-mnist and plays are, as far as the experiment needs them",
    )
    lab.add_argument(
        "--tasks", type=lambda text: tuple(text.split(",")), default=None, metavar="A,B", help="these tasks alone"
    )
    lab.add_argument("--out", type=Path, default=None, metavar="OUT", help=f"where to write (default: {LAB_OUT})")
    lab.add_argument(
        "--workers", type=_count, default=2, metavar="N", help="runs at a time, one core each (default: 2)"
    )
    lab.add_argument(
        "--minutes",
        type=_count,
        default=None,
        metavar="M",
        help="stop after about so long; what is finished is reported",
    )
    lab.add_argument("--site", type=Path, default=Path("spec"), help="of `report`: the site's source (default: spec)")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise argparse.ArgumentTypeError(f"a number from 1 is expected, got {text!r}")
    return int(text)


def _add_vectors(
    commands: "argparse._SubParsersAction[_Parser]", command: Callable[..., argparse.ArgumentParser]
) -> None:
    vectors = commands.add_parser(
        "vectors",
        help="the cases that every implementation is held against, as files",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = vectors.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    for name, run, summary, more in (
        (
            "write",
            _vectors_write,
            "make all vectors and write them",
            "Make every vector, the JSON schema of the files and the table of rules, and write them.\n"
            "The same package always writes the same bytes.",
        ),
        (
            "check",
            _vectors_check,
            "make all vectors and compare them with the files",
            "Make everything that `write` would write, and say what is not so in the files.",
        ),
    ):
        action = command(name, run, summary, more, actions)
        action.add_argument(
            "--out", type=Path, default=None, metavar="DIR", help="the files' directory (default: the package's own)"
        )


def _add_conformance(command: Callable[..., argparse.ArgumentParser]) -> None:
    conformance = command(
        "conformance",
        _conformance,
        "point it at a program in any language: it names the rules that the program breaks",
        "Ask a program every vector, then N random cases, in lines of JSON on its standard input;\n"
        "compare what it answers; print a table by rule. The program may fail in any way: it is\n"
        "started anew and asked the rest.\n\n"
        "  clip-ref conformance --skeleton python > adapter.py\n"
        "  clip-ref conformance --steps keys,shamir -- python3 adapter.py",
    )
    conformance.add_argument(
        "--steps",
        type=lambda text: text.split(","),
        default=[],
        metavar="S,...",
        help="steps to ask for (default: all)",
    )
    conformance.add_argument("--random", type=int, default=0, metavar="N", help="random cases after the vectors (0)")
    conformance.add_argument("--seed", type=int, default=1, metavar="K", help="what they are drawn from (default: 1)")
    conformance.add_argument(
        "--report",
        type=Path,
        default=None,
        metavar="FILE",
        help="write the report there as JSON, and as JUnit XML beside it, with .xml for its ending",
    )
    conformance.add_argument(
        "--timeout", type=float, default=10.0, metavar="SECONDS", help="for each answer (default: 10)"
    )
    conformance.add_argument(
        "--skeleton",
        type=_language,
        default=None,
        metavar="LANGUAGE",
        help="print an adapter to start from, in python, javascript or go, and do nothing else",
    )
    conformance.add_argument(
        "--zoo",
        action="store_true",
        help="ask wrong implementations, one defect each, instead: every one must be caught",
    )
    conformance.add_argument(
        "program", nargs="*", metavar="-- COMMAND", help="the program, with its arguments, after two dashes"
    )


def _ratio(most: str) -> Callable[[str], int]:
    """Reads a ratio between 0 and `most` as per mille."""

    def per_mille(text: str) -> int:
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or not 0 <= value <= Decimal(most) or value * 1000 % 1:
            raise argparse.ArgumentTypeError(f"a ratio from 0 to {most} in steps of 0.001 is expected, got {text!r}")
        return int(value * 1000)

    return per_mille


def _bits(text: str) -> int:
    """Reads a security parameter."""
    if not text.isascii() or not text.isdigit() or len(text) > 3 or int(text) > MOST_BITS:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to {MOST_BITS} is expected, got {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are one line on standard error, never a traceback."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    cut = arguments.index("--") if arguments[:1] == ["conformance"] and "--" in arguments else len(arguments)
    options = _parser().parse_args(arguments[:cut])
    if options.command == "conformance":
        options.program = arguments[cut + 1 :]
    try:
        code: int = options.run(options)
    except ClipError as error:
        what = str(error).removeprefix(f"{error.rule}: ")
        print(f"clip-ref {options.command}: {what} [{error.rule}]", file=sys.stderr)
        return BAD_INPUT if isinstance(error, PreconditionError) else FAILED
    except KeyboardInterrupt:
        print(f"clip-ref {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _need_training() -> None:
    """CLI-1: say how to get the extra, where it is missing."""
    missing = [name for name in ("torch", "matplotlib", "rich", "scipy") if importlib.util.find_spec(name) is None]
    if missing:
        raise PreconditionError(
            rule="CLI-1",
            detail=f"training needs {', '.join(missing)}, not installed here: pip install 'clip-ref[train]'",
        )


def _say(text: str) -> None:
    """Print a result. A reader that has seen enough of it is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _verdict(good: bool, out: Path) -> int:
    if not good:
        raise ClipError(rule="LAB-3", detail=f"a check failed: see `checks` in {out / 'results.json'}")
    return OK


def _columns(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _demo(options: argparse.Namespace) -> int:
    _need_training()
    from clip_ref.lab import demo, training

    rounds = demo.DEMO_ROUNDS if options.rounds is None else options.rounds
    demo.check(rounds=rounds, seed=options.seed)
    out = DEMO_OUT if options.out is None else options.out
    training.check_out(out, parents=options.out is None)
    found = demo.run_demo(rounds=rounds, seed=options.seed, quiet=options.quiet)
    demo.write_demo(found, out)
    if options.json:
        _say(json.dumps(demo.results(found), indent=2))
    elif not options.quiet:
        table = _columns(demo.table(found), (False, True, True, True, True))
        checks = "\n".join(demo.check_lines(found))
        _say(f"{table}\n\n{checks}\n\nThe report with its plots: {out / 'report.md'}")
    return _verdict(found.passed, out)


def _train(options: argparse.Namespace) -> int:
    _need_training()
    from clip_ref.lab import training
    from clip_ref.lab.federated import Clock, RunConfig, passed

    clients = options.clients
    config = RunConfig(
        task=options.task,
        data_dir=options.data_dir,
        partition=options.partition,
        examples=options.examples,
        method=options.method,
        clients=clients,
        neighbours=options.neighbours,
        stragglers=max(0, clients // 5) if options.stragglers is None else options.stragglers,
        rounds=options.rounds,
        fleet=options.fleet,
        clock=Clock(options.clock),
        security=SecurityLevel(options.security),
        deadline=options.deadline,
        elide=options.elide,
        full_every=options.full_every,
        seed=options.seed,
    )
    found = training.train(
        config=config,
        out=options.out,
        init=options.init,
        resume=options.resume,
        quiet=options.quiet,
        transcript=options.transcript,
    )
    if options.json:
        _say(json.dumps(found, indent=2))
    elif not options.quiet:
        _say(training.words(found, options.out))
    return _verdict(passed(found["checks"], lengths=config.lengths), options.out)


def _lab(options: argparse.Namespace) -> int:
    _need_training()
    from clip_ref.lab import pages
    from clip_ref.lab.console import progress
    from clip_ref.lab.experiments import EXPERIMENTS, Options
    from clip_ref.lab.gather import gather
    from clip_ref.lab.training import check_out

    out = LAB_OUT if options.out is None else options.out
    if options.name == REPORT:
        names = pages.report(out=out, site=options.site)
        found: dict[str, Any] = {"experiments": names, "page": str(options.site / "results.md")}
        _say(json.dumps(found, indent=2) if options.json else f"{found['page']}: {', '.join(names)}")
        return OK
    check_out(out, parents=True)
    experiment = EXPERIMENTS[options.name]
    chosen = Options(quick=options.quick, seeds=options.seeds, data_dir=options.data_dir, tasks=options.tasks)
    configs = experiment.configs(chosen)
    pages.written(out / experiment.name)  # if it is damaged, before anything runs
    total = sum(config.rounds for config in configs)
    with progress(title=f"lab {options.name}", total=total, quiet=options.quiet) as report:
        records = gather(
            configs,
            runs=out / pages.RUNS,
            workers=options.workers,
            seconds=None if options.minutes is None else 60 * options.minutes,
            report=report,
        )
    rows = pages.write(experiment, list(records.values()), options=chosen, out=out)
    good = all(row["checks"] for row in rows)
    if options.json:
        _say(json.dumps(rows, indent=2))
    elif not options.quiet:
        _say(
            f"{len(records)} of {len(configs)} runs; written: {out / options.name}/page.md, rows.json, rows.csv and plots"
        )
    return _verdict(good, out / options.name)


def _audit(options: argparse.Namespace) -> int:
    """AUD-1, AUD-13: fails if anything is wrong, and where nothing is signed unless that is allowed."""
    pinned = beside(options.file) if options.identities is None else options.identities
    directory = NO_IDENTITIES if options.identities is None and not pinned.exists() else load_directory(path=pinned)
    report = audit(path=options.file, directory=directory)
    found = {"identities": str(pinned), "directory": directory.digest().hex()} if report.signed else {}
    if options.json:
        _say(json.dumps(audit_json(report) | found, indent=2))
    elif not options.quiet:
        _say(_audit_text(report, pinned, own=options.identities is not None))
    if report.finding is not None:
        rule = report.finding.rule
        raise ClipError(rule=rule, detail=str(report.finding).removeprefix(f"{rule}: "))
    if not report.signed and not options.allow_unsigned:
        raise ClipError(
            rule="AUD-1", detail="NOTHING IS SIGNED: whoever wrote the file may have made it up (--allow-unsigned)"
        )
    return OK


def _audit_text(report: AuditReport, pinned: Path, *, own: bool) -> str:
    rows = [["round", "survivors", "dropped out before its", "sum over the survivors, SHA-256"]]
    for found in report.rounds:
        gone = ", ".join(f"{u} {kind}" for u, kind in found.drop_outs.items()) or "nobody"
        told = f"aborted: {found.aborted}" if found.sum_digest is None else found.sum_digest.hex()
        rows.append([str(found.round), str(len(found.u3)), gone, told])
    lines = []
    if report.rounds and report.model is not None:
        lines += [_columns(rows, (True, True, False, False)), ""]
        lines.append(f"model before round {report.rounds[0].round}: {report.model.hex()}")
        lines.append(f"model after round {report.rounds[-1].round}: {report.rounds[-1].model.hex()}")
        if any(found.target for found in report.rounds):
            lines.append(f"T* after round {report.rounds[-1].round}: {report.rounds[-1].target / 1e6:.3f} s")
    if report.chain is not None and report.holds:
        lines.append(f"digest at the end of the file: {report.chain.hex()}")
    if report.signed and report.rounds:
        whose = "" if own else ", which stand beside the transcript: pin your own with --identities"
        lines.append(f"{sum(r.signatures for r in report.rounds)} signatures hold by the identities in {pinned}{whose}")
    if not report.signed:
        lines.append("NOTHING IS SIGNED: the clients are not bound to any of this")
    verdict = "every check held" if report.holds else "SOMETHING IS WRONG, and nothing after it was looked at"
    return "\n".join([*lines, f"rounds: {len(report.rounds)}, entries: {report.entries}; {verdict}"])


def _keys_new(options: argparse.Namespace) -> int:
    directory = new_identities(clients=options.clients, out=options.out)
    file, digest = options.out / DIRECTORY_FILE, directory.digest().hex()
    if options.json:
        _say(json.dumps({"clients": len(directory.keys), "directory": str(file), "digest": digest}, indent=2))
    elif not options.quiet:
        _say(
            f"{file}: {len(directory.keys)} public keys, for everybody to pin; digest {digest}\n"
            f"{options.out / SECRETS}: their secret keys, each for its own client alone"
        )
    return OK


def _vectors_write(options: argparse.Namespace) -> int:
    from clip_ref.oracle import vectors

    out = vectors.SHIPPED if options.out is None else options.out
    vectors.write(out=out)
    names = sorted(file.name for file in out.glob("*.json"))
    if options.json:
        _say(json.dumps({"out": str(out), "files": names}, indent=2))
    elif not options.quiet:
        _say(f"{out}: {len(names)} files")
    return OK


def _vectors_check(options: argparse.Namespace) -> int:
    from clip_ref.oracle import vectors

    found = vectors.differences(found=vectors.SHIPPED if options.out is None else options.out)
    if options.json:
        _say(json.dumps({"differences": found}, indent=2))
    elif not options.quiet:
        _say("\n".join(found) or "every file is as it would be written")
    return FAILED if found else OK


def _conformance(options: argparse.Namespace) -> int:
    from clip_ref.oracle import report, runner, skeletons, vectors

    if options.skeleton is not None:
        _say(skeletons.skeleton(options.skeleton).rstrip("\n"))
        return OK
    if options.zoo:
        return _zoo(options)
    files = None if options.report is None else report.files(options.report)
    found = runner.conformance(
        command=options.program,
        steps=options.steps,
        random=options.random,
        seed=options.seed,
        timeout=options.timeout,
        progress=_Progress(quiet=options.quiet),
    )
    rules = vectors.load_rules()
    if files is not None:
        report.write(found, rules, files)
    if options.json:
        _say(json.dumps(report.report_json(found, rules), indent=2))
    elif not options.quiet:
        _say(_conformance_text(found, rules))
    return OK if found.holds else FAILED


def _zoo(options: argparse.Namespace) -> int:
    """CNF-12: fail if one of them gets away, or falls by another rule than the one that it breaks."""
    from clip_ref.oracle import zoo

    seen = []
    for one in zoo.visit():
        seen.append(one)
        if not options.json and not options.quiet:
            how = (
                f"{one.rule} by {one.case}" if one.caught else f"NOT CAUGHT: {one.defect.rule} expected, got {one.rule}"
            )
            _say(f"{one.defect.name}: {how}")
    escaped = [one.defect.name for one in seen if not one.caught]
    if options.json:
        _say(json.dumps([one.json() for one in seen], indent=2))
    elif not options.quiet:
        _say(f"{len(seen) - len(escaped)} of {len(seen)} wrong implementations caught, each by its rule")
    return FAILED if escaped else OK


class _Progress:
    """A line on standard error every few seconds."""

    EVERY: Final = 5.0

    def __init__(self, *, quiet: bool) -> None:
        self._next = float("inf") if quiet else self.EVERY

    def __call__(self, found: "Report") -> None:
        if found.seconds >= self._next:
            self._next = found.seconds + self.EVERY
            failed = found.asked - found.passed
            print(f"{found.asked} cases in {found.seconds:.0f} s, {failed} failed", file=sys.stderr, flush=True)


def _conformance_text(found: "Report", rules: "Mapping[str, Rule]") -> str:
    from clip_ref.oracle.report import Verdict, table, verdict_line

    right = (False, True, True, True, False)
    parts = [_columns(table(found.by_rule(), "rule"), right)]
    if found.drawn:
        parts.append(_columns(table(found.drawn.values(), "random cases of"), right))
    shown = {broken.case for broken in found.broken()}
    for outcome in found.failures():
        case = outcome.case
        if case.id in shown:
            rule = rules[case.rules[0]]
            parts.append(
                f"{case.id}, {case.operation}: {case.comment}\n"
                f"  {outcome.verdict.value}: {outcome.detail}\n"
                + textwrap.fill(f"{rule.id}: {rule.text}", 100, initial_indent="  ", subsequent_indent="    ")
            )
            if outcome.verdict is Verdict.WRONG and case.id.startswith("random-"):
                parts[-1] += f"\n  inputs: {json.dumps(case.inputs)}"
    parts.append(f"{found.program}: {found.passed} of {found.asked} cases passed; {verdict_line(found)}")
    return "\n\n".join(parts)


def _evaluate(options: argparse.Namespace) -> int:
    _need_training()
    from clip_ref.lab import training

    found = training.evaluate(options.model, data_dir=options.data_dir)
    if options.json:
        _say(json.dumps(found, indent=2))
    elif not options.quiet:
        _say(f"{100 * found['accuracy']:.2f} % of {found['examples']} unseen examples of {found['task']}")
    return OK


def _attack_name(text: str) -> str:
    """The name of an attack; a wrong one is answered with the right ones."""
    from clip_ref.attacks import ATTACKS

    if text not in ATTACKS:
        raise argparse.ArgumentTypeError(f"no attack {text!r}; there are {', '.join(ATTACKS)}")
    return text


def _language(text: str) -> str:
    """A language that there is a skeleton in; another is answered with these."""
    from clip_ref.oracle.skeletons import LANGUAGES

    if text not in LANGUAGES:
        raise argparse.ArgumentTypeError(f"no skeleton in {text!r}; there are {', '.join(LANGUAGES)}")
    return text


def _attack(options: argparse.Namespace) -> int:
    from clip_ref.attacks import ATTACKS

    names = list(ATTACKS) if options.name is None else [options.name]
    results = []
    for name in names:
        results.append(ATTACKS[name].run(ATTACK_SEED))
        if not options.json and not options.quiet:
            _say(_attack_text(ATTACKS[name], results[-1]))
    if options.json:
        _say(json.dumps([result.json() for result in results], indent=2))
    other = [result.name for result in results if not ATTACKS[result.name].as_expected(result)]
    if other:
        print(f"clip-ref attack: not as expected: {', '.join(other)}", file=sys.stderr)
    return FAILED if other else OK


def _attack_text(attack: "Attack", result: "AttackResult") -> str:
    without, against = result.without_defence, result.with_defence
    if against.stopped_by is not None:
        outcome = f"stopped by {against.evidence}"
    else:
        outcome = f"bounded by {against.bounded_by}: {against.evidence}"

    def wrapped(label: str, text: str) -> str:
        return textwrap.fill(text, width=88, initial_indent=f"  {label:10}", subsequent_indent=" " * 12)

    return "\n".join(
        [
            f"{attack.name}: {attack.title}",
            wrapped("attack", attack.story),
            wrapped("without", f"{'succeeds' if without.succeeded else 'fails'}: {without.evidence}"),
            wrapped("with", f"{'succeeds' if against.succeeded else 'fails'}, {outcome}"),
            "",
        ]
    )


def _plan(options: argparse.Namespace) -> int:
    policy = HARDENED_POLICY if options.preset == "hardened" else PAPER_POLICY
    changes: dict[str, Any] = {"network_aware": not options.compute_only, "deadline": options.deadline}
    if options.share is not None:
        changes["straggler_share"] = options.share
    if options.margin is not None:
        changes["margin"] = options.margin
    policy = attrs.evolve(policy, **changes)
    if options.graph:
        policy = policy.for_graph()
    if options.spread:
        mean = policy.mean if policy.spread else Mean.STRATA
        policy = attrs.evolve(policy, spread=True, mean=mean)
    records = read_times(options.times, grid=policy.grid)
    if options.graph and len(records) < 4:
        raise PreconditionError(rule="PAR-10", detail=f"a graph takes 4 clients at least, there are {len(records)}")
    wide = Encoding(ring_bits=64)  # times do not depend on it: let any number of clients be planned for
    params = Params(
        clients=len(records),
        neighbours=2 if options.graph else 0,  # nor on how many neighbours there are
        policy=policy,
        colluders=options.colluders,
        encoding=wide,
    )
    if options.round < 1:
        raise PreconditionError(rule="IDN-1", detail=f"rounds count from 1, got {options.round}")
    decide, round = _plan_on_graph if options.graph else identify, RoundNumber(options.round)
    plan = decide(records=records, params=params, round=round)
    not_before = upload_time(target=plan.target, verdicts=plan.verdicts, params=params, round=round)
    if options.json:
        _say(json.dumps(_plan_json(plan, records, params) | {"not_before_us": not_before}, indent=2))
    elif not options.quiet:
        _say(_plan_text(plan, records, params))
        if not_before:
            _say(f"\nUploads start {not_before / 1e6:.3f} s into the leg, everybody's.")
    return OK


def _plan_on_graph(*, records: Mapping[ClientId, TimeRecord], params: Params, round: RoundNumber) -> Plan:
    """GRA-6..GRA-8: T* from the histogram of these times, and what everybody finds out about itself in a round with it."""
    timed = [elapsed(record, level=0) for record in records.values() if valid(record, params=params)]
    buckets = Counter(graph.bucket_of(elapsed=time, params=params) for time in timed)
    target = graph.target(histogram=[buckets[k] for k in range(params.buckets)], params=params)

    def verdict(record: TimeRecord) -> Verdict:
        if not valid(record, params=params):
            return Verdict(False, 1000, False, Reason.NO_TIME)
        return graph.judge(own=graph.own_times(record), target=target, params=params, round=round)

    return Plan(target, saturate(0), {u: verdict(records[u]) for u in sorted(records)})


def _graph(options: argparse.Namespace) -> int:
    rates = {name: getattr(options, name) for name in ("clients", "corrupt", "dropped")}
    bits = {name: getattr(options, name) for name in ("security", "failure", "grinding")}
    k, t = graph.choose(**rates, **bits)
    if options.json:
        _say(json.dumps(rates | bits | {"neighbours": k, "threshold": t}, indent=2))
    elif not options.quiet:
        _say(f"k = {k} neighbours each, t = {t} shares of {k + 1}")
    return OK


def _plan_json(plan: Plan, records: dict[ClientId, TimeRecord], params: Params) -> dict[str, Any]:
    grid = params.policy.grid
    return {
        "target_us": plan.target,
        "target_fit_us": plan.target_fit,
        "block_size": params.block_size,
        "clients": [
            {
                "client": u,
                "elapsed_us": elapsed(records[u], level=0),
                "straggler": verdict.straggler,
                "keep": verdict.keep,
                "ahead": list(verdict.ahead),
                "pruned_elapsed_us": elapsed(records[u], level=grid.index(verdict.keep)),
                "saturated": verdict.saturated,
                "reason": verdict.reason.value,
            }
            for u, verdict in plan.verdicts.items()
        ],
    }


def _plan_text(plan: Plan, records: dict[ClientId, TimeRecord], params: Params) -> str:
    spread = params.policy.spread
    rows = [["client", "takes", "straggler", "keeps", *(["turn"] if spread else []), "then takes", "why"]]
    for u, verdict in plan.verdicts.items():
        level = params.policy.grid.index(verdict.keep)
        why = verdict.reason.value
        if verdict.saturated and verdict.keep < 1000:
            why += ", and late even so"
        rows.append(
            [
                str(u),
                f"{elapsed(records[u], level=0) / 1e6:.3f} s",
                "yes" if verdict.straggler else "no",
                f"{verdict.keep / 10:g} %",
                *([str(1 + len(verdict.ahead)) if verdict.keep < 1000 else ""] if spread else []),
                f"{elapsed(records[u], level=level) / 1e6:.3f} s",
                why,
            ]
        )
    pruning = sum(verdict.keep < 1000 for verdict in plan.verdicts.values())
    head = f"T* = {plan.target / 1e6:.3f} s, what the slowest client takes that is not a candidate"
    if params.neighbours:
        head += f" or at most a bucket more. {pruning} of {len(rows) - 1} prune, each on its own."
    else:
        head += f". {pruning} of {len(rows) - 1} prune, in blocks of at least {params.block_size}"
        turns = len({verdict.turn for verdict in plan.verdicts.values() if verdict.keep < 1000})
        head += f" that take {turns} turns." if spread and turns > 1 else "."
    return f"{head}\n\n{_columns(rows, (True, True, False, True, *([True] if spread else []), True, False))}"


_NEEDED: Final = ("client", "down_s", "fit_s", "up_s")
_OTHERS: Final = ("select_s", "mask_s", "weight", "was_straggler", "has_model")

LONGEST: Final = 10**9
"""The longest time that a file may hold, in seconds."""


@attrs.frozen
class _Row:
    """A row of a file of times."""

    where: str
    cells: Mapping[str, str]

    def refuse(self, detail: str) -> PreconditionError:
        return _unreadable(f"{self.where}: {detail}")

    def number(self, name: str, default: str = "", *, low: int = 0, high: int, whole: bool = True) -> Decimal:
        """The cell in this column, or the default if it is empty or there is no such column."""
        written = self.cells.get(name) or default
        try:
            value = Decimal(written)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or not low <= value <= high or (whole and value % 1):
            kind = "a whole number" if whole else "a number"
            raise self.refuse(f"{name} is {written!r}, {kind} from {low} to {high} is expected")
        return value

    def seconds(self, name: str, default: str = "") -> Decimal:
        return self.number(name, default, high=LONGEST, whole=False)

    def micros(self, name: str, default: str = "") -> int:
        return round(self.seconds(name, default) * 1_000_000)


def read_times(path: Path, *, grid: Sequence[int]) -> dict[ClientId, TimeRecord]:
    """The time records in a CSV file; `PreconditionError` (CLI-2) names the file, the line and the column."""
    records: dict[ClientId, TimeRecord] = {}
    for row in _rows(path, known={*_NEEDED, *_OTHERS, *(f"fit_s_{keep}" for keep in grid)}):
        client = ClientId(int(row.number("client", high=SERVER - 1)))
        if client in records:
            raise row.refuse(f"client {client} appears twice")
        whole_model = row.seconds("fit_s")
        records[client] = TimeRecord(
            has_time=True,
            has_model=bool(row.number("has_model", "1", high=1)),
            was_straggler=bool(row.number("was_straggler", "0", high=1)),
            down=row.micros("down_s"),
            select=row.micros("select_s", "0"),
            mask=row.micros("mask_s", "0"),
            up=row.micros("up_s"),
            fit=tuple(row.micros(f"fit_s_{keep}", str(whole_model * keep / 1000)) for keep in grid),
            weight=int(row.number("weight", "1", low=1, high=WEIGHT_MAX)),
            entropy=b"",
        )
    return records


def _rows(path: Path, *, known: Set[str]) -> list[_Row]:
    """The rows of a file that has the needed columns, and no others than `known` ones."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        columns = reader.fieldnames or ()
        rows = [_Row(f"{path}, line {reader.line_num}", cells) for cells in reader]
    except OSError as error:
        raise _unreadable(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _unreadable(f"cannot read {path}: not a text file in UTF-8") from None
    except csv.Error as error:
        raise _unreadable(f"{path} is not a CSV file: {error}") from None
    for problem, names in (
        ("lacks", [name for name in _NEEDED if name not in columns]),
        ("has an unknown", [name for name in columns if name not in known]),
        ("repeats", [name for name in columns if columns.count(name) > 1]),
    ):
        if names:
            raise _unreadable(f"{path} {problem} column {names[0]!r}; clip-ref plan --help lists the columns")
    for row in rows:
        if None in row.cells or None in row.cells.values():
            raise row.refuse("has another number of cells than the header")
    return rows


def _unreadable(detail: str) -> PreconditionError:
    return PreconditionError(rule="CLI-2", detail=detail)


if __name__ == "__main__":
    sys.exit(main())
