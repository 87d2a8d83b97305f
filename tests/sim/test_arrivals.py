"""What arrival times tell: the measures are what they are called, and the runs say what they must."""

import itertools
import json
import math
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import arrivals
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.errors import PreconditionError
from clip_ref.params import HARDENED_POLICY, NO_PRUNING, PruningPolicy
from clip_ref.round.cost import LEGS, Leg, LegCost, Work
from clip_ref.sim.arrivals import BINS, SCORES, Sight, Told, sights, told, varied
from clip_ref.sim.clock import simulate
from clip_ref.sim.costs import DECLARED
from clip_ref.sim.fleet import ClientProfile, Device, Fleet, Network, load_fleet
from clip_ref.values import Microseconds

ROOT = Path(__file__).parent.parent.parent
HOOK = runpy.run_path(str(ROOT / "spec" / "hooks" / "arrivals.py"))

some_scores = st.lists(st.integers(0, 30), min_size=1, max_size=25)


@pytest.mark.rule("DDL-5")
@given(some_scores, some_scores)
def test_the_measures_are_what_they_are_called(slow: list[float], others: list[float]) -> None:
    found = told(slow=slow, others=others)
    pairs = [(a > b) + (a == b) / 2 for a, b in itertools.product(slow, others)]
    area = sum(pairs) / len(pairs)
    assert found.auc == pytest.approx(max(area, 1 - area))

    def rate(scores: Sequence[float], threshold: float) -> float:
        return sum(score >= threshold for score in scores) / len(scores)

    thresholds = [*slow, *others, math.inf]
    assert found.advantage == pytest.approx(max(abs(rate(slow, x) - rate(others, x)) for x in thresholds))
    share = len(slow) / (len(slow) + len(others))
    most = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    assert 0 <= found.bits <= most + 1e-9
    assert found.auc <= 1 - (1 - found.advantage) ** 2 / 2 + 1e-9
    mirrored = told(slow=[-x for x in slow], others=[-x for x in others])
    assert (mirrored.auc, mirrored.advantage) == pytest.approx((found.auc, found.advantage))


@pytest.mark.rule("DDL-5")
def test_certainty_and_ignorance() -> None:
    assert told(slow=[5] * 4, others=[5] * 16) == Told(0.5, 0.0, 0.0)
    known = told(slow=[9, 8], others=[*range(8)])
    assert (known.auc, known.advantage) == (1.0, 1.0)
    assert known.bits == pytest.approx(-0.2 * math.log2(0.2) - 0.8 * math.log2(0.8))
    assert BINS == 10  # so that a fifth is a whole number of bins


@pytest.mark.rule("DDL-5")
@pytest.mark.parametrize(("slow", "others"), [([], [1.0]), ([1.0], [])])
def test_a_score_needs_somebody_to_find_and_somebody_else(slow: list[float], others: list[float]) -> None:
    with pytest.raises(PreconditionError, match=r"^DDL-5: .* some of both kinds"):
        told(slow=slow, others=others)


@pytest.mark.rule("DDL-4")
def test_what_the_server_sees_by_hand() -> None:
    link = Network("link", up_mbit=8, down_mbit=8, latency_ms=1)  # a byte a microsecond, after a millisecond
    device = Device("d", ghz=1, macs_per_cycle=1, slow_down=1)
    fleet = Fleet("f", (ClientProfile(device, link),) * 2, (), device, Microseconds(1), "")
    costs = {c: {leg: LegCost(down_bytes=100, up_bytes=200 + 50 * c) for leg in LEGS} for c in (0, 1)}
    fits = {0: Microseconds(5000), 1: Microseconds(7000)}
    free = simulate(fleet=fleet, costs=costs, fits=fits, server_work=Work(), units=DECLARED)
    # set-up: down 1100, up 1200 or 1250, twice
    seen = sights(timeline=free, fleet=fleet)
    assert seen[0] == Sight(arrival=7300, corrected=2700, first_byte=7100, transfer=200, setup=4600)
    assert seen[1] == Sight(arrival=9350, corrected=4650, first_byte=9100, transfer=250, setup=4700)
    held = simulate(fleet=fleet, costs=costs, fits=fits, server_work=Work(), units=DECLARED, not_before=20_000)
    assert [sight.first_byte for sight in sights(timeline=held, fleet=fleet).values()] == [21_000, 21_000]
    silent = costs | {1: {leg: cost for leg, cost in costs[1].items() if leg in LEGS[:2]}}
    assert set(
        sights(timeline=simulate(fleet=fleet, costs=silent, fits=fits, server_work=Work(), units=DECLARED), fleet=fleet)
    ) == {0}


def test_a_varied_fleet_is_a_function_of_its_seed() -> None:
    fleet = load_fleet("paper", clients=5, stragglers=2, seed=1)
    one = varied(fleet=fleet, sigma=0.1, seed=(1, 2))
    assert one == varied(fleet=fleet, sigma=0.1, seed=(1, 2))
    assert one != varied(fleet=fleet, sigma=0.1, seed=(1, 3))
    assert one.clients[0].device.slow_down == pytest.approx(49.355852733665, rel=1e-12)
    unmoved = varied(fleet=fleet, sigma=0.0, seed=(1, 2))
    assert unmoved == fleet
    assert one.stragglers == fleet.stragglers


@pytest.fixture(scope="module")
def billed() -> arrivals.Costs:
    return arrivals.costs()


