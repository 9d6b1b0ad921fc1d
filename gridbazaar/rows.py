"""Rows of a batch: pick, replace and store markets of any nest of tensors.

A state is a nest of dataclasses, named tuples, dicts, tuples and lists whose leaves are tensors
with one row per market, or plain values (None, numbers, words) that hold for all markets. States
are never changed in place, so that to keep one is to keep a reference. A class whose rows are laid
out otherwise, a flat list with an index of markets, say, brings `pick_rows(rows)` and
`replace_rows(rows, other)` of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from torch import Tensor

State = TypeVar("State")


def pick_rows(state: State, rows: Tensor) -> State:
    """Return the state of some markets alone.

    Args:
        state: of B markets.
        rows: int64 [R] of them, in any order; a market may be named more than once.
    """
    return _mapped(lambda own: own[rows], lambda part: part.pick_rows(rows), state)


def replace_rows(state: State, rows: Tensor, other: State) -> State:
    """Return the state with some markets replaced.

    Args:
        state: of B markets.
        rows: int64 [R] of those to replace, each once.
        other: of R markets; what is not a tensor must be the same as in `state`.

    Raises:
        ValueError: the two differ in what holds for all markets: a clock, a shape.
    """

    def replaced(own: Tensor, new: Tensor) -> Tensor:
        if own.shape[1:] != new.shape[1:]:
            raise ValueError(
                f"states of shapes {tuple(own.shape)} and {tuple(new.shape)} cannot stand side by "
                "side; both must be of the same world and hour"
            )
        return own.index_copy(0, rows, new.to(own))

    return _mapped(replaced, lambda own, new: own.replace_rows(rows, new), state, other)


def detached(state: State) -> State:
    """Return the state without its history: no gradient reaches back beyond it."""

    def special(part: Any) -> Any:
        if not is_dataclass(part):  # a ledger's own, of which no gradient is asked
            return part
        kind: Any = type(part)
        return kind(**{name: detached(getattr(part, name)) for name in _names(part)})

    return _mapped(lambda own: own.detach(), special, state)


def to_plain(state: Any) -> Any:
    """Return a state as dicts, lists, tensors and plain values, which any loader reads safely."""
    if isinstance(state, Tensor) or state is None or isinstance(state, int | float | str):
        return state
    if isinstance(state, dict):
        return {key: to_plain(part) for key, part in state.items()}
    if is_dataclass(state) or hasattr(state, "_fields"):
        return {name: to_plain(getattr(state, name)) for name in _names(state)}
    return [to_plain(part) for part in state]


def from_plain(like: Any, plain: Any) -> Any:
    """Return what `to_plain` gave in the classes of `like`, another state of the same world.

    Raises:
        ValueError: it is of another layout.
    """
    if isinstance(like, Tensor) or like is None or isinstance(like, int | float | str):
        return plain
    if isinstance(like, dict):
        _check_names(set(like), plain)
        return {key: from_plain(part, plain[key]) for key, part in like.items()}
    if is_dataclass(like) or hasattr(like, "_fields"):
        names = _names(like)
        _check_names(set(names), plain)
        return type(like)(**{n: from_plain(getattr(like, n), plain[n]) for n in names})
    if not isinstance(plain, list) or len(plain) != len(like):
        raise ValueError(f"a stored state has {plain!r:.60}, expected a list of {len(like)}")
    return type(like)(from_plain(a, b) for a, b in zip(like, plain, strict=True))


def _check_names(wanted: set[str], plain: Any) -> None:
    found = set(plain) if isinstance(plain, dict) else set()
    if found != wanted:
        raise ValueError(
            f"a stored state holds {sorted(found)}, expected {sorted(wanted)}; it was written in "
            "another world or by another version"
        )


def _names(state: Any) -> tuple[str, ...]:
    if is_dataclass(state):
        return tuple(field.name for field in fields(state))
    return tuple(state._fields)


def _mapped(leaf: Callable[..., Any], special: Callable[..., Any], state: Any, *others: Any) -> Any:
    """Apply `leaf` to the tensors of nests of one layout, side by side."""
    if hasattr(state, "pick_rows"):
        return special(state, *others)
    if isinstance(state, Tensor):
        return leaf(state, *others)
    if isinstance(state, dict):
        keys = state.keys()
        return {k: _mapped(leaf, special, state[k], *(o[k] for o in others)) for k in keys}
    if is_dataclass(state) or hasattr(state, "_fields"):
        named = {
            name: _mapped(leaf, special, *(getattr(one, name) for one in (state, *others)))
            for name in _names(state)
        }
        return type(state)(**named)
    if isinstance(state, tuple | list):
        parts = [_mapped(leaf, special, *each) for each in zip(state, *others, strict=True)]
        return type(state)(parts)
    if any(other != state for other in others):
        raise ValueError(
            f"{state!r} and {others[0]!r} cannot stand side by side: all markets of a state share "
            "it; both must be of the same world and hour"
        )
    return state
