"""Seating: homes, and the seats that devices bring along, in order of their roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from gridbazaar.envs.devices import Device
from gridbazaar.envs.devices.site import Site
from gridbazaar.envs.observation import ROLES

Array = NDArray[np.float32]
Ints = NDArray[np.int64]


class Seating:
    """The order of the seats, and what each owner has laid out in it.

    A home with PV or a battery is a prosumer, one with neither a consumer; a seat without load has
    the role that its device's kind names.

    Args:
        site: owners of all devices.
        devices: by kind, each unit's `seat` being its owner's number.

    Attributes:
        roles: ROLES, and those that further kinds name.
        role: [N] number among the roles, ascending.
        names: `<role>_<number>` per seat.
        homes: per seat, the name that the data give its home; empty for other seats.
        bus: [N] pandapower bus.
    """

    def __init__(self, site: Site, devices: Mapping[str, Device]):
        self.roles = tuple(dict.fromkeys((*ROLES, *site.role)))
        producing = site.ownership.pv_kwp > 0
        for device in devices.values():
            if device.battery:
                owner = device.seat.numpy()
                producing[owner[owner < site.homes]] = True
        of_home = np.where(producing, ROLES.index("prosumer"), ROLES.index("consumer"))
        role = np.array([*of_home, *(self.roles.index(r) for r in site.role)], np.int64)
        order = np.argsort(role, kind="stable")
        self.role, self.bus = role[order], np.array(site.bus, np.int64)[order]
        first = {r: int(np.searchsorted(self.role, r)) for r in set(self.role.tolist())}
        self.names = tuple(
            f"{self.roles[r]}_{i - first[r]}" for i, r in enumerate(self.role.tolist())
        )
        called = (*site.series.home_names, *[""] * len(site.role))
        self.homes = tuple(called[owner] for owner in order.tolist())
        self._order, self._homes = order, site.homes

    def of_homes(self, values: Array) -> Array:
        """Return [N] or [T, N] from what each home has, [H] or [T, H]; zero for other seats."""
        others = np.zeros((*values.shape[:-1], len(self.role) - self._homes), np.float32)
        return np.concatenate([values, others], -1)[..., self._order]

    def seated(self, device: Device) -> Device:
        """Return a device whose units know their seats in place of their owners."""
        return replace(device, seat=torch.as_tensor(np.argsort(self._order))[device.seat])
