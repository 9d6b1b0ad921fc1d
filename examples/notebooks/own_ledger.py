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
# # A ledger of your own
#
# A ledger takes transactions and gives receipts: what is included in time, what it costs, when it
# is final. It knows nothing of energy. This one is instant and final at once, like a database,
# but closes its counter some minutes before the others, and takes a fee.

# %%
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import Field

import gridbazaar as gb
from gridbazaar.agents.load import load
from gridbazaar.configs import add_folder
from gridbazaar.ledger_sim.ideal import IdealConfig, IdealLedger
from gridbazaar.ledger_sim.registry import LEDGERS


# %%
class CounterConfig(IdealConfig):
    """Parameters of the counter."""

    fee: float = Field(ge=0, description="currency per transaction")
    closes_s: float = Field(ge=0, description="seconds before the deadline")


@LEDGERS.register("counter")
class CounterLedger(IdealLedger):
    """Instant, for a flat fee, until the counter closes."""

    Config = CounterConfig

    def step(self, transactions, deadline_s):
        """Include what is sent before the counter closes; everybody pays."""
        receipts = super().step(transactions, max(deadline_s - self.config.closes_s, 0.0))
        fee = transactions.sent * torch.full_like(transactions.tip, self.config.fee)
        return replace(receipts, fee=fee, validator_income=fee.sum(-1))


# %% [markdown]
# Every number of a ledger says its unit, where it comes from, and whether it is measured,
# published, derived or assumed.

# %%
folder = Path(tempfile.mkdtemp())
(folder / "ledger").mkdir()
(folder / "ledger" / "counter.yaml").write_text("""\
name: counter
slot_s: {value: 900, unit: s, status: assumed, source: must equal the environment's slot}
layers: []
fee: {value: 0.0001, unit: EUR, status: assumed, source: an example}
closes_s: {value: 0, unit: s, status: assumed, source: an example}
""")
add_folder(folder)


# %%
def figures(ledger, *overrides):
    simulation = gb.batched(
        task="small-v1", ledger=ledger, overrides=overrides, num_envs=5, split="validation"
    )
    bidder = load("truthful", simulation.game)
    days = simulation.community.days["validation"][::10]  # five days of all seasons
    observation, memory = simulation.reset(days, seed=0), None
    cost, fees, in_time, sent = 0.0, 0.0, 0.0, 0.0
    for _ in range(simulation.slots):
        action, memory = bidder.act(observation, memory)
        interval = simulation.step(action)
        observation = interval.observation
        cost -= float(interval.reward.total.sum(-1).mean())
        fees += float(interval.receipts.fee.sum(-1).mean())
        orders = interval.sent_kw != 0
        sent += float(orders.sum())
        in_time += float((interval.orders.quantity_kw != 0).sum())
    return cost, fees, in_time / max(sent, 1.0)


for ledger, *overrides in (("ideal",), ("counter",), ("counter", "ledger.closes_s=600")):
    cost, fees, share = figures(ledger, *overrides)
    name = " ".join([ledger, *overrides])
    print(f"{name:28} {cost:6.2f} EUR/day, fees {fees:.3f}, {share:5.1%} of orders in time")

# %% [markdown]
# A counter that closes early and does not say so gets no order in time: seats send as late as the
# ledger's `lead_s` allows, and this one's says that any time will do. Then nobody trades. Give it a
# `lead_s` that returns `self.config.closes_s`, and all orders come in time again.
#
# A chain needs its consensus alone: queue, blocks, fees, faults and energy are there already. See
# the page on adding a ledger.
