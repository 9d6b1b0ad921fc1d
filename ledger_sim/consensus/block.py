"""Plain chain: a block every few seconds, room for so many transactions, and a flat fee."""

from __future__ import annotations

from pydantic import Field

from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus, Health, Tolerance
from gridbazaar.ledger_sim.registry import LEDGERS


class BlockConfig(ChainConfig):
    """Parameters of the block ledger; values and their sources are in configs/ledger/block.yaml."""

    confirmations: int = Field(
        ge=0,
        description="blocks that must follow a block to make it final",
        json_schema_extra={"unit": "blocks"},
    )
    reorganisation_probability: float = Field(
        ge=0,
        le=1,
        description="per slot, that its settlement is reorganised away",
        json_schema_extra={"unit": "1"},
    )


@LEDGERS.register("block")
class Block(Consensus[BlockConfig]):
    """Blocks at a fixed interval with limited room, a flat fee, and finality some blocks later"""

    Config = BlockConfig

    @property
    def confirmations(self) -> int:
        """As configured."""
        return self.config.confirmations

    @property
    def reversal_probability(self) -> float:
        """As configured."""
        return self.config.reorganisation_probability

    @property
    def tolerance(self) -> Tolerance:
        """Who orders the blocks is left open: all but one may be silent, nobody may lie."""
        return Tolerance(self.config.validators - 1, 0, "without a validator there is no block")

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Go on while one validator is left."""
        left = self.config.validators - crashed - cut_off
        return Health(block_share=float(left > 0), final=left > 0, safe=lying == 0)

    @property
    def block_messages(self) -> float:
        """A block goes to all others."""
        return self.config.validators - 1.0
