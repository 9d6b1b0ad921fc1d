"""Proof of authority: known signers in turn, as in Ethereum's Clique."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.config import NonNegative
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus, Health, Tolerance
from gridbazaar.ledger_sim.consensus.rotation import clock, missed
from gridbazaar.ledger_sim.random_streams import OfSlot
from gridbazaar.ledger_sim.registry import LEDGERS


class ProofOfAuthorityConfig(ChainConfig):
    """Parameters of proof of authority; the validators are the signers."""

    wiggle_s: NonNegative = Field(
        description="per signer, up to which a block out of turn waits",
        json_schema_extra={"unit": "s"},
    )


@LEDGERS.register("proof_of_authority")
class ProofOfAuthority(Consensus[ProofOfAuthorityConfig]):
    """Known signers sign in turn by the clock; final once a majority has signed on top

    Clique (EIP-225): a signer signs one of any floor(n/2) + 1 blocks in a row. Where the one in
    turn is away, the others that may sign wait for a random time up to n x wiggle_s each, and the
    first of them makes the block; the clock goes on from the time that it was due.
    """

    Config = ProofOfAuthorityConfig

    permission = "both"
    decentralisation = "low"

    @property
    def commit_s(self) -> float:
        """Return the delay until the others have a block."""
        return self.config.network.delay_s()

    @property
    def majority(self) -> int:
        """Signers without whom there is no block: floor(n/2) + 1."""
        return self.config.validators // 2 + 1

    def draw_times(self, seed: Tensor, slot: int) -> Tensor | None:
        """Delay the blocks of those who are away, across the slot's edge where it comes to that."""
        if not self.config.faults:
            return None
        slot_s = self.config.slot_s
        times = self._delayed(seed, slot)
        if slot:
            times = torch.cat([self._delayed(seed, slot - 1) - slot_s, times], dim=1)
        return times.masked_fill((times <= 0) | (times > slot_s), torch.inf)

    def _delayed(self, seed: Tensor, slot: int) -> Tensor:
        """Return when the blocks due in a slot come, float64 [B, K], s since the slot's start."""
        config, n = self.config, self.config.validators
        number = clock(slot, config.slot_s, self.interval_s, seed.device)
        due_s = (number + 1).double() * self.interval_s
        gone = missed(seed, config.faults, n, due_s, number % n)
        draw = randomness.uniform(
            randomness.fold(seed, slot), OfSlot.CONSENSUS, number.shape, torch.float64
        )
        # The first of m uniform times; m signers are there and have not signed lately.
        may_sign = torch.full_like(due_s, float(n))
        for event in config.faults:
            during = (due_s >= event.from_s) & (due_s < event.to_s)
            left = n - event.crashed - event.cut_off - (self.majority - 1)
            may_sign = torch.where(during, may_sign.clamp(max=max(left, 1)), may_sign)
        wait_s = n * config.wiggle_s * (1 - draw ** (1 / may_sign))
        return due_s - slot * config.slot_s + wait_s * gone

    @property
    def confirmations(self) -> int:
        """As many as a majority."""
        return self.majority

    @property
    def tolerance(self) -> Tolerance:
        """Less than half."""
        f = self.config.validators - self.majority
        return Tolerance(
            f, f, "without a majority of signers there is no block; lying ones rewrite the chain"
        )

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Halt without a majority; unsafe under one of liars."""
        there = self.config.validators - crashed - cut_off >= self.majority
        return Health(block_share=float(there), final=there, safe=lying <= self.tolerance.lying)

    @property
    def block_messages(self) -> float:
        """A block goes to all other signers."""
        return self.config.validators - 1.0
