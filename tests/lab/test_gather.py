"""Gathering: every run once, whatever stops it; files that are not what their names say are refused."""

import copy
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import attrs
import pytest

from clip_ref.errors import ClipError, PreconditionError
from clip_ref.lab import gather as gathering
from clip_ref.lab import methods
from clip_ref.lab.federated import Clock, RoundRow, Run, RunConfig, data_digest
from clip_ref.lab.gather import COLUMNS, Record, finished, gather, key_of, load, perform, processor
from clip_ref.params import SecurityLevel
from clip_ref.train.data import TRAINING
from lab import tiny


def work(connection: Connection, runs: Path) -> None:
    """A process that trains make-believe."""
    vars(gathering)["Pool"] = tiny.TinyPool
    gathering._work(connection, runs)


def dies(connection: Connection, runs: Path) -> None:
    """A process that finishes its first run, and ends in the second."""
    vars(gathering)["Pool"] = tiny.TinyPool
    config = connection.recv()
    perform(config, runs=runs, report=lambda row: None)
    connection.send((key_of(config), config.rounds, None))
    connection.recv()
    os._exit(3)


def refuses(connection: Connection, runs: Path) -> None:
    connection.recv()
    connection.send(PreconditionError(rule="TRN-4", detail="training diverged"))


def waits(connection: Connection, runs: Path) -> None:
    connection.recv()
    multiprocessing.Event().wait()


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "Pool", tiny.TinyPool)
    monkeypatch.setattr(gathering, "_work", work)


def do(config: RunConfig, runs: Path) -> Record:
    return perform(config, runs=runs, report=lambda row: None)


def but_for_time(record: Record) -> Record:
    return attrs.evolve(record, cpu_seconds=0.0)


# --- What a run is called ---


@pytest.mark.rule("EXP-1")
def test_a_run_is_named_by_what_determines_it() -> None:
    config = tiny.config(fleet="paper", changes=(("margin", 7),), method="clip-levels")
    text = json.dumps(gathering.described(config), sort_keys=True, separators=(",", ":"))
    assert key_of(config) == hashlib.sha256(text.encode()).hexdigest()[:16]
    found = json.loads(text)
    assert found["policy"]["margin"] == 7
    assert found["fleet_content"]["stragglers"] == list(config.load_fleet().stragglers)
    assert found["training"] == {"optimiser": "adam", "lr": 0.003, "momentum": 0.0, "batch": 40, "epochs": 2}
    assert "data_dir" not in found


OTHERS: dict[str, Any] = {
    "task": "mnist",
    "partition": "iid",
    "examples": 100,
    "method": "none",
    "changes": (("margin", 7),),
    "clients": 11,
    "neighbours": 4,
    "stragglers": 1,
    "rounds": 5,
    "trained": False,
    "evaluate_every": 2,
    "fleet": "paper",
    "clock": Clock.MEASURED,
    "security": SecurityLevel.HARDENED,
    "deadline": 1,
    "elide": 250,
    "full_every": 3,
    "seed": 2,
}


@pytest.mark.rule("EXP-1")
def test_any_field_gives_another_name_but_where_the_data_are() -> None:
    assert set(OTHERS) | {"data_dir"} == {field.name for field in attrs.fields(RunConfig)}
    keys = {key_of(tiny.config())}
    for name, value in OTHERS.items():
        config = copy.copy(tiny.config())
        object.__setattr__(config, name, value)  # whose data need not be there
        if name == "full_every":  # of a run that elides nothing it says nothing
            assert key_of(config) in keys
            object.__setattr__(config, "elide", 125)
        keys.add(key_of(config))
    assert len(keys) == 1 + len(OTHERS)
    assert key_of(tiny.config(data_dir="elsewhere")) == key_of(tiny.config())


@pytest.mark.rule("EXP-1")
def test_another_fleet_policy_training_or_version_of_the_same_name_gives_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = tmp_path / "fleet.json"
    fleet.write_text(Path(tiny.FLEET).read_text())
    config = tiny.config(fleet=str(fleet))
    keys = [key_of(config)]
    fleet.write_text(fleet.read_text().replace('"ghz": 2', '"ghz": 1'))
    keys.append(key_of(config))
    clip = methods.METHODS["clip"]
    changed = attrs.evolve(clip, policy=attrs.evolve(clip.policy, margin=clip.policy.margin + 1))
    monkeypatch.setitem(methods.METHODS, "clip", changed)
    keys.append(key_of(config))
    monkeypatch.setitem(methods.METHODS, "clip", attrs.evolve(changed, stand_in=not clip.stand_in))
    keys.append(key_of(config))
    monkeypatch.setitem(TRAINING, config.task, attrs.evolve(TRAINING[config.task], batch=8))
    keys.append(key_of(config))
    monkeypatch.setattr(gathering, "RESULTS_VERSION", gathering.RESULTS_VERSION + 1)
    keys.append(key_of(config))
    assert len(set(keys)) == 6


