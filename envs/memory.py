"""Memory that a simulation will need, against what the machine has free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from gridbazaar.errors import ConfigError

# Numbers of float32 for each slot of each seat while the data are laid out, measured on semiurb4
# with 1,000 community batteries (41); and numbers for each seat of a market that is played (220).
_PER_SLOT_AND_SEAT = 36
_PER_SEAT_OF_MARKET = 200
_PER_BUS_OF_MARKET = 12


@dataclass(frozen=True)
class Size:
    """How large a world is: T slots of data, N seats, and a feeder's buses and branches."""

    slots: int
    seats: int
    buses: int
    branches: int


@dataclass(frozen=True)
class Memory:
    """Bytes that a simulation needs at least.

    Attributes:
        data: series of load, PV and features of every slot and seat.
        feeder: matrices of the power flow, and of the distances between seats.
        markets: state, book and power flow of all markets together.
    """

    data: float
    feeder: float
    markets: float

    @classmethod
    def of(cls, size: Size, num_envs: int, dtype: torch.dtype) -> Memory:
        """Estimate what `num_envs` markets of a world of this size need."""
        N, buses, width = size.seats, size.buses, dtype.itemsize
        rows = buses + size.branches
        per_market = N * _PER_SEAT_OF_MARKET + rows * _PER_BUS_OF_MARKET
        return cls(
            data=size.slots * N * _PER_SLOT_AND_SEAT * 4,
            feeder=N * (N + buses) * (8 + width) + buses * rows * (16 + 2 * width),
            markets=num_envs * per_market * width,
        )

    @property
    def total(self) -> float:
        """Bytes of all parts."""
        return self.data + self.feeder + self.markets


def check_memory(size: Size, num_envs: int, device: torch.device | str, dtype: torch.dtype) -> None:
    """Raise ConfigError where a simulation would need more memory than the machine has free.

    Args:
        size: of the world.
        num_envs: markets, B.
        device: where they live; data are laid out in the machine's own memory first.
        dtype: of the simulation.
    """
    need = Memory.of(size, num_envs, dtype)
    on_gpu = torch.device(device).type == "cuda"
    demands = [(need.data + need.feeder if on_gpu else need.total, free_bytes(), "memory")]
    if on_gpu:
        free = float(torch.cuda.mem_get_info(torch.device(device))[0])
        demands.append((need.markets + need.feeder, free, "memory of the GPU"))
    for needed, free_now, what in demands:
        if free_now is not None and needed > free_now:
            raise ConfigError(
                f"about {_gb(needed)} of {what} are needed and {_gb(free_now)} are free: "
                f"{_gb(need.data)} for {size.slots:,} slots of {size.seats:,} seats, "
                f"{_gb(need.feeder)} for the feeder and {_gb(need.markets)} for {num_envs:,} "
                "markets; take fewer markets (num_envs), seats "
                "(task.ownership.community_batteries) or days of data"
            )


def _gb(amount: float) -> str:
    return f"{amount / 1e9:,.1f} GB"


def free_bytes() -> float | None:
    """Return the memory that can still be taken, by machine and control group; None if unknown."""
    known = [free for free in (_of_machine(), _of_group()) if free is not None]
    return min(known, default=None)


def _of_machine(path: Path = Path("/proc/meminfo")) -> float | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for name, _, amount in (line.partition(":") for line in lines):
        if name == "MemAvailable":
            return float(amount.split()[0]) * 1024
    return None


def _of_group(folder: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return what a container's limit leaves; its page cache can be given up."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = float((folder / "memory.current").read_text())
        cache = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    return float(limit) - used + float(cache.get("inactive_file", 0))


def check_device(device: torch.device | str) -> None:
    """Raise ConfigError where PyTorch knows no such device, or this machine has none."""
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError):
        raise ConfigError(f"device is {device!r}; choose cpu or cuda") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={device}, but PyTorch sees no GPU here; choose device=cpu")
