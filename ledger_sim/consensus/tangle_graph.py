"""Tangle as a graph: transactions that approve tips of those before, and what grows of it.

Popov, "The Tangle" (version 1.4.3, 2018): transactions come as a Poisson process, each approves k
tips that it sees, and is seen by others a time h after it chose them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.special import lambertw
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.ledger_sim.consensus.bounds import require
from gridbazaar.ledger_sim.random_streams import OfGraph

# The cumulative weight grows by e^(W(1/2) t/h) while not all newcomers approve it.
GROWTH = float(lambertw(0.5).real)
_FIRST_WEIGHT = 2.0
_MOST_HIDDEN = 30.0  # transactions in the time h, in a graph that is grown


@dataclass(frozen=True, slots=True)
class Graph:
    """B tangles of M transactions each; transaction 0 is the genesis, seen by all.

    Attributes:
        at_s: float64 [B, M], when each chose its tips, rising from 0.
        parents: int64 [B, M, k], whom it approves; the genesis itself.
        delay_s: h.
    """

    at_s: Tensor
    parents: Tensor
    delay_s: float

    @property
    def approved_s(self) -> Tensor:
        """When the first approval of each was chosen, float64 [B, M]; inf for those without."""
        first = torch.full_like(self.at_s, torch.inf)
        for choice in self.parents[:, 1:].unbind(2):
            first.scatter_reduce_(1, choice, self.at_s[:, 1:], "amin")
        return first


def grow(
    seed: Tensor, rate_per_s: float, delay_s: float, count: int, choices: int = 2,
    alpha: float | None = None,
) -> Graph:  # fmt: skip
    """Grow tangles from their genesis.

    Args:
        seed: int64 [B]; fixes all.
        rate_per_s: lambda, transactions that come.
        delay_s: h.
        count: M.
        choices: k tips that each approves; the same one may be drawn twice.
        alpha: of random walks from the genesis, which go from x to its approver y with a
            probability in proportion to e^(-alpha (H_x - H_y)), where H are cumulative weights
            (section 4.1); None: tips are chosen uniformly.

    Raises:
        LedgerError: for a rate that is not above 0, less than one choice or transaction.
    """
    require(0 < rate_per_s < math.inf, "rate_per_s", rate_per_s, "above 0 per second")
    require(choices >= 1, "choices", choices, "1 or more tips")
    require(count >= 1, "count", count, "1 or more transactions")
    gaps = randomness.uniform(seed, OfGraph.ARRIVALS, [count], torch.float64).log() / -rate_per_s
    gaps[:, 0] = 0
    at_s = gaps.cumsum(1)
    seen_s = at_s + delay_s
    seen_s[:, 0] = -torch.inf
    parents = torch.zeros(len(seed), count, choices, dtype=torch.int64, device=seed.device)
    walks = None if alpha is None else _Walks(seed, count, alpha)
    gone_s = torch.full_like(at_s, torch.inf)  # when others see that it is approved
    for new in range(1, count):
        now_s = at_s[:, new : new + 1]
        draw = randomness.uniform(
            randomness.fold(seed, new), OfGraph.CHOICE, [choices], torch.float64
        )
        if walks is None:
            tip = (seen_s[:, :new] <= now_s) & (gone_s[:, :new] > now_s)
            rank = tip.cumsum(1)
            wanted = (draw * rank[:, -1:]).floor().long() + 1
            chosen = torch.searchsorted(rank, wanted)
        else:
            chosen = walks.ends(new, seen_s[:, :new] <= now_s, choices)
        parents[:, new] = chosen
        if walks is not None:
            walks.add(new, chosen)
        seen = seen_s[:, new : new + 1].expand(-1, choices)
        gone_s.scatter_reduce_(1, chosen, seen, "amin")
    return Graph(at_s, parents, delay_s)


class _Walks:
    """Random walks over approvals, weighted by what approves each transaction."""

    def __init__(self, seed: Tensor, count: int, alpha: float) -> None:
        shape = (len(seed), count, count)
        self._seed, self._alpha = seed, alpha
        self._approves = torch.zeros(shape, dtype=torch.bool, device=seed.device)
        self._reaches = torch.zeros_like(self._approves)  # directly or not
        self._row = torch.arange(len(seed), device=seed.device)

    def add(self, new: int, chosen: Tensor) -> None:
        """Note whom a newcomer approves, int64 [B, k]."""
        for choice in chosen.unbind(1):
            self._approves[self._row, new, choice] = True
            self._reaches[self._row, new] |= self._reaches[self._row, choice]
            self._reaches[self._row, new, choice] = True

    def ends(self, new: int, seen: Tensor, choices: int) -> Tensor:
        """Return the tips, int64 [B, k], at which walks over what is `seen` bool [B, new] end."""
        batch = len(self._seed)
        weight = (self._reaches[:, :new, :new] & seen.unsqueeze(2)).sum(1).double()
        at = torch.zeros(batch, choices, dtype=torch.int64, device=seen.device)
        own, step = randomness.fold(self._seed, new), 0
        while True:
            to = self._approves[:, :new, :new].transpose(1, 2)[self._row.unsqueeze(1), at]
            to = to & seen.unsqueeze(1)
            moves = to.any(2)
            if not moves.any():
                return at
            draw = randomness.uniform(own, OfGraph.WALK + step, [choices, new], torch.float64)
            # The largest of logits with Gumbel noise is drawn by their softmax.
            score = self._alpha * weight.unsqueeze(1) - (-draw.log()).log()
            following = score.masked_fill(~to, -torch.inf).argmax(2)
            at, step = torch.where(moves, following, at), step + 1


def tip_count(graph: Graph) -> Tensor:
    """Return the tips that there are as each transaction comes, itself left out; int64 [B, M].

    A tip is what nobody approves yet, whether that could be seen or not.
    """
    order = graph.approved_s.sort(1).values
    came = torch.arange(graph.at_s.shape[1], device=graph.at_s.device)
    return came - torch.searchsorted(order, graph.at_s.contiguous())


def weighed_s(graph: Graph, first: int, last: int, weight: int) -> Tensor:
    """Return how long transactions `first` to `last` - 1 take to a cumulative weight.

    Args:
        graph: what grew.
        first, last: which of its M.
        weight: own 1 and of each that approves it, directly or not, as others see them.

    Returns:
        float64 [B, last - first] s since each chose its tips; inf where the graph is too short.
    """
    batch, count = graph.at_s.shape
    row = torch.arange(batch, device=graph.at_s.device)
    reaches = torch.zeros(batch, count, last - first, dtype=torch.bool, device=graph.at_s.device)
    for new in range(first + 1, count):
        for choice in graph.parents[:, new].unbind(1):
            reaches[:, new] |= reaches[row, choice]
            inside = (choice >= first) & (choice < last)
            reaches[row[inside], new, choice[inside] - first] = True
    counted = reaches.cumsum(1) >= weight - 1
    place = counted.int().argmax(1)
    seen_s = graph.at_s.gather(1, place) + graph.delay_s - graph.at_s[:, first:last]
    if weight <= 1:
        return torch.full_like(seen_s, graph.delay_s)
    return seen_s.masked_fill(~counted[:, -1], torch.inf)


def stationary_tips(rate_per_s: float, delay_s: float, choices: int) -> float:
    """Return the mean tips k lambda h / (k - 1) for k >= 2 choices at high load (Popov, eq. 1)."""
    require(choices >= 2, "choices", choices, "2 or more tips")
    return choices * rate_per_s * delay_s / (choices - 1)


def weighed_in_theory_s(weight: float, rate_per_s: float, delay_s: float) -> float:
    """Return about how long a transaction takes to a cumulative weight, s, for two choices.

    2 e^(W(1/2) t/h) while few newcomers approve it (Popov, section 3), and lambda t from where that
    would grow faster than all newcomers together; at low load from the start. Joined so by us: the
    paper gives both ends.
    """
    steepest = rate_per_s * delay_s / GROWTH
    if steepest <= _FIRST_WEIGHT:
        return delay_s + (weight - 1) / rate_per_s
    reached = min(weight, steepest)
    adaptation_s = delay_s * math.log(max(reached / _FIRST_WEIGHT, 1.0)) / GROWTH
    return delay_s + adaptation_s + (weight - reached) / rate_per_s


def mean_weighed_s(
    rate_per_s: float, delay_s: float, choices: int, weight: int, sample: int = 40, runs: int = 8
) -> float:
    """Return the mean time to a cumulative weight, measured on graphs grown at a rate, s.

    Beyond 30 transactions in the time h, it goes on in proportion to `weighed_in_theory_s`.
    """
    if weight <= 1:
        return delay_s
    rate = min(rate_per_s, _MOST_HIDDEN / delay_s)
    theory_s = weighed_in_theory_s(weight, rate, delay_s)
    first = math.ceil(8 * rate * delay_s) + 20
    count = first + sample + math.ceil(2.5 * rate * theory_s) + weight
    seed = torch.arange(runs)
    found_s = weighed_s(grow(seed, rate, delay_s, count, choices), first, first + sample, weight)
    # The last ones of a graph that ends too early would only be longer.
    mean_s = float(found_s[found_s.isfinite()].mean())
    return mean_s * weighed_in_theory_s(weight, rate_per_s, delay_s) / theory_s
