"""Parameters: what contradicts itself is refused, and two parties with different ones have different digests."""

from enum import StrEnum
from fractions import Fraction
from typing import Any

import attrs
import plain
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.errors import SERVER, ParameterError
from clip_ref.oracle.strategies import params
from clip_ref.params import (
    DEFAULT_GRID,
    DRAWN_POLICY,
    HARDENED_POLICY,
    MAX_HOLDERS,
    NO_PRUNING,
    PAPER_POLICY,
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

SMALL = Encoding(value_bits=2, weight_max=1)
"""One step, weight 1: the sum is at most the number of clients."""


# Refusals: (what, its rule, the last value that is allowed on a side, the first that is not)


@pytest.mark.rule("PAR-1")
@pytest.mark.parametrize(("field", "high"), [("straggler_share", 500), ("margin", 1000), ("threshold", 10000)])
def test_ratios_stay_in_range(field: str, high: int) -> None:
    for value in (0, high):
        PruningPolicy(**{field: value})  # type: ignore[arg-type]
    for value in (-1, high + 1):
        with pytest.raises(ParameterError, match=f"{field} must be 0 … {high} ‰, got {value}") as caught:
            PruningPolicy(**{field: value})  # type: ignore[arg-type]
        assert caught.value.rule == "PAR-1"


@pytest.mark.rule("PAR-1")
@pytest.mark.parametrize("choice", [Score, Selection, SlackSeed, Mean, Weighting, SecurityLevel])
def test_a_choice_is_one_of_its_names(choice: type[StrEnum]) -> None:
    assert [choice(each.value) for each in choice] == list(choice)
    names = ", ".join(f"`{each.value}`" for each in choice)
    others: tuple[Any, ...] = ("other", "", None, 1)
    for bad in others:
        with pytest.raises(ParameterError, match=f"is no {choice.__name__.lower()}; there are {names}") as caught:
            choice(bad)
        assert caught.value.rule == "PAR-1"


@pytest.mark.rule("PAR-1")
def test_a_choice_may_be_given_by_name() -> None:
    what: dict[str, Any] = {"score": "max", "selection": "strict", "slack_seed": "context", "mean": "dilute"}
    policy = PruningPolicy(**what)
    assert attrs.asdict(policy) == attrs.asdict(PruningPolicy()) | {
        "score": Score.MAX, "selection": Selection.STRICT, "slack_seed": SlackSeed.CONTEXT, "mean": Mean.DILUTE,
    }  # fmt: skip
    weighting: Any = "uniform"
    assert Encoding(weighting=weighting).weighting is Weighting.UNIFORM
    for field in what:
        with pytest.raises(ParameterError, match="there are"):
            PruningPolicy(**what | {field: "other"})


@pytest.mark.rule("PAR-2")
@pytest.mark.parametrize("grid", [(1000,), (1000, 1), tuple(range(1000, 936, -1)), DEFAULT_GRID])
def test_a_grid_is_accepted(grid: tuple[int, ...]) -> None:
    assert Params(clients=2, policy=PruningPolicy(grid=grid)).extras == len(grid)


@pytest.mark.rule("PAR-2")
@pytest.mark.parametrize(
    "grid",
    [
        (),
        (999,),
        (1001, 500),
        (975, 1000),
        (1000, 0),
        (1000, -5),
        (1000, 1000),
        (1000, 500, 750),
        (1000, 500, 500),
        tuple(range(1000, 935, -1)),
    ],
)
def test_another_grid_is_refused(grid: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError, match="the grid") as caught:
        PruningPolicy(grid=grid)
    assert caught.value.rule == "PAR-2"


@pytest.mark.rule("PAR-3")
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"age_cap": 4, "grid": (1000, 500)}, {"age_cap": 3, "grid": (1000, 500)}),
        ({"age_cap": 2, "grid": (1000,)}, {"age_cap": 1, "grid": (1000,)}),
        ({"age_cap": 0}, {"age_cap": -1}),
        ({"min_roster": 0}, {"min_roster": -1}),
        ({"warm_up": 1}, {"warm_up": 0}),
        ({"holder_cap": 1}, {"holder_cap": 0}),
        ({"holder_cap": 64}, {"holder_cap": 65}),
        ({"deadline": 0}, {"deadline": -1}),
        ({"deadline": 2**53 - 1}, {"deadline": 2**53}),
    ],
)
def test_caps_and_floors_stay_in_range(good: dict[str, Any], bad: dict[str, Any]) -> None:
    PruningPolicy(**good)
    with pytest.raises(ParameterError, match=next(iter(bad)).replace("_", ".")) as caught:
        PruningPolicy(**bad)
    assert caught.value.rule == "PAR-3"


