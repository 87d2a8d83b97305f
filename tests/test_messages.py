"""Messages: what a receiver checks before it believes one, and what must not show in a log."""

from typing import Any

import attrs
import numpy as np
import plain
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.errors import SERVER, ContributionError
from clip_ref.keys import LOW_ORDER, public_key
from clip_ref.messages import (
    Advertise,
    Deliver,
    MaskedInput,
    Roster,
    TimeRecord,
    Unmask,
    check_ascending,
    check_same_ids,
)
from clip_ref.oracle.strategies import rosters, secret_keys, time_records
from clip_ref.values import ClientId, SecretKey

KEY_A, KEY_B = (public_key(SecretKey(bytes([k]) * 32)) for k in (1, 2))
SEVEN = ClientId(7)
NO_POINT = bytes([0xED]) + b"\xff" * 30 + b"\x7f"  # 2²⁵⁵ − 19: zero, not reduced


# Keys


@pytest.mark.rule("MSG-1")
@given(one=secret_keys(), two=secret_keys())
def test_two_fresh_keys_are_accepted(one: SecretKey, two: SecretKey) -> None:
    keys = public_key(one), public_key(two)
    if keys[0] != keys[1]:
        Advertise(SEVEN, *keys).check()


@pytest.mark.rule("MSG-1", "KEY-2", "KEY-3")
@pytest.mark.parametrize("field", ["channel_key", "mask_key"])
@pytest.mark.parametrize(
    ("bad", "rule"), [*((key, "KEY-3") for key in sorted(LOW_ORDER)), (NO_POINT, "KEY-2"), (KEY_A[:31], "KEY-2")]
)
def test_a_key_that_is_none_is_refused(field: str, bad: bytes, rule: str) -> None:
    keys = {"channel_key": KEY_A, "mask_key": KEY_B} | {field: bad}
    with pytest.raises(ContributionError) as caught:
        Advertise(SEVEN, **keys).check()
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == (rule, 7, field)


@pytest.mark.rule("MSG-1")
def test_one_key_for_both_is_refused() -> None:
    with pytest.raises(ContributionError, match="a second time") as caught:
        Advertise(SEVEN, KEY_A, KEY_A).check()
    assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("MSG-1", 7, "mask_key")


# Lists of ids


@pytest.mark.rule("MSG-2")
@given(rosters(min_size=0))
def test_ascending_ids_are_accepted(roster: tuple[ClientId, ...]) -> None:
    check_ascending(roster, culprit=7, field="ids")
    check_same_ids(roster, roster, culprit=7, field="ids", rule="X-1")


@pytest.mark.rule("MSG-2")
@given(roster=rosters(min_size=2), data=st.data())
def test_other_orders_are_refused(roster: tuple[ClientId, ...], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(roster).filter(lambda order: tuple(order) != roster))
    twice = sorted([*roster, data.draw(st.sampled_from(roster))])
    for bad in (shuffled, twice, [*roster, SERVER]):
        with pytest.raises(ContributionError, match="must ascend strictly") as caught:
            check_ascending(bad, culprit=7, field="ids")
        assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("MSG-2", 7, "ids")
    with pytest.raises(ContributionError) as caught:
        check_ascending(twice, culprit=SERVER, field="ids", rule="WIR-4")
    assert (caught.value.rule, caught.value.culprit) == ("WIR-4", SERVER)


@pytest.mark.rule("MSG-2")
@given(roster=rosters(min_size=2), data=st.data())
def test_another_list_than_expected_is_refused(roster: tuple[ClientId, ...], data: st.DataObject) -> None:
    out = data.draw(st.sampled_from(roster))
    fewer = [u for u in roster if u != out]
    cases = [(fewer, roster, [out], []), (roster, fewer, [], [out]), (roster[::-1], roster, [], [])]
    for found, expected, missing, extra in cases:
        with pytest.raises(ContributionError) as caught:
            check_same_ids(found, expected, culprit=7, field="ids", rule="X-1")
        assert (caught.value.rule, caught.value.culprit, caught.value.field) == ("X-1", 7, "ids")
        assert caught.value.detail == f"missing {missing}, not expected {extra}, in ascending order"


# What messages say


@pytest.mark.rule("MSG-3")
def test_a_roster_digest_is_pinned() -> None:
    roster = Roster((Advertise(ClientId(1), KEY_A, KEY_B), Advertise(ClientId(2**32 - 2), KEY_B, KEY_A)))
    parts = (plain.le(1, 4) + KEY_A + KEY_B, plain.le(2**32 - 2, 4) + KEY_B + KEY_A)
    assert roster.digest() == plain.digest(b"roster", *parts)
    assert Roster(roster.bundles[::-1]).digest() != roster.digest()
    assert Roster(roster.bundles[:1]).digest() != roster.digest()


@pytest.mark.rule("MSG-3")
def test_a_roster_digest_covers_commitments_but_not_signatures() -> None:
    com_a, com_b = b"c" * 32, b"d" * 32
    bundle = Advertise(SEVEN, KEY_A, KEY_B, com_a, com_b, b"S" * 64)
    digest = Roster((bundle,)).digest()
    assert digest == plain.digest(b"roster", plain.le(7, 4) + KEY_A + KEY_B + com_a + com_b)
    assert Roster((attrs.evolve(bundle, signature=b"T" * 64),)).digest() == digest
    for field in ("channel_key", "mask_key", "record_commitment", "seed_commitment"):
        changed: dict[str, Any] = {field: b"x" * 32}
        assert Roster((attrs.evolve(bundle, **changed),)).digest() != digest


@given(record=time_records(levels=3), level=st.integers(0, 2))
def test_elapsed_is_everything_once(record: TimeRecord, level: int) -> None:
    assert record.elapsed(level) == record.down + record.select + record.fit[level] + record.mask + record.up


def test_elapsed_in_numbers() -> None:
    record = TimeRecord(True, True, False, 1, 20, 300, 4000, (90000, 50000), 1, bytes(32))
    assert (record.elapsed(0), record.elapsed(1)) == (94321, 54321)


def test_secrets_do_not_show() -> None:
    secret = b"\xde\xad\xbe\xef" * 8
    record = TimeRecord(True, True, False, 0, 0, 0, 0, (0,), 1, secret)
    unmask = Unmask(SEVEN, ((SEVEN, secret),), ((SEVEN, secret),))
    masked = MaskedInput(SEVEN, np.array([123454321], dtype=np.uint32))
    for shown in (repr(record), repr(unmask), repr(masked), str(unmask)):
        assert repr(secret)[2:10] not in shown
        assert "123454321" not in shown


def test_vectors_are_compared_by_type_and_bytes() -> None:
    vector = np.array([1, 2], dtype=np.uint32)
    assert MaskedInput(SEVEN, vector) == MaskedInput(SEVEN, vector.copy())
    assert MaskedInput(SEVEN, vector) != MaskedInput(SEVEN, vector + np.uint32(1))
    assert MaskedInput(SEVEN, vector) != MaskedInput(SEVEN, vector.view(np.uint64))
    model = np.array([0.0, np.nan], dtype=np.float32)
    assert Deliver((), model) == Deliver((), model.copy())
    assert Deliver((), model) != Deliver((), -model)
