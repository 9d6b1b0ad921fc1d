"""Plot of one day of two bidders side by side: prices, flows, stored energy, voltages, cars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from gridbazaar.envs.day_record import DayRecord
from gridbazaar.evaluation.canvas import points, size
from gridbazaar.palette import BLUE, FLOW, GREEN, GREY, INK, ORANGE, PINK, RED


def day(records: Sequence[tuple[str, DayRecord]]) -> Figure:
    """Draw a column per bidder; panels of a row share their scale.

    Args:
        records: title and record (B = 1) of each.
    """
    figure, panels = plt.subplots(
        5,
        len(records),
        figsize=size(5.6 * len(records), 13, double=True),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for column, (title, record) in enumerate(records):
        hours = np.arange(len(record.retail)) * record.facts.slot_h
        first = column == 0
        for draw, axes in zip((_prices, _flows, _stored, _voltages, _cars), panels[:, column],
                              strict=True):  # fmt: skip
            draw(axes, hours, record, first)
        panels[0, column].set_title(title, pad=points(30))
        panels[-1, column].set_xlabel("hour of the day")
        panels[-1, column].set_xticks(range(0, 25, 4))
        panels[-1, column].set_xlim(0, 24)
    return figure


def _legend(axes: Any) -> None:
    """Put the legend above the panel, where it hides nothing; none where nothing was drawn."""
    if not axes.get_legend_handles_labels()[0]:
        return
    axes.legend(
        ncols=5, loc="lower left", bbox_to_anchor=(-0.02, 0.97), handlelength=1.2, columnspacing=1.2
    )


def _prices(axes: Any, hours: Any, record: DayRecord, first: bool) -> None:
    axes.step(hours, record.retail[:, 0], color=RED, where="post", label="retail")
    axes.step(hours, record.feed_in[:, 0], color=GREY, where="post", label="feed-in")
    axes.step(hours, (record.retail - record.local_charge)[:, 0], color=RED, ls=":", where="post",
              label="less local charge")  # fmt: skip
    axes.plot(hours, record.reference_price[:, 0], ".", color=BLUE, label="local market")
    if first:
        axes.set_ylabel(f"price, {record.facts.currency}/kWh")
        _legend(axes)


def _flows(axes: Any, hours: Any, record: DayRecord, first: bool) -> None:
    batteries, cars = record.battery_kw[:, 0], record.consumer_kw[:, 0]
    up = [record.pv_kw[:, 0].sum(-1), batteries.clamp(min=0).sum(-1)]
    down = [-record.load_kw[:, 0].sum(-1), batteries.clamp(max=0).sum(-1), cars.sum(-1)]
    axes.stackplot(hours, *up, colors=[FLOW["PV"], FLOW["batteries"]], alpha=0.85,
                   labels=["PV", "batteries"])  # fmt: skip
    axes.stackplot(hours, *down, colors=[FLOW["loads"], FLOW["batteries"], FLOW["cars"]],
                   alpha=0.85, labels=["loads", "_", _others(record)])  # fmt: skip
    axes.plot(hours, record.net_kw[:, 0].sum(-1), color=INK, lw=points(1.6), label="net export")
    axes.axhline(0, color=INK, lw=points(0.6))
    if first:
        axes.set_ylabel("community power, kW")
        _legend(axes)


def _stored(axes: Any, hours: Any, record: DayRecord, first: bool) -> None:
    holds = record.facts.battery_kwh
    energy = record.by_seat(record.content_kwh, record.facts.batteries)[:, 0]
    for role, colour, name in (("prosumer", ORANGE, "home batteries"),
                               ("storage", GREEN, "community batteries")):  # fmt: skip
        mine = record.facts.seats_of(role) & (holds > 0)
        if not mine.any():
            continue
        share, whole = energy[:, mine] / holds[mine], energy[:, mine].sum(-1) / holds[mine].sum()
        axes.plot(hours, 100 * share, color=colour, lw=points(0.7), alpha=0.35)
        axes.plot(hours, 100 * whole, color=colour, lw=points(2.2), label=name)
    axes.set_ylim(0, 105)
    if first:
        axes.set_ylabel("state of charge, %")
        _legend(axes)


def _voltages(axes: Any, hours: Any, record: DayRecord, first: bool) -> None:
    level = record.voltage_pu[:, 0].masked_fill(~record.solved, float("nan"))
    axes.fill_between(hours, level.amin(-1), level.amax(-1), color=BLUE, alpha=0.25,
                      label="lowest to highest bus")  # fmt: skip
    axes.plot(hours, level.mean(-1), color=BLUE, lw=points(1.5), label="mean")
    if first:
        axes.set_ylabel("voltage, p.u.")
        _legend(axes)


def _others(record: DayRecord) -> str:
    """Name the devices that are no batteries."""
    beside = [kind for kind in record.content_kwh if kind not in record.facts.batteries]
    return "cars" if beside == ["vehicle"] else "other devices"


def _cars(axes: Any, hours: Any, record: DayRecord, first: bool) -> None:
    axes.stackplot(hours, -record.consumer_kw[:, 0].sum(-1), colors=[PINK], alpha=0.85)
    missed = record.unserved_kwh[:, 0].sum(-1)
    gone = missed > 1e-3
    axes.plot(
        hours[gone], np.zeros(int(gone.sum())), "x", color=RED, ms=points(8), label="left unserved"
    )
    if first:
        axes.set_ylabel(f"{_others(record)} take, kW")
        if gone.any():
            _legend(axes)
