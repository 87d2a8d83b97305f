"""The vectors of the first ten steps, worked out once more: from the words of the specification, with other tools.

Keystreams come from `openssl enc`, derived keys from `openssl kdf`, what is on Curve25519 and what is sealed from libsodium
by way of PyNaCl, digests from hashlib over bytes that are put together here, and numbers from the RFCs and FIPS 197 where they
have them. Nothing of the package takes part: cases are JSON, and so is what comes out.
"""

import hashlib
import math
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import cache, reduce
from itertools import accumulate
from typing import Any, Final

import pytest
from nacl import bindings, exceptions

from clip_ref.oracle.case import Case
from clip_ref.oracle.operation import OPERATIONS
from clip_ref.oracle.vectors import load_cases

Json = Any

STEPS: Final = (
    "context", "parameters", "layout", "randomness", "keys", "shamir", "wire", "messages", "agreement", "broadcast",
)  # fmt: skip

SERVER: Final = 2**32 - 1
P: Final = 2**255 - 19


def _openssl_3() -> bool:
    found = shutil.which("openssl")
    if found is None:
        return False
    said = subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout
    return said.startswith("OpenSSL") and int(said.split()[1].partition(".")[0]) >= 3


pytestmark = pytest.mark.skipif(not _openssl_3(), reason="needs OpenSSL's command line, version 3 or later")


class Refused(Exception):
    """What must be refused."""


WORKED: Final[dict[str, Callable[[dict[str, Json]], Json]]] = {}
"""By operation: what it comes to."""

JUDGED: Final[set[str]] = set()
"""The operations whose refusals are worked out, too."""


def works(name: str, *, judges: bool = False) -> Callable[[Callable[..., Json]], Callable[..., Json]]:
    def enter(function: Callable[..., Json]) -> Callable[..., Json]:
        WORKED[name] = lambda inputs: function(**inputs)
        if judges:
            JUDGED.add(name)
        return function

    return enter


def h(text: str) -> bytes:
    return bytes.fromhex(text)


def le(value: int, width: int) -> bytes:
    if not 0 <= value < 1 << (8 * width):
        raise Refused(f"{value} does not fit in {width} bytes")
    return value.to_bytes(width, "little")


def counted(data: bytes) -> bytes:
    return le(len(data), 4) + data


def digest(label: str, *parts: bytes) -> bytes:
    whole = counted(b"clip-ref/v1/" + label.encode()) + b"".join(le(len(part), 8) + part for part in parts)
    return hashlib.sha256(whole).digest()


def exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise Refused(f"{len(data)} bytes, not {size}")
    return data


def ascending(ids: list[int]) -> list[int]:
    if sorted(set(ids)) != ids or not all(0 <= u < SERVER for u in ids):
        raise Refused(f"{ids} do not ascend")
    return ids


def by_id(found: dict[str, Json]) -> list[tuple[int, Json]]:
    return sorted((int(u), value) for u, value in found.items())


