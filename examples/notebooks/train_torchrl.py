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
# # Train with TorchRL
#
# `BatchedMarketEnv` is a native `EnvBase`: the batch of markets is TorchRL's batch, seats alike
# are stacked in a group, and tensors stay where the simulation is. Needs `pip install
# 'gridbazaar[torchrl]'`.

# %%
import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torchrl.envs.utils import check_env_specs
from torchrl.modules import MultiAgentMLP

import gridbazaar as gb
from gridbazaar.agents.wrappers.torchrl import BatchedMarketEnv
from gridbazaar.evaluation.rollout import daily_cost

# %%
env = BatchedMarketEnv(gb.batched(task="small-v1", num_envs=4), residual=True)
check_env_specs(env)
for group, seats in env.group_map.items():
    print(group, seats, tuple(env.observation_spec[group, "observation"].shape))

# %% [markdown]
# ## A day of every market

# %%
env.set_seed(1)
day = env.rollout(env.simulation.slots)
day["next", "consumer", "reward"].shape  # markets, intervals, seats, 1

# %% [markdown]
# ## Policies
#
# One network for each group, shared by its seats. Zero is the rule's own action
# (`residual=True`).


# %%
def policy_of(group):
    seen = env.observation_spec[group, "observation"].shape
    acts = env.action_spec[group, "action"].shape[-1]
    net = MultiAgentMLP(
        seen[-1],
        acts,
        n_agents=seen[-2],
        centralized=False,
        share_params=True,
        depth=1,
        num_cells=32,
    )
    return TensorDictModule(net, [(group, "observation")], [(group, "action")])


policy = TensorDictSequential(*(policy_of(group) for group in env.group_map))

# %% [markdown]
# A learner of TorchRL goes here: `examples/torchrl_ppo.py` trains them by its `ClipPPOLoss`, and
# `examples/benchmarl_mappo.py` by BenchMARL's MAPPO with central critics over `state`. Untrained
# networks as a bidder, beside the rule that they correct:

# %%
days = gb.batched(task="small-v1", num_envs=5, split="validation")
with torch.no_grad():
    for name, bidder in (("truthful", "truthful"), ("untrained", env.bidder(policy))):
        print(f"{name:10} {daily_cost(days, bidder).sum(-1).mean():6.2f} EUR/day")
