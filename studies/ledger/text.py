"""Text forms of figures and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

Row = Sequence[str]


def rounded(value: float, digits: int = 3) -> str:
    """Return a number with so many digits that count; a dash where there is none."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "no limit"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    text = f"{round(value, decimals):,.{max(decimals, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def aligned(head: Row, rows: Sequence[Row]) -> str:
    """Return a table for a terminal: text to the left, figures to the right."""
    table = [list(head), *(list(row) for row in rows)]
    columns = list(zip(*table, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    right = [all(_numeric(cell) for cell in column[1:]) for column in columns]
    lines = [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in table
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _numeric(cell: str) -> bool:
    return cell in ("–", "no limit", "") or cell[0] in "0123456789-"
