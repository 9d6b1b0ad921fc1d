"""A chain with a block every few seconds, room for so many transactions, and a flat fee."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ledger_sim import randomness
from ledger_sim.base import (
    Inclusions,
    LedgerConfig,
    LedgerError,
    Receipts,
    Transactions,
    check_deadline,
    check_seed,
)
from ledger_sim.mempool import Mempool
from ledger_sim.queueing import assign_blocks, slot_blocks, tie_order
from ledger_sim.registry import register

_DELAY, _REORGANISATION = 0, 1
# Several slots at once: fewer operations for one environment, still in the cache for a thousand.
_SLOTS_PER_DRAW = 4


class BlockConfig(LedgerConfig):
    """Parameters of the block ledger; values and their sources are in configs/ledger/block.yaml."""

    interval_s: float = Field(ge=1e-3, description="s between blocks")
    capacity_tx: float = Field(
        ge=1, allow_inf_nan=True, description="transactions per block; .inf for no limit"
    )
    background_tx_per_s: float = Field(ge=0, description="tx/s of others' traffic, served first")
    queue: Literal["fifo", "tip"] = Field(
        description="fifo: by arrival, tips are not charged; tip: highest first, then by arrival"
    )
    base_fee: float = Field(ge=0, description="currency per transaction in a block")
    burned_share: float = Field(ge=0, le=1, description="of the base fee, 1; validators get 1 - it")
    confirmations: int = Field(ge=0, description="blocks that must follow a block to make it final")
    reorganisation_probability: float = Field(
        ge=0, le=1, description="1 per slot, that its settlement is reorganised away"
    )
    submission_delay_s: float = Field(
        ge=0, description="s, mean of the exponential delay from sender to mempool"
    )

    @model_validator(mode="after")
    def _leaves_room(self) -> BlockConfig:
        if math.isnan(self.capacity_tx) or self.places_per_block <= 0:
            raise ValueError(
                f"background_tx_per_s {self.background_tx_per_s} x interval_s {self.interval_s} "
                f"fills capacity_tx {self.capacity_tx}; it must leave room in the blocks"
            )
        return self

    @property
    def places_per_block(self) -> float:
        """Transactions per block that the background leaves room for; may be a fraction or inf."""
        return self.capacity_tx - self.background_tx_per_s * self.interval_s


@register("block", BlockConfig)
class BlockLedger:
    """Blocks at a fixed interval with limited room, a flat fee, and finality some blocks later.

    Others' traffic takes its mean share of every block. Equal claims are served in a seat order
    that rotates by one seat a slot. A transaction that misses the deadline still takes its place
    and pays; what finds none in the slot waits for the next.

    Delays and reorganisations are functions of seed, slot and seat, so that a day is fixed at
    reset. On a GPU a step waits for it a few times, to look whether anything queues.
    """

    def __init__(self, config: BlockConfig) -> None:
        self.config = config
        self._seed: Tensor | None = None
        self._mempool = Mempool.empty(0, torch.device("cpu"))
        self._slot = 0
        self._seats = 0
        self._delay_s = self._reverted = torch.empty(0)

    @property
    def slot_s(self) -> float:
        """Seconds from one submission window's opening to the next."""
        return self.config.slot_s

    def reset(self, seed: Tensor) -> None:
        """Start a day at slot 0 with an empty mempool; `seed` int64 [B] fixes its randomness."""
        check_seed(seed)
        self._seed = seed.clone()
        self._mempool = Mempool.empty(seed.shape[0], seed.device)
        self._slot = 0
        self._seats = 0

    def step(self, transactions: Transactions, deadline_s: float) -> Receipts:
        """Carry one slot's transactions; see `ledger_sim.base.Ledger.step`."""
        self._check(transactions, deadline_s)
        delay_s, reverted = self._draws()
        sent, submitted_s = transactions.sent, transactions.submitted_s.double()
        blocks = slot_blocks(self._slot, self.slot_s, self.config.interval_s, deadline_s)
        arrival_s = (submitted_s + delay_s).masked_fill_(~sent, torch.inf)
        first_new = self._mempool.width
        pool = self._mempool.joined(arrival_s, transactions.tip, self._slot)
        order = tie_order(first_new, self._seats, self._slot)
        tip = pool.tip if self.config.queue == "tip" else None
        block = assign_blocks(pool.arrival_s, tip, order, self.config.places_per_block, blocks)
        on_chain = block < blocks.count
        own_block, own_on_chain = block[:, first_new:], on_chain[:, first_new:]
        latency_s = (blocks.time_s(own_block) - submitted_s).clamp_(min=0)
        fee, burned, income = self._charge(on_chain, pool)
        earlier = self._earlier(on_chain, blocks.time_s(block), fee, pool) if first_new else None
        own_fee = fee[:, first_new:]
        if earlier is not None:
            own_fee = own_fee.index_put(
                (earlier.environment, earlier.seat), earlier.fee, accumulate=True
            )
        waiting = (pool.arrival_s < torch.inf).logical_and_(~on_chain)
        self._mempool = pool.carried(waiting, order, self.slot_s)
        self._slot += 1
        like = fee.new_empty(sent.shape[0])
        final_s = blocks.time_s(blocks.closing + self.config.confirmations)
        return Receipts(
            included=own_block < blocks.closing,
            latency_s=latency_s.masked_fill_(~own_on_chain, torch.inf).to(
                transactions.submitted_s.dtype
            ),
            fee=own_fee,
            finality_s=torch.full_like(like, final_s - deadline_s),
            reverted=reverted,
            base_fee=torch.full_like(like, self.config.base_fee),
            backlog=waiting.sum(dim=1),
            burned=burned,
            validator_income=income,
            earlier=earlier,
        )

    def _check(self, transactions: Transactions, deadline_s: float) -> None:
        if self._seed is None:
            raise LedgerError("step() before reset(); call reset(seed) at the start of a day")
        check_deadline(deadline_s, self.slot_s)
        transactions.check(self._seed.shape[0], self.slot_s)
        seats = transactions.sent.shape[1]
        if self._slot and seats != self._seats:
            raise LedgerError(
                f"{seats} accounts, but {self._seats} since reset; the number stays for the day"
            )
        self._seats = seats

    def _draws(self) -> tuple[Tensor | float, Tensor]:
        """Return this slot's delays in seconds (float64 [B, N], or 0) and reorganisations [B]."""
        assert self._seed is not None
        place = self._slot % _SLOTS_PER_DRAW
        if place == 0:
            seed = randomness.fold(self._seed, self._slot)
            mean_s = self.config.submission_delay_s
            if mean_s:
                shape = (_SLOTS_PER_DRAW, self._seats)
                draw = randomness.uniform(seed, _DELAY, shape, torch.float64)
                self._delay_s = draw.log_().mul_(-mean_s)
            draw = randomness.uniform(seed, _REORGANISATION, (_SLOTS_PER_DRAW,), torch.float64)
            self._reverted = draw < self.config.reorganisation_probability
        delay_s = self._delay_s[:, place] if self.config.submission_delay_s else 0.0
        return delay_s, self._reverted[:, place]

    def _charge(self, on_chain: Tensor, pool: Mempool) -> tuple[Tensor, Tensor, Tensor]:
        """Return the fee per transaction [B, W + N], and what is burned and earned of it [B]."""
        base_fee, burned_share = self.config.base_fee, self.config.burned_share
        count = on_chain.sum(dim=1).to(pool.tip.dtype)
        burned, income = count * (base_fee * burned_share), count * (base_fee * (1 - burned_share))
        if self.config.queue == "fifo":
            return on_chain.to(pool.tip.dtype).mul_(base_fee), burned, income
        income += (pool.tip * on_chain).sum(dim=1)
        return (pool.tip + base_fee).mul_(on_chain), burned, income

    @staticmethod
    def _earlier(on_chain: Tensor, block_s: Tensor, fee: Tensor, pool: Mempool) -> Inclusions:
        """List the transactions of earlier slots that came into a block."""
        old = on_chain & (pool.slot < pool.slot[:, -1:])
        environment, column = old.nonzero(as_tuple=True)
        at = environment, column
        return Inclusions(environment, pool.seat[at], pool.slot[at], block_s[at], fee[at])
