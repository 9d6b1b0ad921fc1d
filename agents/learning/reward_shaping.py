"""Reward shaping: what seats learn from, made of what they earned."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.interval import Interval
from gridbazaar.envs.settlement import imbalance_eur


def given_bill(interval: Interval, slot_h: float) -> Tensor:
    """Return what load and sun alone would have earned at the imbalance prices, [B, N] EUR.

    No action changes it, so that learning from rewards less this part leads to the same policy; but
    most of the difference between two days is in it, and would drown what actions do.
    """
    return imbalance_eur(interval.delivered.pv_kw - interval.load_kw, interval.tariff, slot_h)


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
