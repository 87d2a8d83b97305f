"""The command line as a person meets it: results, refusals in one line, exit codes, and nothing half-written."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import tiny

from clip_ref import __version__, graph
from clip_ref.cli import LONGEST, WEIGHT_MAX, main, read_times
from clip_ref.errors import SERVER, PreconditionError
from clip_ref.identification import Reason, elapsed, identify, valid
from clip_ref.lab import training
from clip_ref.lab.federated import Run
from clip_ref.layout import dense_chain
from clip_ref.messages import TimeRecord
from clip_ref.params import DEFAULT_GRID, HARDENED_POLICY, PAPER_POLICY, Encoding, Mean, Params, SecurityLevel
from clip_ref.train import modelfile
from clip_ref.values import ClientId, RoundNumber

ROOT = Path(__file__).parent.parent


class Told(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def clip_ref(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Told]:
    """Runs a command in an empty directory. What trains is a tiny stand-in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(training, "Pool", tiny.TinyPool)

    def run(*arguments: str) -> Told:
        try:
            code = main(arguments)
        except SystemExit as error:
            code = cast("int", error.code)
        except KeyboardInterrupt:
            pytest.fail("the interrupt got out of main")
        return Told(code, *capsys.readouterr())

    return run


# --- Help ---


def commands(text: str) -> list[str]:
    """The commands that a help text lists."""
    return re.findall(r"^    ([a-z]+)(?: |$)", text, re.MULTILINE)


def test_every_help_is_one_that_a_person_can_read(clip_ref: Callable[..., Told]) -> None:
    waiting: list[tuple[str, ...]] = [()]
    seen = []
    while waiting:
        command = waiting.pop()
        told = clip_ref(*command, "--help")
        assert (told.code, told.err) == (0, "")
        assert max(map(len, told.out.splitlines())) <= 100
        assert "exit codes:" in told.out
        assert "None" not in told.out
        seen.append(command)
        waiting += [(*command, name) for name in commands(told.out)]
    assert {("demo",), ("train",), ("evaluate",), ("plan",)} <= set(seen)


def test_the_exit_codes_are_those_of_the_specification(clip_ref: Callable[..., Told]) -> None:
    stated = re.findall(r"^\| (\d+) \| ([^|]+) \|$", (ROOT / "spec" / "commands.md").read_text("utf-8"), re.MULTILINE)
    assert [code for code, _ in stated] == ["0", "1", "2", "130"]
    text = clip_ref("--help").out
    for code, meaning in stated:
        assert re.search(rf"^  {code} +{re.escape(meaning)}", text, re.MULTILINE)


def test_every_command_is_in_the_specification_and_the_other_way_round(clip_ref: Callable[..., Told]) -> None:
    page = (ROOT / "spec" / "commands.md").read_text("utf-8")
    stated = re.findall(r"^\| `([a-z]+)[^`]*` \|", page, re.MULTILINE)
    assert sorted(set(stated)) == sorted(commands(clip_ref("--help").out))


def test_the_version(clip_ref: Callable[..., Told]) -> None:
    assert clip_ref("--version") == Told(0, f"clip-ref {__version__}\n", "")


# --- Bad input: one line, exit 2, nothing written ---

GOOD = "client,down_s,fit_s,up_s\n" + "".join(f"{u},0.1,2,0.2\n" for u in range(10))


def fleet_json(**changes: Any) -> str:
    content = json.loads(Path(tiny.FLEET).read_text())
    return json.dumps(content | changes)


def saved(model: Any, *, task: str = "digits", layout: Any = tiny.LAYOUT) -> bytes:
    """A model's file, whatever the model."""
    out = io.BytesIO()
    np.savez(
        out,
        format=np.array(modelfile.FORMAT),
        task=np.array(task),
        layout=np.frombuffer(layout.digest(), dtype=np.uint8),
        model=model,
    )
    return out.getvalue()


def numbers(*, nan: bool = False, size: int = tiny.LAYOUT.size) -> Any:
    model = np.full(size, 0.5, dtype=np.float32)
    if nan:
        model[7] = np.nan
    return model


BEFORE: Mapping[str, bytes] = {
    "file": b"",
    "times.csv": GOOD.encode(),
    "nan.npz": saved(numbers(nan=True)),
    "good.npz": saved(numbers()),
    "letters.npz": saved(numbers(), task="letters"),
    "other.npz": saved(numbers(size=dense_chain(4, 5, 2).size), layout=dense_chain(4, 5, 2)),
    "text.npz": b"weights",
    "not.json": b"{",
    "half.json": json.dumps({"fleet": {}}).encode(),
    "negative.json": fleet_json(networks={"net_4g": {"up_mbit": -1, "down_mbit": 1, "latency_ms": 1}}).encode(),
    "run/checkpoint.npz": b"",
}
"""The files that are there; nothing else may be, afterwards."""

TRAIN = ("train", "--clients=10", "--rounds=1", f"--fleet={tiny.FLEET}", "--out=new")

