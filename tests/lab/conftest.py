"""One real demo, and tiny runs of every method: made once, looked at by many tests."""

import io
import json
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from clip_ref.cli import main
from clip_ref.lab import demo
from clip_ref.lab.federated import Run, RunConfig
from clip_ref.lab.methods import METHODS
from lab import tiny

REAL = RunConfig(method="none", clients=10, stragglers=2, rounds=3)
"""The real demo's configuration: half the clients of the one that users get, so that it takes half as long."""


@attrs.frozen
class RealDemo:
    """What `clip-ref demo --json` did."""

    code: int
    printed: str
    told: str
    out: Path

    @property
    def results(self) -> Any:
        return json.loads((self.out / "results.json").read_text())


@pytest.fixture(scope="session")
def real_demo(tmp_path_factory: pytest.TempPathFactory) -> RealDemo:
    """Three rounds of every method on the real digits, in processes of their own; the third round prunes."""
    out = tmp_path_factory.mktemp("demo") / "out"
    printed, told = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(told):
        patch.setattr(demo, "RunConfig", partial(RunConfig, clients=REAL.clients, stragglers=REAL.stragglers))
        code = main(["demo", f"--rounds={REAL.rounds}", f"--out={out}", "--json"])
    return RealDemo(code, printed.getvalue(), told.getvalue(), out)


@pytest.fixture(scope="session")
def runs() -> Mapping[str, Run]:
    """Every method's tiny run, after its last round."""
    return {name: tiny.run(method=name) for name in METHODS}
