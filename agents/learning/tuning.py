"""Search for hyper-parameters by Ray Tune: trials drawn from words, each a run of its own."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hydra.core.override_parser.types import IntervalSweep, Override
from pydantic import Field
from ray import tune

from gridbazaar import files, plugins
from gridbazaar.agents.learning import campaign
from gridbazaar.agents.learning.campaign_runs import (
    Planned,
    Result,
    configured,
    so_far,
    write_table,
)
from gridbazaar.agents.learning.checkpoints import Progress
from gridbazaar.agents.learning.rllib.session import ray_session
from gridbazaar.agents.learning.run_folder import check_new, configure, folder_of
from gridbazaar.agents.learning.trainer import train
from gridbazaar.agents.run_set import name_of
from gridbazaar.config import Config, Count, validate
from gridbazaar.configs import add_folder, folders, launching, sweep
from gridbazaar.errors import ConfigError, RunError

TUNE = "--tune"
COST = "validated_cost"
_PREFIX, _STATE = "tune.", ".tune"


class TuneConfig(Config):
    """How many trials, how many at a time, and who stops them early."""

    samples: Count = Field(8, description="trials in all")
    concurrent: Count = Field(1, description="trials at a time")
    scheduler: Literal["fifo", "asha"] = Field(
        "fifo",
        description="asha stops the worse ones early, fifo none",
    )
    seed: int = Field(0, description="of the search")


def search(words: Sequence[str]) -> list[Result]:
    """Train trials until all are done; one that fails is a line, and the others go on.

    Words are those of a sweep, of which Tune draws: a list is a choice, `interval(1e-4,1e-2)` a
    uniform number, `tag(log,interval(1e-4,1e-2))` one of uniform logarithm. `tune.samples`,
    `tune.concurrent` and `tune.scheduler=asha` say how. `resume=true` goes on with what was begun.

    Raises:
        ConfigError: a word is refused, or nothing is left to draw.
        RunError: the folder exists and is not to be resumed, or there is nothing to resume.
        BusyError: another process works at the same folder.
    """
    launcher, given = launching.parted([word for word in words if word != TUNE])
    if launcher:
        raise ConfigError(f"{launcher[0]!r}: Tune runs trials itself, tune.concurrent= at a time")
    if not any(word.startswith("name=") for word in given):
        given.append(f"name={files.name_by_time('search')}")
    place = [w for w in given if w.partition("=")[0] in ("name", "folder", "resume")]
    named = configure([word for word in place if not word.startswith("resume=")])
    folder = folder_of(named).resolve()
    told = [word for word in given if word not in place]
    resume = any(word == "resume=true" for word in place)
    if resume:
        if told and told != campaign.stored_words(folder, TUNE):
            raise RunError(
                f"a resumed search keeps its words (see {folder / campaign.PLAN}); leave "
                f"{told[0]} out, or start another under a new name"
            )
        told = campaign.stored_words(folder, TUNE)
    else:
        check_new(folder)
    options, fixed, space = _space(told)
    with files.claim(folder):
        folder.mkdir(parents=True, exist_ok=True)
        campaign.begin(folder, told, TUNE)
        with ray_session(named.ray):
            return _searched(folder, options, fixed, space)


def _searched(
    folder: Path, options: TuneConfig, fixed: Sequence[str], space: Mapping[str, Any]
) -> list[Result]:
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    work = {
        "folder": str(folder),
        "fixed": list(fixed),
        "plugins": plugins.modules(),
        "configs": [str(path) for path in folders()],
    }
    trainable = tune.with_resources(tune.with_parameters(_trial, work=work), {"cpu": 1})
    state = folder / _STATE
    if tune.Tuner.can_restore(str(state)):
        tuner = tune.Tuner.restore(str(state), trainable, resume_errored=True)
    else:
        asha = tune.schedulers.ASHAScheduler(time_attr="iteration")
        tuner = tune.Tuner(
            trainable,
            param_space=dict(space),
            tune_config=tune.TuneConfig(
                metric=COST,
                mode="min",
                num_samples=options.samples,
                max_concurrent_trials=options.concurrent,
                scheduler=asha if options.scheduler == "asha" else None,
            ),
            run_config=tune.RunConfig(name=_STATE, storage_path=str(folder), verbose=0),
        )
    # Its tables and tracebacks would drown the lines that say which trial failed, and why.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    with redirect_stdout(io.StringIO()):
        found = tuner.fit()
    results = [_result(folder, fixed, each.config or {}, each.error) for each in found]
    results = list({result.run.title: result for result in results}.values())
    write_table(folder, results)
    return results


def _trial(values: dict[str, Any], work: dict[str, Any]) -> None:
    """Train one trial in Tune's process, from where it is."""
    plugins.follow(work["plugins"])
    for path in work["configs"]:
        add_folder(path)
    run = _planned(Path(work["folder"]), work["fixed"], values)
    begun = (run.folder / name_of(run.seed)).exists()
    if begun and so_far(run).finished:
        done = so_far(run)
        tune.report({COST: done.best_cost, "iteration": 0})
        return
    config = configured(run)
    if begun:
        config = config.model_copy(update={"resume": True})

    def watch(progress: Progress, cost: float) -> None:
        tune.report({COST: cost, "iteration": progress.iteration})

    run.folder.mkdir(parents=True, exist_ok=True)
    train(config, watch)


