"""Policy of the PettingZoo environment as a bidder: a function of an agent and what it sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridbazaar.envs.game import Game
from gridbazaar.errors import ArgumentError

Array = NDArray[np.float32]
Policy = Callable[[str, Array], Any]


class PolicyBidder:
    """Asks a function for each agent of each market, as one who plays the environment would.

    Slower than a bidder of tensors, some 10 us a call and agent. The function keeps no memory: days
    are played side by side.

    Args:
        policy: agent's name, as the environment has it, and its observation -> its action.
        game: to be played, `simulation.game`.
        padded: as of the environment: every agent sees and gives the entries of all.
    """

    def __init__(self, policy: Policy, game: Game, padded: bool = False):
        self._policy, self._entries = policy, len(game.layout.actions)
        rows = {seat: g for g in game.groups for seat in g.seats.tolist()}
        count: Counter[str] = Counter()
        self._seats = []
        for seat in sorted(rows):
            role = rows[seat].name.partition("_")[0]
            observed, acted = rows[seat].observed.cpu().numpy(), rows[seat].acted.cpu().numpy()
            if padded:
                observed, acted = np.arange(game.layout.size), np.arange(self._entries)
            self._seats.append((f"{role}_{count[role]}", seat, observed, acted))
            count[role] += 1

    def act(self, observation: Tensor, state: Any = None) -> tuple[Tensor, None]:
        """Decide one interval; see Bidder."""
        seen = observation.cpu().numpy().astype(np.float32)
        action = np.zeros((*seen.shape[:2], self._entries), np.float32)
        for name, seat, observed, acted in self._seats:
            for market in range(len(seen)):
                action[market, seat, acted] = self._asked(name, seen[market, seat, observed], acted)
        return torch.from_numpy(action).to(observation), None

    def _asked(self, agent: str, seen: Array, acted: NDArray[np.int64]) -> Array:
        given = np.asarray(self._policy(agent, seen), np.float32)
        if given.shape != acted.shape or not np.isfinite(given).all():
            raise ArgumentError(
                f"the policy gives {agent!r} an action of shape {given.shape}"
                + ("" if np.isfinite(given).all() else " that is not finite")
                + f", expected {acted.shape} numbers in [-1, 1]"
            )
        clipped: Array = given.clip(-1, 1)
        return clipped


def policy_bidder(policy: Policy, padded: bool = False) -> Callable[[Game], PolicyBidder]:
    """Return what builds a bidder of a policy function for any game; see PolicyBidder."""
    return lambda game: PolicyBidder(policy, game, padded)
