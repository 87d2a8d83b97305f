"""The clock: a round's timeline is what the closed form says, whatever the fleet, the costs and the drop-outs."""

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import partial

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clip_ref.errors import PreconditionError
from clip_ref.round.cost import LEGS, Leg, LegCost, Work
from clip_ref.sim.clock import (
    Activity,
    EventQueue,
    Observed,
    Span,
    Timeline,
    mac_fit,
    measured_fit,
    round_bound,
    simulate,
)
from clip_ref.sim.costs import UnitCosts
from clip_ref.sim.fleet import ClientProfile, Device, Fleet, Network, load_fleet
from clip_ref.values import MAX_MICROSECONDS, Microseconds

UNITS = UnitCosts(
    scalar_multiplication=1000,
    mask_byte=0.5,
    sealed_byte=3,
    shared_byte=7,
    hashed_byte=1.5,
    signature=17,
    scored=11,
    coded=13,
)
SERVER = Device("server", ghz=3, macs_per_cycle=4, slow_down=1)
NO_WORK = Work()
BASIC: tuple[Leg, ...] = tuple(leg for leg in LEGS if leg is not Leg.CONSISTENCY)
Costs = dict[int, dict[Leg, LegCost]]
Case = tuple[Fleet, Costs, dict[int, Microseconds], Work, Microseconds]

devices = st.builds(
    Device, name=st.just("d"), ghz=st.integers(1, 4), macs_per_cycle=st.integers(1, 4), slow_down=st.integers(1, 60)
)
networks = st.builds(
    Network,
    name=st.just("n"),
    up_mbit=st.integers(1, 200),
    down_mbit=st.integers(1, 200),
    latency_ms=st.integers(0, 300),
)
works = st.builds(Work, scalar_multiplications=st.integers(0, 50), mask_bytes=st.integers(0, 10**7))


@st.composite
def legs_of(draw: st.DrawFn, *, answers: int, legs: tuple[Leg, ...] = LEGS) -> dict[Leg, LegCost]:
    """A client that answers on so many legs, and then is gone or silent."""
    out = {}
    for leg in legs[:answers]:
        out[leg] = LegCost(draw(st.integers(0, 10**6)), draw(works), draw(works), draw(st.integers(1, 10**6)))
    if answers < len(legs) and draw(st.booleans()):
        out[legs[answers]] = LegCost(draw(st.integers(0, 10**6)), draw(works), draw(works), up_bytes=0)
    return out


@st.composite
def cases(draw: st.DrawFn, *, drops: bool = True) -> Case:
    """A round: a fleet of which some are invited, what they do, their fits, the server's work, a timeout."""
    size = draw(st.integers(1, 6))
    clients = tuple(draw(st.builds(ClientProfile, device=devices, network=networks)) for _ in range(size))
    fleet = Fleet("f", clients, (), SERVER, Microseconds(draw(st.integers(1, 10**8))), "")
    invited = draw(st.sets(st.integers(0, size - 1), min_size=1))
    legs = draw(st.sampled_from((LEGS, BASIC)))
    answers = {c: draw(st.integers(0, len(legs))) if drops else len(legs) for c in sorted(invited)}
    costs = {c: draw(legs_of(answers=k, legs=legs)) for c, k in answers.items()}
    assume(any(Leg.ADVERTISE in legs for legs in costs.values()))
    fits = {c: Microseconds(draw(st.integers(0, 10**7))) for c in sorted(invited)}
    return fleet, costs, fits, draw(works), Microseconds(draw(st.integers(0, 10**7)))


def run(case: Case) -> Timeline:
    fleet, costs, fits, server_work, timeout = case
    return simulate(fleet=fleet, costs=costs, fits=fits, server_work=server_work, units=UNITS, timeout=timeout)


def half_up(exact: Fraction) -> int:
    return math.floor(2 * exact + 1) // 2


