"""A trained model in a file: written whole or not at all, checked when it is read."""

import io
import os
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs
import numpy as np

from clip_ref.errors import PreconditionError
from clip_ref.layout import Layout
from clip_ref.values import Digest, Floats, check_finite, frozen_array

FORMAT: Final = "clip-ref model 1"
"""What the file says it is."""


def _refuse(detail: str) -> PreconditionError:
    return PreconditionError(rule="TRN-6", detail=detail)


@attrs.frozen(eq=False)
class SavedModel:
    """A model read from a file."""

    model: Floats
    """float32[d], finite, read-only."""

    task: str
    """The name of the task that it was trained on."""

    layout: Digest
    """The digest of the layout that it was saved with."""

    path: Path
    """The file that it was read from."""

    def check(self, *, layout: Layout) -> None:
        """`PreconditionError` (TRN-6) unless the model was saved with this layout."""
        if self.layout != layout.digest() or len(self.model) != layout.size:
            raise _refuse(
                f"{self.path} holds a model of another architecture than task {self.task} has in this version; train it again"
            )


def save(path: Path, *, model: Floats, task: str, layout: Layout) -> None:
    """Write `model` (float32[d]) to `path` as .npz; an older file there is replaced, and kept if anything goes wrong.

    Raises `PreconditionError` (TRN-6) for a model that is not float32[layout.size] or not finite, and where `path` cannot
    be written.
    """
    if model.dtype != np.float32 or model.shape != (layout.size,):
        raise _refuse(f"the model must be float32[{layout.size}], got {model.dtype}{list(model.shape)}")
    check_finite(model, rule="TRN-6", name="the model")
    buffer = io.BytesIO()
    np.savez(
        buffer,
        format=np.array(FORMAT),
        task=np.array(task),
        layout=np.frombuffer(layout.digest(), dtype=np.uint8),
        model=model,
    )
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_bytes(buffer.getvalue())
        os.replace(partial, path)
    except OSError as error:
        raise _refuse(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def load(path: Path) -> SavedModel:
    """The model in `path`. Call `check` on it once the task's layout is at hand.

    Raises `PreconditionError` (TRN-6) if the file cannot be read, is not one that `save` wrote, or holds NaN or infinity.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise _refuse(f"{path} does not exist; give a model that `clip-ref train` saved") from error
    except OSError as error:
        raise _refuse(f"{path} cannot be read: {error.strerror}") from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            fields = {name: stored[name] for name in stored.files}
    except (ValueError, TypeError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise _refuse(f"{path} is not a saved model, or is damaged: {error}") from error
    if set(fields) != {"format", "task", "layout", "model"} or str(fields["format"]) != FORMAT:
        raise _refuse(f"{path} is not a model that this version of clip-ref saved")
    model, digest = fields["model"], fields["layout"]
    if model.dtype != np.float32 or model.ndim != 1 or digest.dtype != np.uint8 or digest.shape != (32,):
        raise _refuse(f"{path} is damaged: its model is {model.dtype}{list(model.shape)}, not float32[d]")
    check_finite(model, rule="TRN-6", name=f"the model in {path}")
    return SavedModel(model=frozen_array(model), task=str(fields["task"]), layout=Digest(digest.tobytes()), path=path)
