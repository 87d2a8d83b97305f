"""The client's side of a round.   Spec: round, rules ROU-3..ROU-8, ROU-16, ROU-18, ROU-20..ROU-23.

A `Client` passes data between the steps, in the order of the round, and refuses whatever is out of order. It draws nothing:
all of its randomness comes from 32 bytes of entropy, fresh for each round, that its caller provides, and from the context
that was announced. So its answers follow from what it was sent, and a client that is made again after a restart, and fed the
same, says the same.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar, cast

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref import (
    agreement,
    broadcast,
    codec,
    deadline,
    graph,
    identification,
    invariance,
    keys,
    masking,
    padding,
    selection,
    shamir,
    wire,
)
from clip_ref.aggregation import holder_weights, scaled_among
from clip_ref.canonical import SESSION_BYTES, Reader, RoundContext, Writer, mask_context, model_digest
from clip_ref.errors import SERVER, ContributionError, PreconditionError
from clip_ref.identification import Plan, Verdict
from clip_ref.keys import NO_IDENTITIES, Directory
from clip_ref.layout import Layout
from clip_ref.messages import (
    SHARE_BYTES,
    Advertise,
    Agreed,
    Announce,
    ClientMessage,
    Consistent,
    Deliver,
    Header,
    MaskedInput,
    Neighbourhood,
    Open,
    Roster,
    ServerMessage,
    ShareKeys,
    TimeRecord,
    Unmask,
    check_ascending,
)
from clip_ref.params import Params, SlackSeed
from clip_ref.rand import derive, random_bytes
from clip_ref.round.cost import Leg, Work
from clip_ref.round.journal import NO_JOURNAL, Journal, NoJournal
from clip_ref.round.state import config_digest
from clip_ref.scores import LayerScores
from clip_ref.values import (
    NO_DIGEST,
    ClientId,
    Digest,
    Floats,
    Microseconds,
    SecretKey,
    Seed,
    SigningKey,
    check_finite,
    frozen_array,
    saturate,
)
from clip_ref.wire import Sizes

KEY_SHARE, SELF_SHARE = "mask key", "self mask"
"""What a share is a share of."""

_KINDS: Final[dict[str, type[ServerMessage]]] = {
    "open": Open,
    "roster": Roster,
    "deliver": Deliver,
    "announce": Announce,
    "agreed": Agreed,
}
"""The server's message of each step that has one."""

_Answer = TypeVar("_Answer")
_M = TypeVar("_M", bound=ClientMessage)


def sizes(*, params: Params, layout: Layout) -> Sizes:
    """The lengths of this configuration's messages."""
    return Sizes(
        clients=params.clients,
        levels=len(params.policy.grid),
        model=layout.size,
        vector=padding.padded_length(size=layout.size, params=params),
        ring=params.encoding.ring,
        hardened=params.hardened,
        neighbours=params.neighbours,
    )


@attrs.frozen
class Assignment:
    """What a client has to train in this round."""

    model: Floats = attrs.field(repr=False)
    """w_i: float32[d]."""

    kept: dict[str, NDArray[np.int64]] = attrs.field(repr=False)
    """For each prunable layer, the neurons of its sub-model."""

    verdict: Verdict
    """What it found about itself."""

    plan: Plan = attrs.field(repr=False)
    """What it found about everybody."""

    not_before: Microseconds
    """DDL-1: the masked input is not to be sent before so many µs after the start of `Deliver`: all clients' alike."""


Turn = tuple[int, tuple[int, ...]]
"""A keep level, and the keep levels of the blocks ahead: what settles which neurons are kept."""

WHOLE: Final[Turn] = (1000, ())
"""Nothing is pruned."""


