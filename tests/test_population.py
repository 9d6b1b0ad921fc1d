"""Populations mixed by seat: their words, who plays whom, and what each strategy earns."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from conftest import game_of

from gridbazaar import envs
from gridbazaar.agents.bidders import make
from gridbazaar.agents.bidders.mixed import MixedBidder
from gridbazaar.agents.load import load
from gridbazaar.agents.population import parse
from gridbazaar.errors import ConfigError, UnknownNameError
from gridbazaar.evaluation.config import configure, is_learned, label, learned_parts
from gridbazaar.evaluation.results import evaluate, table

SEATS = (*(f"prosumer_{k}" for k in range(4)), "consumer_0", "consumer_1", "storage_0")
TEN = tuple(f"ev_{k}" for k in range(10))


def played(words, seats=SEATS):
    return parse(words).assign(seats)


def test_the_narrower_part_counts_whatever_the_order():
    wide = played("{prosumer_1: zip, prosumer: own_use, default: truthful}")
    assert wide == ["own_use", "zip", "own_use", "own_use", *["truthful"] * 3]
    assert wide == played("{default: truthful, prosumer: own_use, prosumer_1: zip}")


def test_a_share_is_of_every_role_and_evenly_spaced():
    half = played("{default: truthful, 50%: zip}")
    assert [half[:4].count("zip"), half[4:6].count("zip"), half[6:].count("zip")] == [2, 1, 0]
    assert half[0] != half[1] != half[2] != half[3]
    for percent, count in ((1, 0), (10, 1), (25, 2), (70, 7), (100, 10)):
        assert played(f"{{default: truthful, {percent}%: zip}}", TEN).count("zip") == count
    assert played("{default: zip, 50% consumer: mpc}").count("mpc") == 1


@pytest.mark.parametrize("seat", ["prosumr", "prosumer_4", "50% consumers"])
def test_a_seat_or_role_that_is_not_there_is_named_with_the_nearest(seat):
    with pytest.raises(UnknownNameError, match=r"seat or role .* did you mean '(pro|con)sumer"):
        played(f"{{default: truthful, {seat}: zip}}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("{ev: zip}", "who plays by default"),
        ("{default: truthful, ev: zip, ev: mpc}", "'ev' stands there twice"),
        ("{default: truthful", "expected words as"),
        ("{default: truthful, ev:zip}", "has None for ev:zip"),
        ("{default: truthful, ev: [zip]}", "for ev; expected the name"),
        ("{default: truthful, 0%: zip}", "0 to 100 %"),
        ("{default: truthful, 101 %: zip}", "0 to 100 %"),
    ],
)
def test_wrong_words_are_one_line(words, said):
    with pytest.raises(ConfigError, match=said) as refused:
        parse(words)
    assert "\n" not in str(refused.value)


def test_an_evaluation_takes_populations_among_names(tmp_path):
    (tmp_path / "run").mkdir()
    mix = f"{{default: truthful, ev: {tmp_path}/run, 50%: zip}}"
    config = configure(["name=x", f"bidder=[own_use,{mix},zip]", "market=[vcg]"])
    assert config.bidder == ("own_use", mix, "zip")
    assert learned_parts(mix) == (f"{tmp_path}/run",)
    assert not is_learned(mix)
    assert label("{default: truthful, ev: zip}") == "truthful + ev: zip"
    for name, near in (("truthfull", "'truthful'"), ("all", "unknown bidder 'all'")):
        with pytest.raises(UnknownNameError, match=near):
            configure(["name=x", f"bidder={{default: {name}}}"])
    with pytest.raises(UnknownNameError, match="run or checkpoint folder"):
        configure(["name=x", "bidder={default: truthful, ev: runs/none}"])


class Says:
    """Names a number, and counts the intervals in its state."""

    def __init__(self, number):
        self.number = number

    def act(self, observation, state):
        t = state or 0
        return torch.full((*observation.shape[:2], 6), self.number + t), t + 1


def test_every_seat_is_played_by_its_own_bidder_with_its_own_state():
    bidder = MixedBidder([Says(0.0), Says(10.0), Says(20.0)], torch.tensor([2, 0, 1, 0]))
    observation, state = torch.zeros(3, 4, 5), None
    for t in range(2):
        action, state = bidder.act(observation, state)
        expected = torch.tensor([20.0, 0.0, 10.0, 0.0]) + t
        assert torch.equal(action, expected.view(1, 4, 1).expand(3, 4, 6))


def test_one_bidder_mixed_with_itself_plays_as_it_does_alone(town):
    simulation = town.simulation()
    observation = simulation.reset(seed=3)
    game, state, alone = simulation.game, None, None
    zip_, mix = make("zip", game), load("{default: zip, ev: truthful, prosumer_0: own_use}", game)
    others = [not seat.startswith("ev") and seat != "prosumer_0" for seat in game.seats]
    for _ in range(3):
        action, state = mix.act(observation, state)
        wanted, alone = zip_.act(observation, alone)
        assert torch.equal(action[:, others], wanted[:, others])
        assert not torch.equal(action, wanted)
        observation = simulation.step(action).observation


def test_a_game_of_some_seats_keeps_their_groups_alone():
    game = envs.batched(task="small-v1", num_envs=1).game
    few = game.of_seats([0, 8])
    assert sorted(n for g in few.groups for n in g.seats.tolist()) == [0, 8]
    assert few.efficiency is game.efficiency
    assert replace(few, groups=game.groups) == game
    assert game_of(game.rules).seats == ()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    words = [
        "name=mix",
        f"folder={tmp_path_factory.mktemp('results')}",
        "task=small-v1",
        "bidder=[truthful,{default: truthful, 50%: own_use},{default: own_use, ev: zip}]",
        "days=2",
        "resamples=100",
        "planner=false",
    ]
    return evaluate(configure(words), quiet=True)


def test_profits_by_strategy_add_up_to_what_the_community_saves(folder):
    summary = json.loads((folder / "summary.json").read_text())
    saved = {row["bidder"]: row["kpis"].get("savings", {}).get("mean") for row in summary["rows"]}
    rows = summary["strategies"]
    assert len(rows) == 4
    for bidder in {row["bidder"] for row in rows}:
        mine = [row for row in rows if row["bidder"] == bidder]
        assert sum(row["seats"] for row in mine) == 9
        total = sum(row["seats"] * row["profit"]["mean"] for row in mine)
        assert total == pytest.approx(saved[bidder])
        if bidder.startswith("truthful"):
            usual = sum(row["seats"] * row["default"]["mean"] for row in mine)
            assert usual == pytest.approx(saved["truthful"])
        else:  # own_use is not played by all
            assert {row["gain"] for row in mine} == {None}


def test_profits_by_strategy_are_shown(folder):
    for text in (table(folder), (folder / "table.md").read_text()):
        assert "profit of a seat" in text
        assert "truthful + 50%: own use" in text
    assert 'id="strategies"' in (folder / "report.html").read_text()
