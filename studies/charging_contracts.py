"""Contracts for cars: a menu of energy and payment among which every type of driver picks its own.

    python studies/charging_contracts.py

An operator of chargers does not know how much a driver values energy. It offers a menu, one
contract (q_k kWh, t_k EUR) per type, so that each type gains by signing (individual rationality)
and by signing its own (incentive compatibility), and that its own profit is the largest. That is
the contract theory of EPS 5.2.2 [93]; the programme is Maskin and Riley (1984), "Monopoly with
incomplete information", RAND Journal of Economics 15(2), for finitely many types.

Type k, of share p_k, values q kWh at theta_k v(q), v(q) = q - q^2 / (2 need): the first kWh at
theta_k, the last that the battery holds at nothing. Energy costs the operator its price; where a
supply is given, menus that would use more pay a scarcity price beside. With
    phi_k = theta_k - (theta_k+1 - theta_k) (1 - F_k) / p_k
pooled to rise with k (ironing), the best energy is q_k = need (1 - price / phi_k), or none; the
lowest type pays all it is worth, each other type what makes it as well off as with the contract
below. Values, shares, need and prices are assumed: sessions in the data have a need, no type.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridbazaar.studies import pages, places

Array = NDArray[np.float64]

_HALVINGS = 80  # of the scarcity price's range


@dataclass(frozen=True)
class Drivers:
    """K types of drivers, in rising order.

    Attributes:
        worth: [K] EUR/kWh, theta: what the first kWh is worth.
        share: [K] of the drivers; sums to 1.
        need_kwh: what the battery holds.
    """

    worth: Array
    share: Array
    need_kwh: float

    def __post_init__(self) -> None:
        if not (np.diff(self.worth) > 0).all() or self.worth[0] <= 0:
            raise ValueError(f"worth is {self.worth}, expected values above 0 that rise")
        if self.share.shape != self.worth.shape or (self.share <= 0).any():
            raise ValueError(f"share is {self.share}, expected a number above 0 for each worth")
        if abs(self.share.sum() - 1) > 1e-9 or self.need_kwh <= 0:
            raise ValueError(
                f"share sums to {self.share.sum():g} and need_kwh is {self.need_kwh:g}, expected 1 "
                "and more than 0"
            )

    def value(self, energy_kwh: Array) -> Array:
        """Return v of the energy, of which theta v is the worth, kWh."""
        q = np.minimum(energy_kwh, self.need_kwh)
        return q - q**2 / (2 * self.need_kwh)

    def gains(self, menu: Menu) -> Array:
        """Return what each type [rows] gains by each contract [columns], EUR."""
        return np.outer(self.worth, self.value(menu.energy_kwh)) - menu.payment_eur


@dataclass(frozen=True)
class Menu:
    """One contract per type: energy [K] kWh for a payment [K] EUR; no energy for nothing."""

    energy_kwh: Array
    payment_eur: Array

    def profit(self, drivers: Drivers, price: float) -> float:
        """Return the operator's mean profit per driver, EUR, of energy bought at a price."""
        return float(drivers.share @ (self.payment_eur - price * self.energy_kwh))

    def energy(self, drivers: Drivers) -> float:
        """Return the mean energy per driver, kWh."""
        return float(drivers.share @ self.energy_kwh)


def best_menu(drivers: Drivers, price: float, supply_kwh: float = np.inf) -> Menu:
    """Return the menu of largest profit at a price of energy, EUR/kWh, and a supply per driver."""
    _check(price, supply_kwh)
    pooled = ironed(virtual_worth(drivers), drivers.share)

    def energy(paid: float) -> Array:
        kept = np.where(pooled > max(paid, 0.0), pooled, 1.0)
        return np.where(pooled > paid, drivers.need_kwh * (1 - paid / kept), 0.0)

    chosen = energy(price)
    if drivers.share @ chosen > supply_kwh:
        low, high = price, max(price, float(pooled.max()))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            over = drivers.share @ energy(middle) > supply_kwh
            low, high = (middle, high) if over else (low, middle)
        chosen = energy(high)
    return Menu(chosen, payments(drivers, chosen))


