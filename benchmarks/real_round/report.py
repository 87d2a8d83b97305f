"""What came of a sitting: figures to keep, and a few lines to read."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import attrs

from clip_ref.sim.clock import Activity
from real_round import host
from real_round.forecast import hindsight
from real_round.scene import REPETITIONS, Scene
from real_round.stage import CORE, SEAT, Played

AFTER: Final = "in hindsight"
"""Not a forecast: simulated with the CPU time that training took in this very round."""

TOLERANCE: Final = 0.15
"""How far from the real round the simulated one may be, as a share of the real one."""


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    info = Path("/proc/cpuinfo").read_text()
    fields = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in info.splitlines()) if value}
    where = host.hierarchy()
    return {
        "cpu": f"{fields.get('model name')}, family {fields.get('cpu family')}, model {fields.get('model')}",
        "cores": os.cpu_count(),
        "kernel": platform.release().split("-")[0],
        "cgroups": None if where is None else where.version,
        "period_ms": host.PERIOD / 1000,
        "python": platform.python_version(),
        "torch": version("torch").split("+")[0],
        "load": round(os.getloadavg()[1], 1),
    }


def off(real: float, simulated: float) -> float:
    """By how much the simulated time exceeds the real one, as a share of the real one."""
    return simulated / real - 1


def worst(found: Mapping[str, Any], calibration: str = SEAT) -> float:
    """The largest deviation of any round, either way."""
    return max(abs(float(row["off"][calibration])) for row in found["rounds"])


def figures(played: Played) -> dict[str, Any]:
    """Everything that is kept of a sitting."""
    rows = [_round(played, at) for at in range(played.scene.rounds)]
    calibrations = {
        name: {
            "us_per_example": [{str(k): round(1e6 * s, 1) for k, s in x.items()} for x in calibration.seconds],
        }
        for name, calibration in played.calibrations.items()
    }
    common = played.calibrations[CORE]
    return {
        "scene": _scene(played.scene),
        "calibrations": calibrations,
        "fits_timed": REPETITIONS,
        "units_ns": {name: round(ns, 3) for name, ns in attrs.asdict(common.units).items()},
        "links": [
            {"up_mbit": round(x.up_mbit, 3), "down_mbit": round(x.down_mbit, 3), "latency_ms": round(x.latency_ms, 4)}
            for x in common.links
        ],
        "rounds": rows,
        "gain": _gain(rows, bounded=not played.scene.deadline),
        "accuracy": round(played.accuracy, 4),
        "sums_exact": played.sums_exact,
    }


def _scene(scene: Scene) -> dict[str, Any]:
    about = attrs.asdict(scene)
    about["silent"] = {str(number): client for number, client in scene.silent.items()}
    return about


def _round(played: Played, at: int) -> dict[str, Any]:
    server = played.server[at]
    expected = {name: rounds[at] for name, rounds in played.expected.items()}
    real = server.end - server.start
    clients = {u: logs[at] for u, logs in played.clients.items()}
    after = hindsight(
        scene=played.scene,
        calibration=played.calibrations[SEAT],
        expected=expected[SEAT],
        cpu={u: log.fit_cpu for u, log in clients.items()},
    )
    simulated = {name: x.timeline.end / 1e6 for name, x in expected.items()} | {AFTER: after.end / 1e6}
    return {
        "round": at + 1,
        "seconds": round(real, 3),
        "simulated": {name: round(s, 3) for name, s in simulated.items()},
        "off": {name: round(off(real, s), 4) for name, s in simulated.items()},
        "bound": round(expected[SEAT].bound, 4),
        "keeps": [clients[u].keep for u in server.survivors],
        "expected_keeps": {name: [x.keeps[u] for u in server.survivors] for name, x in expected.items()},
        "lengths": list(server.lengths),
        "legs": {
            leg.value: [round(barrier - begun, 4), *(round(s, 4) for s in simulated_legs)]
            for (leg, barrier), begun, *simulated_legs in zip(
                server.barriers.items(),
                [server.start, *server.barriers.values()],
                *(_legs(x.timeline.barriers.values()) for x in (expected[SEAT], expected[CORE])),
                strict=False,
            )
        },
        "clients": {
            str(u): _client(played, u, at) | {"arrival": round(server.arrivals[u] - _input_start(played, at), 3)}
            for u in server.survivors
        },
    }


def _legs(barriers: Any) -> list[float]:
    ends = list(barriers)
    return [(end - start) / 1e6 for start, end in zip([0, *ends], ends, strict=False)]


def _input_start(played: Played, at: int) -> float:
    barriers = list(played.server[at].barriers.values())
    return barriers[1]


def _client(played: Played, client: Any, at: int) -> dict[str, Any]:
    """Leg `input` of one client: each activity's seconds, real and simulated, and its CPU seconds of training."""
    log, timeline = played.clients[client][at], played.expected[SEAT][at].timeline
    spans = {s.activity: (s.end - s.start) / 1e6 for s in timeline.spans if (s.client, s.leg) == (client, "input")}
    out: dict[str, Any] = {
        step.activity.value: [round(step.end - step.start, 3), round(spans.get(step.activity, 0.0), 3)]
        for step in log.steps
        if step.leg == "input" and step.activity is not Activity.WAIT
    }
    return out | {"fit_cpu": round(log.fit_cpu, 3), "cpu": round(log.cpu, 3)}


def _gain(rows: list[dict[str, Any]], *, bounded: bool) -> dict[str, float] | None:
    """By how much the rounds with pruning were shorter than those without, as a share of these: real, and simulated.

    In deadline mode there is no bound: rounds of the warm-up are longer than the slowest client.
    """

    def shorter(seconds: Any) -> float:
        kinds: dict[bool, list[float]] = {True: [], False: []}
        for row in rows:
            kinds[min(row["keeps"]) < 1000].append(seconds(row))
        pruned, full = (sum(kinds[kind]) / len(kinds[kind]) for kind in (True, False))
        return round(1 - pruned / full, 4)

    if len({min(row["keeps"]) < 1000 for row in rows}) < 2:
        return None
    return {
        "real": shorter(lambda row: row["seconds"]),
        SEAT: shorter(lambda row: row["simulated"][SEAT]),
        CORE: shorter(lambda row: row["simulated"][CORE]),
    } | ({"bound": max(row["bound"] for row in rows)} if bounded else {})


def lines(found: Mapping[str, Any]) -> str:
    """A sitting in a few lines."""
    out = [f"{found['scene']['name']}:"]
    for row in found["rounds"]:
        keeps = " ".join(map(str, row["keeps"]))
        parts = [
            f"{row['simulated'][name]:7.3f} s ({100 * row['off'][name]:+5.1f} %) {name}" for name in (SEAT, CORE, AFTER)
        ]
        out.append(f"  round {row['round']}: {row['seconds']:7.3f} s; simulated {', '.join(parts)}; keep {keeps}")
    if found["gain"]:
        gain = {name: f"{100 * share:.1f} %" for name, share in found["gain"].items()}
        most = f"; at most {gain['bound']} could be" if "bound" in gain else ""
        out.append(f"  pruning saved {gain['real']}; simulated {gain[SEAT]} and {gain[CORE]}{most}")
    exact = "equals" if found["sums_exact"] else "DIFFERS FROM"
    out.append(f"  each secure sum {exact} the plain one; accuracy {100 * found['accuracy']:.1f} %")
    return "\n".join(out)
