"""Global state of a market, for central critics: what is public once, then each seat's own part.

The entries are those of the observation, scaled alike. What never changes of a seat (its role and
ratings) is left out: in one community it is the same in every state. So is what a seat has not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from gridbazaar.envs.layout import Layout, suffix
from gridbazaar.envs.observation import PUBLIC, PUBLIC_STATE, SEAT, Feature
from gridbazaar.envs.seat_groups import SeatGroup


class GlobalState:
    """Which entries of the observations of N seats make the state of their market.

    Args:
        layout: of the observation.
        seats: their names.
        groups: of them; together all.

    Attributes:
        features: name, unit, scale and meaning of each of the S entries; a seat's are named
            `<seat>/<feature>`.
    """

    def __init__(self, layout: Layout, seats: Sequence[str], groups: Iterable[SeatGroup]):
        public = {feature.name for feature in (*PUBLIC, *PUBLIC_STATE)}
        left_out = public | {feature.name for feature in SEAT}
        left_out |= {f"is_{role}" for role in layout.roles}
        left_out |= {f.name + suffix(k) for f in layout.ratings for k in range(layout.slots)}
        entries, size = layout.features, layout.size
        observed = {
            seat: group.observed.tolist() for group in groups for seat in group.seats.tolist()
        }
        own = [
            (seat, i)
            for seat in range(len(seats))
            for i in observed[seat]
            if entries[i].name not in left_out
        ]
        self._public = [i for i in range(size) if entries[i].name in public]
        self._own = [seat * size + i for seat, i in own]
        self.features: tuple[Feature, ...] = (
            *(entries[i] for i in self._public),
            *(entries[i]._replace(name=f"{seats[s]}/{entries[i].name}") for s, i in own),
        )

    def __call__(self, observation: Tensor) -> Tensor:
        """Return the global state [B, S] of markets whose seats see [B, N, layout.size]."""
        public, own = observation[:, 0, self._public], observation.flatten(1)[:, self._own]
        return torch.cat([public, own], 1)
