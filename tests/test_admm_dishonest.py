"""Dishonest sellers in ADMM: answers to no convex cost are found, others gain nothing by them."""

from __future__ import annotations

import pytest
import torch

from gridbazaar.envs.markets.bilateral.admm import negotiate
from gridbazaar.envs.markets.bilateral.admm_parallel import PARTNERS
from gridbazaar.studies.admm_dishonest import (
    LIES,
    broken,
    erratic,
    honest,
    pairing,
    play,
    reversed_response,
    stubborn,
    withheld,
)

ROUNDS, SMALL = 80, 1e-9


@pytest.fixture(scope="module")
def found():
    book, config = pairing(30, 8)
    return book, config, {lie.__name__: play(book, config, lie, ROUNDS) for lie in LIES}


def test_honest_rounds_are_the_markets_own(found):
    book, config, got = found
    short = config.model_copy(update={"max_rounds": ROUNDS})
    agreed = negotiate(book, short, PARTNERS)
    assert 0 < got["honest"].converged.sum() <= agreed.converged.sum()
    both = agreed.converged & got["honest"].converged
    welfare = book.welfare(book.within(agreed.pair_kw))
    torch.testing.assert_close(got["honest"].welfare[both], welfare[both], rtol=2e-3, atol=1e-9)


def test_honest_seats_are_never_accused(found):
    """Whoever lies beside them: an answer to a convex cost is monotone."""
    for name, got in found[2].items():
        accused = got.broken > SMALL
        assert not accused[:, 1:].any(), name
    for lie in (honest, withheld, stubborn):
        assert not (found[2][lie.__name__].broken > SMALL).any(), lie.__name__


def test_answers_to_no_convex_cost_are_found(found):
    got = found[2]
    assert (got[erratic.__name__].broken[:, 0] > SMALL).all()
    assert (got[reversed_response.__name__].broken[:, 0] > SMALL).double().mean() > 0.3


def test_lies_within_the_rounds_do_not_pay_and_cost_little(found):
    true = found[2]["honest"]
    for lie in LIES[1:]:
        got = found[2][lie.__name__]
        assert got.gained.sum() < true.gained.sum() * 1.02, lie.__name__
        assert got.welfare.sum() > 0.8 * true.welfare.sum(), lie.__name__
        assert got.converged.sum() <= true.converged.sum(), lie.__name__


def test_the_check_is_of_slopes_and_answers():
    """y = a is monotone, y = -a is not, and a constant answer is."""
    a = torch.rand(6, 1, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.ones(1, 2, 3, dtype=torch.float64)
    assert (broken(a, a, weight) < 1e-12).all()
    assert (broken(a, -a, weight) > 1e-2).all()
    assert (broken(a, torch.ones_like(a), weight) < 1e-12).all()
