"""What lasts from one round to the next: the model, its history, the round number.   Spec: round, rules ROU-1, ROU-2."""

from functools import lru_cache

import attrs
import numpy as np

from clip_ref.canonical import RoundContext, digest, model_digest
from clip_ref.errors import PreconditionError
from clip_ref.keys import NO_IDENTITIES, Directory
from clip_ref.layout import Layout
from clip_ref.params import Params
from clip_ref.values import NO_DIGEST, Digest, Floats, RoundNumber, check_finite, frozen_array


def _frozen(model: Floats) -> Floats:
    return frozen_array(model)


def _same(a: Floats | None, b: Floats | None) -> bool:
    return a is b or (a is not None and b is not None and model_digest(a) == model_digest(b))


def _check(model: Floats, name: str) -> None:
    if model.dtype != np.float32 or model.ndim != 1:
        raise PreconditionError(rule="ROU-1", detail=f"{name} is float32[d], got {model.dtype}{list(model.shape)}")
    check_finite(model, rule="ROU-1", name=name)


@lru_cache(maxsize=64)
def config_digest(*, params: Params, layout: Layout) -> Digest:
    """The digest of everything that is agreed before the first round."""
    return digest("config", (params.digest(), layout.digest()))


@attrs.frozen
class State:
    """A training run between two rounds, as its server and its clients see it."""

    session: bytes
    """The run: 16 bytes."""

    round: RoundNumber
    """The round that comes next, from 1."""

    model: Floats = attrs.field(converter=_frozen, repr=False, eq=attrs.cmp_using(eq=_same))
    """w_i: float32[d], finite."""

    history: Floats | None = attrs.field(
        default=None, converter=attrs.converters.optional(_frozen), repr=False, eq=attrs.cmp_using(eq=_same)
    )
    """ROU-2: the last completed round's model whose digest differs from w_i's, float32[d]; none before the first."""

    target: int = 0
    """T* in µs from the last round's histogram, on a graph; 0: none yet, and in a clique."""

    def __attrs_post_init__(self) -> None:
        """ROU-1."""
        _check(self.model, "the model")
        if self.history is not None:
            _check(self.history, "the history")
            if self.history.shape != self.model.shape:
                raise PreconditionError(
                    rule="ROU-1",
                    detail=f"the history has {self.history.size} weights, the model {self.model.size}",
                )

    def context(self, *, params: Params, layout: Layout, directory: Directory = NO_IDENTITIES) -> RoundContext:
        """What the next round's `Open` announces."""
        if self.model.shape != (layout.size,):
            raise PreconditionError(
                rule="ROU-1", detail=f"the model has {self.model.size} weights, its layout {layout.size}"
            )
        return RoundContext(
            session=self.session,
            round=self.round,
            config=config_digest(params=params, layout=layout),
            directory=directory.digest(),
            model=model_digest(self.model),
            history=NO_DIGEST if self.history is None else model_digest(self.history),
            target=self.target,
        )

    def completed(self, model: Floats, *, target: int = 0) -> "State":
        """The state after a round that yielded `model`, and on a graph the `target` for the next."""
        same = model_digest(model) == model_digest(self.model)
        history = self.history if same else self.model
        return State(self.session, RoundNumber(self.round + 1), model, history, target)

    def aborted(self) -> "State":
        """The state after a round that yielded nothing: the next number, the same model and history."""
        return State(self.session, RoundNumber(self.round + 1), self.model, self.history, self.target)
