"""Payout to validators: rewards and fees of a slot's blocks, an account each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.ledger_sim.consensus.block_times import Blocks
from gridbazaar.ledger_sim.consensus.income import per_block, shared_out
from gridbazaar.ledger_sim.consensus.protocol import Consensus
from gridbazaar.ledger_sim.random_streams import OfSlot


def slot_payout(
    consensus: Consensus[Any], seed: Tensor, slot: int, kept: Tensor, block: Tensor, blocks: Blocks
) -> tuple[Tensor | None, Tensor | None]:
    """Return coins made [B] EUR and each account's income [B, accounts] EUR; None where off.

    The accounts' sum is what is kept of the fees, and the coins made.

    Args:
        consensus: whose blocks they are.
        seed: int64 [B], the day's.
        slot: number of the slot.
        kept: [B, M] EUR of each transaction's fee that is not burned.
        block: [B, M] number of the block that it is in.
        blocks: of the slot.
    """
    income = consensus.config.income
    if income is None:
        return None, None
    count = blocks.count
    number = torch.arange(count, dtype=torch.float64, device=seed.device).expand(len(seed), -1)
    at_s = blocks.time_s(number) + slot * consensus.config.slot_s
    reward = at_s.isfinite() * income.block_reward_eur
    amount = per_block(kept, block, count) + reward
    who = consensus.proposers(seed, slot, at_s)
    voters = consensus.voter_shares(seed.device)
    return reward.sum(1), shared_out(amount, who, voters, income.to_proposer)


def market_payout(
    consensus: Consensus[Any], seed: Tensor, slot: int, kept: Tensor
) -> Tensor | None:
    """Return each account's income [B, accounts] EUR of what the market writes; None where off.

    One proposer gets it, drawn as those of blocks at the end of the slot are.

    Args:
        consensus, seed, slot: as for `slot_payout`.
        kept: [B] EUR of the fee that is not burned.
    """
    income = consensus.config.income
    if income is None:
        return None
    end_s = (slot + 1) * consensus.config.slot_s
    at_s = torch.full((len(seed), 1), end_s, dtype=torch.float64, device=seed.device)
    own = randomness.fold(seed, OfSlot.MARKET_PROPOSER)
    who = consensus.proposers(own, slot, at_s)
    voters = consensus.voter_shares(seed.device)
    return shared_out(kept.double().unsqueeze(1), who, voters, income.to_proposer)


def slot_slashed(consensus: Consensus[Any], seed: Tensor, slot: int) -> Tensor | None:
    """Return what each account's stake loses in a slot, float64 [B, accounts] EUR; None: no stakes.

    Arguments as for `slot_payout`.
    """
    slot_s = consensus.config.slot_s
    lost = consensus.slashed_eur(slot * slot_s, (slot + 1) * slot_s)
    if lost is None:
        return None
    return torch.tensor(lost, dtype=torch.float64, device=seed.device).expand(len(seed), -1)
