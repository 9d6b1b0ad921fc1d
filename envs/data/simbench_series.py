"""Series of a SimBench grid: which of its rows are homes, chargers and background."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, timezone

import numpy as np
import pandapower
import pandas as pd
from numpy.typing import NDArray

from gridbazaar.envs.data.dwell import Place, draw_dwell_slots
from gridbazaar.envs.data.series import HeatPumps, Series
from gridbazaar.envs.data.sessions import Sessions, no_sessions, sessions_from_profiles
from gridbazaar.errors import DataError

SLOT_MINUTES = 15
_CENTRAL_EUROPE = timezone(timedelta(hours=1))
# BDEW-style profile classes of SimBench: H0 households, L0..L2 farms (a home with its business).
HOME_PREFIXES = ("H0-", "L0-", "L1-", "L2-")
# Heat pumps with air or soil as source, in three modes of operation beside a second heater.
HEAT_PREFIXES = ("Air_", "Soil_")
CHARGER_PLACES: dict[str, Place] = {"HLS_": "home", "APLS_": "work"}

Floats = NDArray[np.float32]


def series_from_grid(net: pandapower.pandapowerNet, profiles: pd.DataFrame, seed: int) -> Series:
    """Return the series of a grid whose rows name their profiles (see `load_grid`)."""
    load = net.load[net.load.in_service]
    is_home = load.profile.str.startswith(HOME_PREFIXES)
    is_charger = load.profile.str.startswith(tuple(CHARGER_PLACES))
    homes = load[is_home]
    if homes.empty:
        raise DataError(
            f"grid {net.name!r} has no homes: no load row has a profile that begins with "
            f"{', '.join(HOME_PREFIXES)}; choose a low-voltage grid (1-LV-...)"
        )
    owned = _owned_units(net, homes)
    background_bus, p_kw, q_kvar = _background(net, load[~is_home & ~is_charger], owned, profiles)
    return Series(
        start=pd.Timestamp(profiles.index[0]).tz_localize(_CENTRAL_EUROPE),
        slot_minutes=SLOT_MINUTES,
        home_names=tuple(homes.name),
        home_bus=homes.bus.to_numpy(np.int64),
        load_kw=_kilo(homes, "p_mw", "load/" + homes.profile + "_pload", profiles),
        load_kvar=_kilo(homes, "q_mvar", "load/" + homes.profile + "_qload", profiles),
        pv_per_kwp=_sun(owned, profiles),
        background_bus=background_bus,
        background_p_kw=p_kw,
        background_q_kvar=q_kvar,
        grid_pv_kwp=owned.pv_kwp,
        grid_battery_kwh=owned.battery_kwh,
        grid_battery_kw=owned.battery_kw,
        sessions=_sessions(load[is_charger], profiles, seed),
        heat_pumps=_heat_pumps(load[load.profile.str.startswith(HEAT_PREFIXES)], profiles),
    )


def _heat_pumps(rows: pd.DataFrame, profiles: pd.DataFrame) -> HeatPumps | None:
    if rows.empty:
        return None
    return HeatPumps(
        bus=rows.bus.to_numpy(np.int64),
        rated_kw=(rows.p_mw * rows.scaling * 1000).to_numpy(np.float32),
        power_kw=_kilo(rows, "p_mw", "load/" + rows.profile + "_pload", profiles),
        reactive_kvar=_kilo(rows, "q_mvar", "load/" + rows.profile + "_qload", profiles),
    )


def _kilo(rows: pd.DataFrame, column: str, names: pd.Series, profiles: pd.DataFrame) -> Floats:
    """Return kW or kvar [T, rows]: profile times rating times scaling, as SimBench defines it."""
    rating = (rows[column] * rows.scaling).to_numpy(np.float64) * 1000
    return np.asarray(profiles[list(names)].to_numpy() * rating, np.float32)


@dataclass
class _Owned:
    """Per home, in order: what the grid's PV and storage rows at its bus say it owns."""

    pv_kwp: Floats
    pv_profile: list[str]
    battery_kwh: Floats
    battery_kw: Floats
    sgen: list[int]
    storage: list[int]


