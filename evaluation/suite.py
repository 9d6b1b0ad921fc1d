"""Suite: fixed tasks, markets and ledgers that any bidder can be entered in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from tqdm import tqdm

from gridbazaar import files
from gridbazaar.agents.learning.run_folder import versions
from gridbazaar.config import Config, Count, Seed, validate
from gridbazaar.configs import option, options
from gridbazaar.errors import ConfigError, UnknownNameError
from gridbazaar.evaluation import cells, leaderboard, results_folder
from gridbazaar.evaluation import config as evaluation_config
from gridbazaar.evaluation.cells import Case, Played
from gridbazaar.evaluation.entries import Entries, Entry, entries
from gridbazaar.evaluation.summary import episodes, strict

Names = Annotated[tuple[str, ...], Field(min_length=1)]
BOARD, RESULTS, RAW = "LEADERBOARD.md", "suite.json", "raw"
# Words that a suite takes; what is played is fixed.
_TAKEN = ("suite", "bidder", "folder", "overwrite", "device")


class SuiteConfig(Config):
    """What a suite plays."""

    name: str = Field(description="of the suite")
    description: str = Field(description="in one line")
    tasks: Names = Field(description="played")
    markets: Names = Field(description="played on each")
    ledgers: Names = Field(description="played under each")
    bidders: Names = Field(description="that always play")
    against: str = Field(description="bidder that the probability of improvement is over")
    split: Literal["train", "validation", "test"] = Field(description="whose days are played")
    days: Count | None = Field(description="how many, evenly spaced; null: all")
    repeats: Count = Field(description="of each day")
    seed: Seed = Field(description="of the chances")
    precision: Literal["float32", "float64"] = Field(description="of all real numbers")
    planner: bool = Field(description="whether the planner plays too")
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = Field(description="of the bootstrap")


def load_suite(name: str) -> SuiteConfig:
    """Return a suite of configs/suite/; raises UnknownNameError with the nearest name."""
    if name not in options("suite"):
        raise UnknownNameError("suite", name, options("suite"))
    return validate(SuiteConfig, option("suite", name), f"suite.{name}")


def play_words(words: Sequence[str]) -> Path:
    """Play the suite that command-line words mean; return its folder.

    Raises:
        ConfigError: a word is refused: a suite's days, tasks and markets are fixed.
    """
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in _TAKEN:
            raise ConfigError(
                f"{word!r} has no place beside suite=, which fixes what is played; a suite takes "
                f"{', '.join(_TAKEN)}"
            )
        given[key] = value.strip().strip("'\"")
    names = given.get("bidder", "").removeprefix("[").removesuffix("]").split(",")
    overwrite = given.get("overwrite", "false").lower()
    if overwrite not in ("true", "false"):
        raise ConfigError(f"overwrite is {given['overwrite']!r}: expected true or false")
    return play(
        given["suite"],
        [name.strip().strip("'\"") for name in names if name.strip()],
        folder=given.get("folder", "results"),
        overwrite=overwrite == "true",
        device=given.get("device", "cpu"),
    )


def play(
    name: str,
    bidders: Iterable[str] = (),
    given: Mapping[str, Entry] | None = None,
    folder: str | Path = "results",
    overwrite: bool = False,
    device: str = "cpu",
    quiet: bool = False,
) -> Path:
    """Play a suite as far as it is not played yet, and write its leaderboard; return its folder.

    Args:
        name: of a suite in configs/suite/.
        bidders: that join the suite's own: registered names, folders, or `module:object`.
        given: further ones by the name that the leaderboard shall show: an object with `act`, or
            what builds one for a game, as a class or `policy_bidder(function)` does.
        folder: in which `suite-<name>` is written.
        overwrite: begin anew.
        device: cpu or cuda.
        quiet: without bars.

    Raises:
        ConfigError, UnknownNameError, PluginError: see `entries`.
        ResultsError: what is there was played by other settings or versions.
        BusyError: another process plays the same suite.
    """
    suite = load_suite(name)
    who = entries([*suite.bidders, *bidders], given)
    cases = [_case(suite, task, device) for task in suite.tasks]
    target = files.real(Path(folder) / f"suite-{suite.name}")
    with files.claim(target), ExitStack() as bars:
        results_folder.go_on(target, (BOARD, RESULTS, RAW), overwrite)

        def progress(items: Iterable[Any], what: str) -> Iterable[Any]:
            return bars.enter_context(tqdm(items, desc=what, disable=quiet, leave=False))

        played = [cells.play(case, who, target / RAW / case.name, progress) for case in cases]
        write(target, suite, who, played)
    return target


def write(target: Path, suite: SuiteConfig, who: Entries, played: Sequence[Played]) -> None:
    """Write the raw days of each task, what follows from them, and the leaderboard."""
    for each in played:
        if each.tournament is not None:
            frame = episodes(each.tournament, suite.seed)
            frame.to_parquet(target / RAW / f"{each.case.name}.parquet", index=False)
    board = leaderboard.board(suite, who, played)
    found = {"suite": suite.model_dump(mode="json"), "versions": versions(), **board}
    text = json.dumps(strict(found), indent=1, allow_nan=False, ensure_ascii=False)
    files.write(target / RESULTS, text)
    files.write(target / BOARD, leaderboard.markdown(found))


def _case(suite: SuiteConfig, task: str, device: str) -> Case:
    days = "null" if suite.days is None else suite.days
    config = evaluation_config.configure(
        [
            "name=suite",
            f"task={task}",
            "bidder=truthful",
            f"market=[{','.join(suite.markets)}]",
            f"ledger=[{','.join(suite.ledgers)}]",
            f"reference_market={suite.markets[0]}",
            f"split={suite.split}",
            f"days={days}",
            f"repeats={suite.repeats}",
            f"seed={suite.seed}",
            f"precision={suite.precision}",
            f"planner={str(suite.planner).lower()}",
            f"device={device}",
            "signatures=false",
        ]
    )
    return Case(task, config)
