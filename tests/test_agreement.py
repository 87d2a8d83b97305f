"""Agreement: every byte is signed and no signature is good elsewhere; what commitments catch; when shares are revealed."""

import copy
import functools
import hashlib
import itertools
import struct
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import fuzz
import pytest
from faulty import changed, kind_of
from hypothesis import given
from hypothesis import strategies as st
from plain import digest, le
from rounds import (
    LAYOUT,
    Walk,
    clients_of,
    directory_of,
    identity_of,
    params_of,
    plain_inputs,
    plain_sum,
    policy_of,
    signed_again,
    state_of,
    train,
    walk,
)

from clip_ref import agreement, broadcast, wire
from clip_ref.canonical import RoundContext
from clip_ref.errors import SERVER, ContributionError, ParameterError, PreconditionError, RoundAborted
from clip_ref.keys import Directory, identity_key
from clip_ref.messages import (
    Advertise,
    Agreed,
    ClientMessage,
    Consistent,
    Deliver,
    Header,
    MaskedInput,
    Roster,
    ShareKeys,
    TimeRecord,
    Unmask,
)
from clip_ref.oracle.strategies import Sent, client_ids, contexts, digests, rosters, sent, time_records
from clip_ref.params import SecurityLevel
from clip_ref.round import Client, DropOut, Leg, RoundResult, Server, ids, run_round
from clip_ref.values import ClientId, Digest, RoundNumber, Seed, SigningKey

ME, PEER = ClientId(1), ClientId(2)
HARDENED = params_of(policy_of(), hardened=True)
CLIENT_KINDS = (Advertise, ShareKeys, MaskedInput, Consistent, Unmask)
CTX = Digest(bytes(range(32)))


def flip(data: bytes, at: int = 5) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def refused(call: Callable[[], object], culprit: int, *rules: str) -> ContributionError:
    with pytest.raises(ContributionError) as caught:
        call()
    assert caught.value.culprit == culprit
    assert caught.value.rule in rules
    return caught.value


# What is committed to and signed, worked out a second time


def ed25519(secret: bytes, message: bytes) -> bytes:
    """RFC 8032, section 5.1.6, in affine coordinates."""
    p, order = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
    d = -121665 * pow(121666, -1, p) % p

    def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        (x1, y1), (x2, y2) = a, b
        product = d * x1 * x2 * y1 * y2 % p
        return (
            (x1 * y2 + x2 * y1) * pow(1 + product, -1, p) % p,
            (y1 * y2 + x1 * x2) * pow(1 - product, -1, p) % p,
        )

    def encoded(k: int) -> bytes:
        """k times the base point."""
        x = 15112221349535400772501151409588531511454012693041857206046113283949847762202
        out, base = (0, 1), (x, 4 * pow(5, -1, p) % p)
        while k:
            out, base, k = (add(out, base) if k & 1 else out), add(base, base), k >> 1
        return le(out[1] | (out[0] & 1) << 255, 32)

    expanded = hashlib.sha512(secret).digest()
    scalar = int.from_bytes(expanded[:32], "little") & ~7 & ~(1 << 255) | 1 << 254
    nonce = int.from_bytes(hashlib.sha512(expanded[32:] + message).digest(), "little") % order
    point, public = encoded(nonce), encoded(scalar)
    challenge = int.from_bytes(hashlib.sha512(point + public + message).digest(), "little") % order
    return point + le((nonce + challenge * scalar) % order, 32)


RECORD = TimeRecord(True, False, True, 1, 2, 3, 4, (9, 8, 7), 5, bytes(range(32)))
RECORD_BYTES = struct.pack("<3B4Q3QI32s", 1, 0, 1, 1, 2, 3, 4, 9, 8, 7, 5, bytes(range(32)))


