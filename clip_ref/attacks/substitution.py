"""Substitution: keys that the server made, keys of another round, two rosters at once."""

from collections.abc import Mapping
from typing import Final

import attrs

from clip_ref import keys
from clip_ref.agreement import share_commitment
from clip_ref.attacks.outcome import Attack, Outcome
from clip_ref.attacks.stage import (
    BASIC,
    HARD,
    SESSION,
    Fleet,
    Hoarder,
    Ints,
    advertise,
    distance,
    finish,
    policy,
    secret,
    self_seed,
    share,
    strip,
    upload,
    weight_in,
    whole,
)
from clip_ref.attacks.weakened import LeavesRoundOut
from clip_ref.broadcast import open_record, open_shares, seal_envelope
from clip_ref.canonical import RoundContext, mask_context
from clip_ref.messages import Advertise, Deliver, Envelope, Open, Roster, ShareKeys, TimeRecord
from clip_ref.params import Params, SecurityLevel
from clip_ref.round import Client
from clip_ref.round.client import KEY_SHARE, SELF_SHARE
from clip_ref.round.journal import MemoryJournal
from clip_ref.shamir import combine
from clip_ref.values import ClientId, Digest, Floats, RingVector, RoundNumber, SecretKey

VICTIM: Final = ClientId(3)


@attrs.frozen
class Impostor:
    """Plays every peer of one client: it has secrets for all of them."""

    fleet: Fleet
    """Whom it plays among."""

    victim: ClientId
    """Whom it plays to."""

    roster: Roster
    """What the victim was sent: its own bundle, and for everybody else keys that the impostor has the secrets of."""

    ctx: Digest
    """The context with that roster."""

    channel: Mapping[ClientId, SecretKey]
    """The secret channel keys."""

    mask: Mapping[ClientId, SecretKey]
    """The secret mask keys."""

    def _bundle(self) -> Advertise:
        return next(b for b in self.roster.bundles if b.sender == self.victim)

    def _shared(self, peer: ClientId) -> bytes:
        key = self._bundle().channel_key
        return keys.agree(secret=self.channel[peer], peer=self.victim, peer_key=key, field="channel_key")

    def read(self, message: ShareKeys) -> tuple[bytes, TimeRecord]:
        """The victim's b_u and its time record, from what it sealed for its peers."""
        number = {b.sender: k for k, b in enumerate(self.roster.bundles, start=1)}
        shares, need = {}, self.fleet.params.threshold
        sizes = Hoarder(self.fleet, self.fleet.state()).sizes
        for sealed in message.envelopes:
            envelope = attrs.evolve(sealed, peer=self.victim)
            shared = self._shared(sealed.peer)
            opened = open_shares(envelope=envelope, receiver=sealed.peer, shared=shared, ctx=self.ctx)
            shares[number[sealed.peer]] = opened[1]
            record = open_record(envelope=envelope, receiver=sealed.peer, shared=shared, ctx=self.ctx, sizes=sizes)
        return combine(shares={x: shares[x] for x in sorted(shares)[:need]}, threshold=need), record

    def deliver(self, records: Mapping[ClientId, TimeRecord], model: Floats) -> Deliver:
        """What the victim expects from its peers: their records, and shares of nothing."""
        return Deliver(tuple(self._envelope(peer, records[peer]) for peer in sorted(self.channel)), model)

    def _envelope(self, peer: ClientId, record: TimeRecord) -> Envelope:
        nothing = bytes(32)
        sealed = seal_envelope(
            sender=peer,
            receiver=self.victim,
            shared=self._shared(peer),
            ctx=self.ctx,
            key_share=nothing,
            self_share=nothing,
            record=record,
        )
        if not self.fleet.params.hardened:
            return attrs.evolve(sealed, peer=peer)
        both = b"".join(
            share_commitment(share=nothing, secret=which, owner=peer, holder=self.victim, ctx=self.ctx)
            for which in (KEY_SHARE, SELF_SHARE)
        )
        return attrs.evolve(sealed, peer=peer, commitments=both)

    def unmask(self, vector: RingVector, b: bytes) -> RingVector:
        """The victim's bare input."""
        ctx = mask_context(ctx=self.ctx, u2=self.fleet.ids)
        key = self._bundle().mask_key
        pairs = {
            peer: keys.pair_seed(secret=own, me=peer, peer=self.victim, peer_key=key, ctx=ctx)
            for peer, own in self.mask.items()
        }
        return strip(
            params=self.fleet.params,
            vector=vector,
            me=self.victim,
            self_seed=self_seed(b=b, me=self.victim, ctx=ctx),
            pairs=pairs,
        )


def _gap(fleet: Fleet, bare: RingVector, client: ClientId, truth: Ints) -> float:
    """How far a bare input is from a client's update; infinite where it is noise, or has another weight."""
    weight = weight_in(fleet.params, bare)
    return distance(fleet.params, bare, weight, truth) if weight == fleet.weight(client) else float("inf")


