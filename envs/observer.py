"""Observer: what every seat may know before it bids for a slot."""

from __future__ import annotations

from torch import Tensor

from gridbazaar.envs.assembly import Assembler
from gridbazaar.envs.community import Community
from gridbazaar.envs.dataset import Slot
from gridbazaar.envs.devices.fleet import States
from gridbazaar.envs.last_interval import LastInterval
from gridbazaar.envs.observation import OwnState, UseState

_SMALL = 1e-6


class Observer:
    """Observations of a community's seats, from data, devices and the last interval.

    Args:
        community: seats and data.
    """

    def __init__(self, community: Community):
        self._fleet, self._layout = community.fleet, community.layout
        self._assemble = Assembler(community)
        self._batteries_kw = community.fleet.batteries_kw().clamp(min=_SMALL)

    def __call__(self, slot: Slot, devices: States, last: LastInterval) -> Tensor:
        """Return the observation [B, N, layout.size] of those who bid for a slot."""
        shortage_kw = (slot.forecast_load_kw - slot.forecast_pv_kw).unsqueeze(-1)
        use = UseState(
            balance=self._fleet.share_of_rated(shortage_kw).clamp(-2, 2),
            balancing=self._balancing(last),
            last_power=last.last_power,
        )
        own_state = OwnState(
            voltage=last.voltage,
            included=last.included,
            delay=last.delay,
            filled=last.filled,
            locked=last.locked,
        )
        shown = self._fleet.observe(devices, self._layout.states, shortage_kw)
        return self._assemble(slot.public, slot.own, shown, use, own_state, last.public)

    def _balancing(self, last: LastInterval) -> Tensor:
        """Return the share of rated power that would have balanced the last interval, if shared."""
        export_kw = last.public.last_export.view(-1, 1, 1) * last.last_power.shape[1]
        return (last.last_power - export_kw / self._batteries_kw).clamp(-2, 2)
