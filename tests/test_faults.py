"""Faults: whatever a network, a lying client or a lying server does, the sum is exact or the round ends by a typed error.

Excluded at `basic`, which has no signatures: changing what a masked input or a share says, on the way or by its sender. Such
a sum is another one, and at most implausible (AGG-2); everything else that a network can do is tried at both levels. A server
that sends different clients different things is met by `hardened` alone.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import faults
import fuzz
import pytest
from faulty import (
    AFTER,
    BEFORE,
    INSTEAD,
    JUNK,
    LIE,
    LOST,
    STEPS,
    Case,
    Fault,
    another_round,
    case_of,
    changed,
    client_of,
    kind_of,
    params_of,
    plain_sum,
    play,
    problem,
    restored,
    server_of,
    train,
    unsafe_at_basic,
    update,
)
from hypothesis import event, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from plain import digest

from clip_ref import agreement, masking, shamir, wire
from clip_ref.canonical import mask_context
from clip_ref.errors import SERVER, ContributionError, PreconditionError, RoundAborted
from clip_ref.keys import identity_key, pair_seed, self_mask_seed
from clip_ref.messages import (
    Advertise,
    Agreed,
    Announce,
    ClientMessage,
    Consistent,
    Deliver,
    Header,
    MaskedInput,
    Message,
    Open,
    Roster,
    ServerMessage,
    ShareKeys,
    Unmask,
)
from clip_ref.params import Params
from clip_ref.round import Assignment, Client, Leg, Server, ids, run_round
from clip_ref.round.journal import MemoryJournal
from clip_ref.values import ClientId, RoundNumber, SecretKey, Seed, SigningKey

# A network in between, message by message


@st.composite
def cases(draw: st.DrawFn, *, lies: bool = False) -> Case:
    clients, hardened = draw(st.integers(2, 8)), lies or draw(st.booleans())
    threshold = draw(st.integers(max(2, clients // 2 + 1 if hardened else 2), clients))
    params = params_of(clients, threshold, hardened=hardened, bits=draw(st.sampled_from((32, 64))))
    slow = draw(st.frozensets(st.integers(0, clients - 1).map(ClientId)))
    fault = st.builds(
        Fault,
        what=st.sampled_from((LIE,) if lies else (*LOST, *JUNK)),
        where=st.sampled_from((INSTEAD, BEFORE, AFTER)),
        at=st.integers(0, 4000),
    )
    messages = st.integers(0, 10 * clients - 1)
    return Case(params, slow, 0, draw(st.dictionaries(messages, fault, max_size=6)))


@pytest.mark.rule("ROU-3", "ROU-10", "ROU-11", "ROU-14", "ROU-15", "AGR-5")
@given(case=cases())
def test_a_network_costs_clients_but_never_a_wrong_sum(case: Case) -> None:
    """At `hardened` it costs exactly those whose messages it lost or spoilt."""
    outcome = play(case)
    event(outcome.ended)
    assert problem(case, outcome) is None


@pytest.mark.rule("ROU-6", "ROU-10", "ROU-12", "ROU-19", "AGR-5", "AGG-2")
@given(case=cases(lies=True))
def test_clients_that_lie_and_sign_it_never_spoil_the_sum(case: Case) -> None:
    """The sum is that of what was signed, or there is none, and somebody is to blame."""
    outcome = play(case)
    event(outcome.ended)
    assert problem(case, outcome) is None


@pytest.mark.rule("ROU-14", "AGR-5")
@pytest.mark.parametrize("number", range(30))
def test_a_changed_message_is_laid_at_its_senders_door(number: int) -> None:
    """Each of the thirty messages of three clients, one bit of it, at several places."""
    params = params_of(3, 2, hardened=True)
    for at in (0, 1713, 3426):
        case = Case(params, frozenset(), 0, {number: Fault("changed", INSTEAD, at)})
        outcome = play(case)
        leg, client, up, _ = outcome.network.sent[number]
        assert outcome.result is not None
        (fault, *rest) = outcome.result.faults
        assert not rest
        if up:
            assert fault.culprit == client
        elif leg is Leg.ADVERTISE:  # another model's digest goes unnoticed until the answer's signature does not fit
            assert fault.culprit in (SERVER, client)
        elif leg is Leg.SHARE:  # a bundle in a roster names the client that it is about
            assert fault.culprit in (SERVER, *ids(3))
        elif leg is Leg.INPUT:
            assert fault.culprit != client
        else:
            assert fault.culprit == SERVER
        assert problem(case, outcome) is None


@pytest.mark.rule("ROU-3", "ROU-10", "ROU-14", "AGR-5")
@pytest.mark.parametrize("where", [INSTEAD, BEFORE, AFTER])
@pytest.mark.parametrize("what", [*LOST, *JUNK, LIE])
def test_every_single_fault(what: str, where: str) -> None:
    """Of each of the thirty messages of three clients, past its header: two are left, enough for an exact sum."""
    if what in (*LOST, LIE) and where != INSTEAD:
        return
    params, ended = params_of(3, 2, hardened=True), Counter[str]()
    for number in range(30):
        case = Case(params, frozenset({ClientId(1)}), 0, {number: Fault(what, where, 8 * 50 + number)})
        outcome = play(case)
        assert problem(case, outcome) is None
        ended[outcome.ended] += 1
    assert ended["exact"] == 30 or (what == LIE and ended["exact"] >= 27)


def test_the_judge_of_faulty_rounds_is_not_blind() -> None:
    """A masked input that is changed and counts, a sum that is lost for nothing, a client that is left out."""
    params = params_of(4, 3, hardened=True)
    case = Case(params, frozenset(), 0, {})
    good = play(case)
    assert (good.ended, problem(case, good)) == ("exact", None)
    assert good.result is not None
    assert problem(case, attrs.evolve(good, ended="wrong")) == "a wrong sum"
    lost = attrs.evolve(good, ended="RoundAborted", result=None)
    assert problem(case, lost) == "RoundAborted with 4 clients without a fault"
    fewer = attrs.evolve(good, result=attrs.evolve(good.result, u3=good.result.u3[1:]))
    assert problem(case, fewer) == "[0] without a fault are not in the sum"
    blamed = ContributionError(rule="ROU-12", culprit=9, field="", detail="")
    assert "which did not lie" in str(problem(case, attrs.evolve(good, error=blamed)))
    nobody = attrs.evolve(good, result=attrs.evolve(good.result, faults=(blamed,)))
    assert "nobody is named" in str(problem(case, nobody))
    assert {fault.what for seed in range(400) for fault in case_of(seed).faults.values()} == {*LOST, *JUNK, LIE}


@pytest.mark.rule("AGR-5")
def test_what_basic_does_not_notice() -> None:
    """Why masked inputs are left alone at `basic`: one changed bit is another sum, where `hardened` loses a client."""
    ended = {}
    for hardened in (False, True):
        params = params_of(4, 3, hardened=hardened)
        server = server_of(params)

        def network(leg: Leg, client: ClientId, up: bool, data: bytes) -> list[bytes]:
            return [changed(data, 8 * wire.HEADER_BYTES) if up and leg is Leg.INPUT and client == 1 else data]

        clients = {u: client_of(u, params, slow=False) for u in ids(4)}
        result = run_round(server=server, clients=clients, train=train, network=network)
        expected = plain_sum(params, result.assignments, result.u3)
        ended[hardened] = (result.u3, server.total_unmasked.tolist() == expected)
    assert ended == {False: ((0, 1, 2, 3), False), True: ((0, 2, 3), True)}


# A network that keeps everything and delivers what it likes, when it likes; clients that restart


FATES = ("right", "right", "right", "changed", "cut", "to another")


def kind_or_any(data: bytes) -> type[Message]:
    """What it says it is, or anything."""
    try:
        return kind_of(data)
    except ContributionError:
        return Open


def check_named(error: ContributionError, suspects: set[int]) -> None:
    assert error.rule
    assert error.culprit in suspects


def check_out_of_order(error: PreconditionError) -> None:
    assert error.rule == "ROU-3"


def check_too_few(error: RoundAborted, params: Params) -> None:
    assert error.rule == "ROU-11"
    assert error.have < error.need == params.threshold


@attrs.frozen
class Parcel:
    """A message on its way."""

    client: ClientId
    up: bool
    data: bytes


class Wild(RuleBasedStateMachine):
    """The server is honest, and closes its legs when it likes; the network is not."""

    params: Params

    @initialize(clients=st.integers(2, 8), hardened=st.booleans(), data=st.data(), bits=st.sampled_from((32, 64)))
    def begin(self, clients: int, hardened: bool, data: st.DataObject, bits: int) -> None:
        least = max(2, clients // 2 + 1 if hardened else 2)
        self.params = params_of(
            clients, data.draw(st.integers(least, max(least, clients - 1))), hardened=hardened, bits=bits
        )
        slow = data.draw(st.frozensets(st.integers(0, clients - 1)))
        self.server = server_of(self.params)
        self.journals = {u: MemoryJournal() for u in ids(clients)}
        self.clients = {
            u: client_of(u, self.params, slow=u in slow, journal=journal) for u, journal in self.journals.items()
        }
        self.sent: list[Parcel] = [Parcel(u, up, data) for _, u, up, data in another_round(self.params)]
        self.waiting: list[Parcel] = []
        self.said: dict[tuple[ClientId, str], bytes] = {}
        self.assignments: dict[ClientId, Assignment] = {}
        self.ended = ""
        opening = self.server.open()
        self.post(dict.fromkeys(self.clients, opening))

    def header(self, client: ClientId, up: bool) -> Header:
        return Header(self.server.context.session, self.server.context.round, client if up else SERVER)

    def post(self, messages: Mapping[ClientId, ServerMessage]) -> None:
        for u, message in messages.items():
            self.waiting.append(Parcel(u, False, wire.encode(message, self.header(u, False))))

    def arrive(self, client: ClientId, up: bool, data: bytes) -> None:
        """Whatever it is, the receiver takes it or refuses it by a typed error, and names somebody."""
        try:
            kind = kind_or_any(data)
            message = wire.decode(data, expected=self.header(client, up), kind=kind, sizes=self.server.sizes)
            if up:
                assert isinstance(message, ClientMessage)
                self.server.accept(message)
            else:
                self.step(client, message)
        except ContributionError as error:
            check_named(error, {client} if up else {SERVER, *self.clients})
        except PreconditionError as error:
            check_out_of_order(error)

    def step(self, client: ClientId, message: Any) -> None:
        answer = getattr(self.clients[client], STEPS[type(message).__name__])(message)
        if isinstance(answer, Assignment):
            self.assignments[client] = answer
            answer = self.clients[client].masked_input(update(client, answer))
        data = wire.encode(answer, self.header(client, True))
        before = self.said.setdefault((client, type(answer).__name__), data)
        assert data == before, "a second, different answer"
        self.waiting.append(Parcel(client, True, data))

    def deliver(self, parcel: Parcel, fate: str, at: int) -> None:
        data, client = parcel.data, parcel.client
        if fate == "changed" and (self.params.hardened or not parcel.up or not unsafe_at_basic(data)):
            data = changed(data, at)
        elif fate == "cut":
            data = data[: at % len(data)]
        elif fate == "to another":
            client = ids(self.params.clients)[at % self.params.clients]
        self.arrive(client, parcel.up, data)

    @rule(
        fates=st.dictionaries(st.integers(0, 7), st.sampled_from((*FATES, "lost", "late")), max_size=3), data=st.data()
    )
    def time_passes(self, fates: dict[int, str], data: st.DataObject) -> None:
        """All that is on its way arrives, in any order, but for a few that fare otherwise; or the server goes on."""
        if not self.waiting:
            self.the_server_goes_on()
        now, self.waiting = self.waiting, []
        self.sent += now
        for k in data.draw(st.permutations(range(len(now)))):
            fate = fates.get(k, "right")
            if fate == "late":
                self.waiting.append(now[k])
            elif fate != "lost":
                self.deliver(now[k], fate, data.draw(st.integers(0, 4000)) if fate != "right" else 0)

    @rule(data=st.data(), fate=st.sampled_from(FATES), at=st.integers(0, 4000))
    def anything_arrives_again(self, data: st.DataObject, fate: str, at: int) -> None:
        """Of this round or the one before, from wherever it was."""
        self.deliver(data.draw(st.sampled_from(self.sent)), fate, at)

    @rule(data=st.data())
    def a_client_restarts(self, data: st.DataObject) -> None:
        u = data.draw(st.sampled_from(sorted(self.clients)))
        self.clients[u] = restored(u, self.params, self.journals[u])

    def the_server_goes_on(self) -> None:
        leg = self.server._leg
        if self.ended:
            return
        try:
            if leg is Leg.ADVERTISE:
                roster = self.server.close_advertise()
                self.post(dict.fromkeys(self.server.u1, roster))
            elif leg is Leg.SHARE:
                self.post(self.server.close_share())
            elif leg is Leg.INPUT:
                announce = self.server.close_input()
                self.post(dict.fromkeys(self.server.u3, announce))
            elif leg is Leg.CONSISTENCY:
                agreed = self.server.close_consistency()
                self.post(dict.fromkeys(self.server.u3, agreed))
            else:
                self.server.close_unmask()
                self.ended = "exact"
                expected = plain_sum(self.params, self.assignments, self.server.u3)
                assert self.server.total_unmasked.tolist() == expected
        except RoundAborted as error:
            self.ended = f"aborted at {error.stage}"
            check_too_few(error, self.params)

    @invariant()
    def one_share_of_each(self) -> None:
        """No client has given away both kinds of share for one other, or for others than the server asked for."""
        for (client, kind), data in getattr(self, "said", {}).items():
            if kind == "Unmask":
                found = wire.decode(data, expected=self.header(client, True), kind=Unmask, sizes=self.server.sizes)
                assert isinstance(found, Unmask)
                selves, keys = ([u for u, _ in shares] for shares in (found.self_shares, found.key_shares))
                assert selves == self.server.u3
                assert sorted([*selves, *keys]) == list(self.server.u2)

    def teardown(self) -> None:
        """It comes to an end, whatever has happened."""
        for _ in range(20):
            if getattr(self, "ended", "never begun"):
                break
            while self.waiting:
                parcel = self.waiting.pop(0)
                self.arrive(parcel.client, parcel.up, parcel.data)
            self.the_server_goes_on()
        else:
            raise AssertionError("the round does not end")
        event(getattr(self, "ended", "never begun"))


TestWild = pytest.mark.rule("ROU-3", "ROU-8", "ROU-10", "ROU-11", "ROU-14", "ROU-16", "AGR-5")(Wild.TestCase)
TestWild.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


# A server that tells different clients different things


STRANGER = SigningKey(digest(b"not in the directory"))


@attrs.define
class Liar:
    """It has all that the clients have said, and may show each of them two things at every leg, in either order."""

    data: st.DataObject
    params: Params
    clients: dict[ClientId, Client]
    adverts: dict[ClientId, Advertise] = attrs.field(factory=dict)
    shares: dict[ClientId, ShareKeys] = attrs.field(factory=dict)
    assignments: dict[ClientId, Assignment] = attrs.field(factory=dict)
    inputs: dict[ClientId, MaskedInput] = attrs.field(factory=dict)
    statements: dict[ClientId, Consistent] = attrs.field(factory=dict)
    unmasks: dict[ClientId, Unmask] = attrs.field(factory=dict)
    refused: Counter[str] = attrs.field(factory=Counter)

    def show(self, one: Mapping[ClientId, Any], two: Mapping[ClientId, Any] | None, step: str) -> dict[ClientId, Any]:
        """Each client one of the two, and then the other: what they answer to the first, if anything."""
        out: dict[ClientId, Any] = {}
        for u in one:
            both = [one[u]] if two is None or u not in two else self.data.draw(st.permutations([one[u], two[u]]))
            for message in both:  # the second one, too, if it differs, only to be refused
                try:
                    answer = getattr(self.clients[u], step)(message)
                except ContributionError as error:
                    check_named(error, {SERVER, *self.clients})
                    if error.rule != "ROU-3":
                        self.refused[error.rule] += 1
                except PreconditionError as error:
                    check_out_of_order(error)
                else:
                    assert out.setdefault(u, answer) is answer
                    assert message == both[0]
        return out

    def split(self, times: int = 3) -> bool:
        """Whether to show two things here, `times` to one against it."""
        return self.data.draw(st.integers(0, times)) == 0

    def some(self, of: Iterable[ClientId], most: bool = True) -> list[ClientId]:
        """A subset; without `most` of at least t where there are that many."""
        among = sorted(of)
        least = 0 if not most else min(len(among), self.params.threshold)
        return sorted(self.data.draw(st.permutations(among))[: self.data.draw(st.integers(least, len(among)))])


def lie_through(data: st.DataObject, params: Params) -> tuple[Liar, Server]:
    """A round with a server that equivocates wherever it likes."""
    journals = {u: MemoryJournal() for u in ids(params.clients)}
    clients = {u: client_of(u, params, slow=u == 1, journal=journal) for u, journal in journals.items()}
    it, server = Liar(data, params, clients), server_of(params)
    truth = server.context

    def everybody(message: Any) -> dict[ClientId, Any]:
        return dict.fromkeys(it.clients, message)

    field = data.draw(st.sampled_from(("model", "history")))
    changes: dict[str, Any] = {field: digest(b"another")}
    other = attrs.evolve(truth, **changes) if data.draw(st.booleans()) else attrs.evolve(truth, round=RoundNumber(9))
    it.adverts = it.show(everybody(Open(truth)), everybody(Open(other)) if it.split() else None, "open")

    def roster() -> Roster:
        """All bundles or some, one of them perhaps replaced: by the server's own, or one of the round before."""
        bundles = {u: it.adverts[u] for u in it.some(it.adverts)}
        how = data.draw(st.sampled_from(("true", "true", "forged", "old")))
        victim = data.draw(st.sampled_from(sorted(bundles))) if bundles else None
        if victim is not None and how == "forged":
            mine = attrs.evolve(bundles[victim], mask_key=identity_key(STRANGER), seed_commitment=bytes(32))
            header = Header(truth.session, truth.round, victim)
            bundles[victim] = agreement.signed(message=mine, header=header, context=truth.ctx0(), secret=STRANGER)
        if victim is not None and how == "old":
            found = next(s[3] for s in another_round(params) if s[:3] == (Leg.ADVERTISE, victim, True))
            old = wire.decode(found, expected=wire.header(found), kind=Advertise, sizes=server.sizes)
            assert isinstance(old, Advertise)
            bundles[victim] = old
        return Roster(tuple(bundles.values()))

    whole = Roster(tuple(it.adverts.values()))
    it.shares = it.show(
        dict.fromkeys(it.adverts, whole), dict.fromkeys(it.adverts, roster()) if it.split() else None, "roster"
    )

    def deliver(senders: list[ClientId]) -> dict[ClientId, Deliver]:
        """Of the envelopes that there are, those of `senders`; perhaps with commitments swapped, perhaps another model."""
        swap, model = data.draw(st.integers(0, 9)) == 0, server._state.model
        if data.draw(st.integers(0, 9)) == 0:
            model = (model + 1).astype(model.dtype)
        out = {}
        for u in it.shares:
            envelopes = {v: e for v in senders for e in it.shares[v].envelopes if e.peer == u}
            if swap and len(envelopes) > 1:
                (a, first), (b, second), *_ = envelopes.items()
                envelopes |= {a: attrs.evolve(first, commitments=second.commitments), b: second}
            out[u] = Deliver(tuple(attrs.evolve(e, peer=v) for v, e in envelopes.items()), model)
        return out

    others = deliver(it.some(it.shares)) if it.split() else None
    plain = {
        u: Deliver(
            tuple(attrs.evolve(e, peer=v) for v, m in it.shares.items() for e in m.envelopes if e.peer == u),
            server._state.model,
        )
        for u in it.shares
    }
    it.assignments = it.show(plain, others, "deliver")
    it.inputs = {u: it.clients[u].masked_input(update(u, a)) for u, a in it.assignments.items()}
    announce = [Announce(tuple(it.some(it.inputs))) for _ in range(2)]
    one, two = (  # whoever is in one of the two alone is shown that one
        {u: a if u in a.survivors or u not in b.survivors else b for u in it.inputs}
        for a, b in (announce, announce[::-1])
    )
    it.statements = it.show(one, two if it.split(1) else None, "announce")
    signatures = {u: m.signature for u, m in it.statements.items()}

    def best(client: ClientId) -> Agreed:
        """All that say the same as this client, which is the best that there is."""
        same = [u for u in signatures if it.statements[u].statement == it.statements[client].statement]
        return Agreed(tuple((u, signatures[u]) for u in same))

    chosen = Agreed(tuple((u, signatures[u]) for u in it.some(signatures, most=False)))
    worse = dict.fromkeys(it.statements, chosen)
    it.unmasks = it.show({u: best(u) for u in it.statements}, worse if it.split() else None, "agreed")
    return it, server


