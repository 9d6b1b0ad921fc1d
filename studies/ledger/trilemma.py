"""Ledgers side by side: speed against nodes, faults, decentralisation, energy and fees.

Speed is simulated, see `load.py`: a community's load on top of others' traffic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Tolerance, consensus_of
from gridbazaar.ledger_sim.layers.build import make
from gridbazaar.studies.ledger.configured import configured, read
from gridbazaar.studies.ledger.load import LoadResult, capacity_per_s, simulate
from gridbazaar.studies.ledger.text import Row, rounded

# 90 accounts that send an order every quarter of an hour.
LOAD_PER_S, HOURS, SEEDS = 0.1, 24.0, 8
VALIDATORS = (4, 16, 64, 256)
_HOURS_PER_SIZE = 4.0


@dataclass(frozen=True, slots=True)
class Size:
    """What a ledger does with so many validators.

    Attributes:
        capacity_per_s: transactions per second in full blocks, others' included.
        latency_s: median from sending to block.
        messages: per block.
    """

    capacity_per_s: float
    latency_s: float
    messages: float


@dataclass(frozen=True, slots=True)
class Profile:
    """One configured ledger.

    Attributes:
        name: of the YAML file.
        validators: n by default.
        interval_s: between blocks.
        capacity_per_s: transactions per second in full blocks, others' included.
        result: what `LOAD_PER_S` met.
        tolerance: of faults, at n.
        decentralisation: low, medium or high.
        permission: who may validate: none needed, permissioned, or both exist.
        charges: whether senders pay a fee or may pay a tip.
        sizes: by number of validators; None where the protocol does not work with so many.
    """

    name: str
    validators: int
    interval_s: float
    capacity_per_s: float
    result: LoadResult
    tolerance: Tolerance
    decentralisation: str
    permission: str
    charges: bool
    sizes: dict[int, Size | None]


def profile(name: str) -> Profile | None:
    """Return the profile of a configured ledger; None where it has no blocks, as the ideal one."""
    config = read(name)
    if not isinstance(config, ChainConfig):
        return None
    consensus = consensus_of(config)
    result = simulate(config, LOAD_PER_S, HOURS, SEEDS)
    return Profile(
        name=name,
        validators=config.validators,
        interval_s=consensus.interval_s,
        capacity_per_s=capacity_per_s(config, background=False),
        result=result,
        tolerance=consensus.tolerance,
        decentralisation=consensus.decentralisation,
        permission=consensus.permission,
        charges=result.fee_eur > 0 or config.queue == "tip",
        sizes={n: _size(config, n, result) for n in VALIDATORS},
    )


def profiles(names: Sequence[str] = ()) -> list[Profile]:
    """Return the profiles of these ledgers, by default of all configured ones that have blocks."""
    found = (profile(name) for name in names or configured())
    return [one for one in found if one]


def _size(config: ChainConfig, validators: int, result: LoadResult) -> Size | None:
    changed = config.model_copy(update={"validators": validators})
    try:
        if _pace(changed) != _pace(config):
            result = simulate(changed, LOAD_PER_S, _HOURS_PER_SIZE, SEEDS)
        else:
            make(changed)  # raises where the protocol does not work with so many
    except ConfigError:
        return None
    return Size(
        capacity_per_s=capacity_per_s(changed, background=False),
        latency_s=result.latency.quantile(0.5),
        messages=consensus_of(changed).block_messages,
    )


def _pace(config: ChainConfig) -> tuple[float, float]:
    """Return all that can change latencies when nothing but the number of validators does."""
    consensus = consensus_of(config)
    return consensus.interval_s, consensus.commit_s


OVERVIEW_HEAD = (
    "ledger", "n", "tx/s", "block, s", "in block, s", "final, s", "lost, %", "crashed",
    "lying", "decentralised", "permission", "kWh/tx", "EUR/tx",
)  # fmt: skip


def overview(found: Sequence[Profile]) -> list[Row]:
    """Return a row per ledger under `OVERVIEW_HEAD`; lost: once final, see `Consensus`."""
    return [
        (
            one.name, rounded(one.validators, 7), rounded(one.capacity_per_s, 2),
            rounded(one.interval_s, 2), rounded(one.result.latency.quantile(0.5), 2),
            rounded(one.result.finality.quantile(0.5), 2),
            rounded(100 * one.result.reversal_probability, 2), rounded(one.tolerance.crashed, 7),
            rounded(one.tolerance.lying, 7), one.decentralisation, one.permission,
            rounded(one.result.energy_per_transaction_kwh, 2),
            rounded(one.result.fee_per_transaction_eur, 2),
        )
        for one in found
    ]  # fmt: skip


def beyond(found: Sequence[Profile]) -> list[Row]:
    """Return what happens when more validators fail than a ledger tolerates, a row per ledger."""
    return [(one.name, one.tolerance.beyond) for one in found]


def growth_head() -> list[str]:
    """Return the head of `growth`."""
    return [
        "ledger",
        *(f"tx/s, n = {n}" for n in VALIDATORS),
        *(f"in block, s, n = {n}" for n in VALIDATORS),
        *(f"messages, n = {n}" for n in VALIDATORS),
    ]


def growth(found: Sequence[Profile]) -> list[Row]:
    """Return capacity, median latency and messages per block against validators."""

    def cells(one: Profile, of: str) -> list[str]:
        sizes = one.sizes.values()
        return [rounded(getattr(size, of) if size else math.nan, 2) for size in sizes]

    return [
        (
            one.name, *cells(one, "capacity_per_s"), *cells(one, "latency_s"),
            *cells(one, "messages"),
        )
        for one in found
    ]  # fmt: skip
