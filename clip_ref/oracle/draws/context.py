"""Random inputs for the operations on the context.   Spec: context."""

from collections.abc import Mapping
from random import Random
from typing import Any

from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws


@draws("context.digest")
def digest(random: Random) -> Mapping[str, Any]:
    """A label in ASCII and up to four parts, some of them empty."""
    label = random.choice(("", "model", "roster", "commit share", "x" * 60))
    return {"label": label, "parts": [common.data(random) for _ in range(random.randrange(5))]}


@draws("context.model_digest")
def model_digest(random: Random) -> Mapping[str, Any]:
    """Up to twenty weights."""
    return {"model": common.floats(random, random.randrange(21))}


def _context(random: Random) -> dict[str, Any]:
    """A context; seldom a session of another length, or numbers that do not fit."""
    fields = common.context(random)
    if common.seldom(random):
        fields["session"] = random.randbytes(random.choice((0, 15, 17)))
    if common.seldom(random):
        fields[random.choice(("round", "target"))] = random.choice((-1, 2**64, 2**64 + 1))
    return fields


@draws("context.ctx0")
def ctx0(random: Random) -> Mapping[str, Any]:
    """Any context."""
    return _context(random)


@draws("context.ctx")
def ctx(random: Random) -> Mapping[str, Any]:
    """Any context, with a roster."""
    return {**_context(random), "roster": common.block(random)}


@draws("context.masks")
def masks(random: Random) -> Mapping[str, Any]:
    """Distinct ids in any order; seldom one that does not fit."""
    u2: list[int] = list(common.client_ids(random, most=8))
    random.shuffle(u2)
    if common.seldom(random):
        u2.append(random.choice((-1, 2**32)))
    return {"ctx": common.block(random), "u2": u2}
