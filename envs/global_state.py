"""Global state of a market, for central critics: what is public once, then each seat's own part.

The entries are those of the observation, scaled alike. What never changes of a seat (its role and
ratings) is left out: in one community it is the same in every state.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gridbazaar.envs.layout import Layout
from gridbazaar.envs.observation import PUBLIC, PUBLIC_STATE, SEAT, Feature


class GlobalState:
    """Which entries of the observations of N seats make the state of their market.

    Args:
        layout: of the observation.
        seats: their names.

    Attributes:
        features: name, unit, scale and meaning of each of the S entries; a seat's are named
            `<seat>/<feature>`.
    """

    def __init__(self, layout: Layout, seats: Sequence[str]):
        public, constant = {*PUBLIC, *PUBLIC_STATE}, {f.name for f in (*SEAT, *layout.ratings)}
        entries = layout.features
        own = [
            i
            for i, feature in enumerate(entries)
            if feature not in public
            and not feature.name.startswith("is_")
            and _of_first_slot(feature.name) not in constant
        ]
        self._public = [i for i, feature in enumerate(entries) if feature in public]
        self._own = own
        self.features: tuple[Feature, ...] = (
            *(entries[i] for i in self._public),
            *(entries[i]._replace(name=f"{s}/{entries[i].name}") for s in seats for i in own),
        )

    def __call__(self, observation: Tensor) -> Tensor:
        """Return the global state [B, S] of markets whose seats see [B, N, layout.size]."""
        public, own = observation[:, 0, self._public], observation[..., self._own]
        return torch.cat([public, own.flatten(1)], 1)


def _of_first_slot(name: str) -> str:
    """Return the name that a device's feature has in the first slot: without `_2`, `_3`, ..."""
    stem, _, number = name.rpartition("_")
    return stem if number.isdigit() and stem else name
