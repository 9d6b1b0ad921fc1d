"""Delegated proof of stake: a few producers in turn, elected by stake, as in EOS."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.ledger_sim.consensus.election import Elected, ElectedConfig
from gridbazaar.ledger_sim.consensus.protocol import Health, Tolerance
from gridbazaar.ledger_sim.consensus.rotation import clock, missed
from gridbazaar.ledger_sim.registry import LEDGERS


class DelegatedProofOfStakeConfig(ElectedConfig):
    """Parameters of delegated proof of stake; the validators are the elected producers."""

    turn_blocks: int = Field(
        ge=1,
        description="blocks that a producer makes one after the other",
        json_schema_extra={"unit": "blocks"},
    )
    confirmations: int = Field(
        ge=0,
        description="blocks that must follow a block to make it irreversible",
        json_schema_extra={"unit": "blocks"},
    )


@LEDGERS.register("delegated_proof_of_stake")
class DelegatedProofOfStake(Elected[DelegatedProofOfStakeConfig]):
    """Producers make several blocks each in turn; irreversible after two rounds of votes

    A producer that is away misses all blocks of its turn. Without more than two thirds of the
    producers nothing becomes irreversible (EOSIO, "DPOS BFT - Pipelined Byzantine Fault Tolerance",
    2018; before the finality gadget of Antelope 1.0). Where `election` is given, holders' stakes
    elect the producers, and one that misses its turns loses votes and seat to the next candidate;
    else they are given, and stay.
    """

    Config = DelegatedProofOfStakeConfig

    minimum_validators = 4
    permission = "both"
    decentralisation = "medium"

    @property
    def commit_s(self) -> float:
        """Return the delay until the others have a block."""
        return self.config.network.delay_s()

    def draw_times(self, seed: Tensor, slot: int) -> Tensor | None:
        """Leave out the turns of those who are away."""
        config = self.config
        if not config.faults:
            return None
        number = clock(slot, config.slot_s, self.interval_s, seed.device)
        due_s = (number + 1).double() * self.interval_s
        if self.turnover is not None:
            gone = self.absent(due_s.unsqueeze(0))
        else:
            turn = number // config.turn_blocks % config.validators
            gone = missed(seed, config.faults, config.validators, due_s, turn)
        return (due_s - slot * config.slot_s).expand(gone.shape).masked_fill(gone, torch.inf)

    @property
    def turn_blocks(self) -> int:
        """As configured."""
        return self.config.turn_blocks

    @property
    def confirmations(self) -> int:
        """As configured."""
        return self.config.confirmations

    @property
    def quorum(self) -> int:
        """Producers that make a block irreversible: two thirds and one."""
        return 2 * self.config.validators // 3 + 1

    @property
    def tolerance(self) -> Tolerance:
        """Less than a third."""
        f = self.config.validators - self.quorum
        return Tolerance(
            f, f, "more away: blocks go on, none is irreversible; more liars can revert blocks"
        )

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Irreversible with a quorum; the smaller side's blocks are lost.

        Missed turns are left out of `draw_times` already, and not of `block_share` once more.
        """
        n = self.config.validators
        present = n - crashed - cut_off
        return Health(
            block_share=float(present > 0),
            final=present - lying >= self.quorum,
            safe=lying <= self.tolerance.lying and 2 * cut_off < n,
        )

    @property
    def block_messages(self) -> float:
        """A block goes to all other producers; votes stand in its header."""
        return self.config.validators - 1.0
