"""Soft actor-critic: squashed actions, twin critics, replay, and a temperature that adapts itself.

Haarnoja et al. 2018, arXiv:1812.05905. RLlib's own loss asks for episodes and knows no action of
which parts are held or cannot matter; the loss here is the paper's, on days played last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import Tensor
from torch.func import functional_call

from gridbazaar.agents.learning.actor_critic import (
    RETURNS,
    actor_critics,
    last_layer_small,
    layers,
)
from gridbazaar.agents.learning.algorithm import ALGORITHMS, Algorithm, Workload
from gridbazaar.agents.learning.correction import Correction, NetworkSettings
from gridbazaar.agents.learning.replay import DISCOUNT, NEXT_NOISE, NOISE, Replay
from gridbazaar.agents.learning.rllib.env_runner import iteration_seed
from gridbazaar.agents.learning.rllib.learner import DayLearner
from gridbazaar.agents.learning.rllib.training import DayTraining, DayTrainingConfig
from gridbazaar.agents.learning.rollout import Choice, Trajectory
from gridbazaar.config import Count, Positive, Share, Whole
from gridbazaar.envs.spaces import Spaces

_REPLAY = "replay"
_DRAWS = 1 << 16  # the runner whose seeds are the replay's: there are never so many
_PARTS = ("actor", "critic", "alpha")
_LOG_STD = (-5.0, 1.0)
_INSIDE = 1 - 1e-4  # a prior at the bound of an action is corrected from here


class SACSettings(NetworkSettings):
    """Hyper-parameters; RLlib's names where it has one."""

    name: Literal["sac"] = Field(description="sac: soft actor-critic")
    actor_lr: Positive = Field(
        description="learning rate of Adam at the start, of the policy",
        json_schema_extra={"unit": "1"},
    )
    critic_lr: Positive = Field(
        description="the same of the critics", json_schema_extra={"unit": "1"}
    )
    alpha_lr: Positive = Field(
        description="the same of the temperature's logarithm", json_schema_extra={"unit": "1"}
    )
    lr_end: Share = Field(description="of these rates that is left at total_agent_steps")
    gamma: Share = Field(description="discount per interval")
    n_step: Count = Field(description="intervals whose rewards are summed before a critic's word")
    tau: Share = Field(description="of the critics, into their targets at every update")
    initial_alpha: Positive = Field(
        description="temperature at the start, per unit of return", json_schema_extra={"unit": "1"}
    )
    target_entropy: float = Field(
        description="of each entry that is learned, nats", json_schema_extra={"unit": "nats"}
    )
    updates: Count = Field(description="minibatches of an iteration")
    minibatch_size: Count = Field(description="agent steps of all groups together")
    replay_iterations: Count = Field(description="whose days are drawn from")
    warmup_iterations: Whole = Field(description="in which critics learn and the policy does not")
    grad_clip: Positive = Field(
        description="global norm per group", json_schema_extra={"unit": "1"}
    )
    normalise_returns: bool = Field(
        description="whether rewards are divided by the deviation of the returns, all so far"
    )


