"""Market as a PettingZoo environment: a batch of one, with dictionaries around it."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from gridbazaar.envs.build import build
from gridbazaar.envs.config import WorldConfig
from gridbazaar.envs.interval import Interval
from gridbazaar.errors import ArgumentError, UnknownNameError

Array = NDArray[np.float32]

_OPTIONS = ("day",)  # of reset
_TEST_OPTION = "options"  # PettingZoo's own API test gives it, and expects it to be ignored


class MarketEnv(ParallelEnv[str, Array, Array]):
    """Households trade energy over a distribution feeder while a ledger carries their orders.

    ## Description
    Each seat is an agent: a prosumer (load, PV, perhaps a battery), a community battery, a charging
    point, or a consumer. Every interval (15 minutes in the default task) each sends one order to
    the ledger before gate closure; the market clears the orders that came in time; the feeder's AC
    power flow is solved for what is metered; trades, imbalance, penalties, network charges and
    fees are settled. An episode is one day of the split's calendar days.

    ## Action space
    `Box(-1, 1, (2 + K,), float32)` for every agent, K the most devices that a seat owns, 1 in the
    default task:

    | entry | meaning of -1 and +1 |
    |---|---|
    | limit price | feed-in tariff; retail price less the local network charge |
    | power of each device | charge or discharge battery or charger at its rated power |
    | priority fee | none; the rules' highest tip |

    The quantity offered is the forecast of PV less load plus the power that the devices
    can give. Entries beyond the bounds count as the bound.

    ## Observation space
    `Box(-inf, inf, (size,), float32)`: the same features for every role, in scaled units, listed
    with their physical units in `simulation.game.layout`, whose `read` returns one in its physical
    unit. Nothing in it was metered in the slot being bid for.

    ## Starting state
    A day of the split and the stored energy are drawn from the seed; a car that plugged in the
    evening before is there, partly charged.

    ## Rewards
    What the interval was worth to the seat, in the task's currency: its bill, less battery wear,
    energy its cars missed, and its share of the price of broken limits; at the day's end, the worth
    of stored energy against its start.

    ## Episode end
    All agents terminate together after the day's last slot. Nothing truncates.

    ## Arguments
    world: task, market and ledger, see `envs.world`.
    split: the days to draw from: train, validation or test.
    seed: of the first episode, where `reset` is given none.

    ## Version history
    The version is the task's: `semiurb4-v0` is the first.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "gridbazaar_v0", "render_modes": []}
    render_mode = None

    def __init__(self, world: WorldConfig, split: str = "train", seed: int = 0):
        self.simulation = build(world, num_envs=1, split=split, seed=seed)
        self.possible_agents = list(self.simulation.community.seats)
        self.agents: list[str] = []
        layout = self.simulation.game.layout
        self._entries = len(layout.actions)
        box = gym.spaces.Box(-np.inf, np.inf, (layout.size,), np.float32)
        actions = gym.spaces.Box(-1, 1, (self._entries,), np.float32)
        self.observation_spaces = dict.fromkeys(self.possible_agents, box)
        self.action_spaces = dict.fromkeys(self.possible_agents, actions)
        size = len(self.simulation.state_features)
        self.state_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def observation_space(self, agent: str) -> gym.Space[Array]:
        """Return the observation space, the same for every agent."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space[Array]:
        """Return the action space, the same for every agent."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, dict[str, Any]]]:
        """Start a day; `options={"day": first_slot}` plays a chosen one.

        Without a seed, the next day follows from the last seed.

        Raises:
            UnknownNameError: for another option, with the nearest known one.
            ArgumentError: the seed is not a whole number from 0 to 2**63 - 1, or the day not the
                first slot of one in the data.
        """
        day = _options(options).get("day")
        days = None if day is None else torch.tensor([_slot(day)])
        observation = self.simulation.reset(days, seed)
        self.agents = list(self.possible_agents)
        return self._per_agent(observation), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, Array]
    ) -> tuple[
        dict[str, Array],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Play one interval; each agent's info names its cleared power, price and bill.

        Raises:
            UnknownNameError: for an agent that is not in `agents`, with the nearest that is.
            ArgumentError: an agent's action is missing, has a wrong shape, or holds what is no
                finite real number; or the day is over. Nothing was played then.
        """
        interval = self.simulation.step(self._stacked(actions))
        names = self.agents
        rewards = dict(zip(names, interval.reward.total[0].tolist(), strict=True))
        infos = self._infos(interval)
        if interval.done:
            self.agents = []
        done, ongoing = dict.fromkeys(names, interval.done), dict.fromkeys(names, False)
        return self._per_agent(interval.observation), rewards, done, ongoing, infos

    def state(self) -> Array:
        """Return the global state, for central critics: what all agents see together now.

        Public features once, then each agent's own, in the order that
        `env.simulation.state_features` names.
        """
        state: Array = self.simulation.global_state()[0].numpy()
        return state

    def render(self) -> None:
        """Draw nothing: `evaluate.py` draws days."""

    def close(self) -> None:
        """Hold nothing open."""

    def _per_agent(self, observation: torch.Tensor) -> dict[str, Array]:
        return dict(zip(self.possible_agents, observation[0].numpy(), strict=True))

    def _stacked(self, actions: Any) -> torch.Tensor:
        if not self.agents:
            raise ArgumentError("the day is over or has not begun: call reset() before step()")
        if not isinstance(actions, Mapping):
            raise ArgumentError(
                f"actions is a {type(actions).__name__}, expected a dictionary with an action for "
                "every agent"
            )
        for agent in actions:
            if agent not in self.action_spaces:
                raise UnknownNameError("agent", str(agent), self.agents)
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            raise ArgumentError(
                f"no action for {len(missing)} of {len(self.agents)} agents, first {missing[0]!r}; "
                "every agent acts in every interval"
            )
        rows = np.stack([_row(agent, actions[agent], self._entries) for agent in self.agents])
        finite = np.isfinite(rows)
        if not finite.all():
            i, entry = np.argwhere(~finite)[0]
            raise ArgumentError(
                f"action of {self.agents[i]!r} has {rows[i, entry]} as entry {entry}, expected a "
                "number in [-1, 1]"
            )
        # Clipped first: a finite float64 may be infinite as float32.
        return torch.from_numpy(rows.clip(-1, 1).astype(np.float32)[None])

    def _infos(self, interval: Interval) -> dict[str, dict[str, Any]]:
        columns = (
            interval.clearing.cleared_kw[0].tolist(),
            interval.clearing.price[0].tolist(),
            interval.bill.total[0].tolist(),
            interval.receipts.included[0].tolist(),
        )
        keys = ("cleared_kw", "price", "bill", "included")
        return {
            agent: dict(zip(keys, row, strict=True))
            for agent, *row in zip(self.agents, *columns, strict=True)
        }


def _options(given: Any) -> Mapping[str, Any]:
    """Return a reset's options; raise unless they are known ones."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ArgumentError(f"options is {given!r}, expected a dictionary such as {{'day': 0}}")
    for name in given:
        if name not in (*_OPTIONS, _TEST_OPTION):
            raise UnknownNameError("option of reset", str(name), _OPTIONS)
    return given


def _slot(day: Any) -> int:
    """Return the first slot of a day as an integer; raise ArgumentError unless it is one."""
    whole = isinstance(day, Integral) and not isinstance(day, bool)
    if not whole or not 0 <= int(day) < 1 << 63:
        raise ArgumentError(
            f"option day is {day!r}, which is not the first slot of a day: expected a whole number"
        )
    return int(day)


def _row(agent: str, given: Any, entries: int) -> NDArray[Any]:
    """Return an agent's action [entries] of real numbers; raise ArgumentError where it is none."""
    try:
        action = np.asarray(given)
    except (
        ValueError,
        TypeError,
        RuntimeError,
    ) as error:
        # Ragged lists, and tensors that need a gradient.
        raise ArgumentError(f"action of {agent!r} is no array: {error}") from None
    if action.dtype.kind not in "fiu":  # complex, bool, words and objects are
        raise ArgumentError(
            f"action of {agent!r} holds {action.dtype}, expected {entries} real numbers in [-1, 1]"
        )
    if action.shape != (entries,):
        raise ArgumentError(f"action of {agent!r} has shape {action.shape}, expected ({entries},)")
    return action
