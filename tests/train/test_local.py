"""Local training: the steps that torch's own optimisers take, from the seed alone, and good enough on unseen writers."""

import time
from typing import Any

import attrs
import numpy as np
import pytest

from clip_ref.errors import PreconditionError
from clip_ref.layout import Kept, Layout, kept_count
from clip_ref.submodel import expand, extract
from clip_ref.values import Floats

pytest.importorskip("torch")

import torch
from torch import nn

from clip_ref.train.data import TRAINING, LocalTraining, Part, Tally, load_task
from clip_ref.train.local import Trainer, evaluate, fit, one_thread, tally
from clip_ref.train.models import MODELS, build
from clip_ref.train.smaller import flatten, load, smaller
from clip_ref.train.trace import layout_of

torch.set_num_threads(1)  # as in a worker; two would wait for each other wherever a core is busy

DIGITS = load_task("digits")
SGD = LocalTraining(optimiser="sgd", lr=0.1, momentum=0.9, batch=16, epochs=2)
ADAM = LocalTraining(optimiser="adam", lr=0.01, batch=16, epochs=2)


def first(layout: Layout, keep: int) -> Kept:
    return {x.name: np.arange(kept_count(x.neurons, keep), dtype=np.int64) for x in layout.layers}


@attrs.frozen
class Setting:
    """A small module with dropout, its layout and weights, and examples of a small problem."""

    module: nn.Module
    layout: Layout
    model: Floats
    part: Part


@pytest.fixture(scope="module")
def small() -> Setting:
    torch.manual_seed(5)
    module = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 3))
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(50, 6)).astype(np.float32)
    return Setting(
        module,
        layout_of(module, input_shape=(6,)),
        flatten(module),
        (inputs, inputs[:, :3].argmax(axis=1).astype(np.int64)),
    )


def trained(small: Setting, kept: Kept | None = None, training: LocalTraining = SGD, seed: int = 1) -> Floats:
    return fit(
        module=small.module,
        layout=small.layout,
        model=small.model,
        kept=small.layout.full() if kept is None else kept,
        part=small.part,
        training=training,
        seed=seed,
    )


@pytest.mark.parametrize("training", [SGD, ADAM, attrs.evolve(SGD, momentum=0.0)])
def test_the_same_arguments_give_the_same_bits_and_the_global_state_stays(
    small: Setting, training: LocalTraining
) -> None:
    state = torch.get_rng_state()
    one, two, other = (trained(small, training=training, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(flatten(small.module), small.model)
    assert one.dtype == np.float32
    assert not one.flags.writeable


@pytest.mark.parametrize("training", [SGD, ADAM])
def test_steps_are_those_of_torchs_own_optimisers(training: LocalTraining) -> None:
    """Ten full-batch steps, so that the order of examples does not matter."""
    torch.manual_seed(7)
    module = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3))
    inputs, classes = torch.randn(20, 6), torch.randint(3, (20,))
    layout, model = layout_of(module, input_shape=(6,)), flatten(module)
    training = attrs.evolve(training, batch=20, epochs=10)
    part = (inputs.numpy(), classes.numpy())
    delta = fit(module=module, layout=layout, model=model, kept=layout.full(), part=part, training=training, seed=0)
    optimiser: torch.optim.Optimizer = torch.optim.Adam(module.parameters(), lr=training.lr)
    if training.optimiser == "sgd":
        optimiser = torch.optim.SGD(module.parameters(), lr=training.lr, momentum=training.momentum)
    for _ in range(10):
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(module(inputs), classes))
        optimiser.step()
    np.testing.assert_allclose(delta, flatten(module) - model, rtol=1e-3, atol=1e-5)
    assert np.abs(delta).max() > 0.01


def test_each_epoch_takes_every_example_once_in_batches_of_nearly_one_size(small: Setting) -> None:
    seen: list[Floats] = []
    hook = small.module.register_forward_pre_hook(lambda _, args: seen.append(args[0].numpy()))
    try:
        trained(small, training=attrs.evolve(SGD, batch=16, epochs=2))
    finally:
        hook.remove()
    assert [len(batch) for batch in seen] == [13, 13, 12, 12] * 2
    want = sorted(map(bytes, small.part[0]))
    assert sorted(map(bytes, np.concatenate(seen[:4]))) == want
    assert sorted(map(bytes, np.concatenate(seen[4:]))) == want
    assert any((a != b).any() for a, b in zip(seen[0], seen[4], strict=True))


