"""Heat pumps that keep a building within its comfort band: the building is the store.

A building of one thermal mass C loses heat in proportion to how much warmer it is than outside,
C dT/dt = COP P - UA (T - T_out): the first of the models of Bacher and Madsen (2011), "Identifying
suitable models for the heat dynamics of buildings", Energy and Buildings 43(7). Heat is counted as
the electricity that makes it at the pump's mean COP, assumed constant, so that COP and UA drop out:
content e above the band's lower end follows e' = e (1 - h / tau) + P h - d h, with tau = C / UA and
d the electricity that holds the lower end. d is what the pump of the data drew; see `demand`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Positive
from gridbazaar.envs.devices.protocol import DEVICES, DeviceConfig, Profile
from gridbazaar.envs.devices.site import Site, per_slot, per_unit
from gridbazaar.envs.devices.store import Store
from gridbazaar.envs.forecast import window_means
from gridbazaar.envs.observation import Feature, device_features
from gridbazaar.envs.prices import SlotPrices
from gridbazaar.errors import DataError

_DAY_H, _SMOOTH_H = 24, 4


class HeatPumpConfig(DeviceConfig):
    """Parameters of the buildings; how large a pump is and what it draws is in the task's data."""

    time_constant_h: Positive = Field(description="h in which a building cools to 1/e, C / UA")
    comfort_band_k: Positive = Field(
        description="K between lowest and highest temperature inside",
        json_schema_extra={"unit": "K"},
    )
    design_difference_k: Positive = Field(
        description="K that the pump at rated power holds the building above outside",
        json_schema_extra={"unit": "K"},
    )


class Warmth(NamedTuple):
    """State of the buildings, [B, D] kWh of electricity each.

    `energy_kwh` lies above the lower end of the comfort band, `drawn_kwh` is what holding that end
    takes in the slot.
    """

    energy_kwh: Tensor
    drawn_kwh: Tensor


