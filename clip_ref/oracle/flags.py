"""Flags: which bugs a vector catches.   Spec: conformance, rule CNF-4."""

from typing import Final

import attrs


@attrs.frozen
class Flag:
    """A bug that implementations have had, or might have."""

    name: str
    """In camel case."""

    bug_type: str
    """One of `BUG_TYPES`."""

    rule: str
    """The rule that it breaks."""

    description: str
    """What such an implementation does."""

    effect: str
    """What comes of it."""


BUG_TYPES: Final = ("confidentiality", "integrity", "interoperability", "edge case", "missing check")

_ALL: Final = (
    Flag(
        "ReversedSign",
        "interoperability",
        "MSK-5",
        "The end with the larger id adds the pairwise mask, and the one with the smaller id subtracts it.",
        "The masks do not cancel with those of other implementations: every sum is noise.",
    ),
)

FLAGS: Final = {flag.name: flag for flag in _ALL}
"""Every flag by name."""
