"""Tariffs: retail price, feed-in tariff and the network charge for energy traded in the feeder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from gridbazaar.config import Config, EnergyPrice, Share, SignedEnergyPrice, validate
from gridbazaar.envs.data.user_files import PriceFile, read_prices
from gridbazaar.errors import DataError, nearest

DAY_MINUTES = 24 * 60
_HIGHEST = 1e5  # per kWh, as EnergyPrice
# Prices that ship with the project; their sources stand in the NOTICE beside them.
EXCHANGES = {
    "german_2016": PriceFile(
        path=Path(__file__).parent / "smard" / "day_ahead_2016.csv.gz",
        time_column="hour_utc",
        time_zone="Europe/Berlin",
        column="eur_per_mwh",
        unit="per_mwh",
    )
}


@dataclass(frozen=True)
class Prices:
    """Prices over slots, float32 [T], money of `currency` per kWh, gross.

    retail: all-in price of energy from the grid. feed_in: what the grid pays. Either may be
    negative, and retail below feed-in, in some slots. local_network: charge on a kWh bought within
    the feeder instead of the retail price's full network charge.
    """

    currency: str
    retail: NDArray[np.float32]
    feed_in: NDArray[np.float32]
    local_network: NDArray[np.float32]


class MarketFeedIn(Config):
    """Feed-in at the exchange's price, less what the seller of the energy keeps per kWh."""

    below_market: EnergyPrice = Field(
        description="kept by the seller of the energy, off the exchange's price",
    )


class _Tariff(Config):
    name: str = Field(description="of the tariff")
    currency: str = Field(description="of all its prices")
    source: str = Field(description="who says so")
    feed_in: SignedEnergyPrice | MarketFeedIn | PriceFile = Field(
        description="what the grid pays: a price, the exchange's less a part, or a file",
        json_schema_extra={"unit": "EUR/kWh"},
    )
    local_network_share: Share = Field(
        description="of the network charge that a kWh from a neighbour bears",
    )


class Window(Config):
    """Part of a day, from `start` to before `end` ("HH:MM", may pass midnight), and its charge."""

    start: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = Field(description="HH:MM")
    end: Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")] = Field(
        description="HH:MM, before which it ends; may pass midnight",
    )
    network: EnergyPrice = Field(description="charge in the window")

    def minutes(self) -> NDArray[np.int64]:
        """Return the minutes of the day that the window holds."""
        begin, end = (int(t[:2]) * 60 + int(t[3:]) for t in (self.start, self.end))
        return np.arange(begin, end if end > begin else end + DAY_MINUTES) % DAY_MINUTES


class Season(Config):
    """Months (1..12) with the windows of their days."""

    months: tuple[Annotated[int, Field(ge=1, le=12)], ...] = Field(description="1 to 12")
    windows: tuple[Window, ...] = Field(description="that fill the 24 hours of their days")

    @model_validator(mode="after")
    def _whole_day(self) -> Self:
        owner = np.full(DAY_MINUTES, -1)
        for i, window in enumerate(self.windows):
            taken = window.minutes()[owner[window.minutes()] >= 0]
            if len(taken):
                raise ValueError(
                    f"windows overlap at {_clock(int(taken[0]))}: {window.start}-{window.end} and "
                    f"{self.windows[owner[taken[0]]].start}-{self.windows[owner[taken[0]]].end}"
                )
            owner[window.minutes()] = i
        free = np.flatnonzero(owner < 0)
        if len(free):
            raise ValueError(f"no window holds {_clock(int(free[0]))}; windows must fill 24 hours")
        return self

    def network(self) -> NDArray[np.float64]:
        """Return the network charge of each minute of the day [1440]."""
        charge = np.empty(DAY_MINUTES)
        for window in self.windows:
            charge[window.minutes()] = window.network
        return charge


