"""Generalisation: bidders trained on one task, played elsewhere without being trained again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from pydantic import Field
from tqdm import tqdm

from gridbazaar import files
from gridbazaar.agents.learning.run_folder import versions
from gridbazaar.config import Config, Count, validate
from gridbazaar.configs import option, options
from gridbazaar.errors import ConfigError, GridBazaarError, UnknownNameError, in_one_line
from gridbazaar.evaluation import cells, leaderboard, results_folder
from gridbazaar.evaluation import config as evaluation_config
from gridbazaar.evaluation.cells import Case, Played
from gridbazaar.evaluation.config import is_learned, label
from gridbazaar.evaluation.entries import Entries, entries
from gridbazaar.evaluation.figures import percent
from gridbazaar.evaluation.provenance import differences, trained_on
from gridbazaar.evaluation.summary import episodes, strict
from gridbazaar.evaluation.tables import piped
from gridbazaar.palette import GREY, style

TABLE, RESULTS, PICTURE, RAW = "table.md", "generalisation.json", "heat.png", "raw"
TRUTHFUL = "truthful"
_TAKEN = ("name", "folder", "overwrite", "bidder", "days", "seed", "device", "cases", "planner")


class CaseConfig(Config):
    """One case: its name, the words of its evaluation, and a file that it needs."""

    name: str = Field(description="of the case")
    words: tuple[str, ...] = Field(description="of its evaluation")
    needs: str | None = Field(
        None,
        description="a file without which the case is skipped; null: none",
    )


class CasesConfig(Config):
    """The cases of configs/generalisation/<name>.yaml."""

    name: str = Field(description="of the list")
    cases: tuple[CaseConfig, ...] = Field(description="that are played")


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
        name, folder, overwrite: where results are written.
        bidders: that are played, the learned one first; `truthful` and the planner join them.
        cases: option of configs/generalisation/.
        days: of each case's test days, evenly spaced.
        seed, device, planner: as an evaluation has them.
    """

    name: str
    bidders: tuple[str, ...]
    folder: str = "results"
    overwrite: bool = False
    cases: str = "standard"
    days: int = 13
    seed: int = 0
    device: str = "cpu"
    planner: bool = True


class _Words(Config):
    """Types of the words that are no text."""

    overwrite: bool = Field(False, description="whether to begin anew")
    planner: bool = Field(True, description="whether the planner plays")
    days: Count = Field(13, description="of each case")
    seed: int = Field(0, description="of the chances")


def play_words(words: Sequence[str]) -> Path:
    """Play what command-line words mean; return the folder of results.

    Raises:
        ConfigError: a word is refused, or no learned bidder is named.
    """
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in _TAKEN:
            raise ConfigError(
                f"{word!r} has no place beside --generalisation, whose cases say what is played; "
                f"it takes {', '.join(_TAKEN)}"
            )
        given[key] = value.strip().strip("'\"")
    listed = given.pop("bidder", "").removeprefix("[").removesuffix("]").split(",")
    bidders = tuple(name.strip().strip("'\"") for name in listed if name.strip())
    if "name" not in given or not bidders:
        raise ConfigError("name= and bidder= are needed, as in name=far 'bidder=[runs/demo]'")
    typed = [key for key in given if key in _Words.model_fields]
    values = validate(_Words, {key: given.pop(key) for key in typed}).model_dump()
    return play(Options(bidders=bidders, **{**given, **values}))


def play(options_: Options, quiet: bool = False) -> Path:
    """Play all cases as far as they are not played yet, and write table and heat map.

    Raises:
        ConfigError: the first bidder is not a trained one whose configuration is known.
        ResultsError: what is there was played by other settings or versions.
        BusyError: another process writes the same results.
    """
    who = entries([*options_.bidders, TRUTHFUL])
    trained = {name: trained_on(name) for name in who.names if is_learned(name)}
    first = trained.get(options_.bidders[0])
    if first is None:
        raise ConfigError(
            f"{options_.bidders[0]} is no folder of a training run with its config.yaml, so that "
            "its task is not known; name such a folder first, as in bidder=[runs/demo]"
        )
    target = files.real(Path(options_.folder) / options_.name)
    with files.claim(target), ExitStack() as bars:
        parts = (TABLE, RESULTS, PICTURE, RAW)
        results_folder.go_on(target, parts, options_.overwrite)

        def progress(items: Iterable[Any], what: str) -> Iterable[Any]:
            return bars.enter_context(tqdm(items, desc=what, disable=quiet, leave=False))

        rows = []
        for number, case in enumerate(load_cases(options_.cases).cases):
            rows.append(_row(case, number, options_, first, who, target, progress))
            _write(target, options_, who, trained, rows)
    return target


def load_cases(name: str) -> CasesConfig:
    """Return the cases of that name; raises UnknownNameError with the nearest name."""
    if name not in options("generalisation"):
        raise UnknownNameError("cases", name, options("generalisation"))
    return validate(CasesConfig, option("generalisation", name), f"generalisation.{name}")


def _row(
    case: CaseConfig,
    number: int,
    options_: Options,
    trained: Mapping[str, Any],
    who: Entries,
    target: Path,
    progress: Any,
) -> dict[str, Any]:
    """Play one case; return its scores by bidder, or why there are none."""
    row: dict[str, Any] = {"case": case.name, "scores": {}, "said": []}
    if case.needs is not None and not Path(case.needs).is_file():
        return row | {"said": [f"skipped: there is no {case.needs}"]}
    try:
        config = _configured(case, options_, trained)
        row |= {"task": config.task.name, "market": config.market[0], "ledger": config.ledger[0]}
        place = f"{number:02d}-{files_name(case.name)}"
        played = cells.play(Case(case.name, config), who, target / RAW / place, progress)
    except GridBazaarError as error:
        return row | {"said": [in_one_line(error)]}
    row["said"] = [f"{label(m.bidder)}: {m.line}" for m in played.missing]
    if played.tournament is not None:
        frame = episodes(played.tournament, options_.seed)
        frame.to_parquet(target / RAW / f"{place}.parquet", index=False)
        row["days"] = len(played.tournament.first_slot)
        row["scores"] = _scores(played, who, options_.seed)
    return row


