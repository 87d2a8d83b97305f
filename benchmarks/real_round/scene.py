"""Who takes part in a real run, with what, and what they train. All parties and the forecast are made from the same scene."""

import time
from collections.abc import Mapping
from statistics import median
from typing import Final

import attrs
import numpy as np

from clip_ref.codec import weight_of
from clip_ref.layout import Kept, Layout, kept_count
from clip_ref.messages import TimeRecord
from clip_ref.params import HARDENED_POLICY, Mean, Params, SecurityLevel
from clip_ref.sim.clock import Observed
from clip_ref.train.data import load_task
from clip_ref.train.local import evaluate, fit, one_thread
from clip_ref.train.models import build
from clip_ref.train.smaller import flatten
from clip_ref.train.trace import layout_of
from clip_ref.values import ClientId, Floats, Microseconds

GRID: Final = (1000, 900, 800, 700, 600, 500)
"""The keep levels; each is calibrated by really training."""

HOST_GHZ: Final = 1.0
"""Costs are measured in nanoseconds, and a device of 1 GHz takes a nanosecond for a cycle: nobody's clock rate matters."""

REPETITIONS: Final = 5
"""How often a fit is timed; the median counts."""

BRIEF: Final = 5
"""Calibration trains for so many times fewer epochs than a round."""


@attrs.frozen(kw_only=True)
class Seat:
    """What one client has."""

    share: float
    """Of one core, 0 … 1."""

    up_mbit: float
    """What its link is shaped to, towards the server, 10⁶ bit/s."""

    down_mbit: float
    """And towards the client."""


@attrs.frozen(kw_only=True)
class Scene:
    """One run of a few rounds."""

    name: str
    """What it is called in the results."""

    seats: tuple[Seat, ...]
    """The clients', by id."""

    epochs: int
    """Passes over a client's examples in a round: so many that training outweighs the transfers."""

    rounds: int
    """How many rounds; nobody prunes in the first two."""

    stragglers: int
    """How many clients are candidates."""

    deadline: float = 0.0
    """Deadline mode: seconds; 0: not at all."""

    silent: Mapping[int, int] = attrs.field(factory=dict)
    """By round: a client that receives its Deliver in it and answers no more."""

    timeout: float = 60.0
    """Seconds from the start of a leg that the server waits for somebody silent."""

    seed: int = 1
    """Draws the initial model and the batches."""

    @property
    def session(self) -> bytes:
        """The run's name on the wire: 16 bytes."""
        return f"real {self.name}".encode().ljust(16, b".")[:16]

    def params(self) -> Params:
        """What the parties agree on: the preset HARDENED, for so small a roster."""
        policy = attrs.evolve(
            HARDENED_POLICY,
            straggler_share=-(-1000 * self.stragglers // len(self.seats)),
            grid=GRID,
            mean=Mean.LEVELS,  # by which the plain sum is taken in the clear
            spread=False,
            min_roster=len(self.seats),
            deadline=round(self.deadline * 1e6),
        )
        return Params(clients=len(self.seats), policy=policy, security=SecurityLevel.HARDENED)


class Local:
    """The digits task, dealt to the scene's clients, and the training of any of them. Needs torch."""

    def __init__(self, scene: Scene) -> None:
        task = load_task("digits")
        self._scene = scene
        self._test = task.test
        self._parts = task.clients(len(scene.seats))
        self._training = task.training
        self._module = build(task.model, seed=scene.seed)
        self.layout: Layout = layout_of(self._module, input_shape=task.input_shape)

    def initial(self) -> Floats:
        """The model before the first round: float32[d]."""
        return flatten(self._module)

    def examples(self, client: int) -> int:
        """How many this client has."""
        return len(self._parts[client][1])

    def weight(self, client: int) -> int:
        """What its update weighs."""
        return weight_of(examples=self.examples(client), encoding=self._scene.params().encoding)

    def first(self, keep: int) -> Kept:
        """A sub-model of the size that `keep` gives: what it costs depends on the size alone."""
        return {x.name: np.arange(kept_count(x.neurons, keep), dtype=np.int64) for x in self.layout.layers}

    def fit(self, *, client: int, model: Floats, kept: Kept, seed: int, brief: bool = False) -> Floats:
        """A client's local training: float32[m]; or only the first epochs of it."""
        with one_thread():
            return fit(
                module=self._module,
                layout=self.layout,
                model=model,
                kept=kept,
                part=self._parts[client],
                training=attrs.evolve(self._training, epochs=self._epochs(brief)),
                seed=seed,
            )

    def accuracy(self, model: Floats) -> float:
        """On the unseen test."""
        with one_thread():
            return evaluate(module=self._module, model=model, part=self._test)

    def _epochs(self, brief: bool) -> int:
        return max(1, self._scene.epochs // BRIEF) if brief else self._scene.epochs

    def calibrate(self, *, client: int, keep: int) -> float:
        """CPU seconds per example and epoch of training at this keep level: the median of five fits, after one untimed."""
        model, kept, seconds = self.initial(), self.first(keep), []
        for repetition in range(1 + REPETITIONS):
            start = time.process_time()
            self.fit(client=client, model=model, kept=kept, seed=repetition, brief=True)
            seconds.append(time.process_time() - start)
        return median(seconds[1:]) / (self.examples(client) * self._epochs(brief=True))


@attrs.frozen
class Memory:
    """What a client remembers of its last round."""

    observed: Observed
    """Its times."""

    straggler: bool
    """Its status."""


def record_of(*, memory: Memory | None, fits: Mapping[int, Microseconds], weight: int) -> TimeRecord:
    """What a client declares: what it measured last time, and what it expects of its own training at each level."""
    times = memory.observed if memory else Observed(*[Microseconds(0)] * 5)
    return TimeRecord(
        has_time=memory is not None,
        has_model=False,
        was_straggler=memory is not None and memory.straggler,
        down=times.down,
        select=times.select,
        mask=times.mask,
        up=times.up,
        fit=tuple(fits[keep] for keep in GRID),
        weight=weight,
        entropy=b"",
    )


def batch_seed(scene: Scene, *, number: int, client: ClientId) -> int:
    """What the batches of a client's training are drawn from."""
    return (scene.seed << 40) + (number << 20) + client


_FAST = Seat(share=0.18, up_mbit=8, down_mbit=8)
_SLOW = Seat(share=0.12, up_mbit=8, down_mbit=8)
_FAR = Seat(share=0.15, up_mbit=3, down_mbit=3)
PLAIN: Final = Scene(name="clip", seats=(_FAST, _FAST, _FAST, _FAST, _SLOW, _FAR), epochs=40, rounds=4, stragglers=2)
"""Four clients alike, one with 2/3 of their processor, as 2 GHz is of 3, and one that is slower and further away."""

DEADLINE: Final = attrs.evolve(PLAIN, name="deadline", deadline=12.0)
"""The same, with uploads held back."""

SILENT: Final = attrs.evolve(PLAIN, name="drop-out", rounds=1, silent={1: 2}, timeout=14.0)
"""One round, in which client 2 falls silent when it should train: the server waits, and takes off its mask."""

SCENES: Final = {scene.name: scene for scene in (PLAIN, DEADLINE, SILENT)}
