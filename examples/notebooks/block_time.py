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
# # What a block time does to a market
#
# Orders reach the market by a ledger that writes a block every so often. What is not in a block
# when the gate closes is late, and not in the book. Here the same bidders play the same days on a
# chain whose blocks come every 10 seconds to every 10 minutes; an interval has 15 minutes.

# %%
import matplotlib.pyplot as plt

import gridbazaar as gb
from gridbazaar.agents.load import load

DAYS = 5


# %%
def figures(seconds):
    simulation = gb.batched(
        task="small-v1",
        ledger="block",
        overrides=(f"ledger.interval_s={seconds}",),
        num_envs=DAYS,
        split="validation",
    )
    bidder = load("truthful", simulation.game)
    days = simulation.community.days["validation"][:DAYS]
    observation, memory = simulation.reset(days, seed=0), None
    cost, sent, late, waited = 0.0, 0, 0, []
    for _ in range(simulation.slots):
        action, memory = bidder.act(observation, memory)
        interval = simulation.step(action)
        observation = interval.observation
        cost -= float(interval.reward.total.sum(-1).mean())
        ordered = interval.sent_kw != 0
        sent += int(ordered.sum())
        late += int((ordered & (interval.orders.quantity_kw == 0)).sum())
        waited.append(float(interval.finality_s.mean()))
    return {
        "late": late / sent,
        "cost": cost,
        "finality": sum(waited) / len(waited),
        "ahead": simulation.rules.gate_closure_s - simulation.submission_s,
    }


times = [10, 60, 300, 600]
rows = [figures(seconds) for seconds in times]
for seconds, row in zip(times, rows, strict=True):
    print(
        f"{seconds:4} s: {row['late']:6.1%} late, sent {row['ahead']:4.0f} s before the gate, final"
        f" {row['finality']:4.0f} s after it, {row['cost']:6.2f} EUR/day"
    )

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 2.8))
panels[0].plot(times, [100 * row["late"] for row in rows], "o-")
panels[0].set_ylabel("late orders, %")
panels[1].plot(times, [row["cost"] for row in rows], "o-")
panels[1].set_ylabel("community cost, EUR/day")
for axes in panels:
    axes.set_xlabel("block time, s")
plt.show()

# %% [markdown]
# The rest of the ledgers (consensus, fees, faults, privacy) with one command: `python evaluate.py
# name=ledgers task=small ledger=all bidder=truthful`.
