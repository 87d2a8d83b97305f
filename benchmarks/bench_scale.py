"""Whole rounds on a graph in one process: all clients and the server, every message encoded and decoded."""

import json
import os
import platform
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import pytest

from clip_ref.keys import Directory, identity_key
from clip_ref.layout import dense_chain
from clip_ref.messages import TimeRecord
from clip_ref.params import Encoding, Params, PruningPolicy, SecurityLevel
from clip_ref.round import NO_JOURNAL, Assignment, Client, DropOut, Leg, RoundResult, Server, State, ids, run_round
from clip_ref.values import ClientId, Floats, RoundNumber, SigningKey

RESULTS: Final = Path(__file__).parent / "results" / "scale.json"

LEVELS = pytest.mark.parametrize("level", SecurityLevel)
T = 1_050_000
"""T*: a fifth of the clients takes longer, and prunes."""


@attrs.frozen
class Scene:
    """All that is there before a round."""

    params: Params
    server: Server
    clients: dict[ClientId, Client]
    updates: dict[ClientId, Floats]
    drop_outs: dict[ClientId, DropOut]


def whole_time(u: ClientId) -> int:
    return (1_500_000 if u % 5 == 0 else 1_000_000) + u


def scene(n: int, k: int, hidden: int, level: SecurityLevel) -> Scene:
    """d = 75·hidden + 10; every tenth client drops out, on three legs, before or after its message."""
    layout, rng = dense_chain(64, hidden, 10), np.random.default_rng(0)
    history = rng.normal(size=layout.size).astype(np.float32)
    model = (history + rng.normal(size=layout.size) * 0.01).astype(np.float32)
    params = Params(
        clients=n,
        neighbours=k,
        policy=PruningPolicy(anonymity_blocks=False),
        encoding=Encoding(weight_max=60),
        security=level,
    )
    secrets = {u: SigningKey(u.to_bytes(32, "little")) for u in ids(n)} if params.hardened else {}
    directory = Directory({u: identity_key(secret) for u, secret in secrets.items()})
    grid = params.policy.grid
    clients = {
        u: Client(
            me=u,
            params=params,
            layout=layout,
            record=TimeRecord(
                True, True, False, 0, 0, 0, 0, tuple(whole_time(u) * r // 1000 for r in grid), 10 + u % 50, b""
            ),
            history=history,
            entropy=u.to_bytes(32, "big"),
            identity=secrets.get(u),
            directory=directory,
            session=bytes(16),
            journal=NO_JOURNAL,
        )
        for u in ids(n)
    }
    state = State(bytes(16), RoundNumber(3), model, history, target=T)
    legs = (Leg.SHARE, Leg.INPUT, Leg.UNMASK)
    drop_outs = {u: DropOut(legs[u // 10 % 3], u // 30 % 2 == 0) for u in ids(n) if u % 10 == 7}
    server = Server(params=params, layout=layout, state=state, directory=directory)
    return Scene(params, server, clients, {}, drop_outs)


def play(there: Scene) -> RoundResult:
    def train(assignments: Mapping[ClientId, Assignment]) -> dict[ClientId, Floats]:
        for u, assignment in assignments.items():
            held = there.server._layout.held(assignment.kept)
            there.updates[u] = np.full(int(held.sum()), (u % 13 - 6) / 64, dtype=np.float32)
        return {u: there.updates[u] for u in assignments}

    return run_round(server=there.server, clients=there.clients, train=train, drop_outs=there.drop_outs)


def check(there: Scene, found: RoundResult) -> None:
    """The sum is exact, and those who are slow did prune."""
    layout, params = there.server._layout, there.params
    total = np.zeros(layout.size, dtype=np.int64)
    for u in found.u3:
        held = layout.held(found.assignments[u].kept)
        total[held] += (10 + u % 50) * np.rint(there.updates[u].astype(np.float64) * params.encoding.steps).astype(int)
    ring = params.encoding.ring
    assert (ring.centred(there.server.total_unmasked[: layout.size]) == total).all()
    assert sum(found.aggregate.histogram) == len(found.u3)
    pruned = {u for u, a in found.assignments.items() if a.verdict.keep < 1000}
    assert pruned == {u for u in found.assignments if u % 5 == 0}
    assert found.faults == ()


@pytest.mark.rule("ROU-20", "ROU-21")
@LEVELS
def test_a_round_of_two_hundred(benchmark: Any, level: SecurityLevel) -> None:
    made: list[Scene] = []

    def setup() -> None:
        made.append(scene(200, 20, 134, level))

    benchmark.group = "a round on a graph, n = 200, k = 20, d = 1e4, 10 % drop-outs"
    check_me = benchmark.pedantic(lambda: play(made[-1]), setup=setup, rounds=3)
    check(made[-1], check_me)


@pytest.mark.slow
@pytest.mark.rule("ROU-20", "ROU-21", "AGG-1")
@LEVELS
def test_a_round_of_a_thousand(level: SecurityLevel, pytestconfig: pytest.Config) -> None:
    """d = 10⁵, k = 100, every tenth drops out: two minutes by the clock, and 3 GB for a thousand clients and their server."""
    there = scene(1000, 100, 1334, level)
    cpu, wall = time.process_time(), time.monotonic()
    found = play(there)
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"\nn = 1000, k = 100, d = 1e5, {level.value}: {cpu:.0f} s CPU, {wall:.0f} s, {peak:.2f} GB at most")
    check(there, found)
    assert wall < 120
    assert peak < 3
    if pytestconfig.getoption("benchmark_enable"):
        measured = {
            "clients": there.params.clients,
            "neighbours": there.params.neighbours,
            "weights": there.server.sizes.model,
            "drop_outs": len(there.drop_outs),
            "wall_seconds": round(wall, 1),
            "cpu_seconds": round(cpu, 1),
            "peak_gb": round(peak, 2),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        }
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps(results | {level.value: measured}, indent=2, sort_keys=True) + "\n")