@DEVICES.register("heat_pump")
@dataclass(frozen=True)
class HeatPump(Store):
    """Heat pumps of the task's data, at the homes of their buses or in seats of their own.

    Where a feeder bears less than a building needs, it cools below its band and is warmed up again
    as soon as that can be.

    Attributes:
        capacity_kwh: [D] that warms the building from the band's lower end to its upper.
        kept: [D] share of it that is left after a slot.
        demand_kw: [T, D] that holds the lower end.
    """

    capacity_kwh: Tensor
    kept: Tensor
    demand_kw: Tensor

    Config = HeatPumpConfig
    role = "heat_pump"
    SCHEDULE = (Feature("heat_demand", "kW", 0.2, "electricity that holds the heat pump's band"),)
    FEATURES = device_features("soc", "energy_kwh", "room_kwh")

    @classmethod
    def install(cls, config: HeatPumpConfig, site: Site) -> Self:
        """Return a unit for each heat pump of the data, taken out of the background; see Device.

        Raises:
            DataError: the data have none.
        """
        pumps = site.series.heat_pumps
        if pumps is None:
            raise DataError(
                "task.devices.heat_pump is given, but the task's data have no heat pumps; take "
                "data.source simbench with a grid of scenario 1 or 2 on its own feeder, or leave "
                "the kind out"
            )
        site.take_from_background(pumps.bus, pumps.power_kw, pumps.reactive_kvar)
        owner = site.owners_at(cls.role, pumps.bus)
        full_h = config.time_constant_h * config.comfort_band_k / config.design_difference_k
        return cls(
            seat=torch.as_tensor(owner),
            import_kw=per_unit(pumps.rated_kw, owner),
            export_kw=per_unit(0, owner),
            efficiency=per_unit(1, owner),
            wear_price=per_unit(0, owner),
            slot_h=site.slot_h,
            floor=per_unit(0, owner),
            ceiling=per_unit(1, owner),
            capacity_kwh=per_unit(pumps.rated_kw * full_h, owner),
            kept=per_unit(1 - min(site.slot_h / config.time_constant_h, 1), owner),
            demand_kw=per_slot(demand(pumps.power_kw, site.slot_h).clip(0, pumps.rated_kw)),
        )

    def begin(self, row: Tensor, chance: Tensor) -> Warmth:
        """Start anywhere within the comfort band; see Device."""
        return Warmth(chance * self.capacity_kwh, self.demand_kw[row] * self.slot_h)

    def arrive(self, state: Warmth, row: Tensor) -> Warmth:
        """Learn what the building loses in the slot; see Device."""
        return state._replace(drawn_kwh=self.demand_kw.index_select(0, row) * self.slot_h)

    def _idle(self, state: Warmth) -> Tensor:
        """Return the content [B, D] kWh after a slot in which the pump rests."""
        return state.energy_kwh * self.kept - state.drawn_kwh

    def room(self, state: Warmth) -> Tensor:
        """Return what warms the building to the band's upper end by the slot's end; see Store."""
        return self.capacity_kwh - self._idle(state)

    def owed(self, state: Warmth) -> Tensor:
        """Return what keeps the building at the band's lower end; see Store."""
        return (-self._idle(state)).clamp(min=0)

    def spare(self, state: Warmth) -> Tensor:
        """Return nothing: heat does not become electricity again; see Store."""
        return torch.zeros_like(state.energy_kwh)

    def advance(self, state: Warmth, power_kw: Tensor) -> Warmth:
        """Lose heat and gain it; see Device."""
        return state._replace(energy_kwh=self._idle(state) - power_kw * self.slot_h)

    def stored_eur(self, before: Warmth, after: Warmth, end: SlotPrices, over: bool) -> Tensor:
        """Value warmth as what is left in a battery; see Device."""
        return (after.energy_kwh - before.energy_kwh) * end.stored_worth

    def schedule(self) -> dict[str, Tensor]:
        """Return the demand, known a day ahead; see Device."""
        return {"heat_demand": self.demand_kw}

    def observe(self, state: Warmth) -> dict[str, Tensor]:
        """Return the content, down to as far below the band as that is wide; see Device."""
        energy = torch.maximum(state.energy_kwh, -self.capacity_kwh)
        tiny = torch.finfo(energy.dtype).tiny
        soc = energy / self.capacity_kwh.clamp(min=tiny)
        return {"soc": soc, "energy_kwh": energy, "room_kwh": self.capacity_kwh - energy}

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return what the largest building holds, or lacks; see Device."""
        most = float(self.capacity_kwh.max())
        return {"soc": (-1.0, 1.0), "energy_kwh": (-most, most), "room_kwh": (0.0, 2 * most)}

    def profile(self, state: Warmth, row: Tensor, end: SlotPrices) -> Profile:
        """Return the day's linear programme; see Device."""
        drawn = self.demand_kw[row].movedim(1, -1) * self.slot_h
        brought, carried = -drawn, self.kept.unsqueeze(-1).expand(drawn.shape).clone()
        brought[..., 0] += carried[..., 0] * state.energy_kwh
        carried[..., 0] = 0
        # A building that starts below its band may be so until full power has warmed it up.
        most, warmest = [], state.energy_kwh
        for t in range(drawn.shape[-1]):
            heated = warmest * self.kept - drawn[..., t] + self.import_kw * self.slot_h
            warmest = torch.minimum(heated, self.capacity_kwh)
            most.append(warmest)
        nothing = torch.zeros_like(drawn)
        return Profile(
            carried=carried,
            brought_kwh=brought,
            floor_kwh=torch.stack(most, -1).clamp(max=0),
            ceiling_kwh=self.capacity_kwh.unsqueeze(-1).expand(drawn.shape),
            import_kw=self.import_kw.unsqueeze(-1).expand(drawn.shape),
            export_kw=nothing,
            due=nothing,
            target_kwh=nothing,
            end_worth=end.stored_worth.expand_as(state.energy_kwh),
            reference_kwh=state.energy_kwh,
        )


def demand(power_kw: NDArray[np.float32], slot_h: float) -> NDArray[np.float32]:
    """Return what holds the buildings' temperature, [T, P] kW, from what their pumps drew.

    A pump goes on and off while the building cools steadily: the demand is what it drew on average
    in the four hours up to the same hour of the day before, so that a day's is known as it begins.
    Before the data's second day it is what their first slot shows.
    """
    day, smooth = round(_DAY_H / slot_h), round(_SMOOTH_H / slot_h)
    begins = np.repeat(power_kw[:1], day + smooth, axis=0)
    seen = np.concatenate([begins, power_kw])
    return np.asarray(window_means(seen, smooth)[: len(power_kw)], np.float32)
