"""Model predictive control of a store: a plan for the rest of the day, made anew every interval."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.outlook import expect
from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat, within_reach
from gridbazaar.agents.bidders.storage_plan import Store, plan
from gridbazaar.config import NonNegative
from gridbazaar.envs.game import Game


class MpcConfig(BidderConfig):
    """Parameters of the controller."""

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
    names the worth of its stored energy as its price, other seats the grid's. A seat's devices plan
    one after the other; each takes those before it as given in the slot bid for.

    Source: Mayne et al. (2000), "Constrained model predictive control", Automatica 36(6), for the
    principle.
    """

    Config = MpcConfig

    def __init__(self, config: MpcConfig, game: Game):
        self._config, self._game = config, game

    def act(self, observation: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Decide one interval; the state is the devices' last power. See Bidder."""
        seat = Seat(observation, self._game)
        powers: list[Tensor] = []
        stored: list[Tensor] = []
        for k in range(seat.devices):
            others_kw = torch.stack(powers).sum(0) if powers else None
            outlook = expect(seat, k, state, self._config.day_length_h, others_kw)
            store = self._store(seat, k)
            power, worth = plan(store, outlook, self._config.impatience)
            powers.append(within_reach(seat, power, k))
            ask = worth / store.efficiency + store.wear_price
            stored.append(torch.where(powers[k] > 0, ask, worth * store.efficiency))
        power = torch.stack(powers, -1)
        price = torch.where(seat.is_storage, stored[0], seat.limit(power))
        return seat.action(price, power), power

    def _store(self, seat: Seat, k: int) -> Store:
        """Return device k of each seat; a car's store is what it wants, and gives nothing back."""
        low, rules = seat.read("retail_low"), self._game.rules
        efficiency = seat.efficiency[..., k].expand_as(low)
        hours_left = seat.read("day_left") * 24
        parked_h = seat.read_each("slots_to_departure")[..., k] * seat.slot_h
        car = torch.where(parked_h <= hours_left + 1e-3, rules.unserved_price, low)
        leaves, rated_kw = seat.leaves[..., k], seat.rated_kw[..., k]
        return Store(
            stored_kwh=torch.where(leaves, 0.0, seat.stored_kwh[..., k]).clamp(min=0),
            room_kwh=seat.room_kwh[..., k].clamp(min=0),
            charge_kw=rated_kw,
            discharge_kw=torch.where(leaves, 0.0, rated_kw),
            end_worth=torch.where(leaves, car, seat.stored_worth * efficiency),
            efficiency=efficiency,
            wear_price=seat.wear_price[..., k].expand_as(low),
        )
