"""One whole round in memory: n clients, a server, bytes in between.   Spec: round, rules ROU-14, ROU-15.

Every message really is encoded and decoded, so that what is recorded is what a network would carry.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import attrs

from clip_ref import wire
from clip_ref.aggregation import Aggregate
from clip_ref.errors import SERVER, ContributionError, PreconditionError
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
    Neighbourhood,
    Open,
    Roster,
    ServerMessage,
    ShareKeys,
    Unmask,
)
from clip_ref.round.client import Assignment, Client
from clip_ref.round.cost import Leg, LegCost, Work
from clip_ref.round.server import Server
from clip_ref.values import ClientId, Digest, Floats

Train = Callable[[Mapping[ClientId, Assignment]], Mapping[ClientId, Floats]]
"""Trains every assignment and returns the sub-models' updates, float32[m] each; it may leave out clients that fail."""

Observer = Callable[[ClientId, bool, bytes], None]
"""Is told of every message as it is sent, in order: the client, whether it goes to the server, its bytes."""

Network = Callable[[Leg, ClientId, bool, bytes], Sequence[bytes]]
"""What arrives of a message on this leg, from or to this client (True: to the server): none, one or more, as sent or not."""


@attrs.frozen
class DropOut:
    """When a client disappears, for good."""

    leg: Leg
    """The leg of whose message it is a matter."""

    after: bool
    """Whether the message still arrives."""


@attrs.frozen
class RoundResult:
    """What came of a round."""

    aggregate: Aggregate
    """The next model and the weights in the sum."""

    sum_digest: Digest
    """The digest of the unmasked sum over Z_R."""

    u1: tuple[ClientId, ...]
    """Whose keys arrived."""

    u2: tuple[ClientId, ...]
    """Whose shares arrived."""

    u3: tuple[ClientId, ...]
    """Whose masked inputs arrived: the survivors, whose updates are in the sum."""

    u4: tuple[ClientId, ...]
    """Who signed that it was told the same; empty at security level `basic`."""

    u5: tuple[ClientId, ...]
    """Who helped to unmask."""

    assignments: Mapping[ClientId, Assignment]
    """What each client that got that far was to train."""

    costs: Mapping[ClientId, Mapping[Leg, LegCost]]
    """What each client computed, received and sent, leg by leg."""

    server_work: Work
    """What the server computed."""

    faults: tuple[ContributionError, ...]
    """Messages that were refused, and by whom they were; their receivers went on without them."""


def _faithful(leg: Leg, client: ClientId, up: bool, data: bytes) -> Sequence[bytes]:
    return (data,)


@attrs.define
class _Round:
    """The state of one round's driver."""

    server: Server
    clients: Mapping[ClientId, Client]
    drop_outs: Mapping[ClientId, DropOut]
    observe: Observer | None
    network: Network
    alive: list[ClientId] = attrs.field(factory=list)
    faults: list[ContributionError] = attrs.field(factory=list)
    costs: dict[ClientId, dict[Leg, LegCost]] = attrs.field(factory=dict)

    def _send(
        self, leg: Leg, client: ClientId, up: bool, message: Message, kind: type[Message]
    ) -> tuple[list[Message], int]:
        """ROU-15: encode and send one message: what arrives of it and can be read, and its length as it was sent."""
        context = self.server.context
        header = Header(context.session, context.round, client if up else SERVER)
        data = wire.encode(message, header)
        if self.observe is not None:
            self.observe(client, up, data)
        arrived = []
        for found in self.network(leg, client, up, data):
            try:
                arrived.append(wire.decode(found, expected=header, kind=kind, sizes=self.server.sizes))
            except ContributionError as fault:
                self.faults.append(fault)
        return arrived, len(data)

    def leg(
        self,
        leg: Leg,
        outgoing: Mapping[ClientId, ServerMessage],
        kinds: tuple[type[Message], type[Message]],
        react: Callable[[Mapping[ClientId, list[Any]]], Mapping[ClientId, ClientMessage]],
    ) -> None:
        """Send every living client its message, let them react to what arrives, and hand the server what arrives of that."""
        received: dict[ClientId, list[Any]] = {}
        for u in [u for u in self.alive if u in outgoing]:
            received[u], length = self._send(leg, u, False, outgoing[u], kinds[0])
            self.costs[u][leg] = LegCost(down_bytes=length)
        early = {u for u, drop in self.drop_outs.items() if drop.leg is leg and not drop.after}
        answers = react({u: found for u, found in received.items() if u not in early})
        for u, answer in answers.items():
            arrived, length = self._send(leg, u, True, answer, kinds[1])
            client = self.clients[u]
            masking = client.masking_work if leg is Leg.INPUT else Work()
            self.costs[u][leg] = attrs.evolve(
                self.costs[u][leg], work=client.work.get(leg, Work()), masking=masking, up_bytes=length
            )
            for message in arrived:
                try:
                    self.server.accept(cast("ClientMessage", message))
                except ContributionError as fault:
                    self.faults.append(fault)
        late = {u for u, drop in self.drop_outs.items() if drop.leg is leg and drop.after}
        self.alive = [u for u in self.alive if u in answers and u not in late]

    def each(self, received: Mapping[ClientId, list[Any]], step: Callable[[Client, Any], Any]) -> dict[ClientId, Any]:
        """Let every client take its step on whatever arrives; one that refuses a message stops, and the fault is kept."""
        out = {}
        for u, found in received.items():
            for message in found:
                try:
                    out[u] = step(self.clients[u], message)
                except ContributionError as fault:
                    self.faults.append(fault)
                except PreconditionError as error:
                    if error.rule != "ROU-3":
                        raise
                    break  # it has refused a message before, and takes no further part
        return out


