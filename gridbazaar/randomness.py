"""Random numbers without a generator: pure functions of seed, stream and counter.

Each environment's numbers depend on its own seed alone, whatever the batch around it, and integers
agree bit for bit on every device. The mixing is SplitMix64 (Steele, Lea, Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from gridbazaar.errors import ArgumentError


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


# A seed is an int64, and what counts on from it must be one too.
SEED_END = 1 << 63
_GAMMA = 0x9E3779B97F4A7C15
_STREAM_GAMMA = _signed(0xD1B54A32D192ED03)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)
_MANTISSA_BITS = {torch.float32: 23, torch.float64: 52}


def _shift_right(value: Tensor, bits: int) -> Tensor:
    # torch shifts int64 arithmetically; the mask drops the copies of the sign bit.
    return (value >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix(value: Tensor) -> Tensor:
    """Apply SplitMix64's finaliser to int64 in place; products wrap modulo 2**64."""
    value.bitwise_xor_(_shift_right(value, 30)).mul_(_MIX_1)
    value.bitwise_xor_(_shift_right(value, 27)).mul_(_MIX_2)
    return value.bitwise_xor_(_shift_right(value, 31))


def whole_seed(seed: Any, count: int = 1) -> int:
    """Return a seed, from which `count` consecutive ones can be counted, as a plain integer.

    Raises:
        ArgumentError: it is no whole number, is below 0 (which NumPy takes for none), or too large
            for `seed + count - 1` to be an int64: two numbers must never mean one seed.
    """
    whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not whole or not 0 <= int(seed) <= SEED_END - count:
        last = f"2**63 - {count}" if count > 1 else "2**63 - 1"
        raise ArgumentError(f"seed is {seed!r}, expected a whole number from 0 to {last}")
    return int(seed)


def fresh_seed() -> int:
    """Return a seed drawn from the machine's entropy; 2**62 others can be counted on from it."""
    return secrets.randbits(62)


def fold(seed: Tensor, value: int | Tensor) -> Tensor:
    """Derive child seeds.

    Args:
        seed: int64 [B].
        value: what the children are for: an integer, or int64 [B].

    Returns:
        int64 [B]; children of one seed for different values are unrelated.
    """
    step = value * _STREAM_GAMMA if isinstance(value, Tensor) else _signed(value * _STREAM_GAMMA)
    return _mix(_mix(seed + _signed(_GAMMA)) + step)


def bits(seed: Tensor, stream: int, shape: Sequence[int]) -> Tensor:
    """Return 64 random bits per element as int64 [B, *shape], on the seed's device."""
    count = math.prod(shape)
    counter = torch.arange(1, count + 1, device=seed.device) * _signed(_GAMMA)
    mixed = _mix(fold(seed, stream).unsqueeze(1) + counter)
    return mixed.reshape(seed.shape[0], *shape)


def uniform(
    seed: Tensor,
    stream: int,
    shape: Sequence[int],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw uniformly from the open interval (0, 1).

    Args:
        seed: int64 [B], one per environment.
        stream: which independent sequence of the seed to draw.
        shape: shape of one environment's draw; [] for a single number.
        dtype: float32 or float64. Both hold the same draw to their own precision.
        device: where the result lies; the seed's device if None.

    Returns:
        [B, *shape].

    Raises:
        ValueError: for another dtype.
    """
    mantissa = _MANTISSA_BITS.get(dtype)
    if mantissa is None:
        raise ValueError(f"dtype is {dtype}; uniform draws are torch.float32 or torch.float64")
    seed = seed if device is None else seed.to(device)
    high = _shift_right(bits(seed, stream, shape), 64 - mantissa)
    # The half keeps both ends open; it still fits the mantissa.
    return high.to(dtype).add_(0.5).mul_(2.0**-mantissa)


def normal(
    seed: Tensor,
    stream: int,
    shape: Sequence[int],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw from the standard normal distribution; arguments and errors as for `uniform`.

    One uniform number gives one normal number, through the inverse distribution function.
    """
    return torch.special.ndtri(uniform(seed, stream, shape, dtype, device))
