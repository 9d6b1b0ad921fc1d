"""Bidder protocol, classic or learned: a function from observations to actions."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import Field
from torch import Tensor

from gridbazaar.config import Config
from gridbazaar.configs import option
from gridbazaar.envs.game import Game
from gridbazaar.registry import Registry


class BidderConfig(Config):
    """Parameters of a bidder; one with parameters of its own subclasses this."""

    name: str = Field(description="registered bidder")


class Bidder(Protocol):
    """Decides for all seats of all markets at once; keeps nothing but the state it returns."""

    def act(self, observation: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Decide one interval.

        Args:
            observation: [B, N, layout.size], see gridbazaar.envs.observation.
            state: None in a day's first interval, then what the last call returned.

        Returns:
            action [B, N, 3 + 3 K] in [-1, 1], and the state for the next call.
        """
        ...


BIDDERS: Registry[type[Any]] = Registry("bidder", "gridbazaar.agents.bidders")


def make(name: str, game: Game, parameters: dict[str, Any] | None = None) -> Bidder:
    """Build a registered bidder with the parameters of configs/bidder/<name>.yaml.

    `gridbazaar.agents.load` also knows learned ones.

    Args:
        name: as registered; an unknown one raises UnknownNameError with the nearest.
        game: what everybody knows, `simulation.game`.
        parameters: replace single parameters.
    """
    kind: Any = BIDDERS[name]
    values = {**option("bidder", name), **(parameters or {})}
    bidder: Bidder = kind(BIDDERS.configure(values, f"bidder.{name}"), game)
    return bidder
