"""What is installed: three dependencies, the data files, and a core that works without the extras."""

import fnmatch
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest

from clip_ref.oracle.operations import STEPS
from clip_ref.oracle.skeletons import LANGUAGES

ROOT = Path(__file__).parent.parent

MISSING = "import sys\nfor name in ('torch', 'matplotlib', 'rich', 'scipy', 'hypothesis', 'pytest'): sys.modules[name] = None\n"
"""Opens a script for an interpreter in which the extras can be neither found nor imported."""


def bare(script: str, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script where all that the extras bring is missing."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", MISSING + script, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_three_direct_dependencies() -> None:
    names = [line.partition(">=")[0] for line in project()["project"]["dependencies"]]
    assert names == ["attrs", "cryptography", "numpy"]
    installed = [line for line in requires("clip-ref") or [] if "extra ==" not in line]
    assert len(installed) == 3


CORE = """
import importlib, pkgutil
import clip_ref
names = [m.name for m in pkgutil.walk_packages(clip_ref.__path__, "clip_ref.", onerror=lambda name: None)]
extras = ("train", "lab", "oracle.strategies", "oracle.shrink", "oracle.plugin")
names = [name for name in names if not name.removeprefix("clip_ref.").startswith(extras)]
for name in names:
    importlib.import_module(name)
print(len(names))
imported = {name for name, module in sys.modules.items() if module is not None}
assert not {"torch", "matplotlib", "rich", "scipy", "hypothesis", "pytest"} & imported
"""


def test_the_core_imports_without_the_extras(tmp_path: Path) -> None:
    done = bare(CORE, cwd=tmp_path)
    assert done.stderr == ""
    assert done.returncode == 0
    assert int(done.stdout) >= 30


CLI = "from clip_ref.cli import main\nsys.exit(main(sys.argv[1:]))\n"


def test_core_commands_work_without_the_extras(tmp_path: Path) -> None:
    (tmp_path / "times.csv").write_text("client,down_s,fit_s,up_s\n1,0.1,2,0.1\n2,0.1,3,0.1\n")
    version = bare(CLI, "--version", cwd=tmp_path)
    assert (version.returncode, version.stderr) == (0, "")
    assert version.stdout.startswith("clip-ref ")
    plan = bare(CLI, "plan", "times.csv", cwd=tmp_path)
    assert (plan.returncode, plan.stderr) == (0, "")
    assert "T* = " in plan.stdout
    adapter = (sys.executable, "-m", "clip_ref.oracle.adapter")
    conformance = bare(CLI, "conformance", "--steps", "keys", "--random", "9", "--", *adapter, cwd=tmp_path)
    assert (conformance.returncode, conformance.stderr) == (0, "")
    assert bare(CLI, "train", "--help", cwd=tmp_path).returncode == 0


@pytest.mark.rule("CLI-1")
@pytest.mark.parametrize(
    "arguments",
    [("train", "--out", "new"), ("demo", "--out", "new"), ("evaluate", "model.npz"), ("lab", "table", "--out", "new")],
)
def test_what_needs_the_extra_says_how_to_get_it(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = bare(CLI, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"clip-ref {arguments[0]}: training needs torch, matplotlib, rich, scipy, not installed here: "
        "pip install 'clip-ref[train]' [CLI-1]\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_files_that_the_package_reads_are_in_it() -> None:
    """A wheel holds all of `clip_ref` but what version control ignores."""
    targets = project()["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"] == {"packages": ["clip_ref"]}
    assert "clip_ref" in targets["sdist"]["include"]
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line]
    shipped = [f"oracle/vectors/{name}.json" for name in (*STEPS, "schema", "rules")]
    shipped += [f"oracle/skeletons/{name}" for name in LANGUAGES.values()]
    for name in ("py.typed", "sim/profiles.json", "train/data/digits.csv.gz", "train/data/README.md", *shipped):
        file = Path("clip_ref", name)
        assert (ROOT / file).is_file()
        assert not [part for part in file.parts for pattern in ignored if fnmatch.fnmatch(part, pattern)]


def test_the_command_is_installed() -> None:
    assert project()["project"]["scripts"] == {"clip-ref": "clip_ref.cli:main"}