def _owned_units(net: pandapower.pandapowerNet, homes: pd.DataFrame) -> _Owned:
    """Return what the homes own; a unit belongs to the first home at its bus.

    A `PV_Storage` row is PV and battery behind one meter: its profile is their joint feed-in, its
    power the PV's.
    """
    H = len(homes)
    kwp, kwh, kw = (np.zeros(H, np.float32) for _ in range(3))
    owned = _Owned(kwp, [""] * H, kwh, kw, [], [])
    buses = homes.bus.tolist()
    sgen = net.sgen[net.sgen.in_service & net.sgen.profile.str.startswith("PV")]
    for row, bus, mw, profile in zip(
        sgen.index, sgen.bus, sgen.p_mw * sgen.scaling, sgen.profile, strict=True
    ):
        if bus in buses and kwp[buses.index(bus)] == 0:
            h = buses.index(bus)
            kwp[h], owned.pv_profile[h] = mw * 1000, f"renewables/{profile}"
            owned.sgen.append(row)
    storage = net.storage[net.storage.in_service]
    energy = storage.max_e_mwh - storage.min_e_mwh
    for row, bus, mw, mwh, profile in zip(
        storage.index, storage.bus, storage.p_mw.abs(), energy, storage.profile, strict=True
    ):
        if bus in buses and kwh[buses.index(bus)] == 0:
            h = buses.index(bus)
            if kwp[h] == 0:
                kwp[h], owned.pv_profile[h] = mw * 1000, f"renewables/{profile.split('_')[1]}"
            kwh[h], kw[h] = mwh * 1000, mw * 1000
            owned.storage.append(row)
    return owned


def _sun(owned: _Owned, profiles: pd.DataFrame) -> Floats:
    """Return kW per kWp [T, H]: the home's own PV profile, else the grid's in turn."""
    known = [name for name in profiles.columns if name.startswith("renewables/PV")]
    if not known:
        raise DataError("the grid has no PV profile; choose a SimBench grid with PV")
    names = [
        name if name in known else known[i % len(known)] for i, name in enumerate(owned.pv_profile)
    ]
    return np.ascontiguousarray(profiles[names].to_numpy(np.float32))


def _background(
    net: pandapower.pandapowerNet,
    load: pd.DataFrame,
    owned: _Owned,
    profiles: pd.DataFrame,
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return buses [nb] and injections [T, nb] of all that is no home, charger or home's unit."""
    sgen = net.sgen[net.sgen.in_service & ~net.sgen.index.isin(owned.sgen)]
    storage = net.storage[net.storage.in_service & ~net.storage.index.isin(owned.storage)]
    p = np.hstack(
        [
            -_kilo(load, "p_mw", "load/" + load.profile + "_pload", profiles),
            _kilo(sgen, "p_mw", "renewables/" + sgen.profile, profiles),
            -_kilo(storage, "p_mw", "storage/" + storage.profile, profiles),
        ]
    )
    q = np.zeros_like(p)
    q[:, : len(load)] = -_kilo(load, "q_mvar", "load/" + load.profile + "_qload", profiles)
    bus = np.concatenate([load.bus, sgen.bus, storage.bus]).astype(np.int64)
    unique, column = np.unique(bus, return_inverse=True)
    gather = np.zeros((len(bus), len(unique)), np.float32)
    gather[np.arange(len(bus)), column] = 1
    return unique, p @ gather, q @ gather


def _sessions(chargers: pd.DataFrame, profiles: pd.DataFrame, seed: int) -> Sessions:
    if chargers.empty:
        return no_sessions(SLOT_MINUTES)
    time = pd.DatetimeIndex(profiles.index)
    hour = (time.hour + time.minute / 60).to_numpy(np.float64)
    rng = np.random.default_rng(seed)
    dwell = tuple(
        draw_dwell_slots(CHARGER_PLACES[name.split("_")[0] + "_"], hour, SLOT_MINUTES, rng)
        for name in chargers.profile
    )
    return sessions_from_profiles(
        power_kw=_kilo(chargers, "p_mw", "load/" + chargers.profile + "_pload", profiles),
        names=tuple(chargers.name),
        bus=chargers.bus.to_numpy(np.int64),
        max_power_kw=(chargers.p_mw * chargers.scaling * 1000).to_numpy(np.float32),
        dwell_slots=dwell,
        slot_minutes=SLOT_MINUTES,
    )
