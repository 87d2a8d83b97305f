"""The page "Check your implementation", followed word for word: what it runs runs, and prints what it says."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent.parent / "spec" / "check-your-implementation.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([\w.]+)")?\n(.*?)^```$', re.M | re.S)

COMMANDS = {
    "clip-ref": f'#!/bin/sh\nexec {sys.executable} -m clip_ref.cli "$@"\n',
    "pytest": f'#!/bin/sh\nexec {sys.executable} -m pytest -p no:cacheprovider "$@"\n',
    "python3": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
}


def patched(text: str, change: str) -> str:
    """The text with one place changed as a diff without line numbers says."""
    lines = change.splitlines(keepends=True)
    old = "".join(line[1:] or "\n" for line in lines if line[0] in " -")
    new = "".join(line[1:] or "\n" for line in lines if line[0] in " +")
    assert text.count(old) == 1, f"there should be one {old!r}"
    return text.replace(old, new)


def agree(printed: str, told: str) -> bool:
    """Whether this was printed; `...` stands for anything."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(told, printed, flags)


@pytest.mark.rule("CNF-9")
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    commands, here = tmp_path / "bin", tmp_path / "here"
    commands.mkdir()
    here.mkdir()
    for name, script in COMMANDS.items():
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    path = f"{commands}:{os.environ['PATH']}"
    # compiled code is told apart by second and size of its source: here a file may be edited within a second, to the same size
    environment = {**os.environ, "PATH": path, "COLUMNS": "100", "PYTHONDONTWRITEBYTECODE": "1"}
    ran = 0
    for kind, title, body in BLOCK.findall(PAGE.read_text("utf-8")):
        if kind == "diff":
            file = here / title
            file.write_text(patched(file.read_text("utf-8"), body), "utf-8")
        elif kind == "console":
            for step in re.split(r"^\$ ", body, flags=re.M)[1:]:
                command, _, told = step.partition("\n")
                done = subprocess.run(
                    command, shell=True, capture_output=True, text=True, cwd=here, env=environment, check=False
                )
                assert done.stderr == "", command
                assert agree(done.stdout, told), f"$ {command}\n{done.stdout}\nthe page says\n{told}"
                ran += 1
        else:
            assert title, f"a block in {kind} has no file"
            (here / title).write_text(body, "utf-8")
    assert ran >= 10
