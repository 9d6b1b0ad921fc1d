"""Storage and cars keep their limits whatever is asked of them, and lose no energy unseen."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gridbazaar.envs.devices.storage import StorageLimits, advance, feasible_power
from gridbazaar.envs.devices.vehicle import arrive, depart

H = 0.25


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def limits(charge=5.0, discharge=4.0, efficiency=0.9, floor=0.1, ceiling=0.95) -> StorageLimits:
    return StorageLimits(one(charge), one(discharge), one(efficiency), one(floor), one(ceiling))


@settings(deadline=None, max_examples=60)
@given(
    request=st.floats(-1e6, 1e6),
    soc=st.floats(0.1, 0.95),
    capacity=st.floats(0, 50),
    efficiency=st.floats(0.5, 1),
)
def test_state_of_charge_stays_within_its_band(request, soc, capacity, efficiency):
    hardware = limits(efficiency=efficiency)
    energy, size = one(soc * capacity)[None], one(capacity)[None]
    power = feasible_power(one(request)[None], energy, size, hardware, H)
    after = advance(power, energy, hardware, H)
    assert -5.0 <= power.item() <= 4.0
    assert abs(power.item()) <= abs(request)
    assert power.item() * request >= 0
    assert 0.1 * capacity - 1e-9 <= after.item() <= 0.95 * capacity + 1e-9


def test_a_round_trip_keeps_the_round_trip_efficiency():
    hardware, size = limits(), one(100.0)[None]
    start = one(50.0)[None]
    full = advance(one(-4.0)[None], start, hardware, H)
    given_back = (full - start) * hardware.efficiency / H
    assert torch.allclose(given_back, one(4.0) * 0.9**2)
    assert torch.allclose(advance(given_back, full, hardware, H), start)
    assert torch.equal(feasible_power(given_back, full, size, hardware, H), given_back)


def test_storage_outside_its_band_may_only_return_to_it():
    hardware, size = limits(), one(10.0)[None]
    empty, full = one(0.0)[None], one(10.0)[None]
    ask = one(3.0)[None]
    assert feasible_power(ask, empty, size, hardware, H).item() == 0
    assert feasible_power(-ask, full, size, hardware, H).item() == 0
    assert feasible_power(-ask, empty, size, hardware, H).item() == -3
    assert feasible_power(ask, full, size, hardware, H).item() == 3


def test_without_storage_nothing_flows():
    none = limits(0, 0, 1, 0, 0)
    zero = one(0.0)[None]
    for ask in (-3.0, 0.0, 3.0):
        assert feasible_power(one(ask)[None], zero, zero, none, H).item() == 0


def test_an_arriving_car_brings_what_it_lends_and_leaves_with_what_it_got():
    zero, need, lent = torch.zeros(1, 2), torch.tensor([[8.0, 0.0]]), torch.tensor([2.0, 2.0])
    energy, capacity = arrive(zero, zero, need, lent)
    assert energy.tolist() == [[2, 0]]
    assert capacity.tolist() == [[10, 0]]
    stays = depart(energy + 3, capacity, torch.tensor([[0.0, 0.0]]))
    assert stays[2].sum() == 0
    assert torch.equal(stays[0], energy + 3)
    energy, capacity, unserved = depart(torch.tensor([[5.0, 0.0]]), capacity, torch.ones(1, 2))
    assert unserved.tolist() == [[5, 0]]
    assert energy.sum() == capacity.sum() == 0