def check_what_came_out(it: Liar, server: Server) -> None:
    """Whoever revealed shares did so for one and the same U2 and U3, of at least t; what can be unmasked is their sum."""
    params, asked = (
        it.params,
        {(tuple(u for u, _ in m.self_shares), tuple(u for u, _ in m.key_shares)) for m in it.unmasks.values()},
    )
    assert len(asked) <= 1
    assert len({it.statements[u].statement for u in it.unmasks}) <= 1
    if not asked:
        event(f"nothing was revealed, {min(it.refused, default='with no refusal')}")
        return
    ((u3, dropped),) = asked
    assert len(u3) >= params.threshold
    assert not set(u3) & set(dropped)
    contexts = {u: it.clients[u]._ctx for u in u3}
    u2s = {u: tuple(it.clients[u]._u2) for u in u3}
    if len(it.unmasks) < params.threshold or len(set(contexts.values())) > 1 or len(set(u2s.values())) > 1:
        event("shares were revealed, too few or for masks that do not cancel")
        return
    ctx, u2 = contexts[u3[0]], u2s[u3[0]]
    roster = sorted(it.clients[u3[0]]._roster)
    position = {u: k for k, u in enumerate(roster, start=1)}
    helpers = sorted(it.unmasks)[: params.threshold]

    def secret(field: str, owner: ClientId) -> bytes:
        shares = {position[u]: dict(getattr(it.unmasks[u], field))[owner] for u in helpers}
        return shamir.combine(shares=shares, threshold=params.threshold)

    masks = mask_context(ctx=ctx, u2=u2)
    pads = {u: self_mask_seed(self_seed=Seed(secret("self_shares", u)), me=u, ctx=masks) for u in u3}
    dangling = {
        (u, v): pair_seed(
            secret=SecretKey(secret("key_shares", v)), me=v, peer=u, peer_key=it.adverts[u].mask_key, ctx=masks
        )
        for v in dropped
        for u in u3
    }
    total = sum((it.inputs[u].vector for u in u3[1:]), start=it.inputs[u3[0]].vector)
    bare = masking.unmask(ring=params.encoding.ring, total=total, self_seeds=pads.values(), dangling=dangling)
    assert bare.tolist() == plain_sum(params, it.assignments, u3)
    event(f"the sum over U3, after {sorted(it.refused)} were refused" if it.refused else "the sum over U3")


