"""The round: that the sum is exact whoever vanishes, that both machines refuse what is out of order, and what it costs."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from plain import digest, le
from rounds import (
    GRID,
    LAYOUT,
    SESSION,
    InTransit,
    Walk,
    client_of,
    clients_of,
    directory_of,
    held_by,
    identity_of,
    legs_of,
    models,
    params_of,
    plain_inputs,
    plain_sum,
    policy_of,
    record_of,
    signed_again,
    state_of,
    time_of,
    train,
    update_of,
    walk,
    weight_of,
)

from clip_ref.agreement import record_commitment, seed_commitment, share_commitment, signed
from clip_ref.canonical import model_digest
from clip_ref.errors import SERVER, ClipError, ContributionError, ParameterError, PreconditionError, RoundAborted
from clip_ref.identification import Reason
from clip_ref.keys import LOW_ORDER, NO_IDENTITIES
from clip_ref.layout import dense_chain
from clip_ref.messages import (
    Advertise,
    Agreed,
    Announce,
    ClientMessage,
    Consistent,
    Deliver,
    Envelope,
    Header,
    MaskedInput,
    Open,
    Roster,
    ServerMessage,
    ShareKeys,
    Unmask,
)
from clip_ref.oracle.strategies import rosters
from clip_ref.params import NO_PRUNING, PAPER_POLICY, Mean, Params, PruningPolicy, Score, Selection
from clip_ref.round import Assignment, Client, DropOut, Leg, LegCost, RoundResult, Server, State, Work, ids, run_round
from clip_ref.round.client import past_rounds
from clip_ref.round.journal import NO_JOURNAL, MemoryJournal
from clip_ref.transcript import Transcript
from clip_ref.values import NO_DIGEST, ClientId, Digest, Floats, RoundNumber, Seed
from clip_ref.wire import HEADER_BYTES

ME, PEER = ClientId(1), ClientId(2)
BASIC, HARDENED = params_of(policy_of()), params_of(policy_of(), hardened=True)
WITHOUT_HISTORY: list[dict[str, Any]] = [
    {"score": Score.SIZE},
    {"selection": Selection.ORDERED},
    {"selection": Selection.PAPER, "threshold": 0},
]
LEVELS = pytest.mark.parametrize("params", [BASIC, HARDENED], ids=["basic", "hardened"])
Drops = dict[ClientId, DropOut]


def flip(data: bytes, at: int = 5) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def everyone(params: Params) -> list[ClientId]:
    return list(ids(params.clients))


def server_of(params: Params, roster: Sequence[ClientId] | None = None, state: State | None = None) -> Server:
    directory = directory_of(params, everyone(params) if roster is None else roster)
    return Server(params=params, layout=LAYOUT, state=state_of() if state is None else state, directory=directory)


# What the sum comes to


NAMES = {Leg.ADVERTISE: "U1", Leg.SHARE: "U2", Leg.INPUT: "U3", Leg.CONSISTENCY: "U4", Leg.UNMASK: "U5"}


def expected_sets(params: Params, roster: tuple[ClientId, ...], drops: Drops) -> dict[str, list[ClientId]]:
    """U1 … U5 from the definition: whose messages arrive, being alive."""
    out, alive = {}, list(roster)
    for leg in legs_of(params):
        gone = {u for u, drop in drops.items() if drop.leg is leg}
        out[NAMES[leg]] = [u for u in alive if u not in gone or drops[u].after]
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
        directory = directory_of(self.params, self.roster)
        server = InTransit(params=self.params, layout=LAYOUT, state=state_of(), directory=directory)
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
        mean,
        draw(st.sampled_from(Selection)),
        blocks=draw(st.booleans()),
        holder_cap=draw(st.integers(1, 4)),
        threshold=draw(st.sampled_from((0, 1000))),
    )
    clients = len(roster) + draw(st.integers(0, 1))
    majority = clients // 2 + (2 if policy.anonymity_blocks else 1)  # what level `hardened` asks of the threshold
    hardened = draw(st.booleans()) and majority <= clients
    least = majority if hardened else 2
    params = params_of(
        policy,
        clients=clients,
        threshold=draw(st.integers(least, max(least, len(roster) - 1))),
        bits=draw(st.sampled_from((32, 64))),
        hardened=hardened,
    )
    drop_outs = st.builds(DropOut, leg=st.sampled_from(legs_of(params)), after=st.booleans())
    unlucky = draw(st.lists(st.sampled_from(roster), max_size=len(roster) // 2, unique=True))
    slow = draw(st.lists(st.sampled_from(roster), max_size=len(roster), unique=True))
    return Case(params, roster, slow, {u: draw(drop_outs) for u in unlucky})


EXACT = Case(params_of(policy_of(), clients=6, threshold=3), tuple(ids(6)), [ClientId(u) for u in (1, 3, 4)], {})


@pytest.mark.rule("ROU-7", "ROU-11", "ROU-13", "ROU-14", "MSK-6", "AGG-3", "AGG-4")
@given(case=cases())
@example(case=EXACT)
def test_the_secure_sum_is_the_plain_sum_or_there_is_none(case: Case) -> None:
    """Any roster, any drop-outs: exactly Σ x_u over U3, computed apart; or an abort that says where and how many were left."""
    sets = expected_sets(case.params, case.roster, case.drops)
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
    found = {"U1": result.u1, "U2": result.u2, "U3": result.u3, "U4": result.u4, "U5": result.u5}
    assert found == {"U4": ()} | {name: tuple(clients) for name, clients in sets.items()}
    assert result.faults == ()


def stages() -> list[tuple[bool, Leg]]:
    return [(hardened, leg) for hardened in (False, True) for leg in legs_of(HARDENED if hardened else BASIC)]


@pytest.mark.rule("ROU-7", "ROU-11", "ROU-12", "MSK-6", "MSK-7")
@pytest.mark.parametrize(
    ("mean", "bits"), [(Mean.LEVELS, 32), (Mean.LEVELS, 64), (Mean.DILUTE, 32), (Mean.HOLDER, 64), (Mean.STRATA, 32)]
)
@pytest.mark.parametrize(("hardened", "leg"), stages())
@pytest.mark.parametrize("after", [False, True])
def test_several_drop_out_at_every_stage(hardened: bool, leg: Leg, after: bool, mean: Mean, bits: int) -> None:
    """Two of six at once, one of them pruning; those who are left are exactly enough."""
    drops = {ClientId(0): DropOut(leg, after), ClientId(3): DropOut(leg, after)}
    params = params_of(policy_of(mean), clients=6, threshold=4, bits=bits, hardened=hardened)
    case = Case(params, tuple(ids(6)), [ClientId(1), ClientId(3)], drops)
    _, result, assignments = case.check()
    reached = {
        NAMES[leg]: u for leg, u in zip(Leg, (result.u1, result.u2, result.u3, result.u4, result.u5), strict=True)
    }
    legs = legs_of(params)
    for number, each in enumerate(legs):
        at = legs.index(leg)
        whole = number < at or (number == at and after)
        assert reached[NAMES[each]] == (tuple(ids(6)) if whole else (1, 2, 4, 5))
    if set(result.u2) == set(ids(6)):
        assert [assignments[u].verdict.keep for u in ids(6)] == [1000, 750, 1000, 750, 1000, 1000]


@pytest.mark.rule("AGG-9", "IDN-12", "SEL-8", "ROU-7", "ROU-11")
@pytest.mark.parametrize("selection", [Selection.RANK, Selection.PAPER, Selection.ORDERED])
@pytest.mark.parametrize(("hardened", "leg"), stages())
@pytest.mark.parametrize("after", [False, True])
def test_blocks_take_turns_whoever_drops_out(hardened: bool, leg: Leg, after: bool, selection: Selection) -> None:
    """Two blocks of two, at two levels, and each loses one; slack comes from the records, which the server does not have."""
    slow = [ClientId(u) for u in (1, 3, 4, 6)]
    drops = {ClientId(4): DropOut(leg, after), ClientId(3): DropOut(leg, after)}
    policy = policy_of(Mean.STRATA, selection, blocks=True, spread=True, threshold=500)
    case = Case(params_of(policy, clients=8, threshold=6, hardened=hardened), tuple(ids(8)), slow, drops)
    _, result, assignments = case.check()
    if not set(slow) <= set(result.u2):
        return
    turns = {u: a.verdict.turn for u, a in assignments.items() if a.verdict.keep < 1000}
    assert turns == {1: (750, (500,)), 3: (750, (500,)), 4: (500, ()), 6: (500, ())}
    for name, size in (("hidden1", 6), ("hidden2", 4)):
        kept = [set(assignments[ClientId(u)].kept[name].tolist()) for u in (4, 6, 1, 3)]
        assert kept[0] == kept[1]
        assert kept[2] == kept[3]
        assert kept[0] | kept[2] == set(range(size))  # what the one block prunes, the other holds
        assert (len(kept[0]), len(kept[2])) == (size // 2, size * 750 // 1000)


@pytest.mark.rule("AGG-9", "AGG-6")
@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("cap", [1, 2, 64])
def test_strata_with_turns_that_overlap(spread: bool, cap: int) -> None:
    """Four stragglers, each by itself, prune more of a layer than there is: some neurons nobody of them holds."""
    slow = [ClientId(u) for u in (0, 2, 4, 6)]
    policy = policy_of(Mean.STRATA, spread=spread, holder_cap=cap)
    _, _, assignments = Case(params_of(policy, clients=8, threshold=5), tuple(ids(8)), slow, {}).check()
    aheads = [assignments[u].verdict.ahead for u in slow]
    assert aheads == ([(), (500,), (500, 500), (500, 500, 500)] if spread else [()] * 4)


@pytest.mark.rule("IDN-9", "ROU-13", "INV-9", "SEL-9")
@pytest.mark.parametrize("mean", Mean)
@pytest.mark.parametrize("more", WITHOUT_HISTORY)
def test_where_scores_take_no_history_stragglers_prune_without_one(mean: Mean, more: dict[str, Any]) -> None:
    """Neither the server nor anybody has one: the sum is exact, and some prune."""
    slow = [ClientId(1), ClientId(4)]
    params = params_of(policy_of(mean, **more))
    model, _ = models()
    server = Server(params=params, layout=LAYOUT, state=State(SESSION, RoundNumber(3), model, None))
    result = run_round(server=server, clients=clients_of(params, ids(5), slow, history=None), train=train)
    assert {u for u, a in result.assignments.items() if a.verdict.keep < 1000} == set(slow)
    inputs = plain_inputs(params, result.assignments)
    assert server.total_unmasked.tolist() == plain_sum(params, inputs, ids(5))


KINDS = [
    "Open",
    "Advertise",
    "Roster",
    "ShareKeys",
    "Deliver",
    "MaskedInput",
    "Announce",
    "Consistent",
    "Agreed",
    "Unmask",
]


@pytest.mark.rule("ROU-11", "ROU-8")
@pytest.mark.parametrize(("hardened", "leg"), stages())
def test_below_the_threshold_nothing_is_revealed(hardened: bool, leg: Leg) -> None:
    """Three of six left where four are needed: a typed abort, no later message, and no sum."""
    drops = {ClientId(u): DropOut(leg, False) for u in (0, 2, 5)}
    params = params_of(policy_of(), clients=6, threshold=4, hardened=hardened)
    server, transcript = server_of(params), Transcript()
    with pytest.raises(RoundAborted, match=f"ROU-11: round aborted at {NAMES[leg]}: 3 clients left, 4 needed"):
        run_round(
            server=server,
            clients=clients_of(params, ids(6)),
            train=train,
            drop_outs=drops,
            observe=transcript.observe,
        )
    kinds = KINDS if hardened else [*KINDS[:7], "Unmask"]
    assert {e.kind for e in transcript.entries} == set(kinds[: 2 * legs_of(params).index(leg) + 2])
    assert not hasattr(server, "total_unmasked")
    for close in (*closes(server), server.open):
        with pytest.raises(PreconditionError, match="ROU-9"):
            close()


def closes(server: Server) -> list[Callable[[], object]]:
    """In the order of `Leg`."""
    return [
        server.close_advertise,
        server.close_share,
        server.close_input,
        server.close_consistency,
        server.close_unmask,
    ]


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
    """Bit for bit, with drop-outs, at both levels; `PAPER` and the default among the policies."""
    drops = {ClientId(4): DropOut(Leg.INPUT, False), ClientId(0): DropOut(Leg.UNMASK, False)}
    made = set()
    policies = [policy_of(mean, selection) for mean in Mean for selection in Selection]
    policies += [policy_of(mean, spread=True) for mean in Mean if mean is not Mean.LEVELS]
    for policy in (NO_PRUNING, PruningPolicy(), PAPER_POLICY, *policies):
        params = params_of(policy, bits=bits, hardened=policy in policies[::2])
        made.add(Case(params, tuple(ids(5)), [], drops).check()[1].aggregate.model.tobytes())
    assert len(made) == 1


@pytest.mark.rule("IDN-9", "ROU-13", "SEL-3", "SEL-4")
@pytest.mark.parametrize("selection", Selection)
@pytest.mark.parametrize("mean", Mean)
def test_stragglers_prune_and_all_definitions_work_together(mean: Mean, selection: Selection) -> None:
    """Three of eight, at two levels: their sub-models are smaller and nested, and the sum is exact. With `paper`, all of it is
    slack, which the server has to draw alike under `levels`."""
    slow = [ClientId(u) for u in (1, 4, 6)]
    policy = policy_of(mean, selection, threshold=0 if selection is Selection.PAPER else 1000)
    case = Case(params_of(policy, clients=8, threshold=5), tuple(ids(8)), slow, {})
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
@LEVELS
def test_a_round_is_a_function_of_its_entropy(params: Params) -> None:
    """The same bytes from the same 32; other bytes, but the same sum, from others."""

    def run(seed: int) -> tuple[list[bytes | None], list[str], RoundResult]:
        transcript = Transcript(keep_bytes=True)
        clients = clients_of(params, ids(5), [ClientId(1)], seed=seed)
        result = run_round(server=server_of(params), clients=clients, train=train, observe=transcript.observe)
        return [e.data for e in transcript.entries], [e.kind for e in transcript.entries], result

    (first, kinds, one), (again, _, _), (others, _, two) = run(0), run(0), run(1)
    assert first == again
    same = {kind for kind, a, b in zip(kinds, first, others, strict=True) if a == b}
    assert same == {"Open", "Announce"}  # which depend on no secret
    assert one.sum_digest == two.sum_digest


# The client refuses


STEPS = ("open", "roster", "deliver", "masked_input", "announce", "agreed")


def other(context: Any, **changes: Any) -> Open:
    return Open(attrs.evolve(context, **changes))


def refused(client: Client, step: str, message: ServerMessage, rule: str, culprit: int, field: str) -> None:
    """It names the rule, whose fault it is and the field; and takes no further part, not even for the right message. Only an
    `Open` that is refused uses nothing up."""
    with pytest.raises(ContributionError) as caught:
        getattr(client, step)(message)
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == (rule, culprit, field)
    for later in STEPS[STEPS.index(step) + (step == "open") :]:
        with pytest.raises(PreconditionError, match="ROU-3: client 1 expects"):
            getattr(client, later)(update_of(ME, LAYOUT.size) if later == "masked_input" else message)


@pytest.mark.rule("ROU-4")
@LEVELS
def test_open_with_other_parameters_is_refused(params: Params) -> None:
    for changed in (
        attrs.evolve(params, policy=policy_of(Mean.DILUTE)),
        attrs.evolve(params, threshold=4, min_survivors=4),
        params_of(policy_of(), bits=64, hardened=params.hardened),
    ):
        directory = directory_of(params, everyone(params))
        announced = state_of().context(params=changed, layout=LAYOUT, directory=directory)
        refused(walk(Leg.ADVERTISE, params=params).clients[ME], "open", Open(announced), "ROU-4", SERVER, "config")
    there = walk(Leg.ADVERTISE, params=params)
    config = Digest(flip(there.open.context.config, at=31))
    refused(there.clients[ME], "open", other(there.open.context, config=config), "ROU-4", SERVER, "config")


@pytest.mark.rule("ROU-4", "KEY-8")
@LEVELS
def test_open_with_another_directory_is_refused(params: Params) -> None:
    there = walk(Leg.ADVERTISE, params=params)
    refused(there.clients[ME], "open", other(there.open.context, directory=b"?" * 32), "ROU-4", SERVER, "directory")


@pytest.mark.rule("ROU-4")
@pytest.mark.parametrize(
    ("last", "round", "session", "good"),
    [
        (None, 1, b"a" * 16, True),
        (None, 0, b"a" * 16, False),
        (3, 4, b"a" * 16, True),
        (3, 3, b"a" * 16, False),
        (3, 2, b"a" * 16, False),
        (3, 1, b"b" * 16, True),
    ],
)
def test_rounds_of_a_session_only_move_on(last: int | None, round: int, session: bytes, good: bool) -> None:
    there, journal = walk(Leg.ADVERTISE), MemoryJournal()
    if last is not None:
        client = client_of(ME, BASIC, record_of(500_000), journal=journal)
        client.open(other(there.open.context, session=b"a" * 16, round=RoundNumber(last)))
    client = client_of(ME, BASIC, record_of(500_000), journal=journal, seed=1)
    message = other(there.open.context, session=session, round=RoundNumber(round))
    if good:
        assert client.open(message).sender == ME
    else:
        refused(client, "open", message, "ROU-4", SERVER, "round")


@pytest.mark.rule("ROU-4", "ROU-3", "ROU-16")
@LEVELS
def test_an_open_that_is_refused_uses_nothing_up(params: Params) -> None:
    """Nothing is answered, written or derived; the client takes the right one afterwards, of the same round too, also after a
    restart, and says what it would have said at first."""
    there = walk(Leg.ADVERTISE, params=params)
    wrong = [other(there.open.context, **{field: Digest(b"?" * 32)}) for field in ("config", "directory")]
    wrong.append(other(there.open.context, round=RoundNumber(0)))
    if params.hardened:
        wrong.append(other(there.open.context, session=bytes(16)))
    directory, journal = directory_of(params, everyone(params)), MemoryJournal()
    record = record_of(time_of(ME, False), weight=weight_of(ME))
    client = client_of(ME, params, record, directory, journal=journal)
    begun = journal.entries()
    for _ in range(2):
        for message in wrong:
            with pytest.raises(ContributionError):
                client.open(message)
            with pytest.raises(PreconditionError, match="ROU-3: client 1 expects open"):
                client.roster(walk(Leg.SHARE, params=params).roster)
        assert journal.entries() == begun
        assert past_rounds(journal) == {}
        assert not hasattr(client, "_mask_secret")
        identity = identity_of(ME) if params.hardened else None
        client = Client.restored(
            me=ME,
            params=params,
            layout=LAYOUT,
            history=models()[1],
            journal=journal,
            identity=identity,
            directory=directory,
            session=SESSION,
        )
    assert client.open(there.open) == walk(Leg.SHARE, params=params).adverts[ME]
    assert past_rounds(journal) == {SESSION: 3}
    with pytest.raises(ContributionError, match="ROU-3"):
        client.open(wrong[0])  # now there is one that was taken


@pytest.mark.rule("ROU-22")
def test_at_hardened_a_client_is_of_one_session_and_has_a_journal_or_none_knowingly() -> None:
    known: dict[str, Any] = {
        "params": HARDENED,
        "identity": identity_of(ME),
        "directory": directory_of(HARDENED, everyone(HARDENED)),
    }
    assert made(**known).me == ME
    with pytest.raises(PreconditionError, match="ROU-22: security level `hardened` takes the session"):
        made(**known, session=None)
    with pytest.raises(PreconditionError, match="ROU-22: security level `hardened` takes a journal, or NO_JOURNAL"):
        made(**known, journal=None)
    for session in (b"", bytes(15), bytes(17)):
        for more in (known, {}):
            with pytest.raises(PreconditionError, match="CTX-3: a session id is 16 bytes"):
                made(**more, session=session)
    context = walk(Leg.ADVERTISE, params=HARDENED).open.context
    refused(made(**known), "open", other(context, session=bytes(16)), "ROU-22", SERVER, "session")
    assert made(**known, journal=MemoryJournal()).open(Open(context)) == made(**known).open(Open(context))


@pytest.mark.rule("ROU-22")
def test_at_basic_any_session_will_do_unless_one_is_named() -> None:
    context = walk(Leg.ADVERTISE).open.context
    for session in (SESSION, bytes(16)):
        assert made().open(other(context, session=session)).sender == ME
    refused(made(session=SESSION), "open", other(context, session=bytes(16)), "ROU-22", SERVER, "session")


@pytest.mark.rule("ROU-23", "ROU-3")
@LEVELS
def test_the_same_entropy_under_another_announcement_gives_other_secrets(params: Params) -> None:
    """Every field of the context counts: keys, b_u, shares, the record's random bytes; under the same one all are the same."""
    context = walk(Leg.ADVERTISE, params=params).open.context
    announced: list[dict[str, Any]] = [
        {},
        {"session": b"another session."},
        {"round": RoundNumber(4)},
        {"model": Digest(b"m" * 32)},
        {"history": Digest(b"h" * 32)},
        {"target": 7},
    ]

    def secrets(changes: dict[str, Any]) -> list[bytes]:
        record = record_of(time_of(ME, False), weight=weight_of(ME))
        session = changes.get("session", SESSION)
        client = client_of(ME, params, record, directory_of(params, everyone(params)), session=session)
        client.open(other(context, **changes))
        purposes = ("mask key shares", "self mask shares")
        return [
            client._channel_secret.data,
            client._mask_secret.data,
            client._self_seed.data,
            client._record.entropy,
            *(client._draw(purpose) for purpose in purposes),
        ]

    found = [secret for changes in announced for secret in secrets(changes)]
    assert len(set(found)) == 6 * len(announced)
    assert secrets({}) == found[:6]


