"""Options of a reset: which day is played."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from gridbazaar.envs.day import check_days_of
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ArgumentError, UnknownNameError

OPTIONS = ("day", "any_split")
_TEST_OPTION = "options"  # PettingZoo's own API test gives it, and expects it to be ignored


def chosen_day(given: Any, simulation: Simulation) -> Tensor | None:
    """Return the first slot [1] of the day that a reset's options name; None where they name none.

    Args:
        given: `{"day": first_slot}`, a day of the simulation's split; with `"any_split": True`
            beside it, any day of the data.
        simulation: of one market.

    Raises:
        UnknownNameError: for another option, with the nearest known one.
        ArgumentError: the day is not the first slot of one in the data, or of another split.
    """
    options = _known(given)
    any_split = options.get("any_split", False)
    if not isinstance(any_split, bool):
        raise ArgumentError(f"option any_split is {any_split!r}, expected True or False")
    if options.get("day") is None:
        return None
    days = torch.tensor([_slot(options["day"])])
    simulation.check_days(days)
    if not any_split:
        check_days_of(simulation.split, days, simulation.community.days)
    return days


def _known(given: Any) -> Mapping[str, Any]:
    """Return a reset's options; raise unless they are known ones."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ArgumentError(f"options is {given!r}, expected a dictionary such as {{'day': 0}}")
    for name in given:
        if name not in (*OPTIONS, _TEST_OPTION):
            raise UnknownNameError("option of reset", str(name), OPTIONS)
    return given


def _slot(day: Any) -> int:
    """Return the first slot of a day as an integer; raise ArgumentError unless it is one."""
    whole = isinstance(day, Integral) and not isinstance(day, bool)
    if not whole or not 0 <= int(day) < 1 << 63:
        raise ArgumentError(
            f"option day is {day!r}, which is not the first slot of a day: expected a whole number"
        )
    return int(day)