REFUSED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "no command": ((), "COMMAND"),
    "unknown command": (("learn",), "invalid choice: 'learn'"),
    "no --out": (("train",), "required: --out"),
    "unknown option": ((*TRAIN, "--colour=red"), "unrecognized arguments: --colour=red"),
    "unknown task": (
        (*TRAIN, "--task=letters"),
        "no task 'letters'; there is: digits, cifar10, mnist, femnist, shakespeare [TRN-1]",
    ),
    "task without its data": ((*TRAIN, "--task=cifar10"), "the task cifar10 needs --data-dir: CIFAR-10's"),
    "data that are not there": (
        (*TRAIN, "--task=cifar10", "--data-dir=none"),
        "none: there is no such file or directory;",
    ),
    "unknown partition": (
        (*TRAIN, "--partition=even"),
        "a partition is natural, iid, dirichlet:ALPHA or devices:SHARE, got 'even'",
    ),
    "no examples": ((*TRAIN, "--examples=0"), "at least 1 example is needed, got 0 [TRN-8]"),
    "devices without stragglers": (
        (*TRAIN, "--partition=devices:0.8", "--stragglers=0"),
        "a partition by devices needs slow clients: ask for --stragglers [TRN-8]",
    ),
    "unknown method": (
        (*TRAIN, "--method=prune"),
        "no method 'prune'; there are none, random, ordered, exclude, ",
    ),
    "unknown fleet": (
        (*TRAIN, "--fleet=lorries"),
        "no fleet 'lorries'; there are paper, table, compute, network, uniform",
    ),
    "a fleet's name that no file could have": (
        (*TRAIN, f"--fleet={'x' * 300}"),
        "there are paper, table, compute, network, uniform",
    ),
    "unknown clock": ((*TRAIN, "--clock=sun"), "--clock: invalid choice: 'sun'"),
    "unknown security": ((*TRAIN, "--security=none"), "--security: invalid choice: 'none'"),
    "an odd number of neighbours": ((*TRAIN, "--neighbours=3"), "k must be even, at least 2 and below n − 1"),
    "a graph of a method that needs everybody's records": (
        (*TRAIN, "--neighbours=4", "--method=clip-paper"),
        "on a graph there are no shared records to seed slack from: use the context [PAR-10]",
    ),
    "too few clients for a graph": (("graph", "--clients=20"), "take a clique where it is large enough"),
    "no clients for a graph": (("graph", "--clients=-1"), "numbers of clients, rates and bits are 0 or more"),
    "too many bits": (("graph", "--clients=20", "--security=257"), "a whole number from 0 to 256 is expected"),
    "bits below none": (("graph", "--clients=20", "--failure=-1"), "a whole number from 0 to 256 is expected"),
    "1 client": ((*TRAIN, "--clients=1"), "2 … 500 clients, got 1"),
    "0 clients": ((*TRAIN, "--clients=0"), "2 … 500 clients, got 0"),
    "501 clients": ((*TRAIN, "--clients=501"), "2 … 500 clients, got 501"),
    "99 stragglers of 20": (
        (*TRAIN, "--clients=20", "--stragglers=99"),
        "of 20 clients 0 … 10 can be stragglers, got 99 [LAB-1]",
    ),
    "-1 stragglers": ((*TRAIN, "--stragglers=-1"), "0 … 5 can be stragglers, got -1"),
    "half a straggler": ((*TRAIN, "--stragglers=0.5"), "--stragglers: invalid int value: '0.5'"),
    "nobody left": ((*TRAIN, "--clients=2", "--stragglers=1", "--method=exclude"), "take more clients"),
    "0 rounds": ((*TRAIN, "--rounds=0"), "at least 1 round, got 0"),
    "a negative seed": ((*TRAIN, "--seed=-1"), "a seed is 0 … 2^63 - 1, got -1"),
    "a seed in words": ((*TRAIN, "--seed=one"), "--seed: invalid int value: 'one'"),
    "no directory": ((*TRAIN, "--out=not/there"), "there is no directory not; make it, or choose another --out"),
    "a file for --out": ((*TRAIN, "--out=file"), "file is not a directory; choose another --out [LAB-1]"),
    "a file above --out": ((*TRAIN, "--out=file/new"), "file is not a directory; choose another --out [LAB-1]"),
    "too long a name": ((*TRAIN, f"--out={'x' * 300}"), "File name too long; choose another --out"),
    "NaN in a model": ((*TRAIN, "--init=nan.npz"), "the model in nan.npz"),
    "no model": ((*TRAIN, "--init=none.npz"), "none.npz does not exist"),
    "no such thing as a model": ((*TRAIN, "--init=text.npz"), "text.npz is not a saved model"),
    "another task's model": ((*TRAIN, "--init=letters.npz"), "letters.npz is a model for letters, not for digits"),
    "another architecture": ((*TRAIN, "--init=other.npz"), "another architecture"),
    "--init and --resume": ((*TRAIN, "--init=good.npz", "--resume"), "choose one"),
    "nothing to resume": (
        (*TRAIN, "--resume"),
        "there is no new/checkpoint.npz to resume; leave out --resume to begin",
    ),
    "a run that is there": ((*TRAIN, "--out=run"), "run holds a run already: --resume it, or choose another --out"),
    "a checkpoint that is none": ((*TRAIN, "--out=run", "--resume"), "run/checkpoint.npz is damaged"),
    "a fleet that is no JSON": ((*TRAIN, "--fleet=not.json"), "not.json is not JSON"),
    "a fleet that lacks entries": ((*TRAIN, "--fleet=half.json"), "fleet: lacks fast, note, server, slow, timeout_s"),
    "a fleet with a negative rate": (
        (*TRAIN, "--fleet=negative.json"),
        "networks.net_4g: up_mbit must be a finite number",
    ),
    "a fleet's file that is not there": ((*TRAIN, "--fleet=none.json"), "no file none.json"),
    "demo: 0 rounds": (("demo", "--rounds=0", "--out=new"), "at least 1 round, got 0"),
    "demo: a negative seed": (("demo", "--seed=-1", "--out=new"), "a seed is 0 … 2^63 - 1, got -1"),
    "demo: a file for --out": (("demo", "--out=file"), "file is not a directory"),
    "demo: no directory": (("demo", "--out=not/there"), "there is no directory not"),
    "evaluate: nothing": (("evaluate",), "required: MODEL"),
    "evaluate: no model": (
        ("evaluate", "none.npz"),
        "none.npz does not exist; give a model that `clip-ref train` saved",
    ),
    "evaluate: NaN": (("evaluate", "nan.npz"), "the model in nan.npz"),
    "evaluate: no such thing": (("evaluate", "text.npz"), "text.npz is not a saved model"),
    "evaluate: another task's": (("evaluate", "letters.npz"), "no task 'letters'"),
    "evaluate: another architecture": (("evaluate", "other.npz"), "another architecture"),
    "evaluate: a directory": (("evaluate", "run"), "run cannot be read: Is a directory"),
    "plan: no file": (("plan", "none.csv"), "cannot read none.csv: No such file or directory [CLI-2]"),
    "plan: a directory": (("plan", "run"), "cannot read run: Is a directory [CLI-2]"),
    "plan: not a text": (("plan", "good.npz"), "cannot read good.npz: not a text file in UTF-8 [CLI-2]"),
    "plan: a ratio of 1.2": (
        ("plan", "times.csv", "--share=1.2"),
        "a ratio from 0 to 0.5 in steps of 0.001 is expected",
    ),
    "plan: a share of 0.6": (("plan", "times.csv", "--share=0.6"), "--share: a ratio from 0 to 0.5"),
    "plan: a share of -0.1": (("plan", "times.csv", "--share=-0.1"), "got '-0.1'"),
    "plan: a share of NaN": (("plan", "times.csv", "--share=NaN"), "got 'NaN'"),
    "plan: a share in words": (("plan", "times.csv", "--share=half"), "got 'half'"),
    "plan: too fine a share": (("plan", "times.csv", "--share=0.0001"), "in steps of 0.001"),
    "plan: a margin of 1.2": (("plan", "times.csv", "--margin=1.2"), "--margin: a ratio from 0 to 1 in steps of 0.001"),
    "plan: no end of a margin": (("plan", "times.csv", "--margin=Infinity"), "got 'Infinity'"),
    "plan: a deadline in words": (("plan", "times.csv", "--deadline=late"), "got 'late'"),
    "plan: a deadline below 0": (("plan", "times.csv", "--deadline=-1"), "--deadline: seconds from 0 to 1000000000"),
    "plan: too fine a deadline": (("plan", "times.csv", "--deadline=0.0000001"), "with at most 6 decimals"),
    "plan: no end of a deadline": (("plan", "times.csv", "--deadline=Infinity"), "got 'Infinity'"),
    "plan: round 0": (("plan", "times.csv", "--round=0"), "rounds count from 1, got 0"),
    "plan: too many colluders": (("plan", "times.csv", "--colluders=7"), "got 7 [PAR-6]"),
    "plan: fewer than no colluders": (("plan", "times.csv", "--colluders=-1"), "got -1 [PAR-6]"),
    "plan: unknown preset": (("plan", "times.csv", "--preset=soft"), "--preset: invalid choice: 'soft'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(
    case: str, clip_ref: Callable[..., Told], tmp_path: Path
) -> None:
    for name, content in BEFORE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    arguments, problem = REFUSED[case]
    before = tiny.listing(tmp_path)
    told = clip_ref(*arguments)
    assert told.code == 2
    assert told.out == ""
    assert problem in told.err
    assert_one_line(told.err)
    assert tiny.listing(tmp_path) == before