def _substitute(seed: int, level: SecurityLevel) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=level))
    clients, server = fleet.clients(), Hoarder(fleet, fleet.state())
    opening = server.open()
    real = {u: client.open(opening) for u, client in clients.items()}
    channel = {u: SecretKey(secret(seed, "impostor's channel", u)) for u in fleet.ids}
    mask = {u: SecretKey(secret(seed, "impostor's mask", u)) for u in fleet.ids}
    own = {
        u: attrs.evolve(real[u], channel_key=keys.public_key(channel[u]), mask_key=keys.public_key(mask[u]))
        for u in real
    }
    impostors, b, records = {}, {}, {}
    for u, client in clients.items():
        roster = Roster(tuple(real[v] if v == u else own[v] for v in fleet.ids))
        peers = [v for v in fleet.ids if v != u]
        impostors[u] = Impostor(
            fleet,
            u,
            roster,
            opening.context.ctx(roster.digest()),
            {v: channel[v] for v in peers},
            {v: mask[v] for v in peers},
        )
        b[u], records[u] = impostors[u].read(client.roster(roster))
    gaps = []
    for u, client in clients.items():
        assignment = client.deliver(impostors[u].deliver(records, fleet.model))
        masked = client.masked_input(fleet.train(u, assignment))
        gaps.append(_gap(fleet, impostors[u].unmask(masked.vector, b[u]), u, fleet.truth(u, assignment)))
    times = sum(records[u].fit == fleet.record(u).fit for u in fleet.ids)
    return Outcome(
        max(gaps) == 0 and times == len(fleet.ids),
        f"the updates of all {len(gaps)} clients and {times} time records; largest error {max(gaps):g} quantisation steps",
        max(gaps),
    )


SUBSTITUTION: Final = Attack(
    name="key-substitution",
    title="the server's keys in place of everybody's",
    story="Each client is sent a roster in which all keys but its own are the server's: it shares its secrets, its times and "
    "its masks with the server alone. Taken out: signatures by identities from a pinned directory.",
    defence="KEY-9",
    without=lambda seed: _substitute(seed, BASIC),
    against=lambda seed: _substitute(seed, HARD),
)


def _old_bundles(seed: int, kind: type[Client]) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=HARD))
    before = Hoarder(fleet, fleet.state(3)).open()
    leaked = fleet.clients(kind, fresh=1)
    old = {u: client.open(before) for u, client in leaked.items()}
    opening = Hoarder(fleet, fleet.state(4)).open()
    victim = fleet.client(VICTIM, kind, fresh=2)
    roster = Roster(tuple(victim.open(opening) if u == VICTIM else old[u] for u in fleet.ids))
    message = victim.roster(roster)
    peers = [u for u in fleet.ids if u != VICTIM]
    impostor = Impostor(
        fleet,
        VICTIM,
        roster,
        _first_round(opening).ctx(roster.digest()),
        {u: leaked[u]._channel_secret for u in peers},
        {u: leaked[u]._mask_secret for u in peers},
    )
    b, _ = impostor.read(message)
    assignment = victim.deliver(impostor.deliver({u: leaked[u]._record for u in peers}, fleet.model))
    masked = victim.masked_input(fleet.train(VICTIM, assignment))
    error = _gap(fleet, impostor.unmask(masked.vector, b), VICTIM, whole(fleet, VICTIM))
    return Outcome(
        error == 0, f"client {VICTIM}'s whole update and weight; largest error {error:g} quantisation steps", error
    )


def _first_round(opening: Open) -> RoundContext:
    """What `LeavesRoundOut` makes of an announcement."""
    return attrs.evolve(opening.context, round=RoundNumber(1))


REPLAYED: Final = Attack(
    name="replayed-bundles",
    title="signed keys of a round that is past",
    story="The secrets of round 3 leak after it has ended, as from a device that is seized. In round 4 the server hands the "
    "victim everybody's bundles of round 3, signatures and all, and plays their owners. Taken out: the round's number in what "
    "is signed.",
    defence="KEY-9",
    without=lambda seed: _old_bundles(seed, LeavesRoundOut),
    against=lambda seed: _old_bundles(seed, Client),
)


def _two_rosters(seed: int, *, remembers: bool) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=HARD))
    journals = {u: MemoryJournal() for u in fleet.ids}
    clients = {u: fleet.client(u, journal=journals[u] if remembers else None) for u in fleet.ids}
    first = Hoarder(fleet, fleet.state())
    upload(first, fleet, clients, share(first, clients, advertise(first, clients)))
    total = finish(first, clients)
    again = {u: _restarted(fleet, u, journals[u] if remembers else None) for u in fleet.ids if u != VICTIM}
    second = Hoarder(fleet, fleet.state())
    upload(second, fleet, again, share(second, again, advertise(second, again)))
    error = _gap(fleet, total - finish(second, again), VICTIM, whole(fleet, VICTIM))
    return Outcome(
        error == 0,
        f"client {VICTIM}'s whole update and weight, from two sums of one round; largest error {error:g} quantisation steps",
        error,
    )


def _restarted(fleet: Fleet, u: ClientId, journal: MemoryJournal | None) -> Client:
    """The client after its process ended: as its journal says it stood, or from its entropy alone."""
    if journal is None:
        return fleet.client(u)
    return Client.restored(
        me=u,
        params=fleet.params,
        layout=Hoarder(fleet, fleet.state())._layout,
        history=fleet.history,
        journal=journal,
        identity=fleet.identities[u],
        directory=fleet.directory,
        session=SESSION,
    )


ROSTERS: Final = Attack(
    name="two-rosters",
    title="two rosters in one round",
    story="After the sum over everybody, the clients restart, as after a power failure, and are sent a roster without the "
    "victim: they add the same updates up again. Taken out: the journal that a restarted client goes on from.",
    defence="ROU-3",
    without=lambda seed: _two_rosters(seed, remembers=False),
    against=lambda seed: _two_rosters(seed, remembers=True),
)
