"""Compensation after the meters: who gained by the community makes good who lost."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gridbazaar.envs.prices import Tariff
from gridbazaar.envs.settlement import Bill, imbalance_eur


def compensate(bill: Bill, net_kw: Tensor, tariff: Tariff, slot_h: float) -> Bill:
    """Add to a bill what brings no seat below what its meter alone would have cost.

    A seat's gain is its bill, fees and penalties included, less that of the same metered power at
    the grid's two prices. What the others lost is taken from those who gained, in proportion to
    their gains. Where all seats together lost, these give all their gain, and everybody who lost
    bears the same share of its loss.

    The claim is of Long, Wu, Zhou, Jenkins (2018), "Peer-to-peer energy sharing through a two-stage
    aggregated battery control in a community microgrid", Applied Energy 226, of what is traded;
    that it is kept after the meters, and in proportion to gains, is the project's own rule.

    Args:
        bill: of the interval, [B, N] EUR.
        net_kw: [B, N] metered, positive exported.
        tariff: of the grid.
        slot_h: hours.
    """
    gain = bill.total - imbalance_eur(net_kw, tariff, slot_h)
    won, lost = gain.clamp(min=0), gain.clamp(max=0).neg()
    all_won, all_lost = (side.sum(-1, keepdim=True) for side in (won, lost))
    moved = torch.minimum(all_won, all_lost)
    tiny = torch.finfo(gain.dtype).tiny
    received = lost * (moved / all_lost.clamp(min=tiny))
    given = won * (moved / all_won.clamp(min=tiny))
    return replace(bill, compensation=received - given)
