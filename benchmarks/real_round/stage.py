"""One scene, played: calibrate, forecast, play, compare, in that order; nothing is left behind."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final

import attrs

from clip_ref.keys import Directory, identity_key
from clip_ref.lab.federated import in_place, plain_sum
from clip_ref.sim.fleet import Network
from clip_ref.values import ClientId, SigningKey
from real_round import host
from real_round.forecast import Calibration, Expected, fits_of, forecast
from real_round.parties import ClientLog, ClientParty, Party, ServerLog, ServerParty
from real_round.scene import Local, Scene

CORE: Final = "on a core"
SEAT: Final = "in its seat"


@attrs.frozen(eq=False)
class Played:
    """A scene after it was played."""

    scene: Scene
    """Which."""

    calibrations: Mapping[str, Calibration]
    """What was measured before: training `on a core` of its own, and `in its seat`, under the quota."""

    expected: Mapping[str, tuple[Expected, ...]]
    """What the simulator said before, by calibration, round by round."""

    server: tuple[ServerLog, ...]
    """What the server saw, round by round."""

    clients: Mapping[ClientId, tuple[ClientLog, ...]]
    """What each client did."""

    accuracy: float
    """Of the last model, on the unseen test."""

    sums_exact: bool
    """Whether each round's secure sum was that of the updates, computed without the protocol."""

    throttled: Mapping[ClientId, tuple[int, int]]
    """Of each client: periods in which it ran, and those in which it used up its quota."""


def play(scene: Scene, *, confined: bool = True) -> Played:
    """Play it; `confined` to namespaces and quotas, else over loopback, at whatever speed: that shows the machinery alone.

    `NotPermitted` where this machine does not allow it, `PartyFailed` if a process ends or hangs.
    """
    local, where = Local(scene), host.hierarchy() if confined else None
    if confined and where is None:
        raise host.NotPermitted("no control groups that divide CPU time are mounted")
    roster = [ClientId(u) for u in range(len(scene.seats))]
    identities = {u: SigningKey(os.urandom(32)) for u in roster}
    directory = Directory({u: identity_key(secret) for u, secret in identities.items()})
    examples = {int(u): local.examples(u) for u in roster}
    weights = {int(u): local.weight(u) for u in roster}
    with ExitStack() as stack:
        groups = None if where is None else stack.enter_context(host.Groups(where))

        def party(kind: type[ClientParty] | type[ServerParty], name: str) -> Party:
            made = Party(kind, name)
            stack.callback(made.end)
            if groups is not None:  # at once: on a busy machine it would take long to begin
                groups.put(made.pid, name=name, share=None)
            return made

        server = party(ServerParty, "server")
        clients = [party(ClientParty, f"client-{u}") for u in roster]
        addresses = ["127.0.0.1"] * len(clients)
        if groups is not None:
            for one in (server, *clients):
                one.begin("isolate")
            Party.results([server, *clients], timeout=120)
            addresses = [
                host.wire(server=server.pid, client=c.pid, number=u, up_mbit=seat.up_mbit, down_mbit=seat.down_mbit)
                for u, (c, seat) in enumerate(zip(clients, scene.seats, strict=True))
            ]
        for u, one in zip(roster, clients, strict=True):
            one.begin("prepare", scene=scene, me=u, identity=identities[u], directory=directory)
        Party.results(clients, timeout=300)
        on_a_core, units = clients[0].ask("calibrate"), clients[0].ask("measure")
        port = server.ask("listen", address="0.0.0.0" if confined else "127.0.0.1")
        server.begin("admit", clients=len(clients))
        for one, address in zip(clients, addresses, strict=True):
            one.begin("connect", address=address, port=port)
        Party.results([server, *clients], timeout=60)
        if groups is not None:
            for one, seat in zip(clients, scene.seats, strict=True):
                groups.put(one.pid, name=one.name, share=seat.share)
        for one in clients:
            one.begin("calibrate")
        in_its_seat = Party.results(clients, timeout=300)
        for one in clients:
            one.begin("echo")
        links = tuple(
            Network(f"link {u}", up_mbit=up, down_mbit=down, latency_ms=1000 * latency)
            for u, (latency, up, down) in server.ask("probe").items()
        )
        Party.results(clients, timeout=60)
        calibrations = {
            CORE: Calibration((on_a_core,) * len(clients), units, links),
            SEAT: Calibration(tuple(in_its_seat), units, links),
        }
        expected = {
            name: tuple(
                forecast(
                    scene=scene,
                    calibration=calibration,
                    layout=local.layout,
                    model=local.initial(),
                    examples=examples,
                    weights=weights,
                )
            )
            for name, calibration in calibrations.items()
        }
        fits = fits_of(scene=scene, calibration=calibrations[SEAT], examples=examples)
        for u, one in zip(roster, clients, strict=True):
            one.begin("play", fits=fits[u])
        server.begin("play", scene=scene, layout=local.layout, model=local.initial(), directory=directory)
        logs = Party.results([server, *clients], timeout=120 + scene.rounds * scene.timeout)
        throttled = (
            {} if groups is None else {u: groups.throttled(c.name) for u, c in zip(roster, clients, strict=True)}
        )
    by_client = dict(zip(roster, map(tuple, logs[1:]), strict=True))
    return Played(
        scene,
        calibrations,
        expected,
        tuple(logs[0]),
        by_client,
        local.accuracy(logs[0][-1].model),
        all(sum_is_exact(scene, local, k, log, by_client) for k, log in enumerate(logs[0])),
        throttled,
    )


def sum_is_exact(
    scene: Scene, local: Local, at: int, log: ServerLog, clients: Mapping[ClientId, Sequence[ClientLog]]
) -> bool:
    """Whether the sum of one round is what the survivors trained, added up in the clear."""
    params = scene.params()
    found = {u: clients[u][at] for u in log.survivors}
    return log.sum_digest == plain_sum(
        updates={u: in_place(update=x.update, layout=local.layout, kept=x.kept) for u, x in found.items()},
        weights={u: local.weight(u) for u in found},
        slots={u: params.policy.grid.index(x.keep) for u, x in found.items()},
        buckets={},
        params=params,
    )
