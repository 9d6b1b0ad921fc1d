"""Load masking: a home's battery holds the meter still, whatever the home does behind it."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.agents.bidders.own_use import own_use_power, running_action
from gridbazaar.agents.bidders.protocol import BIDDERS, BidderConfig
from gridbazaar.agents.bidders.seat import Seat
from gridbazaar.config import Positive
from gridbazaar.envs.game import Game


class LoadMaskingConfig(BidderConfig):
    """Parameters of the mask."""

    smoothing_h: Positive = Field(
        description="hours over which the meter follows the home's mean net power",
        json_schema_extra={"unit": "h"},
    )
    recovery_h: Positive = Field(
        description="hours in which a battery is brought back to half its content",
        json_schema_extra={"unit": "h"},
    )


@BIDDERS.register("load_masking")
class LoadMasking:
    """Holds the home's meter near its recent mean, so that it tells little of the load behind it.

    Devices make up for the difference between the mean and the forecast net power, as far as
    ratings and content allow, and lean back to half their content, without which a full or an
    empty battery hides nothing. Cars charge at once; prices are the grid's, as `own_use` has them.

    Source: Kalogridis et al. (2010), "Privacy for smart meters: towards undetectable appliance load
    signatures", SmartGridComm, for holding the meter still by best effort; what it hides is
    measured as in Sun, Lampe and Wong (2017), IEEE Internet of Things Journal 5, by the mutual
    information of load and meter (`gridbazaar.evaluation.information`).
    """

    Config = LoadMaskingConfig

    def __init__(self, config: LoadMaskingConfig, game: Game):
        self._config, self._game = config, game

    def act(self, observation: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Decide one interval; the state is the mean net power [B, N] kW so far; see Bidder."""
        seat, game = Seat(observation, self._game.layout), self._game
        cars_kw = torch.where(seat.leaves, seat.take_kw, 0.0).sum(-1)
        net_kw = seat.must_run_kw - cars_kw
        follows = min(1.0, game.slot_h / self._config.smoothing_h)
        mean_kw = net_kw if state is None else state + (net_kw - state) * follows
        over_kwh = ((seat.stored_kwh - seat.room_kwh) * ~seat.leaves).sum(-1) / 2
        meter_kw = mean_kw + over_kwh / self._config.recovery_h
        home_kw = own_use_power(seat, meter_kw)
        return running_action(seat, home_kw, game.rules.dispatch == "own"), mean_kw
