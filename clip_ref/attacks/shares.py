"""Shares: both of one client's secrets, or sums over too few, by telling clients different things."""

from typing import Final

import numpy as np

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
    policy,
    reveal,
    self_seed,
    share,
    strip,
    upload,
    weight_in,
    whole,
)
from clip_ref.attacks.weakened import AnswersTwice, SealsNoShares, SharesWithOne
from clip_ref.canonical import mask_context
from clip_ref.keys import public_key
from clip_ref.messages import SHARE_BYTES, Agreed, Announce, Consistent, Roster, ShareKeys, Unmask
from clip_ref.params import Params, SecurityLevel
from clip_ref.round import Client
from clip_ref.shamir import combine
from clip_ref.values import ClientId, SecretKey

VICTIM: Final = ClientId(3)


def _up_to_input(fleet: Fleet, kind: type[Client]) -> tuple[Hoarder, dict[ClientId, Client], Roster]:
    """An honest round, up to where everybody has uploaded."""
    clients, server = fleet.clients(kind), Hoarder(fleet, fleet.state())
    roster = advertise(server, clients)
    upload(server, fleet, clients, share(server, clients, roster))
    return server, clients, roster


def _both(fleet: Fleet, server: Hoarder, roster: Roster, *, b: bytes, mask_secret: bytes) -> Outcome:
    """The victim's update, given both of its secrets."""
    ctx = mask_context(ctx=server.ctx, u2=fleet.ids)
    pairs = pair_seeds(mask_secret=mask_secret, me=VICTIM, roster=roster, peers=fleet.ids, ctx=ctx)
    bare = strip(
        params=fleet.params,
        vector=server.kept[VICTIM],
        me=VICTIM,
        self_seed=self_seed(b=b, me=VICTIM, ctx=ctx),
        pairs=pairs,
    )
    weight = weight_in(fleet.params, bare)
    if weight is None:
        return Outcome(False, f"noise where client {VICTIM}'s update should be")
    error = distance(fleet.params, bare, weight, whole(fleet, VICTIM))
    return Outcome(
        error == 0,
        f"client {VICTIM}'s whole update ({LAYOUT.size} coordinates) and its weight, {weight}; largest error {error:g} "
        "quantisation steps",
        error,
    )


def _from_answers(fleet: Fleet, server: Hoarder, roster: Roster, answers: list[Unmask]) -> Outcome:
    need = fleet.params.threshold
    b = combined(answers, VICTIM, field="self_shares", roster=fleet.ids, need=need)
    mask_secret = combined(answers, VICTIM, field="key_shares", roster=fleet.ids, need=need)
    return _both(fleet, server, roster, b=b, mask_secret=mask_secret)


def _twice(seed: int, level: SecurityLevel, kind: type[Client]) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=level))
    server, clients, roster = _up_to_input(fleet, kind)
    everybody = tuple(fleet.ids)
    others = tuple(u for u in everybody if u != VICTIM)
    answers = reveal(clients, Announce(everybody), everybody)
    answers += reveal(clients, Announce(others), others)
    return _from_answers(fleet, server, roster, answers)


TWICE: Final = Attack(
    name="both-shares",
    title="two announcements to the same clients",
    story="The server announces that everybody has survived, and gets the shares of the victim's self mask; then that the "
    "victim has dropped out, and gets those of its mask key. Taken out: one answer at each step.",
    defence="ROU-3",
    without=lambda seed: _twice(seed, BASIC, AnswersTwice),
    against=lambda seed: _twice(seed, HARD, Client),
)


def _halves(seed: int, level: SecurityLevel) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, threshold=4, policy=policy(), security=level))
    server, clients, roster = _up_to_input(fleet, Client)
    everybody = tuple(fleet.ids)
    others = tuple(u for u in everybody if u != VICTIM)
    answers = reveal(clients, Announce(everybody), everybody[:5]) + reveal(clients, Announce(others), everybody[5:])
    return _from_answers(fleet, server, roster, answers)


HALVES: Final = Attack(
    name="both-halves",
    title="one announcement to each half of the clients",
    story="As `both-shares`, but nobody is asked twice: half of the clients are told that the victim survived, half that it "
    "dropped out. With t = 4 of n = 10 each half holds enough shares. Taken out: 2t > n + c.",
    defence="PAR-8",
    without=lambda seed: _halves(seed, BASIC),
    against=lambda seed: _halves(seed, HARD),
)


def _told(n: int, t: int, few: int) -> dict[ClientId, set[ClientId]]:
    """Whom each client is told to have dropped out, so that all but the first `few` are missing t times.

    Each is told of n − t: client `few` + i of those that follow it in a circle, the first `few` of what is left to fill up.
    """
    others = n - few
    most = n - t
    dropped = {ClientId(few + i): {ClientId(few + (i + k) % others) for k in range(1, most + 1)} for i in range(others)}
    places = np.arange(few * most) % others
    return dropped | {ClientId(a): {ClientId(few + int(x)) for x in places[a * most :][:most]} for a in range(few)}


