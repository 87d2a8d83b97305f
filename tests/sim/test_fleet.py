"""Fleets: the shipped profiles are what they say, draws are even and repeatable, and refusals name the entry."""

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.errors import PreconditionError
from clip_ref.sim.fleet import ClientProfile, Device, Fleet, Network, load_fleet, to_microseconds
from clip_ref.values import MAX_MICROSECONDS

FLEETS = ("paper", "compute", "network", "uniform")

OWN: dict[str, Any] = {
    "devices": {"phone": {"ghz": 1.5, "macs_per_cycle": 2, "slow_down": 20, "source": "a guess"}},
    "networks": {"dsl": {"up_mbit": 10, "down_mbit": 50, "latency_ms": 15}},
    "fleet": {
        "note": "phones at home",
        "fast": {"device": "cpu_3ghz", "network": "net_5g"},
        "slow": [{"device": "phone", "network": "dsl"}],
        "server": "server_3ghz",
        "timeout_s": 1.5,
    },
}


def named(fleet: Fleet, index: int) -> tuple[str, str]:
    client = fleet.clients[index]
    return client.device.name, client.network.name


def test_the_paper_s_processors_and_networks() -> None:
    fleet = load_fleet("paper", clients=20, stragglers=4, seed=1)
    assert len(fleet.clients) == 20
    assert len(fleet.stragglers) == 4
    assert [named(fleet, i) for i in fleet.stragglers] == [
        ("cpu_2ghz", "net_5g"),
        ("cpu_3ghz", "net_4g"),
        ("cpu_2ghz", "net_4g"),
        ("cpu_2ghz", "net_5g"),
    ]
    fast = {named(fleet, i) for i in range(20) if i not in fleet.stragglers}
    assert fast == {("cpu_3ghz", "net_5g")}
    slow = [fleet.clients[i] for i in fleet.stragglers]
    assert [c.device.ghz for c in slow] == [2, 3, 2, 2]
    fourth = slow[1].network
    assert (fourth.up_mbit, fourth.down_mbit) == (27, 27)
    assert "paper" in fourth.source
    assert "our choice" in slow[0].network.source
    assert fleet.timeout == 60_000_000


@pytest.mark.parametrize(("name", "slow"), [("compute", ("cpu_2ghz", "net_5g")), ("network", ("cpu_3ghz", "net_4g"))])
def test_one_kind_of_straggler(name: str, slow: tuple[str, str]) -> None:
    fleet = load_fleet(name, clients=10, stragglers=2, seed=0)
    assert {named(fleet, i) for i in fleet.stragglers} == {slow}


def test_a_uniform_fleet_has_no_stragglers() -> None:
    fleet = load_fleet("uniform", clients=10, stragglers=2, seed=0)
    assert fleet.stragglers == ()
    assert len(set(fleet.clients)) == 1


@pytest.mark.parametrize("name", FLEETS)
def test_profiles_are_faster_the_later_their_generation(name: str) -> None:
    content = json.loads(Path(__file__).parents[2].joinpath("clip_ref/sim/profiles.json").read_text("utf-8"))
    cores = [content["devices"][f"cpu_{k}ghz"] for k in (1, 2, 3, 4)]
    assert [core["ghz"] for core in cores] == [1, 2, 3, 4]
    assert len({(core["macs_per_cycle"], core["slow_down"]) for core in cores}) == 1
    links = [content["networks"][f"net_{k}g"] for k in (2, 3, 4, 5)]
    assert all(a["up_mbit"] < b["up_mbit"] and a["latency_ms"] > b["latency_ms"] for a, b in pairwise(links))
    assert all(p["source"] for section in ("devices", "networks") for p in content[section].values())
    assert content["fleets"][name]["note"] == load_fleet(name, clients=2, stragglers=0, seed=0).note


@pytest.mark.rule("FLT-2")
@given(
    st.sampled_from(FLEETS),
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))),
    st.integers(0, 99),
)
def test_the_draw_is_exact_and_repeatable(name: str, counts: tuple[int, int], seed: int) -> None:
    clients, stragglers = counts
    fleet = load_fleet(name, clients=clients, stragglers=stragglers, seed=seed)
    assert fleet == load_fleet(name, clients=clients, stragglers=stragglers, seed=seed)
    assert len(fleet.clients) == clients
    assert len(fleet.stragglers) == (0 if name == "uniform" else stragglers)
    assert list(fleet.stragglers) == sorted(set(fleet.stragglers))
    typical = load_fleet("uniform", clients=1, stragglers=0, seed=0).clients[0]
    assert all((c == typical) == (i not in fleet.stragglers) for i, c in enumerate(fleet.clients))


