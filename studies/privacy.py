"""What an observer learns of a seat under each way to hide it, and what hiding costs.

    python studies/privacy.py
    python studies/privacy.py --days 7 --ledger block --page docs/privacy.md

The same test days of the default task with the same chances, each recorded in signed blocks. The
observer has the blocks alone; the biller has what the meters tell it. Printed is the Markdown table
of docs/privacy.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gridbazaar import configs, ledger_sim
from gridbazaar.agents.bidders import make
from gridbazaar.envs import batched, kpis
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.envs.simulation import Simulation
from gridbazaar.evaluation.audit import Audit
from gridbazaar.evaluation.observer import Learned, linked_share, most_learned, public_series
from gridbazaar.evaluation.rollout import play
from gridbazaar.evaluation.tournament import choose_days
from gridbazaar.ledger_sim.layers.protocol import chain_config, layers_of
from gridbazaar.ledger_sim.record.privacy import grouped_sums
from gridbazaar.studies import pages

OPEN, MASKED = "own_use", "load_masking"
# Layers, the lowest first, and who bids.
WAYS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((), OPEN),
    (("pseudonyms",), OPEN),
    (("blind_credentials",), OPEN),
    (("commit_reveal",), OPEN),
    (("noise",), OPEN),
    (("aggregated_disclosure",), OPEN),
    (("homomorphic_aggregation",), OPEN),
    (("homomorphic_aggregation", "blind_credentials"), OPEN),
    ((), MASKED),
    (("homomorphic_aggregation", "blind_credentials"), MASKED),
)
HEADS = (
    "what hides",
    "linked, %",
    "public: bits",
    "another day's",
    "from",
    "busy guessed, %",
    "switched guessed, %",
    "biller: bits",
    "homes with a battery",
    "cost, EUR/day",
    "more",
    "on the chain, kB/day",
    "beside it, kB/day",
    "final, min",
)


@dataclass(frozen=True)
class Outcome:
    """One way to hide.

    Attributes:
        name: layers and, where it is not the usual one, the bidder.
        linked: share of the pairs of a seat's transactions.
        public, biller: what each learns, of all seats with a load.
        homes: what the biller learns of homes with a battery.
        cost: of the community, EUR/day.
        on_chain, beside: bytes a day.
        final_s: median from gate closure.
    """

    name: str
    linked: float
    public: Learned
    biller: Learned
    homes: Learned
    cost: float
    on_chain: float
    beside: float
    final_s: float


def outcome(plain: Simulation, ledger: str, most: int, way: tuple[Sequence[str], str]) -> Outcome:
    """Play and record some days under one way to hide, and observe them."""
    layers, bidder = way
    days = choose_days(plain, plain.split, most)
    chosen = configs.option("ledger", ledger) | {"layers": list(layers)}
    world = Simulation(
        plain.community, plain.delivery, plain.market,
        ledger_sim.make(configs.complete_ledger(chosen)), plain.rules, len(days), plain.split, 0,
    )  # fmt: skip
    seed = torch.arange(len(days))
    audit = Audit(world, seed, seed)
    facts = Facts.of(plain.community, 0.0)  # carbon is not shown
    day = play(world, make(bidder, world.game), days, seed, facts, plain.delivery.limits, audit)
    if faults := audit.verify(0.0).faults:
        raise SystemExit(f"{way}: {faults[0]}")
    slots, n = day.load_kw.shape[0], world.num_seats
    accounts = np.stack([audit.accounts(slot) for slot in range(slots)], 1)
    linked = [linked_share(c, a) for c, a in zip(audit.chains, accounts, strict=True)]
    load = day.load_kw.permute(2, 1, 0).flatten(1)
    figures = kpis.compute(day)
    meter, homes = read_by_biller(day, world), facts.battery_kwh > 0
    extra = [one for one in layers_of(world.ledger) if hasattr(one, "bytes_per_day")]
    beyond = [one.bytes_per_day(n) for one in extra]
    config = chain_config(world.ledger)
    each = config.network.transaction_bytes if config else 0
    return Outcome(
        name=" + ".join([*layers, *([bidder] if bidder != OPEN else [])]) or "none",
        linked=float(np.nanmean(linked)),
        public=most_learned(load, public_series(audit.chains, n, slots), slots),
        biller=most_learned(load, {"meter": meter}, slots),
        homes=most_learned(load[homes], {"meter": meter[homes]}, slots),
        cost=float(figures["community_cost"].mean()),
        on_chain=float(figures["transactions"].mean()) * each + sum(b[0] for b in beyond),
        beside=sum(b[1] for b in beyond),
        final_s=float(figures["finality_p50"].median()),
    )


def read_by_biller(day: DayRecord, world: Simulation) -> Tensor:
    """Return what whoever bills reads of each seat [N, days x slots]: its meter, or opened sums."""
    meter, hidden = day.net_kw, world.disclosure
    if hidden.cipher_bits:
        traded = day.cleared_kw.abs().flatten(0, 1)
        sums, _ = grouped_sums(traded, hidden.seats)
        group = (torch.arange(traded.shape[1]) // hidden.seats).clamp(max=sums.shape[1] - 1)
        of_seat = sums[:, group].unflatten(0, day.cleared_kw.shape[:2])
        periods = of_seat.unflatten(0, (-1, hidden.slots)).sum(1, keepdim=True)
        meter = periods.expand(-1, hidden.slots, -1, -1).flatten(0, 1)
    return meter.permute(2, 1, 0).flatten(1)


def table(found: Sequence[Outcome]) -> str:
    """Return Markdown."""
    lines = [f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
    for one in found:
        cells = [
            f"`{one.name}`", f"{100 * one.linked:.0f}", f"{one.public.bits:.3f}",
            f"{one.public.of_another_day:.3f}", one.public.name,
            f"{100 * one.public.high:.0f}", f"{100 * one.public.steps:.0f}",
            f"{one.biller.bits:.3f}", f"{one.homes.bits:.3f}",
            f"{one.cost:.2f}", f"{one.cost - found[0].cost:+.2f}",
            f"{one.on_chain / 1e3:,.0f}", f"{one.beside / 1e3:,.0f}", f"{one.final_s / 60:.1f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Print the table, and write it into a page where one is given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ledger", default="proof_of_stake", help="beneath the layers")
    parser.add_argument("--days", type=int, default=7, help="evenly spaced test days")
    parser.add_argument("--page", type=Path, help="put the table between its marks in this page")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    plain = batched(num_envs=1, split="test")
    found = [outcome(plain, options.ledger, options.days, way) for way in WAYS]
    print(table(found))
    if options.page:
        pages.write(options.page, {"table: privacy": table(found)})


if __name__ == "__main__":
    main()
