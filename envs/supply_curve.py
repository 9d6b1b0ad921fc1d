"""Net supply curve of a seat: what it sells and buys at which price, own use first."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.devices.fleet import Fleet
from gridbazaar.envs.markets import Owners


class Offer(NamedTuple):
    """What devices would take and give in a slot, [B, N, K] each.

    Attributes:
        take_kw, give_kw: at most, 0 or more; beside what a device must take.
        bid: EUR/kWh at the seat's own meter below which a device takes.
        ask: EUR/kWh at the seat's own meter above which it gives, never below its bid.
        margin: EUR/kWh, 0 or more, that neighbours must offer beyond either; none is asked of the
            seat itself, nor of the grid, for nobody would sell its sun for less than it stores it.
    """

    take_kw: Tensor
    give_kw: Tensor
    bid: Tensor
    ask: Tensor
    margin: Tensor


class SupplyCurve(NamedTuple):
    """A seat's position at any price, in pieces of which each is an order, in kW.

    Power is positive where it is sold. A seat's must-run net is a surplus or a need. What of it a
    device would take, or cover, at a better price is that device's own use, and so is what one of
    its devices takes from another: offered at the price at which the device would rather not.

    Attributes:
        must_run_kw: [B, N] PV less load less what devices must take, own use included.
        valuation: [B, N] EUR/kWh of the must-run net.
        rest_kw: [B, N] of the must-run net beside own use.
        own_kw: [B, N, K] that a device would take of its seat's, or (negative) give to it.
        take_kw, give_kw: [B, N, K], 0 or more, beside own use.
        bid, ask, margin: [B, N, K] EUR/kWh, as in Offer.
    """

    must_run_kw: Tensor
    valuation: Tensor
    rest_kw: Tensor
    own_kw: Tensor
    take_kw: Tensor
    give_kw: Tensor
    bid: Tensor
    ask: Tensor
    margin: Tensor


class Pieces(NamedTuple):
    """Power of a curve's pieces: `rest` [B, N], the others [B, N, K], positive where sold."""

    rest: Tensor
    own: Tensor
    take: Tensor
    give: Tensor


def supply_curve(must_run_kw: Tensor, valuation: Tensor, offer: Offer) -> SupplyCurve:
    """Return the curve of every seat, own use matched in merit order at gross valuations.

    A surplus goes to the devices that value it above the seat's must-run, the highest bid first; a
    need is covered by those that ask for less, the lowest ask first. Then devices give to others of
    their seat that bid more than they ask.

    Args:
        must_run_kw: [B, N] PV less load less what devices must take.
        valuation: [B, N] EUR/kWh of it, gross.
        offer: of the devices.
    """
    surplus_kw = must_run_kw.clamp(min=0)
    gross = valuation.unsqueeze(-1)
    stored = _in_merit_order(surplus_kw, offer.take_kw * (offer.bid > gross), -offer.bid)
    covered = _in_merit_order(
        surplus_kw - must_run_kw, offer.give_kw * (offer.ask < gross), offer.ask
    )
    take_kw, give_kw = offer.take_kw - stored, offer.give_kw - covered
    own = stored - covered
    if own.shape[-1] > 1:
        passed_on = _between_devices(take_kw, give_kw, offer.bid, offer.ask)
        taken, given = passed_on.sum(-1), passed_on.sum(-2)
        take_kw, give_kw, own = take_kw - taken, give_kw - given, own + taken - given
    return SupplyCurve(
        must_run_kw=must_run_kw,
        valuation=valuation,
        rest_kw=must_run_kw - own.sum(-1),
        own_kw=own,
        take_kw=take_kw,
        give_kw=give_kw,
        bid=offer.bid,
        ask=offer.ask,
        margin=offer.margin,
    )


