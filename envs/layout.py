"""Layout of a community's observation and action: which entry means what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.devices import Device
from gridbazaar.envs.observation import (
    DEVICE,
    FEATURES,
    RATINGS,
    ROLES,
    SCHEDULE,
    USE,
    Feature,
    role_feature,
)
from gridbazaar.errors import ConfigError, UnknownNameError


class ActionEntry(NamedTuple):
    """One entry of an action, a number in [-1, 1] that `gridbazaar.envs.action` reads."""

    name: str
    unit: str
    meaning: str


MUST_RUN_PRICE = ActionEntry(
    "must_run_price",
    "EUR/kWh",
    "worth of PV less load at the own meter: from the day's lowest feed-in to its highest retail",
)
CORRECTION = ActionEntry(
    "correction",
    "kW",
    "added to the forecast of PV less load: minus to plus the seat's largest load or generation",
)
DEVICE_ENTRIES = (
    ActionEntry(
        "value",
        "EUR/kWh",
        "worth of what the device holds: from what gives at the day's lowest feed-in to what takes "
        "at its highest retail",
    ),
    ActionEntry(
        "margin",
        "EUR/kWh",
        "asked beyond it and bid below it: from none to the distance of the day's two prices",
    ),
    ActionEntry(
        "share",
        "1",
        "of the feasible power that is offered: none to all; where seats dispatch by themselves, "
        "from taking all to giving all",
    ),
)
PRIORITY_FEE = ActionEntry("priority_fee", "EUR", "tip for the block: none to the rules' highest")
DEVICE_ACTIONS = tuple(entry.name for entry in DEVICE_ENTRIES)


class Layout:
    """The entries of observation and action in a community.

    FEATURES stand first, with a seat's first device. Then follow: further roles, what else the
    installed kinds show of the first device, and the same as of the first for every further
    device of a seat, with the suffix `_2`, `_3`, ...

    Args:
        roles: of the community, ROLES first.
        kinds: of devices that are installed.
        slots: K, the most devices that a seat owns.

    Attributes:
        features: every entry of the observation.
        ratings, schedule, states: features of a device slot: what never changes, what follows
            from data alone, and the rest.
        roles: as given.
        action_entries: name, unit and meaning of each entry of an action.
        actions: their names.

    Raises:
        ConfigError: two kinds show different things under one name.
    """

    def __init__(self, roles: Sequence[str], kinds: Iterable[type[Device]], slots: int = 1):
        kinds = list(kinds)
        ratings = _union(RATINGS, (kind.RATINGS for kind in kinds))
        schedule = _union(SCHEDULE, (kind.SCHEDULE for kind in kinds))
        states = _union(DEVICE, (kind.FEATURES for kind in kinds))
        features = [
            *FEATURES,
            *map(role_feature, roles[len(ROLES) :]),
            *ratings[len(RATINGS) :],
            *schedule[len(SCHEDULE) :],
            *states[len(DEVICE) :],
        ]
        for number in range(2, slots + 1):
            for name, unit, scale, meaning in (*ratings, *schedule, *states, *USE):
                features.append(
                    Feature(f"{name}_{number}", unit, scale, f"{meaning}; of device {number}")
                )
        self.features, self.roles = tuple(features), tuple(roles)
        self.ratings, self.schedule, self.states = ratings, schedule, states
        devices = [
            entry._replace(name=entry.name + suffix(k))
            for k in range(slots)
            for entry in DEVICE_ENTRIES
        ]
        self.action_entries = (MUST_RUN_PRICE, CORRECTION, *devices, PRIORITY_FEE)
        self.actions = tuple(entry.name for entry in self.action_entries)
        self._slots = slots
        self._index = {feature.name: i for i, feature in enumerate(features)}
        self._scales = [feature.scale for feature in features]
        if len(self._index) < len(features):
            names = [feature.name for feature in features]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ConfigError(f"features {', '.join(twice)} stand twice; rename those of a device")

    @property
    def size(self) -> int:
        """Entries of an observation."""
        return len(self.features)

    @property
    def slots(self) -> int:
        """K."""
        return self._slots

    def index(self, name: str, slot: int = 0) -> int:
        """Return where a feature of a seat's device `slot`, from 0, stands in an observation.

        Raises UnknownNameError for a name that the community does not show, with the nearest.
        """
        shown = name + suffix(slot)
        if shown not in self._index:
            raise UnknownNameError("feature", shown, self._index)
        return self._index[shown]

    def physical(self, observation: Tensor) -> Tensor:
        """Return an observation [..., size] with every entry in its physical unit."""
        return observation / observation.new_tensor(self._scales)

    def read(self, observation: Tensor, name: str, slot: int = 0) -> Tensor:
        """Return a feature of [..., size] in its physical unit, of a seat's device `slot` from 0.

        Raises UnknownNameError for a name that the community does not show, with the nearest.
        """
        i = self.index(name, slot)
        return observation[..., i] / self.features[i].scale

    def read_each(self, observation: Tensor, name: str) -> Tensor:
        """Return a device's feature for all K device slots, [..., K], in its physical unit."""
        return torch.stack([self.read(observation, name, k) for k in range(self.slots)], -1)


def suffix(slot: int) -> str:
    """Return what the names of a seat's device `slot`, from 0, end with."""
    return f"_{slot + 1}" if slot else ""


def _union(
    standard: tuple[Feature, ...], further: Iterable[tuple[Feature, ...]]
) -> tuple[Feature, ...]:
    """Return the features by name, the standard ones first."""
    found = {feature.name: feature for feature in standard}
    for feature in (feature for part in further for feature in part):
        if found.setdefault(feature.name, feature) != feature:
            raise ConfigError(
                f"two kinds of devices show {feature.name!r} as {found[feature.name]} and as "
                f"{feature}; share the feature or give one of them another name"
            )
    return tuple(found.values())


# One device a seat, and nothing to see that FEATURES does not name.
STANDARD = Layout(ROLES, ())
