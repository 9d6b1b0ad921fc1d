"""Time stamps as a file writes them, read without guessing."""

from __future__ import annotations

import re
import warnings
from typing import Literal

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

from gridbazaar.errors import DataError

UNIX: dict[str | None, Literal["s", "ms"]] = {"unix_s": "s", "unix_ms": "ms"}
_UTC = re.compile(r"(?<=\d)\s*(?:UTC|GMT|Z)$")
_OFFSET = r"[:T][\d.:]*\d\s?[+-]\d\d(?::?\d\d)?$"
_YEAR_FIRST = re.compile(r"^(\d{4})[/.](\d\d?)[/.](\d\d?)")
_ISO = r"\d{4}-?\d\d-?\d\d(?:[T ]|$)"
# What a time stamp may hold in letters, beside UTC, GMT and Z at its end.
_WORDS = {"T", "AM", "PM"} | {
    word[:n].upper()
    for word in (
        *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
        *("October", "November", "December"),
        *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    )
    for n in (3, len(word))
}


def instants(stamps: pd.Series, time_format: str | None, where: str) -> pd.DatetimeIndex:
    """Return the time stamps of a column, row by row: in UTC where they have an offset, else naive.

    Without a `time_format` ISO 8601 and stamps that name their month are read; days and months in
    figures are not guessed at.

    Args:
        stamps: time stamps, text, or numbers.
        time_format: as of `strptime`, or unix_s, unix_ms; None where none is needed.
        where: the file, for messages.

    Raises:
        DataError: no rows; cells that are missing, or no time stamps; dates that may begin with the
            day or the month; abbreviations of zones; some stamps with an offset and some without.
    """
    if not len(stamps):
        raise DataError(f"{where} has no rows")
    holes = np.flatnonzero(stamps.isna())
    if len(holes):
        raise DataError(f"{where}: {len(holes)} time stamps missing, first in row {holes[0]}")
    column = f"{where}: time column {stamps.name!r}"
    if pd.api.types.is_datetime64_any_dtype(stamps):
        time = pd.DatetimeIndex(stamps)
        return time if time.tz is None else time.tz_convert("UTC")
    try:
        if time_format in UNIX:
            return pd.DatetimeIndex(
                pd.to_datetime(pd.to_numeric(stamps), unit=UNIX[time_format], utc=True)
            )
        if time_format is None and pd.api.types.is_numeric_dtype(stamps):
            raise DataError(
                f"{column} holds numbers, expected time stamps; set time_format to unix_s, "
                "unix_ms or a pattern such as %Y%m%d%H%M"
            )
        text = stamps.astype(str).str.strip()
        if time_format is not None:
            return _by_format(text, time_format, column)
        return _by_itself(text, column)
    except DataError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        what = " ".join(str(error).split("\n", 1)[0].split())
        raise DataError(f"{column}: {what}; correct the stamps or set time_format") from None


def _by_format(text: pd.Series, time_format: str, column: str) -> pd.DatetimeIndex:
    read = pd.to_datetime(text, format=time_format, errors="coerce", utc="%z" in time_format)
    time = pd.DatetimeIndex(read)
    wrong = np.flatnonzero(time.isna())
    if len(wrong):
        raise DataError(
            f"{column}: {len(wrong)} cells do not follow time_format {time_format!r}, first "
            f"{text.iloc[wrong[0]]!r} in row {wrong[0]}"
        )
    return time


def _by_itself(text: pd.Series, column: str) -> pd.DatetimeIndex:
    text = text.str.replace(_UTC, "+00:00", regex=True).str.replace(
        _YEAR_FIRST, _dashed, regex=True
    )
    _check_words(text, column)
    offset = text.str.contains(_OFFSET)
    if offset.any() and not offset.all():
        row = int(np.flatnonzero(offset != offset.iloc[0])[0])
        raise DataError(
            f"{column}: {int(offset.sum())} of {len(text)} stamps have an offset, first change in "
            f"row {row} ({text.iloc[row]!r}); write all with one or all without"
        )
    aware = bool(offset.all())
    if text.str.match(_ISO).all():
        return pd.DatetimeIndex(pd.to_datetime(text, format="ISO8601", utc=aware))
    with warnings.catch_warnings():
        # It warns of each date that can only be read the other way round.
        warnings.simplefilter("ignore", UserWarning)
        first, second = (
            pd.DatetimeIndex(pd.to_datetime(text, format="mixed", dayfirst=day, utc=aware))
            for day in (False, True)
        )
    differ = np.flatnonzero(first != second)
    if len(differ):
        given = text.iloc[differ[0]]
        day, month = (guess_datetime_format(given, dayfirst=day) for day in (True, False))
        raise DataError(
            f"{column}: {given!r} in row {differ[0]} may begin with the day or the month; set "
            f"time_format, to {day or '%d.%m.%Y %H:%M'!r} or {month or '%m.%d.%Y %H:%M'!r}"
        )
    return first


def _dashed(found: re.Match[str]) -> str:
    return f"{found[1]}-{found[2]:0>2}-{found[3]:0>2}"


def _check_words(text: pd.Series, column: str) -> None:
    """Raise DataError for letters that pandas would pass over, as it does for many a zone."""
    words = text.str.findall(r"[^\W\d_]+")
    for word in words.explode().dropna().unique():
        if word.upper() not in _WORDS:
            row = int(np.argmax([word in found for found in words]))
            raise DataError(
                f"{column}: {text.iloc[row]!r} in row {row} holds {word!r}; write an offset such "
                "as +02:00 for the abbreviation of a zone, or name the zone by time_zone; leave "
                "out notes by skip_rows or skip_footer"
            )