@pytest.mark.rule("AGR-1", "AGR-2", "AGR-3", "AGR-6")
def test_commitments_and_views_are_pinned() -> None:
    """Against `hashlib`, and against what they were when this was written."""
    owner, holder, share = ClientId(258), ClientId(7), b"s" * 32
    found = {
        "record": agreement.record_commitment(record=RECORD, owner=owner, ctx0=CTX),
        "seed": agreement.seed_commitment(seed=Seed(b"b" * 32), owner=owner, ctx0=CTX),
        "key share": agreement.share_commitment(share=share, secret="mask key", owner=owner, holder=holder, ctx=CTX),
        "self share": agreement.share_commitment(share=share, secret="self mask", owner=owner, holder=holder, ctx=CTX),
        "views": agreement.views(ctx=CTX, u2=[holder, ClientId(1), owner], u3=[owner, holder]),
    }
    ids_of_share = le(258, 4) + le(7, 4)
    assert found == {
        "record": digest(b"commit record", CTX, le(258, 4), RECORD_BYTES),
        "seed": digest(b"commit seed", CTX, le(258, 4), b"b" * 32),
        "key share": digest(b"commit share", CTX, b"mask key", ids_of_share, share),
        "self share": digest(b"commit share", CTX, b"self mask", ids_of_share, share),
        "views": digest(b"views", CTX, le(1, 4) + le(7, 4) + le(258, 4), le(7, 4) + le(258, 4)),
    }
    assert {name: value.hex()[:16] for name, value in found.items()} == {
        "record": "b5bc77b5249d53ad",
        "seed": "3c8d15afd732e200",
        "key share": "69c60e1c2a801fcb",
        "self share": "b175cb3f2a216105",
        "views": "37827561e0344a0e",
    }


@pytest.mark.rule("AGR-4", "KEY-7")
def test_a_signed_message_is_pinned() -> None:
    """The signature is Ed25519 over the digest of the context and of all bytes before it, by a second implementation."""
    header = Header(b"sixteen bytes...", RoundNumber(3), 7)
    message = Consistent(ClientId(7), Digest(b"v" * 32))
    key = SigningKey(b"k" * 32)
    head = b"CLIP" + le(wire.WIRE_VERSION, 2) + bytes([8]) + header.session + le(3, 8) + le(7, 4)
    covered = digest(b"signed", CTX, head + b"v" * 32)
    assert agreement.statement(message=message, header=header, context=CTX) == covered
    signed = agreement.signed(message=message, header=header, context=CTX, secret=key)
    assert signed == attrs.evolve(message, signature=ed25519(key.data, covered))
    assert signed.signature.hex()[:16] == "5ec28af5cbc99500"
    directory = Directory({ClientId(7): identity_key(key)})
    agreement.check_signature(message=signed, header=header, context=CTX, directory=directory)


@pytest.mark.rule("AGR-4")
@given(case=sent(CLIENT_KINDS).filter(lambda case: case.sizes.hardened), context=digests())
def test_a_signature_covers_every_byte_before_it(case: Sent, context: Digest) -> None:
    message = case.message
    assert isinstance(message, ClientMessage)
    data = wire.encode(message, case.header)
    assert data.endswith(message.signature)
    expected = digest(b"signed", context, data[: -len(message.signature)])
    assert agreement.statement(message=message, header=case.header, context=context) == expected


@pytest.mark.rule("AGR-1", "AGR-2", "AGR-3")
@given(record=time_records(3), share=st.binary(min_size=32, max_size=32), at=st.integers(0, 31), owner=client_ids())
def test_a_commitment_binds_all_that_it_is_about(record: TimeRecord, share: bytes, at: int, owner: ClientId) -> None:
    """Whatever differs, so does the commitment: each field of a record, each byte, the owner, the holder, the context."""
    fields: dict[str, Any] = {
        "has_time": not record.has_time,
        "has_model": not record.has_model,
        "was_straggler": not record.was_straggler,
        "down": record.down ^ 1,
        "select": record.select ^ 1,
        "mask": record.mask ^ 1,
        "up": record.up ^ 1,
        "fit": (*record.fit[:2], record.fit[2] ^ 1),
        "weight": record.weight ^ 1,
        "entropy": flip(record.entropy, at),
    }
    assert set(fields) == {field.name for field in attrs.fields(TimeRecord)}
    records = [record, *(attrs.evolve(record, **{name: value}) for name, value in fields.items())]
    owners, holder = (owner, ClientId((owner + 1) % SERVER)), ClientId((owner + 2) % SERVER)
    contexts, values = (CTX, Digest(flip(CTX, at))), (share, flip(share, at))
    found = [agreement.record_commitment(record=r, owner=u, ctx0=c) for r in records for u in owners for c in contexts]
    found += [
        agreement.seed_commitment(seed=Seed(b), owner=u, ctx0=c) for b in values for u in owners for c in contexts
    ]
    found += [
        agreement.share_commitment(share=b, secret=secret, owner=a, holder=h, ctx=c)
        for b in values
        for secret in ("mask key", "self mask")
        for a, h in itertools.permutations((*owners, holder), 2)
        for c in contexts
    ]
    assert len(set(found)) == len(found) == 44 + 8 + 48


