"""Bidder by name, folder or population: a strategy, what a training left behind, or a mix."""

from __future__ import annotations

import torch

from gridbazaar.agents import shelf
from gridbazaar.agents.bidders import BIDDERS, Bidder, make
from gridbazaar.agents.bidders.mixed import MixedBidder
from gridbazaar.agents.population import is_population, parse
from gridbazaar.envs.game import Game


def load(name: str, game: Game, device: torch.device | str = "cpu") -> Bidder:
    """Return a registered bidder, the learned one of a run's or checkpoint's folder, or a mix.

    Args:
        name: of a bidder, of a trained one that ships with the package (`learned`), a folder
            such as runs/demo, or a population in words. What learned for some seats alone need
            not know the others.
        game: what everybody knows, `simulation.game`.
        device: where a learned bidder's networks live: that of the observations to come. The
            others follow the observations by themselves.

    Raises:
        UnknownNameError: neither a bidder nor a folder, or no seat or role, is called so; gives
            the nearest.
        CheckpointError: the folder holds nothing that can be loaded.
    """
    if is_population(name):
        return _mixed(name, game, device)
    folder = shelf.place(name)
    if name in BIDDERS.names() or not folder.is_dir():
        return make(name, game)
    # RLlib takes seconds to import: not where only classic bidders play.
    from gridbazaar.agents.learning.bidder import LearnedBidder

    return LearnedBidder.load(folder, game, device)


def _mixed(words: str, game: Game, device: torch.device | str) -> Bidder:
    population = parse(words)
    of_seat = population.assign(game.seats)
    names = list(dict.fromkeys(of_seat))
    choice = torch.tensor([names.index(name) for name in of_seat])
    bidders = [
        load(name, game.of_seats((choice == number).nonzero().flatten().tolist()), device)
        for number, name in enumerate(names)
    ]
    return MixedBidder(bidders, choice)
