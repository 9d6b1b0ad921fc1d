"""Study of community sizes: what each ledger takes of the savings, by market and size.

    python studies/communities/run.py --write docs/communities.md --plot docs/images/communities.png
    python studies/communities/run.py --markets uniform_auction --ledgers block ripple --days 5
    python studies/communities/run.py --from results/communities.csv   # plays nothing

Test days, evenly spaced, on which all seats bid `truthful`. Shares of one task's homes and chargers
are drawn, so that size changes and little else; other tasks are played whole. A ledger's layers
follow it, the lowest first: `proof_of_stake+channels`. docs/communities.md defines every figure.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from gridbazaar import configs, files, ledger_sim
from gridbazaar.agents.bidders import make
from gridbazaar.envs import kpis
from gridbazaar.envs.day_record import Facts
from gridbazaar.envs.markets import MARKETS
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import GridBazaarError
from gridbazaar.evaluation.config import GRID_ONLY, IDEAL, configure
from gridbazaar.evaluation.rollout import play
from gridbazaar.evaluation.stage import choose_days, without_positions
from gridbazaar.ledger_sim.layers.protocol import chain_config
from gridbazaar.studies import places
from gridbazaar.studies.communities.members import Sample, build_sample
from gridbazaar.studies.communities.plot import draw
from gridbazaar.studies.communities.report import tables, with_shares
from gridbazaar.studies.pages import write

BASELINE, BIDDER = "stand_alone", "truthful"
MARKETS_PLAYED = ("uniform_auction", "continuous", "iterative")
LAYERED = (
    "proof_of_work+channels",
    "proof_of_stake+off_chain_clearing",
    "proof_of_stake+merkle_batch",
    "proof_of_stake+channels",
    "tendermint+channels",
    "dbft+channels",
)
GROWN, SHARES, DRAWS = "rural3-v1", (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0), 2
WHOLE = ("rural1-v1", "semiurb4-v1", "urban6-v1")
FIGURES = (
    "community_cost", "ledger_fees", "missed_orders", "reverted_slots", "traded_energy",
    "confirmation_p50", "confirmation_p99", "finality_p50", "finality_p99", "ledger_energy",
    "transactions", "validator_messages",
)  # fmt: skip


def ledger_of(words: str) -> ledger_sim.Ledger:
    """Build a ledger from its name and those of its layers, joined by `+`."""
    name, *layers = words.split("+")
    return ledger_sim.make(
        configs.complete_ledger({**configs.option("ledger", name), "layers": layers})
    )


def serves_alone(ledger: ledger_sim.Ledger) -> bool:
    """Tell whether the validators work for this market alone, so that its members may run them."""
    config = chain_config(ledger)
    return (
        config is not None
        and not config.background_gas_per_s
        and config.transaction_energy_kwh is None
    )


class Days:
    """The days and chances that all markets and ledgers of a sample share."""

    def __init__(self, sample: Sample, most: int | None, carbon_kg_per_kwh: float):
        self.sample, self._facts = sample, Facts.of(sample.community, carbon_kg_per_kwh)
        self._first = choose_days(self._world(GRID_ONLY, ledger_of(IDEAL), 1), "test", most)
        self.baseline = self.means(BASELINE, GRID_ONLY, ledger_of(IDEAL))

    def _world(self, market: str, ledger: ledger_sim.Ledger, num_envs: int) -> Simulation:
        sample = self.sample.world
        world = without_positions(sample) if market == GRID_ONLY else sample
        kind, rules = MARKETS[market], world.task.rules
        mechanism = kind(MARKETS.configure(configs.option("market", market), "market"))
        community, delivery = self.sample.community, self.sample.delivery
        return Simulation(community, delivery, mechanism, ledger, rules, num_envs, "test", seed=0)

    def means(self, bidder: str, market: str, ledger: ledger_sim.Ledger) -> dict[str, float]:
        """Return each figure's mean over the days; NaN where no day has it."""
        days = self._first
        world = self._world(market, ledger, len(days))
        bids = make(bidder, world.game)
        seed, limits = torch.arange(len(days)), self.sample.delivery.limits
        found = kpis.compute(play(world, bids, days, seed, self._facts, limits))
        return {name: float(found[name].nanmean()) for name in FIGURES}

    def row(self, market: str, ledger: str, ideal: dict[str, float]) -> dict[str, Any]:
        """Return what a ledger does to a market, per day in EUR and kWh.

        `saved` is what trade saves under the ideal ledger, `lost` what missed and late orders take
        of it, `fees` what is charged; `nodes` is the electricity of validators that serve the
        market alone, at the retail price, NaN where others use the ledger too.
        """
        chain = ledger_of(ledger)
        found = self.means(BIDDER, market, chain)
        taken = found["community_cost"] - ideal["community_cost"]
        nodes = found["ledger_energy"] * self.sample.retail if serves_alone(chain) else float("nan")
        return {
            "market": market,
            "ledger": ledger,
            "saved": self.baseline["community_cost"] - ideal["community_cost"],
            "lost": taken - found["ledger_fees"],
            "fees": found["ledger_fees"],
            "nodes": nodes,
            **{name: found[name] for name in FIGURES if name != "ledger_fees"},
        }