def run_round(
    *,
    server: Server,
    clients: Mapping[ClientId, Client],
    train: Train,
    drop_outs: Mapping[ClientId, DropOut] | None = None,
    observe: Observer | None = None,
    network: Network = _faithful,
) -> RoundResult:
    """Run one round to its end. Clients act in ascending id; those in `drop_outs` disappear when it says.

    Raises `RoundAborted` if fewer than t clients are left at any stage (ROU-11), and `ContributionError` if the survivors'
    shares do not give back a secret (ROU-12). A client that is handed a message that breaks a rule, or that the server
    refuses, is out of the round; the fault is in the result (ROU-14). `network` may lose, repeat or change messages.
    """
    alive = sorted(clients)
    state = _Round(server, clients, drop_outs or {}, observe, network, alive, costs={u: {} for u in alive})
    opening = server.open()
    state.leg(
        Leg.ADVERTISE,
        dict.fromkeys(state.alive, opening),
        (Open, Advertise),
        lambda received: state.each(received, lambda c, m: c.open(m)),
    )
    roster = server.close_advertise()
    state.leg(
        Leg.SHARE,
        server.rosters(roster),
        (Neighbourhood if server.params.neighbours else Roster, ShareKeys),
        lambda received: state.each(received, lambda c, m: c.roster(m)),
    )
    assignments: dict[ClientId, Assignment] = {}

    def train_all(received: Mapping[ClientId, list[Any]]) -> Mapping[ClientId, ClientMessage]:
        assignments.update(state.each(received, lambda c, m: c.deliver(m)))
        updates = dict(sorted(train(assignments).items())) if assignments else {}
        return state.each({u: [update] for u, update in updates.items()}, lambda c, m: c.masked_input(m))

    state.leg(Leg.INPUT, server.close_share(), (Deliver, MaskedInput), train_all)
    announce = server.close_input()
    hardened = server.params.hardened
    state.leg(
        Leg.CONSISTENCY if hardened else Leg.UNMASK,
        dict.fromkeys(server.u3, announce),
        (Announce, Consistent if hardened else Unmask),
        lambda received: state.each(received, lambda c, m: c.announce(m)),
    )
    if hardened:
        agreed = server.close_consistency()
        state.leg(
            Leg.UNMASK,
            {u: server.agreed_for(agreed, u) for u in server.u3},
            (Agreed, Unmask),
            lambda received: state.each(received, lambda c, m: c.agreed(m)),
        )
    aggregate = server.close_unmask()
    return RoundResult(
        aggregate=aggregate,
        sum_digest=server.sum_digest,
        u1=tuple(server.u1),
        u2=tuple(server.u2),
        u3=tuple(server.u3),
        u4=tuple(sorted(server.u4)),
        u5=tuple(sorted(server.u5)),
        assignments=assignments,
        costs=state.costs,
        server_work=server.work,
        faults=tuple(state.faults),
    )


def ids(count: int) -> Sequence[ClientId]:
    """The ids 0 … count − 1: what the in-memory rounds of this package use."""
    return [ClientId(u) for u in range(count)]
