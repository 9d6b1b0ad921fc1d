"""Derivatives of what seats gain in a day by their actions, against central differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gridbazaar.envs.markets import MARKETS

F64 = torch.float64
STEP = 1e-6
NOON = 44  # when the sun lets seats trade
SMOOTH = tuple(name for name in MARKETS.names() if not MARKETS[name].no_gradient)


def drawn(simulation, slots, seed, power=0.1):
    """Actions [slots, B, N, 3 + 3 K] off the bounds, of devices with small margins."""
    g = torch.Generator().manual_seed(seed)
    layout = simulation.game.layout
    shape = (slots, simulation.num_envs, simulation.num_seats, len(layout.actions))
    size = torch.full(shape[-1:], power, dtype=F64)
    size[0] = size[2] = 0.8
    middle = torch.zeros_like(size)
    middle[layout.actions.index("margin")] = -0.85
    return middle + (2 * torch.rand(shape, generator=g, dtype=F64) - 1) * size


@torch.no_grad()
def begun(simulation, slots):
    """The state some slots into a day."""
    simulation.reset(seed=3)
    for action in drawn(simulation, slots, seed=1):
        simulation.step(action)
    return simulation.state


def gains(simulation, state, actions, policy=None):
    """What the seats gain in each slot from a state on, weighted and summed, [slots, B].

    A policy adds to the actions what it makes of the observations.
    """
    g = torch.Generator().manual_seed(2)
    weights = torch.randn(simulation.num_seats, generator=g, dtype=F64)
    simulation.state, rows = state, []
    for action in actions:
        if policy is not None:
            action = action + policy(simulation.observe())
        rows.append((weights * simulation.step(action).reward.total).sum(-1))
    return torch.stack(rows)


def compare(value, actions, direction, step=STEP, smooth_share=1.0):
    """Check the slopes of `value`, actions -> [rows, B], along a direction of the actions.

    A row counts where its central difference does not depend on the step and the one-sided ones
    agree: where no order changes its rank and no limit begins or ceases to bind.
    """
    with torch.no_grad():
        here, up, down, near, far = (
            value(actions + k * step * direction) for k in (0, 1, -1, 0.3, -0.3)
        )
    measured, nearby = (up - down) / (2 * step), (near - far) / (0.6 * step)
    smooth = torch.isclose(measured, nearby, rtol=1e-6, atol=1e-7)
    smooth &= (up + down - 2 * here).abs() / step < 1e-3 * (1 + measured.abs())
    assert smooth.double().mean() >= smooth_share

    variable = actions.clone().requires_grad_()
    rows = value(variable)
    assert torch.equal(rows.detach(), here)
    for row, of_row, counts in zip(rows, measured, smooth, strict=True):
        (slope,) = torch.autograd.grad(row.sum(), variable, retain_graph=True)
        assert slope.isfinite().all()
        along = (slope * direction).flatten(2).sum(-1).sum(0)
        torch.testing.assert_close(along[counts], of_row[counts], rtol=1e-6, atol=1e-8)
    return measured


def direction_of(actions, seed=5):
    return torch.randn(actions.shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.mark.parametrize("name", SMOOTH)
def test_gains_differentiate_by_actions_in_every_market(town, name):
    simulation = town.simulation(market=name)
    state, actions = begun(simulation, NOON), drawn(simulation, 4, seed=8)
    found = compare(
        lambda a: gains(simulation, state, a), actions, direction_of(actions), smooth_share=0.75
    )
    assert (found != 0).all()


@pytest.mark.parametrize("name", ["uniform_auction", "mid_market_rate"])
def test_a_whole_day_differentiates(town, name):
    simulation = town.simulation(market=name)
    state, actions = begun(simulation, 0), drawn(simulation, simulation.slots, seed=7)
    compare(
        lambda a: gains(simulation, state, a).sum(0, keepdim=True), actions, direction_of(actions)
    )


def test_later_gains_differentiate_through_what_a_policy_observes(town):
    simulation = town.simulation()
    state, actions = begun(simulation, NOON), drawn(simulation, 6, seed=4)
    g = torch.Generator().manual_seed(6)
    layers = 0.02 * torch.randn(simulation.community.layout.size, 6, generator=g, dtype=F64)

    def later(first, policy=lambda seen: 0.1 * torch.tanh(seen @ layers)):
        played = torch.cat([first, actions[1:]])
        return gains(simulation, state, played, policy)[1:].sum(0, keepdim=True)

    first = actions[:1].clone().requires_grad_()
    compare(later, first.detach(), direction_of(first), step=1e-5)
    blind = later(first, lambda seen: 0.1 * torch.tanh(seen.detach() @ layers))
    seeing = later(first)
    assert torch.equal(blind, seeing)
    slopes = [torch.autograd.grad(x.sum(), first)[0] for x in (blind, seeing)]
    assert not torch.allclose(*slopes)


@pytest.mark.parametrize(("limit", "value"), [("vm_max_pu", 0.9), ("line_percent", 0.1)])
def test_the_price_of_broken_limits_differentiates(town, monkeypatch, limit, value):
    """Voltages and loadings carry the slopes of the power flow into the reward."""
    simulation = town.simulation(market="grid_only")
    delivery = simulation.delivery
    low = torch.full_like(getattr(delivery.limits, limit), value)
    monkeypatch.setattr(delivery, "limits", replace(delivery.limits, **{limit: low}))
    state, actions = begun(simulation, NOON), drawn(simulation, 3, seed=4)
    simulation.state = state
    assert (simulation.step(actions[0]).delivered.violation_eur > 0).all()
    compare(lambda a: gains(simulation, state, a), actions, direction_of(actions), 1e-4, 0.8)