def seen(policy: PruningPolicy, billed: arrivals.Costs, fleet: str = "compute", seeds: int = 3) -> list[arrivals.Seen]:
    return [arrivals.run(fleet, policy, seed, billed, rounds=4) for seed in range(seeds)]


def auc(runs: Sequence[arrivals.Seen], score: str, window: slice = arrivals.LATE) -> float:
    return arrivals.scored(runs, window, score, pruners=False).auc


@pytest.mark.rule("DDL-1", "DDL-3")
def test_with_equal_links_deadline_mode_leaves_nothing_in_the_arrival(
    billed: arrivals.Costs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variation: the links of the fleet `compute` are equal. Then without deadline mode all is seen, and with it nothing."""
    monkeypatch.setattr(arrivals, "SPREAD", 0.0)
    monkeypatch.setattr(arrivals, "JITTER", 0.0)
    held, free = seen(arrivals.POLICIES["deadline"], billed), seen(NO_PRUNING, billed)
    for window in (arrivals.EARLY, arrivals.LATE):
        assert auc(held, "arrival", window) == auc(held, "first_byte", window) == 0.5
        assert auc(free, "arrival", window) == auc(free, "first_byte", window) == 1.0
        assert auc(held, "setup", window) == 1.0  # what it does not hide
    assert all(one.pruned == one.slow for one in held)
    assert all(not one.pruned for one in free)


@pytest.mark.rule("DDL-2", "DDL-4", "DDL-5")
def test_with_jitter_the_order_of_the_modes_holds(billed: arrivals.Costs) -> None:
    none, clip = seen(NO_PRUNING, billed), seen(HARDENED_POLICY, billed)
    held = seen(arrivals.POLICIES["deadline"], billed)
    assert auc(none, "arrival") > 0.98
    assert auc(clip, "arrival", arrivals.EARLY) > 0.98
    assert auc(held, "arrival", arrivals.EARLY) < 0.7
    assert auc(held, "arrival") < auc(clip, "arrival") < auc(none, "arrival")


def test_the_modes_see_the_same_chance(billed: arrivals.Costs) -> None:
    """The hold changes nothing of what the clients declare, so the plans are equal."""
    for free, held in zip(seen(HARDENED_POLICY, billed), seen(arrivals.POLICIES["deadline"], billed), strict=True):
        assert free.pruned == held.pruned
        assert [{u: s.setup for u, s in one.items()} for one in free.rounds] == [
            {u: s.setup for u, s in one.items()} for one in held.rounds
        ]
        assert all(a <= b for a, b in zip(free.seconds, held.seconds, strict=True))


def test_who_prunes_scores_the_model_and_encodes_less(billed: arrivals.Costs) -> None:
    legs = billed[0][0]
    assert arrivals.pruned_costs(legs, 1000) == legs
    cost = arrivals.pruned_costs(legs, 500)
    assert cost[Leg.INPUT].work.scored == arrivals.LAYOUT.size
    assert cost[Leg.INPUT].masking.coded == arrivals.SMALL[500].size < legs[Leg.INPUT].masking.coded
    assert {leg: cost[leg] for leg in LEGS if leg is not Leg.INPUT} == {
        leg: legs[leg] for leg in LEGS if leg is not Leg.INPUT
    }


def test_the_layout_is_that_of_the_digits_model() -> None:
    from clip_ref.train.pool import Pool

    with Pool("digits", clients=2, workers=0) as pool:
        assert pool.layout == arrivals.LAYOUT


RESULT: dict[str, Any] = json.loads((ROOT / HOOK["RESULT"]).read_text("utf-8"))


def test_the_tables_show_all_of_the_result() -> None:
    text = HOOK["tables"](RESULT)
    assert tuple(HOOK["SCORES"]) == SCORES
    for fleet in arrivals.FLEETS:
        assert text.count(f"| {fleet} | ") == 2 * len(arrivals.ROWS) - 1 + len(arrivals.POLICIES)
    one = RESULT["fleets"]["compute"]["slow"]["deadline, after the warm-up"]
    cells = [f"{one['scores'][score]['auc']:.2f}" for score in SCORES]
    assert f"| compute | deadline, after the warm-up | {' | '.join(cells)} |" in text
    assert HOOK["PLACE"] in (ROOT / "spec" / "deadline.md").read_text("utf-8")


@pytest.mark.parametrize("fleet", arrivals.FLEETS)
def test_the_result_says_what_the_page_says(fleet: str) -> None:
    """In plain words, on the page; if the numbers move so far, the words must, too."""
    slow = RESULT["fleets"][fleet]["slow"]

    def number(name: str, score: str) -> float:
        found: float = slow[name]["scores"][score]["auc"]
        return found

    assert all(row["scores"][row["best"]]["auc"] > 0.95 for row in slow.values())
    assert number("deadline, after the warm-up", "setup") > 0.95
    if fleet == "compute":
        assert number("no CLIP", "arrival") > 0.98 < number("CLIP, with the warm-up", "arrival")
        assert 0.7 < number("CLIP, after the warm-up", "arrival") < 0.9
        assert number("deadline, with the warm-up", "arrival") < 0.65
        assert number("deadline, but not in the warm-up", "arrival") > 0.98
    if fleet == "network":
        assert number("deadline, after the warm-up", "arrival") > number("no CLIP", "arrival") + 0.1


@pytest.mark.slow
def test_the_result_is_what_is_measured() -> None:
    assert arrivals.measure(seeds=RESULT["seeds"]) == RESULT