def takes(work: Work, device: Device) -> int:
    cycles = Fraction(1000 * work.scalar_multiplications) + Fraction(work.mask_bytes, 2)
    return half_up(cycles * Fraction(device.slow_down) / Fraction(device.ghz) / 1000)


def own_time(client: ClientProfile, leg: Leg, cost: LegCost, fit: int) -> int:
    """The closed form of one client's leg, from the server's message to its answer."""
    link = client.network
    down = half_up(Fraction(link.latency_ms) * 1000 + Fraction(8 * cost.down_bytes) / Fraction(link.down_mbit))
    up = half_up(Fraction(link.latency_ms) * 1000 + Fraction(8 * cost.up_bytes) / Fraction(link.up_mbit))
    between = takes(cost.work, client.device)
    if leg is Leg.INPUT:
        between += fit + takes(cost.masking, client.device)
    return down + between + up


def closed_form(case: Case) -> tuple[dict[Leg, int], int]:
    """The barriers and the end: each leg lasts as long as its slowest answer, or the timeout if somebody is silent."""
    fleet, costs, fits, server_work, timeout = case
    now, barriers, invited = 0, {}, set(costs)
    agreed = any(Leg.CONSISTENCY in legs for legs in costs.values())
    for leg in LEGS if agreed else BASIC:
        if not any(leg in costs[c] for c in invited):
            break
        answering = {c for c in invited if leg in costs[c] and costs[c][leg].up_bytes}
        lengths = [own_time(fleet.clients[c], leg, costs[c][leg], fits[c]) for c in answering]
        now += max(lengths + [timeout] * (answering < invited))
        barriers[leg], invited = now, answering
    return barriers, now + takes(server_work, fleet.server)


@pytest.mark.rule("CLK-3")
@given(cases())
def test_the_timeline_is_the_closed_form(case: Case) -> None:
    timeline = run(case)
    barriers, end = closed_form(case)
    assert timeline.barriers == barriers
    assert timeline.end == end


@pytest.mark.rule("CLK-3")
@given(cases(drops=False))
def test_without_drop_outs_the_round_is_the_sum_of_its_slowest_answers(case: Case) -> None:
    fleet, costs, fits, server_work, _ = case
    timeline = run(case)
    legs = [max(own_time(fleet.clients[c], leg, costs[c][leg], fits[c]) for c in costs) for leg in timeline.barriers]
    assert timeline.end == sum(legs) + takes(server_work, fleet.server)
    assert timeline.patience == {}


@pytest.mark.rule("CLK-3")
@given(cases())
def test_a_client_does_one_thing_after_another(case: Case) -> None:
    _, costs, _, _, _ = case
    timeline = run(case)
    assert [s.end for s in timeline.spans] == sorted(s.end for s in timeline.spans)
    between = {
        Leg.ADVERTISE: [Activity.ADVERTISE],
        Leg.SHARE: [Activity.SHARE],
        Leg.INPUT: [Activity.SELECT, Activity.FIT, Activity.MASK],
        Leg.CONSISTENCY: [Activity.CONSISTENCY],
        Leg.UNMASK: [Activity.UNMASK],
    }
    for client, legs in costs.items():
        mine = [s for s in timeline.spans if s.client == client]
        expected = []
        for leg in LEGS:
            if leg in legs:
                expected += [(leg, Activity.DOWNLOAD), *((leg, what) for what in between[leg])]
                if legs[leg].up_bytes:
                    expected += [(leg, Activity.UPLOAD), (leg, Activity.WAIT)]
        assert [(s.leg, s.activity) for s in mine] == expected
        assert [s.start for s in mine] == [0, *(s.end for s in mine)][: len(mine)]
        assert all(s.end == timeline.barriers[s.leg] for s in mine if s.activity is Activity.WAIT)


