"""Who gets which examples: every example once, by seeds, as unevenly as asked."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.errors import PreconditionError
from clip_ref.train.data import Source, load_task
from clip_ref.train.partition import Partition, devices, dirichlet, iid, shuffled, slow_classes

pytestmark = pytest.mark.rule("TRN-8")

LABELS = np.arange(600, dtype=np.int64) % 10


def complete(parts: list[np.ndarray[Any, Any]], count: int) -> bool:
    return sorted(np.concatenate(parts).tolist()) == list(range(count)) and all(len(part) for part in parts)


@given(count=st.integers(50, 300), clients=st.integers(2, 50), seed=st.integers(0, 2**63 - 1))
def test_iid_gives_every_example_once_and_everybody_as_many(count: int, clients: int, seed: int) -> None:
    parts = iid(count=count, clients=clients, seed=seed)
    assert complete(parts, count)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert iid(count=count, clients=clients, seed=seed)[0].tolist() == parts[0].tolist()


@given(alpha=st.sampled_from([1e-9, 0.01, 0.3, 1.0, 100.0]), clients=st.integers(2, 50), seed=st.integers(0, 2**32))
def test_dirichlet_gives_every_example_once_and_nobody_goes_without(alpha: float, clients: int, seed: int) -> None:
    parts = dirichlet(labels=LABELS, clients=clients, alpha=alpha, seed=seed)
    assert complete(parts, len(LABELS))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_small_alpha_is_uneven_and_a_large_one_is_not() -> None:
    def spread(alpha: float) -> float:
        parts = dirichlet(labels=LABELS, clients=10, alpha=alpha, seed=3)
        return float(np.mean([np.bincount(LABELS[part], minlength=10).max() / len(part) for part in parts]))

    assert spread(1000) < 0.2 < 0.3 < spread(0.1)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_slow_devices_hold_most_of_their_classes(share: float) -> None:
    parts = devices(labels=LABELS, clients=20, slow=(3, 7, 9, 15), share=share, seed=5)
    own = slow_classes(labels=LABELS, seed=5)
    assert complete(parts, len(LABELS))
    theirs = sum(np.isin(LABELS[parts[client]], own).sum() for client in (3, 7, 9, 15))
    common = (1 - share) * 120 * 4 / 20  # what they get of the rest, like everybody
    assert abs(theirs - share * 120 - common) <= 8
    assert len(own) == 2


def test_a_deal_by_devices_needs_slow_clients_and_a_deal_enough_examples() -> None:
    with pytest.raises(PreconditionError, match=r"TRN-8: .*needs slow clients"):
        devices(labels=LABELS, clients=4, slow=(), share=0.5, seed=1)
    with pytest.raises(PreconditionError, match=r"TRN-8: there are fewer examples than the 20 clients"):
        dirichlet(labels=LABELS[:10], clients=20, alpha=1.0, seed=1)


def test_the_streams_never_change() -> None:
    """Pinned: other numbers would silently be other experiments."""
    assert shuffled(8, seed=1).tolist() == PINNED_SHUFFLE
    parts = dirichlet(labels=LABELS, clients=5, alpha=0.3, seed=1)
    assert np.bincount(LABELS[parts[0]], minlength=10).tolist() == PINNED_DIRICHLET
    assert slow_classes(labels=LABELS, seed=1) == PINNED_CLASSES


PINNED_SHUFFLE = [2, 4, 7, 5, 0, 6, 3, 1]
PINNED_DIRICHLET = [0, 19, 2, 0, 50, 14, 6, 6, 23, 0]
"""The first client's examples by class."""
PINNED_CLASSES = [1, 2]


@pytest.mark.parametrize(
    ("text", "name", "number"),
    [
        ("natural", "natural", 0),
        ("iid", "iid", 0),
        ("dirichlet:0.3", "dirichlet", 0.3),
        ("devices:0.8", "devices", 0.8),
    ],
)
def test_partitions_are_read(text: str, name: str, number: float) -> None:
    assert Partition.parse(text) == Partition(name, number)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "even",
        "iid:1",
        "dirichlet",
        "dirichlet:",
        "dirichlet:0",
        "dirichlet:nan",
        "dirichlet:inf",
        "devices:1",
        "devices:x",
    ],
)
def test_other_partitions_are_refused(text: str) -> None:
    with pytest.raises(
        PreconditionError, match=r"TRN-8: a partition is natural, iid, dirichlet:ALPHA or devices:SHARE"
    ):
        Partition.parse(text)


@pytest.mark.parametrize("partition", ["iid", "dirichlet:0.5", "devices:0.8"])
def test_the_digits_can_be_dealt_in_every_way(partition: str) -> None:
    task = load_task(Source(partition=partition, slow=(0, 5)))
    parts = task.clients(10)
    assert sum(len(y) for _, y in parts) == 1287
    fewer = load_task(Source(partition=partition, slow=(0, 5), examples=300))
    assert sum(len(y) for _, y in fewer.clients(10)) == 300
    assert len(fewer.test[1]) == len(task.test[1])
    with pytest.raises(PreconditionError, match=r"TRN-8: at least 1 example"):
        load_task(Source(examples=0))
