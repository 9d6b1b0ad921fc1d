"""Colours and type of all plots: Okabe and Ito's palette, which the colour-blind can tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from cycler import cycler

# Okabe and Ito (2008), "Color Universal Design".
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PINK, YELLOW, GREY, INK = "#56B4E9", "#CC79A7", "#F0E442", "#8A8F98", "#20262E"
FAINT = "#D5D9DF"
ROLE = {"prosumer": ORANGE, "storage": GREEN, "ev": PINK, "consumer": BLUE}
FLOW = {"PV": ORANGE, "batteries": GREEN, "loads": BLUE, "cars": PINK, "net": INK}
_BIDDERS = (BLUE, GREEN, PINK, SKY, ORANGE, YELLOW)
# Of pictures of an interval, whose places are all given.
PICTURE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "axes.edgecolor": "#B9BFC8",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "gridbazaar",
    "pdf.fonttype": 42,
}
_STYLE: dict[str, Any] = {
    "figure.facecolor": "white",
    "figure.figsize": (9.0, 4.0),
    "figure.constrained_layout.use": True,
    "savefig.dpi": 140,
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#C9CED6",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E9EE",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "axes.prop_cycle": cycler(color=list(_BIDDERS)),
}

# Inches, of a column and of both in the journals of IEEE; others differ by little.
COLUMN_IN, TEXT_IN = 3.5, 7.16
# Text of 8 points in a paper's column; a PDF embeds its fonts as TrueType, an SVG has paths.
PAPER: dict[str, Any] = {
    "figure.figsize": (COLUMN_IN, 2.4),
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.0,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.h_pad": 0.05,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "gridbazaar",
}
# So that the same plot gives the same file, by format.
UNDATED: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


@contextmanager
def style(more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Draw in this project's style, without a screen.

    Args:
        more: settings on top of it, such as PAPER.
    """
    settings: Any = {"backend": "Agg", **_STYLE, **(more or {})}
    with matplotlib.rc_context(settings):
        yield


def bidder_colours(bidders: Sequence[str], learned: Sequence[str]) -> dict[str, str]:
    """Return a colour per bidder: learned ones in vermilion, the others in turn."""
    others = [name for name in bidders if name not in learned]
    colours = {name: _BIDDERS[i % len(_BIDDERS)] for i, name in enumerate(others)}
    return colours | dict.fromkeys(learned, RED)


def role_colour(role: str) -> str:
    """Return the colour of a role; sky blue for those that come with further devices."""
    return ROLE.get(role, SKY)
