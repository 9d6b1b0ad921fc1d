"""One trading interval for B parallel markets: orchestration alone, the rules are elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from gridbazaar.envs.action import ACTIONS, Decision, check_action, decide
from gridbazaar.envs.community import Community
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.dataset import Records, Slot
from gridbazaar.envs.day import check_days, draw_days, draw_forecast_error, draw_storage
from gridbazaar.envs.delivery import Delivered, Delivery
from gridbazaar.envs.devices.storage import advance, feasible_power
from gridbazaar.envs.devices.vehicle import arrive, depart
from gridbazaar.envs.interval import Interval
from gridbazaar.envs.market_transactions import post
from gridbazaar.envs.markets import Context, Market, Orders
from gridbazaar.envs.memory import Memory
from gridbazaar.envs.observation import ROLES, Assembler, OwnState
from gridbazaar.envs.reward import reward
from gridbazaar.envs.settlement import settle
from gridbazaar.errors import UnknownNameError
from gridbazaar.ledger_sim import Ledger, Receipts, Transactions
from gridbazaar.ledger_sim.record.privacy import Bulletin, disclosure_of
from gridbazaar.randomness import fold, uniform

_SMALL = 1e-6
_ORDER = 1000


class Simulation:
    """B markets that live through one day each, side by side.

    Args:
        community: seats and data; its device and dtype are the simulation's.
        delivery: the feeder.
        market: the mechanism.
        ledger: carries the orders.
        rules: prices and limits of the interval.
        num_envs: B.
        split: which days `reset` draws from: train, validation or test.
        seed: environment b draws from the stream of `seed + b`.

    Attributes:
        submission_s: seconds from the book's opening until orders are sent.
        disclosure: what the ledger leaves in the open.
    """

    _slot: Slot

    def __init__(
        self,
        community: Community,
        delivery: Delivery,
        market: Market,
        ledger: Ledger,
        rules: RulesConfig,
        num_envs: int,
        split: str,
        seed: int,
    ):
        self.community, self.delivery = community, delivery
        self.market, self.ledger, self.rules = market, ledger, rules
        self.num_envs, self.num_seats = num_envs, len(community.seats)
        self.split, self.slots = split, community.slots_per_day
        c = community
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; expected at least one market")
        if split not in c.days:
            raise UnknownNameError("split", split, c.days)
        if len(c.days[split]) == 0:
            raise ValueError(
                f"the data hold no day of split {split!r}; give longer series or another split"
            )
        self._records = Records(c)
        self._assemble = Assembler(c.seat)
        self._rated_kw = torch.maximum(c.storage.charge_kw, c.storage.discharge_kw)
        self._storable_kwh = c.storage.charge_kw * c.storage.efficiency * c.slot_h
        self._is_ev = c.role == ROLES.index("ev")
        self._batteries_kw = (self._rated_kw * ~self._is_ev).sum().clamp(min=_SMALL)
        latest_s = rules.gate_closure_s - ledger.lead_s(rules.gate_closure_s)
        self.submission_s = min(rules.submission_s, max(latest_s, 0.0))
        self.disclosure = disclosure_of(ledger)
        self._seed = torch.arange(num_envs, device=c.seat.device) + seed
        self._episode = 0

    def reset(self, days: Tensor | None = None, seed: Tensor | int | None = None) -> Tensor:
        """Start a day in every market.

        Args:
            days: [B] first slots of the days to play; drawn from the split where None.
            seed: restarts the random streams: an int is the first environment's, [B] each one's.

        Returns:
            observation [B, N, SIZE].

        Raises:
            ValueError: `days` or `seed` has not one entry per market, or a day is not in the data.
        """
        c, B = self.community, self.num_envs
        if days is not None:
            check_days(days, B, self.slots, len(c.load_kw) - 1)
        if isinstance(seed, int):
            seed = torch.arange(B) + seed
        if seed is not None:
            if seed.shape != (B,):
                raise ValueError(f"seed has shape {tuple(seed.shape)}, expected ({B},) or an int")
            self._seed, self._episode = seed.to(c.seat.device), 0
        self._day_seed = day_seed = fold(self._seed, self._episode)
        self._episode += 1
        drawn = draw_days(day_seed, c.days[self.split])
        self.first_slot = drawn if days is None else days.to(c.seat.device)
        self.t = 0
        self.ledger.reset(day_seed)
        self._forecast_error = draw_forecast_error(
            day_seed, self.slots, self.num_seats, self.rules.forecast_spread, c.seat.dtype
        )
        self.energy_kwh, self.capacity_kwh = draw_storage(day_seed, c, self.first_slot)
        battery_worth, self._car_worth = self._records.worth(self.first_slot + self.slots - 1)
        self._battery_gain = battery_worth * c.storage.efficiency * ~self._is_ev
        bulletin = None
        if self.disclosure.sealed:
            bulletin = Bulletin(self.disclosure, day_seed, self.slots)
        self._memory = Memory(self.energy_kwh, self._rated_kw, c.slot_minutes * 60, bulletin)
        self._background = self._records.background(self.first_slot - 1)
        return self._observe()

    def step(self, action: Tensor) -> Interval:
        """Play one interval.

        Args:
            action: [B, N, 3] in [-1, 1]: limit price, flexible power, priority fee.

        Raises:
            ValueError: the action has the wrong shape or is not a number; or the day is over.
        """
        if self.t >= self.slots:
            raise ValueError(f"the day of {self.slots} slots is over: call reset() before step()")
        check_action(action, (self.num_envs, self.num_seats, ACTIONS))
        c, rules, h = self.community, self.rules, self.community.slot_h
        slot, context = self._slot, self._context()

        decision = decide(action, context, self._rated_kw, rules)
        quantity_kw, flexible_kw = self._plan(decision)
        orders, receipts = self._submit(decision, quantity_kw)
        clearing = self.market.clear(orders, context)
        postage, postage_eur = post(self.ledger, self.market, orders, clearing)
        finality_s = receipts.finality_s + postage.delay_s

        before_kwh = self.energy_kwh
        delivered, energy_kwh, unserved_kwh = self._deliver(flexible_kw)
        self.t += 1

        net_kw, fee_eur = delivered.net_kw, receipts.fee + postage_eur
        bill = settle(
            clearing, net_kw, fee_eur, slot.tariff, rules.penalty_price, receipts.reverted, h
        )
        gain = reward(
            bill,
            delivered.flexible_kw.clamp(min=0) * h,
            c.wear_price,
            unserved_kwh,
            rules.unserved_price,
            delivered.violation_eur,
            net_kw,
            self._stored_eur(energy_kwh - before_kwh),
        )
        self._memory.update(orders, receipts, finality_s, clearing, bill, delivered)
        return Interval(
            decision=decision,
            sent_kw=quantity_kw,
            orders=orders,
            receipts=receipts,
            postage=postage,
            finality_s=finality_s,
            clearing=clearing,
            published=self._memory.published,
            delivered=delivered,
            load_kw=slot.load_kw,
            energy_kwh=energy_kwh,
            unserved_kwh=unserved_kwh,
            bill=bill,
            reward=gain,
            locked_eur=self._memory.locked,
            tariff=slot.tariff,
            observation=self._observe(),
            done=self.t == self.slots,
        )

    def _plan(self, decision: Decision) -> tuple[Tensor, Tensor]:
        """Return what the seats order and what their devices are to do, [B, N] kW each."""
        slot, storage = self._slot, self.community.storage
        flexible_kw = feasible_power(
            decision.requested_kw,
            self.energy_kwh,
            self.capacity_kwh,
            storage,
            self.community.slot_h,
        )
        planned_pv_kw, flexible_kw = self.delivery.plan(
            slot.forecast_pv_kw, slot.forecast_load_kw, flexible_kw
        )
        return planned_pv_kw - slot.forecast_load_kw + flexible_kw, flexible_kw

    def _deliver(self, flexible_kw: Tensor) -> tuple[Delivered, Tensor, Tensor]:
        """Let power flow, stores fill and cars leave.

        Returns:
            what flowed, what was stored before cars left, and what they missed, [B, N] kWh each.
        """
        slot, c = self._slot, self.community
        delivered = self.delivery(
            slot.pv_kw,
            slot.load_kw,
            flexible_kw,
            slot.background_kw,
            slot.reactive_kvar,
            self._memory.state,
        )
        energy_kwh = advance(delivered.flexible_kw, self.energy_kwh, c.storage, c.slot_h)
        self.energy_kwh, self.capacity_kwh, unserved_kwh = depart(
            energy_kwh, self.capacity_kwh, slot.departs
        )
        return delivered, energy_kwh, unserved_kwh

    def _submit(self, decision: Decision, quantity_kw: Tensor) -> tuple[Orders, Receipts]:
        """Send the orders to the ledger; return the book of those that came in time."""
        sent = quantity_kw != 0
        submitted_s = torch.full_like(quantity_kw, self.submission_s)
        transactions = Transactions(sent, submitted_s, decision.tip)
        receipts = self.ledger.step(transactions, self.rules.gate_closure_s)
        arrival_s = self.submission_s + receipts.latency_s
        if self.market.time_priority:
            # Nobody comes first by its number: orders of the same half second are shuffled.
            order = uniform(self._day_seed, _ORDER + self.t, (self.num_seats,), arrival_s.dtype)
            arrival_s = arrival_s + order / 2
        return Orders(quantity_kw * receipts.included, decision.limit_price, arrival_s), receipts

    def _context(self) -> Context:
        """Say what the market may know; of the background, what was metered last."""
        tariff = self._slot.tariff
        return Context(
            buyer_ceiling=tariff.retail - tariff.local_charge,
            seller_floor=tariff.feed_in,
            slot_h=self.community.slot_h,
            history=self._memory.history,
            grid=self.delivery.grid_context(*self._background),
        )

    def _stored_eur(self, gained_kwh: Tensor) -> Tensor:
        """Value what batteries gained in this interval, and at the day's end what cars still want.

        The worth of a kWh is the day's, so that the sum over the day is the worth of the energy
        left against that of the energy given.
        """
        value = gained_kwh * self._battery_gain
        if self.t < self.slots:
            return value
        missing_kwh = (self.capacity_kwh - self.energy_kwh) * self._is_ev
        return value - missing_kwh * self._car_worth

    def _balancing(self) -> Tensor:
        """Return the share of rated power that would have balanced the last interval, if shared."""
        export_kw = self._memory.public.last_export.unsqueeze(-1) * self.num_seats
        return (self._memory.last_power - export_kw / self._batteries_kw).clamp(-2, 2)

    def _observe(self) -> Tensor:
        """Enter slot t: let cars arrive, and show every seat what it may know."""
        c, memory = self.community, self._memory
        error = None if self._forecast_error is None else self._forecast_error[:, self.t]
        if self.t > 0:
            self._background = (self._slot.background_kw, self._slot.reactive_kvar)
        slot = self._slot = self._records.read(self.first_slot + self.t, error)
        if self.t > 0:
            self.energy_kwh, self.capacity_kwh = arrive(
                self.energy_kwh, self.capacity_kwh, slot.need_kwh, c.lent_kwh
            )
        room_kwh = c.storage.ceiling * self.capacity_kwh - self.energy_kwh
        reachable = (slot.slots_left * self._storable_kwh).clamp(min=_SMALL)
        shortage_kw = slot.forecast_load_kw - slot.forecast_pv_kw
        own_state = OwnState(
            soc=self.energy_kwh / self.capacity_kwh.clamp(min=_SMALL),
            energy_kwh=self.energy_kwh - c.storage.floor * self.capacity_kwh,
            room_kwh=room_kwh,
            urgency=(room_kwh / reachable).clamp(max=2) * self._is_ev,
            balance=(shortage_kw / self._rated_kw.clamp(min=_SMALL)).clamp(-2, 2),
            balancing=self._balancing(),
            last_power=memory.last_power,
            voltage=memory.voltage,
            included=memory.included,
            delay=memory.delay,
            filled=memory.filled,
            locked=memory.locked,
        )
        return self._assemble(slot.public, slot.own, own_state, memory.public)
