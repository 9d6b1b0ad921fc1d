"""Shape of a task's configuration; the values live in YAML under configs/ alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, create_model, field_validator, model_validator

from gridbazaar.config import (
    Config,
    Count,
    EnergyPrice,
    Money,
    NonNegative,
    Positive,
    Seed,
    Share,
    Whole,
    bounded,
)
from gridbazaar.envs.data.ownership import OwnershipConfig
from gridbazaar.envs.data.user_series import UserData
from gridbazaar.envs.devices import DEVICES, DeviceConfig
from gridbazaar.envs.forecast import Kind
from gridbazaar.envs.grid.rated import Generation


class LimitsConfig(Config):
    """What happens where voltage or loading leave their band."""

    action: Literal["price", "curtail", "prevent"] = Field(
        description="price: what is broken is paid for; curtail: generation and devices are "
        "cut until the limits hold; prevent: seats are kept to an envelope "
        "beforehand",
    )
    voltage_price: Money = Field(description="EUR per p.u. beyond the band and hour and bus")
    loading_price: Money = Field(description="EUR per % beyond the rating and hour")
    unsolved_price: Money = Field(description="EUR for an interval without a power flow")


class RulesConfig(Config):
    """Rules of one interval that hold under every market."""

    gate_closure_s: Positive = Field(description="s from the opening of the book to its closing")
    submission_s: NonNegative = Field(
        description="s from the opening of the book to the sending of the orders; earlier where "
        "the ledger needs longer to take 99 of 100 in time"
    )
    max_tip: Money = Field(description="EUR, priority fee meant by an action of +1")
    dispatch: Literal["market", "own"] = Field(
        description="whether devices run as their orders clear, or as their seats say"
    )
    quantity: Literal["committed", "metered"] = Field(
        description="whether the must-run net is ordered as forecast, or as this slot's meter shows"
    )
    imbalance: Literal["grid", "pool"] = Field(
        description="who meets what seats deviate: the grid alone, or the pool first"
    )
    firming: Literal["none", "own", "storage_seats", "community"] = Field(
        description="whose devices make up for deviations before delivery"
    )
    penalty_price: EnergyPrice = Field(
        description="EUR per kWh promised and not kept, without a pool"
    )
    compensation: Literal["none", "metered"] = Field(
        "none",
        description="metered: once meters are read, seats that gained by the interval pay those "
        "whom their own meter at the grid's prices would have cost less",
    )
    unserved_price: EnergyPrice = Field(description="EUR per kWh a departing car misses")
    stored_worth: Share = Field(
        description="worth of a kWh left in a battery at the day's end: 0 the feed-in tariff, "
        "1 the lowest retail price of the next day"
    )
    forecast: Kind = Field(
        description="of the slot bid for: persistence (the slot before), perfect, or model "
        "(a regression on own meters)",
    )
    forecast_spread: Annotated[float, bounded(0, 3, "", "such a forecast says nothing")] = Field(
        description="standard deviation of the logarithm of a log-normal error of the forecast",
        json_schema_extra={"unit": "1"},
    )
    limits: LimitsConfig = Field(
        description="what happens where voltage or loading leave their band",
    )

    @model_validator(mode="after")
    def _sent_before_closure(self) -> RulesConfig:
        if self.submission_s >= self.gate_closure_s:
            raise ValueError(
                f"submission_s {self.submission_s} must lie before gate_closure_s "
                f"{self.gate_closure_s}"
            )
        return self

    @model_validator(mode="after")
    def _possible(self) -> RulesConfig:
        if self.firming != "none" and (self.dispatch == "own" or self.quantity == "metered"):
            raise ValueError(
                f"firming {self.firming} needs offers that the market dispatches and deviations "
                "from what was committed; set dispatch: market and quantity: committed, or "
                "firming: none"
            )
        if self.firming in ("storage_seats", "community") and self.imbalance == "grid":
            raise ValueError(
                f"firming {self.firming} is paid by the pool; set imbalance: pool, or firming: own"
            )
        return self


class FeederConfig(Config):
    """Which network carries the energy."""

    source: Literal["simbench", "pandapower", "file"] = Field(
        description="where the network comes from",
    )
    code: str = Field(description="SimBench code, name of a pandapower network, or path of a JSON")
    generation: Generation = Field(
        "by_type",
        description="the course of the generators beside the seats of other data: those whose type "
        "holds PV follow the sun and the rest is constant, all one or the other, or none counts",
    )
    voltage_band: tuple[Positive, Positive] = Field(
        description="p.u., where the net gives none", json_schema_extra={"unit": "p.u."}
    )
    loading_percent: Positive = Field(
        description="of the rating, where the net gives no limit", json_schema_extra={"unit": "%"}
    )

    @model_validator(mode="after")
    def _ordered(self) -> FeederConfig:
        low, high = self.voltage_band
        if low >= high:
            raise ValueError(f"voltage_band {low} to {high} is empty; give the lower bound first")
        return self


class SimbenchData(Config):
    """Homes, sun and chargers of a SimBench grid."""

    source: Literal["simbench"] = Field(description="simbench: a grid of the SimBench database")
    code: str = Field(description="of the SimBench grid")
    homes: Count | None = Field(None, description="the first so many of the grid's; null: all")
    chargers: Whole | None = Field(None, description="likewise")


class FilesData(UserData):
    """Homes, sun and charging sessions from a user's own files."""

    source: Literal["files"] = Field(description="files: a user's own")


class TaskConfig(Config):
    """A task: feeder, seats, data and rules, under a name with a version."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+-v\d+$")] = Field(
        description="of the task, ending in its version",
    )
    description: str = Field(description="in one line")
    seed: Seed = Field(description="draws who owns what and how long cars stay")
    feeder: FeederConfig = Field(description="which network carries the energy")
    data: Annotated[SimbenchData | FilesData, Field(discriminator="source")] = Field(
        description="of homes, sun and chargers",
    )
    ownership: OwnershipConfig = Field(description="who owns what")
    devices: dict[str, Any] = Field(description="by kind, as configs/devices/ shows")
    tariff: dict[str, Any] = Field(description="as configs/tariff/ shows")
    rules: RulesConfig = Field(description="of an interval")

    @field_validator("devices")
    @classmethod
    def _by_kind(cls, given: dict[str, Any]) -> dict[str, DeviceConfig]:
        """Build each kind's own configuration."""
        kinds: dict[str, Any] = {kind: (DEVICES[kind].Config, None) for kind in DEVICES}
        built = create_model("Devices", __base__=Config, **kinds).model_validate(given)
        return {kind: getattr(built, kind) for kind in given}


class WorldConfig(Config):
    """A task under one market, one ledger and incentives: all that a simulation is built from."""

    task: TaskConfig = Field(description="feeder, seats, data and rules")
    market: dict[str, Any] = Field(description="name and parameters of a registered market")
    ledger: dict[str, Any] = Field(description="name and parameters of a registered ledger")
    incentives: tuple[Any, ...] = Field(
        (), description="registered schemes that pay for meter readings, by name or with parameters"
    )

    @property
    def title(self) -> str:
        """Return how pictures call the world: its task, market and ledger."""
        names = (self.market.get("name", ""), self.ledger.get("name", ""))
        return " · ".join([self.task.name, *(str(name).replace("_", " ") for name in names)])
