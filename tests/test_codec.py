"""Codec: floats to ring elements and sums back to means, with no overflow and no surprise."""

from collections.abc import Callable
from fractions import Fraction

import attrs
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clip_ref.codec import (
    BLOCK,
    _scale,
    _scale_all,
    decode_mean,
    encode,
    encode_scaled,
    encode_slots,
    quantise,
    weight_of,
)
from clip_ref.errors import ParameterError, PreconditionError
from clip_ref.oracle.strategies import encodings, floats, rngs
from clip_ref.params import Encoding, Mean, Params, PruningPolicy, Weighting
from clip_ref.values import Floats, RingVector

SEVEN = Encoding(clip=7.0, value_bits=4, weight_max=100)
"""Seven steps over ±7: a step is exactly 1."""


def _f32(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


def _int64(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


# Weights


@pytest.mark.rule("COD-1")
@given(examples=st.integers(1, 2**40), encoding=encodings())
def test_a_weight_is_in_range_and_monotone(examples: int, encoding: Encoding) -> None:
    weight = weight_of(examples=examples, encoding=encoding)
    assert 1 <= weight <= encoding.weight_max
    assert weight_of(examples=examples + 1, encoding=encoding) >= weight
    capped = min(examples, encoding.weight_max)
    match encoding.weighting:
        case Weighting.UNIFORM:
            assert weight == 1
        case Weighting.EXAMPLES:
            assert weight == capped
        case Weighting.BUCKETS:
            assert weight <= capped < 2 * weight
            assert weight & (weight - 1) == 0


@pytest.mark.rule("COD-1")
@pytest.mark.parametrize(
    ("examples", "plain", "bucket"),
    [(1, 1, 1), (2, 2, 2), (3, 3, 2), (4, 4, 4), (63, 63, 32), (64, 64, 64), (100, 100, 64), (1000, 100, 64)],
)
def test_weights_in_numbers(examples: int, plain: int, bucket: int) -> None:
    expected = {Weighting.EXAMPLES: plain, Weighting.BUCKETS: bucket, Weighting.UNIFORM: 1}
    for weighting, weight in expected.items():
        encoding = Encoding(weighting=weighting, weight_max=100)
        assert weight_of(examples=examples, encoding=encoding) == weight


@pytest.mark.rule("COD-1")
@pytest.mark.parametrize("examples", [0, -1])
@pytest.mark.parametrize("weighting", Weighting)
def test_a_client_without_examples_is_refused(examples: int, weighting: Weighting) -> None:
    with pytest.raises(PreconditionError, match=f"at least 1 example, got {examples}") as caught:
        weight_of(examples=examples, encoding=Encoding(weighting=weighting))
    assert caught.value.rule == "COD-1"


# Floats to integers


@pytest.mark.rule("COD-3")
@pytest.mark.parametrize(
    ("value", "step"),
    [
        (0.0, 0), (-0.0, 0), (0.49, 0), (-0.49, 0), (1.0, 1), (-1.0, -1), (0.51, 1),
        (0.5, 0), (1.5, 2), (2.5, 2), (3.5, 4), (-0.5, 0), (-1.5, -2), (-2.5, -2), (-3.5, -4),
        (7.0, 7), (-7.0, -7), (7.4, 7), (7.6, 7), (1e30, 7), (-1e30, -7), (3.4e38, 7), (1e-45, 0),
    ],
)  # fmt: skip
def test_values_round_half_to_even_within_the_clip(value: float, step: int) -> None:
    assert quantise(update=_f32(value), encoding=SEVEN).tolist() == [step]


@pytest.mark.rule("COD-3")
@given(data=st.data(), encoding=encodings())
def test_quantising_is_odd_monotone_and_bounded(data: st.DataObject, encoding: Encoding) -> None:
    update = np.sort(data.draw(floats(12, scale=encoding.clip)))
    steps = quantise(update=update, encoding=encoding)
    assert (np.abs(steps) <= encoding.steps).all()
    assert (np.diff(steps) >= 0).all()
    assert quantise(update=-update, encoding=encoding).tolist() == (-steps).tolist()
    assert not steps[update == 0].any()
    wide = update.astype(np.float64)
    assert (steps[wide >= encoding.clip] == encoding.steps).all()
    assert (steps[wide <= -encoding.clip] == -encoding.steps).all()


@pytest.mark.rule("COD-3")
@given(data=st.data(), encoding=encodings())
def test_the_error_is_half_a_step(data: st.DataObject, encoding: Encoding) -> None:
    """Exactly, but for the two roundings of float64 on the way: at most 2⁻⁵² of the value each."""
    update = data.draw(floats(12, scale=encoding.clip))
    clip, slack = Fraction(encoding.clip), Fraction(encoding.steps, 2**51)
    for value, step in zip(update, quantise(update=update, encoding=encoding), strict=True):
        wide = Fraction(float(value))
        exact = max(-clip, min(clip, wide)) * encoding.steps / clip
        assert abs(exact - int(step)) <= Fraction(1, 2) + slack


@pytest.mark.rule("COD-2")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    for attempt in (
        lambda u: quantise(update=u, encoding=SEVEN),
        lambda u: encode(update=u, weight=1, encoding=SEVEN),
        lambda u: encode_scaled(update=u, weight=1, total=1, holders=_int64(1, 1, 1), cap=1, encoding=SEVEN),
    ):
        with pytest.raises(PreconditionError, match=r"coordinate 1$") as caught:
            attempt(_f32(0, bad, bad))
        assert caught.value.rule == "COD-2"


@pytest.mark.rule("COD-2")
@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((1, 3), dtype=np.float32), np.zeros(3, dtype=np.int32)])
def test_an_update_of_another_type_is_refused(bad: Floats) -> None:
    with pytest.raises(PreconditionError, match=r"float32\[d\]") as caught:
        quantise(update=bad, encoding=SEVEN)
    assert caught.value.rule == "COD-2"


