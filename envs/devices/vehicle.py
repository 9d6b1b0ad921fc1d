"""Cars that come and go: a charging point is a storage whose capacity arrives and leaves.

The capacity is what the driver wants by departure plus, where the driver lends it, what the car may
feed back (V2G). What is missing to the full capacity at departure has not been served.
"""

from __future__ import annotations

from torch import Tensor, where


def arrive(
    energy_kwh: Tensor, capacity_kwh: Tensor, need_kwh: Tensor, lent_kwh: Tensor
) -> tuple[Tensor, Tensor]:
    """Plug in the cars that arrive at the start of this slot.

    Args:
        energy_kwh: [B, N] before.
        capacity_kwh: [B, N] before.
        need_kwh: [B, N] that an arriving car wants to charge; zero where none arrives.
        lent_kwh: [N] that a driver lends for feeding back.

    Returns:
        energy and capacity after, [B, N] kWh each.
    """
    arriving = need_kwh > 0
    return (
        where(arriving, lent_kwh, energy_kwh),
        where(arriving, lent_kwh + need_kwh, capacity_kwh),
    )


def depart(
    energy_kwh: Tensor, capacity_kwh: Tensor, departing: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Unplug the cars that leave at the end of this slot.

    Args:
        energy_kwh: [B, N] before.
        capacity_kwh: [B, N] before.
        departing: [B, N], 1 where a car leaves, else 0.

    Returns:
        energy and capacity after, and the energy not served, [B, N] kWh each.
    """
    unserved = (capacity_kwh - energy_kwh).clamp(min=0) * departing
    staying = 1 - departing
    return energy_kwh * staying, capacity_kwh * staying, unserved
