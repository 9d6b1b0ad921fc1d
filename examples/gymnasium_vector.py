"""Gymnasium's vector interface: every charging point of many markets, with Gymnasium's wrappers.

    python examples/gymnasium_vector.py

needs nothing beyond gridbazaar. A rule plays the seats that are not charging points.
"""

from __future__ import annotations

from gymnasium.wrappers.vector import ClipReward, RecordEpisodeStatistics

import gridbazaar as gb
from gridbazaar.agents.wrappers.vector_env import SeatVectorEnv


def main(markets: int = 8, days: int = 2, seed: int = 1) -> float:
    """Act at random for some days; return the mean of what a charging point earned a day."""
    seats = SeatVectorEnv(gb.batched(task="small-v1", num_envs=markets), "ev", others="truthful")
    env = ClipReward(RecordEpisodeStatistics(seats), min_reward=-5, max_reward=5)
    names = ", ".join(entry.name for entry in seats.action_entries)
    print(f"{env.num_envs} environments, actions: {names}")
    env.reset(seed=seed)
    env.action_space.seed(seed)
    # Gymnasium's default: the step after a day's end begins the next day and plays nothing.
    for _ in range(days * (seats.simulation.slots + 1) - 1):
        *_, infos = env.step(env.action_space.sample())
    earned = float(infos["episode"]["r"].mean())
    print(f"a charging point that acts at random earns {earned:.2f} EUR/day")
    return earned


if __name__ == "__main__":
    main()
