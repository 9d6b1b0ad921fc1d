"""Batch of markets as a native environment of TorchRL, with groups of seats stacked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gridbazaar.agents.wrappers.seats import ALL, JointAction, everybody, group_of
from gridbazaar.envs.seat_groups import SeatGroup
from gridbazaar.envs.simulation import Simulation
from gridbazaar.envs.spaces import Spaces, spaces_of
from gridbazaar.errors import ArgumentError, MissingExtraError

try:
    from tensordict import TensorDict, TensorDictBase
    from torchrl.data import Bounded, Categorical, Composite, Unbounded
    from torchrl.envs import EnvBase
except ImportError as error:
    raise MissingExtraError("torchrl", "torchrl") from error


class BatchedMarketEnv(EnvBase):
    """B markets as one `EnvBase` of batch size [B].

    Keys: `(group, "observation")` [B, seats, F], `(group, "action")` [B, seats, A] in [-1, 1],
    `(group, "reward")` [B, seats, 1] EUR, `state` [B, S] for central critics, and `done` [B, 1]:
    a day ends in all markets together.

    Args:
        simulation: of B markets, `gridbazaar.batched(...)`; its device is the environment's.
        groups: names of the groups of seats that act (`simulation.game.groups`); None: all of them;
            `("all",)`: every seat in one group, each with the entries of all.
        others: bidder that plays the seats of no group: a name, or a folder of a run.
        residual: whether an action is added to that bidder's own, so that zero plays as it does.

    Attributes:
        simulation: the markets.
        group_map: names of the seats by group, as BenchMARL asks for them.

    Raises:
        UnknownNameError: no group or bidder is called so; gives the nearest.
    """

    def __init__(
        self,
        simulation: Simulation,
        groups: tuple[str, ...] | None = None,
        others: str = "truthful",
        residual: bool = False,
    ):
        device = simulation.community.pv_kwp.device
        super().__init__(device=device, batch_size=torch.Size([simulation.num_envs]))
        self.simulation = simulation
        names = [g.name for g in simulation.game.groups] if groups is None else groups
        self._groups = [group_of(simulation, name) for name in names]
        self._join = JointAction(simulation.game, self._groups, others, residual)
        self._seed: int | None = None
        self._memory: Any = None
        seats = simulation.community.seats
        self.group_map = {g.name: [seats[i] for i in g.seats.tolist()] for g in self._groups}
        self._make_specs()

    def _make_specs(self) -> None:
        spaces = spaces_of(self.simulation) | {ALL: self._of_all()}
        batch, device = self.batch_size, self.device
        parts: dict[str, dict[str, Any]] = {"observation": {}, "action": {}, "reward": {}}
        for group in self._groups:
            own, shape = spaces[group.name], torch.Size([*batch, len(group.seats)])
            parts["observation"][group.name] = _box(own.observation, shape, device)
            parts["action"][group.name] = _box(own.action, shape, device)
            parts["reward"][group.name] = Unbounded((*shape, 1), device=device)

        def whole(key: str, **further: Any) -> Composite:
            nested = {
                name: Composite({key: spec}, shape=spec.shape[:-1], device=device)
                for name, spec in parts[key].items()
            }
            return Composite({**nested, **further}, shape=batch, device=device)

        state = _box(spaces[ALL].state, batch, device)
        flag = Categorical(2, shape=(*batch, 1), dtype=torch.bool, device=device)
        self.observation_spec = whole("observation", state=state)
        self.action_spec = whole("action")
        self.reward_spec = whole("reward")
        self.done_spec = Composite(
            {"done": flag, "terminated": flag.clone()}, shape=batch, device=device
        )

    def _of_all(self) -> Spaces:
        """Return the spaces of everybody, which all groups have when padded."""
        padded = next(iter(spaces_of(self.simulation, padded=True).values()))
        return padded._replace(group=everybody(self.simulation))

    @torch.no_grad()
    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        wanted = None if tensordict is None else tensordict.get("_reset", None)
        if wanted is not None and not wanted.all():
            raise ArgumentError(
                "some markets alone are to be reset, but all play the same slot of the day: reset "
                "them together, as after `done`"
            )
        seed, self._seed = self._seed, None
        self._memory = None
        return self._seen(self.simulation.reset(seed=seed), done=False)

    @torch.no_grad()
    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        chosen = {g.name: tensordict.get((g.name, "action")) for g in self._groups}
        action, self._memory = self._join(self.simulation.observe(), chosen, self._memory)
        interval = self.simulation.step(action)
        after = self._seen(interval.observation, interval.done)
        for group in self._groups:
            reward = interval.reward.total[:, group.seats].unsqueeze(-1).float()
            after.set((group.name, "reward"), reward)
        return after

    def _set_seed(self, seed: int | None) -> None:
        """Let the next reset start market b's random stream at seed + b."""
        self._seed = seed

    def _seen(self, observation: Tensor, done: bool) -> TensorDict:
        batch, device = self.batch_size, self.device
        flag = torch.full((*batch, 1), done, dtype=torch.bool, device=device)
        found = {"done": flag, "terminated": flag.clone()}
        state = self.simulation.global_state(observation).float()
        whole = TensorDict({**found, "state": state}, batch_size=batch, device=device)
        for group in self._groups:
            seen = group.see(observation).float()
            whole.set(group.name, TensorDict({"observation": seen}, seen.shape[:-1], device=device))
        return whole

    def bidder(self, policy: Any) -> Any:
        """Return what builds the bidder of a policy that was learned here, others included.

        Args:
            policy: a module that reads `(group, "observation")` and writes `(group, "action")`;
                run it under `set_exploration_type(ExplorationType.DETERMINISTIC)`.
        """
        return lambda game: _PolicyOfGroups(self._groups, self._join.in_game(game), policy)


class _PolicyOfGroups:
    """Plays the groups of a policy as the environment does in which it learned."""

    def __init__(self, groups: list[SeatGroup], join: JointAction, policy: Any):
        self._groups, self._join, self._policy = groups, join, policy

    @torch.no_grad()
    def act(self, observation: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Decide one interval; see Bidder."""
        whole = TensorDict({}, batch_size=observation.shape[:1], device=observation.device)
        for group in self._groups:
            seen = group.see(observation).float()
            whole.set(group.name, TensorDict({"observation": seen}, batch_size=seen.shape[:-1]))
        whole = self._policy(whole)
        chosen = {group.name: whole.get((group.name, "action")) for group in self._groups}
        return self._join(observation, chosen, state)


def _box(space: Any, batch: torch.Size, device: Any) -> Bounded:
    """Return a box of Gymnasium as one of TorchRL, for every row of a batch."""
    low, high = (torch.as_tensor(end, device=device) for end in (space.low, space.high))
    shape = torch.Size([*batch, *space.shape])
    return Bounded(low.expand(shape), high.expand(shape), shape=shape, device=device)
