"""Operations of a whole round: a client's side, a server's side, what lasts from one to the next.   Spec: round.

A side of a round is asked for as a script: everything that it is told, in order. So a program that keeps nothing between two
requests can answer, and one that keeps its state can be asked from the start again.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import attrs
import numpy as np

from clip_ref import wire
from clip_ref.aggregation import Aggregate
from clip_ref.errors import SERVER, ClipError, PreconditionError
from clip_ref.keys import Directory
from clip_ref.layout import Layout
from clip_ref.messages import (
    Advertise,
    Agreed,
    Announce,
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
    TimeRecord,
    Unmask,
)
from clip_ref.oracle.jsontypes import F32s, Json, Wide, to_json
from clip_ref.oracle.operation import operation, refusal
from clip_ref.oracle.operations.identification import Judged, judged
from clip_ref.params import Params
from clip_ref.round import Assignment, Client, Server, State
from clip_ref.round.client import sizes
from clip_ref.round.journal import MemoryJournal
from clip_ref.values import ClientId, RoundNumber, SigningKey


class Step(StrEnum):
    """What a client is told."""

    OPEN = "open"
    ROSTER = "roster"
    DELIVER = "deliver"
    MASKED_INPUT = "masked_input"
    ANNOUNCE = "announce"
    AGREED = "agreed"
    RESTART = "restart"


@attrs.frozen
class Told:
    """One step of a client's script."""

    step: Step
    """The server's message that arrives; `masked_input`: training ends; `restart`: all but the journal is lost."""

    data: bytes
    """The message; for `masked_input` the sub-model's update as float32, little-endian; for `restart` empty."""


@attrs.frozen
class Assigned:
    """What a client is to train."""

    kept: dict[str, list[int]]
    """The neurons of its sub-model, layer by layer."""

    verdict: Judged
    """What it found about itself."""


@operation("round.client", *(f"ROU-{number}" for number in (3, 4, 5, 6, 7, 8, 16, 18, 20, 21, 22, 23)))
def client(
    me: ClientId,
    params: Params,
    layout: Layout,
    record: TimeRecord,
    history: F32s | None,
    entropy: bytes,
    identity: bytes | None,
    directory: dict[ClientId, bytes],
    session: bytes | None,
    script: list[Told],
) -> list[Json]:
    """A client's round. For each step of the script one entry: `{"output": …}` or `{"error": …}`, as an answer has it.

    The output is the message that it sends, as bytes; after `deliver` an object of `kept` and `verdict`; after `restart` null.
    It keeps a journal; its randomness follows from `entropy` and from what is announced. Bytes that are no message expected
    here are refused, and the client is as before.
    """
    known: dict[str, Any] = {
        "me": me,
        "params": params,
        "layout": layout,
        "history": history,
        "identity": None if identity is None else SigningKey(identity),
        "directory": Directory(directory),
        "session": session,
    }
    journal = MemoryJournal()
    living = Client(**known, record=record, entropy=entropy, journal=journal)
    reader = _Reader(sizes(params=params, layout=layout))
    out = []
    for told in script:
        if told.step is Step.RESTART:
            living = Client.restored(**known, journal=journal)
            out.append({"output": None})
        else:
            out.append(_answer(lambda told=told, living=living: _took(living, told, reader, params)))  # type: ignore[misc]
    return out


@attrs.define
class _Reader:
    """Decodes what a client is sent. The `Open` that it takes sets the session and the round of all that follows."""

    sizes: wire.Sizes
    header: Header | None = None

    def read(self, data: bytes, kind: type[Message]) -> Message:
        expected = self.header or attrs.evolve(wire.header(data), sender=SERVER)
        return wire.decode(data, expected=expected, kind=kind, sizes=self.sizes)

    def taken(self, message: Open) -> None:
        self.header = Header(message.context.session, message.context.round, SERVER)


_KINDS: dict[Step, type[Message]] = {
    Step.OPEN: Open,
    Step.ROSTER: Roster,
    Step.DELIVER: Deliver,
    Step.ANNOUNCE: Announce,
    Step.AGREED: Agreed,
}


def _took(living: Client, told: Told, reader: _Reader, params: Params) -> Json:
    if told.step is Step.MASKED_INPUT:
        answer: Any = living.masked_input(np.frombuffer(told.data, dtype="<f4"))
    else:
        kind = Neighbourhood if told.step is Step.ROSTER and params.neighbours else _KINDS[told.step]
        message = reader.read(told.data, kind)
        answer = getattr(living, told.step.value)(message)
        if isinstance(message, Open):
            reader.taken(message)
    if isinstance(answer, Assignment):
        kept = {layer: neurons.tolist() for layer, neurons in answer.kept.items()}
        return to_json(Assigned(kept, judged(answer.verdict)), Assigned)
    assert reader.header is not None
    return wire.encode(answer, attrs.evolve(reader.header, sender=living.me)).hex()


