"""Tasks by PettingZoo's own names: `pettingzoo.make("parallel", "gridbazaar/semiurb4-v1")`."""

from __future__ import annotations

import pettingzoo

from gridbazaar.configs import options

NAMESPACE = "gridbazaar"


def register_tasks() -> tuple[str, ...]:
    """Register every task that is not registered yet; return the names of those that are new.

    Importing `gridbazaar.envs` does so; call it again after `gridbazaar.configs.add_folder`. A name
    without a version means the newest; `make` passes further arguments of `parallel_env` on.
    """
    new = []
    for task in options("task"):
        name = f"{NAMESPACE}/{task}"
        if name not in pettingzoo.parallel_registry:
            entry = "gridbazaar.envs:parallel_env"
            pettingzoo.register("parallel", name, entry_point=entry, kwargs={"task": task})
            new.append(name)
    return tuple(new)
