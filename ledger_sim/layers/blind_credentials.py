"""Blind credentials: pseudonyms that a registrar vouches for and cannot link to a member."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from gridbazaar.config import NonNegative
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.protocol import LAYERS
from gridbazaar.ledger_sim.layers.pseudonyms import Pseudonyms, PseudonymsConfig
from gridbazaar.ledger_sim.protocol import (
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
)

PREFIX_BYTES = 32  # RFC 9474, section 4.1: the random prefix that is sent beside the signature


class BlindCredentialsConfig(PseudonymsConfig):
    """Parameters of the registrar's blind signatures."""

    key_bits: int = Field(
        ge=1024,
        multiple_of=8,
        description="length of the registrar's RSA modulus, and of a signature",
        json_schema_extra={"unit": "bit"},
    )
    verify_s: NonNegative = Field(
        description="that whoever takes an order needs to check its credential",
        json_schema_extra={"unit": "s"},
    )
    verify_gas: NonNegative = Field(
        description="to check a credential, its call data apart, where gas is measured",
        json_schema_extra={"unit": "gas"},
    )
    unregistered: list[Annotated[int, Field(ge=0)]] = Field(
        description="seats that the registrar does not know; their orders are refused"
    )


@LAYERS.register("blind_credentials")
class BlindCredentials(Pseudonyms):
    """A new key for every order, signed blindly by a registrar who knows members and links nothing

    As `pseudonyms`, but an account without the registrar's signature is refused, and the registrar
    has signed each blinded: that the order is a member's is proved, whose it is stays hidden from
    the registrar as well. Credentials are fetched ahead, so that an order waits for none; checking
    them takes its gas with each order, and its time before the book is cleared. Who is not
    registered has none: its order is refused, comes into no block and costs nothing. See
    `gridbazaar.ledger_sim.record.registrar`, which does so on recorded days.
    """

    Config: ClassVar[type[Any]] = BlindCredentialsConfig
    config: BlindCredentialsConfig

    @property
    def credential_bytes(self) -> int:
        """Bytes that an order bears on top: signature and random prefix."""
        return self.config.key_bits // 8 + PREFIX_BYTES

    def bytes_per_day(self, seats: int) -> tuple[int, int]:
        """Return the bytes a day on the chain where all seats order, and those to the registrar."""
        orders = seats * self.slots_per_day
        return orders * self.credential_bytes, orders * 2 * (self.config.key_bits // 8)

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        data = self.credential_bytes * gas.CALL_DATA_GAS
        checked = self.order_gas(transactions) + self.gas(self.config.verify_gas + data, 0.0)
        sent = transactions.sent.clone()
        sent[:, self._refused(sent.shape[1])] = False
        return super()._carry(replace(transactions, sent=sent, gas=checked), deadline_s)

    def _refused(self, seats: int) -> list[int]:
        """Return the seats without a credential; raises `LedgerError` for one that is none."""
        unknown = [seat for seat in self.config.unregistered if seat >= seats]
        if unknown:
            raise LedgerError(
                f"ledger.layers.blind_credentials.unregistered names seat {unknown[0]}; "
                f"there are {seats}: give 0 to {seats - 1}"
            )
        return self.config.unregistered

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write, once all credentials of the book are checked."""
        written = self.inner.submit_market(market)
        return replace(written, delay_s=written.delay_s + market.orders * self.config.verify_s)
