"""Elision: what everybody leaves out of a round, that nothing is lost by it, and that who sees it otherwise takes no part."""

import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rounds import held_by, record_of

from clip_ref import submodel
from clip_ref.elision import Part, Residual, check_schedule, left_out, settle
from clip_ref.errors import ContributionError, PreconditionError
from clip_ref.layout import Axis, Kept, Layer, Layout, Tensor, dense_chain
from clip_ref.messages import Open
from clip_ref.oracle.strategies import floats, kept_sets, layouts, models
from clip_ref.params import Params
from clip_ref.round import NO_JOURNAL, Client, Server, State
from clip_ref.values import ClientId, Floats, RoundNumber

CHAIN = dense_chain(3, 8, 5, 2)

SHARES = st.integers(0, 900)
EVERY = st.integers(2, 7)
ROUNDS = st.integers(1, 60).map(RoundNumber)


@st.composite
def parts(draw: st.DrawFn) -> Part:
    layout = draw(layouts())
    out = left_out(layout=layout, elide=draw(SHARES), every=draw(EVERY), round=draw(ROUNDS))
    return Part(layout, out)


@st.composite
def parts_and_models(draw: st.DrawFn) -> tuple[Part, Floats]:
    part = draw(parts())
    return part, draw(models(part.whole))


