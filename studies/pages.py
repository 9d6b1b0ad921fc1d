"""Tables of a study in a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gridbazaar import files
from gridbazaar.errors import ResultsError


def check(page: Path, names: Iterable[str]) -> str:
    """Return the text of a page; raise ResultsError where it lacks the marks of a table."""
    if not page.is_file():
        raise ResultsError(f"there is no page {page}; name one that has the tables' marks")
    text = page.read_text(encoding="utf-8")
    for start, end in map(_marks, names):
        if start not in text or end not in text:
            raise ResultsError(f"{page} lacks the marks {start} and {end}; put them into it")
    return text


def write(page: Path, texts: dict[str, str]) -> None:
    """Put each table between its marks in a page, whole or not at all; errors as `check`."""
    text = check(page, texts)
    for name, table in texts.items():
        start, end = _marks(name)
        text = f"{text.split(start)[0]}{start}\n{table}\n{end}{text.split(end)[1]}"
    files.write(page, text)


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->", f"<!-- end of {name} -->"
