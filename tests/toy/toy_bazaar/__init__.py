"""A market, bidder, ledger, layer, coin, device, algorithm and key figure of another package."""

from pathlib import Path

from toy_bazaar import coin, ledger, reinforce, tank, trade

CONFIGS = Path(__file__).parent / "yaml"

__all__ = ["CONFIGS", "coin", "ledger", "reinforce", "tank", "trade"]
