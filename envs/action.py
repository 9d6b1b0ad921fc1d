"""Decision of a seat, from the numbers in [-1, 1] that a policy gives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.layout import Layout
from gridbazaar.errors import ArgumentError

_DEVICE = 3  # entries of an action for each device


class Decision(NamedTuple):
    """A seat's decision in physical units.

    Attributes:
        must_run_price: [B, N] EUR/kWh that the must-run net is worth at the seat's own meter.
        correction_kw: [B, N] added to the forecast of the must-run net.
        value: [B, N, K] EUR/kWh that a device's content is worth.
        margin: [B, N, K] EUR/kWh that a device asks beyond it and bids below it, 0 or more.
        share: [B, N, K] of the feasible power that is offered, 0 to 1; where seats dispatch their
            devices themselves, the share that runs, -1 (takes all) to 1 (gives all).
        tip: [B, N] EUR per transaction.
    """

    must_run_price: Tensor
    correction_kw: Tensor
    value: Tensor
    margin: Tensor
    share: Tensor
    tip: Tensor


class ActionMeaning(NamedTuple):
    """What the ends of an action's range mean.

    A device's content is worth between what makes it give at the day's lowest feed-in price and
    what makes it take at its highest retail price, without a margin.

    Attributes:
        low, high: [B, 1] EUR/kWh, the day's lowest feed-in and highest retail price.
        efficiency: [N, K] of the devices, one way.
        wear_price: [N, K] EUR per kWh given.
        largest_kw: [N] of a seat's load or generation.
        max_tip: EUR.
        own_dispatch: whether seats dispatch their devices themselves.
    """

    low: Tensor
    high: Tensor
    efficiency: Tensor
    wear_price: Tensor
    largest_kw: Tensor
    max_tip: float
    own_dispatch: bool

    def decide(self, action: Tensor) -> Decision:
        """Map an action [B, N, 3 + 3 K]; entries beyond [-1, 1] count as the bound."""
        action = action.clamp(-1, 1)
        seat, devices, tip = action[..., :2], action[..., 2:-1], action[..., -1]
        value, margin, share = devices.unflatten(-1, (-1, _DEVICE)).unbind(-1)
        price, half = self.low + (self.high - self.low) / 2, (self.high - self.low) / 2
        middle, reach = self._values()
        return Decision(
            must_run_price=price + seat[..., 0] * half,
            correction_kw=seat[..., 1] * self.largest_kw,
            value=middle + value * reach,
            margin=(margin + 1) * half.unsqueeze(-1),
            share=share if self.own_dispatch else (share + 1) / 2,
            tip=(tip + 1) * (self.max_tip / 2),
        )

    def encode(self, decision: Decision) -> Tensor:
        """Return the action that means a decision, the inverse of `decide`.

        What is out of reach becomes the nearest within it.
        """
        tiny = torch.finfo(decision.value.dtype).tiny
        half = (self.high - self.low).clamp(min=tiny) / 2
        middle, reach = self._values()
        value = (decision.value - middle) / reach.clamp(min=tiny)
        margin = decision.margin / half.unsqueeze(-1) - 1
        share = decision.share if self.own_dispatch else decision.share * 2 - 1
        parts = [
            ((decision.must_run_price - self.low) / half - 1).unsqueeze(-1),
            (decision.correction_kw / self.largest_kw.clamp(min=tiny)).unsqueeze(-1),
            torch.stack([value, margin, share], -1).flatten(-2),
            (2 * decision.tip / max(self.max_tip, tiny) - 1).unsqueeze(-1),
        ]
        return torch.cat(parts, -1).clamp(-1, 1)

    def _values(self) -> tuple[Tensor, Tensor]:
        """Return the middle of what contents may be worth, and how far it reaches to each side."""
        low = (self.low.unsqueeze(-1) - self.wear_price) * self.efficiency
        high = self.high.unsqueeze(-1) / self.efficiency
        return (low + high) / 2, (high - low) / 2


def checked(action: Tensor, shape: tuple[int, ...], layout: Layout, dtype: torch.dtype) -> Tensor:
    """Return an action in digits of `dtype`, or less of them.

    Raises ArgumentError, naming market, seat and entry, unless it is finite real numbers.
    """
    if not isinstance(action, Tensor) or action.is_complex() or action.dtype == torch.bool:
        raise ArgumentError(
            f"action is {getattr(action, 'dtype', type(action).__name__)}, expected a tensor of "
            f"real numbers {shape}, as torch.as_tensor makes one"
        )
    if tuple(action.shape) != shape:
        raise ArgumentError(
            f"action has shape {tuple(action.shape)}, expected {shape}: [markets, seats, "
            f"({', '.join(layout.actions)})]"
        )
    # One reduction instead of an element-wise test: a sum is finite only if every term is.
    if not torch.isfinite(action.sum()):
        bad = (~torch.isfinite(action)).nonzero()
        if len(bad):
            market, seat, entry = bad[0].tolist()
            raise ArgumentError(
                f"action of seat {seat} in market {market} has "
                f"{action[market, seat, entry].item()} as {layout.actions[entry]}, expected a "
                "number in [-1, 1]"
            )
    if torch.promote_types(action.dtype, dtype) != dtype:  # float64, as NumPy makes it
        action = action.to(dtype)
    return action