@pytest.mark.rule("ROU-23", "RND-1")
def test_a_clients_secrets_are_pinned() -> None:
    """HKDF-SHA256 worked out by the standard library: salt ctx₀, the purpose's label and the id in the info."""
    there = walk(Leg.SHARE)
    client, ctx0 = there.clients[ME], there.open.context.ctx0()
    entropy = digest(b"test entropy", le(0, 8), le(ME, 4))
    extracted = hmac.digest(ctx0, entropy, "sha256")
    for use, found in (("channel key", client._channel_secret.data), ("self mask seed", client._self_seed.data)):
        label = b"clip-ref/v1/client " + use.encode()
        info = le(len(label), 4) + label + le(ME, 4)
        assert found == hmac.digest(extracted, info + b"\x01", "sha256")


@pytest.mark.rule("ROU-4", "IDN-9")
@pytest.mark.parametrize("history", ["none", "other", "right"])
@LEVELS
def test_has_model_is_what_it_holds(history: str, params: Params) -> None:
    """Whatever its record said before. Without the announced history a straggler keeps everything, and its peers know."""
    held = {"none": None, "other": models()[0], "right": models()[1]}[history]
    for claimed in (False, True):
        clients = clients_of(params, ids(5), [ME])
        record = attrs.evolve(record_of(time_of(ME, True)), has_model=claimed)
        clients[ME] = client_of(ME, params, record, directory_of(params, ids(5)), history=held)
        result = run_round(server=server_of(params), clients=clients, train=train)
        verdict = result.assignments[PEER].plan.verdicts[ME]
        assert (verdict.keep, verdict.reason) == (
            (750, Reason.STRAGGLER) if history == "right" else (1000, Reason.NO_HISTORY)
        )


