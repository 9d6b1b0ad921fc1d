"""Validation of bidders' price rules: the open book of their papers, beside the papers' results.

`python studies/bidder_validation.py` plays many markets at once: single-unit traders, a book
with one standing bid and one standing ask that every trade clears, one trader shouting at a time
in whole cents, several trading days over which the traders go on learning.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from gridbazaar.agents.bidders import BIDDERS
from gridbazaar.agents.bidders.chance import Chance
from gridbazaar.agents.bidders.price_rule import News, PriceRule, Quotes, Traders
from gridbazaar.config import validate
from gridbazaar.configs import option

LOW, HIGH = 0.01, 4.0
_LADDER = [0.75 + 0.25 * i for i in range(11)]
# What an open book asks for beyond the sealed auction's settings: cents, and room for all shouts
# between two trades.
_OPEN_BOOK = {"gjerstad_dickhaut": {"prices": 400, "memory_events": 120}}
RULES = {
    "zero_intelligence_unconstrained": "ZI-U",
    "zero_intelligence": "ZI-C",
    "zip": "ZIP",
    "gjerstad_dickhaut": "GD",
    "adaptive_aggressive": "AA",
}


@dataclass(frozen=True)
class Curves:
    """Supply and demand of single units, EUR.

    Attributes:
        cost: of each seller.
        value: to each buyer.
        equilibrium: the competitive price.
    """

    cost: Sequence[float]
    value: Sequence[float]
    equilibrium: float

    @property
    def surplus(self) -> float:
        """Return the largest surplus that trade can bring."""
        pairs = zip(sorted(self.cost), sorted(self.value, reverse=True), strict=False)
        return sum(max(value - cost, 0) for cost, value in pairs)


CURVES = {
    # 13 of 16 units lie within the crossing.
    "few outside": Curves(
        [0.5 + 0.12 * i for i in range(16)], [3.5 - 0.12 * i for i in range(16)], 2.0
    ),
    "symmetric": Curves(_LADDER, _LADDER, 2.0),
    "flat supply": Curves([2.0] * 11, _LADDER, 2.0),
    "excess demand": Curves([1.0] * 6, [3.0] * 11, 3.0),
    "excess supply": Curves([1.0] * 11, [3.0] * 6, 1.0),
}


@dataclass(frozen=True)
class Book:
    """The standing quotes, [M, 1] each; a holder of −1 means that none stands."""

    bid: Tensor
    ask: Tensor
    bidder: Tensor
    asker: Tensor

    @classmethod
    def empty(cls, like: Tensor) -> Book:
        """Return books [M, 1] without a quote."""
        nobody = torch.full_like(like, -1, dtype=torch.long)
        return cls(torch.full_like(like, LOW), torch.full_like(like, HIGH), nobody, nobody)

    def where(self, keep: Tensor, other: Book) -> Book:
        """Return this book where it is kept [M, 1], else the other."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Book(*(torch.where(keep, mine, theirs) for mine, theirs in pairs))


@dataclass(frozen=True)
class Results:
    """What M markets came to on each of D days, [D, M]; prices are NaN on a day without trade.

    Attributes:
        efficiency: surplus reached, as a share of the largest.
        alpha: Smith's, root mean square distance of prices from equilibrium as a share of it.
        price: mean.
        trades: number.
    """

    efficiency: Tensor
    alpha: Tensor
    price: Tensor
    trades: Tensor


@dataclass(frozen=True)
class Shout:
    """What one shout did, [M, 1] each; `seller` and `buyer` mean something where it traded."""

    price: Tensor
    traded: Tensor
    heard: Tensor
    by_seller: Tensor
    seller: Tensor
    buyer: Tensor
    displaced: Tensor
    displaced_price: Tensor


def shout(book: Book, trader: Tensor, sells: Tensor, price: Tensor) -> tuple[Shout, Book]:
    """Let one trader [M, 1] of each market name a price; a trade is at the standing quote."""
    has_bid, has_ask = book.bidder >= 0, book.asker >= 0
    traded = torch.where(sells, has_bid & (price <= book.bid), has_ask & (price >= book.ask))
    betters = torch.where(sells, ~has_ask | (price < book.ask), ~has_bid | (price > book.bid))
    heard = traded | betters
    standing = torch.where(sells, book.bid, book.ask)
    own = torch.where(sells, book.ask, book.bid)
    result = Shout(
        price=torch.where(traded, standing, price),
        traded=traded,
        heard=heard,
        by_seller=sells,
        seller=torch.where(sells, trader, book.asker),
        buyer=torch.where(sells, book.bidder, trader),
        displaced=heard & torch.where(sells, has_ask, has_bid),
        displaced_price=own,
    )
    asks, bids = betters & sells, betters & ~sells
    quoted = Book(
        torch.where(bids, price, book.bid),
        torch.where(asks, price, book.ask),
        torch.where(bids, trader, book.bidder),
        torch.where(asks, trader, book.asker),
    )
    return result, Book.empty(price).where(traded, quoted)