def assert_one_line(err: str) -> None:
    """It names the command, and ends with the broken rule or with where to read on."""
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert re.match(r"clip-ref( [a-z]+)?: ", err)
    assert re.search(r"( \[[A-Z]{3}-\d+\]| \(see clip-ref( [a-z]+)? --help\))$", err.rstrip("\n"))


HEAD = "client,down_s,fit_s,up_s"

UNREADABLE: Mapping[str, tuple[str, str]] = {
    "empty": ("", "lacks column 'client'"),
    "no client": ("down_s,fit_s,up_s\n1,1,1\n", "lacks column 'client'"),
    "no up_s": ("client,down_s,fit_s\n1,1,1\n", "lacks column 'up_s'"),
    "semicolons": (HEAD.replace(",", ";") + "\n1;1;1;1\n", "lacks column 'client'"),
    "an unknown column": (f"{HEAD},fit_s_701\n1,1,1,1,1\n", "has an unknown column 'fit_s_701'"),
    "a column twice": (f"{HEAD},up_s\n1,1,1,1,2\n", "repeats column 'up_s'"),
    "no rows": (f"{HEAD}\n", "a round needs 2 … 255 clients, got 0 [PAR-6]"),
    "one client": (f"{HEAD}\n1,1,1,1\n", "a round needs 2 … 255 clients, got 1 [PAR-6]"),
    "256 clients": (f"{HEAD}\n" + "".join(f"{u},1,1,1\n" for u in range(256)), "2 … 255 clients, got 256"),
    "a client twice": (f"{HEAD}\n1,1,1,1\n2,1,1,1\n1,1,1,1\n", "line 4: client 1 appears twice"),
    "a negative time": (f"{HEAD}\n1,1,1,1\n2,1,-1,1\n", "line 3: fit_s is '-1', a number from 0 to 1000000000"),
    "blank lines before": (f"{HEAD}\n\n\n2,-1,1,1\n", "line 4: down_s is '-1'"),
    "NaN": (f"{HEAD}\n1,1,1,NaN\n", "line 2: up_s is 'NaN'"),
    "a signalling NaN": (f"{HEAD}\n1,1,sNaN,1\n", "line 2: fit_s is 'sNaN'"),
    "infinity": (f"{HEAD}\n1,Infinity,1,1\n", "line 2: down_s is 'Infinity'"),
    "an hour in words": (f"{HEAD}\n1,1,an hour,1\n", "line 2: fit_s is 'an hour'"),
    "a time without end": (f"{HEAD}\n1,1,1e9999999999,1\n", "line 2: fit_s is '1e9999999999'"),
    "a time too long": (f"{HEAD}\n1,1,{LONGEST}.1,1\n", "line 2: fit_s is '1000000000.1'"),
    "an empty cell": (f"{HEAD}\n1,1,,1\n", "line 2: fit_s is '', a number from 0"),
    "no client's number": (f"{HEAD}\n,1,1,1\n", "line 2: client is '', a whole number from 0 to 4294967294"),
    "half a client": (f"{HEAD}\n1.5,1,1,1\n", "line 2: client is '1.5', a whole number"),
    "the server's number": (f"{HEAD}\n{SERVER},1,1,1\n", f"line 2: client is '{SERVER}'"),
    "a client far out": (f"{HEAD}\n1e30,1,1,1\n", "line 2: client is '1e30'"),
    "too few cells": (f"{HEAD}\n1,1,1\n", "line 2: has another number of cells than the header"),
    "too many cells": (f"{HEAD}\n1,1,1,1,1\n", "line 2: has another number of cells than the header"),
    "no weight at all": (f"{HEAD},weight\n1,1,1,1,0\n", "line 2: weight is '0', a whole number from 1 to 1024"),
    "too much weight": (f"{HEAD},weight\n1,1,1,1,{WEIGHT_MAX + 1}\n", "line 2: weight is '1025'"),
    "neither yes nor no": (
        f"{HEAD},was_straggler\n1,1,1,1,2\n",
        "line 2: was_straggler is '2', a whole number from 0 to 1",
    ),
    "no number for has_model": (f"{HEAD},has_model\n1,1,1,1,yes\n", "line 2: has_model is 'yes'"),
    "a cell without end": (f"{HEAD}\n1,1,1,{'1' * 200_000}\n", "is not a CSV file: field larger"),
}


