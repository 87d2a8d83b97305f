"""Padding: one length and zeros where nothing is held, whatever was pruned."""

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.codec import encode
from clip_ref.errors import PreconditionError
from clip_ref.layout import Kept, Layout
from clip_ref.oracle.strategies import floats, kept_sets, layouts, policies
from clip_ref.oracle.strategies import params as any_params
from clip_ref.padding import pad, padded_length
from clip_ref.params import Encoding, Mean, Params, PruningPolicy
from clip_ref.submodel import expand
from clip_ref.values import Floats

HELD = np.array([True, False, True, True, False])
GRID = (1000, 750, 500)


def params_of(mean: Mean = Mean.LEVELS, bits: int = 32) -> Params:
    return Params(
        clients=4,
        policy=PruningPolicy(grid=GRID, mean=mean),
        encoding=Encoding(ring_bits=bits, value_bits=8, weight_max=100),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Params, Layout, Kept, Floats, int, int]:
    params, layout = draw(any_params(policy=st.sampled_from(Mean).flatmap(lambda m: policies(mean=m)))), draw(layouts())
    kept = draw(kept_sets(layout))
    update = draw(floats(layout.shrunk(kept).size, scale=params.encoding.clip))
    weight = draw(st.integers(1, params.encoding.weight_max))
    return params, layout, kept, update, draw(st.sampled_from(params.policy.grid)), weight


@pytest.mark.rule("PAD-1", "PAD-2", "PAD-4", "PAD-5", "COD-3", "SUB-4")
@given(case=cases())
def test_padding_the_code_is_coding_the_padded(case: tuple[Params, Layout, Kept, Floats, int, int]) -> None:
    """0 is coded as 0, so it makes no difference whether zeros are put in before or after."""
    params, layout, kept, update, keep, weight = case
    coded = encode(update=update, weight=weight, encoding=params.encoding)
    padded = pad(coded=coded, held=layout.held(kept), keep=keep, weight=weight, params=params)
    full = encode(update=expand(delta=update, layout=layout, kept=kept), weight=weight, encoding=params.encoding)
    at = params.policy.grid.index(keep) if params.policy.mean is Mean.LEVELS else 0
    slots = [weight if k == at else 0 for k in range(len(params.policy.grid))]
    assert padded.dtype == params.encoding.ring.dtype
    assert padded.tolist() == full.tolist() + slots
    assert not padded.flags.writeable


@pytest.mark.rule("PAD-1")
@given(case=cases(), data=st.data())
def test_one_length_whatever_is_pruned(
    case: tuple[Params, Layout, Kept, Floats, int, int], data: st.DataObject
) -> None:
    params, layout, _, _, keep, weight = case
    lengths = set()
    for kept in (layout.full(), data.draw(kept_sets(layout)), data.draw(kept_sets(layout))):
        held = layout.held(kept)
        coded = np.zeros(int(held.sum()), dtype=params.encoding.ring.dtype)
        lengths.add(len(pad(coded=coded, held=held, keep=keep, weight=weight, params=params)))
    assert lengths == {padded_length(size=layout.size, params=params)} == {layout.size + len(params.policy.grid)}


@pytest.mark.rule("PAD-2", "PAD-4", "PAD-5")
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(
    ("mean", "keep", "slots"),
    [
        (Mean.LEVELS, 1000, [42, 0, 0]),
        (Mean.LEVELS, 750, [0, 42, 0]),
        (Mean.LEVELS, 500, [0, 0, 42]),
        (Mean.DILUTE, 500, [42, 0, 0]),
        (Mean.HOLDER, 750, [42, 0, 0]),
        (Mean.STRATA, 750, [42, 0, 0]),
    ],
)
def test_vector_padding(mean: Mean, keep: int, slots: list[int], bits: int) -> None:
    params = params_of(mean, bits)
    coded = np.array([7, 2**bits - 1, 9], dtype=params.encoding.ring.dtype)
    padded = pad(coded=coded, held=HELD, keep=keep, weight=42, params=params)
    assert padded.tolist() == [7, 0, 2**bits - 1, 9, 0, *slots]
    assert coded.tolist() == [7, 2**bits - 1, 9]


