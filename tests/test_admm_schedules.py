"""ADMM with schedules in the loop: each argmin, and what all pay, against general solvers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, minimize

from gridbazaar.studies import admm_schedules as study
from gridbazaar.studies.quadratic_programme import solve_quadratic

F64 = torch.float64


def test_quadratic_programmes_are_those_of_a_general_optimiser():
    draw = np.random.default_rng(0)
    for _ in range(4):
        root, matrix = draw.normal(size=(4, 6)), draw.normal(size=(2, 6))
        inside, linear = draw.uniform(0.1, 1, 6), draw.normal(size=6)
        quadratic, right = root.T @ root + 0.01 * np.eye(6), matrix @ inside
        tensors = (torch.from_numpy(x)[None] for x in (quadratic, linear, matrix, right))
        x, found = solve_quadratic(*tensors)
        best = minimize(
            lambda x, q=quadratic, c=linear: x @ q @ x / 2 + c @ x,
            inside,
            jac=lambda x, q=quadratic, c=linear: q @ x + c,
            bounds=[(0, None)] * 6,
            constraints=LinearConstraint(matrix, right, right),
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert found.all()
        assert x[0].numpy() == pytest.approx(best.x, abs=1e-5)


def test_what_cannot_be_met_is_not_found():
    """Two unknowns above zero that must sum to less than nothing."""
    one = torch.ones(1, 1, 2, dtype=F64)
    _, found = solve_quadratic(torch.eye(2, dtype=F64)[None], one[:, 0], one, -one[:, 0, :1])
    assert not found.any()


@pytest.fixture(scope="module")
def played():
    """A small community after each of its rounds."""
    community = study.drawn(3, 6, seed=1)
    rounds = [study.start(community)]
    for _ in range(60):
        rounds.append(study.play(community, rounds[-1], 0.1))
    return community, rounds


def test_rounds_lead_to_the_cost_of_one_linear_program(played):
    community, rounds = played
    least, alone = study.central_cost(community)[0], study.central_cost(community, False)[0]
    costs = [study.settled_cost(community, at.schedule, at.agreed) for at in rounds[1:]]
    assert alone - least > 0.05
    assert min(costs) > least - 1e-5
    assert costs[-1] == pytest.approx(least, abs=1e-3 * (alone - least))
    at = rounds[-1]
    apart = (at.trade + at.trade.transpose(0, 1)).abs().max()
    assert apart < 1e-4


def test_schedules_keep_to_the_batteries_and_to_what_is_traded(played):
    community, rounds = played
    schedule = rounds[-1].schedule
    assert schedule.min() > -1e-9
    stored = schedule[..., study.STORED]
    assert (stored <= community.capacity_kwh[:, None] + 1e-7).all()
    before = torch.cat([community.capacity_kwh[:, None] / 2, stored[:, :-1]], 1)
    into = study.EFFICIENCY * schedule[..., study.CHARGE]
    out = schedule[..., study.DISCHARGE] / study.EFFICIENCY
    torch.testing.assert_close(stored, before + into - out, rtol=0, atol=1e-7)
    torch.testing.assert_close(stored[:, -1], community.capacity_kwh / 2, rtol=0, atol=1e-7)
    sold = rounds[-1].trade.sum(1)
    torch.testing.assert_close(study.position(community, schedule), sold, rtol=0, atol=1e-7)


def test_a_round_is_the_printed_argmin_of_each_seat(played):
    """The seat's own problem over schedule and trades with each partner, by a general solver."""
    community, rounds = played
    before, after, rho, seat = rounds[3], rounds[4], 0.1, 0
    N, T = community.shape
    matrix, right = (x[seat].numpy() for x in study.bounds_of(community))
    effect = np.kron(np.eye(T), study.to_trade().numpy())
    width, others = T * study.KINDS, [j for j in range(N) if j != seat]
    z, price = (x[seat, others].flatten().numpy() for x in (before.agreed, before.multiplier))
    cost = np.tile(study.cost_of().numpy(), T)

    def objective(v):
        x, apart = v[:width], v[width:] - z + price / rho
        value = cost @ x + rho / 2 * apart @ apart
        return value, np.concatenate([cost, rho * apart])

    balance = np.concatenate([effect, -np.tile(np.eye(T), len(others))], 1)
    held = np.concatenate([matrix, np.zeros((len(matrix), T * len(others)))], 1)
    target = np.concatenate([right, -community.net_kwh[seat].numpy()])
    x = after.schedule[seat].flatten().numpy()
    ours = np.concatenate([x, after.trade[seat, others].flatten().numpy()])
    best = minimize(
        objective,
        ours,
        jac=True,
        bounds=[(0, None)] * width + [(None, None)] * (T * len(others)),
        constraints=LinearConstraint(np.concatenate([held, balance]), target, target),
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 300},
    )
    assert objective(ours)[0] == pytest.approx(best.fun, abs=1e-5)
    assert best.x[width:] == pytest.approx(ours[width:], abs=2e-2)
