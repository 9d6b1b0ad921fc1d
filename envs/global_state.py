"""Global state of a market, for central critics: what is public once, then each seat's own part.

The entries are those of the observation, scaled alike. What never changes of a seat (its role and
ratings) is left out: in one community it is the same in every state. `layout` names every entry.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gridbazaar.envs.observation import FEATURES, OWN, OWN_STATE, PUBLIC, PUBLIC_STATE, Feature

_PUBLIC, _OWN = (*PUBLIC, *PUBLIC_STATE), (*OWN, *OWN_STATE)
_PUBLIC_COLUMNS = [FEATURES.index(feature) for feature in _PUBLIC]
_OWN_COLUMNS = [FEATURES.index(feature) for feature in _OWN]


def state_size(num_seats: int) -> int:
    """Return S, the entries of a global state of N seats."""
    return len(_PUBLIC) + num_seats * len(_OWN)


def layout(seats: Sequence[str]) -> tuple[Feature, ...]:
    """Return name, unit, scale and meaning of each entry; a seat's are named `<seat>/<feature>`."""
    own = [f._replace(name=f"{seat}/{f.name}") for seat in seats for f in _OWN]
    return (*_PUBLIC, *own)


def global_state(observation: Tensor) -> Tensor:
    """Return the global state [B, S] of markets whose seats see [B, N, SIZE]."""
    public, own = observation[:, 0, _PUBLIC_COLUMNS], observation[..., _OWN_COLUMNS]
    return torch.cat([public, own.flatten(1)], 1)
