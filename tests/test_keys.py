"""Keys: points that fix the secret are refused; a ciphertext opens for one receiver, round, direction and purpose only."""

from typing import Any

import plain
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import assume, given
from hypothesis import strategies as st
from profiles import few

from clip_ref.canonical import RoundContext
from clip_ref.errors import SERVER, ContributionError, PreconditionError
from clip_ref.keys import (
    LOW_ORDER,
    NO_IDENTITIES,
    SIGNATURE_BYTES,
    TAG_BYTES,
    Directory,
    agree,
    check_public_key,
    identity_key,
    pair_seed,
    public_key,
    seal,
    self_mask_seed,
    sign,
    unseal,
)
from clip_ref.oracle.strategies import client_ids, digests, rosters, secret_keys, seeds
from clip_ref.rand import derive
from clip_ref.values import NO_DIGEST, ClientId, Digest, RoundNumber, SecretKey, Seed, SigningKey

P = 2**255 - 19
ONE, TWO, THREE = ClientId(1), ClientId(2), ClientId(3)
CTX = Digest(b"\x11" * 32)

# RFC 7748, section 6.1
ALICE = SecretKey(bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB = SecretKey(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")


def _key(number: int) -> bytes:
    return number.to_bytes(32, "little")


NON_CANONICAL = [_key(number) for number in range(P, 2**255)]
HIGH_BIT = [_key(int.from_bytes(key, "little") | 1 << 255) for key in (*sorted(LOW_ORDER), *NON_CANONICAL, BOB_PUBLIC)]


# Agreement


@pytest.mark.rule("KEY-4")
def test_agreement_is_rfc_7748() -> None:
    assert plain.x25519(ALICE.data, BOB_PUBLIC) == SHARED
    assert public_key(ALICE) == ALICE_PUBLIC == plain.x25519(ALICE.data, _key(9))
    assert public_key(BOB) == BOB_PUBLIC
    assert agree(secret=ALICE, peer=TWO, peer_key=BOB_PUBLIC, field="k") == SHARED
    assert agree(secret=BOB, peer=ONE, peer_key=ALICE_PUBLIC, field="k") == SHARED


@pytest.mark.rule("KEY-3")
def test_points_of_low_order_give_zero_whatever_the_secret() -> None:
    """Why they are refused: the raw exchange with them is all zero, and no other of the small points is like that."""
    assert len(LOW_ORDER) == 5
    for secret in (ALICE, BOB, SecretKey(b"\xff" * 32)):
        for key in LOW_ORDER:
            assert plain.x25519(secret.data, key) == bytes(32)
            with pytest.raises(ValueError, match="shared key"):
                X25519PrivateKey.from_private_bytes(secret.data).exchange(X25519PublicKey.from_public_bytes(key))
    assert plain.x25519(ALICE.data, _key(P)) == plain.x25519(ALICE.data, _key(P + 1)) == bytes(32)
    zeros = {_key(u) for u in (*range(64), *range(P - 64, P)) if plain.x25519(ALICE.data, _key(u)) == bytes(32)}
    assert zeros == {_key(0), _key(1), _key(P - 1)}


def _times_two(u: int) -> int | None:
    """The u-coordinate of twice a point; none at infinity."""
    below = 4 * u * (u * u + 486662 * u + 1) % P
    return None if below == 0 else (u * u - 1) ** 2 * pow(below, P - 2, P) % P


@pytest.mark.rule("KEY-3")
def test_the_list_of_low_order_points_is_complete() -> None:
    """Curve and twist have order 8·prime and 4·prime, so what is of low order has order 1, 2, 4 or 8.

    Order 2 is u = 0, as u² + 486662·u + 1 has no root. Order 4 doubles to 0, so u² = 1. Order 8 doubles to 1 or −1:
    (u² − 1)² = ±4·u·(u² + 486662·u + 1), whose roots in the field are counted.
    """
    listed = {int.from_bytes(key, "little") for key in LOW_ORDER}
    assert pow(486662**2 - 4, (P - 1) // 2, P) == P - 1  # not a square
    order_four = {u for u in listed if _times_two(u) == 0}
    assert order_four == {1, P - 1}
    order_eight = {u for u in listed if _times_two(u) in order_four}
    assert listed == {0} | order_four | order_eight
    for side, count in ((1, 2), (-1, 0)):
        quartic = [1, -4 * side, -2 - 4 * 486662 * side, -4 * side, 1]  # u⁰ … u⁴
        assert _roots(quartic) == count
    assert len(order_eight) == 2


def _roots(quartic: list[int]) -> int:
    """How many distinct roots a monic quartic has in the field: the degree of gcd(u^p − u, quartic)."""

    def reduce(poly: list[int], modulus: list[int]) -> list[int]:
        poly = [c % P for c in poly]
        inverse = pow(modulus[-1], P - 2, P)
        while len(poly) >= len(modulus):
            factor, shift = poly[-1] * inverse % P, len(poly) - len(modulus)
            for k, c in enumerate(modulus):
                poly[shift + k] = (poly[shift + k] - factor * c) % P
            poly.pop()
        while poly and poly[-1] == 0:
            poly.pop()
        return poly

    def times(a: list[int], b: list[int]) -> list[int]:
        out = [0] * (len(a) + len(b) - 1)
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                out[i + j] += x * y
        return reduce(out, quartic)

    power = [1]
    for bit in bin(P)[2:]:
        power = times(power, power)
        if bit == "1":
            power = times(power, [0, 1])
    power += [0] * (2 - len(power))
    power[1] -= 1
    a, b = [c % P for c in quartic], reduce(power, quartic)
    while b:
        a, b = b, reduce(a, b)
    return len(a) - 1


@pytest.mark.rule("KEY-3")
@pytest.mark.parametrize("key", sorted(LOW_ORDER))
def test_a_point_of_low_order_is_refused(key: bytes) -> None:
    for attempt in (
        lambda: check_public_key(key, culprit=7, field="mask_key"),
        lambda: agree(secret=ALICE, peer=ClientId(7), peer_key=key, field="mask_key"),
        lambda: pair_seed(secret=ALICE, me=ONE, peer=ClientId(7), peer_key=key, ctx=CTX),
    ):
        with pytest.raises(ContributionError, match="low order") as caught:
            attempt()
        assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("KEY-3", 7, "mask_key")


@pytest.mark.rule("KEY-2")
@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), b"\x09", *NON_CANONICAL, *HIGH_BIT])
def test_a_key_that_is_not_canonical_is_refused(key: bytes) -> None:
    for attempt in (
        lambda: check_public_key(key, culprit=7, field="channel_key"),
        lambda: agree(secret=ALICE, peer=ClientId(7), peer_key=key, field="channel_key"),
    ):
        with pytest.raises(ContributionError, match="not a canonical X25519") as caught:
            attempt()
        assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("KEY-2", 7, "channel_key")


