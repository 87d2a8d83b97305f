"""What random inputs are made of: small values that lean towards the edges.   Spec: conformance.

Every function takes a `random.Random` first, and what it returns depends on that alone. Only `random`, `randrange`, `randint`,
`choice`, `sample`, `shuffle`, `getrandbits` and `randbytes` are called, so that Hypothesis can stand in for the generator and
shrink what was drawn.
"""

from collections.abc import Sequence
from random import Random
from typing import Any, Final, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref.canonical import SESSION_BYTES
from clip_ref.errors import SERVER
from clip_ref.layout import Axis, Layer, Layout, Tensor, dense_chain
from clip_ref.messages import TimeRecord
from clip_ref.oracle.operations.wire import Bundle, From, Lengths
from clip_ref.params import (
    MAX_HOLDERS,
    Encoding,
    Mean,
    Params,
    PruningPolicy,
    Score,
    SecurityLevel,
    Selection,
    SlackSeed,
    Weighting,
)
from clip_ref.values import ClientId, Floats, Ring, RingVector

_T = TypeVar("_T")
_A = TypeVar("_A", bound=attrs.AttrsInstance)

LAST_ID: Final = SERVER - 1
"""The largest id of a client."""

WEIGHTS: Final = (
    0.0,
    -0.0,
    1e-45,
    -1e-45,
    1.1754942e-38,
    2.0**-25,
    1.5 * 2.0**-24,
    -(2.0**-24),
    1.0,
    -1.0,
    127.5,
    128.0,
    -3e38,
)
"""Edges of float32: both zeros, subnormals, ties and saturation of the exact scores, the largest sizes."""


# Choices


def seldom(random: Random, one_in: int = 8) -> bool:
    """True once in so many times."""
    return random.randrange(one_in) == one_in - 1


def some(random: Random, values: Sequence[_T], *, least: int = 0) -> list[_T]:
    """At least `least` of the values, in their order."""
    where = random.sample(range(len(values)), random.randint(least, len(values)))
    return [values[k] for k in sorted(where)]


def unchecked(cls: type[_A], **fields: Any) -> _A:
    """A value of the class that has not checked itself: what the other side has to refuse."""
    made = cls.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def changed(value: _A, **fields: Any) -> _A:
    """The value with some fields changed, unchecked."""
    return unchecked(type(value), **{f.name: getattr(value, f.name) for f in attrs.fields(type(value))} | fields)


# Numbers, bytes


def u64(random: Random) -> int:
    """0 … 2⁶⁴ − 1: of any number of bits, the ends of 32, 53 and 64 bits often."""
    if seldom(random, 4):
        return random.choice((0, 1, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**63, 2**64 - 1))
    return random.getrandbits(random.randint(1, 64))


def time(random: Random) -> int:
    """µs: mostly up to a minute, now and then anything."""
    return u64(random) if seldom(random, 6) else random.randrange(60_000_000)


def length(random: Random, most: int = 70) -> int:
    """0 … `most`, and often by the end of a block of 16, 32 or 64."""
    if seldom(random, 3):
        return min(most, random.choice((0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65)))
    return random.randint(0, most)


def data(random: Random, most: int = 70) -> bytes:
    """Up to `most` bytes."""
    return random.randbytes(length(random, most))


def block(random: Random, size: int = 32) -> bytes:
    """`size` bytes, now and then all alike."""
    if seldom(random, 12):
        return random.choice((b"\x00", b"\xff", b"\x01")) * size
    return random.randbytes(size)


def secret(random: Random) -> bytes:
    """32 bytes, seldom one fewer, one more or none at all."""
    return random.randbytes(random.choice((0, 31, 33))) if seldom(random, 12) else block(random)


def tampered(random: Random, found: bytes) -> bytes:
    """Bytes that differ from those found: a bit flipped, some cut off, some appended."""
    how = random.randrange(4)
    if how == 0 or not found:
        return found + random.randbytes(random.randint(1, 4))
    if how == 1:
        return found[: random.randrange(len(found))]
    at = random.randrange(len(found))
    return found[:at] + bytes((found[at] ^ 1 << random.randrange(8),)) + found[at + 1 :]


def text(random: Random) -> str:
    """A short name, not always in ASCII."""
    return random.choice(("", "a", "shares", "hidden 1", "größe", "層", "𝛼")) + random.choice(("", "1", "é"))


# Clients


def client_id(random: Random) -> ClientId:
    """0 … 2³² − 2: small ones and both ends often."""
    how = random.randrange(4)
    if how == 0:
        return ClientId(random.choice((0, 255, 256, 2**31, LAST_ID)))
    return ClientId(random.randrange(SERVER) if how == 1 else random.randrange(10))


