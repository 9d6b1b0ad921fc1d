"""Computing time of a power flow: here, in pandapower and in power-grid-model, same injections.

Run as `python benchmarks/power_flow.py [--json]`. Each interval's injections differ from the last
by up to a tenth, as from one quarter of an hour to the next; ours starts warm from the last one.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gridbazaar.envs.data.simbench import load_grid
from gridbazaar.envs.grid import Network, PowerFlow

GRID = "1-LV-semiurb4--2-sw"


def microseconds(solve: Callable[[], Any], repeats: int, solves: int = 1) -> float:
    """Median time per solve of `repeats` calls of `solves` solves each, after a warm-up."""
    solve()
    solve()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        solve()
        times.append(time.perf_counter() - start)
    return statistics.median(times) / solves * 1e6


def injections(net: Any, batch: int) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Injection buses [M], and two successive intervals' net export [2, B, M] in kW and kvar."""
    buses = sorted({*net.load.bus, *net.sgen.bus, *net.storage.bus})
    p, q = np.zeros((2, len(buses)))
    for kind, sign in (("load", -1.0), ("sgen", 1.0), ("storage", -1.0)):
        at = np.searchsorted(buses, net[kind].bus)
        np.add.at(p, at, sign * 1e3 * net[kind].p_mw.to_numpy())
        np.add.at(q, at, sign * 1e3 * net[kind].q_mvar.to_numpy())
    rng = np.random.default_rng(0)
    first = rng.uniform(0.2, 1.0, (batch, len(buses)))
    share = np.stack([first, first * rng.uniform(0.9, 1.1, first.shape)])
    return buses, share * p, share * q


def ours(network: Network, case: tuple, dtype: torch.dtype, device: str) -> dict[str, float]:
    buses, p, q = case
    flow = PowerFlow(network, buses, device=device, dtype=dtype)
    p_kw, q_kvar = (torch.as_tensor(x, dtype=dtype, device=device) for x in (p, q))
    last = flow.solve(p_kw[0], q_kvar[0]).v
    alone = last[:1].clone()

    def synchronised(solve: Callable[[], Any]) -> Callable[[], Any]:
        def finished() -> None:
            solve()
            torch.cuda.synchronize()

        return finished if device.startswith("cuda") else solve

    batch = p.shape[1]
    warm = synchronised(lambda: flow.solve(p_kw[1], q_kvar[1], last))
    cold = synchronised(lambda: flow.solve(p_kw[1], q_kvar[1]))
    single = synchronised(lambda: flow.solve(p_kw[1, :1], q_kvar[1, :1], alone))
    return {
        "batch_warm": microseconds(warm, 50, batch),
        "batch_cold": microseconds(cold, 50, batch),
        "single_warm": microseconds(single, 300),
    }


def pandapower_loop(net: Any, case: tuple) -> dict[str, float]:
    import pandapower

    buses, p, q = case
    net = copy.deepcopy(net)
    for kind in ("load", "sgen", "storage"):
        net[kind] = net[kind].iloc[:0]
    pandapower.create_sgens(net, buses, p_mw=p[1, 0] / 1e3, q_mvar=q[1, 0] / 1e3)
    recycle = {"bus_pq": True, "trafo": False, "gen": False}
    return {
        "default": microseconds(lambda: pandapower.runpp(net), 15),
        "recycle": microseconds(lambda: pandapower.runpp(net, recycle=recycle), 15),
    }


def table(kind: str, count: int, **columns: Any) -> Any:
    """A power-grid-model input array of `count` components."""
    import power_grid_model as pgm

    array = pgm.initialize_array("input", kind, count)
    for name, values in columns.items():
        array[name] = values
    return array


def transformers(trafo: Any) -> Any:
    return table(
        "transformer",
        len(trafo),
        id=2000 + np.arange(len(trafo)),
        from_node=trafo.hv_bus,
        to_node=trafo.lv_bus,
        from_status=1,
        to_status=1,
        u1=trafo.vn_hv_kv * 1e3,
        u2=trafo.vn_lv_kv * 1e3,
        sn=trafo.sn_mva * 1e6,
        uk=trafo.vk_percent / 100,
        pk=trafo.vkr_percent / 100 * trafo.sn_mva * 1e6,
        i0=trafo.i0_percent / 100,
        p0=trafo.pfe_kw * 1e3,
        winding_from=2,
        winding_to=1,
        clock=5,
        tap_side=0,
        tap_pos=0,
        tap_min=-2,
        tap_max=2,
        tap_nom=0,
        tap_size=trafo.tap_step_percent / 100 * trafo.vn_hv_kv * 1e3,
    )


