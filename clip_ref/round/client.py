"""The client's side of a round.   Spec: round, rules ROU-3..ROU-8.

A `Client` passes data between the steps, in the order of the round, and refuses whatever is out of order. It draws nothing:
all of its randomness comes from 32 bytes of entropy, fresh for each round, that its caller provides.
"""

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref import broadcast, codec, identification, invariance, keys, masking, padding, selection, shamir
from clip_ref.aggregation import holder_weights
from clip_ref.canonical import model_digest
from clip_ref.errors import SERVER, ContributionError, PreconditionError
from clip_ref.identification import Plan, Verdict
from clip_ref.layout import Layout
from clip_ref.messages import (
    SHARE_BYTES,
    Advertise,
    Announce,
    Deliver,
    MaskedInput,
    Open,
    Roster,
    ShareKeys,
    TimeRecord,
    Unmask,
    check_ascending,
)
from clip_ref.params import Mean, Params, SlackSeed
from clip_ref.rand import derive, random_bytes
from clip_ref.round.cost import Leg, Work
from clip_ref.round.state import config_digest
from clip_ref.values import ClientId, Floats, RoundNumber, SecretKey, Seed
from clip_ref.wire import Sizes


def sizes(*, params: Params, layout: Layout) -> Sizes:
    """The lengths of this configuration's messages."""
    return Sizes(
        clients=params.clients,
        levels=len(params.policy.grid),
        model=layout.size,
        vector=padding.padded_length(size=layout.size, params=params),
        ring=params.encoding.ring,
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


class Client:
    """One client in one round. Each method takes the server's message and returns the answer.

    Raises `ContributionError` that names the server or the peer whose message breaks a rule, before anything that depends on
    it is revealed; `PreconditionError` where its caller is at fault or calls out of order.
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
        last_round: RoundNumber | None = None,
    ) -> None:
        """A client about to take part in a round.

        `record` is its time record; `has_model` and `entropy` in it are set here. `history` is the model it has kept from
        before, float32[d]. `entropy` is 32 bytes, secret, never used for another round. `last_round` is the last round of
        this session that it took part in.
        """
        params.check_client_id(me)
        if len(entropy) != 32:
            raise PreconditionError(rule="ROU-3", detail=f"a round takes 32 bytes of entropy, got {len(entropy)}")
        self.me = me
        self.work: dict[Leg, Work] = {}
        self.masking_work = Work()
        self._params, self._layout, self._sizes = params, layout, sizes(params=params, layout=layout)
        self._record, self._history, self._last_round = record, history, last_round
        self._entropy = entropy
        self._channel_secret = SecretKey(self._draw("channel key"))
        self._mask_secret = SecretKey(self._draw("mask key"))
        self._self_seed = Seed(self._draw("self mask seed"))
        self._next = "open"

    def _draw(self, purpose: str) -> bytes:
        return derive(secret=self._entropy, salt=b"", purpose=f"client {purpose}", ids=(self.me,))

    def _turn(self, method: str) -> None:
        """ROU-3: every message is answered once and in order; a client that refuses one takes no further part."""
        if self._next != method:
            raise PreconditionError(rule="ROU-3", detail=f"client {self.me} expects {self._next}, not {method}")
        self._next = "nothing more"

    def open(self, message: Open) -> Advertise:
        """ROU-4: check what the server announces, and advertise two fresh keys."""
        self._turn("open")
        context = message.context
        if context.config != config_digest(params=self._params, layout=self._layout):
            raise self._blame(SERVER, "ROU-4", "config", "other parameters or another model layout than mine")
        if context.round < 1 or (self._last_round is not None and context.round <= self._last_round):
            raise self._blame(SERVER, "ROU-4", "round", f"round {context.round} is not after {self._last_round}")
        self._context = context
        has_model = self._history is not None and model_digest(self._history) == context.history
        self._record = attrs.evolve(self._record, has_model=has_model, entropy=self._draw("record"))
        self._bundle = Advertise(self.me, keys.public_key(self._channel_secret), keys.public_key(self._mask_secret))
        self.work[Leg.ADVERTISE] = Work(scalar_multiplications=2)
        self._next = "roster"
        return self._bundle

    def roster(self, message: Roster) -> ShareKeys:
        """ROU-5: check the roster, share both secrets, and seal shares and times for every peer."""
        self._turn("roster")
        bundles = message.bundles
        ids = [b.sender for b in bundles]
        check_ascending(ids, culprit=SERVER, field="roster")
        if not self._params.threshold <= len(ids) <= self._params.clients:
            raise self._blame(SERVER, "ROU-5", "roster", f"{len(ids)} clients, {self._params.threshold} are needed")
        if self._bundle not in bundles:
            raise self._blame(SERVER, "ROU-5", "roster", "my own keys are not in it as I sent them")
        for bundle in bundles:
            bundle.check()
        self._ctx = self._context.ctx(message.digest())
        self._roster = {b.sender: b for b in bundles}
        peers = [u for u in ids if u != self.me]
        self._channel = {
            u: keys.agree(
                secret=self._channel_secret, peer=u, peer_key=self._roster[u].channel_key, field="channel_key"
            )
            for u in peers
        }
        key_shares = self._split(self._mask_secret.data, "mask key shares", len(ids))
        self_shares = self._split(self._self_seed.data, "self mask shares", len(ids))
        position = {u: k for k, u in enumerate(ids)}
        self._shares = {self.me: (key_shares[position[self.me]], self_shares[position[self.me]])}
        envelopes = tuple(
            broadcast.seal_envelope(
                sender=self.me,
                receiver=u,
                shared=self._channel[u],
                ctx=self._ctx,
                key_share=key_shares[position[u]],
                self_share=self_shares[position[u]],
                record=self._record,
            )
            for u in peers
        )
        self.work[Leg.SHARE] = Work(
            scalar_multiplications=len(peers),
            shared_bytes=2 * SHARE_BYTES * len(ids) * self._params.threshold,
            sealed_bytes=len(peers) * (2 * SHARE_BYTES + self._sizes.record),
        )
        self._next = "deliver"
        return ShareKeys(self.me, envelopes)

    def _split(self, secret: bytes, purpose: str, holders: int) -> tuple[bytes, ...]:
        threshold = self._params.threshold
        randomness = random_bytes(seed=Seed(self._draw(purpose)), length=(threshold - 1) * len(secret))
        return shamir.split(secret=secret, threshold=threshold, holders=holders, randomness=randomness)

    def deliver(self, message: Deliver) -> Assignment:
        """ROU-6: check the model, open every envelope, and find out what to train."""
        self._turn("deliver")
        senders = [e.peer for e in message.envelopes]
        check_ascending(senders, culprit=SERVER, field="envelopes")
        if not set(senders) <= set(self._channel):
            strangers = sorted(set(senders) - set(self._channel))
            raise self._blame(SERVER, "ROU-6", "envelopes", f"{strangers} are not peers of mine")
        if len(senders) + 1 < self._params.threshold:
            raise self._blame(SERVER, "ROU-6", "envelopes", f"U2 has {len(senders) + 1}, below the threshold")
        if message.model.shape != (self._layout.size,) or model_digest(message.model) != self._context.model:
            raise self._blame(SERVER, "ROU-6", "model", "not the model whose digest was announced")
        if not np.isfinite(message.model).all():
            raise self._blame(SERVER, "ROU-6", "model", "holds NaN or an infinity")
        records = {self.me: self._record}
        for envelope in message.envelopes:
            shared = self._channel[envelope.peer]
            self._shares[envelope.peer] = broadcast.open_shares(
                envelope=envelope, receiver=self.me, shared=shared, ctx=self._ctx
            )
            records[envelope.peer] = broadcast.open_record(
                envelope=envelope, receiver=self.me, shared=shared, ctx=self._ctx, sizes=self._sizes
            )
        self._u2 = sorted(records)
        self._records = {u: records[u] for u in self._u2}
        self._plan = identification.identify(records=self._records, params=self._params, round=self._context.round)
        work = Work(
            sealed_bytes=len(senders) * (2 * SHARE_BYTES + self._sizes.record), hashed_bytes=message.model.nbytes
        )
        self._model = message.model
        verdict = self._plan.verdicts[self.me]
        self._keep = verdict.keep
        pruners = {v.keep for v in self._plan.verdicts.values() if v.keep < 1000}
        wanted = pruners if self._params.policy.mean is Mean.HOLDER else pruners & {self._keep}
        kept = {1000: self._layout.full()}
        if wanted:
            kept |= self._select(wanted)
            work += Work(scored=self._layout.size)
        self._held_at = {keep: self._layout.held(neurons) for keep, neurons in kept.items()}
        self.work[Leg.INPUT] = work
        self._next = "masked_input"
        return Assignment(message.model, kept[self._keep], verdict, self._plan)

    def _select(self, levels: set[int]) -> dict[int, dict[str, NDArray[np.int64]]]:
        """The neurons that each of `levels` keeps. Asked for only where somebody prunes: then there is a history (IDN-9)."""
        policy = self._params.policy
        assert self._history is not None
        scores = invariance.score(model=self._model, history=self._history, layout=self._layout, mode=policy.score)
        if policy.slack_seed is SlackSeed.CONTEXT:
            entropy: bytes = self._ctx
        else:
            entropy = broadcast.slack_entropy(records=self._records, ctx=self._ctx)
        kept = selection.selector(scores=scores, policy=policy, entropy=entropy, round=self._context.round)
        return {keep: kept(keep) for keep in levels}

    def masked_input(self, delta: Floats) -> MaskedInput:
        """ROU-7: code the sub-model's update (float32[m]), pad it to the fixed length, and mask it over U2."""
        self._turn("masked_input")
        self._next = "masked_input"  # a bad update uses nothing up: the caller may come back with a good one
        expected = int(self._held_at[self._keep].sum())
        if delta.dtype != np.float32 or delta.shape != (expected,):
            raise PreconditionError(
                rule="ROU-7", detail=f"the update must be float32[{expected}], got {delta.dtype}{list(delta.shape)}"
            )
        params, encoding = self._params, self._params.encoding
        held, weight = self._held_at[self._keep], self._record.weight
        if params.policy.mean is Mean.HOLDER:
            weights = {u: record.weight for u, record in self._records.items()}
            held_by = {u: self._held_at[self._plan.verdicts[u].keep] for u in self._u2}
            holders = holder_weights(weights=weights, held=held_by, size=len(held))
            cap = params.policy.holder_cap
            coded = codec.encode_scaled(
                update=delta,
                weight=weight,
                total=sum(weights.values()),
                holders=holders[held],
                cap=cap,
                encoding=encoding,
            )
        else:
            coded = codec.encode(update=delta, weight=weight, encoding=encoding)
        padded = padding.pad(coded=coded, held=held, keep=self._keep, weight=weight, params=params)
        pair_seeds = {
            u: keys.pair_seed(
                secret=self._mask_secret, me=self.me, peer=u, peer_key=self._roster[u].mask_key, ctx=self._ctx
            )
            for u in self._u2
            if u != self.me
        }
        self_seed = keys.self_mask_seed(self_seed=self._self_seed, me=self.me, ctx=self._ctx)
        masked = masking.mask(
            ring=encoding.ring, update=padded, self_seed=self_seed, pair_seeds=pair_seeds, sender=self.me
        )
        self.masking_work = Work(
            scalar_multiplications=len(pair_seeds), mask_bytes=(len(pair_seeds) + 1) * masked.nbytes, coded=len(delta)
        )
        self._next = "unmask"
        return MaskedInput(self.me, masked)

    def unmask(self, message: Announce) -> Unmask:
        """ROU-8: for each client of U2 one share, of b_v if it survived, of its mask key if not; never both, never twice."""
        self._turn("unmask")
        survivors = message.survivors
        check_ascending(survivors, culprit=SERVER, field="survivors")
        if not set(survivors) <= set(self._u2):
            raise self._blame(SERVER, "ROU-8", "survivors", "U3 holds clients that are not in U2")
        if self.me not in survivors:
            raise self._blame(SERVER, "ROU-8", "survivors", "I sent my masked input and am not in U3")
        if len(survivors) < self._params.threshold:
            raise self._blame(SERVER, "ROU-8", "survivors", f"U3 has {len(survivors)}, below the threshold")
        dropped = [u for u in self._u2 if u not in survivors]
        self.work[Leg.UNMASK] = Work()
        return Unmask(
            self.me,
            tuple((u, self._shares[u][1]) for u in survivors),
            tuple((u, self._shares[u][0]) for u in dropped),
        )

    def _blame(self, culprit: int, rule: str, field: str, detail: str) -> ContributionError:
        return ContributionError(rule=rule, culprit=culprit, field=field, detail=detail)
