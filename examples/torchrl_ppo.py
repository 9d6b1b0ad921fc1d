"""TorchRL's PPO over a native batch of markets: one policy for each group of seats alike.

    python examples/torchrl_ppo.py 40

needs `pip install 'gridbazaar[torchrl]'`. The batch of markets is the environment's batch: no
processes, no copies, and on a GPU where `gridbazaar.batched(device="cuda")` is. Groups hold agents
in a dimension of their own, as TorchRL's multi-agent losses and BenchMARL expect.
"""

from __future__ import annotations

import sys

import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from tensordict.nn.distributions import NormalParamExtractor
from torch import nn
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import MultiAgentMLP, ProbabilisticActor, TanhNormal
from torchrl.objectives import ClipPPOLoss, ValueEstimators

import gridbazaar as gb
from gridbazaar.agents.wrappers.torchrl import BatchedMarketEnv
from gridbazaar.evaluation.rollout import daily_cost

REWARD_SCALE = 20.0  # learning units per EUR


class Quiet(nn.Module):
    """Makes an untrained policy's outputs small, so that it begins as the rule."""

    def forward(self, outputs):
        """Return a tenth."""
        return 0.1 * outputs


def networks(env: BatchedMarketEnv, group: str) -> tuple[ProbabilisticActor, TensorDictModule]:
    """Return a policy that the group's seats share, and a critic that sees what they see."""
    seen = env.observation_spec[group, "observation"].shape
    acts = env.action_spec[group, "action"].shape[-1]
    sizes = {"n_agents": seen[-2], "centralized": False, "share_params": True}
    net = MultiAgentMLP(seen[-1], 2 * acts, **sizes, depth=2, num_cells=64)
    loc_scale = nn.Sequential(
        net, Quiet(), NormalParamExtractor(scale_mapping="biased_softplus_0.1")
    )
    actor = ProbabilisticActor(
        TensorDictModule(loc_scale, [(group, "observation")], [(group, "loc"), (group, "scale")]),
        in_keys=[(group, "loc"), (group, "scale")],
        out_keys=[(group, "action")],
        distribution_class=TanhNormal,
        return_log_prob=True,
        log_prob_key=(group, "log_prob"),
    )
    value = MultiAgentMLP(seen[-1], 1, **sizes, depth=2, num_cells=64)
    return actor, TensorDictModule(value, [(group, "observation")], [(group, "state_value")])


def ppo_loss(group: str, actor: ProbabilisticActor, critic: TensorDictModule) -> ClipPPOLoss:
    """Return TorchRL's clipped loss, told where the group's entries lie."""
    loss = ClipPPOLoss(actor, critic, clip_epsilon=0.2, entropy_coeff=0.0)
    loss.set_keys(
        action=(group, "action"),
        sample_log_prob=(group, "log_prob"),
        value=(group, "state_value"),
        reward=(group, "reward"),
        done=(group, "done"),
        terminated=(group, "terminated"),
    )
    loss.make_value_estimator(ValueEstimators.GAE, gamma=0.999, lmbda=0.95)
    return loss


def main(iterations: int = 40, markets: int = 16, days: int = 13) -> dict[str, float]:
    """Train for some days of every market; return all seats' cost, EUR/day on validation days."""
    torch.manual_seed(1)
    env = BatchedMarketEnv(gb.batched(task="small-v1", num_envs=markets), residual=True)
    env.set_seed(1)
    pairs = {group: networks(env, group) for group in env.group_map}
    policy = TensorDictSequential(*(actor for actor, _ in pairs.values()))
    losses = {group: ppo_loss(group, *pair) for group, pair in pairs.items()}
    optimizers = {
        group: torch.optim.Adam(loss.parameters(), lr=1e-3) for group, loss in losses.items()
    }
    for iteration in range(iterations):
        with torch.no_grad():
            day = env.rollout(env.simulation.slots, policy)  # [B, T]
        for group, loss in losses.items():
            learn(day, group, loss, optimizers[group])
        earned = sum(day["next", group, "reward"].sum((1, 2, 3)) for group in losses).mean()
        print(f"day {iteration + 1}: the community earns {earned:.2f} EUR")

    judges = gb.batched(task="small-v1", num_envs=days, split="validation")
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        learned = float(daily_cost(judges, env.bidder(policy)).sum(-1).mean())
    costs = {"truthful": float(daily_cost(judges, "truthful").sum(-1).mean()), "learned": learned}
    for name, cost in costs.items():
        print(f"{name:10} {cost:6.2f} EUR/day")
    return costs


def learn(day, group, loss, optimizer, epochs: int = 4, rows: int = 384) -> None:
    """Learn from one day of every market."""
    batch = day.select("next", group, strict=False).clone()
    seats = batch["next", group, "reward"].shape
    batch["next", group, "reward"] = REWARD_SCALE * batch["next", group, "reward"]
    for flag in ("done", "terminated"):  # one for each seat, as the loss expects
        batch["next", group, flag] = day["next", flag].unsqueeze(-2).expand(seats)
    with torch.no_grad():
        params, target = loss.critic_network_params, loss.target_critic_network_params
        loss.value_estimator(batch, params=params, target_params=target)
    batch = batch.reshape(-1)
    for _ in range(epochs):
        for chosen in torch.randperm(len(batch)).split(rows):
            found = loss(batch[chosen])
            optimizer.zero_grad()
            (found["loss_objective"] + found["loss_critic"]).backward()
            nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
            optimizer.step()


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
