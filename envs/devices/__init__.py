"""Devices: flexible units by kind, one kind a file."""

from gridbazaar.envs.devices.protocol import DEVICES, Band, Device, DeviceConfig, Profile

__all__ = ["DEVICES", "Band", "Device", "DeviceConfig", "Profile"]
