"""Energy that validators use for the transactions of this ledger's market."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gridbazaar.ledger_sim.consensus.protocol import Consensus

_WS_PER_KWH = 3.6e6


def slot_energy_kwh(
    consensus: Consensus[Any], on_chain: Tensor, gas: Tensor | float
) -> Tensor | float:
    """Return the energy of a slot, [B] kWh or the same for all.

    A published figure per transaction is taken at its word. Else the n validators' power counts
    whole where the ledger serves the market alone, and by the share of gas where others use it too:
    n x power / throughput at the simulated load.

    Args:
        consensus: validators, their power, and others' traffic.
        on_chain: bool [B, M], transactions that came into a block in this slot.
        gas: what each takes, [B, M] or the same for all.
    """
    config = consensus.config
    if config.transaction_energy_kwh is not None:
        return on_chain.sum(dim=1) * config.transaction_energy_kwh
    if not config.background_gas_per_s:
        return _nodes_kwh(consensus)
    own = (on_chain * gas).sum(dim=1)
    return _nodes_kwh(consensus) * own / (own + config.background_gas_per_s * config.slot_s)


def market_energy_kwh(consensus: Consensus[Any], transactions: Tensor, gas: Tensor) -> Tensor:
    """Return the energy [B] kWh of the market's own transactions [B], on top of the slot's."""
    config = consensus.config
    if config.transaction_energy_kwh is not None:
        return transactions * config.transaction_energy_kwh
    if not config.background_gas_per_s:
        return torch.zeros_like(gas)
    return _nodes_kwh(consensus) * gas / (gas + config.background_gas_per_s * config.slot_s)


def _nodes_kwh(consensus: Consensus[Any]) -> float:
    config = consensus.config
    return config.validators * consensus.node_power_w * config.slot_s / _WS_PER_KWH
