"""Observer of a pilot's chain: what whoever holds the blocks can link and read, in shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridbazaar.evaluation.audit import Audit
from gridbazaar.evaluation.observer import linked_share
from gridbazaar.ledger_sim.layers.channels import Channels
from gridbazaar.ledger_sim.layers.protocol import layers_of
from gridbazaar.ledger_sim.protocol import Ledger
from gridbazaar.ledger_sim.record.signed_chain import ORDER, REVEAL


@dataclass(frozen=True)
class Seen:
    """What an observer has of a day, in %.

    Attributes:
        linked: of the pairs of a seat's orders, and of its payments, how many its account links.
        read_early: of the orders that reached the market, whose price and quantity stand in a block
            by gate closure.
        read: likewise, at any time.
    """

    linked: float
    read_early: float
    read: float


def seen_by_all(audit: Audit, ledger: Ledger, slots: int, slot_s: float, gate_s: float) -> Seen:
    """Return what the blocks of the first recorded day show.

    Orders in channels are no transactions of the chain, although a recorder writes them down:
    nothing of them is seen.

    Args:
        audit: that recorded the day.
        ledger: with its layers.
        slots: of the day.
        slot_s: length of a slot, s.
        gate_s: from a slot's beginning to gate closure, s.
    """
    layers = layers_of(ledger)
    if any(isinstance(layer, Channels) and layer.config.carries == "orders" for layer in layers):
        return Seen(0.0, 0.0, 0.0)
    chain = audit.chains[0]
    records = chain.records()
    counts = [block.header.count for block in chain.blocks]
    block_s = np.repeat([block.header.timestamp_ms / 1e3 for block in chain.blocks], counts)
    orders = np.isin(records["kind"], (ORDER, REVEAL))
    # A hidden order has a hash in place of its price and quantity.
    readable = orders & (records["quantity"] != 0)
    early = readable & (block_s <= records["slot"] * slot_s + gate_s)
    accounts = np.stack([audit.accounts(slot)[0] for slot in range(slots)])
    return Seen(
        linked=100 * linked_share(chain, accounts),
        read_early=100 * float(early.sum() / orders.sum()),
        read=100 * float(readable.sum() / orders.sum()),
    )
