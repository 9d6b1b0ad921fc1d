"""What every bidder is, classic or learned: a function from observations to actions."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from gridbazaar.config import Config
from gridbazaar.configs import option
from gridbazaar.envs.config import RulesConfig
from gridbazaar.registry import Registry

QUARTER_HOUR = 0.25


class BidderConfig(Config):
    """Parameters of a bidder; one with parameters of its own subclasses this."""

    name: str


class Bidder(Protocol):
    """Decides for all seats of all markets at once; keeps nothing but the state it returns."""

    def act(self, observation: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Decide one interval.

        Args:
            observation: [B, N, SIZE], see gridbazaar.envs.observation.
            state: None in a day's first interval, then what the last call returned.

        Returns:
            action [B, N, 3] in [-1, 1], and the state for the next call.
        """
        ...


BIDDERS: Registry[type[Any]] = Registry("bidder", "gridbazaar.agents.bidders")


def make_classic(
    name: str,
    rules: RulesConfig,
    parameters: dict[str, Any] | None = None,
    slot_h: float = QUARTER_HOUR,
) -> Bidder:
    """Build a registered bidder with the parameters of configs/bidder/<name>.yaml.

    Args:
        name: as registered; an unknown one raises UnknownNameError with the nearest.
        rules: of the game, which everybody knows.
        parameters: replace single parameters.
        slot_h: length of an interval in hours, `simulation.community.slot_h`.
    """
    kind: Any = BIDDERS[name]
    values = {**option("bidder", name), **(parameters or {})}
    bidder: Bidder = kind(BIDDERS.configure(values, f"bidder.{name}"), rules, slot_h)
    return bidder
