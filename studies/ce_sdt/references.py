"""Traditional systems: what the same settlements cost without trade.

The paper does not say what its traditional system does with the sun of those who have PV.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from gridbazaar.studies.ce_sdt.community import Community, Prices, per_user
from gridbazaar.studies.ce_sdt.rules import Rules
from gridbazaar.studies.ce_sdt.trading import simulate, typical_weights

# What each reading is, for tables.
READINGS = {
    "grid": "all from the grid, no PV",
    "gross": "all from the grid, all sun fed in",
    "own_use": "own sun first, the rest fed in",
    "unpaid": "own sun first, the rest lost",
    "store": "own sun and store first, the rest fed in",
}


def references(
    community: Community, rules: Rules, prices: Prices, store: bool = True
) -> dict[str, Tensor]:
    """Return the bill of each user without trade, AUD [R, N], by reading, the same without PV.

    Args:
        store: whether to play the day of those who have a store, too.
    """
    events, users = community.events, community.owner.shape[1]
    price, load, sun = prices.grid[events.hour], events.load_kwh, events.sun_kwh
    missing, surplus = (load - sun).clamp(min=0), (sun - load).clamp(min=0)
    found = {
        "grid": per_user(events, load * price, users),
        "gross": per_user(events, load * price - sun * prices.feed_in, users),
        "own_use": per_user(events, missing * price - surplus * prices.feed_in, users),
        "unpaid": per_user(events, missing * price, users),
    }
    if store:
        alone = replace(rules, bidding=False)
        weight = typical_weights(community, alone)
        found["store"] = simulate(community, alone, prices, weight).cost
    return found
