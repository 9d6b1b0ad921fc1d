"""Rated injections of a net: its loads and generators by bus, counted or refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridbazaar.errors import NetworkError

Generation = Literal["by_type", "sun", "constant", "left_out"]
_PHASES = "abc"
_SUN = "PV|SOLAR"


@dataclass(frozen=True)
class Rated:
    """Power of elements [n]: pandapower bus, kW and kvar at least drawn or fed in.

    sun: [n] bool, whether it follows the sun; loads do not.
    """

    bus: NDArray[np.int64]
    p_kw: NDArray[np.float64]
    q_kvar: NDArray[np.float64]
    sun: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> Rated:
        """Return the chosen elements."""
        return Rated(self.bus[chosen], self.p_kw[chosen], self.q_kvar[chosen], self.sun[chosen])

    def __add__(self, other: Rated) -> Rated:
        """Return the elements of both."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Rated(*map(np.concatenate, pairs))


def rated_loads(net: Any) -> Rated:
    """Return what the net's loads, asymmetric loads and motors draw, as pandapower's balanced flow.

    Elements out of service, or on a bus that is, do not count. A load below zero feeds in.
    """
    load, motor = live(net, "load"), live(net, "motor")
    draw_mw = motor.pn_mech_mw * 100 / motor.efficiency_percent * motor.loading_percent / 100
    tangent = np.sqrt(1 / motor.cos_phi**2 - 1)
    motor = motor.assign(p_mw=draw_mw, q_mvar=draw_mw * tangent)
    return _rated(load) + _rated(_balanced(live(net, "asymmetric_load"))) + _rated(motor)


def rated_generation(net: Any, generation: Generation) -> Rated:
    """Return what static generators and loads below zero feed in.

    Args:
        net: a pandapower net.
        generation: which of it follows the sun: those whose type says so, all, or none; or that it
            is to be left out.

    Raises:
        NetworkError: storage units with power of their own, for nothing says when.
    """
    loads = rated_loads(net)
    fed = loads.where(loads.p_kw < 0)
    fed = Rated(fed.bus, -fed.p_kw, -fed.q_kvar, fed.sun)
    if generation == "left_out":
        return fed.where(np.zeros(len(fed.bus), bool))
    storage = live(net, "storage")
    busy = storage.index[(storage.p_mw != 0) | (storage.q_mvar != 0)].tolist()
    if busy:
        raise NetworkError(
            f"Element 'storage' {busy} of '{net.name}' has a power, but nothing says when; set "
            "p_mw and q_mvar to 0, or feeder.generation to left_out"
        )
    rated = fed + _rated(live(net, "sgen")) + _rated(_balanced(live(net, "asymmetric_sgen")))
    if generation == "by_type":
        return rated
    return Rated(rated.bus, rated.p_kw, rated.q_kvar, np.full(len(rated.bus), generation == "sun"))


def live(net: Any, kind: str) -> pd.DataFrame:
    """Return the elements of a kind that are in service at a bus in service, as pandapower's."""
    table = net[kind]
    return table[table.in_service.astype(bool) & table.bus.isin(net.bus.index[net.bus.in_service])]


def _balanced(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of asymmetric elements with the sums of their phases."""
    p_mw = sum(table[f"p_{phase}_mw"] for phase in _PHASES)
    q_mvar = sum(table[f"q_{phase}_mvar"] for phase in _PHASES)
    return table.assign(p_mw=p_mw, q_mvar=q_mvar)


def _rated(table: pd.DataFrame) -> Rated:
    kind = table["type"] if "type" in table else pd.Series("", index=table.index)
    return Rated(
        bus=table.bus.to_numpy(np.int64),
        p_kw=(1e3 * table.p_mw * table.scaling).to_numpy(np.float64),
        q_kvar=(1e3 * table.q_mvar * table.scaling).to_numpy(np.float64),
        sun=kind.astype(str).str.upper().str.contains(_SUN).to_numpy(bool),
    )