@pytest.mark.rule("CLI-2")
@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_of_times_that_makes_no_sense_is_refused_by_line_and_column(
    case: str, clip_ref: Callable[..., Told], tmp_path: Path
) -> None:
    text, problem = UNREADABLE[case]
    (tmp_path / "times.csv").write_text(text)
    told = clip_ref("plan", "times.csv")
    assert (told.code, told.out) == (2, "")
    assert problem in told.err
    assert "times.csv" in told.err or "[PAR-6]" in told.err
    assert_one_line(told.err)


@contextmanager
def written(text: str) -> Iterator[Path]:
    """A file of this text, for as long as it is looked at."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "times.csv"
        path.write_text(text, "utf-8")
        yield path


@pytest.mark.rule("CLI-2")
@given(st.text(alphabet="client,down_sfitup0123456789.-e+\n\"'; \x00\x0b\u2028∞", max_size=200), st.booleans())
def test_no_text_brings_the_plan_down(text: str, headed: bool) -> None:
    """Whatever the file, it is read or refused."""
    with written(f"{HEAD}\n{text}" if headed else text) as path, suppress(PreconditionError):
        assert all(isinstance(record, TimeRecord) for record in read_times(path, grid=DEFAULT_GRID).values())


# --- train and evaluate ---


def test_train_prints_what_came_of_it(clip_ref: Callable[..., Told], tmp_path: Path) -> None:
    told = clip_ref(*tiny.options(Path("new")))
    assert told.code == 0
    assert re.fullmatch(
        r"clip: 4 rounds, 6\.1 s simulated, 15\.4 % shorter than unpruned, 50 % of the bound; accuracy \d+\.\d %\n"
        r"every secure sum equals the plain one, every upload and transcript has one shape\n"
        r"written: new/results\.json, rounds\.csv, model\.npz, checkpoint\.npz\n",
        told.out,
    )
    lines = told.err.splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r"train clip: 3/4 accuracy \d+\.\d %, 1\.26 s", lines[2])
    assert sorted(tiny.files(tmp_path / "new")) == ["checkpoint.npz", "model.npz", "results.json", "rounds.csv"]


def test_json_is_valid_and_alone(clip_ref: Callable[..., Told], tmp_path: Path) -> None:
    told = clip_ref(*tiny.options(Path("new"), rounds=1), "--json", "--quiet")
    assert (told.code, told.err) == (0, "")
    assert json.loads(told.out) == json.loads((tmp_path / "new" / "results.json").read_text())
    loud = clip_ref(*tiny.options(Path("newer"), rounds=1), "--json")
    assert loud.out == told.out
    assert len(loud.err.splitlines()) == 1


def test_quiet_says_nothing(clip_ref: Callable[..., Told], tmp_path: Path) -> None:
    assert clip_ref(*tiny.options(Path("new"), rounds=1), "--quiet") == Told(0, "", "")
    assert clip_ref("evaluate", "new/model.npz", "--quiet") == Told(0, "", "")
    (tmp_path / "times.csv").write_text(GOOD)
    assert clip_ref("plan", "times.csv", "--quiet") == Told(0, "", "")
    for arguments in (("evaluate", "new/model.npz"), ("plan", "times.csv")):
        told = clip_ref(*arguments, "--quiet", "--json")
        assert (told.code, told.err) == (0, "")
        assert json.loads(told.out)


def test_evaluate_finds_the_accuracy_that_training_ended_with(clip_ref: Callable[..., Told], tmp_path: Path) -> None:
    clip_ref(*tiny.options(Path("new"), rounds=2), "--quiet")
    ended = json.loads((tmp_path / "new" / "results.json").read_text())["methods"]["clip"]["final_accuracy"]
    found = json.loads(clip_ref("evaluate", "new/model.npz", "--json").out)
    assert found == {"model": "new/model.npz", "task": "digits", "accuracy": ended, "examples": 510}
    assert clip_ref("evaluate", "new/model.npz").out == f"{100 * ended:.2f} % of 510 unseen examples of digits\n"


def test_a_run_that_is_interrupted_says_so_and_can_be_resumed(
    clip_ref: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip_ref(*tiny.options(Path("straight")), "--quiet")
    honest = Run.step

    def step(self: Run, **more: Any) -> Any:
        if self.state.round == 3:
            raise KeyboardInterrupt
        return honest(self, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", step)
        told = clip_ref(*tiny.options(Path("new")), "--quiet")
    assert told == Told(130, "", "clip-ref train: interrupted\n")
    assert sorted(tiny.files(tmp_path / "new")) == ["checkpoint.npz"]
    assert clip_ref(*tiny.options(Path("new")), "--resume", "--quiet").code == 0
    assert tiny.files(tmp_path / "new") == tiny.files(tmp_path / "straight")


def test_an_interrupt_before_the_first_round_is_done_leaves_nothing(
    clip_ref: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: Run, **more: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "step", step)
    assert clip_ref(*tiny.options(Path("new"))).code == 130
    assert list(tmp_path.iterdir()) == []


def test_resuming_another_configuration_names_what_differs(clip_ref: Callable[..., Told], tmp_path: Path) -> None:
    clip_ref(*tiny.options(Path("new"), rounds=1), "--quiet")
    before = tiny.listing(tmp_path)
    told = clip_ref(*tiny.options(Path("new"), seed=2), "--resume")
    assert told.code == 2
    assert told.err.endswith("new/checkpoint.npz belongs to another run: it has seed 1, not 2 [LAB-5]\n")
    assert_one_line(told.err)
    assert tiny.listing(tmp_path) == before


def masked_bit(server: Any, honest: Any) -> Any:
    """A network that flips a bit in the middle of one masked input."""

    def network(leg: Any, client: int, up: bool, data: bytes) -> tuple[bytes, ...]:
        at = len(data) // 2
        changed = client == 0 and up and leg.value == "input"
        return (data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if changed else data,)

    return network


def test_a_failed_check_exits_with_1(
    clip_ref: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tiny.tampered(monkeypatch, network=masked_bit):
        told = clip_ref(*tiny.options(Path("new"), rounds=1))
        quiet = clip_ref(*tiny.options(Path("newer"), rounds=1), "--quiet")
    assert told.code == quiet.code == 1
    assert "A CHECK FAILED" in told.out
    assert quiet == Told(1, "", "clip-ref train: a check failed: see `checks` in newer/results.json [LAB-3]\n")
    found = json.loads((tmp_path / "new" / "results.json").read_text())
    assert found["checks"]["secure_sum_exact"] is False


def test_a_round_that_is_aborted_exits_with_1(
    clip_ref: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(server: Any, honest: Any) -> Any:
        return lambda leg, client, up, data: () if up and client < 5 else (data,)

    with tiny.tampered(monkeypatch, network=silent):
        told = clip_ref(*tiny.options(Path("new")), "--quiet")
    assert (told.code, told.out) == (1, "")
    assert "round aborted at U1: 5 clients left, 7 needed" in told.err
    assert_one_line(told.err)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_keeps_the_run(
    clip_ref: Callable[..., Told], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, writes = Path.write_bytes, 0

    def write_bytes(self: Path, data: Any) -> int:
        nonlocal writes
        writes += 1
        if writes == 3:
            honest(self, data[:10])
            raise OSError(28, "No space left on device")
        return honest(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        told = clip_ref(*tiny.options(Path("new")), "--quiet")
    assert told.code == 1
    assert told.err == "clip-ref train: new/checkpoint.npz cannot be written: No space left on device [LAB-4]\n"
    assert sorted(tiny.files(tmp_path / "new")) == ["checkpoint.npz"]
    assert clip_ref(*tiny.options(Path("new")), "--quiet", "--resume").code == 0


def test_the_default_fleet_s_stragglers_are_a_fifth(clip_ref: Callable[..., Told], tmp_path: Path) -> None:
    for clients, expected in ((4, 0), (10, 2), (19, 3)):
        told = clip_ref(
            "train", f"--out=n{clients}", f"--clients={clients}", "--rounds=1", "--security=basic", "--json", "--quiet"
        )
        found = json.loads(told.out)
        assert found["config"]["stragglers"] == expected
        assert len(found["fleet"]["stragglers"]) == expected
        assert found["config"]["fleet"] == "paper"


def test_where_there_is_nothing_to_gain_there_is_no_share_of_it(clip_ref: Callable[..., Told], tmp_path: Path) -> None:
    told = clip_ref(*tiny.options(Path("new"), fleet="uniform", rounds=1), "--quiet", "--json")
    assert json.loads(told.out)["methods"]["clip"]["bound_share"] is None
    assert "of the bound" not in clip_ref(*tiny.options(Path("newer"), fleet="uniform", rounds=1)).out


# --- The same in processes of their own ---


def test_exit_codes_and_one_line_in_a_process_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clip_ref.cli", "train", "--task=letters", f"--out={tmp_path / 'new'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "times.csv").write_text(f"{HEAD}\n" + "".join(f"{u},1,1,1\n" for u in range(255)))
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "clip_ref.cli", "plan", str(tmp_path / "times.csv"), "--json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == 0


# --- plan ---


def seconds(micros: int) -> str:
    return f"{micros // 1_000_000}.{micros % 1_000_000:06}"


def csv_of(records: Mapping[ClientId, TimeRecord]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    levels = [f"fit_s_{keep}" for keep in DEFAULT_GRID]
    writer.writerow(
        ["was_straggler", "client", "down_s", "select_s", "fit_s", *levels, "mask_s", "up_s", "weight", "has_model"]
    )
    for client, record in records.items():
        times = [seconds(x) for x in (record.down, record.select, 1_000_000, *record.fit, record.mask, record.up)]
        writer.writerow([int(record.was_straggler), client, *times, record.weight, int(record.has_model)])
    return out.getvalue()


@st.composite
def records(draw: st.DrawFn) -> dict[ClientId, TimeRecord]:
    """A few clients around a second, some slow, some without the model; now and then one whose fits make no sense."""
    found = {}
    micros = st.integers(0, 400_000)
    for client in draw(st.lists(st.integers(0, SERVER - 1), min_size=2, max_size=14, unique=True)):
        whole = draw(st.integers(900_000, 1_100_000) | st.integers(0, 3_000_000))
        fit = tuple(whole * keep // 1000 for keep in DEFAULT_GRID)
        found[ClientId(client)] = TimeRecord(
            has_time=True,
            has_model=draw(st.integers(0, 9)) > 0,
            was_straggler=draw(st.booleans()),
            down=draw(micros),
            select=draw(micros),
            mask=draw(micros),
            up=draw(micros),
            fit=fit if draw(st.integers(0, 9)) else fit[::-1],
            weight=draw(st.integers(1, WEIGHT_MAX)),
            entropy=b"",
        )
    return found


@given(
    records(),
    st.sampled_from(["hardened", "paper"]),
    st.none() | st.integers(0, 500),
    st.none() | st.integers(0, 1000),
    st.booleans(),
    st.booleans(),
    st.integers(1, 5),
)
def test_the_plan_is_what_identification_says(
    found: dict[ClientId, TimeRecord],
    preset: str,
    share: int | None,
    margin: int | None,
    compute_only: bool,
    spread: bool,
    number: int,
) -> None:
    policy = attrs.evolve(HARDENED_POLICY if preset == "hardened" else PAPER_POLICY, network_aware=not compute_only)
    arguments = [f"--preset={preset}", f"--round={number}"]
    if share is not None:
        policy = attrs.evolve(policy, straggler_share=share)
        arguments.append(f"--share={share / 1000}")
    if margin is not None:
        policy = attrs.evolve(policy, margin=margin)
        arguments.append(f"--margin={margin / 1000}")
    if compute_only:
        arguments.append("--compute-only")
    if spread:
        policy = attrs.evolve(policy, spread=True, mean=Mean.STRATA)
        arguments.append("--spread")
    params = Params(clients=len(found), policy=policy, encoding=Encoding(ring_bits=64))
    plan = identify(records=found, params=params, round=RoundNumber(number))
    told = json.loads(plan_of(csv_of(found), *arguments, "--json"))
    assert told["target_us"] == plan.target
    assert told["target_fit_us"] == plan.target_fit
    assert told["block_size"] == params.block_size
    assert told["clients"] == [
        {
            "client": u,
            "elapsed_us": elapsed(found[u], level=0),
            "straggler": verdict.straggler,
            "keep": verdict.keep,
            "ahead": list(verdict.ahead),
            "pruned_elapsed_us": elapsed(found[u], level=DEFAULT_GRID.index(verdict.keep)),
            "saturated": verdict.saturated,
            "reason": verdict.reason.value,
        }
        for u, verdict in plan.verdicts.items()
    ]


def plan_of(text: str, *arguments: str) -> str:
    """What `plan` prints for a file of this text."""
    printed = io.StringIO()
    with written(text) as path, redirect_stdout(printed):
        assert main(["plan", str(path), *arguments]) == 0
    return printed.getvalue()


def times(slow: Mapping[int, str], count: int = 10, more: str = "", **cells: str) -> str:
    """`count` clients that take 0.1 + 2 + 0.2 s, but for the slow ones' fit; `cells` are other columns, of those slow."""
    lines = [",".join([HEAD, *cells])]
    for u in range(count):
        lines.append(
            ",".join([str(u), "0.1", slow.get(u, "2"), "0.2", *(c if u in slow else "" for c in cells.values())])
        )
    return "\n".join(lines) + "\n" + more


