"""Prepaid accounts: who cannot pay for an order does not get it into a block."""

from __future__ import annotations

import pytest
import torch
from conftest import play, random_policy

from gridbazaar import ledger_sim
from gridbazaar.configs import complete_ledger, option
from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim import MarketTransactions, Transactions

F64 = torch.float64


def ledger(deposit, name="block", **changes):
    layer = {"name": "prepaid_accounts", "deposit": deposit}
    made = ledger_sim.make(
        complete_ledger({**option("ledger", name), **changes, "layers": [layer]})
    )
    made.reset(torch.arange(2))
    return made


def order(amount, tip=0.0):
    amount = torch.tensor([amount, amount], dtype=F64)
    everyone = torch.ones_like(amount, dtype=torch.bool)
    return Transactions(everyone, 0 * amount, 0 * amount + tip, amount=amount)


def settled(payments):
    one = torch.ones(2, dtype=F64)
    paid = torch.tensor([payments, payments], dtype=F64)
    return MarketTransactions(0 * one, 0 * one, 3 * one, 2 * one, payments=paid)


def test_an_order_beyond_the_deposit_is_refused_and_costs_nothing():
    chain = ledger(1.0)
    got = chain.step(order([0.4, 1.0, 1.01]), 870.0)
    assert got.included.tolist() == [[True, True, False]] * 2
    assert (got.fee[:, 2] == 0).all()
    assert (got.fee[:, :2] > 0).all()
    assert (got.backlog == 0).all()
    torch.testing.assert_close(chain.funds(got.fee), 1.0 - got.fee.double())


def test_payments_move_funds_and_what_is_earned_can_be_spent():
    chain = ledger(1.0)
    chain.step(order([0.9, 0.0, 0.0]), 870.0)
    before = chain.funds(torch.zeros(2, 3, dtype=F64)).clone()
    chain.submit_market(settled([-0.9, 0.9, 0.0]))
    after = chain.funds(before)
    torch.testing.assert_close(after - before, torch.tensor([[-0.9, 0.9, 0.0]] * 2, dtype=F64))
    got = chain.step(order([0.5, 1.5, 1.5]), 870.0)
    assert got.included.tolist() == [[False, True, False]] * 2


def test_a_lost_slot_moves_nothing():
    chain = ledger(1.0, reorganisation_probability=1.0)
    got = chain.step(order([0.5, 0.0, 0.0]), 870.0)
    assert got.reverted.all()
    before = chain.funds(got.fee).clone()
    chain.submit_market(settled([-0.5, 0.5, 0.0]))
    assert torch.equal(chain.funds(got.fee), before)


def test_a_tip_is_part_of_what_must_be_there():
    assert not ledger(1.0).step(order([0.9], tip=0.2), 870.0).included.any()
    assert ledger(1.0).step(order([0.9], tip=0.1), 870.0).included.all()


def test_a_day_keeps_every_account_above_zero_where_fees_are_free(town):
    """Nobody pays more than its limit price, so that who can pay for its orders never owes."""
    missed, lowest = {}, []
    for deposit in (0.4, 1e6):
        words = (f"ledger.layers=[{{name: prepaid_accounts, deposit: {deposit}}}]",)
        simulation = town.simulation(*words, ledger="pbft", num_envs=2)
        policy = random_policy(3, entries=len(simulation.game.layout.actions))
        missed[deposit] = 0
        for interval in play(simulation, policy, slots=60):
            sent = interval.orders.seats_with(interval.sent_kw)
            missed[deposit] += int((sent & ~interval.receipts.included).sum())
            assert (interval.bill.fee == 0).all()
            lowest.append(simulation.ledger.funds(interval.receipts.fee).min())
    assert missed[0.4] > missed[1e6] + 50
    assert min(lowest) > -1e-9


def test_a_large_deposit_changes_nothing(town):
    words = ("ledger.layers=[{name: prepaid_accounts, deposit: 1e6}]",)
    days = []
    for chosen in (words, ()):
        simulation = town.simulation(*chosen, ledger="pbft", num_envs=2)
        policy = random_policy(3, entries=len(simulation.game.layout.actions))
        days.append([one.bill.total for one in play(simulation, policy, slots=40)])
    for one, other in zip(*days, strict=True):
        assert torch.equal(one, other)


def test_a_negative_deposit_is_refused():
    with pytest.raises(ConfigError, match=r"prepaid_accounts\.deposit"):
        ledger(-1.0)
