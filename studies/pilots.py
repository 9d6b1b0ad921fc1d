"""Pilots side by side: every preset on the same days, in one table and one picture.

    python studies/pilots.py --write docs --plot docs/images/pilots.png
    python studies/pilots.py --presets quartierstrom brooklyn --days 1
    python studies/pilots.py --set task=small-v1 task.ownership.pv_share=0.8
    python studies/pilots.py --from results/pilots.csv      # plays nothing

Test days, evenly spaced, with the same chances for all. Every seat bids `truthful` unless the
preset names another bidder. A pilot is held against its own community on the grid alone, and
against its own market on an ideal ledger. docs/pilots.md defines every figure; the pilots that have
a page of their own, docs/pilot_<preset>.md, find their row there too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from gridbazaar import files
from gridbazaar.agents.load import load
from gridbazaar.configs import options
from gridbazaar.configs.presets import read_preset
from gridbazaar.envs import kpis
from gridbazaar.envs.build import assemble, place_community
from gridbazaar.envs.config import WorldConfig
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.envs.placement import load_grid_and_series
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ConfigError, GridBazaarError
from gridbazaar.evaluation.audit import Audit
from gridbazaar.evaluation.config import GRID_ONLY, IDEAL, EvaluationConfig, configure
from gridbazaar.evaluation.rollout import play
from gridbazaar.evaluation.stage import choose_days, without_positions
from gridbazaar.studies import places
from gridbazaar.studies.chain_observer import Seen, seen_by_all
from gridbazaar.studies.ledger.holdout import quartierstrom
from gridbazaar.studies.ledger.text import rounded
from gridbazaar.studies.pages import write
from gridbazaar.studies.pilot_picture import draw

BIDDER = "truthful"
FIGURES = (
    "ledger_fees", "ledger_energy", "missed_orders", "traded_energy", "confirmation_p50",
    "finality_p50", "carbon", "transactions", "incentive_income",
)  # fmt: skip
# Heading of the table, column, and digits that count.
COLUMNS = (
    ("seats", "seats", 4),
    ("grid alone, EUR/day", "alone", 4),
    ("trade saves, %", "saved_ideal", 3),
    ("members keep, %", "saved", 3),
    ("the ledger takes, EUR/day", "taken", 3),
    ("incentives pay, EUR/day", "incentive_income", 3),
    ("order in a block, s", "confirmation_p50", 3),
    ("final, s", "finality_p50", 3),
    ("orders missed, %", "missed_orders", 3),
    ("linked, %", "linked", 3),
    ("read early, %", "read_early", 3),
    ("read, %", "read", 3),
    ("CO2 of the community, kg/day", "carbon", 3),
    ("CO2 of the ledger, kg/day", "ledger_carbon", 3),
)


def configured(preset: str, days: int, words: Sequence[str] = ()) -> EvaluationConfig:
    """Return a preset as one evaluation; raises ConfigError as `configure`."""
    who = [] if "bidder" in read_preset(preset) else [f"bidder={BIDDER}"]
    config = configure(["name=pilots", f"preset={preset}", f"days={days}", *who, *words])
    for name in ("market", "ledger", "bidder"):
        if (several := len(getattr(config, name))) != 1:
            raise ConfigError(f"{name}= names {several}; a pilot has one {name}: name one")
    return config


def settings(config: EvaluationConfig) -> str:
    """Return market, ledger with its layers, and incentives, as a table shows them."""
    schemes = [scheme["name"] for scheme in config.incentives]
    parts = [config.market[0], config.ledger_label(config.ledger[0]), *schemes]
    return ", ".join(f"`{part}`" for part in parts)


class Place:
    """A community on its feeder and the days that are played there, for any market and ledger."""

    def __init__(self, config: EvaluationConfig):
        self._split = config.split
        net_and_series = load_grid_and_series(config.task)
        self.community, self.delivery = place_community(config.task, *net_and_series)
        self._facts = Facts.of(self.community, config.carbon_kg_per_kwh)
        alone = without_positions(config.world(GRID_ONLY, IDEAL))
        self._days = choose_days(self._world(alone, 1), config.split, config.days)
        self._seed = torch.arange(len(self._days))
        self._costs: dict[tuple[str, str], float] = {}
        self.alone = self.cost(alone, config.baseline)

    def _world(self, world: WorldConfig, num_envs: int) -> Simulation:
        return assemble(world, self.community, self.delivery, num_envs, self._split, 0)

    def _play(
        self, world: WorldConfig, bidder: str, audited: bool
    ) -> tuple[DayRecord, Simulation, Audit | None]:
        simulation = self._world(world, len(self._days))
        audit = Audit(simulation, self._seed, torch.tensor([0])) if audited else None
        who, limits = load(bidder, simulation.game), self.delivery.limits
        day = play(simulation, who, self._days, self._seed, self._facts, limits, audit)
        return day, simulation, audit

    def cost(self, world: WorldConfig, bidder: str) -> float:
        """Return the community's cost by the day, EUR; what was played before is remembered."""
        key = (world.model_dump_json(), bidder)
        if key not in self._costs:
            self._costs[key] = _cost(self._play(world, bidder, audited=False)[0])
        return self._costs[key]

    def observed(self, world: WorldConfig, bidder: str) -> tuple[DayRecord, Seen]:
        """Return what happened, and what the first day's chain shows."""
        day, simulation, audit = self._play(world, bidder, audited=True)
        assert audit is not None
        gate_s, slot_s = simulation.rules.gate_closure_s, self.community.slot_minutes * 60
        return day, seen_by_all(audit, simulation.ledger, simulation.slots, slot_s, gate_s)


