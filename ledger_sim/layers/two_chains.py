"""Two chains: orders on one, money on the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.config import NonNegative, Share
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.other_ledger import idle_step, ledger_of_slots
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig, is_evm
from gridbazaar.ledger_sim.protocol import (
    Ledger,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
    together,
)
from gridbazaar.ledger_sim.random_streams import OfDay, OfSlot


class TwoChainsConfig(LayerConfig):
    """Parameters of the two chains."""

    settlement_ledger: dict[str, Any] = Field(
        description="parameters of another ledger; a configuration file may give its name alone"
    )
    altered_share: Share = Field(
        default=0.0,
        description="of slots, whose settlement is not written as it was cleared",
        json_schema_extra={"unit": "1"},
    )
    verified: bool = Field(
        default=False, description="whether what is settled is worked out again and compared"
    )
    verify_s: NonNegative = Field(
        default=0.0,
        description="in which it is worked out again, before it stands",
        json_schema_extra={"unit": "s"},
    )


@LAYERS.register("two_chains")
class TwoChains(Layer):
    """Orders and clearing on this ledger, settlement on another one, one after the other

    The settlement is written once the cleared book is final here, and stands once it is final
    there; it is lost when either loses it. Each ledger charges its own price.

    Where `verified`, someone works out the settlement from the cleared book once more and compares
    the two (the verifiers of EPS 5.3.1 [110]): an altered one is refused and written again, later,
    and all that writing takes is taken twice; without that it stands, and the slot is lost to who
    was robbed. Here a slot is altered or not; `gridbazaar.ledger_sim.record.cross_check` compares
    payments.
    """

    Config = TwoChainsConfig

    def __init__(self, inner: Ledger, config: TwoChainsConfig) -> None:
        super().__init__(inner)
        self.config = config
        self.other = ledger_of_slots(config.settlement_ledger, inner.slot_s)

    def reset(self, seed: Tensor) -> None:
        """Start a day on both; `seed` int64 [B]."""
        super().reset(seed)
        self.other.reset(randomness.fold(seed, OfDay.SECOND_CHAIN))

    def _get_parts(self) -> Any:
        return super()._get_parts(), self.other.state

    def _set_parts(self, parts: Any) -> None:
        beneath, self.other.state = parts
        super()._set_parts(beneath)

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        got = self.inner.step(transactions, deadline_s)
        other = idle_step(self.other, transactions.tip, deadline_s)
        return replace(
            with_upkeep_of(got, other),
            finality_s=got.finality_s + other.finality_s.to(got.finality_s),
            reverted=got.reverted | other.reverted | self._robbed(),
            messages=got.messages + other.messages.to(got.messages),
        )

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write messages and clearing here, then payments there."""
        settled = (market.traders > 0).to(market.messages)
        paid = gas.batch_gas(market.traders) * settled if is_evm(self.other) else settled
        nothing = torch.zeros_like(market.messages)
        here = self.inner.submit_market(replace(market, gas=self.clearing_gas(market)))
        there = self.other.submit_market(
            replace(market, rounds=nothing, messages=nothing, refused=None, gas=paid, beside=None)
        )
        found = (self.altered(self.slot) & self.config.verified).to(settled) * settled
        written = repeated(there, 1 + found)
        looked_s = self._verify_s() * (settled + found)
        return added(here, replace(written, delay_s=written.delay_s + looked_s))

    def _verify_s(self) -> float:
        return self.config.verify_s if self.config.verified else 0.0

    def altered(self, slot: int) -> Tensor:
        """Return whether a slot's settlement is not as it was cleared, bool [B]."""
        own = randomness.fold(self.seed, slot)
        draw = randomness.uniform(own, OfSlot.ALTERED, [], torch.float64)
        return draw < self.config.altered_share

    def _robbed(self) -> Tensor:
        """Return whether the slot that is carried is altered, and nobody looks, bool [B]."""
        altered = self.altered(self.slot)
        return altered & False if self.config.verified else altered


def repeated(written: MarketReceipts, times: Tensor) -> MarketReceipts:
    """Return what a writing takes `times` [B] over, one after the other; its award is made once."""
    incomes, stored_bytes = written.incomes, written.stored_bytes
    return MarketReceipts(
        fee=written.fee * times,
        burned=written.burned * times,
        delay_s=written.delay_s * times,
        transactions=written.transactions * times,
        energy_kwh=written.energy_kwh * times,
        incomes=None if incomes is None else incomes * times.unsqueeze(1),
        award=written.award,
        stored_bytes=None if stored_bytes is None else stored_bytes * times,
    )


def added(one: MarketReceipts, other: MarketReceipts) -> MarketReceipts:
    """Return what two writings take, one after the other."""
    return MarketReceipts(
        fee=one.fee + other.fee,
        burned=one.burned + other.burned,
        delay_s=one.delay_s + other.delay_s,
        transactions=one.transactions + other.transactions,
        energy_kwh=one.energy_kwh + other.energy_kwh,
        incomes=side_by_side_accounts(one.incomes, other.incomes),
        award=one.award if other.award is None else other.award,
        stored_bytes=together(one.stored_bytes, other.stored_bytes),
    )


def with_upkeep_of(got: Receipts, other: Receipts) -> Receipts:
    """Return receipts with what another ledger used, keeps, made and paid to validators too."""
    return replace(
        got,
        energy_kwh=got.energy_kwh + other.energy_kwh.to(got.energy_kwh),
        stored_bytes=together(got.stored_bytes, other.stored_bytes),
        header_bytes=together(got.header_bytes, other.header_bytes),
        minted=together(got.minted, other.minted),
        incomes=side_by_side_accounts(got.incomes, other.incomes),
        slashed=side_by_side_accounts(got.slashed, other.slashed),
    )


def side_by_side_accounts(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Return the accounts [B, V] of two ledgers' validators as one, where either has some."""
    if one is None or other is None:
        return other if one is None else one
    return torch.cat([one, other.to(one)], 1)
