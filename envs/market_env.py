"""Market as a PettingZoo environment: a batch of one, with dictionaries around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from gridbazaar.envs.build import build
from gridbazaar.envs.config import WorldConfig
from gridbazaar.envs.interval import Interval
from gridbazaar.envs.layout import ActionEntry
from gridbazaar.envs.observation import Feature
from gridbazaar.envs.rendering import renderer
from gridbazaar.envs.rendering.renderer import Renderer
from gridbazaar.envs.reset_options import chosen_day
from gridbazaar.envs.spaces import Spaces, spaces_of
from gridbazaar.errors import ArgumentError, UnknownNameError

Array = NDArray[np.float32]


class MarketEnv(ParallelEnv[str, Array, Array]):
    """Households trade energy over a distribution feeder while a ledger carries their orders.

    ## Description
    Each seat is an agent: a prosumer (load, PV, perhaps a battery), a community battery, a charging
    point, or a consumer. Every interval (15 minutes in the default task) each sends its net supply
    curve as orders to the ledger before gate closure; the market clears the orders that came in
    time; devices run as cleared, or as the grid's price accepts; the feeder's AC power flow is
    solved for what is metered; trades, deviations, penalties, network charges and fees are settled.
    An episode is one day of the split's calendar days.

    ## Action space
    `Box(-1, 1, (A,), float32)`, with the entries that the agent has; `action_entries(agent)` names
    them with unit and meaning:

    | entry | who has it | meaning of -1 and +1 |
    |---|---|---|
    | must_run_price | with load, PV or a car | the day's lowest feed-in; highest retail price |
    | correction | with load or PV | largest load or generation, off or on the forecast |
    | value | of each device | content that gives at the day's lowest price; takes at its highest |
    | margin | of each device | none; the distance of the day's two prices |
    | share | of each device | none; all of its feasible power is offered |
    | priority_fee | all | none; the rules' highest tip |

    Entries beyond the bounds count as the bound.

    ## Observation space
    `Box(low, high, (F,), float32)` with finite bounds, in scaled units, with the entries that the
    agent has; `observation_features(agent)` names them with physical unit and scale. Nothing in it
    was metered in the slot being bid for.

    Agents of one role with the same devices have the same spaces and can share a policy:
    `policies` names it for each agent.

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
    seed: of the first episode, where `reset` is given none. None draws it from entropy at the first
    reset, so that copies of an environment, and those of several processes, play different days.
    padded: one space for all agents, with the entries of all; what an agent has not is zero in what
    it sees, and changes nothing in what it does.
    render_mode: human draws every interval in a window, rgb_array returns pictures from `render()`,
    uint8 [560, 800, 3]; None draws nothing.

    ## Attributes
    policies: agent -> name of the policy that agents alike share.

    ## Version history
    The version is the task's; CHANGELOG.md tells what changed.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "gridbazaar_v1",
        "render_modes": list(renderer.MODES),
        "render_fps": renderer.FPS,
    }

    def __init__(
        self,
        world: WorldConfig,
        split: str = "train",
        seed: int | None = None,
        padded: bool = False,
        render_mode: str | None = None,
    ):
        self.simulation = build(world, num_envs=1, split=split, seed=seed)
        self.render_mode = render_mode
        self._renderer = None
        if render_mode is not None:
            self._renderer = Renderer(self.simulation, world.title, render_mode)
        self.possible_agents = list(self.simulation.community.seats)
        self.agents: list[str] = []
        by_group = spaces_of(self.simulation, padded)
        self._spaces = {
            self.possible_agents[seat]: spaces
            for spaces in by_group.values()
            for seat in spaces.group.seats.tolist()
        }
        self._views = [self._view(agent) for agent in self.possible_agents]
        self.policies = {a: self._spaces[a].group.name for a in self.possible_agents}
        self.observation_spaces = {a: self._spaces[a].observation for a in self.possible_agents}
        self.action_spaces = {a: self._spaces[a].action for a in self.possible_agents}
        self.state_space = next(iter(by_group.values())).state

    def _view(self, agent: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which entries an agent sees and decides."""
        group = self._spaces[agent].group
        return group.observed.numpy(), group.acted.numpy()

    def observation_space(self, agent: str) -> gym.Space[Array]:
        """Return the observation space of an agent."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space[Array]:
        """Return the action space of an agent."""
        return self.action_spaces[agent]

    def observation_features(self, agent: str) -> tuple[Feature, ...]:
        """Return name, unit, scale and meaning of each entry of an agent's observation.

        Physical value = entry / scale. Raises UnknownNameError for an unknown agent.
        """
        return self._of(agent).features

    def action_entries(self, agent: str) -> tuple[ActionEntry, ...]:
        """Return name, unit and meaning of each entry of an agent's action.

        Raises UnknownNameError for an unknown agent.
        """
        return self._of(agent).action_entries

    def _of(self, agent: str) -> Spaces:
        if agent not in self._spaces:
            raise UnknownNameError("agent", str(agent), self.possible_agents)
        return self._spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, dict[str, Any]]]:
        """Start a day; `options={"day": first_slot}` plays a chosen one of the split.

        With `"any_split": True` beside it, it may be any day of the data. Without a seed, the next
        day follows from the last seed. The infos name each agent's `home`, as the data call it, and
        are empty for other seats.

        Raises:
            UnknownNameError: for another option, with the nearest known one.
            ArgumentError: the seed is not a whole number from 0 to 2**63 - 1, or the day not the
                first slot of one in the data, or of another split.
        """
        observation = self.simulation.reset(chosen_day(options, self.simulation), seed)
        self.agents = list(self.possible_agents)
        if self._renderer is not None:
            self._renderer.begin()
        homes = zip(self.agents, self.simulation.community.homes, strict=True)
        return self._per_agent(observation), {
            a: {"home": name} if name else {} for a, name in homes
        }

    def step(
        self, actions: dict[str, Array]
    ) -> tuple[
        dict[str, Array],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Play one interval; each agent's info names what it traded, planned and was billed.

        Raises:
            UnknownNameError: for an agent that is not in `agents`, with the nearest that is.
            ArgumentError: an agent's action is missing, has a wrong shape, or holds what is no
                finite real number; or the day is over. Nothing was played then.
        """
        interval = self.simulation.step(self._stacked(actions))
        names = self.agents
        rewards = dict(zip(names, interval.reward.total[0].tolist(), strict=True))
        infos = self._infos(interval)
        if self._renderer is not None:
            self._renderer.add(interval)
            if self.render_mode == renderer.HUMAN:
                self._renderer.render()
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

    def render(self) -> NDArray[np.uint8] | None:
        """Draw the last interval, with the day so far: see docs/pictures.md.

        Returns pixels, uint8 [560, 800, 3], in the mode rgb_array; None in the mode human, which
        draws every step by itself, and without a mode.
        """
        return None if self._renderer is None else self._renderer.render()

    def close(self) -> None:
        """Close the window, where there is one."""
        if self._renderer is not None:
            self._renderer.close()

    def _per_agent(self, observation: torch.Tensor) -> dict[str, Array]:
        rows = zip(self.possible_agents, observation[0].numpy(), self._views, strict=True)
        return {agent: row[observed] for agent, row, (observed, _) in rows}

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
        rows = np.zeros((1, len(self.agents), len(self.simulation.game.layout.actions)), np.float64)
        for seat, (agent, (_, acted)) in enumerate(zip(self.agents, self._views, strict=True)):
            rows[0, seat, acted] = _row(agent, actions[agent], self._spaces[agent])
        if not np.isfinite(rows).all():
            raise ArgumentError(self._not_finite(rows[0]))
        # Clipped first: a finite float64 may be infinite as float32.
        return torch.from_numpy(rows.clip(-1, 1).astype(np.float32))

    def _not_finite(self, rows: Array) -> str:
        """Return which entry of which agent's action is no number."""
        seat, entry = np.argwhere(~np.isfinite(rows))[0]
        return (
            f"action of {self.agents[seat]!r} has {rows[seat, entry]} as "
            f"{self.simulation.game.layout.actions[entry]}, expected a number in [-1, 1]"
        )

    def _infos(self, interval: Interval) -> dict[str, dict[str, Any]]:
        traded = interval.traded
        columns = {
            "cleared_kw": traded.cleared_kw,
            "payment": traded.payment_eur,
            "position_kw": traded.position_kw,
            "deviation_kw": traded.deviation_kw,
            "bill": interval.bill.total,
            "included": interval.receipts.included,
        }
        table = zip(*(column[0].tolist() for column in columns.values()), strict=True)
        return {
            agent: dict(zip(columns, row, strict=True))
            for agent, row in zip(self.agents, table, strict=True)
        }


def _row(agent: str, given: Any, spaces: Spaces) -> NDArray[Any]:
    """Return an agent's action of real numbers; raise ArgumentError where it is none."""
    shape = spaces.action.shape
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
            f"action of {agent!r} holds {action.dtype}, expected {shape[0]} real numbers in [-1, 1]"
        )
    if action.shape != shape:
        raise ArgumentError(
            f"action of {agent!r} has shape {action.shape}, expected {shape}: "
            f"({', '.join(entry.name for entry in spaces.action_entries)})"
        )
    return action
