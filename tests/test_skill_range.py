import math

import pytest

from gridbazaar.errors import ConfigError
from gridbazaar.evaluation.skill_range import SkillRange, configure, measure, table

_RANGE = SkillRange(
    task="plain-v1",
    currency="EUR",
    market="uniform_auction",
    days=2,
    alone=20.0,
    classic={"truthful": 16.0, "zip": 15.0},
    optimum=10.0,
    played=10.5,
    planner=13.0,
    within_limits=math.nan,
    limits_broken=12.5,
    seconds={"planner": 3.0},
)


def test_bidding_decides_what_the_planner_saves_beyond_the_best_classic_bidder():
    assert _RANGE.best == "zip"
    assert _RANGE.share(_RANGE.alone) == 0
    assert _RANGE.share(_RANGE.optimum) == 100
    assert _RANGE.decided == pytest.approx(100 * (15 - 13) / (20 - 10))


def test_a_table_shows_each_task_and_each_bidder():
    text = table([_RANGE])
    assert (
        "| `plain-v1` | 20.00 | 15.00 (`zip`) | 13.00 | 10.00 | 10.50 | 50.0 | 70.0 | 20.0 | 12.5 |"
        in text
    )
    assert text.index("| `zip` | 15.00 |") < text.index("| `truthful` | 16.00 |")
    assert "`plain-v1`: 2 days under `uniform_auction`, EUR a day; planner 3 s." in text


def test_an_unknown_optimum_is_said():
    nowhere = {"optimum": math.nan, "played": math.nan, "planner": math.nan}
    text = table([SkillRange(**{**vars(_RANGE), **nowhere})])
    assert text.count("unknown") == 6


@pytest.mark.parametrize("word", ["name=x", "bidder=zip", "ledger=block", "planner=false"])
def test_who_plays_is_no_choice(word):
    with pytest.raises(ConfigError, match="has no place in a skill range"):
        configure([word])


def test_an_unknown_task_is_named():
    with pytest.raises(ConfigError, match="did you mean 'small-v1'"):
        configure(["task=smal-v1"])


def test_each_task_that_is_named_is_measured_on_its_own():
    assert [c.task.name for c in configure([])] == ["semiurb4-v1"]
    words = ["task=small-v1", "task=semiurb4-v1", "days=3"]
    found = configure(words)
    assert [(c.task.name, c.days) for c in found] == [("small-v1", 3), ("semiurb4-v1", 3)]


def test_bounds_and_bidders_are_in_order_on_the_small_task():
    (config,) = configure(["task=small-v1", "days=1", "precision=float64"])
    found = measure(config.model_copy(update={"bidder": ("truthful", "stand_alone")}))
    assert found.classic.keys() == {"truthful", "stand_alone"}
    assert found.played == pytest.approx(found.optimum, rel=1e-6)
    assert found.optimum <= found.planner < found.alone
    assert found.optimum <= found.classic[found.best] < found.alone
    assert 0 <= found.limits_broken <= 100
    assert found.seconds.keys() == {"optimum", "optimum_played", "planner", "classic bidders"}