REASONS: Mapping[Reason, tuple[str, tuple[str, ...], int]] = {
    Reason.FAST: (times({}), (), 8),
    Reason.MARGIN: (times({3: "2.05", 7: "2.05"}), (), 2),
    Reason.STRAGGLER: (times({3: "3", 7: "3"}), (), 2),
    Reason.BLOCK: (times({3: "2.5", 7: "3"}), (), 1),
    Reason.NO_TIME: (times({3: "2"}, fit_s_500="9"), (), 1),
    Reason.NO_HISTORY: (times({3: "3", 7: "3"}, has_model="0"), (), 2),
    Reason.WARM_UP: (times({3: "3", 7: "3"}), ("--round=2",), 2),
    Reason.SMALL_ROSTER: (times({3: "3"}, count=9), (), 1),
    Reason.SMALL_BLOCK: (times({3: "3", 7: "3"}), ("--colluders=1",), 2),
}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_told_to_those_that_it_is_true_of(reason: Reason) -> None:
    text, arguments, count = REASONS[reason]
    told = json.loads(plan_of(text, *arguments, "--json"))["clients"]
    assert [one["reason"] for one in told].count(reason.value) == count
    slow = [one for one in told if one["client"] in (3, 7)]
    assert all(one["keep"] == 1000 for one in told if one not in slow)
    assert (min(one["keep"] for one in slow) < 1000) == (reason in (Reason.STRAGGLER, Reason.BLOCK))
    shown = plan_of(text, *arguments).splitlines()
    assert sum(line.endswith(reason.value) for line in shown) == count


