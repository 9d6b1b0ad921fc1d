"""Construction of a simulation from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gridbazaar.envs.community import Community
from gridbazaar.envs.config import TaskConfig, WorldConfig
from gridbazaar.envs.data import calendar
from gridbazaar.envs.data.ownership import draw_ownership
from gridbazaar.envs.data.series import Series
from gridbazaar.envs.data.tariffs import Prices, parse_tariff
from gridbazaar.envs.delivery import Delivery
from gridbazaar.envs.devices import DEVICES
from gridbazaar.envs.devices.fleet import Fleet
from gridbazaar.envs.devices.site import Site, per_slot
from gridbazaar.envs.features import lowest_of_next_day, own_features, public_features
from gridbazaar.envs.forecast import Kind, forecast
from gridbazaar.envs.grid.busbar import busbar, farthest
from gridbazaar.envs.grid.limits import Limits
from gridbazaar.envs.grid.network import Network
from gridbazaar.envs.grid.power_flow import PowerFlow
from gridbazaar.envs.incentives import make_programme
from gridbazaar.envs.layout import Layout
from gridbazaar.envs.markets import MARKETS, Market
from gridbazaar.envs.memory import Size, check_device, check_memory
from gridbazaar.envs.placement import load_grid_and_series
from gridbazaar.envs.prices import SlotPrices
from gridbazaar.envs.seating import Seating
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ConfigError, DataError
from gridbazaar.ledger_sim import make as make_ledger

Array = NDArray[np.float32]
# Of the ledgers in configs/.
_DEFAULT_SLOT_S = 900


def build(
    world: WorldConfig,
    num_envs: int,
    split: str,
    seed: int | None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    market: Market | None = None,
) -> Simulation:
    """Build `num_envs` parallel markets of one world, that draw their days from `split`.

    `market` stands in for the mechanism that the world names. Raises ConfigError, before anything
    large is made, where the machine has not the device, or not the memory for it.
    """
    check_device(device)
    task = world.task
    net, series = load_grid_and_series(task)
    _check_split(split, series)
    check_memory(_size(task, net, series), num_envs, device, dtype)
    community, delivery = place_community(task, net, series, device, dtype)
    return assemble(world, community, delivery, num_envs, split, seed, market)


def assemble(
    world: WorldConfig,
    community: Community,
    delivery: Delivery,
    num_envs: int,
    split: str,
    seed: int | None,
    market: Market | None = None,
) -> Simulation:
    """Build markets in a community that is placed already; arguments and errors as for `build`."""
    market, rules = market or make_market(world.market), world.task.rules
    slot_s = community.slot_s
    ledger = make_ledger(_in_slots(world.ledger, slot_s))
    if ledger.slot_s != slot_s:
        raise ConfigError(
            f"ledger.slot_s is {ledger.slot_s:g}, but the data's slots last {slot_s} s; expected "
            "the same, or leave it out"
        )
    if rules.gate_closure_s > slot_s:
        raise ConfigError(
            f"task.rules.gate_closure_s is {rules.gate_closure_s:g}, but the data's slots last "
            f"{slot_s} s; expected a time within the slot"
        )
    incentives = make_programme(world.incentives)
    return Simulation(community, delivery, market, ledger, rules, num_envs, split, seed, incentives)


def _size(task: TaskConfig, net: Any, series: Series) -> Size:
    """Return how large a world is, its seats but for those that further kinds of devices bring."""
    return Size(
        slots=len(series.load_kw),
        seats=len(series.home_names)
        + len(series.sessions.charger_names)
        + task.ownership.community_batteries,
        buses=len(net.bus),
        branches=len(net.line) + len(net.trafo),
    )


def _in_slots(ledger: Mapping[str, Any], slot_s: int) -> dict[str, Any]:
    """Return a ledger, with those in its layers, in the data's slots where it keeps the default."""

    def follow(key: str, value: Any) -> Any:
        if key == "slot_s":
            plain = value["value"] if isinstance(value, Mapping) else value
            return slot_s if plain == _DEFAULT_SLOT_S else value
        if key == "layers":
            return [_in_slots(layer, slot_s) for layer in value or []]
        return _in_slots(value, slot_s) if key.endswith("_ledger") else value

    return {key: follow(key, value) for key, value in ledger.items()}


def _check_split(split: str, series: Series) -> None:
    """Raise DataError where the series hold no day of a known split."""
    if not len(calendar.days(split, series.start, series.num_days)):
        least = 2 if split == "train" else calendar.LEAST_DAYS
        raise DataError(
            f"the data hold {series.num_days} days from {series.start.date()} and none of split "
            f"{split!r}; give at least {least} days, the first of which only feeds the forecast"
            + ("" if split == "train" else ", or take split 'train'")
        )


