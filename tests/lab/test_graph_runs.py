"""Runs on a graph: exact sums, a histogram from round to round, and everything that holds of a run in a clique."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref import graph
from clip_ref.audit import audit
from clip_ref.canonical import digest
from clip_ref.cli import main
from clip_ref.errors import PreconditionError
from clip_ref.identities import beside, load_directory
from clip_ref.lab import training
from clip_ref.lab.federated import Run, bucket, checks, passed, plain_sum
from clip_ref.lab.methods import METHODS
from clip_ref.params import NO_PRUNING, Encoding, Params, PruningPolicy, SecurityLevel
from clip_ref.train.data import load_task
from clip_ref.values import ClientId
from lab import tiny

CLIENTS, K = 15, 6


@pytest.fixture(scope="module")
def run() -> Run:
    """Five rounds of `clip`, three of them with a T*."""
    return tiny.run(clients=CLIENTS, stragglers=3, neighbours=K, rounds=5, security=SecurityLevel.HARDENED)


@pytest.mark.rule("LAB-2", "LAB-3", "LAB-7", "GRA-7")
def test_sums_are_exact_and_each_target_is_the_last_round_s(run: Run) -> None:
    assert passed(checks(run.rows))
    assert (run.params.neighbours, run.params.threshold, run.params.min_survivors) == (K, 5, 11)
    edges = graph.bucket_edges(params=run.params)
    targets = [row.target_us for row in run.rows]
    assert targets[:2] == [0, 0]  # nobody has a time in round 1, so none is known in round 2
    assert set(targets[2:]) <= set(edges)
    assert run.state.target in edges
    slow = " ".join(map(str, run.fleet.stragglers))
    assert [row.stragglers for row in run.rows] == ["", "", slow, slow, slow]
    assert all(len(row.keep_levels.split()) == 3 for row in run.rows[2:])


@pytest.mark.rule("LAB-3")
def test_the_target_is_within_a_bucket_of_the_slowest_that_is_not_slow(run: Run) -> None:
    """What those who are fast took in the round before, by the run's own clock."""
    edges = graph.bucket_edges(params=run.params)
    assert run.timeline is not None
    fast = [u for u in run.roster if u not in run.fleet.stragglers]
    took = max(run._record(u).elapsed(0) for u in fast)
    assert edges.index(run.rows[-1].target_us) == next(k for k, edge in enumerate(edges) if took <= edge)


@pytest.mark.rule("LAB-2")
@given(st.integers(0, 10**10), st.integers(1, 10**6), st.integers(1001, 2000), st.integers(1, 300))
def test_a_bucket_is_found_without_the_protocol_s_code(time: int, first: int, ratio: int, count: int) -> None:
    policy = PruningPolicy(bucket_first=first, bucket_ratio=ratio, bucket_count=count, anonymity_blocks=False)
    params = Params(clients=9, neighbours=4, policy=policy, encoding=Encoding(weight_max=50))
    at = bucket(time=time, policy=policy)
    assert at == graph.bucket_of(elapsed=time, params=params)
    assert 0 <= at < count


@pytest.mark.rule("LAB-2")
def test_the_plain_sum_counts_who_has_a_time() -> None:
    policy = PruningPolicy(grid=(1000, 500), bucket_count=3, anonymity_blocks=False)
    params = Params(clients=4, neighbours=2, policy=policy, encoding=Encoding(value_bits=8, weight_max=50))
    zero = np.zeros(1, dtype=np.float32)
    ids = [ClientId(u) for u in range(4)]

    def found(buckets: dict[ClientId, int]) -> bytes:
        return plain_sum(
            updates=dict.fromkeys(ids, zero),
            weights=dict.fromkeys(ids, 7),
            slots=dict.fromkeys(ids, 1),
            buckets=buckets,
            params=params,
        )

    def expected(*counts: int) -> bytes:
        words = np.array([0, 0, 28, *counts], dtype="<u4")
        return digest("sum", (words.tobytes(),))

    assert found({}) == expected(0, 0, 0)
    assert found({ids[0]: 2, ids[1]: 0, ids[3]: 2}) == expected(1, 0, 2)


