"""Travel time of data through a network of nodes, and the share of blocks that it makes stale."""

from __future__ import annotations

import math
from typing import TypeVar

from torch import Tensor

from gridbazaar.ledger_sim.consensus.bounds import require

Number = TypeVar("Number", Tensor, float)

# Speed of light over the group index of single-mode fibre, typically 1.468 at 1,550 nm.
FIBRE_KM_PER_S = 299_792.458 / 1.468


def transfer_s(size_bytes: Number, bandwidth_kbit_s: float) -> Number:
    """Return the seconds that a link of so many kbit/s (1 kbit = 1,000 bits) takes to send bytes.

    Raises:
        LedgerError: for a negative size, or a bandwidth that is not above 0 (it may be inf).
    """
    require(size_bytes >= 0, "size_bytes", size_bytes, "0 B or more")
    require(bandwidth_kbit_s > 0, "bandwidth_kbit_s", bandwidth_kbit_s, "above 0 kbit/s")
    return size_bytes * (8 / (1000 * bandwidth_kbit_s))


def propagation_s(
    size_bytes: Number, bandwidth_kbit_s: float, distance_km: float, hops: int
) -> Number:
    """Return the seconds until data have passed so many links, each node storing them first.

    A hop takes size over bandwidth plus its distance at the speed of light in fibre.

    Args:
        size_bytes: of a block or transaction.
        bandwidth_kbit_s: of each link.
        distance_km: cable length of each link.
        hops: links, see `gossip_hops`.

    Raises:
        LedgerError: for negative arguments, or as `transfer_s`.
    """
    require(0 <= distance_km < math.inf, "distance_km", distance_km, "0 km or more")
    require(hops >= 0, "hops", hops, "0 or more links")
    return (transfer_s(size_bytes, bandwidth_kbit_s) + distance_km / FIBRE_KM_PER_S) * hops


def gossip_hops(nodes: int, fanout: int) -> int:
    """Return the links to the last of the nodes if each tells `fanout` others, none of them twice.

    The fewest h with 1 + k + ... + k^h >= n; where nodes are told twice, it takes longer.

    Raises:
        LedgerError: for less than one node or neighbour.
    """
    require(nodes >= 1, "nodes", nodes, "1 or more")
    require(fanout >= 1, "fanout", fanout, "1 or more neighbours")
    if fanout == 1:
        return nodes - 1
    reached = newly = 1
    hops = 0
    while reached < nodes:
        newly *= fanout
        reached += newly
        hops += 1
    return hops


def stale_share(delay_s: Number, interval_s: float) -> Number:
    """Return the share D/(T + D) of all blocks that another of the same height displaces.

    The chain grows by one block in T + D, while blocks are found every T: the least growth in
    Sompolinsky and Zohar, "Secure high-rate transaction processing in Bitcoin" (FC 2015).

    Args:
        delay_s: D, mean time until a node hears of a block.
        interval_s: T, mean time between blocks of all nodes together.

    Raises:
        LedgerError: for a negative delay, or an interval that is not above 0.
    """
    require((delay_s >= 0) & (delay_s < math.inf), "delay_s", delay_s, "0 s or more")
    require(0 < interval_s < math.inf, "interval_s", interval_s, "above 0 s")
    return delay_s / (delay_s + interval_s)
