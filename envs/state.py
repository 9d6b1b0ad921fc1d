"""State of a simulation: everything of its markets that changes from slot to slot, as one value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from gridbazaar.envs.dataset import Slot
from gridbazaar.envs.day import Today
from gridbazaar.envs.last_interval import LastInterval


@dataclass(frozen=True)
class State:
    """B markets before the bids for slot `t` are sent; never changed in place.

    `gridbazaar.rows` picks markets out of it, replaces some by others, and stores it.

    Attributes:
        today: what holds for the day.
        t: slot of the day, the same for all.
        slot: what the data say of it.
        background: injections [B, M] of those outside the market, active in kW and reactive in
            kvar, as metered last.
        devices: states of the devices by kind.
        last: what the last interval left behind.
        published: what was not yet published of the day's volumes; None where the book is open.
        ledger: the ledger's.
        incentives: what each scheme's books hold.
    """

    today: Today
    t: int
    slot: Slot
    background: tuple[Tensor, Tensor]
    devices: dict[str, Any]
    last: LastInterval
    published: Any
    ledger: Any
    incentives: Any

    def with_streams(self, seed: Tensor, episode: Tensor) -> State:
        """Return the state with other random streams, int64 [B] each, for the days to come."""
        return replace(self, today=replace(self.today, seed=seed, episode=episode))
