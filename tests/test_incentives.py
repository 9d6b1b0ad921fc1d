"""Incentive schemes: every registered one keeps its books, and pays for what meters show alone."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import ClassVar

import pytest
import torch
from conftest import play
from test_gradients import NOON, begun, compare, direction_of, drawn, gains

from gridbazaar import configs, envs
from gridbazaar.agents.config import TrainConfig
from gridbazaar.config import validate
from gridbazaar.envs import kpis
from gridbazaar.envs.day_record import DayRecord, Facts
from gridbazaar.envs.incentives import INCENTIVES, Incentive, Movement, Outcome, Programme, Reading
from gridbazaar.envs.incentives.programme import make_programme
from gridbazaar.envs.prices import Tariff
from gridbazaar.errors import ConfigError, GridBazaarError
from gridbazaar.evaluation import mechanisms
from gridbazaar.evaluation.comparison import Yardstick
from gridbazaar.evaluation.config import configure as configure_evaluation
from gridbazaar.evaluation.given_days import unknown
from gridbazaar.evaluation.results import evaluate
from gridbazaar.evaluation.stage import without_positions

F64 = torch.float64
B, N, SLOTS, H = 3, 6, 8, 0.5
NAMES = INCENTIVES.names()
ALL = f"incentives=[{','.join(NAMES)}]"
every_scheme = pytest.mark.parametrize("name", NAMES)


def scheme(name, **changes):
    """A scheme with its file's parameters, some changed."""
    return make_programme([{**configs.option("incentive", name), **changes}]).schemes[name]


def reading_of(pv, used, car, slot, g, slots=SLOTS):
    """A reading whose meters follow from PV, use and cars, [B, N] kWh, the rest drawn."""
    net = pv - used + car
    exported, imported = net.clamp(min=0), (-net).clamp(min=0)
    share = torch.rand(2, *net.shape, generator=g, dtype=F64)
    traded = torch.minimum(exported.sum(-1), imported.sum(-1)).unsqueeze(-1) * 0.5
    part = exported / exported.sum(-1, keepdim=True).clamp(min=1e-9)
    part = part - imported / imported.sum(-1, keepdim=True).clamp(min=1e-9)
    price = torch.tensor(0.2, dtype=F64).expand(len(net), 1)
    return Reading(
        pv_kwh=pv,
        used_kwh=used,
        exported_kwh=exported,
        imported_kwh=imported,
        from_neighbours_kwh=imported * share[0],
        to_supplier_kwh=exported * share[1],
        car_kwh=car,
        car_reserve_kwh=2 * car.abs(),
        battery_kwh=torch.zeros_like(net),
        battery_reserve_kwh=torch.zeros_like(net),
        deviation_kwh=torch.randn(net.shape, generator=g, dtype=F64),
        trade_eur=part * traded * 0.2,
        bill_eur=net * 0.2,
        kept=torch.rand(net.shape, generator=g, dtype=F64),
        reports=(torch.rand(net.shape, generator=g) > 0.3).to(net),
        tariff=Tariff(price + 0.1, price - 0.12, price - 0.15),
        pv_kwp=torch.tensor([0.0, 3.0, 8.0, 0.0, 5.0, 0.0], dtype=F64),
        slot=slot,
        slots=slots,
        slot_h=H,
    )


def a_day(seed=1, sun=True):
    """The readings of a day; without sun, nobody exports, and no car is there."""
    g = torch.Generator().manual_seed(seed)
    day = []
    for slot in range(SLOTS):
        pv, used, car = torch.rand(3, B, N, generator=g, dtype=F64)
        pv = 3 * pv * torch.tensor([0.0, 1, 1, 0, 1, 0]) * (slot > 0)
        car = (2 * car - 1) * torch.tensor([0, 0, 0, 0, 0, 1.0])
        day.append(reading_of(pv * sun, used, car * sun, slot, g))
    return day


def booked(programme, day):
    """What a programme does on each reading of a day, and its books after it."""
    books, done = programme.begin(day[0].pv_kwh), []
    for each in day:
        rewarded, books = programme.settle(books, each)
        done.append(rewarded)
    return done, books


