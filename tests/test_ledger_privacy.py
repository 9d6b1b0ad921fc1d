"""What an observer with the chain alone can link, what hides it, and what that costs."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from gridbazaar import ledger_sim
from gridbazaar.configs import complete_ledger
from gridbazaar.errors import LedgerError
from gridbazaar.ledger_sim import MarketTransactions, Transactions, gas
from gridbazaar.ledger_sim.record.privacy import (
    OPEN,
    VolumePublisher,
    committed_s,
    disclosure_of,
    grouped_sums,
    names_of,
    noisy,
)
from gridbazaar.ledger_sim.record.recorder import Recorder
from gridbazaar.ledger_sim.record.signed_chain import (
    COMMIT,
    ORDER,
    PAYMENT,
    RECORD,
    REVEAL,
    VOLUME,
    SignedChain,
    private_key,
)
from gridbazaar.ledger_sim.record.verify import verify
from gridbazaar.sourced import plain

CONFIG = Path(__file__).parents[1] / "configs" / "ledger" / "block.yaml"
BLOCK = plain(yaml.safe_load(CONFIG.read_text()))
B, N, SLOTS, DEADLINE_S = 2, 6, 8, 870.0
PRICE = 1e-9
EVM = {
    "gas": "evm",
    "block_gas": 6e7,
    "fees": {"rule": "fixed", "price": PRICE, "burned_share": 0.0},
}
SEEDS = torch.tensor([5, -1])


def ledger_with(*layers):
    return ledger_sim.make(complete_ledger(BLOCK | EVM | {"layers": list(layers)}))


class Day:
    """A day under some layers, recorded; every seat has a habitual price and quantity."""

    def __init__(self, *layers):
        self.ledger = ledger_with(*layers)
        self.ledger.reset(SEEDS)
        disclosure = disclosure_of(self.ledger)
        self.recorder = Recorder(SEEDS, N, self.ledger.slot_s, disclosure)
        self.publisher = VolumePublisher(disclosure, SEEDS, 96)
        like = torch.zeros(B, N, dtype=torch.float64)
        self.price = like + 0.1 + 0.01 * torch.arange(N)
        self.quantity = like + torch.tensor([1.0, -2.0, 3.0, -1.5, 2.5, -3.0])
        self.fees, self.delay_s = 0.0, 0.0
        self.paid = torch.zeros(B, N, dtype=torch.float64)
        for slot in range(SLOTS):
            self.play(slot, Transactions(like == 0, like + 800.0, like))
        self.chains = self.recorder.chains

    def play(self, slot, orders):
        got = self.ledger.step(orders, DEADLINE_S)
        price, quantity = self.price, self.quantity
        self.recorder.record_orders(
            slot,
            orders.sent,
            price,
            quantity,
            orders.tip,
            orders.submitted_s,
            got,
            committed_s(self.ledger),
        )
        one = torch.ones(B, dtype=torch.float64)
        posted = self.ledger.submit_market(MarketTransactions(0 * one, 0 * one, N * one, N * one))
        share = (posted.fee / N).unsqueeze(1).expand(B, N)
        self.recorder.record_settlement(slot, quantity * 0.1, share, 900.0)
        published = self.publisher.publish(quantity.abs())
        if published is not None:
            self.recorder.record_volumes(slot, published, 900.0)
        self.paid += quantity * 0.1 - got.fee - share
        self.fees += float((got.fee.sum(1) + posted.fee)[0])
        self.delay_s += float((got.finality_s + posted.delay_s)[0]) / SLOTS


day_of = cache(Day)


@pytest.fixture
def open_day():
    return day_of()


def records(chain, kind):
    """What the observer reads: the blocks' records of one kind."""
    every = np.concatenate([np.frombuffer(block.records, RECORD) for block in chain.blocks])
    return every[every["kind"] == kind]


def linked_by(chain, field, kind=ORDER):
    """Share of pairs of a kind in different slots that one value of a field links to one seat."""
    seen = records(chain, kind)
    value = seen[field]
    same = (value[:, None] == value[None]) & (seen["slot"][:, None] != seen["slot"][None])
    return same.sum() / (len(seen) * (SLOTS - 1))


@pytest.mark.parametrize(
    "layers",
    [
        [],
        ["pseudonyms"],
        ["commit_reveal"],
        ["aggregated_disclosure"],
        ["noise"],
        ["aggregated_disclosure", "noise", "pseudonyms", "commit_reveal"],
    ],
    ids=str,
)
def test_a_private_chain_is_whole_and_its_money_adds_up(layers):
    day = day_of(*layers)
    for b, chain in enumerate(day.chains):
        assert verify(chain, tip=chain.tip) == []
        assert verify(SignedChain.from_bytes(chain.to_bytes()), tip=chain.tip) == []
        balance = chain.balances()
        assert balance.sum() == 0
        accounts = np.stack([day.recorder.accounts(slot)[b] for slot in range(SLOTS)])
        mine = [balance[np.unique(accounts[:, seat])].sum() for seat in range(N)]
        assert np.allclose(mine, (day.paid[b] * 1e6).numpy(), atol=2 * SLOTS)


