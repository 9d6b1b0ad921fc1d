"""Locational prices with losses: pandapower's differences, a general optimiser, and the rent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandapower
import pytest
import torch
from scipy.optimize import minimize
from test_market_network import (
    SEATS,
    book,
    clear,
    congesting,
    context,
    flow,
    grid,
    market,
    place_on,
)

from gridbazaar.envs.grid import load_net, violations
from gridbazaar.envs.markets.network.marginal_losses import LossCost, loss_slopes

F64 = torch.float64
PRICED = {"losses": "marginal", "loss_cost": 0.5}
# EUR/kWh, of the way from floor to ceiling in the tests' context.
PRICE = 0.21


def bare_net(buses):
    """pandapower's feeder with nothing but an injection at each bus."""
    net = load_net("pandapower", "case33bw")
    net.load.drop(net.load.index, inplace=True)
    pandapower.create_sgens(net, buses, p_mw=0.0)
    return net


def losses_of_pandapower(net, injection_kw, reactive_kvar):
    net.sgen.p_mw, net.sgen.q_mvar = injection_kw / 1e3, reactive_kvar / 1e3
    pandapower.runpp(net, numba=False, tolerance_mva=1e-10)
    return 1e3 * float(net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum())


def test_the_loss_part_is_what_pandapower_loses_more_for_a_kw_more():
    place, orders = place_on("case33bw", 1), book(1, 256.0)
    out, parts = market("locational_price", **PRICED).clear_in_parts(orders, context(place, 1))
    exact = loss_slopes(place, out.cleared_kw)
    net = bare_net(grid("case33bw")[1])
    x = out.cleared_kw[0]
    at = (place.background_kw[0] + x @ place.to_bus).numpy()
    step = 0.5
    traders = (exact[0] * (x != 0)).abs().topk(2).indices.tolist()
    for seat in traders:
        moved = step * place.to_bus[seat].numpy()
        up, down = (
            losses_of_pandapower(net, at + side * moved, place.reactive_kvar[0].numpy())
            for side in (1, -1)
        )
        slope = (up - down) / (2 * step)
        assert exact[0, seat].item() == pytest.approx(slope, rel=1e-5)
        # The last programme took its slopes where the round before stood, within the gap.
        assert parts.loss[0, seat].item() == pytest.approx(PRICE * slope, abs=1e-3 * 0.26)
        assert parts.loss[0, seat].item() == pytest.approx(PRICE * slope, rel=2e-2)
        assert abs(slope) > 1e-3


@pytest.mark.parametrize("code", ["semiurb4", "cigre_lv"])
def test_trades_are_those_of_a_general_optimiser(code):
    place, orders = place_on(code, 2), book(2, congesting(code) / 4)
    out = clear("locational_price", orders, place, **PRICED)
    assert out.converged.all()
    cost = LossCost.of(place, torch.full((2, 1), PRICE, dtype=F64))
    net = -(orders.limit_price * out.cleared_kw).sum(1) - cost.cost(flow(place, out.cleared_kw))
    for b in range(2):
        one = slice(b, b + 1)
        here = replace(
            place, background_kw=place.background_kw[one], reactive_kvar=place.reactive_kvar[one]
        )
        q, limit = orders.quantity_kw[b].numpy(), orders.limit_price[b].numpy()

        def lost(x, here=here, b=b):
            moved = torch.as_tensor(x, dtype=F64).unsqueeze(0).requires_grad_()
            value = PRICE * (flow(here, moved).losses_kw - cost.idle_kw[b]).sum()
            (slope,) = torch.autograd.grad(value, moved)
            return value.item(), slope[0].numpy()

        best = minimize(
            lambda x, limit=limit, lost=lost: limit @ x + lost(x)[0],
            np.zeros(SEATS),
            jac=lambda x, limit=limit, lost=lost: limit + lost(x)[1],
            bounds=np.stack([np.minimum(q, 0), np.maximum(q, 0)], 1),
            constraints={"type": "eq", "fun": np.sum, "jac": np.ones_like},
            method="SLSQP",
            options={"maxiter": 300, "ftol": 1e-12},
        )
        assert not violations(flow(here, torch.as_tensor(best.x)[None]), place.limits).broken()
        assert net[b].item() == pytest.approx(-best.fun, rel=2e-3)
    # The auction, which does not see them, keeps no more after the losses.
    blind = clear("uniform_auction", orders, place)
    kept = -(orders.limit_price * blind.cleared_kw).sum(1)
    assert (kept - cost.cost(flow(place, blind.cleared_kw)) <= net * (1 + 1e-5)).all()


@pytest.mark.parametrize("scale", [0.25, 2])
def test_the_rent_of_losses_covers_them_and_no_limit_breaks(scale):
    place, orders = place_on("semiurb4", 12), book(12, scale * congesting("semiurb4"))
    out, parts = market("locational_price", **PRICED).clear_in_parts(orders, context(place, 12))
    assert out.converged.all()
    assert (out.volume_kw > 0).all()
    surplus = parts.congestion_rent_eur + parts.loss_rent_eur
    torch.testing.assert_close(out.operator_surplus_eur, surplus, rtol=0, atol=1e-9)
    assert (parts.loss_rent_eur >= parts.losses_cost_eur - 1e-6).all()
    assert (parts.loss_rent_eur - parts.losses_cost_eur).max() > 1e-4
    assert not violations(flow(place, out.cleared_kw), place.limits).broken(1.1e-5, 1.1e-2).any()
    gain = (out.price - orders.limit_price) * out.cleared_kw.sign()
    assert gain.min() >= -1e-9
    price = parts.energy - parts.congestion - parts.loss
    torch.testing.assert_close(price, out.price, rtol=0, atol=1e-12)
    far = parts.congestion.abs().amax(1)
    assert (far > 1e-3).any() == (scale == 2)


def test_unpriced_losses_have_no_part():
    place, orders = place_on("semiurb4", 4), book(4, congesting("semiurb4"))
    kind = market("locational_price")
    out, parts = kind.clear_in_parts(orders, context(place, 4))
    assert parts.loss.abs().max() == parts.loss_rent_eur.abs().max() == 0
    torch.testing.assert_close(out.operator_surplus_eur, parts.congestion_rent_eur)
    free, alone = kind.clear_in_parts(orders, context(None, 4))
    assert torch.equal(alone.energy, free.price)
    assert alone.congestion.abs().max() == 0


def test_where_nothing_could_be_traded_nothing_has_failed():
    place, orders = place_on("semiurb4", 2), book(2, 5.0)
    orders = replace(orders, quantity_kw=orders.quantity_kw * torch.tensor([[1.0], [0.0]]))
    out = clear("locational_price", orders, place, **PRICED)
    assert out.converged.all()
    assert (out.volume_kw > 0).tolist() == [True, False]
    same = replace(orders, quantity_kw=orders.quantity_kw.abs())
    assert clear("locational_price", same, place, **PRICED).converged.all()
