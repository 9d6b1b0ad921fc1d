# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---


# %% [markdown]
# # What a second level of market is worth
#
# Neighbours trade within their community, and what is left over goes to the grid, though the
# community next door may need it. A second level lets communities trade with each other: the
# orders that found no partner at home meet those of the others. What does that bring, and when?

# %%
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import torch
from pydantic import Field

import gridbazaar as gb
from gridbazaar.agents.load import load
from gridbazaar.configs import add_folder
from gridbazaar.envs.markets import MARKETS, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.auctions.uniform_auction import UniformAuction, UniformAuctionConfig
from gridbazaar.envs.markets.trade_price import at_mean_prices

DAYS = 10

# %% [markdown]
# ## Two levels as one market
#
# The six homes, two charging points and the battery of the small task make two communities, which
# hold a uniform auction each; a third one clears what they left. Nothing that is left in a
# community could still trade there, so that all of the third is trade between communities. For
# its way each kWh of that pays `charge`, and bidders need not know of any of this.
#
# Who lives together is drawn in two ways: by *place*, the two ends of the line, or by *sun*,
# homes with PV in one and all others in the other.


# %%
def membership(split, grid):
    """Return who belongs to the first community, [N] bool."""
    if split == "sun":
        return grid.green
    end = grid.distance.amax(-1).argmax()  # a seat at one end, and the farthest from it
    return grid.distance[end] < grid.distance[grid.distance[end].argmax()]


class LevelsConfig(MarketConfig):
    """Parameters of the two levels."""

    split: Literal["place", "sun"]
    levels: int = Field(ge=1, le=2)
    charge: float = Field(ge=0, description="EUR per kWh between communities")


@MARKETS.register("levels")
class Levels(Market):
    """An auction in each of two communities, then one for what they left."""

    Config = LevelsConfig
    claims = frozenset({"no_deficit", "individually_rational"})

    def __init__(self, config: LevelsConfig):
        self._config = config
        self._auction = UniformAuction(UniformAuctionConfig(name="uniform_auction", k=0.5))

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Clear one interval of all markets of a batch."""
        first = membership(self._config.split, context.grid)
        if orders.owners is not None:
            first = first[orders.owners.seat]
        cleared_kw = money = torch.zeros_like(orders.quantity_kw)
        for members in (first, ~first):
            own = replace(orders, quantity_kw=orders.quantity_kw * members)
            found = self._auction.clear(own, context)
            cleared_kw, money = cleared_kw + found.cleared_kw, money + found.payment_eur
        if self._config.levels == 2:
            left_kw = orders.quantity_kw - cleared_kw
            charge = self._config.charge * (left_kw < 0)  # buyers bear it: they bid less
            left = replace(orders, quantity_kw=left_kw, limit_price=orders.limit_price - charge)
            found = self._auction.clear(left, context)
            cleared_kw = cleared_kw + found.cleared_kw
            money = money + found.payment_eur + found.cleared_kw * charge * context.slot_h
        return at_mean_prices(orders, context, cleared_kw, money / context.slot_h)


folder = Path(tempfile.mkdtemp())
(folder / "market").mkdir()
values = "name: levels\nsplit: place\nlevels: 2\ncharge: 0.0\n"
(folder / "market" / "levels.yaml").write_text(values)
add_folder(folder)

# %% [markdown]
# ## The same days under each
#
# Every seat bids what energy is worth to it. *One market* is the uniform auction over all seats
# at once. What a day costs is the bill of the grid, network charges (what the second level
# charges among them), wear of batteries, and what is in store at the end less than at the start.


# %%
def figures(market, *overrides):
    """Return what a day costs, by part in EUR, and what is traded in kWh; means over the days."""
    simulation = gb.batched(
        task="small-v1", market=market, overrides=overrides, num_envs=DAYS, split="validation"
    )
    bidder = load("truthful", simulation.game)
    days = simulation.community.days["validation"]
    days = days[torch.arange(DAYS) * len(days) // DAYS]  # of all seasons
    observation, memory = simulation.reset(days, seed=0), None
    found = dict.fromkeys(("total", "grid", "network", "wear", "store", "kwh"), 0.0)
    for _ in range(simulation.slots):
        action, memory = bidder.act(observation, memory)
        interval = simulation.step(action)
        observation = interval.observation
        bill, reward = interval.bill, interval.reward
        parts = {
            "total": -reward.total,
            "grid": -(bill.grid + bill.pool + bill.firming),  # forecast errors are the grid's too
            "network": -(bill.network + bill.trade),  # among seats, trade comes to nothing
            "wear": -reward.wear,
            "store": -reward.stored,
            "kwh": interval.clearing.cleared_kw.clamp(min=0) * simulation.community.slot_h,
        }
        for name, part in parts.items():
            found[name] += float(part.sum(-1).mean())
    return found


cases = {"grid alone": ("grid_only",), "one market": ("uniform_auction",)}
for split in ("place", "sun"):
    for name, levels, charge in (
        ("each for itself", 1, 0.0),
        ("two levels", 2, 0.0),
        ("two levels, 5 ct", 2, 0.05),
    ):
        words = (f"market.split={split}", f"market.levels={levels}", f"market.charge={charge}")
        cases[f"by {split}: {name}"] = ("levels", *words)
rows = {name: figures(*words) for name, words in cases.items()}

# %%
alone = rows["grid alone"]["total"]
saved = {name: alone - row["total"] for name, row in rows.items()}
print(f"{'EUR/day':27} {'saves':>6} {'cost':>6}   grid network  wear store   kWh traded")
for name, row in rows.items():
    print(
        f"{name:27} {saved[name]:6.2f} {row['total']:6.2f} {row['grid']:6.2f} {row['network']:7.2f}"
        f" {row['wear']:5.2f} {row['store']:5.2f} {row['kwh']:12.1f}"
    )

# %%
figure, axes = plt.subplots(figsize=(8, 2.8), layout="constrained")
shown = [name for name in rows if name.startswith("by")]
axes.barh(shown, [saved[name] for name in shown], color=["C0"] * 3 + ["C1"] * 3)
axes.axvline(saved["one market"], color="black", linestyle="--", label="one market")
axes.axvline(0, color="black", linewidth=0.8)
axes.invert_yaxis()
axes.set_xlabel("saved against the grid alone, EUR/day")
figure.legend(loc="outside upper right", frameon=False)
plt.show()

# %% [markdown]
# What a second level is worth depends on who lives together. Two ends of a line, each with sun
# and homes, are much alike: within, they find nearly all that one market would find, and the
# second level adds little. A community of roofs beside one of consumers has nobody to trade with
# at home, and gets everything from the second level. By itself it is worse off than with the grid
# alone: a battery trades with its neighbours there, and network charges, wear and an emptier
# store come to more than the grid's bill falls by.
#
# A charge for the way counts for the same reason. At 5 ct a kWh the ends of the line trade nearly
# as if there were no second level; where it is all there is, most of what it brings is gone.
#
# These are ten days, nine seats and one rule of bidding: the order of the rows is what to take
# from them. The market above is an ordinary one: on a ledger, on another task, with other
# bidders, `market=levels` works as any, see the page on adding a market.
