"""What arrival times tell the server about who is slow: without CLIP, with it, and in deadline mode. `make arrivals`.

No training and no torch: the plans are those that clients would come to (`identify`), the times those of the clock, and what
the protocol costs is taken from one real round of the digits model's size. Everything follows from the seeds.
"""

import argparse
import json
import runpy
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np

from clip_ref.deadline import upload_time
from clip_ref.identification import identify
from clip_ref.keys import Directory, identity_key
from clip_ref.layout import Axis, Layer, Layout, Tensor, kept_count
from clip_ref.messages import TimeRecord
from clip_ref.params import HARDENED_POLICY, NO_PRUNING, Params, PruningPolicy, SecurityLevel
from clip_ref.rand import derive
from clip_ref.round import NO_JOURNAL, Client, Leg, LegCost, Server, State, Work, ids, run_round
from clip_ref.sim.arrivals import SCORES, Sight, Told, sights, told, varied
from clip_ref.sim.clock import Observed, mac_fit, simulate
from clip_ref.sim.costs import DECLARED
from clip_ref.sim.fleet import Fleet, load_fleet
from clip_ref.values import ClientId, Microseconds, RoundNumber, SigningKey

ROOT: Final = Path(__file__).parent.parent
RESULT: Final = ROOT / "benchmarks" / "results" / "arrivals.json"

CLIENTS, STRAGGLERS, ROUNDS, SEEDS = 20, 4, 8, 40
SPREAD: Final = 0.10
"""By how much clients of one kind differ for good: σ of the logarithm, of processor and link each."""

JITTER: Final = 0.05
"""By how much a client differs from itself from round to round."""

DEADLINE: Final = 6_000_000
"""µs: a little more than the slowest takes in nearly every fleet that is drawn."""

EXAMPLES, EPOCHS = 64, 2
FLEETS: Final = ("compute", "network", "paper")
POLICIES: Final[Mapping[str, PruningPolicy]] = {
    "none": NO_PRUNING,
    "clip": HARDENED_POLICY,
    "deadline": attrs.evolve(HARDENED_POLICY, deadline=DEADLINE),
}
WARM_UP: Final = HARDENED_POLICY.warm_up


def digits() -> Layout:
    """The layout of the digits model."""
    one, two, dense = Axis(32, "conv1"), Axis(64, "conv2"), Axis(128, "dense")
    taps = (Axis(3), Axis(3))
    return Layout(
        tensors=(
            Tensor("conv1.weight", (one, Axis(1), *taps), uses=64),
            Tensor("conv1.bias", (one,)),
            Tensor("conv2.weight", (two, one, *taps), uses=64),
            Tensor("conv2.bias", (two,)),
            Tensor("dense.weight", (dense, Axis(1024, "conv2", inner=16)), uses=1),
            Tensor("dense.bias", (dense,)),
            Tensor("output.weight", (Axis(10), dense), uses=1),
            Tensor("output.bias", (Axis(10),)),
        ),
        layers=(Layer("conv1", 32), Layer("conv2", 64), Layer("dense", 128)),
    )


LAYOUT: Final = digits()


def small(keep: int) -> Layout:
    """The layout at a keep level: cost depends on how many neurons there are, not on which."""
    return LAYOUT.shrunk({x.name: np.arange(kept_count(x.neurons, keep), dtype=np.int64) for x in LAYOUT.layers})


SMALL: Final = {keep: small(keep) for keep in HARDENED_POLICY.grid}
MACS: Final = {keep: layout.macs() for keep, layout in SMALL.items()}


