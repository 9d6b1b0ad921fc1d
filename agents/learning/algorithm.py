"""Algorithm protocol and registry: what a learning algorithm adds to RLlib and the rollout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pydantic import Field
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from torch import Tensor

from gridbazaar.agents.learning.rollout import Choice, Trajectory
from gridbazaar.config import Config
from gridbazaar.envs.spaces import Spaces
from gridbazaar.registry import Registry


class AlgorithmSettings(Config):
    """Hyper-parameters; an algorithm subclasses this with its own, and names no defaults."""

    name: str = Field(description="registered algorithm")

    def check_falls(self, *keys: str) -> None:
        """Raise ValueError where a schedule from `<key>` to `<key>_end` rises."""
        for key in keys:
            start, end = getattr(self, key), getattr(self, f"{key}_end")
            if end > start:
                raise ValueError(
                    f"algorithm.{key}_end {end} must not exceed algorithm.{key} {start}"
                )


@dataclass(frozen=True)
class Workload:
    """How much a run samples and learns from.

    Attributes:
        env_steps: intervals of one iteration, over all markets of all runners.
        agent_steps: of one iteration, env_steps times the seats.
        slots: intervals of a day.
        total_env_steps: of the whole run.
        learners: that share a batch.
    """

    env_steps: int
    agent_steps: int
    slots: int
    total_env_steps: int
    learners: int

    def schedule(self, start: float, end: float) -> Any:
        """Return RLlib's schedule from `start` to `end`, linear in the steps of the run."""
        return start if start == end else [[0, start], [self.total_env_steps, end]]


class Algorithm(Protocol):
    """How policies explore, and what they learn from whole days of a batch of markets.

    One instance serves a run: it is built from its settings, sent to every env runner, and keeps
    nothing that changes. Seats of a group (of one role, with the same devices) share a policy, an
    RLModule, that sees and decides what they have. How that acts when it does not explore is
    RLlib's convention, see `gridbazaar.agents.learning.bidder.act`: what its `forward_inference`
    gives as Columns.ACTIONS, or else the mode of the distribution that Columns.ACTION_DIST_INPUTS
    stand for. A checkpoint is therefore played by its networks alone.

    Subclass this, and register the subclass with `@ALGORITHMS.register(name)`.

    Attributes:
        Config: its settings; configs/algorithm/<name>.yaml gives the values.
        global_state: whether trajectories shall hold the markets' global state.
        runner: subclass of `rllib.env_runner.DayRunner` that plays the days; None for itself.
        curves: RLlib's names of learner statistics to plot, and ours.
    """

    Config: ClassVar[type[AlgorithmSettings]]
    global_state: ClassVar[bool] = False
    runner: ClassVar[type | None] = None
    curves: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: Any): ...

    def training(self, workload: Workload) -> AlgorithmConfig:
        """Return RLlib's configuration of class, learner and hyper-parameters.

        A configuration of RLlib's own, with `rllib.training.DayTraining` or a subclass of it as the
        class of the algorithm, or else a `DayTrainingConfig`; the learner is a subclass of
        `rllib.learner.DayLearner`. World, runners, devices and modules are filled in afterwards.
        """
        ...

    def modules(self, spaces: Mapping[str, Spaces]) -> MultiRLModuleSpec:
        """Return one module per group of seats, under its name; `spaces` are the groups'.

        Raises ConfigError where the settings do not fit the spaces.
        """
        ...

    def explore(self, module: Any, observation: Tensor, noise: Tensor, memory: Any) -> Choice:
        """Choose actions to learn from.

        Args:
            module: of the group.
            observation: [B, seats, F].
            noise: [B, seats, A] of a standard normal; the only chance there is, so that the same
                seed plays the same days.
            memory: None at the day's start, then that of the last choice.
        """
        ...

    def process(self, module: Any, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return the train batch's columns, one row per agent step, from one runner's days.

        Args:
            module: of the group, on the runner's device; gradients are off.
            trajectory: its rewards are those to learn from, in learning units.
        """
        ...

    def prepare(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a group's rows of all runners together as the learners shall get them."""
        return rows


ALGORITHMS: Registry[type[Algorithm]] = Registry(
    "algorithm", "gridbazaar.agents.learning.algorithms"
)


def make(values: Mapping[str, Any]) -> Algorithm:
    """Build a registered algorithm from its name and parameters.

    Raises:
        UnknownNameError: no algorithm is called so; gives the nearest.
        ConfigError: a parameter is refused.
    """
    settings = ALGORITHMS.configure(values, "algorithm")
    return ALGORITHMS[settings.name](settings)


def networks(algorithm: Algorithm, spaces: Mapping[str, Spaces]) -> dict[str, Any]:
    """Return fresh networks, one per group of seats, without any RLlib around them."""
    specs = algorithm.modules(spaces).rl_module_specs
    return {group: specs[group].build() for group in spaces}
