"""PettingZoo's own way: tasks by name, agents by dictionary, a random policy for a day.

    python examples/pettingzoo_make.py

needs nothing beyond gridbazaar. Importing `gridbazaar.envs` registers every task.
"""

from __future__ import annotations

import pettingzoo

import gridbazaar.envs  # noqa: F401  registers the tasks

TASK = "gridbazaar/small-v1"  # without the version: the newest


def main(seed: int = 1) -> dict[str, float]:
    """Play a day at random; return what each agent earned in EUR."""
    env = pettingzoo.make("parallel", TASK, market="uniform_auction", ledger="block")
    observations, _ = env.reset(seed=seed)
    for number, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(seed + number)
    earned = dict.fromkeys(env.possible_agents, 0.0)
    while env.agents:
        actions = {agent: env.action_space(agent).sample() for agent in env.agents}
        observations, rewards, *_ = env.step(actions)
        for agent, reward in rewards.items():
            earned[agent] += reward
    for agent, total in earned.items():
        print(f"{agent:12} sees {observations[agent].shape[0]}, earns {total:6.2f} EUR")
    return earned


if __name__ == "__main__":
    main()
