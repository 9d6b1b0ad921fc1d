"""Simulation of B parallel markets, one interval a step: the rules are elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gridbazaar.envs.action import ActionMeaning, Decision, check_action
from gridbazaar.envs.community import Community
from gridbazaar.envs.compensation import compensate
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.dataset import Dataset, Slot
from gridbazaar.envs.day import Today, check_days, check_split, draw_chance, draw_today, seeds_of
from gridbazaar.envs.delivery import Delivered, Delivery
from gridbazaar.envs.devices.fleet import DeviceUse, seat_power, share_cut
from gridbazaar.envs.devices.protocol import Band
from gridbazaar.envs.devices.pv import generated, held
from gridbazaar.envs.dispatch import dispatch
from gridbazaar.envs.firming import Firming
from gridbazaar.envs.game import Game
from gridbazaar.envs.global_state import GlobalState
from gridbazaar.envs.incentives import Programme, Reading, Rewarded
from gridbazaar.envs.interval import Interval
from gridbazaar.envs.last_interval import LastInterval
from gridbazaar.envs.market_transactions import submit
from gridbazaar.envs.markets import Clearing, Context, Market, Orders
from gridbazaar.envs.observation import Feature
from gridbazaar.envs.observer import Observer
from gridbazaar.envs.pool import PoolPrices, pool_prices
from gridbazaar.envs.proposed import Settled, settle_one
from gridbazaar.envs.reward import reward
from gridbazaar.envs.settlement import Bill, Traded, imbalance_prices, settle
from gridbazaar.envs.smoothing import smoothed_auction
from gridbazaar.envs.state import State
from gridbazaar.envs.submission import least_order_kw, orders_of, send_orders, shuffled
from gridbazaar.envs.supply_curve import Offer, OrderSlots, SupplyCurve, supply_curve
from gridbazaar.ledger_sim import Ledger, Receipts
from gridbazaar.ledger_sim.proposals import proposals_of
from gridbazaar.ledger_sim.record.privacy import VolumePublisher, disclosure_of
from gridbazaar.randomness import fresh_seed


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
        seed: environment b draws from the stream of `seed + b`; None: drawn at the first reset from
            the machine's entropy, and again in every copy.
        incentives: schemes that pay for meter readings; None: none.

    Attributes:
        submission_s: seconds from the book's opening until orders are sent.
        disclosure: what the ledger leaves in the open.
        game: what every bidder knows.
        devices: states of the devices by kind; never changed in place.
    """

    _today: Today
    _slot: Slot
    _observation: Tensor | None = None
    smoothing: float = 0.0
    t: int

    def __init__(
        self,
        community: Community,
        delivery: Delivery,
        market: Market,
        ledger: Ledger,
        rules: RulesConfig,
        num_envs: int,
        split: str,
        seed: int | None,
        incentives: Programme | None = None,
    ):
        self.community, self.delivery = community, delivery
        self.incentives = incentives or Programme({})
        self.market, self.ledger, self.rules = market, ledger, rules
        self.num_envs, self.num_seats = num_envs, len(community.seats)
        self.split, self.slots = split, community.slots_per_day
        c = community
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; expected at least one market")
        check_split(split, c.days)
        self._data = Dataset(c)
        self.fleet, self.game = c.fleet, Game.of(c, rules)
        self.order_slots = OrderSlots(c.fleet, c.pv_kwp > 0)
        self._must_run = torch.arange(len(self.order_slots.owners.seat)) < self.num_seats
        self._least_kw = self.order_slots.owners.of_seat(least_order_kw(c))
        self._firming = Firming(rules.firming, c)
        self._observe = Observer(c)
        self._global_state = GlobalState(self.game.layout, c.seats, c.groups)
        latest_s = rules.gate_closure_s - ledger.lead_s(rules.gate_closure_s)
        self.submission_s = min(rules.submission_s, max(latest_s, 0.0))
        self.disclosure = disclosure_of(ledger)
        self._publisher: VolumePublisher | None = None
        self._episode = torch.zeros(num_envs, dtype=torch.int64, device=c.pv_kwp.device)
        self._seed: Tensor | None = None
        self._is_drawn = seed is None
        if seed is not None:
            self._seed = seeds_of(seed, num_envs).to(c.pv_kwp.device)

    def __getstate__(self) -> dict[str, Any]:
        # A copy plays on as this one, but begins days of its own where nobody gave a seed.
        return {**self.__dict__, "_seed": None if self._is_drawn else self._seed}

    def reset(self, days: Tensor | None = None, seed: Tensor | int | None = None) -> Tensor:
        """Start a day in every market.

        Args:
            days: [B] first slots of the days to play; drawn from the split where None.
            seed: restarts the random streams: an int is the first environment's, [B] each one's.
                None goes on with them; where none was ever given, the first is drawn from entropy.

        Returns:
            observation [B, N, layout.size].

        Raises:
            ValueError: `days` or `seed` has not one entry per market, or a day is not in the data.
        """
        c, B = self.community, self.num_envs
        if days is not None:
            self.check_days(days)
        if seed is not None or self._seed is None:
            self._is_drawn = seed is None
            self._seed = seeds_of(fresh_seed() if seed is None else seed, B).to(c.pv_kwp.device)
            self._episode = torch.zeros_like(self._seed)
        today = draw_today(c, self._data, self.rules, self.split, self._seed, self._episode, days)
        self._today = today
        self._episode = self._episode + 1
        chance = draw_chance(today.day_seed, self.num_seats, c.fleet.slots, c.pv_kwp.dtype)
        self.devices = c.fleet.begin(today.first_slot, chance)
        self.ledger.reset(today.day_seed)
        if self.disclosure.sealed:
            self._publisher = VolumePublisher(self.disclosure, today.day_seed, self.slots)
        self._last = LastInterval.none(chance[..., 0], c.fleet.slots)
        self._books = self.incentives.begin(chance[..., 0])
        self._background = self._data.background(today.first_slot - 1)
        self._enter(0)
        return self.observe()

    def check_days(self, days: Tensor) -> None:
        """Raise ArgumentError unless `days` are the first slots [B] of days in the data."""
        check_days(days, self.num_envs, self.slots, len(self.community.load_kw) - 1)

    @property
    def first_slot(self) -> Tensor:
        """First slots [B] of the days that are played, in the data."""
        return self._today.first_slot

    @property
    def state(self) -> State:
        """Everything that changes during a day; set it to go on from there, with its B markets.

        States are values: keep one and set it again to play another action from it. Parts of a
        batch are picked and replaced by `gridbazaar.rows`. Raises ValueError before the first
        reset.
        """
        self._check_begun()
        return State(
            today=self._today,
            t=self.t,
            slot=self._slot,
            background=self._background,
            devices=self.devices,
            last=self._last,
            published=None if self._publisher is None else self._publisher.state,
            ledger=self.ledger.state,
            incentives=self._books,
        )

    @state.setter
    def state(self, state: State) -> None:
        self._today, self.t, self._slot = state.today, state.t, state.slot
        self._seed, self._episode = state.today.seed, state.today.episode + 1
        self._background, self.devices, self._last = state.background, state.devices, state.last
        self.num_envs = len(self._seed)
        if self.disclosure.sealed:
            self._publisher = VolumePublisher(self.disclosure, state.today.day_seed, self.slots)
            self._publisher.state = state.published
        self.ledger.state, self._books = state.ledger, state.incentives
        self._observation = None
        self._band = self.fleet.band(self.devices, self._slot.load_kw)

    def step(self, action: Tensor) -> Interval:
        """Play one interval.

        Args:
            action: [B, N, 3 + 3 K] in [-1, 1], as `game.layout.actions` names them; more
                digits than the markets' are rounded.

        Raises:
            ValueError: the action has the wrong shape or is not a number; or the day is over.
        """
        if self.t >= self.slots:
            raise ValueError(f"the day of {self.slots} slots is over: call reset() before step()")
        layout = self.game.layout
        check_action(action, (self.num_envs, self.num_seats, len(layout.actions)), layout)
        dtype = self.community.pv_kwp.dtype
        if torch.promote_types(action.dtype, dtype) != dtype:  # float64, as NumPy makes it
            action = action.to(dtype)
        slot, rules, context, tariff = self._slot, self.rules, self._context(), self._slot.tariff

        decision = self.meaning.decide(action)
        forecast_kw, band, curve = self._offer(decision)
        quantity_kw, orders, receipts = self._submit(decision, curve)
        clearing, settled = self._settled(orders, context)
        metered_kwh = self._last.net_kw * context.slot_h
        market_receipts, market_fee_eur = submit(
            self.ledger, self.market, orders, clearing, self._books.due, settled, metered_kwh
        )
        finality_s = receipts.finality_s + market_receipts.delay_s

        cleared = self.order_slots.pieces(clearing.cleared_kw)
        devices_kw = dispatch(
            curve, cleared, band.must_kw, tariff.retail, tariff.feed_in, self.smoothing
        )
        cleared_kw = orders.by_seat(clearing.cleared_kw)
        position_kw = forecast_kw + seat_power(devices_kw)
        pv_kw, deviation_kw = slot.pv_kw, slot.pv_kw - slot.load_kw - forecast_kw
        if self.game.least_feed_in is not None:
            down = tariff.feed_in < self.game.least_feed_in
            position_kw = held(position_kw, cleared_kw, down)
            others_kw = seat_power(devices_kw) - slot.load_kw
            pv_kw = generated(slot.pv_kw, others_kw, position_kw, down)
            deviation_kw = pv_kw + others_kw - position_kw
        prices = self._deviation_prices(clearing.reference_price)
        devices_kw, firmed_kw = self._firming(
            curve,
            devices_kw,
            band.must_kw,
            deviation_kw,
            prices,
            tariff.local_charge,
            self.smoothing,
        )
        delivered, devices_kw = self._deliver(pv_kw, devices_kw)
        used = self._use(devices_kw)

        traded = Traded(
            cleared_kw=cleared_kw,
            payment_eur=orders.by_seat(clearing.payment_eur),
            position_kw=position_kw,
            firmed_kw=firmed_kw,
            net_kw=delivered.net_kw,
        ).standing(receipts.reverted)
        bill = settle(
            traded,
            receipts.fee + market_fee_eur,
            tariff,
            prices if rules.imbalance == "pool" else None,
            rules.penalty_price,
            context.slot_h,
        )
        if rules.compensation == "metered":
            bill = compensate(bill, traded.net_kw, tariff, context.slot_h)
        bill, rewarded = self._pay_incentives(bill, delivered, used, traded, receipts)
        gain = reward(bill, used, rules.unserved_price, delivered.violation_eur, delivered.net_kw)
        power, slot_s = self.fleet.share_of_rated(devices_kw), self.community.slot_s
        self._last, published = self._last.after(
            orders,
            receipts,
            finality_s,
            clearing,
            traded,
            delivered,
            slot.pv_kw - slot.load_kw,
            power,
            self.order_slots,
            self._publisher,
            slot_s,
        )
        self._enter(self.t + 1)
        return Interval(
            decision=decision,
            sent_kw=quantity_kw,
            orders=orders,
            receipts=receipts,
            market_receipts=market_receipts,
            finality_s=finality_s,
            clearing=clearing,
            settled=settled,
            traded=traded,
            published=published,
            delivered=delivered,
            load_kw=slot.load_kw,
            curtailed_kw=slot.pv_kw - delivered.pv_kw,
            energy_kwh=used.energy_kwh,
            unserved_kwh=used.unserved_kwh,
            device_kw=used.device_kw,
            content_kwh=used.content_kwh,
            bill=bill,
            rewarded=rewarded,
            reward=gain,
            locked_eur=self._last.locked,
            tariff=tariff,
            observation=self.observe(),
            done=self.t == self.slots,
        )

    @property
    def state_features(self) -> tuple[Feature, ...]:
        """Name, unit, scale and meaning of each of the S entries of the global state."""
        return self._global_state.features

    def global_state(self, observation: Tensor | None = None) -> Tensor:
        """Return what all seats see together now, [B, S]; see gridbazaar.envs.global_state.

        Args:
            observation: [B, N, layout.size] to take it from instead.

        Raises ValueError before the first reset, without an observation.
        """
        return self._global_state(self.observe() if observation is None else observation)

    def _check_begun(self) -> None:
        if not hasattr(self, "_today"):
            raise ValueError("no day has begun: call reset() first")

    @property
    def meaning(self) -> ActionMeaning:
        """Return what the ends of an action's range mean today."""
        return self.game.meaning(self._today.low_price, self._today.high_price)

    def _offer(self, decision: Decision) -> tuple[Tensor, Band, SupplyCurve]:
        """Return the must-run net without devices [B, N] kW, their band, and the supply curves."""
        slot, game = self._slot, self.game
        if self.rules.quantity == "metered":
            forecast_kw = slot.pv_kw - slot.load_kw
        else:
            forecast_kw = slot.forecast_pv_kw - slot.forecast_load_kw + decision.correction_kw
        forecast_kw, band = self.delivery.limited(forecast_kw, self._band)
        share = decision.share
        if self.rules.dispatch == "own":
            runs_kw = band.give_kw * share.clamp(min=0) + band.take_kw * share.clamp(max=0)
            nothing = torch.zeros_like(runs_kw)
            band = Band(band.must_kw + runs_kw, nothing, nothing)
        offer = Offer(
            take_kw=band.take_kw * share,
            give_kw=band.give_kw * share,
            bid=decision.value * game.efficiency,
            ask=decision.value / game.efficiency + game.wear_price,
            margin=decision.margin,
        )
        must_run_kw = forecast_kw + seat_power(band.must_kw)
        return forecast_kw, band, supply_curve(must_run_kw, decision.must_run_price, offer)

    def _settled(self, orders: Orders, context: Context) -> tuple[Clearing, Settled | None]:
        """Clear the book; where solvers propose clearings, return the one that is settled."""
        own = self._clear(orders, context)
        proposals = proposals_of(self.ledger)
        if proposals is None or self.smoothing:
            return own, None
        return settle_one(proposals, self.market, orders, context, own, self.t)

    def _clear(self, orders: Orders, context: Context) -> Clearing:
        """Let the market clear the book, or what stands for it where gradients are wanted."""
        if self.smoothing == 0:
            return self.market.clear(orders, context)
        return smoothed_auction(orders, context, self._must_run, self.smoothing)

    def _deviation_prices(self, reference_price: Tensor) -> PoolPrices:
        """Return what deviations earn and cost, [B, 1] EUR/kWh."""
        tariff = self._slot.tariff
        if self.rules.imbalance == "pool":
            return pool_prices(reference_price, tariff)
        return PoolPrices(*imbalance_prices(tariff))

    def _deliver(self, pv_kw: Tensor, devices_kw: Tensor) -> tuple[Delivered, Tensor]:
        """Let power flow; return what flowed, and the power of the devices [B, N, K] kW."""
        slot = self._slot
        delivered = self.delivery(
            pv_kw,
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
        self.devices, used = self.fleet.use(self.devices, devices_kw, self._today.end_prices, over)
        return used

    def _pay_incentives(
        self, bill: Bill, delivered: Delivered, used: DeviceUse, traded: Traded, receipts: Receipts
    ) -> tuple[Bill, Rewarded | None]:
        """Let the incentive schemes read the meters and the bill; return it with what they paid."""
        if not self.incentives.schemes:
            return bill, None
        slot, c = self._slot, self.community
        reading = Reading.of(
            delivered,
            slot.load_kw,
            used,
            self._band.must_kw + self._band.give_kw,
            c.fleet,
            traded,
            bill,
            receipts.included,
            slot.tariff,
            c.pv_kwp,
            self.t,
            self.slots,
            c.slot_h,
        )
        rewarded, self._books = self.incentives.settle(self._books, reading)
        return replace(bill, incentive=rewarded.payment_eur), rewarded

    def _submit(self, decision: Decision, curve: SupplyCurve) -> tuple[Tensor, Orders, Receipts]:
        """Send the orders to the ledger; return what was sent, and the book of what came in time.

        What is sent is [B, M] kW.
        """
        slots = self.order_slots
        quantity_kw, limit_price = slots.orders(curve, self._slot.tariff.local_charge)
        quantity_kw = orders_of(quantity_kw, self._least_kw)
        orders, receipts = send_orders(
            self.ledger,
            quantity_kw,
            limit_price,
            slots.owners,
            decision.tip,
            self.submission_s,
            self.rules.gate_closure_s,
            self.community.slot_h,
        )
        if self.market.time_priority:
            orders = shuffled(orders, self._today.day_seed, self.t)
        return quantity_kw, orders, receipts

    def _context(self) -> Context:
        """Say what the market may know; of the background, what was metered last."""
        tariff = self._slot.tariff
        return Context(
            buyer_ceiling=tariff.retail - tariff.local_charge,
            seller_floor=tariff.feed_in,
            slot_h=self.community.slot_h,
            history=self._last.history,
            grid=self.delivery.grid_context(*self._background),
        )

    def _enter(self, t: int) -> None:
        """Begin slot t: read what the data say of it, and let cars arrive."""
        today, row = self._today, self.first_slot + t
        error = None if today.forecast_error is None else today.forecast_error[:, t]
        if t > 0:
            self._background = (self._slot.background_kw, self._slot.reactive_kvar)
            self.devices = self.fleet.arrive(self.devices, row)
        self.t, self._slot, self._observation = t, self._data.read(row, error), None
        self._band = self.fleet.band(self.devices, self._slot.load_kw)

    def observe(self) -> Tensor:
        """Return what every seat may know before it bids for the slot, [B, N, layout.size].

        Raises ValueError before the first reset.
        """
        self._check_begun()
        if self._observation is None:
            self._observation = self._observe(self._slot, self.devices, self._band, self._last)
        return self._observation
