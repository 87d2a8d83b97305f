"""Operations with keys.   Spec: keys."""

from clip_ref import keys
from clip_ref.keys import Directory
from clip_ref.oracle.operation import operation
from clip_ref.values import ClientId, Digest, SecretKey, Seed, SigningKey


@operation("keys.public_key", "KEY-1")
def public_key(secret: bytes) -> bytes:
    """The X25519 public key of a secret."""
    return keys.public_key(SecretKey(secret))


@operation("keys.agree", "KEY-2", "KEY-3")
def agree(secret: bytes, peer: ClientId, peer_key: bytes) -> bytes:
    """The X25519 shared secret with a peer, whose key may be bad."""
    return keys.agree(secret=SecretKey(secret), peer=peer, peer_key=peer_key, field="channel_key")


@operation("keys.pair_seed", "KEY-2", "KEY-3", "KEY-4")
def pair_seed(secret: bytes, me: ClientId, peer: ClientId, peer_key: bytes, ctx: bytes) -> bytes:
    """The seed of the pairwise mask with a peer; `ctx` is the context of masks."""
    return keys.pair_seed(secret=SecretKey(secret), me=me, peer=peer, peer_key=peer_key, ctx=Digest(ctx)).data


@operation("keys.self_mask_seed", "KEY-5")
def self_mask_seed(self_seed: bytes, me: ClientId, ctx: bytes) -> bytes:
    """The seed of the self mask, from b_u; `ctx` is the context of masks."""
    return keys.self_mask_seed(self_seed=Seed(self_seed), me=me, ctx=Digest(ctx)).data


@operation("keys.seal", "KEY-6")
def seal(plain: bytes, shared: bytes, ctx: bytes, purpose: str, sender: ClientId, receiver: ClientId) -> bytes:
    """A sealed message of a channel."""
    return keys.seal(plain, shared=shared, ctx=Digest(ctx), purpose=purpose, sender=sender, receiver=receiver)


@operation("keys.unseal", "KEY-6")
def unseal(sealed: bytes, shared: bytes, ctx: bytes, purpose: str, sender: ClientId, receiver: ClientId) -> bytes:
    """What was sealed; refused, with the sender named, if it does not open."""
    return keys.unseal(sealed, shared=shared, ctx=Digest(ctx), purpose=purpose, sender=sender, receiver=receiver)


@operation("keys.sign", "KEY-7")
def sign(secret: bytes, statement: bytes) -> bytes:
    """The Ed25519 signature over a statement, which is a digest."""
    return keys.sign(secret=SigningKey(secret), statement=Digest(statement))


@operation("keys.verify", "KEY-9")
def verify(directory: dict[ClientId, bytes], signer: ClientId, signature: bytes, statement: bytes) -> bool:
    """True if the signature is the signer's over the statement; refused, with the signer named, if not."""
    Directory(directory).verify(signer=signer, signature=signature, statement=Digest(statement))
    return True


@operation("keys.directory_digest", "KEY-8")
def directory_digest(directory: dict[ClientId, bytes]) -> bytes:
    """The digest of a directory of identities."""
    return Directory(directory).digest()
