"""Incentive schemes: coins, certificates, credits and rewards that follow from meter readings."""

from gridbazaar.envs.incentives.programme import Programme, Rewarded, SchemeState, make_programme
from gridbazaar.envs.incentives.protocol import (
    INCENTIVES,
    Incentive,
    IncentiveConfig,
    Kind,
    Movement,
    Outcome,
)
from gridbazaar.envs.incentives.reading import Reading

__all__ = [
    "INCENTIVES",
    "Incentive",
    "IncentiveConfig",
    "Kind",
    "Movement",
    "Outcome",
    "Programme",
    "Reading",
    "Rewarded",
    "SchemeState",
    "make_programme",
]
