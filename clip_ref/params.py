"""Parameters: a pruning policy, an encoding and a security level, validated at construction.   Spec: parameters, PAR-1..PAR-10.

One frozen object holds everything that all clients and the server must agree on. Its digest enters the round's context, so
two parties with different parameters cannot open each other's messages.
"""

from enum import StrEnum
from itertools import pairwise
from typing import Any, Final, NoReturn

import attrs

from clip_ref.canonical import digest
from clip_ref.errors import SERVER, ParameterError
from clip_ref.values import Digest, Ring

DEFAULT_GRID: Final = tuple(range(1000, 499, -25))
"""Keep levels 1000, 975, …, 500 ‰."""

MAX_HOLDERS: Final = 255
"""GF(2⁸) has 255 nonzero points: at most so many holders of a secret, self included."""


MAX_ROSTER: Final = 1 << 20
"""The most clients of a graph."""


class Choice(StrEnum):
    """One of a few named ways; given as its name too."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        names = ", ".join(f"`{choice.value}`" for choice in cls)
        raise _refuse("PAR-1", f"{value!r} is no {cls.__name__.lower()}; there are {names}")


class SecurityLevel(Choice):
    """What is checked beyond honest-but-curious parties."""

    BASIC = "basic"
    """Double masking, encrypted shares and times: secure against an honest-but-curious server."""

    HARDENED = "hardened"
    """Signatures, commitments and consistency too: secure against a malicious server."""


class Score(Choice):
    """How much a neuron changed since the previous model."""

    L1 = "l1"
    """Σ|ΔW| / Σ|W_prev| over the neuron's group, in exact integers: identical on every machine."""

    MEAN = "mean"
    """The mean over the group of |Δw|/|w_prev|, as the paper has it, in float64."""

    NORM = "norm"
    """‖Δw‖₂ / ‖w_prev‖₂ over the group, in float64."""

    MAX = "max"
    """The largest |Δw|/|w_prev| of the group, in float64."""

    SIZE = "size"
    """Σ|W| / |group| of the model alone, in exact integers: how large its weights are, whatever they were before."""


class Selection(Choice):
    """In which order neurons are pruned."""

    RANK = "rank"
    """The least changed first, however many are needed."""

    PAPER = "paper"
    """Invariant neurons first, then slack: a shared random permutation of the others."""

    STRICT = "strict"
    """Invariant neurons alone, even where that prunes too few to be on time."""

    ORDERED = "ordered"
    """The last of each layer first, so that what is kept is always a prefix (FjORD). Scores count for nothing."""


class SlackSeed(Choice):
    """What seeds the permutation that slack is drawn from."""

    RECORDS = "records"
    """The opened time records of U2: no party chooses it, and the server does not know it."""

    CONTEXT = "context"
    """The round's context: public, so that the server can work out who holds a coordinate."""


class Mean(Choice):
    """What a coordinate's sum is divided by."""

    DILUTE = "dilute"
    """The weight of everybody: the zeros of those who pruned it drag the mean down, as in the paper."""

    LEVELS = "levels"
    """The weight of those whose keep level holds it, from one ring element per level."""

    HOLDER = "holder"
    """The weight of everybody, after each holder scaled its value by total/holders' weight."""

    STRATA = "strata"
    """The weight of everybody, after each straggler stood in for the stragglers that pruned what it holds."""

    @property
    def scales(self) -> bool:
        """Whether clients scale their values before they are summed, which takes knowing who prunes what."""
        return self in (Mean.HOLDER, Mean.STRATA)


class Weighting(Choice):
    """What a client's update weighs."""

    EXAMPLES = "examples"
    """Its number of training examples, at most `weight_max`."""

    BUCKETS = "buckets"
    """The largest power of two that is not above that number."""

    UNIFORM = "uniform"
    """1."""


def _refuse(rule: str, detail: str) -> ParameterError:
    return ParameterError(rule=rule, detail=detail)