@pytest.mark.rule("DDL-1", "DDL-2")
@pytest.mark.parametrize(
    ("arguments", "not_before"),
    [
        ((), 0),
        (("--deadline=9.5",), 2_415_000),
        (("--deadline=9.5", "--round=2"), 9_500_000),
        (("--deadline=1",), 10**6),
    ],
)
def test_plan_says_when_uploads_start(arguments: tuple[str, ...], not_before: int) -> None:
    text = times({3: "3", 7: "9"})  # T* is 2.3 s
    assert json.loads(plan_of(text, *arguments, "--json"))["not_before_us"] == not_before
    last = plan_of(text, *arguments).splitlines()[-1]
    assert (last == f"Uploads start {not_before / 1e6:.3f} s into the leg, everybody's.") == bool(not_before)


@pytest.mark.rule("IDN-12")
def test_plan_tells_the_turn_of_each_block() -> None:
    text = times({3: "3", 7: "9", 8: "3.1", 9: "5"})
    lines = plan_of(text, "--spread", "--share=0.4").splitlines()
    assert lines[0].endswith(" 4 of 10 prune, in blocks of at least 2 that take 2 turns.")
    assert lines[2].split() == ["client", "takes", "straggler", "keeps", "turn", "then", "takes", "why"]
    rows = {row[0]: row for row in (re.split(r"  +", line.strip()) for line in lines[4:])}
    assert {u: row[4] for u, row in rows.items() if row[2] == "yes"} == {"3": "2", "7": "1", "8": "2", "9": "1"}
    assert rows["0"][2:5] == ["no", "100 %", "2.300 s"]
    ahead = {
        one["client"]: one["ahead"] for one in json.loads(plan_of(text, "--spread", "--share=0.4", "--json"))["clients"]
    }
    assert {u: levels for u, levels in ahead.items() if levels} == {3: [500], 8: [500]}
    with written(text) as path:
        assert main(["plan", str(path), "--spread", "--graph"]) == 2


