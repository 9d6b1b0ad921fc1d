"""Pilots side by side: every preset on the same days, in one table and one picture.

    python studies/pilots.py --write docs/pilots.md --plot docs/images/pilots.png
    python studies/pilots.py --presets quartierstrom brooklyn --days 1
    python studies/pilots.py --set task=small-v1 task.ownership.pv_share=0.8
    python studies/pilots.py --from results/pilots.csv      # plays nothing

Test days, evenly spaced, with the same chances for all. Every seat bids `truthful` unless the
preset names another bidder. A pilot is held against its own community on the grid alone, and
against its own market on an ideal ledger. docs/pilots.md defines every figure.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
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
from gridbazaar.envs.community import Community
from gridbazaar.envs.config import TaskConfig, WorldConfig
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.envs.delivery import Delivery
from gridbazaar.envs.placement import load_grid_and_series
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ConfigError, GridBazaarError
from gridbazaar.evaluation.audit import Audit
from gridbazaar.evaluation.config import GRID_ONLY, IDEAL, EvaluationConfig, configure
from gridbazaar.evaluation.rollout import play
from gridbazaar.evaluation.tournament import choose_days, without_positions
from gridbazaar.studies.chain_observer import Seen, seen_by_all
from gridbazaar.studies.ledger.text import rounded
from gridbazaar.studies.pages import write
from gridbazaar.studies.pilot_picture import draw

BIDDER = "truthful"
FIGURES = (
    "ledger_fees", "ledger_energy", "missed_orders", "traded_energy", "confirmation_p50",
    "finality_p50", "carbon", "transactions",
)  # fmt: skip
# Heading of the table, column, and digits that count.
COLUMNS = (
    ("seats", "seats", 4),
    ("grid alone, EUR/day", "alone", 4),
    ("trade saves, %", "saved_ideal", 3),
    ("members keep, %", "saved", 3),
    ("the ledger takes, EUR/day", "taken", 3),
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
    return configure(["name=pilots", f"preset={preset}", f"days={days}", *who, *words])


def settings(config: EvaluationConfig) -> str:
    """Return market and ledger with its layers, as a table shows them."""
    return f"`{config.market[0]}`, `{config.ledger_label(config.ledger[0])}`"


@cache
def _placed(task: str) -> tuple[Community, Delivery]:
    """Return a task's community, from its configuration as JSON; pilots share it."""
    config = TaskConfig.model_validate_json(task)
    return place_community(config, *load_grid_and_series(config))


class Pilot:
    """One preset's days: its worlds, their chances and what is played on them."""

    def __init__(self, config: EvaluationConfig):
        self._config = config
        self._community, self._delivery = _placed(config.task.model_dump_json())
        self._facts = Facts.of(self._community, config.carbon_kg_per_kwh)
        self._days = choose_days(self._world(self._alone(), 1), config.split, config.days)
        self._seed = torch.arange(len(self._days))

    @property
    def seats(self) -> int:
        """N."""
        return len(self._community.seats)

    def _alone(self) -> WorldConfig:
        return without_positions(self._config.world(GRID_ONLY, IDEAL))

    def _world(self, world: WorldConfig, num_envs: int) -> Simulation:
        return assemble(world, self._community, self._delivery, num_envs, self._config.split, 0)

    def _play(
        self, world: WorldConfig, bidder: str, audited: bool = False
    ) -> tuple[DayRecord, Seen]:
        simulation = self._world(world, len(self._days))
        audit = Audit(simulation, self._seed, torch.tensor([0])) if audited else None
        day = play(
            simulation,
            load(bidder, simulation.game),
            self._days,
            self._seed,
            self._facts,
            self._delivery.limits,
            audit,
        )
        if audit is None:
            return day, Seen(np.nan, np.nan, np.nan)
        rules, slot_s = simulation.rules, self._community.slot_minutes * 60
        chain, ledger = audit.chains[0], simulation.ledger
        return day, seen_by_all(chain, ledger, simulation.slots, slot_s, rules.gate_closure_s)

    def row(self) -> dict[str, Any]:
        """Return the means over the days: money in EUR, energy in kWh, carbon in kg a day."""
        config, market = self._config, self._config.market[0]
        who = config.bidder[0]
        alone = _cost(self._play(self._alone(), config.baseline)[0])
        ideal = _cost(self._play(config.world(market, IDEAL), who)[0])
        day, seen = self._play(config.world(market, config.ledger[0]), who, audited=True)
        found = kpis.compute(day)
        means = {name: _mean(found[name]) for name in FIGURES}
        cost = _cost(day)
        return {
            "seats": self.seats,
            "alone": alone,
            "ideal": ideal,
            "cost": cost,
            "taken": cost - ideal,
            "saved_ideal": 100 * (alone - ideal) / alone,
            "saved": 100 * (alone - cost) / alone,
            **means,
            "ledger_carbon": means["ledger_energy"] * config.carbon_kg_per_kwh,
            "linked": seen.linked,
            "read_early": seen.read_early,
            "read": seen.read,
        }


def _cost(day: DayRecord) -> float:
    return float(day.seat_cost.sum(-1).mean())


def _mean(figure: Tensor) -> float:
    return float(figure.double().nanmean())


def rows(presets: Iterable[str], days: int, words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Play every preset; a row each."""
    for preset in presets:
        config = configured(preset, days, words)
        yield {
            "preset": preset,
            "settings": settings(config),
            "task": config.task.name,
            **Pilot(config).row(),
        }


def table(frame: pd.DataFrame) -> str:
    """Return the rows as Markdown, what members keep first."""
    heads = ["preset", "market, ledger", *(head for head, _, _ in COLUMNS)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in frame.sort_values("saved", ascending=False).to_dict("records"):
        cells = [rounded(row[key], digits) for _, key, digits in COLUMNS]
        lines.append(f"| `{row['preset']}` | {row['settings']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--presets", nargs="+", default=options("preset"), help="names; else all")
    parser.add_argument("--days", type=int, default=4, help="of the test days")
    parser.add_argument("--set", nargs="*", default=[], metavar="WORD", help="words over presets")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--csv", type=Path, default=Path("results/pilots.csv"))
    parser.add_argument("--from", type=Path, dest="played", help="a CSV of an earlier run")
    parser.add_argument("--write", type=Path, help="put the table into this page")
    parser.add_argument("--plot", type=Path, help="write the picture here")
    chosen = parser.parse_args(words)
    torch.set_num_threads(chosen.threads)
    if chosen.played:
        frame = pd.read_csv(chosen.played)
    else:
        start = time.monotonic()
        try:
            if chosen.days < 1:
                raise ConfigError(f"--days is {chosen.days}: expected at least 1")
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
        write(chosen.write, {"pilots": table(frame)})
    if chosen.plot:
        draw(frame, chosen.plot)


if __name__ == "__main__":
    main()