def costs() -> tuple[dict[int, dict[Leg, LegCost]], Work]:
    """What one real round costs in which nobody prunes: each client on each leg, and the server."""
    params = Params(clients=CLIENTS, security=SecurityLevel.HARDENED)
    seeds = {u: derive(secret=b"arrivals", salt=b"", purpose="a client", ids=(u,)) for u in ids(CLIENTS)}
    directory = Directory({u: identity_key(SigningKey(seed)) for u, seed in seeds.items()})
    blank = TimeRecord(False, False, False, 0, 0, 0, 0, (0,) * len(params.policy.grid), EXAMPLES, b"")
    clients = {
        u: Client(
            me=u,
            params=params,
            layout=LAYOUT,
            record=blank,
            history=None,
            entropy=seed,
            identity=SigningKey(seed),
            directory=directory,
            session=b"arrival measured",
            journal=NO_JOURNAL,
        )
        for u, seed in seeds.items()
    }
    zeros = np.zeros(LAYOUT.size, dtype=np.float32)
    server = Server(
        params=params,
        layout=LAYOUT,
        state=State(b"arrival measured", RoundNumber(1), zeros),
        directory=directory,
    )
    result = run_round(server=server, clients=clients, train=lambda assignments: dict.fromkeys(assignments, zeros))
    return {int(u): dict(legs) for u, legs in result.costs.items()}, result.server_work


def pruned_costs(legs: Mapping[Leg, LegCost], keep: int) -> dict[Leg, LegCost]:
    """The same for a client that prunes: it scores all of the model, and encodes less."""
    if keep == 1000:
        return dict(legs)
    cost = legs[Leg.INPUT]
    masking = attrs.evolve(cost.masking, coded=SMALL[keep].size)
    return dict(legs) | {Leg.INPUT: attrs.evolve(cost, work=cost.work + Work(scored=LAYOUT.size), masking=masking)}


@attrs.frozen
class Seen:
    """One run: who is slow, who prunes, and what the server saw."""

    slow: frozenset[int]
    """The fleet's stragglers."""

    pruned: frozenset[int]
    """Who pruned in any round."""

    rounds: tuple[Mapping[int, Sight], ...]
    """Each round's sights."""

    seconds: tuple[float, ...]
    """How long each round took."""


Costs = tuple[dict[int, dict[Leg, LegCost]], Work]


def run(fleet_name: str, policy: PruningPolicy, seed: int, billed: Costs, *, rounds: int = ROUNDS) -> Seen:
    """One run of `rounds` rounds. What chance there is depends on fleet and seed alone, whatever the policy."""
    params = Params(clients=CLIENTS, policy=policy, security=SecurityLevel.HARDENED)
    shipped = load_fleet(fleet_name, clients=CLIENTS, stragglers=STRAGGLERS, seed=seed)
    fleet = varied(fleet=shipped, sigma=SPREAD, seed=(seed,))
    legs, server_work = billed

    def fit(among: Fleet, client: int, keep: int) -> Microseconds:
        device = among.clients[client].device
        return mac_fit(device=device, macs_per_example=MACS[keep], examples=EXAMPLES, epochs=EPOCHS)

    predicted = [tuple(fit(fleet, u, keep) for keep in params.policy.grid) for u in range(CLIENTS)]
    before = [Observed(*[Microseconds(0)] * 5)] * CLIENTS
    status, pruned = [False] * CLIENTS, set[int]()
    seen, seconds = [], []
    for number in range(1, rounds + 1):
        records = {
            ClientId(u): TimeRecord(
                has_time=number > 1,
                has_model=number > 1,
                was_straggler=status[u],
                down=before[u].down,
                select=before[u].select,
                mask=before[u].mask,
                up=before[u].up,
                fit=predicted[u],
                weight=EXAMPLES,
                entropy=b"",
            )
            for u in range(CLIENTS)
        }
        plan = identify(records=records, params=params, round=RoundNumber(number))
        keeps = {int(u): verdict.keep for u, verdict in plan.verdicts.items()}
        today = varied(fleet=fleet, sigma=JITTER, seed=(seed, number))
        timeline = simulate(
            fleet=today,
            costs={u: pruned_costs(legs[u], keep) for u, keep in keeps.items()},
            fits={u: fit(today, u, keep) for u, keep in keeps.items()},
            server_work=server_work,
            units=DECLARED,
            not_before=upload_time(target=plan.target, verdicts=plan.verdicts, params=params, round=number),
        )
        before = [timeline.observed(u) for u in range(CLIENTS)]
        status = [verdict.straggler for verdict in plan.verdicts.values()]
        pruned |= {u for u, keep in keeps.items() if keep < 1000}
        seen.append(sights(timeline=timeline, fleet=today))
        seconds.append(timeline.end / 1e6)
    return Seen(frozenset(fleet.stragglers), frozenset(pruned), tuple(seen), tuple(seconds))