@pytest.mark.rule("EXP-3")
def test_data_are_told_apart_and_deals_are_not() -> None:
    assert data_digest(tiny.config()) == data_digest(tiny.config(partition="dirichlet:0.3", clients=11, seed=2))
    fewer = {data_digest(tiny.config(examples=100, seed=seed)) for seed in (1, 2)}
    assert len(fewer | {data_digest(tiny.config())}) == 3


def test_a_processor_has_a_name() -> None:
    assert processor().strip()


# --- One run ---


@pytest.mark.rule("EXP-2", "EXP-3")
def test_a_finished_run_is_one_file_named_by_what_it_holds(tmp_path: Path) -> None:
    config, told = tiny.config(), list[int]()
    record = perform(config, runs=tmp_path, report=lambda row: told.append(row.round))
    assert told == [1, 2, 3, 4]
    assert list(tiny.files(tmp_path)) == [f"{key_of(config)}.json"]
    assert load(tmp_path / f"{key_of(config)}.json") == record
    assert finished([config, tiny.config(seed=2)], runs=tmp_path) == {key_of(config): record}
    assert record.data == data_digest(config)
    rows = tiny.run().rows
    for name in COLUMNS:
        want = [getattr(row, name) for row in rows]
        assert list(record.rounds[name]) == [round(x, 6) if isinstance(x, float) else x for x in want]
    assert record.simulated_seconds == pytest.approx(rows[-1].total_seconds)


