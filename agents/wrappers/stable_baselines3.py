"""Seats of many markets as a VecEnv of Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from gridbazaar.agents.wrappers.seats import ALL
from gridbazaar.agents.wrappers.vector_env import SeatVectorEnv
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import MissingExtraError

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise MissingExtraError("stable_baselines3", "sb3") from error

Array = NDArray[Any]


class SeatVecEnv(VecEnv):
    """A `SeatVectorEnv` by the interface that Stable-Baselines3 asks for.

    Args:
        simulation, seats, others, residual: see `SeatVectorEnv`.

    Attributes:
        seats: that `SeatVectorEnv`; `seats.bidder(policy)` plays what was learned.
    """

    # As its base class keeps them.
    _seeds: list[int | None]
    _options: list[dict[str, Any]]

    def __init__(
        self,
        simulation: Simulation,
        seats: str = ALL,
        others: str = "truthful",
        residual: bool = False,
    ):
        self.seats = SeatVectorEnv(simulation, seats, others, residual, AutoresetMode.SAME_STEP)
        self.render_mode = None
        self._actions: Array | None = None
        own = self.seats
        super().__init__(own.num_envs, own.single_observation_space, own.single_action_space)

    def reset(self) -> Array:
        """Start a day in every market; `seed` said before says from which on."""
        seed, self._seeds = self._seeds[0], [None] * self.num_envs
        self._options = [{} for _ in range(self.num_envs)]
        seen, _ = self.seats.reset(seed=seed)
        return seen

    def step_async(self, actions: Array) -> None:
        """Take the actions [B x S, A] of the next interval."""
        self._actions = actions

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """Play it; after a day's end the next has begun."""
        assert self._actions is not None, "call step_async first"
        seen, reward, done, _, infos = self.seats.step(self._actions)
        last = infos.get("final_obs")
        each: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if last is not None:
            each = [{"terminal_observation": row, "TimeLimit.truncated": False} for row in last]
        return seen, reward.astype(np.float32), done, each

    def close(self) -> None:
        """Hold nothing open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute for each environment asked for; they are one object."""
        return [getattr(self, attr_name)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the one object that stands for all environments."""
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method once for each environment asked for; they are one object."""
        method = getattr(self, method_name)
        return [method(*method_args, **method_kwargs) for _ in self._chosen(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Return that no environment is wrapped by itself."""
        return [False] * len(self._chosen(indices))

    def _chosen(self, indices: Any) -> Sequence[int]:
        return list(self._get_indices(indices))
