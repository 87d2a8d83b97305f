"""A whole training run, round by round: secure rounds, real training, simulated time.   Spec: runs, rules LAB-1..LAB-12."""

import csv
import functools
import hashlib
import io
import itertools
import json
import math
import statistics
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref import elision, graph
from clip_ref.canonical import digest
from clip_ref.codec import weight_of
from clip_ref.elision import Part, Residual
from clip_ref.errors import ClipError, PreconditionError
from clip_ref.identification import identify
from clip_ref.invariance import score
from clip_ref.keys import Directory, identity_key
from clip_ref.lab.methods import method as find_method
from clip_ref.lab.variants import EXPIRY, GapClient, SeeingServer, ToldClient, seen_changes
from clip_ref.layout import Kept, Layout, kept_count
from clip_ref.messages import TimeRecord
from clip_ref.params import MAX_HOLDERS, Encoding, Mean, Params, PruningPolicy, Score, SecurityLevel
from clip_ref.rand import derive
from clip_ref.round import NO_JOURNAL, Assignment, Client, RoundResult, Server, State, run_round
from clip_ref.round.cost import Leg, LegCost, Work
from clip_ref.round.driver import Observer
from clip_ref.scores import LayerScores, invariant
from clip_ref.sim.clock import TRAINING_PASSES, Observed, Timeline, mac_fit, measured_fit, round_bound, simulate
from clip_ref.sim.costs import DECLARED
from clip_ref.sim.fleet import Fleet, load_fleet, slow_clients
from clip_ref.submodel import expand
from clip_ref.train.data import STAND_IN_PASSES, Source, load_task, stand_in_examples
from clip_ref.train.partition import slow_classes
from clip_ref.train.pool import FitJob, Pool
from clip_ref.transcript import Transcript
from clip_ref.values import ClientId, Digest, Floats, Microseconds, RoundNumber, SigningKey

CORRUPT: Final = 100
"""How many clients may be corrupt where k is not chosen, ‰."""

DROPPED: Final = 100
"""How many may drop out, likewise, ‰."""

HOST_GHZ: Final = 3.0
"""With the measured clock, the machine that runs this counts as a core of so many GHz, before a device's slow-down."""


class Clock(StrEnum):
    """What a fit takes."""

    MACS = "macs"
    """Counted multiply-accumulates over the device's rate: the same on every machine."""

    MEASURED = "measured"
    """CPU time of really training each sub-model here, the median of five, scaled to the device."""


def _pairs(changes: Iterable[Iterable[Any]]) -> tuple[tuple[str, Any], ...]:
    """Names and values, from tuples or from the lists that JSON has for them."""
    return tuple((name, value) for name, value in changes)


