"""Ledger made of blocks: queue, room, fees and finality around any consensus."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.errors import ConfigError, LedgerError
from gridbazaar.ledger_sim.chain.energy import market_energy_kwh, slot_energy_kwh
from gridbazaar.ledger_sim.chain.mempool import Mempool
from gridbazaar.ledger_sim.chain.payout import market_payout, slot_payout, slot_slashed
from gridbazaar.ledger_sim.chain.queueing import assign_blocks, assign_by_gas, tie_order
from gridbazaar.ledger_sim.chain.ranking import rising
from gridbazaar.ledger_sim.chain.room import room_of
from gridbazaar.ledger_sim.chain.state import ChainState
from gridbazaar.ledger_sim.chain.timeline import Timeline
from gridbazaar.ledger_sim.consensus.block_times import Blocks
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus
from gridbazaar.ledger_sim.fees.protocol import Usage
from gridbazaar.ledger_sim.fees.protocol import make as make_fees
from gridbazaar.ledger_sim.gas import transaction_gas_cap
from gridbazaar.ledger_sim.gas_schedule import schedule_of
from gridbazaar.ledger_sim.proposals import Proposals
from gridbazaar.ledger_sim.protocol import (
    Inclusions,
    MarketReceipts,
    MarketTransactions,
    Receipts,
    Transactions,
    check_deadline,
    check_seed,
    check_started,
)
from gridbazaar.ledger_sim.random_streams import OfSlot

_LATE_SHARE = 0.01
# Several slots at once: fewer operations for one environment, still in the cache for a thousand.
_SLOTS_PER_DRAW = 4


class Blockchain:
    """Carries transactions into the blocks of a consensus.

    Others' traffic takes its mean share of every block. Equal claims are served in a seat order
    that rotates by one seat a slot. A transaction that misses the deadline still takes its place
    and pays; what finds none in the slot waits for the next.

    Delays, blocks and reorganisations are functions of seed, slot and seat, so that a day is fixed
    at reset. On a GPU a step waits for it a few times, to look whether anything queues.
    """

    def __init__(self, consensus: Consensus[ChainConfig]) -> None:
        config = consensus.config
        if config.validators < consensus.minimum_validators:
            raise ConfigError(
                f"ledger.validators is {config.validators}; {config.name} needs at least "
                f"{consensus.minimum_validators}"
            )
        self.config, self.consensus = config, consensus
        self._evm = config.gas == "evm"
        self._schedule = schedule_of(config.gas)
        self._fees = make_fees(config.fees)
        self._timeline = Timeline(consensus)
        self._room = room_of(consensus, self._schedule.order)
        self._seed: Tensor | None = None
        self._mempool = Mempool.empty(0, torch.device("cpu"), self._schedule.order)
        self._slot = self._seats = 0
        self._price: Tensor | float = 0.0
        self._contribution: Tensor | None = None
        self._delay_s = torch.empty(0)
        self._drawn: tuple[int, int] | None = None  # first slot and accounts of these delays

    @property
    def slot_s(self) -> float:
        """Seconds from one submission window's opening to the next."""
        return self.config.slot_s

    def lead_s(self, deadline_s: float) -> float:
        """Return how long before a deadline to send, so that 99 of 100 are in time."""
        delay_s = -math.log(_LATE_SHARE) * self.config.network.submission_delay_s
        return self._timeline.wait_s(deadline_s, _LATE_SHARE) + delay_s + self.consensus.commit_s

    def reset(self, seed: Tensor) -> None:
        """Start a day at slot 0 with an empty mempool; `seed` int64 [B] fixes its randomness."""
        check_seed(seed)
        self._fees.reset(seed)
        empty = Mempool.empty(seed.shape[0], seed.device, self._schedule.order)
        contribution = self.consensus.first_contribution(seed)
        self.state = ChainState(seed.clone(), 0, 0, empty, 0.0, self._fees.state, contribution)

    @property
    def state(self) -> ChainState:
        """All that changes during a day; blocks and delays follow from seed and slot."""
        seed = check_started(self._seed)
        return ChainState(
            seed,
            self._slot,
            self._seats,
            self._mempool,
            self._price,
            self._fees.state,
            self._contribution,
        )

    @state.setter
    def state(self, state: ChainState) -> None:
        if state.seed is not self._seed:
            self._drawn = None
        self._seed, self._slot, self._seats = state.seed, state.slot, state.seats
        self._mempool, self._price, self._fees.state = state.mempool, state.price, state.fees
        self._contribution = state.contribution
        self._timeline.reset(state.seed)

    def step(self, transactions: Transactions, deadline_s: float) -> Receipts:
        """Carry one slot's transactions; see `gridbazaar.ledger_sim.protocol.Ledger.step`."""
        seed = self._check(transactions, deadline_s)
        sent, submitted_s = transactions.sent, transactions.submitted_s.double()
        self._timeline.forget(self._slot)
        blocks = self._timeline.blocks(self._slot, deadline_s)
        arrival_s = (submitted_s + self._delays(seed)).masked_fill_(~sent, torch.inf)
        first_new = self._mempool.width
        pool = self._mempool.joined(arrival_s, transactions.tip, self._slot, transactions.gas)
        order = tie_order(first_new, self._seats, self._slot)
        block = self._assign(pool, order, blocks)
        block_s = blocks.time_s(block)
        on_chain = block_s < torch.inf
        waiting = (pool.arrival_s < torch.inf).logical_and_(~on_chain)
        fee, base = self._charge(pool, block, on_chain, waiting, blocks)
        burned_share = self._fees.burned_share
        burned = base.sum(dim=1) * burned_share
        minted, incomes = slot_payout(
            self.consensus, seed, self._slot, fee - base * burned_share, block, blocks
        )
        own_fee, own_block = fee[:, first_new:], block[:, first_new:]
        earlier = self._earlier(on_chain, block_s, fee, pool) if first_new else None
        if earlier is not None:
            own_fee = own_fee.index_put(
                (earlier.environment, earlier.seat), earlier.fee, accumulate=True
            )
        like = fee.new_zeros(sent.shape[0])
        made = self._made(block, on_chain, blocks)
        network = self.config.network
        header_bytes = like + made * network.message_bytes
        final_s = self._timeline.final_s(self._slot, deadline_s)
        reverted = self._timeline.reverted(self._slot, deadline_s, final_s)
        loaded_s = self.consensus.confirmation_s(sent.sum(dim=1) / self.slot_s)
        energy_kwh = slot_energy_kwh(self.consensus, on_chain, self._gas_of(pool))
        work = self.consensus.work_left(self._contribution)
        slashed = slot_slashed(self.consensus, seed, self._slot)
        self._mempool = pool.carried(waiting, order, self.slot_s)
        self._slot += 1
        return Receipts(
            included=own_block < blocks.closing,
            latency_s=(block_s[:, first_new:] - submitted_s)
            .clamp_(min=0)
            .to(transactions.submitted_s.dtype),
            fee=own_fee,
            finality_s=(final_s - deadline_s + loaded_s).to(like),
            reverted=reverted,
            base_fee=like + self._price * self._schedule.order,
            backlog=waiting.sum(dim=1),
            burned=burned,
            validator_income=fee.sum(dim=1) - burned,
            messages=like + made * self.consensus.block_messages,
            energy_kwh=(like + energy_kwh * work).to(like.dtype),
            earlier=earlier,
            minted=minted,
            incomes=incomes,
            slashed=slashed,
            stored_bytes=header_bytes + on_chain.sum(dim=1) * network.transaction_bytes,
            header_bytes=header_bytes,
        )

    def submit_market(self, market: MarketTransactions) -> MarketReceipts:
        """Write the clearing and settlement; see `Ledger.submit_market`.

        Each round of messages waits for the blocks that hold it. The market's own transactions go
        ahead of the next slot's orders and take no room from them.
        """
        rounds, messages = market.rounds, market.messages
        schedule, interval_s = self._schedule, self.consensus.interval_s
        settled, settlement = market.settled, market.gas
        if settlement is None:
            settlement = settled * schedule.settlement(
                market.orders, market.traders, market.contract
            )
        gas = messages * schedule.message + settlement
        per_round = messages * schedule.message / rounds.clamp(min=1)
        room = self._room.gas
        blocks = rounds * (per_round / room).ceil() + (settlement / room).ceil() - 1
        fee = gas * self._price
        burned = fee * self._fees.burned_share
        fee = fee + settled * self.consensus.solver_reward
        delay_s = blocks.clamp(min=0) * interval_s
        energy_kwh = market_energy_kwh(self.consensus, market.written, gas)
        if market.refused is not None:
            delay_s = delay_s + market.refused * self.consensus.refused_s
            energy_kwh = energy_kwh + market.refused * self.consensus.refused_kwh
        seed, slot = check_started(self._seed), self._slot - 1
        work, metered_kwh = self.consensus.work_left(self._contribution), market.metered_kwh
        self._contribution = self.consensus.contribution(self._contribution, metered_kwh)
        return MarketReceipts(
            fee=fee,
            burned=burned,
            delay_s=delay_s,
            transactions=market.written,
            energy_kwh=(energy_kwh * work).to(messages.dtype),
            incomes=market_payout(self.consensus, seed, slot, fee - burned),
            award=None if metered_kwh is None else self.consensus.award_eur(metered_kwh),
            stored_bytes=market.written * self.config.network.transaction_bytes,
        )

    def proposals(self) -> Proposals | None:
        """Return who proposes the clearing of the slot that `step` carried last."""
        return self.consensus.proposals(check_started(self._seed), self._slot - 1)

    def _check(self, transactions: Transactions, deadline_s: float) -> Tensor:
        seed = check_started(self._seed)
        check_deadline(deadline_s, self.slot_s)
        transactions.check(seed.shape[0], self.slot_s)
        seats = transactions.sent.shape[1]
        if self._slot and seats != self._seats:
            raise LedgerError(
                f"{seats} accounts, but {self._seats} since reset; the number stays for the day"
            )
        taken = transactions.gas
        most = self._room.most_gas
        if taken is not None and taken.numel() and float(taken.max()) > most:
            raise LedgerError(
                f"a transaction takes {float(taken.max()):,.0f} gas; {self.config.name} takes one "
                f"of at most {most:,.0f}: others leave {self._room.gas:,.1f} of a block's "
                f"{self.consensus.block_gas:,.0f}"
                + (f", and EIP-7825 allows {transaction_gas_cap():,.0f}" if self._evm else "")
            )
        self._seats = seats
        return seed

    def _delays(self, seed: Tensor) -> Tensor | float:
        """Return s from submission to what a block may take, float64 [B, N] or one for all."""
        network, commit_s = self.config.network, self.consensus.commit_s
        if not network.submission_delay_s:
            return commit_s
        place = self._slot % _SLOTS_PER_DRAW
        first = self._slot - place
        if self._drawn != (first, self._seats):
            shape = (_SLOTS_PER_DRAW, self._seats)
            draw = randomness.uniform(
                randomness.fold(seed, first), OfSlot.SUBMISSION, shape, torch.float64
            )
            self._delay_s = draw.log_().mul_(-network.submission_delay_s).add_(commit_s)
            self._drawn = first, self._seats
        return self._delay_s[:, place]

    def _assign(self, pool: Mempool, order: Tensor, blocks: Blocks) -> Tensor:
        """Return the block [B, W + N] of each transaction; any that is not there means none."""
        tip = pool.tip if self.config.queue == "tip" else None
        if pool.gas is not None:
            return assign_by_gas(pool.arrival_s, tip, pool.gas, order, self._room.of_block, blocks)
        return assign_blocks(pool.arrival_s, tip, order, self._room.places, blocks)

    def _gas_of(self, pool: Mempool) -> Tensor | float:
        return self._schedule.order if pool.gas is None else pool.gas

    def _charge(
        self, pool: Mempool, block: Tensor, on_chain: Tensor, waiting: Tensor, blocks: Blocks
    ) -> tuple[Tensor, Tensor]:
        """Return the fee per transaction [B, W + N], and the same without tips."""
        gas, price = self._gas_of(pool), self._fees.flat
        if price is not None:
            self._price = price
            fee = on_chain.to(pool.tip.dtype).mul_(price * gas)
        else:
            usage = self._usage(gas, block, on_chain, waiting, blocks)
            charge = self._fees.charge(usage)
            self._price = charge.now
            fee = (on_chain * gas).to(pool.tip.dtype)
            if isinstance(charge.price, Tensor):
                index = block.clamp(max=blocks.count - 1).long() if blocks.count else None
                fee = fee * charge.price.to(fee).gather(1, index) if index is not None else fee
            else:
                fee = fee * charge.price
        return (fee if self.config.queue == "fifo" else fee + pool.tip * on_chain), fee

    def _usage(
        self, gas: Tensor | float, block: Tensor, on_chain: Tensor, waiting: Tensor, blocks: Blocks
    ) -> Usage:
        """Return how full each block was."""
        batch, count = len(block), blocks.count
        taken = on_chain.double() * gas
        index = torch.where(on_chain, block, count).clamp(max=count).long()
        used = taken.new_zeros(batch, count + 1).scatter_add_(1, index, taken)[:, :count]
        number = torch.arange(count, dtype=torch.float64, device=block.device).expand(batch, -1)
        config = self.config
        return Usage(
            gas=used,
            exists=blocks.time_s(number) < torch.inf,
            waiting=(waiting.double() * gas).sum(1),
            background=config.background_gas_per_s * self.consensus.interval_s,
            limit=self.consensus.block_gas,
        )

    def _made(self, block: Tensor, on_chain: Tensor, blocks: Blocks) -> Tensor | float:
        """Return the blocks on which validators agreed, [B] or the same for all.

        Where they wait for something to put in, others' traffic is a Poisson process of orders.
        """
        if self.consensus.empty_blocks:
            return blocks.mean_count
        held = rising(block.masked_fill(~on_chain, -1.0).long())
        own = (held[:, 0] >= 0) + (held[:, 1:] > held[:, :-1]).sum(dim=1)
        others = self.config.background_gas_per_s * self.consensus.interval_s / self._schedule.order
        return own + (blocks.mean_count - own) * -math.expm1(-others)

    @staticmethod
    def _earlier(on_chain: Tensor, block_s: Tensor, fee: Tensor, pool: Mempool) -> Inclusions:
        """List the transactions of earlier slots that came into a block."""
        old = on_chain & (pool.slot < pool.slot[:, -1:])
        environment, column = old.nonzero(as_tuple=True)
        at = environment, column
        return Inclusions(environment, pool.seat[at], pool.slot[at], block_s[at], fee[at])
