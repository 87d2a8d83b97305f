"""Mutated messages against the decoder, the server and the clients: nothing but typed errors comes of them. `make fuzz`.

Try k follows from the seed and k alone. A try takes a valid message of a tiny round at either level, changes it in one to three
places, and hands it to whom it was meant for, where that one then stood; at `hardened` half of the clients' messages are signed
after they were changed, so that what they say is reached at all.
"""

import argparse
import copy
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import Final

import attrs
from faulty import STEPS, changed, client_of, kind_of, params_of, restored, server_of, server_parts, train
from rounds import identity_of

from clip_ref import wire
from clip_ref.agreement import signed
from clip_ref.errors import SERVER, ContributionError
from clip_ref.messages import Advertise, ClientMessage, Header, Message, ServerMessage
from clip_ref.params import Params
from clip_ref.round import Leg, Server, ids, run_round
from clip_ref.round.journal import Entry, MemoryJournal
from clip_ref.values import ClientId

CLIENTS: Final = 3
EDGES: Final = (0, 1, 2, 3, 4, 255, 1 << 16, (1 << 31) - 1, 1 << 31, SERVER - 1, SERVER)


class Finding(AssertionError):
    """Something that a mutated message must not bring about."""


@attrs.frozen
class Target:
    """A valid message and whom it is for."""

    params: Params
    data: bytes
    client: ClientId
    server: Server | None
    """The server that is about to get it; none if it is for the client."""
    journal: tuple[Entry, ...] = ()
    """What the client that is about to get it has written."""


class _Watched(Server):
    """Keeps copies of itself, each as it was before a message."""

    before: list[tuple[Server, ClientMessage]]

    def accept(self, message: ClientMessage) -> None:
        then = Server.__new__(Server)
        then.__dict__ = copy.deepcopy({k: v for k, v in self.__dict__.items() if k != "before"})
        self.before.append((then, message))
        super().accept(message)


def _targets(hardened: bool) -> list[Target]:
    params = params_of(CLIENTS, 2, hardened=hardened)
    journals = {u: MemoryJournal() for u in ids(CLIENTS)}
    server = _Watched(**server_parts(params))
    server.before = []
    down: list[tuple[ClientId, bytes]] = []

    def network(leg: Leg, client: ClientId, up: bool, data: bytes) -> Sequence[bytes]:
        if not up:
            down.append((client, data))
        return () if up and leg is Leg.INPUT and client == 2 else (data,)

    clients = {u: client_of(u, params, slow=u == 1, journal=journals[u]) for u in ids(CLIENTS)}
    run_round(server=server, clients=clients, train=train, network=network)
    context = server.context
    out = []
    for then, message in server.before:
        data = wire.encode(message, Header(context.session, context.round, message.sender))
        out.append(Target(params, data, message.sender, then))
    for u, data in down:
        entries = journals[u].entries()
        step = STEPS[wire.kind_name(data)]
        at = [name for name, _ in entries].index(step)
        out.append(Target(params, data, u, None, tuple(entries[:at])))
    return out


@lru_cache
def targets() -> tuple[list[Target], list[Target]]:
    """Everything that clients send, and everything that the server does, at both levels."""
    found = [target for hardened in (False, True) for target in _targets(hardened)]
    return [t for t in found if t.server is not None], [t for t in found if t.server is None]


def mutated(data: bytes, other: bytes, draw: Random) -> bytes:
    """Changed in one place."""
    at, length = draw.randrange(len(data) + 1), draw.choice((1, 2, 4, 32, 64, draw.randrange(1, 200)))
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: changed(data, 8 * at + draw.randrange(8)) if data else data,
        lambda: data[:at] + draw.randbytes(length) + data[at + length :],
        lambda: data[:at] + draw.choice(EDGES).to_bytes(4, "little") + data[at + 4 :],
        lambda: data[:at] + data[at + length :],
        lambda: data[:at] + draw.randbytes(length) + data[at:],
        lambda: data[:at] + data[max(0, at - length) : at] + data[at:],
        lambda: data[:at] + other[at:],
        lambda: data[: wire.HEADER_BYTES] + other[wire.HEADER_BYTES :],
        lambda: data[:at],
    )
    return draw.choice(changes)()


def _hand_over(target: Target, message: Message) -> None:
    if isinstance(message, ClientMessage):
        assert target.server is not None
        then = copy.deepcopy(target.server)
        then.accept(message)
        return
    journal = MemoryJournal()
    for number, entry in enumerate(target.journal):
        (journal.append if number else journal.begin)(entry)
    client = restored(target.client, target.params, journal)
    getattr(client, STEPS[type(message).__name__])(message)


def attempt(seed: int, number: int) -> str:
    """Try `number` of `seed`: what it came to. Raises `Finding`, or whatever it should not have."""
    draw = Random(f"{seed} {number}")
    up, down = targets()
    among = down if draw.random() < 0.1 else up
    target, other = draw.choice(among), draw.choice(among)
    data = target.data
    for _ in range(draw.choice((1, 1, 2, 3))):
        data = mutated(data, other.data, draw)
    if data == target.data:
        return "unchanged"
    header, kind = wire.header(target.data), kind_of(target.data)
    sizes = server_of(target.params).sizes
    try:
        message = wire.decode(data, expected=header, kind=kind, sizes=sizes)
    except ContributionError as error:
        if error.culprit != header.sender:
            raise Finding(f"{error} names another than the sender") from error
        return "not decoded"
    if wire.encode(message, header) != data:
        raise Finding("two encodings of one message")
    hardened, resigned = target.params.hardened, draw.random() < 0.5
    if isinstance(message, ClientMessage) and hardened and resigned:
        server = target.server
        assert server is not None
        ctx = server.context.ctx0() if isinstance(message, Advertise) else server._ctx
        message = signed(message=message, header=header, context=ctx, secret=identity_of(message.sender))
    try:
        _hand_over(target, message)
    except ContributionError as error:
        if isinstance(message, ServerMessage) or error.culprit == message.sender:
            return f"refused, {error.rule}"
        raise Finding(f"{error} names another than the sender") from error
    if isinstance(message, ClientMessage) and hardened and not resigned:
        raise Finding("a signed message was changed and taken")
    return "taken"


def fuzz(seed: int, *, seconds: float = float("inf"), tries: int | None = None) -> Counter[str]:
    """Try until the time or the number of tries is up: how many came to what."""
    came: Counter[str] = Counter()
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end and (tries is None or number < tries):
        try:
            came[attempt(seed, number)] += 1
        except Exception as error:
            error.add_note(f"seed {seed}, try {number}")
            raise
        number += 1
    return came


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    came = fuzz(chosen.seed, seconds=chosen.seconds)
    print(f"{came.total()} mutated messages, none of which brought about anything but typed errors")
    for what, count in sorted(came.items()):
        print(f"  {count:>8}  {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