@pytest.mark.rule("PAD-2")
@pytest.mark.parametrize("length", [0, 2, 4, 5])
def test_refuses_more_or_fewer_elements_than_are_held(length: int) -> None:
    with pytest.raises(PreconditionError, match="PAD-2"):
        pad(coded=np.zeros(length, dtype="<u4"), held=HELD, keep=1000, weight=1, params=params_of())


@pytest.mark.rule("PAD-2")
def test_refuses_arrays_of_another_type() -> None:
    good = np.zeros(3, dtype="<u4")
    cases: list[tuple[Any, Any]] = [
        (good.astype("<u8"), HELD),
        (good.astype("<i4"), HELD),
        (good.reshape(3, 1), HELD),
        (good, HELD.astype(np.int64)),
        (good, HELD.reshape(5, 1)),
    ]
    for coded, held in cases:
        with pytest.raises(PreconditionError, match="PAD-2"):
            pad(coded=coded, held=held, keep=1000, weight=1, params=params_of())


@pytest.mark.rule("PAD-3")
@pytest.mark.parametrize("keep", [0, 501, 999, 1001])
@pytest.mark.parametrize("mean", Mean)
def test_refuses_a_level_outside_the_grid(keep: int, mean: Mean) -> None:
    with pytest.raises(PreconditionError, match=f"PAD-3: keep level {keep} is not in the grid"):
        pad(coded=np.zeros(3, dtype="<u4"), held=HELD, keep=keep, weight=1, params=params_of(mean))


@pytest.mark.rule("PAD-4")
@pytest.mark.parametrize("weight", [0, -1, 101])
@pytest.mark.parametrize("mean", Mean)
def test_refuses_a_weight_that_is_none(weight: int, mean: Mean) -> None:
    with pytest.raises(PreconditionError, match="PAD-4: a weight is 1 … 100"):
        pad(coded=np.zeros(3, dtype="<u4"), held=HELD, keep=1000, weight=weight, params=params_of(mean))


@pytest.mark.rule("PAD-1")
def test_vector_length() -> None:
    params = params_of()
    assert padded_length(size=10, params=params) == 13
    alone = attrs.evolve(params, policy=attrs.evolve(params.policy, grid=(1000,)))
    assert padded_length(size=10, params=alone) == 11


# On a graph, where the buckets of the time histogram follow


def graph_of(**more: Any) -> Params:
    policy = PruningPolicy(grid=GRID, anonymity_blocks=False, bucket_count=4)
    return Params(clients=9, neighbours=4, policy=policy, encoding=Encoding(value_bits=8, weight_max=100), **more)


@pytest.mark.rule("PAD-6", "PAD-1", "PAD-5")
@pytest.mark.parametrize(("bucket", "counted"), [(None, []), (0, [0]), (3, [3])])
@pytest.mark.parametrize("keep", GRID)
def test_a_time_is_counted_once(bucket: int | None, counted: list[int], keep: int) -> None:
    """Whether there is a time or not, the vector is as long."""
    coded = np.array([7, 8, 9], dtype="<u4")
    found = pad(coded=coded, held=HELD, keep=keep, weight=5, params=graph_of(), bucket=bucket).tolist()
    assert found[:5] == [7, 0, 8, 9, 0]
    assert found[5:8] == [5 if keep == level else 0 for level in GRID]
    assert found[8:] == [int(k in counted) for k in range(4)]
    assert len(found) == padded_length(size=5, params=graph_of()) == 12


@pytest.mark.rule("PAD-6")
@pytest.mark.parametrize(("params", "bucket"), [(graph_of(), -1), (graph_of(), 4), (params_of(), 0)])
def test_refuses_a_bucket_that_is_not_there(params: Params, bucket: int) -> None:
    coded = np.zeros(3, dtype="<u4")
    with pytest.raises(PreconditionError, match=f"PAD-6: bucket {bucket} is not among the {params.buckets}"):
        pad(coded=coded, held=HELD, keep=1000, weight=1, params=params, bucket=bucket)
