"""Weakened clients: each is the real one without exactly one of its checks. Nothing outside this package knows of them.

Where security level `basic` already lacks the defence, an attack uses that instead.
"""

import attrs
import numpy as np

from clip_ref import keys, masking
from clip_ref.attacks.toy import fold, stream
from clip_ref.broadcast import SHARES
from clip_ref.canonical import mask_context, model_digest
from clip_ref.messages import (
    SHARE_BYTES,
    Advertise,
    Announce,
    Consistent,
    Deliver,
    MaskedInput,
    Neighbourhood,
    Open,
    Roster,
    ShareKeys,
    Unmask,
)
from clip_ref.rand import expand
from clip_ref.round import Assignment, Client
from clip_ref.values import NO_DIGEST, ClientId, Digest, Floats, RingVector, RoundNumber, Seed


class TakesAnyModel(Client):
    """Without the check of ROU-6 that the delivered model is the announced one."""

    def _assign(self, message: Deliver) -> Assignment:
        announced = self._context
        self._context = attrs.evolve(announced, model=model_digest(message.model))
        try:
            return super()._assign(message)
        finally:
            self._context = announced


class LeavesModelOut(TakesAnyModel):
    """Without the model in the context of CTX-3."""

    def _open(self, message: Open) -> Advertise:
        return super()._open(Open(attrs.evolve(message.context, model=NO_DIGEST)))


class LeavesRoundOut(Client):
    """Without the round's number in what it signs and derives: every round is the first."""

    def _open(self, message: Open) -> Advertise:
        return super()._open(Open(attrs.evolve(message.context, round=RoundNumber(1))))


class AnswersTwice(Client):
    """Without ROU-3 where U3 is announced: it answers whatever it is told, as often as it is told."""

    def announce(self, message: Announce) -> Consistent | Unmask:
        """Answer as if for the first time."""
        self._answered.pop("announce", None)
        self._next = "announce"
        return super().announce(message)


class SealsNoShares(Client):
    """Without the seal of KEY-6 on shares: they cross the server as they are."""

    def _share(self, message: Roster | Neighbourhood) -> ShareKeys:
        assert isinstance(message, Roster)  # attacks play in a clique
        sealed = super()._share(message)
        ids = [b.sender for b in message.bundles]
        key_shares = self._split(self._mask_secret.data, "mask key shares", len(ids))
        self_shares = self._split(self._self_seed.data, "self mask shares", len(ids))
        plain = {u: a + b + bytes(keys.TAG_BYTES) for u, a, b in zip(ids, key_shares, self_shares, strict=True)}
        return attrs.evolve(sealed, envelopes=tuple(attrs.evolve(e, shares=plain[e.peer]) for e in sealed.envelopes))

    def _assign(self, message: Deliver) -> Assignment:
        envelopes = tuple(
            attrs.evolve(
                e,
                shares=keys.seal(
                    e.shares[: 2 * SHARE_BYTES],
                    shared=self._channel[e.peer],
                    ctx=self._ctx,
                    purpose=SHARES,
                    sender=e.peer,
                    receiver=self.me,
                ),
            )
            for e in message.envelopes
        )
        return super()._assign(attrs.evolve(message, envelopes=envelopes))


class SharesWithOne(Client):
    """Without PAR-6's threshold of at least 2: every share is the secret itself."""

    def _split(self, secret: bytes, purpose: str, holders: int) -> tuple[bytes, ...]:
        return (secret,) * holders


class Remasks(Client):
    """Takes off the real masks and puts on those of `hide`."""

    def _mask(self, delta: Floats) -> MaskedInput:
        ctx = mask_context(ctx=self._ctx, u2=self._u2)
        bare = masking.unmask(
            ring=self._sizes.ring,
            total=super()._mask(delta).vector,
            self_seeds=[self._self_mask(ctx)],
            dangling={(self.me, v): seed for v, seed in self._pairs(ctx).items()},
        )
        return self._signed(MaskedInput(self.me, self.hide(bare, ctx)), self._ctx)

    def _self_mask(self, ctx: Digest) -> Seed:
        return keys.self_mask_seed(self_seed=self._self_seed, me=self.me, ctx=ctx)

    def _pairs(self, ctx: Digest) -> dict[ClientId, Seed]:
        return {
            v: keys.pair_seed(secret=self._mask_secret, me=self.me, peer=v, peer_key=b.mask_key, ctx=ctx)
            for v, b in self._roster.items()
            if v != self.me and v in self._u2
        }

    def hide(self, bare: RingVector, ctx: Digest) -> RingVector:
        """What is uploaded for `bare`."""
        return masking.mask(
            ring=self._sizes.ring,
            update=bare,
            self_seed=self._self_mask(ctx),
            pair_seeds=self._pairs(ctx),
            sender=self.me,
        )


class LeavesU2Out(Remasks):
    """Without U2 in the context of masks, CTX-5."""

    def hide(self, bare: RingVector, ctx: Digest) -> RingVector:
        """Masks of the round's context alone."""
        return super().hide(bare, self._ctx)


class FoldsItsSeed(Remasks):
    """Without RND-2: the self mask comes from 20 bits of its seed."""

    def hide(self, bare: RingVector, ctx: Digest) -> RingVector:
        """The self mask is a toy stream; the pairwise masks are the real ones."""
        real = expand(seed=self._self_mask(ctx), ring=self._sizes.ring, length=len(bare))
        toy = stream(np.array([fold(self._self_mask(ctx).data)], dtype=np.uint32), np.arange(len(bare)))[0]
        weak: RingVector = super().hide(bare, ctx) - real + toy
        return weak


class DrawsOneNumber(Remasks):
    """Without RND-3: one number drawn from the self mask's seed masks every element."""

    def hide(self, bare: RingVector, ctx: Digest) -> RingVector:
        """The self mask is constant; the pairwise masks are the real ones."""
        real = expand(seed=self._self_mask(ctx), ring=self._sizes.ring, length=len(bare))
        weak: RingVector = super().hide(bare, ctx) - real + real[0]
        return weak
