"""Feeder model as arrays, read from a pandapower net, in pandapower's conventions.

pandapower builds the admittance matrix itself (bus fusion by closed switches, line ends opened by
switches, transformer taps, shifts, iron losses, shunts); this module only reads the result.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from gridbazaar.errors import NetworkError

# Given by the caller at each solve, so the net's own values must not be in the admittances.
_INJECTIONS = (
    "load",
    "sgen",
    "storage",
    "motor",
    "asymmetric_load",
    "asymmetric_sgen",
)
# Hold a voltage or a flow by control, which a network of constant admittances cannot express.
_UNSUPPORTED = (
    "gen",
    "dcline",
    "trafo3w",
    "ward",
    "xward",
    "svc",
    "tcsc",
    "ssc",
    "vsc",
    "line_dc",
    "b2b_vsc",
    "source_dc",
    "load_dc",
)
# Part of the admittances, with an own entry of service.
_MODELLED = ("bus", "line", "trafo", "impedance", "shunt", "ext_grid")
# What must not all be zero.
_IMPEDANCES = {
    "line": ["length_km"],
    "trafo": ["vk_percent"],
    "impedance": ["rft_pu", "xft_pu"],
}
_NO_LOAD_AGREEMENT_PU = 1e-8


@dataclass(frozen=True)
class Network:
    """Constant admittances of one feeder, numpy float64 and complex128, per unit of `base_mva`.

    `buses` are the energised pandapower buses, ascending; buses fused by closed switches share a
    node. Lines and transformers keep the order of `net.line` and `net.trafo`; those out of service
    carry nothing. Limits are NaN where the net gives none.
    """

    name: str
    base_mva: float
    buses: NDArray[np.int64]  # [nbus] pandapower index
    bus_names: tuple[str, ...]
    bus_node: NDArray[np.int64]  # [nbus] row of ybus
    ybus: sparse.csc_matrix  # [n, n]
    slack_nodes: NDArray[np.int64]  # [ns]
    slack_voltage: NDArray[np.complex128]  # [ns]
    lines: NDArray[np.int64]  # [nl] pandapower index
    trafos: NDArray[np.int64]  # [nt] pandapower index
    branch_ends: NDArray[np.int64]  # [nl + nt, 2] rows of ybus; -1 where they do not connect
    percent_from: sparse.csr_matrix  # [nl + nt, n]: V -> current at one end, % of thermal limit
    percent_to: sparse.csr_matrix  # [nl + nt, n]: the same at the other end
    vm_min_pu: NDArray[np.float64]  # [nbus]
    vm_max_pu: NDArray[np.float64]  # [nbus]
    line_max_percent: NDArray[np.float64]  # [nl]
    trafo_max_percent: NDArray[np.float64]  # [nt]

    @classmethod
    def from_pandapower(cls, net: Any) -> Network:
        """Read a pandapower net; its loads and generation are left out, the net is not changed.

        Raises `NetworkError` for elements that hold a voltage or flow by control, in-service buses
        without supply, missing thermal limits, or no external grid; each names the element.
        """
        _check_elements(net)
        bare = _without_injections(net)
        _run_power_flow(bare)
        ppc = bare._ppc
        internal = ppc["internal"]
        ybus = sparse.csc_matrix(internal["Ybus"])
        lookup = np.asarray(bare._pd2ppc_lookups["bus"])
        buses, nodes = _energised_buses(net, lookup, ybus.shape[0])
        slack = np.unique(np.asarray(internal["ref"], dtype=np.int64))
        percent_from, percent_to = _branch_percent(bare, ybus.shape[0])
        ends = _branch_ends(net, lookup, percent_from)
        network = cls(
            name=str(net.name or "feeder"),
            base_mva=float(internal["baseMVA"]),
            buses=buses,
            bus_names=tuple(str(name) for name in net.bus.name.loc[buses]),
            bus_node=nodes,
            ybus=ybus,
            slack_nodes=slack,
            slack_voltage=np.asarray(internal["V"])[slack],
            lines=net.line.index.to_numpy(np.int64),
            trafos=net.trafo.index.to_numpy(np.int64),
            branch_ends=ends,
            percent_from=percent_from,
            percent_to=percent_to,
            vm_min_pu=_column(net.bus.loc[buses], "min_vm_pu"),
            vm_max_pu=_column(net.bus.loc[buses], "max_vm_pu"),
            line_max_percent=_column(net.line, "max_loading_percent"),
            trafo_max_percent=_column(net.trafo, "max_loading_percent"),
        )
        network._check_no_load(bare.res_bus.vm_pu.loc[buses].to_numpy())
        return network

    def nodes_of(self, buses: Any) -> NDArray[np.int64]:
        """Rows of `ybus` for pandapower buses [M]; `NetworkError` names an unknown or dead bus."""
        position = {int(bus): k for k, bus in enumerate(self.buses)}
        wanted = [int(bus) for bus in buses]
        missing = [bus for bus in wanted if bus not in position]
        if missing:
            raise NetworkError(
                f"Buses {missing} are not energised buses of '{self.name}'; "
                f"known are {self.buses.min()} to {self.buses.max()} ({len(self.buses)} buses)"
            )
        return self.bus_node[[position[bus] for bus in wanted]]

    def no_load_voltage(self) -> NDArray[np.complex128]:
        """Complex node voltages [n] in per unit with no injection at all."""
        rest = self._rest()
        voltage = np.zeros(self.ybus.shape[0], dtype=np.complex128)
        voltage[self.slack_nodes] = self.slack_voltage
        drive = self.ybus[rest][:, self.slack_nodes] @ self.slack_voltage
        voltage[rest] = splu(self.ybus[rest][:, rest]).solve(-np.asarray(drive).ravel())
        return voltage

    def impedance(self, nodes: NDArray[np.int64]) -> NDArray[np.complex128]:
        """Voltage [n, M] at every node per unit of current injected at each of `nodes` [M]."""
        rest = self._rest()
        row = np.full(self.ybus.shape[0], -1)
        row[rest] = np.arange(len(rest))
        unit = np.zeros((len(rest), len(nodes)), dtype=np.complex128)
        inside = row[nodes] >= 0
        unit[row[nodes[inside]], np.flatnonzero(inside)] = 1.0
        result = np.zeros((self.ybus.shape[0], len(nodes)), dtype=np.complex128)
        result[rest] = splu(self.ybus[rest][:, rest]).solve(unit)
        return result

    def _rest(self) -> NDArray[np.int64]:
        return np.setdiff1d(np.arange(self.ybus.shape[0]), self.slack_nodes)

    def _check_no_load(self, expected: NDArray[np.float64]) -> None:
        gap = float(np.abs(np.abs(self.no_load_voltage()[self.bus_node]) - expected).max())
        if not gap < _NO_LOAD_AGREEMENT_PU:
            raise NetworkError(
                f"'{self.name}' gives no-load voltages {gap:.2e} p.u. away from pandapower's; "
                "it holds an element that is not a constant admittance"
            )


def _check_elements(net: Any) -> None:
    for kind in _UNSUPPORTED:
        table = net.get(kind, None)
        if table is None or not len(table):
            continue
        rows = table[table.in_service] if "in_service" in table else table
        if len(rows):
            raise NetworkError(
                f"Element '{kind}' {rows.index.tolist()} of '{net.name}' is not supported; "
                "replace it by an external grid or by injections, or set it out of service"
            )
    _check_further(net)
    if not net.ext_grid.in_service.any():
        raise NetworkError(f"'{net.name}' has no external grid in service; add an 'ext_grid'")
    for kind, column in (("line", "max_i_ka"), ("trafo", "sn_mva")):
        table = net[kind]
        rating = table[column] * table.df * table.parallel
        bad = table.index[table.in_service & ~(rating > 0)].tolist()
        if bad:
            raise NetworkError(f"Element '{kind}' {bad}: '{column}', 'df', 'parallel' must be > 0")


def _check_further(net: Any) -> None:
    """Raise NetworkError for what pandapower knows and this model would pass over."""
    known = {*_INJECTIONS, *_UNSUPPORTED, *_MODELLED}
    for kind in sorted(net.keys()):
        table = net[kind]
        if kind.startswith(("_", "res_")) or not isinstance(table, pd.DataFrame):
            continue
        if kind not in known and "in_service" in table and table.in_service.any():
            rows = table.index[table.in_service.astype(bool)].tolist()
            mend = "take it out of service"
            if kind == "controller":
                mend += "; what it controls then stays as it is"
            raise NetworkError(f"Element '{kind}' {rows} of '{net.name}' is not supported; {mend}")
    shares = [column for column in net.load if column.startswith("const_")]
    bad = net.load.index[net.load.in_service & (net.load[shares].fillna(0) != 0).any(axis=1)]
    if len(bad):
        raise NetworkError(
            f"Element 'load' {bad.tolist()} of '{net.name}' depends on the voltage; set "
            f"{', '.join(shares)} to 0"
        )
    for kind, columns in _IMPEDANCES.items():
        table = net[kind]
        bad = table.index[table.in_service & (table[columns] == 0).all(axis=1)]
        if len(bad):
            raise NetworkError(
                f"Element '{kind}' {bad.tolist()} of '{net.name}' has no impedance "
                f"({', '.join(columns)} 0); put a closed bus-bus switch in its place"
            )


def _without_injections(net: Any) -> Any:
    bare = copy.deepcopy(net)
    for kind in _INJECTIONS:
        if kind in bare and len(bare[kind]):
            bare[kind] = bare[kind].iloc[:0]
    return bare


def _run_power_flow(net: Any) -> None:
    import pandapower

    with warnings.catch_warnings():
        # Networks saved by older pandapower releases lack this column and do not need it.
        warnings.filterwarnings("ignore", "tap_dependency_table is missing", DeprecationWarning)
        try:
            pandapower.runpp(net, numba=False, calculate_voltage_angles=True, tolerance_mva=1e-10)
        except pandapower.LoadflowNotConverged as error:
            raise NetworkError(f"pandapower finds no no-load state of '{net.name}'") from error
        except (ArithmeticError, ValueError, LookupError, UserWarning) as error:
            what = " ".join(str(error).split())[:150]
            raise NetworkError(
                f"pandapower cannot solve '{net.name}' without loads ({what}); see "
                "pandapower.diagnostic(net)"
            ) from None


def _energised_buses(
    net: Any, lookup: NDArray[Any], nodes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # pandapower orders nodes out of service after all those it solves for.
    buses = np.sort(net.bus.index[net.bus.in_service].to_numpy(np.int64))
    node = lookup[buses].astype(np.int64)
    dead = buses[(node >= nodes) | (node < 0)]
    if len(dead):
        raise NetworkError(
            f"Buses {dead.tolist()} of '{net.name}' are in service but have no path to an external "
            "grid; close a switch or set them out of service"
        )
    return buses, node


def _branch_percent(net: Any, nodes: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Current at both ends of lines, then transformers, in % as pandapower's `loading_percent`."""
    ppc, internal = net._ppc, net._ppc["internal"]
    live = np.flatnonzero(internal["branch_is"])
    spread = sparse.csr_matrix(
        (np.ones(len(live)), (live, np.arange(len(live)))), (len(ppc["branch"]), len(live))
    )
    base_kv = ppc["bus"][:, 9].real  # BASE_KV
    ends = ppc["branch"][:, :2].real.astype(np.int64)
    base_ka = internal["baseMVA"] / (np.sqrt(3) * base_kv[ends])
    tables = net._pd2ppc_lookups["branch"]
    result = []
    for end, flows in enumerate((internal["Yf"], internal["Yt"])):
        current_ka = sparse.diags(base_ka[:, end]) @ (spread @ sparse.csr_matrix(flows))
        blocks = [sparse.csr_matrix((0, nodes))]
        if "line" in tables:
            line = net.line
            limit = (line.max_i_ka * line.df * line.parallel).to_numpy(float)
            blocks.append(_scaled(current_ka, tables["line"], limit))
        if "trafo" in tables:
            trafo = net.trafo
            rated_kv = trafo.vn_lv_kv if end else trafo.vn_hv_kv
            rating = trafo.sn_mva * trafo.parallel * trafo.df
            limit = (rating / (np.sqrt(3) * rated_kv)).to_numpy(float)
            blocks.append(_scaled(current_ka, tables["trafo"], limit))
        result.append(sparse.csr_matrix(sparse.vstack(blocks)))
    return result[0], result[1]


