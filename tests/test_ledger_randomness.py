"""The stateless random numbers are well distributed and belong to their seed alone."""

import pytest
import torch

from gridbazaar import randomness
from gridbazaar.randomness import fold, normal, uniform

SEEDS = torch.arange(2000)


def test_the_mixing_is_splitmix64():
    # First outputs of the reference generator from state 0 (Vigna, splitmix64.c).
    state = (torch.arange(1, 4) * randomness._signed(randomness._GAMMA)).clone()
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [value % 2**64 for value in randomness._mix(state).tolist()] == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_has_its_moments_and_fills_its_cells(dtype):
    draw = uniform(SEEDS, 0, (500,), dtype)
    assert draw.dtype == dtype
    assert draw.min() > 0
    assert draw.max() < 1
    values = draw.double().flatten()
    assert abs(values.mean() - 0.5) < 4 * (1 / 12 / values.numel()) ** 0.5
    assert abs(values.var() - 1 / 12) < 4 * (1 / 180 / values.numel()) ** 0.5
    cells = torch.bincount((values * 1024).long(), minlength=1024).double()
    expected = values.numel() / 1024
    chi_square = ((cells - expected) ** 2 / expected).sum()
    assert abs(chi_square - 1023) < 4 * (2 * 1023) ** 0.5


def correlation(one, other):
    pair = torch.stack([one.flatten(), other.flatten()]).double()
    return float(torch.corrcoef(pair)[0, 1]) * one.numel() ** 0.5


def test_neighbours_are_unrelated():
    draw = uniform(SEEDS, 0, (500,), torch.float64)
    assert abs(correlation(draw[1:], draw[:-1])) < 4
    assert abs(correlation(draw[:, 1:], draw[:, :-1])) < 4
    assert abs(correlation(draw, uniform(SEEDS, 1, (500,), torch.float64))) < 4
    children = uniform(fold(SEEDS, 1), 0, (500,), torch.float64)
    assert abs(correlation(draw, children)) < 4
    assert abs(correlation(children, uniform(fold(SEEDS, 2), 0, (500,), torch.float64))) < 4


def test_extreme_seeds_give_different_draws():
    seeds = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63)])
    draw = uniform(seeds, 3, (4, 2), torch.float64)
    assert draw.shape == (5, 4, 2)
    assert draw.unique().numel() == draw.numel()


def test_a_row_depends_on_its_seed_alone():
    whole = uniform(SEEDS, 5, (3, 4))
    assert torch.equal(whole[17:18], uniform(SEEDS[17:18], 5, (3, 4)))
    assert torch.equal(whole, uniform(SEEDS, 5, (3, 4)))
    single = uniform(SEEDS, 5, ())
    assert single.shape == SEEDS.shape
    values = torch.arange(2000)
    assert torch.equal(fold(SEEDS, values)[9], fold(SEEDS[9:10], 9)[0])


def test_both_precisions_hold_the_same_draw():
    one, other = uniform(SEEDS, 2, (50,)), uniform(SEEDS, 2, (50,), torch.float64)
    torch.testing.assert_close(one.double(), other, rtol=0, atol=2.0**-23)
    with pytest.raises(ValueError, match="float16"):
        uniform(SEEDS, 2, (), torch.float16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_has_its_moments(dtype):
    values = normal(SEEDS, 0, (500,), dtype).double().flatten()
    assert values.isfinite().all()
    count = values.numel()
    assert abs(values.mean()) < 4 / count**0.5
    assert abs(values.var() - 1) < 4 * (2 / count) ** 0.5
    assert abs((values**3).mean()) < 4 * (15 / count) ** 0.5
    assert abs((values**4).mean() - 3) < 4 * (96 / count) ** 0.5
    assert abs((values.abs() > 3).double().mean() - 0.0026998) < 4 * (0.0027 / count) ** 0.5
