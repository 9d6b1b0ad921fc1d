"""Proof of energy contribution: proof of work, easier by a configured share of feed-in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gridbazaar.ledger_sim.consensus.proof_of_work import ProofOfWork, ProofOfWorkConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class ProofOfEnergyContributionConfig(ProofOfWorkConfig):
    """Parameters of proof of energy contribution."""

    contributed_share: float = Field(
        ge=0,
        le=1,
        description="of the validators' demand, that they are taken to feed in themselves",
        json_schema_extra={"unit": "1"},
    )
    relief: float = Field(
        ge=0,
        lt=1,
        description="by what part the puzzle is easier where all of it is contributed",
        json_schema_extra={"unit": "1"},
    )
    saves: Literal["energy", "time"] = Field(
        description="energy: miners compute less for the same interval; time: blocks come sooner"
    )


@LEDGERS.register("proof_of_energy_contribution")
class ProofOfEnergyContribution(ProofOfWork[ProofOfEnergyContributionConfig]):
    """Proof of work, easier by a configured share of energy fed in; no meter moves it

    The hybrid with proof of work (Kang et al., "Enabling localized peer-to-peer electricity trading
    among plug-in hybrid electric vehicles using consortium blockchains", IEEE Trans. Ind.
    Informatics 2017): local aggregators work on puzzles, and metered energy is a proof as well.
    How much it counts for is open there; here the work per block is multiplied by
    1 - relief x contributed_share, both configured: what this market's seats feed in changes
    nothing, and nobody is awarded for the largest contribution.
    """

    Config = ProofOfEnergyContributionConfig

    permission = "permissioned"
    decentralisation = "medium"

    @property
    def work(self) -> float:
        """Work per block, as a share of what it takes where nothing is contributed."""
        return 1 - self.config.relief * self.config.contributed_share

    @property
    def node_power_w(self) -> float:
        """Of one validator: less where the relief saves energy."""
        power_w = super().node_power_w
        return power_w * self.work if self.config.saves == "energy" else power_w

    @property
    def aim_s(self) -> float:
        """Seconds between blocks: fewer where the relief saves time."""
        aim_s = super().aim_s
        return aim_s * self.work if self.config.saves == "time" else aim_s
