"""Checkpoints of a run: plain data in a folder that comes into place whole, with its digests.

A folder `iteration_*` holds `progress.json`, `weights.pt` (of the networks), `state.pt` (what else
RLlib needs to go on) and `SHA256SUMS`. Which one is the best stands in the newest one's progress,
so that both change in one step; the link `best` is there for people.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_LEARNER_GROUP, COMPONENT_RL_MODULE

from gridbazaar import files
from gridbazaar.agents.learning import digests, plain_data
from gridbazaar.agents.learning.roster import Sharing
from gridbazaar.envs.layout import Layout
from gridbazaar.envs.seat_groups import SeatGroup
from gridbazaar.errors import CheckpointError

FOLDER, BEST, PROGRESS = "checkpoints", "best", "progress.json"
WEIGHTS, STATE = "weights.pt", "state.pt"
_FORMAT = "gridbazaar-checkpoint-5"
_PREFIX = "iteration_"

# Group of seats -> names of the entries that its policy sees (observation) and gives (action).
Policies = Mapping[str, Mapping[str, list[str]]]


def policies_of(layout: Layout, groups: Iterable[SeatGroup]) -> Policies:
    """Return what the policies of a community's groups see and give."""
    return {
        group.name: {
            "observation": [layout.features[i].name for i in group.observed.tolist()],
            "action": [layout.actions[i] for i in group.acted.tolist()],
        }
        for group in groups
    }


@dataclass(frozen=True)
class Progress:
    """How far a run is, and what its networks are built of; kept in every checkpoint.

    Attributes:
        iteration: training iterations done.
        agent_steps: agent steps sampled so far.
        seconds: time spent training.
        best_cost: lowest validated community cost so far, EUR/day; None before the first.
        policies: what each network sees and gives.
        state_size: entries of a market's global state.
        algorithm: name and parameters of the algorithm that makes the networks.
        best_iteration: the one that was validated at best_cost.
        sharing: who shares a policy, as `gridbazaar.agents.learning.roster` reads it.
        fixed: who does not learn, and the bidders that play them.
    """

    iteration: int
    agent_steps: int
    seconds: float
    best_cost: float | None
    policies: Policies
    state_size: int = 0
    algorithm: Mapping[str, Any] = field(default_factory=dict)
    best_iteration: int | None = None
    sharing: Sharing = "group"
    fixed: Mapping[str, str] = field(default_factory=dict)


