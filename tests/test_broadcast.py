"""Broadcast: what opens for whom, lengths that say nothing, and what the slack's seed depends on."""

import hashlib

import attrs
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import assume, given
from hypothesis import strategies as st

from clip_ref.broadcast import RECORD, SHARES, open_record, open_shares, seal_envelope, slack_entropy
from clip_ref.canonical import RoundContext
from clip_ref.errors import ContributionError, PreconditionError, WireError
from clip_ref.keys import agree, public_key, seal
from clip_ref.messages import Envelope, TimeRecord
from clip_ref.oracle.strategies import client_ids, contexts, digests, rosters, time_records
from clip_ref.values import ClientId, Digest, Ring, RoundNumber, SecretKey
from clip_ref.wire import Sizes, encode_record

LEVELS = 3
SIZES = Sizes(clients=8, levels=LEVELS, model=4, vector=7, ring=Ring(bits=32))
SHARED = bytes(range(32))
CTX = Digest(bytes(range(32, 64)))
KEY_SHARE, SELF_SHARE = b"k" * 32, b"s" * 32
ALICE, BOB, CAROL = ClientId(1), ClientId(7), ClientId(300)
RECORD_0 = TimeRecord(True, False, True, 1, 2, 3, 4, (900, 700, 500), 12, bytes(range(32)))


def sealed(
    record: TimeRecord = RECORD_0,
    *,
    sender: ClientId = ALICE,
    receiver: ClientId = BOB,
    shared: bytes = SHARED,
    ctx: Digest = CTX,
) -> Envelope:
    """What `sender` sends, as the server hands it on: with the sender in place of the receiver."""
    envelope = seal_envelope(
        sender=sender,
        receiver=receiver,
        shared=shared,
        ctx=ctx,
        key_share=KEY_SHARE,
        self_share=SELF_SHARE,
        record=record,
    )
    assert envelope.peer == receiver
    return attrs.evolve(envelope, peer=sender)


def closed(envelope: Envelope, *, receiver: ClientId = BOB, shared: bytes = SHARED, ctx: Digest = CTX) -> None:
    """Neither ciphertext opens, and the error names who is said to have sent it."""
    with pytest.raises(ContributionError) as shares:
        open_shares(envelope=envelope, receiver=receiver, shared=shared, ctx=ctx)
    with pytest.raises(ContributionError) as record:
        open_record(envelope=envelope, receiver=receiver, shared=shared, ctx=ctx, sizes=SIZES)
    for caught, purpose in ((shares, SHARES), (record, RECORD)):
        assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("KEY-6", envelope.peer, purpose)


@pytest.mark.rule("BRO-2", "BRO-3", "BRO-4", "KEY-6")
@given(pair=st.tuples(client_ids(), client_ids()), ctx=digests(), record=time_records(levels=LEVELS))
def test_opens_for_its_receiver(pair: tuple[ClientId, ClientId], ctx: Digest, record: TimeRecord) -> None:
    sender, receiver = pair
    assume(sender != receiver)
    envelope = sealed(record, sender=sender, receiver=receiver, ctx=ctx)
    assert open_shares(envelope=envelope, receiver=receiver, shared=SHARED, ctx=ctx) == (KEY_SHARE, SELF_SHARE)
    assert open_record(envelope=envelope, receiver=receiver, shared=SHARED, ctx=ctx, sizes=SIZES) == record


@pytest.mark.rule("BRO-2", "WIR-2")
@given(record=time_records(levels=LEVELS, valid=False))
def test_lengths_say_nothing(record: TimeRecord) -> None:
    envelope = sealed(record)
    assert len(envelope.shares) == SIZES.sealed_shares == 64 + 16
    assert len(envelope.record) == SIZES.sealed_record == 3 + 8 * (4 + LEVELS) + 4 + 32 + 16


