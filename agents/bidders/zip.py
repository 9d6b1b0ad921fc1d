"""Zero intelligence plus: a margin that follows the market."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from agents.bidders.base import BIDDERS, BidderConfig
from agents.bidders.chance import Chance
from agents.bidders.seat import Seat, StorageCosts, balancing_power, own_use_power
from envs.config import RulesConfig

Rate = Annotated[float, Field(ge=0, le=1)]


class ZipConfig(BidderConfig):
    """Parameters of ZIP, with Cliff's letters."""

    seed: int
    storage: StorageCosts
    learning_rate: tuple[Rate, Rate] = Field(description="beta is drawn from this range per seat")
    momentum: tuple[Rate, Rate] = Field(description="gamma, likewise")
    margin: tuple[Rate, Rate] = Field(description="first margin as a share of the limit, likewise")
    relative_step: Rate = Field(description="targets lie up to this share beyond the last price")
    absolute_step: Rate = Field(description="and up to this many EUR/kWh")


@dataclass(frozen=True)
class _State:
    """[B, N] each: what ZIP carries from interval to interval; `ask` and `bid` in EUR/kWh."""

    chance: Chance
    learning_rate: Tensor
    momentum: Tensor
    ask: Tensor
    bid: Tensor
    ask_push: Tensor
    bid_push: Tensor
    sold: Tensor
    balancing: Tensor | None


@BIDDERS.register("zip")
class Zip:
    """Zero intelligence plus (ZIP): margins follow the published price by Widrow-Hoff.

    A seller whose price the market beat raises it; one whose order was not filled lowers it below
    the last price; a buyer does the opposite. Prices never pass the seat's own worth. Storage is
    used as the truthful bidder uses it.

    Source: Cliff (1997), "Minimal-intelligence agents for bargaining behaviors in market-based
    environments", HP Laboratories HPL-97-91, with one update per auction instead of per shout.
    """

    Config = ZipConfig

    def __init__(self, config: ZipConfig, rules: RulesConfig):
        self._config, self._rules = config, rules

    def act(self, observation: Tensor, state: _State | None) -> tuple[Tensor, _State]:
        """Decide one interval; see Bidder."""
        seat = Seat(observation, self._rules)
        state = self._begin(seat, observation) if state is None else self._learn(seat, state)
        balancing = balancing_power(seat, state.balancing, self._config.storage)
        power = own_use_power(seat) + balancing
        sells = seat.net_kw + power > 0
        worth = seat.limit(power, self._config.storage)
        ask = torch.where(sells, torch.maximum(state.ask, worth), state.ask)
        bid = torch.where(sells, state.bid, torch.minimum(state.bid, worth))
        state = replace(state, ask=ask, bid=bid, sold=sells, balancing=balancing)
        return seat.action(torch.where(sells, ask, bid), power), state

    def _begin(self, seat: Seat, observation: Tensor) -> _State:
        chance, config = Chance.of(observation, self._config.seed), self._config

        def draw(low_high: tuple[float, float]) -> Tensor:
            nonlocal chance
            share, chance = chance.uniform(seat.net_kw)
            return low_high[0] + share * (low_high[1] - low_high[0])

        rate, momentum, margin = map(draw, (config.learning_rate, config.momentum, config.margin))
        still = torch.zeros_like(rate)
        return _State(
            chance,
            rate,
            momentum,
            ask=torch.minimum(seat.floor * (1 + margin), seat.ceiling),
            bid=torch.maximum(seat.ceiling * (1 - margin), seat.floor),
            ask_push=still,
            bid_push=still,
            sold=still > 0,
            balancing=None,
        )

    def _learn(self, seat: Seat, state: _State) -> _State:
        """Move the price of the side the seat was on; the other side's waits."""
        last, filled = seat.read("last_price"), seat.read("filled") > 0.5
        traded = seat.read("last_volume") > 0
        relative, chance = state.chance.uniform(last)
        absolute, chance = chance.uniform(last)
        up = last * (1 + self._config.relative_step * relative)
        up = up + self._config.absolute_step * absolute
        down = last * (1 - self._config.relative_step * relative)
        down = down - self._config.absolute_step * absolute

        raise_ask, lower_ask = traded & (state.ask <= last), ~filled & (state.ask > last)
        raise_bid, lower_bid = ~filled & (state.bid < last), traded & (state.bid >= last)
        ask, ask_push = self._move(
            state,
            state.ask,
            state.ask_push,
            raise_ask & state.sold,
            lower_ask & state.sold,
            up,
            down,
        )
        bid, bid_push = self._move(
            state,
            state.bid,
            state.bid_push,
            raise_bid & ~state.sold,
            lower_bid & ~state.sold,
            up,
            down,
        )
        return replace(state, chance=chance, ask=ask, bid=bid, ask_push=ask_push, bid_push=bid_push)

    @staticmethod
    def _move(
        state: _State,
        price: Tensor,
        push: Tensor,
        rise: Tensor,
        fall: Tensor,
        up: Tensor,
        down: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the price after Cliff's momentum update, and the momentum."""
        target = torch.where(rise, up, torch.where(fall, down, price))
        pull = state.learning_rate * (target - price)
        pushed = state.momentum * push + (1 - state.momentum) * pull
        moved = rise | fall
        return torch.where(moved, price + pushed, price), torch.where(moved, pushed, push)
