"""Proof of energy contribution: proof of work, the easier the more energy members feed in."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from gridbazaar.config import Count, Money
from gridbazaar.ledger_sim.consensus.proof_of_work import ProofOfWork, ProofOfWorkConfig
from gridbazaar.ledger_sim.registry import LEDGERS

_LEAST_KWH = 1e-9


class ProofOfEnergyContributionConfig(ProofOfWorkConfig):
    """Parameters of proof of energy contribution."""

    contributed_share: float = Field(
        ge=0,
        le=1,
        description="of demand, that is taken to be fed in: all day, or until meters were read",
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
    contribution: Literal["constant", "metered"] = Field(
        default="constant",
        description="constant: as configured; metered: what this market's accounts feed in over "
        "what they take",
    )
    meter_intervals: Count = Field(
        default=4, description="of readings, over which the metered share is smoothed"
    )
    award_eur: Money = Field(
        default=0.0,
        description="worth of the coins made for whoever fed in most in an interval",
        json_schema_extra={"unit": "EUR"},
    )

    @model_validator(mode="after")
    def _times_are_fixed(self) -> ProofOfEnergyContributionConfig:
        if self.contribution == "metered" and self.saves == "time":
            raise ValueError(
                "contribution metered with saves time: blocks come at times that the day's seed "
                "fixes, whatever meters show; take saves: energy"
            )
        return self


@LEDGERS.register("proof_of_energy_contribution")
class ProofOfEnergyContribution(ProofOfWork[ProofOfEnergyContributionConfig]):
    """Proof of work, the easier the more energy members feed in; the largest of them is awarded

    The hybrid with proof of work (Kang et al., "Enabling localized peer-to-peer electricity trading
    among plug-in hybrid electric vehicles using consortium blockchains", IEEE Trans. Ind.
    Informatics 2017): local aggregators work on puzzles, and whoever supplied most energy by its
    meter is awarded coins. How much energy counts for is open there; here the work per block is
    multiplied by 1 - relief x share. The share is a constant by default. Metered, it is what
    members feed in over what they take, at most 1, smoothed over the last intervals; the award is
    made once per interval for its largest contributor, and split between equals.
    """

    Config = ProofOfEnergyContributionConfig

    permission = "permissioned"
    decentralisation = "medium"

    @property
    def work(self) -> float:
        """Work per block of a constant share, as a part of what it takes without any."""
        if self.config.contribution == "metered":
            return 1.0
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

    def first_contribution(self, seed: Tensor) -> Tensor | None:
        """Return the configured share, until meters were read."""
        if self.config.contribution == "constant":
            return None
        return torch.full_like(seed, self.config.contributed_share, dtype=torch.float64)

    def contribution(self, before: Tensor | None, metered_kwh: Tensor | None) -> Tensor | None:
        """Return the smoothed share; where nobody takes or feeds in anything, it stays."""
        if before is None or metered_kwh is None:
            return before
        fed_kwh = metered_kwh.double().clamp(min=0).sum(1)
        taken_kwh = metered_kwh.double().clamp(max=0).sum(1).neg()
        share = (fed_kwh / taken_kwh.clamp(min=_LEAST_KWH)).clamp(max=1)
        share = torch.where(fed_kwh + taken_kwh > _LEAST_KWH, share, before)
        return before + (share - before) / self.config.meter_intervals

    def work_left(self, contribution: Tensor | None) -> Tensor | float:
        """Return what is left of the work by the metered share, [B]."""
        return 1.0 if contribution is None else 1 - self.config.relief * contribution

    def award_eur(self, metered_kwh: Tensor) -> Tensor | None:
        """Return the award of whoever fed in most; nobody's where nobody did."""
        if not self.config.award_eur:
            return None
        most_kwh = metered_kwh.amax(1, keepdim=True)
        first = ((metered_kwh == most_kwh) & (most_kwh > _LEAST_KWH)).double()
        return first * self.config.award_eur / first.sum(1, keepdim=True).clamp(min=1)
