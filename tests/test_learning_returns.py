import pytest
import torch

from gridbazaar.agents.learning.algorithms.ppo import advantages, standardise
from gridbazaar.agents.learning.reward_shaping import shape_reward


def test_with_lambda_one_the_target_is_the_discounted_return_of_the_day():
    reward, value = torch.rand(2, 96, 3, 5, dtype=torch.float64)
    advantage, target = advantages(reward, value, gamma=0.97, lambda_=1.0)
    weights = 0.97 ** torch.arange(96, dtype=torch.float64)
    for t in (0, 40, 95):
        returned = (weights[: 96 - t, None, None] * reward[t:]).sum(0)
        torch.testing.assert_close(target[t], returned)
    torch.testing.assert_close(advantage, target - value)


def test_with_lambda_zero_the_advantage_is_the_one_step_surprise_and_nothing_follows_the_day():
    reward, value = torch.rand(2, 4, 7, dtype=torch.float64)
    advantage, _ = advantages(reward, value, gamma=0.9, lambda_=0.0)
    torch.testing.assert_close(advantage[:-1], reward[:-1] + 0.9 * value[1:] - value[:-1])
    torch.testing.assert_close(advantage[-1], reward[-1] - value[-1])


def test_standardised_advantages_have_mean_zero_and_unit_deviation_and_stay_finite_when_equal():
    spread = standardise(torch.rand(1000) * 7 + 3)
    assert spread.mean().abs() < 1e-5
    assert spread.std(correction=0) == pytest.approx(1, abs=1e-5)
    assert (standardise(torch.full((10,), 2.0)) == 0).all()


def test_team_weight_moves_rewards_towards_the_mean_and_keeps_their_sum():
    reward = torch.tensor([[1.0, 2.0, 6.0]])
    assert shape_reward(reward, 0.0, 2.0).tolist() == [[2.0, 4.0, 12.0]]
    assert shape_reward(reward, 1.0, 1.0).tolist() == [[3.0, 3.0, 3.0]]
    mixed = shape_reward(reward, 0.25, 1.0)
    assert mixed.sum() == pytest.approx(9)
    assert mixed[0, 0] == pytest.approx(1.5)
