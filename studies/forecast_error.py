"""Errors of the forecasts that a task may show its seats, on days of every split.

`python studies/forecast_error.py semiurb4` prints root mean squares in kW, of a seat's load, of the
PV of a seat that has some, and of what all seats together export: what firming has to make up for.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

from gridbazaar.envs import batched
from gridbazaar.envs.community import Community
from gridbazaar.envs.observation import OWN, scales

KINDS = ("persistence", "model")


def errors(community: Community, split: str) -> list[float]:
    """Return the three errors on the days of a split, kW."""
    c = community
    rows = (c.days[split][:, None] + torch.arange(c.slots_per_day)).flatten()
    expected = c.own[..., :2] / scales(OWN[:2], c.own)
    load, pv = (expected - torch.stack([c.load_kw, c.pv_kw], -1))[rows].unbind(-1)
    used, sunny = c.load_kw.amax(0) > 0, c.pv_kwp > 0
    return [_rms(load[:, used]), _rms(pv[:, sunny]), _rms((pv - load).sum(-1))]


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())


def main(words: Sequence[str] | None = None) -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="*", default=["semiurb4"])
    head = ("task", "days", "forecast", "load of a seat, kW", "PV of a seat, kW", "net of all, kW")
    print(f"| {' | '.join(head)} |", "|---" * len(head) + "|", sep="\n")
    for task in parser.parse_args(words).task:
        for kind in KINDS:
            world = batched(task=task, overrides=(f"task.rules.forecast={kind}",))
            for split in ("train", "test"):
                figures = " | ".join(f"{x:.3f}" for x in errors(world.community, split))
                print(f"| `{task}` | {split} | `{kind}` | {figures} |")


if __name__ == "__main__":
    main()
