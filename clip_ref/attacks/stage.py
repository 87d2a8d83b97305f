"""The stage: a small fleet that really trains, a server that forgets nothing, and how to read what was under a mask.

Clients are the real ones, or subclasses that drop exactly one check; messages pass by hand, so that an attacker can send each
client what it likes. Everything follows from a seed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from clip_ref import codec, invariance, keys, masking, selection, shamir, submodel
from clip_ref.aggregation import Aggregate
from clip_ref.canonical import RoundContext
from clip_ref.keys import Directory
from clip_ref.layout import dense_chain
from clip_ref.messages import (
    Agreed,
    Announce,
    Consistent,
    Deliver,
    MaskedInput,
    Roster,
    TimeRecord,
    Unmask,
)
from clip_ref.params import Params, PruningPolicy, SecurityLevel
from clip_ref.rand import derive
from clip_ref.round import Assignment, Client, Server, State
from clip_ref.round.journal import NO_JOURNAL, Journal
from clip_ref.values import (
    ClientId,
    Digest,
    Floats,
    Microseconds,
    RingVector,
    RoundNumber,
    SecretKey,
    Seed,
    SigningKey,
)

INPUTS, HIDDEN, OUTPUTS = 6, 12, 3
LAYOUT: Final = dense_chain(INPUTS, HIDDEN, OUTPUTS)
"""One hidden layer: d = 123 weights."""

GRID: Final = (1000, 750, 500)
SESSION: Final = b"the stage's 16 b"
RATE: Final = 0.5
"""The step of local training, large enough that updates are thousands of quantisation steps."""

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def policy(**changes: Any) -> PruningPolicy:
    """The hardened policy on a short grid, changed."""
    return PruningPolicy(**({"grid": GRID} | changes))


def numbers(seed: int, *purpose: int) -> np.random.Generator:
    """A generator of its own for each purpose."""
    return np.random.default_rng([seed, *purpose])


def secret(seed: int, purpose: str, *ids: int) -> bytes:
    """32 bytes."""
    return derive(secret=seed.to_bytes(32, "little"), salt=b"", purpose=f"stage {purpose}", ids=ids)


def step(*, model: Floats, kept: Mapping[str, Ints], features: NDArray[np.float64], labels: Ints) -> Floats:
    """One step of gradient descent on the softmax loss of a client's own examples: the sub-model's update, float32[m]."""
    flat = submodel.zeroed(model=model, layout=LAYOUT, kept=kept).astype(np.float64)
    w1, b1, w2, b2 = (flat[where].reshape(tensor.shape) for tensor, where in LAYOUT.slices())
    before = features @ w1.T + b1
    hidden = np.maximum(before, 0.0)
    logits = hidden @ w2.T + b2
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    wrong = (chances - np.eye(OUTPUTS)[labels]) / len(labels)
    back = (wrong @ w2) * (before > 0)
    gradient = np.concatenate([(back.T @ features).ravel(), back.sum(0), (wrong.T @ hidden).ravel(), wrong.sum(0)])
    return (-RATE * gradient[LAYOUT.held(kept)]).astype(np.float32)


@attrs.frozen
class Fleet:
    """Who takes part, with which data and which times."""

    seed: int
    """Draws everything."""

    params: Params
    """What they agree on."""

    slow: Mapping[ClientId, int] = attrs.field(factory=dict)
    """Training time in ms of the clients that differ from the others' 1000 … 1009 ms."""

    @property
    def ids(self) -> list[ClientId]:
        """0 … n − 1."""
        return [ClientId(u) for u in range(self.params.clients)]

    @property
    def identities(self) -> dict[ClientId, SigningKey]:
        """The signing keys of everybody, at level `hardened`."""
        hardened = self.params.hardened
        return {u: SigningKey(secret(self.seed, "identity", u)) for u in self.ids} if hardened else {}

    @property
    def directory(self) -> Directory:
        """The pinned public keys."""
        return Directory({u: keys.identity_key(key) for u, key in self.identities.items()})

    @property
    def history(self) -> Floats:
        """The model before w_i: float32[123]."""
        return numbers(self.seed, 1).normal(scale=0.7, size=LAYOUT.size).astype(np.float32)

    @property
    def model(self) -> Floats:
        """w_i: float32[123]."""
        change = numbers(self.seed, 2).normal(scale=0.1, size=LAYOUT.size)
        return (self.history + change).astype(np.float32)

    def state(self, round: int = 3, *, model: Floats | None = None, history: Floats | None = None) -> State:
        """What the server announces: the model and no history, unless one is given."""
        return State(SESSION, RoundNumber(round), self.model if model is None else model, history)

    def weight(self, client: ClientId) -> int:
        """How many examples it has: 10 … 40."""
        return int(numbers(self.seed, 3, client).integers(10, 41))

    def record(self, client: ClientId, time: int | None = None) -> TimeRecord:
        """Its time record; `time` ms instead of its true training time."""
        whole = 1000 * (self.slow.get(client, 1000 + client % 10) if time is None else time)
        fit = tuple(whole * keep // 1000 for keep in self.params.policy.grid)
        return TimeRecord(True, True, False, 0, 0, 0, 0, fit, self.weight(client), b"")

    def client(
        self,
        u: ClientId,
        kind: type[Client] = Client,
        *,
        fresh: int = 0,
        journal: Journal | None = None,
        time: int | None = None,
    ) -> Client:
        """The client `u`; `fresh` tells one round's entropy from another's, `time` ms is what it claims to take."""
        return kind(
            me=u,
            params=self.params,
            layout=LAYOUT,
            record=self.record(u, time),
            history=self.history,
            entropy=secret(self.seed, "entropy", u, fresh),
            identity=self.identities.get(u),
            directory=self.directory,
            session=SESSION,
            journal=NO_JOURNAL if journal is None else journal,
        )

    def clients(self, kind: type[Client] = Client, *, fresh: int = 0) -> dict[ClientId, Client]:
        """Everybody, without journals."""
        return {u: self.client(u, kind, fresh=fresh) for u in self.ids}

    def train(self, client: ClientId, assignment: Assignment) -> Floats:
        """Its update on its own examples."""
        draw = numbers(self.seed, 4, client)
        features = draw.normal(size=(self.weight(client), INPUTS))
        labels = draw.integers(0, OUTPUTS, self.weight(client))
        return step(model=assignment.model, kept=assignment.kept, features=features, labels=labels)

    def truth(self, client: ClientId, assignment: Assignment) -> Ints:
        """Its quantised update at full length, 0 where pruned: int64[123]. No attacker reads this, only its judge."""
        full = submodel.expand(delta=self.train(client, assignment), layout=LAYOUT, kept=assignment.kept)
        return codec.quantise(update=full, encoding=self.params.encoding)


def whole(fleet: Fleet, client: ClientId, model: Floats | None = None) -> Ints:
    """The truth about an update of the full model."""
    plan: Any = None
    given = fleet.model if model is None else model
    return fleet.truth(client, Assignment(given, LAYOUT.full(), plan, plan, Microseconds(0)))


class Hoarder(Server):
    """A server that follows the protocol, and keeps every masked input and what it decodes."""

    decoded: Aggregate

    def __init__(self, fleet: Fleet, state: State) -> None:
        """About to open the round of `state`."""
        super().__init__(params=fleet.params, layout=LAYOUT, state=state, directory=fleet.directory)
        self.kept: dict[ClientId, RingVector] = {}

    def accept(self, message: Any) -> None:
        """Take a message, and remember what is masked."""
        super().accept(message)
        if isinstance(message, MaskedInput):
            self.kept[message.sender] = message.vector

    def close_unmask(self) -> Aggregate:
        """Decode, and keep it."""
        self.decoded = super().close_unmask()
        return self.decoded

    @property
    def ctx(self) -> Digest:
        """The round's context."""
        return self._ctx


def advertise(server: Server, clients: Mapping[ClientId, Client]) -> Roster:
    """Everybody's keys."""
    opening = server.open()
    for client in clients.values():
        server.accept(client.open(opening))
    return server.close_advertise()


def share(server: Server, clients: Mapping[ClientId, Client], roster: Roster) -> dict[ClientId, Deliver]:
    """Everybody's shares and times."""
    for client in clients.values():
        server.accept(client.roster(roster))
    return server.close_share()


def upload(
    server: Server, fleet: Fleet, clients: Mapping[ClientId, Client], deliveries: Mapping[ClientId, Deliver]
) -> dict[ClientId, Assignment]:
    """Everybody in `deliveries` trains and uploads."""
    assignments = {u: clients[u].deliver(message) for u, message in deliveries.items()}
    for u, assignment in assignments.items():
        server.accept(clients[u].masked_input(fleet.train(u, assignment)))
    return assignments


def reveal(clients: Mapping[ClientId, Client], announce: Announce, asked: Iterable[ClientId]) -> list[Unmask]:
    """What those `asked` reveal when all of them are told the same, at either level."""
    first = {u: clients[u].announce(announce) for u in asked}
    signatures = {u: m.signature for u, m in first.items() if isinstance(m, Consistent)}
    agreed = Agreed(tuple(sorted(signatures.items())))
    return [m if isinstance(m, Unmask) else clients[u].agreed(agreed) for u, m in first.items()]


def finish(server: Server, clients: Mapping[ClientId, Client]) -> RingVector:
    """The unmasked sum over everybody who uploaded: uint32[d + extras]."""
    announce = server.close_input()
    if server.params.hardened:
        for u in announce.survivors:
            server.accept(clients[u].announce(announce))
        agreed = server.close_consistency()
        answers = [clients[u].agreed(agreed) for u in announce.survivors]
    else:
        answers = reveal(clients, announce, announce.survivors)
    for answer in answers:
        server.accept(answer)
    server.close_unmask()
    return server.total_unmasked


def play(
    fleet: Fleet, clients: Mapping[ClientId, Client], state: State
) -> tuple[RingVector, dict[ClientId, Assignment]]:
    """A whole round in which everybody stays: the sum, and what each one trained."""
    server = Hoarder(fleet, state)
    deliveries = share(server, clients, advertise(server, clients))
    assignments = upload(server, fleet, clients, deliveries)
    return finish(server, clients), assignments


def combined(answers: Iterable[Unmask], owner: ClientId, *, field: str, roster: Iterable[ClientId], need: int) -> bytes:
    """A secret of `owner` from `need` of the shares of it in `answers`, in whichever of them there is one."""
    number = {u: k for k, u in enumerate(roster, start=1)}
    found = {number[a.sender]: dict(getattr(a, field))[owner] for a in answers if owner in dict(getattr(a, field))}
    return shamir.combine(shares={x: found[x] for x in sorted(found)[:need]}, threshold=need)


def pair_seeds(
    *, mask_secret: bytes, me: ClientId, roster: Roster, peers: Iterable[ClientId], ctx: Digest
) -> dict[ClientId, Seed]:
    """The seeds of all pairwise masks of `me`, from its rebuilt mask key."""
    public = {b.sender: b.mask_key for b in roster.bundles}
    key = SecretKey(mask_secret)
    return {v: keys.pair_seed(secret=key, me=me, peer=v, peer_key=public[v], ctx=ctx) for v in peers if v != me}


def strip(
    *, params: Params, vector: RingVector, me: ClientId, self_seed: Seed | None, pairs: Mapping[ClientId, Seed]
) -> RingVector:
    """A masked input without its self mask (if its seed is known) and its pairwise masks."""
    selves = [] if self_seed is None else [self_seed]
    return masking.unmask(
        ring=params.encoding.ring,
        total=vector,
        self_seeds=selves,
        dangling={(me, v): seed for v, seed in pairs.items()},
    )


def self_seed(*, b: bytes, me: ClientId, ctx: Digest) -> Seed:
    """The seed of the self mask, from the rebuilt b_u."""
    return keys.self_mask_seed(self_seed=Seed(b), me=me, ctx=ctx)


def weight_in(params: Params, bare: RingVector) -> int | None:
    """The weight in the slots of one bare input; none where the slots are not those of one client, so that it is noise."""
    slots = [int(s) for s in bare[LAYOUT.size :] if s]
    return slots[0] if len(slots) == 1 and slots[0] <= params.encoding.weight_max else None


def distance(params: Params, found: RingVector, weight: int, truth: Ints, where: Mask | None = None) -> float:
    """The largest |found/weight − truth| over the coordinates `where`, in quantisation steps."""
    values = params.encoding.ring.centred(np.ascontiguousarray(found[: LAYOUT.size])) / weight
    gap = np.abs(values - truth)
    return float(gap.max() if where is None else gap[where].max())


def pruned_at(fleet: Fleet, keep: int, *, ctx: Digest | None = None, round: int = 3) -> Mask:
    """Which coordinates a keep level prunes: public, since everybody has both models; bool[123]."""
    scores = invariance.score(model=fleet.model, history=fleet.history, layout=LAYOUT, mode=fleet.params.policy.score)
    kept = selection.selector(
        scores=scores, policy=fleet.params.policy, entropy=ctx or bytes(32), round=RoundNumber(round)
    )
    return ~LAYOUT.held(kept(keep))


def told(context: RoundContext, **changes: Any) -> RoundContext:
    """Another announcement than the honest one."""
    return attrs.evolve(context, **changes)


BASIC, HARD = SecurityLevel.BASIC, SecurityLevel.HARDENED
