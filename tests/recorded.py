"""Tiny runs that are recorded to a file, and ways to tamper with the file."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import numpy as np
from plain import digest, le
from rounds import directory_of, identity_of

from clip_ref import agreement, graph, wire
from clip_ref.audit import AuditReport, Finding, audit
from clip_ref.errors import RoundAborted
from clip_ref.keys import Directory
from clip_ref.layout import dense_chain
from clip_ref.messages import ClientMessage, Header, Message, Neighbourhood, Open, Roster, TimeRecord
from clip_ref.params import Encoding, Params, PruningPolicy, SecurityLevel
from clip_ref.round import NO_JOURNAL, Assignment, Client, DropOut, RoundResult, Server, State, ids, run_round
from clip_ref.round.client import sizes
from clip_ref.transcript import MAGIC, Ended, Passed, TranscriptReader, TranscriptWriter
from clip_ref.values import ClientId, Digest, Floats, RoundNumber

LAYOUT = dense_chain(2, 3, 2)
"""d = 17 weights in one hidden layer."""

SESSION = b"a recorded run.."
CHAIN = 32

DOWN, UP, COMPLETED, ABORTED = 1, 2, 4, 5
"""Kinds of entries."""

DropOuts = Mapping[ClientId, DropOut]


def params_of(
    *, clients: int = 4, threshold: int = 3, hardened: bool = True, bits: int = 32, neighbours: int = 0, **more: Any
) -> Params:
    """Half of the clients may prune, from round 2 on; on a graph T* is 600 ms then, which the slow ones pass."""
    return Params(
        clients=clients,
        neighbours=neighbours,
        threshold=threshold,
        policy=PruningPolicy(
            straggler_share=500,
            grid=(1000, 500),
            anonymity_blocks=False,
            min_roster=0,
            warm_up=1,
            bucket_first=400_000,
            bucket_ratio=1500,
            bucket_count=3,
        ),
        **more,
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
            session=state.session,
            journal=NO_JOURNAL,
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
        target = graph.target(histogram=result.aggregate.histogram, params=self.params)
        self.state = self.state.completed(result.aggregate.model, target=target)


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
    at += 8 + 1 + (4 * LAYOUT.size if data[at + 8] else 0)
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


@attrs.frozen
class Told:
    """A transcript as a list of entries that can be tampered with."""

    made: Recorder
    path: Path
    parts: list[bytes]
    entries: list[Passed | Ended]

    def at(self, kind: str, client: ClientId, nth: int = 0) -> int:
        """The number of the nth message of this kind from or to the client."""
        found = [
            e.number
            for e in self.entries
            if isinstance(e, Passed) and e.client == client and wire.kind_name(e.data) == kind
        ]
        return found[nth]

    def end(self, nth: int = 0) -> int:
        return [e.number for e in self.entries if isinstance(e, Ended)][nth]

    def data(self, number: int) -> bytes:
        return cast("Passed", self.entries[number - 1]).data

    def audited(self, parts: Sequence[bytes] | None = None) -> AuditReport:
        """With digests that fit, as a forger would have it."""
        self.path.write_bytes(chained(self.parts if parts is None else parts))
        return audit(path=self.path, directory=self.made.directory)

    def replaced(self, number: int, *parts: bytes) -> AuditReport:
        return self.audited([*self.parts[:number], *parts, *self.parts[number + 1 :]])

    def decoded(self, number: int) -> tuple[Message, Header]:
        data = self.data(number)
        header, kinds = wire.header(data), {kind.__name__: kind for kind in wire.KINDS}
        size = sizes(params=self.made.params, layout=LAYOUT)
        return wire.decode(data, expected=header, kind=kinds[wire.kind_name(data)], sizes=size), header

    def context(self) -> tuple[Digest, Digest]:
        """ctx₀ and ctx of the first round."""
        opening, _ = self.decoded(self.at("Open", ClientId(0)))
        context = cast("Open", opening).context
        if self.made.params.neighbours:
            near = cast("Neighbourhood", self.decoded(self.at("Neighbourhood", ClientId(0)))[0])
            return context.ctx0(), context.ctx(graph.roster_digest(root=near.root, count=near.count))
        roster = cast("Roster", self.decoded(self.at("Roster", ClientId(0)))[0])
        return context.ctx0(), context.ctx(roster.digest())

    def resigned(self, number: int, **changes: Any) -> bytes:
        """An entry whose message its own sender changed and signed: what a client that cheats sends."""
        message, header = self.decoded(number)
        changed = cast("ClientMessage", attrs.evolve(message, **changes))
        if self.made.params.hardened:
            changed = agreement.signed(
                message=changed, header=header, context=self.context()[1], secret=identity_of(changed.sender)
            )
        return framed(UP, changed.sender, wire.encode(changed, header))

    def resent(self, number: int, message: Message) -> bytes:
        """An entry with another message of the server's in its place."""
        where = cast("Passed", self.entries[number - 1])
        return framed(DOWN, where.client, wire.encode(message, wire.header(where.data)))


def told(made: Recorder, path: Path) -> Told:
    """What was recorded, open to tampering."""
    return Told(made, path, pieces(path.read_bytes()), entries_of(path))


def found(report: AuditReport) -> Finding:
    assert report.finding is not None
    assert not report.holds
    return report.finding


def blames(report: AuditReport, rule: str, culprit: int | None, detail: str = "") -> Finding:
    finding = found(report)
    assert (finding.rule, finding.culprit) == (rule, culprit), str(finding)
    assert detail in finding.detail, finding.detail
    return finding


def forged(told: Told, places: Sequence[int]) -> list[int]:
    """Of the bytes at `places` in the file: those that can be flipped unnoticed by somebody who makes the digests fit."""
    data, through = chained(told.parts), []
    for at in places:
        changed = data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]
        try:
            parts = pieces(changed)
        except IndexError:  # a length in it points out of the file
            parts = told.parts
            changed = changed[: len(changed) - 1]
        told.path.write_bytes(changed if parts is told.parts else chained(parts))
        if audit(path=told.path, directory=told.made.directory).holds:
            through.append(at)
    return through


def forgeable(told: Told) -> list[int]:
    """Every byte of the opening and the entries, without the magic and the digests."""
    return [at for begin, end in bounds(chained(told.parts)) for at in range(max(begin, len(MAGIC)), end)]
