"""Results of an evaluation: played, written whole or not at all, read back for the terminal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from gridbazaar import files
from gridbazaar.agents.learning.run_folder import versions
from gridbazaar.agents.load import load
from gridbazaar.envs.day_record import DayRecord
from gridbazaar.envs.memory import check_device
from gridbazaar.evaluation import example_days, mechanism_plots, plots, results_folder, validation
from gridbazaar.evaluation.canvas import files_of
from gridbazaar.evaluation.config import EvaluationConfig, is_learned, label, learned_parts
from gridbazaar.evaluation.day_plot import day as day_plot
from gridbazaar.evaluation.entries import check_set
from gridbazaar.evaluation.kept import KeptOutcomes
from gridbazaar.evaluation.latex import latex
from gridbazaar.evaluation.learning_curves import learning_curve, read_curves
from gridbazaar.evaluation.mechanisms import several
from gridbazaar.evaluation.outcome import BOUNDS, PLANNER, PLAYED, WITHIN_LIMITS
from gridbazaar.evaluation.provenance import differences, trained_on, unknown
from gridbazaar.evaluation.report import render
from gridbazaar.evaluation.report_data import collect
from gridbazaar.evaluation.stage import Maker
from gridbazaar.evaluation.standing import standing
from gridbazaar.evaluation.strategies import strategies
from gridbazaar.evaluation.summary import episodes, kpi_table, reference_of, rows, strict
from gridbazaar.evaluation.tables import markdown, terminal
from gridbazaar.evaluation.timing import timed, timing
from gridbazaar.evaluation.tournament import Tournament, run
from gridbazaar.evaluation.waterfall import waterfalls
from gridbazaar.palette import GREY, INK, PAPER, bidder_colours


def evaluate(config: EvaluationConfig, make: Maker = load, quiet: bool = False) -> Path:
    """Run a tournament and write its results; return their folder.

    The place is made ready first, and outcomes are kept there as they finish: after a failure in
    the middle, `resume=true` goes on with them.

    Raises:
        ResultsError: the folder exists and `overwrite` is false, or is no evaluation's; or there is
            nothing to resume, or it was begun otherwise.
        BusyError: another process writes the same results.
        ConfigError: the device is not there.
        OptimumError: no optimum was found.
        OSError: the place cannot be written.
    """
    for bidder in filter(is_learned, config.bidder):
        check_set(bidder)
    check_device(config.device)
    folder = files.real(Path(config.folder) / config.name)
    with files.claim(folder):
        files.recover(folder)
        results_folder.check(folder, config.overwrite)
        workshop = results_folder.workshop(folder)
        kept = KeptOutcomes(workshop, config)
        try:
            _play(config, make, quiet, kept, workshop / "results")
            results_folder.move_into_place(workshop / "results", folder, config.overwrite)
        except BaseException as error:
            if kept.count:
                error.add_note(f"{kept.count} outcomes are kept: resume=true goes on with them")
            else:
                shutil.rmtree(workshop, ignore_errors=True)
            raise
        shutil.rmtree(workshop, ignore_errors=True)
    return folder


def _play(
    config: EvaluationConfig, make: Maker, quiet: bool, kept: KeptOutcomes, target: Path
) -> None:
    """Play what is not kept yet and write the results into a new folder."""
    curves = _curves(config)  # a broken one is named before hours are played
    with ExitStack() as bars:  # closed at an error too, so that its line stands alone

        def progress(items: Iterable[Any], what: str) -> Iterable[Any]:
            return bars.enter_context(tqdm(items, desc=what, disable=quiet))

        tournament = run(config, make, progress, kept)
        chosen = validation.played_on(config, make, progress)
    shutil.rmtree(target, ignore_errors=True)
    (target / "plots").mkdir(parents=True)
    write(target, config, tournament, curves, chosen)


def write(
    folder: Path,
    config: EvaluationConfig,
    tournament: Tournament,
    curves: dict[str, pd.DataFrame],
    chosen: Tournament | None = None,
) -> None:
    """Write summary, timing, episodes, days, plots, report and table into an existing folder.

    `chosen` is what learned bidders did on validation days.
    """
    found = rows(config, tournament)
    learned = [name for bidder in config.bidder for name in learned_parts(bidder)]
    trained = {label(name): trained_on(name) for name in learned}
    summary = {
        "task": config.task.name,
        "config": _dumped(config),
        "versions": versions(),
        "days": {
            "split": config.split,
            "count": len(tournament.first_slot),
            "repeats": tournament.repeats,
            "first_slots": tournament.first_slot.tolist(),
        },
        "kpis": kpi_table(tournament.facts.currency, config.exploitability),
        "rows": found,
        "strategies": strategies(config, tournament),
        "trained": trained,
        "warnings": _warnings(config, trained),
        "waterfalls": waterfalls(found, config.reference_of_markets),
        "cheapest": standing(config, tournament, found),
        "validation": validation.compared(config, tournament, chosen),
        "band": tournament.band,
    }
    _draw(folder / "plots", config, tournament, summary, curves)
    summary, times = strict(summary), strict(timing(tournament))
    for name, content in (("summary", summary), ("timing", times)):
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        files.write(folder / f"{name}.json", text)
    played = episodes(tournament, config.seed)
    played.to_parquet(folder / "episodes.parquet", index=False)
    example_days.write(folder, tournament)
    shown = timed(summary, times)
    data = collect(shown, played, example_days.ExampleDays(folder), curves)
    files.write(folder / "report.html", render(shown, data, _days(config, tournament)))
    files.write(folder / "table.md", markdown(shown))
    files.write(folder / "table.tex", latex(shown))


def finished(folder: Path, config: EvaluationConfig) -> bool:
    """Return whether a folder holds the whole results of this configuration."""
    path = folder / "summary.json"
    if not (path.is_file() and (folder / results_folder.MARKER).is_file()):
        return False
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["config"]
    except (ValueError, KeyError, TypeError):  # no summary of ours
        return False
    return bool(found == json.loads(json.dumps(_dumped(config))))


def _dumped(config: EvaluationConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude={"resume"})


def _warnings(config: EvaluationConfig, trained: dict[str, Any]) -> list[str]:
    """Return where learned bidders play what they were not trained on, or what nobody knows."""
    where = (config.task.name, config.market, config.ledger)
    lines = []
    for name, given in trained.items():
        lines += [unknown(name)] if given is None else differences(name, given, *where)
    return lines


def table(folder: Path) -> str:
    """Return the comparison in a results folder as lines for the terminal, cheapest first."""
    summary, times = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("summary", "timing")
    )
    return terminal(timed(summary, times))


def _draw(
    folder: Path,
    config: EvaluationConfig,
    tournament: Tournament,
    summary: dict[str, Any],
    curves: dict[str, pd.DataFrame],
) -> None:
    """Draw all plots as PNG, and for a paper where its format is given."""
    files_of(folder, "png", {}, lambda: _plots(config, tournament, summary, curves))
    if config.format != "png":
        files_of(folder, config.format, PAPER, lambda: _plots(config, tournament, summary, curves))


def _plots(
    config: EvaluationConfig,
    tournament: Tournament,
    summary: dict[str, Any],
    curves: dict[str, pd.DataFrame],
) -> dict[str, Figure | None]:
    """Return all plots by name, in the style in force; None where there is nothing to draw."""
    found = summary["rows"]
    names = [label(bidder) for bidder in (*config.bidder, config.baseline)]
    learned = [label(bidder) for bidder in config.bidder if is_learned(bidder)]
    colours = bidder_colours(list(dict.fromkeys(names)), learned)
    colours |= {PLAYED: INK, WITHIN_LIMITS: INK, PLANNER: GREY}
    return {
        "cost": plots.cost(found, colours),
        "differences": plots.differences(found, colours),
        "waterfall": plots.waterfall(summary["waterfalls"]),
        "mechanisms": mechanism_plots.differences(found, colours),
        "heat": mechanism_plots.heat(found) if several(found) else None,
        "savings": plots.savings(found, colours),
        "profile": plots.profile(found, colours),
        "roles": plots.roles(found),
        "voltages": plots.voltages(found, tournament.outcomes, colours, tournament.band),
        "day": day_plot(_example(config, tournament, found)),
        "learning": learning_curve(curves, colours),
    }


def _example(
    config: EvaluationConfig, tournament: Tournament, found: Sequence[dict[str, Any]]
) -> list[tuple[str, DayRecord]]:
    """Return the example day of the reference bidder and of the best other, else the grid alone."""
    played = [
        (row, outcome)
        for row, outcome in zip(found, tournament.outcomes, strict=True)
        if row["bidder"] not in BOUNDS
    ]
    mine = [pair for pair in played if pair[0]["bidder"] == reference_of(config)]
    first = next((pair for pair in mine if not pair[0]["baseline"]), mine[0])
    others = [
        pair
        for pair in played
        if pair[0]["bidder"] != first[0]["bidder"]
        and (pair[0]["market"], pair[0]["ledger"]) == (first[0]["market"], first[0]["ledger"])
    ]
    chosen = [first]
    if others:
        chosen.append(min(others, key=lambda pair: pair[0]["kpis"]["community_cost"]["mean"]))
    elif first is not played[0]:
        chosen.append(played[0])
    return [
        (plots.title_of(row), outcome.example.select(0))
        for row, outcome in chosen
        if outcome.example
    ]


def _curves(config: EvaluationConfig) -> dict[str, pd.DataFrame]:
    """Return the learning curves of the runs among the bidders, by label.

    Raises DataError where one cannot be read.
    """
    found = {label(name): read_curves(name) for name in filter(is_learned, config.bidder)}
    return {name: curve for name, curve in found.items() if curve is not None}


def _days(config: EvaluationConfig, tournament: Tournament) -> str:
    count, repeats = len(tournament.first_slot), tournament.repeats
    again = f", each {repeats} times with other chances" if repeats > 1 else ""
    return (
        f"{count} days of the {config.split} split{again}, {len(tournament.facts.seats)} seats; "
        "all bidders meet the same days and chances."
    )
