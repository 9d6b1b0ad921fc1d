"""Prior of a policy: the action that its network corrects, before it has learned anything.

Learning a correction to a simple controller instead of everything from nothing is residual policy
learning (Silver et al. 2018, arXiv:1812.06298; Johannink et al. 2019, ICRA).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gridbazaar.agents.bidders.own_use import grid_priced, own_use_action, own_use_power
from gridbazaar.agents.bidders.positions import Positions
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.agents.bidders.valuation import valued_limits
from gridbazaar.envs.game import Game
from gridbazaar.envs.layout import Layout
from gridbazaar.registry import Registry

# Observation [rows, 1, size] of seats by themselves, and their game -> action [rows, 1, 3 + 3 K].
Prior = Callable[[Tensor, Game], Tensor]

PRIORS: Registry[Prior] = Registry("prior")


def relevant(observation: Tensor, layout: Layout, own_dispatch: bool) -> Tensor:
    """Return which entries of an action [..., 3 + 3 K] can change anything, from [..., size].

    Where there is neither load nor PV nor anything that a device must take, there is no must-run
    net to price or to correct; a device that can neither take nor give offers nothing, and has no
    price where seats dispatch their devices themselves; who sends no order pays no fee. What a
    policy tries there is noise, and learning from it is too.
    """
    home = layout.read(observation, "is_prosumer") + layout.read(observation, "is_consumer") > 0
    must_take = layout.read_each(observation, "must_take") > 0
    can = layout.read_each(observation, "can_take") + layout.read_each(observation, "can_give") > 0
    priced = home | (must_take | can if own_dispatch else must_take).any(-1)
    offers = torch.stack([can & (not own_dispatch)] * 2 + [can], -1).flatten(-2)
    price, correction, fee = (e.unsqueeze(-1) for e in (priced, home, priced | can.any(-1)))
    return torch.cat([price, correction, offers, fee], -1)


@PRIORS.register("none")
def nothing(observation: Tensor, game: Game) -> Tensor:
    """The middle of every range: the network learns all by itself."""
    return observation.new_zeros(*observation.shape[:-1], len(game.layout.actions))


@PRIORS.register("own_use")
def own_use(observation: Tensor, game: Game) -> Tensor:
    """Own use first, as the bidder of this name; one that sees its own seat alone."""
    if game.rules.dispatch != "own":
        return own_use_action(observation, game.layout)
    seat = Seat(observation, game.layout)
    power_kw = own_use_power(seat)
    return grid_priced(seat, power_kw, torch.zeros_like(power_kw), seat.shares(power_kw))


@PRIORS.register("middle")
def middle(observation: Tensor, game: Game) -> Tensor:
    """The must-run net at the grid's price, and all devices offered at the middle of their worth.

    Where seats dispatch their devices themselves, these rest.
    """
    seat = Seat(observation, game.layout)
    rest = torch.zeros_like(seat.take_kw)
    return grid_priced(seat, rest, rest, rest if game.rules.dispatch == "own" else rest + 1)


@PRIORS.register("truthful")
def truthful(observation: Tensor, game: Game) -> Tensor:
    """The prices of the bidder of this name.

    Where seats dispatch their devices themselves, these serve own use.
    """
    seat = Seat(observation, game.layout)
    runs_kw = own_use_power(seat) if game.rules.dispatch == "own" else None
    positions = Positions(seat, valued_limits(seat, game), game, runs_kw)
    return positions.action(positions.valuation)