def test_a_seat_is_linked_by_its_account_and_not_by_pseudonyms(open_day):
    hidden = day_of("pseudonyms")
    for plain_chain, chain in zip(open_day.chains, hidden.chains, strict=True):
        assert linked_by(plain_chain, "sender") == 1
        assert linked_by(plain_chain, "receiver", PAYMENT) == 1
        assert linked_by(chain, "sender") == 0
        assert linked_by(chain, "receiver", PAYMENT) == 0
        # Prices stay open, and with them a seat of steady habits.
        assert linked_by(chain, "price") == 1


def test_a_pseudonyms_number_says_nothing_of_the_seat():
    places = torch.cat([names_of(torch.arange(500), slot, N) for slot in range(20)])
    assert torch.equal(places.sort(1).values, torch.arange(N).expand(10000, N))
    share = torch.stack([(places == place).double().mean(0) for place in range(N)])
    assert ((share - 1 / N).abs() < 5 * (1 / N * (1 - 1 / N) / 10000) ** 0.5).all()


def test_pseudonyms_cost_a_registration_an_order(open_day):
    extra = day_of("pseudonyms").fees - open_day.fees
    assert extra == pytest.approx(SLOTS * N * gas.register_gas() * PRICE)


def test_an_order_is_read_before_clearing_unless_it_is_committed(open_day):
    hidden = day_of("commit_reveal")
    for slot in range(SLOTS):
        closure_ms = (slot * 900 + DEADLINE_S) * 1000
        for day, known in ((open_day, True), (hidden, False)):
            before = [b for b in day.chains[0].blocks if b.header.timestamp_ms <= closure_ms]
            seen = np.concatenate([np.frombuffer(b.records, RECORD) for b in before])
            seen = seen[(seen["slot"] == slot) & (seen["kind"] != VOLUME)]
            assert len(seen) == N
            assert (seen["price"] != 0).all() == known
            assert (seen["quantity"] != 0).all() == known
    commits = records(hidden.chains[0], COMMIT)
    assert len(set(commits["secret"].tolist())) == len(commits)  # equal orders, unlike hashes
    assert linked_by(hidden.chains[0], "price", REVEAL) == 1  # open after gate closure


def test_committing_costs_two_transactions_and_the_reveals_wait(open_day):
    hidden = day_of("commit_reveal")
    each = gas.commit_gas() + float(gas.reveal_gas()) - float(gas.order_gas())
    assert hidden.fees - open_day.fees == pytest.approx(SLOTS * N * each * PRICE)
    assert hidden.delay_s - open_day.delay_s == pytest.approx(30.0)


def test_an_order_is_late_with_its_commitment_or_its_reveal():
    config = complete_ledger(BLOCK | {"layers": ["commit_reveal"]})
    like = torch.zeros(1, 3, dtype=torch.float64)
    still = config["network"] | {"submission_delay_s": 0.0}
    for submitted_s, interval_s, comes in (
        (800.0, 30.0, True),
        (869.0, 40.0, False),
        (880.0, 40.0, False),  # after gate closure
    ):
        ledger = ledger_sim.make(config | {"network": still, "interval_s": interval_s})
        ledger.reset(torch.tensor([1]))
        got = ledger.step(Transactions(like == 0, like + submitted_s, like), DEADLINE_S)
        assert (got.included == comes).all()
        assert got.latency_s.isfinite().all()
        assert (got.fee > 0).all()
    slow = config | {"network": still, "interval_s": 100.0}
    ledger = ledger_sim.make(slow)
    ledger.reset(torch.tensor([1]))
    # Committed at 800 s, but the reveal of 870 s comes at 900 s, after the time that is left.
    got = ledger.step(Transactions(like == 0, like + 700.0, like), 865.0)
    assert (ledger.committed_s == 700.0).all()
    assert not got.included.any()
    with pytest.raises(LedgerError, match="orders must be open by the slot's end"):
        ledger.step(Transactions(like == 0, like, like), 880.0)


def test_a_changed_reveal_is_found():
    chain = SignedChain.from_bytes(day_of("commit_reveal").chains[0].to_bytes())
    for height, block in enumerate(chain.blocks):
        changed = np.frombuffer(block.records, RECORD).copy()
        if (changed["kind"] == REVEAL).any():
            changed["price"][0] += 1
            forged = type(block)(block.header, block.seal, changed.tobytes(), block.signatures)
            chain.blocks[height] = forged
            break
    assert "opens no commitment" in " ".join(fault.what for fault in verify(chain))


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        (REVEAL, {}, "second reveal of account 0 in slot 0"),
        (REVEAL, {"slot": SLOTS}, "opens no commitment"),
        (COMMIT, {"secret": np.void(bytes(range(32)))}, "second commitment of account 0 in slot 0"),
        (ORDER, {"price": 1}, "second order of account 0 in slot 0"),
    ],
)
def test_a_commitment_is_opened_once_though_the_validator_colludes(kind, changes, says):
    chain = SignedChain.from_bytes(day_of("commit_reveal").chains[0].to_bytes())
    again = chain.records()
    was = again["kind"] == (COMMIT if kind == COMMIT else REVEAL)
    again = again[was & (again["sender"] == 0) & (again["slot"] == 0)].copy()
    again["kind"], again["nonce"] = kind, 10**6
    for name, value in changes.items():
        again[name] = value
    signature = private_key(chain.seed, 0).sign(chain.message(again.tobytes()))
    validator = private_key(chain.seed, N + 1)
    chain.append(again, [signature], chain.blocks[-1].header.timestamp_ms, validator)
    (fault,) = verify(SignedChain.from_bytes(chain.to_bytes()))
    assert (fault.block, fault.transaction) == (len(chain.blocks) - 1, 0)
    assert says in fault.what