def _shrunken(seed: int, level: SecurityLevel) -> Outcome:
    n, t, few = 30, 16, 4
    fleet = Fleet(seed, Params(clients=n, threshold=t, policy=policy(), security=level))
    server, clients, roster = _up_to_input(fleet, Client)
    views = {u: Announce(tuple(v for v in fleet.ids if v not in gone)) for u, gone in _told(n, t, few).items()}
    first = {u: clients[u].announce(view) for u, view in sorted(views.items())}
    signed = tuple((u, m.signature) for u, m in first.items() if isinstance(m, Consistent))
    answers = [
        m
        if isinstance(m, Unmask)
        else clients[u].agreed(Agreed(tuple(s for s in signed if s[0] in views[u].survivors)))
        for u, m in first.items()
    ]
    ctx = mask_context(ctx=server.ctx, u2=fleet.ids)
    target = fleet.ids[:few]
    total = np.zeros_like(server.kept[target[0]])
    for u in target:
        b = combined(answers, u, field="self_shares", roster=fleet.ids, need=t)
        total = total + strip(
            params=fleet.params,
            vector=server.kept[u],
            me=u,
            self_seed=self_seed(b=b, me=u, ctx=ctx),
            pairs={},
        )
    for v in fleet.ids[few:]:
        rebuilt = combined(answers, v, field="key_shares", roster=fleet.ids, need=t)
        for u, seed_uv in pair_seeds(mask_secret=rebuilt, me=v, roster=roster, peers=target, ctx=ctx).items():
            total = strip(params=fleet.params, vector=total, me=u, self_seed=None, pairs={v: seed_uv})
    weight = sum(fleet.weight(u) for u in target)
    weighted = sum((whole(fleet, u) * fleet.weight(u) for u in target), np.zeros(LAYOUT.size, dtype=np.int64))
    error = distance(fleet.params, total, 1, weighted) / weight
    return Outcome(
        error == 0,
        f"the sum over {few} clients, where t = {t} is the fewest that a sum may cover; largest error {error:g} "
        "quantisation steps of their mean",
        error,
    )


SHRUNKEN: Final = Attack(
    name="shrunken-sum",
    title="different survivors for different clients",
    story="n = 30, t = 16. Each client is told a U3 of 16, in which it is itself, so that every one of 26 clients is missing "
    "from 16 of them, and 4 from none. So 26 mask keys and 4 self masks are rebuilt. Taken out: the consistency round.",
    defence="AGR-8",
    without=lambda seed: _shrunken(seed, BASIC),
    against=lambda seed: _shrunken(seed, HARD),
)


def _one(seed: int, *, threshold: int, kind: type[Client]) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, threshold=threshold, policy=policy()))
    server, clients, roster = _up_to_input(fleet, kind)
    mask_secret, b = clients[ClientId(0)]._shares[VICTIM]
    return _both(fleet, server, roster, b=b, mask_secret=mask_secret)


ONE: Final = Attack(
    name="threshold-one",
    title="a threshold of one",
    story="One curious client opens the shares that it was sent, and shows them to the server. With t = 1 a share is the "
    "secret. Taken out: the lower limit of t.",
    defence="PAR-6",
    without=lambda seed: _one(seed, threshold=7, kind=SharesWithOne),
    against=lambda seed: _one(seed, threshold=1, kind=Client),
)


def _on_the_way(message: ShareKeys, place: int, need: int) -> bytes:
    """What combines from the bytes of the first `need` envelopes, read as if they were not sealed."""
    number = {e.peer: e.peer + 1 for e in message.envelopes}
    cut = slice(place * SHARE_BYTES, (place + 1) * SHARE_BYTES)
    return combine(shares={number[e.peer]: e.shares[cut] for e in message.envelopes[:need]}, threshold=need)


def _clear(seed: int, level: SecurityLevel, kind: type[Client]) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=level))
    server, _, roster = _up_to_input(fleet, kind)
    mask_secret, b = (_on_the_way(server.u2[VICTIM], place, fleet.params.threshold) for place in (0, 1))
    if public_key(SecretKey(mask_secret)) != server.u1[VICTIM].mask_key:
        return Outcome(False, "bytes that are no shares: they do not give the advertised key", bounded_by="KEY-6")
    return _both(fleet, server, roster, b=b, mask_secret=mask_secret)


CLEAR: Final = Attack(
    name="clear-shares",
    title="shares that cross the server unsealed",
    story="The server reads the shares that it relays, and combines t of them for each of the victim's secrets. Taken out: "
    "the seal on shares.",
    defence="KEY-6",
    without=lambda seed: _clear(seed, BASIC, SealsNoShares),
    against=lambda seed: _clear(seed, HARD, Client),
)
