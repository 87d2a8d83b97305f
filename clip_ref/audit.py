"""Audit: a recorded run, verified again from its bytes alone.   Spec: audit, rules AUD-1..AUD-13.

Every round is replayed: what clients sent goes through a server of one's own, and what the recorded server sent is held byte
for byte against what that server would have sent. Only the pinned directory of identities is taken on trust.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref import graph, keys, rand, shamir, wire
from clip_ref.aggregation import Aggregate
from clip_ref.canonical import digest, mask_context, model_digest
from clip_ref.errors import SERVER, ClipError, ContributionError, PreconditionError, RoundAborted, TranscriptError
from clip_ref.keys import NO_IDENTITIES, Directory
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
from clip_ref.params import Params
from clip_ref.round import Server, State
from clip_ref.transcript import Ended, Opening, Passed, TranscriptReader
from clip_ref.values import ClientId, Digest, RoundNumber, SecretKey, Seed

_Legs = tuple[tuple[type[ServerMessage], type[ClientMessage]], ...]


def _legs(params: Params) -> _Legs:
    """What the server asks on each leg, and what it is answered."""
    roster = Neighbourhood if params.neighbours else Roster
    first: _Legs = ((Open, Advertise), (roster, ShareKeys), (Deliver, MaskedInput))
    last: _Legs = ((Announce, Consistent), (Agreed, Unmask)) if params.hardened else ((Announce, Unmask),)
    return first + last


_KINDS: Final[Mapping[str, type[Message]]] = {kind.__name__: kind for kind in wire.KINDS}


@attrs.frozen
class Finding:
    """The first thing that is wrong with a transcript."""

    rule: str
    """The id of the rule that is broken."""

    round: int | None
    """In which round; none before the first."""

    entry: int
    """At which entry of the file, from 1; 0: before them. Its end: the number of entries."""

    culprit: int | None
    """The client that is to blame, or `SERVER`; none where the file is damaged, and nobody can be."""

    detail: str
    """What is wrong, in a sentence."""

    def __str__(self) -> str:
        """One line."""
        who = {None: "the file", SERVER: "the server"}.get(self.culprit, f"client {self.culprit}")
        where = f"entry {self.entry}" if self.round is None else f"round {self.round}, entry {self.entry}"
        return f"{self.rule}: {where}: {who}: {self.detail}"


@attrs.frozen
class RoundReport:
    """What the audit found a round to be."""

    round: RoundNumber
    """Its number."""

    u1: tuple[ClientId, ...]
    """Whose keys arrived."""

    u2: tuple[ClientId, ...]
    """Whose shares arrived."""

    u3: tuple[ClientId, ...]
    """The survivors: whose masked inputs are in the sum."""

    u4: tuple[ClientId, ...]
    """Who signed what it was told; empty at security level `basic`."""

    u5: tuple[ClientId, ...]
    """Who helped to unmask."""

    drop_outs: Mapping[ClientId, str]
    """Who was lost, and the kind of message that it still owed."""

    sum_digest: Digest | None
    """The digest of the sum over Z_R, as the audit computed it; none if the round was aborted."""

    model: Digest
    """The digest of the model after the round: the same as before if it was aborted."""

    target: int
    """On a graph T* in µs for the next round, from this one's histogram; the one before if it was aborted. In a clique 0."""

    aborted: str
    """Why there is no sum; empty if there is one."""

    signatures: int
    """How many signatures were verified."""

    upload_bytes: int
    """The length of every masked input; 0 if there is none."""


@attrs.frozen
class AuditReport:
    """What an audit found."""

    signed: bool
    """Whether anything binds the clients to what they are said to have sent: security level `hardened`."""

    entries: int
    """How many entries were read."""

    model: Digest | None
    """The digest of the model before the first round, as the transcript has it: where the one before must have ended."""

    target: int
    """On a graph T* in µs for the first round, as the transcript has it, likewise; 0: none."""

    chain: Digest | None = attrs.field(repr=False)
    """The digest after the last entry: whoever noted it elsewhere can tell any later change, rounds cut off included."""

    rounds: tuple[RoundReport, ...]
    """The rounds that were found right, in order."""

    finding: Finding | None
    """The first thing that is wrong; none if every check held."""

    @property
    def holds(self) -> bool:
        """Whether every check held; on a transcript that is not `signed` that says little."""
        return self.finding is None


