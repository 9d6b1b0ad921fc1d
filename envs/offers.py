"""Offers of the seats: what each brings to the market at which price, once it has decided."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gridbazaar.envs.action import Decision
from gridbazaar.envs.dataset import Slot
from gridbazaar.envs.delivery import Delivery
from gridbazaar.envs.devices.fleet import seat_power
from gridbazaar.envs.devices.protocol import Band
from gridbazaar.envs.game import Game
from gridbazaar.envs.supply_curve import Offer, SupplyCurve, supply_curve


class Offers(NamedTuple):
    """What seats offer in a slot.

    Attributes:
        must_run_kw: [B, N] PV less load as the seat expects it, or as the meter will show.
        must_kw: [B, N, K] that devices must take, 0 or less.
        curve: of the seats.
    """

    must_run_kw: Tensor
    must_kw: Tensor
    curve: SupplyCurve


def offers_of(decision: Decision, slot: Slot, band: Band, game: Game, delivery: Delivery) -> Offers:
    """Return what seats offer by their decisions.

    Args:
        decision: of the seats.
        slot: that is traded.
        band: [B, N, K] of what devices must and may do in it.
        game: rules, and what devices cost.
        delivery: the feeder, whose envelope no offer leaves.
    """
    rules, share = game.rules, decision.share
    if rules.quantity == "metered":
        must_run_kw = slot.pv_kw - slot.load_kw
    else:
        must_run_kw = slot.forecast_pv_kw - slot.forecast_load_kw + decision.correction_kw
    must_run_kw, band = delivery.limited(must_run_kw, band)
    if rules.dispatch == "own":
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
    with_musts_kw = must_run_kw + seat_power(band.must_kw)
    curve = supply_curve(with_musts_kw, decision.must_run_price, offer)
    return Offers(must_run_kw, band.must_kw, curve)
