"""Bidders: one classic strategy a file, and the learned ones from a run's folder."""

from __future__ import annotations

from pathlib import Path

from agents.bidders import (
    adaptive_aggressive,
    best_response,
    fixed_margin,
    gjerstad_dickhaut,
    mpc,
    stand_alone,
    tariff_rule,
    truthful,
    zero_intelligence,
    zero_intelligence_unconstrained,
    zip,
)
from agents.bidders.base import BIDDERS, QUARTER_HOUR, Bidder, BidderConfig, make_classic
from envs.config import RulesConfig

__all__ = [
    "BIDDERS",
    "Bidder",
    "BidderConfig",
    "adaptive_aggressive",
    "best_response",
    "fixed_margin",
    "gjerstad_dickhaut",
    "make",
    "mpc",
    "stand_alone",
    "tariff_rule",
    "truthful",
    "zero_intelligence",
    "zero_intelligence_unconstrained",
    "zip",
]


def make(name: str, rules: RulesConfig, slot_h: float = QUARTER_HOUR) -> Bidder:
    """Return a registered bidder, or the learned one of the run or checkpoint folder `name`.

    `slot_h` is the length of an interval in hours, `simulation.community.slot_h`.
    """
    if name in BIDDERS.names() or not Path(name).is_dir():
        return make_classic(name, rules, slot_h=slot_h)
    from agents.learning.bidder import LearnedBidder  # ray is heavy, classic bidders need none

    return LearnedBidder.load(Path(name))
