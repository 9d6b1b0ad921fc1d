"""Positions of all seats as traders: must-run nets, and what each device would take and give."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.agents.bidders.price_rule import Traders
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.agents.bidders.valuation import Limits, limits_of
from gridbazaar.envs.action import Decision
from gridbazaar.envs.game import Game
from gridbazaar.envs.supply_curve import Offer, supply_curve

_SMALL_KW = 1e-6
_TICK = 1e-5  # EUR/kWh by which a must-run yields to a device of its own seat


@dataclass(frozen=True)
class Prices:
    """What seats name to their neighbours, EUR/kWh at their own meters.

    Attributes:
        must_run: [B, N].
        devices: what each would take and give at.
        stores, covers: bool [B, N, K], devices that serve their own seat, on which side they
            name their valuation.
    """

    must_run: Tensor
    devices: Limits
    stores: Tensor
    covers: Tensor

    def value(self, game: Game) -> tuple[Tensor, Tensor]:
        """Return the value of the devices' contents and the margin that mean this, [B, N, K].

        What serves its own seat does so without a margin, and so is valued by that side alone.
        """
        value, margin = self.devices.value(game)
        taken = self.devices.bid / game.efficiency
        given = (self.devices.ask - game.wear_price) * game.efficiency
        value = torch.where(self.stores, taken, torch.where(self.covers, given, value))
        own = limits_of(value, game)
        most = torch.maximum(own.bid - self.devices.bid, self.devices.ask - own.ask).clamp(min=0)
        return value, torch.where(self.stores | self.covers, most, margin)


class Positions:
    """Each seat's positions, at the prices that lose nothing.

    Traders are [B, P] with P = N (1 + 2 K): the must-run nets of all seats, then what each device
    would take, then what it would give. Their prices are the market's: what is bought comes over
    the network, and is dearer at the seat's own meter by the local charge.

    Args:
        seat: the observation.
        limits: of its devices.
        game: what everybody knows.
        runs_kw: [B, N, K] of devices beside what they must take, where seats dispatch them
            themselves; a seat then has no other position than its must-run net.

    Attributes:
        valuation: the prices that lose nothing.
    """

    def __init__(self, seat: Seat, limits: Limits, game: Game, runs_kw: Tensor | None = None):
        self._seat, self._limits, self._game, self._runs_kw = seat, limits, game, runs_kw
        self._must_run_kw = seat.must_run_kw
        if runs_kw is not None:
            self._must_run_kw = seat.must_run_kw + runs_kw.sum(-1)
        self._sells = self._must_run_kw > 0
        # The energy of a battery without a home is worth what its content is.
        surplus = game.surplus_price(seat.feed_in)
        self._ask = torch.where(seat.is_storage, limits.ask.amax(-1), surplus)
        self._bid = torch.where(seat.is_storage, limits.bid.amin(-1), seat.retail)
        worth = torch.where(self._sells, self._ask, self._bid)
        sells, gross = self._sells.unsqueeze(-1), worth.unsqueeze(-1)
        stores = sells & (seat.take_kw > 0) & (limits.bid > gross)
        needs = (self._must_run_kw < 0).unsqueeze(-1)
        covers = needs & (seat.give_kw > 0) & (limits.ask < gross)
        self.valuation = Prices(worth, limits, stores, covers)

    def traders(self) -> Traders:
        """Return the positions as traders [B, P]."""
        bid, ask = self._limits
        takes, gives = torch.zeros_like(bid).bool(), torch.ones_like(ask).bool()
        ask_limit = laid(self._ask, ask, ask)
        return Traders(
            sells=laid(self._sells, takes, gives),
            ask_limit=ask_limit,
            bid_limit=laid(self._bid, bid, bid) - self._seat.local_charge[:, :1],
            low=self._seat.floor[:, :1].expand_as(ask_limit),
            high=self._seat.ceiling[:, :1].expand_as(ask_limit),
        )

    def prices(self, price: Tensor) -> Prices:
        """Return what the traders' market prices [B, P] are at the seats' own meters.

        A device that serves its own seat names its valuation on that side, and the must-run yields
        to it: a margin there would be asked of the seat itself.
        """
        seat, limits, valued = self._seat, self._limits, self.valuation
        must_run, takes, gives = price.split([seat.seats, *[limits.bid[0].numel()] * 2], 1)
        must_run = torch.where(self._sells, must_run, must_run + seat.local_charge)
        bid = takes.view_as(limits.bid) + seat.local_charge.unsqueeze(-1)
        ask = gives.view_as(limits.ask)

        bid = torch.where(valued.stores, limits.bid, bid)
        ask = torch.where(valued.covers, limits.ask, ask)
        most = torch.where(valued.stores, bid - _TICK, torch.inf).amin(-1)
        least = torch.where(valued.covers, ask + _TICK, -torch.inf).amax(-1)
        must_run = torch.minimum(torch.maximum(must_run, least), most)
        return Prices(must_run, Limits(bid, ask), valued.stores, valued.covers)

    def action(self, prices: Prices) -> Tensor:
        """Return the action [B, N, 3 + 3 K] that names these prices and offers all that can be."""
        seat, runs_kw = self._seat, self._runs_kw
        value, margin = prices.value(self._game)
        nothing = torch.zeros_like(prices.must_run)
        share = torch.ones_like(value) if runs_kw is None else seat.shares(runs_kw)
        decision = Decision(prices.must_run, nothing, value, margin, share, nothing)
        meaning = self._game.meaning(seat.read("day_low")[:, :1], seat.read("day_high")[:, :1])
        return meaning.encode(decision)

    def ordered(self, prices: Prices) -> Tensor:
        """Return which traders [B, P] send an order of their own, beside what is own use."""
        nothing = torch.zeros_like(self._seat.take_kw)
        take_kw, give_kw = self._seat.take_kw, self._seat.give_kw
        if self._runs_kw is not None:
            take_kw, give_kw = nothing, nothing
        offer = Offer(take_kw, give_kw, *prices.devices, margin=nothing)
        curve = supply_curve(self._must_run_kw, prices.must_run, offer)
        return laid(curve.rest_kw, curve.take_kw, curve.give_kw).abs() > _SMALL_KW


def laid(must_run: Tensor, take: Tensor, give: Tensor) -> Tensor:
    """Return in the traders' places [B, P] what is [B, N] of must-runs and [B, N, K] of devices."""
    return torch.cat([must_run, take.flatten(1), give.flatten(1)], 1)
