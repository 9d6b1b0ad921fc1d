"""Jobs of a sweep by Hydra's launchers: several at a time here, or in a cluster's queue."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose as hydra_compose
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gridbazaar import plugins
from gridbazaar.configs import sweep
from gridbazaar.configs.composition import our_hydra, search_path
from gridbazaar.configs.search_path import FOLDER, add_folder, folders
from gridbazaar.errors import ConfigError, MissingExtraError, WorldError, nearest

_GROUP, _OPTION, _BASIC = "hydra/launcher", "hydra.launcher.", "basic"
_EXTRA, _BLANK = "launchers", "blank"
_LIBRARIES = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
}
# Nothing of Hydra's own is written beside the jobs' folders, nor is our output changed.
_QUIET = (
    "hydra.mode=MULTIRUN",
    "hydra.sweep.subdir=.",
    "hydra.output_subdir=null",
    "hydra/hydra_logging=none",
    "hydra/job_logging=none",
)
T = TypeVar("T")
# What a job is told is how many cores are its own.
Job = Callable[[int], T]


def parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of a launcher, none for one job after another, and all other words.

    Raises:
        ConfigError: there is no such launcher, or it has no such option.
        MissingExtraError: the launcher is not installed.
    """
    ours = [word for word in words if word.lstrip("+~").startswith((f"{_GROUP}=", _OPTION))]
    others = [word for word in words if word not in ours]
    if ours:
        with our_hydra(FOLDER):
            _composed(ours, Path())
    return ([] if ours == [f"{_GROUP}={_BASIC}"] else ours), others


def launch(words: Sequence[str], folder: Path, jobs: Mapping[str, Job[T]]) -> list[T]:
    """Run jobs by a launcher, and wait for all.

    Args:
        words: of the launcher, see `parted`.
        folder: where the launcher may write.
        jobs: by the title that their lines on the terminal bear; can be pickled.

    Returns:
        What the jobs return, in their order.

    Raises:
        WorldError: the launcher failed, or a job of it died.
    """
    if not jobs:
        return []
    with our_hydra(FOLDER):
        context, config = _composed(words, folder)
        launcher = config.hydra.launcher
        task = _Task(
            list(jobs.items()),
            _at_a_time(launcher, len(jobs)),
            launcher.get("cpus_per_task"),
            plugins.modules(),
            folders(),
        )
        try:
            launched = Plugins.instance().instantiate_launcher(context, task, config)
            returned = launched.launch([[f"+job={number}"] for number in range(len(jobs))], 0)
        except Exception as error:
            what = f"{type(error).__name__}: {_first_line(error)}"
            raise WorldError(f"the launcher, or a job of it, failed: {what}") from error
    return [each.return_value for each in returned]


@dataclass(frozen=True)
class _Task:
    """What Hydra calls in each job's process."""

    jobs: Sequence[tuple[str, Job[Any]]]
    at_a_time: int
    cores: int | None
    modules: Sequence[str]
    folders: Sequence[Path]

    def __call__(self, config: DictConfig) -> Any:
        plugins.follow(self.modules)
        for folder in self.folders:
            add_folder(folder)
        title, job = self.jobs[config.job]
        with redirect_stderr(_Titled(title, sys.stderr)):
            return job(self.cores or max(1, _cores_here() // self.at_a_time))


class _Titled(io.StringIO):
    """Lines to a stream that other jobs write to as well, each with the job's title."""

    def __init__(self, title: str, stream: Any):
        super().__init__()
        self._title, self._stream, self._begun = title, stream, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._stream.write(f"{self._title}: {line}\n")
        self._stream.flush()
        return len(text)


def _composed(words: Sequence[str], folder: Path) -> tuple[HydraContext, DictConfig]:
    place = [sweep.word("hydra.sweep.dir", str(folder)), sweep.word("hydra.job.name", folder.name)]
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
    all_words = [*_QUIET, *place, *words, *search_path(FOLDER)]
    try:
        return context, hydra_compose(_BLANK, all_words, return_hydra_config=True)
    # Hydra's ValueError says that the launcher was given null, a number or a truth value.
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise _explained(words, hydra.config_loader, error) from None


def _explained(words: Sequence[str], loader: Any, error: Exception) -> Exception:
    """Return what is wrong with words of a launcher."""
    found = sweep.parsed(words)
    if several := [key for key, override in found.items() if override.is_sweep_override()]:
        return ConfigError(f"{several[0]} has several values: all jobs have one launcher")
    if _GROUP not in found:
        return ConfigError(f"{words[0]!r} wants a launcher, as in {_GROUP}=joblib")
    name = str(found[_GROUP].value())
    try:
        chosen = hydra_compose(_BLANK, [f"{_GROUP}={name}", *search_path(FOLDER)], True)
    except (HydraException, OmegaConfBaseException, ValueError):
        if name in _LIBRARIES:
            return MissingExtraError(_LIBRARIES[name], _EXTRA)
        known = {*loader.get_group_options(_GROUP), *_LIBRARIES}
        return ConfigError(f"unknown {_GROUP} {name!r}: {nearest(name, sorted(known))}")
    options = [str(key) for key in chosen.hydra.launcher if key != "_target_"]
    for option in (key.removeprefix(_OPTION) for key in found if key != _GROUP):
        if option.partition(".")[0] not in options:
            return ConfigError(f"{_GROUP}={name} has no {option!r}: {nearest(option, options)}")
    return ConfigError(f"{_GROUP}={name}: {_first_line(error.__cause__ or error)}")


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split("\n", 1)[0].split())


def _at_a_time(launcher: DictConfig, jobs: int) -> int:
    """Return how many of the jobs share the cores of one machine at a time."""
    if "n_jobs" in launcher:  # joblib's: below 0 counts from all cores down
        wanted = launcher.n_jobs
        return min(jobs, wanted if wanted > 0 else max(1, _cores_here() + 1 + wanted))
    return jobs if launcher["_target_"].endswith(".LocalLauncher") else 1


def _cores_here() -> int:
    return len(os.sched_getaffinity(0))
