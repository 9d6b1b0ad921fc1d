"""Bidders: one classic strategy a file, and the learned ones from a run's folder."""

from __future__ import annotations

from pathlib import Path

from agents.bidders import stand_alone, tariff_rule, truthful, zero_intelligence, zip
from agents.bidders.base import BIDDERS, Bidder, BidderConfig, make_classic
from envs.config import RulesConfig

__all__ = [
    "BIDDERS",
    "Bidder",
    "BidderConfig",
    "make",
    "stand_alone",
    "tariff_rule",
    "truthful",
    "zero_intelligence",
    "zip",
]


def make(name: str, rules: RulesConfig) -> Bidder:
    """Return a registered bidder, or the learned one of the run or checkpoint folder `name`."""
    if name in BIDDERS.names() or not Path(name).is_dir():
        return make_classic(name, rules)
    from agents.learning.bidder import LearnedBidder  # ray is heavy, classic bidders need none

    return LearnedBidder.load(Path(name))
