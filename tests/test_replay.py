"""Replay of whole days: what is drawn is what was played, and a state brings all of it back."""

from __future__ import annotations

import pytest
import torch
from ray.rllib.core.columns import Columns

from gridbazaar.agents.learning import plain_data
from gridbazaar.agents.learning.replay import DISCOUNT, NEXT_NOISE, NOISE, Replay

T = 6


def days(count, first=0):
    """Days whose observation says which day and time it is, and whose rewards are powers of two."""
    day = torch.arange(first, first + count).view(-1, 1, 1).expand(-1, T + 1, 1)
    time = torch.arange(T + 1).view(1, -1, 1).expand(count, -1, 1)
    return {
        Columns.OBS: torch.cat([day, time], -1).float(),
        Columns.ACTIONS: torch.cat([day, time], -1)[:, :T].float() / 100,
        Columns.REWARDS: (2.0 ** torch.arange(T)).expand(count, T),
    }


@pytest.mark.parametrize("n_step", [1, 4, 50])
def test_a_row_sums_the_rewards_of_n_steps_and_ends_with_its_day(n_step):
    replay, gamma = Replay(3, n_step, 0.9), 0.9
    replay.add({"few": days(2), "many": days(7)})
    rows = replay.draw(300, torch.Generator().manual_seed(1))
    assert len(rows["many"][Columns.OBS]) == pytest.approx(300 * 7 / 9, abs=1)
    starts = set()
    for k in range(len(rows["many"][Columns.OBS])):
        row = {name: value[k] for name, value in rows["many"].items()}
        day, start = row[Columns.OBS].tolist()
        end = min(start + n_step, T)
        assert row[Columns.NEXT_OBS].tolist() == [day, end]
        torch.testing.assert_close(row[Columns.ACTIONS], row[Columns.OBS] / 100)
        expected = sum(gamma**i * 2.0 ** (start + i) for i in range(int(end - start)))
        assert float(row[Columns.REWARDS]) == pytest.approx(expected)
        left = 0.0 if end == T else gamma**n_step
        assert float(row[DISCOUNT]) == pytest.approx(left)
        starts.add((day, start))
    assert len(starts) == 7 * T, "every agent step is drawn from"
    assert rows["few"][NOISE].shape == rows["few"][NEXT_NOISE].shape == (67, 2)


def test_the_oldest_days_go_and_a_restored_replay_draws_the_same(tmp_path):
    replay = Replay(2, 3, 1.0)
    for iteration in range(4):
        replay.add({"all": days(3, first=3 * iteration)})
    rows = replay.draw(500, torch.Generator().manual_seed(2))["all"]
    assert set(rows[Columns.OBS][:, 0].tolist()) == {6, 7, 8, 9, 10, 11}
    path = tmp_path / "state.pt"
    path.write_bytes(plain_data.dump(replay.state()))
    other = Replay(2, 3, 1.0)
    other.restore(plain_data.as_arrays(plain_data.load(path)))
    again = other.draw(500, torch.Generator().manual_seed(2))["all"]
    for name, value in rows.items():
        assert torch.equal(again[name], value)
