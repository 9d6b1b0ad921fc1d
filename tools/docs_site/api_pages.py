"""Pages of the Python interface: one a part, from the docstrings of its modules."""

from __future__ import annotations

from typing import Any

# What a user meets, by page: title, one line, modules or names in them.
PARTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "environments": (
        "Environments",
        "A world as a PettingZoo environment, or as a batch of tensors.",
        (
            "envs",
            "envs.market_env",
            "envs.simulation",
            "envs.interval",
            "envs.spaces",
            "envs.seat_groups",
            "envs.layout",
            "envs.game",
            "envs.state",
        ),
    ),
    "markets": (
        "Markets",
        "What a mechanism is given, and what it answers.",
        (
            "envs.markets.protocol",
            "envs.markets.book",
            "envs.markets.context",
            "envs.markets.pairs",
            "envs.markets.posted_price",
            "envs.markets.trade_price",
        ),
    ),
    "devices": (
        "Devices and grid",
        "What a kind of device says of itself; feeders and their power flow.",
        (
            "envs.devices.protocol",
            "envs.devices.store",
            "envs.grid.catalogue",
            "envs.grid.network",
            "envs.grid.power_flow",
            "envs.grid.limits",
        ),
    ),
    "ledgers": (
        "Ledgers",
        "Consensus, chain, fees, and the layers on top.",
        (
            "ledger_sim",
            "ledger_sim.protocol",
            "ledger_sim.consensus.protocol",
            "ledger_sim.layers.protocol",
        ),
    ),
    "bidders": (
        "Bidders and learning",
        "Strategies, and what training and checkpoints offer to Python.",
        (
            "agents.bidders",
            "agents.bidders.protocol",
            "agents.bidders.seat",
            "agents.load",
            "agents.pettingzoo_policy",
            "agents.config",
            "agents.learning.algorithm",
            "agents.learning.trainer",
        ),
    ),
    "evaluation": (
        "Evaluation",
        "Tournaments, key figures and suites.",
        (
            "evaluation.rollout",
            "evaluation.tournament",
            "evaluation.outcome",
            "evaluation.suite",
            "envs.kpis.registry",
            "envs.day_record",
        ),
    ),
    "ground": (
        "Ground floor",
        "Errors, registries, configuration and plug-ins.",
        ("errors", "registry", "config", "configs", "plugins", "randomness"),
    ),
}


def pages() -> tuple[list[Any], dict[str, str]]:
    """Return entries of the navigation, and the text of each page by path."""
    texts = {}
    for name, (title, line, modules) in PARTS.items():
        blocks = "\n".join(f"::: gridbazaar.{module}\n" for module in modules)
        texts[f"reference/api/{name}.md"] = f"# {title}\n\n{line}\n\n{blocks}"
    entries = [{title: f"reference/api/{name}.md"} for name, (title, _, _) in PARTS.items()]
    return [{"Python": entries}], texts
