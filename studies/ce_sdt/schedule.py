"""Adjustable load: when a user would rather draw what it may move (2), (3.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def schedule(
    nominal_kw: Tensor, price: Tensor, movable: Tensor | float, disutility: float
) -> Tensor:
    """Return the load that costs least with the dissatisfaction of leaving the nominal one.

    min sum price x + disutility/2 sum (x - nominal)^2 / nominal, over the same energy and within
    nominal (1 -+ movable): at the optimum x = nominal (1 - (price - theta) / disutility), cut to
    the range, and theta keeps the energy. The rest, nominal (1 - movable), is must-run load (4).

    Args:
        nominal_kw: [..., 24], not negative.
        price: [..., 24] expected, AUD/kWh.
        movable: share of each hour that may go or come, 0 to 1; 0 outside a user's time range.
        disutility: AUD/kWh, above 0.

    Returns:
        [..., 24].
    """
    share = torch.as_tensor(movable, dtype=nominal_kw.dtype).expand_as(nominal_kw)
    low = price.amin(-1, keepdim=True) - disutility
    high = price.amax(-1, keepdim=True) + disutility
    for _ in range(60):  # halvings, to the last digit of a double
        theta = (low + high) / 2
        moved = _moved(price, theta, share, disutility) * nominal_kw
        much = moved.sum(-1, keepdim=True) > 0
        low, high = torch.where(much, low, theta), torch.where(much, theta, high)
    return nominal_kw * (1 + _moved(price, (low + high) / 2, share, disutility))


def dissatisfaction(load_kw: Tensor, nominal_kw: Tensor, disutility: float) -> Tensor:
    """Return the disutility of a day, AUD [...], for loads [..., 24] in hours."""
    apart = (load_kw - nominal_kw).square() / nominal_kw.clamp(min=1e-12)
    return disutility / 2 * apart.sum(-1)


def _moved(price: Tensor, theta: Tensor, share: Tensor, disutility: float) -> Tensor:
    part = (theta - price) / disutility
    return torch.maximum(torch.minimum(part, share), -share)