class SoftActorCritic(Correction, TorchRLModule):
    """A squashed normal policy that corrects a simple controller, and twin critics."""

    def setup(self) -> None:
        """Build policy, critics, their targets and the temperature."""
        seen, entries = self.observation_space.shape[0], self.action_space.shape[0]
        self.set_up_correction(**self.sizes())
        hidden = self.model_config["fcnet_hiddens"]
        self.policy = layers([seen, *hidden, 2 * entries], self.model_config)
        last_layer_small(self.policy)
        self.critics = torch.nn.ModuleList(
            layers([seen + entries, *hidden, 1], self.model_config) for _ in range(2)
        )
        for name, value in self.critics.named_parameters():
            self.register_buffer(_target(name), value.detach().clone())
        self.log_alpha = torch.nn.Parameter(torch.tensor(self.model_config["log_alpha"]))

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTIONS: self.draw(batch[Columns.OBS], None)[0]}

    def draw(self, obs: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions [rows, A], their log-density [rows], and how many entries it is of.

        Args:
            obs: [rows, F].
            noise: [rows, A] of a standard normal; None for the most likely action before squashing.
        """
        prior, matters = self.priors(obs)
        correction, log_std = self.policy(self.scores[Columns.OBS](obs)).chunk(2, -1)
        log_std = (self._initial + log_std).clamp(*_LOG_STD)
        mean = _before(prior) + correction
        noise = torch.zeros_like(mean) if noise is None else noise
        before = mean + log_std.exp() * noise
        density = torch.distributions.Normal(mean, log_std.exp()).log_prob(before)
        # log(1 - tanh(x)^2), as in the paper's appendix C, without cancellation.
        slope = 2 * (0.6931471805599453 - before - torch.nn.functional.softplus(-2 * before))
        density = torch.where(matters, density - slope, 0.0).sum(-1)
        return torch.where(matters, torch.tanh(before), prior), density, matters.sum(-1)

    def estimates(self, obs: Tensor, action: Tensor, which: str) -> Tensor:
        """Return both critics' estimates [2, rows].

        A critic sees by how many first deviations an action departs from the prior's before
        squashing, not the action: that follows so closely from what is seen that what one of them
        is worth could be laid at the other's door.

        Args:
            obs: [rows, F].
            action: [rows, A].
            which: `critics`, which learn; `held`, the same without a gradient to them; `targets`.
        """
        prior, matters = self.priors(obs)
        apart = _before(action) - _before(prior)
        apart = torch.where(matters, apart / self._initial.exp(), 0.0)
        seen = torch.cat([self.scores[Columns.OBS](obs), apart], -1)
        found = []
        for number, critic in enumerate(self.critics):
            names = dict(critic.named_parameters())
            if which == "critics":
                found.append(critic(seen))
                continue
            if which == "held":
                values = {name: value.detach() for name, value in names.items()}
            else:
                values = {name: getattr(self, _target(f"{number}.{name}")) for name in names}
            found.append(functional_call(critic, values, (seen,)))
        return torch.stack(found).squeeze(-1)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        obs, following = batch[Columns.OBS], batch[Columns.NEXT_OBS]
        alpha = self.log_alpha.exp().detach()
        with torch.no_grad():
            action, density, _ = self.draw(following, batch[NEXT_NOISE])
            rest = self.estimates(following, action, "targets").amin(0) - alpha * density
            reward = batch[Columns.REWARDS]
            if RETURNS in self.scores:
                reward = reward / self.scores[RETURNS].deviation.to(reward)
            target = reward + batch[DISCOUNT] * rest
        action, density, entries = self.draw(obs, batch[NOISE])
        return {
            "surprise": self.estimates(obs, batch[Columns.ACTIONS], "critics") - target,
            "value": self.estimates(obs, action, "held").amin(0),
            "density": density,
            "entries": entries,
            "log_alpha": self.log_alpha,
        }

    def parts(self) -> dict[str, list[torch.nn.Parameter]]:
        """Return the parameters by what is learned with a rate of its own."""
        found = (list(self.policy.parameters()), list(self.critics.parameters()), [self.log_alpha])
        return dict(zip(_PARTS, found, strict=True))

    @torch.no_grad()
    def follow(self, tau: float) -> None:
        """Move the critics' targets towards them."""
        for name, value in self.critics.named_parameters():
            getattr(self, _target(name)).lerp_(value, tau)


def _before(action: Tensor) -> Tensor:
    """Return what is squashed to an action."""
    return torch.atanh(action.clamp(-_INSIDE, _INSIDE))


def _target(name: str) -> str:
    return "target_" + name.replace(".", "_")


def _late(workload: Workload, iterations: int, rate: float, left: float) -> Any:
    """Return a rate's schedule that is zero for some iterations, and ends with a share of it."""
    if iterations == 0:
        return workload.schedule(rate, rate * left)
    first, end = iterations * workload.env_steps, workload.total_env_steps
    # RLlib asks with the steps that an iteration has come to.
    places = [[0, 0.0], [first, 0.0], [first + 1, rate]]
    return [*places, [max(end, first + 2), rate * left]]


class SACLearner(DayLearner):
    """The losses of critics, policy and temperature; their targets follow after every update."""

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Register an optimiser for each part that has a learning rate of its own."""
        for name, parameters in self.module[module_id].unwrapped().parts().items():
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=name,
                optimizer=torch.optim.Adam(parameters),
                params=parameters,
                lr_or_lr_schedule=config.learner_config_dict[name],
            )

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: Any, fwd_out: Any
    ) -> Tensor:
        """Return the loss of one minibatch of one policy."""
        settings: SACSettings = config.env_config["algorithm"].config
        critic_loss = fwd_out["surprise"].square().mean(-1).sum() / 2
        # Where no entry can matter, there is nothing to learn for the policy.
        acts = fwd_out["entries"] > 0
        density, log_alpha = fwd_out["density"], fwd_out["log_alpha"]
        count = acts.sum().clamp(min=1)
        policy_loss = ((log_alpha.exp().detach() * density - fwd_out["value"]) * acts).sum() / count
        excess = density + settings.target_entropy * fwd_out["entries"]
        alpha_loss = -(log_alpha * excess.detach() * acts).sum() / count
        self.metrics.log_dict(
            {
                "qf_loss": critic_loss,
                "policy_loss": policy_loss,
                "alpha_value": log_alpha.exp(),
                "entropy": -(density * acts).sum() / count,
                "qf_mean": fwd_out["value"].mean(),
            },
            key=module_id,
            window=1,
        )
        return critic_loss + policy_loss + alpha_loss

    def apply_gradients(self, gradients_dict: dict[Any, Any]) -> None:
        """Take a step, and let the critics' targets follow."""
        super().apply_gradients(gradients_dict)
        for name in self.module.keys():  # noqa: SIM118 - a module, not a dict
            tau = self.config.env_config["algorithm"].config.tau
            self.module[name].unwrapped().follow(tau)


class ReplayTraining(DayTraining):
    """A day in every market, then updates on rows of the days played last."""

    def setup(self, config: Any) -> None:
        """Build RLlib's parts and an empty replay."""
        super().setup(config)
        self._settings: SACSettings = self.config.env_config["algorithm"].config
        s = self._settings
        self._replay = Replay(s.replay_iterations, s.n_step, s.gamma)

    def training_step(self) -> None:
        """Sample, keep, and learn from what is kept."""
        days, s = self.sample_days(), self._settings
        self._replay.add({name: dict(part) for name, part in days.policy_batches.items()})
        seed = iteration_seed(self.config.seed or 0, self.iteration, _DRAWS)
        generator = torch.Generator().manual_seed(seed)
        drawn = self._replay.draw(s.minibatch_size * s.updates, generator)
        batches = {name: SampleBatch(part) for name, part in drawn.items()}
        self.learn(MultiAgentBatch(batches, days.env_steps()))

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return RLlib's state and the days to be drawn from."""
        return {**super().get_state(*args, **kwargs), _REPLAY: self._replay.state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take a state that `get_state` gave."""
        super().set_state({key: part for key, part in state.items() if key != _REPLAY})
        self._replay.restore(state.get(_REPLAY, []))


@ALGORITHMS.register("sac")
class SAC(Algorithm):
    """Soft actor-critic: policies that stay as random as pays, learned from replayed days."""

    Config = SACSettings
    curves = {  # noqa: RUF012 - a constant, as declared
        "policy_loss": "policy_loss",
        "qf_loss": "value_loss",
        "qf_mean": "value",
        "entropy": "entropy",
        "alpha_value": "temperature",
    }

    def __init__(self, config: SACSettings):
        self.config = config

    def training(self, workload: Workload) -> DayTrainingConfig:
        """Return what RLlib is told; see Algorithm."""
        c = self.config
        config = DayTrainingConfig(algo_class=ReplayTraining).learners(learner_class=SACLearner)
        return config.training(
            learner_config_dict={
                "actor": _late(workload, c.warmup_iterations, c.actor_lr, c.lr_end),
                "critic": workload.schedule(c.critic_lr, c.critic_lr * c.lr_end),
                "alpha": _late(workload, c.warmup_iterations, c.alpha_lr, c.lr_end),
            },
            gamma=c.gamma,
            grad_clip=c.grad_clip,
            grad_clip_by="global_norm",
            num_epochs=1,
            minibatch_size=max(1, c.minibatch_size // workload.learners),
        )

    def modules(self, spaces: Mapping[str, Spaces]) -> MultiRLModuleSpec:
        """Return policy and critics of each group; see Algorithm."""
        spec = actor_critics(spaces, self.config, SoftActorCritic, self.config.normalise_returns)
        log_alpha = float(torch.tensor(self.config.initial_alpha).log())
        for module in spec.rl_module_specs.values():
            module.model_config["log_alpha"] = log_alpha
        return spec

    def explore(self, module: Any, observation: Tensor, noise: Tensor, memory: None) -> Choice:
        """Draw from the policy; there is nothing to remember; see Algorithm."""
        action, _, _ = module.draw(observation.flatten(0, 1), noise.flatten(0, 1))
        return Choice(action.unflatten(0, observation.shape[:2]), {})

    def process(self, module: Any, trajectory: Trajectory) -> dict[str, Tensor]:
        """Return whole days: a row is a seat's, with T + 1 observations; see Algorithm."""
        if not module.learned.any():
            # Nobody learns from these seats: RLlib's learner wants some rows of every policy.
            trajectory = trajectory.of_one_market()
        last = trajectory.next_observation[-1:]
        rows = {
            Columns.OBS: torch.cat([trajectory.observation, last]),
            Columns.ACTIONS: trajectory.action,
            Columns.REWARDS: trajectory.reward,
        }
        if RETURNS in module.scores:
            following = trajectory.reward.flip(0).cumsum(0).flip(0)
            rows[RETURNS] = following.unsqueeze(-1)
        return {name: value.flatten(1, 2).transpose(0, 1) for name, value in rows.items()}
