"""Audit of runs on a graph: neighbourhoods, bitmaps, the sum, and each T* from the histogram of the round before."""

from pathlib import Path
from typing import Any, cast

import attrs
import numpy as np
import pytest
from recorded import (
    ABORTED,
    CHAIN,
    Told,
    blames,
    bounds,
    chained,
    first_state,
    forgeable,
    forged,
    found,
    framed,
    record,
    recorder,
    told,
)

from clip_ref import graph
from clip_ref.audit import as_dict, audit
from clip_ref.canonical import model_digest
from clip_ref.cli import main
from clip_ref.errors import SERVER
from clip_ref.identities import beside, save_directory
from clip_ref.messages import Agreed, Announce, Deliver, Neighbourhood, Unmask
from clip_ref.round import DropOut, Leg, Server, ids
from clip_ref.transcript import MAGIC
from clip_ref.values import ClientId, RoundNumber

A, B, C, D, _, F = ids(6)
T = 600_000
"""T* of every round that all take part in: the upper edge of the bucket of those who are fast."""


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Eight clients with four neighbours each, t = 4 of 5; F drops out of the first of two rounds before its input."""
    path = tmp_path_factory.mktemp("audit") / "run"
    gone: list[dict[ClientId, DropOut]] = [{F: DropOut(Leg.INPUT, False)}, {}]
    return told(record(path, gone, clients=8, threshold=4, neighbours=4), path)


@pytest.fixture(scope="session")
def smallest(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Four clients with two neighbours each, two rounds: the second with a T*."""
    path = tmp_path_factory.mktemp("audit") / "run"
    return told(record(path, [{}, {}], clients=4, threshold=2, neighbours=2), path)


# What really happened


@pytest.mark.rule("AUD-3", "AUD-4", "AUD-5", "AUD-11", "AUD-12", "TRA-3")
@pytest.mark.parametrize(("hardened", "bits"), [(True, 32), (True, 64), (False, 32)])
def test_an_honest_run_passes(tmp_path: Path, hardened: bool, bits: int) -> None:
    """Drop-outs on every leg, before and after the answer, an aborted round in the middle; T* goes from round to round."""
    legs = [leg for leg in Leg if hardened or leg is not Leg.CONSISTENCY]
    plan: list[dict[ClientId, DropOut]] = [{}, dict.fromkeys(ids(5), DropOut(Leg.SHARE, False))]
    plan += [{ClientId(k): DropOut(leg, after)} for leg in legs for after, k in ((False, 3), (True, 5))]
    made = record(
        tmp_path / "run", plan, clients=12, threshold=5, neighbours=6, min_survivors=8, hardened=hardened, bits=bits
    )
    report = audit(path=tmp_path / "run", directory=made.directory)
    assert report.finding is None
    assert (report.signed, report.target) == (hardened, 0)
    for number, (have, want, gone) in enumerate(zip(report.rounds, made.results, plan, strict=True), start=1):
        assert (have.signatures > 0) == hardened
        if want is None:
            assert (number, have.aborted) == (2, "U2 had 7 clients; 8 are needed to go on")
            assert (have.sum_digest, have.target) == (None, T)
            continue
        for name in ("u1", "u2", "u3", "u4", "u5", "sum_digest"):
            assert getattr(have, name) == getattr(want, name)
        assert have.model == model_digest(want.aggregate.model)
        assert have.target == graph.target(histogram=want.aggregate.histogram, params=made.params) == T
        assert set(have.drop_outs) == {u for u, drop in gone.items() if drop != DropOut(Leg.UNMASK, True)}
        keeps = {u: a.verdict.keep for u, a in want.assignments.items()}
        assert keeps == {u: 500 if number > 1 and u % 2 else 1000 for u in keeps}
    assert len(report.rounds) == len(plan)


@pytest.mark.rule("AUD-5", "TRA-3")
def test_a_transcript_that_begins_later_has_its_target(tmp_path: Path) -> None:
    """What stands in the opening is what the first `Open` has to announce, and in the report."""
    state = attrs.evolve(first_state(), round=RoundNumber(5), history=first_state().model + np.float32(1), target=T)
    made = record(tmp_path / "run", [{}], state=state, clients=8, threshold=4, neighbours=4)
    report = audit(path=tmp_path / "run", directory=made.directory)
    assert report.holds
    assert report.target == T
    result = made.results[0]
    assert result is not None
    assert [a.verdict.keep for a in result.assignments.values()] == [1000, 500] * 4
    changed = told(made, tmp_path / "run")
    at = changed.parts[0].index((T).to_bytes(8, "little"))
    other = changed.parts[0][:at] + (T + 1).to_bytes(8, "little") + changed.parts[0][at + 8 :]
    blames(changed.audited([other, *changed.parts[1:]]), "AUD-5", SERVER, "target")


# What is not as it was written


