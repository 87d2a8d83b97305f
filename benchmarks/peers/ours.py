"""clip-ref's side: its own `Client`, `Server` and `run_round`, with a clock between them."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from clip_ref import rand, wire
from clip_ref.errors import SERVER, RoundAborted
from clip_ref.keys import Directory, identity_key
from clip_ref.messages import TimeRecord
from clip_ref.params import Encoding, Params, SecurityLevel
from clip_ref.round import NO_JOURNAL, Assignment, Client, DropOut, Leg, Server, State, ids, run_round
from clip_ref.values import ClientId, Floats, Ring, RoundNumber, Seed, SigningKey
from peers.measure import Clock
from peers.work import EXAMPLES, Costs, Task

RING = Ring(bits=32)
_STAGE = {"open": 0, "roster": 1, "deliver": 2, "masked_input": 2}  # what is not here is the last: unmasking


class _Timed:
    """Stands for a client or the server, and clocks its public methods."""

    def __init__(self, target: object, clock: Clock, owner: ClientId | None) -> None:
        self._target, self._clock, self._owner = target, clock, owner

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._target, attribute)
        if attribute.startswith("_") or not callable(value):
            return value

        name = "server" if self._owner is None else (self._owner, _STAGE.get(attribute, 3))

        def method(*args: Any) -> Any:
            with self._clock.span(name):
                return value(*args)

        return method


@contextmanager
def _timed_wire(clock: Clock) -> Iterator[None]:
    """Clock what turns messages into bytes and back, by the side that does it."""
    encode, decode = wire.encode, wire.decode

    def timed_encode(message: Any, header: Any) -> bytes:
        with clock.span("server wire" if header.sender == SERVER else "client wire"):
            return encode(message, header)

    def timed_decode(data: bytes, *, expected: Any, kind: Any, sizes: Any) -> Any:
        with clock.span("client wire" if expected.sender == SERVER else "server wire"):
            return decode(data, expected=expected, kind=kind, sizes=sizes)

    vars(wire).update(encode=timed_encode, decode=timed_decode)
    try:
        yield
    finally:
        vars(wire).update(encode=encode, decode=decode)


def run(task: Task, *, security: SecurityLevel = SecurityLevel.HARDENED, stage_of: int | None = None) -> Costs:
    """One round; everybody does all of its work. With `stage_of`, it ends with the masked vectors of so many clients."""
    clock = Clock()
    encoding = Encoding(weight_max=512)  # so that the sum of 100 fits 32 bits
    params = Params(clients=task.clients, threshold=task.threshold, security=security, encoding=encoding)
    layout = task.layout
    model: Floats = np.zeros(task.size, dtype=np.float32)
    record = TimeRecord(True, True, False, 100, 0, 100, 100, (1000,) * len(params.policy.grid), EXAMPLES, b"")
    identities = {u: SigningKey(os.urandom(32)) for u in ids(task.clients)} if params.hardened else {}
    directory = Directory({u: identity_key(secret) for u, secret in identities.items()})
    clients, session = {}, os.urandom(16)
    for u in ids(task.clients):
        entropy = os.urandom(32)
        with clock.span((u, 0)):
            client = Client(
                me=u,
                params=params,
                layout=layout,
                record=record,
                history=None,
                entropy=entropy,
                identity=identities.get(u),
                directory=directory,
                session=session,
                journal=NO_JOURNAL,
            )
        clients[u] = cast("Client", _Timed(client, clock, u))
    with clock.span("server"):
        state = State(session, RoundNumber(1), model)
        bare = Server(params=params, layout=layout, state=state, directory=directory)
    server = cast("Server", _Timed(bare, clock, None))
    dropped = ids(task.clients)[task.clients - task.dropped :]
    update = task.update()
    update.flags.writeable = False  # as the trainer leaves it

    def train(assignments: Mapping[ClientId, Assignment]) -> Mapping[ClientId, Floats]:
        return dict.fromkeys(list(assignments)[:stage_of], update)

    try:
        with _timed_wire(clock):
            result = run_round(
                server=server,
                clients=clients,
                train=train,
                drop_outs={u: DropOut(Leg.INPUT, False) for u in dropped},
            )
    except RoundAborted:
        if stage_of is None:
            raise
        return Costs(clients=[[0, 0, clock.spent[u, 2], 0] for u in ids(stage_of)])
    if result.faults:
        raise RuntimeError(f"clip-ref's round had faults: {result.faults}")
    return Costs(
        clients=[[clock.spent[u, stage] for stage in range(4)] for u in result.u5],
        server=clock.spent["server"],
        client_wire=clock.spent["client wire"] // task.clients,
        server_wire=clock.spent["server wire"],
        vector_bytes=result.costs[result.u5[0]][Leg.INPUT].up_bytes,
        upload_bytes=sum(leg.up_bytes for leg in result.costs[result.u5[0]].values()),
        error=float(np.abs(result.aggregate.model - update).max()),
    )


def mask_loop(size: int, masks: int) -> Callable[[], None]:
    """clip-ref's masks alone."""
    seeds = [Seed(bytes([k + 1]) * 32) for k in range(masks)]
    target = np.zeros(size, dtype=RING.dtype)
    return lambda: rand.accumulate(target=target, ring=RING, plus=seeds[::2], minus=seeds[1::2])


def keystream(size: int, masks: int) -> Callable[[], None]:
    """As many AES-128-CTR bytes by the same library, into one buffer that stays in cache."""
    zeros, scratch = bytes(rand.BLOCK_BYTES), bytearray(rand.BLOCK_BYTES + 15)
    blocks, rest = divmod(4 * size, rand.BLOCK_BYTES)

    def loop() -> None:
        for k in range(masks):
            stream = Cipher(algorithms.AES128(bytes([k]) * 16), modes.CTR(bytes(16))).encryptor()
            for _ in range(blocks):
                stream.update_into(zeros, scratch)
            stream.update_into(zeros[:rest], scratch)

    return loop


def additions(size: int, masks: int) -> Callable[[], None]:
    """As many ring additions, on two blocks that stay in cache."""
    a = np.zeros(rand.BLOCK_BYTES // 4, dtype=RING.dtype)
    b = np.ones_like(a)
    blocks, rest = divmod(size, len(a))

    def loop() -> None:
        for _ in range(masks):
            for _ in range(blocks):
                np.add(a, b, out=a)
            np.add(a[:rest], b[:rest], out=a[:rest])

    return loop
