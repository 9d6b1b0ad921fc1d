"""Tables of a study in a page of the documentation."""

from __future__ import annotations

from pathlib import Path

from gridbazaar import files


def write(page: Path, texts: dict[str, str]) -> None:
    """Put each table between its marks in a page, whole or not at all."""
    text = page.read_text(encoding="utf-8")
    for name, table in texts.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if start not in text or end not in text:
            raise SystemExit(f"{page} needs the marks {start} and {end}")
        text = f"{text.split(start)[0]}{start}\n{table}\n{end}{text.split(end)[1]}"
    files.write(page, text)