@pytest.mark.rule("AGR-5", "AGR-6", "AGR-7", "AGR-8", "ROU-3", "ROU-5", "ROU-6", "ROU-8", "CTX-5", "PAR-8")
@given(data=st.data(), clients=st.integers(2, 8))
def test_a_server_that_equivocates_gets_one_sum_of_t_clients_or_none(data: st.DataObject, clients: int) -> None:
    """All of it honest clients, so c = 0. What it gets is the exact sum of one U3, never shares for two."""
    params = params_of(
        clients, data.draw(st.integers(clients // 2 + 1, clients).filter(lambda t: t >= 2)), hardened=True
    )
    it, server = lie_through(data, params)
    rules = "ROU-4 ROU-5 ROU-6 ROU-8 KEY-2 KEY-6 KEY-9 MSG-1 AGR-7 AGR-8"
    assert it.refused.keys() <= set(rules.split())
    check_what_came_out(it, server)


# The jobs that go on for longer


def test_the_job_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tallies add up; rounds that should have ended otherwise are kept by number."""
    monkeypatch.setattr(faults, "CHUNK", 5)
    monkeypatch.setattr(faults, "run", lambda seed: ("wrong", "a wrong sum") if seed == 7 else ("exact", None))
    tally, path = faults.load(tmp_path / "none.json"), tmp_path / "results" / "tally.json"
    for version in ("one", "one", "two"):
        faults.add(tally, version, *faults.chunk(tally["next"]))
        faults.store(path, tally)
        tally = faults.load(path)
    assert tally == json.loads(path.read_text("utf-8"))
    listed = {**tally, "bad": [[0, "a wrong sum"]]}
    faults.again(listed, "new")
    assert listed["bad"] == []
    assert [(m["round"], m["was"], m["code"]) for m in listed["mended"]] == [(0, "a wrong sum", "new")]
    assert tally == {
        "next": 15,
        "rounds": 15,
        "wrong_sums": 1,
        "ended": {"exact": 14, "wrong": 1},
        "bad": [[7, "a wrong sum"]],
        "sittings": [{"code": "one", "first": 0, "rounds": 10}, {"code": "two", "first": 10, "rounds": 5}],
    }


@pytest.mark.rule("ROU-10", "ROU-14", "AGR-5")
def test_the_first_rounds_of_the_job_end_as_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "CHUNK", 60)
    ended, bad = faults.chunk(0)
    assert not bad
    assert ended.total() == 60
    assert ended["exact"] > 30


def test_the_job_does_not_swallow_what_it_should_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(case: Case) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(faults, "play", broken)
    assert faults.run(3) == ("untyped ZeroDivisionError", "untyped ZeroDivisionError: of all things")


@pytest.mark.rule("WIR-3", "WIR-4", "WIR-5", "ROU-10", "AGR-5")
def test_mutated_messages_bring_about_nothing_but_typed_errors() -> None:
    came = fuzz.fuzz(1, tries=2500)
    assert came["taken"] > 50
    assert came["refused, KEY-9"] > 20
    assert {"refused, ROU-10", "refused, ROU-19"} <= came.keys()