@pytest.mark.rule("CLK-3")
@given(cases())
def test_equal_rounds_have_equal_timelines_whatever_order_they_are_told_in(case: Case) -> None:
    fleet, costs, fits, server_work, timeout = case
    assert run(case) == run(case)
    backwards = {c: dict(reversed(list(costs[c].items()))) for c in reversed(list(costs))}
    assert run((fleet, backwards, fits, server_work, timeout)) == run(case)


@pytest.mark.rule("CLK-3")
@given(cases(), st.data())
def test_nothing_slower_ends_earlier(case: Case, data: st.DataObject) -> None:
    fleet, costs, fits, server_work, timeout = case
    who = data.draw(st.sampled_from(sorted(costs)))
    profile = fleet.clients[who]
    device = attrs.evolve(profile.device, slow_down=profile.device.slow_down * 3)
    network = attrs.evolve(profile.network, latency_ms=profile.network.latency_ms + 5, up_mbit=0.5)
    before = run(case)

    def with_client(changed: ClientProfile) -> Case:
        clients = (*fleet.clients[:who], changed, *fleet.clients[who + 1 :])
        return attrs.evolve(fleet, clients=clients), costs, fits, server_work, timeout

    heavier: Costs = {
        c: {
            leg: attrs.evolve(cost, down_bytes=cost.down_bytes + 9**6) if c == who else cost
            for leg, cost in legs.items()
        }
        for c, legs in costs.items()
    }
    for worse in (
        with_client(attrs.evolve(profile, device=device)),
        with_client(attrs.evolve(profile, network=network)),
        (fleet, heavier, fits, server_work, timeout),
        (fleet, costs, fits | {who: Microseconds(fits[who] + 12_345)}, server_work, timeout),
        (fleet, costs, fits, server_work + Work(mask_bytes=10**6), timeout),
        (fleet, costs, fits, server_work, Microseconds(timeout + 777)),
    ):
        after = run(worse)
        assert after.end >= before.end
        assert all(after.barriers[leg] >= before.barriers[leg] for leg in before.barriers)


@pytest.mark.rule("CLK-5", "DDL-1", "DDL-3")
@given(cases(), st.integers(0, 2 * 10**7))
def test_nobody_uploads_before_the_public_time_nor_later_than_it_must(case: Case, not_before: int) -> None:
    fleet, costs, fits, server_work, timeout = case
    free = run(case)
    held = simulate(
        fleet=fleet,
        costs=costs,
        fits=fits,
        server_work=server_work,
        units=UNITS,
        timeout=timeout,
        not_before=not_before,
    )
    start = free.barriers.get(Leg.SHARE, 0)
    ready = {s.client: s.start - start for s in free.spans if (s.leg, s.activity) == (Leg.INPUT, Activity.UPLOAD)}
    sent = {s.client: s.start - start for s in held.spans if (s.leg, s.activity) == (Leg.INPUT, Activity.UPLOAD)}
    assert sent == {client: max(at, not_before) for client, at in ready.items()}
    # the other legs take what they took, and what a client declares is not what it held back
    assert all(held.barriers[leg] == free.barriers[leg] for leg in (Leg.ADVERTISE, Leg.SHARE) if leg in free.barriers)
    assert all(held.observed(client) == free.observed(client) for client in ready)
    for at, client in held.arrivals(Leg.INPUT):
        assert sum(attrs.astuple(held.observed(client))) + sent[client] - ready[client] == at - start


@pytest.mark.rule("DDL-3")
@given(cases(drops=False), st.data())
def test_with_equal_links_and_all_ready_all_arrive_at_once(case: Case, data: st.DataObject) -> None:
    fleet, costs, fits, server_work, timeout = case
    link = fleet.clients[0].network
    equal = attrs.evolve(fleet, clients=tuple(attrs.evolve(c, network=link) for c in fleet.clients))
    length = data.draw(st.integers(1, 10**6))
    alike = {c: legs | {Leg.INPUT: attrs.evolve(legs[Leg.INPUT], up_bytes=length)} for c, legs in costs.items()}
    play = partial(simulate, fleet=equal, costs=alike, fits=fits, server_work=server_work, units=UNITS, timeout=timeout)
    free = play()
    last = max(at for at, _ in free.arrivals(Leg.INPUT)) - free.barriers[Leg.SHARE]
    held = play(not_before=last)
    assert len({at for at, _ in held.arrivals(Leg.INPUT)}) == 1