@pytest.mark.rule("SUB-5")
def test_training_a_sub_model_is_training_the_smaller_module(small: Setting) -> None:
    """Extract, train, expand: its update is the smaller module's own, and pruned coordinates stay."""
    kept = {"0": np.array([1, 4, 9]), "3": np.array([0, 7])}
    delta = trained(small, kept=kept)
    narrow = smaller(small.module, layout=small.layout, kept=kept)
    layout = layout_of(narrow, input_shape=(6,))
    own = fit(
        module=narrow, layout=layout, model=flatten(narrow), kept=layout.full(), part=small.part, training=SGD, seed=1
    )
    np.testing.assert_array_equal(delta, own)
    full = expand(delta=delta, layout=small.layout, kept=kept)
    assert (full[~small.layout.held(kept)] == 0).all()
    np.testing.assert_array_equal(extract(model=full, layout=small.layout, kept=kept), delta)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_drops_out_whatever_mode_the_module_came_in(small: Setting, training: bool) -> None:
    def updated(dropout: float) -> Floats:
        module = nn.Sequential(nn.Linear(6, 10), nn.Dropout(dropout), nn.Linear(10, 3)).train(training)
        layout = layout_of(module, input_shape=(6,))
        model = np.linspace(-1, 1, layout.size, dtype=np.float32)
        return trained(attrs.evolve(small, module=module, layout=layout, model=model))

    assert np.abs(updated(0.5) - updated(0.0)).max() > 0.01


def test_parameters_that_need_no_gradient_stay(small: Setting) -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    module[0].requires_grad_(requires_grad=False)
    layout = layout_of(module, input_shape=(6,))
    for training in (SGD, ADAM):
        delta = fit(
            module=module,
            layout=layout,
            model=flatten(module),
            kept=layout.full(),
            part=small.part,
            training=training,
            seed=0,
        )
        assert (delta[:28] == 0).all()
        assert (delta[28:] != 0).any()


@pytest.mark.rule("TRN-3")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_model_that_is_not_finite_is_refused(small: Setting, bad: float) -> None:
    model = small.model.copy()
    model[3] = bad
    kept = small.layout.full() | {"0": np.arange(5, 10, dtype=np.int64)}
    with pytest.raises(PreconditionError, match="at coordinate 3") as caught:
        trained(attrs.evolve(small, model=model), kept=kept)
    assert caught.value.rule == "TRN-3"
    with pytest.raises(PreconditionError, match="TRN-3"):
        evaluate(module=small.module, model=model, part=small.part)


@pytest.mark.rule("SUB-1", "TRN-3")
def test_a_model_of_another_length_is_refused(small: Setting) -> None:
    with pytest.raises(PreconditionError, match="SUB-1"):
        trained(attrs.evolve(small, model=small.model[1:]))
    with pytest.raises(PreconditionError, match="TRN-3"):
        evaluate(module=small.module, model=small.model[1:], part=small.part)


def test_a_client_without_examples_is_refused(small: Setting) -> None:
    with pytest.raises(PreconditionError, match="TRN-1: a client without examples"):
        trained(attrs.evolve(small, part=(small.part[0][:0], small.part[1][:0])))


@pytest.mark.rule("TRN-4")
@pytest.mark.parametrize("training", [attrs.evolve(SGD, lr=1e30), attrs.evolve(ADAM, lr=1e30)])
def test_training_that_diverges_is_refused(small: Setting, training: LocalTraining) -> None:
    module = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3))
    diverging = attrs.evolve(small, module=module, layout=layout_of(module, input_shape=(6,)), model=flatten(module))
    with pytest.raises(PreconditionError, match=r"TRN-4: local training diverged .* lower the learning rate 1e\+30"):
        trained(diverging, training=training)


def test_accuracy_is_the_share_classified_right() -> None:
    module = nn.Sequential(nn.Linear(3, 3, bias=False))
    inputs = np.eye(3, dtype=np.float32)
    part = (inputs[[0, 1, 2, 0]], np.array([0, 1, 2, 1]))
    assert evaluate(module=module, model=np.eye(3, dtype=np.float32).ravel(), part=part) == 0.75


def test_models_come_from_their_seed_alone() -> None:
    torch.manual_seed(1)
    one, state = flatten(build("digits_cnn", seed=4)), torch.get_rng_state()
    torch.manual_seed(2)
    np.testing.assert_array_equal(flatten(build("digits_cnn", seed=4)), one)
    assert (flatten(build("digits_cnn", seed=5)) != one).any()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(one) >= 150_000


@pytest.mark.rule("TRN-1")
@pytest.mark.parametrize("arguments", [("vgg10", 0), ("digits_cnn", -1), ("digits_cnn", 2**63)])
def test_unknown_models_and_seeds_are_refused(arguments: tuple[str, int]) -> None:
    name, seed = arguments
    with pytest.raises(PreconditionError, match="TRN-1") as caught:
        build(name, seed=seed)
    assert name in MODELS or ", ".join(MODELS) in caught.value.detail


def test_central_training_reaches_94_percent_on_unseen_writers() -> None:
    module = build(DIGITS.model, seed=0)
    layout, model = layout_of(module, input_shape=DIGITS.input_shape), flatten(module)
    training = LocalTraining(optimiser="adam", lr=1e-3, batch=32, epochs=8)
    delta = fit(
        module=module, layout=layout, model=model, kept=layout.full(), part=DIGITS.ordered, training=training, seed=0
    )
    assert evaluate(module=module, model=model + delta, part=DIGITS.test) >= 0.94


