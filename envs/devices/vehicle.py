"""Charging points whose cars come and go, each a seat of its own.

The capacity is what the driver wants by departure plus, where the driver lends it, what the car may
feed back (V2G). What is missing to the full capacity at departure has not been served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pydantic import Field

from gridbazaar.config import EnergyPrice, NonNegative, PositiveShare
from gridbazaar.envs.devices.protocol import DEVICES, DeviceConfig
from gridbazaar.envs.devices.session import SessionStore
from gridbazaar.envs.devices.site import Site, per_unit


class VehicleConfig(DeviceConfig):
    """Parameters of charging points."""

    round_trip_efficiency: PositiveShare = Field(
        description="energy given back, or driven away with, over energy taken at the charger",
    )
    v2g: bool = Field(description="whether cars may feed back")
    lent_kwh: NonNegative = Field(description="kWh a driver lends for feeding back, with v2g")
    wear_price: EnergyPrice = Field(description="EUR per kWh fed back")


@DEVICES.register("vehicle")
@dataclass(frozen=True)
class Vehicle(SessionStore):
    """Charging points of the task's data, each a seat of its own."""

    Config = VehicleConfig
    role = "ev"

    @classmethod
    def install(cls, config: VehicleConfig, site: Site) -> Self:
        """Return a unit for each charger of the data; see Device."""
        sessions = site.series.sessions
        owner, charger_kw = site.add_seats(cls.role, sessions.charger_bus), sessions.max_power_kw
        way = config.round_trip_efficiency**0.5
        return cls(
            import_kw=per_unit(charger_kw, owner),
            export_kw=per_unit(charger_kw * config.v2g, owner),
            efficiency=per_unit(way, owner),
            wear_price=per_unit(config.wear_price, owner),
            lent_kwh=per_unit(config.lent_kwh * config.v2g, owner),
            **cls.visits(sessions, site, owner, way),
        )
