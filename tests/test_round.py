"""The round: that the sum is exact whoever vanishes, that both machines refuse what is out of order, and what it costs."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plain import digest, le
from rounds import (
    GRID,
    LAYOUT,
    InTransit,
    client_of,
    clients_of,
    held_by,
    models,
    params_of,
    plain_inputs,
    plain_sum,
    policy_of,
    record_of,
    state_of,
    time_of,
    train,
    update_of,
    walk,
    weight_of,
)
from strategies import rosters

from clip_ref.canonical import model_digest
from clip_ref.errors import SERVER, ClipError, ContributionError, ParameterError, PreconditionError, RoundAborted
from clip_ref.identification import Reason
from clip_ref.keys import LOW_ORDER
from clip_ref.layout import dense_chain
from clip_ref.messages import (
    Advertise,
    Announce,
    ClientMessage,
    Deliver,
    Envelope,
    MaskedInput,
    Open,
    Roster,
    ShareKeys,
    Unmask,
)
from clip_ref.params import NO_PRUNING, PAPER_POLICY, Mean, Params, PruningPolicy, Selection
from clip_ref.round import (
    LEGS,
    Assignment,
    Client,
    DropOut,
    Leg,
    LegCost,
    RoundResult,
    Server,
    State,
    Work,
    ids,
    run_round,
)
from clip_ref.transcript import Transcript
from clip_ref.values import NO_DIGEST, ClientId, Floats, RoundNumber
from clip_ref.wire import HEADER_BYTES

ME, PEER = ClientId(1), ClientId(2)
Drops = dict[ClientId, DropOut]


def everyone(params: Params) -> list[ClientId]:
    return list(ids(params.clients))


# What the sum comes to


def expected_sets(roster: tuple[ClientId, ...], drops: Drops) -> dict[str, list[ClientId]]:
    """U1, U2, U3, U5 from the definition: whose messages arrive, being alive."""
    out, alive = {}, list(roster)
    for leg, name in zip(LEGS, ("U1", "U2", "U3", "U5"), strict=True):
        gone = {u for u, drop in drops.items() if drop.leg is leg}
        out[name] = [u for u in alive if u not in gone or drops[u].after]
        alive = [u for u in alive if u not in gone]
    return out


@attrs.frozen
class Case:
    params: Params
    roster: tuple[ClientId, ...]
    slow: list[ClientId]
    drops: Drops

    def run(self) -> tuple[Server, RoundResult, dict[ClientId, Assignment]]:
        """And what everybody in U2 was to train, even those who vanished before they heard of it."""
        server = InTransit(params=self.params, layout=LAYOUT, state=state_of())
        clients = clients_of(self.params, self.roster, self.slow)
        result = run_round(server=server, clients=clients, train=train, drop_outs=self.drops)
        unaware = [u for u in result.u2 if u not in result.assignments]
        return server, result, {**result.assignments, **{u: clients[u].deliver(server.deliveries[u]) for u in unaware}}

    def check(self) -> tuple[Server, RoundResult, dict[ClientId, Assignment]]:
        """Run it, and compare the server's sum, its digest and the next model with what the clients put in."""
        server, result, assignments = self.run()
        inputs = plain_inputs(self.params, assignments)
        total = plain_sum(self.params, inputs, result.u3)
        assert server.total_unmasked.tolist() == total
        width = self.params.encoding.ring_bits // 8
        assert result.sum_digest == digest(b"sum", b"".join(le(value, width) for value in total))
        assert result.aggregate.weight == sum(weight_of(u) for u in result.u3)
        held = {u: held_by(LAYOUT, assignments[u].kept) for u in result.u3}
        steps = 2 ** (self.params.encoding.value_bits - 1) - 1
        following = []
        for j, w in enumerate(models()[0].tolist()):
            heavy = sum(weight_of(u) for u in result.u3 if held[u][j] or self.params.policy.mean is not Mean.LEVELS)
            mean = Fraction(sum(inputs[u][j] for u in result.u3), steps * heavy) if heavy else Fraction(0)
            following.append(float(np.float32(w + float(mean))))
        assert result.aggregate.model.tolist() == following
        return server, result, assignments


