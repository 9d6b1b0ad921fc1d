"""Dispatch: what devices do once the market has cleared."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.markets.book import rounding
from gridbazaar.envs.smoothing import accepted
from gridbazaar.envs.supply_curve import Pieces, SupplyCurve


def dispatch(
    curve: SupplyCurve,
    cleared: Pieces,
    must_kw: Tensor,
    retail: Tensor,
    feed_in: Tensor,
    smoothing: float = 0.0,
) -> Tensor:
    """Return the power of every device, [B, N, K] kW, positive where it gives.

    It is what the device must take, its own use as far as neighbours neither bought nor sold it,
    what cleared, and what the grid's price accepts: a take valued at retail or more, a give asked
    at feed-in or less.

    Args:
        curve: of the seats.
        cleared: of its pieces, as the market filled them; nothing where orders came late.
        must_kw: [B, N, K] that devices must take, 0 or less.
        retail, feed_in: [B, 1] EUR/kWh, the grid's.
        smoothing: EUR/kWh over which the grid's price is accepted gradually.
    """
    retail, feed_in = retail.unsqueeze(-1), feed_in.unsqueeze(-1)
    own = cleared.own - curve.own_kw
    bought_kw = curve.take_kw * accepted(curve.bid - retail + rounding(retail), smoothing)
    sold_kw = curve.give_kw * accepted(feed_in + rounding(feed_in) - curve.ask, smoothing)
    taken = torch.minimum(cleared.take, -bought_kw)
    given = torch.maximum(cleared.give, sold_kw)
    return must_kw + own + taken + given