def test_volumes_of_a_seat_are_read_unless_they_are_summed(open_day):
    day = Day({"name": "aggregated_disclosure", "seats": 3, "slots": 4})
    own = (open_day.quantity[0].abs() * 1000).long().tolist()
    assert records(open_day.chains[0], VOLUME)["quantity"].tolist() == own * SLOTS
    chain = day.chains[0]
    assert not records(chain, ORDER)["quantity"].any()
    assert not records(chain, ORDER)["price"].any()
    sums = records(chain, VOLUME)["quantity"].tolist()
    assert sums == [4 * sum(own[:3]), 4 * sum(own[3:])] * (SLOTS // 4)
    assert not set(own) & set(sums)
    assert len(records(chain, PAYMENT)) == N * SLOTS // 4
    assert len(records(open_day.chains[0], PAYMENT)) == N * SLOTS


def test_aggregation_saves_settlements_and_makes_money_wait(open_day):
    day = Day({"name": "aggregated_disclosure", "seats": 3, "slots": 4})
    settled = float(gas.clear_gas(float(N), float(N), hinted=True) + gas.settle_gas(float(N)))
    saved = SLOTS * settled - SLOTS / 4 * (settled + gas.root_gas())
    assert open_day.fees - day.fees == pytest.approx(saved * PRICE)
    assert day.delay_s - open_day.delay_s == pytest.approx(1.5 * 900)


def test_a_sum_of_too_few_is_not_published():
    volume = torch.tensor([[1.0, 0.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    sums, shown = grouped_sums(volume, 3)
    assert sums.tolist() == [[3.0, 18.0]]
    assert shown.tolist() == [[False, True]]
    with pytest.raises(LedgerError, match="at least 8 seats; there are 7"):
        grouped_sums(volume, 8)


def test_noise_hides_whether_a_seat_traded_up_to_its_epsilon():
    epsilon, sensitivity, draws = 0.5, 2.0, 200_000
    seed = torch.arange(draws)
    with_seat = noisy(torch.full((draws, 1), 12.0), sensitivity, epsilon, seed, 3)
    without = noisy(torch.full((draws, 1), 10.0), sensitivity, epsilon, seed + draws, 3)
    for threshold in (6.0, 9.0, 10.0, 11.0, 13.0, 18.0):
        p = float((with_seat > threshold).double().mean())
        q = float((without > threshold).double().mean())
        slack = 5 * (p * (1 - p) / draws) ** 0.5 * (1 + math.exp(epsilon))
        assert p <= math.exp(epsilon) * q + slack
        assert q <= math.exp(epsilon) * p + slack
    # The scale is sensitivity / epsilon, the variance twice its square.
    spread = (with_seat.double() - 12.0).square().mean()
    assert float(spread) == pytest.approx(2 * (sensitivity / epsilon) ** 2, rel=0.05)


def test_without_noise_a_published_volume_gives_a_seat_away(open_day):
    exact = records(open_day.chains[0], VOLUME)["quantity"].reshape(SLOTS, N).sum(1)
    assert len(set(exact.tolist())) == 1  # whoever leaves is seen at once
    day = Day({"name": "noise", "epsilon": 1.0, "sensitivity": 3.0})
    published = records(day.chains[0], VOLUME)["quantity"]
    assert len(published) == SLOTS
    assert len(set(published.tolist())) == SLOTS
    assert not records(day.chains[0], ORDER)["quantity"].any()
    assert day.fees - open_day.fees == pytest.approx(SLOTS * gas.root_gas() * PRICE)


@pytest.mark.parametrize(("epsilon", "sensitivity"), [(0.0, 1.0), (-1.0, 1.0), (1.0, -1.0)])
def test_impossible_noise_is_refused(epsilon, sensitivity):
    with pytest.raises(LedgerError, match=r"epsilon is|sensitivity is"):
        noisy(torch.zeros(1), sensitivity, epsilon, torch.tensor([1]), 0)


def test_the_layers_say_what_is_disclosed():
    assert disclosure_of(ledger_with()) == OPEN
    layers = ["noise", "pseudonyms", {"name": "aggregated_disclosure", "seats": 4, "slots": 2}]
    found = disclosure_of(ledger_with(*layers))
    assert (found.pseudonyms, found.committed, found.seats, found.slots) == (True, False, 4, 2)
    assert found.epsilon == 1.0
    assert found.sealed
