"""Tiny runs that are recorded to a file, and ways to tamper with the file."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from plain import digest, le
from rounds import directory_of, identity_of

from clip_ref.errors import RoundAborted
from clip_ref.keys import Directory
from clip_ref.layout import dense_chain
from clip_ref.messages import TimeRecord
from clip_ref.params import Encoding, Params, PruningPolicy, SecurityLevel
from clip_ref.round import Assignment, Client, DropOut, RoundResult, Server, State, ids, run_round
from clip_ref.transcript import MAGIC, Ended, Passed, TranscriptReader, TranscriptWriter
from clip_ref.values import ClientId, Floats, RoundNumber

LAYOUT = dense_chain(2, 3, 2)
"""d = 17 weights in one hidden layer."""

SESSION = b"a recorded run.."
CHAIN = 32

DropOuts = Mapping[ClientId, DropOut]


def params_of(*, clients: int = 4, threshold: int = 3, hardened: bool = True, bits: int = 32) -> Params:
    """Half of the clients may prune, from round 2 on."""
    return Params(
        clients=clients,
        threshold=threshold,
        policy=PruningPolicy(straggler_share=500, grid=(1000, 500), anonymity_blocks=False, min_roster=0, warm_up=1),
        encoding=Encoding(ring_bits=bits, value_bits=10, weight_max=50),
        security=SecurityLevel.HARDENED if hardened else SecurityLevel.BASIC,
    )


def first_state() -> State:
    rng = np.random.default_rng(0)
    return State(SESSION, RoundNumber(1), rng.normal(size=LAYOUT.size).astype(np.float32))


def clients_of(params: Params, state: State, directory: Directory) -> dict[ClientId, Client]:
    """Odd clients are slow."""

    def client(u: ClientId) -> Client:
        fit = tuple((800_000 if u % 2 else 500_000) * keep // 1000 for keep in params.policy.grid)
        return Client(
            me=u,
            params=params,
            layout=LAYOUT,
            record=TimeRecord(True, False, False, 0, 0, 0, 0, fit, 1 + u, b""),
            history=state.history,
            entropy=digest(b"test entropy", le(state.round, 8), le(u, 4)),
            identity=identity_of(u) if params.hardened else None,
            directory=directory,
        )

    return {u: client(u) for u in ids(params.clients)}


def train(assignments: Mapping[ClientId, Assignment]) -> dict[ClientId, Floats]:
    def update(u: ClientId, a: Assignment) -> Floats:
        rng = np.random.default_rng([u, int(np.abs(a.model[0]) * 1000)])
        return (rng.normal(size=int(LAYOUT.held(a.kept).sum())) * 0.3).astype(np.float32)

    return {u: update(u, a) for u, a in assignments.items()}


@attrs.define
class Recorder:
    """A server that records, round by round."""

    writer: TranscriptWriter
    params: Params
    state: State
    directory: Directory
    results: list[RoundResult | None] = attrs.field(factory=list)

    def step(self, drop_outs: DropOuts | None = None, server: Callable[..., Server] = Server, **more: Any) -> None:
        """Run and record a round; `server` makes the server, which may be one that lies."""
        try:
            result = run_round(
                server=server(params=self.params, layout=LAYOUT, state=self.state, directory=self.directory),
                clients=clients_of(self.params, self.state, self.directory),
                train=train,
                drop_outs=drop_outs,
                observe=self.writer.observe,
                **more,
            )
        except RoundAborted:
            self.writer.aborted()
            self.results.append(None)
            self.state = self.state.aborted()
            return
        self.writer.completed(sum_digest=result.sum_digest, model=result.aggregate.model)
        self.results.append(result)
        self.state = self.state.completed(result.aggregate.model)


def recorder(path: Path, *, state: State | None = None, **more: Any) -> Recorder:
    """A run about to be recorded at `path`."""
    params, state = params_of(**more), first_state() if state is None else state
    writer = TranscriptWriter(path=path, params=params, layout=LAYOUT, state=state)
    return Recorder(writer, params, state, directory_of(params, ids(params.clients)))


def record(path: Path, drop_outs: Sequence[DropOuts] = ({},), **more: Any) -> Recorder:
    """A whole run: a round for each entry of `drop_outs`."""
    found = recorder(path, **more)
    for gone in drop_outs:
        found.step(gone)
    found.writer.close()
    return found


# Tampering


def entries_of(path: Path) -> list[Passed | Ended]:
    with TranscriptReader(path) as reader:
        return list(reader.entries())


def bounds(data: bytes) -> list[tuple[int, int]]:
    """Where the opening and each entry begin, and where the digest after them begins, as the lengths in `data` have it."""
    at = len(MAGIC)
    at += 4 + int.from_bytes(data[at : at + 4], "little") + 16 + 8 + 4 * LAYOUT.size
    at += 1 + (4 * LAYOUT.size if data[at] else 0)
    found = [(0, at)]
    at += CHAIN
    while at < len(data):
        end = at + 13 + int.from_bytes(data[at + 5 : at + 13], "little")
        found.append((at, end))
        at = end + CHAIN
    return found


def pieces(data: bytes) -> list[bytes]:
    """The opening and each entry, without the digests."""
    return [data[begin:end] for begin, end in bounds(data)]


def chained(parts: Sequence[bytes]) -> bytes:
    """A file of the opening and the entries `parts`, with digests that fit: what a forger would write."""
    out, chain = [], digest(b"transcript", parts[0])
    out += [parts[0], chain]
    for part in parts[1:]:
        chain = digest(b"transcript entry", chain, part[:13], part[13:])
        out += [part, chain]
    return b"".join(out)


def framed(kind: int, client: int, body: bytes) -> bytes:
    return bytes([kind]) + le(client, 4) + le(len(body), 8) + body
