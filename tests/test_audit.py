"""Audit: what really happened passes; whatever was changed, left out, added or made up is found, and its culprit named."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import numpy as np
import pytest
from plain import digest, le
from recorded import (
    ABORTED,
    CHAIN,
    COMPLETED,
    DOWN,
    LAYOUT,
    UP,
    Recorder,
    Told,
    blames,
    bounds,
    chained,
    entries_of,
    first_state,
    forgeable,
    forged,
    found,
    framed,
    params_of,
    record,
    recorder,
    told,
)
from rounds import directory_of

from clip_ref import wire
from clip_ref.audit import Finding, as_dict, audit
from clip_ref.canonical import RoundContext, model_digest
from clip_ref.cli import main
from clip_ref.errors import SERVER, PreconditionError
from clip_ref.identities import beside, new_identities, save_directory
from clip_ref.keys import Directory, identity_key
from clip_ref.messages import (
    Agreed,
    Announce,
    ClientMessage,
    Deliver,
    MaskedInput,
    Open,
    Roster,
    Unmask,
)
from clip_ref.round import Client, DropOut, Leg, RoundResult, Server, ids
from clip_ref.transcript import MAGIC, Ended, Passed
from clip_ref.values import ClientId, SigningKey

A, B, C, D = ids(4)


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Four clients, two rounds, C drops out of the first before its input."""
    path = tmp_path_factory.mktemp("audit") / "run"
    return told(record(path, [{C: DropOut(Leg.INPUT, False)}, {}]), path)


