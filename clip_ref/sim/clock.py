"""The clock: one round as discrete events.   Spec: clock, rules CLK-1..CLK-6.

A round is four legs, or five at security level `hardened`. On each, the server sends to everybody at once; each client
downloads, works and uploads, one after the other; the leg ends at the *barrier*, when the last answer that is due has come,
and the next one starts there. After the last leg the server works alone. Links are the clients' own and the server's is
never the bottleneck: messages do not wait for one another. Hence the time that a client declares, e = down + select + fit +
mask + up of leg `input`, is exactly its arrival less the leg's start, which the deadline theorem takes for granted; in
deadline mode, less the time for which it held its upload back, too.

All times are integer microseconds from the round's start. Nothing is random: equal arguments give equal timelines.
"""

import heapq
import itertools
from collections.abc import Collection, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Final, Generic, TypeVar

import attrs

from clip_ref.errors import PreconditionError
from clip_ref.round.cost import LEGS, Leg, LegCost, Work
from clip_ref.sim.costs import UnitCosts, duration
from clip_ref.sim.fleet import ClientProfile, Device, Fleet, to_microseconds
from clip_ref.values import Microseconds, saturate

_E = TypeVar("_E")

TRAINING_PASSES: Final = 3
"""A training step costs three forward passes: the forward one, and two of its size backward (inputs and weights)."""


def mac_fit(*, device: Device, macs_per_example: int, examples: int, epochs: int) -> Microseconds:
    """CLK-2: the deterministic fit: 3 · MACs · examples · epochs · slow_down / (ghz · macs_per_cycle), in µs.

    `macs_per_example` are the multiply-accumulates of the sub-model's forward pass on one example.
    """
    macs = TRAINING_PASSES * macs_per_example * examples * epochs
    return _slowed(Fraction(macs) / Fraction(device.macs_per_cycle), device)


def measured_fit(
    *, device: Device, cpu_seconds_per_example: float, host_ghz: float, examples: int, epochs: int
) -> Microseconds:
    """CLK-2: the measured fit: the cycles that training took on a host of `host_ghz`, on a device slower by its `slow_down`.

    `cpu_seconds_per_example` is the CPU time of one example's training step there, forward and backward.
    """
    cycles = Fraction(cpu_seconds_per_example) * Fraction(host_ghz) * 10**9 * examples * epochs
    return _slowed(cycles, device)


def _slowed(cycles: Fraction, device: Device) -> Microseconds:
    return to_microseconds(cycles * Fraction(device.slow_down) / (Fraction(device.ghz) * 1000))


class Activity(StrEnum):
    """What a client does."""

    DOWNLOAD = "download"
    """Receives the server's message."""

    ADVERTISE = "advertise"
    """Makes its keys."""

    SHARE = "share"
    """Shares its secrets and seals its record."""

    SELECT = "select"
    """Opens the records and chooses its neurons."""

    FIT = "fit"
    """Trains."""

    MASK = "mask"
    """Encodes and masks its update."""

    CONSISTENCY = "consistency"
    """Signs what it was told of U2 and U3."""

    UNMASK = "unmask"
    """Gathers the shares that the server asked for."""

    HOLD = "hold"
    """Is ready to send its masked update before it may."""

    UPLOAD = "upload"
    """Sends its answer."""

    WAIT = "wait"
    """Has answered, and waits for the others."""


@attrs.frozen
class Span:
    """One activity of one client; it may take no time at all."""

    client: int
    """The client's index."""

    activity: Activity
    """What it did."""

    leg: Leg
    """On which leg."""

    start: Microseconds
    """When it began."""

    end: Microseconds
    """When it was done: at least `start`."""


@attrs.frozen
class Observed:
    """What a client measured on leg `input`; but for the fit, it goes into its next time record."""

    down: Microseconds
    """The transfer of the server's message, the model within."""

    select: Microseconds
    """Choosing neurons."""

    fit: Microseconds
    """Training."""

    mask: Microseconds
    """Encoding and masking."""

    up: Microseconds
    """The transfer of the masked update."""


