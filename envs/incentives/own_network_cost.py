"""Own network cost: no charge of the networks above while the community supplies itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from gridbazaar.config import PositiveShare
from gridbazaar.envs.incentives.protocol import INCENTIVES, Incentive, IncentiveConfig, Outcome
from gridbazaar.envs.incentives.reading import Reading


class OwnNetworkConfig(IncentiveConfig):
    """Parameters of the rule."""

    self_sufficiency: PositiveShare = Field(
        description="share of its use that the community must supply itself in an interval"
    )
    own_network_share: PositiveShare = Field(
        description="share of the network charge that is the own network's; as the tariff's "
        "local_network_share"
    )


@INCENTIVES.register("own_network_cost")
class OwnNetworkCost(Incentive):
    """Only one's own network is paid for in intervals in which the community supplies itself.

    A kWh from a neighbour bears the local charge anyway. In an interval in which imports from
    outside are no more than 1 - `self_sufficiency` of what all used, the grid operator refunds on
    every kWh that a seat drew from the supplier what the networks above take of the network charge:
    local charge x (1 / own_network_share - 1).

    Source: EPS 7.2, Power-ID [47]: "If a large amount of local energy is self-sufficient (such as a
    sunny day), then participants only have to pay their own network costs". The paper gives no
    threshold and no charge; both are assumed.
    """

    Config = OwnNetworkConfig
    payer = "grid operator"
    backed_by: ClassVar[dict[str, str]] = {"energy": "exported_kwh"}

    def settle(
        self, held: Mapping[str, Tensor], memory: Mapping[str, Tensor], reading: Reading
    ) -> Outcome:
        """Refund the charge of the networks above where the community supplied itself."""
        c = self.config
        exported = reading.exported_kwh.sum(-1, keepdim=True)
        outside = reading.imported_kwh.sum(-1, keepdim=True) - exported
        most = (1 - c.self_sufficiency) * reading.used_kwh.sum(-1, keepdim=True)
        above = reading.tariff.local_charge * (1 / c.own_network_share - 1)
        refund = reading.from_supplier_kwh * above * ((outside <= most) & (exported > 0))
        return Outcome(refund, {}, {})
