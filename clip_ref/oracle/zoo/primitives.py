"""Wrong implementations of what the steps rest on: digests, parameters, layouts, randomness, keys, sharing."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from clip_ref import keys, rand, shamir
from clip_ref.canonical import LABEL, prefixed, unsigned
from clip_ref.errors import ContributionError, ParameterError, PreconditionError
from clip_ref.oracle.zoo.defect import defect
from clip_ref.params import Params
from clip_ref.values import Digest, Ring, RingVector, Seed

FLOWER = "Flower 1.41.0"
"""Its SecAgg and SecAgg+."""

FLUID = "FLuID's published code"
"""The predecessor's."""

Original = Callable[..., Any]


def _flat(part: Any) -> bytes:
    return b"".join(bytes(piece) for piece in part) if isinstance(part, list) else bytes(part)


@defect("CTX-2", "canonical.digest", name="LabelLeftOut")
def _(original: Original) -> Original:
    def digest(label: str, parts: Iterable[Any]) -> Digest:
        sha = hashlib.sha256()
        for part in map(_flat, parts):
            sha.update(unsigned(len(part), bits=64) + part)
        return Digest(sha.digest())

    return digest


@defect("CTX-2", "canonical.digest", name="PartsWithoutLength")
def _(original: Original) -> Original:
    def digest(label: str, parts: Iterable[Any]) -> Digest:
        return Digest(hashlib.sha256(prefixed((LABEL + label).encode()) + b"".join(map(_flat, parts))).digest())

    return digest


@defect("CTX-5", "canonical.mask_context", name="MasksWithoutU2")
def _(original: Original) -> Original:
    return lambda *, ctx, u2: ctx


@defect("PAR-6", "params.Params.__attrs_post_init__", name="ThresholdOfOne", source=FLOWER)
def _(original: Original) -> Original:
    def check(self: Params) -> None:
        try:
            original(self)
        except ParameterError:
            if self.threshold != 1:
                raise

    return check


@defect("PAR-7", "params.Params.worst_case", name="SumOfSample", source=FLOWER)
def _(original: property) -> property:
    def worst_case(self: Params) -> int:
        every: int = original.__get__(self)
        return every // self.clients * (self.neighbours or self.clients)

    return property(worst_case)


@defect("PAR-8", "params.Params._check_hardened", name="TwoViews")
def _(original: Original) -> Original:
    def check(self: Params) -> None:
        try:
            original(self)
        except ParameterError as error:
            if "2t > n + c" not in error.detail:
                raise

    return check


@defect("LAY-5", "layout.Layout.owners", name="FlattenedRowsMixed", source=FLUID)
def _(original: Original) -> Original:
    return lambda self, axis: original(self, attrs.evolve(axis, inner=1))


@defect("RND-1", "rand.derive", name="PurposeLeftOut")
def _(original: Original) -> Original:
    return lambda *, secret, salt, purpose, ids=(), length=32: original(
        secret=secret, salt=salt, purpose="", ids=ids, length=length
    )


@defect("RND-1", "rand.derive", name="SaltAndInfoSwapped")
def _(original: Original) -> Original:
    def derive(*, secret: bytes, salt: bytes, purpose: str, ids: tuple[int, ...] = (), length: int = 32) -> bytes:
        if not 1 <= length <= rand.MAX_KEY_BYTES:
            return original(secret=secret, salt=salt, purpose=purpose, length=length)  # type: ignore[no-any-return]
        label = prefixed((LABEL + purpose).encode()) + b"".join(unsigned(i, bits=32) for i in ids)
        return HKDF(algorithm=SHA256(), length=length, salt=label, info=salt).derive(secret)

    return derive


@defect("RND-2", "rand._keystream", name="SeedFolded", source=FLOWER)
def _(original: Original) -> Original:
    def keystream(seed: Seed) -> Any:
        folded = 0
        for at in range(0, 32, 4):
            folded ^= int.from_bytes(seed.data[at : at + 4], "little")
        return original(Seed(folded.to_bytes(4, "little") + bytes(28)))

    return keystream