def _per_mille(rule: str, name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise _refuse(rule, f"{name} must be {low} … {high} ‰, got {value}")


@attrs.frozen(kw_only=True)
class PruningPolicy:
    """Who prunes, how much and what."""

    straggler_share: int = 200
    """p: the share of clients that are candidates, ‰, 0 … 500. 0: nobody ever prunes."""

    margin: int = 50
    """δ: a candidate becomes a straggler above (1 + δ)·T*, ‰, 0 … 1000."""

    grid: tuple[int, ...] = DEFAULT_GRID
    """The keep levels, ‰, strictly descending from 1000, at most 64 of them."""

    network_aware: bool = True
    """Whether a keep level must make up for a slow network too (over-pruning), not for the processor alone."""

    score: Score = attrs.field(default=Score.L1, converter=Score)
    """How change is measured."""

    selection: Selection = attrs.field(default=Selection.RANK, converter=Selection)
    """Which neurons go first."""

    threshold: int = 1000
    """κ: a neuron is invariant below κ times its layer's pooled mean change, ‰, 0 … 10000. `rank` ignores it."""

    slack_seed: SlackSeed = attrs.field(default=SlackSeed.RECORDS, converter=SlackSeed)
    """What seeds the slack of `paper` selection."""

    age_cap: int = 0
    """A: neuron j is exempt in rounds i with i ≡ j (mod A), so none is pruned A rounds running. 0: no cap."""

    mean: Mean = attrs.field(default=Mean.LEVELS, converter=Mean)
    """How a coordinate that some pruned is averaged."""

    holder_cap: int = 4
    """The largest factor by which `holder` or `strata` scales a value, 1 … 64."""

    anonymity_blocks: bool = True
    """Whether stragglers prune in blocks of at least c + 2 alike, so that no single one can be isolated."""

    spread: bool = False
    """Whether each block prunes neurons of its own, as far as there are enough, so that other stragglers still train them."""

    bucket_first: int = 10_000
    """The upper edge of the first bucket of the graph's time histogram, µs, at least 1."""

    bucket_ratio: int = 1050
    """Each bucket's upper edge over the one before, ‰, 1001 … 2000."""

    bucket_count: int = 256
    """How many buckets there are, 1 … 4096: the defaults reach from 10 ms to 42 min in steps of 5 %."""

    min_roster: int = 10
    """Nobody prunes in a round with fewer clients than this in U2."""

    warm_up: int = 2
    """Nobody prunes in rounds 1 … warm_up: change since the initial model says nothing yet."""

    deadline: int = 0
    """Deadline mode: the longest that uploads are held back after the start of `Deliver`, µs, 0 … 2⁵³ − 1. 0: not at all."""

    def terms(self, clients: int) -> int:
        """PAR-7: how many times one client's largest value a sum over so many clients can come to: n + (cap − 1)·s.

        s is how many of them may scale their values: all under `holder`, the candidates under `strata`, otherwise none.
        """
        scaling = {Mean.HOLDER: clients, Mean.STRATA: self.straggler_share * clients // 1000}.get(self.mean, 0)
        return clients + (self.holder_cap - 1) * scaling

    def for_graph(self) -> "PruningPolicy":
        """The policy as far as a graph can have it (PAR-10): without blocks and turns, and `levels` for a mean that scales."""
        mean = Mean.LEVELS if self.mean.scales else self.mean
        return attrs.evolve(self, mean=mean, anonymity_blocks=False, spread=False)

    @property
    def scored(self) -> Score:
        """The score that is computed: where scores count for nothing, one that goes without history."""
        nothing_invariant = self.selection is Selection.PAPER and self.threshold == 0
        return Score.SIZE if self.selection is Selection.ORDERED or nothing_invariant else self.score

    @property
    def needs_history(self) -> bool:
        """Whether which neurons go depends on the model before this one."""
        return self.scored is not Score.SIZE

    def __attrs_post_init__(self) -> None:
        """PAR-1..PAR-4."""
        _per_mille("PAR-1", "straggler_share", self.straggler_share, 0, 500)
        _per_mille("PAR-1", "margin", self.margin, 0, 1000)
        _per_mille("PAR-1", "threshold", self.threshold, 0, 10000)
        grid = self.grid
        if not grid or grid[0] != 1000 or len(grid) > 64 or grid[-1] < 1:
            raise _refuse("PAR-2", f"the grid has 1 … 64 keep levels from 1000 ‰ down to 1 ‰ at least, got {grid}")
        if any(a <= b for a, b in pairwise(grid)):
            raise _refuse("PAR-2", f"the grid must descend strictly, got {grid}")
        if self.age_cap and self.age_cap * grid[-1] < 2000:
            raise _refuse("PAR-3", f"an age cap of {self.age_cap} exempts more neurons than {grid[-1]} ‰ can keep")
        if self.age_cap < 0 or self.min_roster < 0 or self.warm_up < 1 or not 1 <= self.holder_cap <= 64:
            raise _refuse("PAR-3", "age_cap and min_roster are at least 0, warm_up at least 1, holder_cap 1 … 64")
        if self.bucket_first < 1 or not 1001 <= self.bucket_ratio <= 2000 or not 1 <= self.bucket_count <= 4096:
            raise _refuse("PAR-3", "bucket_first is at least 1, bucket_ratio 1001 … 2000, bucket_count 1 … 4096")
        if not 0 <= self.deadline < 1 << 53:
            raise _refuse("PAR-3", f"the deadline is 0 … 2^53 - 1 µs, got {self.deadline}")
        public = self.selection is not Selection.PAPER or self.slack_seed is SlackSeed.CONTEXT
        if self.mean is Mean.LEVELS and not public:
            raise _refuse(
                "PAR-4",
                "the mean `levels` needs a selection that the server can recompute: `rank`, `strict`, or `paper` with "
                "its slack seeded from the context",
            )
        if self.mean is Mean.LEVELS and self.spread:
            raise _refuse("PAR-4", "the mean `levels` cannot tell blocks apart that prune alike much: use `strata`")


@attrs.frozen(kw_only=True)
class Encoding:
    """How floats become ring elements."""

    ring_bits: int = 32
    """b: 32 or 64."""

    clip: float = attrs.field(default=1.0, converter=float)
    """C: each value of an update is clipped to ±C; positive, finite float64."""

    value_bits: int = 16
    """q: a value takes q bits with its sign, 2 … 32."""

    weighting: Weighting = attrs.field(default=Weighting.EXAMPLES, converter=Weighting)
    """What an update weighs."""

    weight_max: int = 1024
    """The largest weight, 1 … 2³² − 1; larger ones saturate."""

    def __attrs_post_init__(self) -> None:
        """PAR-5."""
        if self.ring_bits not in (32, 64):
            raise _refuse("PAR-5", f"ring_bits must be 32 or 64, got {self.ring_bits}")
        if not 0 < self.clip < float("inf"):
            raise _refuse("PAR-5", f"clip must be a positive finite number, got {self.clip}")
        if not 2 <= self.value_bits <= 32 or not 1 <= self.weight_max < 1 << 32:
            raise _refuse("PAR-5", "value_bits must be 2 … 32 and weight_max 1 … 2^32 - 1")

    @property
    def ring(self) -> Ring:
        """Z_R."""
        return Ring(bits=64 if self.ring_bits == 64 else 32)

    @property
    def steps(self) -> int:
        """2^(q−1) − 1: the integer that C maps to."""
        return (1 << (self.value_bits - 1)) - 1


@attrs.frozen(kw_only=True)
class Params:
    """Everything that the parties of a run agree on."""

    clients: int
    """n: the largest roster: 2 … 255 in a clique, to 2²⁰ on a graph."""

    neighbours: int = 0
    """k: how many neighbours a client has on a graph, even, 2 … 254 and below n − 1; 0: a clique."""

    threshold: int = attrs.field()
    """t: how many of a secret's holders must stay to the end, 2 … their number; default ⌊2/3⌋ of it + 1, at most all."""

    min_survivors: int = attrs.field()
    """The fewest clients whose sum is revealed: t in a clique; on a graph by default ⌊2n/3⌋ + 1."""

    colluders: int = 0
    """c: how many clients may collude with the server, 0 … t − 1; on a graph, of the holders of any one client's secrets."""

    policy: PruningPolicy = attrs.field(factory=PruningPolicy)
    """Who prunes what."""

    encoding: Encoding = attrs.field(factory=Encoding)
    """Floats to ring elements and back."""

    security: SecurityLevel = attrs.field(default=SecurityLevel.BASIC, converter=SecurityLevel)
    """What is checked."""

    @threshold.default
    def _default_threshold(self) -> int:
        return min(self.holders, 2 * self.holders // 3 + 1)

    @min_survivors.default
    def _default_survivors(self) -> int:
        return min(self.clients, 2 * self.clients // 3 + 1) if self.neighbours else self.threshold

    def __attrs_post_init__(self) -> None:
        """PAR-6, PAR-7, PAR-8, PAR-10."""
        if self.neighbours:
            self._check_graph()
        elif not 2 <= self.clients <= MAX_HOLDERS:
            raise _refuse("PAR-6", f"a round needs 2 … {MAX_HOLDERS} clients, got {self.clients}")
        elif self.min_survivors != self.threshold:
            raise _refuse("PAR-6", "in a clique the threshold is what survivors are held against")
        if not 2 <= self.threshold <= self.holders:
            raise _refuse("PAR-6", f"the threshold must be 2 … {self.holders}, got {self.threshold}")
        if not 0 <= self.colluders < self.threshold:
            raise _refuse("PAR-6", f"colluders must be fewer than the threshold {self.threshold}, got {self.colluders}")
        if self.hardened:
            self._check_hardened()
        worst, half = self.worst_case, self.encoding.ring.modulus // 2
        if worst >= half:
            raise _refuse(
                "PAR-7",
                f"the largest possible sum {worst} reaches R/2 = {half}: lower value_bits, weight_max or the number of "
                "clients, or use a ring of 64 bits",
            )

    def _check_graph(self) -> None:
        """PAR-10: what a graph cannot do is refused, not passed over."""
        k = self.neighbours
        if k % 2 or not 2 <= k < min(self.clients - 1, MAX_HOLDERS) or self.clients > MAX_ROSTER:
            raise _refuse(
                "PAR-10",
                f"k must be even, at least 2 and below n − 1 and {MAX_HOLDERS}, got {k} with n = {self.clients}",
            )
        policy = self.policy
        if policy.mean.scales or policy.anonymity_blocks or policy.spread or not policy.network_aware:
            raise _refuse(
                "PAR-10",
                "on a graph nobody knows all records: no mean `holder` or `strata`, no anonymity_blocks, no spread, no "
                "compute-only keep",
            )
        if self.policy.selection is Selection.PAPER and self.policy.slack_seed is SlackSeed.RECORDS:
            raise _refuse("PAR-10", "on a graph there are no shared records to seed slack from: use the context")
        if not self.threshold <= self.min_survivors <= self.clients:
            raise _refuse("PAR-10", f"min_survivors is {self.threshold} … {self.clients}, got {self.min_survivors}")

    def _check_hardened(self) -> None:
        """PAR-8: what a malicious server must not be given."""
        t, n, c = self.threshold, self.holders, self.colluders
        if 2 * t <= n + c:
            raise _refuse(
                "PAR-8", f"security level `hardened` needs 2t > n + c: t = {t}, n = {n}, c = {c}; raise the threshold"
            )
        candidates = self.policy.straggler_share * n // 1000 if self.policy.anonymity_blocks else 0
        if t - candidates < c + 2:
            raise _refuse(
                "PAR-8",
                f"with t = {t}, {candidates} candidates and c = {c}, a sum could cover a single honest client: "
                "security level `hardened` needs t − candidates ≥ c + 2",
            )

    @property
    def holders(self) -> int:
        """How many clients hold shares of one client's secrets, itself included: n in a clique, k + 1 on a graph."""
        return self.neighbours + 1 if self.neighbours else self.clients

    @property
    def buckets(self) -> int:
        """How many buckets the time histogram has: none in a clique."""
        return self.policy.bucket_count if self.neighbours else 0

    @property
    def extras(self) -> int:
        """How many ring elements follow the update: one per keep level, whatever the mean, and one per bucket."""
        return len(self.policy.grid) + self.buckets

    @property
    def worst_case(self) -> int:
        """The largest absolute value that a coordinate of the sum can take: terms · weight_max · (2^(q−1) − 1)."""
        return self.policy.terms(self.clients) * self.encoding.weight_max * self.encoding.steps

    @property
    def hardened(self) -> bool:
        """Whether messages are signed, secrets committed to, and views agreed on."""
        return self.security is SecurityLevel.HARDENED

    @property
    def block_size(self) -> int:
        """s_min = c + 2 with anonymity blocks, else 1."""
        return self.colluders + 2 if self.policy.anonymity_blocks else 1

    def digest(self) -> Digest:
        """PAR-9: one digest of every field, by name, in declaration order."""
        return digest("params", _fields(self))

    def check_client_id(self, client: int) -> None:
        """Refuse an id that is not an unsigned 32-bit number or is the server's."""
        if not 0 <= client < SERVER:
            raise _refuse("PAR-6", f"a client id is 0 … 2^32 - 2, got {client}")


def _fields(value: Any) -> list[bytes]:
    parts: list[bytes] = []
    for field in attrs.fields(type(value)):
        item = getattr(value, field.name)
        parts.append(field.name.encode("ascii"))
        if attrs.has(type(item)):
            parts.extend(_fields(item))
        elif isinstance(item, float):
            parts.append(item.hex().encode("ascii"))
        elif isinstance(item, tuple):
            parts.append(",".join(str(int(entry)) for entry in item).encode("ascii"))
        else:
            parts.append((item.value if isinstance(item, StrEnum) else str(int(item))).encode("ascii"))
    return parts


PAPER_POLICY: Final = PruningPolicy(
    margin=0, score=Score.MEAN, selection=Selection.PAPER, mean=Mean.DILUTE, anonymity_blocks=False, min_roster=0
)
"""The preset `PAPER`: as literally as the paper's text allows."""

HARDENED_POLICY: Final = PruningPolicy(spread=True, mean=Mean.STRATA)
"""The preset `HARDENED`: what one should deploy."""

DRAWN_POLICY: Final = attrs.evolve(
    HARDENED_POLICY, selection=Selection.PAPER, threshold=0, slack_seed=SlackSeed.CONTEXT
)
"""The preset `DRAWN`: `HARDENED` with neurons drawn anew in every round. It needs no history: for clients that come and go."""

NO_PRUNING: Final = PruningPolicy(straggler_share=0, mean=Mean.DILUTE)
"""Plain secure aggregation: nobody prunes."""
