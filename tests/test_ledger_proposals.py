"""Proposed clearings: residuals tell right from wrong, and what is refused costs its solver."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from reference.optimality import Programme, Solution
from reference.optimality import residuals as reference_residuals

from gridbazaar.config import validate
from gridbazaar.configs import option
from gridbazaar.envs.clearing_check import passes, residuals
from gridbazaar.envs.markets import MARKETS, Context, Orders
from gridbazaar.envs.proposed import FALSE, diverted, invented, raised, settle_one, withheld
from gridbazaar.errors import ConfigError
from gridbazaar.ledger_sim import make
from gridbazaar.ledger_sim.proposals import Proposals, draw_proposals

F64 = torch.float64
WITHOUT_GRID = sorted(
    name
    for name in MARKETS.names()
    if name
    not in {"locational_price", "operating_envelope", "curtailed_auction", "dynamic_grid_tariff"}
)


def books(markets=40, seats=9, seed=0, dtype=F64):
    draw = torch.Generator().manual_seed(seed)
    quantity = torch.rand(markets, seats, generator=draw, dtype=dtype) * 10 - 5
    limit = torch.rand(markets, seats, generator=draw, dtype=dtype) * 0.26 + 0.08
    ends = (torch.full((markets, 1), price, dtype=dtype) for price in (0.34, 0.08))
    return Orders(quantity, limit, torch.zeros_like(limit)), Context(*ends, 0.25)


def mechanism(name):
    kind = MARKETS[name]
    return kind(validate(kind.Config, option("market", name)))


def programme(orders):
    q, p = orders.quantity_kw, orders.limit_price
    zero = torch.zeros(len(q), 1, dtype=F64)
    return Programme(
        torch.where(q > 0, p, -p), q.sign()[:, None], zero, zero, torch.zeros_like(q), q.abs()
    )


def test_verdicts_equal_those_of_the_linear_programmes_residuals():
    """The closed form against the Karush-Kuhn-Tucker residuals of the programme in matrix form."""
    orders, context = books(400)
    market = mechanism("uniform_auction")
    own = market.clear(orders, context)
    case, q = torch.arange(400) % 4, orders.quantity_kw.abs()
    traded = own.cleared_kw * torch.where(case == 1, 0.97, 1.0)[:, None]
    # Another split of the same volume: all sellers alike, whatever they ask.
    alike = q * (own.volume_kw / (q * (orders.quantity_kw > 0)).sum(-1)).nan_to_num(0)[:, None]
    dearer = alike.where(orders.quantity_kw > 0, own.cleared_kw)
    traded = dearer.where((case == 2)[:, None], traded)
    unbalanced = torch.cat([traded[:, :1] * 0.9, traded[:, 1:]], -1)
    traded = unbalanced.where((case == 3)[:, None], traded)
    claimed = replace(
        own, cleared_kw=traded, payment_eur=traded * own.price * context.slot_h,
    )  # fmt: skip
    found = residuals(orders, claimed, context, frozenset())
    # The multiplier is the limit of the order that is served in part.
    given = own.cleared_kw.abs()
    partly = (given > 1e-9) & (given < q - 1e-9)
    price = orders.limit_price.gather(1, partly.to(torch.uint8).argmax(1, keepdim=True))
    theirs = reference_residuals(programme(orders), Solution(traded.abs(), price)).optimal(1e-6)
    trades = partly.any(1)
    assert trades.sum() > 300
    assert 80 < theirs[trades].sum() < 300
    verdict = (found.primal < 1e-6) & (found.dual < 1e-6) & (found.gap < 1e-6)
    assert torch.equal(verdict[trades], theirs[trades])


def test_where_between_the_marginal_limits_a_price_lies_is_not_seen():
    """What residuals do not tell, as the module says: the split of the gains by the price."""
    market = mechanism("uniform_auction")
    orders, context = books()
    own = market.clear(orders, context)
    kind = MARKETS["uniform_auction"]
    sellers = kind(validate(kind.Config, {**option("market", "uniform_auction"), "k": 1.0}))
    dear = sellers.clear(orders, context)
    assert (dear.payment_eur - own.payment_eur).abs().max() > 1e-3
    assert passes(market, orders, context, dear, own, "optimal").all()


@pytest.mark.parametrize("name", WITHOUT_GRID)
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_what_a_market_clears_passes_its_own_check(name, dtype):
    market = mechanism(name)
    orders, context = books(dtype=dtype)
    own = market.clear(orders, context)
    for asked in ("none", "feasible", "optimal"):
        assert passes(market, orders, context, own, own, asked).all(), asked


@pytest.mark.parametrize("name", WITHOUT_GRID)
@pytest.mark.parametrize("false", FALSE, ids=lambda one: one.__name__)
def test_every_false_clearing_is_refused(name, false):
    market = mechanism(name)
    orders, context = books()
    own = market.clear(orders, context)
    trades = own.volume_kw > 1e-6
    wrong = false(own, context)
    assert not passes(market, orders, context, wrong, own, "optimal")[trades].any()
    assert passes(market, orders, context, wrong, own, "none").all()


def test_each_false_clearing_fails_by_the_residual_that_it_breaks():
    market = mechanism("uniform_auction")
    orders, context = books()
    own = market.clear(orders, context)
    trades = own.volume_kw > 0
    for false, broken in (
        (withheld, "gap"), (raised, "loss"), (invented, "primal"), (diverted, "deficit"),
    ):  # fmt: skip
        found = residuals(orders, false(own, context), context, market.claims)
        assert (getattr(found, broken)[trades] > 1e-3).all(), broken
    lazy = residuals(orders, withheld(own, context), context, market.claims)
    assert lazy.feasible.all()
    nan = replace(own, cleared_kw=own.cleared_kw * torch.nan)
    assert not residuals(orders, nan, context, market.claims).feasible.any()


def contest(honest, asked="feasible", contest=True, places=None):
    honest = torch.tensor(honest)
    solver = torch.arange(honest.shape[1]).expand_as(honest) + 7
    return Proposals(solver, honest, asked, contest)


def test_the_best_of_the_candidates_that_pass_wins():
    """In slot 0 the places withhold, raise, invent and divert, in turn, unless they are honest."""
    market = mechanism("uniform_auction")
    orders, context = books(200)
    own = market.clear(orders, context)
    orders, own = orders, own
    pick = (own.volume_kw > 0).nonzero()[:2, 0]
    orders = Orders(orders.quantity_kw[pick], orders.limit_price[pick], orders.arrival_s[pick])
    context = Context(context.buyer_ceiling[pick], context.seller_floor[pick], 0.25)
    own = market.clear(orders, context)
    rows = [[False, False, True, False], [False, False, False, False]]
    clearing, settled = settle_one(contest(rows), market, orders, context, own, 0)
    assert settled.solver.tolist() == [9, 7]  # the honest one; else the lazy one, alone feasible
    assert settled.refused.tolist() == [[False, True, False, True], [False, True, True, True]]
    torch.testing.assert_close(clearing.cleared_kw[0], own.cleared_kw[0])
    torch.testing.assert_close(clearing.cleared_kw[1], own.cleared_kw[1] / 2)
    assert settled.false.tolist() == [False, True]
    # In turn, the first that passes: the lazy one does unless optimality is asked.
    for asked, solvers in (("feasible", [7, 7]), ("optimal", [9, -1])):
        _, settled = settle_one(contest(rows, asked, False), market, orders, context, own, 0)
        assert settled.solver.tolist() == solvers
    nothing, settled = settle_one(contest(rows, "optimal"), market, orders, context, own, 0)
    assert settled.solver.tolist() == [9, -1]
    assert (nothing.cleared_kw[1] == 0).all()
    assert nothing.reference_price[1].isnan()
    assert not nothing.converged[1]


def test_turns_before_the_first_honest_solver_are_a_hypergeometric_wait():
    """Of n in random order with d dishonest, d / (n - d + 1) come before the first honest one."""
    seed = torch.arange(4000)
    drawn = draw_proposals(seed, 3, 10, 3, "optimal", contest=False)
    before = drawn.honest.to(torch.uint8).argmax(1).double()
    assert drawn.honest.any(1).all()
    assert before.mean().item() == pytest.approx(3 / 8, abs=4 * before.std().item() / 4000**0.5)
    again = draw_proposals(seed[:10], 3, 10, 3, "optimal", contest=False)
    assert torch.equal(again.solver, drawn.solver[:10])
    later = draw_proposals(seed[:1], 4, 10, 3, "optimal", contest=False)
    liars = {drawn.solver[0, k].item() for k in range(4) if not drawn.honest[0, k]}
    honest = {later.solver[0, k].item() for k in range(4) if later.honest[0, k]}
    assert not liars & honest, "who lies stays for the day"


def played(town, *words, ledger="proof_of_solution", slots=range(40, 52)):
    simulation = town.simulation(*words, ledger=ledger, num_envs=4)
    simulation.reset(seed=5)
    N, entries = simulation.num_seats, len(simulation.game.layout.actions)
    draw = torch.Generator().manual_seed(2)
    intervals = []
    for t in range(max(slots) + 1):
        action = torch.rand(4, N, entries, generator=draw, dtype=F64) * 2 - 1
        interval = simulation.step(action)
        if t in slots:
            intervals.append(interval)
    return simulation, intervals


def test_checked_solutions_keep_the_market_and_cost_the_liars_time_and_reward(town):
    _, honest = played(town)
    lying = ("ledger.dishonest_solvers=3", "ledger.reward=0.5")
    simulation, refusing = played(town, *lying)
    consensus = simulation.ledger.consensus
    refused = paid = 0
    for one, other in zip(honest, refusing, strict=True):
        torch.testing.assert_close(one.clearing.payment_eur, other.clearing.payment_eur)
        assert one.settled is None
        settled = other.settled
        trades = other.clearing.volume_kw > 0
        assert not settled.false.any()
        before = settled.before.double()
        refused += before.sum()
        torch.testing.assert_close(other.finality_s, one.finality_s + before * consensus.commit_s)
        torch.testing.assert_close(
            other.market_receipts.fee, one.market_receipts.fee + 0.5 * trades.double()
        )
        for b in range(4):
            liars = draw_proposals(
                simulation.state.today.day_seed, 0, 10, 3, "optimal", contest=True
            )
            known = {liars.solver[b, k].item() for k in range(10) if not liars.honest[b, k]}
            if trades[b]:
                assert settled.solver[b].item() not in known
                paid += 1
        accounts = torch.stack(list(other.bill.accounts.values()))
        assert accounts.sum(0).abs().max() < 1e-9
    assert refused > 0
    assert paid > 0


def test_unchecked_lies_are_settled(town):
    _, honest = played(town)
    words = ("ledger.dishonest_solvers=3", "ledger.asked=none")
    _, believing = played(town, *words)
    false = torch.stack([one.settled.false for one in believing])
    assert false.any()
    pairs = zip(honest, believing, strict=True)
    changed = torch.stack(
        [(a.clearing.payment_eur - b.clearing.payment_eur).abs().amax(-1) > 1e-9 for a, b in pairs]
    )
    assert (changed[false]).all()


def test_off_chain_solvers_compete(town):
    words = ("ledger.layers=[{name: off_chain_clearing, solvers: 4, dishonest_solvers: 3}]",)
    _, alone = played(town, "ledger.layers=[off_chain_clearing]", ledger="proof_of_authority")
    _, competing = played(town, *words, ledger="proof_of_authority")
    for one, other in zip(alone, competing, strict=True):
        torch.testing.assert_close(one.clearing.payment_eur, other.clearing.payment_eur)
        trades = other.clearing.volume_kw > 0
        # Each candidate is checked, so that four cost more than one.
        assert (other.market_receipts.fee > one.market_receipts.fee)[trades].all()
    none = words[0].replace("dishonest_solvers: 3", "dishonest_solvers: 3, checked: false")
    _, believing = played(town, none, ledger="proof_of_authority")
    assert torch.stack([one.settled.false for one in believing]).any()


def test_more_liars_than_a_quorum_bears_are_refused():
    values = {**option("ledger", "proof_of_solution"), "dishonest_solvers": 4}
    with pytest.raises(ConfigError, match="at most 3 leave a quorum that refuses"):
        make(values)
    layer = {**option("layer", "off_chain_clearing"), "dishonest_solvers": 2}
    with pytest.raises(ConfigError, match="2 of solvers 1; at most all"):
        make({**option("ledger", "proof_of_authority"), "layers": [layer]})
