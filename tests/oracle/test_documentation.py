"""The examples in the oracle's docstrings run, and say what they say."""

import doctest
import importlib
import pkgutil

import pytest

import clip_ref.oracle

NAMES = [
    "clip_ref.oracle",
    *(module.name for module in pkgutil.iter_modules(clip_ref.oracle.__path__, "clip_ref.oracle.")),
]
WITH_EXAMPLES = {"clip_ref.oracle"} | {
    f"clip_ref.oracle.{name}" for name in ("report", "runner", "skeletons", "strategies", "vectors")
}


@pytest.mark.parametrize("name", NAMES)
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0
    assert (found.attempted > 0) == (name in WITH_EXAMPLES)
