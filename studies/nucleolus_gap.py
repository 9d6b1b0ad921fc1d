"""Nucleolus on the default task's own books: how many markets are exact, the gap, and the time.

    python studies/nucleolus_gap.py

Test days of the default task under a classic bidder each; every interval's book with a gain from
trade is shared out once more. The gap is `nucleolus_shares`' bound over the worth of all.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass

import torch

from gridbazaar import envs
from gridbazaar.agents.bidders import make
from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.markets import Orders
from gridbazaar.envs.markets.games.coalitions import players
from gridbazaar.envs.markets.games.nucleolus import NucleolusConfig, nucleolus_shares

BIDDERS = ("truthful", "own_use", "zero_intelligence")


@dataclass(frozen=True)
class Row:
    """What one bidder's books cost and came to."""

    bidder: str
    books: int
    exact: float
    largest_gap: float
    seconds_a_day: float


def books(bidder: str, days: int) -> list[Orders]:
    """Return the books of so many test days, a batch for each interval."""
    simulation = envs.batched(num_envs=days, split="test", seed=0)
    of_split = simulation.community.days["test"]
    plays, state = make(bidder, simulation.game), None
    seen, found = simulation.reset(of_split[torch.arange(days) * len(of_split) // days], 0), []
    for _ in range(simulation.slots):
        action, state = plays.act(seen, state)
        interval = simulation.step(action)
        found.append(interval.orders)
        seen = interval.observation
    return found


@torch.no_grad()
def measure(bidder: str, days: int, config: NucleolusConfig) -> Row:
    """Share out every book of the bidder's days."""
    of_slots = books(bidder, days)
    quantity, limit = (
        torch.cat([getattr(one, field) for one in of_slots])
        for field in ("quantity_kw", "limit_price")
    )
    game = players(quantity, limit, of_slots[0].shared)
    game = game.of((game.count > 0).nonzero().squeeze(-1))
    begun = time.perf_counter()
    shares = nucleolus_shares(game, config)
    seconds = time.perf_counter() - begun
    gap = shares.gap / game.gain.sum(-2).amin(-1)
    exact = (shares.found & (gap == 0)).double().mean()
    return Row(bidder, len(gap), float(exact), float(gap.max()), seconds / days)


def main() -> None:
    """Print a row for each bidder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--bidders", nargs="+", default=BIDDERS)
    parser.add_argument("--proven-players", type=int, default=18)
    chosen = parser.parse_args()
    values = {**option("market", "nucleolus"), "proven_players": chosen.proven_players}
    config = validate(NucleolusConfig, values)
    for bidder in chosen.bidders:
        print(json.dumps(asdict(measure(bidder, chosen.days, config))))


if __name__ == "__main__":
    main()
