"""Soak: random agent steps over markets, ledgers, limits and devices, with every law on.

    python benchmarks/soak.py                     # 1e7 agent steps
    python benchmarks/soak.py --agent-steps 1e6   # a tenth of it
    python benchmarks/soak.py --resets 1000       # and so many days begun, memory watched

A law that breaks ends it with exit code 1. The last line is the table of docs/reliability.md.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from gridbazaar import envs, ledger_sim
from gridbazaar.configs import option
from gridbazaar.envs.build import make_market
from gridbazaar.envs.devices.storage import Storage
from gridbazaar.envs.interval import Interval
from gridbazaar.envs.markets import MARKETS
from gridbazaar.envs.simulation import Simulation

LIMITS = ("price", "curtail", "prevent")
DEVICES = ("false", "true")  # whether cars feed back
# Growth of resident memory that is taken for none, and slots that each world is played.
MOST_MB_PER_1000 = 5.0
SLOTS = 8


def resident_mb() -> float:
    """Return the process's resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def check(simulation: Simulation, interval: Interval) -> float:
    """Assert the laws of one interval; return by how much money misses its balance, EUR."""
    delivered, receipts, bill = interval.delivered, interval.receipts, interval.bill
    net = delivered.pv_kw - interval.load_kw + delivered.flexible_kw
    assert (delivered.net_kw - net).abs().max() < 1e-9, "seats' power"
    solved = delivered.solution.converged
    background = simulation.community.bus_p_kw[simulation.first_slot + simulation.t - 1].sum(-1)
    through = delivered.solution.slack_kw + delivered.net_kw.sum(-1) + background
    missing = (through - delivered.solution.losses_kw).abs()[solved]
    assert not len(missing) or missing.max() < 1e-6, "energy in = energy out + losses"
    assert delivered.solution.vm_pu.isfinite().all(), "voltages"
    money = torch.stack(list(bill.accounts.values())).sum(0).abs().max().item()
    assert money < 1e-9, "accounts sum to zero"
    for values in (interval.reward.total, interval.observation, bill.total, receipts.fee):
        assert values.isfinite().all(), "finite numbers"
    sent = interval.sent_kw != 0
    late = sent & ~receipts.included & receipts.latency_s.isfinite()
    waits = sent & ~receipts.latency_s.isfinite()
    states = receipts.included.int() + late.int() + waits.int()
    assert torch.equal(states, sent.int()), "a transaction is in exactly one state"
    cleared, offered = interval.clearing.cleared_kw, interval.orders.quantity_kw
    assert (cleared.abs() <= offered.abs() + 1e-9).all(), "nothing beyond an order"
    assert (cleared * offered >= 0).all(), "an order's side"
    battery = simulation.fleet.kinds["storage"]
    assert isinstance(battery, Storage)
    held, size = interval.content_kwh["storage"], battery.capacity_kwh
    assert (held >= battery.floor * size - 1e-9).all(), "state of charge"
    assert (held <= battery.ceiling * size + 1e-9).all(), "state of charge"
    return money


def play(simulation: Simulation, slots: int, seed: int) -> float:
    """Play slots of a day with random actions; return the worst balance of money, EUR."""
    observation = simulation.reset(seed=seed)
    B, N = observation.shape[:2]
    entries, worst = len(simulation.game.layout.actions), 0.0
    generator = torch.Generator().manual_seed(seed)
    for _ in range(slots):
        action = torch.rand(B, N, entries, generator=generator, dtype=torch.float64) * 2.4 - 1.2
        worst = max(worst, check(simulation, simulation.step(action)))
    return worst


def sweep(agent_steps: float, num_envs: int) -> tuple[int, int, float]:
    """Play rounds over all worlds until the steps are reached; return steps, worlds, balance."""
    ledgers = itertools.cycle(ledger_sim.LEDGERS.names())
    markets = MARKETS.names()
    done, worlds, worst = 0, 0, 0.0
    rounds = itertools.cycle(itertools.product(LIMITS, DEVICES))
    while done < agent_steps:
        action, v2g = next(rounds)
        words = (f"task.rules.limits.action={action}", f"task.devices.vehicle.v2g={v2g}")
        base = envs.batched(overrides=words, num_envs=1, dtype=torch.float64)
        for market in markets:
            simulation = Simulation(
                base.community,
                base.delivery,
                make_market(option("market", market)),
                ledger_sim.make(option("ledger", next(ledgers))),
                base.rules,
                num_envs,
                "train",
                seed=worlds,
            )
            worst = max(worst, play(simulation, SLOTS, worlds))
            done += SLOTS * num_envs * simulation.num_seats
            worlds += 1
            if done >= agent_steps:
                break
        print(f"{done:>12,} agent steps, {worlds} worlds, {resident_mb():,.0f} MB", flush=True)
    return done, worlds, worst


def resets(count: int) -> float:
    """Begin days over and over; return how memory grows, MB for 1,000 resets."""
    simulation = envs.batched(ledger="block", num_envs=16)
    marks = []
    for number in range(count):
        simulation.reset()
        simulation.step(torch.zeros(16, simulation.num_seats, len(simulation.game.layout.actions)))
        if number >= count // 4:  # allocators have settled by then
            marks.append(resident_mb())
    memory = torch.tensor(marks, dtype=torch.float64)
    at = torch.arange(len(memory), dtype=torch.float64)
    at -= at.mean()
    slope = float((at * memory).sum() / (at * at).sum().clamp(min=1) * 1000)
    assert slope < MOST_MB_PER_1000, f"memory grows by {slope:.2f} MB for 1,000 resets"
    return slope


def main(words: Sequence[str] | None = None) -> None:
    """Run the soak as the words say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--agent-steps", type=float, default=1e7)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--resets", type=int, default=2000)
    options = parser.parse_args(words)
    began = time.perf_counter()
    with torch.no_grad():
        done, worlds, worst = sweep(options.agent_steps, options.num_envs)
        slope = resets(options.resets)
    print(
        f"{done:,} agent steps in {worlds} worlds, no law broken; money within {worst:.1e} EUR; "
        f"{options.resets:,} resets, memory {slope:+.2f} MB per 1,000; "
        f"{resident_mb():,.0f} MB resident, {time.perf_counter() - began:,.0f} s"
    )


if __name__ == "__main__":
    main()