def figures(config: EvaluationConfig, place: Place) -> dict[str, Any]:
    """Return a pilot's means over the days: money in EUR, energy in kWh, carbon in kg a day."""
    market, who = config.market[0], config.bidder[0]
    alone, ideal = place.alone, place.cost(config.world(market, IDEAL), who)
    day, seen = place.observed(config.world(market, config.ledger[0]), who)
    found, cost = kpis.compute(day), _cost(day)
    means = {name: _mean(found[name]) for name in FIGURES}
    return {
        "seats": len(place.community.seats),
        "alone": alone,
        "ideal": ideal,
        "cost": cost,
        "taken": cost - ideal,
        "saved_ideal": 100 * (alone - ideal) / alone,
        "saved": 100 * (alone - cost) / alone,
        **means,
        "ledger_carbon": means["ledger_energy"] * config.carbon_kg_per_kwh,
        **asdict(seen),
    }


def _cost(day: DayRecord) -> float:
    return float(day.seat_cost.sum(-1).mean())


def _mean(figure: Tensor) -> float:
    return float(figure.double().nanmean())


def rows(presets: Iterable[str], days: int, words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Play every preset; a row each. Pilots of the same community meet the same days."""
    places: dict[str, Place] = {}
    for preset in presets:
        config = configured(preset, days, words)
        key = config.task.model_dump_json()
        if key not in places:
            places[key] = Place(config)
        named = {"preset": preset, "settings": settings(config), "task": config.task.name}
        yield named | figures(config, places[key])


def table(frame: pd.DataFrame) -> str:
    """Return the rows as Markdown, what members keep first."""
    heads = ["preset", "market, ledger, incentives", *(head for head, _, _ in COLUMNS)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in frame.sort_values("saved", ascending=False).to_dict("records"):
        cells = [rounded(row[key], digits) for _, key, digits in COLUMNS]
        lines.append(f"| `{row['preset']}` | {row['settings']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def alone(row: Mapping[str, Any]) -> str:
    """Return one row as Markdown of two columns."""
    lines = [f"| {head} | {rounded(row[key], digits)} |" for head, key, digits in COLUMNS]
    return "\n".join(["| figure | on these days |", "|---|---|", *lines])


def knee() -> str:
    """Return Quartierstrom's limits as the ledger model predicts them, beside what was measured."""
    lines = [
        f"| {each.figure} | {each.low:g} | {rounded(each.predicted)} | {rounded(each.miss)} |"
        for each in quartierstrom()
    ]
    head = ["| figure | measured | predicted | predicted over measured |", "|---|---|---|---|"]
    return "\n".join([*head, *lines])


def write_pages(folder: Path, frame: pd.DataFrame) -> None:
    """Put the table into pilots.md, and each row into the page of its pilot, where it has one."""
    write(folder / "pilots.md", {"pilots": table(frame)})
    for row in frame.to_dict("records"):
        page = folder / f"pilot_{row['preset']}.md"
        if page.is_file():
            texts = {"row": alone({str(key): value for key, value in row.items()})}
            write(page, texts | ({"knee": knee()} if row["preset"] == "quartierstrom" else {}))


def pages_of(text: str) -> Path:
    """Return a folder with a page of all pilots, and perhaps of some, that take the tables."""
    folder = Path(text)
    places.page("pilots")(str(folder / "pilots.md"))
    for page in folder.glob("pilot_*.md"):
        names = ("row", "knee") if page.stem == "pilot_quartierstrom" else ("row",)
        places.page(*names)(str(page))
    return folder


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--presets", nargs="+", default=options("preset"), help="names; else all")
    parser.add_argument("--days", type=places.count, default=4, help="of the test days")
    parser.add_argument("--set", nargs="*", default=[], metavar="WORD", help="words over presets")
    parser.add_argument("--threads", type=places.count, default=1, help="of torch")
    parser.add_argument("--csv", type=places.file, default="results/pilots.csv")
    earlier = places.played("preset", "settings", *(key for _, key, _ in COLUMNS))
    parser.add_argument("--from", type=earlier, dest="played", help="a CSV of an earlier run")
    parser.add_argument("--write", type=pages_of, help="folder of the pages that take the figures")
    parser.add_argument("--plot", type=places.plot, help="write the picture here")
    chosen = parser.parse_args(words)
    torch.set_num_threads(chosen.threads)
    if chosen.played is not None:
        frame = chosen.played
    else:
        start = time.monotonic()
        try:
            for preset in chosen.presets:
                configured(preset, chosen.days, chosen.set)
            bar = tqdm(chosen.presets, unit="pilot", dynamic_ncols=True)
            frame = pd.DataFrame(rows(bar, chosen.days, chosen.set))
        except GridBazaarError as error:
            parser.error(str(error))
        chosen.csv.parent.mkdir(parents=True, exist_ok=True)
        files.write(chosen.csv, frame.to_csv(index=False))
        took = (time.monotonic() - start) / 60
        print(f"{chosen.csv}: {len(frame)} pilots, {chosen.days} days, {took:.0f} min")
    print(table(frame))
    if chosen.write:
        write_pages(chosen.write, frame)
    if chosen.plot:
        chosen.plot.parent.mkdir(parents=True, exist_ok=True)
        draw(frame, chosen.plot)


if __name__ == "__main__":
    main()
