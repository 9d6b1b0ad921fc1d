"""Layer protocol: a ledger around a ledger, how it is named, configured and put on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Config
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig
from gridbazaar.ledger_sim.gas_schedule import schedule_of
from gridbazaar.ledger_sim.proposals import Proposals, proposals_of
from gridbazaar.ledger_sim.protocol import (
    Ledger,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
    check_deadline,
    check_seed,
    check_started,
)
from gridbazaar.registry import Registry

_DAY_S = 86400


class LayerConfig(Config):
    """Parameters that all layers have; a layer adds its own."""

    name: str = Field(description="registered layer")


@dataclass(frozen=True, slots=True)
class LayerState:
    """State of a layer and of the ledger beneath it.

    Attributes:
        seed: int64 [B], the day's.
        slot: number of the slot that came last, -1 before the first.
        seats: accounts N; 0 before the first slot.
        parts: the state of the ledger beneath, and with it what the layer itself remembers.
    """

    seed: Tensor
    slot: int
    seats: int
    parts: Any


class Layer:
    """Hands everything through to the ledger beneath; a layer changes what it must.

    Gas is counted as the chain at the bottom counts it: by the measured table where it is `evm`,
    else one for each transaction.

    Attributes:
        Config: its parameters; a layer is built from a ledger and one of these.
        inner: the ledger beneath.
        chain: the ledger at the bottom.
        evm: whether the chain counts gas as measured on an Ethereum machine.
        schedule: the chain's gas per kind of transaction.
        slot: number of the slot that `step` carried last, -1 after reset.
    """

    Config: ClassVar[type[Any]] = LayerConfig
    changes: ClassVar[str] = "scaling"  # or privacy: what the layer is for

    def __init__(self, inner: Ledger) -> None:
        self.inner = inner
        self.chain: Ledger = inner.chain if isinstance(inner, Layer) else inner
        self.evm = is_evm(inner)
        self.schedule = schedule_of("evm" if self.evm else "unit")
        self.slot = -1
        self._seed: Tensor | None = None
        self._seats = 0

    @property
    def slot_s(self) -> float:
        """Seconds from one submission window's opening to the next."""
        return self.inner.slot_s

    @property
    def slots_per_day(self) -> int:
        """Slots from midnight to midnight, at least 1."""
        return max(1, round(_DAY_S / self.slot_s))

    @property
    def seed(self) -> Tensor:
        """The day's seeds, int64 [B]; raises `LedgerError` before `reset`."""
        return check_started(self._seed)

    def lead_s(self, deadline_s: float) -> float:
        """Return how long before a deadline to send; see `Ledger.lead_s`."""
        return self.inner.lead_s(deadline_s)

    def reset(self, seed: Tensor) -> None:
        """Start a day here and beneath; `seed` int64 [B]."""
        check_seed(seed)
        self._seed, self.slot, self._seats = seed.clone(), -1, 0
        self.inner.reset(seed)

    @property
    def state(self) -> LayerState:
        """All that changes during a day, here and beneath."""
        return LayerState(self.seed, self.slot, self._seats, self._get_parts())

    @state.setter
    def state(self, state: LayerState) -> None:
        self._seed, self.slot, self._seats = state.seed, state.slot, state.seats
        self._set_parts(state.parts)

    def _get_parts(self) -> Any:
        """Return the state beneath; a layer that remembers something puts that beside it."""
        return self.inner.state

    def _set_parts(self, parts: Any) -> None:
        """Go on from what `_get_parts` gave."""
        self.inner.state = parts

    def step(self, transactions: Transactions, deadline_s: float) -> Receipts:
        """Carry one slot's transactions; see `gridbazaar.ledger_sim.protocol.Ledger.step`."""
        check_deadline(deadline_s, self.slot_s)
        transactions.check(self.seed.shape[0], self.slot_s)
        seats = transactions.sent.shape[1]
        if self.slot >= 0 and seats != self._seats:
            raise LedgerError(
                f"{seats} accounts, but {self._seats} since reset; the number stays for the day"
            )
        self._seats = seats
        self.slot += 1
        return self._carry(transactions, deadline_s)

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        """Carry checked transactions of slot number `slot`."""
        return self.inner.step(transactions, deadline_s)

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write clearing and settlement; see `Ledger.submit_market`."""
        return self.inner.submit_market(market)

    def proposals(self) -> Proposals | None:
        """Return who proposes a slot's clearing; see `gridbazaar.ledger_sim.proposals`."""
        return proposals_of(self.inner)

    def gas(self, measured: float, transactions: float = 1.0) -> float:
        """Return `measured` gas on an evm chain, else the number of transactions."""
        return measured if self.evm else transactions

    def settlement_gas(self, market: MarketTransactions) -> Tensor:
        """Return the gas [B] that clearing and settlement take without this layer."""
        if market.gas is not None:
            return market.gas
        settled = self.schedule.settlement(market.orders, market.traders, market.contract)
        return settled * (market.traders > 0)

    def clearing_gas(self, market: MarketTransactions) -> Tensor:
        """Return the gas [B] of clearing on the chain, where payments go elsewhere."""
        if self.evm and market.gas is None:
            cleared = self.schedule.clearing(market.orders, market.traders, market.contract)
            return cleared * (market.traders > 0)
        return self.settlement_gas(market)

    def order_gas(self, transactions: Transactions) -> Tensor:
        """Return the gas of each order, [B, N]."""
        if transactions.gas is not None:
            return transactions.gas
        return torch.full_like(transactions.tip, self.schedule.order)


LAYERS: Registry[type[Layer]] = Registry("layer", "gridbazaar.ledger_sim.layers")


def wrap(ledger: Ledger, chosen: str | Mapping[str, Any]) -> Layer:
    """Put a layer on a ledger.

    Args:
        ledger: the ledger beneath, itself with layers or not.
        chosen: `name` and all parameters, or the name alone of a layer without any.

    Raises:
        UnknownNameError: for an unknown layer, with the nearest known one.
        ConfigError: for unknown, missing or impossible parameters, with path and value.
    """
    config = config_of(chosen)
    kind: Any = LAYERS[config.name]
    layer: Layer = kind(ledger, config)
    return layer


def config_of(chosen: str | Mapping[str, Any]) -> LayerConfig:
    """Return a layer's validated configuration; argument and errors as for `wrap`."""
    values = {"name": chosen} if isinstance(chosen, str) else chosen
    where = "ledger.layers" + (f".{values['name']}" if "name" in values else "")
    config: LayerConfig = LAYERS.configure(values, where)
    return config


def chain_config(ledger: Ledger) -> ChainConfig | None:
    """Return the chain's configuration below any layers; None where there is no chain."""
    chain = ledger.chain if isinstance(ledger, Layer) else ledger
    config = getattr(chain, "config", None)
    return config if isinstance(config, ChainConfig) else None


def is_evm(ledger: Ledger) -> bool:
    """Tell whether a ledger, with layers or not, counts gas as measured on an Ethereum machine."""
    config = chain_config(ledger)
    return config is not None and config.gas == "evm"


def layers_of(ledger: Ledger) -> Iterator[Layer]:
    """List the layers on a ledger, the outermost first."""
    while isinstance(ledger, Layer):
        yield ledger
        ledger = ledger.inner
