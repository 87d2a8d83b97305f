"""Random inputs: cheap to draw, of the right form, and neither all taken nor all refused."""

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clip_ref.oracle.draws as drawn
from clip_ref.oracle import OPERATIONS, Operation, answer

assert drawn

NEVER_REFUSED = {
    "context.digest",
    "context.model_digest",
    "identification.elapsed",
    "graph.seed",
    "graph.root",
    "graph.proof",
    "graph.bitmap",
    "invariance.quantise",
    "invariance.invariant",
    "selection.ranking",
    "aggregation.holder_weights",
}
"""Operations that have no inputs to refuse."""

DRAWN = list(OPERATIONS.values())


@pytest.mark.parametrize("asked", DRAWN, ids=lambda asked: asked.name)
def test_random_inputs_are_of_the_announced_form_and_of_both_kinds(asked: Operation) -> None:
    found = set()
    for seed in range(30 if asked.name in ("round.client", "round.server") else 200):  # whole rounds take their time
        inputs = asked.json(asked.draw[0](Random(seed)))
        assert asked.json(asked.draw[0](Random(seed))) == inputs
        found |= set(answer(asked.name, json.loads(json.dumps(inputs))).said)
    assert found == ({"output"} if asked.name in NEVER_REFUSED else {"output", "error"})


@pytest.mark.parametrize("asked", DRAWN, ids=lambda asked: asked.name)
@settings(max_examples=5)
@given(data=st.data())
def test_hypothesis_can_stand_in_for_the_generator(asked: Operation, data: st.DataObject) -> None:
    inputs = asked.json(asked.draw[0](data.draw(st.randoms(use_true_random=False))))
    assert len(answer(asked.name, inputs).said) == 1
