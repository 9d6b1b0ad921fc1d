"""Firming: devices that make up for what seats deviate from their positions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.devices.fleet import Fleet, seat_power
from gridbazaar.envs.markets.book import cross, fill
from gridbazaar.envs.pool import PoolPrices
from gridbazaar.envs.smoothing import LEAST_KW, accepted, smoothed_fill
from gridbazaar.envs.supply_curve import SupplyCurve


class Firming:
    """Who makes up for deviations, by the rules of a task.

    Args:
        who: none; own devices alone; then the batteries of seats without a home, or all devices,
            for what the community still deviates.
        community: seats and devices.
    """

    def __init__(self, who: str, community: Community):
        self._who, self._fleet = who, community.fleet
        storage = community.seats_of("storage")
        everybody = torch.ones_like(community.pv_kwp)
        only = torch.zeros_like(everybody).index_fill(0, storage, 1.0)
        self._firms = only if who == "storage_seats" else everybody

    def __call__(
        self,
        curve: SupplyCurve,
        devices_kw: Tensor,
        must_kw: Tensor,
        deviation_kw: Tensor,
        prices: PoolPrices,
        local_charge: Tensor,
        smoothing: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Return the powers of the devices [B, N, K] kW, and what seats firm for others [B, N].

        Args:
            curve: of the seats.
            devices_kw, must_kw: [B, N, K] as dispatched, and what of it they must take.
            deviation_kw: [B, N] of the must-run nets from what was committed.
            prices: of deviations.
            local_charge: [B, 1] EUR/kWh.
            smoothing: EUR/kWh over which the pool's prices are accepted gradually.
        """
        if self._who == "none":
            return devices_kw, torch.zeros_like(deviation_kw)
        room = headroom(curve, devices_kw, must_kw)
        own_kw = firm_own(curve, room, deviation_kw, prices, smoothing)
        devices_kw = devices_kw + own_kw
        if self._who == "own":
            return devices_kw, torch.zeros_like(deviation_kw)
        firmed_kw = firm_community(
            curve,
            headroom(curve, devices_kw, must_kw),
            deviation_kw + seat_power(own_kw),
            prices,
            local_charge,
            self._fleet,
            self._firms,
            smoothing,
        )
        return devices_kw + firmed_kw, seat_power(firmed_kw)


class Headroom(NamedTuple):
    """What devices could still change of their power, [B, N, K] kW, 0 or more each.

    Attributes:
        less_taken, more_given: up, at the bid and at the ask.
        less_given, more_taken: down, at the ask and at the bid.
    """

    less_taken: Tensor
    more_given: Tensor
    less_given: Tensor
    more_taken: Tensor


def headroom(curve: SupplyCurve, device_kw: Tensor, must_kw: Tensor) -> Headroom:
    """Return what is unused of the offers, [B, N, K], at powers within them.

    Args:
        curve: what was offered.
        device_kw: what the devices do.
        must_kw: what of it they must take, 0 or less.
    """
    free_kw = device_kw - must_kw
    given = free_kw.clamp(min=0)
    taken = given - free_kw
    own = curve.own_kw
    return Headroom(
        less_taken=taken,
        more_given=(curve.give_kw + (-own).clamp(min=0) - given).clamp(min=0),
        less_given=given,
        more_taken=(curve.take_kw + own.clamp(min=0) - taken).clamp(min=0),
    )


def firm_own(
    curve: SupplyCurve,
    room: Headroom,
    deviation_kw: Tensor,
    prices: PoolPrices,
    smoothing: float = 0.0,
) -> Tensor:
    """Return by how much each seat's devices meet its own deviation, [B, N, K] kW up.

    A device that takes a surplus spares its seat the price of a long deviation, one that gives that
    of a short one; it does so where its valuation is better, and nobody pays for it.

    Args:
        curve: what was offered.
        room: what of it is unused.
        deviation_kw: [B, N] of the seats, positive is long.
        prices: of the pool.
        smoothing: EUR/kWh over which they are accepted gradually.
    """
    long, short = prices.long.unsqueeze(-1), prices.short.unsqueeze(-1)
    spared, stored = (accepted(each - long, smoothing) for each in (curve.ask, curve.bid))
    left, given = (accepted(short - each, smoothing) for each in (curve.bid, curve.ask))
    down = room.less_given * spared + room.more_taken * stored
    up = room.less_taken * left + room.more_given * given
    surplus_kw = deviation_kw.clamp(min=0)
    return _shared(surplus_kw - deviation_kw, up) - _shared(surplus_kw, down)


def _shared(amount_kw: Tensor, room_kw: Tensor) -> Tensor:
    """Share an amount [B, N] among a seat's devices pro rata to their headroom [B, N, K]."""
    all_kw = seat_power(room_kw)
    share = (amount_kw / all_kw.clamp(min=LEAST_KW)).clamp(max=1)
    return room_kw * share.unsqueeze(-1)


def firm_community(
    curve: SupplyCurve,
    room: Headroom,
    deviation_kw: Tensor,
    prices: PoolPrices,
    local_charge: Tensor,
    fleet: Fleet,
    who: Tensor,
    smoothing: float = 0.0,
) -> Tensor:
    """Return by how much devices meet the deviation of all seats together, [B, N, K] kW up.

    A uniform clearing at the pool's price, in merit order, ties pro rata to headroom.

    Args:
        curve: what was offered.
        room: what of it is unused.
        deviation_kw: [B, N] of the seats, positive is long.
        prices: of the pool.
        local_charge: [B, 1] EUR/kWh on what a device takes over the network.
        fleet: the devices.
        who: [N] 1 for seats whose devices firm, 0 for others.
        smoothing: EUR/kWh over which devices accept the price gradually.
    """
    net_kw = deviation_kw.sum(-1, keepdim=True)
    long, mask = net_kw > 0, who.unsqueeze(-1)
    is_long, charge = long.unsqueeze(-1), local_charge.unsqueeze(-1)
    give = torch.where(is_long, -room.less_given, room.more_given) * mask
    take = torch.where(is_long, -room.more_taken, room.less_taken) * mask
    bid = curve.bid - curve.margin - torch.where(is_long, charge, 0.0)
    ask = curve.ask + curve.margin

    def of_units(values: Tensor) -> Tensor:
        return values.flatten(1).index_select(1, fleet.place)

    quantity_kw = torch.cat([net_kw, of_units(give), of_units(take)], 1)
    price = torch.cat(
        [torch.where(long, prices.long, prices.short), of_units(ask), of_units(bid)], 1
    )
    if smoothing:
        firm = torch.arange(price.shape[-1], device=price.device) == 0  # the deviation itself
        low = torch.where(long, prices.long, price.amin(-1, keepdim=True) - 8 * smoothing)
        high = torch.where(long, price.amax(-1, keepdim=True) + 8 * smoothing, prices.short)
        firmed, _ = smoothed_fill(quantity_kw, price, firm, low, high, smoothing)
    else:
        firmed = fill(quantity_kw, price, cross(quantity_kw, price))
    each = firmed[:, 1:].unflatten(1, (2, -1)).sum(1)
    return fleet.slotted({"": each}, each.new_zeros(len(each), 1))
