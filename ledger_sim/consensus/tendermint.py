"""Tendermint, now CometBFT: a proposer in turn, prevote, precommit; power by locked stake."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gridbazaar.ledger_sim.consensus.protocol import Health, Tolerance
from gridbazaar.ledger_sim.consensus.stake import priority_order
from gridbazaar.ledger_sim.consensus.staked import Staked, StakedConfig
from gridbazaar.ledger_sim.consensus.voting import Voting, VotingConfig
from gridbazaar.ledger_sim.registry import LEDGERS


class TendermintConfig(StakedConfig, VotingConfig):
    """Parameters of Tendermint; configs/ledger/tendermint.yaml and tendermint_pilot.yaml."""


@LEDGERS.register("tendermint")
class Tendermint(Staked[TendermintConfig], Voting[TendermintConfig]):
    """Tendermint: proposers in turn, prevote and precommit of more than two thirds, final at once

    Buchman, Kwon and Milosevic, "The latest gossip on BFT consensus", 2018. Messages go straight to
    all others here; a gossiping network relays them, which takes longer and sends more. Empty
    blocks are made too, as by default (CometBFT's configuration, create_empty_blocks).

    Where `stake` is given, a validator counts as much as the coin that it has locked: in the
    quorum, in the turns to propose, and in what it loses when it lies.
    """

    Config = TendermintConfig

    permission = "both"

    @property
    def tolerance(self) -> Tolerance:
        """Less than a third of the stake."""
        if self.config.stake is None:
            return super().tolerance
        f = self.stakes.most(self.stakes.total / 3, strictly=True)
        return Tolerance(f, f, super().tolerance.beyond)

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Halt without more than two thirds of the stake; with them, wait for failing proposers."""
        if self.config.stake is None:
            return super().health(crashed, lying, cut_off)
        stakes, total = self.stakes, self.stakes.total
        liars, failing = stakes.held(crashed, lying), stakes.held(0, crashed + lying + cut_off)
        reachable = total - (failing - liars)
        live = 3 * (total - failing) > 2 * total
        safe = 3 * liars < total or 3 * reachable <= 2 * total
        if not (live and safe):
            return Health(block_share=float(live or not safe), final=live, safe=safe)
        lost_s = self.config.round_timeout_s * failing / (total - failing)
        return Health(block_share=self.interval_s / (self.interval_s + lost_s))

    def proposers(self, seed: Tensor, slot: int, at_s: Tensor) -> Tensor:
        """Return whose each block is, by priority; one that fails is followed by the next drawn."""
        turn = (at_s / self.interval_s).nan_to_num(posinf=0.0).round().long().clamp(min=1) - 1
        share = self.stakes.shares(self.config.validators)
        order = torch.from_numpy(self._order(share, int(turn.max()) + 1 if turn.numel() else 0))
        who = order.to(seed.device)[turn]
        drawn = super().proposers(seed, slot, at_s)
        there = np.stack([self.power_at(at) > 0 for at in self.changes_s()[:-1]])
        edges = torch.tensor(self.changes_s()[1:-1], dtype=at_s.dtype, device=at_s.device)
        stretch = torch.bucketize(at_s, edges, right=True)
        may = torch.from_numpy(there).to(seed.device)[stretch, who]
        return torch.where(may, who, drawn)

    def _order(self, share: np.ndarray, turns: int) -> np.ndarray:
        """Return who proposes in each turn of the day, at least so many of them."""
        known = getattr(self, "_known_order", np.empty(0, np.int64))
        if len(known) < turns:
            self._known_order = known = priority_order(share, max(turns, 2 * len(known)))
        return known