# Nothing is good elsewhere


def answers(there: Walk, leg: Leg) -> dict[ClientId, ClientMessage]:
    """What the clients answer on the leg that `there` has come to."""
    out: dict[ClientId, ClientMessage] = {}
    for u, client in there.clients.items():
        if leg is Leg.ADVERTISE:
            out[u] = client.open(there.open)
        elif leg is Leg.SHARE:
            out[u] = client.roster(there.roster)
        elif leg is Leg.INPUT:
            out[u] = client.masked_input(train({u: client.deliver(there.deliver[u])})[u])
        else:
            out[u] = client.announce(there.announce) if leg is Leg.CONSISTENCY else client.agreed(there.agreed)
    return out


@pytest.mark.rule("AGR-4", "AGR-5", "KEY-9")
@pytest.mark.parametrize("leg", Leg)
def test_every_byte_of_every_message_counts(leg: Leg) -> None:
    """A bit of each byte is changed: refused, its sender named, and the server as before: what it was sent is still taken."""
    (target, *_) = [
        t for t in fuzz.targets()[0] if t.params.hardened and t.client == 1 and t.server and t.server._leg is leg
    ]
    server = copy.deepcopy(target.server)
    assert server is not None
    header, sizes, kind = wire.header(target.data), server.sizes, kind_of(target.data)

    def hand_in(data: bytes) -> None:
        message = wire.decode(data, expected=header, kind=kind, sizes=sizes)
        assert isinstance(message, ClientMessage)
        server.accept(message)

    for at in range(len(target.data)):
        bent = changed(target.data, 8 * at + at % 8)
        error = refused(functools.partial(hand_in, bent), 1, "WIR-3", "WIR-4", "WIR-5", "KEY-9")
        assert error.rule == "KEY-9" or at < len(target.data) - 64
    hand_in(target.data)


@pytest.mark.rule("AGR-4", "AGR-5", "CTX-3", "CTX-4", "KEY-9")
@pytest.mark.parametrize("leg", Leg)
def test_a_signature_is_good_for_one_place_alone(leg: Leg) -> None:
    """Not in another context, whatever differs in it, nor under another header, nor for a message of another kind."""
    there = walk(leg, params=HARDENED)
    message = answers(there, leg)[ME]
    context, roster = there.server.context, walk(Leg.SHARE, params=HARDENED).roster.digest()
    directory = directory_of(HARDENED, ids(5))
    header = Header(context.session, context.round, ME)

    def at(context: RoundContext, roster: Digest = roster) -> Digest:
        return context.ctx0() if leg is Leg.ADVERTISE else context.ctx(roster)

    def check(message: ClientMessage = message, header: Header = header, ctx: Digest | None = None) -> None:
        agreement.check_signature(
            message=message, header=header, context=at(context) if ctx is None else ctx, directory=directory
        )

    check()
    other = Digest(b"d" * 32)
    elsewhere: list[RoundContext] = [
        attrs.evolve(context, session=b"another session."),
        attrs.evolve(context, round=RoundNumber(4)),
        *(attrs.evolve(context, config=other), attrs.evolve(context, directory=other)),
        *(attrs.evolve(context, model=other), attrs.evolve(context, history=other)),
    ]
    wrong = [at(c) for c in elsewhere]
    wrong.append(context.ctx(roster) if leg is Leg.ADVERTISE else context.ctx0())
    if leg is not Leg.ADVERTISE:
        wrong.append(at(context, other))
    for ctx in wrong:
        refused(functools.partial(check, ctx=ctx), ME, "KEY-9")
    headers = (
        attrs.evolve(header, session=b"another session."),
        attrs.evolve(header, round=RoundNumber(4)),
        attrs.evolve(header, sender=PEER),
    )
    for wrong_header in headers:
        refused(functools.partial(check, header=wrong_header), ME, "KEY-9")
    refused(lambda: check(message=attrs.evolve(message, sender=PEER)), PEER, "KEY-9")
    kinds: tuple[ClientMessage, ...] = (
        Advertise(ME, bytes(32), bytes(32), bytes(32), bytes(32)),
        ShareKeys(ME, (), bytes(64)),
        Consistent(ME, Digest(bytes(32))),
        Unmask(ME, (), ()),
    )
    for another in kinds:
        refused(functools.partial(check, attrs.evolve(another, signature=message.signature)), ME, "KEY-9")


