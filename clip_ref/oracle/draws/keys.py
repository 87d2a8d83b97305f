"""Random inputs for the operations with keys.   Spec: keys."""

from collections.abc import Mapping
from random import Random
from typing import Any

from clip_ref.oracle.operation import draws


@draws("keys.public_key")
def public_key(random: Random) -> Mapping[str, Any]:
    """Any secret."""
    return {"secret": random.randbytes(32)}
