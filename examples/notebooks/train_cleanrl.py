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
# # Train with a loop of your own
#
# As CleanRL has it: the algorithm is in front of you. Here the shortest that learns, policy
# gradients with a baseline; `examples/cleanrl_ppo.py` is PPO in one file. The environment is
# Gymnasium's vector interface; nothing else is needed.

# %%
import torch
from gymnasium.vector import AutoresetMode
from torch import nn
from torch.distributions import Normal

import gridbazaar as gb
from gridbazaar.agents.wrappers.vector_env import SeatVectorEnv
from gridbazaar.evaluation.rollout import daily_cost

# %% [markdown]
# Every charging point of every market is one environment. After a day's end the same step begins
# the next day, as CleanRL's loops expect.

# %%
env = SeatVectorEnv(
    gb.batched(task="small-v1", num_envs=8),
    "ev",
    others="truthful",
    residual=True,
    autoreset_mode=AutoresetMode.SAME_STEP,
)
print(env.num_envs, "environments:", [entry.name for entry in env.action_entries])

# %%
torch.manual_seed(1)
size, acts = env.single_observation_space.shape[0], env.single_action_space.shape[0]
actor = nn.Sequential(nn.Linear(size, 32), nn.Tanh(), nn.Linear(32, acts))
nn.init.zeros_(actor[-1].weight)  # begins as the rule
nn.init.zeros_(actor[-1].bias)
optimizer = torch.optim.Adam(actor.parameters(), lr=1e-3)
SPREAD, SCALE = 0.1, 20.0  # of the exploration; learning units per EUR

seen, _ = env.reset(seed=1)
for update in range(3):  # some hundred to learn something
    log_probs, rewards = [], []
    for _ in range(env.simulation.slots):
        policy = Normal(actor(torch.from_numpy(seen)), SPREAD)
        action = policy.sample()
        log_probs.append(policy.log_prob(action).sum(-1))
        seen, reward, *_ = env.step(action.numpy())
        rewards.append(torch.from_numpy(reward).float())
    earned = torch.stack(rewards)
    still = SCALE * earned.flip(0).cumsum(0).flip(0)  # what is earned from here to the day's end
    advantage = still - still.mean(1, keepdim=True)
    loss = -(torch.stack(log_probs) * advantage).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"day {update + 1}: a charging point earns {earned.sum(0).mean():.2f} EUR")


# %%
def act(seen):
    with torch.no_grad():
        return actor(torch.from_numpy(seen)).numpy()


days = gb.batched(task="small-v1", num_envs=5, split="validation")
mine = env.group.seats
for name, bidder in (("truthful", "truthful"), ("learned", env.bidder(act))):
    print(f"{name:10} {daily_cost(days, bidder).mean(0)[mine].sum():6.2f} EUR/day")