def test_what_plan_prints(tmp_path: Path) -> None:
    lines = plan_of(times({3: "3", 7: "9"})).splitlines()
    assert lines[0] == (
        "T* = 2.300 s, what the slowest client takes that is not a candidate. 2 of 10 prune, in blocks of at least 2."
    )
    assert lines[1] == ""
    assert lines[2].split("  ")[0] == "client"
    assert set(lines[3]) == {"-"}
    rows = [re.split(r"  +", line.strip()) for line in lines[4:]]
    for row in rows:
        del row[4 : len(row) - 2]  # the turn, where there is one
    assert rows[0] == ["0", "2.300 s", "no", "100 %", "2.300 s", "not among the slowest"]
    assert rows[3] == ["3", "3.300 s", "yes", "50 %", "1.800 s", "straggler, alike with the slowest of its block"]
    assert rows[7] == ["7", "9.300 s", "yes", "50 %", "4.800 s", "straggler, and late even so"]
    assert [row[0] for row in rows] == [str(u) for u in range(10)]


@pytest.mark.rule("GRA-7", "GRA-8")
@given(records(), st.integers(1, 5), st.integers(0, 500))
def test_the_plan_on_a_graph_is_what_everybody_finds_out_alone(
    found: dict[ClientId, TimeRecord], number: int, share: int
) -> None:
    """T* is the upper edge of the bucket of a clique's; verdicts are those of GRA-8 by it."""
    policy = attrs.evolve(HARDENED_POLICY.for_graph(), straggler_share=share)
    arguments = ["--graph", f"--round={number}", f"--share={share / 1000}"]
    if len(found) < 4:
        with written(csv_of(found)) as path:
            assert main(["plan", str(path), *arguments]) == 2
        return
    params = Params(clients=len(found), neighbours=2, policy=policy)
    told = json.loads(plan_of(csv_of(found), *arguments, "--json"))
    clique = Params(clients=len(found), policy=policy)
    exact = identify(records=found, params=clique, round=RoundNumber(number)).target
    edges = graph.bucket_edges(params=params)
    timed = any(valid(record, params=params) for record in found.values())
    assert told["target_us"] == timed * edges[graph.bucket_of(elapsed=exact, params=params)]
    for one in told["clients"]:
        record = found[ClientId(one["client"])]
        if not valid(record, params=params):
            assert (one["keep"], one["straggler"], one["reason"]) == (1000, False, Reason.NO_TIME.value)
            continue
        own = graph.own_times(record)
        assert own.elapsed == tuple(elapsed(record, level=k) for k in range(len(DEFAULT_GRID)))
        verdict = graph.judge(own=own, target=told["target_us"], params=params, round=number)
        assert (one["keep"], one["straggler"], one["reason"]) == (
            verdict.keep, verdict.straggler, verdict.reason.value,
        )  # fmt: skip


