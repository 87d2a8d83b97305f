"""Transcript: it holds all that passed, and what passed does not tell who pruned."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import LAYOUT as TINY
from recorded import Recorder, bounds, chained, entries_of, first_state, framed, pieces, record, recorder
from rounds import GRID, LAYOUT, clients_of, directory_of, legs_of, params_of, policy_of, state_of, train

from clip_ref.canonical import model_digest
from clip_ref.configuration import decode_configuration, encode_configuration
from clip_ref.errors import SERVER, PreconditionError, TranscriptError
from clip_ref.keys import SIGNATURE_BYTES
from clip_ref.layout import Layout, dense_chain
from clip_ref.messages import Announce, Header, MaskedInput, Message
from clip_ref.oracle.strategies import layouts
from clip_ref.oracle.strategies import params as params_strategy
from clip_ref.params import Mean, Params
from clip_ref.round import DropOut, Leg, RoundResult, Server, State, config_digest, ids, run_round
from clip_ref.round.client import sizes
from clip_ref.transcript import MAGIC, Ended, Entry, Passed, Transcript, TranscriptReader, TranscriptWriter
from clip_ref.values import ClientId, RoundNumber
from clip_ref.wire import HEADER_BYTES, KINDS, decode, encode, header, kind_name

ALICE, BOB = ClientId(1), ClientId(2)

WHOLE = (
    (False, "Open"),
    (True, "Advertise"),
    (False, "Roster"),
    (True, "ShareKeys"),
    (False, "Deliver"),
    (True, "MaskedInput"),
    (False, "Announce"),
    (True, "Consistent"),
    (False, "Agreed"),
    (True, "Unmask"),
)
"""What a client that stays to the end receives and sends at level `hardened`."""


def whole(params: Params) -> tuple[tuple[bool, str], ...]:
    """What it receives and sends at the level of `params`."""
    return WHOLE if params.hardened else (*WHOLE[:7], WHOLE[9])


def run(
    params: Params,
    slow: list[ClientId],
    drop_outs: Mapping[ClientId, DropOut] | None = None,
    *,
    keep_bytes: bool = False,
    seed: int = 0,
) -> tuple[Transcript, RoundResult]:
    transcript = Transcript(keep_bytes=keep_bytes)
    directory = directory_of(params, ids(params.clients))
    result = run_round(
        server=Server(params=params, layout=LAYOUT, state=state_of(), directory=directory),
        clients=clients_of(params, ids(params.clients), slow, seed=seed),
        train=train,
        drop_outs=drop_outs,
        observe=transcript.observe,
    )
    return transcript, result


def some_of(count: int) -> st.SearchStrategy[list[ClientId]]:
    return st.lists(st.sampled_from(list(ids(count))), max_size=count // 2, unique=True)


@pytest.mark.rule("TRA-2", "PAD-1", "BRO-2")
@settings(max_examples=15)
@given(
    mean=st.sampled_from(Mean),
    bits=st.sampled_from((32, 64)),
    clients=st.integers(4, 7),
    data=st.data(),
    blocks=st.booleans(),
    hardened=st.booleans(),
)
def test_the_shape_does_not_tell_who_pruned(
    mean: Mean, bits: int, clients: int, data: st.DataObject, blocks: bool, hardened: bool
) -> None:
    """Within a round all that stay to the end look alike, and so they do if others are slow, or nobody is."""
    threshold = clients // 2 + (2 if blocks else 1) if hardened else 2
    params = params_of(
        policy_of(mean, blocks=blocks), clients=clients, threshold=threshold, bits=bits, hardened=hardened
    )
    shapes, lengths = set(), set()
    for slow in ([], data.draw(some_of(clients)), data.draw(some_of(clients))):
        transcript, result = run(params, slow)
        shapes |= transcript.shapes(result.u5)
        lengths |= set(transcript.upload_lengths())
    assert lengths == {HEADER_BYTES + (LAYOUT.size + len(GRID)) * bits // 8 + (SIGNATURE_BYTES if hardened else 0)}
    (shape,) = shapes
    assert tuple((up, kind) for up, kind, _ in shape) == whole(params)


@pytest.mark.rule("TRA-1", "TRA-2")
@settings(max_examples=15)
@given(
    data=st.data(),
    after=st.booleans(),
    gone=some_of(7).filter(bool),
    slow=some_of(7),
    hardened=st.booleans(),
    seed=st.integers(0, 9),
)
def test_a_drop_out_cuts_the_shape_short(
    data: st.DataObject, after: bool, gone: list[ClientId], slow: list[ClientId], hardened: bool, seed: int
) -> None:
    """Those who vanish at the same place look alike as well, slow or not."""
    params = params_of(policy_of(), clients=7, threshold=4, hardened=hardened)
    legs = legs_of(params)
    leg = data.draw(st.sampled_from(legs))
    transcript, _ = run(params, slow, dict.fromkeys(gone, DropOut(leg, after)), seed=seed)
    (short,) = transcript.shapes(gone)
    (longest,) = transcript.shapes(set(ids(7)) - set(gone))
    assert tuple((up, kind) for up, kind, _ in longest) == whole(params)
    at = 2 * legs.index(leg) + (2 if after else 1)
    assert short == longest[:at]


@pytest.mark.rule("TRA-1", "ROU-15")
@pytest.mark.parametrize("keep", [False, True])
def test_every_message_is_recorded_in_order(keep: bool) -> None:
    """Leg by leg, first all that the server sends, then all that it gets; what is kept decodes to what was meant."""
    params = params_of(policy_of())
    transcript, result = run(params, [ALICE], {BOB: DropOut(Leg.INPUT, False)}, keep_bytes=keep)
    everyone, rest = list(ids(5)), [u for u in ids(5) if u != BOB]
    places = [everyone, everyone, everyone, everyone, everyone, rest, rest, rest]
    expected = [(u, up, kind) for clients, (up, kind) in zip(places, whole(params), strict=True) for u in clients]
    assert [(e.client, e.to_server, e.kind) for e in transcript.entries] == expected
    for entry in transcript.entries:
        assert (entry.data is not None) == keep
        if entry.data is not None:
            assert (entry.length, entry.digest) == (len(entry.data), hashlib.sha256(entry.data).digest())
    if keep:
        context = state_of().context(params=params, layout=LAYOUT)
        kinds: dict[str, type[Message]] = {kind.__name__: kind for kind in KINDS}
        for entry in transcript.entries:
            assert entry.data is not None
            header = Header(context.session, context.round, entry.client if entry.to_server else SERVER)
            message = decode(
                entry.data, expected=header, kind=kinds[entry.kind], sizes=sizes(params=params, layout=LAYOUT)
            )
            assert encode(message, header) == entry.data
            if isinstance(message, Announce):
                assert message.survivors == result.u3


@pytest.mark.rule("TRA-1")
def test_whether_bytes_are_kept_changes_nothing_else() -> None:
    params = params_of(policy_of())
    without, _ = run(params, [ALICE])
    kept, _ = run(params, [ALICE], keep_bytes=True)
    assert [attrs.evolve(e, data=None) for e in kept.entries] == without.entries
    assert repr(kept.entries[0]) == "Entry(client=0, to_server=False, kind='Open', length=171)"


@pytest.mark.rule("TRA-2")
def test_what_would_tell_is_found() -> None:
    """Negative controls: a length, an order, a direction or a message more, and the shapes differ."""
    usual = [(False, "Open", 10), (True, "Advertise", 20), (True, "MaskedInput", 30)]

    def shapes(theirs: list[tuple[bool, str, int]]) -> int:
        transcript = Transcript()
        for client, entries in ((ALICE, usual), (BOB, theirs)):
            transcript.entries += [Entry(client, up, kind, length, b"") for up, kind, length in entries]
        return len(transcript.shapes((ALICE, BOB)))

    assert shapes(usual) == 1
    assert shapes([*usual[:2], (True, "MaskedInput", 29)]) == 2
    assert shapes(usual[::-1]) == 2
    assert shapes([(True, "Open", 10), *usual[1:]]) == 2
    assert shapes([*usual, (True, "Unmask", 5)]) == 2
    assert shapes([*usual[:1], (True, "Roster", 20), *usual[2:]]) == 2


@pytest.mark.rule("TRA-1", "TRA-2")
def test_upload_lengths() -> None:
    """Ascending, each once, of masked inputs alone; nothing where there are none."""
    transcript = Transcript()
    assert transcript.upload_lengths() == ()
    assert transcript.shape(ALICE) == ()
    header = Header(bytes(16), RoundNumber(1), ALICE)
    inputs = [encode(MaskedInput(ALICE, np.zeros(length, dtype="<u4")), header) for length in (5, 3, 5)]
    for data in inputs:
        transcript.observe(ALICE, True, data)
    announce = encode(Announce((ALICE,)), attrs.evolve(header, sender=SERVER))
    transcript.observe(ALICE, False, announce)
    assert transcript.upload_lengths() == (HEADER_BYTES + 12, HEADER_BYTES + 20)
    assert transcript.shape(ALICE)[-1] == (False, "Announce", len(announce))
    assert transcript.entries[1].digest == hashlib.sha256(inputs[1]).digest()
    assert transcript.entries[1].data is None


# In a file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run"


def spied(made: Recorder) -> list[tuple[ClientId, bool, bytes]]:
    """What the recorder is told from now on."""
    seen: list[tuple[ClientId, bool, bytes]] = []
    observe = made.writer.observe

    def both(client: ClientId, to_server: bool, data: bytes) -> None:
        seen.append((client, to_server, data))
        observe(client, to_server, data)

    made.writer.observe = both  # type: ignore[method-assign]
    return seen


def passed(path: Path) -> list[tuple[ClientId, bool, bytes]]:
    return [(e.client, e.to_server, e.data) for e in entries_of(path) if isinstance(e, Passed)]


@pytest.mark.rule("TRA-3", "TRA-5")
@pytest.mark.parametrize("hardened", [True, False])
def test_every_byte_of_every_message_is_there(path: Path, hardened: bool) -> None:
    """In order, of all rounds, whether they come to a sum or not; and how each one ended."""
    made = recorder(path, hardened=hardened)
    seen = spied(made)
    made.step({BOB: DropOut(Leg.INPUT, False)})
    made.step(dict.fromkeys((ALICE, BOB), DropOut(Leg.SHARE, False)))
    made.step()
    made.writer.close()
    assert passed(path) == seen
    ends = [(e.sum_digest, e.model) for e in entries_of(path) if isinstance(e, Ended)]
    assert ends == [
        (None, None) if r is None else (r.sum_digest, model_digest(r.aggregate.model)) for r in made.results
    ]
    assert [e.number for e in entries_of(path)] == list(range(1, len(seen) + 4))


@pytest.mark.rule("TRA-3", "TRA-4")
@pytest.mark.parametrize("history", [False, True])
def test_what_precedes_the_entries(path: Path, history: bool) -> None:
    """All that it takes to begin: it is read back as it was."""
    state = first_state()
    if history:
        state = State(state.session, RoundNumber(7), state.model, state.model + np.float32(1), target=2**64 - 1)
    made = recorder(path, state=state)
    made.writer.close()
    with TranscriptReader(path) as reader:
        opening = reader.opening
        assert list(reader.entries()) == []
    assert (opening.params, opening.layout, opening.state) == (made.params, TINY, state)
    assert opening.state.history is None or model_digest(opening.state.history) == model_digest(state.model + 1)
    assert opening.params.digest() == made.params.digest()


@pytest.mark.rule("TRA-5")
def test_a_model_is_written_once_per_round(path: Path) -> None:
    """The first delivery has it; another one that is not the same stands in full."""
    made = record(path, [{}, {}])
    parts, model = pieces(path.read_bytes())[1:], 4 * TINY.size
    full = len(next(m for u, up, m in passed(path) if kind_name(m) == "Deliver"))
    delivered = [len(p) - 13 for p, e in zip(parts, entries_of(path), strict=True) if is_delivery(e)]
    assert delivered == 2 * [full, *3 * [full - model]]

    other = path.with_name("other")
    writer = TranscriptWriter(path=other, params=made.params, layout=TINY, state=first_state())
    messages = passed(path)[: len(passed(path)) // 2]
    seen = []
    for client, up, data in messages:
        if kind_name(data) == "Deliver" and client == BOB:
            data = data[:-1] + bytes([data[-1] ^ 1])
        seen.append((client, up, data))
        writer.observe(client, up, data)
    writer.close()
    assert passed(other) == seen
    parts = pieces(other.read_bytes())[1:]
    delivered = [len(p) - 13 for p, e in zip(parts, entries_of(other), strict=True) if is_delivery(e)]
    assert delivered == [full, full - model, full, full - model]


def is_delivery(entry: Passed | Ended) -> bool:
    return isinstance(entry, Passed) and kind_name(entry.data) == "Deliver"


def refused(path: Path, parts: list[bytes], rule: str, number: int, detail: str) -> None:
    """The file of these parts, with digests that fit, is refused at this entry."""
    path.write_bytes(chained(parts))
    with pytest.raises(TranscriptError, match=detail) as caught:
        entries_of(path)
    assert (caught.value.rule, caught.value.entry) == (rule, number)
    assert str(caught.value).startswith(f"{rule}: entry {number} of the transcript: ")


@pytest.mark.rule("TRA-3", "TRA-5")
def test_there_is_one_encoding_of_an_entry(path: Path) -> None:
    """A model that is there twice, or missing; kinds and clients that there are not; ends with something in them."""
    record(path, clients=2, threshold=2)
    parts = pieces(path.read_bytes())
    first, second = (e.number for e in entries_of(path) if is_delivery(e))
    model = parts[first][-4 * TINY.size :]
    receiver = ClientId(1)
    twice = framed(1, receiver, parts[second][13:] + model)
    refused(path, [*parts[:second], twice], "TRA-5", second, "exactly where it was delivered")
    short = framed(3, ALICE, parts[first][13 : -4 * TINY.size])
    refused(path, [*parts[:first], short], "TRA-5", first, "was not delivered before")
    refused(path, [*parts[:second], framed(3, ALICE, parts[1][13:])], "TRA-5", second, "exactly where")
    refused(path, [parts[0], framed(6, ALICE, b"")], "TRA-3", 1, "no entry of kind 6")
    refused(path, [parts[0], framed(0, ALICE, b"")], "TRA-3", 1, "no entry of kind 0")
    refused(path, [parts[0], framed(1, SERVER, parts[1][13:])], "TRA-3", 1, "for 4294967295")
    refused(path, [parts[0], framed(1, ALICE, b"no message")], "TRA-3", 1, "is no message")
    for bad in (
        framed(4, SERVER, bytes(63)),
        framed(4, ALICE, bytes(64)),
        framed(5, SERVER, b"x"),
        framed(4, SERVER, b""),
    ):
        refused(path, [*parts, bad], "TRA-3", len(parts), "no end of a round")


@pytest.mark.rule("TRA-3", "TRA-4")
def test_an_opening_that_is_none(path: Path) -> None:
    """Whatever it says, with digests that fit: rounds from 0, a model that is not finite, a configuration that is none."""
    record(path, clients=2, threshold=2)
    whole = pieces(path.read_bytes())[0]
    length = int.from_bytes(whole[len(MAGIC) : len(MAGIC) + 4], "little")
    text, rest = whole[len(MAGIC) + 4 : len(MAGIC) + 4 + length], whole[len(MAGIC) + 4 + length :]

    def opening(text: bytes = text, rest: bytes = rest) -> list[bytes]:
        return [MAGIC + len(text).to_bytes(4, "little") + text + rest]

    assert opening() == [whole]
    refused(path, opening(rest=rest[:16] + bytes(8) + rest[24:]), "TRA-3", 0, "rounds count from 1")
    refused(path, opening(rest=rest[:24] + b"\x00\x00\xc0\x7f" + rest[28:]), "TRA-3", 0, "ROU-1")
    for bad in (
        b"",
        b"[" * 100_000,
        b"{}",
        text + b" ",
        text.replace(b'"threshold":2', b'"threshold":3', 1),
        text.replace(b'"clients":2', b'"clients":2.0'),
        text.replace(b'"clients":2', b'"clients":true'),
        text.replace(b'"clients":2', b'"clients":"2"'),
        text.replace(b'"clients":2,', b""),
        text.replace(b'"clients":2,', b'"clients":2,"clients":2,'),
        text.replace(b'"clients":2,', b'"clients":2,"more":2,'),
        text.replace(b'"hardened"', b'"harder"'),
        text.replace(b'"0x1.0000000000000p+0"', b"1.0"),
        text.replace(b'"0x1.0000000000000p+0"', b'"0x1p0"'),
        text.replace(b'"0x1.0000000000000p+0"', b'"0x1p99999"'),
        text.replace(b'"0x1.0000000000000p+0"', b'"one"'),
        text.replace(b"[1000,500]", b'"1000"'),
        text.replace(b'"hidden1"', b'"hidden\\ud800"'),
        text.replace(b'"layer":null', b'"layer":5'),
        text.replace(b'"axes":[', b'"axes":[5,'),
        text.replace(b'"uses":1', b'"uses":-1'),
        text.replace(b'"uses":1', b'"uses":true'),
        text.replace(b'"params":{', b'"params":[],"x":{'),
        text.replace(b'"layout":{', b'"layout":7,"x":{'),
    ):
        assert bad != text
        refused(path, opening(bad), "TRA-3", 0, "TRA-4|PAR-|LAY-|CTX-1")
    path.write_bytes(whole + bytes(32))
    with pytest.raises(TranscriptError, match=r"TRA-6: entry 0 .* its digest differs"):
        TranscriptReader(path)
    for cut in (len(MAGIC) + 2, len(MAGIC) + 50, len(whole) - 1, len(whole) + 31):
        path.write_bytes(chained([whole])[:cut])
        with pytest.raises(TranscriptError, match="cut off"):
            TranscriptReader(path)


@pytest.mark.rule("TRA-4")
@given(params=params_strategy(), layout=layouts())
def test_a_configuration_is_read_back(params: Params, layout: Layout) -> None:
    """All of it, so that the digest is the same; and there is no other way to write it."""
    data = encode_configuration(params=params, layout=layout)
    found = decode_configuration(data)
    assert found == (params, layout)
    assert config_digest(params=found[0], layout=found[1]) == config_digest(params=params, layout=layout)
    assert data.isascii()


@pytest.mark.rule("TRA-6")
def test_each_entry_carries_the_digest_of_all_before(path: Path) -> None:
    """SHA-256, worked out a second time."""
    record(path, clients=2, threshold=2)
    data = path.read_bytes()
    assert chained(pieces(data)) == data
    begin, end = bounds(data)[3]
    damaged = data[:begin] + bytes([data[begin] ^ 4]) + data[begin + 1 :]
    path.write_bytes(damaged)
    with pytest.raises(TranscriptError, match="its digest differs") as caught:
        entries_of(path)
    assert (caught.value.rule, caught.value.entry) == ("TRA-6", 3)
    assert end - begin == len(pieces(data)[3])


@pytest.mark.rule("TRA-3")
def test_a_writer_is_told_how_each_round_ends(path: Path) -> None:
    """It refuses a message of the next round before that, an end of nothing, and a file that is there."""
    made = recorder(path)
    seen = spied(made)
    made.step()
    made.step()
    other = TranscriptWriter(path=path.with_name("other"), params=made.params, layout=TINY, state=first_state())
    with pytest.raises(PreconditionError, match="TRA-3"):
        other.aborted()
    other.observe(*seen[0])
    with pytest.raises(PreconditionError, match="how round 1 ended"):
        other.observe(*next(m for m in seen if header(m[2]).round == 2))
    other.close()
    made.writer.close()
    assert isinstance(entries_of(path.with_name("other"))[-1], Ended)
    for there in (path, path.parent, path / "below", path.parent / "no" / "such"):
        with pytest.raises(PreconditionError, match="TRA-3"):
            TranscriptWriter(path=there, params=made.params, layout=TINY, state=first_state())
    assert len(passed(path)) == len(seen)


@pytest.mark.rule("TRA-3")
def test_an_interrupted_round_is_aborted(path: Path) -> None:
    made = recorder(path)
    seen = spied(made)

    def interrupted() -> None:
        with made.writer:
            made.step()
            made.writer.observe(ALICE, False, seen[0][2])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    last = entries_of(path)[-1]
    assert isinstance(last, Ended)
    assert last.model is None


@pytest.mark.rule("TRA-7")
@pytest.mark.parametrize("cut", [0, 1, 40, 700])
def test_a_recording_goes_on_where_the_run_does(path: Path, cut: int) -> None:
    """The file is that of a run that was never stopped, wherever the process was killed in or after the second round."""
    plan = [{}, {BOB: DropOut(Leg.INPUT, False)}, {}]
    whole = record(path, plan)
    stopped = path.with_name("stopped")
    made = recorder(stopped)
    made.step(plan[0])
    state = made.state
    length = stopped.stat().st_size
    made.step(plan[1])
    made.writer.close()
    data = stopped.read_bytes()
    assert len(data) > length + cut
    stopped.write_bytes(data[: len(data) - cut] if cut < 700 else data[: length + cut])
    made.writer = TranscriptWriter.resumed(path=stopped, params=made.params, layout=TINY, state=state)
    made.state = state
    made.step(plan[1])
    made.step(plan[2])
    made.writer.close()
    assert stopped.read_bytes() == path.read_bytes()
    assert len(whole.results) == 3


@pytest.mark.rule("TRA-7")
def test_a_recording_begins_anew_before_its_first_round(path: Path) -> None:
    made = record(path)
    again = TranscriptWriter.resumed(path=path, params=made.params, layout=TINY, state=first_state())
    again.close()
    assert entries_of(path) == []


@pytest.mark.rule("TRA-7")
def test_a_recording_that_cannot_go_on(path: Path) -> None:
    """Another run's, one that lacks rounds, one that is damaged before, one that went on from another model."""
    made = record(path, [{}, {}])
    data = path.read_bytes()

    def resume(**changes: Any) -> None:
        changed: dict[str, Any] = {"params": made.params, "layout": TINY, "state": made.state} | changes
        TranscriptWriter.resumed(path=path, **changed).close()

    others: tuple[tuple[dict[str, Any], str], ...] = (
        ({"params": attrs.evolve(made.params, threshold=4, min_survivors=4)}, "TRA-7.*another run"),
        ({"layout": dense_chain(2, 4, 2)}, "TRA-7.*another run"),
        ({"state": attrs.evolve(made.state, session=bytes(16))}, "TRA-7.*another run"),
        ({"state": attrs.evolve(made.state, round=RoundNumber(4))}, "TRA-7.*end of round 2.*round 4"),
        ({"state": attrs.evolve(made.state, model=first_state().model)}, "TRA-7"),
    )
    for changes, rule in others:
        with pytest.raises(PreconditionError, match=rule):
            resume(**changes)
        assert path.read_bytes() == data
    resume()
    assert path.read_bytes() == data
    for at in (len(data) // 2, len(data) - 1):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(PreconditionError, match="TRA-7"):
            resume()
    path.write_bytes(data[:-40])
    with pytest.raises(PreconditionError, match="end of round 1"):
        resume()
    path.write_bytes(data[:300])
    with pytest.raises(PreconditionError, match=r"TRA-7.*is damaged"):
        resume()


@pytest.mark.rule("TRA-2")
def test_what_is_recorded_does_not_tell_who_pruned(path: Path) -> None:
    """In a run in which clients prune: every client's part has one shape."""
    made = record(path, [{}, {}, {}])
    pruned = {a.verdict.keep for r in made.results if r is not None for a in r.assignments.values()}
    assert pruned == {500, 1000}
    transcript = Transcript()
    for message in passed(path):
        transcript.observe(*message)
    (shape,) = transcript.shapes(ids(4))
    assert tuple((up, kind) for up, kind, _ in shape) == WHOLE * 3
    assert len(transcript.upload_lengths()) == 1
