"""Learners reach the known equilibrium of the bilateral auction."""

from __future__ import annotations

import pytest
import torch

from gridbazaar.evaluation.auction_game import TRUTHFUL
from gridbazaar.studies.auction_learners import judge, learn, linear_equilibrium


def test_independent_learners_reach_the_equilibrium_of_the_bilateral_auction():
    reached = learn(k=0.5, seed=0, steps=400, auctions=2048)
    assert reached.gains == pytest.approx(9 / 64, rel=0.03)
    assert reached.trades == pytest.approx(9 / 32, rel=0.05)
    assert reached.exploitability < 0.02 * 9 / 128
    assert max(reached.bid, reached.ask) < 0.04


def test_the_judge_tells_the_equilibrium_from_the_truth():
    equal = judge(linear_equilibrium(0.5), 0.5, 0.0)
    assert (equal.bid, equal.ask, equal.exploitability) == (0, 0, 0)
    assert equal.gains == pytest.approx(9 / 64, rel=0.01)
    truth = judge([TRUTHFUL, TRUTHFUL], 0.5, 0.0)
    assert truth.exploitability == pytest.approx(1 / 36, rel=0.02)
    value = torch.linspace(0.25, 1, 76, dtype=torch.float64)
    assert truth.bid == pytest.approx(float((value / 3 - 1 / 12).abs().mean()))
