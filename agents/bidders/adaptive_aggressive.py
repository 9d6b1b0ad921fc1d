"""Adaptive-aggressive: how keenly to trade, learned from where the market seems to settle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.auction_bidder import AuctionBidder, PricingConfig
from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.price_rule import News, Quotes, Traders
from gridbazaar.agents.bidders.protocol import BIDDERS
from gridbazaar.config import Positive, Share

_SMALL = 1e-6
_NEWTON_STEPS, _STEEPEST = 5, 40.0  # for the curvature towards the market's end


class AdaptiveAggressiveConfig(PricingConfig):
    """Parameters of AA, with the paper's letters."""

    short_rate: tuple[Share, Share] = Field(description="beta 1, drawn from this range per seat")
    long_rate: tuple[Share, Share] = Field(description="beta 2, likewise")
    window: Annotated[int, Field(ge=2)] = Field(description="N, trades that estimate equilibrium")
    recency: Share = Field(description="rho, weight of a trade against the next later one")
    relative_step: Share = Field(description="lambda r, of the aggressiveness and of a first quote")
    absolute_step: Share = Field(description="lambda a, likewise")
    approach: Annotated[float, Field(ge=1)] = Field(
        description="eta, quotes to reach the target", json_schema_extra={"unit": "1"}
    )
    theta_min: float = Field(
        description="least shape of the aggressiveness model",
        json_schema_extra={"unit": "1"},
    )
    theta_max: float = Field(description="greatest", json_schema_extra={"unit": "1"})
    theta: float = Field(description="first one", json_schema_extra={"unit": "1"})
    gamma: Positive = Field(
        description="how theta answers volatility", json_schema_extra={"unit": "1"}
    )


@dataclass(frozen=True)
class _State:
    """What AA knows; `trades` [B, W] newest first, NaN before; `spread` [B, 2]; others [B, N]."""

    aggressiveness: Tensor
    theta: Tensor
    short_rate: Tensor
    long_rate: Tensor
    trades: Tensor
    spread: Tensor


class AdaptiveAggressiveRule:
    """A target between the estimated equilibrium and the limit or the market's end."""

    def __init__(self, config: AdaptiveAggressiveConfig):
        self._config = config

    def begin(self, traders: Traders, chance: Chance) -> _State:
        """Be neither keen nor patient; see PriceRule."""
        config, like = self._config, traders.low
        short, chance = chance.uniform(like)
        long, chance = chance.uniform(like)
        none = like.new_full((len(like), config.window), torch.nan)
        return _State(
            aggressiveness=torch.zeros_like(like),
            theta=torch.full_like(like, config.theta),
            short_rate=_between(config.short_rate, short),
            long_rate=_between(config.long_rate, long),
            trades=none,
            spread=torch.stack(
                [none[:, 0].nan_to_num(torch.inf), -none[:, 0].nan_to_num(torch.inf)], -1
            ),
        )

    def quote(
        self, traders: Traders, state: _State, quotes: Quotes | None
    ) -> tuple[Tensor, _State]:
        """Return the target, or in an open book a step towards it; see PriceRule."""
        target = _target(traders, state, self._equilibrium(traders, state))
        if quotes is None:
            return target, state
        config, limit = self._config, traders.valuation
        bid, ask = quotes.bid, quotes.ask
        known = ~state.trades[:, :1].isnan()
        beyond_ask = ask * (1 + config.relative_step) + config.absolute_step
        below_bid = bid * (1 - config.relative_step) - config.absolute_step
        first = torch.where(
            traders.sells, torch.maximum(limit, below_bid), torch.minimum(limit, beyond_ask)
        )
        goal = torch.where(known, target, first)
        own = torch.where(traders.sells, ask, bid)
        price = own + (goal - own) / config.approach
        takes = torch.where(traders.sells, bid >= target, ask <= target) & known
        price = torch.where(takes, torch.where(traders.sells, bid, ask), price)
        return traders.keep_valuation(price), state

    def learn(self, traders: Traders, state: _State, news: News) -> _State:
        """Move aggressiveness after every piece of news, theta after a trade; see PriceRule."""
        config, sells = self._config, traders.sells
        traded = news.traded[:, :1]
        pushed = torch.cat([news.price[:, :1], state.trades[:, :-1]], -1)
        state = replace(state, trades=torch.where(traded, pushed, state.trades))
        equilibrium = self._equilibrium(traders, state)
        known = ~state.trades[:, :1].isnan()
        target = _target(traders, state, equilibrium)
        reaches = torch.where(sells, target <= news.price, target >= news.price)
        beaten = torch.where(
            sells,
            (target >= news.price) & news.ask_pressed,
            (target <= news.price) & news.bid_pressed,
        )
        meeker = news.traded & reaches
        keener = (news.traded & ~reaches) | (~news.traded & news.active & beaten)
        shown = _aggressiveness_of(traders, state, equilibrium, news.price)
        step = config.relative_step * shown.abs() + config.absolute_step
        desired = torch.where(keener, shown + step, shown - step)
        moved = state.aggressiveness + state.short_rate * (desired - state.aggressiveness)
        moves = (keener | meeker) & known
        aggressiveness = torch.where(moves, moved, state.aggressiveness).clamp(-1, 1)
        theta, spread = self._theta(state, equilibrium, traded)
        return replace(state, aggressiveness=aggressiveness, theta=theta, spread=spread)

    def _equilibrium(self, traders: Traders, state: _State) -> Tensor:
        """Return the mean of the last trades [B, 1], later ones weighing more; else the middle."""
        seen = ~state.trades.isnan()
        age = torch.arange(state.trades.shape[-1], device=state.trades.device)
        weight = seen * self._config.recency ** age.to(state.trades)
        mean = (weight * state.trades.nan_to_num()).sum(-1, keepdim=True)
        mean = mean / weight.sum(-1, keepdim=True).clamp(min=_SMALL)
        middle = (traders.low[:, :1] + traders.high[:, :1]) / 2
        return torch.where(seen[:, :1], mean, middle)

    def _theta(self, state: _State, equilibrium: Tensor, traded: Tensor) -> tuple[Tensor, Tensor]:
        """Return theta after a trade, and the smallest and largest volatility seen."""
        config = self._config
        seen = ~state.trades.isnan()
        error = torch.where(seen, state.trades - equilibrium, 0.0).square().sum(-1, keepdim=True)
        count = seen.sum(-1, keepdim=True).clamp(min=1)
        alpha = (error / count).sqrt() / equilibrium.clamp(min=_SMALL)
        low, high = state.spread.split(1, -1)
        low = torch.where(traded, torch.minimum(low, alpha), low)
        high = torch.where(traded, torch.maximum(high, alpha), high)
        known = traded & (high - low > _SMALL)
        share = torch.where(known, (alpha - low) / (high - low).clamp(min=_SMALL), 0.0)
        bend = 1 - share * (config.gamma * (share - 1)).exp()
        desired = config.theta_min + (config.theta_max - config.theta_min) * bend
        moved = state.theta + state.long_rate * (desired - state.theta)
        return torch.where(known, moved, state.theta), torch.cat([low, high], -1)