def audit(*, path: Path, directory: Directory = NO_IDENTITIES) -> AuditReport:
    """AUD-1: verify the transcript at `path` against the pinned identities, entry by entry.

    Reads the file once; memory is that of one round. AUD-13: stops at the first thing that is wrong, and names it.
    `PreconditionError` if `path` cannot be read or is no transcript, or needs a directory and there is none.
    """
    try:
        reader = TranscriptReader(path)
    except TranscriptError as error:
        return AuditReport(False, 0, None, 0, None, (), _finding(error, None, error.entry))
    with reader:
        params = reader.opening.params
        if params.hardened and not directory.keys:
            raise PreconditionError(
                rule="AUD-1", detail="a transcript at security level `hardened` needs the clients' identities"
            )
        auditor = _Auditor(reader.opening, directory if params.hardened else NO_IDENTITIES)
        finding = None
        try:
            for entry in reader.entries():
                auditor.take(entry)
            auditor.done()
        except ClipError as error:
            finding = _finding(error, auditor.round, reader.number)
        state, rounds = reader.opening.state, tuple(auditor.reports)
        model = model_digest(state.model)
        return AuditReport(params.hardened, reader.number, model, state.target, reader.chain, rounds, finding)


def _finding(error: ClipError, round: int | None, entry: int) -> Finding:
    """AUD-13: an error as a finding: a client's fault where it names one, the file's if that is damaged, else the server's."""
    if isinstance(error, ContributionError):
        return Finding(error.rule, round, entry, error.culprit, f"{error.field}: {error.detail}")
    detail = error.detail
    if isinstance(error, RoundAborted):
        detail = f"went on at {error.stage} with {error.have} clients, {error.need} are needed"
    return Finding(error.rule, round, entry, None if isinstance(error, TranscriptError) else SERVER, detail)


def _blame(culprit: int, rule: str, field: str, detail: str) -> ContributionError:
    return ContributionError(rule=rule, culprit=culprit, field=field, detail=detail)


def _kind(data: bytes, culprit: int) -> str:
    try:
        return wire.kind_name(data)
    except ContributionError as error:
        raise attrs.evolve(error, culprit=culprit) from None


def _differing(have: Iterable[int], want: Iterable[int]) -> str:
    there, due = set(have), set(want)
    missing, extra = sorted(due - there), sorted(there - due)
    return (
        f"lacks {missing}, has {extra} beyond what is due" if missing or extra else "differs in what it holds of them"
    )


class _Auditor:
    """A run, as far as it has been verified."""

    def __init__(self, opening: Opening, directory: Directory) -> None:
        self._opening, self._directory = opening, directory
        self._state = opening.state
        self._replay: _Replay | None = None
        self._used: set[bytes] = set()
        self.reports: list[RoundReport] = []

    @property
    def round(self) -> int:
        """The round that is being verified, or comes next."""
        return self._state.round

    def take(self, entry: Passed | Ended) -> None:
        """AUD-2: the next entry: rounds come one after the other, without gaps, each ended before the next begins."""
        if isinstance(entry, Ended):
            if self._replay is None:
                raise _blame(SERVER, "AUD-2", "end", "no round has begun")
            self.reports.append(self._replay.end(entry))
            self._state, self._replay = self._replay.following, None
            return
        if self._replay is None:
            self._replay = self._begun(entry)
        if entry.to_server:
            self._replay.received(entry.client, entry.data)
        else:
            self._replay.sent(entry.client, entry.data)

    def _begun(self, entry: Passed) -> "_Replay":
        if entry.to_server or _kind(entry.data, SERVER) != "Open":
            raise _blame(SERVER, "AUD-2", "round", "a round begins with an Open")
        number = wire.header(entry.data).round
        if number != self._state.round:
            raise _blame(SERVER, "AUD-2", "round", f"is {number}, where round {self._state.round} is next")
        if self._state.target and (number == 1 or not self._opening.params.neighbours):
            raise _blame(SERVER, "AUD-5", "target", "must be 0: no round of a graph came before")
        return _Replay(self._opening, self._state, self._directory, self._used)

    def done(self) -> None:
        """AUD-2: the transcript is over: not within a round, and not before the first."""
        if self._replay is not None:
            raise _blame(SERVER, "AUD-2", "end", f"the transcript is over before round {self.round} is")
        if not self.reports:
            raise _blame(SERVER, "AUD-2", "end", "the transcript has no round")


