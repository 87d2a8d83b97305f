"""Every strategy draws, and what it draws is what it says."""

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from clip_ref.errors import PreconditionError
from clip_ref.layout import dense_chain
from clip_ref.messages import Advertise
from clip_ref.oracle import OPERATIONS, answer, strategies
from clip_ref.oracle.runner import drawable
from clip_ref.scores import LayerScores
from clip_ref.values import ClientId, Ring

ARGUMENTS: dict[str, Any] = {
    "operation": "keys.public_key",
    "ring": Ring(bits=32),
    "length": 5,
    "layout": dense_chain(2, 3, 1),
    "keep": 500,
    "levels": 3,
    "sender": ClientId(3),
}
ONE = settings(database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
PUBLIC: list[Callable[..., Any]] = [
    found
    for name, found in vars(strategies).items()
    if inspect.isfunction(found) and found.__module__ == strategies.__name__ and not name.startswith("_")
]


@pytest.mark.parametrize("strategy", PUBLIC, ids=lambda f: f.__name__)
def test_every_strategy_draws_and_says_what(strategy: Callable[..., Any]) -> None:
    assert strategy.__doc__
    names = inspect.signature(strategy).parameters
    drawn = strategy(**{name: ARGUMENTS[name] for name in names if name in ARGUMENTS})
    seen: list[Any] = []
    find(drawn, lambda value: not seen.append(value), settings=ONE)  # type: ignore[func-returns-value]
    assert seen


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_inputs_of_every_operation_can_be_asked(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(drawable()))
    inputs = data.draw(strategies.inputs(name))
    assert json.loads(json.dumps(inputs)) == inputs
    assert set(answer(name, inputs).said) <= {"output", "error"}


def test_inputs_shrink() -> None:
    found = find(
        strategies.inputs("keys.public_key"),
        lambda inputs: len(inputs["secret"]) == 64,
        settings=settings(database=None),
    )
    assert found == {"secret": "00" * 32}


def test_there_are_no_inputs_of_no_operation() -> None:
    with pytest.raises(PreconditionError, match=r"keys\.none"):
        strategies.inputs("keys.none")
    assert set(drawable()) <= set(OPERATIONS)


@given(strategies.scores(neurons=4), strategies.bundles(ClientId(7), hardened=False))
def test_scores_and_bundles(scores: LayerScores, bundle: Advertise) -> None:
    assert len(scores.change) == len(scores.scale) == 4
    assert scores.change.min() >= 0
    assert scores.scale.min() >= 1
    assert (bundle.sender, bundle.signature) == (7, b"")
