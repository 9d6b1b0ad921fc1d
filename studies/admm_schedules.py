"""ADMM with device schedules in the loop: seats plan their batteries while they agree on trades.

    python studies/admm_schedules.py

Sequential ADMM of a community over a day (Tang et al. 2024, eq. 2), with the schedule x_i of each
seat's battery among what it decides in every round, y_ij,t what seat i sells to seat j in slot t:
    x_i, y_ij <- argmin f_i(x_i) + sum_j rho/2 |y_ij - z_ij + lambda_ij/rho|^2
    z_ij      <- argmin over z_ij = -z_ji: (a_ij - a_ji)/2 with a = y + lambda/rho
    lambda_ij <- lambda_ij + rho (y_ij - z_ij)
f_i is the seat's bill at the grid and the wear of its battery. Of a seat's trades only their sum
P_i,t matters to its devices, so that its argmin is a quadratic programme in the schedule with the
penalty rho/(2 m) |P_i - sum_j a'_ij|^2, m partners, a' = z - lambda/rho; the y_ij follow from it.

The reference is the same problem as one linear program by HiGHS, trades pooled. Loads and sun are
drawn, batteries and prices assumed: the study is of the algorithm, not of a place.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import linprog
from torch import Tensor

from gridbazaar.studies import pages, places
from gridbazaar.studies.quadratic_programme import solve_quadratic

RETAIL, FEED_IN, WEAR = 0.32, 0.08, 0.02  # EUR/kWh, assumed
EFFICIENCY = 0.95  # one way, assumed
# What a seat decides in each slot, all at least 0: buys of and sells to the grid, charges,
# discharges, energy stored, and what the last three leave of their bounds; kWh.
BUY, SELL, CHARGE, DISCHARGE, STORED = range(5)
KINDS = 8
_UNIQUE = 1e-7  # EUR/kWh per kWh on every decision, so that a seat has one best schedule


@dataclass(frozen=True)
class Community:
    """N seats over T slots, float64.

    Attributes:
        net_kwh: [N, T] sun less load.
        capacity_kwh, rate_kwh: [N] of the battery, and what it moves in a slot; both above 0.
    """

    net_kwh: Tensor
    capacity_kwh: Tensor
    rate_kwh: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """N and T."""
        return self.net_kwh.shape[0], self.net_kwh.shape[1]


@dataclass(frozen=True)
class Round:
    """Where the seats stand after a round.

    Attributes:
        schedule: [N, T, 8] kWh, as KINDS.
        trade, agreed, multiplier: y, z [N, N, T] kWh and lambda EUR/kWh; the diagonals are 0.
    """

    schedule: Tensor
    trade: Tensor
    agreed: Tensor
    multiplier: Tensor


def drawn(seats: int, slots: int, seed: int = 0) -> Community:
    """Return a community: half of the seats have sun, all have a battery, of other sizes."""
    draw = np.random.default_rng(seed)
    hour = (np.arange(slots) + 0.5) * 24 / slots
    sun = np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None) * 24 / slots
    evening = 0.3 + 0.7 * np.exp(-(((hour - 19) / 2.5) ** 2)) + 0.3 * np.exp(-((hour - 8) ** 2) / 4)
    load = evening * draw.uniform(0.6, 2.0, (seats, 1)) * draw.uniform(0.7, 1.3, (seats, slots))
    peak_kw = draw.uniform(2, 5, (seats, 1)) * (np.arange(seats) % 2 == 0)[:, None]
    capacity = draw.uniform(1, 6, seats)
    net = peak_kw * sun - load * 24 / slots
    return Community(
        torch.from_numpy(net),
        torch.from_numpy(capacity),
        torch.from_numpy(capacity / 4 * 24 / slots),
    )


def cost_of() -> Tensor:
    """Return what each kind of decision costs, [8] EUR/kWh."""
    cost = torch.zeros(KINDS, dtype=torch.float64)
    cost[BUY], cost[SELL], cost[DISCHARGE] = RETAIL, -FEED_IN, WEAR
    return cost


def to_trade() -> Tensor:
    """Return by how much each kind of decision raises what is left to sell to neighbours, [8]."""
    effect = torch.zeros(KINDS, dtype=torch.float64)
    effect[BUY], effect[SELL], effect[CHARGE], effect[DISCHARGE] = 1, -1, -1, 1
    return effect


def bounds_of(community: Community) -> tuple[Tensor, Tensor]:
    """Return equations of the batteries, [N, 4 T + 1, 8 T] and [N, 4 T + 1].

    Half full at the start and at the end; every bound takes up its rest.
    """
    N, T = community.shape
    rows = torch.zeros(N, 4, T, T, KINDS, dtype=torch.float64)
    right = torch.zeros(N, 4, T, dtype=torch.float64)
    limits = (community.rate_kwh, community.rate_kwh, community.capacity_kwh)
    slot = torch.arange(T)
    for k, limit in enumerate(limits):
        rows[:, k, slot, slot, CHARGE + k] = rows[:, k, slot, slot, STORED + 1 + k] = 1
        right[:, k] = limit.unsqueeze(-1)
    rows[:, 3, slot, slot, STORED] = 1
    rows[:, 3, slot[1:], slot[:-1], STORED] = -1
    rows[:, 3, slot, slot, CHARGE] = -EFFICIENCY
    rows[:, 3, slot, slot, DISCHARGE] = 1 / EFFICIENCY
    right[:, 3, 0] = community.capacity_kwh / 2
    last = torch.zeros(N, 1, T, KINDS, dtype=torch.float64)
    last[:, 0, -1, STORED] = 1
    matrix = torch.cat([rows.flatten(1, 2), last], 1).flatten(2)
    return matrix, torch.cat([right.flatten(1), community.capacity_kwh[:, None] / 2], 1)


def best_answer(community: Community, wish: Tensor, stiffness: float) -> Tensor:
    """Return schedules [N, T, 8] that cost least with stiffness/2 |P - wish|^2, wish [N, T] kWh."""
    N, T = community.shape
    effect = torch.kron(torch.eye(T, dtype=torch.float64), to_trade())
    linear = cost_of().repeat(T) + stiffness * (community.net_kwh - wish) @ effect
    one = torch.eye(T * KINDS, dtype=torch.float64)
    quadratic = stiffness * effect.mT @ effect + _UNIQUE * one
    matrix, right = bounds_of(community)
    found, solved = solve_quadratic(quadratic.expand(N, -1, -1), linear, matrix, right)
    if not bool(solved.all()):
        raise RuntimeError("a seat's programme was not solved; give less extreme prices or rho")
    return found.view(N, T, KINDS)


def position(community: Community, schedule: Tensor) -> Tensor:
    """Return what schedules leave to sell to neighbours, [N, T] kWh; negative to buy."""
    return community.net_kwh + schedule @ to_trade()


def play(community: Community, at: Round, rho: float) -> Round:
    """Play a round of the equations above."""
    N = community.shape[0]
    others = 1 - torch.eye(N, dtype=torch.float64).unsqueeze(-1)
    target = at.agreed - at.multiplier / rho
    schedule = best_answer(community, target.sum(1), rho / (N - 1))
    missing = position(community, schedule) - target.sum(1)
    trade = (target + missing.unsqueeze(1) / (N - 1)) * others
    a = trade + at.multiplier / rho
    agreed = (a - a.transpose(0, 1)) / 2
    return Round(schedule, trade, agreed, at.multiplier + rho * (trade - agreed))


def start(community: Community) -> Round:
    """Begin with no trade, at the middle of the grid's prices: a sale is worth it to the seller."""
    N, T = community.shape
    nothing = torch.zeros(N, N, T, dtype=torch.float64)
    price = (RETAIL + FEED_IN) / 2 * (1 - torch.eye(N, dtype=torch.float64)).unsqueeze(-1)
    return Round(torch.zeros(N, T, KINDS, dtype=torch.float64), nothing, nothing, nothing - price)