def choose_places(tasks: Sequence[str], grown: str, draws: int) -> list[tuple[str, float, int]]:
    """Return task, share and draw of every community; a whole one needs no second draw."""
    parts = [(grown, s, d) for s in SHARES for d in range(draws if s < 1 else 1)]
    return parts + [(task, 1.0, 0) for task in tasks]


def rows(
    places: Sequence[tuple[str, float, int]],
    markets: Sequence[str],
    ledgers: Sequence[str],
    most_days: int | None,
    carbon_kg_per_kwh: float,
) -> Iterator[dict[str, Any]]:
    """Play everything; a row per sample, market and ledger.

    The task of the first sample meets all markets, other tasks the first.
    """
    grown = places[0][0]
    total = sum(len(markets) if task == grown else 1 for task, _, _ in places) * len(ledgers)
    with tqdm(total=total, unit="ledger", dynamic_ncols=True) as bar:
        for task, share, draw in places:
            sample = build_sample(task, share, draw)
            bar.set_description(f"{task}, {sample.seats} seats")
            days = Days(sample, most_days, carbon_kg_per_kwh)
            for market in markets if task == grown else markets[:1]:
                ideal = days.means(BIDDER, market, ledger_of(IDEAL))
                for ledger in ledgers:
                    row = days.row(market, ledger, ideal)
                    yield {"task": task, "share": share, "draw": draw, "seats": sample.seats} | row
                    bar.update()


def save(frame: pd.DataFrame, path: Path) -> None:
    """Write the rows, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, frame.to_csv(index=False))


def main() -> None:
    named = [name for name in configs.options("ledger") if name != IDEAL]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--markets", nargs="+", default=MARKETS_PLAYED, help="names")
    parser.add_argument("--ledgers", nargs="+", default=[*named, *LAYERED], help="ledger+layer+...")
    parser.add_argument("--grown", default=GROWN, help="task that is played in parts, too")
    parser.add_argument("--tasks", nargs="*", default=WHOLE, help="others, played whole")
    parser.add_argument(
        "--draws", type=places.count, default=DRAWS, help="of the members of a part"
    )
    parser.add_argument(
        "--days", type=places.count, default=30, help="of the test days; 91 are all"
    )
    parser.add_argument("--threads", type=places.count, default=1, help="of torch")
    parser.add_argument("--csv", type=places.file, default="results/communities.csv")
    earlier = places.played("ledger", "market", "task", "share")
    parser.add_argument("--from", type=earlier, dest="played", help="a CSV of an earlier run")
    its = places.page("savings", "service", "markets", "tasks")
    parser.add_argument("--write", type=its, help="put the tables into this page")
    parser.add_argument("--plot", type=places.plot, help="write the plot here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    carbon = configure(["name=communities"]).carbon_kg_per_kwh
    if options.played is not None:
        frame = options.played
    else:
        start = time.monotonic()
        chosen = choose_places(options.tasks, options.grown, options.draws)
        try:
            for words in options.ledgers:
                ledger_of(words)
            for name in options.markets:
                configs.option("market", name)
            frame = pd.DataFrame(
                rows(chosen, options.markets, options.ledgers, options.days, carbon)
            )
        except GridBazaarError as error:
            parser.error(str(error))
        save(frame, options.csv)
        print(f"{options.csv}: {len(frame)} rows in {(time.monotonic() - start) / 60:.0f} min")
    means = with_shares(frame, carbon)
    found = tables(means)
    print("\n\n".join(found.values()))
    if options.write:
        write(options.write, found)
    if options.plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        draw(means, carbon, options.plot)


if __name__ == "__main__":
    main()
