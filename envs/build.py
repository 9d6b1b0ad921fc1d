"""From a configuration to a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.community import Community
from gridbazaar.envs.config import TaskConfig, WorldConfig
from gridbazaar.envs.data import calendar
from gridbazaar.envs.data.ownership import Ownership, draw_ownership
from gridbazaar.envs.data.series import Series
from gridbazaar.envs.data.tariffs import Prices, parse_tariff
from gridbazaar.envs.delivery import Delivery
from gridbazaar.envs.devices.storage import StorageLimits
from gridbazaar.envs.features import lowest_of_next_day, own_features, public_features
from gridbazaar.envs.grid.limits import Limits
from gridbazaar.envs.grid.network import Network
from gridbazaar.envs.grid.power_flow import PowerFlow
from gridbazaar.envs.markets import MARKETS, Market
from gridbazaar.envs.observation import ROLES
from gridbazaar.envs.placement import load_grid_and_series
from gridbazaar.envs.seating import Seating, seen_sessions
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim import make as make_ledger

Array = NDArray[np.float32]


def build(
    world: WorldConfig,
    num_envs: int,
    split: str,
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    market: Market | None = None,
) -> Simulation:
    """Build `num_envs` parallel markets of one world, that draw their days from `split`.

    `market` stands in for the mechanism that the world names.
    """
    task = world.task
    net, series = load_grid_and_series(task)
    community, delivery = settle(task, net, series, device, dtype)
    market = market or make_market(world.market)
    ledger = make_ledger(world.ledger)
    slot_s = series.slot_minutes * 60
    if ledger.slot_s != slot_s or task.rules.gate_closure_s > slot_s:
        raise ConfigError(
            f"the data's slots last {slot_s} s, but ledger.slot_s is {ledger.slot_s:g} and "
            f"task.rules.gate_closure_s {task.rules.gate_closure_s:g}; the first must equal a slot "
            "and the second lie within it"
        )
    return Simulation(community, delivery, market, ledger, task.rules, num_envs, split, seed)


def make_market(values: Mapping[str, Any]) -> Market:
    """Build a mechanism from its name and parameters, as a YAML of configs/market/ gives them."""
    rules = MARKETS.configure(values, "market")
    return MARKETS[rules.name](rules)


def settle(
    task: TaskConfig,
    net: Any,
    series: Series,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Community, Delivery]:
    """Return the community that lives in a pandapower net, and the feeder that serves it."""
    prices = parse_tariff(task.tariff).prices(series.start, series.num_days, series.slot_minutes)
    community, buses = build_community(task, series, prices, _busbar(net))
    community = community.to(device, dtype)
    network = Network.from_pandapower(net)
    feeder = PowerFlow(network, buses, device, dtype)
    limits = Limits.of(
        network, task.feeder.voltage_band, task.feeder.loading_percent, device, dtype
    )
    return community, Delivery(community, feeder, buses, limits, task.rules.limits)


def _busbar(net: Any) -> int:
    """Return the bus of the community's batteries: where the transformer feeds the homes."""
    return int(net.trafo.lv_bus.iloc[0] if len(net.trafo) else net.ext_grid.bus.iloc[0])


