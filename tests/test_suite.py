"""Suites and generalisation: entries of strangers, missing rows, what is kept, documents."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gridbazaar import configs
from gridbazaar.agents.bidders import make
from gridbazaar.agents.learning import checkpoints, digests
from gridbazaar.agents.pettingzoo_policy import PolicyBidder, policy_bidder
from gridbazaar.config import validate
from gridbazaar.envs import batched, world
from gridbazaar.envs.market_env import MarketEnv
from gridbazaar.errors import (
    ArgumentError,
    ConfigError,
    PluginError,
    ResultsError,
    UnknownNameError,
)
from gridbazaar.evaluation import (
    cells,
    generalisation,
    kept,
    results,
    results_folder,
    stage,
    suite,
)
from gridbazaar.evaluation.config import configure
from gridbazaar.evaluation.entries import Entries, entries
from gridbazaar.evaluation.provenance import differences, said, trained_on

DOCUMENT = (Path(__file__).parents[1] / "docs" / "leaderboard.md").read_text()


class Nan:
    def act(self, observation, state):
        return observation.new_full((*observation.shape[:2], 6), float("nan")), None


class Crash:
    def act(self, observation, state):
        raise RuntimeError("two\nlines")


@pytest.fixture
def tiny(monkeypatch):
    """The small suite, of a day under one market on the ideal ledger."""
    values = configs.option("suite", "v1-small") | {
        "markets": ["uniform_auction"],
        "ledgers": ["ideal"],
        "bidders": ["truthful"],
        "days": 2,
        "planner": False,
        "resamples": 100,
    }
    found = validate(suite.SuiteConfig, values)
    monkeypatch.setattr(suite, "load_suite", lambda name: found)
    return found


@pytest.fixture
def played(monkeypatch):
    """Counts what is really played."""
    count = []
    play = stage.play

    def counted(*arguments):
        count.append(1)
        return play(*arguments)

    monkeypatch.setattr(stage, "play", counted)
    return count


def documented():
    """The objects that docs/leaderboard.md defines."""
    code = re.findall(r"```py\n(.*?)```", DOCUMENT, flags=re.S)
    assert len(code) == 2
    found = {}
    exec(code[0], found)
    return found, code[1]


def test_the_documented_entries_get_their_rows(tiny, tmp_path, monkeypatch, capsys):
    found, code = documented()
    real = suite.play
    monkeypatch.setattr(
        suite, "play", lambda name, given: real(name, given=given, folder=tmp_path, quiet=True)
    )
    exec(code, found)
    assert "| 1 | `truthful` |" in capsys.readouterr().out
    board = json.loads((tmp_path / "suite-v1-small" / "suite.json").read_text())
    rows = {row["name"]: row for row in board["rows"]}
    assert rows["truthful"]["rank"] == 1
    # The middle of everything, said in two ways.
    assert rows["middle"]["mean"] == pytest.approx(rows["my policy"]["mean"])
    assert {rows["middle"]["rank"], rows["my policy"]["rank"]} == {2, 3}
    assert rows["optimum, its plans played"]["mean"]["mean"] == pytest.approx(1, abs=1e-4)
    assert rows["optimum, its plans played"]["rank"] is None
    assert board["missing"] == []
    frame = pd.read_parquet(tmp_path / "suite-v1-small" / "raw" / "small-v1.parquet")
    days = frame[frame.bidder == "truthful"]
    saved = days.savings.mean() / days.optimum_savings.mean()
    assert rows["truthful"]["mean"]["mean"] == pytest.approx(saved)


def test_a_missing_row_is_a_line_and_the_others_are_kept(tiny, tmp_path):
    folder = suite.play(
        "v1-small", given={"nan": Nan(), "crash": Crash()}, folder=tmp_path, quiet=True
    )
    board = json.loads((folder / "suite.json").read_text())
    rows = {row["name"]: row for row in board["rows"]}
    assert rows["truthful"]["rank"] == 1
    assert rows["crash"]["cells"] == 0
    assert rows["crash"]["rank"] is None
    missing = {line["bidder"]: line["line"] for line in board["missing"]}
    assert "nan as must_run_price" in missing["nan"]
    assert missing["crash"] == "RuntimeError: two lines"
    assert (
        "- crash has no row in small-v1: RuntimeError: two lines"
        in (folder / "LEADERBOARD.md").read_text()
    )


def test_a_suite_goes_on_where_it_stopped(tiny, tmp_path, played):
    words = ["suite=v1-small", f"folder={tmp_path}"]
    folder = suite.play_words(words)
    first = len(played)
    assert first == 3  # the grid alone, the optimum's plans and truthful
    days = pd.read_parquet(folder / "raw" / "small-v1.parquet")
    suite.play_words([*words, "bidder=[own_use]"])
    assert len(played) == first + 1
    more = pd.read_parquet(folder / "raw" / "small-v1.parquet")
    pd.testing.assert_frame_equal(more[more.bidder != "own_use"].reset_index(drop=True), days)
    assert "`own_use`" in (folder / suite.BOARD).read_text()
    (folder / "raw" / "small-v1" / "truthful@uniform_auction@ideal.pt").write_bytes(b"half")
    with pytest.raises(ResultsError, match="it is played again"):
        suite.play_words(words)


def test_results_that_grow_are_begun_anew_without_touching_what_is_not_theirs(tmp_path):
    folder = tmp_path / "grows"
    results_folder.go_on(folder, ("raw", "table.md"), overwrite=False)
    (folder / "raw").mkdir()
    for name in ("raw/a.pt", "table.md", "notes.txt"):
        (folder / name).touch()
    results_folder.go_on(folder, ("raw", "table.md"), overwrite=False)
    assert (folder / "raw" / "a.pt").exists()
    results_folder.go_on(folder, ("raw", "table.md"), overwrite=True)
    assert {path.name for path in folder.iterdir()} == {results_folder.MARKER, "notes.txt"}


def test_other_settings_and_strange_folders_are_refused(tiny, tmp_path):
    (tmp_path / "suite-v1-small").mkdir()
    (tmp_path / "suite-v1-small" / "thesis.tex").touch()
    with pytest.raises(ResultsError, match="no evaluation wrote it"):
        suite.play("v1-small", folder=tmp_path, quiet=True)
    case = suite._case(tiny, "small-v1", "cpu")
    cells.KeptCells(tmp_path / "raw", case.config)
    other = case.config.model_copy(update={"seed": 1})
    with pytest.raises(ResultsError, match="other settings or another version"):
        cells.KeptCells(tmp_path / "raw", other)


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["suite=v2"], UnknownNameError, "did you mean 'v1'"),
        (["suite=v1", "days=3"], ConfigError, "days=3' has no place beside suite="),
        (["suite=v1", "overwrite=yes"], ConfigError, "expected true or false"),
        (["suite=v1", "bidder=[truthfull]"], UnknownNameError, "did you mean 'truthful'"),
        (["suite=v1", "bidder=[runs/none]"], UnknownNameError, "folder 'runs/none'"),
        (["suite=v1", "bidder=[no_module:x]"], PluginError, "expected module:object"),
    ],
)
def test_wrong_words_of_a_suite_are_explained(words, kind, message, tmp_path):
    with pytest.raises(kind, match=re.escape(message)):
        suite.play_words([*words, f"folder={tmp_path}"])
    assert list(tmp_path.iterdir()) == []


def test_an_entry_without_act_is_named():
    with pytest.raises(ConfigError, match="'mine' is a int without act"):
        Entries((), {"mine": lambda game: 3}).make("mine", None)


def test_entries_are_named_once_and_given_ones_join():
    who = entries(["truthful", "zip", "truthful", "runs/{task}"], {"mine": Nan()})
    assert who.names == ("truthful", "zip", "runs/{task}", "mine")
    assert who.of("runs/{task}", "small-v1") == "runs/small-v1"


@pytest.mark.parametrize("name", configs.options("suite"))
def test_suites_can_be_played(name):
    chosen = validate(suite.SuiteConfig, configs.option("suite", name))
    assert chosen.name == name
    assert chosen.against in chosen.bidders
    for task in chosen.tasks:
        case = suite._case(chosen, task, "cpu")
        assert case.config.task.name == task
    assert entries(chosen.bidders).names == chosen.bidders


def test_a_policy_sees_and_does_what_an_agent_of_the_environment_does():
    env = MarketEnv(world("small"), seed=3)
    seen, _ = env.reset(seed=3)
    asked = {}

    def policy(agent, observation):
        asked[agent] = observation
        return np.full(env.action_space(agent).shape, 0.5, np.float32)

    simulation = batched("small", num_envs=1, split="train")
    observation = simulation.reset(seed=3)
    action, _ = PolicyBidder(policy, simulation.game).act(observation)
    assert asked.keys() == seen.keys()
    for agent, row in seen.items():
        np.testing.assert_array_equal(asked[agent], row)
    env.step({agent: policy(agent, None) for agent in env.agents})
    simulation.step(action)
    mine, theirs = simulation.step(action), env.simulation.step(action)
    torch.testing.assert_close(mine.observation, theirs.observation)


@pytest.mark.parametrize("given", [np.zeros(99), np.nan])
def test_a_policy_of_a_wrong_shape_or_nan_names_the_agent(given):
    simulation = batched("small", num_envs=1)
    bidder = policy_bidder(lambda agent, seen: given)(simulation.game)
    with pytest.raises(ArgumentError, match="gives 'prosumer_0' an action of shape"):
        bidder.act(simulation.reset(seed=0))


def test_cases_of_generalisation_compose():
    trained = {"task": "small-v1", "market": "uniform_auction", "ledger": "ideal"}
    options = generalisation.Options("far", ("runs/x",), days=2)
    cases = generalisation.load_cases("standard").cases
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        found = generalisation._configured(case, options, trained)
        assert len(found.market) == len(found.ledger) == 1
    assert {"feeder", "tariff", "PV", "ledger", "market", "own data"} <= {
        case.name.partition(":")[0] for case in cases
    }


@pytest.fixture
def far(tmp_path, monkeypatch):
    """A 'trained' bidder, which is truthful, and three cases: as trained, elsewhere, not there."""
    run = tmp_path / "runs" / "x"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(
        "task: {name: small-v1}\nmarket: {name: uniform_auction}\nledger: {name: ideal}\n"
        "algorithm: {name: ppo}\nseed: 4\ntotal_agent_steps: 100\n"
    )
    known = Entries.make

    def build(self, name, game, device="cpu"):
        if name == str(run) and game.rules.quantity == "metered":
            raise ConfigError("trained for other rules")
        return make("truthful", game) if name == str(run) else known(self, name, game, device)

    monkeypatch.setattr(Entries, "make", build)
    monkeypatch.setattr(kept, "checkpoint", lambda name: "0" * 64)
    unfirmed = "task.rules.firming=none"
    cases = [
        {"name": "as trained", "words": ["task={task}"]},
        {"name": "market", "words": ["task={task}", "market=pay_as_bid"]},
        {"name": "refused", "words": ["task={task}", "task.rules.quantity=metered", unfirmed]},
        {"name": "mistyped", "words": ["task=smal"]},
        {"name": "gone", "words": ["task={task}"], "needs": str(tmp_path / "none.parquet")},
    ]
    found = validate(generalisation.CasesConfig, {"name": "few", "cases": cases})
    monkeypatch.setattr(generalisation, "load_cases", lambda name: found)
    return run


@pytest.mark.long
def test_generalisation_is_a_table_and_a_picture_of_what_could_be_played(far, tmp_path):
    words = ["name=far", f"folder={tmp_path}", f"bidder=[{far}]", "days=1", "planner=false"]
    folder = generalisation.play_words(words)
    found = json.loads((folder / "generalisation.json").read_text())
    home, market, refused, mistyped, gone = found["rows"]
    for row in (home, market):
        assert row["scores"]["x"] == pytest.approx(row["scores"]["truthful"])
    assert refused["scores"].keys() == {"truthful"}
    assert refused["said"] == ["x: trained for other rules"]
    assert "did you mean" in mistyped["said"][0]
    assert gone["said"][0].startswith("skipped: there is no")
    text = (folder / "table.md").read_text()
    assert "market: x was trained with market uniform_auction and plays pay_as_bid" in text
    assert "as trained: x was trained" not in text
    assert "seeds 4" in text
    assert (folder / "heat.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["name=far"], "name= and bidder= are needed"),
        (["name=far", "bidder=[truthful]"], "is no folder of a training run"),
        (["name=far", "bidder=[truthful]", "market=vcg"], "market=vcg' has no place"),
        (["name=far", "bidder=[truthful]", "days=0"], "days"),
    ],
)
def test_wrong_words_of_generalisation_are_explained(words, message, tmp_path):
    with pytest.raises(ConfigError, match=re.escape(message)):
        generalisation.play_words([*words, f"folder={tmp_path}"])


def test_where_a_bidder_was_trained_is_said_only_where_it_differs(far):
    trained = trained_on(str(far))
    assert trained is not None
    assert trained["seeds"] == [4]
    assert not differences("x", trained, "small-v1", ["uniform_auction"], ["ideal"])
    lines = differences("x", trained, "kerber-v1", ["uniform_auction", "vcg"], ["block"])
    assert len(lines) == 3
    assert "market uniform_auction and plays vcg" in lines[1]
    assert trained_on("truthful") is None


def test_a_bidder_whose_training_is_not_known_is_said_to_be(far):
    config = configure(["name=x", "task=small", "bidder=truthful"])
    trained = trained_on(str(far))
    assert not results._warnings(config, {"x": trained})
    (far / "config.yaml").write_text("algorithm: [")
    assert trained_on(str(far)) is None
    (line,) = results._warnings(config, {"x": None})
    assert "What x was trained on is not known" in line


def test_the_steps_said_are_those_of_the_checkpoint_that_plays(far):
    """A training that was stopped, or went on for a whole iteration, took others than wanted."""
    place = far / "checkpoints" / "iteration_000001"
    place.mkdir(parents=True)
    record = {"format": checkpoints._FORMAT, **asdict(checkpoints.Progress(1, 40, 1.0, None, {}))}
    (place / checkpoints.PROGRESS).write_text(json.dumps(record))
    digests.write(place)
    trained = trained_on(str(far))
    assert trained is not None
    assert ", 40 agent steps, seed 4" in said("x", trained)
