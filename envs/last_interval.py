"""Last interval, as seats know it when they bid for the next."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.delivery import Delivered
from gridbazaar.envs.escrow import Escrow
from gridbazaar.envs.markets import Clearing, Orders
from gridbazaar.envs.observation import PublicState
from gridbazaar.envs.settlement import Bill
from gridbazaar.envs.supply_curve import OrderSlots
from gridbazaar.ledger_sim import Receipts
from gridbazaar.ledger_sim.record.privacy import Published, VolumePublisher

_SMALL = 1e-6
_HISTORY = 8


@dataclass(frozen=True)
class LastInterval:
    """What an interval of B markets with N seats leaves behind.

    Attributes:
        included, delay, filled, voltage, locked: [B, N], as OWN_STATE says.
        last_power: [B, N, K], as USE says.
        public: [B] each, as PUBLIC_STATE says.
        history: [B, K] EUR/kWh, published prices, newest first, NaN before the first.
        voltages: complex [B, buses] p.u., where the next power flow starts; None at first.
        escrow: money that waits for finality.
    """

    included: Tensor
    delay: Tensor
    filled: Tensor
    last_power: Tensor
    voltage: Tensor
    locked: Tensor
    public: PublicState
    history: Tensor
    voltages: Tensor | None
    escrow: Escrow

    @classmethod
    def none(cls, like: Tensor, devices: int) -> LastInterval:
        """Return what seats know before a day's first interval.

        Args:
            like: a [B, N] tensor whose shape, type and device to use.
            devices: K, of a seat.
        """
        zero = torch.zeros_like(like)
        return cls(
            included=torch.ones_like(zero),
            delay=zero,
            filled=zero,
            last_power=zero.new_zeros(*zero.shape, devices),
            voltage=zero,
            locked=zero,
            public=PublicState(*[zero[:, 0]] * len(PublicState._fields)),
            history=zero.new_full((len(zero), _HISTORY), torch.nan),
            voltages=None,
            escrow=Escrow.empty(zero),
        )

    def after(
        self,
        orders: Orders,
        receipts: Receipts,
        finality_s: Tensor,
        clearing: Clearing,
        bill: Bill,
        delivered: Delivered,
        power: Tensor,
        slots: OrderSlots,
        publisher: VolumePublisher | None,
        slot_s: float,
    ) -> tuple[LastInterval, Published | None]:
        """Return what the next interval leaves behind, and the volumes [B] kW published in it.

        Args:
            orders: the book at gate closure.
            receipts: of the ledger.
            finality_s: [B] until the settlement is final.
            clearing: of the market.
            bill: of the seats.
            delivered: what flowed.
            power: [B, N, K] of the devices, shares of rated power.
            slots: whose orders they are.
            publisher: of the day's volumes; None where the book is open to all.
            slot_s: seconds of an interval.
        """
        volumes, published = _known_volumes(publisher, orders, clearing, slots, self.public)
        price, ordered_kw = clearing.reference_price, slots.seat_sums(orders.quantity_kw.abs())
        traded_kw = slots.seat_sums(clearing.cleared_kw.abs())
        locked, escrow = self.escrow.step(bill.trade.abs(), finality_s, slot_s)
        last = LastInterval(
            included=receipts.included.to(ordered_kw),
            delay=(receipts.latency_s / slot_s).clamp(max=1),
            filled=traded_kw / ordered_kw.clamp(min=_SMALL),
            last_power=power,
            voltage=delivered.voltage_pu - 1,
            locked=locked,
            public=PublicState(
                last_price=torch.where(price.isnan(), self.public.last_price, price),
                last_volume=volumes.traded,
                last_supply=volumes.supply,
                last_demand=volumes.demand,
                last_export=delivered.net_kw.mean(-1),
                base_fee=receipts.base_fee,
                backlog=receipts.backlog.to(ordered_kw) / ordered_kw.shape[-1],
                finality=finality_s / slot_s,
            ),
            history=torch.cat([price.unsqueeze(-1), self.history[:, :-1]], -1),
            voltages=delivered.solution.v,
            escrow=escrow,
        )
        return last, published


@dataclass(frozen=True)
class Volumes:
    """What all may know of the volumes of an interval, [B] kW per seat each."""

    traded: Tensor
    supply: Tensor
    demand: Tensor


def _known_volumes(
    publisher: VolumePublisher | None,
    orders: Orders,
    clearing: Clearing,
    slots: OrderSlots,
    before: PublicState,
) -> tuple[Volumes, Published | None]:
    """Return what all may know of an interval's volumes, and what was published in kW.

    Args:
        publisher: of the day; None where the book is open to all, and nothing need be published.
        orders: the book at gate closure.
        clearing: what became of it.
        slots: whose orders they are.
        before: what was known before; where orders are hidden, offers and requests stay unknown,
            and the volume is the one that was published last.
    """
    seats = slots.seats
    if publisher is None:
        supply = orders.quantity_kw.clamp(min=0).sum(-1) / seats
        demand = supply - orders.quantity_kw.sum(-1) / seats
        return Volumes(clearing.volume_kw / seats, supply, demand), None
    # Half of it is each side's, so that the sum counts a trade once.
    published = publisher.publish(slots.seat_sums(clearing.cleared_kw.abs()) / 2)
    traded = before.last_volume
    if published is not None:
        traded = (published.mean / seats).to(traded)
    return Volumes(traded, before.last_supply, before.last_demand), published