@pytest.mark.rule("AUD-13", "TRA-6")
@pytest.mark.parametrize("step", [101, pytest.param(3, marks=pytest.mark.slow)])
def test_every_byte_counts(smallest: Told, step: int) -> None:
    data, path = chained(smallest.parts), smallest.path
    for number, (begin, end) in enumerate(bounds(data)):
        for at in range(max(begin, len(MAGIC)), end + CHAIN, step):
            path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
            finding = found(audit(path=path, directory=smallest.made.directory))
            assert (finding.entry, finding.culprit) == (number, None), (at, str(finding))


@pytest.mark.rule("AUD-4", "AUD-5", "AUD-6", "AUD-7", "AUD-8", "AUD-9", "AUD-11")
@pytest.mark.parametrize("step", [211, pytest.param(3, marks=pytest.mark.slow)])
def test_no_forged_byte_passes(smallest: Told, honest: Told, step: int) -> None:
    """With digests that fit: signatures, and what follows from signed messages, cover every byte."""
    assert forged(smallest, forgeable(smallest)[::step]) == []
    assert forged(honest, forgeable(honest)[:: 3 * step]) == []


@pytest.mark.rule("AUD-5")
def test_no_byte_of_the_opening_can_be_forged(smallest: Told) -> None:
    begin, end = bounds(chained(smallest.parts))[0]
    assert forged(smallest, range(begin + len(MAGIC), end)[::3]) == []


@pytest.mark.rule("AUD-3", "AUD-4", "AUD-10")
def test_removed_and_duplicated_entries_with_digests_that_fit(smallest: Told) -> None:
    """What can be left out is what nobody needed: with t = 2 of 3, one client's shares, if no other's are left out too."""
    unneeded = {smallest.at("Unmask", u, nth) for u in ids(4) for nth in (0, 1)}
    unnoticed = set()
    for k in range(1, len(smallest.parts)):
        assert not smallest.replaced(k, smallest.parts[k], smallest.parts[k]).holds, k
        if smallest.replaced(k).holds:
            unnoticed.add(k)
    assert unnoticed == unneeded
    both = {smallest.at("Unmask", u) for u in (A, B, C)}
    report = smallest.audited([part for k, part in enumerate(smallest.parts) if k not in both])
    blames(report, "ROU-11", SERVER, "at U5 with 1 clients")


# A server that lies


def lied(number: int, told: Told, **changes: Any) -> bytes:
    return told.resent(number, attrs.evolve(told.decoded(number)[0], **changes))


@pytest.mark.rule("AUD-5", "GRA-7")
@pytest.mark.parametrize("target", [0, 1, T - 1, T + 1, 900_000])
def test_a_target_that_the_histogram_does_not_give(tmp_path: Path, target: int) -> None:
    """The server announces another T* to all, and they sign it: no one can tell in the round, but the audit can."""
    made = recorder(tmp_path / "run", clients=8, threshold=4, neighbours=4)
    made.step()
    made.state = attrs.evolve(made.state, target=target)
    made.step()
    made.writer.close()
    report = audit(path=tmp_path / "run", directory=made.directory)
    finding = blames(report, "AUD-5", SERVER, "target: is not T* of the last round that came to a sum")
    assert finding.round == 2
    assert [r.target for r in report.rounds] == [T]


@pytest.mark.rule("AUD-5")
def test_an_aborted_round_keeps_its_target(tmp_path: Path) -> None:
    made = recorder(tmp_path / "run", clients=8, threshold=4, neighbours=4)
    made.step()
    made.step(dict.fromkeys(ids(4), DropOut(Leg.ADVERTISE, False)))
    made.state = attrs.evolve(made.state, target=0)
    made.step()
    made.writer.close()
    blames(audit(path=tmp_path / "run", directory=made.directory), "AUD-5", SERVER, "target")


@pytest.mark.rule("AUD-5")
@pytest.mark.parametrize("neighbours", [0, 4])
def test_there_is_no_target_before_the_first_round(tmp_path: Path, neighbours: int) -> None:
    """Nor ever in a clique, whatever the opening says."""
    state = attrs.evolve(first_state(), target=T, round=RoundNumber(1 if neighbours else 2))
    made = record(tmp_path / "run", state=state, clients=8, threshold=5, neighbours=neighbours, min_survivors=5)
    finding = blames(audit(path=tmp_path / "run", directory=made.directory), "AUD-5", SERVER, "target: must be 0")
    assert (finding.round, finding.entry) == (state.round, 1)