def stranger(client: int, seed: int = 9) -> Advertise:
    return client_of(ClientId(client), BASIC, record_of(500_000), seed=seed).open(walk(Leg.ADVERTISE).open)


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
@LEVELS
def test_a_wrong_roster_is_refused(name: str, params: Params) -> None:
    change, rule, culprit, field = BAD_ROSTERS[name]
    there = walk(Leg.SHARE, params=params)
    refused(there.clients[ME], "roster", Roster(change(there.roster.bundles)), rule, culprit, field)


@pytest.mark.rule("ROU-5", "AGR-4", "AGR-5", "KEY-9")
@pytest.mark.parametrize("field", [f.name for f in attrs.fields(Advertise)][1:])
def test_a_bundle_that_its_sender_did_not_sign_is_refused(field: str) -> None:
    """Another one's key, commitment or signature in its place: the server can replace nothing."""
    there = walk(Leg.SHARE, params=HARDENED)
    bundles = list(there.roster.bundles)
    taken: dict[str, Any] = {field: getattr(bundles[3], field)}
    bundles[PEER] = attrs.evolve(bundles[PEER], **taken)
    refused(there.clients[ME], "roster", Roster(tuple(bundles)), "KEY-9", PEER, "signature")


@pytest.mark.rule("ROU-5", "KEY-8")
def test_a_roster_with_an_id_that_the_directory_lacks_is_the_servers_fault() -> None:
    there = walk(Leg.SHARE, params=HARDENED)
    bundles = there.roster.bundles
    made_up = attrs.evolve(bundles[4], sender=ClientId(8194))
    refused(there.clients[ME], "roster", Roster((*bundles[:4], made_up)), "ROU-5", SERVER, "roster")


