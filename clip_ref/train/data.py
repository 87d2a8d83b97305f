"""Tasks: a data set split over clients, an unseen test, the model that learns it and how a client trains.

The digits ship with the package; `data/README.md` says where they come from. Nothing here needs torch.
"""

import functools
import gzip
import hashlib
import io
import itertools
from collections.abc import Callable
from importlib import resources
from typing import Final, Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError
from clip_ref.values import Floats, frozen_array

Part = tuple[Floats, NDArray[np.int64]]
"""Labelled examples: inputs float32[m, *input_shape], and classes int64[m]. Read-only."""

MIN_CLIENTS: Final = 2
"""The fewest clients that a task is dealt to."""

MAX_CLIENTS: Final = 500
"""The most clients that a task is dealt to."""

DIGITS_SHA256: Final = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
"""The SHA-256 digest of the file of digits as it ships."""

WRITERS: Final = (0, 130, 256, 386, 516, 646, 776, 915, 1029, 1157, 1287, 1415, 1545, 1667, 1797)
"""Where each inferred writer's digits begin in the file, and where the last one's end."""

TRAINING_WRITERS: Final = 10
"""How many writers, from the first, the clients share; the others are the unseen test."""


def _refuse(detail: str, rule: str = "TRN-1") -> PreconditionError:
    return PreconditionError(rule=rule, detail=detail)


@attrs.frozen(kw_only=True)
class LocalTraining:
    """How a client trains: the same on every client, from a fresh optimiser state in every round."""

    optimiser: Literal["sgd", "adam"]
    """`sgd`, with `momentum`, or `adam` with its usual moments (0.9, 0.999)."""

    lr: float
    """The learning rate, above 0."""

    momentum: float = 0.0
    """The momentum of `sgd`, in [0, 1); `adam` has none."""

    batch: int
    """The most examples per step, at least 1; an epoch is cut into as few batches as that allows, of nearly equal size."""

    epochs: int
    """Passes over the client's examples per round, at least 1."""

    def __attrs_post_init__(self) -> None:
        """TRN-1."""
        if self.optimiser not in ("sgd", "adam"):
            raise _refuse(f"the optimiser is `sgd` or `adam`, got {self.optimiser!r}")
        if not 0 < self.lr < float("inf") or not 0 <= self.momentum < 1 or self.batch < 1 or self.epochs < 1:
            raise _refuse(f"lr > 0, 0 <= momentum < 1, batch >= 1 and epochs >= 1 are needed, got {self}")
        if self.optimiser == "adam" and self.momentum:
            raise _refuse("momentum belongs to `sgd`; `adam` has its own")


@attrs.frozen(kw_only=True, eq=False)
class Task:
    """A learning task."""

    name: str
    """What users call it."""

    model: str
    """The name of its model in `clip_ref.train.models`."""

    input_shape: tuple[int, ...]
    """The shape of one example's input."""

    classes: int
    """How many classes there are, a count."""

    parts: tuple[Part, ...]
    """The natural clients' examples: disjoint, together the whole training set."""

    ordered: Part
    """The whole training set in the order in which `clients` cuts it."""

    test: Part
    """The examples that no client has."""

    training: LocalTraining
    """How a client trains."""

    def clients(self, n: int) -> tuple[Part, ...]:
        """The training examples of n clients, 2 ≤ n ≤ 500: disjoint, together the whole training set.

        For the natural number of clients these are `parts`. For any other, the training set in its own order (the digits:
        writer by writer) is cut into n runs whose lengths differ by at most one, the longer first: a client's digits then
        come from one writer or from a few.

        Raises `PreconditionError` (TRN-1) for any other n.
        """
        if not MIN_CLIENTS <= n <= MAX_CLIENTS:
            raise _refuse(f"{self.name} can be dealt to {MIN_CLIENTS} … {MAX_CLIENTS} clients, got {n}")
        if n == len(self.parts):
            return self.parts
        inputs, classes = self.ordered
        size, longer = divmod(len(classes), n)
        bounds = [k * size + min(k, longer) for k in range(n + 1)]
        return tuple(_part(inputs[a:b], classes[a:b]) for a, b in itertools.pairwise(bounds))


def _part(inputs: NDArray[np.float32], classes: NDArray[np.int64]) -> Part:
    return frozen_array(inputs), frozen_array(classes)


def read_digits(packed: bytes) -> Part:
    """The digits in file order from the bytes of `digits.csv.gz`: float32[1797, 1, 8, 8] in [0, 1], and int64[1797].

    Raises `PreconditionError` (TRN-2) if the bytes are not those that shipped.
    """
    found = hashlib.sha256(packed).hexdigest()
    if found != DIGITS_SHA256:
        raise _refuse(f"digits.csv.gz has SHA-256 {found}, not {DIGITS_SHA256}: install clip-ref again", rule="TRN-2")
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",", dtype=np.float32)
    return _part(table[:, :64].reshape(-1, 1, 8, 8) / np.float32(16), table[:, 64].astype(np.int64))


def _digits() -> Task:
    inputs, classes = read_digits((resources.files("clip_ref.train") / "data" / "digits.csv.gz").read_bytes())
    blocks = [slice(a, b) for a, b in itertools.pairwise(WRITERS)]
    unseen = WRITERS[TRAINING_WRITERS]
    return Task(
        name="digits",
        model="digits_cnn",
        input_shape=(1, 8, 8),
        classes=10,
        parts=tuple(
            _part(inputs[block][half::2], classes[block][half::2])
            for block in blocks[:TRAINING_WRITERS]
            for half in (0, 1)
        ),
        ordered=_part(inputs[:unseen], classes[:unseen]),
        test=_part(inputs[unseen:], classes[unseen:]),
        training=LocalTraining(optimiser="adam", lr=3e-3, batch=40, epochs=2),
    )


_TASKS: Final[dict[str, Callable[[], Task]]] = {"digits": _digits}

TASKS: Final = tuple(_TASKS)
"""The names of the tasks."""


@functools.cache
def load_task(name: str) -> Task:
    """The task called `name`, loaded once per process; `PreconditionError` (TRN-1) lists those that exist."""
    if name not in _TASKS:
        raise _refuse(f"no task {name!r}; there is: {', '.join(TASKS)}")
    return _TASKS[name]()