@pytest.mark.rule("FLT-2")
def test_the_draw_is_pinned() -> None:
    assert load_fleet("compute", clients=20, stragglers=4, seed=1).stragglers == (2, 9, 16, 18)


@pytest.mark.rule("FLT-2")
def test_every_client_can_be_a_straggler() -> None:
    # a fixed set of seeds: 200 draws of 4 of 20 miss a given client with probability 0.8^200 < 10^-19
    drawn = {i for seed in range(200) for i in load_fleet("compute", clients=20, stragglers=4, seed=seed).stragglers}
    assert drawn == set(range(20))


def test_a_file_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "home.json"
    file.write_text(json.dumps(OWN), "utf-8")
    fleet = load_fleet(str(file), clients=3, stragglers=1, seed=5)
    (slow,) = fleet.stragglers
    assert fleet.clients[slow] == ClientProfile(
        device=Device("phone", 1.5, 2, 20, "a guess"), network=Network("dsl", 10, 50, 15)
    )
    assert (fleet.name, fleet.timeout, fleet.server.name) == ("home", 1_500_000, "server_3ghz")
    assert fleet.note == "phones at home"


def test_a_file_may_redefine_a_shipped_profile(tmp_path: Path) -> None:
    file = tmp_path / "own.json"
    faster = {"networks": {"net_5g": {"up_mbit": 900, "down_mbit": 900, "latency_ms": 0}}}
    file.write_text(json.dumps({"fleet": OWN["fleet"] | {"slow": []}} | faster), "utf-8")
    assert load_fleet(str(file), clients=2, stragglers=1, seed=0).clients[0].network.up_mbit == 900


@pytest.mark.rule("FLT-1")
def test_an_unknown_fleet_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        PreconditionError, match=r"FLT-1: no fleet 'papre'; there are paper, table, compute, network, uniform"
    ) as caught:
        load_fleet("papre", clients=20, stragglers=4, seed=1)
    assert "\n" not in str(caught.value)


@pytest.mark.rule("FLT-2")
@pytest.mark.parametrize(("clients", "stragglers"), [(20, 99), (20, 20), (20, -1), (0, 0)])
def test_counts_must_leave_a_fast_client(clients: int, stragglers: int) -> None:
    with pytest.raises(PreconditionError, match=rf"FLT-2: {stragglers} stragglers of {clients} clients"):
        load_fleet("paper", clients=clients, stragglers=stragglers, seed=1)


@pytest.mark.rule("FLT-2")
def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(PreconditionError, match=r"FLT-2: a seed is at least 0, got -1"):
        load_fleet("paper", clients=20, stragglers=4, seed=-1)


@pytest.mark.rule("FLT-3")
def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match=r"FLT-3: no file .*gone\.json; fleets that need no file: paper"):
        load_fleet(str(tmp_path / "gone.json"), clients=2, stragglers=0, seed=0)
    with pytest.raises(PreconditionError, match=r"FLT-3: cannot read .*: Is a directory"):
        load_fleet(str(tmp_path), clients=2, stragglers=0, seed=0)
    for content in (b"{", b"\xff", b""):
        broken = tmp_path / "broken.json"
        broken.write_bytes(content)
        with pytest.raises(PreconditionError, match=r"FLT-3: .*broken\.json is not JSON"):
            load_fleet(str(broken), clients=2, stragglers=0, seed=0)


