"""A market, bidder, ledger, layer, device, algorithm and key figure of a package none of ours."""

from pathlib import Path

from toy_bazaar import ledger, reinforce, tank, trade

CONFIGS = Path(__file__).parent / "yaml"

__all__ = ["CONFIGS", "ledger", "reinforce", "tank", "trade"]
