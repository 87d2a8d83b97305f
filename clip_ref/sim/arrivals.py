"""Arrivals: what a server with a stopwatch learns about who is slow.   Spec: deadline, rules DDL-4..DDL-5.

It sees when each answer begins and ceases to arrive, and nothing else here: that is what messages do not hide. `sights` takes
from a timeline what it sees of each client; `told` says how well a score of that kind tells the slow from the others.

Source: ours. AUC, advantage and mutual information are textbook measures of a test.
"""

import bisect
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np

from clip_ref.errors import PreconditionError
from clip_ref.round.cost import LEGS, Leg
from clip_ref.sim.clock import Activity, Timeline
from clip_ref.sim.fleet import Fleet, normals, slowed

BINS: Final = 10
"""Into so many bins of equal numbers scores are put to count their information."""


@attrs.frozen
class Sight:
    """What the server sees of one client in one round, in µs; each of them is a score by which to guess who is slow."""

    arrival: float
    """When its masked input had arrived, after the leg's start."""

    corrected: float
    """The same, less `setup`: much of the latency is taken out."""

    first_byte: float
    """When its masked input began to arrive, after the leg's start: the training is in it, the upload's rate is not."""

    transfer: float
    """How long its masked input took to arrive, from the first byte to the last: the link's rate, and nothing else."""

    setup: float
    """How long it took to answer on the legs before: latency, keys and shares."""


SCORES: Final = tuple(field.name for field in attrs.fields(Sight))
"""The names of the scores."""


def sights(*, timeline: Timeline, fleet: Fleet) -> dict[int, Sight]:
    """DDL-4: what the server saw of each client that sent a masked input; `fleet` as in that round, for the latencies."""
    starts = dict(zip(LEGS, [0, *timeline.barriers.values()], strict=False))
    setup = dict.fromkeys(range(len(fleet.clients)), 0)
    for leg in (Leg.ADVERTISE, Leg.SHARE):
        for at, client in timeline.arrivals(leg):
            setup[client] += at - starts[leg]
    out = {}
    for span in timeline.spans:
        if span.leg is Leg.INPUT and span.activity is Activity.UPLOAD:
            arrival = span.end - starts[Leg.INPUT]
            first = span.start - starts[Leg.INPUT] + fleet.clients[span.client].network.latency_ms * 1000
            before = setup[span.client]
            out[span.client] = Sight(arrival, arrival - before, first, arrival - first, before)
    return out


@attrs.frozen
class Told:
    """How well a score tells those it is to find from the others."""

    auc: float
    """The probability that it ranks one of them and one of the others rightly, ties half: 0.5 … 1; 0.5 says nothing."""

    advantage: float
    """The largest difference of true and false positive rate, for any threshold: 0 … 1; 0 says nothing."""

    bits: float
    """What the score says about one client, in bits: mutual information, from 0."""


def told(*, slow: Sequence[float], others: Sequence[float]) -> Told:
    """DDL-5: how well scores tell the slow from the others. Which way the difference goes, the observer is taken to know.

    `PreconditionError` (DDL-5) where there is nobody to find or nobody else.
    """
    if not slow or not others:
        raise PreconditionError(rule="DDL-5", detail="a score tells clients apart: it needs some of both kinds")
    a, b = np.sort(np.asarray(slow, dtype=np.float64)), np.sort(np.asarray(others, dtype=np.float64))
    below, upto = np.searchsorted(b, a, side="left"), np.searchsorted(b, a, side="right")
    area = float((below + upto).sum()) / (2 * len(a) * len(b))
    values = np.union1d(a, b)
    rates = [np.searchsorted(x, values, side="right") / len(x) for x in (a, b)]
    return Told(
        auc=max(area, 1 - area),
        advantage=float(np.abs(rates[0] - rates[1]).max()),
        bits=_information(a.tolist(), b.tolist()),
    )


def _information(slow: list[float], others: list[float]) -> float:
    """Mutual information of the bin of a score and the kind of the client; equal scores are in one bin."""
    pooled = sorted((*slow, *others))
    edges = sorted({pooled[k * len(pooled) // BINS] for k in range(1, BINS)})
    joint = np.zeros((2, BINS))
    for kind, scores in enumerate((slow, others)):
        for score in scores:
            joint[kind, bisect.bisect_right(edges, score)] += 1 / len(pooled)
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return max(0.0, float((joint[seen] * np.log2(joint[seen] / independent[seen])).sum()))


def varied(*, fleet: Fleet, sigma: float, seed: tuple[int, ...]) -> Fleet:
    """The fleet with each client's processor and link slower by factors of their own: e^(sigma·z), z standard normal.

    The draws are a function of `seed` alone, in any version of any library.
    """
    normal = normals(count=2 * len(fleet.clients), seed=seed)
    factors = [np.exp(sigma * z) for z in normal]
    changed = [
        slowed(profile, processor=processor, link=link)
        for profile, processor, link in zip(fleet.clients, factors[::2], factors[1::2], strict=True)
    ]
    return attrs.evolve(fleet, clients=tuple(changed))
