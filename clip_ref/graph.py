"""Graph: who masks and shares with whom where a clique is too dear, and how times travel then.   Spec: graph, GRA-1..GRA-9.

With thousands of clients each has k neighbours instead of n − 1: a random k-regular graph from a seed that everybody can work
out and nobody has chosen alone. Rosters become Merkle roots, views become bitmaps over the roster's positions. Nobody knows
everybody's time record, so times ride as a histogram in the masked vector, one round late.

Source: Bell et al., CCS 2020, doi:10.1145/3372297.3417885 (the graph); the histogram is ours.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.canonical import digest, unsigned
from clip_ref.errors import SERVER, ContributionError, PreconditionError
from clip_ref.messages import TimeRecord
from clip_ref.params import MAX_HOLDERS, Params
from clip_ref.rand import permutation
from clip_ref.values import Digest, Microseconds, saturate
from clip_ref.verdicts import Reason, Verdict

EMPTY: Final = digest("merkle empty", ())
"""The root of no leaves."""


def neighbours(*, seed: Digest, count: int, degree: int, position: int) -> tuple[int, ...]:
    """GRA-1: the neighbours of `position` among 0 … count − 1, ascending: min(degree, count − 1) of them.

    The clients stand on a circle in the order of a random permutation of their positions; a client's neighbours are the
    degree/2 next to it on either side (a Harary graph). Symmetric: if v is a neighbour of u, u is one of v. `degree` is even.
    """
    if degree % 2 or degree < 2 or not 0 <= position < count:
        raise PreconditionError(rule="GRA-1", detail=f"an even degree ≥ 2 and a position below {count} are needed")
    if degree >= count - 1:
        return tuple(p for p in range(count) if p != position)
    circle, places = _circle(seed, count)
    at = int(places[position])
    steps = [*range(-(degree // 2), 0), *range(1, degree // 2 + 1)]
    return tuple(sorted(int(circle[(at + step) % count]) for step in steps))


@lru_cache(maxsize=4)
def _circle(seed: Digest, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The positions in their order on the circle, and each position's place there."""
    circle = permutation(entropy=seed, purpose="graph", length=count)
    return circle, np.argsort(circle)


def graph_seed(*, ctx: Digest) -> Digest:
    """GRA-2: the graph's seed: a digest of ctx, and so of every key in the roster.

    A server that may choose among rosters can grind it: what k and t must make up for.
    """
    return digest("graph seed", (ctx,))


def _parent(left: bytes, right: bytes) -> bytes:
    return digest("merkle node", (left, right))