@pytest.mark.rule("BRO-3", "BRO-4", "KEY-6")
@given(
    swap=st.sampled_from(("receiver", "sender", "both", "reflected", "ctx", "shared")),
    other=client_ids(),
    ctx=digests(),
)
def test_opens_for_nobody_else(swap: str, other: ClientId, ctx: Digest) -> None:
    assume(other not in (ALICE, BOB) and ctx != CTX)
    envelope = sealed()
    if swap == "receiver":
        closed(envelope, receiver=other)
    elif swap == "sender":
        closed(attrs.evolve(envelope, peer=other))
    elif swap == "both":
        closed(attrs.evolve(envelope, peer=other), receiver=ALICE)
    elif swap == "reflected":  # back to its own sender, as if the receiver had sent it
        closed(attrs.evolve(envelope, peer=BOB), receiver=ALICE)
    elif swap == "ctx":
        closed(envelope, ctx=ctx)
    else:
        closed(envelope, shared=bytes(32))


@pytest.mark.rule("CTX-4", "BRO-3", "BRO-4")
@given(context=contexts(), session=st.binary(min_size=16, max_size=16), roster=digests())
def test_opens_in_its_round_and_session_alone(context: RoundContext, session: bytes, roster: Digest) -> None:
    later = attrs.evolve(context, round=RoundNumber(context.round % (2**64 - 1) + 1))
    elsewhere = attrs.evolve(context, session=session)
    assume(session != context.session)
    envelope = sealed(ctx=context.ctx(roster))
    open_record(envelope=envelope, receiver=BOB, shared=SHARED, ctx=context.ctx(roster), sizes=SIZES)
    for other in (later, elsewhere):
        closed(envelope, ctx=other.ctx(roster))
    closed(envelope, ctx=context.ctx0())


@pytest.mark.rule("BRO-2", "KEY-6")
def test_the_two_ciphertexts_cannot_stand_in_for_each_other() -> None:
    envelope = sealed()
    closed(Envelope(ALICE, shares=envelope.record, record=envelope.shares))


