"""Prior of a policy: the action that its network corrects, before it has learned anything.

Learning a correction to a simple controller instead of everything from nothing is residual policy
learning (Silver et al. 2018, arXiv:1812.06298; Johannink et al. 2019, ICRA).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gridbazaar.agents.bidders.own_use import own_use_action
from gridbazaar.envs.action import ACTIONS
from gridbazaar.envs.observation import read
from gridbazaar.registry import Registry

Prior = Callable[[Tensor], Tensor]

PRIORS: Registry[Prior] = Registry("prior")


def relevant(observation: Tensor) -> Tensor:
    """Return which entries of an action [..., 3] can change anything, from [..., SIZE].

    A charging point without a hungry car sends no order, and a seat without a device has no power
    to choose: what a policy tries there is noise, and learning from it is too.
    """
    rated, full = read(observation, "flexible_kw") > 0, read(observation, "room_kwh") < 1e-3
    leaves = read(observation, "slots_to_departure") > 0
    waiting = rated & full & (leaves | (read(observation, "energy_kwh") < 1e-3))
    return torch.stack([~waiting, rated & ~waiting, ~waiting], -1)


@PRIORS.register("none")
def nothing(observation: Tensor) -> Tensor:
    """The middle of every range: the network learns all by itself."""
    return observation.new_zeros(*observation.shape[:-1], ACTIONS)


PRIORS.register("own_use")(own_use_action)