def virtual_worth(drivers: Drivers) -> Array:
    """Return phi, [K]: a type's worth less what serving it makes all higher types cost."""
    above = 1 - np.cumsum(drivers.share)
    step = np.diff(drivers.worth, append=drivers.worth[-1])
    return drivers.worth - step * above / drivers.share


def ironed(values: Array, weight: Array) -> Array:
    """Return the nearest values [K] that never fall: falling neighbours share their mean."""
    pools: list[list[float]] = []  # mean, weight, count
    for value, w in zip(values, weight, strict=True):
        pools.append([value, w, 1])
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (a, wa, na), (b, wb, nb) = pools[-2:]
            pools[-2:] = [[(a * wa + b * wb) / (wa + wb), wa + wb, na + nb]]
    return np.concatenate([np.full(int(count), mean) for mean, _, count in pools])


def payments(drivers: Drivers, energy_kwh: Array) -> Array:
    """Return the largest payments [K] at which every type signs, and its own contract."""
    value = drivers.value(energy_kwh)
    return np.cumsum(drivers.worth * np.diff(value, prepend=0.0))


def best_tariff(drivers: Drivers, price: float) -> Menu:
    """Return what one price per kWh for all, the most profitable one, leads drivers to take."""
    tariffs = np.linspace(price, drivers.worth[-1], 20_001)
    menus = [_at_tariff(drivers, tariff) for tariff in tariffs]
    return max(menus, key=lambda menu: menu.profit(drivers, price))


def full_information(drivers: Drivers, price: float) -> Menu:
    """Return the menu of an operator who sees the type: all energy worth its price, all paid."""
    energy = _at_tariff(drivers, price).energy_kwh
    return Menu(energy, drivers.worth * drivers.value(energy))


def _at_tariff(drivers: Drivers, tariff: float) -> Menu:
    energy = drivers.need_kwh * np.clip(1 - tariff / drivers.worth, 0, 1)
    return Menu(energy, tariff * energy)


def _check(price: float, supply_kwh: float) -> None:
    if not (price >= 0 and supply_kwh > 0):
        raise ValueError(
            f"price is {price:g} and supply_kwh {supply_kwh:g}, expected at least 0 and more than 0"
        )


def table(drivers: Drivers, price: float, supply_kwh: float) -> str:
    """Return the menu by type, and what four ways to sell come to per driver."""
    menu = best_menu(drivers, price)
    lines = [
        "| type: first kWh worth, EUR | share | energy, kWh | payment, EUR | EUR/kWh | gain, EUR |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for k, gain in enumerate(np.diag(drivers.gains(menu))):
        energy, paid = menu.energy_kwh[k], menu.payment_eur[k]
        each = f"{paid / energy:.3f}" if energy > 0 else ""
        lines.append(
            f"| {drivers.worth[k]:.2f} | {drivers.share[k]:.2f} | {energy:.2f} | {paid:.2f} "
            f"| {each} | {gain:.2f} |"
        )
    ways = {
        "type known": full_information(drivers, price),
        "menu": menu,
        f"menu, {supply_kwh:g} kWh per driver": best_menu(drivers, price, supply_kwh),
        "one price per kWh": best_tariff(drivers, price),
    }
    lines += ["", "| per driver | profit, EUR | drivers' gain, EUR | energy, kWh |"]
    lines.append("|---|---:|---:|---:|")
    for name, way in ways.items():
        gain = drivers.share @ np.diag(drivers.gains(way))
        lines.append(
            f"| {name} | {way.profit(drivers, price):.2f} | {gain:.2f} "
            f"| {way.energy(drivers):.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--need", type=float, default=30.0, help="kWh that a battery holds")
    parser.add_argument(
        "--price", type=float, default=0.15, help="EUR/kWh of the operator's energy"
    )
    parser.add_argument(
        "--supply", type=float, default=8.0, help="kWh per driver, where it is short"
    )
    parser.add_argument(
        "--page", type=places.page("charging contracts"), help="write the tables into this page"
    )
    options = parser.parse_args()
    worth, share = np.array([0.3, 0.4, 0.5, 0.6]), np.array([0.25, 0.25, 0.25, 0.25])
    text = table(Drivers(worth, share, options.need), options.price, options.supply)
    if options.page:
        pages.write(options.page, {"charging contracts": text})
    print(text)


if __name__ == "__main__":
    main()
