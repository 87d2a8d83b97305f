"""What the simulator expects of a scene, before anybody has played it: from calibration, and from nothing of the real run.

The protocol is run in memory, for who prunes and for what there is to bill; nobody trains: updates are noise, on whose values
no count depends. Times that clients declare are those that the clock says they measured.
"""

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from functools import partial

import attrs
import numpy as np

from clip_ref.keys import Directory, identity_key
from clip_ref.layout import Layout
from clip_ref.round import NO_JOURNAL, Assignment, Client, DropOut, Leg, RoundResult, Server, State, ids, run_round
from clip_ref.sim.clock import Timeline, measured_fit, round_bound, simulate
from clip_ref.sim.costs import UnitCosts
from clip_ref.sim.fleet import ClientProfile, Device, Fleet, Network, to_microseconds
from clip_ref.values import ClientId, Floats, Microseconds, RoundNumber, SigningKey
from real_round.scene import GRID, HOST_GHZ, Memory, Scene, record_of


@attrs.frozen
class Calibration:
    """What was measured beforehand."""

    seconds: tuple[Mapping[int, float], ...]
    """By client, by keep level: CPU seconds of training per example and epoch."""

    units: UnitCosts
    """What the protocol's work costs on this machine, in nanoseconds."""

    links: tuple[Network, ...]
    """What the shaped links really carry, by client."""

    def monotone(self, client: int) -> dict[int, float]:
        """The seconds by level, made not to rise as keep falls, as predictions must not (IDN-1)."""
        out, least = {}, float("inf")
        for keep in GRID:
            least = out[keep] = min(least, self.seconds[client][keep])
        return out


@attrs.frozen
class Expected:
    """One round as the clock has it."""

    timeline: Timeline
    """When what happens."""

    keeps: Mapping[ClientId, int]
    """Each client's keep level, ‰."""

    bound: float
    """The share of the round that pruning could save at most."""

    found: RoundResult = attrs.field(repr=False)
    """The protocol's own run."""

    not_before: int
    """When uploads began, µs after the start of `Deliver`."""


def fleet_of(*, scene: Scene, calibration: Calibration) -> Fleet:
    """The scene as the simulator sees it: a share of a core is a core that is slower, and the server has one to itself."""
    clients = tuple(
        ClientProfile(
            Device(f"{seat.share:g} of a core", ghz=HOST_GHZ, macs_per_cycle=1, slow_down=1 / seat.share), link
        )
        for seat, link in zip(scene.seats, calibration.links, strict=True)
    )
    server = Device("a core", ghz=HOST_GHZ, macs_per_cycle=1, slow_down=1)
    timeout = Microseconds(round(scene.timeout * 1e6))
    return Fleet(scene.name, clients, (), server, timeout, "control groups and token buckets on one machine")


def fits_of(
    *, scene: Scene, calibration: Calibration, examples: Mapping[int, int]
) -> dict[ClientId, dict[int, Microseconds]]:
    """CLK-2: what training takes each client at each keep level."""
    fleet = fleet_of(scene=scene, calibration=calibration)
    return {
        ClientId(u): {
            keep: measured_fit(
                device=client.device,
                cpu_seconds_per_example=seconds,
                host_ghz=HOST_GHZ,
                examples=examples[u],
                epochs=scene.epochs,
            )
            for keep, seconds in calibration.monotone(u).items()
        }
        for u, client in enumerate(fleet.clients)
    }


def forecast(
    *,
    scene: Scene,
    calibration: Calibration,
    layout: Layout,
    model: Floats,
    examples: Mapping[int, int],
    weights: Mapping[int, int],
) -> list[Expected]:
    """All rounds of the scene."""
    params, roster = scene.params(), ids(len(scene.seats))
    fits = fits_of(scene=scene, calibration=calibration, examples=examples)
    secrets = {u: SigningKey(_secret(0, u)) for u in roster}
    directory = Directory({u: identity_key(secret) for u, secret in secrets.items()})
    state = State(scene.session, RoundNumber(1), model)
    memory: dict[ClientId, Memory] = {}
    out = []
    for number in range(1, scene.rounds + 1):
        clients = {
            u: Client(
                me=u,
                params=params,
                layout=layout,
                record=record_of(memory=memory.get(u), fits=fits[u], weight=weights[u]),
                history=state.history,
                entropy=_secret(number, u),
                identity=secrets[u],
                directory=directory,
                session=scene.session,
                journal=NO_JOURNAL,
            )
            for u in roster
        }
        found = run_round(
            server=Server(params=params, layout=layout, state=state, directory=directory),
            clients=clients,
            train=partial(_noise, layout, number),
            drop_outs={ClientId(u): DropOut(Leg.INPUT, False) for at, u in scene.silent.items() if at == number},
        )
        expected = _expected(scene, calibration, found, fits)
        out.append(expected)
        memory = {u: Memory(expected.timeline.observed(u), found.assignments[u].verdict.straggler) for u in found.u3}
        state = state.completed(found.aggregate.model)
    return out


def _secret(number: int, client: ClientId) -> bytes:
    return hashlib.sha256(f"forecast {number} {client}".encode()).digest()


def _noise(layout: Layout, number: int, assignments: Mapping[ClientId, Assignment]) -> dict[ClientId, Floats]:
    """Updates of the right size."""
    draw = np.random.default_rng(number)
    sizes = {u: int(np.count_nonzero(layout.held(a.kept))) for u, a in assignments.items()}
    return {u: draw.normal(scale=0.01, size=size).astype(np.float32) for u, size in sizes.items()}


def _expected(
    scene: Scene,
    calibration: Calibration,
    found: RoundResult,
    fits: Mapping[ClientId, Mapping[int, Microseconds]],
) -> Expected:
    """What the clock makes of one round's counts."""
    keeps = {u: a.verdict.keep for u, a in found.assignments.items()}
    not_before = max(a.not_before for a in found.assignments.values())
    play = partial(_play, scene, calibration, found)
    timeline = play({u: fits[u][keep] for u, keep in keeps.items()}, not_before)
    unpruned = play({u: fits[u][1000] for u in keeps}, 0)
    pruning = [u for u, keep in keeps.items() if keep < 1000]
    bound = round_bound(timeline_full=unpruned, stragglers=pruning)
    return Expected(timeline, keeps, bound, found, not_before)


def _play(
    scene: Scene,
    calibration: Calibration,
    found: RoundResult,
    fits: Mapping[ClientId, Microseconds],
    not_before: int,
) -> Timeline:
    # whoever falls silent has no assignment, and does not train
    idle = {int(u): Microseconds(0) for u in found.costs}
    return simulate(
        fleet=fleet_of(scene=scene, calibration=calibration),
        costs={int(u): legs for u, legs in found.costs.items()},
        fits=idle | {int(u): fit for u, fit in fits.items()},
        server_work=found.server_work,
        units=calibration.units,
        not_before=not_before,
    )


def hindsight(*, scene: Scene, calibration: Calibration, expected: Expected, cpu: Mapping[ClientId, float]) -> Timeline:
    """The same round, with the CPU seconds that each client's training turned out to take: what is then off is the clock."""
    fits = {u: to_microseconds(Fraction(cpu[u]) * 1_000_000 / Fraction(scene.seats[u].share)) for u in expected.keeps}
    return _play(scene, calibration, expected.found, fits, expected.not_before)
