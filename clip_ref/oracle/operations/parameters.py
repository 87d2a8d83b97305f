"""Operations on parameters.   Spec: parameters."""

import attrs

from clip_ref.layout import Layout
from clip_ref.oracle.jsontypes import Wide
from clip_ref.oracle.operation import operation
from clip_ref.params import Params
from clip_ref.round.state import config_digest


@attrs.frozen
class Derived:
    """What follows from parameters."""

    digest: bytes
    """Of the parameters."""

    holders: int
    """Of one client's secrets, itself included."""

    extras: int
    """Ring elements behind the update."""

    block_size: int
    """s_min."""

    worst_case: Wide
    """The largest absolute value that a coordinate of the sum can take."""


@operation(
    "parameters.derive", "PAR-1", "PAR-2", "PAR-3", "PAR-4", "PAR-5", "PAR-6", "PAR-7", "PAR-8", "PAR-9", "PAR-10"
)
def derive(params: Params) -> Derived:
    """Check parameters, and work out what follows from them."""
    return Derived(params.digest(), params.holders, params.extras, params.block_size, params.worst_case)


@attrs.frozen
class Thresholds:
    """The thresholds where none are given."""

    threshold: int
    """t."""

    min_survivors: int
    """The fewest clients whose sum is revealed."""


@operation("parameters.thresholds", "PAR-6", "PAR-10")
def thresholds(params: Params, clients: int, neighbours: int) -> Thresholds:
    """The thresholds of parameters that are otherwise `params`, for another n and k."""
    made = Params(
        clients=clients,
        neighbours=neighbours,
        colluders=params.colluders,
        policy=params.policy,
        encoding=params.encoding,
        security=params.security,
    )
    return Thresholds(made.threshold, made.min_survivors)


@operation("parameters.config", "PAR-9")
def config(params: Params, layout: Layout) -> bytes:
    """The digest of the configuration: of parameters and layout."""
    return config_digest(params=params, layout=layout)
