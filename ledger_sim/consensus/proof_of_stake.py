"""Proof of stake: proposers by stake or its age, final by epochs as in Ethereum, or by depth."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.config import Positive, Share
from gridbazaar.ledger_sim.consensus.block_times import EDGE
from gridbazaar.ledger_sim.consensus.finality import catch_up_probability
from gridbazaar.ledger_sim.consensus.protocol import Health, Tolerance
from gridbazaar.ledger_sim.consensus.rotation import clock
from gridbazaar.ledger_sim.consensus.stake import coin_age_step
from gridbazaar.ledger_sim.consensus.staked import Staked, StakedConfig
from gridbazaar.ledger_sim.random_streams import OfSlot
from gridbazaar.ledger_sim.registry import LEDGERS

# The checkpoint after an epoch is justified at the end of the next, and final at that of the third.
_EPOCHS_TO_FINALITY = 3


class ProofOfStakeConfig(StakedConfig):
    """Parameters of proof of stake."""

    epoch_slots: int = Field(
        ge=1, description="slots, of one interval each, per epoch", json_schema_extra={"unit": "1"}
    )
    missed_share: float = Field(
        ge=0,
        lt=1,
        description="of slots without a block, although all is well",
        json_schema_extra={"unit": "1"},
    )
    proposer: Literal["stake", "coin_age"] = Field(
        default="stake", description="drawn by stake, or by stake times the turns since it proposed"
    )
    age_cap: Positive = Field(
        default=1e12,
        description="turns after which the age of a coin counts for no more",
        json_schema_extra={"unit": "1"},
    )
    attacker_share: Share = Field(
        default=0.0,
        description="of all stake, held by one who attacks, beside the validators",
        json_schema_extra={"unit": "1"},
    )
    finality: Literal["epochs", "depth"] = Field(
        default="epochs", description="by votes on epochs, or by the blocks that follow"
    )
    confirmations: int = Field(
        default=0,
        ge=0,
        description="blocks that must follow where finality is by depth",
        json_schema_extra={"unit": "blocks"},
    )

    @model_validator(mode="after")
    def _attack_fits(self) -> ProofOfStakeConfig:
        if self.attacker_share >= 1:
            raise ValueError("attacker_share is 1: the validators must hold something")
        if self.finality == "epochs" and self.confirmations:
            raise ValueError("confirmations count where finality is depth alone; give 0")
        return self


@LEDGERS.register("proof_of_stake")
class ProofOfStake(Staked[ProofOfStakeConfig]):
    """A slot every few seconds, final two epochs after its own by votes of two thirds of the stake

    A block in epoch e is final when the votes of epochs e + 1 and e + 2 are in (Ethereum, consensus
    specifications, phase 0: Casper FFG). A proposer that is not there leaves its slot empty. With
    more than a third of the stake away, blocks go on, but nothing becomes final until enough are
    back; the leak of the absent stake's balances, which takes days, is left out.

    An attacker leaves the market's orders out of the blocks that it proposes. With a third of the
    stake it makes two conflicting blocks final, at the price of what `stake` takes of a liar; where
    finality is by depth, it overtakes a block as a miner with the same share of the work would
    (stake that is put on both sides of a fork, which costs nothing, is left out).
    """

    Config = ProofOfStakeConfig

    permission = "both"
    decentralisation = "medium"

    def __init__(self, config: ProofOfStakeConfig) -> None:
        super().__init__(config)
        self._total = self.stakes.total / (1 - config.attacker_share)
        self._attacker = self._total - self.stakes.total if config.attacker_share else 0.0
        # The day, and the slots of it, whose turns by coin age were drawn last.
        self._turns: tuple[Tensor, int, Tensor, Tensor] | None = None

    @property
    def commit_s(self) -> float:
        """Return the delay until the others have a block."""
        return self.config.network.delay_s()

    @property
    def missed_share(self) -> float:
        """Slots without a block for the market: empty, or the attacker's."""
        missed, attacker = self.config.missed_share, self.config.attacker_share
        return missed + attacker * (1 - missed)

    def wait_s(self, late_share: float) -> float:
        """Return so many slots that at most `late_share` of them are all empty."""
        missed = self.missed_share
        slots = math.ceil(math.log(late_share) / math.log(missed)) if missed else 1
        return max(slots, 1) * self.interval_s

    def draw_times(self, seed: Tensor, slot: int) -> Tensor | None:
        """Leave some slots empty."""
        config = self.config
        if not self.missed_share:
            return None
        number = clock(slot, config.slot_s, self.interval_s, seed.device)
        due_s = (number + 1) * self.interval_s - slot * config.slot_s
        draw = randomness.uniform(
            randomness.fold(seed, slot), OfSlot.CONSENSUS, number.shape, torch.float64
        )
        return due_s.double().masked_fill(draw < self.missed_share, torch.inf)

    @property
    def confirmations(self) -> int:
        """None where epochs are voted on."""
        return self.config.confirmations

    def final_s(self, block_s: Tensor) -> Tensor:
        """Return the end of the second epoch after the block's; at once where depth decides."""
        if self.config.finality == "depth":
            return block_s
        epoch_s = self.config.epoch_slots * self.interval_s
        return ((block_s / epoch_s + EDGE).floor() + _EPOCHS_TO_FINALITY) * epoch_s

    @property
    def reversal_probability(self) -> float:
        """Probability that the attacker undoes a final settlement: 0 or 1 where epochs decide."""
        share = self.config.attacker_share
        if self.config.finality == "epochs":
            return float(3 * self._attacker >= self._total) if share else 0.0
        return float(catch_up_probability(share, self.config.confirmations + 1))

    @property
    def tolerance(self) -> Tolerance:
        """A third of the stake may be away; less than a third may lie."""
        total, attacker = self._total, self._attacker
        if self.config.finality == "depth":
            least = self.stakes.most(total / 2 - attacker, strictly=True)
            return Tolerance(
                self.config.validators - 1, least, "a majority of the stake rewrites the chain"
            )
        third = total / 3
        return Tolerance(
            self.stakes.most(max(third - attacker, 0.0)),
            self.stakes.most(max(third - attacker, 0.0), strictly=True),
            "more away: blocks go on, none is final; more liars can make two conflicting blocks "
            "final, and lose the stake that `stake.slashed_lying` and `correlation` say",
        )

    def health(self, crashed: int, lying: int, cut_off: int) -> Health:
        """Leave slots empty; final with two thirds; the smaller side's blocks are lost."""
        held, total = self.stakes.held, self._total
        silent, liars = held(0, crashed), held(crashed, lying)
        away = held(crashed + lying, cut_off)
        n = self.stakes.total
        present = max(n - silent - away, 0.0)
        liars += self._attacker
        if self.config.finality == "depth":
            return Health(present / n, present > 0, 2 * liars < total and 2 * away < total)
        return Health(
            block_share=present / n,
            final=3 * (present + self._attacker - liars) >= 2 * total,
            safe=3 * liars < total and 2 * away < total,
        )

    def proposers(self, seed: Tensor, slot: int, at_s: Tensor) -> Tensor:
        """Return whose each block is: by stake, or by stake and age, among those who are there."""
        if self.config.proposer == "stake":
            return super().proposers(seed, slot, at_s)
        number = clock(slot, self.config.slot_s, self.interval_s, seed.device)
        if not len(number):
            return torch.zeros_like(at_s, dtype=torch.int64)
        first = int(number[0])
        turn = (at_s / self.interval_s).round().long() - 1 - first
        who = self._by_age(seed, slot)
        return who.gather(1, turn.clamp(0, who.shape[1] - 1).expand(len(who), -1))

    def _by_age(self, seed: Tensor, slot: int) -> Tensor:
        """Return who proposes by coin age in each turn of a slot, int64 [B, K].

        Ages depend on all turns since the day's start, where everyone is as old.
        """
        known = self._turns
        if known is not None and known[0] is seed and known[1] == slot:
            return known[2]
        n = self.config.validators
        begins, age = 0, torch.ones(len(seed), n, dtype=torch.float64, device=seed.device)
        if known is not None and known[0] is seed and known[1] < slot:
            begins, age = known[1] + 1, known[3]
        who = torch.zeros(len(seed), 0, dtype=torch.int64, device=seed.device)
        for earlier in range(begins, slot + 1):
            number = clock(earlier, self.config.slot_s, self.interval_s, seed.device)
            draw = randomness.uniform(
                randomness.fold(seed, earlier), OfSlot.PROPOSER, number.shape, torch.float64
            )
            chosen = []
            for turn, due in zip(draw.unbind(1), (number + 1).tolist(), strict=True):
                power = torch.from_numpy(self.power_at(due * self.interval_s)).to(age)
                one, age = coin_age_step(age, power, turn, self.config.age_cap)
                chosen.append(one)
            who = torch.stack(chosen, 1) if chosen else who[:, :0]
        self._turns = seed, slot, who, age
        return who

    @property
    def block_messages(self) -> float:
        """A block goes to all others; an epoch's share of the validators votes in each slot."""
        n = self.config.validators
        return n - 1 + n / self.config.epoch_slots
