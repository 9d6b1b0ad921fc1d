"""Validation of a run: all validation days at once, played without exploration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gridbazaar.agents.config import TrainConfig
from gridbazaar.agents.learning import roster
from gridbazaar.agents.learning.algorithm import Algorithm, networks
from gridbazaar.agents.learning.bidder import LearnedBidder
from gridbazaar.envs.build import assemble, build
from gridbazaar.envs.spaces import spaces_of

COST = "community_cost_eur_per_day"


class Validation:
    """The validation days of a run's world, and networks to play them with.

    Args:
        config: of the run.
        algorithm: whose policies are validated.

    Attributes:
        game: that is played.
        groups: of seats that learn, by the policy that they share.
        spaces: of these groups.
        num_seats: N.
        slots: intervals of a day.
    """

    def __init__(self, config: TrainConfig, algorithm: Algorithm):
        sim = build(config.world, 1, "validation", config.seed, config.device)
        self._days = sim.community.days["validation"]
        # In the same place: building it anew takes longer than a small training.
        self._simulation = assemble(
            config.world,
            sim.community,
            sim.delivery,
            len(self._days),
            "validation",
            config.seed,
        )
        self._seed, self.num_seats, self.slots = config.seed, sim.num_seats, sim.slots
        self.game = sim.game
        roster.check(sim.game, config.fixed or {})
        who = roster.roster(sim.game, config.policies, config.fixed)
        self.groups, self.spaces = who.groups, spaces_of(sim, groups=who.groups)
        built = networks(algorithm, self.spaces)
        self._modules = {group: net.to(config.device).eval() for group, net in built.items()}
        others = who.others(sim.game, config.device)
        self._bidder = LearnedBidder(
            self._modules, who.groups, len(sim.game.layout.actions), others
        )

    @torch.no_grad()
    def __call__(self, weights: Mapping[str, Any]) -> dict[str, float]:
        """Play every validation day once, from the same stored energy each time.

        Args:
            weights: of the modules, as RLlib's learner group gives them.

        Returns:
            means over days: community cost, cost per seat of each group (EUR/day, as the reward
            has it), traded and unserved energy (kWh/day) and the price of violations (EUR/day).
        """
        for name, module in self._modules.items():
            module.set_state(weights[name])
        sim = self._simulation
        observation, state = sim.reset(days=self._days, seed=self._seed), None
        cost = observation.new_zeros(sim.num_envs, sim.num_seats)
        traded, unserved, violation = torch.zeros(3, device=cost.device)
        for _ in range(sim.slots):
            action, state = self._bidder.act(observation, state)
            interval = sim.step(action)
            observation = interval.observation
            cost -= interval.reward.total
            traded += interval.clearing.volume_kw.mean() * sim.community.slot_h
            unserved += interval.unserved_kwh.sum(-1).mean()
            violation -= interval.reward.violation.sum(-1).mean()
        return {
            COST: float(cost.sum(-1).mean()),
            **{
                f"cost_eur_per_seat_and_day/{group.name}": float(cost[:, group.seats].mean())
                for group in self.game.groups
            },
            "traded_kwh_per_day": float(traded),
            "unserved_kwh_per_day": float(unserved),
            "violations_eur_per_day": float(violation),
        }
