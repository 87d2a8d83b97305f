"""Random inputs for the operations on the graph.   Spec: graph."""

from collections.abc import Mapping
from random import Random
from typing import Any

from clip_ref import graph
from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws
from clip_ref.params import Params


@draws("graph.neighbours")
def neighbours(random: Random) -> Mapping[str, Any]:
    """Any position on a circle of up to forty, seldom one beyond it or an odd degree."""
    count = random.randint(1, 40)
    degree = random.choice((0, 1, 3)) if common.seldom(random, 16) else 2 * random.randint(1, 8)
    position = count if common.seldom(random, 16) else random.randrange(count)
    return {"seed": common.secret(random), "count": count, "degree": degree, "position": position}


@draws("graph.seed")
def seed(random: Random) -> Mapping[str, Any]:
    """Any context."""
    return {"ctx": common.block(random)}


def _count(random: Random) -> int:
    """A number of 32 bits, seldom one that is not."""
    return random.choice((-1, 2**32)) if common.seldom(random) else random.getrandbits(random.choice((4, 12, 32)))


@draws("graph.leaf")
def leaf(random: Random) -> Mapping[str, Any]:
    """Any bundle at any position."""
    return {"position": _count(random), "bundle": common.data(random)}


def _leaves(random: Random, least: int = 0) -> list[bytes]:
    return [common.block(random) for _ in range(random.randint(least, 12))]


@draws("graph.root")
def root(random: Random) -> Mapping[str, Any]:
    """Up to twelve leaves."""
    return {"leaves": _leaves(random)}


@draws("graph.roster_digest")
def roster_digest(random: Random) -> Mapping[str, Any]:
    """Any root over any number of leaves."""
    return {"root": common.block(random), "count": _count(random)}


@draws("graph.proof")
def proof(random: Random) -> Mapping[str, Any]:
    """Any leaf of a tree."""
    leaves = _leaves(random, least=1)
    return {"leaves": leaves, "position": random.randrange(len(leaves))}


@draws("graph.check_proof")
def check_proof(random: Random) -> Mapping[str, Any]:
    """A proof, in two of five cases with something changed."""
    leaves = _leaves(random, least=1)
    levels, position, count = graph.merkle_levels(leaves), random.randrange(len(leaves)), len(leaves)
    found = list(graph.merkle_proof(levels, position))
    at, root = leaves[position], levels[-1][0]
    how = random.randrange(15)
    if how == 0:
        position = random.randrange(2 * count)
    if how == 1:
        count = random.randint(1, 2 * count)
    if how == 2:
        found = common.disordered(random, found)
    if how == 3:
        found = found[:-1] if random.randrange(2) else [*found, common.block(random)]
    if how == 4:
        at = random.choice(leaves)
    if how == 5:
        found = [common.tampered(random, sibling) for sibling in found]
    return {"root": root, "count": count, "position": position, "leaf": at, "proof": found}


def _positions(random: Random, count: int) -> list[int]:
    return common.some(random, range(count))


@draws("graph.bitmap")
def bitmap(random: Random) -> Mapping[str, Any]:
    """Any set of positions."""
    count = random.randint(0, 40)
    return {"positions": _positions(random, count), "count": count}


@draws("graph.positions")
def positions(random: Random) -> Mapping[str, Any]:
    """Any view, now and then for a roster of another size."""
    count = random.randint(0, 40)
    bits = graph.bitmap(positions=_positions(random, count), count=count)
    if common.seldom(random, 3):
        count = max(0, count + random.randint(-9, 9))
    return {"bits": bits, "count": count}


def _params(random: Random, **fixed: Any) -> Params:
    """A graph with few buckets."""
    return common.params(random, graph=True, bucket_count=random.choice((1, 2, 5, 12)), **fixed)


def _seen(random: Random, params: Params) -> Params:
    """The parameters, now and then with a value at its bound or beyond."""
    found = common.at_bounds(random, params) if common.seldom(random, 3) else params
    return params if found.policy.bucket_count != params.policy.bucket_count else found


@draws("graph.bucket_edges")
def bucket_edges(random: Random) -> Mapping[str, Any]:
    """Any buckets."""
    return {"params": _seen(random, _params(random))}


@draws("graph.bucket")
def bucket(random: Random) -> Mapping[str, Any]:
    """A time by an edge, or any."""
    params = _params(random)
    edges = graph.bucket_edges(params=params)
    elapsed = common.time(random) if common.seldom(random, 3) else random.choice(edges) + random.randint(-1, 1)
    return {"elapsed": elapsed, "params": _seen(random, params)}


@draws("graph.target")
def target(random: Random) -> Mapping[str, Any]:
    """A histogram of few clients."""
    params = _params(random)
    histogram = [random.choice((0, 0, 1, random.randint(0, 9))) for _ in range(params.buckets)]
    return {"histogram": histogram, "params": _seen(random, params)}


@draws("graph.judge")
def judge(random: Random) -> Mapping[str, Any]:
    """Times that are close to T*."""
    params = _params(random)
    unit = random.choice((1, 10, 1000, 2**60))
    levels, aim = len(params.policy.grid), random.choice((0, 10, 10, 10)) * unit
    margin = unit * 10 * (1000 + params.policy.margin) // 1000
    slow = random.choice((margin, margin + 1, 10 * unit, 10 * unit + 1, random.randint(0, 30) * unit))
    rest = sorted((min(slow, random.randint(1, 20) * unit) for _ in range(levels - 1)), reverse=True)
    return {
        "elapsed": [slow, *rest],
        "fit": [slow, *rest],
        "has_model": not common.seldom(random),
        "was_straggler": bool(random.randrange(2)),
        "target": aim,
        "params": _seen(random, params),
        "round": random.choice((1, 2, 3, 4, 5, 1 + common.u64(random))),
    }


@draws("graph.choose")
def choose(random: Random) -> Mapping[str, Any]:
    """Few clients, few bits."""
    return {
        "clients": random.randint(3, 40),
        "corrupt": random.choice((0, 25, 50, random.randint(0, 300))),
        "dropped": random.choice((0, 25, 50, random.randint(0, 300))),
        "security": random.randint(0, 12),
        "failure": random.randint(0, 8),
        "grinding": random.choice((0, 0, 4)),
    }
