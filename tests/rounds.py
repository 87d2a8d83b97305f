"""Small rounds to test on: clients with known times, updates from a seed, and what the sum must come to, worked out apart."""

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import attrs
import numpy as np
from plain import digest, le

from clip_ref.agreement import signed
from clip_ref.keys import NO_IDENTITIES, Directory, identity_key
from clip_ref.layout import Layout, dense_chain
from clip_ref.messages import (
    Advertise,
    Agreed,
    Announce,
    ClientMessage,
    Consistent,
    Deliver,
    Header,
    MaskedInput,
    Open,
    Roster,
    ShareKeys,
    TimeRecord,
    Unmask,
)
from clip_ref.params import Encoding, Mean, Params, PruningPolicy, SecurityLevel, Selection, SlackSeed
from clip_ref.round import NO_JOURNAL, Assignment, Client, Leg, Server, State, ids
from clip_ref.values import ClientId, Floats, RoundNumber, SigningKey

LAYOUT = dense_chain(2, 6, 4, 2)
"""d = 56 weights in two hidden layers."""

SESSION = b"a session of 16b"
GRID = (1000, 750, 500)


def policy_of(
    mean: Mean = Mean.LEVELS, selection: Selection = Selection.RANK, *, blocks: bool = False, **more: Any
) -> PruningPolicy:
    """Half of the clients may prune, however few there are, from round 2 on."""
    seed = SlackSeed.CONTEXT if mean is Mean.LEVELS else SlackSeed.RECORDS
    return PruningPolicy(
        straggler_share=500,
        grid=GRID,
        mean=mean,
        selection=selection,
        slack_seed=seed,
        anonymity_blocks=blocks,
        min_roster=0,
        warm_up=1,
        **more,
    )


def params_of(
    policy: PruningPolicy, *, clients: int = 5, threshold: int = 3, bits: int = 32, hardened: bool = False
) -> Params:
    return Params(
        clients=clients,
        threshold=threshold,
        policy=policy,
        encoding=Encoding(ring_bits=bits, value_bits=10, weight_max=50),
        security=SecurityLevel.HARDENED if hardened else SecurityLevel.BASIC,
    )


def legs_of(params: Params) -> list[Leg]:
    """Level `basic` has no consistency."""
    return [leg for leg in Leg if params.hardened or leg is not Leg.CONSISTENCY]


def identity_of(client: ClientId) -> SigningKey:
    return SigningKey(digest(b"test identity", le(client, 4)))


def directory_of(params: Params, roster: Iterable[ClientId]) -> Directory:
    """Everybody's identity, at level `hardened`."""
    return Directory({u: identity_key(identity_of(u)) for u in roster}) if params.hardened else NO_IDENTITIES


def models(seed: int = 0) -> tuple[Floats, Floats]:
    """A model and the one before it."""
    rng = np.random.default_rng(seed)
    before = rng.normal(size=LAYOUT.size).astype(np.float32)
    return (before + rng.normal(size=LAYOUT.size) * 0.1).astype(np.float32), before


def state_of(round: int = 3, seed: int = 0) -> State:
    model, history = models(seed)
    return State(SESSION, RoundNumber(round), model, history)


