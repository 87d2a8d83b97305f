"""Progress: on standard error, a line a step where nobody watches, nothing where nobody wants it."""

import io
import sys

import pytest

from clip_ref.lab.console import progress


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(title="train clip", total=4, done=2) as report:
        report("accuracy 90.0 %")
        report("accuracy 91.5 %")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "train clip: 3/4 accuracy 90.0 %\ntrain clip: 4/4 accuracy 91.5 %\n"


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
