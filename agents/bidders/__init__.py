"""Classic bidders, one strategy a file; importing this package registers them all."""

from __future__ import annotations

from gridbazaar.agents.bidders.protocol import (
    BIDDERS,
    QUARTER_HOUR,
    Bidder,
    BidderConfig,
    make_classic,
)
from gridbazaar.envs.config import RulesConfig

__all__ = ["BIDDERS", "QUARTER_HOUR", "Bidder", "BidderConfig", "make", "make_classic"]


def make(name: str, rules: RulesConfig, slot_h: float = QUARTER_HOUR) -> Bidder:
    """Return a registered bidder; `gridbazaar.agents.load` also knows learned ones.

    `slot_h` is the length of an interval in hours, `simulation.community.slot_h`.
    """
    return make_classic(name, rules, slot_h=slot_h)
