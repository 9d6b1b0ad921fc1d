"""Game as everybody knows it: rules, what observations and actions mean, what devices cost."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.layout import Layout


@dataclass(frozen=True)
class Game:
    """What a bidder may know without looking at an interval.

    Attributes:
        rules: of an interval.
        slot_h: hours of an interval.
        layout: entries of observation and action.
        efficiency: [N, K] of the seats' devices, one way; 1 where there is none.
        wear_price: [N, K] EUR per kWh that a device gives.
    """

    rules: RulesConfig
    slot_h: float
    layout: Layout
    efficiency: Tensor
    wear_price: Tensor

    @classmethod
    def of(cls, community: Community, rules: RulesConfig) -> Game:
        """Return the game that a community plays under these rules."""
        efficiency = community.fleet.of_units("efficiency")
        return cls(
            rules=rules,
            slot_h=community.slot_h,
            layout=community.layout,
            efficiency=efficiency.where(efficiency > 0, 1.0),
            wear_price=community.fleet.of_units("wear_price"),
        )
