"""Hypothesis profiles: `dev` (the default), `ci` (the same examples on every run) and `nightly` (many more); `--rule ID`."""

import os

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

_DEV = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", _DEV)
settings.register_profile("ci", _DEV, derandomize=True)
settings.register_profile("nightly", _DEV, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest --rule MSK-3`, as often as one likes: the tests whose marks name one of these rules."""
    parser.addoption("--rule", action="append", default=[], metavar="ID", help="only tests that check this rule")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that carry none of the rules asked for."""
    wanted = set(config.getoption("rule"))
    if not wanted:
        return
    kept = [item for item in items if any(wanted & set(mark.args) for mark in item.iter_markers("rule"))]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
