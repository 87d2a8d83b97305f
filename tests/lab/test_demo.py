"""The demo: one real and short one for what users get; tiny ones for what a report says when things go otherwise."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from clip_ref.cli import main
from clip_ref.lab import demo, plots, training
from clip_ref.lab.demo import Demo, compare, findings, markdown, results, run_demo, table, write_demo
from clip_ref.lab.federated import RoundRow, RunConfig
from clip_ref.lab.methods import SHIPPED
from clip_ref.train.pool import Pool
from lab import tiny
from lab.conftest import REAL, RealDemo

FILES = ["accuracy.png", "pruned.png", "report.md", "results.json", "rounds.csv", "timeline.png"]


def rounds_of(real: RealDemo) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    with (real.out / "rounds.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["method"], []).append(row)
    return found


def test_the_real_demo_passes_and_prints_its_results_alone(real_demo: RealDemo) -> None:
    assert real_demo.code == 0
    assert json.loads(real_demo.printed) == real_demo.results
    lines = real_demo.told.splitlines()
    assert len(lines) == 15
    for number, line in enumerate(lines, start=1):
        assert re.fullmatch(rf"demo: {number}/15 [a-z-]+, round [123]: accuracy \d+\.\d %", line)
    assert sorted(tiny.files(real_demo.out)) == FILES


def test_the_real_demo_s_results_have_what_was_promised(real_demo: RealDemo) -> None:
    found = real_demo.results
    assert list(found["methods"]) == list(SHIPPED)
    for numbers in found["methods"].values():
        assert {"simulated_seconds", "bound_share", "final_accuracy", "rounds"} <= set(numbers)
        assert numbers["rounds"] == REAL.rounds
        assert 0.5 < numbers["final_accuracy"] < 1
    assert found["checks"]["secure_sum_exact"] is True
    assert found["checks"]["transcript_shape_equal"] is True
    assert len(found["checks"]["upload_lengths"]) == 1
    assert RunConfig(**found["config"], method="none") == REAL
    assert found["fleet"]["name"] == "paper"


@pytest.mark.rule("LAB-2", "LAB-6")
def test_the_real_demo_s_rounds_bear_out_its_results(real_demo: RealDemo) -> None:
    rounds = rounds_of(real_demo)
    assert list(rounds) == list(SHIPPED)
    for name, rows in rounds.items():
        numbers = real_demo.results["methods"][name]
        assert [row["round"] for row in rows] == ["1", "2", "3"]
        assert all(row["secure_sum"] == row["plain_sum"] for row in rows)
        assert {len(row["secure_sum"]) for row in rows} == {64}
        assert sum(float(row["round_seconds"]) for row in rows) == pytest.approx(numbers["simulated_seconds"])
        assert float(rows[-1]["accuracy"]) == numbers["final_accuracy"]
        assert {row["upload_bytes"] for row in rows} == {str(*real_demo.results["checks"]["upload_lengths"])}
    for number in range(2):
        assert len({rounds[name][number]["secure_sum"] for name in SHIPPED if name != "exclude"}) == 1
    assert len({rounds[name][2]["secure_sum"] for name in SHIPPED}) == 5
    assert {row["survivors"] for row in rounds["exclude"]} == {"8"}


def test_after_the_warm_up_clip_takes_nearly_all_that_pruning_can(real_demo: RealDemo) -> None:
    """On the paper's fleet, with real training and every message counted: at least 95 % of the bound."""
    rounds = rounds_of(real_demo)
    unpruned, clip = rounds["none"][2], rounds["clip"][2]
    shorter = 1 - float(clip["round_seconds"]) / float(unpruned["round_seconds"])
    assert 0.95 * float(unpruned["bound"]) <= shorter <= float(unpruned["bound"]) * (1 + 1e-9)
    assert clip["keep_levels"]
    assert real_demo.results["methods"]["clip"]["pruned_rounds_shorter"] == pytest.approx(shorter)