def in_cents(price: Tensor, sells: Tensor) -> Tensor:
    """Round towards the other side, so that a trader who would better a quote betters it."""
    cents = price * 100
    return torch.where(sells, (cents + 1e-2).floor(), (cents - 1e-2).ceil()) / 100


def play(
    rule: PriceRule, curves: Curves, markets: int, days: int, shouts: int, seed: int
) -> Results:
    """Play `markets` sessions of `days` days with `shouts` shouts each, all traders by one rule."""
    draw = torch.Generator().manual_seed(seed)
    limit = torch.tensor([*curves.cost, *curves.value]).expand(markets, -1)
    sells = torch.arange(limit.shape[1]).expand(markets, -1) < len(curves.cost)
    traders = Traders(
        sells, limit, limit, torch.full_like(limit, LOW), torch.full_like(limit, HIGH)
    )
    seeds = torch.randint(2**62, (markets,), generator=draw)
    state = rule.begin(traders, Chance(seeds, 0))
    records = []
    for _ in range(days):
        active, book = torch.ones_like(sells), Book.empty(limit[:, :1])
        gain, price, square, count = limit.new_zeros(4, markets, 1)
        for _ in range(shouts):
            wish = torch.rand(limit.shape, generator=draw) * active
            trader = wish.argmax(-1, keepdim=True)
            quoted, state = rule.quote(traders, state, Quotes(book.bid, book.ask))
            # A market whose traders are all done has a book that no shout can meet.
            side, alive = sells.gather(-1, trader), active.gather(-1, trader)
            mine = in_cents(quoted.gather(-1, trader), side)
            result, after = shout(book, trader, side, mine)
            book = after.where(alive, book)
            traded, heard = result.traded & alive, result.heard & alive
            for leaving in (result.seller, result.buyer):
                left = active.scatter(-1, leaving.clamp(min=0), False)
                active = torch.where(traded, left, active)
            state = rule.learn(traders, state, _news(result, traded, heard, active))
            won = limit.gather(-1, result.buyer.clamp(min=0))
            won = won - limit.gather(-1, result.seller.clamp(min=0))
            gain, count = gain + won * traded, count + traded
            price = price + result.price * traded
            square = square + (result.price - curves.equilibrium).square() * traded
        alpha = (square / count).sqrt() / curves.equilibrium
        records.append(torch.cat([gain / curves.surplus, alpha, price / count, count], -1))
    return Results(*torch.stack(records).unbind(-1))


def _news(result: Shout, traded: Tensor, heard: Tensor, active: Tensor) -> News:
    """Tell all traders; whose shout met or bettered a quote presses its own side."""
    return News(
        price=result.price,
        traded=traded,
        active=active,
        ask_pressed=heard & result.by_seller,
        bid_pressed=heard & ~result.by_seller,
        rejected=heard & result.displaced,
        rejected_price=result.displaced_price,
        rejected_ask=result.by_seller,
    )


def price_rule(name: str) -> PriceRule:
    """Return the rule of a registered bidder, with its own parameters and those of an open book."""
    kind = BIDDERS[name]
    values = {**option("bidder", name), **_OPEN_BOOK.get(name, {})}
    rule: PriceRule = kind.rule(validate(kind.Config, values, f"bidder.{name}"))
    return rule


@dataclass(frozen=True)
class Row:
    """A rule on a pair of curves: means over markets, of all days or of the first and last."""

    curves: str
    rule: str
    equilibrium: float
    efficiency: float
    efficiency_error: float
    last_efficiency: float
    first_alpha: float
    last_alpha: float
    last_price: float
    last_trades: float


def measure(name: str, curves: str, markets: int, days: int, shouts: int, seed: int) -> Row:
    """Play a rule on a pair of curves."""
    results = play(price_rule(name), CURVES[curves], markets, days, shouts, seed)
    each = results.efficiency.mean(0)
    return Row(
        curves,
        RULES[name],
        CURVES[curves].equilibrium,
        float(each.mean()),
        float(each.std() / markets**0.5),
        float(results.efficiency[-1].mean()),
        float(results.alpha[0].nanmean()),
        float(results.alpha[-1].nanmean()),
        float(results.price[-1].nanmean()),
        float(results.trades[-1].mean()),
    )


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--markets", type=int, default=50, help="sessions, side by side")
    parser.add_argument("--days", type=int, default=8, help="trading days of a session")
    parser.add_argument("--shouts", type=int, default=1000, help="of a day")
    parser.add_argument("--seed", type=int, default=0)
    options: Any = parser.parse_args()
    torch.set_num_threads(1)
    size = (options.markets, options.days, options.shouts, options.seed)
    rows = [measure(name, curves, *size) for curves in CURVES for name in RULES]
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], **vars(options)}, indent=2))
        return
    print(
        "| curves | price | rule | efficiency | of the last day | alpha first | last | mean price |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.curves} | {row.equilibrium:.2f} | {row.rule} "
            f"| {row.efficiency:.1%} ± {row.efficiency_error:.1%} | {row.last_efficiency:.1%} "
            f"| {row.first_alpha:.1%} | {row.last_alpha:.1%} | {row.last_price:.2f} |"
        )


if __name__ == "__main__":
    main()
