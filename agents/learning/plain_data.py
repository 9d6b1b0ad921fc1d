"""Plain data on disk: tensors, numbers, text and containers of them, read without running code.

`torch.load(weights_only=True)` refuses to build anything else, whatever a file asks for.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def dump(data: Any) -> bytes:
    """Return plain data as bytes; arrays and tensors both become tensors on the CPU.

    Raises:
        TypeError: something in it is no plain data; names where it stands.
    """
    buffer = io.BytesIO()
    torch.save(_plain(data, "state"), buffer)
    return buffer.getvalue()


def load(path: Path) -> Any:
    """Return what a file holds; raises whatever torch does where it holds something else."""
    return torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)


def as_arrays(data: Any) -> Any:
    """Return plain data with NumPy arrays in place of tensors, as RLlib keeps its states."""
    if isinstance(data, Tensor):
        return data.numpy()
    if isinstance(data, dict):
        return {key: as_arrays(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(as_arrays(value) for value in data)
    return data


def _plain(data: Any, where: str) -> Any:
    if isinstance(data, Tensor):
        return data.detach().cpu()
    if isinstance(data, np.ndarray) and data.dtype.kind in "biuf":
        return torch.from_numpy(np.array(data))
    if isinstance(data, np.generic):
        return data.item()
    if isinstance(data, Mapping):
        return {_plain(k, where): _plain(v, f"{where}.{k}") for k, v in data.items()}
    if isinstance(data, list | tuple | set | frozenset) and not hasattr(data, "_fields"):
        kind = type(data) if type(data) in (list, tuple, set) else list
        return kind(_plain(value, f"{where}[{i}]") for i, value in enumerate(data))
    if data is None or isinstance(data, bool | int | float | str | bytes):
        return data
    raise TypeError(
        f"{where} is a {type(data).__module__}.{type(data).__name__}; a checkpoint keeps tensors, "
        "arrays, numbers, text and containers of them alone"
    )
