"""Prices outside the local market, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Tariff:
    """Prices of one slot outside the local market, [B, 1] EUR/kWh each.

    Attributes:
        retail: what the grid charges, network charge included.
        feed_in: what the grid pays.
        local_charge: what the DSO charges the buyer of a kWh that stays inside the feeder.
    """

    retail: Tensor
    feed_in: Tensor
    local_charge: Tensor


class SlotPrices(NamedTuple):
    """EUR/kWh of slots, arrays or tensors of one shape.

    Attributes:
        retail: what the grid charges, network charge included.
        feed_in: what the grid pays.
        local_charge: what the DSO charges the buyer of a kWh that stays inside the feeder.
        stored_worth: of a kWh left in a battery, were the slot the day's last.
        next_low: lowest retail price of the 24 hours that follow.
    """

    retail: Any
    feed_in: Any
    local_charge: Any
    stored_worth: Any
    next_low: Any
