"""Feeders: pandapower nets as arrays, batched AC power flow, limits and what follows from them."""

from envs.feeder.catalogue import load_net
from envs.feeder.curtailment import Sensitivities, curtail
from envs.feeder.envelope import Envelope, operating_envelope
from envs.feeder.limits import Limits, Violations, violations
from envs.feeder.network import Network, NetworkError
from envs.feeder.power_flow import FlowSolver, PowerFlow, Solution

__all__ = [
    "Envelope",
    "FlowSolver",
    "Limits",
    "Network",
    "NetworkError",
    "PowerFlow",
    "Sensitivities",
    "Solution",
    "Violations",
    "curtail",
    "load_net",
    "operating_envelope",
    "violations",
]
