"""Load study of a ledger: transactions at random times through any ledger, measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, consensus_of, exponential_times
from gridbazaar.ledger_sim.gas_schedule import schedule_of
from gridbazaar.ledger_sim.layers.build import make
from gridbazaar.ledger_sim.protocol import LedgerConfig, Transactions
from gridbazaar.ledger_sim.random_streams import OfSlot
from gridbazaar.studies.ledger.distribution import Distribution
from gridbazaar.studies.ledger.load_statistics import LoadStatistics

Watch = Callable[[Iterable[int]], Iterable[int]]

_PER_SLOT = 24_000  # transactions of all seeds: wide enough for tensors, still in the cache
_MOST = 1_000_000_000
# Deadlines at multiples of the golden ratio find every phase of a block clock alike.
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load met; means are over all transactions, days and seeds.

    Attributes:
        ledger: kind of ledger.
        load_per_s: transactions per second that arrive on average.
        hours: simulated, from an empty mempool on.
        seeds: days simulated side by side.
        sent: transactions.
        included: of them, in a block by the end.
        latency: s from sending to block, of the included.
        finality: s from sending until that block is final, of the included.
        backlog: transactions that wait at the end, mean over the seeds.
        fee_eur: of all included; `burned_eur` of it goes to nobody.
        energy_kwh: of the validators in all days.
        blocks: that validators agreed on in all days; nan for a ledger without blocks or messages.
        messages_per_block: among validators.
        capacity_per_s: transactions per second that the blocks have room for; nan with layers,
            which change what goes into blocks.
        reverted_share: of the slots and days, those whose settlement was lost after it was final.
        reversal_probability: what that share tends to by the consensus's closed form, without
            faults; nan with layers, which may lose more.
        income_gini: Gini coefficient of validators' income in all runs, 0 where all earn alike and
            1 where one earns all; nan where the ledger keeps no account of each.
    """

    ledger: str
    load_per_s: float
    hours: float
    seeds: int
    sent: int
    included: int
    latency: Distribution
    finality: Distribution
    backlog: float
    fee_eur: float
    burned_eur: float
    energy_kwh: float
    blocks: float
    messages_per_block: float
    capacity_per_s: float
    reverted_share: float
    reversal_probability: float
    income_gini: float = math.nan

    @property
    def throughput_per_s(self) -> float:
        """Transactions that came into a block per second."""
        return self.included / (self.hours * 3600 * self.seeds)

    @property
    def blocks_per_min(self) -> float:
        """Blocks per minute; nan as `blocks`."""
        return self.blocks / (self.hours * 60 * self.seeds)

    @property
    def fee_per_transaction_eur(self) -> float:
        """Fee of an included transaction; nan where there is none."""
        return self.fee_eur / self.included if self.included else math.nan

    @property
    def burned_share(self) -> float:
        """Share of the fees that nobody receives; nan where there are no fees."""
        return self.burned_eur / self.fee_eur if self.fee_eur else math.nan

    @property
    def energy_per_transaction_kwh(self) -> float:
        """Validators' energy per included transaction; nan where there is none."""
        return self.energy_kwh / self.included if self.included else math.nan

    @property
    def saturated(self) -> bool:
        """Whether more arrives than fits, so that the backlog grows as long as it lasts."""
        return self.load_per_s >= self.capacity_per_s


def capacity_per_s(config: LedgerConfig, background: bool = True) -> float:
    """Return the transactions per second that blocks have room for, layers aside.

    It is inf without blocks.

    Args:
        config: of the ledger.
        background: whether others' traffic takes its part.
    """
    if not isinstance(config, ChainConfig):
        return math.inf
    consensus = consensus_of(config)
    chain, interval_s = consensus.config, consensus.interval_s
    others = chain.background_gas_per_s * interval_s if background else 0.0
    places = (consensus.block_gas - others) / schedule_of(chain.gas).order
    if not others and places < math.inf:
        places = math.floor(places)
    return places / interval_s


