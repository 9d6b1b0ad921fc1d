"""Feeders: pandapower nets as arrays, batched AC power flow, limits and what follows from them."""

from gridbazaar.envs.grid.catalogue import load_net
from gridbazaar.envs.grid.curtailment import curtail
from gridbazaar.envs.grid.envelope import Envelope, operating_envelope
from gridbazaar.envs.grid.limits import Limits, Violations, violations
from gridbazaar.envs.grid.network import Network
from gridbazaar.envs.grid.power_flow import FlowSolver, PowerFlow, Solution
from gridbazaar.envs.grid.sensitivities import Sensitivities

__all__ = [
    "Envelope",
    "FlowSolver",
    "Limits",
    "Network",
    "PowerFlow",
    "Sensitivities",
    "Solution",
    "Violations",
    "curtail",
    "load_net",
    "operating_envelope",
    "violations",
]
