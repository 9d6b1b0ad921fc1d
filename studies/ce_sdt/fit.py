"""Fit of two numbers that the paper does not print, price level and load, to two that it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gridbazaar.studies.ce_sdt.community import Prices, build, per_user
from gridbazaar.studies.ce_sdt.profiles import Profiles
from gridbazaar.studies.ce_sdt.rules import Rules
from gridbazaar.studies.ce_sdt.trading import simulate, typical_weights

SHARE = 0.5  # of users who generate
CONSUMERS, ALL = 0.602, 0.431  # of the traditional bill, 4.2
LEVELS = (0.10, 0.5411)  # AUD/kWh: between the feed-in and the dearest hour
LOADS = (5.0, 40.0)  # kWh a day
_ROUNDS, _HALVINGS = 2, 7


def fitted(profiles: Profiles, rules: Rules, prices: Prices, draws: int, seed: int) -> Rules:
    """Return the rules with the load at which all pay ALL, and the level at which Ω¹ pay CONSUMERS.

    Both bills rise with what they are fitted by; each hardly moves the other, so that few rounds
    do. Where nothing within LEVELS or LOADS serves, the end that comes nearest is taken.
    """
    told = (prices, draws, seed)

    def meets(rules: Rules, name: str, span: tuple[float, float], which: int) -> Rules:
        def bill(value: float) -> float:
            return bills(profiles, replace(rules, **{name: value}), *told)[which]

        return replace(rules, **{name: _where(bill, (CONSUMERS, ALL)[which], *span)})

    for _ in range(_ROUNDS):
        rules = meets(rules, "load_kwh", LOADS, 1)
        rules = meets(rules, "level", LEVELS, 0)
    return rules


def bills(
    profiles: Profiles, rules: Rules, prices: Prices, draws: int, seed: int
) -> tuple[float, float]:
    """Return what Ω¹ and all pay, as parts of the traditional bill with all sun fed in."""
    community = build(profiles, (SHARE,), draws, rules, prices, seed)
    events, consumes = community.events, ~community.owner
    money = events.load_kwh * prices.grid[events.hour] - events.sun_kwh * prices.feed_in
    before = per_user(events, money, rules.users)
    after = simulate(community, rules, prices, typical_weights(community, rules)).cost
    part = after[consumes].sum() / before[consumes].sum()
    return float(part), float(after.sum() / before.sum())


def _where(rises: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Return where a rising function meets a target, or the nearer end."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < target else (low, middle)
    return (low + high) / 2
