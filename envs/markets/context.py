"""What a mechanism may know beside the book: prices of the grid, and where the seats sit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from gridbazaar.envs.grid.limits import Limits
from gridbazaar.envs.grid.power_flow import FlowSolver
from gridbazaar.envs.markets.owners import Owners


@dataclass(frozen=True)
class GridContext:
    """Where the seats sit and what the feeder bears, the same for every market of the batch.

    Attributes:
        distance: [N, N] electrical distance between the seats' buses, per unit impedance.
        green: [N] bool, whether a seat's energy comes from its own sun.
        solver: power flow over the injection buses.
        limits: of voltage and loading.
        to_bus: [N, M], 1 where a seat injects at a bus.
        background_kw, reactive_kvar: [B, M] injections beside the seats', as forecast.
    """

    distance: Tensor
    green: Tensor
    solver: FlowSolver
    limits: Limits
    to_bus: Tensor
    background_kw: Tensor
    reactive_kvar: Tensor

    def by_order(self, owners: Owners) -> GridContext:
        """Return the places of a book's orders, [M] and [M, M], each where its seat is."""
        seat = owners.seat
        return replace(
            self,
            distance=self.distance[seat][:, seat],
            green=self.green[seat] if owners.green is None else owners.green,
            to_bus=self.to_bus[seat],
        )

    def check(self, seats: int) -> None:
        """Raise ValueError unless there is a distance, one number, between every two seats."""
        if self.distance.shape != (seats, seats):
            raise ValueError(
                f"grid.distance has shape {tuple(self.distance.shape)}, expected "
                f"{(seats, seats)}: one row and column per seat of the orders"
            )
        if self.green.shape != (seats,):
            raise ValueError(
                f"grid.green has shape {tuple(self.green.shape)}, expected {(seats,)}: one value "
                "per seat of the orders"
            )
        bad = (~self.distance.isfinite()).nonzero()
        if len(bad):
            one, other = bad[0].tolist()
            raise ValueError(
                f"grid.distance of seats {one} and {other} is {self.distance[one, other].item()}, "
                "expected a finite number"
            )


@dataclass(frozen=True)
class Context:
    """What a mechanism may know beside the book.

    Attributes:
        buyer_ceiling: [B, 1] EUR/kWh, the price at which a local kWh costs as much as the grid's.
        seller_floor: [B, 1] EUR/kWh, what the grid pays for a kWh.
        slot_h: length of the interval in hours.
        history: [B, K] EUR/kWh, the last published prices, newest first, NaN before the first.
        grid: the feeder and where the seats sit; None where a market is used by itself.
        price_margin: share of the gap between the two prices by which the range of limit prices may
            be wider than that gap, beyond which markets refuse an order; None accepts any price.
            A simulation needs none: its actions cannot mean a price outside the range.
    """

    buyer_ceiling: Tensor
    seller_floor: Tensor
    slot_h: float
    history: Tensor | None = None
    grid: GridContext | None = None
    price_margin: float | None = None

    def by_order(self, owners: Owners | None) -> Context:
        """Return the context in which the grid has a place for every order of the book."""
        if self.grid is None or owners is None:
            return self
        return replace(self, grid=self.grid.by_order(owners))

    def check(self, markets: int, seats: int) -> None:
        """Raise ValueError unless every market has both prices and every seat a place."""
        for field in ("buyer_ceiling", "seller_floor"):
            values: Tensor = getattr(self, field)
            if values.shape != (markets, 1):
                raise ValueError(
                    f"context: {field} has shape {tuple(values.shape)}, expected {(markets, 1)}: "
                    "one price per market of the orders"
                )
            bad = (~values.isfinite()).nonzero()
            if len(bad):
                market = int(bad[0, 0])
                raise ValueError(
                    f"context: {field} of market {market} is {values[market].item()}, expected a "
                    "finite number"
                )
        if self.grid is not None:
            self.grid.check(seats)
