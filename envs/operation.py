"""Operation of devices and feeder, once the market has cleared."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.dataset import Slot
from gridbazaar.envs.delivery import Delivered, Delivery
from gridbazaar.envs.devices.fleet import seat_power, share_cut
from gridbazaar.envs.dispatch import dispatch
from gridbazaar.envs.firming import Firming
from gridbazaar.envs.offers import Offers
from gridbazaar.envs.pool import PoolPrices
from gridbazaar.envs.trading import Trades


@dataclass(frozen=True)
class Dispatched:
    """What seats mean to do once the market has cleared.

    Attributes:
        must_run_kw: [B, N] PV less load that they commit to.
        devices_kw: [B, N, K].
        position_kw: [B, N] planned at the meter.
    """

    must_run_kw: Tensor
    devices_kw: Tensor
    position_kw: Tensor


@dataclass(frozen=True)
class Run:
    """What was done.

    Attributes:
        devices_kw: [B, N, K] by the devices, firming and curtailment included.
        firmed_kw: [B, N] given (positive) and taken for others' deviations.
        delivered: what flowed.
    """

    devices_kw: Tensor
    firmed_kw: Tensor
    delivered: Delivered


class Operation:
    """Devices of a community on its feeder.

    Args:
        community: seats and devices.
        delivery: the feeder.
        firming: who makes up for deviations, as `task.rules.firming` says.
    """

    def __init__(self, community: Community, delivery: Delivery, firming: str):
        self._fleet, self._delivery = community.fleet, delivery
        self._firm = Firming(firming, community)

    def dispatch(
        self, offers: Offers, trades: Trades, slot: Slot, smoothing: float = 0.0
    ) -> Dispatched:
        """Let devices run as their orders cleared; PV that turns down keeps what nobody bought.

        Args:
            offers: of the seats.
            trades: what cleared of them.
            slot: that was traded.
            smoothing: EUR/kWh over which the grid's price is accepted gradually.
        """
        tariff = slot.tariff
        devices_kw = dispatch(
            offers.curve, trades.pieces, offers.must_kw, tariff.retail, tariff.feed_in, smoothing
        )
        flexible_kw = seat_power(devices_kw)
        must_run_kw = self._fleet.committed(
            offers.must_run_kw, flexible_kw, trades.cleared_kw, tariff.feed_in
        )
        return Dispatched(must_run_kw, devices_kw, must_run_kw + flexible_kw)

    def deliver(
        self,
        offers: Offers,
        dispatched: Dispatched,
        slot: Slot,
        prices: PoolPrices,
        start: Tensor | None,
        smoothing: float = 0.0,
    ) -> Run:
        """Firm what meters will show beside the positions, and let the power flow.

        Args:
            offers: of the seats.
            dispatched: what they mean to do.
            slot: whose sun and load are metered.
            prices: of deviations.
            start: voltages of the last interval, where known.
            smoothing: EUR/kWh over which the pool's prices are accepted gradually.
        """
        pv_kw = self._fleet.generated(
            slot.pv_kw, slot.load_kw, dispatched.must_run_kw, slot.tariff.feed_in
        )
        devices_kw, firmed_kw = self._firm(
            offers.curve,
            dispatched.devices_kw,
            offers.must_kw,
            pv_kw - slot.load_kw - dispatched.must_run_kw,
            prices,
            slot.tariff.local_charge,
            smoothing,
        )
        delivered = self._delivery(
            pv_kw,
            slot.load_kw,
            seat_power(devices_kw),
            slot.background_kw,
            slot.reactive_kvar,
            start,
        )
        return Run(share_cut(devices_kw, delivered.flexible_kw), firmed_kw, delivered)
