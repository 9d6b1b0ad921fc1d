"""Trades between sellers and buyers under convex costs and lower bounds, by interior points.

maximise  sum_ij gain_ij y_ij - sum_n steepness/2 P_n^2 / order_n - a term in y_ij^2
subject to  least order_n <= P_n <= order_n,  y >= 0

with P_n = sum_j y_nj of sellers and sum_i y_in of buyers; the last term, which makes the trades
unique, is small and that of `transport`. The start is strictly feasible where there is such a
point, and so is every iterate; elsewhere the market has no solution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.markets.bilateral.transport import Optimum
from gridbazaar.envs.markets.interior_point import Iterate, solve
from gridbazaar.envs.markets.pairs import PairBook

_NOTHING = 1e-6  # of a pair's even share of all trade: what an interior point leaves of zero
_GRID = 2.0**20  # steps of a multiplier up to the largest gain
# Where the bounds of both sides of a pair are met, how they share its multiplier is open; this much
# on the diagonal decides it, and moves no trade.
_RIDGE = 1e-11
_BALANCING = 200  # rounds of fitting a start to the sums of its rows and columns


class Parts(NamedTuple):
    """What is of pairs [B, S, K], and of the rests of seats' orders and above their least.

    `rest` and `above` are [B, S + K], sellers first.
    """

    pair: Tensor
    rest: Tensor
    above: Tensor


def optimise_bounded(
    book: PairBook,
    steepness: float,
    least: float,
    regularisation: float,
    tolerance: float,
    max_steps: int,
) -> Optimum:
    """Solve every market of the book to a duality gap of `tolerance` over its gains.

    Args:
        book: with losing pairs open where `least` is above 0.
        steepness: EUR/kWh by which an order's marginal cost rises from its first kW to its last.
        least: of every order that must be traded.
        regularisation, tolerance, max_steps: as of `transport.optimise`; where a market has no
            trades within the bounds, its gap is infinite.
    """
    traded = book.traded_kw
    scale = (book.gain.abs() * book.open).flatten(1).amax(-1, keepdim=True)
    scale = torch.where(scale > 0, scale, 1.0)
    has = torch.cat([book.open.any(-1), book.open.any(-2)], -1)
    order = torch.cat([book.supply_kw, book.demand_kw], -1) / traded
    order = torch.where(has, order, 1.0)
    S = book.supply_kw.shape[-1]
    size = order[:, :S].unsqueeze(-1) * order[:, S:].unsqueeze(-2)
    gain = book.gain / scale.unsqueeze(-1)
    bend = steepness / scale / order
    programme = _Bounded(book.open, gain, regularisation / size, bend, has, least, tolerance)
    at, feasible = programme.start(order)
    at, _, steps = solve(programme, at, max_steps)
    y = programme.parts(at.slack).pair
    gap = at.products(programme.counts).sum(-1) / programme.worth(at).squeeze(-1)
    wanting = torch.cat([book.supply_kw, book.demand_kw], -1) > 0
    shut_out = (wanting & ~has).any(-1) & (least > 0)
    gap = torch.where(has.any(-1), gap, 0.0).where(feasible & ~shut_out, torch.inf)
    trades = (y * traded.unsqueeze(-1)).where(y > _NOTHING * size, 0.0)
    multiplier = programme.marginal(at)[:, :S]
    multiplier = (multiplier * _GRID).round() / _GRID * scale
    return Optimum(trades, multiplier, gap, steps.clamp(min=1))


class _Bounded:
    """The programme, scaled: trades y, rests of orders, and what is above the least of them.

    is_open, gain, curve: [B, S, K]; bend: [B, S + K] slope of marginal costs; has: [B, S + K]
    bool, who has a partner.
    """

    one_length = True

    def __init__(
        self,
        is_open: Tensor,
        gain: Tensor,
        curve: Tensor,
        bend: Tensor,
        has: Tensor,
        least: float,
        tolerance: float,
    ):
        self.open_pairs, self.gain, self.curve, self.bend = is_open, gain, curve, bend
        self.has, self.least, self.tolerance = has, least, tolerance
        self.counts = torch.cat([is_open.flatten(1), has, has], -1)

    def sums(self, pair: Tensor) -> Tensor:
        """Return what pairs [B, S, K] add up to by seat, [B, S + K]."""
        return torch.cat([pair.sum(-1), pair.sum(-2)], -1)

    def spread(self, seat: Tensor) -> Tensor:
        """Return the sum of what the two seats of a pair have, [B, S, K] of [B, S + K]."""
        S = self.gain.shape[1]
        return seat[:, :S].unsqueeze(-1) + seat[:, S:].unsqueeze(-2)

    def parts(self, flat: Tensor) -> Parts:
        """Return what is of pairs and of seats."""
        S, K = self.gain.shape[1:]
        pair, rest, above = flat.split([S * K, S + K, S + K], -1)
        return Parts(pair.view(-1, S, K), rest, above)

    def start(self, order: Tensor) -> tuple[Iterate, Tensor]:
        """Return a point inside all bounds, and in which markets [B] there is one."""
        y = self._shared(order) if self.least == 0 else self._balanced(order)
        traded = self.sums(y)
        rest, above = order - traded, traded - self.least * order
        inside = ((rest > 0) & (above > 0)) | ~self.has
        rest, above = (torch.where(self.has & inside, x, 1.0) for x in (rest, above))
        one = self.has.to(order)
        pull = self.gain - self.curve * y - self.spread(self.bend * traded * self.has)
        # Multipliers of the rests large enough that every pair's reduced cost is positive.
        most_pull = pull.where(self.open_pairs, 0.0).flatten(1).amax(-1, keepdim=True).clamp(min=0)
        mu = one * (1 + most_pull)
        tau = one * 0.5
        w = (self.spread(mu - tau) - pull).where(self.open_pairs, 1.0)
        y = y.where(self.open_pairs, 1.0)
        slack = torch.cat([y.flatten(1), rest, above], -1)
        multiplier = torch.cat([w.flatten(1), mu, tau], -1)
        none = slack[:, :0]
        return Iterate(slack, multiplier, none, none), inside.all(-1)

    def _shared(self, order: Tensor) -> Tensor:
        """Return nine tenths of the even share for every pair, [B, S, K]."""
        S = self.gain.shape[1]
        total = (order * self.has).sum(-1).clamp(min=1.0)[:, None, None]
        even = order[:, :S].unsqueeze(-1) * order[:, S:].unsqueeze(-2) / total
        return (0.9 * even).where(self.open_pairs, 0.0)

    def _balanced(self, order: Tensor) -> Tensor:
        """Return trades [B, S, K] half-way between the least and the most of both sides.

        Rows and columns are scaled in turn until their sums are right (Sinkhorn 1964).
        """
        S = self.gain.shape[1]
        live = order * self.has
        sides = torch.stack([live[:, :S].sum(-1), live[:, S:].sum(-1)], -1)
        most, must = sides.amin(-1, keepdim=True), self.least * sides.amax(-1, keepdim=True)
        tiny = torch.finfo(order.dtype).tiny
        share = (torch.lerp(must, most, 0.5) / sides.clamp(min=tiny)).clamp(max=1)
        aim = torch.where(
            self.has, torch.cat([live[:, :S] * share[:, :1], live[:, S:] * share[:, 1:]], -1), 1.0
        )
        y = self.open_pairs.to(aim)
        for _ in range(_BALANCING):
            y = y * (aim[:, :S] / y.sum(-1).clamp(min=tiny)).unsqueeze(-1)
            y = y * (aim[:, S:] / y.sum(-2).clamp(min=tiny)).unsqueeze(-2)
        return y.where(self.open_pairs, 0.0)

    def marginal(self, at: Iterate) -> Tensor:
        """Return what a kW more of each seat adds: its cost's rise and its bounds, [B, S + K]."""
        (y, _, _), (_, mu, tau) = self.parts(at.slack), self.parts(at.multiplier)
        return self.bend * self.sums(y.where(self.open_pairs, 0.0)) + mu - tau

    def worth(self, at: Iterate) -> Tensor:
        """Return the size of the gains that are traded, [B, 1]."""
        y = self.parts(at.slack).pair
        worth = (y * self.gain.abs()).where(self.open_pairs, 0.0).flatten(1).sum(-1, keepdim=True)
        return worth.clamp(min=torch.finfo(worth.dtype).tiny)

    def is_open(self, at: Iterate, gap: Tensor) -> Tensor:
        """Return where the gap is not small against the gains, [B, 1]."""
        return gap > self.tolerance * self.worth(at)

    def newton(self, at: Iterate) -> Callable[[Tensor], Iterate]:
        """Factorise the normal equations of all seats."""
        (y, u, t), (w, mu, tau) = self.parts(at.slack), self.parts(at.multiplier)
        stiff = w + self.curve * y
        k = (y / stiff).where(self.open_pairs, 0.0)
        # How much a seat's rest changes with the marginal cost of its trade.
        soft = 1 / (mu / u + self.bend + tau / t)
        own = torch.where(self.has, soft + self.sums(k), 1.0)
        matrix = torch.diag_embed(own * (1 + _RIDGE))
        S = k.shape[1]
        matrix[:, :S, S:], matrix[:, S:, :S] = k, k.transpose(-1, -2)
        factor, _ = torch.linalg.cholesky_ex(matrix)

        def direction(change: Tensor) -> Iterate:
            g, rest, above = self.parts(change)
            h = (g / stiff).where(self.open_pairs, 0.0)
            right = torch.where(self.has, soft * (rest / u - above / t) + self.sums(h), 0.0)
            d_cost = torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)
            d_y = h - k * self.spread(d_cost)
            d_w = (self.spread(d_cost) + self.curve * d_y).where(self.open_pairs, 0.0)
            d_sum = self.sums(d_y)
            d_tau = torch.where(self.has, (above - tau * d_sum) / t, 0.0)
            d_mu = torch.where(self.has, (rest + mu * d_sum) / u, 0.0)
            slack = torch.cat([d_y.flatten(1), -d_sum, d_sum], -1)
            return Iterate(slack, torch.cat([d_w.flatten(1), d_mu, d_tau], -1), at.primal, at.dual)

        return direction
