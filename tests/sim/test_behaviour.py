"""How fleets behave: what is written is what is meant, streams never change, shares are exact, and nonsense is refused."""

import json
import math
import statistics
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.errors import PreconditionError
from clip_ref.sim.fleet import Behaviour, Fleet, load_fleet

FLEETS = st.sampled_from(("paper", "compute", "network", "uniform", "both", "net2g", "cpu1v4", "worst"))

COUNTS = st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1)))
"""So many clients, of whom so many are slow."""

SHARES = st.integers(0, 900).map(lambda mille: mille / 1000)


def fleet(text: str, *, clients: int = 20, stragglers: int = 4, seed: int = 1) -> Fleet:
    return load_fleet(text, clients=clients, stragglers=stragglers, seed=seed)


def half_up(exact: Fraction) -> int:
    return math.floor(exact + Fraction(1, 2))


@pytest.mark.parametrize(
    ("name", "fast", "slow"),
    [
        ("both", (3, "net_5g"), [(2, "net_4g")]),
        ("net4g", (3, "net_5g"), [(3, "net_4g")]),
        ("net3g", (3, "net_5g"), [(3, "net_3g")]),
        ("net2g", (3, "net_5g"), [(3, "net_2g")]),
        ("cpu1v4", (4, "net_5g"), [(1, "net_5g")]),
        ("worst", (4, "net_5g"), [(1, "net_2g")]),
        ("paper", (3, "net_5g"), [(2, "net_5g"), (3, "net_4g"), (2, "net_4g")]),
    ],
)
def test_who_is_slow_in_what(name: str, fast: tuple[int, str], slow: list[tuple[int, str]]) -> None:
    found = fleet(name, stragglers=3)
    kinds = [(client.device.ghz, client.network.name) for client in found.clients]
    assert [kinds[u] for u in found.stragglers] == [slow[k % len(slow)] for k in range(3)]
    assert {kind for u, kind in enumerate(kinds) if u not in found.stragglers} == {fast}
    assert found.behaviour == Behaviour()


# --- What is written ---


@pytest.mark.rule("FLT-6")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("+jitter:0.1", {"fit_jitter": 0.1, "network_jitter": 0.1}),
        ("+jitter:0/0.25", {"fit_jitter": 0, "network_jitter": 0.25}),
        ("+churn:0.3", {"churn": 0.3}),
        ("+liars:0.2x3", {"liars": 0.2, "lie": 3}),
        ("+liars:1x0.5", {"liars": 1, "lie": 0.5}),
        ("+stragglers:0.5", {"stragglers": 0.5}),
        ("+median:3", {"median": 3}),
        ("+slow_down:12.5", {"slow_down": 12.5}),
        (
            "+median:5+liars:0.1x2+jitter:0.1+churn:0.5",
            {"median": 5, "liars": 0.1, "lie": 2, "fit_jitter": 0.1, "network_jitter": 0.1, "churn": 0.5},
        ),
    ],
)
def test_behaviour_after_any_fleet_s_name(text: str, expected: dict[str, Any], tmp_path: Path) -> None:
    plain = fleet("paper")
    found = fleet("paper" + text)
    assert found.behaviour == Behaviour(**expected)
    assert found.name == "paper" + text
    assert (found.server, found.note, found.timeout) == (plain.server, plain.note, plain.timeout)
    file = own(tmp_path, {})
    assert fleet(f"{file}{text}").behaviour == Behaviour(**expected)
    assert fleet(f"{file}{text}").name == "own" + text


def own(where: Path, behaviour: dict[str, Any], *, name: str = "own.json") -> Path:
    """A fleet's file with this behaviour."""
    entry = {
        "note": "one's own",
        "fast": {"device": "cpu_3ghz", "network": "net_5g"},
        "slow": [{"device": "cpu_1ghz", "network": "net_3g"}],
        "server": "server_3ghz",
        "timeout_s": 60,
    }
    file = where / name
    file.write_text(json.dumps({"fleet": entry | behaviour}), "utf-8")
    return file