@pytest.mark.rule("EXP-2")
@pytest.mark.parametrize("stops", [(2, 4), (3,), (1, 2, 3)])
def test_a_run_killed_on_its_way_comes_to_the_same_record(
    stops: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after these rounds, before they were saved; the time of all sittings counts."""
    monkeypatch.setattr(gathering, "CHECKPOINT_SECONDS", -1)
    config = tiny.config(method="clip-gaps", fleet=tiny.FLEET + "+churn:0.5")
    straight, runs = do(config, tmp_path / "straight"), tmp_path / "killed"
    checkpoint, spent = (runs / f"{key_of(config)}.{kind}" for kind in ("npz", "seconds"))
    for stop in stops:

        def report(row: Any, stop: int = stop) -> None:
            if row.round == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            perform(config, runs=runs, report=report)
        assert checkpoint.exists() == spent.exists() == (stop > 1)
    spent.write_text("1000.0")
    told, steps, step = list[int](), list[int](), Run.step

    def counted(self: Run) -> RoundRow:
        steps.append(int(self.state.round))
        return step(self)

    monkeypatch.setattr(Run, "step", counted)
    record = perform(config, runs=runs, report=lambda row: told.append(row.round))
    assert told == [1, 2, 3, 4]
    assert steps == list(range(stops[-1], 5))
    assert but_for_time(record) == but_for_time(straight)
    assert 1000 <= record.cpu_seconds < 1100
    assert list(tiny.files(runs)) == [f"{key_of(config)}.json"]


@pytest.mark.rule("EXP-2")
def test_a_checkpoint_that_is_damaged_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / f"{key_of(tiny.config())}.npz"
    path.write_bytes(b"PK")
    with pytest.raises(PreconditionError, match=rf"LAB-5: {path} is damaged"):
        do(tiny.config(), tmp_path)


def edited(change: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    return lambda data: json.dumps(change(json.loads(data))).encode()


def rounds(found: Any, **changes: Any) -> Any:
    return found | {"rounds": found["rounds"] | changes}


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-9],
    "not text": lambda data: b"\xff" + data,
    "a list": lambda data: b"[]",
    "a field too many": edited(lambda found: found | {"mood": "good"}),
    "a field too few": edited(lambda found: {k: v for k, v in found.items() if k != "machine"}),
    "a column too few": edited(lambda found: found | {"rounds": {"accuracy": [0.5] * 4}}),
    "a round too few": edited(lambda found: rounds(found, bound=[0.1] * 3)),
    "no configuration": edited(lambda found: found | {"config": {}}),
    "another configuration": edited(lambda found: found | {"config": found["config"] | {"seed": 9}}),
    "another key": edited(lambda found: found | {"key": "0" * 16}),
}


@pytest.mark.rule("EXP-2")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_damaged_is_refused_by_its_name(damage: str, tmp_path: Path) -> None:
    do(tiny.config(), tmp_path)
    path = tmp_path / f"{key_of(tiny.config())}.json"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    before = tiny.files(tmp_path)
    with pytest.raises(PreconditionError) as caught:
        gather([tiny.config()], runs=tmp_path, workers=1)
    assert caught.value.rule == "EXP-2"
    assert caught.value.detail.startswith(f"{path} ")
    assert tiny.files(tmp_path) == before


@pytest.mark.rule("EXP-2")
def test_a_good_file_under_another_run_s_name_is_refused(tmp_path: Path) -> None:
    do(tiny.config(), tmp_path)
    other = tiny.config(seed=2)
    (tmp_path / f"{key_of(tiny.config())}.json").rename(tmp_path / f"{key_of(other)}.json")
    with pytest.raises(PreconditionError, match=f"EXP-2: .*{key_of(other)}.json does not hold the run that its name"):
        gather([other], runs=tmp_path, workers=1)


# --- Many ---

CONFIGS = [tiny.config(method=name, rounds=3) for name in ("none", "exclude", "clip")]


@pytest.mark.rule("EXP-2")
def test_every_run_is_gathered_once_and_then_comes_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for twice, one of them there before: each is run once, and told of once for each time that it is asked for."""
    first, told = do(CONFIGS[1], tmp_path), list[str]()
    asked = [*CONFIGS, CONFIGS[1]]
    found = gather(asked, runs=tmp_path, workers=2, report=told.append)
    assert list(found) == [key_of(config) for config in CONFIGS]
    assert found[key_of(CONFIGS[1])] == first
    assert sorted(tiny.files(tmp_path)) == sorted(f"{key}.json" for key in found)
    assert told.count("from a file") == 6
    assert len(told) == sum(config.rounds for config in asked)
    assert sum(word.startswith("digits clip 1, round ") for word in told) == 3
    for config in CONFIGS:
        assert but_for_time(found[key_of(config)]) == but_for_time(do(config, tmp_path / "alone"))
    monkeypatch.setattr(gathering, "_work", dies)
    assert gather(CONFIGS[::-1], runs=tmp_path, workers=2) == found
    assert not multiprocessing.active_children()


@pytest.mark.rule("EXP-2")
def test_a_process_that_dies_ends_all_and_what_was_finished_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(gathering, "_work", dies)
        with pytest.raises(ClipError, match="EXP-2: a process ended before its run was finished"):
            gather(CONFIGS, runs=tmp_path, workers=1)
    assert not multiprocessing.active_children()
    assert list(finished(CONFIGS, runs=tmp_path)) == [key_of(CONFIGS[0])]
    assert len(gather(CONFIGS, runs=tmp_path, workers=1)) == 3


@pytest.mark.rule("EXP-2")
def test_a_process_that_takes_no_run_has_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def send(self: Connection, config: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Connection, "send", send)
    with pytest.raises(ClipError, match="EXP-2: a process ended before its run was finished"):
        gather(CONFIGS, runs=tmp_path, workers=1)
    assert not multiprocessing.active_children()


@pytest.mark.rule("EXP-3")
def test_what_was_run_on_other_data_is_refused(tmp_path: Path) -> None:
    """Of the same name: where data are is no part of it."""
    do(CONFIGS[0], tmp_path)
    record = do(CONFIGS[1], tmp_path)
    path = tmp_path / f"{record.key}.json"
    path.write_text(json.dumps(attrs.asdict(attrs.evolve(record, data="0" * 16))))
    with pytest.raises(
        PreconditionError, match=rf"EXP-3: .*{record.key}.json was run on other data than there are now"
    ):
        gather(CONFIGS, runs=tmp_path, workers=1)
    assert finished(CONFIGS[:1], runs=tmp_path)


@pytest.mark.rule("EXP-2")
def test_what_a_run_raises_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_work", refuses)
    with pytest.raises(PreconditionError, match="TRN-4: training diverged"):
        gather(CONFIGS, runs=tmp_path, workers=2)
    assert not multiprocessing.active_children()


@pytest.mark.rule("EXP-2")
@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_when_time_is_up_what_is_finished_is_returned(
    seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = do(CONFIGS[2], tmp_path)
    monkeypatch.setattr(gathering, "_work", waits)
    assert gather(CONFIGS, runs=tmp_path, workers=2, seconds=seconds) == {key_of(CONFIGS[2]): done}
    assert not multiprocessing.active_children()
