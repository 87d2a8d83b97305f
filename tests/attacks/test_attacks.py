"""Attacks: each takes what it says without the defence, and fails against the round as it is by that defence."""

import json
from functools import lru_cache
from pathlib import Path

import attrs
import pytest

from clip_ref import attacks, cli
from clip_ref.attacks import ATTACKS, Attack, AttackResult, Outcome
from clip_ref.attacks.limits import LIMITS
from clip_ref.errors import ContributionError, PreconditionError

ROOT = Path(__file__).parent.parent.parent

EXACT = "largest error 0 quantisation steps"


@lru_cache
def result_of(name: str, seed: int = 1) -> AttackResult:
    return ATTACKS[name].run(seed)


CASES = [
    pytest.param("differencing", "stopped", "ROU-4", "on the 60 of 123", marks=pytest.mark.rule("ROU-4")),
    pytest.param("differencing-next", "bounded", "IDN-8", "on the 60 of 123", marks=pytest.mark.rule("IDN-8")),
    pytest.param("differencing-residual", "bounded", "IDN-8", "on the 60 of 123", marks=pytest.mark.rule("IDN-8")),
    pytest.param("model-inconsistency", "stopped", "ROU-6", "on 120 of 123", marks=pytest.mark.rule("ROU-6")),
    pytest.param("split-announcement", "stopped", "KEY-9", "on 120 of 123", marks=pytest.mark.rule("CTX-3", "KEY-9")),
    pytest.param("both-shares", "stopped", "ROU-3", "whole update (123", marks=pytest.mark.rule("ROU-3")),
    pytest.param("both-halves", "stopped", "PAR-8", "whole update (123", marks=pytest.mark.rule("PAR-8")),
    pytest.param("shrunken-sum", "stopped", "AGR-8", "the sum over 4 clients", marks=pytest.mark.rule("AGR-8")),
    pytest.param("threshold-one", "stopped", "PAR-6", "whole update (123", marks=pytest.mark.rule("PAR-6")),
    pytest.param("clear-shares", "bounded", "KEY-6", "whole update (123", marks=pytest.mark.rule("KEY-6")),
    pytest.param(
        "key-substitution", "stopped", "KEY-9", "all 10 clients and 10 time records", marks=pytest.mark.rule("AGR-5")
    ),
    pytest.param("replayed-bundles", "stopped", "KEY-9", "whole update and weight", marks=pytest.mark.rule("AGR-4")),
    pytest.param("two-rosters", "stopped", "ROU-3", "whole update and weight", marks=pytest.mark.rule("ROU-16")),
    pytest.param("selective-relay", "bounded", "CTX-5", "on the 60 of 123", marks=pytest.mark.rule("CTX-5")),
    pytest.param("equivocation", "stopped", "ROU-6", "on the 60 of 123", marks=pytest.mark.rule("AGR-1")),
    pytest.param("short-seed", "bounded", "RND-2", "of 1,048,576 guesses", marks=pytest.mark.rule("RND-2")),
    pytest.param("biased-mask", "bounded", "RND-3", "from the one value that never", marks=pytest.mark.rule("RND-3")),
    pytest.param("one-number", "bounded", "RND-3", "empty slots show the mask", marks=pytest.mark.rule("RND-3")),
    pytest.param("corrupt-share", "stopped", "ROU-19", "wrong in 123 of 123", marks=pytest.mark.rule("ROU-19")),
    pytest.param("tampered-upload", "stopped", "KEY-9", "and nobody noticed", marks=pytest.mark.rule("AGR-5")),
    pytest.param("nan-update", "stopped", "COD-2", "and nobody noticed", marks=pytest.mark.rule("COD-2")),
    pytest.param("lying-times", "bounded", "AGG-3", "0.748 to 0.748 times", marks=pytest.mark.rule("IDN-6")),
    pytest.param("lying-weights", "bounded", "AGG-3", "3.240 to 3.240 times", marks=pytest.mark.rule("AGG-3")),
]


def test_every_attack_is_a_case() -> None:
    assert [case.values[0] for case in CASES] == list(ATTACKS)
    assert all(name == attack.name for name, attack in ATTACKS.items())


@pytest.mark.parametrize(("name", "how", "rule", "evidence"), CASES)
def test_an_attack_succeeds_without_the_defence_and_fails_with_it(
    name: str, how: str, rule: str, evidence: str
) -> None:
    result = result_of(name)
    without, against = result.without_defence, result.with_defence
    assert without.succeeded
    assert evidence in without.evidence
    assert (without.stopped_by, without.bounded_by) == (None, None)
    assert not against.succeeded
    assert against.stopped_by == (rule if how == "stopped" else None)
    assert against.bounded_by == (rule if how == "bounded" else None)
    assert ATTACKS[name].defence == rule
    assert ATTACKS[name].as_expected(result)


@pytest.mark.parametrize("name", [n for n in ATTACKS if "lying" not in n and n not in ("corrupt-share", "nan-update")])
def test_what_is_taken_is_exact(name: str) -> None:
    without = result_of(name).without_defence
    if name == "tampered-upload":
        assert without.error == pytest.approx(4333, abs=1)
    else:
        assert without.error == 0
        assert EXACT in without.evidence or name == "biased-mask"


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_not_the_seed(name: str) -> None:
    assert ATTACKS[name].as_expected(result_of(name, seed=5))


