"""Rounds on a graph: exact whoever vanishes, refused where the server's views do not fit, and O(k) for each client."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from profiles import few
from rounds import (
    LAYOUT,
    SESSION,
    client_of,
    clients_of,
    directory_of,
    identity_of,
    legs_of,
    models,
    plain_inputs,
    plain_sum,
    policy_of,
    record_of,
    state_of,
    time_of,
    train,
    weight_of,
)

from clip_ref import graph, wire
from clip_ref.agreement import signed
from clip_ref.errors import SERVER, ContributionError, PreconditionError, RoundAborted
from clip_ref.layout import dense_chain
from clip_ref.messages import (
    Advertise,
    Agreed,
    Announce,
    Consistent,
    Deliver,
    Header,
    Member,
    Neighbourhood,
    Roster,
    ServerMessage,
    Unmask,
)
from clip_ref.params import Encoding, Params, SecurityLevel
from clip_ref.round import (
    NO_JOURNAL,
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
from clip_ref.round.journal import MemoryJournal
from clip_ref.values import ClientId, Digest, Floats
from clip_ref.verdicts import Reason
from clip_ref.wire import HEADER_BYTES

ME = ClientId(1)
TARGET = 525_000
"""T*: in time are those who take half a second, and not the slow ones of `time_of`."""

Drops = Mapping[ClientId, DropOut]


def params_of(
    clients: int = 9, neighbours: int = 6, threshold: int = 4, *, hardened: bool = False, **more: Any
) -> Params:
    return Params(
        clients=clients,
        neighbours=neighbours,
        threshold=threshold,
        policy=policy_of(bucket_count=60, bucket_first=100_000),
        encoding=Encoding(value_bits=10, weight_max=50),
        security=SecurityLevel.HARDENED if hardened else SecurityLevel.BASIC,
        **more,
    )


BASIC, HARDENED = params_of(), params_of(hardened=True)
LEVELS = pytest.mark.parametrize("params", [BASIC, HARDENED], ids=["basic", "hardened"])


def aimed(target: int = TARGET, **more: Any) -> State:
    return attrs.evolve(state_of(**more), target=target)


def server_of(params: Params, state: State | None = None) -> Server:
    return Server(
        params=params,
        layout=LAYOUT,
        state=aimed() if state is None else state,
        directory=directory_of(params, ids(params.clients)),
    )


# What the sum comes to


def one_hot(params: Params, time: int) -> list[int]:
    at = graph.bucket_of(elapsed=time, params=params)
    return [int(k == at) for k in range(params.buckets)]


def inputs_of(
    params: Params, assignments: Mapping[ClientId, Assignment], slow: Iterable[ClientId]
) -> dict[ClientId, list[int]]:
    """What each puts under its mask: coordinates, its weight at its level, 1 in its bucket."""
    late = set(slow)
    plain = plain_inputs(params, assignments)
    return {u: vector + one_hot(params, time_of(u, u in late)) for u, vector in plain.items()}


def arrived(params: Params, server: Server, drops: Drops) -> dict[str, set[ClientId]]:
    """U1 … U5 from the definition. Whoever is shown fewer than t of its neighbourhood in U2, U3 or U4 goes no further."""
    alive = set(ids(params.clients))
    names = {Leg.ADVERTISE: "U1", Leg.SHARE: "U2", Leg.INPUT: "U3", Leg.CONSISTENCY: "U4", Leg.UNMASK: "U5"}
    out: dict[str, set[ClientId]] = {}
    before = dict(zip(legs_of(params)[2:], ("U2", "U3", "U4"), strict=False))
    for leg in legs_of(params):
        if leg in before:
            alive = {u for u in alive if len(set(server._holders(u)) & out[before[leg]]) >= params.threshold}
        gone = {u for u, drop in drops.items() if drop.leg is leg}
        out[names[leg]] = {u for u in alive if u not in gone or drops[u].after}
        alive -= gone
    return out


def settled(
    params: Params, drops: Drops, slow: Sequence[ClientId] = (), *, state: State | None = None
) -> tuple[Server, RoundResult | RoundAborted]:
    """A round to its end, of either kind."""
    server = server_of(params, state)
    try:
        clients = clients_of(params, ids(params.clients), slow)
        return server, run_round(server=server, clients=clients, train=train, drop_outs=drops)
    except RoundAborted as error:
        return server, error


def check(params: Params, drops: Drops, slow: Sequence[ClientId] = ()) -> RoundResult | RoundAborted:
    """Either exactly Σ x_u over U3, computed apart, or the abort that the numbers call for, with nothing unmasked."""
    server, result = settled(params, drops, slow)
    many = params.min_survivors
    needed = {"U1": many, "U2": many, "U3": many, "U4": params.threshold, "U5": params.threshold}
    if isinstance(result, RoundAborted):
        assert (result.rule, result.need) == ("ROU-11", needed[result.stage])
        assert result.have < result.need
        assert not hasattr(server, "total_unmasked")
        if result.stage in ("U1", "U2"):
            return result
    sets = arrived(params, server, drops)
    short = [stage for stage, clients in sets.items() if len(clients) < needed[stage]]
    bereft = [u for u in sets["U2"] if len(set(server._holders(u)) & sets["U5"]) < params.threshold]
    if isinstance(result, RoundAborted):
        assert result.stage == (short[0] if short else "U5")
        assert short or bereft
        return result
    assert not short
    assert not bereft
    assert [set(u) for u in (result.u1, result.u2, result.u3, result.u5)] == [sets[k] for k in ("U1", "U2", "U3", "U5")]
    inputs = inputs_of(params, {u: result.assignments[u] for u in result.u3}, slow)
    total = plain_sum(params, inputs, result.u3)
    assert server.total_unmasked.tolist() == total
    assert result.aggregate.weight == sum(weight_of(u) for u in result.u3)
    assert list(result.aggregate.histogram) == total[LAYOUT.size + len(params.policy.grid) :]
    assert sum(result.aggregate.histogram) == len(result.u3)
    return result


@st.composite
def cases(draw: st.DrawFn) -> tuple[Params, Drops, list[ClientId]]:
    clients = draw(st.integers(5, 14))
    neighbours = 2 * draw(st.integers(1, (clients - 2) // 2))
    threshold = draw(st.integers(max(2, (neighbours + 1) // 2 + 1), neighbours + 1))
    params = params_of(
        clients,
        neighbours,
        threshold,
        hardened=draw(st.booleans()),
        min_survivors=draw(st.integers(threshold, clients)),
    )
    drop_outs = st.builds(DropOut, leg=st.sampled_from(legs_of(params)), after=st.booleans())
    everybody = st.sampled_from(list(ids(clients)))
    unlucky = draw(st.lists(everybody, max_size=clients // 3, unique=True))
    return params, {u: draw(drop_outs) for u in unlucky}, draw(st.lists(everybody, unique=True))


SLOW = [ClientId(u) for u in (1, 4, 5)]


@pytest.mark.rule("ROU-7", "ROU-11", "ROU-20", "ROU-21", "MSK-6", "PAD-6", "AGG-8", "GRA-8")
@few
@given(case=cases())
@example(case=(params_of(12, 6, 4), {ClientId(3): DropOut(Leg.INPUT, False)}, SLOW))
@example(case=(params_of(12, 6, 4, hardened=True), {ClientId(3): DropOut(Leg.INPUT, False)}, SLOW))
def test_the_sum_is_exact_or_there_is_none(case: tuple[Params, Drops, list[ClientId]]) -> None:
    check(*case)


@pytest.mark.rule("ROU-20", "ROU-21", "MSK-6", "MSK-7", "GRA-8")
@pytest.mark.parametrize("hardened", [False, True])
def test_drop_outs_on_every_leg_that_leave_everybody_t_holders(hardened: bool) -> None:
    """Of 20 one vanishes before and one after each message; t = 6 of 13 holders are left to all; three prune."""
    params = params_of(20, 12, 7, hardened=hardened, min_survivors=10)
    places = [(leg, after) for leg in legs_of(params) for after in (False, True)]
    drops = {ClientId(6 + k): DropOut(leg, after) for k, (leg, after) in enumerate(places[:6])}
    result = check(params, drops, SLOW)
    assert isinstance(result, RoundResult)
    kept = {u: a.verdict.keep for u, a in result.assignments.items()}
    assert {u: keep for u, keep in kept.items() if keep < 1000} == {1: 750, 4: 500, 5: 750}
    assert result.faults == ()


@pytest.mark.rule("ROU-11", "ROU-21")
@LEVELS
def test_a_neighbourhood_below_t_aborts_the_round(params: Params) -> None:
    """There are enough clients, but too few who hold shares of one client's secrets."""
    params = attrs.evolve(params, clients=12, min_survivors=4)
    probe, _ = settled(params, {})
    near = [u for u in probe._holders(ME) if u != ME]
    drops = {u: DropOut(Leg.UNMASK, False) for u in near[:4]}  # 3 of 7 holders are left, t = 4
    result = check(params, drops)
    assert isinstance(result, RoundAborted)
    assert (result.stage, result.need) == ("U5", 4)
    assert result.have < 4
    assert "no sum was revealed" in str(result)


