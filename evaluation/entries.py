"""Entries of a suite: registered bidders, trained ones, and whatever a stranger brings along."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gridbazaar.agents import shelf
from gridbazaar.agents.bidders import BIDDERS, Bidder
from gridbazaar.agents.load import load
from gridbazaar.agents.run_set import members, points_in
from gridbazaar.envs.game import Game
from gridbazaar.errors import ConfigError, PluginError, UnknownNameError
from gridbazaar.evaluation.config import label

# An object with `act`, or what builds one for a game.
Entry = Bidder | Callable[[Game], Bidder]
TASK = "{task}"


@dataclass(frozen=True)
class Entries:
    """Who plays: names, and what stands behind those that are neither registered nor folders.

    Attributes:
        names: in the order of play; a folder's may hold {task}, for which each task's name is put.
        given: by name.
    """

    names: tuple[str, ...]
    given: Mapping[str, Entry] = field(default_factory=dict)

    def make(self, name: str, game: Game, device: torch.device | str = "cpu") -> Bidder:
        """Return the bidder of a name for a game; raises as `load`, and ConfigError."""
        if name not in self.given:
            return load(name, game, device)
        entry: Any = self.given[name]
        made = entry if hasattr(entry, "act") and not isinstance(entry, type) else entry(game)
        if not callable(getattr(made, "act", None)):
            raise ConfigError(
                f"entry {name!r} is a {type(made).__name__} without act(observation, state); "
                "expected an object with it, or a function of the game that returns one"
            )
        bidder: Bidder = made
        return bidder

    def of(self, name: str, task: str) -> str:
        """Return who plays a task for a name."""
        return name.replace(TASK, task)


def entries(names: Sequence[str], given: Mapping[str, Entry] | None = None) -> Entries:
    """Return the entries that names mean.

    A name is a registered bidder's, a folder of a run, a set of runs or a checkpoint, one of
    `given`, or `module:name` of an object in a module that Python finds from here.

    Raises:
        UnknownNameError: there is no such bidder; gives the nearest.
        PluginError: a module cannot be imported, or has no such object.
        ConfigError: a folder is a sweep's, of which one point must be chosen.
    """
    found = dict(given or {})
    for name in names:
        if name in found or name in BIDDERS or TASK in name:
            continue
        if ":" in name and not Path(name).exists():
            found[name] = _imported(name)
        elif not shelf.place(name).is_dir():
            kind = "run or checkpoint folder" if "/" in name else "bidder"
            raise UnknownNameError(kind, name, (*BIDDERS.names(), *shelf.names()))
        else:
            check_set(name)
    who = tuple(dict.fromkeys([*names, *found]))
    called: dict[str, str] = {}
    for name in who:
        if called.setdefault(label(name), name) != name:
            raise ConfigError(
                f"tables would call both {called[label(name)]!r} and {name!r} {label(name)!r}; "
                "leave one out, or rename its folder"
            )
    return Entries(who, found)


def check_set(bidder: str) -> None:
    """Raise ConfigError where a folder is a sweep's, or a set of which a run has no checkpoint."""
    if points := points_in(bidder):
        raise ConfigError(
            f"{bidder} is a sweep of {len(points)} points; name one of them, as in {points[0]}"
        )
    for seed, run in members(bidder).items():
        if seed and not any(Path(run, "checkpoints").glob("iteration_*")):
            raise ConfigError(
                f"{bidder} has no checkpoint for seed {seed}: train it to its end with "
                "resume=true, or move that folder away"
            )


def _imported(name: str) -> Entry:
    module, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # an installed command does not look where it was called
    try:
        found: Entry = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module of theirs can raise anything
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(f"{name} cannot be imported: {what}; expected module:object") from None
    return found
