"""JAX decides, the markets are PyTorch's: tensors change hands by DLPack, without a copy.

    python examples/jax_dlpack.py

needs `pip install 'gridbazaar[jax]'`. A linear policy of JAX learns by evolution strategies
(Salimans et al. 2017) how much of the rule's valuation to shade: every market tries another one.
Gradients do not cross: JAX's stop where PyTorch's markets begin.
"""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import torch

import gridbazaar as gb
from gridbazaar.agents.load import load

SPREAD, RATE = 0.05, 0.02


@jax.jit
def shift(weights: jax.Array, observation: jax.Array) -> jax.Array:
    """Return what each market's policy adds to the rule's action, [B, N, A]."""
    return jnp.einsum("bfa,bnf->bna", weights, observation)


def main(iterations: int = 5, markets: int = 16) -> list[float]:
    """Learn for some days; return what the community earned in each, EUR."""
    simulation = gb.batched(task="small-v1", num_envs=markets)
    rule, layout = load("truthful", simulation.game), simulation.game.layout
    mean, key = jnp.zeros((layout.size, len(layout.actions))), jax.random.key(1)
    days = simulation.community.days["train"]
    earned = []
    for iteration in range(iterations):
        key, draw = jax.random.split(key)
        half = SPREAD * jax.random.normal(draw, (markets // 2, *mean.shape)) / layout.size**0.5
        noise = jnp.concatenate([half, -half])  # mirrored: the day's own luck cancels
        same = days[iteration % len(days)].expand(markets)
        observation, memory = simulation.reset(same, seed=torch.full((markets,), iteration)), None
        total = torch.zeros(markets)
        for _ in range(simulation.slots):
            action, memory = rule.act(observation, memory)
            added = shift(mean + noise, jnp.from_dlpack(observation))
            interval = simulation.step((action + torch.from_dlpack(added)).clamp(-1, 1))
            observation = interval.observation
            total += interval.reward.total.sum(-1)
        score = jnp.from_dlpack(total)
        score = (score - score.mean()) / (score.std() + 1e-8)
        mean = mean + RATE * jnp.einsum("b,bfa->fa", score, noise) / (markets * SPREAD)
        earned.append(float(total.mean()))
        print(f"day {iteration + 1}: the community earns {earned[-1]:.2f} EUR")
    return earned


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
