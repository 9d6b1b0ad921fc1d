"""Flexible loads: appliances of homes that need so much energy by a deadline, once a day.

A home fills its machine, which may then run at any power up to its rating, in parts too, until it
must be done. Its energy is part of the home's metered load and is taken out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from gridbazaar.config import Positive, bounded
from gridbazaar.envs.data.appliances import Runs, appliance_runs
from gridbazaar.envs.data.sessions import Sessions
from gridbazaar.envs.devices.protocol import DEVICES, DeviceConfig
from gridbazaar.envs.devices.session import SessionStore
from gridbazaar.envs.devices.site import Site, per_unit

Hour = Annotated[float, bounded(0, 24, "h", "a day has no more")]


class FlexibleLoadConfig(DeviceConfig):
    """Parameters of an appliance that every home has."""

    power_kw: Positive = Field(description="kW, the most that it draws")
    run_h: Positive = Field(description="h that it ran for in the metered load")
    earliest_h: Hour = Field(description="h of the day from which it is filled")
    latest_h: Hour = Field(description="h of the day by which a run has ended in the metered load")
    window_h: Positive = Field(description="h from being filled until it must be done")

    @model_validator(mode="after")
    def _one_a_day(self) -> Self:
        if self.latest_h - self.earliest_h < self.run_h:
            raise ValueError(
                f"a run of run_h {self.run_h:g} h does not fit between earliest_h "
                f"{self.earliest_h:g} and latest_h {self.latest_h:g}; widen them"
            )
        most = 24 + self.earliest_h - self.latest_h + self.run_h
        if not self.run_h <= self.window_h <= most:
            raise ValueError(
                f"window_h {self.window_h:g} must lie between run_h {self.run_h:g} and {most:g}, "
                "so that a run can be finished, and is before the next day's begins"
            )
        return self


@DEVICES.register("flexible_load")
@dataclass(frozen=True)
class FlexibleLoad(SessionStore):
    """Appliances of all homes, one each, whose runs wait for a better price until a deadline."""

    Config = FlexibleLoadConfig
    role = "flexible_load"

    @classmethod
    def install(cls, config: FlexibleLoadConfig, site: Site) -> Self:
        """Return an appliance for each home, taken out of its load; see Device."""
        minutes = site.series.slot_minutes

        def slots(hours: float) -> int:
            return max(round(hours * 60 / minutes), 1)

        between = (round(config.earliest_h * 60 / minutes), slots(config.latest_h))
        runs = appliance_runs(site.load_kw, config.power_kw, slots(config.run_h), between, minutes)
        site.take_from_load(runs.power_kw)
        owner = np.arange(site.homes)
        return cls(
            import_kw=per_unit(config.power_kw, owner),
            export_kw=per_unit(0, owner),
            efficiency=per_unit(1, owner),
            wear_price=per_unit(0, owner),
            lent_kwh=per_unit(0, owner),
            **cls.visits(
                _sessions(runs, slots(config.window_h), config.power_kw, site), site, owner, 1.0
            ),
        )


def _sessions(runs: Runs, stay_slots: int, most_kw: float, site: Site) -> Sessions:
    """Return the runs as sessions: filled in their first slot, done so many slots later."""
    days, H = runs.begin.shape
    begin = runs.begin.T.ravel()
    return Sessions(
        charger_names=site.series.home_names,
        charger_bus=site.series.home_bus,
        max_power_kw=np.full(H, most_kw, np.float32),
        charger=np.arange(H).repeat(days),
        arrival=begin,
        departure=begin + stay_slots,
        energy_kwh=runs.energy_kwh.T.ravel(),
        slot_minutes=site.series.slot_minutes,
    )
