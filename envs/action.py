"""Decision of a seat, from the numbers in [-1, 1] that a policy gives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.markets import Context
from gridbazaar.errors import ArgumentError

ACTIONS = 3  # where no seat owns more than one device


@dataclass(frozen=True)
class Decision:
    """A seat's decision in physical units, [B, N] each.

    Attributes:
        limit_price: EUR/kWh.
        requested_kw: [B, N, K] of each device, positive gives; it may give less.
        tip: EUR per transaction.
    """

    limit_price: Tensor
    requested_kw: Tensor
    tip: Tensor


def check_action(action: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ArgumentError, naming market, seat and entry, unless it is finite real numbers."""
    if not isinstance(action, Tensor) or action.is_complex() or action.dtype == torch.bool:
        raise ArgumentError(
            f"action is {getattr(action, 'dtype', type(action).__name__)}, expected a tensor of "
            f"real numbers {shape}"
        )
    if tuple(action.shape) != shape:
        raise ArgumentError(
            f"action has shape {tuple(action.shape)}, expected {shape}: "
            "[markets, seats, (limit price, power of each device, priority fee)]"
        )
    # One reduction instead of an element-wise test: a sum is finite only if every term is.
    if not torch.isfinite(action.sum()):
        bad = (~torch.isfinite(action)).nonzero()
        if len(bad):
            market, seat, entry = bad[0].tolist()
            raise ArgumentError(
                f"action of seat {seat} in market {market} has "
                f"{action[market, seat, entry].item()} as entry {entry}, expected a number in "
                "[-1, 1]"
            )


def decide(action: Tensor, context: Context, rated_kw: Tensor, rules: RulesConfig) -> Decision:
    """Map an action to prices and powers; entries beyond [-1, 1] count as the bound.

    Args:
        action: [B, N, 2 + K].
        context: whose seller's floor and buyer's ceiling, widened by the rules' margin, are the
            prices meant by -1 and +1.
        rated_kw: [N, K] of the devices.
        rules: of the interval.
    """
    action = action.clamp(-1, 1)
    price, power, tip = action[..., 0], action[..., 1:-1], action[..., -1]
    middle, reach = _price_range(context, rules)
    return Decision(
        limit_price=middle + price * reach,
        requested_kw=power * rated_kw,
        tip=(tip + 1) * (rules.max_tip / 2),
    )


def encode(
    limit_price: Tensor,
    power_kw: Tensor,
    tip: Tensor,
    context: Context,
    rated_kw: Tensor,
    rules: RulesConfig,
) -> Tensor:
    """Return the action [B, N, 2 + K] that means this decision: the inverse of `decide`.

    Prices and powers out of reach become the nearest within it.
    """
    middle, reach = _price_range(context, rules)
    tiny = torch.finfo(limit_price.dtype).tiny
    price = (limit_price - middle) / reach.clamp(min=tiny)
    power = power_kw / rated_kw.clamp(min=tiny)
    fee = 2 * tip / max(rules.max_tip, tiny) - 1
    action = torch.cat([price.unsqueeze(-1), power, fee.unsqueeze(-1)], -1)
    return action.clamp(-1, 1)


def _price_range(context: Context, rules: RulesConfig) -> tuple[Tensor, Tensor]:
    """Return the middle of the limit prices and how far they reach to either side."""
    low, high = context.seller_floor, context.buyer_ceiling
    return (low + high) / 2, (high - low) * ((1 + rules.price_margin) / 2)
