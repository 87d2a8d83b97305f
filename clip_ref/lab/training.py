"""One training run as a user asks for it: checked, resumable, its results in files."""

import json
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from clip_ref.errors import PreconditionError
from clip_ref.identities import beside, save_directory
from clip_ref.lab.console import progress, with_percent_sign
from clip_ref.lab.federated import Run, RunConfig, checks, passed, rows_csv, summarise, write_whole
from clip_ref.train import modelfile
from clip_ref.train.data import Source, load_task
from clip_ref.train.pool import Pool
from clip_ref.transcript import TranscriptWriter
from clip_ref.values import Digest


def check_out(out: Path, *, parents: bool = False) -> None:
    """Refuse (`PreconditionError`, LAB-1) an output directory that could not be written to; without making it.

    It is made with the first file in it; with `parents`, so are the directories above it.
    """
    try:
        os.lstat(out)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise PreconditionError(rule="LAB-1", detail=f"{out}: {error.strerror}; choose another --out") from None
    there = next(place for place in (out, *out.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise PreconditionError(rule="LAB-1", detail=f"{there} is not a directory; choose another --out")
    if not parents and there not in (out, out.parent):
        raise PreconditionError(
            rule="LAB-1", detail=f"there is no directory {out.parent}; make it, or choose another --out"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise PreconditionError(rule="LAB-1", detail=f"{there} may not be written to; choose another --out")


def train(
    *,
    config: RunConfig,
    out: Path,
    init: Path | None,
    resume: bool,
    quiet: bool,
    transcript: Path | None = None,
    workers: int = 2,
) -> dict[str, Any]:
    """Run `config` to its last round, from the checkpoint in `out` if `resume`, and write what came of it.

    `transcript`: where to record all that the server sees, with the clients' public identities beside it.

    Everything that can be refused is refused before anything is written. Returns what `results.json` holds.
    """
    if transcript is not None and config.elide:
        raise PreconditionError(
            rule="ELI-9", detail="a transcript has one layout for all of its rounds: leave out --transcript or --elide"
        )
    check_out(out)
    checkpoint = out / "checkpoint.npz"
    if resume and init is not None:
        raise PreconditionError(rule="LAB-1", detail="--init begins a run and --resume goes on with one: choose one")
    if resume and not checkpoint.is_file():
        raise PreconditionError(rule="LAB-5", detail=f"there is no {checkpoint} to resume; leave out --resume to begin")
    if not resume and checkpoint.exists():
        raise PreconditionError(rule="LAB-5", detail=f"{out} holds a run already: --resume it, or choose another --out")
    saved = None if init is None else modelfile.load(init)
    if saved is not None and saved.task != config.task:
        raise PreconditionError(rule="LAB-1", detail=f"{init} is a model for {saved.task}, not for {config.task}")
    with Pool(config.source(), clients=config.population, workers=workers) as pool:
        if saved is not None:
            saved.check(layout=pool.layout)
        if resume:
            run = Run.resume(checkpoint, config=config, pool=pool)
        else:
            run = Run(config=config, pool=pool, initial=None if saved is None else saved.model)
        done = len(run.rows)
        if done > config.rounds:
            raise PreconditionError(
                rule="LAB-5", detail=f"{checkpoint} has {done} rounds already: ask for more --rounds"
            )
        with (
            recording(transcript, run=run, resume=resume) as record,
            progress(title=f"train {config.method}", total=config.rounds, done=done, quiet=quiet) as report,
        ):
            for _ in range(done, config.rounds):
                row = run.step(observe=None if record is None else record.observe)
                if record is not None:
                    record.completed(sum_digest=Digest(bytes.fromhex(row.secure_sum)), model=run.state.model)
                run.save(checkpoint)
                report(f"accuracy {with_percent_sign(row.accuracy)}, {row.round_seconds:.2f} s")
        modelfile.save(out / "model.npz", model=run.state.model, task=config.task, layout=run.layout)
    write_whole(out / "rounds.csv", rows_csv(run.rows).encode())
    found = results(config, run)
    write_whole(out / "results.json", (json.dumps(found, indent=2) + "\n").encode())
    return found


def recording(path: Path | None, *, run: Run, resume: bool) -> AbstractContextManager[TranscriptWriter | None]:
    """TRA-3, TRA-7: the transcript to write, from where `run` stands; none without a path."""
    if path is None:
        return nullcontext()
    if run.directory.keys:
        save_directory(path=beside(path), directory=run.directory)
    begin = TranscriptWriter.resumed if resume and path.exists() else TranscriptWriter
    return begin(path=path, params=run.params, layout=run.layout, state=run.state)


def results(config: RunConfig, run: Run) -> dict[str, Any]:
    """What `results.json` holds: as the demo's, with one method, held against its own rounds unpruned."""
    summary = summarise(run.rows)
    share = summary.saved / summary.bound if summary.bound else None
    params = run.params
    graph = {"neighbours": params.neighbours, "threshold": params.threshold, "min_survivors": params.min_survivors}
    return {
        "config": config.as_dict(),
        "graph": graph if params.neighbours else None,
        "fleet": {"name": run.fleet.name, "note": run.fleet.note, "stragglers": list(run.fleet.stragglers)},
        "methods": {
            config.method: {
                "simulated_seconds": summary.simulated_seconds,
                "unpruned_seconds": summary.unpruned_seconds,
                "bound": summary.bound,
                "bound_share": share,
                "final_accuracy": summary.final_accuracy,
                "rounds": summary.rounds,
                "targets_us": [row.target_us for row in run.rows],
            }
        },
        "checks": checks(run.rows),
    }


def words(found: dict[str, Any], out: Path) -> str:
    """The result in a few lines."""
    (name, numbers), *_ = found["methods"].items()
    saved = 1 - numbers["simulated_seconds"] / numbers["unpruned_seconds"]
    share = "" if numbers["bound_share"] is None else f", {100 * numbers['bound_share']:.0f} % of the bound"
    on_graph = []
    if found["graph"] is not None:
        k, t = found["graph"]["neighbours"], found["graph"]["threshold"]
        targets = ", ".join(f"{target / 1e6:.3f} s" if target else "none" for target in numbers["targets_us"])
        on_graph = [f"on a graph, {k} neighbours each, t = {t} of {k + 1}; T* by round: {targets}"]
    return "\n".join(
        [
            f"{name}: {numbers['rounds']} rounds, {numbers['simulated_seconds']:.1f} s simulated, "
            f"{100 * saved:.1f} % shorter than unpruned{share}; accuracy {with_percent_sign(numbers['final_accuracy'])}",
            *on_graph,
            "every secure sum equals the plain one, every upload and transcript has one shape"
            if passed(found["checks"], lengths=RunConfig(**found["config"]).lengths)
            else "A CHECK FAILED: see results.json and rounds.csv",
            f"written: {out}/results.json, rounds.csv, model.npz, checkpoint.npz",
        ]
    )


def evaluate(path: Path, *, data_dir: str | None = None) -> dict[str, Any]:
    """The accuracy of a saved model on its task's unseen test."""
    saved = modelfile.load(path)
    source = Source(task=saved.task, data_dir=data_dir)
    examples = len(load_task(source).test[1])
    with Pool(source, clients=2, workers=1) as pool:
        saved.check(layout=pool.layout)
        accuracy = pool.evaluate(saved.model)
    return {"model": str(path), "task": saved.task, "accuracy": accuracy, "examples": examples}
