"""RLlib's env runner for whole batches: days as tensors in, a ready train batch per policy out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED, NUM_ENV_STEPS_SAMPLED_LIFETIME
from torch import Tensor

from gridbazaar import plugins
from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning.algorithm import Algorithm
from gridbazaar.agents.learning.reward_shaping import shape_reward
from gridbazaar.agents.learning.rollout import Choice, Rollout, play
from gridbazaar.agents.learning.roster import Others, roster
from gridbazaar.envs.build import build
from gridbazaar.envs.simulation import Simulation
from gridbazaar.envs.spaces import Spaces

REWARD, COST = "reward_eur_per_day", "community_cost_eur_per_day"


def iteration_seed(seed: int, iteration: int, runner: int) -> int:
    """Return the seed of one runner's days; it depends on nothing that came before.

    A run that is resumed therefore plays the days the uninterrupted one would have played.
    """
    words = np.random.SeedSequence([seed, iteration, runner]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(2))


class DayRunner(EnvRunner, Checkpointable):
    """Plays one day in each of `num_envs` markets per call of `sample`.

    `config.env_config` holds `train`, a TrainConfig as plain data, the `algorithm`, the `spaces` of
    the groups of seats, one module each, and the modules of `plugins` that registered what is used.
    """

    def __init__(self, *, config: Any, **kwargs: Any):
        super().__init__(config=config, **kwargs)
        told = self.config.env_config
        plugins.follow(told["plugins"])
        self.settings = TrainConfig.model_validate(told["train"])
        self.algorithm: Algorithm = told["algorithm"]
        self.spaces: Mapping[str, Spaces] = told["spaces"]
        self._simulation: Simulation | None = None
        self._others: Others | None = None
        self.make_module()

    @property
    def simulation(self) -> Simulation:
        """Return the markets, built when first asked for: an idle local runner never needs them."""
        if self._simulation is None:
            s = self.settings
            self._simulation = build(s.world, s.num_envs, "train", s.seed, s.device)
            game = self._simulation.game
            self._others = roster(game, s.policies, s.fixed).others(game, s.device)
        return self._simulation

    def make_module(self) -> None:
        """Build the networks on the simulation's device."""
        spec = self.config.get_multi_rl_module_spec(spaces=self.get_spaces(), inference_only=False)
        self.module = spec.build()
        for _, module in self.module.items():
            module.to(self.settings.device)

    def get_spaces(self) -> dict[str, tuple[gym.Space, gym.Space]]:
        """Return observation and action space of every module."""
        pairs = {name: (each.observation, each.action) for name, each in self.spaces.items()}
        first = next(iter(pairs.values()))
        return {"__env__": first, "__env_single__": first, **pairs}

    def assert_healthy(self) -> None:
        """Raise AssertionError unless the networks were built."""
        assert self.module is not None

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[()], dict[str, Any]]:
        """Return what RLlib builds this runner from again."""
        return (), {"config": self.config}

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """Return the parts that RLlib saves by themselves."""
        return [(COMPONENT_RL_MODULE, self.module)]

    def get_state(self, *_: Any, not_components: Any = None, **__: Any) -> dict[str, Any]:
        """Return the weights; the days to come depend on the iteration alone."""
        if not_components and COMPONENT_RL_MODULE in not_components:
            return {}
        return {COMPONENT_RL_MODULE: self.module.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take the learners' weights."""
        weights = state.get(COMPONENT_RL_MODULE)
        if isinstance(weights, ray.ObjectRef):
            weights = ray.get(weights)
        if weights is not None:
            self.module.set_state(weights)

    def get_metrics(self) -> Any:
        """Return what the last days earned and cost."""
        return self.metrics.reduce()

    def sample(self, iteration: int = 0, runner: int | None = None, **_: Any) -> MultiAgentBatch:
        """Play one day in every market and return one flat batch per group of seats.

        Args:
            iteration: number of the training iteration; with the seed it decides the days.
            runner: whose days to play; None: its own.
        """
        sim, shaping = self.simulation, self.settings.reward
        number = self.worker_index or 0 if runner is None else runner
        rollout = self._play(iteration, iteration_seed(self.settings.seed, iteration, number))
        earned = rollout.reward - rollout.given if shaping.less_given_bill else rollout.reward
        reward = shape_reward(earned, shaping.team_weight, shaping.scale)
        with torch.no_grad():
            batches = {
                group: SampleBatch(
                    self.algorithm.process(self.module[group], rollout.trajectory(group, reward))
                )
                for group in self.spaces
            }
        self._log(sim, rollout)
        return MultiAgentBatch(batches, sim.slots * sim.num_envs)

    def _play(self, iteration: int, seed: int) -> Rollout:
        """Play the days of an iteration."""
        return play(
            self.simulation,
            self._explore,
            seed,
            self.algorithm.global_state,
            [each.group for each in self.spaces.values()],
            self._others,
        )

    def _explore(self, group: str, observation: Tensor, noise: Tensor, memory: Any) -> Choice:
        return self.algorithm.explore(self.module[group], observation, noise, memory)

    def _log(self, sim: Simulation, rollout: Rollout) -> None:
        """Hand RLlib's metrics the steps played and what the seats really earned."""
        earned = rollout.reward.sum(0)
        for group in sim.game.groups:
            mean = float(earned[:, group.seats].mean())
            self.metrics.log_value((REWARD, group.name), mean, reduce="mean")
        self.metrics.log_value(COST, float(-earned.sum(-1).mean()), reduce="mean")
        steps = sim.slots * sim.num_envs
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, steps, reduce="sum")
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED_LIFETIME, steps, reduce="lifetime_sum")