@pytest.mark.rule("ROU-5", "AGR-4", "CTX-3")
def test_a_bundle_of_another_round_is_refused() -> None:
    """A replay; and the very bundle of this round, signed by its owner for the next."""
    later = walk(Leg.SHARE, params=HARDENED, state=state_of(round=4))
    there = walk(Leg.SHARE, params=HARDENED)
    bundles = list(there.roster.bundles)
    assert later.roster.bundles[PEER].mask_key != bundles[PEER].mask_key
    bundles[PEER] = later.roster.bundles[PEER]
    refused(there.clients[ME], "roster", Roster(tuple(bundles)), "KEY-9", PEER, "signature")
    there = walk(Leg.SHARE, params=HARDENED)
    bundles[PEER] = signed(
        message=there.roster.bundles[PEER],
        header=Header(SESSION, RoundNumber(4), PEER),
        context=later.open.context.ctx0(),
        secret=identity_of(PEER),
    )
    refused(there.clients[ME], "roster", Roster(tuple(bundles)), "KEY-9", PEER, "signature")


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
@LEVELS
def test_a_wrong_delivery_is_refused_before_training(name: str, params: Params) -> None:
    change, rule, culprit, field = BAD_DELIVERIES[name]
    there = walk(Leg.INPUT, params=params)
    refused(there.clients[ME], "deliver", change(there.deliver[ME]), rule, culprit, field)


@pytest.mark.rule("ROU-6", "AGR-1", "AGR-3")
@pytest.mark.parametrize("what", ["key share", "self share", "record", "commitments"])
def test_what_a_peer_did_not_commit_to_is_refused(what: str) -> None:
    """It seals another share or record than it committed to, or the commitments were changed on the way."""
    there = walk(Leg.SHARE, params=HARDENED)
    liar = there.clients[PEER]
    if what == "record":
        liar._record = attrs.evolve(liar._record, weight=9)
    sent = {u: client.roster(there.roster) for u, client in there.clients.items()}
    at = [e.peer for e in sent[PEER].envelopes].index(ME)
    envelope = sent[PEER].envelopes[at]
    if what == "commitments":
        envelope = attrs.evolve(envelope, commitments=flip(envelope.commitments, at=40))
    elif what != "record":
        first, second = envelope.commitments[:32], envelope.commitments[32:]
        wrong = share_commitment(share=bytes(32), secret="mask key", owner=PEER, holder=ME, ctx=there.server._ctx)
        envelope = attrs.evolve(envelope, commitments=wrong + second if what == "key share" else first + wrong)
    envelopes = {u: next(e for e in sent[u].envelopes if e.peer == ME) for u in sent if u != ME} | {PEER: envelope}
    message = Deliver(tuple(attrs.evolve(envelopes[u], peer=u) for u in sorted(envelopes)), models()[0])
    refused(there.clients[ME], "deliver", message, "ROU-6", PEER, "record" if what == "record" else "shares")


