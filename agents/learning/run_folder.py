"""Folder of a run: what it was told, with which versions, and how to continue it."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from gridbazaar import files
from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning import algorithms, loggers
from gridbazaar.config import validate
from gridbazaar.configs import compose
from gridbazaar.errors import RunError, nearest
from gridbazaar.sourced import read_yaml

CONFIG, VERSIONS = "config.yaml", "versions.json"
# What may change between two halves of one run without changing what it computes.
FREE = ("name", "folder", "resume", "total_agent_steps", "validate_every", "checkpoint_every")
FREE_GROUPS = ("ray.", "keep_checkpoints", "loggers")
_PACKAGES = ("gridbazaar", "numpy", "pandapower", "ray", "torch")


def configure(words: Sequence[str]) -> TrainConfig:
    """Return the configuration that command-line words mean.

    A resumed run keeps the configuration it was started with.

    Raises:
        ConfigError: a word or a value is refused.
        UnknownNameError: no algorithm or logger is called so; gives the nearest.
        MissingExtraError: the library of a logger is not installed.
        RunError: a resumed run does not exist, or was told to change what it computes.
    """
    values = compose("train", words)
    if values["name"] is None:
        if values["resume"]:
            runs = [path.parent.name for path in Path(values["folder"]).glob(f"*/{CONFIG}")]
            raise RunError(f"resume=true needs name=; {nearest('', sorted(runs))}")
        values["name"] = files.name_by_time(values["task"]["name"])
    config = validate(TrainConfig, values)
    algorithms.make(config.algorithm)
    loggers.check(config.loggers)
    if not config.resume:
        return config
    path = folder_of(config) / CONFIG
    if not path.is_file():
        raise RunError(f"nothing to resume: {path} does not exist; start without resume=true")
    given = [word.lstrip("+~").partition("=")[0] for word in words]
    fixed = [key for key in given if key not in FREE and not key.startswith(FREE_GROUPS)]
    if fixed:
        raise RunError(
            f"a resumed run keeps its {fixed[0]} (see {path}); leave it out, or start another run "
            "under a new name"
        )
    stored = read_yaml(path)
    keys = {key.partition(".")[0] for key in given}
    fresh = config.model_dump()
    # A run that is older than the option of its loggers gets the default.
    stored = {"loggers": fresh["loggers"], **stored}
    config = validate(TrainConfig, {**stored, **{key: fresh[key] for key in keys}}, str(path))
    algorithms.make(config.algorithm)
    loggers.check(config.loggers)
    return config


def folder_of(config: TrainConfig) -> Path:
    """Return a run's folder; what a symbolic link in its place points to."""
    return files.real(Path(config.folder) / config.name)


def check_new(folder: Path) -> None:
    """See that runs may be begun in a folder.

    Raises:
        RunError: it exists.
    """
    if folder.exists():
        raise RunError(
            f"{folder} exists; continue it with resume=true, choose another name, or remove it"
        )


def open_folder(config: TrainConfig) -> Path:
    """Create a run's folder with its configuration and versions, or return the one to resume.

    What a killed process left unfinished beside it is removed: claim the folder before.

    Raises:
        RunError: it exists and is not to be resumed.
    """
    folder = folder_of(config)
    partial = files.hidden(folder, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    if config.resume:
        return folder
    check_new(folder)
    partial.mkdir(parents=True)
    try:
        words = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        files.write(partial / CONFIG, words)
        files.write(partial / VERSIONS, json.dumps({**versions(), "seed": config.seed}, indent=1))
        files.settle(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def versions() -> dict[str, Any]:
    """Return the versions of Python, packages and project that produced a result.

    The commit and whether the checkout differed from it are None outside a git checkout, a
    package's version is None where it is not installed.
    """
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if (status := _git("status", "--porcelain")) is None else bool(status),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*words: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
