"""The batched power flow against pandapower, and the laws it must keep by itself."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import pandapower
import pytest
import torch
from torch import Tensor

from gridbazaar.envs.grid import Network, PowerFlow, load_net
from gridbazaar.envs.grid.catalogue import names
from gridbazaar.errors import NetworkError, UnknownNameError

SIMBENCH = ("rural1", "rural2", "rural3", "semiurb4", "semiurb5", "urban6")
GRIDS = (
    *(("simbench", f"1-LV-{name}--2-sw") for name in SIMBENCH),
    ("pandapower", "cigre_lv"),
    ("pandapower", "case33bw"),
)
SCALES = (0.2, 0.7, 1.0, 2.0, 3.0)
SIGNS = (("load", -1.0), ("sgen", 1.0), ("storage", -1.0))

every_grid = pytest.mark.parametrize("grid", GRIDS, ids=[code for _, code in GRIDS])


@lru_cache
def built(grid):
    """A net, its network, injection buses and nominal injections [1, M] in kW and kvar."""
    if grid[0] == "simbench":
        pytest.importorskip("simbench", reason="SimBench grids come from the package 'simbench'")
    net = load_net(*grid)
    buses = sorted(set().union(*(net[kind].bus for kind, _ in SIGNS)))
    p, q = np.zeros((2, len(buses)))
    for kind, sign in SIGNS:
        at = np.searchsorted(buses, net[kind].bus)
        np.add.at(p, at, sign * 1e3 * net[kind].p_mw.to_numpy())
        np.add.at(q, at, sign * 1e3 * net[kind].q_mvar.to_numpy())
    return net, Network.from_pandapower(net), buses, torch.tensor(p[None]), torch.tensor(q[None])


@lru_cache
def reference(grid, scale):
    """runpp's bus voltages, line and transformer loading, losses and import in kW."""
    net = built(grid)[0]
    for kind, _ in SIGNS:
        net[kind]["scaling"] = scale
    pandapower.runpp(net, numba=False, tolerance_mva=1e-10)
    losses = net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum()
    return (
        net.res_bus.vm_pu.to_numpy(),
        net.res_line.loading_percent.fillna(0.0).to_numpy(),
        net.res_trafo.loading_percent.to_numpy(),
        1e3 * losses,
        1e3 * net.res_ext_grid.p_mw.sum(),
    )


def gap(ours: Tensor, theirs) -> float:
    return float(np.abs(ours.double().numpy() - theirs).max(initial=0.0))


@every_grid
@pytest.mark.parametrize("scale", SCALES)
def test_agrees_with_runpp(grid, scale):
    _, network, buses, p, q = built(grid)
    vm, line, trafo, losses, slack = reference(grid, scale)
    exact = PowerFlow(network, buses, dtype=torch.float64).solve(scale * p, scale * q)
    assert exact.converged.all()
    assert gap(exact.vm_pu[0], vm) < 1e-8
    assert gap(exact.line_loading_percent[0], line) < 1e-6
    assert gap(exact.trafo_loading_percent[0], trafo) < 1e-6
    assert gap(exact.losses_kw, losses) < 1e-5
    assert gap(exact.slack_kw, slack) < 1e-5

    fast = PowerFlow(network, buses).solve(scale * p.float(), scale * q.float())
    assert fast.converged.all()
    assert gap(fast.vm_pu[0], vm) < 1e-4
    assert gap(fast.line_loading_percent[0], line) < 1e-2
    assert gap(fast.losses_kw, losses) < 1e-4 * abs(slack)


@every_grid
def test_rows_do_not_depend_on_their_batch(grid):
    _, network, buses, p, q = built(grid)
    flow = PowerFlow(network, buses, dtype=torch.float64)
    # Easy, hard and impossible cases side by side.
    scale = torch.tensor([[0.1], [3.0], [40.0], [1.0], [-0.5]], dtype=torch.float64)
    together = flow.solve(scale * p, scale * q)
    for row, k in enumerate(scale):
        alone = flow.solve(k * p, k * q)
        assert alone.converged[0] == together.converged[row]
        if alone.converged[0]:
            assert gap(alone.vm_pu[0], together.vm_pu[row].numpy()) < 1e-9
            assert gap(alone.losses_kw[0], together.losses_kw[row].numpy()) < 1e-6


