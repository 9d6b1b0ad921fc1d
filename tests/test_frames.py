"""Results as others read them: what stands in the files comes out, under names that they expect."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from gridbazaar.errors import DataError
from gridbazaar.evaluation.frames import marl_eval, summary_frame

FIGURE = {"mean": 40.0, "iqm": 39.0, "low": 38.0, "high": 42.0, "unit": "EUR"}
LESS = {**FIGURE, "mean": -1.5}


def row(bidder, market="uniform_auction", difference=None):
    return {
        "bidder": bidder,
        "market": market,
        "ledger": "ideal",
        "kpis": {"community_cost": FIGURE, "gini": {**FIGURE, "unit": "1"}},
        "difference": difference,
        "market_difference": None,
    }


@pytest.fixture
def results(tmp_path):
    """A folder as an evaluation leaves it: a rule, two training seeds of a run, and a bound."""
    runs = tmp_path / "runs" / "mine"
    for seed, cost in ((0, 41.0), (1, 42.0)):
        (runs / f"seed_{seed}").mkdir(parents=True)
        pd.DataFrame(
            {
                "iteration": [1, 2, 3],
                "agent_steps": [100, 200, 300],
                "seconds": [1.0, 2.0, 3.5],
                "train_community_cost_eur_per_day": 50.0,
                "validation_community_cost_eur_per_day": [cost + 1, None, cost],
            }
        ).to_csv(runs / f"seed_{seed}" / "progress.csv", index=False)
    folder = tmp_path / "results"
    folder.mkdir()
    mine = str(runs).split("runs/")[-1]
    less = {"reference": "truthful", "kpis": {"community_cost": LESS}}
    summary = {
        "task": "small-v1",
        "config": {"bidder": ["truthful", str(runs)]},
        "kpis": {name: {"better": "lower"} for name in ("community_cost", "gini")},
        "rows": [row("truthful"), row(mine, difference=less), row("optimum", "-")],
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    lines = []
    for bidder, market, seed, first in (
        ("truthful", "uniform_auction", "", 40.0),
        (mine, "uniform_auction", "0", 41.0),
        (mine, "uniform_auction", "1", 42.0),
        ("optimum", "-", "", 30.0),
        ("stand_alone", "grid_only", "", 50.0),
    ):
        for day in range(2):
            place = {"bidder": bidder, "market": market, "ledger": "ideal", "training_seed": seed}
            lines.append({**place, "first_slot": 96 * day, "community_cost": first + day / 2})
    pd.DataFrame(lines).to_parquet(folder / "episodes.parquet", index=False)
    return folder, mine


def test_a_frame_has_a_line_for_each_figure(results):
    folder, mine = results
    frame = summary_frame(folder)
    assert len(frame) == 6
    line = frame[(frame["bidder"] == mine) & (frame["kpi"] == "community_cost")].iloc[0]
    assert line[["task", "unit", "better", "mean", "low"]].tolist() == [
        "small-v1", "EUR", "lower", 40.0, 38.0
    ]  # fmt: skip
    less = summary_frame(folder, "difference")
    assert less[["bidder", "reference", "mean"]].values.tolist() == [[mine, "truthful", -1.5]]


def test_frames_without_lines_are_empty_and_not_broken(results):
    assert summary_frame(results[0], "market_difference").empty


def test_marl_eval_gets_environment_task_algorithm_run_and_step(results):
    folder, mine = results
    found = json.loads(json.dumps(marl_eval(folder)))
    assert list(found) == ["gridbazaar"]
    (task,) = found["gridbazaar"].values()
    assert list(found["gridbazaar"]) == ["small-v1 uniform_auction ideal"]
    assert list(task) == ["truthful", mine]  # no bound, and not the grid alone
    assert list(task[mine]) == ["seed_0", "seed_1"]
    run = task[mine]["seed_1"]
    assert run["absolute_metrics"] == {"return": [-42.0, -42.5], "community_cost": [42.0, 42.5]}
    assert list(run) == ["step_0", "step_1", "absolute_metrics"]
    assert run["step_0"]["step_count"] == 100
    assert run["step_1"] == {
        "step_count": 300, "elapsed_time": 3.5, "return": [-42.0], "community_cost": [42.0]
    }  # fmt: skip
    rule = task["truthful"]["seed_0"]
    assert rule["step_0"] == {"step_count": 0, **rule["absolute_metrics"]}


def test_what_is_no_evaluation_is_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no summary\.json of an evaluation"):
        summary_frame(tmp_path)
    (tmp_path / "summary.json").write_text("[]")
    with pytest.raises(DataError, match=r"holds no summary\.json of an evaluation"):
        marl_eval(tmp_path)
