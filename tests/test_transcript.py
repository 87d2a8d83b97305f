"""Transcript: it holds all that passed, and what passed does not tell who pruned."""

import hashlib
from collections.abc import Mapping

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds import GRID, LAYOUT, clients_of, params_of, policy_of, state_of, train

from clip_ref.errors import SERVER
from clip_ref.messages import Announce, Header, MaskedInput, Message
from clip_ref.params import Mean, Params
from clip_ref.round import DropOut, Leg, RoundResult, Server, ids, run_round
from clip_ref.round.client import sizes
from clip_ref.transcript import Entry, Transcript
from clip_ref.values import ClientId
from clip_ref.wire import HEADER_BYTES, KINDS, decode, encode

ALICE, BOB = ClientId(1), ClientId(2)

WHOLE = (
    (False, "Open"),
    (True, "Advertise"),
    (False, "Roster"),
    (True, "ShareKeys"),
    (False, "Deliver"),
    (True, "MaskedInput"),
    (False, "Announce"),
    (True, "Unmask"),
)
"""What a client that stays to the end receives and sends."""


def run(
    params: Params,
    slow: list[ClientId],
    drop_outs: Mapping[ClientId, DropOut] | None = None,
    *,
    keep_bytes: bool = False,
    seed: int = 0,
) -> tuple[Transcript, RoundResult]:
    transcript = Transcript(keep_bytes=keep_bytes)
    result = run_round(
        server=Server(params=params, layout=LAYOUT, state=state_of()),
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
)
def test_the_shape_does_not_tell_who_pruned(
    mean: Mean, bits: int, clients: int, data: st.DataObject, blocks: bool
) -> None:
    """Within a round all that stay to the end look alike, and so they do if others are slow, or nobody is."""
    params = params_of(policy_of(mean, blocks=blocks), clients=clients, threshold=2, bits=bits)
    shapes, lengths = set(), set()
    for slow in ([], data.draw(some_of(clients)), data.draw(some_of(clients))):
        transcript, result = run(params, slow)
        shapes |= transcript.shapes(result.u5)
        lengths |= set(transcript.upload_lengths())
    assert lengths == {HEADER_BYTES + (LAYOUT.size + len(GRID)) * bits // 8}
    (shape,) = shapes
    assert tuple((up, kind) for up, kind, _ in shape) == WHOLE


@pytest.mark.rule("TRA-1", "TRA-2")
@settings(max_examples=15)
@given(
    leg=st.sampled_from(Leg), after=st.booleans(), gone=some_of(6).filter(bool), slow=some_of(6), seed=st.integers(0, 9)
)
def test_a_drop_out_cuts_the_shape_short(
    leg: Leg, after: bool, gone: list[ClientId], slow: list[ClientId], seed: int
) -> None:
    """Those who vanish at the same place look alike as well, slow or not."""
    params = params_of(policy_of(), clients=6, threshold=3)
    transcript, _ = run(params, slow, dict.fromkeys(gone, DropOut(leg, after)), seed=seed)
    (short,) = transcript.shapes(gone)
    (whole,) = transcript.shapes(set(ids(6)) - set(gone))
    assert tuple((up, kind) for up, kind, _ in whole) == WHOLE
    at = 2 * list(Leg).index(leg) + (2 if after else 1)
    assert short == whole[:at]


@pytest.mark.rule("TRA-1", "ROU-15")
@pytest.mark.parametrize("keep", [False, True])
def test_every_message_is_recorded_in_order(keep: bool) -> None:
    """Leg by leg, first all that the server sends, then all that it gets; what is kept decodes to what was meant."""
    params = params_of(policy_of())
    transcript, result = run(params, [ALICE], {BOB: DropOut(Leg.INPUT, False)}, keep_bytes=keep)
    everyone, rest = list(ids(5)), [u for u in ids(5) if u != BOB]
    places = [everyone, everyone, everyone, everyone, everyone, rest, rest, rest]
    expected = [(u, up, kind) for clients, (up, kind) in zip(places, WHOLE, strict=True) for u in clients]
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
    assert repr(kept.entries[0]) == "Entry(client=0, to_server=False, kind='Open', length=163)"


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
def test_vector_lengths() -> None:
    """Ascending, each once, of masked inputs alone; nothing where there are none."""
    transcript, vector = Transcript(), np.zeros(3, dtype="<u4")
    assert transcript.upload_lengths() == ()
    assert transcript.shape(ALICE) == ()
    for data in (b"12345", b"123", b"12345"):
        transcript.observe(ALICE, True, MaskedInput(ALICE, vector), data)
    transcript.observe(ALICE, False, Announce((ALICE,)), b"1")
    assert transcript.upload_lengths() == (3, 5)
    assert transcript.shape(ALICE)[-1] == (False, "Announce", 1)
    assert transcript.entries[1].digest == hashlib.sha256(b"123").digest()
    assert transcript.entries[1].data is None