# Integers to ring elements


@pytest.mark.rule("COD-4")
@given(data=st.data(), encoding=encodings())
def test_an_element_is_weight_times_value(data: st.DataObject, encoding: Encoding) -> None:
    update = data.draw(floats(8, scale=encoding.clip))
    weight = data.draw(st.integers(1, encoding.weight_max))
    before = update.copy()
    coded = encode(update=update, weight=weight, encoding=encoding)
    modulus = encoding.ring.modulus
    assert coded.tolist() == [weight * int(v) % modulus for v in quantise(update=update, encoding=encoding)]
    assert coded.dtype == encoding.ring.dtype
    assert not coded.flags.writeable
    assert (coded[update == 0] == 0).all()
    np.testing.assert_array_equal(update, before)


@pytest.mark.rule("COD-4")
def test_elements_are_twos_complement() -> None:
    update = _f32(0, 1, -1, 7, -7)
    assert encode(update=update, weight=3, encoding=SEVEN).tolist() == [0, 3, 2**32 - 3, 21, 2**32 - 21]
    wide = attrs.evolve(SEVEN, ring_bits=64)
    assert encode(update=update, weight=3, encoding=wide).tolist() == [0, 3, 2**64 - 3, 21, 2**64 - 21]


@pytest.mark.rule("COD-2", "COD-4")
@pytest.mark.parametrize("bits", [32, 64])
def test_a_long_update_is_coded_like_its_parts(bits: int) -> None:
    """It is coded in blocks: across their ends, too, each value counts for itself."""
    encoding = Encoding(ring_bits=bits, clip=0.7)
    update = (np.random.default_rng(1).random(2 * BLOCK + 5, dtype=np.float32) * 2 - 1).astype(np.float32)
    parts = [update[:7], update[7 : BLOCK + 3], update[BLOCK + 3 :]]
    coded = np.concatenate([encode(update=part, weight=5, encoding=encoding) for part in parts])
    np.testing.assert_array_equal(encode(update=update, weight=5, encoding=encoding), coded)
    values = np.concatenate([quantise(update=part, encoding=encoding) for part in parts])
    np.testing.assert_array_equal(quantise(update=update, encoding=encoding), values)


