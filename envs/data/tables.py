"""A user's table, from CSV, Parquet or JSON, read with every doubt turned into a clear error."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow
from numpy.typing import NDArray
from pydantic import Field

from gridbazaar.config import Config, Whole
from gridbazaar.errors import DataError, nearest

_KINDS = (".csv", ".csv.gz", ".txt", ".parquet", ".json", ".jsonl")
_SEPARATORS = (";", "\t", "|", ",")
_One = Annotated[str, Field(min_length=1, max_length=1)]


class TableFile(Config):
    """A file with a table, and how to read it."""

    path: Path = Field(
        description="of a CSV, Parquet or JSON file; relative ones start at the folder of the call",
    )
    time_zone: str | None = Field(
        description="IANA zone of stamps without an offset, as clock time; null: standard "
        "time of the place already",
    )
    time_format: str | None = Field(
        default=None,
        description="unix_s, unix_ms or a pattern of strptime such as %d.%m.%Y %H:%M; null: "
        "ISO 8601",
    )
    separator: _One = Field(default=",", description="between the columns of a CSV file")
    decimal: _One = Field(default=".", description="mark of a CSV file")
    thousands: _One | None = Field(default=None, description="mark of a CSV file; null: none")
    encoding: str = Field(default="utf-8", description="of a CSV file")
    skip_rows: Whole = Field(default=0, description="lines before the header of a CSV file")
    skip_footer: Whole = Field(default=0, description="lines after its last row")


def read_table(file: TableFile, text: Sequence[str] = ()) -> pd.DataFrame:
    """Return a file's table, columns of `text` as they are written.

    Raises:
        DataError: there is no such file, or it cannot be read, with the option that may help.
    """
    path = file.path
    if not path.is_file():
        raise DataError(f"no file {path} (looked in {path.resolve().parent})")
    kind = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if kind not in _KINDS:
        raise DataError(f"{path} ends in {kind!r}; expected .csv or .parquet, .json, .jsonl")
    try:
        if kind == ".parquet":
            table = pd.read_parquet(path)
        elif kind in (".json", ".jsonl"):
            table = pd.read_json(
                path, convert_dates=False, lines=kind == ".jsonl", encoding=file.encoding
            )
        else:
            table = _read_csv(file, text)
    except (UnicodeError, LookupError) as error:
        what = " ".join(str(error).split())
        raise DataError(
            f"{path} is not {file.encoding} ({what}); set encoding, to latin-1 or utf-16 perhaps"
        ) from None
    except (ValueError, OSError, pyarrow.ArrowException, pd.errors.ParserWarning) as error:
        what = " ".join(str(error).split())[:150]
        raise DataError(f"{path} cannot be read as {kind}: {what}; {_mend(kind)}") from None
    if table.empty:
        raise DataError(f"{path} has no rows")
    return table


def _read_csv(file: TableFile, text: Sequence[str]) -> pd.DataFrame:
    engine: Any = (
        {"engine": "python"}
        if file.skip_footer
        else {"low_memory": False, "float_precision": "round_trip"}
    )
    with warnings.catch_warnings():
        # It warns where it would leave cells out.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            file.path,
            sep=file.separator,
            decimal=file.decimal,
            thousands=file.thousands,
            encoding=file.encoding,
            skiprows=file.skip_rows,
            skipfooter=file.skip_footer,
            dtype=dict.fromkeys(text, str),
            index_col=False,
            **engine,
        )


def _mend(kind: str) -> str:
    if kind in (".csv", ".csv.gz", ".txt"):
        return "set separator, or leave out other lines by skip_rows and skip_footer"
    return "write it anew, or as CSV"


def pick(table: pd.DataFrame, columns: Sequence[str], where: str) -> pd.DataFrame:
    """Return the named columns, twice where they are named twice.

    Raises:
        DataError: a column is missing or stands there twice; with those that are there.
    """
    there = [str(c) for c in table.columns]
    for name in columns:
        if name in there:
            if there.count(name) > 1:
                raise DataError(
                    f"{where} has column {name!r} {there.count(name)} times; rename one"
                )
            continue
        other = next((s for s in _SEPARATORS if len(there) == 1 and s in there[0]), None)
        if other is not None:
            raise DataError(f"{where} has one column {there[0]!r}; set separator to {other!r}")
        raise DataError(f"{where} has no column {name!r}: {nearest(name, there)}")
    return table.iloc[:, [there.index(name) for name in columns]]


def numbers(table: pd.DataFrame, file: TableFile) -> NDArray[np.float64]:
    """Return the columns as float64; raises DataError for text, NaN or infinite cells."""
    where = str(file.path)
    found = np.empty(table.shape)
    for i, name in enumerate(table.columns):
        column = table.iloc[:, i]
        found[:, i] = _plain(column, file)
        bad = np.flatnonzero(~np.isfinite(found[:, i]))
        if len(bad):
            raise DataError(
                f"{where}: column {name!r} has {len(bad)} missing or infinite cells, first at "
                f"{table.index[bad[0]]}; fill them or choose days without them"
            )
    return found


def _plain(column: pd.Series, file: TableFile) -> NDArray[np.float64]:
    """Return a column's numbers, NaN for empty cells."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    text = column.dropna().astype(str).str.strip()
    if file.thousands is not None:
        text = text.str.replace(file.thousands, "", regex=False)
    read = pd.to_numeric(text.str.replace(file.decimal, ".", regex=False), errors="coerce")
    wrong = text[read.isna()]
    if len(wrong):
        given = wrong.iloc[0]
        comma = file.decimal == "." and re.fullmatch(r"-?\d[\d.]*,\d+", given)
        raise DataError(
            f"{file.path}: column {column.name!r} is not numeric: {len(wrong)} cells such as "
            f"{given!r}; "
            + ("set decimal to ','" if comma else "fill them or choose days without them")
        )
    return read.reindex(column.index).to_numpy(np.float64)
