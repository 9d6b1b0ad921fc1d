import numpy as np
import pytest
import torch
from scipy.stats import bootstrap, mannwhitneyu, trim_mean

from gridbazaar.evaluation import statistics
from gridbazaar.evaluation.comparison import Yardstick, compare, gini
from gridbazaar.evaluation.scores import LEVELS, better, profile, scores
from gridbazaar.evaluation.statistics import Bootstrap, interquartile_mean
from gridbazaar.evaluation.summary import strict


def test_interval_covers_the_true_mean_about_95_percent_of_the_time():
    days = np.random.default_rng(0).gamma(4.0, 10.0, (60, 600))
    found = Bootstrap(60, 1000, 0).summaries(days)
    covered = np.mean([s.low <= 40.0 <= s.high for s in found])
    assert 0.91 <= covered <= 0.98


@pytest.mark.parametrize("days", [2, 3, 4, 5, 7, 13, 30])
def test_interval_of_few_days_covers_the_mean_too(days):
    figures = np.random.default_rng(days).normal(10, 1, (days, 800))
    found = Bootstrap(days, 500, 0).summaries(figures)
    assert 0.91 <= np.mean([s.low <= 10 <= s.high for s in found]) <= 0.97


@pytest.mark.parametrize(("seeds", "days"), [(3, 2), (5, 3)])
def test_interval_of_few_seeds_and_days_covers_the_mean_too(seeds, days):
    rng = np.random.default_rng(days)
    for of_seed, of_day in ((1, 0.1), (0.1, 1), (1, 1)):
        values = seeds_and_days(rng, seeds, days, 800, of_seed, of_day, 0)
        found = Bootstrap(days, 500, 0).summaries(values)
        assert np.mean([s.low <= 10 <= s.high for s in found]) >= 0.91


def test_a_figure_of_few_of_the_days_is_as_wide_as_one_of_so_few():
    """Means alike however many days lack it: it is what is known that counts."""
    rng = np.random.default_rng(15)
    known = rng.normal(10, 1, (4, 800))
    gaps = np.concatenate([known, np.full((36, 800), np.nan)])
    found = Bootstrap(40, 500, 0).summaries(gaps)
    assert 0.91 <= np.mean([s.low <= 10 <= s.high for s in found]) <= 0.99


def test_a_share_of_few_days_covers_the_share():
    """A part in proportion to a whole that differs from day to day."""
    rng = np.random.default_rng(16)
    whole = rng.uniform(5, 15, (400, 5))
    part = 0.5 * whole + rng.normal(0, 1, (400, 5))
    found = [Bootstrap(5, 300, 0).ratio(p, w) for p, w in zip(part, whole, strict=True)]
    assert 0.91 <= np.mean([s.low <= 0.5 <= s.high for s in found]) <= 0.98


def test_paired_difference_is_told_apart_where_the_means_are_not():
    rng = np.random.default_rng(1)
    first = rng.normal(60, 30, 91)
    second = first + 1 + rng.normal(0, 1, 91)
    bootstrap = Bootstrap(91, 1000, 0)
    one, other = bootstrap.summary(first), bootstrap.summary(second)
    paired = bootstrap.summary(second - first)
    assert one.high > other.low
    assert paired.low > 0
    assert paired.mean == pytest.approx(other.mean - one.mean)


def test_interquartile_mean_is_the_trimmed_mean():
    values = np.random.default_rng(2).normal(size=(91, 5))
    np.testing.assert_allclose(interquartile_mean(values), trim_mean(values, 0.25, axis=0))


def test_days_without_a_figure_are_left_out():
    values = np.random.default_rng(3).normal(size=40)
    gaps = np.concatenate([values, np.full(20, np.nan)])
    found = Bootstrap(60, 500, 0).summary(gaps)
    assert found.mean == pytest.approx(values.mean())
    assert found.iqm == pytest.approx(interquartile_mean(values[:, None])[0])
    assert found.low < found.mean < found.high


def test_a_figure_that_no_day_has_is_not_a_number():
    found = Bootstrap(5, 100, 0).summary(np.full(5, np.nan))
    assert np.isnan([found.mean, found.iqm, found.low, found.high]).all()


def test_one_day_has_an_interval_of_no_width():
    found = Bootstrap(1, 100, 0).summary(np.array([3.0]))
    assert (found.low, found.mean, found.iqm, found.high) == (3.0, 3.0, 3.0, 3.0)


def test_ratio_is_that_of_the_means_and_undefined_without_a_positive_whole():
    part, whole = np.array([1.0, 3.0, 0.0, 2.0]), np.array([10.0, 1e-9, 0.0, 5.0])
    bootstrap = Bootstrap(4, 500, 0)
    assert bootstrap.ratio(part, whole).mean == pytest.approx(6 / 15)
    assert np.isnan(bootstrap.ratio(part, -whole).mean)


