"""Diary of a training on the terminal: what starts, and how far it is."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from tqdm import tqdm

from gridbazaar.agents.learning.checkpoints import Progress

Say = Callable[[str], None]


def say(line: str) -> None:
    """Print a line for whoever waits, beside the command's answer, which goes to stdout."""
    print(line, file=sys.stderr, flush=True)


class Diary:
    """A bar on a terminal; a line per iteration elsewhere, as in a cluster's log.

    Args:
        iterations: of the whole run.
        steps: agent steps of an iteration.
        done: where the run begins or goes on.
    """

    def __init__(self, iterations: int, steps: int, done: Progress):
        self._iterations, self._steps = iterations, steps
        self._bar = tqdm(
            total=iterations * steps,
            initial=done.agent_steps,
            unit=" agent steps",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def note(self, done: Progress, cost: float, validated: float | None) -> None:
        """Note an iteration: the costs of training and, where due, of validation, EUR/day."""
        best = math.nan if done.best_cost is None else done.best_cost
        if not self._bar.disable:
            self._bar.update(self._steps)
            self._bar.set_postfix_str(f"cost {cost:.2f}, best {best:.2f} EUR/day")
            return
        checked = "" if validated is None else f", validated {validated:.2f} (best {best:.2f})"
        say(
            f"iteration {done.iteration} of {self._iterations}: {done.agent_steps:,} agent steps, "
            f"{done.seconds:.0f} s, training cost {cost:.2f}{checked} EUR/day"
        )

    def close(self) -> None:
        """End the bar, so that what follows stands on a line of its own."""
        self._bar.close()


def plan_lines(wanted: int, steps: int, iterations: int, minibatch: int | None) -> list[str]:
    """Return what a run will do, and where that is not what its words say.

    Args:
        wanted: agent steps that were asked for.
        steps: of an iteration.
        iterations: of the whole run.
        minibatch: agent steps of a minibatch; None where the algorithm has none.
    """
    total = iterations * steps
    rounded = "" if total == wanted else f", {wanted:,} rounded up to whole iterations"
    lines = [f"{iterations:,} iterations of {steps:,} agent steps: {total:,}{rounded}"]
    if minibatch is not None and minibatch > steps:
        lines.append(
            f"a minibatch of {minibatch:,} is larger than an iteration: each is learned from whole"
        )
    return lines
