"""Stopping and going on: a run that was interrupted ends as one that was not, and what is not its checkpoint is refused."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from clip_ref.errors import PreconditionError
from clip_ref.lab import federated, training
from clip_ref.lab.federated import Clock, Run, RunConfig, rows_csv
from clip_ref.lab.methods import METHODS
from clip_ref.params import SecurityLevel
from clip_ref.train import modelfile
from clip_ref.train.data import TRAINING, Source, Task, load_task
from lab import tiny

WRITTEN = ["checkpoint.npz", "model.npz", "results.json", "rounds.csv"]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "Pool", tiny.TinyPool)


def train(out: Path, *, resume: bool = False, init: Path | None = None, **changes: Any) -> dict[str, Any]:
    return training.train(config=tiny.config(**changes), out=out, init=init, resume=resume, quiet=True)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rounds of `clip` without a stop."""
    out = tmp_path_factory.mktemp("straight") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Pool", tiny.TinyPool)
        train(out)
    return out


def test_what_a_run_writes(straight: Path, runs: Mapping[str, Run]) -> None:
    assert sorted(tiny.files(straight)) == WRITTEN
    assert (straight / "rounds.csv").read_text() == rows_csv(runs["clip"].rows)
    found = json.loads((straight / "results.json").read_text())
    assert list(found["methods"]) == ["clip"]
    numbers = found["methods"]["clip"]
    assert {"simulated_seconds", "bound_share", "final_accuracy", "rounds"} <= set(numbers)
    assert 0 < numbers["bound_share"] <= 1
    assert numbers["simulated_seconds"] == pytest.approx(runs["clip"].rows[-1].total_seconds)
    assert numbers["rounds"] == 4
    assert found["checks"] == {
        "secure_sum_exact": True,
        "upload_lengths": [883],
        "transcript_shape_equal": True,
    }
    assert RunConfig(**found["config"]) == tiny.config()
    saved = modelfile.load(straight / "model.npz")
    saved.check(layout=tiny.LAYOUT)
    np.testing.assert_array_equal(saved.model, runs["clip"].state.model)


@pytest.mark.rule("LAB-4", "LAB-5")
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_ends_as_one_that_was_never_stopped(stop: int, straight: Path, tmp_path: Path) -> None:
    """Stopped in the warm-up, at its end, and after a round that pruned: all files byte for byte."""
    out = tmp_path / "out"
    train(out, rounds=stop)
    train(out, resume=True)
    assert tiny.files(out) == tiny.files(straight)


@pytest.mark.rule("LAB-4", "LAB-5")
@pytest.mark.parametrize("name", [name for name in METHODS if name != "clip"])
def test_every_method_can_be_resumed(name: str, tmp_path: Path, runs: Mapping[str, Run]) -> None:
    train(tmp_path, method=name, rounds=2)
    train(tmp_path, method=name, resume=True)
    assert (tmp_path / "rounds.csv").read_text() == rows_csv(runs[name].rows)
    np.testing.assert_array_equal(modelfile.load(tmp_path / "model.npz").model, runs[name].state.model)


