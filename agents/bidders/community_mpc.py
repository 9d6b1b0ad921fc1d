"""Model predictive control of all storage together, each store priced by the common plan."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gridbazaar.agents.bidders.mpc import Mpc
from gridbazaar.agents.bidders.outlook import expect_community
from gridbazaar.agents.bidders.protocol import BIDDERS
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.agents.bidders.storage_plan import Outlook, Store


@BIDDERS.register("community_mpc")
class CommunityMpc(Mpc):
    """Receding-horizon control from public figures: all batteries name one worth of stored energy.

    A seat that plans for itself leaves out that neighbours sell and buy, so that batteries trade
    with each other. Here each plans as if it held its share of all that is stored and served its
    share of what homes leave over or lack, both of which are published; the plans agree, and so do
    the prices.

    Source: Mayne et al. (2000), "Constrained model predictive control", Automatica 36(6), for the
    principle; sharing by rated power is assumed.
    """

    def _outlook(self, seat: Seat, k: int, others_kw: Tensor | None) -> Outlook:
        """Return what device k expects of the community; see Mpc."""
        return expect_community(seat, k, self._game.slot_h)

    def _store(self, seat: Seat, k: int) -> Store:
        """Return device k as it were with its share of all that batteries hold; see Mpc."""
        store = super()._store(seat, k)
        capacity = seat.read_each("storage_kwh")[..., k]
        usable = store.stored_kwh + store.room_kwh
        floor = seat.read_each("soc")[..., k] * capacity - store.stored_kwh
        held = torch.minimum((seat.read("stored") * capacity - floor).clamp(min=0), usable)
        held = torch.where(capacity > 0, held, store.stored_kwh)
        return replace(store, stored_kwh=held, room_kwh=usable - held)