@pytest.mark.rule("ROU-6", "CTX-4")
@pytest.mark.parametrize("what", ["round", "session", "to another", "own"])
@LEVELS
def test_replayed_and_reflected_envelopes_are_refused(
    what: str, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another round or session with the very same keys; meant for somebody else; or its own, sent back."""
    monkeypatch.setattr(Client, "_draw", draw_from_entropy_alone)
    there, state = walk(Leg.INPUT, params=params), state_of()
    message = there.deliver[ME]
    if what == "round":
        envelopes = (
            walk(Leg.INPUT, params=params, state=attrs.evolve(state, round=RoundNumber(4))).deliver[ME].envelopes
        )
    elif what == "session":
        envelopes = walk(Leg.INPUT, params=params, state=attrs.evolve(state, session=bytes(16))).deliver[ME].envelopes
    elif what == "to another":
        envelopes = (there.deliver[PEER].envelopes[0], *message.envelopes[1:])
    else:
        envelopes = (attrs.evolve(there.shares[ME].envelopes[0], peer=ClientId(0)), *message.envelopes[1:])
    refused(there.clients[ME], "deliver", attrs.evolve(message, envelopes=envelopes), "KEY-6", 0, "shares")


def draw_from_entropy_alone(client: Client, purpose: str) -> bytes:
    """Without ROU-23: the same keys in every round, to see what the contexts are worth by themselves."""
    return digest(client._entropy, purpose.encode())


def relayed(sent: Mapping[ClientId, ShareKeys], receiver: ClientId, model: Floats) -> Deliver:
    """What the server makes of the envelopes for one receiver."""
    return Deliver(
        tuple(
            attrs.evolve(next(e for e in sent[u].envelopes if e.peer == receiver), peer=u)
            for u in sent
            if u != receiver
        ),
        model,
    )


@pytest.mark.rule("ROU-6")
def test_a_model_that_is_not_finite_is_refused_even_if_announced() -> None:
    there = walk(Leg.ADVERTISE)
    model = models()[0].copy()
    model[0] = np.nan
    message = other(there.open.context, model=model_digest(model))
    roster = Roster(tuple(client.open(message) for client in there.clients.values()))
    sent = {u: client.roster(roster) for u, client in there.clients.items()}
    refused(there.clients[ME], "deliver", relayed(sent, ME, model), "ROU-6", SERVER, "model")


@pytest.mark.rule("CTX-4", "ROU-6", "AGR-5")
@pytest.mark.parametrize("what", ["model", "history", "session", "round"])
@LEVELS
def test_a_victim_of_another_announcement_is_cut_off(what: str, params: Params) -> None:
    """The server shows one client another model, history, session or round: nothing of its opens anywhere, nor theirs at it."""
    there = walk(Leg.ADVERTISE, params=params)
    values: dict[str, Any] = {"session": bytes(16), "round": RoundNumber(9)}
    lie = other(there.open.context, **{what: values.get(what, b"?" * 32)})
    if params.hardened and what == "session":
        refused(there.clients[ME], "open", lie, "ROU-22", SERVER, "session")
        return
    roster = Roster(tuple(c.open(lie if u == ME else there.open) for u, c in there.clients.items()))
    if params.hardened:
        refused(there.clients[ME], "roster", roster, "KEY-9", 0, "signature")
        with pytest.raises(ContributionError) as caught:
            there.clients[PEER].roster(roster)
        assert (caught.value.rule, caught.value.culprit) == ("KEY-9", ME)
        return
    sent = {u: c.roster(roster) for u, c in there.clients.items()}
    if what == "model":
        refused(there.clients[ME], "deliver", relayed(sent, ME, models()[0]), "ROU-6", SERVER, "model")
    else:
        refused(there.clients[ME], "deliver", relayed(sent, ME, models()[0]), "KEY-6", 0, "shares")
    with pytest.raises(ContributionError) as caught:
        there.clients[PEER].deliver(relayed(sent, PEER, models()[0]))
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


def dropped_out(leg: Leg, client: ClientId) -> bool:
    return leg is Leg.INPUT and client == PEER


@pytest.mark.rule("ROU-8", "MSG-2")
@pytest.mark.parametrize("name", BAD_ANNOUNCEMENTS)
@LEVELS
def test_a_wrong_u3_is_refused_and_no_share_given_away(name: str, params: Params) -> None:
    survivors, rule = BAD_ANNOUNCEMENTS[name]
    there = walk(Leg.CONSISTENCY if params.hardened else Leg.UNMASK, params=params, without=dropped_out)
    message = Announce(tuple(ClientId(u) for u in survivors))
    refused(there.clients[ME], "announce", message, rule, SERVER, "survivors")


@pytest.mark.rule("ROU-3", "ROU-8")
@LEVELS
def test_one_share_of_each_and_only_once(params: Params) -> None:
    """Of b_v for U3, of the mask key for the one that dropped out; and no share for a second U3."""
    there = walk(Leg.UNMASK, params=params, without=dropped_out)
    client = there.clients[ME]
    answer = client.agreed(there.agreed) if params.hardened else client.announce(there.announce)
    assert isinstance(answer, Unmask)
    assert [u for u, _ in answer.self_shares] == [0, 1, 3, 4]
    assert [u for u, _ in answer.key_shares] == [2]
    again = client.agreed(there.agreed) if params.hardened else client.announce(there.announce)
    assert again == answer
    with pytest.raises(ContributionError) as caught:
        client.announce(Announce(tuple(ids(5))))
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("ROU-3", SERVER, "announce")


def signatures(there: Walk, *signers: int) -> tuple[tuple[ClientId, bytes], ...]:
    return tuple((ClientId(u), there.statements[ClientId(u)].signature) for u in signers)


def other_statement(there: Walk, signer: int) -> bytes:
    """Its signature on being told another U3."""
    said = attrs.evolve(there.statements[ClientId(signer)], statement=Digest(bytes(32)))
    signature: bytes = signed_again(there.server, said).signature
    return signature


BAD_AGREEMENTS: dict[str, tuple[Callable[[Walk], tuple[tuple[ClientId, bytes], ...]], str]] = {
    "below the threshold": (lambda there: signatures(there, 0, 3), "AGR-7"),
    "nobody": (lambda there: (), "AGR-7"),
    "not in U3": (lambda there: (*signatures(there, 0, 1), (PEER, bytes(64)), *signatures(there, 3)), "AGR-7"),
    "twice the same": (lambda there: signatures(there, 0, 1, 1, 3), "MSG-2"),
    "descending": (lambda there: signatures(there, 4, 3, 0), "MSG-2"),
    "on another statement": (
        lambda there: (*signatures(there, 0, 3), (ClientId(4), other_statement(there, 4))),
        "AGR-8",
    ),
    "of another signer": (
        lambda there: (*signatures(there, 0, 3), (ClientId(4), there.statements[ME].signature)),
        "AGR-8",
    ),
}


@pytest.mark.rule("ROU-8", "AGR-7", "AGR-8")
@pytest.mark.parametrize("name", BAD_AGREEMENTS)
def test_without_t_signatures_no_share_is_given_away(name: str) -> None:
    make, rule = BAD_AGREEMENTS[name]
    there = walk(Leg.UNMASK, params=HARDENED, without=dropped_out)
    refused(there.clients[ME], "agreed", Agreed(make(there)), rule, SERVER, "signatures")


@pytest.mark.rule("ROU-8", "ROU-10", "ROU-11", "AGR-6", "AGR-8")
def test_two_views_of_u3_come_to_nothing() -> None:
    """Half are told of a smaller U3: the server has t signatures on neither, and no client takes one for the other."""
    params = params_of(policy_of(), clients=6, threshold=4, hardened=True)
    there = walk(Leg.CONSISTENCY, params=params)
    smaller = Announce(tuple(u for u in ids(6) if u != PEER))
    statements = {}
    for u in ids(6):
        answer = there.clients[u].announce(smaller if u in (0, 1, 3) else there.announce)
        assert isinstance(answer, Consistent)
        statements[u] = answer
        if u in (0, 1, 3):
            rejected(there.server, answer, "statement")
        else:
            there.server.accept(answer)
    for u in (ClientId(0), ClientId(4)):
        message = Agreed(tuple((v, statements[v].signature) for v in ids(6) if v != PEER))
        with pytest.raises(ContributionError) as caught:
            there.clients[u].agreed(message)
        assert (caught.value.rule, caught.value.culprit) == ("AGR-8", SERVER)
    with pytest.raises(RoundAborted, match="ROU-11: round aborted at U4: 3 clients left, 4 needed"):
        there.server.close_consistency()


def questions(there: Walk) -> dict[str, Any]:
    """What each step of a client was given in a finished round."""
    asked = {
        "open": there.open,
        "roster": there.roster,
        "deliver": there.deliver[ME],
        "masked_input": train({ME: there.assignments[ME]})[ME],
        "announce": there.announce,
        "agreed": there.agreed,
    }
    return asked if there.params.hardened else {step: asked[step] for step in STEPS[:-1]}


@pytest.mark.rule("ROU-3")
@LEVELS
def test_every_step_is_taken_in_order_and_only_the_same_is_answered_again(params: Params) -> None:
    """At any point every later step is refused, as the caller's mistake; every earlier one repeats itself, byte for byte, and
    refuses another message. None of it disturbs the round."""
    asked, others = questions(walk(None, params=params, slow=[1])), questions(walk(None, params=params, seed=1))
    there = walk(Leg.ADVERTISE, params=params, slow=[1])
    client, answers = there.clients[ME], {}
    others["open"] = other(there.open.context, round=RoundNumber(99))
    others["announce"] = Announce(tuple(ids(4)))
    others["masked_input"] = asked["masked_input"] + np.float32(1)
    for at, step in enumerate(asked):
        for later in list(asked)[at + 1 :]:
            with pytest.raises(PreconditionError, match="ROU-3: client 1 expects"):
                getattr(client, later)(asked[later])
        answers[step] = getattr(client, step)(asked[step])
        for earlier in list(asked)[: at + 1]:
            assert getattr(client, earlier)(asked[earlier]) is answers[earlier]
            with pytest.raises(ClipError) as caught:
                getattr(client, earlier)(others[earlier])
            assert caught.value.rule == "ROU-3"
            if earlier == "masked_input":  # the only one that does not come from the server
                assert isinstance(caught.value, PreconditionError)
            else:
                assert isinstance(caught.value, ContributionError)
                assert (caught.value.culprit, caught.value.field) == (SERVER, earlier)
    assert isinstance(answers[STEPS[-1] if params.hardened else "announce"], Unmask)


@pytest.mark.rule("ROU-16", "ROU-3")
@LEVELS
def test_a_client_made_again_from_its_journal_says_the_same(params: Params) -> None:
    """After any step: what it has answered, what comes next, and nothing else."""
    whole = walk(None, params=params, slow=[1])
    asked, others = questions(whole), questions(walk(None, params=params, seed=1))
    others["announce"] = Announce(tuple(ids(4)))
    directory = directory_of(params, everyone(params))
    for steps in range(len(asked) + 1):
        journal = MemoryJournal()
        record = record_of(time_of(ME, True), weight=weight_of(ME))
        client = client_of(ME, params, record, directory, journal=journal)
        answers = {step: getattr(client, step)(asked[step]) for step in list(asked)[:steps]}
        again = Client.restored(
            me=ME,
            params=params,
            layout=LAYOUT,
            history=models()[1],
            journal=journal,
            identity=identity_of(ME) if params.hardened else None,
            directory=directory,
            session=SESSION,
        )
        for step in list(asked)[1:steps]:
            if step not in ("deliver", "open"):
                assert getattr(again, step)(asked[step]) == answers[step]
            if step != "masked_input":
                with pytest.raises(ContributionError, match="ROU-3"):
                    getattr(again, step)(others[step])
        for step in list(asked)[steps:]:
            answers[step] = getattr(again, step)(asked[step])
        assert answers["masked_input"] == whole.inputs[ME]
        assert answers[list(asked)[-1]] == whole.unmasks[ME]
        assert [step for step, _ in journal.entries()] == ["begin", *asked]


@pytest.mark.rule("ROU-16")
def test_a_journal_without_a_round_or_with_another_history_has_no_client() -> None:
    journal = MemoryJournal()
    with pytest.raises(PreconditionError, match="ROU-16: the journal has no round that has begun"):
        Client.restored(me=ME, params=BASIC, layout=LAYOUT, history=None, journal=journal)
    client_of(ME, BASIC, record_of(500_000), journal=journal)
    for history in (None, models()[0]):
        with pytest.raises(PreconditionError, match="ROU-16: client 1 began this round with another history model"):
            Client.restored(me=ME, params=BASIC, layout=LAYOUT, history=history, journal=journal)
    assert Client.restored(me=ME, params=BASIC, layout=LAYOUT, history=models()[1], journal=journal).me == ME


@pytest.mark.rule("ROU-16", "ROU-3")
def test_a_client_that_refused_a_message_refuses_it_after_a_restart_too() -> None:
    there, journal = walk(Leg.SHARE), MemoryJournal()
    client = client_of(ME, BASIC, record_of(500_000), journal=journal)
    advert = client.open(there.open)
    with pytest.raises(ContributionError):
        client.roster(Roster(there.roster.bundles[:2]))
    again = Client.restored(me=ME, params=BASIC, layout=LAYOUT, history=models()[1], journal=journal)
    assert again.open(there.open) == advert
    with pytest.raises(PreconditionError, match="ROU-3: client 1 expects nothing more, not roster"):
        again.roster(there.roster)


@pytest.mark.rule("ROU-3", "ROU-7", "COD-2")
@LEVELS
def test_a_bad_update_may_be_replaced_but_a_good_one_not(params: Params) -> None:
    there = walk(Leg.INPUT, params=params, slow=[1])
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
    answer = client.masked_input(good)
    assert client.masked_input(good.copy()) is answer
    with pytest.raises(PreconditionError, match="ROU-3: client 1 has sent another update in this round"):
        client.masked_input(good + np.float32(1))


def made(**changes: Any) -> Client:
    basis: dict[str, Any] = {"me": ME, "params": BASIC, "record": record_of(1), "history": None, "entropy": bytes(32)}
    if changes.get("params", BASIC).hardened:
        basis |= {"session": SESSION, "journal": NO_JOURNAL}
    return Client(layout=LAYOUT, **(basis | changes))


@pytest.mark.rule("ROU-3", "PAR-6")
def test_a_client_is_refused_at_construction() -> None:
    assert made().me == ME
    for length in (0, 31, 33):
        with pytest.raises(PreconditionError, match="ROU-3: a round takes 32 bytes of entropy"):
            made(entropy=bytes(length))
    for bad in (-1, SERVER, 2**32):
        with pytest.raises(ParameterError, match="PAR-6"):
            made(me=ClientId(bad))


@pytest.mark.rule("ROU-18")
def test_identities_go_with_the_security_level() -> None:
    """At `hardened` a client needs a signing key that the directory knows as its own, and the server the directory; at
    `basic` there are none."""
    directory = directory_of(HARDENED, ids(5))
    assert made(params=HARDENED, identity=identity_of(ME), directory=directory).me == ME
    for identity, known in ((None, directory), (identity_of(PEER), directory), (identity_of(ME), NO_IDENTITIES)):
        with pytest.raises(PreconditionError, match="ROU-18: client 1 needs a signing key"):
            made(params=HARDENED, identity=identity, directory=known)
    outside = directory_of(HARDENED, [ClientId(0), PEER])
    with pytest.raises(PreconditionError, match="ROU-18"):
        made(params=HARDENED, identity=identity_of(ME), directory=outside)
    for identity, known in ((identity_of(ME), directory), (None, directory), (identity_of(ME), NO_IDENTITIES)):
        with pytest.raises(PreconditionError, match="ROU-18: security level `basic` has no identities"):
            made(identity=identity, directory=known)
    for params, known in ((BASIC, directory), (HARDENED, NO_IDENTITIES)):
        with pytest.raises(PreconditionError, match="ROU-18"):
            Server(params=params, layout=LAYOUT, state=state_of(), directory=known)


# The server refuses


def rejected(server: Server, message: ClientMessage, field: str, rule: str = "ROU-10") -> None:
    with pytest.raises(ContributionError) as caught:
        server.accept(message)
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == (rule, message.sender, field)


@pytest.mark.rule("ROU-9", "ROU-10")
@LEVELS
def test_messages_of_another_leg_are_refused(params: Params) -> None:
    done, legs = walk(None, params=params), legs_of(params)
    messages: dict[Leg, ClientMessage] = {
        Leg.ADVERTISE: done.adverts[ME],
        Leg.SHARE: done.shares[ME],
        Leg.INPUT: done.inputs[ME],
        Leg.CONSISTENCY: done.statements.get(ME, Consistent(ME, Digest(bytes(32)))),
        Leg.UNMASK: done.unmasks[ME],
    }
    for leg in (*legs, None):
        there = walk(leg, params=params)
        if leg is None:
            there.server.close_unmask()
        for close, own in zip(closes(there.server), Leg, strict=True):
            if own is not leg:
                rejected(there.server, messages[own], "kind")
                with pytest.raises(PreconditionError, match="ROU-9"):
                    close()
        with pytest.raises(PreconditionError, match="ROU-9"):
            there.server.open()


@pytest.mark.rule("ROU-9")
def test_nothing_is_accepted_before_the_round_opens() -> None:
    rejected(server_of(BASIC), stranger(1), "kind")


@pytest.mark.rule("ROU-10")
@LEVELS
def test_second_answers_and_answers_from_outside_are_refused(params: Params) -> None:
    """And leave the server as it was: the sum is that of the first ones."""
    outside = ClientId(4)
    there = walk(Leg.SHARE, params=params, without=lambda leg, u: leg is Leg.ADVERTISE and u == outside)

    def hand_in(message: ClientMessage) -> None:
        rejected(there.server, attrs.evolve(message, sender=outside), "sender")
        there.server.accept(message)
        rejected(there.server, message, "sender")

    for message in [there.clients[u].roster(there.roster) for u in ids(4)]:
        hand_in(message)
    deliver = there.server.close_share()
    there.assignments = {u: there.clients[u].deliver(m) for u, m in deliver.items()}
    for u, update in train(there.assignments).items():
        masked = there.clients[u].masked_input(update)
        hand_in(masked)
        rejected(there.server, attrs.evolve(masked, vector=np.zeros_like(masked.vector)), "sender")
    announce = there.server.close_input()
    for u in ids(4):
        hand_in(there.clients[u].announce(announce))
    if params.hardened:
        agreed = there.server.close_consistency()
        for u in ids(4):
            hand_in(there.clients[u].agreed(agreed))
    there.server.close_unmask()
    inputs = plain_inputs(there.params, there.assignments)
    assert there.server.total_unmasked.tolist() == plain_sum(there.params, inputs, ids(4))


@pytest.mark.rule("ROU-10", "AGR-4", "AGR-5", "KEY-9")
@pytest.mark.parametrize("leg", Leg)
def test_every_message_must_be_signed_by_its_sender(leg: Leg) -> None:
    """Without a signature, with another's, with that of another round, or changed after it: refused, and the right one is
    still taken."""
    there = walk(leg, params=HARDENED)
    later = walk(None, params=HARDENED, state=state_of(round=4))

    def answer(u: ClientId) -> ClientMessage:
        client = there.clients[u]
        if leg is Leg.ADVERTISE:
            return client.open(there.open)
        if leg is Leg.SHARE:
            return client.roster(there.roster)
        if leg is Leg.INPUT:
            return client.masked_input(train({u: client.deliver(there.deliver[u])})[u])
        return client.announce(there.announce) if leg is Leg.CONSISTENCY else client.agreed(there.agreed)

    good, others = answer(ME), answer(PEER)
    then: dict[Leg, Any] = {
        Leg.ADVERTISE: later.adverts,
        Leg.SHARE: later.shares,
        Leg.INPUT: later.inputs,
        Leg.CONSISTENCY: later.statements,
        Leg.UNMASK: later.unmasks,
    }
    of_another_round = then[leg][ME]
    for bad in (
        attrs.evolve(good, signature=b""),
        attrs.evolve(good, signature=bytes(64)),
        attrs.evolve(good, signature=others.signature),
        attrs.evolve(good, signature=of_another_round.signature),
        of_another_round,
        attrs.evolve(others, sender=ME),
    ):
        rejected(there.server, bad, "signature", "KEY-9")
    there.server.accept(good)


@pytest.mark.rule("ROU-10", "KEY-2", "KEY-3", "MSG-1")
def test_bad_keys_and_a_full_roster_are_refused() -> None:
    there = walk(Leg.ADVERTISE, params=params_of(policy_of(), clients=3, threshold=2))
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
    there = walk(Leg.SHARE)
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
    there = walk(Leg.INPUT)
    client = there.clients[ME]
    message = client.masked_input(train({ME: client.deliver(there.deliver[ME])})[ME])
    vector: Any
    for vector in (
        message.vector[:-1],
        message.vector.astype("<u8"),
        message.vector.astype("<i4"),
        message.vector[None],
    ):
        rejected(there.server, MaskedInput(ME, vector), "vector")
    there.server.accept(message)


@pytest.mark.rule("ROU-10")
@LEVELS
def test_shares_of_others_than_those_due_are_refused(params: Params) -> None:
    there = walk(Leg.UNMASK, params=params, without=dropped_out)
    client = there.clients[ME]
    good = client.agreed(there.agreed) if params.hardened else client.announce(there.announce)
    assert isinstance(good, Unmask)
    selfs, shares = good.self_shares, good.key_shares
    for bad, field in (
        (attrs.evolve(good, self_shares=selfs[:-1]), "self_shares"),
        (attrs.evolve(good, self_shares=selfs[::-1]), "self_shares"),
        (attrs.evolve(good, self_shares=(*selfs, *shares)), "self_shares"),
        (attrs.evolve(good, key_shares=()), "key_shares"),
        (attrs.evolve(good, key_shares=(*shares, *selfs[3:])), "key_shares"),
        (attrs.evolve(good, self_shares=shares, key_shares=selfs), "self_shares"),
    ):
        rejected(there.server, signed_again(there.server, bad) if params.hardened else bad, field)
    there.server.accept(good)


# Faults on the way


def through(params: Params, drops: Drops | None = None, **change: Any) -> tuple[InTransit, RoundResult]:
    directory = directory_of(params, everyone(params))
    server = InTransit(params=params, layout=LAYOUT, state=state_of(), directory=directory, **change)
    clients = clients_of(params, everyone(params), [ClientId(3)])
    return server, run_round(server=server, clients=clients, train=train, drop_outs=drops or {})


def check_sum(server: Server, result: RoundResult) -> None:
    """Of a round in which all of U2 that is in U3 has told what it trained, and nobody scales by the others."""
    inputs = plain_inputs(server.params, result.assignments)
    assert server.total_unmasked.tolist() == plain_sum(server.params, inputs, result.u3)


@pytest.mark.rule("ROU-6", "ROU-14")
@pytest.mark.parametrize("part", ["shares", "record"])
@LEVELS
def test_whose_envelope_is_corrupted_drops_out_and_the_round_goes_on(part: str, params: Params) -> None:
    """The fault names the envelope's sender; its receiver has not trained, and is neither in the sum nor in its way."""

    def corrupted(messages: dict[ClientId, Deliver]) -> dict[ClientId, Deliver]:
        envelopes = list(messages[ME].envelopes)
        at = [e.peer for e in envelopes].index(PEER)
        changes: dict[str, Any] = {part: flip(getattr(envelopes[at], part))}
        envelopes[at] = attrs.evolve(envelopes[at], **changes)
        return messages | {ME: attrs.evolve(messages[ME], envelopes=tuple(envelopes))}

    server, result = through(params, down=corrupted)
    (fault,) = result.faults
    assert (fault.rule, fault.culprit, fault.field) == ("KEY-6", PEER, part)
    assert (result.u2, result.u3, result.u5) == ((0, 1, 2, 3, 4), (0, 2, 3, 4), (0, 2, 3, 4))
    assert ME not in result.assignments
    check_sum(server, result)
    whole = sum(weight_of(ClientId(u)) for u in (0, 2, 4))
    assert result.aggregate.slots == (whole, weight_of(ClientId(3)), 0)


@pytest.mark.rule("ROU-10", "ROU-14")
@LEVELS
def test_whose_message_is_refused_is_out_and_the_round_goes_on(params: Params) -> None:
    """At the server's door, and already by the decoder."""

    def short(message: ClientMessage) -> ClientMessage:
        if isinstance(message, MaskedInput) and message.sender == ME:
            lie = attrs.evolve(message, vector=message.vector[:-1])
            return signed_again(server, lie) if params.hardened else lie
        return message

    directory = directory_of(params, everyone(params))
    server = InTransit(params=params, layout=LAYOUT, state=state_of(), directory=directory, up=short)
    result = run_round(server=server, clients=clients_of(params, everyone(params)), train=train)
    (fault,) = result.faults
    assert (fault.rule, fault.culprit, fault.field) == ("ROU-10", ME, "vector")
    assert result.u3 == (0, 2, 3, 4)
    check_sum(server, result)

    clients = clients_of(params, everyone(params))
    clients[ME] = client_of(ME, params, record_of(500_000, grid=(1000, 500)), directory)  # a record for another grid
    result = run_round(server=server_of(params), clients=clients, train=train)
    (fault,) = result.faults
    assert (fault.rule, fault.culprit, fault.field) == ("WIR-5", ME, "record")
    assert (result.u1, result.u2) == ((0, 1, 2, 3, 4), (0, 2, 3, 4))


@pytest.mark.rule("ROU-14")
def test_whose_training_fails_is_out_and_the_round_goes_on() -> None:
    def all_but_one(assignments: Mapping[ClientId, Assignment]) -> Mapping[ClientId, Floats]:
        return {u: update for u, update in train(assignments).items() if u != ME}

    server = server_of(BASIC)
    result = run_round(server=server, clients=clients_of(BASIC, everyone(BASIC)), train=all_but_one)
    assert (result.u2, result.u3) == ((0, 1, 2, 3, 4), (0, 2, 3, 4))
    check_sum(server, result)


@pytest.mark.rule("ROU-14")
@LEVELS
def test_one_fault_too_many_ends_the_round(params: Params) -> None:
    """A client whose envelopes open nowhere takes every peer along: nothing but the abort stands against it."""

    def spoilt(messages: dict[ClientId, Deliver]) -> dict[ClientId, Deliver]:
        return {
            u: attrs.evolve(
                m,
                envelopes=tuple(attrs.evolve(e, shares=flip(e.shares)) if e.peer == ME else e for e in m.envelopes),
            )
            for u, m in messages.items()
        }

    with pytest.raises(RoundAborted, match="ROU-11: round aborted at U3: 1 clients left, 3 needed"):
        through(params, down=spoilt)


@attrs.define
class Unreliable:
    """A network that loses, repeats and changes single messages: the k-th of the round, by number."""

    faults: Mapping[int, str]
    at: int
    sent: int = 0

    def __call__(self, leg: Leg, client: ClientId, up: bool, data: bytes) -> Sequence[bytes]:
        fault = self.faults.get(self.sent, "")
        self.sent += 1
        changed = flip(data, at=self.at % len(data))
        return {
            "": (data,),
            "lost": (),
            "twice": (data, data),
            "changed": (changed,),
            "changed, then right": (changed, data),
            "right, then changed": (data, changed),
        }[fault]


FAULTS = ("lost", "twice", "changed", "changed, then right", "right, then changed")


@pytest.mark.rule("ROU-3", "ROU-14", "ROU-15", "AGR-5")
@given(
    faults=st.dictionaries(st.integers(0, 49), st.sampled_from(FAULTS), max_size=3),
    at=st.one_of(st.integers(0, 80), st.integers(0, 2000)),
)
def test_a_bad_network_costs_clients_but_never_a_wrong_sum(faults: dict[int, str], at: int) -> None:
    """At `hardened`, where what is changed is noticed: an exact sum over those who are left, or an abort."""
    server, network = server_of(HARDENED), Unreliable(faults, at)
    clients = clients_of(HARDENED, everyone(HARDENED), [ME])
    try:
        result = run_round(server=server, clients=clients, train=train, network=network)
    except RoundAborted:
        assert len(faults) > 1
        return
    check_sum(server, result)
    assert len(result.u3) >= 5 - len(faults)


@pytest.mark.rule("ROU-3", "ROU-14")
@LEVELS
def test_repeated_messages_change_nothing(params: Params) -> None:
    """Every message arrives twice: the clients repeat themselves, and the server names who has answered already."""
    server = server_of(params)
    network = Unreliable(dict.fromkeys(range(50), "twice"), 0)
    result = run_round(server=server, clients=clients_of(params, everyone(params), [ME]), train=train, network=network)
    assert (result.u1, result.u5) == (tuple(ids(5)), tuple(ids(5)))
    check_sum(server, result)
    faults = {(fault.rule, fault.field) for fault in result.faults}
    assert faults == {("ROU-10", "sender")}
    assert len(result.faults) == 5 * len(legs_of(params))


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
    drops = {PEER: DropOut(Leg.INPUT, False)}
    for holder in (0, 1, 3):
        with pytest.raises(ContributionError) as caught:
            through(BASIC, drops, up=wrong_share(holder, "key_shares"))
        assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("ROU-12", PEER, "mask_key")
    check_sum(*through(BASIC, drops, up=wrong_share(4, "key_shares")))


@pytest.mark.rule("AGG-2")
def test_a_corrupt_share_of_a_self_mask_makes_the_weights_implausible() -> None:
    """At `basic` it is not named, but the sum is not taken for one: three random words of 32 bits would have to be small."""
    with pytest.raises(ContributionError) as caught:
        through(BASIC, up=wrong_share(1, "self_shares"))
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("AGG-2", SERVER, "slots")


@pytest.mark.rule("ROU-19", "AGR-3")
@pytest.mark.parametrize(("field", "own"), [("self_shares", False), ("self_shares", True), ("key_shares", False)])
def test_hardened_a_corrupt_share_is_found_by_itself(field: str, own: bool) -> None:
    """Whoever sends it is named, and the others' shares do: the sum is exact."""
    there = walk(Leg.UNMASK, params=HARDENED, without=dropped_out)
    for u in there.server.u3:
        answer = there.clients[u].agreed(there.agreed)
        if u == ME:
            shares = list(getattr(answer, field))
            at = [owner for owner, _ in shares].index(ME) if own else 0
            shares[at] = (shares[at][0], flip(shares[at][1]))
            changes: dict[str, Any] = {field: tuple(shares)}
            lie = signed_again(there.server, attrs.evolve(answer, **changes))
            rejected(there.server, lie, field, "ROU-19")
        else:
            there.server.accept(answer)
    there.server.close_unmask()
    inputs = plain_inputs(HARDENED, there.assignments)
    assert there.server.total_unmasked.tolist() == plain_sum(HARDENED, inputs, there.server.u3)


@pytest.mark.rule("ROU-12", "AGR-2")
@pytest.mark.parametrize("what", ["seed", "key"])
def test_hardened_shares_of_another_secret_are_found(what: str) -> None:
    """A client shares something else than what it committed to, or than the key it advertised, and all shares fit together."""
    there = walk(Leg.SHARE, params=HARDENED)
    liar = there.clients[PEER]
    if what == "seed":
        liar._self_seed = Seed(bytes(32))
    else:
        liar._mask_secret = type(liar._mask_secret)(b"k" * 32)
    for client in there.clients.values():
        there.server.accept(client.roster(there.roster))
    deliver = there.server.close_share()
    assignments = {u: client.deliver(deliver[u]) for u, client in there.clients.items()}
    for u, update in train(assignments).items():
        if what == "seed" or u != PEER:
            there.server.accept(there.clients[u].masked_input(update))
    announce = there.server.close_input()
    for u in there.server.u3:
        there.server.accept(there.clients[u].announce(announce))
    agreed = there.server.close_consistency()
    for u in there.server.u3:
        there.server.accept(there.clients[u].agreed(agreed))
    with pytest.raises(ContributionError) as caught:
        there.server.close_unmask()
    field = "seed_commitment" if what == "seed" else "mask_key"
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("ROU-12", PEER, field)


@pytest.mark.rule("AGR-1", "AGR-2", "AGR-4")
def test_what_a_hardened_bundle_commits_to() -> None:
    there = walk(Leg.SHARE, params=HARDENED)
    bundle, client, ctx0 = there.adverts[ME], there.clients[ME], there.open.context.ctx0()
    assert bundle.record_commitment == record_commitment(record=client._record, owner=ME, ctx0=ctx0)
    assert bundle.seed_commitment == seed_commitment(seed=client._self_seed, owner=ME, ctx0=ctx0)
    assert [b.record_commitment for b in walk(Leg.SHARE).roster.bundles] == [b""] * 5


@pytest.mark.rule("ROU-13")
@LEVELS
def test_weight_at_a_level_without_history_is_refused(params: Params) -> None:
    """In the first round nobody can have pruned; a client moved its weight to another level all the same."""

    def lying(message: ClientMessage) -> ClientMessage:
        if not isinstance(message, MaskedInput) or message.sender != ME:
            return message
        vector = message.vector.copy()
        vector[LAYOUT.size] -= np.uint32(weight_of(ME))
        vector[LAYOUT.size + 2] += np.uint32(weight_of(ME))
        lie = attrs.evolve(message, vector=vector)
        return signed_again(server, lie) if params.hardened else lie

    for history in (None, models()[1]):
        state = State(bytes(16), RoundNumber(1), models()[0], history)
        directory = directory_of(params, everyone(params))
        server = InTransit(params=params, layout=LAYOUT, state=state, directory=directory, up=lying)
        more: dict[str, Any] = {"session": state.session} if params.hardened else {}
        clients = clients_of(params, everyone(params), **more)
        if history is None:
            with pytest.raises(PreconditionError, match="ROU-13"):
                run_round(server=server, clients=clients, train=train)
        else:  # later on it would be believed: that it is bounded, not stopped, is a matter of the threat model
            result = run_round(server=server, clients=clients, train=train)
            assert result.aggregate.slots[2] == weight_of(ME)


@pytest.mark.rule("ROU-9")
@LEVELS
def test_what_the_server_announces(params: Params) -> None:
    context = walk(Leg.ADVERTISE, params=params).open.context
    directory = directory_of(params, everyone(params))
    assert context == state_of().context(params=params, layout=LAYOUT, directory=directory)
    assert (context.model, context.history) == (model_digest(models()[0]), model_digest(models()[1]))
    assert (context.round, context.directory) == (state_of().round, directory.digest())
    first = server_of(params, state=State(bytes(16), RoundNumber(1), models()[0])).open()
    assert first.context.history == NO_DIGEST
    with pytest.raises(PreconditionError, match="ROU-1"):
        Server(params=params, layout=dense_chain(1, 2, 1), state=state_of(), directory=directory)


# What it costs, in closed formulas


@pytest.mark.rule("ROU-15", "WIR-1", "PAD-1")
@pytest.mark.parametrize("mean", Mean)
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("hardened", [False, True])
def test_costs(mean: Mean, bits: int, hardened: bool) -> None:
    """n = 8 of 9, |U2| = 7, |U3| = |U4| = 5, and t = 3 or 5; client 1 keeps 750 ‰."""
    drops = {ClientId(0): DropOut(Leg.SHARE, False)}
    drops |= dict.fromkeys((ClientId(2), ClientId(6)), DropOut(Leg.INPUT, False))
    t, h = (5, 1) if hardened else (3, 0)
    if not hardened:
        drops[ClientId(3)] = DropOut(Leg.INPUT, True)
    params = params_of(policy_of(mean), clients=9, threshold=t, bits=bits, hardened=hardened)
    _, result, _ = Case(params, tuple(ids(8)), [ME], drops).check()
    n, u2, u3, gone, d = 8, 7, 5, 2, LAYOUT.size
    record = 3 + 8 * 4 + 8 * len(GRID) + 4 + 32
    envelope, vector = 4 + (4 + 64 + 16) + (4 + record + 16) + 64 * h, (d + len(GRID)) * bits // 8
    bundle, signature = 64 + (64 + 64) * h, 64 * h
    assert HEADER_BYTES == 4 + 2 + 1 + 16 + 8 + 4
    sent = {
        Leg.ADVERTISE: (4 * 32 + 8, bundle),
        Leg.SHARE: (4 + n * (4 + bundle), 4 + (n - 1) * envelope + 64 * h + signature),
        Leg.INPUT: (4 + (u2 - 1) * envelope + 4 + 4 * d, vector + signature),
        Leg.UNMASK: (4 + 4 * u3 + 4, 8 + 36 * (u3 + gone) + signature),
    }
    if hardened:
        sent[Leg.CONSISTENCY] = (4 + 4 * u3 + 4, 32 + signature)
        sent[Leg.UNMASK] = (4 + u3 * (4 + 64), 8 + 36 * (u3 + gone) + signature)
    for u in (ME, ClientId(4), ClientId(5)):
        assert result.assignments[u].verdict.keep == (750 if u == ME else 1000)
        length = sum(held_by(LAYOUT, result.assignments[u].kept))
        assert (length < d) == (u == ME)
        work = {
            Leg.ADVERTISE: Work(scalar_multiplications=2, signatures=h),
            Leg.SHARE: Work(
                scalar_multiplications=n - 1,
                shared_bytes=2 * 32 * n * t,
                sealed_bytes=(n - 1) * (64 + record),
                hashed_bytes=2 * 32 * n * h,
                signatures=n * h,  # its own, and a check for each peer's bundle
            ),
            Leg.INPUT: Work(
                sealed_bytes=(u2 - 1) * (64 + record),
                hashed_bytes=4 * d + (u2 - 1) * (64 + record) * h,
                scored=d if u == ME or mean is Mean.HOLDER else 0,
            ),
            Leg.CONSISTENCY: Work(signatures=1),
            Leg.UNMASK: Work(signatures=(u3 + 1) * h),
        }
        masking = Work(
            scalar_multiplications=u2 - 1,
            mask_bytes=u2 * vector,
            coded=length,
            signatures=h,
            hashed_bytes=vector * h,
        )
        assert list(result.costs[u]) == legs_of(params)
        for leg in legs_of(params):
            down, up = (HEADER_BYTES + part for part in sent[leg])
            bare = masking if leg is Leg.INPUT else Work()
            assert result.costs[u][leg] == LegCost(down_bytes=down, work=work[leg], masking=bare, up_bytes=up)
    assert [leg.value for leg in result.costs[ClientId(0)]] == ["advertise", "share"]
    assert result.costs[ClientId(0)][Leg.SHARE] == LegCost(down_bytes=HEADER_BYTES + sent[Leg.SHARE][0])
    assert result.server_work == Work(
        scalar_multiplications=gone + u3 * gone,
        mask_bytes=(u3 + u3 * gone) * vector,
        shared_bytes=32 * (u3 + gone) * t,
        scored=d if mean is Mean.LEVELS else 0,
        coded=d,
        signatures=(n + u2 + 3 * u3) * h,
    )


@pytest.mark.rule("ROU-15")
def test_ids_are_a_roster() -> None:
    assert list(ids(3)) == [0, 1, 2]