@pytest.mark.rule("AUD-6")
def test_another_neighbourhood(honest: Told) -> None:
    """Another root or count, a member that is missing, stands elsewhere, has other keys or another proof."""
    number = honest.at("Neighbourhood", B)
    members = cast("Neighbourhood", honest.decoded(number)[0]).members
    others = cast("Neighbourhood", honest.decoded(honest.at("Neighbourhood", D))[0]).members
    stranger = next(m for m in others if m not in members)
    keys = attrs.evolve(members[0].bundle, mask_key=members[1].bundle.mask_key)
    proof = (members[0].proof[0], bytes(32), *members[0].proof[2:])
    taken = {m.position for m in members}
    free = next(p for p in range(8) if p not in taken and (p + 1 in taken or p - 1 in taken))
    there = next(m for m in members if abs(m.position - free) == 1)
    moved = tuple(attrs.evolve(m, position=free) if m == there else m for m in members)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"root": bytes(32)}, "root: to client 1"),
        ({"count": 7}, "root: to client 1"),
        ({"members": members[1:]}, "lacks"),
        ({"members": tuple(sorted((*members[1:], stranger), key=lambda m: m.position))}, "beyond what is due"),
        ({"members": moved}, "differs in what it holds"),
        ({"members": (attrs.evolve(members[0], bundle=keys), *members[1:])}, "differs in what it holds"),
        ({"members": (attrs.evolve(members[0], proof=proof), *members[1:])}, "differs in what it holds"),
    ]
    for changes, detail in cases:
        report = honest.replaced(number, lied(number, honest, **changes))
        assert blames(report, "AUD-6", SERVER, detail).entry == number
    theirs = framed(1, B, honest.data(honest.at("Neighbourhood", D)))
    blames(honest.replaced(number, theirs), "AUD-6", SERVER, "not its neighbours as they are")


@pytest.mark.rule("AUD-6", "GRA-3")
def test_a_client_that_was_never_there(honest: Told) -> None:
    """Clients cannot tell a leaf that nobody stands behind; in the transcript its bundle is missing."""
    report = honest.replaced(honest.at("Advertise", D))
    assert blames(report, "AUD-6", SERVER, "root: to client 0").entry == honest.at("Neighbourhood", A) - 1


@pytest.mark.rule("AUD-7", "AUD-8", "GRA-5")
def test_other_views(honest: Told) -> None:
    """Bits of strangers and of neighbours, in either bitmap; F is in U2, and not in U3."""
    for kind, field, rule, before in (("Deliver", "u2", "AUD-7", 0xFF), ("Announce", "u3", "AUD-8", 0xDF)):
        number = honest.at(kind, A)
        message = cast("Deliver | Announce", honest.decoded(number)[0])
        assert getattr(message, field) == bytes([before])
        for bit in range(8):
            report = honest.replaced(number, lied(number, honest, **{field: bytes([before ^ 1 << bit])}))
            assert blames(report, rule, SERVER, f"{field}: to client 0").entry == number
    number = honest.at("Deliver", A)
    envelopes = cast("Deliver", honest.decoded(number)[0]).envelopes
    blames(honest.replaced(number, lied(number, honest, envelopes=envelopes[1:])), "AUD-7", SERVER, "lacks")


@pytest.mark.rule("AUD-9")
def test_other_signatures_than_the_neighbourhoods(honest: Told) -> None:
    number = honest.at("Agreed", B)
    near = cast("Agreed", honest.decoded(number)[0]).signatures
    blames(honest.replaced(number, lied(number, honest, signatures=near[1:])), "AUD-9", SERVER, "lacks")
    theirs = framed(1, B, honest.data(honest.at("Agreed", D)))
    blames(honest.replaced(number, theirs), "AUD-9", SERVER, "beyond what is due")


@pytest.mark.rule("AUD-11")
def test_the_sum_is_computed_apart_from_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's mistake is not repeated by the audit, although it replays through that server's code."""
    unmasked = Server._unmasked

    def wrong(self: Server) -> Any:
        total = unmasked(self).copy()
        total[0] += np.uint32(1)
        return total

    monkeypatch.setattr(Server, "_unmasked", wrong)
    made = record(tmp_path / "run", [{C: DropOut(Leg.INPUT, False)}], clients=8, threshold=4, neighbours=4)
    blames(audit(path=tmp_path / "run", directory=made.directory), "AUD-11", SERVER, "sum")


@pytest.mark.rule("AUD-12")
def test_a_round_that_is_said_to_be_aborted(honest: Told) -> None:
    report = honest.replaced(honest.end(1), framed(ABORTED, SERVER, b""))
    assert blames(report, "AUD-12", SERVER, "had got its sum").round == 2


# Clients that cheat


@pytest.mark.rule("AUD-4", "AUD-10")
def test_shares_of_a_stranger_and_both_shares(honest: Told) -> None:
    number = honest.at("Unmask", B)
    message = cast("Unmask", honest.decoded(number)[0])
    owner, _ = message.self_shares[0]
    both = honest.resigned(number, key_shares=((owner, bytes(32)),))
    blames(honest.replaced(number, both), "AUD-10", B, "both shares")
    known = {u for u, _ in (*message.self_shares, *message.key_shares)}
    stranger = next(u for u in ids(8) if u not in known)
    more = tuple(sorted((*message.self_shares, (stranger, bytes(32)))))
    blames(honest.replaced(number, honest.resigned(number, self_shares=more)), "ROU-10", B, f"[{stranger}]")


# The report


@pytest.mark.rule("AUD-1", "AUD-13")
def test_the_report_says_the_targets(honest: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = honest.audited()
    out = as_dict(report)
    assert (out["target"], [r["target"] for r in out["rounds"]]) == (0, [T, T])
    save_directory(path=beside(honest.path), directory=honest.made.directory)
    assert main(["audit", str(honest.path)]) == 0
    assert "T* after round 2: 0.600 s" in capsys.readouterr().out
