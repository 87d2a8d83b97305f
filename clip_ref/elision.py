"""Elision: what everybody leaves out of a round, and sends in a later one.   Spec: elision, rules ELI-1..ELI-9.

In an elided round the same neurons are left out by all, so that vectors are shorter and still of one length. Such a round is an
ordinary one of a smaller layout: parties, messages and masks are those of the protocol. What a client's training changed of the
neurons that were left out stays with it until they are in again.

Source: ours, for the question that CLIP, arXiv 2510.16694, leaves open. Keeping what was not sent is error feedback, known from
compressed gradients.
"""

from functools import cached_property
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.canonical import Piece, digest, little_endian, prefixed
from clip_ref.errors import PreconditionError
from clip_ref.layout import Kept, Layout
from clip_ref.values import Digest, Floats, RoundNumber, frozen_array

MAX_ELIDED: Final = 900
"""The largest share of neurons that a round leaves out, ‰."""

MAX_EVERY: Final = 100
"""The most rounds from a whole one to the next."""


def check_schedule(*, elide: int, every: int) -> None:
    """ELI-1: refuse a share that is not 0 … 900 ‰, and whole rounds that are not every 2nd … 100th."""
    if not 0 <= elide <= MAX_ELIDED:
        raise PreconditionError(
            rule="ELI-1", detail=f"a round leaves out 0 … {MAX_ELIDED} ‰ of the neurons, got {elide}"
        )
    if not 2 <= every <= MAX_EVERY:
        raise PreconditionError(
            rule="ELI-1",
            detail=f"every 2nd … {MAX_EVERY}th round is whole, got every {every}th; to elide nothing, elide 0",
        )


def left_out(*, layout: Layout, elide: int, every: int, round: RoundNumber) -> dict[str, NDArray[np.int64]]:
    """ELI-1, ELI-2: the neurons of each layer that `round` ≥ 1 leaves out, ascending int64[·]: a function of these alone.

    Every `every`-th round is whole. From one whole round to the next the same m_l = ⌊elide·n_l/1000⌋ < n_l neurons are
    left out: in stretch k = ⌊round/every⌋ neurons (k·m_l + j) mod n_l, j < m_l. So each is left out in its turn.
    """
    check_schedule(elide=elide, every=every)
    if round < 1:
        raise PreconditionError(rule="ELI-1", detail=f"rounds are numbered from 1, got {round}")
    stretch, rest = divmod(round, every)
    out = {}
    for layer in layout.layers:
        count = elide * layer.neurons // 1000 if rest else 0
        out[layer.name] = np.sort((stretch * count + np.arange(count, dtype=np.int64)) % layer.neurons)
    return out


