"""Staggered markets: one simulation whose markets begin their days at different times."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.interval import Interval
from gridbazaar.envs.simulation import Simulation
from gridbazaar.envs.state import State
from gridbazaar.rows import pick_rows


@dataclass(frozen=True)
class Step:
    """What an interval of all markets came to.

    Attributes:
        observation: [B, N, layout.size] of the next interval.
        reward: [B, N] EUR.
        done: bool [B], the market's day is over: reset it before the next step.
        intervals: markets [R] and interval of each group that began its day at once.
    """

    observation: Tensor
    reward: Tensor
    done: Tensor
    intervals: tuple[tuple[Tensor, Interval], ...]


class Staggered:
    """Plays the markets of a simulation, of which some may begin anew while others go on.

    Markets that began their day together are played together: as long as all do, this costs
    nothing, and B groups of one market cost what B simulations of one market do.

    Args:
        simulation: of B markets; it is played through here alone.
    """

    def __init__(self, simulation: Simulation):
        self._simulation, self._markets = simulation, simulation.num_envs
        self._groups: list[tuple[Tensor, State]] = []
        self._observation = torch.empty(0)

    def reset(
        self,
        markets: Tensor | None = None,
        days: Tensor | None = None,
        seed: Tensor | int | None = None,
    ) -> Tensor:
        """Start a day in some markets, or in all.

        Args:
            markets: int64 [R], each once; None: all, which must be so the first time.
            days: [R] first slots of the days; drawn from the split where None.
            seed: restarts their random streams, as for `Simulation.reset`; None: they go on.

        Returns:
            observation [B, N, layout.size] of all markets.

        Raises:
            ValueError: as `Simulation.reset`; or some markets are reset before all were.
        """
        sim = self._simulation
        if markets is None or not self._groups:
            if markets is not None and len(markets) < self._markets:
                raise ValueError("no day has begun: reset all markets before some of them")
            everyone = torch.arange(self._markets)
            self._observation = sim.reset(days, seed)
            self._groups = [(everyone, sim.state)]
            return self._observation
        today = self._picked(markets)
        sim.state = today
        observation = sim.reset(days, seed)
        self._groups = [*self._without(markets), (markets, sim.state)]
        self._observation = self._observation.index_copy(0, markets, observation)
        return self._observation

    def step(self, action: Tensor) -> Step:
        """Play one interval of every market; arguments and errors as for `Simulation.step`."""
        sim, played, groups = self._simulation, [], []
        for markets, state in self._groups:
            sim.state = state
            played.append((markets, sim.step(action[markets])))
            groups.append((markets, sim.state))
        self._groups = groups
        order = torch.cat([markets for markets, _ in played]).argsort()

        def together(of_each: list[Tensor]) -> Tensor:
            return torch.cat(of_each)[order]

        self._observation = together([i.observation for _, i in played])
        return Step(
            observation=self._observation,
            reward=together([i.reward.total for _, i in played]),
            done=together([torch.full((len(m),), i.done) for m, i in played]),
            intervals=tuple(played),
        )

    def _picked(self, markets: Tensor) -> State:
        """Return a state whose rows have the random streams of `markets`, in their order."""
        seed, episode = torch.empty(2, self._markets, dtype=torch.int64)
        for group, state in self._groups:
            seed[group], episode[group] = state.today.seed, state.today.episode
        any_of = pick_rows(self._groups[0][1], torch.zeros_like(markets))
        return any_of.with_streams(seed[markets], episode[markets])

    def _without(self, markets: Tensor) -> list[tuple[Tensor, State]]:
        """Return the groups less some markets."""
        left = []
        for group, state in self._groups:
            stays = ~torch.isin(group, markets)
            if stays.all():
                left.append((group, state))
            elif stays.any():
                left.append((group[stays], pick_rows(state, stays.nonzero().squeeze(-1))))
        return left