class _Replay:
    """One round, replayed as far as it has been read."""

    following: State
    """The state after it, once it has ended."""

    def __init__(self, opening: Opening, state: State, directory: Directory, used: set[bytes]) -> None:
        params = opening.params
        self._params, self._state, self._directory, self._used = params, state, directory, used
        self._server = Server(params=params, layout=opening.layout, state=state, directory=directory)
        context = self._server.context
        self._header = Header(context.session, context.round, SERVER)
        self._legs = _legs(params)
        self._at = -1
        self._asked: dict[ClientId, int] = {}
        self._due: dict[ClientId, ServerMessage] = {}
        self._encoded: tuple[ServerMessage | None, bytes] = (None, b"")
        self._total = np.zeros(self._server.sizes.vector, dtype=np.uint64)
        self._unmasks: dict[ClientId, Unmask] = {}
        self._upload_bytes = 0

    # What the server sent

    def sent(self, client: ClientId, data: bytes) -> None:
        """AUD-3: a message from the server: of this leg or the next, once for each client that it is due to."""
        name = _kind(data, SERVER)
        place = next((k for k, (down, _) in enumerate(self._legs) if down.__name__ == name), None)
        if place is None or not self._at <= place <= self._at + 1:
            raise _blame(SERVER, "AUD-3", "kind", f"{name} to client {client} has no place here")
        if place > self._at:
            self._open_leg(place)
        if self._asked.get(client) == place:
            raise _blame(SERVER, "AUD-3", "kind", f"a second {name} to client {client}")
        invited = place == 0 and (client in self._directory.keys or not self._params.hardened)
        if not invited and client not in self._due:
            raise _blame(SERVER, "AUD-3", "kind", f"no {name} is due to client {client}")
        self._asked[client] = place
        expected = self._opening_message if place == 0 else self._due[client]
        if expected is not self._encoded[0]:
            self._encoded = expected, wire.encode(expected, self._header)
        if data != self._encoded[1]:
            found = wire.decode(data, expected=self._header, kind=type(expected), sizes=self._server.sizes)
            raise self._lie(client, found, expected)

    def _open_leg(self, place: int) -> None:
        """The server has gone on to the next leg: what is due to whom follows from what had arrived (ROU-11 if too little)."""
        server, down = self._server, self._legs[place][0]
        if down is Open:
            self._opening_message = server.open()
        elif down in (Roster, Neighbourhood):
            self._due = dict(server.rosters(server.close_advertise()))
        elif down is Deliver:
            self._due = dict(server.close_share())
        elif down is Announce:
            announce = server.close_input()
            self._due = dict.fromkeys(server.u3, announce)
        else:
            agreed = server.close_consistency()
            self._due = {u: server.agreed_for(agreed, u) for u in server.u3}
        self._at = place

    def _lie(self, client: ClientId, found: Message, expected: ServerMessage) -> ContributionError:
        """AUD-5..AUD-9: which rule a message breaks that is not what follows from what the server had received."""
        if isinstance(found, Open) and isinstance(expected, Open):
            what = {
                "config": "is not the digest of the parameters and layout in the transcript",
                "directory": "is not the digest of the pinned directory of identities",
                "model": "is not the digest of the model that the rounds before yielded",
                "history": "is not the digest of the last differing model before that one",
                "target": "is not T* of the last round that came to a sum, 0 if there is none",
            }
            fields = [name for name in what if getattr(found.context, name) != getattr(expected.context, name)]
            return _blame(SERVER, "AUD-5", fields[0], what[fields[0]])
        if isinstance(found, Roster) and isinstance(expected, Roster):
            ids = _differing((b.sender for b in found.bundles), (b.sender for b in expected.bundles))
            return _blame(SERVER, "AUD-6", "roster", f"to client {client}: {ids}: not the keys that arrived")
        if isinstance(found, Neighbourhood) and isinstance(expected, Neighbourhood):
            if (found.count, found.root) != (expected.count, expected.root):
                return _blame(SERVER, "AUD-6", "root", f"to client {client}: not that of the keys that arrived")
            ids = _differing((m.bundle.sender for m in found.members), (m.bundle.sender for m in expected.members))
            return _blame(SERVER, "AUD-6", "members", f"to client {client}: {ids}: not its neighbours as they are")
        if isinstance(found, Deliver) and isinstance(expected, Deliver):
            if found.u2 != expected.u2:
                return _blame(SERVER, "AUD-7", "u2", f"to client {client}: not those whose shares arrived")
            if found.envelopes == expected.envelopes:
                return _blame(SERVER, "AUD-7", "model", f"to client {client}: not the one that was announced")
            ids = _differing((e.peer for e in found.envelopes), (e.peer for e in expected.envelopes))
            return _blame(SERVER, "AUD-7", "envelopes", f"to client {client}: {ids}: not those that its peers sent")
        if isinstance(found, Announce) and isinstance(expected, Announce):
            if found.u3 != expected.u3:
                return _blame(SERVER, "AUD-8", "u3", f"to client {client}: not those whose inputs arrived")
            ids = _differing(found.survivors, expected.survivors)
            return _blame(SERVER, "AUD-8", "survivors", f"to client {client}: {ids}: not those whose inputs arrived")
        signers = [u for u, _ in cast("Agreed", found).signatures], [u for u, _ in cast("Agreed", expected).signatures]
        return _blame(
            SERVER, "AUD-9", "signatures", f"to client {client}: {_differing(*signers)}: not those that arrived"
        )

    # What the server received

    def received(self, client: ClientId, data: bytes) -> None:
        """AUD-3, AUD-4: a message to the server: an answer to this leg's message, and one that an honest server accepts."""
        name = _kind(data, client)
        if self._at < 0 or name != self._legs[self._at][1].__name__:
            raise _blame(client, "AUD-3", "kind", f"{name} has no place here")
        if self._asked.get(client) != self._at:
            raise _blame(client, "AUD-3", "kind", f"{name}, which it was not asked for")
        expected = attrs.evolve(self._header, sender=client)
        message = wire.decode(data, expected=expected, kind=_KINDS[name], sizes=self._server.sizes)
        if isinstance(message, Unmask):
            self._check_one_share(message)
        self._server.accept(cast("ClientMessage", message))
        if isinstance(message, Advertise):
            self._check_fresh(message)
        elif isinstance(message, MaskedInput):
            self._upload_bytes = len(data)
            self._total += message.vector
        elif isinstance(message, Unmask):
            self._unmasks[client] = message

    def _check_one_share(self, message: Unmask) -> None:
        """AUD-10: nobody reveals both shares of a client, nor answers a second time."""
        both = {u for u, _ in message.self_shares} & {u for u, _ in message.key_shares}
        if both:
            raise _blame(message.sender, "AUD-10", "shares", f"reveals both shares of {sorted(both)}")
        if message.sender in self._unmasks:
            raise _blame(message.sender, "AUD-10", "shares", "reveals shares a second time in this round")

    def _check_fresh(self, message: Advertise) -> None:
        """AUD-10: a public key serves once: one of its shares in each of two rounds would be both shares of one secret."""
        for field in ("channel_key", "mask_key"):
            key = getattr(message, field)
            if key in self._used:
                raise _blame(message.sender, "AUD-10", field, "has been advertised before")
            self._used.add(key)

    # How it ended

    def end(self, entry: Ended) -> RoundReport:
        """AUD-11, AUD-12: the round is over: what the server says came of it is what its messages give."""
        server, complete = self._server, self._at == len(self._legs) - 1
        aggregate, reason = None, self._so_far()
        if complete:
            try:
                aggregate = server.close_unmask()
            except ClipError as error:
                if entry.model is not None:
                    raise
                reason = str(error)
        elif entry.model is not None:
            raise _blame(SERVER, "AUD-11", "sum", "is said to be known before anything was unmasked")
        if aggregate is None:
            self.following = self._state.aborted()
            return self._report(None, reason)
        if entry.model is None:
            raise _blame(SERVER, "AUD-12", "end", "the round is said to be aborted, but the server had got its sum")
        self._check_sum(entry, aggregate)
        target = graph.target(histogram=aggregate.histogram, params=self._params)
        self.following = self._state.completed(aggregate.model, target=target)
        return self._report(server.sum_digest, "")

    def _arrived(self) -> tuple[tuple[ClientId, ...], ...]:
        """U1, U2, U3, U4, U5."""
        server = self._server
        return tuple(tuple(sorted(ids)) for ids in (server.u1, server.u2, server.u3, server.u4, server.u5))

    def _so_far(self) -> str:
        """How far a round got that ended before its last leg."""
        stage = self._at + 1 if self._params.hardened or self._at < 3 else 5
        need = self._params.min_survivors if stage <= 3 else self._params.threshold
        return f"U{stage} had {len(self._arrived()[stage - 1])} clients; {need} are needed to go on"

    def _check_sum(self, entry: Ended, aggregate: Aggregate) -> None:
        """AUD-11: the sum, computed in two ways, and the next model are those that the server says."""
        bare = self._bare()
        found = digest("sum", (bare.astype(self._server.sizes.ring.dtype).tobytes(),))
        if not entry.sum_digest == found == self._server.sum_digest:
            raise _blame(SERVER, "AUD-11", "sum", "is not that of the inputs that arrived")
        if entry.model != model_digest(aggregate.model):
            raise _blame(SERVER, "AUD-11", "model", "is not the one that the sum yields")

    def _bare(self) -> NDArray[np.uint64]:
        """AUD-11: the sum once more, apart from the server's code: 64-bit words for every ring, one mask at a time."""
        server, params, ring = self._server, self._params, self._server.sizes.ring
        ctx, holders = self._holders()
        total = self._total.copy()

        def secret(owner: ClientId, kind: str) -> bytes:
            there = [(x, u) for x, u in enumerate(holders[owner], start=1) if u in self._unmasks]
            shares = {x: dict(getattr(self._unmasks[u], kind))[owner] for x, u in there[: params.threshold]}
            return shamir.combine(shares=shares, threshold=params.threshold)

        def mask(seed: Seed) -> NDArray[np.uint64]:
            return rand.expand(seed=seed, ring=ring, length=len(total)).astype(np.uint64)

        for u in server.u3:
            total -= mask(keys.self_mask_seed(self_seed=Seed(secret(u, "self_shares")), me=u, ctx=ctx))
        for gone in sorted(set(server.u2) - set(server.u3)):
            key = SecretKey(secret(gone, "key_shares"))
            for u in set(holders[gone]) & set(server.u3):
                seed = keys.pair_seed(secret=key, me=gone, peer=u, peer_key=server.u1[u].mask_key, ctx=ctx)
                total = total + mask(seed) if gone < u else total - mask(seed)
        return total & np.uint64(ring.modulus - 1)

    def _holders(self) -> tuple[Digest, dict[ClientId, tuple[ClientId, ...]]]:
        """The context that masks derive from, and who holds shares of whose secrets, ascending: worked out anew."""
        server, degree = self._server, self._params.neighbours
        everybody = tuple(sorted(server.u1))
        bundles = tuple(server.u1[u] for u in everybody)
        if not degree:
            ctx = server.context.ctx(Roster(bundles).digest())
            return mask_context(ctx=ctx, u2=server.u2), dict.fromkeys(everybody, everybody)
        encoded = [wire.encode(bundle, attrs.evolve(self._header, sender=bundle.sender)) for bundle in bundles]
        root = graph.merkle_root([graph.leaf(position=p, bundle=data) for p, data in enumerate(encoded)])
        ctx = server.context.ctx(graph.roster_digest(root=root, count=len(everybody)))
        seed, found = graph.graph_seed(ctx=ctx), {}
        for p, u in enumerate(everybody):
            near = graph.neighbours(seed=seed, count=len(everybody), degree=degree, position=p)
            found[u] = tuple(everybody[q] for q in sorted((p, *near)))
        return mask_context(ctx=ctx, u2=[p for p, u in enumerate(everybody) if u in server.u2]), found

    def _report(self, sum_digest: Digest | None, aborted: str) -> RoundReport:
        u1, u2, u3, u4, u5 = self._arrived()
        answered = (u1, u2, u3, u4, u5) if self._params.hardened else (u1, u2, u3, u5)
        drop_outs: dict[ClientId, str] = {}
        before: tuple[ClientId, ...] = tuple(sorted(self._asked))
        for (_, up), now in zip(self._legs[: self._at + 1], answered, strict=False):
            for u in set(before) - set(now):
                drop_outs.setdefault(u, up.__name__)
            before = now
        return RoundReport(
            round=self._state.round,
            u1=u1,
            u2=u2,
            u3=u3,
            u4=u4,
            u5=u5,
            drop_outs=dict(sorted(drop_outs.items())),
            sum_digest=sum_digest,
            model=model_digest(self.following.model),
            target=self.following.target,
            aborted=aborted,
            signatures=self._server.work.signatures,
            upload_bytes=self._upload_bytes,
        )


def as_dict(report: AuditReport) -> dict[str, Any]:
    """The report as JSON has it: digests in hex, the server's id as `server`."""
    finding = None if report.finding is None else attrs.asdict(report.finding)
    if finding is not None and finding["culprit"] == SERVER:
        finding["culprit"] = "server"

    def plain(_: object, __: object, value: Any) -> Any:
        return value.hex() if isinstance(value, bytes) else value

    return {
        "holds": report.holds,
        "signed": report.signed,
        "entries": report.entries,
        "model": report.model and report.model.hex(),
        "target": report.target,
        "chain": report.chain and report.chain.hex(),
        "rounds": [attrs.asdict(found, value_serializer=plain) for found in report.rounds],
        "finding": finding,
    }
