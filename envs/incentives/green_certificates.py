"""Green certificates: issued for metered sun, auctioned at the day's end to those who need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gridbazaar.config import Money, Positive, Share
from gridbazaar.envs.incentives.protocol import (
    INCENTIVES,
    GoodsConfig,
    Incentive,
    Kind,
    Movement,
    Outcome,
    share_of,
)
from gridbazaar.envs.incentives.reading import Reading
from gridbazaar.envs.markets.book import cross, fill

_CERTIFICATE, _SUPPLIED = "certificate", "supplied_kwh"


class CertificatesConfig(GoodsConfig):
    """Parameters of the certificates and of their auction."""

    kwh_per_certificate: Positive = Field(
        description="sun that a certificate is issued for", json_schema_extra={"unit": "kWh"}
    )
    reserve_price: Money = Field(description="EUR, least that holders take for a certificate")
    quota: Share = Field(
        description="of what the supplier sold to the seats, for which it must hold certificates"
    )
    buy_out_price: Money = Field(
        description="EUR that the supplier pays elsewhere for a certificate that it lacks"
    )
    voluntary_share: Share = Field(
        description="of what a seat drew from the supplier that it wants to be green"
    )
    voluntary_price: Money = Field(description="EUR, most that a seat gives for a certificate")
    k: Share = Field(description="0 gives the auction's gains to buyers, 1 to holders")


@INCENTIVES.register("green_certificates")
class GreenCertificates(Incentive):
    """Green certificates of metered sun, in one uniform auction at the day's end.

    All generated sun is certified, divisibly. At the day's end holders offer what they have at
    `reserve_price`; the supplier bids for its quota at `buy_out_price`, seats for a share of what
    they drew at `voluntary_price`; one price clears them. What the supplier bought is surrendered,
    what seats bought cancelled; both are redeemed. What nobody bought stays with its holder.

    Source: IOT Table IV, Shekou ("electronic certificates to incentivize users to adopt clean
    energy"), EPS 1 and 8 (certified solar energy, environmental certificates). They name no
    obligation: a quota on suppliers, as in national certificate systems, is assumed, and so are
    the prices.
    """

    Config = CertificatesConfig
    payer = "supplier"
    goods: ClassVar[dict[str, Kind]] = {_CERTIFICATE: "certificate"}
    backed_by: ClassVar[dict[str, str]] = {_CERTIFICATE: "pv_kwh"}

    def begin(self, like: Tensor) -> dict[str, Tensor]:
        """Remember what the supplier sold."""
        return {_SUPPLIED: torch.zeros_like(like)}

    def settle(
        self, held: Mapping[str, Tensor], memory: Mapping[str, Tensor], reading: Reading
    ) -> Outcome:
        """Issue certificates, and auction them at the day's end."""
        issued = reading.pv_kwh / self.config.kwh_per_certificate
        supplied = memory[_SUPPLIED] + reading.from_supplier_kwh
        nothing = torch.zeros_like(issued)
        if not reading.last:
            movement = Movement(issued, nothing, nothing, nothing)
            return Outcome(nothing, {_CERTIFICATE: movement}, {_SUPPLIED: supplied})
        sold, bought, surrendered, price = self._auction(held[_CERTIFICATE] + issued, supplied)
        gone = share_of(sold) * surrendered
        movement = Movement(issued, bought - (sold - gone), gone + bought, nothing)
        return Outcome((sold - bought) * price, {_CERTIFICATE: movement}, {_SUPPLIED: supplied})

    def _auction(self, held: Tensor, supplied_kwh: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what seats sold and bought [B, N], what the supplier bought and the price [B, 1].

        Args:
            held: certificates that are offered, [B, N].
            supplied_kwh: that each seat drew from the supplier in the day, [B, N].
        """
        c, seats = self.config, held.shape[-1]
        wanted = supplied_kwh * (c.voluntary_share / c.kwh_per_certificate)
        due = supplied_kwh.sum(-1, keepdim=True) * (c.quota / c.kwh_per_certificate)
        quantity = torch.cat([held, -wanted, -due], -1)
        limits = (c.reserve_price, c.voluntary_price, c.buy_out_price)
        limit = torch.cat(
            [torch.full_like(q, p) for q, p in zip((held, wanted, due), limits, strict=True)], -1
        )
        crossing = cross(quantity, limit)
        filled = fill(quantity, limit, crossing)
        price = c.k * crossing.bid_price + (1 - c.k) * crossing.ask_price
        return filled[:, :seats], -filled[:, seats:-1], -filled[:, -1:], price
