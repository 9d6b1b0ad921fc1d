"""Independent learners in a k-double auction of one buyer and one seller, against what is known.

`python studies/auction_learners.py` trains two small networks by policy gradients, each on its own
utility and knowing nothing of the other, through the registered `uniform_auction`, and prints what
they reach beside the linear equilibrium: buyers bid v/(1+k) + k(1-k)/(2(1+k)), sellers ask
c/(2-k) + (1-k)/2 (Chatterjee and Samuelson 1983, "Bargaining under incomplete information",
Operations Research 31(5), for values and costs that are uniform in [0, 1]).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gridbazaar.envs.build import make_market
from gridbazaar.evaluation.auction_game import (
    AuctionGame,
    LinearPrice,
    grid_of_lines,
    uniform_values,
)
from gridbazaar.evaluation.exploitability import Trial, best_deviation
from gridbazaar.evaluation.statistics import Bootstrap

_SELLS = (False, True)
_JUDGED = 8192  # auctions


class Learner(nn.Module):
    """Names a price for a value: the value itself, and what a small network adds to it."""

    def __init__(self, hidden: int = 32):
        super().__init__()
        self._net = nn.Sequential(
            nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(),
            nn.Linear(hidden, 1),
        ).double()  # fmt: skip
        last = self._net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, value: Tensor) -> Tensor:
        """Return the price for each value."""
        return value + self._net(value.unsqueeze(-1)).squeeze(-1)


class Reached(NamedTuple):
    """What a pair of learners comes to, by the means of their prices.

    Attributes:
        gains: of both together from an auction.
        trades: share of the auctions.
        exploitability: the largest gain of either by a linear rule.
        bid, ask: mean distance of their prices from the linear equilibrium's, where those trade.
        seconds: of training.
    """

    gains: float
    trades: float
    exploitability: float
    bid: float
    ask: float
    seconds: float


def linear_equilibrium(k: float) -> tuple[LinearPrice, LinearPrice]:
    """Return the buyer's and the seller's rule."""
    buys = LinearPrice(1 / (1 + k), k * (1 - k) / (2 * (1 + k)))
    return buys, LinearPrice(1 / (2 - k), (1 - k) / 2)


def learn(k: float, seed: int, steps: int = 800, auctions: int = 4096) -> Reached:
    """Train both sides at once and judge them.

    Each tries prices a little above and below its own, by chance that shrinks, sees what it gained,
    and follows the policy gradient (REINFORCE; a draw and its mirror image are each other's
    baseline).
    """
    begun = time.monotonic()
    torch.manual_seed(seed)
    market = make_market({"name": "uniform_auction", "k": k})
    learners = [Learner(), Learner()]
    game = AuctionGame(market, torch.tensor(_SELLS), learners, torch.empty(0, 2))
    optimizers = [torch.optim.Adam(learner.parameters(), lr=1e-2) for learner in learners]
    for step in range(steps):
        left = 1 - step / steps
        sigma = 0.01 + 0.07 * left
        values = torch.rand(auctions, 2, dtype=torch.float64)
        noise = torch.randn(auctions, 2, dtype=torch.float64)
        means = _prices(learners, values)
        with torch.no_grad():
            up, down = (
                game.play(values, (means + sign * sigma * noise).clamp(0, 1)) for sign in (1, -1)
            )
        score = (up - down) / (2 * sigma) * noise
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 1e-2 * left + 1e-4
            optimizer.zero_grad()
        # A side's prices are its own network's alone, so that each follows its own utility.
        (-(score * means).mean(0).sum()).backward()
        for optimizer in optimizers:
            optimizer.step()
    return judge(learners, k, time.monotonic() - begun)


@torch.no_grad()
def judge(learners: Sequence[nn.Module], k: float, seconds: float) -> Reached:
    """Return what a pair comes to on values that fill the square evenly."""
    market = make_market({"name": "uniform_auction", "k": k})
    values, numbers = uniform_values(_JUDGED, 2), torch.arange(_JUDGED)
    game = AuctionGame(market, torch.tensor(_SELLS), learners, values)
    utility, half = game.usual(numbers), _JUDGED // 2
    bootstrap = Bootstrap(half, 100, 0)
    gained = [
        best_deviation(
            game,
            [Trial((side,), rule) for rule in grid_of_lines()],
            numbers[:half],
            numbers[half:],
            bootstrap,
            screened=1024,
        ).gain.mean
        for side in (0, 1)
    ]
    buys, sells = linear_equilibrium(k)
    value = torch.linspace(0.25, 1, 76, dtype=torch.float64)  # below it, no bid ever trades
    cost = 1 - value
    return Reached(
        gains=float(utility.sum(-1).mean()),
        trades=float((utility != 0).any(-1).double().mean()),
        exploitability=max(gained),
        bid=float((learners[0](value) - buys(value)).abs().mean()),
        ask=float((learners[1](cost) - sells(cost)).abs().mean()),
        seconds=seconds,
    )


def _prices(learners: Sequence[nn.Module], values: Tensor) -> Tensor:
    pairs = zip(learners, values.unbind(-1), strict=True)
    return torch.stack([learner(value) for learner, value in pairs], -1)


def main(words: Sequence[str] | None = None) -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--k", type=float, nargs="*", default=[0.0, 0.5, 1.0])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(words)
    head = ("k", "seed", "gains, of the equilibrium's", "auctions that trade", "exploitability")
    further = ("bids from the equilibrium's", "asks", "seconds")
    print(f"| {' | '.join((*head, *further))} |", "|---" * 8 + "|", sep="\n")
    for k in given.k:
        known = 9 / 64 if k == 0.5 else 1 / 8
        for seed in range(given.seeds):
            r = learn(k, seed)
            print(
                f"| {k:g} | {seed} | {r.gains:.4f} ({100 * r.gains / known:.1f} %) | "
                f"{100 * r.trades:.1f} % | {r.exploitability:.4f} | {r.bid:.3f} | {r.ask:.3f} | "
                f"{r.seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
