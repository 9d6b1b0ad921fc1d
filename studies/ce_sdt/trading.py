"""CE-SDT's protocol, request by request, for many communities at once.

A user settles, serves itself from sun and store, and asks the contract for what is missing (steps 1
to 9 of section 2 of the paper). Communities of a batch differ in who settles when, so that the loop
is over the order of the settlements, a step for all communities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gridbazaar import randomness
from gridbazaar.studies.ce_sdt.community import Community, Events, Prices, per_user
from gridbazaar.studies.ce_sdt.prices import History, Weights, buying, selling, weights
from gridbazaar.studies.ce_sdt.rules import Rules

_ANSWER, _OFFER = 100, 101  # streams of chance
_NOTHING = 1e-9  # kWh: what rounding leaves of a request
_DAY_REQUESTS = 24.0


@dataclass
class Outcome:
    """Sums of a day; energy in kWh and money in AUD, by user [R, N] or by hour [R, 24]."""

    load: Tensor
    sun: Tensor
    own_sun: Tensor  # load that its own PV served at once
    own_store: Tensor  # and its own store later
    bought: Tensor
    sold: Tensor
    grid: Tensor
    fed_in: Tensor
    wasted: Tensor
    lost: Tensor  # in the store
    stored: Tensor  # more at the day's end than at its start
    end_soc: Tensor
    paid_grid: Tensor
    paid_users: Tensor
    earned_users: Tensor
    earned_feed_in: Tensor
    need_by_hour: Tensor  # of users from the system, own sun and store taken off
    grid_by_hour: Tensor
    messages: Tensor  # [R]: request, broadcast, offers, feedback, bill
    unanswered: Tensor  # [R]: requests that took "no bidding"

    @property
    def cost(self) -> Tensor:
        """Return each user's bill [R, N]."""
        return self.paid_grid + self.paid_users - self.earned_users - self.earned_feed_in


def simulate(community: Community, rules: Rules, prices: Prices, typical: Weights) -> Outcome:
    """Play a day.

    Args:
        typical: weights of (5) and (6), from `typical_weights`.
    """
    day = _Day(community, rules, prices, typical)
    for step in range(community.events.user.shape[1]):
        need = day.serve_itself(Events(*(column[:, step] for column in community.events)))
        day.request(need, step)
    return day.finish()


def typical_weights(community: Community, rules: Rules) -> Weights:
    """Return the weights at which the suggestions rest at the rules' level."""
    return weights(rules.level, *typical_energies(community, rules))


def typical_energies(community: Community, rules: Rules) -> tuple[float, float]:
    """Return the mean surplus of a user with PV and the mean need of all, as (5), (6) sum them."""
    owners = community.owner.sum().clamp(min=1)
    surplus = (community.sun_kw - community.load_kw).clamp(min=0).sum() / owners
    need = float(community.load_kw.sum(-1).mean())
    if rules.quantity == "now":
        return rules.store_kwh / 2, need / _DAY_REQUESTS
    return max(float(surplus), _NOTHING), need