@attrs.frozen(eq=False)
class Part:
    """The part of a model that a round is about: the neurons that are in, and all weights between two of them."""

    whole: Layout
    """The model's layout; d is its size."""

    out: Kept
    """For each layer the neurons that are left out, ascending; maybe none."""

    @cached_property
    def within(self) -> Kept:
        """The neurons that are in."""
        return {
            layer.name: np.setdiff1d(np.arange(layer.neurons, dtype=np.int64), self.out[layer.name])
            for layer in self.whole.layers
        }

    @cached_property
    def held(self) -> NDArray[np.bool_]:
        """Which coordinates are in: bool[d]."""
        return self.whole.held(self.within)

    @cached_property
    def size(self) -> int:
        """How many: the length of the round's model."""
        return int(np.count_nonzero(self.held))

    @cached_property
    def small(self) -> Layout:
        """The layout of these, by its own names."""
        return self.whole.shrunk(self.within)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return not any(map(len, self.out.values()))

    def restrict(self, model: Floats) -> Floats:
        """ELI-3: what the round is about, of a whole model float32[d]: its coordinates that are in, in order; read-only."""
        self._check(model, self.whole.size, "model")
        return model if self.is_whole else frozen_array(model[self.held])

    def rest(self, model: Floats) -> Floats:
        """The other coordinates, in order; read-only."""
        self._check(model, self.whole.size, "model")
        return frozen_array(model[~self.held])

    def returned(self, *, model: Floats, small: Floats) -> Floats:
        """ELI-3: the whole model after the round: `small` where coordinates are in, `model` unchanged elsewhere; float32[d]."""
        self._check(model, self.whole.size, "model")
        self._check(small, self.size, "round's model")
        if self.is_whole:
            return small
        out = model.copy()
        out[self.held] = small
        out.flags.writeable = False
        return out

    def layout(self, model: Floats) -> Layout:
        """ELI-4: the round's layout: the smaller one, its first tensor's name bound to `model`, the whole one: float32[d].

        Digests of equally large layouts differ where the whole layout, the neurons that are in or the rest of the model do.
        """
        if self.is_whole:
            return self.whole
        first, *others = self.small.tensors
        named = attrs.evolve(first, name=f"{first.name} of {self._digest(self.rest(model)).hex()}")
        return attrs.evolve(self.small, tensors=(named, *others))

    def _digest(self, rest: Floats) -> Digest:
        """ELI-4: `elision` over the whole layout's digest, each layer's neurons that are in as u64, and the rest as float32."""
        parts: list[Piece | list[Piece]] = [self.whole.digest()]
        for name, index in self.within.items():
            parts.append([prefixed(name.encode()), little_endian(index)])
        return digest("elision", (*parts, little_endian(rest)))

    def trained(self, kept: Kept) -> dict[str, NDArray[np.int64]]:
        """ELI-5: what a client trains that keeps `kept` of the round: these and all that are left out, by their whole index."""
        return {name: np.union1d(self.within[name][index], self.out[name]) for name, index in kept.items()}

    def sent(self, kept: Kept) -> NDArray[np.bool_]:
        """ELI-5: the coordinates that it sends: bool[d]."""
        return self.whole.held({name: self.within[name][index] for name, index in kept.items()})

    def _check(self, flat: Floats, size: int, name: str) -> None:
        if flat.dtype != np.float32 or flat.shape != (size,):
            raise PreconditionError(
                rule="ELI-3", detail=f"the {name} must be float32[{size}], got {flat.dtype}{list(flat.shape)}"
            )


@attrs.frozen(eq=False)
class Residual:
    """What a client has not sent yet, without its zeros."""

    size: int
    """d."""

    where: NDArray[np.uint8] = attrs.field(repr=False)
    """Which coordinates are not 0: bits, eight to a byte."""

    values: Floats = attrs.field(repr=False)
    """Those, in order."""

    @classmethod
    def of(cls, flat: Floats) -> "Residual":
        """The residual that `flat`, float32[d], is."""
        return cls(len(flat), np.packbits(flat != 0), frozen_array(flat[flat != 0]))

    def flat(self) -> Floats:
        """All of it: float32[d]."""
        out = np.zeros(self.size, dtype=np.float32)
        out[np.unpackbits(self.where, count=self.size).astype(bool)] = self.values
        return out


def settle(*, residual: Floats, update: Floats, sent: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """ELI-6: what a client sends, float32[m], and keeps, float32[d], of what it has: `residual` + `update`, cut in two.

    `residual` is what it kept before, and `update` how training changed the model with that in it; both float32[d]. `sent`,
    bool[d], says which coordinates go. Nothing is lost or counted twice: each coordinate of the sum is in one of the two, and 0
    is kept where it is sent. `PreconditionError` if shapes differ.
    """
    if not residual.shape == update.shape == sent.shape or not residual.dtype == update.dtype == np.float32:
        raise PreconditionError(
            rule="ELI-6",
            detail=f"residual, update and mask are of one model, got {residual.shape}, {update.shape}, {sent.shape}",
        )
    total = residual + update
    return frozen_array(total[sent]), frozen_array(np.where(sent, np.float32(0), total))