@attrs.frozen
class Timeline:
    """A round in time."""

    spans: tuple[Span, ...]
    """What the clients did, in order of ending; each client's activities follow one another without a gap."""

    barriers: Mapping[Leg, Microseconds]
    """When each leg ended; legs that a round aborted before are missing."""

    patience: Mapping[Leg, Microseconds]
    """Until when the server waited, on the legs on which somebody stayed silent; others are missing."""

    end: Microseconds
    """The end of the round: the last barrier, and the server's own work."""

    def arrivals(self, leg: Leg) -> tuple[tuple[Microseconds, int], ...]:
        """When whose answer came on `leg`, by time, then by index: what the server could see."""
        uploads = (s for s in self.spans if s.leg is leg and s.activity is Activity.UPLOAD)
        return tuple(sorted((s.end, s.client) for s in uploads))

    def observed(self, client: int) -> Observed:
        """CLK-4: what `client` measured on leg `input`; with what it held back, they sum to its arrival less the leg's start.

        `PreconditionError` if it sent no masked update.
        """
        took = {
            s.activity: Microseconds(s.end - s.start) for s in self.spans if s.client == client and s.leg is Leg.INPUT
        }
        if Activity.UPLOAD not in took:
            raise PreconditionError(rule="CLK-4", detail=f"client {client} sent no masked update in this round")
        return Observed(
            down=took[Activity.DOWNLOAD],
            select=took[Activity.SELECT],
            fit=took[Activity.FIT],
            mask=took[Activity.MASK],
            up=took[Activity.UPLOAD],
        )


class EventQueue(Generic[_E]):
    """Events to come, taken in order of time, those of one instant in the order in which they were put in."""

    def __init__(self) -> None:
        self._heap: list[tuple[Microseconds, int, _E]] = []
        self._count = itertools.count()

    def put(self, time: Microseconds, event: _E) -> None:
        """Let `event` happen at `time`."""
        heapq.heappush(self._heap, (time, next(self._count), event))

    def take(self) -> tuple[Microseconds, _E]:
        """The next event, with its time; the queue must not be empty."""
        time, _, event = heapq.heappop(self._heap)
        return time, event

    def __bool__(self) -> bool:
        """Whether any event is left."""
        return bool(self._heap)


@attrs.frozen
class _Done:
    """A client is done with an activity; `rest` are those to follow, with what they take in µs."""

    span: Span
    rest: tuple[tuple[Activity, Microseconds], ...]


@attrs.frozen
class _Timeout:
    """The server stops waiting for those who have not answered."""


@attrs.frozen
class _Exchange:
    """One leg's clients: the server waits for the `invited`; of them some are still `active`; of these some answer."""

    leg: Leg
    invited: frozenset[int]
    active: frozenset[int]
    answering: frozenset[int]


def simulate(
    *,
    fleet: Fleet,
    costs: Mapping[int, Mapping[Leg, LegCost]],
    fits: Mapping[int, Microseconds],
    server_work: Work,
    units: UnitCosts,
    timeout: Microseconds | None = None,
    not_before: int = 0,
) -> Timeline:
    """CLK-3, CLK-5: the timeline of one round.

    `costs` says, for each client that is invited to the round, by its index, what it did on each leg. It decides who
    answers, not the clock: a client without a leg was gone before it, one with up_bytes = 0 fell silent on it, and from then
    on neither is invited. A leg on which somebody is silent lasts `timeout` (by default the fleet's) from its start, or until
    the last answer if that is later. A leg that none of the invited has a cost on did not take place: the round was aborted.
    `fits` is the training time of those with a cost on leg `input`. `server_work` is done at the end, on the fleet's server.
    In deadline mode no upload of leg `input` begins earlier than `not_before` µs after the leg's start.

    `PreconditionError` (CLK-3): nobody takes part, a client that the fleet lacks, one that answers after it fell silent, one
    without a fit, a timeout or a public time below 0.
    """
    patience = fleet.timeout if timeout is None else timeout
    if patience < 0:
        raise PreconditionError(rule="CLK-3", detail=f"a timeout is at least 0 µs, got {patience}")
    if not_before < 0:
        raise PreconditionError(rule="CLK-3", detail=f"uploads start at least 0 µs into their leg, got {not_before}")
    exchanges = _exchanges(fleet, costs, fits)
    queue: EventQueue[_Done | _Timeout] = EventQueue()
    spans: list[Span] = []
    barriers: dict[Leg, Microseconds] = {}
    waited: dict[Leg, Microseconds] = {}
    now = Microseconds(0)

    def begin(client: int, leg: Leg, todo: tuple[tuple[Activity, Microseconds], ...]) -> None:
        (activity, took), *rest = todo
        end = saturate(now + took)
        queue.put(end, _Done(Span(client, activity, leg, now, end), tuple(rest)))

    def finish(event: _Done) -> None:
        spans.append(event.span)
        if event.rest:
            begin(event.span.client, event.span.leg, event.rest)

    for exchange in exchanges:
        leg, arrived = exchange.leg, dict[int, Microseconds]()
        for client in sorted(exchange.active):
            fit = fits.get(client, Microseconds(0))
            begin(client, leg, _activities(leg, fleet.clients[client], costs[client][leg], fit, units, not_before))
        silent = exchange.answering != exchange.invited
        if silent:
            waited[leg] = saturate(now + patience)
            queue.put(waited[leg], _Timeout())
        while silent or len(arrived) < len(exchange.answering):
            now, event = queue.take()
            if isinstance(event, _Timeout):
                silent = False
                continue
            finish(event)
            if event.span.activity is Activity.UPLOAD:
                arrived[event.span.client] = now
        barriers[leg] = now
        spans.extend(Span(client, Activity.WAIT, leg, at, now) for client, at in arrived.items())
    end = saturate(now + duration(work=server_work, units=units, device=fleet.server))
    while queue:  # those who fell silent may still be at work
        now, event = queue.take()
        if isinstance(event, _Done):
            finish(event)
    return Timeline(spans=tuple(spans), barriers=barriers, patience=waited, end=end)