@pytest.mark.rule("KEY-2", "KEY-3")
@given(secret=secret_keys())
def test_every_real_key_is_accepted(secret: SecretKey) -> None:
    check_public_key(public_key(secret), culprit=0, field="mask_key")
    check_public_key(_key(P - 2), culprit=0, field="mask_key")
    check_public_key(_key(2), culprit=0, field="mask_key")


# Seeds of masks


@pytest.mark.rule("KEY-4")
@given(one=secret_keys(), two=secret_keys(), a=client_ids(), b=client_ids(), ctx=digests())
def test_both_ends_derive_the_same_pair_seed(
    one: SecretKey, two: SecretKey, a: ClientId, b: ClientId, ctx: Digest
) -> None:
    assume(a != b)
    left = pair_seed(secret=one, me=a, peer=b, peer_key=public_key(two), ctx=ctx)
    right = pair_seed(secret=two, me=b, peer=a, peer_key=public_key(one), ctx=ctx)
    assert left == right
    shared = X25519PrivateKey.from_private_bytes(one.data).exchange(X25519PublicKey.from_public_bytes(public_key(two)))
    assert left.data == plain.derive(shared, ctx, b"pairwise mask", min(a, b), max(a, b))


@pytest.mark.rule("KEY-4")
def test_a_pair_seed_is_for_this_pair_in_this_context() -> None:
    other = Digest(b"\x12" * 32)
    variants = [
        pair_seed(secret=ALICE, me=ONE, peer=TWO, peer_key=BOB_PUBLIC, ctx=CTX),
        pair_seed(secret=ALICE, me=ONE, peer=THREE, peer_key=BOB_PUBLIC, ctx=CTX),
        pair_seed(secret=ALICE, me=THREE, peer=TWO, peer_key=BOB_PUBLIC, ctx=CTX),
        pair_seed(secret=BOB, me=ONE, peer=TWO, peer_key=BOB_PUBLIC, ctx=CTX),
        pair_seed(secret=ALICE, me=ONE, peer=TWO, peer_key=ALICE_PUBLIC, ctx=CTX),
        pair_seed(secret=ALICE, me=ONE, peer=TWO, peer_key=BOB_PUBLIC, ctx=other),
    ]
    assert len({seed.data for seed in variants}) == len(variants)
    assert variants[0].data.hex() == "2d1307759bcba02fa8131016470cb84128eaef0064b4f1685a09ad732fe8820d"


