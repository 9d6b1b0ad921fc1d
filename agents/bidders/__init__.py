"""Bidders: one classic strategy a file, and the learned ones from a run's folder."""

from __future__ import annotations

from pathlib import Path

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
    """Return a registered bidder, or the learned one of the run or checkpoint folder `name`.

    `slot_h` is the length of an interval in hours, `simulation.community.slot_h`.
    """
    if name in BIDDERS or not Path(name).is_dir():
        return make_classic(name, rules, slot_h=slot_h)
    from gridbazaar.agents.learning.bidder import LearnedBidder

    return LearnedBidder.load(Path(name))