def _exchanges(
    fleet: Fleet, costs: Mapping[int, Mapping[Leg, LegCost]], fits: Mapping[int, Microseconds]
) -> list[_Exchange]:
    """Who takes part in each leg that took place; refuses costs that contradict themselves (CLK-3)."""
    agreed = any(Leg.CONSISTENCY in legs for legs in costs.values())
    held = [leg for leg in LEGS if agreed or leg is not Leg.CONSISTENCY]
    for client, legs in costs.items():
        if not 0 <= client < len(fleet.clients):
            raise PreconditionError(
                rule="CLK-3", detail=f"client {client} is not among the fleet's {len(fleet.clients)} (from 0)"
            )
        if Leg.INPUT in legs and client not in fits:
            raise PreconditionError(rule="CLK-3", detail=f"client {client} trains, but has no fit time")
        answers = [leg in legs and legs[leg].up_bytes > 0 for leg in held]
        if answers != sorted(answers, reverse=True):
            raise PreconditionError(rule="CLK-3", detail=f"client {client} answers on a leg after it fell silent")
    out = []
    invited = frozenset(costs)
    for leg in held:
        active = frozenset(client for client in invited if leg in costs[client])
        if not active:
            break
        answering = frozenset(client for client in active if costs[client][leg].up_bytes > 0)
        out.append(_Exchange(leg, invited, active, answering))
        invited = answering
    if not out:
        raise PreconditionError(
            rule="CLK-3", detail="nobody takes part in the round: no client has a cost on its first leg"
        )
    return out


def _activities(
    leg: Leg, profile: ClientProfile, cost: LegCost, fit: Microseconds, units: UnitCosts, not_before: int
) -> tuple[tuple[Activity, Microseconds], ...]:
    """What one client does on one leg, in order, and how long each takes; `fit` and `not_before` count on leg `input` alone.

    CLK-5, DDL-3: a client that is ready before the public time holds its upload back until then; any other one does not wait.
    """

    def work(counted: Work) -> Microseconds:
        return duration(work=counted, units=units, device=profile.device)

    todo = [(Activity.DOWNLOAD, profile.network.down(length=cost.down_bytes))]
    if leg is Leg.INPUT:
        todo += [(Activity.SELECT, work(cost.work)), (Activity.FIT, fit), (Activity.MASK, work(cost.masking))]
    else:
        todo.append((Activity(leg.value), work(cost.work)))
    if cost.up_bytes > 0:
        if leg is Leg.INPUT and not_before:
            todo.append((Activity.HOLD, saturate(not_before - sum(took for _, took in todo))))
        todo.append((Activity.UPLOAD, profile.network.up(length=cost.up_bytes)))
    return tuple(todo)


def round_bound(*, timeline_full: Timeline, stragglers: Collection[int]) -> float:
    """CLK-6: the share of a round that pruning can save at most: 1 − T*/T_slowest, in [0, 1).

    `timeline_full` is a round in which nobody prunes nor holds back. T_slowest is its end; T* the end it would have if the
    stragglers were as fast on leg `input` as the slowest of the others. What all have in common is on both sides. 0.0 if
    there is nothing to gain, or nobody else.
    """
    others = [at for at, client in timeline_full.arrivals(Leg.INPUT) if client not in stragglers]
    if not others:
        return 0.0
    earliest = max(max(others), timeline_full.patience.get(Leg.INPUT, 0))
    saved = timeline_full.barriers[Leg.INPUT] - earliest
    return float(Fraction(saved, timeline_full.end)) if saved > 0 else 0.0