Window = tuple[str, slice]
"""Of which policy's runs, which rounds."""

EARLY, LATE = slice(0, WARM_UP), slice(WARM_UP, None)
ROWS: Final[tuple[tuple[str, tuple[Window, ...]], ...]] = (
    ("no CLIP", (("none", EARLY), ("none", LATE))),
    ("CLIP, after the warm-up", (("clip", LATE),)),
    ("CLIP, with the warm-up", (("clip", EARLY), ("clip", LATE))),
    ("deadline, after the warm-up", (("deadline", LATE),)),
    ("deadline, with the warm-up", (("deadline", EARLY), ("deadline", LATE))),
    ("deadline, but not in the warm-up", (("clip", EARLY), ("deadline", LATE))),
)
"""What the server has seen: rounds of one window are averaged, and of two windows the better one counts."""


def scored(runs: Sequence[Seen], window: slice, score: str, *, pruners: bool) -> Told:
    """How well the mean of a score over a window tells whom it is to find: over its fleet's median, all fleets together."""
    found, others = list[float](), list[float]()
    for one in runs:
        mean = {u: statistics.fmean(getattr(sight[u], score) for sight in one.rounds[window]) for u in one.rounds[0]}
        middle = statistics.median(mean.values())
        wanted = one.pruned if pruners else one.slow
        for u, value in mean.items():
            (found if u in wanted else others).append(value / middle)
    return told(slow=found, others=others)


def rounded(measures: Told) -> dict[str, float]:
    return {name: round(value, 3) for name, value in attrs.asdict(measures).items()}


def row(runs: Mapping[str, Sequence[Seen]], windows: Sequence[Window], *, pruners: bool = False) -> dict[str, Any]:
    """How well each score does, and the best of them all."""
    each = {
        score: max(
            (scored(runs[policy], window, score, pruners=pruners) for policy, window in windows), key=lambda t: t.auc
        )
        for score in SCORES
    }
    best = max(each, key=lambda score: each[score].auc)
    return {"scores": {score: rounded(found) for score, found in each.items()}, "best": best}


def measure(*, seeds: int) -> dict[str, Any]:
    """Everything, for the fleets of the first `seeds` seeds."""
    billed = costs()
    out: dict[str, Any] = {
        "clients": CLIENTS,
        "stragglers": STRAGGLERS,
        "rounds": ROUNDS,
        "warm_up": WARM_UP,
        "seeds": seeds,
        "spread": SPREAD,
        "jitter": JITTER,
        "deadline_seconds": DEADLINE / 1e6,
        "fleets": {},
    }
    for fleet in FLEETS:
        runs = {name: [run(fleet, policy, seed, billed) for seed in range(seeds)] for name, policy in POLICIES.items()}
        out["fleets"][fleet] = {
            "slow": {name: row(runs, windows) for name, windows in ROWS},
            "pruned": {name: row(runs, windows, pruners=True) for name, windows in ROWS[1:]},
            "seconds": {
                name: {
                    when: round(statistics.fmean(s for one in seen for s in one.seconds[window]), 2)
                    for when, window in (("warm_up", EARLY), ("after", LATE))
                }
                for name, seen in runs.items()
            },
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="What arrival times tell the server about who is slow.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many fleets of each kind (default: {SEEDS})")
    parser.add_argument("--out", type=Path, default=RESULT, help="the JSON file to write")
    options = parser.parse_args()
    found = measure(seeds=options.seeds)
    options.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(runpy.run_path(str(ROOT / "spec" / "hooks" / "arrivals.py"))["tables"](found))


if __name__ == "__main__":
    main()
