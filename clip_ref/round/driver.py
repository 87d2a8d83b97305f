"""One whole round in memory: n clients, a server, bytes in between.   Spec: round, rules ROU-14, ROU-15.

Every message really is encoded and decoded, so that what is recorded is what a network would carry.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import attrs

from clip_ref import wire
from clip_ref.aggregation import Aggregate
from clip_ref.errors import SERVER, ContributionError
from clip_ref.messages import ClientMessage, Header, Message, ServerMessage
from clip_ref.round.client import Assignment, Client, sizes
from clip_ref.round.cost import Leg, LegCost, Work
from clip_ref.round.server import Server
from clip_ref.values import ClientId, Digest, Floats

Train = Callable[[Mapping[ClientId, Assignment]], Mapping[ClientId, Floats]]
"""Trains every assignment and returns the sub-models' updates, float32[m] each; it may leave out clients that fail."""

Observer = Callable[[ClientId, bool, Message, bytes], None]
"""Is told of every message, in order: the client, whether it went to the server, the message, its bytes."""

_Answer = TypeVar("_Answer")


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


class _Round:
    def __init__(
        self,
        server: Server,
        clients: Mapping[ClientId, Client],
        drop_outs: Mapping[ClientId, DropOut],
        observe: Observer | None,
    ) -> None:
        self.server, self.clients, self.drop_outs, self.observe = server, clients, drop_outs, observe
        self.alive = sorted(clients)
        self.faults: list[ContributionError] = []
        self.costs: dict[ClientId, dict[Leg, LegCost]] = {u: {} for u in self.alive}
        self.sizes = sizes(params=server._params, layout=server._layout)
        self.session, self.round = server._context.session, server._context.round

    def _carry(self, client: ClientId, up: bool, message: Message) -> tuple[Message, int]:
        """ROU-15: encode, show, decode."""
        header = Header(self.session, self.round, client if up else SERVER)
        data = wire.encode(message, header)
        if self.observe is not None:
            self.observe(client, up, message, data)
        return wire.decode(data, expected=header, kind=type(message), sizes=self.sizes), len(data)

    def leg(
        self,
        leg: Leg,
        outgoing: Mapping[ClientId, ServerMessage],
        react: Callable[[Mapping[ClientId, ServerMessage]], Mapping[ClientId, ClientMessage]],
    ) -> None:
        """Send every living client its message, let them react, and hand the server what arrives."""
        received: dict[ClientId, ServerMessage] = {}
        for u in [u for u in self.alive if u in outgoing]:
            message, length = self._carry(u, False, outgoing[u])
            received[u] = cast("ServerMessage", message)
            self.costs[u][leg] = LegCost(down_bytes=length)
        early = {u for u, drop in self.drop_outs.items() if drop.leg is leg and not drop.after}
        answers = react({u: m for u, m in received.items() if u not in early})
        for u, answer in answers.items():
            client = self.clients[u]
            masking = client.masking_work if leg is Leg.INPUT else Work()
            cost = attrs.evolve(self.costs[u][leg], work=client.work.get(leg, Work()), masking=masking)
            self.costs[u][leg] = cost
            try:
                arrived, length = self._carry(u, True, answer)
                self.costs[u][leg] = attrs.evolve(cost, up_bytes=length)
                self.server.accept(cast("ClientMessage", arrived))
            except ContributionError as fault:
                self.faults.append(fault)
        late = {u for u, drop in self.drop_outs.items() if drop.leg is leg and drop.after}
        self.alive = [u for u in self.alive if u in answers and u not in late]

    def each(self, messages: Mapping[ClientId, Any], step: Callable[[Client, Any], _Answer]) -> dict[ClientId, _Answer]:
        """Let every client take its step; one that refuses the message stops, and the fault is kept."""
        out = {}
        for u, message in messages.items():
            try:
                out[u] = step(self.clients[u], message)
            except ContributionError as fault:
                self.faults.append(fault)
        return out


def run_round(
    *,
    server: Server,
    clients: Mapping[ClientId, Client],
    train: Train,
    drop_outs: Mapping[ClientId, DropOut] | None = None,
    observe: Observer | None = None,
) -> RoundResult:
    """Run one round to its end. Clients act in ascending id; those in `drop_outs` disappear when it says.

    Raises `RoundAborted` if fewer than t clients are left at any stage (ROU-11), and `ContributionError` if the survivors'
    shares do not give back a dropped client's key (ROU-12). A client that is handed a message that breaks a rule, or that the
    server refuses, is out of the round; the fault is in the result (ROU-14).
    """
    state = _Round(server, clients, drop_outs or {}, observe)
    opening = server.open()
    state.leg(
        Leg.ADVERTISE,
        dict.fromkeys(state.alive, opening),
        lambda received: state.each(received, lambda c, m: c.open(m)),
    )
    roster = server.close_advertise()
    state.leg(
        Leg.SHARE,
        dict.fromkeys(server.u1, roster),
        lambda received: state.each(received, lambda c, m: c.roster(m)),
    )
    assignments: dict[ClientId, Assignment] = {}

    def train_all(received: Mapping[ClientId, ServerMessage]) -> Mapping[ClientId, ClientMessage]:
        assignments.update(state.each(received, lambda c, m: c.deliver(m)))
        updates = train(assignments)
        return state.each(dict(sorted(updates.items())), lambda c, m: c.masked_input(m))

    state.leg(Leg.INPUT, server.close_share(), train_all)
    announce = server.close_input()
    state.leg(
        Leg.UNMASK,
        dict.fromkeys(server.u3, announce),
        lambda received: state.each(received, lambda c, m: c.unmask(m)),
    )
    aggregate = server.close_unmask()
    return RoundResult(
        aggregate=aggregate,
        sum_digest=server.sum_digest,
        u1=tuple(server.u1),
        u2=tuple(server.u2),
        u3=tuple(server.u3),
        u5=tuple(sorted(server.u5)),
        assignments=assignments,
        costs=state.costs,
        server_work=server.work,
        faults=tuple(state.faults),
    )


def ids(count: int) -> Sequence[ClientId]:
    """The ids 0 … count − 1: what the in-memory rounds of this package use."""
    return [ClientId(u) for u in range(count)]
