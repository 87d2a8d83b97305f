"""Limits: what the round as it is, at level `hardened`, does not stop. No claim is made against any of these.

They are run so that the limits are known to be where the threat model says they are.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from clip_ref import codec
from clip_ref.aggregation import holder_weights
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
    play,
    policy,
    pruned_at,
    share,
    upload,
    whole,
)
from clip_ref.params import Mean, Params
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


BLOCKS: Final = {ClientId(u): 1300 + u for u in (2, 3, 7, 8)}


def block_turns(seed: int) -> Outcome:
    """Two blocks that take turns, under `strata`: what two rounds on one model tell, the second without a history.

    On each block's own neurons the difference is what all of it did, and what the other block does there now less what it did
    in its place: sums of whole blocks, and nobody's update.
    """
    turns = policy(spread=True, mean=Mean.STRATA, straggler_share=400)
    fleet = Fleet(seed, Params(clients=10, policy=turns, security=HARD), BLOCKS)
    first, assignments = play(fleet, fleet.clients(fresh=1), fleet.state(3, history=fleet.history))
    second, _ = play(fleet, fleet.clients(fresh=2), fleet.state(4))
    held = {u: LAYOUT.held(assignments[u].kept) for u in BLOCKS}
    weights = {u: fleet.weight(u) for u in BLOCKS}
    holders = holder_weights(weights=weights, held=held, size=LAYOUT.size)
    blocks = {assignments[u].verdict.turn: [v for v in BLOCKS if (held[u] == held[v]).all()] for u in BLOCKS}
    apart, alone = 0.0, float("inf")
    for block in blocks.values():
        where = ~held[block[0]]
        sums = np.zeros(LAYOUT.size, dtype=np.int64)
        for u in BLOCKS:
            sums += weights[u] * whole(fleet, u)
            in_place = codec.encode_scaled(
                update=fleet.train(u, assignments[u]),
                weight=weights[u],
                total=sum(weights.values()),
                holders=holders[held[u]],
                cap=turns.holder_cap,
                encoding=fleet.params.encoding,
            )
            sums[held[u]] -= fleet.params.encoding.ring.centred(in_place)
        apart = max(apart, distance(fleet.params, second - first, 1, sums, where))
        alone = min(alone, *(distance(fleet.params, second - first, weights[u], whole(fleet, u), where) for u in block))
    return Outcome(
        apart == 0 and [len(block) for block in blocks.values()] == [2, 2],
        f"of two blocks of two, each on its own neurons, what all of it did and what the other did in its place; largest error "
        f"{apart:g} quantisation steps, and {alone:.0f} at least if it is taken for the update of one of them",
        alone,
    )


LIMITS: Final[Mapping[str, Callable[[int], Outcome]]] = MappingProxyType(
    {"two-rounds": two_rounds, "dropped-mate": dropped_mate, "block-turns": block_turns}
)
"""Every limit by its name. All of them succeed."""