def _planned(folder: Path, fixed: Sequence[str], values: Mapping[str, Any]) -> Planned:
    seed = int(values.get("seed", sweep.seed_of(fixed)))
    drawn = {key: _short(value) for key, value in values.items()}
    chosen = {key: value for key, value in drawn.items() if key != "seed"}
    words = [*(w for w in fixed if w.partition("=")[0] != "seed")]
    words += [f"{key}={value}" for key, value in chosen.items()]
    label = sweep.label(chosen)
    return Planned(label, seed, folder / label if label else folder, tuple(words))


def _short(value: Any) -> Any:
    """Return a number with four digits, so that a folder's name says what it was trained with."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _result(
    folder: Path, fixed: Sequence[str], values: Mapping[str, Any], error: Exception | None
) -> Result:
    found = so_far(_planned(folder, fixed, values))
    if error is None:
        return found
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return replace(found, fault=lines[-1] if lines else type(error).__name__)


def _space(words: Sequence[str]) -> tuple[TuneConfig, list[str], dict[str, Any]]:
    """Return Tune's options, the words of every trial, and what is drawn for each."""
    options, fixed, space = {}, [], {}
    for key, override in sweep.parsed(words).items():
        if key.startswith(_PREFIX):
            options[key.removeprefix(_PREFIX)] = override.value()
        elif override.is_sweep_override():
            space[key] = _drawn(override)
        else:
            fixed.append(str(override.input_line))
    if not space:
        raise ConfigError(
            "nothing is left to draw: give a word several values, as in "
            "algorithm.lr=tag(log,interval(1e-4,1e-2)) or algorithm.lr=1e-3,3e-3"
        )
    return validate(TuneConfig, options, "tune"), fixed, space


def _drawn(override: Override) -> Any:
    if override.is_discrete_sweep():
        return tune.choice([_plain(value) for value in override.sweep_iterator()])
    found = override.value()
    if not isinstance(found, IntervalSweep) or found.start is None or found.end is None:
        raise ConfigError(f"{override.input_line!r} is no list and no interval that Tune can draw")
    low, high = float(found.start), float(found.end)
    if not low < high or ("log" in found.tags and low <= 0):
        raise ConfigError(
            f"{override.input_line!r} runs from {low:g} to {high:g}: expected a lower end below "
            "the upper one, and above 0 for a logarithm"
        )
    return tune.loguniform(low, high) if "log" in found.tags else tune.uniform(low, high)


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
