"""Devices: flexible units by kind, one kind a file; every module here is found by itself."""

from __future__ import annotations

import importlib
import pkgutil

from gridbazaar.envs.devices.protocol import DEVICES, Device, DeviceConfig, Profile

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["DEVICES", "Device", "DeviceConfig", "Profile"]