@pytest.mark.rule("ROU-11")
@LEVELS
def test_too_few_of_the_roster_abort_the_round(params: Params) -> None:
    """min_survivors = 7 of 9, though t = 4."""
    for leg, stage in ((Leg.ADVERTISE, "U1"), (Leg.SHARE, "U2"), (Leg.INPUT, "U3")):
        result = check(params, {u: DropOut(leg, False) for u in ids(3)})
        assert isinstance(result, RoundAborted)
        assert (result.stage, result.have, result.need) == (stage, 6, 7)


@pytest.mark.rule("AGG-5", "PAD-6")
@LEVELS
def test_without_pruning_a_graph_comes_to_what_the_clique_does(params: Params) -> None:
    """Bit for bit, with the same drop-outs."""
    drops = {ClientId(2): DropOut(Leg.INPUT, False), ClientId(5): DropOut(Leg.UNMASK, False)}
    state = aimed(target=0)
    _, found = settled(params, drops, state=state)
    clique = attrs.evolve(params, neighbours=0, threshold=6, min_survivors=6)
    _, expected = settled(clique, drops, state=state)
    assert isinstance(found, RoundResult)
    assert isinstance(expected, RoundResult)
    assert found.u3 == expected.u3
    assert found.aggregate.model.tobytes() == expected.aggregate.model.tobytes()
    assert found.aggregate.slots == expected.aggregate.slots
    assert (len(found.aggregate.histogram), expected.aggregate.histogram) == (60, ())