@pytest.mark.rule("KEY-5")
@given(seed=seeds(), me=client_ids(), ctx=digests())
def test_the_self_mask_seed_is_derived(seed: Seed, me: ClientId, ctx: Digest) -> None:
    assert self_mask_seed(self_seed=seed, me=me, ctx=ctx).data == plain.derive(seed.data, ctx, b"self mask", me)


@pytest.mark.rule("KEY-5")
def test_the_self_mask_seed_is_for_this_client_in_this_context() -> None:
    seed = Seed(SHARED)
    variants = [
        self_mask_seed(self_seed=seed, me=ONE, ctx=CTX),
        self_mask_seed(self_seed=seed, me=TWO, ctx=CTX),
        self_mask_seed(self_seed=seed, me=ONE, ctx=Digest(b"\x12" * 32)),
        self_mask_seed(self_seed=Seed(ALICE_PUBLIC), me=ONE, ctx=CTX),
        seed,
    ]
    assert len({each.data for each in variants}) == len(variants)


@pytest.mark.rule("KEY-4", "KEY-5", "KEY-6")
def test_purposes_do_not_share_keys() -> None:
    """The same secret, context and ids under each purpose of the protocol, and none is a prefix of another."""
    purposes = ("pairwise mask", "self mask", "channel shares", "channel record", "channel pairwise mask", "prg")
    keys = {derive(secret=SHARED, salt=CTX, purpose=purpose, ids=(1, 2)) for purpose in purposes}
    assert len(keys) == len(purposes)


# Channels


