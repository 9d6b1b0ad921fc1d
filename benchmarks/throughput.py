"""Speed of the project against its targets: one run, one machine, every ratio within it.

    python benchmarks/throughput.py            # a table
    python benchmarks/throughput.py --json

The default task with full physics and market in every interval, under random actions drawn before
the clock starts; a day counts with its reset. See benchmarks/README.md for what each row holds.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import os
from dataclasses import asdict
from typing import Any

import numpy as np
import power_flow
import torch
import training
from rows import Row, print_rows, seconds

from gridbazaar import envs
from gridbazaar.agents.learning.rllib.session import ray_session
from gridbazaar.envs.build import build_community
from gridbazaar.envs.data.simbench import load_grid
from gridbazaar.envs.data.tariffs import parse_tariff
from gridbazaar.envs.grid import Network
from gridbazaar.envs.placement import load_grid_and_series

BATCHES = (128, 256, 512, 1024, 2048)
POWER_FLOW_BATCH = 1024


def batched_steps_per_s(num_envs: int, repeats: int) -> float:
    """Environment steps per second of `num_envs` markets."""
    simulation = envs.batched(num_envs=num_envs)
    actions = (
        torch.rand(8, num_envs, simulation.num_seats, len(simulation.game.layout.actions)) * 2 - 1
    )

    def day() -> None:
        simulation.reset()
        for t in range(simulation.slots):
            simulation.step(actions[t % len(actions)])

    return num_envs * simulation.slots / seconds(day, repeats)


def single_steps_per_s(repeats: int) -> float:
    """Environment steps per second of the PettingZoo environment."""
    env = envs.parallel_env()
    rng = np.random.default_rng(0)
    pool = [
        {
            agent: rng.uniform(-1, 1, space.shape).astype(np.float32)
            for agent, space in env.action_spaces.items()
        }
        for _ in range(8)
    ]

    def day() -> None:
        env.reset()
        for t in range(env.simulation.slots):
            env.step(pool[t % len(pool)])

    return env.simulation.slots / seconds(day, repeats)


def one_day() -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Net, buses [M], and a simulated day's kW and kvar [T, M] and voltages [T, nbus] in p.u.

    The voltages stand in the order of the net's energised buses.
    """
    task = envs.world().task
    net, series = load_grid_and_series(task)
    prices = parse_tariff(task.tariff).prices(series.start, series.num_days, series.slot_minutes)
    _, buses = build_community(task, series, prices, int(net.trafo.lv_bus.iloc[0]))
    simulation = envs.batched(num_envs=1)
    community = simulation.community
    simulation.reset()
    rows = simulation.first_slot + torch.arange(simulation.slots)
    p_kw, voltages = [], []
    for row in rows:
        interval = simulation.step(
            torch.rand(1, simulation.num_seats, len(simulation.game.layout.actions)) * 2 - 1
        )
        delivered = interval.delivered
        p_kw.append(community.bus_p_kw[row].index_add(0, community.bus, delivered.net_kw[0]))
        voltages.append(delivered.solution.vm_pu[0])
    q_kvar = community.bus_q_kvar[rows]
    return net, buses, torch.stack(p_kw).numpy(), q_kvar.numpy(), torch.stack(voltages).numpy()


def pandapower_solves_per_s(repeats: int) -> tuple[float, float]:
    """Solves per second of `runpp(recycle)` over a simulated day, and its largest gap in p.u."""
    import pandapower

    net, buses, p_kw, q_kvar, voltages = one_day()
    order = Network.from_pandapower(net).buses
    net = copy.deepcopy(net)
    for kind in ("load", "sgen", "storage"):
        net[kind] = net[kind].iloc[:0]
    pandapower.create_sgens(net, list(buses), p_mw=0.0, q_mvar=0.0)
    recycle = {"bus_pq": True, "trafo": False, "gen": False}
    pandapower.runpp(net)
    gap = 0.0

    def day() -> None:
        nonlocal gap
        for p, q, v in zip(p_kw, q_kvar, voltages, strict=True):
            net.sgen["p_mw"], net.sgen["q_mvar"] = p / 1e3, q / 1e3
            pandapower.runpp(net, recycle=recycle)
            gap = max(gap, float(np.abs(net.res_bus.vm_pu.loc[order].to_numpy() - v).max()))

    return len(p_kw) / seconds(day, repeats), gap


def power_flow_ratio(threads: int) -> float:
    """How many times faster the power flow is than power-grid-model's faster method."""
    net, _ = load_grid(power_flow.GRID)
    case = power_flow.injections(net, POWER_FLOW_BATCH)
    reference, _ = power_flow.power_grid_model_batch(net, case, threads)
    ours = power_flow.ours(Network.from_pandapower(net), case, torch.float32, "cpu")
    fastest = min(reference["newton_raphson"], reference["iterative_current"])
    return fastest / ours["batch_warm"]


def training_rows(repeats: int) -> list[Row]:
    """Training from batches at its default size, and against stock RLlib at the same small one."""
    small, default = training.settings(8), training.settings(None)
    simulation = envs.MarketEnv(small.world).simulation
    slots, seats = simulation.slots, simulation.num_seats
    with ray_session(small.ray):
        stock = training.measure(training.stock_config(small, seats, slots), seats, 1)
        same, ours = (
            training.measure(training.our_config(c, seats, slots), seats, repeats)
            for c in (small, default)
        )
    key = "agent_steps_per_s"
    return [
        Row("training from batches", ours[key], 30_000, "agent steps/s"),
        Row("training against stock RLlib, same batch", same[key] / stock[key], 5, "times"),
    ]


def environment_rows(threads: int, repeats: int) -> tuple[list[Row], dict[str, Any]]:
    """All rows but training's, and the details behind them."""
    rates = {batch: batched_steps_per_s(batch, repeats) for batch in BATCHES}
    best = max(rates, key=lambda batch: rates[batch])
    solves, gap = pandapower_solves_per_s(repeats)
    seats = envs.batched(num_envs=1).num_seats
    rows = [
        Row(f"batched environment, {best} markets", rates[best] * seats, 3e6, "agent steps/s"),
        Row("environment steps against runpp(recycle)", rates[best] / solves, 500, "times"),
        Row("power flow against power-grid-model", power_flow_ratio(threads), 2, "times"),
        Row("PettingZoo environment", single_steps_per_s(repeats), 400, "environment steps/s"),
    ]
    details = {
        "environment_steps_per_s": rates,
        "runpp_recycle_solves_per_s": solves,
        "largest_gap_to_runpp_pu": gap,
    }
    return rows, details


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threads", type=int, default=2, help="of torch and power-grid-model")
    parser.add_argument("--repeats", type=int, default=3, help="timed days; the median counts")
    parser.add_argument("--no-training", action="store_true", help="leave out the training rows")
    options = parser.parse_args()
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    rows, details = environment_rows(options.threads, options.repeats)
    if not options.no_training:
        rows += training_rows(2)
    if options.json:
        table = [asdict(row) | {"met": row.met} for row in rows]
        context = {"threads": options.threads, "load_before": load}
        print(json.dumps({"rows": table} | details | context, indent=2))
        return
    print_rows(rows)
    rates = ", ".join(f"{b}: {r:,.0f}" for b, r in details["environment_steps_per_s"].items())
    print(f"environment steps/s by markets: {rates}")
    print(f"largest gap to runpp over a day: {details['largest_gap_to_runpp_pu']:.1e} p.u.")
    print(f"{options.threads} threads, load of the machine before the run: {load:.1f}")


if __name__ == "__main__":
    main()