@pytest.mark.rule("PAR-4")
@pytest.mark.parametrize("mean", Mean)
@pytest.mark.parametrize("selection", Selection)
@pytest.mark.parametrize("slack_seed", SlackSeed)
def test_levels_need_a_public_selection(mean: Mean, selection: Selection, slack_seed: SlackSeed) -> None:
    hidden = selection is Selection.PAPER and slack_seed is SlackSeed.RECORDS
    if mean is Mean.LEVELS and hidden:
        with pytest.raises(ParameterError, match="the server can recompute") as caught:
            PruningPolicy(mean=mean, selection=selection, slack_seed=slack_seed)
        assert caught.value.rule == "PAR-4"
    else:
        PruningPolicy(mean=mean, selection=selection, slack_seed=slack_seed)


@pytest.mark.rule("PAR-4")
@pytest.mark.parametrize("mean", Mean)
def test_levels_cannot_tell_turns_apart(mean: Mean) -> None:
    if mean is Mean.LEVELS:
        with pytest.raises(ParameterError, match="use `strata`") as caught:
            PruningPolicy(mean=mean, spread=True)
        assert caught.value.rule == "PAR-4"
    else:
        PruningPolicy(mean=mean, spread=True)


@pytest.mark.rule("IDN-9")
@pytest.mark.parametrize("score", Score)
@pytest.mark.parametrize("selection", Selection)
@pytest.mark.parametrize("threshold", [0, 1])
def test_which_policies_need_the_history(score: Score, selection: Selection, threshold: int) -> None:
    policy = PruningPolicy(score=score, selection=selection, threshold=threshold, mean=Mean.DILUTE)
    blind = selection is Selection.ORDERED or (selection is Selection.PAPER and not threshold)
    assert policy.scored == (Score.SIZE if blind else score)
    assert policy.needs_history == (not blind and score is not Score.SIZE)


@pytest.mark.rule("PAR-5")
@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("ring_bits", [32, 64], [0, 16, 31, 33, 128]),
        ("clip", [1e-9, 1e9], [0.0, -1.0, float("inf"), float("nan")]),
        ("value_bits", [2, 32], [1, 0, 33]),
        ("weight_max", [1, 2**32 - 1], [0, -1, 2**32]),
    ],
)
def test_encodings_stay_in_range(field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        Encoding(**{field: value})
    for value in bad:
        with pytest.raises(ParameterError, match=field) as caught:
            Encoding(**{field: value})
        assert caught.value.rule == "PAR-5"


@pytest.mark.rule("PAR-5")
@pytest.mark.parametrize(("bits", "steps"), [(2, 1), (8, 127), (16, 32767), (32, 2**31 - 1)])
def test_the_clip_maps_to_the_largest_signed_value(bits: int, steps: int) -> None:
    assert Encoding(value_bits=bits).steps == steps


@pytest.mark.rule("PAR-6")
@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"clients": 1}, "2 … 255 clients, got 1"),
        ({"clients": 0}, "2 … 255 clients, got 0"),
        ({"clients": 256}, "2 … 255 clients, got 256"),
        ({"clients": 20, "threshold": 1}, "threshold must be 2 … 20, got 1"),
        ({"clients": 20, "threshold": 21}, "threshold must be 2 … 20, got 21"),
        ({"clients": 20, "threshold": 14, "colluders": 14}, "fewer than the threshold 14, got 14"),
        ({"clients": 20, "colluders": -1}, "fewer than the threshold 14, got -1"),
    ],
)
def test_rosters_thresholds_and_colluders_stay_in_range(changes: dict[str, Any], detail: str) -> None:
    with pytest.raises(ParameterError, match=detail) as caught:
        Params(encoding=SMALL, **changes)
    assert caught.value.rule == "PAR-6"


@pytest.mark.rule("PAR-6")
def test_the_edges_of_a_roster_are_accepted() -> None:
    for clients, threshold, colluders in ((2, 2, 1), (MAX_HOLDERS, 2, 0), (MAX_HOLDERS, MAX_HOLDERS, MAX_HOLDERS - 1)):
        made = Params(clients=clients, threshold=threshold, colluders=colluders, encoding=SMALL)
        assert (made.clients, made.threshold, made.colluders) == (clients, threshold, colluders)


