"""Last interval, as seats know it when they bid for the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.delivery import Delivered
from gridbazaar.envs.escrow import Escrow
from gridbazaar.envs.markets import Clearing, Orders
from gridbazaar.envs.observation import OwnState, PublicState
from gridbazaar.envs.settlement import Traded
from gridbazaar.envs.supply_curve import OrderSlots
from gridbazaar.envs.trading import Book, Trades
from gridbazaar.ledger_sim.record.privacy import Published, VolumePublisher

# What is seen of a ledger ends there: a queue and a fee may grow without end.
MOST_BASE_FEE_EUR, MOST_BACKLOG, MOST_FINALITY_SLOTS = 10.0, 1000.0, 96.0

_SMALL = 1e-6
_HISTORY = 8


class DeviceTrades(NamedTuple):
    """What devices did and traded, [B, N, K] each, as USE says."""

    power: Tensor
    take_filled: Tensor
    give_filled: Tensor
    price: Tensor


@dataclass(frozen=True)
class LastInterval:
    """What an interval of B markets with N seats leaves behind.

    Attributes:
        own: [B, N] each, as OWN_STATE says.
        devices: [B, N, K] each.
        public: [B] each, as PUBLIC_STATE says, but for what is seen of the devices now.
        history: [B, K] EUR/kWh, published prices, newest first, NaN before the first.
        voltages: complex [B, buses] p.u., where the next power flow starts; None at first.
        escrow: money that waits for finality.
        net_kw: [B, N] at the meters, positive exported.
    """

    own: OwnState
    devices: DeviceTrades
    public: PublicState
    history: Tensor
    voltages: Tensor | None
    escrow: Escrow
    net_kw: Tensor

    @classmethod
    def none(cls, like: Tensor, devices: int) -> LastInterval:
        """Return what seats know before a day's first interval.

        Args:
            like: a [B, N] tensor whose shape, type and device to use.
            devices: K, of a seat.
        """
        zero = torch.zeros_like(like)
        idle = zero.new_zeros(*zero.shape, devices)
        return cls(
            own=OwnState(*[zero] * len(OwnState._fields))._replace(included=torch.ones_like(zero)),
            devices=DeviceTrades(*[idle] * len(DeviceTrades._fields)),
            public=PublicState(*[zero[:, 0]] * len(PublicState._fields)),
            history=zero.new_full((len(zero), _HISTORY), torch.nan),
            voltages=None,
            escrow=Escrow.empty(zero),
            net_kw=zero,
        )

    @property
    def locked(self) -> Tensor:
        """Money that waits for finality, [B, N] EUR."""
        return self.own.locked

    def after(
        self,
        book: Book,
        trades: Trades,
        traded: Traded,
        delivered: Delivered,
        must_run_kw: Tensor,
        power: Tensor,
        slots: OrderSlots,
        publisher: VolumePublisher | None,
        slot_s: float,
    ) -> tuple[LastInterval, Published | None]:
        """Return what the next interval leaves behind, and the volumes [B] kW published in it.

        Args:
            book: at gate closure.
            trades: what became of it.
            traded: what stands of them, and what meters showed.
            delivered: what flowed.
            must_run_kw: [B, N] metered PV less load.
            power: [B, N, K] of the devices, shares of rated power.
            slots: whose orders they are.
            publisher: of the day's volumes; None where the book is open to all.
            slot_s: seconds of an interval.
        """
        orders, receipts, clearing = book.orders, book.receipts, trades.clearing
        finality_s, cleared_kw = trades.finality_s, orders.by_seat(clearing.cleared_kw.abs())
        volumes, published = _known_volumes(
            publisher, orders, clearing, slots, cleared_kw, self.public
        )
        locked, escrow = self.escrow.step(traded.payment_eur.abs(), finality_s, slot_s)
        filled, filled_price, devices = _fills(orders, clearing, slots, power)
        price = clearing.reference_price
        last = LastInterval(
            own=OwnState(
                voltage=(delivered.voltage_pu - 1).clamp(-1, 1),
                included=receipts.included.to(cleared_kw),
                delay=(receipts.latency_s / slot_s).clamp(max=1),
                filled=filled,
                filled_price=filled_price,
                deviation=traded.deviation_kw,
                firmed=traded.firmed_kw,
                locked=locked,
            ),
            devices=devices,
            public=PublicState(
                last_price=torch.where(price.isnan(), self.public.last_price, price),
                last_volume=volumes.traded,
                last_supply=volumes.supply,
                last_demand=volumes.demand,
                last_export=delivered.net_kw.mean(-1),
                last_must_run=must_run_kw.mean(-1),
                stored=torch.zeros_like(price),
                base_fee=receipts.base_fee.clamp(max=MOST_BASE_FEE_EUR),
                backlog=(receipts.backlog.to(cleared_kw) / slots.seats).clamp(max=MOST_BACKLOG),
                finality=(finality_s / slot_s).clamp(max=MOST_FINALITY_SLOTS),
            ),
            history=torch.cat([price.unsqueeze(-1), self.history[:, :-1]], -1),
            voltages=delivered.solution.v,
            escrow=escrow,
            net_kw=delivered.net_kw,
        )
        return last, published


def _fills(
    orders: Orders, clearing: Clearing, slots: OrderSlots, power: Tensor
) -> tuple[Tensor, Tensor, DeviceTrades]:
    """Return the fill and the price of the seats' must-run, [B, N] each, and of their devices."""
    filled = clearing.cleared_kw / orders.quantity_kw.where(orders.quantity_kw != 0, 1.0)
    share, price = slots.pieces(filled), slots.pieces(clearing.price)
    kw = slots.pieces(clearing.cleared_kw.abs())
    value = kw.own * price.own + kw.take * price.take + kw.give * price.give
    volume = kw.own + kw.take + kw.give
    mean = value / volume.clamp(min=_SMALL)
    return share.rest, price.rest, DeviceTrades(power, share.take, share.give, mean)


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
    cleared_kw: Tensor,
    before: PublicState,
) -> tuple[Volumes, Published | None]:
    """Return what all may know of an interval's volumes, and what was published in kW.

    Args:
        publisher: of the day; None where the book is open to all, and nothing need be published.
        orders: the book at gate closure.
        clearing: what became of it.
        slots: whose orders they are.
        cleared_kw: [B, N] that seats sold or bought.
        before: what was known before; where orders are hidden, offers and requests stay unknown,
            and the volume is the one that was published last.
    """
    seats = slots.seats
    if publisher is None:
        supply = orders.quantity_kw.clamp(min=0).sum(-1) / seats
        demand = supply - orders.quantity_kw.sum(-1) / seats
        return Volumes(clearing.volume_kw / seats, supply, demand), None
    # Half of it is each side's, so that the sum counts a trade once.
    published = publisher.publish(cleared_kw / 2)
    traded = before.last_volume
    if published is not None:
        traded = (published.mean / seats).to(traded)
    return Volumes(traded, before.last_supply, before.last_demand), published
