"""Rules of CE-SDT's experiment: what the paper fixes, and a reading of what it leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rules:
    """A community and its contract; numbers are of the paper's Table 1 where it has them.

    Energy in kWh, power in kW, prices in AUD/kWh, states of charge in parts of the capacity.
    """

    users: int = 60
    load_kwh: float | None = None  # mean day to which the types of load are scaled; None: as given
    store_kwh: float = 5.0
    store_kw: float = 5.0  # limit of (9); assumed to be the PV unit's, no value in print
    charge_efficiency: float = 1.0  # of (7); no value in print
    discharge_efficiency: float = 1.0
    soc_min: float = 0.0  # of (10)
    soc_floor: float = 0.2  # SOC^dsr of (11), also the day's start; assumed
    shortest_min: float = 45.0  # of a settlement interval
    longest_min: float = 75.0
    # "own": each user settles when its last interval ends; "hourly": once an hour, in any order,
    # and (14) scales the hour's energy.
    clock: Literal["own", "hourly"] = "own"
    owners: Literal["exact", "drawn"] = "exact"  # that share of the users, or each by chance

    feed_in: bool = True  # surplus beyond the store is fed in at 10 c; False: it is lost
    # "own": a user's own store serves it before it requests; "offer": all of it is for sale.
    own_first: bool = True
    # Of what a supplier stores: offered whole, or less its own later need of the day.
    reserve: Literal["none", "own_need"] = "none"

    bidding: bool = True  # False: everybody takes "no bidding", step 3.1
    participation: float = 1.0  # share of the users that ever request bidding
    skip_when_dear: bool = True  # "no bidding" where the buying price is the grid's or more
    level: float = 0.203  # at which both suggestions rest; see `prices.weights`
    quantity: Literal["day", "now"] = "day"  # of the first terms of (5) and (6)
    scope: Literal["user", "market"] = "user"  # whose quantities and prices (5) and (6) sum
    history: Literal["mean", "sum"] = "mean"  # under the root: the text's, or the formula's
    spread: float = 0.1  # an offer is the suggestion, up to so much more or less; assumed
    first: Literal["cheapest", "dearest"] = "cheapest"  # offer; the text's, or the printed (12)'s
    accept: Literal["grid", "request"] = "grid"  # offers up to the grid's price, or the request's
    price: Literal["offer", "request", "middle"] = "offer"  # at which a pair trades
    answer_s: float = 20.0  # a supplier answers within; assumed
    timeout_s: float = 30.0  # of the offers, step 6; assumed

    adjustable: float = 0.0  # share of the load in an hour that may be moved up or down
    disutility: float = 0.5  # AUD/kWh of a whole hour's load moved; weight of the dissatisfaction
    window: tuple[int, int] = (7, 22)  # hours in which a generator's load must be completed
