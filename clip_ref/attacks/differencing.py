"""Differencing: two sums that differ by what one straggler pruned."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from clip_ref.attacks.outcome import Attack, Outcome
from clip_ref.attacks.stage import (
    BASIC,
    HARD,
    LAYOUT,
    Fleet,
    Mask,
    distance,
    play,
    policy,
    pruned_at,
    whole,
)
from clip_ref.params import Params, SecurityLevel
from clip_ref.round import State
from clip_ref.round.journal import Journal, MemoryJournal
from clip_ref.values import ClientId, Floats, RingVector

VICTIM, MATE = ClientId(3), ClientId(7)
NO_BLOCKS: Final = policy(anonymity_blocks=False)


def _fleet(seed: int, level: SecurityLevel, *, blocks: bool, mate: bool) -> Fleet:
    params = Params(clients=10, policy=policy() if blocks else NO_BLOCKS, security=level)
    return Fleet(seed, params, {VICTIM: 2000} | ({MATE: 1300} if mate else {}))


def _difference(
    fleet: Fleet, again: State, journals: Mapping[ClientId, Journal | None]
) -> tuple[RingVector, RingVector]:
    """The sum of the round with the true history, and by how much the sum of the second round exceeds it."""
    first, _ = play(
        fleet,
        {u: fleet.client(u, fresh=1, journal=journals[u]) for u in fleet.ids},
        fleet.state(history=fleet.history),
    )
    second, _ = play(fleet, {u: fleet.client(u, fresh=2, journal=journals[u]) for u in fleet.ids}, again)
    return first, second - first


def _alone(
    fleet: Fleet, first: RingVector, difference: RingVector, where: Mask, model: Floats | None = None
) -> Outcome:
    """What the difference says about the victim, if the smallest keep level was its alone."""
    weight = int(first[LAYOUT.size + 2])
    if not weight:
        gone = f"nobody pruned, since a lone straggler has no block: the sums differ in {np.count_nonzero(difference)} elements"
        return Outcome(bool(difference.any()), gone, bounded_by="IDN-8")
    error = distance(fleet.params, difference, weight, whole(fleet, VICTIM, model), where)
    return Outcome(
        weight == fleet.weight(VICTIM) and error <= 1,
        f"client {VICTIM}'s weight, {weight}, and its update on the {where.sum()} of {LAYOUT.size} coordinates that it "
        f"pruned; largest error {error:g} quantisation steps",
        error,
    )


def _replay(seed: int, level: SecurityLevel, *, blocks: bool, remembers: bool, round: int) -> Outcome:
    fleet = _fleet(seed, level, blocks=blocks, mate=False)
    journals = {u: MemoryJournal() if remembers else None for u in fleet.ids}
    first, difference = _difference(fleet, fleet.state(round), journals)
    return _alone(fleet, first, difference, pruned_at(fleet, 500))


REPLAY: Final = Attack(
    name="differencing",
    title="a round repeated with another history",
    story="Round 3 is run twice on the same model, the second time without a history, so that nobody prunes. What the sums "
    "differ by is what the only straggler had pruned. Taken out: the clients' memory of which rounds are past, and the "
    "anonymity blocks.",
    defence="ROU-4",
    without=lambda seed: _replay(seed, BASIC, blocks=False, remembers=False, round=3),
    against=lambda seed: _replay(seed, HARD, blocks=True, remembers=True, round=3),
)

NEXT: Final = Attack(
    name="differencing-next",
    title="the next round on the same model with another history",
    story="As `differencing`, but the second round takes the next number, as after a round that was aborted: no client can "
    "tell. Taken out: the anonymity blocks.",
    defence="IDN-8",
    without=lambda seed: _replay(seed, BASIC, blocks=False, remembers=True, round=4),
    against=lambda seed: _replay(seed, HARD, blocks=True, remembers=True, round=4),
)


def _residual(seed: int, level: SecurityLevel, *, blocks: bool) -> Outcome:
    fleet = _fleet(seed, level, blocks=blocks, mate=blocks)
    near = fleet.model.copy()
    near[0] = np.nextafter(near[0], np.float32(1))
    journals = {u: MemoryJournal() for u in fleet.ids}
    first, difference = _difference(fleet, fleet.state(4, model=near), journals)
    where = pruned_at(fleet, 500)
    if not blocks:
        return _alone(fleet, first, difference, where, near)
    both = [whole(fleet, u, near) * fleet.weight(u) for u in (VICTIM, MATE)]
    weight = int(first[LAYOUT.size + 2])
    of_sum = distance(fleet.params, difference, 1, both[0] + both[1], where) / weight
    alone = min(distance(fleet.params, difference, 1, one, where) / weight for one in both)
    return Outcome(
        of_sum > 1 or alone <= 1,
        f"the sum of a block of two, clients {VICTIM} and {MATE}, of weight {weight}: its largest error is {of_sum:.2g} "
        f"quantisation steps of their mean, and {alone:.0f} if it is taken for the update of either",
        alone,
        bounded_by="IDN-8",
    )


RESIDUAL: Final = Attack(
    name="differencing-residual",
    title="a near-equal model with another history",
    story="As `differencing-next`, with a model that differs in one bit of one weight. With blocks nobody prunes alone, so "
    "there is a second straggler, which left to itself would prune less. This is not stopped, it is bounded: what comes out is "
    "the sum of one block. Taken out: the anonymity blocks.",
    defence="IDN-8",
    without=lambda seed: _residual(seed, BASIC, blocks=False),
    against=lambda seed: _residual(seed, HARD, blocks=True),
)