@pytest.mark.rule("BRO-3", "BRO-4", "KEY-6")
@given(at=st.integers(0, SIZES.sealed_shares - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_is_found(at: int, bit: int) -> None:
    def flipped(data: bytes) -> bytes:
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]

    envelope = sealed()
    closed(attrs.evolve(envelope, shares=flipped(envelope.shares), record=flipped(envelope.record)))


def by_hand(plain: bytes, purpose: bytes, sender: int, receiver: int) -> bytes:
    """The ciphertext, put together from the primitives."""
    label = b"clip-ref/v1/channel " + purpose
    ids = sender.to_bytes(4, "little") + receiver.to_bytes(4, "little")
    key = HKDF(algorithm=SHA256(), length=32, salt=CTX, info=len(label).to_bytes(4, "little") + label + ids).derive(
        SHARED
    )
    return ChaCha20Poly1305(key).encrypt(bytes(12), plain, CTX + len(purpose).to_bytes(4, "little") + purpose + ids)


@pytest.mark.rule("BRO-2", "KEY-6", "WIR-2")
def test_vector_envelope() -> None:
    times = b"".join(t.to_bytes(8, "little") for t in (1, 2, 3, 4, 900, 700, 500))
    plain = b"\x01\x00\x01" + times + (12).to_bytes(4, "little") + bytes(range(32))
    envelope = sealed()
    assert envelope.record == by_hand(plain, b"record", 1, 7)
    assert envelope.shares == by_hand(KEY_SHARE + SELF_SHARE, b"shares", 1, 7)


@pytest.mark.rule("BRO-2", "KEY-6")
def test_both_ends_agree_on_the_channel() -> None:
    alice, bob = SecretKey(b"a" * 32), SecretKey(b"b" * 32)
    there = agree(secret=alice, peer=BOB, peer_key=public_key(bob), field="channel_key")
    back = agree(secret=bob, peer=ALICE, peer_key=public_key(alice), field="channel_key")
    record = open_record(envelope=sealed(shared=there), receiver=BOB, shared=back, ctx=CTX, sizes=SIZES)
    assert record == RECORD_0


@pytest.mark.rule("BRO-1")
def test_refuses_to_seal_for_itself() -> None:
    with pytest.raises(PreconditionError, match="BRO-1: client 1 seals nothing for itself"):
        sealed(receiver=ALICE)


@pytest.mark.rule("BRO-1")
@pytest.mark.parametrize(("key", "own"), [(31, 32), (33, 32), (32, 31), (32, 0), (33, 31)])
def test_refuses_shares_of_another_length(key: int, own: int) -> None:
    with pytest.raises(PreconditionError, match="BRO-1"):
        seal_envelope(
            sender=ALICE,
            receiver=BOB,
            shared=SHARED,
            ctx=CTX,
            key_share=bytes(key),
            self_share=bytes(own),
            record=RECORD_0,
        )


@pytest.mark.rule("BRO-1", "BRO-3")
@pytest.mark.parametrize("length", [0, 63, 65, 96])
def test_a_peer_that_seals_something_else_is_named(length: int) -> None:
    shares = seal(bytes(length), shared=SHARED, ctx=CTX, purpose=SHARES, sender=ALICE, receiver=BOB)
    with pytest.raises(ContributionError) as caught:
        open_shares(envelope=Envelope(ALICE, shares, b""), receiver=BOB, shared=SHARED, ctx=CTX)
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("BRO-1", ALICE, SHARES)


@pytest.mark.rule("BRO-4", "WIR-2")
@pytest.mark.parametrize("fit", [(1, 2), (1, 2, 3, 4)])
def test_a_record_for_another_grid_is_named(fit: tuple[int, ...]) -> None:
    envelope = sealed(attrs.evolve(RECORD_0, fit=fit))
    with pytest.raises(WireError) as caught:
        open_record(envelope=envelope, receiver=BOB, shared=SHARED, ctx=CTX, sizes=SIZES)
    assert (caught.value.rule, caught.value.culprit) == ("WIR-2", ALICE)


# The slack's seed


@st.composite
def fleets(draw: st.DrawFn) -> dict[ClientId, TimeRecord]:
    return {u: draw(time_records(levels=LEVELS)) for u in draw(rosters(min_size=1, max_size=5))}


@pytest.mark.rule("BRO-5")
@given(fleet=fleets(), data=st.data())
def test_slack_seed_ignores_the_order_of_the_records(fleet: dict[ClientId, TimeRecord], data: st.DataObject) -> None:
    other_order = {u: fleet[u] for u in data.draw(st.permutations(sorted(fleet)))}
    seed = slack_entropy(records=fleet, ctx=CTX)
    assert len(seed) == 32
    assert slack_entropy(records=other_order, ctx=CTX) == seed


@pytest.mark.rule("BRO-5")
@given(fleet=fleets(), data=st.data())
def test_slack_seed_depends_on_every_record_and_the_context(
    fleet: dict[ClientId, TimeRecord], data: st.DataObject
) -> None:
    seed = slack_entropy(records=fleet, ctx=CTX)
    u = data.draw(st.sampled_from(sorted(fleet)))
    field = data.draw(st.sampled_from([a.name for a in attrs.fields(TimeRecord)]))
    other = data.draw(time_records(levels=LEVELS))
    assume(getattr(other, field) != getattr(fleet[u], field))
    changed = fleet | {u: attrs.evolve(fleet[u], **{field: getattr(other, field)})}
    assert slack_entropy(records=changed, ctx=CTX) != seed
    assert slack_entropy(records={v: r for v, r in fleet.items() if v != u}, ctx=CTX) != seed
    assert slack_entropy(records=fleet, ctx=Digest(bytes(32))) != seed


@pytest.mark.rule("BRO-5")
def test_slack_seed_depends_on_whose_record_it_is() -> None:
    other = attrs.evolve(RECORD_0, weight=13)
    one = slack_entropy(records={ALICE: RECORD_0, BOB: other}, ctx=CTX)
    assert one != slack_entropy(records={ALICE: other, BOB: RECORD_0}, ctx=CTX)
    assert one != slack_entropy(records={ALICE: RECORD_0, CAROL: other}, ctx=CTX)


@pytest.mark.rule("BRO-5")
def test_vector_slack_seed() -> None:
    def part(data: bytes) -> bytes:
        return len(data).to_bytes(8, "little") + data

    label = b"clip-ref/v1/slack"
    text = len(label).to_bytes(4, "little") + label + part(CTX)
    text += part(b"\x01\x00\x00\x00" + encode_record(RECORD_0)) + part(b"\x2c\x01\x00\x00" + encode_record(RECORD_0))
    seed = slack_entropy(records={CAROL: RECORD_0, ALICE: RECORD_0}, ctx=CTX)
    assert seed == hashlib.sha256(text).digest()
