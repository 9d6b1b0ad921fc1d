"""Configuration of an evaluation, and the command-line words that it is composed of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from gridbazaar import files, ledger_sim
from gridbazaar.agents import shelf
from gridbazaar.agents.bidders import BIDDERS
from gridbazaar.agents.population import is_population, parse
from gridbazaar.config import Config, Count, NonNegative, RunName, Seed, Share, validate
from gridbazaar.configs import compose, expand, options
from gridbazaar.envs.build import make_market
from gridbazaar.envs.config import TaskConfig, WorldConfig
from gridbazaar.envs.incentives import make_programme
from gridbazaar.errors import ConfigError, UnknownNameError
from gridbazaar.evaluation.exploited import check_deviations
from gridbazaar.ledger_sim.layers import protocol as layers

Names = Annotated[tuple[str, ...], Field(min_length=1)]
# Groups of which an evaluation takes lists, where Hydra's own words would choose a single option.
_LISTS = ("bidder", "market", "ledger")
ALL, IDEAL, GRID_ONLY = "all", "ideal", "grid_only"
# What else changes them, with an example.
_CHANGES = {"market": "market.k=0.3", "ledger": "ledger.layers=[pseudonyms]"}
_COMMA = re.compile(r",(?![^{]*\})")  # not within a population


class EvaluationConfig(Config):
    """Everything an evaluation depends on."""

    name: RunName = Field(description="of the results, written to <folder>/<name>")
    folder: str = Field(description="where results are written")
    overwrite: bool = Field(
        description="whether to replace an existing <folder>/<name> that an evaluation wrote",
    )
    resume: bool = Field(
        description="whether to go on with what a killed evaluation of the same words has finished",
    )
    task: TaskConfig = Field(description="feeder, seats, data and rules")
    bidder: Names = Field(description="registered names, folders of runs or checkpoints, or all")
    market: Names = Field(description="names, or all")
    ledger: Names = Field(description="names, or all")
    market_changes: tuple[str, ...] = Field(
        description="words that change every market but grid_only, as market.k=0.3",
    )
    incentives: tuple[Any, ...] = Field(
        (),
        description="registered schemes that pay for meter readings, by name or with parameters, "
        "under every market and ledger; the baseline has none",
    )
    ledger_changes: tuple[str, ...] = Field(
        description="words that change every ledger but ideal, as ledger.block_gas=100",
    )
    split: Literal["train", "validation", "test"] = Field(description="whose days are played")
    days: Count | None = Field(description="how many of the split's, evenly spaced; null: all")
    repeats: Count = Field(description="of each day, with other chances each time")
    seed: Seed = Field(
        description="of the first repeat; bidders, markets and ledgers meet the same chances",
    )
    device: Annotated[str, Field(pattern=r"^(cpu|cuda)(:\d+)?$")] = Field(
        description="where markets are simulated",
    )
    precision: Literal["float32", "float64"] = Field(description="of all real numbers")
    baseline: str = Field(
        description="bidder that stands for the grid alone, under grid_only and the ideal ledger",
    )
    reference: str | None = Field(
        description="bidder that others are compared with, day by day; null: the first "
        "learned one, else the first",
    )
    reference_market: str = Field(
        description="market that others are compared with; where it does not play, the first "
        "that does",
    )
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = Field(
        description="of the bootstrap over days",
    )
    planner: bool = Field(
        description="whether the central planner plays too; some 3 s of one core a day",
    )
    validation: bool = Field(
        description="whether learned bidders also play the days that chose their checkpoints",
    )
    exploitability: bool = Field(
        description="whether to seek the most that a seat, or a role, gains by playing "
        "otherwise; some 15 s of one core each",
    )
    deviations: Names = Field(
        description="what they may do instead: methods, bidders, folders of trained best responses",
    )
    deviation_days: Count = Field(
        description="on which the best deviation is judged, evenly spaced",
    )
    carbon_kg_per_kwh: NonNegative = Field(
        description="of grid energy, combustion alone",
        json_schema_extra={"unit": "kg/kWh"},
    )
    signatures: bool = Field(
        description="whether orders and settlements of ledgers other than ideal are signed, "
        "hashed and verified",
    )
    signed_days: Count | None = Field(
        description="in how many of the days, evenly spaced; null: all",
    )
    signed_readings: bool = Field(
        description="whether every seat signs its meter's reading into the chain, too",
    )
    verified_share: Share = Field(description="of the signatures that is checked again at the end")
    format: Literal["png", "pdf", "svg"] = Field(
        description="of the plots for a paper's column, beside those for the screen; png: none"
    )

    def world(self, market: str, ledger: str) -> WorldConfig:
        """Return the task under one market and one ledger, with what words change of either.

        What others are held against, grid_only and the ideal ledger, stays as it is.
        """
        market_words = self.market_changes if market != GRID_ONLY else ()
        words = self.ledger_changes if ledger != IDEAL else ()
        return WorldConfig(
            task=self.task,
            market=compose("world", (f"market={market}", *market_words))["market"],
            ledger=compose("world", (f"ledger={ledger}", *words))["ledger"],
            incentives=self.incentives,
        )

    @property
    def reference_of_markets(self) -> str:
        """Return the market that others are compared with."""
        wanted = self.reference_market
        return wanted if wanted in self.market else self.market[0]

    def ledger_label(self, ledger: str) -> str:
        """Return how tables call a ledger: its name, and what is built on top, the lowest first."""
        chosen = self.world(self.market[0], ledger).ledger["layers"]
        return " + ".join([ledger, *(layers.config_of(layer).name for layer in chosen)])


def configure(words: Sequence[str]) -> EvaluationConfig:
    """Return the configuration that command-line words mean.

    `bidder`, `market` and `ledger` take one name, a list or `all`; a bidder may be a population.
    Words as `market.k=0.3` change every market but grid_only, and words as `ledger.layers=[noise]`
    every ledger but the ideal one, which others are held against; `preset=<name>` stands for the
    preset's words. The rest are Hydra's.

    Raises:
        ConfigError: a word or value is refused.
        UnknownNameError: there is no such bidder, market or ledger; gives the nearest.
    """
    words = expand(words)
    changes = {key: [w for w in words if w.lstrip("+~").startswith(f"{key}.")] for key in _CHANGES}
    taken = {word for changing in changes.values() for word in changing}
    lists, others = _split(word for word in words if word not in taken)
    values: dict[str, Any] = {**compose("evaluate", others), **lists}
    for key, example in _CHANGES.items():
        given = values[f"{key}_changes"]
        if not isinstance(given, list):
            raise ConfigError(
                f"{key}_changes is {given!r}: expected a list of words, as in [{example}]"
            )
        values[f"{key}_changes"] = (*given, *changes[key])
    if values["name"] is None:
        if values["resume"]:
            raise ConfigError("resume=true needs the name= of the evaluation to go on with")
        values["name"] = files.name_by_time(values["task"]["name"])
    values["bidder"] = _names("bidder", values["bidder"], BIDDERS.names(), _is_folder)
    values["market"] = _names("market", values["market"], options("market"))
    values["ledger"] = _names("ledger", values["ledger"], options("ledger"))
    config = validate(EvaluationConfig, values)
    _check_labels(config)
    make_programme(config.incentives)  # which refuses what is none
    check_deviations(config.deviations, BIDDERS.names(), filter(_is_folder, config.deviations))
    _check_changes(config)
    if config.reference_market not in options("market"):
        raise UnknownNameError("market", config.reference_market, options("market"))
    if config.reference is not None and label(config.reference) not in map(label, config.bidder):
        raise UnknownNameError("reference", config.reference, map(label, config.bidder))
    return config


def label(bidder: str) -> str:
    """Return how tables call a bidder: its name, its folder's path below runs/, or its parts."""
    if is_population(bidder):
        mix = parse(bidder)
        return " + ".join([label(mix.default), *(f"{s}: {label(name)}" for s, name in mix.parts)])
    if bidder in BIDDERS:
        return bidder
    parts = [part for part in Path(bidder).parts if part not in ("/", ".", "..")]
    if "runs" in parts[:-1]:
        parts = parts[parts.index("runs") + 1 :]
    return "/".join(part for part in parts if part != "checkpoints")


