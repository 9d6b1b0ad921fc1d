"""RLlib's env runner for whole batches: days as tensors in, one ready train batch per role out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.columns import Columns
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED, NUM_ENV_STEPS_SAMPLED_LIFETIME
from torch import Tensor

from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning.returns import advantages, given_bill, shape_reward
from gridbazaar.agents.learning.role_module import ACTION_SPACE, OBSERVATION_SPACE
from gridbazaar.envs.action import ACTIONS
from gridbazaar.envs.build import build
from gridbazaar.envs.simulation import Simulation

REWARD, COST = "reward_eur_per_day", "community_cost_eur_per_day"


def iteration_seed(seed: int, iteration: int, runner: int) -> int:
    """Return the seed of one runner's days; it depends on nothing that came before.

    A run that is resumed therefore plays the days the uninterrupted one would have played.
    """
    words = np.random.SeedSequence([seed, iteration, runner]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(2))


class DayRunner(EnvRunner, Checkpointable):
    """Plays one day in each of `num_envs` markets per call of `sample`.

    `config.env_config` holds `train`, a TrainConfig as plain data, and `roles`, one module each.
    """

    def __init__(self, *, config: Any, **kwargs: Any):
        super().__init__(config=config, **kwargs)
        self.settings = TrainConfig.model_validate(self.config.env_config["train"])
        self.roles: Sequence[str] = self.config.env_config["roles"]
        self._simulation: Simulation | None = None
        self.make_module()

    @property
    def simulation(self) -> Simulation:
        """Return the markets, built when first asked for: an idle local runner never needs them."""
        if self._simulation is None:
            s = self.settings
            self._simulation = build(s.world, s.num_envs, "train", s.seed, s.device)
            community = self._simulation.community
            self._seats = {role: community.seats_of(role) for role in self.roles}
        return self._simulation

    def make_module(self) -> None:
        """Build the roles' networks on the simulation's device."""
        spec = self.config.get_multi_rl_module_spec(spaces=self.get_spaces(), inference_only=False)
        self.module = spec.build()
        for role in self.roles:
            self.module[role].to(self.settings.device)

    def get_spaces(self) -> dict[str, tuple[gym.Space, gym.Space]]:
        """Return observation and action space of every module."""
        pair = (OBSERVATION_SPACE, ACTION_SPACE)
        return dict.fromkeys(("__env__", "__env_single__", *self.roles), pair)

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

    @torch.no_grad()
    def sample(self, iteration: int = 0, **_: Any) -> MultiAgentBatch:
        """Play one day in every market and return one flat batch per role.

        Args:
            iteration: number of the training iteration; with the seed it decides the days.
        """
        seed = iteration_seed(self.settings.seed, iteration, self.worker_index or 0)
        sim = self.simulation
        rows, reward, given = self._play(sim, seed)
        settings = self.settings.algorithm
        learned = shape_reward(reward - given, settings.team_weight, settings.reward_scale)
        batches = {
            role: self._batch(role, rows[role], learned[:, :, self._seats[role]])
            for role in self.roles
        }
        self._log(sim, reward)
        return MultiAgentBatch(batches, sim.slots * sim.num_envs)

    def _play(
        self, sim: Simulation, seed: int
    ) -> tuple[dict[str, dict[str, Tensor]], Tensor, Tensor]:
        """Return columns [T, B, seats, ...] per role; rewards and their given part [T, B, N]."""
        observation = sim.reset(seed=seed)
        noise = torch.Generator(observation.device).manual_seed(seed)
        T, B, N = sim.slots, sim.num_envs, sim.num_seats
        rows = {role: self._empty_rows(T, B, len(self._seats[role])) for role in self.roles}
        reward, given = observation.new_empty(2, T, B, N)
        action = observation.new_empty(B, N, ACTIONS)
        for t in range(T):
            action.normal_(generator=noise)
            for role, seats in self._seats.items():
                row = rows[role]
                seen = torch.index_select(observation, 1, seats, out=row[Columns.OBS][t])
                inputs = self._policy_inputs(role, seen)
                mean, log_std = inputs.chunk(2, -1)
                chosen = torch.addcmul(mean, log_std.exp(), action[:, seats])
                row[Columns.ACTION_DIST_INPUTS][t] = inputs
                row[Columns.ACTIONS][t] = chosen
                action.index_copy_(1, seats, chosen)
            interval = sim.step(action)
            reward[t] = interval.reward.total
            given[t] = given_bill(interval, sim.community.slot_h)
            observation = interval.observation
        return rows, reward, given

    def _empty_rows(self, T: int, B: int, seats: int) -> dict[str, Tensor]:
        sizes = {
            Columns.OBS: OBSERVATION_SPACE.shape[0],
            Columns.ACTION_DIST_INPUTS: 2 * ACTIONS,
            Columns.ACTIONS: ACTIONS,
        }
        device = self.settings.device
        return {key: torch.empty(T, B, seats, size, device=device) for key, size in sizes.items()}

    def _policy_inputs(self, role: str, seen: Tensor) -> Tensor:
        """Return mean and log standard deviation [B, seats, 2 * ACTIONS]."""
        out = self.module[role].forward_exploration({Columns.OBS: seen.flatten(0, 1)})
        return out[Columns.ACTION_DIST_INPUTS].unflatten(0, seen.shape[:2])

    def _batch(self, role: str, row: dict[str, Tensor], reward: Tensor) -> SampleBatch:
        """Return one row per agent step, with advantages that are not standardised yet."""
        module, settings = self.module[role], self.settings.algorithm
        flat = {key: column.flatten(0, 2) for key, column in row.items()}
        policy = module.get_exploration_action_dist_cls().from_logits(
            flat[Columns.ACTION_DIST_INPUTS]
        )
        value = module.compute_values({Columns.OBS: flat[Columns.OBS]}).view_as(reward)
        advantage, target = advantages(reward, value, settings.gamma, settings.lambda_)
        return SampleBatch(
            {
                **flat,
                Columns.ACTION_LOGP: policy.logp(flat[Columns.ACTIONS]),
                Postprocessing.ADVANTAGES: advantage.flatten(),
                Postprocessing.VALUE_TARGETS: target.flatten(),
            }
        )

    def _log(self, sim: Simulation, reward: Tensor) -> None:
        """Hand RLlib's metrics the steps played and what the seats really earned."""
        earned = reward.sum(0)
        for role, seats in self._seats.items():
            self.metrics.log_value((REWARD, role), float(earned[:, seats].mean()), reduce="mean")
        self.metrics.log_value(COST, float(-earned.sum(-1).mean()), reduce="mean")
        steps = sim.slots * sim.num_envs
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, steps, reduce="sum")
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED_LIFETIME, steps, reduce="lifetime_sum")
