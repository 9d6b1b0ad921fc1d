"""Prior of a policy: the action that its network corrects, before it has learned anything.

Learning a correction to a simple controller instead of everything from nothing is residual policy
learning (Silver et al. 2018, arXiv:1812.06298; Johannink et al. 2019, ICRA).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gridbazaar.envs.layout import DEVICE_ACTIONS, Layout
from gridbazaar.registry import Registry

Prior = Callable[[Tensor, Layout], Tensor]

PRIORS: Registry[Prior] = Registry("prior")


def relevant(observation: Tensor, layout: Layout) -> Tensor:
    """Return which entries of an action [..., 3 + 3 K] can change anything, from [..., size].

    Where there is neither load nor PV nor anything that a device must take, there is no must-run
    net to price or to correct; a device that can neither take nor give offers nothing; and who
    sends no order pays no fee. What a policy tries there is noise, and learning from it is too.
    """
    home = layout.read(observation, "is_prosumer") + layout.read(observation, "is_consumer") > 0
    must_run = home | (layout.read_each(observation, "must_take") > 0).any(-1)
    can = layout.read_each(observation, "can_take") + layout.read_each(observation, "can_give")
    offers = (can > 0).repeat_interleave(len(DEVICE_ACTIONS), -1)
    bids = must_run | offers.any(-1)
    ends = (each.unsqueeze(-1) for each in (must_run, home, bids))
    price, correction, fee = ends
    return torch.cat([price, correction, offers, fee], -1)


@PRIORS.register("none")
def nothing(observation: Tensor, layout: Layout) -> Tensor:
    """The middle of every range: the network learns all by itself."""
    return observation.new_zeros(*observation.shape[:-1], len(layout.actions))


@PRIORS.register("own_use")
def own_use(observation: Tensor, layout: Layout) -> Tensor:
    """Own use first: the must-run net at the grid's price, devices at the middle of their range.

    What is forecast to be left over is offered at what the grid pays, what is lacking bid at what
    it charges; a device's content is worth the middle of what it can be, without a margin, and all
    of its power is offered. No tip, and the forecast as it is.
    """

    def of(name: str) -> Tensor:
        return layout.read(observation, name)

    low, high = of("day_low"), of("day_high")
    price = torch.where(of("forecast_pv") > of("forecast_load"), of("feed_in"), of("retail"))
    tiny = torch.finfo(price.dtype).tiny
    action = nothing(observation, layout)
    action[..., 0] = (2 * (price - low) / (high - low).clamp(min=tiny) - 1).clamp(-1, 1)
    action[..., 3:-1:3], action[..., 4:-1:3], action[..., -1] = -1.0, 1.0, -1.0
    return action