def build_community(
    task: TaskConfig, series: Series, prices: Prices, busbar: int
) -> tuple[Community, NDArray[np.int64]]:
    """Return the community, and the pandapower bus of each of its injections [M]."""
    owned = draw_ownership(task.ownership, series, task.seed)
    seating = Seating(series, owned)
    lay, minutes = seating.lay, series.slot_minutes
    charger_kw = series.sessions.max_power_kw
    stored_kw = charger_kw * task.vehicle.round_trip_efficiency**0.5
    cars = seen_sessions(series.sessions.per_slot(len(series.load_kw)), stored_kw, minutes / 60)
    load_kw = lay(series.load_kw, 0, 0)
    pv_kw = lay(series.pv_per_kwp * owned.pv_kwp, 0, 0)
    slots_left = lay(0, cars.slots_left, 0)
    battery_kwh = lay(owned.battery_kwh, 0, owned.community_kwh)
    charge_kw = lay(owned.battery_kw, charger_kw, owned.community_kw)
    seat = [*(seating.role == i for i in range(len(ROLES))), lay(owned.pv_kwp, 0, 0)]
    own = own_features(load_kw, pv_kw, slots_left, task.rules.forecast, minutes)
    public = public_features(
        series.start,
        prices.retail,
        prices.feed_in,
        prices.local_network,
        (pv_kw - load_kw).mean(-1),
        minutes,
    )
    car_worth = lowest_of_next_day(prices.retail, minutes)
    battery_worth = prices.feed_in + task.rules.stored_worth * (car_worth - prices.feed_in)
    seat_bus = lay(series.home_bus, series.sessions.charger_bus, busbar).astype(np.int64)
    buses = np.unique(np.concatenate([seat_bus, series.background_bus]))
    bus_p_kw, bus_q_kvar = _injections(series, buses)
    community = Community(
        seats=seating.names,
        role=torch.as_tensor(seating.role),
        seat=_tensor(np.stack([*seat, battery_kwh, charge_kw], -1)),
        storage=_storage_limits(task, seating, owned, charger_kw),
        battery_kwh=_tensor(battery_kwh),
        lent_kwh=_tensor(lay(0, task.vehicle.lent_kwh * task.vehicle.v2g, 0)),
        wear_price=_tensor(
            lay(task.storage.wear_price, task.vehicle.wear_price, task.storage.wear_price)
        ),
        load_kw=_rows(load_kw),
        pv_kw=_rows(pv_kw),
        need_kwh=_rows(lay(0, cars.need_kwh, 0)),
        session_kwh=_rows(lay(0, cars.carried_kwh, 0)),
        departs=_rows(lay(0, cars.departs, 0)),
        slots_left=_rows(slots_left),
        own=_rows(own),
        public=_rows(public),
        prices=_rows(
            np.stack(
                [prices.retail, prices.feed_in, prices.local_network, battery_worth, car_worth], -1
            )
        ),
        bus=torch.as_tensor(np.searchsorted(buses, seat_bus)),
        bus_p_kw=_rows(bus_p_kw),
        bus_q_kvar=_rows(bus_q_kvar),
        days={
            split: calendar.days(split, series.start, series.num_days) * series.slots_per_day
            for split in calendar.SPLITS
        },
        slot_minutes=minutes,
        currency=prices.currency,
    )
    return community, buses


def _storage_limits(
    task: TaskConfig, seating: Seating, owned: Ownership, charger_kw: Array
) -> StorageLimits:
    home, car = task.storage, task.vehicle
    battery_way, car_way = home.round_trip_efficiency**0.5, car.round_trip_efficiency**0.5
    lay = seating.lay
    return StorageLimits(
        charge_kw=_tensor(lay(owned.battery_kw, charger_kw, owned.community_kw)),
        discharge_kw=_tensor(lay(owned.battery_kw, charger_kw * car.v2g, owned.community_kw)),
        efficiency=_tensor(lay(battery_way, car_way, battery_way)),
        floor=_tensor(lay(home.soc_floor, 0, home.soc_floor)),
        ceiling=_tensor(lay(home.soc_ceiling, 1, home.soc_ceiling)),
    )


def _injections(series: Series, buses: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return what no seat decides at each bus [T, M]: background power, and all reactive power."""
    T = len(series.load_kw)
    active, reactive = np.zeros((2, T, len(buses)), np.float32)
    at = np.searchsorted(buses, series.background_bus)
    active[:, at] = series.background_p_kw
    reactive[:, at] = series.background_q_kvar
    np.subtract.at(reactive.T, np.searchsorted(buses, series.home_bus), series.load_kvar.T)
    return active, reactive


def _tensor(values: Array) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(values, np.float32))


def _rows(values: Array) -> Tensor:
    """Return [T + 1, ...]: the last slot stands for the one after it, which is seen, not played."""
    return _tensor(np.concatenate([values, values[-1:]]))