def grid_model(net: Any, buses: list[int]) -> Any:
    """The net in power-grid-model; all switches of this grid are closed, its tap is neutral."""
    import power_grid_model as pgm

    line, grid, count = net.line, net.ext_grid, len(buses)
    length = line.length_km.to_numpy()
    lines = table(
        "line",
        len(line),
        id=1000 + np.arange(len(line)),
        from_node=line.from_bus,
        to_node=line.to_bus,
        from_status=1,
        to_status=1,
        r1=line.r_ohm_per_km * length,
        x1=line.x_ohm_per_km * length,
        c1=line.c_nf_per_km * length * 1e-9,
        tan1=0.0,
        i_n=line.max_i_ka * 1e3,
    )
    loads = table("sym_load", count, id=4000 + np.arange(count), node=buses, status=1, type=0)
    loads["p_specified"] = loads["q_specified"] = 0.0
    return pgm.PowerGridModel(
        {
            "node": table("node", len(net.bus), id=net.bus.index, u_rated=net.bus.vn_kv * 1e3),
            "line": lines,
            "transformer": transformers(net.trafo),
            "source": table(
                "source", 1, id=3000, node=grid.bus, status=1, u_ref=grid.vm_pu, sk=1e15
            ),
            "sym_load": loads,
        }
    )


def power_grid_model_batch(
    net: Any, case: tuple, threads: int
) -> tuple[dict[str, float], np.ndarray]:
    """Times of each algorithm, and bus voltages [B, nbus] of the second interval."""
    import power_grid_model as pgm

    buses, p, q = case
    model = grid_model(net, buses)
    update = pgm.initialize_array("update", "sym_load", p.shape[1:])
    update["id"] = 4000 + np.arange(len(buses))
    update["p_specified"], update["q_specified"] = -1e3 * p[1], -1e3 * q[1]

    def run(method: Any, rows: slice, workers: int) -> np.ndarray:
        result = model.calculate_power_flow(
            update_data={"sym_load": update[rows]},
            calculation_method=method,
            threading=workers,
            output_component_types={
                "node": ["u_pu"],
                "line": ["loading"],
                "transformer": ["loading"],
            },
        )
        return result["node"]["u_pu"]

    newton, current = (
        pgm.CalculationMethod.newton_raphson,
        pgm.CalculationMethod.iterative_current,
    )
    batch, every = len(update), slice(None)
    times = {
        "single": microseconds(lambda: run(newton, slice(1), -1), 50),
        "newton_raphson": microseconds(lambda: run(newton, every, threads), 7, batch),
        "iterative_current": microseconds(lambda: run(current, every, threads), 7, batch),
    }
    return times, run(newton, every, threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    net, _ = load_grid(GRID)
    network = Network.from_pandapower(net)
    case = injections(net, options.batch)
    reference, voltages = power_grid_model_batch(net, case, options.threads)
    buses, p, q = case
    check = PowerFlow(network, buses, dtype=torch.float64).solve(*map(torch.tensor, (p[1], q[1])))
    times = {
        "ours float32": ours(network, case, torch.float32, options.device),
        "ours float64": ours(network, case, torch.float64, options.device),
        "power-grid-model": reference,
        "pandapower": pandapower_loop(net, case),
    }
    fast = times["ours float32"]["batch_warm"]
    gap = float(np.abs(check.vm_pu.numpy() - voltages).max())
    ratios = {
        "pandapower recycle": times["pandapower"]["recycle"] / fast,
        "power-grid-model": min(v for k, v in reference.items() if k != "single") / fast,
    }
    result = {
        "grid": GRID,
        "batch": options.batch,
        "threads": options.threads,
        "device": options.device,
        "microseconds_per_solve": times,
        "times_faster_than": ratios,
        "largest_gap_to_power_grid_model_pu": gap,
    }
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{GRID}, {options.batch} at once, {options.threads} threads: us per solve")
    for name, row in times.items():
        print(f"  {name:18s}" + "  ".join(f"{key} {value:,.1f}" for key, value in row.items()))
    for name, ratio in ratios.items():
        print(f"  float32 warm is {ratio:,.0f} times faster than {name}")
    print(f"  largest gap to power-grid-model: {gap:.1e} p.u.")


if __name__ == "__main__":
    main()
