"""Graph: neighbourhoods, proofs and bitmaps, the time histogram, and how large k and t must be."""

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import comb
from typing import Any

import attrs
import numpy as np
import plain
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import few

from clip_ref import graph
from clip_ref.canonical import digest
from clip_ref.errors import SERVER, ContributionError, ParameterError, PreconditionError
from clip_ref.oracle.strategies import digests
from clip_ref.params import Encoding, Mean, Params, PruningPolicy, Score, Selection, SlackSeed
from clip_ref.values import MAX_MICROSECONDS, Digest
from clip_ref.verdicts import Reason, Verdict

SEED = Digest(bytes(range(32)))
OPEN = PruningPolicy(anonymity_blocks=False)


def params_of(clients: int = 1000, neighbours: int = 4, **more: Any) -> Params:
    wide = Encoding(ring_bits=64)
    return Params(clients=clients, neighbours=neighbours, policy=attrs.evolve(OPEN, **more), encoding=wide)


# Neighbours


def shuffle(seed: bytes, purpose: bytes, length: int) -> list[int]:
    """Fisher–Yates from the top, each word below the largest multiple of what is left."""
    stream = plain.keystream(plain.derive(seed, b"", purpose), 4 * length + 400)
    words = iter(int.from_bytes(stream[k : k + 4], "little") for k in range(0, len(stream), 4))
    order = list(range(length))
    for top in reversed(range(1, length)):
        word = next(w for w in words if w < 2**32 // (top + 1) * (top + 1))
        order[top], order[word % (top + 1)] = order[word % (top + 1)], order[top]
    return order


def everybody(seed: Digest, count: int, degree: int) -> list[tuple[int, ...]]:
    return [graph.neighbours(seed=seed, count=count, degree=degree, position=p) for p in range(count)]


def component(near: Sequence[Sequence[int]], gone: frozenset[int] = frozenset()) -> set[int]:
    """Who can be reached from the first that is not gone."""
    start = next(p for p in range(len(near)) if p not in gone)
    found, todo = {start}, [start]
    while todo:
        fresh = [v for v in near[todo.pop()] if v not in found and v not in gone]
        found.update(fresh)
        todo += fresh
    return found


@pytest.mark.rule("GRA-1")
@given(seed=digests(), count=st.integers(1, 60), half=st.integers(1, 12))
def test_neighbours_are_mutual_regular_and_connected(seed: Digest, count: int, half: int) -> None:
    near = everybody(seed, count, 2 * half)
    for position, mine in enumerate(near):
        assert len(mine) == min(2 * half, count - 1) == len(set(mine))
        assert list(mine) == sorted(mine)
        assert position not in mine
        assert all(position in near[other] for other in mine)
    assert component(near) == set(range(count))


@pytest.mark.rule("GRA-1")
@given(seed=digests(), count=st.integers(8, 60), half=st.integers(1, 3), data=st.data())
def test_fewer_than_k_of_them_cannot_cut_the_others_apart(
    seed: Digest, count: int, half: int, data: st.DataObject
) -> None:
    """A Harary graph: k − 1 have to go at least, k of them in the worst case."""
    gone = data.draw(st.frozensets(st.integers(0, count - 1), max_size=2 * half - 1))
    assert len(component(everybody(seed, count, 2 * half), gone)) == count - len(gone)


@pytest.mark.rule("GRA-1")
@given(seed=digests(), count=st.integers(1, 40), more=st.integers(0, 5))
def test_from_k_of_all_others_on_it_is_the_clique(seed: Digest, count: int, more: int) -> None:
    degree = max(2, (count - 1 + 1) // 2 * 2 + 2 * more)
    for position, mine in enumerate(everybody(seed, count, degree)):
        assert mine == tuple(p for p in range(count) if p != position)


@pytest.mark.rule("GRA-1")
@given(seed=digests(), count=st.integers(4, 80), half=st.integers(1, 3))
def test_the_graph_is_a_circle_of_a_random_permutation(seed: Digest, count: int, half: int) -> None:
    if 2 * half >= count - 1:
        return
    circle = shuffle(seed, b"graph", count)
    for at, position in enumerate(circle):
        steps = {circle[(at + step) % count] for step in range(-half, half + 1)} - {position}
        assert graph.neighbours(seed=seed, count=count, degree=2 * half, position=position) == tuple(sorted(steps))


@pytest.mark.rule("GRA-1")
def test_neighbours_in_numbers() -> None:
    assert shuffle(SEED, b"graph", 9) == [3, 1, 0, 4, 5, 6, 7, 8, 2]
    assert everybody(SEED, 9, 2)[1] == (0, 3)
    assert everybody(SEED, 9, 4)[8] == (2, 3, 6, 7)


@pytest.mark.rule("GRA-1")
def test_neighbours_are_a_fair_draw() -> None:
    """Of 12, each other one is a neighbour in 4 of 11 seeds, to 6 σ; another seed, another graph."""
    rounds, hits = 2000, np.zeros(12)
    for k in range(rounds):
        hits[list(graph.neighbours(seed=digest("test", (plain.le(k, 4),)), count=12, degree=4, position=5))] += 1
    assert hits[5] == 0
    expected, sigma = rounds * 4 / 11, (rounds * 4 / 11 * 7 / 11) ** 0.5
    assert np.abs(np.delete(hits, 5) - expected).max() < 6 * sigma


@pytest.mark.rule("GRA-1")
@pytest.mark.parametrize(("degree", "position"), [(3, 0), (0, 0), (-2, 0), (4, 9), (4, -1)])
def test_an_odd_degree_or_a_position_outside_is_refused(degree: int, position: int) -> None:
    with pytest.raises(PreconditionError, match="GRA-1"):
        graph.neighbours(seed=SEED, count=9, degree=degree, position=position)


@pytest.mark.rule("GRA-2")
@given(ctx=digests(), other=digests())
def test_the_seed_follows_from_the_context(ctx: Digest, other: Digest) -> None:
    assert graph.graph_seed(ctx=ctx) == plain.digest(b"graph seed", ctx)
    assert (graph.graph_seed(ctx=ctx) == graph.graph_seed(ctx=other)) == (ctx == other)


# Rosters as trees


def leaves_of(count: int) -> list[Digest]:
    return [Digest(hashlib.sha256(bytes([k])).digest()) for k in range(count)]


def plain_root(leaves: Sequence[bytes]) -> bytes:
    """By halves of a power of two: the left one is full."""
    if not leaves:
        return plain.digest(b"merkle empty")
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return plain.digest(b"merkle node", plain_root(leaves[:left]), plain_root(leaves[left:]))


def proved(root: Digest, count: int, position: int, leaf: bytes, proof: Sequence[bytes]) -> bool:
    try:
        graph.check_proof(root=root, count=count, position=position, leaf=leaf, proof=proof, field="members")
    except ContributionError as error:
        return (error.rule, error.culprit, error.field) != ("GRA-4", SERVER, "members")
    return True


@pytest.mark.rule("GRA-3")
@pytest.mark.parametrize("count", range(41))
def test_the_root_is_that_of_the_recursive_definition(count: int) -> None:
    assert graph.merkle_root(leaves_of(count)) == plain_root(leaves_of(count))


@pytest.mark.rule("GRA-3")
@given(root=digests(), position=st.integers(0, 2**32 - 1), bundle=st.binary(max_size=40))
def test_leaves_and_roster_digests_are_pinned(root: Digest, position: int, bundle: bytes) -> None:
    assert graph.leaf(position=position, bundle=bundle) == plain.digest(b"merkle leaf", plain.le(position, 4), bundle)
    assert graph.roster_digest(root=root, count=position) == plain.digest(b"roster root", root, plain.le(position, 4))


@pytest.mark.rule("GRA-3")
def test_no_two_rosters_share_a_digest() -> None:
    """Nor do a leaf that is a node, and the node: the count is in it, and leaves are labelled apart."""
    four = leaves_of(4)
    levels = graph.merkle_levels(four)
    roots: list[tuple[Sequence[bytes], int]] = [(levels[0], 4), (levels[1], 2), (levels[2], 1), (four[:3], 3)]
    roots += [(four[::-1], 4), ([*four, four[3]], 5)]
    assert len({graph.roster_digest(root=graph.merkle_root(found), count=n) for found, n in roots}) == len(roots)


@pytest.mark.rule("GRA-4")
@pytest.mark.parametrize("count", range(1, 41))
def test_every_position_is_proved_and_nothing_else_is(count: int) -> None:
    """Another leaf, position, sibling, order or number of siblings, root: all refused. Another count, unless the path is the
    same: then the digest of the roster is another one."""
    leaves = leaves_of(count)
    levels, root = graph.merkle_levels(leaves), graph.merkle_root(leaves)
    other = plain.digest(b"merkle empty")
    for position, leaf in enumerate(leaves):
        proof = graph.merkle_proof(levels, position)
        assert len(proof) <= max(0, count - 1).bit_length()
        assert proved(root, count, position, leaf, proof)
        assert not proved(root, count, position, other, proof)
        assert not proved(Digest(other), count, position, leaf, proof)
        for wrong in {*range(-1, count + 2), position + (1 << 32)} - {position}:
            assert not proved(root, count, wrong, leaf, proof)
        for k in range(len(proof)):
            assert not proved(root, count, position, leaf, [*proof[:k], other, *proof[k + 1 :]])
            assert not proved(root, count, position, leaf, [*proof[:k], *proof[k + 1 :]])
        assert not proved(root, count, position, leaf, [*proof, other])
        if len(proof) > 1:
            assert not proved(root, count, position, leaf, proof[::-1])
        for wrong in {0, 2 * count, 2 * count + 1, 4 * count}:
            if wrong != count:
                assert not proved(root, wrong, position, leaf, proof) or len(
                    graph.merkle_proof(graph.merkle_levels(leaves_of(wrong)), position)
                ) == len(proof)


# Views as bitmaps


@pytest.mark.rule("GRA-5")
@given(count=st.integers(1, 70), data=st.data())
def test_bitmaps(count: int, data: st.DataObject) -> None:
    members = data.draw(st.frozensets(st.integers(0, count - 1)))
    bits = graph.bitmap(positions=members, count=count)
    assert len(bits) == -(-count // 8)
    assert int.from_bytes(bits, "little") == sum(1 << p for p in members)
    assert graph.positions(bits=bits, count=count, field="u2") == members


@pytest.mark.rule("GRA-5")
@given(count=st.integers(1, 70), data=st.data())
def test_another_bitmap_is_refused(count: int, data: st.DataObject) -> None:
    """Of another length, or with a bit beyond the roster: each set has one bitmap."""
    bits = graph.bitmap(positions=(), count=count)
    wrong = [bits + b"\0", bits[:-1]]
    wrong += [bits[:-1] + bytes([1 << k]) for k in range((count - 1) % 8 + 1, 8)]
    for each in wrong:
        with pytest.raises(ContributionError) as caught:
            graph.positions(bits=each, count=count, field="u3")
        assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("GRA-5", SERVER, "u3")


# Times


@pytest.mark.rule("GRA-6")
@given(first=st.integers(1, 10**7), ratio=st.integers(1001, 2000), count=st.integers(1, 60))
def test_buckets(first: int, ratio: int, count: int) -> None:
    """Each edge is the least integer at ratio ‰ of the one before; the bucket of a time is the first that holds it."""
    found = params_of(bucket_first=first, bucket_ratio=ratio, bucket_count=count)
    edges = graph.bucket_edges(params=found)
    assert (edges[0], len(edges)) == (first, count)
    for below, above in pairwise(edges):
        assert above > below
        assert above - 1 < Fraction(below * ratio, 1000) <= above
    for k, edge in enumerate(edges):
        assert graph.bucket_of(elapsed=edge, params=found) == k
        assert graph.bucket_of(elapsed=edge + 1, params=found) == min(k + 1, count - 1)
    assert graph.bucket_of(elapsed=0, params=found) == 0
    if edges[-1] <= MAX_MICROSECONDS:
        assert graph.bucket_of(elapsed=MAX_MICROSECONDS, params=found) == count - 1


@pytest.mark.rule("GRA-6")
def test_the_default_buckets_in_numbers() -> None:
    edges = graph.bucket_edges(params=params_of())
    assert edges[:5] == (10_000, 10_500, 11_025, 11_577, 12_156)
    assert 2500 * 10**6 < edges[-1] < 2600 * 10**6


def quantile(times: Sequence[int], share: int) -> int:
    """T* of IDN-4: the largest time but for the ⌊p·v/1000⌋ candidates."""
    return sorted(times)[len(times) - share * len(times) // 1000 - 1]


def check_target(times: Sequence[int], params: Params) -> None:
    """T* is the upper edge of the bucket that holds the exact one: it is not below it, and the edge before is."""
    edges, histogram = graph.bucket_edges(params=params), [0] * params.buckets
    for time in times:
        histogram[graph.bucket_of(elapsed=time, params=params)] += 1
    found = graph.target(histogram=histogram, params=params)
    exact, at = quantile(times, params.policy.straggler_share), edges.index(found)
    assert at == graph.bucket_of(elapsed=exact, params=params)
    if exact <= edges[-1]:
        assert exact <= found
        assert at == 0 or edges[at - 1] < exact
        assert at == 0 or found <= exact * params.policy.bucket_ratio // 1000 + 1


@pytest.mark.rule("GRA-7")
@few
@given(
    n=st.sampled_from((20, 50, 200, 1000, 2000)),
    share=st.sampled_from((0, 100, 200, 500)),
    spread=st.sampled_from((0.02, 0.5, 3.0)),
    gone=st.floats(0, 0.33),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_target_is_within_one_bucket_of_the_exact_one(
    n: int, share: int, spread: float, gone: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    times = np.exp(rng.normal(13.8, spread, n)).astype(np.int64)
    left = times[rng.random(n) >= gone]
    check_target([int(t) for t in (left if len(left) else times)], params_of(2000, straggler_share=share))


@pytest.mark.rule("GRA-7")
@given(times=st.lists(st.integers(0, 10**8), min_size=1, max_size=30), share=st.integers(0, 500))
def test_so_it_is_for_few_clients_and_odd_times(times: list[int], share: int) -> None:
    check_target(times, params_of(straggler_share=share, bucket_first=1000, bucket_ratio=1200, bucket_count=90))


@pytest.mark.rule("GRA-7")
def test_targets_in_numbers() -> None:
    """Edges 10, 20, 40, 80: of 10, one in five is a candidate; nobody with a time, no target."""
    found = params_of(bucket_first=10, bucket_ratio=2000, bucket_count=4)
    assert graph.bucket_edges(params=found) == (10, 20, 40, 80)
    for histogram, target in (
        ((5, 3, 2, 0), 20),
        ((5, 2, 3, 0), 40),
        ((0, 0, 0, 10), 80),
        ((10, 0, 0, 0), 10),
        ((0, 0, 4, 0), 40),
        ((3, 0, 0, 1), 80),
        ((4, 0, 0, 1), 10),
        ((0, 0, 0, 0), 0),
    ):
        assert graph.target(histogram=histogram, params=found) == target


GRID = (1000, 750, 500)
OWN = graph.OwnTimes(elapsed=(1200, 900, 600), fit=(1200, 900, 600), has_model=True, was_straggler=False)


@pytest.mark.rule("GRA-8")
@pytest.mark.parametrize(
    ("target", "round", "changes", "expected"),
    [
        (1200, 3, {}, Verdict(False, 1000, False, Reason.FAST)),
        (1143, 3, {}, Verdict(False, 1000, False, Reason.MARGIN)),  # 1.05 · 1143 = 1200.15
        (1142, 3, {}, Verdict(True, 750, False, Reason.STRAGGLER)),
        (1143, 3, {"was_straggler": True}, Verdict(True, 750, False, Reason.STRAGGLER)),
        (1200, 3, {"was_straggler": True}, Verdict(False, 1000, False, Reason.FAST)),
        (900, 3, {}, Verdict(True, 750, False, Reason.STRAGGLER)),
        (899, 3, {}, Verdict(True, 500, False, Reason.STRAGGLER)),
        (599, 3, {}, Verdict(True, 500, True, Reason.STRAGGLER)),
        (599, 3, {"has_model": False}, Verdict(True, 1000, False, Reason.NO_HISTORY)),
        (599, 2, {}, Verdict(False, 1000, False, Reason.WARM_UP)),
        (0, 3, {}, Verdict(False, 1000, False, Reason.FAST)),
    ],
)
def test_verdicts(target: int, round: int, changes: dict[str, Any], expected: Verdict) -> None:
    own = attrs.evolve(OWN, **changes)
    assert graph.judge(own=own, target=target, params=params_of(grid=GRID), round=round) == expected


@pytest.mark.rule("GRA-8", "IDN-9")
@pytest.mark.parametrize("policy", [{"score": Score.SIZE}, {"selection": Selection.ORDERED}])
def test_judging_oneself_without_a_history_where_none_is_needed(policy: dict[str, Any]) -> None:
    without = attrs.evolve(OWN, has_model=False)
    for target in (900, 599):
        found = graph.judge(own=without, target=target, params=params_of(grid=GRID, **policy), round=3)
        assert found == graph.judge(own=OWN, target=target, params=params_of(grid=GRID), round=3)
        assert found.keep < 1000


@pytest.mark.rule("GRA-8")
@given(
    elapsed=st.lists(st.integers(0, 5000), min_size=3, max_size=3).map(lambda t: tuple(sorted(t, reverse=True))),
    target=st.integers(0, 5000),
    was=st.booleans(),
)
def test_whoever_prunes_is_in_time_or_saturated(elapsed: tuple[int, ...], target: int, was: bool) -> None:
    own = graph.OwnTimes(elapsed=elapsed, fit=elapsed, has_model=True, was_straggler=was)
    verdict = graph.judge(own=own, target=target, params=params_of(grid=GRID), round=3)
    if verdict.keep == 1000 and not verdict.saturated:
        assert not verdict.straggler or elapsed[0] <= target
        assert not target or 1000 * elapsed[0] <= 1050 * target
    else:
        at = GRID.index(verdict.keep)
        assert verdict.straggler
        assert (elapsed[at] > target) == verdict.saturated
        assert all(time > target for time in elapsed[:at])


@pytest.mark.rule("GRA-8")
def test_nobody_prunes_where_there_is_no_share() -> None:
    none = params_of(grid=GRID, straggler_share=0)
    assert graph.judge(own=OWN, target=1, params=none, round=9) == Verdict(False, 1000, False, Reason.FAST)


# How large k and t must be


def survival(population: int, marked: int, drawn: int) -> list[Fraction]:
    """P(X ≥ h) for h = 0 … drawn + 1, X hypergeometric; by the ratio of neighbouring probabilities, from the first."""
    first = max(0, drawn - (population - marked))
    term = Fraction(1)
    for k in range(first, drawn):  # the chance of drawing `first` marked ones, one draw at a time
        term *= Fraction(population - marked - (k - first), population - (k - first))
    if first:
        term = Fraction(comb(marked, first), comb(population, drawn))
    out = [Fraction(0)] * (drawn + 2)
    for hit in range(first, min(marked, drawn) + 1):
        out[hit] = term
        term *= Fraction((marked - hit) * (drawn - hit), (hit + 1) * (population - marked - drawn + hit + 1))
    for h in range(drawn, -1, -1):
        out[h] += out[h + 1]
    return out


def least(
    n: int, corrupt: int, dropped: int, sigma: int, failure: int, *, grinding: int = 0, oneself: int = 1
) -> tuple[int, int]:
    """The least even k and its least t, from the definition; `oneself`: whether a client is a holder of its own secrets."""
    bad, gone = corrupt * n // 1000, dropped * n // 1000
    for k in range(2, min(255, n - 1), 2):
        if n * Fraction(corrupt + dropped, 1000) ** (k // 2) > Fraction(1, 2**sigma):
            continue
        corrupted, lost = survival(n - 1, bad, k), survival(n - 1, gone, k)
        for t in range(k // 2 + 1, k + 1):
            safe = n * corrupted[max(0, 2 * t - k - oneself)] <= Fraction(1, 2 ** (sigma + grinding))
            if safe and n * lost[k - t + 1] <= Fraction(1, 2**failure):
                return k, t
    raise AssertionError("none will do")


@pytest.mark.rule("GRA-9")
def test_the_tails_are_exact() -> None:
    for population, marked, drawn in ((10, 3, 4), (10, 9, 4), (30, 0, 5), (999, 100, 114), (12, 12, 5)):
        exact = survival(population, marked, drawn)
        assert exact[0] == 1
        for h in range(drawn + 2):
            counted = graph._tail(population=population, marked=marked, drawn=drawn, least=h)
            assert Fraction(counted, comb(population, drawn)) == exact[h]


@pytest.mark.rule("GRA-9")
def test_k_and_t_for_a_thousand() -> None:
    """10 % corrupt, 10 % dropped, σ = 40, and one aborted round in 2³⁰."""
    assert graph.choose(clients=1000, corrupt=100, dropped=100) == (114, 78) == least(1000, 100, 100, 40, 30)


@pytest.mark.rule("GRA-9")
def test_k_and_t_for_a_thousand_and_a_server_that_grinds() -> None:
    """With 64 bits for it. The server needs one corrupt neighbour fewer for both secrets than if nobody were a holder of its
    own: 2t − (k + 1), not 2t − k, since the honest ones are one more. Without that, (150, 108) would do."""
    ours = graph.choose(clients=1000, corrupt=100, dropped=100, grinding=64)
    assert ours == (152, 110) == least(1000, 100, 100, 40, 30, grinding=64)
    assert least(1000, 100, 100, 40, 30, grinding=64, oneself=0) == (150, 108)
    assert least(1000, 100, 100, 40, 30, oneself=0) == (114, 78)


@pytest.mark.rule("GRA-9")
@pytest.mark.parametrize(
    ("n", "corrupt", "dropped", "sigma", "failure"),
    [(200, 50, 50, 40, 20), (500, 100, 50, 30, 20), (2000, 50, 200, 40, 30), (2000, 200, 50, 40, 30)],
)
def test_k_and_t_are_the_least_that_will_do(n: int, corrupt: int, dropped: int, sigma: int, failure: int) -> None:
    found = graph.choose(clients=n, corrupt=corrupt, dropped=dropped, security=sigma, failure=failure)
    k, t = found
    bad, gone = survival(n - 1, corrupt * n // 1000, k), survival(n - 1, dropped * n // 1000, k)
    assert k % 2 == 0
    assert k // 2 < t <= k
    assert n * bad[2 * t - k - 1] <= Fraction(1, 2**sigma)
    assert n * gone[k - t + 1] <= Fraction(1, 2**failure)
    assert found == least(n, corrupt, dropped, sigma, failure)


@pytest.mark.rule("GRA-9")
def test_k_grows_with_what_is_asked_for() -> None:
    base = graph.choose(clients=1000, corrupt=50, dropped=50)[0]
    for more in ({"corrupt": 150}, {"dropped": 150}, {"security": 80}, {"failure": 60}, {"grinding": 64}):
        asked: dict[str, Any] = {"clients": 1000, "corrupt": 50, "dropped": 50} | more
        assert graph.choose(**asked)[0] > base


@pytest.mark.rule("GRA-9")
@pytest.mark.parametrize("rates", [{"corrupt": 800, "dropped": 100}, {"corrupt": 100, "dropped": 900}])
def test_where_no_k_will_do_it_is_refused(rates: dict[str, int]) -> None:
    with pytest.raises(PreconditionError, match="GRA-9"):
        graph.choose(clients=300, **rates)


# Parameters


@pytest.mark.rule("PAR-10", "PAR-6")
def test_what_follows_from_k() -> None:
    found = params_of(1000, 100)
    assert (found.holders, found.threshold, found.min_survivors) == (101, 68, 667)
    assert (found.buckets, found.extras) == (256, 21 + 256)
    clique = Params(clients=20)
    assert (clique.holders, clique.buckets, clique.min_survivors, clique.extras) == (20, 0, clique.threshold, 21)
    assert params_of(16, 2, bucket_count=3, grid=(1000,)).extras == 4
    assert Params(clients=9, neighbours=6, threshold=7, min_survivors=7, policy=OPEN).threshold == 7


@pytest.mark.rule("PAR-10", "PAR-3")
@pytest.mark.parametrize(
    ("changes", "policy", "rule"),
    [
        ({"neighbours": 3}, {}, "PAR-10"),
        ({"neighbours": -2}, {}, "PAR-10"),
        ({"neighbours": 20}, {}, "PAR-10"),  # of 20 clients, 19 are others
        ({"neighbours": 256, "clients": 300}, {}, "PAR-10"),
        ({"clients": (1 << 20) + 1}, {}, "PAR-10"),
        ({}, {"mean": Mean.HOLDER}, "PAR-10"),
        ({}, {"mean": Mean.STRATA}, "PAR-10"),
        ({}, {"mean": Mean.DILUTE, "spread": True}, "PAR-10"),
        ({}, {"anonymity_blocks": True}, "PAR-10"),
        ({}, {"network_aware": False}, "PAR-10"),
        (
            {},
            {"selection": Selection.PAPER, "slack_seed": SlackSeed.RECORDS, "mean": Mean.DILUTE},
            "PAR-10",
        ),
        ({"threshold": 12, "min_survivors": 11}, {}, "PAR-10"),
        ({"min_survivors": 21}, {}, "PAR-10"),
        ({"threshold": 18, "min_survivors": 20}, {}, "PAR-6"),
        ({"threshold": 1}, {}, "PAR-6"),
        ({"neighbours": 0, "min_survivors": 15, "threshold": 14}, {}, "PAR-6"),
        ({"neighbours": 0, "clients": 256}, {}, "PAR-6"),
        ({"security": "hardened", "threshold": 8}, {}, "PAR-8"),
        ({}, {"bucket_first": 0}, "PAR-3"),
        ({}, {"bucket_ratio": 1000}, "PAR-3"),
        ({}, {"bucket_ratio": 2001}, "PAR-3"),
        ({}, {"bucket_count": 0}, "PAR-3"),
        ({}, {"bucket_count": 4097}, "PAR-3"),
    ],
)
def test_what_a_graph_cannot_do_is_refused(changes: dict[str, Any], policy: dict[str, Any], rule: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Params(**{"clients": 20, "neighbours": 16} | changes, policy=attrs.evolve(OPEN, **policy))
    assert caught.value.rule == rule


@pytest.mark.rule("GRA-8", "GRA-9", "GRA-5")
def test_what_makes_no_sense_is_refused_by_type() -> None:
    own = graph.OwnTimes(elapsed=(1,), fit=(1,), has_model=True, was_straggler=False)
    with pytest.raises(PreconditionError, match=r"GRA-8: .* levels take a time each, got 1"):
        graph.judge(own=own, target=5, params=params_of(), round=9)
    known = {"clients": 100, "corrupt": 100, "dropped": 100, "security": 40, "failure": 30, "grinding": 0}
    for name in known:
        with pytest.raises(PreconditionError, match="GRA-9: numbers of clients, rates and bits are 0 or more"):
            graph.choose(**known | {name: -1})
    for outside, count in (([9], 9), ([-1], 9), ([], -1)):
        with pytest.raises(PreconditionError, match="GRA-5: a position is one of the roster's"):
            graph.bitmap(positions=outside, count=count)
