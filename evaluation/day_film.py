"""Film of a day: one bidder plays it, and every interval is drawn, or a single one."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator
from tqdm import tqdm

from gridbazaar import files
from gridbazaar.agents import shelf
from gridbazaar.agents.bidders import BIDDERS
from gridbazaar.agents.load import load
from gridbazaar.agents.population import is_population
from gridbazaar.config import Count, Seed, Whole, validate
from gridbazaar.configs import compose
from gridbazaar.envs.build import build
from gridbazaar.envs.config import WorldConfig
from gridbazaar.envs.rendering import picture
from gridbazaar.envs.rendering.snapshot import Photographer, Snapshot
from gridbazaar.envs.rendering.stage import Stage
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ConfigError, ResultsError, UnknownNameError
from gridbazaar.evaluation.config import label

VIDEOS = (".mp4", ".webm")  # by the extra `video`
FILMS, STILLS = (".gif", ".webp", *VIDEOS), (".png", ".svg", ".pdf")
_BIDDER = "bidder="
_COLOURS = 128  # of a film's palette; the drawing is flat
_LAST_S = 2  # how long a film's last picture stays

Pixels = NDArray[np.uint8]


class FilmConfig(WorldConfig):
    """A day and how it is drawn."""

    bidder: str = Field(
        description="registered name, trained bidder of the shelf, folder, or a population"
    )
    split: Literal["train", "validation", "test"] = Field(description="whose day is played")
    day: Whole | None = Field(description="number of the day in the data; null: the split's middle")
    seed: Seed = Field(description="of the day's chances")
    out: str = Field(description="file; its end names the format")
    at: Annotated[str, Field(pattern=r"^([01]?\d|2[0-3]):[0-5]\d$")] = Field(
        description="time of day at which the interval of a single picture begins"
    )
    every: Count = Field(description="a film shows every so many intervals")
    fps: Annotated[int, Field(ge=1, le=50)] = Field(
        description="pictures of a film", json_schema_extra={"unit": "1/s"}
    )
    overwrite: bool = Field(description="whether to replace the file")

    @model_validator(mode="after")
    def _known_format(self) -> Self:
        end = Path(self.out).suffix.lower()
        if end not in FILMS + STILLS:
            raise ValueError(
                f"out is {self.out!r}, whose end names no format: expected "
                f"{', '.join(FILMS)} for a film, or {', '.join(STILLS)} for one interval"
            )
        return self


def configure(words: Sequence[str]) -> FilmConfig:
    """Return the configuration that command-line words mean.

    Raises:
        ConfigError: a word or value is refused.
        UnknownNameError: there is no such bidder; gives the nearest.
    """
    mine = [word for word in words if word.startswith(_BIDDER)]
    values = compose("render", [word for word in words if word not in mine])
    if mine:
        values["bidder"] = mine[-1].removeprefix(_BIDDER).strip().strip("'\"")
    config = validate(FilmConfig, values)
    bidder = config.bidder
    if bidder not in BIDDERS and not is_population(bidder) and not shelf.place(bidder).is_dir():
        kind = "run or checkpoint folder" if "/" in bidder else "bidder"
        raise UnknownNameError(kind, bidder, (*BIDDERS.names(), *shelf.names()))
    return config


def film(config: FilmConfig, quiet: bool = False) -> Path:
    """Play a day, draw it and write the file; return its path.

    Raises:
        ResultsError: the file exists, and `overwrite` is false.
        ConfigError: the data have no such day.
        CheckpointError: the bidder cannot be loaded.
        MissingExtraError: the file is a video, and PyAV is not installed.
        OSError: the file cannot be written.
    """
    out = Path(config.out)
    if out.exists() and not config.overwrite:
        raise ResultsError(f"{out} exists; choose another name, or replace it with overwrite=true")
    files.make_ready(out)
    end = out.suffix.lower()
    if end in VIDEOS:
        from gridbazaar.evaluation import video  # missing before a day is played
    world = WorldConfig(
        task=config.task, market=config.market, ledger=config.ledger, incentives=config.incentives
    )
    simulation = build(world, 1, config.split, config.seed)
    stage = Stage.of(simulation, f"{world.title} · {label(config.bidder)}")
    last = _interval(config.at, simulation) if end in STILLS else simulation.slots - 1
    day = snapshots(simulation, config.bidder, _first_slot(config, simulation), config.seed)
    playing = tqdm(islice(day, last + 1), desc="playing", total=last + 1, disable=quiet)
    seen = list(playing)
    content = io.BytesIO()
    if end in STILLS:
        picture.save(content, stage, seen, end.removeprefix("."))
    else:
        chosen = range(0, len(seen), config.every)
        drawing = tqdm(chosen, desc="drawing", disable=quiet)
        pictures = (picture.frame(stage, seen[: k + 1]) for k in drawing)
        if end in VIDEOS:
            video.write(content, end.removeprefix("."), pictures, config.fps, _LAST_S)
        else:
            palette = _palette([picture.frame(stage, seen[: k + 1]) for k in _samples(chosen)])
            _write_animation(content, end.removeprefix("."), pictures, palette, config.fps)
    files.write(out, content.getvalue())
    return out


@torch.no_grad()
def snapshots(
    simulation: Simulation, bidder: str, first_slot: int, seed: int
) -> Iterator[Snapshot]:
    """Play a day with one bidder in all seats; yield its intervals.

    Args:
        simulation: of one market.
        bidder: name, folder or population.
        first_slot: of the day in the data.
        seed: of the day's chances.
    """
    plays, take = load(bidder, simulation.game), Photographer(simulation)
    observation = simulation.reset(days=torch.tensor([first_slot]), seed=seed)
    state: Any = None
    for _ in range(simulation.slots):
        action, state = plays.act(observation, state)
        interval = simulation.step(action)
        observation = interval.observation
        yield take(interval)


def _first_slot(config: FilmConfig, simulation: Simulation) -> int:
    days = simulation.community.days[config.split]
    if config.day is None:
        return int(days[len(days) // 2])
    known = (len(simulation.community.load_kw) - 1) // simulation.slots
    # Day 0 has no yesterday, which forecasts need.
    if not 1 <= config.day <= known:
        raise ConfigError(f"day is {config.day}: the data have days 1 to {known}")
    return config.day * simulation.slots


def _interval(at: str, simulation: Simulation) -> int:
    """Return the number of the interval in which a time of day lies."""
    hour, minute = map(int, at.split(":"))
    return (60 * hour + minute) // simulation.community.slot_minutes


def _write_animation(
    content: io.BytesIO, kind: str, pictures: Iterable[Pixels], palette: Image.Image, fps: int
) -> None:
    """Write all pictures with one palette, so that what stands still costs nothing."""
    first, *others = [_flat(each, palette) for each in pictures]
    shown_ms = [round(1000 / fps)] * len(others) + [1000 * _LAST_S]
    more: dict[str, Any] = {"lossless": True, "method": 4} if kind == "webp" else {"optimize": True}
    first.save(
        content, kind, save_all=True, append_images=others, duration=shown_ms, loop=0, **more
    )


def _samples(chosen: Sequence[int]) -> list[int]:
    """Return some intervals spread over the day, whose colours stand for all."""
    return sorted({chosen[round(share * (len(chosen) - 1))] for share in (0.1, 0.4, 0.6, 0.9)})


def _palette(frames: Sequence[Pixels]) -> Image.Image:
    together = Image.fromarray(np.concatenate(frames))
    return together.quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def _flat(frame: Pixels, palette: Image.Image) -> Image.Image:
    return Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
