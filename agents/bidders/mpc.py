"""Model predictive control of a store: a plan for the rest of the day, made anew every interval."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.outlook import expect
from gridbazaar.agents.bidders.positions import Positions
from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.agents.bidders.storage_plan import Outlook, Store, plan
from gridbazaar.agents.bidders.valuation import limits_of, stored_worth
from gridbazaar.config import NonNegative
from gridbazaar.envs.game import Game

_TICK = 1e-4  # EUR/kWh below the grid's price


class MpcConfig(BidderConfig):
    """Parameters of the controller."""

    day_length_h: tuple[
        Annotated[float, Field(gt=0, le=24)], Annotated[float, Field(gt=0, le=24)]
    ] = Field(
        description="hours of daylight at midwinter and midsummer", json_schema_extra={"unit": "h"}
    )
    impatience: NonNegative = Field(
        description="EUR/kWh that waiting an hour costs: decides between equal prices"
    )


@BIDDERS.register("mpc")
class Mpc:
    """Receding-horizon control: each store is priced by the best plan for the rest of the day.

    Homes and cars plan against the grid's prices, community batteries against what they expect
    homes to leave over. The linear programme of each seat is solved exactly, and what it says a kWh
    in the store is worth is the store's valuation; where seats dispatch their devices themselves
    they follow the plan. A seat's devices plan one after the other; each takes those before it as
    given in the slot bid for.

    Source: Mayne et al. (2000), "Constrained model predictive control", Automatica 36(6), for the
    principle; a water value is what hydropower calls such a price.
    """

    Config = MpcConfig

    def __init__(self, config: MpcConfig, game: Game):
        self._config, self._game = config, game

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval; see Bidder."""
        seat, game = Seat(observation, self._game.layout), self._game
        powers: list[Tensor] = []
        values: list[Tensor] = []
        for k in range(seat.devices):
            others_kw = torch.stack(powers).sum(0) if powers else None
            outlook, store = self._outlook(seat, k, others_kw), self._store(seat, k)
            power, worth = plan(store, outlook, self._config.impatience)
            powers.append(power)
            # At a kink the worth may be the grid's price itself; what the plan does not buy now
            # it does not bid that for.
            below = (seat.retail - _TICK) / game.efficiency[..., k]
            values.append(torch.where(power < 0, worth, torch.minimum(worth, below)))
        runs_kw = None
        if game.rules.dispatch == "own":
            wanted = torch.stack(powers, -1) - seat.must_kw
            runs_kw = torch.minimum(torch.maximum(wanted, -seat.take_kw), seat.give_kw)
        positions = Positions(seat, limits_of(torch.stack(values, -1), game), game, runs_kw)
        return positions.action(positions.valuation), None

    def _outlook(self, seat: Seat, k: int, others_kw: Tensor | None) -> Outlook:
        """Return what device k expects; `others_kw` [B, N] do those planned before it."""
        return expect(seat, k, self._game.slot_h, self._config.day_length_h, others_kw)

    def _store(self, seat: Seat, k: int) -> Store:
        """Return device k of each seat; a car that feeds nothing back is a store of what it wants.

        A departing car is full, or what it lacks costs what the task says.
        """
        low, rules = seat.read("retail_low"), self._game.rules
        efficiency = self._game.efficiency[..., k].expand_as(low)
        hours_left = seat.read("day_left") * 24
        parked_h = seat.read_each("slots_to_departure")[..., k] * self._game.slot_h
        car = torch.where(parked_h <= hours_left + 1e-3, rules.unserved_price, low)
        leaves, rated_kw = seat.leaves[..., k], seat.rated_kw[..., k]
        gives = ~leaves | (seat.give_kw[..., k] > 0)
        return Store(
            stored_kwh=torch.where(gives, seat.stored_kwh[..., k], 0.0).clamp(min=0),
            room_kwh=seat.room_kwh[..., k].clamp(min=0),
            charge_kw=rated_kw,
            discharge_kw=torch.where(gives, rated_kw, 0.0),
            end_worth=torch.where(leaves, car, stored_worth(seat, self._game) * efficiency),
            efficiency=efficiency,
            wear_price=self._game.wear_price[..., k].expand_as(low),
        )