@pytest.mark.rule("AGR-5", "KEY-9")
def test_whoever_is_not_in_the_directory_is_refused() -> None:
    """By the server; and by every client that finds it in a roster, which is the server's fault."""
    stranger = ClientId(5)
    there = walk(Leg.ADVERTISE, params=HARDENED)
    context = there.server.context
    bundle = agreement.signed(
        message=Advertise(stranger, b"\x09" + bytes(31), b"\x0a" + bytes(31), bytes(32), bytes(32)),
        header=Header(context.session, context.round, stranger),
        context=context.ctx0(),
        secret=identity_of(stranger),
    )
    refused(lambda: there.server.accept(bundle), stranger, "KEY-9")
    adverts = answers(there, Leg.ADVERTISE)
    assert isinstance(bundle, Advertise)
    roster = Roster((*(b for b in adverts.values() if isinstance(b, Advertise) and b.sender < 4), bundle))
    for u in ids(4):
        refused(functools.partial(there.clients[u].roster, roster), SERVER, "ROU-5")


@pytest.mark.rule("AGR-4", "AGR-5", "ROU-5", "WIR-3")
@pytest.mark.parametrize("victim", ids(5))
def test_a_replayed_bundle_is_refused(victim: ClientId) -> None:
    """One of the round before, in the same session: by the server and by every client, and it is said whose it is."""
    old = walk(Leg.SHARE, params=HARDENED, state=state_of(round=2), seed=8).adverts[victim]
    fresh, there = walk(Leg.ADVERTISE, params=HARDENED).server, walk(Leg.SHARE, params=HARDENED)
    header = Header(fresh.context.session, fresh.context.round, victim)
    data = wire.encode(old, attrs.evolve(header, round=RoundNumber(2)))
    refused(lambda: wire.decode(data, expected=header, kind=Advertise, sizes=fresh.sizes), victim, "WIR-3")
    refused(lambda: fresh.accept(old), victim, "KEY-9")  # as if what the bytes say about the round were changed
    roster = Roster(tuple(old if b.sender == victim else b for b in there.roster.bundles))
    for u, client in there.clients.items():
        if u == victim:
            refused(functools.partial(client.roster, roster), SERVER, "ROU-5")
        else:
            refused(functools.partial(client.roster, roster), victim, "KEY-9")


# What a dealer commits to


def run(
    clients: Mapping[ClientId, Client], gone: Mapping[ClientId, DropOut] | None = None
) -> tuple[Server, RoundResult]:
    server = Server(params=HARDENED, layout=LAYOUT, state=state_of(), directory=directory_of(HARDENED, ids(5)))
    return server, run_round(server=server, clients=clients, train=train, drop_outs=gone)


def check_sum(server: Server, result: RoundResult) -> None:
    inputs = plain_inputs(HARDENED, result.assignments)
    assert server.total_unmasked.tolist() == plain_sum(HARDENED, inputs, result.u3)


def lying_dealer(client: Client, what: str, victims: list[ClientId]) -> Callable[[Roster], ShareKeys]:
    """Its `roster`: what it seals for the victims is not what it committed to."""
    honest = client.roster

    def roster(message: Roster) -> ShareKeys:
        said = honest(message)
        envelopes = []
        for e in said.envelopes:
            if e.peer in victims:
                about: dict[str, Any] = {"receiver": e.peer, "shared": client._channel[e.peer], "ctx": client._ctx}
                key_share, self_share = broadcast.open_shares(envelope=attrs.evolve(e, peer=client.me), **about)
                record = client._record
                if what == "record":
                    record = attrs.evolve(record, fit=tuple(2 * t for t in record.fit))
                resealed = broadcast.seal_envelope(
                    sender=client.me,
                    key_share=flip(key_share) if what == "key share" else key_share,
                    self_share=flip(self_share) if what == "self share" else self_share,
                    record=record,
                    **about,
                )
                e = attrs.evolve(resealed, commitments=e.commitments)
            envelopes.append(e)
        return client._signed(attrs.evolve(said, envelopes=tuple(envelopes)), client._ctx)

    return roster


