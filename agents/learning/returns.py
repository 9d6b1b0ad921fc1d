"""Advantages of whole days, for all markets and seats at once."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.interval import Interval


def advantages(
    reward: Tensor, value: Tensor, gamma: float, lambda_: float
) -> tuple[Tensor, Tensor]:
    """Estimate advantages and value targets (Schulman et al., GAE, arXiv:1506.02438, eq. 16).

    The day's end is a true end: the energy left in storage is paid for in the last reward, so
    nothing follows that a bootstrapped value would have to stand for.

    Args:
        reward: [T, ...] of a whole day.
        value: [T, ...] the critic's estimate before each interval.
        gamma: discount per interval.
        lambda_: 0 trusts the critic, 1 the day as it went.

    Returns:
        advantage and value target, [T, ...] each.
    """
    advantage = torch.empty_like(reward)
    following, running = torch.zeros_like(reward[0]), torch.zeros_like(reward[0])
    for t in range(len(reward) - 1, -1, -1):
        surprise = reward[t] + gamma * following - value[t]
        running = surprise + gamma * lambda_ * running
        advantage[t], following = running, value[t]
    return advantage, advantage + value


def standardise(advantage: Tensor) -> Tensor:
    """Return the advantages with mean 0 and standard deviation 1; all zero where they are equal."""
    deviation = advantage.std(correction=0)
    return (advantage - advantage.mean()) / deviation.clamp(min=1e-6)


def given_bill(interval: Interval, slot_h: float) -> Tensor:
    """Return what load and sun alone would have earned at the grid's prices, [B, N] EUR.

    No action changes it, so that learning from rewards less this part leads to the same policy; but
    most of the difference between two days is in it, and would drown what actions do.
    """
    net_kw = interval.delivered.pv_kw - interval.load_kw
    sold_kw = net_kw.clamp(min=0)
    tariff = interval.tariff
    return (sold_kw * tariff.feed_in - (sold_kw - net_kw) * tariff.retail) * slot_h


def shape_reward(reward: Tensor, team_weight: float, scale: float) -> Tensor:
    """Return what seats learn from: a mix of their own reward and the community's mean.

    Args:
        reward: [..., N] EUR.
        team_weight: 0 leaves each seat its own reward, 1 gives all seats the mean.
        scale: learning units per EUR.
    """
    if team_weight == 0:
        return reward * scale
    mean = reward.mean(-1, keepdim=True)
    return torch.lerp(reward, mean.expand_as(reward), team_weight) * scale
