"""Plots and tables for a paper: sizes, embedded fonts, and LaTeX that compiles in form."""

from __future__ import annotations

import copy
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from gridbazaar.errors import ConfigError
from gridbazaar.evaluation import plots
from gridbazaar.evaluation.canvas import Facets, files_of, small
from gridbazaar.evaluation.config import configure
from gridbazaar.evaluation.latex import escaped, table
from gridbazaar.evaluation.outcome import OPTIMUM
from gridbazaar.palette import COLUMN_IN, PAPER, TEXT_IN, bidder_colours, style

BIDDERS = [f"bidder_{k}" for k in range(14)]


def figure_of(mean):
    return {"mean": mean, "iqm": mean, "low": mean - 1, "high": mean + 2, "unit": "EUR/day"}


def row(bidder, ledger, mean, market="uniform_auction", baseline=False):
    kpis = {"community_cost": figure_of(mean), "optimum_share": figure_of(150 - mean)}
    kpis |= {f"cost_{role}": figure_of(mean / 4) for role in ("prosumer", "consumer", "ev")}
    kpis["cost_storage"] = figure_of(np.nan)
    kpis |= {"operator_surplus": figure_of(0.0), "unsolved_clearings": figure_of(0.0)}
    difference = {"reference": BIDDERS[0], "kpis": {"community_cost": figure_of(mean - 50)}}
    return {
        "bidder": bidder,
        "market": market,
        "ledger": ledger,
        "baseline": baseline,
        "kpis": kpis,
        "difference": None if baseline or bidder == BIDDERS[0] else difference,
        "score": None,
        "seeds": [],
    }


@pytest.fixture(scope="module")
def rows():
    """Return what 14 bidders on two ledgers come to."""
    found = [row("stand_alone", "ideal", 70.0, "grid_only", baseline=True)]
    for k, bidder in enumerate(BIDDERS):
        found += [row(bidder, "ideal", 50.0 + k), row(bidder, "block", 52.0 + 2 * (k % 5))]
    return [*found, row(OPTIMUM, "-", 45.0, "-")]


@pytest.fixture(scope="module")
def colours():
    return bidder_colours([*BIDDERS, "stand_alone"], [])


def test_ledgers_are_panels_so_that_no_row_has_two_dots(rows):
    with style():
        facets = Facets.of(plots.shown(rows))
    assert facets.ledgers == ("ideal", "block")
    assert len(facets.labels) == 15
    assert len(facets.cells) == 30  # the grid alone stands in both
    assert facets.common == "uniform auction"
    assert set(facets.labels) == {"grid alone", *(name.replace("_", " ") for name in BIDDERS)}


@pytest.mark.parametrize("draw", [plots.cost, plots.differences, plots.savings])
def test_a_papers_plot_is_as_wide_as_its_column_and_nothing_leaves_it(rows, colours, draw):
    one_ledger = [each for each in rows if each["ledger"] != "block"]
    with style(PAPER):
        for given, width in ((one_ledger, COLUMN_IN), (rows, TEXT_IN)):
            figure = draw(given, colours)
            figure.canvas.draw()
            assert figure.get_size_inches()[0] == width
            box = figure.get_tightbbox()
            assert box.x0 >= -0.01
            assert box.x1 <= width + 0.01
            assert box.y0 >= -0.01
            assert box.y1 <= figure.get_size_inches()[1] + 0.01
            plt.close(figure)


def test_text_of_a_papers_plot_has_seven_to_eight_points(rows, colours):
    with style(PAPER):
        assert small() >= 7
        figure = plots.cost(rows, colours)
        sizes = {t.get_fontsize() for t in figure.findobj(plt.Text) if t.get_text()}
        assert min(sizes) >= 7
        assert max(sizes) <= 8
        plt.close(figure)


def test_no_two_names_or_figures_of_a_plot_overlap(rows, colours):
    with style(PAPER):
        figure = plots.cost(rows, colours)
        figure.canvas.draw()
        for axes in figure.axes:
            texts = [*axes.texts, *axes.get_yticklabels()]
            boxes = [t.get_window_extent() for t in texts if t.get_text() and t.get_visible()]
            for k, one in enumerate(boxes):
                assert not any(one.overlaps(other) for other in boxes[k + 1 :])
        plt.close(figure)


@pytest.mark.parametrize(("form", "head"), [("pdf", b"%PDF-"), ("svg", b"<?xml")])
def test_files_are_vectors_with_their_fonts_the_same_each_time(rows, colours, tmp_path, form, head):
    one_ledger = [each for each in rows if each["ledger"] != "block"][:5] + rows[-1:]

    def draw():
        return {"savings": plots.savings(one_ledger, colours), "absent": None}

    written = files_of(tmp_path, form, PAPER, draw)
    assert written == {"savings": tmp_path / f"savings.{form}"}
    content = written["savings"].read_bytes()
    assert content.startswith(head)
    if form == "pdf":
        assert content.rstrip().endswith(b"%%EOF")
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
    else:
        assert b"<text" not in content
    files_of(tmp_path, form, PAPER, draw)
    assert written["savings"].read_bytes() == content


def test_an_unknown_format_is_one_line():
    with pytest.raises(ConfigError, match="format is 'eps'") as found:
        configure(["name=x", "bidder=truthful", "format=eps"])
    assert "\n" not in str(found.value)


def test_latex_escapes_what_would_break_it():
    assert escaped(r"50% of a_b & c#{$}") == r"50\% of a\_b \& c\#\{\$\}"
    assert escaped("`x` · †") == r"x \(\cdot\) \(\dagger\)"
    assert escaped("\\~^") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}"


def test_a_latex_table_compiles_in_form():
    lines = [["bidder · market", "cost, €"], ["a_b", "1.5 (1 to 2)"], ["50%", "–"]]
    before = copy.deepcopy(lines)
    text = table(lines, "Cost & more")
    assert lines == before
    opened = re.findall(r"\\begin\{(\w+\*?)\}", text)
    assert opened == list(reversed(re.findall(r"\\end\{(\w+\*?)\}", text)))
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    body = text.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    cells = [line for line in body.splitlines() if line.rstrip().endswith(r"\\")]
    assert len(cells) == 3
    assert all(len(re.findall(r"(?<!\\)&", line)) == 1 for line in cells)
    assert not re.search(r"(?<!\\)[%#_](?![^%]*$)", body)
    assert text.isascii()
