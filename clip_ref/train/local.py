"""A client's local training, of a model that really is smaller, and what a worker process does with it."""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final

import numpy as np
import torch
from torch import nn

from clip_ref.errors import PreconditionError
from clip_ref.layout import Kept, Layout
from clip_ref.submodel import extract
from clip_ref.train.data import LocalTraining, Part, Source, Tally, load_task, stand_in_examples
from clip_ref.train.models import build
from clip_ref.train.smaller import flatten, load, smaller, stand_ins
from clip_ref.train.trace import layout_of
from clip_ref.values import Floats, check_finite

EVALUATED: Final = 100
"""How many examples are classified at a time: the activations of more would not fit into a core's own cache."""

REPETITIONS: Final = 5
"""How often a fit is timed; the median counts."""


def _laid_out(module: nn.Module, inputs: torch.Tensor) -> tuple[nn.Module, torch.Tensor]:
    """Both with a picture's channels innermost in memory, where there are pictures: convolutions are a fifth faster so."""
    if inputs.dim() != 4:
        return module, inputs
    # torch declares the keyword for one of three ways to call this, and not for this one
    inner: nn.Module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return inner, inputs.contiguous(memory_format=torch.channels_last)


def _optimiser(parameters: list[nn.Parameter], training: LocalTraining) -> torch.optim.Optimizer:
    if training.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=training.lr, fused=True)
    return torch.optim.SGD(parameters, lr=training.lr, momentum=training.momentum, fused=True)


def fit(
    *,
    module: nn.Module,
    layout: Layout,
    model: Floats,
    kept: Kept,
    part: Part,
    training: LocalTraining,
    seed: int,
    share: int = 1000,
    stand_in: bool = False,
) -> Floats:
    """Train the sub-model of `model` that has the kept neurons, and return how it changed: float32[m], read-only.

    `module` gives the architecture alone and is left as it is; `model` is float32[d]. Batches are drawn, and dropout
    too, from `seed` (0 … 2⁶³ − 1). `share` is that of each epoch's batches that are trained on, 1 … 1000 ‰, at least one.
    `stand_in`: kept neurons stand in for the pruned ones as the first examples tell (SUB-7). Same arguments, same bits, on one
    machine with one torch thread.

    Raises `PreconditionError`: TRN-1 if there are no examples or for a share out of range,
    SUB-1 for a model of another shape, TRN-3 for NaN or
    infinity in it, LAY-4 for kept sets, SUB-6 for another module's layout; TRN-4 if training diverged.
    """
    if not len(part[1]):
        raise PreconditionError(
            rule="TRN-1", detail="a client without examples cannot train; leave it out of the round"
        )
    if not 1 <= share <= 1000:
        raise PreconditionError(rule="TRN-1", detail=f"a share of the batches is 1 … 1000 ‰, got {share}")
    check_finite(model, rule="TRN-3", name="the model")
    before = extract(model=model, layout=layout, kept=kept)
    narrow = smaller(module, layout=layout, kept=kept).train()
    load(narrow, before)
    if stand_in and len(before) < len(model):
        whole = copy.deepcopy(module)
        load(whole, model)
        count = stand_in_examples(examples=len(part[1]), epochs=training.epochs)
        whole, first = _laid_out(whole, torch.tensor(part[0][:count]))
        parameters = dict(narrow.named_parameters())
        with torch.no_grad():
            for name, added in stand_ins(whole, layout=layout, kept=kept, inputs=first):
                parameters[name].add_(added)
        before = flatten(narrow)
    narrow, inputs = _laid_out(narrow, torch.tensor(part[0]))
    classes = torch.tensor(part[1])
    optimiser = _optimiser(list(narrow.parameters()), training)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(training.epochs):
            batches = torch.randperm(len(classes)).tensor_split(-(-len(classes) // training.batch))
            for batch in batches[: max(1, share * len(batches) // 1000)]:
                narrow.zero_grad()
                torch.autograd.backward(nn.functional.cross_entropy(narrow(inputs[batch]), classes[batch]))
                optimiser.step()
    delta = flatten(narrow) - before
    if not np.isfinite(delta).all():
        raise PreconditionError(
            rule="TRN-4", detail=f"local training diverged to NaN or infinity; lower the learning rate {training.lr}"
        )
    delta.flags.writeable = False
    return delta


def tally(*, module: nn.Module, model: Floats, part: Part) -> Tally:
    """How many of each class of `part` the flat model float32[d] classifies right; `PreconditionError` as `load`."""
    whole = copy.deepcopy(module).eval()
    load(whole, model)
    right = []
    with torch.no_grad():
        for at in range(0, len(part[1]), EVALUATED):
            whole, inputs = _laid_out(whole, torch.tensor(part[0][at : at + EVALUATED]))
            right.append(whole(inputs).argmax(dim=1).numpy() == part[1][at : at + EVALUATED])
    count = int(part[1].max()) + 1
    hits = np.bincount(part[1][np.concatenate(right)], minlength=count)
    return Tally(tuple(hits.tolist()), tuple(np.bincount(part[1], minlength=count).tolist()))


def evaluate(*, module: nn.Module, model: Floats, part: Part) -> float:
    """The share of `part` that the flat model float32[d] classifies right, 0 … 1; `PreconditionError` as `load`."""
    return tally(module=module, model=model, part=part).accuracy()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, as on a client's device, and as every worker does: results then have the same bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Trainer:
    """A task's data, dealt to its clients, and its model: what one process needs to train any of the clients."""

    def __init__(self, *, source: Source | str, clients: int) -> None:
        """Load the task; `PreconditionError` as `load_task`, and for a number of clients that the task refuses."""
        self._task = load_task(source)
        self._parts = self._task.clients(clients)
        self._module = build(self._task.model, seed=0)
        self._layout = layout_of(self._module, input_shape=self._task.input_shape)

    def layout(self) -> Layout:
        """The layout of the task's model."""
        return self._layout

    def initial_model(self, *, seed: int) -> Floats:
        """The task's model as drawn from `seed`: float32[d]."""
        return flatten(build(self._task.model, seed=seed))

    def fit(
        self, *, client: int, model: Floats, kept: Kept, seed: int, share: int = 1000, stand_in: bool = False
    ) -> Floats:
        """`fit` on the part of client number `client`."""
        with one_thread():
            return fit(
                module=self._module,
                layout=self._layout,
                model=model,
                kept=kept,
                part=self._parts[client],
                training=self._task.training,
                seed=seed,
                share=share,
                stand_in=stand_in,
            )

    def tally(self, *, model: Floats) -> Tally:
        """`tally` of the task's unseen test."""
        with one_thread():
            return tally(module=self._module, model=model, part=self._task.test)

    def measure_fit(self, *, kept: Kept) -> float:
        """CPU seconds per example and epoch of training the sub-model: the median of five fits on the first client's part.

        A sixth, before them, is not timed.
        """
        model = flatten(self._module)
        seconds = []
        for repetition in range(1 + REPETITIONS):
            start = time.process_time()
            self.fit(client=0, model=model, kept=kept, seed=repetition)
            seconds.append(time.process_time() - start)
        return median(seconds[1:]) / (len(self._parts[0][1]) * self._task.training.epochs)