@pytest.mark.rule("COD-4")
@pytest.mark.parametrize("weight", [0, -1, 101])
def test_a_weight_out_of_range_is_refused(weight: int) -> None:
    attempts: tuple[Callable[[], object], ...] = (
        lambda: encode(update=_f32(1), weight=weight, encoding=SEVEN),
        lambda: encode_scaled(update=_f32(1), weight=weight, total=1, holders=_int64(1), cap=1, encoding=SEVEN),
    )
    for attempt in attempts:
        with pytest.raises(PreconditionError, match=f"1 … 100, got {weight}") as caught:
            attempt()
        assert caught.value.rule == "COD-4"


# Scaled for the mean over holders


@pytest.mark.rule("COD-5")
@given(data=st.data(), clients=st.integers(2, 255), cap=st.integers(1, 64), encoding_bits=st.sampled_from((4, 16)))
def test_scaling_is_exact_rational_arithmetic(data: st.DataObject, clients: int, cap: int, encoding_bits: int) -> None:
    encoding = Encoding(ring_bits=64, clip=7.0, value_bits=encoding_bits, weight_max=2**32 - 1)
    update = data.draw(floats(8, scale=5.0))
    weight = data.draw(st.integers(1, encoding.weight_max))
    total = data.draw(st.integers(weight, clients * encoding.weight_max))
    shares = st.one_of(st.integers(weight, total), st.sampled_from((weight, total, (weight + total) // 2)))
    holders = _int64(*(data.draw(st.one_of(st.just(0), shares)) for _ in range(8)))
    update[holders == 0] = 0
    values = quantise(update=update, encoding=encoding)
    coded = encode_scaled(update=update, weight=weight, total=total, holders=holders, cap=cap, encoding=encoding)
    for element, value, held_by in zip(coded, values, holders, strict=True):
        factor = min(Fraction(total, int(held_by)), Fraction(cap)) if held_by else Fraction(0)
        exact = Fraction(int(value) * weight) * factor
        assert int(element) == round(exact) % 2**64  # a Fraction rounds half to even
    assert not coded.flags.writeable


@pytest.mark.rule("COD-5")
def test_scaling_in_numbers() -> None:
    """3/2 of 1 … 5 ends in ties, which go to even; a cap of 2 holds 3 back to 2."""
    update, negative = _f32(1, 2, 3, 4, 5), _f32(-1, -2, -3, -4, -5)
    scaled = encode_scaled(update=update, weight=1, total=3, holders=_int64(2, 2, 2, 2, 2), cap=4, encoding=SEVEN)
    assert scaled.tolist() == [2, 3, 4, 6, 8]
    below = encode_scaled(update=negative, weight=1, total=3, holders=_int64(2, 2, 2, 2, 2), cap=4, encoding=SEVEN)
    assert below.tolist() == [2**32 - x for x in (2, 3, 4, 6, 8)]
    capped = encode_scaled(update=update, weight=1, total=3, holders=_int64(1, 1, 1, 1, 3), cap=2, encoding=SEVEN)
    assert capped.tolist() == [2, 4, 6, 8, 5]


@pytest.mark.rule("COD-5")
def test_scaling_knows_a_tie_from_what_is_almost_one() -> None:
    """4908534051 and 4294967298/8589934597: 2⁻³⁴ below a tie, which float64 takes for one and rounds up to even."""
    weight, total, holders = 2**32 - 1, 9817068111, 8589934597
    assert divmod(weight * total, holders) == (4908534051, (holders - 1) // 2)
    encoding = Encoding(ring_bits=64, clip=7.0, value_bits=4, weight_max=weight)
    coded = encode_scaled(
        update=_f32(1, -1), weight=weight, total=total, holders=_int64(holders, holders), cap=2, encoding=encoding
    )
    assert coded.tolist() == [4908534051, 2**64 - 4908534051]


@pytest.mark.rule("COD-5")
@given(data=st.data(), cap=st.integers(1, 64), bits=st.integers(1, 61))
def test_both_ways_to_scale_give_the_same_bits(data: st.DataObject, cap: int, bits: int) -> None:
    """In 64 bits and in integers of any length, for whatever stays below 2⁶²: ties, both signs, holders above the total."""
    total = data.draw(st.integers(1, (1 << bits) - 1))
    most = ((1 << 62) - 1) // total
    sized = st.one_of(
        st.integers(-most, most), st.integers(-min(most, 9), min(most, 9)), st.sampled_from((-most, most))
    )
    values = data.draw(st.lists(sized, min_size=1, max_size=9))
    top = ((1 << 62) - 1) // max(cap, 2)
    held = st.one_of(
        st.just(min(top, 2 * total)),
        st.integers(0, min(top, 4)),
        st.integers(0, min(top, 2 * total)),
        st.integers(0, top),
    )
    holders = [data.draw(held) if value else 0 for value in values]
    found = _scale_all(_int64(*values), total, _int64(*holders), cap)
    assert found.tolist() == [_scale(v, total, h, cap) for v, h in zip(values, holders, strict=True)]


@pytest.mark.rule("COD-5")
@pytest.mark.parametrize("more", [0, 1])
def test_scaling_at_the_border_of_64_bits(more: int) -> None:
    """steps · weight · W is just below 2⁶² and just above: 3 · (2³² − 1) · W; then cap · holders is."""
    weight = 2**32 - 1
    encoding = Encoding(ring_bits=64, clip=3.0, value_bits=3, weight_max=weight)
    total = (1 << 62) // (3 * weight) + more
    assert (3 * weight * total < 1 << 62) == (not more)
    holders = [total, total - 1, total // 2, 3, weight]
    update = _f32(3, -3, 3, -3, 1)
    for cap in (1, 2, 64, (1 << 62) // total + more):
        coded = encode_scaled(
            update=update, weight=weight, total=total, holders=_int64(*holders), cap=cap, encoding=encoding
        )
        exact = [
            Fraction(int(v) * weight) * min(Fraction(total, h), Fraction(cap))
            for v, h in zip(update, holders, strict=True)
        ]
        assert coded.tolist() == [round(value) % 2**64 for value in exact]
    huge = _int64(*[2**63 - 1] * 5)
    coded = encode_scaled(update=update, weight=1, total=2**40, holders=huge, cap=64, encoding=encoding)
    assert not coded.any()


@pytest.mark.rule("COD-5")
@given(data=st.data(), encoding=encodings())
def test_scaled_by_one_is_unscaled(data: st.DataObject, encoding: Encoding) -> None:
    update = data.draw(floats(6, scale=encoding.clip))
    weight = data.draw(st.integers(1, encoding.weight_max))
    everybody = np.full(6, weight + 5, dtype=np.int64)
    scaled = encode_scaled(update=update, weight=weight, total=weight + 5, holders=everybody, cap=1, encoding=encoding)
    assert scaled.tolist() == encode(update=update, weight=weight, encoding=encoding).tolist()


@pytest.mark.rule("COD-5")
def test_a_value_that_nobody_holds_is_refused() -> None:
    holders = _int64(5, 0)
    coded = encode_scaled(update=_f32(1, 0), weight=5, total=5, holders=holders, cap=2, encoding=SEVEN)
    assert coded.tolist() == [5, 0]
    with pytest.raises(PreconditionError, match="nobody holds") as caught:
        encode_scaled(update=_f32(1, 1), weight=5, total=5, holders=holders, cap=2, encoding=SEVEN)
    assert caught.value.rule == "COD-5"


@pytest.mark.rule("COD-5")
@pytest.mark.parametrize("bad", [_int64(5), _int64(5, 5, 5), np.array([5.0, 5.0]), _int64(5, -1), _int64()])
def test_holders_that_do_not_fit_are_refused(bad: NDArray[np.int64]) -> None:
    with pytest.raises(PreconditionError, match=r"nonnegative int64\[2\]") as caught:
        encode_scaled(update=_f32(1, 1), weight=5, total=5, holders=bad, cap=2, encoding=SEVEN)
    assert caught.value.rule == "COD-5"


# Slots


@pytest.mark.rule("COD-6")
@given(data=st.data(), encoding=encodings(), length=st.integers(1, 9))
def test_slots_are_at_their_places(data: st.DataObject, encoding: Encoding, length: int) -> None:
    slots = data.draw(st.dictionaries(st.integers(0, length - 1), st.integers(0, encoding.weight_max)))
    coded = encode_slots(slots=slots, length=length, encoding=encoding)
    assert coded.tolist() == [slots.get(k, 0) for k in range(length)]
    assert coded.dtype == encoding.ring.dtype
    assert not coded.flags.writeable


@pytest.mark.rule("COD-6")
@pytest.mark.parametrize("slots", [{-1: 1}, {3: 1}, {0: -1}, {0: 101}])
def test_a_slot_that_does_not_exist_is_refused(slots: dict[int, int]) -> None:
    with pytest.raises(PreconditionError, match="of 3 cannot hold") as caught:
        encode_slots(slots=slots, length=3, encoding=SEVEN)
    assert caught.value.rule == "COD-6"


# Sums to means


@pytest.mark.rule("COD-7")
@given(rng=rngs(), encoding=encodings())
def test_a_mean_is_the_sum_over_steps_and_weight(rng: np.random.Generator, encoding: Encoding) -> None:
    total = rng.integers(0, encoding.ring.modulus, size=6, dtype=encoding.ring.dtype, endpoint=False)
    weight = rng.integers(0, 2**40, size=6)
    weight[0] = 0
    mean = decode_mean(total=total, weight=weight, encoding=encoding)
    assert mean.dtype == np.float64
    for element, h, found in zip(encoding.ring.centred(total), weight, mean, strict=True):
        exact = Fraction(int(element)) * Fraction(encoding.clip) / (encoding.steps * int(h)) if h else Fraction(0)
        assert abs(Fraction(float(found)) - exact) <= abs(exact) / 2**50


@pytest.mark.rule("COD-7")
def test_means_in_numbers() -> None:
    total = np.array([21, 2**32 - 21, 1, 5, 0], dtype=np.uint32)
    mean = decode_mean(total=total, weight=_int64(3, 3, 2, 0, 9), encoding=SEVEN)
    assert mean.tolist() == [7.0, -7.0, 0.5, 0.0, 0.0]
    assert decode_mean(total=total[:1], weight=_int64(3), encoding=attrs.evolve(SEVEN, clip=0.7)).tolist() == [0.7]


@pytest.mark.rule("COD-7")
@pytest.mark.parametrize(
    ("total", "weight"),
    [
        (np.zeros(2, dtype=np.uint64), _int64(1, 1)),
        (np.zeros(2, dtype=np.int32), _int64(1, 1)),
        (np.zeros(2, dtype=np.uint32), _int64(1)),
        (np.zeros(2, dtype=np.uint32), _int64(1, 1, 1)),
        (np.zeros(2, dtype=np.uint32), _int64(1, -1)),
        (np.zeros(2, dtype=np.uint32), np.ones(2)),
    ],
)
def test_a_sum_or_weight_of_another_type_is_refused(total: RingVector, weight: NDArray[np.int64]) -> None:
    with pytest.raises(PreconditionError) as caught:
        decode_mean(total=total, weight=weight, encoding=SEVEN)
    assert caught.value.rule == "COD-7"


@pytest.mark.rule("COD-3", "COD-4", "COD-7")
@given(data=st.data(), encoding=encodings())
def test_one_clients_mean_is_its_update_to_half_a_step(data: st.DataObject, encoding: Encoding) -> None:
    update = data.draw(floats(8, scale=encoding.clip))
    weight = data.draw(st.integers(1, encoding.weight_max))
    coded = encode(update=update, weight=weight, encoding=encoding)
    mean = decode_mean(total=coded, weight=np.full(8, weight, dtype=np.int64), encoding=encoding)
    clipped = np.clip(update.astype(np.float64), -encoding.clip, encoding.clip)
    assert (np.abs(mean - clipped) <= encoding.clip / encoding.steps * (0.5 + 1e-6)).all()


# Nothing overflows


@pytest.mark.rule("COD-4", "COD-7", "PAR-7")
@given(data=st.data(), bits=st.sampled_from((32, 64)), clients=st.integers(2, 255), sign=st.sampled_from((1, -1)))
def test_the_worst_case_decodes_exactly(data: st.DataObject, bits: int, clients: int, sign: int) -> None:
    """Everybody at the clip with the largest weight that the parameters allow; one more is refused."""
    half = 2 ** (bits - 1)
    value_bits = data.draw(st.integers(2, 32 if bits == 64 else 20))
    steps = 2 ** (value_bits - 1) - 1
    weight_max = (half - 1) // (clients * steps)
    assume(weight_max >= 1)
    encoding = Encoding(ring_bits=bits, clip=0.25, value_bits=value_bits, weight_max=min(weight_max, 2**32 - 1))
    params = Params(clients=clients, encoding=encoding)
    one = encode(update=_f32(sign * 0.25), weight=encoding.weight_max, encoding=encoding)
    total = np.zeros(1, dtype=encoding.ring.dtype)
    for _ in range(clients):
        total = total + one
    assert encoding.ring.centred(total).tolist() == [sign * params.worst_case]
    mean = decode_mean(total=total, weight=_int64(clients * encoding.weight_max), encoding=encoding)
    assert mean[0] == pytest.approx(sign * 0.25, rel=1e-15)
    if weight_max < 2**32 - 1:
        with pytest.raises(ParameterError) as caught:
            Params(clients=clients, encoding=attrs.evolve(encoding, weight_max=weight_max + 1))
        assert caught.value.rule == "PAR-7"


@pytest.mark.rule("COD-5", "PAR-7")
@pytest.mark.parametrize("sign", [1, -1])
def test_the_worst_case_of_scaled_values_decodes_exactly(sign: int) -> None:
    policy = PruningPolicy(mean=Mean.HOLDER, holder_cap=4)
    encoding = Encoding(clip=1.0, value_bits=16, weight_max=1638)  # 10 · 1638 · 32767 · 4 < 2³¹
    params = Params(clients=10, policy=policy, encoding=encoding)
    one = encode_scaled(update=_f32(sign), weight=1638, total=16380, holders=_int64(1638), cap=4, encoding=encoding)
    total = np.zeros(1, dtype=np.uint32)
    for _ in range(10):
        total = total + one
    assert encoding.ring.centred(total).tolist() == [sign * params.worst_case] == [sign * 10 * 1638 * 32767 * 4]
    with pytest.raises(ParameterError):
        attrs.evolve(params, encoding=attrs.evolve(encoding, weight_max=1639))


@pytest.mark.rule("COD-5", "PAR-7")
@pytest.mark.parametrize("sign", [1, -1])
def test_the_worst_case_of_strata_decodes_exactly(sign: int) -> None:
    """Of ten clients five prune, and each believes by a record of its own that it alone is to stand in for the others."""
    policy = PruningPolicy(mean=Mean.STRATA, holder_cap=4, straggler_share=500)
    encoding = Encoding(clip=1.0, value_bits=16, weight_max=2621)  # (5 + 5 · 4) · 2621 · 32767 < 2³¹
    params = Params(clients=10, policy=policy, encoding=encoding)
    plain = encode(update=_f32(sign), weight=2621, encoding=encoding)
    one = encode_scaled(update=_f32(sign), weight=2621, total=5 * 2621, holders=_int64(2621), cap=4, encoding=encoding)
    total = np.zeros(1, dtype=np.uint32)
    for coded in [plain] * 5 + [one] * 5:
        total = total + coded
    assert encoding.ring.centred(total).tolist() == [sign * params.worst_case] == [sign * 25 * 2621 * 32767]
    with pytest.raises(ParameterError):
        attrs.evolve(params, encoding=attrs.evolve(encoding, weight_max=2622))