class _Day:
    """State of a day: stores, histories of prices, and what was sold to whom."""

    def __init__(self, community: Community, rules: Rules, prices: Prices, weight: Weights):
        self.c, self.rules, self.prices, self.weight = community, rules, prices, weight
        events, owner = community.events, community.owner
        users = owner.shape[1]
        self._rows = torch.arange(len(owner))
        surplus = (events.sun_kwh - events.load_kwh).clamp(min=0)
        missing = (events.load_kwh - events.sun_kwh).clamp(min=0)
        # What is yet to come of a day, by user: what its store can take, and what it will need.
        storable = surplus.minimum(rules.store_kw * events.hours) * rules.charge_efficiency
        self.later = per_user(events, storable, users) * owner
        self.later_need = per_user(events, missing, users)
        self.day_surplus = per_user(events, surplus, users)
        self.day_need = per_user(events, events.load_kwh, users)
        zero = torch.zeros_like(self.later)
        self.start = owner.double() * (rules.soc_floor * rules.store_kwh)
        self.energy, self.budget = self.start.clone(), owner * (rules.store_kw + zero)  # an hour's
        self.sums = {name: zero.clone() for name in _BY_USER}
        self.hourly = {name: zero.new_zeros(len(owner), 24) for name in ("need", "grid")}
        self.messages, self.unanswered = zero[:, 0].clone(), zero[:, 0].clone()
        a_day = _DAY_REQUESTS * (users if rules.scope == "market" else 1)
        told = (weight.opening, zero, rules.scope, rules.history, a_day)
        self.asks, self.bids = History(*told), History(*told)

    def serve_itself(self, at: Events) -> Tensor:
        """Charge the surplus, discharge the store for own load; return what is missing [R], kWh."""
        rules, who = self.rules, (self._rows, at.user)
        owns, net = self.c.owner[who], at.load_kwh - at.sun_kwh
        surplus, missing = net.neg().clamp(min=0), net.clamp(min=0)
        most_kwh = rules.store_kw * at.hours
        self.later[who] -= owns * surplus.minimum(most_kwh) * rules.charge_efficiency
        self.later_need[who] -= missing
        self.budget[who] = owns * most_kwh
        room = (owns * rules.store_kwh - self.energy[who]) / rules.charge_efficiency
        charged = surplus.minimum(most_kwh).minimum(room.clamp(min=0))
        self.energy[who] += charged * rules.charge_efficiency
        spilt = surplus - charged
        own = missing.minimum(self._available()[who]) if rules.own_first else missing * 0
        self._discharge(who, own)
        for name, amount in (
            ("load", at.load_kwh), ("sun", at.sun_kwh), ("own_sun", at.load_kwh - missing),
            ("own_store", own), ("lost", charged * (1 - rules.charge_efficiency)),
            ("fed_in" if rules.feed_in else "wasted", spilt),
            ("earned_feed_in", spilt * (self.prices.feed_in if rules.feed_in else 0.0)),
        ):  # fmt: skip
            self.sums[name][who] += amount
        self.at, self.who = at, who
        return missing - own

    def request(self, need: Tensor, step: int) -> None:
        """Ask the contract for energy [R], step 1; the grid serves the rest, 6.2, and all bills."""
        rules, grid_price = self.rules, self.prices.grid[self.at.hour]
        asks = (need > _NOTHING) & self.c.bids[self.who] & rules.bidding
        ask, request = self._suggestions(need)
        if rules.skip_when_dear:
            asks = asks & (request < grid_price)
        taken = price = torch.zeros_like(self.energy)
        if asks.any():
            request = request.clamp(min=self.prices.feed_in).minimum(grid_price)
            offered, offer = self._offers(ask, grid_price, asks, step)
            highest = grid_price if rules.accept == "grid" else request
            rank = offer if rules.first == "cheapest" else -offer
            taken = accept(offered * (offer <= highest[:, None]), rank, need)
            price = _paid(offer, request, rules.price)
            self._remember(taken, offer, request)
            suppliers = self.c.owner.sum(-1) - self.c.owner[self.who].long()
            self.messages += asks * (suppliers + 2 * (offered > 0).sum(-1))
        self.messages += (need > _NOTHING) * 2
        self.unanswered += (need > _NOTHING) & ~asks
        self._book(need, taken, price, grid_price)

    def _suggestions(self, need: Tensor) -> tuple[Tensor, Tensor]:
        """Return the contract's selling prices [R, N] and buying price [R], step 2."""
        if self.rules.quantity == "day":
            surplus, wanted = self.day_surplus, self.day_need
        else:
            wanted = torch.zeros_like(self.energy)
            wanted[self.who] = need
            surplus = self._available()
        if self.rules.scope == "market":
            owners = self.c.owner.sum(-1, keepdim=True).clamp(min=1)
            surplus = (surplus.sum(-1, keepdim=True) / owners).expand_as(surplus)
            if self.rules.quantity == "day":
                wanted = wanted.mean(-1, keepdim=True).expand_as(wanted)
        ask = selling(surplus, self.asks.recent(), self.weight)
        bid = buying(wanted, self.bids.recent(), self.weight)
        return ask, bid[self.who]

    def _offers(
        self, ask: Tensor, grid_price: Tensor, asks: Tensor, step: int
    ) -> tuple[Tensor, Tensor]:
        """Return what suppliers offer in time, kWh [R, N], and at which price, steps 4 to 6."""
        rules, shape = self.rules, [ask.shape[1]]
        seed = randomness.fold(self.c.seed, step)
        apart = randomness.uniform(seed, _OFFER, shape, torch.float64) * 2 - 1
        offer = ask * (1 + rules.spread * apart)
        offer = offer.clamp(min=self.prices.feed_in).minimum(grid_price[:, None])
        kwh = self._available()
        if rules.reserve == "own_need":
            kept = (self.later_need - self.later * rules.discharge_efficiency).clamp(min=0)
            kwh = (kwh - kept).clamp(min=0)
        answers = asks[:, None] & self.c.owner
        if rules.timeout_s < rules.answer_s:
            waits_s = rules.answer_s * randomness.uniform(seed, _ANSWER, shape, torch.float64)
            answers = answers & (waits_s <= rules.timeout_s)
        kwh = kwh * answers
        kwh[self.who] = 0.0
        return kwh, offer

    def _book(self, need: Tensor, taken: Tensor, price: Tensor, grid_price: Tensor) -> None:
        """Deliver and bill a request, steps 8 and 9."""
        who, bought = self.who, taken.sum(-1)
        grid = (need - bought).clamp(min=0)
        self._discharge((), taken)
        self.sums["sold"] += taken
        self.sums["earned_users"] += taken * price
        for name, amount in (
            ("bought", bought), ("paid_users", (taken * price).sum(-1)),
            ("grid", grid), ("paid_grid", grid * grid_price),
        ):  # fmt: skip
            self.sums[name][who] += amount
        self.hourly["need"][self._rows, self.at.middle] += need
        self.hourly["grid"][self._rows, self.at.middle] += grid

    def _remember(self, taken: Tensor, offer: Tensor, request: Tensor) -> None:
        self.asks.add(offer, taken > 0)
        bought, price = torch.zeros_like(taken), torch.zeros_like(taken)
        bought[self.who], price[self.who] = (taken.sum(-1) > 0).double(), request
        self.bids.add(price, bought)

    def _available(self) -> Tensor:
        """Return what stores can give now, kWh [R, N], so that (9) to (11) hold until the end.

        What the sun will yet store by the day's end may be missing now from the floor of (11).
        """
        rules = self.rules
        floor = (rules.soc_floor * rules.store_kwh - self.later).clamp(
            min=rules.soc_min * rules.store_kwh
        )
        free = (self.energy - floor * self.c.owner).clamp(min=0) * rules.discharge_efficiency
        return free.minimum(self.budget)

    def _discharge(self, who: tuple[Tensor, ...], kwh: Tensor) -> None:
        """Take delivered energy from stores and from what they may give in this interval."""
        drawn = kwh / self.rules.discharge_efficiency
        self.energy[who] -= drawn
        self.budget[who] -= kwh
        self.sums["lost"][who] += drawn - kwh

    def finish(self) -> Outcome:
        """Return the day's sums."""
        soc = self.energy / self.rules.store_kwh if self.rules.store_kwh else self.energy
        return Outcome(
            **self.sums,
            stored=self.energy - self.start,
            end_soc=soc,
            need_by_hour=self.hourly["need"],
            grid_by_hour=self.hourly["grid"],
            messages=self.messages,
            unanswered=self.unanswered,
        )


_BY_USER = (
    "load", "sun", "own_sun", "own_store", "bought", "sold", "grid", "fed_in", "wasted", "lost",
    "paid_grid", "paid_users", "earned_users", "earned_feed_in",
)  # fmt: skip


def _paid(offer: Tensor, request: Tensor, rule: str) -> Tensor:
    """Return the price of each pair [R, N]; the paper prints no rule."""
    asked = request[:, None].expand_as(offer)
    return {"offer": offer, "request": asked, "middle": (offer + asked) / 2}[rule]


def accept(offered_kwh: Tensor, rank: Tensor, need_kwh: Tensor) -> Tensor:
    """Accept offers in their order until a request is met, steps 7 and 8.

    Args:
        offered_kwh: [R, N], 0 for no offer.
        rank: [R, N], the least first: the price.
        need_kwh: [R].

    Returns:
        energy taken of each, [R, N].
    """
    line = torch.where(offered_kwh > 0, rank, torch.inf).argsort(dim=-1, stable=True)
    queued = offered_kwh.gather(-1, line)
    ahead = queued.cumsum(-1) - queued
    taken = queued.minimum((need_kwh[:, None] - ahead).clamp(min=0))
    return torch.zeros_like(taken).scatter(-1, line, taken)
