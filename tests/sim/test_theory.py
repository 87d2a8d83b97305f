"""Theory: how long a round of a small fleet takes, on paper. A cycle of these devices takes 1 µs, and so does a byte on these
links, so that there is nothing to round and each formula is one line.

`test_clock.py` holds every timeline against a closed form of its costs, leg by leg; here nothing is counted by the program: the
lengths of messages and the work in a round are polynomials in the number of clients n and the model's size d.
"""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rounds import GRID, LAYOUT, clients_of, directory_of, params_of, policy_of, state_of, train

from clip_ref.round import LEGS, DropOut, Leg, LegCost, RoundResult, Server, Work, ids, run_round
from clip_ref.sim.clock import Timeline, measured_fit, round_bound, simulate
from clip_ref.sim.costs import UnitCosts
from clip_ref.sim.fleet import ClientProfile, Device, Fleet, Network
from clip_ref.values import ClientId, Microseconds

UNITS = UnitCosts(
    scalar_multiplication=5000,
    mask_byte=1,
    sealed_byte=2,
    shared_byte=3,
    hashed_byte=4,
    signature=7000,
    scored=6,
    coded=8,
)
LATENCY = 9000
BASIC: list[Leg] = [leg for leg in LEGS if leg is not Leg.CONSISTENCY]
D, G = LAYOUT.size, len(GRID)


def device(slow: int = 1) -> Device:
    """A cycle takes `slow` µs."""
    return Device(f"1/{slow}", ghz=0.001, macs_per_cycle=1, slow_down=slow)


def link(slow: int = 1) -> Network:
    """A byte takes `slow` µs after LATENCY."""
    return Network(f"1/{slow}", up_mbit=8 / slow, down_mbit=8 / slow, latency_ms=LATENCY / 1000)


def fleet(devices: Sequence[int], links: Sequence[int] | None = None, timeout: int = 10**9) -> Fleet:
    each = zip(devices, links or [1] * len(devices), strict=True)
    clients = tuple(ClientProfile(device(slow), link(far)) for slow, far in each)
    return Fleet("on paper", clients, (), device(), Microseconds(timeout), "")


def micro(times: Mapping[int, int]) -> dict[int, Microseconds]:
    return {int(client): Microseconds(time) for client, time in times.items()}


# A whole round at level `basic`, from n, t and d alone: nothing below is read off the program's own counts.


def transfer(n: int) -> int:
    """All that a client receives and sends: eight messages, two lists of n, twice n - 1 envelopes, the model and its update."""
    headers = 8 * 35
    fixed = 136 + 64 + 4 + 4 + (4 + 4) + (4 + 4) + (4 + 4)
    lists = n * (4 + 64) + n * 4 + n * (4 + 32)
    envelopes = 2 * (n - 1) * (4 + (4 + 64 + 16) + (4 + 71 + 8 * G + 16))
    return headers + fixed + lists + envelopes + 4 * D + 4 * (D + G)


def setting_up(n: int, t: int) -> int:
    """Cycles of keys, shares and sealed records."""
    return 5000 * (2 + (n - 1)) + 3 * (64 * n * t) + 2 * ((n - 1) * (64 + 71 + 8 * G))


def opening(n: int) -> int:
    """Cycles of opening the records and checking the model."""
    return 2 * ((n - 1) * (64 + 71 + 8 * G)) + 4 * 4 * D


def masking(n: int, held: int) -> int:
    """Cycles of encoding so many coordinates, and of n masks."""
    return 8 * held + 5000 * (n - 1) + n * 4 * (D + G)


def unmasking(n: int, t: int, *, pruned: bool = False) -> int:
    """The server's cycles."""
    return n * 4 * (D + G) + 3 * (32 * n * t) + 8 * D + 6 * D * pruned


def played(n: int, *, slow: Sequence[int] = (), gone: ClientId | None = None) -> RoundResult:
    """The protocol's own run; the slow ones prune, of even ids to 500 ‰."""
    params = params_of(policy_of(), clients=n, threshold=2)
    roster = ids(n)
    return run_round(
        server=Server(params=params, layout=LAYOUT, state=state_of(), directory=directory_of(params, roster)),
        clients=clients_of(params, roster, [ClientId(u) for u in slow]),
        train=train,
        drop_outs={} if gone is None else {gone: DropOut(Leg.INPUT, False)},
    )


def clocked(found: RoundResult, there: Fleet, fits: Mapping[int, int]) -> Timeline:
    return simulate(
        fleet=there,
        costs={int(u): legs for u, legs in found.costs.items()},
        fits=micro(fits),
        server_work=found.server_work,
        units=UNITS,
    )


