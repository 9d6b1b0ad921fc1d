"""Proof of stake with finality by epochs, as in Ethereum."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.ledger_sim.consensus.block_times import EDGE
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus, Health, Tolerance
from gridbazaar.ledger_sim.consensus.rotation import clock
from gridbazaar.ledger_sim.random_streams import OfSlot
from gridbazaar.ledger_sim.registry import LEDGERS

# The checkpoint after an epoch is justified at the end of the next, and final at that of the third.
_EPOCHS_TO_FINALITY = 3


class ProofOfStakeConfig(ChainConfig):
    """Parameters of proof of stake; validators hold equal stakes."""

    epoch_slots: int = Field(
        ge=1, description="slots, of one interval each, per epoch", json_schema_extra={"unit": "1"}
    )
    missed_share: float = Field(
        ge=0,
        lt=1,
        description="of slots without a block, although all is well",
        json_schema_extra={"unit": "1"},
    )


@LEDGERS.register("proof_of_stake")
class ProofOfStake(Consensus[ProofOfStakeConfig]):
    """A slot every few seconds, final two epochs after its own by votes of two thirds of the stake

    A block in epoch e is final when the votes of epochs e + 1 and e + 2 are in (Ethereum, consensus
    specifications, phase 0: Casper FFG). A proposer that is not there leaves its slot empty. With
    more than a third of the stake away, blocks go on, but nothing becomes final until enough are
    back; the leak of the absent stake's balances, which takes days, is left out.
    """

    Config = ProofOfStakeConfig

    permission = "both"
    decentralisation = "medium"

    @property
    def commit_s(self) -> float:
        """Return the delay until the others have a block."""
        return self.config.network.delay_s()

    def wait_s(self, late_share: float) -> float:
        """Return so many slots that at most `late_share` of them are all empty."""
        missed = self.config.missed_share
        slots = math.ceil(math.log(late_share) / math.log(missed)) if missed else 1
        return max(slots, 1) * self.interval_s

    def draw_times(self, seed: Tensor, slot: int) -> Tensor | None:
        """Leave some slots empty."""
        config = self.config
        if not config.missed_share:
            return None
        number = clock(slot, config.slot_s, self.interval_s, seed.device)
        due_s = (number + 1) * self.interval_s - slot * config.slot_s
        draw = randomness.uniform(
            randomness.fold(seed, slot), OfSlot.CONSENSUS, number.shape, torch.float64
        )
        return due_s.double().masked_fill(draw < config.missed_share, torch.inf)

    def final_s(self, block_s: Tensor) -> Tensor:
        """Return the end of the second epoch after the block's."""
        epoch_s = self.config.epoch_slots * self.interval_s
        return ((block_s / epoch_s + EDGE).floor() + _EPOCHS_TO_FINALITY) * epoch_s

    @property
    def tolerance(self) -> Tolerance:
        """A third may be away; less than a third may lie."""
        n = self.config.validators
        return Tolerance(
            n // 3,
            (n - 1) // 3,
            "more away: blocks go on, none is final; more liars can make two conflicting blocks "
            "final (what that costs their stake is left out)",
        )

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Leave slots empty; final with two thirds; the smaller side's blocks are lost."""
        n = self.config.validators
        present = max(n - crashed - cut_off, 0)
        return Health(
            block_share=present / n,
            final=3 * (present - lying) >= 2 * n,
            safe=3 * lying < n and 2 * cut_off < n,
        )

    @property
    def block_messages(self) -> float:
        """A block goes to all others; an epoch's share of the validators votes in each slot."""
        n = self.config.validators
        return n - 1 + n / self.config.epoch_slots
