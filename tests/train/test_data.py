"""The digits: what ships, who has which, and what is refused."""

import gzip
import hashlib
from importlib import resources
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.errors import PreconditionError
from clip_ref.train.data import DIGITS_SHA256, TASKS, WRITERS, LocalTraining, Part, load_task, read_digits

SHIPPED = resources.files("clip_ref.train") / "data"
DIGITS = load_task("digits")


def rows(*parts: Part) -> list[bytes]:
    """Each example as bytes, so that sets of them can be compared; all 1,797 differ."""
    return [x.tobytes() + bytes([y]) for inputs, classes in parts for x, y in zip(inputs, classes, strict=True)]


@pytest.mark.rule("TRN-2")
def test_what_ships_is_attributed_and_has_its_digest() -> None:
    packed = (SHIPPED / "digits.csv.gz").read_bytes()
    readme = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(packed).hexdigest() == DIGITS_SHA256
    for words in (DIGITS_SHA256, "Alpaydin", "Kaynak", "UCI", "CC BY 4.0", "BSD 3-Clause", "scikit-learn", "inferred"):
        assert words in readme


def test_digits_are_read_as_they_stand_in_the_file() -> None:
    inputs, classes = read_digits((SHIPPED / "digits.csv.gz").read_bytes())
    lines = gzip.decompress((SHIPPED / "digits.csv.gz").read_bytes()).decode().splitlines()
    assert inputs.shape == (1797, 1, 8, 8)
    assert inputs.dtype == np.float32
    assert classes.shape == (1797,)
    assert classes.dtype == np.int64
    assert (inputs.min(), inputs.max()) == (0, 1)
    for k in (0, 1, 1796):
        pixels = [float(entry) for entry in lines[k].split(",")]
        np.testing.assert_array_equal(inputs[k, 0] * 16, np.reshape(pixels[:64], (8, 8)))
        assert classes[k] == pixels[64]
    assert not inputs.flags.writeable
    assert not classes.flags.writeable


@pytest.mark.rule("TRN-2")
def test_a_changed_file_is_refused() -> None:
    packed = bytearray((SHIPPED / "digits.csv.gz").read_bytes())
    packed[1000] ^= 1
    with pytest.raises(PreconditionError, match=r"TRN-2: digits.csv.gz has SHA-256 .*install clip-ref again"):
        read_digits(bytes(packed))


def test_twenty_natural_clients_are_ten_writers_in_halves() -> None:
    inputs, classes = read_digits((SHIPPED / "digits.csv.gz").read_bytes())
    assert len(DIGITS.parts) == 20
    assert DIGITS.clients(20) is DIGITS.parts
    for k, (x, y) in enumerate(DIGITS.parts):
        block = slice(WRITERS[k // 2] + k % 2, WRITERS[k // 2 + 1], 2)
        np.testing.assert_array_equal(x, inputs[block])
        np.testing.assert_array_equal(y, classes[block])
    np.testing.assert_array_equal(DIGITS.test[0], inputs[1287:])
    np.testing.assert_array_equal(DIGITS.test[1], classes[1287:])
    assert len(set(DIGITS.test[1])) == DIGITS.classes


@pytest.mark.parametrize("n", range(2, 51))
def test_clients_have_disjoint_parts_of_nearly_one_size(n: int) -> None:
    parts = DIGITS.clients(n)
    dealt, unseen = rows(*parts), rows(DIGITS.test)
    assert len(parts) == n
    assert len(dealt) == 1287
    assert len(set(dealt + unseen)) == 1797
    assert set(dealt) == set(rows(DIGITS.ordered))
    sizes = [len(y) for _, y in parts]
    if n != 20:
        assert max(sizes) - min(sizes) <= 1
        assert dealt == rows(DIGITS.ordered)
    for x, y in parts:
        assert x.shape == (len(y), *DIGITS.input_shape)
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert not x.flags.writeable
        assert not y.flags.writeable


@pytest.mark.rule("TRN-1")
@given(n=st.one_of(st.integers(max_value=1), st.integers(min_value=501)))
def test_other_numbers_of_clients_are_refused(n: int) -> None:
    with pytest.raises(PreconditionError, match=f"TRN-1: digits can be dealt to 2 … 500 clients, got {n}"):
        DIGITS.clients(n)


@pytest.mark.rule("TRN-1")
def test_an_unknown_task_is_refused_and_those_that_exist_are_listed() -> None:
    with pytest.raises(PreconditionError, match=f"TRN-1: no task 'letters'; there is: {', '.join(TASKS)}"):
        load_task("letters")


@pytest.mark.rule("TRN-1")
@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.0},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"batch": 0},
        {"epochs": 0},
        {"optimiser": "adam", "momentum": 0.5},
        {"optimiser": "lbfgs"},
    ],
)
def test_local_training_refuses(change: dict[str, Any]) -> None:
    good = LocalTraining(optimiser="sgd", lr=0.1, momentum=0.9, batch=8, epochs=1)
    with pytest.raises(PreconditionError, match="TRN-1"):
        attrs.evolve(good, **change)