def simulate(
    config: LedgerConfig,
    load_per_s: float,
    hours: float = 24.0,
    seeds: int = 4,
    watch: Watch = iter,
) -> LoadResult:
    """Send transactions of a Poisson process to a ledger and measure what becomes of them.

    An account sends one transaction per slot at most, so that the slot is cut to the load.
    Deadlines are spread over the slots. Whoever sends offers no tip.

    Args:
        config: of the ledger; its slot_s is an upper bound here.
        load_per_s: mean transactions per second.
        hours: of each seed's run.
        seeds: runs side by side, with seeds 0, 1, ...
        watch: what to wrap the loop over slots in, as a progress bar.

    Raises:
        LedgerError: for arguments not above 0, or more than a billion transactions.
    """
    _check(load_per_s, hours, seeds)
    total_s = hours * 3600
    slots = math.ceil(total_s / min(config.slot_s, _PER_SLOT / seeds / load_per_s, total_s))
    slot_s = total_s / slots
    config = config.model_copy(update={"slot_s": slot_s})
    ledger = make(config)
    seed = torch.arange(seeds)
    ledger.reset(seed)
    consensus = consensus_of(config) if isinstance(config, ChainConfig) else None
    messages = consensus.block_messages if consensus else 0.0
    probability = consensus.reversal_probability if consensus else 0.0
    statistics = LoadStatistics(seed, slot_s, consensus)
    reverted = 0
    for slot in watch(range(slots)):
        transactions = _arrivals(seed, slot, load_per_s, slot_s)
        deadline_s = slot_s * ((slot + 1) * _GOLDEN % 1)
        got = ledger.step(transactions, deadline_s)
        statistics.add(slot, transactions, deadline_s, got)
        reverted += int(got.reverted.sum())
    return LoadResult(
        ledger=config.name,
        load_per_s=load_per_s,
        hours=hours,
        seeds=seeds,
        sent=statistics.sent,
        included=statistics.latency.count,
        latency=statistics.latency,
        finality=statistics.finality,
        backlog=statistics.backlog,
        fee_eur=statistics.fee,
        burned_eur=statistics.burned,
        energy_kwh=statistics.energy_kwh,
        blocks=statistics.messages / messages if messages else math.nan,
        messages_per_block=messages if messages else math.nan,
        capacity_per_s=math.nan if config.layers else capacity_per_s(config),
        reverted_share=reverted / (slots * seeds),
        reversal_probability=math.nan if config.layers else probability,
        income_gini=statistics.income_gini,
    )


def _check(load_per_s: float, hours: float, seeds: int) -> None:
    for name, value in (("load", load_per_s), ("hours", hours), ("seeds", seeds)):
        if not 0 < value < math.inf:
            raise LedgerError(f"{name} is {value:g}; it must be above 0 and finite")
    if seeds != int(seeds):
        raise LedgerError(f"seeds is {seeds:g}; it must be a whole number")
    total = load_per_s * hours * 3600 * seeds
    if total > _MOST:
        raise LedgerError(
            f"{load_per_s:g} tx/s for {hours:g} h and {seeds} seeds make {total:.2g} transactions; "
            f"allowed are {_MOST:.0e}: lower the load, the hours or the seeds"
        )


def _arrivals(seed: Tensor, slot: int, load_per_s: float, slot_s: float) -> Transactions:
    """Draw one slot of a Poisson process for each seed; the i-th to arrive is sent by account i."""
    mean = load_per_s * slot_s
    # Eight standard deviations and some: no slot has more.
    accounts = math.ceil(mean + 8 * math.sqrt(mean) + 12)
    draws = randomness.uniform(
        randomness.fold(seed, slot), OfSlot.ARRIVALS, [accounts], torch.float64
    )
    at_s = exponential_times(draws, 1 / load_per_s, slot_s)
    sent = at_s.isfinite()
    return Transactions(sent, at_s.masked_fill(~sent, 0.0), torch.zeros_like(at_s))


def sweep(
    config: LedgerConfig,
    shares: Iterable[float] = (0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995),
    transactions: float = 400_000.0,
    watch: Watch = iter,
) -> list[LoadResult]:
    """Simulate loads as shares of the capacity, each for about so many transactions.

    A run lasts 60 blocks at least and a month at most. A ledger without limit gives no result;
    the sweep ends where the ledger refuses a load.
    """
    capacity = capacity_per_s(config)
    if not (isinstance(config, ChainConfig) and capacity < math.inf):
        return []
    run = partial(simulate, config, seeds=4, watch=watch)
    results = []
    for share in shares:
        load = share * capacity
        least_s = 60 * consensus_of(config).interval_s
        seconds = min(max(transactions / 4 / load, least_s), 720 * 3600.0)
        try:
            results.append(run(load, seconds / 3600))
        except LedgerError:  # no fee rule can price so much for so long
            break
    return results
