"""Identification: who is a straggler and what it keeps, against the definitions spelt out and against hand-worked fleets."""

import random
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.deadline import upload_time
from clip_ref.errors import PreconditionError
from clip_ref.identification import Plan, Reason, elapsed, identify, valid
from clip_ref.messages import TimeRecord
from clip_ref.oracle.strategies import client_ids, grids
from clip_ref.params import (
    DEFAULT_GRID,
    HARDENED_POLICY,
    Encoding,
    Mean,
    Params,
    PruningPolicy,
    Score,
    Selection,
    SlackSeed,
)
from clip_ref.values import MAX_MICROSECONDS, ClientId, RoundNumber

LATER = RoundNumber(9)
PEERS = 12
Fleet = dict[ClientId, TimeRecord]
MAY_PRUNE = (Reason.STRAGGLER, Reason.BLOCK)
WITHOUT_HISTORY: list[dict[str, Any]] = [
    {"score": Score.SIZE},
    {"selection": Selection.ORDERED},
    {"selection": Selection.PAPER, "threshold": 0, "slack_seed": SlackSeed.CONTEXT},
]


# Fleets


def params_for(policy: PruningPolicy, *, colluders: int = 0) -> Params:
    return Params(clients=PEERS, threshold=9, colluders=colluders, policy=policy, encoding=Encoding(value_bits=8))


def policy_of(
    *,
    share: int = 500,
    margin: int = 0,
    grid: tuple[int, ...] = DEFAULT_GRID,
    network_aware: bool = True,
    blocks: bool = False,
    mean: Mean = Mean.LEVELS,
    min_roster: int = 0,
    **more: Any,
) -> PruningPolicy:
    return PruningPolicy(
        straggler_share=share,
        margin=margin,
        grid=grid,
        network_aware=network_aware,
        anonymity_blocks=blocks,
        mean=mean,
        min_roster=min_roster,
        warm_up=1,
        **more,
    )


@st.composite
def free_policies(draw: st.DrawFn) -> PruningPolicy:
    """Any policy under which stragglers may prune from round 2 on."""
    mean = draw(st.sampled_from(Mean))
    return policy_of(
        share=draw(st.one_of(st.just(500), st.just(400), st.integers(0, 500))),
        margin=draw(st.one_of(st.just(0), st.just(50), st.integers(0, 1000))),
        grid=draw(st.one_of(st.just((1000, 900, 800, 700, 600, 500)), grids())),
        network_aware=draw(st.booleans()),
        blocks=draw(st.booleans()),
        mean=mean,
        spread=mean is not Mean.LEVELS and draw(st.booleans()),
    )


def duration(rng: random.Random) -> int:
    """µs: mostly one of few values, so that many are equal; now and then any, with the largest."""
    if rng.randrange(25):
        return rng.choice((0, 0, 1, 10, 300))
    return rng.choice((rng.randrange(2**64), 2**64 - 1))


