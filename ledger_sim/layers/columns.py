"""Transactions of several kinds in one slot, side by side as columns of a ledger."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gridbazaar.ledger_sim.protocol import Inclusions, Receipts, Transactions


def same_for_all(
    like: Transactions, sent: Tensor | bool, submitted_s: float, gas: Tensor | float | None
) -> Transactions:
    """Return transactions without tip, all sent at one time.

    Args:
        like: gives shape [B, N], dtype and device.
        sent: bool [B, N], or one for all.
        submitted_s: seconds since the slot's window opened.
        gas: [B, N], one for all, or None for an order's.
    """
    zero = torch.zeros_like(like.tip)
    return Transactions(
        sent=sent if isinstance(sent, Tensor) else torch.full_like(like.sent, sent),
        submitted_s=torch.full_like(like.submitted_s, submitted_s),
        tip=zero,
        gas=None if gas is None else zero + gas,
    )


def side_by_side(kinds: tuple[Transactions, ...], order_gas: float) -> Transactions:
    """Return kinds of transactions [B, N] each as [B, K N]; seat i of kind k is column k N + i."""
    gas = None
    if any(kind.gas is not None for kind in kinds):
        gas = torch.cat(
            [
                torch.full_like(kind.tip, order_gas) if kind.gas is None else kind.gas
                for kind in kinds
            ],
            dim=1,
        )
    return Transactions(
        sent=torch.cat([kind.sent for kind in kinds], dim=1),
        submitted_s=torch.cat([kind.submitted_s for kind in kinds], dim=1),
        tip=torch.cat([kind.tip for kind in kinds], dim=1),
        gas=gas,
    )


def of_kind(receipts: Receipts, kind: int, seats: int) -> Receipts:
    """Return the fate of one kind [B, N]; `fee` is what the seat pays for all kinds together."""
    columns = slice(kind * seats, (kind + 1) * seats)
    batch = receipts.fee.shape[0]
    return replace(
        receipts,
        included=receipts.included[:, columns],
        latency_s=receipts.latency_s[:, columns],
        fee=receipts.fee.view(batch, -1, seats).sum(1),
        earlier=only(receipts.earlier, kind, seats),
    )


def only(earlier: Inclusions | None, kind: int, seats: int) -> Inclusions | None:
    """Return the inclusions of one kind, by seat."""
    if earlier is None:
        return None
    keep = earlier.seat // seats == kind
    return Inclusions(
        earlier.environment[keep],
        earlier.seat[keep] - kind * seats,
        earlier.slot[keep],
        earlier.block_s[keep],
        earlier.fee[keep],
    )
