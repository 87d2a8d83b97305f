"""The skeletons run as they are printed, and answer the example and nothing else."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clip_ref.cli import main
from clip_ref.oracle import conformance, load_cases
from clip_ref.oracle.report import Verdict
from clip_ref.oracle.skeletons import LANGUAGES, skeleton


def _python(file: Path) -> list[str]:
    return [sys.executable, "-I", str(file)]


def _javascript(file: Path) -> list[str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    return [node, str(file)]


def _go(file: Path) -> list[str]:
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed")
    subprocess.run([go, "vet", str(file)], check=True, cwd=file.parent)
    subprocess.run([go, "build", "-o", "adapter", str(file)], check=True, cwd=file.parent)
    return [str(file.parent / "adapter")]


@pytest.mark.rule("CNF-2", "CNF-3")
@pytest.mark.parametrize(("language", "built"), [("python", _python), ("javascript", _javascript), ("go", _go)])
def test_a_skeleton_runs_as_it_is_printed(
    language: str,
    built: Callable[[Path], list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["conformance", "--skeleton", language]) == 0
    file = tmp_path / LANGUAGES[language]
    file.write_text(capsys.readouterr().out, "utf-8")
    assert file.read_text("utf-8") == skeleton(language)
    report = conformance(command=built(file))
    assert report.program == "my implementation"
    assert set(report.unsupported()) == {case.operation for case in load_cases()} - {"messages.check_ids"}
    assert {o.verdict for o in report.failures()} == {Verdict.UNSUPPORTED}


def test_a_language_without_a_skeleton_is_answered_with_those_that_have_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["conformance", "--skeleton", "cobol"])
    assert stopped.value.code == 2
    assert "no skeleton in 'cobol'; there are python, javascript, go" in capsys.readouterr().err
