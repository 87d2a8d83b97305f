"""Relay: different time records for different clients, so that one prunes alone and says so by its weight."""

from typing import Final

import attrs
import numpy as np

from clip_ref import masking
from clip_ref.attacks.outcome import Attack, Outcome
from clip_ref.attacks.stage import (
    BASIC,
    HARD,
    LAYOUT,
    Fleet,
    Hoarder,
    advertise,
    combined,
    distance,
    pair_seeds,
    play,
    policy,
    pruned_at,
    reveal,
    self_seed,
    share,
    upload,
    whole,
)
from clip_ref.attacks.weakened import LeavesU2Out
from clip_ref.broadcast import seal_envelope
from clip_ref.canonical import mask_context
from clip_ref.messages import Announce, Neighbourhood, Roster, ShareKeys
from clip_ref.params import Params, SecurityLevel
from clip_ref.round import Client, State
from clip_ref.values import ClientId, RingVector

VICTIM: Final = ClientId(8)
LIAR: Final = ClientId(4)
WITHHELD: Final = (ClientId(10), ClientId(11))


def _isolated(fleet: Fleet, first: RingVector, second: RingVector) -> Outcome:
    """What two sums say about the victim, if in the first it was the only one at the smallest keep level."""
    slots = [int(s) for s in first[LAYOUT.size :]]
    if max(slots) > fleet.params.clients * fleet.params.encoding.weight_max or not slots[2]:
        return Outcome(
            False, "noise: the masks of the client that was told otherwise do not come off", bounded_by="CTX-5"
        )
    where = pruned_at(fleet, 500)
    error = distance(fleet.params, second - first, slots[2], whole(fleet, VICTIM), where)
    return Outcome(
        error == 0 and slots[2] == fleet.weight(VICTIM),
        f"client {VICTIM}'s weight, {slots[2]}, and its update on the {where.sum()} of {LAYOUT.size} coordinates that it alone "
        f"pruned; largest error {error:g} quantisation steps",
        error,
    )


class Equivocator(Client):
    """Tells the victim that it is slow, and everybody else the truth."""

    def _share(self, message: Roster | Neighbourhood) -> ShareKeys:
        assert isinstance(message, Roster)  # attacks play in a clique
        honest = super()._share(message)
        ids = [b.sender for b in message.bundles]
        place = ids.index(VICTIM)
        lie = attrs.evolve(self._record, fit=tuple(2 * time for time in self._record.fit))
        sealed = seal_envelope(
            sender=self.me,
            receiver=VICTIM,
            shared=self._channel[VICTIM],
            ctx=self._ctx,
            key_share=self._split(self._mask_secret.data, "mask key shares", len(ids))[place],
            self_share=self._split(self._self_seed.data, "self mask shares", len(ids))[place],
            record=lie,
        )
        envelopes = tuple(
            attrs.evolve(e, shares=sealed.shares, record=sealed.record) if e.peer == VICTIM else e
            for e in honest.envelopes
        )
        return self._signed(attrs.evolve(honest, envelopes=envelopes, signature=b""), self._ctx)


def _equivocate(seed: int, level: SecurityLevel) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=level), {VICTIM: 2000})
    liars = fleet.clients(fresh=1) | {LIAR: fleet.client(LIAR, Equivocator, fresh=1)}
    first, _ = play(fleet, liars, fleet.state(history=fleet.history))
    second, _ = play(fleet, fleet.clients(fresh=2), fleet.state(4))
    return _isolated(fleet, first, second)


EQUIVOCATION: Final = Attack(
    name="equivocation",
    title="a client tells its peers different times",
    story="A client in league with the server tells the victim, the only straggler, that it is one too. The victim believes in "
    "a block of two and prunes; nobody else does. Then a round without pruning is differenced from it. Taken out: the "
    "commitment to one's time record.",
    defence="ROU-6",
    without=lambda seed: _equivocate(seed, BASIC),
    against=lambda seed: _equivocate(seed, HARD),
)


def _sum(fleet: Fleet, clients: dict[ClientId, Client], state: State, *, bound: bool, steer: bool) -> RingVector:
    """One round without `WITHHELD` in U3. To `steer` is to keep their records from the victim.

    The others sign and reveal; the victim is not asked, for it would refuse.
    """
    params, server = fleet.params, Hoarder(fleet, state)
    roster = advertise(server, clients)
    deliveries = share(server, clients, roster)
    if steer:
        honest = deliveries[VICTIM]
        some = tuple(e for e in honest.envelopes if e.peer not in WITHHELD)
        deliveries[VICTIM] = attrs.evolve(honest, envelopes=some)
    upload(server, fleet, clients, deliveries)
    stay = [u for u in fleet.ids if u not in WITHHELD]
    answers = reveal(clients, Announce(tuple(stay)), [u for u in stay if u != VICTIM])
    ctx = mask_context(ctx=server.ctx, u2=fleet.ids) if bound else server.ctx
    dangling = {
        (u, gone): seed
        for gone in WITHHELD
        for u, seed in pair_seeds(
            mask_secret=combined(answers, gone, field="key_shares", roster=fleet.ids, need=params.threshold),
            me=gone,
            roster=roster,
            peers=stay,
            ctx=ctx,
        ).items()
        if not (steer and u == VICTIM)
    }
    selves = [
        self_seed(b=combined(answers, u, field="self_shares", roster=fleet.ids, need=params.threshold), me=u, ctx=ctx)
        for u in stay
    ]
    total = np.sum([server.kept[u] for u in stay], axis=0, dtype=params.encoding.ring.dtype)
    return masking.unmask(ring=params.encoding.ring, total=total, self_seeds=selves, dangling=dangling)


def _withhold(seed: int, kind: type[Client], *, bound: bool) -> Outcome:
    slow = {VICTIM: 1300, ClientId(9): 1350} | dict(zip(WITHHELD, (1500, 1550), strict=True))
    fleet = Fleet(seed, Params(clients=12, policy=policy(), security=HARD), slow)
    first = _sum(fleet, fleet.clients(kind, fresh=1), fleet.state(history=fleet.history), bound=bound, steer=True)
    second = _sum(fleet, fleet.clients(kind, fresh=2), fleet.state(4), bound=bound, steer=False)
    return _isolated(fleet, first, second)


RELAY: Final = Attack(
    name="selective-relay",
    title="some records kept from the victim",
    story="The server does not relay the two slowest clients' envelopes to the victim, which takes itself for a straggler "
    "with a block, and prunes alone. The two are then said to have dropped out. The others agree on what they saw, and their "
    "shares open the sum, with the victim's input in it, whether the victim agrees or not. Taken out: U2 in the context of "
    "masks.",
    defence="CTX-5",
    without=lambda seed: _withhold(seed, LeavesU2Out, bound=False),
    against=lambda seed: _withhold(seed, Client, bound=True),
)
