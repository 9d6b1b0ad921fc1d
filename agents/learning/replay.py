"""Replay of the days that were played last: kept whole, drawn from by agent step.

Of every policy the days of as many past iterations are kept, each observation once. They belong to
the checkpoint, so that a resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

# Columns of what is drawn beside RLlib's: standard normal noise for the actions now and then.
NOISE, NEXT_NOISE, DISCOUNT = "noise", "next_noise", "discount"

Days = Mapping[str, Tensor]


class Replay:
    """The days of the last iterations.

    Args:
        iterations: of which days are kept.
        n_step: intervals whose rewards are summed before a critic stands for the rest.
        gamma: discount per interval.
    """

    def __init__(self, iterations: int, n_step: int, gamma: float):
        self._iterations, self._n_step, self._gamma = iterations, n_step, gamma
        self._kept: list[dict[str, Days]] = []

    def add(self, days: Mapping[str, Days]) -> None:
        """Keep an iteration's days, and let the oldest go.

        Args:
            days: by policy: observations [days, T + 1, F], actions [days, T, A] and rewards
                [days, T].
        """
        self._kept = [*self._kept, {name: dict(part) for name, part in days.items()}]
        self._kept = self._kept[-self._iterations :]

    def draw(self, rows: int, generator: torch.Generator) -> dict[str, dict[str, Tensor]]:
        """Return rows of all policies together, each in proportion to its days, drawn evenly.

        Returns:
            by policy: observations before and after n steps, actions, the discounted rewards
            between, the discount of what follows (0 at the day's end), and noise.
        """
        days = {
            name: {key: torch.cat([it[name][key] for it in self._kept]) for key in part}
            for name, part in self._kept[-1].items()
        }
        steps = {name: part[Columns.REWARDS].numel() for name, part in days.items()}
        share = rows / sum(steps.values())
        return {
            name: self._drawn(part, max(1, round(share * steps[name])), generator)
            for name, part in days.items()
        }

    def _drawn(self, days: Days, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
        obs, action, reward = (days[k] for k in (Columns.OBS, Columns.ACTIONS, Columns.REWARDS))
        count, T = reward.shape
        which = torch.randint(count * T, (rows,), generator=generator).to(obs.device)
        day, start = which // T, which % T
        end = (start + self._n_step).clamp(max=T)
        total = torch.zeros_like(reward[:, 0])[day]
        for k in range(self._n_step):
            at = start + k
            total += self._gamma**k * reward[day, at.clamp(max=T - 1)] * (at < end)
        noise = torch.randn(2, rows, action.shape[-1], generator=generator).to(obs)
        return {
            Columns.OBS: obs[day, start],
            Columns.NEXT_OBS: obs[day, end],
            Columns.ACTIONS: action[day, start],
            Columns.REWARDS: total,
            DISCOUNT: self._gamma ** (end - start).to(total) * (end < T),
            NOISE: noise[0],
            NEXT_NOISE: noise[1],
        }

    def state(self) -> list[dict[str, Days]]:
        """Return what is kept, as plain data."""
        return self._kept

    def restore(self, state: list[dict[str, Mapping[str, Any]]]) -> None:
        """Keep what `state` gave, be it tensors or arrays."""
        self._kept = [
            {
                name: {key: torch.as_tensor(value) for key, value in part.items()}
                for name, part in iteration.items()
            }
            for iteration in state
        ]
