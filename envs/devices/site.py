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
Floats = NDArray[np.float32]


class Site:
    """A community that is being equipped.

    Owners are numbered: home h is owner h, and a seat that a kind of device brings along comes
    after those before it. Seats are put in their final order when all kinds are installed.

    Args:
        series: data of homes and chargers.
        ownership: sizes that were drawn for the homes.
        busbar: pandapower bus of what the community owns: the one that feeds the homes, where the
            task does not say otherwise.

    Attributes:
        role: of each seat that is not a home, in the order of the owners after the homes.
        bus: pandapower bus of each owner.
        load_kw: [T, H] of the homes, without what devices do in place of it.
        background_p_kw, background_q_kvar: [T, nb] likewise, positive exported.
    """

    def __init__(self, series: Series, ownership: Ownership, busbar: int):
        self.series, self.ownership, self.busbar = series, ownership, busbar
        self.slot_h = series.slot_minutes / 60
        self.role: list[str] = []
        self.bus: list[int] = series.home_bus.tolist()
        self.load_kw = series.load_kw
        self.background_p_kw = series.background_p_kw
        self.background_q_kvar = series.background_q_kvar

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

    def owners_at(self, role: str, bus: ArrayLike) -> Ints:
        """Return the home at each pandapower bus [D], one unit each; a new seat where none is left.

        Homes at a bus own in their order.
        """
        left, owner = dict(enumerate(self.series.home_bus.tolist())), []
        for at in np.asarray(bus, np.int64).tolist():
            home = next((h for h, place in left.items() if place == at), None)
            if home is None:
                owner.append(int(self.add_seats(role, [at])[0]))
            else:
                owner.append(home)
                del left[home]
        return np.array(owner, np.int64)

    def take_from_load(self, load_kw: Floats) -> None:
        """Leave to devices what they do in place of the homes' load, [T, H]."""
        self.load_kw = self.load_kw - load_kw

    def take_from_background(self, bus: Ints, load_kw: Floats, load_kvar: Floats) -> None:
        """Leave to devices at pandapower buses [D] what the background held for them, [T, D]."""
        at = np.searchsorted(self.series.background_bus, bus)
        self.background_p_kw = self.background_p_kw.copy()
        self.background_q_kvar = self.background_q_kvar.copy()
        np.add.at(self.background_p_kw.T, at, load_kw.T)
        np.add.at(self.background_q_kvar.T, at, load_kvar.T)


def per_unit(value: ArrayLike, owner: Ints) -> Tensor:
    """Return a value, or one for each unit, as a tensor [D], float32."""
    return torch.as_tensor(np.broadcast_to(np.asarray(value, np.float32), owner.shape).copy())


def per_slot(values: NDArray[Any]) -> Tensor:
    """Return [T + 1, ...], float32: the last row stands for the slot after it, seen, not played."""
    rows = np.concatenate([values, values[-1:]])
    return torch.as_tensor(np.ascontiguousarray(rows, np.float32))