def vector(size: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


@pytest.mark.rule("ELI-1")
def test_which_neurons_are_left_out() -> None:
    """A quarter of eight and of five: two and one, the next ones after each whole round, none in a whole one."""
    out = [left_out(layout=CHAIN, elide=250, every=3, round=RoundNumber(i)) for i in range(1, 16)]
    assert [o["hidden1"].tolist() for o in out] == [
        *([[0, 1]] * 2 + [[]]),
        *([[2, 3]] * 2 + [[]]),
        *([[4, 5]] * 2 + [[]]),
        *([[6, 7]] * 2 + [[]]),
        *([[0, 1]] * 2 + [[]]),
    ]
    assert [o["hidden2"].tolist() for o in out[::3]] == [[0], [1], [2], [3], [4]]


@pytest.mark.rule("ELI-1")
def test_a_turn_goes_on_from_the_first_neuron_after_the_last() -> None:
    out = [left_out(layout=CHAIN, elide=400, every=2, round=RoundNumber(i))["hidden2"].tolist() for i in (1, 3, 5, 7)]
    assert out == [[0, 1], [2, 3], [0, 4], [1, 2]]


@pytest.mark.rule("ELI-1")
@given(layouts(), SHARES, EVERY, ROUNDS)
def test_everybody_comes_to_the_same_neurons_and_as_many(layout: Layout, elide: int, every: int, round: int) -> None:
    """Whatever model anybody has, whichever rounds it missed: layout, schedule and number settle it, and its size too."""
    out = left_out(layout=layout, elide=elide, every=every, round=RoundNumber(round))
    again = left_out(layout=attrs.evolve(layout), elide=elide, every=every, round=RoundNumber(round))
    assert {name: index.tolist() for name, index in out.items()} == {name: i.tolist() for name, i in again.items()}
    for layer in layout.layers:
        index = out[layer.name]
        assert index.dtype == np.int64
        assert index.tolist() == sorted(set(index.tolist()))
        expected = 0 if round % every == 0 else min(layer.neurons - 1, elide * layer.neurons // 1000)
        assert len(index) == expected
    first = Part(layout, left_out(layout=layout, elide=elide, every=every, round=RoundNumber(1)))
    assert Part(layout, out).size == (layout.size if round % every == 0 else first.size)


@pytest.mark.rule("ELI-2")
@given(layouts(), SHARES, EVERY, ROUNDS)
def test_every_coordinate_is_in_within_so_many_rounds(layout: Layout, elide: int, every: int, first: int) -> None:
    rounds = [left_out(layout=layout, elide=elide, every=every, round=RoundNumber(first + i)) for i in range(every)]
    assert np.logical_or.reduce([Part(layout, out).held for out in rounds]).all()


@pytest.mark.rule("ELI-2")
@given(st.integers(1, 40), SHARES, EVERY)
def test_every_neuron_is_left_out_in_its_turn(neurons: int, elide: int, every: int) -> None:
    """Over n/gcd(n, m) stretches each of n neurons, m of them out at a time, is left out as often as every other."""
    layout = dense_chain(1, neurons, 1)
    count, at_a_time = np.zeros(neurons, dtype=int), elide * neurons // 1000
    for stretch in range(neurons // math.gcd(neurons, at_a_time)):
        out = left_out(layout=layout, elide=elide, every=every, round=RoundNumber(stretch * every + 1))
        count[out["hidden1"]] += 1
    assert len(set(count.tolist())) == 1


@pytest.mark.rule("ELI-1")
@pytest.mark.parametrize(
    ("elide", "every", "problem"),
    [
        (-1, 4, "leaves out 0 … 900 ‰ of the neurons, got -1"),
        (901, 4, "got 901"),
        (100, 1, "every 2nd … 100th round is whole, got every 1th"),
        (0, 0, "got every 0th"),
        (100, 101, "got every 101th"),
    ],
)
def test_a_schedule_out_of_range_is_refused(elide: int, every: int, problem: str) -> None:
    for refused in (
        lambda: check_schedule(elide=elide, every=every),
        lambda: left_out(layout=CHAIN, elide=elide, every=every, round=RoundNumber(1)),
    ):
        with pytest.raises(PreconditionError, match=problem) as caught:
            refused()
        assert caught.value.rule == "ELI-1"


@pytest.mark.rule("ELI-1")
def test_rounds_begin_at_one() -> None:
    with pytest.raises(PreconditionError, match="ELI-1: rounds are numbered from 1, got 0"):
        left_out(layout=CHAIN, elide=100, every=4, round=RoundNumber(0))


@pytest.mark.rule("ELI-3")
@given(parts_and_models(), st.data())
def test_a_model_comes_back_as_it_was_where_it_was_left_out(case: tuple[Part, Floats], data: st.DataObject) -> None:
    part, model = case
    small = part.restrict(model)
    held = held_by(part.whole, part.within)
    assert small.tolist() == [w for w, here in zip(model.tolist(), held, strict=True) if here]
    assert part.rest(model).tolist() == [w for w, here in zip(model.tolist(), held, strict=True) if not here]
    assert small.size == part.size == part.layout(model).size
    new = data.draw(floats(small.size))
    after = part.returned(model=model, small=new)
    at = iter(new.tolist())
    expected = [next(at) if here else w for w, here in zip(model.tolist(), held, strict=True)]
    np.testing.assert_array_equal(after, np.array(expected, dtype=np.float32))
    np.testing.assert_array_equal(part.restrict(after), new)


@pytest.mark.rule("ELI-3")
@pytest.mark.parametrize("wrong", [np.zeros(CHAIN.size - 1, np.float32), np.zeros(CHAIN.size, np.float64)])
def test_another_model_s_weights_are_refused(wrong: Floats) -> None:
    part = Part(CHAIN, left_out(layout=CHAIN, elide=300, every=4, round=RoundNumber(1)))
    good = np.zeros(CHAIN.size, np.float32)
    refusing: list[Callable[[], object]] = [
        lambda: part.restrict(wrong),
        lambda: part.rest(wrong),
        lambda: part.returned(model=wrong, small=part.restrict(good)),
        lambda: part.returned(model=good, small=wrong),
    ]
    for refused in refusing:
        with pytest.raises(PreconditionError, match=r"ELI-3: the (round's )?model must be float32"):
            refused()


@pytest.mark.rule("ELI-4")
def test_a_round_s_layout_is_the_smaller_one() -> None:
    part = Part(CHAIN, left_out(layout=CHAIN, elide=250, every=4, round=RoundNumber(1)))
    layout, shrunk = part.layout(vector(CHAIN.size, 1)), CHAIN.shrunk(part.within)
    assert layout.layers == shrunk.layers
    assert layout.tensors[1:] == shrunk.tensors[1:]
    assert layout.tensors[0].axes == shrunk.tensors[0].axes
    name, digest = layout.tensors[0].name.split(" of ")
    assert name == shrunk.tensors[0].name
    assert len(bytes.fromhex(digest)) == 32
    whole = Part(CHAIN, left_out(layout=CHAIN, elide=250, every=4, round=RoundNumber(4)))
    assert whole.is_whole
    assert whole.layout(vector(CHAIN.size, 1)) is CHAIN


@pytest.mark.rule("ELI-4")
@given(st.integers(0, CHAIN.size - 1))
def test_what_is_bound_and_what_is_not(at: int) -> None:
    """Another rest is another layout; what the round is about is in the model's own digest, and changes from round to round."""
    part = Part(CHAIN, left_out(layout=CHAIN, elide=250, every=4, round=RoundNumber(1)))
    model = vector(CHAIN.size, 1)
    other = model.copy()
    other[at] += 1
    assert (part.layout(model).digest() == part.layout(other).digest()) == bool(part.held[at])


@pytest.mark.rule("ELI-4")
def test_other_neurons_or_another_model_s_layout_are_bound() -> None:
    model = np.zeros(CHAIN.size, np.float32)

    def of(layout: Layout, round: int) -> bytes:
        out = left_out(layout=layout, elide=250, every=4, round=RoundNumber(round))
        return Part(layout, out).layout(model).digest()

    renamed = attrs.evolve(CHAIN, tensors=(*CHAIN.tensors[:-1], attrs.evolve(CHAIN.tensors[-1], name="another")))
    assert len({of(CHAIN, 1), of(CHAIN, 5), of(renamed, 1)}) == 3
    assert of(CHAIN, 1) == of(CHAIN, 2)


def _client(part: Part, model: Floats, params: Params) -> Client:
    return Client(
        me=ClientId(0),
        params=params,
        layout=part.layout(model),
        record=record_of(1000),
        session=bytes(16),
        journal=NO_JOURNAL,
        history=None,
        entropy=bytes(32),
    )


@pytest.mark.rule("ELI-4")
@pytest.mark.parametrize("what", ["the same", "another round", "another rest", "nothing left out"])
def test_whoever_sees_the_round_otherwise_takes_no_part(what: str) -> None:
    params = Params(clients=4)
    model, number = vector(CHAIN.size, 1), RoundNumber(1)

    def part(round: int) -> Part:
        return Part(CHAIN, left_out(layout=CHAIN, elide=250, every=4, round=RoundNumber(round)))

    here = part(number)
    server = Server(params=params, layout=here.layout(model), state=State(bytes(16), number, here.restrict(model)))
    opening = server.open()
    assert isinstance(opening, Open)
    if what == "the same":
        _client(here, model, params).open(opening)
        return
    other = model.copy()
    other[~here.held] += 1
    client = {
        "another round": _client(part(5), model, params),
        "another rest": _client(here, other, params),
        "nothing left out": _client(part(4), model, params),
    }[what]
    with pytest.raises(ContributionError, match="ROU-4: the server, config: other parameters or another model layout"):
        client.open(opening)


@pytest.mark.rule("ELI-5")
@given(parts(), st.data())
def test_what_is_trained_and_what_is_sent(part: Part, data: st.DataObject) -> None:
    kept = data.draw(kept_sets(part.small))
    trained = part.trained(kept)
    for layer in part.whole.layers:
        mine = {int(part.within[layer.name][j]) for j in kept[layer.name]}
        assert trained[layer.name].tolist() == sorted(mine | set(part.out[layer.name].tolist()))
    sent = part.sent(kept)
    assert not (sent & ~part.held).any()
    assert not (sent & ~part.whole.held(trained)).any()
    assert sent[part.held].tolist() == held_by(part.small, kept)
    everything: Kept = part.small.full()
    assert part.sent(everything).tolist() == part.held.tolist()
    assert {name: len(index) for name, index in part.trained(everything).items()} == {
        layer.name: layer.neurons for layer in part.whole.layers
    }


@pytest.mark.rule("ELI-5")
@given(parts(), st.data())
def test_what_is_sent_has_the_order_of_the_round_s_sub_model(part: Part, data: st.DataObject) -> None:
    """The masked input takes a sub-model's update; what is sent of a whole vector is one, number for number."""
    kept = data.draw(kept_sets(part.small))
    numbered = np.arange(1, part.whole.size + 1, dtype=np.float32)
    sent, _ = settle(residual=np.zeros_like(numbered), update=numbered, sent=part.sent(kept))
    expected = submodel.extract(model=part.restrict(numbered), layout=part.small, kept=kept)
    np.testing.assert_array_equal(sent, expected)


@pytest.mark.rule("ELI-6")
@given(st.integers(1, 40), st.data())
def test_what_is_sent_and_what_is_kept_are_all_there_is(size: int, data: st.DataObject) -> None:
    residual, update = data.draw(floats(size)), data.draw(floats(size))
    sent = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    goes, stays = settle(residual=residual, update=update, sent=sent)
    together = stays.copy()
    assert not together[sent].any()
    together[sent] = goes
    np.testing.assert_array_equal(together, residual + update)
    assert goes.dtype == stays.dtype == np.float32


@pytest.mark.rule("ELI-6")
@given(parts(), EVERY, st.integers(0, 2**32 - 1))
def test_what_was_sent_of_all_rounds_is_what_was_trained(part: Part, every: int, seed: int) -> None:
    """Integers in floats, so that sums are exact: after a whole round nothing is left, and no round's change went twice."""
    layout, rng = part.whole, np.random.default_rng(seed)
    trained: Floats = np.zeros(layout.size, dtype=np.float32)
    residual = arrived = trained
    for number in range(1, 2 * every + 1):
        here = Part(layout, left_out(layout=layout, elide=400, every=every, round=RoundNumber(number)))
        update = rng.integers(-99, 100, layout.size).astype(np.float32)
        goes, residual = settle(residual=residual, update=update, sent=here.held)
        trained = trained + update
        arrived = here.returned(model=arrived, small=here.restrict(arrived) + goes)
        assert not residual[here.held].any()
    assert not residual.any()
    np.testing.assert_array_equal(arrived, trained)


@pytest.mark.rule("ELI-6")
def test_vectors_of_two_models_are_not_added() -> None:
    one, two = np.zeros(3, np.float32), np.zeros(4, np.float32)
    wrong: list[tuple[Any, Any, Any]] = [
        (one, two, np.zeros(4, bool)),
        (two, two, np.zeros(3, bool)),
        (two.astype(np.float64), two, np.zeros(4, bool)),
    ]
    for residual, update, sent in wrong:
        with pytest.raises(PreconditionError, match="ELI-6: residual, update and mask are of one model"):
            settle(residual=residual, update=update, sent=sent)


@given(st.lists(st.sampled_from([0.0, 0.0, 1.5, -2.0, 1e-40]), min_size=1, max_size=40))
def test_a_residual_is_stored_without_its_zeros(values: list[float]) -> None:
    flat = np.array(values, dtype=np.float32)
    stored = Residual.of(flat)
    np.testing.assert_array_equal(stored.flat(), flat)
    assert len(stored.values) == np.count_nonzero(flat)
    assert stored.where.nbytes == -(-len(values) // 8)


def test_axes_behind_a_flatten_boundary_and_stacked_gates_are_left_out_with_their_neurons() -> None:
    layout = Layout(
        tensors=(
            Tensor("kernel", (Axis(3, "channels"), Axis(2)), uses=4),
            Tensor("flat", (Axis(8, "units"), Axis(12, "channels", inner=4)), uses=1),
        ),
        layers=(Layer("channels", 3), Layer("units", 2)),
    )
    part = Part(layout, left_out(layout=layout, elide=500, every=4, round=RoundNumber(1)))
    assert {name: index.tolist() for name, index in part.out.items()} == {"channels": [0], "units": [0]}
    assert part.restrict(np.arange(layout.size, dtype=np.float32)).tolist() == [
        *(2, 3, 4, 5),
        *(6 + 12 * gate + at for gate in (1, 3, 5, 7) for at in range(4, 12)),
    ]