@pytest.mark.rule("FLT-6")
def test_a_file_s_behaviour_and_what_is_put_in_its_place(tmp_path: Path) -> None:
    written = {
        "jitter": {"fit": 0.1, "network": 0.2},
        "churn": 0.3,
        "liars": {"share": 0.1, "factor": 3},
        "stragglers": 0.25,
        "median": 3,
    }
    file = own(tmp_path, written)
    expected = Behaviour(fit_jitter=0.1, network_jitter=0.2, churn=0.3, liars=0.1, lie=3, stragglers=0.25, median=3)
    assert fleet(str(file)).behaviour == expected
    assert fleet(str(own(tmp_path, {}, name="b.json")) + "+jitter:0.1/0.2+churn:0.3").behaviour == Behaviour(
        fit_jitter=0.1, network_jitter=0.2, churn=0.3
    )
    assert fleet(f"{file}+churn:0+median:1").behaviour == attrs.evolve(expected, churn=0, median=1)


@pytest.mark.rule("FLT-6")
def test_a_file_may_have_a_plus_in_its_name(tmp_path: Path) -> None:
    for name in ("home+work.json", "a+churn:0.5", "paper+b.json"):
        file = own(tmp_path, {}, name=name)
        assert fleet(str(file)).behaviour == Behaviour()
        assert fleet(f"{file}+churn:0.2").behaviour == Behaviour(churn=0.2)
    with pytest.raises(PreconditionError, match=r"FLT-3: no file .*gone\+away\.json; fleets that need no file"):
        fleet(f"{tmp_path}/gone+away.json+churn:0.2")


@pytest.mark.rule("FLT-1")
def test_an_unknown_fleet_with_behaviour_is_an_unknown_fleet() -> None:
    for text in ("papre+churn:0.3", "+churn:0.3"):
        with pytest.raises(PreconditionError, match=r"FLT-1: no fleet '(papre)?'; there are paper"):
            fleet(text)


@pytest.mark.rule("FLT-6")
@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("paper+", "paper+: no behaviour ''; there are jitter, churn, liars, stragglers, slow_down, median"),
        ("paper+jiter:0.1", "paper+jiter:0.1: no behaviour 'jiter'; there are jitter"),
        ("paper+jitter", "paper+jitter: not 'jitter' but jitter:SIGMA or FIT/NETWORK"),
        ("paper+jitter:", "not 'jitter:' but jitter:SIGMA or FIT/NETWORK"),
        ("paper+jitter:0.1/", "not 'jitter:0.1/' but"),
        ("paper+jitter:a", "not 'jitter:a' but"),
        ("paper+jitter:-0.1", "not 'jitter:-0.1' but"),
        ("paper+jitter:nan", "not 'jitter:nan' but"),
        ("paper+jitter:1e-1", "not 'jitter:1e-1' but"),
        ("paper+jitter:٣", "not 'jitter:٣' but"),
        ("paper+churn:0.3:0.4", "not 'churn:0.3:0.4' but churn:SHARE"),
        ("paper+churn: 0.3", "not 'churn: 0.3' but churn:SHARE"),
        ("paper+churn:0.3\n", "but churn:SHARE"),
        ("paper+churn:30%", "not 'churn:30%' but churn:SHARE"),
        ("paper+liars:0.1", "not 'liars:0.1' but liars:SHARExFACTOR"),
        ("paper+liars:0.1x", "not 'liars:0.1x' but liars:SHARExFACTOR"),
        ("paper+stragglers:", "not 'stragglers:' but stragglers:SHARE"),
        ("paper+median:three", "not 'median:three' but median:ROUNDS"),
        ("paper+churn:0.1+churn:0.2", "paper+churn:0.1+churn:0.2: has churn twice"),
    ],
)
def test_malformed_behaviour_is_refused_by_name(text: str, detail: str) -> None:
    with pytest.raises(PreconditionError) as caught:
        fleet(text)
    assert caught.value.rule == "FLT-6"
    assert detail in caught.value.detail


