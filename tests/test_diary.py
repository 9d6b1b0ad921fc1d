"""What a training tells while it runs: what starts, what it will do, and how far it is."""

from __future__ import annotations

from gridbazaar.agents.learning.checkpoints import Progress
from gridbazaar.agents.learning.diary import Diary, plan_lines


def progress(iteration, best):
    return Progress(
        iteration=iteration,
        agent_steps=1000 * iteration,
        seconds=2.0 * iteration,
        best_cost=best,
        policies={},
        state_size=1,
        algorithm={},
        sharing="group",
        fixed={},
    )


def test_without_a_terminal_each_iteration_is_a_line(capsys):
    diary = Diary(4, 1000, progress(0, None))
    diary.note(progress(1, None), 12.345, None)
    diary.note(progress(2, 11.0), 12.0, 11.0)
    diary.close()
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == [
        "iteration 1 of 4: 1,000 agent steps, 2 s, training cost 12.35 EUR/day",
        "iteration 2 of 4: 2,000 agent steps, 4 s, training cost 12.00, validated 11.00 (best "
        "11.00) EUR/day",
    ]


def test_on_a_terminal_there_is_a_bar_alone(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    diary = Diary(2, 1000, progress(1, 9.0))
    diary.note(progress(2, 9.0), 10.0, 9.5)
    diary.close()
    err = capsys.readouterr().err
    assert "cost 10.00, best 9.00 EUR/day" in err
    assert "iteration" not in err


def test_steps_that_are_rounded_up_and_minibatches_too_large_are_said():
    assert plan_lines(2000, 1000, 2, 1000) == ["2 iterations of 1,000 agent steps: 2,000"]
    (line,) = plan_lines(1000, 251_904, 1, None)
    assert line.endswith("251,904, 1,000 rounded up to whole iterations")
    assert "a minibatch of 1,001 is larger" in plan_lines(1000, 1000, 1, 1001)[1]
