"""Record of one trading interval."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gridbazaar.envs.action import Decision
from gridbazaar.envs.delivery import Delivered
from gridbazaar.envs.incentives import Rewarded
from gridbazaar.envs.markets import Clearing, Orders
from gridbazaar.envs.prices import Tariff
from gridbazaar.envs.reward import Reward
from gridbazaar.envs.settlement import Bill, Traded
from gridbazaar.ledger_sim import MarketReceipts, Receipts
from gridbazaar.ledger_sim.record.privacy import Published


@dataclass(frozen=True)
class Interval:
    """Everything that happened in one interval; tensors are [B, N].

    Attributes:
        decision: what the seats wanted.
        sent_kw: what they ordered, late orders as well.
        orders: the book at gate closure, late orders left out.
        receipts: what the ledger did with them.
        market_receipts: what the ledger did with the market's own transactions.
        finality_s: [B] from gate closure until the settlement is final.
        clearing: what the market did.
        traded: what the seats promised and what their meters showed.
        published: volumes that all may read, in kW; None without any, or where orders are open.
        delivered: what flowed.
        load_kw: metered load.
        curtailed_kw: PV that the sun offered and nobody let flow.
        energy_kwh: stored at the end, before departing cars left.
        unserved_kwh: that departing cars missed.
        device_kw: power of each kind's units, [B, D].
        content_kwh: what each kind's units held at the end, before departures, [B, D].
        bill: who paid what.
        rewarded: what incentive schemes did; None without any.
        reward: what it was worth.
        locked_eur: money waiting for finality.
        tariff: prices outside the market.
        observation: [B, N, layout.size] of the next interval.
        done: whether the day is over.
    """

    decision: Decision
    sent_kw: Tensor
    orders: Orders
    receipts: Receipts
    market_receipts: MarketReceipts
    finality_s: Tensor
    clearing: Clearing
    traded: Traded
    published: Published | None
    delivered: Delivered
    load_kw: Tensor
    curtailed_kw: Tensor
    energy_kwh: Tensor
    unserved_kwh: Tensor
    device_kw: dict[str, Tensor]
    content_kwh: dict[str, Tensor]
    bill: Bill
    rewarded: Rewarded | None
    reward: Reward
    locked_eur: Tensor
    tariff: Tariff
    observation: Tensor
    done: bool
