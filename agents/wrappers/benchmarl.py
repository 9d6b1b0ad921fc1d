"""Tasks of local energy markets for BenchMARL, over the native environment of TorchRL."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from gridbazaar.agents.wrappers.torchrl import BatchedMarketEnv
from gridbazaar.envs import batched
from gridbazaar.errors import MissingExtraError

try:
    from benchmarl.environments.common import Task, TaskClass
except ImportError as error:
    raise MissingExtraError("benchmarl", "benchmarl") from error


class MarketTaskClass(TaskClass):
    """A task whose configuration holds arguments of `gridbazaar.batched` and `BatchedMarketEnv`.

    Such as `{"task": "small-v1", "ledger": "block", "residual": True}`.
    """

    def get_env_fun(
        self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any
    ) -> Callable[[], BatchedMarketEnv]:
        """Return what builds an environment of so many markets."""
        words = copy.deepcopy(self.config)
        own = {name: words.pop(name) for name in ("groups", "others", "residual") if name in words}

        def make() -> BatchedMarketEnv:
            start: dict[str, Any] = {} if seed is None else {"seed": seed}
            return BatchedMarketEnv(
                batched(num_envs=num_envs, device=device, **start, **words), **own
            )

        return make

    def supports_continuous_actions(self) -> bool:
        """Return that actions are real numbers."""
        return True

    def supports_discrete_actions(self) -> bool:
        """Return that they are never choices."""
        return False

    def has_render(self, env: BatchedMarketEnv) -> bool:
        """Return that batches are not drawn; `gridbazaar.parallel_env` is."""
        return False

    def max_steps(self, env: BatchedMarketEnv) -> int:
        """Return the intervals of a day."""
        return _markets(env).simulation.slots

    def group_map(self, env: BatchedMarketEnv) -> dict[str, list[str]]:
        """Return the seats' names by group."""
        return _markets(env).group_map

    def observation_spec(self, env: BatchedMarketEnv) -> Any:
        """Return what the groups see."""
        spec = env.full_observation_spec_unbatched.clone()
        del spec["state"]
        return spec

    def state_spec(self, env: BatchedMarketEnv) -> Any:
        """Return what a central critic sees."""
        spec = env.full_observation_spec_unbatched.clone()
        for group in self.group_map(env):
            del spec[group]
        return spec

    def action_spec(self, env: BatchedMarketEnv) -> Any:
        """Return what the groups do."""
        return env.full_action_spec_unbatched

    def info_spec(self, env: BatchedMarketEnv) -> None:
        """Return nothing: there is no further information."""

    def action_mask_spec(self, env: BatchedMarketEnv) -> None:
        """Return nothing: every action may be taken."""

    @staticmethod
    def env_name() -> str:
        """Return the name that BenchMARL's files and tables give the environment."""
        return "gridbazaar"


class MarketTask(Task):
    """Names of tasks; any other is `MarketTaskClass(name, config)` of its own."""

    SMALL = None
    SEMIURB4 = None
    RURAL1 = None

    @staticmethod
    def associated_class() -> type[MarketTaskClass]:
        """Return what builds them."""
        return MarketTaskClass

    def get_from_yaml(self, path: str | None = None) -> MarketTaskClass:
        """Return the task of this name under the uniform auction, or a file's."""
        config = {"task": self.name.lower()} if path is None else None
        return self.get_task(config) if config is not None else super().get_from_yaml(path)


def _markets(env: Any) -> BatchedMarketEnv:
    """Return the environment under TorchRL's transforms."""
    while not isinstance(env, BatchedMarketEnv):
        env = env.base_env
    return env
