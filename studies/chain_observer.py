"""Observer of a recorded chain: what whoever holds the blocks can link and read, in shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridbazaar.ledger_sim.layers.channels import Channels
from gridbazaar.ledger_sim.layers.protocol import layers_of
from gridbazaar.ledger_sim.protocol import Ledger
from gridbazaar.ledger_sim.record.signed_chain import (
    COMMIT,
    FEE,
    ORDER,
    PAYMENT,
    REVEAL,
    SignedChain,
)


@dataclass(frozen=True)
class Seen:
    """What an observer has of a day, in %; NaN where there is nothing to see.

    Attributes:
        linked: of the day's intervals, in how many the account behind a transaction of a seat
            shows up again: 100 where a seat keeps its account and always acts.
        read_early: of all orders that reached the market, whose price and quantity stand in a block
            by gate closure.
        read: likewise, at any time.
    """

    linked: float
    read_early: float
    read: float


def seen_by_all(
    chain: SignedChain, ledger: Ledger, slots: int, slot_s: float, gate_s: float
) -> Seen:
    """Return what the blocks of one day show.

    Orders and payments in channels are no transactions of the chain, although a recorder writes
    them down; what a channel's opening shows of a seat stays.

    Args:
        chain: of the day.
        ledger: that was recorded, with its layers.
        slots: of the day.
        slot_s: length of one, s.
        gate_s: from a slot's beginning to gate closure, s.
    """
    off_chain = {
        kind
        for layer in layers_of(ledger)
        if isinstance(layer, Channels)
        for kind in ((PAYMENT,) if layer.config.carries == "payments" else _TRADE)
    }
    records, time_s = chain.records(), _block_times_s(chain)
    orders = np.isin(records["kind"], (ORDER, REVEAL)).sum()
    there = ~np.isin(records["kind"], list(off_chain))
    records, time_s = records[there], time_s[there]
    is_order = np.isin(records["kind"], (ORDER, REVEAL))
    # A hidden order has a hash in place of its price and quantity.
    readable = is_order & (records["quantity"] != 0)
    early = readable & (time_s <= records["slot"] * slot_s + gate_s)
    share = 100 / orders if orders else np.nan
    return Seen(
        linked=_linked(records, slots),
        read_early=share * float(early.sum()),
        read=share * float(readable.sum()),
    )


_TRADE = (ORDER, COMMIT, REVEAL, PAYMENT)


def _block_times_s(chain: SignedChain) -> np.ndarray:
    """Return the time of each record's block, s since the day's start."""
    counts = [block.header.count for block in chain.blocks]
    return np.repeat([block.header.timestamp_ms / 1e3 for block in chain.blocks], counts)


def _linked(records: np.ndarray, slots: int) -> float:
    """Return the mean over records of seats of the intervals in which their account acts, %."""
    payment = records["kind"] == PAYMENT
    own = payment | np.isin(records["kind"], (ORDER, COMMIT, REVEAL, FEE))
    account = np.where(payment, records["receiver"], records["sender"])[own].astype(np.int64)
    if not len(account):
        return float("nan")
    pairs = np.unique(np.stack([account, records["slot"][own].astype(np.int64)]), axis=1)
    per_account = np.bincount(pairs[0])
    return float(100 * per_account[account].mean() / slots)