@pytest.mark.rule("LAB-7")
def test_a_graph_where_a_clique_is_too_small() -> None:
    """Up to 255 clients everybody masks with everybody, unless K is given; above, K and t are those of GRA-9."""
    for clients in (2, 50, 255):
        params = tiny.config(clients=clients, stragglers=0).params(clients)
        assert params.neighbours == 0
        assert params.policy.anonymity_blocks
    for clients in (256, 500):
        params = tiny.config(clients=clients, stragglers=0).params(clients)
        chosen = graph.choose(clients=clients, corrupt=100, dropped=100)
        assert (params.neighbours, params.threshold) == chosen
    params = tiny.config(clients=500, neighbours=20).params(500)
    assert (params.neighbours, params.threshold) == (20, 15)
    assert not params.policy.anonymity_blocks


@pytest.mark.rule("LAB-7", "PAR-7")
@given(st.integers(2, 500))
def test_the_largest_weight_is_what_the_ring_has_room_for(clients: int) -> None:
    config = tiny.config(clients=clients, stragglers=0)
    params = config.params(clients)
    largest = max(len(labels) for _, labels in load_task("digits").clients(clients))
    assert min(1024, largest) <= params.encoding.weight_max <= 1024
    scaled = params.policy.holder_cap if params.policy.mean.scales else 1  # strata in a clique
    assert scaled == (4 if clients <= 255 else 1)
    assert (params.encoding.weight_max == 1024) == (clients * scaled <= 64)


@pytest.mark.rule("LAB-1")
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"neighbours": 5}, "PAR-10: k must be even"),
        ({"neighbours": -2}, "PAR-10: k must be even"),
        ({"neighbours": 10}, "below n − 1"),
        ({"neighbours": 4, "method": "clip-paper"}, "PAR-10: on a graph there are no shared records"),
        ({"clients": 300, "method": "clip-paper"}, "PAR-10: on a graph there are no shared records"),
        ({"clients": 12, "stragglers": 6, "neighbours": 6, "method": "exclude"}, "with n = 6"),
    ],
)
def test_what_no_graph_can_do_is_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(PreconditionError, match=problem):
        tiny.config(**changes)


@pytest.mark.rule("LAB-2", "LAB-7")
@pytest.mark.parametrize("name", [name for name in METHODS if name != "clip-paper"])
def test_the_other_methods(name: str) -> None:
    rows = tiny.run(clients=CLIENTS, stragglers=3, neighbours=K, rounds=3, method=name).rows
    assert passed(checks(rows))
    assert bool(rows[-1].keep_levels) == (METHODS[name].policy != NO_PRUNING)


@pytest.mark.rule("LAB-4", "LAB-5", "TRA-7", "AUD-5", "AUD-11")
@pytest.mark.parametrize("stop", [2, 3])
def test_a_recorded_run_resumed_and_audited(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The target is in the checkpoint; the transcript is that of a run that was never stopped, and holds."""
    monkeypatch.setattr(training, "Pool", tiny.TinyPool)

    def train(out: str, rounds: int, *more: str) -> None:
        command = ["train", f"--clients={CLIENTS}", "--stragglers=3", f"--neighbours={K}", f"--fleet={tiny.FLEET}"]
        command += [f"--rounds={rounds}", f"--out={tmp_path / out}", f"--transcript={tmp_path / out}.run"]
        assert main([*command, *more]) == 0

    train("whole", 4, "--json")
    found = json.loads(capsys.readouterr().out)
    train("parts", stop, "--quiet")
    train("parts", 4, "--resume")
    said = capsys.readouterr().out
    for name in ("rounds.csv", "results.json", "checkpoint.npz", "model.npz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    path = tmp_path / "whole.run"
    assert path.read_bytes() == (tmp_path / "parts.run").read_bytes()
    report = audit(path=path, directory=load_directory(path=beside(path)))
    assert report.holds
    assert found["graph"] == {"neighbours": K, "threshold": 5, "min_survivors": 11}
    targets = found["methods"]["clip"]["targets_us"]
    assert targets == [report.target, *(r.target for r in report.rounds[:-1])]
    assert targets[:2] == [0, 0]
    words = ", ".join(f"{target / 1e6:.3f} s" for target in targets[2:])
    assert f"on a graph, {K} neighbours each, t = 5 of {K + 1}; T* by round: none, none, {words}\n" in said


def test_a_clique_says_nothing_of_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But its T* by round, which comes from the records of the round itself."""
    monkeypatch.setattr(training, "Pool", tiny.TinyPool)
    assert main([*tiny.options(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["graph"] is None
    targets = found["methods"]["clip"]["targets_us"]
    assert targets[0] == 0
    assert all(targets[1:])
    assert all(abs(a - b) < a // 10 for a, b in pairwise(targets[1:]))