@pytest.mark.rule("AGR-1", "AGR-3", "ROU-6", "ROU-14")
@pytest.mark.parametrize("what", ["record", "key share", "self share"])
@pytest.mark.parametrize("victims", [[0], [0, 4], [0, 3, 4]])
def test_a_wrong_opening_names_the_dealer(what: str, victims: list[ClientId], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each receiver finds out by itself and leaves before it trains; as long as t are left the sum is exact."""
    clients = clients_of(HARDENED, ids(5), [ClientId(3)])
    monkeypatch.setattr(clients[PEER], "roster", lying_dealer(clients[PEER], what, victims))
    if len(victims) == 3:
        with pytest.raises(RoundAborted, match="U3: 2 clients left, 3 needed"):
            run(clients)
        return
    server, result = run(clients)
    field = "record" if what == "record" else "shares"
    assert [(f.rule, f.culprit, f.field) for f in result.faults] == [("ROU-6", PEER, field)] * len(victims)
    assert result.u2 == tuple(ids(5))
    assert result.u3 == tuple(u for u in ids(5) if u not in victims)
    check_sum(server, result)


@pytest.mark.rule("ROU-12", "ROU-19", "AGR-2", "AGR-3")
@pytest.mark.parametrize("survives", [True, False])
@pytest.mark.parametrize("holder", range(5))
def test_an_inconsistent_dealer_is_named(survives: bool, holder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It commits to a share that does not lie on its polynomial. No holder is to blame, and none is blamed."""
    clients = clients_of(HARDENED, ids(5))
    dealer = clients[PEER]
    honest = dealer._split

    def split(secret: bytes, purpose: str, holders: int) -> tuple[bytes, ...]:
        shares = list(honest(secret, purpose, holders))
        shares[holder] = flip(shares[holder])
        return tuple(shares)

    monkeypatch.setattr(dealer, "_split", split)
    gone = {} if survives else {PEER: DropOut(Leg.INPUT, False)}
    in_use = [u for u in ids(5) if survives or u != PEER][:3]
    if holder in in_use:
        error = refused(lambda: run(clients, gone), PEER, "ROU-12")
        assert error.field == ("seed_commitment" if survives else "mask_key")
    else:
        check_sum(*run(clients, gone))


@pytest.mark.rule("ROU-19", "ROU-11", "AGR-3")
@given(data=st.data())
def test_corrupt_shares_are_found_one_by_one_however_many(data: st.DataObject) -> None:
    """Up to n′ − t wrong answers cost nothing but themselves; with one more nothing is unmasked."""
    n = data.draw(st.integers(4, 6))
    params = params_of(policy_of(), clients=n, threshold=n // 2 + 1, hardened=True)
    gone = ClientId(n - 1)
    there = walk(Leg.UNMASK, params=params, without=lambda leg, u: leg is Leg.INPUT and u == gone)
    survivors = there.server.u3
    liars = data.draw(st.sets(st.sampled_from(survivors)))
    for u in data.draw(st.permutations(survivors)):
        good = there.clients[u].agreed(there.agreed)
        if u not in liars:
            there.server.accept(good)
            continue
        field = data.draw(st.sampled_from(("self_shares", "key_shares")))
        shares = list(getattr(good, field))
        for at in data.draw(st.sets(st.integers(0, len(shares) - 1), min_size=1)):
            owner, share = shares[at]
            shares[at] = (owner, flip(share, data.draw(st.integers(0, 31))))
        changes: dict[str, Any] = {field: tuple(shares)}
        lie = signed_again(there.server, attrs.evolve(good, **changes))
        error = refused(functools.partial(there.server.accept, lie), u, "ROU-19")
        assert error.field == field
    if len(survivors) - len(liars) < params.threshold:
        with pytest.raises(RoundAborted, match="ROU-11: round aborted at U5"):
            there.server.close_unmask()
        assert not hasattr(there.server, "total_unmasked")
    else:
        there.server.close_unmask()
        inputs = plain_inputs(params, there.assignments)
        assert there.server.total_unmasked.tolist() == plain_sum(params, inputs, survivors)


@pytest.mark.rule("ROU-19")
def test_a_share_of_another_holder_or_owner_is_no_share() -> None:
    """Good shares at the wrong place: those of a neighbour, those of the other secret, two of one's own exchanged."""
    there = walk(Leg.UNMASK, params=HARDENED)
    mine, theirs = (there.clients[u].agreed(there.agreed) for u in (ME, PEER))
    key_shares = tuple((u, there.clients[ME]._shares[u][0]) for u, _ in mine.self_shares)
    (a, first), (b, second), *rest = mine.self_shares
    for lie in (theirs.self_shares, key_shares, ((a, second), (b, first), *rest)):
        wrong = signed_again(there.server, attrs.evolve(mine, self_shares=lie))
        refused(functools.partial(there.server.accept, wrong), ME, "ROU-19")
    there.server.accept(mine)


# What is shown before a share is


@pytest.mark.rule("AGR-6")
@given(ctx=digests(), u2=rosters(min_size=3), data=st.data())
def test_views_tell_every_context_u2_and_u3_apart(ctx: Digest, u2: tuple[ClientId, ...], data: st.DataObject) -> None:
    u3 = data.draw(st.lists(st.sampled_from(u2), min_size=1, unique=True))
    said = agreement.views(ctx=ctx, u2=u2, u3=u3)
    assert agreement.views(ctx=ctx, u2=data.draw(st.permutations(u2)), u3=reversed(u3)) == said
    gone = data.draw(st.sampled_from(u3))
    others = (
        agreement.views(ctx=Digest(flip(ctx)), u2=u2, u3=u3),
        agreement.views(ctx=ctx, u2=[u for u in u2 if u != gone], u3=u3),
        agreement.views(ctx=ctx, u2=u2, u3=[u for u in u3 if u != gone]),
        agreement.views(ctx=ctx, u2=u2[:-1], u3=(*u3, u2[-1])),
    )
    assert said not in others


@pytest.mark.rule("AGR-7", "AGR-8", "MSG-2")
@given(data=st.data(), context=contexts(), roster=rosters(min_size=3))
def test_shown_signatures_count_if_t_of_u3_say_the_same(
    data: st.DataObject, context: RoundContext, roster: tuple[ClientId, ...]
) -> None:
    """Exactly then: whatever else the server shows is refused, it is to blame, and the rule says what was wrong."""
    ctx, mine, other = context.ctx(CTX), Digest(b"m" * 32), Digest(b"o" * 32)
    u3 = sorted(data.draw(st.sets(st.sampled_from(roster), min_size=2)))
    threshold = data.draw(st.integers(1, len(u3)))
    directory = directory_of(HARDENED, roster)
    say = {u: data.draw(st.sampled_from((mine, mine, mine, other))) for u in roster}
    shown = sorted(data.draw(st.sets(st.sampled_from(data.draw(st.sampled_from((u3, list(roster))))))))

    def signature(u: ClientId, by: ClientId) -> bytes:
        header = Header(context.session, context.round, u)
        return agreement.signed(
            message=Consistent(u, say[u]), header=header, context=ctx, secret=identity_of(by)
        ).signature

    impostor = data.draw(st.sampled_from((None, None, *shown)))
    entries = [(u, signature(u, roster[0] if u == impostor and u != roster[0] else u)) for u in shown]
    forged = impostor not in (None, roster[0])
    if data.draw(st.booleans()) and len(entries) > 1:
        entries[0], entries[1] = entries[1], entries[0]
    ordered = [u for u, _ in entries] == shown

    def check() -> None:
        agreement.check_agreed(
            message=Agreed(tuple(entries)),
            views=mine,
            u3=u3,
            threshold=threshold,
            ctx=ctx,
            directory=directory,
            session=Header(context.session, context.round, roster[-1]),
        )

    if not ordered:
        refused(check, SERVER, "MSG-2")
    elif not set(shown) <= set(u3) or len(shown) < threshold:
        refused(check, SERVER, "AGR-7")
    elif forged or any(say[u] == other for u in shown):
        refused(check, SERVER, "AGR-8")
    else:
        check()


@pytest.mark.rule("AGR-7")
@pytest.mark.parametrize("signers", [(0, 1), (0, 1, 4), (0, 1, 2, 4), (0, 1, 2), (0, 1, 2, 3)])
def test_only_signers_in_u3_count(signers: tuple[int, ...]) -> None:
    """All of them say the right thing and sign it; U3 is 0 … 3, and three are needed."""
    context, roster = state_of().context(params=HARDENED, layout=LAYOUT), ids(5)
    ctx, mine = context.ctx(CTX), Digest(b"m" * 32)
    entries = []
    for u in map(ClientId, signers):
        header = Header(context.session, context.round, u)
        said = agreement.signed(message=Consistent(u, mine), header=header, context=ctx, secret=identity_of(u))
        entries.append((u, said.signature))
    check = functools.partial(
        agreement.check_agreed,
        message=Agreed(tuple(entries)),
        views=mine,
        u3=roster[:4],
        threshold=3,
        ctx=ctx,
        directory=directory_of(HARDENED, roster),
        session=Header(context.session, context.round, 0),
    )
    if len(signers) >= 3 and 4 not in signers:
        check()
    else:
        refused(check, SERVER, "AGR-7")


@pytest.mark.rule("AGR-6", "AGR-8", "ROU-8", "ROU-10")
@pytest.mark.parametrize("gone", [ClientId(0), ClientId(3), ClientId(4)])
@pytest.mark.parametrize("drops_out", [True, False])
def test_who_was_told_another_u2_neither_agrees_nor_reveals(gone: ClientId, drops_out: bool) -> None:
    """An envelope is kept from one client. If its sender survives, U3 is not in the U2 that it was told; if not, its statement
    is not the server's, and the others' are not its own."""
    there = walk(Leg.INPUT, params=HARDENED)
    clients, server = there.clients, there.server
    whole = there.deliver[ME]
    deliver = there.deliver | {ME: Deliver(tuple(e for e in whole.envelopes if e.peer != gone), whole.model)}
    for u, client in clients.items():
        answer = client.masked_input(train({u: client.deliver(deliver[u])})[u])
        if u != gone or not drops_out:
            server.accept(answer)
    announce = server.close_input()
    if not drops_out:
        assert refused(lambda: clients[ME].announce(announce), SERVER, "ROU-8").field == "survivors"
        return
    for u in server.u3:
        said = clients[u].announce(announce)
        if u == ME:
            refused(functools.partial(server.accept, said), ME, "ROU-10")
        else:
            server.accept(said)
    agreed = server.close_consistency()
    refused(lambda: clients[ME].agreed(agreed), SERVER, "AGR-8")
    assert isinstance(clients[PEER].agreed(agreed), Unmask)


@pytest.mark.rule("PAR-8", "AGR-7")
@pytest.mark.parametrize("n", range(2, 8))
def test_any_two_quorums_share_an_honest_client(n: int) -> None:
    """Of all pairs of sets of t clients the two that share least: more than c, exactly if `hardened` takes the threshold."""
    for t in range(2, n + 1):
        quorums = [set(q) for q in itertools.combinations(range(n), t)]
        shared = min(len(a & b) for a in quorums for b in quorums)
        params = params_of(policy_of(), clients=n, threshold=t)
        for c in range(t - 1):  # from c = t − 1 on, a sum can be one honest client's whatever is signed
            if shared > c:
                assert attrs.evolve(params, colluders=c, security=SecurityLevel.HARDENED).hardened
            else:
                with pytest.raises(ParameterError, match=r"PAR-8.*2t > n"):
                    attrs.evolve(params, colluders=c, security=SecurityLevel.HARDENED)


@pytest.mark.rule("AGR-3")
def test_a_secrets_name_is_ascii() -> None:
    one, two = ClientId(1), ClientId(2)
    with pytest.raises(PreconditionError, match="AGR-3: a secret's name is ASCII"):
        agreement.share_commitment(share=bytes(32), secret="schlüssel", owner=one, holder=two, ctx=Digest(bytes(32)))