def _in_merit_order(amount_kw: Tensor, most_kw: Tensor, price: Tensor) -> Tensor:
    """Share an amount [B, N] among devices of at most [B, N, K], the cheapest first."""
    if most_kw.shape[-1] == 1:
        return torch.minimum(amount_kw.unsqueeze(-1), most_kw)
    ahead_kw = _ahead(most_kw, price)
    return torch.minimum((amount_kw.unsqueeze(-1) - ahead_kw).clamp(min=0), most_kw)


def _ahead(most_kw: Tensor, price: Tensor) -> Tensor:
    """Return what the cheaper devices of a seat have before each, [B, N, K]; equal ones in turn."""
    number = torch.arange(most_kw.shape[-1], device=most_kw.device)
    other, own = price.unsqueeze(-2), price.unsqueeze(-1)
    before = (other < own) | ((other == own) & (number < number.unsqueeze(-1)))
    return (most_kw.unsqueeze(-2) * before).sum(-1)


def _between_devices(take_kw: Tensor, give_kw: Tensor, bid: Tensor, ask: Tensor) -> Tensor:
    """Return what each device of a seat takes from each other, [B, N, K, K] kW.

    The highest bids meet the lowest asks as far as they are above them.
    """
    least_take, least_give = _ahead(take_kw, -bid).unsqueeze(-1), _ahead(give_kw, ask).unsqueeze(-2)
    most_take = least_take + take_kw.unsqueeze(-1)
    most_give = least_give + give_kw.unsqueeze(-2)
    both_kw = torch.minimum(most_take, most_give) - torch.maximum(least_take, least_give)
    return both_kw.clamp(min=0) * (bid.unsqueeze(-1) > ask.unsqueeze(-2))


class OrderSlots:
    """Places of the pieces in a market's book: M = N + 3 U for N seats with U devices.

    The seats' rests come first, then own use, take and give of every device.

    Args:
        fleet: the devices.
        sunny: bool [N], seats that own PV; what they sell beside their devices is green.

    Attributes:
        seats: N.
        owners: of the orders in all places.
    """

    def __init__(self, fleet: Fleet, sunny: Tensor):
        self.seats, self._devices = fleet.rated_kw.shape
        self._place, self._unit = fleet.place, fleet.unit
        owner = fleet.place // self._devices
        number = torch.arange(self.seats, device=owner.device)
        stored = torch.zeros_like(owner, dtype=torch.bool)
        self.owners = Owners.of(
            torch.cat([number, owner, owner, owner]),
            self.seats,
            torch.cat([sunny, sunny[owner], stored, stored]),
        )
        self._counts = [self.seats, *[len(owner)] * 3]

    def orders(self, curve: SupplyCurve, local_charge: Tensor) -> tuple[Tensor, Tensor]:
        """Return quantities [B, M] kW and limit prices [B, M] EUR/kWh of the curves' pieces.

        What is bought comes over the network: bids are less by its charge, [B, 1] EUR/kWh.
        """
        charge, needs = local_charge.unsqueeze(-1), curve.own_kw < 0
        pieces = Pieces(curve.rest_kw, curve.own_kw, -curve.take_kw, curve.give_kw)
        price = Pieces(
            torch.where(curve.rest_kw < 0, curve.valuation - local_charge, curve.valuation),
            torch.where(needs, curve.ask - charge, curve.bid),
            curve.bid - curve.margin - charge,
            curve.ask + curve.margin,
        )
        return self.laid(pieces), self.laid(price)

    def laid(self, pieces: Pieces) -> Tensor:
        """Return what pieces hold in the places of the book, [B, M]."""
        rest, *devices = pieces
        rows = [each.flatten(1).index_select(1, self._place) for each in devices]
        return torch.cat([rest, *rows], 1)

    def pieces(self, values: Tensor) -> Pieces:
        """Return what the places of the book [B, M] hold, by piece; zero where no device is."""
        rest, *rows = values.split(self._counts, 1)
        none = rest.new_zeros(len(rest), 1)
        laid = [
            torch.cat([row, none], 1)
            .index_select(1, self._unit)
            .view(len(rest), rest.shape[1], self._devices)
            for row in rows
        ]
        return Pieces(rest, *laid)
