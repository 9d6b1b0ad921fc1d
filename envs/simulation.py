"""Simulation of B parallel markets, one interval a step: the rules are elsewhere."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from gridbazaar.envs.action import ActionMeaning, checked
from gridbazaar.envs.billing import bill_of, deviation_prices
from gridbazaar.envs.community import Community
from gridbazaar.envs.config import RulesConfig
from gridbazaar.envs.dataset import Dataset, Slot
from gridbazaar.envs.day import Streams, Today, check_days, check_split, draw_chance, draw_today
from gridbazaar.envs.delivery import Delivered, Delivery
from gridbazaar.envs.devices.fleet import DeviceUse
from gridbazaar.envs.game import Game
from gridbazaar.envs.global_state import GlobalState
from gridbazaar.envs.incentives import Programme, Reading, Rewarded
from gridbazaar.envs.interval import Interval
from gridbazaar.envs.last_interval import LastInterval
from gridbazaar.envs.markets import Context, Market
from gridbazaar.envs.observation import Feature
from gridbazaar.envs.observer import Observer
from gridbazaar.envs.offers import offers_of
from gridbazaar.envs.operation import Operation
from gridbazaar.envs.reward import reward
from gridbazaar.envs.settlement import Bill, Traded
from gridbazaar.envs.state import State
from gridbazaar.envs.trading import Trading
from gridbazaar.ledger_sim import Ledger
from gridbazaar.ledger_sim.record.privacy import VolumePublisher, disclosure_of


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
        order_slots: places of the seats' orders in the book.
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
        self._trading = Trading(market, ledger, rules, c)
        self._operation = Operation(c, delivery, rules.firming)
        self.order_slots, self.submission_s = self._trading.slots, self._trading.submission_s
        self._observe = Observer(c)
        self._global_state = GlobalState(self.game.layout, c.seats, c.groups)
        self.disclosure = disclosure_of(ledger)
        self._publisher: VolumePublisher | None = None
        self._streams = Streams(seed, num_envs, c.pv_kwp.device)

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
        c = self.community
        if days is not None:
            self.check_days(days)
        self._streams.restart(seed, self.num_envs)
        drawn = self._streams.next_day()
        self._today = today = draw_today(c, self._data, self.rules, self.split, *drawn, days)
        chance = draw_chance(today.day_seed, self.num_seats, c.fleet.slots, c.pv_kwp.dtype)
        self.devices = c.fleet.begin(today.first_slot, chance)
        self.ledger.reset(today.day_seed)
        self._publisher = self._publish(today)
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
        self._streams.follow(state.today)
        self._background, self.devices, self._last = state.background, state.devices, state.last
        self.num_envs = len(state.today.seed)
        self._publisher = self._publish(state.today)
        if self._publisher is not None:
            self._publisher.state = state.published
        self.ledger.state, self._books = state.ledger, state.incentives
        self._observation = None
        self._band = self.fleet.band(self.devices, self._slot.load_kw)

    def step(self, action: Tensor) -> Interval:
        """Play one interval, as docs/interval.md goes through it.

        Args:
            action: [B, N, 3 + 3 K] in [-1, 1], as `game.layout.actions` names them; more
                digits than the markets' are rounded.

        Raises:
            ValueError: the action has the wrong shape or is not a number; or the day is over.
        """
        if self.t >= self.slots:
            raise ValueError(f"the day of {self.slots} slots is over: call reset() before step()")
        slot, last, tariff = self._slot, self._last, self._slot.tariff
        rules, slot_h, smoothing = self.rules, self.community.slot_h, self.smoothing

        layout, dtype = self.game.layout, self.community.pv_kwp.dtype
        shape = (self.num_envs, self.num_seats, len(layout.actions))
        decision = self.meaning.decide(checked(action, shape, layout, dtype))
        offers = offers_of(decision, slot, self._band, self.game, self.delivery)
        book = self._trading.send(
            offers.curve, decision.tip, tariff.local_charge, self._today.day_seed, self.t
        )
        trades = self._trading.clear(
            book, self._context(), self._books.due, last.net_kw * slot_h, self.t, smoothing
        )
        dispatched = self._operation.dispatch(offers, trades, slot, smoothing)
        prices = deviation_prices(rules, trades.clearing.reference_price, tariff)
        run = self._operation.deliver(offers, dispatched, slot, prices, last.voltages, smoothing)
        delivered, used = run.delivered, self._use(run.devices_kw)

        traded = Traded(
            cleared_kw=trades.cleared_kw,
            payment_eur=trades.payment_eur,
            position_kw=dispatched.position_kw,
            firmed_kw=run.firmed_kw,
            net_kw=delivered.net_kw,
        ).standing(book.receipts.reverted)
        bill = bill_of(rules, traded, trades.fee_eur, tariff, prices, slot_h)
        bill, rewarded = self._pay_incentives(bill, delivered, used, traded, book.receipts.included)
        bill = bill.awarded(trades.receipts.award)
        gain = reward(bill, used, rules.unserved_price, delivered.violation_eur, delivered.net_kw)
        self._last, published = last.after(
            book,
            trades,
            traded,
            delivered,
            slot.pv_kw - slot.load_kw,
            self.fleet.share_of_rated(run.devices_kw),
            self.order_slots,
            self._publisher,
            self.community.slot_s,
        )
        self._enter(self.t + 1)
        return Interval(
            decision=decision,
            sent_kw=book.sent_kw,
            orders=book.orders,
            receipts=book.receipts,
            market_receipts=trades.receipts,
            finality_s=trades.finality_s,
            clearing=trades.clearing,
            settled=trades.settled,
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

    def _publish(self, today: Today) -> VolumePublisher | None:
        """Return what publishes a day's volumes; None where the book is open to all."""
        if not self.disclosure.sealed:
            return None
        return VolumePublisher(self.disclosure, today.day_seed, self.slots)

    def _use(self, devices_kw: Tensor) -> DeviceUse:
        """Let the devices do what was delivered, and what leaves them leave."""
        over = self.t + 1 == self.slots
        self.devices, used = self.fleet.use(self.devices, devices_kw, self._today.end_prices, over)
        return used

    def _pay_incentives(
        self, bill: Bill, delivered: Delivered, used: DeviceUse, traded: Traded, reports: Tensor
    ) -> tuple[Bill, Rewarded | None]:
        """Let the incentive schemes read the meters and the bill; return it with what they paid."""
        if not self.incentives.schemes:
            return bill, None
        most_kw = self._band.must_kw + self._band.give_kw
        reading = Reading.of(
            self.community, self._slot, self.t, delivered, used, most_kw, traded, bill, reports
        )
        rewarded, self._books = self.incentives.settle(self._books, reading)
        return replace(bill, incentive=rewarded.payment_eur), rewarded

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