def save(algorithm: Any, run: Path, progress: Progress, keep: int) -> Path:
    """Write a whole checkpoint of an RLlib algorithm, or nothing; return its folder.

    Args:
        algorithm: to be saved.
        run: the run's folder.
        progress: how far it is; says which checkpoint is the best.
        keep: how many of the newest to keep besides the best.

    Raises:
        CheckpointError: the algorithm's state holds what is no plain data.
    """
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    target = _place(folder, progress.iteration)
    if not target.exists():
        partial = files.hidden(target, "partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _write(algorithm, partial, progress)
        files.settle(partial, target)
    mend(run)
    _prune(folder, progress, keep)
    return target


def _write(algorithm: Any, folder: Path, progress: Progress) -> None:
    state = algorithm.get_state()
    weights = state[COMPONENT_LEARNER_GROUP][COMPONENT_LEARNER].pop(COMPONENT_RL_MODULE)
    try:
        for name, data in ((WEIGHTS, weights), (STATE, state)):
            files.write(folder / name, plain_data.dump(data))
    except TypeError as error:
        raise CheckpointError(f"{folder / name} cannot be written: {error}") from None
    record = {"format": _FORMAT, **asdict(progress)}
    files.write(folder / PROGRESS, json.dumps(record, indent=1))
    digests.write(folder)


def mend(run: Path) -> None:
    """Let the link `best` name what the newest checkpoint calls the best."""
    found = best(run)
    link = run / FOLDER / BEST
    if found is not None and (not link.is_symlink() or os.readlink(link) != found.name):
        files.point(link, found.name)


def _prune(folder: Path, progress: Progress, keep: int) -> None:
    kept = [_place(folder, progress.best_iteration or 0), *_whole(folder)[-keep:]]
    for old in _whole(folder):
        if old not in kept:
            files.discard(old)
    for left in folder.glob(f".{_PREFIX}*.gridbazaar.*"):
        shutil.rmtree(left)


def _place(folder: Path, iteration: int) -> Path:
    return folder / f"{_PREFIX}{iteration:06d}"


def _whole(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_PREFIX}*"))


def newest(run: Path) -> Path | None:
    """Return the newest checkpoint of a run; None where it has none yet."""
    return next(reversed(_whole(run / FOLDER)), None)


def best(run: Path) -> Path | None:
    """Return what the newest checkpoint calls the best; where that is none or gone, the newest."""
    last = newest(run)
    if last is None:
        return None
    digests.check(last, PROGRESS)
    iteration = _record(last).get("best_iteration")
    place = _place(last.parent, iteration) if isinstance(iteration, int) else last
    return place if place.is_dir() else last


def find(folder: Path) -> Path:
    """Return the checkpoint meant by a run's folder (its best, else its newest) or its own.

    Raises:
        CheckpointError: there is none.
    """
    run = folder.parents[1] if (folder.parent.name, folder.name) == (FOLDER, BEST) else folder
    found = best(run)
    if found is not None:
        return found
    if (folder / PROGRESS).is_file():
        return folder
    raise CheckpointError(
        f"{folder} holds no checkpoint of GridBazaar (expected {FOLDER}/ or {PROGRESS} in it); "
        "give the folder of a run, such as runs/demo, or of one of its checkpoints"
    )


def read_progress(checkpoint: Path, wanted: Policies | None = None) -> Progress:
    """Return how far a checkpoint is.

    Args:
        checkpoint: its folder.
        wanted: policies that it must hold; others it may hold beside them.

    Raises:
        CheckpointError: it is damaged, foreign, of another version, or for other seats.
    """
    record = _record(checkpoint)
    found = record.pop("format", None)
    if found != _FORMAT:
        raise CheckpointError(
            f"{checkpoint} has format {found!r}, expected {_FORMAT!r}: it was written by another "
            "version; use that version, or train again"
        )
    try:
        progress = Progress(**record)
        have = {name: dict(entries) for name, entries in progress.policies.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise _damaged(checkpoint / PROGRESS, error) from None
    _check_policies(checkpoint, have, wanted or {})
    return progress


def _check_policies(checkpoint: Path, have: Policies, wanted: Policies) -> None:
    """Raise CheckpointError unless a checkpoint has what seats need."""
    for name, entries in wanted.items():
        if name not in have:
            raise CheckpointError(
                f"{checkpoint} has no policy for seats {name}, only for {', '.join(have)}: train "
                "on a task that has such seats"
            )
        for what, names in entries.items():
            found = have[name].get(what, [])
            if found != names:
                other = sorted({*names} ^ {*found})
                raise CheckpointError(
                    f"{checkpoint} has a policy for seats {name} with another {what} (differing in "
                    f"{', '.join(other) or 'the order'}): it was trained by another version or for "
                    "other devices; use those, or train again"
                )


def _record(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / PROGRESS
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{checkpoint} has no {PROGRESS}: it is no checkpoint of GridBazaar, or a damaged one; "
            "remove it to continue from the one before"
        ) from None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    if not isinstance(record, dict):
        raise _damaged(path, TypeError(f"it holds a {type(record).__name__}"))
    return record


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be read ({error}): the checkpoint is damaged or foreign; remove "
        f"{path.parent} to continue from the one before"
    )


def weights(checkpoint: Path) -> dict[str, Any]:
    """Return the networks' weights by group, after a check of all digests; runs no code of theirs.

    Raises:
        CheckpointError: a file is not what was written, or holds more than plain data.
    """
    digests.check(checkpoint)
    found: dict[str, Any] = _load(checkpoint / WEIGHTS)
    return found


def restore(algorithm: Any, checkpoint: Path, wanted: Policies | None = None) -> Progress:
    """Put an RLlib algorithm where a checkpoint left it; arguments and errors as for the above."""
    progress = read_progress(checkpoint, wanted)
    found = weights(checkpoint)
    state = plain_data.as_arrays(_load(checkpoint / STATE))
    try:
        learner = state[COMPONENT_LEARNER_GROUP][COMPONENT_LEARNER]
        learner[COMPONENT_RL_MODULE] = plain_data.as_arrays(found)
        algorithm.set_state(state)
    except Exception as error:  # other networks, another version of RLlib
        raise CheckpointError(
            f"{checkpoint} cannot be restored ({_said(error)}): it was written for other networks "
            "or by other versions; remove it to continue from the one before"
        ) from error
    return progress


def _load(path: Path) -> Any:
    try:
        return plain_data.load(path)
    except Exception as error:  # what is no plain data can raise anything
        raise CheckpointError(
            f"{path} holds more than plain data, or is no checkpoint of GridBazaar "
            f"({_said(error)}); nothing of it was run; remove {path.parent}"
        ) from None


def _said(error: Exception) -> str:
    """Return the first sentence of an error, in one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words.partition('. ')[0][:200]}"
