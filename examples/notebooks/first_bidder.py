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
# # A first bidder
#
# A day of a local energy market, seen by one seat and then by all of them; a bidder of your own;
# and what it costs beside a rule that bids what energy is worth to it. The task is small: six
# homes, two charging points and a community battery on a rural line. On the default task, write
# `semiurb4`.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import gridbazaar as gb
from gridbazaar.agents.pettingzoo_policy import policy_bidder
from gridbazaar.evaluation.rollout import daily_cost

TASK = "small-v1"

# %% [markdown]
# ## What a seat sees and does
#
# The environment is a PettingZoo `ParallelEnv`. Every entry has a name, a unit and a meaning.

# %%
env = gb.parallel_env(task=TASK, market="uniform_auction", ledger="block", seed=1)
observations, _ = env.reset(seed=1)
seat = "prosumer_0"
for feature, value in list(zip(env.observation_features(seat), observations[seat], strict=True))[
    :8
]:
    print(f"{feature.name:16} {value / feature.scale:8.3f} {feature.unit:8} {feature.meaning}")

# %%
for entry in env.action_entries(seat):
    print(f"{entry.name:16} {entry.unit:8} {entry.meaning}")

# %% [markdown]
# ## A day
#
# Zero is the middle of every range. An episode is a day of 96 intervals.

# %%
earned = dict.fromkeys(env.agents, 0.0)
sold = []
while env.agents:
    actions = {agent: np.zeros(env.action_space(agent).shape, np.float32) for agent in env.agents}
    observations, rewards, _, _, infos = env.step(actions)
    sold.append(sum(max(info["cleared_kw"], 0.0) for info in infos.values()))
    for agent, reward in rewards.items():
        earned[agent] += reward
print({agent: round(total, 2) for agent, total in earned.items()}, "EUR")

# %%
figure, axes = plt.subplots(figsize=(7, 2.5))
axes.step(np.arange(96) / 4, sold, where="post")
axes.set_xlabel("hour")
axes.set_ylabel("traded, kW")
plt.show()

# %% [markdown]
# ## A bidder of your own
#
# A function of an agent's name and what it sees. This one asks and bids as the grid does for what
# its home needs, and offers half of what its devices can do.


# %%
def half(agent, observation):
    entries = [entry.name for entry in env.action_entries(agent)]
    action = np.zeros(len(entries), np.float32)
    for number, name in enumerate(entries):
        action[number] = {"must_run_price": 1.0, "margin": -1.0, "priority_fee": -1.0}.get(
            name, 0.0
        )
    return action


# %% [markdown]
# ## What it costs
#
# All bidders meet the same days and chances. The community's cost is the sum over its seats;
# lower is better. `stand_alone` serves its own home alone, `truthful` bids what energy is worth
# to it.

# %%
days = gb.batched(task=TASK, num_envs=5, split="validation")
for name, bidder in (("mine", policy_bidder(half)), ("stand_alone",) * 2, ("truthful",) * 2):
    print(f"{name:12} {daily_cost(days, bidder).sum(-1).mean():6.2f} EUR/day")

# %% [markdown]
# ## Many markets at once
#
# The same world as tensors: 64 markets step together, for bidders that learn.

# %%
batch = gb.batched(task=TASK, num_envs=64)
observation = batch.reset(seed=3)
interval = batch.step(torch.zeros(64, batch.num_seats, len(batch.game.layout.actions)))
print(observation.shape, interval.clearing.volume_kw.mean())

# %% [markdown]
# Next: a full comparison with a report, `python evaluate.py name=first task=small bidder=all`,
# and bidders that decide for all seats as tensors, in the page on adding a bidder.