@pytest.mark.rule("CLK-1", "CLK-3")
@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_round_of_alike_clients_from_n_and_d(n: int) -> None:
    fit = 70_000
    timeline = clocked(played(n), fleet([1] * n), dict.fromkeys(range(n), fit))
    work = setting_up(n, 2) + opening(n) + masking(n, D)
    assert timeline.end == 8 * LATENCY + transfer(n) + work + fit + unmasking(n, 2)


@pytest.mark.rule("CLK-1", "CLK-3")
@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("times", [2, 5])
def test_one_slow_processor_makes_everybody_wait_for_all_of_its_work(n: int, times: int) -> None:
    fit = 70_000
    timeline = clocked(
        played(n), fleet([1] * (n - 1) + [times]), {u: fit * (times if u == n - 1 else 1) for u in range(n)}
    )
    work = setting_up(n, 2) + opening(n) + masking(n, D) + fit
    assert timeline.end == 8 * LATENCY + transfer(n) + times * work + unmasking(n, 2)


@pytest.mark.rule("CLK-3")
@pytest.mark.parametrize("n", [2, 3, 4])
def test_one_slow_link_makes_everybody_wait_for_all_of_its_bytes(n: int) -> None:
    fit = 70_000
    timeline = clocked(played(n), fleet([1] * n, [3] + [1] * (n - 1)), dict.fromkeys(range(n), fit))
    work = setting_up(n, 2) + opening(n) + masking(n, D)
    assert timeline.end == 8 * LATENCY + 3 * transfer(n) + work + fit + unmasking(n, 2)


@pytest.mark.rule("CLK-3", "CLK-6")
@pytest.mark.parametrize("n", [3, 4])
@pytest.mark.parametrize("left", [20_000, 90_000, 130_000])
def test_a_straggler_that_prunes_is_waited_for_no_longer_than_the_others(n: int, left: int) -> None:
    # client 2 keeps 500 ‰: weights and biases between layers of 2, 3, 2 and 2 neurons, not 2, 6, 4 and 2
    held, fit, times = 2 * 3 + 3 + 3 * 2 + 2 + 2 * 2 + 2, 70_000, 2
    slow = [times if u == 2 else 1 for u in range(n)]
    found = played(n, slow=[2])
    assert found.assignments[ClientId(2)].verdict.keep == 500
    there = fleet(slow)
    pruned = clocked(found, there, {u: left if u == 2 else fit for u in range(n)})
    own = times * (opening(n) + 6 * D + masking(n, held)) + left
    others = opening(n) + masking(n, D) + fit
    common = 8 * LATENCY + transfer(n) + times * setting_up(n, 2) + unmasking(n, 2, pruned=True)
    assert pruned.end == common + max(own, others)
    # and no other way of pruning could have saved more than what lies between it and the others
    full = clocked(found, there, {u: fit * slow[u] for u in range(n)})
    bound = round_bound(timeline_full=full, stragglers=[2])
    assert 1 - pruned.end / full.end <= bound + 1e-12
    assert (1 - pruned.end / full.end == pytest.approx(bound, abs=1e-12)) == (own <= others)


@pytest.mark.rule("CLK-3")
@pytest.mark.parametrize("n", [3, 4])
def test_a_drop_out_costs_the_timeout_and_the_taking_off_of_its_mask(n: int) -> None:
    timeout, fit = 5_000_000, 70_000
    timeline = clocked(played(n, gone=ClientId(0)), fleet([1] * n, timeout=timeout), dict.fromkeys(range(n), fit))
    # leg `input` is the timeout instead of its own length; the survivors are told of one fewer, and name it all the same
    input_bytes = 2 * 35 + (4 + (n - 1) * (179 + 8 * G)) + 4 + 4 * D + 4 * (D + G)
    others = 6 * LATENCY + transfer(n) - input_bytes - 4 + setting_up(n, 2)
    # n - 1 self masks and as many pairs with the one that is gone, whose key is put together and multiplied with each
    server = 2 * (n - 1) * 4 * (D + G) + 3 * (32 * n * 2) + 5000 * (1 + (n - 1)) + 8 * D
    assert timeline.end == others + timeout + server
    assert timeline.patience == {Leg.INPUT: timeline.barriers[Leg.INPUT]}


# A round apart from the protocol: every leg the same, with 1 byte down and 1 byte up, 2 · WAY of transfer.

WAY = LATENCY + 1