@attrs.frozen(kw_only=True)
class RunConfig:
    """What determines a run. Equal configurations give equal results on one machine."""

    task: str = "digits"
    """The task's name."""

    data_dir: str | None = None
    """Where the task's data are, if they do not ship."""

    partition: str = "natural"
    """Who has which examples: `natural`, `iid`, `dirichlet:ALPHA` or `devices:SHARE`."""

    examples: int | None = None
    """At most so many training examples in all; time is billed as if all there are were trained on. None: all."""

    method: str = "clip"
    """The method's name."""

    changes: tuple[tuple[str, Any], ...] = attrs.field(default=(), converter=_pairs)
    """What is changed in its policy: names of fields, and their values."""

    clients: int = 20
    """n, 2 … 500: how many take part in each round."""

    neighbours: int = 0
    """k on a graph; 0: a clique, and with more clients than a clique can have, the k that GRA-9 wants."""

    stragglers: int = 4
    """How many clients are slow: at most half. A fleet that says which share of them is slow goes before it."""

    rounds: int = 12
    """How many rounds, at least 1."""

    trained: bool = True
    """Whether clients really train; else updates are made up, and only times count."""

    evaluate_every: int = 1
    """The model is evaluated after every so many rounds, 1 … rounds."""

    fleet: str = "paper"
    """A fleet's name, or the path of a file that describes one; and behaviour, as in `paper+jitter:0.1+churn:0.3`."""

    clock: Clock = Clock.MACS
    """What a fit takes."""

    security: SecurityLevel = SecurityLevel.HARDENED
    """What is checked."""

    deadline: int = 0
    """Deadline mode: the longest that uploads are held back, µs; 0: not at all."""

    elide: int = 0
    """The share of neurons that all leave out of a round that is not whole, ‰, 0 … 900; 0: every round is whole."""

    full_every: int = 4
    """Every so many rounds one is whole, 2 … 100; of no account where nothing is elided."""

    seed: int = 1
    """Draws the initial model, the batches, who is slow, and in a simulation the clients' secrets too; 0 … 2⁶³ − 1."""

    def __attrs_post_init__(self) -> None:
        """LAB-1: refuse what cannot be run, before anything is."""
        find_method(self.method, self.changes)
        if not 1 <= self.evaluate_every <= max(1, self.rounds):
            raise PreconditionError(
                rule="LAB-1",
                detail=f"a run of {self.rounds} rounds is evaluated after every 1 … {self.rounds}, got {self.evaluate_every}",
            )
        if not self.trained and self.clock is Clock.MEASURED:
            raise PreconditionError(rule="LAB-1", detail="the measured clock measures training: it needs it")
        if self.rounds < 1:
            raise PreconditionError(rule="LAB-1", detail=f"a run has at least 1 round, got {self.rounds}")
        if not 0 <= 2 * self.stragglers <= self.clients:
            raise PreconditionError(
                rule="LAB-1",
                detail=f"of {self.clients} clients 0 … {self.clients // 2} can be stragglers, got {self.stragglers}",
            )
        if not 0 <= self.seed < 1 << 63:
            raise PreconditionError(rule="LAB-1", detail=f"a seed is 0 … 2^63 - 1, got {self.seed}")
        self._check_elision()
        load_task(self.source()).clients(self.population if self.clients > 0 else self.clients)
        left = self.invited
        if left < 2:
            raise PreconditionError(
                rule="LAB-1",
                detail=f"`{self.method}` leaves {left} of {self.clients} clients and a round needs 2: take more clients",
            )
        self.params(left)

    def _check_elision(self) -> None:
        """ELI-9: refuse what elision does not go with."""
        elision.check_schedule(elide=self.elide, every=self.full_every)
        if not self.elide:
            return
        chosen = find_method(self.method, self.changes)
        for wrong, why in (
            (self.neighbours or self.clients > MAX_HOLDERS, "a graph: T* there is that of a round of another length"),
            (self.clock is Clock.MEASURED, "the measured clock, which has measured whole models alone"),
            (chosen.watches or chosen.gaps, f"`{self.method}`, whose scores are those of whole models"),
        ):
            if wrong:
                raise PreconditionError(rule="ELI-9", detail=f"elision does not go with {why}")

    @property
    def lengths(self) -> int:
        """How many lengths masked inputs have in the course of the run."""
        return lengths_of(elide=self.elide, full_every=self.full_every, rounds=self.rounds)

    def load_fleet(self) -> Fleet:
        """Who has which device and network, and how that changes."""
        return load_fleet(self.fleet, clients=self.clients, stragglers=self.stragglers, seed=self.seed)

    @property
    def population(self) -> int:
        """N: among how many clients the data are dealt; with churn more than take part in a round."""
        return len(self.load_fleet().clients)

    def source(self) -> Source:
        """Which data, and how they are dealt."""
        return Source(
            task=self.task,
            data_dir=self.data_dir,
            partition=self.partition,
            examples=self.examples,
            seed=self.seed,
            slow=self.load_fleet().stragglers if self.partition.startswith("devices") else (),
        )

    @property
    def invited(self) -> int:
        """LAB-8: how many clients each round is one of."""
        fleet = self.load_fleet()
        return len(fleet.present(1, excluded=fleet.stragglers if find_method(self.method).excludes else ()))

    def params(self, clients: int) -> Params:
        """LAB-7: what the parties of the run agree on, `clients` of them."""
        policy = find_method(self.method, self.changes).policy
        if policy.straggler_share:
            slow = slow_clients(self.load_fleet().behaviour, clients=self.clients, asked=self.stragglers)
            share = -(-1000 * slow // self.clients)
            policy = attrs.evolve(policy, straggler_share=share)
        policy = attrs.evolve(policy, deadline=self.deadline)
        sharing = {"neighbours": self.neighbours}
        if clients > MAX_HOLDERS and not self.neighbours:
            neighbours, threshold = graph.choose(clients=clients, corrupt=CORRUPT, dropped=DROPPED)
            sharing = {"neighbours": neighbours, "threshold": threshold}
        if sharing["neighbours"]:
            policy = policy.for_graph()
        encoding, cap = Encoding(), policy.holder_cap if policy.mean.scales else 1
        largest = (encoding.ring.modulus // 2 - 1) // (clients * encoding.steps * cap)
        encoding = attrs.evolve(encoding, weight_max=min(encoding.weight_max, largest))
        return Params(clients=clients, policy=policy, encoding=encoding, security=self.security, **sharing)

    def as_dict(self) -> dict[str, Any]:
        """Every field, as JSON has it."""
        plain = attrs.asdict(self, value_serializer=lambda _, __, v: v.value if isinstance(v, StrEnum) else v)
        return plain | {"changes": [list(change) for change in self.changes]}


def lengths_of(*, elide: int, full_every: int, rounds: int) -> int:
    """How many lengths masked inputs have in so many rounds: one, or that of whole rounds and of the others (ELI-1)."""
    return 2 if elide and rounds >= full_every else 1


@attrs.frozen(kw_only=True)
class RoundRow:
    """One line of `rounds.csv`."""

    method: str
    """The method."""

    round: int
    """i, from 1."""

    round_seconds: float
    """How long the round took, simulated."""

    total_seconds: float
    """Simulated time from the start of the run to this round's end."""

    unpruned_seconds: float
    """How long the same round of the same clients would have taken had nobody pruned, nor held an upload back."""

    bound: float
    """1 − T*/T_slowest: the largest share of `unpruned_seconds` that pruning could have saved.

    T* is the time of the slowest but for as many as the fleet has slow clients in the round.
    """

    accuracy: float | None
    """On the unseen test, 0 … 1, after the round; none where it was not evaluated."""

    slow_accuracy: float | None
    """The same on the classes that slow devices hold most of; none if the data are not dealt so."""

    present: str
    """Who was invited, ids in ascending order."""

    without_model: int
    """How many of them lacked the history model, and hence kept everything."""

    survivors: int
    """|U3|."""

    target_us: int
    """T* that verdicts went by, in µs; 0: none. On a graph that of the last round's histogram."""

    stragglers: str
    """Who had the status, ids in ascending order."""

    keep_levels: str
    """The keep levels of those who pruned, ‰, in the same order of ids."""

    pruned_neurons: int
    """Neurons that the smallest sub-model of the round lacked."""

    slack_neurons: int
    """How many of them were not invariant by the policy's threshold."""

    pruned_again: float | None
    """The share of them that the smallest sub-model of the round before lacked too; none if either lacked none."""

    secure_sum: str
    """The digest of the sum over Z_R that the masks gave up, in hex."""

    plain_sum: str
    """The digest of the same sum computed from the updates themselves, without the protocol."""

    upload_bytes: str
    """The distinct lengths of the masked inputs, ascending: one, or something is wrong."""

    one_shape: bool
    """Whether the server saw the same sequence of kinds and lengths from every client."""

    not_before_seconds: float
    """In deadline mode, how long after the start of `Deliver` uploads began; else 0."""


@attrs.frozen
class Memory:
    """What a client remembers from the rounds that it took part in."""

    observed: Mapping[int, tuple[Observed, ...]]
    """Its times in the last of them, latest last, as many as it declares the median of, by the size of the round's model."""

    straggler: bool
    """Its status in the last one."""


Scale = tuple[int, NDArray[np.int64]]
"""A numerator, and a denominator for each coordinate, int64[d]."""


def plain_sum(
    *,
    updates: Mapping[ClientId, Floats],
    weights: Mapping[ClientId, int],
    slots: Mapping[ClientId, int],
    buckets: Mapping[ClientId, int],
    params: Params,
    scales: Mapping[ClientId, Scale] | None = None,
) -> Digest:
    """LAB-2: the digest of Σ weight·round(clip(Δ)·steps/C) mod R and of the extras, from full-length updates in the clear.

    Written without the protocol's modules: what the secure sum is held against in every round. `slots` says at which extra
    each client's weight stands, `buckets` where in the histogram of a graph those count who have times. `scales` has for those
    who scale their values a numerator and, for each coordinate, a denominator.
    """
    encoding = params.encoding
    size = len(next(iter(updates.values())))
    total = np.zeros(size + params.extras, dtype=object if encoding.ring_bits == 64 else np.int64)
    for client, update in updates.items():
        clipped = np.minimum(np.maximum(update.astype(np.float64), -encoding.clip), encoding.clip)
        values = weights[client] * np.round(clipped * encoding.steps / encoding.clip).astype(np.int64)
        total[:size] += (
            _scaled(values, scales[client], params.policy.holder_cap) if scales and client in scales else values
        )
        total[size + slots[client]] += weights[client]
        if client in buckets:
            total[size + len(params.policy.grid) + buckets[client]] += 1
    return digest("sum", ((total % encoding.ring.modulus).astype(encoding.ring.dtype).tobytes(),))


def _scaled(values: NDArray[np.int64], scale: Scale, cap: int) -> NDArray[np.int64]:
    """LAB-2: each value times the least of its fraction and `cap`, to the nearest integer, ties to even."""
    top, bottom = scale
    out = np.zeros_like(values)
    for below in np.unique(bottom[bottom > 0]):
        here = bottom == below
        factor = min(Fraction(top, int(below)), Fraction(cap))
        distinct, where = np.unique(values[here], return_inverse=True)
        out[here] = np.array([round(int(v) * factor) for v in distinct], dtype=np.int64)[where]
    return out


def bucket(*, time: int, policy: PruningPolicy) -> int:
    """LAB-2: where in the histogram of a graph a time in µs counts; like `plain_sum`, without the protocol's modules."""
    at, edge = 0, policy.bucket_first
    while time > edge and at < policy.bucket_count - 1:
        at, edge = at + 1, (edge * policy.bucket_ratio + 999) // 1000
    return at


def in_place(*, update: Floats, layout: Layout, kept: Kept) -> Floats:
    """LAB-2: a sub-model's update (float32[m]) at its coordinates of the full model, 0 elsewhere: float32[d].

    Like `plain_sum`, written without the protocol's modules: from what the layout says about each axis.
    """
    neurons, held = (
        {x.name: x.neurons for x in layout.layers},
        {name: set(index.tolist()) for name, index in kept.items()},
    )
    parts, at = [], 0
    for tensor in layout.tensors:
        places = [
            [
                i
                for i in range(axis.size)
                if axis.layer is None or i // axis.inner % neurons[axis.layer] in held[axis.layer]
            ]
            for axis in tensor.axes
        ]
        shape = [len(place) for place in places]
        whole = np.zeros(tensor.shape, dtype=np.float32)
        whole[np.ix_(*places)] = update[at : at + math.prod(shape)].reshape(shape)
        parts.append(whole.ravel())
        at += math.prod(shape)
    return np.concatenate(parts)


def _smallest(result: RoundResult) -> Kept:
    """What the smallest sub-model of a round keeps."""
    return min((a.kept for a in result.assignments.values()), key=lambda kept: sum(map(len, kept.values())))


class Run:
    """A training run between two rounds. `step` runs the next one."""

    def __init__(self, *, config: RunConfig, pool: Pool, initial: Floats | None = None) -> None:
        """A run before its first round, from `initial` (float32[d]) or from the model that the seed draws."""
        self.config, self._pool = config, pool
        self.fleet = config.load_fleet()
        self.params = config.params(config.invited)
        self.layout: Layout = pool.layout
        task = load_task(config.source())
        self._training = task.training
        self._examples = [len(labels) for _, labels in task.clients(config.population)]
        self._nominal = task.nominal(config.population)
        self._method = find_method(config.method, config.changes)
        self._excluded = self._slowest(len(self.fleet.stragglers)) if self._method.excludes else frozenset()
        members = [ClientId(u) for u in range(len(self.fleet.clients)) if u not in self._excluded]
        self._identities = {u: SigningKey(self._draw("identity", u)) for u in members} if self.params.hardened else {}
        self.directory = Directory({u: identity_key(secret) for u, secret in self._identities.items()})
        model = pool.initial_model(seed=config.seed) if initial is None else initial
        self.state = State(self._draw("session")[:16], RoundNumber(1), model)
        self.rows: list[RoundRow] = []
        self.timeline: Timeline | None = None
        self._memory: dict[ClientId, Memory] = {}
        self._holders: frozenset[ClientId] = frozenset()
        """Who was sent the history model: all others keep an older one, if any, that no round goes back to."""
        self._slow_classes: tuple[int, ...] = ()
        if config.partition.startswith("devices"):
            self._slow_classes = tuple(slow_classes(labels=task.ordered[1], seed=config.seed))
        self._pruned: dict[str, list[int]] = {}
        """The neurons that the smallest sub-model of the round before lacked, by layer."""
        self._told: tuple[LayerScores, ...] = ()
        """What a server that sees single updates made of the last round's."""
        self._met: dict[ClientId, list[int]] = {}
        """Of clients that score with gaps, the rounds whose models they still have."""
        self._models: dict[int, Floats] = {}
        """Those models, by round."""
        self._part = self._part_in(self.state.round)
        """The part of the model that the round is about."""
        self._residuals: dict[ClientId, Residual] = {}
        """What clients have not sent yet; of those that have sent all there is none."""
        self._macs: dict[int, dict[int, int]] = {}

    def _part_in(self, number: int) -> Part:
        """ELI-1: the part of the model that round `number` is about."""
        config = self.config
        out = elision.left_out(
            layout=self.layout, elide=config.elide, every=config.full_every, round=RoundNumber(number)
        )
        return Part(self.layout, out)

    @property
    def roster(self) -> list[ClientId]:
        """LAB-8: who is invited to the next round, ascending: those present, or of those not left out as many."""
        return [ClientId(u) for u in self.fleet.present(self.state.round, excluded=self._excluded)]

    def _slowest(self, count: int) -> frozenset[int]:
        """LAB-8: the `count` clients that a whole round takes longest: to have the model, train it, send as much."""
        length, macs = 4 * self.layout.size, self.layout.macs()

        def takes(client: int) -> Microseconds:
            link = self.fleet.clients[client].network
            return Microseconds(
                link.down(length=length) + self._fit(self.fleet, client, 1000, macs) + link.up(length=length)
            )

        return frozenset(sorted(range(len(self.fleet.clients)), key=lambda u: (-takes(u), u))[:count])

    def _draw(self, purpose: str, *ids: int) -> bytes:
        """32 bytes from the run's seed. A real client would take them from its operating system."""
        return derive(secret=self.config.seed.to_bytes(8, "little"), salt=b"", purpose=f"simulated {purpose}", ids=ids)

    def _first(self, keep: int) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
        """A sub-model of the size that `keep` gives: cost depends on the size alone."""
        within = self._part.within
        return {name: np.arange(kept_count(len(index), keep), dtype=np.int64) for name, index in within.items()}

    @property
    def _macs_at(self) -> dict[int, int]:
        """What is trained at each keep level of the round, in MACs of an example's forward pass."""
        size = self._part.size
        if size not in self._macs:
            levels = {keep: self._part.trained(self._first(keep)) for keep in self.params.policy.grid}
            self._macs[size] = {keep: self.layout.shrunk(kept).macs() for keep, kept in levels.items()}
        return self._macs[size]

    @functools.cached_property
    def _data(self) -> str:
        return data_digest(self.config)

    @functools.cached_property
    def _seconds_at(self) -> dict[int, float]:
        """The measured clock: CPU seconds per example at each keep level, made monotone; each the median of five."""
        if self.config.clock is not Clock.MEASURED:
            return {}
        seconds = {keep: self._pool.measure_fit(kept=self._first(keep)) for keep in self.params.policy.grid}
        best = float("inf")
        for keep in self.params.policy.grid:
            best = seconds[keep] = min(best, seconds[keep])
        return seconds

    def _fit(self, fleet: Fleet, client: int, keep: int, macs: int) -> Microseconds:
        """What training takes a client of this fleet: nominal work, its whole shard times the epochs.

        And what looking for stand-ins takes, for a sub-model that has them.
        """
        device = fleet.clients[client].device
        examples, epochs = self._nominal[client], self._training.epochs
        looked_at = stand_in_examples(examples=examples, epochs=epochs)
        passes = STAND_IN_PASSES * looked_at / (TRAINING_PASSES * examples * epochs)
        if keep == 1000 or not self._method.stand_in:
            passes = Fraction(0)
        if self.config.clock is Clock.MEASURED:
            return measured_fit(
                device=device,
                cpu_seconds_per_example=self._seconds_at[keep] + float(passes) * self._seconds_at[1000],
                host_ghz=HOST_GHZ,
                examples=examples,
                epochs=epochs,
            )
        macs += math.ceil(passes * self.layout.macs())
        return mac_fit(device=device, macs_per_example=macs, examples=examples, epochs=epochs)

    def _predictions(self, client: int) -> tuple[int, ...]:
        """LAB-9: the client's own calibration: its fit at each keep level, without the jitter of any round."""
        fits = (self._fit(self.fleet, client, keep, macs) for keep, macs in self._macs_at.items())
        return tuple(itertools.accumulate(fits, min))  # stand-ins can cost more than the first level saves

    def _weight(self, client: int) -> int:
        return weight_of(examples=self._examples[client], encoding=self.params.encoding)

    def _record(self, client: ClientId) -> TimeRecord:
        """LAB-9, FLT-11: what a client says of itself: medians of the times that it remembers, and its calibration.

        ELI-8: its times are those of rounds as long as this one; it may have none.
        """
        memory = self._memory.get(client)
        known = memory.observed.get(self._part.size, ()) if memory else ()
        seen = [attrs.astuple(times) for times in known] or [(0,) * 5]
        down, select, _, mask, up = (
            self.fleet.declared(client, statistics.median_low(x)) for x in zip(*seen, strict=True)
        )
        return TimeRecord(
            has_time=bool(known),
            has_model=False,
            was_straggler=memory is not None and memory.straggler,
            down=down,
            select=select,
            mask=mask,
            up=up,
            fit=tuple(self.fleet.declared(client, fit) for fit in self._predictions(client)),
            weight=self._weight(client),
            entropy=b"",
        )

    def step(self, *, observe: Observer | None = None) -> RoundRow:
        """LAB-3: run the next round, check its sum against the plain one, bill its time, and go on to the next model.

        `observe` is told of every message, as the server saw it.
        """
        number, history, roster = self.state.round, self.state.history, self.roster
        self._part = part = self._part_in(number)
        whole = self.state
        here = State(
            whole.session,
            number,
            part.restrict(whole.model),
            None if whole.history is None else part.restrict(whole.history),
            whole.target,
        )
        layout = part.layout(whole.model)
        records = {u: self._record(u) for u in roster}
        clients = {u: self._client(u, records[u], here, layout) for u in roster}
        transcript = Transcript()
        updates: dict[ClientId, Floats] = {}
        kept_back: dict[ClientId, Floats] = {}
        shares = self._shares(records)

        def train(assignments: Mapping[ClientId, Assignment]) -> Mapping[ClientId, Floats]:
            before = {u: self._residuals[u].flat() for u in assignments if u in self._residuals}
            jobs = [
                FitJob(
                    client=u,
                    model=whole.model + before[u] if u in before else whole.model,
                    kept=part.trained(a.kept),
                    seed=self._batch_seed(number, u),
                    share=shares[u],
                    stand_in=self._method.stand_in,
                )
                for u, a in assignments.items()
            ]
            for (u, a), job, trained in zip(assignments.items(), jobs, self._pool.fit_many(jobs), strict=True):
                if part.is_whole and u not in before:
                    updates[u] = trained
                    continue
                update = expand(delta=trained, layout=self.layout, kept=job.kept)
                residual = before.get(u, np.zeros_like(update))
                updates[u], kept_back[u] = elision.settle(residual=residual, update=update, sent=part.sent(a.kept))
            return updates

        def watch(client: ClientId, to_server: bool, data: bytes) -> None:
            transcript.observe(client, to_server, data)
            if observe is not None:
                observe(client, to_server, data)

        result = run_round(server=self._server(here, layout), clients=clients, train=train, observe=watch)
        model = part.returned(model=whole.model, small=result.aggregate.model)
        timed = self._with_rest(result)
        self.timeline, unpruned = self._bill(timed, shares)
        row = self._row(timed, updates, records, transcript, model, self.timeline, unpruned)
        for u in kept_back.keys() & set(result.u3):
            self._residuals[u] = Residual.of(kept_back[u])
            if not len(self._residuals[u].values):
                del self._residuals[u]
        self._remember(result, updates, self.timeline)
        target = graph.target(histogram=result.aggregate.histogram, params=self.params)
        self.state = whole.completed(model, target=target)
        if self.state.history is not history:
            self._holders = frozenset(result.assignments)
        self.rows.append(row)
        return row

    def _with_rest(self, result: RoundResult) -> RoundResult:
        """ELI-7: the round with what it cost those to have the rest of the model who lacked it: its bytes, and their digest."""
        part, number = self._part, int(self.state.round)
        if part.is_whole:
            return result
        before = self._part_in(number - 1) if number > 1 else None
        same = before is not None and all(np.array_equal(part.out[name], before.out[name]) for name in part.out)
        extra = 4 * (self.layout.size - part.size)
        costs: dict[ClientId, Mapping[Leg, LegCost]] = dict(result.costs)
        for u in costs.keys() - (self._holders if same else set()):
            first = costs[u][Leg.ADVERTISE]
            paid = attrs.evolve(first, down_bytes=first.down_bytes + extra, work=first.work + Work(hashed_bytes=extra))
            costs[u] = {**costs[u], Leg.ADVERTISE: paid}
        return attrs.evolve(result, costs=costs)

    def _client(self, client: ClientId, record: TimeRecord, state: State, layout: Layout) -> Client:
        """One client of this round: the protocol's, unless the method is not."""
        number = state.round
        usual: dict[str, Any] = {
            "me": client,
            "params": self.params,
            "layout": layout,
            "record": record,
            "history": state.history if client in self._holders else None,
            "entropy": self._draw("entropy", number & 0xFFFFFFFF, number >> 32, client),
            "identity": self._identities.get(client),
            "directory": self.directory,
            "session": self.state.session,
            "journal": NO_JOURNAL,
        }
        if self._method.watches:
            return ToldClient(told=self._told, **usual)
        if self._method.gaps:
            return GapClient(seen=[(i, self._models[i]) for i in self._met.get(client, ())], **usual)
        return Client(**usual)

    def _server(self, state: State, layout: Layout) -> Server:
        usual: dict[str, Any] = {
            "params": self.params,
            "layout": layout,
            "state": state,
            "directory": self.directory,
        }
        return SeeingServer(told=self._told, **usual) if self._method.watches else Server(**usual)

    def _shares(self, records: Mapping[ClientId, TimeRecord]) -> dict[ClientId, int]:
        """LAB-10: how much of its batches each client trains on, ‰: all, unless the method shortens.

        A straggler then takes as many as take it what the sub-model of its keep level would, and keeps the whole model.
        """
        shares = dict.fromkeys(records, 1000)
        if self._method.shortens:
            share = -(-1000 * self._slow_count() // self.config.clients)
            params = attrs.evolve(
                self.params, policy=PruningPolicy(straggler_share=share, score=Score.SIZE, anonymity_blocks=False)
            )
            plan = identify(records=records, params=params, round=self.state.round)
            for u, verdict in plan.verdicts.items():
                shares[u] = max(1, 1000 * self._macs_at[verdict.keep] // self._macs_at[1000])
        return shares

    def _slow_count(self) -> int:
        return slow_clients(self.fleet.behaviour, clients=self.config.clients, asked=self.config.stragglers)

    def _remember(self, result: RoundResult, updates: Mapping[ClientId, Floats], timeline: Timeline) -> None:
        """LAB-9, LAB-11, LAB-12: what clients, and methods that are not the protocol's, need to know of it later on."""
        number = int(self.state.round)
        for u in result.u3:
            before = self._memory[u].observed if u in self._memory else {}
            times = (*before.get(self._part.size, ()), timeline.observed(u))[-self.fleet.behaviour.median :]
            straggler = result.assignments[u].verdict.straggler
            self._memory[u] = Memory({**before, self._part.size: times}, straggler)
        self._pruned = self._pruned_by(_smallest(result))
        if self._method.watches:
            fast = {u: updates[u] for u in result.u3 if not result.assignments[u].verdict.straggler}
            self._told = seen_changes(updates=fast, model=self.state.model, layout=self.layout)
        if self._method.gaps:
            self._models[number] = self.state.model
            for u in result.assignments:
                self._met.setdefault(u, []).append(number)
            self._met = {u: [i for i in met if i > number + 1 - EXPIRY] for u, met in self._met.items()}
            needed = {i for met in self._met.values() for i in met}
            self._models = {i: model for i, model in self._models.items() if i in needed}

    def _pruned_by(self, kept: Kept) -> dict[str, list[int]]:
        """The neurons that a sub-model of the round's layout lacks, by layer, as the whole layout counts them."""
        within = self._part.within
        return {
            name: np.delete(index, kept[name]).tolist()
            for name, index in within.items()
            if len(kept[name]) < len(index)
        }

    def _bill(self, result: RoundResult, shares: Mapping[ClientId, int]) -> tuple[Timeline, Timeline]:
        """LAB-9: what the round takes on today's fleet, and what it would had nobody pruned, nor held an upload back."""
        assignments = result.assignments
        trained = {u: self.layout.shrunk(self._part.trained(a.kept)).macs() for u, a in assignments.items()}
        macs = {u: trained[u] * shares[u] // 1000 for u in trained}
        today, full = self.fleet.at(self.state.round), self.layout.macs()
        fits = {int(u): self._fit(today, u, a.verdict.keep, macs[u]) for u, a in assignments.items()}
        unpruned = self._simulate(today, result, {int(u): self._fit(today, u, 1000, full) for u in assignments})
        return self._simulate(today, result, fits, next(iter(assignments.values())).not_before), unpruned

    def _batch_seed(self, number: int, client: int) -> int:
        """The same for every method: methods differ in the method alone."""
        return int.from_bytes(self._draw("batches", number & 0xFFFFFFFF, client)[:7], "little")

    def _row(
        self,
        result: RoundResult,
        updates: Mapping[ClientId, Floats],
        records: Mapping[ClientId, TimeRecord],
        transcript: Transcript,
        model: Floats,
        timeline: Timeline,
        unpruned: Timeline,
    ) -> RoundRow:
        assignments = result.assignments
        count = sum(u in assignments for u in self.fleet.stragglers)
        slow = [u for _, u in sorted(unpruned.arrivals(Leg.INPUT), key=lambda one: (-one[0], one[1]))[:count]]
        verdicts = {u: a.verdict for u, a in sorted(assignments.items())}
        smallest = _smallest(result)
        pruned = self._pruned_by(smallest)
        lacking = sum(map(len, pruned.values()))
        again = sum(len({*gone} & {*self._pruned.get(name, ())}) for name, gone in pruned.items())
        both = bool(pruned and self._pruned)
        invited = sorted(records)
        without = sum(u not in self._holders for u in invited)
        took = timeline.end / 1e6
        evaluated = self.config.trained and self.state.round % self.config.evaluate_every == 0
        found = self._pool.tally(model) if evaluated else None
        return RoundRow(
            method=self.config.method,
            round=self.state.round,
            round_seconds=took,
            total_seconds=(self.rows[-1].total_seconds if self.rows else 0.0) + took,
            unpruned_seconds=unpruned.end / 1e6,
            bound=round_bound(timeline_full=unpruned, stragglers=slow),
            accuracy=None if found is None else found.accuracy(),
            slow_accuracy=found.accuracy(self._slow_classes) if found and self._slow_classes else None,
            present=" ".join(map(str, invited)),
            without_model=without,
            survivors=len(result.u3),
            target_us=next(iter(assignments.values())).plan.target,
            stragglers=" ".join(str(u) for u, verdict in verdicts.items() if verdict.straggler),
            keep_levels=" ".join(str(verdict.keep) for verdict in verdicts.values() if verdict.keep < 1000),
            pruned_neurons=lacking,
            slack_neurons=self._slack(smallest),
            pruned_again=again / lacking if both else None,
            secure_sum=result.sum_digest.hex(),
            plain_sum=self._plain_sum(result, updates, records).hex(),
            upload_bytes=" ".join(map(str, transcript.upload_lengths())),
            one_shape=len(transcript.shapes(invited)) == 1,
            not_before_seconds=next(iter(assignments.values())).not_before / 1e6,
        )

    def _slack(self, kept: Kept) -> int:
        """How many neurons that a sub-model of the round's layout lacks the policy's threshold does not call invariant."""
        policy, part = self.params.policy, self._part
        history = None if self.state.history is None else part.restrict(self.state.history)
        if not self._pruned_by(kept) or (history is None and policy.needs_history):
            return 0
        model = part.restrict(self.state.model)
        scores = score(model=model, history=history, layout=part.small, mode=policy.scored)
        still = {s.layer: invariant(scores=s, threshold=policy.threshold) for s in scores}
        return sum(int(np.count_nonzero(~np.delete(still[name], index))) for name, index in kept.items())

    def _simulate(
        self, fleet: Fleet, result: RoundResult, fits: Mapping[int, Microseconds], not_before: int = 0
    ) -> Timeline:
        return simulate(
            fleet=fleet,
            costs={int(u): legs for u, legs in result.costs.items()},
            fits=fits,
            server_work=result.server_work,
            units=DECLARED,
            not_before=not_before,
        )

    def _plain_sum(
        self, result: RoundResult, updates: Mapping[ClientId, Floats], records: Mapping[ClientId, TimeRecord]
    ) -> Digest:
        assignments, policy, layout = result.assignments, self.params.policy, self._part.small
        ones = {u: np.ones(len(updates[u]), dtype=np.float32) for u in updates}
        among = [
            u
            for u in result.u2
            if policy.mean is Mean.HOLDER or (policy.mean is Mean.STRATA and assignments[u].verdict.keep < 1000)
        ]
        held = {u: in_place(update=ones[u], layout=layout, kept=assignments[u].kept) > 0 for u in among}
        holding = sum((self._weight(u) * held[u].astype(np.int64) for u in among), np.zeros(layout.size, np.int64))
        top = sum(self._weight(u) for u in among)
        timed = [u for u in result.u3 if self.params.neighbours and records[u].has_time]
        return plain_sum(
            updates={u: in_place(update=updates[u], layout=layout, kept=assignments[u].kept) for u in result.u3},
            weights={u: self._weight(u) for u in result.u3},
            slots={
                u: policy.grid.index(assignments[u].verdict.keep) if policy.mean is Mean.LEVELS else 0
                for u in result.u3
            },
            buckets={u: bucket(time=records[u].elapsed(0), policy=policy) for u in timed},
            params=self.params,
            scales=dict.fromkeys(among, (top, holding)),
        )

    def _determined(self) -> Any:
        """What names stand for: the method's policy and how clients train, as JSON has them."""
        method = attrs.asdict(self._method, filter=attrs.filters.exclude("name", "summary"))
        return json.loads(json.dumps([method, attrs.asdict(self._training)]))

    def save(self, path: Path) -> None:
        """LAB-4: write everything that the next round depends on, in one file that appears whole or not at all."""
        header = {
            "config": self.config.as_dict(),
            "method": self._determined(),
            "fleet": fleet_as_json(self.fleet),
            "round": self.state.round,
            "target": self.state.target,
            "rows": [attrs.asdict(row) for row in self.rows],
            "memory": {str(u): [m.straggler, _sizes_first(m.observed)] for u, m in self._memory.items()},
            "holders": sorted(self._holders),
            "pruned": self._pruned,
            "met": {str(u): met for u, met in self._met.items()},
            "told": [s.layer for s in self._told],
            "seconds_at": {str(keep): seconds for keep, seconds in self._seconds_at.items()},
            "data": self._data,
            "residuals": sorted(self._residuals),
        }
        packed = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        arrays: dict[str, Any] = {"header": packed, "model": self.state.model}
        if self.state.history is not None:
            arrays["history"] = self.state.history
        arrays |= {f"model of {number}": model for number, model in self._models.items()}
        for told in self._told:
            arrays |= {f"change in {told.layer}": told.change, f"scale in {told.layer}": told.scale}
        for u, residual in self._residuals.items():
            arrays |= {f"where {u} has not sent": residual.where, f"what {u} has not sent": residual.values}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_whole(path, buffer.getvalue())

    @classmethod
    def resume(cls, path: Path, *, config: RunConfig, pool: Pool) -> "Run":
        """LAB-5: the run that `save` wrote; refused if it is not one of `config`, apart from the number of rounds.

        The data may have moved, but not changed.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                header = json.loads(stored["header"].tobytes())
                model, history = stored["model"], stored.get("history")
                told = tuple(
                    LayerScores(name, stored[f"change in {name}"], stored[f"scale in {name}"])
                    for name in header["told"]
                )
                residuals = {
                    ClientId(u): Residual(
                        len(model), stored[f"where {u} has not sent"], stored[f"what {u} has not sent"]
                    )
                    for u in header["residuals"]
                }
                met = {ClientId(int(u)): numbers for u, numbers in header["met"].items()}
                models = {i: stored[f"model of {i}"] for i in sorted({i for numbers in met.values() for i in numbers})}
            want, have = config.as_dict(), header["config"]
            rows = [RoundRow(**row) for row in header["rows"]]
            memory = {
                ClientId(int(u)): Memory(
                    {
                        int(size): tuple(Observed(*map(Microseconds, times)) for times in seen)
                        for size, seen in observed.items()
                    },
                    straggler,
                )
                for u, (straggler, observed) in header["memory"].items()
            }
            holders = frozenset(ClientId(u) for u in header["holders"])
            pruned = header["pruned"]
            seconds_at = {int(keep): seconds for keep, seconds in header["seconds_at"].items()}
            next_round, fleet, target = RoundNumber(header["round"]), header["fleet"], header["target"]
            data, determined = header["data"], header["method"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise PreconditionError(
                rule="LAB-5",
                detail=f"{path} is damaged, or no checkpoint of this version: {error}; begin again in another --out",
            ) from None
        differ = [key for key in want if key not in ("rounds", "data_dir") and want[key] != have.get(key)]
        if differ:
            changes = ", ".join(f"{key} {have.get(key)!r}, not {want[key]!r}" for key in differ)
            raise PreconditionError(rule="LAB-5", detail=f"{path} belongs to another run: it has {changes}")
        run = cls(config=config, pool=pool, initial=model)
        if determined != run._determined():
            raise PreconditionError(
                rule="LAB-5",
                detail=f"{path} belongs to another run: `{config.method}`, or how clients train, was another when it began",
            )
        if fleet != fleet_as_json(run.fleet):
            raise PreconditionError(
                rule="LAB-5",
                detail=f"{path} belongs to another run: fleet {config.fleet} was another one when it began",
            )
        if data != run._data:
            raise PreconditionError(rule="LAB-5", detail=f"{path} belongs to another run: its data were other ones")
        run.state = State(run.state.session, next_round, model, history, target)
        run.rows, run._memory, run._holders, run._seconds_at = rows, memory, holders, seconds_at
        run._part, run._residuals = run._part_in(next_round), residuals
        run._pruned, run._told, run._met, run._models = pruned, told, met, models
        return run


def _sizes_first(observed: Mapping[int, tuple[Observed, ...]]) -> dict[str, list[tuple[int, ...]]]:
    """Times by the size of a round's model, as JSON has them."""
    return {str(size): [attrs.astuple(times) for times in seen] for size, seen in observed.items()}


def data_digest(config: RunConfig) -> str:
    """EXP-3: the digest of the examples, dealt and unseen: 16 hexadecimal digits."""
    task, sha = load_task(config.source()), hashlib.sha256()
    for inputs, labels in (task.ordered, task.test):
        sha.update(inputs.tobytes())
        sha.update(labels.tobytes())
    return sha.hexdigest()[:16]


def fleet_as_json(fleet: Fleet) -> Any:
    """Every profile of a fleet, as JSON has it."""
    return json.loads(json.dumps(attrs.asdict(fleet)))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it appears whole or not at all, and make its directory; `ClipError` (LAB-4) if that fails."""
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise ClipError(rule="LAB-4", detail=f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def rows_csv(rows: Iterable[RoundRow]) -> str:
    """The rows as CSV, with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=[f.name for f in attrs.fields(RoundRow)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(attrs.asdict(row))
    return out.getvalue()


@attrs.frozen(kw_only=True)
class Summary:
    """What a run comes to."""

    simulated_seconds: float
    """From the first round's start to the last one's end."""

    unpruned_seconds: float
    """What the same rounds of the same clients would have taken had nobody pruned."""

    bound: float
    """The largest share of `unpruned_seconds` that pruning could have saved in these rounds."""

    final_accuracy: float
    """On the unseen test, after the last round that was evaluated."""

    rounds: int
    """How many."""

    @property
    def saved(self) -> float:
        """The share of `unpruned_seconds` that was saved."""
        return 1 - self.simulated_seconds / self.unpruned_seconds


def summarise(rows: list[RoundRow]) -> Summary:
    """LAB-6: totals over a run's rows; the bound is that of the summed times. `PreconditionError` if it was never evaluated."""
    accuracies = [row.accuracy for row in rows if row.accuracy is not None]
    if not accuracies:
        raise PreconditionError(rule="LAB-6", detail="a run that was never evaluated has no final accuracy")
    unpruned = sum(row.unpruned_seconds for row in rows)
    return Summary(
        simulated_seconds=sum(row.round_seconds for row in rows),
        unpruned_seconds=unpruned,
        bound=sum(row.bound * row.unpruned_seconds for row in rows) / unpruned,
        final_accuracy=accuracies[-1],
        rounds=len(rows),
    )


def checks(rows: Iterable[RoundRow]) -> dict[str, Any]:
    """What was checked during the rounds, and came out how."""
    rows = list(rows)
    return {
        "secure_sum_exact": all(row.secure_sum == row.plain_sum for row in rows),
        "upload_lengths": sorted({int(length) for row in rows for length in row.upload_bytes.split()}),
        "transcript_shape_equal": all(row.one_shape for row in rows),
    }


def passed(found: Mapping[str, Any], *, lengths: int = 1) -> bool:
    """Whether all of `checks` held: equal sums, one shape a round, no more lengths of uploads than there may be."""
    few = 1 <= len(found["upload_lengths"]) <= lengths
    return bool(found["secure_sum_exact"] and found["transcript_shape_equal"] and few)