@pytest.mark.rule("KEY-6")
def test_the_cipher_is_rfc_8439() -> None:
    """Section 2.8.2."""
    text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
    nonce, associated = bytes.fromhex("070000004041424344454647"), bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    sealed = ChaCha20Poly1305(bytes(range(0x80, 0xA0))).encrypt(nonce, text, associated)
    assert sealed[:16].hex() == "d31a8d34648e60db7b86afbc53ef7ec2"
    assert sealed[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"


@pytest.mark.rule("KEY-6")
@given(
    text=st.binary(max_size=80),
    shared=st.binary(min_size=32, max_size=32),
    ctx=digests(),
    purpose=st.sampled_from(("shares", "record")),
    sender=client_ids(),
    receiver=client_ids(),
)
def test_what_is_sealed_opens_and_is_pinned(
    text: bytes, shared: bytes, ctx: Digest, purpose: str, sender: ClientId, receiver: ClientId
) -> None:
    channel: dict[str, Any] = {"shared": shared, "ctx": ctx, "purpose": purpose, "sender": sender, "receiver": receiver}
    sealed = seal(text, **channel)
    assert unseal(sealed, **channel) == text
    assert len(sealed) == len(text) + TAG_BYTES
    key = plain.derive(shared, ctx, b"channel " + purpose.encode(), sender, receiver)
    associated = ctx + plain.prefixed(purpose.encode()) + plain.le(sender, 4) + plain.le(receiver, 4)
    assert sealed == ChaCha20Poly1305(key).encrypt(bytes(12), text, associated)


@pytest.mark.rule("KEY-6")
@given(one=st.binary(min_size=40, max_size=40), two=st.binary(min_size=40, max_size=40))
def test_a_ciphertext_is_as_long_whatever_it_says(one: bytes, two: bytes) -> None:
    sealed = [seal(t, shared=SHARED, ctx=CTX, purpose="record", sender=ONE, receiver=TWO) for t in (one, two)]
    assert len(sealed[0]) == len(sealed[1]) == 56


def _context(session: bytes = bytes(16), number: int = 1) -> Digest:
    zero = Digest(bytes(32))
    return RoundContext(session, RoundNumber(number), zero, zero, zero, zero).ctx(zero)


CHANNEL: dict[str, Any] = {"shared": SHARED, "ctx": _context(), "purpose": "record", "sender": ONE, "receiver": TWO}


@pytest.mark.rule("KEY-6")
@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"receiver": THREE}, id="another receiver"),
        pytest.param({"sender": THREE}, id="another sender"),
        pytest.param({"sender": TWO, "receiver": ONE}, id="reflected"),
        pytest.param({"sender": TWO, "receiver": TWO}, id="sent to oneself"),
        pytest.param({"ctx": _context(number=2)}, id="another round"),
        pytest.param({"ctx": _context(session=b"\x01" + bytes(15))}, id="another session"),
        pytest.param({"purpose": "shares"}, id="another purpose"),
        pytest.param({"shared": ALICE_PUBLIC}, id="another key"),
    ],
)
def test_it_opens_nowhere_else(changed: dict[str, Any]) -> None:
    channel = CHANNEL | changed
    with pytest.raises(ContributionError, match="does not open") as caught:
        unseal(seal(b"hello", **CHANNEL), **channel)
    assert caught.value.rule == "KEY-6"
    assert (caught.value.culprit, caught.value.field) == (channel["sender"], channel["purpose"])
    assert unseal(seal(b"hello", **channel), **channel) == b"hello"


@pytest.mark.rule("KEY-6")
@given(at=st.integers(0, 20), flip=st.integers(1, 255), cut=st.integers(1, 21), more=st.binary(min_size=1, max_size=3))
def test_a_changed_ciphertext_does_not_open(at: int, flip: int, cut: int, more: bytes) -> None:
    sealed = seal(b"hello", **CHANNEL)
    changed = bytearray(sealed)
    changed[at] ^= flip
    for bad in (bytes(changed), sealed[:-cut], sealed[cut:], sealed + more, more + sealed):
        with pytest.raises(ContributionError) as caught:
            unseal(bad, **CHANNEL)
        assert caught.value.rule == "KEY-6"


# Identities

# RFC 8032, section 7.1, tests 1 and 2
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
]
STATEMENT = Digest(b"\x22" * 32)


def _identity(client: int) -> SigningKey:
    return SigningKey(plain.digest(b"identity", plain.le(client, 4)))


def _directory(*clients: int) -> Directory:
    return Directory({ClientId(u): identity_key(_identity(u)) for u in clients})


@pytest.mark.rule("KEY-7")
@pytest.mark.parametrize(("secret", "public", "text", "signature"), RFC_8032)
def test_signatures_are_rfc_8032(secret: str, public: str, text: str, signature: str) -> None:
    key = SigningKey(bytes.fromhex(secret))
    assert identity_key(key).hex() == public
    assert key.handle.sign(bytes.fromhex(text)).hex() == signature  # of a length that `sign` refuses: KEY-7


@pytest.mark.rule("KEY-7", "KEY-9")
@given(secret=st.binary(min_size=32, max_size=32).map(SigningKey), statement=digests(), client=client_ids())
def test_a_signature_verifies(secret: SigningKey, statement: Digest, client: ClientId) -> None:
    signature = sign(secret=secret, statement=statement)
    assert len(signature) == SIGNATURE_BYTES
    assert sign(secret=secret, statement=statement) == signature
    Ed25519PublicKey.from_public_bytes(identity_key(secret)).verify(signature, statement)
    Directory({client: identity_key(secret)}).verify(signer=client, signature=signature, statement=statement)


