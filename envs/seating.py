"""Who takes part: homes, chargers and community batteries, laid out as seats grouped by role."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridbazaar.envs.data.ownership import Ownership
from gridbazaar.envs.data.series import Series
from gridbazaar.envs.data.sessions import SessionSlots
from gridbazaar.envs.observation import ROLES

Array = NDArray[np.float32]


class Seating:
    """The order of the seats, and values of each kind of owner laid out in it.

    Attributes:
        role: [N] index into ROLES, ascending.
        names: `<role>_<number>` per seat.
    """

    def __init__(self, series: Series, owned: Ownership):
        homes = len(series.home_names)
        chargers = len(series.sessions.charger_names)
        batteries = len(owned.community_kwh)
        self._counts = (homes, chargers, batteries)
        producing = (owned.pv_kwp > 0) | (owned.battery_kwh > 0)
        role = np.concatenate(
            [
                np.where(producing, ROLES.index("prosumer"), ROLES.index("consumer")),
                np.full(chargers, ROLES.index("ev")),
                np.full(batteries, ROLES.index("storage")),
            ]
        )
        self._order = np.argsort(role, kind="stable")
        self.role = role[self._order]
        first = {r: int(np.searchsorted(self.role, r)) for r in set(self.role.tolist())}
        self.names = tuple(f"{ROLES[r]}_{i - first[r]}" for i, r in enumerate(self.role.tolist()))

    def lay(self, home: ArrayLike, charger: ArrayLike, battery: ArrayLike) -> Array:
        """Return [N] or [T, N] from a value, or [H], [C], [K], or [T, .] for each kind of owner."""
        parts = [np.asarray(part, np.float32) for part in (home, charger, battery)]
        lead = max((part.shape[:-1] for part in parts), key=len)
        laid = [
            np.broadcast_to(part, (*lead, count))
            for part, count in zip(parts, self._counts, strict=True)
        ]
        return np.concatenate(laid, -1)[..., self._order]


def seen_sessions(slots: SessionSlots, power_kw: Array, slot_h: float) -> SessionSlots:
    """Return the sessions as the charging point's bidder knows them: from the slot after arrival.

    Bids for a slot are sent before it begins, when nobody knows who will arrive during it. A car
    asks for no more than `power_kw`, what its charger can put into it, gives in the slots that are
    left; one that stays a single slot is never seen. `need_kwh` stands in the first slot seen and
    `carried_kwh` in all.
    """
    arrived = slots.need_kwh > 0
    first = np.zeros_like(arrived)
    first[1:] = arrived[:-1] & ~slots.departs[:-1]
    most = power_kw * slot_h * slots.slots_left
    need = np.zeros_like(slots.need_kwh)
    need[1:] = np.minimum(slots.need_kwh[:-1], most[1:]) * first[1:]

    row = np.where(arrived | first, np.arange(len(need))[:, None], 0)
    begun = np.maximum.accumulate(row, axis=0)
    session = np.take_along_axis(need, begun, axis=0) * slots.plugged
    there = session > 0
    return SessionSlots(
        plugged=there,
        need_kwh=need,
        departs=slots.departs & there,
        slots_left=slots.slots_left * there,
        carried_kwh=session,
    )
