"""What an interval leaves behind for the next observation."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.delivery import Delivered
from gridbazaar.envs.escrow import Escrow
from gridbazaar.envs.markets import Clearing, Orders
from gridbazaar.envs.observation import PublicState
from gridbazaar.envs.settlement import Bill
from gridbazaar.ledger_sim import Receipts
from gridbazaar.ledger_sim.record.privacy import Bulletin, Published

_SMALL = 1e-6
_HISTORY = 8


class Memory:
    """The last interval of B markets with N seats; empty at the day's start.

    Args:
        like: a [B, N] tensor whose shape, type and device to use.
        rated_kw: [N, K] of the seats' devices.
        slot_s: seconds of an interval.
        bulletin: where the traded volume is published; None where the book is open to all.

    Attributes:
        included, delay, filled, voltage, locked: [B, N], as OWN_STATE says.
        last_power: [B, N, K], as USE says.
        public: [B] each, likewise.
        published: of the last interval, in kW; None where nothing was.
        history: [B, K] EUR/kWh, published prices, newest first, NaN before the first.
        state: complex voltages, where the next power flow starts; None at the day's start.
    """

    def __init__(
        self, like: Tensor, rated_kw: Tensor, slot_s: float, bulletin: Bulletin | None = None
    ):
        none = torch.zeros_like(like)
        self._bulletin = bulletin
        self.published: Published | None = None
        self._rated_kw, self._slot_s = rated_kw.clamp(min=_SMALL), slot_s
        self._escrow = Escrow(slot_s, none)
        self.included = torch.ones_like(none)
        self.delay = self.filled = self.voltage = self.locked = none
        self.last_power = none.new_zeros(len(none), *rated_kw.shape)
        self.public = PublicState(*[none[:, 0]] * len(PublicState._fields))
        self.history = none.new_full((len(none), _HISTORY), torch.nan)
        self.state: Tensor | None = None

    def update(
        self,
        orders: Orders,
        receipts: Receipts,
        finality_s: Tensor,
        clearing: Clearing,
        bill: Bill,
        delivered: Delivered,
        device_kw: Tensor,
    ) -> None:
        """Replace what is remembered by this interval; `device_kw` is [B, N, K]."""
        price = clearing.reference_price
        volume, supply, demand = self._volumes(orders, clearing)
        seats = orders.quantity_kw.shape[-1]
        self.public = PublicState(
            last_price=torch.where(price.isnan(), self.public.last_price, price),
            last_volume=volume,
            last_supply=supply,
            last_demand=demand,
            last_export=delivered.net_kw.mean(-1),
            base_fee=receipts.base_fee,
            backlog=receipts.backlog.to(supply) / seats,
            finality=finality_s / self._slot_s,
        )
        self.history = torch.cat([price.unsqueeze(-1), self.history[:, :-1]], -1)
        self.included = receipts.included.to(supply)
        self.delay = (receipts.latency_s / self._slot_s).clamp(max=1)
        self.filled = clearing.cleared_kw.abs() / orders.quantity_kw.abs().clamp(min=_SMALL)
        self.last_power = device_kw / self._rated_kw
        self.voltage = delivered.voltage_pu - 1
        self.locked = self._escrow.step(bill.trade.abs(), finality_s)
        self.state = delivered.solution.v

    def _volumes(self, orders: Orders, clearing: Clearing) -> tuple[Tensor, Tensor, Tensor]:
        """Return what was traded, offered and asked for, [B] kW per seat, as all may know it.

        Where orders are hidden, the last two stay 0 and the first is what was published last.
        """
        seats = orders.quantity_kw.shape[-1]
        if self._bulletin is None:
            supply = orders.quantity_kw.clamp(min=0).mean(-1)
            return clearing.volume_kw / seats, supply, supply - orders.quantity_kw.mean(-1)
        # Half of it is each side's, so that the sum counts a trade once.
        self.published = self._bulletin.publish(clearing.cleared_kw.abs() / 2)
        volume = self.public.last_volume
        if self.published is not None:
            volume = (self.published.mean / seats).to(volume)
        return volume, self.public.last_supply, self.public.last_demand
