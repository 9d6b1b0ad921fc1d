"""Canvas of the plots: sizes for a screen or for a paper's column, and a row for each that played.

The style in force says which: `palette.style()` is for screens, `palette.style(PAPER)` for papers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from gridbazaar.evaluation.mechanisms import cost, marks
from gridbazaar.palette import COLUMN_IN, TEXT_IN, UNDATED, style

Row = Mapping[str, Any]
Key = tuple[str, ...]

LABEL = "medium"  # of an axis, as the style in force has it
# Keeps a figure's text apart from lines behind it.
ON_WHITE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
_SCREEN_POINTS = 11  # to which the sizes in this package are given
_MOST_PANELS = 3
# Characters of a line beside a paper's panel, and above or below it.
_LONGEST, _WIDEST = 18, 46


def in_paper() -> bool:
    """Return whether figures are drawn for a paper."""
    return bool(matplotlib.rcParams["figure.figsize"][0] == COLUMN_IN)


def points(size: float) -> float:
    """Return a size of a line, a marker or a text in points, given for screens."""
    return float(size * matplotlib.rcParams["font.size"] / _SCREEN_POINTS)


def small() -> float:
    """Return the size of small text in points; papers want 7 at least."""
    return max(points(9), 7.0)


def size(width: float, height: float, double: bool = False) -> tuple[float, float]:
    """Return a figure's size in inches, given for screens.

    Args:
        width, height: on screens.
        double: in a paper it takes both columns.
    """
    if not in_paper():
        return width, height
    return TEXT_IN if double else COLUMN_IN, points(height)


def wrapped(text: str) -> str:
    """Return a text in lines that a paper's column can hold; as it is on screens."""
    return fill(text, _WIDEST) if in_paper() else text


def files_of(
    folder: Path,
    form: str,
    more: Mapping[str, Any],
    draw: Callable[[], Mapping[str, Figure | None]],
) -> dict[str, Path]:
    """Write figures into a folder; return their files by name.

    Args:
        folder: that is there.
        form: png, pdf or svg.
        more: settings on top of the style, such as `palette.PAPER`.
        draw: returns the figures by name, None for what there is not.
    """
    written = {}
    with style(more):
        for name, figure in draw().items():
            if figure is not None:
                written[name] = folder / f"{name}.{form}"
                figure.savefig(written[name], metadata=UNDATED.get(form))
                plt.close(figure)
    return written


@dataclass(frozen=True)
class Facets:
    """Who played as rows of a plot, with a panel for each ledger where these are few.

    Attributes:
        ledgers: a panel each; one empty name where rows tell the ledger.
        labels: of the rows, cheapest first; they tell what differs among all.
        cells: the row of a summary by row number and ledger, where there is one.
        common: what all share, in words; may be empty.
    """

    ledgers: tuple[str, ...]
    labels: tuple[str, ...]
    cells: Mapping[tuple[int, str], Row]
    common: str

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Facets:
        """Sort the rows of a summary; the grid alone stands in every panel."""
        played = [row for row in rows if not row["baseline"]]
        ledgers = list(dict.fromkeys(row["ledger"] for row in played))
        several = 1 < len(ledgers) <= _MOST_PANELS
        markets = {row["market"] for row in played}
        shown = ["bidder"]
        shown += ["market"] if len(markets) > 1 else []
        shown += ["ledger"] if len(ledgers) > _MOST_PANELS else []
        panels = ledgers if several else [""]
        keyed: dict[Key, dict[str, Row]] = {}
        for row in sorted(rows, key=cost):
            key = ("",) if row["baseline"] else tuple(str(row[name]) for name in shown)
            places = panels if row["baseline"] or not several else [row["ledger"]]
            keyed.setdefault(key, {}).update(dict.fromkeys(places, row))
        labels = [_label(key, list(found.values())) for key, found in keyed.items()]
        cells = {
            (y, ledger): row
            for y, found in enumerate(keyed.values())
            for ledger, row in found.items()
        }
        common = [*markets] if len(markets) == 1 else []
        common += ledgers if len(ledgers) == 1 else []
        words = " · ".join(common).replace("_", " ")
        return cls(tuple(panels), tuple(labels), cells, words)

    def figure(self, title: str, extra: float = 0.0) -> tuple[Figure, dict[str, Any]]:
        """Return a figure with a panel for each ledger, by its name; rows are named at the left.

        Args:
            title: of the whole; what all share is added.
            extra: inches above those of the rows, on screens.
        """
        many = len(self.ledgers) > 1
        folded = any("\n" in label for label in self.labels)
        row_in = (0.44 if folded else 0.34) if in_paper() else 0.42
        height = 1.6 + row_in * len(self.labels) + extra + 0.3 * many
        figure, panels = plt.subplots(
            1,
            len(self.ledgers),
            figsize=size(9 if not many else 10.5, height, double=many),
            sharex=True,
            sharey=True,
            squeeze=False,
        )
        named = dict(zip(self.ledgers, panels[0], strict=True))
        for ledger, axes in named.items():
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
            if many:
                axes.set_title(f"{ledger} ledger".replace("_", " "), weight="normal")
        first = panels[0, 0]
        first.set_yticks(range(len(self.labels)), self.labels)
        first.set_ylim(len(self.labels) - 0.4, -0.6)
        whole = f"{title} ({self.common})" if self.common else title
        _head(figure, whole, many)
        return figure, named


def _head(figure: Figure, title: str, many: bool) -> None:
    """Write a figure's title above its panels, or above the only one."""
    text = title if many else wrapped(title)
    # At the left of the figure, where the names of rows begin: long ones need the room.
    figure.suptitle(
        text,
        x=0.01,
        ha="left",
        weight="bold",
        size=matplotlib.rcParams["axes.titlesize"],
    )


def names(rows: Sequence[Row]) -> list[str]:
    """Return what stands beside each row, without what all share."""
    played = [row for row in rows if not row["baseline"]]
    shown = [part for part in ("market", "ledger") if len({row[part] for row in played}) > 1]
    keys = (tuple(str(row[part]) for part in ("bidder", *shown)) for row in rows)
    return [_label(key, [row]) for key, row in zip(keys, rows, strict=True)]


def _label(key: Key, rows: Sequence[Row]) -> str:
    """Return what stands beside a row, with the marks of all its cells."""
    name = "grid alone" if rows[0]["baseline"] else " · ".join(key).replace("_", " ")
    signs = "".join(dict.fromkeys("".join(marks(row) for row in rows)))
    return (fill(name, _LONGEST) if in_paper() else name) + signs
