"""Corruption: one wrong message that makes the sum wrong."""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import numpy as np

from clip_ref.attacks.outcome import Attack, Outcome
from clip_ref.attacks.stage import BASIC, HARD, LAYOUT, Fleet, Hoarder, Ints, policy, whole
from clip_ref.errors import ContributionError
from clip_ref.messages import MaskedInput, Unmask
from clip_ref.params import Params, SecurityLevel
from clip_ref.round import Assignment, Client, Leg, run_round
from clip_ref.round.driver import Network, RoundResult
from clip_ref.values import ClientId, Floats
from clip_ref.wire import HEADER_BYTES

SABOTEUR: Final = ClientId(1)
VICTIM: Final = ClientId(3)


class Saboteur(Client):
    """Reveals a share of the victim's b_u that differs in one bit from the one it was sent."""

    def _unmask(self) -> Unmask:
        honest = super()._unmask()
        wrong = tuple((u, bytes([s[0] ^ 1]) + s[1:]) if u == VICTIM else (u, s) for u, s in honest.self_shares)
        return self._signed(attrs.evolve(honest, self_shares=wrong, signature=b""), self._ctx)


def _run(
    fleet: Fleet, clients: Mapping[ClientId, Client], network: Network | None = None
) -> tuple[Hoarder, RoundResult | ContributionError]:
    """A round through the driver, and what came of it."""

    def train(assignments: Mapping[ClientId, Assignment]) -> dict[ClientId, Floats]:
        return {u: fleet.train(u, a) for u, a in assignments.items()}

    server = Hoarder(fleet, fleet.state())
    try:
        if network is None:
            return server, run_round(server=server, clients=clients, train=train)
        return server, run_round(server=server, clients=clients, train=train, network=network)
    except ContributionError as fault:
        return server, fault


def _off(fleet: Fleet, server: Hoarder, members: Sequence[ClientId]) -> Ints:
    """By how much the sum is off at each coordinate, in ring elements: int64[123]."""
    true = sum((whole(fleet, u) * fleet.weight(u) for u in members), np.zeros(LAYOUT.size, dtype=np.int64))
    found = fleet.params.encoding.ring.centred(np.ascontiguousarray(server.total_unmasked[: LAYOUT.size]))
    return found - true


def _share(seed: int, level: SecurityLevel) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=level))
    clients = fleet.clients() | {SABOTEUR: fleet.client(SABOTEUR, Saboteur)}
    server, result = _run(fleet, clients)
    off = np.abs(_off(fleet, server, fleet.ids))
    steps = off.max() / sum(fleet.weight(u) for u in fleet.ids)
    if isinstance(result, ContributionError):
        return Outcome(
            bool(off.any()),
            f"a sum that is wrong in {np.count_nonzero(off)} of {LAYOUT.size} coordinates, by up to {steps:,.0f} quantisation "
            f"steps of the mean; that the weights make no sense shows it ({result.rule}), but nothing shows whose fault it is",
            steps,
        )
    fault = result.faults[0]
    named = f"{fault}; the round ends with the exact sum of all ten (off by {off.max()})"
    return Outcome(bool(off.any()) or fault.culprit != SABOTEUR, named, float(off.max()), stopped_by=fault.rule)


SHARE: Final = Attack(
    name="corrupt-share",
    title="one wrong share",
    story="A client reveals one share with one bit flipped. The self mask that is rebuilt from it is another, and the sum is "
    "random. Taken out: the commitments to shares.",
    defence="ROU-19",
    without=lambda seed: _share(seed, BASIC),
    against=lambda seed: _share(seed, HARD),
)

SHIFT, AT = 1 << 20, 17


def _tamper(seed: int, level: SecurityLevel) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=level))

    def network(leg: Leg, client: ClientId, up: bool, data: bytes) -> Sequence[bytes]:
        if leg is not Leg.INPUT or not up or client != VICTIM:
            return (data,)
        place = HEADER_BYTES + 4 * AT
        moved = (int.from_bytes(data[place : place + 4], "little") + SHIFT) % (1 << 32)
        return (data[:place] + moved.to_bytes(4, "little") + data[place + 4 :],)

    server, result = _run(fleet, fleet.clients(), network)
    assert not isinstance(result, ContributionError)
    off = _off(fleet, server, result.u3)
    steps = SHIFT / sum(fleet.weight(u) for u in fleet.ids)
    if not result.faults:
        return Outcome(
            bool(off[AT] == SHIFT and np.count_nonzero(off) == 1),
            f"the mean is moved at coordinate {AT} by {steps:,.0f} quantisation steps, exactly as wanted, and nobody noticed",
            steps,
        )
    fault = result.faults[0]
    evidence = f"{fault}; the round ends with the exact sum of the other {len(result.u3)} (off by {np.abs(off).max()})"
    return Outcome(bool(off.any()), evidence, float(np.abs(off).max()), stopped_by=fault.rule)


TAMPERED: Final = Attack(
    name="tampered-upload",
    title="a number added to an upload on its way",
    story="Somebody on the network adds 2²⁰ to one element of a masked vector. Masks hide, they do not authenticate: the sum "
    "moves by just that. Taken out: the signature on what is uploaded.",
    defence="KEY-9",
    without=lambda seed: _tamper(seed, BASIC),
    against=lambda seed: _tamper(seed, HARD),
)


class SwallowsNan(Client):
    """Codes NaN as the smallest 32-bit integer, as a cast in C does, where COD-2 refuses it."""

    def masked_input(self, delta: Floats) -> MaskedInput:
        """Upload whatever it is given."""
        bad = np.isnan(delta)
        honest = super().masked_input(np.where(bad, np.float32(0), delta))
        vector = honest.vector.copy()
        vector[: LAYOUT.size][bad] = honest.vector[: LAYOUT.size][bad] + np.uint32(1 << 31)
        return attrs.evolve(honest, vector=vector)


def _nan(seed: int, level: SecurityLevel, kind: type[Client]) -> Outcome:
    fleet = Fleet(seed, Params(clients=10, policy=policy(), security=level))

    def diverged(assignments: Mapping[ClientId, Assignment]) -> dict[ClientId, Floats]:
        updates = {u: fleet.train(u, a) for u, a in assignments.items()}
        updates[VICTIM] = np.where(np.arange(LAYOUT.size) == AT, np.float32("nan"), updates[VICTIM])
        return updates

    server = Hoarder(fleet, fleet.state())
    result = run_round(server=server, clients=fleet.clients(kind), train=diverged)
    off = np.abs(_off(fleet, server, fleet.ids))
    steps = off[AT] / sum(fleet.weight(u) for u in fleet.ids)
    return Outcome(
        bool(off[AT]) and not result.faults,
        f"one NaN of one client moves the mean of coordinate {AT} by {steps:,.0f} quantisation steps, and nobody noticed",
        steps,
    )


NAN: Final = Attack(
    name="nan-update",
    title="an update with a NaN in it",
    story="A client whose training diverged uploads a NaN. A cast to integers makes a huge number of it, and the sum takes it "
    "in. Taken out: the refusal of what is not finite.",
    defence="COD-2",
    without=lambda seed: _nan(seed, BASIC, SwallowsNan),
    against=lambda seed: _nan(seed, HARD, Client),
)
