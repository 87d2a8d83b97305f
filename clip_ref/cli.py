"""The command line: `clip-ref`. Thin: it reads arguments, calls the package and prints."""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs

from clip_ref import __version__
from clip_ref.errors import ClipError, PreconditionError
from clip_ref.identification import Plan, elapsed, identify
from clip_ref.messages import TimeRecord
from clip_ref.params import HARDENED_POLICY, PAPER_POLICY, Params, SecurityLevel
from clip_ref.values import ClientId, RoundNumber, saturate

OK: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130

DEMO_OUT: Final = Path("out/demo")

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
        description="The executable specification of CLIP: client-side invariant pruning for stragglers in secure "
        "federated learning.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"clip-ref {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], summary: str, more: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(
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
        "Train a real model on real handwritten digits with 20 clients, 4 of them slow, through the whole secure\n"
        "protocol, by every method; check every sum; write results.json, rounds.csv and report.md with its plots.",
    )
    demo.add_argument("--out", type=Path, default=None, help="where to write (default: out/demo)")
    demo.add_argument("--rounds", type=int, default=None, help="rounds of each method (default: 12)")
    demo.add_argument("--seed", type=int, default=1, help="draws everything (default: 1)")

    train = command(
        "train",
        _train,
        "one training run by one method",
        "Run one method, round by round, through the whole secure protocol. Writes results.json, rounds.csv, model.npz\n"
        "and, after every round, checkpoint.npz, from which --resume goes on with the same result.",
    )
    train.add_argument("--out", type=Path, required=True, help="directory to write to; made if its parent is there")
    train.add_argument("--task", default="digits", help="what to learn (default: digits)")
    train.add_argument("--method", default="clip", help="none, random, exclude, clip-paper or clip (default: clip)")
    train.add_argument("--clients", type=int, default=20, help="how many clients, 2 to 50 (default: 20)")
    train.add_argument("--stragglers", type=int, default=None, help="how many of them are slow (default: a fifth)")
    train.add_argument("--rounds", type=int, default=12, help="how many rounds (default: 12)")
    train.add_argument("--fleet", default="paper", help="a fleet's name or its JSON file (default: paper)")
    train.add_argument(
        "--clock",
        choices=("macs", "measured"),
        default="macs",
        help="macs: deterministic, by counted work; measured: CPU time, median of 5 (default: macs)",
    )
    train.add_argument(
        "--security", choices=("basic", "hardened"), default="hardened", help="what is checked (default: hardened)"
    )
    train.add_argument("--seed", type=int, default=1, help="draws everything (default: 1)")
    train.add_argument("--init", type=Path, default=None, metavar="MODEL", help="start from a saved model.npz")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")

    evaluate = command(
        "evaluate",
        _evaluate,
        "the accuracy of a saved model",
        "Print the accuracy of a model that `train` saved, on its task's unseen test.",
    )
    evaluate.add_argument("model", type=Path, metavar="MODEL", help="a model.npz")

    plan = command(
        "plan",
        _plan,
        "who would prune what, and why, given everybody's times",
        "Read clients' times from a CSV file and print the plan that every one of them would come to.\n\n"
        "columns: client, down_s, fit_s, up_s (seconds; fit_s for the whole model), and if you like select_s, mask_s (0),\n"
        "fit_s_K for a keep level of K per mille (by default fit_s·K/1000), weight (1), was_straggler (0), has_model (1).",
    )
    plan.add_argument("times", type=Path, metavar="TIMES.csv", help="a CSV file with a header")
    plan.add_argument("--preset", choices=("hardened", "paper"), default="hardened", help="default: hardened")
    plan.add_argument("--share", type=_ratio, default=None, help="share of candidates, 0 to 0.5 (default: 0.2)")
    plan.add_argument("--margin", type=_ratio, default=None, help="how far above T* a straggler starts (default: 0.05)")
    plan.add_argument("--colluders", type=int, default=0, help="c: blocks have c + 2 stragglers (default: 0)")
    plan.add_argument("--compute-only", action="store_true", help="no over-pruning for slow networks")
    plan.add_argument("--round", type=int, default=3, help="the round's number: nobody prunes in 1 and 2 (default: 3)")
    return parser


