"""Scores that reliable comparisons need: per seed and day, with profile and chance to be better.

A day's score is 1 less what it cost above the optimum, over what the optimum saves on the mean
day: 1 for the optimum, and its mean is the share of the optimum's savings. No day's own savings
divide, so that a day with next to nothing to win does not rule.

Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS
34 (rliable), defines interquartile mean, performance profile and probability of improvement; days
stand here for its tasks. It takes its tasks for given and draws the runs of each task by itself;
here days are a sample too, and a seed that is drawn plays all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gridbazaar.evaluation.statistics import Array, Bootstrap, interquartile_mean, interval

# Scores at which a performance profile is read.
LEVELS = np.round(np.linspace(-1.0, 1.2, 45), 2)


def scores(cost: Array, optimum: Array, alone: Array) -> Array | None:
    """Return the scores [S, D] of costs [S, D]; None where the optimum is unknown or saves nothing.

    Args:
        cost: of each seed and day.
        optimum: [D] what the day costs at least.
        alone: [D] with the grid alone.
    """
    most = (alone - optimum).mean()
    if not most > 0 or not np.isfinite(cost).all():
        return None
    return np.asarray(1 - (cost - optimum) / most)


def profile(found: Array, bootstrap: Bootstrap) -> dict[str, list[float]]:
    """Return the share of scores [S, D] above each of LEVELS, and its 95 % interval."""
    above = (found[..., None] > LEVELS).astype(float)
    summaries = bootstrap.summaries(above)
    return {
        "share": [s.mean for s in summaries],
        "low": [min(max(s.low, 0.0), 1.0) for s in summaries],
        "high": [min(max(s.high, 0.0), 1.0) for s in summaries],
    }


def better(mine: Array, theirs: Array) -> Array:
    """Return for each pair of seeds and each day [S, T, D] whether a cost is less; 1/2 for ties.

    Its mean over pairs is Mann and Whitney's U over their number, and its mean over days the
    probability of improvement.

    Args:
        mine: [S, D] costs.
        theirs: [T, D] costs.
    """
    mine, theirs = mine[:, None], theirs[None]
    return (mine < theirs) + 0.5 * (mine == theirs)


def described(
    found: Array, bootstrap: Bootstrap, cost: Array, reference: Array | None
) -> dict[str, Any]:
    """Return what a summary says of a bidder's scores.

    That is `seeds`, `mean` and `iqm` with `low` and `high` each, `by_seed`, `profile`, and where
    there is another to be held against, `improvement` with its interval.

    Args:
        found: [S, D] scores.
        bootstrap: over seeds and days.
        cost: [S, D].
        reference: [T, D] costs of the bidder that it is held against.
    """
    mean = bootstrap.summary(found)
    low, high = interval(bootstrap.interquartile_means(found))
    said: dict[str, Any] = {
        "seeds": len(found),
        "mean": {"mean": mean.mean, "low": mean.low, "high": mean.high},
        "iqm": {
            "mean": float(interquartile_mean(found.reshape(-1, 1))[0]),
            "low": low,
            "high": high,
        },
        "by_seed": found.mean(-1).tolist(),
        "profile": profile(found, bootstrap),
        "improvement": None,
    }
    if reference is not None:
        chance = bootstrap.summary(better(cost, reference))
        said["improvement"] = {
            "mean": chance.mean,
            "low": max(chance.low, 0.0),
            "high": min(chance.high, 1.0),
        }
    return said
