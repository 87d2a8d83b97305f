"""Hypothesis strategies for every value: small, valid by construction, with the edges drawn often.   Spec: conformance.

Needs Hypothesis: `pip install 'clip-ref[conformance]'`. `inputs` draws the inputs of an operation, bad ones among
them; what the reference makes of them, `clip_ref.oracle.answer` says. The others draw values of the package.

>>> from hypothesis import given, settings
>>> from clip_ref.oracle import answer
>>> @settings(max_examples=10, database=None)
... @given(inputs("keys.public_key"))
... def my_keys_are_right(asked):
...     assert my_public_key(asked["secret"]) == answer("keys.public_key", asked).said
>>> from clip_ref.keys import public_key
>>> from clip_ref.values import SecretKey
>>> def my_public_key(secret):  # stands for an implementation to be tested
...     if len(secret) != 64:
...         return {"error": {"kind": "argument"}}
...     return {"output": public_key(SecretKey(bytes.fromhex(secret))).hex()}
>>> my_keys_are_right()
"""

from typing import Any, Final

import attrs
import numpy as np
from hypothesis import strategies as st

from clip_ref.canonical import SESSION_BYTES, RoundContext
from clip_ref.errors import SERVER, PreconditionError
from clip_ref.keys import KEY_BYTES, SIGNATURE_BYTES
from clip_ref.layout import Axis, Kept, Layer, Layout, Tensor, dense_chain, kept_count
from clip_ref.messages import (
    SHARE_BYTES,
    Advertise,
    Agreed,
    Announce,
    Consistent,
    Deliver,
    Envelope,
    Header,
    MaskedInput,
    Member,
    Message,
    Neighbourhood,
    Open,
    Roster,
    ShareKeys,
    TimeRecord,
    Unmask,
)
from clip_ref.oracle.jsontypes import Json
from clip_ref.oracle.operation import OPERATIONS
from clip_ref.oracle.runner import drawable
from clip_ref.params import (
    Encoding,
    Mean,
    Params,
    PruningPolicy,
    Score,
    Selection,
    SlackSeed,
    Weighting,
)
from clip_ref.scores import LayerScores
from clip_ref.values import ClientId, Digest, Floats, Microseconds, Ring, RingVector, RoundNumber, SecretKey, Seed
from clip_ref.wire import KINDS, Sizes

LAST_ID: Final = SERVER - 1
"""The largest id of a client."""


# Operations


def inputs(operation: str) -> st.SearchStrategy[dict[str, Json]]:
    """Inputs of this operation as JSON, now and then such as must be refused: what the runner draws its random cases from."""
    if operation not in drawable():
        raise PreconditionError(rule="CNF-1", detail=f"there is no operation {operation!r} whose inputs can be drawn")
    asked = OPERATIONS[operation]
    return st.randoms(use_true_random=False).map(lambda random: asked.json(asked.draw[0](random)))


# Ids, secrets, rings


def client_ids() -> st.SearchStrategy[ClientId]:
    """0 … 2³² − 2, small ones and both ends often."""
    return st.one_of(st.integers(0, 9), st.integers(0, LAST_ID), st.sampled_from((0, LAST_ID))).map(ClientId)


def rosters(min_size: int = 2, max_size: int = 8) -> st.SearchStrategy[tuple[ClientId, ...]]:
    """Distinct ids in ascending order."""
    drawn = st.lists(client_ids(), min_size=min_size, max_size=max_size, unique=True)
    return drawn.map(lambda ids: tuple(sorted(ids)))


def rings() -> st.SearchStrategy[Ring]:
    """Z_R with R = 2³² or 2⁶⁴."""
    return st.sampled_from((Ring(bits=32), Ring(bits=64)))


def seeds() -> st.SearchStrategy[Seed]:
    """32 bytes."""
    return st.binary(min_size=32, max_size=32).map(Seed)