@BIDDERS.register("adaptive_aggressive")
class AdaptiveAggressive(AuctionBidder):
    """Adaptive-aggressive (AA): trades more or less keenly about an estimate of equilibrium.

    A sealed auction shows no standing orders: the order names the target price itself, where in an
    open book the trader would come towards it in steps. An order without a partner in a round
    without trade makes keener. Energy is worth what it is to the truthful bidder.

    Source: Vytelingum, Cliff and Jennings (2008), "Strategic bidding in continuous double
    auctions", Artificial Intelligence 172(14), with one update per auction round.
    """

    Config = AdaptiveAggressiveConfig

    @staticmethod
    def rule(config: AdaptiveAggressiveConfig) -> AdaptiveAggressiveRule:
        """Return the rule; see AuctionBidder."""
        return AdaptiveAggressiveRule(config)


def _between(low_high: tuple[float, float], share: Tensor) -> Tensor:
    return low_high[0] + share * (low_high[1] - low_high[0])


def _base(traders: Traders, equilibrium: Tensor) -> Tensor:
    """Return the price of aggressiveness 0: the equilibrium, or a limit that lies beyond it."""
    limit = traders.valuation
    return torch.where(
        traders.sells, torch.maximum(limit, equilibrium), torch.minimum(limit, equilibrium)
    )


def _off_zero(theta: Tensor) -> Tensor:
    """Keep theta off zero, where the formulas have a removable singularity."""
    return torch.where(theta.abs() < 1e-3, 1e-3, theta)


def _curvatures(traders: Traders, base: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the curvature towards the limit and that towards the market's end, [B, N].

    The second is the x with x / (exp(x) - 1) * far = theta / (exp(theta) - 1) * near, so that both
    curves have one slope where they meet; its logarithm is concave in x, so that Newton's steps
    come from above. A limit beyond equilibrium has no curve of its own, nor anything to meet.
    """
    theta = _off_zero(theta).expand_as(base)
    near, far = (traders.valuation - base).abs(), (traders.best - base).abs()
    meets = (near > _SMALL) & (far > _SMALL)
    ratio = torch.where(meets, near, 1.0) / torch.where(meets, far, 1.0)
    slope = (theta / torch.expm1(theta) * ratio).log()
    x = theta
    for _ in range(_NEWTON_STEPS):
        error = (x / torch.expm1(x)).log() - slope
        x = _off_zero((x - error / (1 / x + 1 / torch.expm1(-x))).clamp(max=_STEEPEST))
    return theta, torch.where(meets, x, theta)


def _target(traders: Traders, state: _State, equilibrium: Tensor) -> Tensor:
    """Return the price [B, N] meant by the aggressiveness: 1 the limit, −1 the market's end."""
    base, r = _base(traders, equilibrium), state.aggressiveness
    near, far = _curvatures(traders, base, state.theta)
    end = torch.where(r > 0, traders.valuation, traders.best)
    theta = torch.where(r > 0, near, far)
    return base + (end - base) * torch.expm1(r.abs() * theta) / torch.expm1(theta)


def _aggressiveness_of(
    traders: Traders, state: _State, equilibrium: Tensor, price: Tensor
) -> Tensor:
    """Return the aggressiveness [B, N] that would have meant this price."""
    base = _base(traders, equilibrium)
    near, far = _curvatures(traders, base, state.theta)
    keen = torch.where(traders.sells, price < base, price > base)
    reach = torch.where(keen, traders.valuation, traders.best) - base
    theta = torch.where(keen, near, far)
    known = reach.abs() > _SMALL
    share = torch.where(known, (price - base) / torch.where(known, reach, 1.0), 0.0).clamp(0, 1)
    size = torch.log1p(share * torch.expm1(theta)) / theta
    return torch.where(keen, size, -size)
