"""Outcomes of an unfinished evaluation, kept in a folder as they finish."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gridbazaar import files
from gridbazaar.agents import shelf
from gridbazaar.agents.learning import plain_data
from gridbazaar.agents.learning.run_folder import versions
from gridbazaar.agents.run_set import members
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.errors import ResultsError
from gridbazaar.evaluation.audit import AuditResult
from gridbazaar.evaluation.config import EvaluationConfig, learned_parts
from gridbazaar.evaluation.outcome import Combination, Outcome

_BEGUN = "begun.json"
# What may change between two halves of one evaluation without changing what comes out.
_FREE = {"resume", "overwrite"}


class KeptOutcomes:
    """One file of plain data per outcome, beside what was asked for and by which versions.

    Args:
        folder: made anew, unless the evaluation is to be resumed.
        config: of the evaluation.

    Raises:
        ResultsError: there is nothing to resume, or it was begun by other words or versions; or
            outcomes are kept, and the words say neither to resume nor to overwrite.
        OSError: the place cannot be written.
    """

    def __init__(self, folder: Path, config: EvaluationConfig):
        self._folder = folder
        begun = {
            "config": config.model_dump(mode="json", exclude=_FREE),
            "versions": versions(),
            "checkpoints": {
                member: checkpoint(member)
                for mix in config.bidder
                for name in learned_parts(mix)
                for member in members(name).values()
            },
        }
        if config.resume:
            _compare(_read(folder), json.loads(json.dumps(begun)), folder)
            return
        if self.count and not config.overwrite:
            raise ResultsError(
                f"{folder} keeps {self.count} outcomes of an interrupted evaluation; go on with "
                "resume=true, or begin anew with overwrite=true"
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        files.write(folder / _BEGUN, json.dumps(begun, indent=1))

    @property
    def count(self) -> int:
        """Outcomes that are kept."""
        return len(list(self._folder.glob("*.pt")))

    def get(self, name: str, facts: Facts) -> Outcome | None:
        """Return an outcome, None where it was not played yet.

        Raises:
            ResultsError: its file is damaged.
        """
        return read(self._folder, name, facts)

    def put(self, name: str, outcome: Outcome) -> None:
        """Keep an outcome."""
        write(self._folder, name, outcome)


def is_begun(folder: Path) -> bool:
    """Return whether a folder holds an evaluation that can be resumed."""
    return (folder / _BEGUN).is_file()


def read(folder: Path, name: str, facts: Facts) -> Outcome | None:
    """Return an outcome of a folder by its name, None where it is not there; errors as `get`."""
    path = _file(folder, name)
    if not path.is_file():
        return None
    try:
        return _outcome(plain_data.load(path), facts)
    except Exception as error:  # what is no plain data can raise anything
        raise ResultsError(
            f"{path} cannot be read ({type(error).__name__}); remove it, and it is played again"
        ) from None


def write(folder: Path, name: str, outcome: Outcome) -> None:
    """Keep an outcome in a folder, under a name of any signs."""
    files.write(_file(folder, name), plain_data.dump(_plain(outcome)))


def _file(folder: Path, name: str) -> Path:
    text = quote(name, safe="@ ")
    if len(text) > 200:  # file systems take 255 bytes, and write needs some for its partial file
        text = f"{text[:120]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return folder / f"{text}.pt"


def checkpoint(bidder: str) -> str:
    """Return what tells a learned bidder's networks from others."""
    # RLlib takes seconds to import: not where only classic bidders play.
    from gridbazaar.agents.learning import checkpoints, digests

    listed = checkpoints.find(shelf.place(bidder)) / digests.LIST
    return hashlib.sha256(listed.read_bytes()).hexdigest() if listed.is_file() else ""


def _read(folder: Path) -> Any:
    path = folder / _BEGUN
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(
            f"nothing to resume: {path} does not exist; start without resume=true"
        ) from None
    except ValueError as error:
        raise ResultsError(
            f"{path} cannot be read ({error}); begin anew with overwrite=true instead of resume"
        ) from None


def _compare(begun: Any, now: Mapping[str, Any], where: Path) -> None:
    """Raise ResultsError where an evaluation was begun otherwise."""
    for part, given in now.items():
        former = begun.get(part) if isinstance(begun, dict) else None
        former = former if isinstance(former, dict) else {}
        for key, value in given.items():
            if key not in former or former[key] != value:
                raise ResultsError(
                    f"the evaluation in {where} was begun with {part} {key}="
                    f"{_short(former.get(key))}, now it is {_short(value)}; resume it with the "
                    "same, or begin anew with overwrite=true instead of resume"
                )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(outcome: Outcome) -> dict[str, Any]:
    day = outcome.example
    return {
        **{f.name: getattr(outcome, f.name) for f in fields(Outcome)},
        "combination": asdict(outcome.combination),
        "example": day and {f.name: getattr(day, f.name) for f in fields(day) if f.name != "facts"},
        "audit": outcome.audit and asdict(outcome.audit),
    }


def _outcome(plain: dict[str, Any], facts: Facts) -> Outcome:
    example, audit = plain.pop("example"), plain.pop("audit")
    return Outcome(
        **{
            **plain,
            "combination": Combination(**plain["combination"]),
            "example": example and DayRecord(facts, **example),
            "audit": audit and AuditResult(**audit),
        }
    )
