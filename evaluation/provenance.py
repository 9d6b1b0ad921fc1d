"""Provenance of learned bidders: what they were trained on, and where an evaluation differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gridbazaar.agents import shelf
from gridbazaar.agents.run_set import members
from gridbazaar.errors import CheckpointError, GridBazaarError
from gridbazaar.sourced import read_yaml

_CONFIG = "config.yaml"  # as gridbazaar.agents.learning.run_folder writes it
_PARTS = ("task", "market", "ledger")


def trained_on(bidder: str) -> dict[str, Any] | None:
    """Return task, market, ledger, algorithm, seeds and agent steps of a learned bidder's training.

    None for one that was not trained in a run's folder, or whose configuration is gone.
    """
    runs = members(bidder)
    path = shelf.place(next(iter(runs.values())))
    if not path.is_dir():
        return None
    place = path.resolve()
    file = next((p / _CONFIG for p in (place, *place.parents) if (p / _CONFIG).is_file()), None)
    if file is None:
        return None
    try:
        found = read_yaml(file)
        names = {part: str(found[part]["name"]) for part in (*_PARTS, "algorithm")}
        seeds = [int(seed) for seed in runs if seed] or [int(found["seed"])]
        wanted = int(found["total_agent_steps"])
    except (GridBazaarError, OSError, KeyError, TypeError, ValueError):
        return None
    return {**names, "seeds": seeds, "agent_steps": _steps(place, wanted)}


def _steps(place: Path, wanted: int) -> int:
    """Return the agent steps behind the checkpoint that plays; what was wanted where none is."""
    # RLlib takes seconds to import: not where only classic bidders play.
    from gridbazaar.agents.learning import checkpoints

    try:
        return checkpoints.read_progress(checkpoints.find(place)).agent_steps
    except CheckpointError:
        return wanted


def said(bidder: str, trained: Mapping[str, Any]) -> str:
    """Return in a line what a bidder was trained on.

    Args:
        bidder: how tables call it.
        trained: as `trained_on` gives it.
    """
    seeds = ", ".join(map(str, trained["seeds"]))
    return (
        f"{bidder} was trained by {trained['algorithm']} on {trained['task']} under "
        f"{trained['market'].replace('_', ' ')} and the {trained['ledger']} ledger, "
        f"{trained['agent_steps']:,} agent steps, "
        f"{'seeds' if len(trained['seeds']) > 1 else 'seed'} {seeds}."
    )


def unknown(bidder: str) -> str:
    """Return in a line that what a bidder was trained on is not known."""
    return f"What {bidder} was trained on is not known: its run has no {_CONFIG} that can be read."


def differences(
    bidder: str, trained: dict[str, Any], task: str, markets: Sequence[str], ledgers: Sequence[str]
) -> list[str]:
    """Return a line per part of the world in which a bidder plays elsewhere than it was trained.

    Args:
        bidder: how tables call it.
        trained: as `trained_on` gives it.
        task, markets, ledgers: where it plays.
    """
    lines = []
    for part, played in zip(_PARTS, ((task,), markets, ledgers), strict=True):
        others = [name for name in played if name != trained[part]]
        if others:
            lines.append(
                f"{bidder} was trained with {part} {trained[part]} and plays "
                f"{', '.join(others)} without having been trained for it."
            )
    return lines
