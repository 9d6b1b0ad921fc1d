"""Accounts of validators and members: whose each block is, who shares in it, what faults cost."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.ledger_sim.consensus.faults import FaultEvent
from gridbazaar.ledger_sim.random_streams import OfSlot


class ValidatorAccounts:
    """What a consensus says of single validators; by default they are all alike, and hold nothing.

    Attributes:
        config: the consensus's.
    """

    config: Any

    @property
    def faults(self) -> list[FaultEvent]:
        """Faults as they are felt, by time: without those whom the others have put out."""
        return sorted(self.config.faults, key=lambda event: event.from_s)

    @property
    def accounts(self) -> int:
        """Number of accounts that rewards may go to: validators, or candidates where more stand."""
        return self.config.validators

    def proposers(self, seed: Tensor, slot: int, at_s: Tensor) -> Tensor:
        """Return whose each block of a slot is, int64 [B, K] or [1, K]; by default, drawn alike.

        Args:
            seed: int64 [B], the day's.
            slot: number of the slot.
            at_s: float64 [B, K], blocks' times since the day's start; inf where there is none.
        """
        draw = randomness.uniform(
            randomness.fold(seed, slot), OfSlot.PROPOSER, at_s.shape[1:], torch.float64
        )
        return (draw * self.accounts).long()

    def voter_shares(self, device: torch.device) -> Tensor:
        """Return each account's part of what is shared out among all, float64 [accounts]."""
        n = self.config.validators
        share = torch.zeros(self.accounts, dtype=torch.float64, device=device)
        share[:n] = 1 / n
        return share

    def first_contribution(self, seed: Tensor) -> Tensor | None:
        """Return what `contribution` starts the day with; None where no meter counts."""
        return None

    def contribution(self, before: Tensor | None, metered_kwh: Tensor | None) -> Tensor | None:
        """Return the share of demand [B] that accounts feed in, after another interval's meters.

        Args:
            before: the same after the interval before.
            metered_kwh: [B, N], fed in (positive) or taken by each account.
        """
        return before

    def work_left(self, contribution: Tensor | None) -> Tensor | float:
        """Return by what validators' energy is multiplied, [B] or one for all."""
        return 1.0

    def award_eur(self, metered_kwh: Tensor) -> Tensor | None:
        """Return what each account is awarded for an interval's energy, [B, N]; None: nothing."""
        return None

    def slashed_eur(self, from_s: float, to_s: float) -> list[float] | None:
        """Return what each account's stake loses by faults that begin then; None: no stakes."""
        return None
