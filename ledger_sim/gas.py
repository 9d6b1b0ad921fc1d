"""Gas of each call of the market contract, from the table that was measured on an EVM.

`studies/contract/market.vy` is the contract, `gas.yaml` the table, `tools/fit_gas.py` what fits it.
Nothing here needs a compiler or an EVM. Counts are numbers or tensors, [B] for a batch of markets,
and so is the gas.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from gridbazaar.errors import LedgerError, UnknownNameError
from gridbazaar.sourced import plain, read_yaml

TABLE = Path(__file__).with_name("gas.yaml")
Count: TypeAlias = Tensor | float
CALL_DATA_GAS = 16.0  # of a byte that is not 0 (EIP-2028)


@cache
def table(path: Path = TABLE) -> Mapping[str, Mapping[str, float]]:
    """Return gas by call and by what it is counted for: `table()["settle"]["seat"]`.

    Raises:
        ConfigError: when the file holds an entry without value, unit, source or status.
    """
    values: Mapping[str, Mapping[str, float]] = plain(read_yaml(path), path.name)
    return values


def transaction_gas_cap() -> float:
    """Return the most gas that one transaction may take (EIP-7825)."""
    return table()["limits"]["transaction"]


def check(gas: Count, what: str) -> Count:
    """Return `gas` as it is, or raise LedgerError where a transaction would not fit into a block.

    Raises:
        LedgerError: naming `what`, the gas and the cap.
    """
    most = float(gas.max()) if isinstance(gas, Tensor) and gas.numel() else gas
    cap = transaction_gas_cap()
    if isinstance(most, float | int) and not most <= cap:
        raise LedgerError(
            f"{what} takes {most:,.0f} gas; one transaction takes at most {cap:,.0f} (EIP-7825). "
            "Clear fewer orders at once, give the order as a hint, or clear off the chain"
        )
    return gas


def predicted(call: str, counts: Mapping[str, float]) -> float:
    """Return the gas of any call of the table by its own names, as `gas.yaml` holds them.

    Raises:
        UnknownNameError: for a call or a count that the table does not have, with the nearest.
    """
    if call not in table():
        raise UnknownNameError("contract call", call, table())
    row = table()[call]
    for name in counts:
        if name not in row:
            raise UnknownNameError(f"count of {call}", name, row)
    return row["call"] + sum(row[name] * count for name, count in counts.items())


def shifts_expected(bids: Count, asks: Count) -> Count:
    """Return how many places an insertion sort moves orders by, arriving in random order.

    Half of all pairs of one side stand the wrong way round: n (n - 1) / 4.
    """
    return (bids * (bids - 1.0) + asks * (asks - 1.0)) * 0.25


def register_gas() -> float:
    """Gas of entering a new account."""
    return _fixed("register")


def order_gas(first: Count = 0.0, relayed: bool = False) -> Count:
    """Gas of one order.

    Args:
        first: 1 where it is the interval's first order, else 0.
        relayed: signed by the trader, sent by another account, checked by ecrecover.
    """
    return _sum("relayed_order" if relayed else "order", first=first)


def commit_gas() -> float:
    """Gas of committing to a hidden order."""
    return _fixed("commit")


def reveal_gas(first: Count = 0.0) -> Count:
    """Gas of opening a hidden order; `first` is 1 for the interval's first order."""
    return _sum("reveal", first=first)


def clear_gas(
    orders: Count, matched: Count, shifts: Count | None = None, hinted: bool = False
) -> Count:
    """Gas of clearing a book on the chain.

    Args:
        orders: in the book, bids and asks together.
        matched: orders that trade.
        shifts: places by which the insertion sort moves orders; None: `shifts_expected` of as many
            bids as asks.
        hinted: the sender gives the sorted order, and the contract but checks it.

    Raises:
        LedgerError: where it takes more than one transaction may, or the book holds more orders
            than the contract takes.
    """
    most = float(orders.max()) if isinstance(orders, Tensor) and orders.numel() else orders
    side = table()["limits"]["side"]
    if isinstance(most, float | int) and most > 2 * side:
        raise LedgerError(
            f"a book of {most:,.0f} orders; the contract takes {side:,.0f} bids and as many asks. "
            "Clear off the chain and post net payments"
        )
    counts = {"order": orders, "matched": matched}
    if hinted:
        return check(_sum("clear_hinted", **counts), "clearing with a hint")
    if shifts is None:
        shifts = shifts_expected(orders * 0.5, orders * 0.5)
    return check(_sum("clear", **counts, shift=shifts), "clearing on the chain")


def settle_gas(
    seats: Count,
    new: Count = 0.0,
    pages: Count = 1.0,
    fresh: Count | None = None,
    penalised: Count = 1.0,
) -> Count:
    """Gas of settling a cleared interval by meter readings, with penalties.

    Args:
        seats: with a trade in the interval.
        new: balances among them, and that of the pool of penalties, that were zero before.
        pages: groups of 256 consecutive accounts that the seats fall into.
        fresh: of them, those of which none was settled for this interval before; None: all.
        penalised: 1 where any reading differs from its trade, else 0.

    Raises:
        LedgerError: where it takes more than one transaction may.
    """
    fresh = pages if fresh is None else fresh
    gas = _sum("settle", seat=seats, new=new, page=pages, fresh=fresh, penalised=penalised)
    return check(gas, "settling by meter readings")


def batch_gas(seats: Count, new: Count = 0.0) -> Count:
    """Gas of posting the net payments of an interval that was cleared off the chain.

    Args:
        seats: that pay or are paid.
        new: of them, those whose balance was zero before.

    Raises:
        LedgerError: where it takes more than one transaction may.
    """
    return check(_sum("batch", seat=seats, new=new), "posting net payments")


def root_gas() -> float:
    """Gas of posting the Merkle root over all payments of an interval."""
    return _fixed("root")


def claim_gas(depth: Count, new: Count = 0.0, first: Count = 0.0) -> Count:
    """Gas of claiming a payment under a posted root.

    Args:
        depth: hashes in the proof, log2 of the number of payments.
        new: 1 where the balance was zero before.
        first: 1 for the first claim among 256 consecutive accounts.
    """
    return _sum("claim", level=depth, new=new, fresh=first)


def channel_open_gas() -> float:
    """Gas of opening a payment channel with a deposit."""
    return _fixed("channel_open")


def channel_close_gas() -> float:
    """Gas of closing a channel in agreement."""
    return _fixed("channel_close")


def channel_dispute_gas(answer: Count = 0.0) -> Count:
    """Gas of posting a channel's state against the other side's will, or (1) of answering it."""
    return _sum("channel_dispute", answer=answer)


def channel_finish_gas() -> float:
    """Gas of paying out a disputed channel after the time to answer."""
    return _fixed("channel_finish")


def _fixed(call: str) -> float:
    return table()[call]["call"]


def _sum(call: str, **counts: Count) -> Count:
    row = table()[call]
    gas: Count = row["call"]
    for name, count in counts.items():
        if not isinstance(count, Tensor) and count == 0:
            continue
        gas = count * row[name] + gas
    return gas
