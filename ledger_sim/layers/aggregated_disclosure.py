"""Aggregated disclosure: only sums are published, over enough seats and slots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import Field
from torch import Tensor

from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.period import Period
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import Ledger, MarketReceipts, MarketTransactions

# Orders, traders and gas [B] each: the most of a period so far.
_Most = tuple[Tensor | None, Tensor | None, Tensor | None]
_NOTHING: _Most = (None, None, None)


class AggregatedDisclosureConfig(LayerConfig):
    """Parameters of the aggregation."""

    seats: int = Field(ge=1, description="fewest seats in a sum", json_schema_extra={"unit": "1"})
    slots: int = Field(
        ge=1,
        description="slots that a sum and a payment cover",
        json_schema_extra={"unit": "slots"},
    )


@LAYERS.register("aggregated_disclosure")
class AggregatedDisclosure(Layer):
    """Volumes are published as sums over seats and slots, and paid in one payment for all slots

    Orders stand on the chain as hashes; the market knows their content. Clearing and settlement are
    written once in `slots` slots, with the figures of the slot in which they are due, and with a
    transaction that publishes the sums.
    """

    Config = AggregatedDisclosureConfig

    changes = "privacy"

    def __init__(self, inner: Ledger, config: AggregatedDisclosureConfig) -> None:
        super().__init__(inner)
        self.config = config
        self._payments = Period(config.slots, self.slots_per_day)
        self._most = _NOTHING

    def reset(self, seed: Tensor) -> None:
        """Start a day in which nothing is owed; `seed` int64 [B]."""
        super().reset(seed)
        self._payments.reset()
        self._most = _NOTHING

    def _get_parts(self) -> Any:
        return super()._get_parts(), self._payments.active, self._most

    def _set_parts(self, parts: Any) -> None:
        beneath, self._payments.active, self._most = parts
        super()._set_parts(beneath)

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write payments and sums at the period's end; messages as ever."""
        in_period = self._with_most(market)
        due = self._payments.due(self.slot, market.traders > 0).to(market.messages)
        takes = (self.settlement_gas(in_period) + self._publishing_gas()) * due
        left = self._payments.left(self.slot)
        self._most = (in_period.orders, in_period.traders, in_period.gas) if left else _NOTHING
        written = self.inner.submit_market(market.and_beside(takes, due))
        return replace(written, delay_s=written.delay_s + left * self.slot_s)

    def _publishing_gas(self) -> float:
        """Return the gas of the transaction that publishes the sums."""
        return self.gas(gas.root_gas())

    def _with_most(self, market: MarketTransactions) -> MarketTransactions:
        """Return the largest book and the most traders of the period so far."""
        most_orders, most_traders, most_gas = self._most
        if most_orders is None or most_traders is None:
            return market
        gas_now = market.gas
        if gas_now is not None and most_gas is not None:
            gas_now = gas_now.maximum(most_gas)
        return replace(
            market,
            orders=market.orders.maximum(most_orders),
            traders=market.traders.maximum(most_traders),
            gas=gas_now,
        )