@pytest.mark.rule("CLK-4")
@given(cases())
def test_declared_times_are_the_arrival_less_the_start(case: Case) -> None:
    fleet, costs, fits, _, _ = case
    timeline = run(case)
    arrivals = timeline.arrivals(Leg.INPUT)
    assert list(arrivals) == sorted(arrivals)
    assert {c for _, c in arrivals} == {
        c for c, legs in costs.items() if Leg.INPUT in legs and legs[Leg.INPUT].up_bytes
    }
    for at, client in arrivals:
        seen, cost, profile = timeline.observed(client), costs[client][Leg.INPUT], fleet.clients[client]
        assert sum(attrs.astuple(seen)) == at - timeline.barriers[Leg.SHARE]
        assert seen == Observed(
            down=profile.network.down(length=cost.down_bytes),
            select=Microseconds(takes(cost.work, profile.device)),
            fit=fits[client],
            mask=Microseconds(takes(cost.masking, profile.device)),
            up=profile.network.up(length=cost.up_bytes),
        )


FAST = Device("fast", ghz=1, macs_per_cycle=1, slow_down=1)
LINK = Network("link", up_mbit=8, down_mbit=8, latency_ms=1)
"""One byte a microsecond, after a millisecond."""


def fleet_of(*devices: Device, timeout: int = 60_000_000) -> Fleet:
    return Fleet("f", tuple(ClientProfile(d, LINK) for d in devices), (), SERVER, Microseconds(timeout), "")


def full(down: int = 100, up: int = 200) -> dict[Leg, LegCost]:
    return {leg: LegCost(down_bytes=down, up_bytes=up) for leg in BASIC}


def play(
    fleet: Fleet, costs: Mapping[int, Mapping[Leg, LegCost]], fits: Mapping[int, int], **more: Microseconds
) -> Timeline:
    times = {client: Microseconds(fit) for client, fit in fits.items()}
    return simulate(fleet=fleet, costs=costs, fits=times, server_work=NO_WORK, units=UNITS, **more)


def test_a_round_by_hand() -> None:
    timeline = play(fleet_of(FAST, FAST), {0: full(), 1: full(up=300)}, {0: 5000, 1: 4950})
    # down 1100, up 1200 and 1300; client 0 is 50 µs slower to train, and 100 faster to send
    assert timeline.barriers == {Leg.ADVERTISE: 2400, Leg.SHARE: 4800, Leg.INPUT: 12_150, Leg.UNMASK: 14_550}
    assert timeline.end == 14_550
    assert timeline.arrivals(Leg.INPUT) == ((12_100, 0), (12_150, 1))
    assert timeline.spans[:5] == (
        Span(0, Activity.DOWNLOAD, Leg.ADVERTISE, Microseconds(0), Microseconds(1100)),
        Span(1, Activity.DOWNLOAD, Leg.ADVERTISE, Microseconds(0), Microseconds(1100)),
        Span(0, Activity.ADVERTISE, Leg.ADVERTISE, Microseconds(1100), Microseconds(1100)),
        Span(1, Activity.ADVERTISE, Leg.ADVERTISE, Microseconds(1100), Microseconds(1100)),
        Span(0, Activity.UPLOAD, Leg.ADVERTISE, Microseconds(1100), Microseconds(2300)),
    )


@pytest.mark.rule("CLK-3")
def test_clients_begin_in_order_of_index() -> None:
    # a set of {8, 1} is iterated from 8
    timeline = play(fleet_of(*[FAST] * 9), {8: full(), 1: full()}, {1: 0, 8: 0})
    assert [s.client for s in timeline.spans[:4]] == [1, 8, 1, 8]


