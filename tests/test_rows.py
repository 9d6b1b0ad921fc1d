"""Rows of states: picked, replaced, stored."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from gridbazaar.rows import from_plain, pick_rows, replace_rows, to_plain


class Pair(NamedTuple):
    first: Tensor
    second: Tensor | None


@dataclass(frozen=True)
class Nest:
    amounts: Tensor
    pair: Pair
    named: dict[str, Any]
    clock: int


def nest(batch: int, start: float = 0.0, clock: int = 3) -> Nest:
    rows = torch.arange(batch, dtype=torch.float64) + start
    return Nest(rows.unsqueeze(-1).expand(-1, 2), Pair(rows, None), {"a": [rows, rows * 2]}, clock)


def test_rows_are_picked_in_any_order_and_more_than_once():
    picked = pick_rows(nest(5), torch.tensor([4, 0, 4]))
    assert picked.pair.first.tolist() == [4, 0, 4]
    assert picked.amounts.shape == (3, 2)
    assert picked.named["a"][1].tolist() == [8, 0, 8]
    assert picked.pair.second is None
    assert picked.clock == 3


def test_replaced_rows_are_the_others_and_the_rest_stays():
    before = nest(4)
    after = replace_rows(before, torch.tensor([2, 0]), nest(2, start=10))
    assert after.pair.first.tolist() == [11, 1, 10, 3]
    assert before.pair.first.tolist() == [0, 1, 2, 3]
    again = replace_rows(after, torch.tensor([0, 2]), pick_rows(before, torch.tensor([0, 2])))
    assert torch.equal(again.amounts, before.amounts)


def test_states_of_different_hours_or_shapes_do_not_stand_side_by_side():
    with pytest.raises(ValueError, match="same world and hour"):
        replace_rows(nest(4), torch.tensor([0]), nest(1, clock=4))
    wide = Nest(torch.zeros(1, 3), Pair(torch.zeros(1), None), {"a": [torch.zeros(1)] * 2}, 3)
    with pytest.raises(ValueError, match="same world and hour"):
        replace_rows(nest(4), torch.tensor([0]), wide)


def test_a_stored_state_comes_back_from_a_loader_that_runs_no_code(tmp_path):
    torch.save(to_plain(nest(3, start=5)), tmp_path / "state.pt")
    plain = torch.load(tmp_path / "state.pt", weights_only=True)
    back = from_plain(nest(1), plain)
    assert isinstance(back, Nest)
    assert isinstance(back.pair, Pair)
    assert back.pair.first.tolist() == [5, 6, 7]
    with pytest.raises(ValueError, match="another world or by another version"):
        from_plain(back.pair, plain)
