"""What the observer of recorded chains links and reads, on chains that are known."""

import math

import numpy as np
import pytest
import torch
from test_ledger_privacy import SEEDS, SLOTS, Day, N

from gridbazaar.evaluation.observer import linked_share, most_learned, public_series
from gridbazaar.studies import privacy

QUANTITY = torch.tensor([1.0, -2.0, 3.0, -1.5, 2.5, -3.0], dtype=torch.float64)


def observed(*layers):
    day = Day(*layers)
    accounts = np.stack([day.recorder.accounts(slot)[0] for slot in range(SLOTS)])
    return day, accounts, public_series(day.chains, N, SLOTS)


@pytest.mark.parametrize(
    ("layer", "share"), [(None, 1.0), ("pseudonyms", 0.0), ("blind_credentials", 0.0), ("noise", 1)]
)
def test_an_account_links_all_of_a_seats_transactions_or_none(layer, share):
    day, accounts, _ = observed(*([layer] if layer else []))
    assert linked_share(day.chains[0], accounts) == share


def test_a_chain_without_two_transactions_of_a_seat_links_nothing():
    day, accounts, _ = observed()
    chain = day.chains[0]
    del chain.blocks[:]
    assert math.isnan(linked_share(chain, accounts))


def test_an_open_chain_shows_orders_and_payments_as_they_were():
    _, _, series = observed()
    days = len(SEEDS)
    shown = (1000 * QUANTITY).unsqueeze(1).expand(N, days * SLOTS)
    assert torch.equal(series["order"], shown)
    volume = 1000 * QUANTITY.abs().sum()
    assert (series["the book's volume"] == volume).all()
    assert (series["payment"].sign() == QUANTITY.sign().unsqueeze(1)).all()
    # Without sums of its own the volume of each seat stands there, and here their total.
    assert (series["published volume"] == volume).all()


def test_what_is_hidden_is_not_shown_and_what_covers_a_period_covers_its_slots():
    _, _, series = observed({"name": "aggregated_disclosure", "seats": 3, "slots": 4})
    assert not series["order"].any()
    paid = series["payment"].reshape(N, -1, 4)
    assert (paid == paid[..., :1]).all()
    _, _, one = observed()
    total = one["payment"].reshape(N, -1, 4).sum(-1)
    assert (paid[..., 0].sign() == total.sign()).all()
    assert (series["published volume"] == 4 * 1000 * QUANTITY.abs().sum()).all()


def test_with_pseudonyms_a_seats_place_shows_anybodys_order():
    _, _, series = observed("pseudonyms")
    book = torch.stack([series["order"][:, slot].sort().values for slot in range(SLOTS)])
    assert (book == (1000 * QUANTITY).sort().values).all()
    assert len(series["order"][0].unique()) > 2


def test_the_series_that_tells_most_is_found_and_unused_seats_are_left_out():
    draw = torch.Generator().manual_seed(2)
    load = torch.rand(3, 960, generator=draw, dtype=torch.float64) * 4
    load[1] = 0
    noise = torch.rand(3, 960, generator=draw, dtype=torch.float64)
    learned = most_learned(load, {"noise": noise, "load": -load}, 96)
    assert learned.name == "load"
    assert learned.bits == pytest.approx(3.0, abs=0.02)
    assert learned.of_another_day < 0.05
    assert learned.high == learned.steps == 1
    repeated = load[:, :96].repeat(1, 10)
    again = most_learned(repeated, {"load": repeated}, 96)
    assert again.of_another_day == again.bits


def test_the_study_hides_accounts_from_the_public_and_readings_from_the_biller(town):
    """Each way against an open chain on the same day, on a small community."""
    pytest.importorskip("phe", reason="the extra `privacy` is not installed")
    plain = town.simulation(ledger="block")
    sums = {"name": "homomorphic_aggregation", "seats": 3, "slots": 2, "key_bits": 512}
    ways = ((), (sums, "blind_credentials"))
    bare, hidden = (privacy.outcome(plain, "block", 1, (way, "own_use")) for way in ways)
    assert (bare.linked, hidden.linked) == (1, 0)
    assert hidden.biller.bits < bare.biller.bits
    assert hidden.public.bits <= bare.public.bits
    assert bare.cost < hidden.cost
    assert bare.on_chain < hidden.on_chain
    assert bare.beside == 0 < hidden.beside
    assert bare.final_s < hidden.final_s
    assert bare.name == "none"
    name = "homomorphic_aggregation (seats 3, slots 2, key_bits 512) + blind_credentials"
    assert hidden.name == name
    *_, last = privacy.table([bare, hidden]).splitlines()
    assert last.startswith(f"| `{name}` | 0 | ")
