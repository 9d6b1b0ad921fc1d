"""Stakes of validators: who holds how much, what failing takes of it, and who is put out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from gridbazaar.config import Config, NonNegative, Positive, Share
from gridbazaar.ledger_sim.consensus.faults import FaultEvent


class StakeConfig(Config):
    """Parameters of unequal stakes, and of what becomes of those who fail."""

    weights: list[Positive] = Field(
        default=[],
        description="stake of each validator in any common unit; none: by concentration",
        json_schema_extra={"unit": "1"},
    )
    concentration: NonNegative = Field(
        default=0.0,
        description="s: the i-th largest stake is in proportion to i^-s; 0: all equal",
        json_schema_extra={"unit": "1"},
    )
    failing: Literal["largest", "smallest"] = Field(
        default="largest", description="stakes that faults hit first"
    )
    locked_eur: NonNegative = Field(
        default=0.0, description="worth of all stakes", json_schema_extra={"unit": "EUR"}
    )
    slashed_lying: Share = Field(
        default=0.0, description="of a liar's stake", json_schema_extra={"unit": "1"}
    )
    correlation: NonNegative = Field(
        default=0.0,
        description="by which a liar loses more of its stake for every share of all that lie",
        json_schema_extra={"unit": "1"},
    )
    slashed_silent: Share = Field(
        default=0.0,
        description="of the stake of a validator that is put out for silence",
        json_schema_extra={"unit": "1"},
    )
    removed_after_s: NonNegative | None = Field(
        default=None,
        description="until who fails is put out, if the others have a quorum; null: never",
        json_schema_extra={"unit": "s"},
    )

    @model_validator(mode="after")
    def _one_way(self) -> StakeConfig:
        if self.weights and self.concentration:
            raise ValueError("give weights or concentration: either says how stakes are spread")
        return self

    def check(self, validators: int) -> None:
        """Raise `ValueError` unless there is a weight for each validator, or none is given."""
        if self.weights and len(self.weights) != validators:
            raise ValueError(f"stake.weights has {len(self.weights)} of {validators} validators")


@dataclass(frozen=True, slots=True)
class Stakes:
    """Stakes of n validators, in the order in which faults hit them.

    Attributes:
        order: int64 [n], validators as they fail, the first one first; None: as they are numbered.
        sums: float64 [n + 1], stake of the first k of them; None: k, for all are equal.
        total: of all.
    """

    order: np.ndarray | None
    sums: np.ndarray | None
    total: float

    def held(self, first: int, count: int) -> float:
        """Return the stake of `count` that fail after the first so many."""
        if self.sums is None:
            return float(min(count, int(self.total) - first))
        last = min(first + count, len(self.sums) - 1)
        return float(self.sums[last] - self.sums[min(first, last)])

    def most(self, stake: float, strictly: bool = False) -> int:
        """Return how many may fail, one after the other, and hold no more than `stake` together.

        With `strictly`, less than that.
        """
        if self.sums is None:
            return max(math.ceil(stake) - 1 if strictly else math.floor(stake), 0)
        # Rounding must not decide at the edge.
        edge = stake - 1e-12 * self.total if strictly else stake + 1e-12 * self.total
        return max(int(np.searchsorted(self.sums, edge, "right")) - 1, 0)

    def shares(self, validators: int) -> np.ndarray:
        """Return each validator's share of all stake, float64 [n], by number."""
        if self.sums is None:
            return np.full(validators, 1 / validators)
        return by_number(np.diff(self.sums) / self.total, self)


def stakes_of(config: StakeConfig | None, validators: int) -> Stakes:
    """Return how stakes are spread; equal ones where nothing is said, or concentration is 0."""
    if config is None or not (config.weights or config.concentration):
        return Stakes(None, None, float(validators))
    if config.weights:
        weight = np.asarray(config.weights, np.float64)
    else:
        weight = np.arange(1, validators + 1, dtype=np.float64) ** -config.concentration
    sign = -1 if config.failing == "largest" else 1
    order = np.argsort(sign * weight, kind="stable")
    sums = np.concatenate([[0.0], weight[order].cumsum()])
    return Stakes(order, sums, float(sums[-1]))


def slashed_shares(
    config: StakeConfig, stakes: Stakes, event: FaultEvent, validators: int, put_out: bool
) -> np.ndarray:
    """Return the share of its own stake that an event costs each validator, float64 [n], 0 to 1.

    Liars lose `slashed_lying` and `correlation` times the share of all stake that lies with them
    (Ethereum, consensus specifications, `process_slashings`); who is put out for its silence loses
    `slashed_silent` (Cosmos SDK, x/slashing). Who is cut off from the market's side has done
    nothing that could be proved.
    """
    by_order = np.zeros(validators)
    silent, liars = event.crashed, event.lying
    by_order[:silent] = config.slashed_silent if put_out else 0.0
    together = stakes.held(silent, liars) / stakes.total
    by_order[silent : silent + liars] = min(
        config.slashed_lying + config.correlation * together, 1.0
    )
    return by_number(by_order, stakes)


def by_number(by_order: np.ndarray, stakes: Stakes) -> np.ndarray:
    """Return [n] by validators' numbers from [n] by the order in which they fail."""
    if stakes.order is None:
        return by_order
    numbered = np.empty_like(by_order)
    numbered[stakes.order] = by_order
    return numbered


def priority_order(shares: Sequence[float] | np.ndarray, turns: int) -> np.ndarray:
    """Return who proposes in each of so many turns, int64 [turns], by CometBFT's priorities.

    In every turn each priority grows by the validator's power; the highest proposes and pays all
    power together (CometBFT specification, "Proposer selection procedure"), so that everyone
    proposes as often as its share says, evenly spread. Of equals the first one is taken.
    """
    power = np.asarray(shares, np.float64)
    priority, total = np.zeros_like(power), power.sum()
    turn = np.empty(turns, np.int64)
    for number in range(turns):
        priority += power
        # Rounding must not decide between equals.
        turn[number] = first = int((priority > priority.max() - 1e-9 * total).argmax())
        priority[first] -= total
    return turn


def coin_age_step(age: Tensor, power: Tensor, draw: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """Return who proposes by coin age in one turn, int64 [B], and everyone's age after it.

    Each is as likely as its stake times its age, which falls to 0 as it proposes (King and Nadal,
    "PPCoin: peer-to-peer crypto-currency with proof-of-stake", 2012, section 3) and counts up to
    `cap`.

    Args:
        age: float64 [B, n], turns since each proposed.
        power: float64 [n], stake.
        draw: float64 [B], uniform.
        cap: turns after which age counts for no more.
    """
    weight = (age.clamp(max=cap) * power).cumsum(1)
    passed = weight <= (draw * weight[:, -1]).unsqueeze(1)
    chosen = passed.sum(1).clamp(max=age.shape[1] - 1)
    return chosen, (age + 1).scatter(1, chosen.unsqueeze(1), 0.0)
