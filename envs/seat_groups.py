"""Groups of seats alike: those of one role with the same devices, which may share a policy.

Observations and actions are laid out alike for every seat of a community; a group names the entries
that its seats have. The others are zero in what they see, and change nothing in what they do.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.devices import Device
from gridbazaar.envs.devices.fleet import Fleet
from gridbazaar.envs.layout import DEVICE_ACTIONS, Layout, suffix
from gridbazaar.envs.observation import OWN, OWN_STATE, PUBLIC, PUBLIC_STATE, USE

# Roles of homes; a seat of another has a device alone.
_HOMES = ("prosumer", "consumer")
_PV = ("pv_kwp", *(feature.name for feature in OWN if "pv" in feature.name))
_LOAD = tuple(feature.name for feature in OWN if feature.name not in _PV)
_COMMON = tuple(feature.name for feature in (*PUBLIC, *OWN_STATE, *PUBLIC_STATE))


class SeatGroup(NamedTuple):
    """Seats of one role with the same devices.

    Attributes:
        name: `<role>` and, with an underscore each, `pv` and the kinds of a home's devices.
        seats: int64 [S] their numbers, ascending.
        observed: int64 [F] entries of an observation that they have.
        acted: int64 [A] entries of an action that they have.
    """

    name: str
    seats: Tensor
    observed: Tensor
    acted: Tensor

    def see(self, observation: Tensor) -> Tensor:
        """Return what the group's seats see, [..., S, F], of observations [..., N, size]."""
        return observation[..., self.seats, :].index_select(-1, self.observed)


def seat_groups(
    layout: Layout, fleet: Fleet, roles: tuple[str, ...], role: Tensor, pv_kwp: Tensor
) -> tuple[SeatGroup, ...]:
    """Return the groups of a community, in the order of their first seats.

    Args:
        layout: of the community.
        fleet: its devices.
        roles: names of the roles.
        role: [N] number of each seat's among them.
        pv_kwp: [N].
    """
    owned: list[list[str]] = [[] for _ in role]
    for kind, device in fleet.kinds.items():
        for seat in device.seat.tolist():
            owned[seat].append(kind)  # a seat's units fill its slots in this order
    alike: dict[tuple[str, bool, tuple[str, ...]], list[int]] = {}
    for seat, (number, has_pv) in enumerate(zip(role.tolist(), (pv_kwp > 0).tolist(), strict=True)):
        alike.setdefault((roles[number], has_pv, tuple(owned[seat])), []).append(seat)
    groups = []
    for (name, has_pv, kinds), seats in alike.items():
        devices = [type(fleet.kinds[kind]) for kind in kinds]
        beside = [kind for kind, device in zip(kinds, devices, strict=True) if device.role != name]
        observed, acted = _entries(name, has_pv, devices)
        seen = [i for i, feature in enumerate(layout.features) if feature.name in observed]
        done = [i for i, entry in enumerate(layout.actions) if entry in acted]
        groups.append(
            SeatGroup(
                "_".join([name, *["pv"] * has_pv, *beside]),
                *(torch.tensor(numbers, device=role.device) for numbers in (seats, seen, done)),
            )
        )
    return tuple(groups)


def _entries(role: str, has_pv: bool, devices: list[type[Device]]) -> tuple[set[str], set[str]]:
    """Return the names of what a seat sees and of what it decides."""
    home = role in _HOMES
    observed = {f"is_{role}", *_COMMON, *(_PV if has_pv else ()), *(_LOAD if home else ())}
    acted = {"priority_fee", *(["correction"] if home else [])}
    # A battery promises nothing; what others must take joins the must-run net.
    if home or any(not kind.battery for kind in devices):
        acted.add("must_run_price")
    for slot, kind in enumerate(devices):
        shown = (*kind.RATINGS, *kind.SCHEDULE, *kind.FEATURES, *USE)
        observed |= {name + suffix(slot) for name in ("flexible_kw", *(f.name for f in shown))}
        acted |= {name + suffix(slot) for name in DEVICE_ACTIONS}
    return observed, acted
