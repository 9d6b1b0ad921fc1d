"""Incentive schemes compared: what each pays to whom, and what becomes of its goods.

    python studies/incentives.py
    python studies/incentives.py --task small --market continuous --bidder tariff_rule --days 3

Schemes change nothing of who trades what, so that all of them read the meters of the same days.
Printed is a Markdown table, as in docs/incentives.md.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor

from gridbazaar.agents.bidders import make
from gridbazaar.configs import options
from gridbazaar.envs import batched
from gridbazaar.envs.incentives import INCENTIVES
from gridbazaar.envs.observation import ROLES
from gridbazaar.envs.simulation import Simulation
from gridbazaar.evaluation.stage import choose_days


@torch.no_grad()
def totals(sim: Simulation, bidder: str, days: Tensor) -> tuple[dict[str, Tensor], ...]:
    """Return what each scheme pays [B, N] EUR, what is issued of its goods [B, N], and their moves.

    The last are transactions, [B, N] of each scheme. All are sums of the day.
    """
    paid: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
    issued: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
    moved: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
    bids = make(bidder, sim.game)
    observation, state = sim.reset(days, seed=0), None
    for _ in range(sim.slots):
        action, state = bids.act(observation, state)
        interval = sim.step(action)
        observation, rewarded = interval.observation, interval.rewarded
        assert rewarded is not None
        for name, amount in rewarded.by_scheme.items():
            paid[name] = paid[name] + amount
        moves: dict[str, Tensor] = {}
        for good, movement in rewarded.movements.items():
            issued[good] = issued[good] + movement.issued
            name = good.partition(".")[0]
            moves[name] = moves.get(name, torch.zeros_like(movement.moves)) | movement.moves
        for name, which in moves.items():
            moved[name] = moved[name] + which
    return paid, issued, moved


def table(sim: Simulation, bidder: str, days: Tensor) -> Iterator[str]:
    """Yield the lines of the table: means over days, EUR by role, goods and transactions."""
    paid, issued, moved = totals(sim, bidder, days)
    roles = [role for role in ROLES if role in sim.community.roles]
    mine = {role: sim.community.role == sim.community.roles.index(role) for role in roles}
    yield f"| scheme | paid by | all seats | {' | '.join(roles)} | issued a day | changes a day |"
    yield f"|{'---|' * (len(roles) + 5)}"
    for name in sim.incentives.schemes:
        by_seat = paid[name].mean(0)
        per_role = [f"{float(by_seat[mine[role]].sum()):+.2f}" for role in roles]
        goods = ", ".join(
            f"{float(issued[f'{name}.{good}'].sum(-1).mean()):,.4g} {good}"
            for good in INCENTIVES[name].goods
        )
        changes = f"{float(moved[name].sum(-1).float().mean()):,.0f}" if goods else "–"
        whole = f"{float(by_seat.sum()):+.2f}"
        parts = (f"`{name}`", INCENTIVES[name].payer, whole, *per_role, goods or "–", changes)
        yield f"| {' | '.join(parts)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", default="semiurb4_v2g", help="whose meters are read")
    parser.add_argument("--market", default="uniform_auction", help="that seats trade in")
    parser.add_argument("--bidder", default="truthful", help="of all seats")
    parser.add_argument("--days", type=int, default=7, help="evenly spaced test days")
    given = parser.parse_args()
    torch.set_num_threads(1)
    words = (f"incentives=[{','.join(options('incentive'))}]",)
    probe = batched(given.task, given.market, overrides=words, num_envs=1, split="test")
    days = choose_days(probe, "test", given.days)
    sim = Simulation(
        probe.community,
        probe.delivery,
        probe.market,
        probe.ledger,
        probe.rules,
        len(days),
        "test",
        0,
        probe.incentives,
    )
    print("\n".join(table(sim, given.bidder, days)))


if __name__ == "__main__":
    main()
