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
from stable_baselines3.common.vec_env import VecMonitor

import gridbazaar as gb


def main(steps: int = 100_000, copies: int = 4) -> float:
    """Train for some agent-steps; return the mean reward of an agent's last days in EUR."""
    env = gb.parallel_env(task="small-v1", padded=True)
    env = supersuit.pettingzoo_env_to_vec_env_v1(env)
    env = supersuit.concat_vec_envs_v1(env, copies, base_class="stable_baselines3")
    env.venv.reset(seed=1)  # copy c goes on from seed 1 + c; SuperSuit passes no other seed on
    model = PPO("MlpPolicy", VecMonitor(env), n_steps=96, batch_size=576, device="cpu")
    model.learn(steps)
    earned = [episode["r"] for episode in model.ep_info_buffer]
    mean = float(sum(earned) / len(earned))
    print(f"an agent earned {mean:.2f} EUR/day in the last {len(earned)} days of training")
    return mean


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
