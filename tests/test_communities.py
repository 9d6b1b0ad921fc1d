"""The benchmark of communities: break-even sizes, parts of a community, and who pays."""

import math

import numpy as np
import pandas as pd
import pytest

from gridbazaar import envs
from gridbazaar.envs.placement import load_grid_and_series
from gridbazaar.errors import ResultsError
from gridbazaar.studies import pages
from gridbazaar.studies.communities import members, report, run
from gridbazaar.studies.communities.plot import draw

TASK = "semiurb4-v1"
SEATS = [10, 20, 40, 80]


@pytest.fixture(scope="module")
def series():
    return load_grid_and_series(envs.world(TASK).task)[1]


@pytest.fixture(scope="module")
def played():
    places, ledgers = [(TASK, 0.25, 0)], ("block", "tendermint", "ideal")
    return pd.DataFrame(run.rows(places, ("uniform_auction",), ledgers, 1, 0.5))


def test_the_line_through_points_on_a_line_is_that_line():
    line = report.fit(SEATS, [3 + 0.25 * n for n in SEATS])
    assert line == pytest.approx((3, 0.25, 1))
    with pytest.raises(ValueError, match="two sizes"):
        report.fit([5, 5], [1, 2])


def test_it_breaks_even_where_savings_per_seat_have_earned_the_fixed_cost():
    fixed, per_seat, saved = 6.0, 0.05, 0.25
    left = [(saved - per_seat) * n - fixed for n in SEATS]
    assert report.break_even(SEATS, left) == pytest.approx(fixed / (saved - per_seat))
    assert report.without_one(SEATS, left) == pytest.approx((30, 30))
    assert report.break_even(SEATS, [0.1 * n for n in SEATS]) == pytest.approx(0, abs=1e-9)
    assert report.break_even(SEATS, [-0.1 * n for n in SEATS]) == math.inf


def test_a_size_that_was_not_played_is_marked():
    words = [report.in_words(n, 10, 132) for n in (3, 10, 54.2, 400, math.inf)]
    assert words == ["< 10", "10", "55", "~400", "never"]


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_part_takes_no_load_off_the_feeder(series, share):
    part = members.part(series, share, draw=3)

    def load(s):
        return s.load_kw.sum(1) - s.background_p_kw.sum(1)

    np.testing.assert_allclose(load(part), load(series), rtol=1e-5, atol=1e-4)
    assert len(part.home_names) == round(share * len(series.home_names))
    sessions, whole = part.sessions, series.sessions
    assert set(sessions.charger_names) <= set(whole.charger_names)
    name = sessions.charger_names[0]
    for one in (sessions, whole):
        mine = one.charger == one.charger_names.index(name)
        assert one.energy_kwh[mine].sum() == pytest.approx(
            whole.energy_kwh[whole.charger == whole.charger_names.index(name)].sum()
        )


def test_another_draw_chooses_other_members(series):
    one, other = (members.part(series, 0.25, draw) for draw in (0, 1))
    assert one.home_names != other.home_names


def test_only_a_ledger_that_serves_the_market_alone_is_run_by_its_members():
    script = run
    alone = {
        name: script.serves_alone(script.ledger_of(name))
        for name in ("ideal", "block", "raft", "tendermint", "proof_of_stake", "raft+channels")
    }
    assert [name for name, yes in alone.items() if yes] == ["block", "raft", "raft+channels"]


def test_members_pay_for_nodes_or_fees_but_never_both(played):
    means = report.with_shares(played, 0.5).set_index("ledger")
    block, tendermint, ideal = means.loc["block"], means.loc["tendermint"], means.loc["ideal"]
    assert block.paid == pytest.approx(block.lost + block.nodes)
    assert block.charged == pytest.approx(block.lost + block.fees)
    assert tendermint.paid == tendermint.charged > tendermint.lost
    assert math.isnan(tendermint.nodes)
    assert ideal.paid == ideal.charged == ideal.carbon_g_per_kwh == 0
    assert block.carbon_g_per_kwh == pytest.approx(500 * block.ledger_energy / block.traded_energy)


def test_tables_and_plot_name_every_ledger(played, tmp_path):
    sizes = [played.assign(share=s, seats=played.seats * s / 0.25) for s in (0.25, 0.5, 1.0)]
    means = report.with_shares(pd.concat(sizes), 0.5)
    page, plot = tmp_path / "page.md", tmp_path / "plot.png"
    tables = report.tables(means)
    page.write_text("".join(f"<!-- {name} -->\n<!-- end of {name} -->\n" for name in tables))
    pages.write(page, tables)
    for name in ("block", "tendermint"):
        assert all(f"`{name}`" in table for table in tables.values())
    assert page.read_text().count("`block`") == len(tables)
    draw(means, 0.5, plot)
    assert plot.stat().st_size > 1000
    page.write_text("no marks")
    with pytest.raises(ResultsError, match="lacks the marks"):
        pages.write(page, tables)
    assert page.read_text() == "no marks"