class Client:
    """One client in one round. Each method takes the server's message and returns the answer.

    Raises `ContributionError` that names the server or the peer whose message breaks a rule, before anything that depends on
    it is revealed; `PreconditionError` where its caller is at fault or calls out of order. Asked the same again, it answers
    the same again; asked something else at a step that it has taken, it refuses (ROU-3).
    """

    def __init__(
        self,
        *,
        me: ClientId,
        params: Params,
        layout: Layout,
        record: TimeRecord,
        history: Floats | None,
        entropy: bytes,
        identity: SigningKey | None = None,
        directory: Directory = NO_IDENTITIES,
        session: bytes | None = None,
        journal: Journal | NoJournal | None = None,
    ) -> None:
        """A client about to take part in a round.

        `record` is its time record; `has_model` and `entropy` in it are set here. `history` is the model it has kept from
        before, float32[d]. `entropy` is 32 bytes, secret, never used for another round. `identity` and `directory` are
        needed at security level `hardened`. So are `session`, the one session of which an `Open` is taken, and `journal`
        (ROU-22); without them, at `basic`, any session will do and no rounds are remembered. `journal` is written before every
        answer, and says which rounds are past; `NO_JOURNAL` has it that there is none. To go on after a restart: `restored`.
        """
        params.check_client_id(me)
        if len(entropy) != 32:
            raise PreconditionError(rule="ROU-3", detail=f"a round takes 32 bytes of entropy, got {len(entropy)}")
        if params.hardened:
            if identity is None or directory.keys.get(me) != keys.identity_key(identity):
                raise PreconditionError(
                    rule="ROU-18", detail=f"client {me} needs a signing key whose public key the directory has"
                )
        elif identity is not None or directory.keys:
            raise PreconditionError(rule="ROU-18", detail="security level `basic` has no identities")
        self._session = _checked_session(session, params)
        if params.hardened and journal is None:
            raise PreconditionError(
                rule="ROU-22", detail="security level `hardened` takes a journal, or NO_JOURNAL to keep none knowingly"
            )
        self.me = me
        self.work: dict[Leg, Work] = {}
        self.masking_work = Work()
        self._params, self._layout, self._sizes = params, layout, sizes(params=params, layout=layout)
        self._record, self._history, self._entropy = record, history, entropy
        self._identity, self._directory = identity, directory
        self._next = "open"
        self._answered: dict[str, tuple[object, object]] = {}
        self._journal = None if journal is NO_JOURNAL else journal
        self._past = past_rounds(self._journal)
        if self._journal is not None:
            self._journal.begin(("begin", _begin(entropy, record, self._past, history)))

    @classmethod
    def restored(
        cls,
        *,
        me: ClientId,
        params: Params,
        layout: Layout,
        history: Floats | None,
        journal: Journal,
        identity: SigningKey | None = None,
        directory: Directory = NO_IDENTITIES,
        session: bytes | None = None,
    ) -> "Client":
        """ROU-16: the client that wrote `journal`, where it stood: it can answer nothing else than it may have answered.

        Everything but the journal must be as it was; another history is refused (`PreconditionError`, ROU-16), and whatever
        else makes it refuse a message that it has answered.
        """
        entries = journal.entries()
        if not entries or entries[0][0] != "begin":
            raise PreconditionError(rule="ROU-16", detail="the journal has no round that has begun")
        size = sizes(params=params, layout=layout)
        entropy, record, past, kept = _begun(entries[0][1], size, me)
        if kept != _history_digest(history):
            raise PreconditionError(rule="ROU-16", detail=f"client {me} began this round with another history model")
        client = cls(
            me=me,
            params=params,
            layout=layout,
            record=record,
            history=history,
            entropy=entropy,
            identity=identity,
            directory=directory,
            session=session,
            journal=NO_JOURNAL,
        )
        client._past = past
        for number, (step, data) in enumerate(entries[1:], start=2):
            try:
                if step == "masked_input":
                    client.masked_input(np.frombuffer(data, dtype="<f4"))
                else:
                    header = wire.header(data)
                    kind = Neighbourhood if step == "roster" and params.neighbours else _KINDS[step]
                    message = wire.decode(data, expected=header, kind=kind, sizes=size)
                    getattr(client, step)(message)
            except ContributionError as error:
                if number < len(entries) or step == "open":
                    raise PreconditionError(
                        rule="ROU-16",
                        detail=f"client {me} answered a message in this round that it now refuses: {error}",
                    ) from None  # the last message it may have refused then, too, unless that was an `Open`
        client._journal = journal
        return client

    def _draw(self, purpose: str) -> bytes:
        """ROU-23: 32 bytes that follow from the entropy and from what was announced: under another context, other ones."""
        return derive(secret=self._entropy, salt=self._ctx0, purpose=f"client {purpose}", ids=(self.me,))

    def _once(self, step: str, following: str, given: ServerMessage | Floats, answer: Callable[[], _Answer]) -> _Answer:
        """ROU-3: every step is taken once and in order, after it is written down; the same question has the same answer.

        A client that refuses a message takes no further part in the round.
        """
        if step in self._answered:
            before, said = self._answered[step]
            if isinstance(given, np.ndarray):
                if not np.array_equal(cast("Floats", before), given):
                    raise PreconditionError(
                        rule="ROU-3", detail=f"client {self.me} has sent another update in this round"
                    )
            elif before != given:
                raise self._blame(SERVER, "ROU-3", step, "a second, different message at a step that I have taken")
            return cast("_Answer", said)
        if self._next != step:
            raise PreconditionError(rule="ROU-3", detail=f"client {self.me} expects {self._next}, not {step}")
        if self._journal is not None:
            self._journal.append((step, self._bytes(given)))
        self._next = "nothing more"
        result = answer()
        self._answered[step] = (given, result)
        self._next = following
        return result

    def _bytes(self, given: ServerMessage | Floats) -> bytes:
        """What goes into the journal."""
        if isinstance(given, np.ndarray):
            return given.astype("<f4").tobytes()
        context = given.context if isinstance(given, Open) else self._context
        return wire.encode(given, Header(context.session, context.round, SERVER))

    def _expect(self, step: str) -> None:
        if not self._answered and step != "open":
            raise PreconditionError(rule="ROU-3", detail=f"client {self.me} expects open, not {step}")

    def _signed(self, message: _M, context: Digest) -> _M:
        """The message with its signature, at level `hardened`."""
        if self._identity is None:
            return message
        header = Header(self._context.session, self._context.round, self.me)
        return agreement.signed(message=message, header=header, context=context, secret=self._identity)

    def open(self, message: Open) -> Advertise:
        """ROU-4: check what the server announces, and advertise two fresh keys. An `Open` that is refused uses nothing up."""
        if self._next == "open":
            self._check_open(message.context)
        return self._once("open", "roster", message, lambda: self._open(message))

    def _check_open(self, context: RoundContext) -> None:
        """ROU-4, ROU-22: refuse what does not fit this client, before anything is written, derived or answered."""
        if self._session not in (None, context.session):
            raise self._blame(SERVER, "ROU-22", "session", "another session than the one that I was made for")
        if context.config != config_digest(params=self._params, layout=self._layout):
            raise self._blame(SERVER, "ROU-4", "config", "other parameters or another model layout than mine")
        if context.directory != self._directory.digest():
            raise self._blame(SERVER, "ROU-4", "directory", "another directory of identities than mine")
        last = self._past.get(context.session, 0)
        if context.round <= last:
            raise self._blame(SERVER, "ROU-4", "round", f"round {context.round} is not after {last}")

    def _open(self, message: Open) -> Advertise:
        context = message.context
        self._context = context
        self._ctx0 = context.ctx0()
        self._channel_secret = SecretKey(self._draw("channel key"))
        self._mask_secret = SecretKey(self._draw("mask key"))
        self._self_seed = Seed(self._draw("self mask seed"))
        self._record = attrs.evolve(self._record, has_model=self._can_score(context), entropy=self._draw("record"))
        self.work[Leg.ADVERTISE] = Work(scalar_multiplications=2)
        bundle = Advertise(self.me, keys.public_key(self._channel_secret), keys.public_key(self._mask_secret))
        if self._params.hardened:
            bundle = attrs.evolve(
                bundle,
                record_commitment=agreement.record_commitment(record=self._record, owner=self.me, ctx0=self._ctx0),
                seed_commitment=agreement.seed_commitment(seed=self._self_seed, owner=self.me, ctx0=self._ctx0),
            )
            self.work[Leg.ADVERTISE] += Work(signatures=1)
        self._bundle = self._signed(bundle, self._ctx0)
        return self._bundle

    def roster(self, message: Roster | Neighbourhood) -> ShareKeys:
        """ROU-5: check the roster, share both secrets, and seal shares and times for every peer."""
        self._expect("roster")
        return self._once("roster", "deliver", message, lambda: self._share(message))

    def _share(self, message: Roster | Neighbourhood) -> ShareKeys:
        if isinstance(message, Neighbourhood) != bool(self._params.neighbours):
            raise self._blame(SERVER, "ROU-5", "kind", "a clique has rosters, a graph has neighbourhoods")
        bundles = self._bundles(message) if isinstance(message, Neighbourhood) else message.bundles
        ids = [b.sender for b in bundles]
        check_ascending(ids, culprit=SERVER, field="roster")
        count = message.count if isinstance(message, Neighbourhood) else len(ids)
        if not self._params.min_survivors <= count <= self._params.clients:
            raise self._blame(SERVER, "ROU-5", "roster", f"{count} clients, {self._params.min_survivors} are needed")
        if self._bundle not in bundles:
            raise self._blame(SERVER, "ROU-5", "roster", "my own keys are not in it as I sent them")
        if isinstance(message, Roster):
            self._ctx = self._context.ctx(message.digest())
        strangers = set(ids) - set(self._directory.keys) if self._params.hardened else set()
        if strangers:
            raise self._blame(
                SERVER, "ROU-5", "roster", f"{sorted(strangers)} are in no pinned directory of identities"
            )
        for bundle in bundles:
            bundle.check()
            if self._params.hardened and bundle.sender != self.me:
                header = Header(self._context.session, self._context.round, bundle.sender)
                agreement.check_signature(message=bundle, header=header, context=self._ctx0, directory=self._directory)
        self._roster = {b.sender: b for b in bundles}
        peers = [u for u in ids if u != self.me]
        self._channel = {
            u: keys.agree(
                secret=self._channel_secret, peer=u, peer_key=self._roster[u].channel_key, field="channel_key"
            )
            for u in peers
        }
        key_shares = dict(zip(ids, self._split(self._mask_secret.data, "mask key shares", len(ids)), strict=True))
        self_shares = dict(zip(ids, self._split(self._self_seed.data, "self mask shares", len(ids)), strict=True))
        self._shares = {self.me: (key_shares[self.me], self_shares[self.me])}
        envelopes = tuple(
            attrs.evolve(
                broadcast.seal_envelope(
                    sender=self.me,
                    receiver=u,
                    shared=self._channel[u],
                    ctx=self._ctx,
                    key_share=key_shares[u],
                    self_share=self_shares[u],
                    record=None if self._params.neighbours else self._record,
                ),
                commitments=self._commitments(self.me, u, key_shares[u], self_shares[u]),
            )
            for u in peers
        )
        hardened = self._params.hardened
        self.work[Leg.SHARE] = Work(
            scalar_multiplications=len(peers),
            shared_bytes=2 * SHARE_BYTES * len(ids) * self._params.threshold,
            sealed_bytes=len(peers) * (2 * SHARE_BYTES + (0 if self._params.neighbours else self._sizes.record)),
            signatures=len(ids) if hardened else 0,
            hashed_bytes=2 * SHARE_BYTES * len(ids) if hardened else 0,
        )
        own = self._commitments(self.me, self.me, *self._shares[self.me])
        return self._signed(ShareKeys(self.me, envelopes, own), self._ctx)

    def _bundles(self, message: Neighbourhood) -> tuple[Advertise, ...]:
        """ROU-20: the bundles of oneself and one's neighbours, each proved to be in the roster, and no others."""
        self._ctx = self._context.ctx(graph.roster_digest(root=message.root, count=message.count))
        for member in message.members:
            header = Header(self._context.session, self._context.round, member.bundle.sender)
            graph.check_proof(
                root=message.root,
                count=message.count,
                position=member.position,
                leaf=graph.leaf(position=member.position, bundle=wire.encode(member.bundle, header)),
                proof=member.proof,
                field="members",
            )
        self._count = message.count
        self._position = {m.bundle.sender: m.position for m in message.members}
        if len(self._position) != len(message.members) or self.me not in self._position:
            raise self._blame(SERVER, "ROU-20", "members", "a client stands there twice, or I do not at all")
        mine = self._position[self.me]
        expected = graph.neighbours(
            seed=graph.graph_seed(ctx=self._ctx),
            count=message.count,
            degree=self._params.neighbours,
            position=mine,
        )
        if [m.position for m in message.members] != sorted((mine, *expected)):
            raise self._blame(SERVER, "ROU-20", "members", "are not my neighbours on the graph")
        return tuple(m.bundle for m in message.members)

    def _commitments(self, owner: ClientId, holder: ClientId, key_share: bytes, self_share: bytes) -> bytes:
        """The commitments to the two shares that `holder` has of `owner`'s secrets, at level `hardened`."""
        if not self._params.hardened:
            return b""
        return b"".join(
            agreement.share_commitment(share=share, secret=secret, owner=owner, holder=holder, ctx=self._ctx)
            for secret, share in ((KEY_SHARE, key_share), (SELF_SHARE, self_share))
        )

    def _split(self, secret: bytes, purpose: str, holders: int) -> tuple[bytes, ...]:
        threshold = self._params.threshold
        randomness = random_bytes(seed=Seed(self._draw(purpose)), length=(threshold - 1) * len(secret))
        return shamir.split(secret=secret, threshold=threshold, holders=holders, randomness=randomness)

    def deliver(self, message: Deliver) -> Assignment:
        """ROU-6: check the model, open every envelope, hold it against its commitments, and find out what to train."""
        self._expect("deliver")
        return self._once("deliver", "masked_input", message, lambda: self._assign(message))

    def _assign(self, message: Deliver) -> Assignment:
        senders = [e.peer for e in message.envelopes]
        check_ascending(senders, culprit=SERVER, field="envelopes")
        on_graph = bool(self._params.neighbours)
        if on_graph:
            self._in_u2 = self._members(message.u2, "u2", senders)
        if not set(senders) <= set(self._channel):
            strangers = sorted(set(senders) - set(self._channel))
            raise self._blame(SERVER, "ROU-6", "envelopes", f"{strangers} are not peers of mine")
        if not on_graph and len(senders) + 1 < self._params.threshold:
            raise self._blame(SERVER, "ROU-6", "envelopes", f"U2 has {len(senders) + 1}, below the threshold")
        if message.model.shape != (self._layout.size,) or model_digest(message.model) != self._context.model:
            raise self._blame(SERVER, "ROU-6", "model", "not the model whose digest was announced")
        if not np.isfinite(message.model).all():
            raise self._blame(SERVER, "ROU-6", "model", "holds NaN or an infinity")
        records = {self.me: self._record}
        for envelope in message.envelopes:
            peer, shared = envelope.peer, self._channel[envelope.peer]
            shares = broadcast.open_shares(envelope=envelope, receiver=self.me, shared=shared, ctx=self._ctx)
            if self._params.hardened and envelope.commitments != self._commitments(peer, self.me, *shares):
                raise self._blame(peer, "ROU-6", "shares", "are not the ones that it committed to")
            self._shares[peer] = shares
            if on_graph:
                continue
            record = broadcast.open_record(
                envelope=envelope, receiver=self.me, shared=shared, ctx=self._ctx, sizes=self._sizes
            )
            if self._params.hardened:
                committed = agreement.record_commitment(record=record, owner=peer, ctx0=self._ctx0)
                if self._roster[peer].record_commitment != committed:
                    raise self._blame(peer, "ROU-6", "record", "is not the one that it committed to")
            records[peer] = record
        self._u2 = sorted((self.me, *senders))
        self._records = {u: records[u] for u in sorted(records)}
        self._plan = self._judged() if on_graph else self._identified()
        record_bytes = 0 if on_graph else self._sizes.record
        committed_bytes = 2 * SHARE_BYTES + record_bytes if self._params.hardened else 0
        work = Work(
            sealed_bytes=len(senders) * (2 * SHARE_BYTES + record_bytes),
            hashed_bytes=message.model.nbytes + len(senders) * committed_bytes,
        )
        self._model = message.model
        verdict = self._plan.verdicts[self.me]
        self._verdict = verdict
        self._among = scaled_among(
            weights={u: record.weight for u, record in self._records.items()},
            keep={u: v.keep for u, v in self._plan.verdicts.items()},
            client=self.me,
            mean=self._params.policy.mean,
        )
        wanted = {v.turn for u, v in self._plan.verdicts.items() if v.keep < 1000 and u in {self.me, *self._among}}
        kept: dict[Turn, dict[str, NDArray[np.int64]]] = {WHOLE: self._layout.full()}
        if wanted:
            kept |= self._select(wanted)
            work += Work(scored=self._layout.size)
        self._held_at = {turn: self._layout.held(neurons) for turn, neurons in kept.items()}
        self.work[Leg.INPUT] = work
        not_before = deadline.upload_time(
            target=self._plan.target,
            verdicts=self._plan.verdicts,
            params=self._params,
            round=self._context.round,
        )
        return Assignment(message.model, kept[verdict.turn], verdict, self._plan, not_before)

    def _identified(self) -> Plan:
        return identification.identify(records=self._records, params=self._params, round=self._context.round)

    def _judged(self) -> Plan:
        """On a graph: one's own verdict, from the target that the server announced."""
        record, target = self._record, self._context.target
        usable = target if identification.valid(record, params=self._params) else 0
        verdict = graph.judge(
            own=graph.own_times(record), target=usable, params=self._params, round=self._context.round
        )
        return Plan(saturate(target), saturate(0), {self.me: verdict})

    def _members(self, bits: bytes, field: str, peers: Iterable[ClientId]) -> frozenset[int]:
        """ROU-21: the positions in a view; myself, exactly these of my neighbours, t in all, and enough of the roster."""
        found = graph.positions(bits=bits, count=self._count, field=field)
        mine = {self._position[self.me], *(self._position[u] for u in peers if u in self._position)}
        if found & set(self._position.values()) != mine:
            raise self._blame(SERVER, "ROU-21", field, "does not say of my neighbourhood what I was told of it")
        if len(mine) < self._params.threshold:
            raise self._blame(SERVER, "ROU-21", field, f"has {len(mine)} of my neighbourhood, below the threshold")
        if len(found) < self._params.min_survivors:
            raise self._blame(SERVER, "ROU-21", field, f"has {len(found)}, {self._params.min_survivors} are needed")
        return found

    def _bucket(self) -> int | None:
        """On a graph: where this client's time belongs in the histogram, if it has one."""
        if not self._params.neighbours or not identification.valid(self._record, params=self._params):
            return None
        return graph.bucket_of(elapsed=identification.elapsed(self._record, level=0), params=self._params)

    def _can_score(self, context: RoundContext) -> bool:
        """Whether the history model that the round goes by is the one that this client kept."""
        return self._history is not None and model_digest(self._history) == context.history

    def _scores(self) -> Sequence[LayerScores]:
        """How much each neuron changed, or what else the policy scores."""
        mode = self._params.policy.scored
        return invariance.score(model=self._model, history=self._history, layout=self._layout, mode=mode)

    def _select(self, turns: set[Turn]) -> dict[Turn, dict[str, NDArray[np.int64]]]:
        """The neurons that each of `turns` keeps. Asked for only where somebody prunes: then there is a history (IDN-9)."""
        policy, scores = self._params.policy, self._scores()
        if policy.slack_seed is SlackSeed.CONTEXT:
            entropy: bytes = self._ctx
        else:
            entropy = broadcast.slack_entropy(records=self._records, ctx=self._ctx)
        kept = selection.selector(scores=scores, policy=policy, entropy=entropy, round=self._context.round)
        return {turn: kept(*turn) for turn in turns}

    def masked_input(self, delta: Floats) -> MaskedInput:
        """ROU-7: code the sub-model's update (float32[m]), pad it to the fixed length, and mask it over U2."""
        if "deliver" not in self._answered:
            raise PreconditionError(rule="ROU-3", detail=f"client {self.me} expects {self._next}, not masked_input")
        expected = int(np.count_nonzero(self._held_at[self._verdict.turn]))
        if delta.dtype != np.float32 or delta.shape != (expected,):
            raise PreconditionError(
                rule="ROU-7", detail=f"the update must be float32[{expected}], got {delta.dtype}{list(delta.shape)}"
            )
        check_finite(delta, rule="COD-2", name="the update")
        following = "announce"
        return self._once("masked_input", following, frozen_array(delta), lambda: self._mask(delta))

    def _mask(self, delta: Floats) -> MaskedInput:
        params, encoding = self._params, self._params.encoding
        held, weight, keep = self._held_at[self._verdict.turn], self._record.weight, self._verdict.keep
        if self._among:
            held_by = {u: self._held_at[self._plan.verdicts[u].turn] for u in self._among}
            holders = holder_weights(weights=self._among, held=held_by, size=len(held))
            coded = codec.encode_scaled(
                update=delta,
                weight=weight,
                total=sum(self._among.values()),
                holders=holders[held],
                cap=params.policy.holder_cap,
                encoding=encoding,
            )
        else:
            coded = codec.encode(update=delta, weight=weight, encoding=encoding)
        padded = padding.pad(coded=coded, held=held, keep=keep, weight=weight, params=params, bucket=self._bucket())
        ctx = mask_context(ctx=self._ctx, u2=self._in_u2 if params.neighbours else self._u2)
        pair_seeds = {
            u: keys.pair_seed(secret=self._mask_secret, me=self.me, peer=u, peer_key=self._roster[u].mask_key, ctx=ctx)
            for u in self._u2
            if u != self.me
        }
        self_seed = keys.self_mask_seed(self_seed=self._self_seed, me=self.me, ctx=ctx)
        masked = masking.mask(
            ring=encoding.ring,
            update=padded,
            self_seed=self_seed,
            pair_seeds=pair_seeds,
            sender=self.me,
            overwrite=True,
        )
        self.masking_work = Work(
            scalar_multiplications=len(pair_seeds), mask_bytes=(len(pair_seeds) + 1) * masked.nbytes, coded=len(delta)
        )
        if self._params.hardened:
            self.masking_work += Work(signatures=1, hashed_bytes=masked.nbytes)
        return self._signed(MaskedInput(self.me, masked), self._ctx)

    def announce(self, message: Announce) -> Consistent | Unmask:
        """ROU-8: check U3; at level `hardened` sign what one was told of U2 and U3, else reveal one's shares."""
        self._expect("announce")
        following = "agreed" if self._params.hardened else "nothing more"
        return self._once("announce", following, message, lambda: self._announced(message))

    def _announced(self, message: Announce) -> Consistent | Unmask:
        views = self._seen_on_graph(message) if self._params.neighbours else self._seen(message)
        if not self._params.hardened:
            return self._unmask()
        self._views = views
        self.work[Leg.CONSISTENCY] = Work(signatures=1)
        return self._signed(Consistent(self.me, self._views), self._ctx)

    def _seen(self, message: Announce) -> Digest:
        """Check U3 in a clique, and remember it; the statement to sign."""
        survivors = message.survivors
        check_ascending(survivors, culprit=SERVER, field="survivors")
        if not set(survivors) <= set(self._u2) or message.u3:
            raise self._blame(SERVER, "ROU-8", "survivors", "U3 holds clients that are not in U2")
        if self.me not in survivors:
            raise self._blame(SERVER, "ROU-8", "survivors", "I sent my masked input and am not in U3")
        if len(survivors) < self._params.threshold:
            raise self._blame(SERVER, "ROU-8", "survivors", f"U3 has {len(survivors)}, below the threshold")
        self._u3 = survivors
        return agreement.views(ctx=self._ctx, u2=self._u2, u3=survivors)

    def _seen_on_graph(self, message: Announce) -> Digest:
        """ROU-21: check U3 on a graph, and remember who of one's neighbourhood is in it; the statement to sign."""
        found = graph.positions(bits=message.u3, count=self._count, field="u3")
        if message.survivors or not found <= self._in_u2:
            raise self._blame(SERVER, "ROU-21", "u3", "U3 holds clients that are not in U2")
        self._u3 = tuple(u for u in self._u2 if self._position[u] in found)
        self._members(message.u3, "u3", self._u3)
        return agreement.views(ctx=self._ctx, u2=self._in_u2, u3=found)

    def agreed(self, message: Agreed) -> Unmask:
        """ROU-8, at level `hardened`: reveal one's shares once t clients have signed that they were told the same."""
        self._expect("agreed")
        return self._once("agreed", "nothing more", message, lambda: self._agreed(message))

    def _agreed(self, message: Agreed) -> Unmask:
        agreement.check_agreed(
            message=message,
            views=self._views,
            u3=self._u3,
            threshold=self._params.threshold,
            ctx=self._ctx,
            directory=self._directory,
            session=Header(self._context.session, self._context.round, self.me),
        )
        self.work[Leg.UNMASK] = Work(signatures=len(message.signatures) + 1)
        return self._unmask()

    def _unmask(self) -> Unmask:
        """For each client of U2 one share: of b_v if it survived, of its mask key if not; never both."""
        dropped = [u for u in self._u2 if u not in self._u3]
        answer = Unmask(
            self.me,
            tuple((u, self._shares[u][1]) for u in self._u3),
            tuple((u, self._shares[u][0]) for u in dropped),
        )
        return self._signed(answer, self._ctx)

    def _blame(self, culprit: int, rule: str, field: str, detail: str) -> ContributionError:
        return ContributionError(rule=rule, culprit=culprit, field=field, detail=detail)


