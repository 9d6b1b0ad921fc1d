import json
import math
from types import SimpleNamespace

import pytest
import torch

from gridbazaar.errors import UnknownNameError
from gridbazaar.evaluation import mechanisms
from gridbazaar.evaluation.config import configure
from gridbazaar.evaluation.figures import spanned
from gridbazaar.evaluation.mechanisms import COLUMNS, groups, marks, more, notes, shades, shown
from gridbazaar.evaluation.results import evaluate, table
from gridbazaar.evaluation.standing import standing
from gridbazaar.evaluation.tables import terminal
from gridbazaar.evaluation.timing import timed
from gridbazaar.evaluation.verdicts import headlines, of_bidders, of_markets

MARKETS, BIDDERS, LEDGERS = ("vcg", "uniform_auction", "grid_only"), ("truthful", "own_use"), 2


def row(market="vcg", bidder="truthful", ledger="ideal", baseline=False, **figures):
    """A row of a summary with the figures' means alone."""
    kpis = {"community_cost": 50.0, "savings_percent": 10.0, "optimum_share": 20.0, **figures}
    return {
        "bidder": bidder,
        "market": market,
        "ledger": ledger,
        "baseline": baseline,
        "kpis": {name: {"mean": mean, "unit": "EUR/day"} for name, mean in kpis.items()},
        "market_difference": None,
    }


ALONE = row("grid_only", "stand_alone", baseline=True, community_cost=60.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    words = [
        "name=tiny",
        f"folder={tmp_path_factory.mktemp('results')}",
        f"bidder=[{','.join(BIDDERS)}]",
        f"market=[{','.join(MARKETS)}]",
        "ledger=[ideal,block]",
        "days=2",
        "resamples=100",
        "signatures=false",
        "planner=false",
    ]
    return evaluate(configure(words), quiet=True)


@pytest.fixture(scope="module")
def summary(folder):
    summary, times = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("summary", "timing")
    )
    return timed(summary, times)


def test_market_differences_are_paired_with_the_same_bidder_and_ledger(summary):
    rows = {(r["bidder"], r["market"], r["ledger"]): r for r in summary["rows"]}
    for (bidder, market, ledger), found in rows.items():
        difference = found["market_difference"]
        if mechanisms.is_reference(found) or market == "uniform_auction":
            assert difference is None
            continue
        assert difference["reference"] == "uniform_auction"
        expected = mechanisms.cost(found) - mechanisms.cost(rows[bidder, "uniform_auction", ledger])
        paired = difference["kpis"]["community_cost"]
        assert paired["mean"] == pytest.approx(expected)
        assert paired["low"] <= paired["mean"] <= paired["high"]


def test_terminal_shows_every_market_under_every_bidder_and_ledger(folder, summary):
    lines = table(folder).splitlines()
    heads = lines[0].split()
    assert heads == ["market", "cost", "more", *(column.head for column in COLUMNS[1:])]
    assert max(map(len, lines)) <= 140
    assert [line.split()[0] for line in lines[1:3]] == ["optimum", "grid"]
    for name in MARKETS:
        found = [line for line in lines if line.startswith(f"  {name}")]
        assert len(found) == (len(BIDDERS) + 1) * LEDGERS
    titles = [line for line in lines if line.endswith((" · ideal", " · block"))]
    names = ("optimum_played", *BIDDERS)
    assert titles == [f"{b} · {ledger}" for ledger in ("ideal", "block") for b in names]


