"""Devices: flexible units by kind, one kind a file."""

from gridbazaar.envs.devices.protocol import DEVICES, Device, DeviceConfig, Profile

__all__ = ["DEVICES", "Device", "DeviceConfig", "Profile"]
