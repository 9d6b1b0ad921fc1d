"""Training seeds: planned, trained, resumed and failed one after another; played as one bidder."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import t

from gridbazaar import command_line, configs
from gridbazaar.agents.bidders import make
from gridbazaar.agents.learning import campaign, campaign_runs, tuning
from gridbazaar.agents.learning.campaign import is_several, plan, train_all
from gridbazaar.agents.learning.campaign_runs import table
from gridbazaar.agents.learning.checkpoints import Progress
from gridbazaar.agents.learning.trainer import Outcome
from gridbazaar.agents.run_set import members, points_in, runs_in
from gridbazaar.configs import sweep
from gridbazaar.errors import ConfigError, DataError, RunError
from gridbazaar.evaluation import kept, learning_curves
from gridbazaar.evaluation.config import configure
from gridbazaar.evaluation.entries import check_set
from gridbazaar.evaluation.results import evaluate
from gridbazaar.evaluation.results import table as shown_table

SMALL = ("task=small-v1", "total_agent_steps=1000")


@pytest.fixture
def trained(monkeypatch):
    """Training that trains nothing: costs by seed, kept beside the runs; -1 to be told to fail."""
    done, wanted = {}, {}

    def train(config):
        folder = Path(config.folder) / config.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
        how = wanted.get(config.seed, "end")
        if how == "fail":
            raise FloatingPointError("the loss is\nnot finite")
        steps = config.total_agent_steps if how == "end" else 10
        done.setdefault(str(folder), []).append(steps)
        progress = Progress(1, steps, 2.0, 40.0 + config.seed + config.algorithm["lr"], {})
        return Outcome(folder, progress, how == "end")

    def so_far(run):
        steps = done.get(str(run.folder / f"seed_{run.seed}"), [0])[-1]
        if not steps:
            return campaign_runs.Result(run, 0, 0.0, None, False)
        total = campaign_runs.configured(run).total_agent_steps
        cost = 40.0 + run.seed + campaign_runs.configured(run).algorithm["lr"]
        return campaign_runs.Result(run, steps, 2.0, cost, steps >= total)

    monkeypatch.setattr(campaign, "train", train)
    monkeypatch.setattr(campaign, "so_far", so_far)
    monkeypatch.setattr(campaign, "ray_session", lambda config: nullcontext())
    return done, wanted


def words(tmp_path, *others, name="x"):
    return [f"name={name}", f"folder={tmp_path}", *SMALL, *others]


def test_a_sweep_has_every_combination_in_hydras_grammar():
    found = sweep.points(["algorithm.lr=1e-3,3e-3", "market=a,b", "name=x", "seed=[0,1]"])
    assert len(found) == 4
    assert all(point[2:] == ["name=x", "seed=[0,1]"] for point in found)
    assert {tuple(point[:2]) for point in found} == {
        (f"algorithm.lr={lr}", f"market={market}")
        for lr in ("0.001", "0.003")
        for market in ("a", "b")
    }
    assert len(sweep.points(["seed=range(0,5)"])) == 5


def test_folders_of_points_tell_them_apart():
    assert sweep.label({"algorithm.lr": 0.001, "market": "vcg"}) == "lr_0.001-market_vcg"
    assert sweep.label({"a.size": 1, "b.size": 2}) == "a.size_1-b.size_2"
    assert "/" not in sweep.label({"x": "../[a, 'b']"})


def test_an_interval_is_for_tune_alone():
    with pytest.raises(ConfigError, match="--tune"):
        sweep.points(["algorithm.lr=interval(1e-4,1e-2)"])


@pytest.mark.parametrize("text", ["plain", "with space", "it's", "back\\slash", "a=b,c[0]\\"])
def test_a_quoted_word_means_its_text(text):
    found = configs.compose("train", ["name=x", sweep.word("folder", text)])
    assert found["folder"] == text


def test_several_values_without_m_are_explained(capsys):
    assert command_line.main(["train", "name=x", "algorithm.lr=1e-3,3e-3"]) == 2
    assert "`train.py -m` trains each" in capsys.readouterr().err


def test_which_words_mean_several_runs(tmp_path):
    assert is_several(["name=x", "seed=[0,1]"])
    assert is_several(["-m", "name=x"])
    assert not is_several(["name=x", "seed=1", f"folder={tmp_path}"])
    (tmp_path / "x").mkdir()
    campaign.begin(tmp_path / "x", [])
    assert is_several(["name=x", "resume=true", f"folder={tmp_path}"])


def test_seeds_are_trained_in_one_set_and_resumed(tmp_path, trained):
    done, wanted = trained
    wanted[1] = "stop"
    first = train_all(plan(words(tmp_path, "seed=[0,1,2]")), say=lambda line: None)
    assert [r.state for r in first] == ["finished", "unfinished", "unfinished"]
    assert [path.name for path in runs_in(tmp_path / "x")] == ["seed_0", "seed_1"]
    wanted.clear()
    again = plan(["name=x", f"folder={tmp_path}", "resume=true"])
    second = train_all(again, say=lambda line: None)
    assert [r.state for r in second] == ["finished"] * 3
    counts = {Path(folder).name: len(steps) for folder, steps in done.items()}
    assert counts == {"seed_0": 1, "seed_1": 2, "seed_2": 1}
    more = plan(["name=x", f"folder={tmp_path}", "resume=true", "seed=[0,1,2,3]"])
    train_all(more, say=lambda line: None)
    assert [path.name for path in runs_in(tmp_path / "x")] == [f"seed_{k}" for k in range(4)]
    longer = plan(["name=x", f"folder={tmp_path}", "resume=true", "total_agent_steps=2000"])
    assert {r.agent_steps for r in train_all(longer, say=lambda line: None)} == {2000}
    table_of_runs = pd.read_csv(tmp_path / "x" / campaign_runs.TABLE)
    assert table_of_runs.seed.tolist() == [0, 1, 2, 3]
    assert (table_of_runs.state == "finished").all()


def test_one_run_that_fails_is_a_line_and_the_others_are_kept(tmp_path, trained):
    _, wanted = trained
    wanted[1] = "fail"
    said = []
    sweep_words = words(tmp_path, "-m", "algorithm.lr=1e-3,3e-3", "seed=0,1")
    results = train_all(plan(sweep_words), say=said.append)
    assert [r.state for r in results] == ["finished", "failed"] * 2
    assert "FloatingPointError: the loss is not finite" in results[1].fault
    text = table(results)
    assert text.splitlines()[1].startswith("lr_0.001")  # the lower cost comes first
    assert "1 of 2" in text
    assert text.count("seed_1 failed: FloatingPointError") == 2
    trace = tmp_path / "x" / "lr_0.001" / "seed_1.failed.txt"
    assert "Traceback" in trace.read_text()
    assert [p.name for p in points_in(tmp_path / "x")] == ["lr_0.001", "lr_0.003"]
    wanted.clear()
    again = train_all(plan(["name=x", f"folder={tmp_path}", "resume=true"]), say=said.append)
    assert all(r.finished for r in again)


@pytest.mark.parametrize("rates", [(1e-3, -1), (-1, 1e-3)])
def test_a_point_that_cannot_be_configured_fails_alone_and_a_word_that_never_can_fails_at_once(
    rates, tmp_path, trained
):
    both = words(tmp_path, "-m", "algorithm.lr={},{}".format(*rates))
    results = train_all(plan(both), say=lambda line: None)
    assert [r.state for r in results] == ["finished" if rate > 0 else "failed" for rate in rates]
    assert "lr" in results[rates.index(-1)].fault
    with pytest.raises(ConfigError, match="unknown key"):
        plan(words(tmp_path, "algorithm.rl=1e-3", "seed=[0,1]", name="y"))
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (["seed=[0,-1]"], ConfigError, "seed has -1"),
        (["seed=[a]"], ConfigError, "seed has 'a'"),
        (["seed=[]"], ConfigError, "no seed is named"),
        (["seed=[0,1]", "resume=true"], RunError, "nothing to resume"),
        (["seed=[0", "-m"], ConfigError, "cannot be read"),
    ],
)
def test_wrong_words_of_several_runs_are_explained(tmp_path, given, kind, message):
    with pytest.raises(kind, match=message):
        plan(words(tmp_path, *given))


def test_a_resumed_campaign_keeps_what_it_computes(tmp_path, trained):
    train_all(plan(words(tmp_path, "seed=[0]")), say=lambda line: None)
    with pytest.raises(RunError, match="resume=true"):
        plan(words(tmp_path, "seed=[0]"))
    with pytest.raises(RunError, match="keeps its market"):
        plan(["name=x", f"folder={tmp_path}", "resume=true", "market=vcg"])
    with pytest.raises(RunError, match="not begun like this; leave --tune out"):
        tuning.search(["--tune", "name=x", f"folder={tmp_path}", "resume=true"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["algorithm.lr=1e-3"], "nothing is left to draw"),
        (["algorithm.lr=interval(1e-2,1e-4)"], "expected a lower end below"),
        (["algorithm.lr=tag(log,interval(0,1))"], "above 0 for a logarithm"),
        (["algorithm.lr=1e-3,2e-3", "tune.samples=0"], "tune.samples"),
        (["algorithm.lr=1e-3,2e-3", "tune.sample=1"], "did you mean 'samples'"),
    ],
)
def test_wrong_words_of_a_search_are_explained(tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        tuning.search(words(tmp_path, "--tune", *given))
    assert not (tmp_path / "x").exists()


def test_what_tune_draws_stays_in_its_bounds_and_names_its_folder():
    given = ["algorithm.lr=tag(log,interval(1e-4,1e-2))", "market=vcg,mcafee", "seed=3"]
    options, fixed, space = tuning._space([*given, "tune.samples=5"])
    assert (options.samples, fixed) == (5, ["seed=3"])
    drawn = [space["algorithm.lr"].sample() for _ in range(200)]
    assert 1e-4 <= min(drawn) < 1e-3 < max(drawn) <= 1e-2
    assert {space["market"].sample() for _ in range(50)} == {"vcg", "mcafee"}
    run = tuning._planned(Path("runs/s"), fixed, {"algorithm.lr": 0.00123456, "market": "vcg"})
    assert (run.seed, run.point) == (3, "lr_0.001235-market_vcg")
    assert run.words == ("algorithm.lr=0.001235", "market=vcg")


def seeds_of(root, *seeds):
    for seed in seeds:
        (root / f"seed_{seed}" / "checkpoints" / "iteration_000001").mkdir(parents=True)
    return str(root)


def test_members_are_ordered_by_number(tmp_path):
    seeds_of(tmp_path, 10, 2, 0)
    (tmp_path / "seed_x").mkdir()
    assert list(members(str(tmp_path))) == ["0", "2", "10"]
    assert members("truthful") == {"": "truthful"}


def test_a_set_with_an_untrained_seed_is_named(tmp_path):
    seeds_of(tmp_path / "x", 0, 1)
    (tmp_path / "x" / "seed_2").mkdir()
    with pytest.raises(ConfigError, match="no checkpoint for seed 2"):
        check_set(str(tmp_path / "x"))
    campaign.begin(tmp_path, [])
    with pytest.raises(ConfigError, match="is a sweep of 1 points"):
        check_set(str(tmp_path))


@pytest.mark.long
def test_a_set_is_one_bidder_of_all_its_seeds(tmp_path, monkeypatch):
    """Two 'seeds', one of which is truthful and the other ZIP: means are halfway between theirs."""
    monkeypatch.setattr(kept, "checkpoint", lambda name: "")
    monkeypatch.setattr("gridbazaar.evaluation.results.trained_on", lambda name: None)
    folder = seeds_of(tmp_path / "runs" / "x", 0, 1)
    stands_for = {f"{folder}/seed_0": "truthful", f"{folder}/seed_1": "zip"}

    def build(name, game, device):
        return make(stands_for.get(name, name), game)

    results = evaluate(
        configure(
            [
                "name=e",
                f"folder={tmp_path}",
                "task=small-v1",
                f"bidder=[{folder},truthful,zip]",
                "ledger=block",
                "signed_days=1",
                "verified_share=0.01",
                "days=3",
                "repeats=2",
                "resamples=100",
                "planner=false",
            ]
        ),
        build,
        quiet=True,
    )
    summary = json.loads((results / "summary.json").read_text())
    rows = {row["bidder"]: row for row in summary["rows"]}
    for name in ("community_cost", "traded_energy", "optimum_share"):
        one, other = (rows[b]["kpis"][name]["mean"] for b in ("truthful", "zip"))
        assert rows["x"]["kpis"][name]["mean"] == pytest.approx((one + other) / 2)
    assert rows["x"]["seeds"] == ["0", "1"]
    assert rows["truthful"]["seeds"] == []
    assert rows["x"]["score"]["by_seed"] == pytest.approx(
        [rows[b]["score"]["mean"]["mean"] for b in ("truthful", "zip")]
    )
    gap = rows["truthful"]["difference"]["kpis"]["community_cost"]["mean"]
    assert gap == pytest.approx(
        rows["truthful"]["kpis"]["community_cost"]["mean"]
        - rows["x"]["kpis"]["community_cost"]["mean"]
    )
    audits = [rows[b]["audit"]["transactions"] for b in ("x", "truthful", "zip")]
    assert audits[0] == audits[1] + audits[2]
    days = pd.read_parquet(results / "episodes.parquet")
    mine = days[days.bidder == "x"]
    assert mine.groupby("training_seed").size().to_dict() == {"0": 6, "1": 6}
    for seed, stands in (("0", "truthful"), ("1", "zip")):
        np.testing.assert_array_equal(
            mine[mine.training_seed == seed].community_cost,
            days[days.bidder == stands].community_cost,
        )
    assert "worst to best seed" in (results / "report.html").read_text()
    line = next(line for line in shown_table(results).splitlines() if "score, %" in line)
    assert "seeds" in line


def curve(validated):
    n = len(validated)
    return pd.DataFrame(
        {
            "iteration": np.arange(1, n + 1),
            "agent_steps": 100.0 * np.arange(1, n + 1),
            "seconds": 2.0 * np.arange(1, n + 1),
            "train_community_cost_eur_per_day": 50.0,
            "validation_community_cost_eur_per_day": validated,
        }
    )


def test_curves_over_seeds_have_students_interval(tmp_path):
    costs = np.array([[44.0, 42.0], [45.0, 41.0], [43.0, 40.0]])
    found = learning_curves.over_seeds([curve(row) for row in costs])
    low, high = t.interval(0.95, 2, costs.mean(0), costs.std(0, ddof=1) / np.sqrt(3))
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(found.high, high)
    assert found.seeds.tolist() == [3, 3]
    for seed, row in enumerate(costs):
        (tmp_path / f"seed_{seed}").mkdir()
        curve(row).to_csv(tmp_path / f"seed_{seed}" / "progress.csv", index=False)
    written = learning_curves.draw(tmp_path)
    assert [path.name for path in written] == ["curves.csv", "learning.png"]
    np.testing.assert_allclose(pd.read_csv(written[0]).low, low)


def test_a_single_curve_has_no_interval_and_a_broken_one_is_named(tmp_path):
    assert learning_curves.over_seeds([curve([44.0, np.nan])]).low.isna().all()
    assert learning_curves.draw(tmp_path) == []
    curve([]).to_csv(tmp_path / "progress.csv", index=False)
    assert learning_curves.draw(tmp_path) == []
    (tmp_path / "progress.csv").write_text("iteration\nx\n")
    with pytest.raises(
        DataError, match="no learning curve any more: expected numbers under iteration, agent_steps"
    ):
        learning_curves.draw(tmp_path)