def client_ids(random: Random, least: int = 0, most: int = 6) -> list[ClientId]:
    """Distinct ids in ascending order."""
    found: set[ClientId] = set()
    for _ in range(random.randint(least, most)):
        found.add(client_id(random))
    while len(found) < least:
        found.add(ClientId(len(found) + random.randrange(2**20)))
    return sorted(found)


def disordered(random: Random, ids: Sequence[_T]) -> list[_T]:
    """The ids with one of them repeated or moved."""
    out = list(ids)
    if len(out) > 1 and not seldom(random, 2):
        random.shuffle(out)
    elif out:
        out.insert(random.randint(0, len(out)), random.choice(out))
    return out


# Parameters


def grid(random: Random, most: int = 6) -> tuple[int, ...]:
    """1000 ‰, then fewer."""
    return (1000, *sorted(random.sample(range(1, 1000), random.randrange(most)), reverse=True))


def policy(random: Random, *, graph: bool = False, **fixed: Any) -> PruningPolicy:
    """A valid policy with the `fixed` fields; on a graph one that a graph can have."""
    levels = fixed.get("grid", grid(random))
    selection = fixed.get("selection", random.choice(tuple(Selection)))
    slack = SlackSeed.CONTEXT if graph or fixed.get("mean") is Mean.LEVELS else random.choice(tuple(SlackSeed))
    slack = fixed.get("slack_seed", slack)
    hidden = selection is Selection.PAPER and slack is SlackSeed.RECORDS
    spread = not graph and fixed.get("mean") is not Mean.LEVELS and bool(random.randrange(2))
    means = [m for m in Mean if not (((hidden or spread) and m is Mean.LEVELS) or (graph and m.scales))]
    fields: dict[str, Any] = {
        "straggler_share": random.choice((0, 200, 500, random.randint(0, 500))),
        "margin": random.choice((0, 50, 1000, random.randint(0, 1000))),
        "network_aware": graph or bool(random.randrange(2)),
        "score": random.choice(tuple(Score)),
        "selection": selection,
        "threshold": random.choice((0, 1000, 10000, random.randint(0, 10000))),
        "slack_seed": slack,
        "age_cap": 0 if random.randrange(2) else -(-2000 // levels[-1]) + random.choice((0, 1, 17)),
        "mean": random.choice(means),
        "holder_cap": random.choice((1, 4, 64)),
        "anonymity_blocks": not graph and bool(random.randrange(2)),
        "spread": spread,
        "bucket_first": random.choice((1, 10_000, random.randint(1, 10**6))),
        "bucket_ratio": random.choice((1001, 1050, 2000, random.randint(1001, 2000))),
        "bucket_count": random.choice((1, 4, 256, 4096)),
        "min_roster": random.choice((0, 2, 10)),
        "warm_up": random.choice((1, 2, 3)),
        "deadline": random.choice((0, 6_000_000, 2**53 - 1)),
    }
    return PruningPolicy(**{**fields, "grid": levels, **fixed})


def encoding(random: Random, *, spread: int = 1, **fixed: Any) -> Encoding:
    """An encoding whose sums of `spread` terms (PAR-7) fit in its ring, often only just."""
    bits = fixed.get("ring_bits", random.choice((32, 64)))
    half = 1 << (bits - 1)
    value_bits = fixed.get("value_bits", random.randint(2, min(32, (half // spread).bit_length() - 1)))
    most = min((half - 1) // (spread * ((1 << (value_bits - 1)) - 1)), (1 << 32) - 1)
    fields: dict[str, Any] = {
        "ring_bits": bits,
        "clip": random.choice((1.0, 0.5, 3.0, 0.1, 5e-324, 1.7976931348623157e308, 1e3 * (1e-6 + random.random()))),
        "value_bits": value_bits,
        "weighting": random.choice(tuple(Weighting)),
        "weight_max": random.choice((1, most, random.randint(1, most))),
    }
    return Encoding(**{**fields, **fixed})


def params(random: Random, *, graph: bool | None = None, most: int = 9, **fixed: Any) -> Params:
    """Valid parameters for up to `most` clients (on a graph a few more), with the `fixed` fields of policy and encoding."""
    on_graph = seldom(random, 4) if graph is None else graph
    neighbours = random.choice((2, 4)) if on_graph else 0
    clients = random.randint(neighbours + 2, neighbours + 2 + most) if on_graph else random.randint(2, most)
    if seldom(random, 16):
        clients = 2**20 if on_graph else MAX_HOLDERS
    mine = {f.name for f in attrs.fields(PruningPolicy)}
    rules = policy(random, graph=on_graph, **{k: v for k, v in fixed.items() if k in mine})
    numbers = encoding(random, spread=rules.terms(clients), **{k: v for k, v in fixed.items() if k not in mine})
    plain: dict[str, Any] = {"clients": clients, "neighbours": neighbours, "policy": rules, "encoding": numbers}
    holders = neighbours + 1 if neighbours else clients
    if seldom(random, 3):
        bare = attrs.evolve(rules, anonymity_blocks=False)
        return Params(**{**plain, "policy": bare}, security=SecurityLevel.HARDENED) if holders > 2 else Params(**plain)
    threshold = random.randint(2, holders)
    survivors = random.randint(threshold, clients) if neighbours else threshold
    colluders = random.choice((0, random.randrange(threshold)))
    return Params(**plain, threshold=threshold, min_survivors=survivors, colluders=colluders)


_BREAKS: Final[dict[str, tuple[Any, ...]]] = {
    "straggler_share": (-1, 0, 500, 501),
    "margin": (-1, 0, 1000, 1001),
    "grid": (
        (),
        (1000, 1000),
        (999,),
        (1000, 0),
        (1000, 500, 600),
        tuple(range(1000, 935, -1)),
        tuple(range(1000, 936, -1)),
    ),
    "network_aware": (True, False),
    "threshold": (-1, 0, 10000, 10001),
    "slack_seed": tuple(SlackSeed),
    "age_cap": (-1, 0, 1, 2, 3, 2000),
    "mean": tuple(Mean),
    "holder_cap": (0, 1, 64, 65),
    "anonymity_blocks": (True, False),
    "spread": (True, False),
    "bucket_first": (0, 1),
    "bucket_ratio": (1000, 1001, 2000, 2001),
    "bucket_count": (0, 1, 4096, 4097),
    "min_roster": (-1, 0),
    "warm_up": (0, 1),
    "deadline": (-1, 0, 2**53 - 1, 2**53),
    "ring_bits": (16, 32, 64, 128),
    "clip": (0.0, -1.0, 5e-324),
    "value_bits": (1, 2, 32, 33),
    "weight_max": (0, 1, 2**32 - 1, 2**32),
    "clients": (0, 1, 2, 255, 256, 2**20, 2**20 + 1),
    "neighbours": (-2, 0, 1, 2, 3, 254, 256),
    "min_survivors": (0, 1, 2, 256),
    "colluders": (-1, 0, 1, 2),
    "security": tuple(SecurityLevel),
}
"""For each field values at its bounds and beyond them."""


def at_bounds(random: Random, valid: Params) -> Params:
    """The parameters with one field set to one of its bounds or just beyond: often, but not always, refused."""
    name = random.choice(tuple(_BREAKS))
    value = random.choice(_BREAKS[name])
    if name == "threshold" and random.randrange(2):
        return changed(valid, threshold=random.choice((0, 1, 2, valid.holders, valid.holders + 1)))
    for part in ("policy", "encoding"):
        held = getattr(valid, part)
        if hasattr(held, name):
            return changed(valid, **{part: changed(held, **{name: value})})
    return changed(valid, **{name: value})


# Layouts


def dense_layout(random: Random, most: int = 5) -> Layout:
    """A chain of dense layers with one to three hidden ones."""
    return dense_chain(*(random.randint(1, most) for _ in range(random.randint(3, 5))))


def conv_layout(random: Random, most: int = 3) -> Layout:
    """A convolution, a flattened volume (inner > 1), a hidden dense layer, outputs."""
    inputs, channels, units, area = (random.randint(1, most) for _ in range(4))
    taps = random.choice((1, 2))
    kernel, hidden = Axis(channels, "conv1"), Axis(units, "dense1")
    return Layout(
        tensors=(
            Tensor("conv1.weight", (kernel, Axis(inputs), Axis(taps), Axis(taps)), uses=area),
            Tensor("conv1.bias", (kernel,)),
            Tensor("dense1.weight", (hidden, Axis(channels * area, "conv1", inner=area)), uses=1),
            Tensor("dense1.bias", (hidden,)),
            Tensor("out.weight", (Axis(2), hidden), uses=1),
        ),
        layers=(Layer("conv1", channels), Layer("dense1", units)),
    )


def recurrent_layout(random: Random, most: int = 4) -> Layout:
    """An LSTM's stacked gates: the recurrent weights have two axes of one layer."""
    inputs, hidden = random.randint(1, most), random.randint(1, most)
    gates, state = Axis(4 * hidden, "lstm"), Axis(hidden, "lstm")
    return Layout(
        tensors=(
            Tensor("lstm.weight_ih", (gates, Axis(inputs)), uses=2),
            Tensor("lstm.weight_hh", (gates, state), uses=2),
            Tensor("lstm.bias", (gates,)),
            Tensor("out.weight", (Axis(1), state), uses=1),
        ),
        layers=(Layer("lstm", hidden),),
    )


def layout(random: Random) -> Layout:
    """Any of the three."""
    return random.choice((dense_layout, conv_layout, recurrent_layout))(random)


def damaged_layout(random: Random, valid: Layout) -> Layout:
    """The layout with one thing changed, so that it is mostly refused."""
    how = random.randrange(5)
    layers, tensors = valid.layers, valid.tensors
    if how == 0:
        return changed(valid, layers=(*layers, random.choice((layers[0], Layer("extra", 2)))))
    if how == 1:
        return changed(
            valid, layers=(attrs.evolve(layers[0], neurons=random.choice((0, layers[0].neurons + 1))), *layers[1:])
        )
    if how == 2:
        return changed(valid, tensors=random.choice(((), (*tensors, tensors[0]))))
    first = tensors[0]
    axis = first.axes[0]
    other = random.choice(
        (attrs.evolve(axis, size=0), attrs.evolve(axis, size=axis.size + 1), attrs.evolve(axis, inner=0),
         attrs.evolve(axis, inner=axis.size + 1), attrs.evolve(axis, layer="none"))
    )  # fmt: skip
    axes = (axis, axis, axis) if how == 3 else (other, *first.axes[1:])
    return changed(valid, tensors=(attrs.evolve(first, axes=axes), *tensors[1:]))


def kept(random: Random, of: Layout) -> dict[str, list[int]]:
    """At least one neuron of every layer, often all or only one."""
    out = {}
    for layer in of.layers:
        neurons = list(range(layer.neurons))
        how = random.randrange(4)
        out[layer.name] = (
            neurons if how == 0 else [random.choice(neurons)] if how == 1 else some(random, neurons, least=1)
        )
    return out


# Vectors


def floats(random: Random, size: int, *, scale: float = 1.0) -> Floats:
    """float32[size]: about ±`scale`, with zeros, subnormals, ties and values that saturate among them."""
    drawn = [
        random.choice(WEIGHTS) if seldom(random, 6) else scale * random.randint(-64, 64) / 64 if seldom(random, 4)
        else scale * (2 * random.random() - 1)
        for _ in range(size)
    ]  # fmt: skip
    return np.array(drawn, dtype=np.float32)


def ring_vector(random: Random, ring: Ring, size: int) -> RingVector:
    """Elements of the ring, with 0, R/2 − 1, R/2 and R − 1 among them."""
    half = ring.modulus // 2
    ends = (0, 1, half - 1, half, ring.modulus - 1)
    drawn = [random.choice(ends) if seldom(random, 6) else random.getrandbits(ring.bits) for _ in range(size)]
    return np.array(drawn, dtype=ring.dtype)


def bits(random: Random, size: int) -> NDArray[np.bool_]:
    """bool[size], now and then all alike."""
    if seldom(random):
        return np.full(size, bool(random.randrange(2)))
    return np.array([bool(random.randrange(2)) for _ in range(size)], dtype=bool)


# Rounds


def record(random: Random, levels: int, *, valid: bool = True) -> TimeRecord:
    """A time record with `levels` predictions; those of a valid one do not rise along the grid."""
    fit = [time(random) for _ in range(levels)]
    if valid:
        fit.sort(reverse=True)
    down, select, mask, up = (time(random) for _ in range(4))
    flags = (not seldom(random), not seldom(random), bool(random.randrange(2)))
    weight = random.choice((1, 2**32 - 1, random.randint(1, 1024)))
    return TimeRecord(*flags, down, select, mask, up, tuple(fit), weight, block(random))


def context(random: Random) -> dict[str, Any]:
    """The fields of a round's context, without the roster."""
    digests = {name: block(random) for name in ("config", "directory", "model", "history")}
    return {
        "session": random.randbytes(SESSION_BYTES),
        "round": 1 + min(u64(random), 2**64 - 2),
        **digests,
        "target": u64(random),
    }


def header(random: Random, *, server: bool = False) -> From:
    """A header of a client's message, or of one from the server."""
    here = random.randbytes(SESSION_BYTES), 1 + min(u64(random), 2**64 - 2)
    return From(*here, SERVER if server else client_id(random))


def lengths(random: Random) -> Lengths:
    """What fixes the lengths of messages: of small rounds, in a clique and on a graph, at both levels."""
    clients, model = random.randint(2, 6), random.randint(1, 5)
    return Lengths(
        clients=clients,
        levels=random.randint(1, 3),
        model=model,
        vector=model + random.randint(1, 3),
        ring_bits=random.choice((32, 64)),
        hardened=bool(random.randrange(2)),
        neighbours=2 if clients > 3 and seldom(random, 3) else 0,
    )


def bundle(random: Random, sender: ClientId, *, hardened: bool) -> Bundle:
    """An `Advertise` whose keys need not be good ones."""
    keys, rest = (random.randbytes(32), random.randbytes(32)), (32, 32, 64)
    return Bundle(sender, *keys, *(random.randbytes(size) if hardened else b"" for size in rest))