@pytest.mark.rule("PAR-6")
@pytest.mark.parametrize("clients", range(2, 256))
def test_the_default_threshold_is_two_thirds_and_one(clients: int) -> None:
    made = Params(clients=clients, encoding=SMALL)
    assert made.threshold == min(clients, clients * 2 // 3 + 1)
    assert clients < 2 * made.threshold


@pytest.mark.rule("PAR-6")
def test_a_client_id_is_32_bits_and_not_the_servers() -> None:
    made = Params(clients=2)
    for good in (0, SERVER - 1):
        made.check_client_id(good)
    for bad in (-1, SERVER, 2**32):
        with pytest.raises(ParameterError, match=rf"0 … 2\^32 - 2, got {bad}") as caught:
            made.check_client_id(bad)
        assert caught.value.rule == "PAR-6"


@pytest.mark.rule("PAR-7")
@pytest.mark.parametrize(
    ("clients", "encoding", "cap", "fits"),
    [
        (128, Encoding(value_bits=2, weight_max=2**24 - 1), 1, True),
        (128, Encoding(value_bits=2, weight_max=2**24), 1, False),  # exactly R/2
        (8, Encoding(value_bits=16, weight_max=8192), 1, True),
        (8, Encoding(value_bits=16, weight_max=8193), 1, False),
        (2, Encoding(value_bits=2, weight_max=2**28 - 1), 4, True),
        (2, Encoding(value_bits=2, weight_max=2**28), 4, False),
        (2, Encoding(ring_bits=64, value_bits=32, weight_max=2**31), 1, True),
        (2, Encoding(ring_bits=64, value_bits=32, weight_max=2**31 + 2), 1, False),
    ],
)
def test_sums_that_could_overflow_are_refused(clients: int, encoding: Encoding, cap: int, fits: bool) -> None:
    worst = clients * encoding.weight_max * (2 ** (encoding.value_bits - 1) - 1) * cap
    assert fits == (worst < 2 ** (encoding.ring_bits - 1))
    policy = PruningPolicy(mean=Mean.LEVELS if cap == 1 else Mean.HOLDER, holder_cap=cap)
    if fits:
        assert Params(clients=clients, encoding=encoding, policy=policy).worst_case == worst
    else:
        with pytest.raises(ParameterError, match=f"{worst} reaches R/2") as caught:
            Params(clients=clients, encoding=encoding, policy=policy)
        assert caught.value.rule == "PAR-7"


@pytest.mark.rule("PAR-7")
def test_under_strata_the_cap_counts_for_the_candidates() -> None:
    """Of 20 clients four can prune: 16 + 4 · 4 terms fit a ring of 32 bits with the default encoding, 20 · 4 would not."""
    strata = PruningPolicy(mean=Mean.STRATA, holder_cap=4, straggler_share=200)
    assert Params(clients=20, policy=strata).worst_case == 32 * 1024 * 32767
    with pytest.raises(ParameterError, match="PAR-7"):
        Params(clients=20, policy=attrs.evolve(strata, mean=Mean.HOLDER))
    nobody = attrs.evolve(strata, straggler_share=49)
    assert Params(clients=20, policy=nobody).worst_case == 20 * 1024 * 32767
    most = Encoding(value_bits=2, weight_max=(2**31 - 1) // 32)
    Params(clients=20, policy=strata, encoding=most)
    with pytest.raises(ParameterError, match="PAR-7"):
        Params(clients=20, policy=strata, encoding=attrs.evolve(most, weight_max=most.weight_max + 1))


@pytest.mark.rule("PAR-7")
@given(made=params())
def test_accepted_sums_fit_in_half_the_ring(made: Params) -> None:
    everybody, candidates = made.clients, int(Fraction(made.policy.straggler_share, 1000) * made.clients)
    scaling = {Mean.HOLDER: everybody, Mean.STRATA: candidates}.get(made.policy.mean, 0)
    steps = 2 ** (made.encoding.value_bits - 1) - 1
    terms = made.policy.holder_cap * scaling + (everybody - scaling)
    assert made.worst_case == terms * made.encoding.weight_max * steps
    assert made.worst_case < made.encoding.ring.modulus // 2
    assert made.clients * made.encoding.weight_max < made.encoding.ring.modulus // 2  # the weight's own element


@pytest.mark.rule("PAR-8")
@given(clients=st.integers(2, 255), data=st.data())
def test_hardened_needs_more_than_half_of_clients_and_colluders(clients: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(2, clients))
    colluders = data.draw(st.integers(0, threshold - 1))
    what: dict[str, Any] = {"threshold": threshold, "colluders": colluders, "encoding": SMALL}
    assert not Params(clients=clients, **what).hardened
    alone = threshold - clients // 5 < colluders + 2
    if 2 * threshold > clients + colluders and not alone:
        assert Params(clients=clients, security=SecurityLevel.HARDENED, **what).hardened
    else:
        with pytest.raises(ParameterError, match=r"needs 2t > n|a single honest client") as caught:
            Params(clients=clients, security=SecurityLevel.HARDENED, **what)
        assert caught.value.rule == "PAR-8"


@pytest.mark.rule("PAR-8")
def test_hardened_at_its_edge() -> None:
    Params(clients=20, threshold=11, security=SecurityLevel.HARDENED)
    Params(clients=20, threshold=14, colluders=7, security=SecurityLevel.HARDENED)
    half = PruningPolicy(straggler_share=500)
    Params(clients=10, threshold=7, policy=half, security=SecurityLevel.HARDENED)
    with pytest.raises(ParameterError, match="a single honest client"):
        Params(clients=10, threshold=6, policy=half, security=SecurityLevel.HARDENED)
    with pytest.raises(ParameterError, match="a single honest client"):
        Params(clients=3, threshold=3, colluders=2, security=SecurityLevel.HARDENED)
    for threshold, colluders in ((10, 0), (14, 8)):
        with pytest.raises(ParameterError, match="raise the threshold"):
            Params(clients=20, threshold=threshold, colluders=colluders, security=SecurityLevel.HARDENED)


# What follows from them


def test_presets_are_pinned() -> None:
    assert (HARDENED_POLICY.straggler_share, HARDENED_POLICY.margin, HARDENED_POLICY.threshold) == (200, 50, 1000)
    assert HARDENED_POLICY.grid == (
        1000, 975, 950, 925, 900, 875, 850, 825, 800, 775, 750, 725, 700, 675, 650, 625, 600, 575, 550, 525, 500,
    )  # fmt: skip
    assert (HARDENED_POLICY.score, HARDENED_POLICY.selection) == (Score.L1, Selection.RANK)
    spread = HARDENED_POLICY.spread  # one of the two ways in which nothing drags the mean
    assert HARDENED_POLICY.mean is (Mean.STRATA if spread else Mean.LEVELS)
    assert (HARDENED_POLICY.anonymity_blocks, HARDENED_POLICY.min_roster, HARDENED_POLICY.warm_up) == (True, 10, 2)
    assert (PAPER_POLICY.score, PAPER_POLICY.selection) == (Score.MEAN, Selection.PAPER)
    assert (PAPER_POLICY.mean, PAPER_POLICY.slack_seed) == (Mean.DILUTE, SlackSeed.RECORDS)
    assert (PAPER_POLICY.anonymity_blocks, PAPER_POLICY.margin, PAPER_POLICY.min_roster) == (False, 0, 0)
    assert not DRAWN_POLICY.needs_history
    assert HARDENED_POLICY.needs_history
    ranked = attrs.evolve(DRAWN_POLICY, selection=Selection.RANK, threshold=1000, slack_seed=SlackSeed.RECORDS)
    assert ranked == HARDENED_POLICY
    assert DRAWN_POLICY.slack_seed is SlackSeed.CONTEXT  # so that the server can tell who holds what
    assert NO_PRUNING.straggler_share == 0
    assert Params(clients=20).threshold == 14


@given(made=params())
def test_blocks_are_two_more_than_the_colluders(made: Params) -> None:
    assert made.block_size == (made.colluders + 2 if made.policy.anonymity_blocks else 1)


# The digest


@pytest.mark.rule("PAR-9")
def test_the_digest_is_pinned() -> None:
    """Every field by name, in declaration order; a nested object's follow its own name."""
    fields: list[tuple[str, str | None]] = [
        ("clients", "20"),
        ("neighbours", "0"),
        ("threshold", "14"),
        ("min_survivors", "14"),
        ("colluders", "0"),
        ("policy", None),
        ("straggler_share", "200"),
        ("margin", "50"),
        ("grid", "1000,975,950"),
        ("network_aware", "1"),
        ("score", "l1"),
        ("selection", "rank"),
        ("threshold", "1000"),
        ("slack_seed", "records"),
        ("age_cap", "0"),
        ("mean", "levels"),
        ("holder_cap", "4"),
        ("anonymity_blocks", "1"),
        ("spread", "0"),
        ("bucket_first", "10000"),
        ("bucket_ratio", "1050"),
        ("bucket_count", "256"),
        ("min_roster", "10"),
        ("warm_up", "2"),
        ("deadline", "0"),
        ("encoding", None),
        ("ring_bits", "32"),
        ("clip", "0x1.0000000000000p-1"),
        ("value_bits", "16"),
        ("weighting", "examples"),
        ("weight_max", "1024"),
        ("security", "basic"),
    ]
    parts = [text.encode() for pair in fields for text in pair if text is not None]
    made = Params(clients=20, policy=PruningPolicy(grid=(1000, 975, 950)), encoding=Encoding(clip=0.5))
    assert made.digest() == plain.digest(b"params", *parts)
    assert made.digest().hex() == "6cb985cb574f15a65efe5edd8a768ba848dc2a3b873c97077962d2110e9d46b9"


BASE = Params(clients=20, policy=PruningPolicy(mean=Mean.DILUTE))
POLICY: dict[str, Any] = {
    "straggler_share": 201,
    "margin": 51,
    "grid": (1000, 500),
    "network_aware": False,
    "score": Score.MEAN,
    "selection": Selection.STRICT,
    "threshold": 999,
    "slack_seed": SlackSeed.CONTEXT,
    "age_cap": 4,
    "mean": Mean.STRATA,
    "holder_cap": 5,
    "anonymity_blocks": False,
    "spread": True,
    "bucket_first": 10_001,
    "bucket_ratio": 1051,
    "bucket_count": 255,
    "min_roster": 11,
    "warm_up": 3,
    "deadline": 1,
}
ENCODING: dict[str, Any] = {
    "ring_bits": 64,
    "clip": 1.0 + 2**-52,
    "value_bits": 15,
    "weighting": Weighting.BUCKETS,
    "weight_max": 1023,
}
TOP: dict[str, Any] = {"clients": 19, "colluders": 1, "security": SecurityLevel.HARDENED}
GRAPH: dict[str, Any] = {"neighbours": 14, "threshold": 12, "min_survivors": 15}
"""On a graph, where each may change by itself."""


@pytest.mark.rule("PAR-9")
def test_another_value_of_any_field_is_another_digest() -> None:
    changed = [BASE]
    changed += [attrs.evolve(BASE, policy=attrs.evolve(BASE.policy, **{name: new})) for name, new in POLICY.items()]
    changed += [
        attrs.evolve(BASE, encoding=attrs.evolve(BASE.encoding, **{name: new})) for name, new in ENCODING.items()
    ]
    changed += [attrs.evolve(BASE, **{name: new}) for name, new in TOP.items()]
    open_policy = attrs.evolve(BASE.policy, anonymity_blocks=False)
    graph = Params(clients=20, neighbours=16, threshold=13, min_survivors=14, policy=open_policy)
    changed += [graph, *(attrs.evolve(graph, **{name: new}) for name, new in GRAPH.items())]
    changed.append(Params(clients=20, threshold=15))
    assert len({each.digest() for each in changed}) == len(changed)
    # No field is left out above.
    assert set(POLICY) == {field.name for field in attrs.fields(PruningPolicy)}
    assert set(ENCODING) == {field.name for field in attrs.fields(Encoding)}
    assert {*TOP, *GRAPH, "policy", "encoding"} == {field.name for field in attrs.fields(Params)}


@pytest.mark.rule("PAR-9")
@given(one=params(), two=params())
def test_digests_are_equal_when_parameters_are(one: Params, two: Params) -> None:
    assert (one.digest() == two.digest()) == (one == two)
    assert attrs.evolve(one).digest() == one.digest()


@pytest.mark.rule("PAR-9")
@given(st.integers(1, 1000))
def test_a_whole_clip_has_one_digest(clip: int) -> None:
    one, two = (Params(clients=3, encoding=Encoding(clip=value)) for value in (clip, float(clip)))
    assert one == two
    assert one.digest() == two.digest()
