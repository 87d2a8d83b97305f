"""Rounds that the package plays with itself, kept as scripts: what a client and a server are asked in `round.*`.

All that is random in a round follows from the entropy of its clients, which the caller gives.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import attrs

from clip_ref import wire
from clip_ref.aggregation import Aggregate
from clip_ref.agreement import signed
from clip_ref.errors import SERVER, ClipError, ContributionError
from clip_ref.keys import NO_IDENTITIES, Directory, identity_key
from clip_ref.layout import Layout
from clip_ref.messages import (
    Advertise,
    ClientMessage,
    Consistent,
    Header,
    MaskedInput,
    Message,
    ServerMessage,
    ShareKeys,
    TimeRecord,
    Unmask,
)
from clip_ref.oracle.operations.round import LEGS, Event, Happening, Step, Told, sent
from clip_ref.params import Params
from clip_ref.round import Assignment, Client, Server, State
from clip_ref.round.client import sizes
from clip_ref.round.journal import NO_JOURNAL
from clip_ref.values import NO_DIGEST, ClientId, Digest, Floats, SigningKey

Kind = type[Advertise] | type[ShareKeys] | type[MaskedInput] | type[Consistent] | type[Unmask]

_STEPS: Mapping[Kind, Step] = {
    Advertise: Step.OPEN,
    ShareKeys: Step.ROSTER,
    MaskedInput: Step.DELIVER,
    Consistent: Step.ANNOUNCE,
}


_M = TypeVar("_M", bound=ClientMessage)


@attrs.frozen
class Entrant:
    """What a client brings into a round."""

    record: TimeRecord
    """Its time record."""

    history: Floats | None
    """The model that it kept from before."""

    entropy: bytes
    """32 bytes."""

    identity: bytes | None
    """Its signing key, at level `hardened`."""


@attrs.define
class Play:
    """A round, up to its end or to where too few clients were left."""

    params: Params
    """As all have them."""

    layout: Layout
    """As all have it."""

    state: State
    """As the server has it before the round."""

    directory: Mapping[ClientId, bytes]
    """Everybody's public identity, at level `hardened`."""

    entrants: Mapping[ClientId, Entrant]
    """Who takes part."""

    told: dict[ClientId, list[tuple[Step, Any]]] = attrs.field(factory=dict)
    """What each client was told: the server's messages, and its own update."""

    happened: list[Happening] = attrs.field(factory=list)
    """What the server was told."""

    ctx: Digest = NO_DIGEST
    """The context, once the roster is known."""

    def header(self, sender: int = SERVER) -> Header:
        """The header of a message of this round."""
        return Header(self.state.session, self.state.round, sender)

    def tell(self, step: Step, message: Any) -> Told:
        """A step of a client's script."""
        whole = message.tobytes() if step is Step.MASKED_INPUT else wire.encode(message, self.header())
        return Told(step, whole)

    def script(self, client: ClientId) -> list[Told]:
        """All that a client was told."""
        return [self.tell(step, message) for step, message in self.told[client]]

    def message(self, client: ClientId, step: Step) -> Any:
        """What a client was told at a step."""
        return dict(self.told[client])[step]

    def arrived(self, at: int, kind: Kind) -> Any:
        """The message that arrives at a place of the server's script."""
        data = self.happened[at].data
        whole = sizes(params=self.params, layout=self.layout)
        return wire.decode(data, expected=wire.header(data), kind=kind, sizes=whole)

    def arrival(self, message: ClientMessage) -> Happening:
        """A step of a server's script: this message arrives."""
        return Happening(Event.ACCEPT, message.sender, wire.encode(message, self.header(message.sender)))

    def signed(self, message: _M, context: Digest) -> _M:
        """A message with its sender's signature."""
        identity = self.entrants[message.sender].identity
        if identity is None:
            return message
        header = self.header(message.sender)
        return signed(message=message, header=header, context=context, secret=SigningKey(identity))

    def as_client(self, client: ClientId, /, **changed: Any) -> dict[str, Any]:
        """The inputs of `round.client`."""
        entrant = self.entrants[client]
        known: dict[str, Any] = {
            "me": client,
            "params": self.params,
            "layout": self.layout,
            "record": entrant.record,
            "history": entrant.history,
            "entropy": entrant.entropy,
            "identity": entrant.identity,
            "directory": dict(self.directory),
            "session": self.state.session if self.params.hardened else None,
        }
        return {**known, "script": self.script(client)} | changed

    def as_server(self, **changed: Any) -> dict[str, Any]:
        """The inputs of `round.server`."""
        known: dict[str, Any] = {
            "params": self.params,
            "layout": self.layout,
            "session": self.state.session,
            "round": self.state.round,
            "model": self.state.model,
            "history": self.state.history,
            "target": self.state.target,
            "directory": dict(self.directory),
            "script": self.happened,
        }
        return known | changed