def test_markdown_has_a_line_per_row_of_as_many_cells_as_heads(folder, summary):
    text = (folder / "table.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(summary["rows"])
    assert len({line.count("|") for line in lines}) == 1
    assert "2 days of the test split" in text
    assert "\n\\* The operator" in text


def test_a_single_market_is_compared_by_bidder(summary):
    one = summary | {"rows": [r for r in summary["rows"] if r["market"] in ("uniform_auction", "-")
                              or r["baseline"]]}  # fmt: skip
    assert not mechanisms.several(one["rows"])
    assert terminal(one).startswith("bidder · market · ledger")


def test_a_sentence_on_other_markets_stands_once_however_many_bidders_there_are(folder):
    page = (folder / "report.html").read_text()
    assert page.count("other markets without subsidy") == 1
    assert page.count("on one side of zero") == 2  # of markets, and of bidders
    for bidder in BIDDERS:
        for ledger in ("ideal", "block"):
            assert f"<th>{bidder.replace('_', ' ')} · {ledger}</th>" in page
    assert "is taken under the same market and ledger" in page


def test_report_has_the_mechanisms_with_coloured_cells_and_both_plots(folder):
    page = (folder / "report.html").read_text()
    assert 'id="mechanisms"' in page
    assert page.count("background: rgba(") > len(MARKETS) * len(BIDDERS)
    assert {"mechanisms.png", "heat.png"} <= {p.name for p in (folder / "plots").iterdir()}
    assert "The operator adds money" in page


def test_what_undercuts_the_optimum_is_subsidised_and_says_so(summary):
    bound = next(r for r in summary["rows"] if r["bidder"] == "optimum")
    for found in summary["rows"]:
        assert ("*" in marks(found)) == (found["market"] == "vcg")
        if "*" not in marks(found):
            assert mechanisms.cost(found) >= mechanisms.cost(bound) * (1 - 1e-6)


def test_operators_that_add_more_than_rounding_are_marked():
    assert marks(row(operator_surplus=-0.02)) == "*"
    assert marks(row(operator_surplus=-1e-7)) == ""
    assert marks(row(operator_surplus=3.0)) == ""
    assert notes([row(operator_surplus=3.0)]) == []


def test_unsolved_clearings_are_marked_with_their_largest_share():
    rows = [row(unsolved_clearings=4.0), row(unsolved_clearings=83.0), row("x")]
    assert [marks(found) for found in rows] == ["†", "†", ""]
    (note,) = notes(rows)
    assert note.endswith("at most: vcg 83 %.")


def test_the_headline_is_of_a_market_without_subsidy():
    rows = [ALONE, row(operator_surplus=-5.0), row("uniform_auction", community_cost=55.0)]
    assert headlines({"rows": rows, "cheapest": {"others": 1, "alike": []}})[0] == (
        "55.00 EUR/day",
        "community cost of truthful · uniform auction · ideal, less than every other on the same "
        "days",
    )


def test_what_is_not_told_apart_is_not_called_the_cheapest():
    rows = [ALONE, row(community_cost=55.0)]
    others = [{"bidder": f"b_{k}", "market": "vcg", "ledger": "ideal"} for k in range(5)]
    (_, words), *_ = headlines({"rows": rows, "cheapest": {"others": 6, "alike": others}})
    assert words.endswith(
        "the lowest mean; not told apart from b 0 · vcg · ideal; b 1 · vcg · ideal; b 2 · vcg · "
        "ideal and 2 more"
    )
    assert "cheapest" not in words
    (_, words), *_ = headlines(
        {"rows": rows[:1] + rows[1:], "cheapest": {"others": 0, "alike": []}}
    )
    assert words.endswith("which alone was played")


def test_verdicts_leave_out_subsidies_and_rounding():
    def against(market, low, high, **figures):
        difference = {"mean": (low + high) / 2, "low": low, "high": high}
        kpis = {"reference": "uniform_auction", "kpis": {"community_cost": difference}}
        return row(market, **figures) | {"market_difference": kpis}

    rows = [
        ALONE,
        row("uniform_auction"),
        against("vcg", -6.0, -4.0, operator_surplus=-5.0),
        against("iterative", 1e-6, 2e-6),
        against("mcafee", 1.0, 2.0),
        against("bill_sharing", -2.0, -1.0),
    ]
    found = of_markets(rows)
    assert found.tallies == (("truthful · ideal", 1, 1, 1),)
    assert "other markets without subsidy than uniform auction" in found.said
    assert "same bidder and ledger" in found.said
    assert found.head[1] == "cost more than uniform auction"
    assert of_markets(rows[:2]) is None
    assert of_bidders([r | {"difference": None} for r in rows]) is None


def test_a_single_day_tells_nothing_apart():
    difference = {"mean": 5.0, "low": 5.0, "high": 5.0, "unit": "EUR/day"}
    paired = {"reference": "zip", "kpis": {"community_cost": difference}}
    rows = [row(bidder="zip") | {"difference": None}, row(community_cost=55.0)]
    rows[1] |= {"difference": paired}
    assert of_bidders(rows).tallies == (("vcg · ideal", 0, 0, 1),)
    assert spanned(difference) == "5.000"

    costs = [50.0, 55.0]
    days = [SimpleNamespace(figures={"community_cost": torch.tensor([cost])}) for cost in costs]
    played = SimpleNamespace(first_slot=torch.zeros(1), repeats=1, outcomes=days)
    found = standing(SimpleNamespace(resamples=50, seed=0), played, rows)
    assert (found["bidder"], found["others"]) == ("zip", 1)
    assert [each["bidder"] for each in found["alike"]] == ["truthful"]


def test_groups_keep_the_order_of_ledgers_and_bidders_and_sort_by_cost():
    rows = [
        ALONE,
        row(bidder="zip", ledger="sluggish"),
        row(bidder="zip", ledger="block"),
        row("mcafee", "zip", "sluggish", community_cost=40.0),
        row(bidder="aa", ledger="sluggish"),
    ]
    found = groups(rows)
    assert [g.title for g in found] == ["zip · sluggish", "aa · sluggish", "zip · block"]
    assert [r["market"] for r in found[0].rows] == ["mcafee", "vcg"]
    assert [g.title for g in groups(rows[:2])] == ["zip"]


def column(name):
    return next(c for c in COLUMNS if c.name == name)


def test_shades_run_from_worst_to_best():
    cost = [row(community_cost=c) for c in (40.0, 60.0, 80.0)]
    assert shades(cost, column("community_cost"), "lower") == pytest.approx([1, 0, -1])
    assert shades(cost, column("community_cost"), "higher") == pytest.approx([-1, 0, 1])
    assert all(math.isnan(s) for s in shades(cost, column("mean_price"), "-"))
    close = [row(community_cost=c) for c in (100.0, 101.0)]
    assert shades(close, column("community_cost"), "lower") == pytest.approx([0.1, -0.1], abs=0.01)
    same = [row(), row(community_cost=None), row()]
    assert shades(same, column("community_cost"), "lower") == pytest.approx(
        [0, math.nan, 0], nan_ok=True
    )
    wide = [row(transactions=n) for n in (1e2, 1e4, 1e6)]
    assert shades(wide, column("transactions"), "lower") == pytest.approx([1, 0, -1], abs=0.01)


def test_figures_are_short():
    assert shown(row(operator_surplus=-1e-8), column("operator_surplus")) == "0.00"
    assert shown(row(mean_price=None), column("mean_price")) == "–"
    texts = [shown(row(transactions=n), column("transactions")) for n in (0, 96, 2668, 3814000)]
    assert texts == ["0", "96", "2.67k", "3.81M"]
    assert shown(row(transactions=999_600), column("transactions")) == "1.00M"
    dearer = row() | {
        "market_difference": {
            "reference": "x",
            "kpis": {"community_cost": {"mean": 1.5, "low": 1.0, "high": 1.8}},
        }
    }
    assert more(dearer) == "+1.50 ±0.40"
    dearer["market_difference"]["kpis"]["community_cost"] |= {"low": 1.5, "high": 1.5}
    assert more(dearer) == "+1.50"  # one day has no interval


def test_reference_market_must_exist_and_falls_back_to_the_first_that_plays():
    with pytest.raises(UnknownNameError, match="did you mean 'vcg'"):
        configure(["name=x", "reference_market=vgc"])
    config = configure(["name=x", "market=[mcafee,vcg]"])
    assert config.reference_of_markets == "mcafee"
