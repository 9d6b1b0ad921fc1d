"""One auction of single units as a game with private types, cleared by a registered market.

Buyers and sellers know what a unit is worth to them, and name a price by a rule. For some of these
games the equilibrium is known in closed form: an exploitability that is measured is held to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.markets import Context, Market, Orders
from gridbazaar.evaluation.exploitability import Trial

_MARKETS = 1 << 17  # auctions cleared at once


class LinearPrice(NamedTuple):
    """Names scale x value + shift."""

    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, value: Tensor) -> Tensor:
        """Return the price for each value."""
        return self.scale * value + self.shift


TRUTHFUL = LinearPrice()
# From values to prices.
Rule = Callable[[Tensor], Tensor]


class AuctionGame:
    """Seats with one unit each, sold where they sell; all prices lie in [0, 1].

    Args:
        market: that clears, as `gridbazaar.envs.markets` registers it.
        sells: [N] bool, the side of each seat.
        rules: of each seat.
        values: [S, N] what a unit is worth to each seat in each sample.
    """

    def __init__(self, market: Market, sells: Tensor, rules: Sequence[Rule], values: Tensor):
        self._market, self._rules, self._values = market, tuple(rules), values
        self._unit = torch.where(sells, 1.0, -1.0).to(values)

    def play(self, values: Tensor, prices: Tensor) -> Tensor:
        """Return the utility of each seat [S, N] that values units so and names these prices."""
        rows = len(values)
        orders = Orders(self._unit.expand(rows, -1), prices, torch.zeros_like(prices))
        ends = values.new_zeros(rows, 1)
        clearing = self._market.clear(orders, Context(ends + 1, ends, slot_h=1.0))
        return clearing.payment_eur - clearing.cleared_kw * values

    def usual(self, samples: Tensor) -> Tensor:
        """Return the utility of every seat where all keep to their rules; see DeviationGame."""
        values = self._values[samples]
        return torch.cat([self.play(v, self._named(v)) for v in values.split(_MARKETS)])

    def deviating(self, trials: Sequence[Trial[LinearPrice]], samples: Tensor) -> Tensor:
        """Return what each trial's coalition gets; see DeviationGame."""
        values = self._values[samples]
        prices = self._named(values)
        found = []
        for trial in trials:
            seats, named = list(trial.coalition), prices.clone()
            named[:, seats] = trial.response(values[:, seats]).clamp(0, 1)
            parts = zip(values.split(_MARKETS), named.split(_MARKETS), strict=True)
            utility = torch.cat([self.play(*part) for part in parts])
            found.append(utility[:, seats].sum(-1))
        return torch.stack(found)

    def _named(self, values: Tensor) -> Tensor:
        columns = zip(self._rules, values.unbind(-1), strict=True)
        return torch.stack([rule(value) for rule, value in columns], -1).clamp(0, 1)


def uniform_values(samples: int, seats: int) -> Tensor:
    """Return values in [0, 1) that fill the cube evenly, [samples, seats]; never by chance.

    A Kronecker sequence, of which any part and any multiple of a step is even too: powers of 1 / x
    with x^(seats + 1) = x + 1, as Roberts (2018), "The unreasonable effectiveness of quasirandom
    sequences", proposes them.
    """
    x = 2.0
    for _ in range(60):
        x = (1 + x) ** (1 / (seats + 1))
    step = torch.tensor([x ** -(k + 1) for k in range(seats)], dtype=torch.float64)
    return (0.5 + torch.arange(1, samples + 1).unsqueeze(-1) * step) % 1


def grid_of_lines() -> list[LinearPrice]:
    """Return linear rules in steps of a twelfth: scales of 0 to 1.5, shifts of -0.5 to 0.5."""
    return [LinearPrice(a / 12, b / 12) for a in range(19) for b in range(-6, 7)]