def check_books(programme, day):
    """Whatever is issued is held, redeemed or expired; seats pass goods on without loss."""
    done, _ = booked(programme, day)
    held = dict.fromkeys(done[0].held, torch.zeros(B, N, dtype=F64))
    total = dict.fromkeys(held, torch.zeros(B, N, dtype=F64))
    for each in done:
        assert torch.equal(each.payment_eur, sum(each.by_scheme.values()))
        for good, m in each.movements.items():
            for amount in (m.issued, m.redeemed, m.expired):
                assert amount.min() >= 0, good
                assert amount.shape == (B, N), good
            torch.testing.assert_close(m.received.sum(-1), torch.zeros(B, dtype=F64))
            expected = held[good] + m.issued + m.received - m.redeemed - m.expired
            torch.testing.assert_close(each.held[good], expected)
            assert each.held[good].min() >= -1e-12, good
            held[good] = each.held[good]
            total[good] = total[good] + m.issued - m.redeemed - m.expired
    for good, amount in total.items():
        torch.testing.assert_close(held[good].sum(-1), amount.sum(-1))
    return done


def check_backed(programme, day):
    """No good is issued without the reading that backs it, and nothing paid without any."""
    for name, each in programme.schemes.items():
        nothing = {field: torch.zeros(B, N, dtype=F64) for field in each.backed_by.values()}
        for good in each.goods:
            field = each.backed_by[good]
            for done in booked(programme, [replace(r, **{field: nothing[field]}) for r in day])[0]:
                assert (done.movements[f"{name}.{good}"].issued == 0).all(), (good, field)
        for done in booked(programme, [replace(r, **nothing) for r in day])[0]:
            assert (done.payment_eur == 0).all(), name


@every_scheme
def test_what_is_issued_is_held_or_redeemed_or_expired(name):
    done = check_books(Programme({name: scheme(name)}), a_day())
    assert any(each.payment_eur.abs().max() > 0 for each in done)
    for good in INCENTIVES[name].goods:
        assert any((each.movements[f"{name}.{good}"].issued > 0).any() for each in done)


@every_scheme
def test_nothing_is_issued_or_paid_without_a_meter_reading(name):
    check_backed(Programme({name: scheme(name)}), a_day())


@every_scheme
def test_a_community_without_sun_and_cars_gets_nothing(name):
    for done in booked(Programme({name: scheme(name)}), a_day(sun=False))[0]:
        assert done.payment_eur.max() <= 0
        for good, movement in done.movements.items():
            if INCENTIVES[name].backed_by[good.partition(".")[2]] != "reports":
                assert (movement.issued == 0).all(), good


@every_scheme
def test_every_market_is_settled_as_if_it_were_alone(name):
    day, programme = a_day(), Programme({name: scheme(name)})
    together, books = booked(programme, day)
    for b in range(B):
        tensors = [f.name for f in fields(Reading) if f.type == "Tensor" and f.name != "pv_kwp"]
        alone = [
            replace(
                each,
                tariff=Tariff(*(getattr(each.tariff, f.name)[[b]] for f in fields(Tariff))),
                **{f: getattr(each, f)[[b]] for f in tensors},
            )
            for each in day
        ]
        done, own = booked(programme, alone)
        for one, of_all in zip(done, together, strict=True):
            torch.testing.assert_close(
                one.payment_eur[0], of_all.payment_eur[b], rtol=1e-12, atol=0
            )
        torch.testing.assert_close(own.due[0], books.due[b])


class Minting(Incentive):
    """A scheme that is none: it issues where no meter shows anything, and loses what it moves."""

    goods: ClassVar = {"coin": "coin"}
    backed_by: ClassVar = {"coin": "pv_kwh"}

    def settle(self, held, memory, reading):
        one, nothing = torch.ones_like(reading.pv_kwh), torch.zeros_like(reading.pv_kwh)
        received = nothing if self.config == "mint" else one
        return Outcome(nothing, {"coin": Movement(one, received, nothing, nothing)}, {})


def test_the_laws_catch_a_scheme_that_mints_or_loses_coins(monkeypatch):
    with pytest.raises(AssertionError, match="pv_kwh"):
        check_backed(Programme({"minting": Minting("mint")}), a_day())
    check_books(Programme({"minting": Minting("mint")}), a_day())
    with pytest.raises(AssertionError):
        check_books(Programme({"minting": Minting("lose")}), a_day())


# One number after the other, by hand: two seats, the first with sun.


def two(first, second):
    return torch.tensor([[float(first), float(second)]], dtype=F64)


