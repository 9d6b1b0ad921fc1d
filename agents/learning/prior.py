"""Prior of a policy: the action that its network corrects, before it has learned anything.

Learning a correction to a simple controller instead of everything from nothing is residual policy
learning (Silver et al. 2018, arXiv:1812.06298; Johannink et al. 2019, ICRA).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gridbazaar.agents.bidders.own_use import own_use_action
from gridbazaar.envs.layout import Layout
from gridbazaar.registry import Registry

Prior = Callable[[Tensor, Layout], Tensor]

PRIORS: Registry[Prior] = Registry("prior")


def relevant(observation: Tensor, layout: Layout) -> Tensor:
    """Return which entries of an action [..., 2 + K] can change anything, from [..., size].

    A charging point without a hungry car sends no order, and a seat without a device has no power
    to choose: what a policy tries there is noise, and learning from it is too.
    """

    def each(name: str) -> Tensor:
        return layout.read_each(observation, name)

    rated, full = each("flexible_kw") > 0, each("room_kwh") < 1e-3
    waiting = rated & full & ((each("slots_to_departure") > 0) | (each("energy_kwh") < 1e-3))
    bids = ~(rated.any(-1, keepdim=True) & (waiting | ~rated).all(-1, keepdim=True))
    return torch.cat([bids, rated & ~waiting, bids], -1)


@PRIORS.register("none")
def nothing(observation: Tensor, layout: Layout) -> Tensor:
    """The middle of every range: the network learns all by itself."""
    return observation.new_zeros(*observation.shape[:-1], len(layout.actions))


PRIORS.register("own_use")(own_use_action)