@pytest.mark.rule("CLK-3")
def test_the_server_waits_for_somebody_silent_only_once() -> None:
    silent = {Leg.ADVERTISE: full()[Leg.ADVERTISE], Leg.SHARE: LegCost(down_bytes=100)}
    timeline = play(fleet_of(FAST, FAST, timeout=50_000), {0: full(), 1: silent}, {0: 0})
    assert timeline.barriers == {Leg.ADVERTISE: 2300, Leg.SHARE: 52_300, Leg.INPUT: 54_600, Leg.UNMASK: 56_900}
    assert timeline.patience == {Leg.SHARE: 52_300}
    gone = {Leg.ADVERTISE: full()[Leg.ADVERTISE]}
    assert play(fleet_of(FAST, FAST, timeout=50_000), {0: full(), 1: gone}, {0: 0}).barriers == timeline.barriers
    own = play(fleet_of(FAST, FAST, timeout=50_000), {0: full(), 1: gone}, {0: 0}, timeout=Microseconds(10_000))
    assert own.barriers[Leg.SHARE] == 12_300


@pytest.mark.rule("CLK-3")
def test_somebody_invited_who_never_answers_costs_a_timeout() -> None:
    timeline = play(fleet_of(FAST, FAST, timeout=50_000), {0: full(), 1: {}}, {0: 0})
    assert timeline.barriers[Leg.ADVERTISE] == 50_000


@pytest.mark.rule("CLK-3")
def test_answers_after_the_timeout_still_count() -> None:
    gone = {Leg.ADVERTISE: full()[Leg.ADVERTISE]}
    timeline = play(fleet_of(FAST, FAST, timeout=100), {0: full(), 1: gone}, {0: 0})
    assert timeline.barriers[Leg.SHARE] == 4600


@pytest.mark.rule("CLK-3")
def test_somebody_silent_may_work_on_after_the_round() -> None:
    silent = full() | {Leg.INPUT: LegCost(down_bytes=100)}
    del silent[Leg.UNMASK]
    timeline = play(fleet_of(FAST, FAST), {0: full(), 1: silent}, {0: 0, 1: 90_000_000})
    assert timeline.end == 4600 + 60_000_000 + 2300
    assert timeline.spans[-1].activity is Activity.MASK
    assert timeline.spans[-1].end == 4600 + 1100 + 90_000_000


@pytest.mark.rule("CLK-3")
def test_an_aborted_round_ends_at_its_last_leg() -> None:
    costs = {c: {leg: full()[leg] for leg in BASIC[:2]} for c in (0, 1)}
    timeline = play(fleet_of(FAST, FAST), costs, {})
    assert timeline.barriers == {Leg.ADVERTISE: 2300, Leg.SHARE: 4600}
    assert timeline.end == 4600
    with pytest.raises(PreconditionError, match=r"CLK-4: client 0 sent no masked update"):
        timeline.observed(0)


@pytest.mark.rule("CLK-3")
@pytest.mark.parametrize(
    ("costs", "fits", "timeout", "detail"),
    [
        ({}, {}, 1, "nobody takes part"),
        ({0: {}}, {}, 1, "nobody takes part"),
        ({2: full()}, {2: 0}, 1, "client 2 is not among the fleet's 2"),
        ({0: full()}, {}, 1, "client 0 trains, but has no fit time"),
        ({0: full() | {Leg.SHARE: LegCost(100)}}, {0: 0}, 1, "client 0 answers on a leg after it fell silent"),
        ({0: {Leg.SHARE: LegCost(1, up_bytes=1)}}, {0: 0}, 1, "client 0 answers on a leg after it fell silent"),
        ({0: full()}, {0: 0}, -1, "a timeout is at least 0 µs, got -1"),
    ],
)
def test_rounds_that_contradict_themselves(costs: Costs, fits: dict[int, int], timeout: int, detail: str) -> None:
    with pytest.raises(PreconditionError, match=rf"^CLK-3: {detail}"):
        play(fleet_of(FAST, FAST), costs, fits, timeout=Microseconds(timeout))