def _branch_ends(
    net: Any, lookup: NDArray[Any], percent_from: sparse.csr_matrix
) -> NDArray[np.int64]:
    """Nodes at both ends of lines, then transformers; -1 where one is out of service or open."""
    tables = ((net.line, "from_bus", "to_bus"), (net.trafo, "hv_bus", "lv_bus"))
    pairs = [lookup[table[[one, other]].to_numpy(np.int64)] for table, one, other in tables]
    ends = np.concatenate(pairs).astype(np.int64).reshape(-1, 2)
    known = ((ends >= 0) & (ends < percent_from.shape[1])).all(1)
    row = np.arange(len(ends))
    # An opened end lies at a node of pandapower's own, so that the row knows nothing of this one.
    for end in (0, 1):
        at = np.where(known, ends[:, end], 0)
        known = known & (np.asarray(percent_from[row, at]).ravel() != 0)
    return np.where(known[:, None], ends, -1)


def _scaled(
    current_ka: sparse.csr_matrix, span: tuple[int, int], limit: NDArray[np.float64]
) -> sparse.csr_matrix:
    # A branch out of service may have no rating; its row of currents is empty.
    return sparse.diags(100.0 / np.where(limit > 0, limit, 1.0)) @ current_ka[span[0] : span[1]]


def _column(table: Any, name: str) -> NDArray[np.float64]:
    if name not in table:
        return np.full(len(table), np.nan)
    return table[name].to_numpy(np.float64)
