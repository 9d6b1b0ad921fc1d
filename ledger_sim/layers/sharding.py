"""Sharding: several chains side by side, and what it takes to trade across them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.ledger_sim import gas
from gridbazaar.ledger_sim.layers.pending import PendingOrders
from gridbazaar.ledger_sim.layers.protocol import LAYERS, Layer, LayerConfig, chain_config
from gridbazaar.ledger_sim.protocol import (
    Inclusions,
    Ledger,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
    check_seed,
)
from gridbazaar.ledger_sim.random_streams import OfDay, OfSlot
from gridbazaar.rows import pick_rows, replace_rows


class ShardingConfig(LayerConfig):
    """Parameters of the sharding."""

    shards: int = Field(ge=1, le=1000, description="S", json_schema_extra={"unit": "1"})
    boss: bool = Field(
        default=False,
        description="whether one more shard verifies the others' blocks and merges them",
    )


@dataclass(frozen=True, slots=True)
class ShardStates:
    """The state of all shards of all environments, with S rows of its own for a row of others.

    Attributes:
        shards: S.
        ledger: the state of a ledger of B x S environments.
    """

    shards: int
    ledger: Any

    def pick_rows(self, rows: Tensor) -> ShardStates:
        """Return the shards of some environments, int64 [R]."""
        return ShardStates(self.shards, pick_rows(self.ledger, self._of(rows)))

    def replace_rows(self, rows: Tensor, other: ShardStates) -> ShardStates:
        """Return the shards with those of some environments, int64 [R], replaced."""
        replaced = replace_rows(self.ledger, self._of(rows), other.ledger)
        return ShardStates(self.shards, replaced)

    def _of(self, rows: Tensor) -> Tensor:
        shard = torch.arange(self.shards, device=rows.device)
        return (rows.unsqueeze(1) * self.shards + shard).flatten()


@LAYERS.register("sharding")
class Sharding(Layer):
    """S copies of the ledger carry the seats between them; trades across shards pay and wait twice

    Each shard is a full copy of the ledger beneath, with its own validators, blocks and queue, so
    that room and energy are S times as large. A seat's home is drawn for the day. An order meets a
    counterpart in another shard with probability 1 - 1/S: such an order takes twice the gas, bytes
    and energy (the second half stands for the shard that it goes to, and weighs on its own, which
    is as busy), and comes in after twice the time that its own shard took. Each shard settles its
    part, with the same share across shards.

    With `boss`, the shards' blocks are sub-blocks (EPS 8): one more copy of the ledger, which no
    seat is at home in, verifies them and merges them into the final block, one transaction a slot.
    It costs its own energy and messages, and its finality comes on top of the shards'.
    """

    Config = ShardingConfig

    def __init__(self, inner: Ledger, config: ShardingConfig) -> None:
        super().__init__(inner)
        self.config = config
        self._copies = config.shards + config.boss
        chain = chain_config(inner)
        self._half_kwh = (chain and chain.transaction_energy_kwh) or 0.0
        self._half_bytes = chain.network.transaction_bytes if chain else 0.0

    def reset(self, seed: Tensor) -> None:
        """Start a day in every shard; `seed` int64 [B]. Shard 0 has the seed itself."""
        check_seed(seed)
        shards = self._copies
        number = torch.arange(shards, device=seed.device).repeat(len(seed))
        each = seed.repeat_interleave(shards)
        super().reset(seed)
        self.inner.reset(
            torch.where(number == 0, each, randomness.fold(each, number + (OfDay.SHARD << 32)))
        )
        self._in_shard = PendingOrders.none(seed.device)  # with the times when they were sent
        self._between = PendingOrders.none(seed.device)

    def _get_parts(self) -> Any:
        shards = ShardStates(self._copies, self.inner.state)
        return shards, self._in_shard, self._between

    def _set_parts(self, parts: Any) -> None:
        shards, self._in_shard, self._between = parts
        self.inner.state = shards.ledger

    def lead_s(self, deadline_s: float) -> float:
        """Return the time that an order across shards takes.

        Its own shard has half of the time, so that it must be done as long before the deadline
        as it takes from sending.
        """
        half_s = super().lead_s(deadline_s)
        if self.config.shards == 1:
            return half_s
        while (needed_s := super().lead_s(deadline_s - half_s)) > half_s:
            half_s = needed_s
        return half_s + needed_s

    def crosses(self, environment: Tensor, seat: Tensor, slot: Tensor | int) -> Tensor:
        """Return which orders trade across shards, bool of the shape that the arguments share."""
        own = randomness.fold(
            self.seed[environment].reshape(-1), (slot * self._seats + seat).reshape(-1)
        )
        draw = randomness.uniform(own, OfSlot.CROSS, [], torch.float64)
        return draw.view(environment.shape) >= 1 / self.config.shards

    def _carry(self, transactions: Transactions, deadline_s: float) -> Receipts:
        shards, copies, seats = self.config.shards, self._copies, self._seats
        batch, device = len(self.seed), transactions.sent.device
        row = torch.arange(batch, device=device).unsqueeze(1).expand(batch, seats)
        seat = torch.arange(seats, device=device).expand(batch, seats)
        cross = self.crosses(row, seat, self.slot) if shards > 1 else transactions.sent & False
        home = (
            randomness.uniform(self.seed, OfDay.HOME, (seats,), torch.float64).mul_(shards).long()
        )
        at_home = home.unsqueeze(1) == torch.arange(copies, device=device).view(1, -1, 1)
        got = self.inner.step(self._spread(transactions, cross, at_home), deadline_s)

        def one(value: Tensor) -> Tensor:
            return value.view(batch, copies, seats).gather(1, home.unsqueeze(1)).squeeze(1)

        start_s, submitted_s = self.slot * self.slot_s, transactions.submitted_s.double()
        first_s = one(got.latency_s)
        latency_s = torch.where(cross, 2 * first_s, first_s)
        block_s = submitted_s + latency_s.double()
        beyond = (block_s > self.slot_s) & (block_s < torch.inf) & cross
        halves = (cross & (first_s < torch.inf)).sum(1)
        earlier, late_halves = self._earlier(got.earlier)
        if late_halves is not None:
            halves = halves + late_halves
        self._between = self._between.with_seats(beyond, self.slot, block_s + start_s)
        self._in_shard = self._in_shard.with_seats(
            transactions.sent & (first_s == torch.inf), self.slot, submitted_s + start_s
        )
        per_shard = got.fee.view(batch, copies, seats)
        return Receipts(
            included=one(got.included) & (~cross | (block_s <= deadline_s)),
            latency_s=latency_s.masked_fill(beyond, torch.inf),
            fee=per_shard.sum(1),
            finality_s=self._finality_s(self._of_shards(got.finality_s)),
            reverted=self._of_shards(got.reverted).any(1),
            base_fee=self._of_shards(got.base_fee)[:, :shards].mean(1),
            backlog=self._of_shards(got.backlog).sum(1)
            + torch.bincount(self._between.environment, minlength=batch),
            burned=self._of_shards(got.burned).sum(1),
            validator_income=self._of_shards(got.validator_income).sum(1),
            messages=self._of_shards(got.messages).sum(1),
            energy_kwh=self._of_shards(got.energy_kwh).sum(1) + halves * self._half_kwh,
            earlier=earlier,
            minted=self._summed(got.minted),
            incomes=self._accounts(got.incomes),
            slashed=self._accounts(got.slashed),
            stored_bytes=self._summed(got.stored_bytes, halves * self._half_bytes),
            header_bytes=self._summed(got.header_bytes),
        )

    def _accounts(self, of_shards: Tensor | None) -> Tensor | None:
        """Return the accounts of all shards' validators, [B, S V] from [B S, V]."""
        return None if of_shards is None else of_shards.reshape(len(self.seed), -1)

    def _summed(self, value: Tensor | None, more: Tensor | float = 0.0) -> Tensor | None:
        return None if value is None else self._of_shards(value).sum(1) + more

    def _finality_s(self, of_copies: Tensor) -> Tensor:
        """Return when a slot is final, [B] from [B, copies]: its sub-blocks, then the boss's."""
        shards = self.config.shards
        final_s = of_copies[:, :shards].amax(1) * (2 if shards > 1 else 1)
        return final_s + of_copies[:, shards] if self.config.boss else final_s

    def _spread(self, all_orders: Transactions, cross: Tensor, at_home: Tensor) -> Transactions:
        """Return the orders by shard, [B S, N]."""
        copies, taken = self._copies, all_orders.gas
        if self.config.shards > 1:
            taken = self.order_gas(all_orders) * (1 + cross.to(all_orders.tip))
        return Transactions(
            sent=(all_orders.sent.unsqueeze(1) & at_home).flatten(0, 1),
            submitted_s=all_orders.submitted_s.repeat_interleave(copies, 0),
            tip=all_orders.tip.repeat_interleave(copies, 0),
            gas=None if taken is None else taken.repeat_interleave(copies, 0),
        )

    def _earlier(self, came: Inclusions | None) -> tuple[Inclusions | None, Tensor | None]:
        """Return earlier slots' orders that come in now: directly, or from another shard.

        Beside them, how many across shards [B] came into a block of their own; None: none.
        """
        start_s = self.slot * self.slot_s
        ready, self._between = self._between.released(start_s, start_s + self.slot_s)
        if came is None:
            return ready, None
        environment = came.environment // self._copies
        found = self._in_shard.find(environment, came.seat, came.slot)
        wait_s = came.block_s.double() + start_s - self._in_shard.time_s[found]
        still = torch.ones_like(self._in_shard.seat, dtype=torch.bool).index_fill(0, found, False)
        self._in_shard = self._in_shard.of(still)
        cross = self.crosses(environment, came.seat, came.slot)
        block_s = came.block_s + torch.where(cross, wait_s, 0.0).to(came.block_s)
        here = block_s <= self.slot_s
        later = ~here
        self._between = self._between.joined(
            environment[later], came.seat[later], came.slot[later],
            block_s[later].double() + start_s,
        )  # fmt: skip
        direct = Inclusions(
            environment[here], came.seat[here], came.slot[here], block_s[here], came.fee[here]
        )
        halves = torch.bincount(environment[cross], minlength=len(self.seed))
        return direct if ready is None else _together(direct, ready), halves

    def _of_shards(self, value: Tensor) -> Tensor:
        return value.view(-1, self._copies)

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Let each shard write its part; what goes across shards pays and waits twice."""
        copies, metered_kwh = self._copies, market.metered_kwh
        if copies == 1:
            return self.inner.submit_market(market)
        takes, shards = market.gas, self.config.shards
        if takes is None and self.config.boss:
            orders, traders = market.orders / shards, market.traders / shards
            takes = shards * self.settlement_gas(replace(market, orders=orders, traders=traders))
        merged = market.settled * self.gas(gas.root_gas()) if self.config.boss else None
        written = self.inner.submit_market(
            MarketTransactions(
                rounds=market.rounds.repeat_interleave(copies),
                messages=self._parts(market.messages),
                orders=self._parts(market.orders),
                traders=self._parts(market.traders),
                gas=None if takes is None else self._parts(takes, merged),
                beside=None if market.beside is None else self._parts(market.beside),
                contract=market.contract,
                # Every shard checks all proposals; what it refuses is in no sub-block.
                refused=None if market.refused is None else self._parts(market.refused * shards),
                # Every shard sees all meters, and makes its part of the award.
                metered_kwh=None
                if metered_kwh is None
                else metered_kwh.repeat_interleave(copies, 0),
            )
        )
        return self._added_up(written)

    def _parts(self, value: Tensor, of_boss: Tensor | None = None) -> Tensor:
        """Return each shard's part of [B] and the boss's own, 0 where nothing is said; [B S]."""
        shards = self.config.shards
        part = (value / shards).repeat_interleave(shards)
        if not self.config.boss:
            return part
        own = torch.zeros_like(value) if of_boss is None else of_boss
        return torch.cat([part.view(-1, shards), own.to(part).unsqueeze(1)], 1).flatten()

    def _added_up(self, written: MarketReceipts) -> MarketReceipts:
        """Return what all shards, and the boss after them, wrote."""
        shards = self.config.shards
        legs = 2 - 1 / shards

        def total(value: Tensor) -> Tensor:
            each = self._of_shards(value)
            return each[:, :shards].sum(1) * legs + each[:, shards:].sum(1)

        delay_s, incomes = self._of_shards(written.delay_s), self._accounts(written.incomes)
        if incomes is not None:
            of_shards = shards * incomes.shape[1] // self._copies
            incomes = torch.cat([incomes[:, :of_shards] * legs, incomes[:, of_shards:]], 1)
        across, count = 2 if shards > 1 else 1, total(written.transactions)
        award, stored = written.award, written.stored_bytes
        return MarketReceipts(
            fee=total(written.fee),
            burned=total(written.burned),
            delay_s=delay_s[:, :shards].amax(1) * across + delay_s[:, shards:].sum(1),
            transactions=count,
            energy_kwh=self._of_shards(written.energy_kwh).sum(1)
            + self._half_kwh * (count - self._of_shards(written.transactions).sum(1)),
            incomes=incomes,
            award=award if award is None else award.view(len(self.seed), self._copies, -1).mean(1),
            stored_bytes=None if stored is None else total(stored),
        )


def _together(one: Inclusions, other: Inclusions) -> Inclusions:
    return Inclusions(
        *(
            torch.cat([getattr(one, name), getattr(other, name).to(getattr(one, name))])
            for name in ("environment", "seat", "slot", "block_s", "fee")
        )
    )
