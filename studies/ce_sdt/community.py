"""Communities of the experiment: who generates, whose profile it has, and when it settles (14)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.configs import option
from gridbazaar.envs.data.tariffs import parse_tariff
from gridbazaar.studies.ce_sdt.profiles import Profiles
from gridbazaar.studies.ce_sdt.rules import Rules
from gridbazaar.studies.ce_sdt.schedule import dissatisfaction, schedule

_DAY_MIN = 24 * 60
_LOAD, _SUN, _RANK, _LENGTH, _ORDER, _BIDS = range(6)  # streams of chance


class Events(NamedTuple):
    """Settlements of a day in the order of time, [R, E]; those without a length end the day."""

    user: Tensor  # int64
    hour: Tensor  # int64, of the day, in which it begins
    middle: Tensor  # int64, the hour in which its middle lies, for sums by hour
    hours: Tensor  # length
    load_kwh: Tensor
    sun_kwh: Tensor  # 0 for users without PV


class Community(NamedTuple):
    """R replications of N users."""

    events: Events
    owner: Tensor  # bool [R, N]: generates, and has a store
    bids: Tensor  # bool [R, N]: ever requests bidding
    dissatisfaction: Tensor  # AUD [R, N], of the adjusted load
    load_kw: Tensor  # [R, N, 24] after adjustment
    sun_kw: Tensor  # [R, N, 24]
    seed: Tensor  # int64 [R]


class Prices(NamedTuple):
    """Prices of the grid: [24] AUD/kWh by hour, and what it pays for feed-in."""

    grid: Tensor
    feed_in: float


def read_prices() -> Prices:
    """Return Table 2 from the tariff `ce_sdt_nsw`."""
    day = parse_tariff(option("tariff", "ce_sdt_nsw")).prices(pd.Timestamp("2012-11-01"), 1, 60)
    grid = torch.tensor(day.retail, dtype=torch.float64).round(decimals=6)  # from float32
    return Prices(grid, round(float(day.feed_in[0]), 6))


def build(
    profiles: Profiles, shares: Sequence[float], draws: int, rules: Rules, prices: Prices, seed: int
) -> Community:
    """Draw communities: `draws` of each share, R = shares x draws.

    A draw has the same profiles, intervals and order of becoming an owner under every share.

    Args:
        shares: of users who generate, 0 to 1.
        seed: of the first draw; others count on.
    """
    chance = torch.arange(seed, seed + draws).repeat(len(shares))
    share = torch.tensor(shares, dtype=torch.float64).repeat_interleave(draws)[:, None]
    users = [rules.users]
    types_kw = profiles.load_kw
    if rules.load_kwh is not None:
        types_kw = types_kw * (rules.load_kwh / types_kw.sum(-1).mean())
    load = types_kw[_pick(chance, _LOAD, users, len(types_kw))]
    sun = profiles.sun_kw[_pick(chance, _SUN, users, len(profiles.sun_kw))]
    place = randomness.uniform(chance, _RANK, users, torch.float64)
    if rules.owners == "exact":
        place = (place.argsort(-1).argsort(-1) + 0.5) / rules.users
    owner = place < share
    sun = sun * owner[..., None]
    adjusted, regret = _adjust(load, sun, owner, rules, prices)
    bids = randomness.uniform(chance, _BIDS, users, torch.float64) < rules.participation
    events = settle(adjusted, sun, chance, rules)
    return Community(events, owner, bids, regret, adjusted, sun, chance)


def settle(load_kw: Tensor, sun_kw: Tensor, seed: Tensor, rules: Rules) -> Events:
    """Return the settlements of a day: P ST / 60 of the hour in which an interval begins (14).

    Args:
        load_kw, sun_kw: [R, N, 24].
        seed: int64 [R].
    """
    count, users = load_kw.shape[:2]
    most = 24 if rules.clock == "hourly" else math.ceil(_DAY_MIN / rules.shortest_min) + 1
    shape = [users, most]
    spread = rules.longest_min - rules.shortest_min
    length = rules.shortest_min + spread * randomness.uniform(seed, _LENGTH, shape, torch.float64)
    order = randomness.uniform(seed, _ORDER, shape, torch.float64)
    if rules.clock == "hourly":
        start = 60 * (torch.arange(24) + order)
    else:
        length[..., 0] *= order[..., 0]  # at midnight each is somewhere in an interval
        end = length.cumsum(-1).clamp(max=_DAY_MIN)
        start = torch.nn.functional.pad(end, (1, 0))[..., :-1]
        length = end - start
    hour = (start / 60).long().clamp(max=23)
    middle = hour if rules.clock == "hourly" else ((start + length / 2) / 60).long().clamp(max=23)
    # The first of all begin at midnight: a hair of chance decides who is served before whom.
    line = (start + 1e-6 * order).reshape(count, -1).argsort(-1)
    last = int((length > 0).reshape(count, -1).sum(-1).max())
    user = torch.arange(users)[:, None].expand(users, most).expand(count, users, most)
    columns = (
        user, hour, middle, length / 60, load_kw.gather(-1, hour) * length / 60,
        sun_kw.gather(-1, hour) * length / 60,
    )  # fmt: skip
    return Events(*(column.reshape(count, -1).gather(-1, line)[:, :last] for column in columns))


def per_user(events: Events, values: Tensor, users: int) -> Tensor:
    """Return the sums [R, N] of values [R, E] of settlements."""
    return values.new_zeros(len(values), users).scatter_add(1, events.user, values)


def _pick(seed: Tensor, stream: int, users: list[int], kinds: int) -> Tensor:
    return (randomness.uniform(seed, stream, users, torch.float64) * kinds).long()


def _adjust(
    load: Tensor, sun: Tensor, owner: Tensor, rules: Rules, prices: Prices
) -> tuple[Tensor, Tensor]:
    """Return load [R, N, 24] as its user schedules it, and the dissatisfaction with it [R, N].

    Consumers leave their nominal load against a disutility, at any hour; those with PV must
    complete theirs within a range of hours, and their own surplus costs them the feed-in price.
    """
    if not rules.adjustable:
        return load, load.new_zeros(load.shape[:2])
    own = torch.where(sun > load, prices.feed_in, prices.grid)
    hour = torch.arange(24)
    within = (hour >= rules.window[0]) & (hour < rules.window[1])
    movable = rules.adjustable * torch.where(owner[..., None], within, True)
    moved = schedule(load, own, movable, rules.disutility)
    regret = dissatisfaction(moved, load, rules.disutility)
    return moved, torch.where(owner, 0.0, regret)
