"""Classic bidders, one strategy a file."""

from __future__ import annotations

from gridbazaar.agents.bidders.protocol import BIDDERS, Bidder, BidderConfig, make

__all__ = ["BIDDERS", "Bidder", "BidderConfig", "make"]
