"""Ownership of PV and batteries: what the grid's data say, then a seeded draw at a penetration.

Sizing by rule of thumb, PV per MWh of annual use and usable battery per kWp, in the range of
Weniger, Tjaden and Quaschning, "Sizing of residential PV battery systems", Energy Procedia 46
(2014) 78-87, doi 10.1016/j.egypro.2014.01.160. Community batteries hold what the homes with PV and
no battery would have had by the same rule: Quernheim and Waffenschmidt, Energies 2024, 17(17),
4306, compare district and home batteries at equal total capacity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from gridbazaar.config import Config, Positive, Share, Whole
from gridbazaar.envs.data.series import Series

Floats = NDArray[np.float32]


class OwnershipConfig(Config):
    """Penetration and sizing of PV and batteries."""

    pv_share: Share | None = Field(
        description="of the homes that get PV; null leaves it at those that own PV by the data",
    )
    battery_share: Share = Field(description="of the homes with PV that get a battery")
    pv_kwp_per_mwh: Positive = Field(
        description="PV for each MWh of a home's annual use",
        json_schema_extra={"unit": "kWp/MWh"},
    )
    pv_kwp_min: Positive = Field(
        description="smallest PV of a home that has one",
        json_schema_extra={"unit": "kWp"},
    )
    pv_kwp_max: Positive = Field(description="largest", json_schema_extra={"unit": "kWp"})
    battery_kwh_per_kwp: Positive = Field(
        description="usable capacity of a home's battery for each kWp of its PV",
        json_schema_extra={"unit": "kWh/kWp"},
    )
    battery_c_rate: Positive = Field(
        description="power of a home's battery for each usable kWh",
        json_schema_extra={"unit": "kW/kWh"},
    )
    community_batteries: Whole = Field(description="how many, each a seat of its own")
    community_kwh_per_kwp: Positive = Field(
        description="usable capacity of all of them together for each kWp of the homes "
        "without a battery",
        json_schema_extra={"unit": "kWh/kWp"},
    )
    community_c_rate: Positive = Field(
        description="their power for each usable kWh",
        json_schema_extra={"unit": "kW/kWh"},
    )
    community_site: Literal["busbar", "end"] = Field(
        "busbar", description="where they stand: at the busbar, or with the home farthest from it"
    )

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.pv_kwp_min > self.pv_kwp_max:
            raise ValueError(
                f"pv_kwp_min {self.pv_kwp_min} is above pv_kwp_max {self.pv_kwp_max}; swap them"
            )
        return self


@dataclass(frozen=True)
class Ownership:
    """Sizes per home [H] and per community battery [K]; 0 where a home owns none.

    pv_kwp in kW; battery_kwh usable; battery_kw and community_kw the rated power of either way.
    """

    pv_kwp: Floats
    battery_kwh: Floats
    battery_kw: Floats
    community_kwh: Floats
    community_kw: Floats


def draw_ownership(config: OwnershipConfig, series: Series, seed: int) -> Ownership:
    """Return who owns what; the same seed and homes give the same answer.

    Homes that own a unit by the data come first and keep its size; the rest are drawn, among homes
    for which the data know the sun.
    """
    rng = np.random.default_rng(seed)
    H = len(series.home_names)
    known, owners = series.pv_per_kwp.max(axis=0) > 0, series.grid_pv_kwp > 0
    num_pv = int(owners.sum()) if config.pv_share is None else round(config.pv_share * H)
    order = rng.permutation(H)
    with_pv = _first(order[known[order]], owners, num_pv)
    num_battery = round(config.battery_share * len(with_pv))
    with_battery = _first(rng.permutation(with_pv), series.grid_battery_kwh > 0, num_battery)

    sized = config.pv_kwp_per_mwh * series.annual_kwh / 1000
    sized = np.clip(sized, config.pv_kwp_min, config.pv_kwp_max).round(1)
    pv_kwp = np.zeros(H, np.float32)
    pv_kwp[with_pv] = np.where(series.grid_pv_kwp > 0, series.grid_pv_kwp, sized)[with_pv]
    battery_kwh, battery_kw = np.zeros((2, H), np.float32)
    own = series.grid_battery_kwh[with_battery]
    battery_kwh[with_battery] = np.where(
        own > 0, own, config.battery_kwh_per_kwp * pv_kwp[with_battery]
    )
    battery_kw[with_battery] = np.where(
        own > 0,
        series.grid_battery_kw[with_battery],
        config.battery_c_rate * battery_kwh[with_battery],
    )
    shared = config.community_kwh_per_kwp * pv_kwp[battery_kwh == 0].sum()
    K = config.community_batteries
    community_kwh = np.full(K, shared / max(K, 1), np.float32)
    return Ownership(
        pv_kwp, battery_kwh, battery_kw, community_kwh, community_kwh * config.community_c_rate
    )


def _first(order: NDArray[np.int64], preferred: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Return the first `count` of `order`, those that are `preferred` before the others."""
    return order[np.argsort(~preferred[order], kind="stable")][:count]
