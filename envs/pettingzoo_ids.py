"""Tasks by PettingZoo's own names: `pettingzoo.make("parallel", "gridbazaar/semiurb4-v1")`."""

from __future__ import annotations

from collections.abc import Iterable

import pettingzoo

from gridbazaar.configs import options, shipped

NAMESPACE = "gridbazaar"


def register_tasks(tasks: Iterable[str] | None = None) -> tuple[str, ...]:
    """Register tasks that are not registered yet; return the names of those that are new.

    Importing `gridbazaar.envs` registers those that ship: a plug-in, which may import it, is not
    asked then. Call this for the tasks of plug-ins, and after `gridbazaar.configs.add_folder`. A
    name without a version means the newest; `make` passes further arguments of `parallel_env` on.

    Args:
        tasks: their names; all that are known where none are given.
    """
    new = []
    for task in options("task") if tasks is None else tasks:
        name = f"{NAMESPACE}/{task}"
        if name not in pettingzoo.parallel_registry:
            entry = "gridbazaar.envs:parallel_env"
            pettingzoo.register("parallel", name, entry_point=entry, kwargs={"task": task})
            new.append(name)
    return tuple(new)


def register_shipped() -> None:
    """Register the tasks that ship with the project."""
    register_tasks(shipped("task"))
