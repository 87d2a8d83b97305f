"""Tiny rounds on a network that does what it likes, drawn from a seed, and what such a round must come to.

The network loses, repeats, changes, cuts, holds back, swaps and replays messages; at `hardened` a client may also lie: change a
message of its own and sign it. Level `basic` does not authenticate what a client says, so there nothing changes the contents of
a masked input or of a share: the sum would be another one, and nobody could tell. Everything else is the same at both levels.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from random import Random
from typing import Any, Final

import attrs
import numpy as np
from plain import digest, le
from rounds import directory_of, held_by, identity_of, record_of, update_of, weight_of

from clip_ref import wire
from clip_ref.agreement import signed
from clip_ref.errors import SERVER, ClipError, ContributionError, RoundAborted
from clip_ref.keys import Directory
from clip_ref.layout import dense_chain
from clip_ref.messages import Advertise, ClientMessage, MaskedInput, Message
from clip_ref.params import Encoding, Params, PruningPolicy, SecurityLevel
from clip_ref.round import NO_JOURNAL, Assignment, Client, Leg, RoundResult, Server, State, ids, run_round
from clip_ref.round.journal import Journal
from clip_ref.values import ClientId, Floats, RoundNumber

LAYOUT = dense_chain(1, 3, 1)
"""d = 10 weights in one hidden layer."""

GRID = (1000, 500)
SESSION = b"a faulty session"

STEPS: Final = {"Open": "open", "Roster": "roster", "Deliver": "deliver", "Announce": "announce", "Agreed": "agreed"}
"""The client's method for each of the server's messages."""

LOST: Final = ("lost", "held", "held longer")
JUNK: Final = ("twice", "changed", "cut", "longer", "of another leg", "of another client", "of another round")
BEFORE, AFTER, INSTEAD = "before", "after", "instead"
LIE: Final = "lie"


@attrs.frozen
class Fault:
    """What happens to one message."""

    what: str
    """One of `LOST`, `JUNK` or `LIE`."""

    where: str = INSTEAD
    """Whether junk arrives before the message, after it, or instead."""

    at: int = 0
    """Which byte, bit or message: any number, reduced to what there is."""


@attrs.frozen
class Case:
    """A round and its faults."""

    params: Params
    slow: frozenset[ClientId]
    seed: int
    faults: Mapping[int, Fault]
    """By the number of the message, in the order of sending."""


def params_of(clients: int, threshold: int, *, hardened: bool, bits: int = 32) -> Params:
    policy = PruningPolicy(straggler_share=500, grid=GRID, anonymity_blocks=False, min_roster=0, warm_up=1)
    return Params(
        clients=clients,
        threshold=threshold,
        policy=policy,
        encoding=Encoding(ring_bits=bits, value_bits=10, weight_max=50),
        security=SecurityLevel.HARDENED if hardened else SecurityLevel.BASIC,
    )


@lru_cache
def directory(clients: int) -> Directory:
    return directory_of(params_of(clients, clients, hardened=True), ids(clients))


@lru_cache
def state_of(round: int = 3) -> State:
    rng = np.random.default_rng(7)
    history = rng.normal(size=LAYOUT.size).astype(np.float32)
    return State(SESSION, RoundNumber(round), (history + rng.normal(size=LAYOUT.size)).astype(np.float32), history)


def server_parts(params: Params, round: int = 3) -> dict[str, Any]:
    known = {"directory": directory(params.clients)} if params.hardened else {}
    return {"params": params, "layout": LAYOUT, "state": state_of(round), **known}


def server_of(params: Params, round: int = 3) -> Server:
    return Server(**server_parts(params, round))


def client_of(
    me: ClientId,
    params: Params,
    *,
    slow: bool,
    seed: int = 0,
    journal: Journal | None = None,
    session: bytes | None = SESSION,
) -> Client:
    known = {"directory": directory(params.clients)} if params.hardened else {}
    return Client(
        me=me,
        params=params,
        layout=LAYOUT,
        record=record_of(800_000 if slow else 500_000, weight=weight_of(me), grid=GRID),
        history=state_of().history,
        entropy=digest(b"test entropy", le(seed, 8), le(me, 4)),
        identity=identity_of(me) if params.hardened else None,
        session=session,
        journal=NO_JOURNAL if journal is None else journal,
        **known,
    )


def restored(me: ClientId, params: Params, journal: Journal, session: bytes = SESSION) -> Client:
    known = {"directory": directory(params.clients)} if params.hardened else {}
    return Client.restored(
        me=me,
        params=params,
        layout=LAYOUT,
        history=state_of().history,
        journal=journal,
        identity=identity_of(me) if params.hardened else None,
        session=session,
        **known,
    )


@lru_cache
def known_update(me: ClientId, length: int) -> Floats:
    """`update_of`, drawn once; read-only."""
    drawn = update_of(me, length)
    drawn.flags.writeable = False
    return drawn


def update(me: ClientId, assignment: Assignment) -> Floats:
    return known_update(me, sum(held_by(LAYOUT, assignment.kept)))


def train(assignments: Mapping[ClientId, Assignment]) -> dict[ClientId, Floats]:
    return {u: update(u, assignment) for u, assignment in assignments.items()}


def plain_input(params: Params, me: ClientId, assignment: Assignment) -> list[int]:
    """What it puts under its mask, in Python's integers."""
    return _plain_input(params.encoding.steps, me, tuple(held_by(LAYOUT, assignment.kept)), assignment.verdict.keep)


