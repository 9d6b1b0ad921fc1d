"""Proposals of a slot's clearing: who solves it, whether truly, and what is asked of a solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.ledger_sim.protocol import Ledger
from gridbazaar.ledger_sim.random_streams import OfDay, OfSlot

# none: a solver's word is taken; feasible: it can be carried out, and nobody trades at a loss;
# optimal: besides, nothing better could have been proposed.
Asked = Literal["none", "feasible", "optimal"]


@dataclass(frozen=True, slots=True)
class Proposals:
    """Clearings that K solvers propose for a slot; the market's side makes and judges them.

    Attributes:
        solver: int64 [B, K], the number of each, in the order in which they are looked at.
        honest: bool [B, K]; who is not proposes something wrong.
        asked: of a proposal, by the validators or the contract.
        contest: whether all are looked at and the best that passes is taken; else it is the first
            that passes, and those before it have cost their time.
    """

    solver: Tensor
    honest: Tensor
    asked: Asked
    contest: bool


def draw_proposals(
    seed: Tensor, slot: int, solvers: int, dishonest: int, asked: Asked, contest: bool
) -> Proposals | None:
    """Draw who proposes in a slot; None where nothing else than the right clearing can come of it.

    Which solvers are dishonest stays for a day. In a contest all solvers propose; else they do in
    turn, from a new one in every slot, and the turns end with the first honest one.

    Args:
        seed: int64 [B], the day's.
        slot: number since reset.
        solvers: n.
        dishonest: of them.
        asked: of a proposal.
        contest: as in `Proposals`.
    """
    if not dishonest:
        return None
    false = randomness.uniform(seed, OfDay.DISHONEST, [solvers], torch.float64)
    is_false = false.argsort(1).argsort(1) < dishonest
    draw = randomness.uniform(
        randomness.fold(seed, slot), OfSlot.PROPOSERS, [solvers], torch.float64
    )
    solver = draw.argsort(1)
    if not contest:
        solver = solver[:, : dishonest + 1]
    return Proposals(solver, ~is_false.gather(1, solver), asked, contest)


def proposals_of(ledger: Ledger) -> Proposals | None:
    """Return who proposes the clearing of the slot that a ledger carried last.

    None stands for an honest operator; a ledger of another's making may know no solvers.
    """
    proposals = getattr(ledger, "proposals", None)
    found: Proposals | None = proposals() if proposals is not None else None
    return found
