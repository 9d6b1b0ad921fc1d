"""Limits, sensitivities against finite differences, curtailment and the operating envelope."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch

from gridbazaar.envs.grid import (
    Limits,
    Network,
    PowerFlow,
    Sensitivities,
    curtail,
    load_net,
    operating_envelope,
    violations,
)

FEEDERS = ("cigre_lv", "kerber_landnetz_kabel_1", "kerber_dorfnetz", "case33bw")
every_feeder = pytest.mark.parametrize("code", FEEDERS)


@lru_cache
def built(code):
    net = load_net("pandapower", code)
    buses = sorted(set(net.load.bus))
    network = Network.from_pandapower(net)
    flow = PowerFlow(network, buses, dtype=torch.float64)
    limits = Limits.of(network, (0.9, 1.1), 100.0, dtype=torch.float64)
    return network, buses, flow, limits, Sensitivities.of(network, buses, dtype=torch.float64)


@every_feeder
def test_voltage_sensitivities_are_the_derivative(code):
    _, buses, flow, _, sensitivities = built(code)
    step = 1e-3 * torch.eye(len(buses), dtype=torch.float64)
    difference = (flow.solve(step).vm_pu - flow.solve(-step).vm_pu).T / 2e-3
    assert torch.allclose(difference, sensitivities.vm_pu, rtol=1e-4, atol=1e-9)


@every_feeder
def test_branch_sensitivities_are_the_derivative_at_light_load(code):
    _, buses, flow, _, sensitivities = built(code)
    base = torch.full((1, len(buses)), 0.5, dtype=torch.float64)
    step = 1e-3 * torch.eye(len(buses), dtype=torch.float64)
    up, down = flow.solve(base + step), flow.solve(base - step)
    difference = (
        torch.cat(
            [
                up.line_loading_percent - down.line_loading_percent,
                up.trafo_loading_percent - down.trafo_loading_percent,
            ],
            1,
        ).T
        / 2e-3
    )
    way = (base @ sensitivities.branch_percent.T).sign().T
    predicted = way * sensitivities.branch_percent
    assert torch.allclose(difference, predicted, rtol=0.05, atol=0.02 * float(predicted.max()))


def breaking_export(code):
    """The smallest power of two in kW that breaks a limit when each bus exports it."""
    _, buses, flow, limits, _ = built(code)
    ladder = 2.0 ** torch.arange(-2, 12, dtype=torch.float64)
    solution = flow.solve(ladder[:, None].expand(-1, len(buses)))
    broken = violations(solution, limits).broken() & solution.converged
    return float(ladder[broken.nonzero()[0, 0]])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("code", FEEDERS[:3])
def test_curtailment_restores_the_limits_by_the_responsible_sign(code, sign):
    _, buses, flow, limits, _ = built(code)
    generator = torch.Generator().manual_seed(3)
    p = torch.rand(12, len(buses), generator=generator).double() * 2 - 0.3
    p = 1.5 * sign * p * breaking_export(code)
    p[0] = 0.0
    q = torch.zeros_like(p)
    before = flow.solve(p, q)
    after_p, after = curtail(flow, limits, p, q, before, rounds=6)
    breach = violations(after, limits)
    assert bool(violations(before, limits).broken().any())
    assert not bool(breach.broken(2e-4, 0.2).any())
    assert bool((after_p * p >= 0).all())
    assert bool((after_p.abs() <= p.abs() + 1e-12).all())
    other = p.sign() == -sign
    assert torch.equal(after_p[other], p[other])
    untouched = ~violations(before, limits).broken(1e-5, 1e-2)
    assert untouched[0]
    assert torch.equal(after_p[untouched], p[untouched])
    assert torch.allclose(after.vm_pu, flow.solve(after_p, q).vm_pu, atol=1e-9)


def test_curtailment_spares_what_may_not_be_cut():
    _, buses, flow, limits, _ = built("kerber_dorfnetz")
    p = torch.full((2, len(buses)), breaking_export("kerber_dorfnetz"), dtype=torch.float64)
    q = torch.zeros_like(p)
    allowed = p.clone()
    allowed[:, ::2] = 0.0
    after, _ = curtail(flow, limits, p, q, flow.solve(p, q), 4, allowed)
    assert torch.equal(after[:, ::2], p[:, ::2])
    assert bool((after[:, 1::2] < p[:, 1::2]).any())


@pytest.mark.parametrize("code", FEEDERS[:3])
def test_envelope_touches_the_limits_and_not_more(code):
    _, buses, flow, limits, _ = built(code)
    rated = torch.full((len(buses),), 4 * breaking_export(code), dtype=torch.float64)
    envelope = operating_envelope(flow, limits, rated, rated)
    assert 0 < envelope.export_share < 1
    for bound in (envelope.export_kw, -envelope.import_kw):
        inside, outside = flow.solve(bound[None]), flow.solve(1.01 * bound[None])
        assert not violations(inside, limits).broken(1e-5, 1e-3).any()
        assert bool((violations(outside, limits).broken() | ~outside.converged).all())
    small = operating_envelope(flow, limits, rated / 1e3, rated / 1e3)
    assert small.export_share == small.import_share == 1.0


def test_envelope_refuses_a_feeder_already_beyond_its_limits():
    _, buses, flow, limits, _ = built("cigre_lv")
    rated = torch.ones(len(buses), dtype=torch.float64)
    with pytest.raises(ValueError, match="before any seat"):
        operating_envelope(flow, limits, rated, rated, background_kw=-40 * rated)
    with pytest.raises(ValueError, match="rated_import_kw"):
        operating_envelope(flow, limits, rated, -rated)


def test_limits_come_from_the_net_then_from_the_defaults():
    network, *_ = built("case33bw")
    limits = Limits.of(network, (0.95, 1.05), 80.0)
    assert limits.vm_min_pu[1] == pytest.approx(0.9)
    cigre, *_ = built("cigre_lv")
    limits = Limits.of(cigre, (0.95, 1.05), 80.0)
    assert bool((limits.vm_min_pu == 0.95).all())
    assert bool((limits.line_percent == 80.0).all())
    with pytest.raises(ValueError, match="lower voltage bound above"):
        Limits.of(cigre, (1.1, 0.9), 80.0)
