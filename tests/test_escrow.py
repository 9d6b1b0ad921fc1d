"""Money waits for its block to be final, and comes back when it is."""

from __future__ import annotations

import pytest
import torch

from gridbazaar.envs.escrow import Escrow


def locked_over(finality_s: list[float], amounts: list[float]) -> list[float]:
    escrow, found = Escrow.empty(torch.zeros(1, 1)), []
    for wait, amount in zip(finality_s, amounts, strict=True):
        locked, escrow = escrow.step(torch.full((1, 1), amount), torch.tensor([wait]), 900.0)
        found.append(locked.item())
    return found


def test_money_that_is_final_at_once_is_never_locked():
    assert locked_over([0, 0, 0], [1, 2, 3]) == [0, 0, 0]


def test_part_of_a_slot_locks_for_that_part():
    assert locked_over([450, 0], [8, 0]) == [4, 0]
    assert locked_over([1125, 0, 0], [8, 0, 0]) == [8, 2, 0]


def test_money_is_locked_until_its_finality():
    assert locked_over([1800, 1800, 0, 0, 0], [1, 2, 0, 0, 0]) == [1, 3, 2, 0, 0]


def test_nothing_stays_locked_after_finality_became_quick_again():
    assert locked_over([900, 0, 0], [5, 0, 0]) == [5, 0, 0]


def test_a_long_wait_does_not_hold_what_came_later():
    assert locked_over([3600, 900, 0, 0, 0], [1, 10, 0, 0, 0]) == [1, 11, 1, 1, 0]


@pytest.mark.parametrize("wait_s", [0, 100, 900, 2222])
def test_what_is_locked_over_time_is_the_amount_times_its_wait(wait_s):
    locked = locked_over([wait_s] + [0] * 5, [3] + [0] * 5)
    assert sum(locked) == pytest.approx(3 * wait_s / 900)


def test_each_market_waits_for_its_own_chain():
    amount = torch.tensor([[1.0], [1.0]])
    _, escrow = Escrow.empty(amount).step(amount, torch.tensor([0.0, 1800.0]), 900.0)
    locked, _ = escrow.step(amount * 0, torch.tensor([0.0, 0.0]), 900.0)
    assert locked.squeeze(1).tolist() == [0, 1]


def test_markets_with_waits_of_different_length_stand_side_by_side():
    amount = torch.tensor([[1.0], [2.0]])
    _, long = Escrow.empty(amount).step(amount, torch.tensor([0.0, 3600.0]), 900.0)
    _, short = Escrow.empty(amount[:1]).step(amount[:1], torch.tensor([1800.0]), 900.0)
    mixed = short.replace_rows(torch.tensor([0]), long.pick_rows(torch.tensor([1])))
    assert mixed.waiting.squeeze().tolist() == [2, 2, 2]
    mixed = long.replace_rows(torch.tensor([0]), short)
    assert mixed.waiting[0].squeeze().tolist() == [1, 0, 0]


def test_money_that_is_never_final_takes_no_more_room_than_a_day():
    amount = torch.ones(2, 3, dtype=torch.float64)
    locked, escrow = Escrow.empty(amount).step(amount, torch.tensor([1e18, torch.inf]), 900.0)
    assert torch.equal(locked, amount)
    assert escrow.waiting.shape == (2, 95, 3)
    assert torch.equal(escrow.waiting, torch.ones(2, 95, 3, dtype=torch.float64))