@pytest.mark.parametrize("name", ["both-halves", "equivocation", "corrupt-share", "lying-weights"])
def test_a_run_follows_from_its_seed(name: str) -> None:
    assert ATTACKS[name].run(1) == result_of(name)


def test_what_is_left_of_the_bounded_ones() -> None:
    assert "differ in 0 elements" in result_of("differencing-next").with_defence.evidence
    residual = result_of("differencing-residual").with_defence
    assert "the sum of a block of two, clients 3 and 7" in residual.evidence
    assert residual.error is not None
    assert residual.error > 1000
    for name in ("lying-times", "lying-weights"):
        assert "1.000 to 1.000 times that of its holders" in result_of(name).with_defence.evidence


def test_a_corrupt_message_leaves_an_exact_sum() -> None:
    for name, culprit in (("corrupt-share", "client 1"), ("tampered-upload", "client 3")):
        against = result_of(name).with_defence
        assert culprit in against.evidence
        assert "(off by 0)" in against.evidence
        assert against.error == 0


def test_basic_notices_a_corrupt_share_but_names_nobody() -> None:
    without = result_of("corrupt-share").without_defence
    assert "(AGG-2)" in without.evidence
    assert without.error is not None
    assert without.error > 1e5


@pytest.mark.parametrize("name", LIMITS)
def test_what_no_claim_is_made_against_works(name: str) -> None:
    outcome = LIMITS[name](1)
    assert outcome.succeeded
    assert EXACT in outcome.evidence


# What counts as expected


def attack_of(without: Outcome, against: Outcome | Exception) -> Attack:
    def run(seed: int) -> Outcome:
        if isinstance(against, Exception):
            raise against
        return against

    return Attack(name="x", title="", story="", defence="ABC-1", without=lambda seed: without, against=run)


STOP = ContributionError(rule="ABC-1", culprit=3, field="f", detail="no")


def test_the_rule_is_that_of_the_error() -> None:
    attack = attack_of(Outcome(True, "all"), STOP)
    result = attack.run(1)
    assert result.with_defence == Outcome(False, "ABC-1: client 3, f: no", stopped_by="ABC-1")
    assert attack.as_expected(result)


@pytest.mark.parametrize(
    ("without", "against"),
    [
        (Outcome(False, ""), STOP),
        (Outcome(True, ""), attrs.evolve(STOP, rule="ABC-2")),
        (Outcome(True, ""), Outcome(True, "", bounded_by="ABC-1")),
        (Outcome(True, ""), Outcome(False, "")),
        (Outcome(True, ""), PreconditionError(rule="ABC-3", detail="")),
    ],
)
def test_anything_else_is_not_expected(without: Outcome, against: Outcome | Exception) -> None:
    attack = attack_of(without, against)
    assert not attack.as_expected(attack.run(1))


def test_a_mistake_in_an_attack_is_not_a_defence() -> None:
    with pytest.raises(ZeroDivisionError):
        attack_of(Outcome(True, ""), ZeroDivisionError()).run(1)


def test_nothing_else_knows_of_weakened_clients() -> None:
    others = [p for p in (ROOT / "clip_ref").rglob("*.py") if "attacks" not in p.parts and p.name != "cli.py"]
    assert len(others) > 20
    assert [p for p in others if "attacks" in p.read_text("utf-8") and "clip_ref.attacks" in p.read_text("utf-8")] == []
    assert "weakened" not in (ROOT / "clip_ref" / "cli.py").read_text("utf-8")


# The command


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["attack", "both-halves", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "name": "both-halves",
            "without_defence": {"succeeded": True, "evidence": result_of("both-halves").without_defence.evidence},
            "with_defence": {"succeeded": False, "stopped_by": "PAR-8"},
        }
    ]
    assert cli.main(["attack", "biased-mask", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["with_defence"] == {"succeeded": False, "bounded_by": "RND-3"}


def test_an_outcome_without_a_rule_shows_its_evidence() -> None:
    assert Outcome(False, "noise").json() == {"succeeded": False, "evidence": "noise"}


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["attack", "both-halves"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("both-halves: one announcement to each half of the clients\n")
    assert "succeeds: client 3's whole update" in out
    assert "fails, stopped by PAR-8: " in out
    assert max(map(len, out.splitlines())) <= 88
    assert cli.main(["attack", "biased-mask"]) == 0
    assert "fails, bounded by RND-3: nothing" in capsys.readouterr().out
    assert cli.main(["attack", "biased-mask", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_an_unknown_name_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["attack", "nonsense"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert all(name in error for name in ATTACKS)


def test_all_of_them_run_and_the_unexpected_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = attack_of(Outcome(True, "all"), STOP)
    bad = attrs.evolve(good, name="y", defence="ABC-2")
    monkeypatch.setattr(attacks, "ATTACKS", {"x": good, "y": bad})
    assert cli.main(["attack", "x"]) == 0
    assert cli.main(["attack", "--json"]) == 1
    out, err = capsys.readouterr()
    assert [found["name"] for found in json.loads(out[out.index("[") :])] == ["x", "y"]
    assert err == "clip-ref attack: not as expected: y\n"
