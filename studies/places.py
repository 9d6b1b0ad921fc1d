"""Places that a study reads and writes, as types of its options: refused before it works."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from gridbazaar.errors import ResultsError
from gridbazaar.studies import pages

_FORMATS = (".png", ".svg", ".pdf")


def count(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"is {text!r}: expected a whole number of at least 1")
    return int(text)


def file(text: str) -> Path:
    """Return the path of a file that can be written; folders on the way may still be missing."""
    path = Path(text)
    there = next(each for each in path.absolute().parents if each.exists())
    if path.is_dir():
        raise ArgumentTypeError(f"{path} is a folder; name a file")
    if not there.is_dir():
        raise ArgumentTypeError(f"{path} cannot be written: {there} is no folder; move it")
    if not os.access(path if path.exists() else there, os.W_OK):
        raise ArgumentTypeError(f"{path} cannot be written; make the place writable")
    return path


def plot(text: str) -> Path:
    """Return the path of a picture that can be written, by its ending."""
    path = file(text)
    if path.suffix not in _FORMATS:
        raise ArgumentTypeError(f"{path} must end with one of {', '.join(_FORMATS)}")
    return path


def page(*names: str) -> Callable[[str], Path]:
    """Return the type of a page that has the marks of these tables."""

    def checked(text: str) -> Path:
        path = file(text)
        try:
            pages.check(path, names)
        except ResultsError as error:
            raise ArgumentTypeError(str(error)) from None
        return path

    return checked


def played(*columns: str) -> Callable[[str], pd.DataFrame]:
    """Return the type of a table that an earlier run wrote as CSV, with these columns."""

    def read(text: str) -> pd.DataFrame:
        try:
            frame = pd.read_csv(text)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ArgumentTypeError(
                f"{text} is no CSV of an earlier run ({reason}); give what --csv wrote"
            ) from None
        if missing := [name for name in columns if name not in frame]:
            raise ArgumentTypeError(
                f"{text} has no column {missing[0]!r}; give what --csv wrote in an earlier run"
            )
        return frame

    return read
