"""CE-SDT's experiment: its equations, a day by hand, conservation, floors, and the command."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize

from gridbazaar.errors import DataError, UnknownNameError
from gridbazaar.studies.ce_sdt import community, fit, profiles, report, run, sweeps, trading
from gridbazaar.studies.ce_sdt.prices import History, Weights, buying, selling, weights
from gridbazaar.studies.ce_sdt.references import references
from gridbazaar.studies.ce_sdt.rules import Rules
from gridbazaar.studies.ce_sdt.schedule import dissatisfaction, schedule

SMALL = Rules(users=8)
PRICES = community.read_prices()


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


@pytest.fixture(scope="module")
def kind():
    return profiles.read("simbench", Path("nowhere"))


def day(kind, rules, shares=(0.5,), draws=2):
    c = community.build(kind, shares, draws, rules, PRICES, 7)
    weight = trading.typical_weights(c, rules)
    return c, weight, trading.simulate(c, rules, PRICES, weight)


# --- equations ----------------------------------------------------------------------------------


def test_suggestions_are_those_of_equations_5_and_6():
    weight = Weights(0.01, 0.5, 0.02, 0.3, opening=0.2)
    assert selling(row(20), row(0.25), weight) == pytest.approx(0.01 * 20 + 0.5 * 0.5)
    assert buying(row(20), row(0.25), weight) == pytest.approx(0.02 * 20 - 0.3 * 0.5)


def test_with_typical_energies_both_suggestions_rest_at_the_level():
    weight = weights(0.2, surplus_kwh=10, need_kwh=18)
    level = row(0.2)
    assert selling(row(10), level, weight) == pytest.approx(0.2)
    assert buying(row(18), level, weight) == pytest.approx(0.2)
    assert selling(row(20), level, weight) > 0.2 > selling(row(5), level, weight)
    assert buying(row(18), row(0.3), weight) < 0.2


@pytest.mark.parametrize(
    ("scope", "rule", "expected"),
    [
        ("user", "mean", [(0.2 + 0.3 + 0.1) / 3, 0.2]),
        ("market", "mean", [0.6 / 3, 0.6 / 3]),
        ("user", "sum", [0.2 + 0.4 / 4, 0.2]),
        ("market", "sum", [0.2 + 0.4 / 4, 0.2 + 0.4 / 4]),
    ],
)
def test_histories_hold_each_user_s_prices_or_the_market_s(scope, rule, expected):
    history = History(0.2, row(0, 0), scope, rule, a_day=4)
    history.add(row(0.3, 0.9), torch.tensor([[True, False]]))
    history.add(row(0.1, 0.9), torch.tensor([[True, False]]))
    torch.testing.assert_close(history.recent(), row(*expected))


def test_offers_are_accepted_from_the_cheapest_until_the_request_is_met():
    offered, price = row(2, 1, 3, 0), row(0.3, 0.1, 0.2, 0.0)
    for need, expected in ((3.5, [0, 1, 2.5, 0]), (0.4, [0, 0.4, 0, 0]), (9, [2, 1, 3, 0])):
        taken = trading.accept(offered, price, torch.tensor([need], dtype=torch.float64))
        torch.testing.assert_close(taken, row(*expected))


def test_the_grid_s_prices_are_those_of_table_2():
    cents = [17.7] * 7 + [27.71] * 7 + [54.11] * 6 + [27.71] * 2 + [17.7] * 2
    np.testing.assert_allclose(PRICES.grid * 100, cents)
    assert PRICES.feed_in == 0.1


def test_intervals_settle_the_hour_s_power_over_their_own_length():
    load, sun = torch.rand(3, 5, 24).double(), torch.rand(3, 5, 24).double()
    seed = torch.arange(3)
    hourly = replace(SMALL, users=5, shortest_min=60, longest_min=60)
    flat = torch.ones_like(load) * 0.7  # an interval of two hours has the power of the first, (14)
    for clock, given in (("hourly", load), ("own", flat)):
        events = community.settle(given, sun, seed, replace(hourly, clock=clock))
        total = community.per_user(events, events.load_kwh, 5)
        torch.testing.assert_close(total, given.sum(-1))
        assert (events.hour.diff(dim=-1) >= 0).all()
    events = community.settle(load, sun, seed, SMALL)
    real = events.hours[events.hours > 0] * 60
    assert real.max() <= 75
    assert (real >= 45 - 1e-9).double().mean() > 0.9  # all but the first and last
    torch.testing.assert_close(
        community.per_user(events, events.hours, 5), torch.full((3, 5), 24.0).double()
    )
    minutes = torch.zeros(3, 24).double().scatter_add(1, events.middle, events.hours * 60)
    torch.testing.assert_close(minutes.sum(-1), torch.full((3,), 5 * 1440.0).double())
    assert (minutes / 5 - 60).abs().max() < 40  # no hour has twice its time, nor half of it
    rows = torch.arange(3)[:, None]
    expected = load[rows, events.user, events.hour] * events.hours
    torch.testing.assert_close(events.load_kwh, expected)


def test_the_schedule_is_the_optimum_that_another_solver_finds():
    nominal, price = np.array([1.0, 0.5, 2.0, 0.8]), np.array([0.18, 0.28, 0.54, 0.28])
    found = schedule(torch.tensor(nominal), torch.tensor(price), 0.3, 0.5)

    def cost(load):
        return price @ load + 0.25 * ((load - nominal) ** 2 / nominal).sum()

    bounds = [(0.7 * x, 1.3 * x) for x in nominal]
    same = {"type": "eq", "fun": lambda load: load.sum() - nominal.sum()}
    other = minimize(cost, nominal, bounds=bounds, constraints=same, tol=1e-12)
    np.testing.assert_allclose(found, other.x, atol=1e-5)
    regret = dissatisfaction(found, torch.tensor(nominal), 0.5)
    assert float(price @ found.numpy() + float(regret)) == pytest.approx(other.fun, abs=1e-8)
    assert (schedule(torch.tensor(nominal), torch.tensor(price), 0.0, 0.5) == row(*nominal)).all()


# --- a day ----------------------------------------------------------------------------------------


def plain_day(c, r, rules, weight):
    """Replay one community in plain Python, one store and one request after the other."""
    events = [column[r].tolist() for column in c.events]
    owner, users = c.owner[r].tolist(), range(rules.users)
    surplus, need_of = [0.0] * rules.users, [0.0] * rules.users
    for user, _, _, _, load, sun in zip(*events, strict=True):
        surplus[user] += max(sun - load, 0)
        need_of[user] += load
    later = list(surplus)
    floor = rules.soc_floor * rules.store_kwh
    stored = [floor if owner[i] else 0.0 for i in users]
    cost, asked, bid = [0.0] * rules.users, [[rules.level] for _ in users], None
    bid = [[rules.level] for _ in users]
    for user, hour, _, _, load, sun in zip(*events, strict=True):
        grid = float(PRICES.grid[hour])

        def free(i):
            return max(stored[i] - max(floor - later[i], 0), 0) if owner[i] else 0.0

        if sun > load:
            later[user] -= sun - load
            put = min(sun - load, rules.store_kwh - stored[user])
            stored[user] += put
            cost[user] -= PRICES.feed_in * (sun - load - put)
            continue
        own = min(load - sun, free(user))
        stored[user] -= own
        need = load - sun - own
        mean = sum(bid[user]) / len(bid[user])
        request = weight.beta * need_of[user] - weight.nu * mean**0.5
        if need > 1e-9 and request < grid:
            offers = []
            for i in users:
                if owner[i] and i != user and free(i) > 0:
                    mean = sum(asked[i]) / len(asked[i])
                    price = weight.lambda_ * surplus[i] + weight.mu * mean**0.5
                    offers.append((min(max(price, PRICES.feed_in), grid), i))
            for price, i in sorted(offers):
                part = min(need, free(i))
                if part > 0:
                    need -= part
                    stored[i] -= part
                    cost[i] -= price * part
                    cost[user] += price * part
                    asked[i].append(price)
            if len(offers) and need < load - sun - own:
                bid[user].append(max(request, PRICES.feed_in))
        cost[user] += need * grid
    return cost


def test_a_day_is_what_a_plain_loop_over_the_protocol_gives(kind):
    # Without spread, like users tie: `sorted` and the stable sort agree on who is first.
    rules = replace(SMALL, users=9, spread=0.0, store_kw=50.0)
    c, weight, outcome = day(kind, rules, shares=(0.3, 0.6), draws=2)
    assert outcome.sold.sum() > 1
    for r in range(4):
        np.testing.assert_allclose(outcome.cost[r], plain_day(c, r, rules, weight), atol=1e-9)


@pytest.mark.parametrize("name", sweeps.READINGS)
def test_energy_and_money_are_conserved_and_the_floor_holds(kind, name):
    rules = replace(SMALL, **sweeps.READINGS[name])
    c, _, o = day(kind, rules, shares=(0.25, 0.5, 1.0))
    assert all(getattr(o, field.name).isfinite().all() for field in fields(o))
    close = torch.testing.assert_close
    into, out = o.sun + o.bought + o.grid, o.load + o.sold + o.fed_in + o.wasted
    close(into, out + o.lost + o.stored)
    close(o.load, o.own_sun + o.own_store + o.bought + o.grid)
    close(o.bought.sum(-1), o.sold.sum(-1))
    close(o.paid_users.sum(-1), o.earned_users.sum(-1))
    close(o.need_by_hour.sum(-1), (o.bought + o.grid).sum(-1))
    close(o.grid_by_hour.sum(-1), o.grid.sum(-1))
    assert (o.end_soc[c.owner] >= rules.soc_floor - 1e-9).all()
    assert (o.end_soc <= 1 + 1e-9).all()
    assert (o.sold[~c.owner] == 0).all()
    assert (o.stored[~c.owner] == 0).all()
    dearest = PRICES.grid.max()
    assert (o.paid_users <= o.bought * dearest + 1e-9).all()
    assert (o.earned_users >= o.sold * PRICES.feed_in - 1e-9).all()


def test_stores_are_charged_by_own_sun_alone(kind):
    dark = kind._replace(sun_kw=torch.zeros_like(kind.sun_kw))
    c, _, o = day(dark, SMALL)
    assert c.owner.any()
    assert (o.sold == 0).all()
    assert (o.own_store == 0).all()
    assert (o.stored == 0).all()
    torch.testing.assert_close(o.cost, references(c, SMALL, PRICES)["grid"])


def test_without_trade_a_day_costs_what_the_references_say(kind):
    c, _, o = day(kind, SMALL, shares=(0.0,))
    assert not c.owner.any()
    torch.testing.assert_close(o.cost, references(c, SMALL, PRICES)["grid"])
    for change in ({"bidding": False}, {"participation": 0.0}):
        c, _, o = day(kind, replace(SMALL, **change))
        bases = references(c, SMALL, PRICES)
        assert (o.bought == 0).all()
        torch.testing.assert_close(o.cost, bases["store"])
    c, _, o = day(kind, replace(SMALL, bidding=False, store_kwh=0.0))
    torch.testing.assert_close(o.cost, bases["own_use"])
    assert (bases["store"] <= bases["own_use"] + 1e-9).all()
    torch.testing.assert_close(
        bases["gross"], bases["grid"] - PRICES.feed_in * community.per_user(
            c.events, c.events.sun_kwh, SMALL.users
        )
    )  # fmt: skip


def test_more_answers_more_trade_and_a_draw_is_the_same_under_every_share(kind):
    late, soon = (day(kind, replace(SMALL, timeout_s=t))[2].bought.sum() for t in (2.0, 30.0))
    assert late < soon
    c = community.build(kind, (0.25, 0.75), 2, SMALL, PRICES, 3)
    assert (c.owner.sum(-1) == torch.tensor([2, 2, 6, 6])).all()
    assert (c.owner[2:] | ~c.owner[:2]).all()  # who generates at a quarter does at three
    torch.testing.assert_close(c.load_kw[:2], c.load_kw[2:])


def test_the_fit_meets_the_two_figures_that_it_is_given(kind):
    rules = replace(SMALL, users=4)
    found = fit.fitted(kind, rules, PRICES, draws=2, seed=0)
    consumers, everybody = fit.bills(
        kind, rules, PRICES, [found.level, 0.3], [20.0, found.load_kwh], draws=2, seed=0
    )
    assert everybody[0, 1] == pytest.approx(fit.ALL, abs=0.01)
    reached = consumers[0, 1] == pytest.approx(fit.CONSUMERS, abs=0.01)
    assert reached or found.level == pytest.approx(fit.LEVELS[0])
    # A grid is played as its points are.
    changed = replace(rules, level=0.3, load_kwh=20.0)
    c, _, o = day(kind, changed, draws=2)
    assert c.seed[0] == 7
    alone, every = fit.bills(kind, rules, PRICES, [0.1, 0.3], [20.0, 9.0], draws=2, seed=7)
    before = references(c, changed, PRICES)["gross"]
    assert every[1, 0] == pytest.approx(float(o.cost.sum() / before.sum()))
    mine = ~c.owner
    assert alone[1, 0] == pytest.approx(float(o.cost[mine].sum() / before[mine].sum()))


# --- profiles and the command --------------------------------------------------------------------


def test_simbench_homes_have_the_means_of_new_south_wales(kind):
    assert kind.load_kw.shape == (15, 24)
    assert kind.sun_kw.shape == (3, 24)
    assert float(kind.load_kw.sum(-1).mean()) == pytest.approx(profiles.NSW_LOAD_KWH)
    assert float(kind.sun_kw.sum(-1).mean()) == pytest.approx(profiles.NSW_SUN_KWH)
    assert kind.sun_kw[:, [0, 23]].abs().max() == 0
    assert len({tuple(day.tolist()) for day in kind.load_kw}) == 15


@pytest.mark.parametrize("name", ["nsw", "homes", "ausgrid"])
def test_sets_that_do_not_ship_say_what_to_fetch(name, tmp_path):
    with pytest.raises(DataError, match=r"is missing: .* set --data .* --profiles simbench"):
        profiles.read(name, tmp_path)
    with pytest.raises(UnknownNameError, match="nsv"):
        profiles.read("nsv", tmp_path)


SHARED = Path(__file__).parents[1] / ".." / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="no data beside the checkout")
def test_measured_sets_are_what_they_say():
    nsw, ausgrid = (profiles.read(name, SHARED) for name in ("nsw", "ausgrid"))
    november = [19.74, 18.22]  # customers 1 and 12, kWh a day
    assert pytest.approx(np.mean(november), abs=0.05) == profiles.NSW_LOAD_KWH
    assert float(nsw.load_kw.sum(-1).mean()) == pytest.approx(profiles.NSW_LOAD_KWH)
    sun = nsw.sun_kw.sum(-1)
    assert float(sun[0]) == pytest.approx(16.5711 * 5 / 3.78, rel=1e-4)
    assert float(sun[:2].mean()) == pytest.approx(profiles.NSW_SUN_KWH, abs=0.05)
    assert ausgrid.load_kw.shape == (15, 24)


def test_a_share_lies_where_a_line_crosses_zero():
    rows = pd.DataFrame({"share": [0.0, 0.5, 1.0]})
    assert report.share_where(rows, [2.0, 1.0, -1.0]) == "75"
    assert report.share_where(rows, [-2.0, -1.0, -1.0]) == "≤ 0"
    assert report.share_where(rows, [float("nan"), -1.0, 1.0]) == "never"
    # (60.2 + 19.6 r) / (1 + r) = 43.1
    assert pytest.approx(43.1) == (60.2 + 19.6 * report.IMPLIED) / (1 + report.IMPLIED)


def test_the_command_writes_tables_figures_and_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "READINGS", {"as chosen": {}, "lost": {"feed_in": False}})
    monkeypatch.setattr(sweeps, "SHARES", (0.0, 0.5, 1.0))
    monkeypatch.setattr(fit, "LEVELS", (0.1, 0.3))
    monkeypatch.setattr(fit, "LOADS", (10.0, 30.0))
    names = ("profiles", "headline", "fitted", "traditional", "sizes", "readings")
    page, plot, csv = tmp_path / "page.md", tmp_path / "new" / "plot.svg", tmp_path / "rows.csv"
    page.write_text("\n".join(f"<!-- {n} -->\n<!-- end of {n} -->" for n in names))
    words = f"--size 6 --users 4 6 --draws 1 --csv {csv} --write {page} --plot {plot}"
    assert run.main(words.split()) == 0
    rows = pd.read_csv(csv)
    assert len(rows) == 2 * len(sweeps.SHARES)
    assert rows.cost_all[:3].is_monotonic_decreasing
    assert plot.read_text().startswith("<?xml")
    text = page.read_text()
    assert text.count("60.2") >= 3
    assert "| lost |" in text


def test_wrong_words_are_one_line(tmp_path, capsys):
    rows = ["--csv", str(tmp_path / "rows.csv")]
    for words, line in (
        (["--profiles", "nsw", "--data", str(tmp_path)], "is missing"),
        (["--seed", "-1"], "seed is -1"),
        (["--profiles", "nsv"], "unknown set of profiles 'nsv'"),
    ):
        assert run.main([*rows, *words]) == 2
        err = capsys.readouterr().err
        assert line in err
        assert "Traceback" not in err
    for words, line in (
        (["--size", "1"], "--size and --users are at least 2"),
        (["--plot", "x.foo"], "x.foo must end with one of"),
        (["--write", str(tmp_path / "none.md")], "there is no page"),
    ):
        with pytest.raises(SystemExit):
            run.main([*rows, *words])
        assert line in capsys.readouterr().err
    assert not (tmp_path / "rows.csv").exists()