def _ratio(text: str) -> int:
    """A ratio between 0 and 1, as per mille."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value <= 1 or value * 1000 % 1:
        raise argparse.ArgumentTypeError(f"a ratio is 0 to 1 in steps of 0.001, got {text}")
    return int(value * 1000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are one line on standard error, never a traceback."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except PreconditionError as error:
        print(f"clip-ref {options.command}: {error.detail} [{error.rule}]", file=sys.stderr)
        return BAD_INPUT
    except ClipError as error:
        print(f"clip-ref {options.command}: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        print(f"clip-ref {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _need_training() -> None:
    """Say how to get the extra, where it is missing."""
    try:
        import matplotlib  # noqa: F401
        import rich  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise PreconditionError(
            rule="CLI-1", detail=f"{error.name} is missing: training needs the extra, pip install 'clip-ref[train]'"
        ) from None


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
    training.prepare(out, parents=options.out is None)
    found = demo.run_demo(rounds=rounds, seed=options.seed, quiet=options.quiet)
    demo.write_demo(found, out)
    if options.json:
        print(json.dumps(demo.results(found), indent=2))
    elif not options.quiet:
        print(_columns(demo.table(found), (False, True, True, True, True)))
        print()
        print("\n".join(demo.check_lines(found)))
        print(f"\nThe report with its plots: {out / 'report.md'}")
    return OK if found.passed else FAILED


def _train(options: argparse.Namespace) -> int:
    _need_training()
    from clip_ref.lab import training
    from clip_ref.lab.federated import Clock, RunConfig

    clients = options.clients
    config = RunConfig(
        task=options.task,
        method=options.method,
        clients=clients,
        stragglers=max(0, clients // 5) if options.stragglers is None else options.stragglers,
        rounds=options.rounds,
        fleet=options.fleet,
        clock=Clock(options.clock),
        security=SecurityLevel(options.security),
        seed=options.seed,
    )
    found = training.train(
        config=config, out=options.out, init=options.init, resume=options.resume, quiet=options.quiet
    )
    if options.json:
        print(json.dumps(found, indent=2))
    elif not options.quiet:
        print(training.words(found, options.out))
    return OK if training.passed(found) else FAILED


def _evaluate(options: argparse.Namespace) -> int:
    _need_training()
    from clip_ref.lab import training

    found = training.evaluate(options.model)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"{100 * found['accuracy']:.2f} % of {found['examples']} unseen examples of {found['task']}")
    return OK


def _plan(options: argparse.Namespace) -> int:
    policy = HARDENED_POLICY if options.preset == "hardened" else PAPER_POLICY
    changes: dict[str, Any] = {"network_aware": not options.compute_only}
    if options.share is not None:
        changes["straggler_share"] = options.share
    if options.margin is not None:
        changes["margin"] = options.margin
    policy = attrs.evolve(policy, **changes)
    records = read_times(options.times, grid=policy.grid)
    params = Params(clients=len(records), policy=policy, colluders=options.colluders)
    if options.round < 1:
        raise PreconditionError(rule="IDN-1", detail=f"rounds count from 1, got {options.round}")
    plan = identify(records=records, params=params, round=RoundNumber(options.round))
    print(
        json.dumps(_plan_json(plan, records, params), indent=2) if options.json else _plan_text(plan, records, params)
    )
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
                "pruned_elapsed_us": elapsed(records[u], level=grid.index(verdict.keep)),
                "saturated": verdict.saturated,
                "reason": verdict.reason.value,
            }
            for u, verdict in plan.verdicts.items()
        ],
    }


def _plan_text(plan: Plan, records: dict[ClientId, TimeRecord], params: Params) -> str:
    rows = [["client", "takes", "straggler", "keeps", "then takes", "why"]]
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
                f"{elapsed(records[u], level=level) / 1e6:.3f} s",
                why,
            ]
        )
    pruning = sum(verdict.keep < 1000 for verdict in plan.verdicts.values())
    head = (
        f"T* = {plan.target / 1e6:.3f} s, the slowest client that is not a candidate. {pruning} of {len(rows) - 1} prune, "
        f"in blocks of at least {params.block_size}."
    )
    return f"{head}\n\n{_columns(rows, (True, True, False, True, True, False))}"


_TIMES: Final = ("down_s", "select_s", "mask_s", "up_s")


def read_times(path: Path, *, grid: Sequence[int]) -> dict[ClientId, TimeRecord]:
    """The time records in a CSV file; `PreconditionError` (CLI-2) names the file, the line and the column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise PreconditionError(rule="CLI-2", detail=f"cannot read {path}: {reason}") from None
    reader = csv.DictReader(text.splitlines())
    columns = set(reader.fieldnames or ())
    needed, known = {"client", "down_s", "fit_s", "up_s"}, {"weight", "was_straggler", "has_model", *_TIMES}
    known |= needed | {f"fit_s_{keep}" for keep in grid}
    if needed - columns or columns - known:
        problem = f"lacks {sorted(needed - columns)}" if needed - columns else f"has unknown {sorted(columns - known)}"
        raise PreconditionError(rule="CLI-2", detail=f"{path} {problem}; see clip-ref plan --help for the columns")
    records: dict[ClientId, TimeRecord] = {}
    for number, row in enumerate(reader, start=2):

        def refuse(detail: str, number: int = number) -> PreconditionError:
            return PreconditionError(rule="CLI-2", detail=f"{path}, line {number}: {detail}")

        def cell(name: str, default: str, row: dict[str, Any] = row) -> Decimal:
            written = row.get(name) or default
            try:
                value = Decimal(written)
            except InvalidOperation:
                value = Decimal("NaN")
            if not value.is_finite() or value < 0:
                raise refuse(f"{name} is {written!r}, a number from 0 is expected")
            return value

        def whole(name: str, default: str) -> int:
            value = cell(name, default)
            if value % 1:
                raise refuse(f"{name} is {value}, a whole number is expected")
            return int(value)

        def micros(name: str, default: str) -> int:
            return saturate(round(cell(name, default) * 1_000_000))

        if None in row or None in row.values():
            raise refuse("has another number of cells than the header")
        client = ClientId(whole("client", "NaN"))
        if client in records:
            raise refuse(f"client {client} appears twice")
        fit = cell("fit_s", "NaN")
        records[client] = TimeRecord(
            has_time=True,
            has_model=whole("has_model", "1") > 0,
            was_straggler=whole("was_straggler", "0") > 0,
            down=micros("down_s", "NaN"),
            select=micros("select_s", "0"),
            mask=micros("mask_s", "0"),
            up=micros("up_s", "NaN"),
            fit=tuple(micros(f"fit_s_{keep}", str(fit * keep / 1000)) for keep in grid),
            weight=whole("weight", "1"),
            entropy=b"",
        )
    return records


if __name__ == "__main__":
    sys.exit(main())
