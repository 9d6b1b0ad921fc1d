"""Balance of a feeder: what the head's meter shows against what the seats' meters say.

Whoever reports less than it takes leaves a gap between the import that the head's meter shows and
the one that a power flow of all readings gives. The gap tells that somebody does, and how much; the
seats' voltages tell who: each seat's missing power would pull them in its own pattern.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gridbazaar.envs.grid.power_flow import FlowSolver

# Columns of unit length whose least direction is shorter are one; what is told apart is its own.
_IN_STEP, _ALONE = 1e-8, 1e-3
# A seat is accused by a share so many standard errors beyond the least one.
_SURE = 5


@dataclass(frozen=True)
class Measured:
    """What is known of T intervals of B feeders, with N seats and M injections.

    Attributes:
        net_kw: [T, B, N] as the seats' meters report it, positive exported.
        head_kw: [T, B] import at the feeder's head, as its own meter shows.
        voltage_pu: [T, B, N] at the seats, as their meters report it.
        background_kw, reactive_kvar: [T, B, M] of all that are no seats, which have other meters.
    """

    net_kw: Tensor
    head_kw: Tensor
    voltage_pu: Tensor
    background_kw: Tensor
    reactive_kvar: Tensor


@dataclass(frozen=True)
class Balance:
    """What the readings do not explain.

    Attributes:
        missing_kw: [T, B] import at the head beyond what a power flow of all readings takes.
        misfit: [B, N] what is left of the voltages that the readings do not explain where the
            missing power is this seat's, as a share of them: mean squares over time and seats.
    """

    missing_kw: Tensor
    misfit: Tensor

    @property
    def suspects(self) -> Tensor:
        """The seats, int64 [B, N], from the one that explains the voltages best on."""
        return self.misfit.argsort(-1)


@dataclass(frozen=True)
class Accuracy:
    """Largest constant errors of meters, as shares; within, any is as likely."""

    seat: float
    head: float


def balance(measured: Measured, solver: FlowSolver, to_bus: Tensor) -> Balance:
    """Hold readings against the head's meter and the voltages.

    A meter's voltage may be off by a constant, so that only its changes over time are compared.

    Args:
        measured: T intervals.
        solver: power flow over the M injections, in their dtype.
        to_bus: [N, M], 1 where a seat injects.
    """
    shape = measured.head_kw.shape
    injected = measured.background_kw + measured.net_kw @ to_bus
    solution = solver.solve(injected.flatten(0, 1), measured.reactive_kvar.flatten(0, 1))
    missing_kw = measured.head_kw - solution.slack_kw.unflatten(0, shape)
    explained = (solution.v.abs() @ to_bus.T).unflatten(0, shape)
    left = _varying(measured.voltage_pu - explained)
    # [seat whose voltage moves, seat that takes a kW more]; what lacks in the readings, is taken.
    row = np.searchsorted(solver.network.buses, solver.injection_buses)
    pull = -(to_bus @ solver.sensitivities.vm_pu[row] @ to_bus.T)
    changes = _varying(missing_kw.unsqueeze(-1)).squeeze(-1)
    # |left - changes x pull|^2 over time and seats, without holding [T, B, N, N].
    own = left.square().sum((0, 2))
    both = torch.einsum("tbi,tb,ij->bj", left, changes, pull)
    of_seat = changes.square().sum(0).unsqueeze(-1) * pull.square().sum(0)
    misfit = own.unsqueeze(-1) - 2 * both + of_seat
    return Balance(missing_kw, misfit / own.clamp(min=torch.finfo(own.dtype).tiny).unsqueeze(-1))


def hidden_shares(measured: Measured, missing_kw: Tensor) -> tuple[Tensor, Tensor]:
    """Return which share of its import each seat hides over all days, [N], and its standard error.

    Missing power that goes with one seat's import over time is that seat's. Least squares over all
    T B intervals, of the missing power on the import that each seat shows, and on what the constant
    errors of other meters scale with: all export, each of the background's, and the head's. A seat
    that hides s shows 1 - s, and has a coefficient of s / (1 - s). NaN stands for one that shows
    nothing, or whose import goes in step with another meter's, so that nobody can tell them apart.
    """
    net_kw, head_kw = measured.net_kw.flatten(0, 1), measured.head_kw.flatten()
    imported = (-net_kw).clamp(min=0)
    others = torch.stack([net_kw.clamp(min=0).sum(-1), head_kw, torch.ones_like(head_kw)], -1)
    known = torch.cat([imported, others, measured.background_kw.flatten(0, 1)], -1)
    size = known.square().sum(0).sqrt()
    there = size > 0
    scaled = known[:, there] / size[there]
    products = scaled.T @ scaled
    gram = torch.linalg.pinv(products, rtol=_IN_STEP, hermitian=True)
    alone = (gram @ products).diagonal() > 1 - _ALONE
    found = gram @ (scaled.T @ missing_kw.flatten())
    left = missing_kw.flatten() - scaled @ found
    spread = (left.square().sum() / max(len(left) - len(found), 1) * gram.diagonal()).sqrt()
    share, error = (torch.full_like(size, torch.nan) for _ in range(2))
    share[there] = (found / size[there]).where(alone, torch.nan)
    error[there] = spread / size[there]
    seats = imported.shape[-1]
    return share[:seats] / (1 + share[:seats]), error[:seats] / (1 + share[:seats]).square()


def accused(
    measured: Measured, solver: FlowSolver, to_bus: Tensor, least: float, most: int = 5
) -> list[int]:
    """Return the seats that hide a share of their import on all days, the surest first.

    One after the other: whose share is the most standard errors from 0 is accused, its readings are
    put right, and the balance is drawn up anew, because what one hides also changes the losses that
    others seem to cause.

    Args:
        measured: T intervals of B days of one community.
        solver, to_bus: as for `balance`.
        least: hidden share, less five standard errors, from which a seat is accused.
        most: seats that are accused.
    """
    found: list[int] = []
    while len(found) < most:
        missing_kw = balance(measured, solver, to_bus).missing_kw
        share, error = hidden_shares(measured, missing_kw)
        imported = (-measured.net_kw).clamp(min=0)
        beyond = (share - _SURE * error).nan_to_num(-torch.inf)
        beyond[found] = -torch.inf
        if not (beyond > least).any():
            break
        seat = int((share / error).where(beyond > least, -torch.inf).argmax())
        found.append(seat)
        put_right = measured.net_kw.clone()
        put_right[..., seat] -= imported[..., seat] * share[seat] / (1 - share[seat])
        measured = replace(measured, net_kw=put_right)
    return found


def significance(measured: Measured, found: Balance, accuracy: Accuracy) -> Tensor:
    """Return the missing energy over the standard deviation that meters' errors give it, [B].

    Errors are constant over the T intervals and uniform within `accuracy`, each meter's by itself;
    the background's meters are as the seats'.
    """
    of_all = torch.cat([measured.net_kw, measured.background_kw], -1).sum(0)
    of_seats = (of_all * accuracy.seat).square().sum(-1)
    of_head = (measured.head_kw.sum(0) * accuracy.head).square()
    spread = ((of_seats + of_head) / 3).sqrt()
    return found.missing_kw.sum(0) / spread.clamp(min=torch.finfo(spread.dtype).tiny)


def _varying(values: Tensor) -> Tensor:
    """Return values [T, ...] less their mean over time."""
    return values - values.mean(0)
