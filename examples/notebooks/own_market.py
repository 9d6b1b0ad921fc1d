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
# # A market of your own
#
# A market is a class with `clear`, and a YAML with its values. This one trades at a price
# half-way between what the grid pays and what it charges; whoever accepts the price takes part,
# and the longer side shares pro rata.

# %%
import tempfile
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

import gridbazaar as gb
from gridbazaar.agents.load import load
from gridbazaar.configs import add_folder
from gridbazaar.envs.markets import MARKETS, Clearing, Context, Market, MarketConfig, Orders
from gridbazaar.envs.markets.posted_price import accepting_kw, at_one_price, share_pro_rata


# %%
class BetweenConfig(MarketConfig):
    """Parameters of the mechanism."""

    position: Annotated[float, Field(ge=0, le=1)]


@MARKETS.register("between")
class Between(Market):
    """A price between feed-in and retail that the orders do not move."""

    Config = BetweenConfig

    def __init__(self, config: BetweenConfig):
        self._position = config.position

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Clear one interval of all markets of a batch."""
        price = torch.lerp(context.seller_floor, context.buyer_ceiling, self._position)
        return at_one_price(share_pro_rata(accepting_kw(orders, price)), price, context.slot_h)


# %% [markdown]
# Values stand in YAML, in a folder of yours. A missing, unknown or impossible value is refused by
# name.

# %%
folder = Path(tempfile.mkdtemp())
(folder / "market").mkdir()
(folder / "market" / "between.yaml").write_text("name: between\nposition: 0.5\n")
add_folder(folder)

# %% [markdown]
# From here on every function and command takes its name. The same truthful bidders meet the same
# days under three markets.


# %%
def figures(market, *overrides):
    simulation = gb.batched(
        task="small-v1", market=market, overrides=overrides, num_envs=5, split="validation"
    )
    bidder = load("truthful", simulation.game)
    days = simulation.community.days["validation"][::10]  # five days of all seasons
    observation, memory = simulation.reset(days, seed=0), None
    cost = traded_kwh = 0.0
    for _ in range(simulation.slots):
        action, memory = bidder.act(observation, memory)
        interval = simulation.step(action)
        observation = interval.observation
        cost -= interval.reward.total.sum(-1)
        traded_kwh += interval.clearing.volume_kw * simulation.community.slot_h
    return float(cost.mean()), float(traded_kwh.mean())


for market, *overrides in (
    ("uniform_auction",),
    ("pay_as_bid",),
    ("between",),
    ("between", "market.position=0.1"),
):
    cost, traded_kwh = figures(market, *overrides)
    name = " ".join([market, *overrides])
    print(f"{name:30} {cost:6.2f} EUR/day, {traded_kwh:5.1f} kWh/day traded")

# %% [markdown]
# What is traded decides what the community pays: where the price is fixed, whoever does not accept
# it keeps out. Between the two auctions, which trade alike, little more than money changes hands.
#
# What a market must keep (balance, limits, no loss) is tested for every registered one by
# `pytest tests/test_markets.py -k between` once it stands in a module; see the page on adding a
# market.
