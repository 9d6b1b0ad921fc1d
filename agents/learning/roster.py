"""Roster of a community: whose seats learn, which of them share a policy, and who plays by rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from gridbazaar.agents.bidders import BIDDERS, Bidder
from gridbazaar.agents.load import load
from gridbazaar.envs.game import Game
from gridbazaar.envs.seat_groups import SeatGroup
from gridbazaar.errors import ConfigError, UnknownNameError

# Who shares a policy: seats of one role with the same devices, nobody, or everybody.
Sharing = Literal["group", "seat", "all"]
DEFAULT, LEARNED = "default", "learned"
_EVERYBODY = "all"


class Roster(NamedTuple):
    """Who learns and who does not.

    Attributes:
        groups: seats that learn, by the policy that they share.
        fixed: bidders that do not learn, with their seats, int64 [S].
    """

    groups: tuple[SeatGroup, ...]
    fixed: Mapping[str, Tensor]

    def others(self, game: Game, device: torch.device | str = "cpu") -> Others | None:
        """Return those who do not learn, ready to play; None where everybody learns.

        Raises:
            CheckpointError: a folder holds nothing that can be loaded.
        """
        parts = [
            (load(name, game.of_seats(seats.tolist()), device), seats)
            for name, seats in self.fixed.items()
        ]
        return Others(parts) if parts else None


class Others:
    """Plays the seats that do not learn.

    Args:
        parts: pairs of a bidder and its seats.
    """

    def __init__(self, parts: list[tuple[Bidder, Tensor]]):
        self._parts = parts

    def play(self, observation: Tensor, action: Tensor, state: Any) -> list[Any]:
        """Lay what they do into an action [B, N, A] of all seats; return their state.

        Args:
            observation: [B, N, F].
            action: is changed in place.
            state: None at the day's start, afterwards what the last call returned.
        """
        kept = []
        before = state or [None] * len(self._parts)
        for (bidder, seats), own in zip(self._parts, before, strict=True):
            done, after = bidder.act(observation, own)
            action[:, seats] = done[:, seats].to(action)
            kept.append(after)
        return kept


def roster(
    game: Game, sharing: Sharing = "group", fixed: Mapping[str, str] | None = None
) -> Roster:
    """Return who learns in a game, and who plays by rule.

    Args:
        game: what everybody knows; seats that its groups leave out are somebody else's.
        sharing: who shares a policy.
        fixed: bidder, or folder of a run, by seat (`prosumer_3`), role (`ev`) or group of seats
            (`prosumer_pv`); `default` is of all that are not named, `learned` means that they
            learn. The narrowest name counts; names that the game has not are left out.
    """
    of_seat = _bidders(game, fixed or {})
    rules = sorted({name for name in of_seat.values() if name != LEARNED})
    numbers = {n: sorted(s for s, name in of_seat.items() if name == n) for n in rules}
    place = game.groups[0].seats if game.groups else torch.zeros(0)
    seats = {name: torch.tensor(found, device=place.device) for name, found in numbers.items()}
    learning = game.of_seats(seat for seat, name in of_seat.items() if name == LEARNED)
    return Roster(_shared(learning, sharing), seats)


def check(game: Game, fixed: Mapping[str, str]) -> None:
    """Refuse what a run cannot be told about who learns.

    Raises:
        UnknownNameError: a seat, role, group or bidder is not there; gives the nearest.
        ConfigError: nobody would learn.
    """
    known = {DEFAULT, *game.seats, *(_role(seat) for seat in game.seats)}
    known |= {group.name for group in game.groups}
    for key, name in fixed.items():
        if key not in known:
            raise UnknownNameError("seat, role or group of seats in fixed", key, known)
        if name != LEARNED and name not in BIDDERS and not Path(name).is_dir():
            raise UnknownNameError("bidder", name, (*BIDDERS.names(), LEARNED))
    if not roster(game, "group", fixed).groups:
        raise ConfigError(
            f"fixed={dict(fixed)} leaves nobody who learns; give a seat or role 'learned', or "
            "leave one out"
        )


def _bidders(game: Game, fixed: Mapping[str, str]) -> dict[int, str]:
    """Return the bidder of each seat, from the narrowest name that it goes by."""
    found = {}
    for group in game.groups:
        for seat in group.seats.tolist():
            name = game.seats[seat] if game.seats else ""
            words = (name, group.name, _role(name), DEFAULT)
            found[seat] = next((fixed[word] for word in words if word in fixed), LEARNED)
    return found


def _role(seat: str) -> str:
    return seat.rpartition("_")[0]


def _shared(game: Game, sharing: Sharing) -> tuple[SeatGroup, ...]:
    """Return the seats of a game's groups by the policy that they share."""
    if sharing == "group" or not game.groups:
        return game.groups
    if sharing == "seat":
        return tuple(
            group._replace(name=game.seats[seat], seats=group.seats[place : place + 1])
            for group in game.groups
            for place, seat in enumerate(group.seats.tolist())
        )
    seats = torch.cat([group.seats for group in game.groups]).sort().values
    sizes = (game.layout.size, len(game.layout.actions))
    observed, acted = (torch.arange(size, device=seats.device) for size in sizes)
    return (SeatGroup(_EVERYBODY, seats, observed, acted),)