def shown(slot=0, slots=2, **given):
    """A reading of two seats in which nothing happened but what is given."""
    names = [f.name for f in fields(Reading) if f.type == "Tensor"]
    price = torch.full((1, 1), 0.3, dtype=F64)
    return Reading(
        **{**dict.fromkeys(names, two(0, 0)), "kept": two(1, 1), "pv_kwp": two(4, 0)[0], **given},
        tariff=Tariff(price, price - 0.22, price - 0.25),
        slot=slot,
        slots=slots,
        slot_h=H,
    )


SUN = {
    "pv_kwh": two(5, 0),
    "used_kwh": two(1, 3),
    "exported_kwh": two(4, 0),
    "imported_kwh": two(0, 3),
    "to_supplier_kwh": two(4, 0),
}


def test_solarcoins_are_issued_for_what_is_fed_in_or_for_all():
    done, _ = booked(
        Programme({"solarcoin": scheme("solarcoin", redeem_price=0.5)}), [shown(**SUN)]
    )
    assert done[0].payment_eur.tolist() == [[2.0, 0.0]]
    every = scheme("solarcoin", metered="generated", kwh_per_coin=1000)
    done, _ = booked(Programme({"solarcoin": every}), [shown(**SUN)])
    assert done[0].movements["solarcoin.coin"].issued.tolist() == [[0.005, 0.0]]


def test_nrgcoins_pay_for_green_energy_and_the_rest_is_bought_back():
    coin = scheme("nrgcoin", exchange_rate=0.9, buy_back_price=0.1)
    done, _ = booked(Programme({"nrgcoin": coin}), [shown(**SUN), shown(slot=1)])
    # 4 coins; 3 of them change hands at 0.27 EUR and pay for 3 kWh at 0.30 EUR.
    torch.testing.assert_close(done[0].payment_eur, two(3 * 0.27, 3 * 0.03))
    assert done[0].movements["nrgcoin.coin"].received.tolist() == [[-3.0, 3.0]]
    assert done[0].held["nrgcoin.coin"].tolist() == [[1.0, 0.0]]
    torch.testing.assert_close(done[1].payment_eur, two(0.1, 0))


def test_coins_with_demurrage_are_spent_or_lose_worth():
    money = scheme("demurrage", redeem_price=0.1, demurrage_per_h=0.19)
    drawn_later = shown(slot=1, slots=3, imported_kwh=two(2, 9))
    done, _ = booked(Programme({"demurrage": money}), [shown(slots=3, **SUN), drawn_later])
    # Half an hour takes a tenth of 4 coins; 2 are spent on 2 kWh.
    torch.testing.assert_close(done[1].movements["demurrage.coin"].expired, two(0.4, 0))
    torch.testing.assert_close(done[1].payment_eur, two(0.2, 0))
    torch.testing.assert_close(done[1].held["demurrage.coin"], two(1.6, 0))


def test_renewable_use_beyond_the_grids_share_is_rewarded():
    reward = scheme("renewable_share_reward", grid_share=0.25, redeem_price=1.0)
    mixed = {**SUN, "exported_kwh": two(8, 0), "from_neighbours_kwh": two(0, 2)}
    done, _ = booked(Programme({"renewable_share_reward": reward}), [shown(**mixed)])
    # The first seat's meter shows 8 kWh of which 5 are sun: it uses none itself. The second got
    # 2 kWh that are 5/8 sun and 1 kWh of the mix, of 3 kWh.
    torch.testing.assert_close(done[0].payment_eur, two(0, 2 * 5 / 8 + 0.25 - 0.75))


def test_certificates_are_auctioned_to_the_supplier_and_to_seats():
    terms = {"kwh_per_certificate": 1, "reserve_price": 1, "buy_out_price": 9, "k": 0.5}
    short = scheme("green_certificates", **terms, quota=1.0, voluntary_share=1, voluntary_price=5)
    done, _ = booked(Programme({"green_certificates": short}), [shown(slots=1, **SUN)])
    # 5 offered; the supplier wants 3 at 9, the second seat 3 at 5 and gets 2; price (5 + 1) / 2.
    moved = done[0].movements["green_certificates.certificate"]
    torch.testing.assert_close(moved.received, two(-2, 2))
    torch.testing.assert_close(moved.redeemed, two(3, 2))
    torch.testing.assert_close(done[0].payment_eur, two(15, -6))
    glut = scheme("green_certificates", **terms, quota=0.5, voluntary_share=0, voluntary_price=5)
    done, _ = booked(Programme({"green_certificates": glut}), [shown(slots=1, **SUN)])
    torch.testing.assert_close(done[0].payment_eur, two(1.5 * 5, 0))
    torch.testing.assert_close(done[0].held["green_certificates.certificate"], two(3.5, 0))


