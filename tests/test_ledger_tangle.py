"""Tangle as a graph: tips, approvals and weight, and a ledger that is confirmed by them."""

import itertools

import numpy as np
import pytest
import torch

from gridbazaar import ledger_sim
from gridbazaar.errors import ConfigError, LedgerError
from gridbazaar.ledger_sim import Transactions
from gridbazaar.ledger_sim.consensus.tangle_graph import (
    GROWTH,
    Graph,
    grow,
    mean_weighed_s,
    stationary_tips,
    tip_count,
    weighed_in_theory_s,
    weighed_s,
)
from gridbazaar.studies.ledger.configured import read


@pytest.fixture(scope="module")
def busy():
    """Eight tangles with 15 transactions in the time h, which is 2 s."""
    return grow(torch.arange(8), 7.5, 2.0, 700)


def test_tips_are_popov_s(busy):
    """L0 = k lambda h / (k - 1), equation 1 of the paper."""
    for choices, graph in ((2, busy), (3, grow(torch.arange(8), 7.5, 2.0, 500, choices=3))):
        mean = float(tip_count(graph)[:, 150:].double().mean())
        assert mean == pytest.approx(stationary_tips(7.5, 2.0, choices), rel=0.06)
    assert stationary_tips(7.5, 2.0, 2) == 30


def test_the_first_approval_takes_what_little_s_law_says(busy):
    """Tips come at lambda and are L0 of them, so that each stays one for k h / (k - 1)."""
    waits = (busy.approved_s - busy.at_s)[:, 150:550]
    assert float(waits.mean()) == pytest.approx(2 * 2.0, rel=0.06)


def test_nobody_approves_what_it_cannot_see(busy):
    row = torch.arange(8).view(-1, 1, 1)
    chosen_s = busy.at_s[row, busy.parents][:, 1:]
    unseen = chosen_s + busy.delay_s > busy.at_s[:, 1:].unsqueeze(2)
    assert not (unseen & (busy.parents[:, 1:] > 0)).any()
    # And each of those chosen was a tip in the chooser's eyes.
    approved_s = busy.approved_s
    known_s = approved_s[row, busy.parents][:, 1:] + busy.delay_s
    assert (known_s > busy.at_s[:, 1:].unsqueeze(2)).all()


def test_weight_counts_all_that_approve_directly_or_not():
    """Against a search over each tangle on its own."""
    graph = grow(torch.arange(3), 3.0, 1.0, 120)
    found = weighed_s(graph, 10, 30, 8)
    for tangle in range(3):
        parents, at_s = graph.parents[tangle].tolist(), graph.at_s[tangle].tolist()
        for first in range(10, 30):
            behind, expected = {first}, np.inf
            for new in range(first + 1, 120):
                if behind & set(parents[new]):
                    behind.add(new)
                if len(behind) == 8:
                    expected = at_s[new] + 1.0 - at_s[first]
                    break
            assert float(found[tangle, first - 10]) == pytest.approx(expected)


def test_a_chain_is_the_tangle_of_low_load():
    """Who sends finds one tip, the last one, and every newcomer adds to all weights."""
    rate, weight = 0.01, 12
    assert weighed_in_theory_s(weight, rate, 1.0) == 1 + (weight - 1) / rate
    assert mean_weighed_s(rate, 1.0, 2, weight, runs=30) == pytest.approx(
        1 + (weight - 1) / rate, rel=0.04
    )


def test_weight_comes_the_sooner_the_more_is_sent():
    rates = [0.02, 0.1, 0.5, 2.0, 6.0]
    times = [mean_weighed_s(rate, 1.5, 2, 30) for rate in rates]
    assert times == sorted(times, reverse=True)
    theory = [weighed_in_theory_s(30, rate, 1.5) for rate in rates]
    assert theory == sorted(theory, reverse=True)
    assert (np.array(times) / theory < 1.6).all()
    assert (np.array(times) / theory > 0.9).all()


