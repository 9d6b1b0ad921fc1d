"""Training of several runs, in turn or by a launcher: seeds of one configuration, or a sweep."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gridbazaar import files
from gridbazaar.agents.config import RayConfig, TrainConfig
from gridbazaar.agents.learning.campaign_runs import (
    Planned,
    Result,
    configured,
    so_far,
    write_table,
)
from gridbazaar.agents.learning.rllib.session import ray_session
from gridbazaar.agents.learning.run_folder import (
    FREE,
    FREE_GROUPS,
    check_new,
    configure,
    folder_of,
)
from gridbazaar.agents.learning.trainer import train
from gridbazaar.agents.run_set import PLAN, name_of
from gridbazaar.configs import launching, sweep
from gridbazaar.errors import ConfigError, GridBazaarError, RunError, in_one_line

SWEEP = ("-m", "--multirun")
_PLACE = ("name", "folder", "resume")


@dataclass(frozen=True)
class Campaign:
    """What was asked for: its folder, the words that were stored, and all runs.

    Attributes:
        folder: of all runs.
        words: that resume it.
        runs: those of a point together.
        free: words that may change when a run goes on.
        ray: of runs that come in turn.
        launcher: words of the launcher that runs are jobs of; none where they come in turn.
    """

    folder: Path
    words: tuple[str, ...]
    runs: tuple[Planned, ...]
    free: tuple[str, ...]
    ray: RayConfig
    launcher: tuple[str, ...] = ()


def is_several(words: Sequence[str]) -> bool:
    """Return whether words ask for several runs: a sweep, a list of seeds, or a set to resume."""
    if any(word in SWEEP for word in words):
        return True
    if any(word.startswith("seed=[") for word in words):
        return True
    given = dict(word.partition("=")[::2] for word in words)
    root = Path(given.get("folder", "runs").strip("'\"")) / given.get("name", "").strip("'\"")
    return bool(given.get("name")) and (root / PLAN).is_file()


def plan(words: Sequence[str]) -> Campaign:
    """Return all runs that words mean; those of a campaign to be resumed are its own, and more.

    Raises:
        ConfigError: a word is refused.
        MissingExtraError: the launcher is not installed.
        RunError: the folder exists and is not to be resumed, or there is nothing to resume, or a
            resumed campaign was told to change what it computes.
    """
    launcher, given = launching.parted([word for word in words if word not in SWEEP])
    if not any(word.startswith("name=") for word in given):
        given.append(f"name={files.name_by_time('sweep')}")
    place = [word for word in given if word.partition("=")[0] in _PLACE]
    told = [word for word in given if word not in place]
    # What one run of that name would be: refuses a wrong name, and knows the defaults.
    named = configure([word for word in place if not word.startswith("resume=")])
    folder, stored = folder_of(named), None
    resume = "resume" in sweep.parsed(place) and sweep.parsed(place)["resume"].value()
    if resume:
        stored = stored_words(folder)
    else:
        check_new(folder)
    free = [word for word in told if _is_free(word)]
    if stored is not None:
        told = _merged(stored, told, folder)
    runs = list(_runs(folder, told))
    ray = _first_right(runs).ray
    return Campaign(folder, tuple(told), tuple(runs), tuple(free), ray, tuple(launcher))


def train_all(campaign: Campaign, say: Callable[[str], None] = print) -> list[Result]:
    """Train what is not finished yet; a run that fails is noted, and the others go on.

    Raises:
        BusyError: another process works at the same folder.
        WorldError: the launcher failed, or a job of it died.
    """
    results: list[Result] = []
    with files.claim(campaign.folder):
        campaign.folder.mkdir(parents=True, exist_ok=True)
        begin(campaign.folder, campaign.words)
        if campaign.launcher:
            return _launched(campaign, say)
        with ray_session(campaign.ray):
            for number, run in enumerate(campaign.runs, 1):
                results.append(so_far(run))
                if results[-1].finished:
                    continue
                say(f"{run.title} ({number} of {len(campaign.runs)})")
                results[-1] = _trained(run, campaign.free)
                write_table(campaign.folder, [*results, *map(so_far, campaign.runs[number:])])
                if results[-1].fault:
                    say(f"{run.title} failed: {results[-1].fault}")
                elif not results[-1].finished:
                    break
    return [*results, *map(so_far, campaign.runs[len(results) :])]


def _launched(campaign: Campaign, say: Callable[[str], None]) -> list[Result]:
    """Train what is not finished yet in jobs of a launcher, some at a time."""
    results = {run.title: so_far(run) for run in campaign.runs}
    jobs = {
        run.title: partial(_trained, run, campaign.free)
        for run in campaign.runs
        if not results[run.title].finished
    }
    say(f"{len(jobs)} of {len(results)} runs are jobs: {' '.join(campaign.launcher)}")
    try:
        done = launching.launch(campaign.launcher, campaign.folder, jobs)
    except BaseException as error:
        error.add_note("resume=true goes on with what is not finished")
        write_table(campaign.folder, [so_far(run) for run in campaign.runs])
        raise
    results |= {result.run.title: result for result in done}
    write_table(campaign.folder, list(results.values()))
    return list(results.values())


def _runs(folder: Path, words: Sequence[str]) -> Iterable[Planned]:
    """Yield the runs of a campaign, those of a point together."""
    found = sweep.parsed(words)
    seeds, others = [0], [word for word in words if word.partition("=")[0] != "seed"]
    if "seed" in found:
        override = found["seed"]
        given = (
            list(override.sweep_iterator()) if override.is_sweep_override() else override.value()
        )
        seeds = list(given) if isinstance(given, list) else [given]
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ConfigError(f"seed has {seed!r}: expected whole numbers from 0, as in [0,1,2]")
    keys = sweep.swept(others)
    for point in sweep.points(others):
        values = {key: value for key, _, value in (w.lstrip("+~").partition("=") for w in point)}
        label = sweep.label({key: values[key] for key in keys})
        for seed in dict.fromkeys(seeds):
            yield Planned(label, seed, folder / label if label else folder, tuple(point))


def _first_right(runs: Sequence[Planned]) -> TrainConfig:
    """Return the first configuration that can be used; what is wrong with others is their fault.

    Raises what is wrong with the last where all are.
    """
    if not runs:
        raise ConfigError("no seed is named; expected some, as in seed=[0,1,2,3,4]")
    for run in runs[:-1]:
        with suppress(GridBazaarError):
            return configured(run)
    return configured(runs[-1])


def _trained(run: Planned, free: Sequence[str], cores: int | None = None) -> Result:
    """Train one run from where it is; return how far it came, or why it failed.

    A run that is a job has a Ray session of its own, on as many cores.
    """
    try:
        begun = (run.folder / name_of(run.seed)).exists()
        if not begun:
            config = configured(run)
        else:
            place = [f"name={name_of(run.seed)}", sweep.word("folder", str(run.folder))]
            config = configure([*free, *place, "resume=true"])
        run.folder.mkdir(parents=True, exist_ok=True)
        with ray_session(_sessions(config, cores)):
            outcome = train(config)
    except Exception as error:  # one that fails must not take the others along
        if not isinstance(error, GridBazaarError | OSError):
            run.folder.mkdir(parents=True, exist_ok=True)
            files.write(run.folder / f"{name_of(run.seed)}.failed.txt", traceback.format_exc())
        reached = so_far(run)
        return Result(
            run, reached.agent_steps, reached.seconds, reached.best_cost, False, in_one_line(error)
        )
    done = outcome.progress
    return Result(run, done.agent_steps, done.seconds, done.best_cost, outcome.finished)


def _sessions(config: TrainConfig, cores: int | None) -> RayConfig:
    """Return a job's session; Ray would wait for ever for a core that an actor lacks."""
    if cores is None or config.ray.num_cpus is not None:
        return config.ray
    least = config.num_env_runners + config.num_learners
    return config.ray.model_copy(update={"num_cpus": max(cores, least)})


