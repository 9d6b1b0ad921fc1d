"""A market to one of its seats, as Gymnasium wants environments; the others do nothing special."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from gridbazaar.envs import MarketEnv


class OneSeat(gym.Env):
    """The first seat's view of a market."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, market: MarketEnv):
        self.market, self.seat = market, market.possible_agents[0]
        self.observation_space = market.observation_space(self.seat)
        self.action_space = market.action_space(self.seat)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        observations, infos = self.market.reset(seed, options)
        return observations[self.seat], infos[self.seat]

    def step(self, action):
        rest = {a: np.zeros(self.market.action_space(a).shape, "f4") for a in self.market.agents}
        told = self.market.step({**rest, self.seat: action})
        return tuple(each[self.seat] for each in told)