@st.composite
def cases(draw: st.DrawFn) -> Case:
    roster = draw(rosters(min_size=2, max_size=8))
    mean = draw(st.sampled_from(Mean))
    policy = policy_of(
        mean, draw(st.sampled_from(Selection)), blocks=draw(st.booleans()), holder_cap=draw(st.integers(1, 4))
    )
    params = params_of(
        policy,
        clients=len(roster) + draw(st.integers(0, 1)),
        threshold=draw(st.integers(2, max(2, len(roster) - 1))),
        bits=draw(st.sampled_from((32, 64))),
    )
    drop_outs = st.builds(DropOut, leg=st.sampled_from(Leg), after=st.booleans())
    unlucky = draw(st.lists(st.sampled_from(roster), max_size=len(roster) // 2, unique=True))
    slow = draw(st.lists(st.sampled_from(roster), max_size=len(roster), unique=True))
    return Case(params, roster, slow, {u: draw(drop_outs) for u in unlucky})


EXACT = Case(params_of(policy_of(), clients=6, threshold=3), tuple(ids(6)), [ClientId(u) for u in (1, 3, 4)], {})


@pytest.mark.rule("ROU-7", "ROU-11", "ROU-13", "ROU-14", "MSK-6", "AGG-3", "AGG-4")
@settings(max_examples=60)
@given(case=cases())
@example(case=EXACT)
def test_the_secure_sum_is_the_plain_sum_or_there_is_none(case: Case) -> None:
    """Any roster, any drop-outs: exactly Σ x_u over U3, computed apart; or an abort that says where and how many were left."""
    sets = expected_sets(case.roster, case.drops)
    short = [name for name, clients in sets.items() if len(clients) < case.params.threshold]
    if short:
        with pytest.raises(RoundAborted) as caught:
            case.run()
        error = caught.value
        assert (error.rule, error.stage, error.have, error.need) == (
            "ROU-11",
            short[0],
            len(sets[short[0]]),
            case.params.threshold,
        )
        return
    _, result, _ = case.check()
    assert {"U1": result.u1, "U2": result.u2, "U3": result.u3, "U5": result.u5} == {
        name: tuple(clients) for name, clients in sets.items()
    }
    assert result.faults == ()


@pytest.mark.rule("ROU-7", "ROU-11", "ROU-12", "MSK-6", "MSK-7")
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("mean", Mean)
@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("after", [False, True])
def test_several_drop_out_at_every_stage(leg: Leg, after: bool, mean: Mean, bits: int) -> None:
    """Two of six at once, one of them pruning; a third later on; four left to the end are exactly enough."""
    drops = {ClientId(0): DropOut(leg, after), ClientId(3): DropOut(leg, after)}
    case = Case(
        params_of(policy_of(mean), clients=6, threshold=4, bits=bits), tuple(ids(6)), [ClientId(1), ClientId(3)], drops
    )
    _, result, assignments = case.check()
    left = [u for u in ids(6) if u not in drops]
    assert [u for u in result.u5 if u not in drops] == left
    reached = [result.u1, result.u2, result.u3, result.u5]
    at = LEGS.index(leg)
    for number, clients in enumerate(reached):
        assert (len(clients) == 6) == (number < at or (number == at and after))
    if set(result.u2) == set(ids(6)):
        assert [assignments[u].verdict.keep for u in ids(6)] == [1000, 750, 1000, 750, 1000, 1000]


@pytest.mark.rule("ROU-11", "ROU-8")
@pytest.mark.parametrize(("leg", "stage"), list(zip(LEGS, ("U1", "U2", "U3", "U5"), strict=True)))
def test_below_the_threshold_nothing_is_revealed(leg: Leg, stage: str) -> None:
    """Three of six left where four are needed: a typed abort, no later message, and no sum."""
    drops = {ClientId(u): DropOut(leg, False) for u in (0, 2, 5)}
    case = Case(params_of(policy_of(), clients=6, threshold=4), tuple(ids(6)), [], drops)
    server = Server(params=case.params, layout=LAYOUT, state=state_of())
    transcript = Transcript()
    with pytest.raises(RoundAborted, match=f"ROU-11: round aborted at {stage}: 3 clients left, 4 needed"):
        run_round(
            server=server,
            clients=clients_of(case.params, case.roster),
            train=train,
            drop_outs=drops,
            observe=transcript.observe,
        )
    kinds = ["Open", "Advertise", "Roster", "ShareKeys", "Deliver", "MaskedInput", "Announce", "Unmask"]
    assert {e.kind for e in transcript.entries} == set(kinds[: 2 * LEGS.index(leg) + 2])
    assert not hasattr(server, "total_unmasked")
    for close in (server.close_advertise, server.close_share, server.close_input, server.close_unmask, server.open):
        with pytest.raises(PreconditionError, match="ROU-9"):
            close()


@pytest.mark.rule("ROU-8", "MSK-6")
def test_an_update_that_arrived_stays_in_the_sum() -> None:
    """Its sender vanished; t others give back its self mask. One that did not arrive is not in it, nor in the way."""
    drops = {ClientId(1): DropOut(Leg.INPUT, True), ClientId(2): DropOut(Leg.INPUT, False)}
    case = Case(params_of(policy_of(), clients=5, threshold=3), tuple(ids(5)), [], drops)
    _, result, _ = case.check()
    assert result.u3 == (0, 1, 3, 4)
    assert result.u5 == (0, 3, 4)


@pytest.mark.rule("AGG-6", "ROU-7")
@pytest.mark.parametrize("bits", [32, 64])
def test_unpruned_every_policy_gives_the_model_of_plain_secure_aggregation(bits: int) -> None:
    """Bit for bit, with drop-outs; `PAPER` and the default among the policies."""
    drops = {ClientId(4): DropOut(Leg.INPUT, False), ClientId(0): DropOut(Leg.UNMASK, False)}
    default = PruningPolicy()
    made = set()
    for policy in (
        NO_PRUNING,
        default,
        PAPER_POLICY,
        *(policy_of(mean, selection) for mean in Mean for selection in Selection),
    ):
        case = Case(params_of(policy, clients=5, threshold=3, bits=bits), tuple(ids(5)), [], drops)
        made.add(case.check()[1].aggregate.model.tobytes())
    assert len(made) == 1


@pytest.mark.rule("IDN-9", "ROU-13", "SEL-3", "SEL-4")
@pytest.mark.parametrize("selection", Selection)
@pytest.mark.parametrize("mean", Mean)
def test_stragglers_prune_and_all_definitions_work_together(mean: Mean, selection: Selection) -> None:
    """Three of eight, at two levels: their sub-models are smaller and nested, and the sum is exact."""
    slow = [ClientId(u) for u in (1, 4, 6)]
    case = Case(params_of(policy_of(mean, selection), clients=8, threshold=5), tuple(ids(8)), slow, {})
    _, result, _ = case.check()
    plans = [a.plan for a in result.assignments.values()]
    assert all(plan == plans[0] for plan in plans)
    assert {u: a.verdict.keep for u, a in result.assignments.items() if a.verdict.keep < 1000} == {
        1: 750,
        4: 500,
        6: 500,
    }
    for name in ("hidden1", "hidden2"):
        sets = [set(result.assignments[u].kept[name].tolist()) for u in slow]
        assert sets[1] == sets[2] <= sets[0]
        if selection is not Selection.STRICT:
            full = {"hidden1": 6, "hidden2": 4}[name]
            assert [len(kept) for kept in sets[:2]] == [full * 750 // 1000, full // 2]


@pytest.mark.rule("ROU-3", "ROU-15")
def test_a_round_is_a_function_of_its_entropy() -> None:
    """The same bytes from the same 32; other bytes, but the same sum, from others."""

    def run(seed: int) -> tuple[list[bytes | None], RoundResult]:
        params, transcript = params_of(policy_of()), Transcript(keep_bytes=True)
        server = Server(params=params, layout=LAYOUT, state=state_of())
        clients = clients_of(params, ids(5), [ClientId(1)], seed=seed)
        result = run_round(server=server, clients=clients, train=train, observe=transcript.observe)
        return [e.data for e in transcript.entries], result

    (first, one), (again, _), (others, two) = run(0), run(0), run(1)
    assert first == again
    same = [a == b for a, b in zip(first, others, strict=True)]
    assert same == [True] * 5 + [False] * 25 + [True] * 5 + [False] * 5  # `Open` and `Announce` hold no secrets
    assert one.sum_digest == two.sum_digest


# The client refuses


def other(context: Any, **changes: Any) -> Open:
    return Open(attrs.evolve(context, **changes))


def refused(client: Client, method: str, message: Any, rule: str, culprit: int, field: str) -> None:
    """It names the rule, whose fault it is and the field; and takes no further part, not even for the right message."""
    with pytest.raises(ContributionError) as caught:
        getattr(client, method)(message)
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == (rule, culprit, field)
    for step in ("open", "roster", "deliver", "masked_input", "unmask"):
        with pytest.raises(PreconditionError, match=f"ROU-3: client 1 expects nothing more, not {step}"):
            getattr(client, step)(message)


@pytest.mark.rule("ROU-4")
def test_open_with_other_parameters_is_refused() -> None:
    there = walk("advertise")
    for changed in (
        params_of(policy_of(Mean.DILUTE)),
        params_of(policy_of(), threshold=4),
        params_of(policy_of(), bits=64),
    ):
        announced = State.context(state_of(), params=changed, layout=LAYOUT)
        client = client_of(ME, there.params, record_of(500_000))
        refused(client, "open", Open(announced), "ROU-4", SERVER, "config")
    digit = there.open.context.config[:31] + bytes([there.open.context.config[31] ^ 1])
    refused(there.clients[ME], "open", other(there.open.context, config=digit), "ROU-4", SERVER, "config")


@pytest.mark.rule("ROU-4")
@pytest.mark.parametrize(
    ("last", "round", "good"), [(None, 1, True), (None, 0, False), (3, 4, True), (3, 3, False), (3, 2, False)]
)
def test_rounds_only_move_on(last: int | None, round: int, good: bool) -> None:
    there = walk("advertise")
    last_round = None if last is None else RoundNumber(last)
    client = client_of(ME, there.params, record_of(500_000), last_round=last_round)
    message = other(there.open.context, round=RoundNumber(round))
    if good:
        assert client.open(message).sender == ME
    else:
        refused(client, "open", message, "ROU-4", SERVER, "round")


@pytest.mark.rule("ROU-4", "IDN-9")
@pytest.mark.parametrize("history", ["none", "other", "right"])
def test_has_model_is_what_it_holds(history: str) -> None:
    """Whatever its record said before. Without the announced history a straggler keeps everything, and its peers know."""
    params = params_of(policy_of(), clients=4, threshold=2)
    held = {"none": None, "other": models()[0], "right": models()[1]}[history]
    clients = clients_of(params, ids(4), [ME])
    for claimed in (False, True):
        record = attrs.evolve(record_of(time_of(ME, True)), has_model=claimed)
        clients[ME] = client_of(ME, params, record, history=held)
        server = Server(params=params, layout=LAYOUT, state=state_of())
        result = run_round(server=server, clients=clients, train=train)
        verdict = result.assignments[PEER].plan.verdicts[ME]
        assert (verdict.keep, verdict.reason) == (
            (750, Reason.STRAGGLER) if history == "right" else (1000, Reason.NO_HISTORY)
        )
        clients = clients_of(params, ids(4), [ME])


def stranger(client: int, seed: int = 9) -> Advertise:
    params = params_of(policy_of())
    return client_of(ClientId(client), params, record_of(500_000), seed=seed).open(walk("advertise").open)


BAD_ROSTERS: dict[str, tuple[Callable[[tuple[Advertise, ...]], tuple[Advertise, ...]], str, int, str]] = {
    "descending": (lambda b: b[::-1], "MSG-2", SERVER, "roster"),
    "twice the same": (lambda b: (b[0], b[1], b[1], b[2], b[3]), "MSG-2", SERVER, "roster"),
    "the server's id": (lambda b: (*b[:4], attrs.evolve(b[4], sender=ClientId(SERVER))), "MSG-2", SERVER, "roster"),
    "below the threshold": (lambda b: b[:2], "ROU-5", SERVER, "roster"),
    "more than n": (lambda b: (*b, stranger(9)), "ROU-5", SERVER, "roster"),
    "without my key": (lambda b: (b[0], *b[2:]), "ROU-5", SERVER, "roster"),
    "with another key of mine": (lambda b: (b[0], stranger(1), *b[2:]), "ROU-5", SERVER, "roster"),
    "with my mask key changed": (
        lambda b: (b[0], attrs.evolve(b[1], mask_key=b[0].mask_key), *b[2:]),
        "ROU-5",
        SERVER,
        "roster",
    ),
    "a point of low order": (
        lambda b: (*b[:2], attrs.evolve(b[2], mask_key=sorted(LOW_ORDER)[1]), *b[3:]),
        "KEY-3",
        2,
        "mask_key",
    ),
    "a key not reduced": (
        lambda b: (*b[:2], attrs.evolve(b[2], channel_key=b"\xff" * 32), *b[3:]),
        "KEY-2",
        2,
        "channel_key",
    ),
    "one key for two uses": (
        lambda b: (*b[:2], attrs.evolve(b[2], mask_key=b[2].channel_key), *b[3:]),
        "MSG-1",
        2,
        "mask_key",
    ),
}


@pytest.mark.rule("ROU-5", "MSG-1", "MSG-2")
@pytest.mark.parametrize("name", BAD_ROSTERS)
def test_a_wrong_roster_is_refused(name: str) -> None:
    change, rule, culprit, field = BAD_ROSTERS[name]
    there = walk("share")
    refused(there.clients[ME], "roster", Roster(change(there.roster.bundles)), rule, culprit, field)


def flip(data: bytes, at: int = 5) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def swapped(envelopes: tuple[Envelope, ...]) -> tuple[Envelope, ...]:
    """The first two in each other's place."""
    first, second = envelopes[:2]
    return (attrs.evolve(second, peer=first.peer), attrs.evolve(first, peer=second.peer), *envelopes[2:])


def changed_model(model: Floats) -> Floats:
    out = model.copy()
    out[3] = np.nextafter(out[3], np.float32(9), dtype=np.float32)
    return out


BAD_DELIVERIES: dict[str, tuple[Callable[[Deliver], Deliver], str, int, str]] = {
    "descending": (lambda m: attrs.evolve(m, envelopes=m.envelopes[::-1]), "MSG-2", SERVER, "envelopes"),
    "twice the same": (lambda m: attrs.evolve(m, envelopes=m.envelopes[:1] * 3), "MSG-2", SERVER, "envelopes"),
    "from a stranger": (
        lambda m: attrs.evolve(m, envelopes=(*m.envelopes, attrs.evolve(m.envelopes[0], peer=ClientId(77)))),
        "ROU-6",
        SERVER,
        "envelopes",
    ),
    "from myself": (
        lambda m: attrs.evolve(m, envelopes=(m.envelopes[0], attrs.evolve(m.envelopes[0], peer=ME), *m.envelopes[1:])),
        "ROU-6",
        SERVER,
        "envelopes",
    ),
    "below the threshold": (lambda m: attrs.evolve(m, envelopes=m.envelopes[:1]), "ROU-6", SERVER, "envelopes"),
    "another model": (lambda m: attrs.evolve(m, model=changed_model(m.model)), "ROU-6", SERVER, "model"),
    "half a model": (lambda m: attrs.evolve(m, model=m.model[:-1]), "ROU-6", SERVER, "model"),
    "a model in float64": (lambda m: attrs.evolve(m, model=m.model.astype(np.float64)), "ROU-6", SERVER, "model"),
    "shares changed on the way": (
        lambda m: attrs.evolve(
            m,
            envelopes=(
                m.envelopes[0],
                attrs.evolve(m.envelopes[1], shares=flip(m.envelopes[1].shares)),
                *m.envelopes[2:],
            ),
        ),
        "KEY-6",
        2,
        "shares",
    ),
    "a record changed on the way": (
        lambda m: attrs.evolve(
            m,
            envelopes=(
                m.envelopes[0],
                attrs.evolve(m.envelopes[1], record=flip(m.envelopes[1].record)),
                *m.envelopes[2:],
            ),
        ),
        "KEY-6",
        2,
        "record",
    ),
    "two envelopes in each other's place": (
        lambda m: attrs.evolve(m, envelopes=swapped(m.envelopes)),
        "KEY-6",
        0,
        "shares",
    ),
}


@pytest.mark.rule("ROU-6", "MSG-2", "KEY-6")
@pytest.mark.parametrize("name", BAD_DELIVERIES)
def test_a_wrong_delivery_is_refused_before_training(name: str) -> None:
    change, rule, culprit, field = BAD_DELIVERIES[name]
    there = walk("input")
    refused(there.clients[ME], "deliver", change(there.deliver[ME]), rule, culprit, field)


@pytest.mark.rule("ROU-6", "CTX-4")
@pytest.mark.parametrize("what", ["round", "session", "to another", "own"])
def test_replayed_and_reflected_envelopes_are_refused(what: str) -> None:
    """Of another round or session with the very same keys; meant for somebody else; or its own, sent back."""
    there, state = walk("input"), state_of()
    message = there.deliver[ME]
    if what == "round":
        envelopes = walk("input", state=attrs.evolve(state, round=RoundNumber(4))).deliver[ME].envelopes
    elif what == "session":
        envelopes = walk("input", state=attrs.evolve(state, session=bytes(16))).deliver[ME].envelopes
    elif what == "to another":
        envelopes = (there.deliver[PEER].envelopes[0], *message.envelopes[1:])
    else:
        envelopes = (attrs.evolve(there.shares[ME].envelopes[0], peer=ClientId(0)), *message.envelopes[1:])
    refused(there.clients[ME], "deliver", attrs.evolve(message, envelopes=envelopes), "KEY-6", 0, "shares")


@pytest.mark.rule("ROU-6")
def test_a_model_that_is_not_finite_is_refused_even_if_announced() -> None:
    there = walk("advertise")
    model = models()[0].copy()
    model[0] = np.nan
    there.open = other(there.open.context, model=model_digest(model))
    roster = Roster(tuple(client.open(there.open) for client in there.clients.values()))
    sent = {u: client.roster(roster) for u, client in there.clients.items()}
    envelopes = tuple(attrs.evolve(next(e for e in sent[u].envelopes if e.peer == ME), peer=u) for u in sent if u != ME)
    refused(there.clients[ME], "deliver", Deliver(envelopes, model), "ROU-6", SERVER, "model")


@pytest.mark.rule("CTX-4", "ROU-6")
@pytest.mark.parametrize("what", ["model", "history", "session", "round", "directory"])
def test_a_victim_of_another_announcement_is_cut_off(what: str) -> None:
    """The server shows one client another model, history, session, …: its envelopes open nowhere, nor theirs at it."""
    there = walk("advertise")
    values: dict[str, Any] = {"session": bytes(16), "round": RoundNumber(9)}
    lie = other(there.open.context, **{what: values.get(what, b"?" * 32)})
    roster = Roster(tuple(c.open(lie if u == ME else there.open) for u, c in there.clients.items()))
    sent = {u: c.roster(roster) for u, c in there.clients.items()}

    def delivery(receiver: ClientId) -> Deliver:
        return Deliver(
            tuple(
                attrs.evolve(next(e for e in sent[u].envelopes if e.peer == receiver), peer=u)
                for u in sent
                if u != receiver
            ),
            models()[0],
        )

    if what == "model":
        refused(there.clients[ME], "deliver", delivery(ME), "ROU-6", SERVER, "model")
    else:
        refused(there.clients[ME], "deliver", delivery(ME), "KEY-6", 0, "shares")
    with pytest.raises(ContributionError) as caught:
        there.clients[PEER].deliver(delivery(PEER))
    assert (caught.value.rule, caught.value.culprit) == ("KEY-6", ME)


BAD_ANNOUNCEMENTS: dict[str, tuple[tuple[int, ...], str]] = {
    "descending": ((4, 3, 1, 0), "MSG-2"),
    "twice the same": ((0, 1, 1, 3), "MSG-2"),
    "not in U2": ((0, 1, 3, 5), "ROU-8"),
    "the server's id": ((0, 1, 3, SERVER), "MSG-2"),
    "without me": ((0, 3, 4), "ROU-8"),
    "below the threshold": ((0, 1), "ROU-8"),
    "nobody": ((), "ROU-8"),
}


@pytest.mark.rule("ROU-8", "MSG-2")
@pytest.mark.parametrize("name", BAD_ANNOUNCEMENTS)
def test_a_wrong_u3_is_refused_and_no_share_given_away(name: str) -> None:
    survivors, rule = BAD_ANNOUNCEMENTS[name]
    there = walk("unmask", without=lambda leg, u: leg == "input" and u == PEER)
    message = Announce(tuple(ClientId(u) for u in survivors))
    refused(there.clients[ME], "unmask", message, rule, SERVER, "survivors")


@pytest.mark.rule("ROU-3", "ROU-8")
def test_one_share_of_each_and_only_once() -> None:
    """Of b_v for U3, of the mask key for the one that dropped out; a second U3 gets no answer, nor the same one again."""
    there = walk("unmask", without=lambda leg, u: leg == "input" and u == PEER)
    answer = there.clients[ME].unmask(there.announce)
    assert [u for u, _ in answer.self_shares] == [0, 1, 3, 4]
    assert [u for u, _ in answer.key_shares] == [2]
    for again in (there.announce, Announce(tuple(ids(5)))):
        with pytest.raises(PreconditionError, match="ROU-3"):
            there.clients[ME].unmask(again)


STEPS = ("open", "roster", "deliver", "masked_input", "unmask")


@pytest.mark.rule("ROU-3")
def test_every_step_is_taken_once_and_in_order() -> None:
    """At any point every other call is refused, as the caller's mistake; and none of them disturbs the round."""
    there = walk("advertise", params=params_of(policy_of(), clients=3, threshold=2))
    client = there.clients[ME]

    def only(expected: str) -> None:
        for step in STEPS:
            if step != expected:
                with pytest.raises(PreconditionError, match=f"ROU-3: client 1 expects {expected}, not {step}"):
                    getattr(client, step)(None)

    only("open")
    adverts = [c.open(there.open) for c in there.clients.values()]
    only("roster")
    for advert in adverts:
        there.server.accept(advert)
    roster = there.server.close_advertise()
    for sent in [c.roster(roster) for c in there.clients.values()]:
        there.server.accept(sent)
    only("deliver")
    deliver = there.server.close_share()
    assignments = {u: c.deliver(deliver[u]) for u, c in there.clients.items()}
    only("masked_input")
    for u, update in train(assignments).items():
        there.server.accept(there.clients[u].masked_input(update))
    only("unmask")
    announce = there.server.close_input()
    for answer in [c.unmask(announce) for c in there.clients.values()]:
        there.server.accept(answer)
    only("nothing more")
    there.server.close_unmask()
    total = plain_sum(there.params, plain_inputs(there.params, assignments), ids(3))
    assert there.server.total_unmasked.tolist() == total


@pytest.mark.rule("ROU-3", "ROU-7", "COD-2")
def test_a_bad_update_may_be_replaced_but_a_good_one_not() -> None:
    there = walk("input", slow=[1])
    client = there.clients[ME]
    good = train({ME: client.deliver(there.deliver[ME])})[ME]
    nan = good.copy()
    nan[2] = np.nan
    bad_ones: list[tuple[Any, str]] = [
        (good[:-1], "ROU-7"),
        (np.zeros(LAYOUT.size, dtype=np.float32), "ROU-7"),
        (good.astype(np.float64), "ROU-7"),
        (good.reshape(1, -1), "ROU-7"),
        (nan, "COD-2"),
    ]
    for bad, rule in bad_ones:
        with pytest.raises(PreconditionError) as caught:
            client.masked_input(bad)
        assert caught.value.rule == rule
    client.masked_input(good)
    with pytest.raises(PreconditionError, match="ROU-3: client 1 expects unmask, not masked_input"):
        client.masked_input(good)


@pytest.mark.rule("ROU-3", "PAR-6")
def test_a_client_is_refused_at_construction() -> None:
    params = params_of(policy_of())
    for length in (0, 31, 33):
        with pytest.raises(PreconditionError, match="ROU-3: a round takes 32 bytes of entropy"):
            Client(
                me=ME,
                params=params,
                layout=LAYOUT,
                record=record_of(1),
                history=None,
                entropy=bytes(length),
            )
    for bad in (-1, SERVER, 2**32):
        with pytest.raises(ParameterError, match="PAR-6"):
            Client(
                me=ClientId(bad),
                params=params,
                layout=LAYOUT,
                record=record_of(1),
                history=None,
                entropy=bytes(32),
            )


# The server refuses


def rejected(server: Server, message: ClientMessage, field: str, rule: str = "ROU-10") -> None:
    with pytest.raises(ContributionError) as caught:
        server.accept(message)
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == (rule, message.sender, field)


@pytest.mark.rule("ROU-9", "ROU-10")
def test_messages_of_another_leg_are_refused() -> None:
    done = walk("end")
    messages: list[ClientMessage] = [done.adverts[ME], done.shares[ME], done.inputs[ME], done.unmasks[ME]]
    for leg, until in zip((*LEGS, None), ("advertise", "share", "input", "unmask", "end"), strict=True):
        there = walk(until)
        if leg is None:
            there.server.close_unmask()
        for message, own in zip(messages, LEGS, strict=True):
            if own is not leg:
                rejected(there.server, message, "kind")
        closes = (
            there.server.close_advertise,
            there.server.close_share,
            there.server.close_input,
            there.server.close_unmask,
        )
        for close, own in zip(closes, LEGS, strict=True):
            if own is not leg:
                with pytest.raises(PreconditionError, match="ROU-9"):
                    close()
        with pytest.raises(PreconditionError, match="ROU-9"):
            there.server.open()


@pytest.mark.rule("ROU-9")
def test_nothing_is_accepted_before_the_round_opens() -> None:
    server = Server(params=params_of(policy_of()), layout=LAYOUT, state=state_of())
    rejected(server, stranger(1), "kind")


@pytest.mark.rule("ROU-10")
def test_second_answers_and_answers_from_outside_are_refused() -> None:
    """And leave the server as it was: the sum is that of the first ones."""
    there = walk("share", without=lambda leg, u: leg == "advertise" and u == 4)
    outside = ClientId(4)
    sent = {u: there.clients[u].roster(there.roster) for u in ids(4)}
    rejected(there.server, attrs.evolve(sent[ME], sender=outside), "sender")
    for message in sent.values():
        there.server.accept(message)
        rejected(there.server, message, "sender")
    deliver = there.server.close_share()
    there.assignments = {u: there.clients[u].deliver(m) for u, m in deliver.items()}
    for u, update in train(there.assignments).items():
        masked = there.clients[u].masked_input(update)
        rejected(there.server, attrs.evolve(masked, sender=outside), "sender")
        there.server.accept(masked)
        rejected(there.server, masked, "sender")
        rejected(there.server, attrs.evolve(masked, vector=np.zeros_like(masked.vector)), "sender")
    announce = there.server.close_input()
    for u in ids(4):
        answer = there.clients[u].unmask(announce)
        rejected(there.server, attrs.evolve(answer, sender=outside), "sender")
        there.server.accept(answer)
        rejected(there.server, answer, "sender")
    there.server.close_unmask()
    inputs = plain_inputs(there.params, there.assignments)
    assert there.server.total_unmasked.tolist() == plain_sum(there.params, inputs, ids(4))


@pytest.mark.rule("ROU-10", "KEY-2", "KEY-3", "MSG-1")
def test_bad_keys_and_a_full_roster_are_refused() -> None:
    there = walk("advertise", params=params_of(policy_of(), clients=3, threshold=2))
    adverts = [c.open(there.open) for c in there.clients.values()]
    bad = adverts[1]
    rejected(there.server, attrs.evolve(bad, mask_key=sorted(LOW_ORDER)[0]), "mask_key", "KEY-3")
    rejected(there.server, attrs.evolve(bad, channel_key=bytes(31)), "channel_key", "KEY-2")
    rejected(there.server, attrs.evolve(bad, mask_key=bad.channel_key), "mask_key", "MSG-1")
    for advert in adverts:
        there.server.accept(advert)
        rejected(there.server, advert, "sender")
    rejected(there.server, stranger(9), "sender")
    assert [b.sender for b in there.server.close_advertise().bundles] == [0, 1, 2]


@pytest.mark.rule("ROU-10")
def test_wrong_envelopes_are_refused() -> None:
    there = walk("share")
    good = there.clients[ME].roster(there.roster)
    a, b, c, d = good.envelopes
    for envelopes in (
        (),
        (a, b, c),
        (a, b, d, c),
        (a, a, b, c, d),
        (a, b, c, attrs.evolve(d, peer=ClientId(9))),
        (a, b, c, attrs.evolve(d, peer=ME)),
        (a, b, c, attrs.evolve(d, shares=d.shares[:-1])),
        (a, b, c, attrs.evolve(d, record=d.record + b"0")),
        (a, b, c, attrs.evolve(d, shares=d.record, record=d.shares)),
    ):
        rejected(there.server, ShareKeys(ME, envelopes), "envelopes")
    there.server.accept(good)


@pytest.mark.rule("ROU-10")
def test_wrong_vectors_are_refused() -> None:
    there = walk("unmask", without=lambda leg, u: leg == "input" and u == ME)
    before = walk("input")
    message = before.clients[ME].masked_input(
        update_of(ME, sum(held_by(LAYOUT, before.clients[ME].deliver(before.deliver[ME]).kept)))
    )
    assert there.inputs[ME] == message  # the same entropy
    for vector in (
        message.vector[:-1],
        message.vector.astype("<u8"),
        message.vector.astype("<i4"),
        message.vector[None],
    ):
        rejected(before.server, MaskedInput(ME, vector), "vector")
    before.server.accept(message)


@pytest.mark.rule("ROU-10")
def test_shares_of_others_than_those_due_are_refused() -> None:
    there = walk("unmask", without=lambda leg, u: leg == "input" and u == PEER)
    good = there.clients[ME].unmask(there.announce)
    selfs, keys = good.self_shares, good.key_shares
    for bad, field in (
        (attrs.evolve(good, self_shares=selfs[:-1]), "self_shares"),
        (attrs.evolve(good, self_shares=selfs[::-1]), "self_shares"),
        (attrs.evolve(good, self_shares=(*selfs, *keys)), "self_shares"),
        (attrs.evolve(good, key_shares=()), "key_shares"),
        (attrs.evolve(good, key_shares=(*keys, *selfs[3:])), "key_shares"),
        (attrs.evolve(good, self_shares=keys, key_shares=selfs), "self_shares"),
    ):
        rejected(there.server, bad, field)
    there.server.accept(good)


# Faults on the way


def through(params: Params, drops: Drops | None = None, **change: Any) -> tuple[InTransit, RoundResult]:
    server = InTransit(params=params, layout=LAYOUT, state=state_of(), **change)
    clients = clients_of(params, everyone(params), [ClientId(3)])
    return server, run_round(server=server, clients=clients, train=train, drop_outs=drops or {})


@pytest.mark.rule("ROU-6", "ROU-14")
@pytest.mark.parametrize("part", ["shares", "record"])
def test_whose_envelope_is_corrupted_drops_out_and_the_round_goes_on(part: str) -> None:
    """The fault names the envelope's sender; its receiver has not trained, and is neither in the sum nor in its way."""

    def corrupted(messages: dict[ClientId, Deliver]) -> dict[ClientId, Deliver]:
        envelopes = list(messages[ME].envelopes)
        at = [e.peer for e in envelopes].index(PEER)
        changes: dict[str, Any] = {part: flip(getattr(envelopes[at], part))}
        envelopes[at] = attrs.evolve(envelopes[at], **changes)
        return messages | {ME: attrs.evolve(messages[ME], envelopes=tuple(envelopes))}

    params = params_of(policy_of())
    server, result = through(params, down=corrupted)
    (fault,) = result.faults
    assert (fault.rule, fault.culprit, fault.field) == ("KEY-6", PEER, part)
    assert (result.u2, result.u3, result.u5) == ((0, 1, 2, 3, 4), (0, 2, 3, 4), (0, 2, 3, 4))
    assert ME not in result.assignments
    inputs = plain_inputs(params, result.assignments)
    assert server.total_unmasked.tolist() == plain_sum(params, inputs, result.u3)
    assert result.aggregate.slots == (
        weight_of(ClientId(0)) + weight_of(PEER) + weight_of(ClientId(4)),
        weight_of(ClientId(3)),
        0,
    )


@pytest.mark.rule("ROU-10", "ROU-14")
def test_whose_message_is_refused_is_out_and_the_round_goes_on() -> None:
    """At the server's door, and already by the decoder."""

    def short(message: ClientMessage) -> ClientMessage:
        if isinstance(message, MaskedInput) and message.sender == ME:
            return attrs.evolve(message, vector=message.vector[:-1])
        return message

    params = params_of(policy_of())
    server, result = through(params, up=short)
    (fault,) = result.faults
    assert (fault.rule, fault.culprit, fault.field) == ("ROU-10", ME, "vector")
    assert result.u3 == (0, 2, 3, 4)
    total = plain_sum(params, plain_inputs(params, result.assignments), result.u3)
    assert server.total_unmasked.tolist() == total

    clients = clients_of(params, everyone(params))
    clients[ME] = client_of(ME, params, record_of(500_000, grid=(1000, 500)))  # a record for another grid
    result = run_round(server=Server(params=params, layout=LAYOUT, state=state_of()), clients=clients, train=train)
    (fault,) = result.faults
    assert (fault.rule, fault.culprit, fault.field) == ("WIR-3", ME, "record")
    assert (result.u1, result.u2) == ((0, 1, 2, 3, 4), (0, 2, 3, 4))
    assert result.costs[ME][Leg.SHARE].up_bytes == 0


@pytest.mark.rule("ROU-14")
def test_whose_training_fails_is_out_and_the_round_goes_on() -> None:
    params = params_of(policy_of())

    def all_but_one(assignments: Mapping[ClientId, Assignment]) -> Mapping[ClientId, Floats]:
        return {u: update for u, update in train(assignments).items() if u != ME}

    server = Server(params=params, layout=LAYOUT, state=state_of())
    result = run_round(server=server, clients=clients_of(params, everyone(params)), train=all_but_one)
    assert (result.u2, result.u3) == ((0, 1, 2, 3, 4), (0, 2, 3, 4))
    inputs = plain_inputs(params, result.assignments)
    assert server.total_unmasked.tolist() == plain_sum(params, inputs, result.u3)


@pytest.mark.rule("ROU-14")
def test_one_fault_too_many_ends_the_round() -> None:
    """A client whose envelopes open nowhere takes every peer along: at `basic` nothing but the abort stands against it."""

    def spoilt(messages: dict[ClientId, Deliver]) -> dict[ClientId, Deliver]:
        return {
            u: attrs.evolve(
                m,
                envelopes=tuple(attrs.evolve(e, shares=flip(e.shares)) if e.peer == ME else e for e in m.envelopes),
            )
            for u, m in messages.items()
        }

    with pytest.raises(RoundAborted, match="ROU-11: round aborted at U3: 1 clients left, 3 needed"):
        through(params_of(policy_of()), down=spoilt)


def wrong_share(holder: int, field: str) -> Callable[[ClientMessage], ClientMessage]:
    def change(message: ClientMessage) -> ClientMessage:
        if not isinstance(message, Unmask) or message.sender != holder:
            return message
        (owner, share), *rest = getattr(message, field)
        changes: dict[str, Any] = {field: ((owner, flip(share)), *rest)}
        return attrs.evolve(message, **changes)

    return change


@pytest.mark.rule("ROU-12")
def test_a_corrupt_share_of_a_mask_key_is_found() -> None:
    """The round fails and names the client whose key it is. A corrupt share that is not among the t in use harms nobody."""
    params, drops = params_of(policy_of()), {PEER: DropOut(Leg.INPUT, False)}
    for holder in (0, 1, 3):
        with pytest.raises(ContributionError) as caught:
            through(params, drops, up=wrong_share(holder, "key_shares"))
        assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("ROU-12", PEER, "mask_key")
    server, result = through(params, drops, up=wrong_share(4, "key_shares"))
    inputs = plain_inputs(params, result.assignments)
    assert server.total_unmasked.tolist() == plain_sum(params, inputs, result.u3)


@pytest.mark.rule("AGG-2")
def test_a_corrupt_share_of_a_self_mask_makes_the_weights_implausible() -> None:
    """At `basic` it is not named, but the sum is not taken for one: three random words of 32 bits would have to be small."""
    with pytest.raises(ContributionError) as caught:
        through(params_of(policy_of()), up=wrong_share(1, "self_shares"))
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("AGG-2", SERVER, "slots")


@pytest.mark.rule("ROU-13")
def test_weight_at_a_level_without_history_is_refused() -> None:
    """In the first round nobody can have pruned; a client moved its weight to another level all the same."""
    params = params_of(policy_of())

    def lying(message: ClientMessage) -> ClientMessage:
        if not isinstance(message, MaskedInput) or message.sender != ME:
            return message
        vector = message.vector.copy()
        vector[LAYOUT.size] -= np.uint32(weight_of(ME))
        vector[LAYOUT.size + 2] += np.uint32(weight_of(ME))
        return attrs.evolve(message, vector=vector)

    state = State(bytes(16), RoundNumber(1), models()[0])
    server = InTransit(params=params, layout=LAYOUT, state=state, up=lying)
    with pytest.raises(PreconditionError, match="ROU-13"):
        run_round(server=server, clients=clients_of(params, everyone(params)), train=train)
    _, result = through(params, up=lying)
    assert result.aggregate.slots[2] == weight_of(ME)


@pytest.mark.rule("ROU-9")
def test_what_the_server_announces() -> None:
    state = state_of()
    there = walk("advertise")
    assert there.open.context.model == model_digest(models()[0])
    assert there.open.context.history == model_digest(models()[1])
    assert there.open.context.round == state.round
    first = Server(params=there.params, layout=LAYOUT, state=State(bytes(16), RoundNumber(1), models()[0])).open()
    assert first.context.history == NO_DIGEST
    with pytest.raises(PreconditionError, match="ROU-1"):
        Server(params=there.params, layout=dense_chain(1, 2, 1), state=state)


# What it costs, in closed formulas


@pytest.mark.rule("ROU-15", "WIR-1", "PAD-1")
@pytest.mark.parametrize("mean", Mean)
@pytest.mark.parametrize("bits", [32, 64])
def test_costs(mean: Mean, bits: int) -> None:
    """n = 6 of 7, |U2| = 5, |U3| = 4, |U5| = 3, t = 3; client 1 keeps 750 ‰ under the means that let it."""
    drops = {
        ClientId(0): DropOut(Leg.SHARE, False),
        ClientId(2): DropOut(Leg.INPUT, False),
        ClientId(3): DropOut(Leg.INPUT, True),
    }
    case = Case(params_of(policy_of(mean), clients=7, threshold=3, bits=bits), tuple(ids(6)), [ME], drops)
    _, result, _ = case.check()
    n, u2, u3, gone, t, d = 6, 5, 4, 1, 3, LAYOUT.size
    record = 3 + 8 * 4 + 8 * len(GRID) + 4 + 32
    envelope, vector = 4 + (4 + 64 + 16) + (4 + record + 16), (d + len(GRID)) * bits // 8
    assert HEADER_BYTES == 4 + 2 + 1 + 16 + 8 + 4
    sent = {
        Leg.ADVERTISE: (4 * 32, 2 * 32),
        Leg.SHARE: (4 + n * 68, 4 + (n - 1) * envelope),
        Leg.INPUT: (4 + (u2 - 1) * envelope + 4 * d, vector),
        Leg.UNMASK: (4 + 4 * u3, 8 + 36 * (u3 + gone)),
    }
    for u in (ME, ClientId(4), ClientId(5)):
        assert result.assignments[u].verdict.keep == (750 if u == ME else 1000)
        length = sum(held_by(LAYOUT, result.assignments[u].kept))
        assert (length < d) == (u == ME)
        work = {
            Leg.ADVERTISE: Work(scalar_multiplications=2),
            Leg.SHARE: Work(
                scalar_multiplications=n - 1, shared_bytes=2 * 32 * n * t, sealed_bytes=(n - 1) * (64 + record)
            ),
            Leg.INPUT: Work(
                sealed_bytes=(u2 - 1) * (64 + record),
                hashed_bytes=4 * d,
                scored=d if u == ME or mean is Mean.HOLDER else 0,
            ),
            Leg.UNMASK: Work(),
        }
        masking = Work(scalar_multiplications=u2 - 1, mask_bytes=u2 * vector, coded=length)
        for leg in LEGS:
            down, up = (HEADER_BYTES + part for part in sent[leg])
            bare = Work() if leg is not Leg.INPUT else masking
            assert result.costs[u][leg] == LegCost(down_bytes=down, work=work[leg], masking=bare, up_bytes=up)
    assert [leg.value for leg in result.costs[ClientId(0)]] == ["advertise", "share"]
    assert result.costs[ClientId(0)][Leg.SHARE] == LegCost(down_bytes=HEADER_BYTES + sent[Leg.SHARE][0])
    assert result.server_work == Work(
        scalar_multiplications=gone + u3 * gone,
        mask_bytes=(u3 + u3 * gone) * vector,
        shared_bytes=32 * (u3 + gone) * t,
        scored=d if mean is Mean.LEVELS else 0,
        coded=d,
    )


@pytest.mark.rule("ROU-11")
def test_errors_read_as_one_line() -> None:
    error: ClipError = RoundAborted(rule="ROU-11", stage="U3", have=2, need=3, detail="nothing was revealed")
    assert str(error) == "ROU-11: round aborted at U3: 2 clients left, 3 needed; nothing was revealed"


@pytest.mark.rule("ROU-15")
def test_ids_are_a_roster() -> None:
    assert list(ids(3)) == [0, 1, 2]
