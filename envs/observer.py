"""Observer: what every seat may know before it bids for a slot."""

from __future__ import annotations

from torch import Tensor

from gridbazaar.envs.assembly import Assembler
from gridbazaar.envs.community import Community
from gridbazaar.envs.dataset import Slot
from gridbazaar.envs.devices.fleet import States
from gridbazaar.envs.devices.protocol import Band
from gridbazaar.envs.last_interval import LastInterval
from gridbazaar.envs.observation import UseState


class Observer:
    """Observations of a community's seats, from data, devices and the last interval.

    Args:
        community: seats and data.
    """

    def __init__(self, community: Community):
        self._fleet, self._layout = community.fleet, community.layout
        self._assemble = Assembler(community)

    def __call__(self, slot: Slot, devices: States, band: Band, last: LastInterval) -> Tensor:
        """Return the observation [B, N, layout.size] of those who bid for a slot."""
        share = self._fleet.share_of_rated
        use = UseState(
            must_take=-share(band.must_kw),
            can_take=share(band.take_kw),
            can_give=share(band.give_kw),
            last_power=last.devices.power,
            take_filled=last.devices.take_filled,
            give_filled=last.devices.give_filled,
            traded_price=last.devices.price,
        )
        shown = self._fleet.observe(devices, self._layout.states, slot.load_kw)
        public = last.public._replace(stored=self._fleet.stored_share(devices, slot.load_kw))
        return self._assemble(slot.public, slot.own, shown, use, last.own, public)
