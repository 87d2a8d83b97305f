"""Model files: what is saved is loaded, and everything else is refused with the file's name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.errors import PreconditionError
from clip_ref.layout import dense_chain
from clip_ref.oracle.strategies import layouts, models
from clip_ref.train.modelfile import FORMAT, load, save

LAYOUT = dense_chain(3, 4, 2)
MODEL = np.linspace(-1, 1, LAYOUT.size, dtype=np.float32)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    save(path, model=MODEL, task="digits", layout=LAYOUT)
    return path


def stored(path: Path, **changes: Any) -> Path:
    """A file like one of ours, with some fields changed."""
    fields = {
        "format": np.array(FORMAT),
        "task": np.array("digits"),
        "layout": np.frombuffer(LAYOUT.digest(), dtype=np.uint8),
        "model": MODEL,
    }
    np.savez(path, **{name: value for name, value in (fields | changes).items() if value is not None})
    return path


@pytest.mark.rule("TRN-6")
@given(data=st.data())
def test_what_is_saved_is_loaded(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    layout = data.draw(layouts())
    model, task = data.draw(models(layout)), data.draw(st.sampled_from(("digits", "Ziffern", "数字")))
    path = tmp_path_factory.mktemp("saved") / "any name"
    save(path, model=model, task=task, layout=layout)
    found = load(path)
    np.testing.assert_array_equal(found.model, model)
    assert found.model.dtype == np.float32
    assert (found.task, found.path) == (task, path)
    assert not found.model.flags.writeable
    found.check(layout=layout)
    assert [x.name for x in path.parent.iterdir()] == ["any name"]


@pytest.mark.rule("TRN-6")
@pytest.mark.parametrize("widths", [(3, 2, 4, 2), (1, 6, 2)])
def test_a_model_of_another_layout_is_refused(saved: Path, widths: tuple[int, ...]) -> None:
    """Even of one that has as many weights."""
    words = r"TRN-6: .*model.npz holds a model of another architecture than task digits"
    with pytest.raises(PreconditionError, match=words):
        load(saved).check(layout=dense_chain(*widths))


@pytest.mark.rule("TRN-6")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a saved model"),
        (b"round,accuracy\n1,0.5\n", "is not a saved model"),
        (b"PK\x03\x04 cut off", "is not a saved model"),
        (b"\x93NUMPY\x01\x00", "is not a saved model"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(PreconditionError, match=f"TRN-6: .*other.npz {words}") as caught:
        load(path)
    assert "\n" not in caught.value.detail


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", MODEL)
    with pytest.raises(PreconditionError, match=r"TRN-6: .*array.npy is not a saved model"):
        load(tmp_path / "array.npy")


@pytest.mark.rule("TRN-6")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": None}, "is not a model that this version"),
        ({"extra": MODEL}, "is not a model that this version"),
        ({"format": np.array("clip-ref model 0")}, "is not a model that this version"),
        ({"model": MODEL.astype(np.float64)}, r"is damaged: its model is float64\[26\]"),
        ({"model": MODEL.reshape(2, 13)}, r"is damaged: its model is float32\[2, 13\]"),
        ({"layout": np.zeros(31, dtype=np.uint8)}, "is damaged"),
        ({"model": np.array([1, np.nan], dtype=np.float32)}, "holds nan at coordinate 1"),
        ({"model": np.array([np.inf], dtype=np.float32)}, "holds inf at coordinate 0"),
        ({"task": np.array([MODEL, None], dtype=object)}, "is not a saved model.*allow_pickle"),
    ],
)
def test_files_with_other_content_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = stored(tmp_path / "odd.npz", **changes)
    with pytest.raises(PreconditionError, match=f"TRN-6: .*odd.npz {words}"):
        load(path)


@pytest.mark.rule("TRN-6")
@given(data=st.data())
def test_a_damaged_file_is_refused_or_says_the_same(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One changed byte: the archive's checksums see it, or it was in none of the contents."""
    path = stored(tmp_path_factory.mktemp("damaged") / "model.npz")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        found = load(path)
    except PreconditionError as error:
        refusal = str(error)
    else:
        np.testing.assert_array_equal(found.model, MODEL)
        found.check(layout=LAYOUT)
        refusal = f"TRN-6: {path}"
    assert refusal.startswith("TRN-6: ")
    assert str(path) in refusal


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match=r"TRN-6: .*none.npz does not exist"):
        load(tmp_path / "none.npz")
    with pytest.raises(PreconditionError, match=r"TRN-6: .* cannot be read"):
        load(tmp_path)


@pytest.mark.rule("TRN-6")
@pytest.mark.parametrize("model", [MODEL[1:], MODEL.astype(np.float64), np.full(LAYOUT.size, np.nan, dtype=np.float32)])
def test_what_is_no_model_is_not_saved_and_the_old_file_stays(saved: Path, model: Any) -> None:
    before = saved.read_bytes()
    with pytest.raises(PreconditionError, match="TRN-6"):
        save(saved, model=model, task="digits", layout=LAYOUT)
    assert saved.read_bytes() == before


@pytest.mark.rule("TRN-6")
def test_where_nothing_can_be_written_is_refused_and_nothing_is_left(saved: Path) -> None:
    before = saved.read_bytes()
    (saved.parent / "directory").mkdir()
    for path in (saved.parent / "absent" / "model.npz", saved / "model.npz", saved.parent / "directory"):
        with pytest.raises(PreconditionError, match=f"TRN-6: {path} cannot be written: "):
            save(path, model=MODEL, task="digits", layout=LAYOUT)
    assert saved.read_bytes() == before
    assert sorted(x.name for x in saved.parent.iterdir()) == ["directory", "model.npz"]


@pytest.mark.rule("TRN-6")
def test_an_interrupted_save_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(saved, model=-MODEL, task="digits", layout=LAYOUT)
    assert saved.read_bytes() == before
    assert [x.name for x in saved.parent.iterdir()] == ["model.npz"]
