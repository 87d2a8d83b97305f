"""Operations on the graph.   Spec: graph."""

import attrs

from clip_ref import graph
from clip_ref.graph import OwnTimes
from clip_ref.oracle.jsontypes import Wide
from clip_ref.oracle.operation import operation
from clip_ref.oracle.operations.identification import Judged, judged
from clip_ref.params import Params
from clip_ref.values import Digest


@operation("graph.neighbours", "GRA-1")
def neighbours(seed: bytes, count: int, degree: int, position: int) -> list[int]:
    """The neighbours of a position, ascending."""
    return list(graph.neighbours(seed=Digest(seed), count=count, degree=degree, position=position))


@operation("graph.seed", "GRA-2")
def seed(ctx: bytes) -> bytes:
    """The seed of the graph."""
    return graph.graph_seed(ctx=Digest(ctx))


@operation("graph.leaf", "GRA-3")
def leaf(position: int, bundle: bytes) -> bytes:
    """What stands at a position of the roster; `bundle` is the canonical `Advertise`."""
    return graph.leaf(position=position, bundle=bundle)


@operation("graph.root", "GRA-3")
def root(leaves: list[bytes]) -> bytes:
    """The root of the tree over these leaves."""
    return graph.merkle_root(leaves)


@operation("graph.roster_digest", "GRA-3")
def roster_digest(root: bytes, count: int) -> bytes:
    """What enters the context for the roster."""
    return graph.roster_digest(root=Digest(root), count=count)


@operation("graph.proof", "GRA-4")
def proof(leaves: list[bytes], position: int) -> list[bytes]:
    """The siblings on the way from a leaf to the root."""
    return list(graph.merkle_proof(graph.merkle_levels(leaves), position))


@operation("graph.check_proof", "GRA-4")
def check_proof(root: bytes, count: int, position: int, leaf: bytes, proof: list[bytes]) -> bool:
    """True if the leaf is at this position; refused, with the server named, if that is not proved."""
    graph.check_proof(root=Digest(root), count=count, position=position, leaf=leaf, proof=proof, field="members")
    return True


@operation("graph.bitmap", "GRA-5")
def bitmap(positions: list[int], count: int) -> bytes:
    """A set of positions as a view."""
    return graph.bitmap(positions=positions, count=count)


@operation("graph.positions", "GRA-5")
def positions(bits: bytes, count: int) -> list[int]:
    """The positions in a view, ascending; refused, with the server named, if it is none."""
    return sorted(graph.positions(bits=bits, count=count, field="u2"))


@operation("graph.bucket_edges", "GRA-6")
def bucket_edges(params: Params) -> list[Wide]:
    """The upper edges of the histogram's buckets, µs."""
    return list(graph.bucket_edges(params=params))


@operation("graph.bucket", "GRA-6")
def bucket(elapsed: Wide, params: Params) -> int:
    """The bucket of a time, from 0."""
    return graph.bucket_of(elapsed=elapsed, params=params)


@operation("graph.target", "GRA-7")
def target(histogram: list[int], params: Params) -> Wide:
    """T* from a histogram, µs."""
    return graph.target(histogram=histogram, params=params)


@operation("graph.judge", "GRA-8")
def judge(
    elapsed: list[Wide],
    fit: list[Wide],
    has_model: bool,
    was_straggler: bool,
    target: Wide,
    params: Params,
    round: Wide,
) -> Judged:
    """What a client finds about itself: `elapsed` and `fit` are its e(r) and fit(r) at each keep level."""
    own = OwnTimes(tuple(elapsed), tuple(fit), has_model, was_straggler)
    return judged(graph.judge(own=own, target=target, params=params, round=round))


@attrs.frozen
class Degree:
    """A graph's two numbers."""

    neighbours: int
    """k."""

    threshold: int
    """t."""


@operation("graph.choose", "GRA-9")
def choose(clients: int, corrupt: int, dropped: int, security: int, failure: int, grinding: int) -> Degree:
    """The least k and t that will do; `corrupt` and `dropped` in ‰, the others in bits."""
    found = graph.choose(
        clients=clients, corrupt=corrupt, dropped=dropped, security=security, failure=failure, grinding=grinding
    )
    return Degree(*found)