def settled_cost(community: Community, schedule: Tensor, agreed: Tensor) -> float:
    """Return what the community pays, EUR, if devices run and agreed trades are kept.

    What a seat then lacks or has too much goes to the grid, so that any round has a cost.
    """
    devices = schedule.clone()
    devices[..., [BUY, SELL]] = 0
    left = position(community, devices) - agreed.sum(1)
    grid = RETAIL * (-left).clamp(min=0) - FEED_IN * left.clamp(min=0)
    return float(grid.sum() + WEAR * schedule[..., DISCHARGE].sum())


def central_cost(community: Community, trading: bool = True) -> tuple[float, Tensor]:
    """Return the least cost, EUR, by one linear program, and its schedules; or without trade."""
    N, T = community.shape
    matrix, right = bounds_of(community)
    devices = sparse.block_diag(list(matrix.numpy()))
    by_slot = np.kron(np.eye(T), to_trade().numpy())
    pooled = np.tile(by_slot, N) if trading else sparse.block_diag([by_slot] * N)
    net = community.net_kwh.sum(0) if trading else community.net_kwh.flatten()
    found = linprog(
        np.tile(cost_of().numpy(), N * T),
        A_eq=sparse.vstack([devices, sparse.csr_matrix(pooled)]),
        b_eq=np.concatenate([right.flatten().numpy(), -net.numpy()]),
        method="highs",
    )
    if not found.success:
        raise RuntimeError(f"the linear program was not solved: {found.message}")
    return found.fun, torch.from_numpy(found.x).view(N, T, KINDS)