def test_the_joined_formula_has_no_jump_and_no_kink():
    weight = np.linspace(2, 200, 4000)
    time = np.array([weighed_in_theory_s(w, 10.0, 1.0) for w in weight])
    slope = np.diff(time) / np.diff(weight)
    assert (np.abs(np.diff(slope)) < 0.05).all()
    assert (np.diff(slope) < 1e-9).all()
    assert slope[0] == pytest.approx(1 / (2 * GROWTH), rel=0.02)
    assert slope[-1] == pytest.approx(1 / 10)


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_walks_end_at_tips_and_heavy_ones_leave_more_behind(alpha):
    graph = grow(torch.arange(6), 4.0, 1.0, 90, alpha=alpha)
    chosen_s = graph.approved_s[torch.arange(6).view(-1, 1, 1), graph.parents][:, 1:]
    assert (chosen_s + 1.0 > graph.at_s[:, 1:].unsqueeze(2)).all()
    tips = float(tip_count(graph)[:, 30:].double().mean())
    uniform = stationary_tips(4.0, 1.0, 2)
    assert (tips > 1.4 * uniform) if alpha else (tips == pytest.approx(uniform, rel=0.4))


def test_a_tangle_belongs_to_its_seed_alone():
    whole, one = grow(torch.arange(5), 3.0, 1.0, 80), grow(torch.tensor([3]), 3.0, 1.0, 80)
    assert torch.equal(whole.parents[3:4], one.parents)
    assert torch.equal(whole.at_s[3:4], one.at_s)
    assert isinstance(one, Graph)


def finality(orders_per_slot, **changes):
    config = read("tangle").model_dump() | {"interval_s": 0.5} | changes
    ledger = ledger_sim.make(config)
    ledger.reset(torch.arange(2))
    like = torch.zeros(2, 2000, dtype=torch.float64)
    sent = (torch.arange(2000) < orders_per_slot).expand(2, -1)
    return ledger.step(Transactions(sent, like, like), 870.0).finality_s


def test_a_coordinator_s_pace_is_not_the_market_s():
    quiet, busy = (finality(orders, background_gas_per_s=0.1) for orders in (5, 2000))
    assert torch.equal(quiet, busy)


def test_without_a_coordinator_confirmation_follows_the_load():
    weight = {"confirmation": "weight", "background_gas_per_s": 0.1, "confirming_weight": 30}
    times = [finality(orders, **weight) for orders in (0, 90, 900, 2000)]
    assert all((a > b).all() for a, b in itertools.pairwise(times))
    hidden_s = ledger_sim.make(read("tangle").model_dump() | weight).consensus.hidden_s
    for orders, found in ((90, times[1]), (2000, times[3])):
        rate = 0.1 + orders / 900
        measured = mean_weighed_s(rate, hidden_s, 2, 30)
        assert float(found[0]) == pytest.approx(measured, abs=0.06 * measured + 1.0)
    public = finality(90, **(weight | {"background_gas_per_s": 2.0}))
    assert (public < times[1]).all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: grow(torch.arange(2), 0.0, 1.0, 10), "rate_per_s is 0.0"),
        (lambda: grow(torch.arange(2), 1.0, 1.0, 10, choices=0), "choices is 0"),
        (lambda: grow(torch.arange(2), 1.0, 1.0, 0), "count is 0"),
        (lambda: stationary_tips(1.0, 1.0, 1), "choices is 1; allowed is 2 or more"),
    ],
)
def test_impossible_tangles_are_refused(call, says):
    with pytest.raises(LedgerError, match=says):
        call()


@pytest.mark.parametrize("option", ["parents", "choices", "confirming_weight"])
def test_a_graph_too_large_to_grow_is_refused_at_once(option):
    with pytest.raises(ConfigError, match=f"{option} is 1,?000,?000.*less than or equal to"):
        ledger_sim.make(read("tangle").model_dump() | {option: 1_000_000})