@pytest.mark.rule("CLK-3")
def test_a_public_time_before_the_leg_is_refused() -> None:
    with pytest.raises(PreconditionError, match=r"^CLK-3: uploads start at least 0 µs into their leg, got -1"):
        simulate(
            fleet=fleet_of(FAST),
            costs={0: full()},
            fits={0: Microseconds(0)},
            server_work=NO_WORK,
            units=UNITS,
            not_before=-1,
        )


def test_time_saturates() -> None:
    timeline = play(fleet_of(FAST, FAST), {0: full(), 1: full()}, {0: MAX_MICROSECONDS, 1: 5})
    assert timeline.end == timeline.barriers[Leg.INPUT] == MAX_MICROSECONDS


@given(st.lists(st.integers(0, 5)))
def test_events_come_in_time_order_and_ties_in_the_order_of_putting(times: list[int]) -> None:
    queue: EventQueue[int] = EventQueue()
    for k, at in enumerate(times):
        queue.put(Microseconds(at), k)
    taken = []
    while queue:
        taken.append(queue.take())
    assert taken == sorted((at, k) for k, at in enumerate(times))


DIGITS_MACS, DIGITS_BYTES = 1_250_000, 604_000


@pytest.mark.rule("CLK-2")
def test_a_fit_of_the_digits_model_takes_two_seconds_at_3_ghz() -> None:
    fleet = load_fleet("paper", clients=20, stragglers=4, seed=1)
    times = {
        client.device.name: mac_fit(device=client.device, macs_per_example=DIGITS_MACS, examples=64, epochs=2)
        for client in fleet.clients
    }
    assert times == {"cpu_3ghz": 2_000_000, "cpu_2ghz": 3_000_000}


@pytest.mark.rule("CLK-2")
@given(devices, st.integers(0, 10**9), st.integers(1, 500), st.integers(1, 5))
def test_mac_fits_follow_the_formula(device: Device, macs: int, examples: int, epochs: int) -> None:
    exact = Fraction(
        3 * macs * examples * epochs * int(device.slow_down), int(device.ghz * device.macs_per_cycle) * 1000
    )
    assert mac_fit(device=device, macs_per_example=macs, examples=examples, epochs=epochs) == half_up(exact)


@pytest.mark.rule("CLK-2")
def test_a_measured_fit_is_the_host_s_cycles_on_the_device() -> None:
    device = Device("d", ghz=2, macs_per_cycle=9, slow_down=10)
    # half a millisecond at 3 GHz is 1.5 M cycles: 0.75 ms at 2 GHz, ten times that here, for 4 · 2 examples
    fit = measured_fit(device=device, cpu_seconds_per_example=0.5**11, host_ghz=3, examples=4, epochs=2)
    assert fit == half_up(Fraction(1, 2**11) * Fraction(3, 2) * 10 * 8 * 10**6)


def digits_round(name: str) -> tuple[Fleet, Timeline]:
    """One unpruned round of the digits task, apart from the protocol's own work."""
    fleet = load_fleet(name, clients=10, stragglers=3, seed=3)
    costs = {
        c: {
            leg: LegCost(
                DIGITS_BYTES if leg is Leg.INPUT else 2000, up_bytes=DIGITS_BYTES if leg is Leg.INPUT else 2000
            )
            for leg in BASIC
        }
        for c in range(10)
    }
    fits = {
        c: mac_fit(device=p.device, macs_per_example=DIGITS_MACS, examples=64, epochs=2)
        for c, p in enumerate(fleet.clients)
    }
    return fleet, simulate(fleet=fleet, costs=costs, fits=fits, server_work=NO_WORK, units=UNITS)


