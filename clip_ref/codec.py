"""Codec: where floats stop. Updates to ring elements, sums back to means.   Spec: codec, rules COD-1..COD-7."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clip_ref.errors import PreconditionError
from clip_ref.params import Encoding, Weighting
from clip_ref.values import Floats, RingVector, check_finite

BLOCK: Final = 1 << 15
"""How many values are coded at a time: the scratch stays in a core's own cache."""


def weight_of(*, examples: int, encoding: Encoding) -> int:
    """COD-1: the weight of an update from `examples` ≥ 1 training examples: 1 … weight_max, saturating."""
    if examples < 1:
        raise PreconditionError(rule="COD-1", detail=f"a client trains on at least 1 example, got {examples}")
    if encoding.weighting is Weighting.UNIFORM:
        return 1
    capped = min(examples, encoding.weight_max)
    return 1 << (capped.bit_length() - 1) if encoding.weighting is Weighting.BUCKETS else capped


def quantise(*, update: Floats, encoding: Encoding) -> NDArray[np.int64]:
    """COD-2, COD-3: v = round_half_even(clip(Δ, ±C)·(2^(q−1) − 1)/C), in float64: int64[d], |v| ≤ 2^(q−1) − 1, 0 ↦ 0.

    `update` is float32[d] and finite: NaN and infinities are refused, not turned into numbers.
    """
    _check_update(update)
    values = np.empty(len(update), dtype=np.int64)
    _quantise_into(values, update, encoding)
    return values


def _check_update(update: Floats) -> None:
    if update.dtype != np.float32 or update.ndim != 1:
        raise PreconditionError(rule="COD-2", detail=f"an update is float32[d], got {update.dtype}{list(update.shape)}")
    check_finite(update, rule="COD-2", name="the update")


def _quantise_into(values: NDArray[np.signedinteger[Any]], update: Floats, encoding: Encoding) -> None:
    """Block by block, in scratch that is used again; |v| < 2³¹ fits any of the rings."""
    scratch = np.empty(min(BLOCK, len(update)), dtype=np.float64)
    for at in range(0, len(update), BLOCK):
        part, block = update[at : at + BLOCK], values[at : at + BLOCK]
        floats = scratch[: len(part)]
        np.copyto(floats, part)
        floats.clip(-encoding.clip, encoding.clip, out=floats)
        floats *= encoding.steps
        if encoding.clip != 1:  # the default; a division by it changes nothing
            floats /= encoding.clip
        np.copyto(block, np.rint(floats, out=floats), casting="unsafe")


def encode(*, update: Floats, weight: int, encoding: Encoding) -> RingVector:
    """COD-4: weight·v in Z_R, two's complement: uint32|uint64[d], read-only.

    `weight` is 1 … weight_max; that no sum overflows was settled when the parameters were made (PAR-7).
    """
    _check_weight(weight, encoding)
    _check_update(update)
    coded = np.empty(len(update), dtype=encoding.ring.dtype)
    _quantise_into(encoding.ring.signed(coded), update, encoding)
    coded *= encoding.ring.dtype.type(weight)  # modulo R, as an unsigned product of two's complements is
    coded.flags.writeable = False
    return coded


def encode_scaled(
    *, update: Floats, weight: int, total: int, holders: NDArray[np.int64], cap: int, encoding: Encoding
) -> RingVector:
    """COD-5: as `encode`, with each value scaled by min(total/holders, cap), rounded half to even, in integers.

    `total` is the weight of everybody in U2 (mean `holder`) or of those who prune (`strata`), `holders` (int64[d]) the weight
    of those among them who hold each coordinate. Where nobody holds one, the value must be 0 and stays 0.
    Two ways to work it out, with the same bits: in 64 bits where they suffice, else in integers of any length.
    """
    _check_weight(weight, encoding)
    values = quantise(update=update, encoding=encoding)
    _check_divisor(holders, len(values), "COD-5")
    if (values[holders == 0] != 0).any():
        raise PreconditionError(rule="COD-5", detail="a coordinate that nobody holds has a nonzero update")
    largest = max(encoding.steps * weight * abs(total), max(cap, 2) * max(int(holders.max(initial=0)), 1))
    if largest < 1 << 62:
        return _to_ring(_scale_all(values * weight, total, holders, cap), encoding)
    scaled = np.zeros(len(values), dtype=np.int64)
    # Some product may pass 64 bits here, so each distinct value is scaled once, in Python's integers.
    for held_by in np.unique(holders):
        here = holders == held_by
        distinct, where = np.unique(values[here], return_inverse=True)
        results = [_scale(int(value) * weight, total, int(held_by), cap) for value in distinct]
        scaled[here] = np.array(results, dtype=np.int64)[where]
    return _to_ring(scaled, encoding)


