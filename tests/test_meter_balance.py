"""Tampered meters: the feeder's balance says how much is missing, and whose it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gridbazaar.envs.grid.meter_balance import (
    Accuracy,
    Measured,
    accused,
    balance,
    hidden_shares,
    significance,
)

F64, T, B = torch.float64, 75, 2


@pytest.fixture(scope="module")
def feeder(town):
    """Random powers of all seats and the background on the default feeder, exactly metered."""
    delivery = town.simulation().delivery
    solver = delivery.feeder
    nothing = torch.zeros(1, solver.injections, dtype=F64)
    to_bus = delivery.grid_context(nothing, nothing).to_bus
    draw = torch.Generator().manual_seed(0)
    net = torch.rand(T, B, len(to_bus), generator=draw, dtype=F64) * 2 - 1.5
    background = -0.5 * torch.rand(T, B, solver.injections, generator=draw, dtype=F64)
    reactive = torch.zeros_like(background)
    injected = (background + net @ to_bus).flatten(0, 1)
    solution = solver.solve(injected, reactive.flatten(0, 1))
    assert solution.converged.all()
    true = Measured(
        net_kw=net,
        head_kw=solution.slack_kw.unflatten(0, (T, B)),
        voltage_pu=(solution.v.abs() @ to_bus.T).unflatten(0, (T, B)),
        background_kw=background,
        reactive_kvar=reactive,
    )
    return true, solver, to_bus


def hide(true: Measured, seat: int, share: float) -> Measured:
    net = true.net_kw.clone()
    net[..., seat] -= share * net[..., seat].clamp(max=0)
    return replace(true, net_kw=net)


def test_honest_meters_explain_the_head(feeder):
    true, solver, to_bus = feeder
    found = balance(true, solver, to_bus)
    assert found.missing_kw.abs().max() < 1e-6
    assert (significance(true, found, Accuracy(0.01, 0.005)).abs() < 1e-3).all()
    share, _ = hidden_shares(true, found.missing_kw)
    assert share.nan_to_num(0).abs().max() < 1e-6
    assert accused(true, solver, to_bus, 0.01) == []


@pytest.mark.parametrize("seat", [3, 20, 40])
def test_a_thief_is_missed_located_and_named(feeder, seat):
    true, solver, to_bus = feeder
    shown = hide(true, seat, 0.3)
    found = balance(shown, solver, to_bus)
    hidden_kw = 0.3 * true.net_kw[..., seat].clamp(max=0).abs()
    # What is missing is what is hidden, and the losses on its way.
    assert (found.missing_kw >= hidden_kw - 1e-9).all()
    assert found.missing_kw.sum() == pytest.approx(hidden_kw.sum().item(), rel=0.1)
    same_bus = to_bus.argmax(1) == to_bus[seat].argmax()
    assert same_bus[found.suspects[:, 0]].all()
    assert (found.misfit.amin(1) < 0.05).all()
    share, error = hidden_shares(shown, found.missing_kw)
    assert share[seat].item() == pytest.approx(0.3, abs=0.03)
    others = share.clone()
    others[seat] = 0
    assert others.abs().max() < 0.02
    assert error[seat] < 0.01
    assert accused(shown, solver, to_bus, 0.05) == [seat]


def test_two_thieves_are_both_named(feeder):
    true, solver, to_bus = feeder
    shown = hide(hide(true, 7, 0.5), 31, 0.2)
    assert sorted(accused(shown, solver, to_bus, 0.05)) == [7, 31]


def test_a_day_alarms_only_beyond_what_meters_may_err(feeder):
    """A hidden kWh counts in standard deviations of the meters' own errors."""
    true, solver, to_bus = feeder
    shown = hide(true, 20, 0.3)
    found = balance(shown, solver, to_bus)
    coarse, fine = (significance(shown, found, Accuracy(a, a)) for a in (0.02, 0.001))
    torch.testing.assert_close(fine, coarse * 20)
    draw = torch.Generator().manual_seed(3)
    scores = []
    for _ in range(6):
        erring = replace(
            true,
            net_kw=true.net_kw
            * (1 + 0.01 * (2 * torch.rand(true.net_kw.shape[1:], generator=draw, dtype=F64) - 1)),
        )
        scores.append(significance(erring, balance(erring, solver, to_bus), Accuracy(0.01, 0.0)))
    spread = torch.cat(scores)
    assert spread.abs().max() < 4
    assert spread.std() > 0.1


def test_meters_in_step_are_not_told_apart(feeder):
    true = feeder[0]
    twins = true.net_kw.clone()
    twins[..., 5] = 2 * twins[..., 9]
    measured = replace(true, net_kw=twins)
    share, _ = hidden_shares(measured, true.head_kw)
    assert share[5].isnan()
    assert share[9].isnan()
    assert share.isnan().sum() == 2