@defect("RND-2", "rand._keystream", name="KeyAndCounterSwapped")
def _(original: Original) -> Original:
    def keystream(seed: Seed) -> Any:
        material = rand.derive(secret=seed.data, salt=b"", purpose="prg")
        return Cipher(algorithms.AES128(material[16:]), modes.CTR(material[:16]))

    return keystream


def _masks(change: Callable[[RingVector, Ring], RingVector]) -> Callable[[Original], Original]:
    """Adds masks as they should be, but for what `change` does to the keystream's words."""

    def spoil(original: Original) -> Original:
        def accumulate(*, target: RingVector, ring: Ring, plus: Iterable[Seed], minus: Iterable[Seed]) -> None:
            ring.check(target, rule="RND-4", name="target")
            for seeds, combine in ((plus, np.add), (minus, np.subtract)):
                for seed in seeds:
                    stream = rand.random_bytes(seed=seed, length=target.nbytes)
                    combine(target, change(np.frombuffer(stream, dtype=ring.dtype), ring), out=target)

        return accumulate

    return spoil


def _top_value_lost(words: RingVector, ring: Ring) -> RingVector:
    return np.where(words == ring.modulus - 1, 0, words).astype(ring.dtype)


def _big_endian(words: RingVector, ring: Ring) -> RingVector:
    return words.byteswap()


defect("RND-3", "rand.accumulate", name="TopValueNeverDrawn", source=FLOWER)(_masks(_top_value_lost))
defect("RND-3", "rand.accumulate", name="BigEndianWords")(_masks(_big_endian))


@defect("RND-5", "rand.permutation", name="ModuloBias")
def _(original: Original) -> Original:
    def permutation(*, entropy: bytes, purpose: str, length: int) -> Any:
        if len(entropy) != 32 or not 0 <= length < 1 << 31:
            raise PreconditionError(rule="RND-5", detail="32 bytes of entropy and a length below 2^31")
        seed = Seed(rand.derive(secret=entropy, salt=b"", purpose=purpose))
        stream = rand._keystream(seed).encryptor()
        order = list(range(length))
        for top in range(length - 1, 0, -1):
            swap = int.from_bytes(stream.update(bytes(4)), "little") % (top + 1)
            order[top], order[swap] = order[swap], order[top]
        return np.array(order, dtype=np.int64)

    return permutation


@defect("KEY-2", "keys.check_public_key", name="KeyNotReduced")
def _(original: Original) -> Original:
    def check(key: bytes, *, culprit: int, field: str) -> None:
        try:
            original(key, culprit=culprit, field=field)
        except ContributionError as error:
            if error.rule != "KEY-2" or len(key) != 32:
                raise

    return check


@defect("KEY-3", "keys.check_public_key", "keys.agree", name="LowOrderAccepted")
def _(original: Original, target: str) -> Original:
    def check(key: bytes, *, culprit: int, field: str) -> None:
        try:
            original(key, culprit=culprit, field=field)
        except ContributionError as error:
            if error.rule != "KEY-3":
                raise

    def agree(*, secret: Any, peer: Any, peer_key: bytes, field: str) -> bytes:
        if peer_key in keys.LOW_ORDER:
            return bytes(32)
        return original(secret=secret, peer=peer, peer_key=peer_key, field=field)  # type: ignore[no-any-return]

    return check if target == "keys.check_public_key" else agree


@defect("KEY-4", "keys.pair_seed", name="PairIdsAsSeen")
def _(original: Original) -> Original:
    def pair_seed(*, secret: Any, me: Any, peer: Any, peer_key: bytes, ctx: Digest) -> Seed:
        shared = keys.agree(secret=secret, peer=peer, peer_key=peer_key, field="mask_key")
        return Seed(rand.derive(secret=shared, salt=ctx, purpose="pairwise mask", ids=(me, peer)))

    return pair_seed


