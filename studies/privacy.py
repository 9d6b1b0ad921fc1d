"""What an observer learns of a seat under each way to hide it, and what hiding costs.

    python studies/privacy.py
    python studies/privacy.py --days 7 --ledger block --page docs/privacy.md

The same test days of the default task with the same chances, each recorded in signed blocks. The
observer has the blocks alone; the biller has what the meters tell it. Printed are the Markdown
tables of docs/privacy.md: every way to hide, and the battery's mask by how long it remembers.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
from gridbazaar.evaluation.stage import choose_days
from gridbazaar.ledger_sim.layers.protocol import chain_config, layers_of
from gridbazaar.ledger_sim.record.privacy import grouped_sums
from gridbazaar.studies import pages, places

Layer = str | dict[str, Any]
OPEN, MASKED = "own_use", "load_masking"
# Layers, the lowest first, and who bids.
DAILY = {"name": "homomorphic_aggregation", "slots": 96}
WAYS: tuple[tuple[tuple[Layer, ...], str], ...] = (
    ((), OPEN),
    (("pseudonyms",), OPEN),
    (("blind_credentials",), OPEN),
    (("commit_reveal",), OPEN),
    (("noise",), OPEN),
    (("aggregated_disclosure",), OPEN),
    (("homomorphic_aggregation",), OPEN),
    ((DAILY,), OPEN),
    ((DAILY, "blind_credentials"), OPEN),
    ((), MASKED),
    ((DAILY, "blind_credentials"), MASKED),
)
MASK_HOURS = (1.0, 3.0, 6.0, 12.0, 24.0)
MASK_HEADS = ("meter", "bits", "busy guessed, %", "switched guessed, %", "a home's cost, EUR/day")
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


def outcome(plain: Simulation, ledger: str, most: int, way: tuple[Sequence[Layer], str]) -> Outcome:
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
        name=name_of(layers, bidder),
        linked=float(np.nanmean(linked)),
        public=most_learned(load, public_series(audit.chains, n, slots), slots),
        biller=most_learned(load, {"meter": meter}, slots),
        homes=most_learned(load[homes], {"meter": meter[homes]}, slots),
        cost=float(figures["community_cost"].mean()),
        on_chain=float(figures["transactions"].mean()) * each + sum(b[0] for b in beyond),
        beside=sum(b[1] for b in beyond),
        final_s=float(figures["finality_p50"].median()),
    )


def name_of(layers: Sequence[Layer], bidder: str) -> str:
    """Name a way to hide by its layers, what they change, and a bidder that is not the usual."""
    words = []
    for layer in layers:
        values = {"name": layer} if isinstance(layer, str) else dict(layer)
        changed = ", ".join(f"{key} {value}" for key, value in values.items() if key != "name")
        words.append(f"{values['name']} ({changed})" if changed else str(values["name"]))
    return " + ".join([*words, *([bidder] if bidder != OPEN else [])]) or "none"


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


def mask_table(plain: Simulation, most: int) -> str:
    """Return Markdown of what the meters of homes with a battery tell of their loads, and cost."""
    days = choose_days(plain, plain.split, most)
    world = Simulation(
        plain.community, plain.delivery, plain.market, plain.ledger, plain.rules,
        len(days), plain.split, 0,
    )  # fmt: skip
    facts = Facts.of(plain.community, 0.0)
    homes = (facts.battery_kwh > 0) & ~facts.seats_of("storage")
    masks = [(f"`{MASKED}`, {h:g} h", MASKED, {"smoothing_h": h}) for h in MASK_HOURS]
    rows: list[tuple[Learned, str]] = []
    for name, bidder, changes in ((f"`{OPEN}`", OPEN, {}), *masks):
        bids = make(bidder, world.game, changes)
        seed = torch.arange(len(days))
        day = play(world, bids, days, seed, facts, plain.delivery.limits)
        load, meter, bare = (
            series.permute(2, 1, 0).flatten(1)[homes]
            for series in (day.load_kw, day.net_kw, day.pv_kw - day.load_kw)
        )
        slots, cost = day.load_kw.shape[0], f"{float(day.cost.sum(0)[:, homes].mean()):.2f}"
        if not rows:
            rows.append((most_learned(load, {"load and sun alone": bare}, slots), ""))
        rows.append((most_learned(load, {name: meter}, slots), cost))
    lines = [f"| {' | '.join(MASK_HEADS)} |", f"|{'---|' * len(MASK_HEADS)}"]
    for told, cost in rows:
        guessed = f"{100 * told.high:.0f} | {100 * told.steps:.0f}"
        lines.append(f"| {told.name} | {told.bits:.3f} | {guessed} | {cost} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Print the table, and write it into a page where one is given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ledger", default="proof_of_stake", help="beneath the layers")
    parser.add_argument("--days", type=int, default=7, help="evenly spaced test days")
    its = places.page("study: privacy", "study: masks")
    parser.add_argument("--page", type=its, help="put the table between its marks in this page")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    plain = batched(num_envs=1, split="test")
    found = [outcome(plain, options.ledger, options.days, way) for way in WAYS]
    tables = {
        "study: privacy": table(found),
        "study: masks": mask_table(plain, options.days),
    }
    print("\n\n".join(tables.values()))
    if options.page:
        pages.write(options.page, tables)


if __name__ == "__main__":
    main()
