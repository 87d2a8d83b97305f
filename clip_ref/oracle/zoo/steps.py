"""Wrong implementations of the steps and of the round."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import numpy as np

from clip_ref import invariance, masking, selection
from clip_ref.errors import ContributionError
from clip_ref.oracle.zoo.defect import defect
from clip_ref.oracle.zoo.primitives import FLOWER, FLUID, Original
from clip_ref.params import Mean
from clip_ref.scores import LayerScores

# Identification.


@defect(
    "IDN-1",
    "identification.valid",
    name="RisingPredictionsTaken",
)
def _(original: Original) -> Original:
    def valid(record: Any, *, params: Any) -> Any:
        fit = tuple(sorted(record.fit, reverse=True))
        return original(attrs.evolve(record, fit=fit), params=params)

    return valid


@defect(
    "IDN-2",
    "values.saturate",
    name="TimesWrap",
)
def _(original: Original) -> Original:
    return lambda microseconds: microseconds % (1 << 64)


@defect(
    "IDN-8",
    "identification.identify",
    name="BlockTiesToLargerId",
)
def _(original: Original) -> Original:
    def identify(*, records: Mapping[Any, Any], params: Any, round: Any) -> Any:
        top = max(records, default=0)
        plan = original(records={top - u: record for u, record in records.items()}, params=params, round=round)
        verdicts = {u: plan.verdicts[top - u] for u in sorted(records)}
        return attrs.evolve(plan, verdicts=verdicts)

    return identify


@defect(
    "IDN-5",
    "identification._is_straggler",
    name="MarginOnLeavingToo",
)
def _(original: Original) -> Original:
    return lambda record, target, margin: original(attrs.evolve(record, was_straggler=False), target, margin)


@defect(
    "IDN-6",
    "identification._keep_level",
    name="KeepLevelOneTooLow",
    description="Takes the keep level below the largest one that is in time.",
)
def _(original: Original) -> Original:
    def keep_level(record: Any, target: int, target_fit: int, params: Any) -> Any:
        verdict = original(record, target, target_fit, params)
        grid = params.policy.grid
        if not params.policy.network_aware or verdict.saturated:
            return verdict
        return attrs.evolve(verdict, keep=grid[min(grid.index(verdict.keep) + 1, len(grid) - 1)])

    return keep_level


@defect(
    "IDN-7",
    "identification._keep_level",
    name="NetworkCountsAnyway",
)
def _(original: Original) -> Original:
    def keep_level(record: Any, target: int, target_fit: int, params: Any) -> Any:
        aware = attrs.evolve(params, policy=attrs.evolve(params.policy, network_aware=True))
        return original(record, target, target_fit, aware)

    return keep_level


@defect("IDN-8", "identification._restrain", name="LonePrunerKept")
def _(original: Original) -> Original:
    def restrain(verdicts: Any, records: Any, params: Any, round: Any) -> Any:
        alone = attrs.evolve(params, policy=attrs.evolve(params.policy, anonymity_blocks=False))
        return original(verdicts, records, alone, round)

    return restrain


@defect(
    "IDN-9",
    "identification._restrain",
    name="PrunesInWarmUp",
    description="Prunes from the first round on.",
)
def _(original: Original) -> Original:
    return lambda verdicts, records, params, round: original(
        verdicts, records, params, max(round, params.policy.warm_up + 1)
    )


@defect("IDN-12", "identification._restrain", name="TurnsIgnored")
def _(original: Original) -> Original:
    def restrain(verdicts: Any, records: Any, params: Any, round: Any) -> Any:
        found = original(verdicts, records, params, round)
        return {u: attrs.evolve(verdict, ahead=()) for u, verdict in found.items()}

    return restrain


# The graph.


@defect(
    "GRA-3",
    "graph._parent",
    name="NodesUnlabelled",
)
def _(original: Original) -> Original:
    import hashlib

    return lambda left, right: hashlib.sha256(left + right).digest()


@defect(
    "GRA-4", "graph.check_proof", name="ProofNotChecked", description="Takes any bundle for a member of the roster."
)
def _(original: Original) -> Original:
    return lambda **known: None


@defect(
    "GRA-5",
    "graph.bitmap",
    name="BitsFromTheTop",
)
def _(original: Original) -> Original:
    def bitmap(*, positions: Iterable[int], count: int) -> bytes:
        bits = np.zeros(-(-count // 8) * 8, dtype=np.uint8)
        bits[list(positions)] = 1
        return np.packbits(bits).tobytes()

    return bitmap


# Invariance.


@defect(
    "INV-2",
    "invariance.quantise",
    name="TruncatesWeights",
)
def _(original: Original) -> Original:
    def quantise(weights: Any) -> Any:
        scaled = np.trunc(weights.astype(np.float64) * invariance.WEIGHT_SCALE)
        return np.clip(scaled, -invariance.WEIGHT_LIMIT, invariance.WEIGHT_LIMIT).astype(np.int64)

    return quantise


@defect(
    "INV-4",
    "invariance._l1",
    name="FloorLeftOut",
)
def _(original: Original) -> Original:
    def l1(now: Any, before: Any, layout: Any) -> Any:
        out = []
        for scores, layer in zip(original(now, before, layout), layout.layers, strict=True):
            scale = np.maximum(invariance.group_sums(np.abs(before), layout, layer), 1)
            out.append(LayerScores(scores.layer, scores.change, scale))
        return tuple(out)

    return l1


@defect(
    "INV-5",
    "invariance.group_sums",
    name="SelfWeightsCountedTwice",
)
def _(original: Original) -> Original:
    def group_sums(values: Any, layout: Any, layer: Any) -> Any:
        out = np.zeros(layer.neurons, dtype=values.dtype)
        for tensor, part in invariance._tensors_of(values, layout, layer):
            for at, axis in enumerate(tensor.axes):
                if axis.layer == layer.name:
                    along = part.sum(axis=tuple(i for i in range(part.ndim) if i != at))
                    np.add.at(out, layout.owners(axis), along)
        return out

    return group_sums


@defect("INV-9", "invariance.score", name="SizeOfHistory")
def _(original: Original) -> Original:
    def score(*, model: Any, history: Any, layout: Any, mode: Any) -> Any:
        sized = mode.value == "size" and history is not None
        return original(model=history if sized else model, history=history, layout=layout, mode=mode)

    return score


@defect(
    "INV-8",
    "scores.invariant",
    name="ThresholdOfTheLargest",
    description="Holds a neuron's change against the largest of its layer, not against the pooled mean.",
    source=FLUID,
)
def _(original: Original) -> Original:
    def invariant(*, scores: Any, threshold: int) -> Any:
        ratios = [int(a) / int(b) for a, b in zip(scores.change, scores.scale, strict=True)]
        return np.array([1000 * ratio < threshold * max(ratios) for ratio in ratios], dtype=bool)

    return invariant


# Selection.


@defect(
    "SEL-1",
    "selection.ranking",
    name="RankedInFloats",
)
def _(original: Original) -> Original:
    def ranking(*, scores: Any) -> list[int]:
        ratios = [float(a) / float(b) for a, b in zip(scores.change, scores.scale, strict=True)]
        return sorted(range(len(ratios)), key=lambda j: (ratios[j], j))

    return ranking


@defect(
    "SEL-1",
    "selection.ranking",
    name="RankedIn64Bits",
)
def _(original: Original) -> Original:
    from functools import cmp_to_key

    def wrapped(product: int) -> int:
        return (product + (1 << 63)) % (1 << 64) - (1 << 63)

    def ranking(*, scores: Any) -> list[int]:
        change, scale = [int(a) for a in scores.change], [int(b) for b in scores.scale]

        def compare(i: int, j: int) -> int:
            return wrapped(change[i] * scale[j]) - wrapped(change[j] * scale[i]) or i - j

        return sorted(range(len(change)), key=cmp_to_key(compare))

    return ranking


@defect(
    "SEL-4",
    "selection.pruning_order",
    name="SlackByRank",
)
def _(original: Original) -> Original:
    def order(*, scores: Any, policy: Any, entropy: bytes, round: Any) -> list[int]:
        if policy.selection.value != "paper":
            return original(scores=scores, policy=policy, entropy=entropy, round=round)  # type: ignore[no-any-return]
        found = selection.ranking(scores=scores)
        return [j for j in found if not policy.age_cap or (round - j) % policy.age_cap]

    return order


@defect(
    "SEL-5",
    "selection.pruning_order",
    name="AgeCapLeftOut",
)
def _(original: Original) -> Original:
    return lambda *, policy, **known: original(policy=attrs.evolve(policy, age_cap=0), **known)


@defect(
    "SEL-6",
    "layout.kept_count",
    name="KeptRoundedUp",
)
def _(original: Original) -> Original:
    return lambda neurons, keep: max(1, -(-keep * neurons // 1000))


@defect(
    "SEL-6",
    "layout.kept_count",
    name="NoneLeft",
)
def _(original: Original) -> Original:
    return lambda neurons, keep: keep * neurons // 1000


@defect("SEL-8", "selection.selector", name="TurnNotTaken")
def _(original: Original) -> Original:
    def selector(**known: Any) -> Any:
        kept = original(**known)
        return lambda keep, ahead=(): kept(keep)

    return selector


@defect("SEL-9", "selection.pruning_order", name="OrderedFromTheFront")
def _(original: Original) -> Original:
    def order(*, policy: Any, **known: Any) -> Any:
        found = original(policy=policy, **known)
        return sorted(found) if policy.selection.value == "ordered" else found

    return order


# Sub-models, coding, padding.


@defect(
    "SUB-4",
    "submodel.expand",
    name="ExpandedAtTheFront",
)
def _(original: Original) -> Original:
    def expand(*, delta: Any, layout: Any, kept: Any) -> Any:
        size = len(original(delta=delta, layout=layout, kept=kept))
        return np.concatenate([delta, np.zeros(size - len(delta), dtype=np.float32)])

    return expand


@defect(
    "COD-2",
    "codec._check_update",
    name="NaNQuantised",
    source=FLOWER,
)
def _(original: Original) -> Original:
    def check(update: Any) -> None:
        if update.dtype != np.float32 or update.ndim != 1:
            original(update)

    return check


@defect("COD-3", "codec._quantise_into", name="ValuesTruncated")
def _(original: Original) -> Original:
    def into(values: Any, update: Any, encoding: Any) -> None:
        wide = np.clip(update.astype(np.float64), -encoding.clip, encoding.clip) * encoding.steps / encoding.clip
        values[:] = np.trunc(wide).astype(values.dtype)

    return into


@defect(
    "COD-4",
    "codec.encode",
    name="WeightBeforeClipping",
    source=FLOWER,
)
def _(original: Original) -> Original:
    def encode(*, update: Any, weight: int, encoding: Any) -> Any:
        original(update=update, weight=weight, encoding=encoding)
        scaled = (update.astype(np.float64) * weight).astype(np.float32)
        return original(update=np.clip(scaled, -3e38, 3e38).astype(np.float32), weight=1, encoding=encoding)

    return encode


@defect("COD-5", "codec._scale", "codec._scale_all", name="ScaledWithoutCap")
def _(original: Original, target: str) -> Original:
    return lambda value, total, holders, cap: original(value, total, holders, max(cap, total + 1))


@defect(
    "PAD-5",
    "padding.pad",
    name="WeightAtFirst",
)
def _(original: Original) -> Original:
    def pad(*, params: Any, **known: Any) -> Any:
        if params.policy.mean is not Mean.LEVELS:
            return original(params=params, **known)
        return original(params=attrs.evolve(params, policy=attrs.evolve(params.policy, mean=Mean.DILUTE)), **known)

    return pad


# Masking.


@defect("MSK-5", "masking.mask", name="ReversedSign")
def _(original: Original) -> Original:
    def mask(*, sender: Any, pair_seeds: Mapping[Any, Any], **known: Any) -> Any:
        top = max([sender, *pair_seeds])
        return original(sender=top - sender, pair_seeds={top - u: s for u, s in pair_seeds.items()}, **known)

    return mask


@defect(
    "MSK-5",
    "masking.mask",
    name="SelfMaskLeftOut",
)
def _(original: Original) -> Original:
    def mask(*, ring: Any, update: Any, self_seed: Any, pair_seeds: Any, sender: Any, **_: Any) -> Any:
        masked = original(ring=ring, update=update, self_seed=self_seed, pair_seeds=pair_seeds, sender=sender)
        return masking.unmask(ring=ring, total=masked, self_seeds=[self_seed], dangling={})

    return mask


# Aggregation.


@defect("AGG-9", "aggregation.scaled_among", name="StrataAmongAll")
def _(original: Original) -> Original:
    def among(*, weights: Any, **known: Any) -> Any:
        return dict(weights) if original(weights=weights, **known) else {}

    return among


@defect("AGG-9", "aggregation.scaled_among", name="StrataLeftOut")
def _(original: Original) -> Original:
    def among(*, mean: Any, **known: Any) -> Any:
        return original(mean=Mean.DILUTE if mean is Mean.STRATA else mean, **known)

    return among


@defect(
    "AGG-2",
    "aggregation.read_slots",
    name="SlotsNotChecked",
)
def _(original: Original) -> Original:
    def read(*, total: Any, size: int, params: Any, survivors: int) -> Any:
        try:
            return original(total=total, size=size, params=params, survivors=survivors)
        except ContributionError:
            slots = tuple(int(s) for s in total[size : size + len(params.policy.grid)])
            if not sum(slots):
                raise
            return slots

    return read


@defect(
    "AGG-2",
    "aggregation.read_slots",
    name="SlotsHeldAgainstAll",
)
def _(original: Original) -> Original:
    def read(*, params: Any, survivors: int, **known: Any) -> Any:
        try:
            return original(params=params, survivors=survivors, **known)
        except ContributionError:
            slots = original(params=params, survivors=params.clients, **known)
            if sum(slots) < survivors:
                raise
            return slots

    return read


@defect(
    "AGG-8",
    "aggregation.read_histogram",
    name="HistogramHeldAgainstAll",
)
def _(original: Original) -> Original:
    return lambda *, params, survivors, **known: original(params=params, survivors=params.clients, **known)


@defect(
    "AGG-3",
    "aggregation.level_weights",
    name="WholeWeightUnderLevels",
)
def _(original: Original) -> Original:
    return lambda *, slots, held, size, grid: np.full(size, sum(slots), dtype=np.int64)


@defect(
    "AGG-7",
    "aggregation.aggregate",
    name="MeanRoundedTwice",
)
def _(original: Original) -> Original:
    def aggregate(*, model: Any, **known: Any) -> Any:
        found = original(model=model, **known)
        mean = original(model=np.zeros_like(model), **known).model
        return attrs.evolve(found, model=(model + mean).astype(np.float32))

    return aggregate


# The round.


@defect(
    "ROU-12",
    "round.server.Server._unmasked",
    name="CorruptShareUnnoticed",
    description="Does not hold what it rebuilds against what was committed to, and decodes a wrong sum.",
    source=FLOWER,
)
def _(original: Original) -> Original:
    from clip_ref import agreement, keys

    def unmasked(self: Any) -> Any:
        server = vars(__import__("clip_ref.round.server", fromlist=["server"]))
        kept = server["keys"], server["agreement"]
        advertised = {bundle.mask_key for bundle in self.u1.values()}
        committed = {bundle.seed_commitment for bundle in self.u1.values()}

        class Anything(bytes):
            def __eq__(self, other: object) -> bool:
                return other in advertised or other in committed or bytes(self) == other

            def __ne__(self, other: object) -> bool:
                return not self == other

            __hash__ = bytes.__hash__

        def public_key(secret: Any) -> bytes:
            return Anything(keys.public_key(secret))

        def seed_commitment(**known: Any) -> bytes:
            return Anything(agreement.seed_commitment(**known))

        server["keys"] = _Stand(keys, public_key=public_key)
        server["agreement"] = _Stand(agreement, seed_commitment=seed_commitment)
        try:
            return original(self)
        finally:
            server["keys"], server["agreement"] = kept

    return unmasked


class _Stand:
    """A module with some of its functions replaced."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        self._module, self._replaced = module, replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced.get(name) or getattr(self._module, name)