@pytest.mark.rule("LAB-5")
def test_a_run_killed_between_rounds_goes_on_from_its_checkpoint(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, honest, steps = tmp_path / "out", Run.step, 0

    def step(self: Run, **more: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise KeyboardInterrupt
        return honest(self, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", step)
        with pytest.raises(KeyboardInterrupt):
            train(out)
    assert sorted(tiny.files(out)) == ["checkpoint.npz"]
    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", step)
        steps = 1  # one more round, then killed again
        with pytest.raises(KeyboardInterrupt):
            train(out, resume=True)
    train(out, resume=True)
    assert tiny.files(out) == tiny.files(straight)


@pytest.mark.rule("LAB-4")
def test_a_run_killed_while_it_saves_keeps_the_checkpoint_before(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, honest, saved = tmp_path / "out", Path.write_bytes, 0

    def write_bytes(self: Path, data: Any) -> int:
        nonlocal saved
        saved += 1
        if saved == 3:
            honest(self, data[: len(data) // 2])
            raise KeyboardInterrupt
        return honest(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(KeyboardInterrupt):
            train(out)
    assert sorted(tiny.files(out)) == ["checkpoint.npz"]
    assert len(Run.resume(out / "checkpoint.npz", config=tiny.config(), pool=tiny.pool()).rows) == 2
    train(out, resume=True)
    assert tiny.files(out) == tiny.files(straight)


def test_a_finished_run_can_be_asked_for_again_or_for_more(straight: Path, tmp_path: Path) -> None:
    train(tmp_path, rounds=2)
    before = tiny.files(tmp_path)
    train(tmp_path, rounds=2, resume=True)
    assert tiny.files(tmp_path) == before
    with pytest.raises(PreconditionError, match=r"LAB-5: .* has 2 rounds already: ask for more --rounds"):
        train(tmp_path, rounds=1, resume=True)
    assert tiny.files(tmp_path) == before
    train(tmp_path, rounds=4, resume=True)
    assert tiny.files(tmp_path) == tiny.files(straight)


@pytest.mark.rule("LAB-5")
def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    config = tiny.config(clock=Clock.MEASURED)
    run = Run(config=config, pool=tiny.pool())
    run.step()
    run.save(tmp_path / "c.npz")
    fake = tiny.TinyPool()
    resumed = Run.resume(tmp_path / "c.npz", config=config, pool=fake)  # type: ignore[arg-type]
    assert resumed.step() == run.step()
    assert fake.measured == 0


OTHERS: dict[str, Any] = {
    "method": "none",
    "clients": 11,
    "neighbours": 4,
    "stragglers": 1,
    "clock": Clock.MEASURED,
    "security": SecurityLevel.HARDENED,
    "seed": 2,
    "deadline": 5_000_000,
    "elide": 250,
    "full_every": 3,
    "fleet": "paper",
    "partition": "iid",
    "examples": 100,
    "changes": [["margin", 100]],
    "trained": False,
    "evaluate_every": 2,
}


@pytest.mark.rule("LAB-5")
@pytest.mark.parametrize("field", OTHERS)
def test_a_checkpoint_of_another_configuration_is_refused_by_name(field: str, straight: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.npz").write_bytes((straight / "checkpoint.npz").read_bytes())
    before, own, other = (
        tiny.files(tmp_path),
        *(tiny.config(**c).as_dict()[field] for c in ({}, {field: OTHERS[field]})),
    )
    with pytest.raises(PreconditionError) as caught:
        train(tmp_path, resume=True, rounds=9, **{field: OTHERS[field]})
    assert caught.value.rule == "LAB-5"
    assert caught.value.detail.endswith(f"belongs to another run: it has {field} {own!r}, not {other!r}")
    assert tiny.files(tmp_path) == before


def test_every_field_but_task_and_rounds_was_tried() -> None:
    """Another task needs data that do not ship; the others may be otherwise."""
    assert set(OTHERS) | {"task", "rounds", "data_dir"} == {field.name for field in attrs.fields(RunConfig)}


@pytest.mark.rule("LAB-5", "EXP-3")
def test_data_may_move_but_not_change(straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path / "moved", rounds=2)
    train(tmp_path / "moved", resume=True, data_dir="elsewhere")
    assert (tmp_path / "moved" / "rounds.csv").read_bytes() == (straight / "rounds.csv").read_bytes()

    def other(source: Source) -> Task:
        task = load_task(source)
        inputs, labels = task.test
        return attrs.evolve(task, test=(inputs, labels[::-1]))

    monkeypatch.setattr(federated, "load_task", other)
    before = tiny.files(tmp_path)
    with pytest.raises(PreconditionError, match=r"LAB-5: .*npz belongs to another run: its data were other ones"):
        train(tmp_path / "moved", resume=True, rounds=5)
    assert tiny.files(tmp_path) == before


@pytest.mark.rule("LAB-5")
def test_a_fleet_s_file_that_was_edited_in_between_is_another_fleet(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.json"
    fleet.write_text(Path(tiny.FLEET).read_text())
    out = tmp_path / "out"
    train(out, fleet=str(fleet), rounds=1)
    train(out, fleet=str(fleet), rounds=2, resume=True)
    fleet.write_text(fleet.read_text().replace('"ghz": 2', '"ghz": 1'))
    with pytest.raises(PreconditionError, match=r"LAB-5: .*fleet .*fleet\.json was another one when it began"):
        train(out, fleet=str(fleet), resume=True)


@pytest.mark.rule("LAB-5")
def test_what_names_stand_for_must_not_have_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method's policy, and how clients train; in other words it is still the same."""
    train(tmp_path / "out", rounds=1)
    clip, training = METHODS["clip"], TRAINING["digits"]
    for changed, other in (
        (attrs.evolve(clip, policy=attrs.evolve(clip.policy, margin=3)), training),
        (attrs.evolve(clip, stand_in=False), training),
        (clip, attrs.evolve(training, lr=0.1)),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(METHODS, "clip", changed)
            patch.setattr(federated, "load_task", lambda s, t=other: attrs.evolve(load_task(s), training=t))
            with pytest.raises(PreconditionError, match=r"LAB-5: .*npz belongs to another run: `clip`, or how clients"):
                train(tmp_path / "out", resume=True)
    monkeypatch.setitem(METHODS, "clip", attrs.evolve(clip, summary="the same"))
    train(tmp_path / "out", resume=True)


def without(name: str) -> Callable[[bytes], bytes]:
    """The archive without one of its members."""

    def change(data: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            for member in old.namelist():
                if member != name:
                    new.writestr(member, old.read(member))
        return out.getvalue()

    return change


def header(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """The archive with something else in its header."""

    def changed(data: bytes) -> bytes:
        with np.load(io.BytesIO(data)) as stored:
            members = {name: stored[name] for name in stored.files}
        text = json.dumps(change(json.loads(members["header"].tobytes())))
        out = io.BytesIO()
        np.savez(out, **members | {"header": np.frombuffer(text.encode(), dtype=np.uint8)})
        return out.getvalue()

    return changed


def array(data: bytes) -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "text": lambda data: b"rounds: 4\n",
    "cut in half": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "a byte changed": lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    "an array": array,
    "no header": without("header.npy"),
    "no model": without("model.npy"),
    "a header that is a list": header(lambda found: [found]),
    "rows of another version": header(lambda found: found | {"rows": [{"round": 1}]}),
    "no digest of the data": header(lambda found: {k: v for k, v in found.items() if k != "data"}),
    "no memory": header(lambda found: {k: v for k, v in found.items() if k != "memory"}),
}


@pytest.mark.rule("LAB-4", "LAB-5")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused(damage: str, straight: Path, tmp_path: Path) -> None:
    whole = (straight / "checkpoint.npz").read_bytes()
    (tmp_path / "checkpoint.npz").write_bytes(DAMAGES[damage](whole))
    before = tiny.files(tmp_path)
    with pytest.raises(PreconditionError) as caught:
        train(tmp_path, resume=True)
    assert caught.value.rule == "LAB-5"
    assert "is damaged, or no checkpoint of this version" in caught.value.detail
    assert "\n" not in caught.value.detail
    assert tiny.files(tmp_path) == before


@pytest.mark.rule("LAB-4")
@pytest.mark.parametrize("part", range(4))
def test_a_truncated_checkpoint_is_refused_wherever_it_is_cut(part: int, straight: Path, tmp_path: Path) -> None:
    whole = (straight / "checkpoint.npz").read_bytes()
    for at in range(part, len(whole), 4 * 53):
        (tmp_path / "c.npz").write_bytes(whole[:at])
        with pytest.raises(PreconditionError, match="LAB-5"):
            Run.resume(tmp_path / "c.npz", config=tiny.config(), pool=tiny.pool())


@pytest.mark.rule("LAB-4")
def test_a_checkpoint_holds_all_that_the_next_round_depends_on(tmp_path: Path) -> None:
    run = tiny.run(rounds=3)
    run.save(tmp_path / "c.npz")
    resumed = Run.resume(tmp_path / "c.npz", config=tiny.config(rounds=9), pool=tiny.pool())
    assert resumed.state == run.state
    assert resumed.state.history is not None
    assert resumed.rows == run.rows
    assert resumed._memory == run._memory
    assert resumed.step() == run.step()


def test_an_initial_model_is_where_a_run_begins(straight: Path, tmp_path: Path) -> None:
    train(tmp_path / "a", init=straight / "model.npz", rounds=1)
    train(tmp_path / "b", rounds=1)
    a, b = (modelfile.load(tmp_path / name / "model.npz").model for name in "ab")
    assert not np.array_equal(a, b)
    begun = Run(config=tiny.config(), pool=tiny.pool(), initial=modelfile.load(straight / "model.npz").model)
    begun.step()
    np.testing.assert_array_equal(a, begun.state.model)