def is_learned(bidder: str) -> bool:
    """Return whether a bidder comes from a folder; a mix with one that does is none."""
    return bidder not in BIDDERS and not is_population(bidder)


def learned_parts(bidder: str) -> tuple[str, ...]:
    """Return the folders from which a bidder, or a mix of several, comes."""
    names = parse(bidder).bidders if is_population(bidder) else (bidder,)
    return tuple(filter(is_learned, names))


def _split(words: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    lists: dict[str, list[str]] = {}
    others: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in _LISTS:
            names = _COMMA.split(value.strip().removeprefix("[").removesuffix("]"))
            lists[key] = [name.strip().strip("'\"") for name in names if name.strip()]
        else:
            others.append(word)
    return lists, others


def _check_labels(config: EvaluationConfig) -> None:
    """Raise ConfigError where two bidders would be called alike."""
    found: dict[str, str] = {}
    for bidder in config.bidder:
        other = found.setdefault(label(bidder), bidder)
        if other != bidder:
            raise ConfigError(
                f"tables would call both {other!r} and {bidder!r} {label(bidder)!r}; leave one "
                "out, or rename its folder"
            )


def _check_changes(config: EvaluationConfig) -> None:
    """Raise ConfigError unless markets and ledgers can be changed as wanted."""
    if config.market_changes:
        if config.market == (GRID_ONLY,):
            raise ConfigError(
                f"{' '.join(config.market_changes)} changes nothing: grid_only has no rules of its "
                "own; name a market, as in market=uniform_auction"
            )
        for name in config.market:
            with _naming(config.market_changes, f"market={name}"):
                make_market(config.world(name, IDEAL).market)
    if config.ledger_changes:
        if config.ledger == (IDEAL,):
            raise ConfigError(
                f"{' '.join(config.ledger_changes)} changes nothing: the ideal ledger stays as it "
                "is; name another, as in ledger=block"
            )
        for name in config.ledger:
            with _naming(config.ledger_changes, f"ledger={name}"):
                ledger_sim.make(config.world(config.market[0], name).ledger)


@contextmanager
def _naming(changes: Sequence[str], what: str) -> Iterator[None]:
    """Let an error say which of several markets or ledgers refuses words that change all."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{' '.join(changes)} cannot change {what}: {error}") from None


def _is_folder(name: str) -> bool:
    return shelf.place(name).is_dir()


def _names(
    kind: str, given: Any, known: Sequence[str], also: Any = lambda name: False
) -> tuple[str, ...]:
    """Replace `all`, drop what is named twice, and refuse what does not exist."""
    wanted: list[Any] = [given] if isinstance(given, str | Mapping) else list(given)
    found: dict[str, None] = {}
    for name in wanted:
        if kind == "bidder" and is_population(name):
            found[_population(name, known)] = None
        elif name == ALL:
            found.update(dict.fromkeys(known))
        elif name in known or also(name):
            found[name] = None
        elif kind == "bidder" and "/" in name:
            raise UnknownNameError("run or checkpoint folder", name, _folders_beside(name))
        else:
            shelved = shelf.names() if kind == "bidder" else ()
            raise UnknownNameError(kind, name, (*known, *shelved))
    return tuple(found)


def _folders_beside(name: str) -> list[str]:
    """Return the folders where one was looked for, or in what there is of its path."""
    above = next(path for path in Path(name).parents if path.is_dir())
    return [str(path) for path in above.iterdir() if path.is_dir() and path.name[0] not in "._"]


def _population(given: Any, known: Sequence[str]) -> str:
    """Return a population's words, of bidders that exist; its seats are known when it plays."""
    mix = parse(given)
    for name in mix.bidders:
        if name not in known and not _is_folder(name):
            if "/" in name:
                raise UnknownNameError("run or checkpoint folder", name, _folders_beside(name))
            raise UnknownNameError("bidder", name, known)
    return mix.words
