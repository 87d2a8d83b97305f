"""State: what a round begins from, and what it leaves to the next."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain import digest, le

from clip_ref.canonical import model_digest
from clip_ref.errors import PreconditionError
from clip_ref.layout import dense_chain
from clip_ref.oracle.strategies import rngs
from clip_ref.params import PAPER_POLICY, Params
from clip_ref.round import State, config_digest
from clip_ref.values import NO_DIGEST, Floats, RoundNumber

LAYOUT = dense_chain(1, 2, 1)
PARAMS = Params(clients=3)
SESSION = bytes(range(16))


def model_of(value: float) -> Floats:
    return np.full(LAYOUT.size, value, dtype=np.float32)


def fresh(value: float = 0.0, round: int = 1) -> State:
    return State(SESSION, RoundNumber(round), model_of(value))


@pytest.mark.rule("ROU-2")
@given(outcomes=st.lists(st.sampled_from(("aborted", "same", 1.0, 2.0, 3.0)), max_size=12))
def test_history_is_the_last_completed_model_that_differs(outcomes: list[str | float]) -> None:
    """Against the definition, over any sequence of aborted rounds, rounds that change nothing and rounds that do."""
    state, completed = fresh(), [model_of(0.0)]  # w_1, and then what each completed round yielded
    for number, outcome in enumerate(outcomes, start=2):
        if outcome == "aborted":
            state = state.aborted()
        else:
            following = completed[-1] if isinstance(outcome, str) else model_of(outcome)
            state = state.completed(following.copy())
            completed.append(following)
        assert state.round == number
        assert state.session == SESSION
        assert state.model.tolist() == completed[-1].tolist()
        others = [m for m in completed if model_digest(m) != model_digest(state.model)]
        assert (state.history is None) == (not others)
        if state.history is not None:
            assert state.history.tolist() == others[-1].tolist()
            assert model_digest(state.history) != model_digest(state.model)


@pytest.mark.rule("ROU-1", "ROU-2")
def test_the_context_announces_all_of_it() -> None:
    state = fresh(1.0, round=7)
    context = state.context(params=PARAMS, layout=LAYOUT)
    assert (context.session, context.round, context.directory) == (SESSION, 7, NO_DIGEST)
    assert (context.model, context.history) == (model_digest(model_of(1.0)), NO_DIGEST)
    later = state.completed(model_of(2.0)).context(params=PARAMS, layout=LAYOUT)
    assert (later.round, later.model, later.history) == (8, model_digest(model_of(2.0)), context.model)
    again = state.completed(model_of(2.0)).aborted().context(params=PARAMS, layout=LAYOUT)
    assert (again.round, again.model, again.history) == (9, later.model, later.history)


@pytest.mark.rule("ROU-1", "CTX-2")
def test_vector_digests() -> None:
    context = fresh(1.0).context(params=PARAMS, layout=LAYOUT)
    assert context.model == digest(b"model", b"<f4", bytes.fromhex("0000803f") * LAYOUT.size)
    assert context.config == digest(b"config", PARAMS.digest(), LAYOUT.digest())
    parts = (SESSION, le(1, 8), context.config, bytes(32), context.model, bytes(32))
    assert context.ctx0() == digest(b"context0", *parts)


@pytest.mark.rule("ROU-1")
def test_other_parameters_or_layouts_have_another_configuration() -> None:
    digests = {
        config_digest(params=params, layout=layout)
        for params in (PARAMS, Params(clients=4), Params(clients=3, policy=PAPER_POLICY))
        for layout in (LAYOUT, dense_chain(1, 3, 1))
    }
    assert len(digests) == 6


@pytest.mark.rule("ROU-1")
@given(rng=rngs(), at=st.integers(0, LAYOUT.size - 1), bad=st.sampled_from((np.nan, np.inf, -np.inf)))
def test_refuses_what_is_not_finite(rng: np.random.Generator, at: int, bad: float) -> None:
    good = rng.normal(size=LAYOUT.size).astype(np.float32)
    wrong = good.copy()
    wrong[at] = bad
    with pytest.raises(PreconditionError, match=f"ROU-1: the model holds .* at coordinate {at}"):
        State(SESSION, RoundNumber(1), wrong)
    with pytest.raises(PreconditionError, match=f"ROU-1: the history holds .* at coordinate {at}"):
        State(SESSION, RoundNumber(1), good, wrong)
    with pytest.raises(PreconditionError, match="ROU-1"):
        State(SESSION, RoundNumber(1), good).completed(wrong)


@pytest.mark.rule("ROU-1")
def test_refuses_a_model_of_another_type_or_size() -> None:
    others: list[Any] = [np.zeros(7), np.zeros((7, 1), dtype=np.float32), np.zeros(7, dtype=np.float16)]
    for bad in others:
        with pytest.raises(PreconditionError, match=r"ROU-1: the model is float32\[d\]"):
            State(SESSION, RoundNumber(1), bad)
    with pytest.raises(PreconditionError, match="ROU-1: the history has 8 weights, the model 7"):
        State(SESSION, RoundNumber(1), model_of(0), np.zeros(8, dtype=np.float32))
    with pytest.raises(PreconditionError, match="ROU-1: the model has 8 weights, its layout 7"):
        State(SESSION, RoundNumber(1), np.zeros(8, dtype=np.float32)).context(params=PARAMS, layout=LAYOUT)


@pytest.mark.rule("CTX-3")
def test_refuses_a_session_of_another_length() -> None:
    with pytest.raises(PreconditionError, match="CTX-3"):
        State(bytes(15), RoundNumber(1), model_of(0)).context(params=PARAMS, layout=LAYOUT)


@pytest.mark.rule("ROU-1")
def test_a_state_is_a_value() -> None:
    """Equal by content, history included; what it was made from may change."""
    model, history = model_of(1.0), model_of(0.0)
    state = State(SESSION, RoundNumber(2), model, history)
    assert state == State(SESSION, RoundNumber(2), model.copy(), history.copy())
    for other in (
        State(SESSION, RoundNumber(3), model, history),
        State(SESSION, RoundNumber(2), model_of(2.0), history),
        State(SESSION, RoundNumber(2), model, model_of(2.0)),
        State(SESSION, RoundNumber(2), model),
        State(SESSION, RoundNumber(2), np.zeros(3, dtype=np.float32)),
    ):
        assert state != other
    model[:], history[:] = 5.0, 6.0
    assert state.model.tolist() == [1.0] * 7
    assert state.history is not None
    assert state.history.tolist() == [0.0] * 7
    with pytest.raises(ValueError, match="read-only"):
        state.model[0] = 1.0
