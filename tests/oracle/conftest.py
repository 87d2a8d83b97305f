"""The vectors, made once."""

import pytest

from clip_ref.oracle import vectors


@pytest.fixture(scope="session")
def documents() -> dict[str, str]:
    """All files as they are made, by name."""
    return vectors.documents()


@pytest.fixture
def made_once(documents: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes vectors no more than once, however often they are asked for."""
    monkeypatch.setattr(vectors, "documents", lambda: dict(documents))
