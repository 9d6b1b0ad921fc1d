"""Election of delegates by stake, and how those who fail lose their votes and their seats."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from gridbazaar.config import Config, NonNegative, Positive, Share
from gridbazaar.ledger_sim.consensus.faults import FaultEvent
from gridbazaar.ledger_sim.consensus.income import check_accounts
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus, Health


class ElectionConfig(Config):
    """Parameters of an election; the validators are the seats that are filled."""

    candidates: int = Field(
        ge=1, description="who stand, those elected included", json_schema_extra={"unit": "1"}
    )
    votes: list[Positive] = Field(
        default=[],
        description="stake of holders behind each candidate in any common unit; none: by "
        "concentration",
        json_schema_extra={"unit": "1"},
    )
    concentration: NonNegative = Field(
        default=0.0,
        description="s: the i-th candidate has votes in proportion to i^-s; 0: all the same",
        json_schema_extra={"unit": "1"},
    )
    reputation_loss: Share = Field(
        default=1.0,
        description="part of its votes that a delegate loses with each turn that it fails; 1: all, "
        "0: holders do not look",
        json_schema_extra={"unit": "1"},
    )
    term_s: NonNegative = Field(
        default=0.0,
        description="between two elections; 0: whenever votes change",
        json_schema_extra={"unit": "s"},
    )

    @model_validator(mode="after")
    def _votes_for_all(self) -> ElectionConfig:
        if self.votes and len(self.votes) != self.candidates:
            raise ValueError(f"votes has {len(self.votes)} of {self.candidates} candidates")
        if self.votes and self.concentration:
            raise ValueError("give votes or concentration: either says who stands behind whom")
        return self

    def vote_shares(self) -> np.ndarray:
        """Return the share of all votes behind each candidate, float64 [candidates]."""
        rank = np.arange(1, self.candidates + 1, dtype=np.float64)
        votes = np.asarray(self.votes or rank**-self.concentration, np.float64)
        return votes / votes.sum()

    def failed_turns(self, votes: float, next_votes: float) -> float:
        """Return the turns that a delegate must fail until one with `next_votes` has more.

        Reputation multiplies votes, and falls by `reputation_loss` with every turn; of equal votes,
        one failure is enough.
        """
        if not self.reputation_loss:
            return math.inf
        if self.reputation_loss == 1 or votes <= next_votes:
            return 1.0
        turns = math.log(next_votes / votes) / math.log1p(-self.reputation_loss)
        return math.floor(turns + 1e-9) + 1.0


class ElectedConfig(ChainConfig):
    """Parameters that chains with elected validators have on top."""

    election: ElectionConfig | None = Field(
        default=None, description="of the validators; null: they are given, and stay"
    )

    @model_validator(mode="after")
    def _seats_filled(self) -> ElectedConfig:
        if self.election is not None:
            check_accounts(self.election.candidates, "election.candidates")
            if self.election.candidates < self.validators:
                raise ValueError(
                    f"election.candidates is {self.election.candidates}; there are "
                    f"{self.validators} seats (validators) to fill"
                )
        return self


@dataclass(frozen=True, slots=True)
class Turnover:
    """Turnover of seats in a day.

    Attributes:
        faults: as they are felt, by time.
        failing: seat, and from when to when it fails, s since the day's start.
        silent: for each of these, whether it misses its turns.
        seated: seat, since when, and which candidate has it, by time.
    """

    faults: list[FaultEvent]
    failing: list[tuple[int, float, float]]
    silent: list[bool]
    seated: list[tuple[int, float, int]]


def turnover(
    config: ElectionConfig,
    seats: int,
    events: list[FaultEvent],
    round_s: float,
    health: Callable[[int, int, int], Health],
) -> Turnover:
    """Return who fails, who is voted out for it, and who takes the seat.

    Faults hit the seats in the order of the votes that first filled them, the most first. A
    delegate that fails loses votes at each of its turns, and its seat at the first election after
    which a candidate without one has more. An election needs a ledger that becomes final and
    stands; otherwise all stay.

    Args:
        config: votes and rules.
        seats: n.
        events: the day's faults, by time.
        round_s: from one turn of a delegate to its next.
        health: of the ledger when so many are silent, lie, or are cut off.
    """
    share = config.vote_shares()
    order = np.argsort(-share, kind="stable")
    waiting = [int(one) for one in order[seats:]]
    seated = [(seat, 0.0, int(order[seat])) for seat in range(seats)]
    votes = share[order[:seats]].copy()
    felt, failing, silent = [], [], []
    for event in events:
        counts = [event.crashed, event.lying, event.cut_off]
        kinds = [kind for kind, count in enumerate(counts) for _ in range(count)]
        state = health(*counts)
        leave = []
        # Who has the fewest votes to lose is out first.
        for seat in sorted(range(len(kinds)), key=lambda one: (votes[one], one)):
            after_s = math.inf
            if state.final and state.safe and waiting:
                turns = config.failed_turns(votes[seat], share[waiting[0]])
                after_s = _until_election(turns * round_s, event.from_s, config.term_s)
            if after_s < event.to_s - event.from_s:
                successor = waiting.pop(0)
                votes[seat] = share[successor]
                seated.append((seat, event.from_s + after_s, successor))
                leave.append((event.from_s + after_s, kinds[seat]))
            failing.append((seat, event.from_s, min(event.from_s + after_s, event.to_s)))
            silent.append(kinds[seat] != 1)
        felt += _pieces(event, sorted(leave))
    return Turnover(felt, failing, silent, sorted(seated, key=lambda one: one[1]))


def _until_election(after_s: float, from_s: float, term_s: float) -> float:
    """Return how long after `from_s` the first election is that comes `after_s` after it."""
    if not term_s or after_s == math.inf:
        return after_s
    return math.ceil((from_s + after_s) / term_s - 1e-9) * term_s - from_s


def _pieces(event: FaultEvent, leave: list[tuple[float, int]]) -> list[FaultEvent]:
    """Cut an event where delegates leave, [(when, kind of fault)] by time, until none is left."""
    pieces, since_s = [], event.from_s
    counts = [event.crashed, event.lying, event.cut_off]
    for at_s, kind in [*leave, (event.to_s, -1)]:
        if at_s > since_s and any(counts):
            left = dict(zip(("crashed", "lying", "cut_off"), counts, strict=True))
            update = {"from_s": since_s, "to_s": at_s} | left
            pieces.append(event.model_copy(update=update))
        since_s = at_s
        if kind >= 0:
            counts[kind] -= 1
    return pieces


E = TypeVar("E", bound=ElectedConfig)


class Elected(Consensus[E]):
    """Validators in seats to which holders elect them; by turns, one after the other.

    Attributes:
        turnover: who fails and who follows, in the day of the configuration; None: seats are given.
    """

    def __init__(self, config: E) -> None:
        super().__init__(config)
        self.turnover: Turnover | None = None
        if config.election is not None:
            self.turnover = turnover(
                config.election, config.validators, super().faults, self.round_s, self.health
            )

    @property
    def turn_blocks(self) -> int:
        """Blocks that a delegate makes in its turn."""
        return 1

    @property
    def round_s(self) -> float:
        """Seconds from a delegate's turn to its next."""
        return self.config.validators * self.turn_blocks * self.interval_s

    @property
    def faults(self) -> list[FaultEvent]:
        """Faults as they are felt: without those who lost their seats."""
        return super().faults if self.turnover is None else self.turnover.faults

    @property
    def accounts(self) -> int:
        """Candidates, where some are elected."""
        election = self.config.election
        return self.config.validators if election is None else election.candidates

    def seat_of(self, at_s: Tensor) -> Tensor:
        """Return whose turn it is at blocks' times by the clock, int64 of their shape."""
        number = (at_s / self.interval_s).nan_to_num(posinf=1.0).round().long().clamp(min=1) - 1
        return number // self.turn_blocks % self.config.validators

    def absent(self, at_s: Tensor) -> Tensor:
        """Return bool of the shape of `at_s`: whose turn it is does not answer."""
        gone = torch.zeros_like(at_s, dtype=torch.bool)
        if self.turnover is None:
            return gone
        seat = self.seat_of(at_s)
        for (who, from_s, to_s), silent in zip(
            self.turnover.failing, self.turnover.silent, strict=True
        ):
            if silent:
                gone |= (seat == who) & (at_s >= from_s) & (at_s < to_s)
        return gone

    def proposers(self, seed: Tensor, slot: int, at_s: Tensor) -> Tensor:
        """Return whose each block is: the delegate in turn, by the candidate that it is.

        Where it is away and there is a block all the same, another's that is drawn.
        """
        seat = self.seat_of(at_s)
        drawn = super().proposers(seed, slot, at_s)
        if self.turnover is None:
            return seat if not self.config.faults else drawn
        who = seat
        for place, since_s, candidate in self.turnover.seated:
            who = torch.where((seat == place) & (at_s >= since_s), candidate, who)
        return torch.where(self.absent(at_s), drawn, who)

    def voter_shares(self, device: torch.device) -> Tensor:
        """Return the votes, where there are any: standing by is paid too."""
        if self.config.election is None:
            return super().voter_shares(device)
        return torch.from_numpy(self.config.election.vote_shares()).to(device)
