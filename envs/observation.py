"""Features of an observation: one vector for every role, entries found by name.

The vector holds what never changes (SEAT, and RATINGS of a device), what everybody knows of the
slot being bid for (PUBLIC), what the seat alone knows of it (OWN, and SCHEDULE of a device), the
state of its device (DEVICE, USE), and what the last interval left behind (OWN_STATE, PUBLIC_STATE).
Nothing in it was metered in the slot being bid for. These stand first in every community; what else
a community's devices show, and a seat's further devices, follow (`gridbazaar.envs.layout`).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from gridbazaar.errors import UnknownNameError

ROLES = ("prosumer", "storage", "ev", "consumer")
OUTLOOK_HOURS = (1, 2, 4, 8, 12)


class Feature(NamedTuple):
    """One entry of the observation vector: physical value = entry / scale."""

    name: str
    unit: str
    scale: float
    meaning: str


def role_feature(role: str) -> Feature:
    """Return the feature that tells a role."""
    return Feature(f"is_{role}", "1", 1.0, f"1 for a seat of role {role}")


SEAT = (
    *map(role_feature, ROLES),
    Feature("pv_kwp", "kWp", 0.1, "own PV rating"),
)
RATINGS = (
    Feature("storage_kwh", "kWh", 0.05, "own battery capacity"),
    Feature("flexible_kw", "kW", 0.1, "rated power of battery or charger"),
)
PUBLIC = (
    Feature("day_sin", "1", 1.0, "sine of the time of day"),
    Feature("day_cos", "1", 1.0, "cosine of the time of day"),
    Feature("year_cos", "1", 1.0, "cosine of the day of the year: 1 at midwinter"),
    Feature("weekend", "1", 1.0, "1 on Saturday and Sunday"),
    Feature("day_left", "1", 1.0, "share of the episode still to come"),
    Feature("retail", "EUR/kWh", 3.0, "price of the grid now"),
    Feature("feed_in", "EUR/kWh", 3.0, "what the grid pays now"),
    Feature("local_charge", "EUR/kWh", 3.0, "network charge on a local kWh now"),
    Feature("day_low", "EUR/kWh", 3.0, "lowest feed-in price of the day: an action's -1"),
    Feature("day_high", "EUR/kWh", 3.0, "highest retail price of the day: an action's +1"),
    *(
        Feature(f"retail_in_{h}h", "EUR/kWh", 3.0, f"price of the grid in {h} h")
        for h in OUTLOOK_HOURS
    ),
    Feature("retail_low", "EUR/kWh", 3.0, "lowest price of the grid until the day's end"),
    Feature("retail_high", "EUR/kWh", 3.0, "highest price of the grid until the day's end"),
    Feature("community_net", "kW/seat", 0.5, "net export of all homes yesterday at this hour"),
    *(
        Feature(f"community_net_{h}h", "kW/seat", 0.5, f"the same, mean of the next {h} h")
        for h in OUTLOOK_HOURS
    ),
    Feature("community_surplus_left", "kWh/seat", 0.2, "yesterday's surplus from this hour on"),
)
OWN = (
    Feature("forecast_load", "kW", 0.5, "forecast of own load in the slot bid for"),
    Feature("forecast_pv", "kW", 0.2, "forecast of own PV in the slot bid for"),
    Feature("load_4h", "kW", 0.5, "own load yesterday, mean of these 4 h"),
    Feature("pv_4h", "kW", 0.2, "own PV yesterday, mean of these 4 h"),
    Feature("load_left", "kWh", 0.1, "own load yesterday from this hour on"),
    Feature("pv_left", "kWh", 0.05, "own PV yesterday from this hour on"),
)
SCHEDULE = (Feature("slots_to_departure", "slots", 0.02, "slots until the plugged car leaves"),)
DEVICE = (
    Feature("soc", "1", 1.0, "stored share of the capacity of battery or plugged car"),
    Feature("energy_kwh", "kWh", 0.05, "energy stored above the floor"),
    Feature("room_kwh", "kWh", 0.05, "room for energy; what the plugged car still wants"),
    Feature("urgency", "1", 1.0, "room over what can be charged until departure, at most 2"),
)
USE = (
    Feature("must_take", "1", 1.0, "what the device must take now, share of rated power"),
    Feature("can_take", "1", 1.0, "what it can take beside that, share of rated power"),
    Feature("can_give", "1", 1.0, "what it can give, share of rated power"),
    Feature("last_power", "1", 1.0, "power of the device in the last interval, share of rated"),
    Feature("take_filled", "1", 1.0, "share of what was bid for the device that cleared last"),
    Feature("give_filled", "1", 1.0, "share of what it offered to give that cleared last"),
    Feature("traded_price", "EUR/kWh", 3.0, "mean price of the device's last trades; 0 without"),
)
OWN_STATE = (
    Feature("voltage", "p.u.", 20.0, "own voltage in the last interval, from nominal, within 1"),
    Feature("included", "1", 1.0, "1 where the last order reached the ledger in time"),
    Feature("delay", "slots", 1.0, "wait of the last order for its block, at most 1"),
    Feature("filled", "1", 1.0, "share of the last order for the must-run net that cleared"),
    Feature("filled_price", "EUR/kWh", 3.0, "price of that trade; 0 without"),
    Feature("deviation", "kW", 0.5, "meter less position in the last interval, firming left out"),
    Feature("firmed", "kW", 0.5, "given for others' deviations in the last interval"),
    Feature("locked", "EUR", 1.0, "own money waiting for finality"),
)
PUBLIC_STATE = (
    Feature("last_price", "EUR/kWh", 3.0, "last published clearing price"),
    Feature("last_volume", "kW/seat", 1.0, "traded in the last interval, all seats, as published"),
    Feature("last_supply", "kW/seat", 1.0, "offered in the last interval, all seats; 0 if hidden"),
    Feature(
        "last_demand", "kW/seat", 1.0, "asked for in the last interval, all seats; 0 if hidden"
    ),
    Feature("last_export", "kW/seat", 1.0, "net export of all seats metered in the last interval"),
    Feature("last_must_run", "kW/seat", 1.0, "the same without devices"),
    Feature("stored", "1", 1.0, "share of the capacity of all batteries that is filled"),
    Feature("base_fee", "EUR", 10.0, "fee of a transaction without priority, at most 10"),
    Feature("backlog", "1/seat", 0.1, "transactions waiting for a block, per seat, at most 1000"),
    Feature("finality", "slots", 1.0, "from gate closure to finality, last interval, at most 96"),
)
FEATURES = (*SEAT, *RATINGS, *PUBLIC, *OWN, *SCHEDULE, *DEVICE, *USE, *OWN_STATE, *PUBLIC_STATE)
SIZE = len(FEATURES)
_INDEX = {feature.name: i for i, feature in enumerate(FEATURES)}
_DEVICE = {feature.name: feature for feature in (*RATINGS, *SCHEDULE, *DEVICE)}


def read(observation: Tensor, name: str) -> Tensor:
    """Return a feature of FEATURES from [..., SIZE or more] in its physical unit.

    Those stand first in every community; `Layout.read` knows the further ones of a community's own.
    Raises UnknownNameError for another name, with the nearest.
    """
    if name not in _INDEX:
        raise UnknownNameError("feature", name, _INDEX)
    i = _INDEX[name]
    return observation[..., i] / FEATURES[i].scale


def device_features(*names: str) -> tuple[Feature, ...]:
    """Return standard features of a device by name, for kinds that show the same."""
    return tuple(_DEVICE[name] for name in names)


def scales(part: tuple[Feature, ...], like: Tensor) -> Tensor:
    """Return the scales of one part of the vector, with the type and device of `like`."""
    return like.new_tensor([feature.scale for feature in part])


class UseState(NamedTuple):
    """What each device can do and did, [B, N, K] each, as USE says."""

    must_take: Tensor
    can_take: Tensor
    can_give: Tensor
    last_power: Tensor
    take_filled: Tensor
    give_filled: Tensor
    traded_price: Tensor


class OwnState(NamedTuple):
    """What the last interval left behind for each seat, [B, N] each, as OWN_STATE says."""

    voltage: Tensor
    included: Tensor
    delay: Tensor
    filled: Tensor
    filled_price: Tensor
    deviation: Tensor
    firmed: Tensor
    locked: Tensor


class PublicState(NamedTuple):
    """What is public of the last interval and of now, [B] each, as PUBLIC_STATE says."""

    last_price: Tensor
    last_volume: Tensor
    last_supply: Tensor
    last_demand: Tensor
    last_export: Tensor
    last_must_run: Tensor
    stored: Tensor
    base_fee: Tensor
    backlog: Tensor
    finality: Tensor