def test_carbon_credits_offset_own_emissions_first():
    terms = {"grid_kg_per_kwh": 0.5, "price_per_kg": 2.0, "small_kwp": 4.0, "small_bonus": 0.1}
    later = shown(slot=1, imported_kwh=two(1, 3))
    free = booked(Programme({"c": scheme("carbon_credits", **terms)}), [shown(**SUN), later])[0]
    # 2.5 kg issued, 0.5 kg of own emissions offset, 2 kg sold at 2.2 EUR.
    torch.testing.assert_close(free[1].payment_eur, two(4.4, 0))
    due = scheme("carbon_credits", **terms, obliged=True, allowance_kg_per_kwh=0.1)
    bound = booked(Programme({"c": due}), [shown(**SUN), later])[0]
    # With 0.1 and 0.3 kg of allowances; the second seat drew 6 kWh and lacks 2.7 kg.
    torch.testing.assert_close(bound[1].payment_eur, two(2.1 * 2.2, -2.7 * 2))


def test_trades_that_meters_confirm_settle_in_tokens():
    tokens = scheme("two_tokens", conversion_fee=0.1, interest_per_year=0, access_eur=0.5)
    done, _ = booked(
        Programme({"t": tokens}), [shown(trade_eur=two(1, -1), kept=two(1, 0.5)), shown(slot=1)]
    )
    # Half of 1 EUR is confirmed: 50 tokens of a cent, a tenth for the host, 1 token in escrow.
    torch.testing.assert_close(done[0].payment_eur, two(-0.05, 0))
    torch.testing.assert_close(done[0].movements["t.transaction"].issued, two(0, 50))
    torch.testing.assert_close(done[0].movements["t.transaction"].redeemed, two(50, 0))
    torch.testing.assert_close(done[0].held["t.access"], two(0, 1))
    torch.testing.assert_close(done[1].held["t.access"], two(0, 0))


def test_the_levy_goes_to_those_who_gave_and_reported():
    coins = scheme("energy_and_data_coins", levy=0.1)
    gave = shown(slots=3, exported_kwh=two(2, 0), reports=two(1, 1))
    drew = shown(slot=1, slots=3, imported_kwh=two(1, 4))
    done, _ = booked(Programme({"c": coins}), [gave, drew])
    assert (done[0].payment_eur == 0).all()
    torch.testing.assert_close(done[1].payment_eur, two(0.4, -0.4))


def test_only_the_own_network_is_paid_for_while_the_community_supplies_itself():
    rule = Programme({"o": scheme("own_network_cost", own_network_share=0.25)})
    done, _ = booked(rule, [shown(**SUN)])
    torch.testing.assert_close(done[0].payment_eur, two(0, 3 * 0.05 * 3))
    done, _ = booked(rule, [shown(**{**SUN, "exported_kwh": two(2.9, 0)})])
    assert (done[0].payment_eur == 0).all()


def test_cars_are_paid_for_reserve_and_for_what_they_give_against_a_shortage():
    service = Programme({"v": scheme("v2g_balancing", reserve_price=0.1, energy_price=1.0)})
    short = {"car_kwh": two(3, 1), "car_reserve_kwh": two(0, 5), "deviation_kwh": two(1, -3)}
    done, _ = booked(service, [shown(**short)])
    torch.testing.assert_close(done[0].payment_eur, two(1.5, 0.5 + 0.5))
    done, _ = booked(service, [shown(**{**short, "deviation_kwh": two(1, 0)})])
    torch.testing.assert_close(done[0].payment_eur, two(0, 0.5))
    homes = scheme("v2g_balancing", units="batteries", reserve_price=0.1, energy_price=1.0)
    kept = {**short, "battery_kwh": two(-1, 1), "battery_reserve_kwh": two(2, 0)}
    done, _ = booked(Programme({"v": homes}), [shown(**kept)])
    torch.testing.assert_close(done[0].payment_eur, two(0.2, 1))


def test_who_cannot_pay_borrows_and_pays_interest():
    terms = {"opening_eur": 1, "interest_per_day": 0.48, "limit_eur": 2, "penalty_per_day": 4.8}
    bank = Programme({"c": scheme("credit_payment", **terms)})
    later = shown(slot=1, slots=3, bill_eur=two(-1, 3))
    done, _ = booked(bank, [shown(slots=3, bill_eur=two(-2, -4)), later])
    # The first owes 1 EUR; the second 3, of which 1 is beyond its limit; half an hour of interest.
    torch.testing.assert_close(done[0].payment_eur, two(-0.01, -0.02 - 0.1))
    torch.testing.assert_close(done[1].payment_eur, two(-0.02 - 0.001, -0.0012))


