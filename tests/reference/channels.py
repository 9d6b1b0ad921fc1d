"""What a trade costs in a payment channel, whose opening and closing alone are on the chain.

These are the closed forms that the layer `channels` is held against in the tests.
"""

from __future__ import annotations

import math
from typing import TypeVar

from torch import Tensor

from gridbazaar.ledger_sim.consensus.bounds import require

Number = TypeVar("Number", Tensor, float)


def channel_gas_per_trade(
    trades: Number,
    opening_gas: float,
    closing_gas: float,
    dispute_probability: float,
    dispute_gas: float,
) -> Number:
    """Return the mean gas (opening + closing + p dispute) / n of each of the channel's n trades.

    Args:
        trades: n, while the channel is open.
        opening_gas, closing_gas: of the two transactions that every channel takes.
        dispute_probability: p, that the closing is disputed.
        dispute_gas: of what a dispute adds.

    Raises:
        LedgerError: for less than one trade, a probability outside 0 to 1, or negative gas.
    """
    require(trades >= 1, "trades", trades, "1 or more")
    _check(opening_gas, closing_gas, dispute_probability, dispute_gas)
    return (opening_gas + closing_gas + dispute_probability * dispute_gas) / trades


def break_even_trades(
    order_gas: float,
    opening_gas: float,
    closing_gas: float,
    dispute_probability: float,
    dispute_gas: float,
) -> int:
    """Return the fewest trades with which a channel takes less gas than an order for each of them.

    Arguments and errors as for `channel_gas_per_trade`; `order_gas` must be above 0.
    """
    require(0 < order_gas < math.inf, "order_gas", order_gas, "above 0 gas")
    whole = channel_gas_per_trade(1.0, opening_gas, closing_gas, dispute_probability, dispute_gas)
    return math.floor(whole / order_gas) + 1


def _check(
    opening_gas: float, closing_gas: float, dispute_probability: float, dispute_gas: float
) -> None:
    gas = {"opening_gas": opening_gas, "closing_gas": closing_gas, "dispute_gas": dispute_gas}
    for name, value in gas.items():
        require(0 <= value < math.inf, name, value, "0 gas or more")
    p = dispute_probability
    require(0 <= p <= 1, "dispute_probability", p, "0 to 1")
