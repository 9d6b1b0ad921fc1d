"""Plans its store over the rest of the day, anew in every interval."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.outlook import expect
from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat, StorageCosts, within_reach
from gridbazaar.agents.bidders.storage_plan import Store, plan
from gridbazaar.config import NonNegative
from gridbazaar.envs.config import RulesConfig


class MpcConfig(BidderConfig):
    """Parameters of the controller."""

    storage: StorageCosts
    day_length_h: tuple[
        Annotated[float, Field(gt=0, le=24)], Annotated[float, Field(gt=0, le=24)]
    ] = Field(description="hours of daylight at midwinter and midsummer")
    impatience: NonNegative = Field(
        description="EUR/kWh that waiting an hour costs: decides between equal prices"
    )


@BIDDERS.register("mpc")
class Mpc:
    """Receding-horizon control: each store follows the best plan for the rest of the day.

    Homes and cars plan against the grid's prices, community batteries against what they expect
    homes to leave over. The linear programme of each seat is solved exactly; a community battery
    names the worth of its stored energy as its price, other seats the grid's.

    Source: Mayne et al. (2000), "Constrained model predictive control", Automatica 36(6), for the
    principle.
    """

    Config = MpcConfig

    def __init__(self, config: MpcConfig, rules: RulesConfig, slot_h: float):
        self._config, self._rules, self._slot_h = config, rules, slot_h

    def act(self, observation: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Decide one interval; the state is the devices' last power. See Bidder."""
        seat, storage = Seat(observation, self._rules, self._slot_h), self._config.storage
        outlook = expect(seat, state, self._config.day_length_h)
        power, worth = plan(
            self._store(seat),
            outlook,
            storage.efficiency,
            storage.wear_price,
            self._config.impatience,
        )
        power = within_reach(seat, power)
        ask = worth / storage.efficiency + storage.wear_price
        stored = torch.where(power > 0, ask, worth * storage.efficiency)
        price = torch.where(seat.is_storage, stored, seat.limit(power, storage))
        return seat.action(price, power), power

    def _store(self, seat: Seat) -> Store:
        """Return each seat's store; a car's is what it still wants, and gives nothing back."""
        low = seat.read("retail_low")
        battery = seat.feed_in + self._rules.stored_worth * (low - seat.feed_in)
        hours_left = seat.read("day_left") * 24
        leaves_today = seat.read("slots_to_departure") * seat.slot_h <= hours_left + 1e-3
        car = torch.where(leaves_today, self._rules.unserved_price, low)
        return Store(
            stored_kwh=torch.where(seat.is_ev, 0.0, seat.stored_kwh).clamp(min=0),
            room_kwh=seat.room_kwh.clamp(min=0),
            charge_kw=seat.rated_kw,
            discharge_kw=torch.where(seat.is_ev, 0.0, seat.rated_kw),
            end_worth=torch.where(seat.is_ev, car, battery * self._config.storage.efficiency),
        )