# In the world.


@pytest.fixture(scope="module")
def played(town):
    sim = town.simulation(ALL, "task.devices.vehicle.v2g=true")
    return sim, list(play(sim))


def test_all_accounts_together_gain_nothing_and_seats_learn_what_they_got(played):
    _, intervals = played
    for interval in intervals:
        total = sum(interval.bill.accounts.values())
        torch.testing.assert_close(total, torch.zeros_like(total), atol=1e-9, rtol=0)
        assert torch.equal(interval.reward.bill, interval.bill.total)
        assert torch.equal(interval.bill.incentive, interval.rewarded.payment_eur)
    for name in NAMES:
        paid = sum(interval.rewarded.by_scheme[name].abs().sum() for interval in intervals)
        assert paid > 0, name


def test_readings_agree_with_the_meters(played):
    sim, intervals = played
    energy = sum(i.delivered.net_kw.clamp(min=0).minimum(i.delivered.pv_kw) for i in intervals)
    coins = sum(i.rewarded.movements["solarcoin.coin"].issued for i in intervals)
    torch.testing.assert_close(coins, energy * sim.community.slot_h)
    given = sum(
        i.rewarded.movements["energy_and_data_coins.energy"].issued.sum(-1) for i in intervals
    )
    out = sum(i.delivered.net_kw.clamp(min=0).sum(-1) for i in intervals) * sim.community.slot_h
    torch.testing.assert_close(given, out)


def test_without_schemes_nothing_changes_and_with_them_only_their_account(town, played):
    sim = town.simulation("task.devices.vehicle.v2g=true")
    for plain, paid in zip(play(sim), played[1], strict=True):
        assert plain.rewarded is None
        assert (plain.bill.incentive == 0).all()
        assert torch.equal(plain.observation, paid.observation)
        rest = replace(paid.bill, incentive=torch.zeros_like(paid.bill.incentive))
        assert torch.equal(plain.bill.total, rest.total)


def test_key_figures_tell_what_was_issued_traded_and_paid(town, played):
    sim, intervals = played
    facts = Facts.of(sim.community, 0.5)
    figures = kpis.compute(DayRecord.of(intervals, facts, sim.delivery.limits))
    paid = sum(interval.bill.incentive.sum(-1) for interval in intervals)
    torch.testing.assert_close(figures["incentive_income"], paid)
    for name in ("coins_issued", "coins_expired", "certificates_issued", "carbon_credits_issued"):
        assert (figures[name] > 0).all(), name
    assert (figures["certificates_traded"] <= figures["certificates_issued"]).all()
    plain = town.simulation()
    none = kpis.compute(DayRecord.of(list(play(plain, slots=2)), facts, plain.delivery.limits))
    assert none["coins_issued"].isnan().all()
    assert (none["incentive_income"] == 0).all()


def test_goods_that_move_are_transactions_of_the_next_interval(town):
    words = ("incentives=[{name: solarcoin, on_ledger: true}]",)
    chains = {w: town.simulation(*w, ledger="proof_of_authority") for w in (words, ())}
    with_coins, without = (list(play(sim, slots=50)) for sim in chains.values())
    moved = torch.zeros(2, dtype=F64)
    for on, off in zip(with_coins, without, strict=True):
        more = on.market_receipts.transactions - off.market_receipts.transactions
        torch.testing.assert_close(more.double(), moved)
        assert ((on.bill.fee.sum(-1) < off.bill.fee.sum(-1)) == (moved > 0)).all()
        moved = on.rewarded.movements["solarcoin.coin"].moves.sum(-1).double()
    assert (moved > 0).all()


def test_gains_follow_actions_through_every_scheme(town):
    sim = town.simulation("incentives=[demurrage,nrgcoin,two_tokens,renewable_share_reward]")
    state, actions = begun(sim, NOON), drawn(sim, 2, seed=4)
    direction = direction_of(actions)
    slope = compare(lambda some: gains(sim, state, some), actions, direction, smooth_share=0.5)
    plain = town.simulation()
    state = begun(plain, NOON)
    without = compare(lambda some: gains(plain, state, some), actions, direction, smooth_share=0.5)
    assert not torch.allclose(slope, without)


