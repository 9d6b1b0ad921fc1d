"""Mutual information held to closed forms, and what can be guessed to series that are known."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from gridbazaar.evaluation.information import (
    gaussian_information,
    guessed_share,
    guessed_steps,
    mutual_information,
)

T = 40_000


def normal_pair(rho, count=T, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x, other = torch.randn(2, count, generator=draw, dtype=torch.float64)
    return x, rho * x + (1 - rho**2) ** 0.5 * other


def cut_information(rho, levels):
    """Return the mutual information of two normal values that are cut at their quantiles."""
    edges = norm.ppf(np.linspace(0, 1, levels + 1)).clip(-9, 9)
    both = multivariate_normal(cov=[[1, rho], [rho, 1]])
    below = np.array([[both.cdf([a, b]) for b in edges] for a in edges])
    p = np.diff(np.diff(below, axis=0), axis=1).clip(1e-300)
    return float((p * np.log2(p * levels**2)).sum())


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.9])
@pytest.mark.parametrize("levels", [4, 8])
def test_normal_values_have_the_information_of_their_cut(rho, levels):
    found = float(mutual_information(*normal_pair(rho), levels))
    assert found == pytest.approx(cut_information(rho, levels), abs=0.01)
    assert found <= float(gaussian_information(torch.tensor(rho).double())) + 0.01


@pytest.mark.parametrize("error", [0.0, 0.1, 0.5])
def test_a_noisy_bit_has_the_capacity_of_its_channel(error):
    draw = torch.Generator().manual_seed(1)
    x = (torch.arange(T) % 2).double()
    flipped = torch.rand(T, generator=draw) < error
    found = float(mutual_information(x, torch.where(flipped, 1 - x, x), 2))
    p = torch.tensor([error, 1 - error]).double()
    expected = 1 + float(torch.special.xlogy(p, p).sum()) / np.log(2)
    assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("values", [2, 3, 8])
def test_a_series_tells_all_of_itself_and_of_what_is_a_function_of_it(values):
    x = (torch.arange(values * 500) % values).double()
    assert float(mutual_information(x, x)) == pytest.approx(np.log2(values), abs=0.01)
    assert float(mutual_information(x, -3 * x + 1)) == pytest.approx(np.log2(values), abs=0.01)
    assert float(mutual_information(x, torch.zeros_like(x))) == 0


def test_it_is_symmetric_batched_and_nothing_for_a_short_series_of_chance():
    x, y = normal_pair(0.0, 96 * 7 * 50, seed=3)
    x, y = x.unflatten(0, (50, 96 * 7)), y.unflatten(0, (50, 96 * 7))
    both = mutual_information(x, y)
    assert both.shape == (50,)
    torch.testing.assert_close(both, mutual_information(y, x))
    torch.testing.assert_close(both[7], mutual_information(x[7], y[7]))
    # A week of quarter hours; without the correction it would be 0.05.
    assert float(both.mean()) < 0.015


def test_less_is_known_of_what_passes_through_another_noise():
    x, y = normal_pair(0.9)
    _, noise = normal_pair(0.0, seed=5)
    known = [float(mutual_information(x, y + s * noise)) for s in (0.0, 0.5, 1.0, 3.0)]
    assert all(more > less for more, less in itertools.pairwise(known))


def test_what_is_guessed_of_series_that_are_known():
    x = torch.tensor([0.0, 3.0, 3.0, 0.0, 0.2, 3.0, 3.1, 0.1], dtype=torch.float64)
    assert float(guessed_share(x, x)) == float(guessed_share(x, -x)) == 1
    assert float(guessed_steps(x, x, 1.0)) == float(guessed_steps(x, -2 * x, 1.0)) == 1
    assert float(guessed_steps(x, torch.zeros_like(x), 1.0)) == 0.5
    assert guessed_steps(x, x, 10.0).isnan()
    half = torch.tensor([0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0], dtype=torch.float64)
    assert float(guessed_steps(x, half, 1.0)) == 0.5  # up and down look the same
    a, b = normal_pair(0.0)
    assert 0.5 <= float(guessed_share(a, b)) < 0.51