@defect(
    "ROU-22",
    "round.client.Client._check_open",
    name="AnySession",
)
def _(original: Original) -> Original:
    def check(self: Any, context: Any) -> Any:
        self._session = None
        return original(self, context)

    return check


@defect(
    "ROU-4",
    "round.client.Client.open",
    name="RefusedOpenUsesUp",
)
def _(original: Original) -> Original:
    def opened(self: Any, message: Any) -> Any:
        try:
            return original(self, message)
        except ContributionError:
            if self._next == "open":
                self._next = "nothing more"
            raise

    return opened


@defect(
    "ROU-23",
    "round.client.Client._draw",
    name="SecretsFromEntropyAlone",
)
def _(original: Original) -> Original:
    from clip_ref.rand import derive

    return lambda self, purpose: derive(secret=self._entropy, salt=b"", purpose=f"client {purpose}", ids=(self.me,))


@defect(
    "ROU-8",
    "round.client.Client._seen",
    name="AnyAnnounceAnswered",
    description="Answers for whatever lists it is shown, so that one client may be called alive and dropped out.",
    source=FLOWER,
)
def _(original: Original) -> Original:
    def seen(self: Any, message: Any) -> Any:
        try:
            return original(self, message)
        except ContributionError:
            from clip_ref import agreement

            self._u3 = message.survivors
            return agreement.views(ctx=self._ctx, u2=self._u2, u3=message.survivors)

    return seen


@defect(
    "ROU-11",
    "round.server.Server.close_share",
    name="SetUpDropOutKills",
    source=FLOWER,
)
def _(original: Original) -> Original:
    def close(self: Any) -> Any:
        found = original(self)
        for client in self.u1:
            self.u2[client]  # which a client that dropped out is not in
        return found

    return close