def predictions(rng: random.Random, grid: tuple[int, ...], falling: bool) -> tuple[int, ...]:
    """µs per keep level: mostly a fixed part and one that falls with the level, for fast and slow clients."""
    if rng.randrange(10):
        fixed, whole = rng.randrange(100), rng.choice((900, 1000, 1040, 1100, 1300, 1500, 1900, 4000))
        fit = [fixed + whole * keep // 1000 for keep in grid]
    else:
        fit = [duration(rng) for _ in grid]
    return tuple(sorted(fit, reverse=True) if falling else fit)


def record_of(rng: random.Random, grid: tuple[int, ...], sound: bool) -> TimeRecord:
    """A record; a sound one takes part and has the history, any other may be anything that opens."""
    whole = sound or rng.random() < 0.7
    return TimeRecord(
        has_time=whole or rng.random() < 0.5,
        has_model=whole or rng.random() < 0.5,
        was_straggler=rng.random() < 0.5,
        down=duration(rng),
        select=rng.randrange(3),
        mask=rng.randrange(3),
        up=duration(rng),
        fit=predictions(rng, grid, whole),
        weight=rng.randint(1, 1024) if whole else rng.choice((0, 1, 1024, 1025, 2**32 - 1)),
        entropy=bytes(32),
    )


def randoms() -> st.SearchStrategy[random.Random]:
    """For fleets: their clients need not shrink one by one."""
    return st.integers(0, 2**32 - 1).map(random.Random)


@st.composite
def fleets(draw: st.DrawFn, grid: tuple[int, ...], sound: bool = False) -> Fleet:
    rng, least = draw(randoms()), draw(st.sampled_from((1, 8, PEERS)))
    ids = draw(st.lists(client_ids(), min_size=least, max_size=PEERS, unique=True))
    return {u: record_of(rng, grid, sound) for u in ids}


@st.composite
def cases(draw: st.DrawFn, sound: bool = False) -> tuple[Fleet, Params]:
    policy = draw(free_policies())
    return draw(fleets(policy.grid, sound)), params_for(policy, colluders=draw(st.integers(0, 2)))


def linear(whole: int, *, down: int = 0, was: bool = False, grid: tuple[int, ...] = DEFAULT_GRID) -> TimeRecord:
    """A client whose training takes `whole` µs, and r ‰ of that at keep level r."""
    return TimeRecord(True, True, was, down, 0, 0, 0, tuple(whole * r // 1000 for r in grid), 1, bytes(32))


def fleet_of(*records: TimeRecord) -> Fleet:
    return {ClientId(u): record for u, record in enumerate(records)}


def keeps(plan: Plan) -> dict[int, int]:
    return {u: verdict.keep for u, verdict in plan.verdicts.items()}


# The definitions, spelt out once more


@attrs.frozen
class Naive:
    target: int
    target_fit: int
    stragglers: list[ClientId]
    need: dict[ClientId, tuple[int, bool]]  # keep level before blocks and exemptions, saturated


def total(record: TimeRecord, level: int) -> int:
    return min(record.down + record.select + record.fit[level] + record.mask + record.up, 2**64 - 1)


def naive(records: Mapping[ClientId, TimeRecord], params: Params) -> Naive:
    """T*, the stragglers and their own needs, from the definitions: quadratic, in fractions."""
    policy = params.policy
    levels = len(policy.grid)
    part = {
        u: r
        for u, r in records.items()
        if r.has_time
        and all(r.fit[k] >= r.fit[k + 1] for k in range(levels - 1))
        and 0 < r.weight <= params.encoding.weight_max
    }

    def slower(v: ClientId, u: ClientId) -> bool:
        mine, theirs = total(part[u], 0), total(part[v], 0)
        return theirs > mine or (theirs == mine and v < u)

    places = Fraction(policy.straggler_share * len(part), 1000)
    candidates = [u for u in part if sum(slower(v, u) for v in part if v != u) + 1 <= places]
    rest = [u for u in part if u not in candidates]
    target = 0
    for u in rest:
        target = max(target, total(part[u], 0))
    stragglers = []
    for u in sorted(candidates):
        bound = Fraction(target) if part[u].was_straggler else target * Fraction(1000 + policy.margin, 1000)
        if total(part[u], 0) > bound:
            stragglers.append(u)
    target_fit = max([part[u].fit[0] for u in part if u not in stragglers], default=0)
    need = {}
    for u in stragglers:
        in_time = [
            r
            for k, r in enumerate(policy.grid)
            if (total(part[u], k) <= target if policy.network_aware else part[u].fit[k] <= target_fit)
        ]
        need[u] = (max(in_time), False) if in_time else (min(policy.grid), True)
    return Naive(target, target_fit, stragglers, need)


@pytest.mark.rule("IDN-1", "IDN-2", "IDN-3", "IDN-4", "IDN-5", "IDN-6", "IDN-7")
@given(case=cases(), round=st.integers(1, 3))
def test_plan_is_what_the_definitions_say(case: tuple[Fleet, Params], round: int) -> None:
    records, params = case
    plan, want = identify(records=records, params=params, round=RoundNumber(round)), naive(records, params)
    assert (plan.target, plan.target_fit) == (want.target, want.target_fit)
    assert list(plan.stragglers) == want.stragglers
    assert list(plan.verdicts) == sorted(records)
    for u, (need, saturated) in want.need.items():
        assert plan.verdicts[u].saturated == saturated
        assert plan.verdicts[u].keep in {r for r in params.policy.grid if r <= need} | {1000}
    if not params.policy.anonymity_blocks and round > 1 and all(r.has_model for r in records.values()):
        assert {u: plan.verdicts[u].keep for u in want.need} == {u: need for u, (need, _) in want.need.items()}


@pytest.mark.rule("IDN-1", "IDN-6", "IDN-8", "IDN-9")
@given(case=cases(), round=st.integers(1, 3))
def test_keep_levels_are_of_the_grid_and_only_stragglers_prune(case: tuple[Fleet, Params], round: int) -> None:
    records, params = case
    plan = identify(records=records, params=params, round=RoundNumber(round))
    for u, verdict in plan.verdicts.items():
        assert verdict.keep in params.policy.grid
        if not verdict.straggler:
            assert (verdict.keep, verdict.saturated) == (1000, False)
            assert verdict.reason in (Reason.FAST, Reason.MARGIN, Reason.NO_TIME)
        if verdict.keep < 1000:
            assert verdict.straggler
            assert verdict.reason in MAY_PRUNE
            assert records[u].has_model
            assert valid(records[u], params=params)
            assert round > params.policy.warm_up


@pytest.mark.rule("IDN-3")
@given(case=cases(), rng=randoms())
def test_the_order_of_the_records_is_irrelevant(case: tuple[Fleet, Params], rng: random.Random) -> None:
    records, params = case
    shuffled = {u: records[u] for u in rng.sample(sorted(records), len(records))}
    assert identify(records=shuffled, params=params, round=LATER) == identify(
        records=records, params=params, round=LATER
    )


@pytest.mark.rule("IDN-6", "IDN-7")
@given(case=cases(sound=True))
def test_slower_never_keeps_more(case: tuple[Fleet, Params]) -> None:
    """Of two stragglers, the one that is slower at every level keeps as much or less."""
    records, params = case
    params = attrs.evolve(params, policy=attrs.evolve(params.policy, anonymity_blocks=False))
    plan = identify(records=records, params=params, round=LATER)
    for u in plan.stragglers:
        for v in plan.stragglers:
            a, b = records[u], records[v]
            aware = params.policy.network_aware
            cost_a = [total(a, k) for k in range(len(a.fit))] if aware else list(a.fit)
            cost_b = [total(b, k) for k in range(len(b.fit))] if aware else list(b.fit)
            if all(x >= y for x, y in zip(cost_a, cost_b, strict=True)):
                assert plan.verdicts[u].keep <= plan.verdicts[v].keep


@pytest.mark.rule("IDN-6")
@given(case=cases(sound=True), extra=st.integers(1, 2**20))
def test_a_straggler_that_gets_slower_keeps_no_more(case: tuple[Fleet, Params], extra: int) -> None:
    """It stays a candidate, so T* stays, and only its own need can change."""
    records, params = case
    params = attrs.evolve(params, policy=attrs.evolve(params.policy, anonymity_blocks=False))
    plan = identify(records=records, params=params, round=LATER)
    for u in plan.stragglers:
        slower = attrs.evolve(records[u], up=records[u].up + extra)
        after = identify(records=records | {u: slower}, params=params, round=LATER)
        assert after.target == plan.target
        assert after.verdicts[u].straggler
        assert after.verdicts[u].keep <= plan.verdicts[u].keep


@pytest.mark.rule("IDN-5", "IDN-11")
@given(case=cases(), rounds=st.integers(2, 4))
def test_without_noise_nobody_flaps(case: tuple[Fleet, Params], rounds: int) -> None:
    """Whatever the statuses are at first, and even if they are wrong: from the first plan on, all plans are equal."""
    records, params = case
    first = identify(records=records, params=params, round=LATER)
    plan = first
    for k in range(1, rounds):
        records = {u: attrs.evolve(record, was_straggler=plan.verdicts[u].straggler) for u, record in records.items()}
        plan = identify(records=records, params=params, round=RoundNumber(LATER + k))
        assert plan == first


@pytest.mark.rule("IDN-4", "IDN-5", "IDN-6", "IDN-8", "IDN-10")
@given(case=cases(sound=True))
def test_deadline(case: tuple[Fleet, Params]) -> None:
    """If times are as declared, who is unsaturated and free to prune ends by T*, everybody else by (1 + δ)·T*."""
    records, params = case
    params = attrs.evolve(params, policy=attrs.evolve(params.policy, network_aware=True))
    plan = identify(records=records, params=params, round=LATER)
    for u, verdict in plan.verdicts.items():
        spent = elapsed(records[u], level=params.policy.grid.index(verdict.keep))
        if not verdict.straggler:
            assert 1000 * spent <= (1000 + params.policy.margin) * plan.target
        elif verdict.reason in MAY_PRUNE and not verdict.saturated:
            assert spent <= plan.target


@pytest.mark.rule("DDL-1", "DDL-3", "IDN-10")
@given(case=cases(sound=True))
def test_by_then_everybody_is_ready_who_can_be(case: tuple[Fleet, Params]) -> None:
    """Times as declared, a deadline that is long enough: only the saturated, and those spared where others prune, are late."""
    records, params = case
    policy = attrs.evolve(params.policy, network_aware=True, deadline=2**53 - 1)
    params = attrs.evolve(params, policy=policy)
    plan = identify(records=records, params=params, round=LATER)
    public = upload_time(target=plan.target, verdicts=plan.verdicts, params=params, round=LATER)
    for u, verdict in plan.verdicts.items():
        ready = elapsed(records[u], level=policy.grid.index(verdict.keep)) - records[u].up
        if not verdict.straggler or (verdict.reason in MAY_PRUNE and not verdict.saturated):
            assert ready <= public or public == policy.deadline


@pytest.mark.rule("IDN-7")
@given(case=cases(sound=True))
def test_compute_only_makes_up_for_the_processor_alone(case: tuple[Fleet, Params]) -> None:
    records, params = case
    params = attrs.evolve(params, policy=attrs.evolve(params.policy, network_aware=False))
    plan = identify(records=records, params=params, round=LATER)
    for u, verdict in plan.verdicts.items():
        if verdict.reason in MAY_PRUNE and not verdict.saturated:
            assert records[u].fit[params.policy.grid.index(verdict.keep)] <= plan.target_fit


@pytest.mark.rule("IDN-8")
@given(case=cases(), round=st.integers(1, 3))
def test_nobody_prunes_alone(case: tuple[Fleet, Params], round: int) -> None:
    """Each level below 1000 is used by s_min clients or more; nobody keeps more than its own need; as few as that: nobody."""
    records, params = case
    params = attrs.evolve(params, policy=attrs.evolve(params.policy, anonymity_blocks=True))
    plan, own = identify(records=records, params=params, round=RoundNumber(round)), naive(records, params).need
    used = [keep for keep in keeps(plan).values() if keep < 1000]
    assert all(used.count(keep) >= params.colluders + 2 for keep in used)
    for u, verdict in plan.verdicts.items():
        if verdict.keep < 1000:
            assert verdict.keep <= own[u][0]
    may = [u for u in own if own[u][0] < 1000 and records[u].has_model]
    if len(may) < params.colluders + 2:
        assert not used
    elif round > 1 and params.policy.mean is not Mean.HOLDER:
        assert len(used) == len(may)


@pytest.mark.rule("IDN-8")
@given(case=cases(sound=True))
def test_blocks_are_cut_in_the_order_of_need(case: tuple[Fleet, Params]) -> None:
    """Sorted by own need, ids breaking ties: blocks of s_min, the remainder to the last, each at its smallest need."""
    records, params = case
    params = attrs.evolve(params, policy=attrs.evolve(params.policy, anonymity_blocks=True))
    own = {u: need for u, (need, _) in naive(records, params).need.items() if need < 1000}
    order, size = sorted(own, key=lambda u: (own[u], u)), params.colluders + 2
    order = order if len(order) >= size else []
    plan = identify(records=records, params=params, round=LATER)
    while order:  # who keeps less than it needed to is told so
        block = order[:size] if len(order) >= 2 * size else order
        least = min(own[u] for u in block)
        for u in block:
            reason = Reason.STRAGGLER if own[u] == least else Reason.BLOCK
            assert (plan.verdicts[u].keep, plan.verdicts[u].reason) == (least, reason)
        order = order[len(block) :]


@pytest.mark.rule("IDN-12", "IDN-8")
@given(case=cases(sound=True), round=st.sampled_from((1, 2, 3, 9)), often=st.integers(0, 3))
def test_each_block_has_those_before_it_ahead(case: tuple[Fleet, Params], round: int, often: int) -> None:
    """In the order of need: the first s_min have nothing ahead, the next those, and so on; the last block may be larger."""
    records, params = case
    if often:  # three times of four
        params = attrs.evolve(params, policy=attrs.evolve(params.policy, spread=True, mean=Mean.STRATA))
    plan = identify(records=records, params=params, round=RoundNumber(round))
    own = {u: need for u, (need, _) in naive(records, params).need.items()}
    pruning = sorted((u for u, v in plan.verdicts.items() if v.keep < 1000), key=lambda u: (own[u], u))
    assert all(v.ahead == () for v in plan.verdicts.values() if v.keep == 1000)
    if not params.policy.spread:
        assert all(v.ahead == () for v in plan.verdicts.values())
        return
    size = params.colluders + 2 if params.policy.anonymity_blocks else 1
    before: list[int] = []
    while pruning:
        block = pruning[:size] if len(pruning) >= 2 * size else pruning
        assert {plan.verdicts[u].turn for u in block} == {(own[block[0]], tuple(before))}
        before.append(own[block[0]])
        pruning = pruning[len(block) :]


@pytest.mark.rule("IDN-12", "IDN-10")
@given(case=cases(), round=st.integers(1, 3))
def test_turns_change_nothing_but_what_is_ahead(case: tuple[Fleet, Params], round: int) -> None:
    records, params = case
    plain = attrs.evolve(params.policy, spread=False)
    with_turns, without = (
        identify(records=records, params=attrs.evolve(params, policy=policy), round=RoundNumber(round))
        for policy in (params.policy, plain)
    )
    assert attrs.evolve(with_turns, verdicts={}) == attrs.evolve(without, verdicts={})
    assert {u: attrs.evolve(v, ahead=()) for u, v in with_turns.verdicts.items()} == without.verdicts


@pytest.mark.rule("IDN-1", "IDN-4")
@given(case=cases(sound=True), strangers=st.lists(client_ids(), max_size=4, unique=True), rng=randoms())
def test_invalid_records_influence_nothing(
    case: tuple[Fleet, Params], strangers: list[ClientId], rng: random.Random
) -> None:
    records, params = case
    levels = len(params.policy.grid)
    flaws: list[dict[str, Any]] = [{"has_time": False}, {"weight": 0}, {"weight": params.encoding.weight_max + 1}]
    if levels > 1:
        flaws.append({"fit": tuple(range(levels))})
    odd = {
        u: attrs.evolve(record_of(rng, params.policy.grid, True), **rng.choice(flaws))
        for u in strangers
        if u not in records
    }
    alone = identify(records=records, params=params, round=LATER)
    plan = identify(records=records | odd, params=params, round=LATER)
    assert (plan.target, plan.target_fit, plan.stragglers) == (alone.target, alone.target_fit, alone.stragglers)
    for u, verdict in plan.verdicts.items():
        if u in odd:
            assert (verdict.straggler, verdict.keep, verdict.reason) == (False, 1000, Reason.NO_TIME)
        else:
            assert verdict == alone.verdicts[u]


# Hand-worked


@pytest.mark.rule("IDN-3", "IDN-4", "IDN-6", "IDN-8")
def test_vector_ten_clients() -> None:
    """p = 200 of 10: two candidates. T* = 1,100,000; 1.5 s of training may keep 733 ‰ → 725, 2.0 s 550 ‰; one block of two."""
    times = [1_000_000, 1_500_000, 1_100_000, 900_000, 1_000_000, 2_000_000, 1_000_000, 800_000, 1_000_000, 1_000_000]
    records = fleet_of(*map(linear, times))
    plan = identify(records=records, params=params_for(HARDENED_POLICY), round=LATER)
    assert (plan.target, plan.target_fit, plan.stragglers) == (1_100_000, 1_100_000, (1, 5))
    assert keeps(plan) == dict.fromkeys(range(10), 1000) | {1: 550, 5: 550}
    alone = params_for(attrs.evolve(HARDENED_POLICY, anonymity_blocks=False))
    assert keeps(identify(records=records, params=alone, round=LATER)) == keeps(plan) | {1: 725}


@pytest.mark.rule("IDN-2", "IDN-6", "IDN-7")
def test_vector_a_slow_network_is_pruned_for_only_when_asked() -> None:
    """Nine ten-second clients and one with the same processor, but 2 s more of download: it must train in 8 s: 800 ‰."""
    records = fleet_of(*[linear(10_000_000)] * 9, linear(10_000_000, down=2_000_000))
    aware, compute = policy_of(share=100), policy_of(share=100, network_aware=False)
    assert keeps(identify(records=records, params=params_for(aware), round=LATER))[9] == 800
    plan = identify(records=records, params=params_for(compute), round=LATER)
    assert plan.verdicts[ClientId(9)] == attrs.evolve(
        plan.verdicts[ClientId(9)], straggler=True, keep=1000, saturated=False
    )
    record = TimeRecord(True, True, False, 1, 10, 1000, 10_000, (500, 400), 1, bytes(32))
    assert (elapsed(record, level=0), elapsed(record, level=1)) == (11_511, 11_411)


@pytest.mark.rule("IDN-3")
def test_vector_equally_slow_the_smaller_id_is_the_candidate() -> None:
    records = fleet_of(*[linear(1000)] * 3, linear(2000), linear(2000), linear(2000))
    params = params_for(policy_of(share=340))  # ⌊2.04⌋ = 2 candidates: clients 3 and 4; client 5 then sets T*
    plan = identify(records=records, params=params, round=LATER)
    assert (plan.target, plan.stragglers) == (2000, ())
    assert [u for u, v in plan.verdicts.items() if v.reason is Reason.MARGIN] == [3, 4]


@pytest.mark.rule("IDN-3")
@pytest.mark.parametrize(("share", "count"), [(0, 0), (99, 0), (100, 1), (199, 1), (200, 2), (499, 4), (500, 5)])
def test_vector_how_many_are_candidates(share: int, count: int) -> None:
    records = fleet_of(*(linear(1000 + 100 * k) for k in range(10)))
    plan = identify(records=records, params=params_for(policy_of(share=share)), round=LATER)
    assert len(plan.stragglers) == count
    assert plan.target == 1900 - 100 * count


@pytest.mark.rule("IDN-5")
@pytest.mark.parametrize(
    ("time", "was", "straggler"),
    [(1050, False, False), (1051, False, True), (1000, True, False), (1001, True, True), (1001, False, False)],
)
def test_vector_the_margin_is_exact(time: int, was: bool, straggler: bool) -> None:
    records = fleet_of(linear(time, was=was), *[linear(1000)] * 9)
    plan = identify(records=records, params=params_for(policy_of(share=100, margin=50)), round=LATER)
    assert plan.verdicts[ClientId(0)].straggler is straggler
    assert plan.verdicts[ClientId(0)].reason is (Reason.STRAGGLER if straggler else Reason.MARGIN)


@pytest.mark.rule("IDN-5")
def test_vector_the_sticky_exit_stops_a_borderline_client_from_flapping() -> None:
    """What `was_straggler` is for: a borderline client's state decides, not the last digit of its time."""
    fleet = [linear(1000)] * 9
    params = params_for(policy_of(share=100, margin=50))
    status: list[bool] = []
    for time in (1049, 1051, 1049, 1051, 1049, 999, 1049):
        was = bool(status and status[-1])
        plan = identify(records=fleet_of(*fleet, linear(time, was=was)), params=params, round=LATER)
        status.append(plan.verdicts[ClientId(9)].straggler)
    assert status == [False, True, True, True, True, False, False]


@pytest.mark.rule("IDN-6")
def test_vector_saturated() -> None:
    """Four times as slow: even 500 ‰ takes twice too long. It keeps 500 and says so to itself."""
    records = fleet_of(*[linear(1000)] * 9, linear(4000))
    verdict = identify(records=records, params=params_for(policy_of(share=100)), round=LATER).verdicts[ClientId(9)]
    assert (verdict.straggler, verdict.keep, verdict.saturated) == (True, 500, True)
    records[ClientId(9)] = linear(2000)
    verdict = identify(records=records, params=params_for(policy_of(share=100)), round=LATER).verdicts[ClientId(9)]
    assert (verdict.straggler, verdict.keep, verdict.saturated) == (True, 500, False)


@pytest.mark.rule("IDN-8")
def test_vector_blocks() -> None:
    """Needs 500, 550, 600, 650, 700 in blocks of two, and then of three: the last block takes the remainder."""
    slow = [1000 * 1000 // need for need in (600, 700, 500, 650, 550)]
    records = fleet_of(*[linear(1000)] * 7, *map(linear, slow))
    assert sorted(keeps(identify(records=records, params=params_for(policy_of()), round=LATER)).values())[:5] == [
        500, 550, 600, 650, 700,
    ]  # fmt: skip
    twos = identify(records=records, params=params_for(policy_of(blocks=True)), round=LATER)
    assert {u: k for u, k in keeps(twos).items() if k < 1000} == {9: 500, 11: 500, 7: 600, 10: 600, 8: 600}
    threes = identify(records=records, params=params_for(policy_of(blocks=True), colluders=1), round=LATER)
    assert {u: k for u, k in keeps(threes).items() if k < 1000} == dict.fromkeys(range(7, 12), 500)
    fours = identify(records=records, params=params_for(policy_of(blocks=True), colluders=2), round=LATER)
    assert {u: k for u, k in keeps(fours).items() if k < 1000} == dict.fromkeys(range(7, 12), 500)
    sixes = identify(records=records, params=params_for(policy_of(blocks=True), colluders=4), round=LATER)
    assert set(keeps(sixes).values()) == {1000}
    assert {v.reason for v in sixes.verdicts.values() if v.straggler} == {Reason.SMALL_BLOCK}


@pytest.mark.rule("IDN-8")
def test_vector_one_colluder_stops_a_fleet_of_ten() -> None:
    """c = 1, n = 10, p = 200 ‰: two candidates, blocks of three: nobody prunes."""
    records = fleet_of(*[linear(1000)] * 8, linear(2000), linear(2000))
    with_one = identify(records=records, params=params_for(HARDENED_POLICY, colluders=1), round=LATER)
    assert with_one.stragglers == (8, 9)
    assert set(keeps(with_one).values()) == {1000}
    assert keeps(identify(records=records, params=params_for(HARDENED_POLICY), round=LATER))[8] == 500


@pytest.mark.rule("IDN-9")
@pytest.mark.parametrize(
    ("count", "round", "reason", "keep"),
    [
        (9, 3, Reason.SMALL_ROSTER, 1000),
        (10, 3, Reason.STRAGGLER, 500),
        (10, 2, Reason.WARM_UP, 1000),
        (10, 1, Reason.WARM_UP, 1000),
        (9, 2, Reason.WARM_UP, 1000),
    ],
)
def test_vector_who_may_not_prune_keeps_its_status(count: int, round: int, reason: Reason, keep: int) -> None:
    policy = attrs.evolve(HARDENED_POLICY, straggler_share=250)  # two of 8 … 11
    records = fleet_of(*[linear(1000)] * (count - 2), linear(2000), linear(2000))
    plan = identify(records=records, params=params_for(policy), round=RoundNumber(round))
    assert plan.stragglers == (count - 2, count - 1)
    assert [(v.reason, v.keep) for v in plan.verdicts.values() if v.straggler] == [(reason, keep)] * 2


@pytest.mark.rule("IDN-9")
@pytest.mark.parametrize("mean", Mean)
def test_vector_without_history(mean: Mean) -> None:
    """A straggler without it keeps everything; under `holder` one client without it, fast or slow, stops all."""
    fleet = fleet_of(*[linear(1000)] * 8, *[linear(2000)] * 4)
    params = params_for(policy_of(share=334, blocks=True, mean=mean))
    for lacking, still in ((11, {8, 9, 10}), (0, {8, 9, 10, 11})):
        record = attrs.evolve(fleet[ClientId(lacking)], has_model=False)
        plan = identify(records=fleet | {ClientId(lacking): record}, params=params, round=LATER)
        assert plan.stragglers == (8, 9, 10, 11)
        assert {u for u, k in keeps(plan).items() if k < 1000} == (set() if mean is Mean.HOLDER else still)
        stopped = {v.reason for u, v in plan.verdicts.items() if v.straggler and v.keep == 1000}
        assert stopped <= {Reason.NO_HISTORY}


@pytest.mark.rule("IDN-9")
@pytest.mark.parametrize("mean", Mean)
@pytest.mark.parametrize("more", WITHOUT_HISTORY)
def test_vector_without_history_where_none_is_needed(mean: Mean, more: dict[str, Any]) -> None:
    fleet = fleet_of(*[linear(1000)] * 8, *[linear(2000)] * 4)
    bare = {u: attrs.evolve(record, has_model=False) for u, record in fleet.items()}
    params = params_for(policy_of(share=334, blocks=True, mean=mean, **more))
    plan = identify(records=bare, params=params, round=LATER)
    assert plan == identify(records=fleet, params=params, round=LATER)
    assert {u for u, k in keeps(plan).items() if k < 1000} == {8, 9, 10, 11}


@pytest.mark.rule("IDN-12", "IDN-8")
def test_vector_turns() -> None:
    """c = 0 and five stragglers: T* = 1000; they may keep 500, 525, 650, 800, 900 ‰; a block of two, and one of three."""
    slow = [linear(1100), linear(1250), linear(2000), linear(1900), linear(1500)]
    records = fleet_of(*[linear(1000)] * 7, *slow)
    policy = policy_of(share=420, blocks=True, mean=Mean.STRATA, spread=True)
    plan = identify(records=records, params=params_for(policy), round=LATER)
    assert {u: v.turn for u, v in plan.verdicts.items() if v.keep < 1000} == {
        9: (500, ()), 10: (500, ()), 7: (650, (500,)), 8: (650, (500,)), 11: (650, (500,)),
    }  # fmt: skip
    alone = params_for(attrs.evolve(policy, anonymity_blocks=False))
    plan = identify(records=records, params=alone, round=LATER)
    assert plan.verdicts[ClientId(7)].turn == (900, (500, 525, 650, 800))
    with_one = identify(records=records, params=params_for(policy, colluders=2), round=LATER)
    assert {v.ahead for v in with_one.verdicts.values()} == {()}  # four to a block: only one of them


@pytest.mark.rule("IDN-2")
def test_vector_times_saturate() -> None:
    huge = TimeRecord(True, True, False, 2**64 - 1, 1, 1, 2**64 - 1, (2**64 - 1, 0), 1, bytes(32))
    assert elapsed(huge, level=0) == elapsed(huge, level=1) == MAX_MICROSECONDS
    params = params_for(policy_of(grid=(1000, 500), share=100))
    plan = identify(records=fleet_of(*[huge] * 10), params=params, round=LATER)
    assert (plan.target, plan.stragglers) == (MAX_MICROSECONDS, ())
    assert plan.verdicts[ClientId(0)].reason is Reason.MARGIN
    quick = linear(7, grid=(1000, 500))
    plan = identify(records=fleet_of(*[quick] * 9, huge), params=params, round=LATER)
    assert (plan.target, plan.stragglers, plan.verdicts[ClientId(9)].saturated) == (7, (9,), True)


@pytest.mark.rule("IDN-1", "IDN-4")
def test_vector_nobody_valid() -> None:
    records = fleet_of(*[attrs.evolve(linear(1000), has_time=False)] * 4)
    plan = identify(records=records, params=params_for(policy_of()), round=LATER)
    assert (plan.target, plan.target_fit, plan.stragglers) == (0, 0, ())
    assert {v.reason for v in plan.verdicts.values()} == {Reason.NO_TIME}


@pytest.mark.rule("IDN-1")
@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"has_time": False}, False),
        ({"has_model": False}, True),
        ({"weight": 0}, False),
        ({"weight": 1024}, True),
        ({"weight": 1025}, False),
        ({"fit": (9, 9, 9)}, True),
        ({"fit": (9, 8, 9)}, False),
        ({"fit": (8, 9, 9)}, False),
        ({"fit": (9, 8)}, False),
    ],
)
def test_vector_valid_records(change: dict[str, Any], good: bool) -> None:
    record = TimeRecord(True, True, False, 0, 0, 0, 0, (9, 8, 7), 1, bytes(32))
    params = params_for(policy_of(grid=(1000, 700, 500)))
    assert valid(attrs.evolve(record, **change), params=params) is good


@pytest.mark.rule("IDN-1")
def test_refuses_no_records_and_no_round() -> None:
    params = params_for(HARDENED_POLICY)
    with pytest.raises(PreconditionError, match="IDN-1"):
        identify(records={}, params=params, round=LATER)
    with pytest.raises(PreconditionError, match="IDN-1"):
        identify(records=fleet_of(linear(1)), params=params, round=RoundNumber(0))
