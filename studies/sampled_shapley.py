"""Error of the sampled Shapley value: the standard error that it states, and the error found.

    python studies/sampled_shapley.py

Random books, every seat in the market, float64. Errors are root mean squares over the players of a
market, as a share of their mean value; the median market counts. The error found is against 64
times as many orders of joining with another seed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.markets import Orders
from gridbazaar.envs.markets.games.coalitions import Players, players, traded
from gridbazaar.envs.markets.games.shapley import ShapleyConfig, shapley_value

MORE = 64


@dataclass(frozen=True)
class Row:
    """The errors at one number of seats, as shares of the mean value of a player."""

    seats: int
    players: float
    orders_of_joining: int
    stated: float
    found: float


def game(markets: int, seats: int) -> Players:
    """Return games of random books; limits uniform between the grid's prices, 0.08 and 0.34."""
    draw = torch.Generator().manual_seed(seats)
    quantity, limit = torch.rand((2, markets, seats), generator=draw, dtype=torch.float64)
    orders = Orders(quantity * 10 - 5, 0.08 + 0.26 * limit, torch.zeros_like(limit))
    return players(traded(orders), orders.limit_price)


def share(error: Tensor, value: Tensor, count: Tensor) -> float:
    """Return the median over markets of an error [B, K] over the mean of the values [B, K]."""
    # Players beyond the count have neither value nor error.
    size = (error.square().sum(-1) / count).sqrt()
    return float((size / (value.sum(-1) / count)).median())


def measure(config: ShapleyConfig, markets: int, seats: int) -> Row:
    """Sample the same games twice, with the configured draws and with many more."""
    all_sampled = config.model_copy(update={"exact_players": 1})
    better = all_sampled.model_copy(
        update={"samples": MORE * config.samples, "seed": config.seed + 1}
    )
    games = game(markets, seats)
    value, error = shapley_value(games, all_sampled)
    reference, _ = shapley_value(games, better)
    return Row(
        seats=seats,
        players=float(games.count.double().mean()),
        orders_of_joining=config.samples,
        stated=share(error, reference, games.count),
        found=share(value - reference, reference, games.count),
    )


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--markets", type=int, default=16, help="games of each size")
    parser.add_argument("--seats", type=int, nargs="+", default=[41, 100])
    options = parser.parse_args()
    config = validate(ShapleyConfig, option("market", "shapley"))
    rows = [measure(config, options.markets, seats) for seats in options.seats]
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows]}, indent=2))
        return
    print("| seats | players | orders of joining | standard error stated | error found |")
    print("|---|---|---|---|---|")
    for row in rows:
        errors = f"{row.stated:.1%} | {row.found:.1%}"
        print(f"| {row.seats} | {row.players:.0f} | {row.orders_of_joining} | {errors} |")


if __name__ == "__main__":
    main()
