"""Tampered meters found by the feeder's balance: detection, false alarms, and who it was.

    python studies/tampered_meters.py
    python studies/tampered_meters.py --days 14 --task congested

One seat's meter shows less import than it takes. All meters, the background's too, have constant
errors within their class: 1 % of a seat's and 0.5 % at the feeder's head (assumed). The
voltage of a seat has a constant offset of up to 0.5 % and 0.0005 p.u. of noise (assumed).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gridbazaar.agents.load import load
from gridbazaar.envs import batched
from gridbazaar.envs.grid.meter_balance import (
    Accuracy,
    Measured,
    accused,
    balance,
    hidden_shares,
    significance,
)
from gridbazaar.envs.simulation import Simulation

ACCURACY = Accuracy(seat=0.01, head=0.005)
VOLTAGE_OFFSET, VOLTAGE_NOISE_PU = 0.005, 0.0005
ALARM = 3.0  # standard deviations of a day's balance
ACCUSED = 0.03  # hidden share, less five standard errors, from which a seat is accused
SHARES = (0.05, 0.1, 0.2, 0.5, 0.9)


@dataclass(frozen=True)
class Found:
    """What trials found in which a share of one meter's import was hidden.

    Attributes:
        share: that was hidden; 0: nobody did.
        hidden_kwh: a day, mean.
        days: share of the days with an alarm by the day's balance alone.
        voltage: share of these on which voltages put the thief among the first three suspects.
        alarms: share of the trials with an alarm by the regression over all days.
        first: share of these in which the thief is accused first.
        others: honest seats accused by it, per trial.
    """

    share: float
    hidden_kwh: float
    days: float
    voltage: float
    alarms: float
    first: float
    others: float


def measured_days(simulation: Simulation, bidder: str) -> Measured:
    """Play B days and return them as exact meters would show them."""
    observation = simulation.reset()
    c, rule, memory = simulation.community, load(bidder, simulation.game), None
    kept: dict[str, list[Tensor]] = {name: [] for name in Measured.__dataclass_fields__}
    for t in range(simulation.slots):
        row = simulation.first_slot + t
        action, memory = rule.act(observation, memory)
        interval = simulation.step(action)
        delivered, observation = interval.delivered, interval.observation
        kept["net_kw"].append(delivered.net_kw)
        kept["head_kw"].append(delivered.solution.slack_kw)
        kept["voltage_pu"].append(delivered.voltage_pu)
        kept["background_kw"].append(c.bus_p_kw[row])
        kept["reactive_kvar"].append(c.bus_q_kvar[row])
    return Measured(**{name: torch.stack(values) for name, values in kept.items()})


def as_metered(true: Measured, draw: torch.Generator) -> Measured:
    """Give every meter an error of its own."""

    def uniform(size: torch.Size, most: float) -> Tensor:
        return (torch.rand(size, generator=draw, dtype=true.net_kw.dtype) * 2 - 1) * most

    of_seat = true.net_kw.shape[-1:]
    noise = torch.randn(true.voltage_pu.shape, generator=draw, dtype=true.net_kw.dtype)
    return replace(
        true,
        net_kw=true.net_kw * (1 + uniform(of_seat, ACCURACY.seat)),
        head_kw=true.head_kw * (1 + uniform(torch.Size([1]), ACCURACY.head)),
        background_kw=true.background_kw
        * (1 + uniform(true.background_kw.shape[-1:], ACCURACY.seat)),
        voltage_pu=true.voltage_pu * (1 + uniform(of_seat, VOLTAGE_OFFSET))
        + noise * VOLTAGE_NOISE_PU,
    )


def tampered(measured: Measured, seat: Tensor, share: float) -> Measured:
    """Let a seat [B] of each feeder show a share less of what it imports."""
    who = torch.nn.functional.one_hot(seat, measured.net_kw.shape[-1]).to(measured.net_kw)
    return replace(measured, net_kw=measured.net_kw - share * who * measured.net_kw.clamp(max=0))


def told_apart(true: Measured) -> Tensor:
    """Return which seats [N] import at least 2 kWh a day, and not in step with another meter."""
    imported_kwh = -true.net_kw.clamp(max=0).sum(0).mean(0) / 4
    share, _ = hidden_shares(true, true.head_kw)
    return (imported_kwh >= 2) & ~share.isnan()


def trial(simulation: Simulation, true: Measured, share: float, seed: int) -> Found:
    """Let one seat hide a share of its import on all days, and look for it."""
    draw = torch.Generator().manual_seed(seed)
    apart = told_apart(true)
    seat = int(torch.rand(len(apart), generator=draw).where(apart, -1.0).argmax())
    seats = torch.full(true.net_kw.shape[1:2], seat)
    shown = tampered(as_metered(true, draw), seats, share)
    delivery = simulation.delivery
    to_bus = delivery.grid_context(shown.background_kw, shown.reactive_kvar).to_bus
    found = balance(shown, delivery.feeder, to_bus)
    alarm = significance(shown, found, ACCURACY) > ALARM
    among = (found.suspects[:, :3] == seat).any(1)[alarm].double()
    named = accused(shown, delivery.feeder, to_bus, ACCUSED)
    nobody = share == 0
    return Found(
        share,
        float(-true.net_kw[..., seat].clamp(max=0).sum(0).mean() / 4 * share),
        float(alarm.double().mean()),
        float("nan") if nobody else float(among.mean()),
        float(bool(named)),
        float("nan") if nobody or not named else float(named[0] == seat),
        float(len(set(named) - (set() if nobody else {seat}))),
    )


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", default="semiurb4")
    parser.add_argument("--bidder", default="own_use")
    parser.add_argument("--days", type=int, default=28, help="days, drawn from the test split")
    parser.add_argument("--trials", type=int, default=10, help="draws of errors and the thief")
    chosen = parser.parse_args()
    simulation = batched(
        task=chosen.task, num_envs=chosen.days, split="test", seed=0, dtype=torch.float64
    )
    true = measured_days(simulation, chosen.bidder)
    apart = int(told_apart(true).sum())
    print(
        f"{apart} of {true.net_kw.shape[-1]} seats import alone, not in step with another meter\n"
    )
    head = (
        "hidden share of import", "hidden, kWh/day", "days with an alarm, %",
        "by voltage among three, %", "found over all days, %", "the right one, %",
        "honest seats accused",
    )  # fmt: skip
    print(f"| {' | '.join(head)} |", "|---" * len(head) + "|", sep="\n")
    for share in (0.0, *SHARES):
        runs = [trial(simulation, true, share, seed) for seed in range(chosen.trials)]

        def mean(name: str, runs: list[Found] = runs) -> float:
            return float(torch.tensor([getattr(run, name) for run in runs]).nanmean())

        parts = [100 * mean(name) for name in ("days", "voltage", "alarms", "first")]
        figures = " | ".join("–" if part != part else f"{part:.0f}" for part in parts)
        print(f"| {share:.0%} | {mean('hidden_kwh'):.2f} | {figures} | {mean('others'):.1f} |")


if __name__ == "__main__":
    main()
