"""One trading interval for B parallel markets: orchestration alone, the rules are elsewhere."""

from __future__ import annotations

from operator import index

import torch
from torch import Tensor

from gridbazaar.envs.action import Decision, check_action, decide
from gridbazaar.envs.assembly import Assembler
from gridbazaar.envs.community import Community
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.dataset import Records, Slot
from gridbazaar.envs.day import check_days, draw_chance, draw_days, draw_forecast_error
from gridbazaar.envs.delivery import Delivered, Delivery
from gridbazaar.envs.devices.fleet import DeviceUse, seat_power, share_cut
from gridbazaar.envs.game import Game
from gridbazaar.envs.global_state import global_state
from gridbazaar.envs.interval import Interval
from gridbazaar.envs.last_interval import LastInterval, hidden_volumes, open_volumes
from gridbazaar.envs.market_transactions import submit
from gridbazaar.envs.markets import Clearing, Context, Market, Orders
from gridbazaar.envs.observation import OwnState, UseState
from gridbazaar.envs.reward import reward
from gridbazaar.envs.settlement import settle
from gridbazaar.errors import UnknownNameError
from gridbazaar.ledger_sim import Ledger, Receipts, Transactions
from gridbazaar.ledger_sim.record.privacy import Published, VolumePublisher, disclosure_of
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
        game: what every bidder knows.
        devices: states of the devices by kind; never changed in place.
    """

    _slot: Slot
    _observation: Tensor | None = None

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
        self.fleet, self.game = c.fleet, Game.of(c, rules)
        self._assemble = Assembler(c)
        self._batteries_kw = c.fleet.batteries_kw().clamp(min=_SMALL)
        latest_s = rules.gate_closure_s - ledger.lead_s(rules.gate_closure_s)
        self.submission_s = min(rules.submission_s, max(latest_s, 0.0))
        self.disclosure = disclosure_of(ledger)
        self._seed = torch.arange(num_envs, device=c.pv_kwp.device) + index(seed)
        self._episode = 0

    def reset(self, days: Tensor | None = None, seed: Tensor | int | None = None) -> Tensor:
        """Start a day in every market.

        Args:
            days: [B] first slots of the days to play; drawn from the split where None.
            seed: restarts the random streams: an int is the first environment's, [B] each one's.

        Returns:
            observation [B, N, layout.size].

        Raises:
            ValueError: `days` or `seed` has not one entry per market, or a day is not in the data.
        """
        c, B = self.community, self.num_envs
        if days is not None:
            check_days(days, B, self.slots, len(c.load_kw) - 1)
        if seed is not None:
            if not isinstance(seed, Tensor):
                seed = torch.arange(B) + index(seed)  # numpy's integers too
            if seed.shape != (B,):
                raise ValueError(f"seed has shape {tuple(seed.shape)}, expected ({B},) or an int")
            self._seed, self._episode = seed.to(c.pv_kwp.device), 0
        self._day_seed = day_seed = fold(self._seed, self._episode)
        self._episode += 1
        drawn = draw_days(day_seed, c.days[self.split])
        self.first_slot = drawn if days is None else days.to(c.pv_kwp.device)
        self.t = 0
        self.ledger.reset(day_seed)
        self._forecast_error = draw_forecast_error(
            day_seed, self.slots, self.num_seats, self.rules.forecast_spread, c.pv_kwp.dtype
        )
        chance = draw_chance(day_seed, self.num_seats, c.fleet.slots, c.pv_kwp.dtype)
        self.devices = c.fleet.begin(self.first_slot, chance)
        self._end_prices = self._records.prices(self.first_slot + self.slots - 1)
        self._publisher = None
        if self.disclosure.sealed:
            self._publisher = VolumePublisher(self.disclosure, day_seed, self.slots)
        self._last = LastInterval.none(chance[..., 0], c.fleet.slots)
        self._background = self._records.background(self.first_slot - 1)
        return self._observe()

    def step(self, action: Tensor) -> Interval:
        """Play one interval.

        Args:
            action: [B, N, 2 + K] in [-1, 1]: limit price, power of each device, priority fee.

        Raises:
            ValueError: the action has the wrong shape or is not a number; or the day is over.
        """
        if self.t >= self.slots:
            raise ValueError(f"the day of {self.slots} slots is over: call reset() before step()")
        check_action(action, (self.num_envs, self.num_seats, 2 + self.fleet.slots))
        fleet, rules, h = self.fleet, self.rules, self.community.slot_h
        slot, context = self._slot, self._context()

        decision = decide(action, context, fleet.rated_kw, rules)
        quantity_kw, devices_kw = self._plan(decision)
        orders, receipts = self._submit(decision, quantity_kw)
        clearing = self.market.clear(orders, context)
        market_receipts, market_fee_eur = submit(self.ledger, self.market, orders, clearing)
        finality_s = receipts.finality_s + market_receipts.delay_s

        delivered, devices_kw = self._deliver(devices_kw)
        used = self._use(devices_kw)
        self.t += 1

        net_kw, fee_eur = delivered.net_kw, receipts.fee + market_fee_eur
        bill = settle(
            clearing, net_kw, fee_eur, slot.tariff, rules.penalty_price, receipts.reverted, h
        )
        gain = reward(
            bill,
            used.wear_eur,
            used.unserved_kwh,
            rules.unserved_price,
            delivered.violation_eur,
            net_kw,
            used.stored_eur,
        )
        published = self._publish(orders, clearing)
        volumes = (
            open_volumes(orders, clearing)
            if self._publisher is None
            else hidden_volumes(published, self._last.public, self.num_seats)
        )
        self._last = self._last.after(
            orders,
            receipts,
            finality_s,
            clearing,
            bill,
            delivered,
            devices_kw / fleet.rated_kw.clamp(min=_SMALL),
            volumes,
            self.community.slot_minutes * 60,
        )
        return Interval(
            decision=decision,
            sent_kw=quantity_kw,
            orders=orders,
            receipts=receipts,
            market_receipts=market_receipts,
            finality_s=finality_s,
            clearing=clearing,
            published=published,
            delivered=delivered,
            load_kw=slot.load_kw,
            energy_kwh=used.energy_kwh,
            unserved_kwh=used.unserved_kwh,
            device_kw=used.device_kw,
            content_kwh=used.content_kwh,
            bill=bill,
            reward=gain,
            locked_eur=self._last.locked,
            tariff=slot.tariff,
            observation=self._observe(),
            done=self.t == self.slots,
        )

    def _publish(self, orders: Orders, clearing: Clearing) -> Published | None:
        """Return the volumes that all may read, kW; None where the book is open or none is due."""
        if self._publisher is None:
            return None
        # Half of it is each side's, so that the sum counts a trade once.
        return self._publisher.publish(clearing.cleared_kw.abs() / 2)

    def global_state(self) -> Tensor:
        """Return what all seats see together now, [B, S]; see gridbazaar.envs.global_state.

        Raises ValueError before the first reset.
        """
        if self._observation is None:
            raise ValueError("no day has begun: call reset() before global_state()")
        return global_state(self._observation)

    def _plan(self, decision: Decision) -> tuple[Tensor, Tensor]:
        """Return what the seats order, [B, N] kW, and what their devices are to do, [B, N, K]."""
        slot = self._slot
        wanted_kw = self.fleet.feasible(self.devices, decision.requested_kw)
        planned_pv_kw, flexible_kw = self.delivery.plan(
            slot.forecast_pv_kw, slot.forecast_load_kw, seat_power(wanted_kw)
        )
        quantity_kw = planned_pv_kw - slot.forecast_load_kw + flexible_kw
        return quantity_kw, share_cut(wanted_kw, flexible_kw)

    def _deliver(self, devices_kw: Tensor) -> tuple[Delivered, Tensor]:
        """Let power flow; return what flowed, and the power of the devices [B, N, K] kW."""
        slot = self._slot
        delivered = self.delivery(
            slot.pv_kw,
            slot.load_kw,
            seat_power(devices_kw),
            slot.background_kw,
            slot.reactive_kvar,
            self._last.voltages,
        )
        return delivered, share_cut(devices_kw, delivered.flexible_kw)

    def _use(self, devices_kw: Tensor) -> DeviceUse:
        """Let the devices do what was delivered, and what leaves them leave."""
        over = self.t + 1 == self.slots
        self.devices, used = self.fleet.use(self.devices, devices_kw, self._end_prices, over)
        return used

    def _submit(self, decision: Decision, quantity_kw: Tensor) -> tuple[Orders, Receipts]:
        """Send the orders to the ledger; return the book of those that came in time."""
        sent = quantity_kw != 0
        submitted_s = torch.full_like(quantity_kw, self.submission_s)
        transactions = Transactions(sent, submitted_s, decision.tip)
        receipts = self.ledger.step(transactions, self.rules.gate_closure_s)
        arrival_s = receipts.latency_s
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
            history=self._last.history,
            place=self.delivery.place(*self._background),
        )

    def _balancing(self) -> Tensor:
        """Return the share of rated power that would have balanced the last interval, if shared."""
        export_kw = self._last.public.last_export[:, None, None] * self.num_seats
        return (self._last.last_power - export_kw / self._batteries_kw).clamp(-2, 2)

    def _observe(self) -> Tensor:
        """Enter slot t: let cars arrive, and show every seat what it may know."""
        last = self._last
        error = None if self._forecast_error is None else self._forecast_error[:, self.t]
        if self.t > 0:
            self._background = (self._slot.background_kw, self._slot.reactive_kvar)
        slot = self._slot = self._records.read(self.first_slot + self.t, error)
        if self.t > 0:
            self.devices = self.fleet.arrive(self.devices, self.first_slot + self.t)
        rated_kw = self.fleet.rated_kw.clamp(min=_SMALL)
        shortage_kw = (slot.forecast_load_kw - slot.forecast_pv_kw).unsqueeze(-1)
        use = UseState(
            balance=(shortage_kw / rated_kw).clamp(-2, 2),
            balancing=self._balancing(),
            last_power=last.last_power,
        )
        own_state = OwnState(
            voltage=last.voltage,
            included=last.included,
            delay=last.delay,
            filled=last.filled,
            locked=last.locked,
        )
        shown = self.fleet.observe(self.devices, self.game.layout.states, shortage_kw)
        self._observation = self._assemble(
            slot.public, slot.own, shown, use, own_state, last.public
        )
        return self._observation