def _scale_all(values: NDArray[np.int64], total: int, holders: NDArray[np.int64], cap: int) -> NDArray[np.int64]:
    """`_scale` of each, where no product passes 62 bits."""
    divisor = np.maximum(holders, 1)
    quotient, rest = np.divmod(values * total, divisor)
    twice = 2 * rest
    quotient += (twice > divisor) | ((twice == divisor) & (quotient % 2 == 1))
    capped = np.where(total >= cap * holders, values * cap, quotient)
    return np.where(holders == 0, 0, capped)


def _scale(value: int, total: int, holders: int, cap: int) -> int:
    """value·min(total/holders, cap), rounded half to even."""
    if holders == 0:
        return 0
    if total >= cap * holders:
        return value * cap
    quotient, rest = divmod(value * total, holders)
    return quotient + (2 * rest > holders or (2 * rest == holders and quotient % 2 == 1))


def _check_weight(weight: int, encoding: Encoding) -> None:
    if not 1 <= weight <= encoding.weight_max:
        raise PreconditionError(rule="COD-4", detail=f"a weight is 1 … {encoding.weight_max}, got {weight}")


def _check_divisor(weights: NDArray[np.int64], length: int, rule: str) -> None:
    if weights.dtype != np.int64 or weights.shape != (length,) or (weights < 0).any():
        raise PreconditionError(
            rule=rule,
            detail=f"holders' weights are nonnegative int64[{length}], got {weights.dtype}{list(weights.shape)}",
        )


def _to_ring(values: NDArray[np.int64], encoding: Encoding) -> RingVector:
    unsigned = values.astype("<i8").view("<u8").astype(encoding.ring.dtype)
    unsigned.flags.writeable = False
    return unsigned


def encode_slots(*, slots: Mapping[int, int], length: int, encoding: Encoding) -> RingVector:
    """COD-6: small nonnegative integers at their places, 0 elsewhere: uint32|uint64[length], read-only."""
    if length < 0:
        raise PreconditionError(rule="COD-6", detail=f"there are 0 or more slots, not {length}")
    values = np.zeros(length, dtype=np.int64)
    for at, value in slots.items():
        if not 0 <= at < length or not 0 <= value <= encoding.weight_max:
            raise PreconditionError(rule="COD-6", detail=f"slot {at} of {length} cannot hold {value}")
        values[at] = value
    return _to_ring(values, encoding)


def decode_mean(*, total: RingVector, weight: NDArray[np.int64], encoding: Encoding) -> NDArray[np.float64]:
    """COD-7: S·C/((2^(q−1) − 1)·h) in float64, and 0 where h = 0: float64[d].

    `total` is the sum over Z_R, `weight` the divisor h of each coordinate: int64[d], h ≥ 0.
    """
    encoding.ring.check(total, rule="COD-7", name="total")
    _check_divisor(weight, len(total), "COD-7")
    numerator, denominator = encoding.ring.signed(total).astype(np.float64), weight.astype(np.float64)
    numerator *= encoding.clip
    denominator *= encoding.steps
    if weight.all():
        return np.divide(numerator, denominator, out=numerator)
    return np.divide(numerator, denominator, out=np.zeros(len(total)), where=weight > 0)
