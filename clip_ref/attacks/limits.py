"""Limits: what the round as it is, at level `hardened`, does not stop. No claim is made against any of these.

They are run so that the limits are known to be where the threat model says they are.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from clip_ref.attacks.outcome import Outcome
from clip_ref.attacks.stage import (
    HARD,
    LAYOUT,
    Fleet,
    Hoarder,
    Mask,
    advertise,
    distance,
    finish,
    policy,
    pruned_at,
    share,
    upload,
    whole,
)
from clip_ref.params import Params
from clip_ref.round import State
from clip_ref.values import ClientId, RingVector

VICTIM, MATE = ClientId(3), ClientId(7)


def _sum(fleet: Fleet, state: State, without: set[ClientId]) -> RingVector:
    """A round from which the server leaves some uploads out."""
    clients, server = fleet.clients(fresh=state.round), Hoarder(fleet, state)
    deliveries = share(server, clients, advertise(server, clients))
    upload(server, fleet, clients, {u: m for u, m in deliveries.items() if u not in without})
    return finish(server, clients)


def _judged(fleet: Fleet, found: RingVector, weight: int, where: Mask | None = None) -> Outcome:
    error = distance(fleet.params, found, weight, whole(fleet, VICTIM), where)
    count = LAYOUT.size if where is None else int(where.sum())
    return Outcome(
        error == 0 and weight == fleet.weight(VICTIM),
        f"client {VICTIM}'s weight, {weight}, and its update on {count} of {LAYOUT.size} coordinates; largest error {error:g} "
        "quantisation steps",
        error,
    )


def two_rounds(seed: int) -> Outcome:
    """Two rounds on one model, the second without the victim: their difference is its update."""
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=HARD))
    difference = _sum(fleet, fleet.state(3), set()) - _sum(fleet, fleet.state(4), {VICTIM})
    return _judged(fleet, difference, int(difference[LAYOUT.size]))


def dropped_mate(seed: int) -> Outcome:
    """The victim prunes in a block of two, whose other member the server leaves out of two rounds: `differencing-residual`
    then gives the victim alone.
    """
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=HARD), {VICTIM: 2000, MATE: 1900})
    first = _sum(fleet, fleet.state(3, history=fleet.history), {MATE})
    second = _sum(fleet, fleet.state(4), {MATE})
    return _judged(fleet, second - first, int(first[LAYOUT.size + 2]), pruned_at(fleet, 500))


LIMITS: Final[Mapping[str, Callable[[int], Outcome]]] = MappingProxyType(
    {"two-rounds": two_rounds, "dropped-mate": dropped_mate}
)
"""Every limit by its name. All of them succeed."""
