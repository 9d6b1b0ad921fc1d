"""Room of a block: the gas that others' traffic leaves, and the places in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim.chain.queueing import places_of
from gridbazaar.ledger_sim.consensus.block_times import EDGE
from gridbazaar.ledger_sim.consensus.protocol import ChainConfig, Consensus
from gridbazaar.ledger_sim.gas import transaction_gas_cap


@dataclass(frozen=True, slots=True)
class Room:
    """Room that each block of a chain has for the market's transactions.

    Attributes:
        gas: mean of a block; may be inf.
        order_gas: of an order.
        adds_up: whether what is left for an order adds up from block to block.
        most_gas: that one transaction may take.
    """

    gas: float
    order_gas: float
    adds_up: bool
    most_gas: float

    @property
    def places(self) -> float:
        """Orders per block; a fraction where room adds up."""
        places = self.gas / self.order_gas
        return float(int(places)) if not self.adds_up and places < math.inf else places

    def of_block(self, block: int) -> float:
        """Return the gas of a slot's block, by its number."""
        if not self.adds_up:
            return self.gas
        return self.order_gas * places_of(block, self.gas / self.order_gas)


def room_of(consensus: Consensus[ChainConfig], order_gas: float) -> Room:
    """Return the room that a consensus's blocks have beside others' traffic.

    Raises:
        ConfigError: where no order finds room.
    """
    config, interval_s = consensus.config, consensus.interval_s
    gas = consensus.block_gas - config.background_gas_per_s * interval_s
    adds_up = bool(config.background_gas_per_s) and gas < math.inf
    most = gas
    if adds_up:
        blocks = max(1, int(config.slot_s / interval_s))
        most = order_gas * math.ceil(math.floor(blocks * gas / order_gas + EDGE) / blocks)
    if most < order_gas:
        raise ConfigError(
            f"ledger.block_gas is {config.block_gas:g}: background_gas_per_s "
            f"{config.background_gas_per_s:g} x {interval_s:g} s between blocks leaves "
            f"{gas:g}, and an order takes {order_gas:g}"
        )
    if config.gas == "evm":
        most = min(most, transaction_gas_cap())
    return Room(gas, order_gas, adds_up, most)