def _checked_session(session: bytes | None, params: Params) -> bytes | None:
    """ROU-22: 16 bytes, and at level `hardened` not none."""
    if session is None and params.hardened:
        raise PreconditionError(rule="ROU-22", detail="security level `hardened` takes the session to take part in")
    if session is not None and len(session) != SESSION_BYTES:
        raise PreconditionError(rule="CTX-3", detail=f"a session id is {SESSION_BYTES} bytes, got {len(session)}")
    return session


def past_rounds(journal: Journal | None) -> dict[bytes, int]:
    """ROU-4: the last round of each session of which the journal's client has taken an `Open`."""
    entries = [] if journal is None else journal.entries()
    if not entries:
        return {}
    past = _past(Reader(entries[0][1], rule="ROU-16"))
    for step, data in entries:
        if step == "open":
            header = wire.header(data)
            past[header.session] = max(past.get(header.session, 0), header.round)
    return past


def _past(reader: Reader) -> dict[bytes, int]:
    count = reader.count(1 << 20, "sessions")
    return {reader.fixed(16, "session"): reader.unsigned(64, "round") for _ in range(count)}


def _history_digest(history: Floats | None) -> Digest:
    return NO_DIGEST if history is None else model_digest(history)


def _begin(entropy: bytes, record: TimeRecord, past: dict[bytes, int], history: Floats | None) -> bytes:
    writer = Writer().unsigned(len(past), 32)
    for session, last in past.items():
        writer.fixed(session, 16).unsigned(last, 64)
    encoded = wire.encode_record(attrs.evolve(record, entropy=bytes(32)))
    return writer.fixed(entropy, 32).fixed(_history_digest(history), 32).fixed(encoded, len(encoded)).done()


def _begun(data: bytes, size: Sizes, me: ClientId) -> tuple[bytes, TimeRecord, dict[bytes, int], bytes]:
    reader = Reader(data, rule="ROU-16", culprit=me)
    past = _past(reader)
    entropy, history = reader.fixed(32, "entropy"), reader.fixed(32, "history")
    record = wire.decode_record(reader.fixed(size.record, "record"), sizes=size, sender=me)
    reader.done()
    return entropy, record, past, history
