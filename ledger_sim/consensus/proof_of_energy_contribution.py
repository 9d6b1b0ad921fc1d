"""Proof of energy contribution: proof of work that is easier for those who feed in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gridbazaar.ledger_sim.consensus.proof_of_work import ProofOfWork, ProofOfWorkConfig
from gridbazaar.ledger_sim.registry import consensus


class ProofOfEnergyContributionConfig(ProofOfWorkConfig):
    """Parameters of proof of energy contribution."""

    contributed_share: float = Field(
        ge=0,
        le=1,
        description="of the validators' demand, that they feed in themselves, by their meters",
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


@consensus("proof_of_energy_contribution", ProofOfEnergyContributionConfig)
class ProofOfEnergyContribution(ProofOfWork):
    """Proof of work whose difficulty falls with the energy that the validators feed in

    The hybrid with proof of work (Kang et al., "Enabling localized peer-to-peer electricity trading
    among plug-in hybrid electric vehicles using consortium blockchains", IEEE Trans. Ind.
    Informatics 2017): local aggregators work on puzzles, and metered energy is a proof as well.
    How much it counts for is open there; here the work per block is multiplied by
    1 - relief x contributed_share.
    """

    permission = "permissioned"
    decentralisation = "medium"

    def __init__(self, config: ProofOfEnergyContributionConfig) -> None:
        self.work = 1 - config.relief * config.contributed_share
        scaled = "node_power_w" if config.saves == "energy" else "interval_s"
        left = getattr(config, scaled) * self.work
        # No relief once more where a consensus is made of this configuration again.
        super().__init__(config.model_copy(update={scaled: left, "relief": 0.0}))