@every_grid
def test_energy_in_equals_energy_out_and_losses(grid):
    _, network, buses, p, q = built(grid)
    flow = PowerFlow(network, buses, dtype=torch.float64)
    share = torch.rand(16, len(buses), generator=torch.Generator().manual_seed(7)).double()
    solution = flow.solve(share * p, share * q)
    current = (torch.complex(share * p, share * q) / 1e3 / network.base_mva / solution.v).conj()
    reach = network.impedance(network.nodes_of(buses))
    v = network.no_load_voltage()[:, None] + reach @ current.resolve_conj().numpy().T
    nodal = v * np.conj(network.ybus @ v) * network.base_mva * 1e3
    imported = nodal[network.slack_nodes].sum(0).real
    assert gap(solution.slack_kw, imported) < 1e-6
    assert gap(solution.losses_kw, nodal.sum(0).real) < 1e-6
    assert bool((solution.losses_kw >= 0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("code", ["case33bw", "cigre_lv"])
def test_beyond_the_nose_is_marked_and_finite(code, dtype):
    net, network, buses, p, q = built(("pandapower", code))
    scale = torch.tensor([[1.0], [3.9], [8.0], [100.0]], dtype=dtype)
    flow = PowerFlow(network, buses, dtype=dtype)
    solution = flow.solve(scale * p.to(dtype), scale * q.to(dtype))
    assert solution.converged.tolist() == [True, False, False, False]
    for values in (solution.vm_pu, solution.line_loading_percent, solution.losses_kw):
        assert bool(torch.isfinite(values).all())
    assert torch.equal(solution.v[1:], flow.no_load(3))
    for kind, _ in SIGNS:
        net[kind]["scaling"] = 3.9
    with pytest.raises(pandapower.LoadflowNotConverged):
        pandapower.runpp(net, numba=False)


def test_close_to_the_nose_newton_finds_what_runpp_finds():
    _, network, buses, p, q = built(("pandapower", "cigre_lv"))
    solution = PowerFlow(network, buses, dtype=torch.float64).solve(3.38 * p, 3.38 * q)
    assert solution.converged.all()
    assert gap(solution.vm_pu[0], reference(("pandapower", "cigre_lv"), 3.38)[0]) < 1e-8


@every_grid
def test_warm_start_changes_the_work_and_not_the_result(grid):
    _, network, buses, p, q = built(grid)
    flow = PowerFlow(network, buses, dtype=torch.float64)
    before = flow.solve(p, q)
    cold, warm = flow.solve(1.1 * p, 1.1 * q), flow.solve(1.1 * p, 1.1 * q, before.v)
    assert gap(warm.vm_pu, cold.vm_pu.numpy()) < 1e-9
    assert warm.iterations <= cold.iterations


def switched_net():
    """CIGRE LV with an off-nominal tap, iron losses, charging, a mesh, a shunt and a dead line."""
    net = load_net("pandapower", "cigre_lv")
    net.trafo.loc[0, ["pfe_kw", "i0_percent", "tap_pos", "tap_neutral"]] = (1.9, 0.4, 1, 0)
    net.trafo.loc[0, "tap_step_percent"] = 2.5
    net.trafo.loc[0, ["tap_side", "tap_changer_type"]] = ("hv", "Ratio")
    net.line["c_nf_per_km"] = 200.0
    net.line["df"], net.line["parallel"] = 0.8, 2
    ends = sorted(net.line.to_bus)
    for bus, other in ((ends[3], ends[8]), (ends[5], ends[-1])):
        tie = pandapower.create_line_from_parameters(net, bus, other, 0.03, 0.3, 0.1, 200.0, 0.3)
    pandapower.create_switch(net, ends[5], tie, "l", closed=False)
    pandapower.create_switch(net, ends[4], ends[6], "b", closed=True)
    pandapower.create_shunt(net, 12, q_mvar=-0.01, p_mw=0.001)
    dead = pandapower.create_bus(net, 0.4, in_service=False)
    pandapower.create_line_from_parameters(net, 12, dead, 0.03, 0.3, 0.1, 200.0, 0.3)
    return net


def test_switches_fused_buses_taps_charging_shunts_and_meshes():
    net = switched_net()
    network = Network.from_pandapower(net)
    buses = sorted(set(net.load.bus))
    p, q = (
        torch.tensor(net.load.groupby("bus")[column].sum()[buses].to_numpy())[None] * -1e3
        for column in ("p_mw", "q_mvar")
    )
    solution = PowerFlow(network, buses, dtype=torch.float64).solve(p, q)
    pandapower.runpp(net, numba=False, tolerance_mva=1e-10)
    assert gap(solution.vm_pu[0], net.res_bus.vm_pu.loc[network.buses].to_numpy()) < 1e-8
    line = net.res_line.loading_percent.fillna(0.0).to_numpy()
    assert gap(solution.line_loading_percent[0], line) < 1e-6
    assert gap(solution.trafo_loading_percent[0], net.res_trafo.loading_percent.to_numpy()) < 1e-6
    assert gap(solution.slack_kw, 1e3 * net.res_ext_grid.p_mw.sum()) < 1e-5


def test_a_bus_without_supply_is_named():
    net = load_net("pandapower", "cigre_lv")
    lonely = pandapower.create_bus(net, 0.4)
    with pytest.raises(NetworkError, match=rf"\[{lonely}\].*no path"):
        Network.from_pandapower(net)


def test_columns_may_share_a_bus_and_sit_at_the_slack():
    _, network, buses, p, q = built(("pandapower", "case33bw"))
    split = PowerFlow(network, [*buses, *buses, 0], dtype=torch.float64)
    whole = PowerFlow(network, buses, dtype=torch.float64)
    nothing = torch.full((1, 1), 50.0, dtype=torch.float64)
    one = whole.solve(p, q)
    two = split.solve(
        torch.cat([0.3 * p, 0.7 * p, nothing], 1), torch.cat([q, 0 * q, 0 * nothing], 1)
    )
    assert gap(two.vm_pu, one.vm_pu.numpy()) < 1e-9
    assert gap(two.losses_kw, one.losses_kw.numpy()) < 1e-6
    assert gap(two.slack_kw, one.slack_kw.numpy() - 50.0) < 1e-6


def test_the_net_is_left_as_it_was():
    net = load_net("pandapower", "cigre_lv")
    loads = net.load.copy()
    Network.from_pandapower(net)
    assert net.load.equals(loads)
    assert net.res_bus.empty


def test_what_cannot_be_modelled_is_named():
    net = load_net("pandapower", "cigre_lv")
    pandapower.create_gen(net, 10, p_mw=0.1)
    with pytest.raises(NetworkError, match=r"'gen' \[0\]"):
        Network.from_pandapower(net)
    net = load_net("pandapower", "cigre_lv")
    net.line.loc[4, "max_i_ka"] = 0.0
    with pytest.raises(NetworkError, match=r"'line' \[4\]"):
        Network.from_pandapower(net)
    net = load_net("pandapower", "cigre_lv")
    net.ext_grid["in_service"] = False
    with pytest.raises(NetworkError, match="no external grid"):
        Network.from_pandapower(net)


def test_bad_input_is_refused():
    _, network, buses, p, q = built(("pandapower", "case33bw"))
    flow = PowerFlow(network, buses, dtype=torch.float64)
    with pytest.raises(ValueError, match="shape"):
        flow.solve(p[:, :-1])
    with pytest.raises(ValueError, match="q_kvar"):
        flow.solve(p, q[:, :-1])
    with pytest.raises(ValueError, match="start"):
        flow.solve(p, q, flow.no_load(3))
    with pytest.raises(ValueError, match="float64"):
        flow.solve(p.float())
    broken = p.clone()
    broken[0, 2] = torch.nan
    with pytest.raises(ValueError, match="column 2"):
        flow.solve(broken, q)
    with pytest.raises(NetworkError, match="99"):
        PowerFlow(network, [1, 99])
    with pytest.raises(ValueError, match="float16"):
        PowerFlow(network, buses, dtype=torch.float16)


@pytest.mark.parametrize(
    ("source", "code", "near"),
    [("pandapowr", "case33bw", "pandapower"), ("pandapower", "case33", "case33bw")],
)
def test_unknown_feeders_name_their_neighbours(source, code, near):
    with pytest.raises(UnknownNameError, match=near):
        load_net(source, code)


# The largest take seconds each to build and add nothing here.
SMALL = [code for code in names("pandapower") if not re.search("vorstadt|oberrhein|suburb", code)]


@pytest.mark.parametrize("code", SMALL)
def test_catalogued_feeders_become_networks(code):
    network = Network.from_pandapower(load_net("pandapower", code))
    solution = PowerFlow(network, network.buses).solve(torch.zeros(2, len(network.buses)))
    assert solution.converged.all()
    assert solution.line_loading_percent.shape == (2, len(network.lines))


def figures(state):
    """Everything that a solution says, weighed anew in every row, [B]."""
    parts = (state.vm_pu, state.line_loading_percent, state.trafo_loading_percent)
    seen = torch.cat(
        [
            *parts,
            state.losses_kw[:, None],
            state.slack_kw[:, None],
            torch.view_as_real(state.v)[..., 1],
        ],
        1,
    )
    weight = torch.randn(seen.shape, generator=torch.Generator().manual_seed(2)).to(seen)
    return (seen * weight).sum(1)


@pytest.mark.parametrize("grid", [g for g in GRIDS if g[0] == "pandapower"], ids=lambda g: g[1])
@pytest.mark.parametrize("reactive", [False, True])
def test_the_state_differentiates_as_central_differences_say(grid, reactive):
    _, network, buses, p, q = built(grid)
    solver = PowerFlow(network, buses, dtype=torch.float64, tolerance_pu=1e-14)
    g = torch.Generator().manual_seed(1)
    shape = (70, len(buses))  # more rows than are worked on at once
    p, q = p * torch.rand(shape, generator=g), q * torch.rand(shape, generator=g)
    way = torch.randn(shape, generator=g, dtype=torch.float64)
    leaf = (q if reactive else p).clone().requires_grad_()

    def at(injection):
        return figures(solver.solve(p, injection) if reactive else solver.solve(injection, q))

    (slope,) = torch.autograd.grad(at(leaf).sum(), leaf)
    step = 1e-5 * p.abs().max()
    with torch.no_grad():
        measured = (at(leaf + step * way) - at(leaf - step * way)) / (2 * step)
    expected = (slope * way).sum(1)
    least = 1e-6 * float(expected.abs().max())
    torch.testing.assert_close(expected, measured, rtol=1e-6, atol=least)


def test_gradients_leave_the_values_and_are_none_beyond_the_nose():
    _, network, buses, p, q = built(("pandapower", "case33bw"))
    solver = PowerFlow(network, buses, dtype=torch.float64)
    p, q = torch.cat([p, 20 * p]), torch.cat([q, 20 * q])
    plain, state = solver.solve(p, q), solver.solve(p.clone().requires_grad_(), q)
    assert state.converged.tolist() == [True, False]
    for one, other in ((plain.vm_pu, state.vm_pu), (plain.losses_kw, state.losses_kw)):
        assert torch.equal(one, other.detach())
    leaf = p.clone().requires_grad_()
    (slope,) = torch.autograd.grad(solver.solve(leaf, q).vm_pu.sum(), leaf)
    assert slope.isfinite().all()
    assert slope[0].any()


def test_a_branch_that_carries_nothing_has_no_slope():
    solver = PowerFlow(built(("pandapower", "cigre_lv"))[1], [1], dtype=torch.float64)
    leaf = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    state = solver.solve(leaf)
    (slope,) = torch.autograd.grad(state.line_loading_percent.sum(), leaf)
    assert slope.isfinite().all()
