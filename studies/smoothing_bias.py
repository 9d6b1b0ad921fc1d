"""Bias of smoothed clearing: what a day costs where prices are accepted gradually, and really.

`python studies/smoothing_bias.py truthful runs/demo` prints, for widths in EUR/kWh, the community
cost of validation days in EUR/day, beside that of the market's own clearing (width 0).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from gridbazaar.agents.load import load
from gridbazaar.envs import batched

WIDTHS = (0.03, 0.02, 0.01, 0.005, 0.003, 0.001, 0.0)


@torch.no_grad()
def cost(bidder: str, width: float, task: str) -> float:
    """Return the mean community cost of all validation days, EUR/day as the reward has it."""
    days = batched(task=task, split="validation").community.days["validation"]
    sim = batched(task=task, num_envs=len(days), split="validation")
    sim.smoothing = width
    player, state = load(bidder, sim.game), None
    observation, total = sim.reset(days=days, seed=0), 0.0
    for _ in range(sim.slots):
        action, state = player.act(observation, state)
        interval = sim.step(action)
        observation = interval.observation
        total -= float(interval.reward.total.sum(-1).mean())
    return total


def main(words: Sequence[str] | None = None) -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bidder", nargs="*", default=["truthful"])
    parser.add_argument("--task", default="semiurb4")
    told = parser.parse_args(words)
    print("| width, EUR/kWh |", " | ".join(f"`{b}`" for b in told.bidder), "|")
    print("|---" * (1 + len(told.bidder)) + "|")
    for width in WIDTHS:
        costs = " | ".join(f"{cost(bidder, width, told.task):.2f}" for bidder in told.bidder)
        print(f"| {width:g} | {costs} |")


if __name__ == "__main__":
    main()
