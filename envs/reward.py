"""Reward of an interval for each seat, in EUR, computed after the physics."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.devices.fleet import DeviceUse
from gridbazaar.envs.settlement import Bill


@dataclass(frozen=True)
class Reward:
    """The parts of a seat's reward, [B, N] EUR each; costs are negative.

    `stored` is the change in the worth of the energy in store, and at the day's end what plugged
    cars still want; it keeps a bidder from selling what it was given.
    """

    bill: Tensor
    wear: Tensor
    unserved: Tensor
    violation: Tensor
    stored: Tensor

    @property
    def total(self) -> Tensor:
        """Return the seat's reward, [B, N] EUR."""
        return self.bill + self.wear + self.unserved + self.violation + self.stored


def reward(
    bill: Bill, used: DeviceUse, unserved_price: float, violation_eur: Tensor, net_kw: Tensor
) -> Reward:
    """Value one interval.

    Args:
        bill: money of the interval.
        used: what the devices did.
        unserved_price: EUR per kWh that departing cars missed.
        violation_eur: [B] price of the feeder's violations, shared in proportion to the seats'
            metered power.
        net_kw: [B, N] metered power.
    """
    power = net_kw.abs()
    share = power / power.sum(-1, keepdim=True).clamp(min=torch.finfo(power.dtype).eps)
    return Reward(
        bill=bill.total,
        wear=-used.wear_eur,
        unserved=-unserved_price * used.unserved_kwh,
        violation=-share * violation_eur.unsqueeze(-1),
        stored=used.stored_eur,
    )