def legs(answers: int = len(BASIC)) -> dict[Leg, LegCost]:
    """So many legs that are answered, and if that is not all, one that is not."""
    out: dict[Leg, LegCost] = {leg: LegCost(down_bytes=1, up_bytes=1) for leg in BASIC[:answers]}
    return out | {leg: LegCost(down_bytes=1) for leg in BASIC[answers : answers + 1]}


def plain(
    there: Fleet, fits: Sequence[int], *, answers: Sequence[int] | None = None, not_before: int = 0, server: int = 0
) -> Timeline:
    return simulate(
        fleet=there,
        costs={u: legs(4 if answers is None else answers[u]) for u in range(len(fits))},
        fits=micro(dict(enumerate(fits))),
        server_work=Work(mask_bytes=server),
        units=UNITS,
        not_before=not_before,
    )


times = st.integers(0, 10**6)
some_fits = st.lists(times, min_size=1, max_size=4)


@pytest.mark.rule("CLK-3")
@given(some_fits, times)
def test_of_alike_links_the_slowest_fit_decides(fits: list[int], server: int) -> None:
    assert plain(fleet([1] * len(fits)), fits, server=server).end == 8 * WAY + max(fits) + server


@pytest.mark.rule("CLK-3")
@given(st.lists(st.tuples(times, st.integers(1, 9)), min_size=1, max_size=4))
def test_a_fast_processor_does_not_make_up_for_a_slow_link(clients: list[tuple[int, int]]) -> None:
    fits, links = zip(*clients, strict=True)
    timeline = plain(fleet([1] * len(fits), links), fits)
    ways = 2 * LATENCY + 2 * max(links)
    assert timeline.end == 3 * ways + max(2 * LATENCY + 2 * far + fit for fit, far in clients)


@pytest.mark.rule("CLK-5")
@given(some_fits, st.integers(1, 2 * 10**6))
def test_in_deadline_mode_a_round_of_alike_links_is_the_later_of_the_deadline_and_the_slowest(
    fits: list[int], not_before: int
) -> None:
    timeline = plain(fleet([1] * len(fits)), fits, not_before=not_before)
    assert timeline.end == 6 * WAY + max(not_before, WAY + max(fits)) + WAY


@pytest.mark.rule("CLK-5")
def test_in_deadline_mode_a_slow_link_begins_with_the_others_and_ends_after_them() -> None:
    # client 1 trains 40 ms less than client 0, and is ready before the public time; its link takes 5 µs for a byte
    timeline = plain(fleet([1, 1], [1, 5]), [50_000, 10_000], not_before=100_000)
    assert timeline.arrivals(Leg.INPUT) == (
        (2 * (2 * LATENCY + 10) + 100_000 + LATENCY + 1, 0),
        (2 * (2 * LATENCY + 10) + 100_000 + LATENCY + 5, 1),
    )


@pytest.mark.rule("CLK-3")
@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), some_fits, st.integers(10**7, 10**8))
def test_each_leg_on_which_anybody_falls_silent_costs_one_timeout(
    silent: list[int], fits: list[int], timeout: int
) -> None:
    # one client at least goes through; silent ones answer on so many legs
    answers = [4, *silent][: max(len(fits), 1)]
    fits = (fits * 4)[: len(answers)]
    timeline = plain(fleet([1] * len(answers), timeout=timeout), fits, answers=answers)
    waited = {leg for k, leg in enumerate(BASIC) if k in answers}
    train = [fit for fit, k in zip(fits, answers, strict=True) if k > BASIC.index(Leg.INPUT)]
    quick = sum(2 * WAY + (max(train) if leg is Leg.INPUT else 0) for leg in BASIC if leg not in waited)
    assert timeline.end == quick + timeout * len(waited)
    assert set(timeline.patience) == waited


@pytest.mark.rule("CLK-2", "CLK-6")
@given(st.integers(1, 10**6), st.integers(2, 60), st.integers(1, 3))
def test_a_processor_k_times_slower_costs_k_minus_1_fits_and_pruning_gives_them_back(
    fit: int, k: int, fast: int
) -> None:
    there = fleet([1] * fast + [k])
    own = {
        u: measured_fit(device=c.device, cpu_seconds_per_example=fit, host_ghz=1e-6, examples=1, epochs=1)
        for u, c in enumerate(there.clients)
    }
    assert own[fast] == k * own[0] == k * 1000 * fit
    full = plain(there, list(own.values()))
    assert full.end == 8 * WAY + k * own[0]
    pruned = plain(there, [own[0]] * (fast + 1))
    assert full.end - pruned.end == (k - 1) * own[0]
    assert round_bound(timeline_full=full, stragglers=[fast]) == pytest.approx((k - 1) * own[0] / full.end)