def begin(folder: Path, words: Sequence[str], by: str = "") -> None:
    """Note the words of a campaign, to be resumed with, and the option that began it."""
    files.write(folder / PLAN, json.dumps({"by": by, "words": list(words)}, indent=1))


def stored_words(folder: Path, by: str = "") -> list[str]:
    """Return the words that a campaign was begun with.

    Raises:
        RunError: there are none, or another option began it.
    """
    path = folder / PLAN
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        words, former = [str(word) for word in found["words"]], str(found["by"])
    except FileNotFoundError:
        raise RunError(
            f"nothing to resume: {path} does not exist; start without resume=true"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}); bring it back from a copy") from None
    if former != by:
        how = f"add {former} to" if former else f"leave {by} out of"
        raise RunError(f"{folder} was not begun like this; {how} the words that resume it")
    return words


def _merged(stored: Sequence[str], told: Sequence[str], folder: Path) -> list[str]:
    """Return the stored words with what may change: how long, and which seeds."""
    for word in told:
        key = word.lstrip("+~").partition("=")[0]
        if word not in stored and key != "seed" and not _is_free(word):
            raise RunError(
                f"a resumed campaign keeps its {key} (see {folder / PLAN}); leave it out, or start "
                "another under a new name"
            )
    keys = {word.partition("=")[0] for word in told}
    return [*(word for word in stored if word.partition("=")[0] not in keys), *told]


def _is_free(word: str) -> bool:
    key = word.lstrip("+~").partition("=")[0]
    return key in FREE or key.startswith(FREE_GROUPS)
