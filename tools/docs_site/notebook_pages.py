"""Pages of the site from the notebooks in examples/notebooks/, in jupytext's percent format."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "notebooks"
_FIRST = ("first_bidder",)
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)


def pages() -> tuple[list[Any], dict[str, str]]:
    """Return entries of the navigation, and the text of each page by path; none without folder."""
    found = sorted(FOLDER.glob("*.py"), key=lambda path: (path.stem not in _FIRST, path.stem))
    texts = {f"notebooks/{path.stem}.md": as_markdown(path) for path in found}
    return ([{"Notebooks": list(texts)}] if texts else []), texts


def as_markdown(path: Path) -> str:
    """Return a notebook's text and code."""
    _, *parts = _CELL.split(path.read_text(encoding="utf-8"))
    cells = []
    for head, body in zip(parts[::2], parts[1::2], strict=True):
        if "[markdown]" in head:
            cells.append(re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE))
        elif body.strip():
            cells.append(f"```python\n{body.strip()}\n```")
    where = path.relative_to(ROOT).as_posix()
    note = f"*A notebook: `{where}` runs as it stands, and opens in Jupyter by jupytext.*"
    # A heading comes first: it is the page's name.
    first, *rest = cells
    return "\n\n".join([first, note, *rest]) + "\n"
