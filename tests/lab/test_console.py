"""Progress: on standard error, a line a step where nobody watches, nothing where nobody wants it."""

import io
import sys

import pytest

from clip_ref.lab.console import lasting, progress


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(title="train clip", total=4, done=2) as report:
        report("accuracy 90.0 %")
        report("accuracy 91.5 %")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "train clip: 3/4 accuracy 90.0 %\ntrain clip: 4/4 accuracy 91.5 %\n"


def test_plain_lines_say_what_is_left(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """From the last steps alone: sixty came from files at once, and the next ones take two minutes each."""
    moments = iter([0.0] * 60 + [120.0 * k for k in range(1, 61)])
    monkeypatch.setattr("clip_ref.lab.console.time.monotonic", lambda: next(moments))
    with progress(title="lab", total=120) as report:
        for _ in range(120):
            report("a round")
    lines = capsys.readouterr().err.splitlines()
    assert lines[59] == "lab: 60/120 a round"
    assert lines[60] == "lab: 61/120 a round, about 2 min left"  # of fifty steps one took time
    assert lines[109] == "lab: 110/120 a round, about 20 min left"
    assert lines[118] == "lab: 119/120 a round, about 2 min left"
    assert lines[119] == "lab: 120/120 a round"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.1, "1 s"), (12, "12 s"), (89, "89 s"), (100, "2 min"), (3599, "60 min"), (5400, "1.5 hours")],
)
def test_how_long_something_lasts(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


def test_nothing_where_it_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(title="demo", total=1, quiet=True) as report:
        report("a word")
    assert capsys.readouterr() == ("", "")


def test_a_live_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress(title="demo", total=2) as report:
        report("none, round 1")
        report("none, round 2")
    shown = screen.getvalue()
    assert "demo" in shown
    assert "2/2" in shown
    assert "none, round 2" in shown
    assert "\x1b[" in shown
