"""Layer protocol: a ledger around a ledger, how it is named, configured and put on."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from gridbazaar.errors import LedgerError, UnknownNameError
from gridbazaar.ledger_sim import layers
from gridbazaar.ledger_sim.chain import gas
from gridbazaar.ledger_sim.chain.gas_schedule import schedule_of
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig
from gridbazaar.ledger_sim.protocol import (
    Ledger,
    MarketReceipts,
    MarketTransactions,
    Part,
    Receipts,
    Transactions,
    check_deadline,
    check_seed,
    check_started,
    describe_errors,
)
from gridbazaar.registry import Registry
from gridbazaar.sourced import check_units, plain, read_yaml

FOLDER = Path(__file__).parents[2] / "configs" / "layer"
_DAY_S = 86400


class LayerConfig(Part):
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
        inner: the ledger beneath.
        chain: the ledger at the bottom.
        evm: whether the chain counts gas as measured on an Ethereum machine.
        schedule: the chain's gas per kind of transaction.
        slot: number of the slot that `step` carried last, -1 after reset.
    """

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

    def gas(self, measured: float, transactions: float = 1.0) -> float:
        """Return `measured` gas on an evm chain, else the number of transactions."""
        return measured if self.evm else transactions

    def settlement_gas(self, market: MarketTransactions) -> Tensor:
        """Return the gas [B] that clearing and settlement take without this layer."""
        if market.gas is not None:
            return market.gas
        settled = self.schedule.settlement(market.orders, market.traders)
        return settled * (market.traders > 0)

    def clearing_gas(self, market: MarketTransactions) -> Tensor:
        """Return the gas [B] of clearing on the chain, where payments go elsewhere."""
        if self.evm and market.gas is None:
            cleared = gas.clear_gas(market.orders, market.traders, hinted=True)
            return cleared * (market.traders > 0)
        return self.settlement_gas(market)

    def order_gas(self, transactions: Transactions) -> Tensor:
        """Return the gas of each order, [B, N]."""
        if transactions.gas is not None:
            return transactions.gas
        return torch.full_like(transactions.tip, self.schedule.order)


Builder = TypeVar("Builder", bound=Callable[..., Layer])

_KINDS: Registry[Callable[..., Layer]] = Registry("layer")
_CONFIGS: dict[str, type[LayerConfig]] = {}


def layer(name: str, config: type[LayerConfig]) -> Callable[[Builder], Builder]:
    """Class decorator: make a layer known as `name`, built as `kind(ledger, config)`.

    The first line of the class's docstring describes it. A module in `ledger_sim/layers` is found
    by itself; its defaults stand in `configs/layer/<name>.yaml`.
    """

    def enter(kind: Builder) -> Builder:
        _KINDS.register(name)(kind)
        _CONFIGS[name] = config
        return kind

    return enter


@cache
def _import_layers() -> None:
    for module in pkgutil.iter_modules(layers.__path__):
        importlib.import_module(f"{layers.__name__}.{module.name}")


def names() -> list[str]:
    """Return the registered layers, in alphabetical order."""
    _import_layers()
    return _KINDS.names()


def describe() -> dict[str, str]:
    """Return one line for each registered layer."""
    _import_layers()
    return _KINDS.describe()


def wrap(ledger: Ledger, chosen: str | Mapping[str, Any]) -> Layer:
    """Put a layer on a ledger.

    Args:
        ledger: the ledger beneath, itself with layers or not.
        chosen: a name, or a mapping of `name` and those parameters that differ from the YAML's.

    Raises:
        UnknownNameError: for an unknown layer or parameter, with the nearest known one.
        LedgerError: for missing or impossible values, with path, value and what is allowed.
    """
    config = config_of(chosen)
    return _KINDS[config.name](ledger, config)


def config_of(chosen: str | Mapping[str, Any]) -> LayerConfig:
    """Return a layer's validated configuration; argument and errors as for `wrap`."""
    raw: dict[str, Any] = {"name": chosen} if isinstance(chosen, str) else dict(chosen)
    if "name" not in raw:
        raise LedgerError(f"ledger.layers: {raw} has no name; it is one of {', '.join(names())}")
    _import_layers()
    name = str(raw["name"])
    _KINDS[name]  # an unknown one raises here, with the nearest known one
    model = _CONFIGS[name]
    for key in raw:
        if key not in model.model_fields:
            raise UnknownNameError(f"parameter of layer {name!r}", key, model.model_fields)
    path = f"ledger.layers.{name}"
    values = _defaults(name) | raw
    check_units(values, model, path)
    try:
        return model.model_validate(plain(values, path))
    except ValidationError as error:
        raise LedgerError(describe_errors(error, path)) from error


def _defaults(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.yaml"
    if not path.exists():  # a layer from elsewhere brings all its parameters along
        return {}
    return read_yaml(path)


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
