"""Stored energy: what power it can give or take, and what is left after it did."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StorageLimits:
    """What the hardware of each seat's storage allows; a seat without storage has zeros.

    Attributes:
        charge_kw: [N], at the terminals.
        discharge_kw: [N], at the terminals; zero forbids feeding back.
        efficiency: [N], one way, in (0, 1].
        floor: [N], lowest state of charge as a share of the capacity.
        ceiling: [N], highest state of charge as a share of the capacity.
    """

    charge_kw: Tensor
    discharge_kw: Tensor
    efficiency: Tensor
    floor: Tensor
    ceiling: Tensor


def feasible_power(
    request_kw: Tensor,
    energy_kwh: Tensor,
    capacity_kwh: Tensor,
    limits: StorageLimits,
    slot_h: float,
) -> Tensor:
    """Clip a request to what rating and state of charge allow for a whole slot.

    Args:
        request_kw: [B, N], positive discharges, negative charges.
        energy_kwh: [B, N] stored now.
        capacity_kwh: [B, N].
        limits: the hardware's.
        slot_h: hours.

    Returns:
        [B, N] kW.
    """
    above_floor = (energy_kwh - limits.floor * capacity_kwh).clamp(min=0)
    below_ceiling = (limits.ceiling * capacity_kwh - energy_kwh).clamp(min=0)
    discharge = torch.minimum(limits.discharge_kw, above_floor * (limits.efficiency / slot_h))
    charge = torch.minimum(limits.charge_kw, below_ceiling / (limits.efficiency * slot_h))
    return torch.minimum(torch.maximum(request_kw, -charge), discharge)


def advance(power_kw: Tensor, energy_kwh: Tensor, limits: StorageLimits, slot_h: float) -> Tensor:
    """Return the energy stored, [B, N] kWh, after a slot at a feasible power [B, N] kW."""
    charged = (-power_kw).clamp(min=0) * limits.efficiency
    discharged = power_kw.clamp(min=0) / limits.efficiency
    return energy_kwh + (charged - discharged) * slot_h
