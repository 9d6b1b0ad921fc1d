"""Consensus of validators with stakes: shares of power, what liars lose, who is put out."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.ledger_sim.consensus.faults import FaultEvent, cut_short
from gridbazaar.ledger_sim.consensus.income import check_accounts
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus
from gridbazaar.ledger_sim.consensus.stake import (
    StakeConfig,
    by_number,
    slashed_shares,
    stakes_of,
)
from gridbazaar.ledger_sim.random_streams import OfSlot


class StakedConfig(ChainConfig):
    """Parameters that chains with stakes have on top."""

    stake: StakeConfig | None = Field(
        default=None, description="who holds how much; null: all the same, and nobody loses any"
    )

    @model_validator(mode="after")
    def _weight_for_each(self) -> StakedConfig:
        if self.stake is not None:
            self.stake.check(self.validators)
            check_accounts(self.validators)
        return self


S = TypeVar("S", bound=StakedConfig)


class Staked(Consensus[S]):
    """Validators count by their stakes; faults hit the largest or the smallest of them first.

    Who lies is found out, and who is silent as well, `removed_after_s` after it began: a liar's
    stake is slashed then and it is out for the day, whoever was silent is out until it is back. If
    the others have no quorum, nobody is put out; what liars lose they lose all the same, for two
    signatures under two blocks prove it.

    Attributes:
        stakes: of the validators.
    """

    def __init__(self, config: S) -> None:
        super().__init__(config)
        self.stakes = stakes_of(config.stake, config.validators)

    @property
    def faults(self) -> list[FaultEvent]:
        """Faults as they are felt: without those who were put out."""
        felt: list[FaultEvent] = []
        for event in super().faults:
            after_s = self._removed_after_s(event)
            cut = [event] if after_s is None else cut_short(event, after_s, cut_off=event.cut_off)
            felt += cut
        return felt

    def _removed_after_s(self, event: FaultEvent) -> float | None:
        """Return when those who fail are put out, s after the event began; None: not at all."""
        stake = self.config.stake
        if stake is None or stake.removed_after_s is None:
            return None
        health = self.health(event.crashed, event.lying, event.cut_off)
        removed = health.final and health.safe
        return stake.removed_after_s if removed else None

    def _found_s(self, event: FaultEvent) -> float:
        """Return when what an event's validators did is found out, s since the day's start."""
        stake = self.config.stake
        return event.from_s + ((stake and stake.removed_after_s) or 0.0)

    def _slashed(self, event: FaultEvent) -> np.ndarray:
        """Return the share of its stake that each loses by an event, float64 [n]."""
        config, n = self.config.stake, self.config.validators
        if config is None:
            return np.zeros(n)
        after_s = self._removed_after_s(event)
        put_out = after_s is not None and after_s < event.to_s - event.from_s
        return slashed_shares(config, self.stakes, event, n, put_out)

    def stake_at(self, at_s: float) -> np.ndarray:
        """Return each validator's stake at a time of the day, float64 [n]: 1 together at first."""
        stake = self.stakes.shares(self.config.validators)
        for event in super().faults:
            if self._found_s(event) <= at_s:
                stake = stake * (1 - self._slashed(event))
        return stake

    def power_at(self, at_s: float) -> np.ndarray:
        """Return the stakes of those who may propose at a time of the day, float64 [n]."""
        there = np.ones(self.config.validators)
        for event in super().faults:
            silent = np.zeros_like(there)
            silent[: event.crashed] = 1
            silent[event.crashed + event.lying :][: event.cut_off] = 1
            if event.from_s <= at_s < event.to_s:
                there *= 1 - by_number(silent, self.stakes)
            after_s = self._removed_after_s(event)
            if after_s is not None and at_s >= event.from_s + after_s:
                liars = np.zeros_like(there)
                liars[event.crashed : event.crashed + event.lying] = 1
                there *= 1 - by_number(liars, self.stakes)
        return there * self.stake_at(at_s)

    def changes_s(self) -> list[float]:
        """Return when the stakes that may propose change, s since the day's start, from 0 on."""
        times = {0.0}
        for event in super().faults:
            times |= {event.from_s, event.to_s, self._found_s(event)}
        return [*sorted(times), np.inf]

    def proposers(self, seed: Tensor, slot: int, at_s: Tensor) -> Tensor:
        """Return whose each block is, drawn by stake among those who may propose."""
        draw = randomness.uniform(
            randomness.fold(seed, slot), OfSlot.PROPOSER, at_s.shape[1:], torch.float64
        )
        who = torch.zeros_like(draw, dtype=torch.int64)
        for from_s, to_s in pairwise(self.changes_s()):
            during = (at_s >= from_s) & (at_s < to_s)
            power = self.power_at(from_s)
            if during.any() and power.sum() > 0:
                edges = torch.from_numpy((power / power.sum()).cumsum()).to(draw)
                chosen = torch.searchsorted(edges, draw).clamp(max=len(power) - 1)
                who = torch.where(during, chosen, who)
        return who

    def voter_shares(self, device: torch.device) -> Tensor:
        """Return the stakes: everyone gets its part of what all share."""
        return torch.from_numpy(self.stakes.shares(self.config.validators)).to(device)

    def slashed_eur(self, from_s: float, to_s: float) -> list[float] | None:
        """Return what each stake loses by what is found out from one time to another."""
        config = self.config.stake
        if config is None:
            return None
        stake = self.locked_eur
        lost = np.zeros_like(stake)
        for event in super().faults:
            taken = stake * self._slashed(event)
            stake = stake - taken
            if from_s <= self._found_s(event) < to_s:
                lost += taken
        return [float(one) for one in lost]

    @property
    def locked_eur(self) -> np.ndarray:
        """Each validator's stake as the day begins, float64 [n] EUR."""
        config = self.config.stake
        worth = config.locked_eur if config is not None else 0.0
        return self.stakes.shares(self.config.validators) * worth