def test_same_seed_same_interval():
    values = np.random.default_rng(4).normal(size=30)
    assert Bootstrap(30, 200, 7).summary(values) == Bootstrap(30, 200, 7).summary(values)
    assert Bootstrap(30, 200, 7).summary(values) != Bootstrap(30, 200, 8).summary(values)


def test_bootstrap_needs_a_day():
    with pytest.raises(ValueError, match="at least one day"):
        Bootstrap(0, 100, 0)


def test_gini_of_equal_shares_is_zero_and_of_one_winner_one():
    shares = torch.stack([torch.ones(10), 10.0 * torch.eye(10)[3], -torch.ones(10)]).double()
    torch.testing.assert_close(gini(shares), torch.tensor([0.0, 1.0, 0.0]).double())


def test_gini_is_half_the_mean_difference_of_others_over_the_mean():
    values = torch.rand(1, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    difference = (values.unsqueeze(-1) - values.unsqueeze(-2)).abs().sum() / (12 * 11)
    torch.testing.assert_close(gini(values)[0], difference / 2 / values.mean())


def test_gini_with_negative_values_is_that_of_the_published_example():
    """Raffinetti, Siletti and Vernizzi 2015: the same gain, the same loss spread in three ways."""
    losses = torch.tensor(
        [[-5.0] * 9, [-45.0, *[0.0] * 8], [-15.0, -10, -8, -7, -5, 0, 0, 0, 0]], dtype=torch.float64
    )
    values = torch.cat([losses, torch.full((3, 1), 45.01, dtype=torch.float64)], -1)
    expected = torch.tensor([0.5556, 1.0, 0.8346], dtype=torch.float64)
    torch.testing.assert_close(gini(values), expected, atol=1e-4, rtol=0)


def test_gini_is_bounded_however_small_the_sum():
    draw = torch.Generator().manual_seed(1)
    values = torch.randn(1000, 7, dtype=torch.float64, generator=draw)
    values -= values.mean(-1, keepdim=True) * (1 - 1e-6)
    found = gini(values)
    assert ((found >= 0) & (found <= 1)).all()
    torch.testing.assert_close(gini(values * 50), found)
    torch.testing.assert_close(gini(-values), found)


def test_gini_of_rounding_is_not_defined():
    assert gini(1e-6 * torch.randn(1, 41, dtype=torch.float64)).isnan().all()


def test_savings_add_up_and_losers_are_counted():
    baseline = torch.tensor([[5.0, 5.0, 5.0]]).double()
    found = compare(torch.tensor([[4.0, 5.0, 5.5]]).double(), baseline)
    assert found["savings"].item() == pytest.approx(0.5)
    assert found["seats_worse_off"].item() == 1


def test_strict_replaces_what_json_cannot_hold():
    assert strict({"a": [float("nan"), 1.0, (float("inf"), "x")], 2: None}) == {
        "a": [None, 1.0, [None, "x"]],
        "2": None,
    }


def seeds_and_days(rng, seeds, days, columns, of_seed, of_day, of_both):
    """Figures [S, D, K] of mean 10: what a seed, a day, and their meeting add."""
    return (
        10
        + rng.normal(0, of_seed, (seeds, 1, columns))
        + rng.normal(0, of_day, (1, days, columns))
        + rng.normal(0, of_both, (seeds, days, columns))
    )


@pytest.mark.parametrize(
    ("seeds", "of_seed", "of_day", "of_both"),
    [(5, 1, 1, 0.3), (5, 1, 0.1, 0), (5, 0.1, 1, 0), (3, 1, 0.1, 0.2), (10, 1, 0.3, 0.3)],
)
def test_interval_covers_the_mean_over_seeds_and_days(seeds, of_seed, of_day, of_both):
    rng = np.random.default_rng(seeds)
    values = seeds_and_days(rng, seeds, 40, 800, of_seed, of_day, of_both)
    found = Bootstrap(40, 500, 0).summaries(values)
    covered = np.mean([s.low <= 10 <= s.high for s in found])
    assert 0.925 <= covered <= 0.98


def test_without_widening_few_seeds_would_cover_too_little(monkeypatch):
    monkeypatch.setattr(statistics, "_widening", lambda seeds: 1.0)
    values = seeds_and_days(np.random.default_rng(5), 5, 40, 800, 1, 0.1, 0)
    found = Bootstrap(40, 500, 0).summaries(values)
    assert 0.78 <= np.mean([s.low <= 10 <= s.high for s in found]) <= 0.88


def test_an_axis_of_one_seed_changes_nothing():
    values = np.random.default_rng(6).normal(size=(30, 4))
    plain = Bootstrap(30, 300, 0).summaries(values)
    assert Bootstrap(30, 300, 0).summaries(values[None]) == plain
    assert Bootstrap(30, 300, 0).summaries(values[None, None]) == plain


def test_difference_of_two_seeds_that_are_one_is_nothing():
    """All pairs: a bidder's seeds against themselves differ, but not on average."""
    values = seeds_and_days(np.random.default_rng(7), 5, 40, 1, 1, 1, 0)[..., 0]
    found = Bootstrap(40, 500, 0).summary(values[:, None] - values[None])
    assert found.mean == pytest.approx(0, abs=1e-12)
    assert found.low < 0 < found.high


def test_paired_days_tell_seeds_apart_from_a_bidder_without():
    rng = np.random.default_rng(8)
    days = rng.normal(60, 30, 91)
    learned = days - 1 + rng.normal(0, 0.2, (5, 1)) + rng.normal(0, 1, (5, 91))
    draws = Bootstrap(91, 1000, 0)
    assert draws.summary(learned).high > draws.summary(days[None]).low
    paired = draws.summary(days[None, None] - learned[:, None])
    assert 0 < paired.low < 1 < paired.high


def test_interquartile_mean_is_over_all_days_of_all_seeds():
    values = np.random.default_rng(9).normal(size=(5, 91))
    found = Bootstrap(91, 100, 0).summary(values).iqm
    assert found == pytest.approx(trim_mean(values, 0.25, axis=None))


def test_resampled_interquartile_means_have_the_spread_of_scipys_bootstrap():
    days = np.random.default_rng(10).gamma(4, 10, 60)
    ours = Bootstrap(60, 4000, 0).interquartile_means(days[None])
    theirs = bootstrap(
        (days,), lambda x, axis: trim_mean(x, 0.25, axis=axis), n_resamples=4000, rng=0
    )
    assert ours.std() == pytest.approx(theirs.standard_error, rel=0.05)


def test_a_score_is_one_for_the_optimum_and_its_mean_the_share_of_savings():
    rng = np.random.default_rng(11)
    optimum, alone = rng.normal(40, 5, 30), rng.normal(50, 5, 30)
    cost = rng.normal(45, 5, (3, 30))
    np.testing.assert_allclose(scores(optimum[None], optimum, alone), 1)
    share = (alone.mean() - cost.mean()) / (alone - optimum).mean()
    assert scores(cost, optimum, alone).mean() == pytest.approx(share)
    assert scores(cost, np.full(30, np.nan), alone) is None
    assert scores(cost, alone, alone) is None


def test_profile_falls_from_one_to_nothing_within_its_interval():
    found = np.random.default_rng(12).normal(0.5, 0.2, (5, 40)).clip(-0.9, 1.1)
    drawn = profile(found, Bootstrap(40, 300, 0))
    share, low, high = (np.array(drawn[name]) for name in ("share", "low", "high"))
    assert share[0] == 1
    assert share[-1] == 0
    assert (np.diff(share) <= 0).all()
    assert ((low <= share + 1e-12) & (share <= high + 1e-12)).all()
    assert share[LEVELS == 0.5] == (found > 0.5).mean()


def test_probability_of_improvement_is_mann_and_whitneys_u():
    rng = np.random.default_rng(13)
    mine, theirs = rng.integers(0, 6, (5, 12)).astype(float), rng.integers(0, 6, (4, 12)) + 0.0
    found = better(mine, theirs)
    for day in range(12):  # their U counts what is greater; a lower cost is better
        u = mannwhitneyu(theirs[:, day], mine[:, day]).statistic
        assert found[..., day].mean() == pytest.approx(u / 20)
    assert better(mine, mine).mean() == pytest.approx(0.5)


def test_figures_are_those_of_rliable():
    """Of rliable 1.2.0 on the same draws: aggregate_iqm and probability_of_improvement."""
    rng = np.random.default_rng(0)
    mine, theirs = rng.normal(0.6, 0.3, (5, 12)), rng.normal(0.5, 0.3, (4, 12))
    assert interquartile_mean(mine.reshape(-1, 1))[0] == pytest.approx(0.617924450410498)
    assert better(-mine, -theirs).mean() == pytest.approx(0.5708333333333334)


def test_where_nothing_can_be_won_rounding_is_no_whole_to_have_a_share_of():
    cost = torch.full((4, 2), 2.5, dtype=torch.float64)
    for won, known in ((1e-9, False), (0.5, True)):
        found = Yardstick(cost, cost.sum(-1) - won).figures(cost)
        assert (found["optimum_savings"] > 0).all() == known