def test_a_model_half_as_wide_trains_at_least_one_and_a_half_times_as_fast() -> None:
    """CPU time, the best of several, full and half in turn: a real sub-model gives the time back."""
    trainer = Trainer(source="digits", clients=20)
    layout = trainer.layout()
    full, half = layout.full(), first(layout, 500)
    assert layout.shrunk(half).macs() < 0.3 * layout.macs()
    times: dict[str, list[float]] = {"full": [], "half": []}
    for _ in range(8):
        times["full"].append(trainer.measure_fit(kept=full))
        times["half"].append(trainer.measure_fit(kept=half))
        if min(times["full"]) > 1.5 * min(times["half"]):
            break  # the least times only fall: more runs take noise away, and cannot hide a slow sub-model
    assert min(times["full"]) > 1.5 * min(times["half"])


def test_lstm_layers_half_as_wide_train_at_least_one_and_a_half_times_as_fast() -> None:
    """Likewise for the two LSTM layers of Shakespeare, on windows of its length in batches of its size."""
    module = build("char_lstm", seed=0)
    layout, model, rng = layout_of(module, input_shape=(80,)), flatten(module), np.random.default_rng(0)
    part = rng.integers(0, 80, (32, 80)).astype(np.float32), rng.integers(0, 80, 32)
    times: dict[int, list[float]] = {1000: [], 500: []}
    for _ in range(12):
        for keep, took in times.items():
            begun = time.process_time()
            fit(
                module=module,
                layout=layout,
                model=model,
                kept=first(layout, keep),
                part=part,
                training=TRAINING["shakespeare"],
                seed=0,
            )
            took.append(time.process_time() - begun)
        if min(times[1000]) > 1.5 * min(times[500]):
            break
    assert min(times[1000]) > 1.5 * min(times[500])


def test_one_thread_is_undone() -> None:
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_load_then_evaluate_is_evaluate(small: Setting) -> None:
    module: Any = nn.Sequential(nn.Linear(6, 3))
    flat = np.linspace(-1, 1, 21, dtype=np.float32)
    load(module, flat)
    with torch.no_grad():
        guesses = module(torch.tensor(small.part[0])).argmax(dim=1).numpy()
    assert evaluate(module=nn.Sequential(nn.Linear(6, 3)), model=flat, part=small.part) == np.mean(
        guesses == small.part[1]
    )


# --- Fewer batches ---


@pytest.mark.rule("TRN-1", "LAB-10")
@pytest.mark.parametrize(("share", "batches"), [(1000, 4), (999, 3), (750, 3), (500, 2), (499, 1), (1, 1)])
def test_a_share_of_each_epoch_s_batches_is_trained_on(small: Setting, share: int, batches: int) -> None:
    seen: list[int] = []
    hook = small.module.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    try:
        delta = shared(small, share)
    finally:
        hook.remove()
    assert seen == [13, 13, 12, 12][:batches] * 2
    assert len(delta) == len(small.model)
    if share == 1000:
        np.testing.assert_array_equal(delta, trained(small))
    else:
        assert (delta != trained(small)).any()


def shared(small: Setting, share: int) -> Floats:
    return fit(
        module=small.module,
        layout=small.layout,
        model=small.model,
        kept=small.layout.full(),
        part=small.part,
        training=SGD,
        seed=1,
        share=share,
    )


@pytest.mark.rule("TRN-1")
@pytest.mark.parametrize("share", [0, -1, 1001])
def test_a_share_out_of_range_is_refused(small: Setting, share: int) -> None:
    with pytest.raises(PreconditionError, match=f"TRN-1: a share of the batches is 1 … 1000 ‰, got {share}"):
        shared(small, share)


# --- By class ---


def test_a_tally_counts_by_class(small: Setting) -> None:
    load(small.module, small.model)
    with torch.no_grad():
        guessed = small.module.eval()(torch.from_numpy(small.part[0])).argmax(dim=1).numpy()
    found = tally(module=small.module, model=small.model, part=small.part)
    assert found.seen == tuple(np.bincount(small.part[1], minlength=3).tolist())
    assert found.right == tuple(int((guessed[small.part[1] == k] == k).sum()) for k in range(3))
    assert (
        evaluate(module=small.module, model=small.model, part=small.part) == found.accuracy() == sum(found.right) / 50
    )


@pytest.mark.rule("TRN-1")
def test_the_accuracy_on_some_classes() -> None:
    found = Tally((3, 0, 4), (4, 0, 8))
    assert found.accuracy() == 7 / 12
    assert found.accuracy([0]) == 0.75
    assert found.accuracy([2, 1]) == 0.5
    assert found.accuracy([0, 2, 9]) == 7 / 12
    for none in ([1], [], [9]):
        with pytest.raises(PreconditionError, match="TRN-1: the test has no example of the classes"):
            found.accuracy(none)
