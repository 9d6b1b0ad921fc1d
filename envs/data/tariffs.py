"""Tariffs: retail price, feed-in tariff and the network charge for energy traded in the feeder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from gridbazaar.config import Config, NonNegative, Share, validate
from gridbazaar.envs.data.user_files import PriceFile, read_prices
from gridbazaar.errors import DataError

DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class Prices:
    """Prices over slots, float32 [T], money of `currency` per kWh, gross.

    retail: all-in price of energy from the grid. feed_in: what the grid pays. local_network: charge
    on a kWh bought within the feeder instead of the retail price's full network charge.
    """

    currency: str
    retail: NDArray[np.float32]
    feed_in: NDArray[np.float32]
    local_network: NDArray[np.float32]


class _Tariff(Config):
    name: str
    currency: str
    source: str
    feed_in: NonNegative
    local_network_share: Share


class Window(Config):
    """Part of a day, from `start` to before `end` ("HH:MM", may pass midnight), and its charge."""

    start: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    end: Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
    network: NonNegative

    def minutes(self) -> NDArray[np.int64]:
        """Return the minutes of the day that the window holds."""
        begin, end = (int(t[:2]) * 60 + int(t[3:]) for t in (self.start, self.end))
        return np.arange(begin, end if end > begin else end + DAY_MINUTES) % DAY_MINUTES


class Season(Config):
    """Months (1..12) with the windows of their days."""

    months: tuple[Annotated[int, Field(ge=1, le=12)], ...]
    windows: tuple[Window, ...]

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


class WindowTariff(_Tariff):
    """Prices by time of day and month: retail = base + the window's network charge."""

    kind: Literal["windows"]
    base: NonNegative
    seasons: tuple[Season, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        months = sorted(month for season in self.seasons for month in season.months)
        if months != list(range(1, 13)):
            raise ValueError(f"seasons hold the months {months}; expected each of 1..12 once")
        for season in self.seasons:
            for window in season.windows:
                retail = self.base + window.network
                if self.feed_in > retail:
                    raise ValueError(
                        f"feed_in {self.feed_in} is above retail {retail:.4f} in the window "
                        f"{window.start}-{window.end} of months {season.months}; it would pay to "
                        "buy from the grid and sell back"
                    )
        return self

    def prices(self, start: pd.Timestamp, days: int, slot_minutes: int) -> Prices:
        """Return prices of `days` days from `start`; raises DataError where windows cut slots."""
        by_month = np.empty((13, DAY_MINUTES // slot_minutes))
        for season in self.seasons:
            minutes = season.network().reshape(-1, slot_minutes)
            if (minutes != minutes[:, :1]).any():
                raise DataError(f"a window of tariff {self.name!r} begins within a slot")
            by_month[list(season.months)] = minutes[:, 0]
        dates = pd.date_range(start.normalize(), periods=days, freq="D")
        network = by_month[dates.month].ravel()
        return _prices(self, self.base + network, network)


class DayAheadTariff(_Tariff):
    """Prices of a user's market file: retail = (price + adders + network) times (1 + vat)."""

    kind: Literal["day_ahead"]
    price: PriceFile
    adders: NonNegative
    network: NonNegative
    vat: Share

    def prices(self, start: pd.Timestamp, days: int, slot_minutes: int) -> Prices:
        """Return prices of `days` days from `start`; raises DataError as the file's reader does."""
        market = read_prices(self.price, slot_minutes, start, days)
        gross = 1 + self.vat
        network = np.full(len(market), self.network * gross)
        return _prices(self, (market + self.adders) * gross + network, network)


Tariff = WindowTariff | DayAheadTariff


class _Task(Config):
    tariff: Annotated[Tariff, Field(discriminator="kind")]


def parse_tariff(config: Mapping[str, Any]) -> Tariff:
    """Return the tariff of a YAML mapping; raises ConfigError with the path."""
    return validate(_Task, {"tariff": dict(config)}, "task").tariff


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _prices(tariff: _Tariff, retail: NDArray[np.float64], network: NDArray[np.float64]) -> Prices:
    bad = np.flatnonzero(retail < tariff.feed_in)
    if len(bad):
        raise DataError(
            f"tariff {tariff.name!r}: feed-in {tariff.feed_in} is above retail "
            f"{retail[bad[0]]:.4f} in slot {bad[0]} ({len(bad)} slots); lower feed_in or raise the "
            "fixed parts of the retail price"
        )
    return Prices(
        tariff.currency,
        retail.astype(np.float32),
        np.full(len(retail), tariff.feed_in, np.float32),
        (tariff.local_network_share * network).astype(np.float32),
    )
