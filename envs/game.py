"""Game as everybody knows it: rules, what observations and actions mean, what devices cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gridbazaar.envs.action import ActionMeaning
from gridbazaar.envs.community import Community
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.layout import Layout
from gridbazaar.envs.seat_groups import SeatGroup
from gridbazaar.errors import ConfigError


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
        groups: of seats alike; together all seats, or those that a bidder decides for.
        seats: names of all seats.
        least_feed_in: [N] EUR/kWh below which a seat's PV turns down; None where nobody's does.
    """

    rules: RulesConfig
    slot_h: float
    layout: Layout
    efficiency: Tensor
    wear_price: Tensor
    largest_kw: Tensor
    groups: tuple[SeatGroup, ...] = ()
    seats: tuple[str, ...] = ()
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
        """Return the game as one seat of a group knows it: what it owns stands for all of them.

        Seats of several roles know it by role: the tensors' rows are then the layout's roles.

        Raises ConfigError where seats of a role in such a group own devices that differ.
        """
        flags = {f"is_{role}" for role in self.layout.roles}
        seen = [self.layout.features[i].name for i in group.observed.tolist()]
        own = [int(group.seats[0])]
        if len(flags.intersection(seen)) > 1:
            own = [self._example_of(role, group) for role in self.layout.roles]
        least = self.least_feed_in
        return replace(
            self,
            efficiency=self.efficiency[own],
            wear_price=self.wear_price[own],
            largest_kw=self.largest_kw[own],
            groups=(),
            seats=(),
            least_feed_in=None if least is None else least[own],
        )

    def _example_of(self, role: str, group: SeatGroup) -> int:
        """Return a seat of a role in a group whose devices are those of all its seats that own any.

        Where the group has no such seat, any will do.
        """
        together = set(group.seats.tolist())
        numbers = [
            seat
            for part in self.groups
            if f"is_{role}" in {self.layout.features[i].name for i in part.observed.tolist()}
            for seat in part.seats.tolist()
            if seat in together
        ]
        owns = ((self.efficiency != 1) | (self.wear_price != 0)).any(-1).tolist()
        owners = [seat for seat in numbers if owns[seat]]
        for seat in owners[1:]:
            for tensor in (self.efficiency, self.wear_price):
                if (tensor[seat] != tensor[owners[0]]).any():
                    raise ConfigError(
                        f"policies=all, but seats of role {role} own devices whose efficiency or "
                        "wear differs, which one policy cannot tell apart; choose policies=group"
                    )
        return (owners or numbers or [0])[0]

    def of_seats(self, seats: Iterable[int]) -> Game:
        """Return the game in which some seats alone are decided for; the others stand beside."""
        wanted, groups = set(seats), []
        for group in self.groups:
            kept = [seat in wanted for seat in group.seats.tolist()]
            if any(kept):
                groups.append(group._replace(seats=group.seats[kept]))
        return replace(self, groups=tuple(groups))

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
            largest_kw=torch.maximum(community.load_kw.amax(0), community.pv_kw.amax(0)),
            groups=community.groups,
            seats=community.seats,
            least_feed_in=community.fleet.least_feed_in,
        )