def test_what_plan_prints_for_a_graph() -> None:
    first = plan_of(times({3: "3", 7: "9"}), "--graph").splitlines()[0]
    assert first == (
        "T* = 2.364 s, what the slowest client takes that is not a candidate or at most a bucket more. "
        "2 of 10 prune, each on its own."
    )


@pytest.mark.rule("GRA-9")
def test_how_many_neighbours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "--clients=1000"]) == 0
    assert capsys.readouterr().out == "k = 114 neighbours each, t = 78 shares of 115\n"
    asked = ["--corrupt=0.05", "--dropped=0.2", "--security=20", "--failure=10", "--grinding=16"]
    assert main(["graph", "--clients=500", *asked, "--json"]) == 0
    k, t = graph.choose(clients=500, corrupt=50, dropped=200, security=20, failure=10, grinding=16)
    assert json.loads(capsys.readouterr().out) == {
        "clients": 500, "corrupt": 50, "dropped": 200, "security": 20, "failure": 10, "grinding": 16,
        "neighbours": k, "threshold": t,
    }  # fmt: skip
    assert main(["graph", "--clients=1000", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_without_the_network_in_mind_slow_networks_are_not_made_up_for() -> None:
    """Two clients compute as fast as the others and upload more slowly: they prune only where the network counts."""
    text = times({}).replace("3,0.1,2,0.2", "3,0.1,2,0.7").replace("7,0.1,2,0.2", "7,0.1,2,0.7")
    keeps = {
        way: [one["keep"] for one in json.loads(plan_of(text, *way, "--json"))["clients"] if one["client"] in (3, 7)]
        for way in ((), ("--compute-only",))
    }
    assert keeps == {(): [750, 750], ("--compute-only",): [1000, 1000]}


def test_the_paper_s_preset_has_no_margin_no_blocks_and_no_smallest_roster() -> None:
    one = times({3: "2.05"}, count=5)
    kept = {
        preset: [x["keep"] for x in json.loads(plan_of(one, f"--preset={preset}", "--json"))["clients"]]
        for preset in ("hardened", "paper")
    }
    assert kept == {"hardened": [1000] * 5, "paper": [1000, 1000, 1000, 975, 1000]}


@pytest.mark.rule("CLI-2")
def test_what_may_be_left_out_has_the_values_that_help_says(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        f"\ufeff{HEAD},weight,fit_s_900,mask_s\n5,0.5,2,0.25,,1.5,\n6,0,1.0000005,1e-6,9,,1\n"
    )
    found = read_times(tmp_path / "t.csv", grid=(1000, 900, 500))
    first, second = found[ClientId(5)], found[ClientId(6)]
    assert list(found) == [5, 6]
    assert (first.down, first.select, first.mask, first.up) == (500_000, 0, 0, 250_000)
    assert first.fit == (2_000_000, 1_500_000, 1_000_000)
    assert (first.weight, first.was_straggler, first.has_model, first.has_time) == (1, False, True, True)
    assert second.fit == (1_000_000, 900_000, 500_000)
    assert (second.up, second.mask, second.weight) == (1, 1_000_000, 9)


def test_the_default_security_is_hardened(clip_ref: Callable[..., Told]) -> None:
    told = clip_ref("train", "--out=new", "--clients=2", "--rounds=1", "--json", "--quiet")
    assert json.loads(told.out)["config"]["security"] == SecurityLevel.HARDENED.value