def _answer(step: Callable[[], Json]) -> Json:
    try:
        return {"output": step()}
    except ClipError as error:
        return {"error": refusal(error)}


class Event(StrEnum):
    """What a server is told."""

    OPEN = "open"
    ACCEPT = "accept"
    CLOSE = "close"


@attrs.frozen
class Happening:
    """One step of a server's script."""

    event: Event
    """`open`: the round begins; `accept`: a client's message arrives; `close`: the leg is over."""

    sender: ClientId | None
    """Whose channel a message arrives on."""

    data: bytes
    """The message; empty unless one arrives."""


LEGS: tuple[tuple[type[Message], str], ...] = (
    (Advertise, "close_advertise"),
    (ShareKeys, "close_share"),
    (MaskedInput, "close_input"),
    (Consistent, "close_consistency"),
    (Unmask, "close_unmask"),
)
"""What arrives on each leg, and the server's method that closes it."""


@operation("round.server", "ROU-9", "ROU-10", "ROU-11", "ROU-12", "ROU-13", "ROU-19", "ROU-20", "MSK-6", "AGG-7")
def server(
    params: Params,
    layout: Layout,
    session: bytes,
    round: Wide,
    model: F32s,
    history: F32s | None,
    target: Wide,
    directory: dict[ClientId, bytes],
    script: list[Happening],
) -> list[Json]:
    """A server's round. For each step of the script one entry, `{"output": …}` or `{"error": …}`.

    The output of `open` and of `close` is an object of the bytes that each client is sent, by id, that of `open` under the
    server's id, for it is the same for all; of the last `close` it is an object of `sum` (the bare sum over the ring,
    little-endian), `model`, `slots` and `histogram`; of `accept` it is null.
    """
    state = State(session, RoundNumber(round), model, history, target)
    living = Server(params=params, layout=layout, state=state, directory=Directory(directory))
    legs = [leg for leg in LEGS if params.hardened or leg[0] is not Consistent]
    at, out = 0, []
    for happening in script:
        kind, close = legs[min(at, len(legs) - 1)]
        out.append(_answer(lambda h=happening, k=kind, c=close: _served(living, h, k, c)))  # type: ignore[misc]
        at += happening.event is Event.CLOSE and out[-1] != {"error": {"kind": "argument"}}  # else no leg was open
    return out


def _served(living: Server, happening: Happening, kind: type[Message], close: str) -> Json:
    header = Header(living.context.session, living.context.round, SERVER)
    if happening.event is Event.OPEN:
        return {str(SERVER): wire.encode(living.open(), header).hex()}
    if happening.event is Event.ACCEPT:
        if happening.sender is None:
            raise PreconditionError(rule="CNF-1", detail="a message arrives from somebody")
        expected = attrs.evolve(header, sender=happening.sender)
        living.accept(wire.decode(happening.data, expected=expected, kind=kind, sizes=living.sizes))  # type: ignore[arg-type]
        return None
    closed = getattr(living, close)()
    if isinstance(closed, Aggregate):
        return {
            "sum": living.total_unmasked.tobytes().hex(),
            "model": to_json(closed.model, F32s),
            "slots": list(closed.slots),
            "histogram": list(closed.histogram),
        }
    return {str(u): wire.encode(message, header).hex() for u, message in sent(living, closed).items()}


def sent(living: Server, closed: Any) -> Mapping[ClientId, ServerMessage]:
    """What each client is sent after a leg, from what closing it gave."""
    if isinstance(closed, Roster):
        return living.rosters(closed)
    if isinstance(closed, Announce):
        return dict.fromkeys(living.u3, closed)
    if isinstance(closed, Agreed):
        return {u: living.agreed_for(closed, u) for u in living.u3}
    delivered: Mapping[ClientId, Deliver] = closed
    return delivered


@attrs.frozen
class Lasting:
    """What lasts from one round to the next."""

    round: Wide
    """The round that comes next."""

    model: F32s
    """w_i."""

    history: F32s | None
    """The last completed round's model that differs."""


@operation("round.next_state", "ROU-1", "ROU-2")
def next_state(round: Wide, model: F32s, history: F32s | None, yielded: F32s | None) -> Lasting:
    """The state after a round that yielded a model, or that was aborted and yielded none."""
    state = State(bytes(16), RoundNumber(round), model, history)
    after = state.aborted() if yielded is None else state.completed(yielded)
    return Lasting(after.round, after.model, after.history)