def merkle_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """GRA-3: the tree over `leaves` (32-byte digests), from the leaves up; an odd last node is carried up as it is."""
    levels = [list(leaves) or [bytes(EMPTY)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [_parent(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        levels.append(above + below[len(below) & ~1 :])
    return levels


def merkle_root(leaves: Sequence[bytes]) -> Digest:
    """GRA-3: the root of the tree over `leaves`."""
    return Digest(merkle_levels(leaves)[-1][0])


def merkle_proof(levels: Sequence[Sequence[bytes]], position: int) -> tuple[bytes, ...]:
    """GRA-4: the siblings on the way from leaf `position` to the root, those that exist."""
    proof = []
    for level in levels[:-1]:
        sibling = position ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        position //= 2
    return tuple(proof)


def check_proof(*, root: Digest, count: int, position: int, leaf: bytes, proof: Sequence[bytes], field: str) -> None:
    """GRA-4: refuse (`ContributionError`, the server's) a leaf that is not at `position` of the `count` below `root`."""
    node, left, width, at = leaf, list(proof), count, position
    while width > 1:
        if at ^ 1 < width:
            if not left:
                break
            sibling = left.pop(0)
            node = _parent(sibling, node) if at & 1 else _parent(node, sibling)
        at, width = at // 2, (width + 1) // 2
    if width > 1 or left or node != root or not 0 <= position < count:
        raise ContributionError(
            rule="GRA-4", culprit=SERVER, field=field, detail=f"position {position} is not proved to be in the roster"
        )


def bitmap(*, positions: Iterable[int], count: int) -> bytes:
    """GRA-5: a set of positions: ⌈count/8⌉ bytes, position p in bit p mod 8 of byte p div 8, unused bits 0."""
    found = list(positions)
    if count < 0 or not all(0 <= position < count for position in found):
        raise PreconditionError(rule="GRA-5", detail=f"a position is one of the roster's {count}")
    bits = np.zeros(-(-count // 8) * 8, dtype=np.uint8)
    bits[found] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def positions(*, bits: bytes, count: int, field: str) -> frozenset[int]:
    """GRA-5: the set in a bitmap; `ContributionError` (the server's) for another length or a bit beyond the roster."""
    unpacked = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little")
    if len(bits) != -(-count // 8) or unpacked[count:].any():
        raise ContributionError(
            rule="GRA-5", culprit=SERVER, field=field, detail=f"is no bitmap over a roster of {count}"
        )
    return frozenset(np.flatnonzero(unpacked).tolist())


def roster_digest(*, root: Digest, count: int) -> Digest:
    """GRA-3: what enters the context for the roster: the root and the number of clients below it."""
    return digest("roster root", (root, unsigned(count, bits=32)))


def leaf(*, position: int, bundle: bytes) -> Digest:
    """GRA-3: what stands at a position of the roster: a digest of the position and of the client's canonical bundle."""
    return digest("merkle leaf", (unsigned(position, bits=32), bundle))


def bucket_edges(*, params: Params) -> tuple[int, ...]:
    """GRA-6: the upper edges of the histogram's buckets in µs: each ratio/1000 times the one before, rounded up."""
    edges = [params.policy.bucket_first]
    for _ in range(params.buckets - 1):
        edges.append(-(-edges[-1] * params.policy.bucket_ratio // 1000))
    return tuple(edges)


def bucket_of(*, elapsed: int, params: Params) -> int:
    """GRA-6: the bucket of a time: the first whose upper edge it does not pass; the last one takes what is longer."""
    edges = bucket_edges(params=params)
    return min(bisect_left(edges, elapsed), len(edges) - 1)


def target(*, histogram: Sequence[int], params: Params) -> Microseconds:
    """GRA-7: T* from the histogram of a round: the upper edge of the bucket of the slowest that is not a candidate.

    Of v clients with times, ⌊p·v/1000⌋ are candidates. 0 where nobody had a time: then nobody prunes.
    """
    valid = sum(histogram)
    place = valid - params.policy.straggler_share * valid // 1000
    if not valid:
        return saturate(0)
    passed = 0
    for edge, many in zip(bucket_edges(params=params), histogram, strict=True):
        passed += many
        if passed >= place:
            return saturate(edge)
    raise AssertionError("the counts sum to the number of clients")


@attrs.frozen
class OwnTimes:
    """What a client holds against T* by itself."""

    elapsed: tuple[int, ...]
    """e(r) at each keep level of the grid, in µs, saturated."""

    fit: tuple[int, ...]
    """fit(r) at each keep level, in µs."""

    has_model: bool
    """Whether it holds the history."""

    was_straggler: bool
    """Its status before."""


def own_times(record: TimeRecord) -> OwnTimes:
    """GRA-8: a record as its own client judges it."""
    return OwnTimes(
        elapsed=tuple(saturate(record.elapsed(k)) for k in range(len(record.fit))),
        fit=record.fit,
        has_model=record.has_model,
        was_straggler=record.was_straggler,
    )


def judge(*, own: OwnTimes, target: int, params: Params, round: int) -> Verdict:
    """GRA-8: a client's verdict on itself, from T* and its own times alone; nobody else learns it.

    A straggler above (1 + δ)·T*, or above T* if it was one; it keeps the largest level with e(r) ≤ T*. Anonymity blocks
    cannot be enforced here, and compute-only keep levels have no f* to go by.
    """
    policy = params.policy
    if len(own.elapsed) != len(policy.grid):
        raise PreconditionError(
            rule="GRA-8", detail=f"{len(policy.grid)} levels take a time each, got {len(own.elapsed)}"
        )
    slow = own.elapsed[0]
    if not target or round <= policy.warm_up or policy.straggler_share == 0:
        return Verdict(False, 1000, False, Reason.WARM_UP if round <= policy.warm_up else Reason.FAST)
    entered = slow > target if own.was_straggler else 1000 * slow > (1000 + policy.margin) * target
    if not entered:
        return Verdict(False, 1000, False, Reason.MARGIN if slow > target else Reason.FAST)
    if params.policy.needs_history and not own.has_model:
        return Verdict(True, 1000, False, Reason.NO_HISTORY)
    for keep, time in zip(policy.grid, own.elapsed, strict=True):
        if time <= target:
            return Verdict(True, keep, False, Reason.STRAGGLER)
    return Verdict(True, policy.grid[-1], True, Reason.STRAGGLER)


def _tail(*, population: int, marked: int, drawn: int, least: int) -> int:
    """How many of the C(population, drawn) draws hold at least `least` of the marked: an exact count."""
    most = min(marked, drawn)
    return sum(
        math.comb(marked, hit) * math.comb(population - marked, drawn - hit) for hit in range(max(least, 0), most + 1)
    )


@lru_cache(maxsize=64)
def choose(
    *, clients: int, corrupt: int, dropped: int, security: int = 40, failure: int = 30, grinding: int = 0
) -> tuple[int, int]:
    """GRA-9: the least even k, with the least t for it, that make both failures improbable, by exact hypergeometric tails.

    `corrupt` and `dropped` are the most clients that collude with the server and that drop out, ‰ of `clients`. For n clients
    of which a client's k neighbours are a random draw from the others, n times the probability

    - that some client has X ≥ 2t − (k + 1) corrupt neighbours (who could give both of its secrets away) is at most
      2^−(security + grinding): `grinding` bits for a server that may choose among that many rosters' seeds;
    - that some client keeps fewer than t of its k neighbours is at most 2^−failure: else the round aborts;
    - that the honest survivors fall apart, at most (corrupt + dropped)^(k/2), is at most 2^−security.

    After Bell et al. 2020, §3; with both secrets shared among the neighbours and oneself. `PreconditionError` (GRA-9) if no
    k up to 254 will do: then more clients, a weaker adversary or a clique are needed.
    """
    if min(clients, corrupt, dropped, security, failure, grinding) < 0:
        raise PreconditionError(rule="GRA-9", detail="numbers of clients, rates and bits are 0 or more")
    others, bad, gone = clients - 1, corrupt * clients // 1000, dropped * clients // 1000
    for k in range(2, min(MAX_HOLDERS, others), 2):
        draws = math.comb(others, k)
        parts = clients * (corrupt + dropped) ** (k // 2) << security <= 1000 ** (k // 2)
        for t in range(k // 2 + 1, k + 1) if parts else ():
            both = clients * _tail(population=others, marked=bad, drawn=k, least=2 * t - k - 1)
            if both << (security + grinding) > draws:
                continue
            if clients * _tail(population=others, marked=gone, drawn=k, least=k - t + 1) << failure <= draws:
                return k, t
            break  # a larger t only makes aborts likelier
    raise PreconditionError(
        rule="GRA-9",
        detail=f"no k below {min(MAX_HOLDERS, others)} keeps {clients} clients safe at these rates: take a clique where it "
        "is large enough, more clients, or lower rates",
    )
