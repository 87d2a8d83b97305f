"""Random inputs for the operations with keys.   Spec: keys."""

from collections.abc import Mapping
from random import Random
from typing import Any

from clip_ref import keys
from clip_ref.canonical import prefixed
from clip_ref.oracle.draws import common
from clip_ref.oracle.operation import draws
from clip_ref.values import ClientId, Digest, SigningKey

_ORDER = 2**252 + 27742317777372353535851937790883648493
_FIELD = 2**255 - 19


@draws("keys.public_key")
def public_key(random: Random) -> Mapping[str, Any]:
    """Any secret, seldom one of another length."""
    return {"secret": common.secret(random)}


def peer_key(random: Random) -> bytes:
    """A canonical key; seldom one of low order, not reduced, or of another length."""
    if common.seldom(random, 6):
        low = (
            _FIELD,
            _FIELD + 1,
            _FIELD - 1,
            2**255 - 1,
            2**255 + 9,
            *(int.from_bytes(k, "little") for k in sorted(keys.LOW_ORDER)),
        )
        return random.choice((*(u.to_bytes(32, "little") for u in low), random.randbytes(31), random.randbytes(33)))
    u = 2 + random.getrandbits(random.choice((3, 64, 254)))
    return u.to_bytes(32, "little")


@draws("keys.agree")
def agree(random: Random) -> Mapping[str, Any]:
    """With a good peer or a bad one."""
    return {"secret": common.secret(random), "peer": common.client_id(random), "peer_key": peer_key(random)}


@draws("keys.pair_seed")
def pair_seed(random: Random) -> Mapping[str, Any]:
    """With a good peer or a bad one, whose id is another one."""
    me, peer = random.sample(common.client_ids(random, least=2), 2)
    return {**agree(random), "me": me, "peer": peer, "ctx": common.block(random)}


@draws("keys.self_mask_seed")
def self_mask_seed(random: Random) -> Mapping[str, Any]:
    """Any b, seldom of another length."""
    return {"self_seed": common.secret(random), "me": common.client_id(random), "ctx": common.block(random)}


def channel(random: Random) -> dict[str, Any]:
    """A channel between two clients."""
    sender, receiver = random.sample(common.client_ids(random, least=2), 2)
    known = {
        "shared": common.block(random),
        "ctx": common.block(random),
        "purpose": random.choice(("shares", "record", "")),
    }
    return {**known, "sender": sender, "receiver": receiver}


@draws("keys.seal")
def seal(random: Random) -> Mapping[str, Any]:
    """Any bytes; seldom between clients that there cannot be."""
    known = channel(random)
    if common.seldom(random, 10):
        known[random.choice(("sender", "receiver"))] = random.choice((-1, 2**32))
    return {"plain": common.data(random, 130), **known}


@draws("keys.unseal")
def unseal(random: Random) -> Mapping[str, Any]:
    """What was sealed; now and then tampered with, or by another channel."""
    known = channel(random)
    sealed = keys.seal(common.data(random, 100), **known)
    how = random.randrange(16)
    if how == 0:
        sealed = common.tampered(random, sealed)
    if how == 1:
        other = channel(random)
        name = random.choice(tuple(known))
        known[name] = other[name]
    return {"sealed": sealed, **known}


@draws("keys.sign")
def sign(random: Random) -> Mapping[str, Any]:
    """Any digest, by any identity; now and then something that is no digest."""
    statement = common.block(random)
    return {
        "secret": common.secret(random),
        "statement": common.tampered(random, statement) if common.seldom(random) else statement,
    }


def bad_signature(random: Random, signature: bytes) -> bytes:
    """The signature in another form."""
    if common.seldom(random, 3):
        return signature[:32] + (int.from_bytes(signature[32:], "little") + _ORDER).to_bytes(32, "little")
    return common.tampered(random, signature)


_SECRETS = tuple(SigningKey(prefixed(bytes((k,))).ljust(32, b"\x05")) for k in range(4))
IDENTITIES = tuple((secret, keys.identity_key(secret)) for secret in _SECRETS)
"""Identities, made once: (secret, public key)."""


def directory(random: Random, clients: list[ClientId]) -> tuple[dict[ClientId, bytes], dict[ClientId, SigningKey]]:
    """The public and the secret keys of some clients."""
    found = [(u, random.choice(IDENTITIES)) for u in clients]
    return {u: key for u, (_, key) in found}, {u: secret for u, (secret, _) in found}


@draws("keys.verify")
def verify(random: Random) -> Mapping[str, Any]:
    """A good signature; now and then a bad one, over another statement or of another client."""
    clients = common.client_ids(random, least=1, most=4)
    public, secret = directory(random, clients)
    signer, statement = random.choice(clients), Digest(common.block(random))
    signature = keys.sign(secret=secret[signer], statement=statement)
    how = random.randrange(20)
    if how == 0:
        signature = bad_signature(random, signature)
    if how == 1:
        signer = common.client_id(random)
    if how == 2:
        statement = Digest(common.block(random))
    return {"directory": public, "signer": signer, "signature": signature, "statement": statement}


@draws("keys.directory_digest")
def directory_digest(random: Random) -> Mapping[str, Any]:
    """Up to six identities in any order."""
    clients: list[Any] = list(common.client_ids(random))
    random.shuffle(clients)
    if common.seldom(random, 10):
        clients.append(2**32)
    return {"directory": {u: common.block(random) for u in clients}}
