"""PPO in one file, as CleanRL writes it: every line of the algorithm is here to be changed.

    python examples/cleanrl_ppo.py 200_000

needs nothing beyond gridbazaar. After `ppo_continuous_action.py` of CleanRL (Huang et al. 2022,
JMLR 23(274)); the environments are the homes with PV and battery of many markets, and a rule plays
the other seats. Actions are added to what the rule does (`residual=True`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor, nn
from torch.distributions import Normal

import gridbazaar as gb
from gridbazaar.agents.wrappers.vector_env import SeatVectorEnv
from gridbazaar.evaluation.rollout import daily_cost


@dataclass
class Args:
    """What may be changed."""

    steps: int = 200_000  # of seats
    markets: int = 16
    task: str = "small-v1"
    seats: str = "prosumer_pv_storage"
    seed: int = 1
    learning_rate: float = 1e-3
    gamma: float = 0.999
    gae_lambda: float = 0.95
    epochs: int = 5
    minibatches: int = 6
    clip: float = 0.2
    value_weight: float = 0.5
    max_grad_norm: float = 0.5
    reward_scale: float = 20.0  # learning units per EUR
    days: int = 13  # on which rule and policy are judged


class Agent(nn.Module):
    """Actor and critic of two layers each."""

    def __init__(self, seen: int, acts: int):
        super().__init__()
        self.critic = _network(seen, 1, 1.0)
        self.actor = _network(seen, acts, 0.01)
        self.log_std = nn.Parameter(torch.full((acts,), -2.0))

    def policy(self, seen: Tensor) -> Normal:
        """Return the distribution of actions [rows, A]."""
        return Normal(self.actor(seen), self.log_std.exp())

    def value(self, seen: Tensor) -> Tensor:
        """Return what is still to be earned [rows]."""
        return self.critic(seen).squeeze(-1)


def _network(inputs: int, outputs: int, gain: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size_in, size_out, scale in ((inputs, 64, 2**0.5), (64, 64, 2**0.5), (64, outputs, gain)):
        layer = nn.Linear(size_in, size_out)
        nn.init.orthogonal_(layer.weight, scale)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def main(args: Args) -> dict[str, float]:
    """Train; return what these homes pay under rule and policy, EUR/day on validation days."""
    torch.manual_seed(args.seed)
    env = SeatVectorEnv(
        gb.batched(task=args.task, num_envs=args.markets),
        args.seats,
        residual=True,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    slots, n = env.simulation.slots, env.num_envs
    acts = env.single_action_space.shape[0]
    agent = Agent(env.single_observation_space.shape[0], acts)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)

    obs = torch.zeros(slots, n, env.single_observation_space.shape[0])
    actions = torch.zeros(slots, n, acts)
    log_probs, rewards, values = torch.zeros(3, slots, n).unbind()
    next_obs = torch.from_numpy(env.reset(seed=args.seed)[0])

    updates = max(1, args.steps // (slots * n))
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - update / updates)
        for t in range(slots):  # a day: it ends for all environments together
            obs[t] = next_obs
            with torch.no_grad():
                policy, values[t] = agent.policy(next_obs), agent.value(next_obs)
                actions[t] = policy.sample()
            log_probs[t] = policy.log_prob(actions[t]).sum(-1)
            seen, reward, *_ = env.step(actions[t].numpy())
            next_obs, rewards[t] = torch.from_numpy(seen), torch.from_numpy(reward).float()

        rewards *= args.reward_scale
        advantages, later, next_value = torch.zeros_like(rewards), torch.zeros(n), torch.zeros(n)
        for t in reversed(range(slots)):  # nothing follows a day's last interval
            delta = rewards[t] + args.gamma * next_value - values[t]
            advantages[t] = later = delta + args.gamma * args.gae_lambda * later
            next_value = values[t]
        returns = advantages + values

        flat = [x.flatten(0, 1) for x in (obs, actions, log_probs, advantages, returns)]
        for _ in range(args.epochs):
            for rows in torch.randperm(slots * n).chunk(args.minibatches):
                b_obs, b_action, b_log_prob, b_advantage, b_return = (x[rows] for x in flat)
                policy = agent.policy(b_obs)
                ratio = (policy.log_prob(b_action).sum(-1) - b_log_prob).exp()
                b_advantage = (b_advantage - b_advantage.mean()) / (b_advantage.std() + 1e-8)
                clipped = ratio.clamp(1 - args.clip, 1 + args.clip)
                policy_loss = -torch.min(ratio * b_advantage, clipped * b_advantage).mean()
                value_loss = 0.5 * (agent.value(b_obs) - b_return).square().mean()
                loss = policy_loss + args.value_weight * value_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()
        earned = rewards.sum(0).mean() / args.reward_scale
        print(f"{(update + 1) * slots * n:8} seat-steps: a seat earns {earned:6.2f} EUR/day")

    def act(seen):
        with torch.no_grad():
            return agent.actor(torch.from_numpy(seen)).numpy()

    judges = gb.batched(task=args.task, num_envs=args.days, split="validation")
    costs = {}
    for name, bidder in (("truthful", "truthful"), ("learned", env.bidder(act))):
        cost = daily_cost(judges, bidder).mean(0)
        costs[name] = float(cost[env.group.seats].sum())
        print(f"{name:10} these homes {costs[name]:6.2f}, all seats {cost.sum():6.2f} EUR/day")
    return costs


if __name__ == "__main__":
    main(Args(*(int(word) for word in sys.argv[1:])))