@pytest.fixture(scope="session")
def smallest(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Two clients, one round."""
    path = tmp_path_factory.mktemp("audit") / "run"
    return told(record(path, clients=2, threshold=2), path)


# What really happened


@pytest.mark.rule("AUD-1", "AUD-2", "AUD-3", "AUD-4", "AUD-11", "AUD-12")
@pytest.mark.parametrize(("hardened", "bits"), [(True, 32), (True, 64), (False, 32)])
def test_an_honest_run_passes(tmp_path: Path, hardened: bool, bits: int) -> None:
    """Drop-outs on every leg, before and after the answer, and an aborted round in the middle; all as the run itself says."""
    legs = [leg for leg in Leg if hardened or leg is not Leg.CONSISTENCY]
    plan: list[dict[ClientId, DropOut]] = [
        {u: DropOut(leg, after)} for leg in legs for after, u in ((False, B), (True, C))
    ]
    plan[3:3] = [dict.fromkeys((A, B, C), DropOut(Leg.SHARE, False))]
    plan[6:6] = [{A: DropOut(Leg.INPUT, False), C: DropOut(Leg.UNMASK, False)}, {}]
    made = record(tmp_path / "run", plan, clients=6, threshold=4, hardened=hardened, bits=bits)
    report = audit(path=tmp_path / "run", directory=made.directory)
    assert report.finding is None
    assert report.holds
    assert report.signed == hardened
    assert report.entries == len(entries_of(tmp_path / "run"))
    assert [r.round for r in report.rounds] == list(range(1, len(plan) + 1))
    for have, want, gone in zip(report.rounds, made.results, plan, strict=True):
        assert (have.signatures > 0) == hardened
        if want is None:
            assert (have.sum_digest, have.u3, have.aborted) == (
                None, (), "U2 had 3 clients; 4 are needed to go on",
            )  # fmt: skip
            continue
        assert have.aborted == ""
        for name in ("u1", "u2", "u3", "u4", "u5", "sum_digest"):
            assert getattr(have, name) == getattr(want, name)
        assert have.model == model_digest(want.aggregate.model)
        assert set(have.drop_outs) == {u for u, drop in gone.items() if drop != DropOut(Leg.UNMASK, True)}
        assert have.upload_bytes == wire.HEADER_BYTES + (LAYOUT.size + 2) * bits // 8 + 64 * hardened
    pruned = [
        w for w in made.results if w is not None and {a.verdict.keep for a in w.assignments.values()} == {500, 1000}
    ]
    assert pruned


@pytest.mark.rule("AUD-12")
def test_drop_outs_are_named_with_what_they_owed(honest: Told) -> None:
    report = honest.audited()
    assert report.holds
    assert [dict(r.drop_outs) for r in report.rounds] == [{C: "MaskedInput"}, {}]


@pytest.mark.rule("AUD-12")
@pytest.mark.parametrize(
    ("leg", "count", "reason"),
    [
        (Leg.ADVERTISE, 2, "U1 had 2 clients; 3 are needed to go on"),
        (Leg.INPUT, 2, "U3 had 2 clients; 3 are needed to go on"),
        (Leg.CONSISTENCY, 2, "U4 had 2 clients; 3 are needed to go on"),
        (Leg.UNMASK, 2, "ROU-11: round aborted at U5: 2 clients left, 3 needed; nothing was revealed"),
    ],
)
def test_an_aborted_round_is_audited_as_far_as_it_went(tmp_path: Path, leg: Leg, count: int, reason: str) -> None:
    made = record(tmp_path / "run", [dict.fromkeys((A, B), DropOut(leg, False)), {}])
    report = audit(path=tmp_path / "run", directory=made.directory)
    assert report.holds
    first, second = report.rounds
    assert (first.aborted, first.sum_digest, first.model) == (reason, None, model_digest(first_state().model))
    assert len(second.u5) == 4


# What is not as it was written


@pytest.mark.rule("AUD-13", "TRA-6")
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_every_byte_counts(smallest: Told, step: int) -> None:
    """Flip any single byte of the file, and the audit fails, at its entry."""
    data, path = chained(smallest.parts), smallest.path
    for number, (begin, end) in enumerate(bounds(data)):
        for at in range(begin, end + CHAIN, step):
            path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
            if at < len(MAGIC):
                with pytest.raises(PreconditionError):
                    audit(path=path, directory=smallest.made.directory)
                continue
            finding = found(audit(path=path, directory=smallest.made.directory))
            assert finding.entry == number, (at, str(finding))
            assert finding.rule in ("TRA-3", "TRA-6")
            assert finding.culprit is None


@pytest.mark.rule("AUD-4", "AUD-5", "AUD-6", "AUD-7", "AUD-8", "AUD-9", "AUD-11")
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_no_forged_byte_passes(smallest: Told, step: int) -> None:
    """At level `hardened` the digests add nothing: signatures, and what follows from signed messages, cover every byte."""
    assert forged(smallest, forgeable(smallest)[::step]) == []


@pytest.mark.rule("AUD-3", "AUD-4")
@pytest.mark.parametrize("step", [211, pytest.param(7, marks=pytest.mark.slow)])
def test_no_forged_byte_passes_in_a_longer_run(honest: Told, step: int) -> None:
    """With a drop-out, with pruning, with more helpers than the server needs: still none."""
    assert forged(honest, forgeable(honest)[::step]) == []


@pytest.mark.rule("AUD-1", "AUD-4")
def test_what_can_be_forged_where_nothing_is_signed(tmp_path: Path) -> None:
    """At `basic`: the shares of those whom the server did not need. No byte that the sum depends on, as it is told."""
    path = tmp_path / "run"
    basic = told(record(path, clients=3, threshold=2, hardened=False), path)
    number = basic.at("Unmask", C)
    begin, end = bounds(chained(basic.parts))[number]
    count = 13 + wire.HEADER_BYTES + 4
    shares = [begin + count + 36 * k + 4 + byte for k in range(3) for byte in range(32)]
    assert forged(basic, range(begin, end)) == shares
    for kind in ("Advertise", "ShareKeys", "MaskedInput"):
        begin, end = bounds(chained(basic.parts))[basic.at(kind, B)]
        assert forged(basic, range(begin, end, 5)) == []


@pytest.mark.rule("AUD-2", "TRA-6")
def test_a_file_cut_short_is_found(smallest: Told) -> None:
    """Anywhere but between two rounds: that later rounds are missing cannot be told."""
    data = chained(smallest.parts)
    ends = {end + CHAIN for _, end in bounds(data)}
    for length in [*range(len(MAGIC), len(data), 37), *(end for end in ends if end < len(data))]:
        smallest.path.write_bytes(data[:length])
        finding = found(audit(path=smallest.path, directory=smallest.made.directory))
        assert finding.rule == ("AUD-2" if length in ends else "TRA-3")


@pytest.mark.rule("AUD-2")
def test_later_rounds_can_be_left_out(honest: Told) -> None:
    assert honest.audited(honest.parts[: honest.end() + 1]).holds
    blames(honest.audited(honest.parts[: honest.end()]), "AUD-2", SERVER, "over before round 1 is")
    blames(honest.audited(honest.parts[:1]), "AUD-2", SERVER, "has no round")
    gap = honest.audited([honest.parts[0], *honest.parts[honest.end() + 1 :]])
    blames(gap, "AUD-2", SERVER, "is 2, where round 1 is next")


@pytest.mark.rule("AUD-13")
def test_removed_duplicated_and_swapped_entries(smallest: Told) -> None:
    """As they are in the file, with its own digests: each is found where it is."""
    data = chained(smallest.parts)
    links = [data[begin : end + CHAIN] for begin, end in bounds(data)]

    def first_wrong(parts: Sequence[bytes]) -> tuple[str, int]:
        smallest.path.write_bytes(b"".join(parts))
        finding = found(audit(path=smallest.path, directory=smallest.made.directory))
        return finding.rule, finding.entry

    for k in range(1, len(links)):
        assert first_wrong([*links[: k + 1], *links[k:]]) == ("TRA-6", k + 1)
        if k + 1 < len(links):
            assert first_wrong([*links[:k], *links[k + 1 :]]) == ("TRA-6", k)
            assert first_wrong([*links[:k], links[k + 1], links[k], *links[k + 2 :]]) == ("TRA-6", k)


@pytest.mark.rule("AUD-3", "AUD-4", "AUD-10")
def test_removed_and_duplicated_entries_with_digests_that_fit(honest: Told) -> None:
    """Only the last words of clients whom the server no longer needed can be left out; nothing can be there twice."""
    unnoticed = []
    for k in range(1, len(honest.parts)):
        assert not honest.replaced(k, honest.parts[k], honest.parts[k]).holds, k
        if honest.replaced(k).holds:
            unnoticed.append(k)
    last = [honest.at("Unmask", u, 1 if u != C else 0) for u in ids(4)]
    whole = honest.end(1)
    unneeded = [n for n in range(honest.end(0) + 1, whole) if n in last]
    asked_in_vain = [honest.at("Deliver", C)]  # C vanished without a word: whether it was asked does not matter
    assert unnoticed == asked_in_vain + unneeded


@pytest.mark.rule("AUD-3")
def test_swapped_entries_with_digests_that_fit(honest: Told) -> None:
    """Two neighbours may change places only within a leg, unless one answers the other: then nothing depends on it."""
    legs = ("Open Advertise", "Roster ShareKeys", "Deliver MaskedInput", "Announce Consistent", "Agreed Unmask")

    def free(one: Passed | Ended, two: Passed | Ended) -> bool:
        if isinstance(one, Ended) or isinstance(two, Ended) or one.client == two.client:
            return False
        kinds = {wire.kind_name(one.data), wire.kind_name(two.data)}
        return any(kinds <= set(leg.split()) for leg in legs)

    report = honest.audited()
    for k in range(1, len(honest.parts) - 1):
        one, two = honest.entries[k - 1 : k + 1]
        if isinstance(one, Passed) and wire.kind_name(one.data) == "Deliver":
            continue  # the first one holds the model that the others leave out
        swapped = honest.audited([*honest.parts[:k], honest.parts[k + 1], honest.parts[k], *honest.parts[k + 2 :]])
        assert swapped.holds == free(one, two), (k, str(swapped.finding))
        if swapped.holds:
            assert swapped.rounds == report.rounds


# A server that lies


@pytest.mark.rule("AUD-8")
def test_an_input_that_arrived_and_was_dropped(tmp_path: Path) -> None:
    """The server leaves a valid input out of U3, and its clients believe it."""

    class Forgetful(Server):
        def accept(self, message: ClientMessage) -> None:
            if not isinstance(message, MaskedInput) or message.sender != B:
                super().accept(message)

    made = recorder(tmp_path / "run", clients=5)
    made.step({B: DropOut(Leg.INPUT, True)}, server=Forgetful)
    made.writer.close()
    report = audit(path=tmp_path / "run", directory=made.directory)
    finding = blames(report, "AUD-8", SERVER, "lacks [1], has [] beyond what is due")
    assert (finding.round, finding.entry) == (1, told(made, tmp_path / "run").at("Announce", A))


@pytest.mark.rule("AUD-8")
@pytest.mark.parametrize("survivors", [(A, B), (A, B, C, D), (B, D)])
def test_another_u3_for_one_client(honest: Told, survivors: tuple[ClientId, ...]) -> None:
    number = honest.at("Announce", B)
    report = honest.replaced(number, honest.resent(number, Announce(survivors)))
    assert blames(report, "AUD-8", SERVER, "to client 1").entry == number


@pytest.mark.rule("AUD-11")
def test_another_model_than_the_sum_yields(tmp_path: Path) -> None:
    made = recorder(tmp_path / "run")
    made.step()
    made.writer.close()
    path = tmp_path / "run"
    honest = told(made, path)
    end = honest.entries[-1]
    assert isinstance(end, Ended)
    assert end.sum_digest is not None
    assert end.model is not None
    wrong_model = honest.replaced(end.number, framed(COMPLETED, SERVER, end.sum_digest + bytes(32)))
    blames(wrong_model, "AUD-11", SERVER, "model: is not the one that the sum yields")
    wrong_sum = honest.replaced(end.number, framed(COMPLETED, SERVER, bytes(32) + end.model))
    blames(wrong_sum, "AUD-11", SERVER, "sum: is not that of the inputs that arrived")


@pytest.mark.rule("AUD-11")
def test_the_sum_is_computed_apart_from_the_server(honest: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the code that recorded the run is not repeated by the audit, although it replays through that code."""
    unmasked = Server._unmasked

    def wrong(self: Server) -> Any:
        total = unmasked(self).copy()
        total[0] += np.uint32(1)
        return total

    monkeypatch.setattr(Server, "_unmasked", wrong)
    path = honest.path.with_name("wrong")
    made = record(path)
    path_report = audit(path=path, directory=made.directory)
    path.unlink()
    blames(path_report, "AUD-11", SERVER, "sum")


@pytest.mark.rule("AUD-5")
@pytest.mark.parametrize("what", ["model", "history"])
def test_another_model_or_history_in_the_next_round(tmp_path: Path, what: str) -> None:
    """The server goes on from something else than what the rounds before yielded; its clients cannot know."""
    made = recorder(tmp_path / "run")
    made.step()
    other: dict[str, Any] = {what: made.state.model + np.float32(0.25)}
    made.state = attrs.evolve(made.state, **other)
    made.step()
    made.writer.close()
    finding = blames(audit(path=tmp_path / "run", directory=made.directory), "AUD-5", SERVER, what)
    assert finding.round == 2


@pytest.mark.rule("AUD-5")
def test_other_parameters_than_the_transcript_tells(honest: Told) -> None:
    other = (
        honest.parts[0].replace(b'"threshold":3', b'"threshold":4').replace(b'"min_survivors":3', b'"min_survivors":4')
    )
    blames(honest.audited([other, *honest.parts[1:]]), "AUD-5", SERVER, "config")


@pytest.mark.rule("AUD-1", "AUD-5")
def test_other_identities(honest: Told) -> None:
    """Identities are pinned: one that is exchanged is found before anything that it signed is believed."""
    honest.audited()
    keys = dict(honest.made.directory.keys)
    others = Directory(keys | {B: identity_key(SigningKey(bytes(32)))})
    finding = blames(audit(path=honest.path, directory=others), "AUD-5", SERVER, "pinned directory")
    assert (finding.round, finding.entry) == (1, 1)
    fewer = Directory({u: key for u, key in keys.items() if u != B})
    blames(audit(path=honest.path, directory=fewer), "AUD-5", SERVER, "pinned directory")
    with pytest.raises(PreconditionError, match="AUD-1"):
        audit(path=honest.path)


@pytest.mark.rule("AUD-3", "AUD-1")
def test_a_stranger_is_not_invited(tmp_path: Path) -> None:
    """The run's directory lacks the client: it cannot be asked, whatever it answers."""
    path = tmp_path / "run"
    honest = told(record(path), path)
    number = honest.at("Open", A)
    stranger = framed(DOWN, 77, honest.data(number))
    blames(honest.replaced(number, stranger), "AUD-3", SERVER, "no Open is due to client 77")


@pytest.mark.rule("AUD-6")
def test_another_roster(honest: Told) -> None:
    """A client that is left out, one that never was there, and keys that it did not send."""
    number = honest.at("Roster", B)
    bundles = cast("Roster", honest.decoded(number)[0]).bundles
    for changed, detail in (
        (bundles[:-1], "lacks [3]"),
        ((*bundles[:-1], attrs.evolve(bundles[-1], sender=ClientId(9))), "has [9]"),
        ((attrs.evolve(bundles[0], mask_key=bundles[1].mask_key), *bundles[1:]), "not the keys that arrived"),
    ):
        report = honest.replaced(number, honest.resent(number, Roster(changed)))
        assert blames(report, "AUD-6", SERVER, detail).entry == number


@pytest.mark.rule("AUD-7")
def test_another_delivery(honest: Told) -> None:
    """Envelopes that are left out or exchanged, and another model."""
    number = honest.at("Deliver", A)
    message = cast("Deliver", honest.decoded(number)[0])
    first, *rest = message.envelopes
    for changed, detail in (
        (attrs.evolve(message, envelopes=tuple(rest)), "envelopes: to client 0: lacks [1]"),
        (
            attrs.evolve(message, envelopes=(attrs.evolve(first, record=rest[0].record), *rest)),
            "not those that its peers",
        ),
        (attrs.evolve(message, model=message.model + np.float32(1)), "model: to client 0"),
    ):
        report = honest.replaced(number, honest.resent(number, changed))
        assert blames(report, "AUD-7", SERVER, detail).entry == number


@pytest.mark.rule("AUD-7")
def test_another_model_for_one_victim(tmp_path: Path) -> None:
    """It stands in the file in full, next to the one that the others got."""
    path = tmp_path / "run"
    honest = told(record(path), path)
    number = honest.at("Deliver", B)
    message = cast("Deliver", honest.decoded(number)[0])
    changed = attrs.evolve(message, model=message.model + np.float32(1))
    report = honest.replaced(number, honest.resent(number, changed))
    assert blames(report, "AUD-7", SERVER, "model: to client 1").entry == number


@pytest.mark.rule("AUD-9")
def test_another_agreement(honest: Told) -> None:
    number = honest.at("Agreed", B)
    message = cast("Agreed", honest.decoded(number)[0])
    signatures = message.signatures
    report = honest.replaced(number, honest.resent(number, attrs.evolve(message, signatures=signatures[1:])))
    assert blames(report, "AUD-9", SERVER, "lacks [0]").entry == number
    swapped = ((signatures[0][0], signatures[1][1]), *signatures[1:])
    report = honest.replaced(number, honest.resent(number, attrs.evolve(message, signatures=swapped)))
    blames(report, "AUD-9", SERVER, "differs in what it holds")


@pytest.mark.rule("AUD-3")
def test_a_server_that_goes_on_with_too_few(honest: Told) -> None:
    """Two bundles arrived, three are needed; the server sends a roster all the same."""
    number = honest.at("Roster", A)
    late = {honest.at("Advertise", C), honest.at("Advertise", D)}
    report = honest.audited([part for k, part in enumerate(honest.parts[: number + 1]) if k not in late])
    blames(report, "ROU-11", SERVER, "went on at U1 with 2 clients, 3 are needed")


@pytest.mark.rule("AUD-12")
def test_a_round_that_is_said_to_be_aborted(honest: Told) -> None:
    """The server got its sum and hides it."""
    report = honest.replaced(honest.end(1), framed(ABORTED, SERVER, b""))
    assert blames(report, "AUD-12", SERVER, "had got its sum").round == 2


@pytest.mark.rule("AUD-11")
def test_a_sum_that_nobody_unmasked(honest: Told) -> None:
    made_up = framed(COMPLETED, SERVER, bytes(64))
    report = honest.audited([*honest.parts[: honest.at("Roster", A)], made_up])
    blames(report, "AUD-11", SERVER, "before anything was unmasked")
    one_share_short = honest.audited([*honest.parts[: honest.at("Unmask", D)], made_up])
    blames(one_share_short, "ROU-11", SERVER, "at U5 with 2 clients")


@pytest.mark.rule("AUD-2")
def test_rounds_begin_and_end(honest: Told) -> None:
    end = honest.end()
    blames(honest.replaced(end, honest.parts[end], honest.parts[end]), "AUD-2", SERVER, "no round has begun")
    blames(honest.replaced(1), "AUD-3", A, "Advertise, which it was not asked for")
    headless = range(1, honest.at("Roster", A))
    rest = [part for k, part in enumerate(honest.parts) if k not in headless]
    blames(honest.audited(rest), "AUD-2", SERVER, "a round begins with an Open")
    blames(honest.replaced(end), "AUD-3", SERVER, "Open to client 0 has no place here")


@pytest.mark.rule("AUD-3")
def test_an_order_that_cannot_be(honest: Told) -> None:
    """Answers without a question, questions twice, and to those who are not in the round any more."""
    for moved, to, rule_culprit in (
        (honest.at("Announce", A), honest.at("Deliver", A), SERVER),
        (honest.at("ShareKeys", B), honest.at("Roster", B), B),
        (honest.at("Unmask", B), honest.at("Agreed", A), B),
        (honest.at("MaskedInput", B), honest.at("Deliver", B), B),
    ):
        parts = [part for k, part in enumerate(honest.parts) if k != moved]
        parts.insert(to, honest.parts[moved])
        blames(honest.audited(parts), "AUD-3", rule_culprit)
    second = honest.at("Announce", A)
    blames(honest.replaced(second, *[honest.parts[second]] * 2), "AUD-3", SERVER, "a second Announce to client 0")
    for_c = framed(DOWN, C, honest.data(second))
    blames(honest.replaced(second, honest.parts[second], for_c), "AUD-3", SERVER, "no Announce is due to client 2")
    late = honest.at("Deliver", A)
    share = honest.parts[honest.at("ShareKeys", B)]
    blames(honest.replaced(late, honest.parts[late], share), "AUD-3", B, "ShareKeys has no place here")
    own = framed(UP, A, honest.data(honest.at("Roster", A)))
    number = honest.at("ShareKeys", A)
    blames(honest.replaced(number, own), "AUD-3", A, "Roster has no place here")
    theirs = framed(DOWN, B, honest.data(number))
    blames(honest.replaced(number, theirs), "AUD-3", SERVER, "ShareKeys to client 1 has no place here")


# Clients that cheat


@pytest.mark.rule("AUD-4")
def test_what_a_client_did_not_sign(honest: Told) -> None:
    for kind in ("Advertise", "ShareKeys", "MaskedInput", "Consistent", "Unmask"):
        number = honest.at(kind, B)
        data = honest.data(number)
        forged = framed(UP, B, data[:-1] + bytes([data[-1] ^ 1]))
        assert blames(honest.replaced(number, forged), "KEY-9", B).entry == number
        others = framed(UP, B, honest.data(honest.at(kind, A)))
        assert blames(honest.replaced(number, others), "WIR-3", B, "sender").entry == number


@pytest.mark.rule("AUD-4")
def test_what_a_client_signed_but_may_not_say(honest: Told) -> None:
    """A statement about another U3, an input of another length, a message of another round or none at all."""
    number = honest.at("Consistent", B)
    blames(honest.replaced(number, honest.resigned(number, statement=bytes(32))), "ROU-10", B, "another U2 or U3")
    number = honest.at("MaskedInput", B)
    vector = cast("Any", honest.decoded(number)[0]).vector
    blames(honest.replaced(number, honest.resigned(number, vector=vector[:-1])), "WIR-3", B)
    blames(honest.replaced(number, honest.resigned(number, vector=np.append(vector, vector[:1]))), "WIR-3", B)
    later = framed(UP, B, honest.data(honest.at("MaskedInput", B, 1)))
    blames(honest.replaced(number, later), "WIR-3", B, "round")
    blames(honest.replaced(number, framed(UP, B, b"")), "WIR-3", B)
    blames(honest.replaced(number, framed(UP, B, b"CLIP\x01\x00\xff")), "WIR-3", B, "kind")


@pytest.mark.rule("AUD-4")
def test_a_corrupt_share(honest: Told) -> None:
    number = honest.at("Unmask", D)
    message = cast("Unmask", honest.decoded(number)[0])
    (owner, share), *rest = message.self_shares
    corrupt = ((owner, bytes([share[0] ^ 1]) + share[1:]), *rest)
    assert blames(honest.replaced(number, honest.resigned(number, self_shares=corrupt)), "ROU-19", D).entry == number


@pytest.mark.rule("AUD-10")
def test_both_shares(honest: Told) -> None:
    """Of one client, in one answer; and a second answer, whatever it says."""
    number = honest.at("Unmask", B)
    message = cast("Unmask", honest.decoded(number)[0])
    both = honest.resigned(number, key_shares=((A, bytes(32)), *message.key_shares))
    assert blames(honest.replaced(number, both), "AUD-10", B, "both shares of [0]").entry == number
    other = honest.resigned(
        number, self_shares=message.self_shares[1:], key_shares=((A, bytes(32)), *message.key_shares)
    )
    report = honest.replaced(number, honest.parts[number], other)
    assert blames(report, "AUD-10", B, "a second time").entry == number + 1


@pytest.mark.rule("AUD-10")
@pytest.mark.parametrize("hardened", [True, False])
def test_a_key_that_serves_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hardened: bool) -> None:
    """One share of it in each of two rounds would be both."""
    monkeypatch.setattr(Client, "_draw", lambda client, purpose: digest(purpose.encode(), le(client.me, 4)))
    path = tmp_path / "run"
    made = record(path, [{}, {}], hardened=hardened)
    finding = blames(audit(path=path, directory=made.directory), "AUD-10", A, "has been advertised before")
    assert finding.round == 2