def secret_keys() -> st.SearchStrategy[SecretKey]:
    """32 bytes."""
    return st.binary(min_size=32, max_size=32).map(SecretKey)


def digests() -> st.SearchStrategy[Digest]:
    """32 bytes."""
    return st.binary(min_size=32, max_size=32).map(Digest)


def rngs() -> st.SearchStrategy[np.random.Generator]:
    """For bulk data whose every element need not shrink."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def ring_vectors(draw: st.DrawFn, ring: Ring, length: int) -> RingVector:
    """Uniform elements with some at the ends: 0, R/2 − 1, R/2, R − 1."""
    rng = draw(rngs())
    vector = rng.integers(0, ring.modulus, size=length, dtype=ring.dtype, endpoint=False)
    if length:
        ends = np.array([0, 1, ring.modulus // 2 - 1, ring.modulus // 2, ring.modulus - 1], dtype=ring.dtype)
        for at in draw(st.lists(st.integers(0, length - 1), max_size=4)):
            vector[at] = draw(st.sampled_from(list(ends)))
    return vector


# Layouts, kept neurons, models


def dense_layouts() -> st.SearchStrategy[Layout]:
    """Chains of dense layers, one to three of them hidden."""
    return st.lists(st.integers(1, 6), min_size=3, max_size=5).map(lambda widths: dense_chain(*widths))


@st.composite
def conv_layouts(draw: st.DrawFn) -> Layout:
    """Two convolutions, a flattened volume, a hidden dense layer, outputs."""
    inputs, a, b, units, outputs = (draw(st.integers(1, 4)) for _ in range(5))
    kernel, height, width = draw(st.sampled_from((1, 3))), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    taps = (Axis(kernel), Axis(kernel))
    area = height * width
    first, second, hidden = Axis(a, "conv1"), Axis(b, "conv2"), Axis(units, "dense1")
    return Layout(
        tensors=(
            Tensor("conv1.weight", (first, Axis(inputs), *taps), uses=4 * area),
            Tensor("conv1.bias", (first,)),
            Tensor("conv2.weight", (second, Axis(a, "conv1"), *taps), uses=area),
            Tensor("conv2.bias", (second,)),
            Tensor("dense1.weight", (hidden, Axis(b * area, "conv2", inner=area)), uses=1),
            Tensor("dense1.bias", (hidden,)),
            Tensor("dense2.weight", (Axis(outputs), Axis(units, "dense1")), uses=1),
            Tensor("dense2.bias", (Axis(outputs),)),
        ),
        layers=(Layer("conv1", a), Layer("conv2", b), Layer("dense1", units)),
    )


@st.composite
def recurrent_layouts(draw: st.DrawFn) -> Layout:
    """An LSTM's stacked gates: the recurrent weights have two axes of one layer."""
    inputs, hidden, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    gates, steps = Axis(4 * hidden, "lstm"), draw(st.integers(1, 5))
    return Layout(
        tensors=(
            Tensor("lstm.weight_ih", (gates, Axis(inputs)), uses=steps),
            Tensor("lstm.weight_hh", (gates, Axis(hidden, "lstm")), uses=steps),
            Tensor("lstm.bias", (gates,)),
            Tensor("out.weight", (Axis(outputs), Axis(hidden, "lstm")), uses=1),
            Tensor("out.bias", (Axis(outputs),)),
        ),
        layers=(Layer("lstm", hidden),),
    )


def layouts() -> st.SearchStrategy[Layout]:
    """Any of the three."""
    return st.one_of(dense_layouts(), conv_layouts(), recurrent_layouts())


@st.composite
def kept_sets(draw: st.DrawFn, layout: Layout) -> Kept:
    """At least one neuron of each layer."""
    kept = {}
    for layer in layout.layers:
        flags = draw(st.lists(st.booleans(), min_size=layer.neurons, max_size=layer.neurons))
        index = np.flatnonzero(flags)
        kept[layer.name] = (index if len(index) else np.array([draw(st.integers(0, layer.neurons - 1))])).astype(
            np.int64
        )
    return kept