def make_market(values: Mapping[str, Any]) -> Market:
    """Build a mechanism from its name and parameters, as a YAML of configs/market/ gives them."""
    rules = MARKETS.configure(values, "market")
    return MARKETS[rules.name](rules)


def place_community(
    task: TaskConfig,
    net: Any,
    series: Series,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Community, Delivery]:
    """Return the community that lives in a pandapower net, and the feeder that serves it."""
    prices = parse_tariff(task.tariff).prices(series.start, series.num_days, series.slot_minutes)
    community_bus, network = busbar(net, series.home_bus), Network.from_pandapower(net)
    if task.ownership.community_site == "end":
        community_bus = farthest(network, community_bus, series.home_bus)
    community, buses = build_community(task, series, prices, community_bus)
    community = community.to(device, dtype)
    feeder = PowerFlow(network, buses, device, dtype)
    limits = Limits.of(
        network, task.feeder.voltage_band, task.feeder.loading_percent, device, dtype
    )
    return community, Delivery(community, feeder, buses, limits, task.rules.limits)


def build_community(
    task: TaskConfig, series: Series, prices: Prices, community_bus: int
) -> tuple[Community, NDArray[np.int64]]:
    """Return the community, and the pandapower bus of each of its injections [M]."""
    owned = draw_ownership(task.ownership, series, task.seed)
    site = Site(series, owned, community_bus)
    installed = {kind: DEVICES[kind].install(c, site) for kind, c in task.devices.items()}
    seating = Seating(site, installed)
    devices = {kind: seating.seated(device) for kind, device in installed.items()}
    minutes = series.slot_minutes
    load_kw = seating.of_homes(site.load_kw)
    pv_kw = seating.of_homes(series.pv_per_kwp * owned.pv_kwp)
    buses = np.unique(np.concatenate([seating.bus, series.background_bus]))
    bus_p_kw, bus_q_kvar = _injections(site, buses)
    fleet = Fleet.of(devices, len(seating.names))
    layout = Layout(seating.roles, map(type, devices.values()), fleet.slots)
    days = {
        split: calendar.days(split, series.start, series.num_days) * series.slots_per_day
        for split in calendar.SPLITS
    }
    expected = _forecasts(task.rules.forecast, load_kw, pv_kw, days["train"], series.slots_per_day)
    own = per_slot(own_features(load_kw, pv_kw, *expected, minutes))
    community = Community(
        seats=seating.names,
        homes=seating.homes,
        roles=seating.roles,
        role=torch.as_tensor(seating.role),
        pv_kwp=torch.as_tensor(seating.of_homes(owned.pv_kwp)),
        fleet=fleet,
        layout=layout,
        load_kw=per_slot(load_kw),
        pv_kw=per_slot(pv_kw),
        own=torch.cat([own, fleet.schedule(layout.schedule, len(own))], -1),
        public=per_slot(
            public_features(
                series.start,
                prices.retail,
                prices.feed_in,
                prices.local_network,
                (pv_kw - load_kw).mean(-1),
                minutes,
            )
        ),
        prices=_slot_prices(prices, task.rules.stored_worth, minutes),
        bus=torch.as_tensor(np.searchsorted(buses, seating.bus)),
        bus_p_kw=per_slot(bus_p_kw),
        bus_q_kvar=per_slot(bus_q_kvar),
        days=days,
        slot_minutes=minutes,
        currency=prices.currency,
    )
    return community, buses


def _forecasts(
    kind: Kind, load_kw: Array, pv_kw: Array, first: torch.Tensor, day: int
) -> tuple[Array, Array]:
    """Return what is expected of load and PV, [T, N] kW; `first` slots of the training days."""
    training = np.zeros(len(load_kw), bool)
    training[(first[:, None] + torch.arange(day)).flatten().numpy()] = True
    return (
        forecast(kind, load_kw, day, training, steady=True),
        forecast(kind, pv_kw, day, training, steady=False),
    )


def _slot_prices(prices: Prices, stored_worth: float, minutes: int) -> SlotPrices:
    """Return the prices of each slot, and what energy is worth after it, [T + 1] each."""
    low = lowest_of_next_day(prices.retail, minutes)
    stored = prices.feed_in + stored_worth * (low - prices.feed_in)
    columns = (prices.retail, prices.feed_in, prices.local_network, stored, low)
    return SlotPrices(*map(per_slot, columns))


def _injections(site: Site, buses: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return what no seat decides at each bus [T, M]: background power, and all reactive power."""
    series, T = site.series, len(site.load_kw)
    active, reactive = np.zeros((2, T, len(buses)), np.float32)
    at = np.searchsorted(buses, series.background_bus)
    active[:, at] = site.background_p_kw
    reactive[:, at] = site.background_q_kvar
    np.subtract.at(reactive.T, np.searchsorted(buses, series.home_bus), series.load_kvar.T)
    return active, reactive