@pytest.mark.rule("FLT-7")
@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("jitter:2.1", "jitter is a number 0 … 2, got 2.1"),
        ("jitter:0/3", "jitter is a number 0 … 2, got 3"),
        ("churn:1", "churn is a number 0 … 0.9, got 1"),
        ("churn:0.95", "churn is a number 0 … 0.9, got 0.95"),
        ("liars:1.5x2", "the share of liars is a number 0 … 1, got 1.5"),
        ("liars:0.1x0", "the factor of liars is a finite number above 0, got 0"),
        ("slow_down:0", "slow_down is a finite number above 0, got 0"),
        ("stragglers:0.6", "the share of stragglers is a number 0 … 0.5, got 0.6"),
        ("median:2", "a median is of an odd number 1 … 99 of rounds, got 2"),
        ("median:0", "a median is of an odd number 1 … 99 of rounds, got 0"),
        ("median:101", "a median is of an odd number 1 … 99 of rounds, got 101"),
        ("median:3.0", "a median is of an odd number 1 … 99 of rounds, got 3.0"),
    ],
)
def test_behaviour_out_of_range_is_refused(text: str, detail: str) -> None:
    with pytest.raises(PreconditionError) as caught:
        fleet("paper+" + text)
    assert (caught.value.rule, caught.value.detail) == ("FLT-7", f"fleets.paper: {detail}")