@st.composite
def kept_sets_at(draw: st.DrawFn, layout: Layout, keep: int) -> Kept:
    """As many neurons of each layer as the keep level `keep` leaves."""
    kept = {}
    for layer in layout.layers:
        order = draw(st.permutations(range(layer.neurons)))
        kept[layer.name] = np.array(sorted(order[: kept_count(layer.neurons, keep)]), dtype=np.int64)
    return kept


@st.composite
def floats(draw: st.DrawFn, length: int, scale: float = 1.0) -> Floats:
    """Finite float32[length] around `scale`, with some zeros, tiny and large entries."""
    rng = draw(rngs())
    values = (rng.normal(size=length) * scale).astype(np.float32)
    if length:
        odd = st.one_of(st.sampled_from((0.0, -0.0, 1.0, -1.0, 1e-30, -1e4)), st.floats(-8, 8, width=32))
        for at in draw(st.lists(st.integers(0, length - 1), max_size=5)):
            values[at] = draw(odd) * scale
    return values


def models(layout: Layout) -> st.SearchStrategy[Floats]:
    """A flat model of `layout`."""
    return floats(layout.size)


@st.composite
def histories(draw: st.DrawFn, layout: Layout) -> tuple[Floats, Floats]:
    """A model and the one before it: close, some coordinates equal."""
    previous = draw(models(layout))
    step = draw(floats(layout.size, scale=draw(st.sampled_from((1e-3, 1e-1, 1.0)))))
    return (previous + step).astype(np.float32), previous


# Parameters


def grids(max_size: int = 6) -> st.SearchStrategy[tuple[int, ...]]:
    """1000 ‰, then fewer."""
    lower = st.lists(st.integers(1, 999), max_size=max_size - 1, unique=True)
    return lower.map(lambda rest: (1000, *sorted(rest, reverse=True)))