def run(*arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


# Context


@works("context.digest", judges=True)
def _digest(label: str, parts: list[str]) -> str:
    held_to(label.isascii())
    return digest(label, *map(h, parts)).hex()


@works("context.model_digest")
def _model_digest(model: str) -> str:
    return digest("model", b"<f4", h(model)).hex()


def context(fields: dict[str, str]) -> list[bytes]:
    digests = [h(fields[name]) for name in ("config", "directory", "model", "history")]
    target = int(fields["target"])
    last = [le(target, 8)] if target else []
    return [exactly(h(fields["session"]), 16), le(int(fields["round"]), 8), *digests, *last]


@works("context.ctx0", judges=True)
def _ctx0(**fields: str) -> str:
    return digest("context0", *context(fields)).hex()


@works("context.ctx", judges=True)
def _ctx(**fields: str) -> str:
    return digest("context", *context(fields), h(fields["roster"])).hex()


@works("context.masks", judges=True)
def _masks(ctx: str, u2: list[int]) -> str:
    return digest("context of masks", h(ctx), *(le(u, 4) for u in sorted(u2))).hex()


# Parameters


POLICY = (
    "straggler_share", "margin", "grid", "network_aware", "score", "selection", "threshold", "slack_seed", "age_cap", "mean",
    "holder_cap", "anonymity_blocks", "spread", "bucket_first", "bucket_ratio", "bucket_count", "min_roster", "warm_up",
    "deadline",
)  # fmt: skip
ENCODING = ("ring_bits", "clip", "value_bits", "weighting", "weight_max")
PARAMS = ("clients", "neighbours", "threshold", "min_survivors", "colluders", "policy", "encoding", "security")


def params_digest(params: Json) -> bytes:
    def fields(found: Json, names: Iterable[str]) -> Iterator[bytes]:
        for name in names:
            yield name.encode()
            value = found[name]
            if isinstance(value, dict):
                yield from fields(value, POLICY if name == "policy" else ENCODING)
            elif isinstance(value, list):
                yield ",".join(map(str, value)).encode()
            else:
                yield str(int(value) if isinstance(value, bool) else value).encode()

    return digest("params", *fields(params, PARAMS))


def holders(params: Json) -> int:
    return int(params["neighbours"] + 1 if params["neighbours"] else params["clients"])


@works("parameters.derive", judges=True)
def _derive(params: Json) -> Json:
    policy, encoding = params["policy"], params["encoding"]
    check_policy(policy)
    check_encoding(encoding)
    check_params(params)
    return {
        "digest": params_digest(params).hex(),
        "holders": holders(params),
        "extras": len(policy["grid"]) + (policy["bucket_count"] if params["neighbours"] else 0),
        "block_size": params["colluders"] + 2 if policy["anonymity_blocks"] else 1,
        "worst_case": str(largest_sum(params)),
    }


def largest_sum(params: Json) -> int:
    policy, encoding = params["policy"], params["encoding"]
    n, cap = params["clients"], policy["holder_cap"]
    scaling = {"holder": n, "strata": n * policy["straggler_share"] // 1000}.get(policy["mean"], 0)
    terms = (n - scaling) + scaling * cap
    return int(terms * encoding["weight_max"] * (2 ** (encoding["value_bits"] - 1) - 1))


def held_to(*conditions: bool) -> None:
    if not all(conditions):
        raise Refused(f"condition {conditions.index(False)}")


def check_policy(policy: Json) -> None:
    grid, cap = policy["grid"], policy["age_cap"]
    ratios = [(policy["straggler_share"], 500), (policy["margin"], 1000), (policy["threshold"], 10000)]
    held_to(*(0 <= value <= most for value, most in ratios))
    held_to(1 <= len(grid) <= 64)
    held_to(grid[0] == 1000, grid == sorted(set(grid), reverse=True), grid[-1] >= 1)
    held_to(cap == 0 or cap * grid[-1] >= 2000, policy["min_roster"] >= 0, policy["warm_up"] >= 1)
    held_to(1 <= policy["holder_cap"] <= 64, policy["bucket_first"] >= 1, 1001 <= policy["bucket_ratio"] <= 2000)
    held_to(1 <= policy["bucket_count"] <= 4096, 0 <= policy["deadline"] < 2**53)
    hidden = policy["selection"] == "paper" and policy["slack_seed"] == "records"
    held_to(not (policy["mean"] == "levels" and (hidden or policy["spread"])))


def check_encoding(encoding: Json) -> None:
    clip = encoding["clip"]
    held_to(encoding["ring_bits"] in (32, 64), bool(re.fullmatch(r"0x[01]\.[0-9a-f]{13}p[+-][0-9]+", clip)))
    held_to(2 <= encoding["value_bits"] <= 32, 1 <= encoding["weight_max"] < 2**32)


def check_params(params: Json) -> None:
    n, k, t, c = (params[name] for name in ("clients", "neighbours", "threshold", "colluders"))
    policy, survivors = params["policy"], params["min_survivors"]
    if k:
        held_to(k % 2 == 0, 2 <= k <= 254, k < n - 1, n <= 2**20, t <= survivors <= n)
        held_to(policy["mean"] in ("levels", "dilute"), not policy["spread"])
        held_to(not policy["anonymity_blocks"], policy["network_aware"])
        held_to(not (policy["selection"] == "paper" and policy["slack_seed"] == "records"))
    else:
        held_to(2 <= n <= 255, survivors == t)
    held_to(2 <= t <= holders(params), 0 <= c < t)
    held_to(largest_sum(params) < 2 ** (params["encoding"]["ring_bits"] - 1))
    if params["security"] == "hardened":
        candidates = policy["straggler_share"] * holders(params) // 1000 if policy["anonymity_blocks"] else 0
        held_to(2 * t > holders(params) + c, t - candidates >= c + 2)


@works("parameters.thresholds", judges=True)
def _thresholds(params: Json, clients: int, neighbours: int) -> Json:
    def default(of: int) -> int:
        return min(of, 2 * of // 3 + 1)

    many = neighbours + 1 if neighbours else clients
    said = {"threshold": default(many), "min_survivors": default(clients)}
    _derive({**params, "clients": clients, "neighbours": neighbours, **said})
    return said


@works("parameters.config", judges=True)
def _config(params: Json, layout: Json) -> str:
    _derive(params)
    return digest("config", params_digest(params), h(_describe(layout)["digest"])).hex()


# Layouts


@works("layout.describe", judges=True)
def _describe(layout: Json) -> Json:
    layers, tensors = layout["layers"], layout["tensors"]
    neurons = {layer["name"]: layer["neurons"] for layer in layers}
    held_to(len(neurons) == len(layers), len({t["name"] for t in tensors}) == len(tensors) > 0)
    held_to(all(count >= 1 for count in neurons.values()))
    for tensor in tensors:
        owners = [axis["layer"] for axis in tensor["axes"] if axis["layer"] is not None]
        held_to(set(owners) <= set(neurons), all(owners.count(layer) <= 2 for layer in owners))
        held_to(all(axis["size"] >= 1 and axis["inner"] >= 1 for axis in tensor["axes"]))
        owned = [axis for axis in tensor["axes"] if axis["layer"] is not None]
        held_to(all(axis["size"] % (axis["inner"] * neurons[axis["layer"]]) == 0 for axis in owned))
    for layer in neurons:
        touched = [t for t in tensors if layer in [axis["layer"] for axis in t["axes"]]]
        held_to(bool(touched), sum(map(weights, touched)) <= 2**26)
    parts = [le(layer["neurons"], 8) + counted(layer["name"].encode()) for layer in layers]
    for tensor in tensors:
        axes = b"".join(
            le(a["size"], 8) + le(a["inner"], 8) + le(a["layer"] is not None, 1) + counted((a["layer"] or "").encode())
            for a in tensor["axes"]
        )
        parts.append(counted(tensor["name"].encode()) + le(tensor["uses"], 8) + le(len(tensor["axes"]), 4) + axes)
    return {"size": sum(map(weights, tensors)), "digest": digest("layout", *parts).hex()}


def weights(tensor: Json) -> int:
    return math.prod(axis["size"] for axis in tensor["axes"])


def check_kept(layout: Json, kept: dict[str, list[int]]) -> dict[str, int]:
    _describe(layout)
    neurons = {layer["name"]: layer["neurons"] for layer in layout["layers"]}
    held_to(set(kept) == set(neurons))
    for name, stays in kept.items():
        held_to(bool(stays), stays == sorted(set(stays)), all(0 <= j < neurons[name] for j in stays))
    return neurons


@works("layout.held", judges=True)
def _held(layout: Json, kept: dict[str, list[int]]) -> str:
    neurons, bits = check_kept(layout, kept), []
    for tensor in layout["tensors"]:
        for flat in range(weights(tensor)):
            stays, rest = True, flat
            for axis in reversed(tensor["axes"]):
                rest, index = divmod(rest, axis["size"])
                if axis["layer"] is not None:
                    stays &= index // axis["inner"] % neurons[axis["layer"]] in kept[axis["layer"]]
            bits.append("01"[stays])
    return "".join(bits)


@works("layout.shrunk", judges=True)
def _shrunk(layout: Json, kept: dict[str, list[int]]) -> Json:
    neurons = check_kept(layout, kept)

    def axis(of: Json) -> Json:
        stays = 1 if of["layer"] is None else len(kept[of["layer"]]) / neurons[of["layer"]]
        return {**of, "size": round(of["size"] * stays)}

    tensors = [{**tensor, "axes": list(map(axis, tensor["axes"]))} for tensor in layout["tensors"]]
    return {
        "tensors": tensors,
        "layers": [{"name": x["name"], "neurons": len(kept[x["name"]])} for x in layout["layers"]],
    }


# Randomness, by OpenSSL


@cache
def derived(secret: bytes, salt: bytes, purpose: str, *ids: int, length: int = 32) -> bytes:
    info = counted(b"clip-ref/v1/" + purpose.encode()) + b"".join(le(u, 4) for u in ids)
    held_to(1 <= length <= 255 * 32)
    options = {"digest": "SHA2-256", "hexkey": secret.hex(), "hexinfo": info.hex()} | (
        {"hexsalt": salt.hex()} if salt else {}
    )
    said = [word for name, value in options.items() for word in ("-kdfopt", f"{name}:{value}")]
    return run("kdf", "-binary", "-keylen", str(length), *said, "HKDF")


@cache
def keystream(seed: bytes, length: int) -> bytes:
    made = derived(exactly(seed, 32), b"", "prg")
    return (
        run("enc", "-aes-128-ctr", "-K", made[:16].hex(), "-iv", made[16:].hex(), data=bytes(length)) if length else b""
    )


@works("randomness.derive", judges=True)
def _derived(secret: str, salt: str, purpose: str, ids: list[int], length: int) -> str:
    return derived(h(secret), h(salt), purpose, *ids, length=length).hex()


@works("randomness.bytes", judges=True)
def _bytes(seed: str, length: int) -> str:
    held_to(length >= 0)
    return keystream(h(seed), length).hex()


@works("randomness.mask", judges=True)
def _mask(seed: str, ring_bits: int, length: int) -> str:
    held_to(length >= 0)
    return keystream(h(seed), length * ring_bits // 8).hex()


@works("randomness.accumulate", judges=True)
def _accumulate(ring_bits: int, target: str, plus: list[str], minus: list[str]) -> str:
    width = ring_bits // 8

    def words(data: bytes) -> list[int]:
        held_to(len(data) % width == 0)
        return [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]

    total = words(h(target))
    for seeds, sign in ((plus, 1), (minus, -1)):
        for seed in seeds:
            mask = words(keystream(h(seed), len(total) * width))
            total = [(a + sign * b) % 2**ring_bits for a, b in zip(total, mask, strict=True)]
    return b"".join(le(word, width) for word in total).hex()


@works("randomness.permutation", judges=True)
def _permutation(entropy: str, purpose: str, length: int) -> list[int]:
    held_to(len(h(entropy)) == 32, 0 <= length < 2**31)
    stream = keystream(derived(h(entropy), b"", purpose), 8 * length + 64)
    words = iter([int.from_bytes(stream[at : at + 4], "little") for at in range(0, len(stream), 4)])
    order = list(range(length))
    for top in range(length - 1, 0, -1):
        word = next(word for word in words if word < 2**32 - 2**32 % (top + 1))
        order[top], order[word % (top + 1)] = order[word % (top + 1)], order[top]
    return order


# Keys, by libsodium


def check_key(key: bytes) -> bytes:
    """Canonical, and not of low order: libsodium multiplies by 8 to find out, and says so where nothing is left."""
    held_to(len(key) == 32, int.from_bytes(key, "little") < P)
    try:
        bindings.crypto_scalarmult(le(8, 32), key)
    except exceptions.RuntimeError as error:
        raise Refused("low order") from error
    return key


def agreed(secret: str, key: str) -> bytes:
    return bindings.crypto_scalarmult(exactly(h(secret), 32), check_key(h(key)))


@works("keys.public_key", judges=True)
def _public_key(secret: str) -> str:
    return bindings.crypto_scalarmult_base(exactly(h(secret), 32)).hex()


@works("keys.agree", judges=True)
def _agree(secret: str, peer: int, peer_key: str) -> str:
    return agreed(secret, peer_key).hex()


@works("keys.pair_seed", judges=True)
def _pair_seed(secret: str, me: int, peer: int, peer_key: str, ctx: str) -> str:
    return derived(agreed(secret, peer_key), h(ctx), "pairwise mask", min(me, peer), max(me, peer)).hex()


@works("keys.self_mask_seed", judges=True)
def _self_mask_seed(self_seed: str, me: int, ctx: str) -> str:
    return derived(exactly(h(self_seed), 32), h(ctx), "self mask", me).hex()


def channel(shared: str, ctx: str, purpose: str, sender: int, receiver: int) -> tuple[bytes, bytes, bytes]:
    """Associated data, nonce and key."""
    data = h(ctx) + counted(purpose.encode()) + le(sender, 4) + le(receiver, 4)
    return data, bytes(12), derived(h(shared), h(ctx), f"channel {purpose}", sender, receiver)


@works("keys.seal", judges=True)
def _seal(plain: str, **known: Any) -> str:
    return bindings.crypto_aead_chacha20poly1305_ietf_encrypt(h(plain), *channel(**known)).hex()


@works("keys.unseal", judges=True)
def _unseal(sealed: str, **known: Any) -> str:
    held_to(len(h(sealed)) >= 16)
    try:
        return bindings.crypto_aead_chacha20poly1305_ietf_decrypt(h(sealed), *channel(**known)).hex()
    except exceptions.CryptoError as error:
        raise Refused("does not open") from error


@works("keys.sign", judges=True)
def _sign(secret: str, statement: str) -> str:
    _, pair = bindings.crypto_sign_seed_keypair(exactly(h(secret), 32))
    return bindings.crypto_sign(exactly(h(statement), 32), pair)[:64].hex()


@works("keys.verify", judges=True)
def _verify(directory: dict[str, str], signer: int, signature: str, statement: str) -> bool:
    held_to(str(signer) in directory)
    key = exactly(h(directory[str(signer)]), 32)
    try:
        bindings.crypto_sign_open(exactly(h(signature), 64) + h(statement), key)
    except exceptions.BadSignatureError as error:
        raise Refused("not that client's") from error
    return True


@works("keys.directory_digest", judges=True)
def _directory_digest(directory: dict[str, str]) -> str:
    parts = [le(u, 4) + h(key) for u, key in by_id(directory)]
    return (digest("directory", *parts) if parts else bytes(32)).hex()


# Secret sharing, bit by bit


@cache
def times(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


@cache
def inverse(a: int) -> int:
    return reduce(times, [a] * 254)


def summed(terms: Iterable[int]) -> int:
    return reduce(lambda a, b: a ^ b, terms, 0)


@works("shamir.split", judges=True)
def _split(secret: str, threshold: int, holders: int, randomness: str) -> list[str]:
    size = len(h(secret))
    held_to(2 <= threshold <= holders <= 255, size > 0, len(h(randomness)) == (threshold - 1) * size)
    data = h(secret) + h(randomness)
    coefficients = [data[at : at + size] for at in range(0, len(data), size)]

    def share(x: int) -> bytes:
        powers = list(accumulate([1, *[x] * (threshold - 1)], times))
        return bytes(
            summed(times(c[at], power) for c, power in zip(coefficients, powers, strict=True)) for at in range(size)
        )

    return [share(x).hex() for x in range(1, holders + 1)]


@works("shamir.lagrange", judges=True)
def _lagrange(points: list[int]) -> str:
    held_to(len(points) > 0, len(set(points)) == len(points), all(1 <= x <= 255 for x in points))
    others = [[y for y in points if y != x] for x in points]
    pairs = zip(points, others, strict=True)
    return bytes(reduce(times, [times(y, inverse(y ^ x)) for y in rest], 1) for x, rest in pairs).hex()


@works("shamir.combine", judges=True)
def _combine(shares: dict[str, str], threshold: int) -> str:
    held_to(len(shares) == threshold, len({len(share) for share in shares.values()}) == 1)
    found = by_id(shares)
    factors = h(_lagrange([x for x, _ in found]))
    rows = [h(share) for _, share in found]
    return bytes(
        summed(times(f, row[at]) for f, row in zip(factors, rows, strict=True)) for at in range(len(rows[0]))
    ).hex()


# The wire, field by field


KINDS = (
    "Open", "Advertise", "Roster", "ShareKeys", "Deliver", "MaskedInput", "Announce", "Consistent", "Agreed", "Unmask",
    "Neighbourhood",
)  # fmt: skip
DIGESTS = ("config", "directory", "model", "history")


def listed(items: list[Json], entry: Callable[[Json], bytes]) -> bytes:
    return le(len(items), 4) + b"".join(map(entry, items))


def keyed(entry: Json, size: int) -> bytes:
    return le(entry[0], 4) + exactly(h(entry[1]), size)


def bundled(b: Json) -> bytes:
    keys = exactly(h(b["channel_key"]), 32) + exactly(h(b["mask_key"]), 32)
    return keys + h(b["record_commitment"]) + h(b["seed_commitment"])


def enveloped(e: Json) -> bytes:
    return le(e["peer"], 4) + counted(h(e["shares"])) + counted(h(e["record"])) + h(e["commitments"])


def placed(m: Json) -> bytes:
    b = m["bundle"]
    proof = le(len(m["proof"]), 1) + b"".join(map(h, m["proof"]))
    return le(m["position"], 4) + le(b["sender"], 4) + bundled(b) + h(b["signature"]) + proof


BODIES: Final[dict[str, Callable[[Json], bytes]]] = {
    "Open": lambda f: b"".join(exactly(h(f[name]), 32) for name in DIGESTS) + le(int(f["target"]), 8),
    "Advertise": bundled,
    "Roster": lambda f: listed(f["bundles"], lambda b: le(b["sender"], 4) + bundled(b) + h(b["signature"])),
    "ShareKeys": lambda f: listed(f["envelopes"], enveloped) + h(f["own_commitments"]),
    "Deliver": lambda f: listed(f["envelopes"], enveloped) + counted(h(f["u2"])) + h(f["model"]),
    "MaskedInput": lambda f: h(f["vector"]),
    "Announce": lambda f: listed(f["survivors"], lambda u: le(u, 4)) + counted(h(f["u3"])),
    "Consistent": lambda f: exactly(h(f["statement"]), 32),
    "Agreed": lambda f: listed(f["signatures"], lambda e: keyed(e, 64)),
    "Unmask": lambda f: (
        listed(f["self_shares"], lambda e: keyed(e, 32)) + listed(f["key_shares"], lambda e: keyed(e, 32))
    ),
    "Neighbourhood": lambda f: le(f["count"], 4) + h(f["root"]) + listed(f["members"], placed),
}


def unsigned(kind: str, header: Json, fields: Json) -> bytes:
    place = exactly(h(header["session"]), 16) + le(int(header["round"]), 8) + le(header["sender"], 4)
    return b"CLIP" + le(1, 2) + le(KINDS.index(kind) + 1, 1) + place + BODIES[kind](fields)


@works("wire.encode", judges=True)
def _encode(kind: str, header: Json, fields: Json, ring_bits: int) -> str:
    held_to(len(h(fields.get("vector", ""))) % (ring_bits // 8) == 0)
    return (unsigned(kind, header, fields) + h(fields.get("signature", ""))).hex()


NUMBERS = ("down", "select", "mask", "up")


@works("wire.encode_record", judges=True)
def _encode_record(record: Json) -> str:
    flags = bytes(record[name] for name in ("has_time", "has_model", "was_straggler"))
    times_ = b"".join(le(int(n), 8) for n in (*(record[name] for name in NUMBERS), *record["fit"]))
    return (flags + times_ + le(record["weight"], 4) + exactly(h(record["entropy"]), 32)).hex()


@works("wire.decode_record", judges=True)
def _decode_record(data: str, lengths: Json, sender: int) -> Json:
    found, levels = h(data), lengths["levels"]
    held_to(len(found) == 71 + 8 * levels)
    held_to(max(found[:3]) <= 1)
    numbers = [str(int.from_bytes(found[at : at + 8], "little")) for at in range(3, 35 + 8 * levels, 8)]
    return {
        **{name: bool(flag) for name, flag in zip(("has_time", "has_model", "was_straggler"), found[:3], strict=True)},
        **dict(zip(NUMBERS, numbers[:4], strict=True)),
        "fit": numbers[4:],
        "weight": int.from_bytes(found[-36:-32], "little"),
        "entropy": found[-32:].hex(),
    }


# Messages, agreement, broadcast


@works("messages.check_advertise", judges=True)
def _check_advertise(bundle: Json) -> bool:
    held_to(check_key(h(bundle["channel_key"])) != check_key(h(bundle["mask_key"])))
    return True


@works("messages.check_ids", judges=True)
def _check_ids(ids: list[int]) -> bool:
    return bool(ascending(ids)) or not ids


@works("messages.roster_digest", judges=True)
def _roster_digest(bundles: list[Json]) -> str:
    return digest("roster", *(le(b["sender"], 4) + bundled(b) for b in bundles)).hex()


@works("agreement.commit_record", judges=True)
def _commit_record(record: Json, owner: int, ctx0: str) -> str:
    return digest("commit record", h(ctx0), le(owner, 4), h(_encode_record(record))).hex()


@works("agreement.commit_seed", judges=True)
def _commit_seed(seed: str, owner: int, ctx0: str) -> str:
    return digest("commit seed", h(ctx0), le(owner, 4), exactly(h(seed), 32)).hex()


@works("agreement.commit_share", judges=True)
def _commit_share(share: str, secret: str, owner: int, holder: int, ctx: str) -> str:
    held_to(secret.isascii())
    return digest("commit share", h(ctx), secret.encode(), le(owner, 4) + le(holder, 4), h(share)).hex()


@works("agreement.statement", judges=True)
def _statement(kind: str, header: Json, fields: Json, ring_bits: int, context: str) -> str:
    return digest("signed", h(context), unsigned(kind, header, fields)).hex()


@works("agreement.check_signature", judges=True)
def _check_signature(directory: dict[str, str], **said: Any) -> bool:
    return bool(_verify(directory, said["header"]["sender"], said["fields"]["signature"], _statement(**said)))


@works("agreement.views", judges=True)
def _views(ctx: str, u2: list[int], u3: list[int]) -> str:
    return digest("views", h(ctx), *(b"".join(le(u, 4) for u in sorted(ids)) for ids in (u2, u3))).hex()


@works("agreement.check_agreed", judges=True)
def _check_agreed(
    signatures: list[Json], views: str, u3: list[int], threshold: int, ctx: str, directory: dict[str, str], header: Json
) -> bool:
    signers = ascending([u for u, _ in signatures])
    held_to(set(signers) <= set(u3), len(signers) >= threshold)
    for u, signature in signatures:
        fields = {"statement": views, "signature": signature}
        _check_signature(
            directory, kind="Consistent", header={**header, "sender": u}, fields=fields, ring_bits=32, context=ctx
        )
    return True


@works("broadcast.seal", judges=True)
def _broadcast_seal(
    sender: int, receiver: int, shared: str, ctx: str, key_share: str, self_share: str, record: Json
) -> Json:
    held_to(sender != receiver, len(h(key_share)) == len(h(self_share)) == 32)
    ends: dict[str, Any] = {"shared": shared, "ctx": ctx, "sender": sender, "receiver": receiver}
    times_ = "" if record is None else _seal(_encode_record(record), purpose="record", **ends)
    shares = _seal(key_share + self_share, purpose="shares", **ends)
    return {"peer": receiver, "shares": shares, "record": times_, "commitments": ""}


@works("broadcast.open", judges=True)
def _broadcast_open(envelope: Json, receiver: int, shared: str, ctx: str, lengths: Json) -> Json:
    ends: dict[str, Any] = {"shared": shared, "ctx": ctx, "sender": envelope["peer"], "receiver": receiver}
    plain = _unseal(envelope["shares"], purpose="shares", **ends)
    held_to(len(plain) == 128)
    record = _decode_record(_unseal(envelope["record"], purpose="record", **ends), lengths, envelope["peer"])
    return {"key_share": plain[:64], "self_share": plain[64:], "record": record}


@works("broadcast.slack_entropy", judges=True)
def _slack_entropy(records: dict[str, Json], ctx: str) -> str:
    return digest("slack", h(ctx), *(le(u, 4) + h(_encode_record(record)) for u, record in by_id(records))).hex()


# The vectors


def cases_of(operation: str) -> list[Case]:
    return [case for case in load_cases(operation.partition(".")[0]) if case.operation == operation]


@pytest.mark.rule(
    "CNF-4", "CTX-1", "CTX-2", "CTX-3", "CTX-4", "CTX-5", "PAR-9", "LAY-5", "LAY-7", "RND-1", "RND-2", "RND-3", "RND-4",
    "RND-5", "RND-6", "KEY-4", "KEY-5", "KEY-6", "KEY-7", "KEY-8", "KEY-9", "SHM-1", "SHM-2", "SHM-3", "SHM-5", "WIR-1",
    "WIR-2", "MSG-3", "AGR-1", "AGR-2", "AGR-3", "AGR-4", "AGR-6", "AGR-8", "BRO-1", "BRO-2", "BRO-3", "BRO-5",
)  # fmt: skip
@pytest.mark.parametrize("operation", WORKED)
def test_the_vectors_are_what_other_tools_say(operation: str) -> None:
    for case in cases_of(operation):
        if case.result == "valid":
            assert WORKED[operation](case.inputs) == case.said["output"], (case.id, case.comment)


@pytest.mark.rule(
    "CNF-4", "PAR-6", "PAR-7", "PAR-8", "PAR-10", "LAY-1", "LAY-4", "KEY-2", "KEY-3", "KEY-6", "KEY-9", "AGR-7"
)
@pytest.mark.parametrize("operation", sorted(JUDGED))
def test_what_the_vectors_refuse_is_refused_here(operation: str) -> None:
    for case in cases_of(operation):
        if case.result == "invalid":
            with pytest.raises(Refused):
                pytest.fail(f"{case.id} ({case.comment}) came to {WORKED[operation](case.inputs)}")


@pytest.mark.rule("WIR-1", "WIR-3")
def test_what_the_vectors_decode_to_has_those_bytes() -> None:
    taken = [case for case in cases_of("wire.decode") if case.result == "valid"]
    for case in taken:
        told = {name: case.inputs[name] for name in ("kind",)}
        encoded = _encode(**told, header=case.inputs["expected"], fields=case.said["output"], ring_bits=32)
        assert encoded == case.inputs["data"], (case.id, case.comment)
    assert {case.inputs["kind"] for case in taken} == set(KINDS)


def test_no_operation_of_these_steps_is_left_out() -> None:
    assert set(WORKED) | {"wire.decode"} == {name for name, asked in OPERATIONS.items() if asked.step in STEPS}
    assert set(WORKED) - JUDGED == {"context.model_digest"}


def output(operation: str, comment: str) -> Json:
    (found,) = (case for case in cases_of(operation) if case.comment.startswith(comment))
    return found.said["output"]


@pytest.mark.rule("KEY-1", "KEY-2", "SHM-1")
def test_published_numbers_stand_in_the_vectors() -> None:
    alice = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert output("keys.public_key", "Alice's of RFC 7748") == alice
    both = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert output("keys.agree", "Alice and Bob of RFC 7748") == output("keys.agree", "Bob and Alice") == both
    first = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    assert output("keys.agree", "the first of RFC 7748, section 5.2") == first
    assert output("shamir.split", "57 · 13 = fe")[0x13 - 1] == "fe"
    assert output("shamir.split", "57 · 83 = c1")[0x83 - 1] == "c1"


def test_the_other_tools_know_the_published_numbers() -> None:
    """SP 800-38A, F.5.1; RFC 5869, A.1; RFC 8439, 2.8.2."""
    key, counter = "2b7e151628aed2a6abf7158809cf4f3c", "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
    plain = h("6bc1bee22e409f96e93d7e117393172a")
    assert run("enc", "-aes-128-ctr", "-K", key, "-iv", counter, data=plain).hex() == "874d6191b620e3261bef6864990db6ce"
    told = {
        "digest": "SHA2-256",
        "hexkey": "0b" * 22,
        "hexsalt": bytes(range(13)).hex(),
        "hexinfo": "f0f1f2f3f4f5f6f7f8f9",
    }
    options = [word for name, value in told.items() for word in ("-kdfopt", f"{name}:{value}")]
    made = run("kdf", "-binary", "-keylen", "42", *options, "HKDF").hex()
    assert made == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    sunscreen = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    data, nonce, secret = h("50515253c0c1c2c3c4c5c6c7"), h("070000004041424344454647"), bytes(range(0x80, 0xA0))
    sealed = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(sunscreen, data, nonce, secret)
    assert (sealed[:16].hex(), sealed[-16:].hex()) == (
        "d31a8d34648e60db7b86afbc53ef7ec2",
        "1ae10b594f09e26a7e902ecbd0600691",
    )
