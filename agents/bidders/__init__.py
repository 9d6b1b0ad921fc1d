"""Bidders: one classic strategy a file, and the learned ones from a run's folder."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from gridbazaar.agents.bidders.protocol import BIDDERS, Bidder, BidderConfig, make_classic
from gridbazaar.envs.game import Game

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["BIDDERS", "Bidder", "BidderConfig", "make", "make_classic"]


def make(name: str, game: Game) -> Bidder:
    """Return a registered bidder, or the learned one of the run or checkpoint folder `name`.

    `game` is what everybody knows, `simulation.game`.
    """
    if name in BIDDERS.names() or not Path(name).is_dir():
        return make_classic(name, game)
    from gridbazaar.agents.learning.bidder import LearnedBidder

    return LearnedBidder.load(Path(name))
