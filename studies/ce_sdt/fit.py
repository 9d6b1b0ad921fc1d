"""Fit of two numbers that the paper does not print, price level and load, to two that it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.studies.ce_sdt.community import Community, Events, Prices, build
from gridbazaar.studies.ce_sdt.prices import weights
from gridbazaar.studies.ce_sdt.profiles import Profiles
from gridbazaar.studies.ce_sdt.references import references
from gridbazaar.studies.ce_sdt.rules import Rules
from gridbazaar.studies.ce_sdt.trading import simulate, typical_energies

SHARE = 0.5  # of users who generate
CONSUMERS, ALL = 0.602, 0.431  # of the traditional bill, 4.2
LEVELS = (0.10, 0.13, 0.17, 0.22, 0.30, 0.42)  # AUD/kWh, from the feed-in up
LOADS = (7.0, 11.0, 15.0, 20.0, 27.0, 36.0)  # kWh a day


def fitted(profiles: Profiles, rules: Rules, prices: Prices, draws: int, seed: int) -> Rules:
    """Return the rules with the load at which all pay ALL, and the level at which Ω¹ pay CONSUMERS.

    Both bills rise with load and level. They are played on a grid of the two, then on a finer one
    around what lies between its points. Beyond the grid its end is taken.
    """
    levels, loads = np.array(LEVELS), np.array(LOADS)
    for _ in range(2):
        consumers, everybody = bills(profiles, rules, prices, levels, loads, draws, seed)
        load_of = np.array([np.interp(ALL, row, loads) for row in everybody])
        paid = [np.interp(load, loads, row) for load, row in zip(load_of, consumers, strict=True)]
        level = float(np.interp(CONSUMERS, paid, levels))
        load = float(np.interp(level, levels, load_of))
        near = np.linspace(0.9, 1.1, 3)
        levels, loads = np.maximum(level * near, LEVELS[0] * near), load * near
    return replace(rules, level=level, load_kwh=load)


def bills(
    profiles: Profiles,
    rules: Rules,
    prices: Prices,
    levels: Sequence[float] | NDArray[np.float64],
    loads: Sequence[float] | NDArray[np.float64],
    draws: int,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what Ω¹ and all pay, [levels, loads], of the traditional bill with all sun fed in."""
    parts = [
        build(profiles, (SHARE,), draws, replace(rules, load_kwh=float(load)), prices, seed)
        for load in loads
    ] * len(levels)
    level = torch.tensor(np.array(levels)).repeat_interleave(len(loads) * draws)[:, None]
    typical = torch.tensor([typical_energies(part, rules) for part in parts]).double()
    surplus, need = typical.repeat_interleave(draws, 0).split(1, -1)
    community = joined(parts)
    after = simulate(community, rules, prices, weights(level, surplus, need)).cost
    before = references(community, rules, prices, store=False)["gross"]

    def part(chosen: Tensor) -> NDArray[np.float64]:
        sums = [(x * chosen).sum(-1).view(len(parts), draws).sum(-1) for x in (after, before)]
        return (sums[0] / sums[1]).view(len(levels), len(loads)).numpy()

    return part(~community.owner), part(torch.ones_like(community.owner))


def joined(parts: Sequence[Community]) -> Community:
    """Return communities of as many users in one batch; shorter days end with empty settlements."""
    longest = max(part.events.user.shape[1] for part in parts)

    def padded(values: Tensor) -> Tensor:
        return torch.nn.functional.pad(values, (0, longest - values.shape[1]))

    events = Events(
        *(
            torch.cat([padded(v) for v in column])
            for column in zip(*(part.events for part in parts), strict=True)
        )
    )
    rest = zip(*(part[1:] for part in parts), strict=True)
    return Community(events, *(torch.cat(column) for column in rest))