@st.composite
def policies(draw: st.DrawFn, mean: Mean | None = None, selection: Selection | None = None) -> PruningPolicy:
    """Policies of every kind, or with this mean and this selection."""
    grid = draw(grids())
    selection = draw(st.sampled_from(Selection)) if selection is None else selection
    slack_seed = draw(st.sampled_from(SlackSeed))
    if mean is Mean.LEVELS and selection is Selection.PAPER:
        slack_seed = SlackSeed.CONTEXT
    spread = mean is not Mean.LEVELS and draw(st.booleans())
    public = (selection is not Selection.PAPER or slack_seed is SlackSeed.CONTEXT) and not spread
    means = [m for m in Mean if public or m is not Mean.LEVELS]
    return PruningPolicy(
        straggler_share=draw(st.integers(0, 500)),
        margin=draw(st.integers(0, 1000)),
        grid=grid,
        network_aware=draw(st.booleans()),
        score=draw(st.sampled_from(Score)),
        selection=selection,
        threshold=draw(st.integers(0, 10000)),
        slack_seed=slack_seed,
        age_cap=draw(st.one_of(st.just(0), st.integers(-(-2000 // grid[-1]), 4000))),
        mean=draw(st.sampled_from(means)) if mean is None else mean,
        holder_cap=draw(st.integers(1, 64)),
        anonymity_blocks=draw(st.booleans()),
        spread=spread,
        min_roster=draw(st.integers(0, 20)),
        warm_up=draw(st.integers(1, 4)),
        deadline=draw(st.one_of(st.just(0), st.integers(0, 2**53 - 1))),
    )


@st.composite
def encodings(draw: st.DrawFn, spread: int = 1) -> Encoding:
    """Encodings whose sums fit in the ring with `spread` terms of the largest size (PAR-7)."""
    bits = draw(st.sampled_from((32, 64)))
    half = 1 << (bits - 1)
    value_bits = draw(st.integers(2, min(32, (half // spread).bit_length() - 1)))
    steps = (1 << (value_bits - 1)) - 1
    weight_max = min((half - 1) // (spread * steps), (1 << 32) - 1)
    return Encoding(
        ring_bits=bits,
        clip=draw(st.one_of(st.sampled_from((1.0, 0.5, 3.0)), st.floats(1e-3, 1e3))),
        value_bits=value_bits,
        weighting=draw(st.sampled_from(Weighting)),
        weight_max=draw(st.one_of(st.just(weight_max), st.integers(1, weight_max))),
    )


@st.composite
def params(
    draw: st.DrawFn,
    min_clients: int = 2,
    max_clients: int = 12,
    policy: st.SearchStrategy[PruningPolicy] | None = None,
) -> Params:
    """Parameters of a clique at `hardened`, with any policy unless one is given."""
    clients = draw(st.integers(min_clients, max_clients))
    threshold = draw(st.integers(2, clients))
    drawn = draw(policies() if policy is None else policy)
    return Params(
        clients=clients,
        threshold=threshold,
        colluders=draw(st.integers(0, threshold - 1)),
        policy=drawn,
        encoding=draw(encodings(spread=drawn.terms(clients))),
    )


# Scores


@st.composite
def scores(draw: st.DrawFn, layer: str = "dense1", neurons: int | None = None) -> LayerScores:
    """The scores of a layer: change int64[neurons] ≥ 0, scale int64[neurons] ≥ 1; ties often."""
    count = draw(st.integers(1, 12)) if neurons is None else neurons
    sized = st.one_of(st.integers(0, 4), st.integers(0, 2**40), st.integers(0, 2**61))
    change = draw(st.lists(sized, min_size=count, max_size=count))
    scale = draw(st.lists(sized.map(lambda b: b + 1), min_size=count, max_size=count))
    return LayerScores(layer, np.array(change, dtype=np.int64), np.array(scale, dtype=np.int64))


# Times and messages


def times() -> st.SearchStrategy[Microseconds]:
    """0 … 2⁶⁴ − 1 µs, mostly up to a minute."""
    drawn = st.one_of(st.integers(0, 60_000_000), st.integers(0, 2**64 - 1), st.just(2**64 - 1))
    return drawn.map(Microseconds)


@st.composite
def time_records(draw: st.DrawFn, levels: int, valid: bool = True) -> TimeRecord:
    """A record with `levels` predictions; a valid one's predictions do not rise along the grid."""
    fit = tuple(draw(times()) for _ in range(levels))
    return TimeRecord(
        has_time=draw(st.booleans()),
        has_model=draw(st.booleans()),
        was_straggler=draw(st.booleans()),
        down=draw(times()),
        select=draw(times()),
        mask=draw(times()),
        up=draw(times()),
        fit=tuple(sorted(fit, reverse=True)) if valid else fit,
        weight=draw(st.integers(1, 2**32 - 1)),
        entropy=draw(st.binary(min_size=32, max_size=32)),
    )


@st.composite
def contexts(draw: st.DrawFn) -> RoundContext:
    """What ctx₀ and ctx are made of."""
    return RoundContext(
        session=draw(st.binary(min_size=SESSION_BYTES, max_size=SESSION_BYTES)),
        round=RoundNumber(draw(st.integers(1, 2**64 - 1))),
        config=draw(digests()),
        directory=draw(digests()),
        model=draw(digests()),
        history=draw(digests()),
        target=draw(st.sampled_from((0, 1, 250_000, 2**64 - 1))),
    )


@st.composite
def sizes(draw: st.DrawFn) -> Sizes:
    """What fixes the lengths of messages, for small models and few clients."""
    model, clients = draw(st.integers(1, 5)), draw(st.integers(2, 5))
    return Sizes(
        clients=clients,
        neighbours=draw(st.sampled_from((0, 2))) if clients > 3 else 0,
        levels=draw(st.integers(1, 3)),
        model=model,
        vector=model + draw(st.integers(1, 3)),
        ring=draw(rings()),
        hardened=draw(st.booleans()),
    )


@st.composite
def bundles(draw: st.DrawFn, sender: ClientId, hardened: bool = True) -> Advertise:
    """A well-formed `Advertise`, of any bytes: keys need not be points, nor signatures hold."""

    def blob(length: int) -> bytes:
        return draw(st.binary(min_size=length, max_size=length))

    rest = (32, 32, SIGNATURE_BYTES) if hardened else (0, 0, 0)
    return Advertise(sender, blob(KEY_BYTES), blob(KEY_BYTES), *map(blob, rest))


@attrs.frozen
class Sent:
    """A message, and what its receiver knows beforehand."""

    message: Message
    """Of any kind."""

    header: Header
    """As it is announced."""

    sizes: Sizes
    """Those that it keeps to."""


@st.composite
def sent(draw: st.DrawFn, kinds: tuple[type[Message], ...] = KINDS) -> Sent:
    """A well-formed message of any kind, with its header and the sizes that it keeps to."""
    kind, limits, context = draw(st.sampled_from(kinds)), draw(sizes()), draw(contexts())
    sender = draw(client_ids())

    def blob(length: int) -> bytes:
        return draw(st.binary(min_size=length, max_size=length))

    def hardened(length: int) -> bytes:
        return blob(length) if limits.hardened else b""

    def clients() -> tuple[ClientId, ...]:
        return draw(rosters(min_size=0, max_size=limits.clients))

    def envelopes() -> tuple[Envelope, ...]:
        shares, record = limits.sealed_shares, limits.sealed_record
        some = clients()[: limits.peers]
        return tuple(Envelope(p, blob(shares), blob(record), hardened(64)) for p in some)

    def entries(length: int) -> tuple[tuple[ClientId, bytes], ...]:
        return tuple((c, blob(length)) for c in clients())

    def bundle(client: ClientId) -> Advertise:
        return draw(bundles(client, limits.hardened))

    def signature() -> bytes:
        return hardened(SIGNATURE_BYTES)

    def member(client: ClientId, position: int) -> Member:
        return Member(position, bundle(client), tuple(blob(32) for _ in range(draw(st.integers(0, 2)))))

    def neighbourhood() -> Neighbourhood:
        some = clients()[: limits.peers + 1]
        members = tuple(member(client, position) for position, client in enumerate(some, start=draw(st.integers(0, 9))))
        return Neighbourhood(draw(st.integers(0, limits.clients)), draw(digests()), members)

    def bits() -> bytes:
        return blob(draw(st.integers(0, 1))) if limits.neighbours else b""

    makers: dict[Any, Any] = {
        Open: lambda: Open(context),
        Advertise: lambda: bundle(sender),
        Roster: lambda: Roster(tuple(map(bundle, clients()))),
        ShareKeys: lambda: ShareKeys(sender, envelopes(), hardened(64), signature()),
        Neighbourhood: neighbourhood,
        Deliver: lambda: Deliver(envelopes(), draw(floats(limits.model)), bits()),
        MaskedInput: lambda: MaskedInput(sender, draw(ring_vectors(limits.ring, limits.vector)), signature()),
        Announce: lambda: Announce(clients(), bits()),
        Consistent: lambda: Consistent(sender, draw(digests()), signature()),
        Agreed: lambda: Agreed(entries(SIGNATURE_BYTES)),
        Unmask: lambda: Unmask(sender, entries(SHARE_BYTES), entries(SHARE_BYTES), signature()),
    }
    from_server = kind in (Open, Roster, Neighbourhood, Deliver, Announce, Agreed)
    header = Header(context.session, context.round, SERVER if from_server else sender)
    return Sent(makers[kind](), header, limits)