# The report


@pytest.mark.rule("AUD-1")
def test_a_transcript_without_signatures_says_so(tmp_path: Path) -> None:
    """Identities are no help: there is nothing to hold them against."""
    record(tmp_path / "run", hardened=False)
    for directory in (Directory({}), directory_of(params_of(), ids(4))):
        report = audit(path=tmp_path / "run", directory=directory)
        assert (report.holds, report.signed) == (True, False)
        assert report.rounds[0].signatures == 0


@pytest.mark.rule("AUD-13")
def test_a_finding_in_one_line() -> None:
    for culprit, round, line in (
        (SERVER, 2, "AUD-8: round 2, entry 7: the server: why"),
        (3, 2, "AUD-8: round 2, entry 7: client 3: why"),
        (None, None, "AUD-8: entry 7: the file: why"),
    ):
        assert str(Finding("AUD-8", round, 7, culprit, "why")) == line


@pytest.mark.rule("AUD-13")
def test_a_report_as_json(honest: Told) -> None:
    report = honest.audited()
    out = as_dict(report)
    assert {name: out[name] for name in ("holds", "signed", "entries", "model", "chain", "finding")} == {
        "holds": True, "signed": True, "entries": len(honest.parts) - 1,
        "model": model_digest(first_state().model).hex(),
        "chain": honest.path.read_bytes()[-CHAIN:].hex(), "finding": None,
    }  # fmt: skip
    first = out["rounds"][0]
    result = cast("RoundResult", honest.made.results[0])
    assert first["sum_digest"] == result.sum_digest.hex()
    assert (first["u2"], first["u3"], first["drop_outs"]) == ((0, 1, 2, 3), (0, 1, 3), {2: "MaskedInput"})
    number = honest.at("Announce", B)
    wrong = as_dict(honest.replaced(number, honest.resent(number, Announce((A, B, C, D)))))
    assert wrong["finding"] == {
        "rule": "AUD-8",
        "round": 1,
        "entry": number,
        "culprit": "server",
        "detail": "survivors: to client 1: lacks [], has [2] beyond what is due: not those whose inputs arrived",
    }
    assert not wrong["holds"]


