"""Cells of many evaluations: each is kept as it is played, and one that fails is a line."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from gridbazaar import files
from gridbazaar.agents import shelf
from gridbazaar.agents.learning.run_folder import versions
from gridbazaar.envs.day_record import Facts
from gridbazaar.errors import GridBazaarError, ResultsError, in_one_line
from gridbazaar.evaluation import kept
from gridbazaar.evaluation.config import EvaluationConfig, is_learned
from gridbazaar.evaluation.entries import Entries
from gridbazaar.evaluation.outcome import Combination, Outcome
from gridbazaar.evaluation.stage import Progress
from gridbazaar.evaluation.summary import per_day
from gridbazaar.evaluation.tournament import Tournament, run

_BEGUN = "begun.json"
# What may differ between two parts of one case: who plays and where, but not what is played.
_FREE = {
    "resume",
    "overwrite",
    "name",
    "folder",
    "bidder",
    "reference",
    "resamples",
    "device",
    "validation",
}


@dataclass(frozen=True)
class Case:
    """One task with its markets and ledgers, as an evaluation of nobody yet."""

    name: str
    config: EvaluationConfig


@dataclass(frozen=True)
class Missing:
    """A bidder that could not be played, and why."""

    case: str
    bidder: str
    line: str


@dataclass(frozen=True)
class Played:
    """What came out of a case.

    Attributes:
        case: which.
        tournament: all outcomes of all bidders; None where nothing could be played.
        missing: who could not.
    """

    case: Case
    tournament: Tournament | None
    missing: tuple[Missing, ...]

    @property
    def outcomes(self) -> dict[Combination, Outcome]:
        """Return the outcomes by their combination."""
        return {o.combination: o for o in self.tournament.outcomes} if self.tournament else {}

    def daily(self, figure: Tensor) -> Any:
        """Return a figure as [S, D]."""
        assert self.tournament is not None
        return per_day(self.tournament, figure)


class KeptCells:
    """Outcomes of one case in a folder, by bidder, market, ledger and what the bidder learned.

    Args:
        folder: of the case; made where it is not there.
        config: of the case.
        fresh: bidders that are objects of a caller, whose outcomes cannot be told from others of
            their name, and are played each time.

    Raises:
        ResultsError: what is kept there was played by other settings or versions.
    """

    def __init__(self, folder: Path, config: EvaluationConfig, fresh: Iterable[str] = ()):
        self._folder, self._fresh = folder, set(fresh)
        begun = {
            "config": config.model_dump(mode="json", exclude=_FREE),
            "version": versions()["gridbazaar"],
        }
        path = folder / _BEGUN
        if path.is_file():
            self._compare(path, json.loads(json.dumps(begun)))
            return
        folder.mkdir(parents=True, exist_ok=True)
        files.write(path, json.dumps(begun, indent=1))

    def _compare(self, path: Path, begun: Mapping[str, Any]) -> None:
        try:
            former = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ResultsError(
                f"{path} cannot be read ({error}); begin anew with overwrite=true"
            ) from None
        if former != begun:
            raise ResultsError(
                f"{self._folder} was played by other settings or another version; begin anew with "
                "overwrite=true, or choose another folder="
            )

    def get(self, name: str, facts: Facts) -> Outcome | None:
        """Return an outcome, None where it was not played yet; raises ResultsError if damaged."""
        place = self._place(name)
        return None if place is None else kept.read(self._folder, place, facts)

    def put(self, name: str, outcome: Outcome) -> None:
        """Keep an outcome, without the day that reports show."""
        place = self._place(name)
        if place is not None:
            kept.write(self._folder, place, replace(outcome, example=None))

    def _place(self, name: str) -> str | None:
        """Return the name under which an outcome is kept; None where it is not."""
        member = name.rsplit("@", 2)[0] if name.count("@") >= 2 else ""
        if member in self._fresh:
            return None
        if not member or not shelf.place(member).is_dir() or not is_learned(member):
            return name
        return f"{name}@{kept.checkpoint(member)[:12]}"


def play(
    case: Case,
    who: Entries,
    folder: Path,
    progress: Progress,
    say: Callable[[str], None] = lambda line: None,
) -> Played:
    """Play what of a case is not kept yet; a bidder that fails is missing, and the others go on.

    Raises:
        ResultsError: see KeptCells.
        GridBazaarError: the case itself cannot be built, so that nobody can play.
    """
    kept_cells = KeptCells(folder, case.config, who.given)
    bidders = {name: who.of(name, case.config.task.name) for name in who.names}

    def together(*chosen: str) -> Tournament:
        config = case.config.model_copy(update={"bidder": chosen})
        return run(config, who.make, progress, kept_cells)

    try:
        return Played(case, together(*bidders.values()), ())
    except ResultsError:
        raise
    except Exception as error:  # a bidder of a stranger's can raise anything
        say(f"{case.name}: {in_one_line(error)}; every bidder is played by itself")
    found: Tournament | None = None
    missing: list[Missing] = []
    for name, bidder in bidders.items():
        try:
            played = together(bidder)
        except ResultsError:
            raise
        except Exception as error:
            missing.append(Missing(case.name, name, in_one_line(error)))
            if not isinstance(error, GridBazaarError):
                text = "".join(traceback.format_exception(error))
                files.write(folder / "failed.txt", text)
            continue
        found = played if found is None else _with(found, played)
    return Played(case, found, tuple(missing))


def _with(found: Tournament, more: Tournament) -> Tournament:
    """Return a tournament with the outcomes of another of the same days."""
    best = found.outcomes[-1]
    known = {o.combination: o for o in found.outcomes[:-1]}
    known |= {o.combination: o for o in more.outcomes[:-1]}
    return replace(found, outcomes=(*known.values(), best))