@pytest.mark.rule("KEY-8")
def test_a_directory_digest_is_pinned() -> None:
    keys = {ClientId(9): b"n" * 32, ClientId(2): b"t" * 32}
    assert Directory(keys).digest() == plain.digest(
        b"directory", plain.le(2, 4) + b"t" * 32, plain.le(9, 4) + b"n" * 32
    )
    assert list(Directory(keys).keys) == [2, 9]
    assert list(keys) == [9, 2]
    assert NO_IDENTITIES.digest() == Directory({}).digest() == NO_DIGEST


@pytest.mark.rule("KEY-8")
@given(roster=rosters(min_size=2), data=st.data())
def test_another_directory_has_another_digest(roster: tuple[ClientId, ...], data: st.DataObject) -> None:
    keys = {u: plain.digest(b"key", plain.le(u, 4)) for u in roster}
    digest = Directory(keys).digest()
    one, two = data.draw(st.permutations(roster))[:2]
    swapped = keys | {one: keys[two], two: keys[one]}
    fewer = {u: key for u, key in keys.items() if u != one}
    other = keys | {one: bytes(32)}
    assert Directory(dict(reversed(keys.items()))).digest() == digest
    assert len({digest, *(Directory(each).digest() for each in (swapped, fewer, other))}) == 4


@pytest.mark.rule("KEY-9")
@few
@given(at=st.integers(0, 63), flip=st.integers(1, 255), bit=st.integers(0, 255))
def test_what_is_not_that_clients_signature_is_refused(at: int, flip: int, bit: int) -> None:
    directory, good = _directory(1, 2), sign(secret=_identity(1), statement=STATEMENT)
    flipped = good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :]
    other = Digest((int.from_bytes(STATEMENT, "little") ^ 1 << bit).to_bytes(32, "little"))
    bad = [
        (ONE, flipped, STATEMENT),
        (ONE, good, other),
        (ONE, sign(secret=_identity(2), statement=STATEMENT), STATEMENT),
        (ONE, good[:at], STATEMENT),
        (ONE, good + b"x", STATEMENT),
        (TWO, good, STATEMENT),
        (THREE, good, STATEMENT),
    ]
    for signer, signature, statement in bad:
        with pytest.raises(ContributionError) as caught:
            directory.verify(signer=signer, signature=signature, statement=statement, field="bundle")
        assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("KEY-9", signer, "bundle")
    directory.verify(signer=ONE, signature=good, statement=STATEMENT)


@pytest.mark.rule("KEY-9")
def test_nobody_is_known_without_a_directory() -> None:
    good = sign(secret=_identity(1), statement=STATEMENT)
    for directory, signer in ((NO_IDENTITIES, ONE), (_directory(1), ClientId(SERVER))):
        with pytest.raises(ContributionError, match="no pinned directory") as caught:
            directory.verify(signer=signer, signature=good, statement=STATEMENT)
        assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("KEY-9", signer, "signature")


@pytest.mark.rule("KEY-7", "KEY-9")
@pytest.mark.parametrize("length", [0, 31, 33, 64, 10**6])
def test_nothing_but_a_digest_is_signed_or_verified(length: int) -> None:
    """Not even where the library's own signature over it would be good."""
    secret, statement = SigningKey(b"k" * 32), Digest(bytes(length))
    directory = Directory({ONE: identity_key(secret)})
    with pytest.raises(PreconditionError, match=f"KEY-7: a digest of 32 bytes is signed, .* got {length} bytes"):
        sign(secret=secret, statement=statement)
    with pytest.raises(PreconditionError, match="KEY-7"):
        directory.verify(signer=ONE, signature=secret.handle.sign(statement), statement=statement)


@pytest.mark.rule("KEY-6")
def test_a_purpose_is_ascii() -> None:
    known: dict[str, Any] = {"shared": bytes(32), "ctx": CTX, "purpose": "größe", "sender": ONE, "receiver": TWO}
    with pytest.raises(PreconditionError, match="KEY-6: a purpose is ASCII"):
        seal(b"plain", **known)
    with pytest.raises(PreconditionError, match="KEY-6: a purpose is ASCII"):
        unseal(bytes(21), **known)
