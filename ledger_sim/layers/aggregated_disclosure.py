"""Only sums are published, over enough seats and slots."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field
from torch import Tensor

from gridbazaar.ledger_sim.chain import gas
from gridbazaar.ledger_sim.layers.period import Period
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig
from gridbazaar.ledger_sim.protocol import Ledger, Postage, Posting


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

    def reset(self, seed: Tensor) -> None:
        """Start a day in which nothing is owed; `seed` int64 [B]."""
        super().reset(seed)
        self._payments.reset()
        self._most: Posting | None = None

    def post(self, posting: Posting) -> Postage:
        """Write payments and sums at the period's end; messages as ever."""
        held = self._with_held(posting)
        due = self._payments.due(self.slot, posting.traders > 0).to(posting.messages)
        takes = (self.settlement_gas(held) + self.gas(gas.root_gas())) * due
        left = self._payments.left(self.slot)
        self._most = held if left else None
        written = self.inner.post(replace(posting, gas=takes))
        return replace(
            written,
            delay_s=written.delay_s + left * self.slot_s,
            transactions=written.transactions + due,
        )

    def _with_held(self, posting: Posting) -> Posting:
        """Return the largest book and the most traders of the period so far."""
        most = self._most
        if most is None:
            return posting
        gas_now = posting.gas
        if gas_now is not None and most.gas is not None:
            gas_now = gas_now.maximum(most.gas)
        return replace(
            posting,
            orders=posting.orders.maximum(most.orders),
            traders=posting.traders.maximum(most.traders),
            gas=gas_now,
        )
