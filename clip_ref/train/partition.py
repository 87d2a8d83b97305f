"""Partitions: which client has which examples. From seeds alone, by streams that never change.   Spec: training, rule TRN-8."""

import heapq
from collections.abc import Sequence
from random import Random
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError

Indices = NDArray[np.int64]

SLOW_CLASSES: Final = 2
"""Of how many classes the slow clients hold most, by `devices`."""


def _refuse(detail: str) -> PreconditionError:
    return PreconditionError(rule="TRN-8", detail=detail)


@attrs.frozen
class Partition:
    """How a training set is dealt: by its users, at random, or unevenly."""

    name: str
    """`natural`: by user; `iid`: at random; `dirichlet`: a mix for each; `devices`: the slow have some of their own."""

    number: float = 0.0
    """Of `dirichlet` the concentration α > 0; of `devices` the share of those classes that the slow hold, above 0, below 1."""

    @classmethod
    def parse(cls, text: str) -> "Partition":
        """`natural`, `iid`, `dirichlet:0.3`, `devices:0.8`; `PreconditionError` (TRN-8) for anything else."""
        name, colon, number = text.partition(":")
        try:
            value = float(number) if colon else 0.0
        except ValueError:
            value = -1.0
        good = {
            "natural": not colon,
            "iid": not colon,
            "dirichlet": 0 < value < float("inf"),
            "devices": 0 < value < 1,
        }
        if not good.get(name, False):
            raise _refuse(f"a partition is natural, iid, dirichlet:ALPHA or devices:SHARE, got {text!r}")
        return cls(name, value)


NATURAL: Final = Partition("natural")
"""By user, writer or role."""


def shuffled(count: int, *, seed: int) -> Indices:
    """0 … count − 1 in random order."""
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable").astype(np.int64)


def iid(*, count: int, clients: int, seed: int) -> list[Indices]:
    """A random deal into parts whose lengths differ by at most one."""
    return [np.sort(part) for part in np.array_split(shuffled(count, seed=seed), clients)]


def dirichlet(*, labels: Indices, clients: int, alpha: float, seed: int) -> list[Indices]:
    """Each client draws a mix of classes from a symmetric Dirichlet distribution; all have as many examples, but for one.

    They take turns, each time an example of a class drawn by their mix from those that are left.

    Source: Hsu, Qi and Brown, 2019, arXiv 1909.06335.
    """
    random, order = Random(seed), shuffled(len(labels), seed=seed).tolist()
    classes = sorted(set(labels.tolist()))
    left = {label: [k for k in order if labels[k] == label] for label in classes}
    mixes = [{label: random.gammavariate(alpha, 1.0) for label in classes} for _ in range(clients)]
    parts: list[list[int]] = [[] for _ in range(clients)]
    for turn in range(len(labels)):
        there = [label for label in classes if left[label]]
        weights = [mixes[turn % clients][label] for label in there]
        if not sum(weights):  # a tiny alpha underflows, or its classes are all dealt
            weights = [1.0] * len(there)
        parts[turn % clients].append(left[random.choices(there, weights)[0]].pop())
    return _nobody_without(parts)


def devices(*, labels: Indices, clients: int, slow: Sequence[int], share: float, seed: int) -> list[Indices]:
    """The slow clients hold `share` of all examples of two classes, evenly; the rest is dealt at random to whoever has fewest.

    So all have as many, unless the slow ones' classes alone are more than that: no device is slow for having more.
    """
    if not slow:
        raise _refuse("a partition by devices needs slow clients: ask for --stragglers")
    order, own = shuffled(len(labels), seed=seed).tolist(), slow_classes(labels=labels, seed=seed)
    theirs = [k for k in order if labels[k] in own]
    theirs = theirs[: round(share * len(theirs))]
    taken = set(theirs)
    parts: list[list[int]] = [[] for _ in range(clients)]
    for turn, client in enumerate(slow):
        parts[client] += theirs[turn :: len(slow)]
    fewest = [(len(part), client) for client, part in enumerate(parts)]
    heapq.heapify(fewest)
    for k in order:
        if k not in taken:
            size, client = heapq.heappop(fewest)
            parts[client].append(k)
            heapq.heappush(fewest, (size + 1, client))
    return _nobody_without(parts)


def slow_classes(*, labels: Indices, seed: int) -> list[int]:
    """The classes that `devices` gives to the slow clients, ascending."""
    return sorted(Random(seed).sample(sorted(set(labels.tolist())), k=SLOW_CLASSES))


def _nobody_without(parts: list[list[int]]) -> list[Indices]:
    for part in parts:
        if not part:
            richest = max(parts, key=len)
            if len(richest) < 2:
                raise _refuse(f"there are fewer examples than the {len(parts)} clients: use more examples")
            part.append(richest.pop())
    return [np.array(sorted(part), dtype=np.int64) for part in parts]