class _Seasons(Config):
    """Network charges by month and time of day; the months hold each of 1..12 once."""

    seasons: tuple[Season, ...] = Field(description="that hold each month once")

    @model_validator(mode="after")
    def _each_month(self) -> Self:
        months = sorted(month for season in self.seasons for month in season.months)
        if months != list(range(1, 13)):
            raise ValueError(f"seasons hold the months {months}; expected each of 1..12 once")
        return self

    def charges(
        self, start: pd.Timestamp, days: int, slot_minutes: int, name: str
    ) -> NDArray[np.float64]:
        """Return the network charge of each slot [T]; raises DataError where windows cut slots."""
        by_month = np.empty((13, DAY_MINUTES // slot_minutes))
        for season in self.seasons:
            minutes = season.network().reshape(-1, slot_minutes)
            if (minutes != minutes[:, :1]).any():
                raise DataError(f"a window of tariff {name!r} begins within a slot")
            by_month[list(season.months)] = minutes[:, 0]
        dates = pd.date_range(start.normalize(), periods=days, freq="D")
        return np.asarray(by_month[dates.month].ravel())


class WindowTariff(_Tariff, _Seasons):
    """Prices by time of day and month: retail = base + the window's network charge."""

    kind: Literal["windows"] = Field(description="windows: prices by time of day and month")
    base: SignedEnergyPrice = Field(description="everything but the network charge, gross")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for season in self.seasons:
            highest = max(season.windows, key=lambda window: window.network)
            retail = self.base + highest.network
            if isinstance(self.feed_in, float) and self.feed_in > retail:
                raise ValueError(
                    f"feed_in {self.feed_in} is above retail {retail:.4f} in the window "
                    f"{highest.start}-{highest.end} of months {season.months}, and so all day; it "
                    "would always pay to buy from the grid and sell back"
                )
        return self

    def prices(self, start: pd.Timestamp, days: int, slot_minutes: int) -> Prices:
        """Return prices of `days` days from `start`; raises DataError where windows cut slots."""
        network = self.charges(start, days, slot_minutes, self.name)
        return _prices(self, self.base + network, network, start, days, slot_minutes, None)


class DayAheadTariff(_Tariff):
    """Prices of an exchange: retail = (price + adders + network) times (1 + vat).

    Prices may be negative, and below feed-in, where the exchange's are.
    """

    kind: Literal["day_ahead"] = Field(description="day_ahead: prices of an exchange")
    price: str | PriceFile = Field(
        description="a file, or the name of prices that ship with the project",
    )
    adders: EnergyPrice = Field(description="taxes, levies and margin, net")
    network: EnergyPrice | _Seasons = Field(description="charge, net: one, or seasons of windows")
    vat: Share = Field(description="value-added tax on price, adders and network")

    @field_validator("price")
    @classmethod
    def _shipped(cls, given: str | PriceFile) -> str | PriceFile:
        if isinstance(given, str) and given not in EXCHANGES:
            raise ValueError(f"{nearest(given, EXCHANGES)}; or give path, column, unit, ...")
        return given

    def prices(self, start: pd.Timestamp, days: int, slot_minutes: int) -> Prices:
        """Return prices of `days` days from `start`; raises DataError as the file's reader does."""
        file = EXCHANGES[self.price] if isinstance(self.price, str) else self.price
        market = read_prices(file, slot_minutes, start, days)
        gross = 1 + self.vat
        if isinstance(self.network, _Seasons):
            network = self.network.charges(start, days, slot_minutes, self.name) * gross
        else:
            network = np.full(len(market), self.network * gross)
        retail = (market + self.adders) * gross + network
        return _prices(self, retail, network, start, days, slot_minutes, market)


Tariff = WindowTariff | DayAheadTariff


class _Task(Config):
    tariff: Annotated[Tariff, Field(discriminator="kind")] = Field(description="of the task")


def parse_tariff(config: Mapping[str, Any]) -> Tariff:
    """Return the tariff of a YAML mapping; raises ConfigError with the path."""
    return validate(_Task, {"tariff": dict(config)}, "task").tariff


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _prices(
    tariff: _Tariff,
    retail: NDArray[np.float64],
    network: NDArray[np.float64],
    start: pd.Timestamp,
    days: int,
    slot_minutes: int,
    market: NDArray[np.float64] | None,
) -> Prices:
    given = tariff.feed_in
    if isinstance(given, MarketFeedIn):
        if market is None:
            raise DataError(
                f"tariff {tariff.name!r} has no exchange price for feed_in to follow; give a "
                "number or a file"
            )
        feed_in = market - given.below_market
    elif isinstance(given, PriceFile):
        feed_in = read_prices(given, slot_minutes, start, days)
    else:
        feed_in = np.full(len(retail), given)
    for name, each in (("retail price", retail), ("feed-in tariff", feed_in)):
        extreme = each[np.abs(each).argmax()]
        if abs(extreme) > _HIGHEST:
            raise DataError(
                f"tariff {tariff.name!r} comes to a {name} of {extreme:.4g} per kWh; expected at "
                f"most {_HIGHEST:,g} either way, as order books tell no higher prices apart; give "
                "prices in a larger unit of money"
            )
    return Prices(
        tariff.currency,
        retail.astype(np.float32),
        feed_in.astype(np.float32),
        (tariff.local_network_share * network).astype(np.float32),
    )
