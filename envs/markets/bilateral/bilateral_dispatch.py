"""Multi-bilateral economic dispatch: the best trades between pairs, each at its own price."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from gridbazaar.config import Count, EnergyPrice, Tolerance
from gridbazaar.envs.markets.bilateral.bounded_transport import optimise_bounded
from gridbazaar.envs.markets.bilateral.transport import optimise
from gridbazaar.envs.markets.pairs import PreferenceConfig, bill_pairs, pair_up, preference
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, Market, Orders
from gridbazaar.envs.markets.registry import MARKETS


class BilateralDispatchConfig(PreferenceConfig):
    """Preferences, and the accuracy of the solution."""

    regularisation: Annotated[float, Field(gt=0, le=1e-4)] = Field(
        description="quadratic term over the largest gain of a pair; makes trades unique",
        json_schema_extra={"unit": "1"},
    )
    tolerance: Tolerance = Field(
        description="duality gap over welfare at which the solution is accepted",
    )
    max_steps: Count = Field(description="of the interior-point method")
    steepness: EnergyPrice = Field(
        description="by how much the marginal cost of an order rises from its first kW to its "
        "last, and a buyer's worth falls; 0 is a linear cost",
    )
    least_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="of every order that must be traded, whatever it costs; a book that does not "
        "allow it is left to the grid",
        json_schema_extra={"unit": "1"},
    )


@MARKETS.register("bilateral_dispatch")
class BilateralDispatch(Market):
    """Economic dispatch by pairs with product differentiation, solved in one place.

    min sum_n C_n(sum_m P_nm) + sum_nm c_nm P_nm  with  P_nm + P_mn = 0, each P_nm with the sign of
    the seat's order and `least_share` of it <= |sum_m P_nm| <= all of it. C_n is convex: its slope
    is the limit price at the first kW and moves by `steepness` up to the last; c_nm is what energy
    from afar or without sun costs its buyer (`distance_price`, `grey_price`). A pair deals at the
    seller's limit plus what a kW more of its order would add, the multiplier of P_nm + P_mn = 0: a
    seller gets one price from all partners, a buyer pays less to the partners that suit it less.
    Energy that must be traded may cost more than its limit.

    Source: Sorin, Bobo and Pinson (2019), "Consensus-based approach to peer-to-peer electricity
    markets with product differentiation", IEEE Trans. Power Systems 34(2), eq. 1-4.
    """

    Config = BilateralDispatchConfig
    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})

    no_gradient = "solved to a tolerance; prices are multipliers rounded to a grid"

    def __init__(self, config: BilateralDispatchConfig):
        self.config = config

    @torch.no_grad()
    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Trade at the optimum; nothing where the solver misses its tolerance."""
        c = self.config
        forced = c.least_share > 0
        book = pair_up(orders, preference(context.by_order(orders.owners), c), losing=forced)
        solved = (c.regularisation, c.tolerance, c.max_steps)
        if forced or c.steepness > 0:
            best = optimise_bounded(book, c.steepness, c.least_share, *solved)
        else:
            best = optimise(book, *solved)
        return bill_pairs(
            orders,
            context,
            book,
            best.pair_kw,
            (book.ask + best.seller_multiplier).unsqueeze(-1),
            converged=best.gap <= c.tolerance,
            iterations=best.iterations,
            messages=torch.zeros_like(best.iterations),
        )
