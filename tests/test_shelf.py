"""Trained bidders that ship with the package: each scores as its card says and beats its rule."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from gridbazaar import envs
from gridbazaar.agents import shelf
from gridbazaar.agents.load import load
from gridbazaar.errors import UnknownNameError
from gridbazaar.evaluation.config import configure, is_learned, label
from gridbazaar.evaluation.provenance import trained_on

DAYS = 13


def cost(bidder, task):
    """Mean community cost of evenly spaced test days, EUR/day as the reward has it."""
    days = envs.batched(task=task, num_envs=1, split="test").community.days["test"]
    days = days[np.linspace(0, len(days) - 1, DAYS).round().astype(int)]
    sim = envs.batched(task=task, num_envs=DAYS, split="test")
    player, state = load(bidder, sim.game), None
    observation, total = sim.reset(days=days, seed=torch.arange(DAYS)), 0.0
    for _ in range(sim.slots):
        action, state = player.act(observation, state)
        interval = sim.step(action)
        observation, total = interval.observation, total - interval.reward.total.sum(-1)
    return float(total.mean())


@pytest.mark.parametrize("name", shelf.names())
def test_a_shelved_bidder_scores_what_its_card_says_and_beats_the_rule_it_corrects(name):
    task = trained_on(name)["task"]
    card = (shelf.place(name) / "README.md").read_text()
    said = re.search(rf"{DAYS} test days: ([\d.]+) EUR/day", card)
    assert said, "the card says no score"
    found = cost(name, task)
    assert found == pytest.approx(float(said[1]), rel=2e-3)
    assert found < cost("truthful", task) - 1


def test_the_default_bidder_is_on_the_shelf_and_evaluated_by_its_name():
    assert "learned" in shelf.names()
    config = configure(["name=x", "bidder=[truthful,learned]"])
    assert config.bidder == ("truthful", "learned")
    assert is_learned("learned")
    assert label("learned") == "learned"
    size = sum(path.stat().st_size for path in shelf.place("learned").iterdir())
    assert size < 1_000_000


def test_a_misspelt_one_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'learned'"):
        configure(["name=x", "bidder=[lerned]"])
