"""Bidder by name or folder: a registered strategy, or what a training run left behind."""

from __future__ import annotations

from pathlib import Path

import torch

from gridbazaar.agents.bidders import BIDDERS, Bidder, make
from gridbazaar.envs.game import Game


def load(name: str, game: Game, device: torch.device | str = "cpu") -> Bidder:
    """Return a registered bidder, or the learned one of a run's or checkpoint's folder.

    Args:
        name: of a bidder, or a folder such as runs/demo.
        game: what everybody knows, `simulation.game`.
        device: where a learned bidder's networks live: that of the observations to come. The
            others follow the observations by themselves.

    Raises:
        UnknownNameError: neither a bidder nor a folder is called so; gives the nearest.
        CheckpointError: the folder holds nothing that can be loaded.
    """
    if name in BIDDERS.names() or not Path(name).is_dir():
        return make(name, game)
    # RLlib takes seconds to import: not where only classic bidders play.
    from gridbazaar.agents.learning.bidder import LearnedBidder

    return LearnedBidder.load(name, game, device)
