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
def figures(seconds, room):
    simulation = gb.batched(
        task="small-v1",
        ledger="block",
        overrides=(f"ledger.interval_s={seconds}", f"ledger.block_gas={room}"),
        num_envs=DAYS,
        split="validation",
    )
    bidder = load("truthful", simulation.game)
    days = simulation.community.days["validation"][::10]  # of all seasons
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


# %% [markdown]
# Seats know their ledger: they send as late as they can and still be in a block before the gate
# closes. Slow blocks make them send earlier. Two cases: blocks with room for all, and blocks that
# hold five transactions, while nine seats bid.

# %%
times = [10, 60, 300, 600]
rows = {room: [figures(seconds, room) for seconds in times] for room in (300, 5)}
for room, found in rows.items():
    print(f"room for {room} transactions")
    for seconds, row in zip(times, found, strict=True):
        print(
            f"{seconds:4} s: {row['late']:6.1%} late, sent {row['ahead']:4.0f} s before the gate, "
            f"final {row['finality']:4.0f} s after it, {row['cost']:6.2f} EUR/day"
        )

# %%
figure, panels = plt.subplots(1, 2, figsize=(9, 2.8))
for room, found in rows.items():
    panels[0].plot(times, [100 * row["late"] for row in found], "o-", label=f"room for {room}")
    panels[1].plot(times, [row["cost"] for row in found], "o-")
panels[0].set_ylabel("late orders, %")
panels[1].set_ylabel("community cost, EUR/day")
panels[0].legend()
for axes in panels:
    axes.set_xlabel("block time, s")
plt.show()

# %% [markdown]
# With room for all, slow blocks cost nothing here: orders are sent earlier, and the forecast that
# they rest on is the last meter reading whenever they are sent; what grows is the time until a
# trade is final. Where blocks are full, orders come too late, and a seat whose order is late trades
# with the grid alone.
#
# The rest of the ledgers (consensus, fees, faults, privacy) with one command:
# `python evaluate.py name=ledgers task=small ledger=all bidder=truthful`.