# Times, a round late


@pytest.mark.rule("GRA-6", "GRA-7", "GRA-8", "PAD-6", "AGG-8")
@few
@given(clients=st.integers(20, 40), seed=st.integers(0, 2**32 - 1), without=st.integers(0, 5), hardened=st.booleans())
def test_the_target_of_a_round_sets_the_levels_of_the_next(
    clients: int, seed: int, without: int, hardened: bool
) -> None:
    """T* is within a bucket of the exact one over the survivors with times; the next round's verdicts follow from it."""
    rng = np.random.default_rng(seed)
    params = params_of(clients, 8, 5, hardened=hardened, min_survivors=10)
    roster, directory = ids(clients), directory_of(params, ids(clients))
    times = {u: int(t) for u, t in zip(roster, np.exp(rng.normal(13.5, 0.4, clients)), strict=True)}
    records = {u: attrs.evolve(record_of(times[u]), has_time=u >= without) for u in roster}
    gone = {ClientId(int(u)): DropOut(Leg.INPUT, False) for u in rng.choice(clients, clients // 10, replace=False)}

    def run(state: State, drops: Drops) -> RoundResult:
        made = {u: client_of(u, params, records[u], directory, seed=state.round, history=state.history) for u in roster}
        return run_round(server=server_of(params, state), clients=made, train=train, drop_outs=drops)

    state = state_of(round=2)
    first = run(state, gone)
    assert {a.verdict.keep for a in first.assignments.values()} == {1000}  # no target yet
    timed = sorted(times[u] for u in first.u3 if u >= without)
    exact = timed[len(timed) - params.policy.straggler_share * len(timed) // 1000 - 1]
    found = graph.target(histogram=first.aggregate.histogram, params=params)
    edges = graph.bucket_edges(params=params)
    assert sum(first.aggregate.histogram) == len(timed)
    assert edges.index(found) == graph.bucket_of(elapsed=exact, params=params)
    second = run(state.completed(first.aggregate.model, target=found), {})
    for u, assignment in second.assignments.items():
        late = u >= without and 1000 * times[u] > 1050 * found
        assert assignment.verdict.straggler == late
        assert assignment.plan.target == found
        in_time = [keep for keep in params.policy.grid if times[u] * keep // 1000 <= found]
        assert assignment.verdict.keep == ((in_time or [500])[0] if late else 1000)


@pytest.mark.rule("GRA-8", "ROU-2")
def test_an_aborted_round_keeps_the_target() -> None:
    state = aimed()
    assert state.aborted().target == TARGET
    assert state.completed(state.model).target == 0
    assert state.completed(state.model, target=7).target == 7
    assert state.context(params=BASIC, layout=LAYOUT).target == TARGET


@pytest.mark.rule("GRA-8")
def test_whoever_lacks_the_history_prunes_nothing() -> None:
    server, roster = server_of(BASIC), ids(BASIC.clients)
    clients = clients_of(BASIC, roster, SLOW)
    clients[ME] = client_of(ME, BASIC, record_of(time_of(ME, True), weight=weight_of(ME)), history=None)
    result = run_round(server=server, clients=clients, train=train)
    assert result.assignments[ME].verdict.reason is Reason.NO_HISTORY
    assert result.assignments[ClientId(4)].verdict.keep == 500


# What a client refuses


@attrs.define
class Walk:
    """A round by hand: what each client is about to get, and what it has answered."""

    params: Params
    clients: dict[ClientId, Client]
    server: Server
    near: Mapping[ClientId, Any] = attrs.field(factory=dict)
    deliver: dict[ClientId, Deliver] = attrs.field(factory=dict)
    announce: Announce = attrs.field(factory=lambda: Announce(()))
    agreed: Agreed = attrs.field(factory=lambda: Agreed(()))
    answers: dict[ClientId, dict[str, Any]] = attrs.field(factory=dict)
    asked: dict[str, Any] = attrs.field(factory=dict)


def walk(until: str, params: Params, *, absent: Iterable[int] = (), tamper: Callable[[Any], Any] | None = None) -> Walk:
    """Up to where the server's message of step `until` is made; `absent` clients vanish before their masked inputs.

    `tamper` changes the bundles that the server has got.
    """
    server = server_of(params)
    out = Walk(params, clients_of(params, ids(params.clients), SLOW), server)
    out.answers = {u: {} for u in out.clients}
    out.asked["open"] = server.open()

    def each(step: str, of: Iterable[ClientId], messages: Mapping[ClientId, Any]) -> None:
        out.asked[step] = messages[ME]
        for u in list(of):
            answer = out.answers[u][step] = getattr(out.clients[u], step)(messages[u])
            if not isinstance(answer, Assignment):
                server.accept(answer)

    each("open", out.clients, dict.fromkeys(out.clients, out.asked["open"]))
    if tamper is not None:
        server.u1 = tamper(dict(server.u1))
    out.near = server.rosters(server.close_advertise())
    if until == "roster":
        return out
    each("roster", out.clients, out.near)
    out.deliver = server.close_share()
    if until == "deliver":
        return out
    here = [u for u in out.clients if u not in set(absent)]
    each("deliver", here, out.deliver)
    updates = train({u: out.answers[u]["deliver"] for u in here})
    each("masked_input", here, updates)
    out.announce = server.close_input()
    if until == "announce":
        return out
    each("announce", server.u3, dict.fromkeys(server.u3, out.announce))
    if params.hardened:
        out.agreed = server.close_consistency()
        shown = {u: server.agreed_for(out.agreed, u) for u in server.u3}
        out.asked["agreed"] = shown[ME]
        if until == "agreed":
            return out
        each("agreed", server.u3, shown)
    return out


def refused(client: Client, step: str, message: ServerMessage, rule: str, field: str, culprit: int = SERVER) -> None:
    """It names the rule, whose fault it is and the field; and takes no further part, not even for the right message."""
    with pytest.raises(ContributionError) as caught:
        getattr(client, step)(message)
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == (rule, culprit, field)
    with pytest.raises(PreconditionError, match="ROU-3: client 1 expects nothing more"):
        getattr(client, step)(message)


def tree(params: Params, server: Server, bundles: Sequence[Advertise], position: int) -> Neighbourhood:
    """What a server that makes up the roster `bundles` can prove to the client at `position`."""
    header = Header(server.context.session, server.context.round, 0)
    leaves = [
        graph.leaf(position=p, bundle=wire.encode(b, attrs.evolve(header, sender=b.sender)))
        for p, b in enumerate(bundles)
    ]
    root = graph.merkle_root(leaves)
    ctx = server.context.ctx(graph.roster_digest(root=root, count=len(bundles)))
    seed = graph.graph_seed(ctx=ctx)
    near = graph.neighbours(seed=seed, count=len(bundles), degree=params.neighbours, position=position)
    levels = graph.merkle_levels(leaves)
    members = (Member(p, bundles[p], graph.merkle_proof(levels, p)) for p in sorted((position, *near)))
    return Neighbourhood(len(bundles), root, tuple(members))


@pytest.mark.rule("ROU-20", "GRA-3", "GRA-4")
@LEVELS
def test_what_the_server_sends_is_what_anybody_can_work_out(params: Params) -> None:
    there = walk("roster", params)
    bundles = list(there.server.u1.values())
    for position, u in enumerate(there.clients):
        assert there.near[u] == tree(params, there.server, bundles, position)


def changed_member(at: int, **changes: Any) -> Callable[[Neighbourhood], Neighbourhood]:
    def change(message: Neighbourhood) -> Neighbourhood:
        members = list(message.members)
        members[at] = attrs.evolve(members[at], **changes)
        return attrs.evolve(message, members=tuple(members))

    return change


@pytest.mark.rule("ROU-20", "ROU-5", "GRA-4")
@pytest.mark.parametrize(
    ("change", "rule", "field"),
    [
        (lambda m: attrs.evolve(m, members=m.members[1:]), "ROU-20", "members"),
        (lambda m: attrs.evolve(m, members=m.members[:-1]), "ROU-20", "members"),
        (lambda m: attrs.evolve(m, members=()), "ROU-20", "members"),
        (lambda m: attrs.evolve(m, members=(*m.members, m.members[-1])), "ROU-20", "members"),
        (lambda m: attrs.evolve(m, members=m.members[::-1]), "ROU-20", "members"),
        (lambda m: attrs.evolve(m, root=Digest(bytes(32))), "GRA-4", "members"),
        (lambda m: attrs.evolve(m, count=m.count + 8), "GRA-4", "members"),
        (changed_member(-1, position=1000), "GRA-4", "members"),
        (changed_member(-1, proof=()), "GRA-4", "members"),
        (changed_member(-1, bundle=Advertise(ClientId(8), b"a" * 32, b"b" * 32)), "GRA-4", "members"),
        (lambda m: Roster(tuple(member.bundle for member in m.members)), "ROU-5", "kind"),
    ],
)
@LEVELS
def test_a_wrong_neighbourhood_is_refused(params: Params, change: Any, rule: str, field: str) -> None:
    there = walk("roster", params)
    refused(there.clients[ME], "roster", change(there.near[ME]), rule, field)


@pytest.mark.rule("ROU-20")
@LEVELS
def test_others_than_one_s_neighbours_are_refused(params: Params) -> None:
    """Well proved, but somebody else's neighbourhood; or one neighbour swapped for a client that is none."""
    params = attrs.evolve(params, clients=20)
    there = walk("roster", params)
    bundles = list(there.server.u1.values())
    mine = there.near[ME].members
    proved = {m.position: m for u in there.clients for m in there.near[u].members}
    strangers = [p for p in proved if p not in {m.position for m in mine}]
    other = next(u for u in there.clients if u != ME and ME in {m.bundle.sender for m in there.near[u].members})
    first = next(m.position for m in mine if m.bundle.sender != ME)
    for members in (
        there.near[other].members,
        tuple(proved[p] for p in sorted({m.position for m in mine} - {first} | {strangers[0]})),
        tuple(proved[p] for p in sorted({m.position for m in mine} | {strangers[0]})),
    ):
        fresh = walk("roster", params).clients[ME]
        refused(fresh, "roster", attrs.evolve(there.near[ME], members=members), "ROU-20", "members")
    assert len(bundles) == 20


@pytest.mark.rule("ROU-20", "ROU-5", "MSG-1")
@LEVELS
def test_a_made_up_roster_is_refused(params: Params) -> None:
    """Whole trees of the server's own making: too few clients, myself twice, other keys of mine, or none."""
    server = walk("roster", params).server
    honest = list(server.u1.values())
    mine = honest[ME]
    other = attrs.evolve(mine, channel_key=honest[3].channel_key)
    # of seven clients or fewer, all are neighbours
    for bundles, rule, field in (
        (honest[:6], "ROU-5", "roster"),
        ([honest[0], mine, mine, *honest[3:7]], "ROU-20", "members"),
        ([honest[0], other, *honest[2:7]], "ROU-5", "roster"),
        ([honest[0], honest[2], *honest[2:7]], "ROU-20", "members"),
        ([honest[2], mine, honest[0], *honest[3:7]], "MSG-2", "roster"),
    ):
        there = walk("roster", params)
        refused(there.clients[ME], "roster", tree(params, there.server, bundles, ME), rule, field)


@pytest.mark.rule("ROU-5", "AGR-5", "KEY-9")
def test_a_neighbour_s_keys_need_its_signature() -> None:
    there = walk("roster", HARDENED)
    honest = list(there.server.u1.values())
    forged = attrs.evolve(honest[3], mask_key=honest[4].mask_key)
    message = tree(HARDENED, there.server, [*honest[:3], forged, *honest[4:7]], ME)
    refused(there.clients[ME], "roster", message, "KEY-9", "signature", culprit=3)


@pytest.mark.rule("ROU-5")
def test_a_clique_takes_no_neighbourhood() -> None:
    params = attrs.evolve(BASIC, neighbours=0, threshold=6, min_survivors=6)
    client = clients_of(params, ids(9))[ME]
    server = server_of(params, aimed(0))
    client.open(server.open())
    refused(client, "roster", Neighbourhood(9, Digest(bytes(32)), ()), "ROU-5", "kind")


def bits(*positions: int, count: int = 9) -> bytes:
    return graph.bitmap(positions=positions, count=count)


def near_and_far(there: Walk) -> tuple[int, int]:
    """Positions, which are ids here: of a neighbour, and of a client that is none."""
    near = {m.position for m in there.near[ME].members} - {ME}
    return min(near), min(set(range(9)) - near - {ME})


@pytest.mark.rule("ROU-21", "ROU-6", "GRA-5")
@LEVELS
def test_a_u2_that_contradicts_the_envelopes_or_shrinks_is_refused(params: Params) -> None:
    def case(change: Callable[[Deliver, int, int], Deliver], rule: str, field: str) -> None:
        there = walk("deliver", params)
        near, far = near_and_far(there)
        refused(there.clients[ME], "deliver", change(there.deliver[ME], near, far), rule, field)

    everybody = set(range(9))

    def seen(*without: int) -> bytes:
        return bits(*(everybody - set(without)))

    case(lambda m, near, far: attrs.evolve(m, u2=seen(near)), "ROU-21", "u2")
    case(lambda m, near, far: attrs.evolve(m, u2=seen(ME)), "ROU-21", "u2")
    case(lambda m, near, far: attrs.evolve(m, envelopes=m.envelopes[1:]), "ROU-21", "u2")
    case(lambda m, near, far: attrs.evolve(m, u2=b""), "GRA-5", "u2")
    case(lambda m, near, far: attrs.evolve(m, u2=b"\xff\xff"), "GRA-5", "u2")
    case(lambda m, near, far: attrs.evolve(m, u2=m.u2 + b"\0"), "GRA-5", "u2")

    def foreign(m: Deliver, near: int, far: int) -> Deliver:
        changed = (*m.envelopes, attrs.evolve(m.envelopes[0], peer=ClientId(far)))
        return attrs.evolve(m, envelopes=tuple(sorted(changed, key=lambda e: e.peer)))

    case(foreign, "ROU-6", "envelopes")

    def shrunken(m: Deliver, near: int, far: int) -> Deliver:
        """Of 7 that there must be, 6, and of them no contradiction."""
        kept = [e for e in m.envelopes if e.peer != near]
        gone = [near, *sorted(everybody - {ME, *(e.peer for e in m.envelopes)})]
        assert len(gone) == 3
        return attrs.evolve(m, envelopes=tuple(kept), u2=seen(*gone))

    case(shrunken, "ROU-21", "u2")


@pytest.mark.rule("ROU-21", "ROU-8")
def test_a_client_does_not_mask_without_t_of_its_neighbourhood() -> None:
    """Told that none of its neighbours is in U2, or too few, it would mask with itself, while they, told the truth, give its
    self mask away: the server would have its update."""
    params = attrs.evolve(HARDENED, clients=20, min_survivors=14)
    for left in range(params.threshold):
        there = walk("deliver", params)
        whole = there.deliver[ME]
        envelopes = whole.envelopes[:left]
        gone = {e.peer for e in whole.envelopes[left:]}
        lie = Deliver(envelopes, whole.model, bits(*(set(range(20)) - gone), count=20))
        if left + 1 < params.threshold:
            refused(there.clients[ME], "deliver", lie, "ROU-21", "u2")
        else:
            assert isinstance(there.clients[ME].deliver(lie), Assignment)


@pytest.mark.rule("ROU-21", "ROU-8")
@LEVELS
def test_a_u3_without_t_of_one_s_neighbourhood_is_refused(params: Params) -> None:
    params = attrs.evolve(params, clients=20, min_survivors=14)
    near = {m.bundle.sender for m in walk("announce", params).near[ME].members} - {ME}
    for left in range(params.threshold):
        there = walk("announce", params)
        gone = sorted(near)[left:]
        lie = Announce((), bits(*(set(range(20)) - set(gone)), count=20))
        if left + 1 < params.threshold:
            refused(there.clients[ME], "announce", lie, "ROU-21", "u3")
        else:
            assert isinstance(there.clients[ME].announce(lie), Consistent if params.hardened else Unmask)


@pytest.mark.rule("ROU-21", "GRA-5")
@LEVELS
def test_a_u3_that_is_no_part_of_u2_or_lacks_me_or_shrinks_is_refused(params: Params) -> None:
    def case(change: Callable[[Announce, int, int], Announce], rule: str) -> None:
        there = walk("announce", params, absent=[8])
        near, far = near_and_far(there)
        refused(there.clients[ME], "announce", change(there.announce, near, far), rule, "u3")

    case(lambda m, near, far: Announce((), bits(*range(2, 9))), "ROU-21")
    case(lambda m, near, far: Announce((), bits(*({*range(8)} - {near, far}))), "ROU-21")
    case(lambda m, near, far: Announce((ME,), m.u3), "ROU-21")
    case(lambda m, near, far: Announce((), b""), "GRA-5")
    case(lambda m, near, far: Announce((), b"\xff\xff"), "GRA-5")


@pytest.mark.rule("ROU-21")
@pytest.mark.parametrize("stranger", [False, True])
@LEVELS
def test_nobody_enters_u3_who_was_not_in_u2(params: Params, stranger: bool) -> None:
    """A neighbour or somebody else, who sent no shares."""
    server = server_of(params)
    clients = clients_of(params, ids(9))
    opening = server.open()
    for client in clients.values():
        server.accept(client.open(opening))
    near: Mapping[ClientId, Any] = server.rosters(server.close_advertise())
    mine = {m.bundle.sender for m in near[ME].members} - {ME}
    gone = min(set(ids(9)) - mine - {ME} if stranger else mine)
    for u in ids(9):
        if u != gone:
            server.accept(clients[u].roster(near[u]))
    delivered = server.close_share()
    assert graph.positions(bits=delivered[ME].u2, count=9, field="u2") == set(range(9)) - {gone}
    clients[ME].masked_input(train({ME: clients[ME].deliver(delivered[ME])})[ME])
    refused(clients[ME], "announce", Announce((), bits(*range(9))), "ROU-21", "u3")


# Agreement among neighbours


@pytest.mark.rule("AGR-6", "AGR-7", "AGR-8", "ROU-21")
def test_signatures_come_from_the_neighbourhood_and_are_t_at_least() -> None:
    params = attrs.evolve(HARDENED, clients=12)

    def case(change: Callable[[Walk, Agreed], Agreed], rule: str) -> None:
        there = walk("agreed", params)
        refused(there.clients[ME], "agreed", change(there, there.asked["agreed"]), rule, "signatures")

    case(lambda there, m: Agreed(m.signatures[:3]), "AGR-7")
    case(lambda there, m: there.agreed, "AGR-7")  # everybody's, strangers' too
    case(lambda there, m: Agreed(tuple((u, m.signatures[0][1]) for u, _ in m.signatures)), "AGR-8")
    there = walk("agreed", params)
    answer = there.clients[ME].agreed(Agreed(there.asked["agreed"].signatures[:4]))  # t are enough
    assert isinstance(answer, Unmask)


@pytest.mark.rule("AGR-6", "AGR-8", "ROU-21")
def test_two_views_are_not_both_agreed_on() -> None:
    """The server tells client 1 of another U3 than the rest, by one client that is no neighbour of it: it signs something
    else than they, and their signatures do not convince it."""
    there = walk("announce", HARDENED)
    _, far = near_and_far(there)
    lie = Announce((), bits(*({*range(9)} - {far})))
    said = there.clients[ME].announce(lie)
    assert isinstance(said, Consistent)
    for u in there.server.u3:
        if u != ME:
            there.server.accept(there.clients[u].announce(there.announce))
    with pytest.raises(ContributionError, match="ROU-10"):
        there.server.accept(said)
    agreed = there.server.agreed_for(there.server.close_consistency(), ME)
    refused(there.clients[ME], "agreed", agreed, "AGR-8", "signatures")


@pytest.mark.rule("AGR-4", "AGR-8")
def test_a_signature_of_another_round_is_worth_nothing() -> None:
    there = walk("agreed", HARDENED)
    message = there.asked["agreed"]
    signer = next(u for u, _ in message.signatures if u != ME)
    header = Header(there.server.context.session, there.server.context.round, signer)
    statement = there.answers[signer]["announce"].statement
    other = signed(
        message=Consistent(signer, statement), header=header, context=Digest(bytes(32)), secret=identity_of(signer)
    )
    lie = Agreed(tuple((u, other.signature if u == signer else s) for u, s in message.signatures))
    refused(there.clients[ME], "agreed", lie, "AGR-8", "signatures")


# After a restart


@pytest.mark.rule("ROU-16", "ROU-20", "ROU-21")
@LEVELS
def test_a_client_made_again_from_its_journal_says_the_same(params: Params) -> None:
    """After any step, with one client of the neighbourhood gone."""
    there = walk("nothing", params, absent=[8])
    asked, said = there.asked, there.answers[ME]
    directory = directory_of(params, ids(params.clients))
    identity = identity_of(ME) if params.hardened else None
    for steps in range(len(asked) + 1):
        journal = MemoryJournal()
        record = record_of(time_of(ME, True), weight=weight_of(ME))
        client = client_of(ME, params, record, directory, journal=journal)
        for step in list(asked)[:steps]:
            getattr(client, step)(asked[step])
        again = Client.restored(
            me=ME,
            params=params,
            layout=LAYOUT,
            history=models()[1],
            journal=journal,
            identity=identity,
            directory=directory,
            session=SESSION,
        )
        for step, message in asked.items():
            answer = getattr(again, step)(message)
            if step != "deliver":
                assert answer == said[step]


# What it costs, in closed formulas


TINY = dense_chain(2, 3, 2)
"""d = 17 weights."""


def siblings(position: int, count: int) -> int:
    """How many siblings prove a position: one for each level but where it is the last of an odd number."""
    found = 0
    while count > 1:
        found += (position ^ 1) < count
        position, count = position // 2, (count + 1) // 2
    return found


def costs(params: Params, u: ClientId, holders: Sequence[Sequence[int]], found: RoundResult) -> dict[Leg, LegCost]:
    """From n, k, t, d and who of its k neighbours is in U2, U3 and U4."""
    n, k, t, d, h = params.clients, params.neighbours, params.threshold, TINY.size, int(params.hardened)
    near = set(holders[u]) - {u}
    two, three, four = (len(near & set(some)) for some in (found.u2, found.u3, found.u4))
    bundle, signature, bitmap = 64 + 128 * h, 64 * h, -(-n // 8)
    envelope, vector = 4 + (4 + 80) + 4 + 64 * h, 4 * (d + params.extras)
    proofs = 32 * sum(siblings(p, n) for p in (u, *near))
    sent = {
        Leg.ADVERTISE: (4 * 32 + 8, bundle),
        Leg.SHARE: (4 + 32 + 4 + (k + 1) * (4 + 4 + bundle + 1) + proofs, 4 + k * envelope + 64 * h + signature),
        Leg.INPUT: (4 + two * envelope + 4 + bitmap + 4 * d, vector + signature),
        Leg.UNMASK: (4 + 4 + bitmap, 8 + 36 * (two + 1)),
    }
    if h:
        sent[Leg.CONSISTENCY] = (4 + 4 + bitmap, 32 + signature)
        sent[Leg.UNMASK] = (4 + 68 * (four + 1), 8 + 36 * (two + 1) + signature)
    work = {
        Leg.ADVERTISE: Work(scalar_multiplications=2, signatures=h),
        Leg.SHARE: Work(
            scalar_multiplications=k,
            shared_bytes=2 * 32 * (k + 1) * t,
            sealed_bytes=64 * k,
            hashed_bytes=64 * (k + 1) * h,
            signatures=(k + 1) * h,
        ),
        Leg.INPUT: Work(sealed_bytes=64 * two, hashed_bytes=4 * d + 64 * two * h),
        Leg.CONSISTENCY: Work(signatures=1),
        Leg.UNMASK: Work(signatures=(four + 2) * h),
    }
    masking = Work(
        scalar_multiplications=two,
        mask_bytes=(two + 1) * vector,
        coded=d,
        signatures=h,
        hashed_bytes=vector * h,
    )
    assert three <= two
    return {
        leg: LegCost(
            down_bytes=HEADER_BYTES + sent[leg][0],
            work=work[leg],
            masking=masking if leg is Leg.INPUT else Work(),
            up_bytes=HEADER_BYTES + sent[leg][1],
        )
        for leg in legs_of(params)
    }


def times_at(n: int) -> list[int]:
    """Half a second on the middle, and a third or three times as much at the ends."""
    return [int(t) for t in np.exp(np.random.default_rng(n).normal(13.1, 0.4, n))]


def at_scale(n: int, k: int, *, hardened: bool, drop: bool) -> tuple[Params, Server, RoundResult]:
    params = params_of(n, k, 2 * k // 3 + 1, hardened=hardened, min_survivors=2 * n // 3)
    times = times_at(n)
    directory = directory_of(params, ids(n))
    model = models()[0][: TINY.size]
    server = Server(params=params, layout=TINY, state=State(bytes(16), state_of().round, model), directory=directory)
    clients = {
        u: Client(
            me=u,
            params=params,
            layout=TINY,
            record=record_of(times[u]),
            history=None,
            entropy=u.to_bytes(32, "little"),
            identity=identity_of(u) if hardened else None,
            directory=directory,
            session=bytes(16),
            journal=NO_JOURNAL,
        )
        for u in ids(n)
    }

    def update(assignments: Mapping[ClientId, Assignment]) -> dict[ClientId, Floats]:
        return {u: np.full(TINY.size, (u % 7) / 7, dtype=np.float32) for u in assignments}

    legs = (Leg.SHARE, Leg.INPUT, Leg.UNMASK)
    gone = {u: DropOut(legs[u // 10 % 3], bool(u % 2)) for u in ids(n) if u % 20 == 3} if drop else {}
    return params, server, run_round(server=server, clients=clients, train=update, drop_outs=gone)


SCALES = [20, 50, 100, 200, *(pytest.param(n, marks=pytest.mark.slow) for n in (500, 1000, 2000))]


@pytest.mark.rule("ROU-15", "ROU-20", "ROU-21", "WIR-1", "GRA-6", "GRA-7")
@pytest.mark.parametrize("n", SCALES)
@pytest.mark.parametrize("hardened", [False, True])
def test_what_a_client_pays_depends_on_k(n: int, hardened: bool) -> None:
    """Exactly, for every client that stays; of n nothing but a bit in each of two bitmaps, and the proofs' ⌈log₂ n⌉.

    A twentieth vanishes: of 2000 neighbourhoods of 17 some would keep fewer than t = 11 if it were a tenth.
    And T* that comes of the round is within one bucket of the exact one over the survivors.
    """
    k = 16
    params, server, found = at_scale(n, k, hardened=hardened, drop=True)
    holders = [server._holders(u) for u in ids(n)]
    assert all(len(near) == k + 1 for near in holders)
    assert len(found.u5) >= 9 * n // 10
    for u in found.u5:
        assert dict(found.costs[u]) == costs(params, u, holders, found)
    times = sorted(times_at(n)[u] for u in found.u3)
    assert 9 * n // 10 <= len(times) < n
    exact = times[len(times) - params.policy.straggler_share * len(times) // 1000 - 1]
    edges = graph.bucket_edges(params=params)
    at = edges.index(graph.target(histogram=found.aggregate.histogram, params=params))
    assert edges[at - 1] < exact <= edges[at]


@pytest.mark.rule("ROU-15", "WIR-1")
@pytest.mark.parametrize("hardened", [False, True])
def test_bounds_in_k_alone(hardened: bool) -> None:
    """For n = 20 … 2000 from the formulas: the same work, and a bitmap and the proofs more to download."""
    k, sums = 16, {}
    for n in (20, 50, 100, 200, 1000, 2000):
        params = params_of(n, k, 12, hardened=hardened)
        everybody = tuple(ids(n))
        near = [graph.neighbours(seed=Digest(bytes(32)), count=n, degree=k, position=p) for p in range(n)]
        holders = [sorted((p, *mine)) for p, mine in enumerate(near)]
        found: Any = attrs.make_class("Found", ["u2", "u3", "u4"])(everybody, everybody, everybody if hardened else ())
        each = [costs(params, u, holders, found) for u in (everybody[0], everybody[n // 2], everybody[-1])]
        assert len({str([(c.work, c.masking, c.up_bytes) for c in one.values()]) for one in each}) == 1
        down = [sum(c.down_bytes for c in one.values()) for one in each]
        n_bitmaps, h = 2 * -(-n // 8), int(hardened)
        for u, one in zip((0, n // 2, n - 1), each, strict=True):
            proofs = sum(siblings(p, n) for p in holders[u])
            assert sum(c.up_bytes for c in one.values()) == (
                4 * (TINY.size + params.extras) + 36 * (k + 1) + (92 + 64 * h) * k + 216 + 515 * h
            )
            assert sum(c.down_bytes for c in one.values()) == (
                (4 * TINY.size + (73 + 196 * h) * (k + 1) + (92 + 64 * h) * k + 332 + 39 * h)
                + (n_bitmaps + 32 * proofs)
            )
            whole = sum((c.work + c.masking for c in one.values()), start=Work())
            assert whole.scalar_multiplications == 2 + 2 * k
            assert whole.mask_bytes == (k + 1) * 4 * (TINY.size + params.extras)
            assert whole.sealed_bytes == 2 * 64 * k
            assert whole.shared_bytes == 2 * 32 * (k + 1) * params.threshold
            assert whole.signatures == h * (2 * k + 6)
        sums[n] = ([(c.work, c.masking, c.up_bytes) for c in each[0].values()], max(down))
        assert len(each[0]) == (5 if hardened else 4)
    for n, (work, most) in sums.items():
        assert work == sums[20][0]
        levels = (n - 1).bit_length()
        assert most <= sums[20][1] + 2 * -(-n // 8) + (k + 1) * 32 * (levels - 3)