def record_of(whole: int, *, weight: int = 7, grid: tuple[int, ...] = GRID) -> TimeRecord:
    """Training takes `whole` µs, and r ‰ of that at keep level r; everything else is instant."""
    return TimeRecord(True, True, False, 0, 0, 0, 0, tuple(whole * r // 1000 for r in grid), weight, b"")


def time_of(client: ClientId, slow: bool) -> int:
    """Against half a second of the others, slow clients of odd ids need to keep 750 ‰ and of even ids 500 ‰."""
    return (650_000 if client % 2 else 800_000) if slow else 500_000


def client_of(
    me: ClientId,
    params: Params,
    record: TimeRecord,
    directory: Directory = NO_IDENTITIES,
    *,
    seed: int = 0,
    **more: Any,
) -> Client:
    """Holds the history of `state_of()`; its entropy depends on its id and `seed` alone."""
    known: dict[str, Any] = {"session": SESSION, "journal": NO_JOURNAL} if params.hardened else {}
    return Client(
        me=me,
        params=params,
        layout=LAYOUT,
        record=record,
        entropy=digest(b"test entropy", le(seed, 8), le(me, 4)),
        identity=identity_of(me) if params.hardened else None,
        directory=directory,
        **{"history": models()[1]} | known | more,
    )


def clients_of(
    params: Params, roster: Iterable[ClientId], slow: Iterable[ClientId] = (), *, seed: int = 0, **more: Any
) -> dict[ClientId, Client]:
    roster, late, grid = list(roster), set(slow), params.policy.grid
    records = {u: record_of(time_of(u, u in late), weight=weight_of(u), grid=grid) for u in roster}
    directory = directory_of(params, roster)
    return {u: client_of(u, params, records[u], directory, seed=seed, **more) for u in roster}


def weight_of(client: ClientId) -> int:
    return 1 + client % 50


def update_of(client: ClientId, length: int) -> Floats:
    """Its sub-model's update: some entries past the clipping bound, some 0."""
    rng = np.random.default_rng([client, length])
    return np.where(rng.random(length) < 0.1, 0, rng.normal(size=length) * 0.6).astype(np.float32)


def held_by(layout: Layout, kept: Mapping[str, Any]) -> list[bool]:
    """Which coordinates are held, one at a time: those with kept neurons on every axis."""
    return _held_by(layout, tuple((name, tuple(index.tolist())) for name, index in sorted(kept.items())))


@lru_cache
def _held_by(layout: Layout, kept: tuple[tuple[str, tuple[int, ...]], ...]) -> list[bool]:
    neurons = {layer.name: layer.neurons for layer in layout.layers}
    sets, out = dict(kept), []
    for tensor in layout.tensors:
        for index in np.ndindex(tensor.shape):
            owners = [
                (axis.layer, at // axis.inner % neurons[axis.layer])
                for at, axis in zip(index, tensor.axes, strict=True)
                if axis.layer is not None
            ]
            out.append(all(neuron in sets[layer] for layer, neuron in owners))
    return out


def train(assignments: Mapping[ClientId, Assignment]) -> dict[ClientId, Floats]:
    return {u: update_of(u, sum(held_by(LAYOUT, a.kept))) for u, a in assignments.items()}


def plain_inputs(params: Params, assignments: Mapping[ClientId, Assignment]) -> dict[ClientId, list[int]]:
    """What each client puts under its mask, in Python's integers: coordinates, then extras. Takes C = 1.

    `assignments` are those of everybody in U2, since `holder` scales by them all, and `strata` by those who prune.
    """
    encoding, policy = params.encoding, params.policy
    held = {u: held_by(LAYOUT, a.kept) for u, a in assignments.items()}
    pruning = {u for u, a in assignments.items() if a.verdict.keep < 1000}
    among = {Mean.HOLDER: set(assignments), Mean.STRATA: pruning}.get(policy.mean, set())
    whole = sum(weight_of(u) for u in among)
    holders = [sum(weight_of(u) for u in among if held[u][j]) for j in range(LAYOUT.size)]
    out = {}
    for u, assignment in assignments.items():
        update = iter(update_of(u, sum(held[u])))
        vector = []
        for j in range(LAYOUT.size):
            if not held[u][j]:
                vector.append(0)
                continue
            clipped = max(Fraction(-1), min(Fraction(1), Fraction(float(next(update)))))
            value = round(clipped * (2 ** (encoding.value_bits - 1) - 1)) * weight_of(u)
            if u in among:
                value = round(value * min(Fraction(whole, holders[j]), Fraction(policy.holder_cap)))
            vector.append(value)
        slot = policy.grid.index(assignment.verdict.keep) if policy.mean is Mean.LEVELS else 0
        out[u] = vector + [weight_of(u) if k == slot else 0 for k in range(len(policy.grid))]
    return out


def plain_sum(params: Params, inputs: Mapping[ClientId, list[int]], survivors: Iterable[ClientId]) -> list[int]:
    """Modulo R, as the server should see it."""
    columns = zip(*(inputs[u] for u in survivors), strict=True)
    return [sum(column) % 2**params.encoding.ring_bits for column in columns]


class InTransit(Server):
    """Keeps the deliveries, and may change what passes: `down` the deliveries, `up` the answers."""

    deliveries: dict[ClientId, Deliver]

    def __init__(
        self,
        *,
        down: Callable[[dict[ClientId, Deliver]], dict[ClientId, Deliver]] = lambda messages: messages,
        up: Callable[[ClientMessage], ClientMessage] = lambda message: message,
        **made_of: Any,
    ) -> None:
        super().__init__(**made_of)
        self._down, self._up = down, up

    def close_share(self) -> dict[ClientId, Deliver]:
        self.deliveries = self._down(super().close_share())
        return self.deliveries

    def accept(self, message: ClientMessage) -> None:
        super().accept(self._up(message))


def signed_again(server: Server, message: Any) -> Any:
    """A message of a lying client: changed after it was made, and then signed, as only the client itself can."""
    header = Header(server.context.session, server.context.round, message.sender)
    return signed(message=message, header=header, context=server._ctx, secret=identity_of(message.sender))


@attrs.define
class Walk:
    """A round by hand, up to any leg: what each client is about to get, and what each has answered."""

    params: Params
    clients: dict[ClientId, Client]
    server: Server
    open: Open
    roster: Roster = attrs.field(factory=lambda: Roster(()))
    deliver: dict[ClientId, Deliver] = attrs.field(factory=dict)
    announce: Announce = attrs.field(factory=lambda: Announce(()))
    agreed: Agreed = attrs.field(factory=lambda: Agreed(()))
    adverts: dict[ClientId, Advertise] = attrs.field(factory=dict)
    shares: dict[ClientId, ShareKeys] = attrs.field(factory=dict)
    assignments: dict[ClientId, Assignment] = attrs.field(factory=dict)
    inputs: dict[ClientId, MaskedInput] = attrs.field(factory=dict)
    statements: dict[ClientId, Consistent] = attrs.field(factory=dict)
    unmasks: dict[ClientId, Unmask] = attrs.field(factory=dict)


def walk(
    until: Leg | None,
    *,
    params: Params | None = None,
    state: State | None = None,
    slow: Iterable[int] = (),
    without: Callable[[Leg, ClientId], bool] = lambda leg, client: False,
    **more: Any,
) -> Walk:
    """Go through the legs before `until`, or all: up to where the server's messages of that leg are made.

    `without(leg, client)` says whose message does not reach the server.
    """
    params = params_of(policy_of()) if params is None else params
    roster = ids(params.clients)
    if params.hardened and state is not None:
        more = {"session": state.session} | more
    clients = clients_of(params, roster, [ClientId(u) for u in slow], **more)
    server = Server(
        params=params,
        layout=LAYOUT,
        state=state_of() if state is None else state,
        directory=directory_of(params, roster),
    )
    out = Walk(params, clients, server, server.open())

    def hand_in(leg: Leg, answers: Mapping[ClientId, ClientMessage]) -> None:
        for u, answer in answers.items():
            if not without(leg, u):
                server.accept(answer)

    if until is Leg.ADVERTISE:
        return out
    out.adverts = {u: c.open(out.open) for u, c in clients.items()}
    hand_in(Leg.ADVERTISE, out.adverts)
    out.roster = server.close_advertise()
    if until is Leg.SHARE:
        return out
    out.shares = {u: clients[u].roster(out.roster) for u in server.u1}
    hand_in(Leg.SHARE, out.shares)
    out.deliver = server.close_share()
    if until is Leg.INPUT:
        return out
    out.assignments = {u: clients[u].deliver(m) for u, m in out.deliver.items()}
    out.inputs = {u: clients[u].masked_input(update) for u, update in train(out.assignments).items()}
    hand_in(Leg.INPUT, out.inputs)
    out.announce = server.close_input()
    if until is Leg.CONSISTENCY or (until is Leg.UNMASK and not params.hardened):
        return out
    for u in server.u3:
        answer = clients[u].announce(out.announce)
        if isinstance(answer, Consistent):
            out.statements[u] = answer
        else:
            out.unmasks[u] = answer
    if params.hardened:
        hand_in(Leg.CONSISTENCY, out.statements)
        out.agreed = server.close_consistency()
        if until is Leg.UNMASK:
            return out
        out.unmasks = {u: clients[u].agreed(out.agreed) for u in server.u3}
    hand_in(Leg.UNMASK, out.unmasks)
    return out
