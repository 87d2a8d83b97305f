"""Costs: work is billed linearly, by the device's speed, in whole microseconds."""

from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_ref.round.cost import Work
from clip_ref.sim.costs import DECLARED, UnitCosts, duration, measure
from clip_ref.sim.fleet import Device
from clip_ref.values import MAX_MICROSECONDS

SLOW = Device("slow", ghz=2, macs_per_cycle=4, slow_down=50)
PLAIN = Device("plain", ghz=1, macs_per_cycle=1, slow_down=1)

UNIT = {
    "scalar_multiplications": "scalar_multiplication",
    "mask_bytes": "mask_byte",
    "sealed_bytes": "sealed_byte",
    "shared_bytes": "shared_byte",
    "hashed_bytes": "hashed_byte",
    "signatures": "signature",
    "scored": "scored",
    "coded": "coded",
}

works = st.builds(Work, *[st.integers(0, 10**8)] * len(UNIT))
devices = st.builds(
    Device, name=st.just("x"), ghz=st.integers(1, 5), macs_per_cycle=st.integers(1, 9), slow_down=st.integers(1, 99)
)


@pytest.mark.rule("CLK-1")
@pytest.mark.parametrize("field", attrs.fields_dict(Work))
def test_every_kind_of_work_has_its_own_price(field: str) -> None:
    # a thousand units at n cycles on a plain core take n µs
    prices = {unit: float(k) for k, unit in enumerate(UNIT.values(), start=3)}
    work = attrs.evolve(Work(), **{field: 1000})
    assert duration(work=work, units=UnitCosts(**prices), device=PLAIN) == prices[UNIT[field]]


@pytest.mark.rule("CLK-1")
def test_a_known_duration() -> None:
    # 125 000 cycles, 50 times over, at 2 cycles a nanosecond
    assert duration(work=Work(scalar_multiplications=1), units=DECLARED, device=SLOW) == 3125
    assert duration(work=Work(), units=DECLARED, device=SLOW) == 0
    assert duration(work=Work(scalar_multiplications=10**20), units=DECLARED, device=SLOW) == MAX_MICROSECONDS


@pytest.mark.rule("CLK-1")
@given(works, works, devices)
def test_bills_add_up_to_rounding(one: Work, other: Work, device: Device) -> None:
    together = duration(work=one + other, units=DECLARED, device=device)
    apart = duration(work=one, units=DECLARED, device=device) + duration(work=other, units=DECLARED, device=device)
    assert abs(together - apart) <= 1
    assert together >= duration(work=one, units=DECLARED, device=device)


@pytest.mark.rule("CLK-1")
@given(works, devices, st.integers(2, 9))
def test_a_slower_device_takes_proportionally_longer(work: Work, device: Device, factor: int) -> None:
    exact = DECLARED.cycles(work) * Fraction(device.slow_down) / Fraction(device.ghz) / 1000
    slower = attrs.evolve(device, slow_down=device.slow_down * factor)
    faster = attrs.evolve(device, ghz=device.ghz * factor)
    assert abs(duration(work=work, units=DECLARED, device=slower) - exact * factor) <= Fraction(1, 2)
    assert abs(duration(work=work, units=DECLARED, device=faster) - exact / factor) <= Fraction(1, 2)


def test_declared_costs_are_of_the_measured_order() -> None:
    # machines differ: this only tells a wrong unit (bits, a block for a byte, seconds for cycles) from a right one
    found = attrs.asdict(measure(host_ghz=2.5))
    for name, declared in attrs.asdict(DECLARED).items():
        assert declared / 20 < found[name] < declared * 20, name
