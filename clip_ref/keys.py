"""Keys: X25519 agreement, Ed25519 signatures, authenticated encryption, over `cryptography`.   Spec: keys, KEY-1..KEY-9."""

from collections.abc import Mapping
from typing import Final

import attrs
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clip_ref.canonical import digest, prefixed, unsigned
from clip_ref.errors import ContributionError, PreconditionError
from clip_ref.rand import derive
from clip_ref.values import NO_DIGEST, ClientId, Digest, SecretKey, Seed, SigningKey

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16

_FIELD: Final = 2**255 - 19

LOW_ORDER: Final = frozenset(
    u.to_bytes(KEY_BYTES, "little")
    for u in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _FIELD - 1,
    )
)
"""The canonical u-coordinates of order 1, 2, 4 and 8, on the curve and its twist: with them every secret gives zero."""

_NONCE: Final = bytes(12)


def public_key(secret: SecretKey) -> bytes:
    """The X25519 public key of `secret`: 32 bytes. One scalar multiplication."""
    return secret.handle.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def check_public_key(key: bytes, *, culprit: int, field: str) -> None:
    """KEY-2, KEY-3: refuse (`ContributionError`) a key of the wrong length, not reduced modulo 2²⁵⁵ − 19, or of low order."""
    if len(key) != KEY_BYTES or int.from_bytes(key, "little") >= _FIELD:
        raise ContributionError(rule="KEY-2", culprit=culprit, field=field, detail="not a canonical X25519 public key")
    if key in LOW_ORDER:
        raise ContributionError(rule="KEY-3", culprit=culprit, field=field, detail="a point of low order")


def agree(*, secret: SecretKey, peer: ClientId, peer_key: bytes, field: str) -> bytes:
    """The X25519 shared secret: 32 bytes, never all zero (`ContributionError`, KEY-3). One scalar multiplication."""
    check_public_key(peer_key, culprit=peer, field=field)
    return secret.handle.exchange(X25519PublicKey.from_public_bytes(peer_key))


def pair_seed(*, secret: SecretKey, me: ClientId, peer: ClientId, peer_key: bytes, ctx: Digest) -> Seed:
    """KEY-4: the seed of the pairwise mask of `me` and `peer`; both derive the same one, in this context only."""
    shared = agree(secret=secret, peer=peer, peer_key=peer_key, field="mask_key")
    low, high = min(me, peer), max(me, peer)
    return Seed(derive(secret=shared, salt=ctx, purpose="pairwise mask", ids=(low, high)))


def self_mask_seed(*, self_seed: Seed, me: ClientId, ctx: Digest) -> Seed:
    """KEY-5: the seed of the self mask that `me` expands, from its b_u and the context."""
    return Seed(derive(secret=self_seed.data, salt=ctx, purpose="self mask", ids=(me,)))


def _cipher(shared: bytes, ctx: Digest, purpose: str, sender: ClientId, receiver: ClientId) -> ChaCha20Poly1305:
    """KEY-6: one key per context, purpose and direction, used for a single message: the nonce is constant."""
    return ChaCha20Poly1305(derive(secret=shared, salt=ctx, purpose=f"channel {purpose}", ids=(sender, receiver)))


def _associated(ctx: Digest, purpose: str, sender: ClientId, receiver: ClientId) -> bytes:
    if not purpose.isascii():
        raise PreconditionError(rule="KEY-6", detail=f"a purpose is ASCII, got {purpose!r}")
    ids = sender.to_bytes(4, "little") + receiver.to_bytes(4, "little")
    return ctx + prefixed(purpose.encode("ascii")) + ids


def seal(plain: bytes, *, shared: bytes, ctx: Digest, purpose: str, sender: ClientId, receiver: ClientId) -> bytes:
    """Encrypt `plain` for `receiver`: len(plain) + 16 bytes, ChaCha20-Poly1305 under a key of this message's own."""
    aead = _cipher(shared, ctx, purpose, sender, receiver)
    return aead.encrypt(_NONCE, plain, _associated(ctx, purpose, sender, receiver))


def unseal(sealed: bytes, *, shared: bytes, ctx: Digest, purpose: str, sender: ClientId, receiver: ClientId) -> bytes:
    """Decrypt what `sender` sealed for `receiver`; `ContributionError` (KEY-6) names `sender` if it does not open."""
    aead = _cipher(shared, ctx, purpose, sender, receiver)
    try:
        return aead.decrypt(_NONCE, sealed, _associated(ctx, purpose, sender, receiver))
    except InvalidTag:
        raise ContributionError(
            rule="KEY-6",
            culprit=sender,
            field=purpose,
            detail="the ciphertext does not open in this round and direction",
        ) from None


SIGNATURE_BYTES: Final = 64


def identity_key(secret: SigningKey) -> bytes:
    """The Ed25519 public key of a long-term identity: 32 bytes."""
    return secret.handle.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def sign(*, secret: SigningKey, statement: Digest) -> bytes:
    """KEY-7: the Ed25519 signature over a labelled digest: 64 bytes, deterministic."""
    _check_statement(statement)
    return secret.handle.sign(statement)


def _check_statement(statement: bytes) -> None:
    """KEY-7: a digest, and nothing else, is what signatures are over."""
    if len(statement) != 32:
        raise PreconditionError(
            rule="KEY-7", detail=f"a digest of 32 bytes is signed, and nothing else; got {len(statement)} bytes"
        )


def _ascending(keys: Mapping[ClientId, bytes]) -> dict[ClientId, bytes]:
    return dict(sorted(keys.items()))


@attrs.frozen
class Directory:
    """KEY-8: the long-term identity of every client, pinned out of band: a server that supplies it makes signatures void."""

    keys: Mapping[ClientId, bytes] = attrs.field(converter=_ascending)
    """Each client's Ed25519 public key, 32 bytes, in ascending id."""

    def digest(self) -> Digest:
        """What enters the context; all zero for an empty directory, which security level `basic` has."""
        if not self.keys:
            return NO_DIGEST
        return digest("directory", (unsigned(u, bits=32) + key for u, key in self.keys.items()))

    def verify(self, *, signer: ClientId, signature: bytes, statement: Digest, field: str = "signature") -> None:
        """KEY-9: refuse (`ContributionError`, naming the signer) whatever is not its signature over `statement`."""
        _check_statement(statement)
        try:
            Ed25519PublicKey.from_public_bytes(self.keys[signer]).verify(signature, statement)
        except KeyError:
            raise ContributionError(
                rule="KEY-9", culprit=signer, field=field, detail="is in no pinned directory of identities"
            ) from None
        except (InvalidSignature, ValueError):
            raise ContributionError(
                rule="KEY-9", culprit=signer, field=field, detail="is not that client's signature over this message"
            ) from None


NO_IDENTITIES: Final = Directory({})
"""The directory at security level `basic`."""