MALFORMED: list[tuple[str, tuple[str, ...], object, str]] = [
    ("FLT-4", (), [], r"own\.json: must be a JSON object"),
    ("FLT-4", ("fleet",), None, r"own\.json: lacks fleet"),
    ("FLT-4", ("fleets",), {}, r"own\.json: has an unknown entry fleets"),
    ("FLT-4", ("fleet",), 3, r"fleet: must be a JSON object"),
    ("FLT-4", ("devices",), [], r"devices: must be a JSON object"),
    ("FLT-4", ("devices", "phone"), 7, r"devices\.phone: must be a JSON object"),
    ("FLT-4", ("devices", "phone", "ghz"), None, r"devices\.phone: lacks ghz"),
    ("FLT-4", ("devices", "phone", "cores"), 8, r"devices\.phone: has an unknown entry cores"),
    ("FLT-4", ("devices", "phone", "ghz"), 0, r"devices\.phone: ghz must be a finite number above 0, got 0"),
    ("FLT-4", ("devices", "phone", "ghz"), True, r"devices\.phone: ghz must be a number, got True"),
    ("FLT-4", ("devices", "phone", "slow_down"), "2", r"devices\.phone: slow_down must be a number, got '2'"),
    ("FLT-4", ("devices", "phone", "macs_per_cycle"), float("nan"), r"macs_per_cycle must be a finite number above 0, got nan"),
    ("FLT-4", ("devices", "phone", "source"), 1, r"devices\.phone: source must be a string, got 1"),
    ("FLT-4", ("networks", "dsl", "up_mbit"), float("inf"), r"networks\.dsl: up_mbit must be a finite number above 0, got inf"),
    ("FLT-4", ("networks", "dsl", "down_mbit"), -1, r"networks\.dsl: down_mbit must be a finite number above 0, got -1"),
    ("FLT-4", ("networks", "dsl", "latency_ms"), -1, r"networks\.dsl: latency_ms must be a finite number from 0, got -1"),
    ("FLT-4", ("fleet", "note"), 5, r"fleet: note must be a string"),
    ("FLT-4", ("fleet", "slow"), {}, r"fleet\.slow: must be a list"),
    ("FLT-4", ("fleet", "timeout_s"), 0, r"fleet\.timeout_s must be a finite number above 0, got 0"),
    ("FLT-4", ("fleet", "fast", "network"), None, r"fleet\.fast: lacks network"),
    ("FLT-5", ("fleet", "server"), "moon", r"fleet\.server: no profile 'moon'; there are cpu_1ghz"),
    ("FLT-5", ("fleet", "slow"), [{"device": "abacus", "network": "dsl"}], r"fleet\.slow\[0\]\.device: no profile 'abacus'"),
    ("FLT-5", ("fleet", "fast", "network"), ["dsl"], r"fleet\.fast\.network: no profile \['dsl'\]; there are net_2g"),
]  # fmt: skip


@pytest.mark.rule("FLT-4", "FLT-5")
@pytest.mark.parametrize(("rule", "path", "value", "detail"), MALFORMED)
def test_a_malformed_entry_is_named(
    tmp_path: Path, rule: str, path: tuple[str, ...], value: object, detail: str
) -> None:
    content = json.loads(json.dumps(OWN))
    if path:
        at = content
        for key in path[:-1]:
            at = at[key]
        if value is None:
            del at[path[-1]]
        else:
            at[path[-1]] = value
    else:
        content = value
    file = tmp_path / "own.json"
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(PreconditionError, match=rf"^{rule}: .*{detail}"):
        load_fleet(str(file), clients=3, stragglers=1, seed=0)


def test_a_model_of_604_kb_over_the_paper_s_4g() -> None:
    link = Network("4g", 27, 27, 25)
    assert link.up(length=604_000) == link.down(length=604_000) == 25_000 + 178_963
    assert link.up(length=0) == 25_000


@given(st.integers(0, 10**9), st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 1000))
def test_a_transfer_is_latency_and_bits_over_rate(length: int, up: int, down: int, latency: int) -> None:
    link = Network("x", up, down, latency)
    assert abs(link.up(length=length) - (1000 * latency + Fraction(8 * length, up))) <= Fraction(1, 2)
    assert abs(link.down(length=length) - (1000 * latency + Fraction(8 * length, down))) <= Fraction(1, 2)


def test_rounding_is_half_up_and_saturates() -> None:
    assert [to_microseconds(Fraction(k, 4)) for k in (0, 1, 2, 3, 4, 6, 10)] == [0, 0, 1, 1, 1, 2, 3]
    assert to_microseconds(Fraction(2**70)) == MAX_MICROSECONDS
