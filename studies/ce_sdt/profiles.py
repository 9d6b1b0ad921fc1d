"""Mean days of load and sun: 15 types of home and 3 of PV, from one of four sources.

The paper's own types (its Figures 3 and 4: New South Wales, November 2012) stand in a picture only.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gridbazaar.envs.data.simbench import load_grid
from gridbazaar.errors import DataError, UnknownNameError

LOADS, SUNS = 15, 3  # types, 4.1
PV_KW = 5.0  # Table 1
# Measured here of the two Ausgrid homes below, each in its November: 19.7 and 18.2 kWh a day of
# load (customer 1's controlled load with it), 21.9 and 18.4 kWh a day of sun at 5 kWp.
NSW_LOAD_KWH, NSW_SUN_KWH = 19.0, 20.2
_RATED_KW = {1: 3.78, 12: 1.04}  # of customers 1 and 12, in Ausgrid's files
_GRID = "1-LV-semiurb4--2-sw"
_FONTANA = "households/fontana_ca_17_homes_hourly.parquet"
_CUSTOMER_1 = "ausgrid/ausgrid_customer_1_2012h2_30min.parquet"
_CUSTOMER_12 = "ausgrid/ausgrid_customer_12_2011_2012_30min.parquet"
_ORIGIN = {
    _FONTANA: "17 homes of the CityLearn challenge 2022 (github.com/intelligent-environments-lab/"
    "CityLearn, Building_1..17.csv), columns home_NN_load_kwh and home_NN_pv_kwh by the hour",
    _CUSTOMER_1: "customer 1 of Ausgrid's solar home data 2012-2013, kWh by the half hour",
    _CUSTOMER_12: "customer 12 of Ausgrid's solar home data 2011-2012 "
    "(github.com/pierre-haessig/ausgrid-solar-data), kW by the half hour",
}


class Profiles(NamedTuple):
    """Mean days, kW in each hour: load [15, 24], sun [3, 24] of 5 kWp; and what they are."""

    load_kw: Tensor
    sun_kw: Tensor
    source: str


def read(name: str, folder: Path) -> Profiles:
    """Return a set of profiles by name.

    Args:
        name: one of SETS.
        folder: of the files that do not ship with the project.

    Raises:
        UnknownNameError: for a name that is none.
        DataError: a file is missing; says what to fetch, and that `simbench` needs none.
    """
    if name not in SETS:
        raise UnknownNameError("set of profiles", name, SETS)
    return SETS[name](folder)


def simbench(_: Path) -> Profiles:
    """Four German household profiles in four months, sun of three; scaled to the NSW means."""
    series = load_grid(_GRID)[1]
    months = [series.loc[f"2016-{month:02d}"] for month in (4, 5, 6, 7)]
    homes = [f"load/H0-{kind}_pload" for kind in "ABGL"]
    load = [_mean_day(month[home]) for month in months for home in homes][:LOADS]
    sun = [_mean_day(month["renewables/PV5"]) for month in months[:SUNS]]
    return Profiles(
        _scaled(load, NSW_LOAD_KWH),
        _scaled(sun, NSW_SUN_KWH),
        f"SimBench {_GRID}: households A, B, G and L in April to July, sun of April to June, "
        "scaled to the NSW means",
    )


def homes(folder: Path) -> Profiles:
    """Californian homes in May 2017, six months from Sydney's November at the same latitude."""
    load, sun = _fontana(folder)
    return Profiles(
        torch.stack(load),
        torch.stack(sun),
        "homes 1 to 15 of Fontana, California, May 2017, and the sun of three, 5 kW at its peak",
    )


def nsw(folder: Path) -> Profiles:
    """The Californian homes scaled to the NSW mean, with sun of Ausgrid's customers 1 and 12."""
    first, second = _customer(folder, 1), _customer(folder, 12)
    sun = [first.sun_kw["2012-11"], second.sun_kw["2011-11"], second.sun_kw["2011-12"]]
    return Profiles(
        _scaled(_fontana(folder)[0], NSW_LOAD_KWH),
        torch.stack([_mean_day(part) for part in sun]),
        "load of the 15 Fontana homes scaled to the NSW mean; sun of Ausgrid's customers 1 "
        "(November 2012) and 12 (November and December 2011) at 5 kWp",
    )


def ausgrid(folder: Path) -> Profiles:
    """Weeks of Ausgrid's customers 1 and 12 in spring, each as a home of its own."""
    first, second = _customer(folder, 1), _customer(folder, 12)
    parts = (
        (first, pd.date_range("2012-10-04", periods=8, freq="7D")),
        (second, pd.date_range("2011-10-06", periods=7, freq="7D")),
    )
    week = pd.Timedelta(days=7) - pd.Timedelta(minutes=30)
    load = [_mean_day(who.load_kw[day : day + week]) for who, days in parts for day in days]
    return Profiles(
        torch.stack(load),
        nsw(folder).sun_kw,
        "eight weeks of Ausgrid's customer 1 (October and November 2012) and seven of customer 12 "
        "(2011) as 15 homes; sun as in `nsw`",
    )


SETS = {"simbench": simbench, "nsw": nsw, "homes": homes, "ausgrid": ausgrid}


def _fontana(folder: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Return load of homes 1 to 15 and sun of the first three, kW [24] each."""
    table = _table(folder, _FONTANA)
    may = table.loc["2017-05"]
    load = [_mean_day(may[f"home_{k:02d}_load_kwh"]) for k in range(1, LOADS + 1)]
    names = [f"home_{k:02d}_pv_kwh" for k in range(1, SUNS + 1)]
    return load, [_mean_day(may[name]) * (PV_KW / table[name].max()) for name in names]


def _customer(folder: Path, number: int) -> pd.DataFrame:
    """Return load and sun of 5 kWp of an Ausgrid home, kW by the half hour."""
    if number == 1:
        table = _table(folder, _CUSTOMER_1).droplevel("customer") * 2  # kWh in half an hour
        load = table.controlled_load_kwh + table.general_consumption_kwh
        sun = table.gross_generation_kwh
    else:
        table = _table(folder, _CUSTOMER_12)
        load, sun = table.general_consumption, table.gross_generation
    return pd.DataFrame({"load_kw": load, "sun_kw": sun * (PV_KW / _RATED_KW[number])})


def _table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / name
    if not path.is_file():
        raise DataError(
            f"{path} is missing: {_ORIGIN[name]}; set --data to the folder that holds {name}, or "
            "take --profiles simbench, which ships with the project"
        )
    return pd.read_parquet(path)


def _mean_day(series: pd.Series) -> Tensor:
    """Return the mean of each hour of the day, [24]."""
    return torch.tensor(
        series.groupby(pd.DatetimeIndex(series.index).hour).mean().to_numpy(dtype=np.float64)
    )


def _scaled(days: list[Tensor], mean_kwh: float) -> Tensor:
    """Return the days with a mean energy of `mean_kwh`, differences between them kept."""
    stacked = torch.stack(days)
    return stacked * (mean_kwh / stacked.sum(-1).mean())
