"""Lies: what clients can do to others by what they say of themselves. Not stopped, but bounded."""

from typing import Final

import attrs
import numpy as np

from clip_ref.attacks.outcome import Attack, Outcome
from clip_ref.attacks.stage import BASIC, HARD, LAYOUT, Fleet, Hoarder, advertise, finish, policy, share, upload
from clip_ref.messages import Advertise, MaskedInput, Open
from clip_ref.params import Mean, Params, SecurityLevel
from clip_ref.round import Client
from clip_ref.values import ClientId, Floats

CLEAR_OF_ROUNDING: Final = 50
"""Means below so many quantisation steps are left out of ratios."""


@attrs.frozen
class Harm:
    """What a round with liars came to."""

    smallest: float
    """The smallest ratio of a decoded mean to the mean of those who hold its coordinate, where somebody prunes."""

    largest: float
    """The largest."""

    coordinates: int
    """On how many coordinates somebody prunes."""

    keep: dict[ClientId, int]
    """Everybody's keep level."""


def _harm(fleet: Fleet, clients: dict[ClientId, Client]) -> Harm:
    server = Hoarder(fleet, fleet.state(history=fleet.history))
    assignments = upload(server, fleet, clients, share(server, clients, advertise(server, clients)))
    finish(server, clients)
    weights = np.zeros(LAYOUT.size)
    total = np.zeros(LAYOUT.size)
    for u, assignment in assignments.items():
        weights += fleet.weight(u) * LAYOUT.held(assignment.kept)
        total += fleet.weight(u) * fleet.truth(u, assignment)
    true = total / weights
    steps = fleet.params.encoding.steps / fleet.params.encoding.clip
    found = (server.decoded.model.astype(np.float64) - fleet.model) * steps
    somebody = weights < weights.max()
    counts = somebody & (np.abs(true) >= CLEAR_OF_ROUNDING)
    ratio = found[counts] / true[counts]
    keep = {u: assignment.verdict.keep for u, assignment in assignments.items()}
    return Harm(float(ratio.min()), float(ratio.max()), int(somebody.sum()), keep)


SLOW: Final = {ClientId(0): 2000, ClientId(1): 2100}
FRAMED: Final = {ClientId(8): 1200, ClientId(9): 1200}


def _times(seed: int, level: SecurityLevel, mean: Mean) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(mean=mean), security=level), SLOW | FRAMED)
    liars: dict[ClientId, Client] = {u: fleet.client(u, time=500) for u in SLOW}
    harm = _harm(fleet, fleet.clients() | liars)
    kept = sorted({harm.keep[u] for u in FRAMED})
    pruned = all(level < 1000 for level in kept) and all(harm.keep[u] == 1000 for u in SLOW)
    assert pruned
    return Outcome(
        harm.smallest < 0.99,
        f"clients 8 and 9 prune to {kept[0]} ‰ in place of the slow ones (never below {fleet.params.policy.grid[-1]} ‰); on "
        f"the {harm.coordinates} coordinates that they prune the mean is {harm.smallest:.3f} to {harm.largest:.3f} times that "
        "of its holders",
        bounded_by="AGG-3" if level is HARD else None,
    )


TIMES: Final = Attack(
    name="lying-times",
    title="slow clients claim to be fast",
    story="The two slowest clients claim to be the fastest, so that two others are taken for stragglers. They prune for "
    "nothing, but no more than to the smallest keep level; how much the model loses depends on the mean. Taken out: the mean "
    "over those who hold a coordinate; zeros count, as in the paper.",
    defence="AGG-3",
    without=lambda seed: _times(seed, BASIC, Mean.DILUTE),
    against=lambda seed: _times(seed, HARD, Mean.LEVELS),
)


class ClaimsWeight(Client):
    """Tells its peers the largest weight there is, and uploads under its own."""

    def _open(self, message: Open) -> Advertise:
        self._own = self._record.weight
        self._record = attrs.evolve(self._record, weight=self._params.encoding.weight_max)
        return super()._open(message)

    def _mask(self, delta: Floats) -> MaskedInput:
        self._record = attrs.evolve(self._record, weight=self._own)
        return super()._mask(delta)


STRAGGLERS: Final = {ClientId(0): 2000, ClientId(9): 2000}


def _weights(seed: int, level: SecurityLevel, mean: Mean) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(mean=mean), security=level), STRAGGLERS)
    liar = ClientId(0)
    harm = _harm(fleet, fleet.clients() | {liar: fleet.client(liar, ClaimsWeight)})
    return Outcome(
        harm.largest > 1.01,
        f"on the {harm.coordinates} coordinates that it prunes the mean is {harm.smallest:.3f} to {harm.largest:.3f} times "
        f"that of its holders (holder_cap is {fleet.params.policy.holder_cap})",
        bounded_by="AGG-3" if level is HARD else None,
    )


WEIGHTS: Final = Attack(
    name="lying-weights",
    title="a straggler claims a huge weight",
    story="A straggler's record claims the largest weight. Under the mean `holder` everybody else scales up what it prunes, "
    "up to the cap. Taken out: the mean `levels`, which takes nothing from records.",
    defence="AGG-3",
    without=lambda seed: _weights(seed, BASIC, Mean.HOLDER),
    against=lambda seed: _weights(seed, HARD, Mean.LEVELS),
)
