"""Income of validators: a reward for every block, and who gets the fees in it."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Config, NonNegative, Share

MOST_ACCOUNTS = 10_000


class IncomeConfig(Config):
    """Parameters of validators' income."""

    block_reward_eur: NonNegative = Field(
        default=0.0,
        description="worth of the coins made with a block",
        json_schema_extra={"unit": "EUR"},
    )
    to_proposer: Share = Field(
        default=1.0,
        description="of a block's reward and fees, that its proposer gets; the rest goes to all "
        "who vote, by stake",
        json_schema_extra={"unit": "1"},
    )


def check_accounts(count: int, of: str = "validators") -> None:
    """Raise `ValueError` where there are too many for an account each in every environment."""
    if count > MOST_ACCOUNTS:
        raise ValueError(
            f"{of} is {count:,}: stakes and income have an account for each, and room "
            f"for {MOST_ACCOUNTS:,}; lower it, or leave stake, income and election null"
        )


def per_block(amount: Tensor, block: Tensor, blocks: int) -> Tensor:
    """Add up [B, M] by the block, [B, M] numbers, that each is in; [B, blocks].

    What is in no block counts nowhere.
    """
    inside = (block >= 0) & (block < blocks)
    index = torch.where(inside, block, blocks).clamp(max=blocks).long()
    sums = amount.new_zeros(len(amount), blocks + 1, dtype=torch.float64)
    return sums.scatter_add_(1, index, amount.double())[:, :blocks]


def shared_out(
    amount: Tensor, proposer: Tensor, voter_shares: Tensor, to_proposer: float
) -> Tensor:
    """Return what each account gets of blocks' rewards and fees, float64 [B, accounts].

    Args:
        amount: float64 [B, K] EUR, of each block.
        proposer: int64 [B, K] or [1, K].
        voter_shares: float64 [accounts], of what goes to all; they add up to 1.
        to_proposer: share of each block's amount that goes to its proposer.
    """
    got = amount.new_zeros(len(amount), len(voter_shares))
    got.scatter_add_(1, proposer.expand(len(amount), -1), amount * to_proposer)
    return got + (amount * (1 - to_proposer)).sum(1, keepdim=True) * voter_shares