@pytest.mark.rule("AUD-1")
def test_what_is_no_transcript(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"PK\x03\x04 something else")
    for path in (tmp_path / "missing", other, tmp_path):
        with pytest.raises(PreconditionError, match="TRA-3"):
            audit(path=path, directory=directory_of(params_of(), ids(4)))


def test_contexts_are_those_of_the_run(honest: Told) -> None:
    """What the tests above sign with is what clients signed with."""
    honest.audited()
    for kind in ("ShareKeys", "MaskedInput", "Consistent", "Unmask"):
        number = honest.at(kind, B)
        assert honest.resigned(number) == honest.parts[number]
    opening = cast("Open", honest.decoded(1)[0]).context
    assert isinstance(opening, RoundContext)


# The command


@pytest.fixture
def recorded_run(tmp_path: Path) -> tuple[Path, Recorder]:
    """A transcript with its identities beside it."""
    made = record(tmp_path / "run", [{C: DropOut(Leg.INPUT, False)}, dict.fromkeys((A, B), DropOut(Leg.SHARE, False))])
    save_directory(path=beside(tmp_path / "run"), directory=made.directory)
    return tmp_path / "run", made


@pytest.mark.rule("AUD-1", "AUD-13")
def test_the_command_says_what_each_round_was(
    recorded_run: tuple[Path, Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    path, made = recorded_run
    result = cast("RoundResult", made.results[0])
    assert main(["audit", str(path)]) == 0
    out, err = capsys.readouterr()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert f"1 3 2 MaskedInput {result.sum_digest.hex()}" in lines
    assert "2 0 0 ShareKeys, 1 ShareKeys aborted: U2 had 2 clients; 3 are needed to go on" in lines
    assert f"model before round 1: {model_digest(first_state().model).hex()}" in lines
    assert f"model after round 2: {model_digest(result.aggregate.model).hex()}" in lines
    assert f"digest at the end of the file: {path.read_bytes()[-CHAIN:].hex()}" in lines
    assert "pin your own with --identities" in out
    assert "every check held" in out
    assert err == ""
    assert main(["audit", str(path), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.rule("AUD-1", "AUD-13")
def test_the_command_names_the_first_wrong_thing_in_one_line(
    recorded_run: tuple[Path, Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    path, made = recorded_run
    data = path.read_bytes()
    path.write_bytes(data[:-100] + bytes([data[-100] ^ 1]) + data[-99:])
    assert main(["audit", str(path), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["finding"]["rule"] == "TRA-6"
    assert json.loads(out)["directory"] == made.directory.digest().hex()
    assert err.startswith("clip-ref audit: round 2, entry ")
    assert err.endswith("[TRA-6]\n")
    assert err.count("\n") == 1
    assert main(["audit", str(path), "--quiet"]) == 1
    assert main(["audit", str(path)]) == 1
    assert "SOMETHING IS WRONG" in capsys.readouterr().out


@pytest.mark.rule("AUD-1")
def test_the_command_takes_pinned_identities(
    recorded_run: tuple[Path, Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    """One's own rather than those beside the file; and it needs some."""
    path, made = recorded_run
    own = path.with_name("own")
    save_directory(path=own, directory=made.directory)
    assert main(["audit", str(path), "--identities", str(own)]) == 0
    assert "pin your own" not in capsys.readouterr().out
    others = path.with_name("others")
    new_identities(clients=4, out=others)
    assert main(["audit", str(path), "--identities", str(others)]) == 1
    assert "pinned directory" in capsys.readouterr().err
    for missing in (["--identities", str(path.with_name("none"))], []):
        if not missing:
            (beside(path) / "directory.json").unlink()
            beside(path).rmdir()
        assert main(["audit", str(path), *missing]) == 2
    assert capsys.readouterr().err.endswith("[AUD-1]\n")


@pytest.mark.rule("AUD-1")
def test_the_command_fails_where_nothing_is_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run"
    record(path, hardened=False)
    assert main(["audit", str(path)]) == 1
    out, err = capsys.readouterr()
    assert "NOTHING IS SIGNED" in out
    assert "NOTHING IS SIGNED" in err
    assert main(["audit", str(path), "--allow-unsigned", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["holds"], found["signed"]) == (True, False)
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["audit", str(path), "--allow-unsigned"]) == 1


def test_the_command_cannot_read_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("no transcript")
    for name in ("missing", "text", "."):
        assert main(["audit", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.endswith("[TRA-3]\n")


@pytest.mark.rule("AUD-5")
def test_a_target_is_announced_in_no_clique(honest: Told) -> None:
    number = honest.at("Open", A)
    opening, _ = honest.decoded(number)
    context = attrs.evolve(cast("Open", opening).context, target=5)
    blames(honest.replaced(number, honest.resent(number, Open(context))), "AUD-5", SERVER, "target")
