"""Uniform auction whose trades the DSO curtails, at the cost of those who caused it."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Count, Share
from gridbazaar.envs.grid.curtailment import curtail
from gridbazaar.envs.grid.limits import Limits
from gridbazaar.envs.markets.auctions.uniform_auction import UniformAuction, UniformAuctionConfig
from gridbazaar.envs.markets.network.trade_limits import (
    FeederMarketConfig,
    at,
    broken,
    broken_by,
    chosen,
    flow,
    grid_of,
)
from gridbazaar.envs.markets.posted_price import share_pro_rata
from gridbazaar.envs.markets.protocol import Claim, Clearing, Context, GridContext, Market, Orders
from gridbazaar.envs.markets.registry import MARKETS


class CurtailedAuctionConfig(FeederMarketConfig, UniformAuctionConfig):
    """Parameters."""

    liability: Share = Field(description="of the partners' loss that the causers owe")
    max_rounds: Count = Field(
        description="of curtailment and power flow, and of cutting and sharing what is left",
    )


@MARKETS.register("curtailed_auction")
class CurtailedAuction(Market):
    """Uniform auction, then AC power flow, then curtailment whose cost its causers bear.

    Where background and trades break a limit, the DSO cuts the trades that press on it, in
    proportion to their power and their sensitivity (envs/grid/curtailment.py). The cut seats are
    the causers. Their partners fall short pro rata and turn to the grid; what each kWh of that
    costs them (ceiling less price for a buyer, price less floor for a seller) is owed by the
    causers in proportion to what was cut of each, and shared among the partners in proportion to
    their loss. Nobody owes more than its gain on what it still trades, so that nobody trades at a
    loss; what that leaves unpaid, the partners bear. A partner or causer left with no trade at all
    neither receives nor pays. The auction's price stays; a seat's price includes the transfer.
    What the partners no longer trade may break a limit that the cut had met: the DSO cuts again,
    until the trades that stand break none.

    Market rule ours; curtailment by sensitivity as in envs/feeder, and causer pays as in
    Guerrero et al. (2019), "Decentralized P2P energy trading under network constraints in a
    low-voltage network", IEEE Trans. Smart Grid 10(5), who charge trades by their sensitivities.
    """

    Config = CurtailedAuctionConfig
    claims: frozenset[Claim] = frozenset({"budget_balanced", "no_deficit", "individually_rational"})
    contract = "auction"

    def __init__(self, config: CurtailedAuctionConfig):
        self.config = config
        self._auction = UniformAuction(config)

    def clear(self, orders: Orders, context: Context) -> Clearing:
        """Match at one price, cut what breaks a limit, and settle the cost of the cut."""
        free = self._auction.clear(orders, context)
        grid = grid_of(context, self.config, orders)
        if grid is None:
            return free
        rows, limits = broken_by(grid, free.cleared_kw)
        if not len(rows):
            return free
        agreed_kw, price = free.cleared_kw[rows], free.reference_price[rows].unsqueeze(1)
        cut_kw, left_kw, found = self._ration(at(grid, rows), limits, agreed_kw)
        left_kw = left_kw * found.unsqueeze(1)
        lost_kw = (agreed_kw - cut_kw - left_kw).abs()
        floor, ceiling = context.seller_floor[rows], context.buyer_ceiling[rows]
        loss_price = torch.where(agreed_kw > 0, price - floor, ceiling - price)
        gain = left_kw * (price - orders.limit_price[rows])
        loss, traded = lost_kw * loss_price.clamp(min=0), left_kw != 0
        transfer = self._transfer(loss, cut_kw.abs(), gain, traded)
        seat = torch.where(traded, price + transfer / torch.where(traded, left_kw, 1.0), 0.0)
        cleared_kw = free.cleared_kw.index_copy(0, rows, left_kw)
        prices = free.price.index_copy(0, rows, seat)
        published = torch.where(traded.any(1), price.squeeze(1), torch.nan)
        return Clearing(
            cleared_kw=cleared_kw,
            price=prices,
            payment_eur=cleared_kw * prices * context.slot_h,
            reference_price=free.reference_price.index_copy(0, rows, published),
            converged=free.converged.index_copy(0, rows, found),
        )

    def _ration(
        self, grid: GridContext, limits: Limits, agreed_kw: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cut and share what is left, until it breaks no limit.

        Returns:
            what the DSO cuts of each trade and what is left of it, [R, N] each, and whether that
            meets the limits [R].
        """
        cut_kw, left_kw = torch.zeros_like(agreed_kw), agreed_kw
        found = torch.zeros_like(agreed_kw[:, 0], dtype=torch.bool)
        rows = torch.arange(len(agreed_kw), device=agreed_kw.device)
        for _ in range(self.config.max_rounds):
            here, mine = at(grid, rows), chosen(limits, rows)
            cut = self._cut(here, mine, left_kw[rows])
            shared = share_pro_rata(left_kw[rows] - cut)
            cut_kw, left_kw = cut_kw.index_add(0, rows, cut), left_kw.index_copy(0, rows, shared)
            bad = broken(flow(here, shared), mine)
            found = found.index_copy(0, rows, ~bad)
            rows = rows[bad]
            if not len(rows):
                break
        return cut_kw, left_kw, found

    def _cut(self, grid: GridContext, limits: Limits, agreed_kw: Tensor) -> Tensor:
        """Return what the DSO cuts of each trade, [R, N], while the others stand."""
        background = grid.background_kw
        to_bus = grid.to_bus.to(background)
        trades = agreed_kw.to(background)
        sold, bought = trades.clamp(min=0) @ to_bus, (-trades).clamp(min=0) @ to_bus
        injection_kw = background + sold - bought
        exporting = injection_kw > 0
        available = torch.where(exporting, sold, bought)
        left_kw, _ = curtail(
            grid.solver,
            limits,
            injection_kw,
            grid.reactive_kvar,
            flow(grid, trades),
            self.config.max_rounds,
            available,
        )
        tiny = torch.finfo(available.dtype).tiny
        share = ((injection_kw - left_kw).abs() / available.clamp(min=tiny)).clamp(max=1)
        of_seat = torch.where(
            agreed_kw > 0, (share * exporting) @ to_bus.T, (share * ~exporting) @ to_bus.T
        )
        return agreed_kw * of_seat.to(agreed_kw)

    def _transfer(self, loss: Tensor, cut_kw: Tensor, gain: Tensor, trading: Tensor) -> Tensor:
        """Return what the seats [R, N] get (positive) or owe of the partners' loss, in EUR/h."""
        tiny = torch.finfo(loss.dtype).tiny
        suffered = loss * trading
        total = suffered.sum(1, keepdim=True)
        causing = cut_kw / cut_kw.sum(1, keepdim=True).clamp(min=tiny)
        owed = torch.minimum(self.config.liability * total * causing, gain.clamp(min=0))
        return owed.sum(1, keepdim=True) * suffered / total.clamp(min=tiny) - owed