def test_the_real_demo_s_report_shows_its_plots(real_demo: RealDemo) -> None:
    text = (real_demo.out / "report.md").read_text()
    shown = re.findall(r"!\[.+\]\((.+)\)", text)
    assert sorted(shown) == [name for name in FILES if name.endswith(".png")]
    for name in shown:
        data = (real_demo.out / name).read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(data) > 5000
    for name in SHIPPED:
        assert re.search(rf"^\| {name} \| \d+\.\d s \|", text, re.MULTILINE)
    assert "FAILED" not in text


@pytest.mark.rule("LAB-5")
def test_a_real_run_that_is_interrupted_and_resumed_is_the_demo_s(
    real_demo: RealDemo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in a terminal goes to the workers too. Real training has the same bits in other processes, with a stop."""
    out = tmp_path / "out"
    options = ["train", "--method=clip", f"--clients={REAL.clients}", f"--stragglers={REAL.stragglers}", f"--out={out}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "clip_ref.cli", *options, "--rounds=99"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    printed, told = process.communicate(timeout=30)
    assert re.fullmatch(r"train clip: 1/99 accuracy \d+\.\d %, \d+\.\d\d s\n", first)
    assert process.returncode == 130
    assert printed == ""
    assert told.splitlines()[-1] == "clip-ref train: interrupted"
    assert "Traceback" not in told
    assert sorted(tiny.files(out)) == ["checkpoint.npz"]

    monkeypatch.setattr(training, "Pool", lambda task, *, clients, workers: Pool(task, clients=clients, workers=0))
    assert main([*options, f"--rounds={REAL.rounds}", "--resume", "--quiet"]) == 0
    with (out / "rounds.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == rounds_of(real_demo)["clip"]
    assert training.evaluate(out / "model.npz") == {
        "model": str(out / "model.npz"),
        "task": "digits",
        "accuracy": real_demo.results["methods"]["clip"]["final_accuracy"],
        "examples": 510,
    }


# --- What a report says, on tiny runs ---


@pytest.fixture
def tiny_demo(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Demo]:
    """A demo of tiny runs."""
    ours = tiny.config()
    config = partial(
        RunConfig, clients=ours.clients, stragglers=ours.stragglers, fleet=ours.fleet, security=ours.security
    )
    monkeypatch.setattr(demo, "RunConfig", config)
    monkeypatch.setattr(demo, "run_all", tiny.run_all)
    return lambda **changes: run_demo(**{"rounds": 3, "seed": 1, "quiet": True} | changes)


@pytest.fixture
def make(tiny_demo: Callable[..., Demo], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Demo]:
    """A demo of tiny runs, without the time that it takes to draw."""
    for name in ("accuracy", "pruned", "timeline"):
        monkeypatch.setattr(plots, name, lambda *_: b"a picture")
    return tiny_demo


def test_two_demos_are_equal_byte_for_byte(tiny_demo: Callable[..., Demo], tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_demo(tiny_demo(), tmp_path / name)
    assert sorted(tiny.files(tmp_path / "one")) == FILES
    assert tiny.files(tmp_path / "one") == tiny.files(tmp_path / "two")


def test_the_table_that_is_printed(
    make: Callable[..., Demo], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--rounds", "3", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split("  ")[0] == "method"
    assert set(printed[1]) == {"-"}
    assert [line.split()[0] for line in printed[2:7]] == list(SHIPPED)
    marks = [line for line in printed if line.startswith(("ok ", "FAILED "))]
    assert len(marks) == 3
    assert "one digest in each of 15 rounds" in marks[0]
    assert printed[-1] == f"The report with its plots: {tmp_path / 'out' / 'report.md'}"


def test_the_default_directory_is_made_with_those_above_it(
    make: Callable[..., Demo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--rounds", "1", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(tiny.files(tmp_path / "out" / "demo")) == FILES


def test_a_failed_check_is_told_everywhere_and_exits_with_1(
    make: Callable[..., Demo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(server: Any, honest: Any) -> Any:
        """The first client's masked input arrives with its middle bit flipped, in the third round."""

        def network(leg: Any, client: int, up: bool, data: bytes) -> Sequence[bytes]:
            at = len(data) // 2
            if client == 0 and up and leg.value == "input" and server.context.round == 3:
                return (data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],)
            return (data,)

        return network

    with tiny.tampered(monkeypatch, network=wrong):
        assert main(["demo", "--rounds", "3", "--out", str(tmp_path / "out"), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"clip-ref demo: a check failed: see `checks` in {tmp_path / 'out' / 'results.json'} [LAB-3]\n"
    assert "- FAILED the secure sum and the plain sum" in (tmp_path / "out" / "report.md").read_text()
    found = json.loads((tmp_path / "out" / "results.json").read_text())["checks"]
    assert found["secure_sum_exact"] is False
    assert found["transcript_shape_equal"] is True


def rows_of(seconds: float, accuracy: float, *, bound: float = 0.25) -> list[RoundRow]:
    """Three rounds of `seconds` each, where unpruned ones take 4."""
    return [
        tiny.row(round=k, round_seconds=seconds, unpruned_seconds=4.0, bound=bound, accuracy=accuracy)
        for k in (1, 2, 3)
    ]


def told(whole: Demo, **runs: list[RoundRow]) -> str:
    named = {name.replace("_", "-"): rows for name, rows in runs.items()}
    return "\n".join(findings(attrs.evolve(whole, outcomes=compare(named))))


def test_the_report_tells_the_bad_with_the_good(make: Callable[..., Demo]) -> None:
    whole = make()
    slow = {"none": rows_of(4.0, 0.9), "clip_paper": rows_of(3.5, 0.9)}
    good = told(whole, **slow, random=rows_of(3.0, 0.8), exclude=rows_of(3.5, 0.8), clip=rows_of(3.0, 0.9))
    assert "`clip` is 25.0 % shorter than `none` over all 3 rounds" in good
    assert "Against `random`: 10.0 points more accuracy, beyond the noise of 510 unseen digits (± 3.8)" in good
    assert "Against `none`: 0.0 points more accuracy, within the noise" in good
    assert "3.0 s faster" in good
    for sentence in (
        "not a clear gain",
        "`exclude` is faster",
        "`exclude` loses no accuracy",
        "`random` does no worse",
    ):
        assert sentence not in good
    bad = told(whole, **slow, random=rows_of(3.0, 0.95), exclude=rows_of(2.0, 0.95), clip=rows_of(3.9, 0.85))
    for sentence in (
        "not a clear gain",
        "`exclude` is faster",
        "`exclude` loses no accuracy",
        "`random` does no worse",
    ):
        assert sentence in bad
    assert "Against `exclude`: 10.0 points less accuracy, beyond the noise" in bad
    assert "5.7 s slower" in bad


def test_a_demo_of_the_warm_up_alone_claims_nothing(make: Callable[..., Demo], tmp_path: Path) -> None:
    short = make(rounds=2)
    assert findings(short) == ["Nothing: nobody prunes in the first 2 rounds, the warm-up. Ask for more rounds."]
    write_demo(short, tmp_path)
    assert sorted(tiny.files(tmp_path)) == FILES


@pytest.mark.rule("LAB-6")
def test_methods_are_held_against_none_and_its_bound() -> None:
    found = compare({"none": rows_of(4.0, 0.9), "clip": [*rows_of(4.0, 0.9)[:2], *rows_of(3.2, 0.9)[2:]]})
    assert found["clip"].shorter == pytest.approx(0.8 / 12)
    assert found["clip"].bound_share == pytest.approx(0.8 / 12 / 0.25)
    assert found["clip"].pruned_rounds_shorter == pytest.approx(0.2)
    assert found["none"].bound_share == 0


def test_where_the_bound_is_0_there_is_no_share_of_it(make: Callable[..., Demo]) -> None:
    whole = make()
    nothing = {name: rows_of(4.0, 0.9, bound=0.0) for name in SHIPPED}
    flat = attrs.evolve(whole, outcomes=compare(nothing))
    assert {numbers["bound_share"] for numbers in results(flat)["methods"].values()} == {None}
    assert json.loads(json.dumps(results(flat)))["methods"]["clip"]["bound_share"] is None
    assert {row[3] for row in table(flat)[1:]} == {"–"}
    assert "| clip | 12.0 s | 0.0 % | – | 90.0 % |" in markdown(flat)
