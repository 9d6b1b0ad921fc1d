"""Bounds of what seats see, from a community's data and ratings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.devices.fleet import Fleet
from gridbazaar.envs.last_interval import MOST_BACKLOG, MOST_BASE_FEE_EUR, MOST_FINALITY_SLOTS
from gridbazaar.envs.layout import Layout, suffix
from gridbazaar.envs.observation import DEVICE, OUTLOOK_HOURS
from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim.record.privacy import Disclosure

Range = tuple[float, float]

# Of a standard normal drawn from 52 bits, and of a Laplace of scale 1.
_MOST_NORMAL, _MOST_LAPLACE = 8.6, 37.0
# Room for rounding, of the bound's size and of one.
_SLACK = 1e-4
_SHARE, _SIGN = (0.0, 1.0), (-1.0, 1.0)


def observation_bounds(
    community: Community, rules: RulesConfig, disclosure: Disclosure
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the least and the greatest that an observation's entries can be, scaled, [size] each.

    They hold for every seat of the community on every day of its data, whatever the seats do.

    Args:
        community: seats and data.
        rules: of an interval.
        disclosure: what the ledger leaves in the open.

    Raises:
        ConfigError: a kind of devices shows a feature whose bounds it does not give.
    """
    c = community
    found = {
        **{f"is_{role}": _SHARE for role in c.roles},
        **_of_clock_and_prices(c),
        **_of_power(c, rules, disclosure),
        **_of_devices(c.fleet, c.layout, _trade_prices(c)),
        "voltage": _SIGN,
        "included": _SHARE,
        "delay": _SHARE,
        "filled": _SHARE,
        "filled_price": _trade_prices(c),
        "last_price": _trade_prices(c),
        "stored": _SHARE,
        "base_fee": (0.0, MOST_BASE_FEE_EUR),
        "backlog": (0.0, MOST_BACKLOG),
        "finality": (0.0, MOST_FINALITY_SLOTS),
    }
    without = [feature.name for feature in c.layout.features if feature.name not in found]
    if without:
        raise ConfigError(
            f"no bounds for what devices show as {', '.join(without)}; give the least and the "
            "greatest value of each in the kind's bounds()"
        )
    bounds = np.array([found[f.name] for f in c.layout.features])
    bounds *= np.array([f.scale for f in c.layout.features])[:, None]
    low, high = (bounds + _SLACK * np.array([-1, 1]) * (1 + np.abs(bounds))).T.astype(np.float32)
    return low, high


def _of_clock_and_prices(c: Community) -> dict[str, Range]:
    retail, feed_in = _range(c.prices.retail), _range(c.prices.feed_in)
    ahead = ("retail", "retail_low", "retail_high", *(f"retail_in_{h}h" for h in OUTLOOK_HOURS))
    return {
        **dict.fromkeys(("day_sin", "day_cos", "year_cos"), _SIGN),
        **dict.fromkeys(("weekend", "day_left"), _SHARE),
        **dict.fromkeys((*ahead, "day_high"), retail),
        **dict.fromkeys(("feed_in", "day_low"), feed_in),
        "local_charge": _range(c.prices.local_charge),
    }


def _trade_prices(c: Community) -> Range:
    """Return the range of trades: no limit lies beyond the grid's prices; 0 without a trade."""
    grid = (*_range(c.prices.retail), *_range(c.prices.feed_in), 0.0)
    return min(grid), max(grid)


def _of_power(c: Community, rules: RulesConfig, disclosure: Disclosure) -> dict[str, Range]:
    """Return the bounds of what loads, roofs and seats draw, send, plan and trade."""
    load, pv = (_numbers(each.amax(0)) for each in (c.load_kw, c.pv_kw))
    least = min(0.0, float(c.load_kw.min()))
    takes, gives = _numbers(c.fleet.import_kw), _numbers(c.fleet.export_kw)
    error = math.exp(_MOST_NORMAL * rules.forecast_spread - rules.forecast_spread**2 / 2)
    correction = np.maximum(load, pv)
    # What a seat draws and sends, and what it may plan to.
    draws, sends = load + takes, pv + gives
    bids, offers = load * error + correction + takes, pv * error + correction + gives
    a_day, grid = c.slot_h * c.slots_per_day, max(map(abs, _trade_prices(c)))
    net = (-load.mean(), pv.mean() - least)
    noise = _most_noise(disclosure, len(c.seats))
    outlooks = ("community_net", *(f"community_net_{h}h" for h in OUTLOOK_HOURS))
    return {
        "pv_kwp": (0.0, float(c.pv_kwp.max())),
        "forecast_load": (least * error, load.max() * error),
        "forecast_pv": (0.0, pv.max() * error),
        "load_4h": (least, load.max()),
        "pv_4h": (0.0, pv.max()),
        "load_left": (24 * least, 24 * load.max()),
        "pv_left": (0.0, 24 * pv.max()),
        **dict.fromkeys((*outlooks, "last_must_run"), net),
        "community_surplus_left": (0.0, 24 * net[1]),
        "deviation": (-(draws + offers + gives).max(), (sends + bids + takes).max()),
        "firmed": (-(takes + gives).max(), (takes + gives).max()),
        "locked": (0.0, (bids + offers).max() * a_day * grid),
        "last_volume": (-noise, min(bids.mean(), offers.mean()) + noise),
        "last_supply": (0.0, offers.mean()),
        "last_demand": (0.0, bids.mean()),
        "last_export": (-draws.mean(), sends.mean() - least),
    }


def _most_noise(disclosure: Disclosure, seats: int) -> float:
    """Return the most by which published volumes are off, kW per seat."""
    groups = seats // disclosure.seats
    scale = disclosure.sensitivity / disclosure.epsilon
    return groups * scale * _MOST_LAPLACE / disclosure.slots / seats


def _of_devices(fleet: Fleet, layout: Layout, price: Range) -> dict[str, Range]:
    """Return the bounds of what each device slot shows."""
    shares = ("must_take", "can_take", "can_give", "take_filled", "give_filled")
    each = [
        {
            **{name: _range(value, 0.0) for name, value in device.ratings().items()},
            **{name: _range(value, 0.0) for name, value in device.schedule().items()},
            **device.bounds(),
        }
        for device in fleet.kinds.values()
    ]
    nothing = dict.fromkeys((f.name for f in (*layout.ratings, *layout.schedule)), (0.0, 0.0))
    ranges = {
        # What the default kinds show is shown in every community, zero where none is installed.
        **nothing,
        **dict.fromkeys((feature.name for feature in DEVICE), (0.0, 0.0)),
        **_widest(each),
        "flexible_kw": _range(fleet.rated_kw, 0.0),
        **dict.fromkeys(shares, _SHARE),
        "last_power": _SIGN,
        "traded_price": price,
    }
    return {name + suffix(k): value for name, value in ranges.items() for k in range(layout.slots)}


def _widest(each: Iterable[Mapping[str, Range]]) -> dict[str, Range]:
    """Return by name the range that holds those of all."""
    found: dict[str, Range] = {}
    for ranges in each:
        for name, (low, high) in ranges.items():
            least, most = found.get(name, (0.0, 0.0))  # zero where a seat has no such device
            found[name] = (min(low, least), max(high, most))
    return found


def _range(values: Tensor, *also: float) -> Range:
    """Return the least and the greatest of the values and of others."""
    ends = values.aminmax() if values.numel() else ()
    numbers = [*also, *map(float, ends)]
    return min(numbers), max(numbers)


def _numbers(values: Tensor) -> NDArray[Any]:
    return values.cpu().double().numpy()
