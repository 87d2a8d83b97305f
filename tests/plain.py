"""The same bytes worked out a second time, from `hashlib`, `hmac` and one AES block at a time: what vectors compare with."""

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

LABEL = b"clip-ref/v1/"


def le(value: int, width: int) -> bytes:
    return value.to_bytes(width, "little")


def prefixed(data: bytes) -> bytes:
    return le(len(data), 4) + data


def digest(label: bytes, *parts: bytes) -> bytes:
    """SHA-256 of the label and the parts, each after its length: four bytes for the label, eight for a part."""
    return hashlib.sha256(prefixed(LABEL + label) + b"".join(le(len(p), 8) + p for p in parts)).digest()


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """RFC 5869 with SHA-256."""
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    out, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


def derive(secret: bytes, salt: bytes, purpose: bytes, *ids: int) -> bytes:
    return hkdf(secret, salt, prefixed(LABEL + purpose) + b"".join(le(i, 4) for i in ids))


def aes_ctr(key: bytes, counter: bytes, length: int) -> bytes:
    """SP 800-38A: each counter block encrypted by itself, the counter a big-endian integer."""
    start = int.from_bytes(counter, "big")
    count = -(-length // 16)
    blocks = b"".join(((start + k) % (1 << 128)).to_bytes(16, "big") for k in range(count))
    return Cipher(algorithms.AES128(key), modes.ECB()).encryptor().update(blocks)[:length]


def keystream(seed: bytes, length: int) -> bytes:
    """What a mask's seed expands to."""
    material = derive(seed, b"", b"prg")
    return aes_ctr(material[:16], material[16:], length)


def x25519(scalar: bytes, point: bytes) -> bytes:
    """RFC 7748, section 5: the Montgomery ladder, swaps and all."""
    p = 2**255 - 19
    k = int.from_bytes(scalar, "little") & ~7 & ~(1 << 255) | 1 << 254
    u = (int.from_bytes(point, "little") & ~(1 << 255)) % p
    x2, z2, x3, z3, swapped = 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swapped ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swapped = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % p, u * (da - cb) ** 2 % p
        x2, z2 = aa * bb % p, e * (aa + 121665 * e) % p
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, p - 2, p) % p).to_bytes(32, "little")
