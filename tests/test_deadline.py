"""The public time of deadline mode: it follows from what all parties know, and covers everybody it can."""

from typing import Any

import attrs
import pytest
import rounds
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.deadline import upload_time
from clip_ref.messages import TimeRecord
from clip_ref.params import Params, PruningPolicy
from clip_ref.round import Assignment, Server, ids, run_round
from clip_ref.values import MAX_MICROSECONDS, ClientId, Floats
from clip_ref.verdicts import Reason, Verdict

FAST = Verdict(False, 1000, False, Reason.FAST)
SPARED = Verdict(True, 1000, False, Reason.SMALL_BLOCK)
PRUNES = Verdict(True, 750, False, Reason.STRAGGLER)


def params_of(deadline: int, margin: int = 50, **more: Any) -> Params:
    policy = PruningPolicy(margin=margin, deadline=deadline, anonymity_blocks=False)
    return Params(clients=20, policy=policy, **more)


def time_of(target: int, *verdicts: Verdict, round: int = 3, params: Params) -> int:
    by_client = {ClientId(u): verdict for u, verdict in enumerate(verdicts)}
    return upload_time(target=target, verdicts=by_client, params=params, round=round)


@pytest.mark.rule("DDL-1")
def test_uploads_begin_when_the_margin_is_up() -> None:
    params = params_of(10_000_000)
    assert time_of(1_000_000, FAST, PRUNES, params=params) == 1_050_000
    assert time_of(1_000_001, FAST, PRUNES, params=params) == 1_050_002  # rounded up: nobody in time is late
    assert time_of(1_000_000, FAST, FAST, params=params) == 1_050_000
    assert time_of(1_000_000, FAST, PRUNES, SPARED, params=params) == 1_050_000


@pytest.mark.rule("DDL-2")
def test_where_the_target_does_not_cover_the_slow_uploads_begin_at_the_deadline() -> None:
    params = params_of(10_000_000)
    assert time_of(1_000_000, FAST, PRUNES, round=2, params=params) == 10_000_000
    assert time_of(0, FAST, FAST, params=params) == 10_000_000
    assert time_of(1_000_000, FAST, SPARED, SPARED, params=params) == 10_000_000


@pytest.mark.rule("DDL-2")
def test_on_a_graph_nobody_goes_by_a_verdict_of_its_own() -> None:
    params = params_of(10_000_000, neighbours=8)
    for verdict in (FAST, PRUNES, SPARED):
        assert time_of(1_000_000, verdict, params=params) == 1_050_000
        assert time_of(0, verdict, params=params) == 10_000_000


@pytest.mark.rule("DDL-1", "DDL-2")
@given(
    deadline=st.one_of(st.just(0), st.integers(0, 2**53 - 1)),
    target=st.integers(0, MAX_MICROSECONDS),
    margin=st.integers(0, 1000),
    round=st.integers(1, 4),
    verdicts=st.lists(st.sampled_from((FAST, SPARED, PRUNES)), max_size=4),
)
def test_never_later_than_the_deadline_and_not_at_all_without_one(
    deadline: int, target: int, margin: int, round: int, verdicts: list[Verdict]
) -> None:
    found = time_of(target, *verdicts, round=round, params=params_of(deadline, margin))
    assert 0 <= found <= deadline
    assert found == deadline or 1000 * found >= (1000 + margin) * target > 1000 * (found - 1)


def assigned(params: Params, records: dict[ClientId, TimeRecord], round: int) -> dict[ClientId, Assignment]:
    """What the clients of a whole round are told to do."""
    clients = {u: rounds.client_of(u, params, record) for u, record in records.items()}
    server = Server(params=params, layout=rounds.LAYOUT, state=rounds.state_of(round))
    found: dict[ClientId, Assignment] = {}

    def train(assignments: Any) -> dict[ClientId, Floats]:
        found.update(assignments)
        return {u: rounds.update_of(u, len(a.model)) for u, a in assignments.items() if a.verdict.keep == 1000}

    run_round(server=server, clients=clients, train=train)
    return found


@pytest.mark.rule("DDL-1", "DDL-2")
def test_the_clients_of_a_round_come_to_one_time() -> None:
    params = rounds.params_of(rounds.policy_of(deadline=9_000_000), clients=6)
    records = {u: attrs.evolve(rounds.record_of(rounds.time_of(u, slow=u == 4)), down=1000) for u in ids(6)}
    early, late = assigned(params, records, round=1), assigned(params, records, round=3)
    assert {a.not_before for a in early.values()} == {9_000_000}
    assert {a.not_before for a in late.values()} == {526_050}
    assert late[ClientId(4)].verdict.keep < 1000
    off = attrs.evolve(params, policy=attrs.evolve(params.policy, deadline=0))
    assert {a.not_before for a in assigned(off, records, round=3).values()} == {0}
