"""Site of the devices: the data of a community, and the table of their owners."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gridbazaar.envs.data.ownership import Ownership
from gridbazaar.envs.data.series import Series

Ints = NDArray[np.int64]


class Site:
    """A community that is being equipped.

    Owners are numbered: home h is owner h, and a seat that a kind of device brings along comes
    after those before it. Seats are put in their final order when all kinds are installed.

    Args:
        series: data of homes and chargers.
        ownership: sizes that were drawn for the homes.
        busbar: pandapower bus that feeds the homes.

    Attributes:
        role: of each seat that is not a home, in the order of the owners after the homes.
        bus: pandapower bus of each owner.
    """

    def __init__(self, series: Series, ownership: Ownership, busbar: int):
        self.series, self.ownership, self.busbar = series, ownership, busbar
        self.slot_h = series.slot_minutes / 60
        self.role: list[str] = []
        self.bus: list[int] = series.home_bus.tolist()

    @property
    def homes(self) -> int:
        """Number of homes."""
        return len(self.series.home_names)

    def add_seats(self, role: str, bus: ArrayLike) -> Ints:
        """Add a seat without load at each pandapower bus [D]; return the owners' numbers [D]."""
        at = np.asarray(bus, np.int64).tolist()
        first = len(self.bus)
        self.role += [role] * len(at)
        self.bus += at
        return np.arange(first, len(self.bus))


def per_unit(value: ArrayLike, owner: Ints) -> Tensor:
    """Return a value, or one for each unit, as a tensor [D], float32."""
    return torch.as_tensor(np.broadcast_to(np.asarray(value, np.float32), owner.shape).copy())


def per_slot(values: NDArray[Any]) -> Tensor:
    """Return [T + 1, ...], float32: the last row stands for the slot after it, seen, not played."""
    rows = np.concatenate([values, values[-1:]])
    return torch.as_tensor(np.ascontiguousarray(rows, np.float32))
