"""Catalogue of everything that can be chosen by name: tasks, markets, ledgers, bidders, ..."""

from __future__ import annotations

from collections.abc import Callable

from gridbazaar.agents.bidders import BIDDERS
from gridbazaar.configs import descriptions, option, options
from gridbazaar.envs.devices import DEVICES
from gridbazaar.envs.incentives import INCENTIVES
from gridbazaar.envs.markets import MARKETS
from gridbazaar.errors import UnknownNameError
from gridbazaar.ledger_sim.layers.protocol import LAYERS
from gridbazaar.ledger_sim.registry import LEDGERS


def _tasks() -> dict[str, str]:
    return {name: str(option("task", name)["description"]) for name in options("task")}


def _ledgers() -> dict[str, str]:
    """Describe each configured ledger by its kind."""
    kinds = LEDGERS.describe()
    return {name: kinds[option("ledger", name)["name"]] for name in options("ledger")}


def _algorithms() -> dict[str, str]:
    # RLlib takes seconds to import: not where other families are asked for.
    from gridbazaar.agents.learning.algorithm import ALGORITHMS

    known = ALGORITHMS.describe()
    return {name: known[name] for name in options("algorithm") if name in known}


# What each family offers: a line by name.
FAMILIES: dict[str, Callable[[], dict[str, str]]] = {
    "tasks": _tasks,
    "markets": MARKETS.describe,
    "devices": DEVICES.describe,
    "ledgers": _ledgers,
    "layers": LAYERS.describe,
    "incentives": INCENTIVES.describe,
    "bidders": BIDDERS.describe,
    "algorithms": _algorithms,
    "presets": descriptions,
}


def listing(*families: str) -> str:
    """Return the names of some families, or of all, with a line each.

    Raises:
        UnknownNameError: there is no such family; gives the nearest.
    """
    for family in families:
        if family not in FAMILIES:
            raise UnknownNameError("family", family, FAMILIES)
    lines = []
    for family in families or FAMILIES:
        entries = FAMILIES[family]()
        width = max(map(len, entries))
        lines.append(f"{family}:")
        lines += [f"  {name:{width}}  {line}" for name, line in entries.items()]
    return "\n".join(lines)
