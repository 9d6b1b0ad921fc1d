"""The world: households, feeder, market and settlement, as a batched simulation or PettingZoo.

```python
from gridbazaar import envs

env = envs.parallel_env(task="semiurb4")             # one market, PettingZoo
batch = envs.batched(task="semiurb4", num_envs=256)  # many, as tensors
pilot = envs.parallel_env(preset="quartierstrom")    # market, ledger and more under one name
```
"""

from __future__ import annotations

from typing import Any

import torch

from gridbazaar.config import validate
from gridbazaar.configs import compose
from gridbazaar.envs.build import build
from gridbazaar.envs.config import WorldConfig
from gridbazaar.envs.interval import Interval
from gridbazaar.envs.market_env import MarketEnv
from gridbazaar.envs.pettingzoo_ids import register_shipped
from gridbazaar.envs.simulation import Simulation

__all__ = [
    "Interval",
    "MarketEnv",
    "Simulation",
    "WorldConfig",
    "batched",
    "build",
    "parallel_env",
    "world",
]

register_shipped()


def world(
    task: str | None = None,
    market: str | None = None,
    ledger: str | None = None,
    overrides: tuple[str, ...] = (),
    preset: str | None = None,
) -> WorldConfig:
    """Return a validated world from configs/; raises ConfigError with the nearest known name.

    What is not named is the preset's, and else semiurb4's uniform auction on the ideal ledger.

    Args:
        task: name of a task; without a version, its newest.
        market: name of a mechanism.
        ledger: name of a ledger.
        overrides: single values, as in `("task.devices.vehicle.v2g=true", "market.k=0.3")`.
        preset: name of a preset, over which all others win.
    """
    named = {"preset": preset, "task": task, "market": market, "ledger": ledger}
    words = (*(f"{key}={name}" for key, name in named.items() if name is not None), *overrides)
    return validate(WorldConfig, compose("world", words))


def batched(
    task: str | None = None,
    market: str | None = None,
    ledger: str | None = None,
    overrides: tuple[str, ...] = (),
    num_envs: int = 256,
    split: str = "train",
    seed: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    preset: str | None = None,
) -> Simulation:
    """Return `num_envs` parallel markets as one `Simulation`; see there and `world`."""
    chosen = world(task, market, ledger, overrides, preset)
    return build(chosen, num_envs, split, seed, device, dtype)


def parallel_env(
    task: str | None = None,
    market: str | None = None,
    ledger: str | None = None,
    overrides: tuple[str, ...] = (),
    split: str = "train",
    seed: int | None = None,
    preset: str | None = None,
    **kwargs: Any,
) -> MarketEnv:
    """Return one market as a PettingZoo ParallelEnv; see `MarketEnv` and `world`."""
    return MarketEnv(world(task, market, ledger, overrides, preset), split, seed, **kwargs)
