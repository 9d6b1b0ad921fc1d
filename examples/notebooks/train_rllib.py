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
# # Train with RLlib
#
# Two ways. `gridbazaar train` uses RLlib with markets simulated as one batch: fast, with
# validation, checkpoints and curves. Or RLlib as it stands, over the PettingZoo environment,
# where everything of RLlib's is yours to change.

# %%
import logging
import tempfile

import pandas as pd
import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune.registry import register_env

import gridbazaar as gb
from gridbazaar.agents.learning.run_folder import configure
from gridbazaar.agents.learning.trainer import train
from gridbazaar.evaluation.rollout import daily_cost

# %% [markdown]
# ## By `gridbazaar train`
#
# The words are those of the command line. `loggers` may hold tensorboard, csv, wandb and mlflow.
# So few steps learn nothing yet: leave out the last line for 5 million.

# %%
folder = tempfile.mkdtemp()
outcome = train(
    configure(
        [
            "name=first",
            f"folder={folder}",
            "task=small",
            "loggers=[csv]",
            "ray.num_cpus=1",
            "num_envs=4",
            "validate_every=1",
            "total_agent_steps=6_912",
        ]
    )
)
pd.read_csv(outcome.folder / "progress.csv")

# %% [markdown]
# The run's folder is a bidder's name, here and for `gridbazaar evaluate`.

# %%
days = gb.batched(task="small", num_envs=5, split="validation")
for bidder in ("truthful", str(outcome.folder)):
    print(f"{daily_cost(days, bidder).sum(-1).mean():6.2f} EUR/day")

# %% [markdown]
# ## By RLlib alone
#
# Agents alike share a policy: `env.policies` names it for each.

# %%
logging.getLogger("ray.rllib").setLevel(logging.ERROR)
register_env("small", lambda _: ParallelPettingZooEnv(gb.parallel_env(task="small")))
policies = gb.parallel_env(task="small").policies
config = (
    PPOConfig()
    .environment("small")
    .env_runners(num_env_runners=0, batch_mode="complete_episodes")
    .multi_agent(
        policies=set(policies.values()),
        policy_mapping_fn=lambda agent, *_, **__: policies[agent],
    )
    .training(train_batch_size_per_learner=96, minibatch_size=96, num_epochs=1, gamma=0.999)
)
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
algorithm = config.build_algo()
result = algorithm.train()
print(f"the community earns {result['env_runners']['episode_return_mean']:.2f} EUR/day")
algorithm.stop()
ray.shutdown()

# %% [markdown]
# The same as a file with more iterations: `examples/rllib_ppo.py`.