def test_every_scheme_has_a_file_and_every_file_a_scheme():
    assert configs.options("incentive") == NAMES
    for name in NAMES:
        assert configs.option("incentive", name)["name"] == name
        assert INCENTIVES[name].payer
        assert set(INCENTIVES[name].goods) <= set(INCENTIVES[name].backed_by)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("incentives=[nrgcoins]", "did you mean 'nrgcoin'"),
        ("incentives=[{name: solarcoin, price: 1}]", "did you mean 'redeem_price'"),
        (
            "incentives=[{name: solarcoin, redeem_price: -1}]",
            "incentives.solarcoin.redeem_price is",
        ),
        ("incentives=[{name: demurrage, demurrage_per_h: 2}]", "demurrage_per_h is 2"),
        ("incentives=[{name: solarcoin, kwh_per_coin: 0}]", "kwh_per_coin is 0"),
        ("incentives=[{redeem_price: 1}]", "incentives[0].name is missing"),
        ("incentives=[solarcoin,solarcoin]", "twice"),
        ("incentives=[3]", "incentives[0] is 3"),
        ("incentives=solarcion", "did you mean 'solarcoin'"),
        ("incentives=7", "incentives is 7"),
        ("incentives.solarcoin.redeem_price=1", "incentives is given as a whole, incentives=..."),
    ],
)
def test_what_is_no_scheme_is_refused_in_one_line(town, word, says):
    for ask in (lambda: town.build(envs.world(overrides=(word,))), lambda: evaluation(word)):
        with pytest.raises(GridBazaarError) as caught:
            ask()
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_single_scheme_needs_no_brackets():
    assert evaluation("incentives=solarcoin") == evaluation("incentives=[solarcoin]")


def evaluation(*words):
    return configure_evaluation(["name=x", "ledger=[ideal,block]", *words])


def test_an_evaluation_pays_under_every_market_and_ledger_but_not_the_baseline():
    config = evaluation("incentives=[nrgcoin,{name: solarcoin, redeem_price: 0.02}]")
    for ledger in ("ideal", "block"):
        names = [each["name"] for each in config.world("grid_only", ledger).incentives]
        assert names == ["nrgcoin", "solarcoin"]
    world = config.world("grid_only", "ideal")
    assert world.incentives[1]["redeem_price"] == 0.02
    assert world.incentives[1]["kwh_per_coin"]
    assert without_positions(world).incentives == ()
    assert "optimum is missing: its linear program knows no incentive" in unknown([], schemes=True)
    assert unknown([]) == ""


def test_an_optimum_that_is_missing_is_no_figure_and_stands_last():
    cost = torch.tensor([[1.0, 2.0]], dtype=F64)
    best = Yardstick(cost, torch.full((1,), torch.nan, dtype=F64)).of_optimum()
    assert all(best[name].isnan().all() for name in ("community_cost", "savings"))
    rows = [{"kpis": {"community_cost": {"mean": mean}}} for mean in (None, 2.0, -1.0)]
    assert [mechanisms.cost(row) for row in sorted(rows, key=mechanisms.cost)] == [-1, 2, torch.inf]


def test_a_training_is_paid_too():
    words = ["name=x", "incentives=[{name: demurrage, demurrage_per_h: 0.1}]"]
    world = validate(TrainConfig, configs.compose("train", words)).world
    assert world.incentives[0]["demurrage_per_h"] == 0.1
    assert world.incentives[0]["redeem_price"]


def test_a_list_of_no_schemes_is_the_default():
    assert envs.world().incentives == ()
    with pytest.raises(ConfigError, match="did you mean 'incentives'"):
        envs.world(overrides=("incentivs=[nrgcoin]",))


def test_an_evaluation_names_its_schemes_and_claims_no_optimum(tmp_path):
    words = ["name=coins", f"folder={tmp_path}", "task=small", "bidder=truthful", "days=1"]
    folder = evaluate(
        configure_evaluation([*words, "incentives=[nrgcoin]", "signatures=false", "resamples=100"]),
        quiet=True,
    )
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "Incentive schemes pay seats too, but for the grid alone: nrgcoin." in report
    rows = json.loads((folder / "summary.json").read_text())["rows"]
    income = {row["bidder"]: row["kpis"].get("incentive_income", {}).get("mean") for row in rows}
    assert income["truthful"] > 0
    assert income["stand_alone"] == 0
