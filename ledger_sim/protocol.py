"""Ledger protocol and its data types: transactions in, receipts out."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Config
from gridbazaar.errors import LedgerError


class LedgerConfig(Config):
    """What every ledger's configuration holds; a kind of ledger adds its own parameters."""

    name: str = Field(description="registered kind of ledger")
    slot_s: float = Field(
        gt=0,
        le=64_800,  # within which `gridbazaar.ledger_sim.chain.ranking` tells times apart
        description="time between two submission windows' openings",
        json_schema_extra={"unit": "s"},
    )
    layers: list[str | dict[str, Any]] = Field(
        description="what is built on top, the lowest first: names, or names with parameters"
    )


@dataclass(frozen=True, slots=True)
class Transactions:
    """At most one transaction per account and slot.

    Attributes:
        sent: bool [B, N], whether the account submits one.
        submitted_s: float [B, N], seconds since the slot's submission window opened, from 0 to the
            slot's length. Ignored where nothing is sent, but finite.
        tip: float [B, N], currency offered on top of the base fee for a place ahead in the queue.
        gas: float [B, N], room that each takes in a block; None: what an order takes.
        amount: float [B, N], currency that the sender may have to pay at most for what it orders;
            None: nobody asks.
    """

    sent: Tensor
    submitted_s: Tensor
    tip: Tensor
    gas: Tensor | None = None
    amount: Tensor | None = None

    def __post_init__(self) -> None:
        shape = self.sent.shape
        if self.sent.dtype is not torch.bool:
            raise LedgerError(f"sent has dtype {self.sent.dtype}; it must be torch.bool")
        if len(shape) != 2 or self.submitted_s.shape != shape or self.tip.shape != shape:
            raise LedgerError(
                f"sent {tuple(shape)}, submitted_s {tuple(self.submitted_s.shape)} and tip "
                f"{tuple(self.tip.shape)} must share one shape [B, N]"
            )
        if self.gas is not None and self.gas.shape != shape:
            raise LedgerError(f"gas {tuple(self.gas.shape)} must have the shape {tuple(shape)}")
        if self.amount is not None and self.amount.shape != shape:
            raise LedgerError(
                f"amount {tuple(self.amount.shape)} must have the shape {tuple(shape)}"
            )

    def check(self, batch: int, slot_s: float) -> None:
        """Raise `LedgerError` unless B is `batch` and all times and tips are possible."""
        if self.sent.shape[0] != batch:
            raise LedgerError(
                f"transactions of {self.sent.shape[0]} environments, but reset() was given "
                f"{batch} seeds; both must have the same length B"
            )
        _check_range("submitted_s", self.submitted_s, slot_s, "the slot's length in seconds")
        _check_range("tip", self.tip)
        if self.gas is not None:
            _check_range("gas", self.gas)


def _within(value: Tensor, highest: float) -> bool:
    """Return whether all values lie in [0, highest]."""
    if value.numel() == 0:
        return True
    low, high = torch.aminmax(value)
    # A NaN anywhere makes both extremes NaN, and so fails the comparison.
    return bool(low.item() >= 0 and high.item() <= highest)


def _check_range(
    name: str,
    value: Tensor,
    highest: float = sys.float_info.max,
    meaning: str = "a finite amount",
) -> None:
    if not _within(value, highest):
        # In float64, so that `highest` is not rounded up to infinity.
        wrong = ~((value >= 0) & (value.double() <= highest))
        raise LedgerError(
            f"{name}{wrong.nonzero()[0].tolist()} is {value[wrong][0].item()}; allowed is 0 to "
            f"{highest:g} ({meaning})"
        )