def identities(entrants: Mapping[ClientId, Entrant]) -> dict[ClientId, bytes]:
    """The public identities of those who have one."""
    return {u: identity_key(SigningKey(e.identity)) for u, e in entrants.items() if e.identity is not None}


def play(
    *,
    params: Params,
    layout: Layout,
    state: State,
    entrants: Mapping[ClientId, Entrant],
    update: Callable[[ClientId, int], Floats],
    lost: Collection[tuple[Kind, ClientId]] = (),
    change: Callable[[Play, ClientMessage], ClientMessage] = lambda _, message: message,
) -> Play:
    """Play a round. `update` gives a client's update of so many numbers; messages in `lost` do not arrive; `change` may alter
    those that do, as a lying client could.
    """
    out = Play(params, layout, state, identities(entrants), entrants)
    directory = Directory(out.directory) if out.directory else NO_IDENTITIES
    server = Server(params=params, layout=layout, state=state, directory=directory)
    clients = {u: _client(out, u, directory) for u in entrants}
    sent_to: Mapping[ClientId, ServerMessage] = dict.fromkeys(entrants, server.open())
    out.happened.append(Happening(Event.OPEN, None, b""))
    refused: set[ClientId] = set()  # who refused a message takes no further part: ROU-3
    for kind, close in LEGS:
        if kind is Consistent and not params.hardened:
            continue
        for u, message in sent_to.items():
            if u in refused:
                continue
            answer = _answer(out, clients[u], kind, message, update)
            if answer is None:
                refused.add(u)
            elif (kind, u) not in lost:
                arriving = change(out, answer)
                if isinstance(arriving, Advertise):
                    clients[u]._bundle = arriving  # whoever lies knows what it said
                server.accept(arriving)
                out.happened.append(out.arrival(arriving))
        out.happened.append(Happening(Event.CLOSE, None, b""))
        try:
            closed = getattr(server, close)()
        except ClipError:
            break
        if not isinstance(closed, Aggregate):
            sent_to = sent(server, closed)
            out.ctx = server._ctx
    return out


def _client(out: Play, me: ClientId, directory: Directory) -> Client:
    entrant = out.entrants[me]
    return Client(
        me=me,
        params=out.params,
        layout=out.layout,
        record=entrant.record,
        history=entrant.history,
        entropy=entrant.entropy,
        identity=None if entrant.identity is None else SigningKey(entrant.identity),
        directory=directory,
        session=out.state.session if out.params.hardened else None,
        journal=NO_JOURNAL,
    )


def _answer(
    out: Play, client: Client, kind: type[Message], message: ServerMessage, update: Callable[[ClientId, int], Floats]
) -> ClientMessage | None:
    """What a client says to a message; none if it refuses it, or has refused one before."""
    told = out.told.setdefault(client.me, [])
    step = Step.AGREED if kind is Unmask and out.params.hardened else _STEPS.get(kind, Step.ANNOUNCE)  # type: ignore[arg-type]
    told.append((step, message))
    try:
        answer = getattr(client, step.value)(message)
    except ClipError as error:
        if not isinstance(error, ContributionError) and error.rule != "ROU-3":
            raise
        return None
    if isinstance(answer, Assignment):
        held = out.layout.held(answer.kept)
        mine = update(client.me, int(held.sum()))
        told.append((Step.MASKED_INPUT, mine))
        answer = client.masked_input(mine)
    said: ClientMessage = answer
    return said