@lru_cache
def _plain_input(steps: int, me: ClientId, held: tuple[bool, ...], mine: int) -> list[int]:
    weight, left = weight_of(me), iter(update_of(me, sum(held)).tolist())
    clipped = [max(Fraction(-1), min(Fraction(1), Fraction(next(left)))) if here else Fraction(0) for here in held]
    values = [round(value * steps) * weight for value in clipped]
    return values + [weight if keep == mine else 0 for keep in GRID]


def plain_sum(params: Params, assignments: Mapping[ClientId, Assignment], survivors: Sequence[ClientId]) -> list[int]:
    inputs = (plain_input(params, u, assignments[u]) for u in survivors)
    return [sum(column) % params.encoding.ring.modulus for column in zip(*inputs, strict=True)]


Sent = tuple[Leg, ClientId, bool, bytes]


@lru_cache
def another_round(params: Params) -> tuple[Sent, ...]:
    """All that passed in the round before."""
    passed: list[Sent] = []

    def network(leg: Leg, client: ClientId, up: bool, data: bytes) -> Sequence[bytes]:
        passed.append((leg, client, up, data))
        return (data,)

    clients = {u: client_of(u, params, slow=False, seed=1 << 40) for u in ids(params.clients)}
    run_round(server=server_of(params, 2), clients=clients, train=train, network=network)
    return tuple(passed)


def kind_of(data: bytes) -> type[Message]:
    """What it says it is; `WireError` if it says nothing."""
    return {kind.__name__: kind for kind in wire.KINDS}[wire.kind_name(data)]


def changed(data: bytes, at: int) -> bytes:
    """One bit of it."""
    place = at // 8 % len(data)
    return data[:place] + bytes([data[place] ^ 1 << at % 8]) + data[place + 1 :]


def unsafe_at_basic(data: bytes) -> bool:
    """Whether nothing but its signature protects what the message says."""
    return wire.kind_name(data) in ("MaskedInput", "Unmask")


@attrs.define
class Network:
    """Does to each message what the case says."""

    case: Case
    server: Server
    sent: list[Sent] = attrs.field(factory=list)
    held: dict[tuple[ClientId, bool], list[tuple[str, bytes]]] = attrs.field(factory=dict)
    victims: set[ClientId] = attrs.field(factory=set)
    """Whom a fault may have put out of the round, as long as nobody lies."""
    lies: list[tuple[MaskedInput, MaskedInput]] = attrs.field(factory=list)
    """Masked inputs and what was sent and signed instead."""
    liars: set[ClientId] = attrs.field(factory=set)

    def __call__(self, leg: Leg, client: ClientId, up: bool, data: bytes) -> Sequence[bytes]:
        fault = self.case.faults.get(len(self.sent))
        self.sent.append((leg, client, up, data))
        late = self.held.pop((client, up), [])
        arrived = [data] if fault is None else self._suffer(fault, leg, client, up, data)
        arrived = [
            *(d for what, d in late if what == "held"),
            *arrived,
            *(d for what, d in late if what == "held longer"),
        ]
        if (data not in arrived) if up else (arrived[:1] != [data]):
            self.victims.add(client)
        return arrived

    def _suffer(self, fault: Fault, leg: Leg, client: ClientId, up: bool, data: bytes) -> list[bytes]:
        if fault.what in LOST:
            if fault.what != "lost":
                self.held.setdefault((client, up), []).append((fault.what, data))
            return []
        if fault.what == LIE:
            return [self._lie(fault, client, data) if up and self.case.params.hardened else data]
        junk = self._junk(fault, leg, client, up, data)
        return {BEFORE: [*junk, data], AFTER: [data, *junk], INSTEAD: junk}[fault.where]

    def _junk(self, fault: Fault, leg: Leg, client: ClientId, up: bool, data: bytes) -> list[bytes]:
        if fault.what == "twice":
            return [data, data]
        if fault.what == "changed":
            return [] if not self.case.params.hardened and unsafe_at_basic(data) else [changed(data, fault.at)]
        if fault.what == "cut":
            return [data[: fault.at % len(data)]]
        if fault.what == "longer":
            return [data + bytes(1 + fault.at % 3)]
        if fault.what == "of another round":
            found = [s for s in another_round(self.case.params) if s[:3] == (leg, client, up)]
        elif fault.what == "of another leg":
            found = [s for s in self.sent if s[1:3] == (client, up) and s[0] is not leg]
        else:
            found = [s for s in self.sent if s[0] is leg and s[2] is up and s[1] != client]
        return [found[fault.at % len(found)][3]] if found else []

    def _lie(self, fault: Fault, client: ClientId, data: bytes) -> bytes:
        """The message with one bit changed, if it then still is one, and signed by its sender."""
        header, kind, sizes, context = wire.header(data), kind_of(data), self.server.sizes, self.server.context
        truth = wire.decode(data, expected=header, kind=kind, sizes=sizes)
        try:
            lie = wire.decode(changed(data, fault.at), expected=header, kind=kind, sizes=sizes)
        except ContributionError:
            return changed(data, fault.at)
        assert isinstance(lie, ClientMessage)
        ctx = context.ctx0() if isinstance(lie, Advertise) else self.server._ctx
        if isinstance(lie, MaskedInput) and isinstance(truth, MaskedInput):
            self.lies.append((truth, lie))
        self.liars.add(client)
        return wire.encode(signed(message=lie, header=header, context=ctx, secret=identity_of(client)), header)


