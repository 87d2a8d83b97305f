"""The pytest plugin: every vector a test, named by its id and its rule."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from clip_ref.oracle import load_cases
from clip_ref.oracle.skeletons import LANGUAGES

SKELETON = Path(__file__).parent.parent.parent / "clip_ref/oracle/skeletons" / LANGUAGES["python"]
REFERENCE = shlex.join([sys.executable, "-m", "clip_ref.oracle.adapter"])
WRONG = """
import sys
from clip_ref.oracle.adapter import reference, serve
serve(lambda operation, inputs: reference(operation, inputs) if operation == "hello" else {"output": "00"})
"""


def run(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Another pytest, in an empty directory."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "clip_ref.oracle.plugin", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120)


@pytest.mark.rule("CNF-7")
def test_each_vector_is_a_test_named_by_id_and_rule(tmp_path: Path) -> None:
    done = run(tmp_path, "-v", "--clip-ref-command", REFERENCE, "--clip-ref-steps", "shamir,keys")
    assert done.returncode == 0, done.stdout
    for case in load_cases("keys", "shamir"):
        assert f"{case.id}[{case.rules[0]}] PASSED" in done.stdout
    assert f"{len(load_cases('keys', 'shamir'))} passed" in done.stdout


@pytest.mark.rule("CNF-7")
def test_a_wrong_answer_fails_its_test_and_says_why(tmp_path: Path) -> None:
    command = shlex.join([sys.executable, "-c", WRONG])
    done = run(tmp_path, "-q", "--clip-ref-command", command, "--clip-ref-steps", "keys", "-k", "keys-001")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(f"1 failed, {len(load_cases('keys')) - 1} deselected in ")
    assert "keys-001, keys.public_key: " in done.stdout
    assert "wrong answer: expected" in done.stdout
    assert "KEY-1 (keys): " in done.stdout


@pytest.mark.rule("CNF-7")
def test_what_is_unsupported_fails(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    command = shlex.join([sys.executable, str(SKELETON)])
    done = run(tmp_path, "--clip-ref-command", command, "--clip-ref-steps", "keys", "--junitxml", str(report))
    assert f"{len(load_cases('keys'))} failed" in done.stdout
    assert '<property name="rule" value="KEY-1"' in report.read_text("utf-8")


def test_without_a_command_it_adds_nothing(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout
