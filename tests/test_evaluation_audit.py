"""What evaluation writes into its chains: all money, every order's time, no more than disclosed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import play, random_policy

from gridbazaar import ledger_sim
from gridbazaar.agents.load import load
from gridbazaar.configs import complete_ledger, option
from gridbazaar.envs.observation import read
from gridbazaar.envs.simulation import Simulation
from gridbazaar.errors import ConfigError, UnknownNameError
from gridbazaar.evaluation.audit import Audit
from gridbazaar.evaluation.config import configure
from gridbazaar.evaluation.plots import title_of
from gridbazaar.evaluation.summary import rows
from gridbazaar.evaluation.tournament import run
from gridbazaar.ledger_sim import LAYERS
from gridbazaar.ledger_sim.record.privacy import names_of
from gridbazaar.ledger_sim.record.signed_chain import (
    FEE,
    ORDER,
    PAYMENT,
    REVEAL,
    VOLUME,
    SignedChain,
    private_key,
)

SEED, MARKET = torch.tensor([11, 3]), 1
SLOTS, BLOCK = 8, option("ledger", "block")
TIGHT = {"interval_s": 100.0, "block_gas": 7}


class Day:
    """Some slots of random orders, and the chain of one of two markets."""

    def __init__(self, town, *chosen, **changes):
        sim = town.simulation(ledger="block")
        ledger = ledger_sim.make(complete_ledger(BLOCK | changes | {"layers": list(chosen)}))
        self.simulation = Simulation(
            sim.community, sim.delivery, sim.market, ledger, sim.rules, 2, "train", 0
        )
        self.audit = Audit(self.simulation, SEED, torch.tensor([MARKET]))
        self.intervals = []
        policy = random_policy(7, entries=len(sim.game.layout.actions))
        for interval in play(self.simulation, policy, slots=SLOTS):
            self.audit.record(interval)
            self.intervals.append(interval)
        (self.chain,) = self.audit.chains

    def records(self, *kinds, until_ms=np.inf):
        """What an observer has read by some time."""
        blocks = [b for b in self.chain.blocks if b.header.timestamp_ms <= until_ms]
        every = SignedChain(self.chain.seed, self.chain.keys, blocks).records()
        return every[np.isin(every["kind"], kinds)]

    def linked(self, field, *kinds):
        """Number of pairs in different slots that a field links to one seat."""
        seen = self.records(*kinds)
        same = seen[field][:, None] == seen[field][None]
        return int((same & (seen["slot"][:, None] != seen["slot"][None])).sum())


@pytest.fixture(scope="module")
def open_day(town):
    return Day(town)


@pytest.mark.parametrize(
    "chosen",
    [(), *((name,) for name in LAYERS.names()), ("noise", "commit_reveal", "pseudonyms")],
    ids=str,
)
def test_balances_from_the_chain_alone_are_the_bills(town, chosen):
    if "homomorphic_aggregation" in chosen:
        pytest.importorskip("phe", reason="the extra `privacy` is not installed")
    day = Day(town, *chosen, **TIGHT)
    assert day.audit.verify(1.0).faults == ()
    chain = SignedChain.from_bytes(day.chain.to_bytes())
    balance, n = chain.balances(), day.simulation.num_seats
    assert balance.sum() == 0
    accounts = np.tile(np.arange(n), (SLOTS, 1))
    if {"pseudonyms", "blind_credentials"} & set(
        chosen
    ):  # a seat finds its accounts by the genesis, and holds their keys
        seed = torch.tensor([chain.seed])
        accounts = np.stack([names_of(seed, s, n)[0].numpy() + s * n for s in range(SLOTS)])
        own = accounts[-1, 0]
        assert private_key(chain.seed, own).public_key().public_bytes_raw() == chain.keys[own]
    mine = [balance[np.unique(accounts[:, seat])].sum() / 1e6 for seat in range(n)]
    bills = torch.stack([(i.bill.trade + i.bill.fee)[MARKET] for i in day.intervals]).sum(0)
    np.testing.assert_allclose(mine, bills, rtol=0, atol=2e-6 * SLOTS)
    fees = torch.stack([i.bill.fee[MARKET] for i in day.intervals]).sum()
    assert balance[-1] / 1e6 == pytest.approx(-float(fees), abs=1e-6 * n * SLOTS)


def test_an_audit_finds_what_was_cut_off_after_it_was_written(town):
    day = Day(town)
    assert day.audit.verify(0.0).faults == ()
    day.chain.blocks.pop()
    (fault,) = day.audit.verify(0.0).faults
    assert "blocks are missing, added or changed" in fault


def test_late_orders_stand_in_the_chain_at_the_time_of_their_block(town, open_day):
    for day, late in ((open_day, False), (Day(town, **TIGHT), True)):
        wanted, missed = [], 0
        seat, counts = day.simulation.order_slots.owners.seat, []
        for slot, interval in enumerate(day.intervals):
            receipts = interval.receipts
            block_s = (day.simulation.submission_s + receipts.latency_s)[MARKET]
            sent = (interval.sent_kw != 0)[MARKET]
            counts.append(seat[sent].bincount(minlength=day.simulation.num_seats))
            wanted += (slot * 900 + block_s[seat][sent & block_s.isfinite()[seat]]).tolist()
            missed += int((counts[-1] > 0).sum() - receipts.included[MARKET].sum())
            if receipts.earlier is not None:
                here = receipts.earlier.environment == MARKET
                then, who, block_s = (
                    getattr(receipts.earlier, name)[here] for name in ("slot", "seat", "block_s")
                )
                orders = torch.stack(counts)[then, who]
                wanted += (slot * 900 + block_s).repeat_interleave(orders).tolist()
        times = [
            b.header.timestamp_ms / 1e3
            for b in day.chain.blocks
            for kind in np.frombuffer(b.records, day.records().dtype)["kind"]
            if kind == ORDER
        ]
        np.testing.assert_allclose(times, sorted(wanted), rtol=0, atol=1e-3)
        assert (missed > 50) == late


def test_pseudonyms_unlink_the_same_play(town, open_day):
    hidden = Day(town, "pseudonyms")
    for one, other in zip(open_day.intervals, hidden.intervals, strict=True):
        assert torch.equal(one.clearing.cleared_kw, other.clearing.cleared_kw)
    for field, kind in (("sender", ORDER), ("receiver", PAYMENT)):
        assert open_day.linked(field, kind) > 1000
        assert hidden.linked(field, kind) == 0


def test_committed_orders_are_read_after_gate_closure_alone(town, open_day):
    hidden = Day(town, "commit_reveal")
    for slot in range(SLOTS):
        closure_ms = slot * 900_000 + 870_000
        for day, known in ((open_day, True), (hidden, False)):
            seen = day.records(ORDER, REVEAL, until_ms=closure_ms)
            assert bool(len(seen[seen["slot"] == slot])) == known
    opened = hidden.records(REVEAL)
    assert (opened["quantity"] != 0).mean() > 0.9


@pytest.mark.parametrize("name", ["noise", "aggregated_disclosure"])
def test_seats_and_observers_read_the_same_blurred_volumes(town, open_day, name):
    hidden = Day(town, name)
    assert (open_day.records(ORDER)["quantity"] != 0).mean() > 0.9
    assert not hidden.records(ORDER)["quantity"].any()
    told = hidden.records(VOLUME)
    last, exact = 0.0, []
    for slot, interval in enumerate(hidden.intervals):
        seen = told[told["slot"] == slot]
        assert len(seen) == (0 if interval.published is None else interval.published.shown[1].sum())
        exact.append(float(interval.clearing.volume_kw[MARKET]))
        if interval.published is not None:
            slots = interval.published.slots
            last = seen["quantity"].sum() / 1000 / slots
            wrong = abs(last - np.mean(exact[-slots:]))
            assert wrong > 1e-3 if name == "noise" else last <= np.mean(exact[-slots:]) + 1e-3
        observed = interval.observation[MARKET]
        volume = read(observed, "last_volume") * hidden.simulation.num_seats
        np.testing.assert_allclose(volume, last, rtol=0, atol=1e-9)
        assert not read(observed, "last_supply").any()
        assert not read(observed, "last_demand").any()
        assert read(observed, "last_price").equal(
            read(open_day.intervals[slot].observation[MARKET], "last_price")
        )


def test_what_a_channel_costs_is_charged_apart(town):
    fees = Day(town, "channels").records(FEE)
    assert set(fees["slot"].tolist()) == {0}
    assert (fees["fee"] > 0).all()


def test_words_change_every_ledger_but_the_ideal_one():
    config = configure(["name=a", "ledger=[ideal,block,qbft]", "ledger.layers=[noise]"])
    for name in config.ledger:
        world = config.world("uniform_auction", name)
        chosen = [layer["name"] for layer in world.ledger["layers"]]
        assert chosen == ([] if name == "ideal" else ["noise"])
        assert config.ledger_label(name) == (name if name == "ideal" else f"{name} + noise")


def test_results_name_the_layers_of_a_ledger():
    layered = "ledger.layers=[{name: multisig, required: 1}, pseudonyms]"
    words = [
        "name=a",
        "bidder=own_use",
        "ledger=block",
        layered,
        "days=1",
        "signatures=false",
        "planner=false",
    ]
    config = configure(words)
    alone, _, _, own_use, best = map(title_of, rows(config, run(config, load)))
    assert own_use == "own use · uniform auction · block + multisig + pseudonyms"
    assert "+" not in alone + best


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["ledger.layers=[noise]"], ConfigError, "the ideal ledger stays as it is"),
        (["ledger=block", "ledger.layers=[nose]"], UnknownNameError, "did you mean 'noise'"),
        (["ledger=block", "ledger.layrs=[noise]"], ConfigError, "did you mean 'ledger.layers'"),
    ],
)
def test_impossible_changes_are_refused_at_once(words, error, hint):
    with pytest.raises(error, match=hint):
        configure(["name=a", *words])


def again(day, *intervals):
    """Record some intervals of a day anew, and return what verification finds."""
    audit = Audit(day.simulation, SEED, torch.tensor([MARKET]))
    for interval in intervals:
        audit.record(interval)
    return audit.verify(0.0).faults


def test_an_audit_opens_sums_of_ciphertexts_and_finds_others(town):
    pytest.importorskip("phe", reason="the extra `privacy` is not installed")
    layer = {"name": "homomorphic_aggregation", "seats": 2, "slots": 1, "key_bits": 512}
    day = Day(town, layer)
    assert day.audit.verify(0.0).faults == ()
    first = day.intervals[0]
    assert first.published.shown[MARKET, 0]
    wrong = first.published.volume.clone()
    wrong[MARKET, 0] += 0.5
    (fault,) = again(day, replace(first, published=replace(first.published, volume=wrong)))
    assert "sum of group 0" in fault


def test_who_is_not_registered_stands_in_no_block_and_is_found_where_it_does(town):
    day = Day(town, {"name": "blind_credentials", "unregistered": [0]})
    assert day.audit.verify(0.0).faults == ()
    seat = day.simulation.order_slots.owners.seat
    assert any((interval.sent_kw[MARKET, seat == 0] != 0).any() for interval in day.intervals)
    own = [day.audit.accounts(slot)[0, 0] for slot in range(SLOTS)]
    assert not np.isin(day.records(ORDER)["sender"], own).any()
    careless = Day(town, "blind_credentials")
    careless.simulation.disclosure = replace(careless.simulation.disclosure, unregistered=(0,))
    (fault,) = again(careless, careless.intervals[0])
    assert "slot 0: seat 0 is not registered" in fault
