"""SuperSuit makes the PettingZoo environment a VecEnv: every agent learns, one policy for all.

    python examples/supersuit_sb3.py 100_000

needs `pip install 'gridbazaar[sb3,supersuit]'`. `padded=True` gives all agents one space, so that
SuperSuit need not pad. Each copy is a market of its own that is simulated alone: for speed take
`sb3_ppo.py`, whose markets are one batch.
"""

from __future__ import annotations

import sys

import supersuit
from stable_baselines3 import PPO

import gridbazaar as gb


def main(steps: int = 100_000, copies: int = 4) -> float:
    """Train for some agent-steps; return what an agent earned on the last day, EUR."""
    env = gb.parallel_env(task="small-v1", padded=True)
    env = supersuit.pettingzoo_env_to_vec_env_v1(env)
    env = supersuit.concat_vec_envs_v1(env, copies, base_class="stable_baselines3")
    env.venv.reset(seed=1)  # copy c goes on from seed 1 + c; SuperSuit passes no other seed on
    model = PPO("MlpPolicy", env, n_steps=96, batch_size=576, device="cpu")
    model.learn(steps)
    earned = float(model.rollout_buffer.rewards.sum(0).mean())  # 96 steps are a day
    print(f"an agent earned {earned:.2f} EUR on the last day of training")
    return earned


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