@pytest.mark.rule("FLT-4", "FLT-7")
@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        ({"jitter": 0.1}, r"FLT-4: fleet\.jitter: must be a JSON object"),
        ({"jitter": {"fit": 0.1}}, r"FLT-4: fleet\.jitter: lacks network"),
        ({"jitter": {"fit": 0.1, "network": 0, "gpu": 1}}, r"FLT-4: fleet\.jitter: has an unknown entry gpu"),
        ({"jitter": {"fit": "0.1", "network": 0}}, r"FLT-7: fleet: jitter is a number 0 … 2, got '0\.1'"),
        ({"jitter": {"fit": 0, "network": float("nan")}}, r"FLT-7: fleet: jitter is a number 0 … 2, got nan"),
        ({"jitter": {"fit": -0.1, "network": 0}}, r"FLT-7: fleet: jitter is a number 0 … 2, got -0\.1"),
        ({"churn": True}, r"FLT-7: fleet: churn is a number 0 … 0\.9, got True"),
        ({"churn": {"": 0.3}}, r"FLT-7: fleet: churn is a number"),
        ({"liars": {"share": 0.1}}, r"FLT-4: fleet\.liars: lacks factor"),
        (
            {"liars": {"share": 0.1, "factor": float("inf")}},
            r"FLT-7: fleet: the factor of liars is a finite number above 0, got inf",
        ),
        ({"slow_down": "1"}, r"FLT-7: fleet: slow_down is a finite number above 0, got '1'"),
        ({"stragglers": ""}, r"FLT-7: fleet: the share of stragglers is a number 0 … 0\.5, got ''"),
        ({"median": True}, r"FLT-7: fleet: a median is of an odd number 1 … 99 of rounds, got True"),
        ({"gossip": 1}, r"FLT-4: fleet: has an unknown entry gossip"),
    ],
)
def test_malformed_behaviour_in_a_file_is_refused_by_name(
    behaviour: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(PreconditionError, match=f"^{problem}"):
        fleet(str(own(tmp_path, behaviour)))


# --- Jitter ---


def factors(base: Fleet, today: Fleet) -> list[tuple[float, float]]:
    """By how much each client's processor and link is slower today."""
    out = []
    for plain, now in zip(base.clients, today.clients, strict=True):
        link = plain.network.up_mbit / now.network.up_mbit
        assert plain.network.down_mbit / now.network.down_mbit == pytest.approx(link)
        assert now.network.latency_ms / plain.network.latency_ms == pytest.approx(link)
        assert (now.device.ghz, now.device.macs_per_cycle) == (plain.device.ghz, plain.device.macs_per_cycle)
        out.append((now.device.slow_down / plain.device.slow_down, link))
    return out


@pytest.mark.rule("FLT-8")
@given(FLEETS, COUNTS, st.integers(0, 2**63 - 1), st.integers(1, 2**32), SHARES)
def test_jitter_follows_from_seed_round_and_client_alone(
    name: str, counts: tuple[int, int], seed: int, round: int, churn: float
) -> None:
    clients, stragglers = counts
    steady = fleet(name, clients=clients, stragglers=stragglers, seed=seed)
    assert steady.at(round) is steady
    shaky = fleet(f"{name}+jitter:0.1/0.2", clients=clients, stragglers=stragglers, seed=seed)
    assert shaky.clients == steady.clients
    today = shaky.at(round)
    assert today == shaky.at(round)
    assert attrs.evolve(today, clients=shaky.clients) == shaky
    found = factors(shaky, today)
    # the same clients of a larger population, of another fleet, and at other σ draw the same z
    larger = fleet(f"uniform+jitter:0.2/0.1+churn:{churn}", clients=clients, stragglers=0, seed=seed)
    for (fit, link), (other_fit, other_link) in zip(found, factors(larger, larger.at(round)), strict=False):
        assert math.log(fit) / 0.1 == pytest.approx(math.log(other_fit) / 0.2, abs=1e-9)
        assert math.log(link) / 0.2 == pytest.approx(math.log(other_link) / 0.1, abs=1e-9)
    assert factors(shaky, shaky.at(round + 1)) != found


@pytest.mark.rule("FLT-8")
def test_jitter_is_pinned() -> None:
    shaky = fleet("uniform+jitter:0.1/0.2", clients=3, stragglers=0, seed=1)
    found = [factor for pair in factors(shaky, shaky.at(2)) for factor in pair]
    assert found == pytest.approx(
        [1.15211374098, 0.740090487656, 1.0635296013, 0.750632314967, 0.977071768276, 0.669139939813], rel=1e-9
    )


@pytest.mark.rule("FLT-8")
def test_jitter_is_log_normal_with_its_sigmas() -> None:
    """Of a fixed seed: 20,000 draws of each kind; mean and deviation are within five standard errors for 1 − 10⁻⁵ of seeds."""
    shaky = fleet("uniform+jitter:0.1/0.5", clients=200, stragglers=0, seed=3)
    drawn = [pair for round in range(1, 101) for pair in factors(shaky, shaky.at(round))]
    for k, sigma in enumerate((0.1, 0.5)):
        logs = [math.log(pair[k]) / sigma for pair in drawn]
        assert abs(statistics.fmean(logs)) < 5 / len(logs) ** 0.5
        assert abs(statistics.pstdev(logs) - 1) < 5 / (2 * len(logs)) ** 0.5
    products = [math.log(fit) * math.log(link) / 0.05 for fit, link in drawn]
    assert abs(statistics.fmean(products)) < 5 / len(products) ** 0.5


@pytest.mark.rule("FLT-8")
def test_jitter_of_one_kind_leaves_the_other_alone() -> None:
    shaky = fleet("paper+jitter:0.3/0")
    assert {link for _, link in factors(shaky, shaky.at(1))} == {1.0}
    shaky = fleet("paper+jitter:0/0.3")
    assert {fit for fit, _ in factors(shaky, shaky.at(1))} == {1.0}


# --- Churn ---


@pytest.mark.rule("FLT-2", "FLT-9")
@given(FLEETS, COUNTS, st.integers(0, 2**63 - 1), st.integers(1, 2**32), SHARES)
def test_a_share_of_the_population_is_absent(
    name: str, counts: tuple[int, int], seed: int, round: int, churn: float
) -> None:
    clients, stragglers = counts
    found = fleet(f"{name}+churn:{churn:.3f}", clients=clients, stragglers=stragglers, seed=seed)
    population = half_up(clients / (1 - Fraction(f"{churn:.3f}")))
    assert len(found.clients) == population
    assert found.size == clients
    slow = half_up(Fraction(population * stragglers, clients))
    assert len(found.stragglers) == (0 if name == "uniform" else slow)
    present = found.present(round)
    assert present == fleet(f"paper+churn:{churn:.3f}", clients=clients, stragglers=0, seed=seed).present(round)
    assert list(present) == sorted(set(present))
    assert len(present) == clients
    assert set(present) <= set(range(population))
    # without the slow: as many fewer as they are of n, in the same order
    fast = found.present(round, excluded=found.stragglers)
    assert len(fast) == clients - (0 if name == "uniform" else stragglers)
    assert set(fast).isdisjoint(found.stragglers)
    there = set(present) - set(found.stragglers)
    assert there <= set(fast) or set(fast) <= there
    if not churn:
        assert present == tuple(range(clients))
        assert fast == tuple(u for u in range(clients) if u not in found.stragglers)


@pytest.mark.rule("FLT-9")
@pytest.mark.parametrize(
    ("clients", "churn", "population"),
    [
        (20, "0.3", 29),
        (7, "0.3", 10),
        (20, "0.5", 40),
        (10, "0.2", 13),
        (10, "0.9", 100),
        (9, "0.2", 11),
        (3, "0.4", 5),
    ],
)
def test_the_population_is_exact(clients: int, churn: str, population: int) -> None:
    # 10/(1 − 0.2) is 12.5, rounded half up
    assert len(fleet(f"paper+churn:{churn}", clients=clients, stragglers=1).clients) == population


@pytest.mark.rule("FLT-9")
def test_who_is_present_is_pinned() -> None:
    assert fleet("paper+churn:0.5", clients=5, stragglers=1).present(1) == (0, 1, 4, 5, 7)
    assert fleet("paper+churn:0.5", clients=5, stragglers=1).present(2) == (0, 1, 4, 6, 7)


@pytest.mark.rule("FLT-9")
def test_everybody_is_present_equally_often() -> None:
    """Of a fixed seed: each of 40 is there in half of 400 rounds, within five standard deviations."""
    churning = fleet("paper+churn:0.5")
    days = [0] * 40
    for round in range(1, 401):
        for client in churning.present(round):
            days[client] += 1
    assert sum(days) == 400 * 20
    assert all(abs(count - 200) < 5 * 10 for count in days)


# --- Stragglers, liars ---


@pytest.mark.rule("FLT-2")
@pytest.mark.parametrize(
    ("clients", "share", "slow"), [(20, 0.2, 4), (50, 0.2, 10), (14, 0.2, 2), (100, 0.29, 29), (5, 0.5, 2), (10, 0, 0)]
)
def test_a_share_of_stragglers_goes_before_what_is_asked_for(clients: int, share: float, slow: int) -> None:
    found = fleet(f"compute+stragglers:{share}", clients=clients, stragglers=1)
    assert len(found.stragglers) == slow
    assert found.clients == fleet("compute", clients=clients, stragglers=slow).clients


@pytest.mark.rule("FLT-6")
def test_how_slow_clients_are_declared_to_be() -> None:
    plain, quick = fleet("paper"), fleet("paper+slow_down:1")
    assert {client.device.slow_down for client in plain.clients} == {50}
    assert {client.device.slow_down for client in quick.clients} == {1}
    assert [(c.device.ghz, c.network) for c in plain.clients] == [(c.device.ghz, c.network) for c in quick.clients]
    assert fleet("paper+slow_down:9").server == plain.server


@pytest.mark.rule("FLT-10")
@given(COUNTS, st.integers(0, 2**63 - 1), st.integers(0, 1000), SHARES, st.integers(1, 5000), st.integers(0, 2**63))
def test_so_many_lie_by_that_factor(
    counts: tuple[int, int], seed: int, share: int, churn: float, factor: int, time: int
) -> None:
    clients, stragglers = counts
    text = f"paper+churn:{churn:.3f}+liars:{share / 1000:.3f}x{factor / 1000:.3f}"
    found = fleet(text, clients=clients, stragglers=stragglers, seed=seed)
    assert found == fleet(text, clients=clients, stragglers=stragglers, seed=seed)
    population = len(found.clients)
    assert len(found.liars) == half_up(Fraction(share * population, 1000))
    assert list(found.liars) == sorted(set(found.liars))
    assert found.liars == fleet(text.replace("paper", "worst"), clients=clients, stragglers=0, seed=seed).liars
    for client in range(population):
        said = found.declared(client, time)
        expected = half_up(Fraction(time * factor, 1000)) if client in found.liars else time
        assert said == min(expected, 2**64 - 1)


@pytest.mark.rule("FLT-10")
def test_who_lies_is_pinned_and_has_nothing_to_do_with_who_is_slow() -> None:
    assert fleet("paper+liars:0.2x3").liars == (7, 8, 12, 17)
    both = [
        len(set(found.liars) & set(found.stragglers))
        for found in (fleet("paper+liars:0.2x3", seed=seed) for seed in range(300))
    ]
    # 4 of 20 are slow, 4 lie: 0.8 in common on average, with a deviation of 0.73 a draw
    assert abs(statistics.fmean(both) - 0.8) < 5 * 0.73 / 300**0.5