def test_on_digits_4g_alone_makes_a_noticeable_but_not_an_absurd_straggler() -> None:
    fleet, timeline = digits_round("network")
    slow = fleet.stragglers[0]
    fast = next(c for c in range(10) if c not in fleet.stragglers)
    ratio = sum(attrs.astuple(timeline.observed(slow))) / sum(attrs.astuple(timeline.observed(fast)))
    assert 1.10 < ratio < 1.5


@pytest.mark.parametrize(
    ("name", "low", "high"), [("compute", 0.25, 1 / 3), ("network", 0.08, 0.2), ("paper", 0.28, 0.4)]
)
def test_bounds_of_the_shipped_fleets(name: str, low: float, high: float) -> None:
    fleet, timeline = digits_round(name)
    bound = round_bound(timeline_full=timeline, stragglers=fleet.stragglers)
    assert low < bound < high


def test_two_against_three_gigahertz_is_bounded_by_a_third() -> None:
    link = Network("instant", up_mbit=10**9, down_mbit=10**9, latency_ms=0)
    clients = tuple(ClientProfile(Device("d", ghz, 1, 1), link) for ghz in (3, 2, 3))
    fleet = Fleet("f", clients, (1,), SERVER, Microseconds(1), "")
    fits = {c: mac_fit(device=p.device, macs_per_example=10**6, examples=60, epochs=1) for c, p in enumerate(clients)}
    timeline = simulate(fleet=fleet, costs={c: full() for c in fits}, fits=fits, server_work=NO_WORK, units=UNITS)
    assert round_bound(timeline_full=timeline, stragglers={1}) == pytest.approx(1 / 3, abs=1e-12)


@pytest.mark.rule("CLK-6")
@given(cases(), st.sets(st.integers(0, 5)))
def test_the_bound_is_what_the_stragglers_speed_up_would_save(case: Case, stragglers: set[int]) -> None:
    fleet, costs, fits, server_work, timeout = case
    timeline = run(case)
    bound = round_bound(timeline_full=timeline, stragglers=stragglers)
    answers = {c: legs[Leg.INPUT] for c, legs in costs.items() if Leg.INPUT in legs and legs[Leg.INPUT].up_bytes}
    others = [
        own_time(fleet.clients[c], Leg.INPUT, cost, fits[c]) for c, cost in answers.items() if c not in stragglers
    ]
    if not others:
        assert bound == 0.0
        return
    # the same round, with each straggler's whole leg cut to that of the slowest of the others
    slowest = max(others)
    legs = {
        leg: end - start
        for (leg, end), start in zip(timeline.barriers.items(), [0, *timeline.barriers.values()], strict=False)
    }
    silent = Leg.INPUT in timeline.patience
    legs[Leg.INPUT] = min(legs[Leg.INPUT], max(slowest, timeout) if silent else slowest)
    ideal = sum(legs.values()) + takes(server_work, fleet.server)
    assert bound == (float(1 - Fraction(ideal, timeline.end)) if timeline.end else 0.0)
    assert 0.0 <= bound < 1.0


def test_no_stragglers_no_bound() -> None:
    _, timeline = digits_round("compute")
    assert round_bound(timeline_full=timeline, stragglers=()) == 0.0
    assert round_bound(timeline_full=timeline, stragglers=range(10)) == 0.0
    fleet, uniform = digits_round("uniform")
    assert round_bound(timeline_full=uniform, stragglers={1, 2}) == 0.0
    assert round_bound(timeline_full=uniform, stragglers=fleet.stragglers) == 0.0
    link = Network("instant", up_mbit=10**9, down_mbit=10**9, latency_ms=0)
    at_once = Fleet("f", (ClientProfile(FAST, link),) * 2, (1,), SERVER, Microseconds(1), "")
    timeline = play(at_once, {0: full(), 1: full()}, {0: 0, 1: 0})
    assert timeline.end == 0
    assert round_bound(timeline_full=timeline, stragglers={1}) == 0.0