def together(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Return the sum of two figures, either of which may not be there."""
    if one is None or other is None:
        return other if one is None else one
    return one + other.to(one)


def check_deadline(deadline_s: float, slot_s: float) -> None:
    """Raise `LedgerError` unless the deadline lies within the slot: 0 < deadline_s <= slot_s."""
    if not (math.isfinite(deadline_s) and 0 < deadline_s <= slot_s):
        raise LedgerError(
            f"deadline_s is {deadline_s}; it must lie after the window opens and within the slot: "
            f"0 < deadline_s <= {slot_s:g}"
        )


@dataclass(frozen=True, slots=True)
class Inclusions:
    """Transactions of earlier slots that came into a block in this one, as a flat list of M.

    Attributes:
        environment: int64 [M], row of the batch.
        seat: int64 [M], account that sent it.
        slot: int64 [M], slot in which it was sent, counted from reset.
        block_s: float [M], its block's time in seconds since this slot's window opened.
        fee: float [M], currency charged; part of `Receipts.fee` of this slot.
    """

    environment: Tensor
    seat: Tensor
    slot: Tensor
    block_s: Tensor
    fee: Tensor


@dataclass(frozen=True, slots=True)
class Receipts:
    """Fate of a slot's transactions, and the ledger's charges in that slot.

    A transaction of this slot is in exactly one state: not sent; `included` (in a block by the
    deadline); late (not included, finite latency: in a block of this slot after the deadline); or
    waiting (sent, infinite latency), to be reported in a later slot's `earlier`.

    Attributes:
        included: bool [B, N], in a block no later than the deadline.
        latency_s: float [B, N], seconds from submission to block; inf if not sent or waiting.
        fee: float [B, N], currency charged to the account for all its transactions that came into
            a block in this slot, in time, late, or sent in an earlier slot.
        finality_s: float [B], seconds from the deadline until the block that settles the slot
            is final.
        reverted: bool [B], the slot's settlement was reorganised away.
        base_fee: float [B], currency charged per transaction before tips.
        backlog: int64 [B], transactions waiting at the end of the slot.
        burned: float [B], currency charged that nobody receives.
        validator_income: float [B], currency charged that validators receive; with `burned` it
            adds up to the sum of `fee`.
        messages: float [B], messages among validators in the slot.
        energy_kwh: float [B], that validators used in the slot for this ledger's transactions.
        earlier: the earlier slots' transactions that came into a block now; None if there was no
            backlog in any environment.
        minted: float [B], currency's worth of coins made as rewards for the slot's blocks; None
            where the ledger counts no single validator's income.
        incomes: float64 [B, V], of each validator; adds up to `validator_income` and `minted`.
        slashed: float64 [B, V], currency's worth that each validator's stake lost; None where
            there are no stakes.
        stored_bytes: float [B], that every full node keeps of the slot: the transactions that came
            into a block in it, and the blocks' headers; None where nothing is kept.
        header_bytes: float [B], of it what a lightweight node keeps, the headers.
    """

    included: Tensor
    latency_s: Tensor
    fee: Tensor
    finality_s: Tensor
    reverted: Tensor
    base_fee: Tensor
    backlog: Tensor
    burned: Tensor
    validator_income: Tensor
    messages: Tensor
    energy_kwh: Tensor
    earlier: Inclusions | None = None
    minted: Tensor | None = None
    incomes: Tensor | None = None
    slashed: Tensor | None = None
    stored_bytes: Tensor | None = None
    header_bytes: Tensor | None = None


# What of a market a contract does, beside settling it (IOT Table III). auction: it matches a sorted
# book at one price; pairs: it matches it at a price for each pair; checked: it checks what was
# cleared elsewhere; none: it settles alone.
Contract = Literal["auction", "pairs", "checked", "none"]


@dataclass(frozen=True, slots=True)
class MarketTransactions:
    """Transactions of the market itself, once a slot's orders are in: its messages and settlement.

    Where nobody trades, there is no settlement.

    Attributes:
        rounds: float [B], rounds of messages that its clearing took, one after the other.
        messages: float [B], messages in all rounds.
        orders: float [B], orders in the book.
        traders: float [B], accounts that trade.
        gas: float [B], what clearing and settlement take, and what is written beside them; 0 for
            none; None: as the ledger counts.
        beside: float [B], transactions that are written beside the settlement, a layer's sums say;
            None: none.
        refused: float [B], proposals of a clearing that were checked and refused before the one
            that is settled; None: the first one is.
        metered_kwh: float [B, N], what each account fed in (positive) or took in the interval that
            was metered last; None: the ledger sees no meter.
        contract: what the contract does of the clearing.
        payments: float [B, N], currency that each account receives (positive) or pays; None: the
            ledger does not see them.
    """

    rounds: Tensor
    messages: Tensor
    orders: Tensor
    traders: Tensor
    gas: Tensor | None = None
    beside: Tensor | None = None
    refused: Tensor | None = None
    metered_kwh: Tensor | None = None
    contract: Contract = "auction"
    payments: Tensor | None = None

    def __post_init__(self) -> None:
        names = ("rounds", "messages", "orders", "traders", "gas", "beside", "refused")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        for name, value in given.items():
            if value.shape != self.rounds.shape:
                raise LedgerError(
                    f"{name} {tuple(value.shape)} must have the shape {tuple(self.rounds.shape)}"
                )
        # One look at all of them where all is well.
        if not _within(torch.stack([*given.values()]), sys.float_info.max):
            for name, value in given.items():
                _check_range(name, value)
        if self.metered_kwh is not None and not self.metered_kwh.isfinite().all():
            raise LedgerError("metered_kwh holds what is no number; a reading is finite")

    @property
    def settled(self) -> Tensor:
        """Whether clearing and settlement are written, [B] of 0 and 1."""
        return ((self.traders if self.gas is None else self.gas) > 0).to(self.messages)

    @property
    def written(self) -> Tensor:
        """Number of transactions, [B]: messages, settlement and what stands beside it."""
        written = self.messages + self.settled
        return written if self.beside is None else written + self.beside

    def and_beside(self, gas: Tensor, more: Tensor) -> MarketTransactions:
        """Return them with `more` [B] transactions beside, and what all take then, [B]."""
        return replace(self, gas=gas, beside=more if self.beside is None else self.beside + more)


@dataclass(frozen=True, slots=True)
class MarketReceipts:
    """Cost and delay of a slot's `MarketTransactions`.

    Attributes:
        fee: float [B], currency; part of it is `burned`.
        burned: float [B], currency that nobody receives.
        delay_s: float [B], by how much later than `Receipts.finality_s` says all is final.
        transactions: float [B], number of transactions written.
        energy_kwh: float [B], on top of `Receipts.energy_kwh`.
        incomes: float64 [B, V], of each validator; adds up to `fee` less `burned`. None as there.
        award: float64 [B, N], currency's worth of coins made for accounts that fed energy in; None
            where the ledger makes none.
        stored_bytes: float [B], on top of `Receipts.stored_bytes`; None as there.
    """

    fee: Tensor
    burned: Tensor
    delay_s: Tensor
    transactions: Tensor
    energy_kwh: Tensor
    incomes: Tensor | None = None
    award: Tensor | None = None
    stored_bytes: Tensor | None = None


class Ledger(Protocol):
    """Carries mempool and chain state of B environments from slot to slot.

    A registered kind of ledger has its parameters' class as `Config` and is built from one.
    """

    @property
    def slot_s(self) -> float:
        """Seconds from one submission window's opening to the next."""

    def lead_s(self, deadline_s: float) -> float:
        """Return how long before a deadline to send, so that 99 of 100 are in time.

        That is where nothing queues and all validators are there; it may exceed `deadline_s`.
        """

    @property
    def state(self) -> Any:
        """All that changes during a day, as one value that is never changed in place.

        A nest for `gridbazaar.rows`: tensors with a row for each of the B environments, and what
        all of them share, such as the slot's number. Set it to go on from there, in this ledger or
        in another of the same configuration; B follows.

        Raises:
            LedgerError: when read before `reset`.
        """

    @state.setter
    def state(self, state: Any) -> None: ...

    def reset(self, seed: Tensor) -> None:
        """Start a new day: empty mempool, slot 0; `seed` int64 [B] fixes all of its randomness."""

    def step(self, transactions: Transactions, deadline_s: float) -> Receipts:
        """Carry one slot's transactions.

        Args:
            transactions: what the N accounts of each environment submit.
            deadline_s: gate closure in seconds since the window opened, 0 < deadline_s <= slot_s.

        Raises:
            LedgerError: before `reset`, or on impossible times, tips, shapes or deadlines.
        """

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write the clearing and the settlement of the slot that `step` carried last.

        Args:
            market: what the market's own transactions are, [B].
        """


def check_started(seed: Tensor | None) -> Tensor:
    """Return the day's seeds, int64 [B]; raise `LedgerError` where `reset` was given none yet."""
    if seed is None:
        raise LedgerError("step() or state before reset(); call reset(seed) as a day starts")
    return seed


def check_seed(seed: Tensor) -> None:
    """Raise `LedgerError` unless `seed` is an int64 tensor [B]."""
    if seed.dtype is not torch.int64 or seed.dim() != 1:
        raise LedgerError(
            f"seed has dtype {seed.dtype} and shape {tuple(seed.shape)}; it must be torch.int64 "
            "of shape [B], one seed per environment"
        )
