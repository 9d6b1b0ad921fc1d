"""Stable-Baselines3's PPO bids for the homes with PV and battery; a rule plays everybody else.

    python examples/sb3_ppo.py 200_000

needs `pip install 'gridbazaar[sb3]'`. Each seat of each market is one environment of the VecEnv, so
that 16 markets with two such homes are 32 environments and share one policy. `residual=True` lets
the policy add to what the rule does: it starts at the rule's cost instead of far above it.
"""

from __future__ import annotations

import sys

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

import gridbazaar as gb
from gridbazaar.agents.wrappers.stable_baselines3 import SeatVecEnv
from gridbazaar.evaluation.rollout import daily_cost

TASK, SEATS = "small-v1", "prosumer_pv_storage"


def main(steps: int = 200_000, markets: int = 16, days: int = 13) -> dict[str, float]:
    """Train for some seat-steps; return what these homes pay, EUR/day on validation days."""
    env = SeatVecEnv(gb.batched(task=TASK, num_envs=markets, seed=1), SEATS, residual=True)
    rewards = VecNormalize(VecMonitor(env), norm_obs=False)  # observations are scaled already
    model = PPO(
        "MlpPolicy",
        rewards,
        n_steps=96,  # a day
        batch_size=512,
        n_epochs=5,
        learning_rate=1e-3,
        gamma=0.999,
        policy_kwargs={"log_std_init": -2.0},
        seed=1,
        device="cpu",
    )
    model.learn(steps)

    learned = env.seats.bidder(lambda seen: model.predict(seen, deterministic=True)[0])
    judges = gb.batched(task=TASK, num_envs=days, split="validation")
    costs = {}
    for name, bidder in (("truthful", "truthful"), ("learned", learned)):
        cost = daily_cost(judges, bidder).mean(0)
        costs[name] = float(cost[env.seats.group.seats].sum())
        print(f"{name:10} these homes {costs[name]:6.2f}, all seats {cost.sum():6.2f} EUR/day")
    return costs


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
