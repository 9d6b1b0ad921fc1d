"""Homomorphic aggregation: meters encrypt what they read, and only sums are ever opened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from gridbazaar.config import NonNegative
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.aggregated_disclosure import (
    AggregatedDisclosure,
    AggregatedDisclosureConfig,
)
from gridbazaar.ledger_sim.layers.protocol import LAYERS
from gridbazaar.ledger_sim.protocol import MarketReceipts, MarketTransactions


class HomomorphicAggregationConfig(AggregatedDisclosureConfig):
    """Parameters of the encrypted aggregation."""

    key_bits: int = Field(
        ge=512,
        multiple_of=8,
        description="length of the modulus of Paillier's key; a ciphertext is twice as long",
        json_schema_extra={"unit": "bit"},
    )
    encrypt_s: NonNegative = Field(
        description="that a meter takes to encrypt a reading", json_schema_extra={"unit": "s"}
    )
    add_s: NonNegative = Field(
        description="that the aggregator takes to add an encrypted reading to a sum",
        json_schema_extra={"unit": "s"},
    )
    open_s: NonNegative = Field(
        description="that the biller takes to decrypt a sum", json_schema_extra={"unit": "s"}
    )
    round_trip_s: NonNegative = Field(
        description="from a meter to the aggregator, and from there to the biller",
        json_schema_extra={"unit": "s"},
    )


@LAYERS.register("homomorphic_aggregation")
class HomomorphicAggregation(AggregatedDisclosure):
    """Sums over seats and slots that are formed of encrypted readings, and opened as sums alone

    As `aggregated_disclosure`, but who sums and who bills read no single reading: a meter encrypts
    under the biller's Paillier key, the aggregator multiplies ciphertexts and holds no key, the
    biller decrypts the product. The encrypted sums stand on the chain with the opened ones. See
    `gridbazaar.ledger_sim.record.homomorphic`, which does so on recorded days.
    """

    Config: ClassVar[type[Any]] = HomomorphicAggregationConfig
    config: HomomorphicAggregationConfig

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes of an encrypted number, which is one modulo the square of the key's modulus."""
        return self.config.key_bits // 4

    def bytes_per_day(self, seats: int) -> tuple[int, int]:
        """Return the bytes a day of all ciphertexts on the chain, and of those between meters."""
        periods = -(-self.slots_per_day // self.config.slots)
        on_chain = self._groups(seats) * periods * self.ciphertext_bytes
        return on_chain, seats * self.slots_per_day * self.ciphertext_bytes

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write payments and sums at the period's end, once the last sum is opened."""
        config, groups = self.config, self._groups(self._seats)
        summed_s = self._seats * config.add_s + groups * config.open_s
        works_s = (config.encrypt_s + config.round_trip_s + summed_s) * (market.traders > 0)
        written = super().submit_market(market)
        return replace(written, delay_s=written.delay_s + works_s)

    def _groups(self, seats: int) -> int:
        return max(1, seats // self.config.seats)

    def _publishing_gas(self) -> float:
        """Return the gas of the opened sums, and of the encrypted ones as call data."""
        data = self._groups(self._seats) * self.ciphertext_bytes * gas.CALL_DATA_GAS
        return self.gas(gas.root_gas() + data)