@attrs.frozen
class Outcome:
    """How a round ended."""

    ended: str
    """`exact`, `wrong`, or the error: its type, its rule and, where the round was aborted, the stage."""

    error: ClipError | None
    result: RoundResult | None
    network: Network


def play(case: Case) -> Outcome:
    """Run it to its end. Whatever is not a `ClipError` comes through."""
    params = case.params
    server = server_of(params)
    network = Network(case, server)
    clients = {u: client_of(u, params, slow=u in case.slow, seed=case.seed) for u in ids(params.clients)}
    try:
        result = run_round(server=server, clients=clients, train=train, network=network)
    except RoundAborted as error:
        return Outcome(f"RoundAborted {error.rule} {error.stage}", error, None, network)
    except ContributionError as error:
        return Outcome(f"ContributionError {error.rule}", error, None, network)
    expected = plain_sum(params, result.assignments, result.u3)
    for truth, lie in network.lies:
        if lie.sender in result.u3:
            moved = (lie.vector - truth.vector).tolist()
            expected = [(a + b) % params.encoding.ring.modulus for a, b in zip(expected, moved, strict=True)]
    exact = server.total_unmasked.tolist() == expected and list(result.aggregate.slots) == expected[LAYOUT.size :]
    return Outcome("exact" if exact else "wrong", None, result, network)


def problem(case: Case, outcome: Outcome) -> str | None:
    """What the round should not have come to, if so.

    Always: no wrong sum, and every fault names a party of the round. No other end than the sum or an abort, unless it is laid
    at a liar's door, or a masked input that somebody made up is implausible (AGG-2). Without lies, and at `hardened`, nobody is
    out of the sum without a fault of its own, so that with t clients without any there is a sum.
    """
    params, network = case.params, outcome.network
    if outcome.ended == "wrong":
        return "a wrong sum"
    parties = {SERVER, *ids(params.clients)}
    faults = list(outcome.result.faults) if outcome.result else []
    if isinstance(outcome.error, ContributionError):
        faults.append(outcome.error)
        made_up = outcome.error.rule == "AGG-2" and network.lies
        if outcome.error.culprit not in network.liars and not made_up:
            return f"{outcome.error}, which did not lie"
    if any(fault.culprit not in parties or not fault.rule for fault in faults):
        return f"nobody is named: {faults}"
    if params.hardened and not network.liars:
        untouched = set(ids(params.clients)) - network.victims
        if len(untouched) >= params.threshold and outcome.result is None:
            return f"{outcome.ended} with {len(untouched)} clients without a fault"
        if outcome.result and not untouched <= set(outcome.result.u3):
            return f"{sorted(untouched - set(outcome.result.u3))} without a fault are not in the sum"
    return None


SIZES: Final = (3,) * 28 + (4,) * 8 + (5, 5, 6, 8)
"""How many clients a drawn round has."""


def case_of(seed: int) -> Case:
    """The seed's case: mostly 3 clients, up to 8; two of five at `hardened`; none to six faults, in a few cases lies."""
    draw = Random(seed)
    clients, hardened = draw.choice(SIZES), draw.random() < 0.4
    least = clients // 2 + 1 if hardened else 2
    threshold = least if draw.random() < 0.7 else draw.randint(least, clients)
    params = params_of(clients, threshold, hardened=hardened, bits=draw.choice((32, 64)))
    slow = frozenset(ClientId(u) for u in range(clients) if draw.random() < 0.4)
    messages, kinds = 2 * clients * (5 if hardened else 4), LOST + JUNK + (LIE,) * (draw.random() < 0.2)
    faults = {
        draw.randrange(messages): Fault(draw.choice(kinds), draw.choice((BEFORE, AFTER, INSTEAD)), draw.getrandbits(20))
        for _ in range(draw.choice((0, 1, 1, 2, 2, 3, 4, 6)))
    }
    return Case(params, slow, seed, faults)
