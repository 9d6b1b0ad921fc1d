"""Assembly of observations: the parts of the vector, from data and state, side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.observation import (
    DEVICE,
    FEATURES,
    OWN,
    OWN_STATE,
    PUBLIC_STATE,
    RATINGS,
    ROLES,
    SCHEDULE,
    SEAT,
    USE,
    OwnState,
    PublicState,
    UseState,
    scales,
)


class Assembler:
    """Lays the parts of a community's observations side by side, in the order of its layout."""

    def __init__(self, community: Community):
        c, layout, pv_kwp = community, community.layout, community.pv_kwp
        is_role = torch.nn.functional.one_hot(c.role, len(c.roles)).to(pv_kwp)
        ratings = [
            c.fleet.rated_kw if f.name == "flexible_kw" else c.fleet.rating(f.name)
            for f in layout.ratings
        ]
        rated = torch.stack(ratings, -1) * scales(layout.ratings, pv_kwp)
        self._known, self._further = len(RATINGS), len(DEVICE)
        self._own, self._planned = len(OWN), len(layout.schedule)
        pv = pv_kwp.unsqueeze(-1) * scales(SEAT[-1:], pv_kwp)
        self._seat = torch.cat([is_role[:, : len(ROLES)], pv, rated[:, 0, : self._known]], -1)
        self._more = torch.cat([is_role[:, len(ROLES) :], rated[:, 0, self._known :]], -1)
        self._rated, self._slots = rated, layout.slots
        self._state_scale = scales(layout.states, pv_kwp)
        own = (*layout.states[: self._further], *USE, *OWN_STATE)
        self._own_scale = scales(own, pv_kwp)[:, None, None]
        self._use_scale = scales(USE, pv_kwp)
        self._public_state_scale = scales(PUBLIC_STATE, pv_kwp)
        self._plain = layout.size == len(FEATURES)

    def __call__(
        self,
        public: Tensor,
        own: Tensor,
        devices: Tensor,
        use: UseState,
        own_state: OwnState,
        public_state: PublicState,
    ) -> Tensor:
        """Return a fresh [B, N, size].

        Args:
            public: [B, PUBLIC], scaled.
            own: [B, N, OWN and K times the schedule], scaled, as Community has it.
            devices: [states, B, N, K] in physical units, as `layout.states` names them.
            use: physical units.
            own_state: physical units.
            public_state: physical units.
        """
        B, N = own.shape[:2]
        mine = devices[: self._further].select(-1, 0).unbind()
        first = (*mine, *(each.select(-1, 0) for each in use))
        # One entry after the other lies faster in memory than one seat after the other.
        state = torch.stack([*first, *own_state]) * self._own_scale
        common = torch.stack(public_state, -1) * self._public_state_scale
        # A ledger may count in double precision.
        state, common = state.to(own.dtype), common.to(own.dtype)
        parts = [
            self._seat.expand(B, -1, -1),
            public.unsqueeze(1).expand(-1, N, -1),
            own[..., : self._own + len(SCHEDULE)],
            state.permute(1, 2, 0),
            common.unsqueeze(1).expand(-1, N, -1),
        ]
        if not self._plain:
            parts += self._further_parts(own, devices, use)
        return torch.cat(parts, -1)

    def _further_parts(self, own: Tensor, devices: Tensor, use: UseState) -> list[Tensor]:
        """Return what stands behind the features of every community."""
        B, used = len(own), torch.stack(use, -1) * self._use_scale
        devices = devices.movedim(0, -1) * self._state_scale
        plan = own[..., self._own :].unflatten(-1, (self._slots, self._planned))
        parts = [
            self._more.expand(B, -1, -1),
            plan[:, :, 0, len(SCHEDULE) :],
            devices[:, :, 0, self._further :],
        ]
        for k in range(1, self._slots):
            rated = self._rated[:, k].expand(B, -1, -1)
            parts += [rated, plan[:, :, k], devices[:, :, k], used[:, :, k]]
        return parts
