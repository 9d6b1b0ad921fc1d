"""Sweeps of the experiment over the share of generators, over the users, and over the readings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from gridbazaar.studies.ce_sdt.community import Community, Prices, build
from gridbazaar.studies.ce_sdt.profiles import Profiles
from gridbazaar.studies.ce_sdt.references import references
from gridbazaar.studies.ce_sdt.rules import Rules
from gridbazaar.studies.ce_sdt.trading import Outcome, simulate, typical_weights

SHARES = tuple(k / 10 for k in range(11))
USERS = (15, 30, 60, 120)
DEFAULT_SHARE = 0.2  # Table 1
# Readings of what the paper leaves open, beside the first, which is `Rules()`.
READINGS: Mapping[str, Mapping[str, Any]] = {
    "as chosen": {},
    "(14) scales hours, users in any order": {"clock": "hourly"},
    "each user generates by chance": {"owners": "drawn"},
    "(5), (6) of the moment's energy": {"quantity": "now"},
    "(5), (6) of the whole market": {"scope": "market"},
    "root of the sum, not the mean": {"history": "sum"},
    "dearest offer first, as (12) is printed": {"first": "dearest"},
    "an offer must not exceed the request": {"accept": "request"},
    "a pair pays the request": {"price": "request"},
    "a pair pays the middle": {"price": "middle"},
    "all request, however dear": {"skip_when_dear": False},
    "stores are for sale before own use": {"own_first": False},
    "suppliers keep what they will need": {"reserve": "own_need"},
    "surplus is lost, no feed-in": {"feed_in": False},
    "store loses 5 % each way": {"charge_efficiency": 0.95, "discharge_efficiency": 0.95},
    "start and floor of SOC at 0": {"soc_floor": 0.0},
    "start and floor of SOC at 0.5": {"soc_floor": 0.5},
    "a fifth of the users never bids": {"participation": 0.8},
    "a quarter of the suppliers in time": {"timeout_s": 5.0},
    "a fifth of the load adjustable": {"adjustable": 0.2},
    "prices rest at 0.12": {"level": 0.12},
    "prices rest at 0.30": {"level": 0.30},
    "load of 10.1 kWh a day": {"load_kwh": 10.1},
}


def by_share(
    profiles: Profiles,
    rules: Rules,
    prices: Prices,
    shares: Sequence[float] = SHARES,
    draws: int = 16,
    seed: int = 0,
    store: bool = False,
) -> tuple[pd.DataFrame, Mapping[str, Tensor]]:
    """Play every share; return a row of `costs` each, and need and grid by hour, kW [S, 24].

    Args:
        store: whether to play the day without trade, too, of those who have a store.
    """
    community = build(profiles, shares, draws, rules, prices, seed)
    outcome = simulate(community, rules, prices, typical_weights(community, rules))
    bases = references(community, rules, prices, store)
    parts = torch.arange(len(community.owner)).split(draws)
    rows = [
        {"share": share, "users": rules.users, **costs(outcome, community, bases, part)}
        for share, part in zip(shares, parts, strict=True)
    ]
    by_hour = {
        name: torch.stack([getattr(outcome, f"{name}_by_hour")[part].mean(0) for part in parts])
        for name in ("need", "grid")
    }
    return pd.DataFrame(rows), by_hour


def by_users(
    profiles: Profiles, rules: Rules, prices: Prices, sizes: Sequence[int], draws: int, seed: int
) -> tuple[pd.DataFrame, Mapping[str, Tensor]]:
    """Play every size at the default share; as `by_share`, but by hour and user."""
    played = [
        by_share(profiles, replace(rules, users=n), prices, (DEFAULT_SHARE,), draws, seed)
        for n in sizes
    ]
    by_hour = {
        name: torch.cat([hours[name] / n for n, (_, hours) in zip(sizes, played, strict=True)])
        for name in ("need", "grid")
    }
    return pd.concat([rows for rows, _ in played], ignore_index=True), by_hour


def by_reading(
    profiles: Profiles,
    rules: Rules,
    prices: Prices,
    shares: Sequence[float],
    draws: int,
    seed: int,
    tell: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Play every reading at a few shares; the rows of `by_share` with a column `reading`."""
    found = []
    for name, change in READINGS.items():
        tell(name)
        rows, _ = by_share(profiles, replace(rules, **change), prices, shares, draws, seed)
        found.append(rows.assign(reading=name))
    return pd.concat(found, ignore_index=True)


def costs(
    outcome: Outcome, community: Community, bases: Mapping[str, Tensor], part: Tensor
) -> dict[str, float]:
    """Return means per user and day over replications: bills in AUD, energy in kWh.

    Names end in `_1` for users who only consume, `_2` for those who generate, `_all` for both; NaN
    where there are none.
    """
    owner = community.owner[part]
    groups = {"1": ~owner, "2": owner, "all": torch.ones_like(owner)}
    columns: dict[str, Tensor] = {"cost": outcome.cost, **bases}
    for name in ("load", "sun", "grid", "bought", "sold", "fed_in", "wasted", "own_store"):
        columns[f"{name}_kwh"] = getattr(outcome, name)
    columns["paid"] = outcome.paid_users
    columns["dissatisfaction"] = community.dissatisfaction
    found = {
        f"{name}_{group}": float(values[part][chosen].mean())
        for name, values in columns.items()
        for group, chosen in groups.items()
    }
    unanswered, messages = outcome.unanswered[part].mean(), outcome.messages[part].mean()
    return found | {"no_bidding": float(unanswered), "messages": float(messages)}