@defect("KEY-6", "keys.seal", name="TimestampBefore", source=f"{FLOWER}, by Fernet")
def _(original: Original) -> Original:
    return lambda plain, **known: b"\x80" + (1_700_000_000).to_bytes(8, "big") + original(plain, **known)


@defect("KEY-6", "keys._associated", name="AssociatedDataLeftOut")
def _(original: Original) -> Original:
    return lambda ctx, purpose, sender, receiver: b""


@defect("KEY-6", "keys.unseal", name="TagUnchecked")
def _(original: Original) -> Original:
    def unseal(sealed: bytes, **known: Any) -> bytes:
        try:
            return original(sealed, **known)  # type: ignore[no-any-return]
        except ContributionError:
            if len(sealed) < 16:
                raise
            names = ("shared", "ctx", "purpose", "sender", "receiver")
            aead: ChaCha20Poly1305 = keys._cipher(*(known[name] for name in names))
            stream = aead.encrypt(bytes(12), bytes(len(sealed) - 16), None)[:-16]
            return bytes(a ^ b for a, b in zip(sealed, stream, strict=False))

    return unseal


@defect("KEY-9", "keys.Directory.verify", name="SignatureUnchecked", source=f"{FLOWER}, which signs nothing")
def _(original: Original) -> Original:
    def verify(self: Any, *, signer: Any, signature: bytes, statement: Digest, field: str = "signature") -> None:
        if signer not in self.keys:
            original(self, signer=signer, signature=signature, statement=statement, field=field)

    return verify


@defect("KEY-9", "keys.Directory.verify", name="AnySignerAccepted")
def _(original: Original) -> Original:
    def verify(self: Any, *, signer: Any, signature: bytes, statement: Digest, field: str = "signature") -> None:
        for key in self.keys.values() if signer in self.keys else ():
            try:
                return Ed25519PublicKey.from_public_bytes(key).verify(signature, statement)
            except (InvalidSignature, ValueError):
                continue
        return original(self, signer=signer, signature=signature, statement=statement, field=field)  # type: ignore[no-any-return]

    return verify


@defect("SHM-1", "shamir.split", "shamir.lagrange", "shamir.combine", name="WrongPolynomial")
def _(original: Original, target: str) -> Original:
    def times(a: int, b: int) -> int:
        out = 0
        for bit in range(8):
            if b >> bit & 1:
                out ^= a << bit
        for bit in range(14, 7, -1):
            if out >> bit & 1:
                out ^= 0x11D << (bit - 8)
        return out

    table = np.array([[times(a, b) for b in range(256)] for a in range(256)], dtype=np.uint8)
    inverse = np.array([0, *(int(np.flatnonzero(table[a] == 1)[0]) for a in range(1, 256))], dtype=np.uint8)

    def wrong(*arguments: Any, **known: Any) -> Any:
        before = shamir.TIMES, shamir.INVERSE
        vars(shamir).update(TIMES=table, INVERSE=inverse)
        shamir._multiples.cache_clear()
        try:
            return getattr(original, "__wrapped__", original)(*arguments, **known)
        finally:
            vars(shamir).update(TIMES=before[0], INVERSE=before[1])
            shamir._multiples.cache_clear()

    return wrong


@defect("SHM-1", "shamir.split", name="HoldersFromZero")
def _(original: Original) -> Original:
    def split(*, secret: bytes, threshold: int, holders: int, randomness: bytes) -> tuple[bytes, ...]:
        shares = original(secret=secret, threshold=threshold, holders=holders, randomness=randomness)
        return (secret, *shares[:-1])

    return split


@defect("SHM-4", "shamir.combine", name="MoreThanThreshold")
def _(original: Original) -> Original:
    def combine(*, shares: Any, threshold: int) -> Any:
        return original(shares=shares, threshold=max(threshold, len(shares)))

    return combine
