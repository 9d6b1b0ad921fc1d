"""Checkpoints of a run, written by RLlib to a temporary name and moved into place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gridbazaar.envs.layout import Layout
from gridbazaar.envs.seat_groups import SeatGroup
from gridbazaar.errors import CheckpointError

FOLDER, BEST, PROGRESS = "checkpoints", "best", "progress.json"
_FORMAT = "gridbazaar-checkpoint-3"
_PARTIAL = ".partial"

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
    """How far a run is; kept beside RLlib's state in every checkpoint.

    Attributes:
        iteration: training iterations done.
        agent_steps: agent steps sampled so far.
        seconds: time spent training.
        best_cost: lowest validated community cost so far, EUR/day; None before the first.
        policies: what each module sees and gives.
    """

    iteration: int
    agent_steps: int
    seconds: float
    best_cost: float | None
    policies: Policies


def save(algorithm: Any, run: Path, progress: Progress, best: bool, keep: int) -> Path:
    """Write a whole checkpoint of an RLlib algorithm, or nothing; return its folder.

    Args:
        algorithm: to be saved.
        run: the run's folder.
        progress: how far it is.
        best: whether `checkpoints/best` shall point to it.
        keep: how many of the newest to keep besides the best.
    """
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"iteration_{progress.iteration:06d}"
    if not target.exists():
        partial = folder / f"{target.name}{_PARTIAL}"
        shutil.rmtree(partial, ignore_errors=True)
        algorithm.save_to_path(partial.resolve())
        record = {"format": _FORMAT, **asdict(progress)}
        (partial / PROGRESS).write_text(json.dumps(record, indent=1))
        os.replace(partial, target)
    if best:
        _point(folder / BEST, target.name)
    _prune(folder, keep)
    return target


def _point(link: Path, name: str) -> None:
    """Let a symbolic link name another folder, in one step."""
    fresh = link.with_name(f"{link.name}{_PARTIAL}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    os.replace(fresh, link)


def _prune(folder: Path, keep: int) -> None:
    best = (folder / BEST).resolve()
    for old in _whole(folder)[:-keep]:
        if old.resolve() != best:
            shutil.rmtree(old)
    for partial in folder.glob(f"iteration_*{_PARTIAL}"):
        shutil.rmtree(partial)


def _whole(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("iteration_*") if p.suffix != _PARTIAL)


def newest(run: Path) -> Path | None:
    """Return the newest checkpoint of a run; None where it has none yet."""
    return next(reversed(_whole(run / FOLDER)), None)


def find(folder: Path) -> Path:
    """Return the checkpoint meant by a run's folder (its best, else its newest) or its own.

    Raises:
        CheckpointError: there is none.
    """
    best = folder / FOLDER / BEST
    for candidate in (best, newest(folder), folder):
        if candidate is not None and (candidate / PROGRESS).is_file():
            return candidate
    raise CheckpointError(
        f"{folder} holds no checkpoint of GridBazaar (expected {FOLDER}/{BEST} or {PROGRESS} "
        "in it); give the folder of a run, such as runs/demo, or of one of its checkpoints"
    )


def read_progress(checkpoint: Path, wanted: Policies | None = None) -> Progress:
    """Return how far a checkpoint is.

    Args:
        checkpoint: its folder.
        wanted: policies that it must hold; others it may hold beside them.

    Raises:
        CheckpointError: it is damaged, foreign, of another version, or for other seats.
    """
    path = checkpoint / PROGRESS
    try:
        record = json.loads(path.read_text())
        found = record.pop("format")
        progress = Progress(**record) if found == _FORMAT else None
        have = {} if progress is None else {k: dict(v) for k, v in progress.policies.items()}
    except FileNotFoundError:
        raise CheckpointError(
            f"{checkpoint} has no {PROGRESS}: it is no checkpoint of GridBazaar, or a damaged one; "
            "remove it to continue from the one before"
        ) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}): the checkpoint is damaged or foreign; remove "
            f"{checkpoint} to continue from the one before"
        ) from None
    if progress is None:
        raise CheckpointError(
            f"{checkpoint} has format {found!r}, expected {_FORMAT!r}: it was written by another "
            "version; use that version, or train again"
        )
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


def restore(algorithm: Any, checkpoint: Path, wanted: Policies) -> Progress:
    """Put an RLlib algorithm where a checkpoint left it; arguments and errors as for the above."""
    progress = read_progress(checkpoint, wanted)
    try:
        algorithm.restore_from_path(checkpoint.resolve())
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(
            f"{checkpoint} cannot be restored ({type(error).__name__}: {error}): it is damaged; "
            "remove it to continue from the one before"
        ) from error
    return progress