def curves(community: Community, rho: float, rounds: int) -> list[tuple[float, float, float]]:
    """Return after each round: disagreement and last change, kWh, and what all pay, EUR."""
    at = start(community)
    found = []
    for _ in range(rounds):
        before, at = at, play(community, at, rho)
        apart = (at.trade + at.trade.transpose(0, 1)).square().sum().sqrt() / 2
        moved = (at.agreed - before.agreed).square().sum().sqrt()
        cost = settled_cost(community, at.schedule, at.agreed)
        found.append((float(apart), float(moved), cost))
    return found


def table(community: Community, rho: float, rounds: int) -> str:
    """Return what the seats pay alone, trading their own plans, in the loop, and at best."""
    least = central_cost(community)[0]
    alone, own = central_cost(community, trading=False)
    devices = own.clone()
    devices[..., [BUY, SELL]] = 0
    left = position(community, devices).sum(0)
    traded = float(RETAIL * (-left).clamp(min=0).sum() - FEED_IN * left.clamp(min=0).sum())
    traded += WEAR * float(own[..., DISCHARGE].sum())
    found = curves(community, rho, rounds)
    shown = [n for n in (5, 10, 20, 50, 100, 200, 400) if n <= rounds]
    gain = alone - least
    lines = [
        "| | cost, EUR/day | of the gain | disagreement, kWh | last change, kWh |",
        "|---|---:|---:|---:|---:|",
        f"| each seat alone | {alone:.3f} | 0 | | |",
        f"| own plans, then trade | {traded:.3f} | {(alone - traded) / gain:.4f} | | |",
    ]
    for n in shown:
        apart, moved, cost = found[n - 1]
        share = (alone - cost) / gain
        lines.append(f"| ADMM, {n} rounds | {cost:.3f} | {share:.4f} | {apart:.1e} | {moved:.1e} |")
    lines.append(f"| one linear program | {least:.3f} | 1 | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seats", type=int, default=6)
    parser.add_argument("--slots", type=int, default=24, help="of a day")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--rho", type=float, default=0.1, help="EUR/kWh per kWh")
    parser.add_argument(
        "--page", type=places.page("admm schedules"), help="write the table into this page"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = table(drawn(options.seats, options.slots), options.rho, options.rounds)
    if options.page:
        pages.write(options.page, {"admm schedules": text})
    print(text)


if __name__ == "__main__":
    main()
