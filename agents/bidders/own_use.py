"""Own use first: the simplest controller, by the meter of the last interval."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.envs.game import Game
from gridbazaar.envs.layout import STANDARD, Layout


@BIDDERS.register("own_use")
class OwnUse:
    """Own use first at the grid's prices; community batteries serve the community."""

    Config = BidderConfig

    def __init__(self, config: BidderConfig, game: Game):
        self._layout, self._own = game.layout, game.rules.dispatch == "own"

    def act(self, observation: Tensor, state: None) -> tuple[Tensor, None]:
        """Decide one interval; see Bidder."""
        return own_use_action(observation, self._layout, self._own), None


def own_use_action(
    observation: Tensor, layout: Layout = STANDARD, own_dispatch: bool = False
) -> Tensor:
    """Own use first at the grid's prices: home batteries serve their home, cars charge at once.

    A home battery offers what own use asks of it, at the end of the prices at which it is not for
    sale. Community batteries offer all they can at the middle of what their content may be worth
    or, where seats dispatch their devices themselves, follow the community's meter.

    Args:
        observation: [..., N, size].
        layout: of the community.
        own_dispatch: whether seats dispatch their devices themselves, `task.rules.dispatch: own`.

    Returns:
        action [..., N, 3 + 3 K].
    """
    seat = Seat(observation, layout)
    return running_action(seat, own_use_power(seat), own_dispatch)


def running_action(seat: Seat, home_kw: Tensor, own_dispatch: bool) -> Tensor:
    """Return the action [..., N, 3 + 3 K] by which homes' devices run at powers whatever clears.

    Args:
        seat: the observation.
        home_kw: [..., N, K] of homes' devices; community batteries do as `own_use_action` says.
        own_dispatch: whether seats dispatch their devices themselves.
    """
    shared = seat.is_storage.unsqueeze(-1)
    if own_dispatch:
        power_kw = home_kw + balancing_power(seat)
        return grid_priced(seat, power_kw, torch.zeros_like(power_kw), seat.shares(power_kw))
    share = torch.where(shared, 1.0, seat.shares(home_kw).abs())
    return grid_priced(seat, torch.zeros_like(home_kw), -home_kw.sign(), share * 2 - 1)


def grid_priced(seat: Seat, runs_kw: Tensor, value: Tensor, share: Tensor) -> Tensor:
    """Return the action that prices the must-run as the grid does, without correction or tip.

    Args:
        seat: the observation.
        runs_kw: [..., N, K] of devices that run whatever clears.
        value, share: [..., N, K] entries of the action, as ActionMeaning reads them.
    """
    low, high = seat.read("day_low"), seat.read("day_high")
    price = seat.grid_price(seat.must_run_kw + runs_kw.sum(-1))
    tiny = torch.finfo(price.dtype).tiny
    price = ((price - low) / (high - low).clamp(min=tiny) * 2 - 1).clamp(-1, 1).unsqueeze(-1)
    least = -torch.ones_like(value)
    devices = torch.stack([value, least, share], -1).flatten(-2)
    return torch.cat([price, torch.zeros_like(price), devices, -torch.ones_like(price)], -1)


def own_use_power(seat: Seat, meter_kw: Tensor | float = 0.0) -> Tensor:
    """Return the powers [..., N, K] kW beside what must be taken that serve own use first.

    The usual rule of home batteries: cars charge at once; then a home's other devices, one after
    the other, take its own surplus and cover its own need. A community battery, which has no use of
    its own, rests.

    Args:
        seat: the observation.
        meter_kw: [..., N] or one for all, net power that homes' devices hold their meter at.
    """
    cars_kw = torch.where(seat.leaves, -seat.take_kw, 0.0)
    powers, net_kw = [], seat.must_run_kw + cars_kw.sum(-1)
    for k in range(seat.devices):
        wanted = torch.where(seat.is_storage, 0.0, meter_kw - net_kw)
        served = torch.minimum(torch.maximum(wanted, -seat.take_kw[..., k]), seat.give_kw[..., k])
        power = torch.where(seat.leaves[..., k], cars_kw[..., k], served)
        net_kw = torch.where(seat.leaves[..., k], net_kw, net_kw + power)
        powers.append(power)
    return torch.stack(powers, -1)


def balancing_power(seat: Seat) -> Tensor:
    """Return the powers [..., N, K] kW of community batteries that follow the community's meter.

    What all seats exported in the last interval is shared by rated power, beside what each battery
    did already; each takes the others to do the same.
    """
    shared_kw = seat.rated_kw * seat.is_storage.unsqueeze(-1)
    seats = shared_kw.shape[-2]
    all_kw = shared_kw.sum((-2, -1), keepdim=True)
    share = shared_kw / all_kw.clamp(min=torch.finfo(all_kw.dtype).tiny)
    export_kw = (seat.read("last_export") * seats).unsqueeze(-1)
    last_kw = seat.read_each("last_power") * shared_kw
    wanted = last_kw - export_kw * share
    return torch.minimum(torch.maximum(wanted, -seat.take_kw), seat.give_kw) * (shared_kw > 0)
