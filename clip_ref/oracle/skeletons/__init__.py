"""Adapters to start from, in several languages: `clip-ref conformance --skeleton LANGUAGE` prints one.   Spec: conformance.

Each needs its language's standard library only, answers `messages.check_ids` as an example, and says of every other operation
that it is unsupported.

>>> print(skeleton("go").splitlines()[-1])
}
"""

from pathlib import Path
from typing import Final

LANGUAGES: Final = {"python": "adapter.py", "javascript": "adapter.mjs", "go": "adapter.go"}
"""The skeletons' files by language."""


def skeleton(language: str) -> str:
    """The text of the skeleton in this language, one of `LANGUAGES`."""
    return (Path(__file__).parent / LANGUAGES[language]).read_text("utf-8")