def files_name(text: str) -> str:
    """Return a text as a part of a file's name."""
    return "".join(sign if sign.isalnum() else "_" for sign in text)


def _configured(
    case: CaseConfig, options_: Options, trained: Mapping[str, Any]
) -> evaluation_config.EvaluationConfig:
    task = trained["task"]
    task = task if task in options("task") else "semiurb4-v1"
    put = {"{task}": task, "{needs}": str(Path(case.needs).resolve()) if case.needs else ""}
    words = list(case.words)
    for name, text in put.items():
        words = [word.replace(name, text) for word in words]
    keys = {word.partition("=")[0] for word in words}
    for part, default in (("market", "uniform_auction"), ("ledger", "ideal")):
        if part not in keys:
            known = trained[part] in options(part)
            words.append(f"{part}={trained[part] if known else default}")
    market = next(w for w in words if w.startswith("market=")).partition("=")[2]
    return evaluation_config.configure(
        [
            "name=case",
            "bidder=truthful",
            *words,
            f"reference_market={market}",
            f"days={options_.days}",
            f"seed={options_.seed}",
            f"device={options_.device}",
            f"planner={str(options_.planner).lower()}",
            "signatures=false",
        ]
    )


def _scores(played: Played, who: Entries, seed: int) -> dict[str, Any]:
    """Return mean and interval of each bidder's score."""
    suite = _Settings(played.case.config.market, seed)
    board = leaderboard.board(suite, who, [played])
    names = {row["name"]: row.get("mean") for row in board["rows"] if row.get("mean")}
    return {name: mean for name, mean in names.items() if "its plans" not in name}


@dataclass(frozen=True)
class _Settings:
    """A case as a suite of one task."""

    markets: tuple[str, ...]
    seed: int
    name: str = "generalisation"
    against: str = TRUTHFUL
    resamples: int = 2000


def _write(
    target: Path,
    options_: Options,
    who: Entries,
    trained: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Write what is there: after each case, so that a stop leaves a table."""
    columns = [label(name) for name in who.names]
    if any("central planner, played" in row["scores"] for row in rows):
        columns.append("central planner, played")
    found = {
        "options": options_.__dict__,
        "trained": {label(name): given for name, given in trained.items()},
        "versions": versions(),
        "columns": columns,
        "rows": list(rows),
        "warnings": _warnings(who, trained, rows),
    }
    text = json.dumps(strict(found), indent=1, allow_nan=False, ensure_ascii=False)
    files.write(target / RESULTS, text)
    files.write(target / TABLE, table(found))
    with style():
        figure = heat(rows, columns)
        figure.savefig(target / PICTURE)
        plt.close(figure)


def _warnings(
    who: Entries, trained: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return in which cases each learned bidder plays what it was not trained on."""
    lines = []
    for name in who.names:
        for row in rows:
            if trained.get(name) and "task" in row:
                where = (row["task"], [row["market"]], [row["ledger"]])
                found = differences(label(name), trained[name], *where)
                lines += [f"{row['case']}: {line}" for line in found]
    return lines


def table(found: Mapping[str, Any]) -> str:
    """Return the table of cases as Markdown: share of the optimum's savings in %, 95 % interval."""
    lines = [["case", "days", *found["columns"]]]
    for row in found["rows"]:
        cells_ = [percent(row["scores"].get(name), scale=100) for name in found["columns"]]
        lines.append([row["case"], str(row.get("days", "–")), *cells_])
    trained = [
        f"{name} was trained on {given['task']}, {given['market']}, {given['ledger']} ledger, "
        f"seeds {', '.join(map(str, given['seeds']))}."
        for name, given in found["trained"].items()
        if given
    ]
    warned = bool(found["warnings"])
    said = [f"- {row['case']}: {line}" for row in found["rows"] for line in row["said"]]
    text = [
        "Share of the optimum's savings, %, with its 95 % interval over days and training seeds. "
        + " ".join(trained),
        piped(lines).rstrip(),
        *(["Not played:\n\n" + "\n".join(said)] if said else []),
        *(["Trained elsewhere:\n\n" + "\n".join(f"- {w}" for w in found["warnings"])] * warned),
    ]
    return "\n\n".join(text) + "\n"


def heat(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Figure:
    """Share of the optimum's savings by case and bidder, from 0 (grid alone) to 100 %."""
    shares = np.array([[_mean(row["scores"].get(name)) for name in columns] for row in rows])
    figure, axes = plt.subplots(figsize=(3.2 + 1.5 * len(columns), 1.6 + 0.42 * len(rows)))
    shown = axes.imshow(shares, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for (y, x), share in np.ndenumerate(shares):
        known = np.isfinite(share)
        colour = GREY if not known else "black" if share > 55 else "white"
        axes.text(x, y, f"{share:.0f}" if known else "–", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(columns)), [name.replace("_", " ") for name in columns])
    axes.tick_params(axis="x", labelrotation=20)
    axes.set_yticks(range(len(rows)), [str(row["case"]) for row in rows])
    axes.grid(visible=False)
    figure.colorbar(shown, ax=axes, label="% of the optimum's savings")
    axes.set_title("Trained on one task, played elsewhere")
    return figure


def _mean(figure: Mapping[str, float] | None) -> float:
    return float("nan") if figure is None else 100 * figure["mean"]
