"""Stage of a picture: what stands still in a task, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridbazaar.envs.grid.network import Network
from gridbazaar.envs.rendering.diagram import Diagram, diagram

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Stage:
    """Feeder and seats of a task: n nodes, b branches, N seats with up to K devices each.

    Attributes:
        title: what is played, in words; may be empty.
        currency: of every amount.
        slot_minutes: length of an interval.
        slots: intervals of a day.
        diagram: places of the nodes.
        branch_ends: [b, 2] nodes; -1 where a branch is open or out of service.
        trafo: [b] whether a branch is a transformer.
        roots: nodes of the external grids.
        node_of_bus: [buses] in the order of `Network.buses`.
        bands: [buses, 2] voltages that are allowed, p.u.
        loading_percent: [b] loading that is allowed.
        seats: name of each.
        roles: of the community.
        role: [N] number among them.
        seat_node: [N] node of each.
        seat_kw: [N] the most that each moves.
        has_device: [N, K].
        gate_closure_s: when the book closes, in seconds after it opened.
    """

    title: str
    currency: str
    slot_minutes: int
    slots: int
    diagram: Diagram
    branch_ends: Ints
    trafo: Flags
    roots: Ints
    node_of_bus: Ints
    bands: Floats
    loading_percent: Floats
    seats: tuple[str, ...]
    roles: tuple[str, ...]
    role: Ints
    seat_node: Ints
    seat_kw: Floats
    has_device: Flags
    gate_closure_s: float

    @classmethod
    def of(cls, simulation: Any, title: str = "") -> Stage:
        """Read a simulation's stage; it changes nothing there."""
        c, delivery, rules = simulation.community, simulation.delivery, simulation.rules
        network: Network = delivery.feeder.network
        limits = delivery.limits
        ends = network.branch_ends
        fleet = c.fleet
        most_kw = np.maximum(
            (c.load_kw.amax(0) + fleet.import_kw).cpu().numpy(),
            (c.pv_kw.amax(0) + fleet.export_kw).cpu().numpy(),
        )
        buses = np.asarray(delivery.feeder.injection_buses)[c.bus.cpu().numpy()]
        return cls(
            title=title,
            currency=c.currency,
            slot_minutes=c.slot_minutes,
            slots=c.slots_per_day,
            diagram=diagram(network.ybus.shape[0], ends[ends[:, 0] >= 0], network.slack_nodes),
            branch_ends=ends,
            trafo=np.arange(len(ends)) >= len(network.lines),
            roots=network.slack_nodes,
            node_of_bus=network.bus_node,
            bands=np.stack([_numbers(limits.vm_min_pu), _numbers(limits.vm_max_pu)], -1),
            loading_percent=np.concatenate(
                [_numbers(limits.line_percent), _numbers(limits.trafo_percent)]
            ),
            seats=c.seats,
            roles=c.roles,
            role=c.role.cpu().numpy(),
            seat_node=network.nodes_of(buses),
            seat_kw=most_kw.astype(np.float64),
            has_device=(fleet.rated_kw > 0).cpu().numpy(),
            gate_closure_s=rules.gate_closure_s,
        )


def _numbers(values: Any) -> Floats:
    return np.asarray(values.detach().cpu().numpy(), np.float64)
