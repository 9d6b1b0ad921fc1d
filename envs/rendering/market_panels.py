"""Market panels: the book of an interval, and the day's prices and power so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridbazaar.envs.rendering.snapshot import Snapshot
from gridbazaar.envs.rendering.stage import Stage
from gridbazaar.palette import BLUE, FLOW, GREY, INK, ORANGE, RED

Floats = NDArray[np.float64]

Words = Sequence[tuple[str, str]]  # with a colour each


def draw_book(axes: Any, stage: Stage, seen: Sequence[Snapshot]) -> Words:
    """Draw offers and bids of the last interval as steps, what of them traded, and the price.

    Returns the panel's title.
    """
    now = seen[-1]
    sides = [_steps(now, selling) for selling in (True, False)]
    for (power, price), colour in zip(sides, (ORANGE, BLUE), strict=True):
        axes.step(power, price, color=colour, lw=1.6, where="pre")
    most = max([1.0, *(_total(other) for other in seen)])
    lowest = min(min(other.feed_in, *_limits(other)) for other in seen)
    highest = max(max(other.retail, *_limits(other)) for other in seen)
    room = 0.08 * (highest - lowest) + 1e-4
    axes.set(xlim=(0, 1.04 * most), ylim=(lowest - room, highest + 2 * room))
    for bound in (now.retail, now.feed_in):
        axes.axhline(bound, color=GREY, lw=0.8, ls=":")
    if now.volume_kw > 0 and np.isfinite(now.price):
        axes.axvspan(0, now.volume_kw, color=INK, alpha=0.07, lw=0)
        axes.plot([0, now.volume_kw], [now.price] * 2, color=INK, lw=1.2, ls="--")
        axes.plot(now.volume_kw, now.price, "o", color=INK, ms=4)
        text = f"{now.volume_kw:,.1f} kW at {now.price:,.3f}"
    else:
        text = "no trade" if now.order_kw.any() else "no orders in time"
    axes.text(0.98, 0.97, text, transform=axes.transAxes, ha="right", va="top", weight="bold")
    axes.set_xlabel("kW", labelpad=1)
    return (
        (f"Book, {stage.currency}/kWh:", INK),
        ("offers", ORANGE),
        ("bids", BLUE),
    )


def _steps(now: Snapshot, selling: bool) -> tuple[Floats, Floats]:
    """Return the corners of supply, or of demand: power [n + 1] kW and prices [n + 1].

    Both are empty where nobody offers.
    """
    mine = now.order_kw > 0 if selling else now.order_kw < 0
    power, price = np.abs(now.order_kw[mine]), now.limit_price[mine]
    order = np.argsort(price if selling else -price, kind="stable")
    power, price = np.cumsum(power[order]), price[order]
    start = np.zeros(min(len(power), 1))  # none where nobody offers
    return np.concatenate([start, power]), np.concatenate([price[:1], price])


def _total(now: Snapshot) -> float:
    """Return the power of the longer side of the book."""
    return float(max(now.order_kw.clip(min=0).sum(), -now.order_kw.clip(max=0).sum()))


def _limits(now: Snapshot) -> Floats:
    """Return the limit prices of the book; the grid's where it is empty."""
    limits: Floats = now.limit_price[now.order_kw != 0]
    return limits if len(limits) else np.array([now.feed_in, now.retail])


def draw_prices(axes: Any, stage: Stage, seen: Sequence[Snapshot]) -> Words:
    """Draw the grid's two prices and the market's over the day so far; return the title."""
    hours, edges = _hours(stage, seen)
    retail, feed_in, price = (
        np.array([getattr(now, name) for now in seen]) for name in ("retail", "feed_in", "price")
    )
    axes.fill_between(
        edges, _held(feed_in), _held(retail), step="post", color=GREY, alpha=0.1, lw=0
    )
    axes.step(edges, _held(retail), color=RED, lw=1.3, where="post")
    axes.step(edges, _held(feed_in), color=GREY, lw=1.3, where="post")
    volume = np.array([now.volume_kw for now in seen])
    size = 2 + 16 * volume / max(volume.max(), 1e-9)
    axes.scatter(hours, price, size, color=BLUE, lw=0, zorder=3)
    _day_axis(axes, edges[-1])
    return (
        (f"Price, {stage.currency}/kWh:", INK),
        ("retail", RED),
        ("feed-in", GREY),
        ("local market", BLUE),
    )


def draw_power(axes: Any, stage: Stage, seen: Sequence[Snapshot]) -> Words:
    """Draw who gives and who takes over the day so far; return the title."""
    _, edges = _hours(stage, seen)
    pv, load, battery, taken = (
        _held(np.array([getattr(now, name) for now in seen]))
        for name in ("pv_kw", "load_kw", "battery_kw", "taken_kw")
    )
    gives = [pv, battery.clip(min=0) + (-taken).clip(min=0)]
    takes = [-load, battery.clip(max=0), -taken.clip(min=0)]
    up, down = np.zeros_like(pv), np.zeros_like(pv)
    for values, name in zip(gives, ("PV", "batteries"), strict=True):
        axes.fill_between(edges, up, up + values, step="post", color=FLOW[name], lw=0)
        up = up + values
    for values, name in zip(takes, ("loads", "batteries", "cars"), strict=True):
        axes.fill_between(edges, down, down + values, step="post", color=FLOW[name], lw=0)
        down = down + values
    net = _held(np.array([now.net_kw.sum() for now in seen]))
    axes.step(edges, net, color=INK, lw=1.3, where="post")
    axes.axhline(0, color=INK, lw=0.6)
    _day_axis(axes, edges[-1])
    others = "cars" if "ev" in stage.roles else "other devices"
    return (
        ("Power, kW:", INK),
        ("PV", FLOW["PV"]),
        ("batteries", FLOW["batteries"]),
        ("loads", FLOW["loads"]),
        (others, FLOW["cars"]),
        ("net", INK),
    )


def _hours(stage: Stage, seen: Sequence[Snapshot]) -> tuple[Floats, Floats]:
    """Return the middles of the intervals [n] and their edges [n + 1] in hours."""
    edges = np.array([*(now.t for now in seen), seen[-1].t + 1]) * stage.slot_minutes / 60
    return (edges[:-1] + edges[1:]) / 2, edges


def _held(values: Floats) -> Floats:
    """Return values [n + 1] whose last step is drawn to its end."""
    return np.concatenate([values, values[-1:]])


def _day_axis(axes: Any, now: float) -> None:
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 6), [f"{hour}:00" for hour in range(0, 25, 6)])
    axes.axvline(now, color=INK, lw=0.8)
