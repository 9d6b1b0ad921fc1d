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
# # Train with Stable-Baselines3
#
# Stable-Baselines3 knows one agent in many environments. `SeatVecEnv` makes each seat of a group,
# in each market of a batch, one of them; a rule plays the other seats. Needs `pip install
# 'gridbazaar[sb3]'`.

# %%
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

import gridbazaar as gb
from gridbazaar.agents.wrappers.stable_baselines3 import SeatVecEnv
from gridbazaar.evaluation.rollout import daily_cost

# %%
simulation = gb.batched(task="small-v1", num_envs=4)
print({group.name: len(group.seats) for group in simulation.game.groups}, "seats by group")
env = SeatVecEnv(simulation, "prosumer_pv_storage", others="truthful", residual=True)
print(env.num_envs, "environments,", env.observation_space.shape, env.action_space.shape)

# %% [markdown]
# `residual=True`: an action is added to what the rule would do, so that an untrained policy
# starts near the rule's cost. Rewards are EUR of a quarter of an hour, small numbers: let SB3
# scale them.

# %%
model = PPO(
    "MlpPolicy",
    VecNormalize(VecMonitor(env), norm_obs=False),
    n_steps=96,
    batch_size=384,
    gamma=0.999,
    policy_kwargs={"log_std_init": -2.0},
    seed=1,
    device="cpu",
)
model.learn(96 * env.num_envs * 2)  # two days of every market; 200,000 and more to learn something

# %% [markdown]
# ## What was learned, as a bidder
#
# `bidder` puts the policy beside the rule that plays the other seats; it can be played on any
# day, market and ledger, and compared in an evaluation or a suite
# (`gridbazaar.evaluation.suite.play`).

# %%
learned = env.seats.bidder(lambda seen: model.predict(seen, deterministic=True)[0])
days = gb.batched(task="small-v1", num_envs=5, split="validation")
mine = env.seats.group.seats
for name, bidder in (("truthful", "truthful"), ("learned", learned)):
    cost = daily_cost(days, bidder).mean(0)
    print(f"{name:10} these homes {cost[mine].sum():6.2f}, all seats {cost.sum():6.2f} EUR/day")

# %% [markdown]
# Files with more steps: `examples/sb3_ppo.py`, and `examples/supersuit_sb3.py` for one policy of
# all agents by SuperSuit.
