"""Game as everybody knows it: rules, what observations and actions mean, what devices cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gridbazaar.envs.action import ActionMeaning
from gridbazaar.envs.community import Community
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.layout import Layout
from gridbazaar.envs.seat_groups import SeatGroup


@dataclass(frozen=True)
class Game:
    """What a bidder may know without looking at an interval.

    Attributes:
        rules: of an interval.
        slot_h: hours of an interval.
        layout: entries of observation and action.
        efficiency: [N, K] of the seats' devices, one way; 1 where there is none.
        wear_price: [N, K] EUR per kWh that a device gives.
        largest_kw: [N] of a seat's load or generation.
        groups: of seats alike; together all seats.
        least_feed_in: [N] EUR/kWh below which a seat's PV turns down; None where nobody's does.
    """

    rules: RulesConfig
    slot_h: float
    layout: Layout
    efficiency: Tensor
    wear_price: Tensor
    largest_kw: Tensor
    groups: tuple[SeatGroup, ...] = ()
    least_feed_in: Tensor | None = None

    def surplus_price(self, feed_in: Tensor) -> Tensor:
        """Return what a surplus of PV that nobody buys earns, [B, N], at feed-in prices [B, N].

        It is none where it is not generated.
        """
        if self.least_feed_in is None:
            return feed_in
        return torch.where(feed_in < self.least_feed_in, 0.0, feed_in)

    def meaning(self, low: Tensor, high: Tensor) -> ActionMeaning:
        """Return what the ends of an action's range mean.

        Args:
            low, high: [B, 1] EUR/kWh, the day's lowest feed-in and highest retail price, which
                observations show as `day_low` and `day_high`.
        """
        return ActionMeaning(
            low=low,
            high=high,
            efficiency=self.efficiency,
            wear_price=self.wear_price,
            largest_kw=self.largest_kw,
            max_tip=self.rules.max_tip,
            own_dispatch=self.rules.dispatch == "own",
        )

    def seen_by(self, group: SeatGroup) -> Game:
        """Return the game as one seat of a group knows it: what it owns stands for all of them."""
        least = self.least_feed_in
        return replace(
            self,
            efficiency=self.efficiency[group.seats[:1]],
            wear_price=self.wear_price[group.seats[:1]],
            largest_kw=self.largest_kw[group.seats[:1]],
            groups=(),
            least_feed_in=None if least is None else least[group.seats[:1]],
        )

    @classmethod
    def of(cls, community: Community, rules: RulesConfig) -> Game:
        """Return the game that a community plays under these rules."""
        efficiency, least = community.fleet.of_units("efficiency"), community.fleet.least_feed_in
        return cls(
            rules=rules,
            slot_h=community.slot_h,
            layout=community.layout,
            efficiency=efficiency.where(efficiency > 0, 1.0),
            wear_price=community.fleet.of_units("wear_price"),
            largest_kw=torch.maximum(community.load_kw.amax(0), community.pv_kw.amax(0)),
            groups=community.groups,
            least_feed_in=least if bool(least.isfinite().any()) else None,
        )
